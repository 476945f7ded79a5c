# %% [markdown]
# # 10 · Seeing further
#
# **What you will build:** windows with holes, pyramids of means, a conditional random field that sharpens outlines, and
# two ways to ask a network where it has looked, with a surprise.
#
# **The picture at the end:** what one pixel sees in three networks, measured: a plain one, one with dilated windows, and
# one with a pyramid; and what each of them answers.
#
# Read [08 · Encoder, decoder, skips](08_encoder_decoder_skips.ipynb) first.

# %% [markdown]
# ## Discs that are named by a lamp
#
# A grey pixel may be road or roof, and no window of 3 x 3 pixels can tell. To see what *context* does, here is a world
# in which it decides everything. All discs look alike; somewhere stands one square lamp. If it is red, the discs are
# called *stop*; if it is green, *go*.

# %%
import copy

import numpy as np

from minseg import data, explain, models, nn, no_grad, ops, optim, tensor, use_backend, viz
from minseg.metrics import ConfusionMatrix
from minseg.models.atrous import conv_norm
from minseg.models.pspnet import PyramidPooling
from minseg.postprocess import dense_crf, mean_field_step
from minseg.testing.tutorials import check, erratum, show, steps

use_backend("numba")
SIDE, LAMP, NAMES = 40, 8, ("background", "stop", "go")


def lamp_scene(number):
    """An image (40, 40, 3), its mask, and the lamp's upper left corner."""
    rng = np.random.default_rng([10, number])
    y, x = np.mgrid[:SIDE, :SIDE]
    image, mask = np.full((SIDE, SIDE, 3), 110.0), np.zeros((SIDE, SIDE), np.uint8)
    go = number % 2
    for r, c in rng.uniform(5, SIDE - 5, (3, 2)):
        disc = (y - r) ** 2 + (x - c) ** 2 <= 20
        image[disc], mask[disc] = (80, 120, 215), 1 + go
    r, c = rng.integers(0, SIDE - LAMP, 2)
    lamp = np.s_[r : r + LAMP, c : c + LAMP]
    image[lamp], mask[lamp] = ((235, 60, 50), (60, 200, 90))[go], 0
    noisy = image + rng.normal(0, 8, image.shape)
    return np.clip(noisy.round(), 0, 255).astype(np.uint8), mask, (r, c)


LEARN, NEW = 256, 128
world = [lamp_scene(number) for number in range(LEARN + NEW)]
X = np.stack([(image / 127.5 - 1).transpose(2, 0, 1) for image, _, _ in world]).astype(np.float32)
T = np.stack([mask for _, mask, _ in world])
panels = {}
for n in (1, 2):
    panels[f"scene {n}"], panels[f"truth of scene {n}"] = world[n][:2]
viz.gallery_figure(panels, class_names=NAMES)

# %% [markdown]
# ## A network that does not see the lamp
#
# Six 3 x 3 convolutions, one after the other, and a last one that gives a score to each class. Notebook 02 has the rule
# how many pixels in a row it sees, and you can also measure it: the gradient of one output for the image is zero where
# it does not see. `explain.receptive_field` does that, with equal weights everywhere, so that nothing cancels.

# %%
show("conv.receptive_field")

# %%
WIDTH = 12


def tower(dilations, rng):
    """3 x 3 convolutions with these dilations, each with batch norm and ReLU; sizes stay."""
    layers = []
    for number, d in enumerate(dilations):
        layers += conv_norm(WIDTH if number else 3, WIDTH, 3, rng, dilation=d)
        layers.append(nn.ReLU())
    return layers


rng = np.random.default_rng(0)
plain = nn.Sequential(*tower((1, 1, 1, 1, 1, 1), rng), nn.Conv2d(WIDTH, len(NAMES), 1, rng=rng))
field = explain.receptive_field(plain, 3, size=SIDE)
assert field.size == (1 + 6 * 2, 1 + 6 * 2)
print(f"it sees {field.size[0]} x {field.size[1]} pixels, {field.reach} to each side")

# %% [markdown]
# Train it, and count how many pixels of the discs get their right name, by their distance from the lamp. With only two
# names, guessing is right half the time. (Background, which is easy and frequent, weighs less in the loss: notebook 05.)


