"""Equations of optimisers: one step of each weight by itself. Capital letters are the values after the step."""

from minseg.equations.registry import Equation, Source, Symbol, paper

THETA = Symbol(r"\theta", "a weight")
GRADIENT = Symbol("g", "gradient of the loss for the weight")
RATE = Symbol(r"\eta", "learning rate", domain=">= 0")
MOMENTUM = Symbol(r"\mu", "momentum: how much of the velocity stays", domain="in [0, 1)")
VELOCITY = Symbol("v", "velocity before the step; 0 at first")
DAMPENING = Symbol(r"\tau", "dampening: how much of the gradient is left out", domain="in [0, 1]")
STEP = Symbol("t", "number of this step; the first is 1", domain=">= 1")
DECAY = Symbol(r"\lambda", "weight decay", domain=">= 0")
EPSILON = Symbol(r"\epsilon", "keeps the division from 0/0, in the unit of the gradient", domain="> 0")
STEPS = Symbol("S", "steps in all")
FIRST_RATE = Symbol(r"\eta", "learning rate at the first step")
STEPS_DONE = Symbol("t", "steps done", domain="0 to S")

SGD = ("minseg.optim.SGD",)
KERAS_SGD = ("minseg.optim.KerasSGD",)
RMSPROP = ("minseg.optim.RMSprop",)
ADAM = ("minseg.optim.Adam", "minseg.optim.AdamW")

_SGD_CODE = Source("D1, D2, D4", "code", ("code",), item="C-05")
_ADAM_CODE = (Source("D3, D5", "code", ("code",), item="C-07"), paper("Kingma and Ba, ICLR 2015"))
_KERAS_CODE = Source("D4", "4.2", ("code",), item="C-06")
_RMSPROP = (Source("D1", "6", ("words",), note="question 3"), paper("Hinton, lecture 6e, 2012"))
_DESCENT = (
    Source("D2", "6", ("words",), item="W-14", note="question 3"),
    Source("D3", "3.1.3, 3.2.2", ("words",), errata=("ERR-40", "ERR-71"), item="W-14", note="its code uses Adam"),
)

