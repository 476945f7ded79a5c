"""A rung for windows that lie side by side, as patches do: kernels as large as the stride, no padding, both dtypes.

Changed from conv_tile.py: each pixel meets exactly one kernel position of one window, so nothing overlaps. Forward, each pixel of a
strip is copied to its kernel position's row once, and a row is as long as there are windows: no zeros, nothing that is thrown away.
The other way, all kernel positions are rows of one product, (C R S, O) times (O, windows), which are dealt out to the pixels of a
patch: a 2x2 transposed convolution with stride 2 is one pointwise product. A 1x1 convolution is the same with patches of one pixel;
there images are read where they lie.

Faster because rows of pixels become kernel positions, and the other way round, by shuffling whole vectors (``unzip``,
``interleave``), where the third rung copies number by number; and because tiles of the product are full.
"""

from math import gcd
from typing import NamedTuple

import numpy as np
from numba import prange

from minseg.errors import Unsupported
from minseg.kernels import memory, shapes
from minseg.kernels.cpu.conv_parts import OUTS, SUMS, TAPS, dots, fill_row, gather_row, put_row, unpack_gradient
from minseg.kernels.cpu.jit import kernel, parallel_kernel
from minseg.kernels.cpu.product import ROWS, multiply
from minseg.kernels.cpu.simd import LANES, interleave, load, pointer, splat, store, unzip
from minseg.kernels.spec import Pair, Shape

STRIP_PIXELS = 768  # windows in a strip, if its rows fit ...
STRIP_FLOATS = 64 * 1024  # ... into so many numbers: 256 KB of the L2 cache
ENOUGH = (
    192  # images of so many pixels fill tiles well: patches of one pixel are read where they lie, an image at a time
)
PARTS = 8  # partial sums of the gradient for the kernels
JOBS = (
    16  # wanted pieces of work, whatever the number of threads: with few strips, rows of the product are shared out too
)


class Patches(NamedTuple):
    """Images (N, groups C, H, W) cut into I x J patches of R x S pixels, each with O numbers a group, and strips of patches."""

    N: int
    groups: int
    C: int
    O: int
    H: int
    W: int
    R: int
    S: int
    I: int
    J: int
    images: int  # images in a strip: several only if whole
    rows: int  # rows of patches in a strip, of each of its images
    pitch: int  # from a row of a packed strip to the next
    lines: int  # rows (c, a, b) of the product that are dealt out to pixels together: whole tiles, and all b


