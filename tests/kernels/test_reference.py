"""The reference kernels against the equations written once more as plain Python loops, and against PyTorch where it has them.

The loops share nothing with the kernels: no windows, no columns, no broadcasting. One loop for each sum sign.
"""

import math
from itertools import product

import numpy as np
import pytest

from minseg.equations.literal import att as literal
from minseg.kernels.reference import activation, attention, conv, linear, loss, norm, optim, pool, resample, softmax
from minseg.kernels.spec import PRIMITIVES
from minseg.testing.cases import CONVOLUTIONS, MAXIMA, POOLINGS, TRANSPOSED, cases
from minseg.testing.conformance import FAN_IN, as_tuple, reference

CLOSE = {"rtol": 1e-13, "atol": 1e-13}  # float64, sums of at most a few hundred terms of size 1: 4 sqrt(300) u < 1e-14
PEER = {"float32": {"rtol": 1e-5, "atol": 1e-5}, "float64": {"rtol": 1e-12, "atol": 1e-12}}  # PyTorch's own roundings


def ranges(*sizes: int):
    """One loop inside another."""
    return product(*map(range, sizes))


def at(x: np.ndarray, n: int, c: int, i: int, j: int) -> float:
    """x, and 0 outside."""
    return x[n, c, i, j] if 0 <= i < x.shape[2] and 0 <= j < x.shape[3] else 0.0


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


# ------------------------------------------------------------------------------------------------------------- conv.py

SMALL_CONVOLUTIONS = (
    *("one pixel padded", "3x3 full", "1x1 stride", "gaps between windows, unused border", "all at once"),
    *("all at once, grouped", "depthwise, two kernels each", "windows outside the image"),
)


@pytest.fixture(params=SMALL_CONVOLUTIONS)
def convolution(request):
    return CONVOLUTIONS[request.param]


def taps(c, N, O, I, J):
    """Every product of a convolution: n, o, the kernel's channel and place, the output pixel, and what it reads of x."""
    (sh, sw), (ph, pw), (dh, dw) = c.stride, c.padding, c.dilation
    share = c.w[1]
    for n, o, k, p, q, i, j in ranges(N, O, *c.w[1:], I, J):
        channel = o // (O // c.groups) * share + k
        yield n, o, k, p, q, i, j, (n, channel, sh * i + dh * p - ph, sw * j + dw * q - pw)


def test_conv2d_and_its_gradients(convolution):
    c = convolution
    N, O, I, J = c.y
    x, w, b, gy = random(*c.x), random(*c.w, seed=1), random(O, seed=2), random(*c.y, seed=3)
    y = np.zeros(c.y) + b.reshape(1, O, 1, 1)
    gx, gw = np.zeros(c.x), np.zeros(c.w)
    for n, o, k, p, q, i, j, read in taps(c, N, O, I, J):
        y[n, o, i, j] += w[o, k, p, q] * at(x, *read)
        gw[o, k, p, q] += gy[n, o, i, j] * at(x, *read)
        if 0 <= read[2] < c.x[2] and 0 <= read[3] < c.x[3]:
            gx[read] += gy[n, o, i, j] * w[o, k, p, q]
    np.testing.assert_allclose(conv.conv2d(x, w, b, *c.window), y, **CLOSE)
    np.testing.assert_allclose(conv.conv2d(x, w, None, *c.window), y - b.reshape(1, O, 1, 1), **CLOSE)
    np.testing.assert_allclose(conv.conv2d_grad_x(gy, w, c.x, *c.window), gx, **CLOSE)
    np.testing.assert_allclose(conv.conv2d_grad_w(gy, x, c.w, *c.window), gw, **CLOSE)
    gb = [math.fsum(gy[:, o].ravel()) for o in range(O)]
    np.testing.assert_allclose(conv.conv2d_grad_b(gy), gb, **CLOSE)


def test_im2col_and_col2im(convolution):
    c = convolution
    N, C, _, _ = c.x
    R, S = c.w[2:]
    _, _, I, J = c.y
    (sh, sw), (ph, pw), (dh, dw) = c.stride, c.padding, c.dilation
    x, cols = random(*c.x), random(N, C * R * S, I * J, seed=1)
    columns, image = np.zeros(cols.shape), np.zeros(c.x)
    for n, k, p, q, i, j in ranges(N, C, R, S, I, J):
        u, v = sh * i + dh * p - ph, sw * j + dw * q - pw
        columns[n, (k * R + p) * S + q, i * J + j] = at(x, n, k, u, v)
        if 0 <= u < c.x[2] and 0 <= v < c.x[3]:
            image[n, k, u, v] += cols[n, (k * R + p) * S + q, i * J + j]
    window = (c.w[2:], c.stride, c.padding, c.dilation)
    np.testing.assert_array_equal(conv.im2col(x, *window), columns)
    np.testing.assert_allclose(conv.col2im(cols, c.x, *window), image, **CLOSE)


