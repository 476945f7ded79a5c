"""Every primitive of kernels/spec.py by itself, and every variant of it, at the shapes of a U-Net's finest level."""

import importlib
import math
from collections.abc import Callable
from functools import partial

import numpy as np

from minseg import backend
from minseg.kernels.spec import PRIMITIVES, Primitive
from minseg.testing.bench import peer
from minseg.testing.bench.measuring import Case
from minseg.testing.bench.networks import times

ONE, TWO, NONE = (1, 1), (2, 2), (0, 0)
WINDOW = ((3, 3), ONE, ONE, ONE)  # kernel, stride, padding, dilation
HALVING = (TWO, TWO, NONE)  # window, stride, padding
PARAMETERS = 1 << 20
PAIRS = (8, 1024, 256, 32)


class Arrays:
    """What kernels are called with: maps x (N, C, H, H), their gradients and statistics, weights, logits with labels, tokens; and
    for attention queries q (B, M, d) with their gradients, keys and values (B, N, d), where ``pairs`` is (B, M, N, d)."""

    def __init__(
        self,
        N: int = 8,
        C: int = 16,
        H: int = 128,
        classes: int = 4,
        parameters: int = PARAMETERS,
        tokens: int = 8 * 256,
        pairs: tuple[int, int, int, int] = PAIRS,
    ):
        rng = np.random.default_rng(0)

        def normal(*shape):
            return rng.standard_normal(shape, dtype=np.float32)

        self.N, self.C, self.H = N, C, H
        self.x, self.gy = normal(N, C, H, H), normal(N, C, H, H)
        self.half = normal(N, C, H // 2, H // 2)
        self.w, self.square = normal(C, C, 3, 3), normal(C, C, 2, 2)
        self.weight, self.bias, self.mean = normal(C), normal(C), self.x.mean((0, 2, 3))
        self.var = self.x.var((0, 2, 3))
        self.z, self.g = normal(N, classes, H, H), normal(N, H, H)
        self.labels = rng.integers(0, classes, (N, H, H)).astype(np.uint8)
        self.truth = (self.z > 0).astype(np.float32)
        self.p = np.exp(self.z) / np.exp(self.z).sum(1, keepdims=True)
        self.tokens, self.matrix, self.vector = normal(tokens, 64), normal(64, 64), normal(64)
        self.flat = [normal(parameters) for _ in range(3)]
        B, M, N, d = self.pairs = pairs
        self.q, self.gq, self.k, self.v = normal(B, M, d), normal(B, M, d), normal(B, N, d), normal(B, N, d)

    @property
    def indices(self):
        return backend.current().max_pool2d(self.x, *HALVING)[1]

    @property
    def columns(self):
        return backend.current().im2col(self.half, *WINDOW)

    @property
    def lse(self):
        return backend.current().cross_entropy(self.z, self.labels, None, 255)[1]

    @property
    def mixtures(self):
        return backend.current().attention(self.q, self.k, self.v)


def _updates(a: Arrays) -> tuple:
    p, g, v = a.flat
    return p, g, v**2


ARGUMENTS: dict[str, Callable[[Arrays], tuple]] = {
    "im2col": lambda a: (a.half, *WINDOW),
    "col2im": lambda a: (a.columns, a.half.shape, *WINDOW),
    "conv2d": lambda a: (a.x, a.w, a.bias, ONE, ONE, ONE, 1),
    "conv2d_relu": lambda a: (a.x, a.w, a.bias, ONE, ONE, ONE, 1),
    "conv2d_grad_x": lambda a: (a.gy, a.w, a.x.shape, ONE, ONE, ONE, 1),
    "conv2d_grad_w": lambda a: (a.gy, a.x, a.w.shape, ONE, ONE, ONE, 1),
    "conv2d_grad_b": lambda a: (a.gy,),
    "conv_transpose2d": lambda a: (a.half, a.square, a.bias, TWO, NONE, NONE, ONE, 1),
    "max_pool2d": lambda a: (a.x, *HALVING),
    "max_pool2d_grad_x": lambda a: (a.half, a.indices, a.x.shape),
    "max_unpool2d": lambda a: (a.half, a.indices, a.x.shape[2:]),
    "max_unpool2d_grad_x": lambda a: (a.gy, a.indices),
    "avg_pool2d": lambda a: (a.x, *HALVING, True),
    "avg_pool2d_grad_x": lambda a: (a.half, a.x.shape, *HALVING, True),
    "adaptive_avg_pool2d": lambda a: (a.x, (16, 16)),
    "adaptive_avg_pool2d_grad_x": lambda a: (a.half[:, :, :16, :16].copy(), a.x.shape),
    "resize_nearest": lambda a: (a.half, a.x.shape[2:]),
    "resize_nearest_grad_x": lambda a: (a.gy, a.half.shape),
    "resize_bilinear": lambda a: (a.half, a.x.shape[2:]),
    "resize_bilinear_grad_x": lambda a: (a.gy, a.half.shape),
    "linear": lambda a: (a.tokens, a.matrix, a.vector),
    "linear_grad_x": lambda a: (a.tokens, a.matrix),
    "linear_grad_w": lambda a: (a.tokens, a.tokens),
    "linear_grad_b": lambda a: (a.tokens,),
    **{name: lambda a: (a.x,) for name in ("relu", "sigmoid", "tanh", "batch_norm_stats")},
    **{f"{name}_grad_x": lambda a: (a.gy, a.x) for name in ("relu", "sigmoid", "tanh")},
    **{name: lambda a: (a.z, 1) for name in ("softmax", "log_softmax")},
    **{f"{name}_grad_x": lambda a: (a.z, a.p, 1) for name in ("softmax", "log_softmax")},
    "attention": lambda a: (a.q, a.k, a.v),
    "attention_grad": lambda a: (a.gq, a.q, a.k, a.v, *a.mixtures),
    "batch_norm": lambda a: (a.x, a.mean, a.var, a.weight, a.bias, 1e-5),
    "batch_norm_grad": lambda a: (a.gy, a.x, a.mean, a.var, a.weight, 1e-5),
    "batch_norm_eval_grad": lambda a: (a.gy, a.x, a.mean, a.var, a.weight, 1e-5),
    "batch_norm_relu": lambda a: (a.x, a.mean, a.var, a.weight, a.bias, 1e-5),
    "batch_norm_relu_grad": lambda a: (a.gy, a.x, a.mean, a.var, a.weight, a.bias, 1e-5),
    "batch_norm_relu_eval_grad": lambda a: (a.gy, a.x, a.mean, a.var, a.weight, a.bias, 1e-5),
    "cross_entropy": lambda a: (a.z, a.labels, None, 255),
    "cross_entropy_grad_z": lambda a: (a.g, a.z, a.lse, a.labels, None, 255),
    **{name: lambda a: (a.z, a.truth) for name in ("binary_cross_entropy_with_logits", "mse_loss")},
    "binary_cross_entropy_with_logits_grad_z": lambda a: (a.z, a.z, a.truth),
    "mse_loss_grad_a": lambda a: (a.z, a.z, a.truth),
    "dice_sums": lambda a: (a.p, a.labels, 0, 255),
    "dice_sums_grad_p": lambda a: (np.ones((3, a.p.shape[1]), np.float32), a.p, a.labels, 0, 255),
    "sgd_update": lambda a: (*_updates(a), 0.1, 0.9, 0.0, 0.0, False),
    "rmsprop_update": lambda a: (*_updates(a), 0.1, 0.99, 1e-8, 0.0),
    "adam_update": lambda a: (*_updates(a)[:2], a.flat[2], _updates(a)[2], 1, 0.1, 0.9, 0.999, 1e-8, 0.0),
}
"""For each primitive, what it is called with."""


def _attention(F, q, k, v):
    """PyTorch has its quick kernels for arrays with an axis of heads only."""
    return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]


