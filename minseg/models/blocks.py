"""What the networks share: checked options, images of any size, and the small stacks that many papers build from."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from minseg import ops
from minseg.autograd import Tensor, pad
from minseg.errors import ArgumentError, ShapeError
from minseg.nn import BatchNorm2d, Conv2d, Module, ReLU, Sequential
from minseg.ops.arguments import expect_tensor, integer


class Network(Module):
    """A network that knows its channels and classes, and refuses anything but images (N, in_channels, H, W)."""

    def __init__(self, in_channels: int, num_classes: int):
        self.in_channels = positive(in_channels, f"{type(self).__name__}: in_channels")
        self.num_classes = positive(num_classes, f"{type(self).__name__}: num_classes")

    def expect_images(self, x: Tensor) -> None:
        """ShapeError or DtypeError, naming this network, unless x is a batch of images with its number of channels."""
        where = type(self).__name__
        expect_tensor(x, f"{where}: x")
        if x.ndim != 4 or x.shape[1] != self.in_channels or min(x.shape) < 1:
            raise ShapeError(f"{where}: expected images (N, {self.in_channels}, H, W), got {x.shape}")


class Segmenter(Network):
    """Images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    A subclass writes ``logits``, which may count on sides that ``multiple`` divides: zeros fill them up below and at the right,
    and the logits are cropped again.
    """

    multiple = 1

    def logits(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes, h, w) of images (N, in_channels, h, w) whose sides are multiples of ``multiple``."""
        raise NotImplementedError(f"{type(self).__name__} has no logits")

    def forward(self, x: Tensor) -> Tensor:
        self.expect_images(x)
        H, W = x.shape[2:]
        below, right = -H % self.multiple, -W % self.multiple
        if below == right == 0:
            return self.logits(x)
        return self.logits(pad(x, (0, right, 0, below)))[:, :, :H, :W]


def positive(value, name: str) -> int:
    """The value, if it is an integer of at least 1."""
    if integer(value, name) < 1:
        raise ArgumentError(f"{name} must be at least 1, got {value}")
    return int(value)


def positives(values, name: str, count: int | None = None) -> tuple[int, ...]:
    """The values, if they are integers of at least 1: at least one of them, or exactly ``count``."""
    if not isinstance(values, Iterable):
        raise ArgumentError(f"{name} must be several integers, as in (16, 32, 64), got {values!r}")
    values = tuple(positive(value, name) for value in values)
    if len(values) != count if count else not values:
        raise ArgumentError(f"{name} must be {count or 'one or more'} integers, got {values}")
    return values


def conv_norm_relu(in_channels: int, out_channels: int, kernel_size: int, rng: np.random.Generator) -> Sequential:
    """Convolution without bias that keeps the size, batch norm (which has the bias), ReLU."""
    return Sequential(
        Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False, rng=rng),
        BatchNorm2d(out_channels),
        ReLU(),
    )


def stage(in_channels: int, out_channels: int, depth: int, rng: np.random.Generator) -> Sequential:
    """``depth`` times: 3x3 convolution, batch norm, ReLU; the first changes the channels."""
    channels = (in_channels, *[out_channels] * depth)
    layers = [layer for i, o in pairwise(channels) for layer in conv_norm_relu(i, o, 3, rng)]
    return Sequential(*layers)


def resized_like(x: Tensor, y: Tensor) -> Tensor:
    """x at the height and width of y, bilinear."""
    return ops.interpolate(x, size=y.shape[2:], mode="bilinear")


def add_coarse_to_fine(maps: Sequence[Tensor]) -> Tensor:
    """Maps of equal channels, the coarsest first: each sum is enlarged and added to the next map (W-20: FCN adds)."""
    y = maps[0]
    for finer in maps[1:]:
        y = finer + resized_like(y, finer)
    return y


# ------------------------------------------------------------------------------ a classifier of windows as a segmenter


def with_weights_of(classifier: Module, segmenter: Module) -> Module:
    """The segmenter with the classifier's weights: the same numbers, those of fully connected layers in the shape of kernels.

    A fully connected layer (O, C R S) behind a map (C, R, S), flattened row by row, is a convolution (O, C, R, S).
    """
    shapes = {name: array.shape for name, array in segmenter.state_dict().items()}
    state = {name: array.reshape(shapes[name]) for name, array in classifier.state_dict().items()}
    segmenter.to(dtype=next(classifier.parameters()).dtype).load_state_dict(state)
    return segmenter.train(classifier.training)


class SlidingClassifier(Segmenter):
    """A classifier of windows turned into a segmenter: ``scores`` says what it thinks of each window, ``stride`` pixels apart.

    Zeros around the image centre each window on a cell of stride x stride pixels; the cells' scores become logits of all pixels by
    bilinear interpolation.
    """

    window: int
    stride: int

    def scores(self, x: Tensor) -> Tensor:
        """The classifier's scores (N, num_classes, h, w) of all windows that lie in images (N, in_channels, H, W)."""
        raise NotImplementedError(f"{type(self).__name__} has no scores")

    @property
    def multiple(self) -> int:
        return self.stride

    def logits(self, x: Tensor) -> Tensor:
        around = (self.window - self.stride) // 2
        y = self.scores(pad(x, (around,) * 4))  # (N, K, h/stride, w/stride)
        return resized_like(y, x)
