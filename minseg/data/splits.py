"""Parts of a data set, and what is in them: subsets, k folds of equal size, and how many pixels each class has."""

from collections.abc import Sequence

import numpy as np

from minseg.data.dataset import Dataset, sample_name
from minseg.data.images import IGNORE
from minseg.errors import ArgumentError, DataError


class Subset:
    """The samples of a data set at these indices, in this order."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]):
        self.dataset, self.indices = dataset, [int(i) for i in indices]
        for i in self.indices:
            if not 0 <= i < len(dataset):
                raise ArgumentError(f"Subset: indices must be 0 to {len(dataset) - 1}, got {i}")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        return self.dataset[self.indices[i]]

    def name(self, i: int) -> str:
        return sample_name(self.dataset, self.indices[i])


def k_fold(n: int, k: int, seed: int = 0, counts: np.ndarray | None = None) -> list[tuple[list[int], list[int]]]:
    """Split n samples k times into (training, held-out) indices, so that each sample is held out once.

    Folds differ in size by one sample at most. The same n, k and seed give the same folds.

    Parameters
    ----------
    n : int
        Samples.
    k : int
        Folds, 2 to n.
    seed : int
    counts : int array (n, K), optional
        Pixels of each class in each sample, as ``class_counts(..., per_image=True)`` gives; folds then get about as many pixels
        of each class. Those with most of a rare class are dealt out first, each to the fold that has least of what it holds;
        the seed then only decides between equals.

    >>> [held_out for _, held_out in k_fold(5, 2)]
    [[1, 2, 3], [0, 4]]
    """
    if not 2 <= k <= n:
        raise ArgumentError(f"k_fold: k must be 2 to the number of samples, {n}, got {k}")
    if seed < 0:
        raise ArgumentError(f"k_fold: seed must be at least 0, got {seed}")
    order = np.random.default_rng(seed).permutation(n)
    fold_of = np.empty(n, np.int64)
    if counts is None:
        fold_of[order] = np.arange(n) % k
    else:
        counts = np.asarray(counts)
        if counts.ndim != 2 or len(counts) != n or (counts < 0).any():
            raise ArgumentError(f"k_fold: counts must be pixels (n, K) for n = {n} samples, got {counts.shape}")
        fold_of[order] = _deal(counts[order], k)
    folds = [np.flatnonzero(fold_of == fold) for fold in range(k)]
    return [(np.setdiff1d(np.arange(n), held_out).tolist(), held_out.tolist()) for held_out in folds]


def _deal(counts: np.ndarray, k: int) -> np.ndarray:
    """The fold of each sample. In units of a class's share in the whole set, so that rare classes weigh as much as others."""
    n = len(counts)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    fold_of, held, room = np.zeros(n, np.int64), np.zeros((k, counts.shape[1])), np.full(k, n // k)
    room[: n % k] += 1
    for i in np.argsort(-shares.max(axis=1), kind="stable"):
        overlap = np.where(room > 0, held @ shares[i], np.inf)
        emptiest = np.flatnonzero(overlap == overlap.min())
        fold = emptiest[room[emptiest].argmax()]
        fold_of[i] = fold
        held[fold] += shares[i]
        room[fold] -= 1
    return fold_of


def class_counts(dataset: Dataset, num_classes: int, ignore_index: int = IGNORE, per_image: bool = False) -> np.ndarray:
    """Count the pixels of each class, (K,) int64; with ``per_image`` in each image, (n, K). Ignored ones count nowhere."""
    if num_classes < 1:
        raise ArgumentError(f"class_counts: num_classes must be at least 1, got {num_classes}")
    if len(dataset) == 0:
        raise DataError("class_counts: the data set is empty; there is nothing to count")
    counts = np.zeros((len(dataset), num_classes), np.int64)
    for i in range(len(dataset)):
        labels = dataset[i][1]
        labels = labels[labels != ignore_index]
        if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
            raise DataError(
                f"{sample_name(dataset, i)} has label {labels.max() if labels.max() >= num_classes else labels.min()}, "
                f"expected 0 to {num_classes - 1} or {ignore_index} = ignore; mend the mask or name all classes"
            )
        counts[i] = np.bincount(labels.ravel(), minlength=num_classes)  # eq: data.class_counts
    return counts if per_image else counts.sum(axis=0)
