"""Batches for training, each a pure function of the seed and the step: a resumed run sees what the uninterrupted one saw."""

import itertools
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from minseg.data.dataset import Dataset, sample_name
from minseg.data.images import size_text
from minseg.data.preprocess import Preprocess
from minseg.data.transforms import Transform
from minseg.errors import ArgumentError, DataError

Batch = tuple[np.ndarray, np.ndarray]

WORKERS = max(1, min(4, (os.cpu_count() or 1) // 4))
"""Threads that make batches: one where there are few cores, which the kernels need; more where kernels are fast."""


class Loader:
    """Draw shuffled, augmented batches from a data set.

    Sample number ``p = step * batch_size + b`` belongs to epoch ``p // len(dataset)``, and each epoch visits every sample
    once, in an order of its own. Batches run across the ends of epochs, so all have the same size.

    Parameters
    ----------
    dataset : Dataset
    preprocess : Preprocess
        Applied after the transform, to the pixels that are left.
    transform : callable(image, mask, rng), optional
        Gets the raw image as a (C, H, W) view.
    batch_size : int
    seed : int
        At least 0.
    """

    def __init__(
        self,
        dataset: Dataset,
        preprocess: Preprocess,
        transform: Transform | None = None,
        batch_size: int = 8,
        seed: int = 0,
    ):
        if len(dataset) == 0:
            raise DataError("Loader: the data set is empty; there is nothing to train on")
        if batch_size < 1:
            raise ArgumentError(f"Loader: batch_size must be at least 1, got {batch_size}")
        if seed < 0:
            raise ArgumentError(f"Loader: seed must be at least 0, got {seed}")
        self.dataset = dataset
        self.preprocess = preprocess
        self.transform = transform
        self.batch_size = batch_size
        self.seed = seed
        self._order = (-1, np.empty(0, np.int64))  # the last epoch asked for, and its permutation

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every sample was seen."""
        return -(-len(self.dataset) // self.batch_size)

    def batch(self, step: int) -> Batch:
        """The images (N, C, h, w) float32 and masks (N, h, w) uint8 of this step, C-contiguous."""
        if step < 0:
            raise ArgumentError(f"Loader: step must be at least 0, got {step}")
        first = step * self.batch_size
        numbers = range(first, first + self.batch_size)
        samples = [self._sample(number) for number in numbers]
        self._expect_one_size(numbers, [mask.shape for _, mask in samples])
        images, masks = zip(*samples, strict=True)
        return np.stack(images), np.stack(masks)

    def names(self, step: int) -> list[str]:
        """What the samples of this step are called, for messages."""
        first = step * self.batch_size
        return [sample_name(self.dataset, self._index(n)) for n in range(first, first + self.batch_size)]

    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """The batches of steps start to stop - 1 (without end if None), each made ready while those before are in use.

        ``WORKERS`` threads make them, one batch each; whichever is ready first, they come in order. The threads end when the
        iterator is exhausted, closed or forgotten. An error is raised here, in its batch's place.
        """
        if start < 0 or (stop is not None and stop < start):
            raise ArgumentError(f"Loader: expected 0 <= start <= stop, got start {start}, stop {stop}")
        return self._stream(itertools.count(start) if stop is None else iter(range(start, stop)))

    def _stream(self, steps: Iterator[int]) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="minseg-loader")
        try:
            ahead = deque(pool.submit(self.batch, step) for step in itertools.islice(steps, WORKERS + 1))
            while ahead:
                batch = ahead.popleft().result()
                ahead.extend(pool.submit(self.batch, step) for step in itertools.islice(steps, 1))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)

    def _sample(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Sample number ``number`` of the whole training, cropped and preprocessed."""
        i = self._index(number)
        image, mask = self.dataset[i]
        try:
            if self.transform is not None:
                rng = np.random.default_rng([self.seed, 1, number])
                pixels, mask = self.transform(image.transpose(2, 0, 1), mask, rng)
                image = pixels.transpose(1, 2, 0)
            return self.preprocess(image), mask
        except DataError as error:
            raise DataError(f"{sample_name(self.dataset, i)}: {error}") from error

    def _index(self, number: int) -> int:
        epoch, place = divmod(number, len(self.dataset))
        known, order = self._order
        if known != epoch:
            order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.dataset))
            self._order = epoch, order  # one assignment: another thread sees the old pair or the new one
        return int(order[place])

    def _expect_one_size(self, numbers: range, sizes: list[tuple[int, int]]) -> None:
        for number, size in zip(numbers, sizes, strict=True):
            if size != sizes[0]:
                one, other = (sample_name(self.dataset, self._index(n)) for n in (numbers[0], number))
                raise DataError(
                    f"{one} is {size_text(sizes[0])}, but {other} is {size_text(size)}, and a batch needs one size; "
                    "train on crops (RandomCrop), or on one image at a time (batch_size=1)"
                )
