"""The docstrings of public operations: their form, their equations, their examples, and the messages that they promise."""

import doctest
import importlib
import inspect
import pkgutil
import re

import numpy as np
import pytest

import minseg
from minseg import ops
from minseg.errors import MinsegError
from minseg.kernels.spec import PRIMITIVES

SECTIONS = ("Equation", "Parameters", "Returns", "Gradients", "Raises", "Warns", "Cost", "Source", "Examples")
MODULES = [importlib.import_module(f"minseg.ops.{found.name}") for found in pkgutil.iter_modules(ops.__path__)]
OPERATIONS = {name: getattr(ops, name) for name in ops.__all__}


def sections(function) -> list[tuple[str, str]]:
    """(title, text) of each section, the summary first; underlines as long as their titles."""
    doc = inspect.getdoc(function)
    parts = re.split(r"^(\S.*)\n(-+)$\n", doc, flags=re.MULTILINE)
    for title, underline in zip(parts[1::3], parts[2::3], strict=True):
        assert len(title) == len(underline), title
    return [("summary", parts[0].strip()), *zip(parts[1::3], map(str.rstrip, parts[3::3]), strict=True)]


def section(function, title: str) -> str:
    return dict(sections(function))[title]


@pytest.mark.parametrize("name", OPERATIONS)
def test_sections_come_in_the_fixed_order(name):
    titles = [title.split()[0] for title, _ in sections(OPERATIONS[name])[1:]]
    assert [t for t in SECTIONS if t in titles] == list(dict.fromkeys(titles))
    assert set(SECTIONS) - set(titles) <= {"Warns"}
    assert all(text for _, text in sections(OPERATIONS[name]))


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_summary_is_one_imperative_line(name):
    (_, summary), *_ = sections(OPERATIONS[name])
    assert "\n" not in summary
    assert len(summary) <= 79
    assert summary[0].isupper()
    assert summary.endswith(".")


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_equation_has_an_id_and_latex(name):
    equations = [(title, text) for title, text in sections(OPERATIONS[name]) if title.startswith("Equation")]
    for title, text in equations:
        assert re.fullmatch(r"Equation ``[a-z]+\.[a-z0-9_]+``", title)
        assert text.startswith(".. math::\n    ")
        latex = text.removeprefix(".. math::")
        assert "=" in latex
        assert latex.count("{") == latex.count("}")


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_parameter_is_described(name):
    listed = re.findall(r"^(\w.*?)(?: :.*)?$", section(OPERATIONS[name], "Parameters"), flags=re.MULTILINE)
    described = [parameter for line in listed for parameter in line.split(", ")]
    assert described == list(inspect.signature(OPERATIONS[name]).parameters)


@pytest.mark.parametrize("name", OPERATIONS)
def test_ids_that_are_mentioned_exist(name):
    """Ids in double backticks are equations of a primitive or of an operation's docstring; few have neither."""
    written = {t.split("``")[1] for f in OPERATIONS.values() for t, _ in sections(f) if t.startswith("Equation")}
    elsewhere = {"conv.size", "conv.transpose_size", "norm.batch_mean", "loss.bce", "loss.focal_grad"}
    elsewhere |= {"att.grad_s", "att.grad_k", "att.grad_v"}  # on the way of a primitive, and its further results
    known = written | {p.equation for p in PRIMITIVES.values()} | elsewhere
    families = {equation.split(".")[0] for equation in known}
    mentioned = re.findall(r"``([a-z]+\.[a-z0-9_]+)``", inspect.getdoc(OPERATIONS[name]))
    assert {m for m in mentioned if m.split(".")[0] in families} - known == set()


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_run(module, backend):
    with minseg.use_backend(backend):
        found = doctest.testmod(module)
    assert found.failed == 0
    public = [name for name, f in OPERATIONS.items() if f.__module__ == module.__name__]
    assert found.attempted >= 2 * len(public)


# ----------------------------------------------------------------------------------------- messages: each one is provoked


def documented_messages(name: str) -> set[tuple[str, str]]:
    """(class, message) of each message that the Raises section quotes."""
    found = set()
    for entry in re.split(r"\n(?=\S)", section(OPERATIONS[name], "Raises")):
        cls, _, body = entry.partition("\n")
        for quoted in re.findall(r"``(.*?)``", body, flags=re.DOTALL):
            if re.match(r"\w+: ", quoted):
                found.add((cls.strip(), " ".join(quoted.split())))
    return found


def zeros(*shape: int, dtype=np.float64):
    return minseg.tensor(np.zeros(shape, dtype))


