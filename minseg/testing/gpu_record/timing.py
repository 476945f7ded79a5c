"""Time on a device. Python takes longer to launch many a kernel than the kernel takes, so all launches are queued first."""

from collections.abc import Callable
from functools import partial

import numpy as np

from minseg.kernels.cuda.device import Device
from minseg.testing.bench.measuring import Ceilings, Work
from minseg.testing.gpu_record.cases import Sizes

MOST = 64
"""Launches of one work that are timed together: a queue holds about a thousand, and a work may launch several kernels."""

LONGEST_HEAD_START = 0.2
"""Seconds. What cannot be queued in half of that is timed with its launches."""


class Stopwatch:
    """Times one work, as often in a row as it takes to time it well.

    With ``ahead`` the device is held until everything is queued, so that it computes without a pause. That is for kernels; of a
    whole training step the launches are a part, and whoever waits for a loss in between cannot queue ahead.
    """

    def __init__(self, device: Device, work: Work, sizes: Sizes, ahead: bool):
        self.device, self.work, self.ahead = device, work, ahead
        work()  # compiles
        once = max(device.time(work).seconds, 1e-7)
        self.count = max(1, min(MOST, int(sizes.least / once)))
        for _ in range(int(sizes.warm / once / self.count)):
            device.time(work, self.count)
        self.head_start = 0.0

    def milliseconds(self) -> float:
        """Of one time; the head start doubles until the device need not wait for a launch."""
        while True:
            found = self.device.time(self.work, self.count, self.head_start)
            if found.queued_ahead or not self.ahead or self.head_start >= LONGEST_HEAD_START:
                return found.seconds / self.count * 1e3
            self.head_start = 2 * max(self.head_start, found.queueing)


def take_turns(
    device: Device, sizes: Sizes, contenders: dict[str, Work], rounds: int, ahead: bool = True
) -> dict[str, list[float]]:
    """Milliseconds of each contender in each round."""
    stopwatches = {name: Stopwatch(device, work, sizes, ahead) for name, work in contenders.items()}
    found = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, stopwatch in stopwatches.items():
            found[name].append(stopwatch.milliseconds())
    return found


def measure_ceilings(device: Device, sizes: Sizes) -> Ceilings:
    """The best of several matrix products by the vendor's library in float32, and of copies by the driver and by a kernel."""
    xp, n = device.xp, sizes.product
    a = xp.asarray(np.random.default_rng(0).standard_normal((n, n), dtype=np.float32))
    source, target = xp.zeros(sizes.copy // 4, np.float32), xp.zeros(sizes.copy // 4, np.float32)

    def copy() -> None:
        target[...] = source

    works: dict[str, Callable] = {
        "product": lambda: device.matmul(a, a),
        "copy": copy,
        "element by element": partial(xp.negative, source, out=target),
    }
    best = {name: min(times) for name, times in take_turns(device, sizes, works, 10).items()}
    product = best.pop("product")
    return Ceilings(2 * n**3 / product / 1e6, 2 * source.nbytes / min(best.values()) / 1e6)
