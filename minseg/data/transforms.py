"""Augmentation that moves whole pixels of an image and its mask together, so every pixel keeps its value and its label.

A transform is called as ``transform(image, mask, rng)`` with (C, H, W) and (H, W) arrays of any dtype, and draws from
``rng`` only. Results may be views. Those that read between pixels stand in geometry.py, those that change values in colour.py.
"""

from collections.abc import Callable, Sequence

import numpy as np

from minseg.data.geometry import expect_size
from minseg.data.images import size_text
from minseg.errors import ArgumentError, DataError, nearest_names

Transform = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


class RandomCrop:
    """Cut a window of this size (an integer, or height and width) at a place drawn uniformly.

    A smaller image is an error, or, with ``clip``, gives as much of the window as there is.
    """

    def __init__(self, size: int | tuple[int, int], clip: bool = False):
        self.size = expect_size("RandomCrop", size)
        self.clip = clip

    def __call__(self, image, mask, rng):
        (height, width), (h, w) = mask.shape, self.size
        if self.clip:
            h, w = min(h, height), min(w, width)
        if height < h or width < w:
            raise DataError(
                f"the image is {size_text((height, width))}, smaller than the crop {size_text((h, w))}; "
                f"choose a crop of at most {min(height, width)}, or leave small images out"
            )
        top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
        window = np.s_[..., top : top + h, left : left + w]
        return image[window], mask[window]  # eq: data.crop


class RandomFlip:
    """Mirror with probability p: left and right (``axis="horizontal"``), top and bottom (``"vertical"``), or ``"both"``.

    With ``"both"`` each of the two is drawn for itself.
    """

    AXES = ("horizontal", "vertical", "both")

    def __init__(self, p: float = 0.5, axis: str = "horizontal"):
        if not 0 <= p <= 1:
            raise ArgumentError(f"RandomFlip: p must be a probability, 0 to 1, got {p}")
        if axis not in self.AXES:
            raise ArgumentError(f"RandomFlip: unknown axis {axis!r}; {nearest_names(axis, self.AXES)}")
        self.p, self.axis = p, axis

    def __call__(self, image, mask, rng):
        if self.axis != "vertical" and rng.random() < self.p:
            image, mask = image[..., ::-1], mask[..., ::-1]  # eq: data.flip
        if self.axis != "horizontal" and rng.random() < self.p:
            image, mask = image[..., ::-1, :], mask[..., ::-1, :]  # eq: data.flip_rows
        return image, mask


class RandomQuarterTurn:
    """Turn by 0, 90, 180 or 270 degrees: for pictures without an up and down, as through microscopes or from above."""

    def __call__(self, image, mask, rng):
        turns = int(rng.integers(4))
        return np.rot90(image, turns, (-2, -1)), np.rot90(mask, turns, (-2, -1))  # eq: data.rotate


class Compose:
    """One transform after another."""

    def __init__(self, transforms: Sequence[Transform]):
        self.transforms = list(transforms)

    def __call__(self, image, mask, rng):
        for transform in self.transforms:
            image, mask = transform(image, mask, rng)
        return image, mask
