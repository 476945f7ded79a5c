"""Activations on a GPU, element by element: activation.cu."""

import numpy as np

from minseg.kernels.cuda.device import device_of
from minseg.kernels.cuda.grid import striding


def elementwise(file: str, kernel: str, *arrays):
    """Run the kernel on arrays of one shape, and return its output in that shape."""
    x = arrays[0]
    device = device_of(x)
    out = device.empty(x.shape, x.dtype)
    device.launch(file, kernel, x.dtype, *striding(x.size), *arrays, out, np.int64(x.size))
    return out


def relu(x):
    """eq: act.relu"""
    return elementwise("activation", "relu", x)


def relu_grad_x(gy, y):
    """eq: act.relu_grad"""
    return elementwise("activation", "relu_grad_x", gy, y)


def sigmoid(x):
    """eq: act.sigmoid. For x < 0 the fraction is extended by exp(x), so that exp never overflows."""
    return elementwise("activation", "sigmoid", x)


def sigmoid_grad_x(gy, y):
    """eq: act.sigmoid_grad"""
    return elementwise("activation", "sigmoid_grad_x", gy, y)


def tanh(x):
    """eq: act.tanh"""
    return elementwise("activation", "tanh_of", x)


def tanh_grad_x(gy, y):
    """eq: act.tanh_grad"""
    return elementwise("activation", "tanh_grad_x", gy, y)
