"""First rung: the definition as loops, with a row of pixels innermost. Any shape, both dtypes.

Changed from reference/conv.py: no columns. For one weight at a time, a row of the image times that weight is added to a row of the
output, and only the part of the row that the image has: zeros outside are never read, and never multiplied.

The compiler makes vectors of the innermost loops, and threads share the planes. Slower than the rungs after it: each multiply-add
loads a sum and stores it again, and most images have left the nearest cache when the next weight needs them.
"""

import numpy as np
from numba import prange

from minseg.kernels import memory, shapes
from minseg.kernels.cpu.conv_parts import fill_row, windows_of
from minseg.kernels.cpu.jit import SUMMING, kernel, parallel_kernel
from minseg.kernels.cpu.simd import peek, pointer, poke
from minseg.kernels.spec import Pair, Shape

# ------------------------------------------------------------------------------------------------------ the innermost loops


@kernel
def add_row(x, at, stride, w, y, to, count):
    """y[to + j] += w x[at + stride j] for j < count."""
    if stride == 1:
        for j in range(count):
            poke(y, to + j, peek(y, to + j) + w * peek(x, at + j))
    else:
        for j in range(count):
            poke(y, to + j, peek(y, to + j) + w * peek(x, at + stride * j))


@kernel
def spread_row(gy, at, w, x, to, stride, count):
    """The adjoint: x[to + stride j] += w gy[at + j]."""
    if stride == 1:
        add_row(gy, at, 1, w, x, to, count)
    else:
        for j in range(count):
            poke(x, to + stride * j, peek(x, to + stride * j) + w * peek(gy, at + j))


@kernel(fastmath=SUMMING)
def dot_row(gy, at, x, to, stride, count, zero):
    """The sum of gy[at + j] x[to + stride j]."""
    total = zero
    if stride == 1:
        for j in range(count):
            total += peek(gy, at + j) * peek(x, to + j)
    else:
        for j in range(count):
            total += peek(gy, at + j) * peek(x, to + stride * j)
    return total


