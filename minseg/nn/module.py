"""Module: what holds parameters, buffers and other modules, and finds them again.

There is no registry behind the scenes: a Parameter or a Module that is an attribute belongs to the module, and so does an array
named by ``register_buffer``. The names, their order and ``state_dict`` are PyTorch's, so weights move both ways.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from minseg import backend
from minseg.autograd import Parameter, Tensor
from minseg.errors import ArgumentError


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """A piece of a network. A subclass makes its parts in ``__init__`` and computes in ``forward``; calling the module runs it.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.weight = Parameter(np.full((1, 3, 1, 1), 2.0, np.float32))
    ...
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> [name for name, p in Scale().named_parameters()], Scale().num_parameters()
    (['weight'], 3)
    """

    training = True
    """True while training; ``train()`` and ``eval()`` change it here and in every module below."""

    _buffer_names: tuple[str, ...] = ()

    def forward(self, *inputs, **options):
        """The output for these inputs: for a subclass to write."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *inputs, **options):
        return self.forward(*inputs, **options)

    # ------------------------------------------------------------------------------------------------ what belongs to it

    def register_buffer(self, name: str, array) -> None:
        """Keep an array that is part of the state but is not learned (running statistics, say), as attribute ``name``."""
        if hasattr(self, name):
            raise ArgumentError(f"register_buffer: {type(self).__name__} has an attribute {name!r} already")
        self._buffer_names = (*self._buffer_names, name)
        setattr(self, name, array)

    def _own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Parameter))

    def _own_buffers(self) -> Iterator[tuple[str, object]]:
        return ((name, getattr(self, name)) for name in self._buffer_names if getattr(self, name) is not None)

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """The modules that are attributes of this one."""
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def children(self) -> Iterator["Module"]:
        return (child for _, child in self.named_children())

    def named_modules(self) -> Iterator[tuple[str, "Module"]]:
        """This module (named '') and all below it, each once, with dotted names."""
        return _each_once(self._walk())

    def modules(self) -> Iterator["Module"]:
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with dotted names; one that is used twice comes once."""
        return _each_once((prefix + name, p) for prefix, m in self._walk(".") for name, p in m._own_parameters())

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, object]]:
        """All buffers with dotted names."""
        return ((prefix + name, array) for prefix, m in self._walk(".") for name, array in m._own_buffers())

    def buffers(self) -> Iterator:
        return (array for _, array in self.named_buffers())

    def _walk(self, end: str = "", prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """This module and all below, parents first; a name other than '' gets ``end`` appended."""
        yield prefix + end if prefix else "", self
        for name, child in self.named_children():
            yield from child._walk(end, f"{prefix}.{name}" if prefix else name)

    def num_parameters(self) -> int:
        """How many numbers the module learns."""
        return sum(p.numel() for p in self.parameters())

    # ------------------------------------------------------------------------------------------------------ changing it

    def train(self, mode: bool = True) -> "Module":
        """Switch to training (dropout drops, batch norm uses the batch's statistics), or with False away from it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> "Module":
        """Switch to evaluation: the output depends on this input alone."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients. ``backward`` adds to them, so this comes before each step."""
        for p in self.parameters():
            p.grad = None

    def apply(self, fn: Callable[["Module"], None]) -> "Module":
        """Call ``fn`` on every module, children before their parent."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, dtype=None, backend: str | None = None) -> "Module":
        """Convert the floats of all parameters, gradients and buffers to ``dtype``, and move all arrays to ``backend``.

        Integer buffers keep their dtype.

        >>> from minseg import nn
        >>> nn.Linear(2, 3).to(dtype=np.float64).weight.dtype.name
        'float64'
        """
        if dtype is not None and np.dtype(dtype).name not in ("float32", "float64"):
            raise ArgumentError(f"{type(self).__name__}.to: dtype must be float32 or float64, got {np.dtype(dtype)}")

        def convert(array):
            moved = array if backend is None else _array_on(backend, array)
            return moved if dtype is None or moved.dtype.kind != "f" else moved.astype(dtype, copy=False)

        for p in self.parameters():
            p.data, p.grad = convert(p.data), None if p.grad is None else convert(p.grad)
        for module in self.modules():
            for name, array in module._own_buffers():
                setattr(module, name, convert(array))
        return self

    # -------------------------------------------------------------------------------------------------------- its state

    def state_dict(self) -> dict[str, np.ndarray]:
        """Every parameter's and buffer's array by its dotted name, in PyTorch's order.

        The arrays themselves, not copies; training does not change arrays but replaces them, so this is a snapshot.
        """
        state = {}
        for prefix, module in self._walk("."):
            state.update((prefix + name, p.data) for name, p in module._own_parameters())
            state.update((prefix + name, array) for name, array in module._own_buffers())
        return state

    def load_state_dict(self, state: dict, strict: bool = True) -> IncompatibleKeys:
        """Take over (copies of) the arrays of ``state``, on the current backend.

        Everything is checked first: either all is loaded, or one error lists what does not fit and nothing has changed.

        Parameters
        ----------
        state : dict of arrays
            Names and shapes as in ``state_dict()``, and the same dtypes: nothing is cast.
        strict : bool
            Whether missing and unexpected names are errors too.

        Returns
        -------
        IncompatibleKeys
            The missing and the unexpected names; both empty unless ``strict=False``.

        Raises
        ------
        ArgumentError
            ``Linear: the state does not fit. Missing: bias. Mismatching: weight is (3, 2) float32, got (2, 3) float32``
        """
        mine, here = self.state_dict(), backend.current()
        theirs = {
            name: _array_on(here.name, value.data if isinstance(value, Tensor) else value)
            for name, value in state.items()
        }
        missing = [name for name in mine if name not in theirs]
        unexpected = [name for name in theirs if name not in mine]
        mismatching = [
            f"{name} is {_kind(array)}, got {_kind(theirs[name])}"
            for name, array in mine.items()
            if name in theirs and _kind(array) != _kind(theirs[name])
        ]
        problems = [
            ("Mismatching", mismatching),
            *([("Missing", missing), ("Unexpected", unexpected)] if strict else []),
        ]
        if any(names for _, names in problems):
            listed = ". ".join(f"{title}: {', '.join(names)}" for title, names in problems if names)
            raise ArgumentError(
                f"{type(self).__name__}: the state does not fit, nothing was loaded. {listed}. "
                "Build the model with the options that the state was saved from"
            )
        for prefix, module in self._walk("."):
            for name, p in module._own_parameters():
                p.data = theirs[prefix + name].copy() if prefix + name in theirs else p.data
            for name, array in module._own_buffers():
                setattr(module, name, theirs[prefix + name].copy() if prefix + name in theirs else array)
        return IncompatibleKeys(missing, unexpected)

    # ------------------------------------------------------------------------------------------------------ printing it

    def extra_repr(self) -> str:
        """The module's arguments, for ``repr``."""
        return ""

    def __repr__(self) -> str:
        inside = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        if not inside:
            return f"{type(self).__name__}({self.extra_repr()})"
        return "\n  ".join([f"{type(self).__name__}(", *inside]) + "\n)"


def _each_once(named: Iterable[tuple[str, object]]) -> Iterator[tuple[str, object]]:
    """Only the first of those that are the same object."""
    seen = set()
    for name, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value


def _array_on(name: str, array):
    """The array where the kernels of this backend can read it; also from another backend, and from what NumPy can read."""
    target = backend.get(name)
    if isinstance(array, target.xp.ndarray):
        return array
    return target.asarray(array.get() if hasattr(array, "get") else np.asarray(array))


def _kind(array) -> str:
    """Shape and dtype, as the errors print them."""
    return f"{tuple(array.shape)} {array.dtype}"
