# %% [markdown]
# # 02 · Sliding windows
#
# **What you will build:** convolution three times, as two documents print it, as everybody computes it, and as one
# large matrix; then pooling, and a rule that tells how far an output sees.
#
# **The picture at the end:** a kernel in the shape of a letter meets a single bright pixel. By the printed formula
# the letter stands upright, in every deep learning library it stands on its head. Beside it a photograph through a
# printed mean that makes it too bright.
#
# Read [01 · Pixels with names](01_pixels_with_names.ipynb) first. You need loops, and no calculus yet.

# %%
import numpy as np

from minseg import data, ops, tensor, use_backend, viz
from minseg.testing.tutorials import check, erratum, printed, show

use_backend("numpy")  # the plain kernels, which read as the equations do
rng = np.random.default_rng(0)

# %% [markdown]
# ## Slide, multiply, add
#
# A *kernel* is a small array of weights. It slides over the image; at each place every weight is multiplied with the
# pixel below it, and the products are *added up* to one number. That is all. As loops:


# %%
def slide(x, w):
    """Image x (H, W), kernel w (R, S): a number for each place where the kernel fits inside."""
    H, W = x.shape
    R, S = w.shape
    y = np.zeros((H - R + 1, W - S + 1))
    for i in range(H - R + 1):
        for j in range(W - S + 1):
            y[i, j] = (w * x[i : i + R, j : j + S]).sum()
    return y


x = np.arange(20.0).reshape(4, 5)
w = np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
viz.matrices_figure({"image x": x, "kernel w": w, "result y": slide(x, w)}, most=20)

# %% [markdown]
# This kernel subtracts four times a pixel from the sum of its neighbours, and gives 0 wherever the image rises
# evenly. What is it good for? Here is a real image, the earth from above, through three kernels: a mean blurs,
# differences find edges.

# %%
earth, _ = data.open_data("earth").region()
grey = earth[:160, 40:200].mean(axis=2)
kernels = {
    "mean of 5 x 5": np.full((5, 5), 1 / 25),
    "left minus right": np.array([[1.0, 0.0, -1.0]] * 3),
    "pixel minus neighbours": -w,
}
results = {name: slide(grey, kernel) for name, kernel in kernels.items()}
results["left minus right"] = np.clip(results["left minus right"], -150, 150)
results["pixel minus neighbours"] = np.clip(results["pixel minus neighbours"], -60, 60)
viz.gallery_figure({"the earth from above": grey, **results})

# %% [markdown]
# **Exercise 2.1.** Write it yourself, with a loop for each of the four indices. (Why four? Two say where the kernel
# is, two run through the kernel.)


# %% tags=["exercise"]
def correlate(x, w):
    """x (H, W), w (R, S): y (H - R + 1, W - S + 1), the sum of w[p, q] times the pixel below."""
    raise NotImplementedError("exercise 2.1")


# %%
check("2.1", correlate)

# %% [markdown]
# Two documents describe this step in words. One forgets to add up, so its convolution of a window has nine numbers
# instead of one; the other calls the kernel continuous, and forgets that it reaches through all channels.

# %%
erratum("ERR-29", "ERR-30")

# %% [markdown]
# ## The printed formula
#
# Now to the formulas. D3, one of the five documents, prints this; k is the number of rows of the kernel, *and* the
# kernel:

# %%
printed("EQ-D3-1")

# %% [markdown]
# We do what it says, letter by letter: indices count from 1, pixels outside the image are 0, and i, j run as far as
# anything can arrive. Only the kernel gets a name of its own, w, as a Python name has one meaning at a time.


# %%
def d3(x, w):
    """EQ-D3-1, literally."""
    k, (H, W) = len(w), x.shape

    def pixel(row, column):  # counting from 1, and 0 outside
        return x[row - 1, column - 1] if 1 <= row <= H and 1 <= column <= W else 0.0

    y = np.zeros((H + k - 1, W + k - 1))
    for i in range(1, H + k):
        for j in range(1, W + k):
            for p in range(1, k + 1):
                for q in range(1, k + 1):
                    y[i - 1, j - 1] += pixel(i - p + 1, j - q + 1) * w[p - 1, q - 1]
    return y


# %% [markdown]
# **A puzzle.** Is that our sliding window? Send the simplest of all images through both, one bright pixel, with a
# kernel whose weights you recognise. Before you look at the result: what should come out?

