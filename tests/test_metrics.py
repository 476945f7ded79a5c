"""Every score against a count pixel by pixel, on random maps with ignored pixels and absent classes."""

import json

import numpy as np
import pytest

from minseg.errors import ArgumentError, DtypeError, ShapeError
from minseg.metrics import ConfusionMatrix

NAMES = ["sky", "tree", "road", "car"]


def brute_force(pred, target, k, ignore):
    """T, F and M of class k, one pixel after another."""
    hits = false = misses = 0
    for p, t in zip(pred.ravel().tolist(), target.ravel().tolist()):
        if t == ignore:
            continue
        hits += p == k and t == k
        false += p == k and t != k
        misses += p != k and t == k
    return hits, false, misses


def ratio(part, whole):
    return part / whole if whole else float("nan")


def random_maps(seed, classes, dtype=np.uint8, shape=(2, 7, 11)):
    rng = np.random.default_rng(seed)
    target = rng.choice(np.array([*classes, 255]), shape).astype(dtype)
    pred = np.where(rng.random(shape) < 0.6, target, rng.choice(np.array(classes), shape)).astype(dtype)
    return pred, target  # pred holds 255 at some ignored pixels: what is predicted there must not matter


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("classes", [(0, 1, 2, 3), (0, 3), (2,)])
def test_scores_equal_a_count_pixel_by_pixel(classes, dtype):
    pred, target = random_maps(len(classes), classes, dtype)
    matrix = ConfusionMatrix(4)
    matrix.update(pred, target)
    counts = [brute_force(pred, target, k, 255) for k in range(4)]
    expected = {
        "iou": [ratio(t, t + f + m) for t, f, m in counts],
        "dice": [ratio(2 * t, 2 * t + f + m) for t, f, m in counts],
        "precision": [ratio(t, t + f) for t, f, m in counts],
        "recall": [ratio(t, t + m) for t, f, m in counts],
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(getattr(matrix, name)(), values, err_msg=name)
    np.testing.assert_array_equal(matrix.support, [t + m for t, f, m in counts])
    assert matrix.pixel_accuracy() == sum(t for t, _, _ in counts) / (target != 255).sum()
    assert matrix.mean_iou() == pytest.approx(np.mean([expected["iou"][k] for k in classes]), rel=1e-15)
    assert matrix.mean_accuracy() == pytest.approx(np.mean([expected["recall"][k] for k in classes]), rel=1e-15)


def test_rows_are_the_truth():
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([2, 2, 1]), np.array([0, 0, 1]))
    assert matrix.counts.tolist() == [[0, 0, 2], [0, 1, 0], [0, 0, 0]]
    assert matrix.counts.dtype == np.int64


def test_updates_add_up_to_one_update_of_everything():
    pred, target = random_maps(0, (0, 1, 2))
    whole, parts = ConfusionMatrix(3), ConfusionMatrix(3)
    whole.update(pred, target)
    for p, t in zip(pred, target):
        parts.update(p, t)
    np.testing.assert_array_equal(whole.counts, parts.counts)


def test_counts_do_not_wrap_in_uint8():
    matrix = ConfusionMatrix(200)
    matrix.update(np.full((30, 30), 199, np.uint8), np.full((30, 30), 198, np.uint8))
    assert matrix.counts[198, 199] == 900


def test_an_absent_class_is_nan_and_not_in_the_mean_but_a_missed_one_is_zero():
    matrix = ConfusionMatrix(4)
    matrix.update(np.array([0, 0, 1]), np.array([0, 2, 1]))  # 2 is missed, 3 is absent
    np.testing.assert_array_equal(matrix.iou(), [0.5, 1.0, 0.0, np.nan])
    np.testing.assert_array_equal(matrix.absent, [False, False, False, True])
    assert matrix.mean_iou() == 0.5
    assert matrix.recall()[2] == 0
    assert np.isnan(matrix.precision()[2])  # never predicted: there is no precision


def test_nothing_counted_is_nan_without_a_warning(recwarn):
    matrix = ConfusionMatrix(2)
    matrix.update(np.zeros((3, 3), np.uint8), np.full((3, 3), 255, np.uint8))
    assert np.isnan([matrix.mean_iou(), matrix.pixel_accuracy(), matrix.mean_accuracy()]).all()
    assert not recwarn


def test_one_pixel_and_no_ignore_index():
    matrix = ConfusionMatrix(256, ignore_index=None)
    matrix.update(np.array([[255]]), np.array([[255]]))
    assert matrix.counts[255, 255] == 1
    assert matrix.mean_iou() == 1


def test_another_ignore_index():
    matrix = ConfusionMatrix(2, ignore_index=-1)
    matrix.update(np.array([0, 1, 1]), np.array([-1, 1, 0]))
    assert matrix.counts.tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("pred", "target", "error", "message"),
    [
        ([0, 3], [0, 1], ArgumentError, r"pred has label 3 at \(1,\), expected 0 to 2"),
        ([0, 1], [7, 1], ArgumentError, r"target has label 7 at \(0,\), expected 0 to 2 \(or 255 in target"),
        ([0, -1], [0, 1], ArgumentError, r"pred has label -1"),
        ([0, 255], [0, 1], ArgumentError, r"pred has label 255"),
        ([0, 1], [0, 1, 2], ShapeError, r"pred \(2,\) and target \(3,\)"),
        ([0.0, 1.0], [0, 1], DtypeError, r"pred must be integer labels, got float64"),
    ],
)
def test_bad_labels_are_errors_and_count_nothing(pred, target, error, message):
    matrix = ConfusionMatrix(3)
    with pytest.raises(error, match=message):
        matrix.update(np.array(pred), np.array(target))
    assert matrix.counts.sum() == 0


def test_no_classes_is_an_error():
    with pytest.raises(ArgumentError, match="num_classes must be at least 1"):
        ConfusionMatrix(0)


def test_to_dict_is_json_with_null_for_absent():
    matrix = ConfusionMatrix(4)
    matrix.update(np.array([0, 0, 1]), np.array([0, 2, 1]))
    values = json.loads(json.dumps(matrix.to_dict(NAMES), allow_nan=False))
    assert values["classes"]["car"] == {"iou": None, "dice": None, "precision": None, "recall": None, "support": 0}
    assert values["classes"]["sky"] == {"iou": 0.5, "dice": 2 / 3, "precision": 0.5, "recall": 1.0, "support": 1}
    assert values["mean_iou"] == 0.5
    assert values["counts"] == matrix.counts.tolist()


def test_table_is_aligned_and_says_absent():
    matrix = ConfusionMatrix(4)
    matrix.update(np.array([0, 0, 1]), np.array([0, 2, 1]))
    header, *rows, summary = matrix.table(NAMES).splitlines()
    assert {len(row) for row in rows} == {len(header)}
    assert rows[3].split() == ["car", "absent", "absent", "absent", "absent", "0"]
    assert rows[2].split() == ["road", "0.0000", "0.0000", "none", "0.0000", "1"]
    assert "mean IoU 0.5000 over 3 of 4 classes" in summary


def test_a_wrong_number_of_names_is_an_error():
    with pytest.raises(ArgumentError, match=r"2 class names \(a, b\) for 3 classes"):
        ConfusionMatrix(3).table(["a", "b"])
