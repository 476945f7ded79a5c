"""Batches depend on seed and step only, each epoch sees every sample once, and the thread that prepares them always ends."""

import gc
import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from minseg.data import ArrayDataset, Compose, Loader, Preprocess, RandomCrop, RandomFlip, RandomQuarterTurn
from minseg.data.loader import WORKERS
from minseg.errors import ArgumentError, DataError

AS_IT_IS = Preprocess((0.0,), (1 / 255,))  # value in, value out


def numbered(n, size=(6, 8)):
    """Sample i is an image full of i with a mask full of i."""
    images = [np.full((*size, 1), i, np.uint8) for i in range(n)]
    return ArrayDataset(images, [image[..., 0] for image in images], [f"picture {i}" for i in range(n)])


def textured(n, size=(12, 12)):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 200, (*size, 1)).astype(np.uint8) for _ in range(n)]
    return ArrayDataset(images, [image[..., 0] for image in images], [str(i) for i in range(n)])


def augmented(dataset, seed=0, batch_size=4):
    return Loader(dataset, AS_IT_IS, Compose([RandomCrop(5), RandomFlip(), RandomQuarterTurn()]), batch_size, seed)


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("minseg-loader")]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_batches_are_what_training_takes():
    images, masks = augmented(textured(3)).batch(0)
    assert (images.shape, images.dtype) == ((4, 1, 5, 5), np.float32)
    assert (masks.shape, masks.dtype) == ((4, 5, 5), np.uint8)
    assert images.flags.c_contiguous
    assert masks.flags.c_contiguous
    np.testing.assert_allclose(images[:, 0], masks, atol=1e-4)  # pixel and label stayed together all the way


def test_a_batch_is_a_pure_function_of_seed_and_step():
    one, other = augmented(textured(5)), augmented(textured(5))
    later = other.batch(7)  # asked for in another order, by another loader
    assert same(one.batch(3), other.batch(3))
    assert same(one.batch(7), later)
    assert not same(one.batch(3), one.batch(7))
    assert not same(one.batch(3), augmented(textured(5), seed=1).batch(3))


@pytest.mark.parametrize(("n", "batch_size"), [(6, 2), (7, 3), (5, 8), (1, 3)])
def test_every_epoch_sees_every_sample_once_in_an_order_of_its_own(n, batch_size):
    loader = Loader(numbered(n), AS_IT_IS, batch_size=batch_size, seed=3)
    seen = np.concatenate([loader.batch(step)[1][:, 0, 0] for step in range(4 * n)])[: 4 * n].reshape(4, n)
    np.testing.assert_array_equal(np.sort(seen, axis=1), np.tile(np.arange(n), (4, 1)))
    if n > 1:
        assert len({epoch.tobytes() for epoch in seen}) > 1
    assert loader.steps_per_epoch == -(-n // batch_size)


def test_the_seed_decides_the_order():
    orders = {
        Loader(numbered(8), AS_IT_IS, batch_size=8, seed=seed).batch(0)[1][:, 0, 0].tobytes() for seed in range(4)
    }
    assert len(orders) > 1


def test_one_image_gives_a_new_crop_each_time():
    loader = Loader(textured(1), AS_IT_IS, RandomCrop(5), batch_size=8)
    crops = {mask.tobytes() for step in range(2) for mask in loader.batch(step)[1]}
    assert len(crops) > 8


def test_a_stream_gives_the_batches_of_its_steps():
    loader = augmented(textured(5))
    streamed = list(loader.stream(3, 9))
    assert len(streamed) == 6
    assert all(same(batch, loader.batch(step)) for step, batch in zip(range(3, 9), streamed, strict=True))
    assert list(loader.stream(4, 4)) == []
    assert not loader_threads()


def test_a_stream_without_end_goes_on():
    loader = augmented(textured(2))
    assert all(same(b, loader.batch(s)) for s, b in zip(range(20), itertools.islice(loader.stream(), 20), strict=True))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_batches_come_in_order_whichever_thread_is_ready_first(workers, monkeypatch):
    class Uneven(Loader):
        def batch(self, step):
            time.sleep(0.003 * (step % 3 == 0))
            return super().batch(step)

    monkeypatch.setattr("minseg.data.loader.WORKERS", workers)
    loader = Uneven(textured(5), AS_IT_IS, Compose([RandomCrop(5), RandomFlip()]), batch_size=4)
    streamed = list(loader.stream(2, 14))
    assert all(same(batch, loader.batch(step)) for step, batch in zip(range(2, 14), streamed, strict=True))


def test_batches_are_made_at_the_same_time_and_while_the_one_before_is_in_use(monkeypatch):
    """Each batch waits for another one that is being made: with one thread nothing would ever arrive."""
    together = threading.Barrier(2, timeout=30)

    class Paired(Loader):
        def batch(self, step):
            together.wait()
            return super().batch(step)

    monkeypatch.setattr("minseg.data.loader.WORKERS", 2)
    assert len(list(Paired(numbered(3), AS_IT_IS).stream(0, 6))) == 6

    made = threading.Event()

    class Ahead(Loader):
        def batch(self, step):
            if step == 1:
                made.set()
            return super().batch(step)

    monkeypatch.setattr("minseg.data.loader.WORKERS", 1)
    stream = Ahead(numbered(3), AS_IT_IS).stream()
    next(stream)
    assert made.wait(timeout=30)  # nobody has asked for it yet
    stream.close()


def test_two_streams_of_one_loader_do_not_disturb_each_other():
    loader = augmented(textured(5))
    for step, (a, b) in enumerate(zip(loader.stream(0, 10), loader.stream(10, 20), strict=True)):
        assert same(a, loader.batch(step))
        assert same(b, loader.batch(step + 10))


@pytest.mark.parametrize("taken", [1, 5])
def test_the_thread_ends_when_the_consumer_stops_early(taken):
    stream = augmented(textured(3)).stream()
    for _ in range(taken):
        next(stream)
    assert 1 <= len(loader_threads()) <= WORKERS
    stream.close()
    assert not loader_threads()


def test_the_thread_ends_when_the_consumer_fails_or_forgets():
    def consume():
        for _ in augmented(textured(3)).stream():
            raise KeyError("the consumer's own error")

    with pytest.raises(KeyError):
        consume()
    gc.collect()
    assert not loader_threads()


def test_no_thread_starts_before_the_first_batch_is_asked_for():
    stream = augmented(textured(3)).stream()
    assert not loader_threads()
    stream.close()


def test_an_open_stream_does_not_keep_the_interpreter_from_ending():
    program = """
import numpy as np
from minseg.data import ArrayDataset, Loader, Preprocess
data = ArrayDataset([np.zeros((8, 8, 1), np.uint8)], [np.zeros((8, 8), np.uint8)], ["zeros"])
stream = Loader(data, Preprocess((0.0,), (1.0,))).stream()
next(stream)
print("one batch")
"""
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "one batch\n", "")


