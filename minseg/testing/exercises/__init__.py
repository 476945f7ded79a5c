"""The exercises of the tutorials: ``check("1.2", f)`` examines a learner's function and answers a mistake with a hint.

An exercise is its reference answer, decorated; each mistake that learners are known to make is a function that computes what the
mistake computes, with the hint as its decorator's argument. One file a notebook holds them, ``n01.py`` to ``n12.py``:

    @exercise("2.1", cases=lambda rng: [(rng.standard_normal((5, 6)), rng.standard_normal((3, 2)))])
    def correlate(x, w):
        return correlate2d(x, w)

    @correlate.mistake("your kernel is rotated by 180 degrees: see ERR-01")
    def rotated(x, w):
        return correlate2d(x, w[::-1, ::-1])

The function in the notebook has the name of the reference answer. Numbers, arrays, Tensors and tuples of these are compared;
``gradients=(0, 1)`` passes those arguments as Tensors and compares the gradients too; ``judge`` replaces the comparison where
many answers are right (find an image that ...).
"""

from minseg.testing.exercises.exercise import ALL, Exercise, exercise
from minseg.testing.exercises.verdict import Verdict, check, examine, get, of_notebook

__all__ = ["ALL", "Exercise", "Verdict", "check", "examine", "exercise", "get", "of_notebook"]
