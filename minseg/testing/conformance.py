"""Whether a kernel computes its primitive: the oracle, how far from it a result may lie, and the check of all that is promised.

The oracle is the reference kernel in float64 on the same arguments. Every tolerance of the conformance suite is in this file, as a
bound for |err| in units of u, the unit roundoff (2^-24 in float32, 2^-53 in float64). A rounding changes a value by at most u times
its magnitude; so a bound counts roundings and says what magnitudes they meet. An exponential or a logarithm counts as four
roundings, which the vectorised libraries keep; scalar arguments such as a learning rate are rounded once when they meet the arrays.
"""

import importlib
import math
from collections.abc import Callable

import numpy as np

from minseg.kernels import memory, winograd
from minseg.kernels.spec import PRIMITIVES


def reference(name: str) -> Callable:
    """The reference kernel of a primitive."""
    return getattr(importlib.import_module(f"minseg.kernels.reference.{PRIMITIVES[name].family}"), name)


def as_tuple(results) -> tuple:
    """Results as a tuple, also where there is only one."""
    return results if isinstance(results, tuple) else (results,)


def on_device(kernel: Callable, xp) -> Callable:
    """The kernel of another device, as a function of host arrays: there and back again."""

    def call(*args):
        arrays = (xp.asarray(a) if isinstance(a, np.ndarray) else a for a in args)
        results = tuple(result.get() for result in as_tuple(kernel(*arrays)))
        return results if len(results) > 1 else results[0]

    return call


def _change_floats(name: str, args: tuple, change: Callable) -> tuple:
    args = list(args)
    for position, _, is_float in PRIMITIVES[name].arrays:
        if is_float and args[position] is not None:
            args[position] = change(args[position])
    return tuple(args)


def oracle(name: str, args: tuple) -> tuple:
    """What the reference computes in float64; NumPy's warnings about NaN and infinities are left out, for some cases hold them."""
    with np.errstate(all="ignore"):
        return as_tuple(reference(name)(*_change_floats(name, args, lambda array: array.astype(np.float64))))


# ------------------------------------------------------------------------------------------------------ linear in arrays
# |err| <= 4 sqrt(K) u ref(|x|, |w|), K terms in a sum: the worst case is K, but roundings go both ways and sum like a random walk.
# ref(|x|, |w|), the same primitive on absolute values, is the magnitude that they meet.


