"""Samples for the equations of activations: both signs, the kink at 0, and scores that are not sorted."""

from collections.abc import Iterator

import numpy as np

from minseg import ops
from minseg.autograd import tensor
from minseg.testing.equations import Sample
from minseg.testing.samples.backward import gradient

POINTS = (-1.7, -0.3, 0.0, 0.6, 2.3)


def _elementwise(operation) -> Iterator[Sample]:
    for z in POINTS:
        yield Sample({"z": z}, (), lambda z=z: operation(tensor(np.array([z]))).item())


def _elementwise_grad(operation, symbol: str, rng: np.random.Generator) -> Iterator[Sample]:
    """``symbol`` says whether the equation reads the input z or the output a."""
    for z in POINTS:
        a_bar = float(rng.uniform(1.2, 2.4))
        given = z if symbol == "z" else operation(tensor(np.array([z]))).item()

        def code(z=z, a_bar=a_bar):
            return gradient(operation, 0, np.array([a_bar]), np.array([z]))[0]

        yield Sample({r"\bar{a}": a_bar, symbol: given}, (), code)


def act_relu(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _elementwise(ops.relu)


def act_relu_grad(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _elementwise_grad(ops.relu, "z", rng)


def act_sigmoid(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _elementwise(ops.sigmoid)


def act_sigmoid_grad(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _elementwise_grad(ops.sigmoid, "a", rng)


def act_tanh(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _elementwise(ops.tanh)


def act_tanh_grad(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _elementwise_grad(ops.tanh, "a", rng)


def _along_classes(operation, rng: np.random.Generator) -> Iterator[Sample]:
    """Once with the largest score for m, once with another number."""
    for K in (4, 3):
        z = rng.standard_normal(K)
        m = float(z.max()) if K == 4 else 0.37
        yield Sample({"z": z, "m": m, "K": K}, (K,), lambda z=z: operation(tensor(z), 0))


def _along_classes_grad(operation, letter: str, rng: np.random.Generator) -> Iterator[Sample]:
    for K in (4, 3):
        z, cotangent = rng.standard_normal(K), rng.standard_normal(K)
        output = operation(tensor(z), 0).numpy()

        def code(z=z, cotangent=cotangent):
            return gradient(lambda z: operation(z, 0), 0, cotangent, z)

        yield Sample({letter: output, rf"\bar{{{letter}}}": cotangent, "K": K}, (K,), code)


def act_softmax(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _along_classes(ops.softmax, rng)


def act_softmax_grad(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _along_classes_grad(ops.softmax, "p", rng)


def act_log_softmax(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _along_classes(ops.log_softmax, rng)


def act_log_softmax_grad(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _along_classes_grad(ops.log_softmax, "y", rng)


def act_step(rng: np.random.Generator) -> Iterator[Sample]:
    for z in POINTS:
        yield Sample({"z": z}, ())
