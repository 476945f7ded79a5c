"""Fifth rung: Winograd's F(4x4, 3x3), 36 products where the definition takes 144.

Changed: tiles of 4 x 4 outputs instead of 2 x 2, for which two more points are needed: 0, 1, -1, 2, -2 and infinity.

Faster because products, which are most of the time where there are many channels, are four times fewer than in the tile rung: 3x3
convolutions of 16 channels at 128x128 and 64 at 32x32 take 0.63 and 0.41 of that rung's time.
Price: fewer channels than about 16 do not pay for the transforms; and the powers of 2 make roundings about ten times those of the
definition (the bound is in minseg/testing/conformance.py, and ``precise`` leaves this rung out).
"""

from numba.extending import overload

from minseg.kernels import shapes
from minseg.kernels.cpu import conv_winograd
from minseg.kernels.cpu.conv_winograd import Tiles, expect_domain, transform_gradient, transform_pixels, transform_sums
from minseg.kernels.cpu.simd import splat_like
from minseg.kernels.spec import Pair, Shape


class F4(Tiles):
    """Tiles of 4 x 4 outputs."""

    m = 4


@overload(transform_pixels)
def _transform_pixels(d):
    def six(d):
        d0, d1, d2, d3, d4, d5 = d
        two, four, five = splat_like(d0, 2), splat_like(d0, 4), splat_like(d0, 5)
        s, t = d4 - four * d2, d3 - four * d1
        u, v = d4 - d2, two * (d3 - d1)
        return four * d0 - five * d2 + d4, s + t, s - t, u + v, u - v, four * d1 - five * d3 + d5

    return six if d.count == 6 else None


@overload(transform_sums)
def _transform_sums(s):
    def six(s):
        s0, s1, s2, s3, s4, s5 = s
        two, four, eight = splat_like(s0, 2), splat_like(s0, 4), splat_like(s0, 8)
        a, b = s1 + s2, s1 - s2
        c, d = s3 + s4, s3 - s4
        return s0 + a + c, b + two * d, a + four * c, b + eight * d + s5

    return six if s.count == 6 else None


@overload(transform_gradient)
def _transform_gradient(y):
    def four_to_six(y):
        y0, y1, y2, y3 = y
        two, four, eight = splat_like(y0, 2), splat_like(y0, 4), splat_like(y0, 8)
        a, b = y0 + y2, y1 + y3
        c, d = y0 + four * y2, two * y1 + eight * y3
        return y0, a + b, a - b, c + d, c - d, y3

    return four_to_six if y.count == 4 else None


def conv2d(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d, conv.winograd_f4"""
    expect_domain("winograd_f4", x.dtype, w.shape[2:], stride, dilation)
    y_shape = shapes.conv2d(x, w, b, stride, padding, dilation, groups)
    return conv_winograd.conv2d(F4, x, w, b, padding, groups, y_shape)


def conv2d_relu(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d_relu"""
    expect_domain("winograd_f4", x.dtype, w.shape[2:], stride, dilation)
    y_shape = shapes.conv2d(x, w, b, stride, padding, dilation, groups)
    return conv_winograd.conv2d(F4, x, w, b, padding, groups, y_shape, least=0)


def conv2d_grad_x(gy, w, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_x"""
    expect_domain("winograd_f4", gy.dtype, w.shape[2:], stride, dilation)
    return conv_winograd.transposed(F4, gy, w, None, padding, groups, x_shape)


def conv2d_grad_w(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_w"""
    expect_domain("winograd_f4", x.dtype, w_shape[2:], stride, dilation)
    return conv_winograd.conv2d_grad_w(F4, gy, x, w_shape, padding, groups)


def conv_transpose2d(x, w, b, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair, groups: int):
    """eq: conv.transpose2d"""
    expect_domain("winograd_f4", x.dtype, w.shape[2:], stride, dilation)
    y_shape = shapes.conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups)
    return conv_winograd.transposed(F4, x, w, b, padding, groups, y_shape)
