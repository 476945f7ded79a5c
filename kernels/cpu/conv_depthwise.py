"""A rung for depthwise convolutions: each channel has a kernel of its own, and windows move by one pixel. Both dtypes.

Changed from conv_tile.py: no matrix product. A group with one output would fill one row in four or eight of a register tile, and
what lies between the rows of a strip would be multiplied, stored and taken away again. Here a plane is copied with zeros around it,
a few rows of outputs are summed in as many registers, and whole vectors go straight to their place. The gradient for a kernel keeps
one register for each position of it.

Faster because only multiply-adds and their loads are left, in several sums that need not wait for each other. Masks of the lanes
that lie within the image would save the copy, and did so once; but a copy within the L1 cache is cheap everywhere, and masks only
with AVX-512: 3x3 kernels, 4 images of 64 channels at 32x32 pixels, on two threads, in milliseconds (AMD EPYC, Zen 3, AVX2):

               forward  grad x  grad w
    tile          0.46    0.55    0.44
    masks         1.34    1.46    1.16
    copies        0.17    0.17    0.14
"""

from typing import NamedTuple

import numpy as np
from numba import prange

from minseg.errors import Unsupported
from minseg.kernels import memory, shapes
from minseg.kernels.cpu.conv_parts import Windows, fill_row, put_row, windows_of
from minseg.kernels.cpu.jit import kernel, parallel_kernel
from minseg.kernels.cpu.simd import (
    LANES,
    add_lane_sums,
    add_outer,
    at_least,
    load,
    load_at,
    load_each,
    load_masked,
    masked,
    multiply_add,
    peek,
    pointer,
    splat,
    splat_each,
    store_each,
    store_masked,
)
from minseg.kernels.spec import Pair, Shape

COPY_FLOATS = 16 * 1024  # numbers in a strip's copy: 64 KB
STRIPS = 4  # that one piece of work takes, in the same copy
DOWN = 4  # rows of outputs summed at once: their additions need not wait for each other
TAPS = 9  # kernel positions whose gradients are summed at once, for the same reason
EACH_ROW, EACH_TAP = (0,) * DOWN, (0,) * TAPS


def applies(w_shape: Shape, stride: Pair, groups: int) -> bool:
    """Whether every channel is convolved by itself, and windows move by one pixel."""
    return w_shape[0] == groups and w_shape[1] == 1 and tuple(stride) == (1, 1)


def _expect(w_shape: Shape, stride: Pair, groups: int) -> None:
    if not applies(w_shape, stride, groups):
        raise Unsupported(
            f"depthwise needs one channel a group and stride 1, got w {w_shape}, {groups} groups, {stride}"
        )


# ---------------------------------------------------------------------------------------------------- planes, in parallel


class Plan(NamedTuple):
    """How planes are cut into strips of rows, and what a strip's copy with zeros around it looks like. Follows from shapes."""

    strips: int  # in a plane
    rows: int  # of outputs in a strip
    height: int  # of the copy ...
    pitch: int  # ... and from a row of it to the next


