"""``minseg gpu-record``: the tests and the benchmarks of the CUDA kernels on the GPU that is here, written down with the date.

A record says where and with what (device, driver, CuPy, commit), how many tests passed, and for every kernel and rung its GFLOP/s
or GB/s as a share of what this very card reached in a matrix product and in a copy, beside PyTorch where it is installed. Bytes are
the least that a kernel must move: each array that it is given once, and each that it makes. On the emulator all runs as well,
in tiny sizes, so that this file is tested where there is no GPU; such a record is for its reader alone, none of the project's.
"""

import contextlib
import gc
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minseg import backend
from minseg.errors import ArgumentError, FileError, Unsupported
from minseg.files import jsonable, write_bytes
from minseg.kernels.cuda.device import CUPY, EMULATOR, Device
from minseg.kernels.spec import PRIMITIVES
from minseg.testing.bench import primitives, report
from minseg.testing.bench.measuring import Case, Ceilings, Row, Work, measure
from minseg.testing.bench.networks import Network, times

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "kernels" / "cuda" / "records"

COPY, PRODUCT, STEP = 0.8, 0.5, 1.5
"""Wanted of kernels that memory bounds, of the copy's GB/s; of convolutions, of PyTorch's speed; of a training step, its time."""

PRODUCTS = ("conv2d", "conv2d_grad_x", "conv2d_grad_w", "conv_transpose2d", "linear", "linear_grad_x", "linear_grad_w")
"""What arithmetic bounds. (Of a linear map's bias and a convolution's the gradient is a sum, which memory bounds.)"""


@dataclass(frozen=True)
class Sizes:
    """How large everything is. ``maps`` is (N, C, H): images of H x H pixels."""

    maps: tuple[int, int, int]  # for every kernel ...
    parameters: int
    deep: tuple[tuple[int, int, int], ...]  # ... and for convolutions deeper in a U-Net
    network: tuple[int, int, int, int]
    copy: int  # bytes
    product: int  # rows of square matrices
    warm: float  # seconds
    least: float  # seconds that are timed together


LARGE = Sizes((16, 16, 256), 1 << 24, ((16, 64, 64), (16, 128, 32)), (16, 3, 256, 256), 64 << 20, 4096, 0.02, 0.01)
"""Maps and parameters of 64 MB: no card keeps them in its cache."""

TINY = Sizes((1, 4, 16), 64, ((1, 4, 8),), (1, 3, 16, 16), 1 << 10, 16, 0.0, 0.0)


# ------------------------------------------------------------------------------------------------------------------ time


