"""Exercises of notebook 05: softmax, cross-entropy with void pixels, class weights, the Dice loss."""

import numpy as np

from minseg.testing.exercises.exercise import exercise


def _softmax(z, axis=0):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@exercise("5.1", cases=lambda rng: [(rng.standard_normal((3, 4, 5)) + shift,) for shift in (0, 1000)])
def softmax(z):
    """Over the classes of each pixel, the largest score subtracted first."""
    return _softmax(z)


@softmax.mistake("exp(1000) overflows. Subtract each pixel's largest score first; it cancels in the ratio.")
def overflows(z):
    e = np.exp(z)
    return e / e.sum(axis=0)


@softmax.mistake("you let all pixels share one sum. Each pixel has its own: sum over axis 0 only.")
def one_sum_for_all(z):
    return _softmax(z, axis=(0, 1, 2))


@softmax.mistake("you summed along the rows of the image. The classes are axis 0.")
def wrong_axis(z):
    return _softmax(z, axis=2)


@softmax.mistake("these are logarithms of the probabilities: take exp of them.")
def logarithms(z):
    return np.log(_softmax(z))


def _prices(z, t):
    """The loss of each named pixel."""
    p = np.take_along_axis(_softmax(z), np.where(t == 255, 0, t)[None].astype(int), 0)[0]
    return -np.log(p[t != 255])


def _labelled(rng):
    t = rng.integers(0, 3, (4, 5))
    t[0, :2] = 255
    return rng.standard_normal((3, 4, 5)), t


@exercise("5.2", cases=lambda rng: [_labelled(rng), _labelled(rng)])
def cross_entropy(z, t):
    """Minus the logarithm of the true class's probability, averaged over the named pixels."""
    return _prices(z, t).mean()


@cross_entropy.mistake("you divided by all pixels. Void pixels do not count, in the number either.")
def divided_by_all(z, t):
    return _prices(z, t).sum() / t.size


@cross_entropy.mistake("that is the sum. Divide by the number of named pixels: that is ERR-14.")
def summed(z, t):
    return _prices(z, t).sum()


@cross_entropy.mistake("you took softmax twice: that is ERR-28, and such a loss never comes near zero.")
def softmax_twice(z, t):
    return _prices(_softmax(z), t).mean()


@cross_entropy.mistake("the sign: the logarithm of a probability is negative, a loss is positive.")
def wrong_sign(z, t):
    return -_prices(z, t).mean()


@cross_entropy.mistake("you took the logarithm to base 2. Here it is the natural one.")
def bits(z, t):
    return _prices(z, t).mean() / np.log(2)


@exercise("5.3", cases=lambda rng: [(np.array([90, 9, 1]),), (np.array([5, 20]),)])
def class_weights(counts):
    """All pixels over K times those of the class."""
    return counts.sum() / (len(counts) * counts)


@class_weights.mistake("these are frequencies: the frequent classes would weigh most. Turn the ratio over.")
def frequencies(counts):
    return counts / counts.sum()


@class_weights.mistake("you forgot the K: equally frequent classes would get the weight K, not 1.")
def without_k(counts):
    return counts.sum() / counts


@class_weights.mistake("you made the weights sum to one. Let all pixels over K times those of the class stand.")
def summing_to_one(counts):
    return (1 / counts) / (1 / counts).sum()


@exercise(
    "5.4", cases=lambda rng: [(rng.uniform(0, 1, (4, 5)), rng.integers(0, 2, (4, 5)) * 1.0, e) for e in (1.0, 0.1)]
)
def dice_loss(p, g, eps):
    """One minus twice the overlap over the sum of the sizes."""
    return 1 - (2 * (p * g).sum() + eps) / (p.sum() + g.sum() + eps)


@dice_loss.mistake("that is the similarity, largest for the best prediction: take 1 minus it. It is ERR-24.")
def similarity(p, g, eps):
    return 1 - dice_loss(p, g, eps)


@dice_loss.mistake("you divided by the union. The sizes are added, and count the overlap twice: that is ERR-23.")
def over_the_union(p, g, eps):
    return 1 - (2 * (p * g).sum() + eps) / ((p + g - p * g).sum() + eps)


@dice_loss.mistake("that is the Jaccard loss. Dice has twice the overlap above, and the two sizes below.")
def jaccard(p, g, eps):
    return 1 - ((p * g).sum() + eps) / ((p + g - p * g).sum() + eps)


@dice_loss.mistake("you forgot the 2: a perfect prediction would keep a loss of one half.")
def forgot_the_two(p, g, eps):
    return 1 - ((p * g).sum() + eps) / (p.sum() + g.sum() + eps)


@dice_loss.mistake("you rounded the probabilities to a mask. That has no slope: leave them as they are.")
def rounded(p, g, eps):
    return dice_loss((p > 0.5) * 1.0, g, eps)
