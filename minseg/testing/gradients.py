"""The gradient check of every differentiable operation: small float64 cases, and the table that ``minseg gradcheck`` prints.

Cases are awkward on purpose (sides that differ, stride, dilation, padding and groups at once), and stay clear of kinks by
construction: where an operation compares values, these are spaced further apart than the differences reach.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import partial

import numpy as np

import minseg
from minseg import autograd, ops
from minseg.autograd import Function, Tensor, gradcheck, topological
from minseg.backend import quick_backends
from minseg.errors import ArgumentError, GradcheckError, nearest_names


@dataclass(frozen=True)
class GradientCase:
    """``function(*inputs)`` is checked for every one of its named inputs."""

    operation: str
    name: str
    function: Callable
    inputs: dict[str, np.ndarray]

    def check(self) -> autograd.GradcheckReport:
        """Check on the current backend; GradcheckError if a gradient is wrong."""
        return gradcheck(self.function, list(self.inputs.values()), names=list(self.inputs))

    def functions(self) -> set[tuple[type[Function], int]]:
        """The Functions that the case runs through, with the positions of the inputs whose gradients it checks."""
        outputs = self.function(*(Tensor(x.copy(), requires_grad=True) for x in self.inputs.values()))
        outputs = [outputs] if isinstance(outputs, Tensor) else outputs
        nodes = {node for y in outputs if y.node is not None for node in topological(y.node)}
        return {(type(node), position) for node in nodes for position, needed in enumerate(node.needs) if needed}


@dataclass(frozen=True)
class GradientResult:
    """What a check found: the worst relative error where it passed, the message where it did not."""

    operation: str
    case: str
    backend: str
    passed: bool
    equations: tuple[str, ...] = ()
    error: float | None = None
    checked: int = 0
    """Elements compared one by one."""
    message: str = ""


_CASES: dict[str, Callable[[np.random.Generator], Iterator[tuple]]] = {}

NO_GRADIENT = {
    "argmax": "an index",
    "argmin": "an index",
    "eq": "a truth value",
    "ge": "a truth value",
    "gt": "a truth value",
    "le": "a truth value",
    "lt": "a truth value",
    "ne": "a truth value",
    "running_statistics": "statistics that are constants",
}
"""Public operations without a gradient, and what they return instead."""


def cases(pattern: str | None = None) -> list[GradientCase]:
    """The cases of the operations whose name matches: ``conv2d``, ``conv*``, or all.

    >>> [case.name for case in cases("relu")]
    ['away from the kink']
    """
    names = [name for name in sorted(_CASES) if pattern is None or fnmatchcase(name, pattern)]
    if not names:
        raise ArgumentError(f"no operation matches {pattern!r}; {nearest_names(pattern, _CASES)}")
    return [GradientCase(name, *case) for name in names for case in _CASES[name](np.random.default_rng(7))]


def function_classes() -> set[type[Function]]:
    """Every Function of minseg that computes an equation (the base class of several computes none)."""
    found, stack = set(), [Function]
    while stack:
        for cls in stack.pop().__subclasses__():
            stack.append(cls)
            if cls.__module__.startswith("minseg.") and cls.equation:
                found.add(cls)
    return found


def check_gradients(
    pattern: str | None = None, backend: str | None = None, progress: bool = False
) -> list[GradientResult]:
    """Check the gradients of every operation that matches, on one backend or (None) on every one that works here at speed."""
    from tqdm import tqdm

    wanted = [(name, case) for name in ([backend] if backend else quick_backends()) for case in cases(pattern)]
    # on a terminal only: in a file a bar is noise
    return [
        _result(name, case) for name, case in tqdm(wanted, "gradcheck", leave=False, disable=None if progress else True)
    ]


def _result(backend: str, case: GradientCase) -> GradientResult:
    with minseg.use_backend(backend):
        try:
            report = case.check()
        except GradcheckError as error:
            return GradientResult(case.operation, case.name, backend, False, message=str(error))
    return GradientResult(
        case.operation, case.name, backend, True, report.equations, float(report.error), report.checked
    )


def table(results: Sequence[GradientResult]) -> str:
    """The results as lines to read: one for each case, the failures' messages below."""
    width = max(len(r.operation) for r in results)
    wide = max(len(r.case) for r in results)
    lines = [f"{'operation':{width}}  {'case':{wide}}  backend  elements  worst relative error"]
    for r in results:
        found = f"{r.error:.1e}" if r.passed else "WRONG"
        lines.append(f"{r.operation:{width}}  {r.case:{wide}}  {r.backend:7}  {r.checked:8}  {found}")
    failures = [r for r in results if not r.passed]
    lines += [f"{r.backend}: {r.message}" for r in failures]
    lines.append(f"{len(results) - len(failures)} of {len(results)} gradient checks passed")
    return "\n".join(lines)


