"""The training loop: steps, validation, checkpoints, and a resumed run that equals the uninterrupted one bit for bit.

What a step does depends only on the seed, the step's number and the state in the checkpoint: batches are a pure function of
(seed, step), and every Dropout gets a generator made of (seed, step, position).

On a GPU a step only queues its kernels, and the next may be queued before they have run. Whoever looks at a value waits until all
is computed; so there the losses stay on the device until they are shown, validated or saved, and a loss that is NaN is found then.
"""

import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from minseg.autograd import Tensor, tensor
from minseg.backend import current
from minseg.data.images import IGNORE
from minseg.errors import ArgumentError, DataError, FileError, MinsegError, NonFiniteError
from minseg.files import jsonable, read_json, write_json
from minseg.kernels import compiling
from minseg.optim import Constant, clip_grad_norm_, clip_grad_norm_unseen_
from minseg.weights import load_metadata, load_weights, save_weights

WITHOUT_LABELS = 50
"""So many batches in a row without a single label (or a whole training, if it is shorter) are an error."""


def stop_early(scores: Sequence[float], patience: int) -> bool:
    """Whether the best score, or the first of several equally good ones, is ``patience`` scores ago. NaN counts as the worst.

    >>> stop_early([0.5, 0.7, 0.6], 2), stop_early([0.5, 0.7, 0.6, 0.7], 2)
    (False, True)
    """
    if not len(scores):
        return False
    best = int(np.argmax([-math.inf if math.isnan(score) else score for score in scores]))
    return len(scores) - 1 - best >= patience  # eq: reg.early_stopping


