"""What the Winograd rungs share: pixels and sums carried through the transforms, tile by tile. kernels/winograd.py tells the idea.

    Y = A^T [(G g G^T) * (B^T d B)] A        eq: conv.winograd_f2, conv.winograd_f4

For each of the n x n positions p in a transformed tile, the products over all channels are a matrix product like that of the other
rungs: M[p] (outputs, tiles) = U[p] (outputs, channels) V[p] (channels, tiles), with U = G g G^T and V = B^T d B. ``product`` and
``dots`` of conv_parts.py compute it.

A vector holds the same pixel of LANES neighbouring tiles. A row of tiles is transformed down its columns first, where neighbouring
pixels may keep their places, and then along the rows, where every m-th pixel must come into one vector (``split``). Where a row has
fewer tiles than a vector has lanes, the lanes beyond it are computed and stored like the others: the next row overwrites them.

The one-dimensional transforms know F(2) from F(4) by the number of their vectors: each rung's file holds its own.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import get_num_threads, prange
from numba.extending import overload

from minseg.errors import Unsupported
from minseg.kernels import memory, winograd
from minseg.kernels.cpu.conv_parts import (
    CHANNELS,
    OUTS,
    TAPS,
    TILE,
    dots,
    fill_row,
    gather_row,
    pack_panels,
    product,
    put_row,
)
from minseg.kernels.cpu.jit import kernel, parallel_kernel
from minseg.kernels.cpu.simd import (
    LANES,
    interleave,
    load,
    load_each,
    peek,
    pointer,
    poke,
    shifted,
    splat,
    splat_at,
    store,
    store_each,
    unzip,
)
from minseg.kernels.spec import Pair, Shape

TRANSFORMED_FLOATS = 128 * 1024  # transformed pixels and sums of a job: 512 KB, about the L2 cache
GRADIENT_FLOATS = 2 * 1024 * 1024  # transformed pixels and gradients at a time: 8 MB of the L3 cache
SKEW = 16  # a cache line: positions whose distance is a power of two would all fall into the same few sets of the cache
WEIGHTS_AT_ONCE = 512  # kernels that are transformed by one iteration


class Tiles(NamedTuple):
    """Images (N, groups C, H, W) and the windows I x J over them, cut into tiles of m x m outputs, each from n x n pixels.

    Each rung has its own subclass: kernels are compiled for its m.
    """

    N: int
    groups: int
    C: int
    H: int
    W: int
    first_i: int  # the pixel that the first window begins at
    first_j: int
    I: int
    J: int
    down: int  # tiles of an image
    across: int
    rows: int  # rows of tiles at a time
    margin: int  # zeros before a row of pixels
    line: int  # room for a row of pixels with its margins
    pitch: int  # room for one channel's tiles at a time


@cache
def tiles_of(rung: type[Tiles], x_shape, groups: int, first: Pair, windows: Pair, most: int) -> Tiles:
    """Cut the windows into tiles, and choose how many rows of tiles, of ``most`` tiles together, are transformed at a time."""
    m, (N, C, H, W) = rung.m, x_shape
    down, across = -(-windows[0] // m), -(-windows[1] // m)
    fit = max(1, min(N * down, most // across))
    rows = max(range(1, fit + 1), key=lambda rows: (-computed_tiles(N * down, rows, across), rows))
    margin = -(min(0, first[1]) // LANES) * LANES
    line = max(margin + max(first[1], 0) + -(-across // LANES) * LANES * m, margin + W, windows[1]) + LANES
    pitch = -(-rows * across // TILE) * TILE + LANES
    return rung(N, groups, C // groups, H, W, *first, *windows, down, across, rows, margin, line, pitch)


def computed_tiles(total: int, rows: int, across: int) -> int:
    """How many tiles ``product`` computes for all rows of tiles, which come in whole register tiles."""
    return -(-total // rows) * (-(-rows * across // TILE) * TILE)


def outputs(t):
    """0 ... m - 1, in a kernel: a tuple whose length the compiler knows."""


def pixels(t):
    """0 ... n - 1, likewise."""


@overload(outputs)
def _outputs(t):
    places = tuple(range(t.instance_class.m))
    return lambda t: places


@overload(pixels)
def _pixels(t):
    places = tuple(range(t.instance_class.m + 2))
    return lambda t: places


# --------------------------------------------------------------------------------------------- one dimension, in vectors


def transform_pixels(d):
    """B^T d, for n vectors."""


def transform_sums(s):
    """A^T s, n vectors to m."""


def transform_gradient(y):
    """A y, m vectors to n."""


def split(row, at, outputs):
    """m vectors of every m-th pixel: the first pixels of LANES tiles, their second ones and so on."""


def join(y, bias):
    """The inverse: m vectors for the outputs of LANES tiles become a row of m LANES outputs, plus bias."""


@overload(split)
def _split(row, at, outputs):
    def by_two(row, at, outputs):
        return unzip(load(row, at), load(row, at + LANES))

    def by_four(row, at, outputs):
        even_0, odd_0 = unzip(load(row, at), load(row, at + LANES))
        even_1, odd_1 = unzip(load(row, at + 2 * LANES), load(row, at + 3 * LANES))
        p0, p2 = unzip(even_0, even_1)
        p1, p3 = unzip(odd_0, odd_1)
        return p0, p1, p2, p3

    return by_two if outputs.count == 2 else by_four


@overload(join)
def _join(y, bias):
    def two(y, bias):
        return interleave(y[0] + bias, y[1] + bias)

    def four(y, bias):
        even_0, even_1 = interleave(y[0] + bias, y[2] + bias)
        odd_0, odd_1 = interleave(y[1] + bias, y[3] + bias)
        return interleave(even_0, odd_0) + interleave(even_1, odd_1)

    return two if y.count == 2 else four


# ------------------------------------------------------------------------------------------------- a row of tiles


@kernel
def rows_of(x, plane, H, W, i, count, gathered, line):
    """Where rows i ... i + count - 1 of a plane are, and how far apart: in x, or gathered with zeros where x has none."""
    if i >= 0 and i + count <= H and W >= LANES:
        return pointer(x), plane + i * W, W
    for r in range(count):
        if 0 <= i + r < H:
            gather_row(x, plane + (i + r) * W, W, 0, 1, gathered, r * line, max(W, LANES))
        else:
            fill_row(gathered, r * line, max(W, LANES), 0)
    return pointer(gathered), 0, line


@kernel
def pixels_row(x, plane, t, i, scratch, V, at, step):
    """V[at + (a n + b) step + k] = (B^T d_k B)[a, b] for the tiles k of a row, whose first pixels are in row ``i`` of the plane."""
    m, n = len(outputs(t)), len(pixels(t))
    gathered, lines = scratch
    rows, start, pitch = rows_of(x, plane, t.H, t.W, i, n, gathered, t.line)
    last = max(t.W, LANES) - LANES
    for j in range(0, last + LANES, LANES):  # down the columns; the last vector may overlap the one before it
        v = min(j, last)
        store_each(lines, t.margin + v, t.line, transform_pixels(load_each(rows, start + v, pitch, pixels(t))))
    for a in range(n):
        for k in range(0, t.across, LANES):
            first = a * t.line + t.margin + t.first_j + m * k
            own, after = split(lines, first, outputs(t)), first + m * LANES
            shared = shifted(own[0], peek(lines, after)), shifted(own[1], peek(lines, after + 1))  # with the next tile
            store_each(V, at + a * n * step + k, step, transform_pixels(own + shared))


@kernel
def gradient_row(gy, plane, t, i, scratch, D, at, step):
    """D[at + (a n + b) step + k] = (A gy_k A^T)[a, b] for the tiles k of a row, whose first outputs are in row ``i``."""
    m, n = len(outputs(t)), len(pixels(t))
    gathered, lines = scratch
    rows, start, pitch = rows_of(gy, plane, t.I, t.J, i, m, gathered, t.line)
    last = max(t.J, LANES) - LANES
    for j in range(0, last + LANES, LANES):
        v = min(j, last)
        store_each(lines, v, t.line, transform_gradient(load_each(rows, start + v, pitch, outputs(t))))
    for a in range(n):
        for k in range(0, t.across, LANES):
            y = split(lines, a * t.line + m * k, outputs(t))
            store_each(D, at + a * n * step + k, step, transform_gradient(y))


@kernel
def outputs_row(M, at, step, t, corner, lines, bias, y, plane, i):
    """y[plane + (i, 0)] and on = A^T M_k A + bias, for the tiles k of a row, whose first outputs are in row ``i`` of the plane."""
    m, n = len(outputs(t)), len(pixels(t))
    whole = t.J // (m * LANES) * LANES if i + m <= t.I else 0  # tiles whose outputs go to y by whole vectors
    for k in range(0, t.across, LANES):
        for b in range(n):
            sums = load_each(M, at + b * step + k, n * step, pixels(t))
            store_each(corner, b * LANES, n * LANES, transform_sums(sums))
        for a in range(m):
            finished = transform_sums(load_each(corner, a * n * LANES, LANES, pixels(t)))
            if k < whole:
                store_each(y, plane + (i + a) * t.J + m * k, LANES, join(finished, splat(y, bias)))
            else:
                store_each(lines, a * t.line + m * k, LANES, join(finished, splat(y, bias)))
    for a in range(min(m, t.I - i)):
        put_row(lines, a * t.line + m * whole, 0, y, plane + (i + a) * t.J + m * whole, 1, t.J - m * whole)


# ------------------------------------------------------------------------------------------------------ the kernels' part


@kernel
def combine_piece(matrix, rows, low, high, out):
    count, terms, length = matrix.shape[0], matrix.shape[1], rows.shape[1]
    matrix, rows, out = pointer(matrix), pointer(rows), pointer(out)
    whole = high - (high - low) % LANES
    for i in range(count):
        for f in range(low, whole, LANES):
            total = splat(matrix, 0)
            for k in range(terms):
                total = total + splat_at(matrix, i * terms + k) * load(rows, k * length + f)
            store(out, i * length + f, total)
        for f in range(whole, high):
            total = peek(matrix, i * terms) * peek(rows, f)
            for k in range(1, terms):
                total += peek(matrix, i * terms + k) * peek(rows, k * length + f)
            poke(out, i * length + f, total)


@parallel_kernel
def combine(matrix, rows, out):
    """out = matrix rows, for a small matrix and long rows."""
    length = rows.shape[1]
    for piece in prange((length + WEIGHTS_AT_ONCE - 1) // WEIGHTS_AT_ONCE):
        low = np.int64(piece) * WEIGHTS_AT_ONCE
        combine_piece(matrix, rows, low, min(length, low + WEIGHTS_AT_ONCE), out)


@cache
def kernels_matrix(m: int):
    """G g G^T as a matrix (n n, 9), which multiplies the nine weights of a kernel in one column."""
    G = winograd.transforms(m).G
    return np.kron(G, G).astype(np.float32)


def transformed_kernels(w, m: int, groups: int, outs: int, ins: int, out_step: int, in_step: int, order):
    """U[p] = (G g G^T)[p] of every kernel, in the order in which ``product`` reads them; ``order`` is that of the nine taps."""
    taps = np.empty((9, groups * -(-outs // CHANNELS) * CHANNELS * ins), w.dtype)
    each_tap = np.arange(10)
    pack_panels(w.ravel(), order, each_tap, groups, outs, ins, w.size // groups, out_step, in_step, taps.reshape(-1))
    matrix = kernels_matrix(m)
    U = np.empty((len(matrix), taps.shape[1]), w.dtype)
    combine(matrix, taps, U)
    return U.reshape(-1)


# ------------------------------------------------------------------------------------- forward, and the gradient for x


@kernel
def correlate_rows(job, x, t, offset, panels, bias, O, y, splits):
    """Some rows of tiles of one group, and one share of its output channels."""
    n, blocks = len(pixels(t)), (O + CHANNELS - 1) // CHANNELS
    split, group, g0 = job % splits, job // splits % t.groups, job // splits // t.groups * t.rows
    rows = min(t.rows, t.N * t.down - g0)
    step, sums_step = t.C * t.pitch + SKEW, CHANNELS * t.pitch + SKEW
    V, M = np.empty(n * n * step, x.dtype), np.empty(n * n * sums_step, x.dtype)
    lines, corner = np.zeros(n * t.line, x.dtype), np.empty(n * n * LANES, x.dtype)
    gathered = np.empty(n * t.line, x.dtype)
    for c in range(t.C):
        for r in range(rows):
            image, i = (g0 + r) // t.down, (g0 + r) % t.down * len(outputs(t))
            plane = ((image * t.groups + group) * t.C + c) * t.H * t.W
            pixels_row(x, plane, t, i + t.first_i, (gathered, lines), V, c * t.pitch + r * t.across, step)
    for block in range(blocks * split // splits, blocks * (split + 1) // splits):
        for p in range(n * n):
            w = ((p * t.groups + group) * blocks + block) * t.C * CHANNELS
            product(V, p * step, offset, 0, t.C, rows * t.across, panels, w, M, p * sums_step, t.pitch)
        for o in range(min(CHANNELS, O - CHANNELS * block)):
            channel = group * O + CHANNELS * block + o
            for r in range(rows):
                image, i = (g0 + r) // t.down, (g0 + r) % t.down * len(outputs(t))
                plane = (image * t.groups * O + channel) * t.I * t.J
                outputs_row(M, o * t.pitch + r * t.across, sums_step, t, corner, lines, bias[channel], y, plane, i)


@parallel_kernel
def correlate(x, t, offset, panels, bias, O, y, splits):
    """y = A^T [sum_c U * V] A + bias, O channels of each group."""
    for job in prange((t.N * t.down + t.rows - 1) // t.rows * t.groups * splits):
        correlate_rows(np.int64(job), x, t, offset, panels, bias, O, y, splits)


def applies(dtype, kernel_size: Pair, stride: Pair, dilation: Pair) -> bool:
    """Whether this is a convolution that the transforms are made for. (In float64 there would be no reason to round more.)"""
    return dtype == np.float32 and tuple(kernel_size) == (3, 3) and tuple(stride) == tuple(dilation) == (1, 1)


def expect_domain(rung: str, dtype, kernel_size: Pair, stride: Pair, dilation: Pair) -> None:
    if not applies(dtype, kernel_size, stride, dilation):
        raise Unsupported(
            f"{rung}: only 3x3 kernels in float32 with stride and dilation 1, got {kernel_size[0]}x{kernel_size[1]} in {dtype} "
            f"with stride {stride} and dilation {dilation}"
        )


def run(rung: type[Tiles], x, w, b, y, groups: int, first: Pair, outs: int, out_step: int, in_step: int, order):
    """Correlate x with w[group, out, in, tap], which is found by the steps; y's first window begins at the pixel ``first``."""
    C = x.shape[1] // groups
    most = max(TILE, TRANSFORMED_FLOATS // ((rung.m + 2) ** 2 * (C + CHANNELS)))
    t = tiles_of(rung, x.shape, groups, first, y.shape[2:], most)
    panels = transformed_kernels(w, rung.m, groups, outs, C, out_step, in_step, order)
    bias = np.zeros(outs * groups, x.dtype) if b is None else b
    jobs = -(-t.N * t.down // t.rows) * groups
    splits = min(-(-outs // 16), -(-2 * get_num_threads() // jobs))  # who computes a channel does not change its bits
    correlate(x.ravel(), t, np.arange(C) * t.pitch, panels, bias, outs, y.reshape(-1), splits)
    return y


def conv2d(rung: type[Tiles], x, w, b, padding: Pair, groups: int, y_shape: Shape):
    """eq: conv.corr2d"""
    y = memory.empty(y_shape, x.dtype)
    C = w.shape[1]
    first = -padding[0], -padding[1]
    return run(rung, x, w, b, y, groups, first, len(w) // groups, 9 * C, 9, np.arange(9))


def transposed(rung: type[Tiles], x, w, b, padding: Pair, groups: int, y_shape: Shape):
    """The adjoint: the correlation with the kernels turned by 180 degrees and in and out exchanged, padded by 2 - P."""
    y = memory.empty(tuple(y_shape), x.dtype)
    O = w.shape[1]
    first = padding[0] - 2, padding[1] - 2
    return run(rung, x, w, b, y, groups, first, O, 9, 9 * O, np.arange(8, -1, -1))


# ------------------------------------------------------------------------------------------ the gradient for the kernels


@kernel
def pixels_channel(x, c, g0, rows, t, V, step):
    """V for one channel of some rows of tiles, and zeros up to whole vectors."""
    channels = t.groups * t.C
    lines, gathered = np.zeros(len(pixels(t)) * t.line, x.dtype), np.empty(len(pixels(t)) * t.line, x.dtype)
    for r in range(rows):
        image, i = (g0 + r) // t.down, (g0 + r) % t.down * len(outputs(t))
        pixels_row(
            x,
            (image * channels + c) * t.H * t.W,
            t,
            i + t.first_i,
            (gathered, lines),
            V,
            c * t.pitch + r * t.across,
            step,
        )
    clear_lanes(V, c * t.pitch + rows * t.across, len(pixels(t)), step)


@kernel
def gradient_channel(gy, o, channels, g0, rows, t, D, step):
    """Likewise for the output's gradient."""
    lines, gathered = np.zeros(len(pixels(t)) * t.line, gy.dtype), np.empty(len(pixels(t)) * t.line, gy.dtype)
    for r in range(rows):
        image, i = (g0 + r) // t.down, (g0 + r) % t.down * len(outputs(t))
        gradient_row(
            gy, (image * channels + o) * t.I * t.J, t, i, (gathered, lines), D, o * t.pitch + r * t.across, step
        )
    clear_lanes(D, o * t.pitch + rows * t.across, len(pixels(t)), step)


@kernel
def clear_lanes(V, at, n, step):
    V = pointer(V)
    for p in range(n * n):
        fill_row(V, at + p * step, LANES, 0)


@parallel_kernel
def correlate_gradient(gy, x, t, offset, O, V, D, sums):
    """sums[p, group] = D[p] V[p]', summed over the rows of tiles, t.rows at a time; each p and group are one thread's alone."""
    n, blocks = len(pixels(t)), (O + OUTS - 1) // OUTS
    step, gradient_step = t.groups * t.C * t.pitch + SKEW, (t.groups * O + OUTS) * t.pitch + SKEW
    for g0 in range(0, t.N * t.down, t.rows):
        rows = min(t.rows, t.N * t.down - g0)
        for c in prange(t.groups * t.C):
            pixels_channel(x, np.int64(c), g0, rows, t, V, step)
        for o in prange(t.groups * O):
            gradient_channel(gy, np.int64(o), t.groups * O, g0, rows, t, D, gradient_step)
        length = (rows * t.across + LANES - 1) // LANES * LANES
        for job in prange(n * n * t.groups):
            p, group = np.int64(job) // t.groups, np.int64(job) % t.groups
            gw = sums[p, group]
            if g0 == 0:
                fill_row(gw, 0, len(gw), 0)
            for block in range(blocks):
                at = p * gradient_step + (group * O + OUTS * block) * t.pitch
                origin, to = p * step + group * t.C * t.pitch, OUTS * block * len(offset)
                dots(D, at, t.pitch, V, origin, offset, length, gw, to)


def conv2d_grad_w(rung: type[Tiles], gy, x, w_shape: Shape, padding: Pair, groups: int):
    """eq: conv.grad_w. dw = G^T [sum over tiles of (A gy A^T) * (B^T d B)] G: the adjoint of the forward pass in w."""
    O, C = w_shape[0] // groups, w_shape[1]
    channels = groups * (C + O)
    most = max(TILE, GRADIENT_FLOATS // ((rung.m + 2) ** 2 * channels))
    t = tiles_of(rung, x.shape, groups, (-padding[0], -padding[1]), gy.shape[2:], most)
    positions, blocks, threes = (rung.m + 2) ** 2, -(-O // OUTS), -(-C // TAPS)
    offset = np.minimum(np.arange(TAPS * threes), C - 1) * t.pitch
    V = np.empty(positions * (groups * C * t.pitch + SKEW), x.dtype)
    D = np.empty(
        positions * ((groups * O + OUTS) * t.pitch + SKEW), x.dtype
    )  # the last block may read beyond O, for nobody
    sums = np.empty((positions, groups, blocks * threes * OUTS * TAPS), x.dtype)
    correlate_gradient(gy.ravel(), x.ravel(), t, offset, O, V, D, sums)
    taps = np.empty((9, groups * blocks * threes * OUTS * TAPS), x.dtype)
    combine(np.ascontiguousarray(kernels_matrix(rung.m).T), sums.reshape(positions, -1), taps)
    return unpack_taps(taps, groups, O, C, w_shape)


def unpack_taps(taps, groups: int, O: int, C: int, w_shape: Shape):
    """What ``dots`` wrote for each tap, (tap, group, block, three, OUTS, 3), in the shape of w."""
    blocks, threes = -(-O // OUTS), -(-C // TAPS)
    matrix = taps.reshape(9, groups, blocks, threes, OUTS, TAPS).transpose(1, 2, 4, 3, 5, 0)
    matrix = matrix.reshape(groups, blocks * OUTS, threes * TAPS, 9)[:, :O, :C]
    gw = memory.empty(tuple(w_shape), taps.dtype)
    gw.reshape(groups, O, C, 9)[:] = matrix
    return gw
