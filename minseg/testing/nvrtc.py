"""Compile the CUDA kernels without a GPU, a driver or CuPy: NVRTC, NVIDIA's run-time compiler, is an ordinary Python package.

nvcc, which most examples are written for, accepts more than NVRTC: ``INFINITY``, ``int64_t`` and ``FLT_MAX`` need headers that
NVRTC does not have. CuPy compiles with NVRTC, so this is what decides. The options are those that CuPy adds by itself.

``python -m minseg.testing.nvrtc`` prints what each kernel takes of a multiprocessor: registers and shared memory, and whether
registers did not suffice and spilled into memory.
"""

import ctypes
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

from minseg import kernels
from minseg.errors import BackendError

CUDA = Path(kernels.__path__[0]) / "cuda"
"""The folder of the ``.cu`` files."""

ARCHITECTURES = (75, 80, 90)
"""Turing, Ampere and Hopper: every kernel must compile for these; newer ones are added by NVRTCs that know them."""

CUPY_OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")
"""How CuPy 14 compiles a RawModule that is made with ``-std=c++17``."""

REALS = ("float", "double")


@dataclass(frozen=True)
class Usage:
    """What one compiled kernel takes of a multiprocessor; registers are counted for a thread, memory in bytes."""

    kernel: str
    registers: int
    shared: int
    spilled: int


@dataclass(frozen=True)
class Compiled:
    """What NVRTC made of a file: an empty ``error``, or what it had to say instead."""

    error: str
    kernels: tuple[Usage, ...]


def cu_files() -> list[Path]:
    """Every ``.cu`` file of the CUDA backend."""
    return sorted(CUDA.glob("*.cu"))


@cache
def nvrtc() -> ctypes.CDLL:
    """NVRTC's library, from the package ``nvidia-cuda-nvrtc`` (CUDA 13) or ``nvidia-cuda-nvrtc-cu12``.

    Raises
    ------
    BackendError
        If neither is installed.
    """
    nvidia = Path(sysconfig.get_path("purelib")) / "nvidia"
    others = [Path(folder) / "nvidia" for folder in sys.path if folder.endswith("-packages")]
    for folder in (nvidia, *others):
        for package in ("cu13", "cuda_nvrtc"):
            libraries = sorted(folder.glob(f"{package}/lib/libnvrtc.so.*"))
            if libraries:
                return ctypes.CDLL(str(libraries[0]))
    raise BackendError("NVRTC is not installed: pip install 'minseg[test]', or nvidia-cuda-nvrtc")


def why_not() -> str | None:
    """Why kernels cannot be compiled here; None if they can."""
    try:
        nvrtc()
    except (BackendError, OSError) as error:
        return str(error)
    return None


def architectures() -> list[int]:
    """Those that every kernel must compile for, and whatever newer ones this NVRTC knows."""
    count = ctypes.c_int()
    _call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
    known = (ctypes.c_int * count.value)()
    _call("nvrtcGetSupportedArchs", known)
    return sorted({*ARCHITECTURES, *(arch for arch in known if arch > max(ARCHITECTURES))})


def compile_source(source: str, name: str, architecture: int, real: str = "float") -> Compiled:
    """Compile CUDA C for one architecture, with ``REAL`` as the float type."""
    options = [
        *CUPY_OPTIONS,
        f"-DREAL={real}",
        f"-I{CUDA}",
        f"-arch=sm_{architecture}",
        "--ptxas-options=-v",
    ]
    encoded = [option.encode() for option in options]
    program = ctypes.c_void_p()
    _call("nvrtcCreateProgram", ctypes.byref(program), source.encode(), name.encode(), 0, None, None)
    try:
        failed = nvrtc().nvrtcCompileProgram(program, len(encoded), (ctypes.c_char_p * len(encoded))(*encoded))
        log = _log(program)
    finally:
        _call("nvrtcDestroyProgram", ctypes.byref(program))
    return Compiled(log or f"NVRTC error {failed}", ()) if failed else Compiled("", tuple(_usages(log)))


def _call(function: str, *arguments) -> None:
    code = getattr(nvrtc(), function)(*arguments)
    if code:
        raise BackendError(f"{function} failed with NVRTC error {code}")


def _log(program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    _call("nvrtcGetProgramLogSize", program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    _call("nvrtcGetProgramLog", program, buffer)
    return buffer.value.decode(errors="replace").strip()


_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_SPILLED = re.compile(r"(\d+) bytes spill stores")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


def _usages(log: str) -> Iterator[Usage]:
    """One for each kernel that the assembler reports on; after its name come its spills and, last, its registers."""
    for report in re.split(r"(?=ptxas info\s*: Compiling entry function)", log):
        entry, registers = _ENTRY.search(report), _REGISTERS.search(report)
        if entry and registers:
            shared, spilled = _SHARED.search(report), _SPILLED.search(report)
            yield Usage(entry[1], int(registers[1]), int(shared[1]) if shared else 0, int(spilled[1]) if spilled else 0)


@cache
def compiled(file: str, architecture: int, real: str) -> Compiled:
    """A file of the CUDA backend, compiled once in this process."""
    return compile_source((CUDA / file).read_text(encoding="utf-8"), file, architecture, real)


def compile_all(archs: Sequence[int], reals: Sequence[str] = REALS) -> dict[tuple[str, int, str], Compiled]:
    """Every file for every architecture and type, on all cores: NVRTC works while Python waits."""
    keys = list(product((path.name for path in cu_files()), archs, reals))
    keys.sort(key=lambda key: -(CUDA / key[0]).stat().st_size)  # those that take longest first
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(keys, pool.map(lambda key: compiled(*key), keys)))


def table(archs: Sequence[int], real: str) -> str:
    """Registers, shared memory and spills of every kernel, the most of all architectures."""
    rows = [f"{'kernel':<52} {'registers':>9} {'shared':>7} {'spilled':>7}"]
    most: dict[str, list[int]] = {}
    for (file, arch, _), made in sorted(compile_all(archs, [real]).items()):
        if made.error:
            return f"{file} does not compile for sm_{arch}:\n{made.error}"
        for usage in made.kernels:
            found = most.setdefault(f"{file}: {usage.kernel}", [0, 0, 0])
            found[:] = map(max, found, (usage.registers, usage.shared, usage.spilled))
    return "\n".join([*rows, *(f"{name:<52} {r:>9} {s:>7} {spilled:>7}" for name, (r, s, spilled) in most.items())])


if __name__ == "__main__":
    for number in REALS:
        print(f"REAL = {number}, the most of {', '.join(f'sm_{arch}' for arch in ARCHITECTURES)}; memory in bytes")
        print(table(ARCHITECTURES, number), "\n")
