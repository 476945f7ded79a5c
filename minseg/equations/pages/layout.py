"""What all pages share: the frame, links, and text with links in it."""

import re
from html import escape

from minseg.equations import REGISTRY
from minseg.equations.documents import anchor, split_place
from minseg.equations.errata import ERRATA
from minseg.equations.pages.mathml import mathml

SITE = "minseg equations"
TABS = {
    "index.html": "Equations",
    "documents.html": "Documents",
    "operations.html": "Operations",
    "errata.html": "Errata",
}


def page(title: str, body: str, here: str = "") -> str:
    """A whole page; ``here`` is the file name of the tab that it belongs to."""
    tabs = "".join(
        f'<a href="{file}"{" aria-current=page" if file == here else ""}>{name}</a>' for file, name in TABS.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="style.css">
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
<a class="brand" href="index.html">min<b>seg</b></a>
<nav aria-label="Pages">{tabs}</nav>
<form class="search" role="search">
<input id="search" type="search" placeholder="Search" aria-label="Search equations, sections, code and errata"
 role="combobox" aria-expanded="false" aria-controls="found" autocomplete="off" spellcheck="false">
<ul id="found" role="listbox" aria-label="Found" hidden></ul>
</form>
</header>
<main id="main">
{body}
</main>
<footer><p>Generated from the registry and the source of minseg. Every formula is executed as it is printed here, and
compared with the code beside it: <code>minseg equations --check</code>.</p></footer>
<script src="search-index.js"></script>
<script src="search.js"></script>
</body>
</html>
"""


def page_of(id: str) -> str:
    return f"{id}.html"


def equation_link(id: str) -> str:
    return f'<a class="id" href="{page_of(id)}">{id}</a>'


def erratum_link(id: str) -> str:
    return f'<a class="err" href="errata.html#{id}">{id}</a>'


def section_link(document: str, section: str) -> str:
    return f'<a class="place" href="documents.html#{anchor(document, section)}">{document} {escape(section)}</a>'


def place_link(place: str) -> str:
    """A link for ``D3 3.3.1``."""
    return section_link(*split_place(place))


def formula(latex: str, kind: str = "") -> str:
    """A formula on lines of its own; a wide one scrolls in itself."""
    label = "formula that scrolls sideways if it is wide"
    return f'<div class="formula {kind}" tabindex="0" role="group" aria-label="{label}">{mathml(latex, True)}</div>'


_LINKED = re.compile(r"\$(?P<math>[^$]+)\$|(?P<error>ERR-\d\d)|(?P<id>\b[a-z]+\.[a-z][a-z0-9_]*)")


def text(plain: str) -> str:
    """Text as HTML: ids and errata become links, ``$...$`` becomes mathematics."""
    parts, at = [], 0
    for match in _LINKED.finditer(plain):
        replaced = _replaced(match)
        if replaced is not None:
            parts += [escape(plain[at : match.start()]), replaced]
            at = match.end()
    return "".join([*parts, escape(plain[at:])])


def _replaced(match: re.Match) -> str | None:
    if match["math"]:
        return f'<span class="inline">{mathml(match["math"])}</span>'
    if match["error"] in ERRATA:
        return erratum_link(match["error"])
    return equation_link(match["id"]) if match["id"] in REGISTRY else None


def sentence(words: str) -> str:
    """With a capital, and a full stop where it has no end of its own."""
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "?", "!")) else ".") if words else ""
