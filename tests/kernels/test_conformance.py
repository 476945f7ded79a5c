"""Every primitive, on every case, backend, variant and dtype: one function, within the bound that its roundings allow."""

import ast
import importlib
import inspect
import math
import pkgutil
from pathlib import Path

import numpy as np
import pytest

from minseg import backend
from minseg.errors import Unsupported
from minseg.kernels import memory, shapes
from minseg.kernels.cpu import conv
from minseg.kernels.spec import PRIMITIVES
from minseg.testing import conformance
from minseg.testing.cases import Case, cases
from minseg.testing.conformance import conform

BACKENDS = {"numpy": "reference", "numba": "cpu"}
PACKAGES = (*BACKENDS.values(), "cuda")  # whose kernels conform, on the emulator and on a GPU, is in test_cuda.py
FAMILIES = list(dict.fromkeys(primitive.family for primitive in PRIMITIVES.values()))
DTYPES = ("float32", "float64")


def module(name: str, family: str):
    """The file of one family of one backend."""
    return importlib.import_module(f"minseg.kernels.{BACKENDS[name]}.{family}")


def variants() -> list[tuple[str, str, str]]:
    """(backend, primitive, variant) of every rung of every ladder; a backend that cannot be imported fails in the tests below."""
    found = []
    for name, package in BACKENDS.items():
        here = importlib.import_module(f"minseg.kernels.{package}")
        for family in sorted({file.name for file in pkgutil.iter_modules(here.__path__)} & set(FAMILIES)):
            for primitive, ladder in getattr(module(name, family), "VARIANTS", {}).items():
                found += [(name, primitive, variant) for variant in ladder]
    return found


def rung_of(name: str, primitive: str, args: tuple) -> str | None:
    """Which rung of a ladder the backend takes for these arguments, where its file says so: some have bounds of their own."""
    choose = getattr(module(name, PRIMITIVES[primitive].family), "rung_of", None)
    return choose(primitive, *args) if choose and primitive in conv.VARIANTS else None


def pairs() -> list:
    return [pytest.param(p, c, id=f"{p}-{c.name}") for p in PRIMITIVES for c in cases(p)]


@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_every_primitive_has_cases(primitive):
    names = [case.name for case in cases(primitive)]
    assert len(names) >= 7
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(("primitive", "case"), pairs())
def test_conforms(name: str, primitive: str, case: Case, dtype: str):
    kernel = backend.get(name).implementation(PRIMITIVES[primitive])
    args = case.arguments(dtype)
    conform(primitive, kernel, args, rung_of(name, primitive, args))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("primitive", ["batch_norm_relu_grad", "batch_norm_relu_eval_grad"])
def test_no_case_lets_rounding_choose_the_side_of_the_kink(primitive: str, dtype: str):
    """All backends agree on where ReLU lets gy through: every value is further from 0 than a conforming batch_norm may be off, or a
    0 that none may be off from."""
    positive = []
    for case in cases(primitive):
        _, *args = case.arguments(dtype)
        (y,) = conformance.oracle("batch_norm", tuple(args))
        (allowed,) = conformance.bounds("batch_norm", tuple(args), (y,), dtype)
        known = ~np.isnan(y)
        exact = (y == 0) & (allowed <= np.finfo(dtype).tiny)
        assert (exact | (np.abs(y) > allowed))[known].all(), case.name
        positive += list((y > 0)[known])
    assert 1 / 3 < np.mean(positive) < 2 / 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "primitive", "variant"), variants())
def test_every_variant_conforms(name: str, primitive: str, variant: str, dtype: str):
    """On all cases in its domain, which may be of one dtype only but must not be empty."""
    file = module(name, PRIMITIVES[primitive].family)
    kernel = file.VARIANTS[primitive][variant]
    covered = 0
    for case in cases(primitive):
        args = case.arguments(dtype)
        try:
            kernel(*args)
        except Unsupported:
            continue
        covered += 1
        try:
            conform(primitive, kernel, args, variant)
        except AssertionError as failure:
            raise AssertionError(f"{variant}, {case.name}: {failure}") from None
    assert covered or dtype == "float64", f"{variant} covers no case"


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_arrays_need_not_be_contiguous(name: str, primitive: str):
    """The dispatcher makes them so: every second element of a larger array is an argument like any other."""
    args = cases(primitive)[0].arguments("float32")
    spread = [np.repeat(a, 2, axis=-1)[..., ::2] if isinstance(a, np.ndarray) else a for a in args]
    assert (
        not all(a.flags.c_contiguous for a in spread if isinstance(a, np.ndarray) and a.size > 1) or args[0].size == 1
    )
    call = getattr(backend.get(name), primitive)
    for expected, result in zip(conformance.as_tuple(call(*args)), conformance.as_tuple(call(*spread)), strict=True):
        assert expected.tobytes() == result.tobytes()


