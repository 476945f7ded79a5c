r"""Is a gradient right? backward against central differences, in float64: along one direction, then for every element.

For a function y = f(x) and a cotangent :math:`\bar{y}`, backward promises :math:`\bar{x} = J^{T} \bar{y}`. So for every
direction v

.. math:: \langle \bar{x}, v \rangle = \langle \bar{y}, J v \rangle, \qquad J v \approx \frac{f(x+hv)-f(x-hv)}{2h}

The cotangent is random, never ones: the outputs of a softmax sum to 1, so its gradient for a cotangent of ones is 0, and a
backward that returns nothing but zeros would pass. One random v catches most errors, since no coordinate can hide from it;
taking each unit vector in turn as v then names the element.

The step h
    The central difference (eq: grad.central) has two errors: the series is cut off, which costs h^2 |f'''| / 6, and f is
    rounded to u = 1.1e-16 of its size, which costs about u |f| / h. Their sum is least at h = (3 u |f| / |f'''|)^(1/3), near
    7e-6 for functions of size 1. The default 1e-6 is a little smaller, so that fewer kinks fall between x - h and x + h; the
    two errors are then 2e-13 and 1e-10. Three more things keep them small. h grows with |x| above 1, for x + h cannot be
    finer than u |x|. The divisor is the distance of the two points as stored, not the one asked for. And the outputs are
    subtracted before they are summed, so that those which do not depend on x cancel exactly.

The relative error
    |a - n| / max(|a|, |n|, floor), where a is from backward and n from differences (eq: grad.relative_error). Without a floor
    the 1e-10 of rounding would be a failure for each element that happens to be tiny. The floor is the larger of two sizes.
    G / 100, where G is the largest gradient of that input: with rtol = 1e-6, an element is wrong if it is off by more than
    1e-6 of itself and 1e-8 of the largest. And r / rtol, where r = 4 u |ȳ y| / h over the outputs that moved is the rounding
    in n: the smallest gradient that differences can tell to rtol. It matters where the true gradient is 0 everywhere (a bias
    before batch normalisation) and n is nothing but rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minseg import backend
from minseg.autograd.tensor import Tensor, topological
from minseg.errors import ArgumentError, DtypeError, GradcheckError

UNIT_ROUNDOFF = 2.0**-53
FLOOR = 1e-2
"""The relative error divides by no less than this part of the input's largest gradient."""


@dataclass(frozen=True)
class InputReport:
    """How one input's gradient compares with central differences; the values are those of the worst element."""

    name: str
    shape: tuple[int, ...]
    checked: int = 0
    """Elements compared one by one; 0 where only the direction was."""
    error: float = 0.0
    index: tuple[int, ...] | None = None
    backward: float = 0.0
    numeric: float = 0.0

    def __str__(self) -> str:
        where = "" if self.index is None else f", worst relative error {self.error:.1e} at {self.index}"
        return f"  {self.name} {self.shape}: {self.checked} elements{where}"


@dataclass(frozen=True)
class GradcheckReport:
    """A gradient check that passed."""

    function: str
    equations: tuple[str, ...]
    direction_error: float
    """The relative error along one random direction through all inputs."""
    inputs: tuple[InputReport, ...]

    @property
    def checked(self) -> int:
        """The number of elements compared one by one."""
        return sum(report.checked for report in self.inputs)

    @property
    def error(self) -> float:
        """The worst relative error, of the elements or along the direction."""
        return max(self.direction_error, *(report.error for report in self.inputs))

    def __str__(self) -> str:
        head = f"gradcheck {self.function} [{', '.join(self.equations)}]: passed, {self.checked} elements"
        direction = f"  random direction: relative error {self.direction_error:.1e}"
        return "\n".join([head, direction, *map(str, self.inputs)])


def gradcheck(
    fn: Callable,
    inputs: Tensor | Sequence,
    *,
    eps: float = 1e-6,
    rtol: float = 1e-6,
    rng: np.random.Generator | None = None,
    names: Sequence[str] | None = None,
    every_element: bool = True,
) -> GradcheckReport:
    """Compare the gradients of ``fn(*inputs)`` with central differences.

    It also checks that fn is deterministic and finite, changes neither its inputs nor the cotangent, has the same gradient for
    inputs that are not contiguous, and the same for each input when that is the only one that needs a gradient.

    Parameters
    ----------
    fn : callable
        Takes the Tensors, returns a Tensor or several (those without a gradient, such as indices, are ignored).
    inputs : Tensor or array, or a sequence of them
        float64, further from kinks than a few ``eps``. Tensors are checked if they need gradients, float arrays always,
        integer and boolean arrays never.
    eps : float
        The step h.
    rtol : float
        The largest relative error that passes.
    rng : numpy.random.Generator, optional
        Draws the cotangents and the direction; ``default_rng(0)`` if left out.
    names : sequence of str, optional
        The inputs' names, for messages.
    every_element : bool
        Compare every element, not only the random direction: two more calls of fn for each.

    Raises
    ------
    GradcheckError
        Naming function, input, index, both values, the relative error and the equations of the Functions involved.
    DtypeError
        If a float input is not float64: in float32, differences carry no more than two or three digits.

    >>> gradcheck(lambda x: x * x, np.array([1.0, -2.0])).checked
    2
    """
    check = _Check(fn, inputs, eps, rtol, np.random.default_rng(0) if rng is None else rng, names)
    check.behaviour()
    direction = check.direction()
    reports = [
        check.elements(k) if every_element else InputReport(check.names[k], check.x[k].shape) for k in check.wanted
    ]
    worst = max(reports, key=lambda report: report.error)
    for r in (worst, direction):  # the element first: it says more
        if not r.error <= rtol:
            place = r.name if r.index is None else f"{r.name}, element {r.index}"
            check.fail(
                f"{place}: backward gives {r.backward:.10g}, central differences {r.numeric:.10g}, "
                f"relative error {r.error:.1e} (allowed {rtol:.0e})"
            )
    return GradcheckReport(check.function, check.equations, direction.error, tuple(reports))


