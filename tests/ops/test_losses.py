"""Losses: known values, ignored pixels, extreme logits, label maps of every kind, and the warning about probabilities."""

import math
import warnings

import numpy as np
import pytest

import minseg
from minseg import ops
from minseg.errors import ArgumentError, DataError, ShapeError

pytestmark = pytest.mark.parametrize("backend", ["numpy", "numba"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture(autouse=True)
def _on(backend):
    with minseg.use_backend(backend):
        yield


def logits(*shape, dtype=np.float64, scale=1.0):
    return minseg.tensor((scale * np.random.default_rng(4).standard_normal(shape)).astype(dtype), requires_grad=True)


def half_ignored(classes, *shape):
    target = np.arange(np.prod(shape)).reshape(shape) % classes
    return np.where(np.random.default_rng(5).random(shape) < 0.5, 255, target)


LOSSES = {
    "cross_entropy": (3, ops.cross_entropy),
    "cross_entropy, weighted": (3, lambda z, t: ops.cross_entropy(z, t, [1.0, 2.0, 0.5])),
    "cross_entropy, sum": (3, lambda z, t: ops.cross_entropy(z, t, reduction="sum")),
    "focal_loss": (3, ops.focal_loss),
    "focal_loss, weighted": (3, lambda z, t: ops.focal_loss(z, t, 0.5, [1.0, 2.0, 0.5])),
    "focal_loss, sum": (3, lambda z, t: ops.focal_loss(z, t, reduction="sum")),
    "jaccard_loss_with_logits": (3, ops.jaccard_loss_with_logits),
    "jaccard_loss_with_logits, binary": (1, ops.jaccard_loss_with_logits),
    "binary_cross_entropy_with_logits": (1, ops.binary_cross_entropy_with_logits),
    "dice_loss_with_logits": (3, ops.dice_loss_with_logits),
    "dice_loss_with_logits, binary": (1, ops.dice_loss_with_logits),
}
EVERY_LOSS = pytest.mark.parametrize("name", LOSSES)


# ------------------------------------------------------------------------------------------------------- ignored pixels


@DTYPES
@EVERY_LOSS
def test_an_ignored_pixel_has_exactly_no_gradient_and_no_influence(name, dtype):
    K, loss = LOSSES[name]
    target = half_ignored(max(K, 2), 2, 5, 7)
    ignored = np.broadcast_to((target == 255)[:, None], (2, K, 5, 7))
    z = logits(2, K, 5, 7, dtype=dtype)
    value = loss(z, target)
    value.backward()
    assert (z.grad[ignored] == 0).all()
    assert (z.grad[~ignored] != 0).all()
    other = minseg.tensor(np.where(ignored, dtype(50), z.data))
    assert loss(other, target).item() == value.item()


PIXEL_BY_PIXEL = ["cross_entropy", "cross_entropy, weighted", "focal_loss", "focal_loss, weighted"]


@pytest.mark.parametrize("name", [*PIXEL_BY_PIXEL, "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("junk", [np.nan, np.inf])
def test_an_ignored_pixel_may_hold_anything(name, junk):
    K, loss = LOSSES[name]
    target = half_ignored(max(K, 2), 1, 4, 6)
    z = logits(1, K, 4, 6)
    expected = loss(z, target).item()
    z.data[np.broadcast_to((target == 255)[:, None], z.shape)] = junk
    with np.errstate(invalid="ignore"):
        value = loss(z, target)
        value.backward()
    assert value.item() == expected
    assert np.isfinite(z.grad).all()


@pytest.mark.parametrize(
    "name",
    [
        *("cross_entropy", "focal_loss", "binary_cross_entropy_with_logits"),
        *("dice_loss_with_logits", "jaccard_loss_with_logits"),
    ],
)
def test_another_ignore_index_means_the_same(name):
    K, loss = LOSSES[name]
    z, target = logits(2, K, 3, 4), half_ignored(max(K, 2), 2, 3, 4)
    expected = loss(z, target).item()
    assert getattr(ops, name)(z, np.where(target == 255, -100, target), ignore_index=-100).item() == expected


def test_a_class_may_be_the_one_to_ignore():
    z, target = logits(1, 3, 2, 3), np.array([[[0, 1, 2], [2, 1, 0]]])
    ours = ops.cross_entropy(z, target, ignore_index=0)
    assert ours.item() == pytest.approx(ops.cross_entropy(z, np.where(target == 0, 255, target)).item(), rel=1e-14)


@EVERY_LOSS
def test_nothing_but_ignored_pixels_is_an_error_for_a_mean_and_zero_for_a_sum(name):
    K, loss = LOSSES[name]
    z, target = logits(1, K, 2, 3), np.full((1, 2, 3), 255)
    if "sum" in name:
        value = loss(z, target)
        value.backward()
        assert value.item() == 0
        assert (z.grad == 0).all()
    else:
        with pytest.raises(DataError, match=r"every pixel of target .* is ignored"):
            loss(z, target)


# ------------------------------------------------------------------------------------------------------ extreme logits


@DTYPES
@EVERY_LOSS
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits_give_finite_losses_and_gradients(name, size, dtype):
    K, loss = LOSSES[name]
    z = minseg.tensor(np.zeros((1, K, 2, 3), dtype), requires_grad=True)
    z.data[:, 0] = size
    value = loss(z, np.array([[[0, 1, 0], [1, 1, 255]]]))
    value.backward()
    assert math.isfinite(value.item())
    assert np.isfinite(z.grad).all()


@DTYPES
def test_extreme_logits_have_the_exact_loss(dtype):
    z = minseg.tensor(np.array([[1e4, -1e4], [-1e4, 1e4]], dtype))
    assert ops.cross_entropy(z, np.array([0, 0]), reduction="none").data.tolist() == [0, 2e4]
    assert ops.binary_cross_entropy_with_logits(z, np.ones((2, 2), int), "none").data.tolist() == [[0, 1e4], [1e4, 0]]


@DTYPES
def test_softmax_and_activations_survive_extreme_inputs(dtype):
    x = minseg.tensor(np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4]], dtype), requires_grad=True)
    for fn in (ops.sigmoid, ops.tanh, ops.relu, lambda x: ops.softmax(x, 1), lambda x: ops.log_softmax(x, 1)):
        x.grad = None
        y = fn(x)
        y.sum().backward()
        assert np.isfinite(y.data).all()
        assert np.isfinite(x.grad).all()


# --------------------------------------------------------------------------------------------------------- known values


@pytest.mark.parametrize("K", [2, 3, 21])
def test_a_guess_costs_ln_k(K):
    assert ops.cross_entropy(minseg.tensor(np.zeros((1, K, 2, 2))), np.ones((1, 2, 2), int)).item() == pytest.approx(
        math.log(K), rel=1e-14
    )


def test_the_weighted_mean_divides_by_the_weights():
    z = minseg.tensor(np.log(np.array([[0.5, 0.5], [0.9, 0.1]])))
    loss = ops.cross_entropy(z, np.array([0, 1]), [1.0, 3.0])
    assert loss.item() == pytest.approx((-math.log(0.5) - 3 * math.log(0.1)) / 4, rel=1e-14)


def test_dice_counts_over_the_batch_and_all_classes():
    p = minseg.tensor(np.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]).reshape(2, 3, 1, 1))
    target = np.array([0, 1]).reshape(2, 1, 1)
    each = ops.dice_loss(p, target, smooth=0.5, reduction="none").data
    # class 0: one of two claimed pixels is right; class 1: missed; class 2: neither there nor claimed
    assert each == pytest.approx([1 - 2.5 / 3.5, 1 - 0.5 / 1.5, 0], abs=1e-15)
    assert ops.dice_loss(p, target, smooth=0.5).item() == pytest.approx(each.mean())
    assert ops.dice_loss(p, target, smooth=0.5, include_background=False).item() == pytest.approx(each[1:].mean())


