"""A segmenter of Inception blocks, which look at every place with several kernel sizes at once.

C. Szegedy, W. Liu, Y. Jia, P. Sermanet, S. Reed, D. Anguelov, D. Erhan, V. Vanhoucke, A. Rabinovich: Going Deeper with
Convolutions. CVPR 2015, 1-9.

    x -- conv 3x3, 32 -- block 32 -- pool -- block 64 -- pool -- block 128
                            |                   |                   |
                          score                score              score
                            |                   |                   |
           logits --------- + ------- up ------ + ------- up -------'

                 ,-- 1x1 -------------------- .
    block:  x --+--- 1x1 -- 3x3 -------------- +-- concat      (res.inception)
                +--- 1x1 -- 5x5 -------------- +
                 `-- 3x3 maxima, stride 1 -- 1x1'

    Each convolution has batch norm and ReLU; pool: 2x2 maxima; score: 1x1 to the classes; up: bilinear

Where it departs from the paper, which classifies
* The maps of all resolutions are scored and added, as in FCN.
* Each branch makes a quarter of the block's channels, and its 1x1 convolution before a larger kernel as many; the paper tunes each.
* Three blocks, a laptop's size, where the paper has nine; batch norm, which came later; no auxiliary classifiers.
* Any image size: filled up with zeros to multiples of 2^(blocks - 1), and the logits cropped.
"""

from collections.abc import Sequence

import numpy as np

from minseg.autograd import Tensor, concatenate
from minseg.errors import ArgumentError
from minseg.models.blocks import Segmenter, add_coarse_to_fine, conv_norm_relu, positives
from minseg.nn import Conv2d, MaxPool2d, Module, ModuleList, Sequential


class InceptionBlock(Module):
    """Four branches side by side: (N, in_channels, H, W) to (N, sum of the branches' channels, H, W).

    Parameters
    ----------
    in_channels : int
    branches : four integers
        Channels of the 1x1, the 3x3, the 5x5 and the pooled branch. The 3x3 and the 5x5 kernels see as many channels as they make.
    """

    def __init__(self, in_channels: int, branches: Sequence[int], *, rng: np.random.Generator | None = None):
        one, three, five, pooled = positives(branches, "InceptionBlock: branches", 4)
        rng = np.random.default_rng() if rng is None else rng
        self.branch1 = conv_norm_relu(in_channels, one, 1, rng)
        self.branch3 = Sequential(conv_norm_relu(in_channels, three, 1, rng), conv_norm_relu(three, three, 3, rng))
        self.branch5 = Sequential(conv_norm_relu(in_channels, five, 1, rng), conv_norm_relu(five, five, 5, rng))
        self.branch_pool = Sequential(MaxPool2d(3, stride=1, padding=1), conv_norm_relu(in_channels, pooled, 1, rng))

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.branch1, self.branch3, self.branch5, self.branch_pool]
        return concatenate([branch(x) for branch in branches], dim=1)  # eq: res.inception


class InceptionSeg(Segmenter):
    """The network of the picture above: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    Parameters
    ----------
    in_channels, num_classes : int
    widths : sequence of int
        Channels of each block, the finest first: multiples of 4, since each of the four branches makes a quarter.
    seed : int
        Fixes the initial weights.

    >>> InceptionSeg(in_channels=1, num_classes=2).num_parameters()
    58438
    """

    def __init__(self, in_channels: int, num_classes: int, widths: Sequence[int] = (32, 64, 128), seed: int = 0):
        super().__init__(in_channels, num_classes)
        self.widths = positives(widths, "InceptionSeg: widths")
        if any(width % 4 for width in self.widths):
            raise ArgumentError(f"InceptionSeg: widths must be multiples of 4, a quarter a branch, got {self.widths}")
        self.multiple = 2 ** (len(self.widths) - 1)
        rng = np.random.default_rng(seed)
        self.stem = conv_norm_relu(in_channels, self.widths[0], 3, rng)
        channels = (self.widths[0], *self.widths)
        self.blocks = ModuleList(InceptionBlock(i, (o // 4,) * 4, rng=rng) for i, o in zip(channels, self.widths))
        self.pool = MaxPool2d(2)
        self.scores = ModuleList(Conv2d(width, self.num_classes, 1, rng=rng) for width in self.widths)

    def logits(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        maps = []
        for level, block in enumerate(self.blocks):
            x = block(x if level == 0 else self.pool(x))  # (N, c, h, w), half as large from the second block on
            maps.append(x)
        return add_coarse_to_fine([score(y) for score, y in zip(self.scores, maps)][::-1])
