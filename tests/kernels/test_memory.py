"""The pool of buffers: reused when the last view is gone and not before; bounded, aligned, safe among threads, poisoned."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minseg.kernels import memory

SHAPE = (4, 3, 200, 200)


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    """A pool of the test's own, in place of the shared one."""
    own = memory.Pool(limit=1 << 23)
    monkeypatch.setattr(memory, "pool", own)
    return own


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_a_buffer_comes_back_when_its_array_is_gone(pool):
    x = memory.empty(SHAPE, np.float32)
    place, size = address(x), x.nbytes
    assert pool.held() == 0
    del x
    assert pool.held() == size
    y = memory.empty(SHAPE, np.float32)
    assert address(y) == place
    assert pool.held() == 0


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[1:, :, ::2],
        lambda x: x.reshape(-1)[5:].view(np.int32),
        lambda x: x.T,
        lambda x: x[1:][::2, 1],
        lambda x: memoryview(x),
        lambda x: np.frombuffer(x, np.uint8),
    ],
)
def test_a_buffer_in_use_is_never_handed_out(pool, view):
    """Whatever kind of view is left, also a view of a view."""
    x = memory.empty(SHAPE, np.float32)
    x[:] = 3
    left = view(x)
    before = bytes(np.ascontiguousarray(left).data)
    del x
    gc.collect()
    assert pool.held() == 0
    memory.empty(SHAPE, np.float32).fill(7)
    assert bytes(np.ascontiguousarray(left).data) == before
    del left
    assert pool.held() > 0


def test_a_buffer_of_the_same_size_serves_any_shape_and_dtype(pool):
    x = memory.empty(SHAPE, np.float32)
    place = address(x)
    del x
    y = memory.empty((2, 3, 200, 200), np.float64)
    assert address(y) == place
    assert y.dtype == np.float64
    assert y.flags.c_contiguous
    assert y.flags.writeable


@pytest.mark.parametrize("shape", [(1,), (333, 333), (3, 100_003)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_arrays_are_as_asked_for(shape, dtype):
    x = memory.empty(shape, dtype)
    assert x.shape == shape
    assert x.dtype == dtype
    x[:] = 1
    assert x.sum() == x.size


def test_large_arrays_begin_at_a_cache_line():
    arrays = [memory.empty((count,), np.float32) for count in range(70_000, 70_020)]
    assert all(address(x) % memory.ALIGNMENT == 0 for x in arrays)


def test_small_arrays_are_left_to_numpy(pool):
    x = memory.empty((memory.LARGE // 4 - 1,), np.float32)
    assert x.flags.owndata
    del x
    assert pool.held() == 0


def test_what_lies_idle_is_bounded_and_the_sizes_unused_for_longest_go_first(pool):
    sizes = [1 << 20, 2 << 20, 3 << 20, 4 << 20]  # bytes, ten MiB together, of which eight may stay
    arrays = [memory.empty((size,), np.uint8) for size in sizes]
    places = [address(x) for x in arrays]
    while arrays:
        del arrays[0]
    assert pool.held() == 7 << 20
    assert address(memory.empty((sizes[3],), np.uint8)) == places[3]
    assert address(memory.empty((sizes[2],), np.uint8)) == places[2]
    assert pool.held() == 7 << 20


def test_a_buffer_beyond_the_limit_is_not_kept(pool):
    memory.empty((pool.limit + 1,), np.uint8)
    assert pool.held() == 0


def test_release_gives_all_back(pool):
    del [memory.empty(SHAPE, np.float32) for _ in range(2)][:]
    pool.release()
    assert pool.held() == 0


def test_a_reused_buffer_is_poisoned(pool):
    memory.empty(SHAPE, np.float32).fill(1)
    assert pool.held() > 0
    with memory.poisoned():
        assert np.isnan(memory.empty(SHAPE, np.float32)).all()
        assert (memory.empty(SHAPE, np.int32) == np.iinfo(np.int32).min).all()


def test_garbage_in_a_cycle_comes_back_too(pool):
    loop = [memory.empty(SHAPE, np.float32)]
    loop.append(loop)
    del loop
    gc.collect()
    assert pool.held() > 0


def test_threads_never_share_a_buffer(pool):
    def work(number: int) -> bool:
        fine = True
        for _ in range(50):
            x = memory.empty((300, 300), np.float32)
            x.fill(number)
            fine &= bool((x == number).all())
        return fine

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(16)))
    assert pool.held() <= 2 * 4 * 300 * 300 * 4  # while a thread makes its next array, it still has the last one
