"""Samples for the equations of pooling: windows that overlap, leave pixels out, look over the border; ties among maxima."""

from collections.abc import Iterator

import numpy as np

from minseg import ops
from minseg.autograd import tensor
from minseg.equations.literal import pool as literal
from minseg.kernels import shapes
from minseg.testing.equations import Sample
from minseg.testing.samples.backward import gradient

N, C, H, W = 2, 3, 7, 6
SQUARE = ((2, 1), (3, 2), (2, 3))
"""Window and stride without padding: k, s."""
PADDED = (((3, 2), 2, 1), ((4, 5), 1, 2), ((5, 2), 3, 1))
"""Window, stride and padding: (R, S), s, P."""


def _size(R: int, S: int, s: int, P: int) -> tuple[int, int]:
    return shapes.conv_size(H, R, s, P, 1), shapes.conv_size(W, S, s, P, 1)


def _pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((N, C, H, W))


def _with_ties(rng: np.random.Generator) -> np.ndarray:
    """Few different values, all of them negative: a border of zeros would win."""
    return rng.integers(-3, 0, (N, C, H, W)).astype(float)


# ------------------------------------------------------------------------------------------------------------- maximum


def pool_max2d(rng: np.random.Generator) -> Iterator[Sample]:
    for k, s in SQUARE:
        x = _pixels(rng)
        shape = (N, C, *_size(k, k, s, 0))
        yield Sample({"x": x, "k": k, "s": s}, shape, lambda x=x, k=k, s=s: ops.max_pool2d(tensor(x), k, stride=s))


def pool_max2d_padded(rng: np.random.Generator) -> Iterator[Sample]:
    for (R, S), s, P in PADDED:
        x = -1 - rng.random((N, C, H, W))

        def code(x=x, window=(R, S), s=s, P=P):
            return ops.max_pool2d(tensor(x), window, stride=s, padding=P)

        yield Sample({"x": x, "s": s, "P": P, "R": R, "S": S}, (N, C, *_size(R, S, s, P)), code)


def _indices(x: np.ndarray, R: int, S: int, s: int, P: int) -> np.ndarray:
    return literal.pool_max2d_indices(literal.pool_max2d_place(x, s, P, R, S), s, P, x.shape[3], S)


def pool_max2d_place(rng: np.random.Generator) -> Iterator[Sample]:
    for (R, S), s, P in PADDED:
        x = _with_ties(rng)

        def code(x=x, R=R, S=S, s=s, P=P):
            _, indices = ops.max_pool2d(tensor(x), (R, S), stride=s, padding=P, return_indices=True)
            row, column = np.divmod(indices.numpy(), W)
            I, J = indices.shape[2:]
            return (row - s * np.arange(I)[:, None] + P) * S + column - s * np.arange(J) + P

        yield Sample({"x": x, "s": s, "P": P, "R": R, "S": S}, (N, C, *_size(R, S, s, P)), code)


def pool_max2d_indices(rng: np.random.Generator) -> Iterator[Sample]:
    for (R, S), s, P in PADDED:
        x = _with_ties(rng)
        t = literal.pool_max2d_place(x, s, P, R, S)

        def code(x=x, window=(R, S), s=s, P=P):
            return ops.max_pool2d(tensor(x), window, stride=s, padding=P, return_indices=True)[1]

        yield Sample({"t": t, "s": s, "P": P, "W": W, "S": S}, t.shape, code)


def pool_max2d_grad(rng: np.random.Generator) -> Iterator[Sample]:
    for (R, S), s, P in PADDED:
        x = _with_ties(rng)[:, :2]
        a = _indices(x, R, S, s, P)
        y_bar = rng.standard_normal(a.shape)

        def code(x=x, y_bar=y_bar, window=(R, S), s=s, P=P):
            return gradient(lambda x: ops.max_pool2d(x, window, stride=s, padding=P), 0, y_bar, x)

        values = {r"\bar{y}": y_bar, "a": a, "W": W, "I": a.shape[2], "J": a.shape[3]}
        yield Sample(values, x.shape, code, extra={"H": H})


