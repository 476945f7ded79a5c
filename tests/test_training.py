"""Training: a resumed run is the uninterrupted one, what goes wrong leaves the last good state."""

import json
import math

import numpy as np
import pytest

from minseg import inference, nn, optim, use_backend
from minseg.data import ArrayDataset, Compose, Loader, Preprocess, RandomCrop, RandomFlip
from minseg.errors import ArgumentError, DataError, FileError, NonFiniteError
from minseg.kernels import compiling
from minseg.metrics import ConfusionMatrix
from minseg.ops import cross_entropy
from minseg.optim import learning_rate
from minseg.testing.faults import full_disk
from minseg.training import Progress, Trainer, differences
from minseg.weights import load_metadata, load_weights, save_weights


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def a_dataset(count=5, size=12):
    rng = np.random.default_rng(3)
    masks = [rng.integers(0, 2, (size, size)).astype(np.uint8) for _ in range(count)]
    images = [(100 * mask + rng.integers(0, 100, mask.shape)).astype(np.uint8)[..., None] for mask in masks]
    return ArrayDataset(images, masks, [f"image {i}" for i in range(count)])


def a_model(seed=1):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.4), nn.Conv2d(4, 2, 1)
    )
    for p in model.parameters():
        p.data = rng.normal(0, 0.3, p.shape).astype(np.float32)
    return model


def a_trainer(out, steps=12, make_optimizer=optim.Adam, loss=cross_entropy, **options):
    dataset, model = a_dataset(), a_model()
    preprocess = Preprocess.fit(image for image, _ in dataset)
    loader = Loader(dataset, preprocess, Compose([RandomCrop(8), RandomFlip()]), batch_size=3, seed=5)

    def validate(model):
        counted = inference.evaluate(model, dataset, preprocess, ConfusionMatrix(2))
        return {"mean_iou": counted.mean_iou(), "iou": counted.iou().tolist()}

    options = {"validate": validate, "validate_every": 4, "config": {"lr": 0.01, "steps": steps}, "seed": 9} | options
    optimizer = make_optimizer(list(model.parameters()), lr=0.01)
    return Trainer(model, optimizer, loss, loader, steps=steps, out=out, progress=False, **options)


class StopAfter:
    """A loss that asks its trainer to stop during a given step, as Ctrl-C does."""

    def __init__(self, step):
        self.step, self.trainer = step, None

    def __call__(self, logits, labels):
        self.trainer.stop = self.trainer.step + 1 == self.step
        return cross_entropy(logits, labels)


def stopped_trainer(out, step, **options):
    loss = StopAfter(step)
    loss.trainer = trainer = a_trainer(out, loss=loss, **options)
    assert trainer.fit() is False
    assert trainer.step == step
    return trainer


def without_seconds(history):
    return history["loss"], [{k: v for k, v in entry.items() if k != "seconds"} for entry in history["validation"]]


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name, strict=True)


@pytest.mark.parametrize(
    "make_optimizer", [optim.Adam, lambda p, lr: optim.SGD(p, lr, momentum=0.9)], ids=["adam", "sgd"]
)
@pytest.mark.parametrize("stop_at", [1, 4, 7, 11])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path, stop_at, make_optimizer):
    schedule = learning_rate("cosine", 0.01, 12)
    whole = a_trainer(tmp_path / "whole", make_optimizer=make_optimizer, schedule=schedule)
    assert whole.fit() is True

    stopped_trainer(tmp_path / "parts", stop_at, make_optimizer=make_optimizer, schedule=schedule)
    resumed = a_trainer(tmp_path / "parts", make_optimizer=make_optimizer, schedule=schedule)
    resumed.resume()
    assert resumed.step == stop_at
    assert resumed.fit() is True

    assert_same_bits(whole.model.state_dict(), resumed.model.state_dict())
    assert_same_bits(whole.optimizer.state_dict(), resumed.optimizer.state_dict())
    assert without_seconds(whole.history) == without_seconds(resumed.history)
    assert (whole.best_score, whole.best_step) == (resumed.best_score, resumed.best_step)
    for name in ("model.safetensors", "checkpoint.safetensors"):
        assert_same_bits(load_weights(tmp_path / "whole" / name), load_weights(tmp_path / "parts" / name))


