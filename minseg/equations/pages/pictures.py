"""Small pictures in SVG, for equations that are easier to see than to read. Their numbers come from the literal loops."""

import math
from collections.abc import Callable, Iterable
from html import escape

import numpy as np

from minseg.equations.literal.conv import conv_corr2d, conv_transpose2d, conv_true2d
from minseg.equations.literal.pool import pool_avg2d, pool_max2d, pool_max2d_indices, pool_max2d_place, pool_unpool
from minseg.equations.literal.up import up_bilinear, up_nearest, up_position

CELL = 26
GAP = 58
LABEL = 20

Picture = Callable[[], str]
_PICTURES: dict[str, list[Picture]] = {}


def pictures(id: str) -> str:
    """The pictures of an equation as HTML, or nothing."""
    return "".join(picture() for picture in _PICTURES.get(id, ()))


def of(*ids: str) -> Callable[[Picture], Picture]:
    """Marks a function as drawing one of these equations."""

    def register(picture: Picture) -> Picture:
        for id in ids:
            _PICTURES.setdefault(id, []).append(picture)
        return picture

    return register


# ------------------------------------------------------------------------------------------------------------ drawing


def _figure(width: float, height: float, content: str, caption: str) -> str:
    return (
        f'<figure class="picture"><svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="{escape(caption)}">{content}</svg><figcaption>{escape(caption)}</figcaption></figure>'
    )


def _text(x: float, y: float, content, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(str(content))}</text>'


def _grid(array: np.ndarray, x: float, y: float, label: str, kinds: Callable[[int, int], str] = lambda i, j: "") -> str:
    """Numbers in squares, its label above; ``kinds`` gives the class of each square."""
    parts = [_text(x + array.shape[1] * CELL / 2, y - 8, label, "label")]
    for i, row in enumerate(array):
        for j, value in enumerate(row):
            left, top = x + j * CELL, y + i * CELL
            parts.append(f'<rect x="{left:g}" y="{top:g}" width="{CELL}" height="{CELL}" class="cell {kinds(i, j)}"/>')
            parts.append(_text(left + CELL / 2, top + CELL / 2 + 4, _number(value), f"value {kinds(i, j)}"))
    return "".join(parts)


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3g}".replace("-", "−")


def _frame(x: float, y: float, i: int, j: int, rows: int, columns: int, kind: str = "") -> str:
    """A bold frame around a window of a grid at x, y."""
    return f'<rect x="{x + j * CELL:g}" y="{y + i * CELL:g}" width="{columns * CELL}" height="{rows * CELL}" class="frame {kind}"/>'


def _arrow(x: float, y: float, label: str = "") -> str:
    line = f'<path d="M{x + 8:g} {y:g}h{GAP - 22}m-6 -5l6 5l-6 5" class="arrow"/>'
    return line + (_text(x + GAP / 2 - 2, y - 9, label, "label") if label else "")


def _row(grids: list[tuple], caption: str, arrows: Iterable[str] = (), extra: str = "") -> str:
    """Grids side by side, centred on one line, with arrows between; each is (array, label, kinds)."""
    tallest = max(len(array) for array, *_ in grids) * CELL
    x, parts, labels = 1, [], [*arrows, *[""] * len(grids)]
    for position, (array, label, kinds) in enumerate(grids):
        y = LABEL + (tallest - len(array) * CELL) / 2
        parts.append(_grid(array, x, y, label, kinds))
        x += array.shape[1] * CELL
        if position < len(grids) - 1:
            parts.append(_arrow(x, LABEL + tallest / 2, labels[position]))
            x += GAP
    return _figure(x + 1, LABEL + tallest + 2, "".join(parts) + extra, caption)


def _plain(i: int, j: int) -> str:
    return ""


def _window(i0: int, j0: int, rows: int, columns: int) -> Callable[[int, int], str]:
    return lambda i, j: "lit" if i0 <= i < i0 + rows and j0 <= j < j0 + columns else ""


# -------------------------------------------------------------------------------------------------------- convolution


