"""The 14 formulas that the documents print, evaluated to the letter, and how each relates to its standard form.

Each check reads the string as it stands in the registry and makes claims about it; the evaluator decides. One formula, EQ-D4-3,
cannot be evaluated, and its check is that the evaluator refuses it and why.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from minseg import ops
from minseg.autograd import tensor
from minseg.equations import REGISTRY, Source
from minseg.equations.latex import Formula, Indexed, parse
from minseg.testing.equations import TOLERANCE, Sample, distance, evaluate


@dataclass(frozen=True)
class PrintedOutcome:
    """What came of one printed formula: whether it relates to the standard form as the registry says, and what was seen."""

    item: str
    """Its number in the catalogue of the documents, EQ-D1-1."""
    document: str
    section: str
    relation: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Claim:
    """A sentence about a printed formula, and whether it turned out true."""

    text: str
    holds: bool


Check = Callable[[str], Iterator[Claim]]
CHECKS: dict[str, Check] = {}


def about(item: str) -> Callable[[Check], Check]:
    """Marks the check of one printed formula. It is called with the formula as printed."""

    def register(check: Check) -> Check:
        CHECKS[item] = check
        return check

    return register


def printed_sources() -> dict[str, list[Source]]:
    """The sources that hold a printed formula, by item; some stand at several equations."""
    found: dict[str, list[Source]] = {}
    for equation in REGISTRY.values():
        for source in equation.sources:
            if source.printed is not None:
                found.setdefault(source.item, []).append(source)
    return found


def check_printed() -> list[PrintedOutcome]:
    """Check every printed formula, in the order of the documents."""
    outcomes = []
    for item, sources in sorted(printed_sources().items()):
        relation = dict.fromkeys(relation for source in sources for relation in source.relation)
        ok, detail = check_formula(item, sources[0].printed)
        outcomes.append(PrintedOutcome(item, sources[0].document, sources[0].section, ", ".join(relation), ok, detail))
    return outcomes


def check_formula(item: str, latex: str) -> tuple[bool, str]:
    """Whether all claims about this printed formula hold for ``latex``; and the claims, or where the evaluation failed."""
    if item not in CHECKS:
        return False, "no check is written for it"
    try:
        claims = list(CHECKS[item](latex))
    except ValueError as error:  # an EquationError, or matrices that do not fit
        return False, f"cannot be evaluated: {error}"
    return all(claim.holds for claim in claims), "; ".join(
        claim.text if claim.holds else f"NOT TRUE: {claim.text}" for claim in claims
    )


# ---------------------------------------------------------------------------------------------------------- what claims use

RNG_SEED = 7
H, W, K = 6, 7, 3
"""An image of 6 by 7 pixels, and windows of 3 by 3."""


def _image() -> np.ndarray:
    return np.random.default_rng(RNG_SEED).standard_normal((H, W))


def _kernel() -> np.ndarray:
    return np.random.default_rng(RNG_SEED + 1).standard_normal((K, K))


def _standard(id: str, shape: tuple[int, ...] = (), **values) -> np.ndarray:
    """The standard form, from its own LaTeX."""
    return evaluate(REGISTRY[id], Sample(values, shape))


def _corr2d(w: np.ndarray, padding: int) -> np.ndarray:
    """conv.corr2d of the image."""
    values = {"x": _image()[None, None], "w": w[None, None], "b": np.zeros(1), "s": 1, "d": 1, "P": padding}
    shape = (1, 1, H + 2 * padding - K + 1, W + 2 * padding - K + 1)
    return _standard("conv.corr2d", shape, C=1, R=K, S=K, **values)[0, 0]


def _true2d() -> np.ndarray:
    return _standard("conv.true2d", (H + K - 1, W + K - 1), x=_image(), w=_kernel(), R=K, S=K)


def _pooled(id: str) -> np.ndarray:
    """pool.max2d or pool.avg2d of the image, with stride 1."""
    return _standard(id, (1, 1, H - K + 1, W - K + 1), x=_image()[None, None], k=K, s=1)[0, 0]


def _map(formula: Formula, first: int, shape: tuple[int, int], plain: dict, applied: dict) -> np.ndarray:
    """The formula's values where the two indices of its left-hand side count from ``first``."""
    row, column = formula.left_indices()
    out = np.empty(shape)
    for i, j in np.ndindex(*shape):
        out[i, j] = formula.value({**plain, row: first + i, column: first + j}, applied)
    return out


