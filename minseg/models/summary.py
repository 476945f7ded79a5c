"""What each network costs and sees: parameters, multiply-adds and receptive field, all measured on the network itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minseg.autograd import tensor, topological
from minseg.errors import ArgumentError, nearest_names
from minseg.models import NAMES, build, field
from minseg.nn import Module, evaluation_mode
from minseg.ops.arguments import integer

STRIP = (512, 32)
"""Height and width of the image that receptive fields are measured on: networks see rows and columns alike, so it may be narrow."""


@dataclass(frozen=True)
class Summary:
    """One network's measures."""

    name: str
    parameters: int
    multiply_adds: int
    """Of one image, in convolutions, fully connected layers and matrix products; all else is small beside them."""
    receptive_field: int | None
    """Side in pixels of the square that the logits in the middle depend on; None for more than the height of ``STRIP``."""


def summarize(name: str, in_channels: int = 3, num_classes: int = 21, size: tuple[int, int] = (128, 128)) -> Summary:
    """Measure the network that ``build`` makes, for images of this height and width.

    >>> summarize("encoder_decoder", 3, 2, (8, 8))
    Summary(name='encoder_decoder', parameters=53218, multiply_adds=497664, receptive_field=14)
    """
    model = build(name, in_channels, num_classes)
    return Summary(
        name, model.num_parameters(), multiply_adds(model, in_channels, size), receptive_field(model, in_channels)
    )


def table(summaries: Sequence[Summary]) -> str:
    """The measures as lines to read."""
    cells = [("model", "parameters", "multiply-adds", "sees (pixels)")]
    for s in summaries:
        field = f"over {STRIP[0]}" if s.receptive_field is None else str(s.receptive_field)
        cells.append((s.name, f"{s.parameters:,}", f"{s.multiply_adds / 1e6:,.1f} M", field))
    name, *widths = (max(map(len, column)) for column in zip(*cells))
    rows = (
        f"{row[0]:{name}}  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths)) for row in cells
    )
    return "\n".join(rows)


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names, or all of ``NAMES`` if there are none; ArgumentError for one that is not known."""
    for name in names:
        if name not in NAMES:
            raise ArgumentError(f"unknown model {name!r}; {nearest_names(name, NAMES)}")
    return tuple(names) or NAMES


# -------------------------------------------------------------------------------------------------------- multiply-adds

# By the equation of the operation: from the shapes of its output and of its inputs.
COUNTS = {
    "conv.corr2d": lambda y, x, w, *b: math.prod(y) * math.prod(w[1:]),
    "conv.transpose2d": lambda y, x, w, *b: math.prod(x) * math.prod(w[1:]),
    "dense.affine": lambda y, x, w, *b: math.prod(y) * w[1],
    "arith.matmul": lambda y, a, b: math.prod(y) * a[-1],
}


def multiply_adds(model: Module, in_channels: int, size: tuple[int, int]) -> int:
    """Count the products that the network sums up for one image, by the graph that its forward pass leaves.

    >>> from minseg import nn
    >>> multiply_adds(nn.Conv2d(3, 8, kernel_size=5, padding=2), 3, (10, 10))
    60000
    """
    height, width = (integer(side, "multiply_adds: size") for side in size)
    if min(height, width) < 1:
        raise ArgumentError(f"multiply_adds: size must be at least 1x1, got {height}x{width}")
    with evaluation_mode(model):
        y = model(tensor(np.zeros((1, in_channels, height, width), np.float32)))
    output_shapes = {y.node: y.shape}
    total = 0
    for node in topological(y.node):  # whatever uses an output comes before what made it, and knows its shape
        edges = [edge for edge in node.inputs if edge is not None]
        output_shapes |= {edge.node: edge.shape for edge in edges if edge.node is not None}
        if node.equation in COUNTS:
            total += COUNTS[node.equation](output_shapes[node], *(edge.shape for edge in edges))
    return total


# ------------------------------------------------------------------------------------------------------ receptive field


def receptive_field(model: Module, in_channels: int) -> int | None:
    """Rows of the image on which the logits in its middle depend, or None if they reach the border of the ``STRIP``.

    >>> from minseg import nn
    >>> receptive_field(nn.Conv2d(3, 8, kernel_size=5, padding=4, dilation=2), 3)
    9
    """
    rows, _ = field.receptive_field(model, in_channels, STRIP).box
    return None if rows.start == 0 or rows.stop == STRIP[0] else rows.stop - rows.start