class Trainer:
    """Train a model, validate it now and then, and keep its best and its last state in a folder.

    Parameters
    ----------
    model : Module
        Maps images (N, C, H, W) to logits.
    optimizer : Optimizer
    loss : callable
        (logits, labels) -> Tensor of one number.
    loader : Loader
        ``stream(start, stop)`` yields (images, labels) of each step.
    steps : int
        The step to stop at.
    out : path
        Folder for ``model.safetensors`` (the best so far), ``checkpoint.safetensors`` (the last), ``config.json`` and
        ``history.json``.
    validate : callable, optional
        model -> dict with at least ``mean_iou``, which decides which state is the best. Without it the last one is.
    validate_every : int
        Steps between validations, each followed by a checkpoint.
    schedule : callable, optional
        step -> learning rate; by default that of the optimizer, constant.
    clip : float, optional
        The norm that all gradients together may have (``clip_grad_norm_``).
    patience : int, optional
        Stop early: when this many validations in a row were no better than the best before them. ``fit`` returns True then.
    config : dict, optional
        What the run was made from; ``resume`` refuses a folder that was made from something else.
    seed : int
        For Dropout.
    progress : bool
        Report on stderr: a bar on a terminal, elsewhere a line now and then.

    Attributes
    ----------
    step : int
        Steps done.
    history : dict
        ``loss``: a number a step, NaN where there was nothing to learn; ``validation``: what ``validate`` said, with step and
        seconds.
    step_seconds : list of float
        How long each step took since this object was made. On a device a step only queues its work; there the steps whose losses
        are read together share the time from the start of the first to the end of the reading, when all is computed.
    stop : bool
        Set it (from a signal handler, say) and ``fit`` finishes its step, saves and returns False.

    A batch in which every pixel is ignored (255) is passed over with a warning that names its images: no update, and NaN for its
    loss. It would be the same batch again after a resume, so ending the training there would end it for good. Where there are
    only such batches for a long time, the data are at fault: DataError.
    """

    def __init__(
        self,
        model,
        optimizer,
        loss: Callable,
        loader,
        *,
        steps: int,
        out: str | os.PathLike,
        validate: Callable[[object], dict] | None = None,
        validate_every: int = 25,
        schedule: Callable[[int], float] | None = None,
        clip: float | None = None,
        patience: int | None = None,
        config: dict | None = None,
        seed: int = 0,
        progress: bool = True,
    ):
        if steps < 1 or validate_every < 1:
            raise ArgumentError(
                f"Trainer: steps and validate_every must be at least 1, got {steps} and {validate_every}"
            )
        if patience is not None and patience < 1:
            raise ArgumentError(f"Trainer: patience must be at least 1 validation, got {patience}")
        if patience is not None and validate is None:
            raise ArgumentError("Trainer: patience needs validate, whose mean_iou says what is better")
        self.model, self.optimizer, self.loss, self.loader = model, optimizer, loss, loader
        self.clip, self.patience = clip, patience
        self.steps, self.out, self.seed, self.progress = steps, Path(out), seed, progress
        self.validate, self.validate_every = validate, validate_every
        self.schedule = schedule or Constant(optimizer.lr)
        self.config = config or {}
        self.step = 0
        self.history: dict = {"loss": [], "validation": []}
        self.best_score, self.best_step = -math.inf, 0
        self.step_seconds: list[float] = []
        self.stop = False
        self._unread: list = []
        self._unread_since = 0.0
        self._seconds_before = 0.0

    # ---------------------------------------------------------------------------------------------------------- the loop

    def fit(self) -> bool:
        """Train up to ``steps``, or until it is no use; True if it got there, False if ``stop`` was set (the state is saved then).

        Raises
        ------
        NonFiniteError
            If the loss, a gradient that is to be clipped or a weight becomes NaN or infinite; the checkpoint before stays. On a
            device this is found when losses are fetched, some steps later but before anything is saved.
        DataError
            If the loss finds nothing to take its mean of; the message names the step and its images.
        FileError
            If a file cannot be written; the files before stay.
        """
        if self.step == 0:
            write_json(self.out / "config.json", self.config)
        self._started = time.perf_counter()
        self.model.train()
        if self.stopped_early:  # before a resume
            return True
        batches = self.loader.stream(self.step, self.steps)
        with closing(batches), Progress(self.steps, self.step, self.progress) as progress, progress.watching():
            told = len(self.history["loss"])
            for images, labels in batches:
                if (labels == IGNORE).all():
                    progress.warn(self._pass_over())
                else:
                    self.train_step(images, labels)
                if progress.due:
                    self.read_losses()
                progress.advance(*self.history["loss"][told:])
                told = len(self.history["loss"])
                if self.step % self.validate_every == 0 or self.step == self.steps:
                    self._validate(progress)
                    self.save_checkpoint()
                    if self.stopped_early:
                        return True
                if self.stop and self.step < self.steps:
                    self.save_checkpoint()
                    return False
        return True

    @property
    def stopped_early(self) -> bool:
        """Whether the last ``patience`` validations brought nothing better. Read from the history, so a resume sees it too."""
        if self.patience is None:
            return False
        scores = [math.nan if entry["mean_iou"] is None else entry["mean_iou"] for entry in self.history["validation"]]
        return stop_early(scores, self.patience)

    def train_step(self, images: np.ndarray, labels: np.ndarray) -> None:
        """One step: forward, backward, update."""
        started = time.perf_counter()
        if not self._unread:
            self._unread_since = started
        self._seed_dropout()
        self.optimizer.lr = self.schedule(self.step)
        self.optimizer.zero_grad()
        logits = self.model(tensor(images))
        try:
            loss = self.loss(logits, labels)
        except DataError as error:
            raise DataError(f"step {self.step}, {self._images()}: {error}") from error
        self._note(loss)
        loss.backward()
        if self.clip is not None:
            self._clip_gradients()
        self.optimizer.step()
        if current().on_host:
            self.step_seconds.append(time.perf_counter() - started)
        self.step += 1

    def _note(self, loss: Tensor) -> None:
        """Remember the loss: on the host it is read at once, on a device it is left there."""
        self._unread.append(loss.data.reshape(()))
        if current().on_host:
            self.read_losses()

    def read_losses(self) -> None:
        """Fetch the losses that are still on the device, all at once, into ``history``; NonFiniteError names the first bad step."""
        losses, self._unread = self._unread, []
        values = current().to_numpy(current().xp.stack(losses)).tolist() if losses else []
        if not current().on_host:
            self.step_seconds += [(time.perf_counter() - self._unread_since) / len(values) for _ in values]
        for value in values:
            if not math.isfinite(value):
                raise NonFiniteError(self._diverged(f"the loss became {value}", len(self.history["loss"])))
            self.history["loss"].append(value)

    def _clip_gradients(self) -> None:
        if not current().on_host:
            clip_grad_norm_unseen_(self.optimizer.params, self.clip)
            return
        try:
            clip_grad_norm_(self.optimizer.params, self.clip)
        except NonFiniteError as error:
            raise NonFiniteError(self._diverged("a gradient became NaN or infinite", self.step)) from error

    def _pass_over(self) -> str:
        """Count the step without an update; what to say about it. DataError if there were too many of them in a row."""
        what = f"step {self.step}: every pixel of {self._images()} is ignored"
        self.read_losses()
        self.history["loss"].append(math.nan)
        self.step += 1
        most = min(WITHOUT_LABELS, self.steps)
        recent = self.history["loss"][-most:]
        if len(recent) == most and all(map(_missing, recent)):
            raise DataError(
                f"{what}, and so it was in all of the last {most} steps; label more pixels, or train on larger crops or batches"
            )
        return f"{what}, so nothing is learned from it; larger crops or batches avoid such steps"

    def _images(self) -> str:
        """The images of this step's batch, as far as the loader can name them."""
        names = self.loader.names(self.step) if hasattr(self.loader, "names") else []
        names = list(dict.fromkeys(names))  # each once, however many crops of it there are
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"the batch ({', '.join(names[:3])}{more})" if names else "the batch"

    def _seed_dropout(self) -> None:
        for position, module in enumerate(self.model.modules()):
            if hasattr(module, "rng"):
                module.rng = np.random.default_rng((self.seed, self.step, position))

    def _validate(self, progress: "Progress") -> None:
        self._expect_finite()
        entry = {"step": self.step, "seconds": round(self.seconds, 3)}
        entry |= self.validate(self.model) if self.validate else {}
        self.history["validation"].append(entry)
        score = entry.get("mean_iou", float(self.step))  # without validation the last state counts as the best
        if score > self.best_score:
            self.best_score, self.best_step = score, self.step
            save_weights(self.model, self.out / "model.safetensors")
        progress.report(entry.get("mean_iou"))

    @property
    def seconds(self) -> float:
        """Time spent in ``fit``, that of the runs before a resume included."""
        return self._seconds_before + time.perf_counter() - self._started

    # ------------------------------------------------------------------------------------------------------- checkpoints

    def save_checkpoint(self) -> None:
        """Write history and checkpoint. In this order: a history that runs ahead is cut on resume."""
        self._expect_finite()
        write_json(self.out / "history.json", self.history)
        arrays = {f"model.{name}": array for name, array in self.model.state_dict().items()}
        arrays |= {f"optimizer.{name}": array for name, array in self.optimizer.state_dict().items()}
        numbers = {
            "step": self.step,
            "best_step": self.best_step,
            "best_score": self.best_score,
            "seconds": self.seconds,
        }
        save_weights(arrays, self.out / "checkpoint.safetensors", {name: repr(n) for name, n in numbers.items()})

    def resume(self) -> None:
        """Go back to the state of the folder's checkpoint.

        Raises
        ------
        FileError
            If there is none, it is damaged, or the folder's ``config.json`` differs from ``config`` (the keys are named).
        """
        self._expect_same_config()
        path = self.out / "checkpoint.safetensors"
        arrays, numbers = load_weights(path), load_metadata(path)
        history = read_json(self.out / "history.json")
        try:
            self.model.load_state_dict(_below("model.", arrays))
            self.optimizer.load_state_dict(_below("optimizer.", arrays))
            self.step, self.best_step = int(numbers["step"]), int(numbers["best_step"])
            self.best_score, self._seconds_before = float(numbers["best_score"]), float(numbers["seconds"])
            self.history = {
                "loss": history["loss"][: self.step],
                "validation": [entry for entry in history["validation"] if entry["step"] <= self.step],
            }
        except (KeyError, TypeError, ValueError, MinsegError) as error:
            raise FileError(f"{path} is not a checkpoint of this run: {error}") from error

    def _expect_same_config(self) -> None:
        stored = read_json(self.out / "config.json")
        differing = differences(stored, jsonable(self.config))
        if differing:
            raise FileError(
                f"cannot resume {self.out}: it was made with another configuration ({'; '.join(differing)}); "
                "resume with the same options and data, or train into another folder"
            )

    def _expect_finite(self) -> None:
        """No loss so far and no weight is NaN or infinite: only such a state may be saved."""
        self.read_losses()
        for name, array in self.model.state_dict().items():
            if array.dtype.kind == "f" and not current().xp.isfinite(array).all():
                raise NonFiniteError(self._diverged(f"{name} became NaN or infinite", self.step))

    def _diverged(self, what: str, step: int) -> str:
        path = self.out / "checkpoint.safetensors"
        kept = f"the last good state is kept in {path}" if path.exists() else "no state had been saved yet"
        return f"{what} at step {step}; {kept}. Try a smaller learning rate (it was {self.optimizer.lr:g})"


