"""Literal loops of the losses."""

import math

import numpy as np


def loss_bce(p, y):
    N = len(p)
    total = 0.0
    for n in range(N):
        total += y[n] * math.log(p[n]) + (1 - y[n]) * math.log(1 - p[n])
    return -total / N


def loss_bce_logits(z, y):
    N = len(z)
    total = 0.0
    for n in range(N):
        total += max(0.0, z[n]) - z[n] * y[n] + math.log(1 + math.exp(-abs(z[n])))
    return total / N


def loss_bce_logits_grad(L_bar, z, y):
    N = len(z)
    g = np.zeros(N)
    for n in range(N):
        probability = 1 / (1 + math.exp(-z[n]))
        g[n] = L_bar / N * (probability - y[n])
    return g


def loss_ce(z, t):
    N, K, H, W = z.shape
    total = 0.0
    for n in range(N):
        for i in range(H):
            for j in range(W):
                exponentials = 0.0
                for k in range(K):
                    exponentials += math.exp(z[n, k, i, j])
                total += z[n, t[n, i, j], i, j] - math.log(exponentials)
    return -total / (N * H * W)


def loss_ce_grad(L_bar, z, t):
    N, K, H, W = z.shape
    g = np.zeros((N, K, H, W))
    for n in range(N):
        for i in range(H):
            for j in range(W):
                exponentials = 0.0
                for l in range(K):
                    exponentials += math.exp(z[n, l, i, j])
                for k in range(K):
                    onehot = 1 if k == t[n, i, j] else 0
                    g[n, k, i, j] = L_bar / (N * H * W) * (math.exp(z[n, k, i, j]) / exponentials - onehot)
    return g


def loss_ce_weighted(p, t, alpha):
    N = len(p)
    total = weights = 0.0
    for i in range(N):
        total += alpha[t[i]] * math.log(p[i, t[i]])
        weights += alpha[t[i]]
    return -total / weights


def loss_ce_weighted_grad(L_bar, p, t, alpha):
    N, K = p.shape
    weights = 0.0
    for l in range(N):
        weights += alpha[t[l]]
    g = np.zeros((N, K))
    for i in range(N):
        for k in range(K):
            onehot = 1 if k == t[i] else 0
            g[i, k] = L_bar * alpha[t[i]] / weights * (p[i, k] - onehot)
    return g


def loss_mse(a, y):
    N = len(a)
    total = 0.0
    for i in range(N):
        total += (a[i] - y[i]) ** 2
    return total / N


def loss_mse_grad(L_bar, a, y):
    N = len(a)
    g = np.zeros(N)
    for i in range(N):
        g[i] = 2 * L_bar / N * (a[i] - y[i])
    return g


def loss_dice(p, g, epsilon):
    overlap = claimed = true = 0.0
    for i in range(len(p)):
        overlap += p[i] * g[i]
        claimed += p[i]
        true += g[i]
    return 1 - (2 * overlap + epsilon) / (claimed + true + epsilon)


def loss_dice_grad(L_bar, p, g, epsilon):
    overlap = claimed = true = 0.0
    for j in range(len(p)):
        overlap += p[j] * g[j]
        claimed += p[j]
        true += g[j]
    above, below = 2 * overlap + epsilon, claimed + true + epsilon
    h = np.zeros(len(p))
    for i in range(len(p)):
        h[i] = L_bar * (above / below**2 - 2 * g[i] / below)
    return h


def loss_dice_sums(p, t, e, f):
    N, K, H, W = p.shape
    s = np.zeros((3, K))
    for k in range(K):
        for n in range(N):
            for i in range(H):
                for j in range(W):
                    if t[n, i, j] == e:
                        continue
                    s[1, k] += p[n, k, i, j]
                    if t[n, i, j] == k + f:
                        s[0, k] += p[n, k, i, j]
                        s[2, k] += 1
    return s


def loss_dice_sums_grad(s_bar, t, e, f):
    N, H, W = t.shape
    K = s_bar.shape[1]
    g = np.zeros((N, K, H, W))
    for n in range(N):
        for k in range(K):
            for i in range(H):
                for j in range(W):
                    if t[n, i, j] == e:
                        continue
                    g[n, k, i, j] = s_bar[1, k]
                    if t[n, i, j] == k + f:
                        g[n, k, i, j] += s_bar[0, k]
    return g


def loss_dice_multiclass(L):
    K = len(L)
    total = 0.0
    for k in range(K):
        total += L[k]
    return total / K


def loss_jaccard(p, g, epsilon):
    overlap = union = 0.0
    for i in range(len(p)):
        overlap += p[i] * g[i]
        union += p[i] + g[i] - p[i] * g[i]
    return 1 - (overlap + epsilon) / (union + epsilon)


def loss_jaccard_grad(L_bar, p, g, epsilon):
    overlap = union = 0.0
    for j in range(len(p)):
        overlap += p[j] * g[j]
        union += p[j] + g[j] - p[j] * g[j]
    above, below = overlap + epsilon, union + epsilon
    h = np.zeros(len(p))
    for i in range(len(p)):
        h[i] = L_bar * (above * (1 - g[i]) / below**2 - g[i] / below)
    return h


def loss_focal(p, t, gamma):
    N = len(p)
    total = 0.0
    for i in range(N):
        total += (1 - p[i, t[i]]) ** gamma * math.log(p[i, t[i]])
    return -total / N


def loss_focal_grad(L_bar, p, gamma):
    N = len(p)
    g = np.zeros(N)
    for i in range(N):
        easy = (1 - p[i]) ** gamma
        g[i] = L_bar / N * (easy - gamma * p[i] * easy / (1 - p[i]) * math.log(p[i]))
    return g


def loss_focal_weighted(p, t, alpha, gamma):
    N = len(p)
    total = weights = 0.0
    for i in range(N):
        total += alpha[t[i]] * (1 - p[i, t[i]]) ** gamma * math.log(p[i, t[i]])
        weights += alpha[t[i]]
    return -total / weights


def loss_weight_inverse(n):
    K = len(n)
    total = 0
    for j in range(K):
        total += n[j]
    alpha = np.zeros(K)
    for k in range(K):
        alpha[k] = total / (K * n[k])
    return alpha


def loss_weight_frequency(n):
    N, K = n.shape
    f = np.zeros(K)
    for k in range(K):
        of_class = of_images = 0
        for i in range(N):
            of_class += n[i, k]
            if n[i, k] > 0:
                for j in range(K):
                    of_images += n[i, j]
        f[k] = of_class / of_images
    return f


def loss_weight_median(f, m):
    alpha = np.zeros(len(f))
    for k in range(len(f)):
        alpha[k] = m / f[k]
    return alpha


def loss_weight_sqrt_median(f, m):
    alpha = np.zeros(len(f))
    for k in range(len(f)):
        alpha[k] = math.sqrt(m / f[k])
    return alpha
