"""Every score against a count pixel by pixel, on random maps with ignored pixels and absent classes."""

import json

import numpy as np
import pytest

from minseg.errors import ArgumentError, DtypeError, ShapeError
from minseg.metrics import BoundaryF1, ConfusionMatrix, Measures

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
    weighted = sum((t + m) * expected["iou"][k] for k, (t, _, m) in enumerate(counts) if k in classes)
    assert matrix.frequency_weighted_iou() == pytest.approx(weighted / (target != 255).sum(), rel=1e-14)


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
    assert np.isnan(matrix.frequency_weighted_iou())
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
    assert values["frequency_weighted_iou"] == 0.5  # 1/3 of 0.5, 1 and 0 each
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


# ------------------------------------------------------------------------------------------------------------- boundaries


def outline(labels, k, ignored):
    """The places of class k beside another class, one pixel and one neighbour after another."""
    h, w = labels.shape
    found = set()
    for i in range(h):
        for j in range(w):
            for u, v in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                known = 0 <= u < h and 0 <= v < w and not ignored[i, j] and not ignored[u, v]
                if known and labels[i, j] == k and labels[u, v] != k:
                    found.add((i, j))
    return found


def near(places, others, tolerance):
    return sum(any((i - u) ** 2 + (j - v) ** 2 <= tolerance**2 for u, v in others) for i, j in places)


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 3, 100])
@pytest.mark.parametrize("classes", [(0, 1, 2, 3), (0, 3), (2,)])
def test_boundary_scores_equal_a_count_pixel_by_pixel(classes, tolerance):
    pred, target = random_maps(len(classes), classes, shape=(2, 9, 13))
    for maps in (pred, target):  # larger regions than single pixels
        maps[:, 2:6, 3:9] = classes[0]
    target[1, 4, 4] = 255
    pred = np.where(target == 255, classes[-1], pred)
    measure = BoundaryF1(4, tolerance)
    measure.update(pred, target)
    for k in range(4):
        counts = np.zeros((2, 2), int)  # near, all; of the prediction and the truth
        for p, t in zip(pred, target):
            of_p, of_t = outline(p, k, t == 255), outline(t, k, t == 255)
            counts += [[near(of_p, of_t, tolerance), len(of_p)], [near(of_t, of_p, tolerance), len(of_t)]]
        precision, recall = (ratio(*row) for row in counts.tolist())
        np.testing.assert_array_equal(measure.precision()[k], precision)
        np.testing.assert_array_equal(measure.recall()[k], recall)
        assert measure.length[:, k].tolist() == counts[:, 1].tolist()
        if not counts[:, 1].any():
            assert np.isnan(measure.f1()[k])
        elif not counts[:, 0].any():
            assert measure.f1()[k] == 0
        else:
            assert measure.f1()[k] == pytest.approx(2 * precision * recall / (precision + recall), rel=1e-14)


def test_boundary_updates_add_up_and_a_perfect_prediction_is_one():
    pred, target = random_maps(5, (0, 1, 2), shape=(3, 8, 9))
    whole, parts = BoundaryF1(3), BoundaryF1(3)
    whole.update(pred, target)
    for p, t in zip(pred, target):
        parts.update(p, t)
    np.testing.assert_array_equal(whole.near, parts.near)
    np.testing.assert_array_equal(whole.length, parts.length)
    perfect = BoundaryF1(3, tolerance=0)
    perfect.update(np.where(target == 255, 0, target), target)
    np.testing.assert_array_equal(perfect.f1(), [1, 1, 1])


def test_a_shifted_edge_is_met_within_the_tolerance_only():
    target = np.zeros((6, 20), np.uint8)
    target[:, 10:] = 1
    for tolerance, expected in ((2, 0.0), (3, 1.0)):
        measure = BoundaryF1(2, tolerance)
        measure.update(np.roll(target, 3, axis=1) & (np.arange(20) >= 3), target)
        assert measure.f1().tolist() == [expected] * 2


def test_neither_the_edge_of_the_image_nor_ignored_pixels_make_a_boundary():
    measure = BoundaryF1(2)
    target = np.zeros((5, 6), np.uint8)
    target[:, 3] = 255
    target[:, 4:] = 1
    measure.update(np.where(target == 255, 1, target), target)
    assert measure.length.sum() == 0
    assert np.isnan(measure.f1()).all()
    assert np.isnan(measure.mean_f1())
    one = BoundaryF1(2)
    one.update(np.array([[1]]), np.array([[1]]))
    assert np.isnan(one.f1()).all()


def test_a_boundary_missed_is_zero_and_an_absent_one_no_number():
    measure = BoundaryF1(4, 0)
    measure.update(np.array([[0, 0, 1, 1]]), np.array([[0, 0, 0, 2]]))
    np.testing.assert_array_equal(measure.f1(), [0, 0, 0, np.nan])
    values = json.loads(json.dumps(measure.to_dict(NAMES), allow_nan=False))
    assert values["classes"]["car"] == {"f1": None, "precision": None, "recall": None, "support": 0}
    assert values["classes"]["tree"] == {"f1": 0.0, "precision": 0.0, "recall": None, "support": 0}
    header, *rows, summary = measure.table(NAMES).splitlines()
    assert {len(row) for row in rows} == {len(header)}
    assert rows[3].split() == ["car", "absent", "absent", "absent", "0"]
    assert rows[2].split() == ["road", "0.0000", "none", "0.0000", "1"]
    assert summary == "mean boundary F1 0.0000 within 0 pixels"


def test_boundary_errors():
    with pytest.raises(ArgumentError, match="tolerance must be a distance in pixels, 0 or more, got -1"):
        BoundaryF1(2, -1)
    with pytest.raises(ArgumentError, match="tolerance must be"):
        BoundaryF1(2, float("nan"))
    with pytest.raises(ArgumentError, match="num_classes must be at least 1"):
        BoundaryF1(0)
    with pytest.raises(ShapeError, match=r"must be \(H, W\) or \(N, H, W\), got \(3,\)"):
        BoundaryF1(2).update(np.zeros(3, int), np.zeros(3, int))
    with pytest.raises(ArgumentError, match="pred has label 2"):
        BoundaryF1(2).update(np.full((2, 2), 2), np.zeros((2, 2), int))
    with pytest.raises(ArgumentError, match=r"BoundaryF1: 2 class names \(a, b\) for 3 classes"):
        BoundaryF1(3).table(["a", "b"])


def test_measures_count_together():
    confusion, outlines = ConfusionMatrix(2), BoundaryF1(2)
    Measures(confusion, outlines).update(np.array([[0, 1]]), np.array([[0, 1]]))
    assert confusion.mean_iou() == outlines.mean_f1() == 1
