"""The embedded Earth: a satellite picture of the land and what covers it, split into blocks of 16 degrees.

Both pictures have 15 pixels a degree, so a block has 240 x 240 pixels. Tiles are 80 x 80: nine fill a block exactly,
none crosses into another block, and no pixel is left out or counted twice (64 does not divide 240). Training crops
64 x 64 windows out of tiles.

Blocks run from 60 N to 52 S (further north seasonal snow contradicts the labels, further south there is little land and
no room for a block) and from 172 W eastwards to 180 E (the eight degrees left over are nearly all sea). A fifth of them
is held out, each a knight's move from the next, so that every row and column of blocks is represented and no two touch.
Of the five such patterns the one whose shares of classes are closest to the training blocks' was taken.
"""

import numpy as np

from minseg.data.dataset import ArrayDataset, Baseline, SegmentationData
from minseg.data.images import IGNORE
from minseg.data.resources import embedded
from minseg.errors import ArgumentError
from minseg.metrics import ConfusionMatrix

CLASSES = ("water", "trees", "open vegetation", "arid")
WATER = 0
BLOCK, TILE = 240, 80  # pixels
DEGREES = BLOCK // 15
ROWS, COLUMNS = 7, 22  # of blocks
TOP, LEFT = (90 - 60) * 15, (180 - 172) * 15  # the pixel at 60 N, 172 W


class Earth(SegmentationData):
    """See ``open_data``. Samples are the tiles of which more than a quarter is land."""

    def __init__(self):
        self.image = embedded("earth_bluemarble.jpg")
        self.mask = embedded("earth_landcover4.png")
        blocks = [(row, column) for row in range(ROWS) for column in range(COLUMNS)]
        self.held_out_blocks = [block for block in blocks if is_held_out(*block)]
        training_blocks = [block for block in blocks if not is_held_out(*block)]
        super().__init__("earth", self._tiles(training_blocks), self._tiles(self.held_out_blocks), CLASSES, crop=64)

    def region(self, index: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """A whole held-out block, 240 x 240; index 0 has the most even mixture of classes (from the Aegean to the Nile)."""
        if not 0 <= index < len(self.held_out_blocks):
            raise ArgumentError(f"region: index must be 0 to {len(self.held_out_blocks) - 1}, got {index}")
        mixed = sorted(self.held_out_blocks, key=lambda block: -_entropy(self.mask[_window(*block)]))
        window = _window(*mixed[index])
        return self.image[window], self.mask[window]

    def baseline(self) -> Baseline:
        """Each pixel's colour alone: the most frequent class of that colour in the training tiles."""
        table = colour_table(
            np.concatenate([image.reshape(-1, 3) for image in self.train.images]),
            np.concatenate([mask.ravel() for mask in self.train.masks]),
        )
        confusion = ConfusionMatrix(len(CLASSES))
        for image, mask in zip(self.val.images, self.val.masks, strict=True):
            confusion.update(table[tuple(np.moveaxis(image >> 1, -1, 0))], mask)
        return Baseline(
            "colour only",
            confusion,
            "the most frequent class of each colour in the training tiles; rare colours answer like their neighbours",
        )

    def _tiles(self, blocks: list[tuple[int, int]]) -> ArrayDataset:
        images, masks, names = [], [], []
        for row, column in blocks:
            for top in range(0, BLOCK, TILE):
                for left in range(0, BLOCK, TILE):
                    tile = np.s_[top : top + TILE, left : left + TILE]
                    mask = self.mask[_window(row, column)][tile]
                    if ((mask != WATER) & (mask != IGNORE)).mean() > 0.25:
                        images.append(self.image[_window(row, column)][tile])
                        masks.append(mask)
                        names.append(f"earth, block of {place(row, column)}, tile at row {top}, column {left}")
        return ArrayDataset(images, masks, names)


def is_held_out(row: int, column: int) -> bool:
    """Whether a block is held out: a knight's-move pattern, one block in five."""
    return (2 * row + column) % 5 == 4


def place(row: int, column: int) -> str:
    """The north-west corner of a block.

    >>> place(1, 12)
    '44 N 20 E'
    """
    north, east = 60 - DEGREES * row, DEGREES * column - 172
    return f"{abs(north)} {'N' if north >= 0 else 'S'} {abs(east)} {'E' if east >= 0 else 'W'}"


def colour_table(colours: np.ndarray, labels: np.ndarray, trust: float = 100.0) -> np.ndarray:
    """The likeliest class of each colour, as a (128, 128, 128) table that is read at ``colour >> 1``.

    From coarse bins of colour to fine ones, each bin's shares of classes are its own pixels' plus ``trust`` pixels with the
    shares of the coarser bin around it. So a bin that was seldom or never seen answers like its neighbours.
    """
    known = labels != IGNORE
    colours, labels = colours[known], labels[known].astype(np.int64)
    classes = len(CLASSES)
    shares = np.full((1, 1, 1, classes), 1 / classes, np.float32)
    for shift in (5, 4, 3, 2, 1):
        bins = 256 >> shift
        r, g, b = (colours >> shift).astype(np.int64).T
        counts = np.bincount(((r * bins + g) * bins + b) * classes + labels, minlength=bins**3 * classes)
        counts = counts.reshape(bins, bins, bins, classes).astype(np.float32)
        coarser = shares
        for axis in range(3):
            coarser = coarser.repeat(bins // shares.shape[axis], axis)
        shares = (counts + trust * coarser) / (counts.sum(-1, keepdims=True) + trust)
    return shares.argmax(-1).astype(np.uint8)


def _window(row: int, column: int):
    top, left = TOP + BLOCK * row, LEFT + BLOCK * column
    return np.s_[top : top + BLOCK, left : left + BLOCK]


def _entropy(mask: np.ndarray) -> float:
    shares = np.bincount(mask[mask != IGNORE], minlength=len(CLASSES)) / mask.size
    return float(-(shares * np.log(np.maximum(shares, 1e-12))).sum())
