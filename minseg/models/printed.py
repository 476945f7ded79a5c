"""The networks of the documents exactly as they are printed, with every mistake: to be studied, not used.

The only repair is the import that the documents forget (ERR-31), without which nothing runs. ``minseg.testing.witnesses`` proves
what each shows; the versions that work stand beside this file.

    network              document  parameters  takes         what it shows
    ConvNet              D1 4          62,006  32 to 35 px   a classifier of ten classes, not a segmenter (ERR-20, ERR-34);
                                               ``view(-1, c)`` folds the batch of larger images (ERR-33)
    Net                  D2 4       8,730,250  32 to 35 px   the same; 96 % of its parameters are in fc1
    CNN                  D3 4          50,762  28 to 31 px   made for digits: with the document's own 224 px each image becomes
                                               64 rows (ERR-35); ReLU cuts its logits (ERR-36); 10 classes for 21 (ERR-39)
    ResNet               D4 4.1       644,234  8 to 15 px    no residual connection (ERR-45); a fully connected layer that
                                               refuses the document's own 32 px (ERR-46)
    SegmentationNetwork  D5 4         209,859  4 px and up   4 floor(H/4) + 3 rows for H (ERR-51); three channels, as of a
                                               picture, where classes belong (ERR-52); no attention, no softmax (ERR-53)

D4's second network, for TensorFlow, is not here: its class cannot be defined (ERR-49).
"""

import numpy as np

from minseg import ops
from minseg.autograd import Tensor, flatten
from minseg.nn import Conv2d, ConvTranspose2d, Linear, MaxPool2d, Module, ReLU, Sequential


class ConvNet(Module):
    """D1, section 4: images (N, 3, H, W) to 10 scores for each 400 numbers of the feature map, whatever image they are of.

    >>> ConvNet().num_parameters()
    62006
    """

    def __init__(self, rng: np.random.Generator | None = None):
        self.conv1 = Conv2d(3, 6, 5, rng=rng)
        self.pool = MaxPool2d(2, 2)
        self.conv2 = Conv2d(6, 16, 5, rng=rng)
        self.fc1 = Linear(16 * 5 * 5, 120, rng=rng)
        self.fc2 = Linear(120, 84, rng=rng)
        self.fc3 = Linear(84, 10, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(ops.relu(self.conv1(x)))
        x = self.pool(ops.relu(self.conv2(x)))
        x = x.view(-1, 16 * 5 * 5)
        x = ops.relu(self.fc1(x))
        x = ops.relu(self.fc2(x))
        return self.fc3(x)


class Net(Module):
    """D2, section 4: images (N, 3, H, W) to 10 scores for each 8192 numbers of the feature map.

    >>> Net().num_parameters()
    8730250
    """

    def __init__(self, rng: np.random.Generator | None = None):
        self.conv1 = Conv2d(3, 64, 3, padding=1, rng=rng)
        self.conv2 = Conv2d(64, 128, 3, padding=1, rng=rng)
        self.pool = MaxPool2d(2, 2)
        self.fc1 = Linear(128 * 8 * 8, 1024, rng=rng)
        self.fc2 = Linear(1024, 256, rng=rng)
        self.fc3 = Linear(256, 10, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(ops.relu(self.conv1(x)))
        x = self.pool(ops.relu(self.conv2(x)))
        x = x.view(-1, 128 * 8 * 8)
        x = ops.relu(self.fc1(x))
        x = ops.relu(self.fc2(x))
        return self.fc3(x)


class CNN(Module):
    """D3, section 4: images (N, 3, H, W) to 10 scores, none of them negative, for each 3136 numbers of the feature map.

    >>> CNN().num_parameters()
    50762
    """

    def __init__(self, rng: np.random.Generator | None = None):
        self.conv1 = Conv2d(3, 32, 3, padding=1, rng=rng)
        self.pool = MaxPool2d(2, 2)
        self.conv2 = Conv2d(32, 64, 3, padding=1, rng=rng)
        self.fc = Linear(64 * 7 * 7, 10, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(ops.relu(self.conv1(x)))
        x = self.pool(ops.relu(self.conv2(x)))
        x = x.view(-1, 64 * 7 * 7)
        return ops.relu(self.fc(x))


class ResNet(Module):
    """D4, section 4.1: images (N, 3, H, W) of 8 to 15 pixels to 10 scores each, without any residual connection.

    >>> ResNet().num_parameters()
    644234
    """

    def __init__(self, rng: np.random.Generator | None = None):
        self.conv1 = Conv2d(3, 64, kernel_size=3, stride=1, padding=1, rng=rng)
        self.conv2 = Conv2d(64, 128, kernel_size=3, stride=1, padding=1, rng=rng)
        self.conv3 = Conv2d(128, 256, kernel_size=3, stride=1, padding=1, rng=rng)
        self.pool = MaxPool2d(kernel_size=2, stride=2)
        self.fc1 = Linear(256, 1024, rng=rng)
        self.fc2 = Linear(1024, 10, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(ops.relu(self.conv1(x)))
        x = self.pool(ops.relu(self.conv2(x)))
        x = self.pool(ops.relu(self.conv3(x)))
        x = flatten(x, 1)
        x = ops.relu(self.fc1(x))
        return self.fc2(x)


class SegmentationNetwork(Module):
    """D5, section 4: images (N, 3, H, W) to (N, 3, 4 floor(H/4) + 3, 4 floor(W/4) + 3).

    >>> SegmentationNetwork().num_parameters()
    209859
    """

    def __init__(self, rng: np.random.Generator | None = None):
        self.encoder = Sequential(
            Conv2d(3, 64, kernel_size=3, stride=1, padding=1, rng=rng),
            ReLU(),
            MaxPool2d(kernel_size=2, stride=2),
            Conv2d(64, 128, kernel_size=3, stride=1, padding=1, rng=rng),
            ReLU(),
            MaxPool2d(kernel_size=2, stride=2),
        )
        self.decoder = Sequential(
            ConvTranspose2d(128, 64, kernel_size=4, stride=2, padding=1, output_padding=1, rng=rng),
            ReLU(),
            ConvTranspose2d(64, 3, kernel_size=4, stride=2, padding=1, output_padding=1, rng=rng),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))