@pytest.mark.parametrize("name", ["one pixel enlarged", "output padding", "all at once", "all at once, grouped"])
def test_conv_transpose2d(name):
    """Each pixel times the kernel, laid down where the convolution's window would have read it."""
    t = TRANSPOSED[name]
    (N, C, H, W), (_, share, R, S) = t.x, t.w
    (sh, sw), (ph, pw), (dh, dw), (ah, aw) = t.stride, t.padding, t.dilation, t.output_padding
    O = share * t.groups
    shape = (N, O, (H - 1) * sh - 2 * ph + dh * (R - 1) + ah + 1, (W - 1) * sw - 2 * pw + dw * (S - 1) + aw + 1)
    x, w, b = random(*t.x), random(*t.w, seed=1), random(O, seed=2)
    y = np.zeros(shape) + b.reshape(1, O, 1, 1)
    for n, c, k, p, q, i, j in ranges(N, C, share, R, S, H, W):
        u, v = sh * i + dh * p - ph, sw * j + dw * q - pw
        if 0 <= u < shape[2] and 0 <= v < shape[3]:
            y[n, c // (C // t.groups) * share + k, u, v] += x[n, c, i, j] * w[c, k, p, q]
    result = conv.conv_transpose2d(x, w, b, t.stride, t.padding, t.output_padding, t.dilation, t.groups)
    np.testing.assert_allclose(result, y, **CLOSE)


# ------------------------------------------------------------------------------------------------------------- pool.py


def window_pixels(p, i: int, j: int) -> list[tuple[int, int]]:
    """The pixels in window (i, j), row by row; what it sees of the padding is left out."""
    return [
        (u, v)
        for u in range(p.stride[0] * i - p.padding[0], p.stride[0] * i - p.padding[0] + p.kernel_size[0])
        for v in range(p.stride[1] * j - p.padding[1], p.stride[1] * j - p.padding[1] + p.kernel_size[1])
        if 0 <= u < p.x[2] and 0 <= v < p.x[3]
    ]


def pooled_shape(p) -> tuple[int, int]:
    sizes = zip(p.x[2:], p.kernel_size, p.stride, p.padding, strict=True)
    return tuple(len(range(0, size + 2 * pad - k + 1, s)) for size, k, s, pad in sizes)


@pytest.mark.parametrize("name", MAXIMA)
def test_max_pool2d_and_its_gradient(name):
    p = MAXIMA[name]
    x = p.values(np.random.default_rng(0), np.dtype("float64"), *p.x)
    N, C, _, W = p.x
    I, J = pooled_shape(p)
    y, indices = np.empty((N, C, I, J)), np.empty((N, C, I, J), int)
    for n, c, i, j in ranges(N, C, I, J):
        best = None
        for u, v in window_pixels(p, i, j):
            value = x[n, c, u, v]
            if best is None or (value > best and not math.isnan(best)) or (math.isnan(value) and not math.isnan(best)):
                best, y[n, c, i, j], indices[n, c, i, j] = value, value, u * W + v
    result, chosen = pool.max_pool2d(x, *p.window)
    np.testing.assert_array_equal(result, y)
    np.testing.assert_array_equal(chosen, indices)
    assert chosen.dtype == np.int32

    gy, gx = random(N, C, I, J, seed=1), np.zeros(p.x)
    for n, c, i, j in ranges(N, C, I, J):
        gx[n, c, indices[n, c, i, j] // W, indices[n, c, i, j] % W] += gy[n, c, i, j]
    np.testing.assert_allclose(pool.max_pool2d_grad_x(gy, chosen, p.x), gx, **CLOSE)
    np.testing.assert_allclose(pool.max_unpool2d(gy, chosen, p.x[2:]), gx, **CLOSE)


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("name", POOLINGS)
def test_avg_pool2d_and_its_gradient(name, count_include_pad):
    p = POOLINGS[name]
    x, (N, C, _, _) = random(*p.x), p.x
    I, J = pooled_shape(p)
    gy, y, gx = random(N, C, I, J, seed=1), np.zeros((N, C, I, J)), np.zeros(p.x)
    for n, c, i, j in ranges(N, C, I, J):
        pixels = window_pixels(p, i, j)
        count = p.kernel_size[0] * p.kernel_size[1] if count_include_pad else len(pixels)
        for u, v in pixels:
            y[n, c, i, j] += x[n, c, u, v] / count
            gx[n, c, u, v] += gy[n, c, i, j] / count
    np.testing.assert_allclose(pool.avg_pool2d(x, *p.window, count_include_pad), y, **CLOSE)
    np.testing.assert_allclose(pool.avg_pool2d_grad_x(gy, p.x, *p.window, count_include_pad), gx, **CLOSE)


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (7, 11), (9, 2), (5, 13)])
def test_adaptive_avg_pool2d_and_its_gradient(size):
    N, C, H, W = shape = (2, 2, 7, 11)
    x, gy = random(*shape), random(N, C, *size, seed=1)
    y, gx = np.zeros(gy.shape), np.zeros(shape)
    for n, c, i, j in ranges(N, C, *size):
        rows = range(math.floor(i * H / size[0]), math.ceil((i + 1) * H / size[0]))
        columns = range(math.floor(j * W / size[1]), math.ceil((j + 1) * W / size[1]))
        for u, v in product(rows, columns):
            y[n, c, i, j] += x[n, c, u, v] / (len(rows) * len(columns))
            gx[n, c, u, v] += gy[n, c, i, j] / (len(rows) * len(columns))
    np.testing.assert_allclose(pool.adaptive_avg_pool2d(x, size), y, **CLOSE)
    np.testing.assert_allclose(pool.adaptive_avg_pool2d_grad_x(gy, shape), gx, **CLOSE)


# --------------------------------------------------------------------------------------------------------- resample.py

