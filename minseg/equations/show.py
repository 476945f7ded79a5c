"""One equation for a reader: ``show("conv.corr2d")`` prints it in a terminal and typesets it in a notebook.

Everything comes from the registry and from the source: a formula is never typed twice.
"""

from collections.abc import Iterable

from minseg.equations import get
from minseg.equations.code import Code, Library
from minseg.equations.errata import ERRATA
from minseg.equations.registry import Equation, Source, Symbol

RELATIONS = {
    "equal": "the same",
    "reindexed": "counts from 1",
    "shifted": "displaced",
    "rotated": "the kernel turned by 180 degrees",
    "scaled": "wrong by a factor",
    "restricted": "only for some indices",
    "Toeplitz": "a matrix instead of a kernel",
    "needs a definition": "not to be evaluated as it stands",
    "mean already taken": "of terms that are means already",
    "words": "in words, without a formula",
    "code": "only the code implies it",
    "paper": "not in the documents",
}
"""What the relation of a source to the standard form means, for those who have not read its declaration."""

EQUATIONS_PAGE = "../minseg/equations/EQUATIONS.md"
"""Where the page of all equations stands, as seen from a notebook in tutorials/."""

OUTSIDE = {"zero": "0 outside", "-inf": "minus infinity outside", "error": ""}


