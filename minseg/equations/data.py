"""Equations of preparing images and masks: scaling, standardising, resizing, and moving pixels for augmentation."""

from minseg.equations.conv import sizes
from minseg.equations.registry import Equation, Source, Symbol
from minseg.equations.up import COLUMN, ROW

RAW = Symbol("x", "raw image, channels last", "(H, W, C)", domain="0 ... 255")
SCALED = Symbol("u", "image scaled to 0 ... 1, channels last", "(H, W, C)")
IMAGE = Symbol("x", "image", "(C, H, W)")
MASKS_TOO = "Masks move with their image, without the index c."

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
        note="up.nearest of one map. Every label of the result is one of the mask's; data.resize_bilinear would make new ones.",
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
        operations=("minseg.ops.interpolate",),
        primitives=("resize_bilinear",),
        note="up.bilinear of one image; a and d are up.position. The mask must follow, by data.resize_nearest.",
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
)
