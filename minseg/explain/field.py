"""The receptive field of a pixel in an image of any size."""

from minseg.inference import ALIGN
from minseg.models.field import receptive_field
from minseg.nn import Module


def reach_of(model: Module, pixel: tuple[int, int], in_channels: int | None = None) -> tuple[slice, slice]:
    """The rows and columns that a pixel of the output sees in an endless image, as slices that may begin below 0.

    Poolings by up to 32 make it depend on the pixel's place modulo 32, which is kept.
    """
    side = 2 * receptive_field(model, in_channels).strength.shape[0]
    middle = tuple(side // 2 + (at + ALIGN // 2) % ALIGN - ALIGN // 2 for at in pixel)
    box = receptive_field(model, in_channels, side, middle).box
    return tuple(slice(span.start - m + at, span.stop - m + at) for span, m, at in zip(box, middle, pixel, strict=True))
