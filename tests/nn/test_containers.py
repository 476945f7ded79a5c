"""Modules in turn: neighbours that are computed together give what each gives by itself, and nobody who looks can tell."""

from functools import partial

import numpy as np
import pytest

from minseg import explain, nn, no_grad, ops, tensor, use_backend
from minseg.errors import ArgumentError, ShapeError

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "numba"])


def a_stack(seed: int = 0) -> nn.Sequential:
    """Convolution, batch norm with a scale and a shift of its own, ReLU, convolution."""
    rng = np.random.default_rng(seed)
    stack = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False, rng=rng), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1, rng=rng)
    )
    stack[1].weight.data, stack[1].bias.data = rng.standard_normal((2, 3)).astype(np.float32)
    return stack


def images():
    return tensor(np.random.default_rng(1).standard_normal((2, 2, 6, 5)).astype(np.float32), requires_grad=True)


def one_by_one(stack: nn.Sequential, x):
    for module in stack:
        x = module(x)
    return x


@BACKENDS
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_batch_norm_and_relu_together_give_the_bits_that_they_give_alone(backend, training):
    with use_backend(backend):
        together, alone = a_stack().train(training), a_stack().train(training)
        x, same = images(), images()
        y, z = together(x), one_by_one(alone, same)
        (y * y).sum().backward()
        (z * z).sum().backward()
    assert np.array_equal(y.data, z.data)
    assert np.array_equal(x.grad, same.grad)
    for p, q in zip(together.parameters(), alone.parameters(), strict=True):
        assert np.array_equal(p.grad, q.grad)
    for (name, array), (_, other) in zip(together.named_buffers(), alone.named_buffers(), strict=True):
        assert np.array_equal(array, other), name


def test_they_are_one_operation():
    stack = a_stack()
    assert type(nn.feed(images(), *list(stack)[:3]).node) is ops.norm.BatchNormReLUTraining
    assert type(nn.feed(images(), *list(stack.eval())[:3]).node) is ops.norm.BatchNormReLUEval


@pytest.mark.parametrize("watched", ["0", "1", "2", "3"])
def test_whoever_records_a_layer_sees_its_own_output(watched):
    stack = a_stack().eval()
    x = images()
    with explain.record(stack, watched) as seen:
        y = stack(x)
    assert np.array_equal(seen[watched][0].data, one_by_one(list(stack)[: int(watched) + 1], x).data)
    assert np.array_equal(y.data, one_by_one(stack, x).data)


def test_a_subclass_is_run_by_itself():
    class Leaky(nn.ReLU):
        def forward(self, x):
            return ops.relu(x) - 0.1 * ops.relu(-x)

    class Twice(nn.BatchNorm2d):
        def forward(self, x):
            return 2 * super().forward(x)

    x = images()
    for pair in ((nn.BatchNorm2d(2), Leaky()), (Twice(2), nn.ReLU())):
        expected = one_by_one(pair, x)
        assert np.array_equal(nn.Sequential(*pair)(x).data, expected.data)


def test_an_error_is_that_of_batch_norm():
    with pytest.raises(ShapeError, match=r"batch_norm: training needs more than one value per channel"):
        nn.Sequential(nn.BatchNorm2d(2), nn.ReLU())(tensor(np.zeros((1, 2, 1, 1), np.float32)))


def test_batch_norm_at_the_end_has_no_relu():
    x = images()
    assert float(nn.Sequential(nn.BatchNorm2d(2))(x).data.min()) < 0
    assert float(nn.Sequential(nn.BatchNorm2d(2), nn.Tanh())(x).data.min()) < 0


# ------------------------------------------------------------------------------------------------------ folding

FOLDED = {
    "plain": {},
    "with a bias": {"bias": True},
    "no scale and no shift": {"affine": False},
    "stride, padding, dilation": {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)},
    "groups": {"groups": 2},
    "depthwise, with a bias": {"groups": 4, "bias": True},
}


def a_pair(rng, affine=True, bias=False, **window) -> nn.Sequential:
    """Convolution and batch norm in evaluation; a negative and a zero scale, and a channel that never varied."""
    pair = nn.Sequential(nn.Conv2d(4, 8, (3, 2), bias=bias, rng=rng, **window), nn.BatchNorm2d(8, affine=affine)).eval()
    state = {name: rng.standard_normal(array.shape).astype(array.dtype) for name, array in pair.state_dict().items()}
    state["1.num_batches_tracked"] = np.array(3)
    state["1.running_var"] **= 2
    state["1.running_var"][2] = 0
    if affine:
        state["1.weight"][:2] = -1.5, 0
    pair.load_state_dict(state)
    return pair


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", FOLDED)
def test_folding_changes_nothing_but_roundings(case, dtype):
    """Both ways sum K products and a bias, and scale: each is off by its roundings, of the magnitude of the absolute values."""
    rng = np.random.default_rng(2)
    with use_backend("numpy"), no_grad():
        pair = a_pair(rng, **FOLDED[case]).to(dtype=dtype)
        convolution, norm = pair
        x = tensor(rng.standard_normal((2, 4, 9, 8)).astype(dtype))
        folded, alone = pair(x).data, one_by_one(pair, x).data
        w = np.abs(nn.fold_batch_norm(convolution, norm)[0])
        window = convolution.stride, convolution.padding, convolution.dilation, convolution.groups
        size = ops.conv2d(tensor(np.abs(x.data)), tensor(w), None, *window).data
    scale = 1 if norm.weight is None else np.abs(norm.weight.data)
    scale = scale / np.sqrt(norm.running_var + norm.eps)
    shift = np.abs(norm.running_mean) + (0 if convolution.bias is None else np.abs(convolution.bias.data))
    shift = scale * shift + (0 if norm.bias is None else np.abs(norm.bias.data))
    K, u = convolution.weight.data[0].size, np.finfo(dtype).eps / 2
    assert (np.abs(folded - alone) <= (4 * np.sqrt(K + 1) + 16) * u * (size + shift[:, None, None])).all()
    assert folded.tobytes() != alone.tobytes(), "it was not folded"


