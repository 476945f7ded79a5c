"""Exercises of notebook 02: convolution, its size and its matrix, pooling, receptive fields."""

import math

import numpy as np

from minseg import ops
from minseg.autograd import tensor
from minseg.equations.literal.conv import conv_receptive_field, conv_toeplitz
from minseg.kernels.shapes import conv_size
from minseg.testing.exercises.exercise import exercise


def _correlate(x, w, padding=0):
    return ops.conv2d(tensor(x[None, None]), tensor(w[None, None].copy()), padding=padding).numpy()[0, 0]


@exercise(
    "2.1",
    cases=lambda rng: [
        (rng.standard_normal((5, 6)), rng.standard_normal((3, 2))),
        (np.eye(4), np.arange(9.0).reshape(3, 3)),
    ],
)
def correlate(x, w):
    """The kernel slides over the image, where it fits inside: multiply, and add."""
    return _correlate(x, w)


@correlate.mistake(
    "your kernel is rotated by 180 degrees. Add the indices, x[i + p, j + q], do not subtract them: see ERR-01."
)
def rotated(x, w):
    return _correlate(x, w[::-1, ::-1])


@correlate.mistake("you multiplied and kept the last product only. The products of a window are added up: see ERR-29.")
def no_sum(x, w):
    R, S = w.shape
    return w[-1, -1] * x[R - 1 :, S - 1 :]


@correlate.mistake(
    "your output has the size of the image: beyond the border you read zeros. Here the kernel stays inside."
)
def same_size(x, w):
    R, S = w.shape
    padded = np.pad(x, ((0, R - 1), (0, S - 1)))
    return _correlate(padded, w)


@correlate.mistake("you divided by the number of weights. A convolution is a sum, not a mean.")
def mean(x, w):
    return _correlate(x, w) / w.size


def _unmoved(w, *_) -> str | None:
    w = np.asarray(w, float)
    if w.shape != (3, 3):
        return f"the kernel must be 3 x 3, got {w.shape}."
    if np.all(w == w[0, 0]):
        return "all nine weights are the same. That works, but it is too easy: let them differ."
    if np.array_equal(w, w[::-1, ::-1]):
        return None
    if np.array_equal(w, w[:, ::-1]):
        return "it equals its mirror image, left and right. But turning by 180 degrees also exchanges top and bottom."
    if np.array_equal(w, w.T):
        return "it equals its transpose. Turning by 180 degrees is something else: w[p, q] goes to w[2 - p, 2 - q]."
    x = np.random.default_rng(0).standard_normal((5, 5))
    apart = np.abs(_correlate(x, w) - _correlate(x, w[::-1, ::-1])).max()
    return f"for a random image the two differ by up to {apart:.2f}. When is w[p, q] = w[2 - p, 2 - q]?"


@exercise("2.2", cases=lambda rng: [()], judge=_unmoved)
def peaceful_kernel():
    """A 3 x 3 kernel, not all weights the same, for which both formulas agree on every image."""
    return np.array([[1, 2, 3], [4, 5, 4], [3, 2, 1]])


@peaceful_kernel.mistake(
    "it equals its mirror image, left and right. But turning by 180 degrees also exchanges top and bottom."
)
def mirror_image():
    return np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])


@peaceful_kernel.mistake(
    "it equals its transpose. Turning by 180 degrees is something else: w[p, q] goes to w[2 - p, 2 - q]."
)
def own_transpose():
    return np.array([[1, 2, 3], [2, 4, 5], [3, 5, 6]])


@peaceful_kernel.mistake("all nine weights are the same. That works, but it is too easy: let them differ.")
def constant():
    return np.ones((3, 3))


@exercise(
    "2.3", cases=lambda rng: [(32, 5, 1, 0, 1), (7, 3, 2, 1, 1), (33, 3, 2, 1, 2), (6, 2, 2, 0, 1), (56, 7, 3, 2, 2)]
)
def output_size(H, R, s, P, d):
    """Rows of the output for H rows, a kernel of R, stride s, padding P and dilation d."""
    return conv_size(H, R, s, P, d)


@output_size.mistake("one is missing: the window at the very start counts too. Where is the + 1?")
def fence_post(H, R, s, P, d):
    return conv_size(H, R, s, P, d) - 1


@output_size.mistake("you rounded up. A window that does not fit any more is not computed: rounding is down.")
def rounded_up(H, R, s, P, d):
    return math.ceil((H + 2 * P - d * (R - 1) - 1) / s) + 1


@output_size.mistake("the padding stands on both sides: 2P.")
def padding_once(H, R, s, P, d):
    return (H + P - d * (R - 1) - 1) // s + 1


@output_size.mistake("you left out the dilation. Its gaps stretch the kernel to d(R - 1) + 1 rows.")
def no_dilation(H, R, s, P, d):
    return (H + 2 * P - R) // s + 1


@exercise("2.4", cases=lambda rng: [(rng.standard_normal((2, 3)), 4, 5), (rng.standard_normal((3, 3)), 3, 4)])
def toeplitz(w, H, W):
    """The matrix T with T @ x.ravel() = the convolution of an H x W image x with the kernel w, flattened."""
    R, S = w.shape
    T = conv_toeplitz(w[None, None], 1, 1, 0, H, W)
    return T.reshape((H - R + 1) * (W - S + 1), H * W)


