"""What the witnesses share: the formulas as printed, evaluating them pixel by pixel, and what an error says."""

from collections.abc import Callable, Iterable

import numpy as np

from minseg.autograd import Tensor
from minseg.equations import REGISTRY
from minseg.equations.latex import Formula, Members, Node, Range
from minseg.testing.equations import Sample, evaluate
from minseg.testing.printed import printed_sources


def printed(item: str) -> str:
    """The LaTeX of a printed formula, ``EQ-D3-3``, to the letter."""
    return printed_sources()[item][0].printed


def standard(id: str, shape: tuple[int, ...] = (), **values) -> np.ndarray:
    """A registered equation, from its own LaTeX."""
    return evaluate(REGISTRY[id], Sample(values, shape))


def pixels(formula: Formula, rows: Iterable[int], columns: Iterable[int], plain: dict, applied: dict) -> np.ndarray:
    """The formula at these rows and columns: the two indices of its left-hand side."""
    row, column = formula.left_indices()
    return np.array([[formula.value({**plain, row: r, column: c}, applied) for c in columns] for r in rows])


def parts(formula: Formula) -> list[Node]:
    """Everything that both sides of a formula are made of: the limits of sums, and what stands in them."""
    found, left = [], [formula.left, formula.right]
    while left:
        part = left.pop()
        if isinstance(part, tuple):
            left += part
        elif isinstance(part, Node | Range | Members):
            found.append(part)
            left += vars(part).values()
    return found


def refusal(compute: Callable[[], object], kinds: type[Exception] | tuple = ValueError) -> str:
    """The error's message, in one line; empty if there was none. Errors of other kinds are not caught."""
    try:
        compute()
    except kinds as error:
        return " ".join(str(error).split("\n  ")[0].split())
    return ""


def array(t: Tensor) -> np.ndarray:
    """A Tensor's values, whether it needs a gradient or not."""
    return t.numpy()


def same(a, b, tolerance: float = 1e-10) -> bool:
    """Whether two results agree but for rounding, relative to the largest value."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    return a.shape == b.shape and bool(np.abs(a - b).max(initial=0) <= tolerance * max(1, np.abs(b).max(initial=0)))


def listed(values, form: str = ".4g") -> str:
    """``5, 10, 15``"""
    return ", ".join(format(float(v), form) for v in np.ravel(values))


def whole(values) -> str:
    """A matrix of whole numbers: ``[[1, 2], [3, 4]]``."""
    return str(np.asarray(values).round().astype(int).tolist())