def pool_global_max(rng: np.random.Generator) -> Iterator[Sample]:
    x = _pixels(rng)
    for number, corner in enumerate(((0, 0), (0, W - 1), (H - 1, 0), (H - 1, W - 1))):
        x[number // C, number % C, *corner] = 9  # the maximum is where a loop that stops early misses it
    yield Sample({"x": x, "H": H, "W": W}, (N, C), lambda: ops.max_pool2d(tensor(x), (H, W)).numpy()[:, :, 0, 0])


# ---------------------------------------------------------------------------------------------------------------- mean


def pool_avg2d(rng: np.random.Generator) -> Iterator[Sample]:
    for k, s in SQUARE:
        x = _pixels(rng)
        shape = (N, C, *_size(k, k, s, 0))
        yield Sample({"x": x, "k": k, "s": s}, shape, lambda x=x, k=k, s=s: ops.avg_pool2d(tensor(x), k, stride=s))


def _pool_avg2d(rng: np.random.Generator, count_include_pad: bool) -> Iterator[Sample]:
    for (R, S), s, P in PADDED:
        x = _pixels(rng)

        def code(x=x, window=(R, S), s=s, P=P):
            return ops.avg_pool2d(tensor(x), window, stride=s, padding=P, count_include_pad=count_include_pad)

        count = {} if count_include_pad else {"m": literal.pool_window_count(H, W, s, P, R, S)}
        yield Sample({"x": x, "s": s, "P": P, "R": R, "S": S, **count}, (N, C, *_size(R, S, s, P)), code)


def pool_avg2d_padded(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _pool_avg2d(rng, count_include_pad=True)


def pool_avg2d_inside(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _pool_avg2d(rng, count_include_pad=False)


def _pool_avg2d_grad(rng: np.random.Generator, count_include_pad: bool) -> Iterator[Sample]:
    for (R, S), s, P in PADDED:
        I, J = _size(R, S, s, P)
        y_bar = rng.standard_normal((N, 2, I, J))

        def code(y_bar=y_bar, window=(R, S), s=s, P=P):
            def pooled(x):
                return ops.avg_pool2d(x, window, stride=s, padding=P, count_include_pad=count_include_pad)

            return gradient(pooled, 0, y_bar, np.zeros((N, 2, H, W)))

        count = {} if count_include_pad else {"m": literal.pool_window_count(H, W, s, P, R, S)}
        values = {r"\bar{y}": y_bar, "s": s, "P": P, "I": I, "J": J, "R": R, "S": S, **count}
        yield Sample(values, (N, 2, H, W), code, extra={"H": H, "W": W})


def pool_avg2d_grad(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _pool_avg2d_grad(rng, count_include_pad=True)


def pool_avg2d_inside_grad(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _pool_avg2d_grad(rng, count_include_pad=False)


def pool_window_count(rng: np.random.Generator) -> Iterator[Sample]:
    """The code: the mean of an image of ones, padded with zeros, times the window's places."""
    for (R, S), s, P in (*PADDED, ((6, 7), 2, 3)):

        def code(R=R, S=S, s=s, P=P):
            return R * S * ops.avg_pool2d(tensor(np.ones((1, 1, H, W))), (R, S), stride=s, padding=P).numpy()[0, 0]

        yield Sample({"s": s, "P": P, "H": H, "W": W, "R": R, "S": S}, _size(R, S, s, P), code)


# -------------------------------------------------------------------------------------------------- global and adaptive


def pool_global_avg(rng: np.random.Generator) -> Iterator[Sample]:
    x = _pixels(rng)
    yield Sample({"x": x, "H": H, "W": W}, (N, C), lambda: ops.global_avg_pool2d(tensor(x)).numpy()[:, :, 0, 0])


SIDES = ((7, 3), (5, 8), (6, 4), (9, 3))
"""Sizes before and after: divided with and without remainder, and enlarged."""


def _window_edges(H: int, I: int) -> list[tuple[int, int]]:
    """First row and row after the last of each window: where the gradient of one output is not zero."""
    edges = []
    for cotangent in np.eye(I).reshape(I, 1, 1, I, 1):
        g = gradient(lambda x: ops.adaptive_avg_pool2d(x, (I, 1)), 0, cotangent, np.zeros((1, 1, H, 1)))
        rows = np.flatnonzero(g)
        edges.append((int(rows[0]), int(rows[-1]) + 1))
    return edges


def pool_adaptive_start(rng: np.random.Generator) -> Iterator[Sample]:
    for H, I in SIDES:
        yield Sample({"H": H, "I": I}, (I,), lambda H=H, I=I: [first for first, _ in _window_edges(H, I)])


def pool_adaptive_stop(rng: np.random.Generator) -> Iterator[Sample]:
    for H, I in SIDES:
        yield Sample({"H": H, "I": I}, (I,), lambda H=H, I=I: [after for _, after in _window_edges(H, I)])


def _windows(I: int, J: int) -> dict[str, np.ndarray]:
    rows = {"a": literal.pool_adaptive_start(H, I), "b": literal.pool_adaptive_stop(H, I)}
    columns = {"d": literal.pool_adaptive_start(W, J), "e": literal.pool_adaptive_stop(W, J)}
    return {letter: np.array(edges) for letter, edges in (rows | columns).items()}


def pool_adaptive_avg(rng: np.random.Generator) -> Iterator[Sample]:
    for I, J in ((3, 4), (5, 2), (2, 9)):
        x = _pixels(rng)
        values = {"x": x, **_windows(I, J)}
        yield Sample(values, (N, C, I, J), lambda x=x, size=(I, J): ops.adaptive_avg_pool2d(tensor(x), size))


def pool_adaptive_avg_grad(rng: np.random.Generator) -> Iterator[Sample]:
    for I, J in ((3, 4), (5, 2)):
        y_bar = rng.standard_normal((N, C, I, J))

        def code(y_bar=y_bar):
            return gradient(lambda x: ops.adaptive_avg_pool2d(x, y_bar.shape[2:]), 0, y_bar, np.zeros((N, C, H, W)))

        values = {r"\bar{y}": y_bar, "I": I, "J": J, **_windows(I, J)}
        yield Sample(values, (N, C, H, W), code, extra={"H": H, "W": W})


# ----------------------------------------------------------------------------------------------------------- unpooling


def _unpooling(rng: np.random.Generator) -> Iterator[tuple[np.ndarray, tuple[int, int], int]]:
    """Indices of max pooling with windows k wide and s apart, and these: overlapping windows may name a pixel twice."""
    for k, s in ((2, 2), (3, 2)):
        x = _pixels(rng)
        yield _indices(x, k, k, s, 0), k, s


def pool_unpool(rng: np.random.Generator) -> Iterator[Sample]:
    for a, k, s in _unpooling(rng):
        x = rng.standard_normal(a.shape)

        def code(x=x, a=a, k=k, s=s):
            return ops.max_unpool2d(tensor(x), tensor(a.astype(np.int32)), k, stride=s, output_size=(H, W))

        values = {"x": x, "a": a, "W": W, "I": a.shape[2], "J": a.shape[3]}
        yield Sample(values, (N, C, H, W), code, extra={"H": H})


def pool_unpool_grad(rng: np.random.Generator) -> Iterator[Sample]:
    for a, k, s in _unpooling(rng):
        y_bar = rng.standard_normal((N, C, H, W))

        def code(y_bar=y_bar, a=a, k=k, s=s):
            indices = tensor(a.astype(np.int32))

            def unpooled(x):
                return ops.max_unpool2d(x, indices, k, stride=s, output_size=(H, W))

            return gradient(unpooled, 0, y_bar, np.zeros(a.shape))

        yield Sample({r"\bar{y}": y_bar, "a": a, "H": H, "W": W}, a.shape, code)
