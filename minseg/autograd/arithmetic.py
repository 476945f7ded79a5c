r"""Arithmetic on Tensors: elementwise operations, reductions, matrix products, shapes and indices, each with its gradient.

A gradient is written :math:`\bar{a}`: the derivative of the final number for each element of a. Names, argument order and
defaults are PyTorch's, and axes are called ``dim``. Two rules hold everywhere: a number adopts the tensor's dtype, and tensors
never mix dtypes. The operators of Python are given to Tensor at the end of the file.
"""

import builtins
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minseg import backend
from minseg.autograd.tensor import Function, Tensor, common
from minseg.errors import ArgumentError, DtypeError, ShapeError, Unsupported

# ------------------------------------------------------------------------------------------- elementwise, of two tensors


def _sum_to(kernels, g, shape: tuple[int, ...]):
    """The transpose of broadcasting: sum g over the axes along which ``shape`` was repeated."""
    new = g.ndim - len(shape)
    repeated = tuple(axis for axis in range(g.ndim) if axis < new or (shape[axis - new] == 1 and g.shape[axis] != 1))
    return kernels.sum_over(g, repeated).reshape(shape) if repeated else g


class Broadcasting(Function):
    """A function of two tensors, element by element: a subclass gives the value and the two gradients on the common shape.

    Each element of the smaller tensor is used in many places, so its gradient is the sum over them.
    """

    def forward(self, a, b):
        self.shapes = a.shape, b.shape
        return self.value(a, b)

    def backward(self, gy):
        gradients = self.gradient_a, self.gradient_b
        return tuple(
            _sum_to(self.kernels, gradient(gy), shape) if needed else None
            for gradient, shape, needed in zip(gradients, self.shapes, self.needs, strict=True)
        )

    def value(self, a, b):
        raise NotImplementedError

    def gradient_a(self, gy):
        raise NotImplementedError

    def gradient_b(self, gy):
        raise NotImplementedError


class Add(Broadcasting):
    equation = "arith.add"

    def value(self, a, b):
        return self.kernels.add(a, b)

    def gradient_a(self, gy):
        return gy

    def gradient_b(self, gy):
        return gy


class Sub(Broadcasting):
    equation = "arith.sub"

    def value(self, a, b):
        return a - b

    def gradient_a(self, gy):
        return gy

    def gradient_b(self, gy):
        return -gy


class Mul(Broadcasting):
    equation = "arith.mul"

    def value(self, a, b):
        self.save(a=a if self.needs[1] else None, b=b if self.needs[0] else None)
        return self.kernels.multiply(a, b)

    def gradient_a(self, gy):
        return self.kernels.multiply(gy, self.saved.b)

    def gradient_b(self, gy):
        return self.kernels.multiply(gy, self.saved.a)


class Div(Broadcasting):
    equation = "arith.div"

    def value(self, a, b):
        self.save(a=a if self.needs[1] else None, b=b)
        return a / b

    def gradient_a(self, gy):
        return gy / self.saved.b

    def gradient_b(self, gy):
        a, b = self.saved.a, self.saved.b
        return -gy * a / (b * b)


class Pow(Broadcasting):
    equation = "arith.pow"

    def value(self, a, b):
        y = a**b
        self.save(a=a, b=b, y=y if self.needs[1] else None)
        return y

    def gradient_a(self, gy):
        xp, a, b = self.kernels.xp, self.saved.a, self.saved.b
        # b = 0 is a constant: its derivative is 0, also at a = 0, where b a^(b-1) would be 0 * inf
        return gy * b * a ** (xp.where(b == 0, xp.ones_like(b), b) - 1)

    def gradient_b(self, gy):
        xp, a, y = self.kernels.xp, self.saved.a, self.saved.y
        # a^b log a goes to 0 with a, but 0 * log 0 would be NaN
        return gy * y * xp.log(xp.where(y == 0, xp.ones_like(y), a))


class Maximum(Broadcasting):
    equation = "arith.maximum"

    def value(self, a, b):
        self.save(first=a >= b)
        return self.kernels.xp.maximum(a, b)

    def gradient_a(self, gy):
        return gy * self.saved.first

    def gradient_b(self, gy):
        return gy * ~self.saved.first


class Minimum(Broadcasting):
    equation = "arith.minimum"

    def value(self, a, b):
        self.save(first=a <= b)
        return self.kernels.xp.minimum(a, b)

    def gradient_a(self, gy):
        return gy * self.saved.first

    def gradient_b(self, gy):
        return gy * ~self.saved.first


