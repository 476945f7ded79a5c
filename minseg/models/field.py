"""The receptive field, measured: which pixels of the image can change one pixel of the output."""

import contextlib
import copy
import math
from dataclasses import dataclass

import numpy as np

from minseg import backend
from minseg.autograd import Tensor, tensor
from minseg.errors import ArgumentError, ShapeError
from minseg.nn import MaxPool2d, Module, instead
from minseg.ops import avg_pool2d

SIZES = (64, 128, 256)
"""Sides of the images tried, until the field fits into one."""


@dataclass(frozen=True)
class ReceptiveField:
    """What one pixel of the output sees.

    pixel: (row, column) of the pixel.
    strength: (H, W), how strongly each pixel of the image reaches it, if all weights were equal; the sum is 1.
    """

    pixel: tuple[int, int]
    strength: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """(H, W) booleans: the pixels that can change the output."""
        return self.strength > 0

    @property
    def box(self) -> tuple[slice, slice]:
        """The rows and columns that it spans."""
        spans = (np.flatnonzero(self.seen.any(axis=other)) for other in (1, 0))
        return tuple(slice(int(span[0]), int(span[-1]) + 1) for span in spans)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, the pixel itself included."""
        return tuple(span.stop - span.start for span in self.box)

    @property
    def reach(self) -> int:
        """How many pixels far it sees, in the direction in which that is farthest."""
        return max(max(at - span.start, span.stop - 1 - at) for at, span in zip(self.pixel, self.box, strict=True))

    @property
    def cut(self) -> bool:
        """Whether it touches the image's border, so that it may be larger than measured."""
        return any(span.start == 0 or span.stop == n for span, n in zip(self.box, self.strength.shape, strict=True))


def receptive_field(
    model: Module,
    in_channels: int | None = None,
    size: int | tuple[int, int] | None = None,
    pixel: tuple[int, int] | None = None,
    images: int = 2,
) -> ReceptiveField:
    """Measure which pixels one pixel of the output depends on: the gradient of that pixel for the image (``conv.receptive_field``).

    A copy of the model is measured whose weights are all positive and equal, so that no two paths cancel and no ReLU blocks one,
    and whose maxima (``MaxPool2d``) are means over the same window, so that every pixel in it counts. Where values are put back
    by stored indices (max-unpooling) a pixel's place depends on the image: the field is then the union over several random ones,
    and may be larger.

    Parameters
    ----------
    model : Module
        Maps (N, C, H, W) to logits (N, K, H, W).
    in_channels : int, optional
        C; the model's own ``in_channels`` where left out.
    size : int or (int, int), optional
        Of the images; where left out, 64, 128 or 256: the first that the field does not fill (see ``ReceptiveField.cut``).
    pixel : (row, column), optional
        The central one where left out. Poolings make pixels see differently far to either side.
    images : int
        How many random images.
    """
    channels = getattr(model, "in_channels", None) if in_channels is None else in_channels
    if channels is None:
        raise ArgumentError(f"receptive_field: {type(model).__name__} does not say its in_channels; pass them")
    sizes = SIZES if size is None else (size,)
    bare = _with_equal_weights(model)
    for side in sizes:
        H, W = (side, side) if isinstance(side, int) else side
        at = (H // 2, W // 2) if pixel is None else pixel
        field = ReceptiveField(at, _strength(bare, (images, channels, H, W), at))
        if not field.cut:
            break
    return field


def _strength(model: Module, shape: tuple[int, ...], pixel: tuple[int, int]) -> np.ndarray:
    """The gradient of one output pixel, all classes and images together, for the image; scaled to the sum 1."""
    row, column = pixel
    if not (0 <= row < shape[2] and 0 <= column < shape[3]):
        raise ShapeError(f"receptive_field: the pixel {pixel} lies outside of an image of {shape[2:]} pixels")
    x = tensor(np.random.default_rng(0).uniform(0.5, 1.5, shape), requires_grad=True)
    with _means_for_maxima(model):
        model(x)[:, :, row, column].sum().backward()
    total = np.abs(Tensor(x.grad).numpy()).sum(axis=(0, 1))
    if not (np.isfinite(total).all() and total.any()):
        raise ArgumentError("receptive_field: the output does not depend on the image, or the gradient is not finite")
    return total / total.sum()


def _with_equal_weights(model: Module) -> Module:
    """A copy in float64 and evaluation mode that keeps the size of what passes through: 1/fan-in everywhere, no shifts."""
    bare = copy.deepcopy(model).to(np.float64).eval()
    full = backend.current().xp.full
    for p in bare.parameters():
        value = 1 / math.prod(p.shape[1:])  # of a norm's scale: 1
        p.data, p.grad, p.requires_grad = full(p.shape, value), None, False
    for module in bare.modules():
        for name, value in (("running_mean", 0.0), ("running_var", 1.0)):
            if getattr(module, name, None) is not None:
                setattr(module, name, full(getattr(module, name).shape, value))
    return bare


def _means_for_maxima(model: Module):
    """Inside this block every MaxPool2d that only pools takes the mean over its window."""
    blocks = contextlib.ExitStack()
    for module in model.modules():
        if isinstance(module, MaxPool2d) and not module.return_indices:
            window = module.kernel_size, module.stride, module.padding
            blocks.enter_context(instead(module, lambda x, window=window: avg_pool2d(x, *window)))
    return blocks
