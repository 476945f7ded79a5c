"""Proofs of the errata in formulas and their legends."""

import itertools
import math

import numpy as np

from minseg import ops
from minseg.autograd import tensor
from minseg.equations import REGISTRY
from minseg.equations.latex import Applied, Formula, Indexed, Name, parse
from minseg.models.printed import ConvNet, ResNet
from minseg.nn import Conv2d, Linear
from minseg.testing.witnesses import Witness
from minseg.testing.witnesses.common import array, listed, parts, pixels, printed, refusal, same, standard, whole


def _image() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((6, 7))


def _kernel() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((3, 3))


def _corr2d(x: np.ndarray, w: np.ndarray, padding: int) -> np.ndarray:
    """What ``ops.conv2d`` makes of one image and one kernel."""
    return array(ops.conv2d(tensor(x[None, None]), tensor(w[None, None]), padding=padding))[0, 0]


def _d1(rows, columns, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    formula = parse(printed("EQ-D1-1"), callables="yxw")
    return pixels(formula, rows, columns, {"k": len(w)}, {"x": Indexed(x, 0, first=1), "w": Indexed(w, first=1)})


def _d3(rows, columns, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    formula = parse(printed("EQ-D3-1"), callables="yxk")
    return pixels(formula, rows, columns, {"k": len(w)}, {"x": Indexed(x, 0, first=1), "k": Indexed(w, first=1)})


def err_01() -> Witness:
    """An impulse shows the kernel: upright after a true convolution, turned after a cross-correlation."""
    kernel, impulse = np.arange(1.0, 10).reshape(3, 3), np.zeros((3, 3))
    impulse[1, 1] = 1
    as_printed, computed = _d3(range(2, 5), range(2, 5), impulse, kernel), _corr2d(impulse, kernel, 1)
    x, w = _image(), _kernel()
    full = _d3(range(1, 9), range(1, 10), x, w)
    apart = np.abs(full - _corr2d(x, w, 2)).max()
    values = {"x": x[None, None], "w": w[None, None], "b": np.zeros(1), "s": 1, "d": 1, "P": 2, "C": 1, "R": 3, "S": 3}
    registered = standard("conv.corr2d", (1, 1, 8, 9), **values)[0, 0]
    turned = same(full, _corr2d(x, w[::-1, ::-1].copy(), 2))
    return Witness(
        f"an impulse gives {whole(as_printed)} by D3 and {whole(computed)} by conv2d; "
        f"a 6x7 image differs by up to {apart:.1f}, and not at all once the kernel is turned",
        mistake=not same(as_printed, computed) and apart > 0.1,
        correct=same(registered, _corr2d(x, w, 2)) and turned,
    )


def err_02() -> Witness:
    x, w = _image(), _kernel()
    rows, columns = range(1, 9), range(1, 10)
    d1, d3 = _d1(rows, columns, x, w), _d3(rows, columns, x, w)
    before = _d3([r - 1 for r in rows], [c - 1 for c in columns], x, w)
    own = x[0, 0] * w[0, 0]
    return Witness(
        f"at (1,1) D1 gives {d1[0, 0]:.4g}, as in all of row 1 and column 1; the pixel times its weight is {own:.4f}, "
        "which D3 gives there and D1 at (2,2)",
        mistake=same(d1, before) and not d1[0].any() and not d1[:, 0].any(),
        correct=same(d3[0, 0], own) and same(d1[1:, 1:], d3[:-1, :-1]),
    )


def _clashes(formula: Formula) -> set[str]:
    """Names that stand both alone and with indices or arguments, counting both sides of the formula."""
    alone = {part.name for part in parts(formula) if isinstance(part, Name)}
    applied = {part.name for part in parts(formula) if isinstance(part, Applied)}
    return alone & applied


def err_03() -> Witness:
    d1, d3 = parse(printed("EQ-D1-1"), callables="yxw"), parse(printed("EQ-D3-1"), callables="yxk")
    of_d1, of_d3 = _clashes(d1), _clashes(d3)
    window, matrix = parse(printed("EQ-D1-2"), callables="px"), parse(printed("EQ-D1-4"))
    shared = window.symbols() & matrix.symbols() & {"W"}
    x, w = Indexed(_image(), 0), Indexed(_kernel(), first=1)
    one_meaning = refusal(lambda: d1.value({"k": 3, "y": 1}, {"x": x, "w": w}))
    both = d1.value({"k": 3, "y": 1, "x": 1}, {"x": x, "w": w})
    standards = ("conv.corr2d", "conv.true2d", "pool.max2d", "pool.avg2d", "dense.affine")
    return Witness(
        f"both with arguments and alone: {', '.join(sorted(of_d1))} in D1, {', '.join(sorted(of_d3))} in D3; "
        f"in two formulas of D1: {', '.join(shared)}; with one meaning for x: {one_meaning.split(';')[0]}",
        mistake=of_d1 == {"x", "y"} and of_d3 == {"k"} and shared == {"W"} and "x has no value" in one_meaning,
        correct=math.isfinite(both) and not any(_clashes(REGISTRY[id].formula()) for id in standards),
    )


def err_04() -> Witness:
    layer = Conv2d(3, 6, 5)
    weights = layer.weight.numel()
    seen = {}
    for item, name in (("EQ-D1-1", "w"), ("EQ-D3-1", "k")):
        formula, read = parse(printed(item), callables="yxwk"), set()
        row, column = formula.left_indices()
        note = {name: lambda *index, read=read: read.add(index) or 0.0}  # which weights the formula reads
        formula.value({"k": 5, row: 9, column: 9}, {"x": lambda *index: 0.0, **note})
        seen[item] = len(read), set("bsdPC") - formula.symbols()
    complete = REGISTRY["conv.corr2d"].formula().symbols() >= set("bsdPC")
    return Witness(
        f"Conv2d(3, 6, 5) has {weights} weights and {layer.bias.numel()} biases; the formulas read "
        f"{seen['EQ-D1-1'][0]} weights, and have no {', '.join(sorted(seen['EQ-D1-1'][1]))}",
        mistake=all(count != weights and missing == set("bsdPC") for count, missing in seen.values()),
        correct=complete and weights == 6 * 3 * 5 * 5 and layer.num_parameters() == 456,
    )


def err_05() -> Witness:
    x, k = _image(), 2
    formula = parse(printed("EQ-D1-2"), callables="px")
    meaning = {"x": Indexed(x)}
    refused = refusal(lambda: formula.value({"x": 0, "y": 0, "W": k}, meaning))
    as_set = pixels(formula, range(5), range(6), {"W": set(range(k))}, meaning)
    pooled = array(ops.max_pool2d(tensor(x[None, None]), k, stride=1))[0, 0]
    return Witness(
        f"with W = {k}: {refused}; with W = {{0, 1}} it is max_pool2d of stride 1, at (0,0) {as_set[0, 0]:.4f}",
        mistake="must run through a set" in refused,
        correct=same(as_set, pooled),
    )


def err_06() -> Witness:
    x, k = _image(), 2
    changed = x.copy()
    changed[0], changed[:, 0] = 100, 100
    mean = parse(printed("EQ-D1-3"), callables="px")
    rows, columns = range(1, 5), range(1, 6)  # all whose windows stay inside
    blind, seen = (pixels(mean, rows, columns, {"k": k}, {"x": Indexed(image, first=1)}) for image in (x, changed))
    pooled = [array(ops.avg_pool2d(tensor(image[None, None]), k, stride=1))[0, 0] for image in (x, changed)]
    values = {"x": x[None, None], "k": k, "s": 1}
    return Witness(
        f"row 1 and column 1 set to 100: the printed mean at (1,1) stays {blind[0, 0]:.4f}, "
        f"avg_pool2d goes from {pooled[0][0, 0]:.4f} to {pooled[1][0, 0]:.4f}",
        mistake=same(blind, seen),
        correct=not same(*pooled) and same(standard("pool.avg2d", (1, 1, 5, 6), **values)[0, 0], pooled[0]),
    )


def _outputs(item: str, plain: dict) -> tuple[int, int]:
    """At how many rows and columns of the image the formula can be evaluated without leaving it."""
    formula, image = parse(printed(item), callables="pyx"), {"x": Indexed(_image(), first=1)}
    row, column = formula.left_indices()
    inside = [
        (r, c)
        for r, c in itertools.product(range(1, 7), range(1, 8))
        if not refusal(lambda r=r, c=c: formula.value({**plain, row: r, column: c}, image))
    ]
    return len({r for r, _ in inside}), len({c for _, c in inside})


def err_07() -> Witness:
    x = _image()
    items = ("EQ-D1-2", {"W": {0, 1}}), ("EQ-D1-3", {"k": 2}), ("EQ-D3-2", {"k": 2}), ("EQ-D3-3", {"k": 2})
    counts = [_outputs(*item) for item in items]
    pooled = array(ops.max_pool2d(tensor(x[None, None]), 2, 2))[0, 0]
    registered = standard("pool.max2d", (1, 1, 3, 3), x=x[None, None], k=2, s=2)[0, 0]
    return Witness(
        f"6x7 pixels, windows of 2x2: the formulas have {' or '.join(f'{h}x{w}' for h, w in sorted(set(counts)))} "
        f"values, MaxPool2d(2, 2) has {'x'.join(map(str, pooled.shape))}",
        mistake=all(h * w > pooled.size for h, w in counts),
        correct=pooled.shape == (3, 3) and same(registered, pooled),
    )


def err_08() -> Witness:
    dark, k = np.full((4, 5), -1.0), 2
    corner = {"i": 1, "j": 1, "k": k}
    formula = parse(printed("EQ-D3-2"), callables="yx")
    outside = refusal(lambda: formula.value(corner, {"x": Indexed(dark, first=1)}))
    zero, lowest = (formula.value(corner, {"x": Indexed(dark, value, first=1)}) for value in (0.0, -math.inf))
    proper = parse(r"y(i,j) = \max_{1 \le p \le k}\max_{1 \le q \le k} x(i-p+1, j-q+1)", callables="yx")
    x = _image()
    inside = pixels(proper, range(2, 7), range(2, 8), {"k": k}, {"x": Indexed(x, first=1)})
    pooled = array(ops.max_pool2d(tensor(dark[None, None]), k, 1, padding=1))
    return Witness(
        f"a map of -1 has at (1,1) the maximum {zero:.0f} if x is 0 outside, {lowest:.0f} if it is -inf; max_pool2d: "
        f"{pooled.max():.0f}",
        mistake="outside of its shape" in outside and zero == 0,
        correct=lowest == -1
        and (pooled == -1).all()
        and same(inside, array(ops.max_pool2d(tensor(x[None, None]), k, 1))[0, 0]),
    )


def err_09() -> Witness:
    W, x, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, -1.0]), np.array([10.0, 20.0])
    product, z = W @ x, parse(printed("EQ-D1-4")).value({"W": W, "x": x, "b": b})
    undefined = refusal(lambda: parse(printed("EQ-D1-5"), callables=["\\sigma"]).value({"z": 1.0}))
    network = ConvNet(np.random.default_rng(0))
    layers = sum(isinstance(module, Linear) for module in network.modules())
    scores = array(network(tensor(np.random.default_rng(0).random((4, 3, 32, 32), np.float32))))
    computed = array(ops.linear(tensor(x[None]), tensor(W), tensor(b)))[0]
    return Witness(
        f"Wx is {listed(product)}, Wx + b is {listed(z)}; sigma is not defined; "
        f"of {layers} fully connected layers the last gives scores down to {scores.min():.2f}",
        mistake=not same(product, z) and "sigma" in undefined and layers == 3 and scores.min() < 0,
        correct=same(z, computed),
    )


