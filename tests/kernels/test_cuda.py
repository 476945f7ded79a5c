"""The CUDA kernels on the emulator: every case and every rung in several thread orders and with every access looked at; then what
the common cases are too small for: several blocks, sizes at the edges of blocks and packs, arrays that are not aligned. Where there
is a GPU, every case and every rung on it.
"""

from contextlib import suppress
from functools import partial
from itertools import product

import numpy as np
import pytest

from minseg import backend
from minseg.errors import BackendError, Unsupported
from minseg.kernels import emulator
from minseg.kernels.cuda import conv, loss, norm, optim, pool, softmax
from minseg.kernels.cuda.device import FOLDER
from minseg.kernels.cuda.grid import THREADS
from minseg.kernels.emulator import ORDERS, launching, xp
from minseg.kernels.spec import PRIMITIVES
from minseg.testing.cases import cases
from minseg.testing.conformance import BY_CHANCE, as_tuple, conform, on_device
from minseg.testing.cuda_cases import SHAPE, large_cases, short_grids
from minseg.testing.launches import rungs

here = partial(on_device, xp=xp)


@pytest.fixture(autouse=True)
def _emulated(request):
    """All but the tests on a GPU need the emulator."""
    reason = emulator.why_not()
    if reason is not None and not request.node.get_closest_marker("gpu"):
        pytest.skip(reason)


RUNGS = rungs()


def bits(results) -> list[bytes]:
    return [result.tobytes() for result in as_tuple(results)]


def normal(*shape: int, dtype="float32") -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape).astype(dtype)


# ------------------------------------------------------------------------------------------------- every case, every rung


def in_domain(name: str, kernel, dtype: str, there=here):
    """(case's name, arguments) of each case that the rung is made for; there must be one."""
    covered = 0
    for case in cases(name):
        args = case.arguments(dtype)
        try:
            there(kernel)(*args)
        except Unsupported:
            continue
        covered += 1
        yield case.name, args
    assert covered


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "rung"), RUNGS)
def test_every_rung_conforms(name: str, rung: str, dtype: str):
    for case, args in in_domain(name, RUNGS[name, rung], dtype):
        with launching("fast", "shuffled", seed=2):
            try:
                conform(name, here(RUNGS[name, rung]), args)
            except AssertionError as failure:
                raise AssertionError(f"{case}: {failure}") from None


@pytest.mark.parametrize(("name", "rung"), [key for key in RUNGS if key[1] not in BY_CHANCE])
def test_the_order_of_threads_does_not_show(name: str, rung: str):
    """Not in a single bit; only atomicAdd may take whoever comes first."""
    for case, args in in_domain(name, RUNGS[name, rung], "float32"):
        seen = []
        for order in ORDERS:
            with launching("fast", order, seed=1):
                seen.append(bits(here(RUNGS[name, rung])(*args)))
        assert seen.count(seen[0]) == len(ORDERS), case


@pytest.mark.parametrize(("name", "rung"), RUNGS)
def test_no_access_is_stray_or_raced_for(name: str, rung: str):
    """The emulator's checked mode looks at every access, and raises EmulatorError on the first bad one."""
    for _, args in in_domain(name, RUNGS[name, rung], "float32"):
        with launching("checked"):
            here(RUNGS[name, rung])(*args)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "rung"), RUNGS)
def test_conforms_on_a_gpu(name: str, rung: str, dtype: str):
    there = partial(on_device, xp=backend.get("cupy").xp)
    for case, args in in_domain(name, RUNGS[name, rung], dtype, there):
        try:
            conform(name, there(RUNGS[name, rung]), args, rung)
        except AssertionError as failure:
            raise AssertionError(f"{case}: {failure}") from None


# --------------------------------------------------------------------------------------------- through the backend's doors


@pytest.mark.parametrize("name", PRIMITIVES)
def test_the_rung_that_the_backend_chooses_conforms(name: str):
    chosen = getattr(backend.get("emulator"), name)
    for _, args in in_domain(name, chosen, "float32"):
        conform(name, here(chosen), args)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_arrays_of_the_host_are_refused(name: str):
    """By the dispatcher, and by the kernels themselves where somebody calls them past it."""
    args = cases(name)[0].arguments("float32")
    with pytest.raises(BackendError, match=r"ndarray, but the active backend 'emulator' works on"):
        getattr(backend.get("emulator"), name)(*args)
    with pytest.raises(BackendError, match=r"a CUDA kernel got a numpy.ndarray; it works on arrays of CuPy"):
        backend.get("emulator").implementation(PRIMITIVES[name])(*args)


