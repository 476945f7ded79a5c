"""Losses as modules: they pass their arguments on, take logits, and agree with PyTorch's."""

import math

import numpy as np
import pytest

from minseg import nn, ops, optim, tensor, use_backend
from minseg.autograd import Parameter
from minseg.errors import ArgumentError, DataError, ShapeError


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
        (nn.JaccardLoss(), ops.jaccard_loss_with_logits(z, labels)),
        (nn.JaccardLoss(2.5, include_background=False), ops.jaccard_loss_with_logits(z, labels, 2.5, 255, False)),
        (nn.JaccardLoss(reduction="none"), ops.jaccard_loss_with_logits(z, labels, reduction="none")),
        (nn.FocalLoss(), ops.focal_loss(z, labels)),
        (nn.FocalLoss(0.5, WEIGHT, reduction="sum"), ops.focal_loss(z, labels, 0.5, WEIGHT, 255, "sum")),
        (nn.FocalLoss(ignore_index=1), None),
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


@pytest.mark.parametrize(
    "loss", [nn.CrossEntropyLoss, nn.BCEWithLogitsLoss, nn.MSELoss, nn.DiceLoss, nn.FocalLoss, nn.JaccardLoss]
)
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


# -------------------------------------------------------------------------------------------------- one against the rest


def test_one_against_the_rest_by_hand():
    p = 1 / (1 + np.exp(-Z))
    each = [
        -math.log(p[n, k, i, j] if LABELS[n, i, j] == k else 1 - p[n, k, i, j])
        for n, k, i, j in np.ndindex(Z.shape)
        if LABELS[n, i, j] != 255
    ]
    assert nn.OneVsRestLoss()(tensor(Z), LABELS).item() == pytest.approx(np.mean(each), rel=1e-13)


def test_the_squared_error_of_probabilities_by_hand():
    p = ops.softmax(tensor(Z), 1).data
    each = [
        (p[n, k, i, j] - (LABELS[n, i, j] == k)) ** 2 for n, k, i, j in np.ndindex(Z.shape) if LABELS[n, i, j] != 255
    ]
    assert nn.BrierLoss()(tensor(Z), LABELS).item() == pytest.approx(np.mean(each), rel=1e-13)


@pytest.mark.parametrize("make", [nn.OneVsRestLoss, nn.BrierLoss])
@pytest.mark.parametrize("ignored", [255, -100, 1])
def test_ignored_pixels_of_one_against_the_rest(make, ignored):
    z = tensor(Z.copy(), requires_grad=True)
    labels = np.where(LABELS == 255, ignored, LABELS.astype(int))
    known = (labels != ignored)[:, None] & np.ones(Z.shape, bool)
    loss = make(ignored)(z, labels)
    loss.backward()
    assert (z.grad[~known] == 0).all()
    assert (z.grad[known] != 0).all()
    if ignored != 1:
        assert loss.item() == make()(z, LABELS).item()
    z.data[~known] = np.nan
    assert make(ignored)(z, labels).item() == loss.item()
    with pytest.raises(DataError, match=r"every pixel of target .* is ignored"):
        make(ignored)(z, np.full(LABELS.shape, ignored))
    with pytest.raises(ArgumentError, match=r"label 3 at \(0, 0, 0\) is neither in 0..2 nor ignore_index"):
        make(ignored)(z, np.full(LABELS.shape, 3))
    with pytest.raises(ShapeError, match=r"target must have shape \(2, 4, 5\)"):
        make(ignored)(z, labels[:1])


# ---------------------------------------------------------------------------------------------------------- sums by name


@pytest.mark.parametrize("name", nn.losses.LOSSES)
def test_every_name_is_a_loss_of_logits_and_labels(name):
    z = tensor(Z.astype(np.float32), requires_grad=True)
    loss = nn.parse_loss(name)(z, LABELS)
    loss.backward()
    assert loss.shape == ()
    assert loss.dtype == np.float32
    assert loss.item() > 0
    assert np.isfinite(z.grad).all()
    assert (z.grad != 0).any()


