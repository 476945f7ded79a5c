"""The .cu files under NVRTC, which is what compiles them on a GPU: every architecture, both types; what kernels take of a
multiprocessor; and that the kernels in the files are those that the host code launches, no more and no fewer.
"""

import pytest

from minseg.kernels.cuda.device import HOLD, REALS
from minseg.testing import nvrtc
from minseg.testing.launches import Launch, launches, rungs

pytestmark = pytest.mark.skipif(nvrtc.why_not() is not None, reason=str(nvrtc.why_not()))

FILES = [path.name for path in nvrtc.cu_files()]
REGISTERS, SHARED, LANES, GRANULE = 65536, 48 << 10, 32, 256
"""Of a block on every architecture since Volta; a warp is given registers in lots of 256."""


@pytest.fixture(scope="module")
def compiled(request):
    """(file, architecture, type): what NVRTC made of it. Of the newest architectures only the newest one, unless --slow."""
    known = nvrtc.architectures()
    wanted = known if request.config.getoption("--slow") else [*nvrtc.ARCHITECTURES, known[-1]]
    return nvrtc.compile_all(dict.fromkeys(wanted))


@pytest.fixture(scope="module")
def launched() -> set[Launch]:
    """Everything that every rung launches for its cases, in both types."""
    return {launch for key in rungs() for dtype in REALS for launch in launches(*key, dtype)}


@pytest.mark.parametrize("file", FILES)
def test_every_file_compiles_for_every_architecture_and_type(compiled, file: str):
    made = {key: result for key, result in compiled.items() if key[0] == file}
    assert {key[1] for key in made} >= set(nvrtc.ARCHITECTURES)
    assert {key[2] for key in made} == set(nvrtc.REALS)
    assert not {key: result.error for key, result in made.items() if result.error}


def test_no_kernel_spills_its_registers(compiled):
    assert not [(key, usage) for key, result in compiled.items() for usage in result.kernels if usage.spilled]


@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
def test_the_kernel_that_holds_a_device_while_its_queue_is_filled_compiles(architecture: int):
    made = nvrtc.compile_source(HOLD, "hold.cu", architecture)
    assert (made.error, [usage.kernel for usage in made.kernels]) == ("", ["hold"])


def test_every_kernel_is_launched_and_every_launch_has_a_kernel(compiled, launched):
    asked = {(launch.file, launch.kernel, REALS[launch.real]) for launch in launched}
    for arch in {arch for _, arch, _ in compiled}:
        there = {
            (file.removesuffix(".cu"), usage.kernel, real)
            for (file, at, real), result in compiled.items()
            if at == arch
            for usage in result.kernels
        }
        assert there - asked == set(), "kernels that nobody launches"
        assert asked - there == set(), "launches of kernels that no file has"


def test_every_launch_fits_a_multiprocessor(compiled, launched):
    """Registers of all its warps, and shared memory: the kernel's own with what the launch adds."""
    usages = {
        (file.removesuffix(".cu"), usage.kernel, real, arch): usage
        for (file, arch, real), result in compiled.items()
        for usage in result.kernels
    }
    for launch in launched:
        for arch in {arch for _, arch, _ in compiled}:
            usage = usages[launch.file, launch.kernel, REALS[launch.real], arch]
            warps = -(-launch.threads // LANES)
            registers = -(-usage.registers * LANES // GRANULE) * GRANULE * warps
            assert registers <= REGISTERS, (launch, arch, usage)
            assert usage.shared + launch.shared <= SHARED, (launch, arch, usage)


def test_the_table_names_every_kernel_with_its_registers():
    table = nvrtc.table([80], "float").splitlines()
    assert table[0].split() == ["kernel", "registers", "shared", "spilled"]
    rows = {tuple(row.split()[:2]): list(map(int, row.split()[2:])) for row in table[1:]}
    made = {(f"{file}:", usage.kernel) for file in FILES for usage in nvrtc.compiled(file, 80, "float").kernels}
    assert set(rows) == made
    assert all(8 <= registers <= 255 for registers, _, _ in rows.values())
    product = rows["linear.cu:", "matmul_tiled"]
    assert product[1] == 4 * 16 * (64 + 4 + 128)  # its two tiles of float, each row of the first a pack longer


SPILLING = """extern "C" __global__ void f(const float* x, float* y, int n) {
    float kept[240];
    for (int k = 0; k < 240; ++k) kept[k] = x[k * n];
    for (int round = 0; round < n; ++round)
        for (int k = 0; k < 240; ++k) kept[k] = kept[k] * kept[(k + 7) % 240] + x[round];
    for (int k = 0; k < 240; ++k) y[k * n] = kept[k];
}"""


def test_spilled_registers_are_seen():
    """240 values that are all needed at once, beside their addresses, in at most 255 registers."""
    bounded = SPILLING.replace("void f", "__launch_bounds__(1024) void f").replace(
        "for (int k", "\n#pragma unroll\nfor (int k"
    )
    (usage,) = nvrtc.compile_source(bounded, "spilling.cu", 80).kernels
    assert usage.spilled > 0


@pytest.mark.parametrize("word", ["INFINITY", "FLT_MAX", "(int64_t)1"])
def test_what_nvcc_takes_and_nvrtc_does_not_is_an_error_with_its_line(word: str):
    made = nvrtc.compile_source(f'extern "C" __global__ void f(float* y) {{\n    y[0] = {word};\n}}', "more.cu", 75)
    assert "more.cu(2): error" in made.error
    assert not made.kernels


def test_launches_are_written_down():
    assert {(launch.file, launch.kernel, launch.real, launch.threads) for launch in launches("relu", "")} == {
        ("activation", "relu", "float32", 256)
    }
    assert {launch.shared for launch in launches("softmax", "block", "float64")} == {256 * 8}
