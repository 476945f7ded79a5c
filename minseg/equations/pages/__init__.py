"""The pages: from each formula to the code that computes it and back, as static HTML that needs no network.

for name, text in render().items(): ...          # "index.html", "conv.corr2d.html", "style.css", ...

They open from a folder, by file://. Mathematics is MathML, made here once; latex2mathml and Pygments (extra: pages) are needed to
write the pages, not to read them.
"""

from importlib.resources import files

from minseg.equations import REGISTRY
from minseg.equations.code import Library
from minseg.equations.pages import equation, errata, indexes, layout

__all__ = ["render"]


def render(library: Library | None = None) -> dict[str, str]:
    """Every file of the site by its name."""
    library = library or Library()
    pages = {layout.page_of(e.id): equation.page(e, library) for e in REGISTRY.values()}
    pages["index.html"] = indexes.home()
    pages["documents.html"] = indexes.documents(library)
    pages["operations.html"] = indexes.operations(library)
    pages["errata.html"] = errata.page(library)
    pages["search-index.js"] = indexes.search_index()
    for asset in ("style.css", "search.js"):
        pages[asset] = files(__name__).joinpath(asset).read_text(encoding="utf-8")
    return pages