def _covering(x_shape, y_shape, extra: int) -> int:
    """How many of the windows that H' outputs lay over H pixels can meet in one pixel, over both sides."""
    return math.prod(-(-out // size) + extra for size, out in zip(x_shape[2:], y_shape[2:], strict=True))


def _meetings(values, indices, shape) -> int:
    """How many values are added up in the pixel that most indices name."""
    return int(reference("max_pool2d_grad_x")(np.ones(values.shape), indices, shape).max())


FAN_IN: dict[str, Callable[..., int]] = {
    "col2im": lambda cols, x_shape, kernel_size, *_: math.prod(kernel_size),
    "conv2d": lambda x, w, b, *_: w[0].size + 1,
    "conv2d_relu": lambda x, w, b, *_: w[0].size + 1,  # ReLU brings no two values further apart
    "conv2d_grad_x": lambda gy, w, x_shape, stride, padding, dilation, groups: w[:, 0].size // groups,
    "conv2d_grad_w": lambda gy, *_: gy[:, 0].size,
    "conv2d_grad_b": lambda gy: gy[:, 0].size,
    "conv_transpose2d": lambda x, w, b, *window: w[:, 0].size // window[-1] + 1,
    "max_pool2d_grad_x": _meetings,
    "max_unpool2d": lambda x, indices, size: _meetings(x, indices, (*x.shape[:2], *size)),
    "avg_pool2d": lambda x, kernel_size, *_: math.prod(kernel_size) + 1,
    "avg_pool2d_grad_x": lambda gy, x_shape, kernel_size, *_: math.prod(kernel_size) + 1,
    "adaptive_avg_pool2d": lambda x, size: (
        math.prod(-(-s // o) + 1 for s, o in zip(x.shape[2:], size, strict=True)) + 1
    ),
    "adaptive_avg_pool2d_grad_x": lambda gy, x_shape: _covering(x_shape, gy.shape, 1) + 1,
    "resize_nearest_grad_x": lambda gy, x_shape: _covering(x_shape, gy.shape, 0),
    "linear": lambda x, w, b: w.shape[1] + 1,
    "linear_grad_x": lambda gy, w: w.shape[0],
    "linear_grad_w": lambda gy, x: gy.shape[0],
    "linear_grad_b": lambda gy: gy.shape[0],
}
"""K for each primitive that is linear in its arrays, from its arguments."""

EXACT = {"im2col", "max_pool2d", "max_unpool2d_grad_x", "resize_nearest", "relu", "relu_grad_x"}
"""Primitives that only copy or choose: not one bit may differ."""


# --------------------------------------------------------------------------------------------------- Winograd's transforms
# The convolution again, by another route: Y = A^T [sum over channels of (G g G^T) * (B^T d B)] A, tile by tile. Cancellations make
# intermediate values larger than the result, and roundings are as large as what they meet on the way:
#
#   m_p = sum over channels of (|G| |g| |G^T|)_p (|B^T| |d| |B|)_p bounds the terms at position p of a transformed tile. Each takes
#         K roundings: C products and sums; before these a kernel's 9 products and its rounded constants, and a pixel's n sums in
#         either direction; afterwards an output's n sums in either direction, and the bias. As everywhere here they go both ways,
#         which makes 4 sqrt(K) u m_p of them.
#   A^T [.] A then adds the positions up, each times powers of the points. Their errors are independent of each other as well, so
#         the bound is not the sum of the |a_p| m_p but the root of the sum of their squares.
#
# The gradient for the kernels is the adjoint, G^T [sum over tiles of (A gy A^T) * (B^T d B)] G, with as many terms as tiles.
# F(4x4)'s matrices hold numbers up to 8, F(2x2)'s only 1: hence one rounds ten times as much as the other.
# Measured: honest kernels stay below a seventh of this (those that compute the definition below 0.35 of theirs), and any
# constant of a transform that is off by 2 % exceeds it (tests/kernels/test_winograd.py).

WINOGRAD = {"winograd_f2": 2, "winograd_f4": 4}
"""The outputs along a side of each rung's tiles."""


def _tiles(x, first, count, step: int, side: int):
    """(N, C, I, J, side, side): the tiles of ``side`` pixels, ``step`` apart, the first one at the pixel ``first``; 0 outside."""
    rows, columns = ((start + step * np.arange(c)[:, None] + np.arange(side)) for start, c in zip(first, count))
    inside = [(k >= 0) & (k < size) for k, size in zip((rows, columns), x.shape[2:])]
    rows, columns = (np.clip(k, 0, size - 1) for k, size in zip((rows, columns), x.shape[2:]))
    tiles = x[:, :, rows[:, None, :, None], columns[None, :, None, :]]
    return tiles * (inside[0][:, None, :, None] & inside[1][None, :, None, :])


def _winograd_correlation(m: int, x, w, b, first, size, groups: int):
    """The root of the sum of squares described above, and K; x and w are absolute values, w (O, C / groups, 3, 3)."""
    A, B, G = map(np.abs, winograd.transforms(m))
    (N, C), (O, n) = x.shape[:2], (len(w), m + 2)
    count = [-(-s // m) for s in size]
    V = (B.T @ _tiles(x, first, count, m, n) @ B).reshape(N, groups, C // groups, *count, n, n)
    U = (G @ w @ G.T).reshape(groups, O // groups, C // groups, n, n)
    M = np.einsum("gocpq,ngcijpq->ngoijpq", U, V).reshape(N, O, *count, n, n)
    y = np.sqrt((A**2).T @ M**2 @ A**2)  # (N, O, I, J, m, m)
    y = y.transpose(0, 1, 2, 4, 3, 5).reshape(N, O, m * count[0], m * count[1])[:, :, : size[0], : size[1]]
    return y + (0 if b is None else b[:, None, None]), C // groups + 10 + 4 * n + 1


def _winograd_gradient(m: int, gy, x, first, groups: int):
    A, B, G = map(np.abs, winograd.transforms(m))
    (N, O), C, n = gy.shape[:2], x.shape[1], m + 2
    count = [-(-s // m) for s in gy.shape[2:]]
    V = (B.T @ _tiles(x, first, count, m, n) @ B).reshape(N, groups, C // groups, *count, n, n)
    D = (A @ _tiles(gy, (0, 0), count, m, m) @ A.T).reshape(N, groups, O // groups, *count, n, n)
    U = np.einsum("ngoijpq,ngcijpq->gocpq", D, V).reshape(O, C // groups, n, n)
    return np.sqrt((G**2).T @ U**2 @ G**2), N * count[0] * count[1] + 10 + 4 * n + 1


def _turned(w, groups: int):
    """The kernels of the adjoint: turned by 180 degrees, in and out exchanged within each group."""
    outs, C = len(w) // groups, w.shape[1]
    w = w.reshape(groups, outs, C, 3, 3)[..., ::-1, ::-1]
    return w.transpose(0, 2, 1, 3, 4).reshape(groups * C, outs, 3, 3)


def winograd_bound(name: str, m: int, args: tuple):
    """4 sqrt(K) u times the magnitudes that roundings meet, for a primitive computed with tiles of m x m outputs; without the u."""
    args = _change_floats(name, args, lambda array: np.abs(array.astype(np.float64)))
    match name, args:
        case "conv2d" | "conv2d_relu", (x, w, b, _, padding, _, groups):
            size = PRIMITIVES[name].shape_rule(*args)[2:]
            sizes, K = _winograd_correlation(m, x, w, b, (-padding[0], -padding[1]), size, groups)
        case "conv2d_grad_x", (gy, w, x_shape, _, padding, _, groups):
            first = padding[0] - 2, padding[1] - 2
            sizes, K = _winograd_correlation(m, gy, _turned(w, groups), None, first, x_shape[2:], groups)
        case "conv_transpose2d", (x, w, b, _, padding, _, _, groups):
            size, first = PRIMITIVES[name].shape_rule(*args)[2:], (padding[0] - 2, padding[1] - 2)
            sizes, K = _winograd_correlation(m, x, _turned(w, groups), b, first, size, groups)
        case "conv2d_grad_w", (gy, x, _, _, padding, _, groups):
            sizes, K = _winograd_gradient(m, gy, x, (-padding[0], -padding[1]), groups)
    return 4 * math.sqrt(K) * sizes


# ----------------------------------------------------------------------------------------------------------- all others
# One function for each: its arguments and, after them, the oracle's results (all float64); it returns the bounds in units of u.

BOUNDS: dict[str, Callable[..., tuple]] = {}


def bound_of(*names: str) -> Callable:
    def register(bound: Callable[..., tuple]) -> Callable:
        BOUNDS.update(dict.fromkeys(names, bound))
        return bound

    return register


@bound_of("resize_bilinear")
def _resize_bilinear(x, size, y):
    """Weights in [0, 1] with an error u each, in both directions; two products and a sum each: 8 roundings of at most max |x|."""
    return (8 * np.abs(x).max(axis=(2, 3), keepdims=True),)


@bound_of("resize_bilinear_grad_x")
def _resize_bilinear_grad_x(gy, x_shape, gx):
    """The same for each of the outputs that lie between a pixel and its neighbours, of which there are two on either side."""
    terms = 4 * _covering(x_shape, gy.shape, 1)
    return (8 * terms * np.abs(gy).max(axis=(2, 3), keepdims=True),)


@bound_of("sigmoid", "tanh")
def _saturating(x, y):
    """Relative to y: one exponential, a sum, a division; tanh needs care near 0 to be as good as that."""
    return (8 * np.abs(y),)


@bound_of("sigmoid_grad_x")
def _sigmoid_grad_x(gy, y, gx):
    """A difference and two products."""
    return (4 * np.abs(gx),)


@bound_of("tanh_grad_x")
def _tanh_grad_x(gy, y, gx):
    """y^2 is rounded at its own magnitude, at most 1, however small 1 - y^2 is."""
    return (4 * np.abs(gy),)


def _log_sum_magnitude(x, axis: int):
    """max x, x - max x and log sum exp(x - max x): what a softmax is made of, with an infinite maximum left as it is."""
    m = x.max(axis=axis, keepdims=True)
    return m, x - m, np.log(np.exp(x - m).sum(axis=axis, keepdims=True))


@bound_of("softmax")
def _softmax(x, axis, y):
    """x - m is rounded at its magnitude, which exp turns into a relative error; exp, division: 5; the sum: 4 sqrt(K)."""
    _, shifted, _ = _log_sum_magnitude(x, axis)
    return ((8 + 4 * math.sqrt(x.shape[axis]) + np.abs(shifted)) * y,)


@bound_of("log_softmax")
def _log_softmax(x, axis, y):
    """The sum's relative error is an absolute one of its logarithm; x - m and the logarithm are rounded at their magnitudes."""
    _, shifted, log_sum = _log_sum_magnitude(x, axis)
    return ((8 + 4 * math.sqrt(x.shape[axis])) * (1 + log_sum) + 2 * np.abs(shifted),)


@bound_of("softmax_grad_x")
def _softmax_grad_x(gy, y, axis, gx):
    """A sum of K products, a difference, a product."""
    inner = np.abs(gy * y).sum(axis=axis, keepdims=True)
    return ((4 + 4 * math.sqrt(y.shape[axis])) * y * (np.abs(gy) + inner),)


@bound_of("log_softmax_grad_x")
def _log_softmax_grad_x(gy, y, axis, gx):
    """A sum of K terms, an exponential, a product, a difference."""
    total = np.abs(gy).sum(axis=axis, keepdims=True)
    return ((6 + 4 * math.sqrt(y.shape[axis])) * (np.abs(gy) + np.exp(y) * total),)


def _score_errors(q, k):
    """The scores, and how far each may be off: d products and sums, the root and the product with it."""
    root = math.sqrt(q.shape[2])
    turned = k.transpose(0, 2, 1)
    return q @ turned / root, (4 * root + 4) * (np.abs(q) @ np.abs(turned)) / root


@bound_of("attention")
def _attention(q, k, v, y, lse):
    """An error of a score is a relative one of its weight, and the log-sum's is their weighted mean, as in log_softmax.

    Whether the largest of all scores is taken off or, chunk of keys by chunk, the largest so far: what is rounded on the way is
    never larger than the distance between a query's largest and smallest score.
    """
    s, off = _score_errors(q, k)
    m, shifted, log_sum = _log_sum_magnitude(s, 2)
    weights = np.exp(s - lse[:, :, None])
    off = off + np.abs(shifted).max(axis=2, keepdims=True)
    roundings = 4 * math.sqrt(k.shape[1])
    common = (weights * off).sum(axis=2, keepdims=True) + (8 + roundings) * (1 + log_sum)
    return (weights * (off + common + roundings)) @ np.abs(v), (common + 2 * np.abs(m))[:, :, 0]


@bound_of("attention_grad")
def _attention_grad(gy, q, k, v, y, lse, gq, gk, gv):
    """s - lse is rounded at its magnitude, which exp makes relative: 6 with the exponential. Then C products and sums twice, a
    difference, a product; the root; and a sum over the keys for gq, over the queries for gk and gv."""
    s, off = _score_errors(q, k)
    exponent = s - lse[:, :, None]
    weights, off = np.exp(exponent), off + np.abs(exponent) + 6
    inner = (np.abs(gy) * np.abs(y)).sum(axis=2, keepdims=True)
    size = weights * (np.abs(gy) @ np.abs(v).transpose(0, 2, 1) + inner)
    over_keys, over_queries = (4 * math.sqrt(count) + 2 for count in (k.shape[1], q.shape[1]))
    off_s = (off + 4 * math.sqrt(v.shape[2]) + 6) * size / math.sqrt(q.shape[2])
    size = size / math.sqrt(q.shape[2])
    return (
        (off_s + over_keys * size) @ np.abs(k),
        (off_s + over_queries * size).transpose(0, 2, 1) @ np.abs(q),
        (weights * (off + over_queries)).transpose(0, 2, 1) @ np.abs(gy),
    )


def _channels(values):
    return values[:, None, None]


def _pixels(x) -> tuple[tuple[int, ...], int, float]:
    """The axes of a channel's pixels, their number, and the roundings of a sum over them."""
    count = x.size // x.shape[1]
    return (0, 2, 3), count, 4 * math.sqrt(count)


@bound_of("batch_norm_stats")
def _batch_norm_stats(x, mean, var):
    """The mean is a sum, off by e at most; then the mean of the squares about it, each rounded thrice, is too large by e^2."""
    axes, _, roundings = _pixels(x)
    e = roundings * np.abs(x).mean(axis=axes)
    return e, (roundings + 4) * var + e**2 * 2.0**-24  # e^2 u^2 in units of u, where u is at most 2^-24


@bound_of("batch_norm", "batch_norm_relu")
def _batch_norm(x, mean, var, weight, bias, eps, y):
    """Difference, var + eps, root, reciprocal, two products, and the sum with the bias; ReLU brings no two values further apart."""
    scale = (1 if weight is None else np.abs(weight)) / np.sqrt(var + eps)
    shift = 0 if bias is None else _channels(np.abs(bias))
    return (8 * (np.abs(x - _channels(mean)) * _channels(scale) + shift),)


def _norm_gradients(gy, x, mean, var, weight, eps):
    """|x_hat|, the factor of gx, and the sums of |gy x_hat| and |gy|."""
    axes, _, _ = _pixels(x)
    inverse = 1 / np.sqrt(var + eps)
    x_hat = np.abs(x - _channels(mean)) * _channels(inverse)
    factor = _channels(inverse if weight is None else inverse * np.abs(weight))
    return x_hat, factor, np.abs(gy * x_hat).sum(axis=axes), np.abs(gy).sum(axis=axes)


@bound_of("batch_norm_grad")
def _batch_norm_grad(gy, x, mean, var, weight, eps, gx, gw, gb):
    """The sums' errors, and 8 roundings on the way to gx."""
    _, count, roundings = _pixels(x)
    x_hat, factor, gw_size, gb_size = _norm_gradients(gy, x, mean, var, weight, eps)
    gx_size = factor * (np.abs(gy) + _channels(gb_size) / count + x_hat * _channels(gw_size) / count)
    return (roundings + 8) * gx_size, (roundings + 8) * gw_size, roundings * gb_size


@bound_of("batch_norm_eval_grad")
def _batch_norm_eval_grad(gy, x, mean, var, weight, eps, gx, gw, gb):
    """The sums' errors; gx is a product."""
    _, _, roundings = _pixels(x)
    _, factor, gw_size, gb_size = _norm_gradients(gy, x, mean, var, weight, eps)
    return 8 * np.abs(gy) * factor, (roundings + 8) * gw_size, roundings * gb_size


def _let_through(gy, x, mean, var, weight, bias, eps):
    """gy where ReLU lets it through. All agree where that is: no case is as near to the kink as batch_norm may be off."""
    return np.where(reference("batch_norm")(x, mean, var, weight, bias, eps) > 0, gy, 0)


@bound_of("batch_norm_relu_grad")
def _batch_norm_relu_grad(gy, x, mean, var, weight, bias, eps, *results):
    """That of batch_norm_grad, for what ReLU lets through."""
    return _batch_norm_grad(_let_through(gy, x, mean, var, weight, bias, eps), x, mean, var, weight, eps, *results)


@bound_of("batch_norm_relu_eval_grad")
def _batch_norm_relu_eval_grad(gy, x, mean, var, weight, bias, eps, *results):
    """That of batch_norm_eval_grad, likewise."""
    return _batch_norm_eval_grad(_let_through(gy, x, mean, var, weight, bias, eps), x, mean, var, weight, eps, *results)


@bound_of("cross_entropy")
def _cross_entropy(z, target, weight, ignore_index, loss, lse):
    """As log_softmax, with the maximum added and taken off again; then the product with the weight."""
    m, shifted, log_sum = _log_sum_magnitude(z, 1)
    kept = (target != ignore_index)[:, None]
    t = np.where(kept, target[:, None], 0)
    size = (8 + 4 * math.sqrt(z.shape[1])) * (1 + log_sum) + 2 * np.abs(m)
    w = kept if weight is None else kept * weight[t]
    return (w * (size + 2 * np.abs(np.take_along_axis(shifted, t, 1))))[:, 0], size[:, 0]


@bound_of("cross_entropy_grad_z")
def _cross_entropy_grad_z(g, z, lse, target, weight, ignore_index, gz):
    """z - lse is rounded at its magnitude, which exp makes relative; exp, difference, two products: 7."""
    kept = (target != ignore_index)[:, None]
    t = np.where(kept, target[:, None], 0)
    onehot = t == np.arange(z.shape[1])[:, None, None]
    exponent = z - lse[:, None]
    w = kept if weight is None else kept * weight[t]
    return (8 * np.abs(g[:, None]) * w * (np.exp(exponent) * (1 + np.abs(exponent)) + onehot),)


@bound_of("binary_cross_entropy_with_logits")
def _bce(z, target, loss):
    """A product, an exponential, a logarithm, two sums."""
    return (8 * (np.abs(z) + np.abs(z * target) + np.log1p(np.exp(-np.abs(z)))),)


@bound_of("binary_cross_entropy_with_logits_grad_z")
def _bce_grad(g, z, target, gz):
    """A sigmoid, a difference, a product."""
    return (8 * np.abs(g) * (reference("sigmoid")(z) + np.abs(target)),)


@bound_of("mse_loss", "mse_loss_grad_a")
def _mse(*args):
    """A difference, then products only: relative to the result."""
    return (4 * np.abs(args[-1]),)


@bound_of("dice_sums")
def _dice_sums(p, target, first_label, ignore_index, sums):
    """A sum that does not grow with the number of pixels: in float64, in float32 by halves, or with compensation."""
    return (8 * np.abs(sums),)


@bound_of("dice_sums_grad_p")
def _dice_sums_grad_p(g, p, target, first_label, ignore_index, gp):
    """One sum."""
    return (np.broadcast_to(_channels(2 * np.abs(g[:2]).sum(axis=0)), p.shape),)


@bound_of("sgd_update")
def _sgd_update(p, g, v, lr, momentum, dampening, weight_decay, nesterov, new_p, new_v):
    """v: two scalars, three products, two sums. p: the same again with lr and, for Nesterov, momentum."""
    g_size = np.abs(g) + abs(weight_decay) * np.abs(p)
    v_size = np.abs(momentum * v) + abs(1 - dampening) * g_size
    step = g_size + abs(momentum) * v_size if nesterov else v_size
    return 2 * np.abs(p) + 12 * lr * step, 8 * v_size


@bound_of("rmsprop_update")
def _rmsprop_update(p, g, v, lr, alpha, eps, weight_decay, new_p, new_v):
    """v as in Adam. p: the step's own product, sums and division, and half of v's errors through the root."""
    g_size = np.abs(g) + abs(weight_decay) * np.abs(p)
    v_size = alpha * v + (1 - alpha) * g_size**2
    tiny = np.finfo(np.float64).tiny
    update = lr * g_size / (np.sqrt(new_v) + eps)
    return 2 * np.abs(p) + (14 + 6 * v_size / np.maximum(new_v, tiny)) * update, 12 * v_size


@bound_of("adam_update")
def _adam_update(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay, new_p, new_m, new_v):
    """m as v of SGD; v with g squared, so its errors twice. The root halves what v' hands on: 6 of its 12."""
    g_size = np.abs(g) + abs(weight_decay) * np.abs(p)
    m_size = beta1 * np.abs(m) + (1 - beta1) * g_size
    v_size = beta2 * v + (1 - beta2) * g_size**2
    tiny = np.finfo(np.float64).tiny
    root = np.sqrt(new_v / (1 - beta2**step)) + eps
    update = lr * m_size / (1 - beta1**step) / root
    return 2 * np.abs(p) + (16 + 6 * v_size / np.maximum(new_v, tiny)) * update, 8 * m_size, 12 * v_size


# ------------------------------------------------------------------------------------------------------------ the check


def bounds(name: str, args: tuple, expected: tuple, dtype, rung: str | None = None) -> tuple:
    """How far each result of a primitive may lie from the oracle's, element by element; some rungs have bounds of their own."""
    u = np.finfo(dtype).eps / 2
    if rung in WINOGRAD:
        return (u * winograd_bound(name, WINOGRAD[rung], args),)
    if name in EXACT:
        return tuple(np.zeros(e.shape) for e in expected)
    if name in FAN_IN:
        sizes = as_tuple(reference(name)(*_change_floats(name, args, lambda array: np.abs(array.astype(np.float64)))))
        return tuple(4 * math.sqrt(FAN_IN[name](*args)) * u * size for size in sizes)
    args = _change_floats(name, args, lambda array: array.astype(np.float64))
    with np.errstate(all="ignore"):
        allowed = BOUNDS[name](*args, *expected)
    # Below the smallest normal number a value loses its digits one by one, or all at once.
    return tuple(u * np.asarray(a) + np.finfo(dtype).tiny for a in allowed)


def compare(what: str, result, expected, allowed) -> None:
    """AssertionError naming the worst element unless |result - expected| <= allowed; NaN and infinities must be the same."""
    finite = np.isfinite(expected)
    wide = np.asarray(result, np.float64)
    same = np.where(np.isnan(expected), np.isnan(wide), wide == expected)
    with np.errstate(all="ignore"):
        error = np.where(finite, np.abs(wide - expected), np.where(same, 0, np.inf))
    allowed = np.broadcast_to(np.where(np.isnan(allowed), 0, allowed), error.shape)
    wrong = ~(error <= allowed)
    if wrong.any():
        excess = np.where(wrong, np.where(np.isnan(error), np.inf, error) / np.maximum(allowed, 1e-300), 0)
        worst = np.unravel_index(excess.argmax(), excess.shape)
        raise AssertionError(
            f"{what}: {wrong.sum()} of {wrong.size} elements are off; at {tuple(map(int, worst))} expected {expected[worst]!r}, "
            f"got {result[worst]!r}, |err| {error[worst]:.3g}, allowed {allowed[worst]:.3g}"
        )


BY_CHANCE = {"atomic"}
"""Rungs that add with atomicAdd: on a GPU whoever comes first is added first, so two runs may differ in the last bits."""


def conform(name: str, kernel: Callable, args: tuple, rung: str | None = None) -> None:
    """AssertionError unless the kernel does on these arguments all that its primitive promises.

    Fresh buffers are poisoned, so that an element that it does not write is NaN; two runs must give the same bits, but for a rung
    ``BY_CHANCE``, and leave the arguments as they are; dtypes and shapes must be those of the shape rule; values must be within
    the bound of the primitive, or of this rung.
    """
    primitive = PRIMITIVES[name]
    floats = [args[position] for position, _, is_float in primitive.arrays if is_float and args[position] is not None]
    dtype = floats[0].dtype
    before = [array.tobytes() for array in args if isinstance(array, np.ndarray)]
    with memory.poisoned(), np.errstate(all="ignore"):
        results, again = as_tuple(kernel(*args)), as_tuple(kernel(*args))
    after = [array.tobytes() for array in args if isinstance(array, np.ndarray)]
    assert before == after, f"{name}: an argument was changed"

    rule = primitive.check(*args)
    wanted = rule if isinstance(rule[0], tuple) else (rule,)
    expected = oracle(name, args)
    assert len(results) == len(wanted), f"{name}: {len(wanted)} results expected, got {len(results)}"
    allowed = bounds(name, args, expected, dtype, rung)
    for number, (result, twin, shape, e, a) in enumerate(zip(results, again, wanted, expected, allowed, strict=True)):
        what = f"{name}, result {number}"
        assert isinstance(result, np.ndarray), f"{what}: expected an array, got {type(result).__name__}"
        kind = dtype if e.dtype.kind == "f" else e.dtype
        assert result.dtype == kind, f"{what}: expected {kind}, got {result.dtype}"
        assert result.shape == shape, f"{what}: expected shape {shape}, got {result.shape}"
        assert result.flags.c_contiguous, f"{what} is not C-contiguous"
        assert rung in BY_CHANCE or result.tobytes() == twin.tobytes(), f"{what}: two runs gave different bits"
        compare(what, result, e, a)
