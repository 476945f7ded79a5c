"""One way to solve each exercise of notebook 04, slowly and literally. Others are as good."""

import numpy as np


def affine(x, W, b):
    """Exercise 4.1: row n of x meets row o of W, so W is transposed."""
    return x @ W.T + b


def relu_backward(z, a_bar):
    """Exercise 4.2: the gradient passes where the neuron is awake."""
    return np.where(z > 0, a_bar, 0.0)


def he_std(shape):
    """Exercise 4.3: one output sums over channels, rows and columns of the window."""
    _, C, R, S = shape
    return np.sqrt(2 / (C * R * S))


def batch_norm(x, gamma, beta, eps):
    """Exercise 4.4: one channel at a time."""
    y = np.zeros_like(x)
    for c in range(x.shape[1]):
        channel = x[:, c]
        y[:, c] = gamma[c] * (channel - channel.mean()) / np.sqrt(channel.var() + eps) + beta[c]
    return y


def fold(w, b, gamma, beta, mean, var, eps):
    """Exercise 4.5: write out gamma (w x + b - mean) / root + beta, and collect what stands before x."""
    factor = gamma / np.sqrt(var + eps)
    new_w = np.zeros_like(w)
    for o in range(len(w)):
        new_w[o] = factor[o] * w[o]
    return new_w, factor * (b - mean) + beta
