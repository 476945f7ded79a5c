"""Seeing what passes through one layer of a network, without hooks that stay behind: the layer is changed in a with block only."""

import contextlib
from collections.abc import Callable, Iterator

from minseg.autograd import Tensor
from minseg.errors import ArgumentError, nearest_names
from minseg.nn import Module, evaluation_mode, instead


def find_layer(model: Module, name: str) -> Module:
    """The module of this dotted name, ``encoder.2`` say; '' is the model itself."""
    modules = dict(model.named_modules())
    if name not in modules:
        raise ArgumentError(
            f"{type(model).__name__} has no layer {name!r}; {nearest_names(name, [m for m in modules if m])}"
        )
    return modules[name]


@contextlib.contextmanager
def record(model: Module, *names: str, cut: bool = False) -> Iterator[dict[str, list]]:
    """Inside this block keep what the named layers give out: ``{name: [output of each call]}``.

    Parameters
    ----------
    model : Module
    *names : str
        Dotted names, as ``model.named_modules()`` has them.
    cut : bool
        Hand on a new leaf with the output's values. The graph then begins at the layer, and ``backward`` leaves in its ``grad`` the
        gradient for the layer's output.

    Raises
    ------
    ArgumentError
        If there is no layer of a name; the message has the nearest one.

    >>> import minseg, numpy as np
    >>> from minseg import models
    >>> model = models.UNet(1, 2, widths=(2, 3))
    >>> with record(model, "encoder.1") as seen:
    ...     _ = model(minseg.tensor(np.zeros((1, 1, 8, 6), np.float32)))
    >>> seen["encoder.1"][0].shape
    (1, 3, 4, 3)
    """
    seen: dict[str, list] = {name: [] for name in names}
    layers = {name: find_layer(model, name) for name in names}
    with contextlib.ExitStack() as blocks:
        for name, layer in layers.items():
            blocks.enter_context(instead(layer, telling(layer.forward, seen[name].append, cut)))
        yield seen


def telling(forward: Callable, tell: Callable, cut: bool = False) -> Callable:
    """The same forward, which tells its output; with ``cut`` it hands on a leaf of the same values."""

    def told(*inputs, **options):
        output = forward(*inputs, **options)
        output = Tensor(output.data, requires_grad=True) if cut else output
        tell(output)
        return output

    return told


@contextlib.contextmanager
def untouched(model: Module) -> Iterator[None]:
    """Inside this block the model is in evaluation mode and its parameters are constants, so ``backward`` leaves them alone.

    Modes are restored afterwards, and gradients that a training step has left are still there.
    """
    learned = [p for p in model.parameters() if p.requires_grad]
    with evaluation_mode(model):
        for p in learned:
            p.requires_grad = False
        try:
            yield
        finally:
            for p in learned:
                p.requires_grad = True
