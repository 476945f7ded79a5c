"""Samples for the equations of explanations: networks so small that the gradient of their score is known."""

from collections.abc import Iterator

import numpy as np

from minseg import explain, nn
from minseg.autograd import tensor
from minseg.testing.equations import Sample


class _Linear(nn.Module):
    """Features that are the image itself, and a class whose logit is their product with g: its gradient is g."""

    def __init__(self, g: np.ndarray):
        self.g = g
        self.features = nn.Identity()

    def forward(self, x):
        return (self.features(x) * tensor(self.g[None])).sum(1, keepdim=True)


def explain_saliency(rng: np.random.Generator) -> Iterator[Sample]:
    g, image = rng.standard_normal((3, 4, 5)), rng.standard_normal((3, 4, 5))
    yield Sample({"g": g, "C": 3}, (4, 5), lambda: explain.saliency(_Linear(g), image, 0))


def explain_gradcam(rng: np.random.Generator) -> Iterator[Sample]:
    K, H, W = 3, 4, 5
    A, g = rng.standard_normal((K, H, W)), 0.3 + rng.standard_normal((K, H, W))
    values = {"A": A, "g": g, "K": K, "H": H, "W": W}
    yield Sample(values, (H, W), lambda: explain.grad_cam(_Linear(g), A, 0, "features"))
