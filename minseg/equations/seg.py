"""Equations between label maps and scores: what semantic segmentation adds to classification."""

from minseg.equations.conv import IVERSON
from minseg.equations.registry import Equation, Source, Symbol, paper

LABELS = Symbol("t", "class of each pixel", "(N, H, W)", domain="0 ... K-1, or 255 = ignore")
CLASSES = Symbol("K", "classes")

EQUATIONS = (
    Equation(
        id="seg.onehot",
        title="a label map as one map for each class",
        latex=r"y_{n,k,i,j} = [t_{n,i,j} = k]",
        symbols=(LABELS,),
        sources=(
            Source("D5", "1.2, 2.5", ("words",), item="W-02", note="as probabilities: all on one class"),
            paper("the label map, in the shape of the scores that a loss compares it with"),
        ),
        operations=("minseg.ops.dice_loss", "minseg.ops.cross_entropy"),
        primitives=("dice_sums", "dice_sums_grad_p"),
        note=f"{IVERSON} Ignored pixels are 0 in every map.",
    ),
    Equation(
        id="seg.argmax",
        title="the predicted class of each pixel",
        latex=r"t_{n,i,j} = \arg\max_{k=0}^{K-1} z_{n,k,i,j}",
        symbols=(Symbol("z", "score of each class", "(N, K, H, W)"), CLASSES),
        sources=(
            Source("D3", "3.2.3", ("words",), item="W-03", note="the code gives one class for the whole image"),
            Source("D2", "2.1", ("words",), item="W-01"),
            Source("D3", "2.2", ("words",), item="W-01"),
            Source("D3", "4", ("code",), item="C-10"),
        ),
        errata=("ERR-34", "ERR-40"),
        operations=("minseg.inference.predict_labels", "minseg.autograd.argmax"),
        note="Of equal scores the first class is taken. It has no gradient, so losses compare the scores themselves (ERR-25).",
    ),
)
