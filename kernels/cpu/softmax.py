"""Softmax and its logarithm in Numba, along any axis of x, seen as (outer, K, inner): for images K classes of inner pixels.

Fast because one pass over memory does it all: a block of pixels is small enough that all its classes stay in the cache, and inside
it the loop over classes is the outer one, so that the inner loop runs along neighbouring pixels and becomes vector code. Along the
last axis (inner = 1, attention's) there are no neighbours: there each row is vector code by itself.
"""

import math

import numpy as np
from numba import prange

from minseg.kernels import memory
from minseg.kernels.cpu.elementary import exp, log
from minseg.kernels.cpu.jit import CHUNK, SUMMING, kernel, parallel_kernel
from minseg.kernels.cpu.simd import LANES, at_least, load, pointer, store

BLOCK = 512
"""Pixels of a block: with four classes, 8 KB each of input and output."""


def _around(x, axis: int):
    """(outer, K, inner): what comes before the axis, the axis, and what comes after it."""
    axis %= x.ndim
    return x.reshape(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))


@kernel
def maximum(x, o, start, m):
    """m[i] = the largest of x[o, :, start + i]. A NaN may be overlooked, or be the maximum: exp(x - m) makes NaN of its pixel.

    Vectors by name: of ``m[i] = x if x > m[i] else m[i]`` LLVM makes a masked store, which costs some processors ten times a store.
    """
    _, K, inner = x.shape
    first, whole = o * K * inner + start, m.size // LANES * LANES
    numbers, largest = pointer(x), pointer(m)
    for i in range(0, whole, LANES):
        found = load(numbers, first + i)
        for k in range(1, K):
            found = at_least(load(numbers, first + k * inner + i), found)
        store(largest, i, found)
    for i in range(whole, m.size):
        found = x[o, 0, start + i]
        for k in range(1, K):
            found = max(found, x[o, k, start + i])
        m[i] = found


@kernel
def sum_exp(x, o, start, m, s):
    """s[i] = the sum of exp(x[o, :, start + i] - m[i])."""
    stop = start + m.size
    for i in range(s.size):
        s[i] = 0
    for k in range(x.shape[1]):
        xs = x[o, k, start:stop]
        for i in range(m.size):
            s[i] += exp(xs[i] - m[i])


# ------------------------------------------------------------------------------------------------ along an axis of planes


@parallel_kernel
def _softmax(x, y):
    outer, K, inner = x.shape
    blocks = (inner + BLOCK - 1) // BLOCK
    for t in prange(outer * blocks):
        o, start = t // blocks, t % blocks * BLOCK
        stop = min(inner, start + BLOCK)
        m, s = np.empty(stop - start, x.dtype), np.zeros(stop - start, x.dtype)
        maximum(x, o, start, m)
        for k in range(K):
            xs, ys = x[o, k, start:stop], y[o, k, start:stop]
            for i in range(m.size):
                ys[i] = exp(xs[i] - m[i])
                s[i] += ys[i]
        for k in range(K):
            ys = y[o, k, start:stop]
            for i in range(m.size):
                ys[i] /= s[i]


@parallel_kernel
def _log_softmax(x, y):
    outer, K, inner = x.shape
    blocks = (inner + BLOCK - 1) // BLOCK
    for t in prange(outer * blocks):
        o, start = t // blocks, t % blocks * BLOCK
        stop = min(inner, start + BLOCK)
        m, s = np.empty(stop - start, x.dtype), np.empty(stop - start, x.dtype)
        maximum(x, o, start, m)
        sum_exp(x, o, start, m, s)
        for i in range(m.size):
            s[i] = log(s[i])
        for k in range(K):
            xs, ys = x[o, k, start:stop], y[o, k, start:stop]
            for i in range(m.size):
                ys[i] = xs[i] - m[i] - s[i]


@parallel_kernel
def _softmax_grad_x(gy, y, gx):
    outer, K, inner = y.shape
    blocks = (inner + BLOCK - 1) // BLOCK
    for t in prange(outer * blocks):
        o, start = t // blocks, t % blocks * BLOCK
        stop = min(inner, start + BLOCK)
        s = np.zeros(stop - start, y.dtype)
        for k in range(K):
            gys, ys = gy[o, k, start:stop], y[o, k, start:stop]
            for i in range(s.size):
                s[i] += gys[i] * ys[i]
        for k in range(K):
            gys, ys, gxs = gy[o, k, start:stop], y[o, k, start:stop], gx[o, k, start:stop]
            for i in range(s.size):
                gxs[i] = ys[i] * (gys[i] - s[i])


