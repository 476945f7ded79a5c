"""Equations of attention: each of M pixels asks N pixels, usually all of the same image. Pixels stand in one row, in any order."""

from minseg.equations.registry import Equation, Source, Symbol, paper

QUERIES = Symbol("Q", "what each pixel asks", "(M, d)")
KEYS = Symbol("K", "what each pixel answers to", "(N, d)")
VALUES = Symbol("V", "what each pixel gives", "(N, C)")
PIXELS = Symbol("N", "pixels that are asked")
ASKING = Symbol("M", "pixels that ask")
CHANNELS = Symbol("d", "channels of queries and keys")
SCORES = Symbol("s", "att.score", "(M, N)")
WEIGHTS = Symbol("A", "att.weights", "(M, N)")
Y_BAR = Symbol(r"\bar{Y}", "gradient of the loss for the mixtures", "(M, C)")
S_BAR = Symbol(r"\bar{s}", "gradient of the loss for the scores, att.grad_s", "(M, N)")

ATTENTION = (
    Source("D5", "3.2.1", ("words",), errata=("ERR-26",), item="W-07", note="also in its question 4"),
    Source("D2", "3.2.2", ("words",), errata=("ERR-70",), item="W-07"),
    paper("Vaswani et al., NIPS 2017"),
)

DAO = paper("Dao et al.: FlashAttention, NeurIPS 2022")

