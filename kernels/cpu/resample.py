"""Resizing in Numba, nearest neighbour and bilinear, rows and columns apart: the tables of source pixels and weights are made once
for a side, and the inner loops only look them up. Gradients are gathered, not scattered: each row of gx reads the rows of gy that
it was a source of, so rows can be shared among threads.
"""

import numpy as np
from numba import prange

from minseg.kernels import memory
from minseg.kernels.cpu.jit import parallel_kernel
from minseg.kernels.spec import Pair, Shape

BAND = 16
"""Rows of one plane that share an iteration of ``prange`` and its row of scratch."""


def _planes(x):
    """(N C, H, W)"""
    return x.reshape(-1, *x.shape[2:])


# ------------------------------------------------------------------------------------------------------------- nearest


@parallel_kernel
def _nearest(x, columns, y):
    planes, H, _ = x.shape
    _, I, J = y.shape
    for t in prange(planes * I):
        plane, i = t // I, t % I
        row, ys = x[plane, i * H // I], y[plane, i]
        for j in range(J):
            ys[j] = row[columns[j]]


def resize_nearest(x, size: Pair):
    """eq: up.nearest"""
    y = memory.empty((*x.shape[:2], *size), x.dtype)
    columns = np.arange(size[1]) * x.shape[3] // size[1]
    _nearest(_planes(x), columns.astype(np.uint32), _planes(y))
    return y


@parallel_kernel
def _nearest_grad(gy, starts, gx):
    planes, H, W = gx.shape
    _, I, J = gy.shape
    for t in prange(planes * ((H + BAND - 1) // BAND)):
        plane, band = t // ((H + BAND - 1) // BAND), t % ((H + BAND - 1) // BAND)
        rows = np.empty(J, gx.dtype)
        for u in range(band * BAND, min(H, (band + 1) * BAND)):
            rows[:] = 0
            for i in range((u * I + H - 1) // H, ((u + 1) * I + H - 1) // H):  # the i with floor(i H/I) = u
                gys = gy[plane, i]
                for j in range(J):
                    rows[j] += gys[j]
            gxs = gx[plane, u]
            for v in range(W):
                total = gxs.dtype.type(0)
                for j in range(starts[v], starts[v + 1]):
                    total += rows[j]
                gxs[v] = total


def resize_nearest_grad_x(gy, x_shape: Shape):
    """eq: up.nearest_grad"""
    gx = memory.empty(tuple(x_shape), gy.dtype)
    J, W = gy.shape[3], x_shape[3]
    starts = -(
        -np.arange(W + 1) * J // W
    )  # the columns of gy that were copied from v: from starts[v] up to starts[v + 1]
    _nearest_grad(_planes(gy), starts.astype(np.uint32), _planes(gx))
    return gx


# ------------------------------------------------------------------------------------------------------------ bilinear


def _between(size: int, out: int, dtype):
    """For each output pixel the two source pixels that it lies between, and its distance from the first."""
    position = np.maximum((np.arange(out) + 0.5) * size / out - 0.5, 0)
    below = np.minimum(position.astype(np.intp), size - 1)
    above = np.minimum(below + 1, size - 1)
    return below.astype(np.uint32), above.astype(np.uint32), (position - below).astype(dtype)


@parallel_kernel
def _bilinear(x, top, bottom, down, left, right, across, y):
    W = x.shape[2]
    planes, I, J = y.shape
    one = y.dtype.type(1)
    bands = (I + BAND - 1) // BAND
    for t in prange(planes * bands):
        plane, band = t // bands, t % bands
        between = np.empty(W, y.dtype)
        for i in range(band * BAND, min(I, (band + 1) * BAND)):
            a, b, d = x[plane, top[i]], x[plane, bottom[i]], down[i]
            for v in range(W):
                between[v] = (one - d) * a[v] + d * b[v]
            ys = y[plane, i]
            for j in range(J):
                ys[j] = (one - across[j]) * between[left[j]] + across[j] * between[right[j]]


def resize_bilinear(x, size: Pair):
    """eq: up.bilinear. First between rows, then between columns."""
    y = memory.empty((*x.shape[:2], *size), x.dtype)
    _bilinear(_planes(x), *_between(x.shape[2], size[0], x.dtype), *_between(x.shape[3], size[1], x.dtype), _planes(y))
    return y


@parallel_kernel
def _bilinear_grad(gy, first, last, top, bottom, down, left, right, across, gx):
    planes, H, _ = gx.shape
    J = gy.shape[2]
    zero, one = gx.dtype.type(0), gx.dtype.type(1)
    bands = (H + BAND - 1) // BAND
    for t in prange(planes * bands):
        plane, band = t // bands, t % bands
        rows = np.empty(J, gx.dtype)
        for u in range(band * BAND, min(H, (band + 1) * BAND)):
            rows[:] = 0
            for i in range(first[u], last[u]):
                weight = (one - down[i] if top[i] == u else zero) + (down[i] if bottom[i] == u else zero)
                gys = gy[plane, i]
                for j in range(J):
                    rows[j] += weight * gys[j]
            gxs = gx[plane, u]
            gxs[:] = 0
            for j in range(J):
                gxs[left[j]] += (one - across[j]) * rows[j]
                gxs[right[j]] += across[j] * rows[j]


def resize_bilinear_grad_x(gy, x_shape: Shape):
    """eq: up.bilinear_grad. The same weights, backwards: first to rows, then to columns."""
    gx = memory.empty(tuple(x_shape), gy.dtype)
    top, bottom, down = _between(x_shape[2], gy.shape[2], gy.dtype)
    across = _between(x_shape[3], gy.shape[3], gy.dtype)
    u = np.arange(x_shape[2])
    first, last = (
        np.searchsorted(bottom, u, "left"),
        np.searchsorted(top, u, "right"),
    )  # the rows of gy that row u was a source of
    _bilinear_grad(_planes(gy), first, last, top, bottom, down, *across, _planes(gx))
    return gx