# ------------------------------------------------------------------------------------------ one order, one signature


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_signature_is_the_declared_one(package: str, primitive: str):
    file = importlib.import_module(f"minseg.kernels.{package}.{PRIMITIVES[primitive].family}")
    declared = PRIMITIVES[primitive].signature.parameters.values()
    found = inspect.signature(getattr(file, primitive)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in found] == [(p.name, p.kind, p.default) for p in declared]


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("family", FAMILIES)
def test_functions_stand_in_the_declared_order(package: str, family: str):
    """Those that a file takes from a rung of its ladder, if any, stand in that rung."""
    file = importlib.import_module(f"minseg.kernels.{package}.{family}")
    declared = [p.name for p in PRIMITIVES.values() if p.family == family]
    tree = ast.parse(Path(file.__file__).read_text())
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in PRIMITIVES]
    assert defined == [primitive for primitive in declared if primitive in defined]
    assert all(hasattr(file, primitive) for primitive in declared)
    assert defined == declared or package == "cpu"


# ------------------------------------------------------------------------------------------------- adjoints: <Kx, y> = <x, K'y>
# Each pair below is one linear map and its transpose, with the arguments that they share. Both sides are sums of the same
# products in another order, so they differ by no more than the bound of a sum of their absolute values.

CONV = ((2, 3), (2, 1), (1, 2))
POOL = ((3, 4), (2, 1), (1, 2))

ADJOINTS = {
    "im2col": ("im2col", "col2im", (2, 3, 11, 13), ((3, 2), *CONV), True),
    "avg_pool2d": ("avg_pool2d", "avg_pool2d_grad_x", (2, 3, 9, 10), (*POOL, True), True),
    "avg_pool2d, only pixels counted": ("avg_pool2d", "avg_pool2d_grad_x", (2, 3, 9, 10), (*POOL, False), True),
    "adaptive_avg_pool2d": ("adaptive_avg_pool2d", "adaptive_avg_pool2d_grad_x", (2, 3, 7, 11), ((3, 4),), False),
    "resize_nearest, larger": ("resize_nearest", "resize_nearest_grad_x", (2, 2, 5, 7), ((8, 17),), False),
    "resize_nearest, smaller": ("resize_nearest", "resize_nearest_grad_x", (2, 2, 11, 13), ((4, 5),), False),
    "resize_bilinear, larger": ("resize_bilinear", "resize_bilinear_grad_x", (2, 2, 5, 7), ((8, 17),), False),
    "resize_bilinear, smaller": ("resize_bilinear", "resize_bilinear_grad_x", (2, 2, 11, 13), ((4, 5),), False),
}


def inner(a: np.ndarray, b: np.ndarray) -> float:
    return math.fsum((a * b).ravel())


def assert_adjoint(forward, transpose, x: np.ndarray, y_shape: tuple, rng) -> None:
    """<Kx, y> = <x, K'y> for a random y."""
    y = rng.standard_normal(y_shape)
    left, right = inner(forward(x), y), inner(x, transpose(y))
    size = inner(np.abs(forward(x)), np.abs(y)) + inner(np.abs(x), np.abs(transpose(y)))
    assert size > 0
    assert abs(left - right) <= 4 * math.sqrt(x.size + y.size) * 2**-53 * size


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("pair", ADJOINTS)
def test_gradient_is_the_adjoint(name: str, pair: str):
    forward, transpose, x_shape, options, with_options = ADJOINTS[pair]
    k, rng = backend.get(name), np.random.default_rng(0)
    x = rng.standard_normal(x_shape)
    y_shape = getattr(shapes, forward)(x, *options)
    rest = options if with_options else ()
    assert_adjoint(
        lambda x: getattr(k, forward)(x, *options), lambda y: getattr(k, transpose)(y, x_shape, *rest), x, y_shape, rng
    )


@pytest.mark.parametrize("name", BACKENDS)
def test_convolution_gradients_are_adjoints(name: str):
    """In x, in w, and for the transposed convolution, which is conv2d_grad_x under another name."""
    k, rng = backend.get(name), np.random.default_rng(1)
    x, w = rng.standard_normal((2, 4, 12, 13)), rng.standard_normal((6, 2, 3, 2))
    y_shape = k.conv2d(x, w, None, *CONV, 2).shape

    def in_x(x):
        return k.conv2d(x, w, None, *CONV, 2)

    def in_w(w):
        return k.conv2d(x, w, None, *CONV, 2)

    assert_adjoint(in_x, lambda y: k.conv2d_grad_x(y, w, x.shape, *CONV, 2), x, y_shape, rng)
    assert_adjoint(in_w, lambda y: k.conv2d_grad_w(y, x, w.shape, *CONV, 2), w, y_shape, rng)
    t, output_padding = rng.standard_normal(y_shape), (1, 0)
    big = k.conv_transpose2d(t, w, None, *CONV[:2], output_padding, CONV[2], 2)
    assert big.shape[2:] == x.shape[2:]
    assert_adjoint(
        lambda t: k.conv_transpose2d(t, w, None, *CONV[:2], output_padding, CONV[2], 2),
        lambda y: k.conv2d(y, w, None, *CONV, 2),
        t, big.shape, rng,
    )  # fmt: skip


