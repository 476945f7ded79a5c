"""Which kernels an operation runs on: the backends, choosing one, and the checks every call passes.

``with use_backend("numpy"): ...`` or, for good, ``use_backend("numpy")``. An operation asks ``current()`` for its kernels when it
runs, and its backward pass uses the same ones, whatever was chosen since.
"""

import importlib
import importlib.util
from collections.abc import Callable
from functools import cache, cached_property

import numpy as np

from minseg.errors import ArgumentError, BackendError, Unsupported, nearest_names
from minseg.kernels import spec


class Backend:
    """The kernels of one backend, as methods named like the primitives of ``kernels/spec.py``.

    ``backend.conv2d(x, w, b, ...)`` checks dtypes, shapes and where the arrays live, makes them contiguous, and calls the kernel.
    """

    def __init__(self, name: str, package: str, xp):
        self.name = name
        self.package = package
        self.xp = xp
        """The array module: NumPy here, CuPy on a GPU."""

    def __repr__(self) -> str:
        return f"<minseg backend {self.name}>"

    def implementation(self, primitive: spec.Primitive) -> Callable:
        """The kernel itself, unchecked; Unsupported where this backend has none."""
        module = importlib.import_module(f"minseg.kernels.{self.package}.{primitive.family}")
        kernel = getattr(module, primitive.name, None)
        if kernel is None:
            raise Unsupported(f"{primitive.name}: the {self.name} backend has no kernel for it [{primitive.equation}]")
        return kernel

    def __getattr__(self, name: str) -> Callable:
        if name not in spec.PRIMITIVES:
            raise AttributeError(f"{name!r} is not a primitive of kernels/spec.py")
        primitive = spec.PRIMITIVES[name]
        kernel = self.implementation(primitive)
        arrays = [(position, argument) for position, argument, _ in primitive.arrays]

        def call(*args):
            args = list(args)
            for position, argument in arrays:
                if args[position] is not None:
                    self.expect_here(args[position], name, argument)
                    args[position] = self.contiguous(args[position])
            primitive.check(*args)
            result = kernel(*args)
            return (
                np.asarray(result) if isinstance(result, np.generic) else result
            )  # NumPy turns 0-d arrays into scalars

        call.__name__, call.__doc__ = name, primitive.doc
        setattr(self, name, call)  # the next call finds it without coming here
        return call

    def expect_here(self, array, where: str, what: str) -> None:
        """Raise BackendError unless the array is one that this backend's kernels can read."""
        if not isinstance(array, self.xp.ndarray):
            raise BackendError(
                f"{where}: {what} is a {type(array).__module__}.{type(array).__name__}, but the active backend {self.name!r} "
                f"works on {self.xp.__name__}.ndarray; convert it with minseg.tensor(...) or change the backend with "
                "minseg.use_backend"
            )

    @property
    def on_host(self) -> bool:
        """Whether arrays are NumPy's. On a device, to look at a value is to wait for every kernel that was launched before."""
        return self.xp is np

    def asarray(self, array):
        """The array where this backend's kernels can read it."""
        return self.xp.asarray(array)

    # What follows is no primitive, for every array module has it; but Numba's threads do it faster than NumPy's one, or in peace.

    @cached_property
    def _threads(self):
        """The module of what Numba's threads do with whole arrays; None where the array module does it."""
        return importlib.import_module("minseg.kernels.cpu.arrays") if self.name == "numba" else None

    def matmul(self, a, b):
        """The product of two matrices, or of two stacks of them."""
        return self._threads.matmul(a, b) if self._threads else a @ b

    def contiguous(self, array):
        """The array, or a copy whose numbers lie in the order of its axes."""
        return self._threads.contiguous(array) if self._threads else self.xp.asarray(array, order="C")

    def reshape(self, array, shape: tuple[int, ...]):
        """The array's numbers, in the order of its axes, in another shape."""
        return (self._threads.contiguous(array) if self._threads else array).reshape(shape)

    def concatenate(self, arrays, axis: int):
        """The arrays one after the other along an axis."""
        return (self._threads or self.xp).concatenate(arrays, axis)

    def part(self, array, axis: int, start: int, size: int):
        """So many entries along an axis: a view, or a copy of them."""
        if self._threads:
            return self._threads.part(array, axis, start, size)
        return array[(slice(None),) * axis + (slice(start, start + size),)]

    def add(self, a, b):
        """The sum of two arrays."""
        return self._threads.add(a, b) if self._threads else a + b

    def multiply(self, a, b):
        """The product of two arrays, number by number."""
        return self._threads.multiply(a, b) if self._threads else a * b

    def sum_over(self, array, axes: tuple[int, ...]):
        """The sum over some axes."""
        return self._threads.sum_over(array, axes) if self._threads else array.sum(axis=axes)

    def to_numpy(self, array) -> np.ndarray:
        """The array as a NumPy array on the host."""
        return array if isinstance(array, np.ndarray) else array.get()


