"""Modules, kernels and launches, in the shape of CuPy's: ``Module(source, name).function("relu")(grid, block, args)``."""

import contextlib
import ctypes
import re
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from minseg.errors import ArgumentError, EmulatorError, nearest_names
from minseg.kernels.emulator import build
from minseg.kernels.emulator.arrays import all_written, ndarray, written_flags

ORDERS = ("ascending", "descending", "shuffled", "interleaved")
"""In which order the threads of a block, and the blocks of a grid, take their turns; numbered as in scheduler.cpp."""

MOST_SHARED = 48 << 10
_LOCK = threading.Lock()  # the scheduler keeps its state in the library: one launch at a time


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


# ------------------------------------------------------------------------------------------------- what C++ and Python share


class _Index3(ctypes.Structure):
    _fields_ = [(axis, ctypes.c_uint) for axis in "xyz"]

    def __iter__(self):
        return iter((self.x, self.y, self.z))


class _Report(ctypes.Structure):
    """``Report`` of runtime.h."""

    _fields_ = [
        ("kind", ctypes.c_char * 32),
        ("place", ctypes.c_char * 256),
        ("block", _Index3),
        ("thread", _Index3),
        ("text", ctypes.c_char * 1024),
    ]


class _Array(ctypes.Structure):
    """``Array`` of checker.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
        ("element_bytes", ctypes.c_size_t),
        ("read_only", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("argument", ctypes.c_void_p),
        ("written", ctypes.c_void_p),
    ]


_TYPES = {
    "bool": np.bool_,
    "char": np.int8,
    "signed char": np.int8,
    "unsigned char": np.uint8,
    "short": np.int16,
    "short int": np.int16,
    "short unsigned int": np.uint16,
    "int": np.int32,
    "unsigned int": np.uint32,
    "long int": np.int64,
    "long unsigned int": np.uint64,
    "long long int": np.int64,
    "long long unsigned int": np.uint64,
    "float": np.float32,
    "double": np.float64,
}
"""The types of kernel parameters as g++ writes them. Pointers to vectors (float4*) take arrays of the element's type."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: its name, its NumPy type, and whether it is a pointer (to memory it may only read)."""

    name: str
    dtype: np.dtype
    pointer: bool = False
    read_only: bool = False

    @classmethod
    def parse(cls, name: str, text: str) -> "Parameter":
        """``const float*`` as g++ prints it."""
        pointer = text.endswith("*")
        base = text.removesuffix("*").strip()
        read_only = pointer and base.startswith("const ")
        base = base.removeprefix("const ")
        vector = re.fullmatch(r"(float|double|int|uint|uchar)[234]", base)
        if vector:
            base = {"uint": "unsigned int", "uchar": "unsigned char"}.get(vector[1], vector[1])
        if base not in _TYPES:
            raise EmulatorError(f"parameter {name}: the emulator does not know the type {text}")
        return cls(name, np.dtype(_TYPES[base]), pointer, read_only)

    def __str__(self) -> str:
        return f"{'const ' * self.read_only}{self.dtype}{'*' * self.pointer} {self.name}"


# ------------------------------------------------------------------------------------------------------ modules and kernels


class _Loaded:
    """A compiled module in this process."""

    def __init__(self, library: build.Library):
        self.path = library.path
        self.shared = library.shared
        self.code = ctypes.CDLL(str(library.path))
        for name, offset, size in library.shared:
            self.code.emulator_add_shared(name.split("::")[-1].encode(), ctypes.c_size_t(offset), ctypes.c_size_t(size))

    def lines(self, text: str) -> str:
        """Addresses ``@1a2f@`` of the machine code as file:line of the source."""

        def line(match):
            # the address is where the call returns to; one byte earlier is still the call
            address = hex(int(match[1], 16) - 1)
            found = build.run(["addr2line", "-e", str(self.path), address], self.path.name).split()[0]
            return Path(found).name

        return re.sub(r"@([0-9a-f]+)@", line, text)


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
        self._loaded: dict[str, _Loaded] = {}
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

    def loaded(self, mode: str) -> _Loaded:
        """The compiled module in this mode."""
        if mode not in self._loaded:
            self._loaded[mode] = _Loaded(build.compiled(self.source, mode))
        return self._loaded[mode]


