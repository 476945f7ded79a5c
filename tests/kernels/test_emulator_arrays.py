"""The emulator's array module: it refuses what CuPy refuses, computes what NumPy computes, and carries all of minseg."""

import numpy as np
import pytest

import minseg
from minseg import backend, models, ops, optim
from minseg.backend import Backend
from minseg.kernels.emulator import Module, launching, why_not, xp

x_host = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


@pytest.fixture
def x():
    return xp.asarray(x_host)


# ------------------------------------------------------------------------------------------------------------------ strictness


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        np.array,
        np.ascontiguousarray,
        lambda x: np.asarray(x[0, 0]),
        lambda x: np.add.reduce(x),
        lambda x: np.zeros((3, 4), np.float32).__setitem__(0, x[0]),
        lambda x: np.testing.assert_allclose(x, x_host),
        lambda x: x + x_host,
        lambda x: x_host + x,
        lambda x: x * np.array(2.0),
        lambda x: x == x_host,
        lambda x: np.maximum(x, x_host),
        lambda x: xp.where(x > 0, x, x_host),
        lambda x: xp.concatenate([x, x_host]),
        lambda x: np.concatenate([x, x_host]),
        lambda x: x.__iadd__(x_host),
        lambda x: np.add.at(x, 0, 1.0),
    ],
)
def test_host_and_device_do_not_mix(x, convert):
    with pytest.raises(TypeError):
        convert(x)
    np.testing.assert_array_equal(x.get(), x_host)


def test_conversion_is_refused_in_cupys_words(x):
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        np.asarray(x)
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy.ndarray'>"):
        x + x_host
    with pytest.raises(ValueError, match=r"non-scalar numpy.ndarray cannot be used for fill"):
        x[0] = x_host[0]
    with pytest.raises(ValueError, match=r"non-scalar numpy.ndarray cannot be used for fill"):
        x.fill(x_host)


def test_the_device_array_is_no_numpy_array(x):
    assert not isinstance(x, np.ndarray)
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)


def test_names_that_were_not_checked_against_cupy_are_missing():
    with pytest.raises(AttributeError, match="no 'vectorize'; if CuPy has it, name it in"):
        _ = xp.vectorize


def test_data_moves_by_copies_only(x):
    there = xp.asarray(x_host)
    there[:] = 0
    back = x.get()
    back[:] = 1
    np.testing.assert_array_equal(x.get(), x_host)
    assert xp.asarray(x) is x
    x.set(np.ones((3, 4), np.float32))
    assert x.sum().item() == 12
    with pytest.raises(ValueError, match="set: expected"):
        x.set(np.ones(3, np.float32))


# ------------------------------------------------------------------------------------------------------- the same as NumPy's


@pytest.mark.parametrize(
    "compute",
    [
        lambda xp, x: (2 * x + x / 3 - x**2) @ x.T,
        lambda xp, x: -abs(x) // 0.5 % 2,
        lambda xp, x: ~(x > 0) | (x <= -1) & (x != 0) ^ (x < 2),
        lambda xp, x: np.float32(2) * x - True,
        lambda xp, x: x.sum(axis=1, keepdims=True, dtype="float64"),
        lambda xp, x: x.mean(axis=(0, 1)),
        lambda xp, x: x.max() - x.min(),
        lambda xp, x: x.argmax(axis=0),
        lambda xp, x: x.reshape(2, -1).transpose(1, 0).copy().ravel(),
        lambda xp, x: x.swapaxes(0, 1).astype("int32", copy=False),
        lambda xp, x: x[1, ::-1],
        lambda xp, x: x[..., None, 1:],
        lambda xp, x: x[x > 0],
        lambda xp, x: x[[0, 2], [1, 1]],
        lambda xp, x: x[x.argmax(axis=0)],
        lambda xp, x: x.nonzero()[0],
        lambda xp, x: np.exp(x) + np.sqrt(np.abs(x)),
        lambda xp, x: np.sum(x, axis=0) + np.where(x > 0, x, 0).sum(0),
        lambda xp, x: np.stack([x, x]).max(axis=0),
        lambda xp, x: xp.pad(x, ((1, 0), (0, 2)), mode="constant", constant_values=3.0),
        lambda xp, x: xp.concatenate([x, xp.zeros_like(x), xp.ones((1, 4), x.dtype)]),
        lambda xp, x: xp.take_along_axis(x, xp.expand_dims(x.argmin(axis=1), 1), 1),
        lambda xp, x: xp.squeeze(xp.broadcast_to(x.reshape(1, 3, 4), (1, 3, 4)), 0),
        lambda xp, x: xp.clip(x, None, 0.5) + xp.maximum(x, 0),
        lambda xp, x: xp.einsum("ij,kj->ik", x, x),
        lambda xp, x: xp.arange(4) + xp.asarray([1, 2, 3, 4]),
        lambda xp, x: xp.argmax(x, axis=1, keepdims=True),
        lambda xp, x: xp.isnan(x * xp.asarray(np.nan, dtype=x.dtype)),
    ],
)
def test_results_are_numpys_and_stay_on_the_device(x, compute):
    found, expected = compute(xp, x), np.asarray(compute(np, x_host))
    assert isinstance(found, xp.ndarray)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(found.get(), expected)


def test_reductions_and_single_elements_are_arrays_without_axes(x):
    for value in (x.sum(), x[1, 2], x.ravel()[0], xp.sum(x), x.any()):
        assert isinstance(value, xp.ndarray)
        assert value.shape == ()
    assert float(x[1, 2]) == x_host[1, 2]
    assert int(xp.asarray(7)) == 7 == [*range(8)][xp.asarray(7)]
    assert bool((x == x).all())
    assert f"{x[0, 0]:.2f}" == f"{x_host[0, 0]:.2f}"
    assert str(x) == str(x_host)
    assert repr(x) == repr(x_host)


