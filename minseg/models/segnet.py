"""SegNet: the decoder puts values back exactly where the encoder's pooling found its maxima, so outlines stay sharp.

V. Badrinarayanan, A. Kendall, R. Cipolla: SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation.
IEEE Transactions on Pattern Analysis and Machine Intelligence 39 (2017), 2481-2495.

    x -- stage 16 -- pool -- stage 32 -- pool -- stage 64 -- pool -- stage 64 -- pool
                       :                   :                   :                  |  indices of the maxima
                       :                   :                   :                unpool -- stage 64
                       :                   :                 unpool -- stage 32 --'
                       :                 unpool -- stage 16 --'
                     unpool -- stage 16 --'
                                   `-- 3x3 -- logits

    stage: two 3x3 convolutions, each with batch norm and ReLU; pool: 2x2 maxima; unpool:
    the values at the places of the maxima, zeros elsewhere (pool.unpool). No features cross, only places;
    where ReLU leaves nothing but zeros in a window, the first counts as the maximum

Where it departs from the paper
* Four stages of two convolutions and 16 to 64 channels by default, a laptop's size; the paper takes the 13 convolutions of VGG-16.
* Images of any size: they are filled up with zeros to multiples of 16, and the logits are cropped.
* Logits; the softmax is part of the loss.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from minseg.autograd import Tensor
from minseg.models.blocks import Segmenter, positive, positives, stage
from minseg.nn import Conv2d, MaxPool2d, MaxUnpool2d, ModuleList


class SegNet(Segmenter):
    """The network of the picture above: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    Parameters
    ----------
    in_channels, num_classes : int
    widths : sequence of int
        Channels of each stage of the encoder; the decoder mirrors them.
    depth : int
        Convolutions of each stage.
    seed : int
        Fixes the initial weights.

    >>> SegNet(in_channels=1, num_classes=2).num_parameters()
    259698
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64, 64),
        depth: int = 2,
        seed: int = 0,
    ):
        super().__init__(in_channels, num_classes)
        self.widths = positives(widths, "SegNet: widths")
        self.depth = positive(depth, "SegNet: depth")
        self.multiple = 2 ** len(self.widths)
        rng = np.random.default_rng(seed)
        channels = (self.in_channels, *self.widths)
        self.encoder = ModuleList(stage(i, o, depth, rng) for i, o in zip(channels, self.widths))
        self.pool = MaxPool2d(2, return_indices=True)
        self.unpool = MaxUnpool2d(2)
        backwards = (*self.widths[::-1], self.widths[0])
        self.decoder = ModuleList(stage(i, o, depth, rng) for i, o in pairwise(backwards))
        self.head = Conv2d(self.widths[0], self.num_classes, 3, padding=1, rng=rng)

    def logits(self, x: Tensor) -> Tensor:
        places = []
        for convolutions in self.encoder:
            x, indices = self.pool(convolutions(x))  # (N, c, h/2, w/2)
            places.append(indices)
        for convolutions, indices in zip(self.decoder, reversed(places)):
            x = convolutions(self.unpool(x, indices))  # (N, c', 2h', 2w')
        return self.head(x)