class Where(Function):
    equation = "arith.where"

    def forward(self, condition, a, b):
        self.shapes = a.shape, b.shape
        self.save(condition=condition)
        return self.kernels.xp.where(condition, a, b)

    def backward(self, gy):
        xp, condition, zero = self.kernels.xp, self.saved.condition, gy.dtype.type(0)
        ga = _sum_to(self.kernels, xp.where(condition, gy, zero), self.shapes[0]) if self.needs[1] else None
        gb = _sum_to(self.kernels, xp.where(condition, zero, gy), self.shapes[1]) if self.needs[2] else None
        return None, ga, gb


def _broadcast(function: type[Function], *values) -> Tensor:
    """Apply a Function to tensors, arrays and numbers of one dtype whose shapes broadcast."""
    name = function.equation.removeprefix("arith.")
    tensors = common(values, name)
    _expect_broadcastable(name, *tensors)
    return function.apply(*tensors)


def _expect_broadcastable(name: str, *tensors: Tensor) -> tuple[int, ...]:
    """The common shape."""
    try:
        return np.broadcast_shapes(*(t.shape for t in tensors))
    except ValueError:
        shapes = " and ".join(str(t.shape) for t in tensors)
        raise ShapeError(
            f"{name}: shapes {shapes} do not broadcast; from the last axis on, sizes must be equal or 1 [arith.{name}]"
        ) from None


def _expect_float(x, name: str) -> Tensor:
    """The Tensor, if it holds floats."""
    if not isinstance(x, Tensor):
        raise DtypeError(f"{name}: expected a Tensor, got {type(x).__name__}; make one with minseg.tensor")
    if x.dtype.kind != "f":
        raise DtypeError(
            f"{name}: expected floats, got {x.dtype}; convert it with tensor(x, dtype=np.float32) [arith.{name}]"
        )
    return x


def add(a, b) -> Tensor:
    r"""a + b. Gradients: :math:`\bar{a} = \bar{y}, \bar{b} = \bar{y}`."""
    return _broadcast(Add, a, b)


def sub(a, b) -> Tensor:
    r"""a - b. Gradients: :math:`\bar{a} = \bar{y}, \bar{b} = -\bar{y}`."""
    return _broadcast(Sub, a, b)


def mul(a, b) -> Tensor:
    r"""a * b, element by element. Gradients: :math:`\bar{a} = \bar{y} b, \bar{b} = \bar{y} a`."""
    return _broadcast(Mul, a, b)


def div(a, b) -> Tensor:
    r"""a / b of floats, by 0 as in NumPy. Gradients: :math:`\bar{a} = \bar{y} / b, \bar{b} = -\bar{y} a / b^{2}`."""
    for t in common((a, b), "div"):
        _expect_float(t, "div")
    return _broadcast(Div, a, b)


def pow(a, b) -> Tensor:
    r"""a ** b. Gradients: :math:`\bar{a} = \bar{y} b a^{b-1}, \bar{b} = \bar{y} a^{b} \log a`.

    A negative a has real powers for whole b only, and then no gradient for b: NaN, with NumPy's RuntimeWarning.
    """
    return _broadcast(Pow, a, b)


def maximum(a, b) -> Tensor:
    """The larger of a and b, element by element. The larger one receives the gradient; of equals, a (PyTorch: half each)."""
    return _broadcast(Maximum, a, b)


def minimum(a, b) -> Tensor:
    """The smaller of a and b, element by element. The smaller one receives the gradient; of equals, a (PyTorch: half each)."""
    return _broadcast(Minimum, a, b)


def where(condition, a, b) -> Tensor:
    """a where the condition holds, else b. The one that was taken receives the gradient; the condition (booleans) none."""
    condition = condition.data if isinstance(condition, Tensor) else backend.current().asarray(condition)
    if condition.dtype != bool:
        raise DtypeError(f"where: the condition must be boolean, got {condition.dtype} [arith.where]")
    inputs = Tensor(condition), *common((a, b), "where")
    _expect_broadcastable("where", *inputs)
    return Where.apply(*inputs)


# ------------------------------------------------------------------------------------------------------------ comparisons


def _compare(name: str, operation, a, b):
    """Booleans without a gradient. NotImplemented for what is no tensor, array or number, so that ``t == None`` is False."""
    if any(value is None or isinstance(value, (str, Sequence)) for value in (a, b)):
        return NotImplemented
    a, b = common((a, b), name)
    _expect_broadcastable(name, a, b)
    return Tensor(backend.current().xp.asarray(operation(a.data, b.data)))


