"""Values change, labels do not: contrast, noise and blur do what they say and stay within the range of an image."""

import numpy as np
import pytest

from minseg.data import RandomBlur, RandomBrightnessContrast, RandomNoise
from minseg.data.colour import add_noise, adjust, blur


def image(dtype=np.float64, size=(3, 40, 50)):
    return np.random.default_rng(0).integers(60, 190, size).astype(dtype)


def test_contrast_spreads_about_the_mean_and_brightness_shifts():
    x = image()
    y = adjust(x, 1.25, 10)
    assert y.mean() == pytest.approx(x.mean() + 10, rel=1e-12)
    assert y.std() == pytest.approx(1.25 * x.std(), rel=1e-12)
    np.testing.assert_array_equal(adjust(x), x)
    assert adjust(x, 0.0).std() == pytest.approx(0, abs=1e-9)


def test_noise_has_its_standard_deviation():
    x = np.full((1, 200, 200), 128.0)
    difference = add_noise(x, 5.0, np.random.default_rng(0)) - x
    assert abs(difference.mean()) < 4 * 5 / 200
    assert abs(difference.std() / 5 - 1) < 4 / np.sqrt(2 * 200 * 200)


def test_a_blurred_point_is_a_gaussian_and_a_blurred_plain_is_itself():
    x = np.zeros((1, 31, 33))
    x[0, 15, 16] = 200.0
    y = blur(x, 1.5)[0]
    assert y.sum() == pytest.approx(200, rel=1e-12)
    spread = (((np.arange(31) - 15) ** 2) @ y.sum(axis=1)) / y.sum()
    assert spread == pytest.approx(1.5**2, rel=0.03)  # cut at three standard deviations
    np.testing.assert_allclose(y, y[::-1], atol=1e-12)
    np.testing.assert_allclose(blur(np.full((2, 3, 4), 77.0), 4.0), 77.0, rtol=1e-12)
    np.testing.assert_array_equal(blur(x, 0), x)


@pytest.mark.parametrize(
    "change", [lambda x: adjust(x, 3.0, 60), lambda x: add_noise(x, 200, np.random.default_rng(1))]
)
def test_values_stay_in_range_and_bytes_do_not_wrap(change):
    for dtype in (np.uint8, np.float32):
        y = change(image(dtype))
        assert y.dtype == dtype
        assert (y.min(), y.max()) == (0, 255)
    exact, rounded = change(image(np.float64)), change(image(np.uint8))
    assert np.abs(exact - rounded).max() <= 0.5 + 1e-4  # bytes are computed in float32


@pytest.mark.parametrize("transform", [RandomBrightnessContrast(), RandomNoise(), RandomBlur()])
def test_masks_are_left_alone(transform):
    mask = np.random.default_rng(0).integers(0, 4, (40, 50)).astype(np.uint8)
    x, m = transform(image(np.uint8), mask, np.random.default_rng(0))
    assert m is mask
    assert not np.array_equal(x, image(np.uint8))


def test_nothing_drawn_is_nothing_changed():
    mask, rng = np.zeros((40, 50), np.uint8), np.random.default_rng(0)
    for transform in (RandomBrightnessContrast(0, 0), RandomNoise(0), RandomBlur(0)):
        np.testing.assert_array_equal(transform(image(np.uint8), mask, rng)[0], image(np.uint8))
