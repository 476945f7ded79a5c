"""Batch normalisation in Numba. x (N, C, H, W), statistics and weights (C,).

Fast because memory is read as rarely as can be. A channel belongs to one thread: what the first pass over it has read is in that
core's cache when the second pass comes, and its sums need no other thread. They are float64 numbers, added in a fixed order.
"""

import numpy as np
from numba import prange

from minseg.kernels import memory
from minseg.kernels.cpu.jit import CHUNK, SUMMING, chunks, kernel, parallel_kernel


def _planes(x):
    """(N, C, H W)"""
    return x.reshape(*x.shape[:2], -1)


@kernel(fastmath=SUMMING)
def _moments(x):
    """The mean of x and the sum of the squared distances from it."""
    total = 0.0
    for i in range(x.size):
        total += x[i]
    mean = total / x.size
    squares = 0.0
    for i in range(x.size):
        squares += (x[i] - mean) ** 2
    return mean, squares


@parallel_kernel
def _statistics(x, means, variances):
    """Chunk by chunk, so that the pass for the squares finds its pixels in the cache. Two sets of pixels with means a and b have
    the mean and the squares of both about it by the formulas below, in which nothing cancels, however far the means are from 0."""
    N, C, L = x.shape
    for c in prange(C):
        count, mean, squares = 0, 0.0, 0.0
        for n in range(N):
            for start in range(0, L, CHUNK):
                pixels = x[n, c, start : start + CHUNK]
                mean_here, squares_here = _moments(pixels)
                apart = mean_here - mean
                share = pixels.size / (count + pixels.size)
                mean += apart * share
                squares += squares_here + apart * apart * share * count
                count += pixels.size
        means[c] = mean
        variances[c] = squares / count


def batch_norm_stats(x):
    """eq: norm.batch_stats"""
    C = x.shape[1]
    mean, var = memory.empty((C,), x.dtype), memory.empty((C,), x.dtype)
    _statistics(_planes(x), mean, var)
    return mean, var


@parallel_kernel
def _scale(x, centre, factor, shift, y):
    """y = factor (x - centre) + shift, with one of each for every channel."""
    N, C, L = x.shape
    pieces = chunks(L)
    for t in prange(N * C * pieces):
        plane, start = t // pieces, t % pieces * CHUNK
        n, c = plane // C, plane % C
        xs, ys = x[n, c, start : start + CHUNK], y[n, c, start : start + CHUNK]
        a, m, b = factor[c], centre[c], shift[c]
        for i in range(xs.size):
            ys[i] = a * (xs[i] - m) + b


def _inverse(var, eps: float):
    return 1 / np.sqrt(var + eps)


def batch_norm(x, mean, var, weight, bias, eps: float):
    """eq: norm.batch"""
    factor = _inverse(var, eps) if weight is None else weight * _inverse(var, eps)
    shift = np.zeros_like(mean) if bias is None else bias
    y = memory.empty(x.shape, x.dtype)
    _scale(_planes(x), mean, factor, shift, _planes(y))
    return y


@kernel(fastmath=SUMMING)
def _products(gy, x, mean):
    """The sums of gy (x - mean) and of gy."""
    product, total = 0.0, 0.0
    for i in range(x.size):
        product += gy[i] * (x[i] - mean)
        total += gy[i]
    return product, total


@parallel_kernel
def _gradients(gy, x, mean, inverse, factor, training, gx, gw, gb):
    """gw and gb of each channel are sums over its pixels; with them, in training, gx = factor (gy - gb/M - x^ gw/M), where
    x^ = inverse (x - mean) and M is the number of pixels."""
    N, C, L = x.shape
    dtype = x.dtype.type
    for c in prange(C):
        product, total = 0.0, 0.0
        for n in range(N):
            for start in range(0, L, CHUNK):
                here = _products(gy[n, c, start : start + CHUNK], x[n, c, start : start + CHUNK], mean[c])
                product += here[0]
                total += here[1]
        gw[c] = product * inverse[c]
        gb[c] = total
        pixels = N * L if training else np.inf  # statistics that are constants: gy moves nothing
        slope = dtype(product * inverse[c] * inverse[c] / pixels)
        shift = dtype(total / pixels)
        m, a = mean[c], factor[c]
        for n in range(N):
            gys, xs, gxs = gy[n, c], x[n, c], gx[n, c]
            for i in range(L):
                gxs[i] = a * (gys[i] - slope * (xs[i] - m) - shift)


def _batch_norm_gradients(gy, x, mean, var, weight, eps: float, training: bool):
    inverse = _inverse(var, eps)
    factor = inverse if weight is None else weight * inverse
    gx = memory.empty(x.shape, x.dtype)
    gw, gb = memory.empty(mean.shape, x.dtype), memory.empty(mean.shape, x.dtype)
    _gradients(_planes(gy), _planes(x), mean, inverse, factor, training, _planes(gx), gw, gb)
    return gx, gw, gb


def batch_norm_grad(gy, x, mean, var, weight, eps: float):
    """eq: norm.batch_grad. mean and var depend on x: what gy would move them by is taken off."""
    return _batch_norm_gradients(gy, x, mean, var, weight, eps, True)


def batch_norm_eval_grad(gy, x, mean, var, weight, eps: float):
    """eq: norm.batch_eval_grad"""
    return _batch_norm_gradients(gy, x, mean, var, weight, eps, False)
