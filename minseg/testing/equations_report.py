"""``minseg equations``: the table, one equation in full, the check of them all, the pages and EQUATIONS.md."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from textwrap import fill

from tqdm import tqdm

from minseg import backend
from minseg.equations.markdown import markdown
from minseg.equations.show import columns, show, table
from minseg.files import jsonable, write_bytes
from minseg.testing.equations import TOLERANCE, Outcome, check_all, matching
from minseg.testing.printed import PrintedOutcome, check_printed, printed_sources


def main(args) -> int:
    """Do what was asked for; 1 if a check failed."""
    if args.html:
        write_pages(args.html)
    if args.markdown:
        write_bytes(args.markdown, markdown().encode())
        print(f"wrote {args.markdown}")
    if args.check:
        return check(args.id, args.json)
    if not (args.html or args.markdown):
        describe(args.id, args.json)
    return 0


def write_pages(folder: Path) -> None:
    """Write every page into the folder."""
    from minseg.equations.pages import render

    pages = render()
    for name, text in tqdm(pages.items(), desc="writing", disable=not sys.stderr.isatty(), leave=False):
        write_bytes(folder / name, text.encode())
    print(f"wrote {len(pages)} files; open {folder / 'index.html'}")


def describe(id: str | None, as_json: bool) -> None:
    """One equation in full, or the table of those that match."""
    equations = matching(id)
    if len(equations) == 1:
        shown = show(equations[0].id)
        print(json.dumps(jsonable(shown.to_dict()), indent=2, ensure_ascii=False) if as_json else shown)
    elif as_json:
        rows = [{"id": e.id, "title": e.title, "status": e.status, "operations": e.operations} for e in equations]
        print(json.dumps(jsonable(rows), indent=2, ensure_ascii=False))
    else:
        print(table(equations))


# ------------------------------------------------------------------------------------------------------------ the check


def check(pattern: str | None, as_json: bool) -> int:
    """Evaluate the equations on every backend, and the printed formulas that belong to them; 1 if one fails."""
    equations = matching(pattern)
    backends = backend.quick_backends()
    progress = tqdm(equations, desc="checking", unit="equation", disable=not sys.stderr.isatty(), leave=False)
    outcomes = [outcome for equation in progress for outcome in check_all(equation.id, backends)]
    printed = printed_outcomes(equations)
    if as_json:
        report = {"equations": [_plain(o) for o in outcomes], "printed": [asdict(p) for p in printed]}
        print(json.dumps(jsonable(report), indent=2, ensure_ascii=False))
    else:
        print(report_text(outcomes, printed, backends, len(equations)))
    return 0 if all(o.passed for o in outcomes) and all(p.ok for p in printed) else 1


def printed_outcomes(equations) -> list[PrintedOutcome]:
    """Those of the 14 that are sources of these equations."""
    items = {source.item for equation in equations for source in equation.sources if source.printed}
    if not items & printed_sources().keys():
        return []
    return [outcome for outcome in check_printed() if outcome.item in items]


def _plain(outcome: Outcome) -> dict:
    return {**asdict(outcome), "passed": outcome.passed}


def report_text(outcomes: list[Outcome], printed: list[PrintedOutcome], backends: list[str], count: int) -> str:
    """The worst error of each equation against its loops and each backend, then the printed formulas."""
    rows = [("equation", "samples", "loops", *backends, "")]
    for o in outcomes:
        errors = [_error(o.backends.get(name)) for name in backends]
        rows.append((o.id, str(o.samples), _error(o.literal), *errors, _verdict(o)))
    parts = [columns(rows)]
    if printed:
        lines = [(p.item, f"{p.document} {p.section}", "ok" if p.ok else "FAILED", p.relation) for p in printed]
        parts.append("printed formulas\n" + columns(lines, "  "))
        parts.append(
            "\n".join(
                fill(f"{p.item}: {p.detail}", 110, initial_indent="  ", subsequent_indent="    ") for p in printed
            )
        )
    return "\n\n".join([*parts, _summary(outcomes, printed, backends, count)])


def _summary(outcomes: list[Outcome], printed: list[PrintedOutcome], backends: list[str], count: int) -> str:
    exact = [o for o in outcomes if o.tolerance == TOLERANCE]
    with_code = sum(bool(o.backends) for o in outcomes)
    lines = [
        f"{sum(o.passed for o in outcomes)} of {len(outcomes)} equations passed: each equals its loops, "
        f"and {with_code} also the code on {', '.join(backends)}"
    ]
    if exact:
        worst = max(exact, key=Outcome.worst)
        lines.append(f"worst error {_error(worst.worst())} ({worst.id}), at most {TOLERANCE:g} is allowed")
    lines += [
        f"{o.id}: its code computes in float32 or approximates, {_error(o.worst())} of at most {o.tolerance:g}"
        for o in outcomes
        if o.tolerance > TOLERANCE
    ]
    if count > len(outcomes):
        lines.append(f"{count - len(outcomes)} without code have no samples")
    if printed:
        lines.append(f"{sum(p.ok for p in printed)} of {len(printed)} printed formulas relate to them as registered")
    return "\n".join(lines)


def _error(error: float | None) -> str:
    return "" if error is None else "0" if error == 0 else f"{error:.1e}"


def _verdict(outcome: Outcome) -> str:
    return "" if outcome.passed else "FAILED"
