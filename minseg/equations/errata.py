r"""Every mistake found in the five documents: what is printed, what is right, and why; and what the documents get right.

An erratum names the function that proves it (``minseg.testing.witnesses`` runs them all): it shows on concrete numbers that the
printed form fails and that the correct one passes. Where no computation can prove it, the erratum says so. No sentence is quoted:
formulas are verbatim, everything else is retold.
"""

from dataclasses import dataclass

KINDS = ("formula", "code", "prose", "reference")


@dataclass(frozen=True)
class Erratum:
    """One mistake, wherever it is printed."""

    id: str
    places: tuple[str, ...]
    """``D3 3.3.1``: the document and the section (``code`` where it has no number of its own), one for each place."""
    title: str
    kind: str
    """``formula`` (with its legend), ``code``, ``prose`` or ``reference``."""
    printed: str
    """What the documents say: a formula verbatim between dollar signs, anything else retold."""
    correct: str
    why: str
    """The proof, in a few sentences."""
    equations: tuple[str, ...] = ()
    """Ids of the equations that this is about."""
    witness: str | None = None
    """The function that proves it, as a dotted name."""
    documentation_only: str = ""
    """Why there is no witness."""
    note: str = ""
    """What keeps the verdict fair: how far the mistake reaches, and what can be said for the printed form."""

    @property
    def documents(self) -> tuple[str, ...]:
        """``("D1", "D3")``."""
        return tuple(dict.fromkeys(place.split(" ", 1)[0] for place in self.places))

    def sections(self, document: str) -> tuple[str, ...]:
        """Where it stands in one document: ``("3.3.1",)``."""
        return tuple(place.split(" ", 1)[1] for place in self.places if place.startswith(f"{document} "))


@dataclass(frozen=True)
class Right:
    """Something the documents get right, which looks as if it might be wrong: not to be corrected."""

    id: str
    places: tuple[str, ...]
    what: str
    why: str
    equations: tuple[str, ...] = ()
    witness: str | None = None
    """The function that confirms it, as a dotted name; None where it is a matter of words."""


_FORMULA = "minseg.testing.witnesses.formulas"
_CODE = "minseg.testing.witnesses.code"
_PROSE = "minseg.testing.witnesses.prose"
_RIGHT = "minseg.testing.witnesses.right"

