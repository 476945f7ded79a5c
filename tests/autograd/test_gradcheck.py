"""gradcheck is itself checked: it passes right gradients, and finds every kind of wrong one that we could think of."""

import re

import numpy as np
import pytest

import minseg.autograd as m
from minseg.autograd import Function, gradcheck, tensor
from minseg.errors import ArgumentError, DtypeError, GradcheckError, ShapeError

rng = np.random.default_rng(5)
A, B, ROW = rng.standard_normal((3, 4)), rng.standard_normal((3, 4)), rng.standard_normal(4)


def function(forward, backward):
    """A Function of equation test.it from forward(*arrays) and backward(gy, *arrays)."""

    class It(Function):
        equation = "test.it"

        def forward(self, *arrays):
            self.arrays = arrays
            return forward(*arrays)

        def backward(self, gy):
            gradients = backward(gy, *self.arrays)
            return tuple(g if needed else None for g, needed in zip(gradients, self.needs, strict=True))

    return It.apply


def test_a_right_gradient_passes_and_is_reported():
    def product(a, b):
        return a * b

    report = gradcheck(product, [A, ROW], names=["a", "b"])
    assert report.checked == 16
    assert [r.name for r in report.inputs] == ["a", "b"]
    assert 0 < report.error < 1e-8
    assert report.equations == ("arith.mul",)
    lines = str(report).splitlines()
    assert lines[0] == "gradcheck product [arith.mul]: passed, 16 elements"
    assert lines[1].startswith("  random direction: relative error ")
    assert lines[2].startswith("  a (3, 4): 12 elements, worst relative error ")
    assert lines[3].startswith("  b (4,): 4 elements, worst relative error ")


def one_element(g, factor):
    g = g.copy()
    g[1, 2] *= factor
    return g


WRONG = {
    "sign": (lambda a, b: a * b, lambda gy, a, b: (-gy * b, gy * a)),
    "sign of the second": (lambda a, b: a * b, lambda gy, a, b: (gy * b, -gy * a)),
    "scale": (lambda a, b: a * b, lambda gy, a, b: (2 * gy * b, gy * a)),
    "scale by a little": (lambda a, b: a * b, lambda gy, a, b: (gy * b * (1 + 1e-5), gy * a)),
    "swapped inputs": (lambda a, b: a * b, lambda gy, a, b: (gy * a, gy * b)),
    "zero": (lambda a, b: a * b, lambda gy, a, b: (gy * 0, gy * a)),
    "none": (lambda a, b: a * b, lambda gy, a, b: (None, gy * a)),
    "one wrong element": (lambda a, b: a * b, lambda gy, a, b: (one_element(gy * b, 1.001), gy * a)),
    "one missing element": (lambda a, b: a * b, lambda gy, a, b: (gy * b, one_element(gy * a, 0))),
    "cotangent forgotten": (lambda a, b: a * b, lambda gy, a, b: (b, gy * a)),
    "transposed": (lambda a, b: a[:, :3] @ b, lambda gy, a, b: (np.pad(gy @ b.T, ((0, 0), (0, 1))), a[:, :3] @ gy)),
}  # fmt: skip


@pytest.mark.parametrize("every_element", [True, False])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_gradient_is_found(wrong, every_element):
    with pytest.raises(GradcheckError, match=r"test\.it"):
        gradcheck(function(*WRONG[wrong]), [A, B], every_element=every_element)


def test_a_missing_broadcast_sum_is_found():
    with pytest.raises(ShapeError, match=r"It\.backward returned \(3, 4\)"):
        gradcheck(function(lambda a, b: a + b, lambda gy, a, b: (gy, gy)), [A, ROW])
    for instead in (lambda gy, a, b: (gy, gy[0]), lambda gy, a, b: (gy, gy.mean(0)), lambda gy, a, b: (gy, gy.max(0))):
        with pytest.raises(GradcheckError, match="input 1"):
            gradcheck(function(lambda a, b: a + b, instead), [A, ROW])


