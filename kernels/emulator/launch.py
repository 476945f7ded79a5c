"""Modules, kernels and launches, in the shape of CuPy's: ``Module(source, name).function("relu")(grid, block, args)``."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minseg.errors import ArgumentError, EmulatorError, nearest_names
from minseg.kernels.emulator import build
from minseg.kernels.emulator.arrays import all_written, written_flags
from minseg.kernels.emulator.library import ORDERS, Array, Loaded, load
from minseg.kernels.emulator.signature import Parameter, memory_of

MOST_SHARED = 48 << 10


@dataclass(frozen=True)
class Launching:
    """How launches run: see :func:`launching`."""

    mode: str | None = None
    order: str = "ascending"
    seed: int = 0


_launching: ContextVar[Launching] = ContextVar("launching", default=Launching())  # noqa: B039 (it is frozen)


@contextlib.contextmanager
def launching(mode: str | None = None, order: str = "ascending", seed: int = 0) -> Iterator[Launching]:
    """Say how launches inside the block run.

    Parameters
    ----------
    mode
        ``"fast"`` compiles with optimisation and trusts the kernel; ``"checked"`` looks at every access to memory and reports
        races, accesses outside arrays and the like. None leaves it to the Module.
    order
        In which order threads and blocks take their turns: ``"ascending"``, ``"descending"``, ``"shuffled"`` (anew at every
        barrier) or ``"interleaved"`` (one lane of each warp in turn, backwards after every barrier; blocks from both ends). The
        result of a correct kernel does not depend on it, but for the rounding of sums by atomicAdd.
    seed
        For ``"shuffled"``.
    """
    if mode is not None:
        _expect_choice("mode", mode, build.MODES)
    _expect_choice("order", order, ORDERS)
    token = _launching.set(Launching(mode, order, int(seed)))
    try:
        yield _launching.get()
    finally:
        _launching.reset(token)


def _expect_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ArgumentError(f"{what} must be one of {', '.join(choices)}, got {value!r}")


class Module:
    """The kernels of one .cu file.

    Parameters
    ----------
    source
        The text of the file, as NVRTC would get it.
    filename
        What messages call it.
    defines
        Macros: ``("REAL=float",)``.
    include_dirs
        Folders for ``#include "common.cuh"``.
    mode
        ``"fast"`` or ``"checked"``: how its kernels run where no :func:`launching` block says otherwise.

    Raises
    ------
    EmulatorError
        If it does not compile, with the message of g++, or if g++ is missing.

    Examples
    --------
    >>> source = '''extern "C" __global__ void twice(const float* x, float* y, int n) {
    ...     int i = blockIdx.x * blockDim.x + threadIdx.x;
    ...     if (i < n) y[i] = 2 * x[i];
    ... }'''
    >>> twice = Module(source, "twice.cu").function("twice")
    >>> x, y = np.arange(5, dtype=np.float32), np.zeros(5, np.float32)
    >>> twice((2,), (4,), (x, y, np.int32(5)))
    >>> y
    array([0., 2., 4., 6., 8.], dtype=float32)
    >>> with launching("checked", order="shuffled"):  # six elements, when there are five
    ...     twice((2,), (4,), (x, y, np.int32(6)))
    Traceback (most recent call last):
    minseg.errors.EmulatorError: twice.cu:3: out of bounds in kernel twice, block (1, 0, 0), thread (1, 0, 0): it reads x[5], but \
