"""Exercises of notebook 06: steps of SGD, momentum and Adam, a schedule, D3's rows, dropout, and when to stop."""

import math

import numpy as np

from minseg.testing.exercises.exercise import exercise


@exercise("6.1", cases=lambda rng: [(0.5, rng.standard_normal(B), eta) for B, eta in ((4, 0.1), (7, 0.5))])
def sgd_step(theta, g, eta):
    """Against the mean of the samples' gradients."""
    return theta - eta * g.mean()


@sgd_step.mistake("you go uphill: the gradient points to where the loss grows, so subtract it.")
def uphill(theta, g, eta):
    return theta + eta * g.mean()


@sgd_step.mistake("you summed. Divide by B, or a batch twice as large takes a step twice as long.")
def summed(theta, g, eta):
    return theta - eta * g.sum()


@sgd_step.mistake("that is the way, not where it leads: subtract it from theta.")
def only_the_way(theta, g, eta):
    return -eta * g.mean()


@sgd_step.mistake("you divided by B - 1, as for a variance. A mean is divided by B.")
def as_for_a_variance(theta, g, eta):
    return theta - eta * g.sum() / (len(g) - 1)


def _rolls(rng):
    falling = np.array([0.4, 0.4, 0.1, 0.1, 0.02])
    return [(1.0, rng.standard_normal(5), np.full(5, 0.2), 0.9), (-0.5, rng.standard_normal(5), falling, 0.8)]


def _roll(theta, g, eta, mu, share=1.0):
    """share of each gradient enters the velocity."""
    v = 0.0
    for gradient, rate in zip(g, eta):
        v = mu * v + share * gradient
        theta = theta - rate * v
    return theta


@exercise("6.2", cases=_rolls)
def momentum(theta, g, eta, mu):
    """The velocity first, the rate outside of it."""
    return _roll(theta, g, eta, mu)


@momentum.mistake("your rate is inside the velocity: that is Keras's convention, and differs once the rate changes.")
def as_keras(theta, g, eta, mu):
    v = 0.0
    for gradient, rate in zip(g, eta):
        v = mu * v - rate * gradient
        theta = theta + v
    return theta


@momentum.mistake("you move first and update the velocity then, so that each gradient comes a step late.")
def a_step_late(theta, g, eta, mu):
    v = 0.0
    for gradient, rate in zip(g, eta):
        theta = theta - rate * v
        v = mu * v + gradient
    return theta


@momentum.mistake("you took only 1 - mu of each gradient. That is dampening; here the whole gradient enters.")
def dampened(theta, g, eta, mu):
    return _roll(theta, g, eta, mu, 1 - mu)


@momentum.mistake("you start every step with the velocity 0: that is plain gradient descent. Keep v between steps.")
def without_memory(theta, g, eta, mu):
    return _roll(theta, g, eta, 0.0)


@momentum.mistake("that is Nesterov's step. Here theta moves along V itself.")
def nesterov(theta, g, eta, mu):
    v = 0.0
    for gradient, rate in zip(g, eta):
        v = mu * v + gradient
        theta = theta - rate * (gradient + mu * v)
    return theta


def _adams(rng):
    g, m, v = rng.standard_normal((3, 4))
    start = (rng.standard_normal(4), g, np.zeros(4), np.zeros(4), 1, 0.1, 0.9, 0.999, 1e-3)
    return [start, (rng.standard_normal(4), g, 0.3 * m, v * v, 5, 0.2, 0.8, 0.99, 0.5)]


def _adam(theta, g, m, v, t, eta, beta1, beta2, eps):
    """Means that are ready, and t counted from 1."""
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return theta - eta * m_hat / (np.sqrt(v_hat) + eps), m, v


@exercise("6.3", cases=_adams)
def adam_step(theta, g, m, v, t, eta, beta1, beta2, eps):
    """Both means, without the bias of their start, and their ratio."""
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    return _adam(theta, g, m, v, t, eta, beta1, beta2, eps)


@adam_step.mistake("you left out the division by 1 - beta**t. Without it the first steps have a wrong length.")
def biased(theta, g, m, v, t, eta, beta1, beta2, eps):
    _, m, v = adam_step(theta, g, m, v, t, eta, beta1, beta2, eps)
    return theta - eta * m / (np.sqrt(v) + eps), m, v


@adam_step.mistake("return the means as they are kept, M and V: what is divided by 1 - beta**t is for this step only.")
def hats_returned(theta, g, m, v, t, eta, beta1, beta2, eps):
    theta, m, v = adam_step(theta, g, m, v, t, eta, beta1, beta2, eps)
    return theta, m / (1 - beta1**t), v / (1 - beta2**t)


@adam_step.mistake("your epsilon is under the root. It is added after it.")
def epsilon_inside(theta, g, m, v, t, eta, beta1, beta2, eps):
    _, m, v = adam_step(theta, g, m, v, t, eta, beta1, beta2, eps)
    return theta - eta * m / (1 - beta1**t) / np.sqrt(v / (1 - beta2**t) + eps), m, v


@adam_step.mistake("you forgot the square: V is the mean of squared gradients.")
def not_squared(theta, g, m, v, t, eta, beta1, beta2, eps):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g
    return _adam(theta, g, m, v, t, eta, beta1, beta2, eps)


@adam_step.mistake("you exchanged the betas: the first belongs to the mean, the second to the mean of squares.")
def betas_exchanged(theta, g, m, v, t, eta, beta1, beta2, eps):
    return adam_step(theta, g, m, v, t, eta, beta2, beta1, eps)