@pytest.mark.parametrize("index", [(0, 0), (1, 2), (2, 3)])
@pytest.mark.parametrize("error", [1e-6, -1e-3, 1.0])
def test_the_message_names_the_wrong_element(index, error):
    """Even an error of a millionth of the largest gradient, in an element whose own gradient is a thousandth of it."""
    weights = B.copy()
    weights[index] = 1e-3

    def backward(gy, x):
        g = gy * weights
        g[index] += error
        return (g,)

    def weighted(x):
        return function(lambda x: x * weights, backward)(x)

    place = (
        rf"gradcheck of weighted: x, element \({index[0]}, {index[1]}\): backward gives .*, central differences .*, "
    )
    with pytest.raises(GradcheckError, match=place + r"relative error .* \(allowed 1e-06\) \[test\.it\]"):
        gradcheck(weighted, A, names=["x"])


def test_both_values_are_in_the_message():
    triple = function(lambda x: 2 * x, lambda gy, x: (3 * gy,))
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda x: (triple(x) * 1.5).sum() * 10, np.array([0.25]), rng=np.random.default_rng(3))
    cotangent = np.random.default_rng(3).standard_normal(())
    backward, numeric = re.search("backward gives (.*), central differences (.*), rel", str(caught.value)).groups()
    assert float(backward) == pytest.approx(45 * cotangent, rel=1e-9)
    assert float(numeric) == pytest.approx(30 * cotangent, rel=1e-8)
    assert "relative error 3.3e-01" in str(caught.value)
    assert "[test.it, arith.mul, arith.sum]" in str(caught.value)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_a_softmax_without_gradient_fails_though_ones_would_not_notice():
    empty = function(softmax, lambda gy, x: (0 * gy,))
    right = function(softmax, lambda gy, x: (softmax(x) * (gy - (gy * softmax(x)).sum(-1, keepdims=True)),))
    with pytest.raises(GradcheckError):
        gradcheck(empty, A, every_element=False)
    gradcheck(right, A)
    # A cotangent of ones sees no difference between the two: the true gradient of the sum of a softmax is 0.
    for softmax_of in (empty, right):
        x = tensor(A, requires_grad=True)
        softmax_of(x).backward(np.ones(A.shape))
        assert np.abs(x.grad).max() < 8 * 2.0**-53  # 1 minus the sum of four rounded probabilities


def test_rounding_in_elements_without_gradient_is_no_error():
    """The outputs do not depend on the second input, but carry its rounding: differences give 1e-11 where backward gives 0."""
    centred = function(
        lambda x, shift: (x + shift) - (x + shift).mean(),
        lambda gy, x, shift: (gy - gy.mean(), np.zeros(())),
    )
    report = gradcheck(centred, [A, np.array(0.7)])
    assert report.error < 1e-6


def test_tiny_elements_beside_large_ones_pass():
    scale = np.logspace(-12, 3, A.size).reshape(A.shape)
    assert gradcheck(lambda x: (x * scale).sum(), A).error < 1e-6


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e6])
def test_outputs_of_any_size(scale):
    gradcheck(lambda x: m.exp(x) * scale, A)
    wrong = function(lambda x: np.exp(x) * scale, lambda gy, x: (gy * np.exp(x) * scale * 1.0001,))
    with pytest.raises(GradcheckError):
        gradcheck(wrong, A)


def test_large_inputs_get_larger_steps():
    assert gradcheck(lambda x: x * x, A * 1e6).error < 1e-8


def test_several_outputs_are_checked_together_and_indices_ignored():
    report = gradcheck(lambda x: (m.max(x, 1).values, m.max(x, 1).indices, x * x), A)
    assert report.equations == ("arith.max", "arith.mul")
    twice = function(lambda x: x * 2, lambda gy, x: (gy * 2.1,))
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: (x * x, twice(x)), A)


def test_the_identity_has_no_graph_and_passes():
    assert gradcheck(lambda x: x, A).equations == ()


