"""A run: the settings that it is made from, the folder that it leaves, and the scores and pictures at its end."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from minseg import data as datasets
from minseg import inference, models, nn, optim, viz
from minseg.backend import get, use_backend
from minseg.data import SegmentationData
from minseg.errors import ArgumentError, FileError, MinsegError, nearest_names
from minseg.files import read_json, write_json
from minseg.kernels.precision import precise
from minseg.metrics import BoundaryF1, ConfusionMatrix, Measures
from minseg.postprocess import dense_crf
from minseg.training import Trainer
from minseg.weights import load_weights


@dataclass(frozen=True)
class Settings:
    """What a run is made from: with the same settings and threads, the same bits come out."""

    data: str = "nuclei"
    classes: tuple[str, ...] | None = None
    model: str = "unet"
    widths: tuple[int, ...] | None = None
    backend: str = "auto"
    precise: bool = False
    loss: str = "ce"
    class_weights: str | None = None
    optimizer: str = "adam"
    lr: float = 1e-2
    weight_decay: float | None = None
    clip: float | None = None
    schedule: str = "cosine"
    warm_up: int | None = None
    steps: int = 200
    batch_size: int = 8
    crop: int | None = None
    augment: str = "light"
    validate_every: int = 25
    early_stopping: int | None = None
    seed: int = 0


# What trains well on two cores, found by trying.
DEFAULTS = {
    "nuclei": Settings(widths=(8, 16, 32), steps=150),
    "earth": Settings(
        data="earth", widths=(12, 24), loss="ce+dice", lr=5e-3, batch_size=16, steps=500, validate_every=50
    ),
    "voc": Settings(data="voc", widths=(16, 32, 64, 128), loss="ce+dice", lr=3e-3, steps=600, validate_every=100),
    "folder": Settings(data="folder", widths=(16, 32, 64), lr=3e-3, steps=400, validate_every=50),
    "binary": Settings(data="binary", widths=(16, 32, 64), lr=3e-3, steps=400, validate_every=50),
}
DEFAULTS |= {
    scenes: Settings(data=scenes, widths=(16, 32, 64), loss="ce+dice", lr=5e-3, steps=400, validate_every=50)
    for scenes in datasets.SCENES
}
SEEN_FROM_ABOVE = ("nuclei", "earth", "shapes", "cells")
"""Pictures without an up and down, which may be turned by quarters."""


def settings_for(data: str, **given) -> Settings:
    """The defaults for this kind of data, with what is given in place of them (None counts as not given).

    >>> settings_for("nuclei", steps=10).steps
    10
    """
    kind = data.partition(":")[0]
    if kind not in DEFAULTS:
        raise ArgumentError(f"unknown data {data!r}; {nearest_names(data, datasets.KNOWN)}")
    given = {key: value for key, value in given.items() if value is not None}
    settings = replace(DEFAULTS[kind], data=data, **given)
    if settings.model != "unet" and "widths" not in given:
        settings = replace(settings, widths=None)
    check(settings)
    return settings


def check(settings: Settings) -> None:
    """ArgumentError for a name that is not known or a number out of range."""
    for what, name, known in (
        ("model", settings.model, models.NAMES),
        ("optimizer", settings.optimizer, OPTIMIZERS),
        ("schedule", settings.schedule, optim.SCHEDULES),
        ("class weights", settings.class_weights, (None, *datasets.CLASS_WEIGHTS)),
        ("augmentation", settings.augment, AUGMENTATIONS),
    ):
        if name not in known:
            raise ArgumentError(f"unknown {what} {name!r}; {nearest_names(name, filter(None, known))}")
    nn.parse_loss(settings.loss, settings.class_weights and [1.0])
    get(settings.backend)
    for key in ("steps", "batch_size", "validate_every", "crop", "lr", "clip", "early_stopping", "warm_up"):
        value = getattr(settings, key)
        if value is not None and not value > 0:
            raise ArgumentError(f"{key} must be positive, got {value}")
    if settings.warm_up is not None and settings.warm_up >= settings.steps:
        raise ArgumentError(f"warm_up must be less than all {settings.steps} steps, got {settings.warm_up}")
    if settings.weight_decay is not None and not settings.weight_decay >= 0:
        raise ArgumentError(f"weight_decay must not be negative, got {settings.weight_decay}")
    if settings.seed < 0:
        raise ArgumentError(f"seed must not be negative, got {settings.seed}")


# -------------------------------------------------------------------------------------------------------------- making


OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "gd": optim.SGD,
    "sgd": partial(optim.SGD, momentum=0.9),
    "nesterov": partial(optim.SGD, momentum=0.9, nesterov=True),
    "keras-sgd": partial(optim.KerasSGD, momentum=0.9),
    "rmsprop": optim.RMSprop,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
}


def make_optimizer(settings: Settings, model) -> optim.Optimizer:
    """The settings' optimizer; without a weight decay of theirs, with its own (only AdamW's is not 0)."""
    options = {} if settings.weight_decay is None else {"weight_decay": settings.weight_decay}
    return OPTIMIZERS[settings.optimizer](list(model.parameters()), lr=settings.lr, **options)


def class_weights(settings: Settings, data: SegmentationData) -> np.ndarray | None:
    """What the settings' loss weighs the classes with, from the training masks; None if it does not."""
    if settings.class_weights is None:
        return None
    counts = datasets.class_counts(data.train, data.num_classes, per_image=True)
    return datasets.class_weights(counts, settings.class_weights).astype(np.float32)


