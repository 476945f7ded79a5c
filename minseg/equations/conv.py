"""Equations of convolution: forward, sizes, gradients, groups, transposed, as columns and as a matrix."""

from minseg.equations.registry import Equation, Source, Symbol, paper

# Letters that many of these equations share.
X = Symbol("x", "images", "(N, C, H, W)", outside="zero")
X_INSIDE = Symbol("x", "images", "(N, C, H, W)")
W = Symbol("w", "kernels, not rotated", "(O, C, R, S)")
W_ZERO = Symbol("w", "kernels, not rotated", "(O, C, R, S)", outside="zero")
W_GROUPED = Symbol("w", "kernels, which see the channels of one group only", "(O, C/G, R, S)")
TRANSPOSE_W = Symbol("w", "kernels of the convolution that this one transposes", "(C, O, R, S)")
TRANSPOSE_Y_BAR = Symbol(r"\bar{y}", "gradient of the loss for the output", "(N, O, H', W')", outside="zero")
B = Symbol("b", "bias of each output channel", "(O,)")
Y_BAR = Symbol(r"\bar{y}", "gradient of the loss for the output", "(N, O, I, J)")
STRIDE = Symbol("s", "stride", unit="pixels", domain=">= 1")
DILATION = Symbol("d", "dilation", unit="pixels", domain=">= 1")
PADDING = Symbol("P", "padding", unit="pixels", domain=">= 0")
GROUPS = Symbol("G", "groups of channels", domain=">= 1, divides C and O")
SIZES = (
    Symbol("N", "images in the batch"),
    Symbol("C", "input channels"),
    Symbol("O", "output channels"),
    Symbol("H", "rows of the input", unit="pixels"),
    Symbol("W", "columns of the input", unit="pixels"),
    Symbol("R", "rows of a kernel", unit="pixels"),
    Symbol("S", "columns of a kernel", unit="pixels"),
    Symbol("I", "rows of the output", unit="pixels"),
    Symbol("J", "columns of the output", unit="pixels"),
)


def sizes(letters: str) -> tuple[Symbol, ...]:
    """The symbols of these size letters."""
    return tuple(symbol for symbol in SIZES if symbol.latex in letters)


def winograd(m: int) -> Equation:
    """F(m x m, 3x3), for one tile."""
    n = m + 2
    return Equation(
        id=f"conv.winograd_f{m}",
        title=f"a tile of {m}x{m} outputs by Winograd's transforms",
        latex=(
            rf"y_{{i,j}} = \sum_{{p=0}}^{{{n - 1}}}\sum_{{q=0}}^{{{n - 1}}} A_{{p,i}}\, A_{{q,j}}"
            r"\left(\sum_{r=0}^{2}\sum_{s=0}^{2} G_{p,r}\, w_{r,s}\, G_{q,s}\right)"
            rf"\left(\sum_{{u=0}}^{{{n - 1}}}\sum_{{v=0}}^{{{n - 1}}} B_{{u,p}}\, x_{{u,v}}\, B_{{v,q}}\right)"
        ),
        symbols=(
            Symbol("x", "pixels that a tile's windows see", f"({n}, {n})"),
            Symbol("w", "one kernel, not rotated", "(3, 3)"),
            Symbol("A", "makes outputs of products", f"({n}, {m})"),
            Symbol("B", "transforms pixels", f"({n}, {n})"),
            Symbol("G", "transforms kernels", f"({n}, 3)"),
        ),
        sources=(
            paper("A. Lavin, S. Gray: Fast Algorithms for Convolutional Neural Networks, CVPR 2016, arXiv 1509.09308"),
        ),
        operations=("minseg.ops.conv2d",),
        primitives=("conv2d",),
        note=(
            "Y = A^T [(G g G^T) * (B^T d B)] A, which is conv.corr2d for stride and dilation 1, with "
            f"{n * n} products for {m * m} outputs instead of {9 * m * m}. They are summed over the channels before A sees them. "
            "kernels/winograd.py computes the matrices from their points. In float32 it rounds more than the definition."
        ),
    )


IVERSON = "A relation in brackets is 1 where it holds, else 0."

D1_CONVOLUTION = r"y(x,y) = \sum_{i=1}^{k}\sum_{j=1}^{k}w(i,j) \cdot x(x-i,y-j)"
D3_CONVOLUTION = r"y(i,j) = \sum_{p=1}^{k}\sum_{q=1}^{k} x(i-p+1, j-q+1) \cdot k(p, q)"
D4_CONVOLUTION = r"y = f(Wx + b)"

