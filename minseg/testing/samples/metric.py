"""Samples for the equations of measures: a confusion matrix without symmetry."""

from collections.abc import Iterator

import numpy as np

from minseg.metrics import ConfusionMatrix
from minseg.testing.equations import Sample

COUNTS = np.array([[7, 2, 1], [4, 11, 3], [5, 6, 13]])


def _matrix(counts: np.ndarray) -> ConfusionMatrix:
    """A ConfusionMatrix that has seen these counts."""
    matrix = ConfusionMatrix(len(counts))
    truth, predicted = np.indices(counts.shape)
    matrix.update(np.repeat(predicted.ravel(), counts.ravel()), np.repeat(truth.ravel(), counts.ravel()))
    return matrix


def metric_confusion(rng: np.random.Generator) -> Iterator[Sample]:
    K, N = 3, 23
    t, p = rng.integers(0, K, N), rng.integers(0, K, N)

    def code():
        matrix = ConfusionMatrix(K)
        ignored = np.concatenate([t, [255, 255]])  # the ignored pixels make no difference
        matrix.update(np.concatenate([p, [0, 2]]), ignored)
        return matrix.counts

    yield Sample({"t": t, "p": p, "N": N}, (K, K), code, extra={"K": K})


def _of_one_class(score: str) -> Iterator[Sample]:
    for k in range(len(COUNTS)):
        T = int(COUNTS[k, k])
        F, M = int(COUNTS[:, k].sum()) - T, int(COUNTS[k].sum()) - T
        yield Sample({"T": T, "F": F, "M": M}, (), lambda k=k: getattr(_matrix(COUNTS), score)()[k])


def metric_dice(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _of_one_class("dice")


def metric_iou(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _of_one_class("iou")


def metric_dice_from_iou(rng: np.random.Generator) -> Iterator[Sample]:
    for k in range(len(COUNTS)):
        J = float(_matrix(COUNTS).iou()[k])
        yield Sample({"J": J}, (), lambda k=k: _matrix(COUNTS).dice()[k])


def _of_counts(score: str, shape: tuple[int, ...]) -> Iterator[Sample]:
    yield Sample({"n": COUNTS, "K": len(COUNTS)}, shape, lambda: getattr(_matrix(COUNTS), score)())


def metric_pixel_acc(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _of_counts("pixel_accuracy", ())


def metric_mean_acc(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _of_counts("mean_accuracy", ())


def metric_precision(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _of_counts("precision", (3,))


def metric_recall(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _of_counts("recall", (3,))


def metric_miou(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _of_counts("mean_iou", ())


def metric_fwiou(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample({"n": COUNTS, "K": len(COUNTS)}, ())


def metric_boundary_f1(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample({"P": 0.83, "R": 0.61}, ())
