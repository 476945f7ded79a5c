"""What NumPy does with whole arrays on one thread, on all of them: end to end, a part, axes in order; the sum and the product of
two, of which one may be repeated, and the sum over what was repeated. And the matrix product.

These are no primitives, for every array module has them; the tape asks the backend for them (``minseg.backend``). Large arrays of
floats are worth waking the threads for; whatever else comes is left to NumPy.

Small matrix products, and those of integers, are BLAS's, on one of its threads. It would bring several of its own, which go on
spinning for a while after each product: Numba's find the cores taken then, and all wait for the last of them. With two of each on
two cores a transformer trains three times slower than with one of BLAS's. Large products are our own (matmul.py), on all threads.
"""

import math
import operator
from collections.abc import Sequence
from functools import cache
from itertools import accumulate

import numpy as np
from numba import prange
from threadpoolctl import ThreadpoolController

from minseg.kernels import memory
from minseg.kernels.cpu.activation import elementwise
from minseg.kernels.cpu.jit import CHUNK, chunks, kernel, parallel_kernel
from minseg.kernels.cpu.linear import linear_grad_b
from minseg.kernels.cpu.matmul import SQUARE, multiply_matrices, stack_of, steps_forwards
from minseg.kernels.cpu.simd import LANES, load, load_each, pointer, store, store_each, turned

ROW = 1024
"""Elements that must lie side by side for a copy by rows to be worth it."""

LEAST = 16
"""Numbers that must lie side by side for a loop over them to be worth starting."""

SIDE = 64
"""Rows and columns of a block that is turned at a time: of both what is read and what is written, pieces of 256 bytes."""

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
    """y = a + b; where b ends, it begins anew."""
    for t in prange(chunks(a.size)):
        i, end = t * CHUNK, min(a.size, (t + 1) * CHUNK)
        while i < end:
            first = i % b.size
            count = min(b.size - first, end - i)
            terms, others, sums = a[i : i + count], b[first : first + count], y[i : i + count]
            for k in range(count):
                sums[k] = terms[k] + others[k]
            i += count


@parallel_kernel
def _multiply(a, b, y):
    """y = a b, likewise."""
    for t in prange(chunks(a.size)):
        i, end = t * CHUNK, min(a.size, (t + 1) * CHUNK)
        while i < end:
            first = i % b.size
            count = min(b.size - first, end - i)
            factors, others, products = a[i : i + count], b[first : first + count], y[i : i + count]
            for k in range(count):
                products[k] = factors[k] * others[k]
            i += count


def _is_plain(array) -> bool:
    return array.flags.c_contiguous and array.dtype in (np.float32, np.float64)


def _rows(array, axis: int):
    """(what comes before the axis, the axis and what comes after it)"""
    return array.reshape(math.prod(array.shape[:axis]), -1)


@kernel
def _turn_block(source, at, along, rows, columns, out, to, step):
    """out[to + r step + c] = source[at + r + c along] for r < rows and c < columns, a square of LANES numbers at a time."""
    source, out = pointer(source), pointer(out)
    for r in range(0, rows, LANES):
        for c in range(0, columns, LANES):
            square = load_each(source, at + r + c * along, along, SQUARE)
            store_each(out, to + r * step + c, step, turned(square))


@parallel_kernel
def _turn(matrices, rows, columns, out):
    """out[s] = matrix s, whose columns lie in memory one after the other."""
    down, right = (rows + SIDE - 1) // SIDE, (columns + SIDE - 1) // SIDE
    for job in prange(len(matrices.starts) * down * right):
        s, r, c = job // right // down, job // right % down * SIDE, job % right * SIDE
        at, to = matrices.starts[s] + r + c * matrices.along, (s * rows + r) * columns + c
        sides = min(SIDE, rows - r), min(SIDE, columns - c)
        _turn_block(matrices.numbers, np.int64(at), matrices.along, sides[0], sides[1], out, np.int64(to), columns)