@adam_step.mistake("you divided by V itself. The square root gives it back the unit of a gradient.")
def without_root(theta, g, m, v, t, eta, beta1, beta2, eps):
    _, m, v = adam_step(theta, g, m, v, t, eta, beta1, beta2, eps)
    return theta - eta * m / (1 - beta1**t) / (v / (1 - beta2**t) + eps), m, v


def _rise(t, eta, f, w):
    return eta * (f + (1 - f) * t / w)


def _wave(t, eta, S):
    return eta / 2 * (1 + math.cos(math.pi * t / S))


@exercise("6.4", cases=lambda rng: [(t, 0.2, 0.1, 10, 60) for t in (0, 4, 10, 35, 60)])
def rate(t, eta, f, w, S):
    """A straight line, and then half a wave over what is left."""
    return _rise(t, eta, f, w) if t < w else _wave(t - w, eta, S - w)


@rate.mistake(
    "your wave begins with training, and the rate leaps at step w. It begins with its own step 0 there: t - w."
)
def wave_from_the_start(t, eta, f, w, S):
    return _rise(t, eta, f, w) if t < w else _wave(t, eta, S)


@rate.mistake("your wave ends w steps too late: it has only S - w steps for its way down.")
def wave_too_long(t, eta, f, w, S):
    return _rise(t, eta, f, w) if t < w else _wave(t - w, eta, S)


@rate.mistake("your rise begins at 0. It begins at the share f of the rate, or the first step would do nothing.")
def rise_from_zero(t, eta, f, w, S):
    return eta * t / w if t < w else _wave(t - w, eta, S - w)


@rate.mistake("you left the rise out: for t < w the rate is eta times f + (1 - f) t / w.")
def without_the_rise(t, eta, f, w, S):
    return eta if t < w else _wave(t - w, eta, S - w)


@exercise("6.5", cases=lambda rng: [(2, 224), (3, 28), (50, 30), (4, 112), (5, 56)])
def rows_of_cnn(N, H):
    """All numbers there are, 3136 to a row."""
    return N * 64 * (H // 4) ** 2 // 3136


@rows_of_cnn.mistake("one row an image is what it should be. Count the numbers: 64 channels of (H // 4) by (H // 4).")
def one_each(N, H):
    return N


@rows_of_cnn.mistake("there are two poolings, each of which halves the side: H // 4, not H // 2.")
def pooled_once(N, H):
    return N * 64 * (H // 2) ** 2 // 3136


@rows_of_cnn.mistake("the map has no pixels of half a size: each pooling rounds down.")
def not_rounded(N, H):
    return N * 64 * H * H // 16 // 3136


@rows_of_cnn.mistake("you halved one side only. The map is (H // 4) by (H // 4).")
def one_side(N, H):
    return N * 64 * (H // 4) * H // 3136


def _dropped(rng):
    return [(rng.standard_normal((3, 4)), rng.integers(0, 2, (3, 4)), p, training) for p, training in _USES]


_USES = ((0.5, True), (0.2, True), (0.2, False))


@exercise("6.6", cases=_dropped)
def dropout(x, m, p, training):
    """What is kept grows by 1 / (1 - p); outside of training nothing happens."""
    return x * m / (1 - p) if training else x


@dropout.mistake(
    "what is kept must grow by 1 / (1 - p), or the next layer gets less in training than it will get later."
)
def not_enlarged(x, m, p, training):
    return x * m if training else x


@dropout.mistake("you divided by p. What stays is the share 1 - p.")
def divided_by_p(x, m, p, training):
    return x * m / p if training else x


@dropout.mistake("you drop outside of training too: then the same image gets another answer every time.")
def always(x, m, p, training):
    return x * m / (1 - p)


@dropout.mistake(
    "you shrink the values when the network is used. Here they grow in training, and then nothing is left to do."
)
def shrunk_later(x, m, p, training):
    return x * m if training else x * (1 - p)


@dropout.mistake("you kept what was to be dropped: m is 1 where a value stays.")
def the_wrong_ones(x, m, p, training):
    return x * (1 - m) / (1 - p) if training else x


_CURVES = (
    ([0.9, 0.7, 0.8, 0.75], 2),
    ([0.9, 0.7, 0.8, 0.75], 3),
    ([0.9, 0.6, 0.8, 0.6, 0.7], 3),
    ([0.9, 0.5, 0.8, 0.7, 0.6], 3),
    ([0.9, 0.8, 0.7], 1),
    ([0.5, 0.6], 1),
)


@exercise("6.7", cases=lambda rng: [(np.array(losses), q) for losses, q in _CURVES])
def stop(losses, q):
    """Whether the first of the best epochs is q epochs ago."""
    return bool(len(losses) - 1 - np.argmin(losses) >= q)


@stop.mistake("of several equally good epochs the first counts: what came later was no better.")
def last_of_the_best(losses, q):
    return bool(np.argmin(losses[::-1]) >= q)


@stop.mistake("one epoch too late: at exactly q epochs without a better one it is time. >=, not >.")
def one_too_late(losses, q):
    return bool(len(losses) - 1 - np.argmin(losses) > q)


@stop.mistake("one epoch too early: the last one is number len(losses) - 1, as the first is number 0.")
def one_too_early(losses, q):
    return bool(len(losses) - np.argmin(losses) >= q)


@stop.mistake("these are losses: the best is the smallest. For scores it would be the largest.")
def largest(losses, q):
    return bool(len(losses) - 1 - np.argmax(losses) >= q)


@stop.mistake("you compare each epoch with the one before. Compare with the best so far.")
def rising(losses, q):
    fell = np.flatnonzero(np.diff(losses) < 0)
    last = fell[-1] + 1 if len(fell) else 0
    return bool(len(losses) - 1 - last >= q)
