"""Preparing images and masks, literally."""

import numpy as np

from minseg.equations.literal.up import up_bilinear, up_nearest


def data_scale255(x):
    H, W, C = x.shape
    u = np.zeros((C, H, W))
    for c in range(C):
        for i in range(H):
            for j in range(W):
                u[c, i, j] = x[i, j, c] / 255
    return u


def data_standardize(u, mu, sigma):
    H, W, C = u.shape
    y = np.zeros((C, H, W))
    for c in range(C):
        for i in range(H):
            for j in range(W):
                y[c, i, j] = (u[i, j, c] - mu[c]) / sigma[c]
    return y


def data_resize_nearest(t, I, J):
    return up_nearest(t[None, None], I, J)[0, 0]


def data_resize_bilinear(x, a, d):
    return up_bilinear(x[None], a, d)[0]


def data_flip(x):
    C, H, W = x.shape
    y = np.zeros((C, H, W))
    for c in range(C):
        for i in range(H):
            for j in range(W):
                y[c, i, j] = x[c, i, W - 1 - j]
    return y


def data_crop(x, a, b, I, J):
    C = x.shape[0]
    y = np.zeros((C, I, J))
    for c in range(C):
        for i in range(I):
            for j in range(J):
                y[c, i, j] = x[c, i + a, j + b]
    return y


def data_rotate(x):
    C, H, W = x.shape
    y = np.zeros((C, W, H))
    for c in range(C):
        for i in range(W):
            for j in range(H):
                y[c, i, j] = x[c, j, W - 1 - i]
    return y
