"""The ways in: all equations, by section of a document, by operation; and what the search looks through."""

import json
from html import escape

from minseg.equations import REGISTRY
from minseg.equations.code import BACKENDS, Library
from minseg.equations.documents import DOCUMENTS, Section, sections
from minseg.equations.errata import ERRATA
from minseg.equations.pages.equation import TITLES
from minseg.equations.pages.layout import equation_link, erratum_link, formula, page, page_of, sentence, text
from minseg.equations.registry import Equation, Source
from minseg.equations.show import RELATIONS


def home() -> str:
    """Every equation with its formula, family by family."""
    families: dict[str, list[Equation]] = {}
    for equation in REGISTRY.values():
        families.setdefault(equation.family, []).append(equation)
    contents = "".join(f'<a href="#{family}">{family}<small>{len(all)}</small></a>' for family, all in families.items())
    lists = "".join(
        f'<section class="family" id="{family}"><h2>{family} <small>{escape(TITLES[family])}</small></h2>'
        f"<ul>{''.join(map(_entry, equations))}</ul></section>"
        for family, equations in families.items()
    )
    printed = {s.item for e in REGISTRY.values() for s in e.sources if s.printed}
    body = f"""<header class="hero">
<h1>Equations that run</h1>
<p>Every formula here is executed exactly as it is printed, and compared with plain loops and with the code of every
backend. Each leads to the lines that compute it, to the documents that print it, and to what is wrong with them there.</p>
<ul class="ways">
<li><a href="documents.html"><b>I am reading a document</b><span>{len(printed)} printed formulas and all that is said in
words, section by section, and where each is in the code</span></a></li>
<li><a href="operations.html"><b>I am reading the code</b><span>operations, layers and kernels, and the equations they
compute</span></a></li>
<li><a href="errata.html"><b>What is wrong in print</b><span>{len(ERRATA)} errata, with the proof of each</span></a></li>
</ul>
</header>
<nav class="families" aria-label="Families">{contents}</nav>
{lists}"""
    return page("minseg: equations that run", body, "index.html")


def _entry(equation: Equation) -> str:
    status = equation.status.split(":")[0]
    badge = f' <span class="status">{status}</span>' if status != "implemented" else ""
    return (
        f'<li><p><a class="title" href="{page_of(equation.id)}">{escape(equation.title)}</a>'
        f"<code>{equation.id}</code>{badge}</p>{formula(equation.latex)}</li>"
    )


# ------------------------------------------------------------------------------------------------------------ documents


def documents(library: Library) -> str:
    """For each section of each document: its formulas, the equations they are, and their code."""
    parts = ""
    for document, about in DOCUMENTS.items():
        all_sections = sections()[document]
        jumps = " ".join(
            f'<a href="#{section.anchor}">{escape(section.name)}</a>' for section in all_sections if section.equations
        )
        parts += (
            f'<section class="document" id="{document}"><h2>{document} <small>{escape(about)}</small></h2>'
            f'<nav class="jumps" aria-label="Sections of {document} with equations">{jumps}</nav>'
            f"{''.join(_section(section, library) for section in all_sections)}</section>"
        )
    body = f"""<header class="hero"><h1>By document</h1>
<p>For whoever is reading one of the five documents: find the section, and go from what it prints to the equation and its
code.</p>
<nav class="jumps" aria-label="Documents">{" ".join(f'<a href="#{name}">{name}</a>' for name in DOCUMENTS)}</nav></header>
{parts}"""
    return page("By document: minseg equations", body, "documents.html")


def _section(section: Section, library: Library) -> str:
    """Its equations, those of one printed formula together; then what is wrong and what is right there."""
    by_formula: dict[str | None, list[tuple[Source, Equation]]] = {}
    for source, equation in section.equations:
        by_formula.setdefault(source.printed, []).append((source, equation))
    entries = "".join(
        f"<li>{formula(printed, 'printed') if printed else ''}"
        f"<ul>{''.join(_section_entry(source, equation, library) for source, equation in found)}</ul></li>"
        for printed, found in sorted(by_formula.items(), key=lambda item: item[0] is None)
    )
    errata = "".join(f"<li>{erratum_link(e.id)} {text(sentence(e.title))}</li>" for e in section.errata)
    right = "".join(f"<li>{text(sentence(r.what))}</li>" for r in section.right)
    body = f"<ul>{entries}</ul>" if entries else ""
    body += f'<div class="wrong"><h4>Errata</h4><ul>{errata}</ul></div>' if errata else ""
    body += f'<div class="right-there"><h4>Right</h4><ul>{right}</ul></div>' if right else ""
    level = min(3 + section.depth, 6)
    whole = "" if body else ' class="whole"'
    heading = f"<h{level}>{section.document} {escape(section.name)}</h{level}>"
    return f'<section id="{section.anchor}"{whole}>{heading}{body}</section>'


