"""Schedules: the learning rate as a function of the steps done and of nothing else, so a resumed run goes on with the same rate.

rate = WarmUp(Polynomial(2e-3, steps=900), steps=100)
for step in range(1000):
    optimizer.lr = rate(step)
"""

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass

from minseg.errors import ArgumentError, nearest_names

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """The same rate for ever.

    >>> Constant(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self):
        _expect(self, "lr", 0)

    def __call__(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True)
class Step:
    """The rate is multiplied by ``gamma`` after every ``step_size`` steps (PyTorch's StepLR).

    >>> [Step(1.0, step_size=2, gamma=0.5)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    lr: float
    step_size: int
    gamma: float = 0.1

    def __post_init__(self):
        _expect(self, "lr", 0)
        _expect_steps(self, "step_size")
        _expect(self, "gamma", 0)

    def __call__(self, step: int) -> float:
        return self.lr * self.gamma ** (step // self.step_size)  # eq: opt.schedule_step


@dataclass(frozen=True)
class Polynomial:
    """The rate falls to 0 in ``steps`` steps, as a power of what is left, and stays there (PyTorch's PolynomialLR).

    >>> [Polynomial(1.0, steps=4, power=2)(step) for step in range(5)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0]
    """

    lr: float
    steps: int
    power: float = 0.9

    def __post_init__(self):
        _expect(self, "lr", 0)
        _expect_steps(self, "steps")
        _expect(self, "power", 0)

    def __call__(self, step: int) -> float:
        t = min(step, self.steps)
        return self.lr * (1 - t / self.steps) ** self.power  # eq: opt.schedule_poly


@dataclass(frozen=True)
class Cosine:
    """The rate falls to 0 in ``steps`` steps as half a cosine wave: slowly at first and last; and stays there.

    PyTorch's CosineAnnealingLR rises again after that.

    >>> [round(Cosine(1.0, steps=4)(step), 3) for step in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    lr: float
    steps: int

    def __post_init__(self):
        _expect(self, "lr", 0)
        _expect_steps(self, "steps")

    def __call__(self, step: int) -> float:
        t = min(step, self.steps)
        return self.lr / 2 * (1 + math.cos(math.pi * t / self.steps))  # eq: opt.schedule_cosine


@dataclass(frozen=True)
class WarmUp:
    """The first ``steps`` steps rise in a straight line, from a share of the rate with which ``after`` starts to all of it.

    Then ``after`` begins, with its step 0. (PyTorch: SequentialLR of a LinearLR and the other.)

    >>> [round(WarmUp(Constant(1.0), steps=2, start_factor=0.5)(step), 3) for step in range(4)]
    [0.5, 0.75, 1.0, 1.0]
    """

    after: Schedule
    steps: int
    start_factor: float = 0.1

    def __post_init__(self):
        _expect_steps(self, "steps")
        _expect(self, "start_factor", 0)

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.after(step - self.steps)
        share = self.start_factor + (1 - self.start_factor) * step / self.steps
        return share * self.after(0)  # eq: opt.schedule_warmup


def _expect(schedule, name: str, low: float) -> None:
    value = getattr(schedule, name)
    if not isinstance(value, numbers.Real) or not low <= value < math.inf:
        raise ArgumentError(f"{type(schedule).__name__}: {name} must be at least {low} and finite, got {value!r}")


def _expect_steps(schedule, name: str) -> None:
    value = getattr(schedule, name)
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise ArgumentError(f"{type(schedule).__name__}: {name} must be a whole number of at least 1, got {value!r}")


SCHEDULES: dict[str, Callable[[float, int], Schedule]] = {
    "constant": lambda lr, steps: Constant(lr),
    "step": lambda lr, steps: Step(lr, step_size=-(-steps // 3)),
    "polynomial": Polynomial,
    "cosine": Cosine,
}
"""What the names mean for a training of so many steps; ``step`` takes a tenth after each third of it."""


def learning_rate(schedule: str, lr: float, steps: int, warm_up: int = 0) -> Schedule:
    """The schedule of that name for a training of ``steps`` steps, of which the first ``warm_up`` rise to ``lr``.

    >>> rate = learning_rate("cosine", 0.1, 100)
    >>> rate(0), round(rate(50), 3)
    (0.1, 0.05)
    >>> learning_rate("cosine", 0.1, 100, warm_up=20)
    WarmUp(after=Cosine(lr=0.1, steps=80), steps=20, start_factor=0.1)
    """
    if schedule not in SCHEDULES:
        raise ArgumentError(f"unknown schedule {schedule!r}; {nearest_names(schedule, SCHEDULES)}")
    if not 0 <= warm_up < max(steps, 1):
        raise ArgumentError(f"learning_rate: warm_up must be at least 0 and less than all {steps} steps, got {warm_up}")
    after = SCHEDULES[schedule](lr, steps - warm_up)
    return WarmUp(after, warm_up) if warm_up else after
