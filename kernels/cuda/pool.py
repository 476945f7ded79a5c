"""Pooling on a GPU: pool.cu, which tells what its rungs do. Images are (N, C, H, W); the kernels see planes."""

import math
from functools import partial

import numpy as np

from minseg.errors import Unsupported
from minseg.kernels import shapes
from minseg.kernels.cuda.device import device_of
from minseg.kernels.cuda.grid import MOST_COLUMNS, THREADS, WARP, over, over_planes, through_planes
from minseg.kernels.spec import Pair, Shape

HALVING = ((2, 2), (2, 2), (0, 0))
WARPS_WINDOW, BLOCKS_WINDOW = 16, 1024
"""From so many pixels on, a warp shares a window's mean, or a block. On an H200 a block took five times as long for 256 pixels as a
thread, which took twice as long as the reading."""


def _integers(*numbers) -> tuple:
    return tuple(map(np.int32, numbers))


def _sides(x_shape: Shape, y_shape: Shape) -> tuple:
    """H, W, I, J"""
    return _integers(*x_shape[2:], *y_shape[2:])


def _planes(shape: Shape) -> int:
    return shape[0] * shape[1]


# ------------------------------------------------------------------------------------------------------------- maximum


def _pooled(kernel: str, x, kernel_size: Pair, stride: Pair, padding: Pair, *window):
    y_shape, _ = shapes.max_pool2d(x, kernel_size, stride, padding)
    device = device_of(x)
    y, indices = device.empty(y_shape, x.dtype), device.empty(y_shape, np.int32)
    planes = _planes(x.shape)
    numbers = np.int64(planes), *_sides(x.shape, y_shape), *window
    device.launch("pool", kernel, x.dtype, *through_planes(planes, y.size // planes), x, y, indices, *numbers)
    return y, indices


def _max_pool_any(x, kernel_size: Pair, stride: Pair, padding: Pair):
    window = _integers(*kernel_size, *stride, *padding)
    return _pooled("max_pool2d", x, kernel_size, stride, padding, *window)


def _max_pool_halving(x, kernel_size: Pair, stride: Pair, padding: Pair):
    if (kernel_size, stride, padding) != HALVING:
        raise Unsupported(
            f"max_pool2d: the variant 'halving' is for 2x2 windows with stride 2 and no padding, got window {kernel_size}, "
            f"stride {stride}, padding {padding} [pool.max2d]"
        )
    return _pooled("max_pool2d_halving", x, kernel_size, stride, padding)


def _scattered_atomic(values, indices, shape: Shape):
    """Zeros of this shape, with each value added at its flat index in its plane."""
    device = device_of(values)
    out = device.zeros(tuple(shape), values.dtype)
    sizes = np.int64(values.size), *_integers(values.shape[2] * values.shape[3], shape[2] * shape[3])
    indices = indices.astype(np.int32, copy=False)
    device.launch("pool", "scatter_atomic", values.dtype, *over(values.size), values, indices, out, *sizes)
    return out


def _scattered_gather(values, indices, shape: Shape):
    """The same, but each pixel looks for the values that name it."""
    out, indices = device_of(values).empty(tuple(shape), values.dtype), indices.astype(np.int32, copy=False)
    _gather(values, indices, out, None)
    return out


def _gather(values, indices, out, strays):
    """Into all planes of ``out``, or into those that have strays."""
    device = device_of(values)
    sides = H, W, I, J = _sides(out.shape, values.shape)
    planes = _planes(out.shape)
    found = (indices, np.bool_(False)) if strays is None else (strays, np.bool_(True))
    hulls, reach = device.empty((planes, 2 * (I + J)), np.int32), device.empty((planes, 2 * (H + W)), np.int32)
    device.launch("pool", "find_reach", values.dtype, (planes,), (THREADS,), indices, *found, hulls, reach, *sides)
    grid = over_planes(planes, int(H) * int(W))
    device.launch("pool", "scatter_gather", values.dtype, *grid, values, indices, *found, reach, out, *sides)


def _scattered_cells(values, indices, shape: Shape):
    """The same, where each value names a pixel of its own cell, as most do; the others are gathered."""
    device = device_of(values)
    if shape[2] < values.shape[2] or shape[3] < values.shape[3]:
        return _scattered_gather(values, indices, shape)  # no pixel in a cell
    planes = _planes(shape)
    out, indices = device.empty(tuple(shape), values.dtype), indices.astype(np.int32, copy=False)
    strays = device.zeros((planes,), np.int32)
    grid = through_planes(planes, shape[2] * shape[3])
    numbers = np.int64(planes), *_sides(shape, values.shape)
    device.launch("pool", "scatter_cells", values.dtype, *grid, values, indices, out, strays, *numbers)
    _gather(values, indices, out, strays)
    return out


def max_pool2d(x, kernel_size: Pair, stride: Pair, padding: Pair):
    """eq: pool.max2d"""
    variant = "halving" if (kernel_size, stride, padding) == HALVING else "any"
    return VARIANTS["max_pool2d"][variant](x, kernel_size, stride, padding)


def max_pool2d_grad_x(gy, indices, x_shape: Shape):
    """eq: pool.max2d_grad"""
    return _scattered_cells(gy, indices, x_shape)


def max_unpool2d(x, indices, output_size: Pair):
    """eq: pool.unpool"""
    return _scattered_cells(x, indices, (*x.shape[:2], *output_size))


def max_unpool2d_grad_x(gy, indices):
    """eq: pool.unpool_grad"""
    device = device_of(gy)
    out = device.empty(indices.shape, gy.dtype)
    sizes = np.int64(out.size), *_integers(out.shape[2] * out.shape[3], gy.shape[2] * gy.shape[3])
    arrays = gy, indices.astype(np.int32, copy=False), out
    device.launch("pool", "max_unpool2d_grad_x", gy.dtype, *over(out.size), *arrays, *sizes)
    return out


# ---------------------------------------------------------------------------------------------------------------- mean


def avg_pool2d(x, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool):
    """eq: pool.avg2d"""
    device = device_of(x)
    y = device.empty(shapes.avg_pool2d(x, kernel_size, stride, padding, count_include_pad), x.dtype)
    window = *_integers(*kernel_size, *stride, *padding), np.bool_(count_include_pad)
    planes = _planes(x.shape)
    numbers = np.int64(planes), *_sides(x.shape, y.shape), *window
    device.launch("pool", "avg_pool2d", x.dtype, *through_planes(planes, y.size // planes), x, y, *numbers)
    return y


def _spread(kernel: str, rung: str, gy, x_shape: Shape, *window):
    """gy spread over its windows: by one thread for each of its elements, or gathered by one for each pixel."""
    device = device_of(gy)
    gx = (device.zeros if rung == "atomic" else device.empty)(tuple(x_shape), gy.dtype)
    planes = _planes(x_shape)
    if rung == "atomic":
        count, grid = gy.size, over(gy.size)
    else:
        count, grid = planes, through_planes(planes, gx.size // planes)
    numbers = np.int64(count), *_sides(x_shape, gy.shape), *window
    device.launch("pool", f"{kernel}_{rung}", gy.dtype, *grid, gy, gx, *numbers)
    return gx


def _avg_pool_grad(
    rung: str, gy, x_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool
):
    window = *_integers(*kernel_size, *stride, *padding), np.bool_(count_include_pad)
    return _spread("avg_pool2d_grad_x", rung, gy, x_shape, *window)


def avg_pool2d_grad_x(gy, x_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool):
    """eq: pool.avg2d_grad"""
    return _avg_pool_grad("gather", gy, x_shape, kernel_size, stride, padding, count_include_pad)


# ----------------------------------------------------------------------------------------- mean of a given number of windows


def _adaptive_avg_pool(rung: str, x, output_size: Pair):
    device = device_of(x)
    y = device.empty((*x.shape[:2], *output_size), x.dtype)
    planes, windows = _planes(x.shape), math.prod(output_size)
    count, grid = {
        "thread": (y.size, over(y.size)),
        "warp": (planes, through_planes(planes, windows * WARP)),
        "block": (y.size, ((min(MOST_COLUMNS, y.size),), (THREADS,))),
    }[rung]
    device.launch(
        "pool", f"adaptive_avg_pool2d_{rung}", x.dtype, *grid, x, y, np.int64(count), *_sides(x.shape, y.shape)
    )
    return y


def adaptive_avg_pool2d(x, output_size: Pair):
    """eq: pool.adaptive_avg"""
    pixels = x.shape[2] * x.shape[3] // math.prod(output_size)
    rung = "thread" if pixels < WARPS_WINDOW else "warp" if pixels < BLOCKS_WINDOW else "block"
    return _adaptive_avg_pool(rung, x, output_size)


def adaptive_avg_pool2d_grad_x(gy, x_shape: Shape):
    """eq: pool.adaptive_avg_grad. Windows of one size, side by side, are those of average pooling, and easier to find."""
    (H, W), (I, J) = x_shape[2:], gy.shape[2:]
    if H % I == 0 and W % J == 0:
        window = H // I, W // J
        return _avg_pool_grad("gather", gy, x_shape, window, window, (0, 0), True)
    return _spread("adaptive_avg_pool2d_grad_x", "gather", gy, x_shape)


VARIANTS = {
    "max_pool2d": {"any": _max_pool_any, "halving": _max_pool_halving},
    "max_pool2d_grad_x": {"atomic": _scattered_atomic, "gather": _scattered_gather, "cells": _scattered_cells},
    "max_unpool2d": {
        "atomic": lambda x, indices, size: _scattered_atomic(x, indices, (*x.shape[:2], *size)),
        "gather": lambda x, indices, size: _scattered_gather(x, indices, (*x.shape[:2], *size)),
        "cells": lambda x, indices, size: _scattered_cells(x, indices, (*x.shape[:2], *size)),
    },
    "avg_pool2d_grad_x": {rung: partial(_avg_pool_grad, rung) for rung in ("atomic", "gather")},
    "adaptive_avg_pool2d": {rung: partial(_adaptive_avg_pool, rung) for rung in ("thread", "block", "warp")},
    "adaptive_avg_pool2d_grad_x": {
        rung: partial(_spread, "adaptive_avg_pool2d_grad_x", rung) for rung in ("atomic", "gather")
    },
}
