"""Samples for the equations of attention: a handful of pixels."""

from collections.abc import Iterator

import numpy as np

from minseg import backend, nn, ops
from minseg.autograd import Tensor, concatenate, tensor
from minseg.models.attention_decoder import DecoderStep
from minseg.models.blocks import resized_like
from minseg.nn.attention import project_heads
from minseg.testing.equations import Sample
from minseg.testing.samples.backward import gradient

M, N, D, C = 5, 4, 3, 2


def _attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[Tensor, Tensor]:
    return ops.scaled_dot_product_attention(tensor(q), tensor(k), tensor(v), need_weights=True)


def att_score(rng: np.random.Generator) -> Iterator[Sample]:
    """The operation keeps no scores: their differences come back as the logarithms of the weights' ratios."""
    Q, K = rng.standard_normal((M, D)), rng.standard_normal((N, D))
    K[0] = 0  # a score of 0, to which the others are compared

    def code():
        _, weights = _attention(Q, K, np.zeros((N, C)))
        return np.log(weights.numpy() / weights.numpy()[:, :1])

    yield Sample({"Q": Q, "K": K, "d": D}, (M, N), code)


def att_weights(rng: np.random.Generator) -> Iterator[Sample]:
    """Queries that are unit vectors, times the root that the scores are divided by, pick scores from the keys."""
    s = rng.standard_normal((M, N))
    yield Sample({"s": s, "N": N}, (M, N), lambda: _attention(np.sqrt(M) * np.eye(M), s.T, np.zeros((N, C)))[1])


def att_mix(rng: np.random.Generator) -> Iterator[Sample]:
    """Weights whose logarithms are the scores."""
    A, V = rng.uniform(0.1, 1, (M, N)), rng.standard_normal((N, C))
    A /= A.sum(axis=1, keepdims=True)
    yield Sample({"A": A, "V": V, "N": N}, (M, C), lambda: _attention(np.sqrt(M) * np.eye(M), np.log(A).T, V)[0])


def _log_sum(s: np.ndarray) -> np.ndarray:
    return np.log(np.exp(s).sum(axis=1))


def att_log_sum(rng: np.random.Generator) -> Iterator[Sample]:
    """No operation returns it, the kernel does: for the backward pass."""
    s = rng.standard_normal((M, N))

    def code():
        here = backend.current()
        queries, keys, values = map(here.asarray, (np.sqrt(M) * np.eye(M)[None], s.T[None], np.zeros((1, N, C))))
        return here.to_numpy(here.attention(queries, keys, values)[1])[0]

    yield Sample({"s": s, "N": N}, (M,), code)


def att_attention(rng: np.random.Generator) -> Iterator[Sample]:
    s, V = rng.standard_normal((M, N)), rng.standard_normal((N, C))

    def code():
        return ops.scaled_dot_product_attention(tensor(np.sqrt(M) * np.eye(M)), tensor(s.T), tensor(V))

    yield Sample({"s": s, "L": _log_sum(s), "V": V, "N": N}, (M, C), code)


def _gradients(rng: np.random.Generator, Q: np.ndarray, K: np.ndarray):
    """The symbols of attention's gradients, for these queries and keys; and its gradient for input number ``of``."""
    V, Y_bar = rng.standard_normal((N, C)), rng.standard_normal((M, C))
    s = Q @ K.T / np.sqrt(Q.shape[1])
    A = np.exp(s - _log_sum(s)[:, None])
    Y = A @ V
    s_bar = A * (Y_bar @ V.T - (Y_bar * Y).sum(axis=1, keepdims=True))
    values = {"A": A, "V": V, "Y": Y, "Q": Q, "K": K, r"\bar{Y}": Y_bar, r"\bar{s}": s_bar, "N": N, "M": M, "C": C}
    return values, lambda of: gradient(ops.scaled_dot_product_attention, of, Y_bar, Q, K, V)


def _gradient_sample(rng: np.random.Generator, of: int, symbols: tuple[str, ...], shape) -> Iterator[Sample]:
    values, found = _gradients(rng, rng.standard_normal((M, D)), rng.standard_normal((N, D)))
    yield Sample({name: ({"d": D} | values)[name] for name in symbols}, shape, lambda: found(of))


def att_grad_s(rng: np.random.Generator) -> Iterator[Sample]:
    """Queries as in att_weights: then keys are the scores, turned, and so are their gradients."""
    values, found = _gradients(rng, np.sqrt(M) * np.eye(M), rng.standard_normal((N, M)))
    yield Sample({name: values[name] for name in ("A", r"\bar{Y}", "V", "Y", "C")}, (M, N), lambda: found(1).T)


def att_grad_q(rng: np.random.Generator) -> Iterator[Sample]:
    return _gradient_sample(rng, 0, (r"\bar{s}", "K", "d", "N"), (M, D))


def att_grad_k(rng: np.random.Generator) -> Iterator[Sample]:
    return _gradient_sample(rng, 1, (r"\bar{s}", "Q", "d", "M"), (N, D))


def att_grad_v(rng: np.random.Generator) -> Iterator[Sample]:
    return _gradient_sample(rng, 2, ("A", r"\bar{Y}", "M"), (N, C))


def att_multihead(rng: np.random.Generator) -> Iterator[Sample]:
    heads, O = 2, 5
    W, Z = rng.standard_normal((O, heads * D)), rng.standard_normal((heads, N, D))

    def code():
        return project_heads(tensor(Z[None]), tensor(W))[0]

    yield Sample({"W": W, "Z": Z, "H": heads, "D": D}, (N, O), code)


def att_positional_sin(rng: np.random.Generator) -> Iterator[Sample]:
    for channels in (6, 4, 5):

        def code(channels=channels):
            return nn.sinusoidal_positions(N, channels, base=50.0)

        yield Sample({"b": 50.0, "D": channels}, (N, channels), code, extra={"N": N})


def att_patch_embed(rng: np.random.Generator) -> Iterator[Sample]:
    for k in (2, 3):
        x, w, b = rng.standard_normal((2, C, 2 * k, 3 * k)), rng.standard_normal((4, C, k, k)), rng.standard_normal(4)

        def code(x=x, w=w, b=b, k=k):
            return ops.conv2d(tensor(x), tensor(w), tensor(b), stride=k)

        yield Sample({"x": x, "w": w, "b": b, "C": C, "k": k}, (2, 4, 2, 3), code)


def att_decoder_step(rng: np.random.Generator) -> Iterator[Sample]:
    """Any functions will do: what counts is which is applied to what. First numbers, then the parts of the network's own step."""
    functions = {
        "U": lambda h: 1.3 * h + 0.2,
        "C": lambda u, e: 0.7 * u - 0.4 * e,
        "S": lambda c: c * c + 0.6 * c,
        r"\phi": np.tanh,
    }
    yield Sample({"h": 0.6, "e": -0.9, **functions}, ())
    step = DecoderStep(2, 2, None, rng).to(dtype=np.float64)
    h, e = rng.standard_normal((1, 2, 2, 1)), rng.standard_normal((1, 2, 3, 2))
    parts = {
        "U": lambda h: resized_like(h, tensor(e)),
        "C": lambda u, e: concatenate([u, e], dim=1),
        "S": step.attention,
        r"\phi": lambda s: step.convolution(s).detach(),
    }

    def code():
        step.load_state_dict(step.state_dict())  # on this backend
        return step(tensor(h), tensor(e))

    yield Sample({"h": tensor(h), "e": tensor(e), **parts}, (), code)
