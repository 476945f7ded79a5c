"""Third rung: im2col without the copies.

Changed: a strip of the zero-padded image is copied once, its rows one behind the other as one long vector. The pixel that
kernel position (p, q) needs for output (i, j) then lies d p rows and d q columns after the place of (i, j), for every (i, j) alike:
row k of cols is a shifted view of the strip, and the product's table of offsets says by how much. C R S rows shrink to C.
For stride s the strip is split into s x s planes, plane (a, b) holding the pixels (s r + a, s j + b): within a plane, windows move
by one pixel again. The gradient for the input is the same product: phase (a, b) of its pixels, those at (s i + a, s j + b), only
meets the kernel positions with s | a + P - d p, and reads a strip of gy. A 2x2 transposed convolution with stride 2 so becomes four
1x1 convolutions whose pixels interleave.
The batch is one tall image: small maps follow one another within a strip, so that tiles stay full.

Faster because C rows are copied instead of C R S, and those stay in the L2 cache: 3x3 convolutions of 16 channels at 128x128 and 64
at 32x32 take 0.55 of the second rung's time forward, 0.7 for the gradient for x and 0.4 to 0.5 for w.
A row of the strip is d (S-1) pixels wider than one of outputs. Vectors of outputs begin anew with each row unless that takes more
of them; if it does, they run on from row to row. With 8 lanes, 16 outputs take two vectors, and the 28 pixels of the strip at
dilation 6 three and a half: 48 from 64 channels, 4 images, two threads of an AMD EPYC (Zen 3): 0.46 ms instead of 0.70 forward,
0.48 instead of 0.82 for the gradient for x, 0.60 instead of 0.84 for w.
Price: what vectors find between rows is thrown away; in the gradient for the kernels it meets zeros, so an infinity in x can make
NaN of other kernel positions of its channel.
"""

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import prange

from minseg.kernels import memory, shapes
from minseg.kernels.cpu.conv_parts import (
    CHANNELS,
    EACH_OUT,
    EACH_SUM,
    EACH_TAP,
    OUTS,
    SUMS,
    TAPS,
    fill_row,
    gather_row,
    pack_panels,
    unpack_gradient,
)
from minseg.kernels.cpu.jit import kernel, parallel_kernel
from minseg.kernels.cpu.product import ONE, ROWS_OF_ONE, ROWS_OF_THREE, ROWS_OF_TWO, THREE, TWO, VECTORS
from minseg.kernels.cpu.simd import (
    LANES,
    add_lane_sums,
    add_outer,
    at_least,
    load,
    load_at,
    load_each,
    multiply_add,
    peek,
    pointer,
    poke,
    splat,
    splat_each,
    store,
    store_grid,
)
from minseg.kernels.spec import Pair, Shape

STRIP_PIXELS = 1536  # outputs in a strip, if its rows fit ...
STRIP_FLOATS = 64 * 1024  # ... into so many numbers: 256 KB of the L2 cache
PARTS = 8  # partial sums of the gradient for the kernels
SHAPES = 512  # whose strips are kept
JOBS = 16  # wanted pieces of work, whatever the number of threads: with few strips, output channels are shared out too


class Strips(NamedTuple):
    """How a batch is cut into strips. All of it follows from shapes, nothing from the number of threads."""

    N: int
    groups: int
    C: int  # channels of a group
    H: int
    W: int
    step_i: int  # at (r, j), plane (a, b) of a strip has the pixel (step_i r + a + first_i, step_j j + b + first_j)
    step_j: int
    first_i: int
    first_j: int
    planes_i: int
    planes_j: int
    I: int  # windows of an image
    J: int
    extra_i: int  # rows and columns of a plane beyond those where windows begin
    extra_j: int
    pitch: int  # length of a row
    period: int  # rows from an image to the next, in a strip of several images
    line: int  # in what comes out of the product: length of a row, ...
    lines: int  # ... and rows from an image to the next
    images: int  # images in a strip: several only if whole
    rows: int  # rows of windows in a strip, of each of its images
    plane: int  # from a plane to the next
    in_place: bool  # x itself is the strip