@pytest.mark.parametrize("name", BACKENDS)
def test_indices_scatter_what_they_gather(name: str):
    """Max pooling is, for the indices that it chose, a reading at those; its gradient and unpooling are writings there."""
    k, rng = backend.get(name), np.random.default_rng(2)
    x = rng.standard_normal((2, 3, 9, 10))
    y, indices = k.max_pool2d(x, *POOL)
    np.testing.assert_array_equal(k.max_unpool2d_grad_x(x, indices), y)
    for scatter in (
        lambda y: k.max_pool2d_grad_x(y, indices, x.shape),
        lambda y: k.max_unpool2d(y, indices, x.shape[2:]),
    ):
        assert_adjoint(lambda x: k.max_unpool2d_grad_x(x, indices), scatter, x, y.shape, rng)


# ------------------------------------------------------------------------------------------------ the check can fail


def _spoiled(kernel, spoil):
    """The kernel, with its first result handed to ``spoil`` in place."""

    def call(*args):
        results = conformance.as_tuple(kernel(*args))
        first = results[0].copy()
        spoil(first)
        return (first, *results[1:]) if len(results) > 1 else first

    return call


@pytest.mark.parametrize("primitive", PRIMITIVES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_small_error_in_one_element_is_found(primitive: str, dtype: str):
    """One part in ten thousand (of the largest value, in the last element) in float32, and far less in float64, is no rounding."""

    def spoil(y):
        y.flat[-1] += np.abs(y).max() * {"float32": 1e-4, "float64": 1e-12}[dtype] + 1e-30

    args = cases(primitive)[0].arguments(dtype)
    kernel = conformance.reference(primitive)
    conform(primitive, kernel, args)
    with pytest.raises(AssertionError, match=r"1 of [0-9]+ elements are off"):
        conform(primitive, _spoiled(kernel, spoil), args)


def test_the_cases_find_a_sum_that_drifts():
    """Added up one by one in float32, 65536 equal numbers are off by far more than the bound for a careful sum."""

    def one_by_one(p, target, first_label, ignore_index):
        total = np.cumsum(p.ravel(), dtype=p.dtype)[-1]  # cumsum cannot sum by halves
        return np.array([[total], [total], [p.size]], p.dtype)

    (case,) = (case for case in cases("dice_sums") if case.name == "many alike")
    with pytest.raises(AssertionError, match="2 of 3 elements are off"):
        conform("dice_sums", one_by_one, case.arguments("float32"))


def _forgetful(x):
    """relu that leaves the last element out."""
    y = memory.empty(x.shape, x.dtype)
    y.flat[:-1] = np.maximum(x, 0).flat[:-1]
    return y


def _in_place(x):
    """relu that changes its argument."""
    return np.maximum(x, 0, out=x)


def _wide(x):
    return np.maximum(x, 0).astype(np.float64)


def _columns_first(x):
    return np.asfortranarray(np.maximum(x, 0))


def _flat(x):
    return np.maximum(x, 0).ravel()


class _Restless:
    """relu that counts its calls in the result."""

    calls = 0

    def __call__(self, x):
        self.calls += 1
        return np.maximum(x, 0) * x.dtype.type(1 + self.calls * 2**-20)


@pytest.mark.parametrize(
    ("kernel", "complaint"),
    [
        (_forgetful, "elements are off"),
        (_in_place, "an argument was changed"),
        (_wide, "expected float32, got float64"),
        (_columns_first, "not C-contiguous"),
        (_flat, "expected shape"),
        (_Restless(), "different bits"),
        (lambda x: (np.maximum(x, 0), x), "1 results expected, got 2"),
        (lambda x: 1.0, "expected an array"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_broken_promise_is_found(kernel, complaint):
    with pytest.raises(AssertionError, match=complaint):
        conform("relu", kernel, cases("relu")[0].arguments("float32"))


def test_a_rung_by_chance_may_give_other_bits_but_not_other_values():
    args = np.ones((1, 1, 2, 2)), (2, 2)

    def restless(x, size):
        restless.calls += 1
        return np.full(x.shape, 1 + restless.calls * restless.step)

    restless.calls, restless.step = 0, 2.0**-52
    conform("adaptive_avg_pool2d", restless, args, "atomic")
    with pytest.raises(AssertionError, match="different bits"):
        conform("adaptive_avg_pool2d", restless, args)
    restless.step = 2.0**-40
    with pytest.raises(AssertionError, match="elements are off"):
        conform("adaptive_avg_pool2d", restless, args, "atomic")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinities_must_be_the_same(value):
    """A kernel that swallows them, and one that invents them."""
    x = np.array([1.0, value, -1.0])
    conformance.compare("same", x, x, np.zeros(3))
    for other in (np.array([1.0, 0.0, -1.0]), np.array([1.0, -value if np.isinf(value) else np.inf, -1.0])):
        with pytest.raises(AssertionError, match="1 of 3 elements"):
            conformance.compare("swallowed", other, x, np.full(3, 10.0))
        with pytest.raises(AssertionError, match="1 of 3 elements"):
            conformance.compare("invented", x, other, np.full(3, 10.0))
