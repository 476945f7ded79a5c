"""What the CUDA host code launches: its rungs by name, and the kernels that each of them asks for.

The host code is called as always, on arrays of the emulator, but its launches are only written down; so it takes no compiler.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest import mock

import numpy as np

from minseg.errors import Unsupported
from minseg.kernels import emulator
from minseg.kernels.cuda import device
from minseg.kernels.spec import PRIMITIVES
from minseg.testing.cases import cases
from minseg.testing.conformance import on_device


@dataclass(frozen=True)
class Launch:
    """One launch that was asked for."""

    file: str
    kernel: str
    real: str
    """The dtype that the file is compiled for: float32 or float64."""
    block: tuple[int, ...]
    shared: int
    """Bytes of shared memory that the launch adds to the kernel's own."""

    @property
    def threads(self) -> int:
        """In a block."""
        return int(np.prod(self.block))


def rungs() -> dict[tuple[str, str], Callable]:
    """Every rung of the ladder of each primitive; a primitive without a ladder stands under (its name, "")."""
    found = {}
    for name, primitive in PRIMITIVES.items():
        module = importlib.import_module(f"minseg.kernels.cuda.{primitive.family}")
        ladder = getattr(module, "VARIANTS", {}).get(name, {})
        found |= {(name, rung): kernel for rung, kernel in ladder.items()} or {(name, ""): getattr(module, name)}
    return found


@contextlib.contextmanager
def written_down() -> Iterator[list[Launch]]:
    """Inside the block, launches on the emulator only grow this list."""
    found: list[Launch] = []

    def launch(file, kernel, real, grid, block, *args, shared_mem=0):
        found.append(Launch(file, kernel, np.dtype(real).name, block, shared_mem))

    with mock.patch.object(device.EMULATOR, "launch", launch):
        yield found


def launches(name: str, rung: str, dtype: str = "float32") -> list[Launch]:
    """What one rung launches for the conformance cases of its primitive that it is made for."""
    call = on_device(rungs()[name, rung], emulator.xp)
    with written_down() as found, np.errstate(all="ignore"):
        for case in cases(name):
            with contextlib.suppress(Unsupported):
                call(*case.arguments(dtype))
    return found
