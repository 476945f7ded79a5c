"""Few labels: what is not sure or not drawn is ignored, and what is kept is right."""

import numpy as np
import pytest

from minseg.data import ArrayDataset, Scribbled, pseudo_label, scribble
from minseg.errors import ArgumentError, DataError, DtypeError, ShapeError


def probabilities(shape=(2, 3, 5, 7), dtype=np.float64):
    z = np.random.default_rng(0).normal(0, 2, shape).astype(dtype)
    e = np.exp(z)
    return e / e.sum(axis=-3, keepdims=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.4, 0.8, 1.0])
def test_pseudo_labels_pixel_by_pixel(dtype, threshold):
    p = probabilities(dtype=dtype)
    labels = pseudo_label(p, threshold)
    assert (labels.shape, labels.dtype) == ((2, 5, 7), np.uint8)
    for n, i, j in np.ndindex(2, 5, 7):
        best = int(np.argmax(p[n, :, i, j]))
        assert labels[n, i, j] == (best if p[n, best, i, j] >= threshold else 255)
    np.testing.assert_array_equal(pseudo_label(p[1], threshold), labels[1])


def test_exactly_sure_enough_is_sure_and_ties_go_to_the_first():
    p = np.array([0.5, 0.5, 0.0]).reshape(3, 1, 1)
    assert pseudo_label(p, 0.5)[0, 0] == 0
    assert pseudo_label(p, 0.5000001, ignore_index=200)[0, 0] == 200


@pytest.mark.parametrize(
    ("p", "threshold", "error", "message"),
    [
        (np.array([3.0, -1.0]).reshape(2, 1, 1), 0.9, ArgumentError, "take softmax of logits first"),
        (np.array([0.5, 0.1]).reshape(2, 1, 1), 0.9, ArgumentError, "sums of 0.6 to 0.6"),
        (np.array([np.nan, 1.0]).reshape(2, 1, 1), 0.9, ArgumentError, "probabilities are at least 0"),
        (np.ones((1, 2, 2)), 0.0, ArgumentError, "threshold must be above 0 and at most 1, got 0.0"),
        (np.ones((1, 2, 2)), 1.1, ArgumentError, "threshold must be"),
        (np.ones((2, 2)), 0.9, ShapeError, r"p must be \(K, H, W\)"),
        (np.ones((1, 2, 2), int), 0.9, DtypeError, "p must be probabilities in floating point, got int64"),
        (np.full((300, 1, 1), 1 / 300), 0.9, ArgumentError, "at most 255 classes"),
    ],
)
def test_what_is_no_probability_is_an_error(p, threshold, error, message):
    with pytest.raises(error, match=message):
        pseudo_label(p, threshold)


def regions(size=(40, 50)):
    mask = np.zeros(size, np.uint8)
    mask[5:20, 8:40] = 1
    mask[25:38, 3:30] = 2
    mask[30, 45] = 3  # a class of one pixel
    mask[:, 49] = 255
    return mask


def test_scribbles_are_thin_true_and_of_every_class():
    mask = regions()
    for seed in range(10):
        drawn = scribble(mask, np.random.default_rng(seed), strokes=2, length=20)
        kept = drawn != 255
        np.testing.assert_array_equal(drawn[kept], mask[kept])
        assert set(np.unique(drawn)) == {0, 1, 2, 3, 255}
        assert 10 < kept.sum() <= 4 * 2 * 20
        assert drawn.dtype == mask.dtype
    np.testing.assert_array_equal(mask, regions())


def test_strokes_hang_together_and_get_thicker():
    mask = np.zeros((60, 60), np.uint8)
    thin = scribble(mask, np.random.default_rng(1), length=30) == 0
    thick = scribble(mask, np.random.default_rng(1), length=30, thickness=3) == 0
    assert thin[thick].sum() == thin.sum()
    assert thick.sum() > 2 * thin.sum()
    places = np.argwhere(thin)
    reached, front = {tuple(places[0])}, [tuple(places[0])]
    while front:
        i, j = front.pop()
        for place in map(tuple, places):
            if place not in reached and max(abs(place[0] - i), abs(place[1] - j)) == 1:
                reached.add(place)
                front.append(place)
    assert len(reached) == thin.sum() > 15


def test_scribbled_data_is_the_same_at_every_call():
    images = [np.zeros((40, 50, 1), np.uint8)] * 3
    plain = ArrayDataset(images, [regions()] * 3, ["a", "b", "c"])
    one, other = Scribbled(plain, seed=1), Scribbled(plain, seed=1)
    assert len(one) == 3
    assert one.name(2) == "c"
    for i in (2, 0, 1, 0):
        np.testing.assert_array_equal(one[i][1], other[i][1])
    assert not np.array_equal(one[0][1], one[1][1])
    assert not np.array_equal(one[0][1], Scribbled(plain, seed=2)[0][1])
    assert one[0][0] is images[0]


def test_errors():
    with pytest.raises(ShapeError, match=r"the mask must be \(H, W\), got \(2, 3, 4\)"):
        scribble(np.zeros((2, 3, 4), np.uint8), np.random.default_rng(0))
    for option in ("strokes", "length", "thickness"):
        with pytest.raises(ArgumentError, match=f"scribble: {option} must be at least 1, got 0"):
            scribble(regions(), np.random.default_rng(0), **{option: 0})
    blank = ArrayDataset([np.zeros((2, 2, 1), np.uint8)], [np.full((2, 2), 255, np.uint8)], ["blank"])
    with pytest.raises(DataError, match="blank: every pixel is ignored already"):
        Scribbled(blank)[0]
    with pytest.raises(ArgumentError, match="seed must be at least 0"):
        Scribbled(blank, seed=-1)
