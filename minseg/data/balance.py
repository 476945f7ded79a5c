"""How frequent the classes are, and weights for the loss that make up for it: rare classes would else hardly be learned."""

import numpy as np

from minseg.errors import ArgumentError, DataError, ShapeError, nearest_names

CLASS_WEIGHTS = ("inverse", "median", "sqrt-median")
"""What ``class_weights`` knows."""


def class_frequencies(counts: np.ndarray) -> np.ndarray:
    """The share of each class among the pixels of the images that show it; 0 for a class that none shows.

    Parameters
    ----------
    counts : integer array (n, K), or (K,)
        Pixels of each class in each image, as ``class_counts(..., per_image=True)`` gives. (K,) counts as one image.

    >>> class_frequencies(np.array([[8, 2, 0], [10, 0, 0]])).tolist()
    [0.9, 0.2, 0.0]
    """
    counts = _checked(counts)
    shown = ((counts > 0) * counts.sum(axis=1, keepdims=True)).sum(axis=0)
    return counts.sum(axis=0) / np.maximum(shown, 1)  # eq: loss.weight_frequency


def class_weights(counts: np.ndarray, kind: str = "median") -> np.ndarray:
    """Weights for the classes, the larger the rarer, for ``cross_entropy`` or the alpha of ``focal_loss``.

    Parameters
    ----------
    counts : integer array (n, K), or (K,)
        As for ``class_frequencies``; it makes no difference to ``inverse`` whether the images are counted apart.
    kind : str
        ``inverse``: each class gets the same share of the loss. ``median``: each weighs the median of the frequencies over its
        own. ``sqrt-median``: the root of that, which draws rare classes less.

    Returns
    -------
    float64 array (K,)
        A class without a pixel has the weight 0, and is left out of the median and of the number of classes.

    Raises
    ------
    ArgumentError
        If the kind is unknown, or a count is negative.
    DataError
        If nothing was counted.

    >>> class_weights(np.array([80, 10, 10, 0]), "inverse").round(3).tolist()
    [0.417, 3.333, 3.333, 0.0]
    >>> class_weights(np.array([80, 10, 10, 0]), "median").tolist()
    [0.125, 1.0, 1.0, 0.0]
    """
    if kind not in CLASS_WEIGHTS:
        raise ArgumentError(f"unknown class weights {kind!r}; {nearest_names(kind, CLASS_WEIGHTS)}")
    counts = _checked(counts)
    n, f = counts.sum(axis=0), class_frequencies(counts)
    occurs, weights = n > 0, np.zeros(len(n))
    if kind == "inverse":
        weights[occurs] = n.sum() / (occurs.sum() * n[occurs])  # eq: loss.weight_inverse
    else:
        weights[occurs] = np.median(f[occurs]) / f[occurs]  # eq: loss.weight_median
    return np.sqrt(weights) if kind == "sqrt-median" else weights  # eq: loss.weight_sqrt_median


def _checked(counts) -> np.ndarray:
    """The counts as (n, K)."""
    counts = np.asarray(counts)
    if counts.ndim not in (1, 2):
        raise ShapeError(f"class weights: counts must have shape (K,) or (n, K), got {counts.shape}")
    if counts.size and counts.min() < 0:
        raise ArgumentError(f"class weights: a count cannot be negative, got {counts.min()}")
    if counts.sum() == 0:
        raise DataError("class weights: no pixel was counted; is every one of them ignored?")
    return np.atleast_2d(counts)
