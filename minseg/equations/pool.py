"""Equations of pooling: maxima and means of windows, global and adaptive, their gradients, and unpooling."""

from minseg.equations.conv import IVERSON, PADDING, STRIDE, Y_BAR, sizes
from minseg.equations.registry import Equation, Source, Symbol, paper

X = Symbol("x", "maps", "(N, C, H, W)")
X_ZERO = Symbol("x", "maps", "(N, C, H, W)", outside="zero")
X_LOWEST = Symbol("x", "maps", "(N, C, H, W)", outside="-inf")
INDICES = Symbol("a", "index of each maximum in its map: uW+v for the pixel u, v", "(N, C, I, J)")
WINDOW = Symbol("k", "rows and columns of a window", unit="pixels", domain=">= 1")
COUNT = Symbol("m", "pixels of each window that lie in the image", "(I, J)", unit="pixels")
FIRST_ROW = Symbol("a", "first row of each window", "(I,)", "pixels")
AFTER_ROW = Symbol("b", "row after the last of each window", "(I,)", "pixels")
FIRST_COLUMN = Symbol("d", "first column of each window", "(J,)", "pixels")
AFTER_COLUMN = Symbol("e", "column after the last of each window", "(J,)", "pixels")
WINDOWS = (FIRST_ROW, AFTER_ROW, FIRST_COLUMN, AFTER_COLUMN)

IN_WORDS = (
    Source("D2", "3.1.2", ("words",), item="W-05"),
    Source("D3", "3.1.2", ("words",), item="W-05"),
    Source("D4", "3.1", ("words",), item="W-05"),
    Source("D5", "3.1.3", ("words",), item="W-05"),
)
PYRAMID = (
    Source("D4", "reference 13", ("words",), item="W-22", note="pyramid pooling"),
    Source("D5", "reference 7", ("words",), item="W-22", note="pyramid pooling"),
)
SEGNET = (
    Source("D4", "reference 11", ("words",), item="W-28", note="SegNet's decoder"),
    Source("D5", "reference 2", ("words",), item="W-28", note="SegNet's decoder"),
)
D4_MAXIMUM = r"y = max(x_{i,j})"

