"""Losses in Numba, pixel by pixel; the mean is taken above. Logits z (N, K, H, W), labels (N, H, W).

Fast as softmax is: a block of pixels and all its classes stay in the cache, so that z is read from memory once. An ignored pixel
counts nothing, whatever its logits are: loss and gradient are 0 there even for NaN or infinity.
"""

import numpy as np
from numba import prange

from minseg.kernels import memory
from minseg.kernels.cpu.activation import elementwise
from minseg.kernels.cpu.elementary import exp, log, log1p
from minseg.kernels.cpu.jit import CHUNK, SUMMING, chunks, kernel, parallel_kernel
from minseg.kernels.cpu.softmax import BLOCK, maximum, sum_exp


def _classes(z):
    """(N, K, H W)"""
    return z.reshape(*z.shape[:2], -1)


def _pixels(target):
    """(N, H W)"""
    return target.reshape(len(target), -1)


def _weights(z, weight):
    return np.ones(z.shape[1], z.dtype) if weight is None else weight


# ------------------------------------------------------------------------------------------------------- cross-entropy


@parallel_kernel
def _cross_entropy(z, target, weight, ignore_index, loss, lse):
    N, _, L = z.shape
    blocks = (L + BLOCK - 1) // BLOCK
    for t in prange(N * blocks):
        n, start = t // blocks, t % blocks * BLOCK
        stop = min(L, start + BLOCK)
        m, log_sum = np.empty(stop - start, z.dtype), np.empty(stop - start, z.dtype)
        maximum(z, n, start, m)
        sum_exp(z, n, start, m, log_sum)
        labels, losses, lses = target[n, start:stop], loss[n, start:stop], lse[n, start:stop]
        for i in range(m.size):
            log_sum[i] = log(log_sum[i])
            lses[i] = m[i] + log_sum[i]
        for i in range(m.size):
            losses[i] = 0
            if labels[i] != ignore_index:
                losses[i] = weight[labels[i]] * (log_sum[i] - (z[n, labels[i], start + i] - m[i]))


def cross_entropy(z, target, weight, ignore_index: int):
    """eq: loss.ce. With z' = z - max z, lse - z_t is log sum exp(z') - z'_t: large logits cost no digits."""
    loss, lse = memory.empty(target.shape, z.dtype), memory.empty(target.shape, z.dtype)
    _cross_entropy(_classes(z), _pixels(target), _weights(z, weight), ignore_index, _pixels(loss), _pixels(lse))
    return loss, lse


@parallel_kernel
def _cross_entropy_grad_z(g, z, lse, target, weight, ignore_index, gz):
    N, K, L = z.shape
    blocks = (L + BLOCK - 1) // BLOCK
    for t in prange(N * blocks):
        n, start = t // blocks, t % blocks * BLOCK
        stop = min(L, start + BLOCK)
        labels, gs, lses = target[n, start:stop], g[n, start:stop], lse[n, start:stop]
        factor = np.zeros(stop - start, z.dtype)
        for i in range(factor.size):
            if labels[i] != ignore_index:
                factor[i] = gs[i] * weight[labels[i]]
        for k in range(K):
            zs, gzs = z[n, k, start:stop], gz[n, k, start:stop]
            for i in range(factor.size):
                gzs[i] = factor[i] * exp(zs[i] - lses[i])
        for i in range(factor.size):
            if labels[i] != ignore_index:
                gz[n, labels[i], start + i] -= factor[i]
            else:
                for k in range(K):
                    gz[n, k, start + i] = 0


def cross_entropy_grad_z(g, z, lse, target, weight, ignore_index: int):
    """eq: loss.ce_grad. First g w exp(z - lse) for every class, then g w is taken off at the label."""
    gz = memory.empty(z.shape, z.dtype)
    _cross_entropy_grad_z(
        _pixels(g), _classes(z), _pixels(lse), _pixels(target), _weights(z, weight), ignore_index, _classes(gz)
    )
    return gz


# ------------------------------------------------------------------------------------------------- element by element


