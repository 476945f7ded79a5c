"""Which data sets there are, by the names that commands and ``open_data`` take."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from minseg.data.dataset import SegmentationData
from minseg.data.earth import Earth
from minseg.data.folders import open_folder, open_voc
from minseg.data.nuclei import Nuclei
from minseg.data.synthetic import SCENES, Scenes
from minseg.errors import ArgumentError, DataError, nearest_names

EMBEDDED = {"nuclei": Nuclei, "earth": Earth} | {name: partial(Scenes, name) for name in SCENES}
"""What comes with minseg, as pictures or drawn when asked for; each has its own classes."""
FROM_DISK = ("voc", "folder", "binary")
KNOWN = (*EMBEDDED, *(f"{kind}:DIR" for kind in FROM_DISK))


def open_data(spec: str, classes: str | Sequence[str] | None = None, seed: int = 0) -> SegmentationData:
    """Open a data set by name.

    Parameters
    ----------
    spec : str
        ``nuclei``: one fluorescence micrograph, background and nucleus. ``earth``: satellite picture and land cover.
        ``shapes``, ``streets``, ``cells``, ``faces``: drawn scenes of 64 x 64 pixels with exact masks.
        ``voc:DIR``: the PASCAL VOC layout (JPEGImages/, SegmentationClass/, ImageSets/Segmentation/{train,val}.txt).
        ``folder:DIR``: DIR/images and DIR/masks paired by name without suffix, split 80 to 20; or the same two folders in
        each of DIR/train and DIR/val.
        ``binary:DIR``: the same with black-and-white masks, where white (255) is class 1 and nothing is ignored.
        Masks hold one class index a pixel, 255 = ignore; palette images are read as their indices.
    classes : str or sequence of str, optional
        Names in the order of the labels: a list, comma-separated, or a file with one a line. Left out: DIR/classes.txt if
        there is one, else VOC's 21 classes for ``voc``, background and foreground for ``binary``.
    seed : int
        Chooses which fifth ``folder`` and ``binary`` hold out. Evaluate with the seed that was trained with.

    Raises
    ------
    ArgumentError
        If the name or the classes are not usable.
    DataError
        If folders, files or pairs are missing, or the first masks are unusable. All others are read, and judged, when their
        turn comes.

    >>> open_data("nuclei")
    <SegmentationData nuclei: 1 for training, 1 held out, classes background, nucleus>
    """
    kind, colon, path = spec.partition(":")
    if kind in EMBEDDED and not colon:
        data = EMBEDDED[kind]()
        if classes is not None:
            raise ArgumentError(f"{kind} has its own classes ({', '.join(data.class_names)}); leave classes out")
        return data
    if kind not in FROM_DISK:
        raise ArgumentError(f"unknown data {spec!r}; {nearest_names(spec, KNOWN)}")
    if not path:
        raise ArgumentError(f"data {spec!r} lacks its folder; write {kind}:DIR")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; check the path in {spec!r}")
    if kind == "voc":
        return open_voc(spec, root, classes)
    return open_folder(spec, root, classes, seed, binary=kind == "binary")
