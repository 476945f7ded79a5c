"""Literal loops of attention."""

import math

import numpy as np


def att_score(Q, K):
    M, d = Q.shape
    N = len(K)
    s = np.zeros((M, N))
    for i in range(M):
        for j in range(N):
            for c in range(d):
                s[i, j] += Q[i, c] * K[j, c]
            s[i, j] /= math.sqrt(d)
    return s


def att_weights(s):
    M, N = s.shape
    A = np.zeros((M, N))
    for i in range(M):
        total = 0.0
        for l in range(N):
            total += math.exp(s[i, l])
        for j in range(N):
            A[i, j] = math.exp(s[i, j]) / total
    return A


def att_mix(A, V):
    M, (N, C) = len(A), V.shape
    Y = np.zeros((M, C))
    for i in range(M):
        for c in range(C):
            for j in range(N):
                Y[i, c] += A[i, j] * V[j, c]
    return Y


def att_log_sum(s):
    M, N = s.shape
    L = np.zeros(M)
    for i in range(M):
        total = 0.0
        for j in range(N):
            total += math.exp(s[i, j])
        L[i] = math.log(total)
    return L


def att_attention(s, L, V):
    (M, N), C = s.shape, V.shape[1]
    Y = np.zeros((M, C))
    for i in range(M):
        for j in range(N):
            share = math.exp(s[i, j] - L[i])
            for c in range(C):
                Y[i, c] += share * V[j, c]
    return Y


def att_grad_s(A, Y_bar, V, Y):
    (M, N), C = A.shape, V.shape[1]
    g = np.zeros((M, N))
    for i in range(M):
        for j in range(N):
            for c in range(C):
                g[i, j] += Y_bar[i, c] * (V[j, c] - Y[i, c])
            g[i, j] *= A[i, j]
    return g


def att_grad_q(s_bar, K):
    (M, N), d = s_bar.shape, K.shape[1]
    g = np.zeros((M, d))
    for i in range(M):
        for j in range(N):
            for c in range(d):
                g[i, c] += s_bar[i, j] * K[j, c] / math.sqrt(d)
    return g


def att_grad_k(s_bar, Q):
    (M, N), d = s_bar.shape, Q.shape[1]
    g = np.zeros((N, d))
    for i in range(M):
        for j in range(N):
            for c in range(d):
                g[j, c] += s_bar[i, j] * Q[i, c] / math.sqrt(d)
    return g


def att_grad_v(A, Y_bar):
    (M, N), C = A.shape, Y_bar.shape[1]
    g = np.zeros((N, C))
    for i in range(M):
        for j in range(N):
            for c in range(C):
                g[j, c] += A[i, j] * Y_bar[i, c]
    return g


def att_multihead(W, Z):
    H, N, D = Z.shape
    O = len(W)
    Y = np.zeros((N, O))
    for i in range(N):
        for o in range(O):
            for h in range(H):
                for c in range(D):
                    Y[i, o] += W[o, h * D + c] * Z[h, i, c]
    return Y


def att_positional_sin(b, D, N):
    P = np.zeros((N, D))
    for i in range(N):
        for c in range(D):
            pair = c // 2
            angle = i / b ** (2 * pair / D)
            P[i, c] = math.sin(angle) if c % 2 == 0 else math.cos(angle)
    return P


def att_patch_embed(x, w, b):
    (N, C, H, W), (O, _, k, _) = x.shape, w.shape
    y = np.zeros((N, O, H // k, W // k))
    for n in range(N):
        for o in range(O):
            for i in range(H // k):
                for j in range(W // k):
                    y[n, o, i, j] = b[o]
                    for c in range(C):
                        for p in range(k):
                            for q in range(k):
                                y[n, o, i, j] += w[o, c, p, q] * x[n, c, k * i + p, k * j + q]
    return y


def att_decoder_step(h, e, U, C, S, phi):
    enlarged = U(h)
    together = C(enlarged, e)
    return phi(S(together))
