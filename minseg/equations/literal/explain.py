"""Literal loops of explanations."""

import numpy as np


def explain_saliency(g):
    C, H, W = g.shape
    S = np.zeros((H, W))
    for i in range(H):
        for j in range(W):
            for c in range(C):
                S[i, j] = max(S[i, j], abs(g[c, i, j]))
    return S


def explain_gradcam(A, g):
    K, H, W = A.shape
    S = np.zeros((H, W))
    for k in range(K):
        weight = 0.0
        for i in range(H):
            for j in range(W):
                weight += g[k, i, j] / (H * W)
        for u in range(H):
            for v in range(W):
                S[u, v] += weight * A[k, u, v]
    for u in range(H):
        for v in range(W):
            S[u, v] = max(0.0, S[u, v])
    return S
