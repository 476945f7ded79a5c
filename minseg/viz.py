"""Pictures: masks in colours that colour-blind readers can tell apart, predictions beside the truth, training curves.

Figures are objects of their own (no pyplot, no global state), in one fixed style, and saved without anything that
changes from run to run: the same input gives the same PNG.
"""

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np
from PIL import Image

from minseg.errors import ShapeError
from minseg.files import write_bytes

IGNORE = 255
INK, FAINT, GREY, ERROR = "#222222", "#8c8c8c", "#a0a0a0", "#d7191c"

# Okabe and Ito (2008), then muted colours of Tol (2021): safe together up to nine classes or so.
COLOURS = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#332288", "#ddcc77", "#882255",
    "#661100", "#999933", "#aa4499", "#44aa99", "#cc6677", "#117733", "#6699cc", "#88ccee", "#bbcc33", "#77aadd",
)  # fmt: skip

# What everybody expects in one colour gets it.
COLOUR_OF = {
    "background": "#1b2233",
    "water": "#0072b2",
    "sky": "#56b4e9",
    "tree": "#009e73",
    "trees": "#009e73",
    "open vegetation": "#f0e442",
    "arid": "#d55e00",
}

HEAT_LEGEND = (("little", 0.25), ("half of the most", 0.62), ("most", 1.0))

STYLE = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so it is the same everywhere
    "font.size": 10.5,
    "text.color": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlepad": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "figure.dpi": 100,
    "savefig.dpi": 100,
}


@dataclass
class Row:
    """One row of a picture of predictions: a raw image (H, W, C) with its true and its predicted labels (H, W)."""

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def class_colours(class_names: Sequence[str]) -> np.ndarray:
    """One colour a class, (K, 3) uint8: always the same for the same names."""
    taken = {COLOUR_OF[name] for name in class_names if name in COLOUR_OF}
    free = [colour for colour in COLOURS if colour not in taken]
    colours, used = [], 0
    for name in class_names:
        if name in COLOUR_OF:
            colours.append(COLOUR_OF[name])
        else:
            colours.append(free[used % len(free)])
            used += 1
    return np.array([_rgb(colour) for colour in colours], np.uint8)


