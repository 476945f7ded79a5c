"""ResNet with residual connections, which D4 describes and its code leaves out (ERR-45), and a segmenter on top of it.

K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition. CVPR 2016, 770-778.

    x -- conv 3x3, 16 -- layer1: 2 blocks of 16 -- layer2: 2 of 32 -- layer3: 2 of 64 -- mean of the map -- fc K        ResNet
                                |                        |                    |
                              1x1, 32                  1x1, 32              1x1, 32
                                |                        |                    |
              logits -- 1x1 -- 3x3 --------- + -- up ----+--------- up -------'                                       ResNetSeg

    block:  x --+-- conv 3x3 -- norm -- ReLU -- conv 3x3 -- norm -- + -- ReLU      (res.identity)
                `---------- x, or conv 1x1 and norm ----------------'              (res.projection, where the shape changes)

    The first block of every layer but layer1 has stride 2. up: bilinear, to the size of the map that it is added to.

What is repaired (``printed.ResNet`` has D4's network as printed)
* Residual blocks, in which a strided projection shrinks the shortcut as well; D4's pooling inside a block cannot be added (ERR-19).
* The mean over the map before the fully connected layer: images of any size, where D4's refuses its own 32 pixels (ERR-46).

Where it departs from the paper
* A 3x3 kernel first, as the paper has it for images of 32 pixels, and narrower. ``RESNET18`` has the paper's 18 layers.
* ResNetSeg adds the maps of all layers from coarse to fine (1x1 convolutions make their channels equal), as feature pyramids do:
  T.-Y. Lin, P. Dollar, R. Girshick, K. He, B. Hariharan, S. Belongie: Feature Pyramid Networks for Object Detection. CVPR 2017.

Parameters have torchvision's names: the weights of ``torchvision.models.resnet18`` load into ``ResNet(3, 1000, **RESNET18)``.
"""

from collections.abc import Sequence

import numpy as np

from minseg import ops
from minseg.autograd import Tensor, flatten
from minseg.errors import ArgumentError
from minseg.models.blocks import (
    Network,
    Segmenter,
    add_coarse_to_fine,
    conv_norm_relu,
    positive,
    positives,
    resized_like,
)
from minseg.nn import BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, ModuleList, ReLU, Sequential, feed

RESNET18 = {"widths": (64, 128, 256, 512), "blocks": (2, 2, 2, 2), "stem": 7}
"""Options of the paper's smallest network for photographs: 11,689,512 parameters for 1000 classes."""


class BasicBlock(Module):
    """relu(shortcut(x) + branch(x)): (N, in_channels, H, W) to (N, out_channels, ceil(H/stride), ceil(W/stride)).

    The shortcut is x itself (``res.identity``); where stride or channels change the shape, a strided 1x1 convolution with batch
    norm (``res.projection``).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, rng: np.random.Generator | None = None):
        self.conv1 = Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False, rng=rng)
        self.bn1 = BatchNorm2d(out_channels)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1, bias=False, rng=rng)
        self.bn2 = BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            projection = Conv2d(in_channels, out_channels, 1, stride, bias=False, rng=rng)
            self.downsample = Sequential(projection, BatchNorm2d(out_channels))

    def branch(self, x: Tensor) -> Tensor:
        """F of the equations: twice a 3x3 convolution and batch norm, with a ReLU between."""
        return feed(x, self.conv1, self.bn1, ReLU(), self.conv2, self.bn2)

    def shortcut(self, x: Tensor) -> Tensor:
        """x, or its projection to the branch's shape."""
        return x if self.downsample is None else self.downsample(x)

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(self.shortcut(x) + self.branch(x))  # eq: res.identity, res.projection


