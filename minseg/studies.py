"""What is asked of a trained run: where it looks, how it bears worse images, how small it can be. Behind three commands."""

import copy
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from minseg import data as datasets
from minseg import explain, runs, viz
from minseg import robustness as sweeps
from minseg.autograd import tensor
from minseg.compress import (
    Masked,
    activation_ranges,
    count,
    fake_quantize,
    fake_quantized_activations,
    load_int8,
    prune,
    save_int8,
)
from minseg.errors import ArgumentError, nearest_names
from minseg.files import jsonable, write_bytes, write_json
from minseg.nn import evaluation_mode
from minseg.runs import Run


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# ----------------------------------------------------------------------------------------------------------- explanation


def explain_files(
    run: Run,
    images: Iterable[Path],
    out: Path,
    target: str | None = None,
    pixel: tuple[int, ...] | None = None,
    layer: str | None = None,
) -> Iterator[Path]:
    """Write the run's graph, its first filters and, for each image, where it looks; give their paths as they are written."""
    question = explain.Question(_class_index(run, target), _two(pixel), layer)
    images = [(path, datasets.read_image(path)) for path in images]
    yield _draw_graph(run, images[0][1][:64, :64], out / "graph.svg")
    kernels = explain.filters(run.model)
    path = out / "filters.png"
    title = f"Kernels of the first convolution, {kernels.shape[0]} of {kernels.shape[2]}x{kernels.shape[3]}"
    viz.save_figure(viz.maps_figure(kernels.mean(axis=1), title), path)
    yield path
    taken: set[str] = set()
    for path, image in images:
        figures = explain.explain_image(run.model, image, run.preprocess, run.class_names, question)
        name = runs.free_name(path.stem, taken)
        for kind, figure in figures.items():
            picture = out / f"{name}_{kind}.png"
            viz.save_figure(figure, picture)
            yield picture


def _draw_graph(run: Run, image: np.ndarray, path: Path) -> Path:
    x = tensor(run.preprocess(image)[None], requires_grad=True)
    with evaluation_mode(run.model):
        write_bytes(path, explain.graph_svg(run.model(x), run.model, {"image": x}).encode())
    return path


def _class_index(run: Run, name: str | None) -> int | None:
    if name is not None and name not in run.class_names:
        raise ArgumentError(f"{run.folder} has no class {name!r}; {nearest_names(name, run.class_names)}")
    return None if name is None else run.class_names.index(name)


def _two(pixel: tuple[int, ...] | None) -> tuple[int, int] | None:
    if pixel is not None and len(pixel) != 2:
        raise ArgumentError(f"a pixel is a row and a column, as in 40,56; got {pixel}")
    return pixel


# ------------------------------------------------------------------------------------------------------------ robustness


def robustness(run: Run, data: str | None = None, seed: int = 0, quiet: bool = False):
    """Score the run on worse and worse images; write ``robustness.json`` and ``robustness.png`` into its folder.

    Returns
    -------
    (list of Curve, dict, list of Path)
        The curves, what the JSON file holds, and the files.
    """
    opened = runs.open_data_of(run, data)
    report = (lambda line: None) if quiet else _say
    curves = sweeps.sweep(run.model, opened.val, run.preprocess, opened.num_classes, seed=seed, report=report)
    found = jsonable(
        {"data": opened.name, "seed": seed, "damages": {c.kind: c.to_dict(run.class_names) for c in curves}}
    )
    image = _middle(opened.val[0][0])
    examples = [[sweeps.damaged(image, c.kind, strength, seed) for strength in c.strengths] for c in curves]
    title = f"{opened.name.partition(':')[0]}: {runs.network_name(run.settings)} on worse images"
    files = [run.folder / "robustness.json", run.folder / "robustness.png"]
    write_json(files[0], found)
    viz.save_figure(viz.robustness_figure(curves, run.class_names, examples, title), files[1])
    return curves, found, files


