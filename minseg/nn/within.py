"""Changes to a model that last for a ``with`` block and leave no trace."""

import contextlib
from collections.abc import Callable, Iterator

from minseg.nn.module import Module


@contextlib.contextmanager
def evaluation_mode(model: Module) -> Iterator[None]:
    """Inside this block the model is in evaluation mode; afterwards each module is in the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def instead(module: Module, forward: Callable) -> Iterator[None]:
    """Inside this block the module computes ``forward`` instead of its own."""
    before = vars(module).get("forward")  # not None inside another such block
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before
