"""VocCNN: the classifier of D3 for images of any size, and the segmenter with the same weights."""

import numpy as np
import pytest

from minseg import models, no_grad, tensor, use_backend
from minseg.errors import ArgumentError, ShapeError


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def images(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def run(fn, x):
    with no_grad():
        return fn(tensor(x)).numpy()


@pytest.mark.parametrize("size", [(4, 4), (28, 28), (17, 30), (224, 224)])
def test_the_mean_of_the_segmenters_scores_is_the_classifiers(size):
    """224 pixels are the document's own, for which its network took each image for 64."""
    model, x = models.VocCNN(3, 21), images(2, 3, *size)
    expected = run(model, x)
    scores = run(model.to_segmenter().scores, x)
    assert expected.shape == (2, 21)
    assert scores.shape == (2, 21, size[0] // 4, size[1] // 4)
    assert np.abs(scores.mean(axis=(2, 3)) - expected).max() < 1e-5 * np.abs(expected).max()


def test_no_relu_cuts_the_scores():
    assert run(models.VocCNN(3, 21), images(4, 3, 28, 28)).min() < 0


def test_images_without_a_cell_are_refused():
    with pytest.raises(ShapeError, match="the output would be"):
        models.VocCNN(3, 21)(tensor(images(1, 3, 3, 8)))
    with pytest.raises(ArgumentError, match=r"VocCNN: widths must be 2 integers, got \(3, 4, 5\)"):
        models.VocCNN(3, 21, widths=(3, 4, 5))
