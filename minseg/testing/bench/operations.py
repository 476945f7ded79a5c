"""Differentiable operations, forward and backward, at the shapes where a U-Net spends its time, and at growing sizes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

import minseg
from minseg import nn, ops
from minseg.autograd import Function
from minseg.testing.bench import peer
from minseg.testing.bench.measuring import Case, Work
from minseg.testing.bench.networks import times

BATCH = 8


class Source(Function):
    """An input whose gradient is computed and dropped, as torch.autograd.grad does: no leaf keeps a copy of it."""

    def forward(self, x):
        return x

    def backward(self, gy):
        return (None,)


def forward_backward(function: Callable, *arrays) -> Work:
    """A training use of one operation: forward, and backward for all inputs from a fixed cotangent."""
    leaves = [minseg.tensor(array, requires_grad=True) for array in arrays]
    cotangent = np.ones_like(function(*leaves).data)

    def work():
        function(*map(Source.apply, leaves)).backward(cotangent)

    return work


def case(name: str, ours: Callable, theirs: Callable, shapes, flops=None, traffic=None) -> Case:
    """Arrays of these shapes through both; ``traffic`` in arrays of the first one's size, read and written, there and back."""
    rng = np.random.default_rng(0)

    def arrays():
        return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]

    return Case(
        "operations",
        name,
        " ".join(map(times, shapes[:2])),
        lambda: forward_backward(ours, *arrays()),
        lambda: peer.forward_backward(theirs, *arrays()),
        flops,
        None if traffic is None else traffic * 4 * np.prod(shapes[0]),
    )


def convolution(C: int, O: int, H: int) -> Case:
    """A 3x3 convolution; three products of the same size, for the output and two gradients."""
    return case(
        "conv2d 3x3",
        lambda x, w: ops.conv2d(x, w, padding=1),
        lambda F, x, w: F.conv2d(x, w, padding=1),
        ((BATCH, C, H, H), (O, C, 3, 3)),
        flops=3 * 2 * BATCH * O * C * 9 * H * H,
    )


def pointwise(C: int, O: int, H: int) -> Case:
    return case(
        "conv2d 1x1",
        ops.conv2d,
        lambda F, x, w: F.conv2d(x, w),
        ((BATCH, C, H, H), (O, C, 1, 1)),
        flops=3 * 2 * BATCH * O * C * H * H,
    )


def transposed(C: int, O: int, H: int) -> Case:
    return case(
        "conv_transpose2d 2x2",
        lambda x, w: ops.conv_transpose2d(x, w, stride=2),
        lambda F, x, w: F.conv_transpose2d(x, w, stride=2),
        ((BATCH, C, H, H), (C, O, 2, 2)),
        flops=3 * 2 * BATCH * C * O * 4 * H * H,
    )


def by_pixel(C: int, H: int) -> list[Case]:
    """What memory bounds: each value is read and written a few times."""
    x = ((BATCH, C, H, H),)
    plain, fused = nn.BatchNorm2d(C), nn.Sequential(nn.BatchNorm2d(C), nn.ReLU())
    return [
        case("relu", ops.relu, lambda F, x: F.relu(x), x, traffic=5),
        case("max_pool2d 2x2", lambda x: ops.max_pool2d(x, 2), lambda F, x: F.max_pool2d(x, 2), x, traffic=3),
        case("softmax", lambda x: ops.softmax(x, 1), lambda F, x: F.softmax(x, 1), x, traffic=5),
        case("batch_norm", plain, lambda F, x: F.batch_norm(x, None, None, training=True), x, traffic=7),
        case("batch_norm, relu", fused, lambda F, x: F.relu(F.batch_norm(x, None, None, training=True)), x, traffic=7),
        cross_entropy(H),
    ]


def cross_entropy(H: int, classes: int = 4) -> Case:
    """Softmax with cross-entropy; the labels are the same on both sides."""
    labels = np.random.default_rng(1).integers(0, classes, (BATCH, H, H))

    def theirs(F, z):
        import torch

        return F.cross_entropy(z, torch.from_numpy(labels))

    return case(
        "softmax, cross_entropy",
        lambda z: ops.cross_entropy(z, minseg.tensor(labels)),
        theirs,
        ((BATCH, classes, H, H),),
        traffic=3,
    )


def unet_cases() -> list[Case]:
    """The operations of a step of UNet(3, 4) with a batch of 8x3x128x128."""
    convolutions = ((3, 16, 128), (16, 16, 128), (32, 32, 64), (64, 64, 32), (128, 128, 16))
    return [
        *(convolution(*sizes) for sizes in convolutions),
        pointwise(16, 4, 128),
        transposed(32, 16, 64),
        *by_pixel(16, 128),
    ]


def sweep_cases(sizes=(16, 32, 64, 128, 256)) -> list[Case]:
    """The same with 16 channels at sizes that double."""
    cases = [case for H in sizes for case in (convolution(16, 16, H), transposed(16, 16, H // 2), *by_pixel(16, H))]
    return [replace(case, group="sweep") for case in cases]
