"""Pooling in NumPy: windows become columns, as for convolution, and each column one number."""

import numpy as np

from minseg.kernels.reference.conv import col2im, im2col
from minseg.kernels.spec import Pair, Shape

UNDILATED = (1, 1)


def _columns(x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Pair, outside: float) -> np.ndarray:
    """columns[n, c, S p + q, i, j] = x[n, c, s i + p - P, s j + q - P], and ``outside`` where that is no pixel."""
    (R, S), (ph, pw) = kernel_size, padding
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=outside)
    I = (padded.shape[2] - R) // stride[0] + 1
    return im2col(padded, kernel_size, stride, (0, 0), UNDILATED).reshape(*x.shape[:2], R * S, I, -1)


def max_pool2d(x, kernel_size: Pair, stride: Pair, padding: Pair):
    """eq: pool.max2d. A NaN counts as the maximum; of equal values, and of several NaN, the first wins."""
    columns = _columns(x, kernel_size, stride, padding, -np.inf)
    first = columns.argmax(axis=2)
    y = np.take_along_axis(columns, first[:, :, None], axis=2)[:, :, 0]
    p, q = np.divmod(first, kernel_size[1])
    row = stride[0] * np.arange(y.shape[2])[:, None] + p - padding[0]
    column = stride[1] * np.arange(y.shape[3]) + q - padding[1]
    # Padding is chosen only where the whole window is -inf: its first corner, moved here to the window's first pixel.
    indices = np.maximum(row, 0) * x.shape[3] + np.maximum(column, 0)
    return y, indices.astype(np.int32)


def _scatter(values: np.ndarray, indices: np.ndarray, shape: Shape) -> np.ndarray:
    """Zeros of this shape, with each value added at its flat index in its plane."""
    N, C, H, W = shape
    out = np.zeros((N * C, H * W), values.dtype)
    planes = np.arange(N * C)[:, None]
    np.add.at(out, (planes, indices.reshape(N * C, -1)), values.reshape(N * C, -1))
    return out.reshape(shape)


def max_pool2d_grad_x(gy, indices, x_shape: Shape):
    """eq: pool.max2d_grad"""
    return _scatter(gy, indices, x_shape)


def max_unpool2d(x, indices, output_size: Pair):
    """eq: pool.unpool"""
    return _scatter(x, indices, (*x.shape[:2], *output_size))


def max_unpool2d_grad_x(gy, indices):
    """eq: pool.unpool_grad"""
    N, C = gy.shape[:2]
    return np.take_along_axis(gy.reshape(N, C, -1), indices.reshape(N, C, -1), axis=2).reshape(indices.shape)


def _divisor(
    x_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool, dtype
) -> np.ndarray:
    """What each window's sum is divided by: its places, or only those that are pixels. (I, J)"""
    plane = np.ones((1, 1, *x_shape[2:]), dtype)
    return _columns(plane, kernel_size, stride, padding, float(count_include_pad)).sum(axis=(0, 1, 2))


def avg_pool2d(x, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool):
    """eq: pool.avg2d"""
    divisor = _divisor(x.shape, kernel_size, stride, padding, count_include_pad, x.dtype)
    return _columns(x, kernel_size, stride, padding, 0.0).sum(axis=2) / divisor


def avg_pool2d_grad_x(gy, x_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool):
    """eq: pool.avg2d_grad. Every place of a window has the same column: the share that it gets of gy."""
    N, C, I, J = gy.shape
    places = kernel_size[0] * kernel_size[1]
    share = gy / _divisor(x_shape, kernel_size, stride, padding, count_include_pad, gy.dtype)
    columns = np.broadcast_to(share[:, :, None], (N, C, places, I, J)).reshape(N, C * places, I * J)
    return col2im(columns, x_shape, kernel_size, stride, padding, UNDILATED)


def _adaptive_windows(size: int, windows: int) -> list[slice]:
    """floor(i H/H') ... ceil((i+1) H/H') - 1 for each output row i: they overlap where H' does not divide H."""
    return [slice(i * size // windows, -(-(i + 1) * size // windows)) for i in range(windows)]


def adaptive_avg_pool2d(x, output_size: Pair):
    """eq: pool.adaptive_avg. A rectangle's mean is the mean of its rows' means."""
    rows, columns = map(_adaptive_windows, x.shape[2:], output_size)
    x = np.stack([x[:, :, :, window].mean(axis=3) for window in columns], axis=3)
    return np.stack([x[:, :, window].mean(axis=2) for window in rows], axis=2)


def adaptive_avg_pool2d_grad_x(gy, x_shape: Shape):
    """eq: pool.adaptive_avg_grad"""
    gx = np.zeros(x_shape, gy.dtype)
    rows, columns = map(_adaptive_windows, x_shape[2:], gy.shape[2:])
    for i, across in enumerate(rows):
        for j, along in enumerate(columns):
            window = gx[:, :, across, along]
            window += gy[:, :, i, j, None, None] / (window.shape[2] * window.shape[3])
    return gx
