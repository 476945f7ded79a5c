"""ConvNet, the small classifier that D1 prints for segmentation, and what makes a segmenter of it.

The shape is LeNet-5's: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition.
Proceedings of the IEEE 86 (1998), 2278-2324.

    x -- conv 5x5, 6 -- pool -- conv 5x5, 16 -- pool -- fc 120 -- fc 84 -- fc K        ConvNet: one row of scores an image
                                                        conv 5x5  1x1     1x1          ConvNetFCN: a row of scores every 4 pixels
                                                                                       -- bilinear x4 -- logits

    a ReLU follows every layer but pooling and the last; pool: 2x2 maxima

What is repaired (``printed.ConvNet`` has it as printed)
* ``flatten`` keeps the batch apart where ``view(-1, 400)`` folds it (ERR-33), so a wrong size is refused and not misread.
* ConvNetFCN gives every pixel a label (ERR-20, ERR-34): the fully connected layers become convolutions with the same weights.
"""

from collections.abc import Sequence

import numpy as np

from minseg import ops
from minseg.autograd import Tensor, flatten
from minseg.errors import ShapeError
from minseg.models.blocks import Network, SlidingClassifier, positives, with_weights_of
from minseg.nn import Conv2d, Linear, MaxPool2d

SIDES = range(32, 36)
"""Image sides whose map before the first fully connected layer is 5x5: the layer takes no other."""


class ConvNet(Network):
    """D1's classifier: images (N, in_channels, H, W) of 32 to 35 pixels to scores (N, num_classes).

    Parameters
    ----------
    in_channels, num_classes : int
    widths : (int, int)
        Channels of the convolutions.
    hidden : (int, int)
        Outputs of the first two fully connected layers.
    seed : int
        Fixes the initial weights.

    >>> ConvNet(in_channels=3, num_classes=10).num_parameters()
    62006
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (6, 16),
        hidden: Sequence[int] = (120, 84),
        seed: int = 0,
    ):
        super().__init__(in_channels, num_classes)
        self.widths = positives(widths, "ConvNet: widths", 2)
        self.hidden = positives(hidden, "ConvNet: hidden", 2)
        rng = np.random.default_rng(seed)
        self.conv1 = Conv2d(in_channels, self.widths[0], 5, rng=rng)
        self.pool = MaxPool2d(2)
        self.conv2 = Conv2d(*self.widths, 5, rng=rng)
        self.fc1 = Linear(self.widths[1] * 5 * 5, self.hidden[0], rng=rng)
        self.fc2 = Linear(*self.hidden, rng=rng)
        self.fc3 = Linear(self.hidden[1], num_classes, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        self.expect_images(x)
        if x.shape[2] not in SIDES or x.shape[3] not in SIDES:
            raise ShapeError(
                f"ConvNet: sides must be 32 to 35 pixels, got {x.shape}; resize the images, or label every pixel with "
                "to_segmenter()"
            )
        x = self.pool(ops.relu(self.conv1(x)))  # (N, 6, 14, 14)
        x = self.pool(ops.relu(self.conv2(x)))  # (N, 16, 5, 5)
        x = flatten(x, 1)  # (N, 400)
        x = ops.relu(self.fc1(x))  # (N, 120)
        x = ops.relu(self.fc2(x))  # (N, 84)
        return self.fc3(x)  # (N, K)

    def to_segmenter(self) -> "ConvNetFCN":
        """The same weights as a segmenter; later changes of one do not reach the other.

        >>> ConvNet(3, 10).to_segmenter().fc1
        Conv2d(16, 120, kernel_size=(5, 5), stride=(1, 1))
        """
        return with_weights_of(self, ConvNetFCN(self.in_channels, self.num_classes, self.widths, self.hidden))


class ConvNetFCN(SlidingClassifier):
    """ConvNet without ``flatten``: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    It looks at windows of 32 pixels, 4 apart. Its parameters have the names of ConvNet's, and its options are the same.

    >>> ConvNetFCN(in_channels=3, num_classes=10).num_parameters()
    62006
    """

    window, stride = 32, 4

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (6, 16),
        hidden: Sequence[int] = (120, 84),
        seed: int = 0,
    ):
        super().__init__(in_channels, num_classes)
        self.widths = positives(widths, "ConvNetFCN: widths", 2)
        self.hidden = positives(hidden, "ConvNetFCN: hidden", 2)
        rng = np.random.default_rng(seed)
        self.conv1 = Conv2d(in_channels, self.widths[0], 5, rng=rng)
        self.pool = MaxPool2d(2)
        self.conv2 = Conv2d(*self.widths, 5, rng=rng)
        self.fc1 = Conv2d(self.widths[1], self.hidden[0], 5, rng=rng)
        self.fc2 = Conv2d(*self.hidden, 1, rng=rng)
        self.fc3 = Conv2d(self.hidden[1], num_classes, 1, rng=rng)

    def scores(self, x: Tensor) -> Tensor:
        """ConvNet's scores (N, num_classes, (H-32)//4 + 1, (W-32)//4 + 1) of every window of 32 pixels, 4 apart."""
        x = self.pool(ops.relu(self.conv1(x)))
        x = self.pool(ops.relu(self.conv2(x)))
        x = ops.relu(self.fc1(x))
        x = ops.relu(self.fc2(x))
        return self.fc3(x)
