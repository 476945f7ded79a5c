"""``@implements("conv.corr2d")`` names the equation that a function computes. Every room may use it, so it stands below all."""

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable)


def implements(equation: str) -> Callable[[F], F]:
    """Give the function its equation's id as ``__equation__``; the function itself is returned, unchanged and unwrapped.

    >>> @implements("act.relu")
    ... def relu(z):
    ...     return max(0, z)
    >>> relu.__equation__, relu(-2)
    ('act.relu', 0)
    """

    def mark(function: F) -> F:
        function.__equation__ = equation
        return function

    return mark
