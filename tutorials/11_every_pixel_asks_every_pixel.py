# %% [markdown]
# # 11 · Every pixel asks every pixel
#
# **What you will build:** attention, first as loops and then as two matrix products; positions, without which it is
# blind to where things are; patches; and the decoder that D5 describes in words and leaves out of its code.
#
# **The picture at the end:** a scene, one chosen pixel in it, and how much each other place tells that pixel, as a
# trained network sees it.
#
# Read [08 · Encoder, decoder, skips](08_encoder_decoder_skips.ipynb) first, and remember softmax from
# [05](05_what_is_a_good_loss.ipynb): it turns scores into shares that add up to 1.

# %%
import numpy as np

from minseg import data, explain, inference, models, nn, ops, optim, tensor, use_backend, viz
from minseg.metrics import ConfusionMatrix
from minseg.testing.tutorials import check, erratum, show, steps

use_backend("numba")
rng = np.random.default_rng(0)

# %% [markdown]
# ## Who looks like me?
#
# A convolution hears its neighbours. To decide whether a grey pixel is road or roof, it would help to ask *all*
# pixels, and to listen most to those that are alike. Let a pixel's question and a pixel's answer be vectors, and let
# their inner product say how well they fit:

# %%
show("att.score")

# %% [markdown]
# Softmax over each row makes shares of the scores. A pixel's result is the mixture of all pixels' values, with those
# shares:

# %%
show("att.weights", "att.mix")

# %% [markdown]
# Three loops, one for each formula, say the same:


# %%
def attention_loops(Q, K, V):
    """Q, K (N, d), V (N, c): the mixtures (N, c), and the shares (N, N)."""
    N, d = Q.shape
    s, A, Y = np.zeros((N, N)), np.zeros((N, N)), np.zeros((N, V.shape[1]))
    for i in range(N):
        for j in range(N):
            s[i, j] = sum(Q[i, c] * K[j, c] for c in range(d)) / np.sqrt(d)
    for i in range(N):
        A[i] = np.exp(s[i] - s[i].max())
        A[i] /= A[i].sum()
    for i in range(N):
        for c in range(V.shape[1]):
            Y[i, c] = sum(A[i, j] * V[j, c] for j in range(N))
    return Y, A


Q, K, V = (rng.standard_normal((6, 4)) for _ in range(3))
y, weights = ops.scaled_dot_product_attention(tensor(Q), tensor(K), tensor(V), need_weights=True)
loops, shares = attention_loops(Q, K, V)
assert np.allclose(y.numpy(), loops)
assert np.allclose(weights.numpy(), shares)
print(
    "loops and ops.scaled_dot_product_attention agree; each row of shares adds up to",
    shares.sum(axis=1).round(6)[0],
)

# %% [markdown]
# Try it on a picture, without learning anything: question, answer and value of a pixel are simply its colour (made
# pointed by a factor, so that shares are not all alike). The pixel with the white square asks; the brighter, the more
# it listens to a place.


# %%
def asked_by(features, pixel, size):
    """The shares of one pixel of an image whose features are (d, H, W), as a picture."""
    d, H, W = features.shape
    Q = features.reshape(d, -1).T
    s = Q[pixel[0] * W + pixel[1]] @ Q.T / np.sqrt(d)
    e = np.exp(s - s.max())
    return viz.enlarge((e / e.sum()).reshape(H, W), size)


def marked(image, pixel):
    """A copy with a white square around the pixel."""
    image, (r, c) = image.copy(), pixel
    image[max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3] = 255
    return image


