"""Arguments as users write them, turned into what kernels take: ``3`` and ``(3, 3)`` mean the same."""

import numbers

from minseg.autograd import Tensor
from minseg.errors import ArgumentError, DtypeError


def pair(value, name: str) -> tuple[int, int]:
    """Two integers, for rows and columns."""
    values = (value, value) if isinstance(value, numbers.Integral) else tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(values) != 2 or not all(isinstance(v, numbers.Integral) and not isinstance(v, bool) for v in values):
        raise ArgumentError(f"{name} must be an integer or a pair of integers, got {value!r}")
    return int(values[0]), int(values[1])


def expect_tensor(value, what: str) -> Tensor:
    """The value, if it is a Tensor."""
    if not isinstance(value, Tensor):
        raise DtypeError(f"{what} must be a Tensor, got {type(value).__name__}; make one with minseg.tensor(...)")
    return value
