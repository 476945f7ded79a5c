"""Literal loops of context."""

import math

import numpy as np


def ctx_aspp(x, w, d):
    N, C, H, W = x.shape
    L, O = w.shape[:2]
    y = np.zeros((N, O, H, W))
    for n in range(N):
        for o in range(O):
            for i in range(H):
                for j in range(W):
                    for l in range(L):
                        for c in range(C):
                            for p in range(3):
                                for q in range(3):
                                    row, column = i + d[l] * (p - 1), j + d[l] * (q - 1)
                                    if 0 <= row < H and 0 <= column < W:
                                        y[n, o, i, j] += w[l, o, c, p, q] * x[n, c, row, column]
    return y


def ctx_pyramid_pool(x, u):
    C, H, W = x.shape
    L, D = u.shape[:2]
    y = np.zeros((C + L * D, H, W))
    for i in range(H):
        for j in range(W):
            for c in range(C):
                y[c, i, j] = x[c, i, j]
            for l in range(L):
                for c in range(D):
                    y[C + l * D + c, i, j] = u[l, c, i, j]
    return y


def ctx_crf_meanfield(u, q, mu, k):
    N, L = u.shape
    Q = np.zeros((N, L))
    for i in range(N):
        for l in range(L):
            cost = u[i, l]
            for a in range(L):
                for j in range(N):
                    if j != i:
                        cost += mu[l, a] * k[i, j] * q[j, a]
            Q[i, l] = math.exp(-cost)
        total = 0.0
        for l in range(L):
            total += Q[i, l]
        for l in range(L):
            Q[i, l] /= total
    return Q
