"""The memory that a training step needs: the most that a process of its own had resident, less what it had before.

``python -m minseg.testing.bench.peak SIDE NAME N C H W`` is that process. Before means: everything is imported, kernels are loaded,
and one step of the smallest image has run, twice; so what is left is arrays.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

from minseg.backend import use_backend
from minseg.errors import BackendError
from minseg.testing.bench import peer
from minseg.testing.bench.measuring import Row
from minseg.testing.bench.networks import Network, times

SMALL = 32
MEGABYTE = 1 << 20
STEPS = 3
SIDES = ("ours", "contiguous", "channels_last")


def peak() -> float:
    """The most memory that this process ever had resident, in MB.

    Linux hands ``ru_maxrss`` of whoever starts a process on to it, however little it needs itself; VmHWM begins anew.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / MEGABYTE
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def step_of(side: str, network: Network):
    """The training step of ours, or of one of the peer's layouts."""
    return network.training_step() if side == "ours" else peer.training_step(network.model(), *network.data())[side]


def measure_here(side: str, network: Network) -> dict[str, float]:
    """Run the steps in this process: its peak before and after, in MB."""
    small = step_of(side, Network(network.name, (1, network.batch[1], SMALL, SMALL)))
    for _ in range(2):
        small()
    before = peak()
    step = step_of(side, network)
    for _ in range(STEPS):
        step()
    return {"before": before, "after": peak()}


def measure(side: str, network: Network) -> dict[str, float]:
    """The same in a process of its own. It starts anew where kernels had to be compiled, which takes memory as well."""
    command = [sys.executable, "-m", __name__, side, network.name, *map(str, network.batch)]
    for _ in range(2 if side == "ours" else 1):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BackendError(f"the process that measures memory failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def row(network: Network, with_peer: bool) -> Row:
    """Megabytes in the place of milliseconds; the ratio is the peer's over ours."""
    found = {side: measure(side, network) for side in SIDES[: None if with_peer else 1]}
    needed = {side: memory["after"] - memory["before"] for side, memory in found.items()}
    line = Row("memory", f"peak memory, {network.title}", times(network.batch), needed.pop("ours"))
    if needed:
        layout = min(needed, key=needed.get)
        line.peer_ms, line.ratio = needed[layout], needed[layout] / line.ms
        line.notes["layout"] = layout
    line.notes["before"] = {side: memory["before"] for side, memory in found.items()}
    return line


if __name__ == "__main__":
    side, name, *batch = sys.argv[1:]
    use_backend("numba")
    print(json.dumps(measure_here(side, Network(name, tuple(map(int, batch))))))
