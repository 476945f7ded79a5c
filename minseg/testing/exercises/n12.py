"""Exercises of notebook 12: a kernel's sums, a tile by Winograd, eight bits, pruning, lost contrast and pseudo-labels."""

import numpy as np

from minseg.kernels.winograd import transforms
from minseg.testing.exercises.exercise import exercise


def _channels(rng):
    """Whole numbers, whose sums are exact in every order: rows longer than a block has threads, and a shorter one."""
    return [(rng.integers(-9, 10, (O, n)).astype(np.float32),) for O, n in ((3, 130), (2, 200), (2, 20))]


@exercise("12.1", cases=_channels)
def channel_sums(gy):
    """The sum of each row; its solution computes it by a kernel."""
    return gy.sum(axis=1)


@channel_sums.mistake(
    "each thread takes one pixel and stops. Let it go on in steps of 64, until n: for (...; k += 64)."
)
def first_64(gy):
    return gy[:, :64].sum(axis=1)


@channel_sums.mistake("the halving ends a step too early: the last one, half = 1, adds part[1] to part[0].")
def one_halving_too_few(gy):
    return gy[:, ::2].sum(axis=1)


@channel_sums.mistake("you give out what thread 0 has added up; the parts of the other 63 threads are lost.")
def first_thread(gy):
    return gy[:, ::64].sum(axis=1)


@channel_sums.mistake("every block sums the first row. Row blockIdx.x begins at gy + blockIdx.x * n.")
def first_row(gy):
    return np.full(len(gy), gy[0].sum())


