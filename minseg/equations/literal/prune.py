"""Literal loops of pruning."""

import numpy as np


def prune_magnitude(w, t):
    y = np.zeros(len(w))
    for i in range(len(w)):
        if abs(w[i]) >= t:
            y[i] = w[i]
    return y