def test_inputs_without_elements_pass():
    assert gradcheck(lambda x, y: m.cat([x, y]), [A, np.ones((0, 4))]).checked == 12


# ---------------------------------------------------------------------------------------------------- what else it notices


def test_float32_is_refused():
    with pytest.raises(DtypeError, match="w must be float64, got float32"):
        gradcheck(m.mul, [A, A.astype(np.float32)], names=["x", "w"])


def test_something_must_need_a_gradient():
    with pytest.raises(ArgumentError, match="no input needs a gradient"):
        gradcheck(m.neg, [np.ones(3, int)])
    with pytest.raises(ArgumentError, match="1 names for 2 inputs"):
        gradcheck(m.mul, [A, B], names=["x"])
    with pytest.raises(GradcheckError, match="no output depends on an input that needs a gradient"):
        gradcheck(lambda x: x.detach() * 2, A)


def test_which_inputs_are_checked():
    index = np.array([0, 2, 2])
    report = gradcheck(lambda x, w, i: (x * w)[i], [tensor(A), tensor(B, requires_grad=True), index])
    assert [(r.name, r.checked) for r in report.inputs] == [("input 1", 12)]


def test_random_functions_are_refused():
    noise = np.random.default_rng(0)
    with pytest.raises(GradcheckError, match="two calls with the same inputs differ"):
        gradcheck(lambda x: x * noise.standard_normal(4), A)


def test_nan_is_not_passed_on():
    with pytest.raises(GradcheckError, match="an output is NaN or infinite"):
        gradcheck(lambda x: x * np.array([1, np.nan, 1, 1]), A)
    bad = function(lambda x: x * 2, lambda gy, x: (gy * np.nan,))
    with pytest.raises(GradcheckError, match="the gradient of input 0 is NaN or infinite"):
        gradcheck(bad, A)


def test_changed_inputs_are_found():
    def forward(x):
        y = x * 2
        x += 1
        return y

    with pytest.raises(GradcheckError, match="it changed x"):
        gradcheck(function(forward, lambda gy, x: (gy * 2,)), A, names=["x"])


def test_a_changed_cotangent_is_found():
    def backward(gy, x):
        gy *= 2
        return (gy,)

    with pytest.raises(GradcheckError, match="backward changed the cotangent"):
        gradcheck(function(lambda x: x * 2, backward), A)


def test_a_function_that_trusts_in_contiguous_inputs_is_found():
    def double(x):
        return np.lib.stride_tricks.as_strided(x, x.shape, (8 * x.shape[1], 8)) * 2

    with pytest.raises(GradcheckError, match="differs for inputs that are not contiguous"):
        gradcheck(function(lambda x: double(x) ** 2 / 4, lambda gy, x: (gy * double(x),)), A)


def test_a_gradient_that_is_wrong_only_when_it_alone_is_needed_is_found():
    class Forgetful(Function):
        equation = "test.forgetful"

        def forward(self, a, b):
            self.save(
                a=a if self.needs[1] else 0 * a, b=b if self.needs[1] else 0 * b
            )  # b is saved for the wrong input
            return a * b

        def backward(self, gy):
            return gy * self.saved.b, gy * self.saved.a

    with pytest.raises(
        GradcheckError, match=r"the gradient of input 0 differs when only it is needed \[test\.forgetful\]"
    ):
        gradcheck(Forgetful.apply, [A, B])


def test_one_direction_needs_few_calls():
    calls = []

    def square(x):
        calls.append(1)
        return x * x

    report = gradcheck(square, rng.standard_normal((50, 50)), every_element=False)
    assert len(calls) < 10
    assert report.checked == 0
    assert report.error < 1e-8


def test_the_same_generator_gives_the_same_report():
    one, other = (gradcheck(m.mul, [A, B], rng=np.random.default_rng(9)) for _ in range(2))
    assert one == other


def test_the_tensors_that_it_is_given_are_left_alone():
    x = tensor(A.copy(), requires_grad=True)
    gradcheck(m.exp, x)
    assert x.grad is None
    assert (x.data == A).all()