def err_10() -> Witness:
    formula = parse(printed("EQ-D3-3"), callables="yx")
    five = np.full((4, 5), 5.0)
    means = [formula.value({"i": 3, "j": 3, "k": k}, {"x": Indexed(five, first=1)}) for k in (1, 2, 3)]
    pooled = [array(ops.avg_pool2d(tensor(five[None, None]), k, 1)).max() for k in (1, 2, 3)]
    d1 = parse(printed("EQ-D1-3"), callables="px")
    right = [d1.value({"x": 1, "y": 1, "k": k}, {"x": Indexed(five, first=1)}) for k in (1, 2, 3)]
    return Witness(
        f"a map of 5: the printed mean is {listed(means)} for k = 1, 2, 3; avg_pool2d gives {listed(pooled)}",
        mistake=same(means, [5, 10, 15]),
        correct=same(pooled, [5, 5, 5]) and same(right, [5, 5, 5]),
    )


def _bce(y: list[float], p: list[float]) -> float:
    """D3's cross-entropy as printed."""
    applied = {"y": Indexed(y, first=1), r"\hat{y}": Indexed(p, first=1)}
    return parse(printed("EQ-D3-4")).value({"N": len(y)}, applied)


def err_11() -> Witness:
    p = [0.7, 0.2, 0.1]
    mean = _bce([1, 0, 0], p)
    as_index = [_bce([2], [certain]) for certain in (0.9, 0.99, 1 - 1e-12)]
    loss = ops.cross_entropy(tensor(np.log([p])), np.array([0])).item()
    return Witness(
        f"p = (.7, .2, .1), class 0: cross-entropy {loss:.4f}; the printed formula over the one-hot entries {mean:.4f} "
        f"(sum {3 * mean:.4f}), and with the class index 2: {listed(as_index, '.3g')} for p = .9, .99, 1-1e-12",
        mistake=not same(mean, loss, 1e-3)
        and not same(3 * mean, loss, 1e-3)
        and as_index[2] < as_index[1] < as_index[0] < 0,
        correct=same(loss, -math.log(0.7))
        and same(_bce([1, 0], [0.7, 0.3]), loss),  # two classes: the formula is right
    )


