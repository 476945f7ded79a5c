"""Exercises of notebook 03: measured gradients, the order of the walk backwards, broadcasting, and a convolution's gradient."""

from itertools import count

import numpy as np

from minseg.testing.exercises.exercise import exercise


def _bowl(x):
    """A smooth function whose second slopes are not all alike, so that one-sided differences are off."""
    return float((np.exp(x) * np.arange(1, x.size + 1).reshape(x.shape)).sum() + x.prod())


def _differences(f, x, h, right: float, left: float, divisor: float):
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        one, other = x.copy(), x.copy()
        one[index] += right * h
        other[index] += left * h
        gradient[index] = (f(one) - f(other)) / (divisor * h)
    return gradient


@exercise(
    "3.1",
    cases=lambda rng: [(_bowl, rng.standard_normal(4), 1e-2), (_bowl, rng.standard_normal((2, 3)), 1e-3)],
)
def measured_gradient(f, x, h):
    """To both sides, one element at a time."""
    return _differences(f, x, h, 1, -1, 2)


@measured_gradient.mistake("you went to the right only. Go to both sides: f(x + h) - f(x - h), divided by 2 h.")
def one_sided(f, x, h):
    return _differences(f, x, h, 1, 0, 1)


@measured_gradient.mistake("from x - h to x + h is a distance of 2 h, but you divided by h.")
def half_the_distance(f, x, h):
    return _differences(f, x, h, 1, -1, 1)


@measured_gradient.mistake("the sign is wrong: it is right minus left, f(x + h) - f(x - h).")
def wrong_way(f, x, h):
    return _differences(f, x, h, -1, 1, 2)


@measured_gradient.mistake("you moved all elements at once. Each has its own slope: move one, leave the others.")
def all_at_once(f, x, h):
    return np.full_like(x, (f(x + h) - f(x - h)) / (2 * h))


_GRAPHS = [
    ({2: [1, 1], 1: [0, 0]}, 2),
    ({5: [4, 1], 4: [3, 2], 3: [1, 0]}, 5),
    ({4: [3, 1], 3: [2], 2: [1], 1: [0]}, 4),
    ({3: [1, 2], 1: [0], 2: [1], 4: [3]}, 3),
]


def _judge_order(result, uses, last) -> str | None:
    reached, stack = set(), [last]
    while stack:
        number = stack.pop()
        if number not in reached:
            reached.add(number)
            stack += uses.get(number, [])
    order = [int(number) for number in np.ravel(result)]
    twice = [number for number in order if order.count(number) > 1]
    if twice:
        return f"{twice[0]} is in the list twice: it would hand its slope on twice."
    for number in sorted(set(order) ^ reached):
        return f"{number} is {'missing' if number in reached else f'not below {last}'}; got {order}."
    place = dict(zip(order, count()))
    for number in order:
        for source in uses.get(number, []):
            if place[source] < place[number]:
                return f"{source} comes before {number}, which is computed from it and has not handed its slope on yet."
    return None


@exercise("3.2", cases=lambda rng: _GRAPHS, judge=_judge_order)
def backward_order(uses, last):
    """The order in which numbers are finished, turned round."""
    finished: list[int] = []

    def visit(number):
        if number not in finished:
            for source in uses.get(number, []):
                visit(source)
            finished.append(number)

    visit(last)
    return finished[::-1]


@backward_order.mistake("that is the order of the computation: sources first. Backwards, results come first.")
def forward_order(uses, last):
    return backward_order(uses, last)[::-1]


@backward_order.mistake(
    "you go straight down from each number as soon as you meet it. Then one can have its turn before everything that uses it "
    "has: the first puzzle of this page, where 6 came out for 4."
)
def straight_down(uses, last):
    found: list[int] = []

    def visit(number):
        if number not in found:
            found.append(number)
            for source in uses.get(number, []):
                visit(source)

    visit(last)
    return found


@backward_order.mistake(
    "you go level by level. A number that is used both near the end and far from it comes too early: it has to wait for the last "
    "that uses it."
)
def level_by_level(uses, last):
    found, level = [], [last]
    while level:
        found += [number for number in dict.fromkeys(level) if number not in found]
        level = [source for number in level for source in uses.get(number, []) if source not in found]
    return found


@exercise(
    "3.3",
    cases=lambda rng: [
        (rng.standard_normal((2, 3)), (3,)),
        (rng.standard_normal((4, 3, 5)), (3, 1)),
        (rng.standard_normal((2, 3, 4)), (2, 1, 4)),
        (rng.standard_normal((3, 2)), (3, 2)),
    ],
)
def sum_to(g, shape):
    """Over axes in front of the shape, and over those where the shape is 1."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(axis for axis, n in enumerate(shape) if n == 1), keepdims=True)


@sum_to.mistake("you took the mean. Each use counts in full: slopes of several uses add up.")
def mean_to(g, shape):
    g = g.mean(axis=tuple(range(g.ndim - len(shape))))
    return g.mean(axis=tuple(axis for axis, n in enumerate(shape) if n == 1), keepdims=True)


@sum_to.mistake("you took the first of the copies and left the others out. Every copy's slope counts: add them up.")
def first_of_each(g, shape):
    g = g[(0,) * (g.ndim - len(shape))]
    return g[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]


@sum_to.mistake(
    "axes in front are summed, but those of length 1 inside the shape are not: (3, 1) was stretched to (3, 5), too."
)
def only_in_front(g, shape):
    return g.sum(axis=tuple(range(g.ndim - len(shape))))


def _full(gy, w):
    """The full convolution: each output spread over its window."""
    (I, J), (R, S) = gy.shape, w.shape
    gx = np.zeros((I + R - 1, J + S - 1))
    for p in range(R):
        for q in range(S):
            gx[p : p + I, q : q + J] += gy * w[p, q]
    return gx


@exercise("3.4", cases=lambda rng: [(rng.standard_normal((4, 6)), rng.standard_normal((3, 2))), (np.eye(3), np.eye(2))])
def grad_x(gy, w):
    """Pixel (u, v) met w[p, q] at the place (u - p, v - q)."""
    return _full(gy, w)


@grad_x.mistake(
    "you slid the kernel as in the forward pass. Backwards it is turned by 180 degrees: pixel (u, v) met w[p, q] at (u - p, v - q)."
)
def not_turned(gy, w):
    return _full(gy, w[::-1, ::-1])


@grad_x.mistake(
    "the result has the size of gy. Pixels at the border get slopes too: I + R - 1 rows, J + S - 1 columns."
)
def cut_off(gy, w):
    return _full(gy, w)[: gy.shape[0], : gy.shape[1]]


@grad_x.mistake("each pixel got the slope of one window only. It lies below several, and their slopes add up: use +=.")
def overwritten(gy, w):
    (I, J), (R, S) = gy.shape, w.shape
    gx = np.zeros((I + R - 1, J + S - 1))
    for i in range(I):
        for j in range(J):
            gx[i : i + R, j : j + S] = gy[i, j] * w
    return gx