def test_an_element_is_a_view_and_assignment_reaches_the_array(x):
    one = x[0, 0]
    one += 5
    x[1] = 0
    x[2, 1:3] = x[0, 1:3]
    x[x > 4] = -1
    expected = x_host.copy()
    expected[0, 0] += 5
    expected[1] = 0
    expected[2, 1:3] = expected[0, 1:3]
    expected[expected > 4] = -1
    np.testing.assert_array_equal(x.get(), expected)


def test_in_place_operators_keep_the_array(x):
    same = x
    x += 1
    x *= xp.asarray(x_host)
    xp.multiply(x, 2, out=x)
    assert x is same
    np.testing.assert_array_equal(x.get(), (x_host + 1) * x_host * 2)


def test_add_at_adds_for_every_occurrence():
    x = xp.zeros(3)
    xp.add.at(x, xp.asarray([0, 2, 2]), xp.asarray([1.0, 2.0, 3.0]))
    xp.add.at(x, (xp.asarray([1]),), 5.0)
    assert x.tolist() == [1, 5, 5]


def test_iteration_length_and_shape_properties(x):
    assert len(x) == 3
    assert [row.shape for row in x] == [(4,)] * 3
    assert (x.ndim, x.size, x.itemsize, x.nbytes, x.strides) == (2, 12, 4, 48, (16, 4))
    assert x.T.shape == (4, 3)
    assert not x.T.flags.c_contiguous
    assert xp.ascontiguousarray(x.T).flags.c_contiguous
    assert xp.asarray(x.T, order="C").flags.c_contiguous


def test_asnumpy_and_get_array_module(x):
    np.testing.assert_array_equal(xp.asnumpy(x), x_host)
    assert xp.get_array_module(x_host, x) is xp
    assert xp.get_array_module(x_host) is np


@pytest.mark.parametrize(
    ("dtype", "poison"), [("float32", np.nan), ("int32", -(2**31)), ("uint8", 255), ("bool", True)]
)
def test_empty_holds_what_nobody_could_take_for_a_result(dtype, poison):
    for array in (xp.empty((2, 3), dtype), xp.empty_like(xp.zeros((2, 3), dtype))):
        np.testing.assert_array_equal(array.get(), np.full((2, 3), poison, dtype))


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.parametrize(
    "write",
    [
        lambda y: y.fill(0),
        lambda y: y.__setitem__(slice(None), 0),
        lambda y: y.__imul__(0),
        lambda y: xp.add(y, 1, out=y),
        lambda y: xp.add.at(y, xp.asarray([0, 1]), 1),
        lambda y: y.set(np.zeros(2, np.float32)),
        lambda y: y.reshape(1, 2).fill(0),
        lambda y: y.sort(),
    ],
)
def test_kernels_may_read_what_was_written_by_any_means(write):
    add = Module('extern "C" __global__ void add(float* y) { y[threadIdx.x] += 1; }', "add.cu").function("add")
    y = xp.empty(2, np.float32)
    write(y)
    with launching("checked"):
        add((1,), (2,), (y,))
        with pytest.raises(minseg.errors.EmulatorError, match="never written"):
            add((1,), (2,), (xp.empty(2, np.float32),))


# -------------------------------------------------------------------------------------------------------------- minseg on it


class Reference(Backend):
    """The reference kernels behind the strict arrays: whatever in minseg mixes host and device fails on it."""

    def __init__(self):
        super().__init__("strict", "reference", xp)

    def implementation(self, primitive):
        kernel = super().implementation(primitive)
        return lambda *args: to_device(kernel(*map(to_host, args)))


def to_host(value):
    if isinstance(value, list | tuple):
        return type(value)(map(to_host, value))
    return value.memory if isinstance(value, xp.ndarray) else value


def to_device(value):
    if isinstance(value, list | tuple):
        return type(value)(map(to_device, value))
    return xp.ndarray(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setattr(backend, "_current", Reference())


@pytest.mark.usefixtures("strict")
def test_a_unet_trains_on_strict_arrays_as_on_numpy():
    def losses():
        model = models.UNet(in_channels=1, num_classes=2, widths=(4, 8), seed=0)
        optimizer = optim.AdamW(model.parameters(), lr=1e-2)
        images = minseg.tensor(np.random.default_rng(1).standard_normal((2, 1, 16, 12), dtype=np.float32))
        labels = (images.numpy()[:, 0] > 0).astype(np.uint8)
        found = []
        for _ in range(3):
            optimizer.zero_grad()
            logits = model(images)
            loss = ops.cross_entropy(logits, labels) + ops.dice_loss_with_logits(logits, labels)
            loss.backward()
            optim.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            found.append(loss.item())
        return found, model

    found, model = losses()
    assert all(isinstance(p.data, xp.ndarray) for p in model.parameters())
    with minseg.use_backend("numpy"):
        expected, _ = losses()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.usefixtures("strict")
def test_arithmetic_and_its_gradients_run_on_strict_arrays():
    rng = np.random.default_rng(2)
    a, b = (minseg.tensor(rng.standard_normal((2, 3)), requires_grad=True) for _ in range(2))
    index = minseg.tensor(np.array([0, 1, 1]))

    def f(a, b):
        y = (a * b + a / (b * b + 1) - b) @ a.T + ops.relu(a).sum() ** 2
        y = (
            minseg.cat([y, y.T.exp().log()], dim=0)[index].abs().sqrt()
            if hasattr(minseg, "cat")
            else y[index].abs().sqrt()
        )
        return y.max(dim=1).values.mean() + y.var() + y.clip(0.1, 0.9).sum()

    assert minseg.gradcheck(f, [a, b])
