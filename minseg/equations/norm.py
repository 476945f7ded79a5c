"""Equations of normalisation: statistics, the normalised map, its gradients in training and in evaluation."""

from minseg.equations.registry import Equation, Source, Symbol, paper

X = Symbol("x", "maps", "(N, C, H, W)")
X_HAT = Symbol(r"\hat{x}", "normalised maps, (x - mu) / sqrt(v + epsilon)", "(N, C, H, W)")
Y = Symbol("y", "the output: normalised maps, negative ones set to 0", "(N, C, H, W)")
Y_BAR = Symbol(r"\bar{y}", "gradient of the loss for the output", "(N, C, H, W)")
GAMMA = Symbol(r"\gamma", "weight of each channel", "(C,)")
BETA = Symbol(r"\beta", "bias of each channel", "(C,)")
MEAN = Symbol(r"\mu", "mean of each channel", "(C,)")
VARIANCE = Symbol("v", "biased variance of each channel", "(C,)", domain=">= 0")
EPSILON = Symbol(r"\epsilon", "added to the variance, in the squared unit of x", domain="> 0")
SIZES = (
    Symbol("N", "samples in the batch"),
    Symbol("H", "rows", unit="pixels"),
    Symbol("W", "columns", unit="pixels"),
)
OVER_PIXELS = r"\sum_{n=0}^{N-1}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1}"

_IN_WORDS = Source("D3", "6", ("words",), item="W-18", note="question 3")
_INSTANCE = Source("D4", "references", ("words",), errata=("ERR-75",), item="W-27", note="reference 8")

