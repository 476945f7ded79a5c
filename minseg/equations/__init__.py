"""The registry of equations: LaTeX, symbols, sources, literal loops, and the names of the code that computes each.

from minseg.equations import REGISTRY, find, get
get("conv.corr2d").latex
find(document="D3", section="3.3.2.1")
"""

from minseg.equations import (
    act,
    arith,
    att,
    conv,
    ctx,
    data,
    dense,
    explain,
    grad,
    init,
    loss,
    metric,
    norm,
    opt,
    pool,
    prune,
    quant,
    reg,
    res,
    seg,
    semi,
    up,
)
from minseg.equations.registry import Equation, Registry, Source, Symbol

FAMILIES = (
    conv,
    pool,
    up,
    dense,
    act,
    loss,
    metric,
    norm,
    init,
    opt,
    reg,
    att,
    res,
    ctx,
    grad,
    arith,
    seg,
    data,
    explain,
    quant,
    prune,
    semi,
)

REGISTRY = Registry(equation for family in FAMILIES for equation in family.EQUATIONS)


def get(id: str) -> Equation:
    """The equation of this id; EquationError with the nearest one if there is none.

    >>> get("init.he").latex
    's = \\\\sqrt{\\\\frac{2}{n}}'
    """
    return REGISTRY[id]


def find(
    document: str | None = None, section: str | None = None, operation: str | None = None, primitive: str | None = None
) -> list[Equation]:
    """The equations that answer all that is asked: from a document (and a section of it), or computed by this code.

    Parameters
    ----------
    document : str, optional
        ``D1`` to ``D5``.
    section : str, optional
        ``3.3`` finds 3.3 and its parts, such as 3.3.2.
    operation : str, optional
        A dotted name, ``minseg.ops.conv2d``, or the end of one, ``conv2d``.
    primitive : str, optional
        A name of kernels/spec.py.

    >>> [equation.id for equation in find(operation="he_std")]
    ['init.he']
    """
    return [
        equation
        for equation in REGISTRY.values()
        if ((document is None and section is None) or any(s.covers(document, section) for s in equation.sources))
        and (operation is None or any(f".{name}".endswith(f".{operation}") for name in equation.operations))
        and (primitive is None or primitive in equation.primitives)
    ]


__all__ = ["FAMILIES", "REGISTRY", "Equation", "Registry", "Source", "Symbol", "find", "get"]
