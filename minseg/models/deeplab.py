"""DeepLab v3+: dilated windows of several sizes look at the same place, and a small decoder finds the outlines again.

L.-C. Chen, Y. Zhu, G. Papandreou, F. Schroff, H. Adam: Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation. ECCV 2018, 801-818.

    x -- atrous encoder -- deep, 1/8 -- ASPP -- up x2 -- concat, 2 x separable 3x3 -- 1x1 -- up x4 -- logits
               \\ fine, 1/4 -- 1x1, 16 ----------------- /

    ASPP:  1x1, and 3x3 with dilations 2, 4, 6, and the mean over the image -- concat -- 1x1

    a batch norm and a ReLU follow every convolution but the last and that of the mean; up: bilinear (up.bilinear)

Where it departs from the paper
* A small encoder that starts from random weights (models/atrous.py), of separable convolutions; there an Xception of 65 layers.
* It stops at 1/8 of the resolution, the paper's at 1/16 in training; dilations of 2, 4, 6 instead of 12, 24, 36 at 1/8: crops are
  64 pixels wide here, 513 there, and a dilation larger than the map meets nothing but zeros.
* The mean's branch has a bias instead of a batch norm, which could not train on one image: one value for each channel.
* No dropout. The fully connected CRF of the first DeepLabs is in minseg/postprocess.py; v3 and v3+ left it out.
"""

from collections.abc import Sequence

import numpy as np

from minseg import ops
from minseg.autograd import Tensor, concatenate
from minseg.models.atrous import AtrousEncoder, conv_norm
from minseg.models.blocks import Segmenter, positive, positives, resized_like
from minseg.nn import Conv2d, Module, ModuleList, ReLU, Sequential


class ASPP(Module):
    """Atrous spatial pyramid pooling (``ctx.aspp``): (N, in_channels, H, W) to (N, out_channels, H, W).

    The branches are concatenated; the 1x1 convolution behind them sums them, each with weights of its own.
    """

    def __init__(self, in_channels: int, out_channels: int, rates: Sequence[int], rng: np.random.Generator):
        point = Sequential(*conv_norm(in_channels, out_channels, 1, rng), ReLU())
        windows = [Sequential(*conv_norm(in_channels, out_channels, 3, rng, dilation=d), ReLU()) for d in rates]
        self.branches = ModuleList([point, *windows])
        self.image = Conv2d(in_channels, out_channels, 1, rng=rng)
        self.project = Sequential(*conv_norm((2 + len(rates)) * out_channels, out_channels, 1, rng), ReLU())

    def forward(self, x: Tensor) -> Tensor:
        whole = ops.relu(self.image(ops.global_avg_pool2d(x)))  # (N, C, 1, 1)
        branches = [branch(x) for branch in self.branches]  # eq: ctx.aspp, before its sum
        return self.project(concatenate([*branches, resized_like(whole, x)], dim=1))


class DeepLab(Segmenter):
    """The network of the picture above: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    Parameters
    ----------
    in_channels, num_classes : int
    widths : (int, int, int)
        Channels of the encoder at 1/2, 1/4 and 1/8 of the resolution.
    rates : sequence of int
        Dilations of the ASPP's 3x3 branches, in pixels of its maps.
    channels : int
        Of the ASPP's output and the decoder.
    seed : int
        Fixes the initial weights.

    >>> DeepLab(in_channels=1, num_classes=2).num_parameters()
    139842
    """

    multiple = AtrousEncoder.stride

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        rates: Sequence[int] = (2, 4, 6),
        channels: int = 48,
        seed: int = 0,
    ):
        super().__init__(in_channels, num_classes)
        self.widths = positives(widths, "DeepLab: widths", 3)
        self.rates = positives(rates, "DeepLab: rates")
        self.channels = positive(channels, "DeepLab: channels")
        rng = np.random.default_rng(seed)
        _, fine, deep = self.widths
        outlines = max(1, channels // 3)  # few channels, lest the fine maps outweigh the deep ones
        self.encoder = AtrousEncoder(in_channels, self.widths, rng, separable=True)
        self.aspp = ASPP(deep, channels, self.rates, rng)
        self.reduce = Sequential(*conv_norm(fine, outlines, 1, rng), ReLU())
        self.decoder = Sequential(
            *conv_norm(channels + outlines, channels, 3, rng, separable=True),
            ReLU(),
            *conv_norm(channels, channels, 3, rng, separable=True),
            ReLU(),
        )
        self.head = Conv2d(channels, num_classes, 1, rng=rng)

    def logits(self, x: Tensor) -> Tensor:
        fine, deep = self.encoder(x)  # (N, b, H/4, W/4), (N, c, H/8, W/8)
        context = resized_like(self.aspp(deep), fine)  # (N, C, H/4, W/4)
        y = self.decoder(concatenate([context, self.reduce(fine)], dim=1))
        return resized_like(self.head(y), x)  # (N, K, H, W)
