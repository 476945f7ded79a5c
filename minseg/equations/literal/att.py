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
