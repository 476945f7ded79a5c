"""What ``minseg bench`` measures: networks, operations and kernels, beside this machine's ceilings and beside PyTorch.

measuring.py has the rules of measuring; networks.py, operations.py and primitives.py say what is timed, peer.py is PyTorch's side;
peak.py measures memory, scaling.py growth; report.py makes tables.
"""

import gc
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from minseg import backend
from minseg.errors import ArgumentError, Unsupported
from minseg.files import jsonable, write_bytes
from minseg.testing.bench import networks, operations, primitives, report, scaling
from minseg.testing.bench.measuring import Case, Row, keep_freed_memory, measure, measure_ceilings, on_threads
from minseg.testing.bench.networks import Network
from minseg.testing.bench.peer import torch_or_error

PEERS = ("torch",)
SETS = {
    "networks": networks.unet_cases,
    "operations": operations.unet_cases,
    "others": networks.other_cases,
    "primitives": primitives.cases,
    "sweep": operations.sweep_cases,
}
"""Lists of cases; ``memory`` is one more set, of its own kind."""
DEFAULT = ("networks", "others", "operations")
ALL = (*SETS, "memory")


def run(
    *,
    peer: str | None = None,
    threads: int = 2,
    rounds: int = 9,
    only: str | None = None,
    sets: Sequence[str] = DEFAULT,
    argv: Sequence[str] = ("bench",),
) -> dict:
    """Measure these sets (or the cases in them whose name contains ``only``): the machine, its ceilings, and a list of rows."""
    if peer not in (None, *PEERS):
        raise ArgumentError(f"unknown peer {peer!r}; known: {', '.join(PEERS)}")
    if rounds < 1:
        raise ArgumentError(f"rounds must be at least 1, got {rounds}")
    torch = torch_or_error() if peer else None  # imported before our kernels, so that none of their settings reaches it
    keep_freed_memory()
    rows: list[Row] = []
    left_out: list[str] = []
    with on_threads(threads, bool(peer)):
        ceilings = measure_ceilings(threads)
        for case in tqdm(chosen_cases(sets, only), unit="case", leave=False, disable=not sys.stderr.isatty()):
            try:
                rows.append(measure(case, ceilings, bool(peer), rounds))
            except Unsupported as error:  # a variant that does not compute this shape
                left_out.append(f"{case.name}: {error}")
            gc.collect()
    if "memory" in sets:
        from minseg.testing.bench import peak  # not above: it runs as a program, and Python warns if its package has it

        measured = [Network(batch=batch) for batch in networks.BATCHES]
        rows += [
            peak.row(network, bool(peer))
            for network in measured
            if only is None or only in f"peak memory, {network.title}"
        ]
    return {
        "machine": report.machine(threads),
        "backend": backend.current().name,
        "peer": torch and f"torch {torch.__version__}",
        "rounds": rounds,
        "command": report.command(list(argv)),
        "ceilings": asdict(ceilings),
        "rows": [asdict(row) for row in rows],
        "left_out": left_out,
    }


def chosen_cases(sets: Sequence[str], only: str | None) -> list[Case]:
    """The cases of these sets whose name contains ``only``."""
    cases = [case for name in sets if name in SETS for case in SETS[name]()]
    return [case for case in cases if only is None or only in case.name]


def plot(path: Path, peer: bool, threads: int, rounds: int) -> dict:
    """Measure how costs grow, and draw it."""
    from minseg import viz

    if peer:
        torch_or_error()
    keep_freed_memory()
    curves = scaling.curves(threads, peer, rounds)
    where = report.machine(threads)
    note = f"{where['processor']}, {threads} threads, {where['date']}; the best of {rounds} rounds in turn"
    title = f"UNet(3, 4): batch {scaling.BATCH}, {scaling.SIZE}x{scaling.SIZE} pixels, unless they grow"
    viz.save_figure(viz.growth_figure(curves, title, note), path)
    return curves


def main(args) -> int:
    """``minseg bench``: print the table or JSON, write markdown and pictures. On the CPU; a GPU has ``minseg gpu-record``."""
    with backend.use_backend("numba"):
        return _main(args)


def _main(args) -> int:
    sets = ALL if args.full else (*DEFAULT, *(name for name in ("sweep", "memory") if getattr(args, name)))
    if args.plot:
        curves = plot(args.plot, bool(args.peer), args.threads, args.rounds)
        print(json.dumps(curves, indent=2) if args.json else f"wrote {args.plot}")
        return 0
    found = run(peer=args.peer, threads=args.threads, rounds=args.rounds, only=args.only, sets=sets, argv=sys.argv[1:])
    print(json.dumps(jsonable(found), indent=2) if args.json else report.table(found))
    if args.markdown:
        write_bytes(args.markdown, report.markdown(found).encode())
    return 0
