"""One way to solve each exercise of notebook 10, slowly and literally. Others are as good."""

import numpy as np


def atrous(x, w, d):
    """Exercise 10.1: count the weights from the middle one, and step d pixels for each."""
    (H, W), (R, S) = x.shape, w.shape
    y = np.zeros((H, W))
    for i in range(H):
        for j in range(W):
            for p in range(R):
                for q in range(S):
                    row, column = i + d * (p - R // 2), j + d * (q - S // 2)
                    if 0 <= row < H and 0 <= column < W:
                        y[i, j] += w[p, q] * x[row, column]
    return y


def layers_needed(side, doubling):
    """Exercise 10.2: add layers until it is enough."""
    layers, seen, dilation = 0, 1, 1
    while seen < side:
        seen += 2 * dilation
        layers += 1
        if doubling:
            dilation *= 2
    return layers


def grid_means(x, I, J):
    """Exercise 10.3: // rounds down, and so -(-a // b) rounds up."""
    H, W = x.shape
    y = np.zeros((I, J))
    for i in range(I):
        for j in range(J):
            a, b = i * H // I, -(-(i + 1) * H // I)
            d, e = j * W // J, -(-(j + 1) * W // J)
            y[i, j] = x[a:b, d:e].mean()
    return y


def mean_field(u, q, mu, k):
    """Exercise 10.4: what a pixel hears of each label, what that costs it, and shares of the exponentials."""
    N, L = u.shape
    Q = np.zeros((N, L))
    for i in range(N):
        heard = sum(k[i, j] * q[j] for j in range(N) if j != i)
        for l in range(L):
            Q[i, l] = np.exp(-u[i, l] - sum(mu[l, a] * heard[a] for a in range(L)))
        Q[i] /= Q[i].sum()
    return Q


def grad_cam(A, g):
    """Exercise 10.5: add up the channels, each with its mean gradient; nothing below 0."""
    S = np.zeros(A.shape[1:])
    for features, gradient in zip(A, g):
        S += gradient.mean() * features
    return np.maximum(S, 0)
