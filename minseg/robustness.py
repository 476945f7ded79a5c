"""How much worse a network gets as images do: its scores over the strength of noise, blur and loss of contrast.

The damage is done to the raw image, before preprocessing, as a worse microscope or camera would do it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minseg.data import Dataset, Preprocess
from minseg.data.colour import add_noise, adjust, blur
from minseg.errors import ArgumentError, nearest_names
from minseg.inference import evaluate
from minseg.metrics import ConfusionMatrix


@dataclass(frozen=True)
class Damage:
    """One way for an image to be worse.

    apply: (raw image (C, H, W), strength, generator) -> image of the same dtype.
    strengths: the values to try, the first one harmless.
    """

    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


DAMAGES: dict[str, Damage] = {
    "noise": Damage("standard deviation, grey levels of 255", (0, 2, 4, 8, 16, 32), add_noise),
    "blur": Damage("standard deviation, pixels", (0, 0.5, 1, 2, 3, 5), lambda x, sigma, rng: blur(x, sigma)),
    "contrast": Damage("share that is left", (1, 0.8, 0.6, 0.4, 0.2, 0.1), lambda x, factor, rng: adjust(x, factor)),
}


def damaged(image: np.ndarray, kind: str, strength: float, seed=0) -> np.ndarray:
    """The raw image (H, W, C), worse; the same noise at every strength, only louder."""
    if kind not in DAMAGES:
        raise ArgumentError(f"unknown damage {kind!r}; {nearest_names(kind, DAMAGES)}")
    if not (np.isfinite(strength) and strength >= 0):
        raise ArgumentError(f"the strength of {kind} must be finite and not negative, got {strength}")
    worse = DAMAGES[kind].apply(image.transpose(2, 0, 1), strength, np.random.default_rng(seed))
    return worse.transpose(1, 2, 0)


class DamagedDataset:
    """A data set with every image worse; its masks as they are."""

    def __init__(self, dataset: Dataset, kind: str, strength: float, seed: int = 0):
        self.dataset, self.kind, self.strength, self.seed = dataset, kind, strength, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self.dataset[i]
        return damaged(image, self.kind, self.strength, (self.seed, i)), mask


@dataclass(frozen=True)
class Curve:
    """Scores over the strength of one damage."""

    kind: str
    unit: str
    strengths: tuple[float, ...]
    mean_iou: tuple[float, ...]
    iou: tuple[tuple[float, ...], ...]
    """Of each strength, each class."""

    def to_dict(self, class_names: Sequence[str]) -> dict:
        """Plain values, ready for JSON."""
        of_class = {name: list(scores) for name, scores in zip(class_names, zip(*self.iou), strict=True)}
        return {"unit": self.unit, "strengths": self.strengths, "mean_iou": self.mean_iou, "iou": of_class}


def sweep(
    model,
    dataset: Dataset,
    preprocess: Preprocess,
    num_classes: int,
    kinds: Sequence[str] = tuple(DAMAGES),
    strengths: Sequence[float] | None = None,
    seed: int = 0,
    report: Callable[[str], None] = lambda line: None,
) -> list[Curve]:
    """Score a model on images that get worse.

    Parameters
    ----------
    model, dataset, preprocess
        As for ``inference.evaluate``.
    num_classes : int
    kinds : sequence of str
        ``noise``, ``blur``, ``contrast``.
    strengths : sequence of float, optional
        Instead of each damage's own.
    seed : int
        Of the noise.
    report : callable
        Told a line for each score, as it comes.

    Returns
    -------
    list of Curve
        One for each kind.
    """
    return [_curve(model, dataset, preprocess, num_classes, kind, strengths, seed, report) for kind in kinds]


def _curve(model, dataset, preprocess, num_classes, kind, strengths, seed, report) -> Curve:
    if kind not in DAMAGES:
        raise ArgumentError(f"unknown damage {kind!r}; {nearest_names(kind, DAMAGES)}")
    strengths = tuple(DAMAGES[kind].strengths if strengths is None else strengths)
    counted = []
    for strength in strengths:
        worse = DamagedDataset(dataset, kind, strength, seed)
        counted.append(evaluate(model, worse, preprocess, ConfusionMatrix(num_classes)))
        report(f"{kind} {strength:g}: mean IoU {counted[-1].mean_iou():.3f}")
    mean_iou = tuple(confusion.mean_iou() for confusion in counted)
    return Curve(kind, DAMAGES[kind].unit, strengths, mean_iou, tuple(tuple(c.iou().tolist()) for c in counted))


def table(curves: Sequence[Curve]) -> str:
    """Mean IoU over the strength, two lines for each damage.

    >>> print(table([Curve("blur", "pixels", (0, 2.5), (0.9, 0.75), ((0.9,), (0.75,)))]))
    blur          0    2.5
    mean IoU  0.900  0.750
    """
    lines = []
    for curve in curves:
        lines.append(curve.kind.ljust(8) + "".join(f"{strength:>7g}" for strength in curve.strengths))
        lines.append("mean IoU" + "".join(f"{score:>7.3f}" for score in curve.mean_iou))
    return "\n".join(lines)
