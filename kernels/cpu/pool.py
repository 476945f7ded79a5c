"""Pooling in Numba. Each iteration of ``prange`` makes one row of the output from the rows of x that its windows cover, so that the
inner loop runs along memory; 2x2 windows side by side, which halve most networks, have a loop without inner branches to themselves.
"""

import numpy as np
from numba import prange

from minseg.errors import Unsupported
from minseg.kernels import memory, shapes
from minseg.kernels.cpu.jit import SUMMING, kernel, parallel_kernel
from minseg.kernels.spec import Pair, Shape

HALVING = ((2, 2), (2, 2), (0, 0))


def _planes(x):
    """(N C, H, W)"""
    return x.reshape(-1, *x.shape[2:])


@kernel
def _inside(offset, step, size, count):
    """The range of j in 0 ... count - 1 with 0 <= step j + offset < size."""
    low = max(0, -(offset // step))
    high = min(count, (size - 1 - offset) // step + 1)
    return low, max(low, high)


# ------------------------------------------------------------------------------------------------------------- maximum


@kernel
def _better(best, at, value, place):
    """The better of two candidates, and its place. The later one must be larger, so the first of equal values stays; or it is the
    first NaN, which counts as the maximum."""
    replaces = (value > best) | ((value != value) & (best == best))
    return value if replaces else best, place if replaces else at


@kernel
def _deal(row, padding, step, phases):
    """phases[r, k] = row[step k + r - padding], as far as the row goes: what windows ``step`` apart compare lies side by side."""
    for r in range(step):
        first = max(0, -((r - padding) // step))  # the k of the first pixel in this phase
        pixels, goal = row[step * first + r - padding :], phases[r, first:]
        count = (pixels.size + step - 1) // step
        if step == 1:  # a step that the compiler knows is vector code
            for k in range(count):
                goal[k] = pixels[k]
        elif step == 2:
            for k in range(count):
                goal[k] = pixels[2 * k]
        else:
            for k in range(count):
                goal[k] = pixels[step * k]


@kernel
def _scan(phases, window, place, ys, found):
    """ys[j] = the best of itself and the ``window`` pixels of window j in this row, found[j] its place; ``place`` is the row's.

    Three candidates at a time: they meet in registers before the two results are written again.
    """
    step, whole = len(phases), window - window % 3
    for q in range(0, whole, 3):
        first = phases[q % step, q // step :]
        second = phases[(q + 1) % step, (q + 1) // step :]
        third = phases[(q + 2) % step, (q + 2) // step :]
        for j in range(ys.size):
            at = place + q + step * j
            best, where = _better(ys[j], found[j], first[j], np.int32(at))
            best, where = _better(best, where, second[j], np.int32(at + 1))
            ys[j], found[j] = _better(best, where, third[j], np.int32(at + 2))
    for q in range(whole, window):
        first = phases[q % step, q // step :]
        for j in range(ys.size):
            ys[j], found[j] = _better(ys[j], found[j], first[j], np.int32(place + q + step * j))


@parallel_kernel
def _max_any_window(x, window, stride, padding, y, indices):
    planes, H, W = x.shape
    (R, S), (sh, sw), (ph, pw) = window, stride, padding
    _, I, J = y.shape
    for t in prange(planes * I):
        plane, i = t // I, t % I
        pixels, ys, found = x[plane], y[plane, i], indices[plane, i]
        top, bottom = max(0, sh * i - ph), min(H, sh * i - ph + R)
        for j in range(J):  # the first pixel of each window: padding is not above it, whatever it is
            left = max(0, sw * j - pw)
            ys[j], found[j] = pixels[top, left], np.int32(top * W + left)
        phases = np.full((sw, (W + 2 * pw) // sw + 1), -np.inf, x.dtype)
        for u in range(top, bottom):
            _deal(pixels[u], pw, sw, phases)
            _scan(phases, S, u * W - pw, ys, found)


def _max_pool_any(x, kernel_size: Pair, stride: Pair, padding: Pair):
    """Any window: all windows of a row look at their first pixel together, then at their second, and so on."""
    y_shape, _ = shapes.max_pool2d(x, kernel_size, stride, padding)
    y, indices = memory.empty(y_shape, x.dtype), memory.empty(y_shape, np.int32)
    _max_any_window(_planes(x), kernel_size, stride, padding, _planes(y), _planes(indices))
    return y, indices


@parallel_kernel
def _max_halving(x, y, indices):
    planes, _, W = x.shape
    _, I, J = y.shape
    for t in prange(planes * I):
        plane, i = t // I, t % I
        upper, lower = x[plane, 2 * i], x[plane, 2 * i + 1]
        ys, found = y[plane, i], indices[plane, i]
        zero, one, below = np.int32(0), np.int32(1), np.int32(W)
        corner = np.int32(2 * i) * below
        for j in range(J):
            best, at = _better(upper[2 * j], zero, upper[2 * j + 1], one)
            best, at = _better(best, at, lower[2 * j], below)
            best, at = _better(best, at, lower[2 * j + 1], below + one)
            ys[j], found[j] = best, corner + np.int32(2 * j) + at


def _max_pool_halving(x, kernel_size: Pair, stride: Pair, padding: Pair):
    """2x2 windows side by side: the four candidates are compared in registers, for many windows at once; y is written once."""
    if (kernel_size, stride, padding) != HALVING:
        raise Unsupported(
            f"max_pool2d: the variant 'halving' is for 2x2 windows with stride 2 and no padding, got window {kernel_size}, "
            f"stride {stride}, padding {padding} [pool.max2d]"
        )
    y_shape, _ = shapes.max_pool2d(x, kernel_size, stride, padding)
    y, indices = memory.empty(y_shape, x.dtype), memory.empty(y_shape, np.int32)
    _max_halving(_planes(x), _planes(y), _planes(indices))
    return y, indices


VARIANTS = {"max_pool2d": {"any": _max_pool_any, "halving": _max_pool_halving}}


def max_pool2d(x, kernel_size: Pair, stride: Pair, padding: Pair):
    """eq: pool.max2d"""
    variant = "halving" if (kernel_size, stride, padding) == HALVING else "any"
    return VARIANTS["max_pool2d"][variant](x, kernel_size, stride, padding)


@parallel_kernel
def _scatter(values, indices, out):
    for plane in prange(out.shape[0]):
        pixels, vs, at = out[plane], values[plane], indices[plane]
        pixels[:] = 0
        for k in range(vs.size):
            pixels[at[k]] += vs[k]


def _scattered(values, indices, shape: Shape):
    """Zeros of this shape, with each value added at its flat index in its plane. Indices may meet, so a plane has one thread."""
    out = memory.empty(tuple(shape), values.dtype)
    planes = shape[0] * shape[1]
    _scatter(values.reshape(planes, -1), indices.reshape(planes, -1), out.reshape(planes, -1))
    return out


def max_pool2d_grad_x(gy, indices, x_shape: Shape):
    """eq: pool.max2d_grad"""
    return _scattered(gy, indices, x_shape)


def max_unpool2d(x, indices, output_size: Pair):
    """eq: pool.unpool"""
    return _scattered(x, indices, (*x.shape[:2], *output_size))


@parallel_kernel
def _gather(values, indices, out):
    for plane in prange(out.shape[0]):
        pixels, vs, at = out[plane], values[plane], indices[plane]
        for k in range(at.size):
            pixels[k] = vs[at[k]]


def max_unpool2d_grad_x(gy, indices):
    """eq: pool.unpool_grad"""
    out = memory.empty(indices.shape, gy.dtype)
    planes = gy.shape[0] * gy.shape[1]
    _gather(gy.reshape(planes, -1), indices.reshape(planes, -1), out.reshape(planes, -1))
    return out


# ---------------------------------------------------------------------------------------------------------------- mean


def _shares(size: int, out: int, window: int, stride: int, padding: int, count_include_pad: bool, dtype):
    """1 / (places of window i that count), along one side: a window's divisor is the product of its rows and its columns."""
    first = stride * np.arange(out) - padding
    inside = np.minimum(first + window, size) - np.maximum(first, 0)
    return (1 / (np.full(out, window) if count_include_pad else inside)).astype(dtype)


def _all_shares(x_shape: Shape, y_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, count: bool, dtype):
    sides = zip(x_shape[2:], y_shape[2:], kernel_size, stride, padding)
    return tuple(_shares(*side, count, dtype) for side in sides)


@kernel
def _add_every(pixels, step, ys):
    """ys[j] += pixels[step j]; the usual steps are vector code."""
    if step == 1:
        for j in range(ys.size):
            ys[j] += pixels[j]
    elif step == 2:
        for j in range(ys.size):
            ys[j] += pixels[2 * j]
    else:
        for j in range(ys.size):
            ys[j] += pixels[step * j]


@parallel_kernel
def _means(x, window, stride, padding, row_shares, column_shares, y):
    planes, H, W = x.shape
    (R, S), (sh, sw), (ph, pw) = window, stride, padding
    _, I, J = y.shape
    for t in prange(planes * I):
        plane, i = t // I, t % I
        ys = y[plane, i]
        ys[:] = 0
        for u in range(max(0, sh * i - ph), min(H, sh * i - ph + R)):
            for q in range(S):
                low, high = _inside(q - pw, sw, W, J)
                _add_every(x[plane, u, sw * low + q - pw :], sw, ys[low:high])
        for j in range(J):
            ys[j] *= row_shares[i] * column_shares[j]


def avg_pool2d(x, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool):
    """eq: pool.avg2d"""
    y = memory.empty(shapes.avg_pool2d(x, kernel_size, stride, padding, count_include_pad), x.dtype)
    shares = _all_shares(x.shape, y.shape, kernel_size, stride, padding, count_include_pad, x.dtype)
    _means(_planes(x), kernel_size, stride, padding, *shares, _planes(y))
    return y


@kernel
def _add_to_every(values, step, pixels):
    """pixels[step j] += values[j], likewise."""
    if step == 1:
        for j in range(values.size):
            pixels[j] += values[j]
    elif step == 2:
        for j in range(values.size):
            pixels[2 * j] += values[j]
    else:
        for j in range(values.size):
            pixels[step * j] += values[j]


@parallel_kernel
def _means_grad(gy, window, stride, padding, row_shares, column_shares, gx):
    planes, H, W = gx.shape
    (R, S), (sh, sw), (ph, pw) = window, stride, padding
    _, I, J = gy.shape
    for t in prange(planes * H):
        plane, u = t // H, t % H
        gxs, shares = gx[plane, u], np.zeros(J, gx.dtype)
        for i in range(max(0, (u + ph - R) // sh + 1), min(I, (u + ph) // sh + 1)):  # the windows that cover row u
            gys = gy[plane, i]
            for j in range(J):
                shares[j] += gys[j] * (row_shares[i] * column_shares[j])
        gxs[:] = 0
        for q in range(S):
            low, high = _inside(q - pw, sw, W, J)
            _add_to_every(shares[low:high], sw, gxs[sw * low + q - pw :])


def avg_pool2d_grad_x(gy, x_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool):
    """eq: pool.avg2d_grad"""
    gx = memory.empty(tuple(x_shape), gy.dtype)
    shares = _all_shares(x_shape, gy.shape, kernel_size, stride, padding, count_include_pad, gy.dtype)
    _means_grad(_planes(gy), kernel_size, stride, padding, *shares, _planes(gx))
    return gx


# ----------------------------------------------------------------------------------------- mean of a given number of windows


@kernel
def _window(i, size, windows):
    """Where window i begins and ends: floor(i H/H') and ceil((i+1) H/H').

    With H and H' exchanged: the first and the last of the windows that pixel i is in.
    """
    return i * size // windows, ((i + 1) * size + windows - 1) // windows


@kernel(fastmath=SUMMING)
def _sum(row):
    total = 0.0
    for v in range(row.size):
        total += row[v]
    return total


@parallel_kernel
def _adaptive_means(x, y):
    planes, H, W = x.shape
    _, I, J = y.shape
    for t in prange(planes * I):
        plane, i = t // I, t % I
        top, bottom = _window(i, H, I)
        for j in range(J):
            left, right = _window(j, W, J)
            total = 0.0
            for u in range(top, bottom):
                total += _sum(x[plane, u, left:right])
            y[plane, i, j] = total / ((bottom - top) * (right - left))


def adaptive_avg_pool2d(x, output_size: Pair):
    """eq: pool.adaptive_avg"""
    y = memory.empty((*x.shape[:2], *output_size), x.dtype)
    _adaptive_means(_planes(x), _planes(y))
    return y


@parallel_kernel
def _adaptive_means_grad(gy, gx):
    planes, H, W = gx.shape
    _, I, J = gy.shape
    dtype = gx.dtype.type
    for t in prange(planes * H):
        plane, u = t // H, t % H
        gxs = gx[plane, u]
        gxs[:] = 0
        first, last = _window(u, I, H)
        for i in range(first, last):
            top, bottom = _window(i, H, I)
            for j in range(J):
                left, right = _window(j, W, J)
                share = gy[plane, i, j] / dtype((bottom - top) * (right - left))
                for v in range(left, right):
                    gxs[v] += share


def adaptive_avg_pool2d_grad_x(gy, x_shape: Shape):
    """eq: pool.adaptive_avg_grad"""
    gx = memory.empty(tuple(x_shape), gy.dtype)
    _adaptive_means_grad(_planes(gy), _planes(gx))
    return gx
