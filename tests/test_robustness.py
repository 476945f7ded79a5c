"""Worse images: reproducible, in their own units, masks untouched; and scores that are those of the worse images."""

from itertools import pairwise

import numpy as np
import pytest

from minseg import robustness
from minseg.autograd import tensor
from minseg.data import ArrayDataset, Preprocess
from minseg.errors import ArgumentError
from minseg.robustness import DAMAGES, DamagedDataset, damaged, sweep


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(60, 190, (33, 41, 3), np.uint8)


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_grows_from_nothing(kind, image):
    strengths = DAMAGES[kind].strengths
    worse = [damaged(image, kind, strength).astype(float) for strength in strengths]
    np.testing.assert_array_equal(worse[0], image)
    away = [np.abs(one - image).mean() for one in worse]
    assert all(a < b for a, b in pairwise(away))
    assert damaged(image, kind, strengths[-1]).dtype == np.uint8
    assert damaged(image.astype(np.float32), kind, strengths[-1]).dtype == np.float32


def test_units(image):
    noise = damaged(image, "noise", 8).astype(float) - image
    assert noise.std() == pytest.approx(8, rel=0.05)
    assert damaged(image, "contrast", 0.2).astype(float).std() == pytest.approx(0.2 * image.std(), rel=0.05)
    point = np.zeros((41, 41, 1), np.float32)
    point[20, 20] = 255
    spread = damaged(point, "blur", 2)[..., 0].astype(float)
    assert spread.sum() == pytest.approx(255, rel=1e-4)
    at = np.arange(41) - 20
    assert np.sqrt((spread.sum(axis=0) * at**2).sum() / 255) == pytest.approx(2, rel=0.03)


def test_noise_differs_between_images_and_repeats(image):
    dataset = DamagedDataset(ArrayDataset([image, image], [image[..., 0], image[..., 1]], ["a", "b"]), "noise", 5)
    (first, mask), (second, _) = dataset[0], dataset[1]
    assert len(dataset) == 2
    assert (first != second).any()
    np.testing.assert_array_equal(first, dataset[0][0])
    np.testing.assert_array_equal(mask, image[..., 0])
    soft, loud = (damaged(np.full((9, 9, 1), 100.0, np.float32), "noise", s) - 100 for s in (2, 6))
    np.testing.assert_allclose(loud, 3 * soft, atol=1e-4)


class Threshold:
    """A model without weights: bright pixels are class 1."""

    def modules(self):
        return []

    def eval(self):
        return self

    def __call__(self, x):
        return tensor(np.concatenate([-x.data, x.data], axis=1))


def halves():
    """Two images, dark at the left and bright at the right."""
    images = [np.full((16, 20, 1), 100, np.uint8) for _ in range(2)]
    masks = [np.zeros((16, 20), np.uint8) for _ in range(2)]
    for image, mask in zip(images, masks, strict=True):
        image[:, 10:], mask[:, 10:] = 156, 1
    return ArrayDataset(images, masks, ["a", "b"])


def test_a_sweep_scores_the_worse_images():
    preprocess = Preprocess((128 / 255,), (1.0,))
    lines = []
    noise, blur = sweep(Threshold(), halves(), preprocess, 2, ["noise", "blur"], [0, 20, 60], report=lines.append)
    assert noise.mean_iou[0] == blur.mean_iou[0] == 1
    assert noise.iou[0] == (1, 1)
    # A value is on the wrong side of 128, 28 away, with the probability of a normal deviate beyond 28/20: 0.081.
    wrong = 0.0808
    assert noise.mean_iou[1] == pytest.approx((1 - wrong) / (1 + wrong), abs=0.06)
    assert noise.mean_iou[2] < noise.mean_iou[1] < 1
    assert blur.mean_iou[1] == pytest.approx(1)  # symmetric about the border
    assert len(lines) == 6
    assert lines[0] == "noise 0: mean IoU 1.000"
    found = noise.to_dict(["dark", "bright"])
    assert found["strengths"] == (0, 20, 60)
    assert found["iou"]["dark"][0] == 1
    assert len(found["iou"]["bright"]) == 3


def test_unknown_damage_and_strengths_out_of_range(image):
    with pytest.raises(ArgumentError, match="unknown damage 'blurr'; did you mean 'blur'"):
        damaged(image, "blurr", 1)
    with pytest.raises(ArgumentError, match="unknown damage 'snow'"):
        sweep(None, halves(), None, 2, ["snow"])
    for strength in (-1, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match="finite and not negative"):
            damaged(image, "noise", strength)


def test_the_table_has_a_column_for_each_strength():
    curve = robustness.Curve("contrast", "share", (1, 0.5), (0.9, 0.25), ((0.9,), (0.25,)))
    assert (
        robustness.table([curve, curve]).splitlines()
        == [
            "contrast      1    0.5",
            "mean IoU  0.900  0.250",
        ]
        * 2
    )
