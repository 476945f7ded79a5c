"""Literal loops of the activations."""

import math

import numpy as np


def act_relu(z):
    return z if z > 0 else 0.0


def act_relu_grad(a_bar, z):
    return a_bar if z > 0 else 0.0


def act_sigmoid(z):
    return 1 / (1 + math.exp(-z))


def act_sigmoid_grad(a_bar, a):
    return a_bar * a * (1 - a)


def act_tanh(z):
    return (math.exp(z) - math.exp(-z)) / (math.exp(z) + math.exp(-z))


def act_tanh_grad(a_bar, a):
    return a_bar * (1 - a * a)


def act_softmax(z, m):
    K = len(z)
    total = 0.0
    for j in range(K):
        total += math.exp(z[j] - m)
    p = np.zeros(K)
    for k in range(K):
        p[k] = math.exp(z[k] - m) / total
    return p


def act_softmax_grad(p, p_bar):
    K = len(p)
    mean = 0.0  # of the gradients, weighted with the probabilities
    for j in range(K):
        mean += p_bar[j] * p[j]
    g = np.zeros(K)
    for k in range(K):
        g[k] = p[k] * (p_bar[k] - mean)
    return g


def act_log_softmax(z, m):
    K = len(z)
    total = 0.0
    for j in range(K):
        total += math.exp(z[j] - m)
    y = np.zeros(K)
    for k in range(K):
        y[k] = z[k] - m - math.log(total)
    return y


def act_log_softmax_grad(y, y_bar):
    K = len(y)
    total = 0.0
    for j in range(K):
        total += y_bar[j]
    g = np.zeros(K)
    for k in range(K):
        g[k] = y_bar[k] - math.exp(y[k]) * total
    return g


def act_step(z):
    return 1.0 if z > 0 else 0.0
