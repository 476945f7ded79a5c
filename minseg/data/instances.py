"""Masks that number single objects, turned into masks of classes; and the boxes around those objects.

Two layouts are common: one image whose pixels hold the number of their object (8 or 16 bits, 0 = none), or a folder of
black-and-white images, one an object.
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from minseg.data.folders import SUFFIXES
from minseg.data.images import size_text
from minseg.data.voc import write_palette_mask
from minseg.errors import ArgumentError, DataError, DtypeError, ShapeError


def semantic_mask(instances: np.ndarray, label: int = 1, touching: int | None = None) -> np.ndarray:
    """The class of each pixel (H, W) uint8: ``label`` where there is an object, else 0.

    ``touching`` is the label of the pixels where one object meets another (255 to ignore them, or a class of its own, which
    teaches a network to keep neighbours apart); None leaves them to their object.
    """
    instances = _expect_instances("semantic_mask", instances)
    for name, value in (("label", label), ("touching", touching)):
        if value is not None and not 0 <= value <= 255:
            raise ArgumentError(f"semantic_mask: {name} must be 0 to 255, got {value}")
    mask = np.where(instances > 0, label, 0).astype(np.uint8)
    if touching is not None:
        mask[_meeting(instances)] = touching
    return mask


def boxes(instances: np.ndarray) -> dict[int, tuple[int, int, int, int]]:
    """The box (top, left, bottom, right) around each object; bottom and right are the first row and column below and beside it.

    It is what object detection would give: the same box for many a shape.

    >>> boxes(np.array([[0, 7, 7], [0, 7, 0], [0, 0, 9]]))
    {7: (0, 1, 2, 3), 9: (2, 2, 3, 3)}
    """
    instances = _expect_instances("boxes", instances)
    found = {}
    for number in np.unique(instances[instances > 0]).tolist():
        rows, columns = np.nonzero(instances == number)
        found[number] = int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1
    return found


def read_instances(path: str | os.PathLike) -> np.ndarray:
    """The object numbers (H, W) int32 of an image that holds them, or of a folder with one black-and-white image an object.

    Where the images of a folder overlap, the later one, by name, lies on top.
    """
    path = Path(path)
    if not path.is_dir():
        return _read_numbers(path)
    parts = _pictures(path)
    if not parts:
        raise DataError(f"{path} holds no masks of objects; put one black-and-white image an object there")
    instances = None
    for number, part in enumerate(parts, 1):
        inside = _read_numbers(part) > 0
        if instances is None:
            instances = np.zeros(inside.shape, np.int32)
        if inside.shape != instances.shape:
            raise DataError(
                f"mask {part} is {size_text(inside.shape)}, but {parts[0].name} beside it is {size_text(instances.shape)}"
            )
        instances[inside] = number
    return instances


def convert_instances(
    source: str | os.PathLike, target: str | os.PathLike, label: int = 1, touching: int | None = None
) -> list[Path]:
    """Write a semantic palette mask NAME.png into ``target`` for each NAME.* image or NAME/ folder in ``source``.

    All of ``source`` is read before the first file is written; a mask that is there already is an error. See ``semantic_mask``.
    """
    source, target = Path(source), Path(target)
    if not source.is_dir():
        raise DataError(f"{source} is not a folder; name one that holds instance masks")
    entries = {}
    for path in sorted(
        [*_pictures(source), *(p for p in source.iterdir() if p.is_dir() and not p.name.startswith("."))]
    ):
        name = path.name if path.is_dir() else path.stem
        if name in entries:
            raise DataError(f"{entries[name]} and {path} would both become {name}.png; rename or remove one")
        entries[name] = path
    if not entries:
        raise DataError(
            f"{source} holds no instance masks; put NAME.png, or folders NAME/ with one mask an object, there"
        )
    written = {target / f"{name}.png": path for name, path in entries.items()}
    for path in written:
        if path.exists():
            raise DataError(f"{path} exists already; name an empty folder, or remove it")
    masks = {path: semantic_mask(read_instances(origin), label, touching) for path, origin in written.items()}
    for path, mask in masks.items():
        write_palette_mask(path, mask)
    return list(masks)


def _meeting(instances: np.ndarray) -> np.ndarray:
    """Pixels of an object with a pixel of another one above, below, left or right of them."""
    meeting = np.zeros(instances.shape, bool)
    for axis in (0, 1):
        a, b = (np.moveaxis(instances, axis, 0)[part] for part in (np.s_[:-1], np.s_[1:]))
        differ = (a != b) & (a > 0) & (b > 0)
        along = np.moveaxis(meeting, axis, 0)  # a view
        along[:-1] |= differ
        along[1:] |= differ
    return meeting


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def _read_numbers(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            picture.load()
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ... for damaged files
        raise DataError(
            f"mask {path} cannot be read: {' '.join(str(error).split())}; export or copy it again"
        ) from error
    if picture.mode not in ("1", "L", "P") and not picture.mode.startswith("I"):
        raise DataError(
            f"mask {path} is {picture.mode}, expected one object number a pixel (mode L, P or 16 bits); save it as a grey PNG"
        )
    numbers = np.asarray(picture).astype(np.int32)
    if numbers.min() < 0:
        raise DataError(f"mask {path} has the object number {numbers.min()}, expected 0 = none or more")
    return numbers


def _expect_instances(name: str, instances: np.ndarray) -> np.ndarray:
    instances = np.asarray(instances)
    if instances.dtype.kind not in "iub":
        raise DtypeError(f"{name}: instances must be integers, got {instances.dtype}")
    if instances.ndim != 2:
        raise ShapeError(f"{name}: instances must be (H, W), got {instances.shape}")
    if instances.size and instances.min() < 0:
        raise ArgumentError(f"{name}: instances must be 0 = none or more, got {instances.min()}")
    return instances
