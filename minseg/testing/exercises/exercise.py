"""What an exercise is: its cases, its reference answer, and the mistakes it recognises."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from minseg.errors import ArgumentError

TOLERANCE = 1e-6
"""How far an answer may lie from the reference, relative to the largest value: sums in another order, in float64."""

Judge = Callable[..., str | None]


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that is known, and what to tell whoever gives it."""

    name: str
    hint: str
    function: Callable


@dataclass
class Exercise:
    """One exercise; see the package's docstring for how it is written."""

    id: str
    """``2.3``: the notebook's number without its zero, and its own."""
    answer: Callable
    """A right answer. Calling the exercise calls it."""
    make_cases: Callable[[np.random.Generator], Sequence[tuple]]
    gradients: tuple[int, ...] = ()
    """Which arguments are Tensors whose gradients are compared."""
    judge: Judge | None = None
    """``judge(result, *arguments)`` says what is wrong with a result, None if nothing is; where many answers are right."""
    tolerance: float = TOLERANCE
    mistakes: list[Mistake] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the learner's function is called."""
        return self.answer.__name__

    def __call__(self, *arguments):
        return self.answer(*arguments)

    def cases(self) -> list[tuple]:
        """The arguments to try, the same at every call."""
        return list(self.make_cases(np.random.default_rng(0)))

    def mistake(self, hint: str) -> Callable[[Callable], Callable]:
        """Register the decorated function as a wrong answer that gets this hint."""

        def register(function: Callable) -> Callable:
            self.mistakes.append(Mistake(function.__name__, hint, function))
            return function

        return register


ALL: dict[str, Exercise] = {}
"""Every exercise of the files that are imported, by id."""


def exercise(
    id: str,
    cases: Callable[[np.random.Generator], Sequence[tuple]],
    gradients: Sequence[int] = (),
    judge: Judge | None = None,
    tolerance: float = TOLERANCE,
) -> Callable[[Callable], Exercise]:
    """Make the decorated function, a right answer, an exercise."""

    def register(answer: Callable) -> Exercise:
        if id in ALL:
            raise ArgumentError(f"the exercise {id} is there twice: {ALL[id].name} and {answer.__name__}")
        ALL[id] = Exercise(id, answer, cases, tuple(gradients), judge, tolerance)
        return ALL[id]

    return register
