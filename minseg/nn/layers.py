"""Layers: an operation of ``minseg.ops`` together with the weights that it learns. Names, arguments and defaults are PyTorch's.

Initial weights differ from PyTorch's: He's normal distribution (``init.he``) and zero biases, because ReLU follows almost every
layer here. A layer draws them from ``rng``; a model hands one generator to all its layers, so that one seed fixes them all. Without
``rng`` a layer draws from the system's entropy, never from a shared hidden state.
"""

import math
from collections.abc import Callable

import numpy as np

from minseg import autograd, backend, ops
from minseg.autograd import Parameter, Tensor
from minseg.errors import ArgumentError, ShapeError
from minseg.nn import init
from minseg.nn.module import Module
from minseg.ops.arguments import choice, expect_tensor, integer, pair


def _parameter(array: np.ndarray) -> Parameter:
    return Parameter(backend.current().asarray(array))


def _he(shape: tuple[int, ...], fan_in: float, rng: np.random.Generator | None) -> Parameter:
    return _parameter(init.he_normal(shape, np.random.default_rng() if rng is None else rng, fan_in=fan_in))


def _zeros(size: int | tuple[int, ...], wanted: bool = True) -> Parameter | None:
    return _parameter(np.zeros(size, np.float32)) if wanted else None


def _positive(value, name: str) -> int:
    if integer(value, name) < 1:
        raise ArgumentError(f"{name} must be at least 1, got {value}")
    return int(value)


