"""FCN: a classification network whose every layer is a convolution, and the scores of finer maps added to its coarse ones.

J. Long, E. Shelhamer, T. Darrell: Fully Convolutional Networks for Semantic Segmentation. CVPR 2015, 3431-3440.

    x -- stage1 -- stage2 -- stage3 -- stage4 -- stage5 -- fc6 -- fc7 -- score     (1/32 of the resolution)
                               |         |                                 |
                               |       score ------------------- + -- up --'       (1/16: FCN-16s and 8s)
                             score ----------------- + --- up ---'                 (1/8: FCN-8s)
                                                     `------------------ up -- logits

    stage: two 3x3 convolutions, each with batch norm and ReLU, then 2x2 maxima; fc6: 3x3, fc7: 1x1; score: 1x1 to the classes;
    up: bilinear. Scores are added (W-20); U-Net concatenates features instead (ERR-43).

Where it departs from the paper
* Stages of 16 to 64 channels and fc6 and fc7 of 128, a laptop's size, where the paper turns VGG-16 (64 to 512, then 4096) and its
  weights into an FCN. Batch norm, which VGG-16 has not. fc6 has a 3x3 kernel, not 7x7.
* Convolutions are padded and images filled up with zeros to multiples of 32; the paper surrounds them with 100 pixels and crops.
* All enlarging is bilinear; the paper learns the two inner steps, which start as bilinear.
* No dropout, and the three versions are trained from scratch, not each from the one before.
"""

from collections.abc import Sequence

import numpy as np

from minseg.autograd import Tensor
from minseg.errors import ArgumentError
from minseg.models.blocks import Segmenter, add_coarse_to_fine, conv_norm_relu, positive, positives, resized_like, stage
from minseg.nn import Conv2d, MaxPool2d, ModuleList, Sequential

SCORED = {32: 1, 16: 2, 8: 3}
"""How many maps are scored, the coarsest first, for each stride of the finest one."""


class FCN(Segmenter):
    """The network of the picture above: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    Parameters
    ----------
    in_channels, num_classes : int
    stride : {8, 16, 32}
        Pixels between the finest scores: FCN-8s, 16s or 32s.
    widths : five integers
        Channels of each stage.
    hidden : int
        Channels of fc6 and fc7.
    seed : int
        Fixes the initial weights.

    >>> FCN(in_channels=1, num_classes=2).num_parameters()
    311126
    """

    multiple = 32

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        stride: int = 8,
        widths: Sequence[int] = (16, 32, 64, 64, 64),
        hidden: int = 128,
        seed: int = 0,
    ):
        super().__init__(in_channels, num_classes)
        if stride not in SCORED:
            raise ArgumentError(f"FCN: stride must be 8, 16 or 32, got {stride!r}")
        self.stride = stride
        self.widths = positives(widths, "FCN: widths", 5)
        self.hidden = positive(hidden, "FCN: hidden")
        rng = np.random.default_rng(seed)
        channels = (self.in_channels, *self.widths)
        self.stages = ModuleList(stage(i, o, 2, rng) for i, o in zip(channels, self.widths))
        self.pool = MaxPool2d(2)
        fc6 = conv_norm_relu(self.widths[-1], hidden, 3, rng)
        fc7 = conv_norm_relu(hidden, hidden, 1, rng)
        self.classifier = Sequential(fc6, fc7)
        scored = (hidden, self.widths[3], self.widths[2])[: SCORED[stride]]
        self.scores = ModuleList(Conv2d(width, self.num_classes, 1, rng=rng) for width in scored)

    def logits(self, x: Tensor) -> Tensor:
        maps, y = [], x
        for convolutions in self.stages:
            y = self.pool(convolutions(y))  # (N, c, h/2, w/2)
            maps.append(y)
        deep = [self.classifier(y), maps[3], maps[2]]  # 1/32, 1/16, 1/8
        y = add_coarse_to_fine([score(y) for score, y in zip(self.scores, deep)])  # (N, K, H/stride, W/stride)
        return resized_like(y, x)
