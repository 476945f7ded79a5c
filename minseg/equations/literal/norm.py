"""Literal loops of normalisation."""

import math

import numpy as np


def norm_batch_mean(x):
    N, C, H, W = x.shape
    mu = np.zeros(C)
    for c in range(C):
        for n in range(N):
            for i in range(H):
                for j in range(W):
                    mu[c] += x[n, c, i, j]
        mu[c] /= N * H * W
    return mu


def norm_batch_var(x, mu):
    N, C, H, W = x.shape
    v = np.zeros(C)
    for c in range(C):
        for n in range(N):
            for i in range(H):
                for j in range(W):
                    v[c] += (x[n, c, i, j] - mu[c]) ** 2
        v[c] /= N * H * W
    return v


def norm_batch_stats(x, mu):
    return np.stack([norm_batch_mean(x), norm_batch_var(x, mu)])


def norm_batch(x, gamma, beta, mu, v, epsilon):
    N, C, H, W = x.shape
    y = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    y[n, c, i, j] = gamma[c] * (x[n, c, i, j] - mu[c]) / math.sqrt(v[c] + epsilon) + beta[c]
    return y


def norm_batch_grad(y_bar, x_hat, gamma, v, epsilon):
    N, C, H, W = y_bar.shape
    g = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    undone = 0.0  # by the mean and the variance, which move with x
                    for m in range(N):
                        for a in range(H):
                            for b in range(W):
                                undone += (1 + x_hat[n, c, i, j] * x_hat[m, c, a, b]) * y_bar[m, c, a, b]
                    scale = gamma[c] / math.sqrt(v[c] + epsilon)
                    g[n, c, i, j] = scale * (y_bar[n, c, i, j] - undone / (N * H * W))
    return g


def norm_batch_grad_weight(y_bar, x_hat):
    N, C, H, W = y_bar.shape
    g = np.zeros(C)
    for c in range(C):
        for n in range(N):
            for i in range(H):
                for j in range(W):
                    g[c] += y_bar[n, c, i, j] * x_hat[n, c, i, j]
    return g


def norm_batch_grad_bias(y_bar):
    N, C, H, W = y_bar.shape
    g = np.zeros(C)
    for c in range(C):
        for n in range(N):
            for i in range(H):
                for j in range(W):
                    g[c] += y_bar[n, c, i, j]
    return g


def norm_batch_eval_grad(y_bar, gamma, v, epsilon):
    N, C, H, W = y_bar.shape
    g = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    g[n, c, i, j] = gamma[c] / math.sqrt(v[c] + epsilon) * y_bar[n, c, i, j]
    return g


def norm_batch_relu(x, gamma, beta, mu, v, epsilon):
    y = norm_batch(x, gamma, beta, mu, v, epsilon)
    N, C, H, W = x.shape
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    if y[n, c, i, j] < 0:
                        y[n, c, i, j] = 0
    return y


def _let_through(y_bar, y):
    """What ReLU passes on: nothing where its output is 0."""
    N, C, H, W = y.shape
    passed = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    if y[n, c, i, j] > 0:
                        passed[n, c, i, j] = y_bar[n, c, i, j]
    return passed


def norm_batch_relu_grad(y_bar, y, x_hat, gamma, v, epsilon):
    return norm_batch_grad(_let_through(y_bar, y), x_hat, gamma, v, epsilon)


def norm_batch_relu_grad_weight(y_bar, y, x_hat):
    return norm_batch_grad_weight(_let_through(y_bar, y), x_hat)


def norm_batch_relu_grad_bias(y_bar, y):
    return norm_batch_grad_bias(_let_through(y_bar, y))


def norm_batch_relu_eval_grad(y_bar, y, gamma, v, epsilon):
    return norm_batch_eval_grad(_let_through(y_bar, y), gamma, v, epsilon)


def norm_fold_weight(w, gamma, v, epsilon):
    O, C, R, S = w.shape
    W = np.zeros((O, C, R, S))
    for o in range(O):
        for c in range(C):
            for p in range(R):
                for q in range(S):
                    W[o, c, p, q] = gamma[o] * w[o, c, p, q] / math.sqrt(v[o] + epsilon)
    return W


def norm_fold_bias(b, gamma, beta, mu, v, epsilon):
    B = np.zeros(len(b))
    for o in range(len(b)):
        B[o] = gamma[o] * (b[o] - mu[o]) / math.sqrt(v[o] + epsilon) + beta[o]
    return B


def norm_running(r, b, m):
    R = np.zeros(len(r))
    for c in range(len(r)):
        R[c] = (1 - m) * r[c] + m * b[c]
    return R


def norm_instance_mean(x):
    N, C, H, W = x.shape
    mu = np.zeros((N, C))
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    mu[n, c] += x[n, c, i, j]
            mu[n, c] /= H * W
    return mu


def norm_instance(x, gamma, beta, mu, v, epsilon):
    N, C, H, W = x.shape
    y = np.zeros((N, C, H, W))
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    y[n, c, i, j] = gamma[c] * (x[n, c, i, j] - mu[n, c]) / math.sqrt(v[n, c] + epsilon) + beta[c]
    return y


def norm_layer(x, gamma, beta, mu, v, epsilon):
    N, C = x.shape
    y = np.zeros((N, C))
    for n in range(N):
        for c in range(C):
            y[n, c] = gamma[c] * (x[n, c] - mu[n]) / math.sqrt(v[n] + epsilon) + beta[c]
    return y
