"""One way to solve each exercise of notebook 02, slowly and literally. Others are as good."""

import numpy as np


def correlate(x, w):
    """Exercise 2.1: a loop for each index; it is the add in x[i + p, j + q] that matters."""
    H, W = x.shape
    R, S = w.shape
    y = np.zeros((H - R + 1, W - S + 1))
    for i in range(H - R + 1):
        for j in range(W - S + 1):
            for p in range(R):
                for q in range(S):
                    y[i, j] += w[p, q] * x[i + p, j + q]
    return y


def peaceful_kernel():
    """Exercise 2.2: w[p, q] = w[2 - p, 2 - q], and no other symmetry is needed."""
    return np.array([[1, 2, 3], [4, 0, 4], [3, 2, 1]])


def output_size(H, R, s, P, d):
    """Exercise 2.3: the last place where the stretched kernel fits, in steps of s, and the first place."""
    stretched = d * (R - 1) + 1
    return (H + 2 * P - stretched) // s + 1


def toeplitz(w, H, W):
    """Exercise 2.4: row iJ + j holds the weights at the pixels that output (i, j) reads."""
    R, S = w.shape
    I, J = H - R + 1, W - S + 1
    T = np.zeros((I * J, H * W))
    for i in range(I):
        for j in range(J):
            for p in range(R):
                for q in range(S):
                    T[i * J + j, (i + p) * W + (j + q)] = w[p, q]
    return T


def refuting_image():
    """Exercise 2.5: a white image, whose printed mean is 2."""
    return np.ones((4, 4))


def mean_pool(x, k, s):
    """Exercise 2.6."""
    H, W = x.shape
    I, J = (H - k) // s + 1, (W - k) // s + 1
    y = np.zeros((I, J))
    for i in range(I):
        for j in range(J):
            y[i, j] = x[s * i : s * i + k, s * j : s * j + k].sum() / k**2
    return y


def receptive_field(layers):
    """Exercise 2.7: step is how far apart two neighbours of a layer's input lie in the image."""
    r, step = 1, 1
    for k, s, d in layers:
        r += (k - 1) * d * step
        step *= s
    return r
