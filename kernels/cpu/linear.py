"""The affine map in Numba: x (N, I), w (O, I), b (O,). Two matrix products, each with an inner loop along memory: rows times rows,
and a row times a matrix. Four rows are taken at a time, and a tile of the result at a time: what is loaded is used again at once.
"""

import numpy as np
from numba import prange

from minseg.kernels import memory
from minseg.kernels.cpu.jit import SUMMING, kernel, parallel_kernel

ROWS, COLUMNS = 32, 128
"""The tile of a product that one iteration of ``prange`` makes: 16 KB of sums, which stay in the cache while factors pass by."""


@kernel(fastmath=SUMMING)
def _four_dots(a, b0, b1, b2, b3):
    s0 = s1 = s2 = s3 = a.dtype.type(0)
    for i in range(a.size):
        s0 += a[i] * b0[i]
        s1 += a[i] * b1[i]
        s2 += a[i] * b2[i]
        s3 += a[i] * b3[i]
    return s0, s1, s2, s3


@parallel_kernel
def _rows_times_rows(a, b, bias, out):
    """out[n, o] = bias[o] + sum_i a[n, i] b[o, i]"""
    N, O = out.shape
    groups = (O + 3) // 4
    for t in prange((N + ROWS - 1) // ROWS * groups):
        start, o = t // groups * ROWS, t % groups * 4
        o1, o2, o3 = (
            min(o + 1, O - 1),
            min(o + 2, O - 1),
            min(o + 3, O - 1),
        )  # at the end the last row stands in for missing ones
        for n in range(start, min(N, start + ROWS)):
            s0, s1, s2, s3 = _four_dots(a[n], b[o], b[o1], b[o2], b[o3])
            out[n, o], out[n, o1] = s0 + bias[o], s1 + bias[o1]
            out[n, o2], out[n, o3] = s2 + bias[o2], s3 + bias[o3]


@parallel_kernel
def _product(a, b, out):
    """out[m, j] = sum_k a[m, k] b[k, j]"""
    M, K = a.shape
    J = b.shape[1]
    pieces = (J + COLUMNS - 1) // COLUMNS
    for t in prange((M + ROWS - 1) // ROWS * pieces):
        top, start = t // pieces * ROWS, t % pieces * COLUMNS
        bottom, stop = min(M, top + ROWS), min(J, start + COLUMNS)
        for m in range(top, bottom):
            for j in range(start, stop):
                out[m, j] = 0
        for k in range(0, K - 3, 4):
            b0, b1, b2, b3 = b[k, start:stop], b[k + 1, start:stop], b[k + 2, start:stop], b[k + 3, start:stop]
            for m in range(top, bottom):
                sums = out[m, start:stop]
                a0, a1, a2, a3 = a[m, k], a[m, k + 1], a[m, k + 2], a[m, k + 3]
                for j in range(sums.size):
                    sums[j] += a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j]
        for k in range(K - K % 4, K):
            b0 = b[k, start:stop]
            for m in range(top, bottom):
                sums = out[m, start:stop]
                a0 = a[m, k]
                for j in range(sums.size):
                    sums[j] += a0 * b0[j]


def _multiplied(a, b):
    out = memory.empty((a.shape[0], b.shape[1]), a.dtype)
    _product(np.ascontiguousarray(a), b, out)
    return out


def linear(x, w, b):
    """eq: dense.affine"""
    out = memory.empty((x.shape[0], w.shape[0]), x.dtype)
    _rows_times_rows(x, w, np.zeros(w.shape[0], x.dtype) if b is None else b, out)
    return out


def linear_grad_x(gy, w):
    """eq: dense.grad_x"""
    return _multiplied(gy, w)


def linear_grad_w(gy, x):
    """eq: dense.grad_w"""
    return _multiplied(gy.T, x)


def linear_grad_b(gy):
    """eq: dense.grad_b. A row of ones times gy."""
    return _multiplied(np.ones((1, len(gy)), gy.dtype), gy)[0]
