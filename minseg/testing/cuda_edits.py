"""Every small way to spoil a CUDA kernel: the definitions of a .cu file, which kernels meet them, and one edit after the other.

An edit exchanges an index or a stride for its neighbour, moves a limit by one, opens a guard, leaves a barrier out, makes an atomic
addition plain, turns a sign, or takes another number. ``cuda_mutants.py`` beside finds out whether anybody notices.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minseg.kernels.cuda.device import FOLDER

# ------------------------------------------------------------------------------------------------------ reading a .cu file


@dataclass(frozen=True)
class Definition:
    """A function, a struct or a macro: where it stands in its file, and where its body does."""

    file: str
    name: str
    start: int
    end: int
    body: int
    text: str

    @property
    def is_kernel(self) -> bool:
        return bool(_INSTANCE.fullmatch(self.text)) or ("__global__" in self.text and not self.text.startswith("#"))

    @property
    def words(self) -> set[str]:
        """All identifiers in it: what it may call is among them."""
        return set(re.findall(r"[A-Za-z_]\w*", self.text))


_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_DIRECTIVE = re.compile(r"#(?:[^\n]*\\\n)*[^\n]*")
_INSTANCE = re.compile(r"([A-Z][A-Z0-9_]*)\((\d+)\)")
"""``CONV2D_TILED(16)`` defines the kernel conv2d_tiled_16."""
_STRUCT = re.compile(r"\s*(?:template\s*<[^>]*>\s*)?struct\s+(?:alignas\([^)]*\)\s*)?(\w+)")
_FUNCTION = re.compile(r"\b(?!__launch_bounds__)(\w+)\s*\(")


@cache
def source(file: str) -> str:
    """The file's text, with a blank for every character of a comment."""
    text = (FOLDER / file).read_text(encoding="utf-8")
    return _COMMENT.sub(lambda comment: re.sub(r"[^\n]", " ", comment[0]), text)


def files() -> list[str]:
    """The names of all .cu and .cuh files."""
    return sorted(path.name for path in (*FOLDER.glob("*.cu"), *FOLDER.glob("*.cuh")))


@cache
def definitions(file: str) -> tuple[Definition, ...]:
    """What the file defines, one after the other."""
    text, at, found = source(file), 0, []
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        directive, instance = _DIRECTIVE.match(text, at), _INSTANCE.match(text, at)
        end = directive.end() if directive else instance.end() if instance else _end_of_declaration(text, at)
        stretch = text[at:end]
        struct, function, macro = _STRUCT.match(stretch), _FUNCTION.search(stretch), re.match(r"#define (\w+)", stretch)
        if macro:
            name = macro[1]
        elif instance:
            name = f"{instance[1].lower()}_{instance[2]}"
        else:
            name = struct[1] if struct else function[1] if function else ""
        body = text.find("{", at, end) if "{" in stretch and not directive else end
        found.append(Definition(file, name, at, end, body, stretch))
        at = end
    return tuple(found)


def _end_of_declaration(text: str, at: int) -> int:
    """Behind the ``;`` or the ``}`` that ends what begins here."""
    depth = 0
    while at < len(text):
        depth += {"{": 1, "(": 1, "}": -1, ")": -1}.get(text[at], 0)
        if depth == 0 and text[at] == ";":
            return at + 1
        if depth == 0 and text[at] == "}" and text[at + 1 : at + 2] != ";":
            return at + 1
        at += 1
    return at


@cache
def included(file: str) -> tuple[str, ...]:
    """This file and all that it includes, what is included first."""
    names = re.findall(r'#include "([^"]+)"', source(file))
    return tuple(dict.fromkeys([*(name for inner in names for name in included(inner)), file]))