def integers(*shape: int):
    return minseg.tensor(np.zeros(shape, np.int64))


def indices(last: int):
    return np.array([0, 1, 2, last]).reshape(1, 1, 2, 2)


def foreign_label():
    target = np.zeros((2, 4, 4), np.int64)
    target[0, 1, 2] = target[1, 3, 3] = 7
    return target


Z, P = zeros(2, 3, 4, 4), minseg.tensor(np.full((1, 3, 2, 2), 1 / 3))
T = np.zeros((2, 4, 4), np.int64)
VOID = np.full((2, 4, 4), 255)

PROVOKED = {
    "conv2d": [lambda: ops.conv2d(zeros(2, 3, 8, 8), zeros(6, 4, 3, 3))],
    "conv2d_relu": [],
    "conv_transpose2d": [
        lambda: ops.conv_transpose2d(zeros(2, 3, 4, 4), zeros(3, 2, 2, 2), stride=2, output_padding=2),
    ],
    "max_pool2d": [
        lambda: ops.max_pool2d(zeros(8, 8), 2),
        lambda: ops.max_pool2d(zeros(1, 1, 8, 8), 2, padding=2),
    ],
    "max_unpool2d": [
        lambda: ops.max_unpool2d(zeros(1, 1, 2, 2), indices(3), 2, output_size=(9, 4)),
        lambda: ops.max_unpool2d(zeros(1, 1, 2, 2), np.zeros((1, 1, 2, 3), int), 2),
        lambda: ops.max_unpool2d(zeros(1, 1, 2, 2), indices(16), 2),
    ],
    "avg_pool2d": [
        lambda: ops.avg_pool2d(zeros(1, 1, 2, 2), 3),
        lambda: ops.avg_pool2d(zeros(1, 1, 2, 2), 1, stride=0),
    ],
    "adaptive_avg_pool2d": [
        lambda: ops.adaptive_avg_pool2d(zeros(1, 1, 2, 2), (0, 2)),
        lambda: ops.adaptive_avg_pool2d(zeros(1, 1, 2, 2), 2.5),
    ],
    "global_avg_pool2d": [lambda: ops.global_avg_pool2d(zeros(3, 4))],
    "interpolate": [
        lambda: ops.interpolate(Z),
        lambda: ops.interpolate(Z, scale_factor=-1),
        lambda: ops.interpolate(Z, 2, mode="cubic"),
        lambda: ops.interpolate(zeros(1, 1, 2, 2), scale_factor=0.25),
    ],
    "linear": [
        lambda: ops.linear(zeros(2, 3), zeros(5, 4)),
        lambda: ops.linear(zeros(0, 4), zeros(5, 4)),
        lambda: ops.linear(zeros(2, 4, dtype=np.float32), zeros(5, 4)),
    ],
    "relu": [lambda: ops.relu(integers(3))],
    "sigmoid": [lambda: ops.sigmoid(integers(3))],
    "tanh": [lambda: ops.tanh(integers(3))],
    "softmax": [lambda: ops.softmax(zeros(2, 3), 4), lambda: ops.softmax(zeros(2, 3), None)],
    "log_softmax": [lambda: ops.log_softmax(zeros(2, 3), 1.0)],
    "batch_norm_training": [
        lambda: ops.batch_norm_training(zeros(1, 3, 1, 1)),
        lambda: ops.batch_norm_training(Z, eps=0),
    ],
    "batch_norm_eval": [
        lambda: ops.batch_norm_eval(Z, np.zeros(2), np.ones(3)),
        lambda: ops.batch_norm_eval(Z, np.zeros(3), np.array([1.0, -1.0, 1.0])),
    ],
    "batch_norm": [],
    "batch_norm_relu": [],
    "instance_norm": [
        lambda: ops.instance_norm(zeros(2, 3, 1, 1)),
        lambda: ops.instance_norm(Z, zeros(2)),
        lambda: ops.instance_norm(Z, eps=0),
    ],
    "layer_norm": [
        lambda: ops.layer_norm(zeros(2, 5, 3), 4),
        lambda: ops.layer_norm(zeros(2, 5, 1), 1),
        lambda: ops.layer_norm(zeros(2, 5, 3), 3, zeros(5)),
        lambda: ops.layer_norm(zeros(2, 5, 3), 3, eps=-1),
    ],
    "scaled_dot_product_attention": [
        lambda: ops.scaled_dot_product_attention(zeros(2, 5, 3), zeros(2, 6, 4), zeros(2, 6, 2)),
        lambda: ops.scaled_dot_product_attention(zeros(2, 4, 3), zeros(2, 6, 3), zeros(2, 5, 2)),
        lambda: ops.scaled_dot_product_attention(zeros(2, 4, 3), zeros(6, 3), zeros(6, 2)),
    ],
    "running_statistics": [
        lambda: ops.running_statistics(np.zeros(3), np.ones(3), np.zeros(3), np.ones(3), 4, momentum=1.5),
        lambda: ops.running_statistics(np.zeros(2), np.ones(3), np.zeros(3), np.ones(3), 4),
        lambda: ops.running_statistics(
            np.zeros(3), np.ones(3, np.float32), np.zeros(3, np.float32), np.ones(3, np.float32), 4
        ),
    ],
    "dropout": [
        lambda: ops.dropout(Z, 1.5),
        lambda: ops.dropout(Z),
    ],
    "dropout2d": [lambda: ops.dropout2d(zeros(3)), lambda: ops.dropout2d(Z, -0.5)],
    "cross_entropy": [
        lambda: ops.cross_entropy(Z, np.zeros((2, 3, 4, 4), int)),
        lambda: ops.cross_entropy(Z, T, np.ones(2)),
        lambda: ops.cross_entropy(Z, foreign_label()),
        lambda: ops.cross_entropy(zeros(2, 1, 4, 4), T),
        lambda: ops.cross_entropy(Z, T, [1.0, 1.0, -1.0]),
        lambda: ops.cross_entropy(Z, T, reduction="average"),
        lambda: ops.cross_entropy(Z, VOID),
        lambda: ops.cross_entropy(Z, T, [0.0, 1.0, 1.0]),
        lambda: ops.cross_entropy(Z, T.astype(float)),
    ],
    "binary_cross_entropy_with_logits": [
        lambda: ops.binary_cross_entropy_with_logits(zeros(2, 3), np.zeros(2)),
        lambda: ops.binary_cross_entropy_with_logits(zeros(1, 3), np.array([[1, 2, 255]])),
        lambda: ops.binary_cross_entropy_with_logits(zeros(3), np.array([0.0, -1.0, 1.0])),
        lambda: ops.binary_cross_entropy_with_logits(zeros(3), minseg.tensor(np.zeros(3), requires_grad=True)),
        lambda: ops.binary_cross_entropy_with_logits(zeros(3), np.zeros(3), "all"),
        lambda: ops.binary_cross_entropy_with_logits(zeros(1, 3), np.full((1, 3), 255)),
        lambda: ops.binary_cross_entropy_with_logits(zeros(3), np.zeros(3, np.float32)),
    ],
    "mse_loss": [
        lambda: ops.mse_loss(zeros(2, 3), np.zeros(3)),
        lambda: ops.mse_loss(zeros(3), np.zeros(3), None),
        lambda: ops.mse_loss(zeros(3), np.zeros(3, int)),
    ],
    "dice_loss": [
        lambda: ops.dice_loss(P, np.zeros((2, 2), int)),
        lambda: ops.dice_loss(minseg.tensor(np.linspace(-3.0, 2.0, 12).reshape(1, 3, 2, 2)), np.zeros((1, 2, 2), int)),
        lambda: ops.dice_loss(P, np.full((1, 2, 2), 3)),
        lambda: ops.dice_loss(P, np.zeros((1, 2, 2), int), smooth=0),
        lambda: ops.dice_loss(P, np.zeros((1, 2, 2), int), reduction="sum"),
        lambda: ops.dice_loss(P, np.full((1, 2, 2), 255)),
        lambda: ops.dice_loss(P, np.zeros((1, 2, 2), np.float32)),
    ],
    "focal_loss": [
        lambda: ops.focal_loss(Z, T, gamma=-1),
        lambda: ops.focal_loss(zeros(2, 1, 4, 4), T),
        lambda: ops.focal_loss(Z, T, alpha=np.ones(2)),
        lambda: ops.focal_loss(Z, VOID),
    ],
    "jaccard_loss": [
        lambda: ops.jaccard_loss(
            minseg.tensor(np.linspace(-3.0, 2.0, 12).reshape(1, 3, 2, 2)), np.zeros((1, 2, 2), int)
        ),
        lambda: ops.jaccard_loss(P, np.zeros((1, 2, 2), int), smooth=0),
        lambda: ops.jaccard_loss(P, np.full((1, 2, 2), 255)),
    ],
    "jaccard_loss_with_logits": [lambda: ops.jaccard_loss_with_logits(zeros(1, 3, 2, 2), np.zeros((2, 2), int))],
    "dice_loss_with_logits": [lambda: ops.dice_loss_with_logits(zeros(1, 3, 2, 2), np.zeros((2, 2), int))],
}


