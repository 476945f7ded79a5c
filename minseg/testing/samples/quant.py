"""Samples for the equation of quantisation: within the range and beyond either end."""

from collections.abc import Iterator

import numpy as np

from minseg.testing.equations import Sample


def quant_affine_int8(rng: np.random.Generator) -> Iterator[Sample]:
    for x in (-1.31, -0.27, 0.26, 0.43, 1.17, 9.5, -8.5):
        yield Sample({"x": x, "s": 0.05, "z": -7}, ())
