"""The commands as a user meets them: what they print and write, and one clear line for everything that can go wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minseg
from minseg import backend
from minseg.cli import main
from minseg.kernels.precision import is_precise
from minseg.testing.faults import full_disk
from minseg.weights import load_weights, save_weights

QUICK = ("--backend", "numpy", "--widths", "2,3", "--steps", "4", "--batch-size", "2", "--validate-every", "2")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = backend.current().name
    yield
    minseg.use_backend(before)
    minseg.precise(False)


def write_pictures(root: Path, count=6, size=(40, 36)):
    """Bright squares on dark ground as a paired folder."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for i in range(count):
        mask = np.zeros(size, np.uint8)
        top, left = rng.integers(0, 20, 2)
        mask[top : top + 14, left : left + 12] = 1
        mask[:2] = 255
        image = (120 * (mask == 1) + rng.integers(0, 60, size)).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"{i}.png")
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
    (root / "classes.txt").write_text("ground\nsquare\n")
    return root


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", "--data", f"folder:{pictures}", *QUICK, "--out", str(out)]) == 0
    return out


def test_precise_is_a_setting_of_the_run(pictures, capsys):
    """It holds while training, is kept in config.json, and holds again where the run is used or resumed."""
    assert main(["train", "--data", f"folder:{pictures}", *QUICK, "--precise", "--out", "run"]) == 0
    assert is_precise()
    assert json.loads(Path("run/config.json").read_text())["settings"]["precise"] is True
    minseg.precise(False)
    assert main(["evaluate", "run"]) == 0
    assert is_precise()
    assert main(["train", "--data", f"folder:{pictures}", *QUICK, "--out", "other"]) == 0
    assert not is_precise()
    assert main(["train", "--resume", "run"]) == 0
    assert is_precise()


def fails(capsys, *argv, code=2) -> str:
    """Run a command that must end in one line on stderr; return the line."""
    assert main([str(word) for word in argv]) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("training from", "step "))]
    assert len(lines) == 1, lines
    assert lines[0].startswith("minseg: error: ")
    return lines[0]


# ------------------------------------------------------------------------------------------------------------------- train


def test_train_ends_with_scores_and_pictures(pictures, capsys):
    assert main(["train", "--data", f"folder:{pictures}", *QUICK]) == 0
    printed = capsys.readouterr()
    assert re.search(r"square +0\.\d{3}", printed.out)
    assert "runs/folder/prediction.png" in printed.out
    assert "step 4/4" in printed.err
    run = Path("runs/folder")
    assert {path.name for path in run.iterdir()} == {
        "checkpoint.safetensors", "config.json", "curves.png", "history.json", "metrics.json", "model.safetensors",
        "prediction.png",
    }  # fmt: skip
    history = json.loads((run / "history.json").read_text())
    assert [entry["step"] for entry in history["validation"]] == [2, 4]
    assert json.loads((run / "metrics.json").read_text())["scores"]["classes"].keys() == {"ground", "square"}
    for name in ("prediction", "curves"):
        Image.open(run / f"{name}.png").verify()


def test_train_never_writes_over_a_run(pictures, capsys):
    for _ in range(2):
        assert main(["train", "--data", f"folder:{pictures}", *QUICK]) == 0
    assert Path("runs/folder/metrics.json").is_file()
    assert Path("runs/folder-2/metrics.json").is_file()
    capsys.readouterr()
    line = fails(capsys, "train", "--data", f"folder:{pictures}", *QUICK, "--out", "runs/folder")
    assert "holds a run already" in line


@pytest.mark.parametrize("loss", ["focal", "dice", "jaccard", "bce", "mse", "ce+dice", "ce+0.5*jaccard"])
def test_every_loss_falls(pictures, loss):
    quick = [*QUICK, "--steps", "15", "--loss", loss, "--schedule", "constant", "--out", "run"]
    assert main(["train", "--data", f"folder:{pictures}", *quick]) == 0
    losses = json.loads(Path("run/history.json").read_text())["loss"]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


@pytest.mark.parametrize(
    ("optimizer", "lr"),
    [("gd", 0.3), ("sgd", 0.05), ("nesterov", 0.05), ("keras-sgd", 0.05), ("rmsprop", 1e-3), ("adam", 1e-2), ("adamw", 1e-2)],
)  # fmt: skip
def test_the_loss_falls_with_every_optimizer(pictures, optimizer, lr):
    quick = [*QUICK, "--steps", "15", "--optimizer", optimizer, "--lr", str(lr), "--schedule", "step", "--out", "run"]
    assert main(["train", "--data", f"folder:{pictures}", *quick]) == 0
    losses = json.loads(Path("run/history.json").read_text())["loss"]
    assert np.mean(losses[-3:]) < 0.95 * np.mean(losses[:3])