def test_a_run_that_was_killed_between_its_files_resumes_the_same(tmp_path):
    whole = a_trainer(tmp_path / "whole")
    whole.fit()
    stopped_trainer(tmp_path / "parts", 5)
    killed = a_trainer(tmp_path / "parts")
    killed.resume()
    killed.save_checkpoint = lambda: (
        None
    )  # killed after history and model of step 8 were written, before the checkpoint
    killed.steps = 8
    killed.fit()
    (tmp_path / "parts/history.json").write_text(json.dumps(killed.history))
    resumed = a_trainer(tmp_path / "parts")
    resumed.resume()
    assert resumed.step == 5
    resumed.fit()
    assert_same_bits(whole.model.state_dict(), resumed.model.state_dict())
    assert without_seconds(whole.history) == without_seconds(resumed.history)


def test_dropout_depends_on_the_step_and_the_seed_only(tmp_path):
    first, second = a_trainer(tmp_path), a_trainer(tmp_path)
    dropout = [list(t.model.modules())[4] for t in (first, second)]
    draws = []
    for trainer, module in zip((first, second), dropout, strict=True):
        module.rng.random(17)  # whatever was drawn before
        trainer._seed_dropout()
        draws.append(module.rng.random(4))
    np.testing.assert_array_equal(*draws)
    first.step = 1
    first._seed_dropout()
    assert (dropout[0].rng.random(4) != draws[0]).all()


def test_files_of_a_run(tmp_path):
    trainer = a_trainer(tmp_path)
    trainer.fit()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint.safetensors", "config.json", "history.json", "model.safetensors",
    ]  # fmt: skip
    history = json.loads((tmp_path / "history.json").read_text())
    assert len(history["loss"]) == 12
    assert [entry["step"] for entry in history["validation"]] == [4, 8, 12]
    assert history["loss"][-1] < history["loss"][0]
    best = max(entry["mean_iou"] for entry in history["validation"])
    model = a_model(seed=2)
    model.load_state_dict(load_weights(tmp_path / "model.safetensors"))
    trainer.model.load_state_dict(model.state_dict())
    assert trainer.validate(trainer.model)["mean_iou"] == best


def test_the_best_state_is_kept_though_later_ones_are_worse(tmp_path):
    scores, states = iter([0.5, 0.9, 0.3]), []

    def validate(model):
        states.append(model.state_dict())
        return {"mean_iou": next(scores)}

    trainer = a_trainer(tmp_path, validate=validate)
    trainer.fit()
    assert (trainer.best_step, trainer.best_score) == (8, 0.9)
    assert_same_bits(load_weights(tmp_path / "model.safetensors"), states[1])


def test_without_validation_the_last_state_is_kept(tmp_path):
    trainer = a_trainer(tmp_path, validate=None)
    trainer.fit()
    assert trainer.best_step == 12
    assert_same_bits(load_weights(tmp_path / "model.safetensors"), trainer.model.state_dict())


def test_the_schedule_sets_the_learning_rate(tmp_path):
    trainer = a_trainer(tmp_path, schedule=lambda step: 0.5 / (step + 1))
    trainer.fit()
    assert trainer.optimizer.lr == 0.5 / 12


def test_steps_must_be_positive(tmp_path):
    with pytest.raises(ArgumentError, match="at least 1, got 0 and 4"):
        a_trainer(tmp_path, steps=0)


