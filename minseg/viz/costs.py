"""What networks reach against what they cost: a point for each, its name at the right with a line that leads there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minseg.viz.style import COLOURS, FAINT, INK, new_figure, style

BEST, OTHER = COLOURS[4], "#595959"


@dataclass
class CostPanel:
    """One panel of ``cost_figure``."""

    title: str
    networks: list[tuple[str, int, float]]
    """Name, multiply-adds and IoU of each."""
    baseline: tuple[str, float] | None = None
    """Name and IoU of a method that has no such cost."""


def cost_figure(panels: Sequence[CostPanel]):
    """IoU over multiply-adds. Round, blue and bold: no cheaper network reaches as much. Dashed: a method without a network."""
    wide, tall, left, right, top, bottom = 3.9, 4.6, 0.85, 2.1, 0.4, 0.6
    width, height = len(panels) * (left + wide + right), top + tall + bottom
    with style():
        figure = new_figure(width, height)
        for number, panel in enumerate(panels):
            x = left + number * (left + wide + right)
            axes = figure.add_axes((x / width, bottom / height, wide / width, tall / height))
            axes.set_title(panel.title, loc="left")
            axes.set_xlabel("multiply-adds for one image")
            axes.set_ylabel("IoU on held-out images")
            _draw_networks(axes, panel, gap=0.2 / tall)
        return figure


def _draw_networks(axes, panel: CostPanel, gap: float) -> None:
    """``gap`` is the least distance between two names, as a part of the height."""
    points = [(score, name, cost) for name, cost, score in panel.networks if not np.isnan(score)]
    for score, _, cost in points:
        best = unreached(score, cost, points)
        axes.plot(cost, score, "o" if best else "s", markersize=7 if best else 5, color=BEST if best else OTHER)
    costs = [cost for _, _, cost in points]
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda cost, _: f"{cost / 1e6:g} M")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlim(min(costs) / 1.5, max(costs) * 1.5)
    if panel.baseline:
        name, score = panel.baseline
        axes.axhline(score, color=INK, linestyle="--", linewidth=1.1)
        points.append((score, name, axes.get_xlim()[1]))
    low, high = axes.get_ylim()
    edge = axes.get_xlim()[1]
    points.sort()
    heights = [(score - low) / (high - low) for score, _, _ in points]
    for (score, name, cost), place in zip(points, spread_apart(heights, gap), strict=True):
        best = cost in costs and unreached(score, cost, points)
        axes.plot([cost, edge * 1.1], [score, low + place * (high - low)], color=FAINT, linewidth=0.5, clip_on=False)
        font = {"color": BEST, "weight": "bold"} if best else {"color": OTHER}
        axes.text(1.05, place, name, transform=axes.transAxes, va="center", **font)
    axes.set(xlim=(None, edge), ylim=(low, high))


def unreached(score: float, cost: float, points: Sequence[tuple[float, str, float]]) -> bool:
    """Whether everything that costs no more scores less."""
    return all(other < score for other, _, price in points if price <= cost and (other, price) != (score, cost))


def spread_apart(places: Sequence[float], gap: float) -> list[float]:
    """Rising places from 0 to 1, moved so that they are ``gap`` apart: up where they are crowded, then down from 1.

    >>> spread_apart([0.25, 0.5, 0.5, 1.0], 0.25)
    [0.25, 0.5, 0.75, 1.0]
    """
    moved = list(places)
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    ceiling = 1.0
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], ceiling)
        ceiling = moved[i] - gap
    return moved