def test_all_that_a_training_may_be_told_is_kept_and_resumed(pictures, capsys):
    options = ["--class-weights", "sqrt-median", "--optimizer", "adamw", "--weight-decay", "0.1", "--clip", "0.5"]
    options += ["--schedule", "polynomial", "--warm-up", "2", "--early-stopping", "3", "--loss", "focal+dice"]
    assert main(["train", "--data", f"folder:{pictures}", *QUICK, *options, "--out", "run"]) == 0
    config = json.loads(Path("run/config.json").read_text())
    square, ground = (
        14 * 12,
        40 * 36 - 2 * 36 - 14 * 12,
    )  # pixels in an image, but for squares that reach the ignored rows
    weights = config["class_weights"]
    assert weights[1] / weights[0] == pytest.approx((ground / square) ** 0.5, rel=0.05)
    settings = config["settings"]
    assert (settings["weight_decay"], settings["clip"], settings["warm_up"]) == (0.1, 0.5, 2)
    assert (settings["class_weights"], settings["early_stopping"]) == ("sqrt-median", 3)
    assert main(["train", "--resume", "run"]) == 0  # it is complete: no step, the same scores
    assert main(["evaluate", "run"]) == 0
    line = fails(capsys, "train", "--resume", "run", "--class-weights", "inverse")
    assert "settings.class_weights: sqrt-median -> inverse" in line


def test_early_stopping_says_so(pictures, capsys):
    """With a rate of almost nothing, no validation is better than the first but by chance."""
    options = ["--steps", "40", "--validate-every", "1", "--early-stopping", "2", "--lr", "1e-9"]
    assert main(["train", "--data", f"folder:{pictures}", *QUICK, *options, "--out", "run"]) == 0
    out = capsys.readouterr().out
    done = int(re.search(r"stopped early, after step (\d+) of 40: 2 validations in a row were no better", out)[1])
    assert done < 40
    assert len(json.loads(Path("run/history.json").read_text())["loss"]) == done
    assert main(["train", "--resume", "run"]) == 0
    assert f"stopped early, after step {done} of 40" in capsys.readouterr().out


