"""Equations of the affine map, which networks call a fully connected layer."""

from minseg.equations.registry import Equation, Source, Symbol, paper

X = Symbol("x", "features of each sample", "(N, I)")
W = Symbol("W", "weights: a row for each output", "(O, I)")
B = Symbol("b", "bias of each output", "(O,)")
Z_BAR = Symbol(r"\bar{z}", "gradient of the loss for the output", "(N, O)")
SAMPLES = Symbol("N", "samples")
INPUTS = Symbol("I", "input features")
OUTPUTS = Symbol("O", "output features")

EQUATIONS = (
    Equation(
        id="dense.affine",
        title="affine map, or fully connected layer",
        latex=r"z_{n,o} = b_{o} + \sum_{i=0}^{I-1} W_{o,i}\, x_{n,i}",
        symbols=(X, W, B, INPUTS),
        sources=(
            Source(
                "D1",
                "3.3",
                ("equal",),
                printed=r"z = Wx + b",
                errata=("ERR-03", "ERR-09"),
                item="EQ-D1-4",
                note="for one sample; the legend forgets b",
            ),
            Source("D2", "3.1.3", ("words",), errata=("ERR-20",)),
            Source("D3", "3.1.3", ("words",), errata=("ERR-20",)),
            Source("D4", "3.1", ("words",), errata=("ERR-20",)),
            Source("D1-D4", "code", ("code",), errata=("ERR-33", "ERR-35", "ERR-46"), item="C-04"),
        ),
        errata=("ERR-03", "ERR-09", "ERR-20", "ERR-33", "ERR-35", "ERR-46"),
        operations=("minseg.ops.linear", "minseg.nn.Linear"),
        primitives=("linear",),
        gradients={"x": "dense.grad_x", "W": "dense.grad_w", "b": "dense.grad_b"},
        note="In matrices Z = X W^T + 1 b^T. Not a map of labels: it has no positions (ERR-20).",
    ),
    Equation(
        id="dense.grad_x",
        title="gradient of the affine map for its input",
        latex=r"g_{n,i} = \sum_{o=0}^{O-1} \bar{z}_{n,o}\, W_{o,i}",
        symbols=(Z_BAR, W, OUTPUTS),
        sources=(paper("from dense.affine by differentiating for one feature"),),
        operations=("minseg.ops.linear",),
        primitives=("linear_grad_x",),
    ),
    Equation(
        id="dense.grad_w",
        title="gradient of the affine map for its weights",
        latex=r"g_{o,i} = \sum_{n=0}^{N-1} \bar{z}_{n,o}\, x_{n,i}",
        symbols=(Z_BAR, X, SAMPLES),
        sources=(paper("from dense.affine by differentiating for one weight"),),
        operations=("minseg.ops.linear",),
        primitives=("linear_grad_w",),
    ),
    Equation(
        id="dense.grad_b",
        title="gradient of the affine map for its bias",
        latex=r"g_{o} = \sum_{n=0}^{N-1} \bar{z}_{n,o}",
        symbols=(Z_BAR, SAMPLES),
        sources=(paper("from dense.affine by differentiating for the bias"),),
        operations=("minseg.ops.linear",),
        primitives=("linear_grad_b",),
    ),
)