def _same(text: str, a, b) -> Claim:
    return Claim(text, distance(a, b) <= TOLERANCE)


def _differs(text: str, a, b) -> Claim:
    """The two differ, by far more than rounding; the text says by how much."""
    difference = float(np.abs(np.asarray(a) - np.asarray(b)).max())
    return Claim(f"{text} (by up to {difference:.2g})", difference > 0.1)


def _refused(text: str, evaluation: Callable[[], object], reason: str) -> Claim:
    """The evaluation ends in an error that gives this reason."""
    try:
        evaluation()
    except ValueError as error:  # an EquationError, or matrices that do not fit
        return Claim(text, reason in str(error))
    return Claim(text, False)


# -------------------------------------------------------------------------------------------------------------- document D1


@about("EQ-D1-1")
def _d1_convolution(latex: str) -> Iterator[Claim]:
    formula = parse(latex, callables="yxw")
    meaning = {"x": Indexed(_image(), outside=0), "w": Indexed(_kernel(), first=1)}
    y = _map(formula, 0, (H + K, W + K), {"k": K}, meaning)
    rotated = _kernel()[::-1, ::-1]
    yield _same("equals conv.true2d one pixel later, in rows and in columns", y[1:, 1:], _true2d())
    yield _same("which is conv.corr2d with the kernel rotated by 180 degrees", y[1:, 1:], _corr2d(rotated, K - 1))
    yield _differs("without rotating, it differs", y[1:, 1:], _corr2d(_kernel(), K - 1))
    yield Claim("its first row and column are 0", not y[0].any() and not y[:, 0].any())


@about("EQ-D1-2")
def _d1_max(latex: str) -> Iterator[Claim]:
    formula = parse(latex, callables="px")
    shape, meaning = (H - K + 1, W - K + 1), {"x": Indexed(_image())}
    y = _map(formula, 0, shape, {"W": set(range(K))}, meaning)
    yield _same("equals pool.max2d with stride 1, if W is the set of offsets 0 ... k-1", y, _pooled("pool.max2d"))
    yield _refused(
        "is refused if W is the window's size, as the text says",
        lambda: _map(formula, 0, shape, {"W": K}, meaning),
        "must run through a set",
    )


@about("EQ-D1-3")
def _d1_mean(latex: str) -> Iterator[Claim]:
    formula = parse(latex, callables="px")
    mean = _pooled("pool.avg2d")
    from_one = _map(formula, 0, mean.shape, {"k": K}, {"x": Indexed(_image(), first=1)})
    from_zero = _map(formula, 0, (H - K, W - K), {"k": K}, {"x": Indexed(_image())})
    yield _same("equals pool.avg2d with stride 1, if outputs count from 0 and pixels from 1", from_one, mean)
    yield _same("is one pixel off if both count from 0", from_zero, mean[1:, 1:])


@about("EQ-D1-4")
def _d1_affine(latex: str) -> Iterator[Claim]:
    rng = np.random.default_rng(RNG_SEED)
    weights, x, b = rng.standard_normal((4, 3)), rng.standard_normal(3), rng.standard_normal(4)
    z = parse(latex).value({"W": weights, "x": x, "b": b})
    yield _same(
        "equals dense.affine of one sample", z, _standard("dense.affine", (1, 4), x=x[None], W=weights, b=b, I=3)[0]
    )