def colorize(mask: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Labels (H, W) as colours (H, W, 3) uint8; ignored pixels (255) are grey."""
    return _palette(class_names)[mask]


def overlay(image: np.ndarray, mask: np.ndarray, class_names: Sequence[str], opacity: float = 0.45) -> np.ndarray:
    """The image (H, W, C) with each class's colour laid over it, solid along its border; background stays clear."""
    _expect_same_size(image, mask, "overlay")
    shown = np.asarray(displayable(image), np.float32)
    colours = colorize(mask, class_names)
    strength = np.full(mask.shape, opacity, np.float32)
    strength[_borders(mask)] = 1
    if class_names[0] == "background":
        strength[mask == 0] = 0
    strength[mask == IGNORE] = 0
    mixed = shown + strength[..., None] * (colours - shown)
    return np.round(mixed).astype(np.uint8)


def displayable(image: np.ndarray) -> np.ndarray:
    """The raw image (H, W, C) as (H, W, 3) uint8: colours as they are, one channel stretched and brightened."""
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[2] == 3 and image.dtype == np.uint8:
        return image
    grey = image[..., :1].astype(np.float32)
    low, high = np.percentile(grey, [0.5, 99.8])
    stretched = np.clip((grey - low) / max(high - low, 1e-6), 0, 1) ** 0.5  # square root: dim structures show
    return np.repeat(np.round(255 * stretched).astype(np.uint8), 3, axis=2)


def mark_errors(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The image pale and without colour, wrong pixels red, ignored ones grey: (H, W, 3) uint8."""
    grey = displayable(image).astype(np.float32).mean(axis=2, keepdims=True)
    marked = np.repeat(np.round(195 + 60 * grey / max(grey.max(), 1)).astype(np.uint8), 3, axis=2)
    marked[truth == IGNORE] = _rgb(GREY)
    marked[(truth != IGNORE) & (truth != prediction)] = _rgb(ERROR)
    return marked


def prediction_figure(
    rows: Sequence[Row], class_names: Sequence[str], iou: Sequence[float] | None = None, title: str = "", note: str = ""
):
    """Image, truth, prediction and errors side by side, a row for each example.

    Parameters
    ----------
    rows : sequence of Row
    class_names : sequence of str
    iou : sequence of float, optional
        Each class's IoU over all held-out pixels, shown beside its name; NaN where a class is absent.
    title, note : str
        Above the pictures, and in small print below them.
    """
    for row in rows:
        _expect_same_size(row.image, row.truth, "prediction_figure")
        _expect_same_size(row.image, row.prediction, "prediction_figure")
    panels = [
        (displayable(row.image), colorize(row.truth, class_names), colorize(row.prediction, class_names),
         mark_errors(row.image, row.truth, row.prediction))
        for row in rows
    ]  # fmt: skip
    any_ignored = any((row.truth == IGNORE).any() for row in rows)
    entries = _legend_entries(class_names, iou) + [("error", ERROR)] + ([("not labelled", GREY)] if any_ignored else [])
    return _panel_figure(panels, ("Image", "Truth", "Prediction", "Errors"), entries, title, note)


def map_figure(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    class_names: Sequence[str],
    iou: Sequence[float] | None = None,
    title: str = "",
    note: str = "",
):
    """One large region, stitched: image, truth and prediction side by side, with the legend below."""
    _expect_same_size(image, truth, "map_figure")
    _expect_same_size(image, prediction, "map_figure")
    prediction = np.where(truth == IGNORE, IGNORE, prediction)
    panels = [(displayable(image), colorize(truth, class_names), colorize(prediction, class_names))]
    entries = _legend_entries(class_names, iou) + ([("not labelled", GREY)] if (truth == IGNORE).any() else [])
    return _panel_figure(panels, ("Image", "Truth", "Prediction"), entries, title, note)


def heat(values: np.ndarray) -> np.ndarray:
    """Values (H, W) from 0 to 1 as colours (H, W, 3) uint8, from black over red to pale yellow, ever lighter."""
    from matplotlib import colormaps

    return np.round(255 * colormaps["inferno"](np.clip(values, 0, 1))[..., :3]).astype(np.uint8)


def heat_overlay(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Heat laid over the image (H, W, C), dark and without colour: (H, W, 3) uint8. The largest value is the lightest."""
    _expect_same_size(image, values, "heat_overlay")
    share = values / max(float(values.max()), np.finfo(np.float32).tiny)
    grey = np.repeat(0.55 * displayable(image).astype(np.float32).mean(axis=2, keepdims=True), 3, axis=2)
    opacity = np.sqrt(np.clip(share, 0, 1))[..., None]
    return np.round(grey + opacity * (heat(0.25 + 0.75 * share) - grey)).astype(np.uint8)


def enlarge(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A layer's map (h, w) as large as the image, each value a block: pooling by 4 makes one value of 4x4 pixels.

    What a network has padded below and at the right is cut off; what its pooling has left over repeats the edge.
    """
    steps = [max(1, round(n / m)) for n, m in zip(size, values.shape, strict=True)]
    large = np.kron(values, np.ones(steps, values.dtype))[: size[0], : size[1]]
    return np.pad(large, [(0, n - m) for n, m in zip(size, large.shape, strict=True)], mode="edge")


def explanation_figure(panels: dict[str, np.ndarray], title: str = "", note: str = ""):
    """Pictures (H, W, 3) of one image side by side under their headings, with the scale of ``heat_overlay`` below."""
    entries = [(text, _hex(heat(np.array([[value]]))[0, 0])) for text, value in HEAT_LEGEND]
    return _panel_figure([tuple(panels.values())], tuple(panels), entries, title, note)


def maps_figure(maps: np.ndarray, title: str = "", most: int = 64):
    """Feature maps or filters (K, h, w) in a grid, each from its own least value (black) to its largest (white)."""
    shown = maps[:most]
    columns = min(len(shown), 16 if shown.shape[1] < 12 else 8)
    lines = -(-len(shown) // columns)
    cell, gap, top = min(8.0 / columns, 2.0), 0.06, 0.45 if title else 0.1
    tall = cell * shown.shape[1] / shown.shape[2]
    width, height = 8.3, 0.15 + top + lines * (tall + gap)
    with _style():
        figure = _new_figure(width, height)
        for k, values in enumerate(shown):
            x, y = 0.15 + k % columns * cell, height - top - (k // columns + 1) * (tall + gap)
            axes = figure.add_axes((x / width, y / height, (cell - gap) / width, tall / height))
            axes.imshow(values, cmap="gray", interpolation="nearest", aspect="auto")
            axes.set_axis_off()
        if title:
            figure.text(0.15 / width, 1 - 0.12 / height, title, va="top", fontsize=12, weight="bold")
        return figure


def robustness_figure(curves: Sequence, class_names: Sequence[str], examples: Sequence | None = None, title: str = ""):
    """IoU of each class over the strength of each damage, with the damaged image below each strength.

    Parameters
    ----------
    curves : sequence of robustness.Curve
    class_names : sequence of str
    examples : sequence, for each curve a sequence of (h, w, C) images, optional
        One for each strength.
    title : str
    """
    wide, tall = 4.6, 2.6
    small = wide / max(len(curve.strengths) for curve in curves) if examples else 0.0
    left, gap, right, top, axis = 0.65, 0.3, 1.75, 0.75 if title else 0.4, 0.62
    width = left + len(curves) * (wide + gap) + right
    height = top + tall + axis + small + 0.15
    with _style():
        figure = _new_figure(width, height)
        for number, curve in enumerate(curves):
            x = left + number * (wide + gap)
            axes = figure.add_axes((x / width, (height - top - tall) / height, wide / width, tall / height))
            _draw_robustness(axes, curve, class_names, first=number == 0, last=number == len(curves) - 1)
            for i, image in enumerate(examples[number] if examples else ()):
                each = wide / len(curve.strengths)
                place = ((x + i * each + 0.02) / width, 0.1 / height, (each - 0.04) / width, (small - 0.04) / height)
                picture = figure.add_axes(place)
                picture.imshow(_fixed_stretch(image, examples[number][0]), interpolation="nearest", aspect="auto")
                picture.set_axis_off()
        if title:
            figure.text(0.15 / width, 1 - 0.12 / height, title, va="top", fontsize=14, weight="bold")
        return figure


def _draw_robustness(axes, curve, class_names, first: bool, last: bool) -> None:
    places = np.arange(len(curve.strengths))
    for k, name in enumerate(class_names if len(class_names) <= 6 else ()):
        scores = [iou[k] for iou in curve.iou]
        axes.plot(places, scores, color=_line_colour(class_names, k), linewidth=1.4, marker=".", label=name)
    axes.plot(places, curve.mean_iou, color=INK, linewidth=2.2, marker="o", markersize=4, label="mean")
    axes.set_xticks(places, [f"{strength:g}" for strength in curve.strengths])
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set_ylim(0, 1)
    axes.set_title(curve.kind.capitalize(), loc="left")
    axes.set_xlabel(curve.unit)
    if first:
        axes.set_ylabel("IoU on held-out images")
    else:
        axes.set_yticklabels([])
    if last:
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.03))


def _fixed_stretch(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """As ``displayable``, but stretched like the reference, so that lost contrast shows."""
    if image.shape[2] == 3 and image.dtype == np.uint8:
        return image
    low, high = np.percentile(reference[..., :1].astype(np.float32), [0.5, 99.8])
    stretched = np.clip((image[..., :1].astype(np.float32) - low) / max(high - low, 1e-6), 0, 1) ** 0.5
    return np.repeat(np.round(255 * stretched).astype(np.uint8), 3, axis=2)


def curves_figure(history: dict, baseline: tuple[str, float] | None = None, title: str = ""):
    """The training loss and the validation scores against the step.

    Parameters
    ----------
    history : dict
        ``loss``: one value a step; ``validation``: a list of ``{"step": ..., "mean_iou": ..., "iou": {class: ...}}``.
    baseline : (name, mean IoU), optional
        Drawn as a dashed line.
    title : str
    """
    with _style():
        figure = _new_figure(12, 4.2)
        loss_axes, score_axes = figure.subplots(1, 2)
        _draw_loss(loss_axes, np.array(history["loss"], float))
        _draw_scores(score_axes, history["validation"], baseline)
        figure.subplots_adjust(left=0.05, right=0.8, bottom=0.13, top=0.81 if title else 0.91, wspace=0.15)
        if title:
            figure.text(0.05, 0.96, title, va="top", fontsize=14, weight="bold")
        return figure


def save_figure(figure, path: str | os.PathLike) -> None:
    """Write the figure as a PNG, whole or not at all; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with _style():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def save_mask(mask: np.ndarray, path: str | os.PathLike, class_names: Sequence[str]) -> None:
    """Write labels as a palette PNG: a viewer shows colours, a program reads the labels."""
    picture = Image.fromarray(mask.astype(np.uint8))
    picture.putpalette(_palette(class_names).tobytes())
    write_bytes(path, _png(picture))


def save_image(image: np.ndarray, path: str | os.PathLike) -> None:
    """Write an (H, W, 3) uint8 image as a PNG."""
    write_bytes(path, _png(Image.fromarray(image)))


def squares(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> list[Row]:
    """A long strip cut into about square rows, so that a figure can show it large; other images as one row."""
    height, width = truth.shape
    count = max(1, round(max(height, width) / min(height, width)))
    axis = 0 if height >= width else 1
    cut = [np.array_split(array, count, axis=axis) for array in (image, truth, prediction)]
    return [Row(*pieces) for pieces in zip(*cut, strict=True)]


# ---------------------------------------------------------------------------------------------------------------- parts


def _legend_entries(class_names, iou) -> list[tuple[str, str]]:
    """(text, colour) of each class."""
    texts = list(class_names)
    if iou is not None:
        scores = ["absent" if np.isnan(value) else f"IoU {value:.2f}" for value in iou]
        texts = [f"{name}  {score}" for name, score in zip(class_names, scores, strict=True)]
    return [(text, _hex(colour)) for text, colour in zip(texts, class_colours(class_names), strict=True)]


def _panel_figure(panels, headings, entries, title, note):
    """A grid of pictures, every one at the same scale in its column, with headings above and a legend below.

    Laid out in inches from the sizes of its parts, so nothing overlaps whatever the pictures' shapes.
    """
    from matplotlib.patches import Patch

    columns = len(headings)
    cell_width = 2.5 if columns == 4 else 3.6
    cell_height = [cell_width * row[0].shape[0] / row[0].shape[1] for row in panels]
    gap, side = 0.1, 0.2
    total_width = 2 * side + columns * cell_width + (columns - 1) * gap
    widest = 0.75 + 0.0875 * max(len(text) for text, _ in entries)  # patch, gap, and 0.6 em of 10.5 points a letter
    per_line = min(len(entries), max(1, int((total_width - 2 * side) / widest)))
    lines = -(-len(entries) // per_line)
    top = 0.42 + (0.4 if title else 0)
    bottom = 0.15 + 0.26 * lines + (0.14 + 0.16 * len(note.splitlines()) if note else 0)
    total_height = top + sum(cell_height) + gap * (len(panels) - 1) + bottom
    with _style():
        figure = _new_figure(total_width, total_height)
        y = total_height - top
        for number, (row, tall) in enumerate(zip(panels, cell_height, strict=True)):
            y -= tall
            for column, (picture, heading) in enumerate(zip(row, headings, strict=True)):
                x = side + column * (cell_width + gap)
                axes = figure.add_axes(
                    (x / total_width, y / total_height, cell_width / total_width, tall / total_height)
                )
                enlarged = picture.shape[1] < 100 * cell_width  # then pixels stay visible
                axes.imshow(picture, interpolation="nearest" if enlarged else "antialiased", aspect="auto")
                axes.set_axis_off()
                if number == 0:
                    axes.set_title(heading)
            y -= gap
        if title:
            figure.text(side / total_width, 1 - 0.16 / total_height, title, va="top", fontsize=14, weight="bold")
        patches = [Patch(facecolor=colour, edgecolor=FAINT, linewidth=0.5, label=text) for text, colour in entries]
        figure.legend(
            handles=patches,
            ncols=per_line,
            loc="upper left",
            bbox_to_anchor=((side - 0.1) / total_width, (bottom - 0.02) / total_height),
            handlelength=1.3,
            handleheight=1.0,
            columnspacing=1.8,
            borderaxespad=0.2,
        )
        if note:
            figure.text(side / total_width, 0.13 / total_height, note, va="bottom", fontsize=9.5, color="#595959")
        return figure


def _draw_loss(axes, loss: np.ndarray) -> None:
    steps = np.arange(1, len(loss) + 1)
    axes.plot(steps, loss, color=COLOURS[4], alpha=0.25, linewidth=1, label="each step")
    axes.plot(steps, _smooth(loss), color=COLOURS[4], linewidth=2, label="smoothed")
    axes.set_title("Training loss", loc="left")
    axes.set_xlabel("step")
    axes.set_xlim(0, max(len(loss), 1))
    axes.set_ylim(0, None)
    axes.legend()


def _draw_scores(axes, validation: list[dict], baseline) -> None:
    steps = [entry["step"] for entry in validation]
    names = list(validation[0]["iou"]) if validation else []
    for number, name in enumerate(names if len(names) <= 6 else []):
        axes.plot(
            steps,
            [_number(entry["iou"][name]) for entry in validation],
            color=_line_colour(names, number),
            linewidth=1.4,
            label=name,
        )
    axes.plot(
        steps,
        [_number(entry["mean_iou"]) for entry in validation],
        color=INK,
        linewidth=2.2,
        marker="o",
        markersize=4,
        label="mean",
    )
    if baseline is not None:
        axes.axhline(baseline[1], color=INK, linestyle="--", linewidth=1.1, label=fill(f"{baseline[0]}, mean", 20))
    axes.set_title("IoU on held-out images", loc="left")
    axes.set_xlabel("step")
    axes.set_xlim(0, max(steps, default=1))
    axes.set_ylim(0, 1)
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.03))  # beside the axes, where it never hides a line


def _line_colour(names, number: int) -> str:
    return FAINT if names[number] == "background" else _hex(class_colours(names)[number])


def _smooth(values: np.ndarray) -> np.ndarray:
    """Each value's mean with its neighbours over about a tenth of the run; at the start, where a loss falls fast, over fewer."""
    place = np.arange(len(values))
    reach = np.minimum(len(values) // 20, place)
    first, stop = place - reach, np.minimum(place + reach + 1, len(values))
    total = np.concatenate([[0], np.cumsum(values)])
    return (total[stop] - total[first]) / (stop - first)


def _borders(mask: np.ndarray) -> np.ndarray:
    """Pixels beside one with a smaller label."""
    border = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        first, second = np.moveaxis(mask, axis, 0)[:-1], np.moveaxis(mask, axis, 0)[1:]
        view = np.moveaxis(border, axis, 0)
        view[:-1] |= first > second
        view[1:] |= second > first
    return border


def _palette(class_names) -> np.ndarray:
    """256 colours: the classes', then grey for every label that is none of them."""
    palette = np.full((256, 3), _rgb(GREY), np.uint8)
    palette[: len(class_names)] = class_colours(class_names)
    return palette


def _expect_same_size(image: np.ndarray, mask: np.ndarray, where: str) -> None:
    if image.shape[:2] != mask.shape:
        raise ShapeError(
            f"{where}: the image is {image.shape[:2]} and the mask {mask.shape}; they must have the same size"
        )


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Matplotlib's defaults and STYLE, whatever the user's own settings; they are back afterwards."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def _new_figure(width: float, height: float):
    """A figure of this size in inches that belongs to no window and to no global list."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=False)
    return buffer.getvalue()


def _number(value) -> float:
    return float("nan") if value is None else value


def _hex(colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
