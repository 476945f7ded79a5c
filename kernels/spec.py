"""The primitives: each name, signature, equation id and shape rule, declared once.

Every backend implements each primitive under the same name and signature, in a file named like the family. An annotation says what
an argument is:

    Floats    array of float32 or float64; all Floats of a call share one dtype, and so do the results
    Labels    array of integers (class labels, or the indices of max pooling)
    Pair      two numbers, one for rows and one for columns: kernels never see the short form ``3`` for ``(3, 3)``

``check`` is what the dispatcher runs before a kernel: kernels themselves may trust their arguments.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minseg.errors import DtypeError
from minseg.kernels import shapes

Pair = tuple[int, int]
Shape = tuple[int, ...]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Floats:
    """Marks a float array in a primitive's signature."""


class Labels:
    """Marks an integer array in a primitive's signature."""


@dataclass(frozen=True)
class Primitive:
    """One declared primitive: what every backend must implement, and what its arguments must satisfy."""

    name: str
    family: str
    equation: str
    signature: inspect.Signature
    shape_rule: Callable
    doc: str

    @cached_property
    def arrays(self) -> list[tuple[int, str, bool]]:
        """(position, name, is_float) of the arguments that are arrays."""
        found = []
        for position, (name, parameter) in enumerate(self.signature.parameters.items()):
            kinds = getattr(parameter.annotation, "__args__", (parameter.annotation,))
            if Floats in kinds or Labels in kinds:
                found.append((position, name, Floats in kinds))
        return found

    def check(self, *args):
        """Raise one clear line unless dtypes and shapes fit; return the shape (or shapes) of the output."""
        dtype = None
        for position, name, is_float in self.arrays:
            array = args[position]
            if array is None:
                continue
            if is_float and array.dtype not in FLOATS:
                raise DtypeError(f"{self.name}: {name} must be float32 or float64, got {array.dtype} [{self.equation}]")
            if not is_float and array.dtype.kind not in "iu":
                raise DtypeError(f"{self.name}: {name} must be an integer array, got {array.dtype} [{self.equation}]")
            if is_float:
                if dtype is not None and array.dtype != dtype:
                    raise DtypeError(
                        f"{self.name}: mixed dtypes, {dtype} and {array.dtype} ({name}); convert one of them [{self.equation}]"
                    )
                dtype = array.dtype
        return self.shape_rule(*args)


PRIMITIVES: dict[str, Primitive] = {}


def primitive(family: str, equation: str, shape_rule: Callable) -> Callable:
    """Declare the function below as a primitive; its body is only its docstring."""

    def declare(function: Callable) -> Callable:
        name = function.__name__
        PRIMITIVES[name] = Primitive(
            name, family, equation, inspect.signature(function), shape_rule, inspect.getdoc(function)
        )
        return function

    return declare


# ------------------------------------------------------------------------------------------------------------- conv.py


@primitive("conv", "conv.im2col", shapes.im2col)
def im2col(x: Floats, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair):
    """Every window of x as a column: cols (N, C*R*S, H'*W'); x = 0 outside."""


@primitive("conv", "conv.col2im", shapes.col2im)
def col2im(cols: Floats, x_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair):
    """The adjoint of im2col: each column's values added back to the pixels that they came from."""


