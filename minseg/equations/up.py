"""Equations of resampling: maps of another size, by the nearest pixel or linearly between pixels, and the gradients."""

from minseg.equations.conv import IVERSON, Y_BAR, sizes
from minseg.equations.registry import Equation, Source, Symbol, paper

X = Symbol("x", "maps", "(N, C, H, W)")
Y_BAR_MAPS = Symbol(r"\bar{y}", Y_BAR.meaning, "(N, C, I, J)")
ROW = Symbol("a", "row that each output row reads, between pixels", "(I,)", "pixels", domain="in [0, H-1]")
COLUMN = Symbol("d", "column that each output column reads, between pixels", "(J,)", "pixels", domain="in [0, W-1]")

SOURCES = (
    Source("D3", "4", ("code",), errata=("ERR-41",), item="C-12", note="Resize"),
    Source("D5", "4", ("code",), errata=("ERR-41",), item="C-12", note="Resize"),
    Source(
        "D5",
        "3.2.2",
        ("words",),
        errata=("ERR-27",),
        item="W-08",
        note="the decoder's step needs it, but leaves it out",
    ),
    Source("D2", "3.2.1", ("words",), item="W-20", note="before a skip connection the map must grow"),
)

EQUATIONS = (
    Equation(
        id="up.nearest",
        title="resizing by the nearest pixel",
        latex=r"y_{n,c,i,j} = x_{n,c,\lfloor \frac{iH}{I} \rfloor,\lfloor \frac{jW}{J} \rfloor}",
        symbols=(X, *sizes("HWIJ")),
        sources=SOURCES,
        errata=("ERR-27", "ERR-41"),
        operations=("minseg.ops.interpolate", "minseg.nn.Upsample"),
        primitives=("resize_nearest",),
        gradients={"x": "up.nearest_grad"},
        note="Copies values and makes no new ones, so it is the one for label maps.",
    ),
    Equation(
        id="up.nearest_grad",
        title="gradient of resizing by the nearest pixel",
        latex=(
            r"g_{n,c,u,v} = \sum_{i=0}^{I-1}\sum_{j=0}^{J-1} "
            r"\bar{y}_{n,c,i,j}\, [\lfloor \frac{iH}{I} \rfloor = u][\lfloor \frac{jW}{J} \rfloor = v]"
        ),
        symbols=(Y_BAR_MAPS, *sizes("HWIJ")),
        sources=(paper("from up.nearest: each output's gradient goes to the pixel that it copied"),),
        operations=("minseg.ops.interpolate",),
        primitives=("resize_nearest_grad_x",),
        note=IVERSON,
    ),
    Equation(
        id="up.position",
        title="where in the input an output row lies",
        latex=r"a_{i} = \min(\max(0, (i+0.5)\frac{H}{I}-0.5), H-1)",
        symbols=sizes("HI"),
        sources=SOURCES,
        errata=("ERR-27", "ERR-41"),
        operations=("minseg.ops.interpolate",),
        primitives=("resize_bilinear", "resize_bilinear_grad_x"),
        note=(
            "Columns likewise, with W and J: d. Pixels are squares whose centres lie at half coordinates, as with PyTorch's "
            "align_corners=False; beyond the outermost centres the border repeats."
        ),
    ),
    Equation(
        id="up.bilinear",
        title="resizing linearly between pixels",
        latex=r"y_{n,c,i,j} = \sum_{u=0}^{H-1}\sum_{v=0}^{W-1} \max(0,1-|a_{i}-u|)\max(0,1-|d_{j}-v|)\, x_{n,c,u,v}",
        symbols=(X, ROW, COLUMN, *sizes("HW")),
        sources=SOURCES,
        errata=("ERR-27", "ERR-41"),
        operations=("minseg.ops.interpolate", "minseg.nn.Upsample"),
        primitives=("resize_bilinear",),
        gradients={"x": "up.bilinear_grad"},
        note="a and d are up.position. At most four weights are not zero. Shrinking does not average.",
    ),
    Equation(
        id="up.bilinear_grad",
        title="gradient of resizing linearly",
        latex=(
            r"g_{n,c,u,v} = \sum_{i=0}^{I-1}\sum_{j=0}^{J-1} "
            r"\max(0,1-|a_{i}-u|)\max(0,1-|d_{j}-v|)\, \bar{y}_{n,c,i,j}"
        ),
        symbols=(Y_BAR_MAPS, ROW, COLUMN, *sizes("IJ")),
        sources=(paper("from up.bilinear by differentiating for one pixel"),),
        operations=("minseg.ops.interpolate",),
        primitives=("resize_bilinear_grad_x",),
        note="The same weights, backwards.",
    ),
)
