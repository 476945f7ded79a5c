"""Second rung: windows as columns, and a matrix product of our own. Any shape, both dtypes.

Changed from conv_direct.py: the pixels of a window become a column, and all outputs one matrix product, which keeps a tile of sums
in registers (``product`` in conv_parts.py; BLAS has threads of its own, which would spin beside Numba's). Changed from
reference/conv.py: not all columns at once, but those of a few output rows, which stay in the L2 cache until they are read.
"""

import numpy as np
from numba import prange

from minseg.kernels import memory, shapes
from minseg.kernels.cpu.conv_parts import (
    CHANNELS,
    OUTS,
    SUMS,
    TAPS,
    TILE,
    Windows,
    dots,
    fill_row,
    gather_row,
    pack_panels,
    product,
    unpack_gradient,
    windows_of,
)
from minseg.kernels.cpu.jit import kernel, parallel_kernel
from minseg.kernels.cpu.simd import LANES, peek, pointer, poke
from minseg.kernels.spec import Pair, Shape

STRIP_FLOATS = 64 * 1024  # numbers in a strip of columns: 256 KB of the L2 cache
PARTS = 8  # partial sums of the gradient for the kernels, whatever the number of threads


@kernel
def gather_columns(x, image, win, i0, rows, cols, at, pitch):
    """cols[at + (c, p, q) pitch + (i, j)] = x[image, c, s i + d p - P, s j + d q - P] for output rows i0 ... i0 + rows - 1."""
    x, cols = pointer(x), pointer(cols)
    for k in range(win.C * win.R * win.S):
        c, p, q = k // (win.R * win.S), k // win.S % win.R, k % win.S
        for i in range(rows):
            u = win.stride_i * (i0 + i) + win.dilation_i * p - win.padding_i
            v = win.dilation_j * q - win.padding_j
            to = at + k * pitch + i * win.J
            if 0 <= u < win.H:
                gather_row(x, ((image * win.C + c) * win.H + u) * win.W, win.W, v, win.stride_j, cols, to, win.J)
            else:
                fill_row(cols, to, win.J, 0)


@kernel
def scatter_columns(cols, at, pitch, k0, k1, image, win, i0, rows, x):
    """The adjoint: row k of cols, from at + (k - k0) pitch on, added to the pixels that it came from, for k0 <= k < k1."""
    cols, x = pointer(cols), pointer(x)
    for k in range(k0, k1):
        c, p, q = k // (win.R * win.S), k // win.S % win.R, k % win.S
        for i in range(rows):
            u = win.stride_i * (i0 + i) + win.dilation_i * p - win.padding_i
            if 0 <= u < win.H:
                row, source = ((image * win.C + c) * win.H + u) * win.W, at + (k - k0) * pitch + i * win.J
                for j in range(win.J):
                    v = win.stride_j * j + win.dilation_j * q - win.padding_j
                    if 0 <= v < win.W:
                        poke(x, row + v, peek(x, row + v) + peek(cols, source + j))


@parallel_kernel
def gather_all(x, N, win, cols):
    pixels = win.I * win.J
    for n in prange(N):
        gather_columns(x, n, win, 0, win.I, cols, n * win.C * win.R * win.S * pixels, pixels)


@parallel_kernel
def scatter_all(cols, N, win, x):
    """A plane of x is one thread's alone, so no two threads add to the same pixel."""
    taps, pixels = win.R * win.S, win.I * win.J
    for plane in prange(N * win.C):
        n, c = plane // win.C, plane % win.C
        x[plane * win.H * win.W : (plane + 1) * win.H * win.W] = 0
        scatter_columns(cols, plane * taps * pixels, pixels, c * taps, (c + 1) * taps, n, win, 0, win.I, x)


def im2col(x, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair):
    """eq: conv.im2col"""
    cols = memory.empty(shapes.im2col(x, kernel_size, stride, padding, dilation), x.dtype)
    gather_all(x.ravel(), len(x), windows_of(x.shape, 1, kernel_size, stride, padding, dilation), cols.reshape(-1))
    return cols