# ------------------------------------------------------------------------------------------------ beyond the common cases

PLANES = normal(*SHAPE)
LABELS = np.random.default_rng(0).integers(0, 3, (2, 65, 43)).astype(np.uint8)


@pytest.mark.parametrize(("name", "rung"), [key for key in RUNGS if large_cases(key[0])])
def test_several_blocks_and_sizes_around_blocks_and_packs_conform(name: str, rung: str):
    """In one order, every access checked, and in another at speed. Halving is for other windows than these."""
    kernel = here(RUNGS[name, rung])
    for case, how in product(large_cases(name), [("checked",), ("fast", "shuffled", 3)]):
        with launching(*how), suppress(Unsupported):
            conform(name, kernel, case.arguments("float32"), rung)


@pytest.mark.parametrize("name", ["im2col", "col2im", "conv2d_grad_w", "linear", "relu", "adam_update"])
def test_a_grid_shorter_than_the_array_is_walked_in_steps(name: str):
    with short_grids(), launching("checked"):
        for case in [*cases(name), *large_cases(name)]:
            for kernel in (RUNGS[key] for key in RUNGS if key[0] == name):
                conform(name, here(kernel), case.arguments("float32"))


@pytest.mark.parametrize("moved", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_arrays_that_begin_between_packs_are_read_one_by_one(moved):
    """Sixteen bytes at once from another address are an error on a GPU, and in the checked mode."""
    whole = [xp.asarray(normal(4 * THREADS + 9, dtype="float64") + k) for k in range(3)]
    g, a, target = (array[start : start + 4 * THREADS + 5] for array, start in zip(whole, moved, strict=True))
    with launching("checked"), short_grids():  # two blocks walk on in steps
        ga = loss.mse_loss_grad_a(g, a, target)
        new_p, new_v = optim.rmsprop_update(g, a, target**2, 1e-3, 0.99, 1e-8, 0.0)
    np.testing.assert_allclose(ga.get(), 2 * g.get() * (a.get() - target.get()), rtol=1e-15)
    np.testing.assert_allclose(new_v.get(), 0.99 * target.get() ** 2 + 0.01 * a.get() ** 2, rtol=1e-14)
    np.testing.assert_allclose(new_p.get(), g.get() - 1e-3 * a.get() / (np.sqrt(new_v.get()) + 1e-8), rtol=1e-14)


@pytest.mark.parametrize("rung", ["atomic", "gather"])
def test_unpooling_takes_indices_of_no_pooling(rung: str):
    """In any order, several times the same, and some pixels never."""
    indices = np.random.default_rng(0).integers(0, 7 * 9, (2, 3, 4, 5)).astype(np.int32)
    conform("max_unpool2d", here(pool.VARIANTS["max_unpool2d"][rung]), (normal(2, 3, 4, 5), indices, (7, 9)))
    everywhere = np.broadcast_to(np.int32(62), (2, 3, 4, 5)).copy()
    conform("max_unpool2d", here(pool.VARIANTS["max_unpool2d"][rung]), (normal(2, 3, 4, 5), everywhere, (7, 9)))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_labels_may_be_any_integers(dtype: str):
    target = LABELS[:, :4, :5].astype(dtype)
    z = PLANES[:, :, :4, :5].copy()
    conform("cross_entropy", here(loss.cross_entropy), (z, target, None, 1))
    conform("dice_sums", here(loss.dice_sums), (np.abs(z), target, 0, 1))


@pytest.mark.parametrize("ignore_index", [-100, 1000])
def test_an_ignore_index_outside_the_labels_dtype_ignores_nothing(ignore_index: int):
    """-100 as a uint8 would be 156."""
    z, target = np.zeros((1, 160, 2, 2), np.float32), np.full((1, 2, 2), 156, np.uint8)
    conform("cross_entropy", here(loss.cross_entropy), (z, target, None, ignore_index))


def test_halving_is_the_general_max_pooling_also_for_nan_and_ties():
    rng = np.random.default_rng(0)
    x = np.round(normal(2, 3, 11, 14))
    x[rng.random(x.shape) < 0.2] = np.nan
    x[rng.random(x.shape) < 0.2] = -np.inf
    fast, general = (here(pool.VARIANTS["max_pool2d"][rung])(x, *pool.HALVING) for rung in ("halving", "any"))
    assert bits(fast) == bits(general)


@pytest.mark.parametrize("rung", norm.VARIANTS["batch_norm_stats"])
def test_statistics_do_not_cancel_far_from_zero(rung: str):
    """In float64 the mean of squares minus the squared mean would lose all sixteen digits of a variance of 1 about 1e8."""
    x = np.array([-1.0, 1.0]).repeat(2500).reshape(1, 1, 50, 100) + 1e8
    mean, var = here(norm.VARIANTS["batch_norm_stats"][rung])(x)
    assert (mean[0], var[0]) == (1e8, 1)


@pytest.mark.parametrize(
    ("shape", "axis", "team"),
    [((2, 4, 64, 64), 1, "thread"), ((10, 4), 1, "thread"), ((64, 64), -1, "warp"), ((2, 5000), 1, "block")],
)
def test_softmax_has_a_team_that_fits_the_row(monkeypatch, shape, axis, team):
    called = []
    for name in softmax.VARIANTS["softmax"]:
        monkeypatch.setitem(softmax.VARIANTS["softmax"], name, lambda x, axis, name=name: called.append(name))
    softmax.softmax(np.empty(shape, np.float32), axis)
    assert called == [team]


CHANNELS = ((32, 16), (16, 32), (2, 2), (256, 256))  # (O, C)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("stride", "chosen"),
    [((1, 1), ["tiled", "tiled", "naive", "im2col"]), ((2, 1), ["im2col", "im2col", "naive", "im2col"])],
)
def test_a_strided_transposed_convolution_multiplies_no_zeros(monkeypatch, transposed, stride, chosen):
    """The tiled and the naive rung would: each pixel meets one of the kernel's positions in two."""
    name = "conv_transpose2d" if transposed else "conv2d_grad_x"
    called = []
    for rung in conv.VARIANTS[name]:
        monkeypatch.setitem(conv.VARIANTS[name], rung, lambda *_, rung=rung: called.append(rung))
    for O, C in CHANNELS:
        gy, w = np.empty((1, O, 4, 8), np.float32), np.empty((O, C, 3, 3), np.float32)
        if transposed:
            conv.conv_transpose2d(gy, w, None, stride, (1, 1), (0, 0), (1, 1), 1)
        else:
            conv.conv2d_grad_x(gy, w, (1, C, 4 * stride[0], 8), stride, (1, 1), (1, 1), 1)
    assert called == chosen


