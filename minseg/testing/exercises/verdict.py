"""Examining an answer: what came of it, in one kind sentence. Whatever the learner's function does, no traceback leaves here."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from minseg.autograd import Tensor, tensor
from minseg.backend import use_backend
from minseg.errors import ArgumentError, nearest_names
from minseg.testing.exercises.exercise import ALL, Exercise

PACKAGE = "minseg.testing.exercises"


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and what to tell."""

    id: str
    passed: bool
    message: str

    def __repr__(self) -> str:
        return f"exercise {self.id}: {self.message}"


class _Wrong(Exception):
    """Ends the examination; the message says what is wrong."""


def check(id: str, attempt: Callable) -> Verdict:
    """Examine an answer to an exercise, with cases, gradients where it has some, and known mistakes.

    Parameters
    ----------
    id : str
        ``"2.1"``.
    attempt : callable
        The learner's function.

    Returns
    -------
    Verdict
        Which a notebook shows as one sentence.
    """
    return examine(get(id), attempt)


def get(id: str) -> Exercise:
    """The exercise of this id; ArgumentError with the nearest one if there is none."""
    known = of_notebook(f"{id.partition('.')[0]:0>2}")
    if id not in known:
        raise ArgumentError(f"unknown exercise {id!r}; {nearest_names(id, known or ALL)}")
    return known[id]


def of_notebook(number: str) -> dict[str, Exercise]:
    """The exercises of one notebook, ``"02"``, by id; none if it has no file here."""
    if find_spec(f"{PACKAGE}.n{number}") is None:
        return {}
    import_module(f"{PACKAGE}.n{number}")
    return {id: found for id, found in ALL.items() if id.partition(".")[0] == number.lstrip("0")}


def examine(exercise: Exercise, attempt: Callable) -> Verdict:
    """What ``check`` does, for an exercise in hand."""
    try:
        with use_backend("numpy"), np.errstate(all="ignore"):
            _examine(exercise, attempt)
    except _Wrong as wrong:
        return Verdict(exercise.id, False, str(wrong))
    count = len(exercise.cases())
    tried = "what it should" if count == 1 else f"what it should in all {count} cases"
    return Verdict(exercise.id, True, f"right. {exercise.name} gives {tried}.")


def _examine(exercise: Exercise, attempt: Callable) -> None:
    if not callable(attempt):
        raise _Wrong(f"pass the function itself, {exercise.name}, not what it returns.")
    results = [_call(exercise, attempt, case) for case in exercise.cases()]
    if exercise.judge is not None:
        remarks = [_judge(exercise, result, case) for result, case in zip(results, exercise.cases())]
        for remark in filter(None, remarks):
            _expect_no_mistake(exercise, results)
            raise _Wrong(f"not yet: {remark}")
        return
    expected = [_call(exercise, exercise.answer, case) for case in exercise.cases()]
    if all(_same(r, e, exercise.tolerance) for r, e in zip(results, expected)):
        return
    _expect_no_mistake(exercise, results)
    for number, (result, right) in enumerate(zip(results, expected), 1):
        difference = _difference(result, right, exercise.tolerance)
        if difference:
            case = "" if len(results) == 1 else f", in case {number} of {len(results)}"
            raise _Wrong(f"not yet{case}: {difference}")


def _expect_no_mistake(exercise: Exercise, results: list) -> None:
    """If a known mistake computes the very same in all cases, its hint is what helps."""
    for mistake in exercise.mistakes:
        if all(
            _same(r, _call(exercise, mistake.function, c), exercise.tolerance)
            for r, c in zip(results, exercise.cases())
        ):
            raise _Wrong(f"not yet: {mistake.hint}")


def _judge(exercise: Exercise, result: list[tuple[str, np.ndarray]], case: tuple) -> str | None:
    """What is wrong with the result of a case; None if nothing is."""
    values = [value for _, value in result]
    try:
        return exercise.judge(values[0] if len(values) == 1 else tuple(values), *case)
    except Exception as error:  # whatever a judge stumbles over, it is the result's fault
        raise _Wrong(f"your result cannot be used: {_one_line(error)}") from None