@parallel_kernel
def _log_softmax_grad_x(gy, y, gx):
    outer, K, inner = y.shape
    blocks = (inner + BLOCK - 1) // BLOCK
    for t in prange(outer * blocks):
        o, start = t // blocks, t % blocks * BLOCK
        stop = min(inner, start + BLOCK)
        s = np.zeros(stop - start, y.dtype)
        for k in range(K):
            gys = gy[o, k, start:stop]
            for i in range(s.size):
                s[i] += gys[i]
        for k in range(K):
            gys, ys, gxs = gy[o, k, start:stop], y[o, k, start:stop], gx[o, k, start:stop]
            for i in range(s.size):
                gxs[i] = gys[i] - exp(ys[i]) * s[i]


# -------------------------------------------------------------------------------------------------- along the last axis


@kernel
def _row_maximum(xs, lanes):
    """The largest of a row, found by LANES searches side by side; ``lanes`` has room for what they find. NaN as in ``maximum``."""
    m = xs[0]
    if xs.size < LANES:
        for i in range(xs.size):
            m = max(m, xs[i])
        return m
    last, numbers = xs.size - LANES, pointer(xs)
    found = load(numbers, last)
    for start in range(0, last, LANES):
        found = at_least(load(numbers, start), found)
    store(lanes, 0, found)
    for lane in range(LANES):
        m = max(m, lanes[lane])
    return m


@kernel(fastmath=SUMMING)
def _row_sum(xs):
    total = xs.dtype.type(0)
    for i in range(xs.size):
        total += xs[i]
    return total


@kernel(fastmath=SUMMING)
def _row_product(xs, ys):
    total = xs.dtype.type(0)
    for i in range(xs.size):
        total += xs[i] * ys[i]
    return total


@kernel
def _row_exp(xs, m, ys):
    """ys = exp(xs - m); returns the sum."""
    for i in range(xs.size):
        ys[i] = exp(xs[i] - m)
    return _row_sum(ys)


@parallel_kernel
def _softmax_rows(x, y):
    rows, K = x.shape
    group = max(1, CHUNK // K)
    for t in prange((rows + group - 1) // group):
        lanes = np.empty(LANES, x.dtype)
        for r in range(t * group, min(rows, (t + 1) * group)):
            xs, ys = x[r], y[r]
            share = x.dtype.type(1) / _row_exp(xs, _row_maximum(xs, lanes), ys)
            for k in range(K):
                ys[k] *= share


@parallel_kernel
def _log_softmax_rows(x, y):
    rows, K = x.shape
    group = max(1, CHUNK // K)
    for t in prange((rows + group - 1) // group):
        lanes = np.empty(LANES, x.dtype)
        for r in range(t * group, min(rows, (t + 1) * group)):
            xs, ys = x[r], y[r]
            m = _row_maximum(xs, lanes)
            log_sum = log(_row_exp(xs, m, ys))
            for k in range(K):
                ys[k] = xs[k] - m - log_sum


@parallel_kernel
def _softmax_grad_rows(gy, y, gx):
    rows, K = y.shape
    group = max(1, CHUNK // K)
    for t in prange((rows + group - 1) // group):
        for r in range(t * group, min(rows, (t + 1) * group)):
            gys, ys, gxs = gy[r], y[r], gx[r]
            s = _row_product(gys, ys)
            for k in range(K):
                gxs[k] = ys[k] * (gys[k] - s)


@parallel_kernel
def _log_softmax_grad_rows(gy, y, gx):
    rows, K = y.shape
    group = max(1, CHUNK // K)
    for t in prange((rows + group - 1) // group):
        for r in range(t * group, min(rows, (t + 1) * group)):
            gys, ys, gxs = gy[r], y[r], gx[r]
            s = _row_sum(gys)
            for k in range(K):
                gxs[k] = gys[k] - exp(ys[k]) * s


# ------------------------------------------------------------------------------------------------------- the primitives


def _along(axis: int, rows, planes, *arrays):
    """Run the loop for rows where the axis is the last one, else that for planes, on these arrays and on the output."""
    out = memory.empty(arrays[0].shape, arrays[0].dtype)
    around = [_around(array, axis) for array in (*arrays, out)]
    if around[0].shape[2] == 1:
        rows(*(array[:, :, 0] for array in around))
    else:
        planes(*around)
    return out


def softmax(x, axis: int):
    """eq: act.softmax"""
    return _along(axis, _softmax_rows, _softmax, x)


def softmax_grad_x(gy, y, axis: int):
    """eq: act.softmax_grad"""
    return _along(axis, _softmax_grad_rows, _softmax_grad_x, gy, y)


def log_softmax(x, axis: int):
    """eq: act.log_softmax"""
    return _along(axis, _log_softmax_rows, _log_softmax, x)


def log_softmax_grad_x(gy, y, axis: int):
    """eq: act.log_softmax_grad"""
    return _along(axis, _log_softmax_grad_rows, _log_softmax_grad_x, gy, y)
