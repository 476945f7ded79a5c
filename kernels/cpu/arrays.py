"""What NumPy does with whole arrays on one thread, on all of them: end to end, a part, the sum of two. And the matrix product.

These are no primitives, for every array module has them; the tape asks the backend for them (``minseg.backend``). Large arrays of
floats are worth waking the threads for; whatever else comes is left to NumPy.

Small matrix products, and those of integers, are BLAS's, on one of its threads. It would bring several of its own, which go on
spinning for a while after each product: Numba's find the cores taken then, and all wait for the last of them. With two of each on
two cores a transformer trains three times slower than with one of BLAS's. Large products are our own (matmul.py), on all threads.
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import accumulate

import numpy as np
from numba import prange
from threadpoolctl import ThreadpoolController

from minseg.kernels import memory
from minseg.kernels.cpu.activation import elementwise
from minseg.kernels.cpu.jit import CHUNK, chunks, parallel_kernel
from minseg.kernels.cpu.matmul import multiply_matrices

ROW = 1024
"""Elements that must lie side by side for a copy by rows to be worth it."""

MULTIPLICATIONS = 1 << 18
"""A matrix product with more than these is worth waking the threads for."""


@parallel_kernel
def _copy_rows(source, first, target, offset, length):
    """target[r, offset : offset + length] = source[r, first : first + length], for every row r."""
    pieces = chunks(length)
    for t in prange(len(source) * pieces):
        r, start = t // pieces, t % pieces * CHUNK
        count = min(CHUNK, length - start)
        pixels = source[r, first + start : first + start + count]
        goal = target[r, offset + start : offset + start + count]
        for i in range(count):
            goal[i] = pixels[i]


@parallel_kernel
def _add(a, b, y):
    for i in prange(a.size):
        y[i] = a[i] + b[i]


def _is_plain(array) -> bool:
    return array.flags.c_contiguous and array.dtype in (np.float32, np.float64)


def _rows(array, axis: int):
    """(what comes before the axis, the axis and what comes after it)"""
    return array.reshape(math.prod(array.shape[:axis]), -1)


def concatenate(arrays: Sequence, axis: int):
    """np.concatenate."""
    first, lengths = arrays[0], [math.prod(a.shape[axis:]) for a in arrays]
    alike = all(_is_plain(a) and a.dtype == first.dtype for a in arrays)
    if not alike or sum(a.nbytes for a in arrays) < memory.LARGE or min(lengths) < ROW:
        return np.concatenate(arrays, axis=axis)
    size = sum(a.shape[axis] for a in arrays)
    out = memory.empty((*first.shape[:axis], size, *first.shape[axis + 1 :]), first.dtype)
    for a, length, end in zip(arrays, lengths, accumulate(lengths)):
        _copy_rows(_rows(a, axis), 0, _rows(out, axis), end - length, length)
    return out


def part(array, axis: int, start: int, size: int):
    """array[..., start : start + size, ...]: contiguous where it is large, for that is what kernels need; else a view."""
    inner = math.prod(array.shape[axis + 1 :])
    if not _is_plain(array) or array.nbytes < memory.LARGE or size * inner < ROW:
        return array[(slice(None),) * axis + (slice(start, start + size),)]
    out = memory.empty((*array.shape[:axis], size, *array.shape[axis + 1 :]), array.dtype)
    _copy_rows(_rows(array, axis), start * inner, _rows(out, axis), 0, size * inner)
    return out


def add(a, b):
    """a + b."""
    alike = a.shape == b.shape and a.dtype == b.dtype and _is_plain(a) and _is_plain(b)
    return elementwise(_add, a, b) if alike and a.nbytes >= memory.LARGE else a + b


@cache
def _blas() -> ThreadpoolController:
    """The BLAS that NumPy has loaded; looking for it takes longer than a small product."""
    return ThreadpoolController()


def matmul(a, b):
    """a @ b. What runs on BLAS before and afterwards has as many threads as ever."""
    if a.ndim > 1 and b.ndim > 1 and a.dtype == b.dtype and a.dtype in (np.float32, np.float64):
        (M, K), J = a.shape[-2:], b.shape[-1]
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        if math.prod(batch) * M * K * J > MULTIPLICATIONS:
            a, b = np.broadcast_to(a, (*batch, M, K)), np.broadcast_to(b, (*batch, K, J))
            # b is packed: of two long matrices whose product is small, the smaller one
            return multiply_matrices(b.mT, a.mT).mT if K > J > M else multiply_matrices(a, b)
    with _blas().limit(limits=1, user_api="blas"):
        return a @ b
