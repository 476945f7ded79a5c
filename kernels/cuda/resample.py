"""Resizing on a GPU, nearest neighbour and bilinear: resample.cu."""

import numpy as np

from minseg.kernels.cuda.device import device_of
from minseg.kernels.cuda.grid import over
from minseg.kernels.spec import Pair, Shape


def _numbers(out, x_shape: Shape, y_shape: Shape) -> tuple:
    """How many elements the output has, and H, W, I, J."""
    return np.int64(out.size), *map(np.int32, (*x_shape[2:], *y_shape[2:]))


def resize_nearest(x, size: Pair):
    """eq: up.nearest"""
    y = device_of(x).empty((*x.shape[:2], *size), x.dtype)
    numbers = _numbers(y, x.shape, y.shape)
    device_of(x).launch("resample", "resize_nearest", x.dtype, *over(y.size), x, y, *numbers)
    return y


def resize_nearest_grad_x(gy, x_shape: Shape):
    """eq: up.nearest_grad"""
    gx = device_of(gy).empty(tuple(x_shape), gy.dtype)
    numbers = _numbers(gx, x_shape, gy.shape)
    device_of(gy).launch("resample", "resize_nearest_grad_x", gy.dtype, *over(gx.size), gy, gx, *numbers)
    return gx


def _sources(device, size: int, out: int, dtype) -> tuple:
    """For each output pixel along a side, the source pixel below it, and how far beyond that it lies."""
    below, beyond = device.empty((out,), np.int32), device.empty((out,), dtype)
    device.launch("resample", "find_sources", dtype, *over(out), below, beyond, np.int32(size), np.int32(out))
    return below, beyond


def _sources_and_outputs(device, size: int, out: int, dtype) -> tuple:
    """The same, and for each source pixel the first of its output pixels and one past the last."""
    below, beyond = _sources(device, size, out, dtype)
    first, last = device.empty((size,), np.int32), device.empty((size,), np.int32)
    device.launch("resample", "find_outputs", dtype, *over(size), below, first, last, np.int32(size), np.int32(out))
    return below, beyond, first, last


def resize_bilinear(x, size: Pair):
    """eq: up.bilinear"""
    device = device_of(x)
    y = device.empty((*x.shape[:2], *size), x.dtype)
    rows, columns = (_sources(device, s, out, x.dtype) for s, out in zip(x.shape[2:], size))
    numbers = _numbers(y, x.shape, y.shape)
    device.launch("resample", "resize_bilinear", x.dtype, *over(y.size), x, *rows, *columns, y, *numbers)
    return y


def resize_bilinear_grad_x(gy, x_shape: Shape):
    """eq: up.bilinear_grad"""
    device = device_of(gy)
    gx = device.empty(tuple(x_shape), gy.dtype)
    rows, columns = (
        _sources_and_outputs(device, s, out, gy.dtype) for s, out in zip(x_shape[2:], gy.shape[2:], strict=True)
    )
    numbers = _numbers(gx, x_shape, gy.shape)
    device.launch("resample", "resize_bilinear_grad_x", gy.dtype, *over(gx.size), gy, *rows, *columns, gx, *numbers)
    return gx
