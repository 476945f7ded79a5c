"""Convolution by im2col, in NumPy: windows become columns, and the convolution one matrix product. (O, C/groups, R, S) kernels."""

import numpy as np

from minseg.kernels import shapes
from minseg.kernels.spec import Pair, Shape


def _windows(x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> np.ndarray:
    """A view of the zero-padded x: windows[n, c, p, q, i, j] = x[n, c, s i + d p - P, s j + d q - P]."""
    (R, S), (sh, sw), (ph, pw), (dh, dw) = kernel_size, stride, padding, dilation
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    I = shapes.conv_size(x.shape[2], R, sh, ph, dh)
    J = shapes.conv_size(x.shape[3], S, sw, pw, dw)
    sn, sc, sy, sx = padded.strides
    return np.lib.stride_tricks.as_strided(
        padded, (*x.shape[:2], R, S, I, J), (sn, sc, sy * dh, sx * dw, sy * sh, sx * sw), writeable=False
    )


def im2col(x, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair):
    """eq: conv.im2col"""
    windows = _windows(x, kernel_size, stride, padding, dilation)
    N, C, R, S, I, J = windows.shape
    return np.array(windows).reshape(N, C * R * S, I * J)


def col2im(cols, x_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair):
    """eq: conv.col2im. One kernel position at a time: its columns are a strided slice of the padded image."""
    (R, S), (sh, sw), (ph, pw), (dh, dw) = kernel_size, stride, padding, dilation
    N, C, H, W = x_shape
    I = shapes.conv_size(H, R, sh, ph, dh)
    J = shapes.conv_size(W, S, sw, pw, dw)
    cols = cols.reshape(N, C, R, S, I, J)
    padded = np.zeros((N, C, H + 2 * ph, W + 2 * pw), cols.dtype)
    for p in range(R):
        for q in range(S):
            rows = slice(dh * p, dh * p + sh * (I - 1) + 1, sh)
            columns = slice(dw * q, dw * q + sw * (J - 1) + 1, sw)
            padded[:, :, rows, columns] += cols[:, :, p, q]
    return np.ascontiguousarray(padded[:, :, ph : ph + H, pw : pw + W])


def _grouped(array: np.ndarray, axis: int, groups: int) -> np.ndarray:
    """Split one axis into (groups, rest)."""
    return array.reshape(*array.shape[:axis], groups, -1, *array.shape[axis + 1 :])


def conv2d(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d"""
    N, O, I, J = shapes.conv2d(x, w, b, stride, padding, dilation, groups)
    cols = _grouped(im2col(x, w.shape[2:], stride, padding, dilation), 1, groups)  # (N, g, CRS/g, IJ)
    y = (w.reshape(groups, O // groups, -1) @ cols).reshape(N, O, I, J)
    return y if b is None else y + b[:, None, None]


def conv2d_relu(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d_relu. np.maximum hands NaN on."""
    return np.maximum(conv2d(x, w, b, stride, padding, dilation, groups), 0)


def conv2d_grad_x(gy, w, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_x. The transpose of conv2d: gy through w', then col2im."""
    N, O, I, J = gy.shape
    w_matrix = w.reshape(groups, O // groups, -1)
    cols = w_matrix.transpose(0, 2, 1) @ gy.reshape(N, groups, O // groups, I * J)
    return col2im(cols.reshape(N, -1, I * J), x_shape, w.shape[2:], stride, padding, dilation)


def conv2d_grad_w(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_w. Each weight meets the pixels that it was multiplied with."""
    N, O, I, J = gy.shape
    cols = _grouped(im2col(x, w_shape[2:], stride, padding, dilation), 1, groups)
    gw = gy.reshape(N, groups, O // groups, I * J) @ cols.transpose(0, 1, 3, 2)
    return gw.sum(axis=0).reshape(w_shape)


def conv2d_grad_b(gy):
    """eq: conv.grad_b"""
    return gy.sum(axis=(0, 2, 3))


def conv_transpose2d(x, w, b, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair, groups: int):
    """eq: conv.transpose2d. The transpose of the convolution with the same w: conv2d_grad_x, plus b."""
    y_shape = shapes.conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups)
    y = conv2d_grad_x(x, w, y_shape, stride, padding, dilation, groups)
    return y if b is None else y + b[:, None, None]