SIZES = [((5, 7), (8, 17)), ((11, 13), (4, 5)), ((1, 6), (3, 1)), ((14, 30), (46, 22)), ((4, 4), (4, 4))]


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_resize_nearest_and_its_gradient(old, new):
    x, gy = random(2, 2, *old), random(2, 2, *new, seed=1)
    y, gx = np.zeros(gy.shape), np.zeros(x.shape)
    for n, c, i, j in ranges(*gy.shape):
        u, v = (i * old[0]) // new[0], (j * old[1]) // new[1]
        y[n, c, i, j] = x[n, c, u, v]
        gx[n, c, u, v] += gy[n, c, i, j]
    np.testing.assert_array_equal(resample.resize_nearest(x, new), y)
    np.testing.assert_allclose(resample.resize_nearest_grad_x(gy, x.shape), gx, **CLOSE)


def tent(i: int, u: int, old: int, new: int) -> float:
    """The weight of source pixel u in output pixel i: a tent over the source position, which cannot leave the image."""
    position = min(max((i + 0.5) * old / new - 0.5, 0), old - 1)
    return max(0.0, 1 - abs(position - u))


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_resize_bilinear_and_its_gradient(old, new):
    x, gy = random(1, 2, *old), random(1, 2, *new, seed=1)
    y, gx = np.zeros(gy.shape), np.zeros(x.shape)
    down = [[tent(i, u, old[0], new[0]) for u in range(old[0])] for i in range(new[0])]
    across = [[tent(j, v, old[1], new[1]) for v in range(old[1])] for j in range(new[1])]
    for i, j, u, v in ranges(*new, *old):
        weight = down[i][u] * across[j][v]
        if weight:
            y[:, :, i, j] += weight * x[:, :, u, v]
            gx[:, :, u, v] += weight * gy[:, :, i, j]
    np.testing.assert_allclose(resample.resize_bilinear(x, new), y, **CLOSE)
    np.testing.assert_allclose(resample.resize_bilinear_grad_x(gy, x.shape), gx, **CLOSE)


def test_resizing_keeps_what_must_stay():
    """A constant image stays one, and the same size changes nothing."""
    x = random(1, 2, 5, 7)
    for resize in (resample.resize_nearest, resample.resize_bilinear):
        np.testing.assert_array_equal(resize(x, (5, 7)), x)
        np.testing.assert_allclose(resize(np.full((1, 1, 5, 7), 3.0), (13, 4)), 3.0, rtol=1e-15)


# ----------------------------------------------------------------------------------------------------------- linear.py


@pytest.mark.parametrize(("N", "I", "O"), [(3, 5, 4), (1, 1, 1), (2, 7, 1)])
def test_linear_and_its_gradients(N, I, O):
    x, w, b, gy = random(N, I), random(O, I, seed=1), random(O, seed=2), random(N, O, seed=3)
    z, gx, gw, gb = np.zeros((N, O)), np.zeros((N, I)), np.zeros((O, I)), np.zeros(O)
    for n, o in ranges(N, O):
        z[n, o] = b[o]
        gb[o] += gy[n, o]
        for i in range(I):
            z[n, o] += w[o, i] * x[n, i]
            gx[n, i] += w[o, i] * gy[n, o]
            gw[o, i] += gy[n, o] * x[n, i]
    np.testing.assert_allclose(linear.linear(x, w, b), z, **CLOSE)
    np.testing.assert_allclose(linear.linear(x, w, None), z - b, **CLOSE)
    np.testing.assert_allclose(linear.linear_grad_x(gy, w), gx, **CLOSE)
    np.testing.assert_allclose(linear.linear_grad_w(gy, x), gw, **CLOSE)
    np.testing.assert_allclose(linear.linear_grad_b(gy), gb, **CLOSE)


# ----------------------------------------------------------------------------------------- activation.py and softmax.py