def eq(a, b) -> Tensor:
    """a == b as booleans; no gradient."""
    return _compare("eq", lambda x, y: x == y, a, b)


def ne(a, b) -> Tensor:
    """a != b as booleans; no gradient."""
    return _compare("ne", lambda x, y: x != y, a, b)


def lt(a, b) -> Tensor:
    """a < b as booleans; no gradient."""
    return _compare("lt", lambda x, y: x < y, a, b)


def le(a, b) -> Tensor:
    """a <= b as booleans; no gradient."""
    return _compare("le", lambda x, y: x <= y, a, b)


def gt(a, b) -> Tensor:
    """a > b as booleans; no gradient."""
    return _compare("gt", lambda x, y: x > y, a, b)


def ge(a, b) -> Tensor:
    """a >= b as booleans; no gradient."""
    return _compare("ge", lambda x, y: x >= y, a, b)


# ------------------------------------------------------------------------------------------- elementwise, of one tensor


class Neg(Function):
    equation = "arith.neg"

    def forward(self, x):
        return -x

    def backward(self, gy):
        return (-gy,)


class Exp(Function):
    equation = "arith.exp"

    def forward(self, x):
        y = self.kernels.xp.exp(x)
        self.save(y=y)
        return y

    def backward(self, gy):
        return (gy * self.saved.y,)


class Log(Function):
    equation = "arith.log"

    def forward(self, x):
        self.save(x=x)
        return self.kernels.xp.log(x)

    def backward(self, gy):
        return (gy / self.saved.x,)


class Sqrt(Function):
    equation = "arith.sqrt"

    def forward(self, x):
        y = self.kernels.xp.sqrt(x)
        self.save(y=y)
        return y

    def backward(self, gy):
        return (gy / (2 * self.saved.y),)


class Abs(Function):
    equation = "arith.abs"

    def forward(self, x):
        self.save(x=x)
        return self.kernels.xp.abs(x)

    def backward(self, gy):
        return (gy * self.kernels.xp.sign(self.saved.x),)


class Clip(Function):
    equation = "arith.clip"

    def forward(self, x, *, low, high):
        inside = self.kernels.xp.ones(x.shape, bool)
        if low is not None:
            inside &= x >= low
        if high is not None:
            inside &= x <= high
        self.save(inside=inside)
        return self.kernels.xp.clip(x, low, high)

    def backward(self, gy):
        return (gy * self.saved.inside,)


def neg(x: Tensor) -> Tensor:
    r"""-x. Gradient: :math:`-\bar{y}`."""
    return Neg.apply(*common([x], "neg"))


def exp(x: Tensor) -> Tensor:
    r"""The exponential. Gradient: :math:`\bar{y} y`."""
    return Exp.apply(_expect_float(x, "exp"))


def log(x: Tensor) -> Tensor:
    r"""The natural logarithm. Gradient: :math:`\bar{y} / x`. NaN below 0 and -inf at 0, with NumPy's RuntimeWarning."""
    return Log.apply(_expect_float(x, "log"))


def sqrt(x: Tensor) -> Tensor:
    r"""The square root. Gradient: :math:`\bar{y} / (2 y)`, inf at 0. NaN below 0, with NumPy's RuntimeWarning."""
    return Sqrt.apply(_expect_float(x, "sqrt"))


def abs(x: Tensor) -> Tensor:
    r"""The absolute value. Gradient: :math:`\bar{y} \operatorname{sign}(x)`; the kink at 0 has 0."""
    return Abs.apply(_expect_float(x, "abs"))


