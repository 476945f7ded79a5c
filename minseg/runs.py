"""A run: the settings that it is made from, the folder that it leaves, and the scores and pictures at its end."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from minseg import data as datasets
from minseg import inference, models, nn, ops, optim, viz
from minseg.autograd import Tensor, tensor
from minseg.backend import get, use_backend
from minseg.data import SegmentationData
from minseg.errors import ArgumentError, DataError, FileError, MinsegError, nearest_names
from minseg.files import read_json, write_json
from minseg.metrics import ConfusionMatrix
from minseg.training import SCHEDULES, Trainer, learning_rate
from minseg.weights import load_weights


@dataclass(frozen=True)
class Settings:
    """What a run is made from: with the same settings and threads, the same bits come out."""

    data: str = "nuclei"
    classes: tuple[str, ...] | None = None
    model: str = "unet"
    widths: tuple[int, ...] | None = None
    backend: str = "auto"
    loss: str = "ce"
    optimizer: str = "adam"
    lr: float = 1e-2
    schedule: str = "cosine"
    steps: int = 200
    batch_size: int = 8
    crop: int | None = None
    validate_every: int = 25
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
SEEN_FROM_ABOVE = ("nuclei", "earth")
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
        ("loss", settings.loss, LOSSES),
        ("optimizer", settings.optimizer, OPTIMIZERS),
        ("schedule", settings.schedule, SCHEDULES),
    ):
        if name not in known:
            raise ArgumentError(f"unknown {what} {name!r}; {nearest_names(name, known)}")
    get(settings.backend)
    for key in ("steps", "batch_size", "validate_every", "crop", "lr"):
        value = getattr(settings, key)
        if value is not None and not value > 0:
            raise ArgumentError(f"{key} must be positive, got {value}")
    if settings.seed < 0:
        raise ArgumentError(f"seed must not be negative, got {settings.seed}")


# -------------------------------------------------------------------------------------------------------------- making


def _bce(logits: Tensor, labels: np.ndarray) -> Tensor:
    """Each class against all others."""
    return ops.binary_cross_entropy_with_logits(logits, _one_hot(labels, logits.shape[1]), ignore_index=datasets.IGNORE)


def _mse(logits: Tensor, labels: np.ndarray) -> Tensor:
    """The squared error of the probabilities, the mean over classes and labelled pixels."""
    target = _one_hot(labels, logits.shape[1])
    known = (target != datasets.IGNORE).astype(logits.dtype)
    if not known.any():
        raise DataError("mse: every pixel of the batch is ignored; train on larger crops or on images with labels")
    difference = (ops.softmax(logits, 1) - tensor(target.astype(logits.dtype))) * tensor(known)
    return (difference * difference).sum() / float(known.sum())


def _one_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Labels (N, H, W) as 0 and 1 in (N, K, H, W); ignored pixels stay 255 in every class."""
    target = (labels[:, None] == np.arange(num_classes)[:, None, None]).astype(np.uint8)
    target[np.broadcast_to(labels[:, None] == datasets.IGNORE, target.shape)] = datasets.IGNORE
    return target


LOSSES: dict[str, Callable[[Tensor, np.ndarray], Tensor]] = {
    "ce": nn.CrossEntropyLoss(),
    "dice": nn.DiceLoss(),
    "ce+dice": nn.SumLoss([nn.CrossEntropyLoss(), nn.DiceLoss()]),
    "bce": _bce,
    "mse": _mse,
}
OPTIMIZERS: dict[str, Callable] = {
    "adam": lambda parameters, lr: optim.Adam(parameters, lr=lr),
    "sgd": lambda parameters, lr: optim.SGD(parameters, lr=lr, momentum=0.9),
}


def prepare(settings: Settings, out: str | os.PathLike, progress: bool = True) -> tuple[Trainer, SegmentationData]:
    """Open the data and make model, optimizer, loss and loader: a Trainer that is ready to ``fit`` or to ``resume``."""
    use_backend(settings.backend)
    data = datasets.open_data(settings.data, settings.classes, settings.seed)
    model = build_model(settings, data.in_channels, data.num_classes)
    loader = datasets.Loader(
        data.train, data.preprocess, augmentation(settings, data), settings.batch_size, settings.seed
    )
    trainer = Trainer(
        model,
        OPTIMIZERS[settings.optimizer](list(model.parameters()), settings.lr),
        LOSSES[settings.loss],
        loader,
        steps=settings.steps,
        out=out,
        validate=lambda model: _validation(model, data),
        validate_every=settings.validate_every,
        schedule=learning_rate(settings.schedule, settings.lr, settings.steps),
        config=config_of(settings, data),
        seed=settings.seed,
        progress=progress,
    )
    return trainer, data


def augmentation(settings: Settings, data: SegmentationData) -> datasets.Compose:
    """Random crops and mirror images, and quarter turns where a picture has no up and down."""
    crop = settings.crop or data.crop
    steps = [datasets.RandomCrop(crop)] if crop else []
    steps += [datasets.RandomFlip()]
    steps += [datasets.RandomQuarterTurn()] if settings.data in SEEN_FROM_ABOVE else []
    return datasets.Compose(steps)


def build_model(settings: Settings, in_channels: int, num_classes: int):
    """The settings' network, its weights drawn from their seed."""
    options = {} if settings.widths is None else {"widths": settings.widths}
    return models.build(settings.model, in_channels, num_classes, seed=settings.seed, **options)


def config_of(settings: Settings, data) -> dict:
    """What ``config.json`` holds: the settings, and all that prediction needs to know about the data."""
    chosen = asdict(settings) | {"backend": get(settings.backend).name}
    return {
        "settings": chosen,
        "in_channels": data.in_channels,
        "class_names": list(data.class_names),
        "preprocess": data.preprocess.to_dict(),
    }


def _validation(model, data) -> dict:
    counted = evaluate(model, data)
    return {"mean_iou": counted.mean_iou(), "iou": dict(zip(data.class_names, counted.iou().tolist(), strict=True))}


def evaluate(model, data: SegmentationData, preprocess: datasets.Preprocess | None = None) -> ConfusionMatrix:
    """The confusion matrix over all held-out pixels."""
    return inference.evaluate(model, data.val, preprocess or data.preprocess, ConfusionMatrix(data.num_classes))


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


def predict_files(run: Run, images: Iterable[Path], out: Path) -> Iterator[tuple[Path, Path]]:
    """Write a palette mask and an overlay of each image into ``out``; give their paths as they are written.

    All images are read before the first is written: a name mistyped at the end of a long list is found at once.
    """
    images = list(images)
    for path in images:
        datasets.read_image(path)
    taken: set[str] = set()
    for path in images:
        image = datasets.read_image(path)
        name = _free_name(path.stem, taken)
        labels = inference.predict_labels(run.model, run.preprocess(image))
        mask, overlay = out / f"{name}_mask.png", out / f"{name}_overlay.png"
        viz.save_mask(labels, mask, run.class_names)
        viz.save_image(viz.overlay(image, labels, run.class_names), overlay)
        yield mask, overlay


def _free_name(stem: str, taken: set[str]) -> str:
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
