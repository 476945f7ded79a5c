"""Samples for the equations of preparing images and masks.

Preprocess computes in float32, so its samples are numbers that float32 holds exactly, before and after: the comparison stays exact.
"""

from collections.abc import Iterator

import numpy as np

from minseg import ops
from minseg.autograd import tensor
from minseg.data import (
    Preprocess,
    RandomCrop,
    RandomFlip,
    RandomQuarterTurn,
    Resize,
    class_counts,
    colour,
    geometry,
    voc_palette,
)
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


def data_resize_labels(rng: np.random.Generator) -> Iterator[Sample]:
    for I, J in ((7, 3), (3, 6), (2, 9)):
        t = rng.permutation(H * W).reshape(H, W).astype(float)

        def code(t=t, size=(I, J)):
            return Resize(size)(np.zeros((1, H, W)), t, rng)[1]

        yield Sample({"t": t, "H": H, "W": W, "I": I, "J": J}, (I, J), code)


def data_flip_rows(rng: np.random.Generator) -> Iterator[Sample]:
    x = rng.standard_normal((C, H, W))

    def code():
        return _image_and_mask(RandomFlip(p=1, axis="vertical"), x, np.random.default_rng(0))

    yield Sample({"x": x, "H": H}, (C, H, W), code)


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


def _positions(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns to read, some of them outside, and one of each exactly where a pixel ends."""
    a, d = rng.uniform(-1.5, H + 0.5, (3, 7)), rng.uniform(-1.5, W + 0.5, (3, 7))
    a[0, :4], d[0, :4] = [-0.5, H - 0.5, 1.3, 2.6], [1.2, 2.7, -0.5, W - 0.5]
    return a, d


def data_warp(rng: np.random.Generator) -> Iterator[Sample]:
    x, (a, d) = rng.standard_normal((C, H, W)), _positions(rng)
    values = {"x": x, "a": a, "d": d, "H": H, "W": W}
    yield Sample(values, (C, 3, 7), lambda: geometry.warp(x, x[0], a, d)[0])


def data_warp_labels(rng: np.random.Generator) -> Iterator[Sample]:
    for _ in range(3):
        t, (a, d) = rng.permutation(H * W).reshape(H, W), _positions(rng)

        def code(t=t, a=a, d=d):
            return geometry.warp(t[None].astype(float), t, a, d)[1]

        yield Sample({"t": t, "e": 255, "a": a, "d": d, "H": H, "W": W}, (3, 7), code)


def _rotated(axis: int) -> Iterator[Sample]:
    for degrees in (33.0, -71.0):
        values = {r"\phi": np.radians(degrees), "H": H, "W": W}
        yield Sample(values, (H, W), lambda degrees=degrees: geometry.rotated((H, W), degrees)[axis])


def data_rotate_rows(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _rotated(0)


def data_rotate_columns(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _rotated(1)


def data_zoom(rng: np.random.Generator) -> Iterator[Sample]:
    for f in (0.7, 1.9):
        yield Sample({"f": f, "H": H}, (H,), lambda f=f: geometry.zoomed((H, W), f)[0][:, 0])
        yield Sample({"f": f, "H": W}, (W,), lambda f=f: geometry.zoomed((H, W), f)[1][0])


def data_gauss(rng: np.random.Generator) -> Iterator[Sample]:
    for sigma, R in ((0.6, 2), (1.3, 4)):
        yield Sample({"R": R, r"\sigma": sigma}, (2 * R + 1,), lambda sigma=sigma: geometry.gaussian(sigma))


def data_elastic(rng: np.random.Generator) -> Iterator[Sample]:
    alpha, sigma, R = 1.7, 0.6, 2
    e = np.random.default_rng(3).standard_normal((H + 2 * R, W + 2 * R))
    values = {r"\alpha": alpha, "g": geometry.gaussian(sigma), "R": R, "e": e}

    def code():
        return geometry.displacement((H, W), sigma, alpha, np.random.default_rng(3))

    yield Sample(values, (H, W), code)


def data_contrast(rng: np.random.Generator) -> Iterator[Sample]:
    x = rng.uniform(0, 255, (C, H, W))
    for alpha, beta in ((1.8, -3.5), (0.3, 1.25)):
        values = {"x": x, r"\alpha": alpha, r"\beta": beta, "m": x.mean()}
        yield Sample(values, (C, H, W), lambda alpha=alpha, beta=beta: colour.adjust(x, alpha, beta))


def data_noise(rng: np.random.Generator) -> Iterator[Sample]:
    x, e = rng.uniform(0, 255, (C, H, W)), np.random.default_rng(8).standard_normal((C, H, W))
    values = {"x": x, r"\sigma": 70.0, "e": e}
    yield Sample(values, (C, H, W), lambda: colour.add_noise(x, 70.0, np.random.default_rng(8)))


def data_blur(rng: np.random.Generator) -> Iterator[Sample]:
    x, sigma, R = rng.uniform(0, 255, (2, H, W)), 0.6, 2
    values = {"x": x, "g": geometry.gaussian(sigma), "R": R, "H": H, "W": W}
    yield Sample(values, (2, H, W), lambda: colour.blur(x, sigma))


def data_class_counts(rng: np.random.Generator) -> Iterator[Sample]:
    K, masks = 3, rng.choice([0, 1, 1, 2, 2, 2, 255], (2, H, W)).astype(np.uint8)
    t = masks.ravel().astype(int)

    def code():
        return class_counts([(np.zeros((H, W, 1)), mask) for mask in masks], K)

    yield Sample({"t": t, "N": t.size}, (K,), code, extra={"K": K})


def data_voc_palette(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample({}, (256, 3), lambda: voc_palette(), extra={"labels": 256})
    yield Sample(
        {}, (520, 3), extra={"labels": 520}
    )  # more bits than a label has, to see that the sum ends where it does
