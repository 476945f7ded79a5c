"""Exercises of notebook 07: the folded batch, layers as kernels, transposed convolution and its size."""

import numpy as np

from minseg import ops
from minseg.autograd import tensor
from minseg.kernels.shapes import conv_transpose_size
from minseg.testing.exercises.exercise import exercise


def _folds(answer) -> str | None:
    N, H = (int(value) for value in answer)
    if N < 1 or H < 1:
        return f"a batch has at least one image of at least one pixel, got N = {N}, H = {H}."
    side = ((H - 4) // 2 - 4) // 2
    if side < 1:
        return f"an image of {H} pixels is too small: nothing is left behind the second pooling."
    numbers = N * 16 * side * side
    if numbers % 400:
        return (
            f"the {numbers} numbers do not make rows of 400: the network complains, as it should. Find a silent case."
        )
    if numbers // 400 == N:
        return f"the map is {side} x {side}, so each image has its own row, {N} in all. Find a case that is misread."
    return None


@exercise("7.1", cases=lambda rng: [()], judge=_folds)
def folding_batch():
    """N images of side H whose feature maps make rows of 400 numbers, but another number of rows."""
    return 16, 52


@folding_batch.mistake("the map is 5 x 5, so each image has its own row, 8 in all. Find a case that is misread.")
def the_right_size():
    return 8, 32


@folding_batch.mistake(
    "the 2704 numbers do not make rows of 400: the network complains, as it should. Find a silent case."
)
def refused():
    return 1, 64


@folding_batch.mistake("an image of 8 pixels is too small: nothing is left behind the second pooling.")
def too_small():
    return 25, 8


@exercise("7.2", cases=lambda rng: [(rng.standard_normal((4, 18)), 2, 3, 3), (rng.standard_normal((3, 24)), 3, 2, 4)])
def as_kernels(weight, C, R, S):
    """The same numbers in another shape."""
    return weight.reshape(len(weight), C, R, S)


@as_kernels.mistake(
    "you took the channel as the last index. The map was flattened channel after channel: it is the first."
)
def channels_last(weight, C, R, S):
    return weight.reshape(len(weight), R, S, C).transpose(0, 3, 1, 2)


@as_kernels.mistake("you turned the kernels by 180 degrees. minseg's convolution slides without turning (ERR-01).")
def turned(weight, C, R, S):
    return as_kernels(weight, C, R, S)[:, :, ::-1, ::-1]


@as_kernels.mistake("inputs and outputs have changed places: weight[o] holds the weights of output o.")
def outputs_last(weight, C, R, S):
    return weight.T.reshape(len(weight), C, R, S)


def _spread(x, w, s):
    return ops.conv_transpose2d(tensor(x[None, None].copy()), tensor(w[None, None].copy()), stride=s).numpy()[0, 0]


@exercise(
    "7.3",
    cases=lambda rng: [
        (rng.standard_normal((3, 4)), rng.standard_normal((3, 4)), 2),
        (rng.standard_normal((2, 3)), rng.standard_normal((2, 2)), 1),
    ],
)
def spread(x, w, s):
    """Each pixel paints the kernel, s pixels apart, and what overlaps adds up."""
    return _spread(x, w, s)


@spread.mistake("you write over what is there. Where windows overlap, contributions add up: +=.")
def overwritten(x, w, s):
    y = np.zeros_like(_spread(x, w, s))
    for i, j in np.ndindex(x.shape):
        y[s * i : s * i + w.shape[0], s * j : s * j + w.shape[1]] = x[i, j] * w
    return y


@spread.mistake("the kernel is turned by 180 degrees. A single bright pixel must paint it upright.")
def upside_down(x, w, s):
    return _spread(x, w[::-1, ::-1], s)


@spread.mistake("your windows are one pixel apart: pixel (i, j) starts to paint at (s i, s j).")
def no_stride(x, w, s):
    y = np.zeros_like(_spread(x, w, s))
    for i, j in np.ndindex(x.shape):
        y[i : i + w.shape[0], j : j + w.shape[1]] += x[i, j] * w
    return y


@exercise(
    "7.4",
    cases=lambda rng: [(8, 4, 2, 1, 1, 0), (64, 4, 2, 1, 1, 1), (5, 3, 3, 0, 2, 2), (7, 2, 2, 0, 1, 0)],
)
def spread_size(H, R, s, P, d, a):
    """The size that a convolution with these numbers makes H of."""
    return conv_transpose_size(H, R, s, P, a, d)


@spread_size.mistake("the first pixel starts at 0, so the last one starts at (H - 1) s, not at H s.")
def fence_post(H, R, s, P, d, a):
    return H * s - 2 * P + d * (R - 1) + a + 1


@spread_size.mistake("padding here cuts away, it does not add: - 2P, on both sides.")
def padding_added(H, R, s, P, d, a):
    return (H - 1) * s + 2 * P + d * (R - 1) + a + 1


@spread_size.mistake("that is the size of a convolution, which makes maps smaller. Solve its formula for H.")
def convolution(H, R, s, P, d, a):
    return (H + 2 * P - d * (R - 1) - 1) // s + 1


@spread_size.mistake("you left out the output padding a, which adds its rows at the end.")
def no_output_padding(H, R, s, P, d, a):
    return (H - 1) * s - 2 * P + d * (R - 1) + 1


@spread_size.mistake("you left out the dilation: the stretched kernel has d(R - 1) + 1 rows.")
def no_dilation(H, R, s, P, d, a):
    return (H - 1) * s - 2 * P + R + a
