"""Equations of measures: a confusion matrix, and the ratios that are read from it."""

from minseg.equations.registry import Equation, Source, Symbol, paper

COUNTS = Symbol("n", "pixels by true class (row) and predicted class (column)", "(K, K)", "pixels")
CLASSES = Symbol("K", "classes", domain=">= 1")
TRUE_POSITIVES = Symbol("T", "pixels of the class that were predicted as it (true positives)", unit="pixels")
FALSE_POSITIVES = Symbol("F", "pixels of other classes that were predicted as it (false positives)", unit="pixels")
MISSES = Symbol("M", "pixels of the class that were predicted as another (false negatives)", unit="pixels")

ABSENT = "A class that is neither in the truth nor predicted is absent: NaN, and left out of means."

EQUATIONS = (
    Equation(
        id="metric.confusion",
        title="confusion matrix",
        latex=r"n_{k,l} = \sum_{i=0}^{N-1}[t_{i} = k][p_{i} = l]",
        symbols=(
            Symbol("t", "true class of each pixel", "(N,)", domain="0 to K-1"),
            Symbol("p", "predicted class of each pixel", "(N,)", domain="0 to K-1"),
            Symbol("N", "pixels that are not ignored"),
        ),
        sources=(paper("a table of counts; the documents have none"),),
        operations=("minseg.metrics.ConfusionMatrix",),
        note="A bracket is 1 where its relation holds, else 0. Rows are the truth.",
    ),
    Equation(
        id="metric.dice",
        title="Dice coefficient of a class",
        latex=r"D = \frac{2T}{2T+F+M}",
        symbols=(TRUE_POSITIVES, FALSE_POSITIVES, MISSES),
        sources=(Source("D5", "3.3.2", ("words",), errata=("ERR-23",), item="W-10", note="also in its question 5"),),
        errata=("ERR-23",),
        operations=("minseg.metrics.ConfusionMatrix.dice",),
        note=f"Twice the intersection over the sum of the sizes, not over the union. {ABSENT}",
    ),
    Equation(
        id="metric.iou",
        title="intersection over union of a class (Jaccard index)",
        latex=r"J = \frac{T}{T+F+M}",
        symbols=(TRUE_POSITIVES, FALSE_POSITIVES, MISSES),
        sources=(paper("Jaccard, 1901; the documents do not name it"),),
        errata=("ERR-23",),
        operations=("minseg.metrics.ConfusionMatrix.iou",),
        note=ABSENT,
    ),
    Equation(
        id="metric.dice_from_iou",
        title="Dice coefficient from intersection over union",
        latex=r"D = \frac{2J}{1+J}",
        symbols=(Symbol("J", "intersection over union", domain="in [0, 1]"),),
        sources=(paper("from metric.dice and metric.iou"),),
        errata=("ERR-23",),
        operations=("minseg.metrics.ConfusionMatrix.dice",),
        note="And J = D / (2 - D): the two rank predictions of one class alike; their means over classes need not agree.",
    ),
    Equation(
        id="metric.pixel_acc",
        title="pixel accuracy",
        latex=r"A = \frac{\sum_{k=0}^{K-1}n_{k,k}}{\sum_{k=0}^{K-1}\sum_{l=0}^{K-1}n_{k,l}}",
        symbols=(COUNTS, CLASSES),
        sources=(
            Source("D3", "3.2.4", ("words",), item="W-13"),
            Source("D3", "4", ("code",), errata=("ERR-40",), item="C-10", note="of images, not of pixels"),
        ),
        errata=("ERR-40",),
        operations=("minseg.metrics.ConfusionMatrix.pixel_accuracy",),
        note="High wherever one class fills the image.",
    ),
    Equation(
        id="metric.mean_acc",
        title="mean accuracy: the mean of the classes' recalls",
        latex=r"A = \frac{1}{K}\sum_{k=0}^{K-1}\frac{n_{k,k}}{\sum_{l=0}^{K-1}n_{k,l}}",
        symbols=(COUNTS, Symbol("K", "classes in the truth", domain=">= 1")),
        sources=(paper("Long, Shelhamer and Darrell, CVPR 2015"),),
        operations=("minseg.metrics.ConfusionMatrix.mean_accuracy",),
        note=ABSENT,
    ),
    Equation(
        id="metric.precision",
        title="precision of each class",
        latex=r"P_{l} = \frac{n_{l,l}}{\sum_{k=0}^{K-1}n_{k,l}}",
        symbols=(COUNTS, CLASSES),
        sources=(paper("T / (T + F): how much of what was predicted as the class is of it"),),
        operations=("minseg.metrics.ConfusionMatrix.precision",),
        note="NaN for a class that was never predicted.",
    ),
    Equation(
        id="metric.recall",
        title="recall of each class",
        latex=r"R_{k} = \frac{n_{k,k}}{\sum_{l=0}^{K-1}n_{k,l}}",
        symbols=(COUNTS, CLASSES),
        sources=(Source("D3", "3.2.4", ("words",), errata=("ERR-40",), item="W-13"),),
        errata=("ERR-40",),
        operations=("minseg.metrics.ConfusionMatrix.recall",),
        note="T / (T + M): how much of the class was found. NaN for a class that is not in the truth.",
    ),
    Equation(
        id="metric.miou",
        title="mean intersection over union",
        latex=(
            r"m = \frac{1}{K}\sum_{k=0}^{K-1}"
            r"\frac{n_{k,k}}{\sum_{l=0}^{K-1}n_{k,l} + \sum_{l=0}^{K-1}n_{l,k} - n_{k,k}}"
        ),
        symbols=(COUNTS, Symbol("K", "classes that are not absent", domain=">= 1")),
        sources=(paper("Everingham et al., PASCAL VOC; the documents do not name it"),),
        operations=("minseg.metrics.ConfusionMatrix.mean_iou",),
        note=ABSENT,
    ),
    Equation(
        id="metric.fwiou",
        title="intersection over union, weighted with how frequent each class is",
        latex=(
            r"f = \sum_{k=0}^{K-1}\frac{\sum_{l=0}^{K-1}n_{k,l}}{\sum_{i=0}^{K-1}\sum_{j=0}^{K-1}n_{i,j}}"
            r"\frac{n_{k,k}}{\sum_{l=0}^{K-1}n_{k,l} + \sum_{l=0}^{K-1}n_{l,k} - n_{k,k}}"
        ),
        symbols=(COUNTS, CLASSES),
        sources=(paper("Long, Shelhamer and Darrell, CVPR 2015"),),
        operations=("minseg.metrics.ConfusionMatrix.frequency_weighted_iou",),
        note="An absent class has weight 0. Large classes decide it, much as they decide the pixel accuracy.",
    ),
    Equation(
        id="metric.boundary",
        title="which pixels are on the boundary of a class",
        latex=r"b_{i,j} = q_{i,j}\max(o_{i-1,j},o_{i+1,j},o_{i,j-1},o_{i,j+1})",
        symbols=(
            Symbol("q", "1 where the label is this class, else 0", "(H, W)"),
            Symbol("o", "1 where the label is another class, 0 too where it is ignored", "(H, W)", outside="zero"),
        ),
        sources=(paper("the inner side of the outline, with four neighbours"),),
        operations=("minseg.metrics.BoundaryF1",),
        note="Neither the edge of the image nor the border to ignored pixels is a boundary.",
    ),
    Equation(
        id="metric.boundary_precision",
        title="how much of one outline lies near the other",
        latex=(
            r"P = \frac{1}{A}\sum_{i=0}^{A-1}"
            r"\left[ \min_{j=0}^{B-1}((u_{i}-r_{j})^{2}+(v_{i}-s_{j})^{2}) \le \theta^{2} \right]"
        ),
        symbols=(
            Symbol("A", "pixels on the predicted boundary", domain=">= 1"),
            Symbol("B", "pixels on the true boundary", domain=">= 1"),
            Symbol("u", "rows of the predicted boundary", "(A,)", "pixels"),
            Symbol("v", "columns of the predicted boundary", "(A,)", "pixels"),
            Symbol("r", "rows of the true boundary", "(B,)", "pixels"),
            Symbol("s", "columns of the true boundary", "(B,)", "pixels"),
            Symbol(r"\theta", "tolerance", unit="pixels", domain=">= 0"),
        ),
        sources=(paper("Csurka, Larlus and Perronnin, BMVC 2013"),),
        operations=("minseg.metrics.BoundaryF1.precision", "minseg.metrics.BoundaryF1.recall"),
        note="The recall is the same with the two boundaries exchanged. Of several images numerators and denominators add up.",
    ),
    Equation(
        id="metric.boundary_f1",
        title="F1 score of a class's boundary",
        latex=r"F = \frac{2PR}{P+R}",
        symbols=(
            Symbol("P", "share of the predicted boundary that lies near the true one", domain="in [0, 1]"),
            Symbol("R", "share of the true boundary that lies near the predicted one", domain="in [0, 1]"),
        ),
        sources=(paper("Csurka, Larlus and Perronnin, BMVC 2013"),),
        operations=("minseg.metrics.BoundaryF1.f1",),
        note=(
            "Both are metric.boundary_precision. They score each image and take the mean; here counts add up over all images, "
            "as for the other measures. 0 where nothing is met; a class without any outline is absent: NaN."
        ),
    ),
)
