"""The pages and EQUATIONS.md: every link resolves, every excerpt equals its file, every formula is there, nothing is loaded."""

import json
import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from minseg.cli import main
from minseg.equations import REGISTRY, get
from minseg.equations.documents import DOCUMENTS, anchor, sections
from minseg.equations.errata import ERRATA, RIGHT
from minseg.equations.markdown import markdown

ROOT = Path(__file__).resolve().parents[2]
EMPTY = {"meta", "link", "input", "br", "img", "hr", "area", "base", "col", "embed", "source", "track", "wbr"}
SHAPES = {"path", "rect", "circle"}  # closed by themselves in SVG
PRINTED = sorted({s.printed for e in REGISTRY.values() for s in e.sources if s.printed})


@dataclass
class Page(HTMLParser):
    """What the tests look at in a page."""

    name: str
    html: str
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    excerpts: list[tuple[str, int, int, str]] = field(default_factory=list)
    formulas: list[str] = field(default_factory=list)
    mathematics: list[str] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self._excerpt: tuple | None = None
        self._text: list[str] = []
        self.feed(self.html)
        self.unclosed += self._open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in EMPTY and not (tag in SHAPES and self.get_starttag_text().endswith("/>")):
            self._open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        self.loaded += [given[name] for name in ("src", "href") if name in given and tag in ("script", "link", "img")]
        if tag == "math":
            self.formulas.append(given["alttext"])
        if tag == "pre" and "data-file" in given:
            self._excerpt = given["data-file"], int(given["data-first"]), int(given["data-last"])
            self._text = []

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.unclosed.append(f"</{tag}>")
        if tag == "pre" and self._excerpt:
            self.excerpts.append((*self._excerpt, "".join(self._text)))
            self._excerpt = None

    def handle_data(self, data):
        self._text.append(data)
        if "math" in self._open:
            self.mathematics.append(data)

    __hash__ = object.__hash__


@pytest.fixture(scope="module")
def pages(site) -> dict[str, Page]:
    return {path.name: Page(path.name, path.read_text(encoding="utf-8")) for path in sorted(site.glob("*.html"))}


def test_there_is_a_page_for_each_equation_and_each_way_in(pages):
    ways = {"index.html", "documents.html", "operations.html", "errata.html"}
    assert set(pages) == ways | {f"{id}.html" for id in REGISTRY}


def test_tags_are_closed_and_ids_unique(pages):
    for page in pages.values():
        assert not page.unclosed, (page.name, page.unclosed[:5])
        assert len(page.ids) == len(set(page.ids)), page.name


def test_every_link_and_anchor_resolves(pages, site):
    broken = []
    for page in pages.values():
        for link in page.links:
            file, _, target = link.partition("#")
            file = file or page.name
            if file not in pages or (target and unquote(target) not in pages[file].ids):
                broken.append((page.name, link))
    assert not broken


def test_nothing_comes_from_elsewhere(pages, site):
    for page in pages.values():
        assert all((site / name).is_file() or name == "data:," for name in page.loaded), page.name
        assert not re.search(
            r"https?:|@import|url\(", re.sub(r"<pre.*?</pre>|<code>.*?</code>", "", page.html, flags=re.S)
        )
    for asset in ("style.css", "search.js"):
        assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp", (site / asset).read_text(encoding="utf-8"))


def test_code_excerpts_equal_the_files_they_cite(pages):
    read = {}
    count = 0
    for page in pages.values():
        for file, first, last, text in page.excerpts:
            lines = read.setdefault(file, (ROOT / file).read_text(encoding="utf-8").splitlines())
            assert text == "".join(f"{line}\n" for line in lines[first - 1 : last]), (page.name, file, first)
            count += 1
    assert count > 1000
    assert {"kernels/reference/conv.py", "kernels/cpu/conv_tile.py", "minseg/ops/conv.py"} <= set(read)


@pytest.mark.parametrize("equation", REGISTRY.values(), ids=REGISTRY)
def test_a_page_has_the_formula_the_symbols_the_sources_and_the_code(pages, equation):
    page = pages[f"{equation.id}.html"]
    assert page.formulas[0] == equation.latex
    assert {symbol.latex for symbol in equation.symbols} <= set(page.formulas)
    assert {source.printed for source in equation.sources if source.printed} <= set(page.formulas)
    assert {f"errata.html#{id}" for id in equation.errata} <= set(page.links)
    assert {f"{id}.html" for id in equation.gradients.values()} <= set(page.links)
    files = {file for file, *_ in page.excerpts}
    assert f"minseg/equations/literal/{equation.family}.py" in files
    if equation.primitives:
        assert {"numpy", "numba"} <= set(page.ids)
        assert any(file.startswith("kernels/reference/") for file in files)
        assert any(file.startswith("kernels/cpu/") for file in files)


def test_formulas_are_converted_whole(pages):
    """A command that the converter does not know would be left as text with a backslash."""
    for page in pages.values():
        assert not [text for text in page.mathematics if "\\" in text], page.name


def test_the_index_shows_every_formula_once(pages):
    assert pages["index.html"].formulas == [equation.latex for equation in REGISTRY.values()]


