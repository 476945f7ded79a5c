"""PASCAL VOC's palette, and masks that survive being written as one and read again."""

import numpy as np
import pytest
from PIL import Image

from minseg.data import VOC_CLASSES, labels_of_colours, read_colour_mask, read_mask, voc_palette, write_palette_mask
from minseg.errors import ArgumentError, DataError, DtypeError, ShapeError

PUBLISHED = {
    "background": (0, 0, 0), "aeroplane": (128, 0, 0), "bicycle": (0, 128, 0), "bird": (128, 128, 0), "boat": (0, 0, 128),
    "bottle": (128, 0, 128), "bus": (0, 128, 128), "car": (128, 128, 128), "cat": (64, 0, 0), "chair": (192, 0, 0),
    "cow": (64, 128, 0), "diningtable": (192, 128, 0), "dog": (64, 0, 128), "horse": (192, 0, 128),
    "motorbike": (64, 128, 128), "person": (192, 128, 128), "pottedplant": (0, 64, 0), "sheep": (128, 64, 0),
    "sofa": (0, 192, 0), "train": (128, 192, 0), "tvmonitor": (0, 64, 128),
}  # fmt: skip


def labels(size=(7, 11)):
    return np.random.default_rng(0).choice([*range(21), 255], size).astype(np.uint8)


def test_the_palette_is_the_published_one():
    assert list(PUBLISHED) == VOC_CLASSES
    np.testing.assert_array_equal(voc_palette(21), list(PUBLISHED.values()))
    assert voc_palette()[255].tolist() == [224, 224, 192]
    assert len({tuple(colour) for colour in voc_palette().tolist()}) == 256
    assert voc_palette().dtype == np.uint8


def test_masks_are_written_and_read(tmp_path):
    path = tmp_path / "deep" / "mask.png"
    write_palette_mask(path, labels())
    np.testing.assert_array_equal(read_mask(path, 21), labels())
    with Image.open(path) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), voc_palette()[labels()])
    assert [file.name for file in path.parent.iterdir()] == ["mask.png"], "no part of a file is left behind"


def test_painted_masks_are_read_by_their_colours(tmp_path):
    painted = voc_palette()[labels()]
    np.testing.assert_array_equal(labels_of_colours(painted), labels())
    Image.fromarray(painted).save(tmp_path / "painted.png")
    np.testing.assert_array_equal(read_colour_mask(tmp_path / "painted.png"), labels())


def test_a_palette_of_ones_own(tmp_path):
    palette = [[10, 20, 30], [200, 0, 0], [10, 20, 30]]
    own = np.array([[0, 1], [1, 0]], np.uint8)
    write_palette_mask(tmp_path / "own.png", own, palette)
    np.testing.assert_array_equal(
        read_colour_mask(tmp_path / "own.png", palette), own
    )  # of equal colours the first label


def test_errors(tmp_path):
    painted = voc_palette()[labels()]
    painted[3, 4] = 1, 2, 3
    Image.fromarray(painted).save(tmp_path / "painted.png")
    with pytest.raises(DataError, match=r"painted.png: .*colour \(1, 2, 3\) at row 3, column 4, .*JPEG"):
        read_colour_mask(tmp_path / "painted.png")
    with pytest.raises(ShapeError, match="expected a colour image"):
        labels_of_colours(painted[..., 0])
    with pytest.raises(ShapeError, match=r"labels must be \(H, W\)"):
        write_palette_mask(tmp_path / "no.png", np.zeros((0, 3), np.uint8))
    with pytest.raises(DtypeError, match="labels must be integers, got float64"):
        write_palette_mask(tmp_path / "no.png", np.zeros((2, 3)))
    with pytest.raises(ArgumentError, match="labels must be 0 to 255, got -1 to 300"):
        write_palette_mask(tmp_path / "no.png", np.array([[-1, 300]]))
    with pytest.raises(ArgumentError, match="1 to 256 colours, got 300"):
        voc_palette(300)
    for palette in ([[1, 2]], [[0, 0, 300]], np.zeros((300, 3), int), [[0.5, 0, 0]]):
        with pytest.raises(ArgumentError, match="a palette is 1 to 256 rows"):
            write_palette_mask(tmp_path / "no.png", labels(), palette)
    assert not (tmp_path / "no.png").exists()
