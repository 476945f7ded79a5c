"""Equations of connections that go around layers, or join what several layers say."""

from minseg.equations.registry import Equation, Source, Symbol, paper

D4_RESIDUAL = r"y = x + F(x)"
HE = paper("He, Zhang, Ren and Sun, CVPR 2016")

EQUATIONS = (
    Equation(
        id="res.identity",
        title="residual connection",
        latex=r"y = x + F(x)",
        symbols=(Symbol("x", "what the block is given"), Symbol("F", "the layers of the branch")),
        sources=(
            Source(
                "D4",
                "3.3",
                ("equal",),
                printed=D4_RESIDUAL,
                errata=("ERR-17",),
                item="EQ-D4-2",
                note="F is the branch, called the block there",
            ),
            Source("D4", "2.2", ("words",), errata=("ERR-61", "ERR-62"), item="W-06"),
            Source("D4", "3.2", ("words",), errata=("ERR-19",), item="W-06"),
            HE,
        ),
        errata=("ERR-17", "ERR-19", "ERR-45", "ERR-59", "ERR-60", "ERR-61", "ERR-62"),
        operations=("minseg.autograd.add", "minseg.models.resnet.BasicBlock"),
        gradients={"x": "res.identity_grad"},
        callables=("F",),
        note="x and F(x) must have one shape (res.projection where they have not). An activation of the sum usually follows.",
    ),
    Equation(
        id="res.identity_grad",
        title="gradient of a residual connection",
        latex=r"g_{i} = \bar{y}_{i} + \sum_{j=0}^{n-1} J_{j,i}\bar{y}_{j}",
        symbols=(
            Symbol(r"\bar{y}", "gradient of the loss for the output", "(n,)"),
            Symbol("J", "derivatives of the branch: of output j for input i", "(n, n)"),
            Symbol("n", "values"),
        ),
        sources=(paper("from res.identity by differentiating"),),
        operations=("minseg.autograd.add",),
        note="However small J is, the gradient reaches the layers before: that is why depth can be trained.",
    ),
    Equation(
        id="res.projection",
        title="residual connection between different shapes",
        latex=r"y_{n,o,i,j} = F_{n,o,i,j} + \sum_{c=0}^{C-1} w_{o,c}\, x_{n,c,si,sj}",
        symbols=(
            Symbol("x", "what the block is given", "(N, C, H, W)"),
            Symbol("F", "what the branch makes of it", "(N, O, I, J)"),
            Symbol("w", "projection of the channels: a 1x1 convolution", "(O, C)"),
            Symbol("s", "stride of the block", unit="pixels"),
            Symbol("C", "input channels"),
        ),
        sources=(
            HE,
            Source("D4", "3.2", ("words",), errata=("ERR-19",), note="pools inside the block, where this is needed"),
        ),
        errata=("ERR-17", "ERR-19"),
        operations=("minseg.models.resnet.BasicBlock",),
        note="In networks batch norm follows the projection, and an activation the sum. Where only channels differ, s = 1.",
    ),
    Equation(
        id="res.dense_concat",
        title="dense connectivity: a layer sees what all layers before it made",
        latex=r"y_{n,c,i,j} = x_{\lfloor \frac{c}{G} \rfloor,n,c-G\lfloor \frac{c}{G} \rfloor,i,j}",
        symbols=(
            Symbol("x", "output of each layer so far", "(L, N, G, H, W)"),
            Symbol("G", "channels that each layer adds"),
        ),
        sources=(
            Source("D4", "references", ("words",), errata=("ERR-75",), item="W-24", note="reference 2"),
            paper("Huang, Liu, van der Maaten and Weinberger, CVPR 2017"),
        ),
        errata=("ERR-75",),
        operations=("minseg.autograd.concatenate", "minseg.models.dense.DenseBlock"),
        note="The concatenation along the channels; the next layer is applied to it.",
    ),
    Equation(
        id="res.inception",
        title="branches of several kernel sizes side by side",
        latex=(
            r"y_{c,i,j} = \begin{cases} a_{c,i,j} & c < A \\ b_{c-A,i,j} & c < A+B \\ d_{c-A-B,i,j} & c < A+B+D \\ "
            r"e_{c-A-B-D,i,j} & \text{otherwise} \end{cases}"
        ),
        symbols=(
            Symbol("a", "1x1 convolution of the input", "(A, H, W)"),
            Symbol("b", "3x3 convolution", "(B, H, W)"),
            Symbol("d", "5x5 convolution", "(D, H, W)"),
            Symbol("e", "1x1 convolution of the pooled input", "(E, H, W)"),
            Symbol("A", "channels of a"),
            Symbol("B", "channels of b"),
            Symbol("D", "channels of d"),
        ),
        sources=(
            Source("D4", "references", ("words",), errata=("ERR-75",), item="W-25", note="reference 3"),
            paper("Szegedy et al., CVPR 2015"),
        ),
        errata=("ERR-75",),
        operations=("minseg.autograd.concatenate", "minseg.models.inception.InceptionBlock"),
        note="The concatenation along the channels.",
    ),
)
