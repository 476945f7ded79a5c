"""Conformance cases for CUDA kernels beyond the common ones, which are small: several blocks, and steps of a whole grid.

A kernel that gives every block the same part of the work, or that walks in steps of a block, is right for arrays of one block.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from unittest import mock

import numpy as np

from minseg.kernels.cuda import grid
from minseg.kernels.cuda.grid import THREADS
from minseg.testing.cases import Case, cases, normal

SHAPE = (2, 3, 65, 43)
"""5590 pixels a channel: two blocks share it."""

EDGES = (1, THREADS - 1, THREADS, THREADS + 1, 4 * THREADS - 1, 4 * THREADS, 4 * THREADS + 1)
"""Around a block of threads, and a block of packs of four."""


@contextlib.contextmanager
def short_grids() -> Iterator[None]:
    """Inside the block a grid-stride loop has two blocks at most, and must walk where a million elements would be too few."""
    with mock.patch.object(grid, "MOST_BLOCKS", 2):
        yield


def _planes(rng, dtype) -> np.ndarray:
    return normal(rng, dtype, *SHAPE)


def _labels(rng) -> np.ndarray:
    return rng.integers(0, SHAPE[1], (SHAPE[0], *SHAPE[2:])).astype(np.uint8)


def _standard(dtype) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of such planes, near enough."""
    return np.zeros(SHAPE[1], dtype), np.ones(SHAPE[1], dtype)


def _uniform(rng, dtype, *shape):
    """gy, and a softmax over the last axis."""
    return normal(rng, dtype, *shape), np.full(shape, 1 / shape[-1], dtype)


_LARGE = {
    "batch_norm_stats": lambda rng, dtype: (_planes(rng, dtype),),
    "batch_norm": lambda rng, dtype: (_planes(rng, dtype), *_standard(dtype), None, None, 1e-5),
    "batch_norm_grad": lambda rng, dtype: (_planes(rng, dtype), _planes(rng, dtype), *_standard(dtype), None, 1e-5),
    "batch_norm_relu_grad": lambda rng, dtype: (
        *(_planes(rng, dtype), _planes(rng, dtype), *_standard(dtype), None),
        *(normal(rng, dtype, SHAPE[1]), 1e-5),
    ),
    "cross_entropy": lambda rng, dtype: (_planes(rng, dtype), _labels(rng), None, 255),
    "dice_sums": lambda rng, dtype: (np.abs(_planes(rng, dtype)), _labels(rng), 0, 2),
    "max_pool2d": lambda rng, dtype: (_planes(rng, dtype), (2, 3), (2, 1), (1, 1)),
    "adaptive_avg_pool2d": lambda rng, dtype: (_planes(rng, dtype), (2, 1)),
    "resize_bilinear": lambda rng, dtype: (_planes(rng, dtype), (97, 60)),
    "resize_bilinear_grad_x": lambda rng, dtype: (normal(rng, dtype, 2, 3, 97, 60), SHAPE),
    "softmax": lambda rng, dtype: (normal(rng, dtype, 3, 1000), 1),
    "log_softmax": lambda rng, dtype: (normal(rng, dtype, 2, 5000), 1),
    "softmax_grad_x": lambda rng, dtype: (*_uniform(rng, dtype, 2, 2, 700), 2),
    "max_pool2d_grad_x": lambda rng, dtype: (
        normal(rng, dtype, 2, 3, 33, 22),
        rng.integers(0, 65 * 43, (2, 3, 33, 22)).astype(np.int32),
        SHAPE,
    ),
}


def _of_length(n: int, primitive: str, rng, dtype) -> tuple:
    """Arguments of n elements."""
    a, b, c, d = normal(rng, dtype, 4, n)
    return {
        "relu": (a,),
        "mse_loss_grad_a": (a, b, c),
        "sgd_update": (a, b, c, 0.1, 0.9, 0.1, 1e-2, True),
        "rmsprop_update": (a, b, c**2, 1e-3, 0.99, 1e-8, 1e-2),
        "adam_update": (a, b, c, d**2, 3, 1e-3, 0.9, 0.999, 1e-8, 1e-2),
    }[primitive]


_FLAT = ("relu", "mse_loss_grad_a", "sgd_update", "rmsprop_update", "adam_update")


def large_cases(primitive: str) -> list[Case]:
    """Those that need several blocks, or lie at the edges of blocks and packs."""
    found = [Case("several blocks", _LARGE[primitive])] if primitive in _LARGE else []
    if primitive in _FLAT:
        found += [Case(f"{n} elements", partial(_of_length, n, primitive)) for n in EDGES]
    return found


def cuda_cases(primitive: str) -> list[Case]:
    """The common cases of a primitive, then the large ones."""
    return [*cases(primitive), *large_cases(primitive)]