def patches_of(x_shape, w_shape, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Patches:
    """How a convolution's input is cut; Unsupported if its windows are no patches."""
    if not applies(w_shape[2:], stride, padding, dilation):
        raise Unsupported(
            f"patches need a kernel as large as the stride and no padding, got {w_shape[2:]}, {stride}, {padding}"
        )
    (N, C, H, W), (O, C, R, S) = x_shape, w_shape
    I, J = H // R, W // S
    fit = max(1, min(STRIP_PIXELS, STRIP_FLOATS // (C * R * S)))
    images = 1 if R == S == 1 and I * J >= ENOUGH else even(N, max(1, fit // (I * J)))
    rows = I if images > 1 else even(I, max(1, fit // J))
    pitch = (
        -(-images * rows * J // LANES) | 1
    ) * LANES  # an odd number of vectors: rows spread over the sets of the cache
    lines = S * ROWS // gcd(S, ROWS)
    return Patches(N, groups, C, O // groups, H, W, R, S, I, J, images, rows, pitch, lines)


def applies(kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> bool:
    """Whether windows neither overlap nor leave gaps between them, and lie within the image."""
    sides = zip(kernel_size, stride, padding, dilation)
    return all(side == step and pad == 0 and (side == 1 or apart == 1) for side, step, pad, apart in sides)


def even(total: int, most: int) -> int:
    """The size of equal pieces, none above ``most``."""
    return -(-total // -(-total // most))


@kernel
def strips_in(s):
    return (s.N + s.images - 1) // s.images * ((s.I + s.rows - 1) // s.rows)


@kernel
def place_of(strip, s):
    """The strip's first image and row of patches, and how many it has of both."""
    down = (s.I + s.rows - 1) // s.rows
    n, i = strip // down * s.images, strip % down * s.rows
    return n, i, min(s.images, s.N - n), min(s.rows, s.I - i)


@kernel
def whole_vectors(length):
    """So many numbers of a row are read: the last vector may reach into what lies behind the row, and its sums are left."""
    return (length + LANES - 1) // LANES * LANES


@kernel
def rows_apart(count, pitch):
    """Where ``count`` rows begin."""
    offset = np.empty(count, np.int64)
    for k in range(count):
        offset[k] = k * pitch
    return offset


# -------------------------------------------------------------------------------------------- between pixels and their rows


@kernel
def split_row(x, at, S, strip, to, pitch, J):
    """strip[to + b pitch + j] = x[at + S j + b] for b < S and j < J."""
    if S == 2 and J >= LANES:
        for start in range(0, J, LANES):
            j = min(start, J - LANES)  # the last vector overlaps the one before it: no loop for what is left
            even, odd = unzip(load(x, at + 2 * j), load(x, at + 2 * j + LANES))
            store(strip, to + j, even)
            store(strip, to + pitch + j, odd)
    else:
        for b in range(S):
            gather_row(x, at, S * J, b, S, strip, to + b * pitch, J)


@kernel
def join_rows(strip, at, pitch, bias, y, to, S, J):
    """y[to + S j + b] = strip[at + b pitch + j] + bias for b < S and j < J."""
    if S == 2 and J >= LANES:
        biases = splat(strip, bias)
        for start in range(0, J, LANES):
            j = min(start, J - LANES)
            first, second = interleave(load(strip, at + j) + biases, load(strip, at + pitch + j) + biases)
            store(y, to + 2 * j, first)
            store(y, to + 2 * j + LANES, second)
    else:
        for b in range(S):
            put_row(strip, at + b * pitch, bias, y, to + b, S, J)


@kernel
def pack_patches(x, s, n, images, i, rows, group, strip):
    """strip[(c, a, b), (image, r, j)] = x[n + image, c, R (i + r) + a, S j + b]"""
    x, strip = pointer(x), pointer(strip)
    end = images * rows * s.J
    lines, J = (
        (rows, s.J) if s.R * s.S > 1 else (1, rows * s.J)
    )  # patches of one pixel lie side by side from row to row, too
    for c in range(s.C):
        for image in range(images):
            at = ((((n + image) * s.groups + group) * s.C + c) * s.H + s.R * i) * s.W
            for row in range(s.R * lines):
                r, a = row // s.R, row % s.R
                to = (c * s.R + a) * s.S * s.pitch + image * rows * s.J + r * J
                split_row(x, at + row * s.W, s.S, strip, to, s.pitch, J)
    for k in range(s.C * s.R * s.S):
        fill_row(strip, k * s.pitch + end, s.pitch - end, 0)


@kernel
def pack_windows(y, s, n, images, i, rows, first, count, strip):
    """strip[o, (image, r, j)] = y[n + image, first + o, i + r, j] for o < count."""
    y, strip = pointer(y), pointer(strip)
    pixels = rows * s.J
    for o in range(count):
        for image in range(images):
            at = (((n + image) * s.groups * s.O + first + o) * s.I + i) * s.J
            gather_row(y, at, pixels, 0, 1, strip, o * s.pitch + image * pixels, pixels)
        fill_row(strip, o * s.pitch + images * pixels, s.pitch - images * pixels, 0)


# ------------------------------------------------------------------------------------------------------- the two products


@kernel
def gather_strip(job, x, s, w, bias, y, splits):
    """A share of the output channels of one strip of one group: y = w strip + bias; w (groups, O and zeros, C R S)."""
    split, group = job % splits, job // splits % s.groups
    n, i, images, rows = place_of(job // splits // s.groups, s)
    K, pixels, plane = s.C * s.R * s.S, rows * s.J, s.I * s.J
    length = images * pixels
    strip, origin, pitch = x, (n * s.groups + group) * s.C * plane + i * s.J, plane
    if s.R * s.S > 1 or images > 1 or origin + (s.C - 1) * plane + whole_vectors(length) > x.size:
        strip, origin, pitch = np.empty(K * s.pitch, x.dtype), 0, s.pitch
        pack_patches(x, s, n, images, i, rows, group, strip)
    offset, out = rows_apart(K, pitch), np.empty(ROWS * s.pitch, x.dtype)
    blocks = (s.O + ROWS - 1) // ROWS
    for o in range(ROWS * (blocks * split // splits), ROWS * (blocks * (split + 1) // splits), ROWS):
        at = (group * blocks * ROWS + o) * K
        multiply(w, at, K, 1, strip, origin, offset, 0, K, length, out, 0, s.pitch)
        for m in range(min(ROWS, s.O - o)):
            channel = group * s.O + o + m
            for image in range(images):
                to = ((n + image) * s.groups * s.O + channel) * plane + i * s.J
                put_row(out, m * s.pitch + image * pixels, bias[channel], y, to, 1, pixels)


@parallel_kernel
def gather(x, s, w, bias, y, splits):
    """y[n, o, i, j] = bias[o] + sum of w[o, c, a, b] x[n, c, R i + a, S j + b]"""
    for job in prange(strips_in(s) * s.groups * splits):
        gather_strip(np.int64(job), x, s, w, bias, y, splits)


@kernel
def spread_strip(job, y, s, w, bias, x, splits):
    """A share of one strip's pixels: rows (c, a, b) = w' strip, a few at a time that make whole rows of pixels, plus bias."""
    split, group = job % splits, job // splits % s.groups
    n, i, images, rows = place_of(job // splits // s.groups, s)
    pixels, plane, M = rows * s.J, s.I * s.J, w.shape[2]
    length = images * pixels
    strip, origin, pitch = y, (n * s.groups + group) * s.O * plane + i * s.J, plane
    if images > 1 or origin + (s.O - 1) * plane + whole_vectors(length) > y.size:
        strip, origin, pitch = np.empty(s.O * s.pitch, y.dtype), 0, s.pitch
        pack_windows(y, s, n, images, i, rows, group * s.O, s.O, strip)
    offset, out = rows_apart(s.O, pitch), np.empty(s.lines * s.pitch, y.dtype)
    batches = M // s.lines
    for first in range(s.lines * (batches * split // splits), s.lines * (batches * (split + 1) // splits), s.lines):
        for m in range(0, s.lines, ROWS):
            at = group * s.O * M + first + m
            multiply(w, at, 1, M, strip, origin, offset, 0, s.O, length, out, m * s.pitch, s.pitch)
        last = min(first + s.lines, s.C * s.R * s.S)
        put_lines(out, s, n, images, i, rows, group, first // s.S, last // s.S, bias, x)


@kernel
def put_lines(out, s, n, images, i, rows, group, first, last, bias, x):
    """Rows (c, a, b) of a strip, plus bias, to the pixels x[n + image, c, R (i + r) + a, S j + b], for first <= (c, a) < last."""
    out, x = pointer(out), pointer(x)
    J = s.J if s.R * s.S > 1 else rows * s.J  # patches of one pixel lie side by side from row to row, too
    for image in range(images):
        for r in range(rows * s.J // J):
            at = (image * rows + r) * s.J
            for line in range(first, last):
                c, a = group * s.C + line // s.R, line % s.R
                to = (((n + image) * s.groups * s.C + c) * s.H + s.R * (i + r) + a) * s.W
                join_rows(out, at, s.pitch, bias[c], x, to, s.S, J)
                at += s.S * s.pitch


@parallel_kernel
def spread(y, s, w, bias, x, splits):
    """x[n, c, R i + a, S j + b] = bias[c] + sum of w[o, c, a, b] y[n, o, i, j]"""
    for job in prange(strips_in(s) * s.groups * splits):
        spread_strip(np.int64(job), y, s, w, bias, x, splits)


def splits_for(s: Patches, batches: int) -> int:
    """Into how many jobs the rows of a strip's product are shared out, so that there are jobs enough."""
    return min(batches, -(-JOBS // (strips_in(s) * s.groups)))


def padded(w, axis: int, multiple: int):
    """w with zeros up to a multiple of so many rows."""
    missing = -w.shape[axis] % multiple
    return np.pad(w, [(0, missing if k == axis else 0) for k in range(w.ndim)]) if missing else w


def conv2d(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d"""
    s = patches_of(x.shape, w.shape, stride, padding, dilation, groups)
    y = memory.empty((s.N, len(w), s.I, s.J), x.dtype)
    matrix = padded(w.reshape(groups, s.O, -1), 1, ROWS)
    bias = np.zeros(len(w), x.dtype) if b is None else b
    gather(x.reshape(-1), s, matrix.reshape(-1), bias, y.reshape(-1), splits_for(s, -(-s.O // ROWS)))
    return y


def transposed(y, w, b, s: Patches):
    """The patches of pixels that y's numbers spread over, and the bias alone in rows and columns that no patch covers."""
    x = memory.empty((s.N, s.groups * s.C, s.H, s.W), y.dtype)
    matrix = padded(w.reshape(s.groups, s.O, -1), 2, s.lines)
    bias = np.zeros(x.shape[1], y.dtype) if b is None else b
    for beyond in (x[:, :, s.R * s.I :], x[:, :, :, s.S * s.J :]):
        beyond[:] = bias[:, None, None]
    spread(y.reshape(-1), s, matrix, bias, x.reshape(-1), splits_for(s, matrix.shape[2] // s.lines))
    return x


def conv2d_grad_x(gy, w, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_x"""
    return transposed(gy, w, None, patches_of(x_shape, w.shape, stride, padding, dilation, groups))


def conv_transpose2d(x, w, b, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair, groups: int):
    """eq: conv.transpose2d"""
    y_shape = shapes.conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups)
    return transposed(x, w, b, patches_of(y_shape, w.shape, stride, padding, dilation, groups))


# ------------------------------------------------------------------------------------------ the gradient for the kernels


@kernel
def sum_strips(job, gy, x, s, places, splits, gw):
    """One part's strips of one group, and one share of the output channels. Strips of whole vectors are read where they lie."""
    K, plane, pieces = s.C * s.R * s.S, s.I * s.J, len(places) // TAPS
    blocks = (s.O + OUTS - 1) // OUTS
    split, group, part = job % splits, job // splits % s.groups, job // splits // s.groups
    first, last = blocks * split // splits, blocks * (split + 1) // splits
    count = min(OUTS * last, s.O) - OUTS * first
    packed, gradient = np.empty(K * s.pitch, x.dtype), np.zeros(OUTS * (last - first) * s.pitch, x.dtype)
    sums = gw[part, group]
    sums[SUMS * pieces * first : SUMS * pieces * last] = 0
    for index in range(part, strips_in(s), len(gw)):
        n, i, images, rows = place_of(index, s)
        length = images * rows * s.J
        in_place = images == 1 and length % LANES == 0
        strip, origin, pitch = x, (n * s.groups + group) * s.C * plane + i * s.J, plane
        if s.R * s.S > 1 or not in_place:
            strip, origin, pitch = packed, 0, s.pitch
            pack_patches(x, s, n, images, i, rows, group, packed)
        outs, at, step = gy, ((n * s.groups + group) * s.O + OUTS * first) * plane + i * s.J, plane
        if count % OUTS or not in_place:
            outs, at, step = gradient, 0, s.pitch
            pack_windows(gy, s, n, images, i, rows, group * s.O + OUTS * first, count, gradient)
        offset = places * pitch
        for block in range(last - first):
            to = SUMS * pieces * (first + block)
            dots(outs, at + OUTS * block * step, step, strip, origin, offset, whole_vectors(length), sums, to)


@parallel_kernel
def gather_gradient(gy, x, s, places, splits, gw):
    """gw[part, group]: each part sums gy strip' over its own strips."""
    for job in prange(len(gw) * s.groups * splits):
        sum_strips(np.int64(job), gy, x, s, places, splits, gw)


def conv2d_grad_w(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_w. The parts are added in order: the same bits on any number of threads."""
    s = patches_of(x.shape, w_shape, stride, padding, dilation, groups)
    K = s.C * s.R * s.S
    places = np.minimum(
        np.arange(-(-K // TAPS) * TAPS), K - 1
    )  # the last row stands in for what fills up the last piece
    blocks, parts = -(-s.O // OUTS), min(strips_in(s), PARTS)
    sums = np.empty((parts, groups, blocks * len(places) // TAPS * SUMS), x.dtype)
    gather_gradient(gy.reshape(-1), x.reshape(-1), s, places, splits_for(s, blocks), sums)
    return unpack_gradient(sums, s.O, w_shape)