def test_every_section_that_prints_a_formula_leads_to_code(pages):
    html = pages["documents.html"].html
    for document in DOCUMENTS:
        for section in sections()[document]:
            for source, equation in section.equations:
                if source.printed:
                    part = re.search(rf'<section id="{section.anchor}">.*?</section>', html, re.S)[0]
                    target = rf'href="{re.escape(equation.id)}\.html#(numpy|operation)"'
                    assert re.search(target, part), (section.anchor, equation.id)
    assert set(PRINTED) <= set(pages["documents.html"].formulas)


def test_a_whole_section_has_an_anchor_though_only_its_parts_have_formulas(pages):
    assert anchor("D3", "3.3.2") in pages["documents.html"].ids


def test_every_operation_and_primitive_is_in_the_index(pages):
    ids = set(pages["operations.html"].ids)
    for equation in REGISTRY.values():
        assert {dotted.removeprefix("minseg.") for dotted in equation.operations} <= ids
        assert set(equation.primitives) <= ids


def test_every_erratum_is_told_with_its_proof(pages):
    page = pages["errata.html"]
    assert set(ERRATA) | {item.id for item in RIGHT} <= set(page.ids)
    proofs = [file for file, *_ in page.excerpts if file.startswith("minseg/testing/witnesses/")]
    assert len(proofs) >= sum(erratum.witness is not None for erratum in ERRATA.values())


def test_the_search_finds_equations_sections_operations_and_errata(site):
    script = (site / "search-index.js").read_text(encoding="utf-8")
    entries = json.loads(script.removeprefix("window.MINSEG_SEARCH = ").rstrip().removesuffix(";"))
    names = {name for name, *_ in entries}
    assert {"conv.corr2d", "D3 3.3.2", "ops.conv2d", "ERR-10"} <= names
    assert set(REGISTRY) | set(ERRATA) <= names


# --------------------------------------------------------------------------------------------------------- mathematics


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\max_{p=0}^{k} x", "<munderover><mo"),
        (r"\sum_{i} x", "<munder><mo"),
        (r"\arg\max_{k} z", '<mi mathvariant="normal">a</mi>'),
        (r"\lfloor \frac{a}{b} \rfloor", '<mo stretchy="true" fence="true" form="prefix">⌊</mo>'),
        (r"\left\lceil x \right\rceil", "⌈"),
        (r"x_{i,j}", 'rspace="0.06em">,</mo>'),
        (r"a < b", "&lt;"),
    ],
)
def test_mathematics_is_set_as_tex_sets_it(site, latex, expected):
    from minseg.equations.pages.mathml import mathml

    assert expected in mathml(latex)
    assert "xmlns" not in mathml(latex)


def test_text_gets_links_and_is_escaped(site):
    from minseg.equations.pages.layout import text

    assert text("see conv.size, a<b & ERR-10; not conv.unknown or ERR-99") == (
        'see <a class="id" href="conv.size.html">conv.size</a>, a&lt;b &amp; '
        '<a class="err" href="errata.html#ERR-10">ERR-10</a>; not conv.unknown or ERR-99'
    )
    assert "<math" in text("with $k^{2}$ terms")


@pytest.mark.parametrize("library", ["latex2mathml.converter", "pygments"])
def test_without_a_library_the_error_says_what_to_install(site, monkeypatch, capsys, tmp_path, library):
    from minseg.equations.pages import listing, mathml

    mathml.mathml.cache_clear()
    listing._coloured.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    assert main(["equations", "--html", str(tmp_path / "out")]) == 2
    assert "pip install 'minseg[pages]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_writes_what_render_makes(site, tmp_path, capsys):
    assert main(["equations", "--html", str(tmp_path / "out")]) == 0
    assert "index.html" in capsys.readouterr().out
    for path in site.iterdir():  # and two runs make the same bytes
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name
    assert len(list((tmp_path / "out").iterdir())) == len(list(site.iterdir()))


# -------------------------------------------------------------------------------------------------------- EQUATIONS.md

FILE = ROOT / "minseg" / "equations" / "EQUATIONS.md"


def test_equations_md_is_up_to_date():
    fresh = markdown()
    assert FILE.read_text(encoding="utf-8") == fresh, f"run: minseg equations --markdown {FILE.relative_to(ROOT)}"


def test_its_links_resolve():
    text = re.sub(r"^ *```math\n.*\n *```$", "", markdown(), flags=re.M)
    ids = set(re.findall(r'<a id="([^"]+)"', text)) | {"by-document", "errata"}
    headings = set(re.findall(r"^## (\w+)$", text, re.M))
    for label, target in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in ids | headings, (label, target)
        else:
            assert (FILE.parent / target).is_file(), (label, target)


def test_it_holds_every_formula_in_a_fence_of_its_own():
    fences = re.findall(r"^ *```math\n *(.+)\n *```$", markdown(), re.M)
    assert sorted(set(fences)) == sorted({e.latex for e in REGISTRY.values()} | set(PRINTED))


def test_latex_in_the_errata_stands_between_dollars():
    for erratum in ERRATA.values():
        for text in (erratum.title, erratum.printed, erratum.correct, erratum.why, erratum.note):
            assert text.count("$") % 2 == 0, erratum.id
            assert "\\" not in "".join(text.split("$")[::2]), erratum.id


def test_it_names_no_lines():
    assert not re.search(r"\.py[:#]L?\d", markdown())
    assert get("conv.corr2d").latex in markdown()
