"""Softmax and its logarithm in Numba, along any axis of x, seen as (outer, K, inner): for images K classes of inner pixels.

Fast because one pass over memory does it all: a block of pixels is small enough that all its classes stay in the cache, and inside
it the loop over classes is the outer one, so that the inner loop runs along neighbouring pixels and becomes vector code.
"""

import math

import numpy as np
from numba import prange

from minseg.kernels import memory
from minseg.kernels.cpu.elementary import exp, log
from minseg.kernels.cpu.jit import kernel, parallel_kernel

BLOCK = 512
"""Pixels of a block: with four classes, 8 KB each of input and output."""


def _around(x, axis: int):
    """(outer, K, inner): what comes before the axis, the axis, and what comes after it."""
    axis %= x.ndim
    return x.reshape(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))


@kernel
def maximum(x, o, start, m):
    """m[i] = the largest of x[o, :, start + i]. A NaN is no maximum; exp(x - m) makes NaN of its pixel."""
    stop = start + m.size
    for k in range(x.shape[1]):
        xs = x[o, k, start:stop]
        for i in range(m.size):
            m[i] = xs[i] if (k == 0) | (xs[i] > m[i]) else m[i]


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


def softmax(x, axis: int):
    """eq: act.softmax"""
    y = memory.empty(x.shape, x.dtype)
    _softmax(_around(x, axis), _around(y, axis))
    return y


def softmax_grad_x(gy, y, axis: int):
    """eq: act.softmax_grad"""
    gx = memory.empty(y.shape, y.dtype)
    _softmax_grad_x(_around(gy, axis), _around(y, axis), _around(gx, axis))
    return gx


def log_softmax(x, axis: int):
    """eq: act.log_softmax"""
    y = memory.empty(x.shape, x.dtype)
    _log_softmax(_around(x, axis), _around(y, axis))
    return y


def log_softmax_grad_x(gy, y, axis: int):
    """eq: act.log_softmax_grad"""
    gx = memory.empty(y.shape, y.dtype)
    _log_softmax_grad_x(_around(gy, axis), _around(y, axis), _around(gx, axis))
    return gx
