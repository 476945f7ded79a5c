"""The commands that ask something of a trained run: what they print and write."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import minseg
from minseg import backend
from minseg.cli import main
from minseg.compress import load_int8
from minseg.weights import load_weights

QUICK = ("--backend", "numpy", "--widths", "2,3", "--steps", "2", "--batch-size", "2", "--crop", "16")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = backend.current().name
    yield
    minseg.use_backend(before)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / "data" / kind).mkdir(parents=True)
    for i in range(5):
        mask = np.zeros((26, 22), np.uint8)
        mask[6:16, 3 + i : 14 + i] = 1
        Image.fromarray((120 * mask + rng.integers(0, 60, mask.shape)).astype(np.uint8)).save(
            root / "data" / "images" / f"{i}.png"
        )
        Image.fromarray(mask).save(root / "data" / "masks" / f"{i}.png")
    (root / "data" / "classes.txt").write_text("ground\nsquare\n")
    before = backend.current().name
    assert main(["train", "--data", f"folder:{root / 'data'}", *QUICK, "--out", str(root / "run")]) == 0
    minseg.use_backend(before)
    return root / "run"


def fails(capsys, *argv) -> str:
    assert main([str(word) for word in argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_explain_writes_pictures(run, capsys):
    Path("other").mkdir()
    for path in ("a.png", "other/a.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (18, 25), np.uint8)).save(path)
    command = ["explain", str(run), "a.png", "other/a.png", "--class", "square", "--pixel", "3,20", "--out", "why"]
    assert main(command) == 0
    written = {path.name for path in Path("why").iterdir()}
    assert written == {
        "graph.svg", "filters.png", "a_explained.png", "a_features.png", "a-2_explained.png", "a-2_features.png",
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert all(f"wrote why/{name}\n" in printed for name in written)
    text = " ".join(ElementTree.parse("why/graph.svg").getroot().itertext())
    assert "encoder.0.0.weight (2, 1, 3, 3)" in text
    assert "BatchNormTraining" not in text
    Image.open("why/a_explained.png").verify()
    first = Path("why/a_explained.png").read_bytes()
    assert main([*command[:3], *command[4:-1], "again"]) == 0
    assert Path("again/a_explained.png").read_bytes() == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--class", "squar"], "has no class 'squar'; did you mean 'square'"),
        (["--pixel", "1,2,3"], "a pixel is a row and a column"),
        (["--pixel", "18,0"], "lies outside of the image, 18 high, 25 wide"),
        (["--layer", "encodr.0", "--pixel", "1,1"], "no layer 'encodr.0'; did you mean 'encoder.0"),
    ],
)
def test_explain_says_what_is_wrong(run, options, message, capsys):
    Image.new("L", (25, 18)).save("a.png")
    assert message in fails(capsys, "explain", run, "a.png", "--out", "why", *options)
    assert not list(Path().glob("why/a_*"))


def test_robustness_writes_curves(run, capsys):
    assert main(["robustness", str(run)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"noise +0 +2 +4 +8 +16 +32\nmean IoU( +[01]\.\d{3}){6}\n", out)
    found = json.loads((run / "robustness.json").read_text())
    Image.open(run / "robustness.png").verify()
    assert found["damages"].keys() == {"noise", "blur", "contrast"}
    assert main(["evaluate", str(run), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    for damage in found["damages"].values():
        assert damage["mean_iou"][0] == scores["mean_iou"], "the first strength is harmless"
        assert damage["iou"]["square"][0] == scores["classes"]["square"]["iou"]
    assert main(["robustness", str(run), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == found
    assert printed.err == ""


def test_compress_scores_every_variant(run, capsys):
    before = (run / "model.safetensors").read_bytes()
    assert main(["compress", str(run), "--shares", "0.5", "--fine-tune", "2"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"as trained +\d+ +[\d,]+ +[01]\.\d{3}\n", out)
    assert re.search(r"50 % of all left out, trained on for 2 steps +\d+ +- +[01]\.\d{3}\n", out)
    found = json.loads((run / "compressed" / "compress.json").read_text())
    by_name = {row["name"]: row for row in found["variants"]}
    assert by_name["as trained"]["bytes"] == len(before)
    assert found["int8"]["bytes_int8"] == (run / "compressed" / "model-int8.safetensors").stat().st_size
    pruned = by_name["50 % of all left out"]["nonzero"]
    assert pruned < 0.65 * by_name["as trained"]["nonzero"]
    tuned = load_weights(run / "compressed" / "pruned-50" / "model.safetensors")
    weights = [array for name, array in tuned.items() if array.ndim >= 2]
    total = sum(array.size for array in weights)
    assert sum(int(np.count_nonzero(array)) for array in weights) <= total - round(0.5 * total)
    assert load_int8(run / "compressed" / "model-int8.safetensors").keys() == tuned.keys()
    assert (run / "model.safetensors").read_bytes() == before


def test_compress_with_an_impossible_share_does_nothing(run, capsys):
    line = fails(capsys, "compress", run, "--shares", "0.5,1.5")
    assert "must be 0 to 1, got 1.5" in line
