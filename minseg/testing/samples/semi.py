"""Samples for the equation of pseudo-labels: each class is sure once, one is exactly sure enough, and two are unsure."""

from collections.abc import Iterator

import numpy as np

from minseg.data import pseudo_label
from minseg.testing.equations import Sample


def semi_pseudo_label(rng: np.random.Generator) -> Iterator[Sample]:
    p = np.array([[0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.25, 0.6, 0.15], [0.45, 0.1, 0.45]])

    def code():
        return pseudo_label(p.T[:, None, :], 0.6)[0]  # an image of one row

    yield Sample({"p": p, r"\tau": 0.6, "e": 255, "K": 3}, (5,), code)
