"""Equations of activations: one number in, one number out, and softmax with its logarithm, which look at all classes."""

from minseg.equations.registry import Equation, Source, Symbol, paper

Z = Symbol("z", "score, the output of a layer")
A = Symbol("a", "what the activation gave for z")
A_BAR = Symbol(r"\bar{a}", "gradient of the loss for the output a")
SCORES = Symbol("z", "score of each class (logit)", "(K,)", "nats")
CLASSES = Symbol("K", "classes", domain=">= 1")
LARGEST = Symbol("m", "the largest score; every other number gives the same value", unit="nats")

D1_ACTIVATION = r"a = \sigma(z)"
D4_SOFTMAX = r"y = softmax(Wx + b)"


def _printed(note: str) -> Source:
    """The activation of the first document's fully connected layer, whose function it leaves open."""
    return Source("D1", "3.3", ("equal",), printed=D1_ACTIVATION, errata=("ERR-09",), item="EQ-D1-5", note=note)


_IN_WORDS = (
    Source("D1", "6", ("words",), item="W-15", note="question 2"),
    Source("D5", "2.1, 3.1.2", ("words",), errata=("ERR-22",), item="W-15"),
)

EQUATIONS = (
    Equation(
        id="act.relu",
        title="rectified linear unit: negative scores become zero",
        latex=r"a = \max(0, z)",
        symbols=(Z,),
        sources=(
            _printed("with the ReLU of its code for the function"),
            *_IN_WORDS,
            Source("D3", "6", ("words",), errata=("ERR-36", "ERR-37"), item="W-15", note="question 3"),
        ),
        errata=("ERR-09", "ERR-22", "ERR-36", "ERR-37"),
        operations=("minseg.ops.relu", "minseg.nn.ReLU"),
        primitives=("relu",),
        gradients={"z": "act.relu_grad"},
        note="In [0, inf). NaN stays NaN.",
    ),
    Equation(
        id="act.relu_grad",
        title="gradient of the rectified linear unit",
        latex=r"g = \bar{a}[z > 0]",
        symbols=(A_BAR, Z),
        sources=(paper("from act.relu by differentiating"),),
        operations=("minseg.ops.relu",),
        primitives=("relu_grad_x",),
        note="The kink at z = 0 takes 0 by convention. z > 0 exactly where the output is, so that the output is enough.",
    ),
    Equation(
        id="act.sigmoid",
        title="logistic sigmoid: a score becomes a probability",
        latex=r"a = \frac{1}{1+\exp(-z)}",
        symbols=(Z,),
        sources=(_printed("with the sigmoid for the function"), *_IN_WORDS),
        errata=("ERR-09", "ERR-22"),
        operations=("minseg.ops.sigmoid", "minseg.nn.Sigmoid"),
        primitives=("sigmoid",),
        gradients={"z": "act.sigmoid_grad"},
        note="In (0, 1), up to rounding. For z < 0 the code extends the fraction by exp(z), so that exp never overflows.",
    ),
    Equation(
        id="act.sigmoid_grad",
        title="gradient of the sigmoid",
        latex=r"g = \bar{a}a(1-a)",
        symbols=(A_BAR, A),
        sources=(paper("from act.sigmoid by differentiating"),),
        operations=("minseg.ops.sigmoid",),
        primitives=("sigmoid_grad_x",),
        note="At most a quarter of the output's gradient: through many sigmoids a gradient vanishes (W-19).",
    ),
    Equation(
        id="act.tanh",
        title="hyperbolic tangent",
        latex=r"a = \frac{\exp(z)-\exp(-z)}{\exp(z)+\exp(-z)}",
        symbols=(Z,),
        sources=(_printed("with the hyperbolic tangent for the function"), *_IN_WORDS),
        errata=("ERR-09", "ERR-22"),
        operations=("minseg.ops.tanh", "minseg.nn.Tanh"),
        primitives=("tanh",),
        gradients={"z": "act.tanh_grad"},
        note="In (-1, 1), up to rounding.",
    ),
    Equation(
        id="act.tanh_grad",
        title="gradient of the hyperbolic tangent",
        latex=r"g = \bar{a}(1-a^{2})",
        symbols=(A_BAR, A),
        sources=(paper("from act.tanh by differentiating"),),
        operations=("minseg.ops.tanh",),
        primitives=("tanh_grad_x",),
    ),
    Equation(
        id="act.softmax",
        title="softmax: scores of classes become probabilities that sum to 1",
        latex=r"p_{k} = \frac{\exp(z_{k}-m)}{\sum_{j=0}^{K-1}\exp(z_{j}-m)}",
        symbols=(SCORES, LARGEST, CLASSES),
        sources=(
            Source(
                "D4",
                "3.3",
                ("equal",),
                printed=D4_SOFTMAX,
                errata=("ERR-18",),
                item="EQ-D4-4",
                note="of the scores that dense.affine gives",
            ),
            Source(
                "D5",
                "1.2, 2.5, 3.2.2",
                ("words",),
                errata=("ERR-28",),
                item="W-02",
                note="a distribution over the classes at every pixel",
            ),
        ),
        errata=("ERR-18", "ERR-28", "ERR-58"),
        operations=("minseg.ops.softmax", "minseg.nn.Softmax"),
        primitives=("softmax",),
        gradients={"z": "act.softmax_grad"},
        note="At every pixel by itself, along the axis of the classes. With m the largest score exp cannot overflow.",
    ),
    Equation(
        id="act.softmax_grad",
        title="gradient of softmax",
        latex=r"g_{k} = p_{k}(\bar{p}_{k} - \sum_{j=0}^{K-1}\bar{p}_{j}p_{j})",
        symbols=(
            Symbol("p", "probability of each class", "(K,)", "probability"),
            Symbol(r"\bar{p}", "gradient of the loss for the probabilities", "(K,)"),
            CLASSES,
        ),
        sources=(paper("from act.softmax by differentiating"),),
        operations=("minseg.ops.softmax",),
        primitives=("softmax_grad_x",),
        note="Sums to 0: adding the same number to all scores changes nothing.",
    ),
    Equation(
        id="act.log_softmax",
        title="logarithm of softmax",
        latex=r"y_{k} = z_{k}-m-\log(\sum_{j=0}^{K-1}\exp(z_{j}-m))",
        symbols=(SCORES, LARGEST, CLASSES),
        sources=(Source("D1-D5", "code", ("code",), item="C-08", note="the first half of the cross-entropy"),),
        operations=("minseg.ops.log_softmax",),
        primitives=("log_softmax",),
        gradients={"z": "act.log_softmax_grad"},
        note="Finite where softmax itself has underflown to 0.",
    ),
    Equation(
        id="act.log_softmax_grad",
        title="gradient of the logarithm of softmax",
        latex=r"g_{k} = \bar{y}_{k} - \exp(y_{k})\sum_{j=0}^{K-1}\bar{y}_{j}",
        symbols=(
            Symbol("y", "log-probability of each class", "(K,)", "nats"),
            Symbol(r"\bar{y}", "gradient of the loss for the log-probabilities", "(K,)"),
            CLASSES,
        ),
        sources=(paper("from act.log_softmax by differentiating"),),
        operations=("minseg.ops.log_softmax",),
        primitives=("log_softmax_grad_x",),
    ),
    Equation(
        id="act.step",
        title="step: the only activation whose output is binary",
        latex=r"a = \begin{cases} 1 & z > 0 \\ 0 & \text{otherwise} \end{cases}",
        symbols=(Z,),
        sources=(Source("D5", "2.1, 3.1.2", ("words",), errata=("ERR-22",), item="W-15"),),
        errata=("ERR-22",),
        note="What D5 describes; none of the activations that it names is one.",
        status="out of scope: its derivative is 0 wherever it has one, so nothing before it could learn from gradients",
    ),
)
