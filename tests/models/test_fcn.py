"""FCN: which maps are scored, and that their scores are added."""

import numpy as np
import pytest

from minseg import models, no_grad, ops, tensor, use_backend
from minseg.errors import ArgumentError
from minseg.models.fcn import FCN

TINY = {"widths": (2, 3, 4, 5, 6), "hidden": 7}


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def test_scored_maps():
    shapes = {stride: [s.weight.shape[:2] for s in FCN(1, 2, stride, **TINY).scores] for stride in (32, 16, 8)}
    assert shapes == {32: [(2, 7)], 16: [(2, 7), (2, 5)], 8: [(2, 7), (2, 5), (2, 4)]}


def test_the_scores_of_the_three_versions_are_added():
    """With the finer scores' weights at 0, FCN-8s says what FCN-32s says, enlarged in three steps instead of one."""
    x = tensor(np.random.default_rng(0).standard_normal((1, 1, 64, 96)).astype(np.float32))
    coarse, fine = FCN(1, 2, 32, **TINY).eval(), FCN(1, 2, 8, **TINY).eval()
    fine.load_state_dict(coarse.state_dict(), strict=False)
    for score in fine.scores[1:]:
        score.weight.data = 0 * score.weight.data
    with no_grad():
        y = coarse.logits(x)
        deep = fine.logits(x)
        scores = {}
        for name, model in (("coarse", coarse), ("fine", fine)):
            maps, z = [], x
            for stage in model.stages:
                z = model.pool(stage(z))
                maps.append(z)
            scores[name] = model.scores[0](model.classifier(z))
        assert scores["coarse"].shape == (1, 2, 2, 3)
        steps = scores["fine"]
        for scale in (2, 2, 8):
            steps = ops.interpolate(steps, scale_factor=scale, mode="bilinear")
        assert np.allclose(deep.numpy(), steps.numpy(), atol=1e-6)
        once = ops.interpolate(scores["coarse"], scale_factor=32, mode="bilinear")
        assert np.allclose(y.numpy(), once.numpy(), atol=1e-6)
        fine.scores[2].bias.data = fine.scores[2].bias.data + 3  # the finest is added last, once
        assert np.allclose(fine.logits(x).numpy(), deep.numpy() + 3, atol=1e-5)


def test_bad_options_are_refused():
    with pytest.raises(ArgumentError, match="FCN: stride must be 8, 16 or 32, got 4"):
        models.FCN(1, 2, stride=4)
    with pytest.raises(ArgumentError, match=r"FCN: widths must be 5 integers, got \(8, 16\)"):
        models.FCN(1, 2, widths=(8, 16))
