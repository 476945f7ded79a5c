"""Exercises of notebook 04: a layer of neurons, ReLU's gradient, He's start, batch normalisation and how it is folded away."""

import math

import numpy as np

from minseg.testing.exercises.exercise import exercise


@exercise(
    "4.1",
    cases=lambda rng: [(rng.standard_normal((n, 4)), rng.standard_normal((4, 4)), np.arange(4.0)) for n in (3, 1)],
)
def affine(x, W, b):
    """The sums of a layer of neurons for a batch of inputs."""
    return x @ W.T + b


@affine.mistake("you forgot the bias, as D1's legend does: that is ERR-09.")
def no_bias(x, W, b):
    return x @ W.T


@affine.mistake("you multiplied by the columns of W. The weights of neuron o are its row, W[o]: transpose W.")
def columns_of_w(x, W, b):
    return x @ W + b


@affine.mistake("your result has the samples as columns. Samples are rows, in x as in z.")
def samples_as_columns(x, W, b):
    return (x @ W.T + b).T


@exercise(
    "4.2",
    cases=lambda rng: [
        (np.array([-2.0, -1.0, 0.0, 0.5, 3.0]), np.array([1.0, -1.0, 2.0, -3.0, 0.5])),
        (rng.standard_normal((3, 4)), rng.standard_normal((3, 4))),
    ],
)
def relu_backward(z, a_bar):
    """The gradient passes where z is positive."""
    return a_bar * (z > 0)


@relu_backward.mistake("you multiplied by ReLU's value. Multiply by its slope: 1 where z > 0, else 0.")
def times_value(z, a_bar):
    return a_bar * np.maximum(0, z)


@relu_backward.mistake("you cut the gradient where *it* is negative. Whether it passes depends on z only.")
def cuts_the_gradient(z, a_bar):
    return np.maximum(0, a_bar)


@relu_backward.mistake("right except at the kink: at z = 0 we take the slope 0, so ask for z > 0.")
def passes_at_the_kink(z, a_bar):
    return a_bar * (z >= 0)


@relu_backward.mistake("that is the slope alone. Multiply it by the gradient that arrives.")
def slope_alone(z, a_bar):
    return (z > 0) * 1.0


@exercise("4.3", cases=lambda rng: [((16, 8, 3, 3),), ((4, 32, 1, 5),)])
def he_std(shape):
    """The root of two over all that one output sums up."""
    return math.sqrt(2 / math.prod(shape[1:]))


@he_std.mistake("you counted the channels only. One output sums C times R times S products.")
def channels_only(shape):
    return math.sqrt(2 / shape[1])


@he_std.mistake("you counted the outputs, O R S. What keeps the forward signal is what one output sums up: C R S.")
def counts_outputs(shape):
    return math.sqrt(2 / (shape[0] * shape[2] * shape[3]))


@he_std.mistake("that is the variance. The standard deviation is its root.")
def variance(shape):
    return 2 / math.prod(shape[1:])


@he_std.mistake("that is Xavier's. Behind it, ReLU would halve the mean square in every layer: that is ERR-37.")
def xavier(shape):
    return math.sqrt(2 / ((shape[0] + shape[1]) * shape[2] * shape[3]))


@he_std.mistake("your 1 under the root would be right without ReLU, which throws half away: make it 2.")
def forgets_relu(shape):
    return math.sqrt(1 / math.prod(shape[1:]))


def _normalised(x, gamma, beta, eps, axis=(0, 2, 3), ddof=0):
    mean, v = x.mean(axis=axis, keepdims=True), x.var(axis=axis, keepdims=True, ddof=ddof)
    return gamma[:, None, None] * (x - mean) / np.sqrt(v + eps) + beta[:, None, None]


@exercise(
    "4.4",
    cases=lambda rng: [
        (1 + rng.standard_normal((3, 2, 4, 5)), np.array([2.0, -1.0]), np.array([0.5, 3.0]), 1e-2) for _ in range(2)
    ],
)
def batch_norm(x, gamma, beta, eps):
    """Mean and variance of each channel, over images, rows and columns."""
    return _normalised(x, gamma, beta, eps)


@batch_norm.mistake("you measured each image by itself: that is instance normalisation. Average over axis 0 too.")
def each_image(x, gamma, beta, eps):
    return _normalised(x, gamma, beta, eps, axis=(2, 3))


@batch_norm.mistake("you measured each pixel by itself, over the images only. Average over rows and columns too.")
def each_pixel(x, gamma, beta, eps):
    return _normalised(x, gamma, beta, eps, axis=0)


@batch_norm.mistake("you mixed the channels: one mean for all. Each channel has its own.")
def all_channels(x, gamma, beta, eps):
    return _normalised(x, gamma, beta, eps, axis=(0, 1, 2, 3))


@batch_norm.mistake("you divided the squares by their number less one. Here the sum is divided by N H W.")
def less_one(x, gamma, beta, eps):
    return _normalised(x, gamma, beta, eps, ddof=1)


@batch_norm.mistake("you added epsilon to the root. It stands under it.")
def epsilon_outside(x, gamma, beta, eps):
    return _normalised(x, gamma / (1 + eps / x.std(axis=(0, 2, 3))), beta, 0)


@batch_norm.mistake("you left out gamma and beta, the factor and the shift that are learned.")
def no_gamma_and_beta(x, gamma, beta, eps):
    return _normalised(x, np.ones_like(gamma), np.zeros_like(beta), eps)


@exercise(
    "4.5",
    cases=lambda rng: [
        (rng.standard_normal((2, 3, 3, 2)), *rng.standard_normal((4, 2)), rng.uniform(0.5, 2, 2), 1e-2)
        for _ in range(2)
    ],
)
def fold(w, b, gamma, beta, mean, var, eps):
    """Weights and bias of the convolution that normalises by itself."""
    factor = gamma / np.sqrt(var + eps)
    return factor[:, None, None, None] * w, factor * (b - mean) + beta


@fold.mistake("your bias keeps its old size. The normalisation divides it too: the factor goes before b - mean.")
def bias_keeps_its_size(w, b, gamma, beta, mean, var, eps):
    return fold(w, b, gamma, beta, mean, var, eps)[0], b - gamma / np.sqrt(var + eps) * mean + beta


@fold.mistake("you forgot to subtract the mean from the bias.")
def no_mean(w, b, gamma, beta, mean, var, eps):
    return fold(w, b, gamma, beta, 0, var, eps)


@fold.mistake("you divided by the variance. Divide by the root of variance plus epsilon.")
def no_root(w, b, gamma, beta, mean, var, eps):
    return fold(w, b, gamma, beta, mean, (var + eps) ** 2, 0)
