"""Equations of attention: each of M pixels asks N pixels, usually all of the same image. Pixels stand in one row, in any order."""

from minseg.equations.registry import Equation, Source, Symbol, paper

QUERIES = Symbol("Q", "what each pixel asks", "(M, d)")
KEYS = Symbol("K", "what each pixel answers to", "(N, d)")
VALUES = Symbol("V", "what each pixel gives", "(N, C)")
PIXELS = Symbol("N", "pixels that are asked")
CHANNELS = Symbol("d", "channels of queries and keys")

ATTENTION = (
    Source("D5", "3.2.1", ("words",), errata=("ERR-26",), item="W-07", note="also in its question 4"),
    Source("D2", "3.2.2", ("words",), errata=("ERR-70",), item="W-07"),
    paper("Vaswani et al., NIPS 2017"),
)

EQUATIONS = (
    Equation(
        id="att.score",
        title="how well each pixel's query fits each pixel's key",
        latex=r"s_{i,j} = \frac{1}{\sqrt{d}}\sum_{c=0}^{d-1} Q_{i,c}K_{j,c}",
        symbols=(QUERIES, KEYS, CHANNELS),
        sources=ATTENTION,
        errata=("ERR-26", "ERR-63", "ERR-70"),
        operations=("minseg.ops.scaled_dot_product_attention",),
        note="One matrix product. N^2 numbers where N pixels ask each other; the root keeps their size from growing with d.",
    ),
    Equation(
        id="att.weights",
        title="attention: scores as weights that sum to 1",
        latex=r"A_{i,j} = \frac{\exp(s_{i,j})}{\sum_{l=0}^{N-1}\exp(s_{i,l})}",
        symbols=(Symbol("s", "att.score", "(M, N)"), PIXELS),
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
        symbols=(Symbol("A", "att.weights", "(M, N)"), VALUES, PIXELS),
        sources=ATTENTION,
        errata=("ERR-26", "ERR-70"),
        operations=("minseg.ops.scaled_dot_product_attention",),
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
