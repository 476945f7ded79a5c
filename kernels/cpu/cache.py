"""Where compiled kernels are kept: Numba's cache, made safe for whoever edits kernels and for processes that start together.

Numba keeps machine code in ``NUMBA_CACHE_DIR`` if that is set, else in ``__pycache__`` beside the kernel, else in the user's cache
folder. That stays. What differs here:

* Code is fresh as long as no file has changed that the kernel's file imports, directly or not, from ``kernels/cpu``. Numba looks at
  the kernel's own file, and goes on running what was compiled from an older ``simd.py``.
* A file's name is made from the types and the processor that its code is for. Numba numbers its files: of two processes that
  compile a kernel for different types at once, both may write number 1, and the next one loads float64 code for float32.
* Where no folder can be written, or the disk is full, a warning says so in one line, and every process compiles for itself. Numba
  refuses to import the kernel, or fails after compiling it.
* A file that is damaged counts as absent.
"""

import ast
import hashlib
import pickle
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numba
from numba.core.caching import FunctionCache, NullCache
from numba.core.serialize import dumps

from minseg.errors import FileError
from minseg.files import write_bytes
from minseg.kernels import compiling

FOLDER = Path(__file__).resolve().parent


def cache_for(function: Callable):
    """The cache of a kernel, to be put into its dispatcher."""
    try:
        return KernelCache(function)
    except RuntimeError:  # none of Numba's places will do
        _warn_once("no folder for them can be written")
        return NoCache(function)


class KernelCache(FunctionCache):
    """Numba's cache of a kernel, with files of our own."""

    def __init__(self, function: Callable):
        super().__init__(function)
        name = f"{Path(function.__code__.co_filename).stem}.{function.__qualname__}"
        self._cache_file = CodeFiles(Path(self.cache_path), name, source_stamp(function))

    def load_overload(self, sig, target_context):
        code = super().load_overload(sig, target_context)
        if code is None:
            compiling.announce(self._py_func.__name__)
        return code


class NoCache(NullCache):
    """Keeps nothing."""

    def __init__(self, function: Callable):
        self.function = function

    def load_overload(self, sig, target_context):
        compiling.announce(self.function.__name__)


class CodeFiles:
    """The files of one kernel: one for each key of Numba's, which is (argument types, processor, hashes of the function)."""

    def __init__(self, folder: Path, name: str, stamp: str):
        self.folder = folder
        self.name = f"{name}.{sys.implementation.cache_tag}"
        self.stamp = f"{numba.__version__} {stamp}"

    def path(self, key: tuple) -> Path:
        types_and_processor = hashlib.sha256(repr(key[:2]).encode()).hexdigest()
        return self.folder / f"{self.name}.{types_and_processor[:16]}.nbc"

    def load(self, key: tuple):
        """The code for this key, or None if there is none that was made from these sources."""
        try:
            stored, code = pickle.loads(self.path(key).read_bytes())
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            return None
        return code if stored == self._label(key) else None

    def save(self, key: tuple, code) -> None:
        try:
            write_bytes(self.path(key), dumps((self._label(key), code)))
        except FileError as error:
            _warn_once(str(error))

    def flush(self) -> None:
        for file in self.folder.glob(f"{self.name}.*.nbc"):
            file.unlink(missing_ok=True)

    def _label(self, key: tuple) -> str:
        return f"{self.stamp} {key!r}"


# ------------------------------------------------------------------------------------------------------------- freshness


def source_stamp(function: Callable) -> str:
    """A hash over the function's file and all files of this folder that it is built from."""
    files = sorted(sources(Path(function.__code__.co_filename).resolve()))
    return hashlib.sha256(b"".join(_read(file)[0] for file in files)).hexdigest()


def sources(file: Path) -> set[Path]:
    """The file, and the files of this folder that it imports, directly or not."""
    found, waiting = set(), {file}
    while waiting:
        found |= waiting
        waiting = set().union(*(_read(one)[1] for one in waiting)) - found
    return found


@cache
def _read(file: Path) -> tuple[bytes, frozenset[Path]]:
    """A hash of the file's text, and the files of this folder that it imports."""
    text = file.read_bytes()
    modules = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    inside = [name.removeprefix(f"{__package__}.") for name in modules if name and name.startswith(f"{__package__}.")]
    paths = [FOLDER / f"{name.replace('.', '/')}.py" for name in inside]
    return hashlib.sha256(text).digest(), frozenset(path for path in paths if path.is_file())


@cache
def _warn_once(reason: str) -> None:
    text = f"compiled kernels are not kept, and every start compiles them again: {reason}; set NUMBA_CACHE_DIR to a folder of yours"
    warnings.warn_explicit(text, UserWarning, "minseg", 0)
