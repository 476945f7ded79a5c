"""The emulator: correct kernels pass in every mode and order, every planted bug is reported at its line, misuse is refused."""

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minseg.errors import ArgumentError, EmulatorError, MinsegError
from minseg.kernels.emulator import ORDERS, Module, build, launching, why_not, xp
from minseg.testing import nvrtc

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
    "a_shuffle_orders_nothing": ("data race", r"tile\[\d+\], which thread \(\d+, 0, 0\) (read|wrote) at planted.cu:\d+, with no"),
    "half_a_warp_met": ("data race|uninitialised", r"tile\[\d+\]"),
    "half_the_block_waits": ("barrier divergence", r"32 of the block's 64 threads wait at this __syncthreads, 32 have exited"),
    "two_barriers": ("barrier divergence", r"some threads of the block wait at this __syncthreads, others at planted.cu:\d+"),
    "half_the_warp_waits": ("warp deadlock", r"the lanes of mask ffffffff wait for each other, but ffff0000 never come here"),
    "two_operations": ("warp divergence", r"lanes of one mask \(ffffffff\) come to different warp operations"),
    "not_in_the_mask": ("warp mask", r"lane \d+ takes part in a warp operation whose mask 0000ffff does not name it"),
    "from_a_lane_that_left": ("shuffle", r"the shuffle reads the value of lane \d+, which has exited or does not exist"),
    "from_a_lane_outside_the_mask": ("shuffle", r"the shuffle reads the value of lane 16, which is not in the mask"),
    "a_lock_that_is_never_released": ("endless loop", r"33554432 accesses to memory without an end or a barrier"),
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


# ------------------------------------------------------------------------------------------------------------- wrong launches

ADD = """extern "C" __global__ void __launch_bounds__(2 * 64) add(const float* x, float* y, int n, unsigned char flag) {
    extern __shared__ float buffer[];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n && flag) y[i] += x[i];
}"""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"n": 4},
            r"argument n: expected a NumPy scalar of type int32, got int; pass np.int32\(...\), for a Python number",
        ),
        ({"n": np.int64(4)}, "argument n: the kernel takes int32, got int64"),
        ({"n": f32(4)}, "argument n: the kernel takes int32, got float32"),
        ({"flag": True}, "argument flag: expected a NumPy scalar of type uint8, got bool"),
        ({"x": np.zeros(4)}, r"argument x: the kernel takes float32\*, the array is float64"),
        ({"x": np.zeros((4, 4), f32).T}, r"argument x: the array \(4, 4\) is not C-contiguous"),
        ({"x": [1.0, 2.0]}, "argument x: expected an array, got list"),
        ({"x": None}, "argument x: expected an array, got NoneType"),
        ({"n": np.zeros(1, i32)}, "argument n: expected a NumPy scalar of type int32, got ndarray"),
        ({"y": np.broadcast_to(f32(0), 4)}, "argument y: the array .* is not C-contiguous"),
        ({"grid": (0,)}, r"grid \(0,\) is outside CUDA's limits"),
        ({"grid": (1, 65536)}, "grid .* is outside CUDA's limits"),
        ({"grid": (1.0,)}, "grid must be a tuple of one to three integers"),
        ({"grid": 1}, "grid must be a tuple"),
        ({"block": (1, 1, 65)}, "block .* is outside CUDA's limits"),
        ({"block": (129,)}, r"block \(129,\) has 129 threads, its __launch_bounds__ is 128"),
        ({"shared_mem": 49153}, "49153 bytes of dynamic shared memory and 0 of its own arrays; a block has 49152"),
    ],
)
def test_a_wrong_launch_is_refused_with_the_remedy(arguments, words):
    given = {
        "grid": (1,),
        "block": (4,),
        "x": np.zeros(4, f32),
        "y": np.zeros(4, f32),
        "n": i32(4),
        "flag": np.uint8(1),
    }
    given |= {"shared_mem": 0} | arguments
    kernel = Module(ADD, "add.cu").function("add")
    with pytest.raises(EmulatorError, match=words):
        kernel(
            given["grid"], given["block"], tuple(given[name] for name in ("x", "y", "n", "flag")), given["shared_mem"]
        )
    assert not given["y"].any()


def test_arguments_are_counted_and_read_only_arrays_protected():
    kernel = Module(ADD, "add.cu").function("add")
    with pytest.raises(
        EmulatorError, match=r"add takes 4 arguments \(const float32\* x, float32\* y, int32 n, uint8 flag\), got 1"
    ):
        kernel((1,), (4,), (np.zeros(4, f32),))
    y = np.zeros(4, f32)
    y.flags.writeable = False
    with pytest.raises(EmulatorError, match="argument y: the kernel may write to it, but the array is read-only"):
        kernel((1,), (4,), (y, y, i32(4), np.uint8(1)))


