# %% [markdown]
# # 08 · Encoder, decoder, skips
#
# **What you will build:** the only network of the documents that gives an image, repaired; SegNet's pooling that
# remembers where its maxima were; and U-Net's skips, which carry whole maps across.
#
# **The picture at the end:** one street by D5's network, by SegNet and by U-Net, with wrong pixels in red.
#
# Read [07 · From one answer to an answer per pixel](07_an_answer_per_pixel.ipynb) first.

# %% [markdown]
# ## The network of D5, as printed
#
# It has the right idea. An *encoder* makes the map smaller and deeper, twice convolution, ReLU and pooling; a *decoder*
# makes it large again by two transposed convolutions, which you know. So what comes out for a square picture?

# %%
import numpy as np

from minseg import data, metrics, models, no_grad, ops, optim, tensor, use_backend, viz
from minseg.autograd import concatenate
from minseg.models import printed
from minseg.testing.tutorials import check, erratum, show, steps

use_backend("numba")
network = printed.SegmentationNetwork(np.random.default_rng(0))
sides = (8, 9, 10, 11, 12, 64, 256)
with no_grad():
    outputs = [network(tensor(np.zeros((1, 3, H, H), np.float32))).shape for H in sides]
viz.matrices_figure(
    {"rows that go in, and rows that come out": np.array([sides, [s[2] for s in outputs]])},
    most=600,
)

# %% [markdown]
# 256 rows go in and 259 come out, so no mask of 256 x 256 will ever fit, and the first training step ends in an
# error.
#
# **A puzzle.** One of these sizes survives. Why just that one? The two numbers that matter: pooling rounds down, and
# each transposed convolution (kernel 4, stride 2, padding 1, output padding 1) makes 2n + 1 rows of n.
#
# **Exercise 8.1.** Write what the printed network makes of H rows.


# %% tags=["exercise"]
def printed_rows(H):
    """Rows that come out of D5's network, as printed, for H rows that go in."""
    raise NotImplementedError("exercise 8.1")


# %%
check("8.1", printed_rows)

# %% [markdown]
# Solved? Here is what should have stood there, and two more things that are wrong with the same few lines.

# %%
erratum("ERR-51")

# %%
erratum("ERR-52", "ERR-53")

# %% [markdown]
# `encoder_decoder` is the network with these repairs: no output padding, a channel for each class, and for sides that
# 4 does not divide, zeros around the image that are cut off again at the end.

# %%
repaired = models.build("encoder_decoder", 3, 8)
with no_grad():
    for H in (8, 9, 64, 255):
        out = repaired(tensor(np.zeros((1, 3, H, H), np.float32))).shape
        assert out == (1, 8, H, H)
print("8, 9, 64, 255 rows: what goes in comes out, with a channel for each of 8 classes")

# %% [markdown]
# ## What pooling forgets
#
# D5 says that a network in two halves solves two problems and therefore needs less data. Nothing supports that, and
# the two halves are trained as one. What *is* sure is what the middle loses. Here are real nuclei: pooled three
# times, and then enlarged again by straight lines. Every outline within a block of 8 pixels is gone, and no decoder can
# know it.

# %%
nuclei = data.open_data("nuclei")
micrograph, mask = nuclei.val[0]
cells = data.Preprocess.fit([nuclei.train[0][0]], log_gain=20)(micrograph)[:, 300:428]
pooled = ops.max_pool2d(tensor(cells[None]), 8)
blurred = ops.interpolate(pooled, scale_factor=8, mode="bilinear")
viz.gallery_figure(
    {
        "image": cells[0],
        "maxima of 8 x 8": pooled.numpy()[0, 0],
        "enlarged again": blurred.numpy()[0, 0],
    },
    columns=3,
    limits=(-1, 3),
)

# %%
erratum("ERR-72")

# %% [markdown]
# ## SegNet remembers where
#
# A maximum is a value *and a place*. SegNet (2017) keeps the places. The first formula numbers the place inside its
# window, the second counts it in the whole map, row by row.

# %%
show("pool.max2d_place", "pool.max2d_indices")


