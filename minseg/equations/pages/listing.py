"""Code with line numbers and colours, to the letter: a test compares the text of each block with the file that it cites."""

import re
from functools import lru_cache
from html import escape

from minseg.equations.code import Code
from minseg.equations.pages.mathml import missing

FOLDED = 5
"""Docstrings of more lines than this are folded: the page says in its own way what they say."""
OPEN_LINES = 60
"""This much of what the first definition uses stands open, about a screen; the rest is folded."""


def listing(code: Code, id: str) -> str:
    """A block of code with its place; lines marked ``eq: id`` stand out."""
    lines = _coloured(code)
    hits = [number for number, line in enumerate(code.text.splitlines(), code.first) if _marks(line, id)]
    blocks = "".join(_block(code, first, last, lines, hits, folded) for first, last, folded in _parts(code))
    return f"""<figure class="code">
<figcaption><b>{escape(code.short_name)}</b> <span class="where">{escape(code.file)}</span>
<span class="numbers">{_span(code.first, code.last)}</span></figcaption>
{blocks}</figure>"""


def group(codes: list[Code], id: str) -> str:
    """The first of these; then what it uses, lines marked with the equation and loops before anything else, until it gets long."""
    first, *rest = codes
    rest = sorted(rest, key=lambda code: (not _has_mark(code, id), not _LOOP.search(code.text)))
    shown, folded, length = [first], [], 0
    for code in rest:
        length += sum(stop - start + 1 for start, stop, away in _parts(code) if not away)
        (shown if length <= OPEN_LINES or _has_mark(code, id) else folded).append(code)
    html = "".join(listing(code, id) for code in shown)
    if folded:
        names = [f"<code>{escape(code.short_name)}</code>" for code in folded[:4]]
        others = [f"{len(folded) - 4} more"] if len(folded) > 4 else []
        inner = "".join(listing(code, id) for code in folded)
        html += (
            f'<details class="more"><summary>Also: {", ".join(names + others)} ({sum(map(len, folded))} lines)</summary>'
            f"{inner}</details>"
        )
    return html


_LOOP = re.compile(r"^\s+for ", re.MULTILINE)


def _has_mark(code: Code, id: str) -> bool:
    return any(_marks(line, id) for line in code.text.splitlines())


def _parts(code: Code) -> list[tuple[int, int, bool]]:
    """(first line, last line, folded): a long docstring is a part of its own."""
    first, last = code.docstring or (0, -1)
    if last - first < FOLDED or (first, last) == (code.first, code.last):
        return [(code.first, code.last, False)]
    parts = [(code.first, first - 1, False), (first, last, True), (last + 1, code.last, False)]
    return [(start, stop, folded) for start, stop, folded in parts if start <= stop]


def _block(code: Code, first: int, last: int, lines: list[str], hits: list[int], folded: bool) -> str:
    rows = "".join(
        f'<span class="line{" hit" if number in hits else ""}" data-n="{number}">{lines[number - code.first]}</span>\n'
        for number in range(first, last + 1)
    )
    pre = (
        f'<pre tabindex="0" data-file="{escape(code.file)}" data-first="{first}" data-last="{last}">'
        f"<code>{rows}</code></pre>"
    )
    return f"<details><summary>docstring, {_span(first, last)}</summary>{pre}</details>" if folded else pre


def _marks(line: str, id: str) -> bool:
    return bool(re.search(rf"(?:\beq: (?:[\w.]+, )*|\bequation = \"){re.escape(id)}(?![\w])", line))


def _span(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first}–{last}"


@lru_cache(maxsize=2048)
def _coloured(code: Code) -> list[str]:
    """Each line as HTML. The kernels of one family stand on many pages, so what was coloured is kept."""
    try:
        from pygments import lex
        from pygments.lexers import CudaLexer, PythonLexer
    except ImportError:
        raise missing() from None
    lexer = CudaLexer if code.file.endswith((".cu", ".cuh")) else PythonLexer
    lines, current = [], []
    for kind, value in lex(code.text, lexer(stripnl=False, ensurenl=False)):
        for position, piece in enumerate(value.split("\n")):
            if position:
                lines.append("".join(current))
                current = []
            if piece:
                colour = _colour(str(kind))
                current.append(f'<i class="{colour}">{escape(piece)}</i>' if colour else escape(piece))
    return [*lines, "".join(current)]


def _colour(kind: str) -> str:
    """The class of a token; most have none."""
    for start, colour in (
        ("Token.Keyword", "k"),
        ("Token.Operator.Word", "k"),
        ("Token.Comment", "c"),
        ("Token.Literal.String.Doc", "c"),
        ("Token.Literal.String", "s"),
        ("Token.Literal.Number", "m"),
        ("Token.Name.Function", "f"),
        ("Token.Name.Class", "f"),
        ("Token.Name.Decorator", "d"),
    ):
        if kind.startswith(start):
            return colour
    return ""
