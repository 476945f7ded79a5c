"""Optimiser updates on a GPU, each in one launch: optim.cu. New arrays for the parameter and its state, from the gradient."""

import numpy as np

from minseg.kernels.cuda.device import device_of
from minseg.kernels.cuda.grid import striding


def _renewed(kernel: str, p, g, states, numbers, *flags):
    """Launch the kernel on p, g and the states; the numbers become scalars of p's dtype. New p and states."""
    device = device_of(p)
    new = tuple(device.empty(p.shape, p.dtype) for _ in (p, *states))
    scalars = map(p.dtype.type, numbers)
    device.launch("optim", kernel, p.dtype, *striding(p.size), p, g, *states, *new, np.int64(p.size), *scalars, *flags)
    return new


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
    return _renewed("sgd_update", p, g, (v,), (lr, momentum, 1 - dampening, weight_decay), np.bool_(nesterov))


def rmsprop_update(p, g, v, lr: float, alpha: float, eps: float, weight_decay: float):
    """eq: opt.rmsprop"""
    return _renewed("rmsprop_update", p, g, (v,), (lr, alpha, 1 - alpha, eps, weight_decay))


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
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step  # the first averages start from 0: this undoes the bias
    numbers = (lr / correction1, beta1, 1 - beta1, beta2, 1 - beta2, correction2, eps, weight_decay)
    return _renewed("adam_update", p, g, (m, v), numbers)
