"""Attention, positions, instance and layer norm, separable convolution: their rules, and the same as PyTorch's with its weights."""

import numpy as np
import pytest

from minseg import nn, ops, tensor, use_backend
from minseg.errors import ArgumentError, DtypeError, ShapeError


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def values(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# ------------------------------------------------------------------------------------------------------------ attention


def test_attention_does_not_care_about_the_order_of_keys():
    q, k, v = (values(2, 5, 3, seed=s, dtype=np.float64) for s in range(3))
    order = [3, 0, 4, 1, 2]
    y = ops.scaled_dot_product_attention(tensor(q), tensor(k), tensor(v)).data
    again = ops.scaled_dot_product_attention(tensor(q), tensor(k[:, order]), tensor(v[:, order])).data
    assert np.abs(y - again).max() < 1e-12


def test_one_key_gives_its_value_to_all():
    q, k, v = values(4, 3), values(1, 3), values(1, 2)
    y, weights = ops.scaled_dot_product_attention(tensor(q), tensor(k), tensor(v), need_weights=True)
    assert np.array_equal(y.data, np.tile(v, (4, 1)))
    assert (weights.data == 1).all()


def test_mixed_dtypes_are_refused():
    q = values(4, 3)
    with pytest.raises(DtypeError, match="scaled_dot_product_attention: mixed dtypes"):
        ops.scaled_dot_product_attention(tensor(q), tensor(q), tensor(q.astype(np.float64)))
    with pytest.raises(DtypeError, match="layer_norm: mixed dtypes"):
        ops.layer_norm(tensor(q), 3, tensor(np.ones(3)))
    with pytest.raises(DtypeError, match="instance_norm: mixed dtypes"):
        ops.instance_norm(tensor(values(1, 3, 2, 2)), tensor(np.ones(3)))


def test_weights_of_all_heads_their_mean_or_none():
    layer = nn.MultiheadAttention(6, 3, rng=np.random.default_rng(0))
    x, memory = tensor(values(2, 4, 6)), tensor(values(2, 5, 6, seed=1))
    y, mean = layer(x, memory, memory)
    again, heads = layer(x, memory, memory, average_attn_weights=False)
    alone, nothing = layer(x, memory, memory, need_weights=False)
    assert y.shape == (2, 4, 6)
    assert mean.shape == (2, 4, 5)
    assert heads.shape == (2, 3, 4, 5)
    assert nothing is None
    assert np.allclose(heads.data.mean(axis=1), mean.data)
    assert np.array_equal(y.data, again.data)
    np.testing.assert_allclose(
        alone.data, y.data, rtol=0, atol=32 * 2.0**-24
    )  # another kernel, a few roundings of numbers below 2


def test_bad_attention_is_refused():
    for arguments in [(6, 4), (6, 0), (0, 1)]:
        with pytest.raises(ArgumentError, match=r"MultiheadAttention: num_heads=. must divide embed_dim"):
            nn.MultiheadAttention(*arguments)
    layer, x = nn.MultiheadAttention(6, 2), tensor(values(2, 4, 6))
    for bad in (values(2, 4, 5), values(1, 4, 6), values(4, 6)):
        with pytest.raises(ShapeError, match=r"MultiheadAttention: expected query \(N, L, 6\)"):
            layer(x, tensor(bad), tensor(bad))


# ------------------------------------------------------------------------------------------------------------ positions


def test_no_two_positions_are_alike():
    p = nn.sinusoidal_positions_2d(9, 13, 8).reshape(8, -1).T
    distance = np.linalg.norm(p[:, None] - p, axis=-1) + 10 * np.eye(len(p))
    assert distance.min() > 0.05


def test_rows_and_columns_have_their_own_channels():
    p = nn.sinusoidal_positions_2d(3, 5, 8)
    assert (p[:4] == p[:4, :, :1]).all()
    assert (p[4:] == p[4:, :1]).all()
    assert np.array_equal(p[:4, :, 0].T, nn.sinusoidal_positions(3, 4))
    assert np.array_equal(p[4:, 0].T, nn.sinusoidal_positions(5, 4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_layer_adds_positions_in_the_dtype_of_x(dtype):
    x = values(2, 4, 3, 1, dtype=dtype)
    y = nn.SinusoidalPositions2d(4)(tensor(x))
    assert y.data.dtype == dtype
    assert np.allclose(y.data - x, nn.sinusoidal_positions_2d(3, 1, 4), atol=1e-6)


def test_bad_positions_are_refused():
    with pytest.raises(ArgumentError, match="channels must be a multiple of 4"):
        nn.SinusoidalPositions2d(6)
    with pytest.raises(ArgumentError, match="base must be larger than 1"):
        nn.SinusoidalPositions2d(8, base=1)
    with pytest.raises(ArgumentError, match="length and channels must be at least 1, got 0 and 4"):
        nn.sinusoidal_positions(0, 4)
    with pytest.raises(ShapeError, match=r"SinusoidalPositions2d: expected \(N, 8, H, W\), got \(1, 4, 2, 2\)"):
        nn.SinusoidalPositions2d(8)(tensor(values(1, 4, 2, 2)))


# ---------------------------------------------------------------------------------------------------------------- norms


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_an_image_is_normalised_alone(backend):
    x = 3 + 2 * values(3, 4, 5, 6, dtype=np.float64)
    with use_backend(backend):
        y = ops.instance_norm(tensor(x)).data
        assert np.abs(y.mean(axis=(2, 3))).max() < 1e-12
        assert np.abs(y.var(axis=(2, 3)) - 1).max() < 1e-4
        assert np.abs(ops.instance_norm(tensor(x[1:2])).data - y[1:2]).max() < 1e-12


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_token_is_normalised_alone(backend):
    x = 3 + 2 * values(3, 4, 7, dtype=np.float64)
    with use_backend(backend):
        y = ops.layer_norm(tensor(x), 7).data
        assert np.abs(y.mean(axis=-1)).max() < 1e-12
        assert np.abs(y.var(axis=-1) - 1).max() < 1e-4
        assert np.abs(ops.layer_norm(tensor(x[1, 2]), (7,)).data - y[1, 2]).max() < 1e-12


def test_layers_of_norms():
    assert list(nn.InstanceNorm2d(3).state_dict()) == []
    assert list(nn.InstanceNorm2d(3, affine=True).state_dict()) == ["weight", "bias"]
    assert list(nn.LayerNorm((2, 3), bias=False).state_dict()) == ["weight"]
    assert list(nn.LayerNorm(4, elementwise_affine=False).state_dict()) == []
    with pytest.raises(ShapeError, match=r"InstanceNorm2d: expected \(N, 3, H, W\), got \(1, 2, 4, 4\)"):
        nn.InstanceNorm2d(3)(tensor(values(1, 2, 4, 4)))
    with pytest.raises(ArgumentError, match="LayerNorm: normalized_shape must be at least 1"):
        nn.LayerNorm(0)


# ------------------------------------------------------------------------------------------------- separable convolution


def test_a_separable_convolution_is_one_whose_kernels_are_products():
    layer = nn.DepthwiseSeparableConv2d(3, 5, (3, 2), (2, 1), 1, (1, 2), rng=np.random.default_rng(0))
    x = tensor(values(2, 3, 7, 6))
    w = layer.pointwise.weight.data * layer.depthwise.weight.data[:, 0]
    expected = ops.conv2d(x, tensor(w), layer.pointwise.bias, (2, 1), 1, (1, 2)).data
    assert np.abs(layer(x).data - expected).max() < 1e-5
    assert layer.num_parameters() == 3 * 6 + 3 * 5 + 5
    assert layer.depthwise.bias is None


# ----------------------------------------------------------------------------------------------------------------- peer


def load(ours, theirs):
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})


@pytest.mark.peer
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_attention_is_pytorchs_and_weights_move_both_ways(bias, backend):
    torch = pytest.importorskip("torch")
    query, memory = values(2, 5, 12), values(2, 7, 12, seed=1)
    theirs = torch.nn.MultiheadAttention(12, 3, bias=bias, batch_first=True)
    for p in theirs.parameters():  # biases are 0 at first
        torch.nn.init.normal_(p, std=0.3)
    with use_backend(backend):
        ours = nn.MultiheadAttention(12, 3, bias=bias)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        load(ours, theirs)
        for average in (True, False):
            q, kv = tensor(query, requires_grad=True), tensor(memory, requires_grad=True)
            y, weights = ours(q, kv, kv, average_attn_weights=average)
            tq, tkv = (torch.from_numpy(a).requires_grad_() for a in (query, memory))
            ty, tw = theirs(tq, tkv, tkv, average_attn_weights=average)
            assert np.abs(y.data - ty.detach().numpy()).max() < 1e-5
            assert np.abs(weights.data - tw.detach().numpy()).max() < 1e-6
        y.backward(np.ones(y.shape, np.float32))
        ty.sum().backward()
        for mine, other in [(q.grad, tq.grad), (kv.grad, tkv.grad)]:
            assert np.abs(mine - other.numpy()).max() < 1e-5 * max(1, np.abs(other.numpy()).max())
        gradients = dict(theirs.named_parameters())
        for name, p in ours.named_parameters():
            other = gradients[name].grad.numpy()
            assert np.abs(p.grad - other).max() < 1e-5 * max(1, np.abs(other).max()), name
        back = nn.MultiheadAttention(12, 3, bias=bias, rng=np.random.default_rng(5))
        theirs.load_state_dict({name: torch.from_numpy(array) for name, array in back.state_dict().items()})
        x = torch.from_numpy(query)
        mine = back(tensor(query), tensor(query), tensor(query), need_weights=False)[0].data
        assert np.abs(mine - theirs(x, x, x)[0].detach().numpy()).max() < 1e-5


@pytest.mark.peer
def test_layers_of_norms_are_pytorchs():
    torch = pytest.importorskip("torch")
    x = values(2, 3, 4, 5)
    pairs = [
        (torch.nn.InstanceNorm2d(3, affine=True), nn.InstanceNorm2d(3, affine=True)),
        (torch.nn.InstanceNorm2d(3, eps=0.1), nn.InstanceNorm2d(3, eps=0.1)),
        (torch.nn.LayerNorm(5), nn.LayerNorm(5)),
        (torch.nn.LayerNorm((4, 5), 0.1, bias=False), nn.LayerNorm((4, 5), 0.1, bias=False)),
        (torch.nn.LayerNorm((3, 4, 5), elementwise_affine=False), nn.LayerNorm((3, 4, 5), elementwise_affine=False)),
    ]
    for theirs, ours in pairs:
        for p in theirs.parameters():
            torch.nn.init.normal_(p)
        assert list(theirs.state_dict()) == list(ours.state_dict())
        load(ours, theirs)
        expected = theirs(torch.from_numpy(x)).detach().numpy()
        assert np.abs(ours(tensor(x)).data - expected).max() < 1e-5, theirs