# %%
def train(network, count):
    """Adam, with batches of eight scenes; then the labels of the new scenes."""
    optimizer, draw = optim.Adam(network.parameters()), np.random.default_rng(1)
    weight = np.array([0.2, 1, 1], np.float32)
    for step in range(count):
        optimizer.lr = 1e-2 * (1 - step / count)
        n = draw.integers(0, LEARN, 8)
        optimizer.zero_grad()
        ops.cross_entropy(network(tensor(X[n])), T[n], weight=weight).backward()
        optimizer.step()
    network.eval()
    with no_grad():
        return network(tensor(X[LEARN:])).numpy().argmax(axis=1).astype(np.uint8)


def distance_from_lamp(corner):
    """For each pixel, how far a square window around it must reach to touch the lamp."""
    y, x = np.mgrid[:SIDE, :SIDE]
    (r, c), last = corner, LAMP - 1
    down = np.maximum(r - y, y - r - last)
    across = np.maximum(c - x, x - c - last)
    return np.maximum(np.maximum(down, across), 0)


distance = np.stack([distance_from_lamp(corner) for _, _, corner in world[LEARN:]])
BINS = np.arange(0, 28, 4)


def right_by_distance(answer):
    """Share of disc pixels with the right name: 1 to 4 pixels from the lamp, 5 to 8, and on."""
    truth = T[LEARN:]
    rings = [(truth > 0) & (distance > near) & (distance <= near + 4) for near in BINS]
    return np.array([(answer[ring] == truth[ring]).mean() for ring in rings])


answers = {"plain": train(plain, steps(200))}
right = {"plain": right_by_distance(answers["plain"])}
print("pixels from the lamp   right")
for near, share in zip(BINS, right["plain"]):
    print(f"{near + 1:8} to {near + 4:<3} {share:13.2f}")

# %% [markdown]
# Beside the lamp it is mostly right; a few pixels on, where hardly any of the lamp is left in its window, it guesses. No
# training helps: what it does not see, it cannot know.
#
# ## Larger windows?
#
# D1 has an answer: larger kernels capture more global features. True. **A puzzle:** with 64 channels in and out, how
# many weights has one 7 x 7 convolution, and how many have three of 3 x 3, which see 7 x 7 too?

# %%
erratum("ERR-68")

# %% [markdown]
# And to see 63 x 63? The kernel grows with the square of the side. A chain of small ones grows with the side, which is
# better, but still makes 31 layers. The third line is where this notebook goes.

# %%
sides = np.array([3, 7, 15, 31, 63, 127])
one = 64 * 64 * sides**2
chain = 64 * 64 * 9 * (sides - 1) // 2
doubling = 64 * 64 * 9 * np.log2((sides + 1) // 2).astype(int)
viz.lines_figure(
    {
        "one large kernel": (sides, one),
        "chain of 3 x 3": (sides, chain),
        "the same, with dilations that double": (sides, doubling),
    },
    "pixels in a row that it sees",
    "weights",
    title="The price of seeing far, with 64 channels",
    log_x=True,
    log_y=True,
)

# %% [markdown]
# ## Windows with holes
#
# *Atrous* comes from the French à trous, with holes. The nine weights of a 3 x 3 kernel are laid d pixels apart: d is
# the *dilation*. It is the convolution that you know; d has been in its formula all the time.

# %%
show("conv.corr2d")


# %%
def atrous_slowly(x, w, d):
    """A 3 x 3 kernel with dilation d on one map; zeros outside, so the size stays."""
    H, W = x.shape
    y = np.zeros((H, W))
    for i in range(H):
        for j in range(W):
            for p in range(3):
                for q in range(3):
                    row, column = i + d * (p - 1), j + d * (q - 1)
                    if 0 <= row < H and 0 <= column < W:
                        y[i, j] += w[p, q] * x[row, column]
    return y


dot = np.zeros((7, 7))
dot[3, 3] = 1
w = np.arange(1.0, 10).reshape(3, 3)
slow = {f"dilation {d}": atrous_slowly(dot, w, d) for d in (1, 2, 3)}
for d in (1, 2, 3):
    fast = ops.conv2d(tensor(dot[None, None]), tensor(w[None, None]), padding=d, dilation=d)
    assert np.allclose(fast.numpy()[0, 0], slow[f"dilation {d}"])
viz.matrices_figure(slow, title="One bright pixel, seen through nine weights")

# %% [markdown]
# Nine weights and nine products at each pixel, whatever d is. (The kernel stands upside down, as a bright pixel always
# shows it: notebook 02.)
#
# **Exercise 10.1.** Write it for kernels of any odd size, (2 P + 1) x (2 Q + 1): around each pixel, zeros outside.


# %% tags=["exercise"]
def atrous(x, w, d):
    """x (H, W), w with odd sides, dilation d: a map (H, W)."""
    raise NotImplementedError("exercise 10.1")


# %%
check("10.1", atrous)

# %% [markdown]
# ## Combs
#
# So let us take dilation 4 in all layers? Measure what one output sees before you decide. White is what it sees most
# strongly, black is what it does not see.


# %%
def seen_by(dilations):
    """How strongly one output sees each pixel, through a chain of 3 x 3 windows."""
    chain = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=d, dilation=d) for d in dilations])
    return explain.receptive_field(chain, 1, size=31)


