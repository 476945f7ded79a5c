"""Winograd's convolutions: the matrices, the transforms in vectors, the bound on roundings, the choice, and awkward sizes."""

import numpy as np
import pytest

import minseg
from minseg import ops
from minseg.errors import Unsupported
from minseg.kernels import precision, winograd
from minseg.kernels.cpu import conv, conv_winograd, simd
from minseg.kernels.cpu.jit import kernel
from minseg.testing.conformance import WINOGRAD, _tiles, conform

SIZES = sorted(WINOGRAD.values())
PLAIN = ((1, 1), (1, 1), (1, 1))


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def arguments(N, C, O, size, padding=(1, 1), groups=1):
    x, w, b = random(N, C, *size), random(O, C // groups, 3, 3, seed=1), random(O, seed=2)
    window = ((1, 1), padding, (1, 1))
    gy = random(N, O, *(s + 2 * p - 2 for s, p in zip(size, padding)), seed=3)
    return {
        "conv2d": (x, w, b, *window, groups),
        "conv2d_relu": (x, w, b, *window, groups),
        "conv2d_grad_x": (gy, w, x.shape, *window, groups),
        "conv2d_grad_w": (gy, x, w.shape, *window, groups),
        "conv_transpose2d": (gy, w, random(C, seed=4), *window[:2], (0, 0), (1, 1), groups),
    }


# ------------------------------------------------------------------------------------------------------------- matrices


@pytest.mark.parametrize("m", SIZES)
def test_the_matrices_correlate(m):
    """Y = A^T [(G g G^T) * (B^T d B)] A is the correlation of every tile with every kernel: exactly so, in whole numbers."""
    A, B, G = winograd.transforms(m)
    rng = np.random.default_rng(m)
    d, g = rng.integers(-9, 10, (m + 2, m + 2)), 24**2 * rng.integers(-9, 10, (3, 3))
    expected = [[(d[i : i + 3, j : j + 3] * g).sum() for j in range(m)] for i in range(m)]
    np.testing.assert_allclose(A.T @ ((G @ g @ G.T) * (B.T @ d @ B)) @ A, expected, rtol=1e-13)


def test_the_matrices_are_the_papers():
    """Lavin and Gray 2016, section 4.1: up to the sign of the last row of B^T, which A takes back."""
    A, B, G = winograd.transforms(2)
    np.testing.assert_array_equal(B.T, [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]])
    np.testing.assert_array_equal(G, [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    np.testing.assert_array_equal(A.T, [[1, 1, 1, 0], [0, 1, -1, 1]])


@kernel
def _transforms(t, d, s, y, out):
    m, n = len(conv_winograd.outputs(t)), len(conv_winograd.pixels(t))
    pixels = simd.load_each(d, 0, simd.LANES, conv_winograd.pixels(t))
    sums = conv_winograd.transform_sums(simd.load_each(s, 0, simd.LANES, conv_winograd.pixels(t)))
    gradient = simd.load_each(y, 0, simd.LANES, conv_winograd.outputs(t))
    finished = conv_winograd.finish(gradient, simd.splat(y, 0.5), simd.splat(y, 0))
    simd.store_each(out, 0, simd.LANES, conv_winograd.transform(t, pixels))
    simd.store_each(out, n * simd.LANES, simd.LANES, sums)
    simd.store_each(out, (n + m) * simd.LANES, simd.LANES, conv_winograd.transform(t, gradient))
    simd.store_each(out, (n + m + n) * simd.LANES, simd.LANES, finished)


@pytest.mark.parametrize("rung", WINOGRAD)
def test_the_vector_transforms_are_the_matrices(rung):
    m, n = WINOGRAD[rung], WINOGRAD[rung] + 2
    A, B, _ = winograd.transforms(m)
    cls = {2: conv.conv_winograd_f2.F2, 4: conv.conv_winograd_f4.F4}[m]
    t = conv_winograd.tiles_of(cls, (1, 1, 8, 8), 1, 1, (0, 0), (6, 6), 24)
    rng = np.random.default_rng(m)
    d, s, y = (rng.integers(-9, 10, (count, simd.LANES)).astype(np.float32) for count in (n, n, m))
    out = np.full((2 * (n + m), simd.LANES), np.nan, np.float32)
    _transforms(t, d.ravel(), s.ravel(), y.ravel(), out.reshape(-1))
    np.testing.assert_array_equal(out[:n], B.T @ d)
    np.testing.assert_array_equal(out[n : n + m], A.T @ s)
    np.testing.assert_array_equal(out[n + m : n + m + n], A @ y)
    np.testing.assert_array_equal(out[n + m + n :], np.maximum(y + 0.5, 0))


# ---------------------------------------------------------------------------------------------------------------- bound


def in_float32(A, B, G):
    """conv2d with padding 1 by these matrices, in NumPy."""
    A, B, G = (np.asarray(matrix, np.float32) for matrix in (A, B, G))
    (n, m) = A.shape

    def conv2d(x, w, b, stride, padding, dilation, groups):
        count = [-(-s // m) for s in x.shape[2:]]
        V = B.T @ _tiles(x, (-1, -1), count, m, n) @ B
        M = np.einsum("ocpq,ncijpq->noijpq", G @ w @ G.T, V)
        y = (A.T @ M @ A).transpose(0, 1, 2, 4, 3, 5).reshape(len(x), len(w), m * count[0], m * count[1])
        return np.ascontiguousarray(y[:, :, : x.shape[2], : x.shape[3]] + b[:, None, None])

    return conv2d


def planted():
    """Each constant of each matrix, a fiftieth too large."""
    for m in SIZES:
        for which, matrix in enumerate(winograd.transforms(m)):
            for place in np.argwhere(matrix):
                yield pytest.param(m, which, tuple(place), id=f"F{m} {'ABG'[which]}{place.tolist()}")


@pytest.mark.parametrize("m", SIZES)
def test_honest_transforms_are_within_their_bound(m):
    args = arguments(2, 16, 5, (13, 18))["conv2d"]
    conform("conv2d", in_float32(*winograd.transforms(m)), args, f"winograd_f{m}")


@pytest.mark.parametrize(("m", "which", "place"), list(planted()))
def test_a_wrong_constant_exceeds_the_bound(m, which, place):
    matrices = [matrix.copy() for matrix in winograd.transforms(m)]
    matrices[which][place] *= 1.02
    args = arguments(2, 16, 5, (13, 18))["conv2d"]
    with pytest.raises(AssertionError, match="elements are off"):
        conform("conv2d", in_float32(*matrices), args, f"winograd_f{m}")


@pytest.mark.parametrize("rung", WINOGRAD)
@pytest.mark.parametrize("primitive", ["conv2d", "conv2d_relu", "conv2d_grad_x", "conv2d_grad_w", "conv_transpose2d"])
def test_a_forgotten_channel_row_or_column_exceeds_the_bound(rung, primitive):
    args = arguments(2, 9, 9, (13, 18))[primitive]
    for cut in (np.s_[:, -1:], np.s_[:, :, -1:], np.s_[..., -1:]):

        def forgetful(first, *rest, cut=cut):
            first = first.copy()
            first[cut] = 0
            return conv.VARIANTS[primitive][rung](first, *rest)

        with pytest.raises(AssertionError, match="elements are off"):
            conform(primitive, forgetful, args, rung)


# ------------------------------------------------------------------------------------------------------- awkward shapes

L = simd.LANES
AWKWARD = {
    "one pixel": ((1, 1, 1, (1, 1)), {}),
    "one output": ((2, 3, 2, (3, 3)), {"padding": (0, 0)}),
    "one channel": ((3, 1, 1, (9, 10)), {}),
    "one column": ((2, 2, 3, (13, 1)), {}),
    "one row": ((2, 2, 3, (1, 13)), {}),
    "a thousand tiny maps": ((1000, 3, 2, (2, 3)), {}),
    "much padding": ((2, 2, 3, (5, 4)), {"padding": (3, 7)}),
    "more padding than a vector": ((1, 2, 2, (3, 2)), {"padding": (0, 2 * L + 1)}),
    "padding of one side": ((2, 3, 4, (6, 9)), {"padding": (0, 2)}),
    "more padding than windows": ((1, 2, 2, (3, 4)), {"padding": (4, 3)}),
    "groups": ((2, 6, 9, (7, 8)), {"groups": 3}),
    "more channels in a group than in a vector": ((1, 2 * (L + 3), 2 * (L + 1), (7, 9)), {"groups": 2}),
    "depthwise": ((2, 5, 5, (11, 12)), {"groups": 5}),
    "several rows of tiles at a time": ((3, 16, 8, (20, 9)), {}),
    "many channels, few tiles": ((1, 70, 37, (6, 7)), {}),
    "one to seven vectors of outputs": ((1, L, 7 * L, (5, 6)), {}),
    "one to seven vectors of channels": ((1, 7 * L, 1, (5, 6)), {}),
} | {f"width {k}": ((2, 2, 5, (6, k)), {}) for k in (*range(2, 12), *(4 * L + d for d in (-1, 0, 1, 2, 3)))}


@pytest.mark.parametrize("rung", WINOGRAD)
@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_shapes(name, rung):
    shape, options = AWKWARD[name]
    for primitive, args in arguments(*shape, **options).items():
        conform(primitive, conv.VARIANTS[primitive][rung], args, rung)


@pytest.mark.parametrize("rung", WINOGRAD)
def test_gradient_sums_over_several_loads_of_tiles(rung, monkeypatch):
    """With room for few tiles at a time, the last load is shorter than the others."""
    monkeypatch.setattr(conv_winograd, "GRADIENT_FLOATS", 0)
    args = arguments(5, 4, 5, (10, 21))["conv2d_grad_w"]
    conform("conv2d_grad_w", conv.VARIANTS["conv2d_grad_w"][rung], args, rung)


@pytest.mark.parametrize("rung", WINOGRAD)
def test_what_the_transforms_are_not_for_is_refused(rung):
    x, w = random(1, 2, 8, 8), random(2, 2, 3, 3)
    call = conv.VARIANTS["conv2d"][rung]
    for wrong in (
        (x.astype(np.float64), w.astype(np.float64), None, *PLAIN, 1),
        (x, random(2, 2, 3, 2), None, *PLAIN, 1),
        (x, w, None, (1, 2), (1, 1), (1, 1), 1),
        (x, w, None, (1, 1), (1, 1), (2, 1), 1),
    ):
        with pytest.raises(Unsupported, match=f"{rung}: only 3x3 kernels in float32 with stride and dilation 1, got"):
            call(*wrong)


# --------------------------------------------------------------------------------------------------------------- choice

DEEP = arguments(2, 16, 24, (32, 32))


@pytest.mark.parametrize("primitive", DEEP)
def test_choice(primitive):
    """Winograd where it is made for the case and pays, never in float64, and not when precision is asked for."""
    args = DEEP[primitive]
    assert conv.rung_of(primitive, *args) == "winograd_f4"
    wide = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args]
    assert conv.rung_of(primitive, *wide) == "tile"
    with minseg.precise():
        assert conv.rung_of(primitive, *args) == "tile"
        with minseg.precise(False):
            assert conv.rung_of(primitive, *args) == "winograd_f4"
        assert conv.rung_of(primitive, *args) == "tile"
    assert conv.rung_of(primitive, *args) == "winograd_f4"


@pytest.mark.parametrize("primitive", DEEP)
def test_choice_on_small_maps(primitive):
    assert conv.rung_of(primitive, *arguments(8, 64, 64, (8, 8))[primitive]) == "winograd_f4"
    assert conv.rung_of(primitive, *arguments(1, 64, 64, (8, 8))[primitive]) == "winograd_f2"
    assert conv.rung_of(primitive, *arguments(1, 64, 64, (2, 2))[primitive]) == "tile"
    assert conv.rung_of(primitive, *arguments(8, 3, 16, (64, 64))[primitive]) == "tile"
    assert conv.rung_of(primitive, *arguments(2, 64, 64, (32, 32), groups=64)[primitive]) == "depthwise"


@pytest.mark.parametrize("primitive", DEEP)
def test_the_chosen_rung_computes(primitive):
    args = DEEP[primitive]
    result = getattr(conv, primitive)(*args)
    assert result.tobytes() == conv.VARIANTS[primitive]["winograd_f4"](*args).tobytes()
    with minseg.precise():
        result = getattr(conv, primitive)(*args)
    assert result.tobytes() == conv.VARIANTS[primitive]["tile"](*args).tobytes()


def test_precise_holds_for_operations_forward_and_backward():
    """The bits of an operation in the block are those of the definition's rung, also where the block is entered by a plain call."""
    x, w = (minseg.tensor(a, requires_grad=True) for a in DEEP["conv2d"][:2])

    def results():
        x.grad = w.grad = None
        y = ops.conv2d(x, w, padding=1)
        y.backward(np.ones_like(y.data))
        return [array.tobytes() for array in (y.data, x.grad, w.grad)]

    with minseg.use_backend("numba"):
        fast = results()
        with minseg.precise():
            exact = results()
        assert all(a != b for a, b in zip(fast, exact))
        setting = minseg.precise()
        try:
            assert precision.is_precise()
            assert results() == exact
        finally:
            setting.__exit__()
        assert results() == fast
