"""Pictures side by side under their headings, with one legend: predictions, maps of a region, explanations, feature maps."""

from collections.abc import Sequence

import numpy as np

from minseg.viz.masks import Row, colorize, displayable, expect_same_size, heat, mark_errors
from minseg.viz.style import ERROR, FAINT, GREY, IGNORE, class_colours, hex_colour, new_figure, style

HEAT_LEGEND = (("little", 0.25), ("half of the most", 0.62), ("most", 1.0))


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
        expect_same_size(row.image, row.truth, "prediction_figure")
        expect_same_size(row.image, row.prediction, "prediction_figure")
    panels = [
        (displayable(row.image), colorize(row.truth, class_names), colorize(row.prediction, class_names),
         mark_errors(row.image, row.truth, row.prediction))
        for row in rows
    ]  # fmt: skip
    any_ignored = any((row.truth == IGNORE).any() for row in rows)
    entries = legend_entries(class_names, iou) + [("error", ERROR)] + ([("not labelled", GREY)] if any_ignored else [])
    return panel_figure(panels, ("Image", "Truth", "Prediction", "Errors"), entries, title, note)


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
    expect_same_size(image, truth, "map_figure")
    expect_same_size(image, prediction, "map_figure")
    prediction = np.where(truth == IGNORE, IGNORE, prediction)
    panels = [(displayable(image), colorize(truth, class_names), colorize(prediction, class_names))]
    entries = legend_entries(class_names, iou) + ([("not labelled", GREY)] if (truth == IGNORE).any() else [])
    return panel_figure(panels, ("Image", "Truth", "Prediction"), entries, title, note)


def explanation_figure(panels: dict[str, np.ndarray], title: str = "", note: str = ""):
    """Pictures (H, W, 3) of one image side by side under their headings, with the scale of ``heat_overlay`` below."""
    entries = [(text, hex_colour(heat(np.array([[value]]))[0, 0])) for text, value in HEAT_LEGEND]
    return panel_figure([tuple(panels.values())], tuple(panels), entries, title, note)


def maps_figure(maps: np.ndarray, title: str = "", most: int = 64):
    """Feature maps or filters (K, h, w) in a grid, each from its own least value (black) to its largest (white)."""
    shown = maps[:most]
    columns = min(len(shown), 16 if shown.shape[1] < 12 else 8)
    lines = -(-len(shown) // columns)
    cell, gap, top = min(8.0 / columns, 2.0), 0.06, 0.45 if title else 0.1
    tall = cell * shown.shape[1] / shown.shape[2]
    width, height = 8.3, 0.15 + top + lines * (tall + gap)
    with style():
        figure = new_figure(width, height)
        for k, values in enumerate(shown):
            x, y = 0.15 + k % columns * cell, height - top - (k // columns + 1) * (tall + gap)
            axes = figure.add_axes((x / width, y / height, (cell - gap) / width, tall / height))
            axes.imshow(values, cmap="gray", interpolation="nearest", aspect="auto")
            axes.set_axis_off()
        if title:
            figure.text(0.15 / width, 1 - 0.12 / height, title, va="top", fontsize=12, weight="bold")
        return figure


def legend_entries(class_names, iou) -> list[tuple[str, str]]:
    """(text, colour) of each class."""
    texts = list(class_names)
    if iou is not None:
        scores = ["absent" if np.isnan(value) else f"IoU {value:.2f}" for value in iou]
        texts = [f"{name}  {score}" for name, score in zip(class_names, scores, strict=True)]
    return [(text, hex_colour(colour)) for text, colour in zip(texts, class_colours(class_names), strict=True)]


def panel_figure(panels, headings, entries, title, note):
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
    with style():
        figure = new_figure(total_width, total_height)
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
