"""Samples for the equations of quantisation: within the range and beyond either end, and ranges that do not hold 0."""

from collections.abc import Iterator

import numpy as np

from minseg import compress
from minseg.testing.equations import Sample


def quant_affine_int8(rng: np.random.Generator) -> Iterator[Sample]:
    for x in (-1.31, -0.27, 0.26, 0.43, 1.17, 9.5, -8.5):
        yield Sample({"x": x, "s": 0.05, "z": -7}, (), lambda x=x: compress.quantize(np.array(x), 0.05, -7))


def quant_dequantize(rng: np.random.Generator) -> Iterator[Sample]:
    for q in (-128, -7, 3, 127):
        code = lambda q=q: compress.dequantize(np.array(q, np.int8), 0.05, -7)  # noqa: E731
        yield Sample({"q": q, "s": 0.05, "z": -7}, (), code)


def quant_scale(rng: np.random.Generator) -> Iterator[Sample]:
    O, I, R, S = 3, 2, 2, 3
    w = rng.standard_normal((O, I, R, S))
    for position, sign in enumerate((1, -1, 1)):  # the largest first, in the middle and last
        w.reshape(O, -1)[position, (0, 5, -1)[position]] = sign * (4.0 + position)
    rows = w.reshape(O, -1)
    yield Sample({"w": rows, "I": I * R * S}, (O,), lambda: compress.symmetric_scale(w).reshape(O))


RANGES = ((-1.7, 3.9), (0.4, 2.6), (-5.2, -0.3), (-0.9, 0.7))


def quant_affine_scale(rng: np.random.Generator) -> Iterator[Sample]:
    for a, b in RANGES:
        yield Sample({"a": a, "b": b}, (), lambda a=a, b=b: compress.affine_scale(a, b))


def quant_zero_point(rng: np.random.Generator) -> Iterator[Sample]:
    for a, s in ((-1.7, 0.022), (0.4, 0.0102), (-5.2, 0.0204), (-0.93, 0.0063)):
        yield Sample({"a": a, "s": s}, (), lambda a=a, s=s: compress.zero_point(a, s))