def take_turns(device: Device, sizes: Sizes, contenders: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each contender in each round, by the device's clock; what is quick is queued several times."""
    counts = {}
    for name, work in contenders.items():
        work()  # compiles
        once = max(device.seconds(work), 1e-7)
        device.seconds(work, min(1000, int(sizes.warm / once)))
        counts[name] = max(1, min(1000, int(sizes.least / once)))
    found = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            found[name].append(device.seconds(work, counts[name]) / counts[name] * 1e3)
    return found


def measure_ceilings(device: Device, sizes: Sizes) -> Ceilings:
    """The best of several matrix products by the vendor's library in float32, and of several copies."""
    xp, n = device.xp, sizes.product
    a = xp.asarray(np.random.default_rng(0).standard_normal((n, n), dtype=np.float32))
    source, target = xp.zeros(sizes.copy // 4, np.float32), xp.zeros(sizes.copy // 4, np.float32)

    def copy():
        target[...] = source

    found = take_turns(device, sizes, {"product": lambda: device.matmul(a, a), "copy": copy}, 10)
    return Ceilings(2 * n**3 / min(found["product"]) / 1e6, 2 * source.nbytes / min(found["copy"]) / 1e6)


# ----------------------------------------------------------------------------------------------------------------- cases


def kernel_cases(device: Device, sizes: Sizes) -> Iterator[Case]:
    """Every primitive and rung, and the convolutions once more at the shapes of a U-Net's deeper levels."""
    arrays = primitives.Arrays(*sizes.maps, classes=sizes.maps[1], parameters=sizes.parameters)
    for name in PRIMITIVES:
        yield from _rungs(device, name, arrays)
    for maps in sizes.deep:
        arrays = primitives.Arrays(*maps, classes=4, parameters=64)
        for name in ("conv2d", "conv2d_grad_x", "conv2d_grad_w"):
            yield from _rungs(device, name, arrays)


def _rungs(device: Device, name: str, arrays: primitives.Arrays) -> Iterator[Case]:
    """The primitive as the backend chooses to compute it, and by each of its variants."""
    with backend.use_backend("numba"):
        host = primitives.ARGUMENTS[name](arrays)
    calls = {name: getattr(backend.current(), name)}
    calls |= {f"{name} [{rung}]": call for rung, call in primitives.variants(PRIMITIVES[name]).items()}
    for title, call in calls.items():
        theirs = partial(primitives.PEERS[name], arrays) if title in primitives.PEERS else None
        flops = primitives.flops(name, arrays)
        yield Case(
            "products" if name in PRODUCTS else "memory",
            title,
            times(host[0].shape),
            partial(_on, device, call, host),
            theirs,
            flops,
            None if flops else 0.0,  # filled in by ``with_traffic``
        )


def _on(device: Device, call: Callable, host: tuple) -> Work:
    """The call with these arguments on the device."""
    return partial(call, *(device.xp.asarray(v) if isinstance(v, np.ndarray) else v for v in host))


def with_traffic(case: Case) -> Case:
    """The case with the least number of bytes that it must move: what it is given, and what it makes."""
    if case.flops:
        return case
    work = case.ours()
    results = work()
    arrays = [*work.args, *(results if isinstance(results, tuple) else (results,))]
    return replace(case, bytes=float(sum(getattr(array, "nbytes", 0) for array in arrays)))


def network_cases(sizes: Sizes) -> Iterator[Case]:
    """A U-Net's training step and its use. The twin is made on the host."""
    network = Network(batch=sizes.network)
    for case in (network.training_case(), network.inference_case()):
        yield replace(case, peer=partial(_on_host, case.peer))


def _on_host(make: Callable) -> dict[str, Work]:
    with backend.use_backend("numpy"):
        return make()


# ------------------------------------------------------------------------------------------------------------- measuring


@contextlib.contextmanager
def peer_on_the_gpu(wanted: bool):
    """Inside the block PyTorch works on the GPU, with products in float32 and not in TF32; its version, or why it has none."""
    if not wanted:
        yield "none: the emulator"
        return
    if find_spec("torch") is None:
        yield "none: PyTorch is not installed"
        return
    import torch

    if not torch.cuda.is_available():
        yield f"none: PyTorch {torch.__version__} finds no GPU"
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    with torch.device("cuda"):
        yield f"PyTorch {torch.__version__}"


def benchmark(device: Device, sizes: Sizes, rounds: int) -> dict:
    """Rows, and what failed with its reason: one kernel that fails keeps no other from being measured."""
    rows: list[Row] = []
    failed: list[str] = []
    left_out: list[str] = []
    with peer_on_the_gpu(device is CUPY) as version:
        ceilings = measure_ceilings(device, sizes)
        turns = partial(take_turns, device, sizes)
        cases = [*kernel_cases(device, sizes), *network_cases(sizes)]
        for case in tqdm(cases, unit="case", leave=False, disable=not sys.stderr.isatty()):
            try:
                known = case if case.group == "networks" else with_traffic(case)
                rows.append(measure(known, ceilings, not version.startswith("none"), rounds, turns))
            except Unsupported as error:  # a rung that does not compute this shape
                left_out.append(f"{case.name}: {error}")
            except Exception as error:
                failed.append(f"{case.name} {case.shape}: {type(error).__name__}: {' '.join(str(error).split())}")
            gc.collect()
    rows = [asdict(row) for row in rows]
    return {"peer": version, "ceilings": asdict(ceilings), "rows": rows, "failed": failed, "left_out": left_out}


def targets(rows: list[dict]) -> list[dict]:
    """What is wanted of each row, and whether it holds; rungs that the backend does not choose are not judged."""
    found = []
    for row in (row for row in rows if "[" not in row["name"]):
        if row["group"] == "memory":
            found.append(_target(row, "of the copy", row["share"], COPY))
        elif row["ratio"] is not None and row["name"].startswith("conv2d"):
            found.append(_target(row, "of PyTorch's speed", row["ratio"], PRODUCT))
        elif row["ratio"] is not None and row["name"].startswith("training step"):
            found.append(_target(row, "of PyTorch's speed", row["ratio"], 1 / STEP))
    return found


def _target(row: dict, unit: str, value: float, wanted: float) -> dict:
    what = {"name": row["name"], "shape": row["shape"], "unit": unit}
    return {**what, "value": value, "wanted": wanted, "holds": value >= wanted}


# ----------------------------------------------------------------------------------------------------------------- tests


def run_tests(arguments: tuple[str, ...] = ("-m", "gpu")) -> dict:
    """The tests marked gpu, in a process of their own in which a test that finds no GPU fails instead of being skipped."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", *arguments, f"--junitxml={written}"]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"MINSEG_REQUIRE_CUDA": "1"}, capture_output=True, text=True
        )
        if not written.exists():
            return {"passed": 0, "failed": ["pytest did not run: " + (done.stdout + done.stderr)[-2000:]], "skipped": 0}
        return read_tests(written)


def read_tests(written: Path) -> dict:
    """How many tests passed and were skipped, and the first line of what each failure says."""
    suite = ET.parse(written).getroot()
    failed, skipped, total = [], 0, 0
    for case in suite.iter("testcase"):
        total += 1
        bad = next((part for part in case if part.tag in ("failure", "error")), None)
        if bad is not None:
            failed.append(
                f"{case.get('classname')}::{case.get('name')}: {(bad.get('message') or '').splitlines()[0:1]}"
            )
        skipped += any(part.tag == "skipped" for part in case)
    return {"passed": total - len(failed) - skipped, "failed": failed, "skipped": skipped}


# ---------------------------------------------------------------------------------------------------------------- record


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


def record(name: str, tests: bool, benchmarks: bool, rounds: int, sizes: Sizes | None = None) -> dict:
    """Everything, as plain values; BackendError in one line where the backend cannot run."""
    device = {"cupy": CUPY, "emulator": EMULATOR}[name]
    with backend.use_backend(name):
        found = {"date": date.today().isoformat(), "commit": commit(), "backend": name, **device.facts()}
        found["tests"] = run_tests() if tests else None
        if benchmarks:
            sizes = sizes or (LARGE if name == "cupy" else TINY)
            found |= {"rounds": rounds, **benchmark(device, sizes, rounds)}
            found["targets"] = targets(found["rows"]) if name == "cupy" else []
    return jsonable(found)


def markdown(found: dict) -> str:
    """The record as a page."""
    facts = [key for key in ("architecture", "memory", "driver", "runtime", "CuPy", "commit") if key in found]
    lines = [f"# CUDA kernels on {found['device']}, {found['date']}", ""]
    lines += [", ".join(f"{key} {found[key]}" for key in facts) + "."]
    if found["backend"] != "cupy":
        lines += ["", "This is the emulator: nothing here ran on a GPU, and the times mean nothing."]
    lines += ["", "## Tests", "", *_tests_text(found["tests"])]
    if "rows" in found:
        lines += _benchmarks_text(found)
    return "\n".join(lines) + "\n"


def _tests_text(tests: dict | None) -> list[str]:
    if tests is None:
        return ["Not run."]
    counts = f"{tests['passed']} passed, {len(tests['failed'])} failed, {tests['skipped']} skipped."
    return [counts, *(f"* {line}" for line in tests["failed"])]


def _benchmarks_text(found: dict) -> list[str]:
    ceilings = found["ceilings"]
    lines = ["", "## Speed", ""]
    lines += [
        f"Medians of {found['rounds']} rounds in turn. Ceilings of this card, measured in the same run: matrix product "
        f"{ceilings['gflops']:.0f} GFLOP/s, copy {ceilings['gbytes']:.0f} GB/s. Peer: {found['peer']}."
    ]
    missed = [target for target in found["targets"] if not target["holds"]]
    if found["targets"]:
        held = len(found["targets"]) - len(missed)
        lines += ["", f"Targets: {held} of {len(found['targets'])} hold. Missed:" if missed else "Every target holds."]
        lines += [f"* {t['name']} {t['shape']}: {t['value']:.2f} {t['unit']}, wanted {t['wanted']:.2f}" for t in missed]
    lines += [f"* failed: {line}" for line in found["failed"]]
    lines += ["", "| | shape | ms | GFLOP/s | GB/s | of ceiling | PyTorch ms | PyTorch / minseg |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for row in found["rows"]:
        numbers = [
            f"{row['ms']:.4g}",
            *("" if row[key] is None else f"{row[key]:.0f}" for key in ("gflops", "gbytes")),
            "" if row["share"] is None else f"{row['share']:.0%}",
            "" if row["peer_ms"] is None else f"{row['peer_ms']:.4g}",
            report.ratio(row),
        ]
        lines += [f"| {row['name']} | {row['shape']} | " + " | ".join(numbers) + " |"]
    return [*lines, *(f"\nLeft out: {line}" for line in found["left_out"])]


def file_name(found: dict) -> str:
    """2026-11-27-nvidia-h200"""
    return f"{found['date']}-" + re.sub(r"[^a-z0-9]+", "-", found["device"].lower()).strip("-")


def latest() -> Path | None:
    """The project's newest record, or None: the kernels have never run on a GPU."""
    return max(RECORDS.glob("*.md"), default=None, key=lambda path: path.name)


def healthy(found: dict) -> bool:
    tests = found["tests"]
    return not found.get("failed") and (tests is None or (tests["passed"] > 0 and not tests["failed"]))


def main(args) -> int:
    """``minseg gpu-record``: write the record as .md and .json; 1 where a test or a kernel failed."""
    if args.rounds < 1:
        raise ArgumentError(f"rounds must be at least 1, got {args.rounds}")
    backend.get(args.backend)  # BackendError before anything is made
    if args.backend != "cupy" and args.out is None:
        raise ArgumentError("a record of the emulator is none of the project's: say with --out DIR where to write it")
    if args.tests and not (ROOT / "tests").is_dir():
        raise FileError(f"{ROOT} holds no tests: run this from a checkout, or leave them out with --no-tests")
    found = record(args.backend, args.tests, args.benchmarks, args.rounds)
    folder = args.out or RECORDS
    folder.mkdir(parents=True, exist_ok=True)
    for ending, text in ((".json", json.dumps(found, indent=1) + "\n"), (".md", markdown(found))):
        path = folder / (file_name(found) + ending)
        write_bytes(path, text.encode())
        print(f"wrote {path}")
    print("\n".join(_tests_text(found["tests"])))
    return 0 if healthy(found) else 1
