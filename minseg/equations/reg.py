"""Equations of regularisation: penalties on the weights, dropout, and when to stop."""

from minseg.equations.registry import Equation, Source, Symbol, paper

WEIGHTS = Symbol(r"\theta", "weights of the network, in one row", "(n,)")
LOSS = Symbol("L", "loss without the penalty")
STRENGTH = Symbol(r"\lambda", "strength of the penalty", domain=">= 0")
COUNT = Symbol("n", "number of weights")
R_BAR = Symbol(r"\bar{R}", "gradient of the final number for the penalised loss; 1 where that is the number")
DROPPED = Symbol("p", "probability of being dropped", unit="probability", domain="in [0, 1)")

_PENALTIES = Source("D1", "6", ("words",), item="W-16")

EQUATIONS = (
    Equation(
        id="reg.l1",
        title="L1 regularisation",
        latex=r"R = L + \lambda\sum_{i=0}^{n-1}|\theta_{i}|",
        symbols=(LOSS, STRENGTH, WEIGHTS, COUNT),
        sources=(_PENALTIES,),
        operations=("minseg.nn.l1_penalty",),
        gradients={r"\theta": "reg.l1_grad"},
        note="The penalty is added to the loss. It drives small weights to exactly 0.",
    ),
    Equation(
        id="reg.l1_grad",
        title="gradient of L1 regularisation's penalty",
        latex=r"g_{i} = \bar{R}\lambda([\theta_{i} > 0] - [\theta_{i} < 0])",
        symbols=(R_BAR, STRENGTH, WEIGHTS),
        sources=(paper("from reg.l1 by differentiating"),),
        operations=("minseg.nn.l1_penalty",),
        note="The kink at 0 takes 0.",
    ),
    Equation(
        id="reg.l2",
        title="L2 regularisation",
        latex=r"R = L + \frac{\lambda}{2}\sum_{i=0}^{n-1}\theta_{i}^{2}",
        symbols=(LOSS, STRENGTH, WEIGHTS, COUNT),
        sources=(_PENALTIES,),
        operations=("minseg.nn.l2_penalty", "minseg.optim.SGD"),
        gradients={r"\theta": "reg.l2_grad"},
        note="Through its gradient: weight_decay of the optimisers (opt.weight_decay). Under Adam it is not the decay of AdamW.",
    ),
    Equation(
        id="reg.l2_grad",
        title="gradient of L2 regularisation's penalty",
        latex=r"g_{i} = \bar{R}\lambda\theta_{i}",
        symbols=(R_BAR, STRENGTH, WEIGHTS),
        sources=(paper("from reg.l2 by differentiating"),),
        operations=("minseg.nn.l2_penalty", "minseg.optim.SGD"),
        primitives=("sgd_update",),
    ),
    Equation(
        id="reg.dropout",
        title="dropout",
        latex=r"y_{i} = \frac{m_{i}x_{i}}{1-p}",
        symbols=(
            Symbol("x", "values", "(n,)"),
            Symbol("m", "0 with probability p, else 1", "(n,)", domain="0 or 1"),
            DROPPED,
        ),
        sources=(
            Source("D3", "6", ("words",), note="question 2 asks for regularisation without naming one"),
            paper("Srivastava et al., JMLR 2014"),
        ),
        operations=("minseg.ops.dropout", "minseg.nn.Dropout"),
        gradients={"x": "reg.dropout_grad"},
        note="In training only. The division keeps the expected value, so that evaluation needs no change.",
    ),
    Equation(
        id="reg.dropout_grad",
        title="gradient of dropout",
        latex=r"g_{i} = \frac{m_{i}\bar{y}_{i}}{1-p}",
        symbols=(
            Symbol(r"\bar{y}", "gradient of the loss for the output", "(n,)"),
            Symbol("m", "what the forward pass drew", "(n,)", domain="0 or 1"),
            DROPPED,
        ),
        sources=(paper("from reg.dropout by differentiating"),),
        operations=("minseg.ops.dropout",),
    ),
    Equation(
        id="reg.dropout2d",
        title="dropout of whole channels",
        latex=r"y_{n,c,i,j} = \frac{m_{n,c}x_{n,c,i,j}}{1-p}",
        symbols=(
            Symbol("x", "maps", "(N, C, H, W)"),
            Symbol("m", "0 with probability p, else 1", "(N, C)", domain="0 or 1"),
            DROPPED,
        ),
        sources=(paper("Tompson et al., CVPR 2015"),),
        operations=("minseg.ops.dropout2d",),
        gradients={"x": "reg.dropout2d_grad"},
    ),
    Equation(
        id="reg.dropout2d_grad",
        title="gradient of the dropout of whole channels",
        latex=r"g_{n,c,i,j} = \frac{m_{n,c}\bar{y}_{n,c,i,j}}{1-p}",
        symbols=(
            Symbol(r"\bar{y}", "gradient of the loss for the output", "(N, C, H, W)"),
            Symbol("m", "what the forward pass drew", "(N, C)", domain="0 or 1"),
            DROPPED,
        ),
        sources=(paper("from reg.dropout2d by differentiating"),),
        operations=("minseg.ops.dropout2d",),
    ),
    Equation(
        id="reg.early_stopping",
        title="early stopping: whether the best epoch is too long ago",
        latex=r"S = [t - \arg\max_{i=0}^{t}(-L_{i}) \ge q]",
        symbols=(
            Symbol("L", "validation loss after each epoch", "(t+1,)"),
            Symbol("t", "the last epoch", domain=">= 0"),
            Symbol("q", "patience", unit="epochs", domain=">= 1"),
        ),
        sources=(
            Source(
                "D1",
                "6",
                ("words",),
                errata=("ERR-66",),
                note="a validation set notices over-fitting; stopping acts on it",
            ),
            paper("Prechelt 1998"),
        ),
        errata=("ERR-66",),
        operations=("minseg.training.stop_early",),
        note="1: stop, and keep the weights of the best epoch; of several equally good ones the first.",
    ),
)
