"""How every Numba kernel here is compiled: two decorators, so that the settings and their reasons stand in one place.

Nothing compiles on import. A kernel compiles when it first meets argument types, and cache.py keeps the machine code.
"""

import contextlib
import importlib
import os

from llvmlite import binding
from numba import njit
from numba.extending import register_jitable

from minseg.kernels.cpu.cache import cache_for

SPINS = "5000" if binding.get_host_cpu_name().startswith("znver") else "2000"
"""Turns that a waiting thread spins: about 0.1 ms, as Intel's pause instruction takes 140 cycles since Skylake, and AMD's some 60.
That is long enough for the Python between two loops: with 2000 on Zen 3 a training step at 64x64 took 60 ms for 50."""


def _load_threads() -> None:
    """Load Numba's OpenMP so that threads which wait for the next loop spin for a short time only.

    GNU's OpenMP lets them spin for milliseconds, even where another process wants that core, or the very thread that all wait for:
    on two cores that others used as well, training steps took up to five times as long. It reads its setting once, when it is
    loaded, so nothing need stay in the environment, where other libraries and processes would find it. A user's own choice stays.

    PyTorch brings an OpenMP of its own, unless this one is loaded already; sharing it costs PyTorch much speed on small images. So
    whoever compares loads PyTorch first, as ``minseg bench`` does.
    """
    chosen = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ)
    if not chosen:
        os.environ["GOMP_SPINCOUNT"] = SPINS
    with contextlib.suppress(ImportError):  # a Numba that was built without OpenMP has threads of another kind
        importlib.import_module("numba.np.ufunc.omppool")
    if not chosen:
        del os.environ["GOMP_SPINCOUNT"]


_load_threads()

ROUNDING = {"contract"}
"""Fast-math for every kernel: a * b + c may round once instead of twice."""

SUMMING = {"contract", "reassoc", "nsz"}
"""For loops that sum a row: the terms may be added in another order, so that eight lanes can each add their share (and the compiler
may start them at 0 or -0, which ``nsz`` allows). Which order is fixed when the kernel is compiled, so results still repeat bit for
bit. Never for code whose brackets matter, such as ``elementary.exp``, where x - n a - n b must not become x - n (a + b).

The flags that assume there is no NaN and no infinity are not used anywhere: both pass through a kernel as they should.
"""

_SETTINGS = {
    "nogil": True,
    "error_model": "numpy",  # x / 0 is inf or NaN, as in NumPy; a check for 0 would keep loops from being vectorised
}

_ONLY_PRANGE = {
    "prange": True,  # parallel where the kernel says so; Numba's own guesses cost compile time and nest regions in regions
    "comprehension": False,
    "reduction": False,
    "inplace_binop": False,
    "setitem": False,
    "numpy": False,
    "stencil": False,
    "fusion": False,
}


def kernel(function=None, *, fastmath=frozenset(ROUNDING)):
    """Compile a function that runs on one thread. LLVM inlines small ones, and each keeps its own fast-math flags."""
    if function is None:
        return lambda function: kernel(function, fastmath=fastmath)
    return _kept(njit(function, fastmath=set(fastmath), **_SETTINGS))


def parallel_kernel(function=None, *, fastmath=frozenset(ROUNDING)):
    """Compile a function whose ``prange`` loop the threads share.

    Each iteration writes its own part of the output, and sums are split into parts whose number depends on the shape alone: the
    bits of a result do not depend on the number of threads.

    Hand the loop's index to another kernel as ``np.int64(index)``: Numba sees it as signed first and as unsigned in the end, and
    would compile that kernel for both.
    """
    if function is None:
        return lambda function: parallel_kernel(function, fastmath=fastmath)
    return _kept(njit(function, parallel=_ONLY_PRANGE.copy(), fastmath=set(fastmath), **_SETTINGS))


def _kept(dispatcher):
    """The compiled function, its machine code kept on disk: what ``njit(cache=True)`` does, with our cache in place of Numba's."""
    dispatcher._cache = cache_for(dispatcher.py_func)
    return dispatcher


CHUNK = 16384
"""Elements that one iteration of ``prange`` takes where a loop over many is cut: enough to make starting it cheap, few enough to
give every core a share of a single image."""


@register_jitable
def chunks(count):
    """How many CHUNKs there are in so many elements; the last may be short."""
    return (count + CHUNK - 1) // CHUNK
