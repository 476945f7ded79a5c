"""Measures case after case, and goes on after one that fails.

A kernel that reads where it must not leaves its process without a GPU, and one that does not end leaves it waiting. So on a GPU a
process of its own measures, and tells what it finds line by line; where it ends before its time, another goes on after that case.
"""

import gc
import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

from minseg import backend
from minseg.errors import Unsupported
from minseg.files import jsonable
from minseg.kernels.cuda.device import CUPY, EMULATOR, Device
from minseg.testing.bench.measuring import Ceilings, Work, measure
from minseg.testing.gpu_record.cases import SIZES, Planned, Sizes, planned
from minseg.testing.gpu_record.timing import measure_ceilings, take_turns

ROOT = Path(__file__).resolve().parents[3]
DEVICES: dict[str, Device] = {"cupy": CUPY, "emulator": EMULATOR}
PATIENCE = 90.0
"""Seconds without a word from the process that measures: then it is ended."""


def the_peer(wanted: bool) -> str:
    """PyTorch's version, once it is told to multiply in float32 and not in TF32; or "none" and why."""
    if not wanted:
        return "none: the emulator"
    if find_spec("torch") is None:
        return "none: PyTorch is not installed"
    import torch

    if not torch.cuda.is_available():
        return f"none: PyTorch {torch.__version__} finds no GPU"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True  # cuDNN tries its algorithms, and takes the fastest
    return f"PyTorch {torch.__version__}"


def on_the_gpu(make: Callable[[], dict[str, Work]]) -> dict[str, Work]:
    """The peer's works with their tensors on the GPU. They run outside of the block, which makes every call a little slower."""
    import torch

    with torch.device("cuda"):
        return make()


def findings(name: str, size: str, rounds: int, first: int = 0) -> Iterator[dict]:
    """What is found from case ``first`` on, one thing after the other; the last is {"done": True}.

    It ends earlier where a case that failed has taken the device along.
    """
    device, sizes = DEVICES[name], SIZES[size]
    peer = the_peer(device is CUPY)  # imported before any array is made
    with backend.use_backend(name):
        ceilings = measure_ceilings(device, sizes)
        yield {"peer": peer, "ceilings": asdict(ceilings)}
        for number, case in list(enumerate(planned(sizes)))[first:]:
            yield {"begun": number, "name": case.title}
            found = _one(device, sizes, case, ceilings, not peer.startswith("none"), rounds)
            gc.collect()
            yield found
            if "failed" in found and not _works(device):
                return
    yield {"done": True}


def _one(device: Device, sizes: Sizes, planned_case: Planned, ceilings: Ceilings, peer: bool, rounds: int) -> dict:
    try:
        case = planned_case.make(device)
        if peer and case.peer:
            case = replace(case, peer=partial(on_the_gpu, case.peer))
        turns = partial(take_turns, device, sizes, ahead=case.group != "networks")
        return {"row": asdict(measure(case, ceilings, peer, rounds, turns))}
    except Unsupported as error:  # a rung that does not compute this shape
        return {"left_out": f"{planned_case.title}: {error}"}
    except Exception as error:
        return {"failed": f"{planned_case.title}: {type(error).__name__}: {' '.join(str(error).split())}"}


def _works(device: Device) -> bool:
    """Whether the device still does anything: after an illegal access it refuses everything."""
    try:
        device.time(lambda: device.zeros((1,), "float32"))
    except Exception:
        return False
    return True


# --------------------------------------------------------------------------------------------- in a process of its own


def findings_of_a_process(name: str, size: str, rounds: int, first: int = 0) -> Iterator[dict]:
    """The same from a process of its own; where that ends before its time, {"ended": why} is the last."""
    command = [sys.executable, "-m", "minseg.testing.gpu_record", name, size, str(rounds), str(first)]
    yield from told_by(command)


def told_by(command: list[str], patience: float = PATIENCE) -> Iterator[dict]:
    """What a process tells, a line of JSON each; then {"ended": why}, unless the last said that it was done."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        lines: queue.Queue = queue.Queue()
        threading.Thread(target=_hand_on, args=(process.stdout, lines), daemon=True).start()
        try:
            done = False
            while (line := lines.get(timeout=patience)) is not None:
                if not line.startswith("{"):  # some library's word
                    continue
                found = json.loads(line)
                done = "done" in found
                yield found
            code = process.wait()
            if not done:
                errors.seek(0)
                said = errors.read().strip().splitlines()
                yield {"ended": f"its process ended with code {code}" + (f": {said[-1]}" if said else "")}
        except queue.Empty:
            yield {"ended": f"its process said nothing for {patience:.0f} seconds"}
        finally:
            process.kill()
            process.wait()


def _hand_on(stream, lines: queue.Queue) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def tell(name: str, size: str, rounds: str, first: str) -> None:
    """What such a process does."""
    for found in findings(name, size, int(rounds), int(first)):
        print(json.dumps(jsonable(found)), flush=True)


# ----------------------------------------------------------------------------------------------------------- all together


def benchmark(name: str, size: str, rounds: int, run: Callable[..., Iterator[dict]] | None = None) -> dict:
    """Rows, what failed with its reason, and what was left out; ceilings and peer are those of the first process."""
    run = run or (findings_of_a_process if name == "cupy" else findings)
    found = {"rounds": rounds, "peer": None, "ceilings": None, "rows": [], "failed": [], "left_out": []}
    first, done = 0, False
    with tqdm(unit="case", leave=False, disable=not sys.stderr.isatty()) as bar:
        while not done:
            begun = None
            for event in run(name, size, rounds, first):
                if "begun" in event:
                    begun, first = event["name"], event["begun"] + 1
                    bar.update()
                done |= "done" in event
                _note(found, event, begun)
            if begun is None:
                break  # it did not even come to its first case
    return found


def _note(found: dict, event: dict, begun: str | None) -> None:
    if "ceilings" in event and found["ceilings"] is None:
        found |= event
    for key in ("row", "failed", "left_out"):
        if key in event:
            found["rows" if key == "row" else key].append(event[key])
    if "ended" in event and not any(line.startswith(f"{begun}:") for line in found["failed"][-1:]):
        found["failed"].append(f"{begun or 'the benchmarks did not start'}: {event['ended']}")
