"""A fully connected CRF: pixels that are near each other and of one colour are asked to agree on their class. NumPy only.

P. Kraehenbuehl, V. Koltun: Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials. NIPS 2011.

The paper sums over all pairs of pixels by filtering in a lattice of six dimensions. Here small images are computed exactly, pair by
pair; in larger ones each pixel hears those of a window around it. Which of the two is said by ``dense_crf``'s argument ``radius``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minseg.errors import ArgumentError, NonFiniteError, ShapeError

EXACT_PIXELS = 64 * 64
"""Images of at most that many pixels are exact unless a radius is given: 64 MiB for all pairs in float32."""
RADIUS = 8
"""The window of larger images reaches that many pixels to each side."""
MOST_PAIRS = 2**29
"""Pairs of pixels that are held at once: 2 GiB in float32."""


@dataclass(frozen=True)
class Affinity:
    """How much two pixels are asked to agree: alike places and colours (appearance), and alike places whatever the colour.

    Weights are in nats: what it costs a pixel if all that it is connected to, in typical surroundings, disagree with it.
    """

    appearance: float = 4.0
    place_std: float = 10.0
    """Of the appearance, in pixels."""
    colour_std: float = 13.0
    """Of the appearance, in the unit of the image; 13 of 255 is the scale of small differences of light."""
    smoothness: float = 1.0
    smoothness_std: float = 2.0
    """In pixels."""

    def __post_init__(self):
        if not (min(self.place_std, self.colour_std, self.smoothness_std) > 0 <= min(self.appearance, self.smoothness)):
            raise ArgumentError(f"dense_crf: standard deviations must be positive and weights at least 0, got {self}")

    def kernels(self, squared_distance, squared_difference) -> np.ndarray:
        """(2, ...): the two Gaussian kernels, 1 for a pixel and itself."""
        near = -squared_distance / (2 * self.place_std**2) - squared_difference / (2 * self.colour_std**2)
        smooth = -squared_distance / (2 * self.smoothness_std**2) + 0 * squared_difference
        return np.exp(np.stack([near, smooth]))

    @property
    def weights(self) -> np.ndarray:
        return np.array([self.appearance, self.smoothness])


def dense_crf(
    logits: np.ndarray,
    image: np.ndarray,
    iterations: int = 5,
    affinity: Affinity | None = None,
    radius: int | None = None,
) -> np.ndarray:
    r"""Sharpen a network's logits along the edges of the image, by mean-field inference in a fully connected CRF.

    Equation ``ctx.crf_meanfield``
    ------------------------------
    .. math::
        Q_{i,l} = \frac{\exp(-u_{i,l}-\sum_{a=0}^{L-1}\mu_{l,a}\sum_{j=0}^{N-1}[j \ne i]k_{i,j}q_{j,a})}
        {\sum_{b=0}^{L-1}\exp(-u_{i,b}-\sum_{a=0}^{L-1}\mu_{b,a}\sum_{j=0}^{N-1}[j \ne i]k_{i,j}q_{j,a})}

    u is minus the log-probability of the logits, :math:`\mu` is 1 for two classes that differ and 0 for the same (Potts), and k
    sums two Gaussian kernels, each divided by the roots of both pixels' sums over all pixels.

    Parameters
    ----------
    logits : array (K, H, W), float
        As ``predict_logits`` makes them.
    image : array (H, W, C)
        The image as it came, its colours in the unit of ``affinity.colour_std``.
    iterations : int
        Mean-field updates, all pixels at once.
    affinity : Affinity, optional
    radius : int, optional
        Each pixel hears those at most that many rows and columns away. Where left out: all others (exact) if the image has at most
        ``EXACT_PIXELS`` pixels, else those within ``RADIUS``.

    Returns
    -------
    array (K, H, W)
        Probabilities that sum to 1 over the classes, in the dtype of the logits.

    Raises
    ------
    ShapeError, ArgumentError
        If logits, image and radius do not fit, or the window holds more than ``MOST_PAIRS`` pairs.
    NonFiniteError
        If a logit or a colour is NaN or infinite.

    Source
    ------
    D4 reference 12, D5 reference 3 (by name, W-23); Kraehenbuehl and Koltun, NIPS 2011.
    """
    image = np.asarray(image)
    _expect_fitting(logits, image, iterations, radius)
    K, H, W = logits.shape
    image, affinity = image.astype(logits.dtype), affinity or Affinity()
    if H * W <= EXACT_PIXELS and (radius is None or radius >= max(H, W) - 1):
        k = all_pairs(image, affinity)

        def hear(q):
            return connected(k, q)
    else:
        pairs = list(window_pairs(image, affinity, RADIUS if radius is None else radius))

        def hear(q):
            return within_window(pairs, q.reshape(H, W, K)).reshape(H * W, K)

    u = -_log_softmax(logits.reshape(K, -1).T)  # (N, K)
    potts = 1 - np.eye(K, dtype=logits.dtype)
    q = np.exp(-u)
    for _ in range(iterations):
        q = update(u, hear(q), potts)
    return np.ascontiguousarray(q.T).reshape(K, H, W)


def mean_field_step(u: np.ndarray, q: np.ndarray, mu: np.ndarray, k: np.ndarray) -> np.ndarray:
    """One update (``ctx.crf_meanfield``): costs u and probabilities q (N, L), label costs mu (L, L), connections k (N, N)."""
    return update(u, connected(k, q), mu)


def update(u: np.ndarray, heard: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """The new probabilities (N, L), where ``heard`` (N, L) is what each pixel hears of the others' labels."""
    return np.exp(_log_softmax(-u - heard @ mu.T))  # eq: ctx.crf_meanfield


