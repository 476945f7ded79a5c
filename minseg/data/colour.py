"""Augmentation that changes values and moves nothing: brightness, contrast, noise, blur. Masks stay as they are.

Values are raw, 0 to 255, as bytes or as floats; results stay within that range and in that type.
"""

import math

import numpy as np

from minseg.data.geometry import as_stored, expect_range, float_type, gaussian, smooth

WHITE = 255


def adjust(image: np.ndarray, contrast: float = 1.0, brightness: float = 0.0) -> np.ndarray:
    """Spread the values about the image's mean by ``contrast``, and add ``brightness`` grey levels."""
    x = image.astype(float_type(image.dtype))
    mean = x.mean(dtype=np.float64).astype(x.dtype)
    return _stored(contrast * (x - mean) + mean + brightness, image.dtype)  # eq: data.contrast


def add_noise(image: np.ndarray, std: float, rng: np.random.Generator) -> np.ndarray:
    """Add normal noise of this standard deviation in grey levels, to each value its own."""
    e = rng.standard_normal(image.shape).astype(float_type(image.dtype))
    return _stored(image + std * e, image.dtype)  # eq: data.noise


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth an image (C, H, W) with a Gaussian of this standard deviation in pixels; beyond the edge, the edge."""
    if sigma == 0:
        return image
    g = gaussian(sigma)
    radius = len(g) // 2
    x = np.pad(image.astype(float_type(image.dtype)), ((0, 0), (radius, radius), (radius, radius)), mode="edge")
    return _stored(smooth(x, g), image.dtype)  # eq: data.blur


def _stored(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return as_stored(np.clip(values, 0, WHITE), dtype)


class RandomBrightnessContrast:
    """Brightness moved by up to ``brightness`` of the full range, contrast multiplied by 1 - contrast to 1 + contrast."""

    def __init__(self, brightness: float = 0.15, contrast: float = 0.25):
        self.brightness = expect_range("RandomBrightnessContrast", "brightness", brightness, 0, 1)
        self.contrast = expect_range("RandomBrightnessContrast", "contrast", contrast, 0, 1)

    def __call__(self, image, mask, rng):
        contrast = 1 + rng.uniform(-self.contrast, self.contrast)
        return adjust(image, contrast, WHITE * rng.uniform(-self.brightness, self.brightness)), mask


class RandomNoise:
    """Normal noise whose standard deviation is drawn from 0 to ``std`` grey levels."""

    def __init__(self, std: float = 8.0):
        self.std = expect_range("RandomNoise", "std", std, 0, WHITE)

    def __call__(self, image, mask, rng):
        return add_noise(image, rng.uniform(0, self.std), rng), mask


class RandomBlur:
    """A Gaussian blur whose standard deviation is drawn from 0 to ``sigma`` pixels."""

    def __init__(self, sigma: float = 1.0):
        self.sigma = expect_range("RandomBlur", "sigma", sigma, 0, math.inf)

    def __call__(self, image, mask, rng):
        return blur(image, rng.uniform(0, self.sigma)), mask
