"""Samples for the equations of normalisation: a large epsilon, so that leaving it out shows."""

from collections.abc import Callable, Iterator

import numpy as np

from minseg import backend, nn, ops
from minseg.autograd import mean, tensor
from minseg.testing.equations import Sample
from minseg.testing.samples.backward import gradient

N, C, H, W = 2, 3, 4, 5
EPSILON = 0.3
SIZES = {"N": N, "H": H, "W": W}
PIXELS = (0, 2, 3)


def _maps(rng: np.random.Generator) -> np.ndarray:
    return 0.7 + 1.6 * rng.standard_normal((N, C, H, W))


def _weights(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(0.5, 2, C), rng.standard_normal(C)


def _normalised(x: np.ndarray, mu: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (x - mu[:, None, None]) / np.sqrt(v[:, None, None] + EPSILON)


def _training(*inputs):
    return ops.batch_norm_training(*inputs, eps=EPSILON)[0]


def _statistics(x: np.ndarray) -> np.ndarray:
    """(2, C): mean and variance, from the operation."""
    _, mu, v = ops.batch_norm_training(tensor(x))
    return np.stack([mu.numpy(), v.numpy()])


def norm_batch_mean(rng: np.random.Generator) -> Iterator[Sample]:
    x = _maps(rng)
    yield Sample({"x": x, **SIZES}, (C,), lambda: _statistics(x)[0])


def norm_batch_var(rng: np.random.Generator) -> Iterator[Sample]:
    x = _maps(rng)
    yield Sample({"x": x, r"\mu": x.mean(PIXELS), **SIZES}, (C,), lambda: _statistics(x)[1])


def norm_batch_stats(rng: np.random.Generator) -> Iterator[Sample]:
    x = _maps(rng)

    def code():
        kernels = backend.current()
        return np.stack([kernels.to_numpy(part) for part in kernels.batch_norm_stats(kernels.asarray(x))])

    yield Sample({"x": x, r"\mu": x.mean(PIXELS), **SIZES}, (2, C), code)


def norm_batch(rng: np.random.Generator) -> Iterator[Sample]:
    """With the batch's own statistics, and with given ones."""
    x = _maps(rng)
    gamma, beta = _weights(rng)
    values = {"x": x, r"\gamma": gamma, r"\beta": beta, r"\epsilon": EPSILON}

    def training():
        return _training(tensor(x), tensor(gamma), tensor(beta))

    yield Sample({**values, r"\mu": x.mean(PIXELS), "v": x.var(PIXELS)}, x.shape, training)
    mu, v = rng.standard_normal(C), rng.uniform(0.2, 2, C)

    def evaluation():
        y, _, _ = ops.batch_norm(tensor(x), mu, v, tensor(gamma), tensor(beta), eps=EPSILON)
        return y

    yield Sample({**values, r"\mu": mu, "v": v}, x.shape, evaluation)


def _gradient_sample(
    rng: np.random.Generator, of: int, names: tuple[str, ...], shape, operation: Callable = _training
) -> Sample:
    """The gradient in training for input number ``of``, with the symbols that its equation has."""
    x, y_bar = _maps(rng), rng.standard_normal((N, C, H, W))
    gamma, beta = _weights(rng)
    mu, v = x.mean(PIXELS), x.var(PIXELS)
    x_hat = _normalised(x, mu, v)
    y = np.maximum(0, gamma[:, None, None] * x_hat + beta[:, None, None])
    known = {r"\gamma": gamma, "v": v, r"\epsilon": EPSILON, r"\hat{x}": x_hat, "y": y, **SIZES}
    values = {r"\bar{y}": y_bar, **{name: known[name] for name in (*names, *SIZES)}}
    return Sample(values, shape, lambda: gradient(operation, of, y_bar, x, gamma, beta))


def norm_batch_grad(rng: np.random.Generator) -> Iterator[Sample]:
    yield _gradient_sample(rng, 0, (r"\gamma", "v", r"\epsilon", r"\hat{x}"), (N, C, H, W))


def norm_batch_grad_weight(rng: np.random.Generator) -> Iterator[Sample]:
    yield _gradient_sample(rng, 1, (r"\hat{x}",), (C,))


def norm_batch_grad_bias(rng: np.random.Generator) -> Iterator[Sample]:
    yield _gradient_sample(rng, 2, (), (C,))


def norm_batch_eval_grad(rng: np.random.Generator) -> Iterator[Sample]:
    x, y_bar = _maps(rng), rng.standard_normal((N, C, H, W))
    mu, v, gamma = rng.standard_normal(C), rng.uniform(0.2, 2, C), rng.uniform(0.5, 2, C)

    def code():
        return gradient(lambda x, gamma: ops.batch_norm_eval(x, mu, v, gamma, eps=EPSILON), 0, y_bar, x, gamma)

    yield Sample({r"\bar{y}": y_bar, r"\gamma": gamma, "v": v, r"\epsilon": EPSILON}, x.shape, code)


def _training_relu(x, gamma, beta):
    return ops.batch_norm_relu(x, np.zeros(C), np.ones(C), gamma, beta, training=True, eps=EPSILON)[0]


def norm_batch_relu(rng: np.random.Generator) -> Iterator[Sample]:
    """With the batch's own statistics, and with given ones."""
    x = _maps(rng)
    gamma, beta = _weights(rng)
    values = {"x": x, r"\gamma": gamma, r"\beta": beta, r"\epsilon": EPSILON}

    def training():
        return _training_relu(tensor(x), tensor(gamma), tensor(beta))

    yield Sample({**values, r"\mu": x.mean(PIXELS), "v": x.var(PIXELS)}, x.shape, training)
    mu, v = rng.standard_normal(C), rng.uniform(0.2, 2, C)

    def evaluation():
        y, _, _ = ops.batch_norm_relu(tensor(x), mu, v, tensor(gamma), tensor(beta), eps=EPSILON)
        return y

    yield Sample({**values, r"\mu": mu, "v": v}, x.shape, evaluation)


def norm_batch_relu_grad(rng: np.random.Generator) -> Iterator[Sample]:
    yield _gradient_sample(rng, 0, ("y", r"\gamma", "v", r"\epsilon", r"\hat{x}"), (N, C, H, W), _training_relu)


def norm_batch_relu_grad_weight(rng: np.random.Generator) -> Iterator[Sample]:
    yield _gradient_sample(rng, 1, ("y", r"\hat{x}"), (C,), _training_relu)


def norm_batch_relu_grad_bias(rng: np.random.Generator) -> Iterator[Sample]:
    yield _gradient_sample(rng, 2, ("y",), (C,), _training_relu)


def norm_batch_relu_eval_grad(rng: np.random.Generator) -> Iterator[Sample]:
    x, y_bar = _maps(rng), rng.standard_normal((N, C, H, W))
    mu, v = rng.standard_normal(C), rng.uniform(0.2, 2, C)
    gamma, beta = _weights(rng)
    y = np.maximum(0, gamma[:, None, None] * _normalised(x, mu, v) + beta[:, None, None])

    def code():
        return gradient(
            lambda x, gamma, beta: ops.batch_norm_relu(x, mu, v, gamma, beta, eps=EPSILON)[0], 0, y_bar, x, gamma, beta
        )

    yield Sample({r"\bar{y}": y_bar, "y": y, r"\gamma": gamma, "v": v, r"\epsilon": EPSILON}, x.shape, code)


def _folding(rng: np.random.Generator) -> tuple[dict, Callable]:
    """The values of all symbols, and what folding makes of two layers that hold them: kernels, and bias."""
    gamma, beta = _weights(rng)
    w, b = rng.standard_normal((C, 2, 3, 2)), rng.standard_normal(C)
    mu, v = rng.standard_normal(C), rng.uniform(0.2, 2, C)

    def folded():
        convolution, norm = nn.Conv2d(2, C, (3, 2)), nn.BatchNorm2d(C, EPSILON)
        convolution.load_state_dict(convolution.to(dtype=np.float64).state_dict() | {"weight": w, "bias": b})
        state = {"weight": gamma, "bias": beta, "running_mean": mu, "running_var": v}
        norm.load_state_dict(norm.to(dtype=np.float64).state_dict() | state)
        return nn.fold_batch_norm(convolution, norm)

    values = {"w": w, "b": b, r"\gamma": gamma, r"\beta": beta, r"\mu": mu, "v": v, r"\epsilon": EPSILON}
    return values, folded


def norm_fold_weight(rng: np.random.Generator) -> Iterator[Sample]:
    values, folded = _folding(rng)
    known = {name: values[name] for name in ("w", r"\gamma", "v", r"\epsilon")}
    yield Sample(known, values["w"].shape, lambda: folded()[0])


def norm_fold_bias(rng: np.random.Generator) -> Iterator[Sample]:
    values, folded = _folding(rng)
    del values["w"]
    yield Sample(values, (C,), lambda: folded()[1])


def norm_running(rng: np.random.Generator) -> Iterator[Sample]:
    """Once as the mean moves, once as the variance does."""
    m, count = 0.3, N * H * W
    r, batch, zeros = rng.uniform(0.5, 2, C), rng.uniform(0.5, 2, C), np.zeros(C)
    yield Sample(
        {"r": r, "b": batch, "m": m},
        (C,),
        lambda: ops.running_statistics(r, zeros, batch, zeros, count, momentum=m)[0],
    )
    yield Sample(
        {"r": r, "b": batch * count / (count - 1), "m": m},
        (C,),
        lambda: ops.running_statistics(zeros, r, zeros, batch, count, momentum=m)[1],
    )


def norm_instance_mean(rng: np.random.Generator) -> Iterator[Sample]:
    x = _maps(rng)
    yield Sample({"x": x, "H": H, "W": W}, (N, C), lambda: mean(tensor(x), dim=(2, 3)))


def norm_instance(rng: np.random.Generator) -> Iterator[Sample]:
    x = _maps(rng)
    gamma, beta = _weights(rng)
    statistics = {r"\mu": x.mean((2, 3)), "v": x.var((2, 3))}

    def code():
        return ops.instance_norm(tensor(x), tensor(gamma), tensor(beta), EPSILON)

    yield Sample({"x": x, r"\gamma": gamma, r"\beta": beta, **statistics, r"\epsilon": EPSILON}, x.shape, code)


def norm_layer(rng: np.random.Generator) -> Iterator[Sample]:
    x = 0.7 + 1.6 * rng.standard_normal((5, C))
    gamma, beta = _weights(rng)
    statistics = {r"\mu": x.mean(1), "v": x.var(1)}

    def code():
        return ops.layer_norm(tensor(x), C, tensor(gamma), tensor(beta), EPSILON)

    yield Sample({"x": x, r"\gamma": gamma, r"\beta": beta, **statistics, r"\epsilon": EPSILON}, x.shape, code)
