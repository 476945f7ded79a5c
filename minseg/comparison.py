"""Every network under one recipe: what it costs, and what it reached. Behind ``minseg compare``.

On each data set all networks get that data set's recipe (``runs.DEFAULTS``: loss, optimizer, one learning rate for all) and the
same number of steps; each has its own size, that of ``minseg models``. The last state is scored, so nothing is chosen with the
held-out images' help. What is finished is kept in the folder: the same command, given again, goes on where it was stopped.
"""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from minseg import data as datasets
from minseg import runs, viz
from minseg.errors import FileError
from minseg.files import read_json, write_bytes, write_json
from minseg.models.summary import check_names, multiply_adds
from minseg.runs import Settings

BUDGETS = {"nuclei": {"steps": 150}, "earth": {"steps": 200, "batch_size": 8}}
"""Where the recipe's own would take too long: all networks on these two need about a quarter of an hour on two cores."""


@dataclass(frozen=True)
class Result:
    """What one network costs on one data set, and what it reached."""

    model: str
    parameters: int
    multiply_adds: int
    """Of one image as large as those that it is trained on."""
    step_ms: float
    """Median time of a training step."""
    iou: dict[str, float | None]
    """Of each class on the held-out images; None where a class is absent."""


@dataclass(frozen=True)
class Comparison:
    """The networks on one data set, all by one recipe; beside them a simple method's IoUs, where the data have one."""

    recipe: Settings
    results: list[Result]
    baseline: tuple[str, dict[str, float | None]] | None

    @property
    def data(self) -> str:
        return self.recipe.data.partition(":")[0]

    @property
    def scored(self) -> str:
        """Whose IoU ``score`` is."""
        classes = counted(self.results[0].iou)
        return classes[0] if len(classes) == 1 else f"mean of {len(classes)} classes"


def counted(class_names: Iterable[str]) -> list[str]:
    """The classes that the score is the mean of: all, but where one thing is sought on a background, only that.

    >>> counted(["background", "nucleus"]), counted(["water", "trees"])
    (['nucleus'], ['water', 'trees'])
    """
    names = list(class_names)
    return names[1:] if len(names) == 2 and names[0] == "background" else names


def score(iou: dict[str, float | None]) -> float:
    """The mean IoU of the classes that count and are there; NaN if there are none."""
    found = [iou[name] for name in counted(iou) if iou[name] is not None]
    return float(np.mean(found)) if found else math.nan


# ----------------------------------------------------------------------------------------------------------- the training


def compare(
    data: Sequence[str], names: Sequence[str], out: Path, steps: int | None = None, seed: int = 0, quiet: bool = False
) -> tuple[list[Comparison], list[Path]]:
    """Train and score these networks (all, if none is named) on these data sets.

    Returns
    -------
    (list of Comparison, list of Path)
        One for each data set; and the files ``table.md``, ``comparison.json`` and ``comparison.png`` in the folder ``out``, where
        each network also has its run, ``DATA/MODEL``.

    Raises
    ------
    FileError
        If ``out`` holds one of these networks, trained with other settings.
    """
    names = check_names(names)
    recipes = [recipe_for(one, steps, seed) for one in data]  # a wrong name is found before the work
    comparisons, taken = [], set()
    for recipe in recipes:
        folder = out / runs.free_name(recipe.data.partition(":")[0], taken)
        results = [train_and_score(replace(recipe, model=name), folder / name, quiet) for name in names]
        comparisons.append(Comparison(recipe, results, _baseline(recipe)))
    files = [out / "table.md", out / "comparison.json", out / "comparison.png"]
    write_bytes(files[0], f"{table(comparisons)}\n".encode())
    write_json(files[1], to_dict(comparisons))
    viz.save_figure(figure(comparisons), files[2])
    return comparisons, files


def recipe_for(data: str, steps: int | None = None, seed: int = 0) -> Settings:
    """What all networks share on this data set; the only validation is that of the last state."""
    budget = BUDGETS.get(data, {}) | ({} if steps is None else {"steps": steps})
    recipe = replace(runs.settings_for(data, seed=seed, **budget), widths=None)
    return replace(recipe, validate_every=recipe.steps)


