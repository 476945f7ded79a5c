"""The affine map in Numba: x (N, I), w (O, I), b (O,). Three matrix products by one kernel, matmul.py's."""

import numpy as np
from numba import prange

from minseg.kernels.cpu.jit import SUMMING, parallel_kernel
from minseg.kernels.cpu.matmul import multiply_matrices


def linear(x, w, b):
    """eq: dense.affine"""
    return multiply_matrices(x, w.T, b)


def linear_grad_x(gy, w):
    """eq: dense.grad_x"""
    return multiply_matrices(gy, w)


def linear_grad_w(gy, x):
    """eq: dense.grad_w"""
    return multiply_matrices(gy.T, x)


PARTS = 16
"""Partial sums of the gradient for the bias, whatever the number of threads."""


@parallel_kernel(fastmath=SUMMING)
def _sum_rows(gy, sums):
    for part in prange(len(sums)):
        total = sums[part]
        total[:] = 0
        for n in range(len(gy) * part // len(sums), len(gy) * (part + 1) // len(sums)):
            for o in range(len(total)):
                total[o] += gy[n, o]


def linear_grad_b(gy):
    """eq: dense.grad_b"""
    sums = np.empty((min(len(gy), PARTS), gy.shape[1]), gy.dtype)
    _sum_rows(gy, sums)
    return sums.sum(axis=0)
