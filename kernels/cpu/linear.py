"""The affine map in Numba: x (N, I), w (O, I), b (O,). Three matrix products by one kernel, whose sums stay in registers.

Not BLAS: its threads would spin beside Numba's, and one of them leaves the other cores idle.
"""

import numpy as np
from numba import prange

from minseg.kernels import memory
from minseg.kernels.cpu.jit import SUMMING, kernel, parallel_kernel
from minseg.kernels.cpu.product import ROWS, VECTORS, multiply
from minseg.kernels.cpu.simd import LANES, load_each, peek, pointer, poke, store_each, turned

DEPTH = 1024  # terms that are added up in registers: so many rows of a panel stay in the L2 cache
SHARE = 128  # rows of the result that a job makes at most, each from the same panel, ...
JOBS = 8  # ... and at least so many jobs, whatever the number of threads, ...
LEAST = 2 * ROWS  # ... unless shares become so small that packing the panel takes as long as the product

SQUARE = (0,) * LANES


@kernel
def _pack_rows(b, k0, k1, first, count, width, panel):
    """panel[k - k0, j] = b[k, first + j]"""
    J = b.shape[1]
    b, panel = pointer(b), pointer(panel)
    for k in range(k0, k1):
        to, row = (k - k0) * width, k * J + first
        for j in range(count):
            poke(panel, to + j, peek(b, row + j))
        for j in range(count, width):
            poke(panel, to + j, 0)


@kernel
def _pack_columns(b, k0, k1, first, count, width, panel):
    """panel[k - k0, j] = b[first + j, k], a square of LANES numbers at a time."""
    K = b.shape[1]
    b, panel = pointer(b), pointer(panel)
    squares = (k1 - k0) // LANES * LANES
    for j in range(0, width, LANES):
        row = (first + j) * K + k0
        whole = squares if j + LANES <= count else 0
        for k in range(0, whole, LANES):
            store_each(panel, k * width + j, width, turned(load_each(b, row + k, K, SQUARE)))
        for k in range(whole, k1 - k0):
            for lane in range(LANES):
                poke(panel, k * width + j + lane, peek(b, row + lane * K + k) if j + lane < count else 0)


@kernel
def _make_share(job, a, down, along, M, K, b, turn_b, bias, share, width, offset, out):
    J = out.shape[1]
    panels = (J + width - 1) // width
    first, top = job % panels * width, job // panels * share
    count, bottom = min(width, J - first), min(M, top + share)
    panel, part = np.empty(len(offset) * width, b.dtype), np.empty(ROWS * width, b.dtype)
    out, bias = pointer(out), pointer(bias)
    for k0 in range(0, K, DEPTH):
        k1 = min(K, k0 + DEPTH)
        if turn_b:
            _pack_columns(b, k0, k1, first, count, width, panel)
        else:
            _pack_rows(b, k0, k1, first, count, width, panel)
        for m in range(top, bottom, ROWS):
            m0 = max(0, min(m, M - ROWS))  # rather than read on beyond the last row, make some rows again
            multiply(a, m0 * down + k0 * along, down, along, panel, 0, offset, 0, k1 - k0, count, part, 0, width)
            for row in range(m, min(M, m + ROWS)):
                to, at = row * J + first, (row - m0) * width
                for j in range(count):
                    before = peek(bias, first + j) if k0 == 0 else peek(out, to + j)
                    poke(out, to + j, peek(part, at + j) + before)


@parallel_kernel
def _multiply(a, down, along, M, K, b, turn_b, bias, share, width, offset, out):
    """out[m, j] = bias[j] + sum_k a[m down + k along] b[k, j], or b[j, k] if turn_b, for m < M and k < K."""
    jobs = (M + share - 1) // share * ((out.shape[1] + width - 1) // width)
    for job in prange(jobs):
        _make_share(np.int64(job), a, down, along, M, K, b, turn_b, bias, share, width, offset, out)


def _multiplied(a, b, bias=None, turn_a: bool = False, turn_b: bool = False):
    """a b + bias, with a or b turned."""
    M, K = a.shape[::-1] if turn_a else a.shape
    J = len(b) if turn_b else b.shape[1]
    if M < ROWS:  # a tile reads as many rows
        a = np.pad(a, ((0, 0), (0, ROWS - M)) if turn_a else ((0, ROWS - M), (0, 0)))
    down, along = (1, a.shape[1]) if turn_a else (a.shape[1], 1)
    vectors = -(-J // LANES)
    panels = -(-vectors // VECTORS)
    width = -(-vectors // panels) * LANES
    share = min(SHARE, max(LEAST, -(-M * panels // (JOBS * ROWS)) * ROWS))
    offset = np.arange(min(K, DEPTH)) * width
    out = memory.empty((M, J), a.dtype)
    bias = np.zeros(J, a.dtype) if bias is None else bias
    _multiply(a.reshape(-1), down, along, M, K, b, turn_b, bias, share, width, offset, out)
    return out


def linear(x, w, b):
    """eq: dense.affine"""
    return _multiplied(x, w, b, turn_b=True)


def linear_grad_x(gy, w):
    """eq: dense.grad_x"""
    return _multiplied(gy, w)


def linear_grad_w(gy, x):
    """eq: dense.grad_w"""
    return _multiplied(gy, x, turn_a=True)


PARTS = 16
"""Partial sums of the gradient for the bias, whatever the number of threads."""


@parallel_kernel(fastmath=SUMMING)
def _sum_rows(gy, sums):
    for part in prange(len(sums)):
        total = sums[part]
        total[:] = 0
        for n in range(len(gy) * part // len(sums), len(gy) * (part + 1) // len(sums)):
            for o in range(len(total)):
                total[o] += gy[n, o]


def linear_grad_b(gy):
    """eq: dense.grad_b"""
    sums = np.empty((min(len(gy), PARTS), gy.shape[1]), gy.dtype)
    _sum_rows(gy, sums)
    return sums.sum(axis=0)