_ALL = (
    # ------------------------------------------------------------------------------------------ formulas and their legends
    Erratum(
        id="ERR-01",
        places=("D1 3.1", "D3 3.3.1"),
        title="the printed convolution is not what the code computes",
        kind="formula",
        printed=r"$y(x,y) = \sum_{i=1}^{k}\sum_{j=1}^{k}w(i,j) \cdot x(x-i,y-j)$, and in D3 $x(i-p+1, j-q+1) \cdot k(p, q)$",
        correct="Cross-correlation, where the index is added: conv.corr2d. It is what Conv2d and Conv2D compute.",
        why=(
            "Subtracting the index turns the kernel by 180 degrees: substitute p -> k+1-p. The two agree for every "
            "image only if w(p,q) = w(k+1-p,k+1-q)."
        ),
        equations=("conv.corr2d", "conv.true2d"),
        witness=f"{_FORMULA}.err_01",
        note=(
            "With learned kernels the choice is only a re-labelling: the network learns the turned kernel instead. "
            "It matters for kernels that are printed or imported, and for gradients. As a formula of the true "
            "convolution D3's is right."
        ),
    ),
    Erratum(
        id="ERR-02",
        places=("D1 3.1",),
        title="the convolution is displaced by one pixel",
        kind="formula",
        printed=r"x(x-i,y-j) with i and j from 1 to k",
        correct=r"i and j from 0 to k-1, or x(x-i+1,y-j+1) as in D3.",
        why="Pixel (r,c) reads the rows r-k to r-1, never its own: the formula at (r,c) is D3's at (r-1,c-1).",
        equations=("conv.corr2d", "conv.true2d"),
        witness=f"{_FORMULA}.err_02",
    ),
    Erratum(
        id="ERR-03",
        places=("D1 3.1", "D1 3.2", "D1 3.3", "D3 3.3.1"),
        title="one letter, two meanings",
        kind="formula",
        printed=(
            "D1: x and y are images and coordinates, W is the pooling window and the weight matrix. D3: k is the "
            "size and the kernel."
        ),
        correct="One letter for each meaning, as the registry declares them.",
        why=(
            "x(x-i,y-j) applies x to x: it can be evaluated only by keeping what carries arguments apart from what does not."
        ),
        equations=("conv.corr2d", "conv.true2d", "pool.max2d", "pool.avg2d", "dense.affine"),
        witness=f"{_FORMULA}.err_03",
    ),
    Erratum(
        id="ERR-04",
        places=("D1 3.1", "D3 3.3.1"),
        title="no channels, bias, stride, padding, dilation or domain",
        kind="formula",
        printed="A sum of k k weights times pixels of one image.",
        correct="conv.corr2d, which has all of them, and conv.size for the domain.",
        why="Conv2d(3, 6, 5) of the same document has 450 weights and 6 biases; the formula has 25 weights.",
        equations=("conv.corr2d", "conv.true2d"),
        witness=f"{_FORMULA}.err_04",
        note="Simplifying is fair for a first formula; the text calls it the layer's.",
    ),
    Erratum(
        id="ERR-05",
        places=("D1 3.2",),
        title="the window is called a size and used as a set",
        kind="formula",
        printed=r"$p_{max}(x,y) = \max_{i,j \in W} x(x+i,y+j)$, W explained as the size of the window",
        correct="W is the set of offsets {0, ..., k-1}.",
        why="A number has no elements for i and j to run through.",
        equations=("pool.max2d",),
        witness=f"{_FORMULA}.err_05",
    ),
    Erratum(
        id="ERR-06",
        places=("D1 3.2",),
        title="the window of the mean starts one pixel too late",
        kind="formula",
        printed=r"$p_{avg}(x,y) = \frac{1}{k^2} \sum_{i=1}^{k}\sum_{j=1}^{k} x(x+i,y+j)$",
        correct=r"i and j from 0 to k-1: pool.avg2d.",
        why=(
            "Where pixels count from 1, no window reads row 1 or column 1, and the window is not that of the maximum "
            "beside it."
        ),
        equations=("pool.avg2d",),
        witness=f"{_FORMULA}.err_06",
        note="With outputs counted from 0 and pixels from 1 it is exactly the mean of stride 1; the text says no such thing.",
    ),
    Erratum(
        id="ERR-07",
        places=("D1 3.2", "D3 3.3.2", "D4 3.3"),
        title="pooling without a stride does not make the map smaller",
        kind="formula",
        printed="One output for each pixel; the texts say that pooling samples down.",
        correct="x_{n,c,si+p,sj+q} with a stride s: pool.max2d, pool.avg2d.",
        why="With 2x2 windows a 6x7 map has 5x6 outputs by the formulas (4x5 by D1's mean), and 3x3 by MaxPool2d(2, 2).",
        equations=("pool.max2d", "pool.avg2d"),
        witness=f"{_FORMULA}.err_07",
    ),
    Erratum(
        id="ERR-08",
        places=("D3 3.3.2.1", "D3 3.3.2.2"),
        title="the windows leave the image, and the maximum has the limits of a sum",
        kind="formula",
        printed=r"$y(i,j) = \max_{p=1}^{k}\max_{q=1}^{k} x(i-p+1, j-q+1)$",
        correct=(
            r"$\max_{1 \le p \le k}$, and only $i, j \ge k$; over the border a maximum reads -inf: pool.max2d, "
            r"pool.max2d_padded."
        ),
        why=(
            "For i < k the window looks outside, where nothing is defined. Reading 0 there is wrong: an image of -1 "
            "gets 0 at (1,1)."
        ),
        equations=("pool.max2d", "pool.max2d_padded", "pool.avg2d"),
        witness=f"{_FORMULA}.err_08",
    ),
    Erratum(
        id="ERR-09",
        places=("D1 3.3",),
        title="the legend of the fully connected layer",
        kind="formula",
        printed=(
            "z is called the product of W and x; sigma is not defined; the fully connected layer is called the "
            "output layer."
        ),
        correct="z is that product plus b. The code has three such layers: two followed by ReLU, the last by nothing.",
        why="Wx and Wx + b differ by b. The last layer's scores are negative too, so no ReLU or sigmoid has touched them.",
        equations=("dense.affine", "act.relu", "act.sigmoid", "act.tanh"),
        witness=f"{_FORMULA}.err_09",
        note="The two formulas themselves are right.",
    ),
    Erratum(
        id="ERR-10",
        places=("D3 3.3.2.2",),
        title="a mean of k k pixels divided by k",
        kind="formula",
        printed=r"$y(i,j) = \frac{1}{k} \sum_{p=1}^{k}\sum_{q=1}^{k} x(i-p+1, j-q+1)$",
        correct=r"$\frac{1}{k^{2}}$, as D1 has it: pool.avg2d.",
        why="On an image that is c everywhere the sum is k k c, so the formula gives k c instead of c.",
        equations=("pool.avg2d",),
        witness=f"{_FORMULA}.err_10",
    ),
    Erratum(
        id="ERR-11",
        places=("D3 3.3.3.1",),
        title="binary cross-entropy where there are many classes",
        kind="formula",
        printed=r"$L = -\frac{1}{N} \sum_{n=1}^{N} \left[y_n \log(\hat{y}_n) + (1-y_n) \log(1-\hat{y}_n)\right]$",
        correct="loss.ce: minus the logarithm of the true class's probability. The code has ten classes and uses that.",
        why=(
            "Over the entries of a one-hot vector the formula also scores the wrong classes, and gives another "
            "number. With a class index such as 2 for y it has no lower bound: it is minimised by certainty about a "
            "wrong answer."
        ),
        equations=("loss.bce", "loss.ce"),
        witness=f"{_FORMULA}.err_11",
        note="For two classes the formula is right: loss.bce.",
    ),
    Erratum(
        id="ERR-12",
        places=("D3 3.3.3.1", "D3 3.3.3.2"),
        title="the mean is taken twice",
        kind="formula",
        printed=r"$L = \frac{1}{N} \sum_{n=1}^{N} L_n$, after a cross-entropy that has 1/N already",
        correct="One mean: either in the cross-entropy or after it.",
        why=(
            "If L_n is the first formula's share of sample n, the second divides by N again; if N = 1 inside, both "
            "are the same."
        ),
        equations=("loss.bce", "loss.ce"),
        witness=f"{_FORMULA}.err_12",
        note="As the mean of the losses of single samples the second formula is right.",
    ),
    Erratum(
        id="ERR-13",
        places=("D3 3.3.3.1",),
        title="a perfect prediction has no loss at all: 0 log 0",
        kind="formula",
        printed=r"$y_n \log(\hat{y}_n) + (1-y_n) \log(1-\hat{y}_n)$ without saying which predictions are allowed",
        correct="Predictions strictly between 0 and 1; or compute it from logits: loss.bce_logits, loss.ce.",
        why=(
            "For y = p = 1 the second term is 0 log 0, which is NaN. The code's predictions are not even "
            "probabilities: ReLU's outputs."
        ),
        equations=("loss.bce", "loss.bce_logits"),
        witness=f"{_FORMULA}.err_13",
    ),
    Erratum(
        id="ERR-14",
        places=("D3 3.3.3", "D5 3.3.1"),
        title="no loss is averaged over pixels",
        kind="formula",
        printed="A mean over N samples; pixels and pixels without a label are not mentioned in any document.",
        correct="1/(N H W), or one over the number of labelled pixels: loss.ce.",
        why="Divided by the number of images only, the loss and its gradients grow with the image's area.",
        equations=("loss.bce", "loss.ce"),
        witness=f"{_FORMULA}.err_14",
    ),
    Erratum(
        id="ERR-15",
        places=("D4 3.3",),
        title="a kernel times a feature map is no matrix product",
        kind="formula",
        printed=r"y = f(Wx + b), W called the convolution kernel and x the feature map",
        correct=(
            "A convolution in place of the product: conv.corr2d; or W as the matrix of the convolution, x as a "
            "column: conv.toeplitz."
        ),
        why=(
            "Kernels (2,3,3,3) and maps (3,5,5) have no product. The matrix of that convolution is 50x75, made of "
            "its 54 weights."
        ),
        equations=("conv.corr2d", "conv.toeplitz"),
        witness=f"{_FORMULA}.err_15",
    ),
    Erratum(
        id="ERR-16",
        places=("D4 3.3",),
        title="a maximum over nothing",
        kind="formula",
        printed=r"y = max(x_{i,j})",
        correct=r"$y_{i,j} = \max_{p}\max_{q} x_{si+p,sj+q}$: pool.max2d.",
        why=(
            "i and j are bound by nothing and no window is given, so it cannot be evaluated; over all i and j it is "
            "a single number."
        ),
        equations=("pool.max2d", "pool.global_max"),
        witness=f"{_FORMULA}.err_16",
        note="As the maximum of the whole map it would be pool.global_max; the text speaks of the pooling layer.",
    ),
    Erratum(
        id="ERR-17",
        places=("D4 3.3",),
        title="the residual branch is called the block, and half of the block is missing",
        kind="formula",
        printed=r"y = x + F(x), F explained as the residual block",
        correct=(
            "F is the branch; the block is x + F(x) with an activation after the sum, and W x + F(x) where the "
            "shapes differ."
        ),
        why="If F were the block, x would be added twice. Without a projection the sum is undefined when the channels change.",
        equations=("res.identity", "res.projection"),
        witness=f"{_FORMULA}.err_17",
        note="The formula itself is right. The four formulas of the section are all numbered 1.",
    ),
    Erratum(
        id="ERR-18",
        places=("D4 3.3", "D4 4.1", "D4 4.2"),
        title="softmax is in the formula, not in the first network, and twice in the second",
        kind="formula",
        printed=r"y = softmax(Wx + b)",
        correct="Logits from the network, softmax inside the loss: act.softmax, loss.ce.",
        why=(
            "The PyTorch network returns logits, as its loss wants them. The TensorFlow network applies softmax and "
            "its loss does again."
        ),
        equations=("act.softmax", "loss.ce"),
        witness=f"{_FORMULA}.err_18",
        note="As the classifier's probabilities the formula is right; for the second network see ERR-58.",
    ),
    # ------------------------------------------------------------------------------------------------- words about equations
    Erratum(
        id="ERR-19",
        places=("D4 3.2",),
        title="pooling inside the residual block",
        kind="prose",
        printed="The block ends, after the residual connection, with a pooling layer.",
        correct="Pool after the block, or give the shortcut a projection with the same stride: res.projection.",
        why=(
            "If the branch pools, x and F(x) differ in size and cannot be added. A branch of one pixel is added to "
            "all silently."
        ),
        equations=("res.identity", "res.projection"),
        witness=f"{_PROSE}.err_19",
        note="The list does not say whether the sum comes before the pooling; then it would be a pooling after the block.",
    ),
    Erratum(
        id="ERR-20",
        places=("D1 2", "D1 3.3", "D2 3.1.3", "D3 3.1.3", "D4 3.1"),
        title="a fully connected layer as the output of a segmentation",
        kind="prose",
        printed="The features are flattened and a fully connected layer gives the result.",
        correct=(
            "A convolution as the last layer: K scores at each pixel. The fully connected layers' weights serve as "
            "its kernels."
        ),
        why=(
            "A map of K classes has K H W numbers, the layers printed give 10. Flattening fixes the image's size "
            "and forgets that a shifted image has a shifted answer."
        ),
        equations=("dense.affine", "conv.corr2d"),
        witness=f"{_PROSE}.err_20",
        note=(
            "D4 says it outright; D3 speaks of classifying the image, which is right of a CNN and wrong of the task "
            "it introduces."
        ),
    ),
    Erratum(
        id="ERR-21",
        places=("D1 3.2",),
        title="pooling does not reduce the number of parameters",
        kind="prose",
        printed="Pooling reduces the parameters and the computation.",
        correct="It reduces the computation. Only a fully connected layer that follows becomes smaller.",
        why="A convolution has O C k k + O parameters whatever the size of the map, and pooling has none.",
        equations=("pool.max2d", "pool.avg2d"),
        witness=f"{_PROSE}.err_21",
    ),
    Erratum(
        id="ERR-22",
        places=("D5 2.1", "D5 3.1.2"),
        title="activation functions are not binary",
        kind="prose",
        printed="The activation maps its input to a binary output, 0 or 1; as examples sigmoid, tanh and ReLU.",
        correct="Their ranges are (0,1), (-1,1) and [0, infinity).",
        why="A binary step has the derivative 0 almost everywhere, so no gradient would reach anything before it.",
        equations=("act.relu", "act.sigmoid", "act.tanh", "act.step"),
        witness=f"{_PROSE}.err_22",
    ),
    Erratum(
        id="ERR-23",
        places=("D5 3.3.2", "D5 appendix"),
        title="Dice described by intersection and union",
        kind="prose",
        printed="The Dice similarity is computed from the sizes of the intersection and the union.",
        correct="Dice = 2 I / (|A| + |B|), where the sum counts the overlap twice; I/U is the Jaccard index.",
        why="2 I / U, which the words suggest, is 2 for A = B.",
        equations=("loss.dice", "loss.jaccard", "metric.dice", "metric.iou", "metric.dice_from_iou"),
        witness=f"{_PROSE}.err_23",
        note=(
            "Dice can be written with I and U, as 2 I / (U + I) = 2 J / (1 + J): the words mislead, but they are not "
            "impossible."
        ),
    ),
    Erratum(
        id="ERR-24",
        places=("D5 3.3.2", "D5 appendix"),
        title="a Dice loss that would be maximal for the best prediction",
        kind="prose",
        printed="The loss is obtained by computing the Dice similarity of predicted and true labels.",
        correct="The loss is 1 - Dice, of probabilities: loss.dice.",
        why=(
            "Going downhill on Dice itself lowers the probability where the label is 1. On predicted labels (arg "
            "max) it has no gradient at all."
        ),
        equations=("loss.dice",),
        witness=f"{_PROSE}.err_24",
        note="The text does not say which way the similarity enters the loss.",
    ),
    Erratum(
        id="ERR-25",
        places=("D5 3.3.1",),
        title="cross-entropy between true and predicted labels",
        kind="prose",
        printed="The cross-entropy is the difference between the true label and the predicted label.",
        correct="It compares the label with the predicted probabilities: loss.ce.",
        why="Predicted labels (arg max) have no gradient, and as probabilities of 0 and 1 each error costs -log 0: infinity.",
        equations=("loss.ce", "seg.argmax"),
        witness=f"{_PROSE}.err_25",
    ),
    Erratum(
        id="ERR-26",
        places=("D5 3.2.1", "D5 appendix"),
        title="self-attention without projections, scale, axis, positions and cost",
        kind="prose",
        printed="A matrix of relations between pixels, normalised by softmax, weights the input anew.",
        correct=(
            "Scores of queries and keys over sqrt(d), softmax along each row, a mix of values: att.score, "
            "att.weights, att.mix."
        ),
        why=(
            "Without projections the relation is symmetric; without positions a shuffled image gives the shuffled "
            "answer; and the matrix has (HW) (HW) entries: 17.2 GB in float32 for 256x256."
        ),
        equations=("att.score", "att.weights", "att.mix", "att.positional_sin"),
        witness=f"{_PROSE}.err_26",
    ),
    Erratum(
        id="ERR-27",
        places=("D5 3.2.2",),
        title="the decoder's step does not enlarge its state",
        kind="prose",
        printed=(
            "In each layer the input is concatenated with the features of the encoder, then attention and "
            "convolution follow."
        ),
        correct="Up-sample the state first: att.decoder_step. The structure is iterative rather than recursive.",
        why="Concatenation needs equal height and width; the encoder's features are two and four times as large.",
        equations=("up.nearest", "up.position", "up.bilinear", "att.decoder_step", "arith.concatenate"),
        witness=f"{_PROSE}.err_27",
    ),
    Erratum(
        id="ERR-28",
        places=("D5 3.2.2", "D5 4"),
        title="softmax at the network's end and again in the loss",
        kind="prose",
        printed="The decoder ends with softmax; the loss of the code is CrossEntropyLoss, which takes logits.",
        correct="Logits from the network: act.softmax is inside loss.ce.",
        why=(
            "Softmax of numbers in [0,1] gives at most e/(e+K-1), so the loss cannot fall below ln(e+K-1) - 1: 1.4612 for ten "
            "classes. Of wrong answers almost no gradient is left."
        ),
        equations=("act.softmax", "loss.ce"),
        witness=f"{_PROSE}.err_28",
        note="The printed code has no softmax, so it does not fail this way; a reader who builds what the text describes will.",
    ),
    Erratum(
        id="ERR-29",
        places=("D2 3.1.1",),
        title="a convolution without the sum",
        kind="prose",
        printed="The kernel is multiplied with each region of the image, which makes a feature map.",
        correct="Multiplied and added up: one number for each region.",
        why="A 3x3 kernel times a 3x3 region is nine numbers.",
        equations=("conv.corr2d",),
        witness=f"{_PROSE}.err_29",
    ),
    Erratum(
        id="ERR-30",
        places=("D3 3.1.1", "D1 3.1"),
        title="what a kernel is",
        kind="prose",
        printed="D3: a small, privileged, continuous filter. D1: a filter of one or two dimensions.",
        correct="A small array of weights, discrete; in the code of three dimensions, (C, k, k), for each output channel.",
        why="Conv2d(3, 6, 5) has the weight (6, 3, 5, 5); kernels without channels do not fit a colour image.",
        equations=("conv.corr2d",),
        witness=f"{_PROSE}.err_30",
        note="D3's words look like a slip for weighted (in Chinese the two differ by one character) and discrete.",
    ),
    # --------------------------------------------------------------------------------------------------------------- code
    Erratum(
        id="ERR-31",
        places=("D1 4", "D2 4", "D3 4", "D4 4.1"),
        title="F is never imported",
        kind="code",
        printed="F.relu in forward, but no import of torch.nn.functional.",
        correct="import torch.nn.functional as F",
        why="The first call of forward raises NameError.",
        witness=f"{_CODE}.err_31",
    ),
    Erratum(
        id="ERR-32",
        places=("D1 4", "D2 4", "D5 4"),
        title="names that are never defined, imports that are never used",
        kind="code",
        printed=(
            "trainloader (D1), train_loader (D2) and epochs (D5) are used only. Unused: torch in D1 and D2, datasets "
            "and transforms in D2, models in D5."
        ),
        correct="Define the data and the number of epochs; import what is used.",
        why="The training loop raises NameError in its first line.",
        witness=f"{_CODE}.err_32",
    ),
    Erratum(
        id="ERR-33",
        places=("D1 4", "D2 4", "D3 4"),
        title="view(-1, constant) folds the batch",
        kind="code",
        printed="x.view(-1, 16 * 5 * 5) and the like before the first fully connected layer.",
        correct="flatten(x, 1), which keeps one row for each image and lets the layer refuse a wrong size.",
        why="Whenever the numbers divide, view succeeds with another number of rows: 16 images of 52 px become 64 answers.",
        equations=("dense.affine", "arith.reshape"),
        witness=f"{_CODE}.err_33",
    ),
    Erratum(
        id="ERR-34",
        places=("D1 4", "D2 4"),
        title="a classifier of ten classes as the example of a segmentation",
        kind="code",
        printed="Networks that end in Linear(84, 10) and Linear(256, 10).",
        correct="A network whose output is (N, K, H, W), with a loss over all pixels.",
        why=(
            "The output is one row of ten numbers for each image, which no mask fits; and only images of 32 to 35 px "
            "are taken."
        ),
        equations=("seg.argmax", "loss.ce"),
        witness=f"{_CODE}.err_34",
        note="D1's is the network of the well-known CIFAR-10 lesson; as a classifier of 32x32 images it is right.",
    ),
    Erratum(
        id="ERR-35",
        places=("D3 4",),
        title="a layer for 28x28 images, fed with 224x224",
        kind="code",
        printed="Resize((224, 224)) and Linear(64 * 7 * 7, 10).",
        correct="64 * 56 * 56 inputs, or 28x28 images; for a segmentation no flattening at all.",
        why=(
            "Two poolings leave 56x56, and 56 * 56 happens to be 64 * 7 * 7: view makes of each image 64 rows, each "
            "of them exactly one channel. Two images give 128 answers, and only the loss notices."
        ),
        equations=("dense.affine", "arith.reshape"),
        witness=f"{_CODE}.err_35",
    ),
    Erratum(
        id="ERR-36",
        places=("D3 4",),
        title="ReLU on the logits",
        kind="code",
        printed="x = F.relu(self.fc(x)) as the last line of the network.",
        correct="No activation after the last layer.",
        why="Negative scores are cut to 0. If all are, the loss is ln 10 exactly and every gradient is 0: the network is dead.",
        equations=("act.relu", "loss.ce"),
        witness=f"{_CODE}.err_36",
    ),
    Erratum(
        id="ERR-37",
        places=("D3 6",),
        title="Xavier's weights beside ReLU",
        kind="prose",
        printed="Against vanishing gradients: ReLU and Xavier initialisation.",
        correct="He's weights for ReLU, init.he; Xavier's, init.xavier, for tanh and sigmoid.",
        why=(
            "ReLU halves the mean square of its input; Xavier's variance does not make up for it, so 50 layers lose "
            "a factor of 2^25."
        ),
        equations=("act.relu", "init.xavier", "init.he", "grad.chain"),
        witness=f"{_PROSE}.err_37",
        note="Both remedies are real; they do not belong together.",
    ),
    Erratum(
        id="ERR-38",
        places=("D3 4", "D5 4"),
        title="one label for each image instead of masks",
        kind="code",
        printed="ImageFolder, which labels an image by the folder it lies in.",
        correct="Pairs of image and mask; the masks of PASCAL VOC are palette images with 0 to 20 and 255.",
        why="Labels of shape (N,) do not fit logits of shape (N, K, H, W).",
        equations=("loss.ce",),
        witness=f"{_CODE}.err_38",
    ),
    Erratum(
        id="ERR-39",
        places=("D3 4",),
        title="ten outputs for PASCAL VOC",
        kind="code",
        printed="Linear(64 * 7 * 7, 10), and a text that names PASCAL VOC.",
        correct="21 outputs: 20 classes and the background; 255 marks pixels that do not count.",
        why="Label 20 has no score.",
        equations=("loss.ce",),
        witness=f"{_CODE}.err_39",
    ),
    Erratum(
        id="ERR-40",
        places=("D3 3.2", "D3 4"),
        title="promised in the text, missing in the code",
        kind="code",
        printed=(
            "Normalising, cropping, a class for each pixel, recall, gradient descent; in the code none of these but "
            "the accuracy of images, printed with %d %%."
        ),
        correct="Standardise and crop, arg max at each pixel, recall and IoU for each class.",
        why=(
            "%d cuts 99.9 down to 99. Accuracy says little where one class is most of the picture: calling "
            "everything background scores high, and finds nothing. The code's optimiser is Adam."
        ),
        equations=(
            "metric.pixel_acc",
            "metric.recall",
            "metric.miou",
            "opt.gd",
            "opt.sgd",
            "seg.argmax",
            "data.standardize",
            "data.crop",
            "data.voc_palette",
        ),
        witness=f"{_CODE}.err_40",
        note=(
            "ToTensor does scale to [0,1], a normalisation of a kind, and Adam is gradient descent of a kind. "
            "outputs.data is an old way to write outputs.detach()."
        ),
    ),
    Erratum(
        id="ERR-41",
        places=("D3 4", "D5 4"),
        title="images are resized, masks are not",
        kind="code",
        printed="Resize((224, 224)) and Resize((256, 256)) for the images; there are no masks.",
        correct=(
            "Resize both: the image bilinearly (data.resize_bilinear), the mask by its nearest pixel "
            "(data.resize_nearest)."
        ),
        why="A mask of another size fits no prediction, and between the labels 0 and 2 bilinear resizing invents the label 1.",
        equations=(
            "up.nearest",
            "up.position",
            "up.bilinear",
            "data.resize_nearest",
            "data.resize_bilinear",
            "data.resize_labels",
        ),
        witness=f"{_CODE}.err_41",
    ),
    Erratum(
        id="ERR-42",
        places=("D1 4", "D2 4", "D4 4", "D5 4"),
        title="nothing is evaluated, and batches of unequal size count equally",
        kind="code",
        printed="Only D3 tests its network. D1 prints the sum of the batches' losses over the number of batches.",
        correct="Measure on data not trained on; weight each batch's loss by its size.",
        why="The last batch is smaller as a rule, so each of its samples counts more than the others.",
        equations=("arith.mean",),
        witness=f"{_CODE}.err_42",
        note="D1's text recommends a validation set; its code has none.",
    ),
    Erratum(
        id="ERR-43",
        places=("D2 3.2.1",),
        title="two operations under the name of skip connection",
        kind="prose",
        printed="Skip connection, for FCN and U-Net alike.",
        correct="FCN adds the scores of two resolutions; U-Net concatenates features.",
        why="A sum keeps the channels and needs equal ones; a concatenation adds the channels up.",
        equations=("arith.concatenate", "arith.add"),
        witness=f"{_PROSE}.err_43",
        note="D2 only names the term; it says nothing wrong about either.",
    ),
    Erratum(
        id="ERR-44",
        places=("D4 1", "D4 2.1", "D2 2.1", "D3 2.2", "D5 appendix"),
        title="the documents define two different tasks",
        kind="prose",
        printed="D4: each part stands for a different object (or region). D2, D3 and D5: each pixel gets a class.",
        correct="minseg solves the second, semantic segmentation; the first is instance segmentation.",
        why=(
            "Two cells that touch are two parts and one class: the instances give the classes, the classes do not "
            "give the instances."
        ),
        witness=f"{_PROSE}.err_44",
        note=(
            "D4's words leave both readings open, and its examples (face and background, buildings, vehicles) are of "
            "the second."
        ),
    ),
    Erratum(
        id="ERR-45",
        places=("D4 4.1", "D4 4.2"),
        title="the residual networks have no residual connection",
        kind="code",
        printed="Classes named ResNet: three times convolution, ReLU and pooling, then fully connected layers.",
        correct="x + F(x) in forward: res.identity.",
        why=(
            "With the branch's weights at 0 a residual block passes x on. The printed network then gives the same "
            "for every image."
        ),
        equations=("res.identity",),
        witness=f"{_CODE}.err_45",
    ),
    Erratum(
        id="ERR-46",
        places=("D4 4.1",),
        title="Linear(256, 1024) for 32x32 images",
        kind="code",
        printed="Three poolings of a 32x32 image, then Linear(256, 1024).",
        correct="Linear(256 * 4 * 4, 1024), or a mean over the map before it.",
        why="The map is 4x4, so 4096 features arrive. Only images of 8 to 15 px leave a single pixel.",
        equations=("dense.affine",),
        witness=f"{_CODE}.err_46",
    ),
    Erratum(
        id="ERR-47",
        places=("D4 4.1", "D4 4.2"),
        title="the loss compares the predictions with themselves",
        kind="code",
        printed="criterion(outputs, outputs)",
        correct="criterion(outputs, labels) with the true classes.",
        why=(
            "PyTorch reads float targets as probabilities: the loss is -sum z log softmax(z), which is -|z|^2 "
            "wherever the z add up to 0. It has no lower bound, and training runs to minus infinity and NaN."
        ),
        equations=("loss.ce",),
        witness=f"{_CODE}.err_47",
        note="minseg refuses targets that are not integers.",
    ),
    Erratum(
        id="ERR-48",
        places=("D4 4.1",),
        title="labels drawn from a normal distribution, then overwritten",
        kind="code",
        printed="outputs = torch.randn(64, 10), and outputs = model(inputs) in the first iteration.",
        correct="Integers from 0 to 9, of shape (64,), under a name of their own; and images that mean something.",
        why=(
            "Rows of normal numbers are neither class indices nor probabilities, and one constant random batch has "
            "nothing to learn."
        ),
        equations=("loss.ce",),
        witness=f"{_CODE}.err_48",
    ),
    Erratum(
        id="ERR-49",
        places=("D4 4.2",),
        title="layers.Model does not exist",
        kind="code",
        printed="class ResNet(layers.Model)",
        correct="class ResNet(tf.keras.Model)",
        why="tensorflow.keras.layers has no member Model, so the class statement raises AttributeError.",
        documentation_only=(
            "It is about a name in TensorFlow, which minseg does not need; read in its list of public names, not run."
        ),
    ),
    Erratum(
        id="ERR-50",
        places=("D4 4.2",),
        title="layers made anew in each call",
        kind="code",
        printed="layers.Conv2D(...)(x) inside call; the layers made in __init__ are never used.",
        correct="Make the layers in __init__ and apply these in call.",
        why="Each call has new random kernels, which are never among the parameters and never trained.",
        witness=f"{_CODE}.err_50",
    ),
    Erratum(
        id="ERR-51",
        places=("D5 4",),
        title="output_padding=1 makes the output larger than the mask",
        kind="code",
        printed="ConvTranspose2d(..., kernel_size=4, stride=2, padding=1, output_padding=1), twice.",
        correct="output_padding=0, which doubles exactly; for sizes that 4 does not divide also crop or pad.",
        why=(
            "n becomes 2n+1, so H becomes 4 floor(H/4) + 3: 256 becomes 259, and a mask of 256 does not fit. Only H "
            "= 3, 7, 11, ... come out as they went in."
        ),
        equations=("conv.transpose2d", "conv.transpose_size"),
        witness=f"{_CODE}.err_51",
    ),
    Erratum(
        id="ERR-52",
        places=("D5 4",),
        title="three output channels, as of a picture",
        kind="code",
        printed="ConvTranspose2d(64, 3, ...) as the last layer.",
        correct="One channel for each class.",
        why="Three channels make an auto-encoder of colours; with more than three classes a label has no score.",
        equations=("loss.ce",),
        witness=f"{_CODE}.err_52",
        note="For a task of three classes the number would be right.",
    ),
    Erratum(
        id="ERR-53",
        places=("D5 3.2", "D5 3.3", "D5 4"),
        title="the code is not what the text describes",
        kind="code",
        printed=(
            "Text: self-attention, concatenated features, softmax, Dice; and a decoder of one transposed convolution "
            "and one convolution. Code: two transposed convolutions and cross-entropy."
        ),
        correct="att.decoder_step for the text; for the code, what it is: a small encoder and decoder without skips.",
        why="Nothing in the network attends, concatenates or normalises: its outputs are not probabilities.",
        equations=("att.decoder_step",),
        witness=f"{_CODE}.err_53",
    ),
    Erratum(
        id="ERR-54",
        places=("D5 4",),
        title="Variable and float() do nothing",
        kind="code",
        printed="Variable(inputs.float()), Variable(labels)",
        correct="Use the tensors as they are.",
        why="Since PyTorch 0.4 Variable returns its tensor, and float() returns a tensor that holds float32 already.",
        documentation_only="Harmless, and about two names of PyTorch; minseg has no Variable.",
    ),
    Erratum(
        id="ERR-55",
        places=("D4 4.2",),
        title="an explanation of a step that is not there",
        kind="prose",
        printed="The TensorFlow loop is said to zero the gradients.",
        correct="It does not, and need not: a GradientTape starts empty each time.",
        why="The explanation was taken over from the PyTorch loop, where gradients add up and must be zeroed.",
        equations=("grad.backward",),
        documentation_only=(
            "It is about what TensorFlow's tape does and what the printed loop lacks; there is nothing to compute."
        ),
    ),
    Erratum(
        id="ERR-56",
        places=("D4 4.2",),
        title="a row of ten labels for each image",
        kind="code",
        printed="Random integers of shape [64, 10], then overwritten by the predictions, for SparseCategoricalCrossentropy.",
        correct="One integer for each image: shape [64].",
        why="The sparse loss takes a class index for each row of scores: one axis less than the scores have.",
        equations=("loss.ce",),
        witness=f"{_CODE}.err_56",
        note="Keras checks the number of axes and raises ValueError (read in its source, not run); minseg raises ShapeError.",
    ),
    Erratum(
        id="ERR-57",
        places=("D1 4", "D2 4", "D4 4"),
        title="nothing fixes the result",
        kind="code",
        printed="No seed, no device, no train() and eval(), and no data or random data.",
        correct="One seed for weights, order and augmentation; train() and eval() around what they switch.",
        why="Two runs start from different weights and end in different networks.",
        witness=f"{_CODE}.err_57",
        note=(
            "None of these networks has a layer that train() and eval() would change. D3 and D5 set no seed and no "
            "device either."
        ),
    ),
    Erratum(
        id="ERR-58",
        places=("D4 4.2",),
        title="softmax in the network, and a loss told that it gets logits",
        kind="code",
        printed="Dense(10, activation='softmax') with from_logits=True.",
        correct="No activation with from_logits=True; or softmax with from_logits=False.",
        why="Mathematically it is the double softmax of ERR-28: the loss cannot fall below ln(e+K-1) - 1.",
        equations=("act.softmax", "loss.ce"),
        witness=f"{_CODE}.err_58",
        note=(
            "Recent Keras keeps the values before softmax on the tensor and silently uses those, with a warning: "
            "what the line does depends on the framework's version, which is worse than an error. The witness shows "
            "the mathematics only."
        ),
    ),
    # -------------------------------------------------------------------------------------------------------------- prose
    Erratum(
        id="ERR-59",
        places=("D4 2.3", "D4 6"),
        title="residual connections do not reduce over-fitting",
        kind="prose",
        printed="They reduce over-fitting, and so improve the segmentation.",
        correct=(
            "They make deep networks easier to train. He et al. show that plain deep networks have the higher "
            "training error."
        ),
        why=(
            "On labels that are pure noise, where all fitting is over-fitting, the residual network fits more than "
            "the plain one."
        ),
        equations=("res.identity", "res.identity_grad"),
        witness=f"{_PROSE}.err_59",
    ),
    Erratum(
        id="ERR-60",
        places=("D4 6",),
        title="residual connections need no parameters",
        kind="prose",
        printed="As a drawback: they may need more computation and parameters.",
        correct="The identity has none, and costs one addition. Only projections have some.",
        why="Two 3x3 convolutions of 64 channels have 73,856 parameters with the shortcut and without.",
        equations=("res.identity",),
        witness=f"{_PROSE}.err_60",
        note="Residual networks are often deeper, and then larger; that is a choice.",
    ),
    Erratum(
        id="ERR-61",
        places=("D4 6",),
        title="a skip over every layer would change nothing",
        kind="prose",
        printed="Every layer of a residual network has a skip connection.",
        correct="Every block of two or three layers has one.",
        why="x + W x = (1 + W) x: one linear layer with its own skip is a linear layer with other weights.",
        equations=("res.identity",),
        witness=f"{_PROSE}.err_61",
    ),
    Erratum(
        id="ERR-62",
        places=("D4 2.2",),
        title="which input is added",
        kind="prose",
        printed="The output of the current layer is added to the input of the previous layer.",
        correct="The output of the block's last layer is added to the input of its first.",
        why=(
            "Both are the same in a block of two layers only; in a bottleneck of three, the previous layer's input "
            "has fewer channels."
        ),
        equations=("res.identity",),
        witness=f"{_PROSE}.err_62",
    ),
    Erratum(
        id="ERR-63",
        places=("D5 5.2",),
        title="self-attention as the simpler architecture",
        kind="prose",
        printed="To save computation: simpler architectures such as self-attention and convolutions.",
        correct="Self-attention over pixels is the expensive part: its cost grows with the square of their number.",
        why=(
            "Twice the side means four times the pixels: four times the work of a convolution, sixteen times that of "
            "att.score."
        ),
        equations=("att.score",),
        witness=f"{_PROSE}.err_63",
    ),
    Erratum(
        id="ERR-64",
        places=("D5 5.2",),
        title="one against all does not make training cheaper",
        kind="prose",
        printed="For many classes: unary classification (one-vs-all) to reduce the cost.",
        correct="One against all, K binary classifiers; it costs as much as one classifier of K classes, or K times as much.",
        why="K heads of one output have the parameters of one head of K; K separate networks have K times as many.",
        equations=("dense.affine",),
        witness=f"{_PROSE}.err_64",
    ),
    Erratum(
        id="ERR-65",
        places=("D5 1.1",),
        title="the number of neurons",
        kind="prose",
        printed="The human brain has several billion neurons.",
        correct="About 86 billion.",
        why="It is a count of anatomy, from general knowledge (Azevedo et al. 2009).",
        documentation_only="A fact about the brain, which no computation here could prove.",
    ),
    Erratum(
        id="ERR-66",
        places=("D1 6",),
        title="what a validation set and augmentation do",
        kind="prose",
        printed=(
            "A validation set avoids over-fitting; augmentation enlarges the data set; rotation is listed as "
            "preprocessing."
        ),
        correct=(
            "A validation set shows over-fitting, early stopping acts on it; augmentation draws changed copies of "
            "the same samples."
        ),
        why="Measuring does not change the weights: with and without it they are the same. Rotating at random is augmentation.",
        equations=(
            "reg.early_stopping",
            "data.resize_bilinear",
            "data.flip",
            "data.crop",
            "data.rotate",
            "data.flip_rows",
            "data.warp",
            "data.rotate_rows",
            "data.rotate_columns",
            "data.zoom",
        ),
        witness=f"{_PROSE}.err_66",
    ),
    Erratum(
        id="ERR-67",
        places=("D1 5",),
        title="SGD as a strategy of the future",
        kind="prose",
        printed="Smarter strategies to come: adaptive learning rates, stochastic gradient descent.",
        correct="Stochastic gradient descent is what the code of the same document uses.",
        why="Its optimiser is optim.SGD.",
        equations=("opt.sgd",),
        documentation_only="A contradiction between the text and its own code, to be read; there is nothing to compute.",
    ),
    Erratum(
        id="ERR-68",
        places=("D1 6",),
        title="large kernels for global features",
        kind="prose",
        printed="Larger kernels capture more global features.",
        correct="True, but small kernels one after the other see as far with fewer weights: conv.receptive_field.",
        why="Three 3x3 convolutions see 7x7 pixels; with 64 channels they have 110,592 weights, one of 7x7 has 200,704.",
        equations=("conv.receptive_field",),
        witness=f"{_PROSE}.err_68",
    ),
    Erratum(
        id="ERR-69",
        places=("D2 2.2", "D3 2.1", "D5 2.3"),
        title="what deep learning is part of",
        kind="prose",
        printed=(
            "D2: neural networks, CNN and RNN as kinds beside each other, deep learning defined by the brain. D5: "
            "part of neural networks. D3: part of machine learning."
        ),
        correct="Deep learning is machine learning with networks of many layers; CNN and RNN are neural networks.",
        why="The three do not agree, and a kind cannot stand beside what contains it.",
        documentation_only="A matter of definitions, not of numbers.",
    ),
    Erratum(
        id="ERR-70",
        places=("D2 3.2.2",),
        title="patches are not segments",
        kind="prose",
        printed="A Transformer segments an image by dividing it into regions.",
        correct=(
            "It divides it into patches, the same for every image, as its tokens: att.patch_embed. The labels come "
            "from the head."
        ),
        why="A patch on the border of two objects has pixels of both, so one label for each patch must be wrong for some.",
        equations=("att.score", "att.weights", "att.mix", "att.patch_embed"),
        witness=f"{_PROSE}.err_70",
    ),
    Erratum(
        id="ERR-71",
        places=("D3 3.1.3",),
        title="only the fully connected layer is said to learn",
        kind="prose",
        printed="In training, the weights and biases of the fully connected layer are optimised.",
        correct="All parameters are, the kernels too.",
        why="The gradient of the loss reaches the first convolution.",
        equations=("opt.gd", "opt.sgd", "conv.grad_w"),
        witness=f"{_PROSE}.err_71",
        note="The sentence does not say only; the section on convolutions says nothing about learning.",
    ),
    Erratum(
        id="ERR-72",
        places=("D5 appendix",),
        title="an encoder and a decoder are not two problems",
        kind="prose",
        printed="The structure splits the problem in two and so makes better use of the training data.",
        correct="Both halves are trained together, by one loss; nothing supports the gain. Without skips fine detail is lost.",
        why=(
            "The encoder's gradient goes through the decoder and changes with its weights; pooling maps different "
            "images to the same."
        ),
        equations=("pool.max2d",),
        witness=f"{_PROSE}.err_72",
        note="That the gain is unsupported is a matter of missing evidence; the witness shows the other two points.",
    ),
    Erratum(
        id="ERR-73",
        places=("D1 5", "D2 3.1.1", "D4 1", "D4 1.3", "D5 3.2.1"),
        title="spelling and leftovers of translation",
        kind="prose",
        printed=(
            "D4: segementation, and the outline twice. D5: soft max half translated. D2: two scripts mixed. D1: an "
            "English word left standing."
        ),
        correct="segmentation, softmax, one script, one outline.",
        why="They are misspellings and repetitions.",
        documentation_only="Spelling has no numbers.",
    ),
    # --------------------------------------------------------------------------------------------------------- references
    Erratum(
        id="ERR-74",
        places=("D4 references",),
        title="45 references to 14 works",
        kind="reference",
        printed=(
            "From entry 15 on eight works are repeated in turn: seven of them appear five times, one four times. The "
            "last entry breaks off in its title."
        ),
        correct="14 entries.",
        why="Counting the titles gives 14 different ones.",
        documentation_only="A count over a list of references, which minseg does not carry.",
    ),
    Erratum(
        id="ERR-75",
        places=("D4 references",),
        title="authors, venues, years and pages that are wrong",
        kind="reference",
        printed="Of the 14 works only the first, ResNet, is cited rightly.",
        correct=(
            "DenseNet: Huang, Liu, van der Maaten, Weinberger, CVPR 2017, 4700-4708. GoogLeNet: authors end with "
            "Vanhoucke, Rabinovich. YOLO: Redmon, Divvala, Girshick, Farhadi, CVPR 2016, 779-788. Faster R-CNN: "
            "NIPS 2015. FCN: CVPR 2015, 3431-3440. Focal loss: Lin, Goyal, Girshick, He, Dollár, ICCV 2017, "
            "2980-2988. Instance normalisation: Ulyanov, Vedaldi, Lempitsky, arXiv 2016. U-Net: MICCAI 2015, "
            "234-241. SegNet: TPAMI 2017. DeepLab: Chen, Papandreou, Kokkinos, Murphy, Yuille, ICLR 2015; TPAMI 40, "
            "834-848, 2018. PSPNet: Zhao, Shi, Qi, Wang, Jia, CVPR 2017, 2881-2890. YOLO9000: Redmon, Farhadi, CVPR "
            "2017, 7263-7271. The survey of small face detection could not be identified."
        ),
        why="Compared with public bibliographies, the venues partly with general knowledge.",
        equations=(
            "loss.focal",
            "norm.instance_mean",
            "norm.instance",
            "res.dense_concat",
            "res.inception",
            "ctx.aspp",
            "ctx.pyramid_pool",
            "ctx.crf_meanfield",
        ),
        documentation_only=(
            "References are checked against bibliographies, not computed. minseg cites none of them from the documents."
        ),
    ),
    Erratum(
        id="ERR-76",
        places=("D5 references",),
        title="references that are wrong or could not be found",
        kind="reference",
        printed="Eight entries, of which the fourth (U-Net) and the fifth (FCN) are right.",
        correct=(
            "[1] and [8] could not be identified. [2] SegNet: the third author is Cipolla, TPAMI 2017. [3] DeepLab: "
            "L.-C. Chen, Papandreou, Kokkinos, Murphy, and Yuille, who is missing; TPAMI 40, 2018. [6] DeepLabv3+: "
            "Chen, Zhu, Papandreou, Schroff, Adam, ECCV 2018, 801-818. [7] PSPNet: Zhao, Shi, Qi, Wang, Jia, CVPR "
            "2017."
        ),
        why="Compared with public bibliographies, the venues partly with general knowledge.",
        equations=("ctx.aspp", "ctx.pyramid_pool", "ctx.crf_meanfield"),
        documentation_only=(
            "References are checked against bibliographies, not computed. minseg cites none of them from the documents."
        ),
    ),
)

