"""What an equation is here: its LaTeX, symbols, sources, and the names of the code that computes it. Pure data.

The id (``conv.corr2d``) is the key everywhere: in docstrings, kernels, tests and notebooks. The families stand in the files
beside this one; ``minseg.equations`` collects them. Code is named, never imported: this room lies below all others.
"""

import keyword
from collections.abc import Iterable
from dataclasses import dataclass, field

from minseg.equations.latex import Formula, parse
from minseg.errors import EquationError, nearest_names

OUTSIDE = {"error": None, "zero": 0.0, "-inf": float("-inf")}
"""What reading a symbol outside of its shape means, by the name used in Symbol.outside."""


@dataclass(frozen=True)
class Symbol:
    """One letter of an equation."""

    latex: str
    meaning: str
    shape: str = ""
    """``(N, C, H, W)`` for an array, empty for a number."""
    unit: str = ""
    """pixels, probability, nats, seconds ... or empty."""
    outside: str = "error"
    """``zero``, ``-inf`` or ``error``: what an index outside of the shape reads."""
    domain: str = ""
    """The values it may take, where not every number: ``>= 1``, ``in [0, 1]``."""

    @property
    def python(self) -> str:
        r"""The name of a Python variable for it: y_bar for ``\bar{y}``, alpha for ``\alpha``, lambda_ for ``\lambda``."""
        if "{" in self.latex:
            accent, letter = self.latex[1:-1].split("{")
            return f"{letter.strip(chr(92))}_{accent}"
        name = self.latex.strip("\\")
        return f"{name}_" if keyword.iskeyword(name) else name


@dataclass(frozen=True)
class Source:
    """Where an equation is printed or described, and how that form relates to the standard one.

    relation: ``equal``, ``reindexed`` (counts from 1), ``shifted``, ``rotated`` (by 180 degrees), ``scaled`` (wrong by a factor),
    ``restricted`` (valid only for some indices), ``Toeplitz`` (a matrix instead of a kernel), ``needs a definition`` (cannot be
    evaluated as printed), ``words`` (no formula, only a description), ``code`` (only the code implies it), ``paper`` (not in the
    documents). Several may apply.
    """

    document: str
    section: str
    relation: tuple[str, ...]
    printed: str | None = None
    """The formula as the document prints it, to the letter."""
    errata: tuple[str, ...] = ()
    note: str = ""
    item: str = ""
    """Its number in the catalogue of the documents: EQ-D1-1, W-04, C-07."""

    @property
    def documents(self) -> tuple[str, ...]:
        """Every document meant: ``D1-D5`` and ``D3, D5`` name several."""
        first, dash, last = self.document.partition("-")
        if dash:
            return tuple(f"D{number}" for number in range(int(first[1:]), int(last[1:]) + 1))
        return tuple(self.document.split(", ")) if self.document else ()

    @property
    def sections(self) -> tuple[str, ...]:
        """Every section meant: ``2.4, 3.1.1`` names two."""
        return tuple(self.section.split(", ")) if self.section else ()

    def covers(self, document: str | None = None, section: str | None = None) -> bool:
        """Whether this source stands in that document, in that section or a part of it; None means any."""
        inside = any(s == section or s.startswith(f"{section}.") for s in self.sections)
        return (document is None or document in self.documents) and (section is None or inside)


def paper(note: str) -> Source:
    """The source of an equation that is in none of the documents: a publication, or what it was derived from."""
    return Source("", "", ("paper",), note=note)


@dataclass(frozen=True)
class Equation:
    """One registered equation; see the class Symbol and Source for its parts."""

    id: str
    title: str
    latex: str
    symbols: tuple[Symbol, ...]
    sources: tuple[Source, ...] = ()
    errata: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    """Public code that computes it, as dotted names: ``minseg.ops.conv2d``."""
    primitives: tuple[str, ...] = ()
    """Kernels that compute it, by their names in kernels/spec.py."""
    gradients: dict[str, str] = field(default_factory=dict)
    """Symbol -> id of the equation of its gradient."""
    callables: tuple[str, ...] = ()
    """Symbols applied with parentheses: ``f`` in ``f(x)``."""
    words: tuple[str, ...] = ()
    note: str = ""
    status: str = "implemented"
    """``implemented``; ``planned``; or ``out of scope: reason``."""

    @property
    def family(self) -> str:
        return self.id.split(".")[0]

    def formula(self) -> Formula:
        """The LaTeX, parsed."""
        try:
            return parse(self.latex, self.callables, self.words)
        except EquationError as error:
            raise EquationError(f"{self.id}: {error}") from None

    def symbol(self, latex: str) -> Symbol:
        for symbol in self.symbols:
            if symbol.latex == latex:
                return symbol
        raise EquationError(f"{self.id}: {latex} is not among its symbols {[s.latex for s in self.symbols]}")


class Registry(dict[str, Equation]):
    """Equations by id; looking up an unknown id suggests the nearest one."""

    def __init__(self, equations: Iterable[Equation] = ()):
        super().__init__()
        for equation in equations:
            self.add(equation)

    def add(self, equation: Equation) -> Equation:
        if equation.id in self:
            raise EquationError(f"the equation {equation.id} is registered twice")
        self[equation.id] = equation
        return equation

    def __missing__(self, id: str) -> Equation:
        raise EquationError(f"unknown equation {id!r}; {nearest_names(id, self)}")
