"""Figures of the tutorials, eight inches wide: pictures side by side, matrices with their numbers, lines, paths, bars."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np

from minseg.viz.masks import colorize
from minseg.viz.style import FAINT, GREY, IGNORE, INK, class_colours, hex_colour, new_figure, style

WIDTH = 8.0
VALUE_SIZE = 9  # points, of the numbers on bars
"""Inches; a notebook shows 640 pixels."""
SIDE, GAP = 0.15, 0.12


def gallery_figure(
    panels: Mapping[str, np.ndarray],
    columns: int | None = None,
    class_names: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
    title: str = "",
    note: str = "",
):
    """Pictures in lines under their headings, with the colours of classes named below.

    Parameters
    ----------
    panels : mapping of heading to picture
        Colours (H, W, 3) uint8 as they are; a mask (H, W) uint8 in the colours of the classes where class_names are given; any
        other array (H, W) in grey. A heading may have several lines.
    columns : int, optional
        Pictures in a line; 4 where left out, or all if they are fewer.
    limits : (float, float), optional
        The values that are black and white; where left out each picture's least and largest.
    """
    columns = columns or min(len(panels), 4)
    pictures = [_picture(p, class_names, limits) for p in panels.values()]
    lines = [range(first, min(first + columns, len(pictures))) for first in range(0, len(pictures), columns)]
    cell = (WIDTH - 2 * SIDE - (columns - 1) * GAP) / columns
    headings = [_wrapped(heading, cell) for heading in panels]
    tall = [max(cell * pictures[i].shape[0] / pictures[i].shape[1] for i in line) for line in lines]
    head = [0.12 + 0.19 * max(headings[i].count("\n") + 1 for i in line) for line in lines]
    names = list(class_names) + (["not labelled"] if _any_ignored(panels, class_names) else [])
    per_line = _names_per_line(names)
    legend = 0.12 + 0.22 * -(-len(names) // per_line) if names else 0.0
    top, bottom = 0.4 * bool(title), 0.1 + legend + 0.22 * bool(note) * (note.count("\n") + 1)
    height = top + sum(head) + sum(tall) + bottom
    with style():
        figure = new_figure(WIDTH, height)
        y = height - top
        for line, above, high in zip(lines, head, tall):
            y -= above + high
            for place, i in enumerate(line):
                axes = _axes(figure, SIDE + place * (cell + GAP), y, cell, high)
                axes.imshow(pictures[i], interpolation="nearest", aspect="equal")
                axes.set_anchor("N")
                axes.set_axis_off()
                axes.set_title(headings[i], fontsize=10.5, pad=4)
        _write_title(figure, title)
        if names:
            colours = [hex_colour(colour) for colour in class_colours(class_names)] + [GREY]
            _legend(figure, dict(zip(names, colours)), per_line, bottom - 0.04)
        if note:
            figure.text(SIDE / WIDTH, 0.09 / height, note, va="bottom", fontsize=9.5, color="#595959")
        return figure


def matrices_figure(matrices: Mapping[str, np.ndarray], form: str = "g", title: str = "", most: float | None = None):
    """Small matrices side by side with their numbers in cells, the darker the larger; negative numbers are orange.

    form says how numbers are written (``g``, ``.2f``); most is the value with the darkest cell, the largest where left out.
    """
    arrays = {name: np.asarray(m) for name, m in matrices.items()}
    rows, columns = max(m.shape[0] for m in arrays.values()), sum(m.shape[1] for m in arrays.values())
    gap = 0.35
    cell = min(0.62, (WIDTH - 2 * SIDE - gap * (len(arrays) - 1)) / columns)
    headings = [_wrapped(name, cell * m.shape[1] + gap - 0.1) for name, m in arrays.items()]
    top = (0.4 if title else 0) + 0.12 + 0.19 * max(heading.count("\n") + 1 for heading in headings)
    height = top + rows * cell + 0.15
    most = most or max(np.abs(m).max() for m in arrays.values()) or 1
    with style():
        figure = new_figure(WIDTH, height)
        x = (WIDTH - cell * columns - gap * (len(arrays) - 1)) / 2
        for heading, m in zip(headings, arrays.values()):
            axes = _axes(figure, x, height - top - cell * m.shape[0], cell * m.shape[1], cell * m.shape[0])
            _draw_matrix(axes, m, form, most, cell)
            axes.set_title(heading, fontsize=10.5, pad=4)
            x += cell * m.shape[1] + gap
        _write_title(figure, title)
        return figure


def lines_figure(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str = "",
    y_label: str = "",
    title: str = "",
    log_x: bool = False,
    log_y: bool = False,
    marks: Mapping[str, float] | None = None,
):
    """Lines (x, y) with their names beside them in a legend; marks are dashed horizontal lines, each with its name."""
    with style():
        figure = new_figure(WIDTH, 4.2)
        axes = figure.add_axes((0.1, 0.14, 0.62, 0.72))
        for number, (name, (x, y)) in enumerate(lines.items()):
            few = len(x) <= 15
            axes.plot(
                x,
                y,
                color=_line(number),
                linestyle=_DASHES[number // 7 % 4],
                marker="o" if few else "",
                label=fill(name, 22),
                linewidth=2,
            )
        for name, value in (marks or {}).items():
            axes.axhline(value, color=INK, linestyle="--", linewidth=1.2, label=fill(name, 22))
        axes.set_xscale("log" if log_x else "linear")
        axes.set_yscale("log" if log_y else "linear")
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.02), borderaxespad=0)
        _write_title(figure, title)
        return figure


def descent_figure(
    across: np.ndarray,
    up: np.ndarray,
    loss: np.ndarray,
    paths: Mapping[str, np.ndarray],
    x_label: str = "",
    y_label: str = "",
    title: str = "",
):
    """Paths (S, 2) over the landscape loss (U, A) of two weights; between two contours lies a factor, so that valleys show.

    across (A,) and up (U,) are the weights where the loss is known. A ring marks where each path starts, a disc where it ends.
    """
    levels = np.geomspace(max(loss.min(), 1e-3 * loss.max()), loss.max(), 14)
    with style():
        figure = new_figure(WIDTH, 4.6)
        axes = figure.add_axes((0.09, 0.125, 0.62, 0.785))
        axes.contourf(across, up, loss, levels, colors=["white", *_greys(len(levels) - 1)], extend="min")
        axes.contour(across, up, loss, levels, colors=GREY, linewidths=0.6)
        for number, (name, path) in enumerate(paths.items()):
            color = _line(number)
            axes.plot(*path.T, color=color, linewidth=1.8, marker=".", markersize=4, label=fill(name, 18))
            axes.plot(*path[-1], color=color, marker="o", markersize=8, markeredgecolor="white", zorder=3)
            axes.plot(*path[0], color=INK, marker="o", markersize=9, markerfacecolor="white", zorder=4)
        axes.set_xlim(across[0], across[-1])
        axes.set_ylim(up[0], up[-1])
        axes.grid(visible=False)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.02), borderaxespad=0)
        _write_title(figure, title)
        return figure


def bars_figure(
    groups: Sequence[str],
    bars: Mapping[str, Sequence[float]],
    y_label: str = "",
    title: str = "",
    form: str = ".2f",
    log: bool = False,
):
    """Bars in groups with their values on top: a colour for each name in bars, a bar in each group; NaN has no bar.

    Values stand upright where they are wider than their bars.
    """
    width, texts = 0.8 / len(bars), [["none" if np.isnan(v) else format(v, form) for v in vs] for vs in bars.values()]
    points = width * 0.89 * WIDTH * 72 / len(groups)  # from a bar to the next
    upright = len(bars) > 1 and max(len(text) for series in texts for text in series) * 0.64 * VALUE_SIZE > points
    with style():
        figure = new_figure(WIDTH, 3.9)
        axes = figure.add_axes((0.09, 0.14, 0.89, 0.64))
        for number, (name, values) in enumerate(bars.items()):
            places = np.arange(len(groups)) - 0.4 + width * (number + 0.5)
            values = np.asarray(values, float)
            axes.bar(places, np.nan_to_num(values), width * 0.92, color=_line(number), label=name)
            for text, place, value in zip(texts[number], places, np.nan_to_num(values)):
                above = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
                axes.annotate(text, (place, value), **above, fontsize=VALUE_SIZE, rotation=90 * upright)
        axes.set_yscale("log" if log else "linear")
        axes.set_xticks(np.arange(len(groups)), groups)
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="x", visible=False)
        axes.margins(y=0.18 if upright else 0.12)
        axes.set_ylabel(y_label)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(bars), borderaxespad=0.2, columnspacing=1.5)
        _write_title(figure, title)
        return figure


def confusion_figure(counts: np.ndarray, class_names: Sequence[str], title: str = ""):
    """A confusion matrix: how the pixels of each true class (row) were predicted (column), in per cent of the row."""
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    k = len(class_names)
    cell = min(0.62, 4.4 / k)
    names = 0.2 + 0.085 * max(map(len, class_names))
    top, height = 0.75, 0.75 + k * cell + names + 0.1
    with style():
        figure = new_figure(WIDTH, height)
        axes = _axes(figure, 0.4 + names, height - top - k * cell, k * cell, k * cell)
        _draw_matrix(axes, share, ".0f", 100, cell)
        for place, name in enumerate(class_names):
            axes.text(-0.65, place, name, ha="right", va="center", fontsize=10)
            axes.text(place, k - 0.38, name, ha="center", va="top", rotation=90, fontsize=10)
        axes.set_title("predicted as ... (% of the row)", fontsize=10.5, loc="left")
        figure.text(0.3 / WIDTH, (height - top - k * cell / 2) / height, "truth", rotation=90, va="center", ha="center")
        _write_title(figure, title)
        return figure


# ---------------------------------------------------------------------------------------------------------------- parts

_DASHES = ("-", "--", ":", "-.")
_LINES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#222222")


def _line(number: int) -> str:
    return _LINES[number % len(_LINES)]


def _greys(count: int) -> list[str]:
    """From white, for the lowest, to a grey on which lines in colour still stand out."""
    return [f"{value:.3f}" for value in np.linspace(0.98, 0.7, count)]


def _names_per_line(names: Sequence[str]) -> int:
    """All of them, if their patches and letters fit; else as many as fit when each is as wide as the widest."""
    room = WIDTH - 2 * SIDE
    if sum(0.3 + 0.068 * len(name) for name in names) <= room:
        return len(names)
    return max(1, int(room / (0.36 + 0.075 * max(map(len, names)))))


def _wrapped(heading: str, width: float) -> str:
    """Its lines broken so that they fit into this width in inches, at about a tenth of an inch a letter."""
    return "\n".join(fill(line, max(8, int(width / 0.1))) for line in heading.split("\n"))


def _picture(panel: np.ndarray, class_names: Sequence[str], limits) -> np.ndarray:
    panel = np.asarray(panel)
    if panel.ndim == 3:
        return panel
    if panel.dtype == np.uint8 and class_names:
        return colorize(panel, class_names)
    low, high = limits or (panel.min(), panel.max())
    grey = np.clip((panel - low) / ((high - low) or 1), 0, 1)
    return np.repeat(np.round(255 * grey).astype(np.uint8)[..., None], 3, axis=2)


def _any_ignored(panels: Mapping[str, np.ndarray], class_names: Sequence[str]) -> bool:
    masks = [p for p in panels.values() if class_names and p.ndim == 2 and p.dtype == np.uint8]
    return any((mask == IGNORE).any() for mask in masks)


def _axes(figure, x: float, y: float, width: float, height: float):
    """Axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((x / across, y / up, width / across, height / up))


