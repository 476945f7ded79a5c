"""EncoderDecoder, the only network of the documents (D5) whose output is an image.

    x -- conv 3x3, 32 -- pool -- conv 3x3, 64 -- pool -- up, 32 -- up, K -- logits

    a ReLU follows every layer but pooling and the last; pool: 2x2 maxima; up: transposed convolution, kernel 4, stride 2, padding 1

What is repaired (``printed.SegmentationNetwork`` has it as printed)
* ``output_padding=0``, so that each transposed convolution makes 2n rows of n, and not 2n+1 (ERR-51); images whose sides 4 does
  not divide are filled up with zeros, and the logits cropped.
* One channel a class, where the document has three, as a picture has (ERR-52).
* Logits, without the softmax that the document's text puts before a loss that has its own (ERR-28).

The document describes a decoder with attention and builds none (ERR-53).

Where it departs from the document: half of the channels, a laptop's size; ``widths=(64, 128)`` has the document's.
"""

from collections.abc import Sequence

import numpy as np

from minseg.autograd import Tensor
from minseg.models.blocks import Segmenter, positives
from minseg.nn import Conv2d, ConvTranspose2d, MaxPool2d, ReLU, Sequential


class EncoderDecoder(Segmenter):
    """The network of the picture above: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    Parameters
    ----------
    in_channels, num_classes : int
    widths : (int, int)
        Channels at full and at half of the resolution.
    seed : int
        Fixes the initial weights.

    >>> EncoderDecoder(in_channels=3, num_classes=3, widths=(64, 128)).num_parameters()
    209859
    """

    multiple = 4

    def __init__(self, in_channels: int, num_classes: int, widths: Sequence[int] = (32, 64), seed: int = 0):
        super().__init__(in_channels, num_classes)
        self.widths = fine, coarse = positives(widths, "EncoderDecoder: widths", 2)
        rng = np.random.default_rng(seed)
        self.encoder = Sequential(
            Conv2d(in_channels, fine, 3, padding=1, rng=rng),
            ReLU(),
            MaxPool2d(2),
            Conv2d(fine, coarse, 3, padding=1, rng=rng),
            ReLU(),
            MaxPool2d(2),
        )
        self.decoder = Sequential(
            ConvTranspose2d(coarse, fine, 4, stride=2, padding=1, rng=rng),
            ReLU(),
            ConvTranspose2d(fine, num_classes, 4, stride=2, padding=1, rng=rng),
        )

    def logits(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))
