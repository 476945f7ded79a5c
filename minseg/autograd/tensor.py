"""The tape: Tensor, Function, and the walk backwards through them. Python's operators are in ``arithmetic.py``.

Every operation on tensors that need gradients leaves a Function that remembers what made its inputs: a graph that grows while
the program runs. ``backward`` visits the Functions so that each comes after all those that used its output. Why the order
matters:

    b = a + a
    c = b + b          # c = 4a, so dc/da = 4

b is used twice. Whoever walks from c along the first edge straight down to a pushes b's gradient on while only half of it (1) has
arrived, and again when the other half has: if the second visit pushes the whole (2), a ends with 2 * (1 + 2) = 6. In topological
order b is visited once, when its gradient is complete (2), and a receives 2 + 2 = 4.
"""

import numbers
from collections.abc import Iterable
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from minseg import backend
from minseg.errors import DtypeError, GraphError, ShapeError

_recording = True


class no_grad:
    """Inside this block no operation is recorded: nothing is saved for backward, and results need no gradient.

    >>> x = Tensor(np.ones(3), requires_grad=True)
    >>> with no_grad():
    ...     (x * 2).requires_grad
    False
    """

    def __enter__(self) -> None:
        global _recording
        self.before, _recording = _recording, False

    def __exit__(self, *exception) -> None:
        global _recording
        _recording = self.before


def is_grad_enabled() -> bool:
    """Whether operations are recorded here: True outside ``no_grad``."""
    return _recording


class Tensor:
    """An array that remembers how it was computed.

    Attributes
    ----------
    data : array of the backend
    grad : array or None
        The sum of the gradients of all ``backward`` calls since it was None. Only leaves (tensors that no operation made) keep one.
    requires_grad : bool
    node : Function or None
        The operation that made this tensor; None for a leaf.
    """

    __array_ufunc__ = None  # np.ndarray + Tensor asks Tensor, and np.exp(Tensor) is an error
    __slots__ = ("__weakref__", "data", "grad", "node", "requires_grad")

    def __init__(self, data, requires_grad: bool = False, node: "Function | None" = None):
        if requires_grad and data.dtype.kind != "f":
            raise DtypeError(f"only float tensors can need gradients, got {data.dtype}")
        self.data = data
        self.grad = None
        self.requires_grad = requires_grad
        self.node = node

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        made_by = (
            f", made by {type(self.node).__name__}" if self.node else ", requires_grad" if self.requires_grad else ""
        )
        return f"Tensor({np.array2string(self.numpy(), precision=4, threshold=20)}, {self.dtype}{made_by})"

    def numel(self) -> int:
        """The number of elements."""
        return self.data.size

    def item(self) -> float:
        """The only element, as a Python number."""
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array (on the host, not a copy where they already are)."""
        return self.data if isinstance(self.data, np.ndarray) else self.data.get()

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if self.requires_grad:
            raise GraphError("np.asarray(tensor) would lose its history; say .numpy() or .detach() if that is meant")
        return np.array(self.numpy(), dtype, copy=copy)

    def detach(self) -> "Tensor":
        """The same values without their history."""
        return Tensor(self.data)

    def backward(self, gradient=None, *, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to the ``grad`` of every leaf that this tensor was computed from.

        Parameters
        ----------
        gradient : array or Tensor, optional
            The cotangent, of this tensor's shape; may be left out for a single number, where it is 1.
        retain_graph : bool
            Keep what was saved, so that backward can run through the graph again. Without it the graph is freed on the way.

        Raises
        ------
        GraphError
            If the tensor was not recorded, or its graph has been freed (then no leaf has been changed).
        """
        if not self.requires_grad:
            raise GraphError(
                "backward: this tensor needs no gradient; make an input with requires_grad=True and stay outside no_grad()"
            )
        if gradient is None:
            if self.data.size != 1:
                raise GraphError(
                    f"backward: a tensor of shape {self.shape} needs a gradient of that shape; "
                    "call .sum() or .mean() first, or pass backward(gradient)"
                )
            kernels = backend.current() if self.node is None else self.node.kernels
            gradient = kernels.xp.ones(self.shape, self.dtype)
        gradient = gradient.data if isinstance(gradient, Tensor) else gradient
        shape, dtype = getattr(gradient, "shape", None), getattr(gradient, "dtype", type(gradient).__name__)
        if shape != self.shape:
            raise ShapeError(f"backward: the gradient must be an array of shape {self.shape}, got {shape} {dtype}")
        if dtype != self.dtype:
            raise DtypeError(f"backward: the gradient must be {self.dtype}, got {dtype}; convert it with .astype")
        _walk(self, gradient, retain_graph)