def test_a_blocks_own_arrays_count_against_its_shared_memory(planted):
    with pytest.raises(EmulatorError, match="49000 bytes of dynamic shared memory and 512 of its own arrays"):
        planted.function("past_a_shared_array")((1,), (64,), (np.zeros(40, f32), np.zeros(40, f32), i32(40)), 49000)


def test_static_shared_arrays_of_one_declaration_are_kept_apart(correct, real):
    arrays = {name: size for name, _, size in correct.loaded("checked").shared if name.startswith("matmul")}
    itemsize = np.dtype(REALS[real]).itemsize
    assert arrays == {"matmul::a_tile": 16 * 16 * itemsize, "matmul::b_tile": 16 * 17 * itemsize}


@pytest.mark.parametrize(("what", "value"), [("mode", "slow"), ("order", "random")])
def test_launching_names_its_choices(what, value):
    with pytest.raises(ArgumentError, match=f"{what} must be one of .*, got '{value}'"), launching(**{what: value}):
        pass


def test_launching_ends_with_its_block():
    y = np.zeros(40, f32)
    kernel = Module("""extern "C" __global__ void f(float* y, int n) { y[0] = n * 100000000; }""", "f.cu").function("f")
    with launching("checked"):
        with launching("fast"):
            kernel((1,), (1,), (y, i32(40)))
        with pytest.raises(EmulatorError, match="does not fit"):
            kernel((1,), (1,), (y, i32(40)))
    kernel((1,), (1,), (y, i32(40)))


def test_a_module_of_the_checked_mode_checks_without_a_block():
    kernel = Module(PLANTED, "planted.cu", mode="checked").function("past_the_end")
    with pytest.raises(EmulatorError, match=r"y\[40\]"):
        kernel((1,), (64,), (np.zeros(40, f32), np.zeros(40, f32), i32(40)))


# ------------------------------------------------------------------------------------------------------------------ compiling


def test_a_compile_error_is_one_exception_with_the_compilers_message():
    module = Module('extern "C" __global__ void f(float* y) {\n    y[0] = nothing;\n}', "wrong.cu")
    message = r"wrong.cu does not compile:\n(.|\n)*wrong.cu:2:\d+: error: 'nothing' was not declared"
    with pytest.raises(EmulatorError, match=message):
        module.function("f")
    with pytest.raises(EmulatorError, match=r"missing\.cuh: No such file"):
        Module('#include "missing.cuh"', "wrong.cu")


def test_an_unknown_kernel_is_named_with_those_that_are_there(planted):
    with pytest.raises(EmulatorError, match=r"planted\.cu has no kernel 'past_the_ent'; did you mean 'past_the_end'"):
        planted.function("past_the_ent")


NOT_IN_NVRTC = ["INFINITY", "NAN", "FLT_MAX", "HUGE_VALF", "M_PI", "INT_MAX", "__builtin_inff()", "__FLT_MAX__",
                "(int64_t)1", "(uint8_t)1", "std::max(1, 2)", "fmaxf(1, 2, 3)", "fmax(1.0f, 2.0)"]  # fmt: skip


@pytest.mark.parametrize("expression", NOT_IN_NVRTC)
def test_what_nvrtc_lacks_is_refused_here_too(expression):
    module = f'extern "C" __global__ void f(float* y) {{ y[0] = {expression}; }}'
    with pytest.raises(EmulatorError, match="does not compile"):
        Module(module, "more.cu").function("f")


def test_a_local_variable_that_is_read_before_it_is_set_does_not_compile():
    source = """extern "C" __global__ void f(const float* x, float* y, int n) {
        float sum;
        y[0] = sum + x[n - 1];
    }"""
    with pytest.raises(EmulatorError, match=r"sum.* is used uninitialized"):
        Module(source, "sum.cu").function("f")


def test_a_frame_too_large_for_a_fiber_does_not_compile():
    source = """extern "C" __global__ void f(float* y, int n) {
        float many[20000];
        for (int i = 0; i < n; ++i) many[i] = y[i];
        for (int i = 0; i < n; ++i) y[i] = many[n - i];
    }"""
    with pytest.raises(EmulatorError, match="stack usage"):
        Module(source, "large.cu").function("f")


