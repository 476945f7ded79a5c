"""The tests marked gpu, run by pytest in processes of their own: how many passed, and what each failure says."""

import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from minseg.testing.gpu_record.measuring import ROOT

LIMIT = 240
"""Seconds for all tests; a GPU that hangs must not keep the record from being written."""

ALONE, ALONE_LIMIT = 8, 60
"""So many tests that failed are run once more, each in a process of its own, and for so long at most."""

WORKERS = 4

GPU_TESTS = re.compile(r"mark\.gpu|def test_\w+\(device\b")
"""What tells a file that has some: the mark, or the fixture ``device``, which stands for a GPU too."""


@dataclass(frozen=True)
class Outcome:
    """What became of one test."""

    test: str
    """As pytest names it: file::function[case]."""
    failure: str = ""
    """The first line of what it said, if it failed."""
    skipped: bool = False


def gpu_files() -> list[str]:
    """The test files that have tests for a GPU; the others may need what is not installed."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    marked = [path for path in files if GPU_TESTS.search(path.read_text(encoding="utf-8"))]
    return [path.relative_to(ROOT).as_posix() for path in marked]


def run_tests(arguments: Sequence[str] | None = None) -> dict:
    """All of them (or what pytest makes of these arguments), as counts and failures.

    A kernel that breaks the device fails every test after it as well. So the first that failed run again by themselves, and those
    that pass then are counted as passed, and named.
    """
    outcomes = _pytest(["-m", "gpu", *gpu_files()] if arguments is None else arguments, LIMIT)
    failed = [outcome for outcome in outcomes if outcome.failure]
    again = {outcome.test: _alone(outcome) for outcome in failed[:ALONE] if len(outcomes) > 1}
    recovered = [test for test, outcome in again.items() if not outcome.failure]
    last = [again.get(outcome.test, outcome) for outcome in outcomes]
    return {
        "passed": sum(not outcome.failure and not outcome.skipped for outcome in last),
        "failed": [f"{outcome.test}: {outcome.failure}" for outcome in last if outcome.failure],
        "skipped": sum(outcome.skipped for outcome in last),
        "passed_alone": recovered,
    }


def _alone(outcome: Outcome) -> Outcome:
    found = _pytest([outcome.test], ALONE_LIMIT)
    return found[0] if len(found) == 1 and found[0].test == outcome.test else outcome


def _pytest(arguments: Sequence[str], limit: float) -> list[Outcome]:
    """What became of these tests; one that stands for all of them where pytest did not come to an end.

    A test that finds no GPU fails instead of being skipped.
    """
    if find_spec("pytest") is None:
        return [Outcome("pytest", "it is not installed: pip install 'minseg[test]'")]
    workers = ["-n", str(WORKERS), "--dist", "worksteal"] if len(arguments) > 1 and find_spec("xdist") else []
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=--strict-markers --import-mode=importlib"]
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", *options, *workers, *arguments, f"--junitxml={written}"]
        environment = os.environ | {"MINSEG_REQUIRE_CUDA": "1"}
        try:
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired:
            return [Outcome("pytest", f"it did not end within {limit:.0f} seconds")]
        if not written.exists():
            return [Outcome("pytest", f"it did not run: {_line(done.stderr or done.stdout)}")]
        return read_outcomes(written)


def read_outcomes(written: Path) -> list[Outcome]:
    """Of each test in a file in JUnit's format."""
    return [_outcome(case) for case in ET.parse(written).getroot().iter("testcase")]


def _outcome(case: ET.Element) -> Outcome:
    parts = {part.tag: part.get("message") or "" for part in case}
    module = case.get("classname", "").replace(".", "/") + ".py"
    file = module if (ROOT / module).exists() else case.get("classname", "")
    bad = parts.get("failure", parts.get("error"))
    failure = "" if bad is None else _line(bad) or "it failed"
    return Outcome(f"{file}::{case.get('name')}", failure, "skipped" in parts)


def _line(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
