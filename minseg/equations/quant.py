"""Equations of quantisation: numbers of eight bits."""

from minseg.equations.registry import Equation, Source, Symbol, paper

EQUATIONS = (
    Equation(
        id="quant.affine_int8",
        title="a number as one of 256 steps",
        latex=r"q = \min(127, \max(-128, \lfloor \frac{x}{s} + \frac{1}{2} \rfloor + z))",
        symbols=(
            Symbol("x", "value"),
            Symbol("s", "width of a step", domain="> 0"),
            Symbol("z", "step that stands for 0", domain="-128 to 127"),
        ),
        sources=(
            Source("D3", "5", ("words",), note="names compression as a wish"),
            Source("D5", "5.1, 5.2", ("words",), note="names quantisation"),
            paper("Jacob et al., CVPR 2018"),
        ),
        note="Back again: x is about s (q - z).",
        status="planned",
    ),
)