def main(args) -> int:
    """``minseg gradcheck [OP]``: print the table; 1 if a gradient is wrong."""
    results = check_gradients(args.operation, args.backend, progress=not args.json)
    print(json.dumps([asdict(r) for r in results], indent=2) if args.json else table(results))
    return 0 if all(r.passed for r in results) else 1


# ------------------------------------------------------------------------------------------------------------ the cases


def cases_of(operation: str) -> Callable:
    """Register the generator below: it yields (name, function, inputs by name) for this operation."""

    def register(generator: Callable) -> Callable:
        _CASES[operation] = generator
        return generator

    return register


def spaced(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Values in random order, 0.1 apart and at least 0.025 from 0: no ties, no kinks."""
    count = int(np.prod(shape))
    return (0.1 * (rng.permutation(count) - count // 2 + 0.25)).reshape(shape)


def positive(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(0.5, 2.0, shape)


def _middle(x: np.ndarray) -> np.ndarray:
    """For each channel the number halfway between its two middle values: a place for the kink of ReLU that meets none of them."""
    ordered = np.sort(x.swapaxes(0, 1).reshape(x.shape[1], -1))
    half = ordered.shape[1] // 2
    return ordered[:, half - 1 : half + 1].mean(axis=1)


# conv.py


@cases_of("conv2d")
def _conv2d(rng):
    window = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
    x, w, b = rng.standard_normal((2, 4, 5, 6)), rng.standard_normal((6, 2, 3, 2)), rng.standard_normal(6)
    yield "stride, padding, dilation, groups", partial(ops.conv2d, **window), {"x": x, "w": w, "b": b}
    yield "without a bias", partial(ops.conv2d, padding=1), {"x": x[:1, :2], "w": w[:1]}
    yield "one pixel", ops.conv2d, {"x": x[:1, :2, :1, :1], "w": w[:2, :, :1, :1], "b": b[:2]}


@cases_of("conv2d_relu")
def _conv2d_relu(rng):
    """With a bias for each channel that puts no output near the kink: halfway between the two middle ones."""
    window = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
    x, w = rng.standard_normal((2, 4, 5, 6)), rng.standard_normal((6, 2, 3, 2))
    with minseg.use_backend("numpy"):
        y = ops.conv2d(Tensor(x), Tensor(w), **window).numpy()
    yield "stride, padding, dilation, groups", partial(ops.conv2d_relu, **window), {"x": x, "w": w, "b": -_middle(y)}
    x, w = spaced(rng, 2, 1, 3, 4), positive(rng, 1, 1, 1, 1)
    yield "without a bias", ops.conv2d_relu, {"x": x, "w": w}


@cases_of("conv_transpose2d")
def _conv_transpose2d(rng):
    window = {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "dilation": (2, 1), "groups": 2}
    x, w, b = rng.standard_normal((2, 4, 3, 2)), rng.standard_normal((4, 3, 2, 3)), rng.standard_normal(6)
    yield "stride, paddings, dilation, groups", partial(ops.conv_transpose2d, **window), {"x": x, "w": w, "b": b}
    yield "without a bias", partial(ops.conv_transpose2d, stride=2), {"x": x[:1, :2], "w": w[:2]}


# pool.py and resample.py


@cases_of("max_pool2d")
def _max_pool2d(rng):
    x = spaced(rng, 2, 2, 5, 6)
    yield (
        "overlapping windows and padding",
        partial(ops.max_pool2d, kernel_size=(3, 2), stride=(2, 1), padding=1),
        {"x": x},
    )
    yield "a remainder", partial(ops.max_pool2d, kernel_size=2), {"x": x[:1]}


@cases_of("max_unpool2d")
def _max_unpool2d(rng):
    with minseg.use_backend("numpy"):  # the indices only; the case itself runs where it is asked to
        pooled, indices = ops.max_pool2d(Tensor(spaced(rng, 2, 2, 5, 6)), 2, return_indices=True)
    unpool = partial(ops.max_unpool2d, indices=indices.data, kernel_size=2, output_size=(5, 6))
    yield "to an odd size", unpool, {"x": pooled.data}
    twice = np.array([0, 3, 3, 3]).reshape(1, 1, 2, 2)
    yield "two values for one pixel", lambda x: ops.max_unpool2d(x, twice, 2), {"x": rng.standard_normal((1, 1, 2, 2))}


@cases_of("avg_pool2d")
def _avg_pool2d(rng):
    x = rng.standard_normal((2, 2, 5, 6))
    window = {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1}
    yield "overlapping windows and padding", partial(ops.avg_pool2d, **window), {"x": x}
    yield "padding not counted", partial(ops.avg_pool2d, **window, count_include_pad=False), {"x": x[:1]}


@cases_of("adaptive_avg_pool2d")
def _adaptive_avg_pool2d(rng):
    x = rng.standard_normal((2, 2, 5, 7))
    yield "windows that share rows", partial(ops.adaptive_avg_pool2d, output_size=(3, 2)), {"x": x}
    yield "larger than x", partial(ops.adaptive_avg_pool2d, output_size=(6, 7)), {"x": x[:1]}


@cases_of("global_avg_pool2d")
def _global_avg_pool2d(rng):
    yield "one value for each channel", ops.global_avg_pool2d, {"x": rng.standard_normal((2, 3, 3, 4))}


@cases_of("interpolate")
def _interpolate(rng):
    x = rng.standard_normal((2, 2, 3, 5))
    for mode in ("nearest", "bilinear"):
        yield f"{mode}, larger", partial(ops.interpolate, scale_factor=(2, 1.5), mode=mode), {"x": x}
        yield f"{mode}, smaller and larger", partial(ops.interpolate, size=(2, 7), mode=mode), {"x": x[:1]}


# linear.py, activation.py, softmax.py, norm.py, dropout.py


@cases_of("linear")
def _linear(rng):
    w, b = rng.standard_normal((4, 3)), rng.standard_normal(4)
    yield "samples with two axes", ops.linear, {"x": rng.standard_normal((2, 5, 3)), "w": w, "b": b}
    yield "one sample, no bias", ops.linear, {"x": rng.standard_normal(3), "w": w}


@cases_of("relu")
def _relu(rng):
    yield "away from the kink", ops.relu, {"x": spaced(rng, 3, 5)}


@cases_of("sigmoid")
def _sigmoid(rng):
    yield "both signs", ops.sigmoid, {"x": 2 * rng.standard_normal((3, 5))}


@cases_of("tanh")
def _tanh(rng):
    yield "both signs", ops.tanh, {"x": rng.standard_normal((3, 5))}


@cases_of("softmax")
def _softmax(rng):
    x = rng.standard_normal((2, 3, 2, 3))
    yield "over channels", partial(ops.softmax, dim=1), {"x": x}
    yield "over the last axis", partial(ops.softmax, dim=-1), {"x": x[0]}


@cases_of("log_softmax")
def _log_softmax(rng):
    x = rng.standard_normal((2, 3, 2, 3))
    yield "over channels", partial(ops.log_softmax, dim=1), {"x": x}
    yield "over the last axis", partial(ops.log_softmax, dim=-1), {"x": x[0]}


def _normalised(rng) -> dict[str, np.ndarray]:
    return {"x": rng.standard_normal((2, 3, 2, 4)), "weight": rng.standard_normal(3), "bias": rng.standard_normal(3)}


@cases_of("batch_norm_training")
def _batch_norm_training(rng):
    inputs = _normalised(rng)
    yield "weight and bias", partial(ops.batch_norm_training, eps=1e-3), inputs
    yield "x alone", ops.batch_norm_training, {"x": inputs["x"]}


@cases_of("batch_norm_eval")
def _batch_norm_eval(rng):
    inputs, mean, var = _normalised(rng), rng.standard_normal(3), positive(rng, 3)
    yield "weight and bias", lambda x, weight, bias: ops.batch_norm_eval(x, mean, var, weight, bias), inputs
    yield "x alone", lambda x: ops.batch_norm_eval(x, mean, var), {"x": inputs["x"]}


@cases_of("batch_norm")
def _batch_norm(rng):
    inputs, mean, var = _normalised(rng), rng.standard_normal(3), positive(rng, 3)
    for training in (True, False):
        name = "in training" if training else "in evaluation"
        yield name, lambda x, w, b, t=training: ops.batch_norm(x, mean, var, w, b, training=t)[0], inputs


@cases_of("batch_norm_relu")
def _batch_norm_relu(rng):
    x, weight, mean, var = spaced(rng, 2, 3, 2, 4), positive(rng, 3), rng.standard_normal(3), positive(rng, 3)
    with minseg.use_backend("numpy"):
        in_training, in_evaluation = (
            ops.batch_norm(Tensor(x), mean, var, Tensor(weight), training=training)[0].numpy()
            for training in (True, False)
        )
    for name, training, y in (("in training", True, in_training), ("in evaluation", False, in_evaluation)):
        yield (
            name,
            lambda x, w, b, t=training: ops.batch_norm_relu(x, mean, var, w, b, training=t)[0],
            {"x": x, "weight": weight, "bias": -_middle(y)},
        )
    between = _middle(x)
    yield "x alone", lambda x: ops.batch_norm_relu(x, between, var)[0], {"x": x}


@cases_of("instance_norm")
def _instance_norm(rng):
    inputs = _normalised(rng)
    yield "weight and bias", partial(ops.instance_norm, eps=1e-3), inputs
    yield "x alone", ops.instance_norm, {"x": inputs["x"][:1]}


@cases_of("layer_norm")
def _layer_norm(rng):
    x, weight, bias = rng.standard_normal((2, 3, 4)), rng.standard_normal(4), rng.standard_normal(4)
    inputs = {"x": x, "weight": weight, "bias": bias}
    yield "weight and bias", lambda x, weight, bias: ops.layer_norm(x, 4, weight, bias, 1e-3), inputs
    yield "two axes, x alone", lambda x: ops.layer_norm(x, (3, 4)), {"x": x}


@cases_of("scaled_dot_product_attention")
def _scaled_dot_product_attention(rng):
    q, k, v = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3, 3, 5)), rng.standard_normal((2, 3, 3, 2))

    def weights(q, k):
        return ops.scaled_dot_product_attention(q, k, k, need_weights=True)[1]

    yield "samples and heads", ops.scaled_dot_product_attention, {"q": q, "k": k, "v": v}
    yield "the weights", weights, {"q": q[0, 0], "k": k[0, 0]}


@cases_of("dropout")
def _dropout(rng):
    def fn(x):
        return ops.dropout(x, 0.4, rng=np.random.default_rng(1))

    yield "four in ten dropped", fn, {"x": rng.standard_normal((4, 5))}


@cases_of("dropout2d")
def _dropout2d(rng):
    def fn(x):
        return ops.dropout2d(x, 0.4, rng=np.random.default_rng(1))

    yield "four in ten channels dropped", fn, {"x": rng.standard_normal((2, 5, 2, 3))}


# loss.py


def _labels(rng, classes: int, *shape: int) -> np.ndarray:
    """Labels in which every class occurs, and one pixel in six is ignored."""
    labels = rng.permutation(np.arange(np.prod(shape)) % classes)
    labels[::6] = 255
    return labels.reshape(shape)


@cases_of("cross_entropy")
def _cross_entropy(rng):
    z, target, weight = rng.standard_normal((2, 3, 3, 4)), _labels(rng, 3, 2, 3, 4), positive(rng, 3)
    yield "ignored pixels", lambda z: ops.cross_entropy(z, target), {"z": z}
    yield "class weights", lambda z: ops.cross_entropy(z, target, weight), {"z": z}
    yield "not reduced", lambda z: ops.cross_entropy(z, target, weight, reduction="none"), {"z": z}
    yield (
        "summed, without pixels",
        lambda z: ops.cross_entropy(z, np.array([2, 0]), reduction="sum"),
        {"z": z[:, :, 0, 0]},
    )


@cases_of("binary_cross_entropy_with_logits")
def _binary_cross_entropy_with_logits(rng):
    z, soft, labels = spaced(rng, 2, 1, 3, 4), rng.uniform(0, 1, (2, 1, 3, 4)), _labels(rng, 2, 2, 3, 4)
    yield "soft targets", lambda z: ops.binary_cross_entropy_with_logits(z, soft), {"z": z}
    yield "ignored pixels", lambda z: ops.binary_cross_entropy_with_logits(z, labels), {"z": z}
    yield "not reduced", lambda z: ops.binary_cross_entropy_with_logits(z, soft, "none"), {"z": z}


@cases_of("mse_loss")
def _mse_loss(rng):
    a, target = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4))
    yield "both sides", ops.mse_loss, {"a": a, "target": target}
    yield "not reduced", lambda a: ops.mse_loss(a, target, "none"), {"a": a}


@cases_of("dice_loss")
def _dice_loss(rng):
    p, target, mask = rng.uniform(0.1, 0.9, (2, 3, 3, 4)), _labels(rng, 3, 2, 3, 4), _labels(rng, 2, 2, 3, 4)
    yield "ignored pixels", lambda p: ops.dice_loss(p, target), {"p": p}
    yield (
        "no background, each class",
        lambda p: ops.dice_loss(p, target, smooth=0.5, include_background=False, reduction="none"),
        {"p": p},
    )
    yield "binary", lambda p: ops.dice_loss(p, mask), {"p": p[:, :1]}


@cases_of("dice_loss_with_logits")
def _dice_loss_with_logits(rng):
    z, target, mask = rng.standard_normal((2, 3, 3, 4)), _labels(rng, 3, 2, 3, 4), _labels(rng, 2, 2, 3, 4)
    yield "softmax", lambda z: ops.dice_loss_with_logits(z, target), {"z": z}
    yield "sigmoid", lambda z: ops.dice_loss_with_logits(z, mask), {"z": z[:, :1]}


@cases_of("focal_loss")
def _focal_loss(rng):
    z, target = 2 * rng.standard_normal((2, 3, 3, 4)), _labels(rng, 3, 2, 3, 4)
    yield "ignored pixels", lambda z: ops.focal_loss(z, target), {"z": z}
    yield "alpha, a root", lambda z: ops.focal_loss(z, target, 0.5, [0.5, 2.0, 1.0]), {"z": z}
    yield "each pixel", lambda z: ops.focal_loss(z, target, 1.0, reduction="none"), {"z": z}


@cases_of("jaccard_loss")
def _jaccard_loss(rng):
    p, target, mask = rng.uniform(0.1, 0.9, (2, 3, 3, 4)), _labels(rng, 3, 2, 3, 4), _labels(rng, 2, 2, 3, 4)
    yield "ignored pixels", lambda p: ops.jaccard_loss(p, target), {"p": p}
    yield (
        "no background, each class",
        lambda p: ops.jaccard_loss(p, target, smooth=0.5, include_background=False, reduction="none"),
        {"p": p},
    )
    yield "binary", lambda p: ops.jaccard_loss(p, mask), {"p": p[:, :1]}


@cases_of("jaccard_loss_with_logits")
def _jaccard_loss_with_logits(rng):
    z, target, mask = rng.standard_normal((2, 3, 3, 4)), _labels(rng, 3, 2, 3, 4), _labels(rng, 2, 2, 3, 4)
    yield "softmax", lambda z: ops.jaccard_loss_with_logits(z, target), {"z": z}
    yield "sigmoid", lambda z: ops.jaccard_loss_with_logits(z, mask), {"z": z[:, :1]}


# The arithmetic of Tensor. Binary operations are checked with broadcasting on either side.


def _binary(operation: str, make: Callable = spaced) -> None:
    @cases_of(operation)
    def generate(rng):
        both = make(rng, 30)  # one set of values, so that a and b have no ties
        a, b = both[:6].reshape(2, 1, 3), both[6:18].reshape(4, 3)
        fn = getattr(autograd, operation)
        yield "broadcast", fn, {"a": a, "b": b}
        yield "equal shapes", fn, {"a": both[18:24].reshape(2, 3), "b": both[24:].reshape(2, 3)}


for _name in ("add", "sub", "mul", "maximum", "minimum"):
    _binary(_name)
for _name in ("div", "pow"):
    _binary(_name, positive)


def _unary(operation: str, make: Callable, **variants: Callable) -> None:
    """The operation on an input of shape (2, 3, 4): each variant by its name, with underscores for spaces."""

    @cases_of(operation)
    def generate(rng):
        x = make(rng, 2, 3, 4)
        for name, fn in variants.items() or [("every_element", getattr(autograd, operation))]:
            yield name.replace("_", " "), fn, {"x": x}


_unary("neg", spaced)
_unary("exp", spaced)
_unary("log", positive)
_unary("sqrt", positive)
_unary("abs", spaced)
_unary("clip", spaced, both_sides=lambda x: autograd.clip(x, -0.52, 0.71), one_side=lambda x: x.clip(max=0.31))
_unary("sum", spaced, all=autograd.sum, two_axes=lambda x: x.sum((0, 2), keepdim=True), one_axis=lambda x: x.sum(1))
_unary(
    "mean", spaced, all=autograd.mean, two_axes=lambda x: x.mean((0, -1)), one_axis=lambda x: x.mean(1, keepdim=True)
)
_unary("var", spaced, all=autograd.var, biased=lambda x: x.var((0, 2), correction=0), one_axis=lambda x: x.var(1))
_unary("max", spaced, all=autograd.max, one_axis=lambda x: x.max(1), kept_axis=lambda x: x.max(-1, keepdim=True))
_unary("min", spaced, all=autograd.min, one_axis=lambda x: x.min(1), kept_axis=lambda x: x.min(-1, keepdim=True))
_unary("reshape", spaced, open_size=lambda x: x.reshape(4, -1))
_unary("flatten", spaced, last_two_axes=lambda x: autograd.flatten(x, 1))
_unary("squeeze", spaced, one_axis=lambda x: autograd.squeeze(x[:, :1], 1))
_unary("unsqueeze", spaced, in_front=lambda x: autograd.unsqueeze(x, 0))
_unary("permute", spaced, cyclic=lambda x: x.permute(2, 0, 1))
_unary("transpose", spaced, first_and_last=lambda x: x.transpose(0, 2))
_unary("broadcast_to", spaced, new_and_old_axis=lambda x: autograd.broadcast_to(x[:, :1], (3, 2, 5, 4)))
_unary("expand", spaced, one_axis=lambda x: x[:, :1].expand(-1, 5, -1))
_unary("split", spaced, unequal_parts=lambda x: x.split((1, 2), 1))
_unary("chunk", spaced, a_smaller_last_part=lambda x: x.chunk(2, 1))
_unary("pad", spaced, four_sides=lambda x: autograd.pad(x, (1, 2, 0, 1), value=3.0))
_unary(
    "index",
    spaced,
    slices=lambda x: x[1, ::2, None, -3:],
    repeated=lambda x: x[:, [0, 2, 2]],
    mask=lambda x: x[np.arange(24).reshape(2, 3, 4) % 5 == 0],
)


@cases_of("where")
def _where(rng):
    condition = rng.permutation(np.arange(8) % 2 == 0).reshape(2, 4)
    yield "broadcast", lambda a, b: autograd.where(condition, a, b), {"a": spaced(rng, 2, 4), "b": spaced(rng, 4)}


@cases_of("matmul")
def _matmul(rng):
    a, b = rng.standard_normal((2, 3, 4)), rng.standard_normal((4, 5))
    yield "a batch and a matrix", autograd.matmul, {"a": a, "b": b}
    yield "matrix and vector", autograd.matmul, {"a": a[0], "b": b[:, 0]}
    yield "vector and batch", autograd.matmul, {"a": rng.standard_normal(3), "b": a}
    yield "two vectors", autograd.matmul, {"a": a[0, 0], "b": b[:, 1]}


@cases_of("concatenate")
def _concatenate(rng):
    parts = {"a": spaced(rng, 2, 1, 3), "b": spaced(rng, 2, 2, 3), "c": spaced(rng, 2, 3, 3)}
    yield "three along an axis", lambda *parts: autograd.concatenate(parts, 1), parts


@cases_of("stack")
def _stack(rng):
    yield "two, last axis", lambda *parts: autograd.stack(parts, -1), {"a": spaced(rng, 2, 3), "b": spaced(rng, 2, 3)}