class _Convolution(Module):
    """What the two convolutions share: their arguments, checked and kept."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size, stride, padding, dilation, groups: int):
        where = type(self).__name__
        self.in_channels = _positive(in_channels, f"{where}: in_channels")
        self.out_channels = _positive(out_channels, f"{where}: out_channels")
        self.kernel_size = pair(kernel_size, f"{where}: kernel_size")
        self.stride = pair(stride, f"{where}: stride")
        self.padding = pair(padding, f"{where}: padding")
        self.dilation = pair(dilation, f"{where}: dilation")
        self.groups = _positive(groups, f"{where}: groups")
        if min(self.kernel_size) < 1 or min(self.stride) < 1 or min(self.padding) < 0 or min(self.dilation) < 1:
            raise ArgumentError(
                f"{where}: kernel_size, stride and dilation must be at least 1 and padding at least 0, got "
                f"{self.kernel_size}, {self.stride}, {self.dilation} and {self.padding}"
            )
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"{where}: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )

    def extra_repr(self) -> str:
        """Arguments that differ from their defaults, after the channels, the kernel and the stride."""
        shown = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        for name, default in (("padding", (0, 0)), ("dilation", (1, 1)), ("output_padding", (0, 0)), ("groups", 1)):
            value = getattr(self, name, default)
            shown += [f"{name}={value}"] if value != default else []
        return ", ".join(shown + (["bias=False"] if self.bias is None else []))


class Conv2d(_Convolution):
    """``ops.conv2d`` with its kernels: (N, in_channels, H, W) to (N, out_channels, H', W').

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int or (int, int)
        In pixels.
    groups : int
    bias : bool
        Leave it out where batch norm follows, which would subtract it again.
    rng : numpy.random.Generator, optional

    Attributes
    ----------
    weight : Parameter (out_channels, in_channels/groups, R, S)
    bias : Parameter (out_channels,) or None
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = _he(shape, init.fans(shape)[0], rng)
        self.bias = _zeros(out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose2d(_Convolution):
    """``ops.conv_transpose2d`` with its kernels: (N, in_channels, H, W) to (N, out_channels, H', W'), larger by the stride.

    Attributes
    ----------
    weight : Parameter (in_channels, out_channels/groups, R, S)
    bias : Parameter (out_channels,) or None
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups: int = 1,
        bias: bool = True,
        dilation=1,
        *,
        rng: np.random.Generator | None = None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        self.output_padding = pair(output_padding, "ConvTranspose2d: output_padding")
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        # An output pixel sums over the inputs whose windows reach it: on average one in (stride * stride) kernel positions.
        reach = math.prod(self.kernel_size) / math.prod(self.stride)
        self.weight = _he(shape, in_channels // groups * max(1, reach), rng)
        self.bias = _zeros(out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class DepthwiseSeparableConv2d(Module):
    """A convolution in two: one kernel for each input channel (depthwise), then a 1x1 convolution that mixes them (pointwise).

    (N, in_channels, H, W) to (N, out_channels, H', W') with R S in_channels + in_channels out_channels weights where ``Conv2d``
    has R S in_channels out_channels; multiply-adds shrink alike.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int or (int, int)
        Of the depthwise part, in pixels.
    bias : bool
        Of the pointwise part; the depthwise one has none, which would add nothing to it.
    rng : numpy.random.Generator, optional

    Attributes
    ----------
    depthwise, pointwise : Conv2d
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
    ):
        self.depthwise = Conv2d(
            in_channels, in_channels, kernel_size, stride, padding, dilation, in_channels, bias=False, rng=rng
        )
        self.pointwise = Conv2d(in_channels, out_channels, 1, bias=bias, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class Linear(Module):
    """``ops.linear`` with its matrix: (..., in_features) to (..., out_features).

    Attributes
    ----------
    weight : Parameter (out_features, in_features)
    bias : Parameter (out_features,) or None
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, rng: np.random.Generator | None = None
    ):
        self.in_features = _positive(in_features, "Linear: in_features")
        self.out_features = _positive(out_features, "Linear: out_features")
        self.weight = _he((out_features, in_features), in_features, rng)
        self.bias = _zeros(out_features, bias)

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class BatchNorm2d(Module):
    """``ops.batch_norm`` with its scale, shift and running statistics: (N, num_features, H, W) to the same shape.

    In training it normalises with the batch's mean and variance and moves the running ones towards them (the variance unbiased, as
    PyTorch does); in evaluation it uses the running ones.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
    momentum : float or None
        The weight of the new batch in the running statistics; None takes the mean of all batches so far.
    affine : bool
        Whether there are a scale and a shift to learn.

    Attributes
    ----------
    weight, bias : Parameter (num_features,) or None
        Scale and shift, at first 1 and 0.
    running_mean, running_var : array (num_features,)
    num_batches_tracked : array (), int64
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True):
        self.num_features = _positive(num_features, "BatchNorm2d: num_features")
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.weight = _parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = _zeros(num_features, affine)
        here = backend.current()
        self.register_buffer("running_mean", here.asarray(np.zeros(num_features, np.float32)))
        self.register_buffer("running_var", here.asarray(np.ones(num_features, np.float32)))
        self.register_buffer("num_batches_tracked", here.asarray(np.zeros((), np.int64)))

    def forward(self, x: Tensor) -> Tensor:
        return self._normalised(x, ops.batch_norm)

    def with_relu(self, x: Tensor) -> Tensor:
        """``ops.relu`` of what ``forward`` gives, computed together."""
        return self._normalised(x, ops.batch_norm_relu)

    def _normalised(self, x: Tensor, operation: Callable) -> Tensor:
        seen = self.num_batches_tracked + 1 if self.training else self.num_batches_tracked
        momentum = self.momentum if self.momentum is not None else 1 / max(1, int(seen))
        y, self.running_mean, self.running_var = operation(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, momentum, self.eps
        )
        self.num_batches_tracked = backend.current().asarray(seen)
        return y

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"


