"""Conformance cases for CUDA kernels beyond the common ones, which are small: several blocks, steps of a whole grid, arrays that
begin between packs, numbers that need more than 32 bits.

A kernel that gives every block the same part of the work, or that walks in steps of a block, is right for arrays of one block.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from unittest import mock

import numpy as np

from minseg.kernels import emulator
from minseg.kernels.cuda import conv, grid
from minseg.kernels.cuda.grid import THREADS
from minseg.kernels.reference.attention import attention
from minseg.testing.cases import Case, cases, normal
from minseg.testing.conformance import on_device

SHAPE = (2, 3, 65, 43)
"""Planes of 2795 pixels: more than a block has threads, and every other one begins between packs."""

WIDE = (2, 2, 92, 90)
"""Planes of 8280 pixels, all of which begin where packs may: two blocks share the sum over each."""

EDGES = (1, THREADS - 1, THREADS, THREADS + 1, 4 * THREADS - 1, 4 * THREADS, 4 * THREADS + 1, 13 * THREADS + 3)
"""Around a block of threads, and a block of packs of four; and two short grids of packs, with a rest."""


@contextlib.contextmanager
def short_grids() -> Iterator[None]:
    """Inside the block a grid-stride loop has two blocks at most, also through a plane, and must walk where a million elements
    would be too few.

    The naive convolutions are such loops, too, though they are launched with a thread for each element.
    """
    with mock.patch.multiple(grid, MOST_BLOCKS=2, ROOM=2), mock.patch.object(conv, "over", grid.striding):
        yield


def _planes(rng, dtype, shape=SHAPE) -> np.ndarray:
    return normal(rng, dtype, *shape)


def _labels(rng, shape=SHAPE) -> np.ndarray:
    return rng.integers(0, shape[1], (shape[0], *shape[2:])).astype(np.uint8)


def _standard(dtype, shape=SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of such planes, near enough."""
    return np.zeros(shape[1], dtype), np.ones(shape[1], dtype)


def _pair(rng, dtype) -> tuple[np.ndarray, np.ndarray]:
    return _planes(rng, dtype, WIDE), _planes(rng, dtype, WIDE)


def _uniform(rng, dtype, *shape):
    """gy, and a softmax over the last axis."""
    return normal(rng, dtype, *shape), np.full(shape, 1 / shape[-1], dtype)