@kernel
def _copy_vectors(source, at, down, along, rows, columns, length, out, to):
    """out[to + (r columns + c) length + i] = source[at + r down + c along + i] for r < rows, c < columns and i < length."""
    source, out = pointer(source), pointer(out)
    for r in range(rows):
        for c in range(columns):
            row = at + r * down + c * along
            for i in range(0, length, LANES):
                store(out, to + i, load(source, row + i))
            to += length


@parallel_kernel
def _gather(matrices, rows, columns, length, out):
    """out[s, r, c] = what begins at number (r, c) of matrix s, for so many numbers: whole vectors."""
    block = max(1, CHUNK // (columns * length))
    blocks = (rows + block - 1) // block
    for job in prange(len(matrices.starts) * blocks):
        s, r = job // blocks, job % blocks * block
        at, to = matrices.starts[s] + r * matrices.down, (s * rows + r) * columns * length
        count = min(block, rows - r)
        _copy_vectors(
            matrices.numbers,
            np.int64(at),
            matrices.down,
            matrices.along,
            np.int64(count),
            columns,
            length,
            out,
            np.int64(to),
        )


def _merged(array):
    """The array with as few axes as can be: those that lie in memory like one are one."""
    sizes, strides = [1], [0]
    for size, stride in zip(array.shape, array.strides):
        if sizes[-1] == 1 or strides[-1] == size * stride:
            sizes[-1], strides[-1] = sizes[-1] * size, stride
        elif size > 1:
            sizes, strides = [*sizes, size], [*strides, stride]
    return np.lib.stride_tricks.as_strided(array, sizes, strides)


def contiguous(array):
    """np.ascontiguousarray. Axes that have changed places are put back on all threads: images, tokens, heads."""
    if array.flags.c_contiguous or array.nbytes < memory.LARGE or array.dtype not in (np.float32, np.float64):
        return np.asarray(array, order="C")
    parts = _merged(array)
    if parts.ndim < 2 or not steps_forwards(parts) or parts.shape[-1] % LANES:
        return np.asarray(array, order="C")
    if parts.strides[-2] == array.itemsize and parts.shape[-2] % LANES == 0:
        out = memory.empty(array.shape, array.dtype)
        _turn(stack_of(parts), *parts.shape[-2:], out.reshape(-1))
        return out
    if parts.strides[-1] == array.itemsize:
        rows = parts[..., 0] if parts.ndim > 2 else parts[:, :1]
        out = memory.empty(array.shape, array.dtype)
        _gather(stack_of(rows), *rows.shape[-2:], parts.shape[-1], out.reshape(-1))
        return out
    return np.asarray(array, order="C")


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


def _repeats(a, b) -> bool:
    """Whether b is as large as a, which is large, or a row that is repeated along a's first axes: scales, shifts, positions."""
    if a.nbytes < memory.LARGE or a.dtype != b.dtype or a.dtype not in (np.float32, np.float64):
        return False
    return a.shape[a.ndim - b.ndim :] == b.shape and (a.ndim == b.ndim or b.size >= LEAST)


def _of_two(loop, operation, a, b):
    """An operation in which a and b may change places."""
    if a.size < b.size:
        a, b = b, a
    return elementwise(loop, contiguous(a), contiguous(b)) if _repeats(a, b) else operation(a, b)


def add(a, b):
    """a + b."""
    return _of_two(_add, operator.add, a, b)


def multiply(a, b):
    """a * b."""
    return _of_two(_multiply, operator.mul, a, b)


def sum_over(array, axes: tuple[int, ...]):
    """array.sum(axis=axes); over the first axes as a linear map sums the gradient of its bias."""
    row = array.shape[len(axes) :]
    many = LEAST <= math.prod(row) <= CHUNK and axes == tuple(range(len(axes)))
    if not many or not _is_plain(array) or array.nbytes < memory.LARGE:
        return array.sum(axis=axes)
    return linear_grad_b(array.reshape(-1, math.prod(row))).reshape(row)


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
