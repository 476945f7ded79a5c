"""What all optimisers share: the parameters, the learning rate, the state, and its way into a file and back.

The arithmetic is in the kernels, and a step calls one of them once: all parameters lie end to end in one long array, and so does
each slot of their state. Every ``p.data`` is a piece of that array, in the parameter's own shape. A step makes new long arrays;
nothing is changed in place.
"""

import math
import numbers
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from minseg import backend
from minseg.autograd import Tensor
from minseg.errors import ArgumentError, DtypeError, ShapeError


class Joined(NamedTuple):
    """Arrays end to end."""

    long: object
    pieces: Sequence
    """Views of ``long``, in the shapes of what was joined."""


NOTHING = Joined(None, ())


class Optimizer:
    """What all optimisers share: the parameters, the learning rate, and the state of each parameter.

    ``lr`` may be set between steps (a schedule does so).
    """

    slots: tuple[str, ...] = ()
    """Names of the arrays that are kept for each parameter, beside the number of its updates."""

    def __init__(self, params: Iterable[Tensor], lr: float):
        self.params = list(params)
        self.lr = lr
        self.state: list[dict] = [{} for _ in self.params]
        self._joined: dict[tuple[int, ...], list[Joined]] = {}
        if not self.params:
            raise ArgumentError(f"{type(self).__name__}: there are no parameters to train")
        for position, p in enumerate(self.params):
            if not isinstance(p, Tensor) or not p.requires_grad or p.node is not None:
                raise ArgumentError(
                    f"{type(self).__name__}: params must be leaf tensors that need gradients, such as module.parameters(); "
                    f"number {position} is {f'a Tensor {p.shape}' if isinstance(p, Tensor) else type(p).__name__}"
                )
        if len({id(p) for p in self.params}) < len(self.params):
            raise ArgumentError(
                f"{type(self).__name__}: a parameter appears twice, so it would be updated twice a step"
            )

    @property
    def lr(self) -> float:
        """The learning rate (eta)."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = self._number("lr", value, 0)

    def _number(self, name: str, value, low: float, below: float = math.inf) -> float:
        """The value as a float, if low <= value < below."""
        if not isinstance(value, numbers.Real) or not low <= value < below:
            limits = f"at least {low}" + (f" and below {below}" if below < math.inf else " and finite")
            raise ArgumentError(f"{type(self).__name__}: {name} must be {limits}, got {value!r}")
        return float(value)

    def zero_grad(self) -> None:
        """Forget all gradients: ``backward`` adds to them."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient; the others, and their state, stay as they are."""
        groups: dict[tuple, list[int]] = {}  # one long array holds one dtype, and one number of updates so far
        for position, (p, state) in enumerate(zip(self.params, self.state)):
            if p.grad is not None:
                self._expect_shape(position, p)
                groups.setdefault((p.dtype, state.get("step", 0) + 1), []).append(position)
        before, self._joined = self._joined, {}
        for (_, step), positions in groups.items():
            self._step_together(tuple(positions), step, before)

    def _step_together(self, positions: tuple[int, ...], step: int, before: dict) -> None:
        """Update these parameters, for the ``step``-th time. ``before`` has the long arrays that the last step left."""
        params, states = [self.params[i] for i in positions], [self.state[i] for i in positions]
        slots = [[self._slot(p, state, name) for p, state in zip(params, states)] for name in self.slots]
        arrays = [[p.data for p in params], *slots]
        p, *slots = map(self._end_to_end, arrays, before.get(positions, [NOTHING] * len(arrays)))
        g = self._end_to_end([p.grad for p in params], NOTHING)
        updated = self._update(p, g, *slots, step=step)[: len(arrays)]
        self._joined[positions] = [Joined(long, _cut(long, params)) for long in updated]
        for k, (p, state) in enumerate(zip(params, states)):
            p.data, *values = (joined.pieces[k] for joined in self._joined[positions])
            state |= {"step": step, **dict(zip(self.slots, values))}

    def _update(self, p, g, *slots, step: int) -> tuple:
        """The ``step``-th step of parameters p with gradients g: the new p and, in the order of ``slots``, the new state."""
        raise NotImplementedError

    def _end_to_end(self, arrays: Sequence, before: Joined):
        """One long array with the numbers of all: that of the last step, unless one of its pieces has been replaced since."""
        if len(before.pieces) == len(arrays) and all(a is piece for a, piece in zip(arrays, before.pieces)):
            return before.long
        dtypes = sorted({array.dtype.name for array in arrays})
        if len(dtypes) > 1:
            raise DtypeError(
                f"{type(self).__name__}: mixed dtypes {', '.join(dtypes)}; convert the model and start anew"
            )
        return backend.current().xp.concatenate([array.reshape(-1) for array in arrays])

    def _slot(self, p: Tensor, state: dict, name: str):
        """An array that is kept for p; 0 before its first update."""
        return state[name] if name in state else backend.current().xp.zeros_like(p.data)

    def _expect_shape(self, position: int, p: Tensor) -> None:
        if p.grad.shape != p.shape:
            raise ShapeError(
                f"{type(self).__name__}: the gradient of parameter {position} must be {p.shape}, got {p.grad.shape}"
            )

    def state_dict(self) -> dict[str, np.ndarray]:
        """What the steps so far have left behind, flat, as a safetensors file takes it: "0.step", "0.v", ... for each parameter.

        Hyper-parameters such as ``lr`` are not part of it: they are the arguments of the constructor.
        """
        return {
            f"{position}.{name}": np.asarray(value, np.int64) if name == "step" else value
            for position, state in enumerate(self.state)
            for name, value in state.items()
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on exactly where the optimiser was whose ``state_dict`` this is; ArgumentError, and no change, if it does not fit."""
        here = backend.current()
        loaded: list[dict] = [{} for _ in self.params]
        for key, value in state.items():
            position, _, name = key.partition(".")
            if not position.isdecimal() or int(position) >= len(self.params) or name not in ("step", *self.slots):
                raise ArgumentError(
                    f"{type(self).__name__}: the state has {key!r}, but expected are 0 to {len(self.params) - 1} with "
                    f"{', '.join(('step', *self.slots))}; it belongs to another optimiser or model"
                )
            p = self.params[int(position)]
            expected = ((), np.dtype(np.int64)) if name == "step" else (p.shape, p.dtype)
            if (value.shape, value.dtype) != expected:
                raise ArgumentError(
                    f"{type(self).__name__}: the state's {key} must be {expected[0]} {expected[1]}, got {value.shape} {value.dtype}"
                )
            loaded[int(position)][name] = int(value) if name == "step" else here.asarray(value).copy()
        for position, arrays in enumerate(loaded):
            if arrays and set(arrays) != {"step", *self.slots}:
                raise ArgumentError(
                    f"{type(self).__name__}: parameter {position} needs {', '.join(('step', *self.slots))}, "
                    f"but the state has {', '.join(arrays)}; it belongs to another optimiser or model"
                )
        self.state = loaded


def _cut(long, like: Sequence[Tensor]) -> list:
    """The long array in pieces of these tensors' shapes."""
    ends = accumulate((t.numel() for t in like), initial=0)
    return [long[start:stop].reshape(t.shape) for (start, stop), t in zip(pairwise(ends), like)]
