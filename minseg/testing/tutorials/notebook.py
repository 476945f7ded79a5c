"""A notebook's source, ``NN_name.py`` in jupytext's percent format, read into cells; and the executed ``NN_name.ipynb`` as JSON."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from minseg.errors import FileError

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "tutorials"

_MARK = re.compile(r"# %%(?P<markdown> \[markdown\])?(?: tags=(?P<tags>\[.*\]))?$")


@dataclass(frozen=True)
class Cell:
    """One cell: its text as a reader sees it."""

    markdown: bool
    text: str
    tags: tuple[str, ...] = ()


def sources() -> list[Path]:
    """The sources of all notebooks, in order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def read_source(path: Path) -> list[Cell]:
    """The cells of a source; FileError if it does not begin with one."""
    cells: list[tuple[bool, tuple[str, ...], list[str]]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        mark = _MARK.match(line)
        if mark:
            cells.append((mark["markdown"] is not None, tuple(json.loads(mark["tags"] or "[]")), []))
        elif cells:
            cells[-1][2].append(line)
        elif line.strip():
            raise FileError(f"{path}: a notebook's source begins with '# %% [markdown]', got {line!r}")
    return [Cell(markdown, _text(lines, markdown), tags) for markdown, tags, lines in cells]


def _text(lines: list[str], markdown: bool) -> str:
    if markdown:
        lines = [re.sub(r"^# ?", "", line) for line in lines]
    return "\n".join(lines).strip("\n")


def code(path: Path) -> str:
    """The text of all code cells of a source."""
    return "\n\n".join(cell.text for cell in read_source(path) if not cell.markdown)


def executed(source: Path) -> dict:
    """The committed notebook beside a source, as JSON."""
    path = source.with_suffix(".ipynb")
    if not path.exists():
        raise FileError(f"{path} is missing: build it with minseg tutorials --build {source.name[:2]}")
    return json.loads(path.read_text(encoding="utf-8"))


def output_texts(output: dict) -> list[str]:
    """Every text of an output; pictures are not text."""
    if "text" in output:
        return [joined(output["text"])]
    return [joined(value) for kind, value in sorted(output.get("data", {}).items()) if kind.startswith("text/")]


def joined(text: str | list[str]) -> str:
    """A text of a notebook's JSON, which may be a list of lines."""
    return text if isinstance(text, str) else "".join(text)
