"""Literal loops of regularisation."""

import numpy as np


def reg_l1(L, lambda_, theta):
    R = L
    for i in range(len(theta)):
        R += lambda_ * abs(theta[i])
    return R


def reg_l1_grad(R_bar, lambda_, theta):
    g = np.zeros(len(theta))
    for i in range(len(theta)):
        if theta[i] > 0:
            g[i] = R_bar * lambda_
        elif theta[i] < 0:
            g[i] = -R_bar * lambda_
    return g


def reg_l2(L, lambda_, theta):
    R = L
    for i in range(len(theta)):
        R += lambda_ / 2 * theta[i] ** 2
    return R


def reg_l2_grad(R_bar, lambda_, theta):
    g = np.zeros(len(theta))
    for i in range(len(theta)):
        g[i] = R_bar * lambda_ * theta[i]
    return g


def reg_dropout(x, m, p):
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = m[i] * x[i] / (1 - p)
    return y


def reg_dropout_grad(y_bar, m, p):
    g = np.zeros(len(y_bar))
    for i in range(len(y_bar)):
        g[i] = m[i] * y_bar[i] / (1 - p)
    return g


def reg_dropout2d(x, m, p):
    N, C, H, W = x.shape
    y = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    y[n, c, i, j] = m[n, c] * x[n, c, i, j] / (1 - p)
    return y


def reg_dropout2d_grad(y_bar, m, p):
    N, C, H, W = y_bar.shape
    g = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    g[n, c, i, j] = m[n, c] * y_bar[n, c, i, j] / (1 - p)
    return g


def reg_early_stopping(L, t, q):
    best = 0
    for i in range(1, t + 1):
        if L[i] < L[best]:
            best = i
    return 1 if t - best >= q else 0