def _why_not_numba() -> str | None:
    return None if importlib.util.find_spec("numba") else "Numba is not installed: pip install numba"


def _why_not_cupy() -> str | None:
    """CuPy may be installed where there is no GPU: importing it works there, and asking for a device says what is missing."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed: pip install 'minseg[cuda13]', or 'minseg[cuda12]' for a driver of CUDA 12"
    try:
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy's own classes, an ImportError of its libraries: whatever keeps it from running
        return f"CuPy finds no GPU that it can use: {' '.join(str(error).split())}"
    return None if count else "CuPy finds no GPU"


def _why_not_emulator() -> str | None:
    from minseg.kernels import emulator

    return emulator.why_not()


_WHY_NOT: dict[str, Callable[[], str | None]] = {
    "numpy": lambda: None,
    "numba": _why_not_numba,
    "cupy": _why_not_cupy,
    "emulator": _why_not_emulator,
}


def available_backends() -> dict[str, str | None]:
    """Every backend by name, with None where it works here and otherwise the reason why it does not.

    >>> available_backends()["numpy"] is None
    True
    """
    return {name: why() for name, why in _WHY_NOT.items()}


def quick_backends() -> list[str]:
    """Those that work here and compute at speed: all but the emulator, which is asked for by name."""
    return [name for name, reason in available_backends().items() if reason is None and name != "emulator"]


def get(name: str = "auto") -> Backend:
    """The backend of this name; ``auto`` is ``cupy`` where a GPU answers, else ``numba``. BackendError says why one cannot run."""
    if name == "auto":
        name = "cupy" if _WHY_NOT["cupy"]() is None else "numba"
    if name not in _WHY_NOT:
        raise ArgumentError(f"unknown backend {name!r}; {nearest_names(name, [*_WHY_NOT, 'auto'])}")
    reason = _WHY_NOT[name]()
    if reason is not None:
        raise BackendError(f"backend {name!r} cannot run here: {reason}")
    return _make(name)


@cache
def _make(name: str) -> Backend:
    packages = {"numpy": "reference", "numba": "cpu", "cupy": "cuda", "emulator": "cuda"}
    return Backend(name, packages[name], _array_module(name))


def _array_module(name: str):
    if name == "cupy":
        import cupy

        return cupy
    if name == "emulator":
        from minseg.kernels import emulator

        return emulator.xp
    return np


_current: Backend | None = None


def current() -> Backend:
    """The backend that operations run on now (``auto`` until one is chosen)."""
    global _current
    if _current is None:
        _current = get("auto")
    return _current


class use_backend:
    """Choose the backend: ``use_backend("numpy")`` for good, ``with use_backend("numpy"):`` for a block.

    >>> with use_backend("numpy"):
    ...     current().name
    'numpy'
    """

    def __init__(self, name: str):
        global _current
        self.before = _current
        _current = get(name)

    def __enter__(self) -> Backend:
        return _current

    def __exit__(self, *exception) -> None:
        global _current
        _current = self.before