def test_dice_is_zero_for_perfect_masks_and_below_one_for_the_worst():
    target = np.array([[[1, 1, 0, 0]]])
    right = minseg.tensor(target[:, None].astype(float))
    assert ops.dice_loss(right, target).item() == 0
    assert ops.dice_loss(1 - right, target).item() == pytest.approx(1 - 1 / 5)


def test_dice_of_logits_is_dice_of_their_probabilities():
    z, target = logits(2, 3, 3, 4), half_ignored(3, 2, 3, 4)
    assert ops.dice_loss_with_logits(z, target).item() == ops.dice_loss(ops.softmax(z, 1), target).item()
    mask = half_ignored(2, 2, 3, 4)
    assert ops.dice_loss_with_logits(z[:, :1], mask).item() == ops.dice_loss(ops.sigmoid(z[:, :1]), mask).item()


def test_probabilities_may_leave_the_interval_by_rounding_only():
    target = np.array([[[1, 0]]])
    ops.dice_loss(minseg.tensor(np.array([[[[1 + 1e-6, -1e-6]]]])), target)
    for wrong in (1.01, -0.01, np.nan):
        with pytest.raises(ArgumentError, match="must be probabilities"):
            ops.dice_loss(minseg.tensor(np.array([[[[wrong, 0.5]]]])), target)


# ---------------------------------------------------------------------------------------------------- focal and Jaccard