def test_nuclei_is_the_default_and_stands_beside_its_baseline(capsys):
    assert main(["train", *QUICK, "--crop", "16"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"held-out IoU +network +best threshold", out)
    assert re.search(r"nucleus +0\.\d{3} +0\.78", out)


def test_two_runs_have_the_same_bits(pictures):
    for out in ("a", "b"):
        assert main(["train", "--data", f"folder:{pictures}", *QUICK, "--out", out]) == 0
    for name in ("model.safetensors", "prediction.png", "config.json"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()
    assert main(["train", "--data", f"folder:{pictures}", *QUICK, "--out", "c", "--seed", "1", "--steps", "1"]) == 0
    weights = [load_weights(f"{run}/model.safetensors") for run in "ac"]
    assert (weights[0]["encoder.0.0.weight"] != weights[1]["encoder.0.0.weight"]).all()


def test_resume_by_ctrl_c_gives_the_same_bits(pictures):
    command = [sys.executable, "-m", "minseg", "train", "--data", f"folder:{pictures}", *QUICK, "--steps", "100"]
    command += ["--validate-every", "1000", "--schedule", "constant", "--loss", "ce"]
    environment = {**os.environ, "PYTHONPATH": str(Path(minseg.__file__).parent.parent)}
    process = subprocess.Popen(
        [*command, "--out", "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    lines = iter(process.stderr.readline, "")
    next(line for line in lines if line.startswith("step "))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    stopped = re.search(r"stopped after step (\d+) of 100; go on with: minseg train --resume run", out)
    assert 0 < int(stopped[1]) < 100
    assert not Path("run/metrics.json").exists()

    assert main(["train", "--resume", "run"]) == 0
    assert main([*command[3:], "--out", "whole"]) == 0
    for name in ("model.safetensors", "prediction.png"):
        assert Path("run", name).read_bytes() == Path("whole", name).read_bytes()


def test_resume_takes_the_latest_run(pictures, capsys):
    for seed in ("1", "2"):
        main(["train", "--data", f"folder:{pictures}", *QUICK, "--seed", seed])
    later = time.time() + 10
    os.utime("runs/folder/history.json", (later, later))
    capsys.readouterr()
    assert main(["train", "--data", f"folder:{pictures}", "--resume"]) == 0
    assert "writing to runs/folder\n" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------ evaluate, predict


def test_evaluate_prints_what_training_found(trained, capsys):
    assert main(["evaluate", str(trained)]) == 0
    assert re.search(r"square +[01]\.\d{4}", capsys.readouterr().out)
    assert main(["evaluate", str(trained), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((trained / "metrics.json").read_text())["scores"]


def test_evaluate_scores_outlines_when_asked(trained, capsys):
    assert main(["evaluate", str(trained)]) == 0
    plain = capsys.readouterr().out
    assert re.search(r"frequency-weighted IoU [01]\.\d{4}", plain)
    assert "boundary" not in plain
    assert main(["evaluate", str(trained), "--boundary"]) == 0
    assert re.search(r"mean boundary F1 [01]\.\d{4} within 2 pixels", capsys.readouterr().out)
    assert main(["evaluate", str(trained), "--boundary", "0.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["boundary"]["tolerance"] == 0.5
    assert set(found["boundary"]["classes"]) == set(found["classes"])
    assert "tolerance must be a distance in pixels" in fails(capsys, "evaluate", trained, "--boundary", "-1")


@pytest.mark.parametrize("strength", ["none", "strong"])
def test_augmentation_is_chosen_and_kept(pictures, strength, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "--data", f"folder:{pictures}", *QUICK, "--augment", strength, "--out", str(out)]) == 0
    assert json.loads((out / "config.json").read_text())["settings"]["augment"] == strength
    capsys.readouterr()
    message = fails(capsys, "train", "--data", f"folder:{pictures}", "--augment", "strng")
    assert "unknown augmentation 'strng'; did you mean 'strong'" in message


def test_evaluate_on_other_data(trained, tmp_path, capsys):
    other = write_pictures(tmp_path / "other", count=3)
    assert main(["evaluate", str(trained), "--data", f"folder:{other}"]) == 0
    assert re.search("held-out part of folder:.*, 1 image\n", capsys.readouterr().out)
    assert "own classes" in fails(capsys, "evaluate", trained, "--data", "nuclei")


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (40, 36), (300, 280)])
def test_predict_images_of_any_size(trained, size, capsys):
    image = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    Image.fromarray(image).save("picture.png")
    assert main(["predict", str(trained), "picture.png", "--out", "found"]) == 0
    with Image.open("found/picture_mask.png") as mask:
        assert mask.mode == "P"
        assert mask.size == size[::-1]
        assert np.asarray(mask).max() <= 1
    with Image.open("found/picture_overlay.png") as overlay:
        assert overlay.size == size[::-1]


def test_predict_keeps_images_of_one_name_apart(trained):
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Image.new("L", (9, 9)).save(f"{folder}/x.png")
    assert main(["predict", str(trained), "a/x.png", "b/x.png", "--out", "found"]) == 0
    assert {p.name for p in Path("found").iterdir()} == {
        "x_mask.png", "x_overlay.png", "x-2_mask.png", "x-2_overlay.png",
    }  # fmt: skip


def test_the_crf_is_what_it_is_in_python(trained, pictures, capsys):
    from minseg import inference, runs
    from minseg.metrics import ConfusionMatrix
    from minseg.postprocess import dense_crf

    assert main(["evaluate", str(trained), "--crf", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    run = runs.open_run(trained)
    data = runs.open_data_of(run)
    confusion = ConfusionMatrix(2)
    for i in range(len(data.val)):
        image, mask = data.val[i]
        probabilities = dense_crf(inference.predict_logits(run.model, run.preprocess(image)), image, radius=3)
        confusion.update(probabilities.argmax(axis=0).astype(np.uint8), mask)
    assert found["counts"] == confusion.counts.tolist()
    assert main(["evaluate", str(trained), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] != found["counts"]

    assert main(["predict", str(trained), str(pictures / "images" / "0.png"), "--crf", "3", "--out", "found"]) == 0
    with Image.open(pictures / "images" / "0.png") as image, Image.open("found/0_mask.png") as mask:
        expected = runs.crf_labels(run.model, run.preprocess, np.asarray(image)[..., None], 3)
        assert np.array_equal(np.asarray(mask), expected)


def test_the_crf_counts_outlines_and_refuses_a_radius_of_nothing(trained, capsys):
    assert main(["evaluate", str(trained), "--crf", "--boundary"]) == 0
    assert "mean boundary F1" in capsys.readouterr().out
    assert main(["evaluate", str(trained), "--crf", "0"]) == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("minseg: error: dense_crf: iterations must be at least 0 and radius at least 1")
    )


# ----------------------------------------------------------------------------------------------------------------- bad input


def test_missing_and_unreadable_images(trained, capsys):
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n rubbish")
    Image.new("L", (9, 9)).save("good.png")
    assert "missing.png does not exist" in fails(
        capsys, "predict", trained, "good.png", "missing.png", "--out", "found"
    )
    assert "broken.png cannot be read" in fails(capsys, "predict", trained, "good.png", "broken.png", "--out", "found")
    assert not Path("found").exists()


def test_an_image_of_the_wrong_kind(trained, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)).save("colour.png")
    assert "3 channels" in fails(capsys, "predict", trained, "colour.png")


def spoil(root: Path, what: str) -> None:
    if what == "mask size":
        for mask in (root / "masks").iterdir():
            Image.new("L", (10, 10), 1).save(mask)
    elif what == "label":
        for mask in (root / "masks").iterdir():
            Image.new("L", (36, 40), 7).save(mask)
    elif what == "empty":
        for path in [*(root / "images").iterdir(), *(root / "masks").iterdir()]:
            path.unlink()
    elif what == "image":
        for path in (root / "images").iterdir():
            path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("mask size", r"is 40 high, 36 wide, but its mask .* is 10 high, 10 wide"),
        ("label", r"has label 7 at row 0, column 0, expected 0 to 1"),
        ("empty", r"holds no images"),
        ("image", r"cannot be read"),
    ],
)
def test_bad_training_data(tmp_path, what, message, capsys):
    root = write_pictures(tmp_path / "data")
    spoil(root, what)
    assert re.search(message, fails(capsys, "train", "--data", f"folder:{root}", *QUICK, "--out", "run"))
    assert not Path("run/checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--crop", "41"], r"smaller than the crop 41 high, 41 wide"),
        (["--model", "unit"], r"unknown model 'unit'; did you mean 'unet'\?"),
        (["--backend", "nunba"], r"unknown backend 'nunba'; did you mean 'numba'\?"),
        (["--loss", "cee"], r"unknown loss 'cee'; did you mean 'ce'\?"),
        (["--optimizer", "adan"], r"unknown optimizer 'adan'; did you mean 'adam'\?"),
        (["--loss", "ce+dise"], r"unknown loss 'dise' in 'ce\+dise'; did you mean 'dice'\?"),
        (["--loss", "dice", "--class-weights", "median"], r"loss 'dice' takes no class weights; only ce and focal do"),
        (["--class-weights", "medain"], r"unknown class weights 'medain'; did you mean 'median'\?"),
        (["--schedule", "cosin"], r"unknown schedule 'cosin'; did you mean 'cosine'\?"),
        (["--warm-up", "-3"], r"warm_up must be positive, got -3"),
        (["--warm-up", "4"], r"warm_up must be less than all 4 steps, got 4"),
        (["--clip", "0"], r"clip must be positive, got 0"),
        (["--weight-decay", "-1"], r"weight_decay must not be negative, got -1"),
        (["--early-stopping", "0"], r"early_stopping must be positive, got 0"),
        (["--steps", "0"], r"steps must be positive, got 0"),
        (["--lr", "-1"], r"lr must be positive, got -1"),
        (["--seed", "-1"], r"seed must not be negative"),
        (["--threads", "10000"], r"--threads must be 1 to \d+ on this machine"),
        (["--data", "nuclie"], r"unknown data 'nuclie'; did you mean 'nuclei'\? known: .*voc:DIR"),
        (["--data", "folder:nowhere"], r"nowhere is not a folder"),
        (["--resume", "nowhere"], r"nowhere is not the folder of a run"),
        (["--resume"], r"there is no run runs/folder to resume"),
    ],
)
def test_bad_options(pictures, options, message, capsys):
    line = fails(capsys, "train", "--data", f"folder:{pictures}", *QUICK, *options)
    assert re.search(message, line), line


def test_resume_with_another_configuration_names_it(trained, capsys):
    before = (trained / "config.json").read_bytes()
    line = fails(capsys, "train", "--resume", trained, "--lr", "0.5", "--seed", "3")
    assert re.search(r"another configuration \(settings\.lr: [\d.]+ -> 0\.5; settings\.seed: 0 -> 3[;)]", line)
    assert (trained / "config.json").read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "foreign", "rubbish", "missing", "config", "no folder"])
