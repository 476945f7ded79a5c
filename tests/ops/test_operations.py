"""Operations beyond their numbers: state, randomness, memory, sizes, strides of arrays, and what is not computed."""

import weakref

import numpy as np
import pytest

import minseg
from minseg import backend, ops
from minseg.errors import ArgumentError, BackendError, DtypeError, ShapeError
from minseg.testing import gradients

BOTH = pytest.mark.parametrize("name", ["numpy", "numba"])
rng = np.random.default_rng(8)


def tensor(*shape, dtype=np.float64, needs=True):
    return minseg.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=needs)


# --------------------------------------------------------------------------------------------------- on every operation


CASES = [case for case in gradients.cases() if case.operation in ops.__all__]
FLOAT64_INSIDE = {"batch_norm", "batch_norm_eval", "batch_norm_relu", "class weights", "not reduced", "soft targets"}
"""Operations and cases with constants in float64, which float32 inputs would not go with."""


@BOTH
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.operation}: {case.name}")
def test_dtype_strides_and_inputs(case, name):
    """float32 stays float32, arrays of any strides give the same result, and no input is changed."""
    dtypes = [np.float64] if {case.operation, case.name} & FLOAT64_INSIDE else [np.float32, np.float64]
    with minseg.use_backend(name):
        for dtype in dtypes:
            arrays = [x.astype(dtype) for x in case.inputs.values()]
            strided = [np.repeat(x[..., None], 2, axis=-1)[..., 0] for x in arrays]
            before = [x.copy() for x in arrays]
            y = first(case.function(*map(minseg.tensor, arrays)))
            z = first(case.function(*map(minseg.tensor, strided)))
            assert y.dtype == dtype
            assert np.isfinite(y.data).all()
            assert (y.data == z.data).all()
            assert all((x == known).all() for x, known in zip(arrays, before))


def first(outputs):
    return outputs if isinstance(outputs, minseg.Tensor) else outputs[0]


def test_mixed_dtypes_are_never_cast():
    x, w = tensor(1, 2, 4, 4, dtype=np.float32), tensor(3, 2, 3, 3)
    for call in (
        lambda: ops.conv2d(x, w),
        lambda: ops.linear(tensor(2, 4, dtype=np.float32), tensor(3, 4)),
        lambda: ops.batch_norm_training(x, tensor(2)),
        lambda: ops.batch_norm_eval(x, np.zeros(2), np.ones(2)),
        lambda: ops.mse_loss(x, np.zeros(x.shape)),
        lambda: ops.cross_entropy(x, np.zeros((1, 4, 4), int), np.ones(2)),
    ):
        with pytest.raises(DtypeError, match="mixed dtypes"):
            call()


def test_a_foreign_array_is_an_error():
    class Elsewhere:
        """An array on another machine, as far as a NumPy backend can tell."""

        shape, dtype = (2,), np.dtype(np.float32)

    with pytest.raises(BackendError, match="Elsewhere, but the active backend"):
        ops.relu(minseg.Tensor(Elsewhere()))


# ----------------------------------------------------------------------------------- what is saved, what is not computed


@pytest.mark.parametrize(
    ("needs", "saved"),
    [
        ((True, False, False), {"w"}),
        ((False, True, False), {"x"}),
        ((False, False, True), set()),
        ((True,) * 3, {"x", "w"}),
    ],
)
def test_convolutions_keep_only_what_backward_reads(needs, saved):
    for op, w_shape in ((ops.conv2d, (4, 2, 3, 3)), (ops.conv_transpose2d, (2, 4, 3, 3))):
        y = op(tensor(1, 2, 5, 5, needs=needs[0]), tensor(*w_shape, needs=needs[1]), tensor(4, needs=needs[2]))
        assert {key for key, array in vars(y.node.saved).items() if array is not None} == saved


def test_linear_keeps_only_what_backward_reads():
    for x_needs, saved in ((False, {"rows"}), (True, {"w"})):
        y = ops.linear(tensor(3, 2, needs=x_needs), tensor(4, 2, needs=not x_needs))
        assert {key for key, array in vars(y.node.saved).items() if array is not None} == saved