@of("conv.corr2d")
def sliding() -> str:
    x = np.array([[1, 0, 2, 1, 0], [0, 1, 3, 0, 1], [2, 1, 0, 1, 2], [1, 0, 1, 2, 0], [0, 2, 1, 0, 1]], float)
    w = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], float)
    y = conv_corr2d(x[None, None], w[None, None], np.zeros(1), 1, 1, 0)[0, 0]
    grids = [(x, "x", _window(0, 1, 3, 3)), (w, "w", _plain), (y, "y", _window(0, 1, 1, 1))]
    frame = _frame(1, LABEL, 0, 1, 3, 3)
    return _row(
        grids, "The kernel lies on the window; products are added up into one pixel, then it slides on.", (), frame
    )


IMPULSE = np.pad(np.ones((1, 1)), 1)
NUMBERS = np.arange(1.0, 10.0).reshape(3, 3)


@of("conv.corr2d", "conv.true2d")
def impulse() -> str:
    """What both make of a single bright pixel."""
    correlated = conv_corr2d(IMPULSE[None, None], NUMBERS[None, None], np.zeros(1), 1, 1, 1)[0, 0]
    convolved = conv_true2d(IMPULSE, NUMBERS)[1:-1, 1:-1]
    grids = [(IMPULSE, "impulse", _window(1, 1, 1, 1)), (NUMBERS, "kernel", _plain)]
    both = [*grids, (correlated, "correlation", _plain)]
    parts, x = [], 1
    for array, label, kinds in both:
        parts.append(_grid(array, x, LABEL, label, kinds))
        x += 3 * CELL + 22
    parts.append(_grid(convolved, x, LABEL, "convolution", _plain))
    return _figure(
        x + 3 * CELL + 1,
        LABEL + 3 * CELL + 2,
        "".join(parts),
        "An impulse shows the difference: cross-correlation turns the kernel by 180 degrees, true convolution leaves it upright.",
    )


@of("conv.transpose2d", "conv.transpose2d_dilated")
def transposed() -> str:
    x = np.array([[1, 2], [3, 4]], float)
    w = np.array([[1, 1, 0], [1, 2, 1], [0, 1, 1]], float)
    y = conv_transpose2d(x[None, None], w[None, None], np.zeros(1), 2, 0, 0)[0, 0]
    frames = "".join(
        _frame(1 + 2 * CELL + GAP + 3 * CELL + GAP, LABEL, 2 * i, 2 * j, 3, 3, f"w{2 * i + j}")
        for i in (0, 1)
        for j in (0, 1)
    )
    grids = [(x, "x", lambda i, j: f"tint{2 * i + j}"), (w, "w", _plain), (y, "y", _plain)]
    return _row(
        grids,
        "Stride 2: each pixel puts its multiple of the kernel on the output, two pixels further; overlaps add up.",
        (),
        frames,
    )


@of("conv.im2col")
def columns() -> str:
    x = np.arange(1.0, 13.0).reshape(3, 4)
    cols = np.array([x[i : i + 2, j : j + 2].ravel() for i in range(2) for j in range(3)]).T
    grids = [
        (x, "x", _window(0, 1, 2, 2)),
        (cols, "every 2x2 window, as a column", lambda i, j: "lit" if j == 1 else ""),
    ]
    return _row(grids, "The second window becomes the second column; one matrix product then is the whole convolution.")


@of("conv.receptive_field")
def receptive_field() -> str:
    """Three layers of 3 pixels: dots and what each sees, from the top."""
    step, height, count = 34, 42, 9
    seen = {3: {4}}
    for layer in (2, 1, 0):
        seen[layer] = {j + d for j in seen[layer + 1] for d in (-1, 0, 1)}
    lines, dots = [], []
    for layer in range(4):
        y = 14 + (3 - layer) * height
        for j in range(count):
            lit = "lit" if j in seen[layer] else ""
            dots.append(f'<circle cx="{20 + j * step}" cy="{y}" r="6" class="dot {lit}"/>')
            if layer and j in seen[layer]:
                lines += [
                    f'<path d="M{20 + j * step} {y}L{20 + (j + d) * step} {y + height}" class="ray"/>'
                    for d in (-1, 0, 1)
                ]
    content = "".join(lines + dots)
    return _figure(
        40 + (count - 1) * step,
        28 + 3 * height,
        content,
        "Three layers of 3 pixels each: one output, at the top, sees 7 pixels.",
    )


