"""ConvNet: the classifier of D1, and that the segmenter with the same weights says the same of every window."""

import numpy as np
import pytest

from minseg import models, no_grad, ops, tensor, use_backend
from minseg.errors import ArgumentError, ShapeError
from minseg.models import printed


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


def test_the_segmenter_agrees_with_the_classifier_at_its_own_size():
    model, x = models.ConvNet(3, 10), images(2, 3, 32, 34)
    scores = run(model.to_segmenter().scores, x)
    assert scores.shape == (2, 10, 1, 1)
    assert close(scores[:, :, 0, 0], run(model, x))


def test_the_segmenter_says_of_every_window_what_the_classifier_says():
    model, x = models.ConvNet(2, 3, widths=(3, 4), hidden=(6, 5)), images(1, 2, 41, 45)
    scores = run(model.to_segmenter().scores, x)
    assert scores.shape == (1, 3, 3, 4)
    for i, j in np.ndindex(3, 4):
        assert close(scores[:, :, i, j], run(model, x[:, :, 4 * i : 4 * i + 32, 4 * j : 4 * j + 32]))


def test_scores_of_a_photograph():
    assert run(models.ConvNetFCN(3, 10).scores, images(1, 3, 224, 224)).shape == (1, 10, 49, 49)


def test_logits_of_an_image_are_scores_of_cells_and_linear_between():
    """A window on the cell (i, j), pixels 4i to 4i+3, begins 14 pixels before it; logits between are bilinear."""
    model = models.ConvNetFCN(1, 2)
    x = images(1, 1, 48, 48)
    logits, scores = run(model, x), run(model.scores, x)
    assert logits.shape == (1, 2, 48, 48)
    inner = run(
        lambda s: ops.interpolate(s, scale_factor=4, mode="bilinear"), scores
    )  # cells 14/4 = 3.5 from the border on
    assert scores.shape == (1, 2, 5, 5)
    assert not close(logits[:, :, 14:34, 14:34], inner), "half a cell off: windows in the image start at 0, not at -14"
    shifted = run(model.scores, x[:, :, 2:, 2:])  # windows that begin at 2: cells from pixel 16 on
    inner = run(lambda s: ops.interpolate(s, scale_factor=4, mode="bilinear"), shifted)
    assert close(logits[:, :, 18:30, 18:30], inner[:, :, 2:14, 2:14])


def test_float64_and_mode_move_with_the_weights():
    model = models.ConvNet(1, 2).to(dtype=np.float64).eval()
    segmenter = model.to_segmenter()
    assert segmenter.fc1.weight.dtype == np.float64
    assert not segmenter.training
    segmenter.fc2.weight.data = segmenter.fc2.weight.data * 0
    assert model.fc2.weight.numpy().any(), "each has its own weights"


def test_it_is_the_printed_network_for_images_of_32_pixels():
    ours, theirs = models.ConvNet(3, 10), printed.ConvNet(np.random.default_rng(0))
    theirs.load_state_dict(ours.state_dict())
    x = images(2, 3, 32, 32)
    assert np.array_equal(run(ours, x), run(theirs, x))


def test_other_sizes_are_refused_not_folded():
    model = models.ConvNet(3, 10)
    for shape in [(1, 3, 31, 32), (16, 3, 52, 52)]:
        with pytest.raises(ShapeError, match=r"ConvNet: sides must be 32 to 35 pixels, got .*to_segmenter\(\)"):
            model(tensor(images(*shape)))
    with pytest.raises(ArgumentError, match=r"ConvNet: hidden must be 2 integers, got \(3,\)"):
        models.ConvNet(3, 10, hidden=(3,))