PEERS: dict[str, Callable[[Arrays], dict]] = {
    "conv2d": lambda a: peer.forward(lambda F, x, w, b: F.conv2d(x, w, b, padding=1), a.x, a.w, a.bias),
    "conv2d_relu": lambda a: peer.forward(lambda F, x, w, b: F.relu(F.conv2d(x, w, b, padding=1)), a.x, a.w, a.bias),
    "conv2d_grad_x": lambda a: peer.convolution_gradient(a.gy, a.x, a.w, "x", padding=1),
    "conv2d_grad_w": lambda a: peer.convolution_gradient(a.gy, a.x, a.w, "w", padding=1),
    "conv_transpose2d": lambda a: peer.forward(
        lambda F, x, w, b: F.conv_transpose2d(x, w, b, stride=2), a.half, a.square, a.bias
    ),
    "max_pool2d": lambda a: peer.forward(lambda F, x: F.max_pool2d(x, 2, return_indices=True), a.x),
    "avg_pool2d": lambda a: peer.forward(lambda F, x: F.avg_pool2d(x, 2), a.x),
    "adaptive_avg_pool2d": lambda a: peer.forward(lambda F, x: F.adaptive_avg_pool2d(x, 16), a.x),
    "resize_nearest": lambda a: peer.forward(lambda F, x: F.interpolate(x, scale_factor=2), a.half),
    "resize_bilinear": lambda a: peer.forward(lambda F, x: F.interpolate(x, scale_factor=2, mode="bilinear"), a.half),
    "linear": lambda a: peer.forward(lambda F, x, w, b: F.linear(x, w, b), a.tokens, a.matrix, a.vector),
    "relu": lambda a: peer.forward(lambda F, x: F.relu(x), a.x),
    "sigmoid": lambda a: peer.forward(lambda F, x: x.sigmoid(), a.x),
    "tanh": lambda a: peer.forward(lambda F, x: x.tanh(), a.x),
    "softmax": lambda a: peer.forward(lambda F, x: F.softmax(x, 1), a.z),
    "log_softmax": lambda a: peer.forward(lambda F, x: F.log_softmax(x, 1), a.z),
    "attention": lambda a: peer.forward(_attention, a.q, a.k, a.v),
    "attention_grad": lambda a: peer.gradients(_attention, a.gq, a.q, a.k, a.v),
}
"""The same in PyTorch, where it has it as one call."""


