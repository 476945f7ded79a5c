"""VocCNN, the classifier that D3 prints for PASCAL VOC, with the size of image and the classes that PASCAL VOC needs.

    x -- conv 3x3, 32 -- pool -- conv 3x3, 64 -- pool -- mean of the map -- fc K       VocCNN: one row of scores an image
                                                      -- conv 1x1, K -- bilinear x4    VocCNNFCN: logits

    a ReLU follows both convolutions; pool: 2x2 maxima

What is repaired (``printed.CNN`` has it as printed)
* The mean over the map comes before the fully connected layer, which then fits images of any size: the document's 7x7 map
  belongs to digits of 28 pixels, and its 224 pixels were misread as 64 images (ERR-35, ERR-33).
* No ReLU cuts the scores (ERR-36), and their number is an argument: PASCAL VOC has 21 classes with the background (ERR-39).
* VocCNNFCN gives every pixel a label (ERR-20): a fully connected layer behind a mean is a 1x1 convolution before it.
"""

from collections.abc import Sequence

import numpy as np

from minseg import ops
from minseg.autograd import Tensor, flatten
from minseg.models.blocks import Network, SlidingClassifier, positives, with_weights_of
from minseg.nn import Conv2d, Linear, MaxPool2d


class VocCNN(Network):
    """D3's classifier: images (N, in_channels, H, W) of at least 4 pixels to scores (N, num_classes).

    Parameters
    ----------
    in_channels, num_classes : int
        3 and 21 for PASCAL VOC.
    widths : (int, int)
        Channels of the convolutions.
    seed : int
        Fixes the initial weights.

    >>> VocCNN(in_channels=3, num_classes=21).num_parameters()
    20757
    """

    def __init__(self, in_channels: int, num_classes: int, widths: Sequence[int] = (32, 64), seed: int = 0):
        super().__init__(in_channels, num_classes)
        self.widths = positives(widths, "VocCNN: widths", 2)
        rng = np.random.default_rng(seed)
        self.conv1 = Conv2d(in_channels, self.widths[0], 3, padding=1, rng=rng)
        self.pool = MaxPool2d(2)
        self.conv2 = Conv2d(*self.widths, 3, padding=1, rng=rng)
        self.fc = Linear(self.widths[1], num_classes, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        self.expect_images(x)
        x = self.pool(ops.relu(self.conv1(x)))  # (N, 32, H//2, W//2)
        x = self.pool(ops.relu(self.conv2(x)))  # (N, 64, H//4, W//4)
        x = flatten(ops.global_avg_pool2d(x), 1)  # (N, 64)
        return self.fc(x)  # (N, K)

    def to_segmenter(self) -> "VocCNNFCN":
        """The same weights as a segmenter; later changes of one do not reach the other.

        >>> VocCNN(3, 21).to_segmenter().fc
        Conv2d(64, 21, kernel_size=(1, 1), stride=(1, 1))
        """
        return with_weights_of(self, VocCNNFCN(self.in_channels, self.num_classes, self.widths))


class VocCNNFCN(SlidingClassifier):
    """VocCNN without the mean: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    Its parameters have the names of VocCNN's, and its options are the same. The mean of its ``scores`` is VocCNN's row of scores.

    >>> VocCNNFCN(in_channels=3, num_classes=21).num_parameters()
    20757
    """

    window, stride = 4, 4

    def __init__(self, in_channels: int, num_classes: int, widths: Sequence[int] = (32, 64), seed: int = 0):
        super().__init__(in_channels, num_classes)
        self.widths = positives(widths, "VocCNNFCN: widths", 2)
        rng = np.random.default_rng(seed)
        self.conv1 = Conv2d(in_channels, self.widths[0], 3, padding=1, rng=rng)
        self.pool = MaxPool2d(2)
        self.conv2 = Conv2d(*self.widths, 3, padding=1, rng=rng)
        self.fc = Conv2d(self.widths[1], num_classes, 1, rng=rng)

    def scores(self, x: Tensor) -> Tensor:
        """Scores (N, num_classes, H//4, W//4) of every cell of 4x4 pixels."""
        x = self.pool(ops.relu(self.conv1(x)))
        x = self.pool(ops.relu(self.conv2(x)))
        return self.fc(x)