@kernel
def inside(count, size, stride, first):
    """The range of j < count for which stride j + first is one of ``size`` pixels."""
    low = min(count, max(0, (stride - 1 - first) // stride))
    return low, max(low, min(count, (size - 1 - first) // stride + 1))


@kernel
def meetings(win, p, q):
    """The ranges of windows i and j that lay weight (p, q) on a pixel, and the place in the channel where window (0, 0) does."""
    u, v = win.dilation_i * p - win.padding_i, win.dilation_j * q - win.padding_j
    return inside(win.I, win.H, win.stride_i, u), inside(win.J, win.W, win.stride_j, v), u * win.W + v


# ------------------------------------------------------------------------------------------------------ planes, in parallel


@kernel
def correlate_plane(x, at, w, k, win, y, to):
    """y[to + (i, j)] += the correlation of the C channels from x[at] on with the weights from w[k] on."""
    x, w, y = pointer(x), pointer(w), pointer(y)
    for c in range(win.C):
        for p in range(win.R):
            for q in range(win.S):
                rows, (left, right), start = meetings(win, p, q)
                for i in range(rows[0], rows[1]):
                    source = at + start + (c * win.H + win.stride_i * i) * win.W + win.stride_j * left
                    weight = peek(w, k + (c * win.R + p) * win.S + q)
                    add_row(x, source, win.stride_j, weight, y, to + i * win.J + left, right - left)


@kernel
def spread_plane(gy, at, O, w, k, win, x, to):
    """x[to + (u, v)] += what the windows of the O channels from gy[at] on put there; a channel's weights begin at w[k + o CRS]."""
    gy, w, x = pointer(gy), pointer(w), pointer(x)
    for o in range(O):
        for p in range(win.R):
            for q in range(win.S):
                rows, (left, right), start = meetings(win, p, q)
                for i in range(rows[0], rows[1]):
                    target = to + start + win.stride_i * i * win.W + win.stride_j * left
                    weight = peek(w, k + (o * win.C * win.R + p) * win.S + q)
                    source = at + (o * win.I + i) * win.J + left
                    spread_row(gy, source, weight, x, target, win.stride_j, right - left)


@kernel
def weight_sum(gy, at, gy_step, x, to, x_step, N, win, p, q, zero):
    """The sum of gy times the pixels that weight (p, q) met, over N planes of both, so many numbers apart."""
    gy, x = pointer(gy), pointer(x)
    total = zero
    rows, (left, right), start = meetings(win, p, q)
    for n in range(N):
        of_plane = zero
        for i in range(rows[0], rows[1]):
            pixels = to + n * x_step + start + win.stride_i * i * win.W + win.stride_j * left
            of_plane += dot_row(gy, at + n * gy_step + i * win.J + left, x, pixels, win.stride_j, right - left, zero)
        total += of_plane
    return total


@parallel_kernel
def forward(x, w, bias, N, O, groups, win, y):
    size, channel = win.I * win.J, win.H * win.W
    for index in prange(N * groups * O):
        plane = np.int64(index)
        n, o = plane // (groups * O), plane % (groups * O)
        fill_row(y, plane * size, size, bias[o])
        at = (n * groups + o // O) * win.C * channel
        correlate_plane(x, at, w, o * win.C * win.R * win.S, win, y, plane * size)


@parallel_kernel
def backward_x(gy, w, bias, N, O, groups, win, x):
    """A plane of x is one thread's alone, so no two threads add to the same pixel."""
    size, channel = win.I * win.J, win.H * win.W
    for index in prange(N * groups * win.C):
        plane = np.int64(index)
        n, c = plane // (groups * win.C), plane % (groups * win.C)
        fill_row(x, plane * channel, channel, bias[c])
        group = c // win.C
        k = (group * O * win.C + c % win.C) * win.R * win.S
        spread_plane(gy, (n * groups + group) * O * size, O, w, k, win, x, plane * channel)


@parallel_kernel
def backward_w(gy, x, N, O, groups, win, gw):
    size, channel = win.I * win.J, win.H * win.W
    for index in prange(groups * O * win.C):
        o, c = np.int64(index) // win.C, np.int64(index) % win.C
        at, to = o * size, (o // O * win.C + c) * channel
        for p in range(win.R):
            for q in range(win.S):
                total = weight_sum(
                    gy, at, groups * O * size, x, to, groups * win.C * channel, N, win, p, q, gw.dtype.type(0)
                )
                gw[(index * win.R + p) * win.S + q] = total


# ----------------------------------------------------------------------------------------------------------- the primitives


def _bias(b, channels: int, dtype):
    return np.zeros(channels, dtype) if b is None else b


def conv2d(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d"""
    y = memory.empty(shapes.conv2d(x, w, b, stride, padding, dilation, groups), x.dtype)
    win = windows_of(x.shape, groups, w.shape[2:], stride, padding, dilation)
    bias = _bias(b, len(w), x.dtype)
    forward(x.ravel(), w.ravel(), bias, len(x), len(w) // groups, groups, win, y.reshape(-1))
    return y


def transposed(gy, w, b, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    x = memory.empty(tuple(x_shape), gy.dtype)
    win = windows_of(x_shape, groups, w.shape[2:], stride, padding, dilation)
    bias = _bias(b, x_shape[1], gy.dtype)
    backward_x(gy.ravel(), w.ravel(), bias, len(gy), len(w) // groups, groups, win, x.reshape(-1))
    return x


def conv2d_grad_x(gy, w, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_x"""
    return transposed(gy, w, None, x_shape, stride, padding, dilation, groups)


def conv2d_grad_w(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_w"""
    gw = memory.empty(tuple(w_shape), x.dtype)
    win = windows_of(x.shape, groups, w_shape[2:], stride, padding, dilation)
    backward_w(gy.ravel(), x.ravel(), len(x), w_shape[0] // groups, groups, win, gw.reshape(-1))
    return gw


def conv_transpose2d(x, w, b, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair, groups: int):
    """eq: conv.transpose2d"""
    y_shape = shapes.conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups)
    return transposed(x, w, b, y_shape, stride, padding, dilation, groups)
