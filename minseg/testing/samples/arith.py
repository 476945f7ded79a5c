"""Samples for the equations of arithmetic: both signs, ties and limits where the equation has them, sizes that all differ."""

from collections.abc import Iterator

import numpy as np

from minseg import autograd
from minseg.autograd import tensor
from minseg.testing.equations import Sample
from minseg.testing.samples.backward import gradient

Y_BAR = 1.7


def _one(value: float) -> np.ndarray:
    return np.array([value])


def _of_two(operation, pairs) -> Iterator[Sample]:
    for a, b in pairs:
        yield Sample({"a": a, "b": b}, (), lambda a=a, b=b: operation(tensor(_one(a)), tensor(_one(b))).item())


def _of_two_grad(operation, of: int, letters: str, pairs) -> Iterator[Sample]:
    """The gradient for operand number ``of``; ``letters`` are those that its equation reads."""
    for a, b in pairs:
        known = {"a": a, "b": b}
        values = {r"\bar{y}": Y_BAR, **{letter: known[letter] for letter in letters}}
        yield Sample(values, (), lambda a=a, b=b: gradient(operation, of, _one(Y_BAR), _one(a), _one(b))[0])


def _of_one(operation, points) -> Iterator[Sample]:
    for x in points:
        yield Sample({"x": x}, (), lambda x=x: operation(tensor(_one(x))).item())


def _of_one_grad(operation, letter: str, points) -> Iterator[Sample]:
    """``letter`` says whether the equation reads the operand x or the result y."""
    for x in points:
        value = x if letter == "x" else operation(tensor(_one(x))).item()
        values = {r"\bar{y}": Y_BAR, letter: value}
        yield Sample(values, (), lambda x=x: gradient(operation, 0, _one(Y_BAR), _one(x))[0])


PAIRS = ((0.7, -1.3), (-2.2, 0.4))
POSITIVE = ((0.7, 1.3), (2.2, -0.4))
TIES = (*PAIRS, (0.6, 0.6), (0.7, 1.0), (1.0, 0.7))
POINTS = (-1.4, -0.4, 0.0, 0.6, 2.3)
ABOVE_0 = (0.3, 2.3)


def arith_add(rng) -> Iterator[Sample]:
    yield from _of_two(autograd.add, PAIRS)


def arith_add_grad(rng) -> Iterator[Sample]:
    yield from _of_two_grad(autograd.add, 0, "", PAIRS)
    yield from _of_two_grad(autograd.add, 1, "", PAIRS)


def arith_sub(rng) -> Iterator[Sample]:
    yield from _of_two(autograd.sub, PAIRS)


def arith_sub_grad_b(rng) -> Iterator[Sample]:
    yield from _of_two_grad(autograd.sub, 1, "", PAIRS)


def arith_mul(rng) -> Iterator[Sample]:
    yield from _of_two(autograd.mul, PAIRS)


def arith_mul_grad_a(rng) -> Iterator[Sample]:
    yield from _of_two_grad(autograd.mul, 0, "b", PAIRS)


def arith_mul_grad_b(rng) -> Iterator[Sample]:
    yield from _of_two_grad(autograd.mul, 1, "a", PAIRS)


def arith_div(rng) -> Iterator[Sample]:
    yield from _of_two(autograd.div, PAIRS)


def arith_div_grad_a(rng) -> Iterator[Sample]:
    yield from _of_two_grad(autograd.div, 0, "b", PAIRS)


def arith_div_grad_b(rng) -> Iterator[Sample]:
    yield from _of_two_grad(autograd.div, 1, "ab", PAIRS)


def arith_pow(rng) -> Iterator[Sample]:
    yield from _of_two(autograd.pow, POSITIVE)


def arith_pow_grad_a(rng) -> Iterator[Sample]:
    yield from _of_two_grad(autograd.pow, 0, "ab", POSITIVE)


