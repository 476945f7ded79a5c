"""Sequential and ModuleList; and ``feed``, which runs modules in turn and computes neighbours together where that is cheaper.

    BatchNorm2d, ReLU       ``ops.batch_norm_relu``: the map is read and written once, and none is kept for ReLU

Nothing else changes: the modules, their state and their names stay what they are. Only plain layers are joined, so whoever looks at
a layer's output (``explain.record`` puts another ``forward`` in its place) or writes a subclass finds it run by itself.
"""

from collections.abc import Iterable, Iterator

from minseg.errors import ArgumentError
from minseg.nn.layers import BatchNorm2d, ReLU
from minseg.nn.module import Module


def feed(x, *modules: Module):
    """x through the modules, one after the other, each fed with the output of the one before.

    >>> import numpy as np
    >>> from minseg import tensor
    >>> feed(tensor(np.array([[[[-1.0, 3.0]]]], np.float32)), BatchNorm2d(1), ReLU()).data.round(2).ravel().tolist()
    [0.0, 1.0]
    """
    waiting = list(modules)
    while waiting:
        first = waiting.pop(0)
        if _is_plain(first, BatchNorm2d) and waiting and _is_plain(waiting[0], ReLU):
            waiting.pop(0)
            x = first.with_relu(x)
        else:
            x = first(x)
    return x


def _is_plain(module: Module, layer: type[Module]) -> bool:
    """Whether it is this layer itself: no subclass, and with no other forward put in its place."""
    return type(module) is layer and "forward" not in vars(module)


class Sequential(Module):
    """Modules one after the other, each fed with the output of the one before.

    >>> from minseg import nn
    >>> nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=4, out_features=2, bias=True)
    )
    """

    def __init__(self, *modules: Module):
        _number(self, modules)

    def forward(self, x):
        return feed(x, *self.children())

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> Module:
        chosen = list(self.children())[index]
        return Sequential(*chosen) if isinstance(index, slice) else chosen


class ModuleList(Module):
    """A list of modules that belong to the module whose attribute it is (those in a plain list would not)."""

    def __init__(self, modules: Iterable[Module] = ()):
        _number(self, modules)

    def append(self, module: Module) -> "ModuleList":
        _number(self, [module], start=len(self))
        return self

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> "Module | ModuleList":
        chosen = list(self.children())[index]
        return ModuleList(chosen) if isinstance(index, slice) else chosen


def _number(parent: Module, modules: Iterable[Module], start: int = 0) -> None:
    """Make the modules attributes '0', '1', ... of their parent."""
    for position, module in enumerate(modules, start):
        if not isinstance(module, Module):
            raise ArgumentError(f"{type(parent).__name__}: expected modules, got {type(module).__name__} at {position}")
        setattr(parent, str(position), module)