# %%
pixel = np.zeros((3, 3))
pixel[1, 1] = 1
w = np.arange(1.0, 10).reshape(3, 3)
upright = d3(pixel, w)[1:4, 1:4]
turned = slide(np.pad(pixel, 1), w)
viz.matrices_figure(
    {"one bright pixel": pixel, "kernel": w, "D3's formula": upright, "sliding window": turned}
)

# %% [markdown]
# They are *not* the same. The sliding window puts its last weight on the bright pixel first, and so paints the kernel
# upside down and back to front: turned by 180 degrees. The formula with the minus paints it upright. Mathematicians
# call only that one *convolution*; what deep learning computes, and calls convolution, is *cross-correlation*. Turn
# the kernel, and the two agree to the last digit:

# %%
x, w = rng.standard_normal((6, 7)), rng.standard_normal((3, 3))
print(f"as they are, they differ by up to {np.abs(d3(x, w) - slide(np.pad(x, 2), w)).max():.2f}")
print(
    f"once the kernel is turned, by {np.abs(d3(x, w) - slide(np.pad(x, 2), w[::-1, ::-1])).max():.0e}"
)

# %% [markdown]
# Here is the formula as minseg registers it, counting from 0, and what is on record about the printed ones.

# %%
show("conv.true2d")

# %%
erratum("ERR-01")

# %% [markdown]
# **Exercise 2.2, a puzzle.** There are kernels for which the quarrel does not matter: both formulas give the same for
# *every* image. All weights equal is one. Find another, 3 x 3.


# %% tags=["exercise"]
def peaceful_kernel():
    """A kernel (3, 3), weights not all the same, for which both formulas always agree."""
    raise NotImplementedError("exercise 2.2")


# %%
check("2.2", peaceful_kernel)

# %% [markdown]
# D1 prints the formula too, and there is something else about this one. Can you see which pixels the output at row 1
# reads?

# %%
printed("EQ-D1-1")

# %% [markdown]
# The sum starts at i = 1, so at (x, y) = (1, 1) the first pixel it asks for is at (0, 0), outside: the output lags
# one pixel behind, and its first row and column are always zero. And it applies x to x, an image and a coordinate of
# one name. We take it as it stands, with coordinates called r and c:


# %%
def d1(x, w):
    """EQ-D1-1, literally, of the same size as d3."""
    k, (H, W) = len(w), x.shape

    def pixel(row, column):
        return x[row - 1, column - 1] if 1 <= row <= H and 1 <= column <= W else 0.0

    y = np.zeros((H + k - 1, W + k - 1))
    for r in range(1, H + k):
        for c in range(1, W + k):
            y[r - 1, c - 1] = sum(
                w[i - 1, j - 1] * pixel(r - i, c - j)
                for i in range(1, k + 1)
                for j in range(1, k + 1)
            )
    return y


assert np.allclose(d1(x, w)[1:, 1:], d3(x, w)[:-1, :-1])  # D1's is D3's, one pixel later
ones = np.ones((2, 2))
viz.matrices_figure(
    {"image": ones, "kernel": ones, "D3's formula": d3(ones, ones), "D1's formula": d1(ones, ones)}
)

# %%
erratum("ERR-02", "ERR-03", "ERR-04")

# %% [markdown]
# ## The formula that is computed
#
# The last row of that table says what all the printed formulas leave out: images have channels and come in batches,
# there are many kernels and each has a bias, and the kernel may take larger steps (*stride* s), start outside
# (*padding* P, of zeros) and have gaps (*dilation* d). Here is everything at once:

# %%
show("conv.corr2d")

# %% [markdown]
# As loops it is nothing but longer. `minseg.ops.conv2d` computes the same, fast; the arrangement of arrays and the
# names are PyTorch's.


# %%
def conv2d_slowly(x, w, b, s, d, P):
    N, C, H, W = x.shape
    O, _, R, S = w.shape
    I = (H + 2 * P - d * (R - 1) - 1) // s + 1
    J = (W + 2 * P - d * (S - 1) - 1) // s + 1
    y = np.zeros((N, O, I, J))
    for n, o, i, j in np.ndindex(N, O, I, J):
        y[n, o, i, j] = b[o]
        for c, p, q in np.ndindex(C, R, S):
            row, column = s * i + d * p - P, s * j + d * q - P
            if 0 <= row < H and 0 <= column < W:  # x = 0 outside
                y[n, o, i, j] += w[o, c, p, q] * x[n, c, row, column]
    return y