_LARGE = {
    "conv2d_grad_b": lambda rng, dtype: (
        normal(rng, dtype, 2, 2, 60, 60),
    ),  # the last lot of packs lies at a plane's end
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
    "avg_pool2d": lambda rng, dtype: (_planes(rng, dtype), (2, 3), (2, 1), (1, 1), False),
    "avg_pool2d_grad_x": lambda rng, dtype: (
        *(normal(rng, dtype, 2, 3, 33, 43), SHAPE),
        *((2, 3), (2, 1), (1, 1), False),
    ),
    "adaptive_avg_pool2d": lambda rng, dtype: (_planes(rng, dtype), (2, 1)),
    "adaptive_avg_pool2d_grad_x": lambda rng, dtype: (normal(rng, dtype, 2, 3, 7, 5), SHAPE),
    "im2col": lambda rng, dtype: (_planes(rng, dtype), (2, 3), (2, 1), (1, 0), (1, 2)),
    "col2im": lambda rng, dtype: (normal(rng, dtype, 2, 18, 33 * 39), SHAPE, (2, 3), (2, 1), (1, 0), (1, 2)),
    "resize_nearest": lambda rng, dtype: (_planes(rng, dtype), (97, 60)),
    "resize_nearest_grad_x": lambda rng, dtype: (normal(rng, dtype, 2, 3, 97, 60), SHAPE),
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


_WIDE = {
    "conv2d_grad_b": lambda rng, dtype: (_planes(rng, dtype, WIDE),),
    "batch_norm_stats": lambda rng, dtype: (_planes(rng, dtype, WIDE),),
    "batch_norm_grad": lambda rng, dtype: (*_pair(rng, dtype), *_standard(dtype, WIDE), None, 1e-5),
    "batch_norm_eval_grad": lambda rng, dtype: (*_pair(rng, dtype), *_standard(dtype, WIDE), None, 1e-5),
    "dice_sums": lambda rng, dtype: (np.abs(_planes(rng, dtype, WIDE)), _labels(rng, WIDE), 0, 1),
    "dice_sums_grad_p": lambda rng, dtype: (
        *(normal(rng, dtype, 3, WIDE[1]), _planes(rng, dtype, WIDE)),
        *(_labels(rng, WIDE), 1, 0),
    ),
}
"""Sums over channels, and what else goes plane by plane."""


def _unpooled(rng, dtype) -> tuple:
    """Indices of no pooling: in any order, several times the same, and some pixels never."""
    return normal(rng, dtype, 2, 3, 4, 5), rng.integers(0, 7 * 9, (2, 3, 4, 5)).astype(np.int32), (7, 9)


def _unpooled_tidily(rng, dtype) -> tuple:
    """Indices of a pooling with 2x2 windows, of a plane that two blocks walk through in steps."""
    rows, columns = np.arange(0, 62, 2)[:, None], np.arange(0, 44, 2)
    indices = (rows * 44 + columns + rng.integers(0, 2, (1, 1, 31, 22)) * 45).astype(np.int32)
    return normal(rng, dtype, 1, 1, 31, 22), indices, (62, 44)


def _unpooled_but_one(rng, dtype) -> tuple:
    """In the first of three planes an index names a pixel of another window."""
    indices = np.tile(np.array([[[[0, 2], [8, 10]]]], np.int32), (1, 3, 1, 1))
    indices[0, 0, 1, 1] = 3
    return normal(rng, dtype, 1, 3, 2, 2), indices, (4, 4)


def _unpooled_elsewhere(rng, dtype) -> tuple:
    """Each to a pixel of another window's."""
    return normal(rng, dtype, 2, 3, 2, 2), np.tile(np.array([[[[8, 0], [15, 2]]]], np.int32), (2, 3, 1, 1)), (4, 4)


def _unpooled_to_one(rng, dtype) -> tuple:
    """All to the last pixel."""
    return normal(rng, dtype, 2, 3, 4, 5), np.full((2, 3, 4, 5), 62, np.int32), (7, 9)


def _halved_with_nan(rng, dtype) -> tuple:
    """Ties, NaN and -inf in many windows, several in some."""
    x = np.round(normal(rng, dtype, 2, 3, 11, 14))
    x[rng.random(x.shape) < 0.2] = np.nan
    x[rng.random(x.shape) < 0.2] = -np.inf
    return x, (2, 2), (2, 2), (0, 0)


def _with_an_outlier(rng, dtype) -> tuple:
    """A pixel with which a thread begins, from which it may count all others that it has."""
    x = normal(rng, dtype, 1, 2, 64, 64)
    x[0, 0, 0, 4] = 1e4
    return (x,)


def _halved(shape, rng, dtype) -> tuple:
    return normal(rng, dtype, *shape), (2, 2), (2, 2), (0, 0)


def _labelled(label_dtype: str, primitive: str, rng, dtype) -> tuple:
    z, target = normal(rng, dtype, 2, 3, 4, 5), rng.integers(0, 3, (2, 4, 5)).astype(label_dtype)
    return (z, target, None, 1) if primitive == "cross_entropy" else (np.abs(z), target, 0, 1)


def _many_classes(K: int, rng, dtype) -> tuple:
    """As many as are kept in registers, fewer, and one more."""
    z, target = normal(rng, dtype, 2, K, 3, 5), rng.integers(0, K, (2, 3, 5)).astype(np.uint8)
    return normal(rng, dtype, 2, 3, 5), z, np.log(np.exp(z).sum(1)), target, None, 1


def _outside_the_dtype(ignore_index: int, primitive: str, rng, dtype) -> tuple:
    """An ignore_index that the labels' dtype cannot hold ignores nothing: -100 as a uint8 would be 156."""
    z, target = normal(rng, dtype, 1, 160, 2, 2), np.full((1, 2, 2), 156, np.uint8)
    return (z, target, None, ignore_index) if primitive == "cross_entropy" else (np.abs(z), target, 0, ignore_index)


ATTENTION = {
    "whole tiles": (2, 64, 64, 64, 64),
    "one less": (2, 63, 63, 63, 63),
    "one more": (1, 65, 65, 4, 66),
    "three parts": (2, 321, 3, 4, 5),
    "three pieces": (1, 5, 6, 131, 130),
}
"""(B, M, N, d, C) about the tiles of attention.cu, which have 64 floats or 32 doubles; and queries for several blocks a key."""


def _attention(sizes: tuple[int, ...], primitive: str, rng, dtype) -> tuple:
    B, M, N, d, C = sizes
    q, k, v, gy = (normal(rng, dtype, B, *shape) for shape in ((M, d), (N, d), (N, C), (M, C)))
    return (q, k, v) if primitive == "attention" else (gy, q, k, v, *attention(q, k, v))


def _one_score_in_two_tiles(rng, dtype) -> tuple:
    """All keys of the first tile have a score of -inf, and then one has not."""
    k = np.full((1, 71, 1), -np.inf, dtype)
    k[0, 70] = 2
    return np.ones((1, 3, 1), dtype), k, normal(rng, dtype, 1, 71, 3)


def _low_scores(rng, dtype) -> tuple:
    """Scores of -1000, and so weights that would be infinite for a key that is not there and has a score of 0."""
    q, k, v, gy = (np.ones((1, n, 1), dtype) for n in (3, 5, 5, 3))
    k *= -1000
    return gy, q, k, v, *attention(q, k, v)


_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def odd_cases(primitive: str) -> list[Case]:
    """Arguments that host code or a rung of its own has to treat apart."""
    match primitive:
        case "batch_norm_stats":
            return [
                Case("one channel of two blocks", lambda rng, dtype: (normal(rng, dtype, 1, 1, 65, 65),)),
                Case("a thread begins far from all others", _with_an_outlier),
            ]
        case "softmax" | "log_softmax":
            return [
                Case("more rows than threads", lambda rng, dtype: (normal(rng, dtype, THREADS + 1, 2), 1)),
                Case("7 classes", lambda rng, dtype: (normal(rng, dtype, 2, 7, 3, 5), 1)),
                Case("16 classes", lambda rng, dtype: (normal(rng, dtype, 2, 16, 3, 5), 1)),
            ]
        case "cross_entropy_grad_z":
            return [Case(f"{K} classes", partial(_many_classes, K)) for K in (7, 16, 17)]
        case "adaptive_avg_pool2d":
            return [Case("more outputs than threads", lambda rng, dtype: (normal(rng, dtype, 1, 1, 9, 173), (3, 86)))]
        case "max_pool2d":
            halved = partial(_halved, (1, 1, 62, 44))
            return [Case("halved, with NaN and ties", _halved_with_nan), Case("halved, in steps", halved)]
        case "max_unpool2d":
            return [
                Case("indices of no pooling", _unpooled),
                Case("all to one pixel", _unpooled_to_one),
                Case("elsewhere", _unpooled_elsewhere),
                Case("all but one where they belong", _unpooled_but_one),
                Case("where they belong", _unpooled_tidily),
            ]
        case "attention":
            return [Case("one score in two tiles", _one_score_in_two_tiles)]
        case "attention_grad":
            return [Case("low scores", _low_scores)]
        case "cross_entropy" | "dice_sums":
            kinds = {f"{kind} labels": partial(_labelled, kind, primitive) for kind in _INTEGERS}
            outside = {f"ignoring {k}": partial(_outside_the_dtype, k, primitive) for k in (-100, 1000)}
            return [Case(name, build) for name, build in (kinds | outside).items()]
    return []


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
    if primitive in _WIDE:
        found.append(Case("several blocks a plane", _WIDE[primitive]))
    if primitive in ("attention", "attention_grad"):
        found += [Case(name, partial(_attention, sizes, primitive)) for name, sizes in ATTENTION.items()]
    if primitive in _FLAT:
        found += [Case(f"{n} elements", partial(_of_length, n, primitive)) for n in EDGES]
    return found


def cuda_cases(primitive: str) -> list[Case]:
    """The common cases of a primitive, then the others."""
    return [*cases(primitive), *odd_cases(primitive), *large_cases(primitive)]


# -------------------------------------------------------------------------------------------- where arrays and numbers begin


def between_packs(array):
    """An array of the emulator anew, one element behind an address where a pack of sixteen bytes may begin."""
    part = emulator.xp.empty(array.size + 1, array.dtype)[1:].reshape(array.shape)
    part[...] = array
    return part


def _moved(kernel: Callable, places: list[int]) -> Callable:
    """The kernel, given the arguments at these places between packs."""

    def call(*args):
        return kernel(*(between_packs(value) if place in places else value for place, value in enumerate(args)))

    return call


Trial = tuple[str, Callable, tuple]
"""What is tried, the kernel as a function of host arrays, and the arguments."""


def unaligned(primitive: str, kernel: Callable, dtype="float32") -> Iterator[Trial]:
    """Each array between packs by itself, then all: a GPU cannot read sixteen bytes at once from there."""
    rng, dtype = np.random.default_rng(0), np.dtype(dtype)
    if primitive in _FLAT:
        args = _of_length(4 * THREADS + 5, primitive, rng, dtype)
    elif primitive in ("attention", "attention_grad"):
        args = _attention((1, 5, 6, 8, 4), primitive, rng, dtype)
    else:
        return
    places = [place for place, value in enumerate(args) if isinstance(value, np.ndarray)]
    for moved in [*([place] for place in places), places]:
        yield f"arguments {moved} between packs", on_device(_moved(kernel, moved), emulator.xp), args


def trials(primitive: str, kernel: Callable, dtype="float32") -> Iterator[Trial]:
    """All that a rung of a primitive is tried with on the emulator."""
    for case in cuda_cases(primitive):
        yield case.name, on_device(kernel, emulator.xp), case.arguments(dtype)
    yield from unaligned(primitive, kernel, dtype)


_DIVISIONS = """
    extern "C" __global__ void coordinates(const index* i, int* column, int* row, index* plane, int rows, int columns) {
        index k = thread_number();
        Place place = place_of(i[k], rows, columns);
        column[k] = place.column;
        row[k] = place.row;
        plane[k] = place.plane;
    }
    extern "C" __global__ void quotients(const index* a, const index* b, index* result) {
        index k = thread_number();
        result[k] = quotient(a[k], b[k]);
    }"""


def check_long_indices(common: str) -> None:
    """AssertionError unless this text of common.cuh divides indices right, on both sides of 32 bits."""
    module = emulator.Module(common + _DIVISIONS, "common.cuh", ("REAL=float",))
    flat = np.array([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 10**12 + 7, 2**62], np.int64)
    column, row, plane = np.zeros(9, np.int32), np.zeros(9, np.int32), np.zeros(9, np.int64)
    sizes = np.int32(70_001), np.int32(1_009)
    module.function("coordinates")((1,), (9,), (flat, column, row, plane, *sizes))
    np.testing.assert_array_equal(column, flat % 1_009)
    np.testing.assert_array_equal(row, flat // 1_009 % 70_001)
    np.testing.assert_array_equal(plane, flat // (1_009 * 70_001))
    a, b = (array.ravel().copy() for array in np.meshgrid(flat, flat[1:]))
    result = np.zeros_like(a)
    module.function("quotients")((1,), a.shape, (a, b, result))
    np.testing.assert_array_equal(result, a // b)