class ResNet(Network):
    """The classifier: images (N, in_channels, H, W) of any size to scores (N, num_classes).

    Parameters
    ----------
    in_channels, num_classes : int
    widths : sequence of int
        Channels of each layer; all but the first halve the resolution.
    blocks : sequence of int, optional
        Residual blocks of each layer; two where left out.
    stem : {3, 7}
        3: a 3x3 convolution first, at full resolution. 7: a 7x7 convolution and a maximum, both of stride 2, for photographs.
    seed : int
        Fixes the initial weights.

    >>> ResNet(in_channels=3, num_classes=10).num_parameters()
    175258
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        blocks: Sequence[int] | None = None,
        stem: int = 3,
        seed: int = 0,
    ):
        super().__init__(in_channels, num_classes)
        self.widths = positives(widths, "ResNet: widths")
        self.blocks = positives(
            (2,) * len(self.widths) if blocks is None else blocks, "ResNet: blocks", len(self.widths)
        )
        if stem not in (3, 7):
            raise ArgumentError(f"ResNet: stem must be 3 (small images) or 7 (photographs), got {stem!r}")
        self.stem = stem
        rng = np.random.default_rng(seed)
        first = self.widths[0]
        self.conv1 = Conv2d(in_channels, first, stem, 1 if stem == 3 else 2, padding=stem // 2, bias=False, rng=rng)
        self.bn1 = BatchNorm2d(first)
        if stem == 7:
            self.maxpool = MaxPool2d(3, stride=2, padding=1)
        for number, (before, width, count) in enumerate(zip((first, *self.widths), self.widths, self.blocks), 1):
            layer = [BasicBlock(before, width, 1 if number == 1 else 2, rng=rng)]
            layer += [BasicBlock(width, width, rng=rng) for _ in range(count - 1)]
            setattr(self, f"layer{number}", Sequential(*layer))
        self.fc = Linear(self.widths[-1], num_classes, rng=rng)

    def features(self, x: Tensor) -> list[Tensor]:
        """The map after each layer, the finest first."""
        x = feed(x, self.conv1, self.bn1, ReLU())
        if self.stem == 7:
            x = self.maxpool(x)
        maps = []
        for number in range(1, len(self.widths) + 1):
            x = getattr(self, f"layer{number}")(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        self.expect_images(x)
        x = self.features(x)[-1]  # (N, 64, H/4, W/4)
        x = flatten(ops.global_avg_pool2d(x), 1)  # (N, 64)
        return self.fc(x)  # (N, K)


class ResNetSeg(Segmenter):
    """The segmenter: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    Parameters
    ----------
    in_channels, num_classes, widths, blocks, stem, seed
        As ResNet's, whose parameters it has under ``backbone``, except for the fully connected layer.
    pyramid : int
        Channels in which the maps of all layers are added.

    >>> ResNetSeg(in_channels=1, num_classes=2).num_parameters()
    187346
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        blocks: Sequence[int] | None = None,
        stem: int = 3,
        pyramid: int = 32,
        seed: int = 0,
    ):
        super().__init__(in_channels, num_classes)
        self.pyramid = positive(pyramid, "ResNetSeg: pyramid")
        self.backbone = ResNet(in_channels, num_classes, widths, blocks, stem, seed)
        del self.backbone.fc  # the head gives the scores
        self.widths = self.backbone.widths
        rng = np.random.default_rng((seed, 1))  # not the backbone's numbers again
        self.lateral = ModuleList(Conv2d(width, pyramid, 1, rng=rng) for width in self.widths)
        self.smooth = conv_norm_relu(pyramid, pyramid, 3, rng)
        self.head = Conv2d(pyramid, num_classes, 1, rng=rng)

    def logits(self, x: Tensor) -> Tensor:
        maps = self.backbone.features(x)  # (N, c, H/2^l, W/2^l)
        pyramid = [lateral(y) for lateral, y in zip(self.lateral, maps)]
        y = self.smooth(add_coarse_to_fine(pyramid[::-1]))  # the finest map's size: (N, pyramid, H, W)
        return resized_like(self.head(y), x)
