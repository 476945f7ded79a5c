"""Equations of initial weights: the standard deviation that keeps a signal's size from layer to layer."""

from minseg.equations.registry import Equation, Source, Symbol, paper

FAN_IN = Symbol("n", "fan-in: what one output sums over", domain=">= 1")
FAN_OUT = Symbol("m", "fan-out: what one input goes to", domain=">= 1")

EQUATIONS = (
    Equation(
        id="init.xavier",
        title="Xavier's standard deviation",
        latex=r"s = \sqrt{\frac{2}{n+m}}",
        symbols=(FAN_IN, FAN_OUT),
        sources=(
            Source("D3", "6", ("words",), errata=("ERR-37",), item="W-17", note="question 3"),
            paper("Glorot and Bengio, AISTATS 2010"),
        ),
        errata=("ERR-37",),
        operations=("minseg.nn.init.xavier_std", "minseg.nn.init.xavier_normal", "minseg.nn.init.xavier_uniform"),
        note="For layers that squash or stay linear. Behind ReLU the signal fades by half a layer: there, init.he.",
    ),
    Equation(
        id="init.he",
        title="He's standard deviation, for layers that ReLU follows",
        latex=r"s = \sqrt{\frac{2}{n}}",
        symbols=(FAN_IN,),
        sources=(
            Source(
                "D3",
                "6",
                ("words",),
                errata=("ERR-37",),
                item="W-17",
                note="what question 3 should have named beside ReLU",
            ),
            paper("He, Zhang, Ren and Sun, ICCV 2015"),
        ),
        errata=("ERR-37",),
        operations=("minseg.nn.init.he_std", "minseg.nn.init.he_normal", "minseg.nn.init.he_uniform"),
        note="ReLU halves the mean square; the 2 makes up for it.",
    ),
)