def test_gradients_are_clipped_before_the_step(tmp_path):
    norms, before = [], {}

    class Watching(optim.SGD):
        def step(self):
            norms.append(math.sqrt(sum(float((p.grad.astype(float) ** 2).sum()) for p in self.params)))
            super().step()

    for clip in (None, 1e-3):
        norms.clear()
        a_trainer(tmp_path / str(clip), steps=4, make_optimizer=Watching, clip=clip).fit()
        before[clip] = list(norms)
    assert min(before[None]) > 0.01
    assert before[1e-3] == pytest.approx([1e-3] * 4, rel=1e-5)


# --------------------------------------------------------------------------------------------------------- early stopping


def scored(scores):
    """A validation that says the scores one after the other, by the number of validations before."""
    return lambda trainer: lambda model: {"mean_iou": scores[len(trainer.history["validation"])]}


def an_early_trainer(out, scores, patience=2, **options):
    trainer = a_trainer(out, steps=4 * len(scores), patience=patience, **options)
    trainer.validate = scored(scores)(trainer)
    return trainer


@pytest.mark.parametrize(
    ("scores", "patience", "last", "best"),
    [
        ([0.5, 0.4, 0.3, 0.9], 2, 3, 1),  # would have become better, but who knows
        ([0.5, 0.6, 0.5, 0.7, 0.6, 0.65, 0.9], 2, 6, 4),
        ([0.5, 0.5, 0.5, 0.5], 2, 3, 1),  # as good is not better
        ([0.5, 0.4, 0.6], 2, 3, 3),
        ([0.5, 0.4, 0.6], 1, 2, 1),
        ([math.nan, 0.1, math.nan, 0.05, 0.2], 2, 4, 2),
        ([0.1, 0.2, 0.3], 1, 3, 3),
    ],
)
def test_training_stops_when_it_is_no_use(tmp_path, scores, patience, last, best):
    trainer = an_early_trainer(tmp_path, scores, patience)
    assert trainer.fit() is True
    assert trainer.step == 4 * last
    assert len(trainer.history["validation"]) == last
    assert trainer.best_step == 4 * best
    assert trainer.stopped_early == (last < len(scores) or scores[-1] < max(scores))
    assert int(load_metadata(tmp_path / "checkpoint.safetensors")["step"]) == 4 * last


@pytest.mark.parametrize("stop_at", [2, 5, 8, 11])
def test_early_stopping_is_the_same_after_a_resume(tmp_path, stop_at):
    scores = [0.5, math.nan, 0.45, 0.3, 0.9]
    whole = an_early_trainer(tmp_path / "whole", scores)
    whole.fit()
    assert whole.step == 12

    loss = StopAfter(stop_at)
    loss.trainer = stopped = an_early_trainer(tmp_path / "parts", scores, loss=loss)
    assert stopped.fit() is False
    resumed = an_early_trainer(tmp_path / "parts", scores)
    resumed.resume()
    assert resumed.fit() is True
    assert resumed.step == 12
    assert_same_bits(whole.model.state_dict(), resumed.model.state_dict())
    assert_same_bits(whole.optimizer.state_dict(), resumed.optimizer.state_dict())

    again = an_early_trainer(tmp_path / "parts", scores)
    again.resume()
    assert again.fit() is True  # it is still no use
    assert again.step == 12


def test_patience_must_make_sense(tmp_path):
    with pytest.raises(ArgumentError, match="patience must be at least 1 validation, got 0"):
        a_trainer(tmp_path, patience=0)
    with pytest.raises(ArgumentError, match="patience needs validate"):
        a_trainer(tmp_path, patience=1, validate=None)


# ---------------------------------------------------------------------------------------------- batches without a label


def a_trainer_with_void(out, void, steps=12, **options):
    """Its batches of these steps are ignored altogether."""
    trainer = a_trainer(out, steps=steps, **options)
    batch = trainer.loader.batch

    def spoiled(step):
        images, labels = batch(step)
        return images, np.full_like(labels, 255) if step in void else labels

    trainer.loader.batch = spoiled
    return trainer


