"""Drawn scenes: the same at every call, with every class in each, at any size; and data sets like the others."""

import zlib

import numpy as np
import pytest

from minseg import runs
from minseg.data import SCENES, class_counts, draw_scene, open_data
from minseg.data.synthetic import Canvas
from minseg.errors import ArgumentError


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("size", [32, 64, (33, 70), (97, 48)])
def test_every_scene_holds_every_class(name, size):
    classes = len(SCENES[name][1])
    for index in range(6):
        image, mask = draw_scene(name, index, size)
        assert image.shape == (*mask.shape, 3)
        assert mask.shape == (size if isinstance(size, tuple) else (size, size))
        assert (image.dtype, mask.dtype) == (np.uint8, np.uint8)
        np.testing.assert_array_equal(np.unique(mask), np.arange(classes))
        assert image.std() > 10


@pytest.mark.parametrize("name", SCENES)
def test_scenes_are_the_same_at_every_call_and_differ_from_each_other(name):
    drawn = [zlib.crc32(draw_scene(name, i)[0].tobytes()) for i in range(8)]
    assert drawn == [zlib.crc32(draw_scene(name, i)[0].tobytes()) for i in range(8)]
    assert len(set(drawn)) == 8


@pytest.mark.parametrize("name", SCENES)
def test_the_data_set(name):
    data = open_data(name)
    assert (len(data.train), len(data.val)) == (64, 16)
    assert data.num_classes == len(data.class_names)
    assert data.in_channels == 3
    assert data.train.name(3) == f"{name}, scene 3"
    assert (class_counts(data.train, data.num_classes, per_image=True) > 0).all()
    train = {image.tobytes() for image in data.train.images}
    assert not any(image.tobytes() in train for image in data.val.images)
    with pytest.raises(ArgumentError, match=f"{name} has its own classes"):
        open_data(name, classes=["a", "b"])
    assert runs.settings_for(name).data == name


def test_masks_are_exact():
    """A disc without noise and blur has its colour exactly where the mask has its label."""
    canvas = Canvas((40, 40))
    canvas.paint(canvas.ellipse(20, 18, 9, 12, 30), 1, 200)
    canvas.paint(canvas.polygon([(5, 5), (5, 15), (15, 5)]), 2, 90)
    np.testing.assert_array_equal(canvas.image[..., 0] == 200, canvas.mask == 1)
    np.testing.assert_array_equal(canvas.image[..., 1] == 90, canvas.mask == 2)
    assert (canvas.mask == 1).sum() == pytest.approx(np.pi * 9 * 12, rel=0.02)
    assert (canvas.mask == 2).sum() == 66  # the corners of a triangle with legs of 11 pixels


def test_errors():
    with pytest.raises(ArgumentError, match="unknown scenes 'shape'; did you mean 'shapes'"):
        draw_scene("shape", 0)
    with pytest.raises(ArgumentError, match="index must be at least 0, got -1"):
        draw_scene("shapes", -1)
    for size in (31, (64, 5), (64, 64, 3)):
        with pytest.raises(ArgumentError, match="size must be at least 32 pixels a side"):
            draw_scene("cells", 0, size)
