"""What notebooks show of the documents: a formula as it is printed there, and a mistake with its proof, computed on the spot."""

import re

from minseg.equations.documents import DOCUMENTS, anchor
from minseg.equations.errata import ERRATA, Erratum
from minseg.equations.registry import Source
from minseg.equations.show import EQUATIONS_PAGE, columns, place
from minseg.errors import ArgumentError, nearest_names
from minseg.testing.printed import printed_sources
from minseg.testing.witnesses import run


class Printed:
    """Formulas as the documents print them."""

    def __init__(self, sources: list[Source]):
        self.sources = sources

    def __repr__(self) -> str:
        return "\n".join(f"{place(source)}: {source.printed}" for source in self.sources)

    def _repr_markdown_(self) -> str:
        return "\n\n".join(f"As printed in {_where(s)}:\n\n$$\n{s.printed}\n$$" for s in self.sources)


def _where(source: Source) -> str:
    page = f"{EQUATIONS_PAGE}#{anchor(source.document, source.section)}"
    return f"[{source.document}, section {source.section}]({page}) ({DOCUMENTS[source.document]})"


class ShownErratum:
    """A mistake in the documents: what is right, why, and what its witness computed."""

    def __init__(self, erratum: Erratum):
        self.erratum = erratum
        self.shown = run(erratum.id).shown if erratum.witness else erratum.documentation_only

    def __repr__(self) -> str:
        e = self.erratum
        return f"{e.id} ({', '.join(e.places)}): {e.title}\n  right: {e.correct}\n  why: {e.why}\n  proof: {self.shown}"

    def _repr_markdown_(self) -> str:
        e = self.erratum
        proof = ("Computed just now", self.shown) if e.witness else ("No computation proves it", self.shown)
        facts = [("Printed", e.printed), ("Right", e.correct), ("Why", e.why), proof, ("In fairness", e.note)]
        head = f"> **{_link(e)}** ({', '.join(e.places)}): {_text(e.title)}."
        return "\n".join([head, ">", *(f"> * *{name}:* {_text(fact)}" for name, fact in facts if fact)])


class ShownErrata:
    """Several mistakes in short: a row each, with what was computed."""

    def __init__(self, shown: list[ShownErratum]):
        self.shown = shown

    def __repr__(self) -> str:
        return columns([(one.erratum.id, one.erratum.title, one.shown) for one in self.shown])

    def _repr_markdown_(self) -> str:
        rows = [_row(one.erratum, one.shown) for one in self.shown]
        return "\n".join(["| erratum | mistake | computed just now |", "| :--- | :--- | :--- |", *rows])


def _row(e: Erratum, shown: str) -> str:
    return f"| {_link(e)}<br>{', '.join(e.places)} | {_text(e.title)} | {_text(shown)} |"


def _link(e: Erratum) -> str:
    return f"[{e.id}]({EQUATIONS_PAGE}#{e.id})"


def _text(plain: str) -> str:
    """Text that Markdown shows as it is, apart from formulas between dollar signs."""
    parts = plain.split("$")
    return "$".join(part if i % 2 else re.sub(r"([\\*_<>|\[\]])", r"\\\1", part) for i, part in enumerate(parts))


def printed(item: str, *more: str) -> Printed:
    """Formulas of the documents as they stand there, by their numbers in the registry: ``printed("EQ-D3-3")``.

    >>> printed("EQ-D4-3")
    D4 3.3 (EQ-D4-3): y = max(x_{i,j})
    """
    known = printed_sources()
    for one in (item, *more):
        if one not in known:
            raise ArgumentError(f"unknown formula {one!r}; {nearest_names(one, known)}")
    return Printed([known[one][0] for one in (item, *more)])


def erratum(id: str, *more: str) -> ShownErratum | ShownErrata:
    """A mistake of the documents with its proof, which is computed now: ``erratum("ERR-10")``; with several ids a table."""
    for one in (id, *more):
        if one not in ERRATA:
            raise ArgumentError(f"unknown erratum {one!r}; {nearest_names(one, ERRATA)}")
    shown = [ShownErratum(ERRATA[one]) for one in (id, *more)]
    return ShownErrata(shown) if more else shown[0]
