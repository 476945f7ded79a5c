"""What only the Numba kernels promise: vectorised exp and log to the last digits, bits that do not depend on the number of threads,
planes cut into several chunks, NaN handed on by every fast path, and nothing compiled before it is needed.
"""

import itertools
import math
import subprocess
import sys

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import minseg
from minseg import backend
from minseg.errors import Unsupported
from minseg.kernels import memory
from minseg.kernels.cpu import (
    activation,
    arrays,
    attention,
    elementary,
    linear,
    loss,
    matmul,
    norm,
    optim,
    pool,
    resample,
    simd,
    softmax,
)
from minseg.testing.conformance import as_tuple, conform, reference


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------- elementary


@numba.njit(error_model="numpy")
def _exp(x, y):
    for i in range(x.size):
        y[i] = elementary.exp(x[i])


@numba.njit(error_model="numpy")
def _exp_vectors(x, y):
    for i in range(0, x.size, simd.LANES):
        simd.store(y, i, elementary.exp(simd.load(x, i)))


def _exp_lanes(x, y):
    whole = np.resize(x, -(-x.size // simd.LANES) * simd.LANES)
    out = np.empty_like(whole)
    _exp_vectors(whole, out)
    y[:] = out[: x.size]


@numba.njit(error_model="numpy")
def _expm1(x, y):
    for i in range(x.size):
        y[i] = elementary.expm1(x[i])


@numba.njit(error_model="numpy")
def _log(x, y):
    for i in range(x.size):
        y[i] = elementary.log(x[i])


@numba.njit(error_model="numpy")
def _log1p(x, y):
    for i in range(x.size):
        y[i] = elementary.log1p(x[i])


NEAR_ZERO = np.logspace(-30, 0, 20_001)
ARGUMENTS = {
    "exp": (_exp, np.concatenate([np.linspace(-104, 88, 100_001), -NEAR_ZERO]), 1.1),
    "exp of vectors": (_exp_lanes, np.concatenate([np.linspace(-104, 43, 100_001), -NEAR_ZERO]), 1.1),
    "expm1": (_expm1, np.concatenate([np.linspace(-104, 0, 100_001), -NEAR_ZERO]), 2),
    "log": (_log, np.concatenate([np.logspace(-37, 38, 50_001), np.linspace(0.5, 2, 50_001)]), 2),
    "log1p": (_log1p, np.concatenate([np.linspace(0, 1, 50_001), NEAR_ZERO]), 3),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_elementary_functions_keep_their_ulps_in_float32(name):
    loop, x, ulps = ARGUMENTS[name]
    x = x.astype(np.float32)
    y = np.empty_like(x)
    loop(x, y)
    expected = getattr(np, name.split()[0])(x.astype(np.float64))
    ulp = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64)
    assert (np.abs(y - expected) / ulp).max() <= ulps


@pytest.mark.parametrize(
    ("loop", "x", "expected"),
    [
        (_exp, [np.nan, -np.inf, -1e30, -0.0, 0.0], [np.nan, 0, 0, 1, 1]),
        (_exp_lanes, [np.nan, -np.inf, -1e30, -0.0, 0.0], [np.nan, 0, 0, 1, 1]),
        (_expm1, [np.nan, -np.inf, -1e30, 0.0], [np.nan, -1, -1, 0]),
        (_log, [np.nan, np.inf, 1.0], [np.nan, np.inf, 0]),
        (_log1p, [np.nan, 0.0], [np.nan, 0]),
    ],
)
def test_elementary_functions_at_the_ends(loop, x, expected):
    y = np.empty(len(x), np.float32)
    loop(np.array(x, np.float32), y)
    np.testing.assert_array_equal(y, np.array(expected, np.float32))


def test_exp_of_vectors_in_float64_is_libm_s():
    x = np.concatenate([np.linspace(-745, 709, 10_000), [np.nan, -np.inf, np.inf]])
    y = np.empty_like(x)
    _exp_lanes(x, y)
    np.testing.assert_array_equal(y, [math.exp(value) for value in x])


# ------------------------------------------------------------------------------------------------------------- threads


LABELS = np.random.default_rng(0).integers(0, 4, (2, 150, 133)).astype(np.uint8)
WIDE = normal(2, 4, 150, 133)  # 19950 pixels: more than a chunk, and no multiple of one
PIXEL_LOSS, LOG_SUM = normal(2, 150, 133), np.log(np.exp(WIDE).sum(axis=1))
STATISTICS = np.zeros(4, np.float32), np.ones(4, np.float32)
SHIFT = np.full(4, 0.3, np.float32)
Q, K, V = normal(2, 150, 9), normal(2, 600, 9), normal(2, 600, 7)  # several blocks of queries, several chunks of keys
AWAY_FROM_KINK = np.where(np.abs(WIDE + SHIFT[:, None, None]) < 1e-3, np.float32(1), WIDE)
CALLS = {
    "batch_norm_stats": (norm, (WIDE,)),
    "batch_norm": (norm, (WIDE, *STATISTICS, None, None, 1e-5)),
    "batch_norm_grad": (norm, (normal(2, 4, 150, 133), WIDE, *STATISTICS, None, 1e-5)),
    "batch_norm_relu": (norm, (WIDE, *STATISTICS, None, SHIFT, 1e-5)),
    "batch_norm_relu_grad": (norm, (normal(2, 4, 150, 133), AWAY_FROM_KINK, *STATISTICS, None, SHIFT, 1e-5)),
    "relu": (activation, (WIDE,)),
    "sigmoid": (activation, (WIDE,)),
    "softmax": (softmax, (WIDE, 1)),
    "log_softmax": (softmax, (WIDE, 3)),
    "softmax_grad_x": (softmax, (normal(2, 4, 150, 133), np.exp(WIDE) / np.exp(WIDE).sum(axis=3, keepdims=True), 3)),
    "attention": (attention, (Q, K, V)),
    "attention_grad": (attention, (normal(2, 150, 7), Q, K, V, *reference("attention")(Q, K, V))),
    "cross_entropy": (loss, (WIDE, LABELS, None, 255)),
    "cross_entropy_grad_z": (loss, (PIXEL_LOSS, WIDE, LOG_SUM, LABELS, None, 255)),
    "dice_sums": (loss, (np.abs(WIDE), LABELS, 0, 255)),
    "dice_sums_grad_p": (loss, (normal(3, 4), WIDE, LABELS, 0, 255)),
    "max_pool2d": (pool, (WIDE, (2, 2), (2, 2), (0, 0))),
    "avg_pool2d": (pool, (WIDE, (3, 2), (2, 1), (1, 1), False)),
    "avg_pool2d_grad_x": (pool, (normal(2, 4, 75, 134), WIDE.shape, (3, 2), (2, 1), (1, 1), False)),
    "adaptive_avg_pool2d": (pool, (WIDE, (1, 1))),
    "resize_bilinear": (resample, (WIDE, (97, 201))),
    "resize_bilinear_grad_x": (resample, (normal(2, 4, 97, 201), WIDE.shape)),
    "linear": (linear, (normal(270, 130), normal(150, 130), normal(150))),
    "linear_grad_x": (linear, (normal(270, 130), normal(130, 37))),
    "linear_grad_w": (linear, (normal(70, 37), normal(70, 130))),
    "linear_grad_b": (linear, (normal(70, 37),)),
    "rmsprop_update": (optim, (*(normal(4, 33_333)[:3]), 1e-3, 0.99, 1e-8, 0.0)),
    "adam_update": (optim, (*(normal(4, 33_333)), 3, 1e-3, 0.9, 0.999, 1e-8, 0.0)),
}
for name, position in (("rmsprop_update", 2), ("adam_update", 3)):
    CALLS[name][1][position][:] **= 2  # v is never negative


MATRICES = {
    "a stack": (normal(2, 70, 90), normal(2, 90, 37)),
    "long sums": (normal(20, 9000), normal(9000, 37)),
    "many columns": (normal(9, 40), normal(40, 3000)),
    "many rows": (normal(4200, 20), normal(20, 150)),
    "turned": (normal(9000, 64).T, normal(9000, 70)),
}


@pytest.mark.parametrize("name", [*CALLS, *MATRICES])
def test_bits_do_not_depend_on_the_number_of_threads(name):
    module, args = CALLS[name] if name in CALLS else (matmul, MATRICES[name])
    kernel = getattr(module, name if name in CALLS else "multiply_matrices")
    most = numba.get_num_threads()
    several = kernel(*args)
    numba.set_num_threads(1)
    try:
        one = kernel(*args)
    finally:
        numba.set_num_threads(most)
    for a, b in zip(as_tuple(several), as_tuple(one), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", CALLS)
def test_planes_of_several_chunks_conform(name):
    module, args = CALLS[name]
    conform(name, getattr(module, name), args)


def test_a_small_matrix_product_runs_on_one_thread_of_blas_and_leaves_the_others_as_they_were():
    """Whatever the user has set: NumPy's own products keep their threads."""
    seen = []

    class Watched(np.ndarray):
        def __array_ufunc__(self, ufunc, method, *inputs, **options):
            seen.append((ufunc, blas_threads()))
            return getattr(ufunc, method)(*map(np.asarray, inputs), **options)

    def blas_threads():
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    a = normal(64, 64)
    with threadpool_limits(2, user_api="blas"):
        product = backend.get("numba").matmul(a.view(Watched), a)
        assert seen == [(np.matmul, {1})]
        assert blas_threads() == {2}
    np.testing.assert_allclose(product, a.astype(np.float64) @ a, rtol=1e-4, atol=1e-4)


def matrices(*shape, layout: str, dtype):
    """Stacks (..., rows, columns) whose numbers lie in memory by rows, by columns, apart, backwards; or one matrix, repeated."""
    x = normal(*shape).astype(dtype)
    match layout:
        case "rows":
            return x
        case "columns":
            return x.swapaxes(-1, -2).copy().swapaxes(-1, -2)
        case "apart":
            return np.repeat(np.repeat(x, 2, axis=-1), 2, axis=-2)[..., ::2, ::2]
        case "backwards":
            return x[..., ::-1, ::-1]
        case "heads":  # rows and the axis before them have changed places
            return np.moveaxis(np.moveaxis(x, -2, 0).copy(), 0, -2)
        case "repeated":
            return np.broadcast_to(x[(0,) * (x.ndim - 2)], shape)


LAYOUTS = "rows", "columns", "apart", "backwards", "heads", "repeated"
PRODUCTS = [
    (1, 300, 1),
    (7, 40, 33),
    (8, 33, 16),
    (9, 1, 49),
    (17, 520, 48),
    (3, 4500, 5),
    (20, 4200, 96),
    (300, 17, 35),
    (4203, 20, 150),
    (64, 9000, 64),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_matrix_products_however_they_lie(layout, dtype):
    """One row and one column, a row more than a tile, columns that fill vectors and do not, long sums, many rows."""
    for count, (M, K, J) in enumerate(PRODUCTS):
        for batch in ((), (3, 2)):
            a = matrices(*batch, M, K, layout=layout, dtype=dtype)
            b = matrices(*batch, K, J, layout=LAYOUTS[count % len(LAYOUTS)], dtype=dtype)
            bias = normal(J).astype(dtype) if count % 2 else None
            exact = a.astype(np.float64) @ b.astype(np.float64) + (0 if bias is None else bias)
            reach = np.abs(a).astype(np.float64) @ np.abs(b) + (0 if bias is None else np.abs(bias))
            with memory.poisoned():
                y = matmul.multiply_matrices(a, b, bias)
            assert y.dtype == dtype
            assert y.shape == exact.shape
            assert (np.abs(y - exact) <= 4 * np.sqrt(K + 1) * np.finfo(dtype).eps / 2 * reach).all()


@pytest.mark.parametrize(("a", "b"), [((2, 1, 90, 70), (3, 70, 80)), ((40, 3000), (3000, 60)), ((9000, 40), (40, 5))])
def test_large_products_broadcast_and_leave_blas_alone(a, b, monkeypatch):
    a, b = normal(*a), normal(*b)
    expected = a.astype(np.float64) @ b
    monkeypatch.setattr(arrays, "_blas", None)
    np.testing.assert_allclose(backend.get("numba").matmul(a, b), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_products_on_the_tape_are_the_backends(name, monkeypatch):
    """Forward and both gradients: none goes to BLAS by another way."""
    kernels, shapes_of = backend.get(name), []
    product = kernels.matmul
    monkeypatch.setattr(kernels, "matmul", lambda a, b: shapes_of.append((a.shape, b.shape)) or product(a, b))
    with minseg.use_backend(name):
        a, b = (minseg.tensor(normal(*shape), requires_grad=True) for shape in ((5, 3, 4), (4, 2)))
        (a @ b).sum().backward()
    assert shapes_of == [((5, 3, 4), (4, 2)), ((5, 3, 2), (2, 4)), ((5, 4, 3), (5, 3, 2))]


# ---------------------------------------------------------------------------------------------------------- whole arrays


def pairs_of_arrays():
    """Large and small, of both dtypes and of integers, contiguous and not, along each axis."""
    for axis, shape in (
        (0, (3, 5, 90, 80)),
        (1, (3, 5, 90, 80)),
        (2, (2, 3, 400, 70)),
        (3, (2, 3, 40, 700)),
        (1, (2, 3, 4, 5)),
    ):
        other = tuple(size + 2 if k == axis else size for k, size in enumerate(shape))
        for dtype in (np.float32, np.float64):
            yield axis, normal(*shape).astype(dtype), normal(*other).astype(dtype)
        yield axis, normal(*shape).swapaxes(0, 0)[..., ::-1], normal(*other)
        yield axis, np.round(9 * normal(*shape)).astype(np.int64), np.round(9 * normal(*other)).astype(np.int64)


def test_whole_arrays_are_as_numpy_has_them():
    fast = 0
    for axis, a, b in pairs_of_arrays():
        joined = arrays.concatenate([a, b, a], axis)
        expected = np.concatenate([a, b, a], axis)
        assert joined.dtype == expected.dtype
        np.testing.assert_array_equal(joined, expected)
        start, size = a.shape[axis], b.shape[axis]
        np.testing.assert_array_equal(arrays.part(joined, axis, start, size), b)
        fast += arrays.part(joined, axis, start, size).flags.c_contiguous
        np.testing.assert_array_equal(arrays.add(a, a[::-1]), a + a[::-1])
        np.testing.assert_array_equal(arrays.add(a, a), a + a)
    assert fast > 4


TURNED = [(2, 64, 80, 48), (3, 112, 1040), (4096, 16), (2, 5, 48, 32, 16), (1, 64, 1, 2048), (2, 40, 33, 70)]


@pytest.mark.parametrize("shape", TURNED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_axes_in_any_order_are_put_in_order(shape, dtype):
    """Sides that are whole blocks, vectors and neither; backwards, and repeated."""
    x = normal(*shape).astype(dtype)
    for axes in itertools.permutations(range(x.ndim)):
        turned = x.transpose(axes)
        for array in (turned, turned[::-1], np.broadcast_to(turned[:1], turned.shape)):
            with memory.poisoned():
                result = arrays.contiguous(array)
            assert result.flags.c_contiguous
            np.testing.assert_array_equal(result, array)
        np.testing.assert_array_equal(arrays.add(turned, turned.copy()), 2 * turned)


def test_turning_axes_takes_the_quick_way(monkeypatch):
    """Between images and their tokens, both ways."""
    turns, images = [], normal(2, 64, 32, 48)
    kernel = arrays._turn
    monkeypatch.setattr(arrays, "_turn", lambda *args: turns.append(args) or kernel(*args))
    tokens = arrays.contiguous(images.reshape(2, 64, -1).swapaxes(1, 2))
    again = arrays.contiguous(tokens.reshape(2, 32, 48, 64).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(again, images)
    assert len(turns) == 2


def test_heads_change_places_with_tokens_the_quick_way(monkeypatch):
    copies, heads = [], normal(3, 2, 3000, 32)
    kernel = arrays._gather
    monkeypatch.setattr(arrays, "_gather", lambda *args: copies.append(args) or kernel(*args))
    tokens = arrays.contiguous(heads.transpose(0, 2, 1, 3))
    np.testing.assert_array_equal(arrays.contiguous(tokens.transpose(0, 2, 1, 3)), heads)
    np.testing.assert_array_equal(arrays.contiguous(tokens[:, :, 1]), heads[:, 1])
    np.testing.assert_array_equal(arrays.contiguous(tokens[0, :, 1, :24]), heads[0, 1, :, :24])
    assert len(copies) == 4


def test_mixed_dtypes_and_shapes_are_left_to_numpy():
    a = normal(4, 300, 300)
    assert arrays.concatenate([a, a.astype(np.float64)], 0).dtype == np.float64
    assert arrays.add(a, a.astype(np.float64)).dtype == np.float64
    for b in (a[:, :1], a[..., :1], a[:1, None], np.float32(3)):
        np.testing.assert_array_equal(arrays.add(a, b), a + b)
        np.testing.assert_array_equal(arrays.multiply(b, a), b * a)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 700, 64), (5, 23_000), (1900, 37), (2, 2, 150, 40, 16)])
def test_what_is_repeated_along_the_first_axes(shape, dtype):
    """Rows of less than a chunk and of more, and gradients that lie turned."""
    a = normal(*shape).astype(dtype)
    for new in range(len(shape)):
        b, axes = normal(*shape[new:]).astype(dtype), tuple(range(new))
        for x in (a, a.swapaxes(0, -1).copy().swapaxes(0, -1)):
            with memory.poisoned():
                found = arrays.add(x, b), arrays.add(b, x), arrays.multiply(x, b), arrays.sum_over(x, axes)
            for y, expected in zip(found, (a + b, b + a, a * b), strict=False):
                assert y.dtype == dtype
                np.testing.assert_array_equal(y, expected)
            exact, reach = a.sum(axes, np.float64), np.abs(a).sum(axes, np.float64)
            assert found[3].shape == b.shape
            assert (np.abs(found[3] - exact) <= 4 * np.sqrt(a.size // b.size) * np.finfo(dtype).eps / 2 * reach).all()


def test_scales_and_shifts_do_not_go_through_numpy(monkeypatch):
    a, row = normal(2, 900, 64), normal(64)
    fast = []
    for name in ("_add", "_multiply", "linear_grad_b"):
        loop = getattr(arrays, name)
        monkeypatch.setattr(arrays, name, lambda *args, loop=loop: fast.append(loop) or loop(*args))
    arrays.add(a, row), arrays.multiply(row, a), arrays.sum_over(a, (0, 1))
    assert len(fast) == 3


# ----------------------------------------------------------------------------------------------------------- fast paths


def test_statistics_of_one_pixel_far_from_zero():
    mean, var = norm.batch_norm_stats(np.full((1, 2, 1, 1), 1e6, np.float32))
    assert mean.tolist() == [1e6, 1e6]
    assert var.tolist() == [0, 0]


def test_statistics_do_not_cancel_far_from_zero():
    """In float64 the mean of squares minus the squared mean would lose all sixteen digits of a variance of 1 about 1e8."""
    x = np.array([-1.0, 1.0]).repeat(20_000).reshape(1, 1, 200, 200) + 1e8
    mean, var = norm.batch_norm_stats(x)
    assert (mean[0], var[0]) == (1e8, 1)


def test_halving_is_the_general_max_pooling_also_for_nan_and_ties():
    rng = np.random.default_rng(0)
    x = np.round(normal(2, 3, 11, 14))
    x[rng.random(x.shape) < 0.2] = np.nan
    x[rng.random(x.shape) < 0.2] = -np.inf
    window = (2, 2), (2, 2), (0, 0)
    fast, general = (pool.VARIANTS["max_pool2d"][name](x, *window) for name in ("halving", "any"))
    np.testing.assert_array_equal(fast[0], general[0])
    np.testing.assert_array_equal(fast[1], general[1])


@pytest.mark.parametrize("window", [((3, 2), (2, 2), (0, 0)), ((2, 2), (2, 1), (0, 0)), ((2, 2), (2, 2), (0, 1))])
def test_halving_refuses_other_windows(window):
    with pytest.raises(Unsupported, match="halving"):
        pool.VARIANTS["max_pool2d"]["halving"](WIDE, *window)


@pytest.mark.parametrize("ignore_index", [-100, 1000])
def test_an_ignore_index_outside_the_labels_dtype_ignores_nothing(ignore_index):
    """-100 as a uint8 would be 156."""
    target = np.full((1, 2, 2), 156, np.uint8)
    losses, lse = loss.cross_entropy(np.zeros((1, 160, 2, 2), np.float32), target, None, ignore_index)
    np.testing.assert_allclose(losses, np.log(160), rtol=1e-6)
    gz = loss.cross_entropy_grad_z(
        np.ones((1, 2, 2), np.float32), np.zeros((1, 160, 2, 2), np.float32), lse, target, None, ignore_index
    )
    np.testing.assert_allclose(gz[:, 156], 1 / 160 - 1, rtol=1e-6)


# -------------------------------------------------------------------------------------------------------------- import


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_minseg_imports_without_numba():
    assert run("import sys, minseg; print('numba' in sys.modules)") == "False"


def test_importing_the_kernels_compiles_nothing():
    program = """
import importlib, pkgutil
from minseg.kernels import cpu
from numba.core.dispatcher import Dispatcher
modules = [importlib.import_module(f"minseg.kernels.cpu.{file.name}") for file in pkgutil.iter_modules(cpu.__path__)]
kernels = [value for module in modules for value in vars(module).values() if isinstance(value, Dispatcher)]
print(len(kernels) > 30, sum(len(kernel.signatures) for kernel in kernels))
"""
    assert run(program) == "True 0"
