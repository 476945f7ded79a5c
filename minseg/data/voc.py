"""PASCAL VOC's 21 classes, its colours, and its masks: palette images whose indices are the labels."""

import io
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from minseg.data.images import IGNORE, read_image, size_text
from minseg.errors import ArgumentError, DataError, DtypeError, ShapeError
from minseg.files import write_bytes

# fmt: off
VOC_CLASSES = [
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
]
# fmt: on


def voc_palette(count: int = 256) -> np.ndarray:
    """The colours of the labels 0 to count - 1 as (count, 3) uint8: any label's bits, shared out among red, green and blue.

    Neighbouring labels differ in the high bits, so they are told apart at a glance. Label 255, ignore, is a pale cream.

    >>> voc_palette()[[0, 1, 2, 15, 255]].tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [224, 224, 192]]
    """
    if not 1 <= count <= 256:
        raise ArgumentError(f"voc_palette: a palette has 1 to 256 colours, got {count}")
    k, c = np.arange(count)[:, None], np.arange(3)[None, :]
    bits = [(k >> (3 * j + c)) & 1 for j in range(3)]
    return sum(bit << (7 - j) for j, bit in enumerate(bits)).astype(np.uint8)  # eq: data.voc_palette


def write_palette_mask(path: str | os.PathLike, labels: np.ndarray, palette: np.ndarray | None = None) -> None:
    """Write labels (H, W) as a palette PNG, whole or not at all: viewers show colours, ``read_mask`` reads the labels back."""
    labels = np.asarray(labels)
    if labels.ndim != 2 or 0 in labels.shape:
        raise ShapeError(f"write_palette_mask: labels must be (H, W) with at least one pixel, got {labels.shape}")
    if labels.dtype.kind not in "iub":
        raise DtypeError(f"write_palette_mask: labels must be integers, got {labels.dtype}")
    if labels.min() < 0 or labels.max() > 255:
        raise ArgumentError(
            f"write_palette_mask: labels must be 0 to 255, got {labels.min()} to {labels.max()}; a palette has 256 colours"
        )
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(_expect_palette(voc_palette() if palette is None else palette).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())


def labels_of_colours(image: np.ndarray, palette: Sequence | np.ndarray | None = None) -> np.ndarray:
    """The labels (H, W) uint8 of a mask that is painted in colours (H, W, 3): VOC's 21 and its ignore colour by default.

    Row k of a palette is the colour of label k. DataError names the first pixel whose colour is none of them.
    """
    labels = [*range(len(VOC_CLASSES)), IGNORE] if palette is None else [*range(len(palette))]
    colours = voc_palette()[labels] if palette is None else _expect_palette(palette)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"labels_of_colours: expected a colour image (H, W, 3) uint8, got {image.shape} {image.dtype}")
    found = np.full(image.shape[:2], -1, np.int16)
    for label, colour in reversed(list(zip(labels, colours, strict=True))):  # of equal colours the first label
        found[(image == colour).all(axis=2)] = label
    if (found < 0).any():
        row, column = (int(i) for i in np.argwhere(found < 0)[0])
        raise DataError(
            f"a mask of {size_text(found.shape)} has the colour {tuple(image[row, column].tolist())} at row {row}, column "
            f"{column}, which is not in the palette of {len(colours)} colours; save masks as PNG (JPEG mixes colours)"
        )
    return found.astype(np.uint8)


def read_colour_mask(path: str | os.PathLike, palette: Sequence | np.ndarray | None = None) -> np.ndarray:
    """The labels of a mask file that is painted in a palette's colours instead of holding its indices."""
    try:
        return labels_of_colours(read_image(path), palette)
    except (DataError, ShapeError) as error:
        raise DataError(f"mask {os.fspath(path)}: {error}") from error


def _expect_palette(palette) -> np.ndarray:
    colours = np.asarray(palette)
    whole = colours.dtype.kind in "iu" and colours.size and colours.min() >= 0 and colours.max() <= 255
    if colours.ndim != 2 or colours.shape[1] != 3 or len(colours) > 256 or not whole:
        raise ArgumentError(
            f"a palette is 1 to 256 rows of red, green and blue, each a whole number 0 to 255; got {colours.shape} {colours.dtype}"
        )
    return colours.astype(np.uint8)
