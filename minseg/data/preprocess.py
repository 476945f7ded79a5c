"""From a raw image to what a network sees: scaled, standardised with the training set's statistics, channels first."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from minseg.errors import DataError, DtypeError, FileError, ShapeError


@dataclass(frozen=True)
class Preprocess:
    """Raw (H, W, C) to float32 (C, H, W): u = x / 255, or u = log(1 + gain x / 255), then (u - mean) / std.

    It treats each pixel by itself, so it may come before or after cropping and flipping.

    Parameters
    ----------
    mean, std : tuple of C floats
        Of u, per channel, over the training set.
    log_gain : float or None
        The gain; None scales by 255 only. A logarithm evens out microscopes' few bright and many dim objects.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    log_gain: float | None = None

    @classmethod
    def fit(cls, images: Iterable[np.ndarray], log_gain: float | None = None) -> "Preprocess":
        """Measure mean and standard deviation over these raw images; grey ones among colour ones count in every channel."""
        sums = []  # pixels, sum of u, sum of u^2 of each image
        for image in images:
            u = _scale(_expect_raw(image), log_gain).astype(np.float64).reshape(-1, image.shape[2])
            sums.append((len(u), u.sum(0), (u * u).sum(0)))
        if not sums:
            raise DataError("Preprocess.fit: there is no image to measure")
        channels = max(len(total) for _, total, _ in sums)
        pixels = sum(n for n, _, _ in sums)
        mean = sum(np.broadcast_to(total, channels) for _, total, _ in sums) / pixels
        variance = sum(np.broadcast_to(squares, channels) for _, _, squares in sums) / pixels - mean**2
        std = np.sqrt(np.maximum(variance, 0))
        std[std < 1e-6] = 1.0  # a constant channel: there is nothing to standardise, and nothing to divide by
        return cls(tuple(mean.tolist()), tuple(std.tolist()), log_gain)

    @property
    def channels(self) -> int:
        return len(self.mean)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The image as a network sees it, C-contiguous float32 (C, H, W).

        A grey image is repeated where colour is expected; a colour image whose channels are equal passes as grey.
        """
        image = self._match_channels(_expect_raw(image))
        u = _scale(image, self.log_gain)
        u = (u - np.float32(self.mean)) / np.float32(self.std)  # eq: data.standardize
        return np.ascontiguousarray(u.transpose(2, 0, 1))

    def _match_channels(self, image: np.ndarray) -> np.ndarray:
        have, want = image.shape[2], self.channels
        if have == want:
            return image
        if have == 1:
            return np.repeat(image, want, axis=2)
        if want == 1 and (image == image[..., :1]).all():
            return image[..., :1]
        raise DataError(
            f"an image has {have} channels, but the training images have {want}; convert them all to colour or all to grey"
        )

    def to_dict(self) -> dict:
        """Plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Preprocess":
        """The inverse of ``to_dict``, for values that come from a file."""
        try:
            mean, std = (tuple(float(v) for v in values[key]) for key in ("mean", "std"))
            log_gain = None if values.get("log_gain") is None else float(values["log_gain"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileError(
                f"preprocess: expected mean, std and log_gain as Preprocess.to_dict gives, got {values!r}"
            ) from error
        if not mean or len(mean) != len(std) or not np.isfinite([*mean, *std]).all() or min(std) <= 0:
            raise FileError(f"preprocess: expected as many finite means as positive stds, got mean {mean}, std {std}")
        return cls(mean, std, log_gain)


def _scale(image: np.ndarray, log_gain: float | None) -> np.ndarray:
    u = image.astype(np.float32) / np.float32(255)  # eq: data.scale255
    return u if log_gain is None else np.log1p(np.float32(log_gain) * u)


def _expect_raw(image: np.ndarray) -> np.ndarray:
    if image.ndim != 3:
        raise ShapeError(
            f"preprocess: an image must be (H, W, C), got {image.shape}; add the channel axis with image[..., None]"
        )
    if image.dtype != np.uint8 and image.dtype.kind != "f":
        raise DtypeError(
            f"preprocess: an image must be uint8, or float in the same units (white = 255), got {image.dtype}"
        )
    return image
