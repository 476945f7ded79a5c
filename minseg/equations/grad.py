"""Equations of gradients in general: what backward computes, and how it is checked."""

from minseg.equations.registry import Equation, Source, Symbol, paper

EQUATIONS = (
    Equation(
        id="grad.central",
        title="central difference",
        latex=r"g = \frac{f(x+h)-f(x-h)}{2h}",
        symbols=(
            Symbol("f", "function of one number"),
            Symbol("x", "where its derivative is wanted"),
            Symbol("h", "step", domain="> 0"),
        ),
        sources=(paper("Taylor's series of f, twice"),),
        operations=("minseg.gradcheck", "minseg.autograd.gradcheck"),
        callables=("f",),
        note=(
            "Differs from the derivative by h^2 |f'''| / 6, and by about u |f| / h from rounding (u = 1.1e-16): their sum is least "
            "near h = 1e-5."
        ),
    ),
    Equation(
        id="grad.backward",
        title="what backward adds to the gradient of an input",
        latex=r"g_{i} = a_{i} + \sum_{j=0}^{m-1} J_{j,i}\bar{y}_{j}",
        symbols=(
            Symbol("a", "what earlier calls have gathered; 0 after zero_grad", "(n,)"),
            Symbol("J", "derivatives of output j for input i", "(m, n)"),
            Symbol(r"\bar{y}", "gradient of the loss for the output", "(m,)"),
            Symbol("m", "outputs"),
        ),
        sources=(
            Source("D1-D5", "code", ("code",), errata=("ERR-55",), item="C-14"),
            paper("reverse-mode differentiation; Linnainmaa 1970"),
        ),
        errata=("ERR-55",),
        operations=("minseg.autograd.Tensor.backward",),
        note="J itself is never made: each operation knows how to multiply with its transpose.",
    ),
    Equation(
        id="grad.chain",
        title="gradient through a chain of layers of one neuron each",
        latex=r"g = \bar{h}\prod_{l=0}^{L-1} w_{l}d_{l}",
        symbols=(
            Symbol(r"\bar{h}", "gradient of the loss for the last output"),
            Symbol("w", "weight of each layer", "(L,)"),
            Symbol("d", "derivative of each layer's activation at its score", "(L,)"),
            Symbol("L", "layers"),
        ),
        sources=(Source("D3", "6", ("words",), errata=("ERR-37",), item="W-19", note="question 3"),),
        errata=("ERR-37",),
        operations=("minseg.autograd.Tensor.backward",),
        note="With factors below 1 it vanishes, with factors above 1 it explodes: both exponentially in the number of layers.",
    ),
    Equation(
        id="grad.relative_error",
        title="relative error of a gradient",
        latex=r"e = \frac{|a-n|}{\max(|a|,|n|,f)}",
        symbols=(
            Symbol("a", "gradient from backward"),
            Symbol("n", "gradient from central differences"),
            Symbol("f", "floor, which keeps a gradient near 0 from being compared with rounding errors", domain=">= 0"),
        ),
        sources=(paper("the usual measure, with a floor"),),
        operations=("minseg.autograd.gradcheck.relative_error",),
        note="0 where all three are 0.",
    ),
)
