"""Net: the classifier of D2, its document's size, and the segmenter with the same weights."""

import numpy as np
import pytest

from minseg import models, no_grad, tensor, use_backend
from minseg.errors import ShapeError


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def images(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def run(fn, x):
    with no_grad():
        return fn(tensor(x)).numpy()


def close(a, b):
    return np.abs(a - b).max() < 1e-5 * np.abs(b).max()


def test_with_the_documents_options_it_has_the_documents_parameters():
    assert models.Net(3, 10, widths=(64, 128), hidden=(1024, 256)).num_parameters() == 8_730_250


def test_the_segmenter_agrees_with_the_classifier_at_its_own_size():
    model, x = models.Net(3, 10), images(2, 3, 35, 32)
    scores = run(model.to_segmenter().scores, x)
    assert scores.shape == (2, 10, 1, 1)
    assert close(scores[:, :, 0, 0], run(model, x))


def test_windows_of_a_larger_image_differ_by_what_kernels_see_beyond_their_border():
    """The classifier sees zeros around its window, the segmenter the neighbours; kernels of one pixel see neither."""
    model, x = models.Net(2, 3, widths=(3, 4), hidden=(6, 5)), images(1, 2, 41, 45)
    windows = [(i, j, x[:, :, 4 * i : 4 * i + 32, 4 * j : 4 * j + 32]) for i, j in np.ndindex(3, 4)]
    scores = run(model.to_segmenter().scores, x)
    assert scores.shape == (1, 3, 3, 4)
    assert not any(close(scores[:, :, i, j], run(model, window)) for i, j, window in windows)
    centre = np.zeros((3, 3), np.float32)
    centre[1, 1] = 3
    for conv in (model.conv1, model.conv2):
        conv.weight.data = conv.weight.data * centre
    scores = run(model.to_segmenter().scores, x)
    assert all(close(scores[:, :, i, j], run(model, window)) for i, j, window in windows)


def test_other_sizes_are_refused_not_folded():
    with pytest.raises(ShapeError, match="Net: sides must be 32 to 35 pixels"):
        models.Net(3, 10)(tensor(images(4, 3, 64, 64)))