EQUATIONS = (
    Equation(
        id="pool.max2d",
        title="maximum of each window",
        latex=r"y_{n,c,i,j} = \max_{p=0}^{k-1}\max_{q=0}^{k-1} x_{n,c,si+p,sj+q}",
        symbols=(X, STRIDE, WINDOW),
        sources=(
            Source(
                "D1",
                "3.2",
                ("equal",),
                printed=r"p_{max}(x,y) = \max_{i,j \in W} x(x+i,y+j)",
                errata=("ERR-03", "ERR-05", "ERR-07"),
                item="EQ-D1-2",
                note="for s = 1, once W is the set of offsets 0 ... k-1; the text calls it a size",
            ),
            Source(
                "D3",
                "3.3.2.1",
                ("restricted", "reindexed"),
                printed=r"y(i,j) = \max_{p=1}^{k}\max_{q=1}^{k} x(i-p+1, j-q+1)",
                errata=("ERR-07", "ERR-08"),
                item="EQ-D3-2",
                note="for s = 1; the window ends at the pixel i, j, so it holds for i, j >= k only",
            ),
            Source(
                "D4",
                "3.3",
                ("needs a definition",),
                printed=D4_MAXIMUM,
                errata=("ERR-16",),
                item="EQ-D4-3",
                note="i and j are free, and no window is given",
            ),
            *IN_WORDS,
            Source("D1-D5", "code", ("code",), item="C-02", note="k = s = 2"),
        ),
        errata=("ERR-03", "ERR-05", "ERR-07", "ERR-08", "ERR-16", "ERR-21"),
        operations=("minseg.ops.max_pool2d", "minseg.nn.MaxPool2d"),
        primitives=("max_pool2d",),
        gradients={"x": "pool.max2d_grad"},
        note=(
            "Rows that fill no window are dropped (conv.size). Of equal pixels the first counts as the maximum, row by row; "
            "there the derivative has a kink."
        ),
    ),
    Equation(
        id="pool.max2d_padded",
        title="maximum of each window of a padded image",
        latex=r"y_{n,c,i,j} = \max_{p=0}^{R-1}\max_{q=0}^{S-1} x_{n,c,si+p-P,sj+q-P}",
        symbols=(X_LOWEST, STRIDE, PADDING, *sizes("RS")),
        sources=(paper("pool.max2d with a border that never wins"),),
        errata=("ERR-08",),
        operations=("minseg.ops.max_pool2d", "minseg.nn.MaxPool2d"),
        primitives=("max_pool2d",),
        gradients={"x": "pool.max2d_grad"},
        note="x is minus infinity outside: zeros would win over negative pixels. The padding is at most half of the window.",
    ),
    Equation(
        id="pool.max2d_place",
        title="which of its window's places a maximum has",
        latex=(
            r"t_{n,c,i,j} = \arg\max_{l=0}^{RS-1} "
            r"x_{n,c,si+\lfloor \frac{l}{S} \rfloor-P,sj+l-S\lfloor \frac{l}{S} \rfloor-P}"
        ),
        symbols=(X_LOWEST, STRIDE, PADDING, *sizes("RS")),
        sources=SEGNET,
        operations=("minseg.ops.max_pool2d", "minseg.nn.MaxPool2d"),
        primitives=("max_pool2d",),
        note="Places are numbered row by row, and the first of equal pixels is taken.",
    ),
    Equation(
        id="pool.max2d_indices",
        title="where in its map a maximum was found",
        latex=(
            r"a_{n,c,i,j} = (si+\lfloor \frac{t_{n,c,i,j}}{S} \rfloor-P)W"
            r"+sj+t_{n,c,i,j}-S\lfloor \frac{t_{n,c,i,j}}{S} \rfloor-P"
        ),
        symbols=(
            Symbol("t", "place of each maximum in its window", "(N, C, I, J)"),
            STRIDE,
            PADDING,
            *sizes("WS"),
        ),
        sources=SEGNET,
        operations=("minseg.ops.max_pool2d", "minseg.nn.MaxPool2d"),
        primitives=("max_pool2d",),
        note="uW+v for the pixel u, v, as unpooling needs it; t is pool.max2d_place.",
    ),
    Equation(
        id="pool.max2d_grad",
        title="gradient of max pooling",
        latex=r"g_{n,c,u,v} = \sum_{i=0}^{I-1}\sum_{j=0}^{J-1} \bar{y}_{n,c,i,j}\, [a_{n,c,i,j} = uW+v]",
        symbols=(Symbol(r"\bar{y}", Y_BAR.meaning, "(N, C, I, J)"), INDICES, *sizes("WIJ")),
        sources=(paper("from pool.max2d: the maximum is one of its pixels, and follows that one"),),
        operations=("minseg.ops.max_pool2d",),
        primitives=("max_pool2d_grad_x",),
        note=f"{IVERSON} Windows that overlap may share a maximum, whose gradients add up.",
    ),
    Equation(
        id="pool.global_max",
        title="maximum of each map",
        latex=r"y_{n,c} = \max_{i=0}^{H-1}\max_{j=0}^{W-1} x_{n,c,i,j}",
        symbols=(X, *sizes("HW")),
        sources=(
            Source(
                "D4",
                "3.3",
                ("needs a definition",),
                printed=D4_MAXIMUM,
                errata=("ERR-16",),
                item="EQ-D4-3",
                note="the reading over all i and j, which is no pooling by windows",
            ),
        ),
        errata=("ERR-16",),
        operations=("minseg.ops.max_pool2d",),
        primitives=("max_pool2d",),
        gradients={"x": "pool.max2d_grad"},
        note="max_pool2d with one window of the image's size.",
    ),
    Equation(
        id="pool.avg2d",
        title="mean of each window",
        latex=r"y_{n,c,i,j} = \frac{1}{k^{2}}\sum_{p=0}^{k-1}\sum_{q=0}^{k-1} x_{n,c,si+p,sj+q}",
        symbols=(X, STRIDE, WINDOW),
        sources=(
            Source(
                "D1",
                "3.2",
                ("reindexed",),
                printed=r"p_{avg}(x,y) = \frac{1}{k^2} \sum_{i=1}^{k}\sum_{j=1}^{k} x(x+i,y+j)",
                errata=("ERR-03", "ERR-06", "ERR-07"),
                item="EQ-D1-3",
                note="for s = 1, where outputs count from 0 and pixels from 1; the factor is right",
            ),
            Source(
                "D3",
                "3.3.2.2",
                ("scaled", "restricted", "reindexed"),
                printed=r"y(i,j) = \frac{1}{k} \sum_{p=1}^{k}\sum_{q=1}^{k} x(i-p+1, j-q+1)",
                errata=("ERR-07", "ERR-08", "ERR-10"),
                item="EQ-D3-3",
                note="for s = 1 and i, j >= k, and too large by the factor k",
            ),
            *IN_WORDS,
        ),
        errata=("ERR-03", "ERR-06", "ERR-07", "ERR-08", "ERR-10", "ERR-21"),
        operations=("minseg.ops.avg_pool2d", "minseg.nn.AvgPool2d"),
        primitives=("avg_pool2d",),
        gradients={"x": "pool.avg2d_grad"},
        note="Rows that fill no window are dropped (conv.size).",
    ),
    Equation(
        id="pool.avg2d_padded",
        title="mean of each window of a padded image, the padding counted",
        latex=r"y_{n,c,i,j} = \frac{1}{RS}\sum_{p=0}^{R-1}\sum_{q=0}^{S-1} x_{n,c,si+p-P,sj+q-P}",
        symbols=(X_ZERO, STRIDE, PADDING, *sizes("RS")),
        sources=(paper("pool.avg2d with a border of zeros"),),
        operations=("minseg.ops.avg_pool2d", "minseg.nn.AvgPool2d"),
        primitives=("avg_pool2d",),
        gradients={"x": "pool.avg2d_grad"},
        note="count_include_pad=True: x = 0 outside, and these zeros count, so means at the border are too small.",
    ),
    Equation(
        id="pool.avg2d_grad",
        title="gradient of average pooling, the padding counted",
        latex=(
            r"g_{n,c,u,v} = \frac{1}{RS}\sum_{i=0}^{I-1}\sum_{p=0}^{R-1}[si+p-P = u]\sum_{j=0}^{J-1}\sum_{q=0}^{S-1}[sj+q-P = v]\, "
            r"\bar{y}_{n,c,i,j}"
        ),
        symbols=(Symbol(r"\bar{y}", Y_BAR.meaning, "(N, C, I, J)"), STRIDE, PADDING, *sizes("IJRS")),
        sources=(paper("from pool.avg2d_padded by differentiating for one pixel"),),
        operations=("minseg.ops.avg_pool2d",),
        primitives=("avg_pool2d_grad_x",),
        note=f"{IVERSON} Each output's gradient is spread evenly over its window. pool.avg2d has R = S = k and P = 0.",
    ),
    Equation(
        id="pool.window_count",
        title="pixels of a window that lie in the image",
        latex=(r"m_{i,j} = \sum_{p=0}^{R-1}[0 \le si+p-P][si+p-P < H]\sum_{q=0}^{S-1}[0 \le sj+q-P][sj+q-P < W]"),
        symbols=(STRIDE, PADDING, *sizes("HWRS")),
        sources=(paper("what a mean over the pixels that exist divides by"),),
        operations=("minseg.ops.avg_pool2d",),
        primitives=("avg_pool2d",),
        note=IVERSON,
    ),
    Equation(
        id="pool.avg2d_inside",
        title="mean of each window's pixels, the padding not counted",
        latex=r"y_{n,c,i,j} = \frac{1}{m_{i,j}}\sum_{p=0}^{R-1}\sum_{q=0}^{S-1} x_{n,c,si+p-P,sj+q-P}",
        symbols=(X_ZERO, COUNT, STRIDE, PADDING, *sizes("RS")),
        sources=(paper("pool.avg2d where a window looks over the border"),),
        operations=("minseg.ops.avg_pool2d", "minseg.nn.AvgPool2d"),
        primitives=("avg_pool2d",),
        gradients={"x": "pool.avg2d_inside_grad"},
        note="count_include_pad=False; m is pool.window_count. The mean of a constant image is that constant at the border too.",
    ),
    Equation(
        id="pool.avg2d_inside_grad",
        title="gradient of average pooling, the padding not counted",
        latex=(
            r"g_{n,c,u,v} = \sum_{i=0}^{I-1}\sum_{p=0}^{R-1}[si+p-P = u]\sum_{j=0}^{J-1}\sum_{q=0}^{S-1}[sj+q-P = v]\, "
            r"\frac{\bar{y}_{n,c,i,j}}{m_{i,j}}"
        ),
        symbols=(Symbol(r"\bar{y}", Y_BAR.meaning, "(N, C, I, J)"), COUNT, STRIDE, PADDING, *sizes("IJRS")),
        sources=(paper("from pool.avg2d_inside by differentiating for one pixel"),),
        operations=("minseg.ops.avg_pool2d",),
        primitives=("avg_pool2d_grad_x",),
        note=f"{IVERSON} m is pool.window_count.",
    ),
    Equation(
        id="pool.global_avg",
        title="mean of each map",
        latex=r"y_{n,c} = \frac{1}{HW}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1} x_{n,c,i,j}",
        symbols=(X, *sizes("HW")),
        sources=PYRAMID,
        operations=("minseg.ops.global_avg_pool2d",),
        primitives=("adaptive_avg_pool2d",),
        gradients={"x": "pool.adaptive_avg_grad"},
        note="pool.adaptive_avg with one window.",
    ),
    Equation(
        id="pool.adaptive_start",
        title="first row of an adaptive window",
        latex=r"a_{i} = \lfloor \frac{iH}{I} \rfloor",
        symbols=sizes("HI"),
        sources=PYRAMID,
        operations=("minseg.ops.adaptive_avg_pool2d",),
        primitives=("adaptive_avg_pool2d", "adaptive_avg_pool2d_grad_x"),
        note="Columns likewise, with W and J: d.",
    ),
    Equation(
        id="pool.adaptive_stop",
        title="row after the last of an adaptive window",
        latex=r"b_{i} = \lceil \frac{(i+1)H}{I} \rceil",
        symbols=sizes("HI"),
        sources=PYRAMID,
        operations=("minseg.ops.adaptive_avg_pool2d",),
        primitives=("adaptive_avg_pool2d", "adaptive_avg_pool2d_grad_x"),
        note="Columns likewise, with W and J: e. Where I does not divide H, neighbouring windows share a row.",
    ),
    Equation(
        id="pool.adaptive_avg",
        title="means over a grid of windows that gives the output size asked for",
        latex=(
            r"y_{n,c,i,j} = \frac{1}{(b_{i}-a_{i})(e_{j}-d_{j})}"
            r"\sum_{u=a_{i}}^{b_{i}-1}\sum_{v=d_{j}}^{e_{j}-1} x_{n,c,u,v}"
        ),
        symbols=(X, *WINDOWS),
        sources=PYRAMID,
        operations=("minseg.ops.adaptive_avg_pool2d", "minseg.nn.AdaptiveAvgPool2d"),
        primitives=("adaptive_avg_pool2d",),
        gradients={"x": "pool.adaptive_avg_grad"},
        note="a and d are pool.adaptive_start, b and e pool.adaptive_stop.",
    ),
    Equation(
        id="pool.adaptive_avg_grad",
        title="gradient of adaptive average pooling",
        latex=(
            r"g_{n,c,u,v} = \sum_{i=0}^{I-1}[a_{i} \le u][u < b_{i}]\sum_{j=0}^{J-1}[d_{j} \le v][v < e_{j}]\, "
            r"\frac{\bar{y}_{n,c,i,j}}{(b_{i}-a_{i})(e_{j}-d_{j})}"
        ),
        symbols=(Symbol(r"\bar{y}", Y_BAR.meaning, "(N, C, I, J)"), *WINDOWS, *sizes("IJ")),
        sources=(paper("from pool.adaptive_avg by differentiating for one pixel"),),
        operations=("minseg.ops.adaptive_avg_pool2d", "minseg.ops.global_avg_pool2d"),
        primitives=("adaptive_avg_pool2d_grad_x",),
        note=f"{IVERSON} Each output's gradient is spread evenly over its window.",
    ),
    Equation(
        id="pool.unpool",
        title="maxima put back where they were found",
        latex=r"y_{n,c,u,v} = \sum_{i=0}^{I-1}\sum_{j=0}^{J-1} x_{n,c,i,j}\, [a_{n,c,i,j} = uW+v]",
        symbols=(Symbol("x", "one value for each index", "(N, C, I, J)"), INDICES, *sizes("WIJ")),
        sources=SEGNET,
        operations=("minseg.ops.max_unpool2d", "minseg.nn.MaxUnpool2d"),
        primitives=("max_unpool2d",),
        gradients={"x": "pool.unpool_grad"},
        note=f"{IVERSON} Zero elsewhere; values that name the same pixel add up. The same map as pool.max2d_grad.",
    ),
    Equation(
        id="pool.unpool_grad",
        title="gradient of unpooling: the indices read",
        latex=r"g_{n,c,i,j} = \sum_{u=0}^{H-1}\sum_{v=0}^{W-1} \bar{y}_{n,c,u,v}\, [a_{n,c,i,j} = uW+v]",
        symbols=(Symbol(r"\bar{y}", Y_BAR.meaning, "(N, C, H, W)"), INDICES, *sizes("HW")),
        sources=(paper("the transpose of pool.unpool"),),
        operations=("minseg.ops.max_unpool2d",),
        primitives=("max_unpool2d_grad_x",),
        note=f"{IVERSON} Only one term is not zero: the output's gradient at the index.",
    ),
)