def arith_pow_grad_b(rng) -> Iterator[Sample]:
    yield from _of_two_grad(autograd.pow, 1, "ab", POSITIVE)


def arith_maximum(rng) -> Iterator[Sample]:
    yield from _of_two(autograd.maximum, TIES)


def arith_maximum_grad_a(rng) -> Iterator[Sample]:
    yield from _of_two_grad(autograd.maximum, 0, "ab", TIES)


def arith_maximum_grad_b(rng) -> Iterator[Sample]:
    yield from _of_two_grad(autograd.maximum, 1, "ab", TIES)


def arith_minimum(rng) -> Iterator[Sample]:
    yield from _of_two(autograd.minimum, TIES)


def arith_minimum_grad_a(rng) -> Iterator[Sample]:
    yield from _of_two_grad(autograd.minimum, 0, "ab", TIES)


def arith_minimum_grad_b(rng) -> Iterator[Sample]:
    yield from _of_two_grad(autograd.minimum, 1, "ab", TIES)


def _where(c: int):
    return lambda a, b: autograd.where(np.array([bool(c)]), a, b)


def arith_where(rng) -> Iterator[Sample]:
    a, b = PAIRS[0]
    for c in (0, 1):
        values = {"a": a, "b": b, "c": c}
        yield Sample(values, (), lambda c=c: _where(c)(tensor(_one(a)), tensor(_one(b))).item())


def _where_grad(of: int) -> Iterator[Sample]:
    a, b = PAIRS[0]
    for c in (0, 1):
        values = {r"\bar{y}": Y_BAR, "c": c}
        yield Sample(values, (), lambda c=c: gradient(_where(c), of, _one(Y_BAR), _one(a), _one(b))[0])


def arith_where_grad_a(rng) -> Iterator[Sample]:
    yield from _where_grad(0)


def arith_where_grad_b(rng) -> Iterator[Sample]:
    yield from _where_grad(1)


def arith_neg(rng) -> Iterator[Sample]:
    yield from _of_one(autograd.neg, POINTS)


def arith_exp(rng) -> Iterator[Sample]:
    yield from _of_one(autograd.exp, POINTS)


def arith_exp_grad(rng) -> Iterator[Sample]:
    yield from _of_one_grad(autograd.exp, "y", POINTS)


def arith_log(rng) -> Iterator[Sample]:
    yield from _of_one(autograd.log, ABOVE_0)


def arith_log_grad(rng) -> Iterator[Sample]:
    yield from _of_one_grad(autograd.log, "x", ABOVE_0)


def arith_sqrt(rng) -> Iterator[Sample]:
    yield from _of_one(autograd.sqrt, ABOVE_0)


def arith_sqrt_grad(rng) -> Iterator[Sample]:
    yield from _of_one_grad(autograd.sqrt, "y", ABOVE_0)


def arith_abs(rng) -> Iterator[Sample]:
    yield from _of_one(autograd.abs, POINTS)


def arith_abs_grad(rng) -> Iterator[Sample]:
    yield from _of_one_grad(autograd.abs, "x", POINTS)


LOW, HIGH = -0.6, 0.9
BELOW_TO_ABOVE = (-1.4, -0.8, LOW, 0.2, HIGH, 1.2, 2.3)


def _clip(x):
    return autograd.clip(x, LOW, HIGH)


def arith_clip(rng) -> Iterator[Sample]:
    for x in BELOW_TO_ABOVE:
        yield Sample({"x": x, "l": LOW, "h": HIGH}, (), lambda x=x: _clip(tensor(_one(x))).item())


def arith_clip_grad(rng) -> Iterator[Sample]:
    for x in BELOW_TO_ABOVE:
        values = {r"\bar{y}": Y_BAR, "x": x, "l": LOW, "h": HIGH}
        yield Sample(values, (), lambda x=x: gradient(_clip, 0, _one(Y_BAR), _one(x))[0])


# ----------------------------------------------------------------------------------------------------------- reductions