@primitive("conv", "conv.corr2d", shapes.conv2d)
def conv2d(x: Floats, w: Floats, b: Floats | None, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """Cross-correlation of x (N, C, H, W) with w (O, C/groups, R, S), plus b (O,)."""


@primitive("conv", "conv.corr2d_relu", shapes.conv2d_relu)
def conv2d_relu(x: Floats, w: Floats, b: Floats | None, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """relu of conv2d in one pass; NaN stays NaN."""


@primitive("conv", "conv.grad_x", shapes.conv2d_grad_x)
def conv2d_grad_x(gy: Floats, w: Floats, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """Gradient of conv2d for its input."""


@primitive("conv", "conv.grad_w", shapes.conv2d_grad_w)
def conv2d_grad_w(gy: Floats, x: Floats, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """Gradient of conv2d for its kernels."""


@primitive("conv", "conv.grad_b", shapes.conv2d_grad_b)
def conv2d_grad_b(gy: Floats):
    """Gradient of conv2d for its bias: gy summed over samples and pixels."""


@primitive("conv", "conv.transpose2d", shapes.conv_transpose2d)
def conv_transpose2d(
    x: Floats,
    w: Floats,
    b: Floats | None,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
):
    """Transposed convolution of x (N, C, H, W) with w (C, O/groups, R, S): conv2d_grad_x plus b.

    Its own gradients need no primitives: for x it is conv2d of gy with w, for w it is conv2d_grad_w(x, gy), for b conv2d_grad_b.
    """


# ------------------------------------------------------------------------------------------------------------- pool.py


@primitive("pool", "pool.max2d", shapes.max_pool2d)
def max_pool2d(x: Floats, kernel_size: Pair, stride: Pair, padding: Pair):
    """Window maxima, and for each its flat index i*W + j in x as int32; the first index wins ties; -inf outside."""


@primitive("pool", "pool.max2d_grad", shapes.max_pool2d_grad_x)
def max_pool2d_grad_x(gy: Floats, indices: Labels, x_shape: Shape):
    """Each value of gy added to the pixel that was the maximum."""


@primitive("pool", "pool.unpool", shapes.max_unpool2d)
def max_unpool2d(x: Floats, indices: Labels, output_size: Pair):
    """x put back where indices say, zero elsewhere; values that name the same pixel add up."""


@primitive("pool", "pool.unpool_grad", shapes.max_unpool2d_grad_x)
def max_unpool2d_grad_x(gy: Floats, indices: Labels):
    """gy read at the indices."""


@primitive("pool", "pool.avg2d", shapes.avg_pool2d)
def avg_pool2d(x: Floats, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool):
    """Window means; padded zeros count in the divisor only with count_include_pad."""


@primitive("pool", "pool.avg2d_grad", shapes.avg_pool2d_grad_x)
def avg_pool2d_grad_x(
    gy: Floats, x_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, count_include_pad: bool
):
    """Each value of gy spread evenly over its window."""


@primitive("pool", "pool.adaptive_avg", shapes.adaptive_avg_pool2d)
def adaptive_avg_pool2d(x: Floats, output_size: Pair):
    """Means over floor(i H/H') ... ceil((i+1) H/H') - 1, for each output row i; likewise columns. 1x1 is the global mean."""


@primitive("pool", "pool.adaptive_avg_grad", shapes.adaptive_avg_pool2d_grad_x)
def adaptive_avg_pool2d_grad_x(gy: Floats, x_shape: Shape):
    """Each value of gy spread evenly over its window."""


# --------------------------------------------------------------------------------------------------------- resample.py


@primitive("resample", "up.nearest", shapes.resize_nearest)
def resize_nearest(x: Floats, size: Pair):
    """Pixel floor(i H/H') of x for output row i; likewise columns."""


@primitive("resample", "up.nearest_grad", shapes.resize_nearest_grad_x)
def resize_nearest_grad_x(gy: Floats, x_shape: Shape):
    """Each value of gy added to the pixel that it was copied from."""


@primitive("resample", "up.bilinear", shapes.resize_bilinear)
def resize_bilinear(x: Floats, size: Pair):
    """Bilinear interpolation at (i + 0.5) H/H' - 0.5, clamped at 0 below; the last row and column repeat beyond the border."""


@primitive("resample", "up.bilinear_grad", shapes.resize_bilinear_grad_x)
def resize_bilinear_grad_x(gy: Floats, x_shape: Shape):
    """Each value of gy shared among its four pixels with the same weights."""


# ----------------------------------------------------------------------------------------------------------- linear.py


@primitive("linear", "dense.affine", shapes.linear)
def linear(x: Floats, w: Floats, b: Floats | None):
    """x (N, I) times w (O, I) transposed, plus b (O,)."""


@primitive("linear", "dense.grad_x", shapes.linear_grad_x)
def linear_grad_x(gy: Floats, w: Floats):
    """gy (N, O) times w (O, I)."""


@primitive("linear", "dense.grad_w", shapes.linear_grad_w)
def linear_grad_w(gy: Floats, x: Floats):
    """gy (N, O) transposed times x (N, I)."""


@primitive("linear", "dense.grad_b", shapes.linear_grad_b)
def linear_grad_b(gy: Floats):
    """gy summed over the samples."""


# ------------------------------------------------------------------------------------------------------- activation.py


@primitive("activation", "act.relu", shapes.elementwise)
def relu(x: Floats):
    """max(0, x); NaN stays NaN."""


@primitive("activation", "act.relu_grad", shapes.elementwise_grad)
def relu_grad_x(gy: Floats, y: Floats):
    """gy where y > 0, else 0 (also at 0, by convention)."""


@primitive("activation", "act.sigmoid", shapes.elementwise)
def sigmoid(x: Floats):
    """1 / (1 + exp(-x)), without overflow for large negative x."""


@primitive("activation", "act.sigmoid_grad", shapes.elementwise_grad)
def sigmoid_grad_x(gy: Floats, y: Floats):
    """gy y (1 - y)."""


@primitive("activation", "act.tanh", shapes.elementwise)
def tanh(x: Floats):
    """Hyperbolic tangent, without overflow."""


@primitive("activation", "act.tanh_grad", shapes.elementwise_grad)
def tanh_grad_x(gy: Floats, y: Floats):
    """gy (1 - y^2)."""


# ---------------------------------------------------------------------------------------------------------- softmax.py


@primitive("softmax", "act.softmax", shapes.along_axis)
def softmax(x: Floats, axis: int):
    """exp(x - m) over its sum along the axis, with m the maximum."""


@primitive("softmax", "act.softmax_grad", shapes.along_axis_grad)
def softmax_grad_x(gy: Floats, y: Floats, axis: int):
    """y (gy - sum of gy y along the axis)."""


@primitive("softmax", "act.log_softmax", shapes.along_axis)
def log_softmax(x: Floats, axis: int):
    """x - m - log sum exp(x - m) along the axis."""


@primitive("softmax", "act.log_softmax_grad", shapes.along_axis_grad)
def log_softmax_grad_x(gy: Floats, y: Floats, axis: int):
    """gy - exp(y) sum of gy along the axis."""


# -------------------------------------------------------------------------------------------------------- attention.py


@primitive("attention", "att.attention", shapes.attention)
def attention(q: Floats, k: Floats, v: Floats):
    """For q (B, M, d), k (B, N, d), v (B, N, C): the mixtures (B, M, C), and log sum exp of each query's scores (B, M)."""


@primitive("attention", "att.grad_q", shapes.attention_grad)
def attention_grad(gy: Floats, q: Floats, k: Floats, v: Floats, y: Floats, lse: Floats):
    """Gradients of the mixtures y for q, k and v; the weights exp(s - lse) are computed again."""


# ------------------------------------------------------------------------------------------------------------- norm.py


@primitive("norm", "norm.batch_stats", shapes.batch_norm_stats)
def batch_norm_stats(x: Floats):
    """Mean and biased variance of each channel over samples and pixels."""


@primitive("norm", "norm.batch", shapes.batch_norm)
def batch_norm(x: Floats, mean: Floats, var: Floats, weight: Floats | None, bias: Floats | None, eps: float):
    """weight (x - mean) / sqrt(var + eps) + bias, for each channel."""


@primitive("norm", "norm.batch_grad", shapes.batch_norm_grad)
def batch_norm_grad(gy: Floats, x: Floats, mean: Floats, var: Floats, weight: Floats | None, eps: float):
    """Gradients for x, weight and bias where mean and var are x's own statistics (training)."""


@primitive("norm", "norm.batch_eval_grad", shapes.batch_norm_grad)
def batch_norm_eval_grad(gy: Floats, x: Floats, mean: Floats, var: Floats, weight: Floats | None, eps: float):
    """Gradients for x, weight and bias where mean and var are constants (evaluation)."""


@primitive("norm", "norm.batch_relu", shapes.batch_norm_relu)
def batch_norm_relu(x: Floats, mean: Floats, var: Floats, weight: Floats | None, bias: Floats | None, eps: float):
    """relu of batch_norm in one pass: max(0, weight (x - mean) / sqrt(var + eps) + bias); NaN stays NaN."""


@primitive("norm", "norm.batch_relu_grad", shapes.batch_norm_relu_grad)
def batch_norm_relu_grad(
    gy: Floats, x: Floats, mean: Floats, var: Floats, weight: Floats | None, bias: Floats | None, eps: float
):
    """batch_norm_grad of gy where batch_norm of x is > 0, else of 0: where that was is computed again, nothing but x is kept."""


@primitive("norm", "norm.batch_relu_eval_grad", shapes.batch_norm_relu_grad)
def batch_norm_relu_eval_grad(
    gy: Floats, x: Floats, mean: Floats, var: Floats, weight: Floats | None, bias: Floats | None, eps: float
):
    """batch_norm_eval_grad of gy where batch_norm of x is > 0, else of 0."""


# ------------------------------------------------------------------------------------------------------------- loss.py
# Losses are given pixel by pixel; minseg.ops.loss takes the mean. Labels are trusted: the operation has checked them.


@primitive("loss", "loss.ce", shapes.cross_entropy)
def cross_entropy(z: Floats, target: Labels, weight: Floats | None, ignore_index: int):
    """weight[t] (lse - z_t) at each pixel, 0 where t is ignored; and lse = log sum exp z over the classes."""


@primitive("loss", "loss.ce_grad", shapes.cross_entropy_grad_z)
def cross_entropy_grad_z(g: Floats, z: Floats, lse: Floats, target: Labels, weight: Floats | None, ignore_index: int):
    """g weight[t] (exp(z - lse) - onehot(t)) at each pixel, 0 where t is ignored; g (N, H, W)."""


@primitive("loss", "loss.bce_logits", shapes.pair_loss)
def binary_cross_entropy_with_logits(z: Floats, target: Floats):
    """max(0, z) - z y + log(1 + exp(-|z|)), element by element."""


@primitive("loss", "loss.bce_logits_grad", shapes.pair_loss_grad)
def binary_cross_entropy_with_logits_grad_z(g: Floats, z: Floats, target: Floats):
    """g (sigmoid(z) - y)."""


@primitive("loss", "loss.mse", shapes.pair_loss)
def mse_loss(a: Floats, target: Floats):
    """(a - y)^2, element by element."""


@primitive("loss", "loss.mse_grad", shapes.pair_loss_grad)
def mse_loss_grad_a(g: Floats, a: Floats, target: Floats):
    """2 g (a - y)."""


@primitive("loss", "loss.dice_sums", shapes.dice_sums)
def dice_sums(p: Floats, target: Labels, first_label: int, ignore_index: int):
    """For each channel k, over all pixels not ignored: (sum of p g, sum of p, sum of g), g = [target = first_label + k]. (3, K)

    ``first_label`` is 0 where channel k stands for class k, and 1 for a single channel that is the foreground's probability.
    """


@primitive("loss", "loss.dice_sums_grad", shapes.dice_sums_grad_p)
def dice_sums_grad_p(g: Floats, p: Floats, target: Labels, first_label: int, ignore_index: int):
    """g[0, k] [target = first_label + k] + g[1, k] at each pixel, 0 where it is ignored; g is the gradient for dice_sums."""


# ------------------------------------------------------------------------------------------------------------ optim.py


@primitive("optim", "opt.momentum_v", shapes.sgd_update)
def sgd_update(
    p: Floats,
    g: Floats,
    v: Floats,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
):
    """New p and v: g' = g + weight_decay p; v' = momentum v + (1 - dampening) g'; p' = p - lr v' (Nesterov: g' + momentum v')."""


@primitive("optim", "opt.rmsprop", shapes.rmsprop_update)
def rmsprop_update(p: Floats, g: Floats, v: Floats, lr: float, alpha: float, eps: float, weight_decay: float):
    """New p and v: g' = g + weight_decay p; v' = alpha v + (1 - alpha) g'^2; p' = p - lr g' / (sqrt(v') + eps)."""


@primitive("optim", "opt.adam", shapes.adam_update)
def adam_update(
    p: Floats,
    g: Floats,
    m: Floats,
    v: Floats,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
):
    """New p, m and v after update number ``step`` (the first is 1); weight_decay is added to g, as in PyTorch's Adam."""