def err_12() -> Witness:
    single = [0.1, 0.4, 0.7]
    p = [math.exp(-loss) for loss in single]
    shares = [_bce([1], [q]) / 3 for q in p]  # what each sample adds to the first formula, whose 1/N is in it
    mean = parse(printed("EQ-D3-5"))
    twice = mean.value({"N": 3}, {"L": Indexed(shares, first=1)})
    once = mean.value({"N": 3}, {"L": Indexed(single, first=1)})
    return Witness(
        f"losses .1, .4, .7: one mean is {once:.4f}, the mean of the first formula's shares is {twice:.4f}",
        mistake=same(_bce([1, 1, 1], p), 0.4) and not same(twice, 0.4, 1e-3),
        correct=same(once, 0.4),
    )


def err_13() -> Witness:
    refused = refusal(lambda: _bce([1], [1.0]))
    y, p = tensor(np.array([1.0])), tensor(np.array([1.0]))
    with np.errstate(divide="ignore", invalid="ignore"):
        as_printed = -(y * p.log() + (1 - y) * (1 - p).log()).mean().item()
    stable = ops.binary_cross_entropy_with_logits(tensor(np.array([1000.0])), np.array([1])).item()
    return Witness(
        f"a perfect prediction: {as_printed} in floating point ({refused}); from the logit 1000 the loss is {stable}",
        mistake=math.isnan(as_printed) and bool(refused),
        correct=stable == 0,
    )


