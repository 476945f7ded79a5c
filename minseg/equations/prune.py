"""Equations of pruning: weights that are left out."""

from minseg.equations.registry import Equation, Source, Symbol, paper

EQUATIONS = (
    Equation(
        id="prune.magnitude",
        title="small weights become zero",
        latex=r"y_{i} = w_{i}[|w_{i}| \ge t]",
        symbols=(
            Symbol("w", "weights", "(n,)"),
            Symbol("t", "threshold: such that the share asked for stays", domain=">= 0"),
        ),
        sources=(
            Source("D5", "5.2", ("words",), note="names pruning"),
            Source("D3", "5", ("words",), note="names compression as a wish"),
            paper("Han, Pool, Tran and Dally, NIPS 2015"),
        ),
        operations=("minseg.compress.keep_large", "minseg.compress.prune"),
        note="A relation in brackets is 1 where it holds, else 0. One threshold for all layers, or one for each.",
    ),
)