ACTIVATIONS = {
    "relu": lambda z: max(0.0, z),
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": lambda z: (math.exp(z) - math.exp(-z)) / (math.exp(z) + math.exp(-z)),
}
SLOPES = {
    "relu": lambda z, a: 1.0 if z > 0 else 0.0,
    "sigmoid": lambda z, a: a * (1 - a),
    "tanh": lambda z, a: 1 - a**2,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_their_gradients(name):
    x, gy = np.concatenate([3 * random(20), [0.0, 1.0, -1.0]]), random(23, seed=1)
    y = getattr(activation, name)(x)
    np.testing.assert_allclose(y, [ACTIVATIONS[name](z) for z in x], **CLOSE)
    gx = [g * SLOPES[name](z, a) for g, z, a in zip(gy, x, y, strict=True)]
    np.testing.assert_allclose(getattr(activation, f"{name}_grad_x")(gy, y), gx, **CLOSE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_at_the_ends(dtype):
    """No overflow, no NaN, and the limits exactly."""
    x = np.array([-np.inf, -1e30, -800, 800, 1e30, np.inf], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_array_equal(activation.sigmoid(x), [0, 0, 0, 1, 1, 1])
        np.testing.assert_array_equal(activation.tanh(x), [-1, -1, -1, 1, 1, 1])
    for function in (activation.relu, activation.sigmoid, activation.tanh):
        assert np.isnan(function(np.array([np.nan], dtype))[0])


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_softmax_log_softmax_and_their_gradients(axis):
    x, gy = 2 * random(3, 4, 5), random(3, 4, 5, seed=1)
    p, gx, gx_log = np.zeros(x.shape), np.zeros(x.shape), np.zeros(x.shape)
    lines = [np.moveaxis(array, axis, -1).reshape(-1, x.shape[axis]) for array in (x, gy)]
    moved = [np.moveaxis(array, axis, -1) for array in (p, gx, gx_log)]
    for n, (z, g) in enumerate(zip(*lines, strict=True)):
        where = np.unravel_index(n, moved[0].shape[:-1])
        total = math.fsum(math.exp(v) for v in z)
        probability = [math.exp(v) / total for v in z]
        K = range(len(z))
        moved[0][where] = probability
        moved[1][where] = [
            math.fsum(g[j] * probability[j] * ((j == k) - probability[k]) for j in K) for k in K
        ]  # the Jacobian, row by row
        moved[2][where] = [math.fsum(g[j] * ((j == k) - probability[k]) for j in K) for k in K]
    np.testing.assert_allclose(softmax.softmax(x, axis), p, **CLOSE)
    np.testing.assert_allclose(softmax.log_softmax(x, axis), np.log(p), **CLOSE)
    np.testing.assert_allclose(softmax.softmax_grad_x(gy, p, axis), gx, **CLOSE)
    np.testing.assert_allclose(softmax.log_softmax_grad_x(gy, np.log(p), axis), gx_log, **CLOSE)


def test_attention_and_its_gradients():
    """Sample by sample the loops that stand beside the equations."""
    q, k, v, gy = (random(*shape, seed=seed) for seed, shape in enumerate([(2, 5, 3), (2, 4, 3), (2, 4, 2), (2, 5, 2)]))
    y, lse = attention.attention(q, k, v)
    gradients = attention.attention_grad(gy, q, k, v, y, lse)
    for b in range(2):
        s = literal.att_score(q[b], k[b])
        np.testing.assert_allclose(lse[b], literal.att_log_sum(s), **CLOSE)
        np.testing.assert_allclose(y[b], literal.att_attention(s, lse[b], v[b]), **CLOSE)
        weights = literal.att_weights(s)
        s_bar = literal.att_grad_s(weights, gy[b], v[b], y[b])
        expected = literal.att_grad_q(s_bar, k[b]), literal.att_grad_k(s_bar, q[b]), literal.att_grad_v(weights, gy[b])
        for found, wanted in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(found[b], wanted, **CLOSE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_attention_with_scores_far_apart(dtype):
    """A thousand units between two scores: no overflow, and the nearer key gets all."""
    q, k, v = (np.array(rows, dtype)[None] for rows in ([[1], [-1]], [[1000], [-1000]], [[2], [3]]))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, lse = attention.attention(q, k, v)
    assert y.ravel().tolist() == [2, 3]
    assert lse.ravel().tolist() == [1000, 1000]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_of_large_and_of_broken_rows(dtype):
    """Large logits overflow nowhere; a row without any finite maximum is NaN throughout, and its neighbours are not touched."""
    x = np.array([[1e30, 0, -1e30], [-np.inf, 1, 1], [-np.inf] * 3, [np.inf, 0, 0], [np.nan, 0, 0]], dtype)
    with np.errstate(over="raise", invalid="ignore"):
        p = softmax.softmax(x, 1)
    with np.errstate(over="raise", invalid="ignore", divide="ignore"):
        log_p = softmax.log_softmax(x, 1)
    np.testing.assert_array_equal(p[:2], [[1, 0, 0], [0, 0.5, 0.5]])
    np.testing.assert_array_equal(log_p[0], np.array([0, -1e30, -2e30], dtype))
    assert log_p[1, 0] == -np.inf
    assert np.isnan(p[2:]).all()
    assert np.isnan(log_p[2:]).all()


# ------------------------------------------------------------------------------------------------------------- norm.py


def mean_and_variance(values: list[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((v - mean) ** 2 for v in values) / len(values)


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 1, 1), (3, 2, 1, 1)])
def test_batch_norm_and_its_gradients(shape):
    x, gy, eps = 2 * random(*shape) + 1, random(*shape, seed=1), 1e-3
    C, M = shape[1], shape[0] * shape[2] * shape[3]
    weight, bias = random(C, seed=2), random(C, seed=3)
    mean, var = norm.batch_norm_stats(x)
    y = norm.batch_norm(x, mean, var, weight, bias, eps)
    gx, gw, gb = norm.batch_norm_grad(gy, x, mean, var, weight, eps)
    gx_eval, gw_eval, gb_eval = norm.batch_norm_eval_grad(gy, x, mean, var, weight, eps)
    for c in range(C):
        xs, gs = list(x[:, c].ravel()), list(gy[:, c].ravel())
        m, v = mean_and_variance(xs)
        hat = [(value - m) / math.sqrt(v + eps) for value in xs]
        np.testing.assert_allclose((mean[c], var[c]), (m, v), **CLOSE)
        np.testing.assert_allclose(y[:, c].ravel(), [weight[c] * h + bias[c] for h in hat], **CLOSE)
        # d hat_j / d x_k = (delta_jk - 1/M - hat_j hat_k / M) / sqrt(v + eps)
        expected = [
            math.fsum(gs[j] * weight[c] * ((j == k) - 1 / M - hat[j] * hat[k] / M) for j in range(M))
            / math.sqrt(v + eps)
            for k in range(M)
        ]
        np.testing.assert_allclose(gx[:, c].ravel(), expected, **CLOSE)
        np.testing.assert_allclose(gx_eval[:, c].ravel(), [g * weight[c] / math.sqrt(v + eps) for g in gs], **CLOSE)
        sums = math.fsum(g * h for g, h in zip(gs, hat, strict=True)), math.fsum(gs)
        np.testing.assert_allclose((gw[c], gb[c]), sums, **CLOSE)
        np.testing.assert_allclose((gw_eval[c], gb_eval[c]), sums, **CLOSE)


def test_batch_norm_without_weight_and_bias():
    x, gy, one, zero = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1), np.ones(3), np.zeros(3)
    mean, var = norm.batch_norm_stats(x)
    with_both = norm.batch_norm(x, mean, var, one, zero, 1e-5)
    np.testing.assert_array_equal(norm.batch_norm(x, mean, var, None, None, 1e-5), with_both)
    for gradient in (norm.batch_norm_grad, norm.batch_norm_eval_grad):
        for a, b in zip(gradient(gy, x, mean, var, None, 1e-5), gradient(gy, x, mean, var, one, 1e-5), strict=True):
            np.testing.assert_array_equal(a, b)


def test_conv2d_relu_is_conv2d_and_then_relu():
    args = random(2, 4, 7, 6), random(6, 2, 3, 2, seed=1), random(6, seed=2), (2, 1), (1, 2), (1, 2), 2
    y = conv.conv2d(*args)
    assert y.min() < 0 < y.max()
    np.testing.assert_array_equal(conv.conv2d_relu(*args), activation.relu(y))


@pytest.mark.parametrize(
    ("plain", "fused"),
    [(norm.batch_norm_grad, norm.batch_norm_relu_grad), (norm.batch_norm_eval_grad, norm.batch_norm_relu_eval_grad)],
)
def test_batch_norm_relu_is_batch_norm_and_then_relu(plain, fused):
    x, gy, weight, bias = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1), random(3, seed=2), random(3, seed=3)
    mean, var = norm.batch_norm_stats(x)
    y = norm.batch_norm(x, mean, var, weight, bias, 1e-3)
    rectified = norm.batch_norm_relu(x, mean, var, weight, bias, 1e-3)
    np.testing.assert_array_equal(rectified, activation.relu(y))
    expected = plain(activation.relu_grad_x(gy, rectified), x, mean, var, weight, 1e-3)
    for found, wanted in zip(fused(gy, x, mean, var, weight, bias, 1e-3), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_variance_survives_a_large_mean():
    """In one pass, as mean of squares minus squared mean, float32 would have nothing left of it."""
    x = (random(4, 2, 16, 16) + 3000).astype(np.float32)
    _, var = norm.batch_norm_stats(x)
    np.testing.assert_allclose(var, x.astype(np.float64).var(axis=(0, 2, 3)), rtol=1e-5)


# ------------------------------------------------------------------------------------------------------------- loss.py


@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_and_its_gradient(weighted):
    N, K, H, W = 2, 3, 4, 3
    z, g = 2 * random(N, K, H, W), random(N, H, W, seed=1)
    target = np.random.default_rng(2).integers(0, K, (N, H, W)).astype(np.uint8)
    target[0, 0] = 255
    alpha = np.array([0.5, 2.0, 1.25]) if weighted else None
    expected, gz = np.zeros((N, H, W)), np.zeros(z.shape)
    for n, i, j in ranges(N, H, W):
        t, total = target[n, i, j], math.fsum(math.exp(z[n, k, i, j]) for k in range(K))
        if t == 255:
            continue
        a = alpha[t] if weighted else 1
        expected[n, i, j] = -a * math.log(math.exp(z[n, t, i, j]) / total)
        for k in range(K):
            gz[n, k, i, j] = g[n, i, j] * a * (math.exp(z[n, k, i, j]) / total - (k == t))
    result, lse = loss.cross_entropy(z, target, alpha, 255)
    np.testing.assert_allclose(result, expected, **CLOSE)
    np.testing.assert_allclose(lse, np.log(np.exp(z).sum(axis=1)), **CLOSE)
    np.testing.assert_allclose(loss.cross_entropy_grad_z(g, z, lse, target, alpha, 255), gz, **CLOSE)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_ignored_pixels_count_nothing_whatever_stands_there(broken):
    z, target, g = random(1, 3, 2, 2), np.array([[[0, 255], [2, 1]]], np.uint8), np.ones((1, 2, 2))
    clean, _ = loss.cross_entropy(z, target, None, 255)
    sums = loss.dice_sums(z, target, 0, 255)
    z[0, :, 0, 1] = broken
    with np.errstate(invalid="ignore"):
        result, lse = loss.cross_entropy(z, target, None, 255)
        gz = loss.cross_entropy_grad_z(g, z, lse, target, None, 255)
    np.testing.assert_array_equal(result, clean)
    assert result[0, 0, 1] == 0
    assert np.isfinite(gz).all()
    assert (gz[0, :, 0, 1] == 0).all()
    np.testing.assert_array_equal(loss.dice_sums(z, target, 0, 255), sums)
    assert (loss.dice_sums_grad_p(np.ones((3, 3)), z, target, 0, 255)[0, :, 0, 1] == 0).all()


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_broken_logits_at_a_pixel_that_counts_are_seen(broken):
    z, target = random(1, 3, 2, 2), np.array([[[0, 255], [2, 1]]], np.uint8)
    z[0, 1, 1, 0] = broken
    with np.errstate(invalid="ignore"):
        result, lse = loss.cross_entropy(z, target, None, 255)
        gz = loss.cross_entropy_grad_z(np.ones((1, 2, 2)), z, lse, target, None, 255)
    assert np.isnan(result[0, 1, 0])
    assert np.isnan(gz[0, :, 1, 0]).all()
    assert np.isnan(gz).sum() == 3


def test_binary_cross_entropy_with_logits_and_its_gradient():
    z, y, g = 3 * random(20), np.random.default_rng(1).random(20), random(20, seed=2)
    p = [1 / (1 + math.exp(-v)) for v in z]
    expected = [-(t * math.log(q) + (1 - t) * math.log(1 - q)) for t, q in zip(y, p, strict=True)]
    np.testing.assert_allclose(loss.binary_cross_entropy_with_logits(z, y), expected, **CLOSE)
    expected = [c * (q - t) for c, q, t in zip(g, p, y, strict=True)]
    np.testing.assert_allclose(loss.binary_cross_entropy_with_logits_grad_z(g, z, y), expected, **CLOSE)


def test_binary_cross_entropy_of_sure_logits():
    """Where the probability is 0 or 1 in floating point, the loss is still finite: |z| for the wrong label."""
    z, y = np.array([1000.0, 1000.0, -1000.0, -1000.0]), np.array([0.0, 1.0, 0.0, 1.0])
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_array_equal(loss.binary_cross_entropy_with_logits(z, y), [1000, 0, 0, 1000])


def test_mse_loss_and_its_gradient():
    a, y, g = random(9), random(9, seed=1), random(9, seed=2)
    np.testing.assert_allclose(loss.mse_loss(a, y), [(s - t) ** 2 for s, t in zip(a, y, strict=True)], **CLOSE)
    expected = [2 * c * (s - t) for c, s, t in zip(g, a, y, strict=True)]
    np.testing.assert_allclose(loss.mse_loss_grad_a(g, a, y), expected, **CLOSE)


@pytest.mark.parametrize(("K", "first_label"), [(3, 0), (1, 1), (2, 1)])
def test_dice_sums_and_their_gradient(K, first_label):
    N, H, W = 2, 4, 3
    rng = np.random.default_rng(0)
    p, target, g = rng.random((N, K, H, W)), rng.integers(0, 3, (N, H, W)).astype(np.uint8), random(3, K)
    target[0, 1] = 255
    sums, gp = np.zeros((3, K)), np.zeros(p.shape)
    for n, k, i, j in ranges(N, K, H, W):
        if target[n, i, j] == 255:
            continue
        member = target[n, i, j] == first_label + k
        sums[:, k] += p[n, k, i, j] * member, p[n, k, i, j], member
        gp[n, k, i, j] = g[0, k] * member + g[1, k]
    np.testing.assert_allclose(loss.dice_sums(p, target, first_label, 255), sums, **CLOSE)
    np.testing.assert_allclose(loss.dice_sums_grad_p(g, p, target, first_label, 255), gp, **CLOSE)


# ------------------------------------------------------------------------------------------------------------ optim.py


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_update(nesterov):
    p, g, v = random(3)
    new_p, new_v = optim.sgd_update(*(np.array([a]) for a in (p, g, v)), 0.1, 0.9, 0.2, 0.01, nesterov)
    d = g + 0.01 * p
    velocity = 0.9 * v + 0.8 * d
    np.testing.assert_allclose(new_v, velocity, **CLOSE)
    np.testing.assert_allclose(new_p, p - 0.1 * (d + 0.9 * velocity if nesterov else velocity), **CLOSE)


def test_rmsprop_update():
    p, g, v = random(3)
    v = v**2
    new_p, new_v = optim.rmsprop_update(*(np.array([a]) for a in (p, g, v)), 0.1, 0.9, 1e-6, 0.01)
    d = g + 0.01 * p
    square = 0.9 * v + 0.1 * d * d
    np.testing.assert_allclose(new_v, square, **CLOSE)
    np.testing.assert_allclose(new_p, p - 0.1 * d / (math.sqrt(square) + 1e-6), **CLOSE)


def test_adam_update():
    p, g, m, v = random(4)
    step, v = 3, v**2
    new = optim.adam_update(*(np.array([a]) for a in (p, g, m, v)), step, 0.01, 0.9, 0.99, 1e-6, 0.1)
    d = g + 0.1 * p
    m, v = 0.9 * m + 0.1 * d, 0.99 * v + 0.01 * d**2
    m_hat, v_hat = m / (1 - 0.9**step), v / (1 - 0.99**step)
    np.testing.assert_allclose(np.ravel(new), [p - 0.01 * m_hat / (math.sqrt(v_hat) + 1e-6), m, v], **CLOSE)


# ----------------------------------------------------------------------------------------------- dtypes, and the peer


@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_no_other_dtype_slips_in(primitive):
    """float32 in, float32 out."""
    kernel = reference(primitive)
    for case in cases(primitive):
        with np.errstate(all="ignore"):
            results = as_tuple(kernel(*case.arguments(np.float32)))
        assert {r.dtype.name for r in results} <= {"float32", "int32"}, case.name


def peer_arrays(dtype: str, *arrays):
    torch = pytest.importorskip("torch")
    return [torch.from_numpy(a.astype(dtype)) for a in arrays]


def expect_peer(dtype: str, ours, theirs) -> None:
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, theirs.detach().numpy(), **PEER[dtype])


def expect_same_sums(primitive: str, args: tuple, theirs) -> None:
    """Sums of n terms, in whatever order: each side rounds by at most n u times the sum of the magnitudes."""
    ours = reference(primitive)(*args)
    magnitudes = reference(primitive)(*(abs(a) if isinstance(a, np.ndarray) else a for a in args))
    n, u = FAN_IN[primitive](*args), np.finfo(ours.dtype).eps / 2
    assert ours.dtype == args[0].dtype
    assert (abs(ours - theirs.detach().numpy()) <= 2 * n * u * magnitudes).all()


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.mark.peer
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_agree_with_torch(name, dtype):
    torch = pytest.importorskip("torch")
    c = CONVOLUTIONS[name]
    x, w, b, gy = (random(*shape, seed=k).astype(dtype) for k, shape in enumerate((c.x, c.w, c.w[:1], c.y)))
    tx, tw, tb, tgy = peer_arrays(dtype, x, w, b, gy)
    for t in (tx, tw, tb):
        t.requires_grad_()
    y = torch.nn.functional.conv2d(tx, tw, tb, *c.window)
    y.backward(tgy)
    expect_same_sums("conv2d", (x, w, b, *c.window), y)
    expect_same_sums("conv2d_grad_x", (gy, w, c.x, *c.window), tx.grad)
    expect_same_sums("conv2d_grad_w", (gy, x, c.w, *c.window), tw.grad)
    expect_same_sums("conv2d_grad_b", (gy,), tb.grad)
    unfold = (c.w[2:], c.stride, c.padding, c.dilation)
    options = {"kernel_size": c.w[2:], "stride": c.stride, "padding": c.padding, "dilation": c.dilation}
    cols = torch.nn.functional.unfold(tx, **options)
    expect_peer(dtype, conv.im2col(x, *unfold), cols)
    folded = torch.nn.functional.fold(cols, c.x[2:], **options)
    expect_peer(dtype, conv.col2im(conv.im2col(x, *unfold), c.x, *unfold), folded)


@pytest.mark.peer
@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions_agree_with_torch(name, dtype):
    torch = pytest.importorskip("torch")
    t = TRANSPOSED[name]
    x, w, b = (random(*s, seed=k).astype(dtype) for k, s in enumerate((t.x, t.w, (t.w[1] * t.groups,))))
    options = (t.stride, t.padding, t.output_padding)
    theirs = torch.nn.functional.conv_transpose2d(*peer_arrays(dtype, x, w, b), *options, t.groups, t.dilation)
    expect_same_sums("conv_transpose2d", (x, w, b, *options, t.dilation, t.groups), theirs)


@pytest.mark.peer
@pytest.mark.parametrize("name", MAXIMA)
def test_max_pooling_agrees_with_torch(name, dtype):
    torch = pytest.importorskip("torch")
    p = MAXIMA[name]
    x = p.values(np.random.default_rng(0), np.dtype(dtype), *p.x)
    (tx,) = peer_arrays(dtype, x)
    tx.requires_grad_()
    y, indices = torch.nn.functional.max_pool2d(tx, *p.window, return_indices=True)
    ours, chosen = pool.max_pool2d(x, *p.window)
    np.testing.assert_array_equal(ours, y.detach().numpy())
    agree = ~np.isnan(ours)  # of several NaN in a window PyTorch names the last, minseg the first
    np.testing.assert_array_equal(chosen[agree], indices.numpy()[agree])
    if agree.all():
        gy = random(*y.shape).astype(dtype)
        y.backward(*peer_arrays(dtype, gy))
        expect_peer(dtype, pool.max_pool2d_grad_x(gy, chosen, p.x), tx.grad)


@pytest.mark.peer
def test_unpooling_agrees_with_torch(dtype):
    torch = pytest.importorskip("torch")
    x = random(2, 3, 8, 6).astype(dtype)
    y, indices = torch.nn.functional.max_pool2d(*peer_arrays(dtype, x), 2, return_indices=True)
    theirs = torch.nn.functional.max_unpool2d(y, indices, 2)
    expect_peer(dtype, pool.max_unpool2d(y.numpy(), indices.numpy(), (8, 6)), theirs)


@pytest.mark.peer
@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("name", POOLINGS)
def test_average_pooling_agrees_with_torch(name, count_include_pad, dtype):
    torch = pytest.importorskip("torch")
    p = POOLINGS[name]
    x = random(*p.x).astype(dtype)
    (tx,) = peer_arrays(dtype, x)
    tx.requires_grad_()
    y = torch.nn.functional.avg_pool2d(tx, *p.window, count_include_pad=count_include_pad)
    gy = random(*y.shape, seed=1).astype(dtype)
    y.backward(*peer_arrays(dtype, gy))
    expect_peer(dtype, pool.avg_pool2d(x, *p.window, count_include_pad), y)
    expect_peer(dtype, pool.avg_pool2d_grad_x(gy, p.x, *p.window, count_include_pad), tx.grad)


@pytest.mark.peer
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (pool.adaptive_avg_pool2d, lambda f, x, size: f.adaptive_avg_pool2d(x, size)),
        (resample.resize_nearest, lambda f, x, size: f.interpolate(x, size, mode="nearest")),
        (resample.resize_bilinear, lambda f, x, size: f.interpolate(x, size, mode="bilinear", align_corners=False)),
    ],
    ids=["adaptive", "nearest", "bilinear"],
)
@pytest.mark.parametrize(
    ("old", "new"), [pair for pair in SIZES if pair[0] != (14, 30)]
)  # where PyTorch rounds the quotient
def test_resizing_agrees_with_torch(ours, theirs, old, new, dtype):
    torch = pytest.importorskip("torch")
    x = random(2, 3, *old).astype(dtype)
    (tx,) = peer_arrays(dtype, x)
    tx.requires_grad_()
    y = theirs(torch.nn.functional, tx, new)
    gy = random(*y.shape, seed=1).astype(dtype)
    y.backward(*peer_arrays(dtype, gy))
    gradient = getattr(pool, f"{ours.__name__}_grad_x", None) or getattr(resample, f"{ours.__name__}_grad_x")
    expect_peer(dtype, ours(x, new), y)
    expect_peer(dtype, gradient(gy, x.shape), tx.grad)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "softmax", "log_softmax"])