def connected(k: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The sum of k[i, j] q[j] over all j but i."""
    return k @ q - np.diag(k)[:, None] * q


def all_pairs(image: np.ndarray, affinity: Affinity) -> np.ndarray:
    """k (N, N) between all pixels of an image (H, W, C), row by row."""
    H, W, C = image.shape
    rows, columns = np.divmod(np.arange(H * W), W)
    distance = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    colours = image.reshape(H * W, C)
    difference = sum((colours[:, None, c] - colours[:, c]) ** 2 for c in range(C))
    kernels = affinity.kernels(distance.astype(image.dtype), difference)
    root = np.sqrt(kernels.sum(axis=2))  # (2, N)
    weighted = affinity.weights[:, None, None] * kernels / (root[:, :, None] * root[:, None, :])
    return weighted.sum(axis=0).astype(image.dtype)


Part = tuple[slice, slice]


def window_pairs(image: np.ndarray, affinity: Affinity, radius: int) -> Iterator[tuple[Part, Part, np.ndarray]]:
    """(one, other, k) for each offset in half of the window: image[one] and image[other] are the pixels of the pairs.

    k is the same both ways, so each pair comes once.
    """
    H, W, _ = image.shape
    offsets = [(y, x) for y in range(radius + 1) for x in range(-radius, radius + 1) if (y, x) > (0, 0)]
    parts = [_shifted(H, W, y, x) for y, x in offsets if y < H and abs(x) < W]

    def kernels(y: int, x: int, one: Part, other: Part) -> np.ndarray:
        difference = ((image[one] - image[other]) ** 2).sum(axis=-1)
        return affinity.kernels(image.dtype.type(y * y + x * x), difference)

    total = np.ones((2, H, W), image.dtype)  # each pixel and itself
    for y, x, one, other in parts:
        found = kernels(y, x, one, other)
        total[(slice(None), *one)] += found
        total[(slice(None), *other)] += found
    root = np.sqrt(total)
    for y, x, one, other in parts:
        divided = kernels(y, x, one, other) / (root[(slice(None), *one)] * root[(slice(None), *other)])
        yield one, other, np.tensordot(affinity.weights, divided, 1).astype(image.dtype)


def within_window(pairs: list[tuple[Part, Part, np.ndarray]], q: np.ndarray) -> np.ndarray:
    """The sum of k q over the pairs of each pixel: q (H, W, L) to the same shape."""
    heard = np.zeros_like(q)
    for one, other, k in pairs:
        heard[one] += k[..., None] * q[other]
        heard[other] += k[..., None] * q[one]
    return heard


def _shifted(H: int, W: int, y: int, x: int) -> tuple[int, int, Part, Part]:
    """The pixels that have a neighbour y rows below and x columns to the right, and these neighbours."""
    one = slice(0, H - y), slice(max(0, -x), min(W, W - x))
    other = slice(y, H), slice(max(0, x), min(W, W + x))
    return y, x, one, other


def _log_softmax(z: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def _expect_fitting(logits: np.ndarray, image: np.ndarray, iterations: int, radius: int | None) -> None:
    if logits.ndim != 3 or image.ndim != 3 or logits.shape[1:] != image.shape[:2] or 0 in logits.shape + image.shape:
        raise ShapeError(
            f"dense_crf: expected logits (K, H, W) and an image (H, W, C) of the same size, got {logits.shape} and {image.shape} "
            "[ctx.crf_meanfield]"
        )
    if logits.dtype.kind != "f":
        raise ArgumentError(f"dense_crf: logits must be float, got {logits.dtype} [ctx.crf_meanfield]")
    if iterations < 0 or (radius is not None and radius < 1):
        raise ArgumentError(
            f"dense_crf: iterations must be at least 0 and radius at least 1, got {iterations} and {radius}"
        )
    if not (np.isfinite(logits).all() and np.isfinite(image).all()):
        raise NonFiniteError("dense_crf: the logits or the image hold NaN or infinite values")
    H, W = image.shape[:2]
    reach = RADIUS if radius is None else radius
    pairs = H * W * ((2 * min(reach, H) + 1) * (2 * min(reach, W) + 1) // 2)
    if pairs > MOST_PAIRS:
        raise ArgumentError(
            f"dense_crf: {pairs:,} pairs of pixels, more than {MOST_PAIRS:,}; take a smaller radius than {reach}, or cut the image"
        )
