"""One way to solve each exercise of notebook 06, slowly and literally. Others are as good."""

import math

import numpy as np


def sgd_step(theta, g, eta):
    """Exercise 6.1: the mean of the gradients, and a step against it."""
    total = 0.0
    for i in range(len(g)):
        total += g[i]
    return theta - eta * total / len(g)


def momentum(theta, g, eta, mu):
    """Exercise 6.2: the velocity remembers, the rate stands outside."""
    v = 0.0
    for t in range(len(g)):
        v = mu * v + g[t]
        theta = theta - eta[t] * v
    return theta


def adam_step(theta, g, m, v, t, eta, beta1, beta2, eps):
    """Exercise 6.3: five formulas, line by line."""
    M = beta1 * m + (1 - beta1) * g
    V = beta2 * v + (1 - beta2) * g**2
    m_hat = M / (1 - beta1**t)
    v_hat = V / (1 - beta2**t)
    return theta - eta * m_hat / (np.sqrt(v_hat) + eps), M, V


def rate(t, eta, f, w, S):
    """Exercise 6.4: two schedules, one after the other, each with its own clock."""
    if t < w:
        return eta * (f + (1 - f) * t / w)
    return eta / 2 * (1 + math.cos(math.pi * (t - w) / (S - w)))


def rows_of_cnn(N, H):
    """Exercise 6.5: 224 // 4 = 56, and 56 * 56 = 64 * 7 * 7, which is why nobody noticed."""
    side = H // 2 // 2
    numbers = N * 64 * side * side
    return numbers // (64 * 7 * 7)


def dropout(x, m, p, training):
    """Exercise 6.6: 0 or enlarged in training, x itself otherwise."""
    if not training:
        return x
    return m * x / (1 - p)


def stop(losses, q):
    """Exercise 6.7: find the first best epoch, and count the epochs since."""
    best = 0
    for i in range(len(losses)):
        if losses[i] < losses[best]:
            best = i
    return len(losses) - 1 - best >= q