def test_activations_agree_with_torch(name, dtype):
    """On ordinary values and on NaN and infinities."""
    torch = pytest.importorskip("torch")
    along = (1,) if "softmax" in name else ()
    special = np.zeros((4, 3))
    special[0, 1], special[1], special[2, 2], special[3, 0] = np.nan, -np.inf, np.inf, -np.inf
    ours = getattr(softmax if along else activation, name)
    for x in (3 * random(5, 3, 4), special):
        (tx,) = peer_arrays(dtype, x)
        with np.errstate(all="ignore"):
            expect_peer(dtype, ours(x.astype(dtype), *along), getattr(torch, name)(tx, *along))


@pytest.mark.peer
def test_batch_norm_agrees_with_torch(dtype):
    torch = pytest.importorskip("torch")
    x, gy, weight, bias = (
        random(*shape, seed=k).astype(dtype) for k, shape in enumerate([(3, 4, 5, 6), (3, 4, 5, 6), (4,), (4,)])
    )
    tensors = peer_arrays(dtype, x, weight, bias)
    for t in tensors:
        t.requires_grad_()
    y = torch.nn.functional.batch_norm(tensors[0], None, None, *tensors[1:], training=True, eps=1e-3)
    y.backward(*peer_arrays(dtype, gy))
    mean, var = norm.batch_norm_stats(x)
    expect_peer(dtype, norm.batch_norm(x, mean, var, weight, bias, 1e-3), y)
    for ours, t in zip(norm.batch_norm_grad(gy, x, mean, var, weight, 1e-3), tensors, strict=True):
        expect_peer(dtype, ours, t.grad)


