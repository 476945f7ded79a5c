"""Matrix products in Numba, out = a b + bias: single ones and stacks of them, however rows and columns lie in memory.

Not BLAS: its threads would spin beside Numba's, and one of them leaves the other cores idle. Here b is packed, in panels of
neighbouring columns, and tiles of sums stay in registers (product.py). A job packs as many panels as the cache has room for, so a
and the result come from memory once where a row of b is short, as in the projections of attention.

Both gradients of a linear map, and four of the six products of attention, read a matrix turned. So rows and columns are steps in
memory here, and no case is another's copy. Few outputs of long sums are no exception either: the terms are shared out, too.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import prange

from minseg.kernels import memory
from minseg.kernels.cpu.jit import kernel, parallel_kernel
from minseg.kernels.cpu.product import ONE, ROWS, ROWS_OF_ONE, ROWS_OF_THREE, ROWS_OF_TWO, THREE, TWO, VECTORS, tile
from minseg.kernels.cpu.simd import (
    LANES,
    load,
    load_each,
    load_grid,
    peek,
    pointer,
    poke,
    prefetch,
    store,
    store_each,
    store_grid,
    turned,
)

DEPTH = 512  # terms that are added up in registers: so many rows of a panel stay in the L2 cache, ...
TOGETHER = 4  # ... or of up to so many panels a part of them: then the rows of a are read once for all of these
SHARE = 256  # rows of the result that a job makes at most, each from the same panels, ...
JOBS = 16  # ... and wanted are at least so many jobs, whatever the number of threads, ...
LEAST = 2 * ROWS  # ... unless shares become so small that packing the panels takes as long as the product
AHEAD = 2 * ROWS  # rows of the result to come, whose memory is asked for while a tile is summed
TERMS = 2048  # no part of the sums has fewer terms

SQUARE = (0,) * LANES


# ------------------------------------------------------------------------------------------------- panels of b's columns


@kernel
def _pack_rows(b, at, down, depth, count, width, panel, origin):
    """panel[origin + k width + j] = b[at + k down + j] for k < depth and j < count; 0 for the other j < width."""
    for k in range(depth):
        to, row = origin + k * width, at + k * down
        whole = count // LANES * LANES
        for j in range(0, whole, LANES):
            store(panel, to + j, load(b, row + j))
            prefetch(b, row + width + j)  # the next panel's
        for j in range(whole, width):
            poke(panel, to + j, peek(b, row + j) if j < count else 0)


@kernel
def _pack_columns(b, at, along, depth, count, width, panel, origin):
    """panel[origin + k width + j] = b[at + k + j along], a square of LANES numbers at a time."""
    squares = depth // LANES * LANES
    for j in range(0, width, LANES):
        column = at + j * along
        whole = squares if j + LANES <= count else 0
        for k in range(0, whole, LANES):
            store_each(panel, origin + k * width + j, width, turned(load_each(b, column + k, along, SQUARE)))
        for k in range(whole, depth):
            for lane in range(LANES):
                poke(
                    panel, origin + k * width + j + lane, peek(b, column + lane * along + k) if j + lane < count else 0
                )


@kernel
def _pack_turned(a, at, along, depth, count, packed):
    """packed[m, k, lane] = a[at + m LANES + lane + k along], where numbers of neighbouring rows lie side by side.

    A tile would take ROWS numbers of each cache line, and lines so far apart that most fall on the same few places in the L1 cache.
    """
    for k in range(depth):
        for m in range(0, count, LANES):
            store(packed, m * depth + k * LANES, load(a, at + k * along + m))


# ------------------------------------------------------------------------------------------------------------ the product


@kernel
def _add_tile(a, at, down, along, panel, origin, offset, depth, length, before, start, pace, out, to, step):
    """out[to + m step + j] = before[start + m pace + j] + sum_k a[at + m down + k along] panel[origin + offset[k] + j].

    For ROWS m and j < length, which is rounded up to whole vectors, three at most.
    """
    if length > 2 * LANES:
        sums = load_grid(before, start, pace, ROWS_OF_THREE, THREE)
        store_grid(out, to, step, tile(a, at, down, along, panel, origin, offset, 0, depth, sums, THREE), THREE)
    elif length > LANES:
        sums = load_grid(before, start, pace, ROWS_OF_TWO, TWO)
        store_grid(out, to, step, tile(a, at, down, along, panel, origin, offset, 0, depth, sums, TWO), TWO)
    else:
        sums = load_grid(before, start, pace, ROWS_OF_ONE, ONE)
        store_grid(out, to, step, tile(a, at, down, along, panel, origin, offset, 0, depth, sums, ONE), ONE)


@kernel
def _copy_block(source, at, pace, rows, count, target, to, step):
    """target[to + m step + j] = source[at + m pace + j] for m < rows and j < count."""
    for m in range(rows):
        for j in range(count):
            poke(target, to + m * step + j, peek(source, at + m * pace + j))


class Stack(NamedTuple):
    """Matrices: where each begins among the numbers, and how far it is from a row to the next and from a column to the next."""

    numbers: np.ndarray
    starts: np.ndarray
    down: int
    along: int


@kernel
def _add_share(a, b, s, k, end, top, bottom, last, bias, left, right, width, offset, panels, packed, part, out, to, J):
    """Rows top ... bottom - 1 and columns left ... right - 1 of product s, whose number (0, 0) is out[to].

    Only the terms k ... end - 1. ``last`` is the last row of a, which has ROWS of them at least: a tile does not read on beyond it,
    but makes some rows again. ``packed`` has room for these rows of a if they are to be packed, and none otherwise.
    """
    rows, columns, out = pointer(a.numbers), pointer(b.numbers), pointer(out)
    room = len(offset) * width
    is_packed = len(packed) > 0
    offset, panels, packed = pointer(offset), pointer(panels), pointer(packed)
    bias, part = pointer(bias), pointer(part)
    for k0 in range(k, end, room // width):
        depth = min(room // width, end - k0)
        for j in range(left, right, width):
            at, to_panel = b.starts[s] + k0 * b.down + j * b.along, (j - left) // width * room
            if b.along == 1:
                _pack_rows(columns, at, b.down, depth, min(width, right - j), width, panels, to_panel)
            else:
                _pack_columns(columns, at, b.along, depth, min(width, right - j), width, panels, to_panel)
        if is_packed:
            _pack_turned(rows, a.starts[s] + top + k0 * a.along, a.along, depth, bottom - top, packed)
        for m in range(top, bottom, ROWS):
            again = m - min(m, last + 1 - ROWS)
            if is_packed:
                source, at, down, along = packed, (m - top) // LANES * LANES * depth + (m - top) % LANES, 1, LANES
            else:
                source, at, down, along = rows, a.starts[s] + (m - again) * a.down + k0 * a.along, a.down, a.along
            for j in range(left, right, width):
                count, goal, origin = min(width, right - j), to + m * J + j, (j - left) // width * room
                before, start, pace = (out, goal, J) if k0 > k else (bias, j, 0)  # every row begins with the bias
                if again == 0 and count % LANES == 0 and m + ROWS <= bottom:
                    for row in range(m + AHEAD, min(bottom, m + AHEAD + ROWS)):
                        for ahead in range(j, j + count, LANES):
                            prefetch(out, to + row * J + ahead)
                    _add_tile(
                        source, at, down, along, panels, origin, offset, depth, count, before, start, pace, out, goal, J
                    )  # fmt: skip
                else:
                    new, fresh = again * width, min(bottom, m + ROWS) - m
                    _copy_block(before, start, pace, fresh, count, part, new, width)
                    _add_tile(
                        source, at, down, along, panels, origin, offset, depth, count, part, 0, width, part, 0, width
                    )  # fmt: skip
                    _copy_block(part, new, width, fresh, count, out, goal, J)


@parallel_kernel
def _multiply(a, b, K, last, bias, share, width, group, offset, out):
    """out[part, s, m, j] = bias[j] + the sum of a[s, m, k] b[s, k, j] over one part of the k, for each matrix s of the stack."""
    parts, stack, M, J = out.shape
    wide = group * width
    shares, groups = (M + share - 1) // share, (J + wide - 1) // wide
    flat = out.reshape(-1)
    for index in prange(parts * stack * groups * shares):
        job = np.int64(index)
        matrix, left, top = job // shares // groups, job // shares % groups * wide, job % shares * share
        part, s = matrix // stack, matrix % stack
        k, end, bottom, right = K * part // parts, K * (part + 1) // parts, min(M, top + share), min(J, left + wide)
        packs = a.down == 1 and a.along > 1 and right - left > width and (bottom - top) % LANES == 0
        panels, block = np.empty(len(offset) * wide, out.dtype), np.empty(ROWS * width, out.dtype)
        packed = np.empty(len(offset) * share if packs else 0, out.dtype)
        to = matrix * M * J
        _add_share(
            a, b, s, k, end, top, bottom, last, bias[part], left, right, width, offset, panels, packed, block, flat, to, J
        )  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- the choice


def even(total: int, most: int) -> int:
    """The size of equal pieces, none above ``most``."""
    return -(-total // -(-total // most))


def stack_of(matrices) -> Stack:
    """Matrices (..., rows, columns) with any steps between them, or without any: a matrix that is repeated."""
    size = matrices.itemsize
    *batch, down, along = (stride // size for stride in matrices.strides)
    starts = np.zeros((), np.int64)
    for count, stride in zip(matrices.shape, batch):
        starts = starts[..., None] + np.arange(count) * stride
    reach = 1 + sum((count - 1) * stride // size for count, stride in zip(matrices.shape, matrices.strides))
    numbers = np.lib.stride_tricks.as_strided(matrices, (reach,), (size,), writeable=False)
    return Stack(numbers, starts.reshape(-1), down, along)


def steps_forwards(matrices) -> bool:
    """Whether ``stack_of`` can say where they lie."""
    return all(stride >= 0 and stride % matrices.itemsize == 0 for stride in matrices.strides)


def multiply_matrices(a, b, bias=None):
    """a b + bias for stacks a (..., M, K), b (..., K, J), with the same axes before the last two, and one bias (J,)."""
    (*batch, M, K), J = a.shape, b.shape[-1]
    if M < ROWS:  # a tile reads as many rows
        a = np.concatenate([a, np.zeros((*batch, ROWS - M, K), a.dtype)], axis=-2)
    if not steps_forwards(a):
        a = a.copy()
    if not steps_forwards(b) or b.itemsize not in b.strides[-2:]:
        b = b.copy()
    stack, panels = math.prod(batch), -(-J // (VECTORS * LANES))
    width = even(-(-J // LANES), VECTORS) * LANES
    depth = min(K, DEPTH // min(panels, TOGETHER))
    most = stack * panels * -(-M // SHARE) * max(1, K // TERMS)  # jobs, if each made one panel and sums were cut up
    group = max(1, min(panels, DEPTH // depth, most // JOBS))
    columns = stack * -(-panels // group)
    parts = max(1, min(K // TERMS, -(-JOBS // (columns * -(-M // SHARE)))))
    share = max(LEAST, min(SHARE, -(-M * columns * parts // (JOBS * ROWS)) * ROWS))
    start = np.zeros((parts, panels * width), a.dtype)
    if bias is not None:
        start[0, :J] = bias
    out = memory.empty((parts, *batch, M, J), a.dtype)
    offset = np.arange(depth) * width
    _multiply(
        stack_of(a),
        stack_of(b),
        K,
        max(M, ROWS) - 1,
        start,
        share,
        width,
        group,
        offset,
        out.reshape(parts, stack, M, J),
    )
    return out[0] if parts == 1 else out.sum(axis=0)
