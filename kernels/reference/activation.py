"""Activations in NumPy, element by element. Gradients are computed from the output y: the input need not be kept."""

import numpy as np


def relu(x):
    """eq: act.relu. np.maximum hands NaN on."""
    return np.maximum(x, 0)


def relu_grad_x(gy, y):
    """eq: act.relu_grad"""
    return np.where(y > 0, gy, 0)


def sigmoid(x):
    """eq: act.sigmoid. For x < 0 the fraction is extended by exp(x), so that exp never overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def sigmoid_grad_x(gy, y):
    """eq: act.sigmoid_grad"""
    return gy * y * (1 - y)


def tanh(x):
    """eq: act.tanh"""
    return np.tanh(x)


def tanh_grad_x(gy, y):
    """eq: act.tanh_grad"""
    return gy * (1 - y * y)
