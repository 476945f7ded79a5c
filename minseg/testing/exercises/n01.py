"""Exercises of notebook 01: label maps, and counting how good one is."""

import numpy as np

from minseg.metrics import ConfusionMatrix
from minseg.testing.exercises.exercise import exercise


def _labels(rng: np.random.Generator) -> list[tuple]:
    return [(rng.integers(0, 3, (4, 5)).astype(np.uint8), 4), (np.array([[1, 0, 255], [2, 255, 1]], np.uint8), 3)]


@exercise("1.1", cases=_labels)
def one_hot(labels, num_classes):
    """Labels (H, W) as a map of zeros and ones for each class (K, H, W)."""
    return (np.arange(num_classes)[:, None, None] == labels).astype(float)


@one_hot.mistake("the classes are your last axis. The network's maps have them first: (K, H, W), not (H, W, K).")
def classes_last(labels, num_classes):
    return (labels[..., None] == np.arange(num_classes)).astype(float)


@one_hot.mistake(
    "255 means that nobody knows the class (void), so such a pixel is 0 in every map. You made it the last class."
)
def ignored_as_last(labels, num_classes):
    return one_hot(np.minimum(labels, num_classes - 1), num_classes)


@one_hot.mistake("your maps hold k where they should hold 1: compare with k, and do not multiply by it.")
def holds_k(labels, num_classes):
    return one_hot(labels, num_classes) * np.arange(num_classes)[:, None, None]


def _pair(rng: np.random.Generator) -> list[tuple]:
    image = rng.integers(0, 256, (4, 5, 3)).astype(np.uint8)
    return [(image, rng.integers(0, 3, (4, 5)).astype(np.uint8))]


@exercise("1.2", cases=_pair)
def mirror(image, mask):
    """Image (H, W, C) and mask (H, W), left and right exchanged in both."""
    return image[:, ::-1], mask[:, ::-1]


@mirror.mistake("only the image is mirrored. The labels still lie where the things were: that is ERR-41 again.")
def image_only(image, mask):
    return image[:, ::-1], mask


@mirror.mistake("top and bottom are exchanged. Columns are the second axis of (H, W, C) and of (H, W).")
def upside_down(image, mask):
    return image[::-1], mask[::-1]


@mirror.mistake(
    "in the image you reversed the last axis, which is the colour: red became blue. The columns are axis 1."
)
def colours_reversed(image, mask):
    return image[..., ::-1], mask[..., ::-1]


def _predictions(rng: np.random.Generator) -> list[tuple]:
    truth = rng.integers(0, 3, (6, 7)).astype(np.uint8)
    pred = np.where(rng.random((6, 7)) < 0.6, truth, rng.integers(0, 3, (6, 7))).astype(np.uint8)
    truth[0, :3] = 255
    return [(pred, truth, 3)]


@exercise("1.3", cases=_predictions)
def confusion(pred, truth, num_classes):
    """How often class k was predicted as class l: counts[k, l]; pixels whose truth is 255 do not count."""
    matrix = ConfusionMatrix(num_classes)
    matrix.update(pred, truth)
    return matrix.counts


@confusion.mistake("rows and columns are exchanged: n[k, l] counts true class k (row) predicted as l (column).")
def transposed(pred, truth, num_classes):
    return confusion(pred, truth, num_classes).T


@confusion.mistake("pixels labelled 255 are unknown, and you counted them. Leave them out: nobody can be wrong there.")
def ignored_counted(pred, truth, num_classes):
    return confusion(pred, np.where(truth == 255, 0, truth), num_classes)


@confusion.mistake(
    "you divided by the number of pixels. These are counts: dividing comes later, and differently for each score."
)
def as_shares(pred, truth, num_classes):
    counts = confusion(pred, truth, num_classes)
    return counts / counts.sum()


def _counts(rng: np.random.Generator) -> list[tuple]:
    return [(np.array([[5, 1, 0], [2, 7, 0], [0, 3, 0]]),), (np.array([[4, 1, 0], [0, 6, 0], [0, 0, 0]]),)]


@exercise("1.4", cases=_counts)
def mean_iou(counts):
    """The mean over the classes that are there of T / (T + F + M)."""
    right = np.diag(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - right
    return (right[union > 0] / union[union > 0]).mean()


@mean_iou.mistake(
    "a class that is neither in the truth nor predicted counted as 0. It is absent: leave it out of the mean."
)
def absent_as_zero(counts):
    right = np.diag(counts)
    return (right / np.maximum(counts.sum(axis=0) + counts.sum(axis=1) - right, 1)).mean()


@mean_iou.mistake(
    "you divided by |A| + |B|, where the overlap counts twice. The union has it once: subtract it (ERR-23)."
)
def divides_by_sum(counts):
    both = counts.sum(axis=0) + counts.sum(axis=1)
    return (np.diag(counts)[both > 0] / both[both > 0]).mean()


@mean_iou.mistake("that is the mean recall: you divided by the true pixels only, so false alarms cost nothing.")
def recall_instead(counts):
    truth = counts.sum(axis=1)
    return (np.diag(counts)[truth > 0] / truth[truth > 0]).mean()


@mean_iou.mistake("that is the mean Dice coefficient, 2T / (2T + F + M). It is always at least as large as IoU.")
def dice_instead(counts):
    both = counts.sum(axis=0) + counts.sum(axis=1)
    return (2 * np.diag(counts)[both > 0] / both[both > 0]).mean()


def _refutes(masks, *_) -> str | None:
    a, b = (np.asarray(mask) for mask in masks)
    if a.shape != b.shape or a.ndim != 2 or not set(np.unique([a, b])) <= {0, 1}:
        return "return two masks (H, W) of the same size that hold only 0 and 1."
    intersection, union = (a & b).sum(), (a | b).sum()
    if union == 0:
        return "both masks are empty, so the ratio is 0/0: that says nothing about Dice yet."
    if intersection == 0:
        return "the masks do not touch. Then both 2I/U and Dice are 0, and nothing is refuted: let them overlap."
    if 2 * intersection <= union:
        return f"2I/U is {2 * intersection / union:.2f}, which a similarity may be. Let them overlap more, until it is impossible."
    return None


@exercise("1.5", cases=lambda rng: [()], judge=_refutes)
def impossible_masks():
    """Two masks for which twice the intersection over the union is no similarity any more: more than 1."""
    return np.ones((2, 2), int), np.ones((2, 2), int)


@impossible_masks.mistake(
    "the masks do not touch. Then both 2I/U and Dice are 0, and nothing is refuted: let them overlap."
)
def apart():
    return np.array([[1, 0]]), np.array([[0, 1]])


@impossible_masks.mistake("both masks are empty, so the ratio is 0/0: that says nothing about Dice yet.")
def empty():
    return np.zeros((2, 2), int), np.zeros((2, 2), int)


@impossible_masks.mistake("2I/U is 0.67, which a similarity may be. Let them overlap more, until it is impossible.")
def overlap_a_little():
    return np.array([[1, 1, 0]]), np.array([[0, 1, 1]])