@parallel_kernel
def _binary_cross_entropy(z, target, loss):
    zero = z.dtype.type(0)
    for i in prange(z.size):
        positive = zero if z[i] <= zero else z[i]
        loss[i] = positive - z[i] * target[i] + log1p(exp(-abs(z[i])))


def binary_cross_entropy_with_logits(z, target):
    """eq: loss.bce_logits"""
    return elementwise(_binary_cross_entropy, z, target)


@parallel_kernel
def _binary_cross_entropy_grad_z(g, z, target, gz):
    zero, one = z.dtype.type(0), z.dtype.type(1)
    for i in prange(z.size):
        e = exp(-abs(z[i]))
        gz[i] = g[i] * ((e if z[i] < zero else one) / (one + e) - target[i])


def binary_cross_entropy_with_logits_grad_z(g, z, target):
    """eq: loss.bce_logits_grad"""
    return elementwise(_binary_cross_entropy_grad_z, g, z, target)


@parallel_kernel
def _mse(a, target, loss):
    for i in prange(a.size):
        apart = a[i] - target[i]
        loss[i] = apart * apart


def mse_loss(a, target):
    """eq: loss.mse"""
    return elementwise(_mse, a, target)


@parallel_kernel
def _mse_grad_a(g, a, target, ga):
    two = a.dtype.type(2)
    for i in prange(a.size):
        ga[i] = two * g[i] * (a[i] - target[i])


def mse_loss_grad_a(g, a, target):
    """eq: loss.mse_grad"""
    return elementwise(_mse_grad_a, g, a, target)


# ---------------------------------------------------------------------------------------------------------------- Dice


RUN = 128
"""Pixels that are added one after the other before their sums are added by halves."""


@kernel(fastmath=SUMMING)
def _dice_sums_of(p, target, label, ignore_index):
    """The sums of p g, of p and of g over these pixels."""
    both, all_p, all_g = 0.0, 0.0, 0
    for i in range(p.size):
        both += p[i] if (target[i] == label) & (target[i] != ignore_index) else 0.0
        all_p += p[i] if target[i] != ignore_index else 0.0
        all_g += (target[i] == label) & (target[i] != ignore_index)
    return both, all_p, all_g


@parallel_kernel
def _dice_sums(p, target, first_label, ignore_index, parts):
    _, N, K, runs = parts.shape
    for t in prange(N * K * runs):
        plane, run = t // runs, t % runs
        n, k, start, stop = plane // K, plane % K, run * RUN, (run + 1) * RUN
        sums = _dice_sums_of(p[n, k, start:stop], target[n, start:stop], first_label + k, ignore_index)
        parts[0, n, k, run], parts[1, n, k, run], parts[2, n, k, run] = sums


def dice_sums(p, target, first_label: int, ignore_index: int):
    """eq: loss.dice_sums. In float64, by short runs, whose sums NumPy adds by halves: the error hardly grows with the image."""
    p = _classes(p)
    parts = np.empty((3, *p.shape[:2], -(-p.shape[2] // RUN)))
    _dice_sums(p, _pixels(target), first_label, ignore_index, parts)
    return parts.sum(axis=3).sum(axis=1).astype(p.dtype)


@parallel_kernel
def _dice_sums_grad_p(g, target, first_label, ignore_index, gp):
    N, K, L = gp.shape
    zero = gp.dtype.type(0)
    pieces = chunks(L)
    for t in prange(N * K * pieces):
        plane, start = t // pieces, t % pieces * CHUNK
        n, k = plane // K, plane % K
        labels, out = target[n, start : start + CHUNK], gp[n, k, start : start + CHUNK]
        inside, outside = g[0, k] + g[1, k], g[1, k]
        for i in range(out.size):
            value = inside if labels[i] == first_label + k else outside
            out[i] = value if labels[i] != ignore_index else zero


def dice_sums_grad_p(g, p, target, first_label: int, ignore_index: int):
    """eq: loss.dice_sums_grad. The third sum does not depend on p, so g[2] plays no part."""
    gp = memory.empty(p.shape, p.dtype)
    _dice_sums_grad_p(g, _pixels(target), first_label, ignore_index, _classes(gp))
    return gp
