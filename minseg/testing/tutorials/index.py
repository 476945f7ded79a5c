"""``tutorials/index.toml``: what each notebook builds and covers; and whether that is true, and everything is covered somewhere.

A notebook that is not written yet covers what it claims; as soon as its source exists, only what its code shows, builds or names.
"""

import ast
import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from minseg import models
from minseg.equations import REGISTRY
from minseg.equations.errata import ERRATA
from minseg.errors import FileError
from minseg.models import printed
from minseg.nn import Module
from minseg.testing.tutorials.notebook import FOLDER, code, read_source

PRINTED_NETWORKS = tuple(
    f"printed.{name}"
    for name, value in vars(printed).items()
    if isinstance(value, type) and issubclass(value, Module) and value.__module__ == printed.__name__
)
"""The networks of the documents, as they are printed."""


@dataclass(frozen=True)
class Entry:
    """One notebook of the index."""

    number: str
    name: str
    title: str
    builds: str
    """What the reader builds."""
    picture: str
    """The picture at the end, in a sentence."""
    minutes: float
    """How long a full build takes at most on two cores."""
    needs: tuple[str, ...]
    """Numbers of the notebooks to read first."""
    equations: tuple[str, ...]
    """Ids, and patterns such as ``arith.*``."""
    networks: tuple[str, ...]
    errata: tuple[str, ...]

    @property
    def source(self) -> Path:
        return FOLDER / f"{self.number}_{self.name}.py"

    @property
    def written(self) -> bool:
        return self.source.exists()

    def claimed_equations(self) -> set[str]:
        """Every id that the entry's ids and patterns mean; FileError for one that means nothing."""
        found: set[str] = set()
        for pattern in self.equations:
            matching = {id for id in REGISTRY if fnmatchcase(id, pattern)}
            if not matching:
                raise FileError(f"index.toml, {self.number}: no equation is called {pattern}")
            found |= matching
        return found

    def row(self) -> str:
        """Its row in README.md."""
        first = ", ".join(self.needs) or "-"
        return f"| {self.number} | [{self.title}]({self.number}_{self.name}.ipynb) | {self.builds} | {self.minutes:g} | {first} |"


@dataclass(frozen=True)
class Covered:
    """Equations shown, networks built and errata named, by notebooks or by claims of those that are not written yet."""

    equations: frozenset[str]
    networks: frozenset[str]
    errata: frozenset[str]


def entries() -> list[Entry]:
    """The index, in order; FileError where it does not have the form."""
    read = tomllib.loads((FOLDER / "index.toml").read_text(encoding="utf-8"))
    try:
        return [
            Entry(**{k: tuple(v) if isinstance(v, list) else v for k, v in one.items()}) for one in read["notebook"]
        ]
    except TypeError as error:
        raise FileError(f"index.toml: {error}") from None


def find(number: str) -> Entry:
    """The notebook of this number, ``2`` or ``02``."""
    known = {entry.number: entry for entry in entries()}
    if number.zfill(2) not in known:
        raise FileError(f"there is no notebook {number}; there are {', '.join(known)}")
    return known[number.zfill(2)]


def covered(entry: Entry) -> Covered:
    """What a notebook's source shows, builds and names; or what the entry claims while there is none."""
    if not entry.written:
        return Covered(frozenset(entry.claimed_equations()), frozenset(entry.networks), frozenset(entry.errata))
    tree = ast.parse(code(entry.source))
    text = "\n".join(cell.text for cell in read_source(entry.source))
    return Covered(
        frozenset(shown_equations(tree)), frozenset(built_networks(tree)), frozenset(re.findall(r"\bERR-\d\d\b", text))
    )


def false_claims(entry: Entry) -> list[str]:
    """What a written notebook claims and does not do."""
    real = covered(entry)
    return [
        *(f'{id} is not shown: show("{id}")' for id in sorted(entry.claimed_equations() - real.equations)),
        *(f"{name} is not built" for name in sorted(set(entry.networks) - real.networks)),
        *(f"{id} is not named" for id in sorted(set(entry.errata) - real.errata)),
    ]


def uncovered() -> list[str]:
    """Equations, networks and errata that are in no notebook."""
    found = [covered(entry) for entry in entries()]
    wanted_errata = {id for id, erratum in ERRATA.items() if not erratum.documentation_only}
    return [
        *sorted(set(REGISTRY) - set().union(*(one.equations for one in found))),
        *sorted({*models.NAMES, *PRINTED_NETWORKS} - set().union(*(one.networks for one in found))),
        *sorted(wanted_errata - set().union(*(one.errata for one in found))),
    ]


def shown_equations(tree: ast.AST) -> set[str]:
    """The ids in calls of ``show``, written out."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) == "show"]
    return {a.value for call in calls for a in call.args if isinstance(a, ast.Constant)}


def built_networks(tree: ast.AST) -> set[str]:
    """Names of models.NAMES that stand in code which calls ``build``; and ``printed.ConvNet``, called so."""
    called = {_dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    by_name = set(models.NAMES) & texts if any(name.split(".")[-1] == "build" for name in called) else set()
    return by_name | (set(PRINTED_NETWORKS) & called)


def _called(call: ast.Call) -> str:
    return _dotted(call.func).split(".")[-1]


def _dotted(node: ast.AST) -> str:
    """``models.build`` for that expression; empty for what is no name."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
