"""What the rungs of the convolution ladder are made of: rows copied with zeros outside, and a matrix product held in registers.

Each rung but the first computes y = w cols, with w (O, K) and K = C R S. They differ in where row k of cols is found, and so the
product takes a table: row k of cols is what begins at ``rows[offset[k]]``.
"""

from typing import NamedTuple

from minseg.kernels import memory, shapes
from minseg.kernels.cpu.jit import kernel
from minseg.kernels.cpu.product import COLUMNS, ROWS, multiply
from minseg.kernels.cpu.simd import LANES, lane_sum, load, peek, pointer, poke, splat, store
from minseg.kernels.spec import Pair

CHANNELS, TILE = ROWS, COLUMNS  # output channels and pixels of a register tile
OUTS, TAPS = 4, 3  # the weight gradient's: so many rows of gy (8 would fill the L1 cache alone), and of cols


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
def add_scaled(sums, w, x):
    """sums + w x, for three vectors."""
    return sums[0] + w * x[0], sums[1] + w * x[1], sums[2] + w * x[2]


@kernel
def add_lanes(gw, to, v):
    poke(gw, to, peek(gw, to) + lane_sum(v[0]))
    poke(gw, to + 1, peek(gw, to + 1) + lane_sum(v[1]))
    poke(gw, to + 2, peek(gw, to + 2) + lane_sum(v[2]))


@kernel
def dots(gy, at, step, rows, origin, offset, length, gw, to):
    """gw[to + (k / 3, m, k % 3)] += sum_q gy[at + m step + q] rows[origin + offset[k] + q] for OUTS m and all k.

    Three k at a time: again sums in registers, here of vectors whose lanes are added at the end. A length of whole vectors.
    """
    zero = splat(rows, 0)
    gw = pointer(gw)
    for k in range(0, len(offset), TAPS):
        r0, r1, r2 = origin + peek(offset, k), origin + peek(offset, k + 1), origin + peek(offset, k + 2)
        a = b = c = d = (zero, zero, zero)
        for q in range(0, length, LANES):
            x = load(rows, r0 + q), load(rows, r1 + q), load(rows, r2 + q)
            a = add_scaled(a, load(gy, at + q), x)
            b = add_scaled(b, load(gy, at + step + q), x)
            c = add_scaled(c, load(gy, at + 2 * step + q), x)
            d = add_scaled(d, load(gy, at + 3 * step + q), x)
        add_lanes(gw, to, a)
        add_lanes(gw, to + TAPS, b)
        add_lanes(gw, to + 2 * TAPS, c)
        add_lanes(gw, to + 3 * TAPS, d)
        to += OUTS * TAPS


def unpack_gradient(sums, outs: int, w_shape):
    """Add the parts, in order, and bring what ``dots`` wrote, (part, group, block, three, OUTS, 3), into the shape of w."""
    groups = sums.shape[1]
    K = w_shape[1] * w_shape[2] * w_shape[3]
    blocks, threes = -(-outs // OUTS), -(-K // TAPS)
    matrix = sums.sum(axis=0).reshape(groups, blocks, threes, OUTS, TAPS).transpose(0, 1, 3, 2, 4)
    gw = memory.empty(tuple(w_shape), sums.dtype)
    gw.reshape(groups, outs, K)[:] = matrix.reshape(groups, blocks * OUTS, threes * TAPS)[:, :outs, :K]
    return gw
