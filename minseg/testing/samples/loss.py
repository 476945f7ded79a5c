"""Samples for the equations of losses: every class occurs, some pixels are ignored, no size equals another."""

from collections.abc import Iterator

import numpy as np

from minseg import backend, ops
from minseg.autograd import tensor
from minseg.data import class_frequencies, class_weights
from minseg.testing.equations import Sample
from minseg.testing.samples.backward import gradient

L_BAR = 1.7
SMOOTH = 0.6


def _probabilities(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(0.1, 0.9, shape)


def _distributions(rng: np.random.Generator, N: int, K: int) -> np.ndarray:
    p = rng.uniform(0.2, 1.0, (N, K))
    return p / p.sum(axis=1, keepdims=True)


def _labels(rng: np.random.Generator, K: int, *shape: int) -> np.ndarray:
    """Labels in which each class occurs, the first ones more often than the last."""
    t = np.arange(np.prod(shape)) % (2 * K - 1) % K
    return rng.permutation(t).reshape(shape)


def loss_bce(rng: np.random.Generator) -> Iterator[Sample]:
    p, y = _probabilities(rng, 5), _probabilities(rng, 5)

    def code():
        return ops.binary_cross_entropy_with_logits(tensor(np.log(p / (1 - p))), y)

    yield Sample({"p": p, "y": y, "N": 5}, (), code)


def loss_bce_logits(rng: np.random.Generator) -> Iterator[Sample]:
    z, y = 2 * rng.standard_normal(6), _probabilities(rng, 6)
    yield Sample({"z": z, "y": y, "N": 6}, (), lambda: ops.binary_cross_entropy_with_logits(tensor(z), y))


def loss_bce_logits_grad(rng: np.random.Generator) -> Iterator[Sample]:
    z, y = 2 * rng.standard_normal(5), _probabilities(rng, 5)

    def code():
        return gradient(lambda z: ops.binary_cross_entropy_with_logits(z, y), 0, np.array(L_BAR), z)

    yield Sample({r"\bar{L}": L_BAR, "z": z, "y": y, "N": 5}, (5,), code)


def loss_ce(rng: np.random.Generator) -> Iterator[Sample]:
    N, K, H, W = 2, 4, 3, 5
    z, t = rng.standard_normal((N, K, H, W)), _labels(rng, K, N, H, W)
    values = {"z": z, "t": t, "N": N, "K": K, "H": H, "W": W}
    yield Sample(values, (), lambda: ops.cross_entropy(tensor(z), t))


def loss_ce_grad(rng: np.random.Generator) -> Iterator[Sample]:
    N, K, H, W = 2, 4, 3, 5
    z, t = rng.standard_normal((N, K, H, W)), _labels(rng, K, N, H, W)
    values = {r"\bar{L}": L_BAR, "z": z, "t": t, "N": N, "K": K, "H": H, "W": W}
    yield Sample(values, z.shape, lambda: gradient(lambda z: ops.cross_entropy(z, t), 0, np.array(L_BAR), z))


def loss_ce_weighted(rng: np.random.Generator) -> Iterator[Sample]:
    """softmax(log p) = p, so that the logarithms can be given as logits."""
    N, K = 7, 3
    p, t, alpha = _distributions(rng, N, K), _labels(rng, K, N), rng.uniform(0.3, 3, K)
    values = {"p": p, "t": t, r"\alpha": alpha, "N": N}
    yield Sample(values, (), lambda: ops.cross_entropy(tensor(np.log(p)), t, weight=alpha))


def loss_ce_weighted_grad(rng: np.random.Generator) -> Iterator[Sample]:
    N, K = 5, 3
    p, t, alpha = _distributions(rng, N, K), _labels(rng, K, N), rng.uniform(0.3, 3, K)

    def code():
        return gradient(lambda z: ops.cross_entropy(z, t, weight=alpha), 0, np.array(L_BAR), np.log(p))

    yield Sample({r"\bar{L}": L_BAR, "p": p, "t": t, r"\alpha": alpha, "N": N}, (N, K), code)


def loss_mse(rng: np.random.Generator) -> Iterator[Sample]:
    a, y = rng.standard_normal(5), rng.standard_normal(5)
    yield Sample({"a": a, "y": y, "N": 5}, (), lambda: ops.mse_loss(tensor(a), tensor(y)))


def loss_mse_grad(rng: np.random.Generator) -> Iterator[Sample]:
    a, y = rng.standard_normal(5), rng.standard_normal(5)
    values = {r"\bar{L}": L_BAR, "a": a, "y": y, "N": 5}
    yield Sample(values, (5,), lambda: gradient(ops.mse_loss, 0, np.array(L_BAR), a, y))


# ----------------------------------------------------------------------------------------------------------------- Dice


def _mask(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return _probabilities(rng, 7), np.array([1, 0, 0, 1, 1, 0, 1])


def _one_class(p, g, loss=ops.dice_loss):
    """Dice of a single channel, the foreground, on a map of one row."""
    return loss(p.reshape(1, 1, 1, -1), g.reshape(1, 1, -1), smooth=SMOOTH)


def loss_dice(rng: np.random.Generator) -> Iterator[Sample]:
    p, g = _mask(rng)
    yield Sample({"p": p, "g": g, r"\epsilon": SMOOTH, "N": 7}, (), lambda: _one_class(tensor(p), g))


def loss_dice_grad(rng: np.random.Generator) -> Iterator[Sample]:
    p, g = _mask(rng)
    values = {r"\bar{L}": L_BAR, "p": p, "g": g, r"\epsilon": SMOOTH, "N": 7}
    yield Sample(values, (7,), lambda: gradient(lambda p: _one_class(p, g), 0, np.array(L_BAR), p))


def _maps(rng: np.random.Generator, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Probability maps, and labels of which two are ignored: one as 255, one with a label that is a class."""
    N, H, W = 2, 3, 4
    t = _labels(rng, max(K, 2), N, H, W)
    t[0, 1, 2] = t[1, 2, 0] = 255
    return _probabilities(rng, N, K, H, W), t


def loss_dice_sums(rng: np.random.Generator) -> Iterator[Sample]:
    for K, first, ignored in ((3, 0, 255), (1, 1, 255), (3, 0, 2)):
        p, t = _maps(rng, K)

        def code(p=p, t=t, first=first, ignored=ignored):
            kernels = backend.current()
            return kernels.to_numpy(kernels.dice_sums(kernels.asarray(p), kernels.asarray(t), first, ignored))

        values = {"p": p, "t": t, "e": ignored, "f": first, "N": 2, "H": 3, "W": 4}
        yield Sample(values, (3, K), code)


def loss_dice_sums_grad(rng: np.random.Generator) -> Iterator[Sample]:
    for K, first, ignored in ((3, 0, 255), (1, 1, 255), (3, 0, 2)):
        p, t = _maps(rng, K)
        s_bar = rng.standard_normal((3, K))

        def code(p=p, t=t, s_bar=s_bar, first=first, ignored=ignored):
            kernels = backend.current()
            s_bar, p, t = map(kernels.asarray, (s_bar, p, t))
            return kernels.to_numpy(kernels.dice_sums_grad_p(s_bar, p, t, first, ignored))

        yield Sample({r"\bar{s}": s_bar, "t": t, "e": ignored, "f": first}, p.shape, code)


def loss_dice_multiclass(rng: np.random.Generator) -> Iterator[Sample]:
    p, t = _maps(rng, 3)
    with backend.use_backend("numpy"):
        each = ops.dice_loss(tensor(p), t, smooth=SMOOTH, reduction="none").numpy()
    yield Sample({"L": each, "K": 3}, (), lambda: ops.dice_loss(tensor(p), t, smooth=SMOOTH))
    yield Sample(
        {"L": each[1:], "K": 2},
        (),
        lambda: ops.dice_loss(tensor(p), t, smooth=SMOOTH, include_background=False),
    )


def loss_jaccard(rng: np.random.Generator) -> Iterator[Sample]:
    p, g = _mask(rng)
    values = {"p": p, "g": g, r"\epsilon": SMOOTH, "N": 7}
    yield Sample(values, (), lambda: _one_class(tensor(p), g, ops.jaccard_loss))


def loss_jaccard_grad(rng: np.random.Generator) -> Iterator[Sample]:
    p, g = _mask(rng)
    values = {r"\bar{L}": L_BAR, "p": p, "g": g, r"\epsilon": SMOOTH, "N": 7}

    def code():
        return gradient(lambda p: _one_class(p, g, ops.jaccard_loss), 0, np.array(L_BAR), p)

    yield Sample(values, (7,), code)


# ---------------------------------------------------------------------------------------------------------------- focal

GAMMA = 1.6


def loss_focal(rng: np.random.Generator) -> Iterator[Sample]:
    N, K = 7, 3
    p, t = _distributions(rng, N, K), _labels(rng, K, N)
    values = {"p": p, "t": t, r"\gamma": GAMMA, "N": N}
    yield Sample(values, (), lambda: ops.focal_loss(tensor(np.log(p)), t, GAMMA))


def loss_focal_weighted(rng: np.random.Generator) -> Iterator[Sample]:
    N, K = 7, 3
    p, t, alpha = _distributions(rng, N, K), _labels(rng, K, N), rng.uniform(0.3, 3, K)
    values = {"p": p, "t": t, r"\alpha": alpha, r"\gamma": GAMMA, "N": N}
    yield Sample(values, (), lambda: ops.focal_loss(tensor(np.log(p)), t, GAMMA, alpha))


def loss_focal_grad(rng: np.random.Generator) -> Iterator[Sample]:
    """Of two classes with the logits 0 and z, dc/dz of the first is 1 - p: what is left is the gradient for c."""
    N = 5
    p = _probabilities(rng, N)

    def code():
        z = np.stack([np.zeros(N), np.log((1 - p) / p)], axis=1)
        g = gradient(lambda z: ops.focal_loss(z, np.zeros(N, int), GAMMA), 0, np.array(L_BAR), z)
        return g[:, 1] / (1 - p)

    yield Sample({r"\bar{L}": L_BAR, "p": p, r"\gamma": GAMMA, "N": N}, (N,), code)


# -------------------------------------------------------------------------------------------------------- class weights


def loss_weight_inverse(rng: np.random.Generator) -> Iterator[Sample]:
    n = np.array([70, 11, 230, 5])
    yield Sample({"n": n, "K": 4}, (4,), lambda: class_weights(n, "inverse"))


def loss_weight_frequency(rng: np.random.Generator) -> Iterator[Sample]:
    """The second class is in one image only, the third in two."""
    n = np.array([[7, 0, 4, 2], [9, 3, 0, 1], [5, 0, 8, 6]])
    yield Sample({"n": n, "N": 3, "K": 4}, (4,), lambda: class_frequencies(n))


def _median_frequency() -> tuple[np.ndarray, dict[str, object]]:
    n = np.array([70, 11, 230, 5])
    f = n / n.sum()
    return n, {"f": f, "m": (f[0] + f[1]) / 2}


def loss_weight_median(rng: np.random.Generator) -> Iterator[Sample]:
    n, values = _median_frequency()
    yield Sample(values, (4,), lambda: class_weights(n, "median"))


def loss_weight_sqrt_median(rng: np.random.Generator) -> Iterator[Sample]:
    n, values = _median_frequency()
    yield Sample(values, (4,), lambda: class_weights(n, "sqrt-median"))
