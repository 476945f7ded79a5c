"""What is installed here, which backends work and why another does not, and whether the kernels compute: ``minseg doctor``."""

import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import minseg
from minseg.backend import available_backends, current, use_backend
from minseg.errors import MinsegError

PACKAGES = ("numpy", "numba", "pillow", "matplotlib", "tqdm", "safetensors", "torch", "cupy-cuda12x", "cupy-cuda13x")
THREAD_LIMITS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


def examine() -> dict:
    """Everything that ``minseg doctor`` prints, as plain values; ``healthy`` is False if something that minseg needs fails."""
    report = {
        "minseg": minseg.__version__,
        "folder": str(Path(minseg.__file__).parent),
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "cores": _cores(),
        "blas": _quietly(_blas),
        "numba": _quietly(_numba),
        "backends": {},
    }
    for name, reason in available_backends().items():
        report["backends"][name] = {"works": False, "why_not": reason} if reason else _smoke_test(name)
    needed = [report["backends"][name]["works"] for name in ("numpy", "numba")]
    report["healthy"] = all(needed) and report["numba"].get("cache_writable", False)
    return report


def table(report: dict) -> str:
    """The report as lines to read."""
    numba = report["numba"]
    lines = [
        f"minseg {report['minseg']} in {report['folder']}",
        f"Python {report['python']}, {report['system']}, {report['cores']} cores",
        "packages  " + ", ".join(f"{name} {v}" for name, v in report["packages"].items() if v),
        "missing   " + (", ".join(name for name, v in report["packages"].items() if not v) or "nothing"),
        "BLAS      " + _plain(report["blas"]),
        "Numba     " + _plain(numba),
    ]
    for name, found in report["backends"].items():
        state = found["why_not"]
        if found["works"]:
            state = (
                f"works (a small training step: {found['first_seconds']:.2f} s at first, {found['seconds']:.3f} s then)"
            )
        lines.append(f"backend   {name}: {state}")
    lines.append("all is well" if report["healthy"] else "something that minseg needs does not work: see above")
    return "\n".join(lines)


def _smoke_test(name: str) -> dict:
    """One convolution, pooling and loss, forward and backward, compared with the NumPy backend."""
    seconds = []
    try:
        with use_backend(name):
            for _ in range(2):  # the first one may compile
                started = time.perf_counter()
                loss, gradient = _small_step()
                seconds.append(time.perf_counter() - started)
        with use_backend("numpy"):
            expected_loss, expected_gradient = _small_step()
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-3, atol=1e-5)
    except Exception as error:  # whatever goes wrong is what the reader wants to know
        return {"works": False, "why_not": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    return {"works": True, "why_not": None, "first_seconds": seconds[0], "seconds": seconds[1]}


def _small_step() -> tuple[float, np.ndarray]:
    rng = np.random.default_rng(0)
    x = minseg.tensor(rng.standard_normal((2, 3, 8, 8), np.float32))
    w = minseg.tensor(rng.standard_normal((4, 3, 3, 3), np.float32), requires_grad=True)
    target = rng.integers(0, 4, (2, 4, 4)).astype(np.uint8)
    scores = minseg.ops.max_pool2d(minseg.ops.relu(minseg.ops.conv2d(x, w, padding=1)), 2)
    here = current()
    loss = minseg.ops.cross_entropy(scores, here.asarray(target))
    loss.backward()
    return loss.item(), here.to_numpy(w.grad)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cores() -> int:
    """Cores that this process may use, which a container or a scheduler may have cut."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _blas() -> dict:
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    limits = {name: os.environ[name] for name in THREAD_LIMITS if name in os.environ}
    return {"name": found.get("name"), "version": found.get("version"), **limits}


def _numba() -> dict:
    import numba

    numba.njit(parallel=True)(_count)(np.zeros(4))  # the threading layer is only known once something has run
    return {
        "threads": numba.get_num_threads(),
        "threading_layer": numba.threading_layer(),
        **_cache(),
    }


def _count(x):
    return x.sum()


def _cache() -> dict:
    """Where Numba keeps compiled kernels: it takes the first folder that it can write to, and says which."""
    from minseg.kernels.cpu import activation

    compiled = next(value for value in vars(activation).values() if hasattr(value, "py_func"))
    folder = Path(compiled.stats.cache_path)
    return {"cache": str(folder), "cache_writable": _writable(folder)}


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _quietly(examine_part: Callable[[], dict]) -> dict:
    try:
        return examine_part()
    except (Exception, MinsegError) as error:
        return {"unknown": f"{type(error).__name__}: {error}"}


def _plain(values: dict) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in values.items())
