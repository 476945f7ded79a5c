"""The emulator: correct kernels pass in every mode and order, every planted bug is reported at its line, misuse is refused."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minseg.errors import ArgumentError, EmulatorError, MinsegError
from minseg.kernels.emulator import ORDERS, Module, build, launching, why_not, xp

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

FOLDER = Path(__file__).parent / "emulator"
PLANTED = (FOLDER / "planted.cu").read_text()
CORRECT = (FOLDER / "correct.cu").read_text()
REALS = {"float": np.float32, "double": np.float64}
f32, f64, i32 = np.float32, np.float64, np.int32


@pytest.fixture(scope="module")
def planted() -> Module:
    return Module(PLANTED, "planted.cu")


@pytest.fixture(scope="module", params=REALS)
def real(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def correct(real) -> Module:
    return Module(CORRECT, "correct.cu", (f"REAL={real}",), (FOLDER,))


@pytest.fixture(params=build.MODES)
def mode(request) -> str:
    return request.param


@pytest.fixture(params=ORDERS)
def everywhere(request, mode):
    """Launches in each mode and order."""
    with launching(mode, request.param, seed=7):
        yield


def numbers(*shape, dtype=f32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


# ---------------------------------------------------------------------------------------------------------- correct kernels


@pytest.mark.usefixtures("everywhere")
class TestCorrectKernels:
    def test_a_tree_in_dynamic_shared_memory(self, correct, real):
        x, out = numbers(300, dtype=REALS[real]), xp.empty(5, REALS[real])
        correct.function("tree_sum")((5,), (64,), (x, out, i32(300)), shared_mem=64 * x.itemsize)
        np.testing.assert_allclose(out.get(), np.pad(x, (0, 20)).reshape(5, 64).sum(1), rtol=1e-4)

    def test_shuffles_and_a_shared_array_in_a_template_of_an_included_file(self, correct, real):
        x, out = numbers(1000, dtype=REALS[real]), xp.empty(3, REALS[real])
        correct.function("warp_sum")((3,), (96,), (x, out, i32(1000)))
        np.testing.assert_allclose(out.get().sum(), x.sum(), rtol=1e-4)

    def test_tiles_in_static_shared_memory(self, correct, real):
        a, b, c = (
            numbers(20, 35, dtype=REALS[real]),
            numbers(35, 18, dtype=REALS[real]),
            xp.empty((20, 18), REALS[real]),
        )
        correct.function("matmul")((2, 2), (16, 16), (a, b, c, i32(20), i32(18), i32(35)))
        np.testing.assert_allclose(c.get(), a @ b, rtol=1e-4, atol=1e-4)

    def test_atomics_on_shared_and_on_global_memory(self, correct):
        labels, counts = np.random.default_rng(1).integers(0, 4, 200).astype(np.uint8), xp.zeros(4, i32)
        correct.function("histogram")((4,), (64,), (labels, counts, i32(200)))
        np.testing.assert_array_equal(counts.get(), np.bincount(labels, minlength=4))

    def test_halves_of_a_warp_with_masks_of_their_own(self, correct, real):
        x, y = numbers(128, dtype=REALS[real]), xp.empty(128, REALS[real])
        correct.function("reverse_halves")((2,), (64,), (x, y, i32(128)))
        np.testing.assert_array_equal(y.get(), x.reshape(-1, 16)[:, ::-1].ravel())

    def test_lanes_that_have_left_take_no_part(self, correct):
        counts = xp.zeros(100, i32)
        correct.function("how_many_left")((2,), (64,), (counts, i32(100)))
        np.testing.assert_array_equal(counts.get(), np.repeat([32, 32, 32, 4], [32, 32, 32, 4]))

    def test_neighbouring_bytes_of_different_threads(self, correct):
        x, y = np.arange(64, dtype=np.uint8), xp.empty(64, np.uint8)
        correct.function("bytes")((1,), (64,), (x, y, i32(64)))
        np.testing.assert_array_equal(y.get(), x[::-1])

    def test_vectors_of_four(self, correct):
        x, y = numbers(43), xp.empty(43, f32)
        correct.function("copy_by_fours")((1,), (32,), (x, y, i32(43)))
        np.testing.assert_array_equal(y.get(), x)

    def test_one_array_as_two_arguments(self, correct, real):
        x = xp.asarray(numbers(50, dtype=REALS[real]))
        expected = 2 * x.get()
        correct.function("add_to")((1,), (64,), (x, x, i32(50)))
        np.testing.assert_array_equal(x.get(), expected)

    def test_views_that_overlap(self, correct, real):
        x = xp.arange(10, dtype=REALS[real])
        correct.function("add_to")((1,), (5,), (x[:5], x[5:], i32(5)))
        np.testing.assert_array_equal(x.get(), [0, 1, 2, 3, 4, 5, 7, 9, 11, 13])

    def test_blocks_and_threads_of_three_dimensions(self):
        source = """extern "C" __global__ void number(int* y) {
            int t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
            int b = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
            y[b * blockDim.x * blockDim.y * blockDim.z + t] += b * 100 + t;
        }"""
        y = xp.zeros(24 * 24, i32)
        Module(source, "number.cu").function("number")((2, 3, 4), (4, 3, 2), (y,))
        np.testing.assert_array_equal(y.get().reshape(24, 24), np.arange(24)[:, None] * 100 + np.arange(24))


def test_orders_differ_and_shuffling_follows_the_seed():
    source = """extern "C" __global__ void turns(int* next, int* turn) {
        turn[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(next, 1);
        __syncthreads();
    }"""
    kernel = Module(source, "turns.cu").function("turns")

    def turns(order, seed=0):
        turn = np.zeros(3 * 64, i32)
        with launching(order=order, seed=seed):
            kernel((3,), (64,), (np.zeros(1, i32), turn))
        return turn.tolist()

    assert turns("ascending") == list(range(192))
    assert turns("descending") == list(range(192))[::-1]
    assert turns("shuffled", 1) == turns("shuffled", 1) != turns("shuffled", 2)
    assert len({tuple(turns(order)) for order in ORDERS}) == len(ORDERS)


# -------------------------------------------------------------------------------------------------------------- planted bugs

NEEDS_TWO_BLOCKS = {"two_blocks_write", "two_blocks_read_and_write"}

REPORTS = {
    "past_the_end": ("out of bounds", r"it writes y\[40\], but y has 40 elements"),
    "before_the_start": ("out of bounds", r"it reads x\[-1\], but x has 40 elements"),
    "far_away": ("out of bounds", r"it writes 4 bytes at an address that is in no array"),
    "past_a_vector": ("out of bounds", r"it writes y\[40\], but y has 40 elements"),
    "past_a_shared_array": ("out of bounds", r"it writes tile\[64\], but tile has 64 elements of 4 bytes"),
    "past_a_shared_array_of_a_template": ("out of bounds", r"it writes tile\[64\], but tile has 64 elements of 4 bytes"),
    "past_a_row": ("out of bounds", r"index \d+ is outside an array of type 'float \[16\]'"),
    "past_the_dynamic_memory": ("out of bounds", r"it writes dynamic shared memory\[\d+\], but .* has 16 elements of 4 bytes"),
    "past_a_local_array": ("out of bounds", r"index 4 is outside an array of type 'float \[4\]'"),
    "misaligned": ("misaligned", r"it takes x\[1\] for a 'const struct float4', but that address is not a multiple of 16"),
    "through_const": ("write to a constant", r"it writes x\[3\], but takes x as const"),
    "to_a_table": ("write to a constant", r"it writes to a variable of the module"),
    "shared_before_written": ("uninitialised", r"it reads tile\[\d+\], which no thread of this block has written so far"),
    "output_before_written": ("uninitialised", r"it reads y\[\d+\], which comes from empty\(\) and was never written"),
    "no_barrier_after_writing": ("data race|uninitialised", r"tile\[\d+\]"),
    "no_barrier_after_reading": ("data race", r"tile\[\d+\], which thread \(\d+, 0, 0\) \w+ at planted.cu:\d+, with no barrier"),
    "two_write": ("data race", r"it writes y\[\d+\], which thread \(\d+, 0, 0\) wrote at planted.cu:\d+, with no barrier"),
    "lost_update": ("data race", r"it reads y\[0\], which thread \(\d+, 0, 0\) wrote at planted.cu:\d+, with no barrier"),
    "two_blocks_write": ("data race", r"thread \(0, 0, 0\) of block \(\d, 0, 0\) wrote at .*, and nothing orders two blocks"),
    "two_blocks_read_and_write": ("data race", r"of block \(\d, 0, 0\) (read|wrote) at .*, and nothing orders two blocks"),
    "atomic_and_plain": ("data race", r"it (reads|updates) y\[0\], which .* (read|updated) at planted.cu:\d+, with no barrier"),
    "lanes_of_a_warp": ("data race", r"tile\[\d+\], which thread \(\d+, 0, 0\) (read|wrote) at planted.cu:\d+, with no barrier"),
    "half_a_warp_met": ("data race|uninitialised", r"tile\[\d+\]"),
    "half_the_block_waits": ("barrier divergence", r"32 of the block's 64 threads wait at this __syncthreads, 32 have exited"),
    "two_barriers": ("barrier divergence", r"some threads of the block wait at this __syncthreads, others at planted.cu:\d+"),
    "half_the_warp_waits": ("warp deadlock", r"the lanes of mask ffffffff wait for each other, but ffff0000 never come here"),
    "two_operations": ("warp divergence", r"lanes of one mask \(ffffffff\) come to different warp operations"),
    "not_in_the_mask": ("warp mask", r"lane \d+ takes part in a warp operation whose mask 0000ffff does not name it"),
    "from_a_lane_that_left": ("shuffle", r"the shuffle reads the value of lane \d+, which has exited or does not exist"),
    "from_a_lane_outside_the_mask": ("shuffle", r"the shuffle reads the value of lane 16, which is not in the mask"),
    "overflow": ("arithmetic", r"40 \* 100000000 does not fit 'int'"),
    "division_by_zero": ("arithmetic", r"7 / 0 has no value of type 'int'"),
    "shift_too_far": ("arithmetic", r"it shifts 'int' by 40 bits"),
    "false_assertion": ("assertion", r"the assertion n > 40 does not hold"),
}  # fmt: skip

IN_FAST_MODE_TOO = ("barrier divergence", "warp deadlock", "warp divergence", "warp mask", "shuffle", "assertion")


def marked_lines(name: str) -> set[str]:
    """``planted.cu:12`` for each line that is marked in the kernel, or marked with its name elsewhere."""
    lines = PLANTED.splitlines()
    first = lines.index(next(line for line in lines if line.startswith(f"KERNEL({name})")))
    last = next(i for i in range(first, len(lines)) if lines[i].endswith("}") and not lines[i].startswith(" "))
    inside = {i for i in range(first, last + 1) if "// <-" in lines[i]}
    named = {i for i, line in enumerate(lines) if line.endswith(f"// <- {name}")}
    return {f"planted.cu:{i + 1}" for i in inside | named}


def launch_planted(module: Module, name: str) -> None:
    x, y = np.arange(40, dtype=f32), xp.empty(40, f32)
    if name != "output_before_written":
        y.fill(0)
    blocks = 2 if name in NEEDS_TWO_BLOCKS else 1
    module.function(name)((blocks,), (64,), (x, y, i32(40)), shared_mem=64)


def test_every_planted_kernel_has_its_report(planted):
    assert set(planted.names) == set(REPORTS)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", REPORTS)
def test_a_planted_bug_is_reported_at_its_line_in_every_order(planted, name, order):
    kind, words = REPORTS[name]
    with launching("checked", order, seed=3), pytest.raises(EmulatorError, match=words) as caught:
        launch_planted(planted, name)
    report = caught.value
    assert re.fullmatch(kind, report.kind)
    assert report.place in marked_lines(name)
    assert report.kernel == name
    assert str(report).startswith(f"{report.place}: {report.kind} in kernel {name}, block {report.block}, thread ")


@pytest.mark.parametrize("name", [name for name, (kind, _) in REPORTS.items() if kind in IN_FAST_MODE_TOO])
def test_barriers_and_warps_are_watched_in_fast_mode_too(planted, name):
    kind, words = REPORTS[name]
    with launching("fast"), pytest.raises(EmulatorError, match=words) as caught:
        launch_planted(planted, name)
    assert caught.value.kind == kind


def test_a_report_names_the_thread_and_its_block(planted):
    with launching("checked"), pytest.raises(EmulatorError) as caught:
        launch_planted(planted, "past_the_end")
    assert (caught.value.block, caught.value.thread) == ((0, 0, 0), (40, 0, 0))


def test_after_a_report_arrays_are_as_before_and_the_next_launch_works(planted, correct, real):
    y = np.full(40, 5, f32)
    with launching("checked"):
        with pytest.raises(EmulatorError, match=r"y\[40\]"):
            planted.function("past_the_end")((1,), (64,), (y, y, i32(40)))
        assert (y == 5).all()
        TestCorrectKernels().test_tiles_in_static_shared_memory(correct, real)


def test_a_missing_barrier_is_found_wherever_it_was():
    """Without any one of the barriers of correct.cu, its kernel is wrong, and the checker says so."""
    runs = {"tree_sum": TestCorrectKernels().test_a_tree_in_dynamic_shared_memory,
            "matmul": TestCorrectKernels().test_tiles_in_static_shared_memory,
            "histogram": lambda module, _: TestCorrectKernels().test_atomics_on_shared_and_on_global_memory(module),
            "reverse_halves": TestCorrectKernels().test_halves_of_a_warp_with_masks_of_their_own,
            "bytes": lambda module, _: TestCorrectKernels().test_neighbouring_bytes_of_different_threads(module)}  # fmt: skip
    barriers = list(re.finditer(r"__sync(threads|warp)\([a-z]*\);", CORRECT))
    assert len(barriers) == 9
    for barrier in barriers:
        without = CORRECT[: barrier.start()] + CORRECT[barrier.end() :]
        name = re.findall(r"(\w+)\(const", CORRECT[: barrier.start()])[-1]
        module = Module(without, "correct.cu", ("REAL=float",), (FOLDER,))
        with launching("checked"), pytest.raises(EmulatorError, match=r"data race|uninitialised"):
            runs[name](module, "float")


def test_a_partial_warp_has_no_other_lanes():
    source = """extern "C" __global__ void down(float* y) {
        y[threadIdx.x] = __shfl_down_sync(0xffffffffu, y[threadIdx.x], 4);
    }"""
    with pytest.raises(EmulatorError, match="lane 8, which has exited or does not exist"):
        Module(source, "down.cu").function("down")((1,), (40,), (np.zeros(40, f32),))