x, w, b = (
    rng.standard_normal((2, 3, 9, 8)),
    rng.standard_normal((4, 3, 3, 2)),
    rng.standard_normal(4),
)
slow = conv2d_slowly(x, w, b, s=2, d=2, P=1)
fast = ops.conv2d(tensor(x), tensor(w), tensor(b), stride=2, dilation=2, padding=1).numpy()
assert np.allclose(slow, fast)
print(f"both give shape {fast.shape} and differ by at most {np.abs(slow - fast).max():.0e}")

# %% [markdown]
# What stride, padding and dilation do is easiest seen by marking the pixels that one output reads. The image is 7 x
# 7, the kernel 3 x
# 3. Black is read by the output in row 1, column 1; grey is padding.


# %%
def pixels_read(i, j, s, d, P):
    marked = np.pad(np.ones((7, 7)), P, constant_values=0.7)
    marked[s * i : s * i + 3 * d : d, s * j : s * j + 3 * d : d] -= 0.6
    # each pixel becomes a square with an edge
    return np.kron(marked, np.pad(np.ones((9, 9)), 1, constant_values=0.8))


panels = {}
for name, (s, d, P) in {
    "plain": (1, 1, 0),
    "stride 2": (2, 1, 0),
    "dilation 2": (1, 2, 0),
    "padding, stride 2": (2, 1, 1),
}.items():
    outputs = (7 + 2 * P - 2 * d - 1) // s + 1
    panels[f"{name}:\n{outputs} x {outputs} outputs"] = pixels_read(1, 1, s, d, P)
viz.gallery_figure(panels, limits=(0, 1))

# %% [markdown]
# How many outputs fit? As many as there are places for the stretched kernel, in steps of s; a place where it would
# stick out is left.

# %%
show("conv.size")

# %% [markdown]
# **Exercise 2.3.** Write the size, and mind the fence posts.


# %% tags=["exercise"]
def output_size(H, R, s, P, d):
    """Rows of the output for H rows of the image, R of the kernel, stride s, padding P, dilation d."""
    raise NotImplementedError("exercise 2.3")


# %%
check("2.3", output_size)

# %% [markdown]
# Channels may also be split into groups that do not see each other: G groups need only a G-th of the weights. Two
# groups are two convolutions side by side.

# %%
show("conv.grouped")

# %%
x, w = rng.standard_normal((1, 4, 6, 6)), rng.standard_normal((6, 2, 3, 3))
grouped = ops.conv2d(tensor(x), tensor(w), groups=2).numpy()
halves = [
    ops.conv2d(tensor(x[:, c : c + 2]), tensor(w[o : o + 3])).numpy() for c, o in ((0, 0), (2, 3))
]
assert np.allclose(grouped, np.concatenate(halves, axis=1))
print(f"weights with two groups: {w.size}, without: {6 * 4 * 3 * 3}")

# %% [markdown]
# ## A convolution is a matrix
#
# D4 prints the layer in another way, as a matrix product:

# %%
printed("EQ-D4-1")

# %% [markdown]
# With a kernel for W and a map for x that cannot be multiplied. But there *is* a matrix that makes it true. Every
# output is a sum of weights times pixels, so write the pixels in one column and put the weights of each output into
# one row.

# %%
show("conv.toeplitz")

# %% [markdown]
# **Exercise 2.4.** Build that matrix for one image and one kernel (stride 1, no padding). The pixel at row u and
# column v has the number uW + v.


# %% tags=["exercise"]
def toeplitz(w, H, W):
    """Kernel w (R, S), image of H x W: T, so that T @ x.ravel() is the convolution of x, flattened."""
    raise NotImplementedError("exercise 2.4")


# %%
check("2.4", toeplitz)

# %% [markdown]
# The matrix can also be had without thinking: send each image with one bright pixel through, and what comes out is a
# column. Look at its stripes: the same nine weights, again and again, and zeros everywhere else. A network with a
# free matrix would have to learn each of these numbers by itself.

# %%
w = np.arange(1.0, 10).reshape(3, 3)
columns = [slide(one.reshape(6, 6), w).ravel() for one in np.eye(36)]
T = np.stack(columns, axis=1)
x = rng.standard_normal((6, 6))
assert np.allclose((T @ x.ravel()).reshape(4, 4), slide(x, w))
print(f"T is {T.shape[0]} x {T.shape[1]}; of {T.size} numbers {np.count_nonzero(T)} are not zero")
print(f"all of them are copies of {w.size} weights")
viz.gallery_figure(
    {"the convolution of a 6 x 6 image with a 3 x 3 kernel, as a matrix": T}, columns=1
)

# %%
erratum("ERR-15")

