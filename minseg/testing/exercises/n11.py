"""Exercises of notebook 11: attention, positions, patches, and what shared projections mean for the scores."""

import numpy as np

from minseg.nn import sinusoidal_positions
from minseg.testing.exercises.exercise import exercise


def _softmax(s, axis):
    e = np.exp(s - s.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@exercise(
    "11.1",
    cases=lambda rng: [
        (2 * rng.standard_normal((5, 4)), rng.standard_normal((5, 4)), rng.standard_normal((5, 3))),
        (rng.standard_normal((3, 9)), rng.standard_normal((6, 9)), rng.standard_normal((6, 2))),
    ],
)
def attention(Q, K, V):
    """Scores, shares, mixtures."""
    return _softmax(Q @ K.T / np.sqrt(Q.shape[1]), 1) @ V


@attention.mistake("the scores are not divided by the root of d: that is one of the gaps of ERR-26.")
def no_scale(Q, K, V):
    return _softmax(Q @ K.T, 1) @ V


@attention.mistake("you divided by d, but it is its square root that the scores grow with.")
def scaled_by_d(Q, K, V):
    return _softmax(Q @ K.T / Q.shape[1], 1) @ V


@attention.mistake("softmax runs down the columns. Each pixel that asks shares out 1: along its row, axis=1.")
def wrong_axis(Q, K, V):
    return _softmax(Q @ K.T / np.sqrt(Q.shape[1]), 0) @ V


@attention.mistake("the softmax is missing: scores are no shares, they can be negative and add up to anything.")
def no_softmax(Q, K, V):
    return Q @ K.T / np.sqrt(Q.shape[1]) @ V


@attention.mistake("softmax of all scores together: then all rows share one 1. Each row has its own.")
def one_for_all(Q, K, V):
    return _softmax(Q @ K.T / np.sqrt(Q.shape[1]), (0, 1)) @ V


@exercise("11.2", cases=lambda rng: [(7, 6, 10000.0), (5, 8, 100.0)])
def positions(length, channels, base):
    """Sines in even columns, cosines in odd ones."""
    return sinusoidal_positions(length, channels, base)


@positions.mistake("sine and cosine have changed places: even columns are sines.")
def exchanged(length, channels, base):
    P = sinusoidal_positions(length, channels, base)
    return P.reshape(length, -1, 2)[:, :, ::-1].reshape(length, channels)


def _angles(length, exponents, base):
    return np.arange(length)[:, None] * base ** -np.asarray(exponents)


@positions.mistake(
    "each column has a wave length of its own. A sine and its cosine share one: the exponent has c // 2."
)
def no_pairs(length, channels, base):
    c = np.arange(channels)
    angle = _angles(length, c / channels, base)
    return np.where(c % 2 == 0, np.sin(angle), np.cos(angle))


@positions.mistake("the exponent lacks its 2: with c // 2 / D the waves get only half as long as they should.")
def half_the_exponent(length, channels, base):
    c = np.arange(channels)
    angle = _angles(length, (c // 2) / channels, base)
    return np.where(c % 2 == 0, np.sin(angle), np.cos(angle))


@exercise(
    "11.3",
    cases=lambda rng: [(np.arange(48.0).reshape(2, 4, 6), 2), (rng.standard_normal((1, 6, 3)), 3)],
)
def patches(x, k):
    """Rows of patches, then the numbers of each."""
    C, H, W = x.shape
    return x.reshape(C, H // k, k, W // k, k).transpose(1, 3, 0, 2, 4).reshape(-1, C * k * k)


@patches.mistake("reshape alone does not cut squares: it takes numbers as they lie in memory, along rows.")
def only_reshaped(x, k):
    return x.reshape(-1, x.shape[0] * k * k)


@patches.mistake("the numbers of a patch come in the order (row, column, channel). Here the channel is first.")
def channel_last(x, k):
    C, H, W = x.shape
    return x.reshape(C, H // k, k, W // k, k).transpose(1, 3, 2, 4, 0).reshape(-1, C * k * k)


@patches.mistake("patches run down the columns of the image. Go along the rows: the column changes fastest.")
def column_by_column(x, k):
    C, H, W = x.shape
    return x.reshape(C, H // k, k, W // k, k).transpose(3, 1, 0, 2, 4).reshape(-1, C * k * k)


def _scores(rng):
    q = rng.standard_normal((4, 3))
    loose = q @ rng.standard_normal((3, 4))
    return q @ q.T, loose + np.diag(np.abs(np.diag(loose)) - np.diag(loose)), -(q @ q.T)


@exercise("11.4", cases=lambda rng: [(s,) for s in _scores(rng)])
def may_share_projection(s):
    """Symmetric, and no negative product of a vector with itself."""
    return bool(np.allclose(s, s.T) and (np.diag(s) >= 0).all())


@may_share_projection.mistake(
    "symmetric is right. But the score of a pixel with itself is a square, too: it cannot be negative."
)
def symmetric_only(s):
    return bool(np.allclose(s, s.T))


@may_share_projection.mistake(
    "the diagonal is right. But look at s[i, j] and s[j, i] as well: with one projection for both, they are the same product."
)
def diagonal_only(s):
    return bool((np.diag(s) >= 0).all())