@channel_sums.mistake("the last n % 64 pixels are missing: go on as long as k < n, not in whole steps of 64.")
def whole_steps(gy):
    return gy[:, : gy.shape[1] // 64 * 64].sum(axis=1)


def _tile(rng, m):
    """Pixels, a kernel and the matrices of F(m x m, 3x3)."""
    return rng.standard_normal((m + 2, m + 2)), rng.standard_normal((3, 3)), *transforms(m)


@exercise("12.2", cases=lambda rng: [_tile(rng, 2), _tile(rng, 4)])
def winograd_tile(d, g, A, B, G):
    """Transform both, multiply number by number, transform back."""
    return A.T @ ((G @ g @ G.T) * (B.T @ d @ B)) @ A


@winograd_tile.mistake("the transformed kernel and pixels are multiplied number by number: *, not @.")
def matrix_product(d, g, A, B, G):
    return A.T @ ((G @ g @ G.T) @ (B.T @ d @ B)) @ A


@winograd_tile.mistake("B acts the other way round. The first index of B belongs to the pixels: B.T @ d @ B.")
def b_turned(d, g, A, B, G):
    return A.T @ ((G @ g @ G.T) * (B @ d @ B.T)) @ A


@winograd_tile.mistake("that is the convolution with the kernel rotated by 180 degrees. Leave g as it is.")
def rotated(d, g, A, B, G):
    return winograd_tile(d, g[::-1, ::-1], A, B, G)


@winograd_tile.mistake("your output is transposed: you take p for rows in one place and for columns in another.")
def transposed(d, g, A, B, G):
    return winograd_tile(d, g, A, B, G).T


def _numbers(rng):
    """Values on both sides of the range, a half among them, with zero points of both signs."""
    x = np.array([-30.0, -12.75, -1.3, -0.25, 0.0, 0.25, 0.7, 5.1, 31.6, 99.0])
    return [(x, 0.5, 0), (x, 0.25, -28), (x, 0.2, 77), (4 * rng.standard_normal((3, 4)), 0.05, 10)]


@exercise("12.3", cases=_numbers)
def quantize(x, s, z):
    """Halves are rounded up, then shifted by z, then kept within eight bits."""
    return np.clip(np.floor(x / s + 0.5) + z, -128, 127).astype(np.int8)


@quantize.mistake("what lies outside of the range wraps round: step 130 became -126. Clip to -128 ... 127 first.")
def wraps(x, s, z):
    return (np.floor(x / s + 0.5) + z).astype(np.int64).astype(np.int8)


@quantize.mistake("you clip before you add z. The eight bits hold the sum, so clip that.")
def clipped_too_early(x, s, z):
    return np.clip(np.floor(x / s + 0.5), -128, 127) + z


@quantize.mistake("astype cuts digits off instead of rounding: 0.7 steps became 0. Add 1/2 and take the floor.")
def cut_off(x, s, z):
    return np.clip(np.trunc(x / s) + z, -128, 127)


@quantize.mistake("the zero point is missing: step z stands for 0.")
def no_zero_point(x, s, z):
    return np.clip(np.floor(x / s + 0.5), -128, 127)


@quantize.mistake("that is the number of which the steps stand for. Wanted are the steps, whole numbers.")
def and_back(x, s, z):
    return s * (quantize(x, s, z).astype(float) - z)


def _weights(rng):
    return [(rng.standard_normal(size), share) for size, share in (((4, 5), 0.25), ((3, 2, 5), 0.6), ((10,), 0.0))]


@exercise("12.4", cases=_weights)
def prune(w, share):
    """The k smallest magnitudes become zero."""
    y = w.copy().ravel()
    y[np.argsort(np.abs(y))[: round(share * y.size)]] = 0
    return y.reshape(w.shape)


@prune.mistake("you sorted the weights themselves, so the most negative ones went. Small means small in magnitude.")
def without_abs(w, share):
    y = w.copy().ravel()
    y[np.argsort(y)[: round(share * y.size)]] = 0
    return y.reshape(w.shape)


@prune.mistake("that is the share that you kept. It is the share to leave out.")
def kept_instead(w, share):
    return prune(w, 1 - share)


@prune.mistake("you left out the large ones, which matter most.")
def large_ones(w, share):
    return w - prune(w, 1 - share)


@prune.mistake("the threshold is not that share of the largest weight. Count: it is the k-th smallest magnitude.")
def share_of_the_largest(w, share):
    return np.where(np.abs(w) >= share * np.abs(w).max(), w, 0)


def _grey(rng):
    return [(rng.uniform(0, 255, (5, 6)), alpha, beta) for alpha, beta in ((0.4, 0.0), (1.0, -40.0), (2.5, 10.0))]


@exercise("12.5", cases=_grey)
def adjust(x, alpha, beta):
    """Spread about the mean, shifted, and kept within 0 and 255."""
    return np.clip(alpha * (x - x.mean()) + x.mean() + beta, 0, 255)


@adjust.mistake("an image has no values below 0 and above 255: clip at the end.")
def no_limits(x, alpha, beta):
    return alpha * (x - x.mean()) + x.mean() + beta


@adjust.mistake("you multiplied about 0, so the image became darker or brighter too. Spread it about its mean.")
def about_zero(x, alpha, beta):
    return np.clip(alpha * x + beta, 0, 255)


@adjust.mistake("you spread it about 128. The formula takes the mean of the image.")
def about_128(x, alpha, beta):
    return np.clip(alpha * (x - 128) + 128 + beta, 0, 255)


@adjust.mistake("beta is multiplied by alpha: add it after spreading.")
def brightness_spread(x, alpha, beta):
    return np.clip(alpha * (x + beta - x.mean()) + x.mean(), 0, 255)


def _probabilities(rng):
    """Three classes; in the first case one pixel is exactly as sure as the threshold, and none is for class 0."""
    z = 2 * rng.standard_normal((3, 4, 5))
    p = np.array([[0.0625, 0.125, 0.25], [0.75, 0.5, 0.25], [0.1875, 0.375, 0.5]])[:, None]
    return [(p, 0.75), (np.exp(z) / np.exp(z).sum(axis=0), 0.8)]


@exercise("12.6", cases=_probabilities)
def pseudo_label(p, tau):
    """The likeliest class where it is likely enough, else 255."""
    return np.where(p.max(axis=0) >= tau, p.argmax(axis=0), 255)


@pseudo_label.mistake("exactly tau is sure enough: >=.")
def strictly(p, tau):
    return np.where(p.max(axis=0) > tau, p.argmax(axis=0), 255)


@pseudo_label.mistake("unsure pixels became class 0, which is a label like any other. Ignore them: 255.")
def unsure_is_background(p, tau):
    return np.where(p.max(axis=0) >= tau, p.argmax(axis=0), 0)


@pseudo_label.mistake("you labelled every pixel, however unsure.")
def always_sure(p, tau):
    return p.argmax(axis=0)


@pseudo_label.mistake("you kept the unsure pixels and ignored the sure ones.")
def other_way_round(p, tau):
    return np.where(p.max(axis=0) >= tau, 255, p.argmax(axis=0))
