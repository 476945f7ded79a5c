"""Samples for the equations of connections around layers."""

import math
from collections.abc import Iterator

import numpy as np

from minseg import ops
from minseg.autograd import matmul, tensor
from minseg.models.dense import DenseBlock
from minseg.models.inception import InceptionBlock
from minseg.models.resnet import BasicBlock
from minseg.testing.equations import Sample
from minseg.testing.samples.backward import gradient


def res_identity(rng: np.random.Generator) -> Iterator[Sample]:
    for x in (0.8, -1.3):

        def code(x=x):
            x = tensor(np.array([x]))
            return (x + ops.tanh(x)).item()

        yield Sample({"x": x, "F": math.tanh}, (), code)


def res_identity_grad(rng: np.random.Generator) -> Iterator[Sample]:
    """The branch is tanh(W x)."""
    n = 3
    W, x, y_bar = rng.standard_normal((n, n)), rng.standard_normal(n), rng.standard_normal(n)
    J = (1 - np.tanh(W @ x) ** 2)[:, None] * W

    def code():
        return gradient(lambda x, W: x + ops.tanh(matmul(W, x)), 0, y_bar, x, W)

    yield Sample({r"\bar{y}": y_bar, "J": J, "n": n}, (n,), code)


def res_projection(rng: np.random.Generator) -> Iterator[Sample]:
    N, C, O, s = 2, 3, 4, 2
    x, F, w = rng.standard_normal((N, C, 5, 4)), rng.standard_normal((N, O, 3, 2)), rng.standard_normal((O, C))

    def code():
        block = BasicBlock(C, O, s, rng=np.random.default_rng(0)).to(dtype=np.float64).eval()
        projection, norm = block.downsample
        projection.weight = tensor(w[:, :, None, None])
        norm.running_var = norm.running_var - norm.eps  # so that the norm changes nothing
        return block.shortcut(tensor(x)) + tensor(F)

    yield Sample({"x": x, "F": F, "w": w, "s": s, "C": C}, F.shape, code)


def res_dense_concat(rng: np.random.Generator) -> Iterator[Sample]:
    L, N, G, H, W = 3, 2, 4, 3, 2
    x = rng.standard_normal((L, N, G, H, W))

    def code():
        block = DenseBlock(G, G, L - 1)
        block.layers = [lambda seen, y=y: tensor(y) for y in x[1:]]
        return block(tensor(x[0]))

    yield Sample({"x": x, "G": G}, (N, L * G, H, W), code)


def res_inception(rng: np.random.Generator) -> Iterator[Sample]:
    sizes = {"A": 2, "B": 3, "D": 1, "E": 2}
    branches = {name.lower(): rng.standard_normal((size, 3, 4)) for name, size in sizes.items()}
    values = {**branches, **{name: sizes[name] for name in "ABD"}}

    def code():
        block = InceptionBlock(1, tuple(sizes.values()))
        block.branch1, block.branch3, block.branch5, block.branch_pool = (
            lambda x, y=y: tensor(y[None]) for y in branches.values()
        )
        return block(None)[0]

    yield Sample(values, (8, 3, 4), code)
