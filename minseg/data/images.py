"""Reading images and masks from files. Whatever is wrong with one becomes a line that says which file and what to do."""

from pathlib import Path

import numpy as np
from PIL import Image

from minseg.errors import DataError

IGNORE = 255
"""The label of pixels that count neither in the loss nor in a score."""


def read_image(path: str | Path) -> np.ndarray:
    """An image as (H, W, C): C = 1 for grey, 3 for colour.

    8-bit images are uint8. 16-bit grey ones become float32 in the same units (value / 257, so white is 255 in both).
    Alpha is dropped; palette, CMYK and other colour images become RGB. EXIF rotation is not applied, as masks have none.
    """
    picture = _load(path, "image")
    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(
                f"image {path} has values from {values.min()} to {values.max()}, outside 16 bits; save it with 8 or 16 bits"
            )
        return (values.astype(np.float32) / np.float32(257))[..., None]
    if picture.mode == "F":
        raise DataError(f"image {path} holds floating-point values of unknown range; save it with 8 or 16 bits")
    grey = picture.mode in ("1", "L", "LA", "La")
    values = np.asarray(picture.convert("L" if grey else "RGB"))
    return values[..., None] if grey else values


def read_mask(path: str | Path, num_classes: int, binary: bool = False) -> np.ndarray:
    """A mask as uint8 (H, W): each pixel's class index, or 255 = ignore.

    Palette images are read as their indices. With ``binary`` the mask is black and white, and white (255) means class 1.
    """
    picture = _load(path, "mask")
    if picture.mode not in ("1", "L", "P") and not picture.mode.startswith("I"):
        raise DataError(
            f"mask {path} is {picture.mode}, expected one class index a pixel (mode L or P); "
            "replace each colour by its class index and save it as a grey PNG"
        )
    labels = np.asarray(picture)
    if binary and picture.mode != "1":
        _expect(labels, (labels == 0) | (labels == 255), path, "black (0) or white (255), as binary masks are")
        labels = labels == 255
    elif not binary:
        known = ((labels >= 0) & (labels < num_classes)) | (labels == IGNORE)
        _expect(labels, known, path, f"0 to {num_classes - 1} ({num_classes} classes), or {IGNORE} = ignore")
    return labels.astype(np.uint8)


def read_pair(
    image_path: Path, mask_path: Path, num_classes: int, binary: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask, of one size."""
    image, mask = read_image(image_path), read_mask(mask_path, num_classes, binary)
    if image.shape[:2] != mask.shape:
        raise DataError(
            f"image {image_path} is {size_text(image.shape[:2])}, but its mask {mask_path} is {size_text(mask.shape)}; "
            "resize the mask with nearest neighbour, or pair the right files"
        )
    return image, mask


def image_size(path: Path) -> tuple[int, int]:
    """Height and width from the file's header, without decoding it."""
    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except Exception as error:
        raise _unreadable(path, "image", error) from error


def size_text(size: tuple[int, int]) -> str:
    """Height and width as ``180 high, 240 wide``: tools disagree on which comes first."""
    return f"{size[0]} high, {size[1]} wide"


def _load(path: str | Path, what: str) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ... for damaged files
        raise _unreadable(path, what, error) from error


def _unreadable(path: str | Path, what: str, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{what} {path} does not exist; check the path")
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{what} {path} cannot be read: {reason}; it is damaged or no image, so export or copy it again")


def _expect(labels: np.ndarray, known: np.ndarray, path: str | Path, expected: str) -> None:
    if not known.all():
        row, column = (int(i) for i in np.argwhere(~known)[0])
        raise DataError(
            f"mask {path} has label {labels[row, column]} at row {row}, column {column}, expected {expected}; "
            "mend the mask or name all classes"
        )