def prepare(settings: Settings, out: str | os.PathLike, progress: bool = True) -> tuple[Trainer, SegmentationData]:
    """Open the data and make model, optimizer, loss and loader: a Trainer that is ready to ``fit`` or to ``resume``."""
    use_backend(settings.backend)
    precise(settings.precise)
    data = datasets.open_data(settings.data, settings.classes, settings.seed)
    model = build_model(settings, data.in_channels, data.num_classes)
    loader = datasets.Loader(
        data.train, data.preprocess, augmentation(settings, data), settings.batch_size, settings.seed
    )
    weights = class_weights(settings, data)
    trainer = Trainer(
        model,
        make_optimizer(settings, model),
        nn.parse_loss(settings.loss, weights),
        loader,
        steps=settings.steps,
        out=out,
        validate=lambda model: _validation(model, data),
        validate_every=settings.validate_every,
        schedule=optim.learning_rate(settings.schedule, settings.lr, settings.steps, settings.warm_up or 0),
        clip=settings.clip,
        patience=settings.early_stopping,
        config=config_of(settings, data, weights),
        seed=settings.seed,
        progress=progress,
    )
    return trainer, data


AUGMENTATIONS = ("none", "light", "strong")


def augmentation(settings: Settings, data: SegmentationData) -> datasets.Compose:
    """What training images go through. None: random crops only. Light: mirror images too, and quarter turns where a picture has
    no up and down. Strong: also turned by any angle, zoomed, bent, and of other brightness, contrast, sharpness and noise.
    """
    crop = settings.crop or data.crop
    above = settings.data in SEEN_FROM_ABOVE
    steps = [datasets.RandomCrop(crop)] if crop else []
    if settings.augment == "strong":
        # cut generously first, so that what is left of it at the end seldom shows the ring outside
        wide = [datasets.RandomCrop(crop + crop // 2, clip=True)] if crop else []
        moved = [
            datasets.RandomRotation(45 if above else 10),
            datasets.RandomScale(0.8, 1.25),
            datasets.ElasticDeformation(strength=1.5, sigma=10),
        ]
        values = [
            datasets.RandomBrightnessContrast(0.1, 0.2),
            datasets.RandomBlur(0.8),
            datasets.RandomNoise(6),
        ]
        steps = [*wide, *moved, *steps, *values]
    if settings.augment != "none":
        steps += [datasets.RandomFlip()]
        steps += [datasets.RandomQuarterTurn()] if above else []
    return datasets.Compose(steps)


def build_model(settings: Settings, in_channels: int, num_classes: int):
    """The settings' network, its weights drawn from their seed."""
    options = {} if settings.widths is None else {"widths": settings.widths}
    return models.build(settings.model, in_channels, num_classes, seed=settings.seed, **options)


def config_of(settings: Settings, data, weights: np.ndarray | None = None) -> dict:
    """What ``config.json`` holds: the settings, the class weights if there are any, and all that prediction needs to know."""
    chosen = asdict(settings) | {"backend": get(settings.backend).name}
    measured = {} if weights is None else {"class_weights": weights.tolist()}
    return measured | {
        "settings": chosen,
        "in_channels": data.in_channels,
        "class_names": list(data.class_names),
        "preprocess": data.preprocess.to_dict(),
    }


def _validation(model, data) -> dict:
    counted = evaluate(model, data)
    return {"mean_iou": counted.mean_iou(), "iou": dict(zip(data.class_names, counted.iou().tolist(), strict=True))}


def evaluate(
    model,
    data: SegmentationData,
    preprocess: datasets.Preprocess | None = None,
    boundary: BoundaryF1 | None = None,
) -> ConfusionMatrix:
    """The confusion matrix over all held-out pixels; outlines are counted into ``boundary`` on the way, where it is given."""
    confusion = ConfusionMatrix(data.num_classes)
    measures = confusion if boundary is None else Measures(confusion, boundary)
    inference.evaluate(model, data.val, preprocess or data.preprocess, measures)
    return confusion


def crf_labels(model, preprocess: datasets.Preprocess, image: np.ndarray, radius: int) -> np.ndarray:
    """The classes of a raw image (H, W, C) after a fully connected CRF that looks ``radius`` pixels far; (H, W) uint8."""
    logits = inference.predict_logits(model, preprocess(image))
    return dense_crf(logits, image, radius=radius).argmax(axis=0).astype(np.uint8)


def evaluate_crf(
    model, data: SegmentationData, preprocess: datasets.Preprocess, radius: int, boundary: BoundaryF1 | None = None
) -> ConfusionMatrix:
    """As ``evaluate``, but of the labels that ``crf_labels`` makes; a second or so an image, so stderr says how far it is."""
    from tqdm import tqdm

    confusion = ConfusionMatrix(data.num_classes)
    measures = confusion if boundary is None else Measures(confusion, boundary)
    shown = tqdm(range(len(data.val)), desc="CRF", unit="image", mininterval=0.5 if sys.stderr.isatty() else 30)
    for i in shown:
        image, mask = data.val[i]
        measures.update(crf_labels(model, preprocess, image, radius), mask)
    return confusion


# ------------------------------------------------------------------------------------------------------------ at its end


@dataclass
class Outcome:
    """What a finished run reached on the held-out data, with its best state, and the files that show it."""

    confusion: ConfusionMatrix
    baseline: datasets.Baseline | None
    class_names: tuple[str, ...]
    step: int
    seconds: float
    pictures: list[Path]

    def table(self) -> str:
        """IoU of each class beside the baseline's."""
        columns = [("held-out IoU", [*self.class_names, "mean"]), ("network", _ious(self.confusion))]
        if self.baseline is not None:
            columns.append((self.baseline.name, _ious(self.baseline.confusion)))
        cells = [[heading, *values] for heading, values in columns]
        widths = [max(map(len, column)) for column in cells]
        rows = zip(*cells, strict=True)
        return "\n".join(
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        )


def _ious(confusion: ConfusionMatrix) -> list[str]:
    return ["absent" if np.isnan(value) else f"{value:.3f}" for value in [*confusion.iou(), confusion.mean_iou()]]


def finish(trainer: Trainer, data: SegmentationData, settings: Settings) -> Outcome:
    """Score the best state on all held-out pixels; write ``metrics.json`` and the pictures."""
    model = trainer.model
    load_model(model, trainer.out / "model.safetensors")
    confusion, baseline = evaluate(model, data), data.baseline()
    metrics = {"step": trainer.best_step, "seconds": trainer.seconds, "scores": confusion.to_dict(data.class_names)}
    if baseline is not None:
        scores = baseline.confusion.to_dict(data.class_names)
        metrics["baseline"] = {"name": baseline.name, "note": baseline.note, "scores": scores}
    write_json(trainer.out / "metrics.json", metrics)
    pictures = draw(model, data, settings, trainer.history, confusion, baseline, trainer.best_step, trainer.out)
    return Outcome(confusion, baseline, data.class_names, trainer.best_step, trainer.seconds, pictures)


def draw(
    model,
    data: SegmentationData,
    settings: Settings,
    history: dict,
    confusion: ConfusionMatrix,
    baseline: datasets.Baseline | None,
    step: int,
    out: Path,
) -> list[Path]:
    """Write ``prediction.png``, ``curves.png`` and, for the Earth, ``map.png`` into the folder ``out``."""
    name = settings.data.partition(":")[0]
    note = f"{network_name(settings)} after {step} steps: mean IoU {confusion.mean_iou():.3f} over all held-out pixels"
    if baseline is not None:
        note += f"; {baseline.name}: {baseline.confusion.mean_iou():.3f}"
    names, iou = data.class_names, confusion.iou()
    figures = {
        "prediction": viz.prediction_figure(examples(model, data), names, iou, f"{name}: held-out images", note),
        "curves": viz.curves_figure(
            history,
            baseline and (baseline.name, baseline.confusion.mean_iou()),
            f"{name}: training of {network_name(settings)}",
        ),
    }
    if name == "earth":
        image, truth = data.region()
        prediction = inference.predict_labels(model, data.preprocess(image), tile=128)
        title = "earth: a held-out block, stitched from overlapping tiles"
        figures["map"] = viz.map_figure(image, truth, prediction, names, iou, title, note)
    paths = [out / f"{kind}.png" for kind in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        viz.save_figure(figure, path)
    return paths


def network_name(settings: Settings) -> str:
    """The network as figures call it.

    >>> network_name(Settings(widths=(8, 16, 32)))
    'U-Net 8-16-32'
    """
    name = {"unet": "U-Net"}.get(settings.model, settings.model)
    return " ".join([name, *(["-".join(map(str, settings.widths))] if settings.widths else [])])


def examples(model, data: SegmentationData, count: int = 3, looked_at: int = 60) -> list[viz.Row]:
    """Held-out images to show, spread over the data set: of each part one with more classes than three quarters have."""
    indices = np.unique(np.linspace(0, len(data.val) - 1, looked_at).astype(int))
    rows: list[viz.Row] = []
    for part in np.array_split(indices, min(count, len(indices))):
        by_variety = sorted(part, key=lambda i: _variety(data.val[i][1]))
        image, truth = data.val[by_variety[3 * len(by_variety) // 4]]
        rows += viz.squares(image, truth, inference.predict_labels(model, data.preprocess(image)))
    return rows[:count]


def _variety(mask: np.ndarray) -> float:
    """Entropy of the shares of the classes: 0 if there is only one, the larger the more there are and the more even."""
    counts = np.bincount(mask.ravel(), minlength=256)[: datasets.IGNORE]
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(shares * np.log(shares)).sum())


# --------------------------------------------------------------------------------------------------------- coming back


@dataclass
class Run:
    """A trained run, as its folder has it: enough to predict and to evaluate."""

    folder: Path
    settings: Settings
    model: object
    class_names: tuple[str, ...]
    preprocess: datasets.Preprocess


def open_run(folder: str | os.PathLike) -> Run:
    """Read a run's settings and its best state.

    Raises
    ------
    FileError
        If the folder is no run, or a file in it is damaged or does not fit.
    """
    folder = Path(folder)
    settings, config = read_config(folder)
    try:
        in_channels, class_names = int(config["in_channels"]), tuple(config["class_names"])
        preprocess = datasets.Preprocess.from_dict(config["preprocess"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{folder / 'config.json'} is not the configuration of a run: {error!r}") from error
    model = build_model(settings, in_channels, len(class_names))
    load_model(model, folder / "model.safetensors")
    return Run(folder, settings, model, class_names, preprocess)


def read_config(folder: Path) -> tuple[Settings, dict]:
    """The settings in a run's ``config.json``, and all of it."""
    path = folder / "config.json"
    if not path.is_file():
        raise FileError(f"{folder} is not the folder of a run: it has no config.json; name one that minseg train made")
    config = read_json(path)
    try:
        stored = {key: tuple(value) if isinstance(value, list) else value for key, value in config["settings"].items()}
        settings = Settings(**stored)
    except (KeyError, TypeError, AttributeError) as error:
        raise FileError(f"{path} is not the configuration of a run: {error}") from error
    check(settings)
    return settings, config


def load_model(model, path: Path) -> None:
    """Load a model file into the model; FileError if it is damaged or of another model."""
    state = load_weights(path)
    try:
        model.load_state_dict(state)
    except MinsegError as error:
        raise FileError(f"{path} does not hold the weights of this run's model: {error}") from error


def open_data_of(run: Run, other: str | None = None) -> SegmentationData:
    """The data that the run was trained on, or other data with the same classes."""
    settings = run.settings
    classes = None if (other or settings.data) in datasets.sources.EMBEDDED else run.class_names
    data = datasets.open_data(other or settings.data, classes, settings.seed)
    if data.class_names != run.class_names:
        raise ArgumentError(
            f"{data.name} has the classes {', '.join(data.class_names)}, but {run.folder} was trained on "
            f"{', '.join(run.class_names)}; a run can only be scored on its own classes"
        )
    return data


def predict_files(run: Run, images: Iterable[Path], out: Path, crf: int | None = None) -> Iterator[tuple[Path, Path]]:
    """Write a palette mask and an overlay of each image into ``out``; give their paths as they are written.

    ``crf`` is the radius of a fully connected CRF for the labels (``crf_labels``).
    All images are read before the first is written: a name mistyped at the end of a long list is found at once.
    """
    images = list(images)
    for path in images:
        datasets.read_image(path)
    taken: set[str] = set()
    for path in images:
        image = datasets.read_image(path)
        name = free_name(path.stem, taken)
        if crf is None:
            labels = inference.predict_labels(run.model, run.preprocess(image))
        else:
            labels = crf_labels(run.model, run.preprocess, image, crf)
        mask, overlay = out / f"{name}_mask.png", out / f"{name}_overlay.png"
        viz.save_mask(labels, mask, run.class_names)
        viz.save_image(viz.overlay(image, labels, run.class_names), overlay)
        yield mask, overlay


def free_name(stem: str, taken: set[str]) -> str:
    """The stem, or stem-2, stem-3, ... where images of one name come from several folders."""
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name


def new_folder(base: str | os.PathLike) -> Path:
    """``base``, or the first of base-2, base-3, ... that does not exist: no run is ever written over."""
    base = Path(base)
    number, folder = 1, base
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def latest_folder(base: str | os.PathLike) -> Path:
    """The run that was written to last among base, base-2, base-3, ...; FileError if there is none."""
    base = Path(base)
    runs = [
        folder
        for folder in base.parent.glob(f"{base.name}*")
        if (folder / "config.json").is_file()
        and folder.name.removeprefix(base.name).lstrip("-").isdigit() | (folder == base)
    ]
    if not runs:
        raise FileError(f"there is no run {base} to resume; start one with minseg train")
    return max(runs, key=lambda folder: max(file.stat().st_mtime for file in folder.iterdir()))
