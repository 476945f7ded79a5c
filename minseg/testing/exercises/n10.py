"""Exercises of notebook 10: windows with holes, how many of them to see far, means over grids, a vote of pixels, Grad-CAM."""

import numpy as np

from minseg.testing.exercises.exercise import exercise


def _atrous_cases(rng):
    kernels = (3, 3), (3, 5), (5, 1)
    return [(rng.standard_normal((7, 9)), rng.standard_normal(k), d) for k, d in zip(kernels, (2, 1, 3))]


def _sum_of_shifts(x, w, offset, pad_mode="constant"):
    """The sum of w[p, q] times x, shifted by offset(p, q) rows and columns; outside as np.pad has it."""
    H, W = x.shape
    far = 2 * max(H, W)
    around = np.pad(x, far, mode=pad_mode)
    y = np.zeros((H, W))
    for p, q in np.ndindex(w.shape):
        row, column = offset(p, q)
        y += w[p, q] * around[far + row : far + row + H, far + column : far + column + W]
    return y


def _centred(w, d):
    return lambda p, q: (d * (p - w.shape[0] // 2), d * (q - w.shape[1] // 2))


@exercise("10.1", cases=_atrous_cases)
def atrous(x, w, d):
    """Weight (p, q) lies d (p - P) rows and d (q - Q) columns from the middle."""
    return _sum_of_shifts(x, w, _centred(w, d))


@atrous.mistake("your window begins at the pixel. It must lie around it: subtract the middle, d * (p - P).")
def begins_at_the_pixel(x, w, d):
    return _sum_of_shifts(x, w, lambda p, q: (d * p, d * q))


@atrous.mistake("you subtract the middle without the dilation: the offset is d * (p - P), not d * p - P.")
def middle_not_dilated(x, w, d):
    return _sum_of_shifts(x, w, lambda p, q: (d * p - w.shape[0] // 2, d * q - w.shape[1] // 2))


@atrous.mistake("your kernel has no holes: the dilation d does nothing. Neighbouring weights lie d pixels apart.")
def without_holes(x, w, d):
    return atrous(x, w, 1)


@atrous.mistake(
    "your kernel is rotated by 180 degrees, as in ERR-01: weight (p, q) meets the pixel d * (p - P) further down."
)
def rotated(x, w, d):
    return atrous(x, w[::-1, ::-1], d)


@atrous.mistake("outside of the map you repeat its edge. There are zeros outside.")
def repeated_edge(x, w, d):
    return _sum_of_shifts(x, w, _centred(w, d), "edge")


@exercise("10.2", cases=lambda rng: [(side, doubling) for side in (3, 7, 8, 63, 64, 500) for doubling in (False, True)])
def layers_needed(side, doubling):
    """n layers see 1 + 2 n pixels in a row, or 1 + 2 (1 + 2 + ... + 2^(n-1)) = 2^(n+1) - 1."""
    layers, seen = 0, 1
    while seen < side:
        seen += 2 * (2**layers if doubling else 1)
        layers += 1
    return layers


@layers_needed.mistake("a layer adds 2 pixels for each step of its dilation, one on either side, not 3.")
def three_a_layer(side, doubling):
    layers, seen = 0, 1
    while seen < side:
        seen += 3 * (2**layers if doubling else 1)
        layers += 1
    return layers


@layers_needed.mistake("you begin with nothing. Without any layer an output sees one pixel: its own.")
def nothing_at_first(side, doubling):
    return layers_needed(side + 1, doubling)


@layers_needed.mistake("count both sides: a layer of dilation d adds d pixels to the left and d to the right.")
def one_side(side, doubling):
    return layers_needed(2 * side - 1, doubling)


@layers_needed.mistake("the first layer has dilation 1, not 2: 1, 2, 4, 8 ...")
def begins_with_two(side, doubling):
    return layers_needed((side + 1) / 2 if doubling else side, doubling)


def _grids(rng):
    return [(rng.standard_normal(size), *grid) for size, grid in (((7, 8), (3, 3)), ((6, 9), (2, 3)), ((5, 7), (5, 2)))]


def _windows(n, count, start=lambda i, n, k: i * n // k, stop=lambda i, n, k: -(-(i + 1) * n // k)):
    return [slice(start(i, n, count), stop(i, n, count)) for i in range(count)]


@exercise("10.3", cases=_grids)
def grid_means(x, I, J):
    """Window i of n rows in k: from floor(i n / k) to before ceil((i + 1) n / k)."""
    rows, columns = _windows(x.shape[0], I), _windows(x.shape[1], J)
    return np.array([[x[r, c].mean() for c in columns] for r in rows])


@grid_means.mistake("the stop is rounded up: where windows do not fit, neighbours share a row. -(-a // b) rounds up.")
def stop_rounded_down(x, I, J):
    down = lambda i, n, k: (i + 1) * n // k  # noqa: E731
    rows, columns = _windows(x.shape[0], I, stop=down), _windows(x.shape[1], J, stop=down)
    return np.array([[x[r, c].mean() for c in columns] for r in rows])


@grid_means.mistake("your windows all have H // I rows, so the last rows of the map are in none.")
def last_rows_left_out(x, I, J):
    begin, end = (lambda i, n, k: i * (n // k)), (lambda i, n, k: (i + 1) * (n // k))
    rows, columns = _windows(x.shape[0], I, begin, end), _windows(x.shape[1], J, begin, end)
    return np.array([[x[r, c].mean() for c in columns] for r in rows])


@grid_means.mistake("that is the sum over each window: divide by the number of its pixels.")
def sums(x, I, J):
    rows, columns = _windows(x.shape[0], I), _windows(x.shape[1], J)
    return np.array([[x[r, c].sum() for c in columns] for r in rows])


@grid_means.mistake(
    "you divide by H W / (I J). Windows that share rows are larger: divide each by its own number of pixels."
)
def one_divisor(x, I, J):
    return sums(x, I, J) * I * J / x.size


def _votes(rng):
    cases = []
    for N, L in ((5, 3), (7, 2)):
        q, k = rng.uniform(0.1, 1, (N, L)), rng.uniform(0, 1, (N, N))
        cases.append((rng.uniform(0, 2, (N, L)), q / q.sum(axis=1, keepdims=True), rng.uniform(0, 1, (L, L)), k + k.T))
    return cases


def _shares(cost, axis=1):
    e = np.exp(-cost)
    return e / e.sum(axis=axis, keepdims=True)


def _heard(q, k):
    return (k - np.diag(np.diag(k))) @ q


@exercise("10.4", cases=_votes)
def mean_field(u, q, mu, k):
    """A pixel's own cost, and mu for what it hears of the others."""
    return _shares(u + _heard(q, k) @ mu.T)


@mean_field.mistake("your pixels hear themselves: the formula leaves out j = i.")
def hears_itself(u, q, mu, k):
    return _shares(u + k @ q @ mu.T)


@mean_field.mistake("a sign is wrong: mu is a cost. What many others are, mu apart, becomes dearer: exp(-u - ...).")
def disagrees(u, q, mu, k):
    return _shares(u - _heard(q, k) @ mu.T)


@mean_field.mistake("you forgot u. The network's own opinion counts at every update, not only at the first.")
def without_u(u, q, mu, k):
    return _shares(_heard(q, k) @ mu.T)


@mean_field.mistake("the sum in the denominator runs over the labels of one pixel, not over the pixels.")
def over_pixels(u, q, mu, k):
    return _shares(u + _heard(q, k) @ mu.T, axis=0)


@mean_field.mistake("mu is the wrong way round: mu[l, a] is what label l pays beside label a.")
def mu_transposed(u, q, mu, k):
    return _shares(u + _heard(q, k) @ mu)


@mean_field.mistake("you start from q instead of u: minus log q is the cost of the last round, u that of the network.")
def from_q(u, q, mu, k):
    return _shares(-np.log(q) + _heard(q, k) @ mu.T)


@exercise(
    "10.5",
    cases=lambda rng: [(rng.standard_normal((5, *size)), rng.standard_normal((5, *size))) for size in ((3, 4), (6, 5))],
)
def grad_cam(A, g):
    """Each channel times the mean of its gradient, summed, and what is negative cut off."""
    return np.maximum(0, np.tensordot(g.mean(axis=(1, 2)), A, axes=1))


@grad_cam.mistake("what speaks against the class is to be left out: the maximum with 0 is missing.")
def with_negative(A, g):
    return np.tensordot(g.mean(axis=(1, 2)), A, axes=1)


@grad_cam.mistake("you multiply pixel by pixel. Each channel has one weight: the mean of its gradient over the map.")
def pixel_by_pixel(A, g):
    return np.maximum(0, (A * g).sum(axis=0))


@grad_cam.mistake("you sum the gradient instead of averaging it: divide by H W.")
def summed(A, g):
    return np.maximum(0, np.tensordot(g.sum(axis=(1, 2)), A, axes=1))


@grad_cam.mistake("you cut off each channel by itself. First the sum over the channels, then the maximum with 0.")
def cut_each_channel(A, g):
    return np.maximum(0, g.mean(axis=(1, 2))[:, None, None] * A).sum(axis=0)