def test_linear_maps_and_sizes_keep_nothing():
    x = tensor(1, 2, 4, 6)
    for y in (
        ops.avg_pool2d(x, 2),
        ops.adaptive_avg_pool2d(x, 3),
        ops.interpolate(x, 3),
        ops.interpolate(x, 3, mode="bilinear"),
    ):
        assert vars(y.node.saved) == {}
    assert set(vars(ops.max_pool2d(x, 2).node.saved)) == {"indices"}
    assert ops.dropout(x, rng=np.random.default_rng(0)).node.saved.keep.dtype == bool


def test_without_gradients_nothing_is_kept():
    x, w = tensor(1, 2, 5, 5), tensor(3, 2, 3, 3)
    with minseg.no_grad():
        assert ops.conv2d(x, w).node is None
    assert ops.relu(tensor(3, needs=False)).node is None


@pytest.mark.parametrize("needed", [0, 1, 2])
def test_only_gradients_asked_for_are_computed(needed, monkeypatch):
    """Each backward with the primitives of the other gradients taken away."""
    numpy = backend.get("numpy")
    own = {0: "grad_x", 1: "grad_w", 2: "grad_b"}[needed]

    def forbidden(*args):
        raise AssertionError("a gradient that nobody asked for was computed")

    for family in ("conv2d", "linear"):
        for kind in ("grad_x", "grad_w", "grad_b"):
            if kind != own:
                monkeypatch.setitem(vars(numpy), f"{family}_{kind}", forbidden)
    inputs = [tensor(*shape, needs=k == needed) for k, shape in enumerate([(1, 2, 5, 5), (3, 2, 3, 3), (3,)])]
    rows = [tensor(*shape, needs=k == needed) for k, shape in enumerate([(4, 2), (3, 2), (3,)])]
    with minseg.use_backend("numpy"):
        ops.conv2d(*inputs).sum().backward()
        ops.linear(*rows).sum().backward()
    assert inputs[needed].grad.shape == inputs[needed].shape
    assert rows[needed].grad.shape == rows[needed].shape


@pytest.mark.parametrize("transposed", [False, True], ids=["conv2d", "conv_transpose2d"])
@pytest.mark.parametrize("retain", [False, True])
def test_a_convolution_lets_its_input_go_before_it_computes_the_gradient_for_it(transposed, retain, monkeypatch):
    """The two are of one size, and memory is shortest there; a graph that is retained keeps it."""
    operation, primitive = (ops.conv_transpose2d, "conv2d") if transposed else (ops.conv2d, "conv2d_grad_x")
    leaf, w = tensor(1, 2, 5, 4), tensor(2, 2, 3, 3)
    between = leaf * 2.0
    x = weakref.ref(between.data)
    y = operation(between, w).sum()
    del between
    alive, kernel = [], getattr(backend.current(), primitive)
    monkeypatch.setattr(backend.current(), primitive, lambda *args: alive.append(x() is not None) or kernel(*args))
    y.backward(retain_graph=retain)
    assert alive == [retain]
    if retain:
        once = leaf.grad
        y.backward()
        np.testing.assert_array_equal(leaf.grad, 2 * once)


# -------------------------------------------------------------------------------------------------- batch normalisation


@BOTH
def test_training_changes_no_array(name):
    x, mean, var = tensor(2, 3, 4, 4), np.zeros(3), np.ones(3)
    with minseg.use_backend(name):
        y, new_mean, new_var = ops.batch_norm(x, mean, var, training=True)
    assert (mean == 0).all()
    assert (var == 1).all()
    assert (new_mean != mean).all()
    assert (new_var != var).all()
    assert np.abs(y.data.mean((0, 2, 3))).max() < 1e-14
    assert np.abs(y.data.var((0, 2, 3)) - 1).max() < 1e-4


def test_evaluation_returns_the_statistics_it_was_given():
    mean, var = np.zeros(3), np.ones(3)
    y, same_mean, same_var = ops.batch_norm(tensor(2, 3, 4, 4), mean, var)
    assert same_mean is mean
    assert same_var is var
    assert y.requires_grad


