"""Samples for the equations of resampling: enlarged and shrunk, by factors that are not whole."""

from collections.abc import Iterator

import numpy as np

from minseg import ops
from minseg.autograd import tensor
from minseg.equations.literal import up as literal
from minseg.testing.equations import Sample
from minseg.testing.samples.backward import gradient

N, C, H, W = 2, 3, 5, 4
OUTPUTS = ((7, 3), (3, 6), (8, 9))
SIDES = ((5, 7), (4, 3), (3, 8), (7, 2), (6, 6))


def _code(mode: str, x: np.ndarray, size: tuple[int, int]):
    return lambda: ops.interpolate(tensor(x), size=size, mode=mode)


def _backward(mode: str, y_bar: np.ndarray):
    x = np.zeros((*y_bar.shape[:2], H, W))
    return lambda: gradient(lambda x: ops.interpolate(x, size=y_bar.shape[2:], mode=mode), 0, y_bar, x)


def up_nearest(rng: np.random.Generator) -> Iterator[Sample]:
    for I, J in OUTPUTS:
        x = rng.standard_normal((N, C, H, W))
        yield Sample({"x": x, "H": H, "W": W, "I": I, "J": J}, (N, C, I, J), _code("nearest", x, (I, J)))


def up_nearest_grad(rng: np.random.Generator) -> Iterator[Sample]:
    for I, J in OUTPUTS:
        y_bar = rng.standard_normal((N, C, I, J))
        values = {r"\bar{y}": y_bar, "H": H, "W": W, "I": I, "J": J}
        yield Sample(values, (N, C, H, W), _backward("nearest", y_bar))


def up_position(rng: np.random.Generator) -> Iterator[Sample]:
    """The code: a map whose row u has the value u, resized, tells where each of its rows was read."""
    for H, I in SIDES:
        ramp = np.arange(float(H)).reshape(1, 1, H, 1)

        def code(ramp=ramp, I=I):
            return ops.interpolate(tensor(ramp), size=(I, 1), mode="bilinear").numpy().ravel()

        yield Sample({"H": H, "I": I}, (I,), code)


def _positions(I: int, J: int) -> dict[str, np.ndarray]:
    return {"a": np.array(literal.up_position(H, I)), "d": np.array(literal.up_position(W, J))}


def up_bilinear(rng: np.random.Generator) -> Iterator[Sample]:
    for I, J in OUTPUTS[:2]:
        x = rng.standard_normal((N, C, H, W))
        yield Sample({"x": x, "H": H, "W": W, **_positions(I, J)}, (N, C, I, J), _code("bilinear", x, (I, J)))


def up_bilinear_grad(rng: np.random.Generator) -> Iterator[Sample]:
    for I, J in OUTPUTS[:2]:
        y_bar = rng.standard_normal((N, C, I, J))
        values = {r"\bar{y}": y_bar, "I": I, "J": J, **_positions(I, J)}
        yield Sample(values, (N, C, H, W), _backward("bilinear", y_bar), extra={"H": H, "W": W})
