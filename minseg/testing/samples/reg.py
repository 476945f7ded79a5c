"""Samples for the equations of regularisation: weights of both signs and 0; masks that the operation itself draws."""

from collections.abc import Iterator

import numpy as np

from minseg import ops
from minseg.autograd import tensor
from minseg.nn import l1_penalty, l2_penalty
from minseg.testing.equations import Sample
from minseg.testing.samples.backward import gradient
from minseg.training import stop_early

WEIGHTS = np.array([0.7, -1.3, 0.0, 2.1, -0.4])
LOSS, STRENGTH, R_BAR = 0.9, 0.35, 1.7


def _l1(theta):
    return LOSS + l1_penalty([theta], STRENGTH)


def _l2(theta):
    return LOSS + l2_penalty([theta], STRENGTH)


def _penalised(penalty) -> Iterator[Sample]:
    values = {"L": LOSS, r"\lambda": STRENGTH, r"\theta": WEIGHTS, "n": len(WEIGHTS)}
    yield Sample(values, (), lambda: penalty(tensor(WEIGHTS)))


def _penalised_grad(penalty) -> Iterator[Sample]:
    values = {r"\bar{R}": R_BAR, r"\lambda": STRENGTH, r"\theta": WEIGHTS}
    yield Sample(values, WEIGHTS.shape, lambda: gradient(penalty, 0, np.array(R_BAR), WEIGHTS))


def reg_l1(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _penalised(_l1)


def reg_l1_grad(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _penalised_grad(_l1)


def reg_l2(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _penalised(_l2)


def reg_l2_grad(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _penalised_grad(_l2)


# -------------------------------------------------------------------------------------------------------------- dropout

P, SEED = 0.4, 3


def _mask(*shape: int) -> np.ndarray:
    """What dropout draws from a generator with this seed."""
    ones = np.ones((*shape, 1, 1))
    drop = ops.dropout2d if len(shape) == 2 else ops.dropout
    kept = drop(tensor(ones), P, rng=np.random.default_rng(SEED)).numpy() != 0
    return kept.reshape(shape).astype(float)


def _dropout(x):
    return ops.dropout(x, P, rng=np.random.default_rng(SEED))


def _dropout2d(x):
    return ops.dropout2d(x, P, rng=np.random.default_rng(SEED))


def reg_dropout(rng: np.random.Generator) -> Iterator[Sample]:
    x = rng.standard_normal(7)
    yield Sample({"x": x, "m": _mask(7), "p": P}, (7,), lambda: _dropout(tensor(x)))


def reg_dropout_grad(rng: np.random.Generator) -> Iterator[Sample]:
    y_bar = rng.standard_normal(7)
    values = {r"\bar{y}": y_bar, "m": _mask(7), "p": P}
    yield Sample(values, (7,), lambda: gradient(_dropout, 0, y_bar, np.ones(7)))


def reg_dropout2d(rng: np.random.Generator) -> Iterator[Sample]:
    x = rng.standard_normal((2, 4, 3, 5))
    yield Sample({"x": x, "m": _mask(2, 4), "p": P}, x.shape, lambda: _dropout2d(tensor(x)))


def reg_dropout2d_grad(rng: np.random.Generator) -> Iterator[Sample]:
    y_bar = rng.standard_normal((2, 4, 3, 5))
    values = {r"\bar{y}": y_bar, "m": _mask(2, 4), "p": P}
    yield Sample(values, y_bar.shape, lambda: gradient(_dropout2d, 0, y_bar, np.ones(y_bar.shape)))


def reg_early_stopping(rng: np.random.Generator) -> Iterator[Sample]:
    """The best epoch is the first; the last; number 2 and again, later, number 4; number 3."""
    for losses in ((0.3, 0.5, 0.6), (0.9, 0.7, 0.4), (0.9, 0.7, 0.4, 0.6, 0.4, 0.8), (0.9, 0.8, 0.7, 0.4, 0.5)):
        for q in (1, 2, 3):
            scores = [-loss for loss in losses]
            values = {"L": np.array(losses), "t": len(losses) - 1, "q": q}
            yield Sample(values, (), lambda scores=scores, q=q: float(stop_early(scores, q)))
