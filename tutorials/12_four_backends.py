# %% [markdown]
# # 12 · Same equations, four backends; and the hard parts
#
# **What you will build:** one convolution in plain loops, in NumPy, in Numba and as a CUDA kernel that runs without a
# GPU; and then what papers seldom show: rare classes, eight bits, left-out weights, too few labels, bad images.
#
# **The picture at the end:** scores that fall as images get noisier, of a network that never saw noise and of one that
# was trained with it.
#
# Read [08 · Encoder, decoder, skips](08_encoder_decoder_skips.ipynb) first.

# %% [markdown]
# ## One convolution, in loops
#
# Eleven notebooks long you wrote things twice, slowly and fast. What is it that makes the same sums fast? Take the
# formula that everything here stands on, for one image, with stride 1 and without padding:

# %%
import copy
import tempfile
from pathlib import Path

import numba
import numpy as np

from minseg import compress, data, inference, metrics, models, ops, optim, robustness, viz
from minseg.autograd import tensor
from minseg.backend import available_backends, use_backend
from minseg.data import colour
from minseg.data.geometry import gaussian
from minseg.errors import EmulatorError
from minseg.kernels.cpu.conv import VARIANTS
from minseg.kernels.emulator import ORDERS, Module, launching
from minseg.kernels.winograd import transforms
from minseg.testing.tutorials import check, show, steps

use_backend("numba")
show("conv.corr2d")

# %% [markdown]
# Six loops, in the order of its indices. Two kernels look for edges in a piece of a real micrograph, one for upright
# and one for level ones:


# %%
def correlate(x, w):
    """x (C, H, W), w (O, C, R, S): y (O, I, J)."""
    C, H, W = x.shape
    O, _, R, S = w.shape
    I, J = H - R + 1, W - S + 1
    y = np.zeros((O, I, J))
    for o in range(O):
        for i in range(I):
            for j in range(J):
                for c in range(C):
                    for p in range(R):
                        for q in range(S):
                            y[o, i, j] += w[o, c, p, q] * x[c, i + p, j + q]
    return y


nuclei = data.open_data("nuclei")
image, mask = nuclei.train[0]
x = image[388:438, 100:170].transpose(2, 0, 1) / np.float32(255)
edge = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32) / 4
w = np.stack([edge, edge.T])[:, None]
results = {"plain loops": correlate(x, w)}
viz.gallery_figure(
    {
        "image": x[0],
        "upright edges": results["plain loops"][0],
        "level edges": results["plain loops"][1],
    }
)

# %% [markdown]
# Python looks at the type of every number before it multiplies it, 60 000 times here. NumPy looks once for a whole
# array: turn the loops inside out, so that the pixels come last, and one instruction for each weight handles all of
# them.


# %%
def correlate_numpy(x, w):
    O, _, R, S = w.shape
    I, J = x.shape[1] - R + 1, x.shape[2] - S + 1
    y = np.zeros((O, I, J), x.dtype)
    for o, c, p, q in np.ndindex(w.shape):
        y[o] += w[o, c, p, q] * x[c, p : p + I, q : q + J]
    return y


results["NumPy"] = correlate_numpy(x, w)
print(f"{correlate(x, w).size * w[0].size} products, {w.size} steps of NumPy")

# %% [markdown]
# Numba needs no turning. It translates the six loops as they stand, with all types known, into what the processor
# itself speaks. The function is the very same, with a word in front:

# %%
correlate_compiled = numba.njit(correlate)
results["Numba"] = correlate_compiled(x, w)
assert np.allclose(results["Numba"], results["plain loops"])
assert np.allclose(results["NumPy"], results["plain loops"], atol=1e-6)
print("three ways, one result")

# %% [markdown]
# Try `%timeit correlate(x, w)` and the same for the two others: NumPy and Numba are alike here, hundreds of times
# faster than the plain loops. minseg's own kernels for Numba use more of the processor, as you will see.
#
# ## The same as a CUDA kernel
#
# A GPU has thousands of small processors, so the outermost loops vanish: *each output is computed by a thread of its
# own*, and what remains is what one thread does. Threads come in blocks; a thread knows its place in its block and its
# block's place in the grid, and from these which output is its own.

