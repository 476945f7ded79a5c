"""PSPNet: beside every pixel's features stand means over the whole image, over its quarters, ninths and thirty-sixths.

H. Zhao, J. Shi, X. Qi, X. Wang, J. Jia: Pyramid Scene Parsing Network. CVPR 2017, 2881-2890.

    x -- atrous encoder, 1/8 ------------------------------ concat -- conv 3x3 -- 1x1 -- up x8 -- logits
                    \\ mean over 1x1 -- conv 1x1 -- up ------- /
                     \\ mean over 2x2 -- conv 1x1 -- up ----- /
                      \\ mean over 3x3 -- conv 1x1 -- up --- /
                       \\ mean over 6x6 -- conv 1x1 -- up - /

    up: bilinear (up.bilinear); the branches share out as many channels as the encoder has

Where it departs from the paper
* A small encoder that starts from random weights (models/atrous.py); there a dilated ResNet of 50 to 269 layers.
* The branches have a bias instead of a batch norm, which could not train on one image: over 1x1 there is one value a channel.
* No second loss in the middle of the encoder, and no dropout.
"""

from collections.abc import Sequence

import numpy as np

from minseg.autograd import Tensor, concatenate
from minseg.models.atrous import AtrousEncoder, conv_norm
from minseg.models.blocks import Segmenter, positive, positives, resized_like
from minseg.nn import AdaptiveAvgPool2d, Conv2d, Module, ModuleList, ReLU, Sequential


class PyramidPooling(Module):
    """``ctx.pyramid_pool``: maps (N, C, H, W) to (N, C + len(bins) D, H, W), C channels as they were and D for each grid."""

    def __init__(self, channels: int, branch_channels: int, bins: Sequence[int], rng: np.random.Generator):
        self.branches = ModuleList(
            Sequential(AdaptiveAvgPool2d(b), Conv2d(channels, branch_channels, 1, rng=rng), ReLU()) for b in bins
        )

    def forward(self, x: Tensor) -> Tensor:
        means = [resized_like(branch(x), x) for branch in self.branches]
        return concatenate([x, *means], dim=1)  # eq: ctx.pyramid_pool


class PSPNet(Segmenter):
    """The network of the picture above: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    Parameters
    ----------
    in_channels, num_classes : int
    widths : (int, int, int)
        Channels of the encoder at 1/2, 1/4 and 1/8 of the resolution.
    bins : sequence of int
        Rows (and columns) of each grid of means; a grid finer than the maps repeats their values.
    channels : int
        Of the convolution behind the pyramid.
    seed : int
        Fixes the initial weights.

    >>> PSPNet(in_channels=1, num_classes=2).num_parameters()
    280050
    """

    multiple = AtrousEncoder.stride

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        bins: Sequence[int] = (1, 2, 3, 6),
        channels: int = 48,
        seed: int = 0,
    ):
        super().__init__(in_channels, num_classes)
        self.widths = positives(widths, "PSPNet: widths", 3)
        self.bins = positives(bins, "PSPNet: bins")
        self.channels = positive(channels, "PSPNet: channels")
        rng = np.random.default_rng(seed)
        deep = self.widths[-1]
        branch = max(1, deep // len(self.bins))
        self.encoder = AtrousEncoder(in_channels, self.widths, rng)
        self.pyramid = PyramidPooling(deep, branch, self.bins, rng)
        self.decoder = Sequential(*conv_norm(deep + len(self.bins) * branch, channels, 3, rng), ReLU())
        self.head = Conv2d(channels, num_classes, 1, rng=rng)

    def logits(self, x: Tensor) -> Tensor:
        _, deep = self.encoder(x)  # (N, c, H/8, W/8)
        y = self.decoder(self.pyramid(deep))
        return resized_like(self.head(y), x)  # (N, K, H, W)
