"""Dense blocks: what each layer is fed, and the channels on the way through the segmenter."""

import numpy as np
import pytest

from minseg import models, no_grad, tensor, use_backend
from minseg.equations.literal.res import res_dense_concat
from minseg.models.dense import DenseBlock
from minseg.nn import BatchNorm2d


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def test_each_layer_is_fed_what_all_before_it_made():
    block = DenseBlock(4, 4, 3, rng=np.random.default_rng(0)).eval()
    fed = []

    def watched(layer):
        return lambda x: (fed.append(x.numpy()), layer(x))[1]

    block.layers = [watched(layer) for layer in block.layers]
    x = np.random.default_rng(1).standard_normal((2, 4, 3, 5)).astype(np.float32)
    with no_grad():
        y = block(tensor(x)).numpy()
    made = [y[:, 4 * k : 4 * k + 4] for k in range(4)]
    assert np.array_equal(made[0], x)
    for count, seen in enumerate(fed, 1):
        assert np.array_equal(seen, res_dense_concat(np.stack(made[:count])))
    assert len(fed) == 3


def test_channels_of_a_block():
    block = DenseBlock(5, 3, 4, rng=np.random.default_rng(0))
    assert block.out_channels == 5 + 4 * 3
    assert [layer[0].num_features for layer in block.layers] == [5, 8, 11, 14]


@pytest.mark.parametrize(("blocks", "growth", "stem"), [((2,), 3, 4), ((1, 2, 3, 1), 2, 1), ((2, 3), 5, 8)])
def test_any_number_of_blocks(blocks, growth, stem):
    model = models.DenseNetSeg(2, 3, blocks=blocks, growth=growth, stem=stem)
    y = model(tensor(np.random.default_rng(0).standard_normal((2, 2, 17, 18)).astype(np.float32)))
    assert y.shape == (2, 3, 17, 18)
    y.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    norms = [m for m in model.modules() if isinstance(m, BatchNorm2d)]
    layers = 2 * sum(blocks) - blocks[-1]
    assert len(norms) == layers + 2 * (len(blocks) - 1) + 1
