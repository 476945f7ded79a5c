"""What the Winograd rungs share: pixels and sums carried through the transforms, tile by tile. kernels/winograd.py tells the idea.

    Y = A^T [(G g G^T) * (B^T d B)] A        eq: conv.winograd_f2, conv.winograd_f4

For each of the n x n positions p in a transformed tile, the products over all channels are a matrix product, for ``multiply``:
M[p] (tiles, outputs) = V[p] (tiles, channels) U[p] (channels, outputs), with U = G g G^T and V = B^T d B. The gradient for the
kernels is one as well, D[p]' (outputs, tiles) V[p] (tiles, channels), with D = A gy A^T.

A vector holds LANES channels of one pixel: along a row every vector is simply the next pixel, and narrow maps waste nothing. Images
hold one channel after the other, though. So a row of tiles is transformed down its columns first, with vectors of LANES pixels of
one channel; then squares, LANES pixels of LANES channels, are turned over (``turned``); then each tile is transformed along its
rows. Outputs are turned back. Zeros fill up the channels to whole vectors.

What a thread has transformed stays in its L2 cache until it has been multiplied: through memory the gradient for the kernels took
twice as long, and gained nothing from a second thread. Its sum over all tiles is cut into parts, which are added in order: the bits
do not depend on the number of threads.

The one-dimensional transforms know F(2) from F(4) by the number of their vectors: each rung's file holds its own.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import get_num_threads, prange
from numba.extending import overload

from minseg.errors import Unsupported
from minseg.kernels import memory, winograd
from minseg.kernels.cpu.conv_parts import fill_row, gather_row, put_row
from minseg.kernels.cpu.jit import kernel, parallel_kernel
from minseg.kernels.cpu.simd import (
    LANES,
    at_least,
    load,
    load_each,
    load_grid,
    load_rows,
    multiply_add,
    peek,
    pointer,
    poke,
    prefetch,
    splat,
    splat_each,
    store_each,
    store_grid,
    turned,
)
from minseg.kernels.spec import Pair, Shape

TRANSFORMED_FLOATS = 128 * 1024  # transformed pixels and sums of a job: 512 KB, about half of the L2 cache
GRADIENT_FLOATS = 192 * 1024  # transformed pixels and gradients of a job: 768 KB
SUMS_FLOATS = 160 * 1024  # a job's sums of the gradient for the kernels
PARTS, PART_TILES = 8, 128  # at most so many parts of the sum over all tiles, each of so many tiles at least
SKEW = 16  # a cache line: positions whose distance is a power of two would all fall into the same few sets of the cache

BLOCK = (0,) * LANES  # LANES pixels of LANES channels
ROWS = 8 if LANES == 16 else 4  # rows of a register tile of the product ...
ONE, TWO, THREE = (
    (0,),
    (0,) * 2,
    (0,) * 3,
)  # ... and vectors in each: at most 24 sums of AVX-512's 32 registers, 12 of AVX's 16
ROWS_1, TWICE_ROWS_1, ROWS_2, ROWS_3 = (0,) * ROWS, (0,) * 2 * ROWS, (0,) * 2 * ROWS, (0,) * 3 * ROWS
FOUR, NINE = (0,) * 4, (0,) * 9  # positions of a transformed kernel at a time; taps of a kernel


class Tiles(NamedTuple):
    """Images (N, groups C, H, W) and the windows I x J over them, cut into tiles of m x m outputs, each from n x n pixels.

    Each rung has its own subclass: kernels are compiled for its m.
    """

    N: int
    groups: int
    C: int
    O: int  # output channels of a group
    H: int
    W: int
    first_i: int  # the pixel that the first window begins at
    first_j: int
    I: int
    J: int
    down: int  # tiles of an image
    across: int
    rows: int  # rows of tiles at a time
    left: int  # zeros before a row of pixels
    line: int  # room for a row of pixels with its zeros
    ins: int  # C in whole vectors
    outs: int  # O in whole vectors


class Map(NamedTuple):
    """What is cut into tiles: H x W pixels, ``left`` zeros before each row, the first tile at place ``first`` of a row."""

    H: int
    W: int
    left: int
    first: int


@cache
def tiles_of(rung: type[Tiles], x_shape, groups: int, O: int, first: Pair, windows: Pair, most: int) -> Tiles:
    """Cut the windows into tiles, and choose how many rows of tiles, of ``most`` tiles together, are transformed at a time."""
    m, (N, C, H, W) = rung.m, x_shape
    down, across = -(-windows[0] // m), -(-windows[1] // m)
    rows = -(-N * down // -(-N * down // max(1, most // across)))
    left = max(0, -first[1])
    line = max(left + max(W, LANES), max(first[1], 0) + m * across + 2, windows[1], LANES)
    C //= groups
    size = N, groups, C, O, H, W, *first, *windows
    return rung(*size, down, across, rows, left, odd_vectors(line), vectors(C) * LANES, vectors(O) * LANES)


def vectors(count: int) -> int:
    return -(-count // LANES)


def odd_vectors(count: int) -> int:
    """Room for so many numbers: an odd number of vectors, so that rows so far apart spread over the sets of the cache."""
    return (vectors(count) | 1) * LANES


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


def transform(t, d):
    """B^T d for n vectors, A d for m."""


@overload(transform)
def _transform(t, d):
    if d.count == t.instance_class.m:
        return lambda t, d: transform_gradient(d)
    return lambda t, d: transform_pixels(d)


def finish(y, bias, least):
    """y + bias, but at least ``least``, for m vectors."""


@overload(finish)
def _finish(y, bias, least):
    def two(y, bias, least):
        return at_least(y[0] + bias, least), at_least(y[1] + bias, least)

    def four(y, bias, least):
        a, b, c, d = y[0] + bias, y[1] + bias, y[2] + bias, y[3] + bias
        return at_least(a, least), at_least(b, least), at_least(c, least), at_least(d, least)

    return two if y.count == 2 else four


# ------------------------------------------------------------------------------------------------------- a row of tiles


@kernel
def narrow_rows(x, plane, size, i, count, out):
    """out[r] = row i + r of the plane, filled up with zeros to a vector; zeros where it has none."""
    for r in range(count):
        if 0 <= i + r < size.H:
            gather_row(x, plane + (i + r) * size.W, size.W, 0, 1, out, r * LANES, LANES)
        else:
            fill_row(out, r * LANES, LANES, 0)


@kernel
def transform_columns(x, plane, t, size, i, side, few, zeros, out, at):
    """out[at + a LANES line + j] = (B^T d)[a, j] for one channel, d its rows i, i + 1 ...: as many as ``side`` has items."""
    if size.W < LANES:
        narrow_rows(x, plane, size, i, len(side), few)
        store_each(out, at, LANES * t.line, transform(t, load_each(few, 0, LANES, side)))
        return
    for j in range(0, size.W, LANES):
        v = min(j, size.W - LANES)  # the last vector may overlap the one before it
        rows = load_rows(x, plane + i * size.W + v, size.W, side, -i, size.H - i, zeros)
        for r in outputs(t):  # the rows that the next row of tiles will need besides these
            prefetch(x, plane + (i + len(side) + r) * size.W + v)
        store_each(out, at + v, LANES * t.line, transform(t, rows))


@kernel
def transform_row(x, plane, channels, t, size, i, side, scratch, out, at, depth, step):
    """out[at + (a n + b) step + k depth] = (B^T d_k B)[a, b] for LANES channels of a row of tiles k, which begin in row i.

    Where ``side`` has m items: (A y_k A^T)[a, b]. ``channels`` is how many there are; if fewer than LANES, zeros are the others.
    """
    m, n = len(outputs(t)), len(pixels(t))
    few, zeros, columns, row = scratch
    for c in range(LANES):
        if c < channels:
            transform_columns(x, plane + c * size.H * size.W, t, size, i, side, few, zeros, columns, c * t.line)
        else:
            for a in range(n):
                fill_row(columns, (a * LANES + c) * t.line, max(size.W, LANES), 0)
    for a in range(n):
        for j in range(0, size.W, LANES):
            v = max(0, min(j, size.W - LANES))
            block = turned(load_each(columns, a * LANES * t.line + v, t.line, BLOCK))
            store_each(row, (size.left + v) * LANES, LANES, block)
        for k in range(t.across):
            d = load_each(row, (size.first + m * k) * LANES, LANES, side)
            store_each(out, at + a * n * step + k * depth, step, transform(t, d))


@kernel
def outputs_row(M, at, depth, step, t, scratch, bias, least, y, plane, channels, i):
    """y = A^T M_k A + bias, but at least ``least``, for LANES channels of a row of tiles k, whose first outputs are in row i."""
    m, n = len(outputs(t)), len(pixels(t))
    corner, lines = scratch
    for k in range(t.across):
        for b in range(n):
            sums = load_each(M, at + b * step + k * depth, n * step, pixels(t))
            store_each(corner, b * LANES, n * LANES, transform_sums(sums))
        for a in range(m):
            finished = transform_sums(load_each(corner, a * n * LANES, LANES, pixels(t)))
            store_each(lines, (a * t.line + m * k) * LANES, LANES, finish(finished, bias, least))
    for a in range(min(m, t.I - i)):
        for j in range(0, t.J, LANES):
            v = max(0, min(j, t.J - LANES))
            block = turned(load_each(lines, (a * t.line + v) * LANES, LANES, BLOCK))
            put_block(block, corner, y, plane + (i + a) * t.J + v, t.I * t.J, channels, min(t.J, LANES))


@kernel
def put_block(block, corner, y, to, step, channels, count):
    """y[to + c step + j] = block[c, j] for so many channels and pixels."""
    if channels >= LANES and count == LANES:
        store_each(y, to, step, block)
        return
    store_each(corner, 0, LANES, block)
    for c in range(min(channels, LANES)):
        put_row(corner, c * LANES, 0, y, to + c * step, 1, count)


# ------------------------------------------------------------------------------------------------------------ the product


@kernel
def multiply_tile(a, at, i_step, k_step, K, b, row, b_step, out, to, out_step, adding, tile, width):
    """One register tile of ``multiply``: as many sums as ``tile`` has items, ``width`` in a row."""
    if adding:
        sums = load_grid(out, to, out_step, tile, width)
    else:
        sums = splat_each(out, 0, tile)
    for k in range(K):
        sums = multiply_add(sums, a, at + k * k_step, i_step, load_each(b, row + k * b_step, LANES, width))
    store_grid(out, to, out_step, sums, width)


@kernel
def multiply(a, at, steps, rows, K, b, row, b_step, width, out, to, out_step, adding):
    """out[to + i out_step + j] = sum_k a[at + i i_step + k k_step] b[row + k b_step + j], or that much more if ``adding``.

    For ``width`` vectors of j, at most three, and so many rows i, rounded up to ROWS. The sums of a register tile stay in registers
    over all k: with 8 rows of 3 vectors, 24 multiply-adds for 3 loads and 8 broadcasts.
    """
    (i_step, k_step), a, b, out = steps, pointer(a), pointer(b), pointer(out)
    i = 0
    while i < rows:
        p, q = at + i * i_step, to + i * out_step
        if width == 3:
            multiply_tile(a, p, i_step, k_step, K, b, row, b_step, out, q, out_step, adding, ROWS_3, THREE)
        elif width == 2:
            multiply_tile(a, p, i_step, k_step, K, b, row, b_step, out, q, out_step, adding, ROWS_2, TWO)
        elif i + ROWS < rows:  # narrow tiles are twice as high
            multiply_tile(a, p, i_step, k_step, K, b, row, b_step, out, q, out_step, adding, TWICE_ROWS_1, ONE)
            i += ROWS
        else:
            multiply_tile(a, p, i_step, k_step, K, b, row, b_step, out, q, out_step, adding, ROWS_1, ONE)
        i += ROWS


# ------------------------------------------------------------------------------------------------------ the kernels' part


@cache
def kernels_matrix(m: int):
    """G g G^T as a matrix (n n, 9), which multiplies the nine weights of a kernel in one column."""
    G = winograd.transforms(m).G
    return np.kron(G, G).astype(np.float32)


class Weights(NamedTuple):
    """How w[group, out, in, tap] is found: ``start`` is the place of the first tap of the first kernel."""

    start: int
    group_step: int
    out_step: int
    in_step: int
    tap_step: int


@kernel
def transform_kernels(job, w, place, matrix, t, U):
    """U[p, group, in, out] = (G g G^T)[p] for one vector of outputs of one group, and all its inputs."""
    block, group = job % (t.outs // LANES), job // (t.outs // LANES)
    positions, size = len(matrix), t.groups * t.C * t.outs
    matrix, w, U = pointer(matrix), pointer(w), pointer(U)
    taps = np.zeros(9 * LANES, np.float32)  # outputs that fill up the vector have no weights
    for c in range(t.C):
        for lane in range(min(LANES, t.O - block * LANES)):
            o = block * LANES + lane
            at = place.start + group * place.group_step + o * place.out_step + c * place.in_step
            for tap in range(9):
                poke(taps, tap * LANES + lane, peek(w, at + tap * place.tap_step))
        to = (group * t.C + c) * t.outs + block * LANES
        for p in range(0, positions, len(FOUR)):
            sums = splat_each(taps, 0, FOUR)
            for tap in range(9):
                sums = multiply_add(sums, matrix, p * 9 + tap, 9, load_each(taps, tap * LANES, LANES, ONE))
            store_grid(U, p * size + to, size, sums, ONE)


# ------------------------------------------------------------------------------------- forward, and the gradient for x


@kernel
def correlate_rows(job, x, t, U, bias, least, y, splits):
    """Some rows of tiles of one group, and one share of its output channels."""
    m, n, blocks = len(outputs(t)), len(pixels(t)), t.outs // LANES
    split, group, g0 = job % splits, job // splits % t.groups, job // splits // t.groups * t.rows
    rows = min(t.rows, t.N * t.down - g0)
    tiles = (rows * t.across + ROWS - 1) // ROWS * ROWS
    step, sums_step = tiles * t.ins + SKEW, tiles * min(blocks, 3) * LANES + SKEW
    V, M = np.empty(n * n * step, x.dtype), np.empty(n * n * sums_step, x.dtype)
    zeros, row = np.zeros(LANES, x.dtype), np.zeros(t.line * LANES, x.dtype)
    columns, corner = np.empty(n * LANES * t.line, x.dtype), np.empty(max(m * n, LANES) * LANES, x.dtype)
    lines = np.empty(m * t.line * LANES, x.dtype)
    size = Map(t.H, t.W, max(0, -t.first_j), max(0, t.first_j))
    for c in range(0, t.C, LANES):
        for r in range(rows):
            image, i = (g0 + r) // t.down, (g0 + r) % t.down * m + t.first_i
            plane, to = ((image * t.groups + group) * t.C + c) * t.H * t.W, r * t.across * t.ins + c
            scratch = corner, zeros, columns, row
            transform_row(x, plane, t.C - c, t, size, i, pixels(t), scratch, V, to, t.ins, step)
    last = blocks * (split + 1) // splits
    for block in range(blocks * split // splits, last, 3):
        width = min(3, last - block)
        for p in range(n * n):
            w = (p * t.groups + group) * t.C * t.outs + block * LANES
            steps = t.ins, 1
            multiply(V, p * step, steps, tiles, t.C, U, w, t.outs, width, M, p * sums_step, width * LANES, False)
        for b in range(width):
            o = (block + b) * LANES
            for r in range(rows):
                image, i = (g0 + r) // t.down, (g0 + r) % t.down * m
                plane, at = ((image * t.groups + group) * t.O + o) * t.I * t.J, (r * t.across * width + b) * LANES
                biases, leasts = load(bias, group * t.outs + o), splat(x, least)
                outputs_row(M, at, width * LANES, sums_step, t, (corner, lines), biases, leasts, y, plane, t.O - o, i)


@parallel_kernel
def correlate(x, w, place, matrix, t, U, bias, least, y, splits):
    """y = A^T [sum_c U * V] A + bias, but at least ``least``; O channels of each group."""
    for job in prange(t.groups * (t.outs // LANES)):
        transform_kernels(np.int64(job), w, place, matrix, t, U)
    for job in prange((t.N * t.down + t.rows - 1) // t.rows * t.groups * splits):
        correlate_rows(np.int64(job), x, t, U, bias, least, y, splits)


def applies(dtype, kernel_size: Pair, stride: Pair, dilation: Pair) -> bool:
    """Whether this is a convolution that the transforms are made for. (In float64 there would be no reason to round more.)"""
    return dtype == np.float32 and tuple(kernel_size) == (3, 3) and tuple(stride) == tuple(dilation) == (1, 1)


def expect_domain(rung: str, dtype, kernel_size: Pair, stride: Pair, dilation: Pair) -> None:
    if not applies(dtype, kernel_size, stride, dilation):
        raise Unsupported(
            f"{rung}: only 3x3 kernels in float32 with stride and dilation 1, got {kernel_size[0]}x{kernel_size[1]} in {dtype} "
            f"with stride {stride} and dilation {dilation}"
        )


def run(rung: type[Tiles], x, w, b, y, groups: int, O: int, first: Pair, place: Weights, least: float = -np.inf):
    """Correlate x with w, O output channels of each group; y's first window begins at the pixel ``first``."""
    positions, C = (rung.m + 2) ** 2, x.shape[1] // groups
    most = TRANSFORMED_FLOATS // (positions * LANES * (vectors(C) + min(vectors(O), 3)))
    t = tiles_of(rung, x.shape, groups, O, first, y.shape[2:], most)
    bias = np.zeros((groups, t.outs), x.dtype)
    if b is not None:
        bias[:, :O] = b.reshape(groups, O)
    jobs = -(-t.N * t.down // t.rows) * groups
    splits = min(vectors(O), -(-2 * get_num_threads() // jobs))  # who computes a channel does not change its bits
    U = np.empty(positions * groups * C * t.outs, x.dtype)
    matrix, least = kernels_matrix(rung.m), x.dtype.type(least)
    correlate(x.ravel(), w.ravel(), place, matrix, t, U, bias.ravel(), least, y.reshape(-1), splits)
    return y


def conv2d(rung: type[Tiles], x, w, b, padding: Pair, groups: int, y_shape: Shape, least: float = -np.inf):
    """eq: conv.corr2d, and with 0 for ``least`` conv.corr2d_relu"""
    y = memory.empty(y_shape, x.dtype)
    O, C = len(w) // groups, w.shape[1]
    return run(rung, x, w, b, y, groups, O, (-padding[0], -padding[1]), Weights(0, O * C * 9, C * 9, 9, 1), least)


def transposed(rung: type[Tiles], x, w, b, padding: Pair, groups: int, y_shape: Shape):
    """The adjoint: the correlation with the kernels turned by 180 degrees and in and out exchanged, padded by 2 - P."""
    y = memory.empty(tuple(y_shape), x.dtype)
    C, O = len(w) // groups, w.shape[1]
    return run(rung, x, w, b, y, groups, O, (padding[0] - 2, padding[1] - 2), Weights(8, O * C * 9, 9, O * 9, -1))


# ------------------------------------------------------------------------------------------ the gradient for the kernels


@kernel
def sum_tiles(job, gy, x, t, parts, splits, own, sums):
    """sums[part, group, o, p, c] = sum over one part's tiles of D[p, o] V[p, c], for ``own`` channels o of one group or fewer."""
    m, n, total = len(outputs(t)), len(pixels(t)), t.N * t.down
    split, group, part = job % splits, job // splits % t.groups, job // splits // t.groups
    o0 = own * split
    own = min(own, t.outs - o0)
    step, gradient_step = t.rows * t.across * t.ins + SKEW, t.rows * t.across * own + SKEW
    V, D = np.empty(n * n * step, x.dtype), np.empty(n * n * gradient_step, x.dtype)
    few, zeros, columns = (
        np.empty(n * LANES, x.dtype),
        np.zeros(LANES, x.dtype),
        np.empty(n * LANES * t.line, x.dtype),
    )
    size, gradient = Map(t.H, t.W, max(0, -t.first_j), max(0, t.first_j)), Map(t.I, t.J, 0, 0)
    scratch = few, zeros, columns, np.zeros(t.line * LANES, x.dtype)
    gradient_scratch = few, zeros, columns, np.zeros(t.line * LANES, x.dtype)
    first, last = total * part // parts, total * (part + 1) // parts
    for g0 in range(first, last, t.rows):
        rows = min(t.rows, last - g0)
        for r in range(rows):
            image, i = (g0 + r) // t.down, (g0 + r) % t.down * m
            for c in range(0, t.C, LANES):
                plane, to = ((image * t.groups + group) * t.C + c) * t.H * t.W, r * t.across * t.ins + c
                transform_row(x, plane, t.C - c, t, size, i + t.first_i, pixels(t), scratch, V, to, t.ins, step)
            for o in range(o0, o0 + own, LANES):
                plane, to = ((image * t.groups + group) * t.O + o) * t.I * t.J, r * t.across * own + o - o0
                transform_row(
                    gy, plane, t.O - o, t, gradient, i, outputs(t), gradient_scratch, D, to, own, gradient_step
                )
        for p in range(n * n):
            to = (((part * t.groups + group) * t.outs + o0) * n * n + p) * t.ins
            for c in range(0, t.ins, 3 * LANES):
                width, steps = min(3, (t.ins - c) // LANES), (1, own)
                multiply(
                    D,
                    p * gradient_step,
                    steps,
                    own,
                    rows * t.across,
                    V,
                    p * step + c,
                    t.ins,
                    width,
                    sums,
                    to + c,
                    n * n * t.ins,
                    g0 > first,
                )


@kernel
def gradient_of_kernels(job, sums, parts, matrix, t, gw):
    """gw = G^T [the sum of all parts] G for one output channel of one group."""
    group, o = job // t.O, job % t.O
    positions, part_step = len(matrix), t.groups * t.outs * len(matrix) * t.ins
    matrix, sums, gw = pointer(matrix), pointer(sums), pointer(gw)
    taps = np.empty(9 * LANES, np.float32)
    for c in range(0, t.C, LANES):
        nine = splat_each(taps, 0, NINE)
        for p in range(positions):
            at = ((group * t.outs + o) * positions + p) * t.ins + c
            total = load(sums, at)
            for part in range(1, parts):
                total = total + load(sums, at + part * part_step)
            nine = multiply_add(nine, matrix, p * 9, 1, (total,))
        store_each(taps, 0, LANES, nine)
        for lane in range(min(LANES, t.C - c)):
            for tap in range(9):
                poke(gw, (job * t.C + c + lane) * 9 + tap, peek(taps, tap * LANES + lane))


@parallel_kernel
def correlate_gradient(gy, x, t, parts, splits, own, sums, matrix, gw):
    """gw = G^T [sum over the tiles of D * V] G, each part of the sum by itself and then all in order."""
    for job in prange(parts * t.groups * splits):
        sum_tiles(np.int64(job), gy, x, t, parts, splits, own, sums)
    for job in prange(t.groups * t.O):
        gradient_of_kernels(np.int64(job), sums, parts, matrix, t, gw)


def conv2d_grad_w(rung: type[Tiles], gy, x, w_shape: Shape, padding: Pair, groups: int):
    """eq: conv.grad_w. dw = G^T [sum over tiles of (A gy A^T) * (B^T d B)] G: the adjoint of the forward pass in w."""
    O, C = w_shape[0] // groups, w_shape[1]
    positions, ins, outs = (rung.m + 2) ** 2, vectors(C), vectors(O)
    rows_of_tiles, across = len(x) * -(-gy.shape[2] // rung.m), -(-gy.shape[3] // rung.m)
    parts = max(1, min(PARTS, rows_of_tiles * across // PART_TILES, rows_of_tiles))
    own = max(1, min(outs, SUMS_FLOATS // (positions * ins * LANES**2)))
    own = -(-outs // max(-(-outs // own), min(outs, -(-get_num_threads() // (parts * groups)))))
    most = max(1, GRADIENT_FLOATS // (positions * LANES * (ins + own)))
    t = tiles_of(rung, x.shape, groups, O, (-padding[0], -padding[1]), gy.shape[2:], most)
    sums = np.empty(parts * groups * t.outs * positions * t.ins, x.dtype)
    gw = memory.empty(tuple(w_shape), x.dtype)
    matrix = kernels_matrix(rung.m)
    correlate_gradient(gy.ravel(), x.ravel(), t, parts, -(-outs // own), own * LANES, sums, matrix, gw.reshape(-1))
    return gw