EQUATIONS = (
    Equation(
        id="conv.corr2d",
        title="cross-correlation, which deep learning calls convolution",
        latex=r"y_{n,o,i,j} = b_{o} + \sum_{c=0}^{C-1}\sum_{p=0}^{R-1}\sum_{q=0}^{S-1} w_{o,c,p,q}\, x_{n,c,si+dp-P,sj+dq-P}",
        symbols=(X, W, B, STRIDE, DILATION, PADDING, *sizes("CRS")),
        sources=(
            Source(
                "D1",
                "3.1",
                ("rotated", "shifted"),
                printed=D1_CONVOLUTION,
                errata=("ERR-01", "ERR-02", "ERR-03", "ERR-04"),
                item="EQ-D1-1",
            ),
            Source(
                "D3",
                "3.3.1",
                ("rotated", "reindexed"),
                printed=D3_CONVOLUTION,
                errata=("ERR-01", "ERR-03", "ERR-04"),
                item="EQ-D3-1",
            ),
            Source(
                "D4",
                "3.3",
                ("Toeplitz",),
                printed=D4_CONVOLUTION,
                errata=("ERR-15",),
                item="EQ-D4-1",
                note="true for the matrix of the convolution acting on the pixels in one column: see conv.toeplitz",
            ),
            Source("D2", "3.1.1", ("words",), errata=("ERR-29",), item="W-04"),
            Source("D3", "3.1.1", ("words",), errata=("ERR-30",), item="W-04"),
            Source("D5", "2.4, 3.1.1", ("words",), item="W-04"),
            Source("D2", "3.2.1", ("words",), item="W-21", note="atrous convolution: d > 1"),
            Source("D1-D5", "code", ("code",), item="C-01"),
        ),
        errata=("ERR-01", "ERR-02", "ERR-03", "ERR-04", "ERR-15", "ERR-29", "ERR-30"),
        operations=("minseg.ops.conv2d", "minseg.nn.Conv2d"),
        primitives=("conv2d",),
        gradients={"x": "conv.grad_x", "w": "conv.grad_w", "b": "conv.grad_b"},
        note="x = 0 outside; rows and columns may have their own stride, dilation and padding.",
    ),
    Equation(
        id="conv.corr2d_relu",
        title="cross-correlation and the rectified linear unit after it, in one pass",
        latex=(
            r"y_{n,o,i,j} = \max\left(0, b_{o} + "
            r"\sum_{c=0}^{C-1}\sum_{p=0}^{R-1}\sum_{q=0}^{S-1} w_{o,c,p,q}\, x_{n,c,si+dp-P,sj+dq-P}\right)"
        ),
        symbols=(X, W, B, STRIDE, DILATION, PADDING, *sizes("CRS")),
        sources=(paper("act.relu of conv.corr2d"),),
        operations=("minseg.ops.conv2d_relu",),
        primitives=("conv2d_relu",),
        note=(
            "Computed together they write the map once. A network in use has it wherever batch normalisation is folded into a "
            "convolution (norm.fold_weight). Its gradients are those of conv.corr2d, given act.relu_grad of the cotangent."
        ),
    ),
    Equation(
        id="conv.true2d",
        title="true convolution, with the kernel rotated",
        latex=r"y_{i,j} = \sum_{p=0}^{R-1}\sum_{q=0}^{S-1} w_{p,q}\, x_{i-p,j-q}",
        symbols=(
            Symbol("x", "one image", "(H, W)", outside="zero"),
            Symbol("w", "one kernel", "(R, S)"),
            *sizes("RS"),
        ),
        sources=(
            Source(
                "D1",
                "3.1",
                ("shifted",),
                printed=D1_CONVOLUTION,
                errata=("ERR-02", "ERR-03", "ERR-04"),
                item="EQ-D1-1",
                note="one pixel later, in rows and in columns",
            ),
            Source(
                "D3",
                "3.3.1",
                ("reindexed",),
                printed=D3_CONVOLUTION,
                errata=("ERR-03", "ERR-04"),
                item="EQ-D3-1",
                note="all indices count from 1",
            ),
        ),
        errata=("ERR-01", "ERR-02", "ERR-03", "ERR-04"),
        operations=("minseg.ops.conv2d",),
        primitives=("conv2d",),
        note="Of full size, H+R-1 rows. Equals conv.corr2d with the kernel rotated by 180 degrees and the padding R-1, S-1.",
    ),
    Equation(
        id="conv.size",
        title="side of a convolution's output",
        latex=r"H_{o} = \lfloor \frac{H+2P-d(R-1)-1}{s} \rfloor + 1",
        symbols=(STRIDE, DILATION, PADDING, *sizes("HR")),
        sources=(Source("D1-D5", "code", ("code",), item="C-01"),),
        operations=("minseg.kernels.shapes.conv_size",),
        note="An output below one pixel is an error.",
    ),
    Equation(
        id="conv.grad_x",
        title="gradient of the convolution for its input, without dilation",
        latex=(
            r"g_{n,c,u,v} = \sum_{o=0}^{O-1}\sum_{i=0}^{I-1}\sum_{j=0}^{J-1} "
            r"\bar{y}_{n,o,i,j}\, w_{o,c,u+P-si,v+P-sj}"
        ),
        symbols=(Y_BAR, W_ZERO, STRIDE, PADDING, *sizes("OIJ")),
        sources=(paper("from conv.corr2d by differentiating for one pixel"),),
        operations=("minseg.ops.conv2d",),
        primitives=("conv2d_grad_x",),
        note="For d = 1; w = 0 outside. conv.grad_x_dilated holds for every d.",
    ),
    Equation(
        id="conv.grad_x_dilated",
        title="gradient of the convolution for its input",
        latex=(
            r"g_{n,c,u,v} = \sum_{i=0}^{I-1}\sum_{p=0}^{R-1}[si+dp-P = u]\sum_{j=0}^{J-1}\sum_{q=0}^{S-1}[sj+dq-P = v]"
            r"\sum_{o=0}^{O-1} \bar{y}_{n,o,i,j}\, w_{o,c,p,q}"
        ),
        symbols=(Y_BAR, W, STRIDE, DILATION, PADDING, *sizes("OIJRS")),
        sources=(paper("from conv.corr2d by differentiating for one pixel"),),
        operations=("minseg.ops.conv2d",),
        primitives=("conv2d_grad_x",),
        note=f"{IVERSON} A weight counts where the window put it on the pixel u, v.",
    ),
    Equation(
        id="conv.grad_w",
        title="gradient of the convolution for its kernels",
        latex=r"g_{o,c,p,q} = \sum_{n=0}^{N-1}\sum_{i=0}^{I-1}\sum_{j=0}^{J-1} \bar{y}_{n,o,i,j}\, x_{n,c,si+dp-P,sj+dq-P}",
        symbols=(Y_BAR, X, STRIDE, DILATION, PADDING, *sizes("NIJ")),
        sources=(paper("from conv.corr2d by differentiating for one weight"),),
        operations=("minseg.ops.conv2d",),
        primitives=("conv2d_grad_w",),
    ),
    Equation(
        id="conv.grad_b",
        title="gradient of the convolution for its bias",
        latex=r"g_{o} = \sum_{n=0}^{N-1}\sum_{i=0}^{I-1}\sum_{j=0}^{J-1} \bar{y}_{n,o,i,j}",
        symbols=(Y_BAR, *sizes("NIJ")),
        sources=(paper("from conv.corr2d by differentiating for the bias"),),
        operations=("minseg.ops.conv2d", "minseg.ops.conv_transpose2d"),
        primitives=("conv2d_grad_b",),
    ),
    Equation(
        id="conv.grouped",
        title="convolution of groups of channels by themselves",
        latex=(
            r"y_{n,o,i,j} = b_{o} + \sum_{c=0}^{\frac{C}{G}-1}\sum_{p=0}^{R-1}\sum_{q=0}^{S-1} "
            r"w_{o,c,p,q}\, x_{n,\lfloor \frac{oG}{O} \rfloor\frac{C}{G}+c,si+dp-P,sj+dq-P}"
        ),
        symbols=(X, W_GROUPED, B, GROUPS, STRIDE, DILATION, PADDING, *sizes("CORS")),
        sources=(paper("AlexNet, which divided a network between two GPUs; G = C is a depthwise convolution"),),
        operations=("minseg.ops.conv2d", "minseg.nn.Conv2d"),
        primitives=("conv2d",),
        gradients={"x": "conv.grouped_grad_x", "w": "conv.grouped_grad_w", "b": "conv.grad_b"},
        note="Output channel o belongs to group floor(o G / O), which holds C/G input channels. G = 1 is conv.corr2d.",
    ),
    Equation(
        id="conv.grouped_grad_x",
        title="gradient of the grouped convolution for its input",
        latex=(
            r"g_{n,c,u,v} = \sum_{i=0}^{I-1}\sum_{p=0}^{R-1}[si+dp-P = u]\sum_{j=0}^{J-1}\sum_{q=0}^{S-1}[sj+dq-P = v]"
            r"\sum_{o=0}^{\frac{O}{G}-1} \bar{y}_{n,\lfloor \frac{cG}{C} \rfloor\frac{O}{G}+o,i,j}\, "
            r"w_{\lfloor \frac{cG}{C} \rfloor\frac{O}{G}+o,c-\lfloor \frac{cG}{C} \rfloor\frac{C}{G},p,q}"
        ),
        symbols=(Y_BAR, W_GROUPED, GROUPS, STRIDE, DILATION, PADDING, *sizes("COIJRS")),
        sources=(paper("from conv.grouped by differentiating for one pixel"),),
        operations=("minseg.ops.conv2d",),
        primitives=("conv2d_grad_x",),
        note=f"{IVERSON} Input channel c belongs to group floor(c G / C), which makes O/G output channels.",
    ),
    Equation(
        id="conv.grouped_grad_w",
        title="gradient of the grouped convolution for its kernels",
        latex=(
            r"g_{o,c,p,q} = \sum_{n=0}^{N-1}\sum_{i=0}^{I-1}\sum_{j=0}^{J-1} \bar{y}_{n,o,i,j}\, "
            r"x_{n,\lfloor \frac{oG}{O} \rfloor\frac{C}{G}+c,si+dp-P,sj+dq-P}"
        ),
        symbols=(Y_BAR, X, GROUPS, STRIDE, DILATION, PADDING, *sizes("NCOIJ")),
        sources=(paper("from conv.grouped by differentiating for one weight"),),
        operations=("minseg.ops.conv2d",),
        primitives=("conv2d_grad_w",),
    ),
    Equation(
        id="conv.transpose2d",
        title="transposed convolution, without dilation",
        latex=(
            r"y_{n,o,u,v} = b_{o} + \sum_{c=0}^{C-1}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1} "
            r"x_{n,c,i,j}\, w_{c,o,u+P-si,v+P-sj}"
        ),
        symbols=(
            X_INSIDE,
            Symbol("w", TRANSPOSE_W.meaning, TRANSPOSE_W.shape, outside="zero"),
            B,
            STRIDE,
            PADDING,
            *sizes("CHW"),
        ),
        sources=(Source("D5", "4", ("code",), errata=("ERR-51",), item="C-03"),),
        errata=("ERR-51",),
        operations=("minseg.ops.conv_transpose2d", "minseg.nn.ConvTranspose2d"),
        primitives=("conv_transpose2d",),
        gradients={"x": "conv.transpose_grad_x", "w": "conv.transpose_grad_w", "b": "conv.grad_b"},
        note="For d = 1; w = 0 outside. It is conv.grad_x, with a bias. conv.transpose2d_dilated holds for every d.",
    ),
    Equation(
        id="conv.transpose2d_dilated",
        title="transposed convolution",
        latex=(
            r"y_{n,o,u,v} = b_{o} + \sum_{i=0}^{H-1}\sum_{p=0}^{R-1}[si+dp-P = u]\sum_{j=0}^{W-1}\sum_{q=0}^{S-1}[sj+dq-P = v]"
            r"\sum_{c=0}^{C-1} x_{n,c,i,j}\, w_{c,o,p,q}"
        ),
        symbols=(X_INSIDE, TRANSPOSE_W, B, STRIDE, DILATION, PADDING, *sizes("CHWRS")),
        sources=(paper("conv.grad_x_dilated, with a bias"),),
        operations=("minseg.ops.conv_transpose2d", "minseg.nn.ConvTranspose2d"),
        primitives=("conv_transpose2d",),
        gradients={"x": "conv.transpose_grad_x", "w": "conv.transpose_grad_w", "b": "conv.grad_b"},
        note=f"{IVERSON} Each pixel of x puts a kernel, weighted, on the output.",
    ),
    Equation(
        id="conv.transpose_size",
        title="side of a transposed convolution's output",
        latex=r"H_{o} = (H-1)s - 2P + d(R-1) + a + 1",
        symbols=(
            STRIDE,
            DILATION,
            PADDING,
            Symbol(
                "a",
                "output padding: which of the s sizes that the stride folds together",
                "",
                "pixels",
                domain="0 <= a < s",
            ),
            *sizes("HR"),
        ),
        sources=(Source("D5", "4", ("code",), errata=("ERR-51",), item="C-03"),),
        errata=("ERR-51",),
        operations=("minseg.kernels.shapes.conv_transpose_size",),
        note="conv.size of the result gives H back.",
    ),
    Equation(
        id="conv.transpose_grad_x",
        title="gradient of the transposed convolution for its input: the convolution",
        latex=(
            r"g_{n,c,i,j} = \sum_{o=0}^{O-1}\sum_{p=0}^{R-1}\sum_{q=0}^{S-1} "
            r"w_{c,o,p,q}\, \bar{y}_{n,o,si+dp-P,sj+dq-P}"
        ),
        symbols=(TRANSPOSE_Y_BAR, TRANSPOSE_W, STRIDE, DILATION, PADDING, *sizes("ORS")),
        sources=(paper("conv.corr2d of the output's gradient, with the same kernels"),),
        operations=("minseg.ops.conv_transpose2d",),
        primitives=("conv2d",),
    ),
    Equation(
        id="conv.transpose_grad_w",
        title="gradient of the transposed convolution for its kernels",
        latex=(
            r"g_{c,o,p,q} = \sum_{n=0}^{N-1}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1} "
            r"x_{n,c,i,j}\, \bar{y}_{n,o,si+dp-P,sj+dq-P}"
        ),
        symbols=(TRANSPOSE_Y_BAR, X_INSIDE, STRIDE, DILATION, PADDING, *sizes("NHW")),
        sources=(paper("conv.grad_w with x and the output's gradient exchanged"),),
        operations=("minseg.ops.conv_transpose2d",),
        primitives=("conv2d_grad_w",),
    ),
    Equation(
        id="conv.im2col",
        title="every window of the image as a column",
        latex=r"A_{n,c,p,q,i,j} = x_{n,c,si+dp-P,sj+dq-P}",
        symbols=(X, STRIDE, DILATION, PADDING),
        sources=(paper("the pixels that conv.corr2d reads, written down once for each window"),),
        primitives=("im2col",),
        gradients={"x": "conv.col2im"},
        note="The kernels' array is (N, CRS, IJ): row (cR+p)S+q, column iJ+j. With it, conv.corr2d is a product of matrices.",
    ),
    Equation(
        id="conv.col2im",
        title="columns added back to the pixels that they came from",
        latex=(
            r"g_{n,c,u,v} = \sum_{p=0}^{R-1}\sum_{i=0}^{I-1}[si+dp-P = u]\sum_{q=0}^{S-1}\sum_{j=0}^{J-1}[sj+dq-P = v]\, "
            r"\bar{A}_{n,c,p,q,i,j}"
        ),
        symbols=(
            Symbol(r"\bar{A}", "gradient of the loss for the columns", "(N, C, R, S, I, J)"),
            STRIDE,
            DILATION,
            PADDING,
            *sizes("RSIJ"),
        ),
        sources=(paper("the transpose of conv.im2col"),),
        primitives=("col2im",),
        note=IVERSON,
    ),
    Equation(
        id="conv.toeplitz",
        title="the convolution as a matrix",
        latex=(r"T_{o,i,j,c,u,v} = \sum_{p=0}^{R-1}[si+dp-P = u]\sum_{q=0}^{S-1}[sj+dq-P = v]\, w_{o,c,p,q}"),
        symbols=(W, STRIDE, DILATION, PADDING, *sizes("RS")),
        sources=(
            Source(
                "D4",
                "3.3",
                ("Toeplitz",),
                printed=D4_CONVOLUTION,
                errata=("ERR-15",),
                item="EQ-D4-1",
                note="W is this matrix, x the image's pixels in one column",
            ),
        ),
        errata=("ERR-15",),
        operations=("minseg.ops.conv2d",),
        primitives=("conv2d",),
        note=(
            "Row (o,i,j), column (c,u,v): T vec(x) is conv.corr2d of x, and its transpose conv.transpose2d. "
            "Doubly-blocked Toeplitz for s = 1: the same few weights again and again, and mostly zeros."
        ),
    ),
    winograd(2),
    winograd(4),
    Equation(
        id="conv.receptive_field",
        title="how many pixels in a row one output sees through several layers",
        latex=r"r = 1 + \sum_{l=0}^{L-1}(k_{l}-1)d_{l}\prod_{m=0}^{l-1}s_{m}",
        symbols=(
            Symbol("k", "kernel size of each layer, pooling too", "(L,)", "pixels"),
            Symbol("d", "dilation of each layer", "(L,)", "pixels"),
            Symbol("s", "stride of each layer", "(L,)", "pixels"),
            Symbol("L", "layers"),
        ),
        sources=(
            Source("D2", "3.2.1", ("words",), item="W-21", note="a dilated kernel alone spans d(k-1)+1 pixels"),
            Source("D1", "6", ("words",), errata=("ERR-68",), note="three 3x3 kernels see as far as one 7x7"),
        ),
        errata=("ERR-68",),
        operations=("minseg.ops.conv2d",),
    ),
)