class Shown:
    """An equation as text, Markdown and plain data."""

    def __init__(self, equation: Equation, library: Library | None = None):
        self.equation = equation
        self.library = library or Library()

    def __repr__(self) -> str:
        """All of it, as plain text: what a terminal shows."""
        e = self.equation
        parts = [f"{e.id}: {e.title}" + ("" if e.status == "implemented" else f" ({e.status})"), f"  {e.latex}"]
        parts += [_section("", [(note,) for note in [e.note] if note])]
        parts += [_section("symbols", [_symbol_row(symbol) for symbol in e.symbols])]
        parts += [_section("sources", [row for source in e.sources for row in _source_rows(source)])]
        parts += [_section("errata", [(id, ERRATA[id].title) for id in e.errata])]
        parts += [_section("code", [(label, code.place, code.short_name) for label, code in self.code()])]
        parts += [_section("tests", [(file, name) for file, name in self.tests()])]
        parts += [_section("notebooks", [(m.file,) for m in self.library.notebooks(e.id)])]
        parts += [_section("gradients", list(e.gradients.items()))]
        return "\n\n".join(part for part in parts if part)

    def _repr_markdown_(self) -> str:
        """What a notebook shows: the formula typeset, its symbols, and where to read on."""
        e = self.equation
        symbols = "; ".join(f"${s.latex}$ {_symbol_text(s)}" for s in e.symbols)
        computed = ", ".join(f"`{name}`" for name in operation_names(e))
        return "\n".join(
            [
                f"**{_link(e)}**: {e.title}" + (f" ({computed})" if computed else ""),
                "",
                f"$$\n{e.latex}\n$$",
                "",
                *([f"with {symbols}.", ""] if symbols else []),
                *([e.note, ""] if e.note else []),
            ]
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        """For a notebook: no line numbers of code, which would make a committed notebook stale whenever code moves."""
        return {"text/plain": f"{self.equation.id}: {self.equation.latex}", "text/markdown": self._repr_markdown_()}

    def code(self) -> list[tuple[str, Code]]:
        """(what it is, where) for the literal loops, the kernel of each backend and the operations, without what they call."""
        library, e = self.library, self.equation
        found = [("literal", library.literal(e))]
        for backend, codes in library.kernels(e).items():
            names = set(e.primitives)
            found += [(backend, code) for code in codes if backend == "CUDA" or _is_entry(code, names, library)]
        found += [("operation", library.find(dotted)) for dotted in e.operations]
        found += [("marked", code) for code in library.marked(e.id) if all(code != other for _, other in found)]
        return [(label, code) for label, code in found if code is not None]

    def tests(self) -> list[tuple[str, str]]:
        """(file, test) for the tests that name it, and those of its code with how many there are."""
        named = [(m.file, m.name) for m in self.library.mentions(self.equation.id)]
        of_code = self.library.tests_of_code(self.equation)
        counted = [(file, f"{len(tests)} of its code") for file, tests in of_code.items()]
        return [*named, *counted]

    def to_dict(self) -> dict:
        """What a program would read."""
        e = self.equation
        return {
            "id": e.id,
            "title": e.title,
            "status": e.status,
            "latex": e.latex,
            "note": e.note,
            "symbols": [vars(symbol) for symbol in e.symbols],
            "sources": [vars(source) for source in e.sources],
            "errata": [{"id": id, "title": ERRATA[id].title} for id in e.errata],
            "operations": e.operations,
            "primitives": e.primitives,
            "gradients": e.gradients,
            "code": [
                {"kind": label, "name": code.name, "file": code.file, "first": code.first, "last": code.last}
                for label, code in self.code()
            ],
            "tests": [vars(mention) for mention in self.library.mentions(e.id)],
            "tests_of_code": self.library.tests_of_code(e),
            "notebooks": [vars(mention) for mention in self.library.notebooks(e.id)],
        }


class ShownTable:
    """Several equations in short: a row each, with the formula and what computes it."""

    def __init__(self, equations: list[Equation]):
        self.equations = equations

    def __repr__(self) -> str:
        return columns([(e.id, e.latex) for e in self.equations])

    def _repr_markdown_(self) -> str:
        rows = [f"| {_link(e)}<br>{e.title} | ${_in_a_cell(e.latex)}$ |" for e in self.equations]
        return "\n".join(["| equation | formula |", "| :--- | :--- |", *rows])


def show(id: str, *more: str) -> Shown | ShownTable:
    """The equation of this id, for a terminal or a notebook; with several ids a table of them.

    EquationError with the nearest id if there is none of that name.

    >>> print(repr(show("conv.size")).splitlines()[2])
      H_{o} = \\lfloor \\frac{H+2P-d(R-1)-1}{s} \\rfloor + 1
    """
    return ShownTable([get(one) for one in (id, *more)]) if more else Shown(get(id))


def table(equations: Iterable[Equation]) -> str:
    """Id, title, status and operations of each, in columns."""
    rows = [(e.id, e.title, e.status.split(":")[0], ", ".join(operation_names(e))) for e in equations]
    return columns([("id", "title", "status", "operations"), *rows])


def operation_names(equation: Equation) -> list[str]:
    """Its operations without the package: ``ops.conv2d``."""
    return [dotted.removeprefix("minseg.") for dotted in equation.operations]


def columns(rows: list[tuple[str, ...]], indent: str = "") -> str:
    """Rows of text in aligned columns, two spaces apart."""
    count = max(map(len, rows))
    padded = [(*row, *[""] * (count - len(row))) for row in rows]
    widths = [max(len(row[column]) for row in padded) for column in range(count)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in padded)
    return "\n".join(indent + line for line in lines)


def _link(equation: Equation) -> str:
    return f"[{equation.id}]({EQUATIONS_PAGE}#{equation.id})"


def _in_a_cell(latex: str) -> str:
    """Bars would end the cell of a Markdown table; and formulas in text would set their sums small."""
    return r"\displaystyle " + latex.replace("|", r"\vert ")


def _is_entry(code: Code, primitives: set[str], library: Library) -> bool:
    """Whether it is a primitive's kernel itself, in the file of its family, rather than what that calls."""
    return any(code.short_name == name and code.file.endswith(f"/{library.family(name)}.py") for name in primitives)


def _section(title: str, rows: list[tuple[str, ...]]) -> str:
    return f"{title}\n{columns(rows, '  ')}".lstrip("\n") if rows else ""


def _meaning(symbol: Symbol) -> str:
    return ", ".join(part for part in (symbol.meaning, symbol.domain, OUTSIDE[symbol.outside]) if part)


def _symbol_text(symbol: Symbol) -> str:
    """``images (N, C, H, W), 0 outside``"""
    named = " ".join(part for part in (symbol.meaning, symbol.shape) if part)
    return ", ".join(part for part in (named, symbol.unit, symbol.domain, OUTSIDE[symbol.outside]) if part)


def _symbol_row(symbol: Symbol) -> tuple[str, ...]:
    return symbol.latex, _meaning(symbol), symbol.shape, symbol.unit


def place(source: Source) -> str:
    """``D3 3.3.1 (EQ-D3-1)``; ``literature`` for what is in none of the documents."""
    if not source.document:
        return "literature"
    return f"{source.document} {source.section}" + (f" ({source.item})" if source.item else "")


def _source_rows(source: Source) -> list[tuple[str, ...]]:
    how = "" if source.relation == ("paper",) else "; ".join(RELATIONS.get(r, r) for r in source.relation)
    wrong = f" [{', '.join(source.errata)}]" if source.errata else ""
    rows = [(place(source), ": ".join(part for part in (how, source.note) if part) + wrong)]
    return [*rows, ("", source.printed)] if source.printed else rows
