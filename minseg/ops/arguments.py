"""Arguments as users write them, turned into what kernels take: ``3`` and ``(3, 3)`` mean the same."""

import numbers

from minseg.autograd import Tensor
from minseg.errors import ArgumentError, DtypeError


def integer(value, name: str) -> int:
    """One integer; True and False are not meant."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise ArgumentError(f"{name} must be an integer, got {value!r}")
    return int(value)


def pair(value, name: str) -> tuple[int, int]:
    """Two integers, for rows and columns."""
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int:
        return value
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(isinstance(v, numbers.Integral) and not isinstance(v, bool) for v in values):
        raise ArgumentError(f"{name} must be an integer or a pair of integers, got {value!r}")
    return int(values[0]), int(values[1])


def expect_tensor(value, what: str) -> Tensor:
    """The value, if it is a Tensor."""
    if not isinstance(value, Tensor):
        raise DtypeError(f"{what} must be a Tensor, got {type(value).__name__}; make one with minseg.tensor(...)")
    return value


def optional_tensor(value, what: str) -> Tensor | None:
    """The value, if it is a Tensor or None."""
    return None if value is None else expect_tensor(value, what)


def choice(value, known: tuple[str, ...], name: str) -> str:
    """The value, if it is one of the known words."""
    if value not in known:
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    return value
