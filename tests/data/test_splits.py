"""Folds that share the samples fairly, and counts of the classes."""

import numpy as np
import pytest

from minseg.data import ArrayDataset, Subset, class_counts, k_fold
from minseg.errors import ArgumentError, DataError


def masks(n=6, size=(5, 7)):
    rng = np.random.default_rng(0)
    return [rng.choice([0, 0, 0, 1, 3, 255], size).astype(np.uint8) for _ in range(n)]


def dataset(n=6):
    return ArrayDataset([np.zeros((5, 7, 1), np.uint8)] * n, masks(n), [f"picture {i}" for i in range(n)])


@pytest.mark.parametrize(("n", "k"), [(2, 2), (7, 3), (10, 5), (11, 4), (5, 5)])
@pytest.mark.parametrize("by_counts", [False, True])
def test_each_sample_is_held_out_once_and_folds_are_even(n, k, by_counts):
    counts = np.random.default_rng(1).integers(0, 100, (n, 4)) if by_counts else None
    folds = k_fold(n, k, seed=3, counts=counts)
    assert len(folds) == k
    assert sorted(i for _, held_out in folds for i in held_out) == list(range(n))
    sizes = [len(held_out) for _, held_out in folds]
    assert max(sizes) - min(sizes) <= 1
    for train, held_out in folds:
        assert sorted([*train, *held_out]) == list(range(n))
    assert folds == k_fold(n, k, seed=3, counts=counts)
    if n > 5 and not by_counts:  # by counts the seed decides only where samples weigh the same
        assert folds != k_fold(n, k, seed=4, counts=counts)


def test_balanced_folds_share_a_rare_class():
    """Six of thirty images hold the rare class: by chance a fold of six often gets none or three, balanced ones get one or two."""
    counts = np.full((30, 2), 100)
    counts[:, 1] = 0
    counts[[0, 1, 2, 3, 4, 5], 1] = 20
    for seed in range(10):
        rare = [counts[held_out, 1].sum() // 20 for _, held_out in k_fold(30, 5, seed, counts)]
        assert sorted(rare) == [1, 1, 1, 1, 2]
    by_chance = [counts[held_out, 1].sum() for seed in range(10) for _, held_out in k_fold(30, 5, seed)]
    assert min(by_chance) == 0


def test_counts_equal_a_count_pixel_by_pixel():
    expected = np.zeros((6, 5), int)
    for i, mask in enumerate(masks()):
        for label in mask.ravel().tolist():
            if label != 255:
                expected[i, label] += 1
    np.testing.assert_array_equal(class_counts(dataset(), 5, per_image=True), expected)
    total = class_counts(dataset(), 5)
    np.testing.assert_array_equal(total, expected.sum(axis=0))
    assert total.dtype == np.int64
    assert (total[2], total[4]) == (0, 0)


def test_a_subset():
    subset = Subset(dataset(), [4, 1])
    assert len(subset) == 2
    np.testing.assert_array_equal(subset[0][1], masks()[4])
    assert subset.name(1) == "picture 1"
    assert class_counts(subset, 4).tolist() == class_counts(dataset(), 4, per_image=True)[[4, 1]].sum(axis=0).tolist()


def test_errors():
    for k in (1, 7, 0):
        with pytest.raises(ArgumentError, match=f"k must be 2 to the number of samples, 6, got {k}"):
            k_fold(6, k)
    with pytest.raises(ArgumentError, match="seed must be at least 0"):
        k_fold(6, 2, -1)
    with pytest.raises(ArgumentError, match=r"counts must be pixels \(n, K\) for n = 6 samples, got \(5, 2\)"):
        k_fold(6, 2, counts=np.zeros((5, 2)))
    with pytest.raises(DataError, match=r"picture \d has label 3, expected 0 to 2 or 255 = ignore"):
        class_counts(dataset(), 3)
    with pytest.raises(ArgumentError, match="num_classes must be at least 1"):
        class_counts(dataset(), 0)
    with pytest.raises(DataError, match="the data set is empty"):
        class_counts([], 3)
    with pytest.raises(ArgumentError, match="indices must be 0 to 5, got 6"):
        Subset(dataset(), [6])
