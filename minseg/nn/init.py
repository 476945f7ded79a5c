"""Initial weights: Xavier for layers that squash (sigmoid, tanh) or stay linear, He for those that ReLU follows.

Each function draws from a generator that the caller hands in and returns a new NumPy array: no hidden random state. Both schemes
keep the signal's size the same from layer to layer. ReLU halves its mean square, so with Xavier's weights the signal of a deep ReLU
network fades to nothing (ERR-37); He's weights make up for the half.
"""

import math

import numpy as np

from minseg.errors import ArgumentError


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan-in and fan-out of a weight (O, I) or (O, I, R, S): what one output sums over, and what one input goes to.

    >>> fans((8, 3, 5, 5))
    (75, 200)
    """
    if len(shape) < 2 or min(shape) < 1:
        raise ArgumentError(f"fans: a weight has at least two sides (outputs, inputs, ...), got shape {tuple(shape)}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def xavier_std(n: int, m: int) -> float:
    r"""Compute Xavier's standard deviation from fan-in n and fan-out m.

    Equation ``init.xavier``
    ------------------------
    .. math::
        s = \sqrt{\frac{2}{n+m}}

    Source
    ------
    D3 Q3; Glorot and Bengio, AISTATS 2010.
    """
    return math.sqrt(2 / (n + m))  # eq: init.xavier


def he_std(n: int) -> float:
    r"""Compute He's standard deviation from fan-in n.

    Equation ``init.he``
    --------------------
    .. math::
        s = \sqrt{\frac{2}{n}}

    Source
    ------
    D3 Q3 (ERR-37); He, Zhang, Ren and Sun, ICCV 2015.
    """
    return math.sqrt(2 / n)  # eq: init.he


def normal(shape: tuple[int, ...], s: float, rng: np.random.Generator, dtype=np.float32) -> np.ndarray:
    """Draw from the normal distribution of mean 0 and standard deviation s."""
    return (s * rng.standard_normal(shape)).astype(dtype)


def uniform(shape: tuple[int, ...], s: float, rng: np.random.Generator, dtype=np.float32) -> np.ndarray:
    """Draw from the uniform distribution of mean 0 and standard deviation s: between -sqrt(3) s and sqrt(3) s."""
    bound = math.sqrt(3) * s
    return rng.uniform(-bound, bound, shape).astype(dtype)


def xavier_normal(shape: tuple[int, ...], rng: np.random.Generator, dtype=np.float32) -> np.ndarray:
    """Draw a weight of this shape with ``init.xavier``, normally distributed."""
    return normal(shape, xavier_std(*fans(shape)), rng, dtype)


def xavier_uniform(shape: tuple[int, ...], rng: np.random.Generator, dtype=np.float32) -> np.ndarray:
    """Draw a weight of this shape with ``init.xavier``, uniformly distributed."""
    return uniform(shape, xavier_std(*fans(shape)), rng, dtype)


def he_normal(
    shape: tuple[int, ...], rng: np.random.Generator, dtype=np.float32, fan_in: float | None = None
) -> np.ndarray:
    """Draw a weight of this shape with ``init.he``, normally distributed; ``fan_in`` where it is not that of ``fans(shape)``.

    >>> he_normal((2, 3), np.random.default_rng(0)).shape
    (2, 3)
    """
    return normal(shape, he_std(fan_in or fans(shape)[0]), rng, dtype)


def he_uniform(
    shape: tuple[int, ...], rng: np.random.Generator, dtype=np.float32, fan_in: float | None = None
) -> np.ndarray:
    """Draw a weight of this shape with ``init.he``, uniformly distributed; ``fan_in`` where it is not that of ``fans(shape)``."""
    return uniform(shape, he_std(fan_in or fans(shape)[0]), rng, dtype)
