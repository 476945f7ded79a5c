"""Equations of losses: from logits or probabilities to one number, and back to a gradient for each pixel."""

from minseg.equations.registry import Equation, Source, Symbol, paper

Z_MAPS = Symbol("z", "logits", "(N, K, H, W)", "nats")
T_MAPS = Symbol("t", "true class of each pixel", "(N, H, W)", domain="0 to K-1")
LABELS = Symbol("t", "true class of each pixel", "(N,)", domain="0 to K-1")
P_ROWS = Symbol("p", "probabilities of the classes at each pixel", "(N, K)", "probability")
P_LIST = Symbol("p", "predicted probability of the class at each pixel", "(N,)", "probability")
MASK = Symbol("g", "mask of the class: 1 at its pixels", "(N,)", domain="0 or 1")
SMOOTH = Symbol(r"\epsilon", "smoothing, which keeps an empty class from being 0/0", unit="pixels", domain="> 0")
L_BAR = Symbol(r"\bar{L}", "gradient of the final number for this loss; 1 where the loss is that number")
N_PIXELS = Symbol("N", "pixels that count", domain=">= 1")
N_IMAGES = Symbol("N", "images in the batch", domain=">= 1")
CLASSES = Symbol("K", "classes", domain=">= 2")
ROWS = Symbol("H", "rows", unit="pixels")
COLUMNS = Symbol("W", "columns", unit="pixels")
SCORES = Symbol("z", "logit of each element", "(N,)", "nats")
TRUTH = Symbol("y", "true label of each element", "(N,)", domain="0 to 1")

ALPHA = Symbol(r"\alpha", "weight of each class", "(K,)", domain=">= 0")
FOCUS = Symbol(r"\gamma", "focusing exponent; 0 is the cross-entropy", domain=">= 0")
FREQUENCY = Symbol("f", "frequency of each class, loss.weight_frequency", "(K,)", domain="in (0, 1]")
MEDIAN = Symbol("m", "median of the frequencies of the classes that occur", domain="in (0, 1]")

D3_CROSS_ENTROPY = r"L = -\frac{1}{N} \sum_{n=1}^{N} \left[y_n \log(\hat{y}_n) + (1-y_n) \log(1-\hat{y}_n)\right]"
D3_MEAN = r"L = \frac{1}{N} \sum_{n=1}^{N} L_n"

_MEAN_OF_LOSSES = Source(
    "D3",
    "3.3.3.2",
    ("reindexed",),
    printed=D3_MEAN,
    errata=("ERR-12", "ERR-14"),
    item="EQ-D3-5",
    note="the mean over samples; for images it runs over the pixels that count",
)
_FOCAL = (
    Source("D4", "references", ("words",), errata=("ERR-75",), item="W-26", note="reference 7"),
    paper("Lin, Goyal, Girshick, He and Dollar, ICCV 2017"),
)

