"""Would a wrong CUDA kernel be noticed? Each .cu file is spoiled in every small way, and the conformance cases must tell.

A mutant is one edit of cuda_edits.py inside a kernel or in what kernels call. One kernel that meets the edit is compiled for the
emulator, and tried with the cases of every primitive that launches it, in the checked mode. A mutant is caught by a wrong number,
by a report of the emulator, by a crash, or by time running out. What does not compile is no mutant. The few that compute the same
in another way, or whose harm no case can show, are listed in EQUIVALENT, each with the reason.

``python -m minseg.testing.cuda_mutants [FILE ...] [--results FILE]`` tries them all and prints the score; with a file of results, a
run that was cut off goes on where it was.
"""

import argparse
import contextlib
import faulthandler
import hashlib
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from unittest import mock

from tqdm import tqdm

from minseg.errors import EmulatorError, MinsegError, Unsupported
from minseg.kernels import emulator
from minseg.kernels.cuda import device
from minseg.kernels.emulator import build, launching
from minseg.testing.conformance import conform
from minseg.testing.cuda_cases import check_long_indices, short_grids, trials
from minseg.testing.cuda_edits import Mutant, files, included, kernels_that_meet, mutants, source
from minseg.testing.cuda_equivalents import EQUIVALENT
from minseg.testing.launches import launches, rungs

SECONDS = 3
"""Of the processor's time for one trial of one mutant: honest kernels need a tenth of a second."""

ROUNDS = (("float32", "ascending"), ("float64", "shuffled"))
"""What a mutant is tried with, and in which order of threads; the second time if it survives the first."""

# ----------------------------------------------------------------------------------------------------------------- trials

NO_MUTANT, SURVIVED, WRONG, REPORTED, CRASHED, LATE = "no mutant", "survived", "wrong", "reported", "crashed", "late"
_CODES = {0: SURVIVED, 11: WRONG, 12: REPORTED, 13: NO_MUTANT}
_OUT_OF_TIME = {signal.SIGPROF, signal.SIGXCPU, signal.SIGKILL}


@cache
def primitives_of() -> dict[tuple[str, str], tuple[tuple[str, str], ...]]:
    """For each (file, kernel) the (primitive, rung) pairs that launch it."""
    found: dict[tuple[str, str], list] = {}
    for key in rungs():
        for launch in dict.fromkeys((launch.file, launch.kernel) for launch in launches(*key)):
            found.setdefault(launch, []).append(key)
    return {launch: tuple(keys) for launch, keys in found.items()}


def judge(mutant: Mutant) -> str:
    """What becomes of a mutant: the first kernel that notices it decides. If it does not compile in one, its file does not."""
    if mutant.file == "common.cuh":
        outcome = _in_a_process(partial(_try_long_indices, mutant))
        if outcome != SURVIVED:
            return outcome
    for host, kernel in kernels_that_meet(mutant.file, mutant.name):
        outcome = _in_a_process(partial(_try, mutant, host, kernel))
        if outcome != SURVIVED:
            return outcome
    return SURVIVED


def _in_a_process(work: Callable[[Path], None]) -> str:
    """What a forked process makes of it: a kernel gone wild may do anything to the memory of its own."""
    pid = os.fork()
    if pid == 0:
        code = 14
        with contextlib.suppress(BaseException):
            resource.setrlimit(resource.RLIMIT_CPU, (120, 120))  # the compiler's, too
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            faulthandler.disable()
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            code = _code_of(work)
        os._exit(code)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return LATE if os.WTERMSIG(status) in _OUT_OF_TIME else CRASHED
    return _CODES.get(os.WEXITSTATUS(status), CRASHED)


class _DoesNotCompile(Exception):
    pass


def _code_of(work: Callable[[Path], None]) -> int:
    """As the exit status of a process, what this does in a folder of its own."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            work(Path(folder))
    except _DoesNotCompile:
        return 13
    except AssertionError:
        return 11
    except MinsegError:
        return 12
    return 0


def _kept_in(folder: Path):
    """Inside this block, what is compiled goes to the folder, and not to the user's cache."""
    return mock.patch.object(build, "cache_folder", return_value=folder)


def _try_long_indices(mutant: Mutant, folder: Path) -> None:
    with launching("checked"), _kept_in(folder):
        try:
            check_long_indices(mutant.text)
        except EmulatorError as error:
            if error.kind is None:
                raise _DoesNotCompile from error
            raise


def _try(mutant: Mutant, host: str, kernel: str, folder: Path) -> None:
    """Every primitive that launches this kernel, with the mutant in its place."""
    honest, spoiled = device.EMULATOR.kernel, {}

    def kernel_of(file: str, name: str, real: str):
        if (file, name) != (host, kernel):
            return honest(file, name, real)
        if real not in spoiled:
            text = mutant.text_for(host, kernel)
            with _kept_in(folder):
                spoiled[real] = emulator.Module(text, mutant.file, (f"REAL={device.REALS[real]}",)).function(name)
        return spoiled[real]

    for real, order in ROUNDS:
        with launching("checked", order, seed=1), short_grids():
            try:
                kernel_of(host, kernel, real)
            except EmulatorError as error:
                raise _DoesNotCompile from error
            device.EMULATOR.kernel = kernel_of
            _try_all(primitives_of()[host, kernel], real)


def _try_all(which: Iterable[tuple[str, str]], real: str) -> None:
    """AssertionError or EmulatorError if one of these rungs fails a trial; the process ends if one takes too long."""
    for name, rung in which:
        for _, call, args in trials(name, rungs()[name, rung], real):
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            with contextlib.suppress(Unsupported):
                conform(name, call, args, rung)


