"""All 14 formulas that the documents print, to the letter, stand to the standard forms as the registry says."""

from pathlib import Path

import pytest

from minseg.testing.printed import CHECKS, check_formula, check_printed, printed_sources

ITEMS = [f"EQ-D1-{n}" for n in range(1, 6)] + [f"EQ-D3-{n}" for n in range(1, 6)] + [f"EQ-D4-{n}" for n in range(1, 5)]
DOCUMENTS = Path(__file__).resolve().parents[3] / "shared" / "documents"


def test_all_fourteen_hold():
    outcomes = check_printed()
    assert [outcome.item for outcome in outcomes] == ITEMS == sorted(CHECKS)
    assert not [outcome for outcome in outcomes if not outcome.ok]


def test_only_one_cannot_be_evaluated_and_the_reason_is_its_free_indices():
    refused = [outcome for outcome in check_printed() if "needs a definition" in outcome.relation]
    assert [outcome.item for outcome in refused] == ["EQ-D4-3"]
    assert "i is free" in refused[0].detail


@pytest.mark.parametrize(
    ("item", "old", "new"),
    [
        ("EQ-D1-1", "x-i", "x+i"),
        ("EQ-D1-2", "x+i", "x-i"),
        ("EQ-D1-3", "k^2", "k"),
        ("EQ-D1-4", "+", "-"),
        ("EQ-D1-5", "(z)", "(2z)"),
        ("EQ-D3-1", "-p+1", "-p"),
        ("EQ-D3-2", "p=1", "p=2"),
        ("EQ-D3-3", r"\frac{1}{k}", r"\frac{1}{k^2}"),
        ("EQ-D3-4", "-", "+"),
        ("EQ-D3-5", "n=1", "n=2"),
        ("EQ-D4-1", "Wx", "Wx + x"),
        ("EQ-D4-2", "+", "-"),
        ("EQ-D4-3", "x_{i,j}", "x_{1,j}"),
        ("EQ-D4-4", "+", "-"),
    ],
)
def test_a_formula_that_is_printed_otherwise_fails(item, old, new):
    latex = printed_sources()[item][0].printed
    assert check_formula(item, latex)[0]
    ok, detail = check_formula(item, latex.replace(old, new, 1))
    assert not ok, detail


@pytest.mark.parametrize("item", ITEMS)
def test_equations_agree_on_what_is_printed_and_where(item):
    sources = printed_sources()[item]
    assert len({(source.document, source.section, source.printed) for source in sources}) == 1
    assert item.startswith(f"EQ-{sources[0].document}-")


@pytest.mark.skipif(not DOCUMENTS.is_dir(), reason=f"the documents are not there: {DOCUMENTS}")
@pytest.mark.parametrize("item", ITEMS)
def test_the_document_prints_it_to_the_letter_in_that_section(item):
    source = printed_sources()[item][0]
    section, found = "", []
    for line in (DOCUMENTS / f"{source.document}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ").split()[0].rstrip(".")
        elif line.strip() == source.printed:
            found.append(section)
    assert found == [source.section]


@pytest.mark.skipif(not DOCUMENTS.is_dir(), reason=f"the documents are not there: {DOCUMENTS}")
def test_the_documents_display_no_other_formula():
    displayed = []
    for path in sorted(DOCUMENTS.glob("D*.txt")):
        lines = path.read_text(encoding="utf-8").splitlines()
        marks = [number for number, line in enumerate(lines) if line.strip() == "$$"]
        displayed += [" ".join(lines[a + 1 : b]).strip() for a, b in zip(marks[::2], marks[1::2])]
    assert displayed == [printed_sources()[item][0].printed for item in ITEMS]
