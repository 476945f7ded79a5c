"""Compiled kernels are kept, and found again only while their sources are the same; folders that cannot be written, damaged files
and processes that compile at the same time do no harm.

Most tests start processes of their own: a cache is about what is left when a process has ended.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from minseg.kernels import compiling
from minseg.kernels.cpu import cache, conv_tile, jit, softmax

RELU = """
import warnings
warnings.simplefilter("always")
import numpy as np
from minseg.kernels import compiling
compiled = []
with compiling.watching(compiled.append):
    from minseg.kernels.cpu import activation
    y = activation.relu(np.array([-1, 2], np.{dtype}))
assert y.tolist() == [0, 2] and y.dtype == np.{dtype}, y
print(*compiled)
"""


def run(code: str, folder, *options: str) -> subprocess.CompletedProcess:
    env = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    return subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, env=env)


def compiled_by(code: str, folder) -> list[str]:
    done = run(code, folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def kept(folder) -> list[Path]:
    return sorted(Path(folder).rglob("*.nbc"))


def test_a_kernel_is_compiled_once_for_its_types_and_then_found(tmp_path):
    single, double = RELU.format(dtype="float32"), RELU.format(dtype="float64")
    assert compiled_by(single, tmp_path) == ["_relu"]
    assert compiled_by(single, tmp_path) == []
    assert compiled_by(double, tmp_path) == ["_relu"]
    assert compiled_by(single, tmp_path) == compiled_by(double, tmp_path) == []


def test_a_damaged_file_counts_as_absent(tmp_path):
    code = RELU.format(dtype="float32")
    compiled_by(code, tmp_path)
    (file,) = kept(tmp_path)
    for damaged in (b"", b"nothing that Python has pickled", file.read_bytes()[:1000]):
        file.write_bytes(damaged)
        assert compiled_by(code, tmp_path) == ["_relu"]
        assert compiled_by(code, tmp_path) == []


def test_two_processes_that_start_on_an_empty_cache_leave_the_right_code_for_each_type(tmp_path):
    """Numba's own numbering would let both write file number 1."""
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    codes = [RELU.format(dtype=dtype) for dtype in ("float32", "float64", "float32", "float64")]
    processes = [subprocess.Popen([sys.executable, "-c", code], env=env) for code in codes]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert len(kept(tmp_path)) == 2
    assert not list(tmp_path.rglob("*.part"))
    for code in codes:
        assert compiled_by(code, tmp_path) == []


def test_different_types_have_files_of_different_names_whatever_was_there_before(tmp_path):
    files = [cache.CodeFiles(tmp_path, "kernel", "stamp") for _ in range(2)]
    keys = [("float32", "processor", "bytecode"), ("float64", "processor", "bytecode")]
    for writer, key in zip(files, keys):  # neither has seen what the other wrote
        writer.save(key, key[0])
    assert [files[0].load(key) for key in keys] == ["float32", "float64"]
    assert files[0].load(("float32", "another processor", "bytecode")) is None
    files[0].flush()
    assert [files[1].load(key) for key in keys] == [None, None]


@pytest.mark.parametrize("changed", ["stamp", "bytecode"])
def test_code_of_other_sources_is_not_found_and_its_file_is_used_again(tmp_path, changed):
    old = cache.CodeFiles(tmp_path, "kernel", "stamp")
    old.save(("types", "processor", "bytecode"), "old code")
    new = cache.CodeFiles(tmp_path, "kernel", "stamp".replace(changed, "another"))
    key = ("types", "processor", "bytecode".replace(changed, "another"))
    assert new.load(key) is None
    new.save(key, "new code")
    assert new.load(key) == "new code"
    assert len(kept(tmp_path)) == 1


def test_a_kernel_is_built_from_its_file_and_all_that_this_imports():
    names = {file.name for file in cache.sources(Path(conv_tile.__file__).resolve())}
    assert {"conv_tile.py", "conv_parts.py", "simd.py", "jit.py"} <= names
    assert "pool.py" not in names
    assert "elementary.py" in {file.name for file in cache.sources(Path(softmax.__file__).resolve())}


def test_an_edited_helper_file_is_noticed(tmp_path):
    """The reader who edits simd.py or elementary.py sees the change in the next process."""
    checkout = tmp_path / "checkout"
    root = Path(__file__).resolve().parents[2]
    for name in ("minseg", "kernels"):
        shutil.copytree(root / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "embedded"))
    code = f"""
import sys
sys.path.insert(0, {str(checkout)!r})
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder)]
import numpy as np
from minseg.kernels.cpu import activation
assert activation.__file__.startswith({str(checkout)!r})
print(activation.sigmoid(np.zeros(1, np.float32))[0])
"""
    assert compiled_by(code, tmp_path / "cache") == ["0.5"]
    helper = checkout / "kernels" / "cpu" / "elementary.py"
    changed = helper.read_text(encoding="utf-8").replace("power = (series + ONE)", "power = (series + ONE + ONE + ONE)")
    helper.write_text(changed, encoding="utf-8")
    assert compiled_by(code, tmp_path / "cache") == ["0.25"]  # 1 / (1 + 3)


# ------------------------------------------------------------------------------------------------ folders that cannot be written

NOWHERE = """
import numba.core.caching as caching
def refuse(self):
    raise PermissionError(13, "Permission denied")
caching._CacheLocator.ensure_cache_path = refuse
"""

WARNING = "compiled kernels are not kept, and every start compiles them again"


def test_where_no_folder_can_be_written_one_line_says_so_and_kernels_run(tmp_path):
    """As with a read-only install and a read-only home. Root may write anywhere, so the refusal is the locator's."""
    done = run(NOWHERE + RELU.format(dtype="float32"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["_relu"]
    (line,) = done.stderr.splitlines()
    assert WARNING in line
    assert "set NUMBA_CACHE_DIR" in line
    assert kept(tmp_path) == []


def test_a_disk_that_is_full_when_code_is_kept_is_one_warning(tmp_path):
    full = """
import os
def refuse(*args):
    raise OSError(28, "No space left on device")
os.replace = refuse
"""
    done = run(full + RELU.format(dtype="float32"), tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert WARNING in line
    assert "No space left on device" in line


# --------------------------------------------------------------------------------------------------------------- announcing


def test_whoever_watches_is_told_of_each_kernel_before_it_is_compiled(monkeypatch):
    monkeypatch.setattr(jit, "cache_for", cache.NoCache)

    @jit.kernel
    def inner(x):
        return x + 1

    @jit.parallel_kernel
    def outer(x):
        for i in numba.prange(x.size):
            x[i] = inner(x[i])

    told = []
    with compiling.watching(told.append):
        outer(np.zeros(3))
        outer(np.zeros(3))
    assert sorted(told) == ["inner", "outer"]
    outer(np.zeros(3, np.float32))
    assert len(told) == 2