# %%
NAIVE = r"""
extern "C" __global__ void naive(const float* x, const float* w, float* y,
                                 int C, int H, int W) {
    int i = 8 * blockIdx.y + threadIdx.y, j = 8 * blockIdx.x + threadIdx.x, o = blockIdx.z;
    if (i >= H - 2 || j >= W - 2) return;           // this thread is beyond the edge
    float sum = 0;
    for (int c = 0; c < C; ++c)
        for (int p = 0; p < 3; ++p)
            for (int q = 0; q < 3; ++q)
                sum += w[((o * C + c) * 3 + p) * 3 + q] * x[(c * H + i + p) * W + j + q];
    y[(o * (H - 2) + i) * (W - 2) + j] = sum;
}
"""


# %% [markdown]
# You have no GPU? minseg *emulates* one: it compiles the kernel with g++ and lets its threads take turns on the
# processor. That is the slowest of all ways, and the only one that watches: in checked mode it looks at every access
# to memory. (Without g++ the cells that follow say so, and the rest of the notebook does without them.)


# %%
def launch(source, grid, block, *arguments, mode="checked", order="ascending"):
    """Compile the one kernel in this source and run it."""
    module = Module(source, "kernel.cu")
    with launching(mode, order):
        module.function(module.names[0])(grid, block, arguments)


