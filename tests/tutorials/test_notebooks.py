"""The committed notebooks: their code is the source's, their outputs are clean; and the builder and the comparison see what is not.

Executing all of them is the work of ``minseg tutorials --check``; here only what needs no Jupyter, and one tiny build where it is.
"""

import base64
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from minseg import viz
from minseg.cli import main
from minseg.errors import ArgumentError, FileError
from minseg.testing.tutorials import command, compare, erratum, index, printed, steps
from minseg.testing.tutorials.build import LIMIT_BYTES, expect_clean
from minseg.testing.tutorials.notebook import ROOT, Cell, executed, joined, read_source, sources

each_notebook = pytest.mark.parametrize("source", sources(), ids=lambda source: source.name[:2])


@each_notebook
def test_the_committed_notebook_is_its_source(source):
    assert not compare.stale(executed(source), read_source(source))


@each_notebook
def test_every_cell_has_run_in_order_and_left_nothing_of_this_machine(source):
    notebook = executed(source)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert [cell["id"] for cell in notebook["cells"]] == [f"c{i:03}" for i in range(len(notebook["cells"]))]
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert set(cell["metadata"]) <= {"tags"}
        for output in cell["outputs"]:
            expect_clean(output, cell["id"])


@each_notebook
def test_a_notebook_is_small_and_its_pictures_fit_a_page(source):
    assert source.with_suffix(".ipynb").stat().st_size <= LIMIT_BYTES
    pictures = list(pictures_of(executed(source)))
    assert pictures, "a notebook ends with a picture"
    for data in pictures:
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert picture.width <= 860
        assert len(data) <= 100_000


@each_notebook
def test_a_notebook_says_what_it_builds_and_ends_with_its_picture_and_what_to_read(source):
    cells = read_source(source)
    assert "**What you will build:**" in cells[0].text
    assert "**The picture at the end:**" in cells[0].text
    assert cells[-1].text.startswith("## What to read next")
    last_code = [cell for cell in executed(source)["cells"] if cell["cell_type"] == "code"][-1]
    assert any("image/png" in output.get("data", {}) for output in last_code["outputs"])


@each_notebook
def test_every_check_of_a_stub_answers_in_one_kind_sentence(source):
    cells = [c for c in executed(source)["cells"] if joined(c["source"]).startswith("check(")]
    assert len(cells) >= 3
    for cell in cells:
        (output,) = cell["outputs"]
        assert "not written yet" in joined(output["data"]["text/plain"])


def pictures_of(notebook):
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield output["data"]["image/png"]


@each_notebook
def test_jupytext_reads_the_same_cells(source):
    jupytext = pytest.importorskip("jupytext", reason="the extra 'tutorials' is not installed")
    cells = jupytext.read(source).cells
    assert [(c.cell_type == "markdown", c.source) for c in cells] == [(c.markdown, c.text) for c in read_source(source)]


# --------------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ({"output_type": "error", "ename": "ValueError"}, "a traceback: ValueError"),
        ({"output_type": "stream", "name": "stderr", "text": "DeprecationWarning"}, "stderr"),
        ({"output_type": "stream", "name": "stdout", "text": f"read {ROOT}/x"}, "a path of this machine"),
        ({"output_type": "execute_result", "data": {"text/plain": "'/home/me/x'"}}, "a path of this machine"),
        ({"output_type": "execute_result", "data": {"text/plain": "<function f at 0x7f0012345678>"}}, "an address"),
    ],
)
def test_what_a_reader_should_not_meet_is_refused(output, told):
    with pytest.raises(FileError, match=told):
        expect_clean(output, "cell c001")


def test_a_clean_output_passes():
    expect_clean({"output_type": "stream", "name": "stdout", "text": "a/b is 1/2, solutions/01.py\n"}, "cell c001")


# ----------------------------------------------------------------------------------------------------------- the comparison


def a_notebook(*outputs, code="f()"):
    cell = {"cell_type": "code", "id": "c000", "source": code, "outputs": list(outputs)}
    return {"cells": [cell]}


def said(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def drawn(shade, size=(40, 30)):
    buffer = io.BytesIO()
    Image.new("L", size, shade).save(buffer, format="PNG")
    return {"output_type": "execute_result", "data": {"image/png": base64.b64encode(buffer.getvalue()).decode()}}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (said("IoU 0.90"), said("IoU  0.91"), None),
        (said("IoU 0.90"), said("IoU 0.70"), "has 0.70 where 0.90 is committed"),
        (said("IoU 0.90"), said("Dice 0.90"), "says 'Dice 0.90'"),
        (said("a"), drawn(0), "a picture too many"),
        (drawn(100), drawn(103), None),
        (drawn(100), drawn(140), "differs by 40.0 grey levels"),
        (drawn(100), drawn(100, size=(40, 31)), "picture of (40, 31) pixels"),
    ],
)
def test_outputs_are_compared_with_tolerance(old, new, told):
    found = compare.differences(a_notebook(old), a_notebook(new))
    assert (told is None) == (not found)
    assert told is None or any(told in line for line in found), found


def test_a_missing_output_is_seen():
    assert compare.differences(a_notebook(said("a")), a_notebook()) == ["cell c000 has 0 outputs, committed are 1"]


def test_fast_mode_compares_up_to_the_first_cell_that_trains(monkeypatch):
    old, new = a_notebook(said("a"), code="train(steps(100))"), a_notebook(said("b"), code="train(steps(100))")
    assert compare.differences(old, new)
    monkeypatch.setenv("MINSEG_FAST", "1")
    assert not compare.differences(old, new)
    assert steps(150) == 15
    assert steps(5) == 2
    monkeypatch.setenv("MINSEG_FAST", "0")
    assert steps(150) == 150


