"""Every exercise: its solution passes, its stub fails kindly, and each known mistake gets the hint that is meant for it."""

import re
import runpy
from functools import cache

import numpy as np
import pytest

from minseg import ops
from minseg.equations.errata import ERRATA
from minseg.errors import ArgumentError
from minseg.kernels import emulator
from minseg.testing.exercises import check, examine, of_notebook
from minseg.testing.exercises.exercise import Exercise
from minseg.testing.tutorials import index
from minseg.testing.tutorials.notebook import FOLDER, read_source

WRITTEN = [entry for entry in index.entries() if entry.written]
EXERCISES = [exercise for entry in WRITTEN for exercise in of_notebook(entry.number).values()]
MISTAKES = [(exercise, mistake) for exercise in EXERCISES for mistake in exercise.mistakes]

each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)


def number_of(exercise):
    return exercise.id.partition(".")[0].zfill(2)


@cache
def solutions(number):
    return runpy.run_path(str(FOLDER / "solutions" / f"{number}.py"))


@cache
def stubs(number):
    """What the exercise cells of a notebook define, each executed by itself."""
    found = {}
    for cell in read_source(index.find(number).source):
        if "exercise" in cell.tags:
            exec(cell.text, {"np": np, "ops": ops}, found)
    return found


@pytest.mark.parametrize("entry", WRITTEN, ids=lambda entry: entry.number)
def test_each_notebook_has_three_exercises_and_five_known_mistakes(entry):
    exercises = of_notebook(entry.number)
    assert len(exercises) >= 3
    assert sum(len(exercise.mistakes) for exercise in exercises.values()) >= 5
    text = "\n".join(cell.text for cell in read_source(entry.source))
    for id, exercise in exercises.items():
        assert re.search(rf"\*\*Exercise {re.escape(id)}[.,]", text)
        assert f'raise NotImplementedError("exercise {id}")' in text
        assert f'check("{id}", {exercise.name})' in text


def test_all_twelve_together_have_40_exercises_and_60_mistakes():
    share = len(WRITTEN) / 12
    assert len(EXERCISES) >= 40 * share
    assert len(MISTAKES) >= 60 * share


EMULATED = {"12.1"}
"""Solved by a CUDA kernel, which needs g++ to run here."""


@each_exercise
def test_the_solution_passes(exercise):
    if exercise.id in EMULATED and emulator.why_not() is not None:
        pytest.skip(emulator.why_not())
    verdict = examine(exercise, solutions(number_of(exercise))[exercise.name])
    assert verdict.passed, verdict


@each_exercise
def test_the_reference_answer_passes(exercise):
    assert examine(exercise, exercise.answer).passed


@each_exercise
def test_the_stub_fails_kindly(exercise):
    verdict = examine(exercise, stubs(number_of(exercise))[exercise.name])
    assert not verdict.passed
    assert "not written yet" in verdict.message
    assert "Traceback" not in repr(verdict)


@pytest.mark.parametrize(
    ("exercise", "mistake"), MISTAKES, ids=lambda part: getattr(part, "id", getattr(part, "name", ""))
)
def test_a_known_mistake_gets_its_hint(exercise, mistake):
    verdict = examine(exercise, mistake.function)
    assert not verdict.passed
    assert mistake.hint in verdict.message
    assert all(id in ERRATA for id in re.findall(r"ERR-\d\d", mistake.hint))


@each_exercise
@pytest.mark.parametrize(
    "result",
    [None, "text", float("nan"), [[1], [2, 3]], np.zeros((0, 7)), object()],
    ids=["None", "text", "NaN", "ragged", "empty", "object"],
)
def test_nonsense_is_answered_without_a_traceback(exercise, result):
    verdict = examine(exercise, lambda *arguments: result)
    assert not verdict.passed
    assert verdict.message


# --------------------------------------------------------------------------------------------------- what check tells apart


def doubled(gradients=()):
    cases = lambda rng: [(np.arange(1.0, 7).reshape(2, 3),)]  # noqa: E731
    exercise = Exercise("99.1", lambda x: x * 2.0, cases, gradients)
    exercise.mistake("you squared it")(lambda x: x * x)
    return exercise


def told(attempt, gradients=()):
    verdict = examine(doubled(gradients), attempt)
    assert not verdict.passed
    return verdict.message


def test_a_right_answer_passes():
    assert examine(doubled(), lambda x: x + x).passed
    assert examine(doubled((0,)), lambda x: x + x).passed


def test_shape_value_nan_and_number_of_results_are_told():
    assert "shape (3, 2), expected (2, 3)" in told(lambda x: 2 * x.T)
    assert "is 3 at [0, 0], expected 2 (6 of 6" in told(lambda x: 2 * x + 1)
    assert "NaN at (0, 0)" in told(lambda x: np.where(x == 1, np.nan, 2 * x))
    assert "returned 2 things, expected 1" in told(lambda x: (x, x))


def test_an_argument_that_is_changed_is_told():
    def in_place(x):
        x *= 2
        return x

    assert "changed its argument number 1" in told(in_place)


def test_an_exception_inside_is_told_with_its_line():
    def fails(x):
        y = 2 * x
        return y[5]

    assert "IndexError" in told(fails)
    assert "line 3" in told(fails)


def test_a_wrong_gradient_and_a_missing_one_are_told():
    def right_value_wrong_gradient(x):
        return x * 2.0 + (x.detach() - x)

    assert "the gradient for argument 1" in told(right_value_wrong_gradient, gradients=(0,))
    assert "must be a Tensor" in told(lambda x: 2 * x.numpy(), gradients=(0,))


def test_not_a_function_is_told():
    assert "pass the function itself" in examine(doubled(), np.zeros(3)).message


def test_a_judge_decides_where_many_answers_are_right():
    exercise = Exercise("99.2", lambda: np.ones(3), lambda rng: [()], judge=lambda x: None if x[0] > 0 else "too small")
    assert examine(exercise, lambda: np.full(3, 7.0)).passed
    assert "too small" in examine(exercise, lambda: np.zeros(3)).message
    assert "cannot be used" in examine(exercise, lambda: np.zeros(0)).message


def test_an_unknown_exercise_suggests_the_nearest():
    with pytest.raises(ArgumentError, match=r"did you mean '1\.1'"):
        check("1.11", abs)
    with pytest.raises(ArgumentError, match="unknown exercise"):
        check("99.1", abs)