def clip(x: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    r"""x limited to [min, max]. Gradient: :math:`\bar{y}` where min <= x <= max, kinks included, and 0 outside."""
    _expect_float(x, "clip")
    if min is None and max is None:
        raise ArgumentError("clip: give min, max or both [arith.clip]")
    if min is not None and max is not None and min > max:
        raise ArgumentError(f"clip: min {min} is above max {max} [arith.clip]")
    return Clip.apply(x, low=min, high=max)


clamp = clip


# ------------------------------------------------------------------------------------------------------------- reductions


def _axis(dim: int, ndim: int, name: str) -> int:
    """The axis counted from the front."""
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise ArgumentError(f"{name}: dim must be an integer, got {dim!r} [arith.{name}]")
    if not -ndim <= dim < ndim:
        raise ShapeError(f"{name}: dim {dim} is out of range for {ndim} axes [arith.{name}]")
    return int(dim) % ndim


def _axes(dim, ndim: int, name: str) -> tuple[int, ...]:
    """The axes counted from the front; None stands for all of them."""
    if dim is None:
        return tuple(range(ndim))
    axes = tuple(_axis(d, ndim, name) for d in (dim if isinstance(dim, (tuple, list)) else (dim,)))
    if len(set(axes)) < len(axes):
        raise ArgumentError(f"{name}: dim {dim} names an axis twice [arith.{name}]")
    return axes


def _spread(xp, gy, shape: tuple[int, ...], axes: tuple[int, ...]):
    """The transpose of a sum: every element that was summed receives the gradient of its sum."""
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return xp.broadcast_to(gy.reshape(kept), shape)


class Sum(Function):
    equation = "arith.sum"

    def forward(self, x, *, axes, keepdim):
        self.shape, self.axes = x.shape, axes
        return x.sum(axis=axes, keepdims=keepdim)

    def backward(self, gy):
        return (_spread(self.kernels.xp, gy, self.shape, self.axes),)


class Mean(Function):
    equation = "arith.mean"

    def forward(self, x, *, axes, keepdim):
        self.shape, self.axes = x.shape, axes
        self.count = math.prod(x.shape[axis] for axis in axes)
        return x.mean(axis=axes, keepdims=keepdim)

    def backward(self, gy):
        return (_spread(self.kernels.xp, gy / self.count, self.shape, self.axes),)


class Var(Function):
    equation = "arith.var"

    def forward(self, x, *, axes, correction, keepdim):
        self.axes = axes
        self.count = math.prod(x.shape[axis] for axis in axes) - correction
        deviation = x - x.mean(axis=axes, keepdims=True)
        self.save(deviation=deviation)
        return (deviation * deviation).sum(axis=axes, keepdims=keepdim) / self.count

    def backward(self, gy):
        deviation = self.saved.deviation  # that the mean moves too does not matter: the deviations sum to 0
        return (_spread(self.kernels.xp, gy * (2 / self.count), deviation.shape, self.axes) * deviation,)


class Max(Function):
    equation = "arith.max"
    arg = "argmax"

    def forward(self, x, *, axis, keepdim):
        self.size, self.axis, self.keepdim = x.shape[axis], axis, keepdim
        xp = self.kernels.xp
        indices = xp.expand_dims(getattr(x, self.arg)(axis=axis), axis)
        values = xp.take_along_axis(x, indices, axis)
        self.save(indices=indices)
        return (values, indices) if keepdim else (xp.squeeze(values, axis), xp.squeeze(indices, axis))

    def backward(self, gy):
        xp, indices = self.kernels.xp, self.saved.indices
        along = [1] * indices.ndim
        along[self.axis] = self.size
        chosen = xp.arange(self.size).reshape(along) == indices
        return (xp.where(chosen, gy if self.keepdim else xp.expand_dims(gy, self.axis), gy.dtype.type(0)),)


class Min(Max):
    equation = "arith.min"
    arg = "argmin"


class Extremes(NamedTuple):
    """What max and min over one axis return: the values, and the index of each along that axis."""

    values: Tensor
    indices: Tensor


def sum(x: Tensor, dim=None, keepdim: bool = False) -> Tensor:
    r"""The sum over ``dim`` (an axis, several, or all). Gradient: :math:`\bar{y}` for each element of its sum."""
    (x,) = common([x], "sum")
    return Sum.apply(x, axes=_axes(dim, x.ndim, "sum"), keepdim=keepdim)


def mean(x: Tensor, dim=None, keepdim: bool = False) -> Tensor:
    r"""The mean over ``dim``. Gradient: :math:`\bar{y} / n` for each of its n elements."""
    axes = _axes(dim, _expect_float(x, "mean").ndim, "mean")
    _expect_elements(x, axes, "mean")
    return Mean.apply(x, axes=axes, keepdim=keepdim)


def var(x: Tensor, dim=None, correction: int = 1, keepdim: bool = False) -> Tensor:
    r"""The variance :math:`\sum_{i} (x_{i} - \mu)^{2} / (n - c)`; gradient :math:`\bar{y} \cdot 2 (x_{i} - \mu) / (n - c)`.

    The correction c = 1 makes it unbiased for a sample; c = 0 is the variance of the numbers themselves, as in batch normalisation.
    """
    axes = _axes(dim, _expect_float(x, "var").ndim, "var")
    _expect_elements(x, axes, "var", more_than=correction)
    return Var.apply(x, axes=axes, correction=correction, keepdim=keepdim)


def _expect_elements(x: Tensor, axes: tuple[int, ...], name: str, more_than: int = 0) -> None:
    count = math.prod(x.shape[axis] for axis in axes)
    if count <= more_than:
        raise ShapeError(f"{name}: needs more than {more_than} elements, got {count}; x {x.shape} [arith.{name}]")


def max(x: Tensor, dim: int | None = None, keepdim: bool = False):
    """The largest element: of all (a Tensor), or along one axis (values and indices, as in PyTorch).

    The gradient goes to the largest element; of equals, to the first one (PyTorch divides it when there is no ``dim``).
    """
    return _extreme(Max, x, dim, keepdim, "max")


def min(x: Tensor, dim: int | None = None, keepdim: bool = False):
    """The smallest element: of all (a Tensor), or along one axis (values and indices). Equals as in ``max``."""
    return _extreme(Min, x, dim, keepdim, "min")


def _extreme(function: type[Max], x: Tensor, dim: int | None, keepdim: bool, name: str):
    (x,) = common([x], name)
    if dim is None:
        _expect_elements(x, _axes(None, x.ndim, name), name)
        values, _ = function.apply(reshape(x, -1), axis=0, keepdim=False)
        return reshape(values, (1,) * x.ndim) if keepdim else values
    axis = _axis(dim, x.ndim, name)
    _expect_elements(x, (axis,), name)
    return Extremes(*function.apply(x, axis=axis, keepdim=keepdim))


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the largest element, of the flattened tensor or along one axis; the first of equals. No gradient."""
    return _index_of("argmax", x, dim, keepdim)


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the smallest element; otherwise as ``argmax``."""
    return _index_of("argmin", x, dim, keepdim)


def _index_of(name: str, x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    (x,) = common([x], name)
    axis = None if dim is None else _axis(dim, x.ndim, name)
    _expect_elements(x, _axes(dim, x.ndim, name), name)
    xp = backend.current().xp
    return Tensor(xp.asarray(getattr(xp, name)(x.data, axis=axis, keepdims=keepdim)))


# --------------------------------------------------------------------------------------------------------- matrix product


class MatMul(Function):
    equation = "arith.matmul"

    def forward(self, a, b):
        self.shapes = a.shape, b.shape
        self.save(a=a if self.needs[1] else None, b=b if self.needs[0] else None)
        return self.kernels.matmul(a, b)

    def backward(self, gy):
        a_shape, b_shape = self.shapes  # vectors count as a row a and a column b
        if len(a_shape) == 1:
            gy = gy[..., None, :] if len(b_shape) > 1 else gy[None]
        if len(b_shape) == 1:
            gy = gy[..., None]
        ga = gb = None
        if self.needs[0]:
            b = self.saved.b if len(b_shape) > 1 else self.saved.b[:, None]
            ga = self.kernels.matmul(gy, b.swapaxes(-1, -2))
            ga = _sum_to(self.kernels, ga, _as_matrix(a_shape, 0)).reshape(a_shape)
        if self.needs[1]:
            a = self.saved.a if len(a_shape) > 1 else self.saved.a[None, :]
            gb = self.kernels.matmul(a.swapaxes(-1, -2), gy)
            gb = _sum_to(self.kernels, gb, _as_matrix(b_shape, 1)).reshape(b_shape)
        return ga, gb


def _as_matrix(shape: tuple[int, ...], position: int) -> tuple[int, ...]:
    """The shape of a factor: a vector is a row on the left (position 0) and a column on the right."""
    return shape if len(shape) > 1 else (1, *shape) if position == 0 else (*shape, 1)


def matmul(a, b) -> Tensor:
    r"""The matrix product. Gradients: :math:`\bar{a} = \bar{y} b^{T}, \bar{b} = a^{T} \bar{y}`.

    Axes before the last two are a batch, and broadcast. A vector on the left is a row, one on the right a column, and that axis
    of size 1 is dropped from the result.
    """
    a, b = common((a, b), "matmul")
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul: needs vectors or matrices, got {a.shape} and {b.shape}; * multiplies by a number")
    (*a_batch, _, k), (*b_batch, rows, _) = _as_matrix(a.shape, 0), _as_matrix(b.shape, 1)
    if k != rows:
        raise ShapeError(f"matmul: a has {k} columns, b has {rows} rows; a {a.shape}, b {b.shape} [arith.matmul]")
    try:
        np.broadcast_shapes(tuple(a_batch), tuple(b_batch))
    except ValueError:
        raise ShapeError(f"matmul: batch axes do not broadcast; a {a.shape}, b {b.shape} [arith.matmul]") from None
    return MatMul.apply(a, b)


# ----------------------------------------------------------------------------------------------------------------- shapes


class Reshape(Function):
    equation = "arith.reshape"

    def forward(self, x, *, shape):
        self.shape = x.shape
        return self.kernels.reshape(x, shape)

    def backward(self, gy):
        return (self.kernels.reshape(gy, self.shape),)


class Permute(Function):
    equation = "arith.permute"

    def forward(self, x, *, axes):
        self.axes = axes
        return x.transpose(axes)

    def backward(self, gy):
        inverse = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return (gy.transpose(inverse),)


class BroadcastTo(Function):
    equation = "arith.broadcast_to"

    def forward(self, x, *, shape):
        self.shape = x.shape
        return self.kernels.xp.broadcast_to(x, shape)

    def backward(self, gy):
        return (_sum_to(self.kernels, gy, self.shape),)


def _sizes(arguments: tuple) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    return tuple(arguments[0]) if len(arguments) == 1 and isinstance(arguments[0], (tuple, list)) else arguments


def reshape(x: Tensor, *shape) -> Tensor:
    """The same elements in another shape; one size may be -1. The gradient is reshaped back."""
    shape = _sizes(shape)
    known = math.prod(size for size in shape if size != -1)
    open_sizes = shape.count(-1)
    fits = x.numel() == known if open_sizes == 0 else open_sizes == 1 and known > 0 and x.numel() % known == 0
    if not fits or builtins.min(shape, default=0) < -1:
        raise ShapeError(f"reshape: {x.shape} has {x.numel()} elements, which do not fit {shape} [arith.reshape]")
    return Reshape.apply(x, shape=shape)


view = reshape


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from start_dim to end_dim (inclusive) as one. The gradient is reshaped back."""
    if x.ndim == 0:
        return reshape(x, 1)
    start, end = _axis(start_dim, x.ndim, "flatten"), _axis(end_dim, x.ndim, "flatten")
    if start > end:
        raise ArgumentError(
            f"flatten: start_dim {start_dim} comes after end_dim {end_dim}; x {x.shape} [arith.reshape]"
        )
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


def squeeze(x: Tensor, dim=None) -> Tensor:
    """Without the axes of size 1: all of them, or those of ``dim`` that have it. The gradient is reshaped back."""
    axes = _axes(dim, x.ndim, "squeeze")
    return reshape(x, tuple(size for axis, size in enumerate(x.shape) if axis not in axes or size != 1))


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """With a new axis of size 1 at ``dim``. The gradient is reshaped back."""
    axis = _axis(dim, x.ndim + 1, "unsqueeze")
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def permute(x: Tensor, *dims) -> Tensor:
    """The axes in a new order. The gradient is permuted back."""
    dims = _sizes(dims)
    axes = _axes(dims, x.ndim, "permute")
    if len(axes) != x.ndim:
        raise ArgumentError(f"permute: {dims} must name each of the {x.ndim} axes once; x {x.shape} [arith.permute]")
    return Permute.apply(x, axes=axes)


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged. The gradient is exchanged back."""
    axes = list(range(x.ndim))
    i, j = _axis(dim0, x.ndim, "transpose"), _axis(dim1, x.ndim, "transpose")
    axes[i], axes[j] = j, i
    return Permute.apply(x, axes=tuple(axes))


def _matrix_transpose(x: Tensor) -> Tensor:
    """The transposed matrix; a vector or a number stays what it is."""
    if x.ndim > 2:
        raise ShapeError(f"T: expected a matrix, got {x.shape}; use transpose(dim0, dim1) or permute [arith.permute]")
    return Permute.apply(x, axes=tuple(range(x.ndim))[::-1])


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """x repeated to a larger shape, without a copy. The gradient is the sum over the repetitions."""
    shape = tuple(shape)
    tail = shape[len(shape) - x.ndim :] if len(shape) >= x.ndim else ()
    if (
        len(tail) != x.ndim
        or builtins.min(shape, default=0) < 0
        or any(size not in (1, wanted) for size, wanted in zip(x.shape, tail, strict=True))
    ):
        raise ShapeError(f"broadcast_to: {x.shape} does not broadcast to {shape} [arith.broadcast_to]")
    return BroadcastTo.apply(x, shape=shape)


def expand(x: Tensor, *sizes) -> Tensor:
    """As ``broadcast_to``, with -1 for a size that stays."""
    sizes = _sizes(sizes)
    new = len(sizes) - x.ndim
    kept = [x.shape[axis - new] if size == -1 and axis >= new else size for axis, size in enumerate(sizes)]
    return broadcast_to(x, kept)


# ----------------------------------------------------------------------------------------------------- parts and unions


class Index(Function):
    equation = "arith.index"

    def forward(self, x, *, index):
        self.shape, self.index = x.shape, index
        return x[index]

    def backward(self, gy):
        xp = self.kernels.xp
        gx = xp.zeros(self.shape, gy.dtype)
        if any(hasattr(i, "dtype") for i in self.index):
            xp.add.at(gx, self.index, gy)  # an element that was taken twice receives both gradients
        else:
            gx[self.index] = gy
        return (gx,)


class Concatenate(Function):
    equation = "arith.concatenate"

    def forward(self, *arrays, axis):
        self.axis, self.sizes = axis, [array.shape[axis] for array in arrays]
        return self.kernels.concatenate(arrays, axis)

    def backward(self, gy):
        gradients, start = [], 0
        for size, needed in zip(self.sizes, self.needs, strict=True):
            gradients.append(self.kernels.part(gy, self.axis, start, size) if needed else None)
            start += size
        return tuple(gradients)


class Pad(Function):
    equation = "arith.pad"

    def forward(self, x, *, widths, value):
        self.inside = tuple(slice(before, before + size) for (before, _), size in zip(widths, x.shape, strict=True))
        return self.kernels.xp.pad(x, widths, mode="constant", constant_values=value)

    def backward(self, gy):
        return (gy[self.inside],)


def index(x: Tensor, index) -> Tensor:
    """``x[index]`` with integers, slices, None, ..., integer arrays and boolean masks, as NumPy means them.

    The gradient goes back to where each element was taken from, and adds up where one was taken more than once. Bad indices raise
    NumPy's IndexError.
    """
    parts = index if isinstance(index, tuple) else (index,)
    return Index.apply(x, index=tuple(_index_array(part) for part in parts))


def _index_array(part):
    """Tensors, lists and truth values as arrays; the rest stays."""
    if isinstance(part, Tensor):
        return part.data
    return backend.current().xp.asarray(part) if isinstance(part, (list, bool, np.generic)) else part


def concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after the other along ``dim``. Each receives its part of the gradient."""
    tensors = _several(tensors, "concatenate")
    axis = _axis(dim, tensors[0].ndim, "concatenate")
    rest = {(*t.shape[:axis], -1, *t.shape[axis + 1 :]) if t.ndim > axis else t.shape for t in tensors}
    if len(rest) > 1:
        raise ShapeError(
            f"concatenate: shapes may differ along dim {dim} only, got {', '.join(str(t.shape) for t in tensors)} "
            "[arith.concatenate]"
        )
    return Concatenate.apply(*tensors, axis=axis)


cat = concatenate


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors side by side along a new axis. Each receives its part of the gradient."""
    tensors = _several(tensors, "stack")
    if len({t.shape for t in tensors}) > 1:
        raise ShapeError(
            f"stack: shapes must be equal, got {', '.join(str(t.shape) for t in tensors)} [arith.concatenate]"
        )
    return concatenate([unsqueeze(t, dim) for t in tensors], dim)


def _several(tensors: Sequence[Tensor], name: str) -> list[Tensor]:
    if isinstance(tensors, Tensor) or len(tensors) == 0:
        raise ArgumentError(
            f"{name}: expected a list of at least one Tensor, got {type(tensors).__name__} [arith.{name}]"
        )
    return common(tensors, name)


def split(x: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of ``split_size`` along ``dim`` (the last may be smaller), or of the sizes listed.

    Each returns its gradient to its place, in an array of x's size: for many small parts, an index is cheaper.
    """
    axis = _axis(dim, x.ndim, "split")
    total = x.shape[axis]
    if isinstance(split_size, int):
        if split_size < 1:
            raise ArgumentError(f"split: split_size must be at least 1, got {split_size} [arith.index]")
        split_size = [builtins.min(split_size, total - start) for start in range(0, total, split_size)]
    if builtins.sum(split_size) != total or builtins.min(split_size, default=0) < 0:
        raise ShapeError(f"split: sizes {list(split_size)} do not add up to {total}; x {x.shape} [arith.index]")
    parts, start = [], 0
    for size in split_size:
        parts.append(index(x, (slice(None),) * axis + (slice(start, start + size),)))
        start += size
    return tuple(parts)


def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` equal parts along ``dim``; the last may be smaller."""
    if chunks < 1:
        raise ArgumentError(f"chunk: chunks must be at least 1, got {chunks} [arith.index]")
    size = x.shape[_axis(dim, x.ndim, "chunk")]
    return split(x, builtins.max(1, -(-size // chunks)), dim)


def pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """x with a border: ``pad`` = (left, right, top, bottom, ...), pairs from the last axis backwards as in PyTorch.

    The border is constant and passes no gradient on; the rest of the gradient is cropped to x.
    """
    (x,) = common([x], "pad")
    if mode != "constant":
        raise Unsupported(f"pad: mode {mode!r} has no gradient here; use 'constant' [arith.pad]")
    pad = tuple(pad)
    if len(pad) % 2 or len(pad) > 2 * x.ndim or builtins.min(pad, default=0) < 0:
        raise ArgumentError(
            f"pad: expected pairs of sizes >= 0 for at most {x.ndim} axes, got {pad}; x {x.shape}; "
            "to crop, use an index [arith.pad]"
        )
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    return Pad.apply(x, widths=widths, value=value)


# -------------------------------------------------------------------------------- the operators and methods of a Tensor
# In-place operators are not defined: a += b is a = a + b, a new Tensor under the old name.


def _swapped(operation):
    """``2 - t`` arrives as t.__rsub__(2)."""
    return lambda self, other: operation(other, self)


def _number(kind):
    """float(t) and int(t): the only element."""

    def convert(self: Tensor):
        if self.numel() != 1:
            raise ShapeError(f"{kind.__name__}: expected one element, got a tensor of shape {self.shape}")
        return kind(self.item())

    return convert


def _truth(self: Tensor) -> bool:
    if self.numel() != 1:
        raise ShapeError(
            f"bool: a tensor of shape {self.shape} has no single truth value; use .numpy().any() or .numpy().all()"
        )
    return bool(self.item())


def _iterate(self: Tensor):
    if self.ndim == 0:
        raise ShapeError("iteration: a tensor without axes has no parts; use .item()")
    return (index(self, i) for i in range(len(self)))


Tensor.__add__, Tensor.__radd__ = add, _swapped(add)
Tensor.__sub__, Tensor.__rsub__ = sub, _swapped(sub)
Tensor.__mul__, Tensor.__rmul__ = mul, _swapped(mul)
Tensor.__truediv__, Tensor.__rtruediv__ = div, _swapped(div)
Tensor.__pow__, Tensor.__rpow__ = pow, _swapped(pow)
Tensor.__matmul__, Tensor.__rmatmul__ = matmul, _swapped(matmul)
Tensor.__neg__, Tensor.__abs__ = neg, abs
Tensor.__eq__, Tensor.__ne__ = eq, ne
Tensor.__hash__ = object.__hash__  # == compares elements, but a Tensor as a key is itself
Tensor.__lt__, Tensor.__le__, Tensor.__gt__, Tensor.__ge__ = lt, le, gt, ge
Tensor.__getitem__, Tensor.__iter__ = index, _iterate
Tensor.__bool__, Tensor.__float__, Tensor.__int__ = _truth, _number(float), _number(int)

Tensor.exp, Tensor.log, Tensor.sqrt, Tensor.abs = exp, log, sqrt, abs
Tensor.pow, Tensor.clip, Tensor.clamp = pow, clip, clamp
Tensor.sum, Tensor.mean, Tensor.var = sum, mean, var
Tensor.max, Tensor.min, Tensor.argmax, Tensor.argmin = max, min, argmax, argmin
Tensor.matmul = matmul
Tensor.reshape, Tensor.view, Tensor.flatten = reshape, view, flatten
Tensor.squeeze, Tensor.unsqueeze = squeeze, unsqueeze
Tensor.transpose, Tensor.permute, Tensor.T = transpose, permute, property(_matrix_transpose)
Tensor.broadcast_to, Tensor.expand = broadcast_to, expand
Tensor.split, Tensor.chunk = split, chunk
