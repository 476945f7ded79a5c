"""Class weights: equal to counting by hand, 0 for what does not occur, and the balance that they promise."""

import numpy as np
import pytest

from minseg import ops, tensor
from minseg.data import CLASS_WEIGHTS, ArrayDataset, class_counts, class_frequencies, class_weights
from minseg.errors import ArgumentError, DataError, ShapeError

K = 5


def masks():
    """Label maps of several sizes, with ignored pixels; class 3 never occurs, class 4 in one image only."""
    rng = np.random.default_rng(2)
    found = [rng.choice([0, 0, 0, 1, 2, 255], size).astype(np.uint8) for size in [(4, 6), (5, 3), (1, 1), (7, 2)]]
    found[1][0, :2] = 4
    found[2][:] = 255
    return found


def counts():
    maps = masks()
    return class_counts(ArrayDataset([m[..., None] for m in maps], maps, list("abcd")), K, per_image=True)


def brute_force_frequency(k):
    of_class = of_images = 0
    for mask in masks():
        labels = [label for label in mask.ravel().tolist() if label != 255]
        if k in labels:
            of_class += labels.count(k)
            of_images += len(labels)
    return of_class / of_images if of_images else 0


def test_frequencies_are_those_in_the_images_that_show_the_class():
    expected = [brute_force_frequency(k) for k in range(K)]
    np.testing.assert_allclose(class_frequencies(counts()), expected, rtol=1e-15)
    assert expected[3] == 0
    assert expected[4] == 2 / (masks()[1] != 255).sum()


def test_median_frequency_weights():
    f = np.array([brute_force_frequency(k) for k in (0, 1, 2, 4)])
    expected = np.insert(np.median(f) / f, 3, 0)
    np.testing.assert_allclose(class_weights(counts()), expected, rtol=1e-14)
    np.testing.assert_allclose(class_weights(counts(), "sqrt-median"), np.sqrt(expected), rtol=1e-14)


def test_inverse_frequency_weights_give_every_class_the_same_share():
    n = counts().sum(axis=0)
    weights = class_weights(counts(), "inverse")
    np.testing.assert_allclose((weights * n)[n > 0], n.sum() / 4, rtol=1e-14)
    assert weights[3] == 0
    np.testing.assert_allclose(class_weights(n, "inverse"), weights, rtol=1e-15)


@pytest.mark.parametrize("kind", CLASS_WEIGHTS)
def test_equally_frequent_classes_weigh_1(kind):
    assert class_weights(np.array([7, 7, 7]), kind).tolist() == [1, 1, 1]
    assert class_weights(np.array([7, 0, 7]), kind).tolist() == [1, 0, 1]
    assert class_weights(np.array([[3, 0], [0, 3]]), "median").tolist() == [1, 1]


def test_a_loss_takes_them():
    target = np.array([[[0, 0, 0, 0, 2, 255]]])
    weights = class_weights(class_counts(ArrayDataset([target[0][..., None]], [target[0]], ["a"]), 3), "inverse")
    z = tensor(np.random.default_rng(0).standard_normal((1, 3, 1, 6)))
    each = ops.cross_entropy(z, target, reduction="none").data[0, 0]
    expected = (each[:4].mean() + each[4]) / 2  # either class has half of the loss
    assert ops.cross_entropy(z, target, weights).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: class_weights(np.array([1, 2]), "medain"), ArgumentError, "unknown class weights 'medain'; did you mean 'median'"),
        (lambda: class_weights(np.array([1, -2])), ArgumentError, "a count cannot be negative, got -2"),
        (lambda: class_weights(np.array([0, 0])), DataError, "no pixel was counted"),
        (lambda: class_frequencies(np.zeros((0, 3))), DataError, "no pixel was counted"),
        (lambda: class_weights(np.ones((2, 2, 2))), ShapeError, r"must have shape \(K,\) or \(n, K\), got \(2, 2, 2\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_weighed(call, error, message):
    with pytest.raises(error, match=message):
        call()
