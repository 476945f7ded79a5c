"""One way to solve each exercise of notebook 03, slowly and literally. Others are as good."""

import numpy as np


def measured_gradient(f, x, h):
    """Exercise 3.1: two runs for each element; the copy keeps x as it was."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        right, left = x.copy(), x.copy()
        right[index] += h
        left[index] -= h
        gradient[index] = (f(right) - f(left)) / (2 * h)
    return gradient


def backward_order(uses, last):
    """Exercise 3.2: a number is finished once all that it was computed from is; turned round, that is the order."""
    finished = []

    def visit(number):
        if number in finished:
            return
        for source in uses.get(number, []):
            visit(source)
        finished.append(number)

    visit(last)
    return finished[::-1]


def sum_to(g, shape):
    """Exercise 3.3: axes that were added in front disappear, axes of length 1 that were stretched become 1 again."""
    while g.ndim > len(shape):
        g = g.sum(axis=0)
    for axis, length in enumerate(shape):
        if length == 1:
            g = g.sum(axis=axis, keepdims=True)
    return g


def grad_x(gy, w):
    """Exercise 3.4: each output hands its slope on to every pixel below its window, times the weight over it."""
    (I, J), (R, S) = gy.shape, w.shape
    gx = np.zeros((I + R - 1, J + S - 1))
    for i in range(I):
        for j in range(J):
            for p in range(R):
                for q in range(S):
                    gx[i + p, j + q] += gy[i, j] * w[p, q]
    return gx
