"""Augmentation that moves an image and its mask together, so every pixel keeps its label.

A transform is called as ``transform(image, mask, rng)`` with (C, H, W) and (H, W) arrays of any dtype, and draws from
``rng`` only. It moves pixels and never changes their values: labels stay labels. Results may be views.
"""

from collections.abc import Callable, Sequence

import numpy as np

from minseg.data.images import size_text
from minseg.errors import ArgumentError, DataError

Transform = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


class RandomCrop:
    """Cut a window of this size (an integer, or height and width) at a place drawn uniformly.."""

    def __init__(self, size: int | tuple[int, int]):
        self.size = (size, size) if np.ndim(size) == 0 else tuple(size)
        if len(self.size) != 2 or min(self.size) < 1:
            raise ArgumentError(f"RandomCrop: size must be a positive integer or a pair of them, got {size!r}")

    def __call__(self, image, mask, rng):
        (height, width), (h, w) = mask.shape, self.size
        if height < h or width < w:
            raise DataError(
                f"the image is {size_text((height, width))}, smaller than the crop {size_text((h, w))}; "
                f"choose a crop of at most {min(height, width)}, or leave small images out"
            )
        top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
        window = np.s_[..., top : top + h, left : left + w]
        return image[window], mask[window]  # eq: data.crop


class RandomFlip:
    """Mirror left and right with probability p."""

    def __init__(self, p: float = 0.5):
        if not 0 <= p <= 1:
            raise ArgumentError(f"RandomFlip: p must be a probability, 0 to 1, got {p}")
        self.p = p

    def __call__(self, image, mask, rng):
        if rng.random() >= self.p:
            return image, mask
        return image[..., ::-1], mask[..., ::-1]  # eq: data.flip


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