def _write_title(figure, title: str) -> None:
    if title:
        figure.text(SIDE / WIDTH, 1 - 0.1 / figure.get_size_inches()[1], title, va="top", fontsize=13, weight="bold")


def _legend(figure, colours: Mapping[str, str], per_line: int, y: float) -> None:
    from matplotlib.patches import Patch

    figure.legend(
        handles=[Patch(facecolor=c, edgecolor=FAINT, linewidth=0.5, label=name) for name, c in colours.items()],
        ncols=per_line,
        loc="upper left",
        bbox_to_anchor=((SIDE - 0.05) / WIDTH, y / figure.get_size_inches()[1]),
        handlelength=1.1,
        handleheight=1.0,
        columnspacing=0.9,
        handletextpad=0.4,
        borderaxespad=0.1,
        fontsize=9,
    )


def _draw_matrix(axes, m: np.ndarray, form: str, most: float, cell: float) -> None:
    """Numbers in coloured cells: blue for positive, orange for negative, white for 0."""
    strength = np.clip(np.abs(m) / most, 0, 1)[..., None] * 0.75
    blue, orange = np.array([0, 114, 178]), np.array([213, 94, 0])
    colours = 255 - strength * (255 - np.where(m[..., None] < 0, orange, blue))
    axes.imshow(np.round(colours).astype(np.uint8), interpolation="nearest", aspect="auto")
    axes.set_xticks(np.arange(m.shape[1] + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(m.shape[0] + 1) - 0.5, minor=True)
    axes.grid(which="major", visible=False)
    axes.grid(which="minor", color="#c8c8c8", linewidth=0.8)
    axes.tick_params(which="both", length=0, labelleft=False, labelbottom=False)
    for edge in axes.spines.values():
        edge.set(visible=True, color="#c8c8c8", linewidth=0.8)
    size = min(11.0, 21 * cell)
    for (i, j), value in np.ndenumerate(m):
        light = strength[i, j, 0] < 0.5
        axes.text(j, i, format(value, form), ha="center", va="center", fontsize=size, color=INK if light else "white")
