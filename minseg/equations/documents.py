"""The five documents that minseg answers, section by section: which equations and which errata each leads to."""

import re
from dataclasses import dataclass, field

from minseg.equations import REGISTRY
from minseg.equations.errata import ERRATA, RIGHT, Erratum, Right
from minseg.equations.registry import Equation, Source

DOCUMENTS = {
    "D1": "Convolutional networks for image segmentation: uses and challenges",
    "D2": "Deep learning for image segmentation: concepts and algorithms",
    "D3": "Deep learning and semantic segmentation in theory and practice",
    "D4": "Residual networks in image segmentation",
    "D5": "Neural networks and the brain: image segmentation in Python",
}
"""What each is about."""


@dataclass
class Section:
    """What one section of one document leads to."""

    document: str
    name: str
    """``3.3.2.1``, or ``question 3``, ``code``, ``references``."""
    equations: list[tuple[Source, Equation]] = field(default_factory=list)
    errata: list[Erratum] = field(default_factory=list)
    right: list[Right] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        return anchor(self.document, self.name)

    @property
    def depth(self) -> int:
        return self.name.count(".")


def anchor(document: str, section: str) -> str:
    """``D3-3.3.2`` names the section in links."""
    return f"{document}-{section}".replace(" ", "-")


def sections() -> dict[str, list[Section]]:
    """Document -> its sections in order; a part such as 3.3.2.1 comes after the whole, 3.3.2, which is there even if empty."""
    found: dict[tuple[str, str], Section] = {}

    def at(document: str, name: str) -> Section:
        numbers = name.split(".") if name[0].isdigit() else [name]
        for count in range(1, len(numbers) + 1):
            whole = ".".join(numbers[:count])
            found.setdefault((document, whole), Section(document, whole))
        return found[document, name]

    for equation in REGISTRY.values():
        for source in equation.sources:
            for document in source.documents:
                for name in source.sections:
                    at(document, name).equations.append((source, equation))
    for erratum in ERRATA.values():
        for document, name in map(split_place, erratum.places):
            at(document, name).errata.append(erratum)
    for right in RIGHT:
        for document, name in map(split_place, right.places):
            at(document, name).right.append(right)
    ordered = sorted(found.values(), key=lambda section: (section.document, _order(section.name)))
    return {document: [s for s in ordered if s.document == document] for document in DOCUMENTS}


def split_place(place: str) -> tuple[str, str]:
    """``D3 3.3.1`` as document and section."""
    document, _, section = place.partition(" ")
    return document, section


def _order(section: str) -> tuple:
    """Numbered sections first, by their numbers; then the others by name and number."""
    if section[0].isdigit():
        return 0, tuple(int(number) for number in section.split("."))
    word, number = re.fullmatch(r"(\D+?)\s*(\d*)", section).groups()
    return 1, word, int(number or 0)