def _warm() -> None:
    """Compile and load, once, what honest kernels need; processes forked later have it."""
    build.runtime()
    with launching("checked"):
        for host, kernel in primitives_of():
            device.EMULATOR.kernel(host, kernel, "float32")


# ------------------------------------------------------------------------------------------------------------- all of them


@dataclass
class Scoreboard:
    """How many mutants of each file and kind were caught, and how; those that are equivalent do not count."""

    outcomes: dict[tuple[str, str], Counter] = field(default_factory=dict)
    survivors: list[Mutant] = field(default_factory=list)
    equivalent: list[Mutant] = field(default_factory=list)
    noticed: list[Mutant] = field(default_factory=list)
    """Called equivalent, and caught all the same."""

    def add(self, mutant: Mutant, outcome: str) -> None:
        if outcome == NO_MUTANT:
            return
        if mutant.key in EQUIVALENT:
            (self.equivalent if outcome == SURVIVED else self.noticed).append(mutant)
            if outcome == SURVIVED:
                return
        self.outcomes.setdefault((mutant.file, mutant.kind), Counter())[outcome] += 1
        if outcome == SURVIVED:
            self.survivors.append(mutant)

    @property
    def total(self) -> int:
        return sum(counter.total() for counter in self.outcomes.values())

    @property
    def score(self) -> float:
        """The share of the mutants that are not equivalent which were caught."""
        return 1 - len(self.survivors) / self.total if self.total else 1.0

    def __str__(self) -> str:
        caught = self.total - len(self.survivors)
        return "\n".join(
            [
                *self._table("file", 0),
                "",
                *self._table("kind", 1),
                *(f"survived: {mutant}" for mutant in self.survivors),
                *(f"caught, though called equivalent: {mutant}" for mutant in self.noticed),
                f"{caught} of {self.total} mutants caught ({self.score:.2%}), {len(self.equivalent)} more are equivalent",
            ]
        )

    def _table(self, title: str, part: int) -> Iterator[str]:
        """How the mutants of each file (part 0) or kind (part 1) ended."""
        ways = (WRONG, REPORTED, CRASHED, LATE, SURVIVED)
        yield f"{title:14}" + "".join(f"{way:>10}" for way in ways)
        for name in sorted({key[part] for key in self.outcomes}):
            counts = sum((counter for key, counter in self.outcomes.items() if key[part] == name), Counter())
            yield f"{name:14}" + "".join(f"{counts[way]:10}" for way in ways)


class Results:
    """Outcomes in a file, a line of JSON each, written as they come; those of files that have changed since are forgotten."""

    def __init__(self, path: Path | None = None):
        self.path, self.outcomes = path, {}
        text = path.read_text(encoding="utf-8") if path and path.exists() else ""
        for line in text.splitlines():
            with contextlib.suppress(ValueError):  # where a run was cut off there may be half a line
                entry = json.loads(line)
                self.outcomes[entry["mutant"]] = entry["outcome"]
        if text and not text.endswith("\n"):
            self._append("\n")

    def get(self, mutant: Mutant) -> str | None:
        return self.outcomes.get(self._name(mutant))

    def put(self, mutant: Mutant, outcome: str) -> None:
        self.outcomes[self._name(mutant)] = outcome
        if self.path:
            entry = {"mutant": self._name(mutant), "outcome": outcome, "text": str(mutant)}
            self._append(json.dumps(entry) + "\n")

    def _append(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)

    @staticmethod
    def _name(mutant: Mutant) -> str:
        return f"{mutant.file} {_digest(mutant.file)} {mutant.start}-{mutant.end} {mutant.new}"


@cache
def _digest(file: str) -> str:
    return hashlib.sha256("".join(map(source, included(file))).encode()).hexdigest()[:12]


def run_mutants(chosen: Sequence[Mutant], jobs: int | None = None, results: Results | None = None) -> Scoreboard:
    """Try those that have no result yet, in so many processes side by side."""
    results = results or Results()
    left = [mutant for mutant in chosen if results.get(mutant) is None]
    if left:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs or os.cpu_count(), spawn, _warm) as pool:
            open_ = {pool.submit(judge, mutant): mutant for mutant in left}
            begun = {"total": len(chosen), "initial": len(chosen) - len(left)}
            for done in tqdm(as_completed(open_), "mutants", unit="mutant", disable=not sys.stderr.isatty(), **begun):
                results.put(open_[done], done.result())
    board = Scoreboard()
    for mutant in chosen:
        board.add(mutant, results.get(mutant))
    return board


def sample(count: int, seed: int, among: Iterable[Mutant] | None = None) -> list[Mutant]:
    """So many mutants, chosen at random."""
    return random.Random(seed).sample(list(mutants() if among is None else among), count)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns 1 if a mutant survived that should not."""
    parser = argparse.ArgumentParser(prog="python -m minseg.testing.cuda_mutants", description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"of {', '.join(files())}; all, if none is given")
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="keep outcomes here, and go on from those that are here"
    )
    parser.add_argument("--again", action="store_true", help="try those anew that survived")
    parser.add_argument(
        "--jobs", type=int, help="processes side by side; as many as there are processors, if not given"
    )
    args = parser.parse_args(arguments)
    chosen = [mutant for file in args.files or files() for mutant in mutants(file)]
    results = Results(args.results)
    if args.again:
        results.outcomes = {name: outcome for name, outcome in results.outcomes.items() if outcome != SURVIVED}
    board = run_mutants(chosen, args.jobs, results)
    print(board)
    return int(bool(board.survivors or board.noticed))


if __name__ == "__main__":
    sys.exit(main())
