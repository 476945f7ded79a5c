"""The page of one equation: the formula, and beside it the code that computes it, from loops to fast kernels."""

from html import escape

from minseg.equations import FAMILIES, REGISTRY
from minseg.equations.code import Code, Library
from minseg.equations.errata import ERRATA
from minseg.equations.pages.layout import (
    equation_link,
    erratum_link,
    formula,
    page_of,
    section_link,
    sentence,
    text,
)
from minseg.equations.pages.layout import page as frame
from minseg.equations.pages.listing import group
from minseg.equations.pages.mathml import mathml
from minseg.equations.pages.pictures import pictures
from minseg.equations.registry import Equation, Source
from minseg.equations.show import OUTSIDE, RELATIONS

TITLES = {family.__name__.rsplit(".", 1)[-1]: family.__doc__.splitlines()[0].rstrip(".") for family in FAMILIES}
"""Family -> what its equations are of, as its file opens."""


def page(equation: Equation, library: Library) -> str:
    sections = _code_sections(equation, library)
    jumps = " ".join(f'<a href="#{anchor}">{name}</a>' for anchor, name, _ in sections)
    code = "".join(f'<section id="{anchor}"><h2>{name}</h2>{html}</section>' for anchor, name, html in sections)
    body = f"""<article class="equation">
<header>
<p class="crumbs"><a href="index.html#{equation.family}">{equation.family}</a> / <code>{equation.id}</code>
{_status(equation)}</p>
<h1>{escape(sentence(equation.title).rstrip("."))}</h1>
</header>
<div class="beside">
<div class="left">
<div class="card">{formula(equation.latex, "big")}
<details class="latex"><summary>LaTeX</summary><pre tabindex="0"><code>{escape(equation.latex)}</code></pre></details></div>
{f'<p class="note">{text(equation.note)}</p>' if equation.note else ""}
{_symbols(equation)}
{pictures(equation.id)}
{_gradients(equation)}
</div>
<div class="right">
{f'<nav class="jumps" aria-label="Code">{jumps}</nav>' if len(sections) > 1 else ""}
{code or '<p class="none">No code computes it yet.</p>'}
</div>
</div>
{_sources(equation)}
{_tests(equation, library)}
{_neighbours(equation)}
</article>"""
    return frame(f"{equation.id}: {equation.title}", body)


def _status(equation: Equation) -> str:
    if equation.status == "implemented":
        return ""
    word, _, reason = equation.status.partition(": ")
    return f' <span class="status">{escape(word)}</span>' + (f" <span>{escape(reason)}</span>" if reason else "")


def _symbols(equation: Equation) -> str:
    if not equation.symbols:
        return ""
    rows = ""
    for symbol in equation.symbols:
        details = [f"<code>{escape(symbol.shape)}</code>" if symbol.shape else "", escape(symbol.unit)]
        limits = [escape(part) for part in (symbol.domain, OUTSIDE[symbol.outside]) if part]
        rows += (
            f'<tr><th scope="row">{mathml(symbol.latex)}</th><td>{text(symbol.meaning)}'
            f"{''.join(f'<small>{limit}</small>' for limit in limits)}</td><td>{' '.join(filter(None, details))}</td></tr>"
        )
    return f"""<table class="symbols"><caption>Symbols</caption>
<thead><tr><th scope="col">symbol</th><th scope="col">meaning</th><th scope="col">shape, unit</th></tr></thead>
<tbody>{rows}</tbody></table>"""


def _gradients(equation: Equation) -> str:
    forward = [(e, symbol) for e in REGISTRY.values() for symbol, id in e.gradients.items() if id == equation.id]
    parts = [
        f"<li>for {mathml(symbol)}: {equation_link(id)}{formula(REGISTRY[id].latex)}</li>"
        for symbol, id in equation.gradients.items()
    ]
    html = f'<section class="gradients"><h2>Gradients</h2><ul>{"".join(parts)}</ul></section>' if parts else ""
    of = ", ".join(f"{equation_link(e.id)} for {mathml(symbol)}" for e, symbol in forward)
    return html + (f'<p class="of">The gradient of {of}.</p>' if of else "")


# ----------------------------------------------------------------------------------------------------------------- code


