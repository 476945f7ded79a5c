"""How good a segmentation is: one confusion matrix and every score read from it, and how well the outlines lie.

Scores of single classes are ratios, and a ratio of nothing is not zero: a class that is neither in the truth nor predicted is
absent (NaN), and means run over the classes that are there.
"""

from collections.abc import Sequence

import numpy as np

from minseg.errors import ArgumentError, DtypeError, ShapeError


class ConfusionMatrix:
    """Counts how often pixels of class t were predicted as class p.

    Parameters
    ----------
    num_classes : int
        K; labels run from 0 to K - 1.
    ignore_index : int or None
        Pixels with this label in the truth are not counted.

    Attributes
    ----------
    counts : int64 array (K, K)
        Rows are the truth, columns the prediction.

    >>> matrix = ConfusionMatrix(3)
    >>> matrix.update(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 255]))
    >>> matrix.counts.tolist()
    [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    >>> matrix.iou().tolist(), matrix.mean_iou()  # class 2 is absent
    ([0.5, 0.5, nan], 0.5)
    """

    def __init__(self, num_classes: int, ignore_index: int | None = 255):
        if num_classes < 1:
            raise ArgumentError(f"ConfusionMatrix: num_classes must be at least 1, got {num_classes}")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def update(self, pred, target) -> None:
        """Count the pixels of a prediction and its truth: integer arrays of one shape, any number of axes."""
        pred, target = np.asarray(pred), np.asarray(target)
        for name, labels in (("pred", pred), ("target", target)):
            if labels.dtype.kind not in "iub":
                raise DtypeError(
                    f"ConfusionMatrix: {name} must be integer labels, got {labels.dtype}; take argmax over the classes first"
                )
        if pred.shape != target.shape:
            raise ShapeError(f"ConfusionMatrix: pred {pred.shape} and target {target.shape} must have one shape")
        counted = np.ones(target.shape, bool) if self.ignore_index is None else target != self.ignore_index
        self._expect_labels("target", target, counted)
        self._expect_labels("pred", pred, counted)
        k = self.num_classes
        pairs = target[counted].astype(np.int64) * k + pred[counted]
        self.counts += np.bincount(pairs, minlength=k * k).reshape(k, k)  # eq: metric.confusion

    def _expect_labels(self, name: str, labels: np.ndarray, counted: np.ndarray) -> None:
        outside = counted & ((labels < 0) | (labels >= self.num_classes))
        if outside.any():
            where = tuple(int(i) for i in np.argwhere(outside)[0])
            ignored = "" if self.ignore_index is None else f" (or {self.ignore_index} in target, which is ignored)"
            raise ArgumentError(
                f"ConfusionMatrix: {name} has label {labels[where]} at {where}, expected 0 to {self.num_classes - 1}{ignored}"
            )

    @property
    def true_positives(self) -> np.ndarray:
        """Pixels of each class that were predicted as it: T."""
        return np.diag(self.counts)

    @property
    def false_positives(self) -> np.ndarray:
        """Pixels of other classes that were predicted as each class: F."""
        return self.counts.sum(0) - self.true_positives

    @property
    def misses(self) -> np.ndarray:
        """Pixels of each class that were predicted as another (false negatives): M."""
        return self.counts.sum(1) - self.true_positives

    @property
    def support(self) -> np.ndarray:
        """Pixels of each class in the truth: T + M."""
        return self.counts.sum(1)

    @property
    def absent(self) -> np.ndarray:
        """Which classes are neither in the truth nor predicted."""
        return self.counts.sum(0) + self.counts.sum(1) == 0

    def iou(self) -> np.ndarray:
        """Intersection over union of each class, T / (T + F + M); NaN = absent."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives + self.misses)  # eq: metric.iou

    def dice(self) -> np.ndarray:
        """Dice of each class, 2T / (2T + F + M); NaN = absent."""
        twice = 2 * self.true_positives
        return _ratio(twice, twice + self.false_positives + self.misses)  # eq: metric.dice

    def precision(self) -> np.ndarray:
        """The share of the pixels predicted as each class that are of it, T / (T + F); NaN = never predicted."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)  # eq: metric.precision

    def recall(self) -> np.ndarray:
        """The share of each class's pixels that were found, T / (T + M); NaN = not in the truth."""
        return _ratio(self.true_positives, self.true_positives + self.misses)  # eq: metric.recall

    def mean_iou(self) -> float:
        """The mean IoU over the classes that are not absent; NaN if nothing was counted."""
        return _mean(self.iou())  # eq: metric.miou

    def mean_accuracy(self) -> float:
        """The mean recall over the classes in the truth."""
        return _mean(self.recall())  # eq: metric.mean_acc

    def pixel_accuracy(self) -> float:
        """The share of counted pixels whose class is right."""
        return float(_ratio(self.true_positives.sum(), self.counts.sum()))  # eq: metric.pixel_acc

    def frequency_weighted_iou(self) -> float:
        """The mean IoU with each class weighted by its share of the true pixels; NaN if nothing was counted."""
        shares = _ratio(self.support, self.counts.sum())
        return float((shares * np.where(self.absent, 0, self.iou())).sum())  # eq: metric.fwiou

    def to_dict(self, class_names: Sequence[str] | None = None) -> dict:
        """Every score as plain Python values, ready for JSON; None stands for NaN (which JSON does not have)."""
        names = expect_names("ConfusionMatrix", class_names, self.num_classes)
        columns = {"iou": self.iou(), "dice": self.dice(), "precision": self.precision(), "recall": self.recall()}
        return {
            "mean_iou": _none_for_nan(self.mean_iou()),
            "pixel_accuracy": _none_for_nan(self.pixel_accuracy()),
            "mean_accuracy": _none_for_nan(self.mean_accuracy()),
            "frequency_weighted_iou": _none_for_nan(self.frequency_weighted_iou()),
            "classes": {
                name: {score: _none_for_nan(values[k]) for score, values in columns.items()}
                | {"support": int(self.support[k])}
                for k, name in enumerate(names)
            },
            "counts": self.counts.tolist(),
        }

    def table(self, class_names: Sequence[str] | None = None) -> str:
        """The scores as an aligned text table, one row a class.

        >>> matrix = ConfusionMatrix(3)
        >>> matrix.update(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 255]))
        >>> print(matrix.table(["sky", "tree", "car"]))
        class     IoU    Dice  precision  recall  support
        sky    0.5000  0.6667     0.5000  1.0000        1
        tree   0.5000  0.6667     1.0000  0.5000        2
        car    absent  absent     absent  absent        0
        mean IoU 0.5000 over 2 of 3 classes, pixel accuracy 0.6667, mean accuracy 0.7500, frequency-weighted IoU 0.5000
        """
        names = expect_names("ConfusionMatrix", class_names, self.num_classes)
        scores = zip(self.iou(), self.dice(), self.precision(), self.recall(), strict=True)
        rows = [["class", "IoU", "Dice", "precision", "recall", "support"]]
        for k, values in enumerate(scores):
            # present, yet the ratio is 0/0: never predicted has no precision, not in the truth no recall
            nothing = "absent" if self.absent[k] else "none"
            cells = [nothing if np.isnan(v) else f"{v:.4f}" for v in values]
            rows.append([names[k], *cells, str(int(self.support[k]))])
        lines = _aligned(rows)
        present = self.num_classes - int(self.absent.sum())
        lines.append(
            f"mean IoU {self.mean_iou():.4f} over {present} of {self.num_classes} classes, "
            f"pixel accuracy {self.pixel_accuracy():.4f}, mean accuracy {self.mean_accuracy():.4f}, "
            f"frequency-weighted IoU {self.frequency_weighted_iou():.4f}"
        )
        return "\n".join(lines)