def err_14() -> Witness:
    rng = np.random.default_rng(3)
    z, t = rng.standard_normal((2, 3, 4, 4)), rng.integers(0, 3, (2, 4, 4))
    tiled = np.tile(z, (1, 1, 2, 2)), np.tile(t, (1, 2, 2))  # the same pictures, four times the area
    per_image = [ops.cross_entropy(tensor(a), b, reduction="sum").item() / 2 for a, b in ((z, t), tiled)]
    per_pixel = [ops.cross_entropy(tensor(a), b).item() for a, b in ((z, t), tiled)]
    void = t.copy()
    void[:, 2:] = 255
    labelled = ops.cross_entropy(tensor(z), void).item()
    expected = ops.cross_entropy(tensor(z[:, :, :2].copy()), t[:, :2].copy()).item()
    formula = parse(printed("EQ-D3-4"))
    indices = {len(part.arguments) for part in parts(formula) if isinstance(part, Applied)}
    return Witness(
        f"four times the pixels: divided by the images the loss goes from {per_image[0]:.2f} to {per_image[1]:.2f}, "
        f"by the pixels it stays {per_pixel[0]:.4f}; with half the pixels void {labelled:.4f}, the mean of the others",
        mistake=not same(*per_image, 0.1) and indices == {1},
        correct=same(*per_pixel) and same(labelled, expected),
    )


