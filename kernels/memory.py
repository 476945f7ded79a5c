"""Where kernels get their output arrays, so that a test can hand them poisoned ones."""

import contextlib
from collections.abc import Iterator

import numpy as np

_poison = False


def empty(shape: tuple[int, ...], dtype) -> np.ndarray:
    """An uninitialised C-contiguous array; full of NaN (integers: of the smallest value) inside ``poisoned()``.

    A kernel must write every element of it.
    """
    out = np.empty(shape, dtype)
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
