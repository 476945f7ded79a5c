"""The computation graph of a result, drawn as SVG: the reader's own network as the tape has recorded it.

Layers from top to bottom as values flow, laid out in four steps (after Sugiyama): each operation one row below the lowest of
its inputs; long edges get a place in every row that they cross; rows are ordered so that few edges cross; and all is moved to
stand above and below what it is joined to. Plain text, the same for the same graph.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from minseg.autograd import Function, Tensor, topological
from minseg.errors import GraphError
from minseg.nn import Module

CHARACTER, LINE = 6.6, 15  # of 11 point DejaVu Sans Mono, in pixels
ROW_GAP, COLUMN_GAP, LANE, BESIDE, MARGIN = 26, 18, 14, 12, 16
SWEEPS = 8
STYLE = """text{font:11px 'DejaVu Sans Mono',monospace;fill:#222222}.name{font-weight:bold}.note{fill:#595959}
rect{stroke:#a0a0a0;rx:5}.operation{fill:#eef4fa}.input{fill:#fdf3e1}.output{fill:#e6f4ee}path{fill:none;stroke:#8c8c8c;stroke-width:1.3}"""


@dataclass(eq=False)
class Box:
    """A node of the drawing; without lines it is a place that a long edge passes through."""

    kind: str
    lines: list[str] = field(default_factory=list)
    above: list["Box"] = field(default_factory=list)
    below: list["Box"] = field(default_factory=list)
    row: int = 0
    x: float = 0.0
    """Of its middle."""
    y: float = 0.0
    """Of its top."""

    @property
    def width(self) -> float:
        return max(len(line) for line in self.lines) * CHARACTER + 16 if self.lines else LANE

    @property
    def height(self) -> float:
        return len(self.lines) * LINE + 10 if self.lines else 0.0


def graph_svg(output: Tensor, model: Module | None = None, names: Mapping[str, Tensor] | None = None) -> str:
    """Draw how ``output`` was computed.

    Each operation is a box with its name, the id of its equation and its output's shape; call this before ``backward``, which
    frees the graph.

    Parameters
    ----------
    output : Tensor
        Made by recorded operations.
    model : Module, optional
        Its parameters are written into the boxes of the operations that use them; other leaves are boxes of their own.
    names : dict of str to Tensor, optional
        What to call other leaves.

    Returns
    -------
    str
        An SVG document.

    Raises
    ------
    GraphError
        If the tensor has no graph, or it has been freed.

    >>> import numpy as np
    >>> x = Tensor(np.ones((2, 3)), requires_grad=True)
    >>> "arith.mul" in graph_svg(x * x, names={"x": x})
    True
    """
    if output.node is None or output.node.freed:
        why = "was freed by backward" if output.node else "is not there: no operation was recorded"
        raise GraphError(f"graph_svg: the graph {why}; compute the output anew from inputs that need gradients")
    boxes = _boxes(output, dict(model.named_parameters()) if model else {}, dict(names or {}))
    rows = _rows(boxes)
    _order(rows)
    _place(rows)
    return _draw(rows)


# ------------------------------------------------------------------------------------------------------------- the nodes


def _boxes(output: Tensor, parameters: dict[str, Tensor], names: dict[str, Tensor]) -> list[Box]:
    """A box for each operation and each leaf that is no parameter, inputs before what uses them."""
    inside = {id(p): name for name, p in parameters.items()}
    called = {id(leaf): name for name, leaf in names.items()}
    order = topological(output.node)[::-1]
    shapes = {edge.node: edge.shape for node in order for edge in node.inputs if edge is not None and edge.node}
    shapes[output.node] = output.shape
    boxes: dict[object, Box] = {}  # by Function, or by the identity of a leaf
    drawn: list[Box] = []
    for node in order:
        box = Box("output" if node is output.node else "operation", _title(node, shapes[node]))
        for edge in node.inputs:
            if edge is None:
                continue
            if id(edge.leaf) in inside and edge.leaf is not None:
                box.lines.append(f"{inside[id(edge.leaf)]} {edge.shape}")
                continue
            key = edge.node or (id(edge.leaf) if edge.leaf is not None else object())  # a constant is its own each time
            if key not in boxes:
                name = called.get(id(edge.leaf), "leaf" if edge.leaf is not None else "constant")
                boxes[key] = Box("input", [name, str(edge.shape)])
                drawn.append(boxes[key])
            box.above.append(boxes[key])
            boxes[key].below.append(box)
        boxes[node] = box
        drawn.append(box)
    return drawn


def _title(node: Function, shape: tuple[int, ...]) -> list[str]:
    return [type(node).__name__, f"{node.equation} {shape}".strip()]


# ------------------------------------------------------------------------------------------------------------ the layout


def _rows(boxes: list[Box]) -> list[list[Box]]:
    """Boxes by row, with a place in each row that an edge crosses."""
    for box in boxes:
        box.row = 1 + max((above.row for above in box.above), default=-1)
    for box in reversed(boxes):  # an input stands just above its first use
        if not box.above:
            box.row = min(below.row for below in box.below) - 1
    rows: list[list[Box]] = [[] for _ in range(1 + max(box.row for box in boxes))]
    for box in boxes:
        rows[box.row].append(box)
        box.above = [_passing(above, box, rows) for above in box.above]
    for row in rows:
        for box in row:
            box.below = []
    for row in rows:
        for box in row:
            for above in box.above:
                above.below.append(box)
    return rows


def _passing(start: Box, end: Box, rows: list[list[Box]]) -> Box:
    """The last place on the way from start down to end: start itself if they are neighbours."""
    for row in range(start.row + 1, end.row):
        start = Box("edge", above=[start], row=row)
        rows[row].append(start)
    return start


def _order(rows: list[list[Box]]) -> None:
    """Sort each row by the mean position of what its boxes are joined to, downwards and upwards in turn."""
    position = {box: float(i) for row in rows for i, box in enumerate(row)}
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else rows[::-1]:
            mean = {box: _mean([position[b] for b in (box.above if down else box.below)], position[box]) for box in row}
            row.sort(key=mean.__getitem__)
            position.update((box, float(i)) for i, box in enumerate(row))


def _place(rows: list[list[Box]]) -> None:
    """Move each box to the middle of what it is joined to, as far as its neighbours let it; then set rows below rows."""
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else rows[::-1]:
            wanted = [_mean([b.x for b in (box.above if down else box.below)], box.x) for box in row]
            for box, x in zip(row, _apart(wanted, row)):
                box.x = x
    left = min(box.x - box.width / 2 for row in rows for box in row)
    y = float(MARGIN)
    for row in rows:
        tall = max(box.height for box in row)
        for box in row:
            box.x += MARGIN - left
            box.y = y
        y += tall + ROW_GAP


def _apart(wanted: list[float], row: list[Box]) -> list[float]:
    """The positions nearest to those wanted (in squares) at which no boxes of a row overlap."""
    offsets = [0.0]
    for before, after in pairwise(row):
        offsets.append(offsets[-1] + (before.width + after.width) / 2 + COLUMN_GAP)
    blocks: list[list[float]] = []  # [sum, count]: neighbours that push against each other move together
    for x, offset in zip(wanted, offsets):
        blocks.append([x - offset, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    starts = [total / count for total, count in blocks for _ in range(int(count))]
    return [start + offset for start, offset in zip(starts, offsets)]


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


# ----------------------------------------------------------------------------------------------------------- the drawing


def _draw(rows: list[list[Box]]) -> str:
    boxes = [box for row in rows for box in row]
    width = max(box.x + box.width / 2 for box in boxes) + MARGIN
    height = max(box.y + box.height for box in boxes) + MARGIN
    depth = {box: max(b.height for b in row) for row in rows for box in row}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" style="fill:#8c8c8c;stroke:none"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" style="fill:white;stroke:none"/>',
    ]
    for box in boxes:
        for above in dict.fromkeys(box.above):
            times = box.above.count(above)  # b = a + a has two edges, side by side
            parts += [_edge(above, box, depth, BESIDE * (i - (times - 1) / 2)) for i in range(times)]
    parts += [_box(box) for box in boxes if box.lines]
    return "\n".join([*parts, "</svg>", ""])


def _edge(above: Box, box: Box, depth: dict[Box, float], aside: float) -> str:
    """A curve from the bottom of one to the top of the other, straight down through the row of the upper one."""
    x, to = above.x + aside, box.x + aside
    top, bottom, straight = above.y + above.height, box.y, above.y + depth[above]
    middle = (straight + bottom) / 2
    tip = ' marker-end="url(#tip)"' if box.lines else ""
    down = f"L{x:.1f},{straight:.1f} " if straight > top else ""
    return (
        f'<path d="M{x:.1f},{top:.1f} {down}C{x:.1f},{middle:.1f} {to:.1f},{middle:.1f} {to:.1f},{bottom:.1f}"{tip}/>'
    )


def _box(box: Box) -> str:
    left = box.x - box.width / 2
    lines = "".join(
        f'<text x="{left + 8:.1f}" y="{box.y + 16 + LINE * i:.1f}" class="{"name" if i == 0 else "note" if i > 1 else ""}">'
        f"{escape(line)}</text>"
        for i, line in enumerate(box.lines)
    )
    frame = (
        f'<rect class="{box.kind}" x="{left:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"/>'
    )
    return f"<g>{frame}{lines}</g>"
