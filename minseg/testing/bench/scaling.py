"""What a step of the U-Net costs as its image, its batch and its threads grow: measured in turn with the peer, and as curves."""

import os

from minseg.testing.bench.measuring import interleave, on_threads
from minseg.testing.bench.networks import Network

SIZES, BATCHES = (32, 64, 128, 256), (1, 2, 4, 8, 16)
BATCH, SIZE = 4, 64  # what stays the same while the other grows


def thread_counts(most: int | None = None) -> list[int]:
    """1, 2, 4 ... up to all cores."""
    most = most or os.cpu_count() or 1
    return [count for count in (2**k for k in range(10)) if count < most] + [most]


def curves(threads: int, peer: bool, rounds: int) -> dict:
    """For each of ``image size``, ``batch`` and ``threads``: where it was measured, and milliseconds by side and kind of work."""
    plan = {
        "image size": [(H, Network(batch=(BATCH, 3, H, H)), threads) for H in SIZES],
        "batch": [(N, Network(batch=(N, 3, SIZE, SIZE)), threads) for N in BATCHES],
        "threads": [(t, Network(batch=(BATCH, 3, SIZE, SIZE)), t) for t in thread_counts()],
    }
    return {name: _curve(points, peer, rounds) for name, points in plan.items()}


def _curve(points, peer: bool, rounds: int) -> dict:
    found: dict = {"at": [], "training": {}, "inference": {}}
    for at, network, threads in points:
        found["at"].append(at)
        with on_threads(threads, peer):
            for kind, case in (("training", network.training_case()), ("inference", network.inference_case())):
                contenders = {"minseg": case.ours(), **(case.peer() if peer else {})}
                best = {name: min(times) for name, times in interleave(contenders, rounds).items()}
                sides = {"minseg": best.pop("minseg")}
                sides |= {"PyTorch": min(best.values())} if best else {}
                for side, ms in sides.items():
                    found[kind].setdefault(side, []).append(ms)
    return found