EQUATIONS = (
    Equation(
        id="opt.gd",
        title="gradient descent",
        latex=r"T = \theta - \eta g",
        symbols=(THETA, GRADIENT, RATE),
        sources=_DESCENT,
        errata=("ERR-40", "ERR-71"),
        operations=SGD,
        primitives=("sgd_update",),
    ),
    Equation(
        id="opt.sgd",
        title="stochastic gradient descent: the gradient of a random batch",
        latex=r"T = \theta - \frac{\eta}{B}\sum_{i=0}^{B-1}g_{i}",
        symbols=(
            THETA,
            Symbol("g", "gradient of each sample's loss for the weight", "(B,)"),
            RATE,
            Symbol("B", "samples in the batch", domain=">= 1"),
        ),
        sources=(*_DESCENT, Source("D1", "5", ("words",), errata=("ERR-67",), item="W-14")),
        errata=("ERR-40", "ERR-67", "ERR-71"),
        operations=SGD,
        primitives=("sgd_update",),
        note="The mean is taken by the loss; the optimiser sees its gradient.",
    ),
    Equation(
        id="opt.momentum_v",
        title="velocity of gradient descent with momentum",
        latex=r"V = \mu v + g",
        symbols=(GRADIENT, MOMENTUM, VELOCITY),
        sources=(_SGD_CODE, paper("Polyak 1964; the convention of PyTorch")),
        operations=SGD,
        primitives=("sgd_update",),
        note="Then opt.momentum_step. After many equal gradients the velocity is g / (1 - mu).",
    ),
    Equation(
        id="opt.momentum_step",
        title="step of gradient descent with momentum",
        latex=r"T = \theta - \eta V",
        symbols=(THETA, RATE, Symbol("V", "velocity after opt.momentum_v")),
        sources=(_SGD_CODE,),
        operations=SGD,
        primitives=("sgd_update",),
    ),
    Equation(
        id="opt.dampening",
        title="velocity with dampening",
        latex=r"V = \mu v + (1-\tau)g",
        symbols=(GRADIENT, MOMENTUM, VELOCITY, DAMPENING),
        sources=(paper("the convention of PyTorch"),),
        operations=SGD,
        primitives=("sgd_update",),
        note="In place of opt.momentum_v; the first step is not dampened. With tau = mu the velocity is a mean of gradients.",
    ),
    Equation(
        id="opt.nesterov",
        title="step with Nesterov's momentum",
        latex=r"T = \theta - \eta(g + \mu V)",
        symbols=(THETA, GRADIENT, RATE, MOMENTUM, Symbol("V", "velocity after opt.momentum_v")),
        sources=(paper("Nesterov 1983; Sutskever et al., ICML 2013; the convention of PyTorch"),),
        operations=SGD,
        primitives=("sgd_update",),
        note="In place of opt.momentum_step.",
    ),
    Equation(
        id="opt.weight_decay",
        title="weight decay: the gradient of reg.l2, added to that of the loss",
        latex=r"G = g + \lambda\theta",
        symbols=(GRADIENT, THETA, DECAY),
        sources=(Source("D1", "6", ("words",), item="W-16"), paper("the convention of PyTorch's SGD and Adam")),
        operations=(*SGD, *KERAS_SGD, *RMSPROP, "minseg.optim.Adam"),
        primitives=("sgd_update", "rmsprop_update", "adam_update"),
        note="G takes the place of g. In Adam it is rescaled with the gradient, so that it is not the decay of AdamW (opt.adamw).",
    ),
    Equation(
        id="opt.momentum_tf",
        title="velocity as Keras has it, with the learning rate inside",
        latex=r"V = \mu v - \eta g",
        symbols=(GRADIENT, RATE, MOMENTUM, VELOCITY),
        sources=(_KERAS_CODE,),
        operations=KERAS_SGD,
        primitives=("sgd_update",),
        note="Then opt.momentum_tf_step. While the learning rate is constant, the same steps as opt.momentum_v.",
    ),
    Equation(
        id="opt.momentum_tf_step",
        title="step of gradient descent with Keras's velocity",
        latex=r"T = \theta + V",
        symbols=(THETA, Symbol("V", "velocity after opt.momentum_tf")),
        sources=(_KERAS_CODE,),
        operations=KERAS_SGD,
        primitives=("sgd_update",),
    ),
    Equation(
        id="opt.momentum_tf_nesterov",
        title="step with Nesterov's momentum and Keras's velocity",
        latex=r"T = \theta + \mu V - \eta g",
        symbols=(THETA, GRADIENT, RATE, MOMENTUM, Symbol("V", "velocity after opt.momentum_tf")),
        sources=(paper("opt.nesterov in the convention of Keras"),),
        operations=KERAS_SGD,
        primitives=("sgd_update",),
        note="In place of opt.momentum_tf_step.",
    ),
    Equation(
        id="opt.rmsprop_v",
        title="mean square of the gradient, for RMSprop",
        latex=r"V = \rho v + (1-\rho)g^{2}",
        symbols=(
            GRADIENT,
            Symbol(r"\rho", "how much of the mean square stays", domain="in [0, 1)"),
            Symbol("v", "mean square before the step; 0 at first"),
        ),
        sources=_RMSPROP,
        operations=RMSPROP,
        primitives=("rmsprop_update",),
    ),
    Equation(
        id="opt.rmsprop",
        title="step of RMSprop",
        latex=r"T = \theta - \eta\frac{g}{\sqrt{V}+\epsilon}",
        symbols=(THETA, GRADIENT, RATE, Symbol("V", "mean square after opt.rmsprop_v"), EPSILON),
        sources=_RMSPROP,
        operations=RMSPROP,
        primitives=("rmsprop_update",),
        note="The first step is 1 / sqrt(1 - rho) times as long as the rate: nothing undoes the start of V from 0.",
    ),
    Equation(
        id="opt.adam_m",
        title="Adam's mean of the gradient",
        latex=r"M = \beta m + (1-\beta)g",
        symbols=(
            GRADIENT,
            Symbol(r"\beta", "how much of the mean stays: the first of the betas", domain="in [0, 1)"),
            Symbol("m", "mean of the gradient before the step; 0 at first"),
        ),
        sources=_ADAM_CODE,
        operations=ADAM,
        primitives=("adam_update",),
    ),
    Equation(
        id="opt.adam_v",
        title="Adam's mean of the squared gradient",
        latex=r"V = \beta v + (1-\beta)g^{2}",
        symbols=(
            GRADIENT,
            Symbol(r"\beta", "how much of the mean stays: the second of the betas", domain="in [0, 1)"),
            Symbol("v", "mean of the squared gradient before the step; 0 at first"),
        ),
        sources=_ADAM_CODE,
        operations=ADAM,
        primitives=("adam_update",),
    ),
    Equation(
        id="opt.adam_m_hat",
        title="Adam's mean of the gradient, without the bias of its start from 0",
        latex=r"\hat{m} = \frac{M}{1-\beta^{t}}",
        symbols=(
            Symbol("M", "mean after opt.adam_m"),
            Symbol(r"\beta", "the first of the betas", domain="in [0, 1)"),
            STEP,
        ),
        sources=_ADAM_CODE,
        operations=ADAM,
        primitives=("adam_update",),
    ),
    Equation(
        id="opt.adam_v_hat",
        title="Adam's mean of the squared gradient, without the bias of its start from 0",
        latex=r"\hat{v} = \frac{V}{1-\beta^{t}}",
        symbols=(
            Symbol("V", "mean after opt.adam_v"),
            Symbol(r"\beta", "the second of the betas", domain="in [0, 1)"),
            STEP,
        ),
        sources=_ADAM_CODE,
        operations=ADAM,
        primitives=("adam_update",),
    ),
    Equation(
        id="opt.adam",
        title="step of Adam",
        latex=r"T = \theta - \eta\frac{\hat{m}}{\sqrt{\hat{v}}+\epsilon}",
        symbols=(
            THETA,
            RATE,
            Symbol(r"\hat{m}", "opt.adam_m_hat"),
            Symbol(r"\hat{v}", "opt.adam_v_hat", domain=">= 0"),
            EPSILON,
        ),
        sources=_ADAM_CODE,
        operations=ADAM,
        primitives=("adam_update",),
        note="The first step moves every weight by about the learning rate, whatever the size of its gradient.",
    ),
    Equation(
        id="opt.adamw",
        title="step of AdamW: Adam with a weight decay that its averages do not see",
        latex=r"T = (1-\eta\lambda)\theta - \eta\frac{\hat{m}}{\sqrt{\hat{v}}+\epsilon}",
        symbols=(
            THETA,
            RATE,
            DECAY,
            Symbol(r"\hat{m}", "opt.adam_m_hat"),
            Symbol(r"\hat{v}", "opt.adam_v_hat", domain=">= 0"),
            EPSILON,
        ),
        sources=(paper("Loshchilov and Hutter, ICLR 2019"),),
        operations=("minseg.optim.AdamW",),
        primitives=("adam_update",),
    ),
    Equation(
        id="opt.clip_norm",
        title="gradients scaled together to a norm of at most c",
        latex=r"h_{i} = g_{i}\min(1, \frac{c}{\sqrt{\sum_{j=0}^{n-1}g_{j}^{2}}})",
        symbols=(
            Symbol("g", "gradients of all weights, in one row", "(n,)"),
            Symbol("c", "largest norm", domain="> 0"),
            Symbol("n", "number of weights"),
        ),
        sources=(paper("Pascanu, Mikolov and Bengio, ICML 2013"),),
        operations=("minseg.optim.clip_grad_norm_",),
        note="Where all gradients are 0 they stay so.",
    ),
    Equation(
        id="opt.clip_value",
        title="each gradient limited by itself",
        latex=r"h = \max(-c, \min(c, g))",
        symbols=(GRADIENT, Symbol("c", "largest magnitude", domain="> 0")),
        sources=(paper("the convention of PyTorch"),),
        operations=("minseg.optim.clip_grad_value_",),
    ),
    Equation(
        id="opt.schedule_step",
        title="learning rate that is multiplied by a factor now and then",
        latex=r"e = \eta\gamma^{\lfloor \frac{t}{s} \rfloor}",
        symbols=(
            FIRST_RATE,
            Symbol(r"\gamma", "factor; 0.1 is usual", domain=">= 0"),
            Symbol("t", "steps done", domain=">= 0"),
            Symbol("s", "steps between two changes", domain=">= 1"),
        ),
        sources=(paper("the convention of PyTorch's StepLR"),),
        operations=("minseg.optim.Step",),
    ),
    Equation(
        id="opt.schedule_warmup",
        title="learning rate that rises in a straight line at the start",
        latex=r"e = \eta(f + (1-f)\frac{t}{w})",
        symbols=(
            Symbol(r"\eta", "learning rate that the rise ends at"),
            Symbol("f", "share of it at the first step", domain=">= 0"),
            Symbol("t", "steps done", domain="0 to w"),
            Symbol("w", "steps that the rise takes", domain=">= 1"),
        ),
        sources=(paper("Goyal et al., arXiv 1706.02677, 2017"),),
        operations=("minseg.optim.WarmUp",),
        note="Another schedule follows, with its step 0 at t = w.",
    ),
    Equation(
        id="opt.schedule_poly",
        title="learning rate that falls to 0 as a power",
        latex=r"e = \eta(1-\frac{t}{S})^{p}",
        symbols=(FIRST_RATE, STEPS_DONE, STEPS, Symbol("p", "power; 0.9 is usual", domain="> 0")),
        sources=(paper("Chen et al., DeepLab, TPAMI 2018"),),
        operations=("minseg.optim.Polynomial",),
    ),
    Equation(
        id="opt.schedule_cosine",
        title="learning rate that falls to 0 as half a cosine wave",
        latex=r"e = \frac{\eta}{2}(1+\cos(\frac{\pi t}{S}))",
        symbols=(FIRST_RATE, STEPS_DONE, STEPS, Symbol(r"\pi", "half of the circle's circumference, for the radius 1")),
        sources=(paper("Loshchilov and Hutter, ICLR 2017"),),
        operations=("minseg.optim.Cosine",),
    ),
)
