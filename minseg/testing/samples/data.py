"""Samples for the equations of preparing images and masks.

Preprocess computes in float32, so its samples are numbers that float32 holds exactly, before and after: the comparison stays exact.
"""

from collections.abc import Iterator

import numpy as np

from minseg import ops
from minseg.autograd import tensor
from minseg.data import Preprocess, RandomCrop, RandomFlip, RandomQuarterTurn
from minseg.equations.literal import up as literal_up
from minseg.testing.equations import Sample

C, H, W = 3, 5, 4


def _steps_of_256th(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 257, (H, W, C)) / 256


def data_scale255(rng: np.random.Generator) -> Iterator[Sample]:
    x = 255 * _steps_of_256th(rng)
    yield Sample({"x": x}, (C, H, W), lambda: Preprocess(mean=(0.0,) * C, std=(1.0,) * C)(x))


def data_standardize(rng: np.random.Generator) -> Iterator[Sample]:
    u, mean, std = _steps_of_256th(rng), (0.5, 0.125, 0.75), (0.25, 2.0, 0.5)
    values = {"u": u, r"\mu": np.array(mean), r"\sigma": np.array(std)}
    yield Sample(values, (C, H, W), lambda: Preprocess(mean, std)(255 * u))


def data_resize_nearest(rng: np.random.Generator) -> Iterator[Sample]:
    for I, J in ((7, 3), (3, 6)):
        t = rng.choice([0.0, 1.0, 4.0, 255.0], (H, W))

        def code(t=t, size=(I, J)):
            return ops.interpolate(tensor(t[None, None]), size=size, mode="nearest").numpy()[0, 0]

        yield Sample({"t": t, "H": H, "W": W, "I": I, "J": J}, (I, J), code)


def data_resize_bilinear(rng: np.random.Generator) -> Iterator[Sample]:
    for I, J in ((7, 3), (3, 6)):
        x = rng.standard_normal((C, H, W))
        a, d = np.array(literal_up.up_position(H, I)), np.array(literal_up.up_position(W, J))

        def code(x=x, size=(I, J)):
            return ops.interpolate(tensor(x[None]), size=size, mode="bilinear").numpy()[0]

        yield Sample({"x": x, "a": a, "d": d, "H": H, "W": W}, (C, I, J), code)


def _image_and_mask(transform, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The moved image, if the mask moved with it: the mask given is the image's first channel."""
    image, mask = transform(x, x[0], rng)
    return image if np.array_equal(image[0], mask) else np.full_like(image, np.nan)


def data_flip(rng: np.random.Generator) -> Iterator[Sample]:
    x = rng.standard_normal((C, H, W))
    yield Sample({"x": x, "W": W}, (C, H, W), lambda: _image_and_mask(RandomFlip(p=1), x, np.random.default_rng(0)))


def data_crop(rng: np.random.Generator) -> Iterator[Sample]:
    I, J = 3, 2
    for seed in range(4):
        x = rng.standard_normal((C, H, W))

        def code(x=x, seed=seed):
            return _image_and_mask(RandomCrop((I, J)), x, np.random.default_rng(seed))

        a, b = (int(k[0]) for k in np.nonzero(x[0] == code()[0, 0, 0]))  # the window that this seed draws
        yield Sample({"x": x, "a": a, "b": b}, (C, I, J), code, extra={"I": I, "J": J})


def data_rotate(rng: np.random.Generator) -> Iterator[Sample]:
    x = rng.standard_normal((C, H, W))
    seed = next(seed for seed in range(100) if np.random.default_rng(seed).integers(4) == 1)  # one that draws one turn
    yield Sample(
        {"x": x, "W": W}, (C, W, H), lambda: _image_and_mask(RandomQuarterTurn(), x, np.random.default_rng(seed))
    )
