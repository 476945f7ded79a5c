"""Samples for the equations between label maps and scores: with ignored pixels, and with ties."""

from collections.abc import Iterator

import numpy as np

from minseg import autograd, backend
from minseg.autograd import tensor
from minseg.inference import predict_labels
from minseg.testing.equations import Sample

N, K, H, W = 2, 3, 5, 4
IGNORE = 255


def seg_onehot(rng: np.random.Generator) -> Iterator[Sample]:
    """The code: the gradient of the sum of p g for p, which is g, the one-hot map that the Dice loss never writes down."""
    t = rng.choice([0, 1, 2, IGNORE], (N, H, W))

    def code():
        kernels = backend.current()
        of_overlap = np.array([[1.0] * K, [0.0] * K, [0.0] * K])
        p = np.full((N, K, H, W), 0.5)
        args = (kernels.asarray(of_overlap), kernels.asarray(p), kernels.asarray(t), 0, IGNORE)
        return kernels.to_numpy(kernels.dice_sums_grad_p(*args))

    yield Sample({"t": t}, (N, K, H, W), code, extra={"K": K})


def _scores(rng: np.random.Generator, ties: bool) -> np.ndarray:
    return rng.integers(0, 3, (N, K, H, W)).astype(float) if ties else rng.standard_normal((N, K, H, W))


def seg_argmax(rng: np.random.Generator) -> Iterator[Sample]:
    for ties in (False, True):
        z = _scores(rng, ties)
        yield Sample({"z": z, "K": K}, (N, H, W), lambda z=z: autograd.argmax(tensor(z), dim=1))
        yield Sample(
            {"z": z, "K": K}, (N, H, W), lambda z=z: np.stack([predict_labels(_Identity(), image) for image in z])
        )


class _Identity:
    """A model that predicts its input."""

    def __call__(self, x):
        return x

    def modules(self):
        return []

    def eval(self):
        return self
