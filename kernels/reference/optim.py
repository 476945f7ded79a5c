"""Optimiser updates in NumPy: new arrays for the parameter and its state, from the gradient."""

import numpy as np


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
    g = g + weight_decay * p
    v = momentum * v + (1 - dampening) * g
    direction = g + momentum * v if nesterov else v
    return p - lr * direction, v


def rmsprop_update(p, g, v, lr: float, alpha: float, eps: float, weight_decay: float):
    """eq: opt.rmsprop"""
    g = g + weight_decay * p
    v = alpha * v + (1 - alpha) * np.square(g)  # eq: opt.rmsprop_v
    return p - lr * g / (np.sqrt(v) + eps), v


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
    g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * np.square(g)
    m_hat = m / (1 - beta1**step)  # the first averages start from 0: this undoes the bias
    v_hat = v / (1 - beta2**step)
    return p - lr * m_hat / (np.sqrt(v_hat) + eps), m, v