class Parameter(Tensor):
    """A Tensor that a module learns: a leaf that needs its gradient."""

    __slots__ = ()

    def __init__(self, data):
        super().__init__(data, requires_grad=True)


def tensor(array, requires_grad: bool = False, dtype=None) -> Tensor:
    """Make a Tensor on the current backend.

    Parameters
    ----------
    array : array, Tensor, number or nested lists
        Arrays keep their dtype, and share their memory with the Tensor where the backend can use it as it is. Lists and numbers
        become float32, unless all are integers, booleans or ``dtype`` is given.
    requires_grad : bool
    dtype : optional
        Convert to this dtype.

    >>> tensor([1.0, 2.0]).dtype.name
    'float32'
    """
    if isinstance(array, Tensor):
        array = array.data
    if dtype is None and not hasattr(array, "dtype") and np.asarray(array).dtype.kind == "f":
        dtype = np.float32
    here = backend.current()
    data = here.asarray(array)
    return Tensor(data if dtype is None else data.astype(dtype, copy=False), requires_grad)


class Edge(NamedTuple):
    """An input as the graph remembers it: where its gradient goes, and of what shape, but not its values.

    A Function that held on to its input Tensors would keep every intermediate array alive until backward, whether it needs it or
    not. So the graph keeps edges, and only what a Function saves costs memory.
    """

    node: "Function | None"
    """What made the input, if its gradient travels on."""
    leaf: Tensor | None
    """The input itself, if its gradient ends there."""
    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def to(cls, t: Tensor) -> "Edge":
        return cls(t.node, t if t.requires_grad and t.node is None else None, t.shape, t.dtype)

    @property
    def requires_grad(self) -> bool:
        return self.node is not None or self.leaf is not None


class Function:
    """One operation: ``forward`` on arrays, ``backward`` from the gradient of its output to the gradients of its inputs.

    A subclass keeps what backward needs with ``self.save(x=x)`` and reads it as ``self.saved.x``: what costs memory is visible.
    ``self.needs`` says which inputs' gradients are asked for; for the others backward returns None and should compute nothing.
    ``self.kernels`` is the backend that forward ran on, ``self.inputs`` the edges to what the inputs came from.
    """

    equation = ""
    """Id of the equation that forward computes."""

    def forward(self, *arrays, **options):
        """The output array; or a tuple, the output first and then arrays without gradient (indices, say)."""
        raise NotImplementedError

    def backward(self, gy) -> tuple:
        """A gradient, or None, for each input of forward."""
        raise NotImplementedError

    def save(self, **arrays) -> None:
        if _recording and any(self.needs):
            vars(self.saved).update(arrays)

    def done_with(self, name: str) -> None:
        """Say in backward that a saved array is needed no more: the gradients that are still to come may have its memory."""
        if not self.retained:
            setattr(self.saved, name, None)

    @classmethod
    def apply(cls, *inputs: Tensor | None, **options):
        """Run forward on the inputs' arrays and, unless nothing needs a gradient, record it."""
        node = cls()
        node.kernels = backend.current()
        node.needs = tuple([t is not None and t.requires_grad for t in inputs])
        recorded = _recording and any(node.needs)
        node.inputs = tuple([None if t is None else Edge.to(t) for t in inputs]) if recorded else ()
        node.saved = SimpleNamespace()
        node.freed, node.retained = False, False
        arrays = [None if t is None else t.data for t in inputs]
        for array in arrays:
            if array is not None:
                node.kernels.expect_here(array, cls.__name__, "an input")
        out = node.forward(*arrays, **options)
        extras = ()
        if isinstance(out, tuple):
            out, *extras = out
        result = Tensor(_array(out), recorded, node if recorded else None)
        return (result, *(Tensor(_array(extra)) for extra in extras)) if extras else result


def _array(value):
    """NumPy's sums and sums of 0-d arrays are scalars; a Tensor and a gradient are arrays."""
    return np.asarray(value) if isinstance(value, np.generic) else value


