"""Samples for the equations of the affine map: samples, inputs and outputs of different number."""

from collections.abc import Iterator

import numpy as np

from minseg import ops
from minseg.autograd import tensor
from minseg.testing.equations import Sample
from minseg.testing.samples.backward import gradient

N, I, O = 3, 5, 4


def dense_affine(rng: np.random.Generator) -> Iterator[Sample]:
    x, W, b = rng.standard_normal((N, I)), rng.standard_normal((O, I)), rng.standard_normal(O)
    yield Sample({"x": x, "W": W, "b": b, "I": I}, (N, O), lambda: ops.linear(tensor(x), tensor(W), tensor(b)))


def _gradient(of: int, z_bar: np.ndarray, x=None, W=None):
    x = np.zeros((N, I)) if x is None else x
    W = np.zeros((O, I)) if W is None else W
    return lambda: gradient(ops.linear, of, z_bar, x, W, np.zeros(O))


def dense_grad_x(rng: np.random.Generator) -> Iterator[Sample]:
    z_bar, W = rng.standard_normal((N, O)), rng.standard_normal((O, I))
    yield Sample({r"\bar{z}": z_bar, "W": W, "O": O}, (N, I), _gradient(0, z_bar, W=W))


def dense_grad_w(rng: np.random.Generator) -> Iterator[Sample]:
    z_bar, x = rng.standard_normal((N, O)), rng.standard_normal((N, I))
    yield Sample({r"\bar{z}": z_bar, "x": x, "N": N}, (O, I), _gradient(1, z_bar, x=x))


def dense_grad_b(rng: np.random.Generator) -> Iterator[Sample]:
    z_bar = rng.standard_normal((N, O))
    yield Sample({r"\bar{z}": z_bar, "N": N}, (O,), _gradient(2, z_bar))
