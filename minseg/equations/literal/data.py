"""Preparing images and masks, literally."""

import math

import numpy as np

from minseg.equations.literal.up import up_bilinear, up_nearest


def data_scale255(x):
    H, W, C = x.shape
    u = np.zeros((C, H, W))
    for c in range(C):
        for i in range(H):
            for j in range(W):
                u[c, i, j] = x[i, j, c] / 255
    return u


def data_standardize(u, mu, sigma):
    H, W, C = u.shape
    y = np.zeros((C, H, W))
    for c in range(C):
        for i in range(H):
            for j in range(W):
                y[c, i, j] = (u[i, j, c] - mu[c]) / sigma[c]
    return y


def data_resize_nearest(t, I, J):
    return up_nearest(t[None, None], I, J)[0, 0]


def data_resize_bilinear(x, a, d):
    return up_bilinear(x[None], a, d)[0]


def data_resize_labels(t, I, J):
    H, W = t.shape
    y = np.zeros((I, J))
    for i in range(I):
        for j in range(J):
            y[i, j] = t[(2 * i + 1) * H // (2 * I), (2 * j + 1) * W // (2 * J)]
    return y


def data_flip_rows(x):
    C, H, W = x.shape
    y = np.zeros((C, H, W))
    for c in range(C):
        for i in range(H):
            for j in range(W):
                y[c, i, j] = x[c, H - 1 - i, j]
    return y


def data_flip(x):
    C, H, W = x.shape
    y = np.zeros((C, H, W))
    for c in range(C):
        for i in range(H):
            for j in range(W):
                y[c, i, j] = x[c, i, W - 1 - j]
    return y


def data_crop(x, a, b, I, J):
    C = x.shape[0]
    y = np.zeros((C, I, J))
    for c in range(C):
        for i in range(I):
            for j in range(J):
                y[c, i, j] = x[c, i + a, j + b]
    return y


def data_rotate(x):
    C, H, W = x.shape
    y = np.zeros((C, W, H))
    for c in range(C):
        for i in range(W):
            for j in range(H):
                y[c, i, j] = x[c, j, W - 1 - i]
    return y


def data_warp(x, a, d):
    C, H, W = x.shape
    I, J = a.shape
    y = np.zeros((C, I, J))
    for c in range(C):
        for i in range(I):
            for j in range(J):
                row, column = min(max(0, a[i, j]), H - 1), min(max(0, d[i, j]), W - 1)
                for u in range(H):
                    for v in range(W):
                        y[c, i, j] += max(0, 1 - abs(row - u)) * max(0, 1 - abs(column - v)) * x[c, u, v]
    return y


def data_warp_labels(t, e, a, d):
    H, W = t.shape
    I, J = a.shape
    y = np.zeros((I, J))
    for i in range(I):
        for j in range(J):
            inside = -0.5 < a[i, j] < H - 0.5 and -0.5 < d[i, j] < W - 0.5
            y[i, j] = t[math.floor(a[i, j] + 0.5), math.floor(d[i, j] + 0.5)] if inside else e
    return y


def data_rotate_rows(phi, H, W):
    a = np.zeros((H, W))
    for i in range(H):
        for j in range(W):
            a[i, j] = (H - 1) / 2 + (i - (H - 1) / 2) * math.cos(phi) + (j - (W - 1) / 2) * math.sin(phi)
    return a


def data_rotate_columns(phi, H, W):
    d = np.zeros((H, W))
    for i in range(H):
        for j in range(W):
            d[i, j] = (W - 1) / 2 - (i - (H - 1) / 2) * math.sin(phi) + (j - (W - 1) / 2) * math.cos(phi)
    return d


def data_zoom(f, H):
    a = np.zeros(H)
    for i in range(H):
        a[i] = (H - 1) / 2 + (i - (H - 1) / 2) / f
    return a


def data_gauss(R, sigma):
    g = np.zeros(2 * R + 1)
    total = 0.0
    for p in range(2 * R + 1):
        g[p] = math.exp(-((p - R) ** 2) / (2 * sigma**2))
        total += g[p]
    return g / total


def data_elastic(alpha, g, R, e):
    H, W = e.shape[0] - 2 * R, e.shape[1] - 2 * R
    squares = 0.0
    for p in range(2 * R + 1):
        squares += g[p] ** 2
    w = np.zeros((H, W))
    for i in range(H):
        for j in range(W):
            for p in range(2 * R + 1):
                for q in range(2 * R + 1):
                    w[i, j] += alpha / squares * g[p] * g[q] * e[i + p, j + q]
    return w


def data_contrast(x, alpha, beta, m):
    C, H, W = x.shape
    y = np.zeros((C, H, W))
    for c in range(C):
        for i in range(H):
            for j in range(W):
                y[c, i, j] = min(max(0, alpha * (x[c, i, j] - m) + m + beta), 255)
    return y


def data_noise(x, sigma, e):
    C, H, W = x.shape
    y = np.zeros((C, H, W))
    for c in range(C):
        for i in range(H):
            for j in range(W):
                y[c, i, j] = min(max(0, x[c, i, j] + sigma * e[c, i, j]), 255)
    return y


def data_blur(x, g, R):
    C, H, W = x.shape
    y = np.zeros((C, H, W))
    for c in range(C):
        for i in range(H):
            for j in range(W):
                for p in range(2 * R + 1):
                    for q in range(2 * R + 1):
                        row, column = min(max(0, i + p - R), H - 1), min(max(0, j + q - R), W - 1)
                        y[c, i, j] += g[p] * g[q] * x[c, row, column]
    return y


def data_class_counts(t, K):
    n = np.zeros(K)
    for k in range(K):
        for i in range(len(t)):
            if t[i] == k:
                n[k] += 1
    return n


def data_voc_palette(labels):
    v = np.zeros((labels, 3))
    for k in range(labels):
        for c in range(3):
            for j in range(3):
                bit = (k >> (3 * j + c)) & 1
                v[k, c] += bit << (7 - j)
    return v
