"""The tape: Tensor, Function, and the walk backwards through them. Python's operators are in ``arithmetic.py``.

Every operation on tensors that need gradients leaves a Function that remembers its inputs: a graph that grows while the program
runs. ``backward`` visits the Functions so that each comes after all those that used its output. Why the order matters:

    b = a + a
    c = b + b          # c = 4a, so dc/da = 4

b is used twice. Whoever walks from c along the first edge straight down to a pushes b's gradient on while only half of it (1) has
arrived, and again when the other half has: if the second visit pushes the whole (2), a ends with 2 * (1 + 2) = 6. In topological
order b is visited once, when its gradient is complete (2), and a receives 2 + 2 = 4.
"""

from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np

from minseg import backend
from minseg.errors import ArgumentError, DtypeError, GraphError, ShapeError

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

    __array_priority__ = 1000  # np.ndarray + Tensor asks Tensor first
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
        made_by = f", made by {type(self.node).__name__}" if self.node else ", requires_grad" if self.requires_grad else ""
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
            If the tensor was not recorded, or its graph has been freed.
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
            gradient = np.ones(self.shape, self.dtype)
        gradient = gradient.data if isinstance(gradient, Tensor) else gradient
        if gradient.shape != self.shape or gradient.dtype != self.dtype:
            raise ShapeError(
                f"backward: the gradient must be {self.shape} {self.dtype}, got {gradient.shape} {gradient.dtype}"
            )
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
        Arrays keep their dtype. Lists and numbers become float32, unless all are integers, booleans or ``dtype`` is given.
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


class Function:
    """One operation: ``forward`` on arrays, ``backward`` from the gradient of its output to the gradients of its inputs.

    A subclass keeps what backward needs with ``self.save(x=x)`` and reads it as ``self.saved.x``: what costs memory is visible.
    ``self.needs`` says which inputs' gradients are asked for; for the others backward returns None and should compute nothing.
    ``self.kernels`` is the backend that forward ran on.
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

    @classmethod
    def apply(cls, *inputs: Tensor | None, **options):
        """Run forward on the inputs' arrays and, unless nothing needs a gradient, record it."""
        node = cls()
        node.kernels = backend.current()
        node.inputs = inputs
        node.needs = tuple(t is not None and t.requires_grad for t in inputs)
        node.saved = SimpleNamespace()
        node.freed = False
        for t in inputs:
            if t is not None:
                node.kernels.expect_here(t.data, f"{cls.__name__}: an input")
        out = node.forward(*(None if t is None else t.data for t in inputs), **options)
        extras = ()
        if isinstance(out, tuple):
            out, *extras = out
        recorded = _recording and any(node.needs)
        result = Tensor(out, recorded, node if recorded else None)
        return (result, *map(Tensor, extras)) if extras else result


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
    arrived = {root.node: gradient}  # the gradient of each node's output, complete when its turn comes
    for node in topological(root.node):
        if node.freed:
            raise GraphError(
                f"backward: the graph through {type(node).__name__} was freed by an earlier backward; "
                "run the forward pass again, or pass retain_graph=True to the first backward"
            )
        gy = arrived.pop(node, None)
        if gy is None:
            continue
        gradients = node.backward(gy)
        for t, g in zip(node.inputs, gradients, strict=True):
            if t is None or g is None or not t.requires_grad:
                continue
            _expect_gradient(node, t, g)
            if t.node is None:
                _accumulate(t, g)
            else:
                arrived[t.node] = arrived[t.node] + g if t.node in arrived else g
        if not retain_graph:
            node.saved, node.inputs, node.freed = SimpleNamespace(), (), True


def _accumulate(leaf: Tensor, g) -> None:
    leaf.grad = g if leaf.grad is None else leaf.grad + g  # a new array: g may be shared with another tensor


def _expect_gradient(node: Function, t: Tensor, g) -> None:
    if g.shape != t.shape or g.dtype != t.dtype:
        raise ShapeError(
            f"{type(node).__name__}.backward returned {g.shape} {g.dtype} for an input {t.shape} {t.dtype} [{node.equation}]"
        )


def common(inputs: Iterable) -> list[Tensor]:
    """Tensors of one dtype: numbers become tensors of the others' dtype, and two different float dtypes are an error."""
    inputs = list(inputs)
    tensors = [t for t in inputs if isinstance(t, Tensor)]
    dtypes = {t.dtype for t in tensors}
    if len(dtypes) != 1:
        raise DtypeError(f"mixed dtypes {sorted(d.name for d in dtypes)}: convert one with tensor(x, dtype=...)")
    dtype = dtypes.pop()
    made = []
    for value in inputs:
        if isinstance(value, Tensor):
            made.append(value)
        elif np.ndim(value) == 0:
            made.append(Tensor(backend.current().xp.asarray(value, dtype=dtype)))
        elif getattr(value, "dtype", None) == dtype:
            made.append(Tensor(value))
        else:
            raise ArgumentError(
                f"expected a Tensor, a number or a {dtype} array, got {type(value).__name__} of dtype "
                f"{getattr(value, 'dtype', None)}; convert it with minseg.tensor"
            )
    return made