def plan_of(win: Windows) -> Plan:
    below, right = win.dilation_i * (win.R - 1), win.dilation_j * (win.S - 1)
    pitch = -(-win.J // LANES) * LANES + right
    strips = -(-win.I // max(DOWN, COPY_FLOATS // pitch - below))
    rows = -(-win.I // strips)
    return Plan(strips, rows, -(-rows // DOWN) * DOWN + below, pitch)


@kernel
def places(win, plan, multiple):
    """Where in the copy each kernel position's pixels begin; the last one's again until there are a multiple of so many."""
    taps = win.R * win.S
    offset = np.empty((taps + multiple - 1) // multiple * multiple, np.int64)
    for k in range(len(offset)):
        p, q = min(k, taps - 1) // win.S, min(k, taps - 1) % win.S
        offset[k] = win.dilation_i * p * plan.pitch + win.dilation_j * q
    return offset


@kernel
def copy_rows(x, at, win, plan, i, copy):
    """copy[r, c] = x[at + (i + r - P, c - P)]. Zeros beside the rows stay as they are."""
    x, copy = pointer(x), pointer(copy)
    first, left = max(0, -win.padding_j), max(0, win.padding_j)
    count = min(win.W - first, plan.pitch - left)
    for r in range(plan.height):
        u, to = i + r - win.padding_i, r * plan.pitch + left
        if 0 <= u < win.H:
            put_row(x, at + u * win.W + first, 0, copy, to, 1, count)
        else:
            fill_row(copy, to, count, 0)


@kernel
def correlate_rows(copy, offset, w, k, bias, least, win, plan, rows, y, to):
    """y[to + (i, j)] = bias + sum of w[k + t] copy[offset[t] + (i, j)], but at least ``least``, for i < rows."""
    copy, offset, w, y = pointer(copy), pointer(offset), pointer(w), pointer(y)
    leasts = splat(copy, least)
    for i in range(0, rows, DOWN):
        for j in range(0, win.J, LANES):
            sums = splat_each(copy, bias, EACH_ROW)
            for t in range(win.R * win.S):
                pixels = load_each(copy, i * plan.pitch + j + peek(offset, t), plan.pitch, EACH_ROW)
                sums = multiply_add(sums, w, k + t, 0, pixels)
            sums = at_least(sums, leasts)
            if i + DOWN <= rows and j + LANES <= win.J:
                store_each(y, to + i * win.J + j, win.J, sums)
            else:
                for m in range(min(DOWN, rows - i)):
                    store_masked(y, to + (i + m) * win.J + j, sums[m], first_lanes(win.J - j))


@kernel
def sum_rows(gy, at, copy, offset, win, plan, rows, sums):
    """sums[t] += the sum of gy[at + (i, j)] copy[offset[t] + (i, j)] for i < rows."""
    gy, copy, sums = pointer(gy), pointer(copy), pointer(sums)
    whole, bits = win.J // LANES * LANES, first_lanes(win.J % LANES)
    for t in range(0, len(offset), TAPS):
        totals = splat_each(copy, 0, EACH_TAP)
        for i in range(rows):
            for j in range(0, whole, LANES):
                pixels = load_at(copy, i * plan.pitch + j, offset, t, EACH_TAP)
                totals = add_outer(totals, (load(gy, at + i * win.J + j),), pixels)
            if bits:
                pixels = masked(load_at(copy, i * plan.pitch + whole, offset, t, EACH_TAP), bits)
                totals = add_outer(totals, (load_masked(gy, at + i * win.J + whole, bits),), pixels)
        add_lane_sums(sums, t, totals)


@kernel
def first_lanes(count):
    """Bits of the first lanes, so many of them, of a vector."""
    return (1 << min(count, LANES)) - 1


@parallel_kernel
def correlate(x, w, bias, least, win, plan, y):
    channels, taps = len(bias), win.R * win.S
    strips = x.size // (win.H * win.W) * plan.strips
    for job in prange((strips + STRIPS - 1) // STRIPS):
        copy, offset = np.zeros(plan.height * plan.pitch, x.dtype), places(win, plan, 1)
        for strip in range(np.int64(job) * STRIPS, min(strips, (np.int64(job) + 1) * STRIPS)):
            plane, i = strip // plan.strips, strip % plan.strips * plan.rows
            c, rows = plane % channels, min(plan.rows, win.I - i)
            copy_rows(x, plane * win.H * win.W, win, plan, i, copy)
            to = (plane * win.I + i) * win.J
            correlate_rows(copy, offset, w, c * taps, bias[c], least, win, plan, rows, y, to)


@parallel_kernel
def correlate_gradient(gy, x, win, plan, sums):
    """sums[c]: the gradient for the kernel of channel c, and what fills it up to whole vectors."""
    channels = len(sums)
    for job in prange(channels):
        c = np.int64(job)
        copy, offset = np.zeros(plan.height * plan.pitch, x.dtype), places(win, plan, TAPS)
        sums[c] = 0
        for strip in range(x.size // (channels * win.H * win.W) * plan.strips):
            plane, i = strip // plan.strips * channels + c, strip % plan.strips * plan.rows
            copy_rows(x, plane * win.H * win.W, win, plan, i, copy)
            at = (plane * win.I + i) * win.J
            sum_rows(gy, at, copy, offset, win, plan, min(plan.rows, win.I - i), sums[c])


# ----------------------------------------------------------------------------------------------------------- the primitives


def _run(x, w, b, win: Windows, least: float):
    y = memory.empty((*x.shape[:2], win.I, win.J), x.dtype)
    bias = np.zeros(len(w), x.dtype) if b is None else b
    correlate(x.reshape(-1), w.reshape(-1), bias, x.dtype.type(least), win, plan_of(win), y.reshape(-1))
    return y


def conv2d(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int, least: float = -np.inf):
    """eq: conv.corr2d"""
    _expect(w.shape, stride, groups)
    return _run(x, w, b, windows_of(x.shape, groups, w.shape[2:], stride, padding, dilation), least)


def conv2d_relu(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d_relu"""
    return conv2d(x, w, b, stride, padding, dilation, groups, least=0)


def transposed(x, w, b, y_shape: Shape, padding: Pair, dilation: Pair):
    """A correlation with the kernels turned by half a turn; what was padding is cut off now, and the other way round."""
    (H, W), (R, S) = x.shape[2:], w.shape[2:]
    around = dilation[0] * (R - 1) - padding[0], dilation[1] * (S - 1) - padding[1]
    win = Windows(1, H, W, R, S, *y_shape[2:], 1, 1, *around, *dilation)
    return _run(x, np.ascontiguousarray(w[:, :, ::-1, ::-1]), b, win, -np.inf)


def conv2d_grad_x(gy, w, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_x"""
    _expect(w.shape, stride, groups)
    return transposed(gy, w, None, x_shape, padding, dilation)


def conv_transpose2d(x, w, b, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair, groups: int):
    """eq: conv.transpose2d"""
    _expect(w.shape, stride, groups)
    y_shape = shapes.conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups)
    return transposed(x, w, b, y_shape, padding, dilation)


def conv2d_grad_w(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_w"""
    _expect(w_shape, stride, groups)
    taps = w_shape[2] * w_shape[3]
    win = windows_of(x.shape, groups, w_shape[2:], stride, padding, dilation)
    sums = np.empty((groups, -(-taps // TAPS) * TAPS + LANES), x.dtype)
    correlate_gradient(gy.reshape(-1), x.reshape(-1), win, plan_of(win), sums)
    return np.ascontiguousarray(sums[:, :taps]).reshape(w_shape)
