"""``minseg gpu-record``: the tests and the benchmarks of the CUDA kernels on the GPU that is here, written down with the date.

A record says where and with what (device, driver, CuPy, commit), how many tests passed, and for every kernel and rung its GFLOP/s
or GB/s as a share of what this very card reached in a matrix product and in a copy, beside PyTorch where it is installed. On the
emulator all runs as well, in tiny sizes, so that the command is tested where there is no GPU; such a record is for its reader
alone, none of the project's.

cases.py says what is timed, timing.py how, measuring.py goes on after a case that fails; suite.py runs the tests, page.py judges.
"""

import json
import re
import subprocess
from datetime import date
from functools import partial
from pathlib import Path

from minseg import backend
from minseg.errors import ArgumentError, FileError
from minseg.files import jsonable, read_json, write_bytes
from minseg.kernels.cuda.device import FOLDER, digest
from minseg.testing.gpu_record import measuring, page, suite
from minseg.testing.gpu_record.measuring import DEVICES, ROOT

RECORDS = ROOT / "kernels" / "cuda" / "records"


def commit() -> str:
    """The commit of the checkout, with "and changes" where the files are not those of the commit."""
    git = partial(subprocess.run, cwd=ROOT, capture_output=True, text=True)
    try:
        head = git(["git", "rev-parse", "--short=12", "HEAD"])
        if head.returncode:
            return "unknown"
        changed = git(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    except OSError:
        return "unknown"
    return head.stdout.strip() + (" and changes" if changed else "")


def of_the_kernels() -> str:
    """A digest of the kernels and of the host code that launches them: it tells whether a record is of these very files."""
    return digest(path for path in FOLDER.iterdir() if path.suffix in (".cu", ".cuh", ".py"))


def record(name: str, tests: bool, benchmarks: bool, rounds: int, of: str | None = None) -> dict:
    """Everything, as plain values; BackendError in one line where the backend cannot run."""
    with backend.use_backend(name):
        found = {"date": date.today().isoformat(), "backend": name, **DEVICES[name].facts()}
        found |= {"commit": of or commit(), "digest of kernels/cuda": of_the_kernels()}
        found["tests"] = suite.run_tests() if tests else None
        if benchmarks:
            found |= measuring.benchmark(name, "large" if name == "cupy" else "tiny", rounds)
            found["targets"] = page.targets(found["rows"]) if name == "cupy" else []
    return jsonable(found)


def file_name(found: dict) -> str:
    """2026-11-27-nvidia-h200"""
    return f"{found['date']}-" + re.sub(r"[^a-z0-9]+", "-", found["device"].lower()).strip("-")


def latest() -> Path | None:
    """The page of the project's newest record, or None: the kernels have never run on a GPU. The emulator's do not count."""
    found = [path for path in RECORDS.glob("*.json") if read_json(path)["backend"] == "cupy"]
    return max(found, key=lambda path: path.name).with_suffix(".md") if found else None


def healthy(found: dict) -> bool:
    """Whether tests ran and passed, and nothing failed to be measured."""
    tests = found["tests"]
    return not found.get("failed") and (tests is None or (tests["passed"] > 0 and not tests["failed"]))


def main(args) -> int:
    """``minseg gpu-record``: write the record as .md and .json; 1 where a test or a kernel failed."""
    _expect(args)
    found = record(args.backend, args.tests, args.benchmarks, args.rounds, args.commit)
    folder = args.out or RECORDS
    folder.mkdir(parents=True, exist_ok=True)
    for ending, text in ((".json", json.dumps(found, indent=1) + "\n"), (".md", page.markdown(found))):
        path = folder / (file_name(found) + ending)
        write_bytes(path, text.encode())
        print(f"wrote {path}")
    print("\n".join(page.tests_text(found["tests"])))
    for line in found.get("failed", ()):
        print(f"* failed: {line}")
    return 0 if healthy(found) else 1


def _expect(args) -> None:
    """One line about what cannot be done, before anything is."""
    if args.rounds < 1:
        raise ArgumentError(f"rounds must be at least 1, got {args.rounds}")
    backend.get(args.backend)
    if args.backend != "cupy" and (args.out is None or args.out.resolve() == RECORDS):
        raise ArgumentError(
            "a record of the emulator is none of the project's: say with --out DIR where else to write it"
        )
    if not args.tests and args.out is None:
        raise ArgumentError(
            "a record of the project's has the tests in it: say with --out DIR where to write one without"
        )
    if args.tests and not (ROOT / "tests").is_dir():
        raise FileError(f"{ROOT} holds no tests: run this from a checkout, or leave them out with --no-tests")
