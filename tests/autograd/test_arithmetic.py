"""Arithmetic on Tensors: gradients against central differences, all against PyTorch, and the rules for dtypes and shapes."""

import numpy as np
import pytest

import minseg
from minseg import autograd as m
from minseg.autograd import Tensor, gradcheck, tensor
from minseg.errors import ArgumentError, DtypeError, GraphError, ShapeError, Unsupported


def spaced(*shapes, seed=0):
    """Float64 arrays whose elements, over all arrays, are 4/n apart and 1.2/n from every multiple of 1/8: no kinks near."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    n = -(-sum(sizes) // 32) * 32
    values = (np.random.default_rng(seed).permutation(n)[: sum(sizes)] + 0.3) / n * 4 - 2
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def positive(*shapes):
    return [np.abs(x) + 0.5 for x in spaced(*shapes)]


IMAGE, CHANNEL, ROW = (2, 3, 4, 5), (3, 1, 1), (5,)
ROWS = np.array([2, 0, 2, 1])
COLUMNS = np.array([[0, 1], [3, 3]])
MASK = np.array([[True, False, True, False], [False, False, True, True], [True, True, False, True]])


# name: (function of a module and tensors, the arrays). The module is minseg.autograd or torch: they are called alike.
CASES = {
    "add": (lambda m, a, b: m.add(a, b), spaced((3, 4), (3, 4))),
    "add, channels": (lambda m, a, b: a + b, spaced(IMAGE, CHANNEL)),
    "add, outer": (lambda m, a, b: a + b, spaced((4, 1), (1, 5))),
    "add, row": (lambda m, a, b: a + b, spaced(ROW, (2, 1, 5))),
    "add, no axes": (lambda m, a, b: a + b, spaced((), (2, 3))),
    "add, number": (lambda m, a: 2 + a + 1.5, spaced((2, 3))),
    "add, itself": (lambda m, a: a + a, spaced((2, 3))),
    "sub": (lambda m, a, b: m.sub(a, b), spaced((3, 1), (2, 1, 4))),
    "sub, numbers": (lambda m, a: 2 - (a - 1), spaced((2, 3))),
    "mul": (lambda m, a, b: m.mul(a, b), spaced((3, 4), (3, 4))),
    "mul, channels": (lambda m, a, b: b * a, spaced(IMAGE, CHANNEL)),
    "mul, both broadcast": (lambda m, a, b: a * b, spaced((2, 1, 3), (4, 1))),
    "mul, itself": (lambda m, a: a * a * 3, spaced((2, 3))),
    "div": (lambda m, a, b: m.div(a, b), positive((3, 4), (3, 4))),
    "div, broadcast": (lambda m, a, b: a / b, positive((3, 1), (2, 1, 4))),
    "div, numbers": (lambda m, a: 2 / a / 4, positive((2, 3))),
    "neg": (lambda m, a: -m.neg(-a), spaced((2, 3))),
    "pow, square": (lambda m, a: a**2, spaced((2, 3))),
    "pow, cube": (lambda m, a: m.pow(a, 3), spaced((2, 3))),
    "pow, -1.5": (lambda m, a: a**-1.5, positive((2, 3))),
    "pow, 0": (lambda m, a: a**0 + a, spaced((2, 3))),
    "pow, of a number": (lambda m, a: 2.5**a, spaced((2, 3))),
    "pow, tensors": (lambda m, a, b: a**b, positive((2, 1, 3), (4, 1))),
    "maximum": (lambda m, a, b: m.maximum(a, b), spaced((3, 4), (3, 4))),
    "maximum, broadcast": (lambda m, a, b: m.maximum(a, b), spaced((3, 1), (2, 1, 4))),
    "minimum": (lambda m, a, b: m.minimum(a, b), spaced((3, 4), (4,))),
    "exp": (lambda m, a: m.exp(a), spaced((3, 4))),
    "log": (lambda m, a: a.log(), positive((3, 4))),
    "sqrt": (lambda m, a: m.sqrt(a), positive((3, 4))),
    "abs": (lambda m, a: m.abs(a) + abs(a), spaced((3, 4))),
    "clip": (lambda m, a: m.clip(a, -0.5, 1.0), spaced((3, 4))),
    "clip, below": (lambda m, a: a.clamp(min=0.25), spaced((3, 4))),
    "clip, above": (lambda m, a: m.clamp(a, max=0.25), spaced((3, 4))),
    "sum": (lambda m, a: m.sum(a), spaced((2, 3, 4))),
    "sum, no axes": (lambda m, a: a.sum(), spaced(())),
    "sum, axis": (lambda m, a: a.sum(1), spaced((2, 3, 4))),
    "sum, axes": (lambda m, a: m.sum(a, (0, -1)), spaced((2, 3, 4))),
    "sum, keepdim": (lambda m, a: a * a.sum(dim=(0, 2), keepdim=True), spaced((2, 3, 4))),
    "mean": (lambda m, a: m.mean(a), spaced((2, 3, 4))),
    "mean, axes": (lambda m, a: a.mean((0, 2)), spaced((2, 3, 4))),
    "mean, keepdim": (lambda m, a: a - a.mean(-1, keepdim=True), spaced((2, 3, 4))),
    "var": (lambda m, a: m.var(a), spaced((2, 3, 4))),
    "var, biased": (lambda m, a: a.var((0, 2), correction=0), spaced((2, 3, 4))),
    "var, keepdim": (lambda m, a: a / a.var(1, keepdim=True), spaced((2, 3, 4))),
    "max": (lambda m, a: m.max(a), spaced((3, 4))),
    "max, axis": (lambda m, a: m.max(a, 1).values, spaced((2, 3, 4))),
    "max, keepdim": (lambda m, a: a - a.max(0, keepdim=True)[0], spaced((3, 4))),
    "min": (lambda m, a: a.min(), spaced((3, 4))),
    "min, axis": (lambda m, a: m.min(a, -1, True)[0], spaced((2, 3, 4))),
    "matmul": (lambda m, a, b: m.matmul(a, b), spaced((3, 4), (4, 2))),
    "matmul, batch": (lambda m, a, b: a @ b, spaced((2, 3, 4), (2, 4, 5))),
    "matmul, batch and matrix": (lambda m, a, b: a @ b, spaced((2, 3, 4), (4, 5))),
    "matmul, matrix and batch": (lambda m, a, b: a @ b, spaced((3, 4), (2, 4, 5))),
    "matmul, batches broadcast": (lambda m, a, b: a @ b, spaced((2, 1, 3, 4), (3, 4, 2))),
    "matmul, vectors": (lambda m, a, b: a @ b, spaced((4,), (4,))),
    "matmul, vector and matrix": (lambda m, a, b: a @ b, spaced((4,), (4, 3))),
    "matmul, matrix and vector": (lambda m, a, b: a @ b, spaced((3, 4), (4,))),
    "matmul, vector and batch": (lambda m, a, b: a @ b, spaced((4,), (2, 4, 3))),
    "matmul, batch and vector": (lambda m, a, b: a @ b, spaced((2, 5, 3, 4), (4,))),
    "reshape": (lambda m, a: m.reshape(a, (4, -1)) * 2, spaced((2, 3, 4))),
    "view": (lambda m, a: a.view(6, 4), spaced((2, 3, 4))),
    "flatten": (lambda m, a: m.flatten(a, 1), spaced((2, 3, 4))),
    "flatten, middle": (lambda m, a: a.flatten(1, 2), spaced((2, 3, 4, 2))),
    "squeeze": (lambda m, a: m.squeeze(a), spaced((2, 1, 3, 1))),
    "squeeze, axis": (lambda m, a: a.squeeze(1).squeeze(0), spaced((2, 1, 3, 1))),
    "unsqueeze": (lambda m, a: m.unsqueeze(a, -1).unsqueeze(0), spaced((2, 3))),
    "permute": (lambda m, a: m.permute(a, (2, 0, -2)), spaced((2, 3, 4))),
    "transpose": (lambda m, a: m.transpose(a, 0, -1), spaced((2, 3, 4))),
    "T": (lambda m, a: a @ a.T, spaced((2, 3))),
    "broadcast_to": (lambda m, a: m.broadcast_to(a, (2, 3, 4)), spaced((3, 1))),
    "expand": (lambda m, a: a.expand(2, -1, 4), spaced((3, 1))),
    "where": (lambda m, a, b: m.where(a > b, a * b, b), spaced((3, 4), (4,))),
    "index, integer": (lambda m, a: a[1], spaced((3, 4))),
    "index, element": (lambda m, a: a[-1, 2], spaced((3, 4))),
    "index, slices": (lambda m, a: a[1:, ..., ::2], spaced((3, 2, 5))),
    "index, new axis": (lambda m, a: a[:, None, 1], spaced((3, 4))),
    "index, repeated": (lambda m, a: a[ROWS], spaced((3, 4))),
    "index, repeated columns": (lambda m, a: a[:, COLUMNS], spaced((3, 4))),
    "index, list": (lambda m, a: a[[0, 0, 2]], spaced((3, 4))),
    "index, pairs": (lambda m, a: a[ROWS, ROWS], spaced((3, 4))),
    "index, array and slice": (lambda m, a: a[ROWS, 1:3], spaced((3, 4))),
    "index, mask": (lambda m, a: a[MASK], spaced((3, 4))),
    "index, mask of rows": (lambda m, a: a[MASK[0]], spaced((4, 2))),
    "index, comparison": (lambda m, a: a[a > 0], spaced((3, 4))),
    "concatenate": (lambda m, a, b: m.concatenate([a, b]), spaced((2, 3), (1, 3))),
    "cat, last axis": (lambda m, a, b: m.cat([a, b, a], -1), spaced((2, 3), (2, 2))),
    "stack": (lambda m, a, b: m.stack([a, b]), spaced((2, 3), (2, 3))),
    "stack, last axis": (lambda m, a, b: m.stack([a, b], -1), spaced((2, 3), (2, 3))),
    "split": (lambda m, a: m.split(a, 2)[1] * 2, spaced((5, 3))),
    "split, sizes": (lambda m, a: a.split([1, 3], 1), spaced((2, 4))),
    "chunk": (lambda m, a: m.chunk(a, 3, 1), spaced((2, 7))),
}  # fmt: skip


def run(case, module, inputs):
    outputs = CASES[case][0](module, *inputs)
    return outputs if isinstance(outputs, (tuple, list)) else [outputs]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_central_differences(case, backend):
    with minseg.use_backend(backend):
        report = gradcheck(lambda *x: run(case, m, x), CASES[case][1])
    assert report.checked == sum(x.size for x in CASES[case][1])


def test_pad_has_the_gradient_of_central_differences():
    gradcheck(lambda x: m.pad(x, (1, 2, 0, 3), value=7.0) ** 2, spaced((2, 3, 4)))


@pytest.mark.peer
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-10)])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_torch(case, dtype, tolerance):
    torch = pytest.importorskip("torch")
    arrays = [x.astype(dtype) for x in CASES[case][1]]
    ours = [tensor(x, requires_grad=True) for x in arrays]
    theirs = [torch.tensor(x, requires_grad=True) for x in arrays]
    rng = np.random.default_rng(1)
    for y, expected in zip(run(case, m, ours), run(case, torch, theirs), strict=True):
        assert y.dtype == dtype
        assert_close(y.data, expected.detach().numpy(), tolerance)
        cotangent = rng.standard_normal(y.shape).astype(dtype)
        y.backward(cotangent)
        expected.backward(torch.tensor(cotangent))
    for x, expected in zip(ours, theirs, strict=True):
        assert_close(x.grad, expected.grad.numpy(), tolerance)


def assert_close(actual, expected, tolerance):
    """Equal up to a part of the largest value: sums cancel."""
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max(initial=0))


@pytest.mark.peer
@pytest.mark.parametrize("border", [(1, 2), (0, 1, 2, 0), (1, 0, 0, 2, 3, 1)])
def test_pad_is_that_of_torch(border):
    torch = pytest.importorskip("torch")
    (x,) = spaced((2, 3, 4))
    ours, theirs = tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, expected = m.pad(ours, border, value=0.5), torch.nn.functional.pad(theirs, border, value=0.5)
    np.testing.assert_array_equal(y.data, expected.detach().numpy())
    (y * y).sum().backward()
    (expected * expected).sum().backward()
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-15)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("options", [{}, {"dim": 1}, {"dim": -1, "keepdim": True}])
def test_argmax_is_that_of_torch(name, options):
    torch = pytest.importorskip("torch")
    (x,) = spaced((2, 3, 4))
    expected = getattr(torch, name)(torch.tensor(x), **options).numpy()
    np.testing.assert_array_equal(getattr(m, name)(tensor(x), **options).data, expected)


def gradient(fn, *arrays):
    """The gradient of the sum of fn for the first array."""
    x, *rest = [tensor(np.array(a, float), requires_grad=True) for a in arrays]
    fn(x, *rest).sum().backward()
    return x.grad.tolist()


def test_of_equal_elements_the_first_receives_the_gradient_of_max():
    assert gradient(lambda x: x.max(), [[1, 3], [3, 3]]) == [[0, 1], [0, 0]]
    assert gradient(lambda x: x.max(1).values, [[2, 2], [3, 3]]) == [[1, 0], [1, 0]]
    assert gradient(lambda x: x.min(0).values, [[2, 3], [2, 3]]) == [[1, 1], [0, 0]]


def test_of_equal_elements_the_first_argument_receives_the_gradient_of_maximum():
    assert gradient(lambda a, b: m.maximum(a, b), [1, 2, 3], [2, 2, 2]) == [0, 1, 1]
    assert gradient(lambda b, a: m.maximum(a, b), [1, 2, 3], [2, 2, 2]) == [0, 0, 1]
    assert gradient(lambda a, b: m.minimum(a, b), [1, 2, 3], [2, 2, 2]) == [1, 1, 0]
    assert gradient(lambda x: m.maximum(0, x), [-1, 0, 1]) == [0, 0, 1]


def test_kinks_and_poles():
    assert gradient(m.abs, [-2, 0, 2]) == [-1, 0, 1]
    assert gradient(lambda x: m.clip(x, -1, 1), [-2, -1, 0, 1, 2]) == [0, 1, 1, 1, 0]
    assert gradient(lambda x: x**0, [0, 2]) == [0, 0]
    assert gradient(lambda x: x**1, [0, 2]) == [1, 1]
    assert gradient(lambda b: 0**b, [1, 2]) == [0, 0]
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert gradient(m.sqrt, [0, 4]) == [np.inf, 0.25]
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert np.isnan(m.log(tensor([-1.0])).data).all()


@pytest.mark.parametrize("name", ["sum", "mean", "var", "max", "min", "argmax", "argmin"])
def test_a_reduced_axis_is_dropped_unless_it_is_kept(name):
    x, reduce = tensor(np.arange(24.0).reshape(2, 3, 4)), getattr(m, name)
    for options, shape in [({}, (2, 4)), ({"keepdim": True}, (2, 1, 4))]:
        result = reduce(x, 1, **options)
        assert all(part.shape == shape for part in (result if name in ("max", "min") else [result]))
    assert reduce(x).shape == ()
    assert reduce(x, keepdim=True).shape == (1, 1, 1)


def test_shapes_of_functions_without_options():
    x = tensor(np.arange(24.0).reshape(2, 3, 4))
    assert m.flatten(x).shape == (24,)
    assert m.flatten(x, 1, 1).shape == (2, 3, 4)
    assert m.flatten(tensor(2.0)).shape == (1,)
    assert m.cat([x, x]).shape == (4, 3, 4)
    assert m.stack([x, x]).shape == (2, 2, 3, 4)
    assert [part.shape for part in m.split(x, 1)] == [(1, 3, 4)] * 2
    assert [part.shape for part in m.chunk(x, 2)] == [(1, 3, 4)] * 2
    assert [part.shape for part in m.chunk(x, 1)] == [(2, 3, 4)]
    with pytest.raises(ArgumentError, match="chunks must be at least 1, got 0"):
        m.chunk(x, 0)


def test_argmax_and_argmin_of_all_and_of_one_axis():
    x = tensor([[1.0, 5.0, 5.0], [7.0, 0.0, 7.0]])
    assert (m.argmax(x).item(), m.argmin(x).item()) == (3, 4)
    assert (m.argmax(x, 1).data.tolist(), m.argmin(x, 0).data.tolist()) == ([1, 0], [0, 1, 0])


def test_var_is_unbiased_unless_it_is_told_otherwise():
    x = tensor(np.array([1.0, 2.0, 6.0]))
    assert x.var().item() == 7
    assert x.var(correction=0).item() == pytest.approx(14 / 3)


def test_max_of_one_axis_returns_values_and_indices():
    values, indices = tensor([[1.0, 5.0, 2.0], [7.0, 0.0, 7.0]], requires_grad=True).max(1)
    assert values.data.tolist() == [5, 7]
    assert indices.data.tolist() == [1, 0]
    assert values.requires_grad
    assert not indices.requires_grad


# ------------------------------------------------------------------------------------------------------------------ dtypes


def test_numbers_adopt_the_dtype_of_the_tensor():
    x = tensor(np.ones(2, np.float32))
    for y in (x + 1, 1 - x, x * 0.1, 2.0 / x, x**2, x * np.float64(0.1), x + np.int64(3), m.where(x > 0, x, 0.5)):
        assert y.dtype == np.float32
    assert (tensor(np.array([3, 4], np.uint8)) + 1).dtype == np.uint8


@pytest.mark.parametrize("other", [tensor(np.ones(2)), np.ones(2), tensor(np.ones(2, np.int64)), np.ones(2, bool)])
def test_mixed_dtypes_are_an_error(other):
    x = tensor(np.ones(2, np.float32))
    for operation in (
        m.add,
        m.mul,
        m.maximum,
        m.lt,
        m.matmul,
        lambda a, b: m.where(a > 0, a, b),
        lambda a, b: m.stack([a, b]),
    ):
        with pytest.raises(DtypeError, match=rf"mixed dtypes.*{other.dtype}"):
            operation(x, other)


def test_a_dtype_that_cannot_hold_a_number_is_an_error():
    with pytest.raises(DtypeError, match=r"add: int64 cannot hold 0.5"):
        tensor([1, 2]) + 0.5
    with pytest.raises(DtypeError, match="eq: uint8 cannot hold 256"):
        tensor(np.zeros(2, np.uint8)) == 256  # noqa: B015
    with pytest.raises(DtypeError, match="mul: bool cannot hold 2"):
        tensor([True]) * 2


@pytest.mark.parametrize(
    "operation", [m.exp, m.log, m.sqrt, m.abs, m.mean, m.var, lambda x: x / 2, lambda x: m.clip(x, 0)]
)
def test_operations_on_floats_refuse_integers(operation):
    with pytest.raises(DtypeError, match="int64"):
        operation(tensor([1, 2]))


@pytest.mark.parametrize("value", ["a", [1.0, 2.0], object()])
def test_what_is_no_tensor_array_or_number_is_an_error(value):
    with pytest.raises(DtypeError, match=f"add: expected a Tensor, a number or an array, got {type(value).__name__}"):
        tensor([1.0, 2.0]) + value


def test_arrays_and_tensors_mix_on_both_sides():
    x = tensor(np.array([1.0, 2.0]), requires_grad=True)
    array = np.array([[3.0], [4.0]])
    for y, expected in [
        (array + x, [[4, 5], [5, 6]]),
        (array * x, [[3, 6], [4, 8]]),
        (x - array, [[-2, -1], [-3, -2]]),
    ]:
        assert isinstance(y, Tensor)
        assert y.data.tolist() == expected
        assert y.requires_grad
    assert (np.array([[1.0, 0.0]]) @ x).data.tolist() == [1]
    assert isinstance(np.float64(2) * x, Tensor)


def test_numpy_functions_do_not_lose_the_history_silently():
    x = tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match="does not support ufuncs"):
        np.exp(x)
    with pytest.raises(GraphError, match="would lose its history"):
        np.asarray(x)
    assert np.asarray(x.detach()).tolist() == [1]


# ------------------------------------------------------------------------------------------------------------------ errors


X = tensor(np.ones((2, 3)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: X + np.ones((2, 4)), ShapeError, r"add: shapes \(2, 3\) and \(2, 4\) do not broadcast"),
        (lambda: X < np.ones((2, 4)), ShapeError, r"lt: shapes \(2, 3\) and \(2, 4\) do not broadcast"),  # noqa: SIM300
        (lambda: m.where(np.ones(4, bool), X, X), ShapeError, r"where: shapes \(4,\) and \(2, 3\) and"),
        (lambda: m.where(X, X, X), DtypeError, "the condition must be boolean"),
        (lambda: X @ X, ShapeError, r"matmul: a has 3 columns, b has 2 rows; a \(2, 3\), b \(2, 3\)"),
        (lambda: X @ 2.0, ShapeError, r"matmul: needs vectors or matrices, got \(2, 3\) and \(\)"),
        (lambda: np.ones((4, 2, 3)) @ tensor(np.ones((5, 3, 2))), ShapeError, "batch axes do not broadcast"),
        (lambda: X.sum(2), ShapeError, "sum: dim 2 is out of range for 2 axes"),
        (lambda: X.sum((0, -2)), ArgumentError, "names an axis twice"),
        (lambda: X.mean("rows"), ArgumentError, "mean: dim must be an integer, got 'rows'"),
        (lambda: X[:0].mean(), ShapeError, r"mean: needs more than 0 elements, got 0; x \(0, 3\)"),
        (lambda: X[:0].max(), ShapeError, "max: needs more than 0 elements"),
        (lambda: X[:, :0].argmin(1), ShapeError, "argmin: needs more than 0 elements"),
        (lambda: X[:1].var(0), ShapeError, "var: needs more than 1 elements, got 1"),
        (lambda: X.reshape(4, 2), ShapeError, r"reshape: \(2, 3\) has 6 elements, which do not fit \(4, 2\)"),
        (lambda: X.reshape(-1, -1), ShapeError, "do not fit"),
        (lambda: X.reshape(4, -1), ShapeError, "do not fit"),
        (lambda: X.flatten(1, 0), ArgumentError, "start_dim 1 comes after end_dim 0"),
        (lambda: X.permute(0), ArgumentError, "must name each of the 2 axes once"),
        (lambda: X.permute(0, 0), ArgumentError, "names an axis twice"),
        (lambda: tensor(np.ones((1, 2, 3))).T, ShapeError, r"T: expected a matrix, got \(1, 2, 3\)"),
        (lambda: X.broadcast_to((3, 3)), ShapeError, r"\(2, 3\) does not broadcast to \(3, 3\)"),
        (lambda: X.expand(3), ShapeError, "does not broadcast to"),
        (lambda: X.expand(-1, 2, 3), ShapeError, "does not broadcast to"),
        (lambda: m.cat([X, np.ones((3, 2))], 1), ShapeError, r"may differ along dim 1 only, got \(2, 3\), \(3, 2\)"),
        (lambda: m.cat([]), ArgumentError, "at least one Tensor"),
        (lambda: m.stack([X, np.ones((3, 2))]), ShapeError, r"stack: shapes must be equal"),
        (lambda: X.split(0), ArgumentError, "split_size must be at least 1"),
        (lambda: X.split([1, 3], 1), ShapeError, r"sizes \[1, 3\] do not add up to 3"),
        (lambda: m.pad(X, (1, 2, 3)), ArgumentError, "pad: expected pairs"),
        (lambda: m.pad(X, (1, -1)), ArgumentError, "to crop, use an index"),
        (lambda: m.pad(X, (1, 1), mode="reflect"), Unsupported, "'reflect'"),
        (lambda: m.clip(X), ArgumentError, "give min, max or both"),
        (lambda: m.clip(X, 2, 1), ArgumentError, "min 2 is above max 1"),
        (lambda: X[2], IndexError, "out of bounds"),
        (lambda: X[0.5], IndexError, "only integers"),
        (lambda: bool(X), ShapeError, r"a tensor of shape \(2, 3\) has no single truth value"),
        (lambda: float(X), ShapeError, r"float: expected one element, got a tensor of shape \(2, 3\)"),
        (lambda: list(X.sum()), ShapeError, "a tensor without axes has no parts"),
        (lambda: m.add(1, 2), DtypeError, "expected a Tensor, got int, int"),
    ],
)  # fmt: skip
def test_errors_say_what_came(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --------------------------------------------------------------------------------------------------------- Python's protocols


def test_comparisons_are_booleans_without_gradient():
    x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    for y, expected in [
        (x == 2, [False, True, False]),
        (x != 2, [True, False, True]),
        (x < 2, [True, False, False]),
        (x <= 2, [True, True, False]),
        (x > 2, [False, False, True]),
        (2 <= x, [False, True, True]),  # noqa: SIM300
        (x == np.float32(2) * np.ones(3, np.float32), [False, True, False]),
    ]:
        assert isinstance(y, Tensor)
        assert y.data.tolist() == expected
        assert y.dtype == bool
        assert not y.requires_grad


def test_a_tensor_is_not_equal_to_none_and_is_itself_as_a_key():
    x, twin = tensor([1.0]), tensor([1.0])
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    assert {x: 1}[x] == 1
    assert len({x, twin}) == 2


def test_numbers_truth_and_iteration():
    assert float(tensor([[2.5]])) == 2.5
    assert int(tensor([3])) == 3
    assert not bool(tensor(0.0))
    assert bool(tensor([1.0]) == 1)
    rows = list(tensor(np.arange(6.0).reshape(3, 2)))
    assert [row.data.tolist() for row in rows] == [[0, 1], [2, 3], [4, 5]]


def test_iteration_carries_gradients():
    x = tensor(np.array([2.0, 3.0]), requires_grad=True)
    first, second = x
    (first * first * second).backward()
    assert x.grad.tolist() == [12, 4]


def test_in_place_operators_rebind():
    x = tensor([1.0], requires_grad=True)
    before, data = x, x.data
    x += 1
    assert x is not before
    assert data.tolist() == [1]
    with pytest.raises(TypeError, match="item assignment"):
        before[0] = 2


def test_results_without_axes_are_arrays():
    x = tensor(np.array(2.0), requires_grad=True)
    y = (x * x + tensor(np.ones(3)).sum())[None][0]
    assert isinstance(y.data, np.ndarray)
    y.backward()
    y = x + x
    y.backward()
    assert isinstance(x.grad, np.ndarray)
    assert x.grad == 6


def test_functions_leave_their_inputs_alone():
    arrays = [x for _, inputs in CASES.values() for x in inputs]
    before = [x.copy() for x in arrays]
    for case, (_, inputs) in CASES.items():
        run(case, m, [tensor(x) for x in inputs])
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))


def test_every_function_names_its_equation():
    functions = [f for f in vars(m.arithmetic).values() if isinstance(f, type) and issubclass(f, m.Function)]
    own = {f.equation for f in functions if f.__module__ == "minseg.autograd.arithmetic" and f.equation}
    assert len(own) >= 25
    assert all(id.startswith("arith.") for id in own)
