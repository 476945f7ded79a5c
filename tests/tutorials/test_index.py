"""The index of the notebooks: everything is covered, nothing is claimed that is not so, and every link leads somewhere."""

import ast
import itertools
import re
from pathlib import Path
from unittest import mock

import pytest

from minseg import models
from minseg.equations import REGISTRY
from minseg.equations.errata import ERRATA
from minseg.equations.markdown import markdown
from minseg.errors import FileError
from minseg.testing.tutorials import index
from minseg.testing.tutorials.notebook import FOLDER, Cell, read_source, sources

ENTRIES = index.entries()
WRITTEN = [entry for entry in ENTRIES if entry.written]


def names(entries):
    return [entry.number for entry in entries]


def test_twelve_notebooks_in_order():
    assert names(ENTRIES) == [f"{number:02}" for number in range(1, 13)]
    assert all(needed < entry.number for entry in ENTRIES for needed in entry.needs)
    assert all(0 < entry.minutes <= 3 for entry in ENTRIES)


def test_every_source_is_in_the_index():
    assert {path.name for path in sources()} == {entry.source.name for entry in WRITTEN}


def test_every_equation_network_and_erratum_is_in_a_notebook():
    assert not index.uncovered()


@pytest.mark.parametrize("entry", WRITTEN, ids=names(WRITTEN))
def test_a_written_notebook_does_what_the_index_claims(entry):
    assert not index.false_claims(entry)


@pytest.mark.parametrize("entry", ENTRIES, ids=names(ENTRIES))
def test_the_index_names_only_what_there_is(entry):
    assert entry.claimed_equations() <= set(REGISTRY)
    assert set(entry.networks) <= {*models.NAMES, *index.PRINTED_NETWORKS}
    assert set(entry.errata) <= set(ERRATA)


def test_the_readme_has_every_row_of_the_index():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for entry in ENTRIES:
        assert entry.row() in text


# ------------------------------------------------------------------------------------------------ the tests of coverage fail


def an_entry(tmp_path, source=None, **changes):
    fields = {
        "number": "02", "name": "windows", "title": "", "builds": "", "picture": "", "minutes": 1, "needs": (),
        "equations": ("conv.size",), "networks": ("unet",), "errata": ("ERR-10",),
    } | changes  # fmt: skip
    if source is not None:
        (tmp_path / f"{fields['number']}_{fields['name']}.py").write_text(source, encoding="utf-8")
    return index.Entry(**fields)


@pytest.fixture
def folder(tmp_path):
    with mock.patch.object(index, "FOLDER", tmp_path):
        yield tmp_path


def test_a_notebook_that_is_not_written_covers_what_it_claims(folder):
    assert index.covered(an_entry(folder)).equations == {"conv.size"}


def test_a_written_notebook_covers_only_what_it_does(folder):
    entry = an_entry(folder, "# %% [markdown]\n# # Nothing, not even conv.size\n# %%\nx = 1\n")
    assert index.covered(entry).equations == set()
    assert index.false_claims(entry) == [
        'conv.size is not shown: show("conv.size")',
        "unet is not built",
        "ERR-10 is not named",
    ]


def test_showing_building_and_naming_keep_the_claims(folder):
    text = '# %% [markdown]\n# A puzzle (ERR-10).\n# %%\nshow("pool.avg2d", "conv.size")\nmodels.build("unet", 1, 2)\n'
    entry = an_entry(folder, text)
    assert not index.false_claims(entry)
    assert index.covered(entry).equations == {"pool.avg2d", "conv.size"}


@pytest.mark.parametrize(
    ("source", "built"),
    [
        ('models.build("unet", 1, 2)', {"unet"}),
        ('for name in ("unet", "fcn8s"):\n    build(name, 1, 2)', {"unet", "fcn8s"}),
        ('print("unet")', set()),
        ("printed.ConvNet(rng)", {"printed.ConvNet"}),
        ("printed.ConvNet", set()),
    ],
)
def test_a_network_is_built_only_by_a_call(source, built):
    assert index.built_networks(ast.parse(source)) == built


def test_what_no_notebook_claims_is_reported(folder):
    with mock.patch.object(index, "entries", return_value=[an_entry(folder)]):
        missing = index.uncovered()
    assert {"conv.corr2d", "fcn8s", "printed.Net", "ERR-01"} <= set(missing)
    assert not {"conv.size", "unet", "ERR-10", "ERR-65"} & set(missing)


def test_a_pattern_that_matches_nothing_is_an_error(folder):
    with pytest.raises(FileError, match=r"no equation is called conv\.corr3d"):
        an_entry(folder, equations=("conv.corr3d",)).claimed_equations()


# ------------------------------------------------------------------------------------------------------------ the sources


def test_a_source_is_read_into_cells(tmp_path):
    path = tmp_path / "01_a.py"
    path.write_text('# %% [markdown]\n# # Title\n#\n# text\n\n# %% tags=["exercise"]\nx = 1\n\n\n# %%\n# note\ny = 2\n')
    assert read_source(path) == [
        Cell(True, "# Title\n\ntext"),
        Cell(False, "x = 1", ("exercise",)),
        Cell(False, "# note\ny = 2"),
    ]


def test_text_before_the_first_cell_is_an_error(tmp_path):
    path = tmp_path / "01_a.py"
    path.write_text("import numpy\n# %%\n")
    with pytest.raises(FileError, match="begins with"):
        read_source(path)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.name[:2])
def test_a_sentence_stands_before_every_code_cell_with_something_new(path):
    cells = read_source(path)
    for before, cell in itertools.pairwise(cells):
        told = before.markdown or cell.text.startswith(("check(", "erratum("))
        told = told or "exercise" in before.tags or before.text.startswith(("show(", "printed("))
        assert cell.markdown or told, f"nothing introduces {cell.text[:60]!r}"


LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def links():
    texts = [(path.name, "\n".join(c.text for c in read_source(path) if c.markdown)) for path in sources()]
    texts.append(("README.md", (FOLDER / "README.md").read_text(encoding="utf-8")))
    return [(name, target, anchor) for name, text in texts for target, anchor in LINK.findall(text)]


def test_every_link_leads_to_a_file_and_its_anchor():
    planned = {entry.source.with_suffix(".ipynb").name for entry in ENTRIES if not entry.written}
    anchors = set(re.findall(r'<a id="([^"]+)">', markdown()))
    for name, target, anchor in links():
        path = (FOLDER / target).resolve() if target else FOLDER / name
        assert path.exists() or path.name in planned, f"{name}: {target} leads nowhere"
        if anchor and Path(target).name == "EQUATIONS.md":
            assert anchor in anchors, f"{name}: EQUATIONS.md has no {anchor}"


def test_links_are_found():
    assert LINK.findall("[a](b.md#c) [d](https://e.f) [g](h/i.py)") == [("b.md", "c"), ("h/i.py", "")]