@toeplitz.mistake("that is the transpose: a row of T for each output, a column for each pixel of the image.")
def columns_for_outputs(w, H, W):
    return toeplitz(w, H, W).T


@toeplitz.mistake("your matrix computes the printed convolution: the kernel in it is turned by 180 degrees (ERR-01).")
def turned(w, H, W):
    return toeplitz(w[::-1, ::-1], H, W)


@toeplitz.mistake(
    "the pixel at row u and column v has the number uW + v, with the width of the image, not of the output."
)
def wrong_width(w, H, W):
    R, S = w.shape
    I, J = H - R + 1, W - S + 1
    T = np.zeros((I * J, H * W))
    for i, j, p, q in np.ndindex(I, J, R, S):
        T[i * J + j, (i + p) * J + j + q] += w[p, q]
    return T


def _too_bright(x, *_) -> str | None:
    x = np.asarray(x, float)
    if x.ndim != 2 or min(x.shape) < 2:
        return f"return an image (H, W) of at least 2 x 2 pixels, got shape {x.shape}."
    if x.min() < 0 or x.max() > 1:
        return "brightness runs from 0 to 1 here, or no answer would be impossible: keep to that."
    brightest = 2 * _correlate(x, np.full((2, 2), 0.25)).max()
    if brightest <= 1:
        return f"the printed mean reaches {brightest:.2f}, which a brightness may be. What image gives more than 1?"
    return None


@exercise("2.5", cases=lambda rng: [()], judge=_too_bright)
def refuting_image():
    """An image with brightness from 0 to 1 whose printed mean, with k = 2, is brighter than white."""
    return np.ones((2, 2))


@refuting_image.mistake("the printed mean reaches 0.00, which a brightness may be. What image gives more than 1?")
def black():
    return np.zeros((3, 3))


@refuting_image.mistake("the printed mean reaches 0.50, which a brightness may be. What image gives more than 1?")
def one_bright_pixel():
    return np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])


@refuting_image.mistake("brightness runs from 0 to 1 here, or no answer would be impossible: keep to that.")
def too_bright_already():
    return np.full((3, 3), 200.0)


def _pool(x, k, s):
    return ops.avg_pool2d(tensor(x[None, None].copy()), k, s).numpy()[0, 0]


@exercise("2.6", cases=lambda rng: [(rng.standard_normal((7, 8)), 3, 2), (rng.standard_normal((6, 6)), 2, 2)])
def mean_pool(x, k, s):
    """The mean of each window of k x k pixels; windows start every s pixels and lie inside."""
    return _pool(x, k, s)


@mean_pool.mistake("you divided by k, but a window has k times k pixels: that is ERR-10.")
def divided_by_k(x, k, s):
    return k * _pool(x, k, s)


@mean_pool.mistake(
    "your windows start at every pixel. With a stride they start at 0, s, 2s ...: without it nothing shrinks (ERR-07)."
)
def no_stride(x, k, s):
    return _pool(x, k, 1)


@mean_pool.mistake("your windows start one pixel late, so the first row and column are never read: that is ERR-06.")
def starts_late(x, k, s):
    return _pool(np.pad(x[1:, 1:], ((0, 1), (0, 1))), k, s)


@mean_pool.mistake("you took the sum of each window. Divide by its number of pixels.")
def sums(x, k, s):
    return k * k * _pool(x, k, s)


@mean_pool.mistake("you took the largest pixel of each window: that is max pooling.")
def maxima(x, k, s):
    return ops.max_pool2d(tensor(x[None, None].copy()), k, s).numpy()[0, 0]


PLAIN, STRIDED = [(3, 1, 1)] * 3, [(5, 1, 1), (2, 2, 1), (3, 1, 2), (2, 2, 1), (3, 1, 1)]


@exercise("2.7", cases=lambda rng: [(PLAIN,), (STRIDED,)])
def receptive_field(layers):
    """How many pixels in a row one output sees through layers (kernel size, stride, dilation), the first one first."""
    k, s, d = zip(*layers)
    return conv_receptive_field(k, d, s)


@receptive_field.mistake(
    "you added up whole kernels. Each layer adds k - 1 pixels to the one it stands on: start from 1."
)
def whole_kernels(layers):
    return 1 + sum(k * d * math.prod(s for _, s, _ in layers[:l]) for l, (k, _, d) in enumerate(layers))


@receptive_field.mistake("you left out the strides. Behind a stride of 2 each step is two pixels of the image.")
def no_strides(layers):
    return 1 + sum((k - 1) * d for k, _, d in layers)


@receptive_field.mistake(
    "you multiplied by a layer's own stride already. It widens the steps of the layers after it only."
)
def own_stride_too(layers):
    return 1 + sum((k - 1) * d * math.prod(s for _, s, _ in layers[: l + 1]) for l, (k, _, d) in enumerate(layers))


@receptive_field.mistake("you left out the dilation, which puts d - 1 gaps between neighbouring weights.")
def no_dilations(layers):
    return 1 + sum((k - 1) * math.prod(s for _, s, _ in layers[:l]) for l, (k, _, _) in enumerate(layers))