@DTYPES
@pytest.mark.parametrize("alpha", [None, [1.0, 2.0, 0.5]])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_focal_loss_with_gamma_0_is_the_cross_entropy(reduction, alpha, dtype):
    z, target = logits(2, 3, 4, 5, dtype=dtype), half_ignored(3, 2, 4, 5)
    focal = ops.focal_loss(z, target, 0, alpha, reduction=reduction)
    focal.sum().backward()
    gradient, z.grad = z.grad, None
    expected = ops.cross_entropy(z, target, alpha, reduction=reduction)
    expected.sum().backward()
    few = 4 * np.finfo(dtype).eps  # the weight is multiplied in the kernel there, outside here
    np.testing.assert_allclose(focal.data, expected.data, rtol=0 if alpha is None else 20 * few)
    np.testing.assert_allclose(gradient, z.grad, rtol=few, atol=few)


def test_the_focal_loss_by_hand():
    z = minseg.tensor(np.log(np.array([[0.8, 0.2], [0.4, 0.6], [0.5, 0.5]])))
    target = np.array([0, 0, 255])
    first, second = -(0.2**3) * math.log(0.8), -(0.6**3) * math.log(0.4)
    assert ops.focal_loss(z, target, 3).item() == pytest.approx((first + second) / 2, rel=1e-13)
    assert ops.focal_loss(z, target, 3, reduction="none").data == pytest.approx([first, second, 0], rel=1e-13)
    both = np.array([0, 1, 255])
    other = -(0.4**3) * math.log(0.6)
    weighted = ops.focal_loss(z, both, 3, [2.0, 5.0]).item()
    assert weighted == pytest.approx((2 * first + 5 * other) / 7, rel=1e-13)
    assert ops.focal_loss(z, both, 3, [4.0, 10.0]).item() == pytest.approx(weighted, rel=1e-13)


@DTYPES
@pytest.mark.parametrize("gamma", [0.3, 0.5, 1.0, 2.0])
def test_the_focal_loss_of_what_is_certain_and_right(gamma, dtype):
    """(1 - p)^(gamma - 1) is infinite at p = 1 for gamma < 1; the gradient is 0 there all the same."""
    z = minseg.tensor(np.array([[1e4, 0], [40, 0], [0.0, 0]], dtype), requires_grad=True)
    losses = ops.focal_loss(z, np.zeros(3, int), gamma, reduction="none")
    losses.sum().backward()
    assert losses.data[0] == 0
    assert (z.grad[0] == 0).all()
    q = math.exp(-40)  # 1 - p, and the cross-entropy, to the last digit of a float64
    assert losses.data[1] == pytest.approx(q ** (1 + gamma), rel=1e-5)
    assert z.grad[1, 0] == pytest.approx(-(1 + gamma) * q ** (1 + gamma), rel=1e-5)


def test_a_class_with_alpha_0_does_not_count():
    z, target = logits(1, 3, 3, 4), half_ignored(3, 1, 3, 4)
    without = np.where(target == 1, 255, target)
    assert ops.focal_loss(z, target, alpha=[1.0, 0.0, 1.0]).item() == pytest.approx(ops.focal_loss(z, without).item())
    with pytest.raises(DataError, match=r"focal_loss: the weights .* add up to 0; .*\[loss.focal_weighted\]"):
        ops.focal_loss(z, np.where(target == 255, 255, 1), alpha=[1.0, 0.0, 1.0])
    with pytest.raises(
        ArgumentError, match=r"focal_loss: weights must be finite and not negative, got -1.0 for class 2"
    ):
        ops.focal_loss(z, target, alpha=[1.0, 0.0, -1.0])
    for gamma in (math.nan, math.inf, "much"):
        with pytest.raises(ArgumentError, match="focal_loss: gamma must be a finite number of at least 0"):
            ops.focal_loss(z, target, gamma)


def test_jaccard_counts_over_the_batch_and_all_classes():
    p = minseg.tensor(np.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]).reshape(2, 3, 1, 1))
    target = np.array([0, 1]).reshape(2, 1, 1)
    each = ops.jaccard_loss(p, target, smooth=0.5, reduction="none").data
    # class 0: one right of two covered; class 1: missed; class 2: neither there nor claimed
    assert each == pytest.approx([1 - 1.5 / 2.5, 1 - 0.5 / 1.5, 0], abs=1e-15)
    assert ops.jaccard_loss(p, target, smooth=0.5).item() == pytest.approx(each.mean())
    assert ops.jaccard_loss(p, target, smooth=0.5, include_background=False).item() == pytest.approx(each[1:].mean())


@pytest.mark.parametrize("K", [1, 3])
def test_jaccard_and_dice_say_the_same_but_for_smoothing(K):
    """D = 2 J / (1 + J) for the similarities 1 - loss (metric.dice_from_iou)."""
    z, target = logits(2, K, 5, 4), half_ignored(max(K, 2), 2, 5, 4)
    tiny = {"smooth": 1e-12, "reduction": "none"}
    J = 1 - ops.jaccard_loss_with_logits(z, target, **tiny).data
    D = 1 - ops.dice_loss_with_logits(z, target, **tiny).data
    np.testing.assert_allclose(D, 2 * J / (1 + J), rtol=1e-11)
    p = ops.sigmoid(z) if K == 1 else ops.softmax(z, 1)
    assert ops.jaccard_loss(p, target).item() == ops.jaccard_loss_with_logits(z, target).item()


