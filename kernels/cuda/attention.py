"""Attention on a GPU, in one pass over the keys: the weights of all pairs are never in memory. How, is in attention.cu."""

import math

import numpy as np

from minseg.kernels.cuda.device import device_of
from minseg.kernels.cuda.grid import MOST_ROWS, ceil_div, side_by_side, warps

THREADS = 256
"""Of a block of attention.cu."""
TILE_BYTES = 256
"""Of a row of a tile: 64 floats or 32 doubles, and as many rows."""
BLOCKS = 1024
"""Where there are few keys, the queries are shared out until there are about so many blocks, several for each multiprocessor of a
large card ..."""
PART_TILES = 2
"""... but with so many tiles of queries in each part at least."""


def _tiles(n: int, dtype) -> int:
    return ceil_div(n, TILE_BYTES // dtype.itemsize)


def _sizes(q, k, v) -> tuple:
    """M, N, d, C and 1 / sqrt(d), as the kernels take them."""
    (_, M, d), (_, N, C) = q.shape, v.shape
    return np.int64(M), np.int64(N), np.int32(d), np.int32(C), q.dtype.type(1 / math.sqrt(d))


def attention(q, k, v):
    """eq: att.attention, att.log_sum"""
    device, (B, M, _), C = device_of(q), q.shape, v.shape[2]
    y, lse = device.empty((B, M, C), q.dtype), device.empty((B, M), q.dtype)
    grid = B * _tiles(M, q.dtype), _tiles(C, q.dtype)
    device.launch("attention", "attention", q.dtype, grid, (THREADS,), q, k, v, y, lse, *_sizes(q, k, v))
    return y, lse


def attention_grad(gy, q, k, v, y, lse):
    """eq: att.grad_q, att.grad_k, att.grad_v"""
    inner = _inner(gy, y)
    return _grad_q(gy, q, k, v, lse, inner), *_grad_kv(gy, q, k, v, lse, inner)


def _inner(gy, y):
    """The products of each query's gradient and mixture."""
    device, (B, M, C) = device_of(y), y.shape
    inner = device.empty((B, M), y.dtype)
    device.launch("attention", "attention_inner", y.dtype, *warps(B * M), gy, y, inner, np.int64(B * M), np.int32(C))
    return inner


def _grad_q(gy, q, k, v, lse, inner):
    device, (B, M, d) = device_of(q), q.shape
    gq = device.empty(q.shape, q.dtype)
    grid, arrays = (B * _tiles(M, q.dtype), _tiles(d, q.dtype)), (gy, q, k, v, lse, inner, gq)
    device.launch("attention", "attention_grad_q", q.dtype, grid, (THREADS,), *arrays, *_sizes(q, k, v))
    return gq


def _grad_kv(gy, q, k, v, lse, inner):
    device, B = device_of(q), len(q)
    across, columns = B * _tiles(k.shape[1], q.dtype), _tiles(max(k.shape[2], v.shape[2]), q.dtype)
    parts = parts_of(_tiles(q.shape[1], q.dtype), across * columns)
    gk, gv = (device.empty((parts, *array.shape), array.dtype) for array in (k, v))
    grid, arrays = (across, columns, parts), (gy, q, k, v, lse, inner, gk, gv)
    device.launch(
        *("attention", "attention_grad_kv", q.dtype, grid, (THREADS,)), *arrays, np.int64(B), *_sizes(q, k, v)
    )
    return _sum_of_parts(gk), _sum_of_parts(gv)


def parts_of(tiles: int, blocks: int) -> int:
    """In how many parts so many tiles of queries are shared out, where without that there are so many blocks.

    The parts follow from the shapes alone, so the bits do too.
    """
    return min(ceil_div(BLOCKS, blocks), ceil_div(tiles, PART_TILES), MOST_ROWS)


def _sum_of_parts(parts):
    """In a fixed order."""
    if len(parts) == 1:
        return parts[0]
    device = device_of(parts)
    total = device.empty(parts.shape[1:], parts.dtype)
    sizes = np.int64(total.size), np.int32(len(parts))
    device.launch("attention", "sum_parts", parts.dtype, *side_by_side(total.size), parts, total, *sizes)
    return total