def err_15() -> Witness:
    rng = np.random.default_rng(4)
    w, x = rng.standard_normal((2, 3, 3, 3)), rng.standard_normal((3, 5, 5))
    formula, identity = parse(printed("EQ-D4-1"), callables="f"), {"f": lambda v: v}
    refused = refusal(lambda: formula.value({"W": w, "x": x, "b": 0.0}, identity))
    toeplitz = standard("conv.toeplitz", (2, 5, 5, 3, 5, 5), w=w, s=1, d=1, P=1, R=3, S=3).reshape(50, 75)
    y = formula.value({"W": toeplitz, "x": x.ravel(), "b": 0.0}, identity)
    computed = array(ops.conv2d(tensor(x[None]), tensor(w), padding=1)).ravel()
    return Witness(
        f"{w.shape} times {x.shape} is refused; the convolution's matrix is {'x'.join(map(str, toeplitz.shape))} with "
        f"{np.count_nonzero(toeplitz)} entries of {w.size} weights, and gives conv2d",
        mistake=bool(refused),
        correct=same(y, computed) and np.count_nonzero(toeplitz) == 1014,
    )


def err_16() -> Witness:
    x = _image()
    formula = parse(printed("EQ-D4-3"), words=["max"])
    refused = refusal(lambda: formula.value({}, {"x": Indexed(x), "max": max}))
    everything = standard("pool.global_max", (1, 1), x=x[None, None], H=6, W=7)
    pooled = array(ops.max_pool2d(tensor(x[None, None]), 2))
    return Witness(
        f"{refused.split(';')[0]}; over all i and j it is the one number {everything.item():.4f}, "
        f"max_pool2d gives {pooled.size} of {x.size}",
        mistake="i has no value" in refused,
        correct=same(everything.item(), x.max())
        and same(standard("pool.max2d", (1, 1, 3, 3), x=x[None, None], k=2, s=2), pooled),
    )


def err_17() -> Witness:
    formula = parse(printed("EQ-D4-2"), callables="F")

    def branch(x: float) -> float:
        return 0.5 * x

    y = formula.value({"x": 1.0}, {"F": branch})
    if_block = formula.value({"x": 1.0}, {"F": lambda x: x + branch(x)})
    rng = np.random.default_rng(5)
    x, out, w = rng.standard_normal((1, 3, 6, 6)), rng.standard_normal((1, 5, 3, 3)), rng.standard_normal((5, 3))
    refused = refusal(lambda: tensor(x) + tensor(out))
    projected = array(ops.conv2d(tensor(x), tensor(w[:, :, None, None]), stride=2) + tensor(out))
    registered = standard("res.projection", (1, 5, 3, 3), x=x, w=w, F=out, s=2, C=3)
    return Witness(
        f"x = 1, branch 0.5: the block is {y}; were F the block, y would be {if_block}; "
        f"x {x.shape} + F(x) {out.shape} is refused, W x + F(x) is not",
        mistake=if_block != y and bool(refused),
        correct=y == 1.5 and same(projected, registered),
    )


def err_18() -> Witness:
    rng = np.random.default_rng(6)
    W, x, b = rng.standard_normal((4, 3)), rng.standard_normal(3), rng.standard_normal(4)

    def softmax(z: np.ndarray) -> np.ndarray:
        return standard("act.softmax", z.shape, z=z, m=0.0, K=len(z))

    by_formula = parse(printed("EQ-D4-4"), words=["softmax"]).value({"W": W, "x": x, "b": b}, {"softmax": softmax})
    logits = ResNet(np.random.default_rng(0))(tensor(rng.random((2, 3, 8, 8), np.float32)))
    sums, p = array(logits).sum(1), ops.softmax(logits, 1)
    labels = np.array([3, 7])
    from_logits = ops.cross_entropy(logits, labels).item()
    expected = -np.log(array(p)[[0, 1], labels]).mean()
    return Witness(
        f"the formula's outputs add up to {by_formula.sum():.4f}, the printed network's to {listed(sums, '.2f')}; "
        f"softmax belongs to the loss, {from_logits:.4f} from the logits",
        mistake=same(by_formula.sum(), 1) and not same(sums, [1, 1], 0.01) and array(logits).min() < 0,
        correct=same(array(p).sum(1), [1, 1], 1e-6) and same(from_logits, expected, 1e-5),
    )
