"""Equations of quantisation: numbers of eight bits."""

from minseg.equations.registry import Equation, Source, Symbol, paper

STEP = Symbol("s", "width of a step", domain="> 0")
ZERO = Symbol("z", "step that stands for 0", domain="-128 to 127")
LOWEST = Symbol("a", "least value to cover")
JACOB = paper("Jacob et al., CVPR 2018")

EQUATIONS = (
    Equation(
        id="quant.affine_int8",
        title="a number as one of 256 steps",
        latex=r"q = \min(127, \max(-128, \lfloor \frac{x}{s} + \frac{1}{2} \rfloor + z))",
        symbols=(
            Symbol("x", "value"),
            STEP,
            ZERO,
        ),
        sources=(
            Source("D3", "5", ("words",), note="names compression as a wish"),
            Source("D5", "5.1, 5.2", ("words",), note="names quantisation"),
            JACOB,
        ),
        operations=("minseg.compress.quantize",),
        note="Halves are rounded up. Back again: ``quant.dequantize``.",
    ),
    Equation(
        id="quant.dequantize",
        title="the number that a step stands for",
        latex=r"y = s(q-z)",
        symbols=(Symbol("q", "step", domain="-128 to 127"), STEP, ZERO),
        sources=(JACOB,),
        operations=("minseg.compress.dequantize",),
        note="At most s/2 from the number that was quantised, unless that lay outside of the range.",
    ),
    Equation(
        id="quant.scale",
        title="a step for each output channel, so that its largest weight is 127",
        latex=r"s_{o} = \frac{1}{127}\max_{i=0}^{I-1}|w_{o,i}|",
        symbols=(
            Symbol("w", "weights of a layer, all of an output channel in a row", "(O, I)"),
            Symbol("I", "weights of an output channel"),
        ),
        sources=(JACOB,),
        operations=("minseg.compress.symmetric_scale",),
        note="With z = 0. A channel of zeros takes 1.",
    ),
    Equation(
        id="quant.affine_scale",
        title="256 steps over a range",
        latex=r"s = \frac{\max(0,b)-\min(0,a)}{255}",
        symbols=(LOWEST, Symbol("b", "largest value to cover")),
        sources=(JACOB,),
        operations=("minseg.compress.affine_scale",),
        note="0 is always in the range, as padding and ReLU make it often. 1 where both are 0.",
    ),
    Equation(
        id="quant.zero_point",
        title="the step that stands for 0",
        latex=r"z = \lfloor \frac{1}{2} - 128 - \frac{\min(0,a)}{s} \rfloor",
        symbols=(LOWEST, STEP),
        sources=(JACOB,),
        operations=("minseg.compress.zero_point",),
        note="Rounded, so that 0 is a step itself and has no error.",
    ),
)