@pytest.mark.peer
@pytest.mark.parametrize("weights", [None, (0.5, 0.0, 1.7)])
def test_cross_entropy_agrees_with_torch(weights, dtype):
    torch = pytest.importorskip("torch")
    z, g = 3 * random(2, 3, 5, 4).astype(dtype), random(2, 5, 4, seed=1).astype(dtype)
    target = np.random.default_rng(2).integers(0, 3, (2, 5, 4))
    target[0, 0] = 255
    weight = None if weights is None else np.array(weights, dtype)
    (tz,) = peer_arrays(dtype, z)
    tz.requires_grad_()
    theirs = torch.nn.functional.cross_entropy(
        tz,
        torch.from_numpy(target),
        None if weight is None else torch.from_numpy(weight),
        ignore_index=255,
        reduction="none",
    )
    theirs.backward(*peer_arrays(dtype, g))
    ours, lse = loss.cross_entropy(z, target, weight, 255)
    expect_peer(dtype, ours, theirs)
    expect_peer(dtype, loss.cross_entropy_grad_z(g, z, lse, target, weight, 255), tz.grad)


@pytest.mark.peer
def test_pair_losses_agree_with_torch(dtype):
    torch = pytest.importorskip("torch")
    functions = {
        "binary_cross_entropy_with_logits": loss.binary_cross_entropy_with_logits_grad_z,
        "mse_loss": loss.mse_loss_grad_a,
    }
    for name, gradient in functions.items():
        z, y = 5 * random(30).astype(dtype), np.random.default_rng(1).random(30).astype(dtype)
        g = random(30, seed=2).astype(dtype)
        tz, ty, tg = peer_arrays(dtype, z, y, g)
        tz.requires_grad_()
        theirs = getattr(torch.nn.functional, name)(tz, ty, reduction="none")
        theirs.backward(tg)
        expect_peer(dtype, getattr(loss, name)(z, y), theirs)
        expect_peer(dtype, gradient(g, z, y), tz.grad)


