"""How time is measured on a machine that drifts and has neighbours: contenders take turns, and a ratio is made within each round.

A ratio of two medians mixes rounds in which the machine was fast with others. Here each round gives one ratio; their median is
quoted, and between which values the middle half of them lies.
"""

import contextlib
import ctypes
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

Work = Callable[[], object]
TakeTurns = Callable[[dict[str, Work], int], dict[str, list[float]]]


@dataclass
class Case:
    """Something to time: makers of our work, and of the same in PyTorch by memory layout. What they make is dropped afterwards.

    ``flops`` or ``bytes`` is the least that must be done: multiply-adds counted twice, or memory read and written.
    """

    group: str
    name: str
    shape: str
    ours: Callable[[], Work]
    peer: Callable[[], dict[str, Work]] | None = None
    flops: float | None = None
    bytes: float | None = None


@dataclass
class Row:
    """One line of the table. Times in milliseconds; ``ratio`` is the peer's time over ours (above 1: we are faster)."""

    group: str
    name: str
    shape: str
    ms: float
    gflops: float | None = None
    gbytes: float | None = None
    share: float | None = None
    peer_ms: float | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    """Between these the middle half of the rounds' ratios lies."""
    notes: dict = field(default_factory=dict)


@dataclass
class Ceilings:
    """What this machine reaches at best with this many threads: multiply-adds of a matrix product, and copying memory."""

    gflops: float
    gbytes: float


SLEEP, WARM, LEAST = 0.03, 0.01, 0.003
"""Seconds: until another's threads have fallen asleep, of warming up, and that are timed at least."""


def interleave(contenders: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each contender in each round; they take turns, after a round of warming up.

    Each waits until the threads of whoever ran before have fallen asleep (OpenMP's spin for some 20 ms after their work). Then it
    warms up: Linux often wakes all threads on one core, and spreads them over the others only some milliseconds later. What is
    quick is timed several times in a row.
    """
    times = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, work in contenders.items():
            time.sleep(SLEEP)
            _seconds_each(work, WARM)
            if turn:
                times[name].append(_seconds_each(work, LEAST) * 1e3)
    return times


def _seconds_each(work: Work, least: float) -> float:
    """Do the work once, and again until ``least`` seconds have passed: their mean."""
    start, count, passed = time.perf_counter(), 0, 0.0
    while not count or passed < least:
        work()
        count += 1
        passed = time.perf_counter() - start
    return passed / count


def measure(case: Case, ceilings: Ceilings, peer: bool, rounds: int, take_turns: TakeTurns | None = None) -> Row:
    """Time one case, in turn with the peer's layouts; the better of those is the peer. Turns: ``interleave``, or given."""
    take_turns = take_turns or interleave
    contenders = {"ours": case.ours(), **(case.peer() if peer and case.peer else {})}
    times = {name: np.array(values) for name, values in take_turns(contenders, rounds).items()}
    ours = times.pop("ours")
    row = Row(case.group, case.name, case.shape, float(np.median(ours)))
    if case.flops:
        row.gflops = case.flops / row.ms / 1e6
        row.share = row.gflops / ceilings.gflops
    if case.bytes:
        row.gbytes = case.bytes / row.ms / 1e6
        row.share = row.gbytes / ceilings.gbytes
    if times:
        layout = min(times, key=lambda name: np.median(times[name]))
        row.peer_ms = float(np.median(times[layout]))
        low, middle, high = np.quantile(times[layout] / ours, (0.25, 0.5, 0.75))
        row.ratio, row.spread = float(middle), (float(low), float(high))
        row.notes["layout"] = layout
    return row


def measure_ceilings(threads: int) -> Ceilings:
    """The best of several matrix products (n = 1024, float32) and of several copies of 64 MB on all threads."""
    n = 1024
    a = np.random.default_rng(0).standard_normal((n, n), dtype=np.float32)
    matmul = min(interleave({"matmul": lambda: a @ a}, 10)["matmul"])
    source = np.ones((threads, (64 << 20) // threads // 4), np.float32)
    target = np.empty_like(source)
    with ThreadPoolExecutor(threads) as pool:
        copy = min(interleave({"copy": lambda: list(pool.map(np.copyto, target, source))}, 10)["copy"])
    time.sleep(0.5)  # lets the matrix product's thread pool fall asleep before anything else is timed
    return Ceilings(2 * n**3 / matmul / 1e6, 2 * source.nbytes / copy / 1e6)


@contextlib.contextmanager
def on_threads(count: int, peer: bool):
    """Both sides on this many threads inside the block."""
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(count)
    if peer:
        import torch

        before_torch = torch.get_num_threads()
        torch.set_num_threads(count)
    try:
        yield
    finally:
        numba.set_num_threads(before)
        if peer:
            torch.set_num_threads(before_torch)


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large freed blocks instead of returning them: for ours and the peer's arrays alike.

    Without it every fresh array above 32 MB is mapped page by page, which hides the cost of the arithmetic behind the kernel's.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    return bool(libc.mallopt(M_MMAP_THRESHOLD, 1 << 30) and libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))