# %% [markdown]
# The other way round is how fast code does it: not the kernel but the *image* becomes a matrix, every window a
# column, each pixel written once for every window that it is in. Then a convolution is one product of two matrices,
# which computers do best.

# %%
show("conv.im2col")

# %%
x, w = rng.standard_normal((3, 8, 9)), rng.standard_normal((4, 3, 3, 3))
windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))  # (C, I, J, R, S)
A = windows.transpose(0, 3, 4, 1, 2).reshape(3 * 3 * 3, 6 * 7)
y = (w.reshape(4, 27) @ A).reshape(4, 6, 7)
assert np.allclose(y, ops.conv2d(tensor(x[None]), tensor(w)).numpy()[0])
print(f"x has {x.size} numbers, as columns {A.size}: memory for speed")

# %% [markdown]
# ## Pooling
#
# A window can also be summed up without weights: by its largest pixel or by its mean. With a stride that makes a map
# smaller, and what follows sees further for the same work. The two, as minseg has them:

# %%
show("pool.max2d", "pool.avg2d")

# %% [markdown]
# Slowly, with whatever sums up a window as an argument, and then fast:


# %%
def pool_slowly(x, k, s, sum_up):
    H, W = x.shape
    I, J = (H - k) // s + 1, (W - k) // s + 1
    return np.array(
        [[sum_up(x[s * i : s * i + k, s * j : s * j + k]) for j in range(J)] for i in range(I)]
    )


photograph = tensor(grey[None, None])
largest = pool_slowly(grey, 4, 4, np.max)
mean = pool_slowly(grey, 4, 4, np.mean)
assert np.array_equal(largest, ops.max_pool2d(photograph, 4, 4).numpy()[0, 0])
assert np.allclose(mean, ops.avg_pool2d(photograph, 4, 4).numpy()[0, 0])
viz.gallery_figure(
    {
        "160 x 160 pixels": grey,
        "largest of 4 x 4\n40 x 40 pixels": largest,
        "mean of 4 x 4\n40 x 40 pixels": mean,
    }
)

# %% [markdown]
# And the mean as D3 prints it:

# %%
printed("EQ-D3-3")

# %% [markdown]
# **Exercise 2.5, a puzzle.** Something is wrong with it. Brightness runs from 0, black, to 1, white. Find an image
# that proves the formula wrong: one whose "mean" of 2 x 2 pixels is brighter than white.


# %% tags=["exercise"]
def refuting_image():
    """An image (H, W) with values from 0 to 1 whose printed mean, for k = 2, exceeds 1 somewhere."""
    raise NotImplementedError("exercise 2.5")


# %%
check("2.5", refuting_image)

# %% [markdown]
# The window has k times k pixels, the formula divides by k. D1 prints the right factor, so the documents contradict
# each other:

# %%
erratum("ERR-10")

# %% [markdown]
# **Exercise 2.6.** Write the right one, with a stride.


# %% tags=["exercise"]
def mean_pool(x, k, s):
    """x (H, W): the mean of each window of k x k pixels; one starts every s pixels, inside."""
    raise NotImplementedError("exercise 2.6")


# %%
check("2.6", mean_pool)

# %% [markdown]
# There is more to find in the printed formulas of pooling. Here are four of them; before you read the table below,
# try: what is W in the first? Which pixels does the second never read, if pixels count from 1? What does the third
# read at (1, 1)? And what does the fourth say about i and j?

# %%
printed("EQ-D1-2", "EQ-D1-3", "EQ-D3-2", "EQ-D4-3")

# %% [markdown]
# None of them has a stride, so none makes a map smaller, although the text around them says so. The windows of D3 run
# out of the image, which a maximum does not forgive: a border of zeros beats every negative pixel.

# %%
erratum("ERR-05", "ERR-06", "ERR-07", "ERR-08", "ERR-16")

# %% [markdown]
# D4's maximum without a window can be read as the maximum of the whole map. That is a useful operation too, as is the
# mean of the whole map. Padding has its own forms: minus infinity outside for the maximum; for the mean, zeros that
# count or pixels that do not.

# %%
show(
    "pool.global_max",
    "pool.global_avg",
    "pool.max2d_padded",
    "pool.avg2d_padded",
    "pool.avg2d_inside",
    "pool.window_count",
)