def _call(exercise: Exercise, function: Callable, case: tuple) -> list[tuple[str, np.ndarray]]:
    """What the function makes of a case: its values and then its gradients, each with a name for messages."""
    arguments = [
        tensor(a, requires_grad=True) if i in exercise.gradients else copy.deepcopy(a) for i, a in enumerate(case)
    ]
    try:
        returned = function(*arguments)
    except NotImplementedError:
        raise _Wrong("not written yet. Replace the line that raises, then run both cells again.") from None
    except Exception as error:
        raise _Wrong(f"{exercise.name} raised {_where(error, function)}") from None
    for i, (argument, original) in enumerate(zip(arguments, case)):
        if isinstance(original, np.ndarray) and not np.array_equal(
            _values(argument), original, equal_nan=original.dtype.kind == "f"
        ):
            raise _Wrong(f"{exercise.name} changed its argument number {i + 1}. Make a copy and change that.")
    if returned is None:
        raise _Wrong(f"{exercise.name} returned None. Does it end in return?")
    outputs = returned if isinstance(returned, tuple) else (returned,)
    named = [("the result" if len(outputs) == 1 else f"result {i}", _array(o)) for i, o in enumerate(outputs, 1)]
    return named + _gradients(exercise, arguments, outputs)


def _gradients(exercise: Exercise, arguments: list, outputs: tuple) -> list[tuple[str, np.ndarray]]:
    """Of the first output under a cotangent that no mistake cancels; nothing for an exercise without gradients."""
    if not exercise.gradients:
        return []
    y = outputs[0]
    if not isinstance(y, Tensor) or not y.requires_grad:
        raise _Wrong(
            "the result must be a Tensor that depends on the arguments: compute with minseg.ops, not with NumPy."
        )
    cotangent = np.cos(1.0 + np.arange(y.data.size)).reshape(y.shape)
    y.backward(cotangent)
    found = [(i, arguments[i].grad) for i in exercise.gradients]
    return [
        (f"the gradient for argument {i + 1}", np.zeros(arguments[i].shape) if g is None else np.asarray(g))
        for i, g in found
    ]


def _array(value) -> np.ndarray:
    try:
        array = np.asarray(_values(value))
    except ValueError:
        raise _Wrong("the result is a list whose parts have different lengths: make it one array.") from None
    if array.dtype.kind not in "biuf":
        raise _Wrong(f"the result must be numbers, got {type(value).__name__}.")
    return array


def _values(value):
    return value.numpy() if isinstance(value, Tensor) else value


def _same(result: list, right: list, tolerance: float) -> bool:
    return not _difference(result, right, tolerance)


def _difference(result: list[tuple[str, np.ndarray]], right: list[tuple[str, np.ndarray]], tolerance: float) -> str:
    """The first thing that differs, in words; empty if nothing does."""
    if len(result) != len(right):
        return f"it returned {len(result)} things, expected {len(right)}."
    for (name, a), (_, b) in zip(result, right):
        if a.shape != b.shape:
            return f"{name} has shape {a.shape}, expected {b.shape}."
        if a.dtype.kind == "f" and np.isnan(a).any() and not np.isnan(b).any():
            return f"{name} is NaN at {_place(np.isnan(a))}: something was 0/0, or a logarithm of a number that is not positive."
        if b.dtype.kind in "iub" and a.dtype.kind == "f":
            return f"{name} has dtype {a.dtype}, expected whole numbers."
        a, b = a.astype(float), b.astype(float)
        limit = tolerance * max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0.0))
        wrong = ~(np.isclose(a, b, rtol=0, atol=limit, equal_nan=True))
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0]) if wrong.ndim else ()
            share = f" ({wrong.sum()} of {wrong.size} values differ)" if wrong.ndim else ""
            return f"{name} is {a[at]:.6g}{_at(at)}, expected {b[at]:.6g}{share}."
    return ""


def _place(mask: np.ndarray) -> str:
    return str(tuple(int(i) for i in np.argwhere(mask)[0]))


def _at(index: tuple) -> str:
    return f" at [{', '.join(map(str, index))}]" if index else ""


def _where(error: Exception, function: Callable) -> str:
    """The error and the line of the function in which it came up; the line of its def is line 1."""
    step, line = error.__traceback__, None
    code = getattr(function, "__code__", None)
    while step is not None:
        if step.tb_frame.f_code is code:
            line = step.tb_lineno - code.co_firstlineno + 1
        step = step.tb_next
    place = "" if line is None else f" on its line {line}"
    return f"{type(error).__name__}{place}: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
