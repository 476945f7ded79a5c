"""Choosing a backend, and what is said of one that cannot run here: with stand-ins for CuPy, on machines with and without it."""

import importlib.machinery
import subprocess
import sys
import types

import numpy as np
import pytest

import minseg
from minseg import backend
from minseg.cli import main
from minseg.errors import ArgumentError, BackendError
from minseg.kernels import emulator, memory
from minseg.kernels.cuda import device


def install(monkeypatch, count) -> types.ModuleType:
    """A CuPy that finds so many GPUs, or whose question for them ends in this exception."""
    module = types.ModuleType("cupy")
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)

    def get_device_count():
        if isinstance(count, Exception):
            raise count
        return count

    module.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=get_device_count))
    module.ndarray = type("ndarray", (), {"__module__": "cupy"})
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(backend, "_make", backend._make.__wrapped__)  # what is made of a stand-in is not kept
    return module


@pytest.fixture
def without_cupy(monkeypatch):
    """As where CuPy is not installed, also where it is."""
    find_spec = backend.importlib.util.find_spec
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None if name == "cupy" else find_spec(name))


NO_DRIVER = RuntimeError("cudaErrorInsufficientDriver: CUDA driver version\nis insufficient for CUDA runtime version")


@pytest.mark.parametrize(
    ("count", "reason"),
    [
        (1, None),
        (0, "CuPy finds no GPU"),
        (
            NO_DRIVER,
            "CuPy finds no GPU that it can use: cudaErrorInsufficientDriver: CUDA driver version is insufficient",
        ),
        (ImportError("libcuda.so.1: cannot open"), "CuPy finds no GPU that it can use: libcuda.so.1: cannot open"),
    ],
)
def test_the_reason_why_cupy_does_not_work_is_one_line(monkeypatch, count, reason):
    install(monkeypatch, count)
    found = minseg.available_backends()["cupy"]
    assert found is reason is None or (found.startswith(reason) and "\n" not in found)


@pytest.mark.usefixtures("without_cupy")
def test_a_missing_cupy_is_named_with_what_installs_it():
    assert minseg.available_backends()["cupy"].startswith("CuPy is not installed: pip install 'minseg[cuda")


def test_a_missing_compiler_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setenv("MINSEG_CXX", "no-such-compiler")
    assert "no-such-compiler, which is not installed: apt install g++" in minseg.available_backends()["emulator"]
    with pytest.raises(BackendError, match="backend 'emulator' cannot run here: the emulator"):
        backend.get("emulator")


@pytest.mark.parametrize(("count", "chosen"), [(2, "cupy"), (0, "numba"), (NO_DRIVER, "numba")])
def test_auto_is_cupy_where_a_gpu_answers(monkeypatch, count, chosen):
    module = install(monkeypatch, count)
    found = backend.get("auto")
    assert found.name == chosen
    assert found.xp is (module if chosen == "cupy" else np)
    assert found.on_host == (chosen == "numba")


def test_asking_for_cupy_without_a_gpu_ends_in_one_line(monkeypatch, capsys):
    install(monkeypatch, NO_DRIVER)
    assert main(["gradcheck", "relu", "--backend", "cupy"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "backend 'cupy' cannot run here: CuPy finds no GPU that it can use: cudaErrorInsufficientDriver" in line
    assert main(["gradcheck", "relu", "--backend", "auto"]) == 0


def test_an_unknown_backend_names_the_nearest():
    with pytest.raises(ArgumentError, match=r"unknown backend 'cupi'; .*cupy"):
        backend.get("cupi")


def test_importing_minseg_imports_neither_cupy_nor_the_kernels_for_it():
    code = "import minseg, sys; print(sorted(m for m in sys.modules if m == 'cupy' or m.startswith('minseg.kernels.cuda')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# -------------------------------------------------------------------------------------------------------- where an array lives


def test_the_type_of_an_array_says_where_it_lives(monkeypatch):
    module = install(monkeypatch, 1)
    assert device.device_of(module.ndarray()) is device.CUPY
    assert device.device_of(emulator.xp.zeros(3)) is device.EMULATOR
    with pytest.raises(BackendError, match=r"a CUDA kernel got a numpy\.ndarray"):
        device.device_of(np.zeros(3))


def test_cupy_compiles_a_file_once_for_each_dtype_and_only_when_it_is_needed(monkeypatch):
    module, compiled, launched = install(monkeypatch, 1), [], []

    class RawModule:
        def __init__(self, *, code, options):
            compiled.append(options)
            assert '#include "common.cuh"' in code

        def get_function(self, name):
            return lambda *arguments, **options: launched.append((name, *arguments, options))

    module.RawModule = RawModule
    gpu = device.CupyDevice()
    assert compiled == []
    for real in ("float32", "float64", "float32"):
        gpu.launch("activation", "relu", real, (2,), (256,), "x", np.int64(7))
    headers = f"-DHEADERS=0x{device.digest(device.FOLDER.glob('*.cuh'))}"
    assert compiled == [("-std=c++17", f"-DREAL={real}", f"-I{device.FOLDER}", headers) for real in ("float", "double")]
    assert launched == [("relu", (2,), (256,), ("x", np.int64(7)), {"shared_mem": 0})] * 3


def test_an_edited_header_is_another_option_so_that_cupy_does_not_run_what_it_kept(monkeypatch, tmp_path):
    module, made = install(monkeypatch, 1), []
    module.RawModule = lambda *, code, options: made.append(options) or types.SimpleNamespace(get_function=str)
    monkeypatch.setattr(device, "FOLDER", tmp_path)
    (tmp_path / "activation.cu").write_text("")
    for text in ("one", "two", "one"):
        (tmp_path / "common.cuh").write_text(text)
        device.CupyDevice().kernel("activation", "relu", "float32")
    assert made[0] == made[2] != made[1]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_fresh_arrays_of_a_device_are_poisoned_on_demand(dtype):
    with memory.poisoned():
        fresh = device.EMULATOR.empty((2, 3), dtype).get()
    assert fresh.dtype == dtype
    assert (np.isnan(fresh) if fresh.dtype.kind == "f" else fresh == np.iinfo(dtype).min).all()
    assert (device.EMULATOR.zeros((2, 3), dtype).get() == 0).all()