def _code_sections(equation: Equation, library: Library) -> list[tuple[str, str, str]]:
    """(anchor, name, HTML) of each place where it is computed, the simplest first; nothing is shown twice."""
    shown: list[Code] = []

    def fresh(codes: list[Code]) -> list[Code]:
        new = [code for code in codes if not any(code.overlaps(other) for other in shown)]
        shown.extend(new)
        return new

    found = []
    literal = library.literal(equation)
    if literal is not None:
        codes = fresh([literal, *library.called(literal, "minseg.equations.literal")])
        found.append(("loops", "Loops", group(codes, equation.id)))
    for backend, codes in library.kernels(equation).items():
        found.append((backend.lower(), backend, group(fresh(codes), equation.id)))
    operations = fresh(library.operations(equation))
    if operations:
        found.append(("operation", "Operation", _composed(equation) + group(operations, equation.id)))
    marked = fresh(library.marked(equation.id))
    if marked:
        found.append(("also", "Also here", group(marked, equation.id)))
    return found


def _composed(equation: Equation) -> str:
    if equation.primitives:
        return ""
    return '<p class="hint">It has no kernel of its own: these lines run on every backend as they stand.</p>'


# -------------------------------------------------------------------------------------------------- sources and errata


def _sources(equation: Equation) -> str:
    html = "".join(_source(source) for source in equation.sources)
    told = {id for source in equation.sources for id in source.errata}
    others = [id for id in equation.errata if id not in told]
    if others:
        html += f'<li><p class="from">Elsewhere in the documents</p>{"".join(map(_erratum, others))}</li>'
    return (
        f'<section class="sources" id="sources"><h2>Sources, and what is wrong with them</h2><ul>{html}</ul></section>'
    )


def _source(source: Source) -> str:
    places = [section_link(document, section) for document in source.documents for section in source.sections]
    relation = "; ".join(RELATIONS.get(r, r) for r in source.relation)
    note = f'<p class="why">{text(sentence(source.note))}</p>' if source.note else ""
    printed = formula(source.printed, "printed") if source.printed else ""
    errata = "".join(map(_erratum, source.errata))
    where = ", ".join(places) or "Literature"
    item = f' <span class="item">{source.item}</span>' if source.item else ""
    how = f'<span class="relation">{escape(relation)}</span>' if places else ""
    return f'<li><p class="from">{where}{item} {how}</p>{printed}{note}{errata}</li>'


def _erratum(id: str) -> str:
    erratum = ERRATA[id]
    return (
        f'<div class="erratum"><p>{erratum_link(id)} <b>{text(sentence(erratum.title))}</b> '
        f"{text(erratum.why)}</p><p>Right: {text(erratum.correct)}</p></div>"
    )


# ---------------------------------------------------------------------------------------------------- tests, neighbours


def _tests(equation: Equation, library: Library) -> str:
    named = [
        f"<li><code>{escape(mention.file)}</code>{f' {escape(mention.name)}' if mention.name else ''}</li>"
        for mention in library.mentions(equation.id)
    ]
    of_code = [
        f"<li><details><summary><code>{escape(file)}</code>: {len(tests)}</summary>"
        f"<ul>{''.join(f'<li>{escape(test)}</li>' for test in tests)}</ul></details></li>"
        for file, tests in library.tests_of_code(equation).items()
    ]
    notebooks = [f"<li><code>{escape(mention.file)}</code></li>" for mention in library.notebooks(equation.id)]
    parts = [("Tests that name it", named), ("Tests of its code", of_code), ("Notebooks", notebooks)]
    html = "".join(f"<div><h3>{title}</h3><ul>{''.join(items)}</ul></div>" for title, items in parts if items)
    return (
        f'<section class="tests" id="tests"><h2>Tests and notebooks</h2><div class="columns">{html}</div></section>'
        if html
        else ""
    )


def _neighbours(equation: Equation) -> str:
    ids = list(REGISTRY)
    at = ids.index(equation.id)
    before = f'<a rel="prev" href="{page_of(ids[at - 1])}">← {ids[at - 1]}</a>' if at else "<span></span>"
    after = f'<a rel="next" href="{page_of(ids[at + 1])}">{ids[at + 1]} →</a>' if at + 1 < len(ids) else ""
    return f'<nav class="neighbours" aria-label="Neighbours">{before}{after}</nav>'
