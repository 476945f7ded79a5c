"""Samples for the equation of pruning: weights of both signs, one of them at the threshold."""

from collections.abc import Iterator

import numpy as np

from minseg.compress import keep_large
from minseg.testing.equations import Sample


def prune_magnitude(rng: np.random.Generator) -> Iterator[Sample]:
    w = np.array([0.8, -0.3, -1.2, 0.5, 0.1])
    yield Sample({"w": w, "t": 0.5}, w.shape, lambda: keep_large(w, 0.5))
