"""Samples for the equations of measures: a confusion matrix without symmetry, and outlines that miss each other in places."""

from collections.abc import Iterator

import numpy as np

from minseg.metrics import BoundaryF1, ConfusionMatrix, boundary
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
    yield from _of_counts("frequency_weighted_iou", ())


def metric_boundary(rng: np.random.Generator) -> Iterator[Sample]:
    for k in (0, 1, 2, 2, 2, 2):
        t = rng.choice([0, 1, 255, 2, 2, 2, 2], (5, 7))
        q, o = (t == k).astype(int), ((t != k) & (t != 255)).astype(int)
        yield Sample({"q": q, "o": o}, (5, 7), lambda t=t, k=k: boundary(t == k, t != 255))


def _outlines(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A prediction and a truth of two classes, and where the outlines of class 1 are in them: (A, 2) and (B, 2)."""
    truth = np.zeros((9, 12), np.int64)
    truth[2:7, 3:8] = 1
    pred = np.zeros_like(truth)
    pred[1:7, 4:11] = 1
    pred[rng.integers(0, 9, 3), rng.integers(0, 12, 3)] = 1
    known = np.ones(truth.shape, bool)
    return pred, truth, np.argwhere(boundary(pred == 1, known)), np.argwhere(boundary(truth == 1, known))


def metric_boundary_precision(rng: np.random.Generator) -> Iterator[Sample]:
    for theta in (1.0, 2.0, 2.5, 0.0):
        pred, truth, ours, true = _outlines(rng)
        true = np.array(sorted(true.tolist(), key=lambda place: place not in ours.tolist()))
        true = np.roll(true, -1, axis=0)  # places that both have come first and last
        for score, near, far in (("precision", ours, true), ("recall", true, ours)):
            values = {"A": len(near), "B": len(far), "u": near[:, 0], "v": near[:, 1], "r": far[:, 0], "s": far[:, 1]}

            def code(pred=pred, truth=truth, theta=theta, score=score):
                return getattr(_boundary_f1(pred, truth, theta), score)()[1]

            yield Sample(values | {r"\theta": theta}, (), code)


def _boundary_f1(pred: np.ndarray, truth: np.ndarray, tolerance: float) -> BoundaryF1:
    measure = BoundaryF1(2, tolerance)
    measure.update(pred, truth)
    return measure


def metric_boundary_f1(rng: np.random.Generator) -> Iterator[Sample]:
    pred, truth, *_ = _outlines(rng)
    measure = _boundary_f1(pred, truth, 1)
    for k in range(2):
        yield Sample({"P": measure.precision()[k], "R": measure.recall()[k]}, (), lambda k=k: measure.f1()[k])