LISTS = tuple(
    np.array(x)
    for x in (
        (0.7, -1.3, 2.1, 0.4, 2.1),
        (-0.9, -1.8, -0.2, -1.8),
        (1.6, 0.3, -2.4, -0.8),
        (-1.1, 0.2, 0.9),
        (0.8, -0.3, -1.5),
    )
)
"""Each end, and a place between, is the largest or the smallest in one of them; the first two have ties."""


def _along(operation) -> Iterator[Sample]:
    for x in LISTS:
        yield Sample({"x": x, "N": len(x)}, (), lambda x=x: operation(tensor(x)))


def _along_grad(operation, letters: str) -> Iterator[Sample]:
    for x in LISTS:
        known = {"x": x, "N": len(x)}
        values = {r"\bar{y}": Y_BAR, **{letter: known[letter] for letter in letters}}
        yield Sample(values, x.shape, lambda x=x: gradient(operation, 0, np.array(Y_BAR), x), extra={"N": len(x)})


def arith_sum(rng) -> Iterator[Sample]:
    yield from _along(autograd.sum)


def arith_sum_grad(rng) -> Iterator[Sample]:
    yield from _along_grad(autograd.sum, "")


def arith_mean(rng) -> Iterator[Sample]:
    yield from _along(autograd.mean)


def arith_mean_grad(rng) -> Iterator[Sample]:
    yield from _along_grad(autograd.mean, "N")


def arith_var(rng) -> Iterator[Sample]:
    for x in LISTS:
        for c in (0, 1):
            values = {"x": x, r"\mu": float(x.mean()), "N": len(x), "c": c}
            yield Sample(values, (), lambda x=x, c=c: autograd.var(tensor(x), correction=c))


def arith_var_grad(rng) -> Iterator[Sample]:
    for x in LISTS:
        for c in (0, 1):
            values = {r"\bar{y}": Y_BAR, "x": x, r"\mu": float(x.mean()), "N": len(x), "c": c}

            def code(x=x, c=c):
                return gradient(lambda x: autograd.var(x, correction=c), 0, np.array(Y_BAR), x)

            yield Sample(values, x.shape, code)


def arith_max(rng) -> Iterator[Sample]:
    yield from _along(autograd.max)


def arith_max_grad(rng) -> Iterator[Sample]:
    yield from _along_grad(autograd.max, "xN")


def arith_min(rng) -> Iterator[Sample]:
    yield from _along(autograd.min)


def arith_min_grad(rng) -> Iterator[Sample]:
    yield from _along_grad(autograd.min, "xN")


I, J, K = 2, 4, 3


