"""Literal loops of the arithmetic on tensors; those without indices are for one element."""

import math

import numpy as np


def arith_add(a, b):
    return a + b


def arith_add_grad(y_bar):
    return y_bar


def arith_sub(a, b):
    return a - b


def arith_sub_grad_b(y_bar):
    return -y_bar


def arith_mul(a, b):
    return a * b


def arith_mul_grad_a(y_bar, b):
    return y_bar * b


def arith_mul_grad_b(y_bar, a):
    return y_bar * a


def arith_div(a, b):
    return a / b


def arith_div_grad_a(y_bar, b):
    return y_bar / b


def arith_div_grad_b(y_bar, a, b):
    return -y_bar * a / (b * b)


def arith_pow(a, b):
    return a**b


def arith_pow_grad_a(y_bar, a, b):
    return y_bar * b * a ** (b - 1)


def arith_pow_grad_b(y_bar, a, b):
    return y_bar * a**b * math.log(a)


def arith_maximum(a, b):
    return a if a >= b else b


def arith_maximum_grad_a(y_bar, a, b):
    return y_bar if a >= b else 0.0


def arith_maximum_grad_b(y_bar, a, b):
    return y_bar if a < b else 0.0


def arith_minimum(a, b):
    return a if a <= b else b


def arith_minimum_grad_a(y_bar, a, b):
    return y_bar if a <= b else 0.0


def arith_minimum_grad_b(y_bar, a, b):
    return y_bar if a > b else 0.0


def arith_where(a, b, c):
    return a if c else b


def arith_where_grad_a(y_bar, c):
    return y_bar if c else 0.0


def arith_where_grad_b(y_bar, c):
    return 0.0 if c else y_bar


def arith_neg(x):
    return -x


def arith_exp(x):
    return math.exp(x)


def arith_exp_grad(y_bar, y):
    return y_bar * y


def arith_log(x):
    return math.log(x)


def arith_log_grad(y_bar, x):
    return y_bar / x


def arith_sqrt(x):
    return math.sqrt(x)


def arith_sqrt_grad(y_bar, y):
    return y_bar / (2 * y)


def arith_abs(x):
    return x if x >= 0 else -x


def arith_abs_grad(y_bar, x):
    if x == 0:
        return 0.0
    return y_bar if x > 0 else -y_bar


def arith_clip(x, l, h):
    if x < l:
        return l
    return h if x > h else x


def arith_clip_grad(y_bar, x, l, h):
    return y_bar if l <= x <= h else 0.0


def arith_sum(x):
    y = 0.0
    for i in range(len(x)):
        y += x[i]
    return y


def arith_sum_grad(y_bar, N):
    g = np.zeros(N)
    for i in range(N):
        g[i] = y_bar
    return g


def arith_mean(x):
    return arith_sum(x) / len(x)


def arith_mean_grad(y_bar, N):
    g = np.zeros(N)
    for i in range(N):
        g[i] = y_bar / N
    return g


def arith_var(x, mu, c):
    y = 0.0
    for i in range(len(x)):
        y += (x[i] - mu) ** 2
    return y / (len(x) - c)


def arith_var_grad(y_bar, x, mu, c):
    N = len(x)
    g = np.zeros(N)
    for i in range(N):
        g[i] = y_bar * 2 * (x[i] - mu) / (N - c)
    return g


def arith_max(x):
    y = x[0]
    for i in range(len(x)):
        if x[i] > y:
            y = x[i]
    return y


def arith_max_grad(y_bar, x):
    first = 0
    for j in range(len(x)):
        if x[j] > x[first]:
            first = j
    g = np.zeros(len(x))
    g[first] = y_bar
    return g


def arith_min(x):
    y = x[0]
    for i in range(len(x)):
        if x[i] < y:
            y = x[i]
    return y


def arith_min_grad(y_bar, x):
    first = 0
    for j in range(len(x)):
        if x[j] < x[first]:
            first = j
    g = np.zeros(len(x))
    g[first] = y_bar
    return g


def arith_matmul(a, b):
    (I, K), (_, J) = a.shape, b.shape
    y = np.zeros((I, J))
    for i in range(I):
        for j in range(J):
            for k in range(K):
                y[i, j] += a[i, k] * b[k, j]
    return y


def arith_matmul_grad_a(y_bar, b):
    (I, J), (K, _) = y_bar.shape, b.shape
    g = np.zeros((I, K))
    for i in range(I):
        for k in range(K):
            for j in range(J):
                g[i, k] += y_bar[i, j] * b[k, j]
    return g


def arith_matmul_grad_b(y_bar, a):
    (I, J), (_, K) = y_bar.shape, a.shape
    g = np.zeros((K, J))
    for k in range(K):
        for j in range(J):
            for i in range(I):
                g[k, j] += a[i, k] * y_bar[i, j]
    return g


def arith_reshape(x):
    I, J = x.shape
    y = np.zeros(I * J)
    for i in range(I):
        for j in range(J):
            y[i * J + j] = x[i, j]
    return y


def arith_reshape_grad(y_bar, J):
    I = len(y_bar) // J
    g = np.zeros((I, J))
    for i in range(I):
        for j in range(J):
            g[i, j] = y_bar[i * J + j]
    return g


def arith_permute(x):
    I, J, K = x.shape
    y = np.zeros((K, I, J))
    for i in range(I):
        for j in range(J):
            for k in range(K):
                y[k, i, j] = x[i, j, k]
    return y


def arith_permute_grad(y_bar):
    K, I, J = y_bar.shape
    g = np.zeros((I, J, K))
    for i in range(I):
        for j in range(J):
            for k in range(K):
                g[i, j, k] = y_bar[k, i, j]
    return g


def arith_broadcast_to(x, N):
    y = np.zeros((N, len(x)))
    for n in range(N):
        for i in range(len(x)):
            y[n, i] = x[i]
    return y


def arith_broadcast_to_grad(y_bar):
    N, I = y_bar.shape
    g = np.zeros(I)
    for i in range(I):
        for n in range(N):
            g[i] += y_bar[n, i]
    return g


def arith_index(x, k):
    y = np.zeros(len(k))
    for i in range(len(k)):
        y[i] = x[k[i]]
    return y


def arith_index_grad(y_bar, k, I):
    g = np.zeros(I)
    for i in range(len(k)):
        g[k[i]] += y_bar[i]
    return g


def arith_concatenate(a, b):
    N, M = len(a), len(b)
    y = np.zeros(N + M)
    for i in range(N):
        y[i] = a[i]
    for i in range(M):
        y[N + i] = b[i]
    return y


def arith_concatenate_grad_a(y_bar, N):
    g = np.zeros(N)
    for i in range(N):
        g[i] = y_bar[i]
    return g


def arith_concatenate_grad_b(y_bar, N):
    M = len(y_bar) - N
    g = np.zeros(M)
    for i in range(M):
        g[i] = y_bar[N + i]
    return g


def arith_pad(x, l, v, r):
    y = np.full(l + len(x) + r, v)
    for i in range(len(x)):
        y[l + i] = x[i]
    return y


def arith_pad_grad(y_bar, l, N):
    g = np.zeros(N)
    for i in range(N):
        g[i] = y_bar[l + i]
    return g
