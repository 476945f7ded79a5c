"""Conformance cases: for every primitive of kernels/spec.py the arguments on which all backends must agree.

They are small and awkward on purpose: a kernel that leaves out the stride, the dilation or the last column survives a square
image with a square kernel. How close a result must come is in ``conformance.py``.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from minseg.errors import ArgumentError, nearest_names
from minseg.kernels import shapes
from minseg.kernels.reference import attention, loss, norm, pool, softmax
from minseg.kernels.spec import PRIMITIVES, Pair, Shape

WIDTHS = (7, 8, 9, 15, 16, 17, 31, 32, 33)
"""One below, at and above the lengths that vector kernels work in."""


@dataclass(frozen=True)
class Case:
    """Arguments of a primitive, made anew for each call: ``build(rng, dtype)`` returns them as a tuple."""

    name: str
    build: Callable[[np.random.Generator, np.dtype], tuple]

    def arguments(self, dtype) -> tuple:
        """The arguments in this dtype; the same bits on every call."""
        return self.build(np.random.default_rng(zlib.crc32(self.name.encode())), np.dtype(dtype))


_FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {}


def cases(primitive: str) -> list[Case]:
    """The cases of a primitive.

    >>> [case.name for case in cases("linear_grad_b")][:2]
    ['ordinary', 'one of each']
    """
    if primitive not in PRIMITIVES:
        raise ArgumentError(f"unknown primitive {primitive!r}; {nearest_names(primitive, PRIMITIVES)}")
    return list(_FAMILIES[primitive]()) if primitive in _FAMILIES else []


def cases_of(*primitives: str) -> Callable:
    """Register the generator below: called with the primitive's name, it yields that primitive's cases."""

    def register(generator: Callable[[str], Iterator[Case]]) -> Callable:
        _FAMILIES.update({name: partial(generator, name) for name in primitives})
        return generator

    return register


def normal(rng: np.random.Generator, dtype, *shape: int) -> np.ndarray:
    """Standard normal values, with both signs and no two alike."""
    return rng.standard_normal(shape).astype(dtype)


def few(rng: np.random.Generator, dtype, *shape: int) -> np.ndarray:
    """Only -1, 0 and 1: many ties, and values exactly at a kink."""
    return rng.integers(-1, 2, shape).astype(dtype)


# ------------------------------------------------------------------------------------------------------------- conv.py


@dataclass(frozen=True)
class Convolution:
    """What a convolution is given, apart from the values."""

    x: Shape
    w: Shape
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = True

    @property
    def window(self) -> tuple:
        return self.stride, self.padding, self.dilation, self.groups

    @property
    def y(self) -> Shape:
        """Shape of the output."""
        x, w = np.empty(self.x), np.empty(self.w)
        return shapes.conv2d(x, w, None, *self.window)


CONVOLUTIONS = {
    "one pixel": Convolution((1, 1, 1, 1), (1, 1, 1, 1)),
    "one pixel padded": Convolution((3, 2, 1, 1), (3, 2, 3, 3), padding=(1, 1)),
    "3x3 same": Convolution((2, 3, 9, 8), (4, 3, 3, 3), padding=(1, 1)),
    "3x3 same without bias": Convolution((1, 5, 12, 10), (6, 5, 3, 3), padding=(1, 1), bias=False),
    "3x3 valid": Convolution((2, 2, 7, 10), (3, 2, 3, 3)),
    "3x3 full": Convolution((1, 2, 6, 5), (3, 2, 3, 3), padding=(2, 2), bias=False),
    "one channel in and out": Convolution((2, 1, 11, 13), (1, 1, 3, 3), padding=(1, 1)),
    "odd channels": Convolution((1, 13, 6, 7), (11, 13, 3, 3), padding=(1, 1)),
    "many channels": Convolution((2, 33, 5, 6), (17, 33, 3, 3), padding=(1, 1)),
    "1x1": Convolution((2, 5, 6, 7), (3, 5, 1, 1)),
    "1x1 stride": Convolution((2, 3, 7, 6), (4, 3, 1, 1), stride=(2, 3), bias=False),
    "5x3": Convolution((2, 3, 8, 9), (2, 3, 5, 3), padding=(2, 1)),
    "1x7": Convolution((1, 2, 4, 9), (3, 2, 1, 7), padding=(0, 3)),
    "7x1": Convolution((1, 2, 9, 4), (3, 2, 7, 1), padding=(3, 0), bias=False),
    "2x2 stride 2": Convolution((2, 3, 8, 6), (5, 3, 2, 2), stride=(2, 2)),
    "gaps between windows, unused border": Convolution((1, 2, 9, 11), (3, 2, 2, 2), stride=(3, 4)),
    "stride padding": Convolution((2, 3, 9, 8), (4, 3, 3, 3), stride=(2, 2), padding=(1, 1)),
    "dilated": Convolution((1, 3, 9, 10), (2, 3, 3, 3), padding=(2, 2), dilation=(2, 2)),
    "all at once": Convolution((2, 3, 11, 13), (4, 3, 3, 2), (2, 3), (2, 1), (1, 2)),
    "all at once, grouped": Convolution((2, 4, 12, 11), (6, 2, 2, 3), (3, 2), (1, 2), (2, 1), groups=2, bias=False),
    "depthwise": Convolution((2, 4, 6, 7), (4, 1, 3, 3), padding=(1, 1), groups=4),
    "depthwise, two kernels each": Convolution((1, 3, 7, 6), (6, 1, 3, 2), (2, 1), (1, 1), groups=3),
    "3x3 same, grouped": Convolution((1, 6, 8, 9), (4, 3, 3, 3), padding=(1, 1), groups=2),
    "kernel as large as the image": Convolution((2, 2, 5, 4), (3, 2, 5, 4)),
    "windows outside the image": Convolution((1, 2, 2, 3), (2, 2, 3, 2), (2, 2), (4, 3)),
    "one row": Convolution((2, 2, 1, 12), (3, 2, 3, 3), padding=(1, 1)),
    "one column": Convolution((2, 2, 12, 1), (3, 2, 3, 3), padding=(1, 1), bias=False),
    # around the tiles that a block of threads makes: 16, 32 or 64 channels of 128 windows, 16 terms at a time
    "16 channels of 128 windows": Convolution(
        (2, 4, 8, 8), (16, 4, 2, 2), stride=(1, 1), padding=(1, 1), dilation=(2, 2)
    ),
    "17 channels of 129 windows": Convolution((3, 1, 43, 1), (17, 1, 3, 5), padding=(1, 2)),
    "33 channels of 127 windows": Convolution((1, 5, 1, 127), (33, 5, 3, 1), padding=(1, 0), bias=False),
    "20 channels from 24": Convolution((1, 24, 5, 7), (20, 24, 2, 3), stride=(1, 2), padding=(1, 0)),
    "65 channels, grouped": Convolution((1, 10, 13, 12), (130, 5, 3, 1), padding=(1, 0), groups=2),
    "from 65 channels": Convolution((1, 65, 3, 4), (2, 65, 2, 1)),
    "two channels of two pixels": Convolution((4, 2, 1, 2), (2, 2, 1, 1)),
    "two channels of one pixel": Convolution((5, 2, 1, 1), (2, 2, 1, 1), bias=False),
    # around the direct rung's tiles: 16, 32 or 64 channels of 32 x 32, 16 or 8 pixels, 4 channels of x at a time
    "3x3 on half a tile": Convolution((2, 5, 17, 32), (6, 5, 3, 3), padding=(1, 1)),
    "3x3 on 33 x 35 pixels": Convolution((1, 4, 33, 37), (5, 4, 3, 3), padding=(1, 0)),
    "3x3, 17 channels of 17 rows": Convolution((1, 3, 19, 31), (17, 3, 3, 3), padding=(0, 2), bias=False),
    "3x3, 65 channels, grouped": Convolution((1, 10, 7, 9), (130, 5, 3, 3), padding=(2, 1), groups=2),
    "3x3, from 65 channels": Convolution((1, 65, 9, 4), (7, 65, 3, 3), padding=(1, 1)),
    "3x3, two parts of a sum, grouped": Convolution((2, 4, 16, 17), (6, 2, 3, 3), padding=(1, 1), groups=2),
    "3x3 padded by more than a window": Convolution((1, 2, 5, 4), (3, 2, 3, 3), padding=(3, 4)),
    "a sum of nine parts": Convolution((10, 2, 23, 19), (3, 2, 3, 2), padding=(1, 1)),
} | {f"width {width}": Convolution((1, 2, 5, width), (5, 2, 3, 3), padding=(1, 1)) for width in WIDTHS}


@cases_of("im2col", "col2im", "conv2d", "conv2d_relu", "conv2d_grad_x", "conv2d_grad_w", "conv2d_grad_b")
def _convolution_cases(primitive: str) -> Iterator[Case]:
    def build(c: Convolution, rng, dtype) -> tuple:
        def x():
            return normal(rng, dtype, *c.x)

        def w():
            return normal(rng, dtype, *c.w)

        def gy():
            return normal(rng, dtype, *c.y)

        unfold = (c.w[2:], c.stride, c.padding, c.dilation)
        match primitive:
            case "im2col":
                return x(), *unfold
            case "col2im":
                return normal(rng, dtype, *shapes.im2col(x(), *unfold)), c.x, *unfold
            case "conv2d" | "conv2d_relu":
                return x(), w(), normal(rng, dtype, c.w[0]) if c.bias else None, *c.window
            case "conv2d_grad_x":
                return gy(), w(), c.x, *c.window
            case "conv2d_grad_w":
                return gy(), x(), c.w, *c.window
            case "conv2d_grad_b":
                return (gy(),)

    def build_with_nan(c: Convolution, rng, dtype) -> tuple:
        x, *rest = build(c, rng, dtype)
        x[0, 0, 0, 0] = np.nan
        return x, *rest

    for name, convolution in CONVOLUTIONS.items():
        yield Case(name, partial(build, convolution))
    if primitive == "conv2d_relu":
        yield Case("NaN in a corner", partial(build_with_nan, CONVOLUTIONS["5x3"]))


@dataclass(frozen=True)
class Transposed(Convolution):
    """w is (C, O/groups, R, S)."""

    output_padding: Pair = (0, 0)


TRANSPOSED = {
    "one pixel": Transposed((1, 1, 1, 1), (1, 1, 1, 1)),
    "one pixel enlarged": Transposed((2, 3, 1, 1), (3, 2, 4, 3)),
    "2x2 stride 2": Transposed((2, 4, 5, 3), (4, 3, 2, 2), stride=(2, 2)),
    "2x2 stride 2 without bias": Transposed((1, 3, 4, 9), (3, 5, 2, 2), stride=(2, 2), bias=False),
    "4x4 stride 2": Transposed((2, 3, 4, 5), (3, 2, 4, 4), (2, 2), (1, 1)),
    "output padding": Transposed((1, 3, 5, 4), (3, 2, 3, 3), (2, 3), (1, 1), output_padding=(1, 2)),
    "gaps between windows": Transposed((1, 2, 4, 3), (2, 3, 2, 1), stride=(3, 2)),
    "all at once": Transposed((2, 3, 5, 4), (3, 4, 3, 2), (2, 3), (2, 1), (1, 2), output_padding=(1, 0)),
    "all at once, grouped": Transposed((2, 4, 4, 5), (4, 3, 2, 3), (3, 2), (1, 2), (2, 1), 2, False, (2, 1)),
    "depthwise": Transposed((1, 4, 5, 6), (4, 1, 3, 3), (2, 2), (1, 1), groups=4),
    "3x3 same": Transposed((2, 3, 9, 8), (3, 4, 3, 3), padding=(1, 1)),
    "one row": Transposed((2, 2, 1, 7), (2, 3, 3, 2), (1, 2), (1, 0)),
} | {f"width {width}": Transposed((1, 3, 3, width), (3, 2, 2, 2), stride=(2, 2)) for width in WIDTHS}


@cases_of("conv_transpose2d")
def _transposed_cases(primitive: str) -> Iterator[Case]:
    def build(t: Transposed, rng, dtype) -> tuple:
        x, w = normal(rng, dtype, *t.x), normal(rng, dtype, *t.w)
        b = normal(rng, dtype, t.w[1] * t.groups) if t.bias else None
        return x, w, b, t.stride, t.padding, t.output_padding, t.dilation, t.groups

    for name, transposed in TRANSPOSED.items():
        yield Case(name, partial(build, transposed))


# ------------------------------------------------------------------------------------------------------------- pool.py


@dataclass(frozen=True)
class Pooling:
    x: Shape
    kernel_size: Pair
    stride: Pair
    padding: Pair = (0, 0)
    values: Callable = normal

    @property
    def window(self) -> tuple:
        return self.kernel_size, self.stride, self.padding


POOLINGS = {
    "halved": Pooling((2, 3, 8, 6), (2, 2), (2, 2)),
    "one pixel": Pooling((1, 1, 1, 1), (1, 1), (1, 1)),
    "one pixel padded": Pooling((2, 1, 1, 1), (3, 3), (1, 1), (1, 1)),
    "last row and column unused": Pooling((1, 3, 7, 5), (2, 2), (2, 2)),
    "overlapping": Pooling((2, 2, 7, 8), (3, 3), (1, 1), (1, 1)),
    "overlapping, all unequal": Pooling((2, 3, 9, 10), (3, 4), (2, 1), (1, 2)),
    "gaps between windows": Pooling((1, 2, 11, 10), (2, 3), (3, 4)),
    "gaps, padded": Pooling((2, 2, 9, 11), (2, 3), (4, 5), (1, 1)),
    "whole image": Pooling((2, 2, 5, 4), (5, 4), (1, 1)),
    "one row": Pooling((2, 3, 1, 9), (1, 3), (1, 2), (0, 1)),
    "one column": Pooling((2, 3, 9, 1), (3, 1), (2, 1), (1, 0)),
    "ties": Pooling((2, 2, 9, 8), (3, 3), (2, 2), (1, 1), few),
} | {f"width {width}": Pooling((1, 2, 4, width), (2, 2), (2, 2)) for width in WIDTHS}


def _negative(rng, dtype, *shape):
    """All below zero: padding with 0 instead of -inf would win."""
    return -1 - np.abs(normal(rng, dtype, *shape))


def _constant(rng, dtype, *shape):
    """Every window is one tie."""
    return np.full(shape, 3, dtype)


def _nothing(rng, dtype, *shape):
    """-inf everywhere: no pixel is above the padding."""
    return np.full(shape, -np.inf, dtype)


def _special(rng, dtype, *shape):
    """NaN and both infinities here and there, in some windows several."""
    x = normal(rng, dtype, *shape)
    for value in (np.nan, np.inf, -np.inf):
        x[rng.random(shape) < 0.1] = value
    return x


MAXIMA = POOLINGS | {
    "negative": Pooling((1, 2, 6, 7), (3, 2), (2, 2), (1, 1), _negative),
    "constant": Pooling((1, 2, 6, 7), (3, 3), (1, 2), (1, 1), _constant),
    "only -inf": Pooling((1, 1, 5, 4), (3, 3), (2, 1), (1, 1), _nothing),
    "NaN and infinities": Pooling((2, 2, 9, 8), (3, 3), (2, 2), (1, 1), _special),
}


@cases_of("max_pool2d", "max_pool2d_grad_x", "max_unpool2d", "max_unpool2d_grad_x")
def _max_pooling_cases(primitive: str) -> Iterator[Case]:
    def build(p: Pooling, index_dtype, rng, dtype) -> tuple:
        x = p.values(rng, dtype, *p.x)
        if primitive == "max_pool2d":
            return x, *p.window
        y, indices = pool.max_pool2d(x, *p.window)
        indices = indices.astype(index_dtype)
        gy = normal(rng, dtype, *y.shape)
        match primitive:
            case "max_pool2d_grad_x":
                return gy, indices, p.x
            case "max_unpool2d":
                return gy, indices, p.x[2:]
            case "max_unpool2d_grad_x":
                return normal(rng, dtype, *p.x), indices

    for name, pooling in MAXIMA.items():
        yield Case(name, partial(build, pooling, np.int32))
    if primitive != "max_pool2d":
        yield Case("int64 indices", partial(build, MAXIMA["ties"], np.int64))


@cases_of("avg_pool2d", "avg_pool2d_grad_x")
def _average_pooling_cases(primitive: str) -> Iterator[Case]:
    def build(p: Pooling, count_include_pad: bool, rng, dtype) -> tuple:
        x = normal(rng, dtype, *p.x)
        if primitive == "avg_pool2d":
            return x, *p.window, count_include_pad
        gy = normal(rng, dtype, *shapes.avg_pool2d(x, *p.window, count_include_pad))
        return gy, p.x, *p.window, count_include_pad

    for name, pooling in POOLINGS.items():
        yield Case(name, partial(build, pooling, True))
        if max(pooling.padding) > 0:
            yield Case(f"{name}, only pixels counted", partial(build, pooling, False))


# --------------------------------------------------------------------------------- adaptive pooling, and resample.py

ADAPTIVE = {
    "one pixel": ((1, 1, 1, 1), (1, 1)),
    "global": ((2, 3, 7, 5), (1, 1)),
    "divides": ((2, 2, 6, 9), (3, 3)),
    "overlapping windows": ((1, 3, 7, 11), (3, 4)),
    "same size": ((1, 2, 5, 4), (5, 4)),
    "larger than the image": ((2, 1, 3, 2), (5, 7)),
    "from one pixel": ((2, 3, 1, 1), (3, 2)),
    "one row": ((2, 2, 1, 13), (1, 6)),
    "global, wide": ((1, 2, 5, 33), (1, 1)),
    "columns larger, rows smaller": ((1, 2, 9, 4), (2, 7)),
}

RESIZES = {
    "one pixel": ((1, 1, 1, 1), (1, 1)),
    "doubled": ((2, 3, 5, 4), (10, 8)),
    "halved": ((2, 2, 8, 6), (4, 3)),
    "same size": ((1, 2, 5, 7), (5, 7)),
    "larger by no integer": ((1, 3, 5, 7), (8, 17)),
    "smaller by no integer": ((2, 1, 11, 13), (4, 5)),
    "taller and narrower": ((1, 2, 4, 9), (7, 5)),
    "from one pixel": ((2, 3, 1, 1), (4, 3)),
    "to one pixel": ((2, 2, 5, 6), (1, 1)),
    "one row": ((2, 2, 1, 7), (3, 15)),
    "one column": ((2, 2, 7, 1), (15, 3)),
    # i * (14/46) in float32, and i * (30/22) even in float64, fall below the integer that they are
    "where a rounded quotient picks the wrong pixel": ((1, 1, 14, 30), (46, 22)),
} | {f"width {width}": ((1, 2, 3, width), (6, 2 * width)) for width in WIDTHS}


@cases_of(
    *("adaptive_avg_pool2d", "adaptive_avg_pool2d_grad_x"),
    *("resize_nearest", "resize_nearest_grad_x", "resize_bilinear", "resize_bilinear_grad_x"),
)
def _resizing_cases(primitive: str) -> Iterator[Case]:
    def build(x_shape: Shape, size: Pair, rng, dtype) -> tuple:
        if primitive.endswith("_grad_x"):
            return normal(rng, dtype, *x_shape[:2], *size), x_shape
        return normal(rng, dtype, *x_shape), size

    for name, (x_shape, size) in (ADAPTIVE if primitive.startswith("adaptive") else RESIZES).items():
        yield Case(name, partial(build, x_shape, size))


# ----------------------------------------------------------------------------------------------------------- linear.py

AFFINE = {
    "ordinary": (3, 5, 4),
    "one of each": (1, 1, 1),
    "one sample": (1, 9, 7),
    "one feature": (6, 1, 5),
    "one output": (4, 10, 1),
    "long": (2, 257, 10),
    "wide": (17, 8, 33),
    "a tile": (64, 16, 128),
    "beyond a tile": (65, 17, 129),
    "more terms than are added up at once": (3, 1030, 5),
    "many samples": (1030, 3, 5),
}


@cases_of("linear", "linear_grad_x", "linear_grad_w", "linear_grad_b")
def _linear_cases(primitive: str) -> Iterator[Case]:
    def build(N: int, I: int, O: int, bias: bool, rng, dtype) -> tuple:
        x, w, gy = normal(rng, dtype, N, I), normal(rng, dtype, O, I), normal(rng, dtype, N, O)
        match primitive:
            case "linear":
                return x, w, normal(rng, dtype, O) if bias else None
            case "linear_grad_x":
                return gy, w
            case "linear_grad_w":
                return gy, x
            case "linear_grad_b":
                return (gy,)

    for name, sizes in AFFINE.items():
        yield Case(name, partial(build, *sizes, True))
        if primitive == "linear":
            yield Case(f"{name}, no bias", partial(build, *sizes, False))


# ------------------------------------------------------------------------------------------------------- activation.py

ELEMENTWISE = {
    "images": (2, 3, 5, 7),
    "one value": (1,),
    "matrix": (3, 11),
    "stack": (2, 3, 4),
    "a block but one": (255,),
    "a block": (256,),
    "several blocks": (1, 3, 19, 23),
} | {f"vector {width}": (width,) for width in WIDTHS}


@cases_of("relu", "sigmoid", "tanh")
def _activation_cases(primitive: str) -> Iterator[Case]:
    def spread(shape: Shape, rng, dtype) -> tuple:
        return (5 * normal(rng, dtype, *shape),)

    def values(numbers: list, rng, dtype) -> tuple:
        return (np.array(numbers, dtype),)

    for name, shape in ELEMENTWISE.items():
        yield Case(name, partial(spread, shape))
    yield Case(
        "large", partial(values, [15.0, -15.0, 30.0, -30.0, 88.0, -88.0, 104.0, -104.0, 800.0, -800.0, 1e30, -1e30])
    )
    yield Case("small", partial(values, [0.0, -0.0, 1e-30, -1e-30, 1e-3, -1e-3, 0.02, -0.02]))
    yield Case("NaN and infinities", partial(values, [1.0, np.nan, np.inf, -np.inf, -2.0]))


@cases_of("relu_grad_x", "sigmoid_grad_x", "tanh_grad_x")
def _activation_gradient_cases(primitive: str) -> Iterator[Case]:
    def build(shape: Shape, rng, dtype) -> tuple:
        x = 2 * normal(rng, dtype, *shape)
        y = {
            "relu_grad_x": lambda: np.maximum(x, 0),
            "sigmoid_grad_x": lambda: (1 / (1 + np.exp(-x))).astype(dtype),
            "tanh_grad_x": lambda: np.tanh(x),
        }[primitive]()
        return normal(rng, dtype, *shape), y

    def at_the_ends(rng, dtype) -> tuple:
        y = np.array([-1.0, -0.0, 0.0, 1e-30, 0.5, 1 - 2**-20, 1.0], dtype)
        return normal(rng, dtype, *y.shape), y if primitive == "tanh_grad_x" else np.maximum(y, 0)

    for name, shape in ELEMENTWISE.items():
        yield Case(name, partial(build, shape))
    yield Case("ends of the range", at_the_ends)


# ---------------------------------------------------------------------------------------------------------- softmax.py

ALONG = {
    "classes of images": ((2, 3, 5, 4), 1),
    "classes of images, counted from the end": ((2, 4, 3, 5), -3),
    "21 classes": ((1, 21, 3, 3), 1),
    "one class": ((2, 1, 3, 2), 1),
    "one pixel": ((1, 2, 1, 1), 1),
    "rows": ((5, 7), -1),
    "columns": ((7, 5), 0),
    "first of three": ((4, 3, 5), 0),
    "last of three": ((2, 3, 9), 2),
    "vector": ((6,), 0),
    "attention": ((2, 33, 33), -1),
} | {f"width {width}": ((1, 3, 2, width), 1) for width in WIDTHS}


def _with_extremes(rng, dtype) -> np.ndarray:
    """Rows (5) of ordinary, all -inf, some -inf, +inf and NaN logits."""
    x = normal(rng, dtype, 5, 4)
    x[1] = -np.inf
    x[2, 1:3] = -np.inf
    x[3, 0] = np.inf
    x[4, 2] = np.nan
    return x


@cases_of("softmax", "log_softmax")
def _softmax_cases(primitive: str) -> Iterator[Case]:
    def build(scale: float, offset: float, shape: Shape, axis: int, rng, dtype) -> tuple:
        return scale * normal(rng, dtype, *shape) + dtype.type(offset), axis

    for name, (shape, axis) in ALONG.items():
        yield Case(name, partial(build, 1, 0, shape, axis))
    yield Case("far apart", partial(build, 300, 0, (2, 5, 3, 3), 1))
    yield Case("large", partial(build, 1, 1e4, (2, 5, 3, 3), 1))
    yield Case("large negative", partial(build, 1, -1e4, (2, 5, 3, 3), 1))
    yield Case("equal", partial(build, 0, 7, (2, 5, 3), 1))
    yield Case("NaN and infinities along rows", lambda rng, dtype: (_with_extremes(rng, dtype), 1))
    yield Case("NaN and infinities along columns", lambda rng, dtype: (_with_extremes(rng, dtype).T.copy(), 0))


@cases_of("softmax_grad_x", "log_softmax_grad_x")
def _softmax_gradient_cases(primitive: str) -> Iterator[Case]:
    def build(shape: Shape, axis: int, rng, dtype) -> tuple:
        forward = {"softmax_grad_x": softmax.softmax, "log_softmax_grad_x": softmax.log_softmax}[primitive]
        return normal(rng, dtype, *shape), forward(2 * normal(rng, dtype, *shape), axis), axis

    for name, (shape, axis) in ALONG.items():
        yield Case(name, partial(build, shape, axis))


# -------------------------------------------------------------------------------------------------------- attention.py

ATTENTION = {
    "ordinary": (2, 5, 7, 3, 4),
    "one of each": (1, 1, 1, 1, 1),
    "one query": (2, 1, 9, 4, 3),
    "one key": (2, 9, 1, 4, 3),
    "many samples": (33, 3, 2, 2, 2),
    "wide heads": (1, 9, 11, 65, 70),
    "more queries than a block": (1, 150, 20, 8, 8),
    "more keys than a chunk": (1, 10, 600, 8, 8),
    "several tiles of each": (2, 67, 131, 32, 32),
} | {f"width {width}": (1, width, width, width, width) for width in WIDTHS}
"""(B, M, N, d, C)"""


@cases_of("attention", "attention_grad")
def _attention_cases(primitive: str) -> Iterator[Case]:
    def build(change: Callable, scale: float, sizes: tuple[int, ...], rng, dtype) -> tuple:
        B, M, N, d, C = sizes
        q, k, v = normal(rng, dtype, B, M, d), scale * normal(rng, dtype, B, N, d), normal(rng, dtype, B, N, C)
        gy = normal(rng, dtype, B, M, C)
        change(gy, q, k, v)
        return (q, k, v) if primitive == "attention" else (gy, q, k, v, *attention.attention(q, k, v))

    def nan_at(number: int) -> Callable:
        def change(*arrays):
            arrays[number][0, 0, 0] = np.nan

        return change

    def nothing(*arrays):
        pass

    for name, sizes in ATTENTION.items():
        yield Case(name, partial(build, nothing, 1, sizes))
    yield Case("scores far apart", partial(build, nothing, 300, (2, 9, 33, 4, 3)))
    yield Case("equal scores", partial(build, nothing, 0, (2, 9, 33, 4, 3)))
    for number, where in enumerate(("gy", "q", "k", "v")[primitive == "attention" :], primitive == "attention"):
        yield Case(f"NaN in {where}", partial(build, nan_at(number), 1, (2, 19, 35, 4, 3)))


# ------------------------------------------------------------------------------------------------------------- norm.py

NORMALISED = {
    "ordinary": (2, 3, 5, 7),
    "one value": (1, 1, 1, 1),
    "one pixel": (5, 3, 1, 1),
    "one image": (1, 4, 6, 5),
    "one channel": (3, 1, 4, 3),
    "many channels": (2, 33, 3, 2),
    "large plane": (2, 2, 33, 31),
} | {f"width {width}": (2, 2, 3, width) for width in WIDTHS}


def _plain(x, channels):
    return x


def _far_from_zero(x, channels):
    """A mean of 1000: the mean of squares minus the squared mean would lose all digits of the variance."""
    return x + x.dtype.type(1000)


def _one_constant(x, channels):
    """A channel without variance."""
    x[:, 0] = x.dtype.type(0.1)
    return x


def _one_nan(x, channels):
    """A pixel that is NaN, and with it the statistics of its channel."""
    x[0, 0, 0, 0] = np.nan
    return x


def _first_zero(rng, dtype, channels):
    """Weights of which the first is 0."""
    weight = normal(rng, dtype, channels)
    weight[0] = 0
    return weight


def _away_from_the_kink(x, mean, var, weight, bias):
    """x moved a little wherever ReLU would meet a value near 0, which rounding may put on either side."""
    scale = np.sqrt(var + var.dtype.type(1e-5))
    weight = np.ones_like(var) if weight is None else weight
    near = np.abs(norm.batch_norm(x, mean, var, weight, bias, 1e-5)) < 0.05 * np.abs(weight)[:, None, None]
    return np.where(near, x + x.dtype.type(0.1) * scale[:, None, None], x)


@cases_of(
    *("batch_norm_stats", "batch_norm", "batch_norm_grad", "batch_norm_eval_grad"),
    *("batch_norm_relu", "batch_norm_relu_grad", "batch_norm_relu_eval_grad"),
)
def _norm_cases(primitive: str) -> Iterator[Case]:
    def build(shape: Shape, change: Callable, weights: Callable | None, biases: Callable | None, rng, dtype) -> tuple:
        channels = shape[1]
        x = change(normal(rng, dtype, *shape) * (1 + normal(rng, dtype, channels, 1, 1) ** 2), channels)
        weight, bias = (values and values(rng, dtype, channels) for values in (weights, biases))
        statistics = norm.batch_norm_stats(x)
        if primitive.endswith("_eval_grad"):  # those of other images
            statistics = normal(rng, dtype, channels), 0.5 + normal(rng, dtype, channels) ** 2
        match primitive:
            case "batch_norm_stats":
                return (x,)
            case "batch_norm" | "batch_norm_relu":
                return x, *statistics, weight, bias, 1e-5
            case "batch_norm_grad" | "batch_norm_eval_grad":
                return normal(rng, dtype, *shape), x, *statistics, weight, 1e-5
            case "batch_norm_relu_grad" | "batch_norm_relu_eval_grad":
                x = _away_from_the_kink(x, *statistics, weight, bias)
                return normal(rng, dtype, *shape), x, *statistics, weight, bias, 1e-5

    def at_the_kink(rng, dtype) -> tuple:
        """About a mean of 0, and without a bias, a pixel that is 0 stays 0 however the kernel rounds: ReLU lets nothing through."""
        x, weight = few(rng, dtype, 2, 3, 5, 4), normal(rng, dtype, 3)
        gy = () if primitive == "batch_norm_relu" else (normal(rng, dtype, *x.shape),)
        return *gy, x, np.zeros(3, dtype), np.ones(3, dtype), weight, None, 1e-5

    for name, shape in NORMALISED.items():
        yield Case(name, partial(build, shape, _plain, normal, normal))
    yield Case("far from zero", partial(build, (2, 3, 9, 11), _far_from_zero, normal, normal))
    yield Case("a constant channel", partial(build, (2, 3, 9, 11), _one_constant, normal, normal))
    if primitive != "batch_norm_stats":
        yield Case("no weight", partial(build, (2, 3, 5, 4), _plain, None, normal))
    if primitive == "batch_norm" or "relu" in primitive:
        yield Case("no bias", partial(build, (2, 3, 5, 4), _plain, normal, None))
        yield Case("neither weight nor bias", partial(build, (2, 3, 5, 4), _plain, None, None))
    if "relu" in primitive:
        yield Case("a weight of 0", partial(build, (2, 3, 5, 4), _plain, _first_zero, normal))
        yield Case("NaN in a channel", partial(build, (2, 3, 5, 4), _one_nan, normal, normal))
        yield Case("exactly at the kink", at_the_kink)


# ------------------------------------------------------------------------------------------------------------- loss.py


@dataclass(frozen=True)
class Labelled:
    """Logits or probabilities of K classes, with a label for each pixel."""

    z: Shape
    label_dtype: type = np.uint8
    ignored: float = 0.0  # the share of pixels that are ignored
    ignore_index: int = 255
    weights: tuple | None = None
    offset: float = 0.0
    change: Callable | None = None  # a last word on (z, target), in place

    def labels(self, rng, first: int, classes: int) -> np.ndarray:
        target = rng.integers(first, first + classes, (self.z[0], *self.z[2:])).astype(self.label_dtype)
        target[rng.random(target.shape) < self.ignored] = self.ignore_index
        return target


def _broken_where_ignored(z, target) -> None:
    """NaN and infinite values, but only where the label is 255."""
    where = np.argwhere(target == 255)
    for value, (n, i, j) in zip([np.nan, np.inf, -np.inf] * len(where), where, strict=False):
        z[n, :, i, j] = value


def _one_class_impossible(z, target) -> None:
    """A logit of -inf for class 0: probability 0, and an infinite loss where it is the label."""
    z[:, 0] = -np.inf


def _broken(z, target) -> None:
    """NaN, +inf, and -inf for all classes, at pixels that count."""
    z[0, 1, 0, 0] = np.nan
    z[0, 1, 0, 1] = np.inf
    z[0, :, 1, 0] = -np.inf


LABELLED = {
    "ordinary": Labelled((2, 3, 5, 4)),
    "one pixel": Labelled((1, 2, 1, 1)),
    "one class": Labelled((2, 1, 3, 4)),
    "21 classes": Labelled((1, 21, 5, 3), ignored=0.2),
    "int64 labels": Labelled((2, 3, 4, 5), np.int64, 0.3),
    "int32 labels": Labelled((2, 3, 4, 5), np.int32, 0.3),
    "some ignored": Labelled((2, 4, 6, 5), ignored=0.3),
    "all ignored": Labelled((2, 3, 4, 3), ignored=1.0),
    "a negative label ignored": Labelled((2, 3, 5, 4), np.int64, 0.3, -100),
    "a class ignored": Labelled((2, 3, 5, 4), ignored=0.1, ignore_index=1),
    "broken where ignored": Labelled((2, 3, 5, 4), ignored=0.3, change=_broken_where_ignored),
} | {f"width {width}": Labelled((1, 3, 2, width), ignored=0.2) for width in WIDTHS}

LOGITS = LABELLED | {
    "weights": Labelled((2, 3, 5, 4), weights=(0.5, 2.0, 1.25)),
    "weights, some ignored": Labelled((2, 3, 5, 4), ignored=0.3, weights=(0.5, 0.0, 1.7)),
    "large logits": Labelled((2, 3, 5, 4), offset=1e4),
    "one class impossible": Labelled((2, 3, 5, 4), change=_one_class_impossible),
    "broken logits": Labelled((2, 3, 5, 4), change=_broken),
}


@cases_of("cross_entropy", "cross_entropy_grad_z")
def _cross_entropy_cases(primitive: str) -> Iterator[Case]:
    def build(c: Labelled, rng, dtype) -> tuple:
        z = 3 * normal(rng, dtype, *c.z) + dtype.type(c.offset)
        target = c.labels(rng, 0, c.z[1])
        if c.change:
            c.change(z, target)
        weight = None if c.weights is None else np.array(c.weights, dtype)
        if primitive == "cross_entropy":
            return z, target, weight, c.ignore_index
        with np.errstate(invalid="ignore"):
            _, lse = loss.cross_entropy(z, target, weight, c.ignore_index)
        return normal(rng, dtype, *target.shape), z, lse, target, weight, c.ignore_index

    for name, labelled in LOGITS.items():
        yield Case(name, partial(build, labelled))


@cases_of("dice_sums", "dice_sums_grad_p")
def _dice_cases(primitive: str) -> Iterator[Case]:
    def build(c: Labelled, first_label: int, rng, dtype) -> tuple:
        p = rng.random(c.z).astype(dtype)
        target = c.labels(rng, 0, c.z[1] + first_label)  # with first_label 1, label 0 is in no channel
        if c.change:
            c.change(p, target)
        if primitive == "dice_sums":
            return p, target, first_label, c.ignore_index
        return normal(rng, dtype, 3, c.z[1]), p, target, first_label, c.ignore_index

    def many_alike(rng, dtype) -> tuple:
        """0.1 added up 65536 times: summed one by one in float32, every step would be rounded the same way."""
        p, target = np.full((1, 1, 256, 256), 0.1, dtype), np.ones((1, 256, 256), np.uint8)
        return p, target, 1, 255

    for name, labelled in LABELLED.items():
        yield Case(name, partial(build, labelled, 0))
    yield Case("foreground", partial(build, Labelled((3, 1, 5, 4), ignored=0.2), 1))
    yield Case("classes from label 1", partial(build, Labelled((2, 3, 5, 4)), 1))
    if primitive == "dice_sums":
        yield Case("many alike", many_alike)


@cases_of(
    *("binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits_grad_z"),
    *("mse_loss", "mse_loss_grad_a"),
)
def _pair_loss_cases(primitive: str) -> Iterator[Case]:
    def arguments(prediction: np.ndarray, target: np.ndarray, rng) -> tuple:
        g = (normal(rng, prediction.dtype, *prediction.shape),) if "_grad_" in primitive else ()
        return *g, prediction, target

    def build(shape: Shape, rng, dtype) -> tuple:
        return arguments(5 * normal(rng, dtype, *shape), rng.random(shape).astype(dtype), rng)

    def extremes(rng, dtype) -> tuple:
        z, y = np.meshgrid([0.0, 1e-3, 20.0, 100.0, 1000.0, -1e-3, -20.0, -100.0, -1000.0], [0.0, 1.0, 0.5])
        return arguments(z.astype(dtype), y.astype(dtype), rng)

    def broken(rng, dtype) -> tuple:
        z = np.array([np.nan, np.inf, -np.inf, 1.0, np.inf], dtype)
        return arguments(z, np.array([1.0, 0.0, 1.0, np.nan, 1.0], dtype), rng)

    for name, shape in ELEMENTWISE.items():
        yield Case(name, partial(build, shape))
    yield Case("extremes", extremes)
    yield Case("NaN and infinities", broken)


# ------------------------------------------------------------------------------------------------------------ optim.py

PARAMETERS = {"kernels": (4, 3, 3, 2), "one value": (1,), "matrix": (5, 7)} | {f"vector {w}": (w,) for w in WIDTHS}


@cases_of("sgd_update")
def _sgd_cases(primitive: str) -> Iterator[Case]:
    def build(shape: Shape, momentum, dampening, weight_decay, nesterov, rng, dtype) -> tuple:
        p, g, v = (normal(rng, dtype, *shape) for _ in range(3))
        return p, g, v, 0.1, momentum, dampening, weight_decay, nesterov

    for name, shape in PARAMETERS.items():
        yield Case(name, partial(build, shape, 0.9, 0.0, 0.0, False))
    yield Case("plain", partial(build, (3, 5), 0.0, 0.0, 0.0, False))
    yield Case("dampening and weight decay", partial(build, (3, 5), 0.9, 0.3, 1e-2, False))
    yield Case("Nesterov", partial(build, (3, 5), 0.9, 0.0, 1e-2, True))


@cases_of("rmsprop_update")
def _rmsprop_cases(primitive: str) -> Iterator[Case]:
    def build(shape: Shape, weight_decay: float, size: float, rng, dtype) -> tuple:
        p, g, v = (normal(rng, dtype, *shape) for _ in range(3))
        return p, size * g, (size * v) ** 2, 1e-3, 0.99, 1e-8, weight_decay

    def first(rng, dtype) -> tuple:
        p, g, v, *rest = build((3, 5), 0.0, 1.0, rng, dtype)
        return p, g, np.zeros_like(v), *rest

    for name, shape in PARAMETERS.items():
        yield Case(name, partial(build, shape, 0.0, 1.0))
    yield Case("first step", first)
    yield Case("no gradient ever", partial(build, (3, 5), 0.0, 0.0))
    yield Case("weight decay", partial(build, (3, 5), 1e-2, 1.0))
    yield Case("gradients as small as eps", partial(build, (3, 5), 0.0, 1e-8))


@cases_of("adam_update")
def _adam_cases(primitive: str) -> Iterator[Case]:
    def build(shape: Shape, step: int, weight_decay: float, size: float, rng, dtype) -> tuple:
        p, g, m, v = (normal(rng, dtype, *shape) for _ in range(4))
        return p, size * g, size * m, (size * v) ** 2, step, 1e-3, 0.9, 0.999, 1e-8, weight_decay

    def first(shape: Shape, size: float, rng, dtype) -> tuple:
        p, g, m, v, *rest = build(shape, 1, 0.0, size, rng, dtype)
        return p, g, np.zeros_like(m), np.zeros_like(v), *rest

    for name, shape in PARAMETERS.items():
        yield Case(name, partial(build, shape, 7, 0.0, 1.0))
    yield Case("first step", partial(first, (3, 5), 1.0))
    yield Case("first step, no gradient", partial(first, (3, 5), 0.0))
    yield Case("step 100000", partial(build, (3, 5), 100_000, 0.0, 1.0))
    yield Case("weight decay", partial(build, (3, 5), 3, 1e-2, 1.0))
    yield Case("gradients as small as eps", partial(build, (3, 5), 3, 0.0, 1e-8))