class Kernel:
    """One kernel, to be launched: ``kernel(grid, block, args, shared_mem=0)``.

    Arguments are arrays of the emulator's array module or NumPy arrays, C-contiguous and of the parameter's dtype, and NumPy
    scalars of exactly the parameter's type: a Python number would reach a GPU as 8 bytes, whatever the kernel expects.
    """

    def __init__(self, module: Module, name: str):
        self.module, self.name = module, name
        self._code(self._mode())  # what does not compile is told now, not at the first launch

    def _mode(self) -> str:
        return _launching.get().mode or self.module.mode

    def _code(self, mode: str):
        return self.module.loaded(mode).code

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What the kernel takes."""
        signature = getattr(self._code(self._mode()), f"emulator_signature_{self.name}")
        signature.restype = ctypes.c_char_p
        types = re.search(r"\{(.*)\}", signature().decode())[1].split(", ")
        names = self.module.source.kernels[self.name]
        return tuple(Parameter.parse(name, text) for name, text in zip(names, types if names else (), strict=True))

    @cached_property
    def most_threads(self) -> int:
        """The largest block: what ``__launch_bounds__`` says, or 1024."""
        return getattr(self._code(self._mode()), f"emulator_bounds_{self.name}")()

    def __repr__(self) -> str:
        return f"<kernel {self.name}({', '.join(map(str, self.parameters))}) of {self.module.filename}>"

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple, shared_mem: int = 0) -> None:
        """Run the kernel over grid x block threads; EmulatorError says what it did wrong."""
        how, mode = _launching.get(), self._mode()
        loaded = self.module.loaded(mode)
        grid, block = self._dimensions(grid, block)
        self._expect_room(loaded, shared_mem)
        self._expect_count(args)
        values = [self._value(p, a) for p, a in zip(self.parameters, args)]
        pointers = (ctypes.c_void_p * max(1, len(values)))(*(value.ctypes.data for value in values))
        arrays = self._arrays(args, values, mode)
        report = _Report()
        with _LOCK:
            failed = loaded.code.emulator_launch(
                getattr(loaded.code, f"emulator_call_{self.name}"),
                pointers,
                (ctypes.c_uint * 3)(*grid),
                (ctypes.c_uint * 3)(*block),
                ctypes.c_size_t(shared_mem),
                ORDERS.index(how.order),
                ctypes.c_uint(how.seed),
                int(mode == "checked"),
                len(arrays),
                arrays,
                ctypes.byref(report),
            )
        if failed:
            raise self._error(loaded, report)

    # -------------------------------------------------------------------------------------------------- checks of a launch

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

    def _expect_room(self, loaded: _Loaded, shared_mem: int) -> None:
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

    def _value(self, parameter: Parameter, argument) -> np.ndarray:
        """What the kernel receives for this parameter, in memory: a number, or the address of an array."""
        what = f"{self.name}: argument {parameter.name}"
        if parameter.pointer:
            array = _host(argument)
            if not isinstance(array, np.ndarray):
                raise EmulatorError(f"{what}: expected an array, got {type(argument).__name__}")
            if array.dtype != parameter.dtype:
                raise EmulatorError(f"{what}: the kernel takes {parameter.dtype}*, the array is {array.dtype}")
            if not array.flags.c_contiguous:
                raise EmulatorError(
                    f"{what}: the array {array.shape} is not C-contiguous, and a kernel sees only where it begins; "
                    "pass xp.ascontiguousarray(array)"
                )
            if not parameter.read_only and not array.flags.writeable:
                raise EmulatorError(f"{what}: the kernel may write to it, but the array is read-only")
            return np.array(array.ctypes.data, np.uint64)
        if not isinstance(argument, np.generic):
            raise EmulatorError(
                f"{what}: expected a NumPy scalar of type {parameter.dtype}, got {type(argument).__name__}; "
                f"pass np.{parameter.dtype}(...), for a Python number reaches a GPU as 8 bytes"
            )
        if argument.dtype != parameter.dtype:
            raise EmulatorError(f"{what}: the kernel takes {parameter.dtype}, got {argument.dtype}")
        return np.array(argument)

    def _arrays(self, args, values, mode: str) -> ctypes.Array:
        """The arrays among the arguments, for the checker."""
        given = [(p, _host(a), value) for p, a, value in zip(self.parameters, args, values) if p.pointer]
        arrays = (_Array * len(given))()
        for entry, (parameter, array, value) in zip(arrays, given):
            entry.data, entry.bytes, entry.element_bytes = array.ctypes.data, array.nbytes, array.itemsize
            entry.read_only, entry.name = parameter.read_only, parameter.name.encode()
            entry.argument = value.ctypes.data
            if mode == "checked":
                entry.written = written_flags(array)
            elif not parameter.read_only:
                all_written(array)  # as far as anybody knows
        return arrays

    def _error(self, loaded: _Loaded, report: _Report) -> EmulatorError:
        place, text = loaded.lines(report.place.decode()), loaded.lines(report.text.decode())
        block, thread = tuple(report.block), tuple(report.thread)
        kind = report.kind.decode()
        error = EmulatorError(f"{place}: {kind} in kernel {self.name}, block {block}, thread {thread}: {text}")
        error.kind, error.kernel, error.place, error.block, error.thread = kind, self.name, place, block, thread
        return error


def _host(argument):
    """The memory of an emulator's array; anything else as it is."""
    return argument.memory if isinstance(argument, ndarray) else argument
