"""Samples for the equations of gradients in general."""

import math
from collections.abc import Iterator

import numpy as np

from minseg.autograd import Tensor, matmul, tensor
from minseg.autograd.gradcheck import UNIT_ROUNDOFF, relative_error
from minseg.ops import tanh
from minseg.testing.equations import Sample
from minseg.testing.samples.backward import gradient


def grad_central(rng: np.random.Generator) -> Iterator[Sample]:
    """f = exp, whose every derivative is itself, against backward.

    Series: h^2 exp(x+h) / 6. Rounding: exp is off by at most 2u of itself, and so is each of x+h and x-h (below 2) by at most 2u:
    both values together 8u exp(x+h), divided by 2h.
    """
    for x, h in ((0.7, 1e-3), (1.3, 1e-5)):
        largest = math.exp(x + h)
        tolerance = h**2 * largest / 6 + 4 * UNIT_ROUNDOFF * largest / h

        def code(x=x):
            return gradient(lambda x: x.exp(), 0, np.array([1.0]), np.array([x]))[0]

        yield Sample({"f": math.exp, "x": x, "h": h}, (), code, tolerance=tolerance)


def grad_backward(rng: np.random.Generator) -> Iterator[Sample]:
    """Two calls: the first leaves a behind, the second goes through y = tanh(W x)."""
    m, n = 2, 3
    W, x, a, y_bar = rng.standard_normal((m, n)), rng.standard_normal(n), rng.standard_normal(n), rng.standard_normal(m)
    J = (1 - np.tanh(W @ x) ** 2)[:, None] * W

    def code():
        leaf = tensor(x, requires_grad=True)
        (leaf * 1).backward(tensor(a))
        tanh(matmul(tensor(W), leaf)).backward(tensor(y_bar))
        return Tensor(leaf.grad)

    yield Sample({"a": a, "J": J, r"\bar{y}": y_bar, "m": m}, (n,), code)


def grad_chain(rng: np.random.Generator) -> Iterator[Sample]:
    """Four layers: h becomes tanh(w h)."""
    h, w, h_bar = 0.7, rng.uniform(0.5, 1.5, 4), 1.7
    states = [h]
    for weight in w:
        states.append(math.tanh(weight * states[-1]))
    d = 1 - np.array(states[1:]) ** 2

    def code():
        def layers(state):
            for weight in w:
                state = tanh(state * float(weight))
            return state

        return gradient(layers, 0, np.array([h_bar]), np.array([h]))[0]

    yield Sample({r"\bar{h}": h_bar, "w": w, "d": d, "L": len(w)}, (), code)


def grad_relative_error(rng: np.random.Generator) -> Iterator[Sample]:
    """The largest of the three is each in turn, and both signs occur."""
    for a, n, f in ((-1.3, 0.7, 0.2), (0.4, -1.9, 0.3), (-0.2, 0.1, 2.6)):
        yield Sample({"a": a, "n": n, "f": f}, (), lambda a=a, n=n, f=f: relative_error(a, n, f))