def test_momentum_zero_keeps_and_one_replaces():
    x, mean, var = tensor(2, 3, 4, 4), np.full(3, 5.0), np.full(3, 7.0)
    _, kept_mean, kept_var = ops.batch_norm(x, mean, var, training=True, momentum=0.0)
    _, new_mean, new_var = ops.batch_norm(x, mean, var, training=True, momentum=1.0)
    assert (kept_mean == 5).all()
    assert (kept_var == 7).all()
    assert new_mean == pytest.approx(x.data.mean((0, 2, 3)))
    assert new_var == pytest.approx(x.data.var((0, 2, 3), ddof=1))


def test_float32_statistics_stay_float32():
    x = tensor(2, 3, 4, 4, dtype=np.float32)
    _, mean, var = ops.batch_norm(x, np.zeros(3, np.float32), np.ones(3, np.float32), training=True)
    assert mean.dtype == var.dtype == np.float32


@BOTH
def test_a_large_mean_costs_no_digits(name):
    """Two passes: the mean of squares minus the square of the mean would lose all of them."""
    noise = rng.standard_normal((2, 2, 8, 8))
    with minseg.use_backend(name):
        y, _, _ = ops.batch_norm_training(minseg.tensor((noise + 1000).astype(np.float32)))
        exact, _, _ = ops.batch_norm_training(minseg.tensor((noise + 1000).astype(np.float32).astype(np.float64)))
    assert np.abs(y.data - exact.data).max() < 1e-3


def test_the_statistics_pass_no_gradient_on():
    _, mean, var = ops.batch_norm_training(tensor(2, 3, 4, 4))
    assert not mean.requires_grad
    assert not var.requires_grad


# -------------------------------------------------------------------------------------------------------------- dropout


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_keeps_the_mean(dtype):
    x = minseg.tensor(np.ones(40_000, dtype))
    y = ops.dropout(x, 0.2, rng=np.random.default_rng(0))
    kept = (y.data != 0).mean()
    assert y.dtype == dtype
    assert set(np.unique(y.data)) == {0, dtype(1 / 0.8)}
    assert abs(kept - 0.8) < 5 * (0.2 * 0.8 / 40_000) ** 0.5  # five standard deviations


def test_dropout2d_drops_whole_channels_of_single_samples():
    y = ops.dropout2d(minseg.tensor(np.ones((20, 30, 3, 2))), 0.5, rng=np.random.default_rng(0)).data
    per_channel = y.reshape(20, 30, 6)
    assert (per_channel == per_channel[..., :1]).all()
    assert 0 < (per_channel[..., 0] == 0).mean() < 1
    assert (per_channel[0, :, 0] != per_channel[1, :, 0]).any()


def test_the_same_seed_drops_the_same_elements_in_both_dtypes():
    dropped = [
        ops.dropout(minseg.tensor(np.ones(100, dtype)), rng=np.random.default_rng(3)).data == 0
        for dtype in (np.float32, np.float64)
    ]
    assert (dropped[0] == dropped[1]).all()


def test_dropout_at_its_limits():
    x, generator = tensor(50), np.random.default_rng(0)
    assert ops.dropout(x, 0.9, training=False) is x
    assert ops.dropout(x, 0.0, rng=generator) is x
    y = ops.dropout(x, 1.0, rng=generator)
    y.sum().backward()
    assert (y.data == 0).all()
    assert (x.grad == 0).all()


def test_dropped_infinities_leave_no_nan():
    x = minseg.tensor(np.full(20, np.inf))
    y = ops.dropout(x, 0.5, rng=np.random.default_rng(0)).data
    assert set(y.tolist()) == {0.0, np.inf}


# ---------------------------------------------------------------------------------------------------- pooling and sizes


@BOTH
def test_an_unpooled_map_is_pooled_back(name):
    x = minseg.tensor(gradients.spaced(rng, 2, 3, 7, 5) + 20)
    with minseg.use_backend(name):
        y, indices = ops.max_pool2d(x, 2, return_indices=True)
        back = ops.max_unpool2d(y, indices, 2, output_size=(7, 5))
        again = ops.max_pool2d(back, 2)
    assert indices.dtype == np.int32
    assert back.shape == x.shape
    assert (again.data == y.data).all()
    assert ((back.data == 0) | (back.data == x.data)).all()


