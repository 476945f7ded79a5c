"""Resizing on a GPU, nearest neighbour and bilinear: resample.cu."""

import numpy as np

from minseg.kernels.cuda.device import device_of
from minseg.kernels.cuda.grid import through_planes
from minseg.kernels.spec import Pair, Shape


def _resample(kernel: str, array, out_shape: Shape, x_shape: Shape, y_shape: Shape):
    """Each pixel of the output has a thread for several planes; planes of x are H x W, of y I x J."""
    device = device_of(array)
    out = device.empty(tuple(out_shape), array.dtype)
    planes = out_shape[0] * out_shape[1]
    grid = through_planes(planes, out_shape[2] * out_shape[3])
    sides = map(np.int32, (*x_shape[2:], *y_shape[2:]))
    device.launch("resample", kernel, array.dtype, *grid, array, out, np.int64(planes), *sides)
    return out


def resize_nearest(x, size: Pair):
    """eq: up.nearest"""
    y_shape = (*x.shape[:2], *size)
    return _resample("resize_nearest", x, y_shape, x.shape, y_shape)


def resize_nearest_grad_x(gy, x_shape: Shape):
    """eq: up.nearest_grad"""
    return _resample("resize_nearest_grad_x", gy, x_shape, x_shape, gy.shape)


def resize_bilinear(x, size: Pair):
    """eq: up.bilinear"""
    y_shape = (*x.shape[:2], *size)
    return _resample("resize_bilinear", x, y_shape, x.shape, y_shape)


def resize_bilinear_grad_x(gy, x_shape: Shape):
    """eq: up.bilinear_grad"""
    return _resample("resize_bilinear_grad_x", gy, x_shape, x_shape, gy.shape)
