"""Convolution, literally."""

import numpy as np


def conv_corr2d(x, w, b, s, d, P):
    N, C, H, W = x.shape
    O, _, R, S = w.shape
    I, J = conv_size(H, R, s, d, P), conv_size(W, S, s, d, P)
    y = np.zeros((N, O, I, J))
    for n in range(N):
        for o in range(O):
            for i in range(I):
                for j in range(J):
                    y[n, o, i, j] = b[o]
                    for c in range(C):
                        for p in range(R):
                            for q in range(S):
                                row, column = s * i + d * p - P, s * j + d * q - P
                                if 0 <= row < H and 0 <= column < W:  # x = 0 outside
                                    y[n, o, i, j] += w[o, c, p, q] * x[n, c, row, column]
    return y


def conv_corr2d_relu(x, w, b, s, d, P):
    y = conv_corr2d(x, w, b, s, d, P)
    N, O, I, J = y.shape
    for n in range(N):
        for o in range(O):
            for i in range(I):
                for j in range(J):
                    if y[n, o, i, j] < 0:
                        y[n, o, i, j] = 0
    return y


def conv_true2d(x, w):
    H, W = x.shape
    R, S = w.shape
    y = np.zeros((H + R - 1, W + S - 1))
    for i in range(H + R - 1):
        for j in range(W + S - 1):
            for p in range(R):
                for q in range(S):
                    if 0 <= i - p < H and 0 <= j - q < W:  # x = 0 outside
                        y[i, j] += w[p, q] * x[i - p, j - q]
    return y


def conv_size(H, R, s, d, P):
    return (H + 2 * P - d * (R - 1) - 1) // s + 1


def conv_grad_x(y_bar, w, s, P, H, W):
    N, O, I, J = y_bar.shape
    _, C, R, S = w.shape
    g = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for u in range(H):
                for v in range(W):
                    for o in range(O):
                        for i in range(I):
                            for j in range(J):
                                p, q = u + P - s * i, v + P - s * j
                                if 0 <= p < R and 0 <= q < S:  # w = 0 outside
                                    g[n, c, u, v] += y_bar[n, o, i, j] * w[o, c, p, q]
    return g


def conv_grad_x_dilated(y_bar, w, s, d, P, H, W):
    N, O, I, J = y_bar.shape
    _, C, R, S = w.shape
    g = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for u in range(H):
                for v in range(W):
                    for o in range(O):
                        for i in range(I):
                            for j in range(J):
                                for p in range(R):
                                    for q in range(S):
                                        if s * i + d * p - P == u and s * j + d * q - P == v:
                                            g[n, c, u, v] += y_bar[n, o, i, j] * w[o, c, p, q]
    return g


def conv_grad_w(y_bar, x, s, d, P, R, S):
    N, C, H, W = x.shape
    _, O, I, J = y_bar.shape
    g = np.zeros((O, C, R, S))
    for o in range(O):
        for c in range(C):
            for p in range(R):
                for q in range(S):
                    for n in range(N):
                        for i in range(I):
                            for j in range(J):
                                row, column = s * i + d * p - P, s * j + d * q - P
                                if 0 <= row < H and 0 <= column < W:
                                    g[o, c, p, q] += y_bar[n, o, i, j] * x[n, c, row, column]
    return g


def conv_grad_b(y_bar):
    N, O, I, J = y_bar.shape
    g = np.zeros(O)
    for o in range(O):
        for n in range(N):
            for i in range(I):
                for j in range(J):
                    g[o] += y_bar[n, o, i, j]
    return g


