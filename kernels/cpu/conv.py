"""Convolution on the CPU: which rung of the ladder computes it.

conv_im2col.py: columns in strips, and a matrix product in registers. conv_tile.py: the same without copying columns.
"""

from numba import prange

from minseg.kernels import memory
from minseg.kernels.cpu import conv_im2col, conv_tile
from minseg.kernels.cpu.conv_im2col import col2im, im2col
from minseg.kernels.cpu.jit import SUMMING, parallel_kernel
from minseg.kernels.spec import Pair, Shape

__all__ = [
    "VARIANTS",
    "col2im",
    "conv2d",
    "conv2d_grad_b",
    "conv2d_grad_w",
    "conv2d_grad_x",
    "conv_transpose2d",
    "im2col",
]

RUNGS = {"im2col": conv_im2col, "tile": conv_tile}

VARIANTS = {
    name: {rung: getattr(module, name) for rung, module in RUNGS.items()}
    for name in ("conv2d", "conv2d_grad_x", "conv2d_grad_w", "conv_transpose2d")
}


def conv2d(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d"""
    return conv_tile.conv2d(x, w, b, stride, padding, dilation, groups)


def conv2d_grad_x(gy, w, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_x"""
    return conv_tile.conv2d_grad_x(gy, w, x_shape, stride, padding, dilation, groups)


def conv2d_grad_w(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_w"""
    return conv_tile.conv2d_grad_w(gy, x, w_shape, stride, padding, dilation, groups)


@parallel_kernel(fastmath=SUMMING)
def sum_planes(gy, gb):
    """gb[o] = gy summed over samples and pixels; gy (N, O, pixels)."""
    for o in prange(len(gb)):
        total = gb.dtype.type(0)
        for n in range(gy.shape[0]):
            plane = gy[n, o]
            for k in range(len(plane)):
                total += plane[k]
        gb[o] = total


def conv2d_grad_b(gy):
    """eq: conv.grad_b"""
    N, O, H, W = gy.shape
    gb = memory.empty((O,), gy.dtype)
    sum_planes(gy.reshape(N, O, H * W), gb)
    return gb


def conv_transpose2d(x, w, b, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair, groups: int):
    """eq: conv.transpose2d"""
    return conv_tile.conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups)
