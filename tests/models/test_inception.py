"""Inception blocks: four branches side by side."""

import numpy as np
import pytest

from minseg import models, no_grad, ops, tensor, use_backend
from minseg.equations.literal.res import res_inception
from minseg.errors import ArgumentError
from minseg.models.inception import InceptionBlock


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def test_a_block_is_its_four_branches_in_order():
    block = InceptionBlock(3, (2, 4, 1, 3), rng=np.random.default_rng(0)).eval()
    x = tensor(np.random.default_rng(1).standard_normal((2, 3, 6, 5)).astype(np.float32))
    with no_grad():
        y = block(x).numpy()
        branches = [branch(x).numpy() for branch in (block.branch1, block.branch3, block.branch5, block.branch_pool)]
        pooled = block.branch_pool[1](ops.max_pool2d(x, 3, stride=1, padding=1)).numpy()
    assert [branch.shape[1] for branch in branches] == [2, 4, 1, 3]
    assert np.array_equal(branches[3], pooled)
    for n in range(2):
        assert np.array_equal(y[n], res_inception(*(branch[n] for branch in branches)))


@pytest.mark.parametrize(("branch", "reach"), [("branch1", 1), ("branch3", 3), ("branch5", 5), ("branch_pool", 3)])
def test_how_far_each_branch_sees(branch, reach):
    block = InceptionBlock(2, (8, 8, 8, 8), rng=np.random.default_rng(0)).eval()
    x = tensor(np.random.default_rng(1).standard_normal((1, 2, 9, 9)).astype(np.float32), requires_grad=True)
    seen = np.zeros((9, 9), bool)
    getattr(block, branch)(x)[:, :, 4, 4].sum().backward()
    seen |= np.abs(x.grad).max(axis=(0, 1)) > 0
    rows = np.flatnonzero(seen.any(axis=1))
    assert rows.min() >= 4 - reach // 2
    assert rows.max() <= 4 + reach // 2
    if branch != "branch_pool":
        assert len(rows) == reach


def test_widths_that_four_branches_cannot_share_are_refused():
    with pytest.raises(ArgumentError, match=r"InceptionSeg: widths must be multiples of 4, .* got \(8, 10\)"):
        models.InceptionSeg(1, 2, widths=(8, 10))
    with pytest.raises(ArgumentError, match=r"InceptionBlock: branches must be 4 integers, got \(2, 2\)"):
        InceptionBlock(3, (2, 2))


@pytest.mark.parametrize("widths", [(8,), (4, 8, 12, 16)])
def test_any_number_of_blocks(widths):
    model = models.InceptionSeg(2, 3, widths=widths)
    y = model(tensor(np.random.default_rng(0).standard_normal((2, 2, 17, 18)).astype(np.float32)))
    assert y.shape == (2, 3, 17, 18)
    y.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