def test_sums_by_name():
    z = tensor(Z)
    value = {name: nn.parse_loss(name)(z, LABELS).item() for name in nn.losses.LOSSES}
    assert nn.parse_loss("ce+dice")(z, LABELS).item() == pytest.approx(value["ce"] + value["dice"], rel=1e-14)
    three = nn.parse_loss("0.5*ce + dice + 2e-1 * focal")(z, LABELS).item()
    assert three == pytest.approx(0.5 * value["ce"] + value["dice"] + 0.2 * value["focal"], rel=1e-14)
    assert nn.parse_loss("3*jaccard")(z, LABELS).item() == pytest.approx(3 * value["jaccard"], rel=1e-14)


def test_class_weights_go_where_they_are_taken():
    z, weight = tensor(Z), WEIGHT
    assert nn.parse_loss("ce", weight)(z, LABELS).item() == ops.cross_entropy(z, LABELS, weight).item()
    assert nn.parse_loss("focal", weight)(z, LABELS).item() == ops.focal_loss(z, LABELS, alpha=weight).item()
    both = ops.cross_entropy(z, LABELS, weight).item() + ops.dice_loss_with_logits(z, LABELS).item()
    assert nn.parse_loss("ce+dice", weight)(z, LABELS).item() == pytest.approx(both, rel=1e-14)
    with pytest.raises(ArgumentError, match="loss 'dice' takes no class weights; only ce and focal do"):
        nn.parse_loss("dice", weight)
    with pytest.raises(ShapeError, match=r"needs one value for each of the 3 classes, got \(2,\)"):
        nn.parse_loss("ce", [1.0, 2.0])(tensor(Z.astype(np.float32)), LABELS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cee", r"unknown loss 'cee'; did you mean 'ce'\? known: bce, ce, dice, focal, jaccard, mse"),
        ("ce+dise", r"unknown loss 'dise' in 'ce\+dise'; did you mean 'dice'"),
        ("", "unknown loss ''; known"),
        ("ce+", "unknown loss '' in"),
        ("ce-dice", "unknown loss 'ce-dice'"),
        ("0*ce", "loss '0\\*ce': 0 must be a positive number"),
        ("1.2.3*ce", "1.2.3 must be a positive number"),
        ("1e999*ce", "1e999 must be a positive number"),
        ("-1*ce", r"unknown loss '-1\*ce'"),
    ],
)
def test_what_is_no_loss(text, message):
    with pytest.raises(ArgumentError, match=message):
        nn.parse_loss(text)


# ------------------------------------------------------------------------------------------------------------- penalties


def test_penalties_and_their_gradients():
    one, other = Parameter(np.array([[3.0, -1.0]])), Parameter(np.array([0.0, -2.0]))
    l1 = nn.l1_penalty(iter([one, other]), 0.5)
    l1.backward()
    assert l1.item() == 3
    assert one.grad.tolist() == [[0.5, -0.5]]
    assert other.grad.tolist() == [0, -0.5]
    one.grad = other.grad = None
    l2 = nn.l2_penalty([one, other], 0.5)
    l2.backward()
    assert l2.item() == 0.25 * 14
    assert one.grad.tolist() == [[1.5, -0.5]]
    assert other.grad.tolist() == [0, -1]


def test_an_l2_penalty_is_the_weight_decay_of_sgd():
    one, other = (Parameter(np.array([3.0, -1.0])) for _ in range(2))
    decaying, penalised = optim.SGD([one], 0.1, momentum=0.9, weight_decay=0.2), optim.SGD([other], 0.1, momentum=0.9)
    for _ in range(3):
        one.grad = other.grad = None
        (one**3).sum().backward()
        decaying.step()
        ((other**3).sum() + nn.l2_penalty([other], 0.2)).backward()
        penalised.step()
    np.testing.assert_allclose(one.data, other.data, rtol=1e-13)


def test_penalties_refuse_what_makes_no_sense():
    for penalty in (nn.l1_penalty, nn.l2_penalty):
        with pytest.raises(ArgumentError, match="strength must be at least 0 and finite, got -1"):
            penalty([Parameter(np.ones(1))], -1)
        with pytest.raises(ArgumentError, match="there are no parameters to penalise"):
            penalty([], 1)


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