@about("EQ-D1-5")
def _d1_activation(latex: str) -> Iterator[Claim]:
    formula = parse(latex, callables=["\\sigma"])
    points = np.array([-1.7, -0.2, 0.4, 2.3])
    for id, operation in (("act.sigmoid", ops.sigmoid), ("act.tanh", ops.tanh), ("act.relu", ops.relu)):
        a = [formula.value({"z": z}, {"\\sigma": lambda z, id=id: _standard(id, z=z)}) for z in points]
        yield _same(
            f"equals the operation {operation.__name__} with {id} for the function",
            a,
            operation(tensor(points)).numpy(),
        )
    yield _refused(
        "is refused without a function, which the text leaves open", lambda: formula.value({"z": 0.4}), "\\sigma"
    )


# -------------------------------------------------------------------------------------------------------------- document D3


@about("EQ-D3-1")
def _d3_convolution(latex: str) -> Iterator[Claim]:
    formula = parse(latex, callables="yxk")
    meaning = {"x": Indexed(_image(), outside=0, first=1), "k": Indexed(_kernel(), first=1)}
    y = _map(formula, 1, (H + K - 1, W + K - 1), {"k": K}, meaning)
    inside = y[K - 1 : H, K - 1 : W]
    rotated = _kernel()[::-1, ::-1]
    yield _same("equals conv.true2d, all indices counted from 1", y, _true2d())
    yield _same(
        "for k <= i <= H it is conv.corr2d without padding, the kernel rotated by 180 degrees",
        inside,
        _corr2d(rotated, 0),
    )
    yield _differs("without rotating, it differs", inside, _corr2d(_kernel(), 0))


@about("EQ-D3-2")
def _d3_max(latex: str) -> Iterator[Claim]:
    formula = parse(latex, callables="yx")
    shape = (H - K + 1, W - K + 1)
    y = _map(formula, K, shape, {"k": K}, {"x": Indexed(_image(), first=1)})
    yield _same("equals pool.max2d with stride 1 for i, j >= k, counted from 1", y, _pooled("pool.max2d"))
    yield _refused(
        "leaves the image for i < k",
        lambda: formula.value({"i": K - 1, "j": K, "k": K}, {"x": Indexed(_image(), first=1)}),
        "outside of its shape",
    )
    darkness = Indexed(np.full((H, W), -1.0), outside=0, first=1)
    yield Claim(
        "with zeros outside, an image of -1 would have the maximum 0 at its corner",
        formula.value({"i": 1, "j": 1, "k": K}, {"x": darkness}) == 0,
    )


@about("EQ-D3-3")
def _d3_mean(latex: str) -> Iterator[Claim]:
    formula = parse(latex, callables="yx")
    mean = _pooled("pool.avg2d")
    y = _map(formula, K, mean.shape, {"k": K}, {"x": Indexed(_image(), first=1)})
    yield _same("is k times pool.avg2d with stride 1, for i, j >= k, counted from 1", y, K * mean)
    for k in (1, 2, 3):
        of_fives = formula.value({"i": k, "j": k, "k": k}, {"x": Indexed(np.full((H, W), 5.0), first=1)})
        yield _same(f"the mean of an image of 5 is {5 * k} for k = {k}", of_fives, 5 * k)


@about("EQ-D3-4")
def _d3_cross_entropy(latex: str) -> Iterator[Claim]:
    p, y = np.array([0.9, 0.3, 0.6, 0.2]), np.array([1, 0, 0, 1])
    loss = parse(latex).value({"N": 4}, {"y": Indexed(y, first=1), r"\hat{y}": Indexed(p, first=1)})
    yield _same(
        "equals loss.bce, counted from 1: the mean of the binary cross-entropy",
        loss,
        _standard("loss.bce", p=p, y=y, N=4),
    )
    logits = np.log(p / (1 - p))
    in_code = ops.binary_cross_entropy_with_logits(tensor(logits), tensor(y.astype(float)), reduction="mean").item()
    yield _same("and equals the operation binary_cross_entropy_with_logits of the logits", loss, in_code)


