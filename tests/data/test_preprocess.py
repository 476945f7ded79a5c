"""Scaling and standardising, against the formulas in float64."""

import json

import numpy as np
import pytest

from minseg.data import Preprocess
from minseg.errors import DataError, DtypeError, FileError, ShapeError

RNG = np.random.default_rng(0)


def raw(channels, size=(5, 7)):
    return RNG.integers(0, 256, (*size, channels)).astype(np.uint8)


@pytest.mark.parametrize("log_gain", [None, 20.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_training_set_comes_out_standardised(channels, log_gain):
    images = [raw(channels, (9, 4)), raw(channels, (3, 11))]  # of different sizes: pixels count, not images
    preprocess = Preprocess.fit(images, log_gain)
    u = np.concatenate([image.reshape(-1, channels) for image in images]) / 255
    u = u if log_gain is None else np.log(1 + log_gain * u)
    np.testing.assert_allclose(preprocess.mean, u.mean(0), rtol=1e-6)
    np.testing.assert_allclose(preprocess.std, u.std(0), rtol=1e-6)
    outputs = [preprocess(image) for image in images]
    expected = ((u - u.mean(0)) / u.std(0))[: 9 * 4].reshape(9, 4, channels).transpose(2, 0, 1)
    np.testing.assert_allclose(outputs[0], expected, rtol=1e-5, atol=2e-6)
    assert outputs[0].dtype == np.float32
    assert outputs[0].flags.c_contiguous
    assert outputs[1].shape == (channels, 3, 11)


def test_float_images_are_in_the_same_units():
    preprocess, image = Preprocess((0.4,), (0.2,)), raw(1)
    np.testing.assert_array_equal(preprocess(image), preprocess(image.astype(np.float32)))


def test_the_raw_image_is_left_alone():
    image = raw(3).astype(np.float32)
    before = image.copy()
    Preprocess((0.5,) * 3, (0.1,) * 3)(image)
    np.testing.assert_array_equal(image, before)


def test_a_constant_channel_is_not_divided_by_zero():
    preprocess = Preprocess.fit([np.full((4, 4, 1), 9, np.uint8)])
    np.testing.assert_allclose(preprocess(np.full((2, 2, 1), 9, np.uint8)), 0, atol=1e-6)


def test_grey_where_colour_is_expected_is_repeated():
    preprocess, grey = Preprocess((0.1, 0.2, 0.3), (1, 2, 3)), raw(1)
    np.testing.assert_array_equal(preprocess(grey), preprocess(np.repeat(grey, 3, 2)))


def test_colour_where_grey_is_expected_must_be_grey():
    preprocess, grey = Preprocess((0.1,), (2,)), raw(1)
    np.testing.assert_array_equal(preprocess(np.repeat(grey, 3, 2)), preprocess(grey))
    with pytest.raises(DataError, match="3 channels, but the training images have 1"):
        preprocess(raw(3))
    with pytest.raises(DataError, match="4 channels, but the training images have 1"):
        preprocess(raw(4))


def test_grey_images_among_colour_ones_count_in_every_channel():
    grey, colour = raw(1), raw(3)
    mixed, repeated = Preprocess.fit([grey, colour]), Preprocess.fit([np.repeat(grey, 3, 2), colour])
    assert mixed.channels == 3
    np.testing.assert_allclose([mixed.mean, mixed.std], [repeated.mean, repeated.std], rtol=1e-12)


def test_it_survives_a_file_exactly():
    preprocess = Preprocess.fit([raw(3)], log_gain=20.0)
    again = Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict())))
    assert again == preprocess
    assert Preprocess.from_dict(json.loads(json.dumps(Preprocess((0.5,), (1,)).to_dict()))).log_gain is None


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"mean": [0.1]},
        {"mean": 0.1, "std": [1]},
        {"mean": ["a"], "std": [1]},
        {"mean": [0.1], "std": [1, 2]},
        {"mean": [0.1], "std": [0]},
        {"mean": [float("nan")], "std": [1]},
        {"mean": [], "std": []},
        None,
    ],
)
def test_bad_values_from_a_file(values):
    with pytest.raises(FileError, match="preprocess: expected"):
        Preprocess.from_dict(values)


def test_bad_images():
    preprocess = Preprocess((0.5,), (1,))
    with pytest.raises(ShapeError, match=r"must be \(H, W, C\), got \(5, 7\)"):
        preprocess(raw(1)[..., 0])
    with pytest.raises(DtypeError, match=r"must be uint8.* got uint16"):
        preprocess(raw(1).astype(np.uint16))
    with pytest.raises(DataError, match="no image"):
        Preprocess.fit([])
