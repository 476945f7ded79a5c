"""Where kernels get their output arrays: in buffers that earlier arrays have left, or full of NaN for a test.

Fresh memory is dear: the system maps it page by page and fills each page with zeros, which for a large map takes longer than many a
kernel. A training step needs the same sizes again and again. So when the last view of a large array is gone, its buffer is kept for
the next array of that size. ``memory.pool.limit`` bounds what lies idle, ``memory.pool.release()`` gives it all back.
"""

import contextlib
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register."""

LARGE = 1 << 18
"""Bytes from which an array's buffer is kept; ``malloc`` has smaller ones at hand."""

_poison = False


class Pool:
    """Idle buffers by size. Threads may share it; and a buffer may come back while the pool is at work, for garbage is collected at
    any time: hence a lock that the same thread may take twice.

    Attributes
    ----------
    limit : int
        Bytes that may lie idle. Beyond it the sizes that have not been asked for longest go first.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self._idle: OrderedDict[int, list[Buffer]] = OrderedDict()  # the size used last stands last
        self._held = 0
        self._lock = threading.RLock()

    def held(self) -> int:
        """Bytes that lie idle."""
        return self._held

    def release(self) -> None:
        """Forget every idle buffer."""
        with self._lock:
            self._idle.clear()
            self._held = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array in an idle buffer of its size, or in a new one; when its last view is gone, the buffer is idle again."""
        size = -(-math.prod(shape) * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        return np.asarray(_Lease(self, self._take(size), shape, dtype))

    def _take(self, size: int) -> "Buffer":
        with self._lock:
            if buffers := self._idle.get(size):
                self._idle.move_to_end(size)
                self._held -= size
                return buffers.pop()
        return Buffer(size)

    def keep(self, buffer: "Buffer") -> None:
        """Take back a buffer that nobody uses."""
        with self._lock:
            self._idle.setdefault(buffer.size, []).append(buffer)
            self._idle.move_to_end(buffer.size)
            self._held += buffer.size
            while self._held > self.limit:
                size, buffers = next(iter(self._idle.items()))
                if buffers:
                    buffers.pop()
                    self._held -= size
                else:
                    del self._idle[size]


class Buffer:
    """Memory that begins at a multiple of ALIGNMENT."""

    def __init__(self, size: int):
        self.size = size
        self._bytes = np.empty(size + ALIGNMENT, np.uint8)
        start = self._bytes.ctypes.data
        self.address = start + -start % ALIGNMENT


class _Lease:
    """What an array in a pooled buffer is based on, and so are all its views: when the last is gone, this is."""

    def __init__(self, pool: Pool, buffer: Buffer, shape: tuple[int, ...], dtype: np.dtype):
        self.pool, self.buffer = pool, buffer
        self.__array_interface__ = {
            "version": 3,
            "data": (buffer.address, False),
            "shape": shape,
            "typestr": dtype.str,
        }

    def __del__(self):
        self.pool.keep(self.buffer)


pool = Pool(limit=1 << 30)


def empty(shape: tuple[int, ...], dtype) -> np.ndarray:
    """An uninitialised C-contiguous array; full of NaN (integers: of the smallest value) inside ``poisoned()``.

    A kernel must write every element of it.
    """
    dtype = np.dtype(dtype)
    large = math.prod(shape) * dtype.itemsize >= LARGE
    out = pool.empty(shape, dtype) if large else np.empty(shape, dtype)
    if _poison:
        out.fill(poison_for(out.dtype))
    return out


def is_poisoning() -> bool:
    """Whether fresh buffers are to be poisoned now: for other devices' allocators."""
    return _poison


def poison_for(dtype: np.dtype):
    """What a poisoned buffer is full of: NaN, or the smallest integer."""
    return np.nan if dtype.kind == "f" else np.iinfo(dtype).min


@contextlib.contextmanager
def poisoned() -> Iterator[None]:
    """Inside this block every fresh buffer is full of NaN: an element that a kernel forgets to write shows up."""
    global _poison
    before, _poison = _poison, True
    try:
        yield
    finally:
        _poison = before
