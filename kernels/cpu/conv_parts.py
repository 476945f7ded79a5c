"""What the rungs of the convolution ladder are made of: rows copied with zeros outside, and a matrix product held in registers.

Each rung but the first computes y = w cols, with w (O, K) and K = C R S. They differ in where row k of cols is found, and so the
product takes a table: row k of cols is what begins at ``rows[offset[k]]``.
"""

from typing import NamedTuple

from minseg.kernels import memory, shapes
from minseg.kernels.cpu.jit import kernel
from minseg.kernels.cpu.product import COLUMNS, ROWS, multiply
from minseg.kernels.cpu.simd import (
    LANES,
    add_lane_sums,
    add_outer,
    load,
    load_at,
    load_each,
    peek,
    pointer,
    poke,
    splat,
    splat_each,
    store,
)
from minseg.kernels.spec import Pair

CHANNELS, TILE = ROWS, COLUMNS  # output channels and pixels of a register tile
OUTS = 4  # rows of gy in a tile of the weight gradient: 8 would fill the L1 cache alone; ...
TAPS = 4 if LANES == 16 else 3  # ... and of cols: 16 of 32 registers hold sums, or 12 of 16
SUMS = -(-OUTS * TAPS // LANES) * LANES  # from the sums of a tile to those of the next
EACH_OUT, EACH_TAP, EACH_SUM = (0,) * OUTS, (0,) * TAPS, (0,) * (OUTS * TAPS)


class Windows(NamedTuple):
    """Images of one group (C, H, W), and the windows (R, S) that slide over them to I x J places."""

    C: int
    H: int
    W: int
    R: int
    S: int
    I: int
    J: int
    stride_i: int
    stride_j: int
    padding_i: int
    padding_j: int
    dilation_i: int
    dilation_j: int


def windows_of(x_shape, groups: int, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Windows:
    out = map(shapes.conv_size, x_shape[2:], kernel_size, stride, padding, dilation)
    return Windows(x_shape[1] // groups, *x_shape[2:], *kernel_size, *out, *stride, *padding, *dilation)


# ------------------------------------------------------------------------------------ copying rows, from pointer to pointer


@kernel
def gather_row(x, row, width, first, step, out, to, count):
    """out[to + j] = x[row + first + step j] for j < count; x = 0 outside the width of its row."""
    low = min(count, max(0, (step - 1 - first) // step))
    high = max(low, min(count, (width - 1 - first) // step + 1))
    fill_row(out, to, low, 0)
    if step == 1:
        put_row(x, row + first + low, 0, out, to + low, 1, high - low)
    else:
        for j in range(low, high):
            poke(out, to + j, peek(x, row + first + step * j))
    fill_row(out, to + high, count - high, 0)


@kernel
def fill_row(out, to, count, value):
    """out[to + j] = value for j < count."""
    for j in range(count):
        poke(out, to + j, value)


@kernel
def put_row(source, at, bias, y, to, step, count):
    """y[to + step j] = source[at + j] + bias for j < count."""
    if step == 1 and count >= LANES:
        biases = splat(source, bias)
        for j in range(0, count - LANES, LANES):
            store(y, to + j, load(source, at + j) + biases)
        j = count - LANES  # the last vector overlaps the one before it: no loop for what is left
        store(y, to + j, load(source, at + j) + biases)
    else:
        for j in range(count):
            poke(y, to + step * j, peek(source, at + j) + bias)


# ------------------------------------------------------------------------------------------------------ the matrix product


@kernel
def pack_panels(w, order, start, groups, outs, ins, group_step, out_step, in_step, panels):
    """Weights in the order in which ``product`` reads them: [phase][group][block of CHANNELS outputs][input][tap][CHANNELS].

    Phase f has the taps order[start[f] : start[f + 1]]; w[group, out, in, tap] is found by the three steps. Output channels that
    fill up the last block get zeros.
    """
    blocks = (outs + CHANNELS - 1) // CHANNELS
    to = 0
    for f in range(len(start) - 1):
        for g in range(groups):
            for block in range(blocks):
                for c in range(ins):
                    for t in range(peek(start, f), peek(start, f + 1)):
                        at = g * group_step + c * in_step + peek(order, t)
                        for o in range(CHANNELS * block, CHANNELS * (block + 1)):
                            if o < outs:
                                poke(panels, to, peek(w, at + o * out_step))
                            else:
                                poke(panels, to, 0)
                            to += 1


@kernel
def product(rows, origin, offset, k0, k1, length, panels, p, out, first, step):
    """out[first + m step + j] = sum_k w[m, k] rows[origin + offset[k] + j] for CHANNELS m and ``length`` pixels j, w as packed.

    The length is rounded up to whole vectors.
    """
    multiply(panels, p, 1, CHANNELS, rows, origin, offset, k0, k1, length, out, first, step)


@kernel
def dots(gy, at, step, rows, origin, offset, length, gw, to):
    """gw[to + SUMS (k / TAPS) + (m, k % TAPS)] += sum_q gy[at + m step + q] rows[origin + offset[k] + q] for OUTS m and all k.

    TAPS of the k at a time: again sums in registers, here of vectors whose lanes are added at the end. A length of whole vectors.
    """
    gw = pointer(gw)
    for k in range(0, len(offset), TAPS):
        sums = splat_each(rows, 0, EACH_SUM)
        for q in range(0, length, LANES):
            sums = add_outer(
                sums, load_each(gy, at + q, step, EACH_OUT), load_at(rows, origin + q, offset, k, EACH_TAP)
            )
        add_lane_sums(gw, to, sums)
        to += SUMS


def unpack_gradient(sums, outs: int, w_shape):
    """Add the parts, in order, and bring what ``dots`` wrote, (part, group, block of OUTS, TAPS k, SUMS), into the shape of w."""
    groups = sums.shape[1]
    K = w_shape[1] * w_shape[2] * w_shape[3]
    blocks, pieces = -(-outs // OUTS), -(-K // TAPS)
    matrix = sums.sum(axis=0).reshape(groups, blocks, pieces, SUMS)[..., : OUTS * TAPS]
    matrix = matrix.reshape(groups, blocks, pieces, OUTS, TAPS).transpose(0, 1, 3, 2, 4)
    gw = memory.empty(tuple(w_shape), sums.dtype)
    gw.reshape(groups, outs, K)[:] = matrix.reshape(groups, blocks * OUTS, pieces * TAPS)[:, :outs, :K]
    return gw
