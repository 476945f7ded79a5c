"""One way to solve each exercise of notebook 07, slowly and literally. Others are as good."""

import numpy as np


def folding_batch():
    """Exercise 7.1: 25 images make 25 x 16 x side x side = 400 x side x side numbers, whatever their side is."""
    return 25, 224


def as_kernels(weight, C, R, S):
    """Exercise 7.2: input (c R + p) S + q of the layer is pixel (p, q) of channel c."""
    O = len(weight)
    kernels = np.zeros((O, C, R, S))
    for o in range(O):
        for c in range(C):
            for p in range(R):
                for q in range(S):
                    kernels[o, c, p, q] = weight[o, (c * R + p) * S + q]
    return kernels


def spread(x, w, s):
    """Exercise 7.3: each pixel paints the kernel, times its own value."""
    H, W = x.shape
    R, S = w.shape
    y = np.zeros((s * (H - 1) + R, s * (W - 1) + S))
    for i in range(H):
        for j in range(W):
            y[s * i : s * i + R, s * j : s * j + S] += x[i, j] * w
    return y


def spread_size(H, R, s, P, d, a):
    """Exercise 7.4: where the last pixel starts, the stretched kernel, a; less what padding cuts away."""
    last_start, stretched = (H - 1) * s, d * (R - 1) + 1
    return last_start + stretched + a - 2 * P