class BoundaryF1:
    """How well the outlines of a segmentation lie: a prediction that is right but for a ragged edge scores low here.

    A class's boundary are its pixels that have a pixel of another class above, below, left or right of them. The edge of the
    image is no boundary, nor is the border to ignored pixels, as nobody knows what lies there. Counts add up over all images,
    so a score is of the whole data set, and images with long outlines weigh more.

    Parameters
    ----------
    num_classes : int
        K; labels run from 0 to K - 1.
    tolerance : float
        In pixels: how far from the other outline still counts as met; 0 asks for the very pixel.
    ignore_index : int or None

    Attributes
    ----------
    near, length : int64 arrays (2, K)
        Boundary pixels that lie near the other boundary, and all of them: of the prediction (row 0) and the truth (row 1).

    >>> boundary = BoundaryF1(2, tolerance=1)
    >>> boundary.update(np.array([[0, 0, 0, 1]]), np.array([[0, 0, 1, 1]]))
    >>> boundary.f1().tolist()
    [1.0, 1.0]
    """

    def __init__(self, num_classes: int, tolerance: float = 2.0, ignore_index: int | None = 255):
        if num_classes < 1:
            raise ArgumentError(f"BoundaryF1: num_classes must be at least 1, got {num_classes}")
        if not 0 <= tolerance < float("inf"):
            raise ArgumentError(f"BoundaryF1: tolerance must be a distance in pixels, 0 or more, got {tolerance}")
        self.num_classes, self.tolerance, self.ignore_index = num_classes, tolerance, ignore_index
        self.near = np.zeros((2, num_classes), np.int64)
        self.length = np.zeros((2, num_classes), np.int64)

    def update(self, pred, target) -> None:
        """Count the outlines of a prediction and its truth: integer arrays (H, W), or (N, H, W) for several images."""
        pred, target = np.asarray(pred), np.asarray(target)
        ConfusionMatrix(self.num_classes, self.ignore_index).update(pred, target)  # for its errors
        if pred.ndim not in (2, 3):
            raise ShapeError(f"BoundaryF1: pred and target must be (H, W) or (N, H, W), got {pred.shape}")
        known = np.ones(target.shape, bool) if self.ignore_index is None else target != self.ignore_index
        for k in range(self.num_classes):
            outlines = boundary(pred == k, known), boundary(target == k, known)
            for side, (own, other) in enumerate((outlines, outlines[::-1])):
                self.length[side, k] += own.sum()
                if own.any() and other.any():
                    self.near[side, k] += (own & _within(other, self.tolerance)).sum()

    def precision(self) -> np.ndarray:
        """The share of each class's predicted outline that lies near the true one; NaN = none predicted."""
        return _ratio(self.near[0], self.length[0])  # eq: metric.boundary_precision

    def recall(self) -> np.ndarray:
        """The share of each class's true outline that lies near the predicted one; NaN = none in the truth."""
        return _ratio(self.near[1], self.length[1])

    def f1(self) -> np.ndarray:
        """2PR / (P + R) of each class; 0 where nothing is met, NaN = neither the truth nor the prediction has an outline."""
        p, r = np.nan_to_num(self.precision()), np.nan_to_num(self.recall())
        scores = np.nan_to_num(_ratio(2 * p * r, p + r))  # eq: metric.boundary_f1
        return np.where(self.length.sum(axis=0) > 0, scores, np.nan)

    def mean_f1(self) -> float:
        """The mean over the classes that have an outline; NaN if none has."""
        return _mean(self.f1())

    def to_dict(self, class_names: Sequence[str] | None = None) -> dict:
        """Every score as plain Python values, ready for JSON; None stands for NaN."""
        names = expect_names("BoundaryF1", class_names, self.num_classes)
        columns = {"f1": self.f1(), "precision": self.precision(), "recall": self.recall()}
        return {
            "tolerance": self.tolerance,
            "mean_f1": _none_for_nan(self.mean_f1()),
            "classes": {
                name: {score: _none_for_nan(values[k]) for score, values in columns.items()}
                | {"support": int(self.length[1, k])}
                for k, name in enumerate(names)
            },
        }

    def table(self, class_names: Sequence[str] | None = None) -> str:
        """The scores as an aligned text table; support is the length of the true outline in pixels."""
        names = expect_names("BoundaryF1", class_names, self.num_classes)
        rows = [["class", "boundary F1", "precision", "recall", "support"]]
        for k, values in enumerate(zip(self.f1(), self.precision(), self.recall(), strict=True)):
            nothing = "none" if self.length[:, k].any() else "absent"
            cells = [nothing if np.isnan(v) else f"{v:.4f}" for v in values]
            rows.append([names[k], *cells, str(int(self.length[1, k]))])
        pixels = f"{self.tolerance:g} pixel{'' if self.tolerance == 1 else 's'}"
        return "\n".join([*_aligned(rows), f"mean boundary F1 {self.mean_f1():.4f} within {pixels}"])


