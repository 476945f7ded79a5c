"""Batch normalisation on a GPU: norm.cu, which tells what its rungs do. x (N, C, H, W), statistics and weights (C,)."""

from functools import partial

import numpy as np

from minseg.kernels.cuda.device import device_of
from minseg.kernels.cuda.grid import THREADS, over_planes, summing, warps


def _sizes(x) -> tuple:
    """C, and the pixels of a plane."""
    return np.int32(x.shape[1]), np.int64(x.shape[2] * x.shape[3])


def _pixels(x) -> int:
    """Of a channel."""
    return x.size // x.shape[1]


def _planes(x) -> tuple[int, int]:
    """How many, and of how many pixels."""
    return x.shape[0] * x.shape[1], x.shape[2] * x.shape[3]


def _summing(x) -> tuple[tuple[int, int], tuple[int], int]:
    """Grid and block of a sum over each channel, and how many parts of each channel's sum there will be."""
    grid, block = summing(*_planes(x))
    return grid, block, grid[1] * x.shape[0]


def _norm(mean, weight, bias, eps: float, rectified: bool) -> tuple[tuple, tuple]:
    """What struct Norm is made of: arrays (``mean`` stands in for one that is missing), and numbers."""
    arrays = (mean if array is None else array for array in (weight, bias))
    numbers = (np.bool_(array is not None) for array in (weight, bias))
    return tuple(arrays), (*numbers, mean.dtype.type(eps), np.bool_(rectified))


# ---------------------------------------------------------------------------------------------------------- statistics


def _stats_two_pass(x):
    device, C = device_of(x), x.shape[1]
    mean, var = device.empty((C,), x.dtype), device.empty((C,), x.dtype)
    device.launch(
        *("norm", "batch_norm_stats_two_pass", x.dtype, (C,), (THREADS,)),
        *(x, mean, var, np.int64(_pixels(x)), *_sizes(x)),
        shared_mem=THREADS * np.dtype(np.float64).itemsize,
    )
    return mean, var


def _stats_in_parts(rung: str, x):
    device, C = device_of(x), x.shape[1]
    mean, var = device.empty((C,), x.dtype), device.empty((C,), x.dtype)
    grid, block, count = _summing(x)
    parts = device.empty((count, C, 3), np.float64)
    device.launch("norm", f"batch_norm_stats_{rung}", x.dtype, grid, block, x, parts, *_sizes(x))
    device.launch("norm", "merge_moments", x.dtype, *warps(C), x, parts, mean, var, np.int64(count), *_sizes(x))
    return mean, var


def batch_norm_stats(x):
    """eq: norm.batch_stats"""
    return _stats_in_parts("shifted", x)


# ------------------------------------------------------------------------------------------- normalisation, gradients


def _normalise(x, mean, var, weight, bias, eps: float, rectified: bool):
    device = device_of(x)
    y = device.empty(x.shape, x.dtype)
    arrays, numbers = _norm(mean, weight, bias, eps, rectified)
    device.launch(
        *("norm", "normalise", x.dtype, *over_planes(*_planes(x))),
        *(x, mean, var, *arrays, y, *_sizes(x), *numbers),
    )
    return y


def _gradients(rung: str, training: bool, rectified: bool, gy, x, mean, var, weight, bias, eps: float):
    """For x, weight and bias: sums over each channel, in two launches, and then x's pixel by pixel, if it waits for the sums."""
    device, C = device_of(x), x.shape[1]
    gx, gw, gb = device.empty(x.shape, x.dtype), device.empty((C,), x.dtype), device.empty((C,), x.dtype)
    grid, block, count = _summing(x)
    parts = device.empty((count, C, 2), np.float64)
    arrays, numbers = _norm(mean, weight, bias, eps, rectified)
    device.launch(
        *("norm", f"gradient_sums_{rung}", x.dtype, grid, block),
        *(gy, x, mean, var, *arrays, gx, parts, *_sizes(x), *numbers, np.bool_(training)),
        shared_mem=block[0] * parts.dtype.itemsize,
    )
    counts = np.int64(count), np.int32(C), x.dtype.type(eps)
    device.launch("norm", "add_gradient_sums", x.dtype, *warps(C), parts, var, gw, gb, *counts)
    if training:
        device.launch(
            *("norm", "gradient_x", x.dtype, *over_planes(*_planes(x))),
            *(gy, x, mean, var, *arrays, gw, gb, gx, np.int64(_pixels(x)), *_sizes(x), *numbers),
        )
    return gx, gw, gb


def _plain_gradients(rung: str, training: bool, gy, x, mean, var, weight, eps: float):
    return _gradients(rung, training, False, gy, x, mean, var, weight, None, eps)


VARIANTS = {
    "batch_norm_stats": {"two_pass": _stats_two_pass}
    | {rung: partial(_stats_in_parts, rung) for rung in ("welford", "shifted")},
    "batch_norm_grad": {rung: partial(_plain_gradients, rung, True) for rung in ("shared", "shuffles")},
    "batch_norm_relu_grad": {rung: partial(_gradients, rung, True, True) for rung in ("shared", "shuffles")},
}


def batch_norm(x, mean, var, weight, bias, eps: float):
    """eq: norm.batch"""
    return _normalise(x, mean, var, weight, bias, eps, rectified=False)


def batch_norm_grad(gy, x, mean, var, weight, eps: float):
    """eq: norm.batch_grad. mean and var depend on x: what gy would move them by is taken off."""
    return _plain_gradients("shuffles", True, gy, x, mean, var, weight, eps)


def batch_norm_eval_grad(gy, x, mean, var, weight, eps: float):
    """eq: norm.batch_eval_grad"""
    return _plain_gradients("shuffles", False, gy, x, mean, var, weight, eps)


def batch_norm_relu(x, mean, var, weight, bias, eps: float):
    """eq: norm.batch_relu"""
    return _normalise(x, mean, var, weight, bias, eps, rectified=True)


def batch_norm_relu_grad(gy, x, mean, var, weight, bias, eps: float):
    """eq: norm.batch_relu_grad"""
    return _gradients("shuffles", True, True, gy, x, mean, var, weight, bias, eps)


def batch_norm_relu_eval_grad(gy, x, mean, var, weight, bias, eps: float):
    """eq: norm.batch_relu_eval_grad"""
    return _gradients("shuffles", False, True, gy, x, mean, var, weight, bias, eps)
