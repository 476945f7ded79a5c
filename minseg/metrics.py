"""How good a segmentation is: one confusion matrix, and every score read from it.

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

    def to_dict(self, class_names: Sequence[str] | None = None) -> dict:
        """Every score as plain Python values, ready for JSON; None stands for NaN (which JSON does not have)."""
        names = self._names(class_names)
        columns = {"iou": self.iou(), "dice": self.dice(), "precision": self.precision(), "recall": self.recall()}
        return {
            "mean_iou": _none_for_nan(self.mean_iou()),
            "pixel_accuracy": _none_for_nan(self.pixel_accuracy()),
            "mean_accuracy": _none_for_nan(self.mean_accuracy()),
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
        mean IoU 0.5000 over 2 of 3 classes, pixel accuracy 0.6667, mean accuracy 0.7500
        """
        names = self._names(class_names)
        scores = zip(self.iou(), self.dice(), self.precision(), self.recall(), strict=True)
        rows = [["class", "IoU", "Dice", "precision", "recall", "support"]]
        for k, values in enumerate(scores):
            # present, yet the ratio is 0/0: never predicted has no precision, not in the truth no recall
            nothing = "absent" if self.absent[k] else "none"
            cells = [nothing if np.isnan(v) else f"{v:.4f}" for v in values]
            rows.append([names[k], *cells, str(int(self.support[k]))])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        present = self.num_classes - int(self.absent.sum())
        lines.append(
            f"mean IoU {self.mean_iou():.4f} over {present} of {self.num_classes} classes, "
            f"pixel accuracy {self.pixel_accuracy():.4f}, mean accuracy {self.mean_accuracy():.4f}"
        )
        return "\n".join(lines)

    def _names(self, class_names: Sequence[str] | None) -> list[str]:
        if class_names is None:
            return [f"class {k}" for k in range(self.num_classes)]
        if len(class_names) != self.num_classes:
            raise ArgumentError(
                f"ConfusionMatrix: {len(class_names)} class names ({', '.join(class_names)}) for {self.num_classes} classes"
            )
        return list(class_names)


def _ratio(part, whole) -> np.ndarray:
    """part / whole, NaN where whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _mean(scores: np.ndarray) -> float:
    present = scores[~np.isnan(scores)]
    return float(present.mean()) if len(present) else float("nan")


def _none_for_nan(value) -> float | None:
    return None if np.isnan(value) else float(value)
