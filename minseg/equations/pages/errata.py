"""The page of errata: what is printed, what is right, why, and the code that proves it."""

from html import escape

from minseg.equations import REGISTRY
from minseg.equations.code import Library
from minseg.equations.errata import ERRATA, KINDS, RIGHT, Erratum, Right
from minseg.equations.pages.layout import equation_link, formula, place_link, sentence, text
from minseg.equations.pages.layout import page as frame
from minseg.equations.pages.listing import group

HEADINGS = {
    "formula": "Formulas and their legends",
    "code": "Code",
    "prose": "Prose",
    "reference": "References",
}


def page(library: Library) -> str:
    parts = ""
    for kind in KINDS:
        all = "".join(_erratum(erratum, library) for erratum in ERRATA.values() if erratum.kind == kind)
        parts += f'<section class="kind" id="{kind}"><h2>{HEADINGS[kind]}</h2>{all}</section>'
    right = "".join(_right(item) for item in RIGHT)
    counts = {kind: sum(e.kind == kind for e in ERRATA.values()) for kind in KINDS}
    jumps = " ".join(f'<a href="#{kind}">{HEADINGS[kind]}<small>{counts[kind]}</small></a>' for kind in KINDS)
    body = f"""<header class="hero"><h1>Errata</h1>
<p>Every mistake found in the five documents. A proof that runs stands behind each one that computation can decide: it shows
on numbers that the printed form fails and that the correct one passes.</p>
<nav class="jumps" aria-label="Kinds">{jumps} <a href="#right">What they get right<small>{len(RIGHT)}</small></a></nav></header>
{parts}<section class="kind" id="right"><h2>What the documents get right</h2>{right}</section>"""
    return frame("Errata: minseg equations", body, "errata.html")


def _erratum(erratum: Erratum, library: Library) -> str:
    printed = dict.fromkeys(
        s.printed for e in REGISTRY.values() for s in e.sources if erratum.id in s.errata and s.printed
    )
    told = erratum.kind != "formula" or any(latex in erratum.printed for latex in printed)
    formulas = "" if told else "".join(formula(latex, "printed") for latex in printed)
    note = f'<p class="fair">{text(erratum.note)}</p>' if erratum.note else ""
    equations = " ".join(map(equation_link, erratum.equations))
    return f"""<article class="erratum" id="{erratum.id}">
<header><h3><a href="#{erratum.id}">{erratum.id}</a> {text(sentence(erratum.title).rstrip("."))}</h3>
<p class="places">{" ".join(map(place_link, erratum.places))}</p></header>
{formulas}
<dl>
<dt>Printed</dt><dd class="says">{text(erratum.printed)}</dd>
<dt>Right</dt><dd class="right-says">{text(erratum.correct)}</dd>
<dt>Why</dt><dd>{text(erratum.why)}{note}</dd>
{f'<dt>Equations</dt><dd class="links">{equations}</dd>' if equations else ""}
{_proof(erratum.witness, erratum.documentation_only, library)}
</dl>
</article>"""


def _proof(witness: str | None, reason: str, library: Library) -> str:
    if witness is None:
        return f"<dt>Proof</dt><dd>None runs: {text(reason)}</dd>" if reason else ""
    code = library.find(witness)
    summary = f"<summary>runs: <code>{escape(code.short_name)}</code>, {len(code)} lines</summary>"
    return f"<dt>Proof</dt><dd><details>{summary}{group([code], '')}</details></dd>"


def _right(item: Right) -> str:
    equations = " ".join(map(equation_link, item.equations))
    return f"""<article class="ok" id="{item.id}"><h3>{text(sentence(item.what).rstrip("."))}</h3>
<p class="places">{" ".join(map(place_link, item.places))} {equations}</p><p>{text(item.why)}</p></article>"""
