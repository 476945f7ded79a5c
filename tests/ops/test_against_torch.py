"""PyTorch as a witness: values and gradients of every operation, on both backends, in float32 and float64.

The error is taken relative to the largest value: 1e-5 in float32 and 1e-10 in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

import minseg
from minseg import ops

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.peer

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


@dataclass
class Pair:
    """The same computation here and there. Inputs by their shapes, filled at random; constants as arrays (float ones are cast)."""

    ours: Callable
    theirs: Callable
    shapes: list[tuple[int, ...]]
    constants: list[np.ndarray] = field(default_factory=list)
    fill: Callable = np.random.Generator.standard_normal

    def arguments(self, dtype) -> tuple[list[np.ndarray], list[np.ndarray]]:
        rng = np.random.default_rng(11)
        inputs = [self.fill(rng, shape).astype(dtype) for shape in self.shapes]
        return inputs, [c.astype(dtype) if c.dtype.kind == "f" else c for c in self.constants]


def labels(classes: int, *shape: int) -> np.ndarray:
    """Labels with every class and some ignored pixels."""
    found = np.random.default_rng(2).permutation(np.arange(np.prod(shape)) % classes)
    found[::7] = 255
    return found.reshape(shape)


def probabilities(rng, shape):
    return rng.uniform(0.02, 0.98, shape)


def torch_dice(p, target, first=0, background=True):
    """The printed equation in PyTorch, class by class, over the pixels that are not ignored."""
    known = target != 255
    losses = []
    for k in range(p.shape[1]):
        pk, g = p[:, k][known], (target[known] == k + first).to(p.dtype)
        losses.append(1 - (2 * (pk * g).sum() + 1) / (pk.sum() + g.sum() + 1))
    return torch.stack(losses[0 if background else 1 :]).mean()


def torch_jaccard(p, target, first=0):
    """The same for the Jaccard loss."""
    known = target != 255
    losses = []
    for k in range(p.shape[1]):
        pk, g = p[:, k][known], (target[known] == k + first).to(p.dtype)
        losses.append(1 - ((pk * g).sum() + 1) / ((pk + g - pk * g).sum() + 1))
    return torch.stack(losses).mean()


def torch_focal(z, target, gamma=2.0, alpha=None, reduction="mean"):
    """The printed equation in PyTorch, pixel by pixel."""
    known = target != 255
    t = torch.where(known, target, 0)
    log_p = F.log_softmax(z, 1).gather(1, t[:, None])[:, 0]
    weight = known.to(z.dtype) if alpha is None else alpha[t] * known
    losses = -weight * (1 - log_p.exp()) ** gamma * log_p
    return losses if reduction == "none" else losses.sum() / weight.sum()


def norm_pair(training: bool, affine: bool, relu: bool = False) -> Pair:
    mean, var = np.array([0.1, -0.3, 0.5]), np.array([0.7, 1.1, 2.0])

    def ours(x, *rest):
        *affine, m, v = rest
        normalise = ops.batch_norm_relu if relu else ops.batch_norm
        return normalise(x, m, v, *affine, training=training, momentum=0.3)[0]

    def theirs(x, *rest):
        *affine, m, v = rest
        y = F.batch_norm(x, m.clone(), v.clone(), *affine, training=training, momentum=0.3)
        return F.relu(y) if relu else y

    return Pair(ours, theirs, [(2, 3, 4, 5)] + [(3,), (3,)] * affine, [mean, var])


ONE = np.array([2.0, 0.0, 0.5, 1.0])
WINDOW = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
TRANSPOSED = {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "dilation": (2, 1), "groups": 2}
MAPS = (2, 4, 7, 5)

PAIRS = {
    "conv2d": Pair(
        lambda x, w, b: ops.conv2d(x, w, b, **WINDOW),
        lambda x, w, b: F.conv2d(x, w, b, **WINDOW),
        [MAPS, (6, 2, 3, 2), (6,)],
    ),
    "conv2d_relu": Pair(
        lambda x, w, b: ops.conv2d_relu(x, w, b, **WINDOW),
        lambda x, w, b: F.relu(F.conv2d(x, w, b, **WINDOW)),
        [MAPS, (6, 2, 3, 2), (6,)],
    ),
    "conv2d, one pixel": Pair(ops.conv2d, F.conv2d, [(1, 1, 1, 1), (1, 1, 1, 1), (1,)]),
    "conv2d, 3x3 padding 1": Pair(
        lambda x, w: ops.conv2d(x, w, padding=1),
        lambda x, w: F.conv2d(x, w, padding=1),
        [(2, 5, 9, 33), (8, 5, 3, 3)],
    ),
    "conv_transpose2d": Pair(
        lambda x, w, b: ops.conv_transpose2d(x, w, b, **TRANSPOSED),
        lambda x, w, b: F.conv_transpose2d(x, w, b, **TRANSPOSED),
        [(2, 4, 3, 5), (4, 3, 2, 3), (6,)],
    ),
    "conv_transpose2d, 2x2 stride 2": Pair(
        lambda x, w: ops.conv_transpose2d(x, w, stride=2),
        lambda x, w: F.conv_transpose2d(x, w, stride=2),
        [MAPS, (4, 3, 2, 2)],
    ),
    "max_pool2d": Pair(
        lambda x: ops.max_pool2d(x, (3, 2), (2, 1), (1, 1)), lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 1)), [MAPS]
    ),
    "max_pool2d, 2": Pair(lambda x: ops.max_pool2d(x, 2), lambda x: F.max_pool2d(x, 2), [MAPS]),
    "max_unpool2d": Pair(
        lambda x: ops.max_unpool2d(*ops.max_pool2d(x, 2, return_indices=True), 2, output_size=(7, 5)),
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=(7, 5)),
        [MAPS],
    ),
    "max_unpool2d, default size": Pair(  # windows that do not overlap: of values for one pixel PyTorch keeps one, minseg the sum
        lambda x: ops.max_unpool2d(*ops.max_pool2d(x, (1, 2), (1, 3), return_indices=True), (1, 2), (1, 3)),
        lambda x: F.max_unpool2d(*F.max_pool2d(x, (1, 2), (1, 3), return_indices=True), (1, 2), (1, 3)),
        [(1, 2, 1, 8)],
    ),
    "avg_pool2d": Pair(
        lambda x: ops.avg_pool2d(x, (3, 2), (2, 1), 1), lambda x: F.avg_pool2d(x, (3, 2), (2, 1), 1), [MAPS]
    ),
    "avg_pool2d, padding not counted": Pair(
        lambda x: ops.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        [MAPS],
    ),
    "adaptive_avg_pool2d": Pair(
        lambda x: ops.adaptive_avg_pool2d(x, (3, 2)), lambda x: F.adaptive_avg_pool2d(x, (3, 2)), [MAPS]
    ),
    "adaptive_avg_pool2d, larger": Pair(
        lambda x: ops.adaptive_avg_pool2d(x, 9), lambda x: F.adaptive_avg_pool2d(x, 9), [MAPS]
    ),
    "global_avg_pool2d": Pair(ops.global_avg_pool2d, lambda x: x.mean((2, 3), keepdim=True), [MAPS]),
    "interpolate, nearest": Pair(
        lambda x: ops.interpolate(x, scale_factor=2), lambda x: F.interpolate(x, scale_factor=2), [MAPS]
    ),
    "interpolate, nearest to a size": Pair(
        lambda x: ops.interpolate(x, (4, 11)), lambda x: F.interpolate(x, (4, 11)), [MAPS]
    ),
    "interpolate, bilinear": Pair(
        lambda x: ops.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
        [MAPS],
    ),
    "interpolate, bilinear to a size": Pair(
        lambda x: ops.interpolate(x, (4, 11), mode="bilinear"),
        lambda x: F.interpolate(x, (4, 11), mode="bilinear", align_corners=False),
        [MAPS],
    ),
    "interpolate, scale that gives no whole size": Pair(
        lambda x: ops.interpolate(x, scale_factor=(1.5, 1.3), mode="bilinear"),
        lambda x: F.interpolate(x, scale_factor=(1.5, 1.3), mode="bilinear", recompute_scale_factor=True),
        [MAPS],
    ),
    "linear": Pair(ops.linear, F.linear, [(5, 7), (3, 7), (3,)]),
    "linear, samples with two axes": Pair(ops.linear, F.linear, [(2, 5, 7), (3, 7)]),
    "linear, one sample": Pair(ops.linear, F.linear, [(7,), (3, 7), (3,)]),
    "relu": Pair(ops.relu, F.relu, [MAPS]),
    "sigmoid": Pair(ops.sigmoid, torch.sigmoid, [MAPS]),
    "tanh": Pair(ops.tanh, torch.tanh, [MAPS]),
    "softmax": Pair(lambda x: ops.softmax(x, 1), lambda x: F.softmax(x, 1), [MAPS]),
    "softmax, last axis": Pair(lambda x: ops.softmax(x, -1), lambda x: F.softmax(x, -1), [MAPS]),
    "log_softmax": Pair(lambda x: ops.log_softmax(x, 1), lambda x: F.log_softmax(x, 1), [MAPS]),
    "batch_norm_training": norm_pair(training=True, affine=True),
    "batch_norm_training, x alone": norm_pair(training=True, affine=False),
    "batch_norm_eval": norm_pair(training=False, affine=True),
    "batch_norm": norm_pair(training=False, affine=False),
    "batch_norm_relu": norm_pair(training=True, affine=True, relu=True),
    "batch_norm_relu, in evaluation": norm_pair(training=False, affine=True, relu=True),
    "batch_norm_relu, x alone": norm_pair(training=False, affine=False, relu=True),
    "instance_norm": Pair(
        ops.instance_norm, lambda x, w, b: F.instance_norm(x, weight=w, bias=b), [(2, 3, 4, 5), (3,), (3,)]
    ),
    "instance_norm, x alone": Pair(
        lambda x: ops.instance_norm(x, eps=1e-2), lambda x: F.instance_norm(x, eps=1e-2), [(2, 3, 1, 5)]
    ),
    "layer_norm": Pair(
        lambda x, w, b: ops.layer_norm(x, 5, w, b), lambda x, w, b: F.layer_norm(x, (5,), w, b), [(2, 3, 5), (5,), (5,)]
    ),
    "layer_norm, two axes": Pair(
        lambda x, w: ops.layer_norm(x, (3, 5), w, eps=1e-2),
        lambda x, w: F.layer_norm(x, (3, 5), w, eps=1e-2),
        [(2, 2, 3, 5), (3, 5)],
    ),
    "scaled_dot_product_attention": Pair(
        ops.scaled_dot_product_attention,
        F.scaled_dot_product_attention,
        [(2, 3, 7, 5), (2, 3, 4, 5), (2, 3, 4, 6)],
    ),
    "cross_entropy": Pair(
        lambda z, t: ops.cross_entropy(z, t),
        lambda z, t: F.cross_entropy(z, t, ignore_index=255),
        [MAPS],
        [labels(4, 2, 7, 5)],
    ),
    "cross_entropy, weighted": Pair(
        lambda z, t, a: ops.cross_entropy(z, t, a),
        lambda z, t, a: F.cross_entropy(z, t, a, ignore_index=255),
        [MAPS],
        [labels(4, 2, 7, 5), ONE],
    ),
    "cross_entropy, weighted sum": Pair(
        lambda z, t, a: ops.cross_entropy(z, t, a, reduction="sum"),
        lambda z, t, a: F.cross_entropy(z, t, a, ignore_index=255, reduction="sum"),
        [MAPS],
        [labels(4, 2, 7, 5), ONE],
    ),
    "cross_entropy, not reduced": Pair(
        lambda z, t, a: ops.cross_entropy(z, t, a, ignore_index=2, reduction="none"),
        lambda z, t, a: F.cross_entropy(z, t, a, ignore_index=2, reduction="none"),
        [MAPS],
        [labels(4, 2, 7, 5) % 4, ONE],
    ),
    "cross_entropy, (N, K)": Pair(
        lambda z, t: ops.cross_entropy(z, t),
        lambda z, t: F.cross_entropy(z, t, ignore_index=255),
        [(9, 4)],
        [labels(4, 9)],
    ),
    "cross_entropy, (N, K, L)": Pair(
        lambda z, t: ops.cross_entropy(z, t, reduction="none"),
        lambda z, t: F.cross_entropy(z, t, ignore_index=255, reduction="none"),
        [(2, 4, 6)],
        [labels(4, 2, 6)],
    ),
    "binary_cross_entropy_with_logits": Pair(
        lambda z, t: ops.binary_cross_entropy_with_logits(z, t),
        lambda z, t: F.binary_cross_entropy_with_logits(z, t),
        [(2, 3)],
        [np.array([[0.0, 1.0, 0.3], [1.0, 0.9, 0.0]])],
    ),
    "binary_cross_entropy_with_logits, ignored": Pair(
        lambda z, t: ops.binary_cross_entropy_with_logits(z, t),
        lambda z, t: F.binary_cross_entropy_with_logits(z[:, 0][t != 255], (t == 1)[t != 255].to(z.dtype)),
        [(2, 1, 7, 5)],
        [labels(2, 2, 7, 5)],
    ),
    "mse_loss": Pair(ops.mse_loss, F.mse_loss, [MAPS, MAPS]),
    "mse_loss, sum": Pair(
        lambda a, y: ops.mse_loss(a, y, "sum"), lambda a, y: F.mse_loss(a, y, reduction="sum"), [MAPS, MAPS]
    ),
    "dice_loss": Pair(ops.dice_loss, torch_dice, [MAPS], [labels(4, 2, 7, 5)], probabilities),
    "dice_loss, no background": Pair(
        lambda p, t: ops.dice_loss(p, t, include_background=False),
        lambda p, t: torch_dice(p, t, background=False),
        [MAPS],
        [labels(4, 2, 7, 5)],
        probabilities,
    ),
    "dice_loss, binary": Pair(
        ops.dice_loss, lambda p, t: torch_dice(p, t, first=1), [(2, 1, 7, 5)], [labels(2, 2, 7, 5)], probabilities
    ),
    "dice_loss_with_logits": Pair(
        ops.dice_loss_with_logits, lambda z, t: torch_dice(F.softmax(z, 1), t), [MAPS], [labels(4, 2, 7, 5)]
    ),
    "dice_loss_with_logits, binary": Pair(
        ops.dice_loss_with_logits,
        lambda z, t: torch_dice(torch.sigmoid(z), t, first=1),
        [(2, 1, 7, 5)],
        [labels(2, 2, 7, 5)],
    ),
    "jaccard_loss": Pair(ops.jaccard_loss, torch_jaccard, [MAPS], [labels(4, 2, 7, 5)], probabilities),
    "jaccard_loss_with_logits": Pair(
        ops.jaccard_loss_with_logits, lambda z, t: torch_jaccard(F.softmax(z, 1), t), [MAPS], [labels(4, 2, 7, 5)]
    ),
    "jaccard_loss_with_logits, binary": Pair(
        ops.jaccard_loss_with_logits,
        lambda z, t: torch_jaccard(torch.sigmoid(z), t, first=1),
        [(2, 1, 7, 5)],
        [labels(2, 2, 7, 5)],
    ),
    "focal_loss": Pair(ops.focal_loss, torch_focal, [MAPS], [labels(4, 2, 7, 5)]),
    "focal_loss, gamma below 1": Pair(
        lambda z, t: ops.focal_loss(z, t, 0.5), lambda z, t: torch_focal(z, t, 0.5), [MAPS], [labels(4, 2, 7, 5)]
    ),
    "focal_loss, gamma 0": Pair(
        lambda z, t: ops.focal_loss(z, t, 0),
        lambda z, t: F.cross_entropy(z, t, ignore_index=255),
        [MAPS],
        [labels(4, 2, 7, 5)],
    ),
    "focal_loss, alpha": Pair(
        lambda z, t, a: ops.focal_loss(z, t, 5.0, a),
        lambda z, t, a: torch_focal(z, t, 5.0, a),
        [MAPS],
        [labels(4, 2, 7, 5), np.array([0.5, 1.0, 0.0, 3.0])],
    ),
    "focal_loss, each": Pair(
        lambda z, t: ops.focal_loss(z, t, reduction="none"),
        lambda z, t: torch_focal(z, t, reduction="none"),
        [MAPS],
        [labels(4, 2, 7, 5)],
    ),
}
RANDOM = {"dropout", "dropout2d"}  # no two libraries draw the same numbers: see test_operations.py
NO_PEER = {"running_statistics"}  # compared below


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-300))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PAIRS)
def test_value_and_gradients(name, dtype, backend):
    pair = PAIRS[name]
    inputs, constants = pair.arguments(dtype)
    theirs = [torch.from_numpy(x.copy()).requires_grad_() for x in inputs]
    y = pair.theirs(*theirs, *map(torch.from_numpy, constants))
    cotangent = np.random.default_rng(3).standard_normal(tuple(y.shape)).astype(dtype)
    y.backward(torch.from_numpy(cotangent))
    with minseg.use_backend(backend):
        ours = [minseg.tensor(x.copy(), requires_grad=True) for x in inputs]
        result = pair.ours(*ours, *map(minseg.tensor, constants))
        result.backward(cotangent)
    assert relative_error(result.data, y.detach().numpy()) <= TOLERANCE[dtype]
    for mine, other in zip(ours, theirs, strict=True):
        assert relative_error(mine.grad, other.grad.numpy()) <= TOLERANCE[dtype]


def test_every_operation_has_a_peer():
    assert set(ops.__all__) - {name.split(",")[0] for name in PAIRS} == RANDOM | NO_PEER


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_running_statistics(backend):
    """Three steps of training, and PyTorch's buffers agree: the unbiased variance is the one that runs."""
    rng = np.random.default_rng(0)
    mean, var = np.zeros(3), np.ones(3)
    their_mean, their_var = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    with minseg.use_backend(backend):
        for _ in range(3):
            x = 2 + rng.standard_normal((2, 3, 4, 3))
            _, mean, var = ops.batch_norm(minseg.tensor(x), mean, var, training=True, momentum=0.2)
            F.batch_norm(torch.from_numpy(x), their_mean, their_var, training=True, momentum=0.2)
    assert relative_error(mean, their_mean.numpy()) < 1e-12
    assert relative_error(var, their_var.numpy()) < 1e-12


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_pooling_indices(backend):
    x = np.random.default_rng(0).integers(0, 3, (2, 3, 6, 7)).astype(np.float32)  # many ties
    _, theirs = F.max_pool2d(torch.from_numpy(x), 3, 2, 1, return_indices=True)
    with minseg.use_backend(backend):
        _, ours = ops.max_pool2d(minseg.tensor(x), 3, 2, 1, return_indices=True)
    assert (ours.data == theirs.numpy()).all()


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("size", [1, 2, 5, 8, 9, 16, 31])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_interpolate_to_every_size(size, mode, backend):
    x = np.random.default_rng(0).standard_normal((1, 1, 1, 9))
    corners = {"align_corners": False} if mode == "bilinear" else {}
    theirs = F.interpolate(torch.from_numpy(x), (size, size), mode=mode, **corners).numpy()
    with minseg.use_backend(backend):
        ours = ops.interpolate(minseg.tensor(x), size, mode=mode).data
    assert relative_error(ours, theirs) < 1e-10
