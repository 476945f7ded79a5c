"""U-Net: an encoder that sees ever more of the image at ever lower resolution, and a decoder that finds the outlines again.

O. Ronneberger, P. Fischer, T. Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation. MICCAI 2015, 234-241.

    x -- double 16 ------------------------ skip ------------------------ concat, double 16 -- 1x1 -- logits
            \\ pool                                                      / up
             double 32 ------------------- skip ----------- concat, double 32
                \\ pool                                    / up
                 double 64 --------- skip --- concat, double 64
                    \\ pool                 / up
                     double 128 -----------

    double c: twice a 3x3 convolution to c channels, batch norm, ReLU
    pool: 2x2 maxima; up: 2x2 transposed convolution; concat: the skip's channels first (W-20, ERR-43)

Where it departs from the paper
* Convolutions are padded, so logits have the image's size; the paper loses a border of 92 pixels on each side and crops the skips.
* Batch norm (invented in the same year) after each convolution, which then needs no bias.
* Four levels of 16 to 128 channels by default, a laptop's size: 0.48 million parameters. The paper: five of 64 to 1024, 31 million.
* No dropout at the bottom and no weighting of pixels near borders between cells.
* Any image size: the image is padded with zeros below and at the right to a multiple of 2^(levels - 1), and the logits are cropped.
"""

from collections.abc import Sequence

import numpy as np

from minseg.autograd import Tensor, concatenate
from minseg.models.blocks import Segmenter, positives
from minseg.nn import BatchNorm2d, Conv2d, ConvTranspose2d, MaxPool2d, ModuleList, ReLU, Sequential


class DoubleConv(Sequential):
    """Twice: 3x3 convolution without bias, batch norm, ReLU. (N, in_channels, H, W) to (N, out_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, rng: np.random.Generator):
        super().__init__(
            Conv2d(in_channels, out_channels, 3, padding=1, bias=False, rng=rng),
            BatchNorm2d(out_channels),
            ReLU(),
            Conv2d(out_channels, out_channels, 3, padding=1, bias=False, rng=rng),
            BatchNorm2d(out_channels),
            ReLU(),
        )


class UNet(Segmenter):
    """The network of the picture above: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    Parameters
    ----------
    in_channels, num_classes : int
    widths : sequence of int
        Channels of each level, the finest first. One level is a plain network without pooling.
    seed : int
        Fixes the initial weights.

    >>> model = UNet(in_channels=1, num_classes=2)
    >>> model.num_parameters()
    482466
    """

    def __init__(self, in_channels: int, num_classes: int, widths: Sequence[int] = (16, 32, 64, 128), seed: int = 0):
        super().__init__(in_channels, num_classes)
        self.widths = positives(widths, "UNet: widths")
        self.multiple = 2 ** (len(self.widths) - 1)
        rng = np.random.default_rng(seed)
        before = (self.in_channels, *self.widths)  # channels that come into each level
        self.encoder = ModuleList(DoubleConv(i, o, rng) for i, o in zip(before, self.widths))
        self.pool = MaxPool2d(2)
        coarse_to_fine = list(zip(self.widths[:0:-1], self.widths[-2::-1]))
        self.up = ModuleList(ConvTranspose2d(coarse, fine, 2, stride=2, rng=rng) for coarse, fine in coarse_to_fine)
        self.decoder = ModuleList(DoubleConv(2 * fine, fine, rng) for _, fine in coarse_to_fine)
        self.head = Conv2d(self.widths[0], self.num_classes, 1, rng=rng)

    def logits(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes, h, w) of images (N, in_channels, h, w) that can be halved at every level."""
        skips = []
        for block in self.encoder[:-1]:
            x = block(x)  # (N, c, h, w)
            skips.append(x)
            x = self.pool(x)  # (N, c, h/2, w/2)
        x = self.encoder[-1](x)  # (N, widths[-1], h/multiple, w/multiple)
        for up, block in zip(self.up, self.decoder):
            x = up(x)  # (N, c, 2h', 2w'): the skip's size
            x = concatenate([skips.pop(), x], dim=1)  # (N, 2c, 2h', 2w'); the skip itself is needed no more
            x = block(x)  # (N, c, 2h', 2w')
        return self.head(x)  # (N, K, h, w)