@about("EQ-D3-5")
def _d3_mean_of_losses(latex: str) -> Iterator[Claim]:
    formula = parse(latex)
    p, y = np.array([0.9, 0.3, 0.6, 0.2]), np.array([1, 0, 0, 1])
    single = np.array([_standard("loss.bce", p=p[n : n + 1], y=y[n : n + 1], N=1) for n in range(4)])
    mean = formula.value({"N": 4}, {"L": Indexed(single, first=1)})
    yield _same("of the samples' single losses it is loss.bce", mean, _standard("loss.bce", p=p, y=y, N=4))
    losses = np.array([0.1, 0.4, 0.7])
    once, twice = (formula.value({"N": 3}, {"L": Indexed(values, first=1)}) for values in (losses, losses / 3))
    yield _same("the mean of 0.1, 0.4, 0.7 is 0.4", once, 0.4)
    yield _same("of terms that hold 1/N already, as EQ-D3-4 does, it takes the mean twice: 0.4/3", twice, 0.4 / 3)


# -------------------------------------------------------------------------------------------------------------- document D4


@about("EQ-D4-1")
def _d4_convolution(latex: str) -> Iterator[Claim]:
    formula = parse(latex, callables="f")
    rng = np.random.default_rng(RNG_SEED)
    C, O, R, S, s, d, P = 2, 3, 3, 2, 2, 1, 1
    x, w, b = rng.standard_normal((C, 5, 4)), rng.standard_normal((O, C, R, S)), rng.standard_normal(O)
    window = {"s": s, "d": d, "P": P, "R": R, "S": S}
    z = _standard("conv.corr2d", (1, O, 3, 3), x=x[None], w=w, b=b, C=C, **window)[0]
    matrix = _standard("conv.toeplitz", (O, 3, 3, *x.shape), w=w, **window).reshape(z.size, x.size)
    relu = {"f": lambda v: np.maximum(0, v)}
    y = formula.value({"W": matrix, "x": x.ravel(), "b": np.repeat(b, 9)}, relu)
    yield _same(
        "equals f of conv.corr2d, if W is the matrix conv.toeplitz and x the pixels in a column",
        y,
        relu["f"](z.ravel()),
    )
    yield _refused(
        "is refused as a product of the kernel itself and the map: the shapes do not fit",
        lambda: formula.value({"W": w, "x": x, "b": 0.0}, relu),
        "mismatch",
    )


@about("EQ-D4-2")
def _d4_residual(latex: str) -> Iterator[Claim]:
    formula = parse(latex, callables="F")
    branch = {"F": lambda x: 0.3 * x * x - 2}
    points = (-1.5, 0.4, 2.0)
    y = [formula.value({"x": x}, branch) for x in points]
    yield _same("equals res.identity", y, [_standard("res.identity", x=x, **branch) for x in points])


@about("EQ-D4-3")
def _d4_max(latex: str) -> Iterator[Claim]:
    formula = parse(latex, words=["max"])
    image = _image()
    meaning = {"x": Indexed(image), "max": max_of}
    yield _refused("is refused: i is free", lambda: formula.value({"j": 1}, meaning), "the symbol i has no value")
    yield _refused(
        "so is j, and no window is given", lambda: formula.value({"i": 2}, meaning), "the symbol j has no value"
    )
    yield Claim(
        "with i and j given it is that pixel, and no maximum", formula.value({"i": 2, "j": 1}, meaning) == image[2, 1]
    )
    yield _refused(
        "as typeset, max is the product of m, a and x", lambda: parse(latex).value({}, meaning), "the symbol m"
    )


def max_of(*values: float) -> float:
    return max(values)


@about("EQ-D4-4")
def _d4_softmax(latex: str) -> Iterator[Claim]:
    formula = parse(latex, words=["softmax"])
    rng = np.random.default_rng(RNG_SEED)
    weights, x, b = rng.standard_normal((4, 3)), rng.standard_normal(3), rng.standard_normal(4)
    softmax = {"softmax": lambda z: _standard("act.softmax", z.shape, z=z, m=0.0, K=len(z))}
    y = formula.value({"W": weights, "x": x, "b": b}, softmax)
    in_code = ops.softmax(ops.linear(tensor(x[None]), tensor(weights), tensor(b)), 1).numpy()[0]
    yield _same("equals act.softmax of dense.affine, as the operations softmax and linear compute it", y, in_code)
    yield _same("its values sum to 1", y.sum(), 1)