@cache
def kernels_that_meet(file: str, name: str) -> tuple[tuple[str, str], ...]:
    """(file without suffix, kernel) of all kernels that may get to this definition, by the words in what they call."""
    found = []
    for host in (host for host in files() if host.endswith(".cu") and file in included(host)):
        every = [definition for inner in included(host) for definition in definitions(inner)]
        called: dict[str, set[str]] = {}
        for definition in every:
            called.setdefault(definition.name, set()).update(definition.words)
        for kernel in (definition for definition in every if definition.is_kernel):
            met, open_ = {kernel.name}, [kernel.name]
            while open_:
                new = (called[open_.pop()] & called.keys()) - met
                met |= new
                open_ += new
            if name in met:
                found.append((Path(host).stem, kernel.name))
    return tuple(found)


# ----------------------------------------------------------------------------------------------------------------- edits


@dataclass(frozen=True)
class Mutant:
    """A file with one edit: ``new`` instead of the characters from ``start`` to ``end``."""

    file: str
    name: str
    """The function or struct that the edit is in."""
    kind: str
    start: int
    end: int
    new: str

    @property
    def line(self) -> str:
        """The line with the edit in it, as EQUIVALENT lists it."""
        text = source(self.file)
        first, last = text.rfind("\n", 0, self.start) + 1, text.find("\n", self.end)
        return " ".join((text[first : self.start] + self.new + text[self.end : last]).split())

    def __str__(self) -> str:
        number = source(self.file).count("\n", 0, self.start) + 1
        return f"{self.file}:{number}: {self.kind} in {self.name}: {self.line}"

    @property
    def key(self) -> tuple[str, str, str]:
        return self.file, self.name, self.line

    @property
    def text(self) -> str:
        """The whole file with the edit made."""
        text = source(self.file)
        return text[: self.start] + self.new + text[self.end :]

    def text_for(self, host: str, kernel: str) -> str:
        """All that this kernel of ``host.cu`` needs, in one text: headers put in, other kernels left out, and the edit made."""
        pieces = []
        for file in included(f"{host}.cu"):
            text = source(file)
            for d in reversed(definitions(file)):
                gone = (d.is_kernel and d.name != kernel) or d.text.startswith(("#include", "#pragma once"))
                if file == self.file and d.start <= self.start < d.end:
                    text = text[: self.start] + self.new + text[self.end :]
                elif gone:
                    text = text[: d.start] + text[d.end :]
            pieces.append(text)
        return "\n".join(pieces)


COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&"}
SIGNS = {"+": "-", "-": "+", "+=": "-=", "-=": "+=", "*": "+", "/": "*", "%": "/"}
NEIGHBOURS = (
    *(
        "i j",
        "p q",
        "u v",
        "H W",
        "I J",
        "R S",
        "N C",
        "C O",
        "n c",
        "x y",
        "sh sw",
        "ph pw",
        "rows columns",
        "row column",
    ),
    *(
        "stride_i stride_j",
        "padding_i padding_j",
        "dilation_i dilation_j",
        "down across",
        "first last",
        "blockIdx threadIdx",
    ),
    *("blockDim gridDim", "k0 k1", "low high", "mean var", "lane warps", "outer inner", "a b", "row_step column_step"),
)
OTHERS: dict[str, list[str]] = {}
"""What an identifier is easily mistaken for."""
for _pair in NEIGHBOURS:
    for _one, _other in (_pair.split(), _pair.split()[::-1]):
        OTHERS.setdefault(_one, []).append(_other)

_TOKEN = re.compile(
    r"(?P<word>[A-Za-z_]\w*)|(?P<number>\d[\w.]*)|(?P<sign>\+\+|--|\+=|-=|\*=|/=|<=|>=|==|!=|&&|\|\||<<|>>|->|::|\S)"
)
_TYPES = {"real", "int", "index", "double", "float", "const", "unsigned", "T", "bool", "Pack", "auto"}


def mutants(file: str | None = None) -> list[Mutant]:
    """Every mutant, or those of one file."""
    found = []
    for name in files() if file is None else [file]:
        for definition in definitions(name):
            if definition.body < definition.end and kernels_that_meet(name, definition.name):
                found += _edits(definition)
    return list(dict.fromkeys(found))


