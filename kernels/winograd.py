"""Winograd's transforms for 3x3 kernels, computed from the points that they stand for.

Three weights and m numbers y may be read as polynomials, w0 + w1 z + w2 z^2 and y0 + y1 z + ... Their product has n = m + 2
coefficients; multiplied out it takes 3 m products of numbers. But n values of it at n points determine it too, and a value of a
product is one product of two values: evaluate w and y at n points, multiply n pairs of numbers, and interpolate. All but the
products is linear, so it is matrices: G evaluates w, A evaluates y, and B finds the coefficients again:

    w times y = B [(G w) * (A y)]

A correlation is the transpose of that. With w fixed, y to "w times y" is a linear map from m numbers to n, which adds y_i w_k to
place i + k; its transpose takes n pixels d to the m sums of d_(i+k) w_k, which is the row of outputs. Transposing turns the three
matrices round:

    row of outputs = A^T [(G w) * (B^T d)]

The points are 0, 1, -1, for m = 4 also 2 and -2, and infinity, where the value of a polynomial is its leading coefficient: the
smallest numbers that there are, because powers of the points are what roundings are multiplied with. In two dimensions each matrix
acts on the rows and then on the columns, with (m + 2)^2 products for m x m outputs instead of 9 m^2:

    Y = A^T [(G g G^T) * (B^T d B)] A        eq: conv.winograd_f2, conv.winograd_f4

A. Lavin, S. Gray: Fast Algorithms for Convolutional Neural Networks. CVPR 2016, arXiv 1509.09308.
"""

from fractions import Fraction
from functools import cache
from typing import NamedTuple

import numpy as np

POINTS = {2: (0, 1, -1), 4: (0, 1, -1, 2, -2)}
"""The finite points of F(m x m, 3x3) for each m; infinity is the last."""

TAPS = 3


class Transforms(NamedTuple):
    """The matrices of F(m x m, 3x3), n = m + 2, in float64."""

    A: np.ndarray
    """(n, m): A^T makes outputs of products."""
    B: np.ndarray
    """(n, n): B^T transforms pixels."""
    G: np.ndarray
    """(n, 3): G transforms kernels."""


def _times_root(polynomial: list, root) -> list:
    """The coefficients, lowest first, of polynomial(z) (z - root)."""
    raised, scaled = [0, *polynomial], [root * c for c in polynomial] + [0]
    return [a - b for a, b in zip(raised, scaled)]


def _vanishing(points) -> list:
    """The coefficients of the product of all z - point."""
    polynomial = [1]
    for point in points:
        polynomial = _times_root(polynomial, point)
    return polynomial


@cache
def transforms(m: int) -> Transforms:
    """A, B and G of F(m x m, 3x3).

    Row i of B^T, for the point a_i, holds the coefficients of Lagrange's polynomial: the product of z - a_j over all other points,
    which is 0 at each of these. What it is at a_i itself, interpolation divides by: that is put into G, so that B has only
    integers. (Signs are free as long as B and G agree on them: the first row's is the paper's.)

    >>> transforms(2).B.T.tolist()
    [[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, -1.0, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0]]
    """
    points = POINTS[m]
    A, B_T, G = [], [], []
    for i, point in enumerate(points):
        others = points[:i] + points[i + 1 :]
        lagrange = [*_vanishing(others), 0]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        sign = -1 if i == 0 and scale < 0 else 1
        A.append([point**k for k in range(m)])
        B_T.append([sign * c for c in lagrange])
        G.append([sign * point**k / scale for k in range(TAPS)])
    A.append([0] * (m - 1) + [1])
    B_T.append(_vanishing(points))
    G.append([0] * (TAPS - 1) + [1])
    return Transforms(*(np.array(matrix, np.float64) for matrix in (A, np.transpose(B_T), G)))
