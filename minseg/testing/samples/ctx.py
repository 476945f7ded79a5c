"""Samples for the equations of context; the code is that of the networks and of the CRF."""

from collections.abc import Iterator

import numpy as np

from minseg.autograd import tensor
from minseg.models.deeplab import ASPP
from minseg.models.pspnet import PyramidPooling
from minseg.postprocess import mean_field_step
from minseg.testing.equations import Sample


def ctx_aspp(rng: np.random.Generator) -> Iterator[Sample]:
    """The convolutions of a module's branches, without what follows them there."""
    L, O, C = 3, 2, 2
    x, w, d = rng.standard_normal((2, C, 5, 4)), rng.standard_normal((L, O, C, 3, 3)), np.array([2, 1, 3])

    def code():
        module = ASPP(C, O, d.tolist(), rng).to(dtype=np.float64)
        _, *windows = [branch[0] for branch in module.branches]
        for window, kernel in zip(windows, w, strict=True):
            window.weight.data = tensor(kernel).data
        first, *others = [window(tensor(x)) for window in windows]
        return sum(others, start=first)

    yield Sample({"x": x, "w": w, "d": d, "L": L, "C": C}, (2, O, 5, 4), code)


def ctx_pyramid_pool(rng: np.random.Generator) -> Iterator[Sample]:
    """u is written out: means between the grids' borders, and bilinear interpolation between their centres."""
    C, D, H, W = 3, 2, 4, 5
    x = rng.standard_normal((C, H, W))
    module = PyramidPooling(C, D, (1, 2, 3), rng).to(dtype=np.float64)
    u = np.stack([_branch(x, branch) for branch in module.branches])

    def code():
        module.load_state_dict(module.state_dict())  # on this backend
        return module(tensor(x[None]))[0]

    yield Sample({"x": x, "u": u, "C": C, "D": D}, (C + 3 * D, H, W), code)


def _branch(x: np.ndarray, branch) -> np.ndarray:
    """Means over a grid, the branch's 1x1 convolution, ReLU, and as large as x again."""
    grid, (_, *size) = branch[0].output_size, x.shape
    down = [_means(n, grid) for n in size]
    up = [_between(grid, n) for n in size]
    means = np.einsum("ai,bj,cij->cab", *down, x)
    maps = np.einsum("oc,cab->oab", branch[1].weight.detach().numpy()[:, :, 0, 0], means)
    return np.einsum("ia,jb,oab->oij", *up, np.maximum(maps, 0))


def _means(n: int, cells: int) -> np.ndarray:
    """(cells, n): cell a takes the mean from floor(a n / cells) to ceil((a+1) n / cells)."""
    a, i = np.arange(cells)[:, None], np.arange(n)
    inside = (i >= a * n // cells) & (i < -(-(a + 1) * n // cells))
    return inside / inside.sum(axis=1, keepdims=True)


def _between(cells: int, n: int) -> np.ndarray:
    """(n, cells): linear interpolation of n values from the cells' centres, constant beyond the outer ones."""
    place = np.clip((np.arange(n) + 0.5) * cells / n - 0.5, 0, cells - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(cells)))


def ctx_crf_meanfield(rng: np.random.Generator) -> Iterator[Sample]:
    N, L = 4, 3
    u, mu = rng.standard_normal((N, L)), rng.uniform(0.2, 1, (L, L))
    k, q = rng.uniform(0.1, 1, (N, N)), rng.uniform(0.1, 1, (N, L))
    q /= q.sum(1, keepdims=True)
    yield Sample({"u": u, "q": q, r"\mu": mu, "k": k, "N": N, "L": L}, (N, L), lambda: mean_field_step(u, q, mu, k))