ERRATA: dict[str, Erratum] = {erratum.id: erratum for erratum in _ALL}
"""All errata by id, in order."""

RIGHT: tuple[Right, ...] = (
    Right(
        "OK-01",
        ("D1 3.2",),
        "the factor of the mean, 1/k^2",
        "A window has k k pixels. (Where it starts is another matter: ERR-06.)",
        ("pool.avg2d",),
        f"{_RIGHT}.ok_01",
    ),
    Right(
        "OK-02",
        ("D1 3.3",),
        "z = Wx + b and a = sigma(z)",
        "It is what a fully connected layer computes. (Only the legend is wrong: ERR-09.)",
        ("dense.affine", "act.relu"),
        f"{_RIGHT}.ok_02",
    ),
    Right(
        "OK-03",
        ("D4 3.3",),
        "y = x + F(x)",
        "It is the residual connection of He et al., and its gradient has the identity in it. (Only the legend is "
        "wrong: ERR-17.)",
        ("res.identity", "res.identity_grad"),
        f"{_RIGHT}.ok_03",
    ),
    Right(
        "OK-04",
        ("D3 3.3.1",),
        "the formula of the convolution, as that of the true convolution",
        "Counted from 1 and of full size it is exact. (It is not what Conv2d computes: ERR-01.)",
        ("conv.true2d",),
        f"{_RIGHT}.ok_04",
    ),
    Right(
        "OK-05",
        ("D1 4", "D2 4"),
        "the sizes of the layers for images of 32x32 pixels",
        "16 * 5 * 5 and 128 * 8 * 8 are what the convolutions and poolings leave.",
        ("conv.size", "dense.affine"),
        f"{_RIGHT}.ok_05",
    ),
    Right(
        "OK-06",
        ("D5 4",),
        "the sizes of the encoder: 256, 128, 64",
        "Its convolutions are padded to keep the size, and each pooling halves it.",
        ("conv.size", "pool.max2d"),
        f"{_RIGHT}.ok_06",
    ),
    Right(
        "OK-07",
        ("D2 6",),
        "segmentation against detection",
        "A label for each pixel; against boxes with a class.",
    ),
    Right(
        "OK-08",
        ("D1 4", "D2 4", "D3 4", "D4 4.1", "D5 4"),
        "the order of the training steps",
        "Gradients add up, so zero_grad must stand somewhere before backward, and step after it; it may stand "
        "before or after forward.",
        ("opt.sgd",),
        f"{_RIGHT}.ok_08",
    ),
    Right("OK-09", ("D5 appendix",), "what segmentation is", "Each pixel gets a label that says which class it is of."),
    Right(
        "OK-10",
        ("D5 3.2.1", "D5 appendix"),
        "the idea of self-attention",
        "Each pixel weights all others by how much they matter. (What is left out: ERR-26.)",
        ("att.score", "att.weights", "att.mix"),
    ),
    Right(
        "OK-11",
        ("D3 6",),
        "the remedies against vanishing gradients",
        "ReLU, initialisation and batch normalisation all help. (Xavier's does not fit ReLU: ERR-37.)",
        ("act.relu", "norm.batch"),
    ),
    Right(
        "OK-12",
        ("D2 6",),
        "the remedies against unbalanced classes",
        "More data of the rare class, weights for the classes, larger models.",
        ("loss.ce_weighted",),
    ),
)
