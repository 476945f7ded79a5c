"""Resizing in NumPy, nearest neighbour and bilinear, rows and columns apart. Source positions are float64."""

import numpy as np

from minseg.kernels.spec import Pair, Shape


def _nearest(size: int, out: int) -> np.ndarray:
    """The source pixel floor(i H/H') of each output pixel i, in integers: no rounding can move it."""
    return np.arange(out) * size // out


def resize_nearest(x, size: Pair):
    """eq: up.nearest"""
    rows, columns = map(_nearest, x.shape[2:], size)
    return x.take(rows, axis=2).take(columns, axis=3)


def resize_nearest_grad_x(gy, x_shape: Shape):
    """eq: up.nearest_grad"""
    gx = np.zeros(x_shape, gy.dtype)
    rows, columns = map(_nearest, x_shape[2:], gy.shape[2:])
    np.add.at(gx, (slice(None), slice(None), rows[:, None], columns), gy)
    return gx


def _between(size: int, out: int, dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each output pixel the two source pixels that it lies between, and its distance from the first."""
    position = np.maximum((np.arange(out) + 0.5) * size / out - 0.5, 0)
    below = np.minimum(position.astype(np.intp), size - 1)
    above = np.minimum(below + 1, size - 1)
    return below, above, (position - below).astype(dtype)


def resize_bilinear(x, size: Pair):
    """eq: up.bilinear. First between columns, then between rows."""
    top, bottom, down = _between(x.shape[2], size[0], x.dtype)
    left, right, across = _between(x.shape[3], size[1], x.dtype)
    x = (1 - across) * x.take(left, axis=3) + across * x.take(right, axis=3)
    down = down[:, None]
    return (1 - down) * x.take(top, axis=2) + down * x.take(bottom, axis=2)


def resize_bilinear_grad_x(gy, x_shape: Shape):
    """eq: up.bilinear_grad. The same weights, backwards: first to rows, then to columns."""
    top, bottom, down = _between(x_shape[2], gy.shape[2], gy.dtype)
    left, right, across = _between(x_shape[3], gy.shape[3], gy.dtype)
    down = down[:, None]
    g_rows = np.zeros((*x_shape[:3], gy.shape[3]), gy.dtype)
    np.add.at(g_rows, (slice(None), slice(None), top), (1 - down) * gy)
    np.add.at(g_rows, (slice(None), slice(None), bottom), down * gy)
    gx = np.zeros(x_shape, gy.dtype)
    np.add.at(gx, (..., left), (1 - across) * g_rows)
    np.add.at(gx, (..., right), across * g_rows)
    return gx