fields = {d: seen_by(d) for d in ((1, 1, 1), (2, 2, 2), (4, 4, 4), (1, 2, 4))}
print("dilations   in a row   seen")
for dilations, field in fields.items():
    side = field.size[0]
    print(f"{dilations} {side:10}   {field.seen.sum()} of {side**2}")
comb = fields[4, 4, 4].seen
assert not (comb & np.roll(comb, 1, axis=1)).any()  # the next output's pixels: none in common
headings = ["dilations " + ", ".join(map(str, d)) for d in fields]
viz.gallery_figure(dict(zip(headings, [np.sqrt(f.strength) for f in fields.values()])))

# %% [markdown]
# Three times dilation 4 sees a comb: all that lies between its teeth is lost, and two neighbouring outputs see different
# pixels altogether. 1, 2, 4 sees 15 x 15 without a gap. Doubling is the rule.
#
# **Exercise 10.2.** How many layers of 3 x 3 does it take until an output sees at least `side` pixels in a row: all with
# dilation 1, or with dilations 1, 2, 4, 8 and so on?


# %% tags=["exercise"]
def layers_needed(side, doubling):
    """The least number of layers; doubling says whether dilations double from layer to layer."""
    raise NotImplementedError("exercise 10.2")


# %%
check("10.2", layers_needed)

# %% [markdown]
# Now the network of the lamps again, with as many weights as before, and with dilations that grow and shrink again: the
# last layers have small ones, so that neighbours agree.

# %%
rng = np.random.default_rng(0)
dilated = nn.Sequential(*tower((1, 2, 4, 6, 2, 1), rng), nn.Conv2d(WIDTH, len(NAMES), 1, rng=rng))
assert dilated.num_parameters() == plain.num_parameters()
field = explain.receptive_field(dilated, 3, size=SIDE)
answers["dilated"] = train(dilated, steps(200))
right["dilated"] = right_by_distance(answers["dilated"])
print(f"it sees {field.size[0]} x {field.size[1]} pixels, {field.reach} to each side")
print("pixels from the lamp   right")
for near, share in zip(BINS, right["dilated"]):
    print(f"{near + 1:8} to {near + 4:<3} {share:13.2f}")

# %% [markdown]
# ## Several windows at one place
#
# A person far away is small and one nearby is large. DeepLab looks at each place through windows of *several* dilations
# at once, and adds up what they say: atrous spatial pyramid pooling, ASPP.

# %%
show("ctx.aspp")

# %%
rng = np.random.default_rng(1)
x, d = rng.standard_normal((1, 2, 6, 7)), (1, 2, 4)
w = rng.standard_normal((3, 2, 2, 3, 3))  # three branches, two channels out, two in
slow = np.zeros((2, 6, 7))
for l in range(3):
    for o in range(2):
        for c in range(2):
            slow[o] += atrous_slowly(x[0, c], w[l, o, c], d[l])
branches = [
    ops.conv2d(tensor(x), tensor(w[l]), padding=d[l], dilation=d[l]).numpy() for l in range(3)
]
assert np.allclose(sum(branches)[0], slow)
print("three branches, slowly and fast: the same")

# %% [markdown]
# Today's DeepLab lets a 1 x 1 convolution do the sum, and has one more branch: the mean of the whole map. Why? Because
# a dilation may be too large. Here is how many of the nine weights meet a pixel at all, and not the zeros outside, on
# average over the map.

# %%
rates = np.arange(1, 19)
met = {}
for side in (8, 16, 32):
    ones, window = tensor(np.ones((1, 1, side, side))), tensor(np.ones((1, 1, 3, 3)))
    shares = [
        ops.conv2d(ones, window, padding=int(r), dilation=int(r)).numpy().mean() for r in rates
    ]
    met[f"map of {side} x {side}"] = (rates, shares)