def train_and_score(settings: Settings, folder: Path, quiet: bool = False) -> Result:
    """The result in the folder, or that of a training now, which the folder then holds."""
    trainer, data = runs.prepare(settings, folder, progress=not quiet and sys.stderr.isatty())
    path = folder / "result.json"
    if path.exists():
        trainer.resume()  # an error if it was trained with other settings
        return _read(path)
    trainer.fit()
    side = settings.crop or data.crop
    size = (side, side) if side else data.train[0][1].shape
    result = Result(
        settings.model,
        trainer.model.num_parameters(),
        multiply_adds(trainer.model, data.in_channels, size),
        1000 * float(np.median(trainer.step_seconds)),
        trainer.history["validation"][-1]["iou"],
    )
    write_json(path, asdict(result))
    if not quiet:
        found = f"IoU {score(result.iou):.3f}, {result.step_ms:.0f} ms a step"
        print(f"{data.name}: {settings.model}: {found}", file=sys.stderr, flush=True)
    return _read(path)  # with null for NaN, as when it is kept


def _read(path: Path) -> Result:
    try:
        return Result(**read_json(path))
    except TypeError as error:
        raise FileError(f"{path} is not the result of a comparison: {error}") from error


def _baseline(recipe: Settings) -> tuple[str, dict[str, float | None]] | None:
    data = datasets.open_data(recipe.data, recipe.classes, recipe.seed)
    found = data.baseline()
    if found is None:
        return None
    classes = found.confusion.to_dict(data.class_names)["classes"]
    return found.name, {name: scores["iou"] for name, scores in classes.items()}


# ----------------------------------------------------------------------------------------------------------- what it says


def table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons side by side in Markdown, the best network of the first data set on top and the simple methods last."""
    first = comparisons[0]
    rows = [["network", "parameters", "multiply-adds"]]
    rows[0] += [f"`{c.data}`: {text}" for c in comparisons for text in (c.scored, "step")]
    for result in sorted(first.results, key=lambda result: -np.nan_to_num(score(result.iou))):
        row = [result.model, f"{result.parameters:,}", f"{result.multiply_adds / 1e6:.1f} M"]
        for comparison in comparisons:
            found = next(one for one in comparison.results if one.model == result.model)
            row += [_text(score(found.iou)), f"{found.step_ms:.0f} ms"]
        rows.append(row)
    simple = [c.baseline for c in comparisons]
    if any(simple):
        scores = [_text(score(one[1])) if one else "" for one in simple]
        names = ", ".join(one[0] for one in simple if one)
        rows.append([f"no network: {names}", "", "", *(cell for text in scores for cell in (text, ""))])
    return "\n".join([_markdown(rows), "", *map(recipe_text, comparisons)])


def recipe_text(comparison: Comparison) -> str:
    """How the networks of this comparison were trained, in a sentence."""
    r = comparison.recipe
    return (
        f"`{comparison.data}`: {r.steps} steps of {r.batch_size} images, loss {r.loss}, optimizer {r.optimizer} with learning rate "
        f"{r.lr:g} ({r.schedule}), seed {r.seed}; the state after the last step is scored."
    )


def to_dict(comparisons: Sequence[Comparison]) -> dict:
    """All of it, ready for JSON."""
    return {
        comparison.data: {
            "recipe": asdict(comparison.recipe),
            "scored": comparison.scored,
            "baseline": comparison.baseline and {"name": comparison.baseline[0], "iou": comparison.baseline[1]},
            "networks": [asdict(result) | {"score": score(result.iou)} for result in comparison.results],
        }
        for comparison in comparisons
    }


def figure(comparisons: Sequence[Comparison]):
    """IoU against multiply-adds, a panel for each data set."""
    return viz.cost_figure(
        [
            viz.CostPanel(
                f"{c.data}: {c.scored}",
                [(result.model, result.multiply_adds, score(result.iou)) for result in c.results],
                c.baseline and (c.baseline[0], score(c.baseline[1])),
            )
            for c in comparisons
        ]
    )


def _text(value: float) -> str:
    return "absent" if math.isnan(value) else f"{value:.3f}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """The rows, the first of them the head, in cells of even width; all columns but the first to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [[row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:]))] for row in rows]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [aligned[0], rule, *aligned[1:]])
