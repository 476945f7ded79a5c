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
Price: a row of the strip is d (S-1) pixels wider than the output, and what the product finds there is thrown away; in the gradient
for the kernels it meets zeros, so an infinity in x can make NaN of other kernel positions of its channel.
"""

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import prange

from minseg.kernels import memory, shapes
from minseg.kernels.cpu.conv_parts import (
    CHANNELS,
    OUTS,
    SUMS,
    TAPS,
    TILE,
    dots,
    fill_row,
    gather_row,
    pack_panels,
    product,
    unpack_gradient,
)
from minseg.kernels.cpu.jit import kernel, parallel_kernel
from minseg.kernels.cpu.simd import LANES, at_least, load, peek, pointer, poke, splat, store
from minseg.kernels.spec import Pair, Shape

STRIP_PIXELS = 1536  # outputs in a strip, if its rows fit ...
STRIP_FLOATS = 64 * 1024  # ... into so many numbers: 256 KB of the L2 cache
PARTS = 8  # partial sums of the gradient for the kernels
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
    plane = H * W if in_place else ((images - 1) * period + rows + extra[0]) * pitch
    return Strips(
        N, groups, C, H, W, *step, *first, *planes, *windows, *extra, pitch, period, images, rows, plane, in_place
    )


def even(total: int, most: int) -> int:
    """The size of equal pieces, none above ``most``."""
    return -(-total // -(-total // most))


@cache
def strips_of(x_shape, w_shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """The strips of a convolution's input, and for each kernel position the place of its pixels within a channel."""
    (sh, sw), (dh, dw), (R, S) = stride, dilation, w_shape[2:]
    down, right = dh * np.arange(R), dw * np.arange(S)
    planes = min(sh, down[-1].item() + 1), min(sw, right[-1].item() + 1)
    extra = down[-1].item() // sh, right[-1].item() // sw
    windows = tuple(map(shapes.conv_size, x_shape[2:], w_shape[2:], stride, padding, dilation))
    s = cut(x_shape, groups, stride, (-padding[0], -padding[1]), planes, windows, extra)
    places = (down % sh * planes[1] * s.plane + down // sh * s.pitch)[:, None] + right % sw * s.plane + right // sw
    return s, places.ravel()


def offsets(places, start, C: int, plane: int):
    """offset[k] for k = (phase, channel, tap): the place of its pixels in a strip whose channels are ``plane`` apart."""
    channels = np.arange(C)[:, None] * plane
    return np.concatenate([(channels + places[i:j]).ravel() for i, j in pairwise(start)])


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
                at = m * reach + (image * s.period + r) * s.pitch
                finish_row(out, at, peek(bias, o + m), least, y, to, target.step_j, columns)


@kernel
def correlate_strip(job, x, s, offset, start, panels, bias, least, y, target, splits):
    """One strip of one group, and one share of its output channels."""
    O = target.channels // s.groups
    blocks = (O + CHANNELS - 1) // CHANNELS
    down = (s.I + s.rows - 1) // s.rows
    split, group, part = job % splits, job // splits % s.groups, job // splits // s.groups
    n, i = part // down * s.images, part % down * s.rows
    images, rows = min(s.images, s.N - n), min(s.rows, s.I - i)
    length = ((images - 1) * s.period + rows) * s.pitch - s.extra_j
    reach = (length + TILE - 1) // TILE * TILE
    strip, origin = x, (n * s.groups + group) * s.C * s.plane + i * s.pitch
    if (
        not s.in_place or origin + (s.C - 1) * s.plane + reach > x.size
    ):  # the last tile may read beyond its plane, not beyond x
        strip, origin = np.empty(s.C * s.planes_i * s.planes_j * s.plane + s.extra_j + TILE, x.dtype), 0
        pack_strip(x, s, n, images, i, rows, group, strip)
    out = np.empty(CHANNELS * reach, x.dtype)
    for f in range(len(start) - 1):
        k0, k1 = s.C * start[f], s.C * start[f + 1]
        for block in range(blocks * split // splits, blocks * (split + 1) // splits):
            p = CHANNELS * (k0 * blocks * s.groups + (group * blocks + block) * (k1 - k0))
            product(strip, origin, offset, k0, k1, length, panels, p, out, 0, reach)
            o, count = group * O + CHANNELS * block, min(CHANNELS, O - CHANNELS * block)
            put_block(out, reach, s, target, f, n, images, i, rows, o, count, bias, least, y)


@parallel_kernel
def correlate(x, s, offset, start, panels, bias, least, y, target, splits):
    """y[n, o, step_i i + a, step_j j + b] = bias[o] + sum_k w[f, o, k] strip[offset[f, k] + (i, j)], for each phase f = (a, b).

    But at least ``least``.
    """
    for job in prange(strips_in(s) * s.groups * splits):
        correlate_strip(np.int64(job), x, s, offset, start, panels, bias, least, y, target, splits)


def splits_for(s: Strips, O: int) -> int:
    """Into how many jobs the output channels of a strip are shared out, 16 at least to each, so that there are jobs enough."""
    return min(-(-O // 16), -(-JOBS // (strips_in(s) * s.groups)))


def run(
    x,
    w,
    b,
    y,
    s: Strips,
    places,
    order,
    start,
    outs: int,
    out_step: int,
    in_step: int,
    step: Pair,
    least: float = -np.inf,
):
    """Pack the weights and correlate. w[group, out, in, tap] is found by the steps."""
    blocks = -(-outs // CHANNELS)
    panels = np.empty(len(order) * s.C * s.groups * blocks * CHANNELS, x.dtype)
    pack_panels(w.ravel(), order, start, s.groups, outs, s.C, w.size // s.groups, out_step, in_step, panels)
    bias = np.zeros(outs * s.groups, x.dtype) if b is None else b
    offset = offsets(places, start, s.C, s.planes_i * s.planes_j * s.plane)
    target = Target(*y.shape[1:], *step)
    least = x.dtype.type(least)
    correlate(x.ravel(), s, offset, start, panels, bias, least, y.reshape(-1), target, splits_for(s, outs))
    return y


def conv2d(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int, least: float = -np.inf):
    """eq: conv.corr2d"""
    y = memory.empty(shapes.conv2d(x, w, b, stride, padding, dilation, groups), x.dtype)
    O, C, R, S = w.shape
    s, places = strips_of(x.shape, w.shape, stride, padding, dilation, groups)
    order, start = np.arange(R * S), np.array([0, R * S])
    return run(x, w, b, y, s, places, order, start, O // groups, C * R * S, R * S, (1, 1), least)


def conv2d_relu(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d_relu"""
    return conv2d(x, w, b, stride, padding, dilation, groups, least=0)


def transposed(x, w, b, y_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """y[s i + a] = b + sum over the kernel positions p with d p - P = s e + a, for some e, of w[p] x[i - e]; likewise columns."""
    y = memory.empty(tuple(y_shape), x.dtype)
    O, R, S = w.shape[1:]
    steps = tuple(map(min, stride, y_shape[2:]))  # phases beyond the output's last row or column have no pixels
    windows = tuple(-(-size // step) for size, step in zip(y_shape[2:], stride))
    e_i, a_i = np.divmod(dilation[0] * np.arange(R) - padding[0], stride[0])
    e_j, a_j = np.divmod(dilation[1] * np.arange(S) - padding[1], stride[1])
    met_i, met_j = a_i < steps[0], a_j < steps[1]
    last_i, last_j = e_i[met_i].max(initial=0).item(), e_j[met_j].max(initial=0).item()
    extra = last_i - e_i[met_i].min(initial=last_i).item(), last_j - e_j[met_j].min(initial=last_j).item()
    s = cut(x.shape, groups, (1, 1), (-last_i, -last_j), (1, 1), windows, extra)

    phase = np.where(met_i[:, None] & met_j, a_i[:, None] * steps[1] + a_j, steps[0] * steps[1]).ravel()
    order = np.argsort(phase, kind="stable")
    start = np.searchsorted(phase[order], np.arange(steps[0] * steps[1] + 1))
    places = ((last_i - e_i)[:, None] * s.pitch + last_j - e_j).ravel()[order]
    return run(x, w, b, y, s, places, order, start, O, R * S, O * R * S, stride)


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
                gather_row(gy, row, s.J, 0, 1, strip, to + (image * s.period + r) * s.pitch, s.J)


@kernel
def sum_strips(job, gy, x, s, offset, O, splits, gw):
    """One part's strips of one group, and one share of the output channels."""
    blocks, pieces = (O + OUTS - 1) // OUTS, len(offset) // TAPS
    down, parts = (s.I + s.rows - 1) // s.rows, len(gw)
    split, group, part = job % splits, job // splits % s.groups, job // splits // s.groups
    first, last = blocks * split // splits, blocks * (split + 1) // splits
    most = ((s.images - 1) * s.period + s.rows) * s.pitch + LANES
    scratch = np.empty(s.C * s.planes_i * s.planes_j * s.plane + s.extra_j + LANES, x.dtype)
    gradient = np.zeros(OUTS * (last - first) * most, x.dtype)
    sums = gw[part, group]
    sums[SUMS * pieces * first : SUMS * pieces * last] = 0
    for index in range(part, strips_in(s), parts):
        n, i = index // down * s.images, index % down * s.rows
        images, rows = min(s.images, s.N - n), min(s.rows, s.I - i)
        length = (((images - 1) * s.period + rows) * s.pitch + LANES - 1) // LANES * LANES
        strip, origin = x, (n * s.groups + group) * s.C * s.plane + i * s.pitch
        if not s.in_place:
            strip, origin = scratch, 0
            pack_strip(x, s, n, images, i, rows, group, strip)
        channels = min(OUTS * last, O) - OUTS * first
        pack_gradient(gy, s, n, images, i, rows, s.groups * O, group * O + OUTS * first, channels, length, gradient)
        for block in range(first, last):
            at, to = OUTS * (block - first) * length, SUMS * pieces * block
            dots(gradient, at, length, strip, origin, offset, length, sums, to)


@parallel_kernel
def correlate_gradient(gy, x, s, offset, O, splits, gw):
    """gw[part, group]: each part sums gy cols' over its own strips."""
    for job in prange(len(gw) * s.groups * splits):
        sum_strips(np.int64(job), gy, x, s, offset, O, splits, gw)


def conv2d_grad_w(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_w. The parts are added in order: the same bits on any number of threads."""
    O, C, R, S = w_shape
    O, K = O // groups, C * R * S
    s, places = strips_of(x.shape, tuple(w_shape), stride, padding, dilation, groups)
    offset = offsets(places, (0, R * S), C, s.planes_i * s.planes_j * s.plane)
    offset = np.append(offset, offset[-1:].repeat(-K % TAPS))
    blocks, pieces = -(-O // OUTS), len(offset) // TAPS
    parts = min(strips_in(s), PARTS)
    sums = np.empty((parts, groups, blocks * pieces * SUMS), x.dtype)
    correlate_gradient(gy.ravel(), x.ravel(), s, offset, O, splits_for(s, O), sums)
    return unpack_gradient(sums, O, w_shape)
