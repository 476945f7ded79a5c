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


@kernel
def _affine(x, centre, factor, shift):
    """One pixel normalised. In a function of its own, so that forward and backward agree to the bit on where it is > 0, and no sum
    around it changes its brackets."""
    return factor * (x - centre) + shift


@parallel_kernel
def _scale(x, centre, factor, shift, lowest, y):
    """y = factor (x - centre) + shift, with one of each for every channel, and never below ``lowest``."""
    N, C, L = x.shape
    pieces = chunks(L)
    floor = x.dtype.type(lowest)
    for t in prange(N * C * pieces):
        plane, start = t // pieces, t % pieces * CHUNK
        n, c = plane // C, plane % C
        xs, ys = x[n, c, start : start + CHUNK], y[n, c, start : start + CHUNK]
        m, a, b = centre[c], factor[c], shift[c]
        for i in range(xs.size):
            value = _affine(xs[i], m, a, b)
            ys[i] = floor if value < floor else value


def _factor_and_shift(mean, var, weight, bias, eps: float):
    """What batch norm multiplies x - mean by, and what it adds."""
    inverse = 1 / np.sqrt(var + eps)
    return inverse if weight is None else weight * inverse, np.zeros_like(mean) if bias is None else bias


def _normalise(x, mean, var, weight, bias, eps: float, lowest: float):
    y = memory.empty(x.shape, x.dtype)
    _scale(_planes(x), mean, *_factor_and_shift(mean, var, weight, bias, eps), lowest, _planes(y))
    return y


def batch_norm(x, mean, var, weight, bias, eps: float):
    """eq: norm.batch"""
    return _normalise(x, mean, var, weight, bias, eps, -np.inf)


@kernel(fastmath=SUMMING)
def _products(gy, x, centre, factor, shift, rectified):
    """The sums of gy (x - mean) and of gy; behind a ReLU, of what it lets through."""
    product, total = 0.0, 0.0
    for i in range(x.size):
        g = gy[i] if not rectified or _affine(x[i], centre, factor, shift) > 0 else gy.dtype.type(0)
        product += g * (x[i] - centre)
        total += g
    return product, total


@parallel_kernel
def _gradients(gy, x, mean, var, factor, shift, eps, training, rectified, gx, gw, gb):
    """gw and gb of each channel are sums over its pixels; with them, in training, gx = factor (gy - gb/M - x^ gw/M), where
    x^ = inverse (x - mean) and M is the number of pixels. ``rectified``: gy counts only where the normalised x is > 0."""
    N, C, L = x.shape
    dtype = x.dtype.type
    for c in prange(C):
        m, a, b = mean[c], factor[c], shift[c]
        product, total = 0.0, 0.0
        for n in range(N):
            for start in range(0, L, CHUNK):
                here = _products(gy[n, c, start : start + CHUNK], x[n, c, start : start + CHUNK], m, a, b, rectified)
                product += here[0]
                total += here[1]
        inverse = 1 / np.sqrt(var[c] + eps)
        gw[c] = product * inverse
        gb[c] = total
        slope = dtype(product * inverse * inverse / (N * L))
        mean_gy = dtype(total / (N * L))
        for n in range(N):
            gys, xs, gxs = gy[n, c], x[n, c], gx[n, c]
            for i in range(L):
                g = gys[i] if not rectified or _affine(xs[i], m, a, b) > 0 else dtype(0)
                moved = slope * (xs[i] - m) + mean_gy if training else dtype(0)  # constant statistics are not moved
                gxs[i] = a * (g - moved)


def _batch_norm_gradients(gy, x, mean, var, weight, bias, eps: float, training: bool, rectified: bool):
    factor, shift = _factor_and_shift(mean, var, weight, bias, eps)
    gx = memory.empty(x.shape, x.dtype)
    gw, gb = memory.empty(mean.shape, x.dtype), memory.empty(mean.shape, x.dtype)
    _gradients(_planes(gy), _planes(x), mean, var, factor, shift, eps, training, rectified, _planes(gx), gw, gb)
    return gx, gw, gb


def batch_norm_grad(gy, x, mean, var, weight, eps: float):
    """eq: norm.batch_grad. mean and var depend on x: what gy would move them by is taken off."""
    return _batch_norm_gradients(gy, x, mean, var, weight, None, eps, training=True, rectified=False)


def batch_norm_eval_grad(gy, x, mean, var, weight, eps: float):
    """eq: norm.batch_eval_grad"""
    return _batch_norm_gradients(gy, x, mean, var, weight, None, eps, training=False, rectified=False)


def batch_norm_relu(x, mean, var, weight, bias, eps: float):
    """eq: norm.batch_relu"""
    return _normalise(x, mean, var, weight, bias, eps, 0.0)


def batch_norm_relu_grad(gy, x, mean, var, weight, bias, eps: float):
    """eq: norm.batch_relu_grad"""
    return _batch_norm_gradients(gy, x, mean, var, weight, bias, eps, training=True, rectified=True)


def batch_norm_relu_eval_grad(gy, x, mean, var, weight, bias, eps: float):
    """eq: norm.batch_relu_eval_grad"""
    return _batch_norm_gradients(gy, x, mean, var, weight, bias, eps, training=False, rectified=True)