EQUATIONS = (
    Equation(
        id="loss.bce",
        title="binary cross-entropy, from probabilities",
        latex=r"L = -\frac{1}{N}\sum_{n=0}^{N-1}\left[ y_{n}\log(p_{n}) + (1-y_{n})\log(1-p_{n}) \right]",
        symbols=(
            Symbol("p", "predicted probability of yes", "(N,)", "probability", domain="in (0, 1)"),
            TRUTH,
            Symbol("N", "elements", domain=">= 1"),
        ),
        sources=(
            Source(
                "D3",
                "3.3.3.1",
                ("reindexed",),
                printed=D3_CROSS_ENTROPY,
                errata=("ERR-11", "ERR-12", "ERR-13", "ERR-14"),
                item="EQ-D3-4",
                note="called cross-entropy there; it is the mean of the binary one",
            ),
        ),
        errata=("ERR-11", "ERR-12", "ERR-13", "ERR-14"),
        operations=("minseg.ops.binary_cross_entropy_with_logits",),
        primitives=("binary_cross_entropy_with_logits",),
        note="In nats. Computed from logits, as loss.bce_logits: at p = 0 or 1 this form is 0 log 0.",
    ),
    Equation(
        id="loss.bce_logits",
        title="binary cross-entropy, from logits",
        latex=r"L = \frac{1}{N}\sum_{n=0}^{N-1}\left[ \max(0,z_{n}) - z_{n}y_{n} + \log(1+\exp(-|z_{n}|)) \right]",
        symbols=(SCORES, TRUTH, Symbol("N", "elements that count", domain=">= 1")),
        sources=(paper("loss.bce of act.sigmoid, rearranged so that no exponential overflows"),),
        operations=("minseg.ops.binary_cross_entropy_with_logits", "minseg.nn.BCEWithLogitsLoss"),
        primitives=("binary_cross_entropy_with_logits",),
        gradients={"z": "loss.bce_logits_grad"},
        note="In nats; finite for logits of any size. The primitive gives the bracket, element by element.",
    ),
    Equation(
        id="loss.bce_logits_grad",
        title="gradient of the binary cross-entropy for the logits",
        latex=r"g_{n} = \frac{\bar{L}}{N}\left[ \frac{1}{1+\exp(-z_{n})} - y_{n} \right]",
        symbols=(L_BAR, SCORES, TRUTH, Symbol("N", "elements that count", domain=">= 1")),
        sources=(paper("from loss.bce_logits by differentiating"),),
        operations=("minseg.ops.binary_cross_entropy_with_logits",),
        primitives=("binary_cross_entropy_with_logits_grad_z",),
        note="Probability minus truth: never flat where the answer is wrong. No kink at 0, where the two parts' kinks cancel.",
    ),
    Equation(
        id="loss.ce",
        title="cross-entropy, from logits",
        latex=(
            r"L = -\frac{1}{NHW}\sum_{n=0}^{N-1}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1}"
            r"\left[ z_{n,t_{n,i,j},i,j} - \log(\sum_{k=0}^{K-1}\exp(z_{n,k,i,j})) \right]"
        ),
        symbols=(Z_MAPS, T_MAPS, N_IMAGES, CLASSES, ROWS, COLUMNS),
        sources=(
            Source("D1-D5", "code", ("code",), errata=("ERR-14", "ERR-28"), item="C-08"),
            Source("D4", "4.2", ("code",), errata=("ERR-56", "ERR-58"), item="C-09"),
            _MEAN_OF_LOSSES,
            Source("D5", "3.3.1", ("words",), errata=("ERR-25",), item="W-09"),
            Source("D2", "6", ("words",), item="W-09", note="question 3"),
        ),
        errata=("ERR-11", "ERR-12", "ERR-14", "ERR-25", "ERR-28", "ERR-36", "ERR-47", "ERR-56", "ERR-58"),
        operations=("minseg.ops.cross_entropy", "minseg.nn.CrossEntropyLoss"),
        primitives=("cross_entropy",),
        gradients={"z": "loss.ce_grad"},
        note=(
            "In nats. Ignored pixels (255) count neither in the sums nor in N H W. The primitive gives the bracket pixel by pixel, "
            "with the largest logit taken off before the exponential."
        ),
    ),
    Equation(
        id="loss.ce_grad",
        title="gradient of the cross-entropy for the logits",
        latex=(
            r"g_{n,k,i,j} = \frac{\bar{L}}{NHW}"
            r"\left[ \frac{\exp(z_{n,k,i,j})}{\sum_{l=0}^{K-1}\exp(z_{n,l,i,j})} - [k = t_{n,i,j}] \right]"
        ),
        symbols=(L_BAR, Z_MAPS, T_MAPS, N_IMAGES, CLASSES, ROWS, COLUMNS),
        sources=(paper("from loss.ce by differentiating"),),
        operations=("minseg.ops.cross_entropy",),
        primitives=("cross_entropy_grad_z",),
        note="Softmax minus one-hot truth; exactly 0 at ignored pixels.",
    ),
    Equation(
        id="loss.ce_weighted",
        title="cross-entropy with a weight for each class",
        latex=(r"L = -\frac{\sum_{i=0}^{N-1} \alpha_{t_{i}}\log(p_{i,t_{i}})}{\sum_{i=0}^{N-1} \alpha_{t_{i}}}"),
        symbols=(P_ROWS, LABELS, ALPHA, N_PIXELS),
        sources=(
            Source("D2", "6", ("words",), item="W-12", note="question 4; SegNet takes alpha_k = median(f) / f_k"),
        ),
        operations=("minseg.ops.cross_entropy", "minseg.nn.CrossEntropyLoss"),
        primitives=("cross_entropy",),
        gradients={"z": "loss.ce_weighted_grad"},
        note="Divided by the weights of the pixels that count, as in PyTorch: with equal weights it is loss.ce.",
    ),
    Equation(
        id="loss.ce_weighted_grad",
        title="gradient of the weighted cross-entropy for the logits",
        latex=(r"g_{i,k} = \bar{L}\frac{\alpha_{t_{i}}}{\sum_{l=0}^{N-1} \alpha_{t_{l}}}(p_{i,k} - [k = t_{i}])"),
        symbols=(L_BAR, P_ROWS, LABELS, ALPHA, N_PIXELS),
        sources=(paper("from loss.ce_weighted of act.softmax by differentiating"),),
        operations=("minseg.ops.cross_entropy",),
        primitives=("cross_entropy_grad_z",),
    ),
    Equation(
        id="loss.mse",
        title="mean squared error",
        latex=r"L = \frac{1}{N}\sum_{i=0}^{N-1}(a_{i}-y_{i})^{2}",
        symbols=(
            Symbol("a", "prediction of each element", "(N,)"),
            Symbol("y", "true value of each element", "(N,)"),
            Symbol("N", "elements", domain=">= 1"),
        ),
        sources=(Source("D2", "6", ("words",), item="W-11", note="question 3"),),
        operations=("minseg.ops.mse_loss", "minseg.nn.MSELoss"),
        primitives=("mse_loss",),
        gradients={"a": "loss.mse_grad"},
        note="In the unit of a, squared. The gradient for y is that for a with the other sign.",
    ),
    Equation(
        id="loss.mse_grad",
        title="gradient of the mean squared error",
        latex=r"g_{i} = \frac{2\bar{L}}{N}(a_{i}-y_{i})",
        symbols=(
            L_BAR,
            Symbol("a", "prediction of each element", "(N,)"),
            Symbol("y", "true value of each element", "(N,)"),
            Symbol("N", "elements", domain=">= 1"),
        ),
        sources=(paper("from loss.mse by differentiating"),),
        operations=("minseg.ops.mse_loss",),
        primitives=("mse_loss_grad_a",),
    ),
    Equation(
        id="loss.dice",
        title="soft Dice loss of one class",
        latex=(
            r"L = 1 - \frac{2\sum_{i=0}^{N-1}p_{i}g_{i} + \epsilon}"
            r"{\sum_{i=0}^{N-1}p_{i} + \sum_{i=0}^{N-1}g_{i} + \epsilon}"
        ),
        symbols=(P_LIST, MASK, SMOOTH, N_PIXELS),
        sources=(
            Source("D5", "3.3.2", ("words",), errata=("ERR-23", "ERR-24"), item="W-10"),
            paper("Milletari, Navab and Ahmadi, 3DV 2016 (with squares in the denominator)"),
        ),
        errata=("ERR-23", "ERR-24"),
        operations=("minseg.ops.dice_loss", "minseg.ops.dice_loss_with_logits", "minseg.nn.DiceLoss"),
        primitives=("dice_sums",),
        gradients={"p": "loss.dice_grad"},
        note="i runs over the pixels of the whole batch. A class that neither occurs nor is claimed has the loss 0.",
    ),
    Equation(
        id="loss.dice_grad",
        title="gradient of the soft Dice loss for the probabilities",
        latex=(
            r"h_{i} = -\bar{L}\frac{2g_{i}}{\sum_{j=0}^{N-1}(p_{j} + g_{j}) + \epsilon}"
            r" + \bar{L}\frac{2\sum_{j=0}^{N-1}p_{j}g_{j} + \epsilon}{(\sum_{j=0}^{N-1}(p_{j} + g_{j}) + \epsilon)^{2}}"
        ),
        symbols=(L_BAR, P_LIST, MASK, SMOOTH, N_PIXELS),
        sources=(paper("from loss.dice by differentiating"),),
        operations=("minseg.ops.dice_loss",),
        primitives=("dice_sums_grad_p",),
        note="Takes two values only: one for the pixels of the class, one for all others.",
    ),
    Equation(
        id="loss.dice_sums",
        title="the three sums that the losses of overlap are made of",
        latex=(
            r"s_{r,k} = \sum_{n=0}^{N-1}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1} [t_{n,i,j} \ne e]\begin{cases} "
            r"p_{n,k,i,j}[t_{n,i,j} = k+f] & r = 0 \\ p_{n,k,i,j} & r = 1 \\ [t_{n,i,j} = k+f] & \text{otherwise} \end{cases}"
        ),
        symbols=(
            Symbol("p", "probability maps", "(N, K, H, W)", "probability"),
            Symbol("t", "label of each pixel", "(N, H, W)"),
            Symbol("e", "label of the pixels that are ignored"),
            Symbol("f", "label of channel 0: 1 for a single channel, which is the foreground, else 0", domain="0 or 1"),
            N_IMAGES,
            ROWS,
            COLUMNS,
        ),
        sources=(paper("numerator and denominator of loss.dice and loss.jaccard"),),
        operations=(
            *("minseg.ops.dice_loss", "minseg.ops.dice_loss_with_logits"),
            *("minseg.ops.jaccard_loss", "minseg.ops.jaccard_loss_with_logits"),
        ),
        primitives=("dice_sums",),
        gradients={"p": "loss.dice_sums_grad"},
        note="Row 0 is the overlap, row 1 what is claimed, row 2 what is true. A bracket is 1 where its relation holds.",
    ),
    Equation(
        id="loss.dice_sums_grad",
        title="gradient of the sums of the losses of overlap for the probabilities",
        latex=r"g_{n,k,i,j} = [t_{n,i,j} \ne e](\bar{s}_{0,k}[t_{n,i,j} = k+f] + \bar{s}_{1,k})",
        symbols=(
            Symbol(r"\bar{s}", "gradient of the loss for the three sums", "(3, K)"),
            Symbol("t", "label of each pixel", "(N, H, W)"),
            Symbol("e", "label of the pixels that are ignored"),
            Symbol("f", "label of channel 0: 1 for a single channel, which is the foreground, else 0", domain="0 or 1"),
        ),
        sources=(paper("from loss.dice_sums by differentiating"),),
        operations=(
            *("minseg.ops.dice_loss", "minseg.ops.dice_loss_with_logits"),
            *("minseg.ops.jaccard_loss", "minseg.ops.jaccard_loss_with_logits"),
        ),
        primitives=("dice_sums_grad_p",),
        note="The third sum does not depend on p.",
    ),
    Equation(
        id="loss.dice_multiclass",
        title="loss of overlap, Dice or Jaccard, of several classes",
        latex=r"L = \frac{1}{K}\sum_{k=0}^{K-1} L_{k}",
        symbols=(
            Symbol("L", "loss.dice, or loss.jaccard, of each class", "(K,)"),
            Symbol("K", "classes, without the background where it is left out", domain=">= 1"),
        ),
        sources=(paper("the mean of loss.dice, or of loss.jaccard, over the classes"),),
        operations=(
            *("minseg.ops.dice_loss", "minseg.ops.dice_loss_with_logits", "minseg.nn.DiceLoss"),
            *("minseg.ops.jaccard_loss", "minseg.ops.jaccard_loss_with_logits", "minseg.nn.JaccardLoss"),
        ),
        primitives=("dice_sums",),
        note="Every class counts the same, however few its pixels.",
    ),
    Equation(
        id="loss.jaccard",
        title="soft Jaccard loss of one class",
        latex=(
            r"L = 1 - \frac{\sum_{i=0}^{N-1}p_{i}g_{i} + \epsilon}"
            r"{\sum_{i=0}^{N-1}(p_{i} + g_{i} - p_{i}g_{i}) + \epsilon}"
        ),
        symbols=(P_LIST, MASK, SMOOTH, N_PIXELS),
        sources=(paper("1 - metric.iou with probabilities for the prediction"),),
        errata=("ERR-23",),
        operations=("minseg.ops.jaccard_loss", "minseg.ops.jaccard_loss_with_logits", "minseg.nn.JaccardLoss"),
        primitives=("dice_sums",),
        gradients={"p": "loss.jaccard_grad"},
        note="Intersection over union; without smoothing it orders two predictions of one mask as loss.dice does.",
    ),
    Equation(
        id="loss.jaccard_grad",
        title="gradient of the soft Jaccard loss for the probabilities",
        latex=(
            r"h_{i} = -\bar{L}\frac{g_{i}}{\sum_{j=0}^{N-1}(p_{j} + g_{j} - p_{j}g_{j}) + \epsilon}"
            r" + \bar{L}\frac{(1-g_{i})(\sum_{j=0}^{N-1}p_{j}g_{j} + \epsilon)}"
            r"{(\sum_{j=0}^{N-1}(p_{j} + g_{j} - p_{j}g_{j}) + \epsilon)^{2}}"
        ),
        symbols=(L_BAR, P_LIST, MASK, SMOOTH, N_PIXELS),
        sources=(paper("from loss.jaccard by differentiating"),),
        operations=("minseg.ops.jaccard_loss",),
        primitives=("dice_sums_grad_p",),
        note="A pixel of the class takes the first part, any other the second.",
    ),
    Equation(
        id="loss.focal",
        title="focal loss: cross-entropy that turns away from what is easy",
        latex=r"L = -\frac{1}{N}\sum_{i=0}^{N-1}(1-p_{i,t_{i}})^{\gamma}\log(p_{i,t_{i}})",
        symbols=(P_ROWS, LABELS, FOCUS, N_PIXELS),
        sources=_FOCAL,
        errata=("ERR-75",),
        operations=("minseg.ops.focal_loss", "minseg.nn.FocalLoss"),
        primitives=("cross_entropy",),
        gradients={"p": "loss.focal_grad"},
        note="In nats. Computed from the cross-entropy of each pixel, c = -log p, so that nothing is lost near p = 0 and p = 1.",
    ),
    Equation(
        id="loss.focal_grad",
        title="gradient of the focal loss for the cross-entropy of each pixel",
        latex=(
            r"g_{i} = \frac{\bar{L}}{N}\left[ (1-p_{i})^{\gamma}"
            r" - \gamma p_{i}(1-p_{i})^{\gamma-1}\log(p_{i}) \right]"
        ),
        symbols=(
            L_BAR,
            Symbol("p", "predicted probability of the true class at each pixel", "(N,)", "probability"),
            FOCUS,
            N_PIXELS,
        ),
        sources=(paper("from loss.focal, with -log(p) as its variable, by differentiating"),),
        operations=("minseg.ops.focal_loss",),
        note="The chain goes on with loss.ce_grad. At p = 1 it is 1 for gamma = 0 and else 0, also for gamma below 1.",
    ),
    Equation(
        id="loss.focal_weighted",
        title="focal loss with a weight for each class",
        latex=(
            r"L = -\frac{\sum_{i=0}^{N-1} \alpha_{t_{i}}(1-p_{i,t_{i}})^{\gamma}\log(p_{i,t_{i}})}"
            r"{\sum_{i=0}^{N-1} \alpha_{t_{i}}}"
        ),
        symbols=(P_ROWS, LABELS, ALPHA, FOCUS, N_PIXELS),
        sources=_FOCAL[1:],
        operations=("minseg.ops.focal_loss", "minseg.nn.FocalLoss"),
        primitives=("cross_entropy",),
        note="Divided by the weights of the pixels that count: with gamma = 0 it is loss.ce_weighted.",
    ),
    Equation(
        id="loss.weight_inverse",
        title="class weights: inverse frequency",
        latex=r"\alpha_{k} = \frac{\sum_{j=0}^{K-1}n_{j}}{Kn_{k}}",
        symbols=(
            Symbol("n", "pixels of each class in the training data", "(K,)", "pixels", domain="> 0"),
            Symbol("K", "classes that occur in the training data", domain=">= 1"),
        ),
        sources=(Source("D2", "6", ("words",), item="W-12", note="question 4"),),
        operations=("minseg.data.class_weights",),
        note="Every class gets the same share of the loss; 1 for all where they are equally frequent. 0 for one without pixels.",
    ),
    Equation(
        id="loss.weight_frequency",
        title="frequency of a class in the images that show it",
        latex=r"f_{k} = \frac{\sum_{i=0}^{N-1}n_{i,k}}{\sum_{i=0}^{N-1}[n_{i,k} > 0]\sum_{j=0}^{K-1}n_{i,j}}",
        symbols=(
            Symbol("n", "pixels of each class in each training image", "(N, K)", "pixels", domain=">= 0"),
            Symbol("N", "images", domain=">= 1"),
            Symbol("K", "classes", domain=">= 1"),
        ),
        sources=(paper("Eigen and Fergus, ICCV 2015; Badrinarayanan, Kendall and Cipolla (SegNet), TPAMI 2017"),),
        operations=("minseg.data.class_frequencies",),
        note="0 where no image shows it. With counts of the whole set only, it counts as one image.",
    ),
    Equation(
        id="loss.weight_median",
        title="class weights: median frequency",
        latex=r"\alpha_{k} = \frac{m}{f_{k}}",
        symbols=(FREQUENCY, MEDIAN),
        sources=(Source("D2", "6", ("words",), item="W-12", note="question 4; the form is SegNet's"),),
        operations=("minseg.data.class_weights",),
        note="0 for a class without pixels.",
    ),
    Equation(
        id="loss.weight_sqrt_median",
        title="class weights: root of the median frequency's",
        latex=r"\alpha_{k} = \sqrt{\frac{m}{f_{k}}}",
        symbols=(FREQUENCY, MEDIAN),
        sources=(Source("D2", "6", ("words",), item="W-12", note="question 4"),),
        operations=("minseg.data.class_weights",),
        note="Half way, on a logarithmic scale, from equal weights to loss.weight_median: rare classes are not over-drawn as much.",
    ),
)
