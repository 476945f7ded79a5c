"""Samples for the equations of attention: a handful of pixels."""

import math
from collections.abc import Iterator

import numpy as np

from minseg import ops
from minseg.autograd import matmul, tensor
from minseg.testing.equations import Sample

N, D, C = 4, 3, 2


def att_score(rng: np.random.Generator) -> Iterator[Sample]:
    Q, K = rng.standard_normal((N, D)), rng.standard_normal((N, D))
    yield Sample({"Q": Q, "K": K, "d": D}, (N, N), lambda: matmul(tensor(Q), tensor(K).T) / math.sqrt(D))


def att_weights(rng: np.random.Generator) -> Iterator[Sample]:
    s = rng.standard_normal((N, N))
    yield Sample({"s": s, "N": N}, (N, N), lambda: ops.softmax(tensor(s), 1))


def att_mix(rng: np.random.Generator) -> Iterator[Sample]:
    A, V = rng.uniform(0, 1, (N, N)), rng.standard_normal((N, C))
    yield Sample({"A": A, "V": V, "N": N}, (N, C), lambda: matmul(tensor(A), tensor(V)))


def att_multihead(rng: np.random.Generator) -> Iterator[Sample]:
    """The code: heads side by side, then one product."""
    heads, O = 2, 5
    W, Z = rng.standard_normal((O, heads * D)), rng.standard_normal((heads, N, D))

    def code():
        side_by_side = tensor(Z).permute(1, 0, 2).reshape(N, heads * D)
        return ops.linear(side_by_side, tensor(W))

    yield Sample({"W": W, "Z": Z, "H": heads, "D": D}, (N, O), code)


def att_positional_sin(rng: np.random.Generator) -> Iterator[Sample]:
    for channels in (6, 4):
        yield Sample({"b": 50.0, "D": channels}, (N, channels), extra={"N": N})


def att_patch_embed(rng: np.random.Generator) -> Iterator[Sample]:
    for k in (2, 3):
        x, w, b = rng.standard_normal((2, C, 2 * k, 3 * k)), rng.standard_normal((4, C, k, k)), rng.standard_normal(4)

        def code(x=x, w=w, b=b, k=k):
            return ops.conv2d(tensor(x), tensor(w), tensor(b), stride=k)

        yield Sample({"x": x, "w": w, "b": b, "C": C, "k": k}, (2, 4, 2, 3), code)


def att_decoder_step(rng: np.random.Generator) -> Iterator[Sample]:
    """Any functions will do: what counts is which is applied to what."""
    functions = {
        "U": lambda h: 1.3 * h + 0.2,
        "C": lambda u, e: 0.7 * u - 0.4 * e,
        "S": lambda c: c * c + 0.6 * c,
        r"\phi": math.tanh,
    }
    yield Sample({"h": 0.6, "e": -0.9, **functions}, ())
