"""Whether the equations say what the code does: printed LaTeX = literal loops = every backend, on small awkward samples.

A sample gives the symbols values; families of samples stand in ``minseg/testing/samples/``. Behind ``minseg equations --check``.
"""

import inspect
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module

import numpy as np

from minseg import backend
from minseg.equations import REGISTRY
from minseg.equations.latex import Indexed
from minseg.equations.registry import OUTSIDE, Equation
from minseg.errors import EquationError

TOLERANCE = 1e-10
"""How far the forms may be apart in float64, relative to the largest value: sums in another order, and nothing more."""


@dataclass
class Sample:
    """Values for the symbols of one equation, and the code that should give the same.

    values: by the symbol's LaTeX; an array is read with indices (and the symbol's policy outside of its shape), a function is
    applied, anything else stands for itself. A tuple (array, number or set) gives a letter both meanings.
    shape: of the left-hand side; () where it is one number.
    code: the operation on the current backend; returns an array, a Tensor or a number. None where there is none yet.
    extra: arguments of the literal function that are no symbols of the equation (sizes that only the left-hand side needs).
    tolerance: more than TOLERANCE only where the equation itself is an approximation of what the code computes.
    """

    values: dict[str, object]
    shape: tuple[int, ...]
    code: Callable[[], object] | None = None
    extra: dict[str, object] | None = None
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Outcome:
    """How far the forms of one equation are apart; errors are relative to the largest value, 0 where they agree to the bit."""

    id: str
    literal: float
    backends: dict[str, float]
    """Empty where no code computes the equation yet."""
    samples: int
    tolerance: float = TOLERANCE
    """What the backends may differ by; the literal loops may always differ by TOLERANCE."""

    def worst(self) -> float:
        return max([self.literal, *self.backends.values()])

    @property
    def passed(self) -> bool:
        return self.literal <= TOLERANCE and all(error <= self.tolerance for error in self.backends.values())


def meanings(equation: Equation, sample: Sample) -> tuple[dict[str, object], dict[str, Callable]]:
    """What the sample's values mean in the formula: plain numbers and sets, and what is applied to indices or arguments."""
    plain, applied = {}, {}
    for latex, value in sample.values.items():
        symbol = equation.symbol(latex)
        for meaning in value if isinstance(value, tuple) else (value,):
            if isinstance(meaning, np.ndarray) and meaning.ndim:
                applied[latex] = Indexed(meaning, OUTSIDE[symbol.outside], name=latex)
            elif callable(meaning):
                applied[latex] = meaning
            else:
                plain[latex] = meaning
    return plain, applied


def evaluate(equation: Equation, sample: Sample) -> np.ndarray:
    """The printed LaTeX with the sample's values."""
    plain, applied = meanings(equation, sample)
    formula = equation.formula()
    return formula.tabulate(sample.shape, plain, applied) if sample.shape else np.asarray(formula.value(plain, applied))


def resolve(name: str) -> object:
    """The object of a dotted name, as Equation.operations has them; AttributeError says what is missing.

    The part before the last dot is a module where there is one of that name, else a class: ``minseg.ops.linear`` is the function
    that minseg.ops exports, not the file that it stands in.
    """
    owner, _, last = name.rpartition(".")
    try:
        found = import_module(owner)
    except ModuleNotFoundError:
        found = resolve(owner)
    if not hasattr(found, last):
        raise AttributeError(f"{owner} has no {last}")
    return getattr(found, last)


def literal_function(equation: Equation) -> Callable:
    """The loops of an equation: literal/conv.py's conv_corr2d for conv.corr2d."""
    module = import_module(f"minseg.equations.literal.{equation.family}")
    function = getattr(module, equation.id.replace(".", "_"), None)
    if function is None:
        raise EquationError(f"{equation.id}: no literal loops in {module.__name__}")
    return function


def run_literal(equation: Equation, sample: Sample) -> np.ndarray:
    """The literal loops with the sample's values, passed by the names of their parameters."""
    function = literal_function(equation)
    named = {equation.symbol(latex).python: value for latex, value in sample.values.items()}
    named |= sample.extra or {}
    arguments = {name: named[name] for name in inspect.signature(function).parameters}
    return np.asarray(function(**arguments))


def distance(a, b) -> float:
    """Largest difference, relative to the largest magnitude; infinite where shapes or NaNs differ."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf")
    same = a == b  # infinities that agree
    if same.all():
        return 0.0
    scale = max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0.0))
    return float(np.abs(np.where(same, 0, a - b)).max() / scale)


def samples_of(equation: Equation) -> list[Sample]:
    """The samples of an equation, the same at every call: samples/conv.py's conv_corr2d for conv.corr2d.

    EquationError if there are none, unless the equation has no code to compare with.
    """
    module = import_module(f"minseg.testing.samples.{equation.family}")
    function = getattr(module, equation.id.replace(".", "_"), None)
    if function is not None:
        return list(function(np.random.default_rng(zlib.crc32(equation.id.encode()))))
    if equation.status == "implemented":
        raise EquationError(f"{equation.id}: no samples in {module.__name__}")
    return []


def check(equation: Equation, samples: list[Sample], backends: list[str]) -> Outcome:
    """Evaluate an equation in all its forms on all its samples."""
    literal, tolerance, worst = 0.0, TOLERANCE, {}
    for sample in samples:
        printed = evaluate(equation, sample)
        literal = max(literal, distance(run_literal(equation, sample), printed))
        tolerance = max(tolerance, sample.tolerance)
        for name in backends if sample.code is not None else ():
            with backend.use_backend(name):
                result = sample.code()
            result = result.data if hasattr(result, "requires_grad") else result
            worst[name] = max(worst.get(name, 0.0), distance(result, printed))
    return Outcome(equation.id, literal, worst, len(samples), tolerance)


def matching(pattern: str | None = None) -> list[Equation]:
    """The equations whose ids match: ``conv.*``, ``*grad*``, or one id, which must exist. All of them for None."""
    if pattern is None:
        return list(REGISTRY.values())
    found = [equation for id, equation in REGISTRY.items() if fnmatch(id, pattern)]
    return found or [REGISTRY[pattern]]


def check_all(pattern: str | None = None, backends: list[str] | None = None) -> list[Outcome]:
    """Check every equation that matches and has samples, on these backends (all that work here at speed, where left out)."""
    if backends is None:
        backends = backend.quick_backends()
    sampled = ((equation, samples_of(equation)) for equation in matching(pattern))
    return [check(equation, samples, backends) for equation, samples in sampled if samples]