KERNELS_OF_ALL_FORMS = """
#define KERNEL(name) extern "C" __global__ void __launch_bounds__(BLOCK * 2) name
KERNEL(from_a_macro)(int* y) { y[0] = 1; }
extern "C" __global__ void
__launch_bounds__((BLOCK), 2)
on_several_lines(
    int* __restrict__ y,   // where the result goes, a comment with __global__ void and (brackets)
    const int n
) {
    __shared__ volatile int one[BLOCK], two[2]
        [BLOCK];
    extern __shared__ __align__(16) unsigned char raw[];
    int* more = reinterpret_cast<int*>(raw);
    one[threadIdx.x] = two[1][threadIdx.x] = more[threadIdx.x] = n;
    y[threadIdx.x] = one[threadIdx.x] + two[1][threadIdx.x] + more[threadIdx.x] + __LINE__;
}
extern "C" __global__ void nothing() {}
"""


def test_kernels_are_found_in_all_forms(mode):
    module = Module(KERNELS_OF_ALL_FORMS, "forms.cu", ("BLOCK=32",), mode=mode)
    assert module.names == ["from_a_macro", "on_several_lines", "nothing"]
    assert [module.function(name).most_threads for name in module.names] == [64, 32, 1024]
    y = np.zeros(32, i32)
    module.function("on_several_lines")((1,), (32,), (y, i32(5)), shared_mem=128)
    assert (y == 15 + 15).all()
    module.function("nothing")((1,), (1,), ())
    assert repr(module.function("on_several_lines")) == "<kernel on_several_lines(int32* y, int32 n) of forms.cu>"


def test_a_library_is_built_once_and_anew_when_a_header_changes(tmp_path, monkeypatch):
    header, source = (
        tmp_path / "value.cuh",
        '#include "value.cuh"\nextern "C" __global__ void f(int* y) { y[0] = VALUE; }',
    )
    built = []
    monkeypatch.setattr(build, "run", lambda command, *rest: built.append("-c" in command) or RUN(command, *rest))
    for value, new in ((1, True), (1, False), (2, True)):
        header.write_text(f"#define VALUE {value}{os.getpid()}\n")
        built.clear()
        y = np.zeros(1, i32)
        Module(source, "value.cu", (), (tmp_path,)).function("f")((1,), (1,), (y,))
        assert y[0] == int(f"{value}{os.getpid()}")
        assert any(built) == new


RUN = build.run


def test_without_a_compiler_the_reason_says_what_to_install(monkeypatch):
    monkeypatch.setenv("MINSEG_CXX", "no-such-compiler")
    assert "apt install g++" in why_not()
    with pytest.raises(EmulatorError, match="no-such-compiler, which is not installed: apt install g"):
        Module(ADD, "add.cu")


IN_A_NEW_PROCESS = """
import numpy as np
from minseg.kernels.emulator import Module, build
y = np.zeros(1, np.int32)
Module('extern "C" __global__ void f(int* y) { y[0] = 7; }', "new.cu", mode="checked").function("f")((1,), (1,), (y,))
print(y[0], build.cache_folder())
"""


def start(cache: Path) -> subprocess.Popen:
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", IN_A_NEW_PROCESS], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_two_processes_may_build_the_same_library_at_once(tmp_path):
    processes = [start(tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0].split() for process in processes]
    folder = tmp_path / "minseg" / "emulator"
    assert outputs == [["7", str(folder)]] * 2
    assert {file.suffix for file in folder.iterdir()} == {".so", ".json", ".o"}  # no temporary file is left


def test_a_cache_that_cannot_be_written_is_replaced_by_a_temporary_one(tmp_path):
    occupied = tmp_path / "occupied"
    occupied.write_text("a file where the folder would be")
    output = start(occupied).communicate(timeout=120)[0].split()
    assert output[0] == "7"
    assert not Path(output[1]).exists()  # it was removed at the end


def test_the_error_is_of_the_projects_family():
    assert issubclass(EmulatorError, MinsegError)
    assert issubclass(EmulatorError, RuntimeError)


@pytest.mark.skipif(nvrtc.why_not() is not None, reason=str(nvrtc.why_not()))
@pytest.mark.parametrize("source", [PLANTED, CORRECT.replace('#include "sums.cuh"', (FOLDER / "sums.cuh").read_text())])
def test_the_kernels_of_these_tests_are_cuda(source):
    assert not nvrtc.compile_source(source, "test.cu", 75).error


@pytest.mark.skipif(nvrtc.why_not() is not None, reason=str(nvrtc.why_not()))
@pytest.mark.parametrize("expression", NOT_IN_NVRTC)
def test_nvrtc_lacks_what_is_said_to_be_missing(expression):
    assert nvrtc.compile_source(
        f'extern "C" __global__ void f(float* y) {{ y[0] = {expression}; }}', "more.cu", 75
    ).error


@pytest.mark.parametrize("module", ["arrays", "launch"])
def test_the_examples_in_the_docstrings_run(module):
    found = doctest.testmod(importlib.import_module(f"minseg.kernels.emulator.{module}"))
    assert found.attempted
    assert not found.failed
