# %% [markdown]
# # 07 · From one answer to an answer per pixel
#
# **What you will build:** a classifier that says what the middle of a small window is, turned without a new weight
# into a network that says it for a whole micrograph; three ways to enlarge a map; and FCN, which adds up what coarse
# and fine maps think.
#
# **The picture at the end:** one street by FCN with strides of 32, 16 and 8: from blocks to outlines.
#
# Read [06 · Going downhill](06_going_downhill.ipynb) first.

# %% [markdown]
# ## A classifier of windows
#
# The documents promise segmentation and print classifiers: one answer for one image. Let us not throw them away. Cut
# a window of 32 x 32 pixels out of the micrograph and ask what its *middle* pixel is: that is a task for a
# classifier. Here are some windows, sorted by the answer: nothing in the very middle, or a nucleus.

# %%
import numpy as np

from minseg import data, metrics, models, no_grad, ops, optim, tensor, use_backend, viz
from minseg.models import printed
from minseg.testing.tutorials import check, erratum, show, steps

use_backend("numba")
nuclei = data.open_data("nuclei")
(image, mask), (new_image, new_mask) = nuclei.train[0], nuclei.val[0]
prepare = data.Preprocess.fit([image], log_gain=20)
x, new_x = prepare(image), prepare(new_image)  # (1, 512, 384) and (1, 512, 128)


