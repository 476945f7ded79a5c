"""Equations that ask a network where it looked."""

from minseg.equations.registry import Equation, Source, Symbol, paper

_WISH = Source("D1", "5, 6", ("words",), note="names interpretability as a challenge")

EQUATIONS = (
    Equation(
        id="explain.saliency",
        title="saliency: which pixels move the score",
        latex=r"S_{i,j} = \max_{c=0}^{C-1}|g_{c,i,j}|",
        symbols=(
            Symbol("g", "gradient of a score for the image", "(C, H, W)"),
            Symbol("C", "channels of the image"),
        ),
        sources=(_WISH, paper("Simonyan, Vedaldi and Zisserman, ICLR workshop 2014")),
        operations=("minseg.explain.saliency",),
        note="For a segmentation the score is the sum of a class's logits over the pixels of interest.",
    ),
    Equation(
        id="explain.gradcam",
        title="Grad-CAM: which features speak for the class",
        latex=(r"S_{u,v} = \max(0,\sum_{k=0}^{K-1}\frac{1}{HW}(\sum_{i=0}^{H-1}\sum_{j=0}^{W-1}g_{k,i,j})A_{k,u,v})"),
        symbols=(
            Symbol("A", "features of a layer", "(K, H, W)"),
            Symbol("g", "gradient of a score for these features", "(K, H, W)"),
            Symbol("K", "channels of the layer"),
            Symbol("H", "rows of the features"),
            Symbol("W", "columns of the features"),
        ),
        sources=(_WISH, paper("Selvaraju et al., ICCV 2017")),
        operations=("minseg.explain.grad_cam",),
        note="For a segmentation the score is the sum of a class's logits over the pixels of interest.",
    ),
)