def convolutions_with_a_bias(monkeypatch) -> list[bool]:
    """Whether each convolution from here on has a bias; those in ``a_stack`` have none but the last, unless they are folded."""
    seen = []

    def watched(convolve, x, w, b, *window):
        seen.append(b is not None)
        return convolve(x, w, b, *window)

    for convolve in (ops.conv2d, ops.conv2d_relu):
        monkeypatch.setattr(ops, convolve.__name__, partial(watched, convolve))
    return seen


def test_folding_is_for_evaluation_without_gradients(monkeypatch):
    seen = convolutions_with_a_bias(monkeypatch)
    x = images().detach()
    stack = a_stack()
    with no_grad():
        stack(x)
    stack.eval()(x)
    assert seen == [False, True] * 2
    with no_grad():
        stack(x)
    assert seen[4:] == [True, True]
    for p in stack.parameters():
        p.requires_grad = False
    stack(x)
    stack(images())
    assert seen[6:] == [True, True, False, True]


def test_folding_sees_the_weights_and_statistics_of_now():
    stack, x = a_stack().eval(), images()
    with no_grad():
        before = stack(x).data
        stack[0].weight.data = 2 * stack[0].weight.data
        stack[1].running_mean = stack[1].running_mean + 1
        after = stack(x).data
        assert np.abs(after - one_by_one(stack, x).data).max() < 1e-5
    assert np.abs(after - before).max() > 0.1


def test_a_layer_that_is_recorded_is_not_folded():
    stack, x = a_stack().eval(), images()
    with no_grad():
        expected = stack[1](stack[0](x)).data
        for watched in ("0", "1"):
            with explain.record(stack, watched) as seen:
                stack(x)
            assert np.array_equal(seen[watched][0].data, stack[0](x).data if watched == "0" else expected)


def test_a_transposed_convolution_is_not_folded():
    stack = nn.Sequential(nn.ConvTranspose2d(2, 3, 2, stride=2, rng=np.random.default_rng(0)), nn.BatchNorm2d(3)).eval()
    with no_grad():
        assert np.array_equal(stack(images()).data, one_by_one(stack, images()).data)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            lambda s: setattr(s[1], "running_var", -np.ones(3, np.float32)),
            ArgumentError,
            "a running variance is negative",
        ),
        (lambda s: setattr(s[1], "running_mean", np.zeros(3)), TypeError, "mixed dtypes"),
        (lambda s: setattr(s, "1", nn.BatchNorm2d(4).eval()), ShapeError, "one value for each of the 3 channels"),
    ],
)
def test_what_cannot_be_folded_is_refused_as_without_folding(spoil, error, message):
    stack = a_stack().eval()
    spoil(stack)
    with no_grad(), pytest.raises(error, match=message):
        stack(images())


# ------------------------------------------------------------------------------------------- convolution and ReLU


def rectified(monkeypatch) -> list:
    """The kernels' shapes of each convolution from here on that is computed together with a ReLU."""
    seen, convolve = [], ops.conv2d_relu
    monkeypatch.setattr(ops, "conv2d_relu", lambda x, w, *rest: seen.append(w.shape) or convolve(x, w, *rest))
    return seen


@BACKENDS
def test_convolution_and_relu_together_give_the_bits_that_they_give_alone(backend, monkeypatch):
    seen = rectified(monkeypatch)
    with use_backend(backend), no_grad():
        x = tensor(np.random.default_rng(5).standard_normal((2, 16, 9, 20)).astype(np.float32))
        for layer in (
            nn.Conv2d(16, 16, 3, padding=1),
            nn.Conv2d(16, 3, (1, 2), stride=2),
            nn.Conv2d(16, 8, 3, groups=8),
        ):
            layer.bias.data = np.random.default_rng(6).standard_normal(layer.out_channels).astype(np.float32)
            together, alone = nn.Sequential(layer, nn.ReLU())(x).data, ops.relu(layer(x)).data
            assert together.tobytes() == alone.tobytes()
            assert 0 < (together > 0).mean() < 1
    assert seen == [(16, 16, 3, 3), (3, 16, 1, 2), (8, 2, 3, 3)]


def test_they_are_computed_together_where_nothing_is_recorded(monkeypatch):
    seen = rectified(monkeypatch)
    stack, x = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.Tanh(), nn.Conv2d(2, 2, 1)), images()
    stack(x)
    assert not seen
    with no_grad():
        stack(x)
        a_stack().eval()(x)  # with a normalisation between them that is folded away
        a_stack().train()(x)  # where it is not
    assert seen == [(3, 2, 1, 1), (3, 2, 3, 3)]


def test_a_relu_that_is_recorded_or_a_subclass_is_run_by_itself(monkeypatch):
    class Leaky(nn.ReLU):
        def forward(self, x):
            return ops.relu(x) - 0.1 * ops.relu(-x)

    x, seen = images(), rectified(monkeypatch)
    with no_grad():
        for relu in (Leaky(), nn.ReLU()):
            stack = nn.Sequential(nn.Conv2d(2, 3, 1, rng=np.random.default_rng(0)), relu)
            with explain.record(stack, "1") as outputs:
                y = stack(x)
            assert np.array_equal(y.data, relu(stack[0](x)).data)
            assert np.array_equal(outputs["1"][0].data, y.data)
    assert not seen
