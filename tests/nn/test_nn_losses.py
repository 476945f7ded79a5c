"""Losses as modules: they pass their arguments on, take logits, and agree with PyTorch's."""

import numpy as np
import pytest

from minseg import nn, ops, tensor, use_backend
from minseg.errors import ArgumentError


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


RNG = np.random.default_rng(0)
Z = RNG.standard_normal((2, 3, 4, 5)) * 2
LABELS = RNG.integers(0, 3, (2, 4, 5)).astype(np.uint8)
LABELS[0, :2] = 255
MASKS = RNG.integers(0, 2, Z.shape).astype(np.float64)
WEIGHT = np.array([0.5, 2.0, 1.25])


def test_each_loss_is_its_operation():
    z, labels = tensor(Z), tensor(LABELS)
    pairs = [
        (nn.CrossEntropyLoss(), ops.cross_entropy(z, labels)),
        (nn.CrossEntropyLoss(WEIGHT, reduction="sum"), ops.cross_entropy(z, labels, WEIGHT, 255, "sum")),
        (nn.CrossEntropyLoss(ignore_index=1), None),
        (nn.DiceLoss(), ops.dice_loss_with_logits(z, labels)),
        (nn.DiceLoss(2.5, include_background=False), ops.dice_loss_with_logits(z, labels, 2.5, 255, False)),
        (nn.DiceLoss(reduction="none"), ops.dice_loss_with_logits(z, labels, reduction="none")),
    ]
    for loss, expected in pairs:
        if expected is None:
            with pytest.raises(ArgumentError, match="255"):  # with another ignore_index 255 is no class
                loss(z, labels)
        else:
            assert np.array_equal(loss(z, labels).data, expected.data), loss
    for reduction in ("mean", "sum", "none"):
        bce = nn.BCEWithLogitsLoss(reduction)(z, tensor(MASKS))
        assert np.array_equal(bce.data, ops.binary_cross_entropy_with_logits(z, tensor(MASKS), reduction).data)
        mse = nn.MSELoss(reduction)(z, tensor(MASKS))
        assert np.array_equal(mse.data, ops.mse_loss(z, tensor(MASKS), reduction).data)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, nn.BCEWithLogitsLoss, nn.MSELoss, nn.DiceLoss])
def test_reduction_is_checked_when_the_loss_is_made(loss):
    with pytest.raises(ArgumentError, match=r"reduction must be one of 'mean', .*got 'average'"):
        loss(reduction="average")


def test_class_weights_are_a_buffer():
    loss = nn.CrossEntropyLoss([1, 2, 3])
    assert loss.state_dict()["weight"].dtype == np.float32
    assert loss.to(dtype=np.float64).weight.dtype == np.float64
    assert np.isfinite(loss(tensor(Z), LABELS).item())
    assert nn.CrossEntropyLoss(tensor(WEIGHT)).weight.tolist() == WEIGHT.tolist()
    assert nn.CrossEntropyLoss().state_dict() == {}


def test_sums_of_losses_have_the_sum_of_the_gradients():
    z = tensor(Z, requires_grad=True)
    both = nn.SumLoss([nn.CrossEntropyLoss(), nn.DiceLoss()], weights=[1.0, 0.25])
    both(z, LABELS).backward()
    total, z.grad = z.grad, None
    ops.cross_entropy(z, LABELS).backward()
    (ops.dice_loss_with_logits(z, LABELS) * 0.25).backward()
    assert np.allclose(total, z.grad, rtol=1e-12, atol=1e-15)
    assert nn.SumLoss([nn.MSELoss()])(tensor(Z), Z).item() == 0
    with pytest.raises(ArgumentError, match="got 0 losses"):
        nn.SumLoss([])
    with pytest.raises(ArgumentError, match="got 1 losses and 2 weights"):
        nn.SumLoss([nn.MSELoss()], weights=[1, 2])


@pytest.mark.peer
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_equal_pytorchs(reduction):
    torch = pytest.importorskip("torch")
    z, labels, masks = torch.from_numpy(Z), torch.from_numpy(LABELS).long(), torch.from_numpy(MASKS)
    theirs = torch.nn.CrossEntropyLoss(torch.from_numpy(WEIGHT), ignore_index=255, reduction=reduction)(z, labels)
    ours = nn.CrossEntropyLoss(WEIGHT, reduction=reduction)(tensor(Z), tensor(LABELS))
    assert np.allclose(ours.data, theirs.numpy(), rtol=1e-13, atol=1e-14)
    for name in ("BCEWithLogitsLoss", "MSELoss"):
        theirs = getattr(torch.nn, name)(reduction=reduction)(z, masks)
        assert np.allclose(getattr(nn, name)(reduction)(tensor(Z), tensor(MASKS)).data, theirs.numpy(), rtol=1e-13)
