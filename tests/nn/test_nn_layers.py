"""Layers: their arguments, their state while training, and the same outputs as PyTorch's layers with the same state."""

import numpy as np
import pytest

from minseg import nn, ops, tensor, use_backend
from minseg.errors import ArgumentError, ShapeError


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def images(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# ----------------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(0, 1, 3), "Conv2d: in_channels must be at least 1, got 0"),
        (lambda: nn.Conv2d(1, 2.5, 3), "Conv2d: out_channels must be an integer, got 2.5"),
        (lambda: nn.Conv2d(1, 1, (3, 3, 3)), "kernel_size must be an integer or a pair"),
        (lambda: nn.Conv2d(1, 1, 0), "must be at least 1 and padding at least 0"),
        (lambda: nn.Conv2d(1, 1, 3, padding=-1), "must be at least 1 and padding at least 0"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "groups=2 must divide in_channels=3 and out_channels=4"),
        (lambda: nn.ConvTranspose2d(4, 3, 3, groups=2), "ConvTranspose2d: groups=2 must divide"),
        (lambda: nn.Linear(-1, 3), "Linear: in_features must be at least 1, got -1"),
        (lambda: nn.BatchNorm2d(0), "BatchNorm2d: num_features must be at least 1"),
        (lambda: nn.Dropout(1.5), "p must be a probability"),
        (lambda: nn.Upsample(), "give either size or scale_factor"),
        (lambda: nn.Upsample(scale_factor=2, mode="cubic"), "mode must be one of 'nearest', 'bilinear', got 'cubic'"),
    ],
)
def test_bad_arguments_are_found_when_the_layer_is_made(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_layers_without_bias_have_none():
    for layer in (nn.Conv2d(1, 2, 3, bias=False), nn.ConvTranspose2d(1, 2, 3, bias=False), nn.Linear(1, 2, False)):
        assert layer.bias is None
        assert list(layer.state_dict()) == ["weight"]
    assert list(nn.BatchNorm2d(2, affine=False).state_dict()) == ["running_mean", "running_var", "num_batches_tracked"]


def test_each_layer_is_its_operation():
    x = tensor(images(2, 4, 6, 5))
    pairs = [
        (nn.ReLU(), ops.relu),
        (nn.Sigmoid(), ops.sigmoid),
        (nn.Tanh(), ops.tanh),
        (nn.Softmax(), lambda x: ops.softmax(x, 1)),
        (nn.MaxPool2d((2, 3), 1, 1), lambda x: ops.max_pool2d(x, (2, 3), 1, 1)),
        (nn.MaxPool2d(2), lambda x: ops.max_pool2d(x, 2)),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), lambda x: ops.avg_pool2d(x, 3, 2, 1, False)),
        (nn.AdaptiveAvgPool2d((3, 2)), lambda x: ops.adaptive_avg_pool2d(x, (3, 2))),
        (nn.Upsample(size=(7, 3)), lambda x: ops.interpolate(x, size=(7, 3))),
        (nn.Upsample(scale_factor=2, mode="bilinear"), lambda x: ops.interpolate(x, None, 2, "bilinear")),
        (nn.Flatten(), lambda x: x.reshape(2, -1)),
        (nn.Flatten(2, 3), lambda x: x.reshape(2, 4, 30)),
        (nn.Identity(), lambda x: x),
    ]
    for layer, operation in pairs:
        assert np.array_equal(layer(x).data, operation(x).data), layer


def test_unpooling_undoes_pooling():
    x = tensor(images(1, 2, 5, 6))
    y, indices = nn.MaxPool2d(2, return_indices=True)(x)
    back = nn.MaxUnpool2d(2)(y, indices, output_size=(5, 6))
    assert back.shape == x.shape
    kept = back.data != 0
    assert kept.sum() == y.numel()
    assert np.array_equal(back.data[kept], x.data[kept])


# ------------------------------------------------------------------------------------------------------------- dropout


