"""Literal forms of the optimisers' updates, for one weight."""

import math

import numpy as np


def opt_gd(theta, g, eta):
    return theta - eta * g


def opt_sgd(theta, g, eta):
    B = len(g)
    total = 0.0
    for i in range(B):
        total += g[i]
    return theta - eta * total / B


def opt_momentum_v(g, mu, v):
    return mu * v + g


def opt_momentum_step(theta, eta, V):
    return theta - eta * V


def opt_dampening(g, mu, v, tau):
    return mu * v + (1 - tau) * g


def opt_nesterov(theta, g, eta, mu, V):
    return theta - eta * (g + mu * V)


def opt_weight_decay(g, theta, lambda_):
    return g + lambda_ * theta


def opt_momentum_tf(g, eta, mu, v):
    return mu * v - eta * g


def opt_momentum_tf_step(theta, V):
    return theta + V


def opt_momentum_tf_nesterov(theta, g, eta, mu, V):
    return theta + mu * V - eta * g


def opt_rmsprop_v(g, rho, v):
    return rho * v + (1 - rho) * g * g


def opt_rmsprop(theta, g, eta, V, epsilon):
    return theta - eta * g / (math.sqrt(V) + epsilon)


def opt_adam_m(g, beta, m):
    return beta * m + (1 - beta) * g


def opt_adam_v(g, beta, v):
    return beta * v + (1 - beta) * g * g


def opt_adam_m_hat(M, beta, t):
    return M / (1 - beta**t)


def opt_adam_v_hat(V, beta, t):
    return V / (1 - beta**t)


def opt_adam(theta, eta, m_hat, v_hat, epsilon):
    return theta - eta * m_hat / (math.sqrt(v_hat) + epsilon)


def opt_adamw(theta, eta, lambda_, m_hat, v_hat, epsilon):
    return theta - eta * lambda_ * theta - eta * m_hat / (math.sqrt(v_hat) + epsilon)


def opt_clip_norm(g, c, n):
    total = 0.0
    for j in range(n):
        total += g[j] ** 2
    norm = math.sqrt(total)
    h = np.zeros(n)
    for i in range(n):
        h[i] = g[i] * c / norm if norm > c else g[i]
    return h


def opt_clip_value(g, c):
    if g > c:
        return c
    if g < -c:
        return -c
    return g


def opt_schedule_step(eta, gamma, t, s):
    e = eta
    for step in range(1, t + 1):
        if step % s == 0:
            e = e * gamma
    return e


def opt_schedule_warmup(eta, f, t, w):
    return eta * (f + (1 - f) * t / w)


def opt_schedule_poly(eta, t, S, p):
    return eta * (1 - t / S) ** p


def opt_schedule_cosine(eta, t, S):
    return eta / 2 * (1 + math.cos(math.pi * t / S))