def relative_error(a, n, floor):
    """|a - n| as a part of the largest of |a|, |n| and floor; 0 where all three are 0."""
    scale = np.maximum(np.maximum(np.abs(a), np.abs(n)), floor)
    return np.abs(a - n) / np.where(scale == 0, 1, scale)  # eq: grad.relative_error


class _Check:
    """One gradient check: the function, its inputs on the host, the cotangents, and the gradients from backward."""

    def __init__(self, fn: Callable, inputs, eps: float, rtol: float, rng: np.random.Generator, names):
        self.fn, self.eps, self.rtol, self.rng = fn, eps, rtol, rng
        self.function = getattr(fn, "__name__", type(fn).__name__)
        self.here = backend.current()
        inputs = [inputs] if isinstance(inputs, (Tensor, np.ndarray)) else list(inputs)
        self.x = [np.array(t.numpy() if isinstance(t, Tensor) else t) for t in inputs]
        self.wanted = [
            k
            for k, t in enumerate(inputs)
            if (t.requires_grad if isinstance(t, Tensor) else self.x[k].dtype.kind == "f")
        ]
        self.names = [f"input {k}" for k in range(len(inputs))] if names is None else list(names)
        self._expect_inputs()
        outputs = self.outputs(self.tensors(self.x, self.wanted))
        self.equations = _equations(outputs)
        self.y = [y.numpy() for y in outputs]
        self.cotangents = [rng.standard_normal(y.shape) for y in self.y]
        self.gradients = self.backward(self.tensors(self.x, self.wanted))

    def _expect_inputs(self) -> None:
        if not self.wanted:
            raise ArgumentError(f"gradcheck of {self.function}: no input needs a gradient")
        if len(self.names) != len(self.x):
            raise ArgumentError(f"gradcheck of {self.function}: {len(self.names)} names for {len(self.x)} inputs")
        for name, x in zip(self.names, self.x, strict=True):
            if x.dtype.kind == "f" and x.dtype != np.float64:
                raise DtypeError(f"gradcheck of {self.function}: {name} must be float64, got {x.dtype}")

    def fail(self, what: str) -> None:
        raise GradcheckError(f"gradcheck of {self.function}: {what} [{', '.join(self.equations)}]")

    # ----------------------------------------------------------------------------------------------------- running fn

    def tensors(self, arrays, wanted: Sequence[int]) -> list[Tensor]:
        return [Tensor(self.here.asarray(x.copy()), requires_grad=k in wanted) for k, x in enumerate(arrays)]

    def strided_tensors(self) -> list[Tensor]:
        """The inputs in every other place of an array, so that they are not contiguous."""
        made = []
        for k, x in enumerate(self.x):
            places = self.here.asarray(np.repeat(x[..., None], 2, axis=-1))
            made.append(Tensor(places[..., 0], requires_grad=k in self.wanted))
        return made

    def outputs(self, tensors: list[Tensor]) -> list[Tensor]:
        """The outputs of fn that have a gradient."""
        self.equations = ()
        outputs = self.fn(*tensors)
        outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        outputs = [y for y in outputs if y.requires_grad]
        if not outputs:
            self.fail("no output depends on an input that needs a gradient")
        self.equations = _equations(outputs)
        return outputs

    def backward(self, tensors: list[Tensor]) -> list[np.ndarray | None]:
        """The gradient of the sum of <cotangent, output> for each input; None for one that needs none."""
        outputs = self.outputs(tensors)
        given = [self.here.asarray(cotangent.copy()) for cotangent in self.cotangents]
        for y, cotangent in zip(outputs, given, strict=True):
            y.backward(cotangent, retain_graph=y is not outputs[-1])
        for k, t in enumerate(tensors):
            if not _same(t.numpy(), self.x[k]):
                self.fail(f"it changed {self.names[k]}")
            if t.grad is not None and not t.requires_grad:
                self.fail(f"{self.names[k]} needs no gradient, but received one")
        if not all(map(_same, map(self.here.to_numpy, given), self.cotangents)):
            self.fail("backward changed the cotangent that it was given")
        return [self._gradient(t) if t.requires_grad else None for t in tensors]

    def _gradient(self, t: Tensor) -> np.ndarray:
        """None given says that it is 0. Shape and dtype were checked on the way."""
        return np.zeros(t.shape) if t.grad is None else self.here.to_numpy(t.grad)

    # ----------------------------------------------------------------------------------------------- properties of fn

    def behaviour(self) -> None:
        """Everything but the numbers."""
        if not all(np.isfinite(y).all() for y in self.y):
            self.fail("an output is NaN or infinite")
        for k in self.wanted:
            if not np.isfinite(self.gradients[k]).all():
                self.fail(f"the gradient of {self.names[k]} is NaN or infinite")
        again = [y.numpy() for y in self.outputs(self.tensors(self.x, self.wanted))]
        if len(again) != len(self.y) or not all(map(_same, self.y, again)):
            self.fail("two calls with the same inputs differ; give random numbers a fixed seed")
        self._expect_unchanged(self.backward(self.strided_tensors()), "for inputs that are not contiguous")
        for k in self.wanted if len(self.wanted) > 1 else ():
            self._expect_unchanged(self.backward(self.tensors(self.x, [k])), "when only it is needed")

    def _expect_unchanged(self, gradients: list[np.ndarray | None], when: str) -> None:
        """The gradients that we know already, up to the rounding of sums in another order."""
        for name, known, g in zip(self.names, self.gradients, gradients, strict=True):
            if g is not None and not np.abs(g - known).max(initial=0) <= 1e-10 * np.abs(known).max(initial=0):
                self.fail(f"the gradient of {name} differs {when}")

    # --------------------------------------------------------------------------------------------- central differences

    def difference(self, plus: list, minus: list) -> tuple[float, float]:
        """<cotangent, f(plus) - f(minus)>, and the rounding error to expect in it."""
        total = variance = 0.0
        above, below = (self.outputs(self.tensors(arrays, self.wanted)) for arrays in (plus, minus))
        for cotangent, yp, ym in zip(self.cotangents, above, below, strict=True):
            yp, ym = yp.numpy(), ym.numpy()
            total += float((cotangent * (yp - ym)).sum())
            variance += float(((cotangent * yp)[yp != ym] ** 2).sum())
        return total, 8 * UNIT_ROUNDOFF * variance**0.5

    def direction(self) -> InputReport:
        """Compare <x̄, v> with <ȳ, J v> for one random v through all inputs."""
        plus, minus = list(self.x), list(self.x)
        backward = square = 0.0
        for k in self.wanted:
            step = self.eps * np.maximum(1, np.abs(self.x[k])) * self.rng.standard_normal(self.x[k].shape)
            plus[k], minus[k] = self.x[k] + step, self.x[k] - step
            terms = self.gradients[k] * ((plus[k] - minus[k]) / (2 * self.eps))
            backward += float(terms.sum())
            square += float((terms**2).sum())
        difference, rounding = self.difference(plus, minus)
        numeric = difference / (2 * self.eps)  # eq: grad.central
        # The sum may cancel to nearly 0; its natural size is that of the root of the sum of squares.
        error = relative_error(backward, numeric, max(square**0.5, rounding / (2 * self.eps * self.rtol)))
        return InputReport("along a random direction", (), 1, float(error), None, backward, numeric)

    def elements(self, k: int) -> InputReport:
        """Compare every element of input k."""
        x, gradient = self.x[k], self.gradients[k]
        if x.size == 0:
            return InputReport(self.names[k], x.shape)
        numeric, rounding = np.empty(x.shape), np.empty(x.shape)
        for index in np.ndindex(x.shape):
            plus, minus = list(self.x), list(self.x)
            plus[k], minus[k] = x.copy(), x.copy()
            step = self.eps * max(1.0, abs(float(x[index])))
            plus[k][index] += step
            minus[k][index] -= step
            distance = float(plus[k][index] - minus[k][index])
            difference, noise = self.difference(plus, minus)
            numeric[index], rounding[index] = difference / distance, noise / distance  # eq: grad.central
        largest = max(np.abs(gradient).max(), np.abs(numeric).max())
        errors = relative_error(gradient, numeric, np.maximum(FLOOR * largest, rounding / self.rtol))
        worst = tuple(int(i) for i in np.unravel_index(np.argmax(errors), x.shape))
        return InputReport(
            self.names[k], x.shape, x.size, float(errors[worst]), worst, float(gradient[worst]), float(numeric[worst])
        )


def _equations(outputs: Sequence[Tensor]) -> tuple[str, ...]:
    """The equation ids of the graph's Functions, each once, from the inputs on."""
    nodes = [node for y in outputs if y.node is not None for node in reversed(topological(y.node))]
    return tuple(dict.fromkeys(node.equation or type(node).__name__ for node in nodes))


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()