def flops(name: str, a: Arrays) -> float | None:
    """Of convolutions, linear maps and attention, each multiply-add counted twice."""
    if name in ("linear", "linear_grad_x", "linear_grad_w"):
        return 2.0 * a.tokens.size * len(a.matrix)
    products = {"attention": 2, "attention_grad": 5}.get(name)  # the scores again, and four gradients
    if products:
        return 2.0 * products * math.prod(a.pairs)
    taps = {"conv2d": 9, "conv2d_relu": 9, "conv2d_grad_x": 9, "conv2d_grad_w": 9, "conv_transpose2d": 1}.get(name)
    return taps and 2.0 * a.N * a.C * a.C * taps * a.H * a.H


def variants(primitive: Primitive) -> dict[str, Callable]:
    """The rungs that the active backend has of this primitive, by name."""
    family = importlib.import_module(f"minseg.kernels.{backend.current().package}.{primitive.family}")
    return getattr(family, "VARIANTS", {}).get(primitive.name, {})


def cases(arrays: Arrays | None = None) -> list[Case]:
    """A case for each primitive as the backend chooses to compute it, and one for each variant that it has."""
    a = arrays or Arrays()
    found = []
    for name, primitive in PRIMITIVES.items():
        calls = {name: getattr(backend.current(), name)}
        calls |= {f"{name} [{variant}]": call for variant, call in variants(primitive).items()}
        found += [_case(title, name, call, a) for title, call in calls.items()]
    return found


def _case(title: str, name: str, call: Callable, a: Arrays) -> Case:
    return Case(
        "primitives",
        title,
        times(ARGUMENTS[name](a)[0].shape),
        lambda: partial(call, *ARGUMENTS[name](a)),
        partial(PEERS[name], a) if name in PEERS else None,
        flops(name, a),
    )