# ------------------------------------------------------------------------------------------------- pooling, resizing

POOLED = np.array([[1, 5, 2, 0], [3, 4, 1, 6], [7, 2, 3, 3], [0, 8, 4, 9]], float)


def _quarters(i: int, j: int) -> str:
    return f"tint{2 * (i // 2) + j // 2}"


def _quarter(i: int, j: int) -> str:
    return f"tint{2 * i + j}"


@of("pool.max2d", "pool.max2d_padded", "pool.max2d_indices")
def max_windows() -> str:
    y = pool_max2d(POOLED[None, None], 2, 2)[0, 0]
    kinds = lambda i, j: _quarters(i, j) + (" best" if POOLED[i, j] == y[i // 2, j // 2] else "")  # noqa: E731
    return _row(
        [(POOLED, "x", kinds), (y, "y", _quarter)], "Windows of 2x2, two apart: the largest pixel of each stays."
    )


@of("pool.avg2d", "pool.avg2d_padded")
def mean_windows() -> str:
    y = pool_avg2d(POOLED[None, None], 2, 2)[0, 0]
    return _row([(POOLED, "x", _quarters), (y, "y", _quarter)], "Windows of 2x2, two apart: the mean of each.")


@of("pool.unpool", "pool.max2d_grad")
def unpooled() -> str:
    x = POOLED[None, None]
    places = np.array(pool_max2d_place(x, 2, 0, 2, 2))
    indices = np.array(pool_max2d_indices(places, 2, 0, 4, 2), int)
    values = np.array([[[[1, 2], [3, 4]]]], float)
    y = pool_unpool(values, indices, 4, 4)[0, 0]
    kinds = lambda i, j: _quarters(i, j) if y[i, j] else ""  # noqa: E731
    grids = [(POOLED, "what was pooled", _quarters), (values[0, 0], "values", _quarter), (y, "put back", kinds)]
    return _row(grids, "Each value goes where the maximum of its window was; everything else is zero.")


ENLARGED = np.array([[0, 4], [8, 12]], float)


@of("up.nearest")
def nearest() -> str:
    y = up_nearest(ENLARGED[None, None], 4, 4)[0, 0]
    return _row(
        [(ENLARGED, "x", _quarter), (y, "y", _quarters)], "Twice as large: each pixel is copied; no new value appears."
    )


@of("up.bilinear")
def bilinear() -> str:
    at = np.array(up_position(2, 4))
    y = up_bilinear(ENLARGED[None, None], at, at)[0, 0]
    grids = [(ENLARGED, "x", _quarter), (y, "y", _window(1, 1, 1, 1))]
    return _row(grids, "Twice as large: each pixel is a mixture of its four neighbours.")


@of("up.bilinear")
def bilinear_weights() -> str:
    """One point among four pixels, and the areas that are their weights."""
    side, a, b = 132, 0.25, 0.25
    left, top = 46, 34
    x, y = left + b * side, top + a * side
    corners = [
        (0, 0, (1 - a) * (1 - b)),
        (0, 1, (1 - a) * b),
        (1, 0, a * (1 - b)),
        (1, 1, a * b),
    ]
    parts = []
    for i, j, weight in corners:
        # the weight of a corner is the area of the rectangle opposite
        rx, ry = (x, left)[j], (y, top)[i]
        rw, rh = ((1 - b) * side, b * side)[j], ((1 - a) * side, a * side)[i]
        parts.append(f'<rect x="{rx:g}" y="{ry:g}" width="{rw:g}" height="{rh:g}" class="cell tint{2 * i + j}"/>')
        cx, cy = left + j * side, top + i * side
        parts.append(f'<circle cx="{cx}" cy="{cy}" r="5" class="dot tint{2 * i + j} solid"/>')
        parts.append(_text(cx + (-26 if j == 0 else 28), cy + (-8 if i == 0 else 16), f"{weight:.4g}", "label"))
    parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="6" class="dot lit"/>')
    caption = "The weight of each neighbour is the area opposite, of the same colour: the nearest has most."
    return _figure(2 * left + side, top + side + 30, "".join(parts), caption)


# ---------------------------------------------------------------------------------------------------------- functions

Curve = Callable[[float], float]


def _plot(
    curves: list[tuple[str, Curve]],
    low: float,
    high: float,
    bottom: float,
    top: float,
    caption: str,
    legend: bool = False,
) -> str:
    """Curves over [low, high] with both axes; each is named at its right end, or in a legend where the ends meet."""
    width, height, right = 300, 150, 74
    across, up = width / (high - low), height / (top - bottom)

    def point(x: float, y: float) -> str:
        return f"{10 + (x - low) * across:.1f} {10 + (top - min(max(y, bottom), top)) * up:.1f}"

    parts = [f'<path d="M{point(low, 0)}L{point(high, 0)}" class="axis"/>']
    if low <= 0 <= high:
        parts.append(f'<path d="M{point(0, bottom)}L{point(0, top)}" class="axis"/>')
    for tick in range(math.ceil(low), math.floor(high) + 1):
        parts.append(f'<path d="M{point(tick, 0)}v4" class="axis"/>')
    for number, (name, curve) in enumerate(curves):
        drawn = [(x, curve(x)) for x in np.linspace(low, high, 241)]
        drawn = [(x, y) for x, y in drawn if bottom <= y <= top]
        parts.append(f'<path d="M{"L".join(point(x, y) for x, y in drawn)}" class="curve c{number}"/>')
        x, y = map(float, point(*drawn[-1]).split())
        if legend:
            x, y = width - 90, 22 + 20 * number
            parts.append(f'<path d="M{x - 24} {y}h22" class="curve c{number}"/>')
        parts.append(f'<text x="{x + 6:g}" y="{y + 4:g}" class="name c{number}">{escape(name)}</text>')
    return _figure(width + 20 + right, height + 20, "".join(parts), caption)


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@of("act.sigmoid", "act.sigmoid_grad")
def sigmoid() -> str:
    curves = [("sigmoid", _sigmoid), ("slope", lambda z: _sigmoid(z) * (1 - _sigmoid(z)))]
    return _plot(
        curves, -6, 6, -0.1, 1.1, "Between 0 and 1, and nowhere steeper than 1/4: the gradient fades on both sides."
    )


@of("act.tanh", "act.tanh_grad")
def tanh() -> str:
    curves = [("tanh", math.tanh), ("slope", lambda z: 1 - math.tanh(z) ** 2)]
    return _plot(curves, -4, 4, -1.1, 1.1, "Between -1 and 1; the slope is 1 at 0.")


@of("act.relu", "act.relu_grad")
def relu() -> str:
    curves = [("ReLU", lambda z: max(0, z)), ("slope", lambda z: float(z > 0))]
    return _plot(curves, -3, 3, -0.2, 3, "Any number from 0 up; the slope is 1 or 0, and 0 at 0 by convention.")


@of("act.step")
def step() -> str:
    curves = [("step", lambda z: float(z > 0)), ("slope", lambda z: 0.0)]
    return _plot(curves, -3, 3, -0.1, 1.2, "Flat on both sides: no gradient ever passes.")


def _surprise(p: float) -> float:
    return -math.log(p) if p > 0 else math.inf


@of("loss.ce", "loss.bce", "loss.mse")
def penalties() -> str:
    curves = [("−log p", _surprise), ("(1 − p)²", lambda p: (1 - p) ** 2)]
    caption = (
        "What one pixel costs, by the probability p of its true class: only −log p makes a confident mistake dear."
    )
    return _plot(curves, 0, 1, 0, 4, caption, legend=True)


@of("loss.focal")
def focal() -> str:
    curves = [("−log p", _surprise), ("times (1 − p)²", lambda p: (1 - p) ** 2 * _surprise(p))]
    return _plot(curves, 0, 1, 0, 4, "With gamma = 2, what is nearly right already costs almost nothing.", legend=True)


@of("opt.schedule_cosine", "opt.schedule_poly")
def schedules() -> str:
    curves = [
        ("cosine", lambda t: 0.5 * (1 + math.cos(math.pi * t))),
        ("polynomial", lambda t: (1 - t) ** 0.9),
    ]
    return _plot(curves, 0, 1, 0, 1.05, "The learning rate from the first step to the last.", legend=True)


# ---------------------------------------------------------------------------------------------------------- diagrams


@of("metric.iou", "metric.dice", "metric.dice_from_iou", "loss.dice", "loss.jaccard")
def overlap() -> str:
    parts = [
        '<circle cx="95" cy="80" r="62" class="set tint0"/><circle cx="165" cy="80" r="62" class="set tint1"/>',
        _text(58, 84, "M", "label"),
        _text(130, 84, "T", "label"),
        _text(202, 84, "F", "label"),
        _text(70, 12, "truth", "label"),
        _text(190, 12, "prediction", "label"),
    ]
    caption = "T is in both, M was missed, F is false. IoU counts T once over all three; Dice counts it twice over both circles."
    return _figure(260, 146, "".join(parts), caption)


@of("res.identity", "res.identity_grad", "res.projection")
def residual() -> str:
    parts = [
        '<path d="M10 70H52M128 70H186M214 70H258m-6 -5l6 5l-6 5M30 70V24H200V56m-5 -6l5 6l5 -6" class="arrow"/>',
        '<rect x="52" y="48" width="76" height="44" rx="8" class="box"/><circle cx="200" cy="70" r="14" class="box"/>',
        _text(90, 75, "F", "label"),
        _text(200, 75, "+", "label"),
        _text(16, 62, "x", "label"),
        _text(156, 62, "F(x)", "label"),
        _text(240, 62, "y", "label"),
        _text(115, 18, "x, as it is", "label"),
    ]
    return _figure(
        268,
        104,
        "".join(parts),
        "The branch F only learns what to add; the way around it carries x, and its gradient, unchanged.",
    )


@of("act.softmax")
def bars() -> str:
    scores = [2.0, 1.0, -0.5, 0.2]
    exponentials = [math.exp(z) for z in scores]
    parts = []
    for k, (z, e) in enumerate(zip(scores, exponentials)):
        p = e / sum(exponentials)
        for x, value, height in ((20 + k * 30, z, z * 30), (190 + k * 30, p, p * 90)):
            top, tall = 80 - max(height, 0), abs(height)
            parts.append(f'<rect x="{x}" y="{top:.1f}" width="20" height="{tall:.1f}" class="cell tint{k}"/>')
            parts.append(_text(x + 10, top - 4 if height > 0 else top + tall + 12, _number(round(value, 2)), "small"))
    parts += [
        '<path d="M12 80H142M182 80H312" class="axis"/>',
        _text(76, 116, "scores z", "label"),
        _text(247, 116, "probabilities p", "label"),
    ]
    return _figure(324, 122, "".join(parts), "Larger scores take more than their share; the probabilities sum to 1.")


@of("seg.onehot")
def onehot() -> str:
    t = np.array([[0, 0, 1], [0, 2, 1], [2, 2, 1]], float)
    kinds = lambda i, j: f"tint{int(t[i, j])}"  # noqa: E731
    maps = [
        ((t == k).astype(float), f"k = {k}", lambda i, j, k=k: f"tint{k}" if t[i, j] == k else "") for k in range(3)
    ]
    parts, x = [_grid(t, 1, LABEL, "t", kinds), _arrow(1 + 3 * CELL, LABEL + 1.5 * CELL)], 1 + 3 * CELL + GAP
    for array, label, kind in maps:
        parts.append(_grid(array, x, LABEL, label, kind))
        x += 3 * CELL + 14
    return _figure(
        x - 13, LABEL + 3 * CELL + 2, "".join(parts), "One label map, and the same as one map for each class."
    )
