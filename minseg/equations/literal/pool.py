"""Pooling, literally."""

import math

import numpy as np


def pool_max2d(x, k, s):
    N, C, H, W = x.shape
    y = np.zeros((N, C, (H - k) // s + 1, (W - k) // s + 1))
    for n in range(N):
        for c in range(C):
            for i in range(y.shape[2]):
                for j in range(y.shape[3]):
                    best = -math.inf
                    for p in range(k):
                        for q in range(k):
                            best = max(best, x[n, c, s * i + p, s * j + q])
                    y[n, c, i, j] = best
    return y


def pool_max2d_padded(x, s, P, R, S):
    N, C, H, W = x.shape
    y = np.zeros((N, C, (H + 2 * P - R) // s + 1, (W + 2 * P - S) // s + 1))
    for n in range(N):
        for c in range(C):
            for i in range(y.shape[2]):
                for j in range(y.shape[3]):
                    best = -math.inf
                    for p in range(R):
                        for q in range(S):
                            row, column = s * i + p - P, s * j + q - P
                            if 0 <= row < H and 0 <= column < W:  # x is minus infinity outside
                                best = max(best, x[n, c, row, column])
                    y[n, c, i, j] = best
    return y


def pool_max2d_place(x, s, P, R, S):
    N, C, H, W = x.shape
    t = np.zeros((N, C, (H + 2 * P - R) // s + 1, (W + 2 * P - S) // s + 1), int)
    for n in range(N):
        for c in range(C):
            for i in range(t.shape[2]):
                for j in range(t.shape[3]):
                    best = -math.inf
                    for p in range(R):
                        for q in range(S):
                            row, column = s * i + p - P, s * j + q - P
                            if 0 <= row < H and 0 <= column < W and x[n, c, row, column] > best:
                                best = x[n, c, row, column]
                                t[n, c, i, j] = p * S + q
    return t


def pool_max2d_indices(t, s, P, W, S):
    a = np.zeros(t.shape, int)
    for n, c, i, j in np.ndindex(*t.shape):
        p, q = divmod(t[n, c, i, j], S)
        row, column = s * i + p - P, s * j + q - P
        a[n, c, i, j] = row * W + column
    return a


def pool_max2d_grad(y_bar, a, H, W):
    N, C, I, J = y_bar.shape
    g = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for u in range(H):
                for v in range(W):
                    for i in range(I):
                        for j in range(J):
                            if a[n, c, i, j] == u * W + v:
                                g[n, c, u, v] += y_bar[n, c, i, j]
    return g


def pool_global_max(x):
    N, C, H, W = x.shape
    y = np.zeros((N, C))
    for n in range(N):
        for c in range(C):
            best = -math.inf
            for i in range(H):
                for j in range(W):
                    best = max(best, x[n, c, i, j])
            y[n, c] = best
    return y


def pool_avg2d(x, k, s):
    N, C, H, W = x.shape
    y = np.zeros((N, C, (H - k) // s + 1, (W - k) // s + 1))
    for n in range(N):
        for c in range(C):
            for i in range(y.shape[2]):
                for j in range(y.shape[3]):
                    total = 0
                    for p in range(k):
                        for q in range(k):
                            total += x[n, c, s * i + p, s * j + q]
                    y[n, c, i, j] = total / k**2
    return y


def _window_sums(x, s, P, R, S):
    """The sum of each window of x, which is 0 outside."""
    N, C, H, W = x.shape
    sums = np.zeros((N, C, (H + 2 * P - R) // s + 1, (W + 2 * P - S) // s + 1))
    for n in range(N):
        for c in range(C):
            for i in range(sums.shape[2]):
                for j in range(sums.shape[3]):
                    for p in range(R):
                        for q in range(S):
                            row, column = s * i + p - P, s * j + q - P
                            if 0 <= row < H and 0 <= column < W:
                                sums[n, c, i, j] += x[n, c, row, column]
    return sums


def pool_avg2d_padded(x, s, P, R, S):
    return _window_sums(x, s, P, R, S) / (R * S)


def pool_avg2d_inside(x, m, s, P, R, S):
    return _window_sums(x, s, P, R, S) / m


def pool_window_count(H, W, s, P, R, S):
    m = np.zeros(((H + 2 * P - R) // s + 1, (W + 2 * P - S) // s + 1))
    for i in range(m.shape[0]):
        for j in range(m.shape[1]):
            for p in range(R):
                for q in range(S):
                    if 0 <= s * i + p - P < H and 0 <= s * j + q - P < W:
                        m[i, j] += 1
    return m


def _spread(shares, s, P, R, S, H, W):
    """Each share added to all pixels of its window."""
    N, C, I, J = shares.shape
    g = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for u in range(H):
                for v in range(W):
                    for i in range(I):
                        for j in range(J):
                            for p in range(R):
                                for q in range(S):
                                    if s * i + p - P == u and s * j + q - P == v:
                                        g[n, c, u, v] += shares[n, c, i, j]
    return g


def pool_avg2d_grad(y_bar, s, P, R, S, H, W):
    return _spread(y_bar / (R * S), s, P, R, S, H, W)


def pool_avg2d_inside_grad(y_bar, m, s, P, R, S, H, W):
    return _spread(y_bar / m, s, P, R, S, H, W)


def pool_global_avg(x):
    N, C, H, W = x.shape
    y = np.zeros((N, C))
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    y[n, c] += x[n, c, i, j]
            y[n, c] /= H * W
    return y


def pool_adaptive_start(H, I):
    return [i * H // I for i in range(I)]


def pool_adaptive_stop(H, I):
    return [math.ceil((i + 1) * H / I) for i in range(I)]


def pool_adaptive_avg(x, a, b, d, e):
    N, C, _, _ = x.shape
    y = np.zeros((N, C, len(a), len(d)))
    for n in range(N):
        for c in range(C):
            for i in range(len(a)):
                for j in range(len(d)):
                    total = 0
                    for u in range(a[i], b[i]):
                        for v in range(d[j], e[j]):
                            total += x[n, c, u, v]
                    y[n, c, i, j] = total / ((b[i] - a[i]) * (e[j] - d[j]))
    return y


def pool_adaptive_avg_grad(y_bar, a, b, d, e, H, W):
    N, C, I, J = y_bar.shape
    g = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for u in range(H):
                for v in range(W):
                    for i in range(I):
                        for j in range(J):
                            if a[i] <= u < b[i] and d[j] <= v < e[j]:
                                g[n, c, u, v] += y_bar[n, c, i, j] / ((b[i] - a[i]) * (e[j] - d[j]))
    return g


def pool_unpool(x, a, H, W):
    N, C, I, J = x.shape
    y = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for u in range(H):
                for v in range(W):
                    for i in range(I):
                        for j in range(J):
                            if a[n, c, i, j] == u * W + v:
                                y[n, c, u, v] += x[n, c, i, j]
    return y


def pool_unpool_grad(y_bar, a):
    N, C, H, W = y_bar.shape
    g = np.zeros(a.shape)
    for n in range(N):
        for c in range(C):
            for i in range(a.shape[2]):
                for j in range(a.shape[3]):
                    for u in range(H):
                        for v in range(W):
                            if a[n, c, i, j] == u * W + v:
                                g[n, c, i, j] += y_bar[n, c, u, v]
    return g