x has 5 elements
    """

    def __init__(
        self,
        source: str,
        filename: str,
        defines: tuple[str, ...] = (),
        include_dirs: tuple[Path, ...] = (),
        mode: str = "fast",
    ):
        _expect_choice("mode", mode, build.MODES)
        if (reason := build.why_not()) is not None:
            raise EmulatorError(reason)
        self.filename, self.mode = filename, mode
        self.source = build.preprocess(source, filename, tuple(defines), tuple(include_dirs))
        self._loaded: dict[str, Loaded] = {}
        self._kernels: dict[str, Kernel] = {}

    @property
    def names(self) -> list[str]:
        """The kernels in the file."""
        return list(self.source.kernels)

    def function(self, name: str) -> "Kernel":
        """The kernel of this name."""
        if name not in self.source.kernels:
            raise EmulatorError(f"{self.filename} has no kernel {name!r}; {nearest_names(name, self.names)}")
        if name not in self._kernels:
            self._kernels[name] = Kernel(self, name)
        return self._kernels[name]

    def loaded(self, mode: str) -> Loaded:
        """The compiled module in this mode."""
        if mode not in self._loaded:
            self._loaded[mode] = load(build.compiled(self.source, mode))
        return self._loaded[mode]


class Kernel:
    """One kernel, to be launched: ``kernel(grid, block, args, shared_mem=0)``.

    Arguments are arrays of the emulator's array module or NumPy arrays, C-contiguous and of the parameter's dtype, and NumPy
    scalars of exactly the parameter's type: a Python number would reach a GPU as 8 bytes, whatever the kernel expects.
    """

    def __init__(self, module: Module, name: str):
        self.module, self.name = module, name
        loaded = module.loaded(self._mode())  # what does not compile is told now, not at the first launch
        names, types = module.source.kernels[name], loaded.signature(name)
        self.parameters = tuple(Parameter.parse(*pair) for pair in zip(names, types, strict=True))
        """What the kernel takes."""
        self.most_threads = loaded.most_threads(name)
        """The largest block: what ``__launch_bounds__`` says, or 1024."""

    def _mode(self) -> str:
        return _launching.get().mode or self.module.mode

    def __repr__(self) -> str:
        return f"<kernel {self.name}({', '.join(map(str, self.parameters))}) of {self.module.filename}>"

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple, shared_mem: int = 0) -> None:
        """Run the kernel over grid x block threads; EmulatorError says what it did wrong."""
        how, mode = _launching.get(), self._mode()
        loaded = self.module.loaded(mode)
        grid, block = self._dimensions(grid, block)
        self._expect_room(loaded, shared_mem)
        self._expect_count(args)
        values = [parameter.value(argument, self.name) for parameter, argument in zip(self.parameters, args)]
        arrays = self._arrays(args, values, mode)
        loaded.launch(self.name, grid, block, values, arrays, shared_mem, how.order, how.seed, mode == "checked")

    def _dimensions(self, grid, block) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Grid and block as three numbers each, inside CUDA's limits."""
        for what, sizes, most in (("grid", grid, (2**31 - 1, 65535, 65535)), ("block", block, (1024, 1024, 64))):
            whole = isinstance(sizes, tuple) and all(isinstance(n, int | np.integer) for n in sizes)
            if not whole or not 1 <= len(sizes) <= 3:
                raise EmulatorError(f"{self.name}: {what} must be a tuple of one to three integers, got {sizes!r}")
            if any(not 1 <= n <= limit for n, limit in zip(sizes, most)):
                raise EmulatorError(f"{self.name}: {what} {sizes} is outside CUDA's limits: 1 to {most}")
        threads = int(np.prod(block))
        if threads > self.most_threads:
            limit = "CUDA's limit" if self.most_threads == 1024 else "its __launch_bounds__"
            raise EmulatorError(f"{self.name}: block {block} has {threads} threads, {limit} is {self.most_threads}")
        return tuple((*map(int, grid), 1, 1)[:3]), tuple((*map(int, block), 1, 1)[:3])

    def _expect_room(self, loaded: Loaded, shared_mem: int) -> None:
        own = sum(size for name, _, size in loaded.shared if name.startswith(f"{self.name}::"))
        if not 0 <= shared_mem <= MOST_SHARED - own:
            raise EmulatorError(
                f"{self.name}: {shared_mem} bytes of dynamic shared memory and {own} of its own arrays; "
                f"a block has {MOST_SHARED}"
            )

    def _expect_count(self, args) -> None:
        if not isinstance(args, tuple):
            raise EmulatorError(f"{self.name}: args must be a tuple, got {type(args).__name__}")
        if len(args) != len(self.parameters):
            takes = ", ".join(map(str, self.parameters))
            raise EmulatorError(f"{self.name} takes {len(self.parameters)} arguments ({takes}), got {len(args)}")

    def _arrays(self, args: tuple, values: list[np.ndarray], mode: str) -> list[Array]:
        """The arrays among the arguments, as the checker wants them."""
        found = []
        for parameter, argument, value in zip(self.parameters, args, values):
            if not parameter.pointer:
                continue
            memory = memory_of(argument)
            array = Array(
                memory.ctypes.data, memory.nbytes, memory.itemsize, parameter.read_only, parameter.name.encode()
            )
            array.argument = value.ctypes.data
            if mode == "checked":
                array.written = written_flags(memory)
            elif not parameter.read_only:
                all_written(memory)  # as far as anybody knows
            found.append(array)
        return found
