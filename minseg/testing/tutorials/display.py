"""What notebooks show of the documents: a formula as it is printed there, and a mistake with its proof, computed on the spot."""

import re

from minseg.equations.documents import DOCUMENTS
from minseg.equations.errata import ERRATA, Erratum
from minseg.equations.registry import Source
from minseg.equations.show import EQUATIONS_PAGE
from minseg.errors import ArgumentError, nearest_names
from minseg.testing.printed import printed_sources
from minseg.testing.witnesses import run


class Printed:
    """A formula as a document prints it."""

    def __init__(self, item: str, source: Source):
        self.item, self.source = item, source

    @property
    def place(self) -> str:
        return f"{self.source.document}, section {self.source.section}"

    def __repr__(self) -> str:
        return f"{self.place}: {self.source.printed}"

    def _repr_markdown_(self) -> str:
        return f"As printed in {self.place} ({DOCUMENTS[self.source.document]}):\n\n$$\n{self.source.printed}\n$$"


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
        head = f"> **[{e.id}]({EQUATIONS_PAGE}#{e.id})** ({', '.join(e.places)}): {_text(e.title)}."
        return "\n".join([head, ">", *(f"> * *{name}:* {_text(fact)}" for name, fact in facts if fact)])


def _text(plain: str) -> str:
    """Text that Markdown shows as it is, apart from formulas between dollar signs."""
    parts = plain.split("$")
    return "$".join(part if i % 2 else re.sub(r"([\\*_<>|\[\]])", r"\\\1", part) for i, part in enumerate(parts))


def printed(item: str) -> Printed:
    """A formula of the documents as it stands there, by its number in the registry: ``printed("EQ-D3-3")``.

    >>> printed("EQ-D4-3")
    D4, section 3.3: y = max(x_{i,j})
    """
    known = printed_sources()
    if item not in known:
        raise ArgumentError(f"unknown formula {item!r}; {nearest_names(item, known)}")
    return Printed(item, known[item][0])


def erratum(id: str) -> ShownErratum:
    """A mistake of the documents with its proof, which is computed now: ``erratum("ERR-10")``."""
    if id not in ERRATA:
        raise ArgumentError(f"unknown erratum {id!r}; {nearest_names(id, ERRATA)}")
    return ShownErratum(ERRATA[id])
