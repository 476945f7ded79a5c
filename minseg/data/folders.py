"""Data sets in folders of the reader's own: the PASCAL VOC layout, and plain folders of images and masks paired by name."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from minseg.data.dataset import FileDataset, SegmentationData, spread
from minseg.data.images import IGNORE, image_size, read_mask
from minseg.data.voc import VOC_CLASSES
from minseg.errors import ArgumentError, DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
LARGEST_CROP = 128
Pairs = list[tuple[Path, Path]]


class Folders(SegmentationData):
    """Data whose images are files; see ``open_data``."""

    def __init__(self, name: str, train: Pairs, val: Pairs, class_names: Sequence[str], binary: bool = False):
        k = len(class_names)
        super().__init__(name, FileDataset(train, k, binary), FileDataset(val, k, binary), class_names)
        if not binary:
            _expect_more_than_black_and_white(train, k)

    @cached_property
    def crop(self) -> int | None:
        """The largest multiple of 16, at most 128, that fits into every training image; None if one is smaller than 16."""
        smallest = min(min(image_size(image)) for image, _ in self.train.pairs)
        return min(smallest // 16 * 16, LARGEST_CROP) or None


def open_voc(name: str, root: Path, classes: str | Sequence[str] | None) -> Folders:
    """JPEGImages/NAME.jpg, SegmentationClass/NAME.png and the lists ImageSets/Segmentation/{train,val}.txt."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        if not (root / folder).is_dir():
            raise DataError(
                f"{root} has no folder {folder}, which the VOC layout needs; check the path, or use folder:DIR"
            )
    names = class_names(root, classes, VOC_CLASSES)
    images, masks = _by_stem(root / "JPEGImages"), _by_stem(root / "SegmentationClass")
    pairs = {}
    for split in ("train", "val"):
        listing = root / "ImageSets/Segmentation" / f"{split}.txt"
        if not listing.is_file():
            raise DataError(f"{listing} does not exist; write one image name a line into it, without suffix")
        stems = _lines(listing)
        if not stems:
            raise DataError(f"{listing} is empty; write one image name a line into it, without suffix")
        for stem in stems:
            if stem not in images or stem not in masks:
                folder = "JPEGImages" if stem not in images else "SegmentationClass"
                raise DataError(
                    f"{listing} lists {stem}, but {root / folder} has no such file; add it or take it off the list"
                )
        pairs[split] = [(images[stem], masks[stem]) for stem in stems]
    return Folders(name, pairs["train"], pairs["val"], names)


def open_folder(name: str, root: Path, classes: str | Sequence[str] | None, seed: int, binary: bool = False) -> Folders:
    """images/ and masks/ paired by stem: in train/ and val/, or in one place and split 80 to 20 by the hash of their names."""
    names = class_names(root, classes, ["background", "foreground"] if binary else None)
    if binary and len(names) != 2:
        raise ArgumentError(f"binary:{root} has two classes, got {len(names)} names: {', '.join(names)}")
    parts = [root / "train", root / "val"]
    if any(part.is_dir() for part in parts):
        for part in parts:
            if not part.is_dir():
                raise DataError(
                    f"{root} has no folder {part.name}/ beside its other one; make both, or neither for a split by name"
                )
        train, val = (_paired(part) for part in parts)
    else:
        train, val = split_by_name(_paired(root), seed)
        if not train:
            raise DataError(f"{root} has only one image; training and held-out data need one each, at least")
    return Folders(name, train, val, names, binary)


def split_by_name(pairs: Pairs, seed: int) -> tuple[Pairs, Pairs]:
    """A fifth held out, at least one: those whose names' hashes come first. Neither the order nor the path of files matters."""

    def order(pair: tuple[Path, Path]) -> str:
        return hashlib.sha256(f"{seed}/{pair[0].stem}".encode()).hexdigest()

    held_out = set(sorted(pairs, key=order)[: max(1, round(len(pairs) / 5))])
    return [pair for pair in pairs if pair not in held_out], [pair for pair in pairs if pair in held_out]


def class_names(root: Path, classes: str | Sequence[str] | None, default: Sequence[str] | None) -> list[str]:
    """The names given (a list, comma-separated, or a file, one a line), else those in ROOT/classes.txt, else the default."""
    if classes is None and (root / "classes.txt").is_file():
        classes = str(root / "classes.txt")
    if classes is None:
        if default is None:
            raise ArgumentError(
                f"{root} does not say which classes its masks have; name them in the order of their labels, as in "
                f"classes='background,cell', or one a line in {root / 'classes.txt'}"
            )
        return list(default)
    names = _listed(classes) if isinstance(classes, str) else list(classes)
    if not 2 <= len(names) <= IGNORE or len(set(names)) != len(names) or not all(names):
        raise ArgumentError(f"classes: expected 2 to {IGNORE} different names, the background's too, got {names}")
    return names


def _listed(classes: str) -> list[str]:
    if "," not in classes and (classes.endswith(".txt") or Path(classes).is_file()):
        if not Path(classes).is_file():
            raise ArgumentError(
                f"classes: the file {classes} does not exist; give a file with one name a line, or names with commas"
            )
        return _lines(Path(classes))
    return [name.strip() for name in classes.split(",")]


def _lines(path: Path) -> list[str]:
    """The lines of a text file, without empty ones."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text: {error.reason}; expected one name a line") from error
    return [line.strip() for line in lines if line.strip()]


def _by_stem(folder: Path) -> dict[str, Path]:
    """The picture files of a folder by their names without suffix."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise DataError(
                    f"{found[path.stem]} and {path.name} have one name but for the suffix; rename or remove one"
                )
            found[path.stem] = path
    return found


def _paired(root: Path) -> Pairs:
    """Every image of ROOT/images with the mask of its name in ROOT/masks."""
    for folder in (root / "images", root / "masks"):
        if not folder.is_dir():
            raise DataError(
                f"{folder} does not exist; put the images into images/ and their masks, of the same names, into masks/"
            )
    images, masks = _by_stem(root / "images"), _by_stem(root / "masks")
    if not images:
        raise DataError(f"{root / 'images'} holds no images; put some there ({', '.join(SUFFIXES)})")
    for these, others, kind in ((images, root / "masks", "mask"), (masks, root / "images", "image")):
        partners = masks if kind == "mask" else images
        alone = [stem for stem in these if stem not in partners]
        if alone:
            more = f" (nor have {len(alone) - 1} more)" if len(alone) > 1 else ""
            raise DataError(
                f"{these[alone[0]]} has no {kind} {alone[0]}.* in {others}{more}; add it or remove the file"
            )
    return [(images[stem], masks[stem]) for stem in images]


def _expect_more_than_black_and_white(pairs: Pairs, num_classes: int, most: int = 16) -> None:
    """Black-and-white masks look valid, as 255 means ignore, and would teach that all the world is class 0.

    The first mask with any other label ends the search, mostly the first of all.
    """
    white = False
    for i in spread(len(pairs), most):
        labels = np.unique(read_mask(pairs[i][1], num_classes))
        if not np.isin(labels, (0, IGNORE)).all():
            return
        white = white or IGNORE in labels
    if white:
        raise DataError(
            f"the masks in {pairs[0][1].parent} hold only 0 and 255, and 255 means ignore; for black-and-white masks "
            "use binary:DIR, where 255 is class 1, or replace 255 by 1 in them"
        )