def windows(rng, count):
    """Windows (count, 1, 32, 32), and the class of the pixel in the middle of each; half of them are nuclei."""
    chosen = []
    for k in (0, 1):
        middles = np.argwhere(mask[16:-16, 16:-16] == k)
        chosen.append(rng.choice(middles, count // 2))
    corners = np.concatenate(chosen)
    cut = [x[:, i : i + 32, j : j + 32] for i, j in corners]
    return np.stack(cut), mask[corners[:, 0] + 16, corners[:, 1] + 16]


some, labels = windows(np.random.default_rng(0), 8)
names = ("background", "nucleus")
viz.gallery_figure(
    {f"{n + 1}: {('nothing', 'nucleus')[labels[n]]}": some[n, 0] for n in range(8)},
    columns=8,
    limits=(-1, 3),
)

# %% [markdown]
# D1's `ConvNet` takes 32 x 32 pixels and gives a row of scores. It learns this in a few seconds, with Adam and
# cross-entropy, as in notebook 06.

# %%
classifier = models.ConvNet(in_channels=1, num_classes=2)
optimizer = optim.Adam(classifier.parameters(), lr=2e-3)
rng = np.random.default_rng(1)
for _ in range(steps(200)):
    batch, labels = windows(rng, 32)
    optimizer.zero_grad()
    loss = ops.cross_entropy(classifier(tensor(batch)), labels)
    loss.backward()
    optimizer.step()
with no_grad():
    batch, labels = windows(rng, 400)
    right = classifier(tensor(batch)).numpy().argmax(axis=1) == labels
print(f"{classifier.num_parameters()} weights, scores for one window: {batch[:1].shape} -> (1, 2)")
print(f"right for {100 * right.mean():.0f} of 100 windows")

# %% [markdown]
# ## The folded batch
#
# What does the *printed* network do with an image that is larger than 32 pixels? Its line `x.view(-1, 400)` asks for
# rows of 400 numbers, as many as there may be. `-1` never complains.
#
# **A puzzle.** Nothing is wrong while each image has exactly 400 numbers at that place. Each convolution of 5 x 5 takes
# off 4 rows, each pooling halves and rounds down, and 16 channels arrive.
#
# **Exercise 7.1.** Find a batch size N and an image side H that the printed network accepts without a word and answers
# with a number of rows that is *not* N.


# %% tags=["exercise"]
def folding_batch():
    """(N, H): N images of H x H pixels, for which view(-1, 400) gives another number of rows than N."""
    raise NotImplementedError("exercise 7.1")


# %%
check("7.1", folding_batch)

# %% [markdown]
# Solved? Then read on. Somebody's training loop would have stopped much later, at the loss, with a message about
# batch sizes.

# %%
erratum("ERR-33")

# %% [markdown]
# ## A fully connected layer is a convolution
#
# Sliding the classifier over the micrograph is the obvious way to an answer per pixel: cut the window around each
# pixel, ask, next. It works, and takes almost the same sums again and again, as neighbouring windows overlap.
#
# The way out is to see what the first fully connected layer is. It has a weight for each of its 16 x 5 x 5 inputs,
# multiplies and adds up. That is a kernel of 5 x 5 pixels and 16 channels that fits the map in exactly one place. On
# a larger map it fits in many places, and gives an answer in each.

# %%
fc1 = classifier.fc1
kernels = fc1.weight.numpy().reshape(120, 16, 5, 5)  # the same numbers in another shape
maps = np.random.default_rng(2).standard_normal((1, 16, 5, 5)).astype(np.float32)
as_layer = maps.reshape(1, 400) @ fc1.weight.numpy().T + fc1.bias.numpy()
as_convolution = ops.conv2d(tensor(maps), tensor(kernels), fc1.bias).numpy()
assert np.allclose(as_layer, as_convolution[:, :, 0, 0], atol=1e-5)
print(
    f"fully connected: {as_layer.shape}; as a convolution: {as_convolution.shape}, the same numbers"
)

# %% [markdown]
# **Exercise 7.2.** Do it for any layer. The map of C channels, R rows and S columns was flattened row by row, channel
# after channel.


# %% tags=["exercise"]
def as_kernels(weight, C, R, S):
    """Weights (O, C R S) of a fully connected layer as kernels (O, C, R, S) that compute the same."""
    raise NotImplementedError("exercise 7.2")


# %%
check("7.2", as_kernels)

# %% [markdown]
# `to_segmenter` does this with every layer. Its `scores` for the image are those of all windows, 4 pixels apart (two
# poolings, each of which takes every second place). First the slow way, a window at a time, then at once; they must
# agree.

# %%
segmenter = classifier.to_segmenter()
piece = new_x[None, :, :64, :64]
with no_grad():
    at_once = segmenter.scores(tensor(np.ascontiguousarray(piece))).numpy()
    slowly = np.zeros_like(at_once)
    for i in range(at_once.shape[2]):
        for j in range(at_once.shape[3]):
            window = np.ascontiguousarray(piece[:, :, 4 * i : 4 * i + 32, 4 * j : 4 * j + 32])
            slowly[:, :, i, j] = classifier(tensor(window)).numpy()
assert np.allclose(at_once, slowly, atol=1e-4)
print(
    f"{at_once.shape[2] * at_once.shape[3]} windows of one piece of 64 x 64 pixels: both ways agree"
)

# %% [markdown]
# Now the whole held-out strip, which the classifier has never seen. `segmenter(...)` pads the image so that each
# score belongs to the middle of its window, and enlarges the map of scores four times.

# %%
part = np.s_[300:428]
with no_grad():
    logits = segmenter(tensor(new_x[None]))
    probability = ops.softmax(logits, dim=1).numpy()[0, 1]
guess = logits.numpy()[0].argmax(axis=0).astype(np.uint8)
counted = metrics.ConfusionMatrix(2)
counted.update(guess, new_mask)
viz.gallery_figure(
    {
        "image": viz.displayable(new_image[part]),
        "truth": new_mask[part],
        "how likely a nucleus": viz.heat(probability[part]),
        f"prediction, IoU {counted.iou()[1]:.2f}": guess[part],
    },
    class_names=names,
)

# %% [markdown]
# A segmentation, from a network that was trained to give one answer. No weight was added. It is no better than the
# best brightness threshold (IoU 0.79), and nuclei that almost touch grow together: half of its training windows were
# nuclei, so it says nucleus too readily, and a score every 4 pixels draws no fine line. The documents stop one step
# before: a fully connected layer is where they say the result of a segmentation comes from.

# %%
erratum("ERR-20")

# %% [markdown]
# The classifiers of D2 and D3 become segmenters in the same way. Here all three, for an image of 64 x 96 pixels and
# 21 classes. D3's has a mean over the map before its last layer, and a layer behind a mean is a 1 x 1 convolution
# before it.

# %%
for name in ("convnet", "net", "voccnn"):
    network = models.build(name, 3, 21)
    with no_grad():
        pixels = network(tensor(np.zeros((1, 3, 64, 96), np.float32))).shape
    print(f"{name:8} {network.num_parameters():7} weights   (1, 3, 64, 96) -> {pixels}")
print(f"as printed, D2's has {printed.Net().num_parameters()} weights and one answer")

# %% [markdown]
# Such a network is trained with a *mask* for each image. Two documents load their labels with `ImageFolder`, which
# knows a single number for each image: the folder it lies in.

# %%
erratum("ERR-38")

# %% [markdown]
# ## Enlarging by rule
#
# Strides make maps small, and a mask is as large as its image: somewhere we must enlarge. The plainest way repeats
# pixels, the next one draws straight lines between them.

# %%
show("up.nearest", "up.position", "up.bilinear")

# %% [markdown]
# The middle formula is the heart: where does row i of the output lie in the input? Pixels are little squares, and
# their *middles* must match, hence the two halves. The weight of a pixel then falls from 1 to 0 over a distance of
# one. Slowly, for one map:


# %%
def position(i, H, I):
    return min(max(0, (i + 0.5) * H / I - 0.5), H - 1)


def bilinear_slowly(x, I, J):
    H, W = x.shape
    y = np.zeros((I, J))
    for i in range(I):
        for j in range(J):
            a, d = position(i, H, I), position(j, W, J)
            for u in range(H):
                for v in range(W):
                    y[i, j] += max(0, 1 - abs(a - u)) * max(0, 1 - abs(d - v)) * x[u, v]
    return y


small = np.array([[0.0, 4.0], [8.0, 4.0]])
lines = bilinear_slowly(small, 4, 4)
nearest = ops.interpolate(tensor(small[None, None]), size=(4, 4), mode="nearest").numpy()[0, 0]
fast = ops.interpolate(tensor(small[None, None]), size=(4, 4), mode="bilinear").numpy()[0, 0]
assert np.allclose(lines, fast)
viz.matrices_figure({"a map": small, "nearest": nearest, "bilinear": fast})

# %% [markdown]
# Both are sums of pixels with fixed weights, so their gradients are the same sums the other way round: each output
# hands its gradient back to the pixels it read, with the same weights.

# %%
show("up.nearest_grad", "up.bilinear_grad")

# %% [markdown]
# ## Enlarging by learning: the transposed convolution
#
# A convolution with stride 2 reads a window and writes one number. Turn the arrow round: read one number, multiply it
# with the kernel, and *add* the result to a window of the output. Windows two apart overlap, and sums grow there.

# %%
show("conv.transpose2d")


# %%
def spread_slowly(x, w, s):
    """One channel, no padding: each pixel paints the kernel, s pixels apart."""
    H, W = x.shape
    R, S = w.shape
    y = np.zeros((s * (H - 1) + R, s * (W - 1) + S))
    for i in range(H):
        for j in range(W):
            for p in range(R):
                for q in range(S):
                    y[s * i + p, s * j + q] += x[i, j] * w[p, q]
    return y


ones, tent = np.ones((3, 3)), np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
flat = np.ones((3, 3))
board, smooth = spread_slowly(flat, ones, 2), spread_slowly(flat, tent, 2)
for w, painted in ((ones, board), (tent, smooth)):
    by_ops = ops.conv_transpose2d(tensor(flat[None, None]), tensor(w[None, None].copy()), stride=2)
    assert np.allclose(by_ops.numpy()[0, 0], painted)
viz.matrices_figure(
    {"3 x 3 kernel of ones: a chessboard": board, "4 x 4 tent: flat inside": smooth}, form=".2g"
)

# %% [markdown]
# Both enlarge a map of ones. A kernel of 3 does not divide by the stride of 2: pixels get one, two or four
# contributions, and a chessboard appears, well known from early generated images. A kernel of 4 with the weights of a
# tent is exactly the bilinear rule (away from the border). It is a good *start* for a kernel that then learns.

# %%
ramp = np.add.outer(np.arange(6.0), 2 * np.arange(6.0))
painted = spread_slowly(ramp, tent, 2)[
    1:-1, 1:-1
]  # padding P = 1 cuts a row and column on every side
ruled = bilinear_slowly(ramp, 12, 12)
assert np.allclose(painted[1:-1, 1:-1], ruled[1:-1, 1:-1])
print("inside, a transposed convolution with a tent is bilinear interpolation")

# %% [markdown]
# **Exercise 7.3.** Write it yourself, for one channel, with stride s and without padding.


# %% tags=["exercise"]
def spread(x, w, s):
    """Image (H, W), kernel (R, S): the transposed convolution, (s (H - 1) + R, s (W - 1) + S)."""
    raise NotImplementedError("exercise 7.3")


# %%
check("7.3", spread)

# %% [markdown]
# Why *transposed*? A convolution is a matrix (notebook 02), and this one is its transpose. So for every x and y, the
# products agree: convolve x and multiply with y, or spread y and multiply with x. That is also how convolution hands
# back its gradient: what notebook 03 found, under a new name.

# %%
rng = np.random.default_rng(3)
w, a, b = (rng.standard_normal(s) for s in ((1, 1, 3, 3), (1, 1, 9, 9), (1, 1, 4, 4)))
there = (ops.conv2d(tensor(a), tensor(w), stride=2).numpy() * b).sum()
back = (ops.conv_transpose2d(tensor(b), tensor(w), stride=2).numpy() * a).sum()
assert np.isclose(there, back)
print(f"convolved, times b: {there:.6f}; a, times b spread: {back:.6f}")

# %% [markdown]
# Its own gradients are therefore convolutions again, and dilation only moves the places where it paints. The last row
# is its size. Several sizes of input share one size behind a stride; the *output padding* a says which one to return
# to.

# %%
show(
    "conv.transpose2d_dilated",
    "conv.transpose_grad_x",
    "conv.transpose_grad_w",
    "conv.transpose_size",
)

# %% [markdown]
# **Exercise 7.4.** How many rows come out? D5 got it wrong, as you will see in notebook 08.


# %% tags=["exercise"]
def spread_size(H, R, s, P, d, a):
    """Rows behind a transposed convolution: kernel R, stride s, padding P, dilation d, output padding a."""
    raise NotImplementedError("exercise 7.4")


# %%
check("7.4", spread_size)

# %% [markdown]
# ## FCN: scores of coarse and fine maps, added
#
# A deep network halves its map five times: one score for 32 x 32 pixels. It knows much about *what* and little about
# *where*. Finer maps of the same network know where. FCN (2015) asks each of them for scores, enlarges the coarse
# ones, and adds: what remains is a stride of 16 with one sum, of 8 with two.
#
# Three networks, alike but for these sums, on drawn streets, whose masks are exact. 96 scenes are for training.

# %%
SIZE, TRAIN = 64, 96
scenes = [data.draw_scene("streets", n, SIZE) for n in range(TRAIN + 24)]
street_names = data.SCENES["streets"][1]
prepare = data.Preprocess.fit([picture for picture, _ in scenes[:TRAIN]])
X, T = np.stack([prepare(p) for p, _ in scenes]), np.stack([t for _, t in scenes])


def train(network, count, lr=5e-3):
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
for name in ("fcn32s", "fcn16s", "fcn8s"):
    network = models.build(name, 3, len(street_names))
    answers[name] = train(network, steps(200))
    counted = metrics.ConfusionMatrix(len(street_names))
    counted.update(answers[name], T[TRAIN:])
    scores[name] = counted.iou()
    print(
        f"{name:7} {network.num_parameters()} weights, mean IoU of 24 new scenes {counted.mean_iou():.2f}"
    )

# %% [markdown]
# A thousand weights more, and the large classes gain by the first sum already. Small things, which no block of 32
# pixels can show, appear one after the other.

# %%
viz.bars_figure([name.replace(" ", "\n") for name in street_names], scores, "IoU on new scenes")

# %% [markdown]
# The order is no accident of this scene or that class:

# %% tags=["full"]
means = {name: iou.mean() for name, iou in scores.items()}
assert means["fcn32s"] < means["fcn16s"] < means["fcn8s"]
print("the finer the stride, the better the mean IoU")

# %% [markdown]
# ## The picture
#
# One new street. With a stride of 32 the network had four scores of each class for the whole picture, and straight
# lines between them. Even a stride of 8 leaves outlines soft and the lane marks broken: one sum more does not bring
# back what was never asked of the finest maps. Notebook 08 asks them.

# %%
n = 3
panels = {"image": scenes[TRAIN + n][0], "truth": T[TRAIN + n]}
for name, stride in (("fcn32s", 32), ("fcn16s", 16), ("fcn8s", 8)):
    panels[f"FCN, a score every {stride} pixels"] = answers[name][n]
viz.gallery_figure(panels, columns=5, class_names=street_names, title="From blocks to outlines")

# %% [markdown]
# ## What to read next
#
# * [08 · Encoder, decoder, skips](08_encoder_decoder_skips.ipynb): networks that come back to full resolution.
# * The formulas of this page with their code: [enlarging](../minseg/equations/EQUATIONS.md#up),
#   [convolution](../minseg/equations/EQUATIONS.md#conv). The networks: [fcn.py](../minseg/models/fcn.py),
#   [convnet.py](../minseg/models/convnet.py), and the documents' own in [printed.py](../minseg/models/printed.py).
# * J. Long, E. Shelhamer, T. Darrell: Fully Convolutional Networks for Semantic Segmentation. CVPR 2015.
# * Solutions of the exercises: [solutions/07.py](solutions/07.py).
