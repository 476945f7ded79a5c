"""The proofs of the errata: each function computes, on concrete numbers, that the printed form is wrong and the correct one right.

``run("ERR-10")`` runs one, on the NumPy backend. The functions stand in files by the kind of erratum, named after its id.
"""

from dataclasses import dataclass
from importlib import import_module

from minseg.backend import use_backend
from minseg.equations.errata import ERRATA, RIGHT
from minseg.errors import ArgumentError, nearest_names


@dataclass(frozen=True)
class Witness:
    """What came of an erratum."""

    shown: str
    """One line with the numbers."""
    mistake: bool
    """Whether the printed form turned out wrong."""
    correct: bool
    """Whether the correct form passed."""

    def __post_init__(self) -> None:  # NumPy's booleans become Python's
        object.__setattr__(self, "mistake", bool(self.mistake))
        object.__setattr__(self, "correct", bool(self.correct))

    @property
    def proves(self) -> bool:
        return self.mistake and self.correct


@dataclass(frozen=True)
class Confirmation:
    """What came of something that the documents get right."""

    shown: str
    holds: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "holds", bool(self.holds))


NAMES = {named.id: named.witness for named in (*ERRATA.values(), *RIGHT) if named.witness is not None}
"""Dotted names of the functions by the id of the erratum, ``ERR-01``, or of what is right, ``OK-01``."""


def run(id: str) -> Witness | Confirmation:
    """Compute one witness.

    Raises
    ------
    ArgumentError
        If there is no such erratum, or none that a computation could prove; then the message says why.

    >>> run("ERR-10").shown
    'a map of 5: the printed mean is 5, 10, 15 for k = 1, 2, 3; avg_pool2d gives 5, 5, 5'
    """
    if id in ERRATA and id not in NAMES:
        raise ArgumentError(f"{id} has no witness: {ERRATA[id].documentation_only}")
    if id not in NAMES:
        raise ArgumentError(f"unknown erratum {id!r}; {nearest_names(id, NAMES)}")
    module, _, function = NAMES[id].rpartition(".")
    with use_backend("numpy"):
        return getattr(import_module(module), function)()