def test_errors_of_the_thread_are_raised_in_the_consumer():
    class Broken(ArrayDataset):
        def __getitem__(self, i):
            raise DataError("picture 3 cannot be read")

    stream = Loader(Broken(*[[0] * 4] * 3), AS_IT_IS).stream()
    with pytest.raises(DataError, match="picture 3 cannot be read"):
        next(stream)
    assert not loader_threads()


def test_batches_before_an_error_still_arrive():
    class BreaksLater(Loader):
        def batch(self, step):
            if step == 3:
                raise RuntimeError("step 3")
            return super().batch(step)

    stream = BreaksLater(textured(2), AS_IT_IS).stream()
    assert len(list(itertools.islice(stream, 3))) == 3
    with pytest.raises(RuntimeError, match="step 3"):
        next(stream)


def test_an_image_smaller_than_the_crop_is_named():
    with pytest.raises(DataError, match="picture 0: the image is 6 high, 8 wide, smaller than the crop 7 high, 7 wide"):
        Loader(numbered(1), AS_IT_IS, RandomCrop(7)).batch(0)


def mixed():
    small, large = numbered(1, (6, 8)), numbered(1, (7, 8))
    return ArrayDataset(small.images + large.images, small.masks + large.masks, ["small", "large"])


def test_mixed_sizes_need_a_crop():
    with pytest.raises(DataError, match=r"(small|large) is \d high, 8 wide, but (small|large) is .*RandomCrop"):
        Loader(mixed(), AS_IT_IS, batch_size=2).batch(0)
    assert Loader(mixed(), AS_IT_IS, RandomCrop(6), batch_size=2).batch(0)[0].shape == (2, 1, 6, 6)
    assert Loader(mixed(), AS_IT_IS, batch_size=1).batch(0)[0].shape[0] == 1


def test_a_plain_list_is_a_data_set():
    pairs = [(np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4), np.uint8))]
    assert Loader(pairs, AS_IT_IS, batch_size=2).batch(0)[0].shape == (2, 1, 4, 4)
    with pytest.raises(DataError, match="sample 0: the image is 4 high"):
        Loader(pairs, AS_IT_IS, RandomCrop(5)).batch(0)


def test_bad_arguments():
    with pytest.raises(DataError, match="the data set is empty"):
        Loader([], AS_IT_IS)
    with pytest.raises(ArgumentError, match="batch_size must be at least 1, got 0"):
        Loader(numbered(1), AS_IT_IS, batch_size=0)
    with pytest.raises(ArgumentError, match="seed must be at least 0, got -1"):
        Loader(numbered(1), AS_IT_IS, seed=-1)
    loader = Loader(numbered(1), AS_IT_IS)
    with pytest.raises(ArgumentError, match="step must be at least 0"):
        loader.batch(-1)
    with pytest.raises(ArgumentError, match="start 5, stop 3"):
        loader.stream(5, 3)
