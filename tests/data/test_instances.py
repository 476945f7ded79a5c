"""Masks that number objects become masks of classes, from images of numbers and from folders of one image an object."""

import numpy as np
import pytest
from PIL import Image

from minseg.data import boxes, convert_instances, open_data, read_instances, read_mask, semantic_mask
from minseg.data.resources import embedded
from minseg.errors import ArgumentError, DataError, DtypeError, ShapeError

TOUCHING = np.array([[0, 5, 5, 9], [0, 5, 9, 9], [3, 0, 0, 9]])


def test_objects_become_a_class():
    assert semantic_mask(TOUCHING).tolist() == [[0, 1, 1, 1], [0, 1, 1, 1], [1, 0, 0, 1]]
    assert semantic_mask(TOUCHING, label=4).dtype == np.uint8
    np.testing.assert_array_equal(
        semantic_mask(TOUCHING, touching=2), [[0, 1, 2, 2], [0, 2, 2, 1], [1, 0, 0, 1]]
    )  # background between objects is no touching


def test_the_embedded_nuclei_are_such_a_mask():
    instances = embedded("nuclei_instances.png")
    data = open_data("nuclei")
    np.testing.assert_array_equal(semantic_mask(instances)[:, :384], data.train[0][1])
    found = boxes(instances)
    assert len(found) == 125
    for number, (top, left, bottom, right) in found.items():
        inside = instances[top:bottom, left:right] == number
        assert inside.sum() == (instances == number).sum()
        assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_a_folder_is_converted(tmp_path):
    source, target = tmp_path / "instances", tmp_path / "masks"
    (source / "cell2").mkdir(parents=True)
    numbers = np.array([[0, 300], [7, 7]], np.uint16)  # more than a byte holds
    Image.fromarray(numbers).save(source / "cell1.png")
    for i, part in enumerate(([[255, 0, 0]], [[255, 0, 255]])):
        Image.fromarray(np.array(part, np.uint8)).save(source / "cell2" / f"{i}.png")
    np.testing.assert_array_equal(read_instances(source / "cell1.png"), numbers)
    assert read_instances(source / "cell2").tolist() == [[2, 0, 2]]  # the later one lies on top
    written = convert_instances(source, target)
    assert written == [target / "cell1.png", target / "cell2.png"]
    assert read_mask(written[0], 2).tolist() == [[0, 1], [1, 1]]
    assert read_mask(written[1], 2).tolist() == [[1, 0, 1]]
    with pytest.raises(DataError, match=r"cell1.png exists already"):
        convert_instances(source, target)


def test_nothing_is_written_if_one_mask_is_bad(tmp_path):
    source = tmp_path / "instances"
    (source / "b").mkdir(parents=True)
    Image.fromarray(np.ones((2, 2), np.uint8)).save(source / "a.png")
    Image.fromarray(np.ones((2, 2), np.uint8)).save(source / "b" / "1.png")
    Image.fromarray(np.ones((2, 3), np.uint8)).save(source / "b" / "2.png")
    with pytest.raises(DataError, match=r"2.png is 2 high, 3 wide, but 1.png beside it is 2 high, 2 wide"):
        convert_instances(source, tmp_path / "masks")
    assert not (tmp_path / "masks").exists()


def test_errors(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        convert_instances(tmp_path / "nowhere", tmp_path / "masks")
    with pytest.raises(DataError, match="holds no instance masks"):
        convert_instances(tmp_path, tmp_path / "masks")
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="holds no masks of objects"):
        read_instances(tmp_path / "a")
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a.png is RGB, expected one object number a pixel"):
        read_instances(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"would both become a.png"):
        convert_instances(tmp_path, tmp_path / "masks")
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a.png cannot be read"):
        read_instances(tmp_path / "a.png")
    with pytest.raises(DtypeError, match="instances must be integers"):
        semantic_mask(np.zeros((2, 2)))
    with pytest.raises(ShapeError, match=r"instances must be \(H, W\)"):
        boxes(np.zeros((1, 2, 2), int))
    with pytest.raises(ArgumentError, match="instances must be 0 = none or more, got -1"):
        boxes(np.array([[-1]]))
    with pytest.raises(ArgumentError, match="touching must be 0 to 255, got 256"):
        semantic_mask(TOUCHING, touching=256)
