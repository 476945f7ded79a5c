"""Convolution on the CPU: a ladder of rungs, each faster than the one before it and less general, and the choice among them.

conv_direct.py       the definition as loops                                        any shape, both dtypes
conv_im2col.py       columns in strips, and a matrix product in registers           any shape, both dtypes
conv_tile.py         the same without copying columns                               any shape, both dtypes
conv_depthwise.py    each channel by itself, without a matrix product               one channel a group, stride 1
conv_patches.py      rows of pixels split and joined by whole vectors               kernel as large as the stride, no padding
conv_winograd_f2.py  16 products for 2x2 outputs instead of 36                      3x3, stride and dilation 1, float32
conv_winograd_f4.py  36 products for 4x4 outputs instead of 144                     the same

Milliseconds of one core (AMD EPYC, AVX-512) for 3x3 convolutions of 8 images, best of 8 in turn, PyTorch 2.13 in its better layout:

                       16 to 16 channels, 128x128          64 to 64 channels, 32x32
                       forward  grad x  grad w             forward  grad x  grad w
    direct                  36      41      40                  59      74      66
    im2col                  11      10      13                 8.2     6.7      11
    tile                   7.6     7.7     8.4                 6.7     6.9     7.4
    winograd_f2            6.8     6.6     8.3                 4.0     3.9     5.2
    winograd_f4            4.8     4.7     5.5                 2.8     2.6     3.4
    PyTorch                6.5     6.3     6.1                 5.5     5.5     6.1
"""

from numba import prange

from minseg.kernels import memory, shapes
from minseg.kernels.cpu import (
    conv_depthwise,
    conv_direct,
    conv_im2col,
    conv_patches,
    conv_tile,
    conv_winograd_f2,
    conv_winograd_f4,
)
from minseg.kernels.cpu.conv_im2col import col2im, im2col
from minseg.kernels.cpu.conv_winograd import applies
from minseg.kernels.cpu.jit import SUMMING, parallel_kernel
from minseg.kernels.precision import is_precise
from minseg.kernels.spec import Pair, Shape

__all__ = [
    "VARIANTS",
    "col2im",
    "conv2d",
    "conv2d_grad_b",
    "conv2d_grad_w",
    "conv2d_grad_x",
    "conv2d_relu",
    "conv_transpose2d",
    "im2col",
]

RUNGS = {
    "direct": conv_direct,
    "im2col": conv_im2col,
    "tile": conv_tile,
    "depthwise": conv_depthwise,
    "patches": conv_patches,
    "winograd_f2": conv_winograd_f2,
    "winograd_f4": conv_winograd_f4,
}

VARIANTS = {
    name: {rung: getattr(module, name) for rung, module in RUNGS.items() if hasattr(module, name)}
    for name in ("conv2d", "conv2d_relu", "conv2d_grad_x", "conv2d_grad_w", "conv_transpose2d")
}

CHANNELS_ENOUGH = 8  # fewer on either side, and transforming the pixels costs more than the products that it saves; ...
KERNELS_ENOUGH = 128  # ... so it does with few kernels, and ...
TILES_ENOUGH = {"winograd_f4": 16, "winograd_f2": 4}  # ... with few tiles, transforming the kernels


def choose(dtype, images: int, ins: int, outs: int, size: Pair, kernel_size: Pair, stride: Pair, dilation: Pair) -> str:
    """The fastest rung for windows that overlap: ``images`` of this many channels (of a group), ``size`` windows."""
    if is_precise() or not applies(dtype, kernel_size, stride, dilation):
        return "tile"
    if min(ins, outs) < CHANNELS_ENOUGH or ins * outs < KERNELS_ENOUGH:
        return "tile"
    for rung, m in (("winograd_f4", 4), ("winograd_f2", 2)):
        if images * -(-size[0] // m) * -(-size[1] // m) >= TILES_ENOUGH[rung]:
            return rung
    return "tile"


def rung_of(primitive: str, *args) -> str:
    """The rung that computes a primitive on these arguments."""
    match primitive, args:
        case "conv2d" | "conv2d_relu", (x, w, _, stride, padding, dilation, groups):
            images, outs, *size = shapes.conv2d(*args)
            ins, outs, kernel_size = w.shape[1], outs // groups, w.shape[2:]
        case "conv2d_grad_x", (x, w, x_shape, stride, padding, dilation, groups):
            images, ins, outs, size, kernel_size = len(x), len(w) // groups, w.shape[1], x_shape[2:], w.shape[2:]
        case "conv_transpose2d", (x, w, _, stride, padding, _, dilation, groups):
            images, outs, *size = shapes.conv_transpose2d(*args)
            ins, outs, kernel_size = len(w) // groups, outs // groups, w.shape[2:]
        case "conv2d_grad_w", (gy, x, w_shape, stride, padding, dilation, groups):
            images, ins, outs, size, kernel_size = len(gy), w_shape[1], w_shape[0] // groups, gy.shape[2:], w_shape[2:]
    if ins == outs == 1 and tuple(stride) == (1, 1):
        return "depthwise"
    if "patches" in VARIANTS[primitive] and conv_patches.applies(kernel_size, stride, padding, dilation):
        return "patches"
    return choose(x.dtype, images, ins, outs, size, kernel_size, stride, dilation)


def conv2d(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d"""
    args = x, w, b, stride, padding, dilation, groups
    return VARIANTS["conv2d"][rung_of("conv2d", *args)](*args)


def conv2d_relu(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d_relu. Sums are compared with 0 before they leave the registers."""
    args = x, w, b, stride, padding, dilation, groups
    return VARIANTS["conv2d_relu"][rung_of("conv2d_relu", *args)](*args)


def conv2d_grad_x(gy, w, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_x"""
    args = gy, w, x_shape, stride, padding, dilation, groups
    return VARIANTS["conv2d_grad_x"][rung_of("conv2d_grad_x", *args)](*args)


def conv2d_grad_w(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_w"""
    args = gy, x, w_shape, stride, padding, dilation, groups
    return VARIANTS["conv2d_grad_w"][rung_of("conv2d_grad_w", *args)](*args)


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
    args = x, w, b, stride, padding, output_padding, dilation, groups
    return VARIANTS["conv_transpose2d"][rung_of("conv_transpose2d", *args)](*args)
