"""Schedules: their values at the ends, what they refuse, and PyTorch's."""

import itertools
import math

import pytest

from minseg.errors import ArgumentError
from minseg.optim import SCHEDULES, Constant, Cosine, Polynomial, Step, WarmUp, learning_rate


@pytest.mark.parametrize("make", [Polynomial, Cosine])
@pytest.mark.parametrize("steps", [1, 7, 100])
def test_what_falls_starts_with_the_rate_ends_with_0_and_stays(make, steps):
    rate = make(0.2, steps)
    rates = [rate(step) for step in range(steps + 1)]
    assert rates[0] == 0.2
    assert all(a > b for a, b in itertools.pairwise(rates))
    assert [rate(steps), rate(steps + 1), rate(10 * steps)] == [0, 0, 0]


def test_polynomials_by_hand():
    assert [Polynomial(1.0, 4, power=1)(step) for step in range(4)] == [1, 0.75, 0.5, 0.25]
    assert Polynomial(1.0, 2)(1) == 0.5**0.9
    assert Polynomial(0.3, 4, power=0)(3) == 0.3


def test_cosine_by_hand():
    assert [Cosine(2.0, 2)(step) for step in range(3)] == pytest.approx([2, 1, 0], abs=1e-15)
    assert Cosine(1.0, 3)(1) == pytest.approx(0.75)


def test_steps_by_hand():
    rate = Step(1.0, step_size=3, gamma=0.5)
    assert [rate(step) for step in range(8)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert Constant(0.3)(10**9) == 0.3


def test_a_warm_up_goes_before_any_schedule_also_another_warm_up():
    rate = WarmUp(Polynomial(1.0, 4, power=1), steps=2, start_factor=0)
    assert [rate(step) for step in range(7)] == [0, 0.5, 1, 0.75, 0.5, 0.25, 0]
    twice = WarmUp(WarmUp(Constant(1.0), steps=1, start_factor=0.5), steps=1, start_factor=0.5)
    assert [twice(step) for step in range(3)] == [0.25, 0.5, 1]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warm_up", [0, 1, 30])
def test_every_name_is_a_rate_for_every_step(name, warm_up):
    rate = learning_rate(name, 0.1, 100, warm_up)
    rates = [rate(step) for step in range(100)]
    assert all(0 < r <= 0.1 for r in rates)
    assert rates[warm_up] == 0.1
    assert (rates[0] < 0.1) == (warm_up > 0)
    assert learning_rate(name, 0.1, 1)(0) == 0.1


def test_the_schedule_by_steps_falls_twice():
    rate = learning_rate("step", 1.0, 10)
    assert [round(rate(step), 6) for step in (0, 3, 4, 7, 8, 9)] == [1, 1, 0.1, 0.1, 0.01, 0.01]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Polynomial(0.1, -5), "Polynomial: steps must be a whole number of at least 1, got -5"),
        (lambda: Cosine(0.1, 0), "Cosine: steps must be a whole number of at least 1, got 0"),
        (lambda: Cosine(0.1, 2.5), "Cosine: steps must be a whole number of at least 1, got 2.5"),
        (lambda: Cosine(0.1, True), "Cosine: steps must be a whole number of at least 1, got True"),
        (lambda: Step(0.1, step_size=-1), "Step: step_size must be a whole number of at least 1, got -1"),
        (lambda: Step(0.1, 3, gamma=-0.5), "Step: gamma must be at least 0 and finite, got -0.5"),
        (lambda: WarmUp(Constant(1), steps=-3), "WarmUp: steps must be a whole number of at least 1, got -3"),
        (lambda: WarmUp(Constant(1), 3, math.inf), "WarmUp: start_factor must be at least 0 and finite, got inf"),
        (lambda: Polynomial(0.1, 5, power=-1), "Polynomial: power must be at least 0 and finite, got -1"),
        (lambda: Constant(-0.1), "Constant: lr must be at least 0 and finite, got -0.1"),
        (lambda: Polynomial(math.nan, 5), "Polynomial: lr must be at least 0 and finite, got nan"),
        (lambda: Cosine("fast", 5), "Cosine: lr must be at least 0 and finite, got 'fast'"),
        (lambda: learning_rate("cosine", 0.1, -10), "Cosine: steps must be a whole number of at least 1, got -10"),
        (lambda: learning_rate("cosine", 0.1, 10, 10), "warm_up must be at least 0 and less than all 10 steps, got 10"),
        (lambda: learning_rate("cosine", 0.1, 10, -1), "warm_up must be at least 0 and less than all 10 steps, got -1"),
        (lambda: learning_rate("cosin", 0.1, 10), "unknown schedule 'cosin'; did you mean 'cosine'"),
    ],
)
def test_what_makes_no_sense_is_one_clear_error(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.peer
def test_schedules_equal_pytorchs():
    torch = pytest.importorskip("torch")
    them = torch.optim.lr_scheduler
    warm_cosine = lambda optimizer: them.SequentialLR(  # noqa: E731
        optimizer,
        [them.LinearLR(optimizer, start_factor=0.2, total_iters=15), them.CosineAnnealingLR(optimizer, 85)],
        milestones=[15],
    )
    pairs = [
        (Constant(0.3), lambda optimizer: them.ConstantLR(optimizer, factor=1.0)),
        (Step(0.3, 15), lambda optimizer: them.StepLR(optimizer, 15)),
        (Step(0.3, 7, gamma=0.6), lambda optimizer: them.StepLR(optimizer, 7, gamma=0.6)),
        (Polynomial(0.3, 100), lambda optimizer: them.PolynomialLR(optimizer, 100, power=0.9)),
        (Polynomial(0.3, 60, power=2), lambda optimizer: them.PolynomialLR(optimizer, 60, power=2)),
        (Cosine(0.3, 100), lambda optimizer: them.CosineAnnealingLR(optimizer, 100)),
        (WarmUp(Cosine(0.3, 85), steps=15, start_factor=0.2), warm_cosine),
    ]
    for ours, make in pairs:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
        theirs = make(optimizer)
        for step in range(100):
            assert ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12), (ours, step)
            optimizer.step()
            theirs.step()