def convolve(source, x, w, **how):
    """A block of 8 x 8 threads for 8 x 8 outputs; None, and a report, if something is wrong."""
    (C, H, W), O = x.shape, len(w)
    y = np.zeros((O, H - 2, W - 2), np.float32)
    grid = (-(-(W - 2) // 8), -(-(H - 2) // 8), O)
    try:
        launch(source, grid, (8, 8), x, w, y, np.int32(C), np.int32(H), np.int32(W), **how)
        return y
    except EmulatorError as error:
        print(error)
        name, _, number = (error.place or "").rpartition(":")
        if name == "kernel.cu":
            print(f"{number:>10} | {source.splitlines()[int(number) - 1]}")


x, w = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(w)
results["CUDA"] = convolve(NAIVE, x, w)

# %% [markdown]
# Nothing was reported. minseg's own kernels exist in the same ways: `use_backend("numpy")`, `"numba"`, `"emulator"`,
# and `"cupy"` where there is a GPU. One formula, and one result:

# %%
for name in ("numpy", "numba", "emulator"):
    if available_backends()[name] is None:
        with use_backend(name):
            results[f"minseg, {name}"] = ops.conv2d(tensor(x[None]), tensor(w)).numpy()[0]
results = {name: y for name, y in results.items() if y is not None}
assert all(np.allclose(y, results["plain loops"], atol=1e-5) for y in results.values())
viz.gallery_figure(
    {name: y[0] for name, y in results.items()}, title="One formula, computed in so many ways"
)

# %% [markdown]
# ## Break it
#
# Not every number of threads divides an image: 48 rows are six blocks of 8, but 68 columns are eight and a half. **A
# puzzle:** what happens without the line that sends the threads beyond the edge away?

# %%
convolve(NAIVE.replace("if (i >= H - 2 || j >= W - 2) return;", ""), x, w)

# %% [markdown]
# Output 68 of a row of 68 is the first one of the next row, which another thread computes: two threads write to one
# place, one of them nonsense. A GPU says nothing. Whoever is last wins.
#
# ## Threads that work together
#
# The naive kernel reads each pixel nine times from the memory of the GPU, which is far away. Neighbours could fetch
# the pixels of their block *once*, into memory that they share, and then read from there. 8 x 8 outputs see 10 x 10
# pixels. But nobody may read before all have fetched, and nobody may fetch the next channel before all have read:
# `__syncthreads()` is a barrier, where every thread of the block waits for the others.

# %%
TILED = r"""
extern "C" __global__ void tiled(const float* x, const float* w, float* y,
                                 int C, int H, int W) {
    __shared__ float tile[10][10];
    int i = 8 * blockIdx.y + threadIdx.y, j = 8 * blockIdx.x + threadIdx.x, o = blockIdx.z;
    float sum = 0;
    for (int c = 0; c < C; ++c) {
        for (int p = threadIdx.y; p < 10; p += 8)      // 64 threads fetch 100 pixels
            for (int q = threadIdx.x; q < 10; q += 8) {
                int u = 8 * blockIdx.y + p, v = 8 * blockIdx.x + q;
                tile[p][q] = u < H && v < W ? x[(c * H + u) * W + v] : 0;
            }
        __syncthreads();                               // all are there
        for (int p = 0; p < 3; ++p)
            for (int q = 0; q < 3; ++q)
                sum += tile[threadIdx.y + p][threadIdx.x + q] * w[((o * C + c) * 3 + p) * 3 + q];
        __syncthreads();                               // all are read
    }
    if (i < H - 2 && j < W - 2) y[(o * (H - 2) + i) * (W - 2) + j] = sum;
}
"""
rng = np.random.default_rng(0)
maps = rng.standard_normal((3, 20, 27)).astype(np.float32)
kernels = rng.standard_normal((2, 3, 3, 3)).astype(np.float32)
right = correlate(maps, kernels)
y = convolve(TILED, maps, kernels)
assert y is None or np.allclose(y, right, atol=1e-5)

# %% [markdown]
# Now forget the second barrier. A fast thread may then fetch its pixel of the next channel while a slow one still
# needs the old. Is the result wrong? That depends on who is fast. The emulator can let the threads run in several
# orders:

# %%
RACY = "\n".join(line for line in TILED.splitlines() if "all are read" not in line)
for order in ORDERS:
    y = convolve(RACY, maps, kernels, mode="fast", order=order)
    if y is not None:
        wrong = 100 * (np.abs(y - right) > 1e-4).mean()
        print(f"threads in {order:12} order: {wrong:3.0f} % of the outputs are wrong")

# %% [markdown]
# Worse than wrong: wrong in another way each time. On a GPU such a *data race* may strike once in a thousand runs. In
# checked mode it cannot hide, whatever the order, for what counts is not what was read but what could have been:

# %%
convolve(RACY, maps, kernels)

# %% [markdown]
# Now another kernel. A bias is added to every pixel, so its gradient is a sum over all pixels. A block of 64 threads
# sums a row: each thread adds up some of the pixels, and then they add up their parts, halving their number each time.
# Here is a first attempt.

# %%
SUMS = r"""
extern "C" __global__ void channel_sums(const float* gy, float* gb, int n) {
    __shared__ float part[64];
    int t = threadIdx.x;
    part[t] = t < n ? gy[blockIdx.x * n + t] : 0;
    __syncthreads();
    for (int half = 32; half > 1; half /= 2)
        if (t < half) part[t] += part[t + half];
    if (t == 0) gb[blockIdx.x] = part[0];
}
"""

# %% [markdown]
# **Exercise 12.1.** Three things are wrong with it. Repair them: change the kernel, then take the line that raises
# out.


# %% tags=["exercise"]
def channel_sums(gy):
    """gy (O, n) float32: the sum of each row, (O,) float32, by a kernel of yours."""
    O, n = gy.shape
    gb = np.zeros(O, np.float32)
    raise NotImplementedError("exercise 12.1")
    launch(SUMS, (O,), (64,), gy, gb, np.int32(n))
    return gb


# %%
check("12.1", channel_sums)

# %% [markdown]
# ## Fewer products
#
# So far everybody did the same work, only in better order. Winograd does less of it. A 3x3 kernel needs 36 products
# for 2 x 2 outputs; but transform pixels and kernel first, and 16 are enough. For 4 x 4 outputs it is 36 instead of
# 144. The transforms A, B and G are fixed, and of such simple numbers that they cost little more than additions.

# %%
show("conv.winograd_f2")

# %% [markdown]
# In matrices it is shorter. The star in the middle multiplies number by number, and these are all the products:

# %%
A, B, G = transforms(2)
pixels, kernel = maps[0, :4, :4].astype(float), kernels[0, 0].astype(float)
products = (G @ kernel @ G.T) * (B.T @ pixels @ B)
assert np.allclose(A.T @ products @ A, correlate(pixels[None], kernel[None, None])[0])
viz.matrices_figure({"A": A, "B": B, "G": G, "16 products": products.round(1)}, most=3)

# %% [markdown]
# The larger tile differs in its sizes only:

# %%
show("conv.winograd_f4")

# %% [markdown]
# **Exercise 12.2.** Write the tile, for both sizes.


# %% tags=["exercise"]
def winograd_tile(d, g, A, B, G):
    """Pixels d (n, n), kernel g (3, 3), A (n, m), B (n, n), G (n, 3): outputs (m, m)."""
    raise NotImplementedError("exercise 12.2")


# %%
check("12.2", winograd_tile)

# %% [markdown]
# What does it cost? The transforms add and subtract larger numbers that nearly cancel, and digits get lost. Here are
# the rungs of minseg's ladder for Numba, each faster than the one before, with the largest error of an output, in
# units of the last binary digit that float32 keeps of the largest output:

# %%
maps = rng.standard_normal((1, 32, 32, 32)).astype(np.float32)
kernels = rng.standard_normal((32, 32, 3, 3)).astype(np.float32)
how = (None, (1, 1), (1, 1), (1, 1), 1)
with use_backend("numpy"):
    double = tensor(maps.astype(float)), tensor(kernels.astype(float))
    exact = ops.conv2d(*double, padding=1).numpy()
digit = np.abs(exact).max() * 2.0**-23
ladder = {"direct": 9, "tile": 9, "winograd_f2": 16 / 4, "winograd_f4": 36 / 16}
for rung, count in ladder.items():
    error = np.abs(VARIANTS["conv2d"][rung](maps, kernels, *how) - exact).max() / digit
    print(f"{rung:12} {count:4.2f} products for an output and channel, error {error:4.1f}")

# %% [markdown]
# With 4 x 4 outputs one decimal of about seven is gone; with 2 x 2 the shorter sums even make the error smaller. For
# training that is nothing: a gradient from eight images is far noisier. How much faster each rung is on a real machine
# stands in [conv.py](../kernels/cpu/conv.py).

# %% [markdown]
# What is left to save is memory traffic. A map that goes through ReLU need not be written before: a kernel can compare each
# sum with zero while it still has it. Networks in use do so:

# %%
show("conv.corr2d_relu")

# %%
x, w = tensor(maps), tensor(kernels)
together, apart = ops.conv2d_relu(x, w, padding=1), ops.relu(ops.conv2d(x, w, padding=1))
assert np.array_equal(together.numpy(), apart.numpy())
print(f"one pass or two: the same, and {100 * (together.numpy() == 0).mean():.0f} % of it zeros")

# %% [markdown]
# ## A network, to be hard on
#
# Now the hard parts. All that follows needs a network: a small U-Net, which learns from the left half of the
# micrograph. Nobody labelled the right half, say; we come back to it. The last columns are held out for the scores.


# %%
def crops(*pieces, change=None):
    """Batches of eight crops of 48 x 48 pixels from these images, some of them mirrored."""

    def batch(rng):
        X, T = [], []
        for n in range(8):
            picture, labels = pieces[n % len(pieces)]
            i, j = (rng.integers(size - 47) for size in labels.shape)
            down, across = rng.choice([1, -1], 2)
            a = picture[i : i + 48, j : j + 48][::down, ::across]
            if change:
                a = change(a.transpose(2, 0, 1), None, rng)[0].transpose(1, 2, 0)
            X.append(prepare(a))
            T.append(labels[i : i + 48, j : j + 48][::down, ::across])
        return np.stack(X), np.stack(T)

    return batch


def train(network, batch, count, weight=None, masks=None, lr=1e-2):
    """Adam with a learning rate that falls to zero."""
    optimizer, rng = optim.Adam(network.parameters(), lr=lr), np.random.default_rng(1)
    if masks:
        optimizer = compress.Masked(optimizer, network, masks)
    network.train()
    for step in range(count):
        optimizer.lr = lr * (1 - step / count)
        X, T = batch(rng)
        optimizer.zero_grad()
        ops.cross_entropy(network(tensor(X)), T, weight=weight).backward()
        optimizer.step()
    network.eval()
    return network


def unet(channels=1, classes=2):
    return models.build("unet", channels, classes, widths=(8, 16, 32))


def score(network, pictures=nuclei.val):
    """IoU of the nuclei."""
    counted = metrics.ConfusionMatrix(2)
    return float(inference.evaluate(network, pictures, prepare, counted).iou()[1])


prepare = data.Preprocess.fit([image], log_gain=20)
half = (image[:, :192], mask[:, :192])
network = train(unet(), crops(half), steps(100))
print(f"{network.num_parameters()} weights, IoU {score(network):.2f} on held-out columns")

# %% [markdown]
# ## Eight bits for a weight
#
# Each weight takes 32 bits. A telephone has little room and computes fastest with whole numbers of 8. So a number is
# written as so many *steps* of a scale, from -128 to 127, and what is more is cut off:

# %%
show(
    "quant.affine_int8",
    "quant.dequantize",
    "quant.scale",
    "quant.affine_scale",
    "quant.zero_point",
)

# %% [markdown]
# For weights zero stays zero, z = 0, and the step is such that the largest weight of an output channel becomes 127.
# Here is the first kernel of the network:

# %%
name, weights = next(iter(compress.weights_of(network).items()))
s = np.array([max(abs(value) for value in kernel.flat) / 127 for kernel in weights])
q = np.empty(weights.shape, np.int8)
for o, c, p, r in np.ndindex(weights.shape):
    q[o, c, p, r] = min(127, max(-128, int(np.floor(weights[o, c, p, r] / s[o] + 0.5))))
scale = compress.symmetric_scale(weights)
assert np.allclose(scale.ravel(), s)
assert np.array_equal(compress.quantize(weights, scale), q)
assert np.abs(compress.dequantize(q, scale) - weights).max() <= 0.51 * s.max()
viz.matrices_figure(
    {"weights, counted in steps": (weights / scale)[0, 0].round(1), "in eight bits": q[0, 0]}
)

# %% [markdown]
# **Exercise 12.3.** Write numbers as steps. Halves are rounded up.


# %% tags=["exercise"]
def quantize(x, s, z):
    """x: numbers of any shape; step z stands for 0, each is s wide: steps, -128 to 127."""
    raise NotImplementedError("exercise 12.3")


# %%
check("12.3", quantize)

# %% [markdown]
# What flows from layer to layer can be rounded too. Its range is not known beforehand, so it is measured on a few
# images, and as most of it is positive, z is not 0. What does all that cost?

# %%
small = copy.deepcopy(network)
compress.fake_quantize(small)
ranges = compress.activation_ranges(small, [prepare(half[0])])
with compress.fake_quantized_activations(small, ranges):
    both = score(small)
with tempfile.TemporaryDirectory() as folder:
    file = compress.save_int8(network, Path(folder) / "small.safetensors")
print(f"32 bits             IoU {score(network):.3f}   file of {file.bytes_float} bytes")
print(f"weights in 8 bits   IoU {score(small):.3f}   file of {file.bytes_int8} bytes")
print(f"and all in between  IoU {both:.3f}")

# %% [markdown]
# Nothing, for a third of the room. (For a larger network it would be a quarter: norms, biases and names stay as they
# are.) So why eight bits, and not four?


# %%
def in_bits(network, bits, per_channel):
    """A copy whose weights are rounded to 2^bits steps."""
    rounded, most = copy.deepcopy(network), 2 ** (bits - 1) - 1
    for parameter in rounded.parameters():
        w = parameter.numpy()
        if w.ndim > 1:
            axes = tuple(range(1, w.ndim)) if per_channel else None
            s = np.abs(w).max(axis=axes, keepdims=True) / np.float32(most)
            parameter.data = s * np.clip(np.floor(w / s + np.float32(0.5)), -most - 1, most)
    return rounded


bits = (2, 3, 4, 5, 6, 8)
viz.lines_figure(
    {
        "a step for each channel": (bits, [score(in_bits(network, b, True)) for b in bits]),
        "a step for each layer": (bits, [score(in_bits(network, b, False)) for b in bits]),
    },
    "bits for a weight",
    "IoU",
    title="How few bits are enough",
    marks={"32 bits": score(network)},
)

# %% [markdown]
# ## Weights that nobody misses
#
# Five bits would have done for this network, and two are too few. Or leave weights out altogether: those of the
# smallest magnitude.

# %%
show("prune.magnitude")

# %% [markdown]
# **Exercise 12.4.** Leave out this share of the weights. The threshold is not given: find it.


# %% tags=["exercise"]
def prune(w, share):
    """w: weights. A copy in which round(share * w.size), the smallest, are zero."""
    raise NotImplementedError("exercise 12.4")


# %%
check("12.4", prune)

# %% [markdown]
# One threshold for the whole network, from nothing to nine tenths left out. And once more, with 30 steps of training
# afterwards in which the zeros stay zero, so that the others can take over:

# %%
shares, cut, trained_on = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9), [], []
for share in shares:
    pruned = copy.deepcopy(network)
    masks = compress.prune(pruned, share)
    cut.append(score(pruned))
    trained_on.append(score(train(pruned, crops(half), steps(30), masks=masks, lr=5e-3)))
w = compress.weights_of(network)["head.weight"]
assert np.array_equal(compress.keep_large(w, 0.1), np.where(np.abs(w) >= 0.1, w, 0))
viz.lines_figure(
    {"left out": (shares, cut), "left out, then trained on": (shares, trained_on)},
    "share of the weights that is left out",
    "IoU",
    title="Most weights can go, if the others may learn",
)

# %% [markdown]
# (The first point of the upper line is the same further training with nothing left out: the training alone gains
# nothing.) A caution: a zero is still multiplied, and takes as much room as any number. Pruning pays only with a
# format that skips zeros, or when whole channels go.
#
# ## Rare classes
#
# Street scenes again. Lane marks, people and traffic lights are what matters on a road, and hardly any pixels. What a
# network learns first is what fills the picture. Three trainings of a hundred steps that differ in one thing, the
# weights of the classes in the loss (notebook 05): none; inverse frequencies; and, milder, roots of these.

# %%
scenes = [data.draw_scene("streets", n) for n in range(96)]
names = data.SCENES["streets"][1]
ready = data.Preprocess.fit([picture for picture, _ in scenes[:72]])
X, T = np.stack([ready(picture) for picture, _ in scenes]), np.stack([t for _, t in scenes])
counts = np.stack([np.bincount(t.ravel(), minlength=len(names)) for t in T[:72]])


def eight_scenes(rng):
    n, turn = rng.integers(0, 72, 8), rng.choice([1, -1])
    return np.ascontiguousarray(X[n][..., ::turn]), np.ascontiguousarray(T[n][..., ::turn])


found = {}
for kind in ("none", "inverse", "sqrt-median"):
    weight = None if kind == "none" else data.class_weights(counts, kind).astype(np.float32)
    driver = train(unet(3, len(names)), eight_scenes, steps(100), weight=weight)
    found[kind] = metrics.ConfusionMatrix(len(names))
    for t, picture in zip(T[72:], X[72:]):
        found[kind].update(inference.predict_labels(driver, picture), t)
rare = [names.index(name) for name in ("lane mark", "vehicle", "person", "traffic light")]
viz.bars_figure(
    ["road", *(names[k] for k in rare)],
    {
        f"weights: {kind}": counted.recall()[[names.index("road"), *rare]]
        for kind, counted in found.items()
    },
    "recall on new scenes",
)

# %% [markdown]
# *Recall*: which share of the pixels of a class was found. Nothing comes for free: with heavy weights a network calls
# more pixels rare than there are. *Precision* tells, which share of the pixels that it named so is right (a class that
# was never named has none, and is left out).

# %% tags=["full"]
print("weights      accuracy  mean IoU  recall of the rare  precision of the rare")
for kind, counted in found.items():
    recall, precision = (np.nanmean(f()[rare]) for f in (counted.recall, counted.precision))
    row = f"{counted.pixel_accuracy():8.2f} {counted.mean_iou():9.2f} {recall:19.2f}"
    print(f"{kind:12} {row} {precision:22.2f}")

# %% [markdown]
# The accuracy hardly notices any of this. Look at the classes that matter to you.
#
# ## Worse images
#
# Scores are measured on images like those of the training. The next microscope is noisier, out of focus or pale:

# %%
show("data.noise", "data.blur", "data.contrast")

# %% [markdown]
# As loops, on a few pixels. Noise is one random number for each pixel; the blur is a weighted mean of neighbours with
# Gaussian weights, where the edge goes on beyond the edge; contrast spreads about the mean.

# %%
few = image[100:112, 100:115].transpose(2, 0, 1).astype(float)
C, H, W = few.shape
g = gaussian(1.0)
R = len(g) // 2
blurred, noisy, pale = np.zeros(few.shape), np.zeros(few.shape), np.zeros(few.shape)
e, m = np.random.default_rng(0).standard_normal(few.shape), few.mean()
for c, i, j in np.ndindex(few.shape):
    noisy[c, i, j] = min(max(0, few[c, i, j] + 8 * e[c, i, j]), 255)
    pale[c, i, j] = min(max(0, 0.4 * (few[c, i, j] - m) + m), 255)
    for p in range(2 * R + 1):
        for q in range(2 * R + 1):
            u, v = min(max(0, i + p - R), H - 1), min(max(0, j + q - R), W - 1)
            blurred[c, i, j] += g[p] * g[q] * few[c, u, v]
assert np.allclose(colour.add_noise(few, 8, np.random.default_rng(0)), noisy)
assert np.allclose(colour.adjust(few, contrast=0.4), pale)
assert np.allclose(colour.blur(few, 1.0), blurred)
part = image[384:448, 100:164]
panels = {"as it is": part[..., 0]}
for kind, strength in (("noise", 8), ("blur", 2), ("contrast", 0.4)):
    panels[f"{kind} {strength}"] = robustness.damaged(part, kind, strength)[..., 0]
viz.gallery_figure(panels, limits=(0, 110))

# %% [markdown]
# **Exercise 12.5.** Change contrast and brightness.


# %% tags=["exercise"]
def adjust(x, alpha, beta):
    """x (H, W), 0 to 255: spread by alpha about its mean, beta added; 0 to 255 again."""
    raise NotImplementedError("exercise 12.5")


# %%
check("12.5", adjust)

# %% [markdown]
# Our network, on the held-out columns, worse and worse. (Noise: 0, 2, 4, 8, 16, 32 grey levels of 255; blur: 0, 1/2,
# 1, 2, 3, 5 pixels; contrast: all, 0.8, 0.6, 0.4, 0.2, 0.1 of it.)

# %%
curves = robustness.sweep(network, nuclei.val, prepare, 2)
viz.lines_figure(
    {curve.kind: (range(6), [iou[1] for iou in curve.iou]) for curve in curves},
    "strength of the damage",
    "IoU",
    title="A network trained on good images only",
)

# %% [markdown]
# ## A new microscope, and no labels
#
# Say the new images have noise of 8 grey levels. Labels for them would help; drawing them takes days. But the network
# has an opinion, and says how sure it is. *Pseudo-labels* take its sure answers for the truth:

# %%
show("semi.pseudo_label")

# %% [markdown]
# **Exercise 12.6.** Write it. What is not sure gets 255, which the loss ignores.


# %% tags=["exercise"]
def pseudo_label(p, tau):
    """p (K, H, W): the likeliest class where its probability is at least tau, else 255."""
    raise NotImplementedError("exercise 12.6")


# %%
check("12.6", pseudo_label)

# %% [markdown]
# Here is the unlabelled half, as the new microscope shows it. How many of the answers are sure, and how many of these
# are right? (We have its labels after all, to see.)

# %%
unlabelled, hidden = robustness.damaged(image[:, 192:], "noise", 8, seed=5), mask[:, 192:]
logits = inference.predict_logits(network, prepare(unlabelled))
p = ops.softmax(tensor(logits[None]), 1).numpy()[0]
labels = {}
for tau in (0.5, 0.8, 0.95):
    labels[tau] = t = data.pseudo_label(p, tau)
    sure = t != 255
    assert np.array_equal(t, np.where(p.max(axis=0) >= tau, p.argmax(axis=0), 255))
    right = (t == hidden)[sure].mean()
    print(f"at least {tau:4}: {100 * sure.mean():3.0f} % sure, {100 * right:4.1f} % of them right")
window = np.s_[370:466, 0:96]
viz.gallery_figure(
    {
        "new image": viz.displayable(unlabelled[window]),
        "its opinion": labels[0.5][window],
        "what it is sure of": labels[0.95][window],
        "truth": hidden[window],
    },
    class_names=nuclei.class_names,
)

# %% [markdown]
# Now train a network anew, half with the labelled images and half with these. At 0.5 every pixel gets a label, the
# wrong ones too.

# %%
noisy_val = robustness.DamagedDataset(nuclei.val, "noise", 8)
students, scores = {}, {"as it was": score(network, noisy_val)}
for tau, t in labels.items():
    students[tau] = train(unet(), crops(half, (unlabelled, t)), steps(100))
    scores[f"labels of {tau}"] = score(students[tau], noisy_val)
scores["true labels"] = score(
    train(unet(), crops(half, (unlabelled, hidden)), steps(100)), noisy_val
)
viz.bars_figure(list(scores), {"IoU on noisy images": list(scores.values())})

# %% [markdown]
# A network can teach another one, if it tells only what it is sure of. It is no magic: with a blur of two pixels in
# place of the noise the same experiment gains nothing. Try it.

# %% tags=["full"]
assert scores["as it was"] < scores["labels of 0.95"] < scores["true labels"]
gain, possible = (scores[s] - scores["as it was"] for s in ("labels of 0.95", "true labels"))
print(f"{gain:.2f} of the {possible:.2f} that true labels gain")

# %% [markdown]
# ## The picture
#
# And if we had known? Noise costs nothing to make. One more training adds noise of up to 16 grey levels to its images,
# each time another. It is the cheapest remedy of all, if one knows what is coming, and it helps beyond what was
# trained.

# %%
robust = train(unet(), crops(half, change=data.RandomNoise(16)), steps(100))
lines = {}
for name, trained in {
    "never saw noise": network,
    "learned from its sure answers": students[0.95],
    "trained with noise": robust,
}.items():
    (curve,) = robustness.sweep(trained, nuclei.val, prepare, 2, kinds=("noise",))
    lines[name] = (curve.strengths, [iou[1] for iou in curve.iou])
viz.lines_figure(
    lines,
    "noise, grey levels of 255",
    "IoU",
    title="Scores fall as images get noisier, unless one is prepared",
)

# %% [markdown]
# ## What to read next
#
# * This was the last notebook. Train on your own images: `minseg train --data folder:DIR`; what this page did by hand
#   is `minseg compress`, `minseg robustness` and `minseg emulate`.
# * The formulas with their code: [convolution](../minseg/equations/EQUATIONS.md#conv),
#   [quantisation](../minseg/equations/EQUATIONS.md#quant), [pruning](../minseg/equations/EQUATIONS.md#prune). The
#   code: [the Numba ladder](../kernels/cpu/conv.py), [the CUDA kernels](../kernels/cuda/conv.cu), [the
#   emulator](../kernels/emulator/__init__.py), [compress.py](../minseg/compress.py),
#   [robustness.py](../minseg/robustness.py), [semi.py](../minseg/data/semi.py).
# * A. Lavin, S. Gray: Fast Algorithms for Convolutional Neural Networks. CVPR 2016. S. Han and others: Learning both
#   Weights and Connections for Efficient Neural Networks. NIPS 2015. B. Jacob and others: Quantization and Training of
#   Neural Networks for Efficient Integer-Arithmetic-Only Inference. CVPR 2018. D.-H. Lee: Pseudo-Label. ICML workshop
#   2013.
# * Solutions of the exercises: [solutions/12.py](solutions/12.py).
