"""Resampling, literally."""

import numpy as np


def up_nearest(x, I, J):
    N, C, H, W = x.shape
    y = np.zeros((N, C, I, J))
    for n in range(N):
        for c in range(C):
            for i in range(I):
                for j in range(J):
                    y[n, c, i, j] = x[n, c, i * H // I, j * W // J]
    return y


def up_nearest_grad(y_bar, H, W):
    N, C, I, J = y_bar.shape
    g = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for u in range(H):
                for v in range(W):
                    for i in range(I):
                        for j in range(J):
                            if i * H // I == u and j * W // J == v:
                                g[n, c, u, v] += y_bar[n, c, i, j]
    return g


def up_position(H, I):
    return [min(max(0, (i + 0.5) * H / I - 0.5), H - 1) for i in range(I)]


def up_bilinear(x, a, d):
    N, C, H, W = x.shape
    y = np.zeros((N, C, len(a), len(d)))
    for n in range(N):
        for c in range(C):
            for i in range(len(a)):
                for j in range(len(d)):
                    for u in range(H):
                        for v in range(W):
                            down, across = max(0, 1 - abs(a[i] - u)), max(0, 1 - abs(d[j] - v))
                            y[n, c, i, j] += down * across * x[n, c, u, v]
    return y


def up_bilinear_grad(y_bar, a, d, H, W):
    N, C, I, J = y_bar.shape
    g = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for u in range(H):
                for v in range(W):
                    for i in range(I):
                        for j in range(J):
                            down, across = max(0, 1 - abs(a[i] - u)), max(0, 1 - abs(d[j] - v))
                            g[n, c, u, v] += down * across * y_bar[n, c, i, j]
    return g