def topological(root: Function) -> list[Function]:
    """The Functions below root, each after all those that use its output. Iterative: depth costs no Python stack."""
    finished: list[Function] = []
    seen = {root}
    stack = [(root, iter(root.inputs))]
    while stack:
        node, inputs = stack[-1]
        below = next((t.node for t in inputs if t is not None and t.node is not None and t.node not in seen), None)
        if below is None:
            finished.append(node)  # all it depends on is finished
            stack.pop()
        else:
            seen.add(below)
            stack.append((below, iter(below.inputs)))
    return finished[::-1]


def _walk(root: Tensor, gradient, retain_graph: bool) -> None:
    """Carry the gradient from root to the leaves, in topological order."""
    if root.node is None:
        _accumulate(root, gradient)
        return
    order = topological(root.node)
    for node in order:
        if node.freed:
            raise GraphError(
                f"backward: the graph through {type(node).__name__} was freed by an earlier backward; "
                "run the forward pass again, or pass retain_graph=True to the first backward"
            )
    arrived = {root.node: gradient}  # the gradient of each node's output, complete when its turn comes
    for node in order:
        gy = arrived.pop(node, None)
        if gy is not None:
            node.retained = retain_graph
            gradients = node.backward(gy)
            for edge, g in zip(node.inputs, gradients, strict=True):
                if edge is None or g is None or not edge.requires_grad:
                    continue
                g = _array(g)
                _expect_gradient(node, edge, g)
                if edge.node is None:
                    _accumulate(edge.leaf, g)
                else:
                    arrived[edge.node] = _array(node.kernels.add(arrived[edge.node], g)) if edge.node in arrived else g
        if not retain_graph:
            node.saved, node.inputs, node.freed = SimpleNamespace(), (), True


def _accumulate(leaf: Tensor, g) -> None:
    """Add g to the leaf's gradient: always in an array of its own, for g may be a view, or shared with another tensor."""
    leaf.grad = g.copy() if leaf.grad is None else _array(leaf.grad + g)


def _expect_gradient(node: Function, edge: Edge, g) -> None:
    if g.shape != edge.shape or g.dtype != edge.dtype:
        raise ShapeError(
            f"{type(node).__name__}.backward returned {g.shape} {g.dtype} for an input {edge.shape} {edge.dtype} [{node.equation}]"
        )


def common(inputs: Iterable, name: str = "arithmetic") -> list[Tensor]:
    """Tensors of one dtype: numbers adopt the tensors' dtype where it can hold them; anything else of another dtype is an error."""
    inputs = list(inputs)
    dtypes = {t.dtype for t in inputs if hasattr(t, "dtype") and not isinstance(t, np.generic)}
    if len(dtypes) > 1:
        raise DtypeError(
            f"{name}: mixed dtypes {', '.join(sorted(d.name for d in dtypes))}; convert one with tensor(x, dtype=...)"
        )
    if not any(isinstance(t, Tensor) for t in inputs):
        raise DtypeError(
            f"{name}: expected a Tensor, got {', '.join(type(t).__name__ for t in inputs)}; make one with minseg.tensor"
        )
    dtype = dtypes.pop()
    return [_adopt(value, dtype, name) for value in inputs]


def _adopt(value, dtype, name: str) -> Tensor:
    """The value as a Tensor of this dtype: itself, an array of that dtype, or a number that it can hold."""
    if isinstance(value, Tensor):
        return value
    if hasattr(value, "dtype") and not isinstance(value, np.generic):
        return Tensor(value)
    if not isinstance(value, (numbers.Number, np.generic)):
        raise DtypeError(
            f"{name}: expected a Tensor, a number or an array, got {type(value).__name__}; convert it with minseg.tensor"
        )
    value = value.item() if isinstance(value, np.generic) else value
    if not _can_hold(dtype, value):
        raise DtypeError(f"{name}: {dtype} cannot hold {value!r}; convert the tensor with tensor(x, dtype=...)")
    return Tensor(backend.current().xp.full((), value, dtype))  # written by the device itself: nothing is copied there


def _can_hold(dtype, value) -> bool:
    """Floats hold all real numbers, integers the whole numbers in their range, booleans True and False."""
    if dtype.kind in "iu" and isinstance(value, int):
        return np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    return np.result_type(dtype, value) == dtype
