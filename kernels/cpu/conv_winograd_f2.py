"""Fourth rung: Winograd's F(2x2, 3x3), 16 products where the definition takes 36.

Changed from conv_tile.py: every tile of 2 x 2 outputs is computed from transformed pixels and kernels, position by position (see
conv_winograd.py); the points are 0, 1, -1 and infinity, so that the transforms only add, subtract and halve.

Faster than the tile rung where there are many channels and enough tiles; the next rung is faster still unless maps are small, for
then most of the time goes into transforming the kernels, 16 numbers each instead of 36. Rounds about as the definition does.
"""

from numba.extending import overload

from minseg.kernels import shapes
from minseg.kernels.cpu import conv_winograd
from minseg.kernels.cpu.conv_winograd import Tiles, expect_domain, transform_gradient, transform_pixels, transform_sums
from minseg.kernels.spec import Pair, Shape


class F2(Tiles):
    """Tiles of 2 x 2 outputs, each from 4 x 4 pixels."""

    m = 2


@overload(transform_pixels)
def _transform_pixels(d):
    def four(d):
        d0, d1, d2, d3 = d
        return d0 - d2, d1 + d2, d2 - d1, d3 - d1

    return four if d.count == 4 else None


@overload(transform_sums)
def _transform_sums(s):
    def four_to_two(s):
        s0, s1, s2, s3 = s
        return s0 + s1 + s2, s1 - s2 + s3

    return four_to_two if s.count == 4 else None


@overload(transform_gradient)
def _transform_gradient(y):
    def two_to_four(y):
        y0, y1 = y
        return y0, y0 + y1, y0 - y1, y1

    return two_to_four if y.count == 2 else None


def conv2d(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d, conv.winograd_f2"""
    expect_domain("winograd_f2", x.dtype, w.shape[2:], stride, dilation)
    y_shape = shapes.conv2d(x, w, b, stride, padding, dilation, groups)
    return conv_winograd.conv2d(F2, x, w, b, padding, groups, y_shape)


def conv2d_relu(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d_relu"""
    expect_domain("winograd_f2", x.dtype, w.shape[2:], stride, dilation)
    y_shape = shapes.conv2d(x, w, b, stride, padding, dilation, groups)
    return conv_winograd.conv2d(F2, x, w, b, padding, groups, y_shape, least=0)


def conv2d_grad_x(gy, w, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_x"""
    expect_domain("winograd_f2", gy.dtype, w.shape[2:], stride, dilation)
    return conv_winograd.transposed(F2, gy, w, None, padding, groups, x_shape)


def conv2d_grad_w(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_w"""
    expect_domain("winograd_f2", x.dtype, w_shape[2:], stride, dilation)
    return conv_winograd.conv2d_grad_w(F2, gy, x, w_shape, padding, groups)


def conv_transpose2d(x, w, b, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair, groups: int):
    """eq: conv.transpose2d"""
    expect_domain("winograd_f2", x.dtype, w.shape[2:], stride, dilation)
    y_shape = shapes.conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups)
    return conv_winograd.transposed(F2, x, w, b, padding, groups, y_shape)
