"""The affine map, literally."""

import numpy as np


def dense_affine(x, W, b):
    N, I = x.shape
    O, _ = W.shape
    z = np.zeros((N, O))
    for n in range(N):
        for o in range(O):
            z[n, o] = b[o]
            for i in range(I):
                z[n, o] += W[o, i] * x[n, i]
    return z


def dense_grad_x(z_bar, W):
    N, O = z_bar.shape
    _, I = W.shape
    g = np.zeros((N, I))
    for n in range(N):
        for i in range(I):
            for o in range(O):
                g[n, i] += z_bar[n, o] * W[o, i]
    return g


def dense_grad_w(z_bar, x):
    N, O = z_bar.shape
    _, I = x.shape
    g = np.zeros((O, I))
    for o in range(O):
        for i in range(I):
            for n in range(N):
                g[o, i] += z_bar[n, o] * x[n, i]
    return g


def dense_grad_b(z_bar):
    N, O = z_bar.shape
    g = np.zeros(O)
    for o in range(O):
        for n in range(N):
            g[o] += z_bar[n, o]
    return g