# --------------------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize("labels", [np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("wrap", [np.asarray, minseg.tensor], ids=["array", "tensor"])
@EVERY_LOSS
def test_labels_of_every_integer_kind(name, labels, wrap):
    K, loss = LOSSES[name]
    z, target = logits(2, K, 3, 5), half_ignored(max(K, 2), 2, 3, 5)
    assert loss(z, wrap(target.astype(labels))).item() == loss(z, target).item()


def test_boolean_masks_are_binary_targets():
    z, mask = logits(1, 1, 3, 4), half_ignored(2, 1, 3, 4) == 1
    expected = ops.binary_cross_entropy_with_logits(z, mask[:, None].astype(np.float64)).item()
    assert ops.binary_cross_entropy_with_logits(z, mask).item() == expected
    assert ops.binary_cross_entropy_with_logits(z, mask[:, None]).item() == expected


def test_label_maps_and_logits_that_are_not_contiguous():
    z, target = logits(3, 6, 8, 2), half_ignored(6, 6, 8, 2)
    turned = minseg.tensor(z.data.transpose(3, 1, 2, 0), requires_grad=True)
    assert not turned.data.flags.c_contiguous
    strided = target.transpose(2, 1, 0)[:, :, ::2]
    loss = ops.cross_entropy(turned, strided)
    loss.backward()
    copy = minseg.tensor(np.ascontiguousarray(turned.data), requires_grad=True)
    again = ops.cross_entropy(copy, np.ascontiguousarray(strided))
    again.backward()
    assert loss.item() == again.item()
    assert (turned.grad == copy.grad).all()


@pytest.mark.parametrize("label", [3, -1, 254])
def test_the_first_foreign_label_is_named(label):
    target = half_ignored(3, 2, 4, 5)
    target[1, 2, 3] = label
    target[1, 3, 1] = 9
    with pytest.raises(ArgumentError, match=rf"label {label} at \(1, 2, 3\) is neither in 0\.\.2 nor ignore_index 255"):
        ops.cross_entropy(logits(2, 3, 4, 5), target)


def test_one_pixel_and_one_sample():
    z = logits(1, 2, 1, 1)
    assert ops.cross_entropy(z, np.zeros((1, 1, 1), int)).item() == pytest.approx(
        math.log(1 + math.exp(z.data[0, 1, 0, 0] - z.data[0, 0, 0, 0]))
    )
    with pytest.raises(ShapeError, match="all sides at least 1"):
        ops.cross_entropy(minseg.tensor(np.zeros((0, 2))), np.zeros(0, int))


def test_mse_gives_both_sides_their_gradients():
    a, y = logits(2, 3), minseg.tensor(np.ones((2, 3)), requires_grad=True)
    ops.mse_loss(a, y).backward()
    assert a.grad == pytest.approx(2 * (a.data - 1) / 6)
    assert (y.grad == -a.grad).all()


# ------------------------------------------------------------------------------------------------------- double softmax


def test_probabilities_in_place_of_logits_are_warned_of_once():
    p, target = ops.softmax(logits(2, 3, 4, 5), 1), half_ignored(3, 2, 4, 5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            ops.cross_entropy(p, target)
    (warning,) = caught
    assert "ERR-28" in str(warning.message)
    assert warning.filename == __file__
    with pytest.warns(UserWarning, match="dice_loss_with_logits: z looks like probabilities"):
        ops.dice_loss_with_logits(p, target)


@pytest.mark.filterwarnings("error")
def test_logits_are_not_warned_of():
    target = half_ignored(3, 2, 4, 5)
    ops.cross_entropy(logits(2, 3, 4, 5), target)
    ops.cross_entropy(minseg.tensor(np.full((2, 3, 4, 5), 0.333)), target)  # in [0, 1], but sums to 0.999
    ops.cross_entropy(minseg.tensor(np.log(ops.softmax(logits(2, 3, 4, 5), 1).data)), target)
    ops.dice_loss(ops.softmax(logits(2, 3, 4, 5), 1), target)


def test_what_the_warning_says_is_true():
    """ERR-28: of probabilities, the loss cannot fall below ln(e + K - 1) - 1, however right they are."""
    K = 10
    certain = np.eye(K)[:1]
    with pytest.warns(UserWarning, match="ERR-28"):
        loss = ops.cross_entropy(minseg.tensor(certain), np.array([0])).item()
    assert loss == pytest.approx(math.log(math.e + K - 1) - 1)
    assert loss == pytest.approx(1.4612, abs=1e-4)
