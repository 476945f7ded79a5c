"""Learning with few labels: predictions that are sure enough become labels, and a few strokes stand for whole masks.

What is not known is labelled ignore (255), which no loss and no score counts; nothing else has to change.
"""

import numpy as np

from minseg.data.dataset import Dataset, sample_name
from minseg.data.images import IGNORE
from minseg.errors import ArgumentError, DataError, DtypeError, ShapeError


def pseudo_label(p: np.ndarray, threshold: float = 0.9, ignore_index: int = IGNORE) -> np.ndarray:
    """The likeliest class of each pixel where its probability is at least the threshold, else ignore.

    Parameters
    ----------
    p : float array (K, H, W) or (N, K, H, W)
        Probabilities: at least 0, and of sum 1 over the classes.
    threshold : float
        How sure is sure enough, above 0 and at most 1.

    Returns
    -------
    uint8 array (H, W) or (N, H, W)

    >>> pseudo_label(np.array([[[0.95, 0.6]], [[0.05, 0.4]]])).tolist()
    [[0, 255]]
    """
    p = np.asarray(p)
    if p.ndim not in (3, 4) or 0 in p.shape:
        raise ShapeError(f"pseudo_label: p must be (K, H, W) or (N, K, H, W), got {p.shape} [semi.pseudo_label]")
    if p.dtype.kind != "f":
        raise DtypeError(f"pseudo_label: p must be probabilities in floating point, got {p.dtype} [semi.pseudo_label]")
    if not 0 < threshold <= 1:
        raise ArgumentError(
            f"pseudo_label: threshold must be above 0 and at most 1, got {threshold} [semi.pseudo_label]"
        )
    if p.shape[-3] > IGNORE or not 0 <= ignore_index <= 255:
        raise ArgumentError(
            f"pseudo_label: labels are bytes: at most {IGNORE} classes and an ignore_index of 0 to 255, "
            f"got {p.shape[-3]} classes and {ignore_index} [semi.pseudo_label]"
        )
    total = p.sum(axis=-3)
    if not ((p >= 0).all() and (np.abs(total - 1) <= 1e-3).all()):  # NaN is not at least 0
        raise ArgumentError(
            f"pseudo_label: probabilities are at least 0 and sum to 1 over the classes, got a least value of {p.min():.3g} and "
            f"sums of {total.min():.3g} to {total.max():.3g}; take softmax of logits first [semi.pseudo_label]"
        )
    sure = p.max(axis=-3) >= threshold
    return np.where(sure, p.argmax(axis=-3), ignore_index).astype(np.uint8)  # eq: semi.pseudo_label


def scribble(
    mask: np.ndarray, rng: np.random.Generator, strokes: int = 1, length: int = 24, thickness: int = 1
) -> np.ndarray:
    """Keep thin strokes of a mask (H, W) and label the rest ignore, as if somebody had drawn a few lines into the image.

    Parameters
    ----------
    mask : uint8 array (H, W)
    rng : numpy Generator
        Where strokes begin and how they wander.
    strokes : int
        Of each class that is there.
    length : int
        Steps of a stroke, in pixels; one that can go no further without leaving its class ends.
    thickness : int
        In pixels, across. A stroke never covers pixels of another class.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ShapeError(f"scribble: the mask must be (H, W), got {mask.shape}")
    for name, value in (("strokes", strokes), ("length", length), ("thickness", thickness)):
        if value < 1:
            raise ArgumentError(f"scribble: {name} must be at least 1, got {value}")
    kept = np.zeros(mask.shape, bool)
    for label in np.unique(mask[mask != IGNORE]):
        inside = mask == label
        for _ in range(strokes):
            kept |= _thick(_stroke(inside, length, rng), thickness) & inside
    return np.where(kept, mask, np.asarray(IGNORE, mask.dtype))


def _stroke(inside: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """The pixels that a pen passes which starts anywhere inside, turns a little at each step, and turns away from the edge."""
    height, width = inside.shape
    passed = np.zeros_like(inside)
    places = np.argwhere(inside)
    y, x = (float(i) for i in places[rng.integers(len(places))])
    heading = rng.uniform(0, 2 * np.pi)
    passed[int(y), int(x)] = True
    for _ in range(length - 1):
        heading += rng.normal(0, 0.25)
        for turn in (0.0, 0.8, -0.8, 1.6, -1.6, 2.4, -2.4):
            to_y, to_x = y + np.sin(heading + turn), x + np.cos(heading + turn)
            i, j = round(to_y), round(to_x)
            if 0 <= i < height and 0 <= j < width and inside[i, j]:
                y, x, heading = to_y, to_x, heading + turn
                passed[i, j] = True
                break
        else:
            break
    return passed


def _thick(line: np.ndarray, thickness: int) -> np.ndarray:
    """Every pixel within a square of this side around the line."""
    before = (thickness - 1) // 2
    padded = np.pad(line, ((thickness - 1 - before, before),) * 2)
    h, w = line.shape
    return np.any([padded[i : i + h, j : j + w] for i in range(thickness) for j in range(thickness)], axis=0)


class Scribbled:
    """A data set seen through scribbles: the same images, of each mask only strokes. Sample i always has the same ones."""

    def __init__(self, dataset: Dataset, seed: int = 0, strokes: int = 1, length: int = 24, thickness: int = 1):
        if seed < 0:
            raise ArgumentError(f"Scribbled: seed must be at least 0, got {seed}")
        self.dataset, self.seed = dataset, seed
        self.options = {"strokes": strokes, "length": length, "thickness": thickness}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self.dataset[i]
        if (mask == IGNORE).all():
            raise DataError(f"{self.name(i)}: every pixel is ignored already; there is nothing to scribble on")
        return image, scribble(mask, np.random.default_rng([self.seed, i]), **self.options)

    def name(self, i: int) -> str:
        return sample_name(self.dataset, i)