class InstanceNorm2d(Module):
    """``ops.instance_norm`` with its scale and shift, if wanted: (N, num_features, H, W) to the same shape. It has no memory.

    Attributes
    ----------
    weight, bias : Parameter (num_features,) or None
        Scale and shift, at first 1 and 0.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, *, affine: bool = False):
        self.num_features = _positive(num_features, "InstanceNorm2d: num_features")
        self.eps = eps
        self.affine = affine
        self.weight = _parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = _zeros(num_features, affine)

    def forward(self, x: Tensor) -> Tensor:
        expect_tensor(x, "InstanceNorm2d: x")
        if x.ndim != 4 or x.shape[1] != self.num_features:
            raise ShapeError(f"InstanceNorm2d: expected (N, {self.num_features}, H, W), got {x.shape} [norm.instance]")
        return ops.instance_norm(x, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, affine={self.affine}"


class LayerNorm(Module):
    """``ops.layer_norm`` with its scale and shift: (..., *normalized_shape) to the same shape.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        The sizes of the last axes, which are normalised together.
    eps : float
    elementwise_affine, bias : bool
        Whether there is a scale to learn, and with it a shift.

    Attributes
    ----------
    weight, bias : Parameter (*normalized_shape) or None
        Scale and shift, at first 1 and 0.
    """

    def __init__(self, normalized_shape, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True):
        sizes = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        self.normalized_shape = tuple(_positive(size, "LayerNorm: normalized_shape") for size in sizes)
        self.eps = eps
        self.weight = _parameter(np.ones(self.normalized_shape, np.float32)) if elementwise_affine else None
        self.bias = _zeros(self.normalized_shape, elementwise_affine and bias)

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"


class MaxPool2d(Module):
    """``ops.max_pool2d``; with ``return_indices`` also where the maxima were, for ``MaxUnpool2d``."""

    def __init__(self, kernel_size, stride=None, padding=0, *, return_indices: bool = False):
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.return_indices = return_indices

    def forward(self, x: Tensor):
        return ops.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.return_indices)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Module):
    """``ops.avg_pool2d``."""

    def __init__(self, kernel_size, stride=None, padding=0, *, count_include_pad: bool = True):
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """``ops.adaptive_avg_pool2d``: whatever the input's size, the output's is ``output_size``."""

    def __init__(self, output_size):
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class MaxUnpool2d(Module):
    """``ops.max_unpool2d``: undoes a ``MaxPool2d`` of the same arguments, given its indices."""

    def __init__(self, kernel_size, stride=None, padding=0):
        self.kernel_size = pair(kernel_size, "MaxUnpool2d: kernel_size")
        self.stride = self.kernel_size if stride is None else pair(stride, "MaxUnpool2d: stride")
        self.padding = pair(padding, "MaxUnpool2d: padding")

    def forward(self, x: Tensor, indices: Tensor, output_size=None) -> Tensor:
        return ops.max_unpool2d(x, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class Upsample(Module):
    """``ops.interpolate``: to a size, or by a factor."""

    def __init__(self, size=None, scale_factor=None, mode: str = "nearest"):
        if (size is None) == (scale_factor is None):
            raise ArgumentError(
                f"Upsample: give either size or scale_factor, got size={size}, scale_factor={scale_factor}"
            )
        self.size = size
        self.scale_factor = scale_factor
        self.mode = choice(mode, ("nearest", "bilinear"), "Upsample: mode")

    def forward(self, x: Tensor) -> Tensor:
        return ops.interpolate(x, self.size, self.scale_factor, self.mode)

    def extra_repr(self) -> str:
        target = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{target}, mode={self.mode!r}"


class ReLU(Module):
    """``ops.relu``."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class Sigmoid(Module):
    """``ops.sigmoid``. Losses that take logits want none before them."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


class Tanh(Module):
    """``ops.tanh``."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class Softmax(Module):
    """``ops.softmax`` along ``dim``: by default the classes of (N, K, H, W). Losses that take logits want none before them."""

    def __init__(self, dim: int = 1):
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Dropout(Module):
    """``ops.dropout``: in training each element is zeroed with probability p and the others grow by 1/(1-p); otherwise x itself.

    It draws from ``self.rng``, which may be replaced between steps, so that a resumed training drops the same elements. Layers that
    are built without ``rng`` all start from the same seed: hand each its own to make them independent.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None):
        if not 0 <= p <= 1:
            raise ArgumentError(f"Dropout: p must be a probability, 0 <= p <= 1, got {p}")
        self.p = p
        self.rng = np.random.default_rng(0) if rng is None else rng

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.training, self.rng)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Flatten(Module):
    """The axes from ``start_dim`` to ``end_dim`` as one; by default each sample becomes a row, and the batch stays."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Tensor) -> Tensor:
        return autograd.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """Its input, unchanged: for a place where a layer may be left out."""

    def forward(self, x: Tensor) -> Tensor:
        return x