def _edits(d: Definition) -> Iterator[Mutant]:
    text = source(d.file)

    def mutant(kind: str, start: int, end: int, new: str) -> Mutant:
        return Mutant(d.file, d.name, kind, start, end, new)

    tokens = [token for token in _TOKEN.finditer(text, d.body, d.end) if not _in_pragma(text, token.start())]
    for before, token in zip([None, *tokens], tokens):
        word, at, end = token[0], token.start(), token.end()
        previous = before[0] if before else ""
        declares = previous in _TYPES or previous in ("typename", "class", "struct")
        if token["word"] and not declares:
            for other in OTHERS.get(word, ()):
                if other in d.words or other in ("blockDim", "gridDim", "x", "y", "threadIdx", "blockIdx"):
                    yield mutant("exchanged", at, end, other)
            yield from _edits_of_calls(mutant, text, word, at)
        elif token["number"]:
            yield mutant("number", at, end, f"({word} + 1)")
            if word != "0":
                yield mutant("number", at, end, f"({word} - 1)")
        elif word in COMPARISONS:
            yield mutant("comparison", at, end, COMPARISONS[word])
        elif word in SIGNS and not declares:
            yield mutant("sign", at, end, SIGNS[word])
        elif word == "++":
            yield mutant("step", at, end, "--")
        elif word == "]" and previous != "[" and not _declares_array(text, at):
            yield mutant("index", at, at, " + 1")
            yield mutant("index", at, at, " - 1")


def _in_pragma(text: str, at: int) -> bool:
    """A pragma changes how fast a loop is, not what it computes."""
    return text[text.rfind("\n", 0, at) + 1 : at].lstrip().startswith("#pragma")


def _edits_of_calls(mutant: Callable, text: str, word: str, at: int) -> Iterator[Mutant]:
    """Those that concern a whole statement or call."""
    if word in ("__syncthreads", "__syncwarp"):
        yield mutant("barrier", at, text.index(";", at), "")
    elif word == "atomicAdd":
        opening = text.index("(", at)
        closing = _matching(text, opening)
        place, value = _split_at_comma(text[opening + 1 : closing])
        yield mutant("atomic", at, closing + 1, f"(*({place}) += ({value}))")
    elif word == "if":
        opening = text.index("(", at)
        closing = _matching(text, opening)
        leaves = re.match(r"\s*(?:return|continue)\b", text[closing + 1 :])
        yield mutant("guard", opening, closing + 1, "(false)" if leaves else "(true)")
    elif word == "step":
        yield mutant("stride", at, at + len(word), "step + 1")
    elif word == "thread_count":
        yield mutant("stride", at, text.index(")", at) + 1, "blockDim.x")
        yield mutant("stride", at, text.index(")", at) + 1, "(thread_count() + 1)")


def _matching(text: str, opening: int) -> int:
    """Where the parenthesis that opens here closes."""
    depth = 0
    for at in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return at
    raise ValueError("a parenthesis is not closed")


def _split_at_comma(arguments: str) -> tuple[str, str]:
    """Two arguments of a call, the first of which may hold commas in brackets."""
    depth = 0
    for at, character in enumerate(arguments):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            return arguments[:at], arguments[at + 1 :]
    raise ValueError(f"no two arguments: {arguments}")


def _declares_array(text: str, closing: int) -> bool:
    """Whether this bracket belongs to a declaration: a larger array harms nobody, and the emulator's tests plant smaller ones."""
    statement = text[max(text.rfind(c, 0, closing) for c in ";{}") + 1 : closing]
    return (
        re.match(
            rf"\s*(?:extern |static |const |__shared__ )*(?:{'|'.join(_TYPES)}|PackOf<T>)\s+\w+\s*\[[^=]*$", statement
        )
        is not None
    )