EQUATIONS = (
    Equation(
        id="att.score",
        title="how well each pixel's query fits each pixel's key",
        latex=r"s_{i,j} = \frac{1}{\sqrt{d}}\sum_{c=0}^{d-1} Q_{i,c}K_{j,c}",
        symbols=(QUERIES, KEYS, CHANNELS),
        sources=ATTENTION,
        errata=("ERR-26", "ERR-63", "ERR-70"),
        operations=("minseg.ops.scaled_dot_product_attention",),
        gradients={"Q": "att.grad_q", "K": "att.grad_k"},
        note="One matrix product. N^2 numbers where N pixels ask each other; the root keeps their size from growing with d.",
    ),
    Equation(
        id="att.weights",
        title="attention: scores as weights that sum to 1",
        latex=r"A_{i,j} = \frac{\exp(s_{i,j})}{\sum_{l=0}^{N-1}\exp(s_{i,l})}",
        symbols=(SCORES, PIXELS),
        sources=ATTENTION,
        errata=("ERR-26", "ERR-70"),
        operations=("minseg.ops.scaled_dot_product_attention",),
        primitives=("softmax",),
        note="Softmax along each row: act.softmax, without its m.",
    ),
    Equation(
        id="att.mix",
        title="each pixel's mixture of all pixels' values",
        latex=r"Y_{i,c} = \sum_{j=0}^{N-1} A_{i,j}V_{j,c}",
        symbols=(WEIGHTS, VALUES, PIXELS),
        sources=ATTENTION,
        errata=("ERR-26", "ERR-70"),
        operations=("minseg.ops.scaled_dot_product_attention",),
        gradients={"V": "att.grad_v"},
    ),
    Equation(
        id="att.log_sum",
        title="what a query's weights are divided by, as a logarithm",
        latex=r"L_{i} = \log(\sum_{j=0}^{N-1}\exp(s_{i,j}))",
        symbols=(SCORES, PIXELS),
        sources=(DAO,),
        operations=("minseg.ops.scaled_dot_product_attention",),
        primitives=("attention",),
        note="One number for each query, from which all its weights can be computed again.",
    ),
    Equation(
        id="att.attention",
        title="the mixture in one pass over the keys",
        latex=r"Y_{i,c} = \sum_{j=0}^{N-1} \exp(s_{i,j}-L_{i})V_{j,c}",
        symbols=(SCORES, Symbol("L", "att.log_sum", "(M,)"), VALUES, PIXELS),
        sources=(DAO,),
        operations=("minseg.ops.scaled_dot_product_attention",),
        primitives=("attention",),
        gradients={"s": "att.grad_s", "V": "att.grad_v"},
        note="att.mix of att.weights. Computed for a block of queries at a time, no weight is ever written to memory.",
    ),
    Equation(
        id="att.grad_s",
        title="gradient of attention for its scores",
        latex=r"g_{i,j} = A_{i,j}\sum_{c=0}^{C-1}\bar{Y}_{i,c}(V_{j,c}-Y_{i,c})",
        symbols=(WEIGHTS, Y_BAR, VALUES, Symbol("Y", "att.mix", "(M, C)"), Symbol("C", "channels of values")),
        sources=(paper("from att.weights and att.mix by differentiating"), DAO),
        operations=("minseg.ops.scaled_dot_product_attention",),
        primitives=("attention_grad",),
        note="act.softmax_grad, whose sum over all pixels is one over the channels: of what the query got already.",
    ),
    Equation(
        id="att.grad_q",
        title="gradient of attention for its queries",
        latex=r"g_{i,c} = \frac{1}{\sqrt{d}}\sum_{j=0}^{N-1} \bar{s}_{i,j}K_{j,c}",
        symbols=(S_BAR, KEYS, CHANNELS, PIXELS),
        sources=(paper("from att.score by differentiating"),),
        operations=("minseg.ops.scaled_dot_product_attention",),
        primitives=("attention_grad",),
    ),
    Equation(
        id="att.grad_k",
        title="gradient of attention for its keys",
        latex=r"g_{j,c} = \frac{1}{\sqrt{d}}\sum_{i=0}^{M-1} \bar{s}_{i,j}Q_{i,c}",
        symbols=(S_BAR, QUERIES, CHANNELS, ASKING),
        sources=(paper("from att.score by differentiating"),),
        operations=("minseg.ops.scaled_dot_product_attention",),
        primitives=("attention_grad",),
    ),
    Equation(
        id="att.grad_v",
        title="gradient of attention for its values",
        latex=r"g_{j,c} = \sum_{i=0}^{M-1} A_{i,j}\bar{Y}_{i,c}",
        symbols=(WEIGHTS, Y_BAR, ASKING),
        sources=(paper("from att.mix by differentiating"),),
        operations=("minseg.ops.scaled_dot_product_attention",),
        primitives=("attention_grad",),
    ),
    Equation(
        id="att.multihead",
        title="several attentions side by side, and a projection of them all",
        latex=r"Y_{i,o} = \sum_{h=0}^{H-1}\sum_{c=0}^{D-1} W_{o,hD+c}\, Z_{h,i,c}",
        symbols=(
            Symbol("W", "projection", "(O, H D)"),
            Symbol("Z", "att.mix of each head", "(H, N, D)"),
            Symbol("H", "heads"),
            Symbol("D", "channels of a head"),
        ),
        sources=(paper("Vaswani et al., NIPS 2017"),),
        operations=("minseg.nn.MultiheadAttention", "minseg.nn.attention.project_heads"),
        note="Each head has its own projections to queries, keys and values, which are dense.affine.",
    ),
    Equation(
        id="att.positional_sin",
        title="position of a token as waves of several lengths",
        latex=(
            r"P_{i,c} = \begin{cases} \sin(i b^{-2\lfloor \frac{c}{2} \rfloor / D}) & 2\lfloor \frac{c}{2} \rfloor = c \\ "
            r"\cos(i b^{-2\lfloor \frac{c}{2} \rfloor / D}) & \text{otherwise} \end{cases}"
        ),
        symbols=(
            Symbol("b", "base of the wavelengths, 10000", domain="> 1"),
            Symbol("D", "channels"),
        ),
        sources=(
            paper("Vaswani et al., NIPS 2017"),
            Source("D5", "3.2.1", ("words",), errata=("ERR-26",), item="W-07", note="leaves positions out"),
        ),
        errata=("ERR-26",),
        operations=("minseg.nn.sinusoidal_positions", "minseg.nn.SinusoidalPositions2d"),
        note="Even channels have the sine, odd ones the cosine of the same wave. Without it attention ignores where a pixel is.",
    ),
    Equation(
        id="att.patch_embed",
        title="square patches of an image as tokens",
        latex=(
            r"y_{n,o,i,j} = b_{o} + \sum_{c=0}^{C-1}\sum_{p=0}^{k-1}\sum_{q=0}^{k-1} w_{o,c,p,q}\, x_{n,c,ki+p,kj+q}"
        ),
        symbols=(
            Symbol("x", "images", "(N, C, k I, k J)"),
            Symbol("w", "weights of each pixel of a patch", "(O, C, k, k)"),
            Symbol("b", "bias of each output channel", "(O,)"),
            Symbol("C", "input channels"),
            Symbol("k", "side of a patch", unit="pixels"),
        ),
        sources=(
            Source("D2", "3.2.2", ("words",), errata=("ERR-70",)),
            paper("Dosovitskiy et al., ICLR 2021"),
        ),
        errata=("ERR-70",),
        operations=("minseg.ops.conv2d", "minseg.nn.Conv2d", "minseg.models.PatchTransformer"),
        primitives=("conv2d",),
        note="conv.corr2d whose stride is the kernel size.",
    ),
    Equation(
        id="att.decoder_step",
        title="one step of the decoder with attention",
        latex=r"d = \phi(S(C(U(h), e)))",
        symbols=(
            Symbol("h", "state of the decoder before the step"),
            Symbol("e", "features of the encoder at the size that the step goes to"),
            Symbol("U", "enlargement to the size of e (up.bilinear)"),
            Symbol("C", "concatenation of channels (arith.concatenate)"),
            Symbol("S", "self-attention over the pixels (att.mix)"),
            Symbol(r"\phi", "convolution and activation"),
        ),
        sources=(Source("D5", "3.2.2", ("words",), errata=("ERR-27",), item="W-08"),),
        errata=("ERR-27", "ERR-53"),
        operations=("minseg.models.attention_decoder.DecoderStep", "minseg.models.AttentionDecoder"),
        callables=("U", "C", "S", r"\phi"),
        note="D5 leaves out U, without which h and e do not fit. After the last step: act.softmax of a linear map.",
    ),
)
