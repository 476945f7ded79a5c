"""Literal loops of connections around layers."""

import numpy as np


def res_identity(x, F):
    return x + F(x)


def res_identity_grad(y_bar, J):
    n = len(y_bar)
    g = np.zeros(n)
    for i in range(n):
        g[i] = y_bar[i]
        for j in range(n):
            g[i] += J[j, i] * y_bar[j]
    return g


def res_projection(x, F, w, s):
    N, O, I, J = F.shape
    C = x.shape[1]
    y = np.zeros((N, O, I, J))
    for n in range(N):
        for o in range(O):
            for i in range(I):
                for j in range(J):
                    y[n, o, i, j] = F[n, o, i, j]
                    for c in range(C):
                        y[n, o, i, j] += w[o, c] * x[n, c, s * i, s * j]
    return y


def res_dense_concat(x):
    L, N, G, H, W = x.shape
    y = np.zeros((N, L * G, H, W))
    for l in range(L):
        for n in range(N):
            for c in range(G):
                for i in range(H):
                    for j in range(W):
                        y[n, l * G + c, i, j] = x[l, n, c, i, j]
    return y


def res_inception(a, b, d, e):
    _, H, W = a.shape
    y = []
    for branch in (a, b, d, e):
        for c in range(len(branch)):
            channel = np.zeros((H, W))
            for i in range(H):
                for j in range(W):
                    channel[i, j] = branch[c, i, j]
            y.append(channel)
    return np.stack(y)