def _middle(image: np.ndarray, side: int = 64) -> np.ndarray:
    """A square from the middle of the image."""
    side = min(side, *image.shape[:2])
    top, left = ((n - side) // 2 for n in image.shape[:2])
    return image[top : top + side, left : left + side]


# ----------------------------------------------------------------------------------------------------------- compression


@dataclass(frozen=True)
class Compressed:
    """One way to make a run smaller, and what it costs."""

    name: str
    nonzero: int
    """Weights that are not zero, biases and norms included."""
    bytes: int | None
    """Of the weights' file; None where only a sparse format would make it smaller."""
    mean_iou: float


def compress(run: Run, shares: Sequence[float], fine_tune: int = 0, quiet: bool = False):
    """Score the run in eight bits and with these shares of its weights left out; write the int8 weights and ``compress.json``.

    With ``fine_tune`` each pruned network is trained on for that many steps, its masks kept.

    Returns
    -------
    (list of Compressed, dict, list of Path)
        What was found, what the JSON file holds, and the files, all in the run's folder ``compressed``.
    """
    data = runs.open_data_of(run)
    out = run.folder / "compressed"
    rows: list[Compressed] = []

    def add(name: str, model, size: int | None = None) -> None:
        score = runs.evaluate(model, data, run.preprocess).mean_iou()
        rows.append(Compressed(name, count(model).nonzero, size, score))
        if not quiet:
            _say(f"{name}: mean IoU {score:.3f}")

    for share in shares:
        prune(copy.deepcopy(run.model), share)  # a share that is out of range is found before the work
    int8 = out / "model-int8.safetensors"
    saved = save_int8(run.model, int8)
    add("as trained", run.model, saved.bytes_float)
    tensorwise, channelwise = copy.deepcopy(run.model), copy.deepcopy(run.model)
    fake_quantize(tensorwise, per_channel=False)
    add("int8 weights, a scale for each layer", tensorwise, save_int8(run.model, int8, per_channel=False).bytes_int8)
    save_int8(run.model, int8)
    channelwise.load_state_dict(load_int8(int8))
    add("int8 weights, a scale for each channel", channelwise, saved.bytes_int8)
    seen = (run.preprocess(data.train[i][0]) for i in range(min(8, len(data.train))))
    with fake_quantized_activations(channelwise, activation_ranges(channelwise, seen)):
        add("the same, and int8 between layers", channelwise, saved.bytes_int8)
    for share in shares:
        layerwise, pruned = copy.deepcopy(run.model), copy.deepcopy(run.model)
        prune(layerwise, share, per_layer=True)
        add(f"{100 * share:g} % of each layer left out", layerwise)
        masks = prune(pruned, share)
        add(f"{100 * share:g} % of all left out", pruned)
        if fine_tune:
            _train_on(run, pruned, masks, fine_tune, out / f"pruned-{100 * share:g}", quiet)
            add(f"{100 * share:g} % of all left out, trained on for {fine_tune} steps", pruned)
    found = jsonable({"data": data.name, "int8": asdict(saved), "variants": [asdict(row) for row in rows]})
    write_json(out / "compress.json", found)
    return rows, found, [int8, out / "compress.json"]


def _train_on(run: Run, model, masks: dict[str, np.ndarray], steps: int, out: Path, quiet: bool) -> None:
    """Train the pruned model for some steps at a third of the run's learning rate; it ends with the best state."""
    settings = replace(
        run.settings, steps=steps, lr=run.settings.lr / 3, validate_every=min(steps, run.settings.validate_every)
    )
    trainer, _ = runs.prepare(settings, out, progress=not quiet)
    trainer.model.load_state_dict(model.state_dict())
    trainer.optimizer = Masked(trainer.optimizer, trainer.model, masks)
    trainer.fit()
    runs.load_model(model, out / "model.safetensors")


def compression_table(rows: Sequence[Compressed]) -> str:
    """What was found, as lines to read.

    >>> print(compression_table([Compressed("as trained", 1200, 5000, 0.9), Compressed("half left out", 600, None, 0.85)]))
                   non-zero  bytes  mean IoU
    as trained        1,200  5,000     0.900
    half left out       600      -     0.850
    """
    cells = [("", "non-zero", "bytes", "mean IoU")]
    for row in rows:
        size = "-" if row.bytes is None else f"{row.bytes:,}"
        cells.append((row.name, f"{row.nonzero:,}", size, f"{row.mean_iou:.3f}"))
    first, *others = (max(map(len, column)) for column in zip(*cells, strict=True))
    return "\n".join(
        cell[0].ljust(first) + "".join(f"  {text:>{width}}" for text, width in zip(cell[1:], others, strict=True))
        for cell in cells
    )
