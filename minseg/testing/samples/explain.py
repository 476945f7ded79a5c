"""Samples for the equations of explanations."""

from collections.abc import Iterator

import numpy as np

from minseg.testing.equations import Sample


def explain_saliency(rng: np.random.Generator) -> Iterator[Sample]:
    g = rng.standard_normal((3, 4, 5))
    yield Sample({"g": g, "C": 3}, (4, 5))


def explain_gradcam(rng: np.random.Generator) -> Iterator[Sample]:
    K, H, W = 3, 4, 5
    A, g = rng.standard_normal((K, H, W)), 0.3 + rng.standard_normal((K, H, W))
    yield Sample({"A": A, "g": g, "K": K, "H": H, "W": W}, (H, W))
