"""The affine map on a GPU: x (N, I), w (O, I), b (O,). One matrix product each way; the ladder is in linear.cu."""

import numpy as np

from minseg.kernels.cuda.device import device_of
from minseg.kernels.cuda.grid import NUMBERS_A_THREAD, SHARERS, WARP, ceil_div, striding, warps

TILE_ROWS, TILE_COLUMNS = 64, 128
"""Of matmul_tiled."""
MOST_PARTS = 512
"""Of a column's sum: as many blocks keep a large GPU busy, and the second launch short."""


def _tiled(a, c, b=None, turn_a: bool = False, turn_c: bool = False):
    """a (M, K) times c (K, J), plus b (J,). A factor that is given turned, (K, M) or (J, K), is read in the other direction."""
    device = device_of(a)
    M, K = reversed(a.shape) if turn_a else a.shape
    J = c.shape[0] if turn_c else c.shape[1]
    y = device.empty((M, J), a.dtype)
    bias = (
        (a, np.bool_(False)) if b is None else (b, np.bool_(True))
    )  # something must stand in for a bias that is missing
    grid, block = (ceil_div(J, TILE_COLUMNS), ceil_div(M, TILE_ROWS)), (256,)
    sizes = np.int64(M), np.int64(J), np.int64(K)
    factors = a, *_steps(a, turn_a), c, *_steps(c, turn_c)
    device.launch("linear", "matmul_tiled", a.dtype, grid, block, *factors, *bias, y, *sizes)
    return y


def _steps(matrix, turned: bool) -> tuple[np.int64, np.int64]:
    """From a row to the next and from a column to the next, in elements of a contiguous matrix."""
    steps = np.int64(matrix.shape[1]), np.int64(1)
    return steps[::-1] if turned else steps


def _cublas(a, c, b=None, turn_a: bool = False, turn_c: bool = False):
    """The same by the vendor's library, which reads turned factors as they are."""
    device = device_of(a)
    y = device.xp.ascontiguousarray(device.matmul(a.T if turn_a else a, c.T if turn_c else c))
    if b is not None:
        sizes = np.int64(y.size), np.int32(y.shape[1])
        device.launch("linear", "add_bias", y.dtype, *striding(y.size), b, y, *sizes)
    return y


def _ladder(product) -> dict:
    """The three products of forward and backward, by this rung."""
    return {
        "linear": lambda x, w, b: product(x, w, b, turn_c=True),
        "linear_grad_x": lambda gy, w: product(gy, w),
        "linear_grad_w": lambda gy, x: product(gy, x, turn_a=True),
    }


RUNGS = {"cublas": _ladder(_cublas), "tiled": _ladder(_tiled)}

VARIANTS = {
    name: {rung: ladder[name] for rung, ladder in RUNGS.items()}
    for name in ("linear", "linear_grad_x", "linear_grad_w")
}


def linear(x, w, b):
    """eq: dense.affine"""
    return VARIANTS["linear"]["cublas"](x, w, b)


def linear_grad_x(gy, w):
    """eq: dense.grad_x"""
    return VARIANTS["linear_grad_x"]["cublas"](gy, w)


def linear_grad_w(gy, x):
    """eq: dense.grad_w"""
    return VARIANTS["linear_grad_w"]["cublas"](gy, x)


def linear_grad_b(gy):
    """eq: dense.grad_b"""
    device = device_of(gy)
    N, O = gy.shape
    gb = device.empty((O,), gy.dtype)
    count = max(1, min(MOST_PARTS, ceil_div(N, SHARERS * NUMBERS_A_THREAD)))
    parts = device.empty((count, O), np.float64)
    grid, block = (ceil_div(O, WARP), count), (WARP, SHARERS)
    device.launch("linear", "linear_grad_b", gy.dtype, grid, block, gy, parts, np.int64(N), np.int64(O))
    device.launch("linear", "add_parts", gy.dtype, *warps(O), parts, gb, np.int64(count), np.int32(O))
    return gb