def _matrices(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return rng.standard_normal((I, K)), rng.standard_normal((K, J)), rng.standard_normal((I, J))


def arith_matmul(rng) -> Iterator[Sample]:
    a, b, _ = _matrices(rng)
    yield Sample({"a": a, "b": b, "K": K}, (I, J), lambda: autograd.matmul(tensor(a), tensor(b)))


def arith_matmul_grad_a(rng) -> Iterator[Sample]:
    a, b, y_bar = _matrices(rng)
    values = {r"\bar{y}": y_bar, "b": b, "J": J}
    yield Sample(values, (I, K), lambda: gradient(autograd.matmul, 0, y_bar, a, b))


def arith_matmul_grad_b(rng) -> Iterator[Sample]:
    a, b, y_bar = _matrices(rng)
    values = {r"\bar{y}": y_bar, "a": a, "I": I}
    yield Sample(values, (K, J), lambda: gradient(autograd.matmul, 1, y_bar, a, b))


# --------------------------------------------------------------------------------------------------------------- shapes


def arith_reshape(rng) -> Iterator[Sample]:
    x = rng.standard_normal((I, J))
    yield Sample({"x": x, "J": J}, (I * J,), lambda: autograd.reshape(tensor(x), -1))


def arith_reshape_grad(rng) -> Iterator[Sample]:
    y_bar = rng.standard_normal(I * J)

    def code():
        return gradient(lambda x: autograd.reshape(x, -1), 0, y_bar, np.zeros((I, J)))

    yield Sample({r"\bar{y}": y_bar, "J": J}, (I, J), code)


def arith_permute(rng) -> Iterator[Sample]:
    x = rng.standard_normal((I, J, K))
    yield Sample({"x": x}, (K, I, J), lambda: autograd.permute(tensor(x), 2, 0, 1))


def arith_permute_grad(rng) -> Iterator[Sample]:
    y_bar = rng.standard_normal((K, I, J))

    def code():
        return gradient(lambda x: autograd.permute(x, 2, 0, 1), 0, y_bar, np.zeros((I, J, K)))

    yield Sample({r"\bar{y}": y_bar}, (I, J, K), code)


def arith_broadcast_to(rng) -> Iterator[Sample]:
    x = rng.standard_normal(I)
    yield Sample({"x": x}, (K, I), lambda: autograd.broadcast_to(tensor(x), (K, I)), extra={"N": K})


def arith_broadcast_to_grad(rng) -> Iterator[Sample]:
    y_bar = rng.standard_normal((K, I))
    values = {r"\bar{y}": y_bar, "N": K}
    yield Sample(values, (I,), lambda: gradient(lambda x: autograd.broadcast_to(x, (K, I)), 0, y_bar, np.zeros(I)))
    yield Sample(values, (I,), lambda: gradient(autograd.add, 1, y_bar, np.zeros((K, I)), np.zeros(I)))


# ----------------------------------------------------------------------------------------------------- parts and unions

TAKEN = np.array([2, 0, 2, 4, 1])


def arith_index(rng) -> Iterator[Sample]:
    x = rng.standard_normal(6)
    yield Sample({"x": x, "k": TAKEN}, TAKEN.shape, lambda: tensor(x)[TAKEN])


def arith_index_grad(rng) -> Iterator[Sample]:
    y_bar = rng.standard_normal(len(TAKEN))
    values = {r"\bar{y}": y_bar, "k": TAKEN, "N": len(TAKEN)}
    yield Sample(values, (6,), lambda: gradient(lambda x: x[TAKEN], 0, y_bar, np.zeros(6)), extra={"I": 6})


def _concatenate(a, b):
    return autograd.concatenate([a, b])


def arith_concatenate(rng) -> Iterator[Sample]:
    a, b = rng.standard_normal(3), rng.standard_normal(4)
    yield Sample({"a": a, "b": b, "N": 3}, (7,), lambda: _concatenate(tensor(a), tensor(b)))


def arith_concatenate_grad_a(rng) -> Iterator[Sample]:
    y_bar = rng.standard_normal(7)

    def code():
        return gradient(_concatenate, 0, y_bar, np.zeros(3), np.zeros(4))

    yield Sample({r"\bar{y}": y_bar}, (3,), code, extra={"N": 3})


def arith_concatenate_grad_b(rng) -> Iterator[Sample]:
    y_bar = rng.standard_normal(7)
    yield Sample({r"\bar{y}": y_bar, "N": 3}, (4,), lambda: gradient(_concatenate, 1, y_bar, np.zeros(3), np.zeros(4)))


def arith_pad(rng) -> Iterator[Sample]:
    x = rng.standard_normal(4)
    values = {"x": x, "l": 2, "N": 4, "v": 0.37}
    yield Sample(values, (9,), lambda: autograd.pad(tensor(x), (2, 3), value=0.37), extra={"r": 3})


def arith_pad_grad(rng) -> Iterator[Sample]:
    y_bar = rng.standard_normal(9)

    def code():
        return gradient(lambda x: autograd.pad(x, (2, 3)), 0, y_bar, np.zeros(4))

    yield Sample({r"\bar{y}": y_bar, "l": 2}, (4,), code, extra={"N": 4})