def test_dropout_draws_from_its_own_generator_and_only_in_training():
    x = tensor(np.ones((40, 50), np.float32))
    one, same, other = nn.Dropout(0.3), nn.Dropout(0.3), nn.Dropout(0.3, rng=np.random.default_rng(1))
    first = one(x).data
    assert np.array_equal(first, same(x).data)
    assert not np.array_equal(first, one(x).data)
    assert not np.array_equal(first, other(x).data)
    assert np.array_equal(one.eval()(x).data, x.data)
    one.train().rng = np.random.default_rng(0)
    assert np.array_equal(first, one(x).data)


# ---------------------------------------------------------------------------------------------------------- batch norm


def test_batch_norm_uses_the_batch_in_training_and_its_memory_afterwards():
    layer = nn.BatchNorm2d(2, momentum=0.25)
    x = images(3, 2, 4, 5) * np.array([2, 3], np.float32)[:, None, None] + 1
    y = layer(tensor(x)).data
    assert np.abs(y.mean(axis=(0, 2, 3))).max() < 1e-6
    assert np.allclose(layer.running_mean, 0.25 * x.mean(axis=(0, 2, 3)), rtol=1e-5)
    assert np.allclose(layer.running_var, 0.75 + 0.25 * x.var(axis=(0, 2, 3), ddof=1), rtol=1e-5)
    assert layer.num_batches_tracked == 1
    layer.eval()
    before = layer.state_dict()
    one = layer(tensor(x[:1])).data
    assert np.array_equal(one, layer(tensor(x)).data[:1])  # an image's output does not depend on the batch
    assert all(np.array_equal(before[name], array) for name, array in layer.state_dict().items())


def test_batch_norm_without_momentum_takes_the_mean_of_all_batches():
    layer = nn.BatchNorm2d(1, momentum=None)
    batches = [images(2, 1, 3, 3, seed=seed) for seed in range(4)]
    for x in batches:
        layer(tensor(x))
    assert np.allclose(layer.running_mean, np.mean([x.mean() for x in batches]), atol=1e-6)
    assert np.allclose(layer.running_var, np.mean([x.var(ddof=1) for x in batches]), atol=1e-6)


def test_batch_norm_cannot_train_on_one_value_and_is_unharmed_by_the_try():
    layer = nn.BatchNorm2d(3)
    x = tensor(images(1, 3, 1, 1))
    with pytest.raises(ShapeError, match="more than one value per channel"):
        layer(x)
    assert layer.num_batches_tracked == 0
    assert layer.eval()(x).shape == (1, 3, 1, 1)


# ---------------------------------------------------------------------------------------------------------------- peer

WINDOWS = [
    {"kernel_size": 1},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "bias": False},
    {"kernel_size": (2, 3), "stride": 2, "padding": (2, 1), "dilation": (2, 3), "groups": 2},
]


def with_the_same_state(theirs, ours):
    """Ours, with their weights, which must fit by name, shape and dtype."""
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    return ours


def assert_close(ours, theirs):
    theirs = theirs.detach().numpy()
    u = np.finfo(theirs.dtype).eps
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    # at most about 100 terms of size 1 to 3 are summed, in another order
    assert np.abs(ours - theirs).max() <= 64 * u * max(1, np.abs(theirs).max())


@pytest.mark.peer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("window", WINDOWS)
def test_convolutions_equal_pytorchs(window, dtype):
    torch = pytest.importorskip("torch")
    x = images(2, 4, 9, 11, dtype=dtype)
    for name, extra in (("Conv2d", {}), ("ConvTranspose2d", {"output_padding": 1} if "dilation" in window else {})):
        theirs = getattr(torch.nn, name)(4, 6, **window, **extra, dtype=getattr(torch, dtype))
        ours = with_the_same_state(theirs, getattr(nn, name)(4, 6, **window, **extra).to(dtype=dtype))
        assert_close(ours(tensor(x)).data, theirs(torch.from_numpy(x)))