EQUATIONS = (
    Equation(
        id="norm.batch_mean",
        title="mean of each channel over samples and pixels",
        latex=rf"\mu_{{c}} = \frac{{1}}{{NHW}}{OVER_PIXELS} x_{{n,c,i,j}}",
        symbols=(X, *SIZES),
        sources=(_IN_WORDS, paper("Ioffe and Szegedy, ICML 2015")),
        operations=("minseg.ops.batch_norm_training",),
        primitives=("batch_norm_stats",),
    ),
    Equation(
        id="norm.batch_var",
        title="biased variance of each channel over samples and pixels",
        latex=rf"v_{{c}} = \frac{{1}}{{NHW}}{OVER_PIXELS} (x_{{n,c,i,j}}-\mu_{{c}})^{{2}}",
        symbols=(X, MEAN, *SIZES),
        sources=(_IN_WORDS, paper("Ioffe and Szegedy, ICML 2015")),
        operations=("minseg.ops.batch_norm_training",),
        primitives=("batch_norm_stats",),
        note="Divided by the number of values, not by one less: what normalises is the variance of these very numbers.",
    ),
    Equation(
        id="norm.batch_stats",
        title="mean and biased variance of each channel together",
        latex=(
            rf"s_{{r,c}} = \frac{{1}}{{NHW}}{OVER_PIXELS} "
            r"\begin{cases} x_{n,c,i,j} & r = 0 \\ (x_{n,c,i,j}-\mu_{c})^{2} & \text{otherwise} \end{cases}"
        ),
        symbols=(X, MEAN, *SIZES),
        sources=(paper("norm.batch_mean and norm.batch_var together"),),
        operations=("minseg.ops.batch_norm_training",),
        primitives=("batch_norm_stats",),
        note="Row 0 is the mean, row 1 the variance. Two passes over x: the mean of squares minus the squared mean would cancel.",
    ),
    Equation(
        id="norm.batch",
        title="batch normalisation",
        latex=r"y_{n,c,i,j} = \gamma_{c}\frac{x_{n,c,i,j}-\mu_{c}}{\sqrt{v_{c}+\epsilon}} + \beta_{c}",
        symbols=(X, GAMMA, BETA, MEAN, VARIANCE, EPSILON),
        sources=(_IN_WORDS, paper("Ioffe and Szegedy, ICML 2015")),
        operations=(
            "minseg.ops.batch_norm",
            "minseg.ops.batch_norm_training",
            "minseg.ops.batch_norm_eval",
            "minseg.nn.BatchNorm2d",
        ),
        primitives=("batch_norm",),
        gradients={
            "x": "norm.batch_grad",
            r"\gamma": "norm.batch_grad_weight",
            r"\beta": "norm.batch_grad_bias",
        },
        note="In training mu and v are those of the batch, in evaluation the running ones; then x has norm.batch_eval_grad.",
    ),
    Equation(
        id="norm.batch_grad",
        title="gradient of batch normalisation for its input, in training",
        latex=(
            r"g_{n,c,i,j} = \frac{\gamma_{c}}{\sqrt{v_{c}+\epsilon}}\left[ \bar{y}_{n,c,i,j} "
            r"- \frac{1}{NHW}\sum_{m=0}^{N-1}\sum_{a=0}^{H-1}\sum_{b=0}^{W-1}"
            r"(1 + \hat{x}_{n,c,i,j}\hat{x}_{m,c,a,b})\bar{y}_{m,c,a,b} \right]"
        ),
        symbols=(Y_BAR, X_HAT, GAMMA, VARIANCE, EPSILON, *SIZES),
        sources=(paper("from norm.batch by differentiating, through mu and v too"),),
        operations=("minseg.ops.batch_norm_training",),
        primitives=("batch_norm_grad",),
        note="What moves the mean or the scale of a channel is taken off: normalisation would undo it.",
    ),
    Equation(
        id="norm.batch_grad_weight",
        title="gradient of batch normalisation for its weight",
        latex=rf"g_{{c}} = {OVER_PIXELS} \bar{{y}}_{{n,c,i,j}}\hat{{x}}_{{n,c,i,j}}",
        symbols=(Y_BAR, X_HAT, *SIZES),
        sources=(paper("from norm.batch by differentiating"),),
        operations=("minseg.ops.batch_norm_training", "minseg.ops.batch_norm_eval"),
        primitives=("batch_norm_grad", "batch_norm_eval_grad"),
    ),
    Equation(
        id="norm.batch_grad_bias",
        title="gradient of batch normalisation for its bias",
        latex=rf"g_{{c}} = {OVER_PIXELS} \bar{{y}}_{{n,c,i,j}}",
        symbols=(Y_BAR, *SIZES),
        sources=(paper("from norm.batch by differentiating"),),
        operations=("minseg.ops.batch_norm_training", "minseg.ops.batch_norm_eval"),
        primitives=("batch_norm_grad", "batch_norm_eval_grad"),
        note="The gradient of a bias before the normalisation is 0: the mean takes it off again.",
    ),
    Equation(
        id="norm.batch_eval_grad",
        title="gradient of batch normalisation for its input, in evaluation",
        latex=r"g_{n,c,i,j} = \frac{\gamma_{c}}{\sqrt{v_{c}+\epsilon}}\bar{y}_{n,c,i,j}",
        symbols=(Y_BAR, GAMMA, VARIANCE, EPSILON),
        sources=(paper("from norm.batch by differentiating, with constant mu and v"),),
        operations=("minseg.ops.batch_norm_eval",),
        primitives=("batch_norm_eval_grad",),
    ),
    Equation(
        id="norm.batch_relu",
        title="batch normalisation and the rectified linear unit after it, in one pass",
        latex=(
            r"y_{n,c,i,j} = \max\left(0, \gamma_{c}\frac{x_{n,c,i,j}-\mu_{c}}{\sqrt{v_{c}+\epsilon}} + \beta_{c}\right)"
        ),
        symbols=(X, GAMMA, BETA, MEAN, VARIANCE, EPSILON),
        sources=(paper("act.relu of norm.batch"),),
        operations=("minseg.ops.batch_norm_relu",),
        primitives=("batch_norm_relu",),
        gradients={
            "x": "norm.batch_relu_grad",
            r"\gamma": "norm.batch_relu_grad_weight",
            r"\beta": "norm.batch_relu_grad_bias",
        },
        note="Computed together they read and write each map once; and backward needs x alone, from which y > 0 follows again.",
    ),
    Equation(
        id="norm.batch_relu_grad",
        title="gradient of batch normalisation with ReLU for its input, in training",
        latex=(
            r"g_{n,c,i,j} = \frac{\gamma_{c}}{\sqrt{v_{c}+\epsilon}}\left[ \bar{y}_{n,c,i,j}[y_{n,c,i,j} > 0] "
            r"- \frac{1}{NHW}\sum_{m=0}^{N-1}\sum_{a=0}^{H-1}\sum_{b=0}^{W-1}"
            r"(1 + \hat{x}_{n,c,i,j}\hat{x}_{m,c,a,b})\bar{y}_{m,c,a,b}[y_{m,c,a,b} > 0] \right]"
        ),
        symbols=(Y_BAR, Y, X_HAT, GAMMA, VARIANCE, EPSILON, *SIZES),
        sources=(paper("norm.batch_grad of act.relu_grad"),),
        operations=("minseg.ops.batch_norm_relu",),
        primitives=("batch_norm_relu_grad",),
    ),
    Equation(
        id="norm.batch_relu_grad_weight",
        title="gradient of batch normalisation with ReLU for its weight",
        latex=rf"g_{{c}} = {OVER_PIXELS} \bar{{y}}_{{n,c,i,j}}[y_{{n,c,i,j}} > 0]\hat{{x}}_{{n,c,i,j}}",
        symbols=(Y_BAR, Y, X_HAT, *SIZES),
        sources=(paper("norm.batch_grad_weight of act.relu_grad"),),
        operations=("minseg.ops.batch_norm_relu",),
        primitives=("batch_norm_relu_grad", "batch_norm_relu_eval_grad"),
    ),
    Equation(
        id="norm.batch_relu_grad_bias",
        title="gradient of batch normalisation with ReLU for its bias",
        latex=rf"g_{{c}} = {OVER_PIXELS} \bar{{y}}_{{n,c,i,j}}[y_{{n,c,i,j}} > 0]",
        symbols=(Y_BAR, Y, *SIZES),
        sources=(paper("norm.batch_grad_bias of act.relu_grad"),),
        operations=("minseg.ops.batch_norm_relu",),
        primitives=("batch_norm_relu_grad", "batch_norm_relu_eval_grad"),
    ),
    Equation(
        id="norm.batch_relu_eval_grad",
        title="gradient of batch normalisation with ReLU for its input, in evaluation",
        latex=r"g_{n,c,i,j} = \frac{\gamma_{c}}{\sqrt{v_{c}+\epsilon}}\bar{y}_{n,c,i,j}[y_{n,c,i,j} > 0]",
        symbols=(Y_BAR, Y, GAMMA, VARIANCE, EPSILON),
        sources=(paper("norm.batch_eval_grad of act.relu_grad"),),
        operations=("minseg.ops.batch_norm_relu",),
        primitives=("batch_norm_relu_eval_grad",),
    ),
    Equation(
        id="norm.fold_weight",
        title="kernels of a convolution with the batch normalisation after it folded in",
        latex=r"W_{o,c,p,q} = \frac{\gamma_{o}}{\sqrt{v_{o}+\epsilon}} w_{o,c,p,q}",
        symbols=(Symbol("w", "kernels", "(O, C, R, S)"), GAMMA, VARIANCE, EPSILON),
        sources=(paper("norm.batch of conv.corr2d, which is linear in its kernels"),),
        operations=("minseg.nn.fold_batch_norm",),
        note="Only in evaluation, where mu and v are constants. With norm.fold_bias one pass does what took two.",
    ),
    Equation(
        id="norm.fold_bias",
        title="bias of a convolution with the batch normalisation after it folded in",
        latex=r"B_{o} = \frac{\gamma_{o}}{\sqrt{v_{o}+\epsilon}}(b_{o}-\mu_{o}) + \beta_{o}",
        symbols=(Symbol("b", "bias of each output channel", "(O,)"), GAMMA, BETA, MEAN, VARIANCE, EPSILON),
        sources=(paper("norm.batch of conv.corr2d"),),
        operations=("minseg.nn.fold_batch_norm",),
        note="A convolution without a bias has one afterwards.",
    ),
    Equation(
        id="norm.running",
        title="running statistics, moved towards those of the batch",
        latex=r"R_{c} = (1-m)r_{c} + m b_{c}",
        symbols=(
            Symbol("r", "running mean or variance of each channel so far", "(C,)"),
            Symbol("b", "the batch's mean, or its unbiased variance", "(C,)"),
            Symbol("m", "momentum: the weight of the new batch", domain="in [0, 1]"),
        ),
        sources=(paper("the convention of PyTorch; elsewhere momentum is often 1 - m"),),
        operations=("minseg.ops.running_statistics", "minseg.ops.batch_norm", "minseg.nn.BatchNorm2d"),
        note="The unbiased variance of n values is norm.batch_var times n / (n - 1).",
    ),
    Equation(
        id="norm.instance_mean",
        title="mean of each channel of each sample",
        latex=r"\mu_{n,c} = \frac{1}{HW}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1} x_{n,c,i,j}",
        symbols=(X, *SIZES[1:]),
        sources=(_INSTANCE, paper("Ulyanov, Vedaldi and Lempitsky, arXiv 2016")),
        errata=("ERR-75",),
        operations=("minseg.ops.instance_norm", "minseg.autograd.mean"),
        note="The variance is taken over the same pixels, and divided by their number.",
    ),
    Equation(
        id="norm.instance",
        title="instance normalisation: each channel of each sample by itself",
        latex=r"y_{n,c,i,j} = \gamma_{c}\frac{x_{n,c,i,j}-\mu_{n,c}}{\sqrt{v_{n,c}+\epsilon}} + \beta_{c}",
        symbols=(
            X,
            GAMMA,
            BETA,
            Symbol(r"\mu", "mean of each channel of each sample", "(N, C)"),
            Symbol("v", "biased variance of each channel of each sample", "(N, C)", domain=">= 0"),
            EPSILON,
        ),
        sources=(_INSTANCE, paper("Ulyanov, Vedaldi and Lempitsky, arXiv 2016")),
        errata=("ERR-75",),
        operations=("minseg.ops.instance_norm", "minseg.nn.InstanceNorm2d"),
        note="The same in training and evaluation. Its gradient is that of norm.batch for one sample of N C channels.",
    ),
    Equation(
        id="norm.layer",
        title="layer normalisation: all channels of each token together",
        latex=r"y_{n,c} = \gamma_{c}\frac{x_{n,c}-\mu_{n}}{\sqrt{v_{n}+\epsilon}} + \beta_{c}",
        symbols=(
            Symbol("x", "tokens", "(N, C)"),
            GAMMA,
            BETA,
            Symbol(r"\mu", "mean of each token over its channels", "(N,)"),
            Symbol("v", "biased variance of each token over its channels", "(N,)", domain=">= 0"),
            EPSILON,
        ),
        sources=(paper("Ba, Kiros and Hinton, arXiv 2016"),),
        operations=("minseg.ops.layer_norm", "minseg.nn.LayerNorm"),
        note="The same in training and evaluation. Its gradient for x is that of norm.batch, where each token is a channel.",
    ),
)