def test_code_is_compared_to_the_letter():
    source = [Cell(False, "f( )")]
    assert compare.stale(a_notebook(), source) == ["cell c000 is not the source's: 'f( )'"]
    assert not compare.stale(a_notebook(code=["f(", " )"]), source)
    assert "1 cells are committed, the source has 2" in compare.stale(a_notebook(), source * 2)[0]


# ------------------------------------------------------------------------------------------------------------- the builder


BUILD = """
import sys
from pathlib import Path
from minseg.testing.tutorials.build import build
print(build(Path(sys.argv[1])).text())
"""


def built(path, **environment):
    return subprocess.run(
        [sys.executable, "-c", BUILD, str(path)], capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_two_builds_are_the_same_bytes_and_a_failing_cell_is_told(tmp_path):
    pytest.importorskip("nbclient", reason="the extra 'tutorials' is not installed")
    source = tmp_path / "01_tiny.py"
    source.write_text(
        "# %% [markdown]\n# Numbers\n# %%\nimport numpy as np\nfrom minseg import viz\nprint(1)\nprint(2)\n"
        'viz.matrices_figure({"a": np.eye(2)})\n# %% tags=["full"]\nprint("only in full")\n'
    )
    first, second = built(source), built(source)
    assert first.stdout == second.stdout
    assert first.returncode == 0, first.stderr
    notebook = json.loads(first.stdout)
    stream, picture = notebook["cells"][1]["outputs"]
    assert joined(stream["text"]) == "1\n2\n"
    assert "image/png" in picture["data"]
    assert len(json.loads(built(source, MINSEG_FAST="1").stdout)["cells"]) == 2
    source.write_text("# %%\n1 / 0\n")
    assert "ZeroDivisionError" in built(source).stderr


# ------------------------------------------------------------------------------------------------- what notebooks show, and list


def test_a_figure_shows_itself_as_the_same_png_each_time():
    first, second = (viz.matrices_figure({"a": np.eye(3)})._repr_png_() for _ in range(2))
    assert first == second
    picture = Image.open(io.BytesIO(first))
    assert picture.width == 640
    assert not picture.info


def test_printed_formulas_and_errata_are_shown_and_unknown_ones_told():
    assert r"\frac{1}{k} \sum" in printed("EQ-D3-3")._repr_markdown_()
    shown = erratum("ERR-10")
    assert "5, 10, 15" in shown._repr_markdown_()
    assert "5, 10, 15" in repr(shown)
    assert "No computation proves it" in erratum("ERR-65")._repr_markdown_()
    with pytest.raises(ArgumentError, match="unknown formula"):
        printed("EQ-D9-9")
    with pytest.raises(ArgumentError, match="unknown erratum"):
        erratum("ERR-99")


def test_the_command_lists_and_refuses_what_it_cannot(monkeypatch, capsys):
    monkeypatch.delenv("MINSEG_FAST", raising=False)
    assert main(["tutorials"]) == 0
    assert all(entry.title in capsys.readouterr().out for entry in index.entries()[:1])
    assert main(["tutorials", "13"]) == 2
    assert "there is no notebook 13" in capsys.readouterr().err
    assert main(["tutorials", "--build", "--fast"]) == 2
    assert "trains in full" in capsys.readouterr().err
    assert "MINSEG_FAST" not in os.environ


def an_execution(notebook, seconds):
    """What building gives, without a kernel."""
    return SimpleNamespace(notebook=notebook, seconds=seconds, text=lambda: json.dumps(notebook))


@pytest.fixture
def executing(monkeypatch):
    """Let ``minseg tutorials`` find this outcome instead of executing anything."""
    monkeypatch.delenv("MINSEG_FAST", raising=False)

    def find(notebook, seconds=1.0):
        monkeypatch.setattr(command, "build", lambda source: an_execution(notebook, seconds))

    return find


def test_a_check_passes_where_everything_is_as_committed(executing, capsys):
    executing(executed(index.find("01").source))
    assert main(["tutorials", "--check", "01"]) == 0
    assert "01_pixels_with_names.py: ok" in capsys.readouterr().out


def test_a_check_fails_for_an_output_that_changed_and_for_a_notebook_that_is_too_slow(executing, capsys):
    notebook = executed(index.find("01").source)
    executing(notebook, seconds=100.0)
    assert main(["tutorials", "--check", "01"]) == 1
    assert "01 took 100 s, index.toml says 1 minutes" in capsys.readouterr().out
    first = next(cell for cell in notebook["cells"] if cell.get("outputs"))
    first["outputs"] = []
    executing(notebook)
    assert main(["tutorials", "--check", "01"]) == 1
    assert "NOT AS COMMITTED" in capsys.readouterr().out


def test_a_check_fails_for_code_that_is_not_the_sources_without_executing(executing, monkeypatch, capsys):
    executing(None)
    monkeypatch.setattr(command, "read_source", lambda path: [Cell(False, "something else")])
    assert main(["tutorials", "--check", "01"]) == 1
    assert "the source has 1" in capsys.readouterr().out


def test_a_notebook_that_is_too_large_is_not_written(executing, capsys):
    executing({"x": "y" * LIMIT_BYTES})
    assert main(["tutorials", "--build", "01"]) == 2
    assert "at most 500000 are allowed" in capsys.readouterr().err