def test_damaged_runs(trained, tmp_path, damage, capsys):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(trained, run)
    model = run / "model.safetensors"
    if damage == "truncated":
        model.write_bytes(model.read_bytes()[:-100])
    elif damage == "foreign":
        save_weights({"somebody.elses": np.zeros(3, np.float32)}, model)
    elif damage == "rubbish":
        model.write_bytes(b"PK\x03\x04 not weights at all")
    elif damage == "missing":
        model.unlink()
    elif damage == "config":
        (run / "config.json").write_text('{"settings": {"what": 1}}')
    else:
        run = tmp_path / "nothing"
    for command in (["evaluate", run], ["predict", run, "x.png"]):
        assert str(run) in fails(capsys, *command)


def test_a_full_disk_leaves_nothing_half_written(pictures, trained, capsys):
    Image.new("L", (9, 9)).save("good.png")
    with full_disk():
        assert "No space left on device" in fails(
            capsys, "train", "--data", f"folder:{pictures}", *QUICK, "--out", "run"
        )
        assert "No space left on device" in fails(capsys, "predict", trained, "good.png", "--out", "found")
    assert list(Path("run").iterdir()) == []
    assert list(Path("found").iterdir()) == []


def test_a_loss_that_becomes_nan_says_when_and_keeps_the_last_state(pictures, capsys, monkeypatch):
    from minseg import runs

    steps = iter(range(100))
    ce = runs.nn.CrossEntropyLoss()
    monkeypatch.setattr(runs.nn, "parse_loss", lambda *_: lambda z, y: ce(z, y) * (np.nan if next(steps) == 3 else 1.0))
    line = fails(capsys, "train", "--data", f"folder:{pictures}", *QUICK, "--out", "run", "--loss", "ce")
    assert re.search(r"loss became nan at step 3; the last good state is kept in run/checkpoint\.safetensors", line)
    assert all(np.isfinite(array).all() for array in load_weights("run/checkpoint.safetensors").values())


