"""Masks and heat as colours: alone, laid over their image, and where they are wrong. Arrays in, arrays of colours out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from minseg.errors import ShapeError
from minseg.files import write_bytes
from minseg.viz.style import ERROR, GREY, IGNORE, palette, png, rgb


@dataclass
class Row:
    """One row of a picture of predictions: a raw image (H, W, C) with its true and its predicted labels (H, W)."""

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def colorize(mask: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Labels (H, W) as colours (H, W, 3) uint8; ignored pixels (255) are grey."""
    return palette(class_names)[mask]


def overlay(image: np.ndarray, mask: np.ndarray, class_names: Sequence[str], opacity: float = 0.45) -> np.ndarray:
    """The image (H, W, C) with each class's colour laid over it, solid along its border; background stays clear."""
    expect_same_size(image, mask, "overlay")
    shown = np.asarray(displayable(image), np.float32)
    colours = colorize(mask, class_names)
    strength = np.full(mask.shape, opacity, np.float32)
    strength[_borders(mask)] = 1
    if class_names[0] == "background":
        strength[mask == 0] = 0
    strength[mask == IGNORE] = 0
    mixed = shown + strength[..., None] * (colours - shown)
    return np.round(mixed).astype(np.uint8)


def displayable(image: np.ndarray) -> np.ndarray:
    """The raw image (H, W, C) as (H, W, 3) uint8: colours as they are, one channel stretched and brightened."""
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[2] == 3 and image.dtype == np.uint8:
        return image
    grey = image[..., :1].astype(np.float32)
    low, high = np.percentile(grey, [0.5, 99.8])
    stretched = np.clip((grey - low) / max(high - low, 1e-6), 0, 1) ** 0.5  # square root: dim structures show
    return np.repeat(np.round(255 * stretched).astype(np.uint8), 3, axis=2)


def mark_errors(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The image pale and without colour, wrong pixels red, ignored ones grey: (H, W, 3) uint8."""
    grey = displayable(image).astype(np.float32).mean(axis=2, keepdims=True)
    marked = np.repeat(np.round(195 + 60 * grey / max(grey.max(), 1)).astype(np.uint8), 3, axis=2)
    marked[truth == IGNORE] = rgb(GREY)
    marked[(truth != IGNORE) & (truth != prediction)] = rgb(ERROR)
    return marked


def heat(values: np.ndarray) -> np.ndarray:
    """Values (H, W) from 0 to 1 as colours (H, W, 3) uint8, from black over red to pale yellow, ever lighter."""
    from matplotlib import colormaps

    return np.round(255 * colormaps["inferno"](np.clip(values, 0, 1))[..., :3]).astype(np.uint8)


def heat_overlay(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Heat laid over the image (H, W, C), dark and without colour: (H, W, 3) uint8. The largest value is the lightest."""
    expect_same_size(image, values, "heat_overlay")
    share = values / max(float(values.max()), np.finfo(np.float32).tiny)
    grey = np.repeat(0.55 * displayable(image).astype(np.float32).mean(axis=2, keepdims=True), 3, axis=2)
    opacity = np.sqrt(np.clip(share, 0, 1))[..., None]
    return np.round(grey + opacity * (heat(0.25 + 0.75 * share) - grey)).astype(np.uint8)


def enlarge(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A layer's map (h, w) as large as the image, each value a block: pooling by 4 makes one value of 4x4 pixels.

    What a network has padded below and at the right is cut off; what its pooling has left over repeats the edge.
    """
    steps = [max(1, round(n / m)) for n, m in zip(size, values.shape, strict=True)]
    large = np.kron(values, np.ones(steps, values.dtype))[: size[0], : size[1]]
    return np.pad(large, [(0, n - m) for n, m in zip(size, large.shape, strict=True)], mode="edge")


def squares(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> list[Row]:
    """A long strip cut into about square rows, so that a figure can show it large; other images as one row."""
    height, width = truth.shape
    count = max(1, round(max(height, width) / min(height, width)))
    axis = 0 if height >= width else 1
    cut = [np.array_split(array, count, axis=axis) for array in (image, truth, prediction)]
    return [Row(*pieces) for pieces in zip(*cut, strict=True)]


def save_mask(mask: np.ndarray, path: str | os.PathLike, class_names: Sequence[str]) -> None:
    """Write labels as a palette PNG: a viewer shows colours, a program reads the labels."""
    picture = Image.fromarray(mask.astype(np.uint8))
    picture.putpalette(palette(class_names).tobytes())
    write_bytes(path, png(picture))


def save_image(image: np.ndarray, path: str | os.PathLike) -> None:
    """Write an (H, W, 3) uint8 image as a PNG."""
    write_bytes(path, png(Image.fromarray(image)))


def _borders(mask: np.ndarray) -> np.ndarray:
    """Pixels beside one with a smaller label."""
    border = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        first, second = np.moveaxis(mask, axis, 0)[:-1], np.moveaxis(mask, axis, 0)[1:]
        view = np.moveaxis(border, axis, 0)
        view[:-1] |= first > second
        view[1:] |= second > first
    return border


def expect_same_size(image: np.ndarray, mask: np.ndarray, where: str) -> None:
    if image.shape[:2] != mask.shape:
        raise ShapeError(
            f"{where}: the image is {image.shape[:2]} and the mask {mask.shape}; they must have the same size"
        )