def test_max_unpool2d_takes_sizes_as_pytorch_does():
    y, indices = ops.max_pool2d(tensor(1, 1, 4, 6), 2, return_indices=True)
    assert ops.max_unpool2d(y, indices, 2).shape == (1, 1, 4, 6)
    assert ops.max_unpool2d(y, indices, 2, output_size=(5, 7)).shape == (1, 1, 5, 7)
    assert ops.max_unpool2d(y, indices, 2, output_size=(1, 1, 5, 7)).shape == (1, 1, 5, 7)
    assert ops.max_unpool2d(y, indices.data, 2, output_size=[5, 6]).shape == (1, 1, 5, 6)
    for size in ((2, 6), (6, 6), (4, 4), (4, 8)):  # a whole stride off
        with pytest.raises(ShapeError, match=r"must be within \(2, 4\) and \(6, 8\), both excluded"):
            ops.max_unpool2d(y, indices, 2, output_size=size)
    with pytest.raises(ArgumentError, match=r"indices must lie in 0\.\.14"):
        ops.max_unpool2d(y, indices, 2, output_size=(3, 5))


def test_a_padded_maximum_of_negative_pixels_is_a_pixel():
    """ERR-08: zeros outside would win over an image of -1."""
    assert (ops.max_pool2d(minseg.tensor(np.full((1, 1, 3, 3), -1.0)), 3, 1, 1).data == -1).all()


def test_a_mean_divides_by_the_whole_window():
    """ERR-10: 1/k instead of 1/k^2 would give 5, 10, 15."""
    for k in (1, 2, 3):
        assert (ops.avg_pool2d(minseg.tensor(np.full((1, 1, 6, 6), 5.0)), k).data == 5).all()


def test_scale_factors_round_down():
    x = tensor(1, 1, 5, 7)
    assert ops.interpolate(x, scale_factor=1.5).shape == (1, 1, 7, 10)
    assert ops.interpolate(x, scale_factor=(2, 0.5)).shape == (1, 1, 10, 3)
    assert (ops.interpolate(x, (5, 7), mode="bilinear").data == x.data).all()


@BOTH
def test_one_pixel_everywhere(name):
    x = minseg.tensor(np.full((1, 1, 1, 1), 3.0))
    with minseg.use_backend(name):
        results = [
            ops.max_pool2d(x, 1),
            ops.avg_pool2d(x, 1),
            ops.adaptive_avg_pool2d(x, 1),
            ops.global_avg_pool2d(x),
            ops.interpolate(x, 1),
            ops.interpolate(x, 1, mode="bilinear"),
            ops.relu(x),
        ]
        assert (ops.interpolate(x, (2, 3), mode="bilinear").data == np.full((1, 1, 2, 3), 3.0)).all()
    assert all(y.shape == (1, 1, 1, 1) and y.item() == 3 for y in results)


@pytest.mark.parametrize("value", [True, 2.0, "2", None, (1, 2, 3), [2], (2, None)])
def test_sizes_are_integers(value):
    x = tensor(1, 1, 4, 4)
    with pytest.raises(ArgumentError, match="kernel_size must be an integer or a pair of integers"):
        ops.max_pool2d(x, value)
    with pytest.raises(ArgumentError, match="groups must be an integer"):
        ops.conv2d(x, tensor(1, 1, 1, 1), groups=value)


def test_numpy_integers_are_integers():
    assert ops.max_pool2d(tensor(1, 1, 4, 4), np.int64(2)).shape == (1, 1, 2, 2)
    assert ops.conv2d(tensor(1, 1, 4, 4), tensor(1, 1, 1, 1), stride=(np.int32(2), 1)).shape == (1, 1, 2, 4)


def test_the_gradient_of_relu_at_the_kink_is_zero():
    x = minseg.tensor(np.array([-1.0, 0.0, 1.0]), requires_grad=True)
    ops.relu(x).sum().backward()
    assert x.grad.tolist() == [0, 0, 1]


def test_softmax_sums_to_one_along_any_axis():
    x = tensor(2, 3, 4)
    for dim in (0, 1, 2, -1, -3):
        assert ops.softmax(x, dim).data.sum(axis=dim) == pytest.approx(1)
        assert np.exp(ops.log_softmax(x, dim).data) == pytest.approx(ops.softmax(x, dim).data)