def test_debug_shows_the_traceback():
    with pytest.raises(minseg.errors.ArgumentError):
        main(["train", "--debug", "--model", "unit"])


# --------------------------------------------------------------------------------------------------- gradcheck, doctor, help


def test_gradcheck_prints_a_table_and_fails_on_a_wrong_gradient(capsys, monkeypatch):
    from minseg.ops.activation import ReLU

    assert main(["gradcheck", "relu", "--backend", "numpy"]) == 0
    assert re.search(r"relu .*numpy.*e[-+]\d+", capsys.readouterr().out)
    backward = ReLU.backward
    monkeypatch.setattr(ReLU, "backward", lambda node, gy: tuple(1.01 * g for g in backward(node, gy)))
    assert main(["gradcheck", "relu", "--backend", "numpy", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["passed"] is False
    assert "did you mean 'relu'" in fails(capsys, "gradcheck", "rellu")


def test_doctor_says_that_all_is_well(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "numpy: works" in out
    assert "numba: works" in out
    assert out.strip().endswith("all is well")
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["backends"]["numpy"]["works"] is True


def test_doctor_says_what_is_broken(capsys, monkeypatch):
    def broken(*args):
        raise OSError("no such library")

    monkeypatch.setattr("minseg.kernels.cpu.pool.max_pool2d", broken)
    monkeypatch.delattr(backend.get("numba"), "max_pool2d", raising=False)
    assert main(["doctor"]) == 1
    assert "numba: OSError: no such library" in capsys.readouterr().out
    backend._make.cache_clear()


def test_help_needs_no_heavy_imports():
    code = (
        "import sys; from minseg.cli import parser; parser().format_help();"
        "print([name for name in ('numba', 'matplotlib', 'PIL', 'tqdm') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(minseg.__file__).parent.parent)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command", ["train", "evaluate", "predict", "gradcheck", "explain", "robustness", "compress", "bench", "doctor"]
)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 4