def test_a_batch_without_a_label_is_passed_over_with_a_word(tmp_path):
    whole = a_trainer_with_void(tmp_path / "whole", {2, 7})
    states = []
    whole.schedule = lambda step: states.append(whole.model.state_dict()) or 0.01
    with pytest.warns(UserWarning, match=r"step [27]: every pixel of the batch \(image \d, .*\) is ignored") as caught:
        assert whole.fit() is True
    assert len(caught) == 2
    assert "larger crops" in str(caught[0].message)
    assert whole.step == 12
    losses = whole.history["loss"]
    assert [step for step, loss in enumerate(losses) if math.isnan(loss)] == [2, 7]
    assert len(states) == 10  # no update in the other two
    assert json.loads((tmp_path / "whole/history.json").read_text())["loss"][2] is None


@pytest.mark.filterwarnings("ignore:step", "ignore:.* more warnings")
@pytest.mark.parametrize("stop_at", [2, 5, 9])
def test_batches_that_were_passed_over_are_so_after_a_resume(tmp_path, stop_at):
    whole = a_trainer_with_void(tmp_path / "whole", {2, 7})
    whole.fit()
    loss = StopAfter(stop_at)
    loss.trainer = stopped = a_trainer_with_void(tmp_path / "parts", {2, 7}, loss=loss)
    assert stopped.fit() is False
    resumed = a_trainer_with_void(tmp_path / "parts", {2, 7})
    resumed.resume()
    resumed.fit()
    assert_same_bits(whole.model.state_dict(), resumed.model.state_dict())
    assert_same_bits(whole.optimizer.state_dict(), resumed.optimizer.state_dict())
    np.testing.assert_array_equal(
        np.array(whole.history["loss"], float), np.array(resumed.history["loss"], float), strict=True
    )


@pytest.mark.filterwarnings("ignore:step", "ignore:.* more warnings")
@pytest.mark.parametrize(("steps", "most"), [(12, 12), (80, 50)])
def test_data_without_any_label_are_an_error(tmp_path, steps, most):
    trainer = a_trainer_with_void(tmp_path, range(steps), steps=steps, validate=None)
    with pytest.raises(DataError, match=rf"step {most - 1}: .* in all of the last {most} steps; label more pixels"):
        trainer.fit()


def test_many_warnings_are_counted_and_not_repeated(capsys):
    with Progress(30, 0, True) as progress:
        for step in range(30):
            progress.warn(f"step {step} was odd")
            progress.advance(math.nan if step < 29 else 0.5)
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert lines == [*(f"warning: step {step} was odd" for step in range(3)), "warning: 27 more warnings like these"]
    assert progress.loss == 0.5  # NaN does not stick


def test_a_loss_that_finds_nothing_names_the_step_and_the_images(tmp_path):
    """Labels that are ignored by the loss alone: only it can know."""
    trainer = a_trainer(tmp_path, loss=lambda z, t: cross_entropy(z, t, weight=np.zeros(2, np.float32)))
    with pytest.raises(DataError, match=r"step 0, the batch \(image \d, image \d.*\): cross_entropy: the weights"):
        trainer.fit()


# --------------------------------------------------------------------------------------------------------- what goes wrong


def test_nan_loss_stops_at_its_step_and_keeps_the_last_good_state(tmp_path):
    def loss(logits, labels):
        return cross_entropy(logits, labels) * (np.nan if trainer.step == 6 else 1.0)

    trainer = a_trainer(tmp_path, loss=loss)
    with pytest.raises(
        NonFiniteError, match=r"the loss became nan at step 6; .*kept in .*checkpoint\.safetensors.*learning rate"
    ):
        trainer.fit()
    kept = load_weights(tmp_path / "checkpoint.safetensors")
    assert all(np.isfinite(array).all() for array in kept.values())
    resumed = a_trainer(tmp_path)
    resumed.resume()
    assert resumed.step == 4


