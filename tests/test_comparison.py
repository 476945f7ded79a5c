"""``minseg compare``: one recipe for all, scores of the last state, and finished networks that are not trained twice."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minseg
from minseg import backend, comparison, runs
from minseg.cli import main

SCENES = ["--data", "shapes,nuclei", "--models", "voccnn,unet", "--steps", "2", "--out", "found"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = backend.current().name
    yield
    minseg.use_backend(before)


@pytest.fixture
def quick(monkeypatch):
    """Little crops, on the backend that does not compile."""

    def settings(*args, **given):
        return replace(made(*args, **given), backend="numpy", crop=16, batch_size=2)

    made = runs.settings_for
    monkeypatch.setattr(runs, "settings_for", settings)


def test_it_writes_a_table_a_picture_and_each_run(quick, capsys):
    assert main(["compare", *SCENES]) == 0
    printed = capsys.readouterr()
    table = Path("found/table.md").read_text()
    assert table in printed.out
    head, rule, first, second, simple, *notes = table.splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        "network", "parameters", "multiply-adds", "`shapes`: mean of 4 classes", "`shapes`: step", "`nuclei`: nucleus",
        "`nuclei`: step",
    ]  # fmt: skip
    assert re.fullmatch(r"\| -+ (\| -+: )+\|", rule)
    assert {first.split()[1], second.split()[1]} == {"voccnn", "unet"}
    assert re.match(r"\| no network: best threshold .* 0\.788 ", simple)
    assert (
        "`nuclei`: 2 steps of 2 images, loss ce, optimizer adam with learning rate 0.01 (cosine), seed 0" in notes[-1]
    )
    Image.open("found/comparison.png").verify()
    found = json.loads(Path("found/comparison.json").read_text())
    scores = [network["score"] for network in found["shapes"]["networks"]]
    assert {float(line.split("|")[4]) for line in (first, second)} == {round(value, 3) for value in scores}
    assert len(re.findall(r"^\w+: \w+: IoU 0\.\d{3}, \d+ ms a step$", printed.err, re.MULTILINE)) == 4


def test_the_last_state_is_scored(quick, capsys):
    assert main(["compare", "--data", "nuclei", "--models", "voccnn", "--steps", "3", "--out", "found", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    (network,) = json.loads(printed.out)["nuclei"]["networks"]
    history = json.loads(Path("found/nuclei/voccnn/history.json").read_text())
    assert [entry["step"] for entry in history["validation"]] == [3]
    assert main(["evaluate", "found/nuclei/voccnn", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["classes"]["nucleus"]["iou"] == network["iou"]["nucleus"] == network["score"]


def test_what_is_finished_is_kept_and_what_is_not_is_trained(quick, capsys):
    assert main(["compare", *SCENES]) == 0
    first = json.loads(Path("found/comparison.json").read_text())
    Path("found/nuclei/unet/result.json").unlink()  # as if it had been interrupted there
    capsys.readouterr()
    assert main(["compare", *SCENES]) == 0
    again = capsys.readouterr().err
    assert again.startswith("nuclei: unet: IoU ")
    assert len(again.splitlines()) == 1
    second = json.loads(Path("found/comparison.json").read_text())
    for found in (first, second):
        found["nuclei"]["networks"][1].pop("step_ms")
    assert second == first


def test_other_settings_are_refused(quick, capsys):
    assert main(["compare", "--data", "nuclei", "--models", "voccnn", "--steps", "2", "--out", "found"]) == 0
    capsys.readouterr()
    assert main(["compare", "--data", "nuclei", "--models", "voccnn", "--steps", "3", "--out", "found"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "settings.steps: 2 -> 3" in line
    Path("found/nuclei/voccnn/result.json").write_text('{"model": "voccnn"}')
    assert main(["compare", "--data", "nuclei", "--models", "voccnn", "--steps", "2", "--out", "found"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "result.json is not the result of a comparison" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "unett"], "unknown model 'unett'; did you mean 'unet'"),
        (["--data", "nuclei,erth"], "unknown data 'erth'; did you mean 'earth'"),
        (["--steps", "0"], "steps must be positive, got 0"),
    ],
)
def test_a_wrong_word_is_found_before_the_work(options, message, capsys):
    assert main(["compare", *options, "--out", "found"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not Path("found").exists()


def test_the_recipe_is_the_data_sets_own_with_no_choice_among_states():
    for data in ("nuclei", "earth"):
        recipe, usual = comparison.recipe_for(data), runs.DEFAULTS[data]
        assert (recipe.loss, recipe.lr, recipe.optimizer) == (usual.loss, usual.lr, usual.optimizer)
        assert recipe.widths is None
        assert recipe.validate_every == recipe.steps


def test_scores_leave_out_absent_classes():
    assert comparison.score({"a": 0.5, "b": None, "c": 0.7}) == pytest.approx(0.6)
    assert comparison.score({"background": 0.9, "cell": 0.4}) == 0.4
    assert np.isnan(comparison.score({"a": None, "b": None, "c": None}))
