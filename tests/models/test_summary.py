"""The table of networks: multiply-adds counted by hand, receptive fields from the equation, and the command."""

import json

import numpy as np
import pytest

from minseg import autograd, backend, models, nn, tensor, use_backend
from minseg.cli import main
from minseg.equations.literal.conv import conv_receptive_field
from minseg.errors import ArgumentError
from minseg.models.summary import multiply_adds, receptive_field, summarize


@pytest.fixture(autouse=True)
def on_numpy():
    before = backend.current().name
    use_backend("numpy")
    yield
    use_backend(before)


def test_multiply_adds_of_lenet_counted_by_hand():
    by_hand = 28 * 28 * 6 * 75 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    assert multiply_adds(models.ConvNet(3, 10), 3, (32, 32)) == by_hand == 651_720


def test_multiply_adds_of_other_layers():
    rng = np.random.default_rng(0)
    assert multiply_adds(nn.ConvTranspose2d(3, 5, 4, stride=2, rng=rng), 3, (6, 7)) == 6 * 7 * 3 * 5 * 16
    assert multiply_adds(nn.Conv2d(4, 6, (3, 2), stride=(1, 2), groups=2, rng=rng), 4, (5, 6)) == 6 * 3 * 3 * 2 * 3 * 2

    class Products(nn.Module):
        def __init__(self):
            self.w = autograd.Parameter(np.ones((4, 5), np.float32))

        def forward(self, x):
            return x.reshape(2, 3, 4) @ self.w

    assert multiply_adds(Products(), 1, (4, 6)) == 2 * 3 * 5 * 4


def test_multiply_adds_grow_with_the_image():
    model = models.UNet(1, 2, widths=(4, 8))
    assert multiply_adds(model, 1, (16, 24)) == 6 * multiply_adds(model, 1, (8, 8))
    with pytest.raises(ArgumentError, match="size must be at least 1x1, got 0x8"):
        multiply_adds(model, 1, (0, 8))


class Layers(nn.Module):
    """Convolutions and maxima, enlarged to the image's size again by repeating."""

    def __init__(self, layers):
        rng = np.random.default_rng(0)
        channels = [1, *[16] * len(layers)]
        self.layers = nn.ModuleList(
            nn.MaxPool2d(k, s) if kind == "pool" else nn.Conv2d(c, 16, k, s, k // 2 * d, d, rng=rng)
            for c, (kind, k, s, d) in zip(channels, layers)
        )

    def forward(self, x):
        y = x
        for layer in self.layers:
            y = layer(y)
        return nn.Upsample(size=x.shape[2:])(y)


@pytest.mark.parametrize(
    "layers",
    [
        [("conv", 3, 1, 1)],
        [("conv", 5, 1, 3), ("conv", 3, 2, 1), ("conv", 3, 1, 2)],
        [("conv", 3, 1, 1), ("pool", 2, 2, 1), ("conv", 3, 1, 1), ("pool", 2, 2, 1), ("conv", 3, 1, 1)],
        [("conv", 3, 1, 1), ("pool", 4, 4, 1), ("conv", 5, 1, 4)],
    ],
)
def test_the_measured_receptive_field_is_the_equations(layers):
    k, s, d = (np.array([layer[i] for layer in layers]) for i in (1, 2, 3))
    assert receptive_field(Layers(layers), 1) == conv_receptive_field(k, d, s)


@pytest.mark.parametrize(
    ("name", "field"),
    # windows of 32 (Net's convolutions see beyond theirs: 3 + 2 * 3 more), 4 for the next cell's score where logits are bilinear
    [("convnet", 32 + 4), ("net", 38 + 4), ("voccnn", 10 + 4), ("resnet", 53 + 4 + 2 + 2), ("fcn8s", 156 + 64 + 32)],
)
def test_receptive_fields_counted_by_hand(name, field):
    assert receptive_field(models.build(name, 1, 2), 1) == field


def test_a_field_as_large_as_the_image_is_said_to_be_larger():
    class Mean(nn.Module):
        def forward(self, x):
            return x + x.mean((2, 3), keepdim=True)

    assert receptive_field(Mean(), 1) is None


def test_measuring_leaves_the_model_as_it_was():
    model = models.UNet(1, 2, widths=(4, 8))
    model.pool.eval()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    receptive_field(model, 1)
    multiply_adds(model, 1, (8, 8))
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())
    assert [m.training for m in model.modules()] == [m is not model.pool for m in model.modules()]
    assert all(p.grad is None for p in model.parameters())
    assert model(tensor(np.zeros((1, 1, 4, 4), np.float32))).requires_grad


def test_the_command_lists_networks(capsys):
    assert main(["models", "voccnn", "encoder_decoder", "--size", "12,8", "--in-channels", "1", "--classes", "2"]) == 0
    head, voccnn, encoder_decoder, note = capsys.readouterr().out.splitlines()
    assert head.split() == ["model", "parameters", "multiply-adds", "sees", "(pixels)"]
    assert voccnn.split() == ["voccnn", "18,946", "0.5", "M", "14"]
    assert encoder_decoder.startswith("encoder_decoder ")
    assert "12x8 pixels, 2 classes" in note
    assert main(["models", "voccnn", "--size", "16", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one == vars(summarize("voccnn", 3, 21, (16, 16)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unett"], "unknown model 'unett'; did you mean 'unet'"),
        (["voccnn", "--size", "1,2,3"], "--size takes one side or height and width"),
        (["voccnn", "--size", "0"], "size must be at least 1x1"),
        (["voccnn", "--classes", "0"], "num_classes must be at least 1, got 0"),
    ],
)
def test_the_command_refuses_in_one_line(arguments, message, capsys):
    assert main(["models", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
