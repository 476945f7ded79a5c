"""Output sizes, and the errors for shapes that do not fit: nowhere else.

One function for each primitive of ``spec.py``, with the primitive's own arguments. It returns the shape of the output (a tuple
of shapes where there are several) or raises ShapeError with the shapes that came and the equation id.
"""

from functools import lru_cache
from typing import NamedTuple

from minseg.errors import ArgumentError, ShapeError

Shape = tuple[int, ...]
Pair = tuple[int, int]


# ------------------------------------------------------------------------------------------------ sizes along one side


def conv_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Windows that fit along one side: floor((H + 2P - d(R-1) - 1) / s) + 1.  eq: conv.size"""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def conv_transpose_size(size: int, kernel: int, stride: int, padding: int, output_padding: int, dilation: int) -> int:
    """Side of a transposed convolution: (H-1)s - 2P + d(R-1) + a + 1.  eq: conv.transpose_size"""
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1


# ---------------------------------------------------------------------------------------------------- small assertions


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise ShapeError(message)


def expect_ndim(where: str, array, ndim: int, layout: str) -> None:
    expect(array.ndim == ndim, f"{where}: expected {ndim} dimensions {layout}, got shape {array.shape}")


def expect_images(where: str, x) -> None:
    """(N, C, H, W) with at least one channel and one pixel. An empty batch has no windows either, so it is refused too."""
    expect_ndim(where, x, 4, "(N, C, H, W)")
    expect(min(x.shape) >= 1, f"{where}: every side must be at least 1, got shape {x.shape}")


def expect_same(where: str, a, b, what: str) -> None:
    expect(a.shape == b.shape, f"{where}: {what} must have the same shape, got {a.shape} and {b.shape}")


def expect_window(where: str, stride: Pair, padding: Pair, dilation: Pair = (1, 1)) -> None:
    for name, values, least in (("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)):
        if min(values) < least:
            raise ArgumentError(f"{where}: {name} must be at least {least}, got {values}")


def expect_output(where: str, size: Pair, came_from: str) -> None:
    expect(
        min(size) >= 1, f"{where}: the output would be {size[0]}x{size[1]}; {came_from}. Use a larger input or padding"
    )


# ------------------------------------------------------------------------------------------------------------- conv.py


def _conv_output(where: str, x_shape: Shape, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    expect_window(where, stride, padding, dilation)
    expect(min(kernel) >= 1, f"{where}: the kernel must be at least 1x1, got {kernel[0]}x{kernel[1]}")
    out = tuple(map(conv_size, x_shape[2:], kernel, stride, padding, dilation))
    expect_output(
        where, out, f"x {x_shape}, kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation} [conv.size]"
    )
    return out


def _conv_check(eq: str, where: str, x_shape: Shape, w_shape: Shape, b, groups: int) -> None:
    """Channels, groups and bias of a convolution of x with w (O, C/groups, R, S)."""
    expect(len(w_shape) == 4, f"{where}: w must have 4 dimensions (O, C/groups, R, S), got shape {w_shape} [{eq}]")
    expect(min(w_shape) >= 1, f"{where}: every side of w must be at least 1, got shape {w_shape} [{eq}]")
    if groups < 1 or x_shape[1] % groups or w_shape[0] % groups:
        raise ArgumentError(
            f"{where}: groups={groups} must divide the {x_shape[1]} input and the {w_shape[0]} output channels; "
            f"x {x_shape}, w {w_shape} [{eq}]"
        )
    share = f" x {groups} groups" if groups > 1 else ""
    expect(
        x_shape[1] == w_shape[1] * groups,
        f"{where}: x has {x_shape[1]} channels, w expects {w_shape[1]}{share}; x {x_shape}, w {w_shape} [{eq}]",
    )
    if b is not None:
        expect(
            b.shape == (w_shape[0],),
            f"{where}: b must have shape ({w_shape[0]},) for w {w_shape}, got {b.shape} [{eq}]",
        )


def im2col(x, kernel_size, stride, padding, dilation) -> Shape:
    expect_images("im2col", x)
    rows, columns = _conv_output("im2col", x.shape, kernel_size, stride, padding, dilation)
    return x.shape[0], x.shape[1] * kernel_size[0] * kernel_size[1], rows * columns


def col2im(cols, x_shape, kernel_size, stride, padding, dilation) -> Shape:
    expect_ndim("col2im", cols, 3, "(N, C*R*S, H'*W')")
    rows, columns = _conv_output("col2im", x_shape, kernel_size, stride, padding, dilation)
    wanted = (x_shape[0], x_shape[1] * kernel_size[0] * kernel_size[1], rows * columns)
    expect(
        cols.shape == wanted, f"col2im: cols must have shape {wanted} for x {x_shape}, got {cols.shape} [conv.col2im]"
    )
    return tuple(x_shape)


class _Shaped(NamedTuple):
    """What a rule looks at in an array."""

    shape: Shape

    @property
    def ndim(self) -> int:
        return len(self.shape)


@lru_cache(maxsize=4096)  # a network asks for its own few again and again, each several times on the way to a kernel
def _conv2d(where: str, eq: str, x: _Shaped, w: _Shaped, b: _Shaped | None, stride, padding, dilation, groups) -> Shape:
    expect_images(where, x)
    _conv_check(eq, where, x.shape, w.shape, b, groups)
    return (x.shape[0], w.shape[0], *_conv_output(where, x.shape, w.shape[2:], stride, padding, dilation))


def conv2d(x, w, b, stride, padding, dilation, groups, where: str = "conv2d", eq: str = "conv.corr2d") -> Shape:
    b = None if b is None else _Shaped(b.shape)
    window = tuple(stride), tuple(padding), tuple(dilation), groups
    return _conv2d(where, eq, _Shaped(x.shape), _Shaped(w.shape), b, *window)


def conv2d_relu(x, w, b, stride, padding, dilation, groups) -> Shape:
    return conv2d(x, w, b, stride, padding, dilation, groups, "conv2d_relu", "conv.corr2d_relu")


@lru_cache(maxsize=4096)
def _conv_grad_check(
    where: str, gy_shape: Shape, x_shape: Shape, w_shape: Shape, stride, padding, dilation, groups, eq: str
) -> None:
    _conv_check(eq, where, x_shape, w_shape, None, groups)
    wanted = (x_shape[0], w_shape[0], *_conv_output(where, x_shape, w_shape[2:], stride, padding, dilation))
    expect(
        gy_shape == wanted, f"{where}: gy must have shape {wanted} for x {x_shape}, w {w_shape}; got {gy_shape} [{eq}]"
    )


def conv2d_grad_x(gy, w, x_shape, stride, padding, dilation, groups) -> Shape:
    window = tuple(stride), tuple(padding), tuple(dilation), groups
    _conv_grad_check("conv2d_grad_x", gy.shape, tuple(x_shape), w.shape, *window, "conv.grad_x")
    return tuple(x_shape)


def conv2d_grad_w(gy, x, w_shape, stride, padding, dilation, groups) -> Shape:
    window = tuple(stride), tuple(padding), tuple(dilation), groups
    _conv_grad_check("conv2d_grad_w", gy.shape, x.shape, tuple(w_shape), *window, "conv.grad_w")
    return tuple(w_shape)


def conv2d_grad_b(gy) -> Shape:
    expect_images("conv2d_grad_b", gy)
    return (gy.shape[1],)


def conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups) -> Shape:
    b = None if b is None else _Shaped(b.shape)
    window = tuple(stride), tuple(padding), tuple(output_padding), tuple(dilation), groups
    return _conv_transpose2d(_Shaped(x.shape), _Shaped(w.shape), b, *window)


@lru_cache(maxsize=4096)
def _conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups) -> Shape:
    where, eq = "conv_transpose2d", "conv.transpose2d"
    expect_images(where, x)
    expect(w.ndim == 4, f"{where}: w must have 4 dimensions (C, O/groups, R, S), got shape {w.shape} [{eq}]")
    expect(min(w.shape) >= 1, f"{where}: every side of w must be at least 1, got shape {w.shape} [{eq}]")
    expect_window(where, stride, padding, dilation)
    if min(output_padding) < 0 or output_padding[0] >= stride[0] or output_padding[1] >= stride[1]:
        raise ArgumentError(
            f"{where}: output_padding must be at least 0 and below the stride {stride}, got {output_padding}"
        )
    if groups < 1 or x.shape[1] % groups:
        raise ArgumentError(f"{where}: groups={groups} must divide the {x.shape[1]} input channels; x {x.shape} [{eq}]")
    expect(
        x.shape[1] == w.shape[0],
        f"{where}: x has {x.shape[1]} channels, w expects {w.shape[0]}; x {x.shape}, w {w.shape} [{eq}]",
    )
    channels = w.shape[1] * groups
    if b is not None:
        expect(
            b.shape == (channels,), f"{where}: b must have shape ({channels},) for w {w.shape}, got {b.shape} [{eq}]"
        )
    out = tuple(map(conv_transpose_size, x.shape[2:], w.shape[2:], stride, padding, output_padding, dilation))
    expect_output(where, out, f"x {x.shape}, w {w.shape}, stride {stride}, padding {padding} [conv.transpose_size]")
    return (x.shape[0], channels, *out)


# ------------------------------------------------------------------------------------------------------------- pool.py


def _pool_output(where: str, x_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair) -> Pair:
    if padding[0] > kernel_size[0] // 2 or padding[1] > kernel_size[1] // 2:
        raise ArgumentError(
            f"{where}: padding {padding} must be at most half of the window {kernel_size}, or a window would see no pixel"
        )
    return _conv_output(where, x_shape, kernel_size, stride, padding, (1, 1))


def max_pool2d(x, kernel_size, stride, padding) -> tuple[Shape, Shape]:
    expect_images("max_pool2d", x)
    out = (*x.shape[:2], *_pool_output("max_pool2d", x.shape, kernel_size, stride, padding))
    return out, out


def max_pool2d_grad_x(gy, indices, x_shape) -> Shape:
    expect_same("max_pool2d_grad_x", gy, indices, "gy and indices")
    expect(
        gy.shape[:2] == tuple(x_shape[:2]), f"max_pool2d_grad_x: gy {gy.shape} does not belong to x {tuple(x_shape)}"
    )
    return tuple(x_shape)


def max_unpool2d(x, indices, output_size) -> Shape:
    expect_images("max_unpool2d", x)
    expect_same("max_unpool2d", x, indices, "x and indices")
    expect_output("max_unpool2d", output_size, f"output_size {output_size}")
    return (*x.shape[:2], *output_size)


def max_unpool2d_grad_x(gy, indices) -> Shape:
    expect_images("max_unpool2d_grad_x", gy)
    expect(
        gy.shape[:2] == indices.shape[:2],
        f"max_unpool2d_grad_x: gy and indices need the same N and C, got {gy.shape} and {indices.shape}",
    )
    return indices.shape


def avg_pool2d(x, kernel_size, stride, padding, count_include_pad) -> Shape:
    expect_images("avg_pool2d", x)
    return (*x.shape[:2], *_pool_output("avg_pool2d", x.shape, kernel_size, stride, padding))


def avg_pool2d_grad_x(gy, x_shape, kernel_size, stride, padding, count_include_pad) -> Shape:
    wanted = (*x_shape[:2], *_pool_output("avg_pool2d_grad_x", x_shape, kernel_size, stride, padding))
    expect(gy.shape == wanted, f"avg_pool2d_grad_x: gy must have shape {wanted} for x {tuple(x_shape)}, got {gy.shape}")
    return tuple(x_shape)


def adaptive_avg_pool2d(x, output_size) -> Shape:
    expect_images("adaptive_avg_pool2d", x)
    expect_output("adaptive_avg_pool2d", output_size, f"output_size {output_size}")
    return (*x.shape[:2], *output_size)


def adaptive_avg_pool2d_grad_x(gy, x_shape) -> Shape:
    expect_images("adaptive_avg_pool2d_grad_x", gy)
    expect(
        gy.shape[:2] == tuple(x_shape[:2]), f"adaptive_avg_pool2d_grad_x: gy {gy.shape} does not belong to x {x_shape}"
    )
    return tuple(x_shape)


# --------------------------------------------------------------------------------------------------------- resample.py


def resize_nearest(x, size) -> Shape:
    expect_images("resize_nearest", x)
    expect_output("resize_nearest", size, f"size {size}")
    return (*x.shape[:2], *size)


def resize_bilinear(x, size) -> Shape:
    expect_images("resize_bilinear", x)
    expect_output("resize_bilinear", size, f"size {size}")
    return (*x.shape[:2], *size)


def _resize_grad(where: str, gy, x_shape: Shape) -> Shape:
    expect_images(where, gy)
    expect(gy.shape[:2] == tuple(x_shape[:2]), f"{where}: gy {gy.shape} does not belong to x {tuple(x_shape)}")
    return tuple(x_shape)


def resize_nearest_grad_x(gy, x_shape) -> Shape:
    return _resize_grad("resize_nearest_grad_x", gy, x_shape)


def resize_bilinear_grad_x(gy, x_shape) -> Shape:
    return _resize_grad("resize_bilinear_grad_x", gy, x_shape)


# ----------------------------------------------------------------------------------------------------------- linear.py


def linear(x, w, b) -> Shape:
    expect_ndim("linear", x, 2, "(N, I)")
    expect_ndim("linear", w, 2, "(O, I)")
    expect(
        x.shape[1] == w.shape[1],
        f"linear: x has {x.shape[1]} features, w expects {w.shape[1]}; x {x.shape}, w {w.shape} [dense.affine]",
    )
    if b is not None:
        expect(b.shape == (w.shape[0],), f"linear: b must have shape ({w.shape[0]},), got {b.shape} [dense.affine]")
    return x.shape[0], w.shape[0]


def linear_grad_x(gy, w) -> Shape:
    expect_ndim("linear_grad_x", gy, 2, "(N, O)")
    expect(gy.shape[1] == w.shape[0], f"linear_grad_x: gy {gy.shape} does not belong to w {w.shape} [dense.grad_x]")
    return gy.shape[0], w.shape[1]


def linear_grad_w(gy, x) -> Shape:
    expect_ndim("linear_grad_w", gy, 2, "(N, O)")
    expect(gy.shape[0] == x.shape[0], f"linear_grad_w: gy {gy.shape} does not belong to x {x.shape} [dense.grad_w]")
    return gy.shape[1], x.shape[1]


def linear_grad_b(gy) -> Shape:
    expect_ndim("linear_grad_b", gy, 2, "(N, O)")
    return (gy.shape[1],)


# ---------------------------------------------------------------------------------------- activation.py and softmax.py


def elementwise(x) -> Shape:
    return x.shape


def elementwise_grad(gy, y) -> Shape:
    expect_same("activation gradient", gy, y, "gy and y")
    return y.shape


def along_axis(x, axis) -> Shape:
    if not -x.ndim <= axis < x.ndim:
        raise ArgumentError(f"softmax: axis {axis} is not an axis of shape {x.shape} [act.softmax]")
    expect(x.shape[axis] >= 1, f"softmax: axis {axis} of shape {x.shape} is empty [act.softmax]")
    return x.shape


def along_axis_grad(gy, y, axis) -> Shape:
    expect_same("softmax gradient", gy, y, "gy and y")
    return along_axis(y, axis)


# -------------------------------------------------------------------------------------------------------- attention.py


def attention(q, k, v) -> tuple[Shape, Shape]:
    shapes = f"got q {q.shape}, k {k.shape} and v {v.shape} [att.attention]"
    wanted = "attention: expected q (B, M, d), k (B, N, d) and v (B, N, C), none of them empty,"
    expect(q.ndim == k.ndim == v.ndim == 3 and min(*q.shape, *k.shape, *v.shape) >= 1, f"{wanted} {shapes}")
    expect(len(q) == len(k) == len(v) and q.shape[2] == k.shape[2] and k.shape[1] == v.shape[1], f"{wanted} {shapes}")
    return (*q.shape[:2], v.shape[2]), q.shape[:2]


def attention_grad(gy, q, k, v, y, lse) -> tuple[Shape, Shape, Shape]:
    y_shape, lse_shape = attention(q, k, v)
    expect(
        gy.shape == y.shape == y_shape and lse.shape == lse_shape,
        f"attention_grad: expected gy and y {y_shape} and lse {lse_shape}, got {gy.shape}, {y.shape} and {lse.shape} [att.grad_q]",
    )
    return q.shape, k.shape, v.shape


# ------------------------------------------------------------------------------------------------------------- norm.py


def _per_channel(where: str, x, **arrays) -> None:
    expect_images(where, x)
    for name, array in arrays.items():
        if array is not None:
            expect(
                array.shape == (x.shape[1],),
                f"{where}: {name} must have one value for each of the {x.shape[1]} channels of x {x.shape}, got {array.shape}",
            )


def batch_norm_stats(x) -> tuple[Shape, Shape]:
    expect_images("batch_norm_stats", x)
    return (x.shape[1],), (x.shape[1],)


def batch_norm(x, mean, var, weight, bias, eps) -> Shape:
    _per_channel("batch_norm", x, mean=mean, var=var, weight=weight, bias=bias)
    return x.shape


def batch_norm_grad(gy, x, mean, var, weight, eps) -> tuple[Shape, Shape, Shape]:
    expect_same("batch_norm_grad", gy, x, "gy and x")
    _per_channel("batch_norm_grad", x, mean=mean, var=var, weight=weight)
    return x.shape, (x.shape[1],), (x.shape[1],)


def batch_norm_relu(x, mean, var, weight, bias, eps) -> Shape:
    _per_channel("batch_norm_relu", x, mean=mean, var=var, weight=weight, bias=bias)
    return x.shape


def batch_norm_relu_grad(gy, x, mean, var, weight, bias, eps) -> tuple[Shape, Shape, Shape]:
    expect_same("batch_norm_relu_grad", gy, x, "gy and x")
    _per_channel("batch_norm_relu_grad", x, mean=mean, var=var, weight=weight, bias=bias)
    return x.shape, (x.shape[1],), (x.shape[1],)


# ------------------------------------------------------------------------------------------------------------- loss.py


def _pixels(where: str, z, target) -> None:
    expect_ndim(where, z, 4, "(N, K, H, W)")
    expect(min(z.shape) >= 1, f"{where}: every side must be at least 1, got shape {z.shape}")
    wanted = (z.shape[0], *z.shape[2:])
    expect(
        target.shape == wanted,
        f"{where}: target must have shape {wanted}, one label for each pixel of {z.shape}, got {target.shape}",
    )


def cross_entropy(z, target, weight, ignore_index) -> tuple[Shape, Shape]:
    _pixels("cross_entropy", z, target)
    if weight is not None:
        expect(
            weight.shape == (z.shape[1],),
            f"cross_entropy: weight needs one value for each of the {z.shape[1]} classes, got {weight.shape} [loss.ce_weighted]",
        )
    return target.shape, target.shape


def cross_entropy_grad_z(g, z, lse, target, weight, ignore_index) -> Shape:
    cross_entropy(z, target, weight, ignore_index)
    expect_same("cross_entropy_grad_z", g, target, "g and target")
    expect_same("cross_entropy_grad_z", lse, target, "lse and target")
    return z.shape


def pair_loss(z, target) -> Shape:
    expect_same("loss", z, target, "prediction and target")
    return z.shape


def pair_loss_grad(g, z, target) -> Shape:
    expect_same("loss", z, target, "prediction and target")
    expect_same("loss gradient", g, z, "g and the prediction")
    return z.shape


def dice_sums(p, target, first_label, ignore_index) -> Shape:
    _pixels("dice_sums", p, target)
    return 3, p.shape[1]


def dice_sums_grad_p(g, p, target, first_label, ignore_index) -> Shape:
    _pixels("dice_sums_grad_p", p, target)
    expect(g.shape == (3, p.shape[1]), f"dice_sums_grad_p: g must have shape (3, {p.shape[1]}), got {g.shape}")
    return p.shape


# ------------------------------------------------------------------------------------------------------------ optim.py


def _like(where: str, p, **arrays) -> None:
    for name, array in arrays.items():
        expect(array.shape == p.shape, f"{where}: {name} {array.shape} must have the shape of the parameter {p.shape}")


def sgd_update(p, g, v, lr, momentum, dampening, weight_decay, nesterov) -> tuple[Shape, Shape]:
    _like("sgd_update", p, g=g, v=v)
    return p.shape, p.shape


def rmsprop_update(p, g, v, lr, alpha, eps, weight_decay) -> tuple[Shape, Shape]:
    _like("rmsprop_update", p, g=g, v=v)
    return p.shape, p.shape


def adam_update(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay) -> tuple[Shape, Shape, Shape]:
    _like("adam_update", p, g=g, m=m, v=v)
    return p.shape, p.shape, p.shape