def _section_entry(source: Source, equation: Equation, library: Library) -> str:
    relation = "; ".join(RELATIONS.get(r, r) for r in source.relation)
    return (
        f'<li><p>{equation_link(equation.id)} {escape(equation.title)} <span class="relation">{escape(relation)}</span></p>'
        f'<p class="where">{_places(equation, library)}</p></li>'
    )


def _places(equation: Equation, library: Library) -> str:
    """Links from an equation's kernels, or its operations where it has none, to the code on its page."""
    page, places = page_of(equation.id), []
    for backend, codes in library.kernels(equation).items():
        places.append((f"{page}#{backend.lower()}", backend, codes[0]))
    if not places and equation.operations:
        places = [(f"{page}#operation", "", library.find(equation.operations[0]))]
    return ", ".join(
        f'<a href="{url}">{label} <code>{escape(code.file)}</code> {escape(code.short_name)}</a>'
        for url, label, code in places
    )


# ----------------------------------------------------------------------------------------------------------- operations


def operations(library: Library) -> str:
    """Each public operation and each kernel, with the equations that it computes."""
    of_operation: dict[str, list[Equation]] = {}
    of_primitive: dict[str, list[Equation]] = {}
    for equation in REGISTRY.values():
        for dotted in equation.operations:
            of_operation.setdefault(dotted, []).append(equation)
        for primitive in equation.primitives:
            of_primitive.setdefault(primitive, []).append(equation)
    modules: dict[str, list[str]] = {}
    for dotted in sorted(of_operation):
        modules.setdefault(dotted.removeprefix("minseg.").split(".")[0], []).append(dotted)
    parts = ""
    for module, names in modules.items():
        rows = "".join(_operation_row(d.removeprefix("minseg."), library.find(d).file, of_operation[d]) for d in names)
        parts += f'<section id="in-{module}"><h2>{module}</h2><table class="operations">{rows}</table></section>'
    rows = "".join(_operation_row(p, _kernel_files(p, library), of_primitive[p]) for p in sorted(of_primitive))
    kernels = (
        '<section id="in-primitives"><h2>primitives <small>the kernels that each backend has</small></h2>'
        f'<table class="operations">{rows}</table></section>'
    )
    jumps = " ".join(f'<a href="#in-{name}">{name}</a>' for name in [*modules, "primitives"])
    body = f"""<header class="hero"><h1>By operation</h1>
<p>For whoever is reading the code: what each operation, layer and kernel computes, as an equation.</p>
<nav class="jumps" aria-label="Modules">{jumps}</nav></header>
{parts}{kernels}"""
    return page("By operation: minseg equations", body, "operations.html")


def _operation_row(name: str, file: str, equations: list[Equation]) -> str:
    links = "".join(f"<li>{equation_link(e.id)} <span>{escape(e.title)}</span></li>" for e in equations)
    heading = f'<th scope="row"><code>{escape(name)}</code><small>{escape(file)}</small></th>'
    return f'<tr id="{name}">{heading}<td><ul>{links}</ul></td></tr>'


def _kernel_files(primitive: str, library: Library) -> str:
    """The folders that hold it, and the file's name in each."""
    family = library.family(primitive)
    folders = [package.rsplit(".", 1)[-1] for package in BACKENDS.values()]
    return f"kernels/{{{', '.join(folders)}}}/{family}.py"


# --------------------------------------------------------------------------------------------------------------- search


def search_index() -> str:
    """What the search box looks through, as a script: pages that are opened as files may not fetch anything.

    Each entry: [name, what it is, page, more words to find it by].
    """
    entries = [
        [e.id, e.title, page_of(e.id), " ".join([*e.operations, *e.primitives, *e.errata, *_source_words(e)])]
        for e in REGISTRY.values()
    ]
    for document, all_sections in sections().items():
        for section in all_sections:
            titles = " ".join(equation.title for _, equation in section.equations)
            where = f"documents.html#{section.anchor}"
            entries.append([f"{document} {section.name}", "section of a document", where, titles])
    for name in sorted({dotted for e in REGISTRY.values() for dotted in e.operations}):
        short = name.removeprefix("minseg.")
        entries.append([short, "operation", f"operations.html#{short}", name])
    for erratum in ERRATA.values():
        entries.append([erratum.id, erratum.title, f"errata.html#{erratum.id}", " ".join(erratum.places)])
    return f"window.MINSEG_SEARCH = {json.dumps(entries, ensure_ascii=False, indent=0)};\n"


def _source_words(equation: Equation) -> list[str]:
    return [f"{document} {section}" for s in equation.sources for document in s.documents for section in s.sections] + [
        s.item for s in equation.sources if s.item
    ]
