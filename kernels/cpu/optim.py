"""Optimiser updates in Numba: new arrays for the parameter and its state, in one pass over memory.

Fast because a block of each array stays in the cache between the short loops, one for each line of the method. (One loop with
all of it would touch seven arrays: too many for the compiler to check that none overlaps another, so no vector code.)
"""

import math

from numba import prange

from minseg.kernels import memory
from minseg.kernels.cpu.jit import parallel_kernel

BLOCK = 1024


@parallel_kernel
def _sgd(p, g, v, lr, momentum, rest, weight_decay, nesterov, new_p, new_v):
    for t in prange((p.size + BLOCK - 1) // BLOCK):
        start, stop = t * BLOCK, (t + 1) * BLOCK
        ps, gs, vs = p[start:stop], g[start:stop], v[start:stop]
        next_p, next_v = new_p[start:stop], new_v[start:stop]
        for i in range(ps.size):
            next_v[i] = momentum * vs[i] + rest * (gs[i] + weight_decay * ps[i])
        if nesterov:
            for i in range(ps.size):
                next_p[i] = ps[i] - lr * (gs[i] + weight_decay * ps[i] + momentum * next_v[i])
        else:
            for i in range(ps.size):
                next_p[i] = ps[i] - lr * next_v[i]


def sgd_update(
    p,
    g,
    v,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
):
    """eq: opt.momentum_v"""
    number = p.dtype.type
    new_p, new_v = memory.empty(p.shape, p.dtype), memory.empty(p.shape, p.dtype)
    _sgd(
        *(a.reshape(-1) for a in (p, g, v)),
        *map(number, (lr, momentum, 1 - dampening, weight_decay)),
        nesterov,
        *(a.reshape(-1) for a in (new_p, new_v)),
    )
    return new_p, new_v


@parallel_kernel
def _rmsprop(p, g, v, lr, alpha, rest, eps, weight_decay, new_p, new_v):
    for t in prange((p.size + BLOCK - 1) // BLOCK):
        start, stop = t * BLOCK, (t + 1) * BLOCK
        ps, gs, vs = p[start:stop], g[start:stop], v[start:stop]
        next_p, next_v = new_p[start:stop], new_v[start:stop]
        for i in range(ps.size):
            decayed = gs[i] + weight_decay * ps[i]
            next_v[i] = alpha * vs[i] + rest * (decayed * decayed)  # eq: opt.rmsprop_v
        for i in range(ps.size):
            next_p[i] = ps[i] - lr * (gs[i] + weight_decay * ps[i]) / (math.sqrt(next_v[i]) + eps)


def rmsprop_update(p, g, v, lr: float, alpha: float, eps: float, weight_decay: float):
    """eq: opt.rmsprop"""
    number = p.dtype.type
    new_p, new_v = memory.empty(p.shape, p.dtype), memory.empty(p.shape, p.dtype)
    _rmsprop(
        *(a.reshape(-1) for a in (p, g, v)),
        *map(number, (lr, alpha, 1 - alpha, eps, weight_decay)),
        *(a.reshape(-1) for a in (new_p, new_v)),
    )
    return new_p, new_v


@parallel_kernel
def _adam(p, g, m, v, rate, beta1, rest1, beta2, rest2, correction2, eps, weight_decay, new_p, new_m, new_v):
    for t in prange((p.size + BLOCK - 1) // BLOCK):
        start, stop = t * BLOCK, (t + 1) * BLOCK
        ps, gs, ms, vs = p[start:stop], g[start:stop], m[start:stop], v[start:stop]
        next_p, next_m, next_v = new_p[start:stop], new_m[start:stop], new_v[start:stop]
        for i in range(ps.size):
            next_m[i] = beta1 * ms[i] + rest1 * (gs[i] + weight_decay * ps[i])
        for i in range(ps.size):
            decayed = gs[i] + weight_decay * ps[i]
            next_v[i] = beta2 * vs[i] + rest2 * (decayed * decayed)
        for i in range(ps.size):
            next_p[i] = ps[i] - rate * next_m[i] / (math.sqrt(next_v[i] / correction2) + eps)


def adam_update(
    p,
    g,
    m,
    v,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
):
    """eq: opt.adam"""
    number = p.dtype.type
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step  # the first averages start from 0: this undoes the bias
    new_p, new_m, new_v = (memory.empty(p.shape, p.dtype) for _ in range(3))
    _adam(
        *(a.reshape(-1) for a in (p, g, m, v)),
        *map(number, (lr / correction1, beta1, 1 - beta1, beta2, 1 - beta2, correction2, eps, weight_decay)),
        *(a.reshape(-1) for a in (new_p, new_m, new_v)),
    )
    return new_p, new_m, new_v
