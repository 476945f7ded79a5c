"""The narrow seam to whatever runs the kernels: a GPU through CuPy, or the emulator. An array's own type says which.

A device allocates arrays, launches kernels and multiplies matrices; host code in this folder asks for nothing else, so it is the
same on both. CuPy is imported when it is first used, never before.
"""

import hashlib
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minseg.errors import BackendError
from minseg.kernels import emulator, memory

FOLDER = Path(__file__).parent
REALS = {"float32": "float", "float64": "double"}
"""A .cu file is compiled once for each dtype, with the type ``real`` defined accordingly."""


class Device:
    """What host code needs of a device. ``xp`` is its array module."""

    xp = None

    def empty(self, shape: tuple[int, ...], dtype):
        """An uninitialised array, full of NaN (integers: of the smallest value) inside ``memory.poisoned()``."""
        out = self.xp.empty(shape, dtype)
        if memory.is_poisoning():
            out.fill(memory.poison_for(out.dtype))
        return out

    def zeros(self, shape: tuple[int, ...], dtype):
        """An array of zeros, for kernels that add to it."""
        return self.xp.zeros(shape, dtype)

    def matmul(self, a, b):
        """The matrix product over the last two axes, by the vendor's library: cuBLAS on a GPU."""
        return self.xp.matmul(a, b)

    def launch(self, file: str, kernel: str, real, grid: tuple, block: tuple, *args, shared_mem: int = 0) -> None:
        """Run a kernel of ``file.cu``, compiled for the dtype ``real``, over grid x block threads.

        Arguments are arrays of this device and NumPy scalars of exactly the kernel's types.
        """
        self.kernel(file, kernel, np.dtype(real).name)(grid, block, args, shared_mem=shared_mem)

    def kernel(self, file: str, kernel: str, real: str):
        """The compiled kernel; compiling happens once for each file and dtype, when it is first asked for."""
        raise NotImplementedError

    def time(self, work: Callable[[], object], count: int = 1, head_start: float = 0.0) -> "Timing":
        """How long the device takes to do the work ``count`` times, when it has finished all that was queued before.

        It is held for ``head_start`` seconds first: whoever queues everything in that time has it computed without a pause.
        """
        raise NotImplementedError

    def facts(self) -> dict[str, str]:
        """What a measurement means nothing without: the device's name and the software that drives it."""
        raise NotImplementedError


class Timing(NamedTuple):
    """What ``Device.time`` found."""

    seconds: float
    queueing: float
    """Seconds that it took to queue everything."""
    queued_ahead: bool
    """Whether everything was queued before the device began, so that it waited for no launch."""


class EmulatorDevice(Device):
    """The CPU, one thread after the other."""

    xp = emulator.xp

    def empty(self, shape: tuple[int, ...], dtype):
        """An uninitialised array: always full of poison here, and a checked launch that reads it before writing reports that."""
        return self.xp.empty(shape, dtype)

    @cache  # noqa: B019 (there is one device, for good)
    def kernel(self, file: str, kernel: str, real: str):
        return self._module(file, real).function(kernel)

    def time(self, work: Callable[[], object], count: int = 1, head_start: float = 0.0) -> Timing:
        """Nothing is queued here: what is launched is done."""
        seconds = _seconds(work, count)
        return Timing(seconds, seconds, True)

    def facts(self) -> dict[str, str]:
        return {"device": f"the emulator, on {platform.machine()}"}

    @cache  # noqa: B019
    def _module(self, file: str, real: str) -> emulator.Module:
        return emulator.Module(_source(file), f"{file}.cu", (f"REAL={REALS[real]}",), (FOLDER,))


class CupyDevice(Device):
    """A GPU. Launches are queued on CuPy's current stream and wait for nothing."""

    @property
    def xp(self):
        import cupy

        return cupy

    @cache  # noqa: B019
    def kernel(self, file: str, kernel: str, real: str):
        return self._module(file, real).get_function(kernel)

    def time(self, work: Callable[[], object], count: int = 1, head_start: float = 0.0) -> Timing:
        """Between two events on the current stream, which PyTorch's default stream is as well."""
        cuda = self.xp.cuda
        start, end = cuda.Event(), cuda.Event()
        if head_start:
            self._hold((1,), (1,), (np.int64(head_start * MOST_CYCLES),))
        start.record()
        queueing = _seconds(work, count)
        queued_ahead = not start.done
        end.record()
        end.synchronize()
        return Timing(cuda.get_elapsed_time(start, end) / 1e3, queueing, queued_ahead)

    @cached_property
    def _hold(self):
        return self.xp.RawKernel(HOLD, "hold")

    def facts(self) -> dict[str, str]:
        runtime = self.xp.cuda.runtime
        number = runtime.getDevice()
        about = runtime.getDeviceProperties(number)
        return {
            "device": about["name"].decode(),
            "architecture": f"sm_{about['major']}{about['minor']}",
            "memory": f"{about['totalGlobalMem'] / 2**30:.0f} GiB",
            "driver": f"{_driver()} (CUDA {_version(runtime.driverGetVersion())})",
            "runtime": f"CUDA {_version(runtime.runtimeGetVersion())}",
            "CuPy": self.xp.__version__,
        }

    @cache  # noqa: B019
    def _module(self, file: str, real: str):
        options = ("-std=c++17", f"-DREAL={REALS[real]}", f"-I{FOLDER}", f"-DHEADERS=0x{digest(FOLDER.glob('*.cuh'))}")
        return self.xp.RawModule(code=_source(file), options=options)


def digest(paths: Iterable[Path]) -> str:
    """Twelve hexadecimal digits that change when one of these files does.

    CuPy keeps what it has compiled on the disk under the text of the .cu file and the options, and does not look into headers: were
    their digest not among the options, an edited header would go on running as it was.
    """
    files = sorted(paths, key=lambda path: path.name)
    text = b"\0".join(part for path in files for part in (path.name.encode(), path.read_bytes()))
    return hashlib.sha256(text).hexdigest()[:12]


HOLD = """extern "C" __global__ void hold(long long cycles) {
    long long start = clock64();
    while (clock64() - start < cycles);
}"""
"""Keeps a stream busy for so many of a multiprocessor's cycles."""

MOST_CYCLES = 2e9
"""In a second; no card of today has many more."""


def _seconds(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        work()
    return time.perf_counter() - start


def _driver() -> str:
    """The driver's own version, which CUDA does not tell."""
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        said = []
    return said[0] if said else "of unknown version"


def _version(number: int) -> str:
    """12.8 of CUDA's 12080."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _source(file: str) -> str:
    return (FOLDER / f"{file}.cu").read_text(encoding="utf-8")


EMULATOR, CUPY = EmulatorDevice(), CupyDevice()


def device_of(array) -> Device:
    """The device that an array lives on."""
    if isinstance(array, emulator.xp.ndarray):
        return EMULATOR
    if type(array).__module__.partition(".")[0] == "cupy":
        return CUPY
    raise BackendError(
        f"a CUDA kernel got a {type(array).__module__}.{type(array).__name__}; it works on arrays of CuPy or of the emulator"
    )
