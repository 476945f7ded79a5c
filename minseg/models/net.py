"""Net, the classifier that D2 prints for segmentation, and what makes a segmenter of it.

    x -- conv 3x3, 16 -- pool -- conv 3x3, 32 -- pool -- fc 128 -- fc 64 -- fc K       Net: one row of scores an image
                                                         conv 8x8  1x1      1x1         NetFCN: a row of scores every 4 pixels
                                                                                       -- bilinear x4 -- logits

    a ReLU follows every layer but pooling and the last; pool: 2x2 maxima

What is repaired (``printed.Net`` has it as printed)
* ``flatten`` keeps the batch apart where ``view(-1, 8192)`` folds it (ERR-33), so a wrong size is refused and not misread.
* NetFCN gives every pixel a label (ERR-20, ERR-34): the fully connected layers become convolutions with the same weights.

Where it departs from the document: a quarter of the channels and at most a quarter of the hidden outputs, a laptop's size. With
``widths=(64, 128), hidden=(1024, 256)`` it is the document's, 96 % of whose 8.7 million parameters are in fc1.
"""

from collections.abc import Sequence

import numpy as np

from minseg import ops
from minseg.autograd import Tensor, flatten
from minseg.errors import ShapeError
from minseg.models.blocks import Network, SlidingClassifier, positives, with_weights_of
from minseg.nn import Conv2d, Linear, MaxPool2d

SIDES = range(32, 36)
"""Image sides whose map before the first fully connected layer is 8x8: the layer takes no other."""


class Net(Network):
    """D2's classifier: images (N, in_channels, H, W) of 32 to 35 pixels to scores (N, num_classes).

    Parameters
    ----------
    in_channels, num_classes : int
    widths : (int, int)
        Channels of the convolutions.
    hidden : (int, int)
        Outputs of the first two fully connected layers.
    seed : int
        Fixes the initial weights.

    >>> Net(in_channels=3, num_classes=10).num_parameters()
    276266
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (16, 32),
        hidden: Sequence[int] = (128, 64),
        seed: int = 0,
    ):
        super().__init__(in_channels, num_classes)
        self.widths = positives(widths, "Net: widths", 2)
        self.hidden = positives(hidden, "Net: hidden", 2)
        rng = np.random.default_rng(seed)
        self.conv1 = Conv2d(in_channels, self.widths[0], 3, padding=1, rng=rng)
        self.conv2 = Conv2d(*self.widths, 3, padding=1, rng=rng)
        self.pool = MaxPool2d(2)
        self.fc1 = Linear(self.widths[1] * 8 * 8, self.hidden[0], rng=rng)
        self.fc2 = Linear(*self.hidden, rng=rng)
        self.fc3 = Linear(self.hidden[1], num_classes, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        self.expect_images(x)
        if x.shape[2] not in SIDES or x.shape[3] not in SIDES:
            raise ShapeError(
                f"Net: sides must be 32 to 35 pixels, got {x.shape}; resize the images, or label every pixel with "
                "to_segmenter()"
            )
        x = self.pool(ops.relu(self.conv1(x)))  # (N, 16, 16, 16)
        x = self.pool(ops.relu(self.conv2(x)))  # (N, 32, 8, 8)
        x = flatten(x, 1)  # (N, 2048)
        x = ops.relu(self.fc1(x))  # (N, 128)
        x = ops.relu(self.fc2(x))  # (N, 64)
        return self.fc3(x)  # (N, K)

    def to_segmenter(self) -> "NetFCN":
        """The same weights as a segmenter; later changes of one do not reach the other.

        >>> Net(3, 10).to_segmenter().fc1
        Conv2d(32, 128, kernel_size=(8, 8), stride=(1, 1))
        """
        return with_weights_of(self, NetFCN(self.in_channels, self.num_classes, self.widths, self.hidden))


class NetFCN(SlidingClassifier):
    """Net without ``flatten``: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    It looks at windows of 32 pixels, 4 apart. Its parameters have the names of Net's, and its options are the same. Net pads its
    convolutions with zeros at the border of the window; here the neighbouring pixels are seen there, unless the image ends.

    >>> NetFCN(in_channels=3, num_classes=10).num_parameters()
    276266
    """

    window, stride = 32, 4

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (16, 32),
        hidden: Sequence[int] = (128, 64),
        seed: int = 0,
    ):
        super().__init__(in_channels, num_classes)
        self.widths = positives(widths, "NetFCN: widths", 2)
        self.hidden = positives(hidden, "NetFCN: hidden", 2)
        rng = np.random.default_rng(seed)
        self.conv1 = Conv2d(in_channels, self.widths[0], 3, padding=1, rng=rng)
        self.conv2 = Conv2d(*self.widths, 3, padding=1, rng=rng)
        self.pool = MaxPool2d(2)
        self.fc1 = Conv2d(self.widths[1], self.hidden[0], 8, rng=rng)
        self.fc2 = Conv2d(*self.hidden, 1, rng=rng)
        self.fc3 = Conv2d(self.hidden[1], num_classes, 1, rng=rng)

    def scores(self, x: Tensor) -> Tensor:
        """Net's scores (N, num_classes, (H-32)//4 + 1, (W-32)//4 + 1) of every window of 32 pixels, 4 apart."""
        x = self.pool(ops.relu(self.conv1(x)))
        x = self.pool(ops.relu(self.conv2(x)))
        x = ops.relu(self.fc1(x))
        x = ops.relu(self.fc2(x))
        return self.fc3(x)