viz.lines_figure(
    met,
    "dilation",
    "weights of 9 that meet a pixel",
    title="Too far is nowhere",
    marks={"the middle one alone": 1},
)

# %% [markdown]
# On a map of 8 x 8 a dilation of 8 leaves only the middle weight: the window that should see everything sees one pixel.
# To see everything, a mean over the whole map is the honest way.
#
# ## Means over a grid
#
# One mean of the whole map says *what* is in the picture and nothing about *where*. PSPNet takes more of them: one over
# all, four over the quarters, nine, and thirty-six. Pooling with windows of one size cannot cut 64 rows into 6 equal
# parts. *Adaptive* pooling turns the question around: you say how many windows there shall be, I of them for H rows, and
# each begins and ends where it must. Where I does not divide H, neighbours share a row.

# %%
show("pool.adaptive_avg", "pool.adaptive_start", "pool.adaptive_stop", "pool.adaptive_avg_grad")


# %%
def start_stop(n, windows):
    """Where each window begins, and where it has ended; // rounds down, and -(-a // b) up."""
    return [(i * n // windows, -(-(i + 1) * n // windows)) for i in range(windows)]


def means_slowly(x, I, J):
    y = np.zeros((I, J))
    for i, (a, b) in enumerate(start_stop(x.shape[0], I)):
        for j, (d, e) in enumerate(start_stop(x.shape[1], J)):
            total = sum(x[u, v] for u in range(a, b) for v in range(d, e))
            y[i, j] = total / ((b - a) * (e - d))
    return y


x = rng.standard_normal((7, 8))
t = tensor(x[None, None], requires_grad=True)
y = ops.adaptive_avg_pool2d(t, (3, 4))
assert np.allclose(y.numpy()[0, 0], means_slowly(x, 3, 4))
y_bar, g = rng.standard_normal((3, 4)), np.zeros((7, 8))
y.backward(y_bar[None, None])
for i, (a, b) in enumerate(start_stop(7, 3)):
    for j, (d, e) in enumerate(start_stop(8, 4)):
        g[a:b, d:e] += y_bar[i, j] / ((b - a) * (e - d))
assert np.allclose(t.grad[0, 0], g)
print("7 rows in 3 windows:", start_stop(7, 3), " slow and fast agree, forward and backward")

# %% [markdown]
# **Exercise 10.3.** Write these means, for one map. Mind where a window stops.


# %% tags=["exercise"]
def grid_means(x, I, J):
    """Map (H, W): the means (I, J) of its adaptive windows."""
    raise NotImplementedError("exercise 10.3")


# %%
check("10.3", grid_means)

# %% [markdown]
# The grids of PSPNet, for the colours of a street instead of its features, enlarged again by straight lines:

# %%
street, _ = data.draw_scene("streets", 100, 64)
colours = tensor(street.transpose(2, 0, 1)[None].astype(np.float64))
panels = {"image": street}
for b in (1, 2, 3, 6):
    means = ops.interpolate(ops.adaptive_avg_pool2d(colours, b), size=(64, 64), mode="bilinear")
    panels[f"{b} x {b}"] = means.numpy()[0].transpose(1, 2, 0).round().astype(np.uint8)
viz.gallery_figure(panels, columns=5)

# %% [markdown]
# Each grid goes through a 1 x 1 convolution with fewer channels, is enlarged, and stands beside the maps as more
# channels. So every pixel knows itself, and what there is on the whole, in its quarter, and around it.

# %%
show("ctx.pyramid_pool")

# %%
grids = (1, 2, 3, 6)
module = PyramidPooling(8, 2, grids, np.random.default_rng(2)).to(np.float64)
x = np.random.default_rng(3).standard_normal((8, 12, 14))
by_hand = [x]
for b, (_, convolution, _) in zip(grids, module.branches):
    means = np.stack([means_slowly(channel, b, b) for channel in x])
    w, bias = convolution.weight.numpy()[:, :, 0, 0], convolution.bias.numpy()
    u = np.maximum(0, np.einsum("dc,cij->dij", w, means) + bias[:, None, None])
    large = ops.interpolate(tensor(u[None]), size=(12, 14), mode="bilinear")
    by_hand.append(large.numpy()[0])
by_hand = np.concatenate(by_hand)
assert np.allclose(module(tensor(x[None])).numpy()[0], by_hand)
print(f"8 channels become {len(by_hand)}: the maps, and two for each of four grids")

# %% [markdown]
# The lamps, a third time: five plain layers, the pyramid, and one more layer behind it.

# %%
rng = np.random.default_rng(0)
pyramid = nn.Sequential(
    *tower((1, 1, 1, 1, 1), rng),
    PyramidPooling(WIDTH, WIDTH // 4, (1, 2, 3, 6), rng),
    *conv_norm(2 * WIDTH, WIDTH, 3, rng),
    nn.ReLU(),
    nn.Conv2d(WIDTH, len(NAMES), 1, rng=rng),
)
answers["pyramid"] = train(pyramid, steps(200))
right["pyramid"] = right_by_distance(answers["pyramid"])
viz.lines_figure(
    {name: (BINS + 2.5, shares) for name, shares in right.items()},
    "pixels from the lamp",
    "disc pixels with the right name",
    title="How far a network knows what it sees",
    marks={"guessing": 0.5},
)

# %% [markdown]
# Each network knows about as far as it sees: the plain one next to the lamp, the dilated one up to 16 pixels, and the one
# with a pyramid everywhere.

# %% tags=["full"]
assert right["pyramid"].min() > 0.95
assert right["dilated"][:3].min() > 0.9 > 0.65 > right["dilated"][4:].max()
assert right["plain"][0] > 0.7
assert right["plain"][1:].max() < 0.65
print("right beyond 16 pixels:")
for name, shares in right.items():
    print(f"{name:8} {shares[4:].mean():.2f}")

# %% [markdown]
# ## PSPNet and DeepLab
#
# The two networks of these ideas, on the streets of notebook 08, trained as there. Both have one *atrous encoder*: it
# halves the resolution three times only, and then its windows grow holes. PSPNet puts the pyramid behind it and enlarges
# eight times. DeepLab v3+ puts ASPP behind it, and then a small decoder with one skip, as you built it.

# %%
streets = [data.draw_scene("streets", n, 64) for n in range(120)]
street_names = data.SCENES["streets"][1]
prepare = data.Preprocess.fit([picture for picture, _ in streets[:96]])
pictures = np.stack([prepare(picture) for picture, _ in streets])
masks = np.stack([mask for _, mask in streets])


def train_on_streets(network, count, lr=1e-2):
    """Adam, batches of eight scenes, half of them mirrored; the logits of the new scenes."""
    optimizer, draw = optim.Adam(network.parameters(), lr=lr), np.random.default_rng(1)
    for step in range(count):
        optimizer.lr = lr * (1 - step / count)
        n = draw.integers(0, 96, 8)
        turn = slice(None, None, -1 if step % 2 else 1)
        optimizer.zero_grad()
        logits = network(tensor(np.ascontiguousarray(pictures[n][..., turn])))
        ops.cross_entropy(logits, np.ascontiguousarray(masks[n][..., turn])).backward()
        optimizer.step()
    network.eval()
    with no_grad():
        return network(tensor(pictures[96:])).numpy()


def iou_of(labels, truth):
    counted = ConfusionMatrix(len(street_names))
    counted.update(labels.astype(np.uint8), truth)
    return counted.iou()


pspnet = models.build("pspnet", 3, len(street_names))
deeplab = models.build("deeplab", 3, len(street_names))
logits = {
    "PSPNet": train_on_streets(pspnet, steps(150)),
    "DeepLab v3+": train_on_streets(deeplab, steps(150)),
}
viz.bars_figure(
    [name.replace(" ", "\n") for name in street_names],
    {name: iou_of(z.argmax(axis=1), masks[96:]) for name, z in logits.items()},
    "IoU on new scenes",
    title="Context and outlines",
)

# %% [markdown]
# PSPNet knows what is where, but only in blocks of eight pixels: lane marks, people and traffic lights are thinner than
# that. DeepLab's skip brings back much. But context is not all: U-Net, which keeps *every* fine map, did better on these
# streets in notebook 08.
#
# ## Pixels that vote
#
# Both leave blurred outlines, though the *image* has sharp ones. The first DeepLabs therefore asked the image once more,
# without any learning: pixels that are near each other *and of one colour* shall agree. How much two pixels count for
# each other is a Gaussian of both distances. Eight pixels in a row, dark ones on the left and bright ones on the right:

# %%
brightness = np.array([10.0, 12, 11, 13, 80, 82, 79, 81])
place = np.arange(8.0)
near = (place[:, None] - place) ** 2 / (2 * 3**2)
alike = (brightness[:, None] - brightness) ** 2 / (2 * 13**2)
k = np.exp(-near - alike)
viz.matrices_figure({"how much pixel i (row) hears pixel j (column)": k}, form=".1f")

# %% [markdown]
# Two groups, and no word between them. Now a network has given each pixel probabilities, and it has its doubts in the
# middle. Their logarithms are costs: u. A pixel pays u for a class by itself, and besides for everybody it hears who is
# of another class, as far as they are likely to be. The cheaper a class, the likelier it becomes; with the new
# probabilities all vote again. This is the *mean-field* update of a *conditional random field*, CRF.

# %%
show("ctx.crf_meanfield")


# %%
def mean_field_slowly(u, q, mu, k):
    N, L = u.shape
    Q = np.zeros((N, L))
    for i in range(N):
        for l in range(L):
            cost = u[i, l]
            for a in range(L):
                for j in range(N):
                    if j != i:
                        cost += mu[l, a] * k[i, j] * q[j, a]
            Q[i, l] = np.exp(-cost)
        Q[i] /= Q[i].sum()
    return Q


bright = np.array([0.1, 0.2, 0.4, 0.6, 0.3, 0.8, 0.9, 0.9])  # the network's probability
start = np.stack([1 - bright, bright], axis=1)
u = -np.log(start)
mu = 1 - np.eye(2)  # two classes that differ cost 1, the same class costs nothing
q, rows = start, [start[:, 1]]
for _ in range(4):
    slow = mean_field_slowly(u, q, mu, k)
    assert np.allclose(mean_field_step(u, q, mu, k), slow)
    q = slow
    rows.append(q[:, 1])
heading = "probability of the bright class: the network's, and after 1, 2, 3, 4 updates"
viz.matrices_figure({heading: np.array(rows)}, form=".2f")

# %% [markdown]
# Two pixels were on the wrong side. Their like have outvoted them, and pixels across the edge did not interfere.
#
# **Exercise 10.4.** Write one update. What costs two labels beside each other, mu, may be any matrix here.


# %% tags=["exercise"]
def mean_field(u, q, mu, k):
    """Costs u (N, L), probabilities q (N, L), mu (L, L), k (N, N): new probabilities (N, L)."""
    raise NotImplementedError("exercise 10.4")


# %%
check("10.4", mean_field)

# %% [markdown]
# For an image of 64 x 64 pixels k has 4096 x 4096 numbers. `dense_crf` computes them all (in larger images,
# those of a window around each pixel), adds a second Gaussian of places only, and updates five times. On six new streets:

# %%
SIX = slice(96, 102)
sharp = {
    name: np.stack([dense_crf(z[n], streets[96 + n][0], iterations=5) for n in range(6)])
    for name, z in logits.items()
}
before = {name: iou_of(z[:6].argmax(axis=1), masks[SIX]) for name, z in logits.items()}
after = {name: iou_of(q.argmax(axis=1), masks[SIX]) for name, q in sharp.items()}
print("IoU               PSPNet   and CRF   DeepLab   and CRF")
for number, name in enumerate(street_names):
    ious = [scores[of][number] for of in logits for scores in (before, after)]
    print(f"{name:14}" + "".join(f"{iou:10.2f}" for iou in ious))

# %% [markdown]
# One of the six, with both networks, before and after:

# %%
n = 4
picture, truth = streets[96 + n][0], masks[96 + n]
panels = {"image": picture}
for name in logits:
    for found, what in ((logits[name][n], name), (sharp[name][n], f"{name} and CRF")):
        labels = found.argmax(axis=0).astype(np.uint8)
        wrong = 100 * (labels != truth).mean()
        panels[f"{what}:\n{wrong:.1f} % wrong"] = labels
panels["truth"] = truth
viz.gallery_figure(panels, columns=3, class_names=street_names)

# %% [markdown]
# Outlines snap to the edges of the image. But the vote has a price: what the network has hardly seen, such as PSPNet's
# lane marks, is outvoted altogether. A CRF repairs *where*, not *what*.

# %% tags=["full"]
for name in logits:
    assert np.nanmean(after[name]) > np.nanmean(before[name])
    means = np.nanmean(before[name]), np.nanmean(after[name])
    print(f"{name:12} mean IoU {means[0]:.2f}, with CRF {means[1]:.2f}")
assert after["PSPNet"][4] < before["PSPNet"][4]

# %% [markdown]
# ## Where did it look?
#
# D1 names it as a challenge that nobody can tell why a network decides as it does. Two simple ways to ask. The first:
# *poke* a pixel, and see how much the score of a class changes. For all pixels at once that is a gradient, this time for
# the image instead of the weights. Of its three colours the strongest counts: the *saliency map*.

# %%
show("explain.saliency")

# %% [markdown]
# Slowly, by poking, for one pixel; and then for all, by one backward pass. The score is the sum of a class's logits over
# the pixels asked about.

# %%
ONE = LEARN + 8  # a new scene, with a red lamp
scene, truth, (r, c) = world[ONE]
image, on_discs = X[ONE].astype(np.float64), truth > 0
STOP, GO = 1, 2
exact = copy.deepcopy(pyramid).to(np.float64)


def score(image):
    with no_grad():
        return exact(tensor(image[None])).numpy()[0, STOP][on_discs].sum()


h, slopes = 1e-6, []
for channel in range(3):
    poke = np.zeros_like(image)
    poke[channel, r + 3, c + 3] = h  # a pixel of the lamp
    slopes.append((score(image + poke) - score(image - poke)) / (2 * h))
S = explain.saliency(exact, image, STOP, on_discs)
assert np.isclose(max(np.abs(slopes)), S[r + 3, c + 3], rtol=1e-4)
networks = {"plain": plain, "dilated": dilated, "pyramid": pyramid}
panels = {"scene": scene}
for name, network in networks.items():
    S = explain.saliency(network, X[ONE], STOP, on_discs)
    panels[f"{name}: saliency of its discs"] = viz.heat_overlay(scene, S)
viz.gallery_figure(panels)

# %% [markdown]
# All three look at the discs, to see that they are discs. The lamp shows in the last map only.
#
# Saliency asks pixels. *Grad-CAM* asks the *features* of a layer: how much does each of its channels speak for the class,
# on average over the map, and where is it strong? What speaks against the class is left out.

# %%
show("explain.gradcam")

# %% [markdown]
# **Exercise 10.5.** Write it, for features A and the gradient g of the score for them.


# %% tags=["exercise"]
def grad_cam(A, g):
    """A, g (K, H, W): the map (H, W)."""
    raise NotImplementedError("exercise 10.5")


# %%
check("10.5", grad_cam)

# %% [markdown]
# `explain.grad_cam` gets A and g by itself. We do it once by hand: record what the fifth layer gives out, just before the
# pyramid, and go backward to there. Then the same question for a scene with a green lamp:

# %%
BEFORE_PYRAMID = "14"  # the fifth ReLU of nn.Sequential, which counts from 0
with explain.untouched(pyramid), explain.record(pyramid, BEFORE_PYRAMID, cut=True) as seen:
    pyramid(tensor(X[ONE][None]))[0, STOP][on_discs].sum().backward()
features = seen[BEFORE_PYRAMID][0]
A, g = features.numpy()[0], features.grad[0]
by_hand = np.maximum(0, sum(g[k].mean() * A[k] for k in range(len(A))))
cam = explain.grad_cam(pyramid, X[ONE], STOP, BEFORE_PYRAMID, on_discs)
assert np.allclose(cam, by_hand, rtol=1e-4, atol=1e-4 * cam.max())
green, green_truth, green_corner = world[LEARN + 59]
green_cam = explain.grad_cam(pyramid, X[LEARN + 59], GO, BEFORE_PYRAMID, green_truth > 0)
print("mean of the map     lamp   discs   ground")
for name, found, mask, corner in (
    ("red", cam, truth, world[ONE][2]),
    ("green", green_cam, green_truth, green_corner),
):
    lamp = distance_from_lamp(corner) == 0
    parts = lamp, mask > 0, ~lamp & (mask == 0)
    print(f"{name:14}" + "".join(f"{found[part].mean():9.2f}" for part in parts))
viz.gallery_figure(
    {
        "red lamp": scene,
        "speaks for stop": viz.heat_overlay(scene, cam),
        "green lamp": green,
        "speaks for go": viz.heat_overlay(green, green_cam),
    }
)

# %% [markdown]
# The first map is what we hoped for: the red lamp, and nothing else, says *stop*. The second is a surprise. The discs say
# *go*, and so does the bare ground; the green lamp says it no louder than the ground! **A puzzle:** what has this network
# learned? And how would you prove it?
#
# A map is only a hint. The proof is an *experiment*: paint the lamp grey in all new scenes, and ask again.

# %%
dark = X[LEARN:].copy()
for picture, (_, _, (r, c)) in zip(dark, world[LEARN:]):
    picture[:, r : r + LAMP, c : c + LAMP] = 110 / 127.5 - 1
with no_grad():
    unlit = pyramid(tensor(dark)).numpy().argmax(axis=1)
print("called go               lamp on   lamp painted over")
called_go = {}
for name, label in (("stop", STOP), ("go", GO)):
    discs = T[LEARN:] == label
    called_go[name] = [(labels[discs] == GO).mean() for labels in (answers["pyramid"], unlit)]
    print(f"discs that are {name:6}{called_go[name][0]:10.2f}{called_go[name][1]:20.2f}")

# %% [markdown]
# It never needed the green lamp. It has learned *red means stop, and without red it is go*: in its world that is always
# right, and its score is perfect. In a street with a broken lamp it would be deadly. Such short cuts are what D1's wish
# for interpretable networks is about; no score on new scenes of the same kind finds them.

# %% tags=["full"]
assert called_go["stop"][0] < 0.05
assert min(called_go["stop"][1], *called_go["go"]) > 0.9
print("without a lamp all discs are called go")

# %% [markdown]
# On a street, DeepLab's vehicles: the map depends on the layer that you ask. The ASPP speaks for the whole region where
# vehicles drive, in blocks of eight pixels; the decoder for the vehicles.

# %%
vehicle, n = street_names.index("vehicle"), 4
picture, mine = streets[96 + n][0], logits["DeepLab v3+"][n].argmax(axis=0) == vehicle
panels = {"image": picture, "called a vehicle": mine.astype(float)}
for layer in ("aspp", "decoder"):
    cam = explain.grad_cam(deeplab, pictures[96 + n], vehicle, layer, mine)
    panels[f"Grad-CAM, {layer}"] = viz.heat_overlay(picture, viz.enlarge(cam, picture.shape[:2]))
viz.gallery_figure(panels)

# %% [markdown]
# ## The picture
#
# Above, what one pixel in the middle sees in the three networks of the lamps, measured. The brighter, the more strongly,
# on a logarithmic scale; black is not seen at all. Below, what they answer in the scene with the red lamp.

# %%
panels = {"scene": scene}
for name, network in networks.items():
    field = explain.receptive_field(network, 3, size=SIDE)
    strength = field.strength / field.strength.max()
    decades = np.where(field.seen, 1 + np.log10(np.maximum(strength, 1e-9)) / 5, 0)
    side = field.size[0]
    panels[f"{name} sees\n{side} x {side} pixels"] = viz.heat(decades)
panels["truth"] = truth
for name in networks:
    wrong = 100 * (answers[name][ONE - LEARN] != truth)[on_discs].mean()
    panels[f"{name}: {wrong:.0f} %\nof the discs wrong"] = answers[name][ONE - LEARN]
viz.gallery_figure(panels, class_names=NAMES, title="To know, one must see")

# %% [markdown]
# ## What to read next
#
# * [11 · Every pixel asks every pixel](11_every_pixel_asks_every_pixel.ipynb): context without windows and grids; each
#   pixel chooses whom it asks.
# * The formulas with their code: [context](../minseg/equations/EQUATIONS.md#ctx),
#   [explanations](../minseg/equations/EQUATIONS.md#explain), [pooling](../minseg/equations/EQUATIONS.md#pool). The code:
#   [deeplab.py](../minseg/models/deeplab.py), [pspnet.py](../minseg/models/pspnet.py),
#   [postprocess.py](../minseg/postprocess.py), [attribution.py](../minseg/explain/attribution.py). `minseg explain` draws
#   such maps of a network that you trained.
# * H. Zhao and others: Pyramid Scene Parsing Network. CVPR 2017. L.-C. Chen and others: Encoder-Decoder with Atrous
#   Separable Convolution for Semantic Image Segmentation. ECCV 2018. P. Kraehenbuehl, V. Koltun: Efficient Inference in
#   Fully Connected CRFs with Gaussian Edge Potentials. NIPS 2011.
# * Solutions of the exercises: [solutions/10.py](solutions/10.py).