def differences(stored: dict, wanted: dict, prefix: str = "") -> list[str]:
    """What differs between two configurations, as ``key: stored -> wanted``.

    >>> differences({"lr": 0.1, "seed": 0}, {"lr": 0.2, "seed": 0})
    ['lr: 0.1 -> 0.2']
    """
    found = []
    for key in {**stored, **wanted}:  # in their own order
        here, there = stored.get(key), wanted.get(key)
        if isinstance(here, dict) and isinstance(there, dict):
            found += differences(here, there, f"{prefix}{key}.")
        elif here != there:
            found.append(f"{prefix}{key}: {here} -> {there}")
    return found


def _missing(loss: float | None) -> bool:
    """NaN, which files have as null."""
    return loss is None or math.isnan(loss)


def _below(prefix: str, arrays: dict) -> dict:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


MOST_WARNINGS = 3
SECONDS_BETWEEN_LOSSES = 0.5
"""How often a bar asks for losses that are still on a device."""


class Progress:
    """How far a training is: a bar on a terminal; elsewhere about ten lines in all, which a log keeps readable."""

    def __init__(self, steps: int, start: int, shown: bool):
        self.steps, self.done, self.shown = steps, start, shown
        self.started, self.start = time.perf_counter(), start
        self.loss, self.score = math.nan, None
        self.warned = 0
        self.compiled = False
        self.bar = None
        self.heard = self.started

    def __enter__(self) -> "Progress":
        if self.shown and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=self.steps, initial=self.start, unit="step", dynamic_ncols=True, leave=True)
        elif self.shown:
            print(f"training from step {self.start} to {self.steps}", file=sys.stderr, flush=True)
        return self

    def watching(self):
        """A block in which the kernels that are compiled are named, so that nobody wonders at a slow first step."""
        return compiling.watching(self._compiling)

    def _compiling(self, kernel: str) -> None:
        if self.bar is not None:
            self.bar.set_description(f"compiling kernels (once): {kernel}")
        elif self.shown and not self.compiled:
            print("compiling kernels (once; later runs find them compiled) ...", file=sys.stderr, flush=True)
        self.compiled = True

    def __exit__(self, *exception) -> None:
        if self.warned > MOST_WARNINGS:
            self._say(f"{self.warned - MOST_WARNINGS} more warnings like these")
        if self.bar is not None:
            self.bar.close()

    def warn(self, text: str) -> None:
        """Say something that must not be missed; of many such texts the first few, and at the end how many more there were."""
        self.warned += 1
        if self.warned <= MOST_WARNINGS:
            self._say(text)

    def _say(self, text: str) -> None:
        """On stderr with the rest, or as a Python warning where nothing is shown."""
        if not self.shown:
            warnings.warn(text, UserWarning, stacklevel=4)
        elif self.bar is None:
            print(f"warning: {text}", file=sys.stderr, flush=True)
        else:
            self.bar.write(f"warning: {text}", file=sys.stderr)

    @property
    def due(self) -> bool:
        """Whether the next ``advance`` should know all losses up to its own, because it shows them."""
        if self.bar is None:
            return self.shown and self._has_line(self.done + 1)
        return time.perf_counter() - self.heard > SECONDS_BETWEEN_LOSSES or self.done + 1 == self.steps

    def _has_line(self, step: int) -> bool:
        return step % max(1, self.steps // 10) == 0 or step == self.steps

    def advance(self, *losses: float) -> None:
        """One more step is done; and the losses, in order, that became known since: NaN if there was nothing to learn."""
        self.done += 1
        smooth = 0.9
        for loss in losses:
            self.heard = time.perf_counter()
            if not math.isnan(loss):
                self.loss = loss if math.isnan(self.loss) else smooth * self.loss + (1 - smooth) * loss
        if self.bar is not None:
            self.bar.set_description("training", refresh=False)
            self.bar.set_postfix_str(self._scores(), refresh=False)
            self.bar.update()
        elif self.shown and self._has_line(self.done):
            speed = 1000 * (time.perf_counter() - self.started) / (self.done - self.start)
            print(f"step {self.done}/{self.steps}  {self._scores()}  {speed:.0f} ms/step", file=sys.stderr, flush=True)

    def report(self, score: float | None) -> None:
        """A validation's mean IoU, shown from now on."""
        self.score = score
        if self.bar is not None:
            self.bar.set_postfix_str(self._scores())

    def _scores(self) -> str:
        return f"loss {self.loss:.3f}" + ("" if self.score is None else f"  held-out mIoU {self.score:.3f}")
