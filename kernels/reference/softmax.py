"""Softmax and its logarithm in NumPy, along any axis. With the maximum m taken off, the largest exponential is exp(0).

A row that holds +inf or NaN, or nothing but -inf, has no softmax: inf - inf makes all of it NaN, as in PyTorch.
"""

import numpy as np


def softmax(x, axis: int):
    """eq: act.softmax"""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def softmax_grad_x(gy, y, axis: int):
    """eq: act.softmax_grad"""
    return y * (gy - (gy * y).sum(axis=axis, keepdims=True))


def log_softmax(x, axis: int):
    """eq: act.log_softmax"""
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def log_softmax_grad_x(gy, y, axis: int):
    """eq: act.log_softmax_grad"""
    return gy - np.exp(y) * gy.sum(axis=axis, keepdims=True)