@pytest.mark.peer
@pytest.mark.parametrize("shape", [(5, 7), (1, 7), (2, 3, 7)])
def test_linear_equals_pytorchs(shape):
    torch = pytest.importorskip("torch")
    x = images(*shape)
    theirs = torch.nn.Linear(7, 4)
    assert_close(with_the_same_state(theirs, nn.Linear(7, 4))(tensor(x)).data, theirs(torch.from_numpy(x)))


@pytest.mark.peer
@pytest.mark.parametrize("options", [{}, {"momentum": 0.3, "eps": 1e-2}, {"momentum": None}, {"affine": False}])
def test_batch_norm_equals_pytorchs_in_training_and_after(options):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.BatchNorm2d(3, **options)
    if theirs.affine:
        torch.nn.init.normal_(theirs.weight, 1, 0.5, generator=torch.Generator().manual_seed(0))
        torch.nn.init.normal_(theirs.bias, 0, 0.5, generator=torch.Generator().manual_seed(1))
    ours = with_the_same_state(theirs, nn.BatchNorm2d(3, **options))
    for step in range(3):
        x = images(2 + step, 3, 4, 5, seed=step) * 2 + 1
        assert_close(ours(tensor(x)).data, theirs(torch.from_numpy(x)))
    assert_close(ours.running_mean, theirs.running_mean)
    assert_close(ours.running_var, theirs.running_var)
    assert int(ours.num_batches_tracked) == int(theirs.num_batches_tracked) == 3
    x = images(1, 3, 1, 1)
    assert_close(ours.eval()(tensor(x)).data, theirs.eval()(torch.from_numpy(x)))


@pytest.mark.peer
def test_pooling_resizing_and_activations_equal_pytorchs():
    torch = pytest.importorskip("torch")
    x = images(2, 3, 9, 7)
    pairs = [
        (nn.MaxPool2d(2), torch.nn.MaxPool2d(2)),
        (nn.MaxPool2d((3, 2), 2, (1, 0)), torch.nn.MaxPool2d((3, 2), 2, (1, 0))),
        (nn.AvgPool2d(3, 2, 1), torch.nn.AvgPool2d(3, 2, 1)),
        (
            nn.AvgPool2d(3, 2, 1, count_include_pad=False),
            torch.nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        ),
        (nn.AdaptiveAvgPool2d((4, 5)), torch.nn.AdaptiveAvgPool2d((4, 5))),
        (nn.Upsample(scale_factor=2), torch.nn.Upsample(scale_factor=2)),
        (nn.Upsample(size=(5, 13)), torch.nn.Upsample(size=(5, 13))),
        (nn.Upsample(None, 3, "bilinear"), torch.nn.Upsample(None, 3, "bilinear")),
        (nn.ReLU(), torch.nn.ReLU()),
        (nn.Sigmoid(), torch.nn.Sigmoid()),
        (nn.Tanh(), torch.nn.Tanh()),
        (nn.Softmax(dim=-1), torch.nn.Softmax(dim=-1)),
        (nn.Flatten(1, 2), torch.nn.Flatten(1, 2)),
    ]
    for ours, theirs in pairs:
        assert_close(ours(tensor(x)).data, theirs(torch.from_numpy(x)))


@pytest.mark.peer
def test_unpooling_equals_pytorchs():
    torch = pytest.importorskip("torch")
    x = images(2, 3, 9, 7)
    y, indices = nn.MaxPool2d(3, 2, return_indices=True)(tensor(x))
    z, places = torch.nn.MaxPool2d(3, 2, return_indices=True)(torch.from_numpy(x))
    assert np.array_equal(indices.data, places.numpy())
    # windows overlap here, so a pixel may be named twice: PyTorch then keeps one value, minseg adds. Non-overlapping ones agree:
    y, indices = nn.MaxPool2d(2, return_indices=True)(tensor(x))
    z, places = torch.nn.MaxPool2d(2, return_indices=True)(torch.from_numpy(x))
    ours = nn.MaxUnpool2d(2)(y, indices, output_size=(9, 7)).data
    assert np.array_equal(ours, torch.nn.MaxUnpool2d(2)(z, places, output_size=(9, 7)).numpy())
