"""One way to solve each exercise of notebook 05, slowly and literally. Others are as good."""

import numpy as np


def softmax(z):
    """Exercise 5.1: subtract each pixel's largest score, and nothing overflows."""
    e = np.exp(z - z.max(axis=0))
    return e / e.sum(axis=0)


def cross_entropy(z, t):
    """Exercise 5.2: a loop over pixels, which passes by those without a name."""
    total, count = 0.0, 0
    for i in range(t.shape[0]):
        for j in range(t.shape[1]):
            if t[i, j] != 255:
                total += np.log(np.exp(z[:, i, j]).sum()) - z[t[i, j], i, j]
                count += 1
    return total / count


def class_weights(counts):
    """Exercise 5.3: the share that a class would have among equals, over the share that it has."""
    return (1 / len(counts)) / (counts / counts.sum())


def dice_loss(p, g, eps):
    """Exercise 5.4."""
    overlap = (p * g).sum()
    return 1 - (2 * overlap + eps) / (p.sum() + g.sum() + eps)
