"""Pictures: masks in colours that colour-blind readers can tell apart, predictions beside the truth, training curves.

Figures are objects of their own (no pyplot, no global state), in one fixed style, and saved without anything that
changes from run to run: the same input gives the same PNG.
"""

from minseg.viz.costs import CostPanel, cost_figure
from minseg.viz.curves import curves_figure, robustness_figure
from minseg.viz.growth import growth_figure
from minseg.viz.lessons import (
    bars_figure,
    confusion_figure,
    descent_figure,
    gallery_figure,
    lines_figure,
    matrices_figure,
)
from minseg.viz.masks import (
    Row,
    colorize,
    displayable,
    enlarge,
    heat,
    heat_overlay,
    mark_errors,
    overlay,
    save_image,
    save_mask,
    squares,
)
from minseg.viz.notebook import Drawing
from minseg.viz.panels import explanation_figure, map_figure, maps_figure, prediction_figure
from minseg.viz.style import class_colours, save_figure

__all__ = [
    "CostPanel",
    "Drawing",
    "Row",
    "bars_figure",
    "class_colours",
    "colorize",
    "confusion_figure",
    "cost_figure",
    "curves_figure",
    "descent_figure",
    "displayable",
    "enlarge",
    "explanation_figure",
    "gallery_figure",
    "growth_figure",
    "heat",
    "heat_overlay",
    "lines_figure",
    "map_figure",
    "maps_figure",
    "mark_errors",
    "matrices_figure",
    "overlay",
    "prediction_figure",
    "robustness_figure",
    "save_figure",
    "save_image",
    "save_mask",
    "squares",
]
