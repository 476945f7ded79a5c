"""DeepLab, PSPNet, the attention decoder and the patch Transformer: what each alone promises."""

import numpy as np
import pytest

from minseg import models, nn, no_grad, ops, tensor, use_backend
from minseg.errors import ArgumentError, ShapeError
from minseg.models import attention_decoder, patch_transformer
from minseg.models.deeplab import ASPP
from minseg.models.pspnet import PyramidPooling

TINY = {
    "deeplab": {"widths": (4, 6, 8), "rates": (1, 2), "channels": 6},
    "pspnet": {"widths": (4, 6, 8), "channels": 6},
    "attention_decoder": {"widths": (4, 6, 8), "channels": 4, "grid": 3},
    "patch_transformer": {"patch": 3, "channels": 8, "depth": 2, "num_heads": 2},
}


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def build(name, in_channels=2, num_classes=3, **options):
    return models.build(name, in_channels, num_classes, **(TINY[name] | options))


def images(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# ------------------------------------------------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("deeplab", {"widths": (4, 6)}, "DeepLab: widths must be 3 integers"),
        ("deeplab", {"rates": ()}, "DeepLab: rates must be one or more"),
        ("pspnet", {"bins": (1, 0)}, "PSPNet: bins must be at least 1"),
        ("pspnet", {"channels": 2.5}, "PSPNet: channels must be an integer"),
        ("attention_decoder", {"widths": (4,)}, "two widths or more"),
        ("attention_decoder", {"channels": 5}, "even number of channels"),
        ("attention_decoder", {"num_heads": 3}, "num_heads=3 must divide embed_dim=8"),
        ("attention_decoder", {"grid": 0}, "AttentionDecoder: grid must be at least 1"),
        ("patch_transformer", {"patch": 0}, "PatchTransformer: patch must be at least 1"),
        ("patch_transformer", {"channels": 6}, "must be a multiple of 4"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(ArgumentError, match=message):
        build(name, **options)


# --------------------------------------------------------------------------------------------------- DeepLab and PSPNet


def test_each_branch_of_the_aspp_sees_as_far_as_its_dilation():
    aspp = ASPP(1, 1, (2, 3), np.random.default_rng(0)).eval()
    x = np.zeros((1, 1, 9, 9), np.float32)
    x[0, 0, 4, 4] = 1
    for branch, reach in zip(aspp.branches, (0, 2, 3), strict=True):
        seen = np.argwhere(branch[0](tensor(x)).data[0, 0])
        assert seen.min() == 4 - reach
        assert seen.max() == 4 + reach
        assert len(seen) == (1 if reach == 0 else 9)


def test_the_encoder_of_deeplab_is_separable_and_its_last_blocks_keep_the_resolution():
    model = build("deeplab")
    fine, deep = model.encoder(tensor(images(1, 2, 16, 24)))
    assert fine.shape == (1, 6, 4, 6)
    assert deep.shape == (1, 8, 2, 3)
    kernels = {name: p.shape for name, p in model.named_parameters() if "encoder.deep" in name and p.ndim == 4}
    assert {shape[1] for shape in kernels.values() if shape[2:] == (3, 3)} == {1}  # one channel each


def test_pyramid_pooling_keeps_x_and_adds_means():
    pyramid = PyramidPooling(2, 1, (1, 3), np.random.default_rng(0))
    x = tensor(images(1, 2, 5, 7))
    y = pyramid(x).data
    assert y.shape == (1, 4, 5, 7)
    assert np.array_equal(y[:, :2], x.data)
    whole = ops.relu(pyramid.branches[0][1](ops.global_avg_pool2d(x))).data
    assert np.abs(y[:, 2:3] - whole).max() < 1e-6


@pytest.mark.parametrize("name", ["deeplab", "pspnet"])
def test_one_image_is_enough_to_train_on(name):
    """A batch norm behind the mean over the image would have a single value."""
    model = build(name)
    model(tensor(images(1, 2, 16, 16))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


# ---------------------------------------------------------------------------------------------------- attention decoder


def test_a_shared_step_is_one_step():
    shared, own = build("attention_decoder", shared=True), build("attention_decoder")
    assert len(shared.steps) == 1
    assert len(own.steps) == 2
    assert shared.steps_in_order() == [shared.steps[0]] * 2
    both = [model.num_parameters() for model in (shared, own)]
    assert both[1] - both[0] == shared.steps.num_parameters()
    assert shared(tensor(images(2, 2, 12, 8))).shape == (2, 3, 12, 8)


def test_maps_no_larger_than_the_grid_ask_every_pixel():
    x = tensor(images(1, 2, 8, 12))
    outputs = []
    for grid in (12, None, 2):
        model = build("attention_decoder", grid=grid).eval()
        with no_grad():
            outputs.append(model(x).data)
    assert np.array_equal(outputs[0], outputs[1])
    assert np.abs(outputs[0] - outputs[2]).max() > 1e-4


def test_attention_that_would_be_too_large_is_an_error(monkeypatch):
    monkeypatch.setattr(attention_decoder, "MOST_WEIGHTS", 2 * 2 * 4 * 6 * 9)
    x = tensor(images(2, 2, 8, 12))
    with pytest.raises(ShapeError, match=r"AttentionDecoder: 2 maps of 4x6 pixels that ask 4x6 cells: 2,304 attention"):
        build("attention_decoder", grid=None)(x)
    with pytest.raises(
        ShapeError, match=r"8x12 pixels that ask 3x3 cells: 3,456 .*, more than 864; set a smaller grid"
    ):
        build("attention_decoder", grid=3)(x)
    assert build("attention_decoder", grid=1)(x).shape == (2, 3, 8, 12)


def test_weights_of_the_decoders_attention_say_where_each_pixel_looks():
    model = build("attention_decoder").eval()
    fine, middle, coarse = model.features(tensor(images(1, 2, 16, 8)))
    first, second = model.steps_in_order()
    _, weights = first.attention.attend(first.join(coarse, middle))
    assert weights.shape == (1, 2, 8 * 4, 3 * 3)
    assert np.abs(weights.data.sum(-1) - 1).max() < 1e-6
    _, weights = second.attention.attend(second.join(middle, fine))
    assert weights.shape == (1, 2, 16 * 8, 3 * 3)


# ---------------------------------------------------------------------------------------------------- patch Transformer


def test_every_patch_looks_at_every_patch():
    """The gradient of one pixel's logit reaches all pixels of the image; a convolution of this depth would see a corner of it."""
    model = build("patch_transformer")
    x = tensor(images(1, 2, 12, 15), requires_grad=True)
    model(x)[0, 0, 0, 0].backward()
    assert (np.abs(x.grad).sum(axis=1) > 0).all()


def test_positions_tell_patches_apart():
    """Two patches that are equal get the same answer only without positions."""
    model = build("patch_transformer").eval()
    x = tensor(np.tile(images(1, 2, 3, 3), (1, 1, 1, 4)))
    embedded = model.embed(x).data[0, :, 0]
    assert np.abs(embedded - embedded[:, :1]).max() < 1e-6
    with no_grad():
        assert np.abs(model(x).data[..., 1] - model(x).data[..., 10]).max() > 1e-3
        model.positions = nn.Identity()
        assert np.abs(model(x).data[..., 1] - model(x).data[..., 10]).max() < 1e-5


def test_too_many_patches_are_an_error(monkeypatch):
    monkeypatch.setattr(attention_decoder, "MOST_WEIGHTS", 1000)
    with pytest.raises(ShapeError, match=r"PatchTransformer: 1 images of 5x5 patches: 1,250 attention weights"):
        build("patch_transformer")(tensor(images(1, 2, 15, 13)))
    assert build("patch_transformer", patch=4)(tensor(images(1, 2, 15, 13))).shape == (1, 3, 15, 13)


def test_tokens_and_maps_are_inverse():
    x = tensor(images(2, 3, 4, 5))
    rows = patch_transformer.tokens(x)
    assert rows.shape == (2, 20, 3)
    assert np.array_equal(rows.data[1, 7], x.data[1, :, 1, 2])
    assert np.array_equal(patch_transformer.maps(rows, 4, 5).data, x.data)
