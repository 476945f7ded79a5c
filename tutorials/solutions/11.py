"""One way to solve each exercise of notebook 11, slowly and literally. Others are as good."""

import numpy as np


def attention(Q, K, V):
    """Exercise 11.1: scores, a softmax of each row, a mixture."""
    s = Q @ K.T / np.sqrt(Q.shape[1])
    e = np.exp(s - s.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True) @ V


def positions(length, channels, base):
    """Exercise 11.2: columns 2 m and 2 m + 1 share the wave length of m."""
    P = np.zeros((length, channels))
    for i in range(length):
        for c in range(channels):
            angle = i * base ** (-2 * (c // 2) / channels)
            P[i, c] = np.sin(angle) if c % 2 == 0 else np.cos(angle)
    return P


def patches(x, k):
    """Exercise 11.3: a slice for each patch, flattened."""
    rows = []
    for i in range(0, x.shape[1], k):
        for j in range(0, x.shape[2], k):
            rows.append(x[:, i : i + k, j : j + k].ravel())
    return np.array(rows)


def may_share_projection(s):
    """Exercise 11.4: q_i q_j = q_j q_i, and no vector has a negative product with itself."""
    return bool(np.allclose(s, s.T) and (np.diag(s) >= 0).all())