# %%
def pool_slowly(x, k):
    """Maxima of k x k windows, and where in the flattened map each was found."""
    H, W = x.shape
    y, a = np.zeros((H // k, W // k)), np.zeros((H // k, W // k), int)
    for i in range(H // k):
        for j in range(W // k):
            window = x[k * i : k * i + k, k * j : k * j + k]
            t = (
                window.argmax()
            )  # the place in the window, row by row; the first one, if there are several
            y[i, j] = window.flat[t]
            a[i, j] = (k * i + t // k) * W + k * j + t % k
    return y, a


x = np.random.default_rng(1).permutation(24).reshape(4, 6).astype(float)
y, a = pool_slowly(x, 2)
maxima, indices = ops.max_pool2d(tensor(x[None, None]), 2, return_indices=True)
assert np.array_equal(maxima.numpy()[0, 0], y)
assert np.array_equal(indices.numpy()[0, 0], a)
print("indices of the maxima:", a.tolist())

# %% [markdown]
# **Exercise 8.2.** Write it yourself, for windows of k x k that fill the map.


# %% tags=["exercise"]
def pool_with_indices(x, k):
    """Map (H, W), sides divisible by k: the maxima, and the index row * W + column of each. Return the two."""
    raise NotImplementedError("exercise 8.2")


# %%
check("8.2", pool_with_indices)

# %% [markdown]
# The decoder enlarges with these indices: it puts each value where the maximum was, and zeros everywhere else. Its
# gradient reads at the same places.

# %%
show("pool.unpool", "pool.unpool_grad")


# %%
def unpool_slowly(x, a, H, W):
    y = np.zeros((H, W))
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[a[i, j] // W, a[i, j] % W] = x[i, j]
    return y


back = unpool_slowly(y, a, 4, 6)
assert np.array_equal(ops.max_unpool2d(maxima, indices, 2).numpy()[0, 0], back)
viz.matrices_figure({"a map": x, "its maxima": y, "put back": back}, most=40)

# %% [markdown]
# **Exercise 8.3.** Put them back. Several windows may share a pixel when they overlap: then values add up, as the sum
# of the formula says.


# %% tags=["exercise"]
def unpool(x, a, H, W):
    """Values x (I, J) and their indices a (I, J): the map (H, W), zero where no value belongs."""
    raise NotImplementedError("exercise 8.3")


# %%
check("8.3", unpool)

# %% [markdown]
# On the micrograph: the same 8 x 8 maxima, put back where they were found. Most pixels are empty, and the
# convolutions after each unpooling fill them. But the places are exact, at the price of one small number for each
# value.

# %%
maxima, indices = ops.max_pool2d(tensor(cells[None]), 2, return_indices=True)
placed = ops.max_unpool2d(
    maxima + 1, indices, 2
)  # + 1, as empty places are 0 and background is about -0.6
viz.gallery_figure(
    {
        "image": cells[0, 40:88, 40:88],
        "maxima of 2 x 2": maxima.numpy()[0, 0, 20:44, 20:44],
        "put back": placed.numpy()[0, 0, 40:88, 40:88] - 1,
    },
    columns=3,
    limits=(-1, 3),
)

# %% [markdown]
# ## U-Net carries everything across
#
# U-Net (2015) goes further. At each resolution it keeps the encoder's whole map and puts it beside the decoder's: a
# *concatenation* of channels. Then the decoder has both in one place, what the deep maps know and where the fine maps
# saw it. FCN's sums (notebook 07) are called skip connections too, and are something else.

# %%
erratum("ERR-43")

# %% [markdown]
# Concatenation needs equal height and width. D5's text describes a decoder that concatenates, and forgets that its
# state is half as large as the map it is to meet:

# %%
erratum("ERR-27")

# %% [markdown]
# So a step of the decoder is: enlarge, concatenate, convolve. Here are the first two with `minseg`:

# %%
skip = tensor(np.ones((1, 2, 4, 6), np.float32))
state = tensor(np.full((1, 3, 2, 3), 2, np.float32))
joined = concatenate([skip, ops.interpolate(state, scale_factor=2)], dim=1)
print(f"skip {skip.shape}, state {state.shape}, joined {joined.shape}")

# %% [markdown]
# **Exercise 8.4.** The same in NumPy: enlarge the state twice by repeating pixels, then the skip's channels first.


# %% tags=["exercise"]
def join(skip, state):
    """skip (N, A, 2 H, 2 W) and state (N, B, H, W): one array (N, A + B, 2 H, 2 W)."""
    raise NotImplementedError("exercise 8.4")


# %%
check("8.4", join)

# %% [markdown]
# ## The three, trained alike
#
# The streets of notebook 07 again, with a larger learning rate and fewer steps. How many pixels in a row can each network
# see? D5's pools only twice and sees 14.

# %%
SIZE, TRAIN = 64, 96
scenes = [data.draw_scene("streets", n, SIZE) for n in range(TRAIN + 24)]
street_names = data.SCENES["streets"][1]
prepare = data.Preprocess.fit([picture for picture, _ in scenes[:TRAIN]])
X, T = np.stack([prepare(p) for p, _ in scenes]), np.stack([t for _, t in scenes])


def train(network, count, lr=1e-2):
    """Adam, with batches of eight scenes, one half of them mirrored; then the labels of the new scenes."""
    optimizer, rng = optim.Adam(network.parameters(), lr=lr), np.random.default_rng(1)
    for step in range(count):
        optimizer.lr = lr * (1 - step / count)
        n = rng.integers(0, TRAIN, 8)
        turn = slice(None, None, -1 if step % 2 else 1)
        optimizer.zero_grad()
        logits = network(tensor(np.ascontiguousarray(X[n][..., turn])))
        ops.cross_entropy(logits, np.ascontiguousarray(T[n][..., turn])).backward()
        optimizer.step()
    network.eval()
    with no_grad():
        return network(tensor(X[TRAIN:])).numpy().argmax(axis=1).astype(np.uint8)


answers, scores = {}, {}
for name in ("encoder_decoder", "segnet", "unet"):
    network = models.build(name, 3, len(street_names))
    answers[name] = train(network, steps(150))
    counted = metrics.ConfusionMatrix(len(street_names))
    counted.update(answers[name], T[TRAIN:])
    scores[name] = counted.iou()
    print(f"{name:15} {network.num_parameters():6} weights, mean IoU {counted.mean_iou():.2f}")

# %% [markdown]
# Class by class. D5's repaired network is not bad at all: many classes of these streets can be told by their colour, and
# its two poolings lose little. It lacks context. SegNet has context; its weak spot are the rarest pixels.

# %%
viz.bars_figure([name.replace(" ", "\n") for name in street_names], scores, "IoU on new scenes")

# %% [markdown]
# With whole maps carried across, the same training goes furthest:

# %% tags=["full"]
means = {name: iou.mean() for name, iou in scores.items()}
assert means["unet"] > max(means["segnet"], means["encoder_decoder"])
print(f"U-Net leads by {means['unet'] - max(means['segnet'], means['encoder_decoder']):.2f}")

# %% [markdown]
# One caution: the three differ in depth and width as well, so this is a comparison of networks, not of skips alone.
# A fair test would change one thing at a time: a U-Net whose skips are set to zero, trained in the same way.
#
# ## The picture
#
# A new street. Red pixels are wrong: scattered specks and mistaken surfaces for D5's network, which judges each place
# by the few pixels around it; outlines and thin things for SegNet; and little for U-Net.

# %%
n = 3
picture, truth = scenes[TRAIN + n][0], T[TRAIN + n]
panels = {"image": picture}
titles = {"encoder_decoder": "D5, repaired", "segnet": "SegNet", "unet": "U-Net"}
for name, title in titles.items():
    panels[title] = answers[name][n]
panels["truth"] = truth
for name, title in titles.items():
    wrong = 100 * (answers[name][n] != truth).mean()
    panels[f"{title}: {wrong:.1f} % wrong"] = viz.mark_errors(picture, truth, answers[name][n])
viz.gallery_figure(panels, columns=4, class_names=street_names, title="Three decoders")

# %% [markdown]
# ## What to read next
#
# * [09 · y = x + F(x)](09_residual_and_dense.ipynb): another short cut, which lets networks become deep. Then
#   [10 · Seeing further](10_seeing_further.ipynb) or
#   [11 · Every pixel asks every pixel](11_every_pixel_asks_every_pixel.ipynb), in any order.
# * The formulas with their code: [pooling](../minseg/equations/EQUATIONS.md#pool). The networks:
#   [encoder_decoder.py](../minseg/models/encoder_decoder.py), [segnet.py](../minseg/models/segnet.py),
#   [unet.py](../minseg/models/unet.py).
# * O. Ronneberger, P. Fischer, T. Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation. MICCAI 2015.
#   V. Badrinarayanan, A. Kendall, R. Cipolla: SegNet. IEEE TPAMI 39 (2017).
# * Solutions of the exercises: [solutions/08.py](solutions/08.py).