@pytest.mark.peer
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "weight_decay": 0.01}, {"momentum": 0.9, "nesterov": True}])
def test_sgd_agrees_with_torch(options, dtype):
    torch = pytest.importorskip("torch")
    p, v = random(5).astype(dtype), np.zeros(5, dtype)
    (tp,) = peer_arrays(dtype, p)
    optimiser = torch.optim.SGD([tp], lr=0.1, **options)
    for step in range(4):
        g = random(5, seed=step).astype(dtype)
        (tp.grad,) = peer_arrays(dtype, g)
        optimiser.step()
        momentum, decay = options.get("momentum", 0.0), options.get("weight_decay", 0.0)
        p, v = optim.sgd_update(p, g, v, 0.1, momentum, 0.0, decay, "nesterov" in options)
        expect_peer(dtype, p, tp)


@pytest.mark.peer
def test_adam_agrees_with_torch(dtype):
    torch = pytest.importorskip("torch")
    p, m, v = random(5).astype(dtype), np.zeros(5, dtype), np.zeros(5, dtype)
    (tp,) = peer_arrays(dtype, p)
    optimiser = torch.optim.Adam([tp], lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)
    for step in range(1, 5):
        g = random(5, seed=step).astype(dtype)
        (tp.grad,) = peer_arrays(dtype, g)
        optimiser.step()
        p, m, v = optim.adam_update(p, g, m, v, step, 0.01, 0.8, 0.95, 1e-6, 0.1)
        expect_peer(dtype, p, tp)
