"""Literal loops of the measures."""

import numpy as np


def metric_confusion(t, p, K):
    n = np.zeros((K, K))
    for k in range(K):
        for l in range(K):
            for i in range(len(t)):
                if t[i] == k and p[i] == l:
                    n[k, l] += 1
    return n


def metric_dice(T, F, M):
    return 2 * T / (2 * T + F + M)


def metric_iou(T, F, M):
    return T / (T + F + M)


def metric_dice_from_iou(J):
    return 2 * J / (1 + J)


def metric_pixel_acc(n):
    K = len(n)
    right = total = 0
    for k in range(K):
        right += n[k, k]
        for l in range(K):
            total += n[k, l]
    return right / total


def metric_mean_acc(n):
    recall = metric_recall(n)
    K = len(n)
    total = 0.0
    for k in range(K):
        total += recall[k]
    return total / K


def metric_precision(n):
    K = len(n)
    P = np.zeros(K)
    for l in range(K):
        predicted = 0
        for k in range(K):
            predicted += n[k, l]
        P[l] = n[l, l] / predicted
    return P


def metric_recall(n):
    K = len(n)
    R = np.zeros(K)
    for k in range(K):
        true = 0
        for l in range(K):
            true += n[k, l]
        R[k] = n[k, k] / true
    return R


def _true_and_predicted(n, k):
    """Pixels of class k in the truth, and pixels predicted as it."""
    true = predicted = 0
    for l in range(len(n)):
        true += n[k, l]
        predicted += n[l, k]
    return true, predicted


def metric_miou(n):
    K = len(n)
    total = 0.0
    for k in range(K):
        true, predicted = _true_and_predicted(n, k)
        total += n[k, k] / (true + predicted - n[k, k])
    return total / K


def metric_fwiou(n):
    K = len(n)
    pixels = 0
    for i in range(K):
        for j in range(K):
            pixels += n[i, j]
    f = 0.0
    for k in range(K):
        true, predicted = _true_and_predicted(n, k)
        f += true / pixels * n[k, k] / (true + predicted - n[k, k])
    return f


def metric_boundary(q, o):
    H, W = q.shape
    b = np.zeros((H, W))
    for i in range(H):
        for j in range(W):
            for u, v in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                inside = 0 <= u < H and 0 <= v < W
                if q[i, j] == 1 and inside and o[u, v] == 1:
                    b[i, j] = 1
    return b


def metric_boundary_precision(u, v, r, s, theta):
    near = 0
    for i in range(len(u)):
        nearest = float("inf")
        for j in range(len(r)):
            nearest = min(nearest, (u[i] - r[j]) ** 2 + (v[i] - s[j]) ** 2)
        if nearest <= theta**2:
            near += 1
    return near / len(u)


def metric_boundary_f1(P, R):
    return 2 * P * R / (P + R)
