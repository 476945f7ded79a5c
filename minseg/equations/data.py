"""Equations of preparing images and masks: scaling, standardising, resizing, and moving pixels for augmentation."""

from minseg.equations.conv import sizes
from minseg.equations.registry import Equation, Source, Symbol, paper
from minseg.equations.up import COLUMN, ROW

RAW = Symbol("x", "raw image, channels last", "(H, W, C)", domain="0 ... 255")
SCALED = Symbol("u", "image scaled to 0 ... 1, channels last", "(H, W, C)")
IMAGE = Symbol("x", "image", "(C, H, W)")
MASKS_TOO = "Masks move with their image, without the index c."
RAW_CHW = Symbol("x", "raw image, channels first", "(C, H, W)", "grey levels", domain="0 ... 255")
LABELS = Symbol("t", "mask", "(H, W)")
IGNORED = Symbol("e", "label of the pixels that are ignored, 255")
ROWS = Symbol("a", "row that each pixel of the result reads, between pixels", "(I, J)", "pixels")
COLUMNS = Symbol("d", "column that each pixel of the result reads, between pixels", "(I, J)", "pixels")
WEIGHTS = Symbol("g", "weights of a Gaussian, data.gauss", "(2R+1,)")
RADIUS = Symbol("R", "radius of the Gaussian", unit="pixels", domain="at least three standard deviations")
AUGMENTATION = (
    Source("D1", "6", ("words",), errata=("ERR-66",), note="augmentation"),
    Source("D2", "6", ("words",), note="augmentation"),
)

