"""The fully connected CRF: equal to its loops, exact and in windows, and better than the logits that it is given."""

import numpy as np
import pytest

from minseg import postprocess
from minseg.equations.literal.ctx import ctx_crf_meanfield
from minseg.errors import ArgumentError, NonFiniteError, ShapeError
from minseg.postprocess import Affinity, all_pairs, dense_crf, window_pairs

AFFINITY = Affinity(appearance=2.0, place_std=1.7, colour_std=40.0, smoothness=0.7, smoothness_std=1.1)


def small(H=3, W=4, K=3, C=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((K, H, W)), rng.integers(0, 256, (H, W, C)).astype(np.uint8)


def softmax(z):
    p = np.exp(z - z.max(axis=0))
    return p / p.sum(axis=0)


def connections(image, affinity):
    """k, pair by pair."""
    H, W, _ = image.shape
    places = [(i, j) for i in range(H) for j in range(W)]
    N = len(places)
    kernels = np.zeros((2, N, N))
    for a, (i, j) in enumerate(places):
        for b, (m, n) in enumerate(places):
            distance = (i - m) ** 2 + (j - n) ** 2
            difference = ((image[i, j].astype(float) - image[m, n]) ** 2).sum()
            kernels[0, a, b] = np.exp(-distance / 2 / affinity.place_std**2 - difference / 2 / affinity.colour_std**2)
            kernels[1, a, b] = np.exp(-distance / 2 / affinity.smoothness_std**2)
    k = np.zeros((N, N))
    for weight, kernel in zip((affinity.appearance, affinity.smoothness), kernels, strict=True):
        total = kernel.sum(axis=1)
        k += weight * kernel / np.sqrt(np.outer(total, total))
    return k


def dense(pairs, H, W):
    """The pairs of a window as k, with an empty diagonal."""
    k = np.zeros((H * W, H * W))
    numbers = np.arange(H * W).reshape(H, W)
    for one, other, values in pairs:
        assert (k[numbers[one], numbers[other]] == 0).all(), "a pair came twice"
        k[numbers[one], numbers[other]] = k[numbers[other], numbers[one]] = values
    return k


def test_exact_connections_pair_by_pair():
    _, image = small()
    assert np.abs(all_pairs(image.astype(float), AFFINITY) - connections(image, AFFINITY)).max() < 1e-12


@pytest.mark.parametrize("size", [(3, 4), (1, 5), (4, 1), (5, 3)])
def test_a_window_over_all_pixels_is_exact(size):
    _, image = small(*size)
    expected = connections(image, AFFINITY)
    np.fill_diagonal(expected, 0)
    found = dense(window_pairs(image.astype(float), AFFINITY, max(size) - 1), *size)
    assert np.abs(found - expected).max() < 1e-12


def test_the_mean_field_is_that_of_the_loops():
    logits, image = small()
    K, H, W = logits.shape
    q = u = -np.log(softmax(logits)).reshape(K, -1).T
    q = np.exp(-u)
    for _ in range(3):
        q = ctx_crf_meanfield(u, q, 1 - np.eye(K), connections(image, AFFINITY))
    for radius in (None, 3):
        found = dense_crf(logits, image, iterations=3, affinity=AFFINITY, radius=radius)
        assert np.abs(found - q.T.reshape(K, H, W)).max() < 1e-12


def test_the_window_alone_decides_between_exact_and_truncated(monkeypatch):
    logits, image = small(4, 9)
    exact = dense_crf(logits, image, affinity=AFFINITY)
    truncated = dense_crf(logits, image, affinity=AFFINITY, radius=2)
    assert np.abs(exact - truncated).max() > 1e-4
    monkeypatch.setattr(postprocess, "EXACT_PIXELS", 35)
    monkeypatch.setattr(postprocess, "RADIUS", 2)
    assert np.array_equal(dense_crf(logits, image, affinity=AFFINITY), truncated)
    assert np.abs(dense_crf(logits, image, affinity=AFFINITY, radius=8) - exact).max() < 1e-12


def test_a_pixel_outside_of_the_window_is_not_heard():
    logits, image = small(5, 9)
    before = dense_crf(logits, image, iterations=1, affinity=AFFINITY, radius=2)
    logits[0, 2, 1] += 3
    changed = np.abs(dense_crf(logits, image, iterations=1, affinity=AFFINITY, radius=2) - before).max(axis=0) > 1e-9
    assert changed[:, :4].all()
    assert not changed[:, 4:].any()


@pytest.mark.parametrize("size", [24, 80])
def test_noise_goes_and_the_edge_stays(size):
    """Half of an image is bright. Of the noisy logits a third is wrong; 24 pixels are exact, 80 truncated."""
    rng = np.random.default_rng(3)
    truth = np.zeros((size, size), int)
    truth[:, size // 2 :] = 1
    image = (60 + 120 * truth + 5 * rng.standard_normal(truth.shape))[..., None]
    logits = np.stack([0.5 - truth, truth - 0.5]) + 0.8 * rng.standard_normal((2, size, size))
    wrong = (logits.argmax(0) != truth).mean()
    repaired = (dense_crf(logits, image).argmax(0) != truth).mean()
    assert wrong > 0.15
    assert repaired < 0.01


def test_dtype_size_and_sum():
    for dtype in (np.float32, np.float64):
        logits, image = small(3, 4)
        given, before = logits.astype(dtype), image.copy()
        p = dense_crf(given, image)
        assert p.dtype == dtype
        assert p.shape == logits.shape
        assert np.abs(p.sum(axis=0) - 1).max() < 1e-6
        assert np.array_equal(given, logits.astype(dtype))
        assert np.array_equal(image, before)
        for radius in (1, 3):
            assert dense_crf(given, image, radius=radius).dtype == dtype


def test_nothing_to_hear():
    logits, image = small()
    assert np.abs(dense_crf(logits, image, iterations=0) - softmax(logits)).max() < 1e-12
    assert np.abs(dense_crf(logits[:, :1, :1], image[:1, :1]) - softmax(logits[:, :1, :1])).max() < 1e-12
    nothing = Affinity(appearance=0, smoothness=0)
    assert np.abs(dense_crf(logits, image, affinity=nothing) - softmax(logits)).max() < 1e-12


def test_large_logits_do_not_overflow():
    logits, image = small()
    assert np.isfinite(dense_crf(1000 * logits, image)).all()


def test_bad_input():
    logits, image = small()
    with pytest.raises(ShapeError, match=r"dense_crf: expected logits \(K, H, W\) .* got \(3, 3, 4\) and \(4, 3, 2\)"):
        dense_crf(logits, image.transpose(1, 0, 2))
    with pytest.raises(ShapeError, match="of the same size"):
        dense_crf(logits, image[..., 0])
    with pytest.raises(ArgumentError, match="logits must be float, got int64"):
        dense_crf(logits.astype(np.int64), image)
    with pytest.raises(ArgumentError, match="radius at least 1, got 5 and 0"):
        dense_crf(logits, image, radius=0)
    with pytest.raises(ArgumentError, match="iterations must be at least 0"):
        dense_crf(logits, image, iterations=-1)
    with pytest.raises(ArgumentError, match="standard deviations must be positive"):
        Affinity(colour_std=0)
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        dense_crf(logits * np.nan, image)


def test_too_many_pairs_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(postprocess, "MOST_PAIRS", 100)
    logits, image = small(5, 9)
    with pytest.raises(ArgumentError, match=r"540 pairs of pixels, more than 100; take a smaller radius than 2"):
        dense_crf(logits, image, radius=2)