# %%
white = tensor(np.ones((1, 1, 4, 4)))
counted = ops.avg_pool2d(white, 3, 1, padding=1).numpy()[0, 0]
inside = ops.avg_pool2d(white, 3, 1, padding=1, count_include_pad=False).numpy()[0, 0]
dark = ops.max_pool2d(tensor(-np.ones((1, 1, 4, 4))), 3, 1, padding=1).numpy()[0, 0]
viz.matrices_figure(
    {
        "mean of a white image,\nzeros outside counted": counted,
        "only pixels inside\ncounted": inside,
        "maximum of an\nimage of -1": dark,
    },
    form=".2g",
)

# %% [markdown]
# One more sentence to test: "pooling reduces the number of parameters". A convolution has as many weights on a large
# map as on a small one; what shrinks is the *work*. Only a fully connected layer behind it becomes smaller.

# %%
erratum("ERR-21")

# %% [markdown]
# ## How far does an output see?
#
# One 3 x 3 convolution sees three pixels in a row. A second one behind it sees three outputs of the first, hence five
# pixels. Behind a stride of 2 every step is two pixels. The rule:

# %%
show("conv.receptive_field")

# %% [markdown]
# **Exercise 2.7.** Write it for a list of layers (kernel size, stride, dilation).


# %% tags=["exercise"]
def receptive_field(layers):
    """layers: (k, s, d) of each, the first one first: pixels in a row that an output sees."""
    raise NotImplementedError("exercise 2.7")


# %%
check("2.7", receptive_field)

# %% [markdown]
# A rule can be tested. Poke: change one pixel of the image at a time, and see whether the output in the middle
# changes. All 33 x 33 pokes go through the layers as one batch of images. Then count the columns that mattered.


# %%
def poked(layers, size=33):
    """Which pixels (size, size) change the output in the middle."""
    x = tensor(np.eye(size * size).reshape(-1, 1, size, size))
    for k, s, d in layers:
        x = ops.conv2d(
            x, tensor(np.ones((1, 1, k, k))), stride=s, dilation=d, padding=d * (k - 1) // 2
        )
    middle = x.shape[2] // 2
    return (x.numpy()[:, 0, middle, middle] != 0).reshape(size, size)


stacks = {
    "one 3 x 3": [(3, 1, 1)],
    "three 3 x 3": [(3, 1, 1)] * 3,
    "first stride is 2": [(3, 2, 1), (3, 1, 1), (3, 1, 1)],
    "dilations 1, 2, 4": [(3, 1, 1), (3, 1, 2), (3, 1, 4)],
}
seen = {}
for name, layers in stacks.items():
    field = poked(layers)
    k, s, d = zip(*layers, strict=True)
    by_rule = 1 + sum((k[i] - 1) * d[i] * np.prod(s[:i], dtype=int) for i in range(len(k)))
    assert field.any(axis=0).sum() == by_rule
    seen[f"{name}:\nsees {by_rule} in a row"] = field.astype(float)
viz.gallery_figure(seen)

# %% [markdown]
# ## The picture
#
# All of it at a glance. Above: a kernel in the shape of an F and a single bright pixel; the printed formula leaves
# the letter as it is, the one that is computed turns it. Below: a photograph, its right mean over 2 x 2 pixels, and
# D3's, with the factor 1/k.

# %%
letter = np.zeros((7, 7))
letter[1:6, 2], letter[1, 2:5], letter[3, 2:4] = 1, 1, 1
spot = np.zeros((9, 9))
spot[4, 4] = 1
bright = np.clip(grey / np.percentile(grey, 99), 0, 1)
means = {k: ops.avg_pool2d(tensor(bright[None, None]), k, k).numpy()[0, 0] for k in (2, 3)}
viz.gallery_figure(
    {
        "kernel": letter,
        "one bright pixel": spot,
        "as printed": d3(spot, letter)[3:12, 3:12],
        "as computed": slide(np.pad(spot, 3), letter),
        "photograph": bright,
        "mean of 2 x 2": means[2],
        "D3's mean, k = 2": 2 * means[2],
        "D3's mean, k = 3": 3 * means[3],
    },
    limits=(0, 1),
    title="Printed, and computed",
)

# %% [markdown]
# ## What to read next
#
# * [03 · Gradients that prove themselves](03_gradients_that_prove_themselves.ipynb): how a kernel learns.
# * The formulas of this page with their code: [convolution](../minseg/equations/EQUATIONS.md#conv),
#   [pooling](../minseg/equations/EQUATIONS.md#pool). The kernels as the equations read:
#   [conv.py](../kernels/reference/conv.py), [pool.py](../kernels/reference/pool.py); the same, fast:
#   [conv_tile.py](../kernels/cpu/conv_tile.py).
# * Solutions of the exercises: [solutions/02.py](solutions/02.py).
