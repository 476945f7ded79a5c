"""A segmenter of dense blocks, in which every layer sees what all layers before it made.

G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger: Densely Connected Convolutional Networks. CVPR 2017, 4700-4708.

    x -- conv 3x3, 16 -- dense ----------------- skip ----------------- concat, dense -- norm, ReLU, 1x1 -- logits
                            \\ transition                              / up
                             dense -------- skip -------- concat, dense
                                \\ transition            / up
                                 dense ----------------

    dense: three layers of norm, ReLU, 3x3 convolution to 8 channels; each is fed the block's input and all their outputs,
           concatenated (res.dense_concat), and so is whatever follows
    transition: norm, ReLU, 1x1 convolution to half of the channels, 2x2 means; up: bilinear

Where it departs from the paper, which classifies
* A decoder like U-Net's, of dense blocks too. One that follows another block on the way up is fed through a 1x1 convolution (norm
  and ReLU before it), or its channels would pile up.
* Three blocks of three layers, a laptop's size; the paper's smallest has 58 such layers. No bottleneck before the 3x3 convolution.
* Any image size: filled up with zeros to multiples of 2^(blocks - 1), and the logits cropped.

A block of L layers keeps every concatenation for the backward pass, so memory grows with L^2 although parameters are few.
"""

from collections.abc import Sequence

import numpy as np

from minseg.autograd import Tensor, concatenate
from minseg.models.blocks import Segmenter, positive, positives, resized_like
from minseg.nn import AvgPool2d, BatchNorm2d, Conv2d, Module, ModuleList, ReLU, Sequential


def norm_relu_conv(in_channels: int, out_channels: int, kernel_size: int, rng: np.random.Generator) -> Sequential:
    """Batch norm and ReLU before the convolution: what is concatenated was not activated yet."""
    return Sequential(
        BatchNorm2d(in_channels),
        ReLU(),
        Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False, rng=rng),
    )


class DenseBlock(Module):
    """``depth`` layers of ``growth`` channels: (N, in_channels, H, W) to (N, in_channels + depth * growth, H, W)."""

    def __init__(self, in_channels: int, growth: int, depth: int, *, rng: np.random.Generator | None = None):
        self.out_channels = in_channels + depth * growth
        rng = np.random.default_rng() if rng is None else rng
        self.layers = ModuleList(
            norm_relu_conv(c, growth, 3, rng) for c in range(in_channels, self.out_channels, growth)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = concatenate([x, layer(x)], dim=1)  # eq: res.dense_concat
        return x


class DenseNetSeg(Segmenter):
    """The network of the picture above: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    Parameters
    ----------
    in_channels, num_classes : int
    blocks : sequence of int
        Layers of each dense block of the encoder, the finest first; the decoder mirrors them.
    growth : int
        Channels that each layer adds.
    stem : int
        Channels of the first convolution.
    seed : int
        Fixes the initial weights.

    >>> DenseNetSeg(in_channels=1, num_classes=2).num_parameters()
    68368
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        blocks: Sequence[int] = (3, 3, 3),
        growth: int = 8,
        stem: int = 16,
        seed: int = 0,
    ):
        super().__init__(in_channels, num_classes)
        self.blocks = positives(blocks, "DenseNetSeg: blocks")
        self.growth = positive(growth, "DenseNetSeg: growth")
        self.multiple = 2 ** (len(self.blocks) - 1)
        rng = np.random.default_rng(seed)
        self.stem = Conv2d(in_channels, positive(stem, "DenseNetSeg: stem"), 3, padding=1, bias=False, rng=rng)
        self.encoder, self.transitions = ModuleList(), ModuleList()
        channels, skips = stem, []
        for depth in self.blocks:
            block = DenseBlock(channels, growth, depth, rng=rng)
            self.encoder.append(block)
            skips.append(block.out_channels)
            if len(skips) < len(self.blocks):
                channels = max(1, block.out_channels // 2)
                self.transitions.append(norm_relu_conv(block.out_channels, channels, 1, rng))
        self.pool = AvgPool2d(2)
        self.narrow, self.decoder = ModuleList(), ModuleList()
        below = skips[-1]
        for depth, skip in zip(self.blocks[-2::-1], skips[-2::-1]):
            self.narrow.append(norm_relu_conv(below, skip, 1, rng))
            block = DenseBlock(2 * skip, growth, depth, rng=rng)
            self.decoder.append(block)
            below = block.out_channels
        self.head = norm_relu_conv(below, self.num_classes, 1, rng)

    def logits(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        skips = []
        for block, transition in zip(self.encoder, self.transitions):
            x = block(x)  # (N, c, h, w)
            skips.append(x)
            x = self.pool(transition(x))  # (N, c/2, h/2, w/2)
        x = self.encoder[-1](x)
        for narrow, block, skip in zip(self.narrow, self.decoder, reversed(skips)):
            x = resized_like(narrow(x), skip)  # (N, c, 2h', 2w')
            x = block(concatenate([skip, x], dim=1))
        return self.head(x)
