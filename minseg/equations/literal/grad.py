"""Literal loops of gradients in general."""

import numpy as np


def grad_central(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


def grad_backward(a, J, y_bar):
    m, n = J.shape
    g = np.zeros(n)
    for i in range(n):
        g[i] = a[i]
        for j in range(m):
            g[i] += J[j, i] * y_bar[j]
    return g


def grad_chain(h_bar, w, d):
    g = h_bar
    for l in range(len(w)):
        g *= w[l] * d[l]
    return g


def grad_relative_error(a, n, f):
    return abs(a - n) / max(abs(a), abs(n), f)