def boundary(inside: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which known pixels inside have a known one outside above, below, left or right of them; last two axes (H, W)."""
    inside, outside = inside & known, ~inside & known
    beside = np.zeros_like(inside)
    beside[..., 1:, :] |= outside[..., :-1, :]
    beside[..., :-1, :] |= outside[..., 1:, :]
    beside[..., :, 1:] |= outside[..., :, :-1]
    beside[..., :, :-1] |= outside[..., :, 1:]
    return inside & beside  # eq: metric.boundary


def _within(marked: np.ndarray, distance: float) -> np.ndarray:
    """Which pixels have a marked one within this distance, straight as a ruler measures it; last two axes (H, W)."""
    h, w = marked.shape[-2:]
    column = np.arange(w)
    before = np.maximum.accumulate(np.where(marked, column, -np.inf), axis=-1)
    after = np.minimum.accumulate(np.where(marked, column, np.inf)[..., ::-1], axis=-1)[..., ::-1]
    across = np.minimum(column - before, after - column)  # to the nearest marked pixel of the same row
    reach = min(int(distance), h - 1)
    padded = np.pad(across, ((0, 0),) * (marked.ndim - 2) + ((reach, reach), (0, 0)), constant_values=np.inf)
    found = np.zeros(marked.shape, bool)
    for down in range(-reach, reach + 1):
        found |= padded[..., reach + down : reach + down + h, :] ** 2 + down**2 <= distance**2
    return found


class Measures:
    """Several measures that count the same predictions, for whoever updates one."""

    def __init__(self, *parts):
        self.parts = parts

    def update(self, pred, target) -> None:
        for part in self.parts:
            part.update(pred, target)


def expect_names(measure: str, class_names: Sequence[str] | None, num_classes: int) -> list[str]:
    """A name for each class; ArgumentError if there are more or fewer."""
    if class_names is None:
        return [f"class {k}" for k in range(num_classes)]
    if len(class_names) != num_classes:
        raise ArgumentError(
            f"{measure}: {len(class_names)} class names ({', '.join(class_names)}) for {num_classes} classes"
        )
    return list(class_names)


def _aligned(rows: list[list[str]]) -> list[str]:
    """A table's lines: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def _ratio(part, whole) -> np.ndarray:
    """part / whole, NaN where whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean(scores: np.ndarray) -> float:
    present = scores[~np.isnan(scores)]
    return float(present.mean()) if len(present) else float("nan")


def _none_for_nan(value) -> float | None:
    return None if np.isnan(value) else float(value)