def col2im(cols, x_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair):
    """eq: conv.col2im"""
    x = memory.empty(tuple(x_shape), cols.dtype)
    scatter_all(cols.ravel(), len(x), windows_of(x_shape, 1, kernel_size, stride, padding, dilation), x.reshape(-1))
    return x


# ------------------------------------------------------------------------------------------------------- the three products


def strip_of(height: int, win: Windows):
    """How many output rows make a strip of so many rows of columns, from one of these to the next, and where each begins."""
    rows = max(1, min(win.I, STRIP_FLOATS // (height * win.J)))
    pitch = -(-rows * win.J // TILE) * TILE + LANES
    return rows, pitch, np.arange(height) * pitch


@kernel
def forward_strip(x, image, groups, win, i0, rows, pitch, offset, panels, bias, O, y):
    """y = w cols + bias for some rows of an image of a group."""
    K, pixels, length = len(offset), win.I * win.J, rows * win.J
    blocks = (O + CHANNELS - 1) // CHANNELS
    cols, out = np.empty(K * pitch, x.dtype), np.empty(CHANNELS * pitch, x.dtype)
    gather_columns(x, image, win, i0, rows, cols, 0, pitch)
    for block in range(blocks):
        p = CHANNELS * K * (image % groups * blocks + block)
        product(cols, 0, offset, 0, K, length, panels, p, out, 0, pitch)
        for m in range(min(CHANNELS, O - CHANNELS * block)):
            o = CHANNELS * block + m
            to = (image * O + o) * pixels + i0 * win.J
            y[to : to + length] = out[m * pitch : m * pitch + length] + bias[image % groups * O + o]


@parallel_kernel
def forward(x, jobs, groups, win, most, pitch, offset, panels, bias, O, y):
    strips = (win.I + most - 1) // most
    for index in prange(jobs * strips):
        job = np.int64(index)
        i0 = job % strips * most
        rows = min(most, win.I - i0)
        forward_strip(x, job // strips, groups, win, i0, rows, pitch, offset, panels, bias, O, y)


@kernel
def backward_image(gy, image, groups, win, most, pitch, offset, panels, x):
    """x = col2im(w' gy) for an image of a group, strip by strip: CHANNELS rows of the columns at a time, added to their pixels."""
    K, O, pixels, plane = win.C * win.R * win.S, len(offset), win.I * win.J, win.H * win.W
    blocks = (K + CHANNELS - 1) // CHANNELS
    x[image * win.C * plane : (image + 1) * win.C * plane] = 0
    strip, cols = np.empty(O * pitch, gy.dtype), np.empty(CHANNELS * pitch, gy.dtype)
    for i0 in range(0, win.I, most):
        rows = min(most, win.I - i0)
        length = rows * win.J
        for o in range(O):
            at = (image * O + o) * pixels + i0 * win.J
            strip[o * pitch : o * pitch + length] = gy[at : at + length]
        for block in range(blocks):
            p = CHANNELS * O * (image % groups * blocks + block)
            product(strip, 0, offset, 0, O, length, panels, p, cols, 0, pitch)
            k0, k1 = CHANNELS * block, min(K, CHANNELS * (block + 1))
            scatter_columns(cols, 0, pitch, k0, k1, image, win, i0, rows, x)


@parallel_kernel
def backward_x(gy, jobs, groups, win, most, pitch, offset, panels, x):
    """An image of a group is one thread's alone, so no two threads add to the same pixel."""
    for image in prange(jobs):
        backward_image(gy, np.int64(image), groups, win, most, pitch, offset, panels, x)


@kernel
def sum_strips(gy, x, first, jobs, step, groups, win, most, pitch, offset, O, gw):
    """gw = gy cols' summed over strips ``first``, first + step ... of the images of one group."""
    K, pixels = win.C * win.R * win.S, win.I * win.J
    strips, blocks = (win.I + most - 1) // most, (O + OUTS - 1) // OUTS
    cols, g = np.zeros(len(offset) * pitch, x.dtype), np.zeros(OUTS * blocks * pitch, x.dtype)
    gw[:] = 0
    for index in range(first // groups, jobs // groups * strips, step):
        image, i0 = index // strips * groups + first % groups, index % strips * most
        length = min(most, win.I - i0) * win.J
        reach = (length + LANES - 1) // LANES * LANES  # whole vectors, with zeros beyond the length
        gather_columns(x, image, win, i0, length // win.J, cols, 0, pitch)
        for k in range(K):
            cols[k * pitch + length : k * pitch + reach] = 0
        for o in range(O):
            at = (image * O + o) * pixels + i0 * win.J
            g[o * pitch : o * pitch + length] = gy[at : at + length]
            g[o * pitch + length : o * pitch + reach] = 0
        for block in range(blocks):
            dots(g, OUTS * block * pitch, pitch, cols, 0, offset, reach, gw, block * len(offset) // TAPS * SUMS)


@parallel_kernel
def backward_w(gy, x, jobs, groups, win, most, pitch, offset, O, gw):
    """gw[part, group]: each part sums over its own strips."""
    for job in prange(len(gw) * groups):
        sums = gw[job // groups, job % groups]
        sum_strips(gy, x, np.int64(job), jobs, len(gw), groups, win, most, pitch, offset, O, sums)


def panels_of(w, groups: int, outs: int, ins: int, out_step: int, in_step: int):
    """Each group's w as a matrix (outs, ins), in the order in which ``product`` reads it."""
    panels = np.empty(groups * -(-outs // CHANNELS) * CHANNELS * ins, w.dtype)
    one_tap, one_phase = np.array([0]), np.array([0, 1])
    pack_panels(w.ravel(), one_tap, one_phase, groups, outs, ins, w.size // groups, out_step, in_step, panels)
    return panels


def conv2d(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d"""
    y = memory.empty(shapes.conv2d(x, w, b, stride, padding, dilation, groups), x.dtype)
    O, K = len(w) // groups, w[0].size
    bias = np.zeros(len(w), x.dtype) if b is None else b
    win = windows_of(x.shape, groups, w.shape[2:], stride, padding, dilation)
    panels = panels_of(w, groups, O, K, K, 1)
    forward(x.ravel(), len(x) * groups, groups, win, *strip_of(K, win), panels, bias, O, y.reshape(-1))
    return y


def conv2d_grad_x(gy, w, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_x"""
    x = memory.empty(tuple(x_shape), gy.dtype)
    O, K = len(w) // groups, w[0].size
    win = windows_of(x_shape, groups, w.shape[2:], stride, padding, dilation)
    panels = panels_of(w, groups, K, O, 1, K)
    backward_x(gy.ravel(), len(x) * groups, groups, win, *strip_of(O, win), panels, x.reshape(-1))
    return x


def conv2d_grad_w(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_w"""
    O, K = w_shape[0] // groups, -(-w_shape[1] * w_shape[2] * w_shape[3] // TAPS) * TAPS
    win = windows_of(x.shape, groups, w_shape[2:], stride, padding, dilation)
    sums = np.empty((min(len(x), PARTS), groups, -(-O // OUTS) * K // TAPS * SUMS), x.dtype)
    backward_w(gy.ravel(), x.ravel(), len(x) * groups, groups, win, *strip_of(K, win), O, sums)
    return unpack_gradient(sums, O, w_shape)


def conv_transpose2d(x, w, b, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair, groups: int):
    """eq: conv.transpose2d"""
    y_shape = shapes.conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups)
    y = conv2d_grad_x(x, w, y_shape, stride, padding, dilation, groups)
    if b is not None:
        y += b[:, None, None]
    return y