def provoked_messages(name: str) -> set[tuple[str, str]]:
    found = set()
    for provoke in PROVOKED[name]:
        with pytest.raises(MinsegError) as raised:
            provoke()
        found.add((type(raised.value).__name__, str(raised.value)))
    return found


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_message_that_is_promised_is_raised(name, backend):
    with minseg.use_backend(backend):
        assert provoked_messages(name) == documented_messages(name)
    assert name in ("batch_norm", "batch_norm_relu", "conv2d_relu") or PROVOKED[name]  # these refer to others


def test_every_message_is_one_line():
    for name in OPERATIONS:
        assert all("\n" not in message for _, message in provoked_messages(name))


TENSORS = {
    "conv2d: x": lambda x: ops.conv2d(x, zeros(1, 1, 1, 1)),
    "conv2d: w": lambda w: ops.conv2d(zeros(1, 1, 1, 1), w),
    "conv2d: b": lambda b: ops.conv2d(zeros(1, 1, 1, 1), zeros(1, 1, 1, 1), b),
    "conv2d_relu: x": lambda x: ops.conv2d_relu(x, zeros(1, 1, 1, 1)),
    "conv2d_relu: w": lambda w: ops.conv2d_relu(zeros(1, 1, 1, 1), w),
    "conv2d_relu: b": lambda b: ops.conv2d_relu(zeros(1, 1, 1, 1), zeros(1, 1, 1, 1), b),
    "conv_transpose2d: b": lambda b: ops.conv_transpose2d(zeros(1, 1, 1, 1), zeros(1, 1, 1, 1), b),
    "max_pool2d: x": lambda x: ops.max_pool2d(x, 1),
    "max_unpool2d: x": lambda x: ops.max_unpool2d(x, np.zeros((1, 1, 1, 1), int), 1),
    "avg_pool2d: x": lambda x: ops.avg_pool2d(x, 1),
    "adaptive_avg_pool2d: x": lambda x: ops.adaptive_avg_pool2d(x, 1),
    "global_avg_pool2d: x": ops.global_avg_pool2d,
    "interpolate: x": lambda x: ops.interpolate(x, 1),
    "linear: b": lambda b: ops.linear(zeros(1, 1), zeros(1, 1), b),
    "relu: x": ops.relu,
    "sigmoid: x": ops.sigmoid,
    "tanh: x": ops.tanh,
    "softmax: x": lambda x: ops.softmax(x, 1),
    "log_softmax: x": lambda x: ops.log_softmax(x, 1),
    "batch_norm: x": ops.batch_norm_training,
    "batch_norm: weight": lambda w: ops.batch_norm_training(zeros(2, 1, 1, 1), w),
    "instance_norm: x": ops.instance_norm,
    "instance_norm: bias": lambda b: ops.instance_norm(Z, None, b),
    "layer_norm: x": lambda x: ops.layer_norm(x, 1),
    "layer_norm: weight": lambda w: ops.layer_norm(Z, 4, w),
    "scaled_dot_product_attention: v": lambda v: ops.scaled_dot_product_attention(Z, Z, v),
    "dropout: x": ops.dropout,
    "dropout2d: x": ops.dropout2d,
    "cross_entropy: z": lambda z: ops.cross_entropy(z, T),
    "binary_cross_entropy_with_logits: z": lambda z: ops.binary_cross_entropy_with_logits(z, T),
    "mse_loss: a": lambda a: ops.mse_loss(a, T),
    "focal_loss: z": lambda z: ops.focal_loss(z, T),
    "jaccard_loss: p": lambda p: ops.jaccard_loss(p, T),
    "jaccard_loss_with_logits: z": lambda z: ops.jaccard_loss_with_logits(z, T),
    "dice_loss: p": lambda p: ops.dice_loss(p, T),
    "dice_loss_with_logits: z": lambda z: ops.dice_loss_with_logits(z, T),
}


@pytest.mark.parametrize("what", TENSORS)
def test_an_array_in_place_of_a_tensor(what):
    with pytest.raises(TypeError, match=f"^{what} must be a Tensor, got ndarray; make one with minseg.tensor"):
        TENSORS[what](np.zeros((1, 1, 1, 1)))


@pytest.mark.parametrize("name", ops.__all__)
def test_an_operation_carries_the_equation_that_its_docstring_shows_first(name):
    operation = getattr(ops, name)
    shown = re.findall(r"^ *Equation ``([^`]+)``", operation.__doc__, re.MULTILINE)
    assert operation.__equation__ == shown[0]