EQUATIONS = (
    Equation(
        id="data.scale255",
        title="bytes as numbers from 0 to 1",
        latex=r"u_{c,i,j} = \frac{x_{i,j,c}}{255}",
        symbols=(RAW,),
        sources=(
            Source("D3", "4", ("code",), item="C-11", note="ToTensor"),
            Source("D5", "4", ("code",), item="C-11", note="ToTensor"),
        ),
        operations=("minseg.data.Preprocess",),
        note="Channels come first from here on. Preprocess computes in float32, as images are stored.",
    ),
    Equation(
        id="data.standardize",
        title="channels of mean 0 and standard deviation 1",
        latex=r"y_{c,i,j} = \frac{u_{i,j,c}-\mu_{c}}{\sigma_{c}}",
        symbols=(
            SCALED,
            Symbol(r"\mu", "mean of each channel over the training images", "(C,)"),
            Symbol(r"\sigma", "standard deviation of each channel over the training images", "(C,)", domain="> 0"),
        ),
        sources=(
            Source("D3", "3.2.1", ("words",), errata=("ERR-40",), note="promised there, and missing in the code"),
        ),
        errata=("ERR-40",),
        operations=("minseg.data.Preprocess",),
        note="Held-out images are standardised with the training images' statistics.",
    ),
    Equation(
        id="data.resize_nearest",
        title="resizing a mask",
        latex=r"y_{i,j} = t_{\lfloor \frac{iH}{I} \rfloor,\lfloor \frac{jW}{J} \rfloor}",
        symbols=(Symbol("t", "mask", "(H, W)"), *sizes("HWIJ")),
        sources=(
            Source("D3", "4", ("code",), errata=("ERR-41",), item="C-12"),
            Source("D5", "4", ("code",), errata=("ERR-41",), item="C-12"),
        ),
        errata=("ERR-41",),
        operations=("minseg.ops.interpolate",),
        primitives=("resize_nearest",),
        note=(
            "up.nearest of one map. Every label of the result is one of the mask's; data.resize_bilinear would make new ones. "
            "It reads up to half an output pixel above and left of where data.resize_bilinear does; data.resize_labels does not."
        ),
    ),
    Equation(
        id="data.resize_labels",
        title="resizing a mask beside its image",
        latex=r"y_{i,j} = t_{\lfloor \frac{(2i+1)H}{2I} \rfloor,\lfloor \frac{(2j+1)W}{2J} \rfloor}",
        symbols=(LABELS, *sizes("HWIJ")),
        sources=(
            Source("D3", "4", ("code",), errata=("ERR-41",), item="C-12"),
            Source("D5", "4", ("code",), errata=("ERR-41",), item="C-12"),
        ),
        errata=("ERR-41",),
        operations=("minseg.data.Resize",),
        note="Each pixel takes the label at its centre, where the linear weights of data.resize_bilinear have their peak.",
    ),
    Equation(
        id="data.resize_bilinear",
        title="resizing an image",
        latex=r"y_{c,i,j} = \sum_{u=0}^{H-1}\sum_{v=0}^{W-1} \max(0,1-|a_{i}-u|)\max(0,1-|d_{j}-v|)\, x_{c,u,v}",
        symbols=(IMAGE, ROW, COLUMN, *sizes("HW")),
        sources=(
            Source("D1", "6", ("words",), errata=("ERR-66",), note="scaling"),
            Source("D3", "3.2.1", ("words",)),
            Source("D3", "4", ("code",), errata=("ERR-41",), item="C-12"),
            Source("D5", "4", ("code",), errata=("ERR-41",), item="C-12"),
        ),
        errata=("ERR-41", "ERR-66"),
        operations=("minseg.ops.interpolate", "minseg.data.Resize"),
        primitives=("resize_bilinear",),
        note="up.bilinear of one image; a and d are up.position. The mask must follow, by data.resize_labels.",
    ),
    Equation(
        id="data.flip",
        title="mirroring left and right",
        latex=r"y_{c,i,j} = x_{c,i,W-1-j}",
        symbols=(IMAGE, *sizes("W")),
        sources=(
            Source("D1", "6", ("words",), errata=("ERR-66",), note="augmentation"),
            Source("D2", "6", ("words",), note="augmentation"),
        ),
        errata=("ERR-66",),
        operations=("minseg.data.RandomFlip",),
        note=MASKS_TOO,
    ),
    Equation(
        id="data.flip_rows",
        title="mirroring top and bottom",
        latex=r"y_{c,i,j} = x_{c,H-1-i,j}",
        symbols=(IMAGE, *sizes("H")),
        sources=AUGMENTATION,
        errata=("ERR-66",),
        operations=("minseg.data.RandomFlip",),
        note=MASKS_TOO,
    ),
    Equation(
        id="data.crop",
        title="cutting out a window",
        latex=r"y_{c,i,j} = x_{c,i+a,j+b}",
        symbols=(
            IMAGE,
            Symbol("a", "first row of the window", unit="pixels", domain="0 ... H-I"),
            Symbol("b", "first column of the window", unit="pixels", domain="0 ... W-J"),
        ),
        sources=(
            Source("D1", "6", ("words",), errata=("ERR-66",), note="augmentation"),
            Source("D3", "3.2.1", ("words",), errata=("ERR-40",)),
        ),
        errata=("ERR-40", "ERR-66"),
        operations=("minseg.data.RandomCrop",),
        note=f"The window has I rows and J columns. {MASKS_TOO}",
    ),
    Equation(
        id="data.rotate",
        title="turning by a quarter, to the left",
        latex=r"y_{c,i,j} = x_{c,j,W-1-i}",
        symbols=(IMAGE, *sizes("W")),
        sources=(Source("D1", "6", ("words",), errata=("ERR-66",), note="augmentation"),),
        errata=("ERR-66",),
        operations=("minseg.data.RandomQuarterTurn",),
        note=f"W rows and H columns; two or three turns are this again. Only quarters: no pixel is interpolated. {MASKS_TOO}",
    ),
    Equation(
        id="data.warp",
        title="reading an image between its pixels",
        latex=(
            r"y_{c,i,j} = \sum_{u=0}^{H-1}\sum_{v=0}^{W-1} \max(0,1-|\min(\max(0,a_{i,j}),H-1)-u|)"
            r"\max(0,1-|\min(\max(0,d_{i,j}),W-1)-v|)\, x_{c,u,v}"
        ),
        symbols=(IMAGE, ROWS, COLUMNS, *sizes("HW")),
        sources=(
            Source(
                "D1",
                "6",
                ("words",),
                errata=("ERR-66",),
                note="scaling and rotation, without saying how pixels are read",
            ),
        ),
        errata=("ERR-66",),
        operations=("minseg.data.geometry.warp",),
        note="data.resize_bilinear with a position for each pixel. Beyond the edge the image repeats its edge.",
    ),
    Equation(
        id="data.warp_labels",
        title="reading a mask between its pixels",
        latex=(
            r"y_{i,j} = \begin{cases} t_{\lfloor a_{i,j}+0.5 \rfloor,\lfloor d_{i,j}+0.5 \rfloor} & "
            r"\max(\frac{|2a_{i,j}-H+1|}{H},\frac{|2d_{i,j}-W+1|}{W}) < 1 \\ "
            r"e & \text{otherwise} \end{cases}"
        ),
        symbols=(LABELS, IGNORED, ROWS, COLUMNS, *sizes("HW")),
        sources=(paper("the mask beside data.warp: the nearest label, and none outside of the image"),),
        operations=("minseg.data.geometry.warp",),
        note="A mean of labels would be a label of something else. Pixels reach half a pixel around their centres.",
    ),
    Equation(
        id="data.rotate_rows",
        title="where the rows of a turned image were",
        latex=(r"a_{i,j} = \frac{H-1}{2} + (i-\frac{H-1}{2})\cos(\phi) + (j-\frac{W-1}{2})\sin(\phi)"),
        symbols=(Symbol(r"\phi", "angle, to the left", unit="radians"), *sizes("HW")),
        sources=AUGMENTATION,
        errata=("ERR-66",),
        operations=("minseg.data.geometry.rotated", "minseg.data.RandomRotation"),
        note="About the centre; the size stays. Read by data.warp and data.warp_labels.",
    ),
    Equation(
        id="data.rotate_columns",
        title="where the columns of a turned image were",
        latex=(r"d_{i,j} = \frac{W-1}{2} - (i-\frac{H-1}{2})\sin(\phi) + (j-\frac{W-1}{2})\cos(\phi)"),
        symbols=(Symbol(r"\phi", "angle, to the left", unit="radians"), *sizes("HW")),
        sources=AUGMENTATION,
        errata=("ERR-66",),
        operations=("minseg.data.geometry.rotated", "minseg.data.RandomRotation"),
        note="Rows grow downwards, so a turn to the left has this sign. A quarter of it is data.rotate.",
    ),
    Equation(
        id="data.zoom",
        title="where the rows of a zoomed image were",
        latex=r"a_{i} = \frac{H-1}{2} + \frac{i-\frac{H-1}{2}}{f}",
        symbols=(Symbol("f", "factor, above 1 to enlarge", domain="> 0"), *sizes("H")),
        sources=AUGMENTATION,
        errata=("ERR-66",),
        operations=("minseg.data.geometry.zoomed", "minseg.data.RandomScale"),
        note="The columns likewise. The size stays; below 1 a ring around the image is labelled ignore.",
    ),
    Equation(
        id="data.gauss",
        title="weights of a Gaussian",
        latex=(
            r"g_{p} = \frac{\exp(-\frac{(p-R)^{2}}{2\sigma^{2}})}{\sum_{q=0}^{2R}\exp(-\frac{(q-R)^{2}}{2\sigma^{2}})}"
        ),
        symbols=(RADIUS, Symbol(r"\sigma", "standard deviation", unit="pixels", domain="> 0")),
        sources=(
            paper("the normal density at whole pixels, cut at three standard deviations and scaled to the sum 1"),
        ),
        operations=("minseg.data.geometry.gaussian",),
    ),
    Equation(
        id="data.elastic",
        title="smooth random displacement of rows",
        latex=(
            r"w_{i,j} = \frac{\alpha}{\sum_{p=0}^{2R}g_{p}^{2}}"
            r"\sum_{p=0}^{2R}\sum_{q=0}^{2R}g_{p}g_{q}e_{i+p,j+q}"
        ),
        symbols=(
            Symbol(r"\alpha", "standard deviation of the displacement", unit="pixels"),
            WEIGHTS,
            RADIUS,
            Symbol("e", "normal noise of mean 0 and variance 1", "(H+2R, W+2R)"),
        ),
        sources=(
            paper("Simard, Steinkraus and Platt, ICDAR 2003, there with uniform noise and without the denominator"),
        ),
        operations=("minseg.data.geometry.displacement", "minseg.data.ElasticDeformation"),
        note=(
            "Pixel (i, j) reads row i + w; columns have noise of their own. The variance of the smoothed noise is the square of "
            "the denominator, so the displacement's standard deviation is alpha everywhere."
        ),
    ),
    Equation(
        id="data.contrast",
        title="contrast and brightness",
        latex=r"y_{c,i,j} = \min(\max(0,\alpha(x_{c,i,j}-m)+m+\beta),255)",
        symbols=(
            RAW_CHW,
            Symbol(r"\alpha", "contrast, 1 to keep it", domain=">= 0"),
            Symbol(r"\beta", "brightness, 0 to keep it", unit="grey levels"),
            Symbol("m", "mean of the image", unit="grey levels"),
        ),
        sources=(paper("an affine map of the values"),),
        operations=("minseg.data.colour.adjust", "minseg.data.RandomBrightnessContrast"),
        note="Bytes are rounded.",
    ),
    Equation(
        id="data.noise",
        title="additive noise",
        latex=r"y_{c,i,j} = \min(\max(0,x_{c,i,j}+\sigma e_{c,i,j}),255)",
        symbols=(
            RAW_CHW,
            Symbol(r"\sigma", "standard deviation of the noise", unit="grey levels", domain=">= 0"),
            Symbol("e", "normal noise of mean 0 and variance 1", "(C, H, W)"),
        ),
        sources=(paper("what a camera's sensor adds, to a first approximation"),),
        operations=("minseg.data.colour.add_noise", "minseg.data.RandomNoise"),
        note="Bytes are rounded.",
    ),
    Equation(
        id="data.blur",
        title="Gaussian blur",
        latex=(
            r"y_{c,i,j} = \sum_{p=0}^{2R}\sum_{q=0}^{2R}g_{p}g_{q}"
            r"x_{c,\min(\max(0,i+p-R),H-1),\min(\max(0,j+q-R),W-1)}"
        ),
        symbols=(RAW_CHW, WEIGHTS, RADIUS, *sizes("HW")),
        sources=(paper("correlation with a Gaussian; beyond the edge the image repeats its edge"),),
        operations=("minseg.data.colour.blur", "minseg.data.RandomBlur"),
        note="The weights are products, so rows and columns may be smoothed one after the other. Bytes are rounded.",
    ),
    Equation(
        id="data.class_counts",
        title="pixels of each class",
        latex=r"n_{k} = \sum_{i=0}^{N-1}[t_{i} = k]",
        symbols=(
            Symbol("t", "label of each pixel of the data set", "(N,)", domain="0 to K-1, or 255 = ignore"),
            Symbol("N", "pixels"),
        ),
        sources=(Source("D2", "6", ("words",), item="W-12", note="class weights need them"),),
        operations=("minseg.data.class_counts",),
        note="Ignored pixels are of no class.",
    ),
    Equation(
        id="data.voc_palette",
        title="the colour of a label in PASCAL VOC's palette",
        latex=(
            r"v_{k,c} = \sum_{j=0}^{2}2^{7-j}"
            r"(\lfloor \frac{k}{2^{3j+c}} \rfloor - 2\lfloor \frac{k}{2^{3j+c+1}} \rfloor)"
        ),
        symbols=(),
        sources=(
            Source("D3", "3.2.1", ("words",), errata=("ERR-40",), note="uses PASCAL VOC"),
            paper("Everingham et al., PASCAL VOC development kit"),
        ),
        errata=("ERR-40",),
        operations=("minseg.data.voc_palette",),
        note="The difference is a bit of the label k: bits 0, 3 and 6 go to red, 1, 4 and 7 to green, 2 and 5 to blue.",
    ),
)
