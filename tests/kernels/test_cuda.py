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
from minseg.kernels.cuda import attention, conv, norm, softmax
from minseg.kernels.cuda.device import FOLDER
from minseg.kernels.emulator import ORDERS, launching, xp
from minseg.kernels.spec import PRIMITIVES
from minseg.testing.cases import cases
from minseg.testing.conformance import BY_CHANCE, as_tuple, conform, on_device
from minseg.testing.cuda_cases import check_long_indices, cuda_cases, large_cases, odd_cases, short_grids, unaligned
from minseg.testing.launches import rungs

here = partial(on_device, xp=xp)


def on(device: str):
    """What turns a kernel of this device into a function of host arrays."""
    return partial(on_device, xp=backend.get(device).xp)


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


def in_domain(name: str, kernel, dtype: str, there=here, made=cases):
    """(case's name, arguments) of each case that the rung is made for; there must be one."""
    covered = 0
    for case in made(name):
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
    """The large cases too."""
    there = on("cupy")
    for case, args in in_domain(name, RUNGS[name, rung], dtype, there, cuda_cases):
        try:
            conform(name, there(RUNGS[name, rung]), args, rung)
        except AssertionError as failure:
            raise AssertionError(f"{case}: {failure}") from None


# --------------------------------------------------------------------------------------------- through the backend's doors


@pytest.mark.parametrize("name", PRIMITIVES)
def test_the_rung_that_the_backend_chooses_conforms(device: str, name: str):
    chosen, there = getattr(backend.get(device), name), on(device)
    for _, args in in_domain(name, chosen, "float32", there):
        conform(name, there(chosen), args)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_arrays_of_the_host_are_refused(device: str, name: str):
    """By the dispatcher, and by the kernels themselves where somebody calls them past it."""
    args = cases(name)[0].arguments("float32")
    with pytest.raises(BackendError, match=rf"ndarray, but the active backend '{device}' works on"):
        getattr(backend.get(device), name)(*args)
    with pytest.raises(BackendError, match=r"a CUDA kernel got a numpy.ndarray; it works on arrays of CuPy"):
        backend.get(device).implementation(PRIMITIVES[name])(*args)


# ------------------------------------------------------------------------------------------------ beyond the common cases


@pytest.mark.parametrize(("name", "rung"), [key for key in RUNGS if odd_cases(key[0]) or large_cases(key[0])])
def test_several_blocks_and_what_else_the_common_cases_leave_out_conform(name: str, rung: str):
    """In one order, every access checked, and in another at speed. Halving is for some windows only."""
    kernel = here(RUNGS[name, rung])
    for case, how in product([*odd_cases(name), *large_cases(name)], [("checked",), ("fast", "shuffled", 3)]):
        with launching(*how), suppress(Unsupported):
            conform(name, kernel, case.arguments("float32"), rung)


@pytest.mark.parametrize(
    "name", ["im2col", "col2im", "conv2d", "conv2d_grad_x", "conv2d_grad_w", "linear", "relu", "adam_update"]
)
def test_a_grid_shorter_than_the_array_is_walked_in_steps(device: str, name: str):
    with short_grids(), launching("checked"):
        for case in cuda_cases(name):
            for kernel in (RUNGS[key] for key in RUNGS if key[0] == name):
                with suppress(Unsupported):
                    conform(name, on(device)(kernel), case.arguments("float32"))


@pytest.mark.parametrize(("name", "rung"), [key for key in RUNGS if any(unaligned(key[0], RUNGS[key]))])
def test_arrays_that_begin_between_packs_are_read_one_by_one(name: str, rung: str):
    """Sixteen bytes at once from another address are an error on a GPU, and in the checked mode."""
    for dtype in ("float32", "float64"):
        for moved, call, args in unaligned(name, RUNGS[name, rung], dtype):
            with launching("checked"), short_grids():  # two blocks walk on in steps
                try:
                    conform(name, call, args)
                except AssertionError as failure:
                    raise AssertionError(f"{moved}: {failure}") from None


@pytest.mark.parametrize("rung", norm.VARIANTS["batch_norm_stats"])
def test_statistics_do_not_cancel_far_from_zero(device: str, rung: str):
    """In float64 the mean of squares minus the squared mean would lose all sixteen digits of a variance of 1 about 1e8."""
    x = np.array([-1.0, 1.0]).repeat(2500).reshape(1, 1, 50, 100) + 1e8
    mean, var = on(device)(norm.VARIANTS["batch_norm_stats"][rung])(x)
    assert (mean[0], var[0]) == (1e8, 1)


@pytest.mark.parametrize(
    ("shape", "axis", "team"),
    [
        *[((2, 17, 64, 64), 1, "thread"), ((64, 64), -1, "warp"), ((2, 5000), 1, "block")],
        *[((2, 16, 64, 64), 1, "registers"), ((10, 4), 1, "registers")],
    ],
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
    assert conv.transposed_rung(1, 1, (64, 64), ((3, 3), (2, 2), (1, 1))) == "naive"


@pytest.mark.parametrize(
    ("channels", "pixels", "window", "chosen"),
    [
        (16, (32, 32), conv.DIRECT, "direct"),
        (16, (16, 32), conv.DIRECT, "direct"),
        (16, (15, 32), conv.DIRECT, "tiled"),
        (32, (8, 64), conv.DIRECT, "direct"),
        (64, (7, 32), conv.DIRECT, "direct"),
        (256, (32, 16), conv.DIRECT, "direct"),
        (256, (32, 15), conv.DIRECT, "im2col"),
        (4, (64, 64), conv.DIRECT, "naive"),
        (16, (64, 64), ((3, 3), (2, 1), (1, 1)), "tiled"),
        (16, (64, 64), ((3, 3), (1, 1), (1, 2)), "tiled"),
        (16, (64, 64), ((3, 2), (1, 1), (1, 1)), "tiled"),
    ],
)
def test_3x3_convolutions_are_direct_where_maps_fill_the_tiles(channels: int, pixels, window, chosen: str):
    assert conv.rung(channels, 9 * channels, pixels, window) == chosen


@pytest.mark.parametrize(
    ("w_shape", "pixels", "chosen"),
    [
        ((2, 3, 3, 3), (4, 32), "direct"),
        ((2, 3, 3, 3), (3, 32), "tiled"),
        ((2, 3, 3, 2), (64, 64), "tiled"),
        ((128, 64, 3, 3), (64, 15), "im2col"),
        ((128, 64, 3, 3), (64, 16), "direct"),
        ((128, 64, 2, 2), (64, 64), "tiled"),
        ((128, 128, 2, 2), (64, 64), "im2col"),
    ],
)
def test_long_sums_over_pixels_are_shared_out(w_shape, pixels, chosen: str):
    assert conv.grad_w_rung(w_shape[0], pixels, w_shape, (1, 1), (1, 1)) == chosen


@pytest.mark.parametrize(
    ("tiles", "blocks", "parts"), [(256, 8 * 4, 32), (64, 8 * 64, 2), (64, 1024, 1), (3, 1, 2), (1, 1, 1), (2, 5000, 1)]
)
def test_the_queries_of_few_keys_are_shared_out(tiles: int, blocks: int, parts: int):
    """A SegFormer's 256 keys of 8 samples are 32 blocks, which would leave most of a GPU idle for all of its 16384 queries."""
    assert attention.parts_of(tiles, blocks) == parts


def test_indices_need_more_than_32_bits():
    """Where a quotient's numbers fit into 32 bits it is the quick one; on both sides of that border it is the same function."""
    with launching("checked"):
        check_long_indices((FOLDER / "common.cuh").read_text(encoding="utf-8"))
