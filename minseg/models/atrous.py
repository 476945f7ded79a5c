"""The encoder of DeepLab and PSPNet: it halves the resolution three times only, and sees far by dilated kernels instead.

    x -- 3x3 /2, a -- block /2, b -- block /2, c -- block, dilation 2 -- block, dilation 4 -- deep, at 1/8 of the resolution
                           \\ fine, at 1/4

    block: conv 3x3, norm, ReLU, conv 3x3, norm, added to the block's input (by a 1x1 convolution where its shape differs), ReLU

The papers take a ResNet or an Xception that was trained to classify ImageNet, with 50 layers and more.
"""

import numpy as np

from minseg import ops
from minseg.autograd import Tensor
from minseg.nn import BatchNorm2d, Conv2d, DepthwiseSeparableConv2d, Identity, Module, ReLU, Sequential


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    rng: np.random.Generator,
    stride: int = 1,
    dilation: int = 1,
    separable: bool = False,
) -> list[Module]:
    """A convolution without bias that keeps the size (but for its stride), and batch norm."""
    kind = DepthwiseSeparableConv2d if separable else Conv2d
    padding = dilation * (kernel_size // 2)
    convolution = kind(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=False, rng=rng)
    return [convolution, BatchNorm2d(out_channels)]


class AtrousBlock(Module):
    """Two 3x3 convolutions, the first with the stride, both with the dilation, and a way around them (``res.projection``)."""

    def __init__(
        self, in_channels: int, out_channels: int, rng: np.random.Generator, stride: int, dilation: int, separable: bool
    ):
        self.residual = Sequential(
            *conv_norm(in_channels, out_channels, 3, rng, stride, dilation, separable),
            ReLU(),
            *conv_norm(out_channels, out_channels, 3, rng, 1, dilation, separable),
        )
        same = stride == 1 and in_channels == out_channels
        self.shortcut = Identity() if same else Sequential(*conv_norm(in_channels, out_channels, 1, rng, stride))

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(self.shortcut(x) + self.residual(x))  # eq: res.projection


class AtrousEncoder(Module):
    """Images (N, in_channels, H, W) to fine maps (N, b, H/4, W/4) and deep ones (N, c, H/8, W/8)."""

    stride = 8

    def __init__(
        self, in_channels: int, widths: tuple[int, int, int], rng: np.random.Generator, separable: bool = False
    ):
        a, b, c = widths
        self.stem = Sequential(*conv_norm(in_channels, a, 3, rng, stride=2), ReLU())
        self.fine = AtrousBlock(a, b, rng, 2, 1, separable)
        self.deep = Sequential(
            AtrousBlock(b, c, rng, 2, 1, separable),
            AtrousBlock(c, c, rng, 1, 2, separable),
            AtrousBlock(c, c, rng, 1, 4, separable),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(self.stem(x))  # (N, b, H/4, W/4)
        return fine, self.deep(fine)