scene, truth = data.open_data("shapes").val[3]
colours = (scene[::2, ::2].transpose(2, 0, 1) / 255 - 0.5) * 5
places = [
    tuple(np.argwhere(truth[::2, ::2] == k)[len(np.argwhere(truth[::2, ::2] == k)) // 2])
    for k in (1, 2)
]
panels = {"scene": scene}
for name, (r, c) in zip(
    ("a pixel of the disc asks", "a pixel of the square asks"), places, strict=True
):
    heat = viz.heat_overlay(scene, asked_by(colours, (r, c), scene.shape[:2]))
    panels[name] = marked(heat, (2 * r, 2 * c))
viz.gallery_figure(panels)

# %% [markdown]
# **Exercise 11.1.** Write attention without loops: two matrix products and a softmax between them.


# %% tags=["exercise"]
def attention(Q, K, V):
    """Q (N, d), K (M, d), V (M, c): the mixtures (N, c)."""
    raise NotImplementedError("exercise 11.1")


# %%
check("11.1", attention)

# %% [markdown]
# ## Why the square root?
#
# The score is divided by the root of d, the length of the vectors. Without it, scores of random vectors grow with that
# root: a sum of d products of random signs strays that far from 0. And softmax of large scores is all or nothing: one
# share is 1, the others 0, and nothing is left to learn from. The largest of 16 shares, for vectors of growing length:

# %%
lengths = [1, 4, 16, 64, 256, 1024]
largest = {"with the root": [], "without": []}
for d in lengths:
    Q, K = rng.standard_normal((200, d)), rng.standard_normal((16, d))
    for name, root in (("with the root", np.sqrt(d)), ("without", 1.0)):
        s = Q @ K.T / root
        e = np.exp(s - s.max(axis=1, keepdims=True))
        largest[name].append((e.max(axis=1) / e.sum(axis=1)).mean())
viz.lines_figure(
    {name: (lengths, values) for name, values in largest.items()},
    x_label="d, numbers in a question",
    y_label="largest share, on average",
    title="Softmax of scores that were not scaled",
    log_x=True,
)

# %% [markdown]
# ## A document's attention
#
# D5 describes attention in a sentence: compute how strongly all pixels are related, normalise with softmax, weigh the
# input with that. **A puzzle:** by this sentence alone, what happens to the result if somebody shuffles the pixels of
# the image? Think before you run the cell.

# %%
x = rng.standard_normal((16, 3))  # sixteen pixels of three colours
shuffle = rng.permutation(16)
straight, _ = attention_loops(x, x, x)
shuffled, _ = attention_loops(x[shuffle], x[shuffle], x[shuffle])
print("the same results, shuffled:", np.allclose(straight[shuffle], shuffled))

# %% [markdown]
# Nothing notices. To such a layer an image is a bag of pixels, and a face is the same face with its eyes below its
# mouth. The sentence misses more: questions, answers and values are different things, so each gets weights of its
# own; and the root is not there.

# %%
erratum("ERR-26")

# %% [markdown]
# ## Where am I?
#
# The cure is to tell every pixel where it is, by adding a pattern to its vector that no other place has. A clever
# choice are waves of many lengths, like the digits of a clock: the short ones tell neighbours apart, the long ones far
# places.

# %%
show("att.positional_sin")

# %% [markdown]
# Thirty-two places, each a row of sixteen numbers. Every row is different:

# %%
P = nn.sinusoidal_positions(32, 16)
viz.gallery_figure({"places (down) and their numbers (across)": viz.enlarge(P, (256, 256))})

# %% [markdown]
# **Exercise 11.2.** Write these waves: even columns are sines, odd ones cosines, and a pair shares one length.


# %% tags=["exercise"]
def positions(length, channels, base):
    """(length, channels), by the formula above."""
    raise NotImplementedError("exercise 11.2")


# %%
check("11.2", positions)

# %% [markdown]
# With positions added, shuffled pixels are another image:

# %%
where = nn.sinusoidal_positions(16, 4)[:, :3]
straight, _ = attention_loops(x + where, x + where, x)
shuffled, _ = attention_loops(x[shuffle] + where, x[shuffle] + where, x[shuffle])
print("the same results, shuffled:", np.allclose(straight[shuffle], shuffled))

# %% [markdown]
# ## What it costs
#
# Every pixel asks every pixel: N questions, N answers, N times N shares. A side twice as long makes four times the
# pixels and *sixteen* times the shares.

# %%
for side in (16, 32, 64, 128, 256):
    shares = side**4
    print(f"{side:4} x {side:<4} pixels: {shares:>14,} shares, {4 * shares / 2**20:>9,.2f} MB")

# %% [markdown]
# D5 proposes attention as a simpler architecture that saves computing. Does it?

# %%
erratum("ERR-63")

# %% [markdown]
# Nobody has to *keep* all shares, though. A question can go through the answers in pieces. It remembers the largest
# score so far, the sum of what it has met, and its mixture so far; when a larger score turns up, both shrink by one
# factor. The mixture comes out the same, and so does one number for each question: the logarithm of what its shares are
# divided by.

# %%
show("att.log_sum", "att.attention")

# %% [markdown]
# Piece by piece, with never more than ``size`` shares of a question at hand:


# %%
def attention_in_pieces(Q, K, V, size):
    """The mixtures (N, c), and the log-sums (N,)."""
    largest, total, Y = np.full(len(Q), -np.inf), np.zeros(len(Q)), np.zeros((len(Q), V.shape[1]))
    for start in range(0, len(K), size):
        piece = slice(start, start + size)
        s = Q @ K[piece].T / np.sqrt(Q.shape[1])
        larger = np.maximum(largest, s.max(axis=1))
        shrink, e = np.exp(largest - larger), np.exp(s - larger[:, None])
        total = shrink * total + e.sum(axis=1)
        Y = shrink[:, None] * Y + e @ V[piece]
        largest = larger
    return Y / total[:, None], largest + np.log(total)


Q, K, V = (rng.standard_normal((40, 4)) for _ in range(3))
y, log_sums = attention_in_pieces(Q, K, V, size=7)
assert np.allclose(y, attention_loops(Q, K, V)[0])
print("pieces of 7 and all 40 at once agree")

# %% [markdown]
# Going back, the log-sum gives every share again, as exp(s - L). With it the gradients can be found in pieces, too:
# first those of the scores, then from these the gradients of questions, answers and values.

# %%
show("att.grad_s", "att.grad_q", "att.grad_k", "att.grad_v")

# %% [markdown]
# Four formulas, four lines; the operation has them as a kernel, which works on a few dozen questions at a time, so
# that their shares never leave the processor's cache.

# %%
y_bar, root = rng.standard_normal(y.shape), np.sqrt(Q.shape[1])
A = np.exp(Q @ K.T / root - log_sums[:, None])
s_bar = A * (y_bar @ V.T - (y_bar * y).sum(axis=1, keepdims=True))
by_hand = s_bar @ K / root, s_bar.T @ Q / root, A.T @ y_bar
inputs = [tensor(values, requires_grad=True) for values in (Q, K, V)]
ops.scaled_dot_product_attention(*inputs).backward(y_bar)
assert all(np.allclose(x.grad, g) for x, g in zip(inputs, by_hand, strict=True))
print("the formulas and ops.scaled_dot_product_attention agree on all three gradients")

# %% [markdown]
# That saves memory, and time with it, but not one product. Two ways to fewer products are in use. Let each pixel ask a
# coarse grid of *means* instead of all pixels, or let whole *patches* ask each other. Before those, one more idea that
# both share: several attentions side by side, called heads, each with weights of its own, so that one may look for
# colours and another for edges. A last matrix joins them.

# %%
show("att.multihead")

# %% [markdown]
# The layer, taken apart: its projections are matrices, its heads slices of what they make.

# %%
layer = nn.MultiheadAttention(8, num_heads=2, rng=np.random.default_rng(1)).to(dtype=np.float64)
x = rng.standard_normal((1, 5, 8))
y, _ = layer(*[tensor(x)] * 3)
w, b = layer.in_proj_weight.numpy(), layer.in_proj_bias.numpy()
q, k, v = np.split(x[0] @ w.T + b, 3, axis=1)
heads = [attention_loops(q[:, c], k[:, c], v[:, c])[0] for c in (slice(0, 4), slice(4, 8))]
joined = (
    np.concatenate(heads, axis=1) @ layer.out_proj.weight.numpy().T + layer.out_proj.bias.numpy()
)
assert np.allclose(y.numpy()[0], joined)
print("two heads by hand and nn.MultiheadAttention agree")

# %% [markdown]
# ## Patches
#
# A Transformer for images cuts them into square patches and makes a vector of each, a *token*: all numbers of a patch
# times a matrix. That is a convolution whose stride is as long as its kernel, so that windows do not overlap.

# %%
show("att.patch_embed")

# %% [markdown]
# One of the documents says that the Transformer *divides the image into regions*, and so segments it. The patches are
# squares, whatever is in the picture, and all labels come from what is computed afterwards:

# %%
erratum("ERR-70")

# %% [markdown]
# **Exercise 11.3.** Cut an image (C, H, W) into patches k x k, whose sides divide its own: one row for each patch, row
# by row through the image, with the numbers in the order (channel, row, column).


# %% tags=["exercise"]
def patches(x, k):
    """(C, H, W) to (H/k * W/k, C*k*k)."""
    raise NotImplementedError("exercise 11.3")


# %%
check("11.3", patches)

# %% [markdown]
# ## The decoder that D5 describes
#
# D5 writes: begin with the coarsest features; join them with the encoder's next finer ones; attend; convolve; and go
# on, step by step. Its code has none of this. One thing is missing in the words, too: the coarse map must be *enlarged*
# before it fits.

# %%
show("att.decoder_step")

# %% [markdown]
# D5 calls it recursive. Taken at its word, each step is the *same* step, with the same weights, as in a recurrent
# network. minseg builds both readings:

# %%
own = models.build("attention_decoder", 3, 8)
shared = models.build("attention_decoder", 3, 8, shared=True)
transformer = models.build("patch_transformer", 3, 8)
for name, model in {
    "steps of their own": own,
    "one shared step": shared,
    "patch transformer": transformer,
}.items():
    print(f"{name:20} {model.num_parameters():>8,} weights")

# %% [markdown]
# We train them on drawn streets: sky, buildings, road, and what stands and drives there. A grey pixel may be road or
# wall; what it is depends on what is around it, and on where in the picture it lies.

# %%
scenes = data.open_data("streets")
images = np.stack([scenes.preprocess(scenes.train[i][0]) for i in range(len(scenes.train))])
masks = np.stack([scenes.train[i][1] for i in range(len(scenes.train))])


def train(model, count, lr=3e-3):
    draw, optimizer = np.random.default_rng(0), optim.Adam(model.parameters(), lr=lr)
    schedule = optim.WarmUp(optim.Polynomial(lr, count), max(1, count // 10))
    losses = []
    for step in range(count):
        pick = draw.integers(len(images), size=4)
        optimizer.lr = schedule(step)
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(tensor(images[pick])), masks[pick])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


curves = {
    "steps of their own": train(own, steps(80)),
    "one shared step": train(shared, steps(80)),
    "patch transformer": train(transformer, steps(160)),
}
smooth = {name: np.convolve(c, np.ones(8) / 8, "valid") for name, c in curves.items()}
viz.lines_figure(
    {name: (np.arange(len(c)), c) for name, c in smooth.items()},
    x_label="step",
    y_label="loss, mean of 8 steps",
    title="Three networks that attend",
)

# %% [markdown]
# How well do they do on scenes that they have not seen?

# %%
for name, model in {
    "steps of their own": own,
    "one shared step": shared,
    "patch transformer": transformer,
}.items():
    confusion = ConfusionMatrix(scenes.num_classes)
    inference.evaluate(model, scenes.val, scenes.preprocess, confusion)
    print(f"{name:20} mean IoU {confusion.mean_iou():.2f}")

# %% [markdown]
# These are short trainings on 64 pictures. Sharing one step costs little: the decoder is nearly as good with a quarter
# of its weights less. The transformer has to learn even what a neighbourhood is, which the others know from their
# convolutions; it was made for millions of pictures.
#
# **Exercise 11.4.** A layer whose question and answer are the *same* projection, q = k. Which shares must it then give
# for two pixels, of pixel i for j and of j for i, *before* the softmax of each row? Write the test: True if a matrix of
# scores can come from such a layer, as far as this can tell.


# %% tags=["exercise"]
def may_share_projection(s):
    """Scores (N, N), before the softmax: whether they can be q q' / sqrt(d)."""
    raise NotImplementedError("exercise 11.4")


# %%
check("11.4", may_share_projection)

# %% [markdown]
# ## The picture
#
# Now ask the trained transformer. Its last block has four heads; the pictures show their mean, for one patch of the
# road and one of a building: what does it listen to, before its class is decided?

# %%
scene, truth = scenes.val[3]
with explain.record(transformer, "blocks.2") as seen:
    prediction = inference.predict_labels(transformer, scenes.preprocess(scene))
_, weights = transformer.blocks[3].attend(seen["blocks.2"][0])
panels = {"scene": scene, "prediction": prediction}
for name in ("road", "building"):
    inside = np.argwhere(truth == scenes.class_names.index(name))
    r, c = inside[len(inside) // 2]
    looks = explain.attention_of(weights.numpy()[0], (r // 4, c // 4), (16, 16))
    heat = viz.heat_overlay(scene, viz.enlarge(looks, scene.shape[:2]))
    panels[f"what a patch of {name} hears"] = marked(heat, (r, c))
viz.gallery_figure(panels, class_names=scenes.class_names)

# %% [markdown]
# ## What to read next
#
# * [12 · Same equations, four backends](12_four_backends.ipynb): the same, fast; and what makes it hard.
# * The networks of this page: [attention_decoder.py](../minseg/models/attention_decoder.py),
#   [patch_transformer.py](../minseg/models/patch_transformer.py), and
#   [the equations of attention](../minseg/equations/EQUATIONS.md#att).
# * Attention in pieces as a fast kernel: [attention.py](../kernels/cpu/attention.py). The idea is from Dao et al.,
#   *FlashAttention*, NeurIPS 2022.
# * Solutions of the exercises: [solutions/11.py](solutions/11.py).
