"""EncoderDecoder: D5's network repaired, and what its repairs change."""

import numpy as np
import pytest

from minseg import models, no_grad, ops, tensor, use_backend
from minseg.models import printed


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def test_with_the_documents_widths_it_has_the_documents_weights():
    ours, theirs = models.EncoderDecoder(3, 3, widths=(64, 128)), printed.SegmentationNetwork()
    shapes = [{name: array.shape for name, array in model.state_dict().items()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert ours.num_parameters() == 209_859


def test_rows_of_zeros_are_filled_in_below_and_cropped():
    model = models.EncoderDecoder(1, 2, widths=(3, 4))
    x = np.random.default_rng(0).standard_normal((1, 1, 9, 14)).astype(np.float32)
    filled = np.pad(x, [(0, 0), (0, 0), (0, 3), (0, 2)])
    with no_grad():
        assert np.array_equal(model(tensor(x)).numpy(), model(tensor(filled)).numpy()[:, :, :9, :14])


def test_a_mask_of_the_images_size_fits_and_every_class_has_a_channel():
    model = models.EncoderDecoder(3, 7, widths=(3, 4))
    x = tensor(np.random.default_rng(0).standard_normal((2, 3, 10, 13)).astype(np.float32))
    y = model(x)
    assert y.min().item() < 0, "logits, not probabilities"
    ops.cross_entropy(y, np.full((2, 10, 13), 5)).backward()
    assert all(p.grad is not None for p in model.parameters())
