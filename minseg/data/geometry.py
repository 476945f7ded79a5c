"""Augmentation that reads between pixels: resize, rotate, zoom and bend an image and its mask together.

Each works out where every pixel of the result lies in the source, and ``warp`` reads there: the image linearly between
pixels, the mask at the nearest one, as the mean of two labels is no label. What lies outside of the source is labelled
ignore, and the image repeats its edge there, so that no network learns an edge that the world does not have.
"""

import math

import numpy as np

from minseg.data.images import IGNORE, size_text
from minseg.errors import ArgumentError, DataError

Positions = tuple[np.ndarray, np.ndarray]
"""Row and column in the source, between pixels, of each pixel of the result; arrays that broadcast to (I, J)."""


# --------------------------------------------------------------------------------------------------------------- reading


def warp(image: np.ndarray, mask: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read an image (C, H, W) and its mask (H, W) at these positions, which broadcast to (I, J).

    Bytes stay bytes, floats keep their type. DataError if no position lies inside of the image.
    """
    labels = _read_nearest(mask, rows, columns)
    return as_stored(_read_between(image, rows, columns), image.dtype), labels


def as_stored(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Computed values in the type that the image came in: rounded if those are whole numbers."""
    return np.rint(values).astype(dtype) if np.dtype(dtype).kind in "iu" else values.astype(dtype, copy=False)


def float_type(dtype: np.dtype) -> np.dtype:
    """What to compute in: the image's own floating-point type, or float32 for bytes."""
    return np.dtype(dtype) if np.dtype(dtype).kind == "f" else np.dtype(np.float32)


def _read_between(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The weighted mean of the four pixels around each position."""
    height, width = image.shape[-2:]
    top, below, a = _neighbours(rows, height, float_type(image.dtype))
    left, right, b = _neighbours(columns, width, float_type(image.dtype))
    flat = image.reshape(
        *image.shape[:-2], height * width
    )  # with one index for a pixel, reading takes a third of the time

    def pixel(i, j):
        return flat.take(i * width + j, axis=-1)

    upper = pixel(top, left) * (1 - b) + pixel(top, right) * b
    lower = pixel(below, left) * (1 - b) + pixel(below, right) * b
    return upper * (1 - a) + lower * a  # eq: data.warp


def _neighbours(position: np.ndarray, size: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels before and after, and the share of the one after; beyond the edge, the edge."""
    inside = np.clip(position, 0, size - 1)
    before = np.floor(inside).astype(np.intp)
    return before, np.minimum(before + 1, size - 1), (inside - before).astype(dtype)


def _read_nearest(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    inside = (np.abs(rows - (height - 1) / 2) < height / 2) & (np.abs(columns - (width - 1) / 2) < width / 2)
    if not inside.any():
        raise DataError(
            f"nothing of the image, {size_text(mask.shape)}, is left inside the picture; "
            "choose weaker augmentation (a zoom nearer 1, a smaller displacement)"
        )
    nearest = (np.floor(position + 0.5).astype(np.intp) for position in (rows, columns))
    i, j = (np.clip(index, 0, size - 1) for index, size in zip(nearest, mask.shape, strict=True))
    return np.where(inside, mask[i, j], np.asarray(IGNORE, mask.dtype))  # eq: data.warp_labels


# ------------------------------------------------------------------------------------------------------- where to read


def resized(size: tuple[int, int], new_size: tuple[int, int]) -> Positions:
    """Where the pixels of an image of the new size lie in one of the old: centres stay centres."""
    (h, w), (i, j) = size, new_size
    rows = (np.arange(i) + 0.5) * h / i - 0.5
    columns = (np.arange(j) + 0.5) * w / j - 0.5
    return rows[:, None], columns[None, :]


def rotated(size: tuple[int, int], degrees: float) -> Positions:
    """Where pixels were before the image turned to the left (counter-clockwise) about its centre."""
    phi = math.radians(degrees)
    down, across = _from_centre(size)
    rows = (size[0] - 1) / 2 + down * math.cos(phi) + across * math.sin(phi)  # eq: data.rotate_rows
    columns = (size[1] - 1) / 2 - down * math.sin(phi) + across * math.cos(phi)  # eq: data.rotate_columns
    return rows, columns


def zoomed(size: tuple[int, int], factor: float) -> Positions:
    """Where pixels were before the image grew by the factor about its centre."""
    down, across = _from_centre(size)
    return (size[0] - 1) / 2 + down / factor, (size[1] - 1) / 2 + across / factor  # eq: data.zoom


def bent(size: tuple[int, int], sigma: float, strength: float, rng: np.random.Generator) -> Positions:
    """Where pixels were before the image was bent by a smooth random field of displacements."""
    down = displacement(size, sigma, strength, rng)
    across = displacement(size, sigma, strength, rng)
    return np.arange(size[0])[:, None] + down, np.arange(size[1])[None, :] + across


def displacement(size: tuple[int, int], sigma: float, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Smoothed noise (H, W) whose standard deviation is ``strength`` pixels, at the edges as in the middle."""
    g = gaussian(sigma)
    noise = rng.standard_normal((size[0] + len(g) - 1, size[1] + len(g) - 1))
    return strength / (g * g).sum() * smooth(noise, g)  # eq: data.elastic


def gaussian(sigma: float) -> np.ndarray:
    """The weights of a Gaussian of this standard deviation in pixels, cut at three of them; their sum is 1."""
    radius = math.ceil(3 * sigma)
    g = np.exp(-((np.arange(2 * radius + 1) - radius) ** 2) / (2 * sigma**2))
    return g / g.sum()  # eq: data.gauss


def smooth(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Correlate the last two axes with g, one after the other; the result is smaller by len(g) - 1."""
    g = g.astype(x.dtype)
    for axis in (-2, -1):
        windows = np.lib.stride_tricks.sliding_window_view(x, len(g), axis)
        x = np.einsum("...p,p->...", windows, g)
    return x


def _from_centre(size: tuple[int, int]) -> Positions:
    h, w = size
    return (np.arange(h) - (h - 1) / 2)[:, None], (np.arange(w) - (w - 1) / 2)[None, :]


# ------------------------------------------------------------------------------------------------------------ transforms


class Resize:
    """Make every image this size (an integer, or height and width): the same field of view, stretched where it must be."""

    def __init__(self, size: int | tuple[int, int]):
        self.size = expect_size("Resize", size)

    def __call__(self, image, mask, rng):
        if 0 in mask.shape:
            raise DataError(f"the image is {size_text(mask.shape)}; there is no pixel to resize")
        return warp(image, mask, *resized(mask.shape, self.size))  # eq: data.resize_bilinear, data.resize_labels


class RandomRotation:
    """Turn about the centre by an angle drawn from -degrees to degrees; the size stays, and corners become ignore."""

    def __init__(self, degrees: float = 10.0):
        self.degrees = expect_range("RandomRotation", "degrees", degrees, 0, 180)

    def __call__(self, image, mask, rng):
        return warp(image, mask, *rotated(mask.shape, rng.uniform(-self.degrees, self.degrees)))


class RandomScale:
    """Zoom about the centre by a factor drawn from low to high, on a logarithmic scale: halving is as likely as doubling.

    The size stays; below 1 a ring around the image becomes ignore.
    """

    def __init__(self, low: float = 0.75, high: float = 1.33):
        if not 0 < low <= high < math.inf:
            raise ArgumentError(f"RandomScale: expected 0 < low <= high, got low {low}, high {high}")
        self.low, self.high = low, high

    def __call__(self, image, mask, rng):
        factor = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return warp(image, mask, *zoomed(mask.shape, factor))


class ElasticDeformation:
    """Bend the image like rubber: displacements of standard deviation ``strength`` that change over ``sigma``, both in pixels.

    Nothing folds over as long as the strength stays well below sigma.
    """

    def __init__(self, strength: float = 2.0, sigma: float = 8.0):
        self.strength = expect_range("ElasticDeformation", "strength", strength, 0, math.inf)
        self.sigma = expect_range("ElasticDeformation", "sigma", sigma, 0, math.inf)
        if sigma == 0 or strength > sigma:
            raise ArgumentError(
                f"ElasticDeformation: strength must be at most sigma, and sigma positive, or the image folds over itself; "
                f"got strength {strength}, sigma {sigma}"
            )

    def __call__(self, image, mask, rng):
        return warp(image, mask, *bent(mask.shape, self.sigma, self.strength, rng))


# ------------------------------------------------------------------------------------------------------------- arguments


def expect_size(name: str, size) -> tuple[int, int]:
    """Height and width from an integer or a pair of them; ArgumentError unless both are positive."""
    pair = (size, size) if np.ndim(size) == 0 else tuple(size)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and n > 0 for n in pair):
        raise ArgumentError(f"{name}: size must be a positive integer or a pair of them, got {size!r}")
    return pair


def expect_range(name: str, what: str, value: float, low: float, high: float) -> float:
    """The value; ArgumentError unless it lies from low to high and is finite."""
    if not (low <= value <= high and math.isfinite(value)):
        limits = f"at least {low:g}" if high == math.inf else f"{low:g} to {high:g}"
        raise ArgumentError(f"{name}: {what} must be {limits}, got {value}")
    return value