def test_depthwise_kernels_stay_naive_whatever_the_stride():
    assert conv.transposed_rung(1, 1, (3, 3), (2, 2)) == "naive"


def test_indices_need_more_than_32_bits():
    """Where a quotient's numbers fit into 32 bits it is the quick one; on both sides of that border it is the same function."""
    source = """
        #include "common.cuh"
        extern "C" __global__ void coordinates(const index* i, int* column, int* row, index* plane, int rows, int columns) {
            index k = thread_number();
            Place place = place_of(i[k], rows, columns);
            column[k] = place.column;
            row[k] = place.row;
            plane[k] = place.plane;
        }"""
    flat = np.array([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 10**12 + 7, 2**62], np.int64)
    column, row, plane = np.zeros(9, np.int32), np.zeros(9, np.int32), np.zeros(9, np.int64)
    module = emulator.Module(source, "coordinates.cu", ("REAL=float",), (FOLDER,))
    with launching("checked"):
        module.function("coordinates")((1,), (9,), (flat, column, row, plane, np.int32(70_001), np.int32(1_009)))
    np.testing.assert_array_equal(column, flat % 1_009)
    np.testing.assert_array_equal(row, flat // 1_009 % 70_001)
    np.testing.assert_array_equal(plane, flat // (1_009 * 70_001))
