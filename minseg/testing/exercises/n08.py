"""Exercises of notebook 08: D5's sizes, maxima with their places, unpooling, and a decoder's concatenation."""

import numpy as np

from minseg.testing.exercises.exercise import exercise


@exercise("8.1", cases=lambda rng: [(H,) for H in (8, 9, 10, 11, 64, 256)])
def printed_rows(H):
    """Two poolings round down, two transposed convolutions make 2n + 1 of n."""
    return 4 * (H // 4) + 3


@printed_rows.mistake("that is right only where 4 divides H. Each pooling rounds down: H // 2.")
def no_rounding(H):
    return H + 3


@printed_rows.mistake("that is the repaired network. As printed each step makes one row more than twice as many.")
def repaired(H):
    return 4 * (H // 4)


@printed_rows.mistake("the row that the first step adds is doubled by the second, which adds one of its own.")
def added_twice(H):
    return 4 * (H // 4) + 2


@printed_rows.mistake("there are two poolings and two transposed convolutions: you have one of each.")
def one_of_each(H):
    return 2 * (H // 2) + 1


def _shuffled(rng, H, W):
    return rng.permutation(H * W).reshape(H, W).astype(float)


@exercise("8.2", cases=lambda rng: [(_shuffled(rng, 4, 6), 2), (_shuffled(rng, 6, 9), 3), (-_shuffled(rng, 4, 8), 2)])
def pool_with_indices(x, k):
    """Maxima of windows of k x k pixels, and where in the map they were."""
    H, W = x.shape
    windows = x.reshape(H // k, k, W // k, k).transpose(0, 2, 1, 3).reshape(H // k, W // k, k * k)
    t = windows.argmax(axis=2)
    i, j = np.indices(t.shape)
    return windows.max(axis=2), (k * i + t // k) * W + k * j + t % k


@pool_with_indices.mistake("your indices count inside each window. Count in the whole map: row * W + column.")
def place_in_window(x, k):
    y, a = pool_with_indices(x, k)
    row, column = a // x.shape[1], a % x.shape[1]
    return y, row % k * k + column % k


@pool_with_indices.mistake("you multiply the row by the height. A row has W pixels: row * W + column.")
def by_height(x, k):
    y, a = pool_with_indices(x, k)
    return y, a // x.shape[1] * x.shape[0] + a % x.shape[1]


@pool_with_indices.mistake("your maxima start from 0, so windows of negative numbers come out as 0. Start from -inf.")
def not_below_zero(x, k):
    y, a = pool_with_indices(x, k)
    return np.maximum(y, 0), a


def _overlapping(rng):
    """Values and indices of which two are the same, as overlapping windows have them."""
    return rng.standard_normal((2, 3)), np.array([[0, 8, 9], [8, 17, 23]]), 4, 6


def _apart(rng):
    return rng.standard_normal((2, 2)), np.array([[1, 2], [10, 11]]), 3, 4


@exercise("8.3", cases=lambda rng: [_apart(rng), _overlapping(rng)])
def unpool(x, a, H, W):
    """Each value at its index; several at one index add up."""
    y = np.zeros(H * W)
    np.add.at(y, a.ravel(), x.ravel())
    return y.reshape(H, W)


@unpool.mistake("where two values have one index you keep the last. Overlapping windows add up: +=, or np.add.at.")
def last_one_wins(x, a, H, W):
    y = np.zeros(H * W)
    y[a.ravel()] = x.ravel()
    return y.reshape(H, W)


@unpool.mistake("you split the index by the height: its row is a // W and its column a % W.")
def split_by_height(x, a, H, W):
    y = np.zeros((H, W))
    for value, index in zip(x.ravel(), a.ravel()):
        y[index // H % H, index % H] += value
    return y


@unpool.mistake("you fill each window with its value. Only the place of the maximum gets it, the others stay 0.")
def filled(x, a, H, W):
    return np.kron(x, np.ones((-(-H // x.shape[0]), -(-W // x.shape[1]))))[:H, :W]


def _maps(rng):
    return [(rng.standard_normal((2, 3, 4, 6)), rng.standard_normal((2, B, 2, 3))) for B in (3, 5)]


def _twice(x):
    return x.repeat(2, axis=2).repeat(2, axis=3)


@exercise("8.4", cases=_maps)
def join(skip, state):
    """The skip's channels, then those of the enlarged state."""
    return np.concatenate([skip, _twice(state)], axis=1)


@join.mistake("the channels have changed places: the skip's come first, as in U-Net here.")
def state_first(skip, state):
    return np.concatenate([_twice(state), skip], axis=1)


@join.mistake("you tiled the state beside itself. Enlarging repeats each pixel: np.repeat along both axes.")
def tiled(skip, state):
    return np.concatenate([skip, np.tile(state, (1, 1, 2, 2))], axis=1)


@join.mistake("you made the skip smaller instead of the state larger: all that it remembered of outlines is lost.")
def skip_smaller(skip, state):
    return np.concatenate([skip[:, :, ::2, ::2], state], axis=1)
