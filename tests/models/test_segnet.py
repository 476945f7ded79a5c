"""SegNet: the decoder puts values where the encoder found maxima."""

import numpy as np
import pytest

from minseg import models, no_grad, ops, tensor, use_backend
from minseg.nn import Identity, ModuleList


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def test_without_its_convolutions_it_keeps_the_maxima_in_their_places():
    """Two levels: of every 4x4 pixels the largest stays where it is, everything else becomes 0."""
    model = models.SegNet(1, 1, widths=(1, 1))
    model.encoder = ModuleList([Identity(), Identity()])
    model.decoder = ModuleList([Identity(), Identity()])
    model.head = Identity()
    x = 1 + np.random.default_rng(0).permutation(8 * 12).astype(np.float32).reshape(1, 1, 8, 12)
    with no_grad():
        y = model(tensor(x)).numpy()
    blocks = x.reshape(2, 4, 3, 4)
    largest = blocks.max(axis=(1, 3), keepdims=True)
    assert np.array_equal(y.reshape(2, 4, 3, 4), np.where(blocks == largest, blocks, 0))


def test_places_of_the_maxima_matter():
    """Moving the maxima within their windows leaves all pooled maps as they are, and moves the output."""
    model = models.SegNet(1, 2, widths=(3,), depth=1).eval()
    model.encoder = ModuleList([Identity()])
    model.decoder = ModuleList([Identity()])
    model.head = Identity()
    x = np.random.default_rng(0).random((1, 1, 4, 6)).astype(np.float32) + 1
    with no_grad():
        pooled = [ops.max_pool2d(tensor(image), 2).numpy() for image in (x, x[:, :, :, ::-1])]
        one, other = (model(tensor(image.copy())).numpy() for image in (x, x[:, :, :, ::-1]))
    assert np.array_equal(pooled[0], pooled[1][:, :, :, ::-1])
    assert np.array_equal(one, other[:, :, :, ::-1])
    assert np.count_nonzero(one) == 6


@pytest.mark.parametrize(("widths", "depth"), [((3,), 1), ((2, 3, 4, 5), 1), ((3, 4), 3)])
def test_levels_and_depth(widths, depth):
    model = models.SegNet(2, 3, widths=widths, depth=depth)
    y = model(tensor(np.random.default_rng(0).standard_normal((2, 2, 17, 18)).astype(np.float32)))
    assert y.shape == (2, 3, 17, 18)
    y.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    convolutions = [p for p in model.parameters() if p.ndim == 4]
    assert len(convolutions) == 2 * len(widths) * depth + 1
