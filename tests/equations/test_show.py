"""``show`` and ``minseg equations``: one equation for a terminal, a notebook and a program; the table; the check."""

import doctest
import json

import pytest

import minseg.equations.show
import minseg.implements
from minseg.cli import main
from minseg.equations import REGISTRY, get
from minseg.equations.code import Library
from minseg.equations.errata import ERRATA
from minseg.equations.show import OUTSIDE, RELATIONS, Shown, columns, show, table
from minseg.errors import EquationError
from minseg.testing import equations_report
from minseg.testing.equations import TOLERANCE, Outcome
from minseg.testing.printed import PrintedOutcome


@pytest.fixture(scope="module")
def library():
    return Library()


@pytest.mark.parametrize("equation", REGISTRY.values(), ids=REGISTRY)
def test_every_equation_is_shown_in_full(equation, library):
    shown = Shown(equation, library)
    text, markdown = repr(shown), shown._repr_markdown_()
    assert text.startswith(f"{equation.id}: {equation.title}")
    for part in (equation.latex, equation.note, *(s.printed or "" for s in equation.sources)):
        assert part in text
    for symbol in equation.symbols:
        assert symbol.meaning in text
        assert f"${symbol.latex}$ {symbol.meaning}" in markdown
    assert all(f"{id}  {ERRATA[id].title}" in text for id in equation.errata)
    assert f"$$\n{equation.latex}\n$$" in markdown
    assert json.loads(json.dumps(shown.to_dict()))["latex"] == equation.latex


def test_code_is_named_with_file_and_line(library):
    places = {(label, code.short_name): code.place for label, code in Shown(get("conv.corr2d"), library).code()}
    assert set(places) >= {
        ("literal", "conv_corr2d"),
        ("NumPy", "conv2d"),
        ("Numba", "conv2d"),
        ("operation", "conv2d"),
        ("operation", "Conv2d"),
        ("marked", "Conv2d"),
    }
    assert places["NumPy", "conv2d"].startswith("kernels/reference/conv.py:")


def test_a_notebook_gets_no_line_numbers_and_links_to_the_page(library):
    bundle = Shown(get("conv.corr2d"), library)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/markdown"}
    assert "[conv.corr2d](../minseg/equations/EQUATIONS.md#conv.corr2d)" in bundle["text/markdown"]
    assert not any(".py:" in text for text in bundle.values())


def test_several_equations_are_a_table_with_no_bar_inside_a_cell():
    shown = show("prune.magnitude", "conv.size")
    rows = shown._repr_markdown_().splitlines()
    assert len(rows) == 4
    assert all(row.count("|") == 3 for row in rows)
    assert r"[\vert w_{i}\vert  \ge t]" in rows[2]
    assert repr(shown).splitlines()[1].startswith("conv.size")


def test_every_relation_and_policy_is_explained():
    used = {relation for e in REGISTRY.values() for s in e.sources for relation in s.relation}
    assert used <= set(RELATIONS)
    assert {symbol.outside for e in REGISTRY.values() for symbol in e.symbols} <= set(OUTSIDE)


def test_an_unknown_id_suggests_the_nearest():
    with pytest.raises(EquationError, match=r"did you mean 'conv\.corr2d'"):
        show("conv.cor2d")


@pytest.mark.parametrize("module", [minseg.equations.show, minseg.implements])
def test_examples_run(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_columns_line_up():
    assert columns([("a", "bcd", "e"), ("long", "x")], "  ") == "  a     bcd  e\n  long  x"
    assert "act.step" in table([get("act.step")])
    assert "out of scope" in table([get("act.step")])


# --------------------------------------------------------------------------------------------------------- the command


def test_the_table_lists_all_and_a_pattern_some(capsys):
    assert main(["equations"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(REGISTRY) + 1
    assert main(["equations", "opt.*"]) == 0
    assert all(line.startswith(("id ", "opt.")) for line in capsys.readouterr().out.splitlines())


def test_an_id_is_shown_and_an_unknown_one_is_an_error(capsys):
    assert main(["equations", "pool.max2d"]) == 0
    assert capsys.readouterr().out.startswith("pool.max2d: maximum of each window")
    assert main(["equations", "pool.max"]) == 2
    assert "did you mean 'pool.max2d'" in capsys.readouterr().err


def test_json_is_json(capsys):
    assert main(["equations", "--json"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == list(REGISTRY)
    assert main(["equations", "conv.size", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["operations"] == ["minseg.kernels.shapes.conv_size"]


def test_check_of_one_equation(capsys):
    assert main(["equations", "pool.avg2d", "--check"]) == 0
    out = capsys.readouterr().out
    assert "1 of 1 equations passed" in out
    assert "EQ-D1-3" in out
    assert "EQ-D3-3" in out
    assert "EQ-D4-1" not in out
    assert main(["equations", "pool.avg2d", "--check", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["equations"][0]["passed"]
    assert [p["item"] for p in report["printed"]] == ["EQ-D1-3", "EQ-D3-3"]


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_failure_is_told_and_ends_in_1(monkeypatch, capsys, flags):
    wrong = Outcome("pool.avg2d", 0.0, {"numpy": 1e-17, "numba": 2.5e-10}, 3)
    monkeypatch.setattr(equations_report, "check_all", lambda id, backends: [wrong])
    assert main(["equations", "pool.avg2d", "--check", *flags]) == 1
    assert ("FAILED" in capsys.readouterr().out) == (not flags)


def test_a_printed_formula_that_fails_ends_in_1(monkeypatch, capsys):
    wrong = PrintedOutcome("EQ-D1-3", "D1", "3.2", "reindexed", False, "NOT TRUE: equals pool.avg2d")
    monkeypatch.setattr(equations_report, "check_printed", lambda: [wrong])
    assert main(["equations", "pool.avg2d", "--check"]) == 1
    assert "0 of 1 printed formulas" in capsys.readouterr().out


def test_the_report_tells_what_is_approximate_and_what_has_no_samples():
    exact = Outcome("act.relu", 0.0, {"numpy": 2e-16}, 5)
    rough = Outcome("grad.central", 0.0, {"numpy": 2e-7}, 2, tolerance=3e-7)
    planned = Outcome("loss.jaccard", 1e-16, {}, 1)
    text = equations_report.report_text([exact, rough, planned], [], ["numpy"], 4)
    assert f"worst error 2.0e-16 (act.relu), at most {TOLERANCE:g} is allowed" in text
    assert "3 of 3 equations passed: each equals its loops, and 2 also the code on numpy" in text
    assert "grad.central: its code computes in float32 or approximates, 2.0e-07 of at most 3e-07" in text
    assert "1 without code have no samples" in text
