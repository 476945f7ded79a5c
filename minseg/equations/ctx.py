"""Equations of context: what a pixel may learn from far away."""

from minseg.equations.registry import Equation, Source, Symbol, paper

EQUATIONS = (
    Equation(
        id="ctx.aspp",
        title="atrous spatial pyramid pooling: one window at several dilations",
        latex=(
            r"y_{n,o,i,j} = \sum_{l=0}^{L-1}\sum_{c=0}^{C-1}\sum_{p=0}^{2}\sum_{q=0}^{2} "
            r"w_{l,o,c,p,q}\, x_{n,c,i+d_{l}(p-1),j+d_{l}(q-1)}"
        ),
        symbols=(
            Symbol("x", "maps", "(N, C, H, W)", outside="zero"),
            Symbol("w", "3x3 kernels of each branch", "(L, O, C, 3, 3)"),
            Symbol("d", "dilation of each branch", "(L,)", "pixels"),
            Symbol("L", "branches"),
            Symbol("C", "input channels"),
        ),
        sources=(
            Source("D4", "references", ("words",), errata=("ERR-75",), item="W-21", note="reference 12"),
            Source("D5", "references", ("words",), errata=("ERR-76",), item="W-21", note="references 3 and 6"),
            paper("Chen, Papandreou, Kokkinos, Murphy and Yuille, TPAMI 2018"),
        ),
        errata=("ERR-75", "ERR-76"),
        operations=("minseg.models.deeplab.ASPP",),
        note="The sum of the branches, as in DeepLab v2; v3 concatenates them and lets a 1x1 convolution sum. x = 0 outside.",
    ),
    Equation(
        id="ctx.pyramid_pool",
        title="pyramid pooling: the maps, and their means over several grids",
        latex=(
            r"y_{k,i,j} = \begin{cases} x_{k,i,j} & k < C \\ "
            r"u_{\lfloor \frac{k-C}{D} \rfloor,k-C-D\lfloor \frac{k-C}{D} \rfloor,i,j} & \text{otherwise} \end{cases}"
        ),
        symbols=(
            Symbol("x", "maps", "(C, H, W)"),
            Symbol(
                "u", "means over each grid (pool.adaptive_avg), convolved, enlarged again (up.bilinear)", "(L, D, H, W)"
            ),
            Symbol("C", "channels of x"),
            Symbol("D", "channels of each grid's branch"),
        ),
        sources=(
            Source("D4", "references", ("words",), errata=("ERR-75",), item="W-22", note="references 12 and 13"),
            Source("D5", "references", ("words",), errata=("ERR-76",), item="W-22", note="reference 7"),
            paper("Zhao, Shi, Qi, Wang and Jia, CVPR 2017"),
        ),
        errata=("ERR-75", "ERR-76"),
        operations=("minseg.models.pspnet.PyramidPooling",),
        note="Grids of 1x1, 2x2, 3x3 and 6x6.",
    ),
    Equation(
        id="ctx.crf_meanfield",
        title="mean-field update of a fully connected CRF",
        latex=(
            r"Q_{i,l} = \frac{\exp(-u_{i,l}-\sum_{a=0}^{L-1}\mu_{l,a}\sum_{j=0}^{N-1}[j \ne i]k_{i,j}q_{j,a})}"
            r" {\sum_{b=0}^{L-1}\exp(-u_{i,b}-\sum_{a=0}^{L-1}\mu_{b,a}\sum_{j=0}^{N-1}[j \ne i]k_{i,j}q_{j,a})}"
        ),
        symbols=(
            Symbol("u", "cost of each label at each pixel by itself", "(N, L)", "nats"),
            Symbol("q", "probability of each label at each pixel before the update", "(N, L)", "probability"),
            Symbol(r"\mu", "cost of two labels beside each other", "(L, L)", "nats"),
            Symbol("k", "how alike two pixels are in place and colour", "(N, N)"),
            Symbol("N", "pixels"),
            Symbol("L", "labels"),
        ),
        sources=(
            Source("D4", "references", ("words",), errata=("ERR-75",), item="W-23", note="reference 12"),
            Source("D5", "references", ("words",), errata=("ERR-76",), item="W-23", note="reference 3"),
            paper("Kraehenbuehl and Koltun, NIPS 2011"),
        ),
        errata=("ERR-75", "ERR-76"),
        operations=("minseg.postprocess.dense_crf", "minseg.postprocess.mean_field_step"),
        note="All pixels at once. In dense_crf mu is 1 for labels that differ and 0 for equal ones, and k a sum of two Gaussians.",
    ),
)
