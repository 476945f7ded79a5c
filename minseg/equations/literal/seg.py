"""Label maps and scores, literally."""

import numpy as np


def seg_onehot(t, K):
    N, H, W = t.shape
    y = np.zeros((N, K, H, W))
    for n in range(N):
        for k in range(K):
            for i in range(H):
                for j in range(W):
                    if t[n, i, j] == k:
                        y[n, k, i, j] = 1
    return y


def seg_argmax(z):
    N, K, H, W = z.shape
    t = np.zeros((N, H, W), int)
    for n in range(N):
        for i in range(H):
            for j in range(W):
                for k in range(K):
                    if z[n, k, i, j] > z[n, t[n, i, j], i, j]:
                        t[n, i, j] = k
    return t