class Target(NamedTuple):
    """Where results go: window (i, j) of phase (a, b) to the pixel (step_i i + a, step_j j + b) of its channel."""

    channels: int
    H: int
    W: int
    step_i: int
    step_j: int


def cut(x_shape, groups: int, step: Pair, first: Pair, planes: Pair, windows: Pair, extra: Pair) -> Strips:
    """Choose how much goes into a strip."""
    N, C, H, W = x_shape
    C //= groups
    pitch = windows[1] + extra[1]
    in_place = step == planes == (1, 1) and first == extra == (0, 0) and windows == (H, W) and W % LANES == 0
    above = -(-(1 - planes[0] - first[0]) // step[0])  # rows of zeros above an image serve the image before it as those
    below = windows[0] + extra[0] + (first[0] - H) // step[0]  # ... below
    period = windows[0] + extra[0] - max(0, min(above, below, extra[0]))
    fit = max(1, min(STRIP_PIXELS, STRIP_FLOATS // (C * planes[0] * planes[1])) // pitch - extra[0])
    images = 1 if in_place else min(N, max(1, fit // period))
    rows = min(fit, windows[0]) if images == 1 else windows[0]
    images, rows = even(N, images), even(windows[0], rows)
    line, lines = pitch, period
    if whole_vectors(windows[1]) <= pitch:  # no vector need lie across what is between two rows
        line, lines = whole_vectors(windows[1]), windows[0]
    plane = H * W if in_place else ((images - 1) * period + rows + extra[0]) * pitch
    cut_as = pitch, period, line, lines, images, rows, plane, in_place
    return Strips(N, groups, C, H, W, *step, *first, *planes, *windows, *extra, *cut_as)


def even(total: int, most: int) -> int:
    """The size of equal pieces, none above ``most``."""
    return -(-total // -(-total // most))


def whole_vectors(length: int) -> int:
    """The length, rounded up to whole vectors."""
    return -(-length // LANES) * LANES


class Taps(NamedTuple):
    """Which kernel positions meet in which phase, and where in a strip their pixels lie."""

    order: np.ndarray  # the positions, phase by phase: phase f has order[start[f] : start[f + 1]]
    start: np.ndarray
    offset: (
        np.ndarray
    )  # offset[k], for k = (phase, channel, tap): where its pixels begin; the last again, up to whole TAPS
    vectors: np.ndarray  # vectors[v]: how much later vector v of the outputs has its pixels


def taps_of(s: Strips, places, order, start) -> Taps:
    channels = np.arange(s.C)[:, None] * (s.planes_i * s.planes_j * s.plane)
    offset = np.concatenate([(channels + places[i:j]).ravel() for i, j in pairwise(start)])
    offset = np.append(offset, offset[-1:].repeat(-len(offset) % TAPS))
    if (s.line, s.lines) == (s.pitch, s.period):
        vectors = np.arange(0, ((s.images - 1) * s.lines + s.rows) * s.line, LANES)
    else:
        rows = (np.arange(s.images)[:, None] * s.period + np.arange(s.rows)).reshape(-1, 1)
        vectors = (rows * s.pitch + np.arange(0, s.line, LANES)).ravel()
    return Taps(order, start, offset, vectors)


@lru_cache(SHAPES)
def strips_of(x_shape, w_shape, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> tuple[Strips, Taps]:
    """The strips of a convolution's input."""
    (sh, sw), (dh, dw), (R, S) = stride, dilation, w_shape[2:]
    down, right = dh * np.arange(R), dw * np.arange(S)
    planes = min(sh, down[-1].item() + 1), min(sw, right[-1].item() + 1)
    extra = down[-1].item() // sh, right[-1].item() // sw
    windows = tuple(map(shapes.conv_size, x_shape[2:], w_shape[2:], stride, padding, dilation))
    s = cut(x_shape, groups, stride, (-padding[0], -padding[1]), planes, windows, extra)
    places = (down % sh * planes[1] * s.plane + down // sh * s.pitch)[:, None] + right % sw * s.plane + right // sw
    return s, taps_of(s, places.ravel(), np.arange(R * S), np.array([0, R * S]))


@lru_cache(SHAPES)
def phases_of(x_shape, w_shape, y_shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """The strips of a transposed convolution's input.

    y[s i + a] = b + sum over the kernel positions p with d p - P = s e + a, for some e, of w[p] x[i - e]; likewise columns.
    """
    R, S = w_shape[2:]
    steps = tuple(map(min, stride, y_shape[2:]))  # phases beyond the output's last row or column have no pixels
    windows = tuple(-(-size // step) for size, step in zip(y_shape[2:], stride))
    e_i, a_i = np.divmod(dilation[0] * np.arange(R) - padding[0], stride[0])
    e_j, a_j = np.divmod(dilation[1] * np.arange(S) - padding[1], stride[1])
    met_i, met_j = a_i < steps[0], a_j < steps[1]
    last_i, last_j = e_i[met_i].max(initial=0).item(), e_j[met_j].max(initial=0).item()
    extra = last_i - e_i[met_i].min(initial=last_i).item(), last_j - e_j[met_j].min(initial=last_j).item()
    s = cut(x_shape, groups, (1, 1), (-last_i, -last_j), (1, 1), windows, extra)

    phase = np.where(met_i[:, None] & met_j, a_i[:, None] * steps[1] + a_j, steps[0] * steps[1]).ravel()
    order = np.argsort(phase, kind="stable")
    start = np.searchsorted(phase[order], np.arange(steps[0] * steps[1] + 1))
    places = ((last_i - e_i)[:, None] * s.pitch + last_j - e_j).ravel()[order]
    return s, taps_of(s, places, order, start)


@kernel
def strips_in(s):
    return (s.N + s.images - 1) // s.images * ((s.I + s.rows - 1) // s.rows)


@kernel
def pack_strip(x, s, n, images, i, rows, group, strip):
    """strip[c, a, b, r, j] = x[n, c, step_i (i + r) + a + first_i, step_j j + b + first_j]; images follow one another in r."""
    x, strip = pointer(x), pointer(strip)
    height = (images - 1) * s.period + rows + s.extra_i
    plane = 0
    for c in range(s.C):
        for a in range(s.planes_i):
            for b in range(s.planes_j):
                for r in range(height):
                    image = min(r // s.period, images - 1) if images > 1 else 0
                    u = s.step_i * (i + r - image * s.period) + a + s.first_i
                    if 0 <= u < s.H:
                        row = ((((n + image) * s.groups + group) * s.C + c) * s.H + u) * s.W
                        gather_row(x, row, s.W, b + s.first_j, s.step_j, strip, plane + r * s.pitch, s.pitch)
                    else:
                        fill_row(strip, plane + r * s.pitch, s.pitch, 0)
                # a kernel position lies up to extra_j to the right, and the last vector reads on: 0 times what it finds must be 0
                fill_row(strip, plane + height * s.pitch, s.extra_j + LANES, 0)
                plane += s.plane


@kernel
def finish_row(source, at, bias, least, y, to, step, count):
    """y[to + step j] = source[at + j] + bias, but at least ``least``, for j < count."""
    if step == 1 and count >= LANES:
        biases, leasts = splat(source, bias), splat(source, least)
        for j in range(0, count, LANES):
            v = min(j, count - LANES)  # the last vector may overlap the one before it
            store(y, to + v, at_least(load(source, at + v) + biases, leasts))
    else:
        for j in range(count):
            v = peek(source, at + j) + bias
            poke(y, to + step * j, least if least > v else v)  # NaN stays


@kernel
def put_block(out, reach, s, target, f, n, images, i, rows, o, count, bias, least, y):
    """Channels o ... o + count - 1 of a strip's output, plus bias, into their pixels of phase f."""
    out, y, bias = pointer(out), pointer(y), pointer(bias)
    a, b = f // min(target.step_j, target.W), f % min(target.step_j, target.W)
    rows = min(rows, (target.H - a + target.step_i - 1) // target.step_i - i)
    columns = (target.W - b + target.step_j - 1) // target.step_j
    for m in range(count):
        for image in range(images):
            plane = ((n + image) * target.channels + o + m) * target.H * target.W
            for r in range(rows):
                to = plane + (target.step_i * (i + r) + a) * target.W + b
                at = m * reach + (image * s.lines + r) * s.line
                finish_row(out, at, peek(bias, o + m), least, y, to, target.step_j, columns)


@kernel
def tile(rows, origin, offset, k0, k1, vectors, v, panels, p, sums, width):
    """sums[m, u] + sum_k w[m, k] rows[origin + offset[k] + vectors[v + u]], for as many u as ``width`` has, w as packed."""
    for k in range(k0, k1):
        sums = multiply_add(sums, panels, p, 1, load_at(rows, origin + peek(offset, k), vectors, v, width))
        p += CHANNELS
    return sums


@kernel
def multiply(rows, origin, offset, k0, k1, vectors, count, panels, p, out, step):
    """The product for CHANNELS channels: vector v of channel m, of ``count`` vectors each, to out[m step + v LANES]."""
    rows, offset, vectors, panels, out = pointer(rows), pointer(offset), pointer(vectors), pointer(panels), pointer(out)
    whole = count // VECTORS * VECTORS
    for v in range(0, whole, VECTORS):
        sums = splat_each(rows, 0, ROWS_OF_THREE)
        sums = tile(rows, origin, offset, k0, k1, vectors, v, panels, p, sums, THREE)
        store_grid(out, v * LANES, step, sums, THREE)
    if count - whole == 2:
        sums = tile(rows, origin, offset, k0, k1, vectors, whole, panels, p, splat_each(rows, 0, ROWS_OF_TWO), TWO)
        store_grid(out, whole * LANES, step, sums, TWO)
    elif count > whole:
        sums = tile(rows, origin, offset, k0, k1, vectors, whole, panels, p, splat_each(rows, 0, ROWS_OF_ONE), ONE)
        store_grid(out, whole * LANES, step, sums, ONE)


@kernel
def vectors_of(s, images, rows):
    """How many vectors so many rows of outputs are, of each of so many images."""
    return (((images - 1) * s.lines + rows) * s.line - (s.line - s.J) + LANES - 1) // LANES


@kernel
def correlate_strip(job, x, s, taps, panels, bias, least, y, target, splits):
    """One strip of one group, and one share of its output channels."""
    O, start = target.channels // s.groups, taps.start
    blocks = (O + CHANNELS - 1) // CHANNELS
    down = (s.I + s.rows - 1) // s.rows
    split, group, part = job % splits, job // splits % s.groups, job // splits // s.groups
    n, i = part // down * s.images, part % down * s.rows
    images, rows = min(s.images, s.N - n), min(s.rows, s.I - i)
    count = vectors_of(s, images, rows)
    reach = count * LANES
    strip, origin = x, (n * s.groups + group) * s.C * s.plane + i * s.pitch
    if not s.in_place:
        strip, origin = np.empty(s.C * s.planes_i * s.planes_j * s.plane + s.extra_j + LANES, x.dtype), 0
        pack_strip(x, s, n, images, i, rows, group, strip)
    out = np.empty(CHANNELS * reach, x.dtype)
    for f in range(len(start) - 1):
        k0, k1 = s.C * start[f], s.C * start[f + 1]
        for block in range(blocks * split // splits, blocks * (split + 1) // splits):
            p = CHANNELS * (k0 * blocks * s.groups + (group * blocks + block) * (k1 - k0))
            multiply(strip, origin, taps.offset, k0, k1, taps.vectors, count, panels, p, out, reach)
            o, channels = group * O + CHANNELS * block, min(CHANNELS, O - CHANNELS * block)
            put_block(out, reach, s, target, f, n, images, i, rows, o, channels, bias, least, y)


@parallel_kernel
def correlate(x, s, taps, panels, bias, least, y, target, splits):
    """y[n, o, step_i i + a, step_j j + b] = bias[o] + sum_k w[f, o, k] strip[offset[f, k] + (i, j)], for each phase f = (a, b).

    But at least ``least``.
    """
    for job in prange(strips_in(s) * s.groups * splits):
        correlate_strip(np.int64(job), x, s, taps, panels, bias, least, y, target, splits)


def splits_for(s: Strips, O: int) -> int:
    """Into how many jobs the output channels of a strip are shared out, 16 at least to each, so that there are jobs enough."""
    return min(-(-O // 16), -(-JOBS // (strips_in(s) * s.groups)))


def run(x, w, b, y, s: Strips, taps: Taps, outs: int, out_step: int, in_step: int, step: Pair, least: float = -np.inf):
    """Pack the weights and correlate. w[group, out, in, tap] is found by the steps."""
    order, start, blocks = taps.order, taps.start, -(-outs // CHANNELS)
    panels = np.empty(len(order) * s.C * s.groups * blocks * CHANNELS, x.dtype)
    pack_panels(w.ravel(), order, start, s.groups, outs, s.C, w.size // s.groups, out_step, in_step, panels)
    bias = np.zeros(outs * s.groups, x.dtype) if b is None else b
    target, least = Target(*y.shape[1:], *step), x.dtype.type(least)
    correlate(x.ravel(), s, taps, panels, bias, least, y.reshape(-1), target, splits_for(s, outs))
    return y


def conv2d(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int, least: float = -np.inf):
    """eq: conv.corr2d"""
    y = memory.empty(shapes.conv2d(x, w, b, stride, padding, dilation, groups), x.dtype)
    O, C, R, S = w.shape
    s, taps = strips_of(x.shape, w.shape, stride, padding, dilation, groups)
    return run(x, w, b, y, s, taps, O // groups, C * R * S, R * S, (1, 1), least)


def conv2d_relu(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d_relu"""
    return conv2d(x, w, b, stride, padding, dilation, groups, least=0)


def transposed(x, w, b, y_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """The gradient for the input of a convolution, and the transposed convolution."""
    y = memory.empty(tuple(y_shape), x.dtype)
    O, R, S = w.shape[1:]
    s, taps = phases_of(x.shape, w.shape, tuple(y_shape), stride, padding, dilation, groups)
    return run(x, w, b, y, s, taps, O, R * S, O * R * S, stride)


def conv2d_grad_x(gy, w, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_x"""
    return transposed(gy, w, None, x_shape, stride, padding, dilation, groups)


def conv_transpose2d(x, w, b, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair, groups: int):
    """eq: conv.transpose2d"""
    y_shape = shapes.conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups)
    return transposed(x, w, b, y_shape, stride, padding, dilation, groups)


# ------------------------------------------------------------------------------------------ the gradient for the kernels


@kernel
def pack_gradient(gy, s, n, images, i, rows, O, first, channels, length, strip):
    """strip[o, (i, j)] = gy for o of ``first`` and those after it, ``length`` numbers each: zeros where no window begins."""
    gy, strip = pointer(gy), pointer(strip)
    for o in range(channels):
        to = o * length
        fill_row(strip, to, length, 0)
        for image in range(images):
            for r in range(rows):
                row = (((n + image) * O + first + o) * s.I + i + r) * s.J
                gather_row(gy, row, s.J, 0, 1, strip, to + (image * s.lines + r) * s.line, s.J)


@kernel
def dots(gy, at, step, rows, origin, offset, vectors, count, gw, to):
    """gw[to + SUMS (k / TAPS) + (m, k % TAPS)] += sum_q gy[at + m step + q] rows[origin + offset[k] + q] for OUTS m and all k.

    TAPS of the k at a time: again sums in registers, here of vectors whose lanes are added at the end.
    """
    gw, vectors, taps = pointer(gw), pointer(vectors), pointer(offset)
    for k in range(0, len(offset), TAPS):
        sums = splat_each(rows, 0, EACH_SUM)
        for v in range(count):
            pixels = load_at(rows, origin + peek(vectors, v), taps, k, EACH_TAP)
            sums = add_outer(sums, load_each(gy, at + v * LANES, step, EACH_OUT), pixels)
        add_lane_sums(gw, to, sums)
        to += SUMS


@kernel
def sum_strips(job, gy, x, s, taps, O, splits, gw):
    """One part's strips of one group, and one share of the output channels. Rows of whole vectors of gy are read where they lie."""
    blocks, pieces = (O + OUTS - 1) // OUTS, len(taps.offset) // TAPS
    down, parts = (s.I + s.rows - 1) // s.rows, len(gw)
    split, group, part = job % splits, job // splits % s.groups, job // splits // s.groups
    first, last = blocks * split // splits, blocks * (split + 1) // splits
    channels = min(OUTS * last, O) - OUTS * first
    scratch = np.empty(s.C * s.planes_i * s.planes_j * s.plane + s.extra_j + LANES, x.dtype)
    gradient = np.zeros(OUTS * (last - first) * LANES * vectors_of(s, s.images, s.rows), x.dtype)
    sums = gw[part, group]
    sums[SUMS * pieces * first : SUMS * pieces * last] = 0
    for index in range(part, strips_in(s), parts):
        n, i = index // down * s.images, index % down * s.rows
        images, rows = min(s.images, s.N - n), min(s.rows, s.I - i)
        count = vectors_of(s, images, rows)
        strip, origin = x, (n * s.groups + group) * s.C * s.plane + i * s.pitch
        if not s.in_place:
            strip, origin = scratch, 0
            pack_strip(x, s, n, images, i, rows, group, strip)
        outs, at, step = gy, (((n * s.groups + group) * O + OUTS * first) * s.I + i) * s.J, s.I * s.J
        if images > 1 or s.line != s.J or s.J % LANES or channels % OUTS:
            outs, at, step = gradient, 0, count * LANES
            pack_gradient(gy, s, n, images, i, rows, s.groups * O, group * O + OUTS * first, channels, step, gradient)
        for block in range(last - first):
            to = SUMS * pieces * (first + block)
            dots(outs, at + OUTS * block * step, step, strip, origin, taps.offset, taps.vectors, count, sums, to)


@parallel_kernel
def correlate_gradient(gy, x, s, taps, O, splits, gw):
    """gw[part, group]: each part sums gy cols' over its own strips."""
    for job in prange(len(gw) * s.groups * splits):
        sum_strips(np.int64(job), gy, x, s, taps, O, splits, gw)


def conv2d_grad_w(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_w. The parts are added in order: the same bits on any number of threads."""
    O = w_shape[0] // groups
    s, taps = strips_of(x.shape, tuple(w_shape), stride, padding, dilation, groups)
    blocks, pieces = -(-O // OUTS), len(taps.offset) // TAPS
    parts = min(strips_in(s), PARTS)
    sums = np.empty((parts, groups, blocks * pieces * SUMS), x.dtype)
    correlate_gradient(gy.ravel(), x.ravel(), s, taps, O, splits_for(s, O), sums)
    return unpack_gradient(sums, O, w_shape)