def test_weights_that_become_infinite_are_never_saved(tmp_path):
    trainer = a_trainer(tmp_path, loss=cross_entropy, validate=None)
    step = trainer.optimizer.step

    def spoil():
        step()
        if trainer.step == 7:
            p = next(trainer.model.parameters())
            p.data = np.full_like(p.data, np.inf)

    trainer.optimizer.step = spoil
    with pytest.raises(NonFiniteError):
        trainer.fit()
    for name in ("checkpoint", "model"):
        assert all(np.isfinite(array).all() for array in load_weights(tmp_path / f"{name}.safetensors").values())


def test_a_full_disk_leaves_the_files_before(tmp_path):
    stopped_trainer(tmp_path, 5)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    trainer = a_trainer(tmp_path)
    trainer.resume()
    with full_disk(), pytest.raises(FileError, match="No space left on device"):
        trainer.fit()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_resume_refuses_another_configuration_and_names_it(tmp_path):
    stopped_trainer(tmp_path, 5)
    trainer = a_trainer(tmp_path, config={"lr": 0.02, "steps": 12, "extra": {"deep": 1}})
    with pytest.raises(FileError, match=r"another configuration \(lr: 0\.01 -> 0\.02; extra: None -> "):
        trainer.resume()


def test_differences_name_nested_keys():
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ["a.c: 2 -> 3"]
    assert differences({"a": 1}, {"a": 1}) == []


@pytest.mark.parametrize("damage", ["missing", "truncated", "weights only", "other model", "no history", "no config"])
def test_resume_from_damaged_files_is_one_clear_error(tmp_path, damage):
    stopped_trainer(tmp_path, 5)
    path = tmp_path / "checkpoint.safetensors"
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-7])
    elif damage == "weights only":
        save_weights(a_model(), path)
    elif damage == "other model":
        arrays = load_weights(path)
        del arrays["model.0.weight"]
        save_weights(arrays, path, {"step": "5", "best_step": "4", "best_score": "0.1", "seconds": "1.0"})
    elif damage == "no history":
        (tmp_path / "history.json").unlink()
    else:
        (tmp_path / "config.json").write_text("[")
    trainer = a_trainer(tmp_path)
    with pytest.raises(FileError) as caught:
        trainer.resume()
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_errors_of_the_loader_end_the_training(tmp_path):
    trainer = a_trainer(tmp_path)
    trainer.loader.transform = RandomCrop(13)
    with pytest.raises(DataError, match="smaller than the crop"):
        trainer.fit()


# ---------------------------------------------------------------------------------------------------------------- progress


def test_progress_without_a_terminal_is_a_few_lines(capsys):
    with Progress(1000, 0, True) as progress:
        for _ in range(1000):
            progress.advance(0.5)
        progress.report(0.25)
        progress.advance(0.5)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert "\r" not in "".join(lines)
    assert lines[-1].startswith("step 1000/1000  loss 0.500")


def test_progress_says_once_that_kernels_are_compiled_and_nothing_where_they_are_not(capsys):
    with Progress(10, 0, True) as progress, progress.watching():
        progress.advance(0.5)
    assert "compiling" not in capsys.readouterr().err
    with Progress(10, 0, True) as progress, progress.watching():
        compiling.announce("correlate")
        compiling.announce("product")
        progress.advance(0.5)
    assert capsys.readouterr().err.count("compiling kernels (once") == 1


def test_the_bar_names_the_kernel_that_is_compiled(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress(10, 0, True) as progress, progress.watching():
        compiling.announce("correlate")
        progress.advance(0.5)
    assert "compiling kernels (once): correlate" in capsys.readouterr().err
    assert progress.bar.desc.startswith("training")


def test_progress_says_nothing_when_not_asked(capsys):
    with Progress(10, 0, False) as progress, progress.watching():
        compiling.announce("correlate")
        progress.advance(0.5)
    assert capsys.readouterr() == ("", "")
