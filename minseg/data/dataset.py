"""Data sets: pairs of a raw image (H, W, C) and its mask (H, W), in memory or in files; and what comes with them."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from minseg.data.images import read_pair
from minseg.data.preprocess import Preprocess
from minseg.metrics import ConfusionMatrix

SAMPLED_IMAGES = 100
"""At most this many training images are read to measure mean and standard deviation."""


class Dataset(Protocol):
    """What a loader needs. A data set may also have ``name(i)``, which errors use to say which sample is meant."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]: ...


def sample_name(dataset: Dataset, i: int) -> str:
    """How errors call a sample."""
    return dataset.name(i) if hasattr(dataset, "name") else f"sample {i}"


class ArrayDataset:
    """Images and masks that are in memory already."""

    def __init__(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray], names: Sequence[str]):
        self.images, self.masks, self.names = images, masks, names

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        return self.images[i], self.masks[i]

    def name(self, i: int) -> str:
        return self.names[i]


class FileDataset:
    """Images and masks in files, read when asked for and kept while they fit into ``cache_bytes``.

    Decoding a JPEG costs more than a training step can spare, each epoch anew. Any thread may read; the arrays are
    read-only, as they are shared.
    """

    def __init__(
        self, pairs: Sequence[tuple[Path, Path]], num_classes: int, binary: bool = False, cache_bytes: int = 256 << 20
    ):
        self.pairs = list(pairs)
        self.num_classes = num_classes
        self.binary = binary
        self.cache_bytes = cache_bytes
        self._kept: OrderedDict[tuple[Path, Path], tuple[np.ndarray, np.ndarray]] = OrderedDict()  # oldest use first
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, i: int) -> str:
        return f"image {self.pairs[i][0]}"

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        pair = self.pairs[i]
        with self._lock:
            if pair in self._kept:
                self._kept.move_to_end(pair)
                return self._kept[pair]
        sample = read_pair(*pair, self.num_classes, self.binary)
        for array in sample:
            array.setflags(write=False)
        self._keep(pair, sample)
        return sample

    def _keep(self, pair: tuple[Path, Path], sample: tuple[np.ndarray, np.ndarray]) -> None:
        with self._lock:
            if pair not in self._kept:
                self._kept[pair] = sample
                self._kept_bytes += _size(sample)
            while self._kept_bytes > self.cache_bytes:
                self._kept_bytes -= _size(self._kept.popitem(last=False)[1])


def _size(sample: tuple[np.ndarray, np.ndarray]) -> int:
    return sum(array.nbytes for array in sample)


@dataclass(frozen=True)
class Baseline:
    """What a simple method without a network reaches on the held-out data: the least that a network has to beat."""

    name: str
    confusion: ConfusionMatrix
    note: str = ""
    """How it was made, in a sentence."""


class SegmentationData:
    """Training and held-out data of one task.

    Attributes
    ----------
    name : str
        As given to ``open_data``.
    train, val : Dataset
    class_names : tuple of str
    crop : int or None
        The side of the square windows to train on; None means whole images.
    """

    def __init__(
        self,
        name: str,
        train: Dataset,
        val: Dataset,
        class_names: Sequence[str],
        crop: int | None = None,
        log_gain: float | None = None,
    ):
        self.name = name
        self.train, self.val = train, val
        self.class_names = tuple(class_names)
        self._crop, self._log_gain = crop, log_gain

    def __repr__(self) -> str:
        return (
            f"<SegmentationData {self.name}: {len(self.train)} for training, {len(self.val)} held out, "
            f"classes {', '.join(self.class_names)}>"
        )

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def crop(self) -> int | None:
        return self._crop

    @cached_property
    def preprocess(self) -> Preprocess:
        """Measured on the training data when first asked for; on an even sample of it where it is large."""
        sampled = spread(len(self.train), SAMPLED_IMAGES)
        return Preprocess.fit((self.train[i][0] for i in sampled), self._log_gain)

    @property
    def in_channels(self) -> int:
        return self.preprocess.channels

    def region(self, index: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """A held-out image and mask worth looking at, raw and whole: the one to end a training with."""
        return self.val[index]

    def baseline(self) -> Baseline | None:
        """The scores of a simple method on the held-out data, where this data set has one."""
        return None


def spread(n: int, most: int) -> list[int]:
    """At most ``most`` indices, evenly spread over range(n).

    >>> spread(3, 5), spread(10, 4)
    ([0, 1, 2], [0, 2, 5, 7])
    """
    return [i * n // min(n, most) for i in range(min(n, most))]
