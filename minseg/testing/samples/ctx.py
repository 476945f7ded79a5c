"""Samples for the equations of context; the code composes them of operations, which have no class of their own yet."""

from collections.abc import Iterator

import numpy as np

from minseg import ops
from minseg.autograd import concatenate, tensor
from minseg.testing.equations import Sample


def ctx_aspp(rng: np.random.Generator) -> Iterator[Sample]:
    L, O, C = 3, 2, 2
    x, w, d = rng.standard_normal((2, C, 5, 4)), rng.standard_normal((L, O, C, 3, 3)), np.array([2, 1, 3])

    def code():
        branches = [ops.conv2d(tensor(x), tensor(w[l]), padding=int(d[l]), dilation=int(d[l])) for l in range(L)]
        return branches[0] + branches[1] + branches[2]

    yield Sample({"x": x, "w": w, "d": d, "L": L, "C": C}, (2, O, 5, 4), code)


def ctx_pyramid_pool(rng: np.random.Generator) -> Iterator[Sample]:
    """The branches without their convolutions: the means of the first two channels."""
    C, D, H, W = 3, 2, 4, 5
    x = rng.standard_normal((C, H, W))

    def branch(grid: int):
        means = ops.adaptive_avg_pool2d(tensor(x[None, :D]), grid)
        return ops.interpolate(means, size=(H, W), mode="bilinear")[0]

    u = np.stack([branch(grid).numpy() for grid in (1, 2, 3)])
    yield Sample(
        {"x": x, "u": u, "C": C, "D": D},
        (C + 3 * D, H, W),
        lambda: concatenate([tensor(x), *(branch(grid) for grid in (1, 2, 3))]),
    )


def ctx_crf_meanfield(rng: np.random.Generator) -> Iterator[Sample]:
    N, L = 4, 3
    u, mu = rng.standard_normal((N, L)), rng.uniform(0.2, 1, (L, L))
    k, q = rng.uniform(0.1, 1, (N, N)), rng.uniform(0.1, 1, (N, L))
    yield Sample({"u": u, "q": q / q.sum(1, keepdims=True), r"\mu": mu, "k": k, "N": N, "L": L}, (N, L))