def conv_grouped(x, w, b, G, s, d, P):
    N, C, H, W = x.shape
    O, _, R, S = w.shape
    I, J = conv_size(H, R, s, d, P), conv_size(W, S, s, d, P)
    y = np.zeros((N, O, I, J))
    for n in range(N):
        for o in range(O):
            group = o * G // O
            for i in range(I):
                for j in range(J):
                    y[n, o, i, j] = b[o]
                    for c in range(C // G):
                        for p in range(R):
                            for q in range(S):
                                row, column = s * i + d * p - P, s * j + d * q - P
                                if 0 <= row < H and 0 <= column < W:
                                    y[n, o, i, j] += w[o, c, p, q] * x[n, group * (C // G) + c, row, column]
    return y


def conv_grouped_grad_x(y_bar, w, G, s, d, P, C, H, W):
    N, O, I, J = y_bar.shape
    _, _, R, S = w.shape
    g = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            group = c * G // C
            for u in range(H):
                for v in range(W):
                    for o in range(group * O // G, (group + 1) * O // G):  # only this group's outputs saw the channel
                        for i in range(I):
                            for j in range(J):
                                for p in range(R):
                                    for q in range(S):
                                        if s * i + d * p - P == u and s * j + d * q - P == v:
                                            g[n, c, u, v] += y_bar[n, o, i, j] * w[o, c - group * C // G, p, q]
    return g


def conv_grouped_grad_w(y_bar, x, G, s, d, P, R, S):
    N, C, H, W = x.shape
    _, O, I, J = y_bar.shape
    g = np.zeros((O, C // G, R, S))
    for o in range(O):
        group = o * G // O
        for c in range(C // G):
            for p in range(R):
                for q in range(S):
                    for n in range(N):
                        for i in range(I):
                            for j in range(J):
                                row, column = s * i + d * p - P, s * j + d * q - P
                                if 0 <= row < H and 0 <= column < W:
                                    g[o, c, p, q] += y_bar[n, o, i, j] * x[n, group * (C // G) + c, row, column]
    return g


def conv_transpose2d(x, w, b, s, P, a):
    N, C, H, W = x.shape
    _, O, R, S = w.shape
    y = np.zeros((N, O, conv_transpose_size(H, R, s, 1, P, a), conv_transpose_size(W, S, s, 1, P, a)))
    for n in range(N):
        for o in range(O):
            for u in range(y.shape[2]):
                for v in range(y.shape[3]):
                    y[n, o, u, v] = b[o]
                    for c in range(C):
                        for i in range(H):
                            for j in range(W):
                                p, q = u + P - s * i, v + P - s * j
                                if 0 <= p < R and 0 <= q < S:  # w = 0 outside
                                    y[n, o, u, v] += x[n, c, i, j] * w[c, o, p, q]
    return y


def conv_transpose2d_dilated(x, w, b, s, d, P, a):
    N, C, H, W = x.shape
    _, O, R, S = w.shape
    y = np.zeros((N, O, conv_transpose_size(H, R, s, d, P, a), conv_transpose_size(W, S, s, d, P, a)))
    for n in range(N):
        for o in range(O):
            for u in range(y.shape[2]):
                for v in range(y.shape[3]):
                    y[n, o, u, v] = b[o]
                    for c in range(C):
                        for i in range(H):
                            for j in range(W):
                                for p in range(R):
                                    for q in range(S):
                                        if s * i + d * p - P == u and s * j + d * q - P == v:
                                            y[n, o, u, v] += x[n, c, i, j] * w[c, o, p, q]
    return y


def conv_transpose_size(H, R, s, d, P, a):
    return (H - 1) * s - 2 * P + d * (R - 1) + a + 1


def conv_transpose_grad_x(y_bar, w, s, d, P, H, W):
    N, O, rows, columns = y_bar.shape
    C, _, R, S = w.shape
    g = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    for o in range(O):
                        for p in range(R):
                            for q in range(S):
                                u, v = s * i + d * p - P, s * j + d * q - P
                                if 0 <= u < rows and 0 <= v < columns:
                                    g[n, c, i, j] += w[c, o, p, q] * y_bar[n, o, u, v]
    return g


def conv_transpose_grad_w(y_bar, x, s, d, P, R, S):
    N, C, H, W = x.shape
    _, O, rows, columns = y_bar.shape
    g = np.zeros((C, O, R, S))
    for c in range(C):
        for o in range(O):
            for p in range(R):
                for q in range(S):
                    for n in range(N):
                        for i in range(H):
                            for j in range(W):
                                u, v = s * i + d * p - P, s * j + d * q - P
                                if 0 <= u < rows and 0 <= v < columns:
                                    g[c, o, p, q] += x[n, c, i, j] * y_bar[n, o, u, v]
    return g


def conv_im2col(x, s, d, P, R, S):
    N, C, H, W = x.shape
    I, J = conv_size(H, R, s, d, P), conv_size(W, S, s, d, P)
    A = np.zeros((N, C, R, S, I, J))
    for n in range(N):
        for c in range(C):
            for p in range(R):
                for q in range(S):
                    for i in range(I):
                        for j in range(J):
                            row, column = s * i + d * p - P, s * j + d * q - P
                            if 0 <= row < H and 0 <= column < W:
                                A[n, c, p, q, i, j] = x[n, c, row, column]
    return A


def conv_col2im(A_bar, s, d, P, H, W):
    N, C, R, S, I, J = A_bar.shape
    g = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for u in range(H):
                for v in range(W):
                    for p in range(R):
                        for q in range(S):
                            for i in range(I):
                                for j in range(J):
                                    if s * i + d * p - P == u and s * j + d * q - P == v:
                                        g[n, c, u, v] += A_bar[n, c, p, q, i, j]
    return g


def conv_toeplitz(w, s, d, P, H, W):
    O, C, R, S = w.shape
    I, J = conv_size(H, R, s, d, P), conv_size(W, S, s, d, P)
    T = np.zeros((O, I, J, C, H, W))
    for o in range(O):
        for i in range(I):
            for j in range(J):
                for c in range(C):
                    for u in range(H):
                        for v in range(W):
                            for p in range(R):
                                for q in range(S):
                                    if s * i + d * p - P == u and s * j + d * q - P == v:
                                        T[o, i, j, c, u, v] += w[o, c, p, q]
    return T


def conv_winograd_f2(x, w, A, B, G):
    """First the kernel and the pixels, then the products, then the outputs."""
    n, m = A.shape
    U, V, y = np.zeros((n, n)), np.zeros((n, n)), np.zeros((m, m))
    for p in range(n):
        for q in range(n):
            for r in range(3):
                for s in range(3):
                    U[p, q] += G[p, r] * w[r, s] * G[q, s]
            for u in range(n):
                for v in range(n):
                    V[p, q] += B[u, p] * x[u, v] * B[v, q]
    for i in range(m):
        for j in range(m):
            for p in range(n):
                for q in range(n):
                    y[i, j] += A[p, i] * (U[p, q] * V[p, q]) * A[q, j]
    return y


conv_winograd_f4 = conv_winograd_f2  # with other matrices


def conv_receptive_field(k, d, s):
    r = 1
    step = 1  # pixels of the input between neighbours of this layer's input: the product of the strides before it
    for l in range(len(k)):
        r += (k[l] - 1) * d[l] * step
        step *= s[l]
    return r
