"""ResNet: blocks with the shortcuts of the equations, torchvision's names and sizes, weights that move both ways."""

import numpy as np
import pytest

from minseg import models, no_grad, ops, tensor, use_backend
from minseg.errors import ArgumentError
from minseg.models.resnet import RESNET18, BasicBlock
from minseg.testing.networks import check_gradients
from minseg.weights import load_weights, save_weights


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def images(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def run(fn, x):
    with no_grad():
        return fn(tensor(x)).numpy()


# --------------------------------------------------------------------------------------------------------------- blocks


def test_without_a_branch_a_block_of_equal_shapes_is_relu_of_its_input():
    block = BasicBlock(3, 3, rng=np.random.default_rng(0)).eval()
    block.bn2.weight.data = block.bn2.weight.data * 0
    x = images(2, 3, 5, 4)
    assert block.downsample is None
    assert np.array_equal(run(block, x), np.maximum(x, 0))


def test_the_gradient_passes_a_block_whose_branch_has_none():
    """res.identity_grad: the first term is there however small the second is; a plain stack of layers would give 0."""
    block = BasicBlock(3, 3, rng=np.random.default_rng(0)).eval()
    block.bn2.weight.data = block.bn2.weight.data * 0
    x = tensor(np.abs(images(1, 3, 5, 4)), requires_grad=True)
    block(x).sum().backward()
    assert (x.grad == 1).all()


@pytest.mark.parametrize(
    ("channels", "stride", "size"), [((3, 4), 1, (5, 4)), ((3, 3), 2, (3, 2)), ((3, 5), 3, (2, 2))]
)
def test_a_block_that_changes_the_shape_projects_its_shortcut(channels, stride, size):
    block = BasicBlock(*channels, stride, rng=np.random.default_rng(0)).eval()
    x = images(2, channels[0], 5, 4)
    shortcut = run(block.shortcut, x)
    w = block.downsample[0].weight.numpy()[:, :, 0, 0]
    expected = np.einsum("oc,nchw->nohw", w, x[:, :, ::stride, ::stride]) / np.sqrt(1 + 1e-5)
    assert shortcut.shape == (2, channels[1], *size)
    assert np.allclose(shortcut, expected, atol=1e-5)
    assert np.allclose(run(block, x), np.maximum(expected + run(block.branch, x), 0), atol=1e-5)


# ------------------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (32, 32), (15, 33)])
@pytest.mark.parametrize("stem", [3, 7])
def test_the_classifier_takes_any_size(size, stem):
    model = models.ResNet(3, 10, widths=(4, 6, 8), stem=stem).eval()
    assert run(model, images(2, 3, *size)).shape == (2, 10)


@pytest.mark.parametrize("stem", [3, 7])
def test_gradients_of_the_classifier(stem):
    check_gradients(models.ResNet(2, 3, widths=(2, 3), blocks=(2, 1), stem=stem), (2, 2, 12, 9))


def test_the_map_after_each_layer():
    shapes = [y.shape for y in models.ResNet(3, 10).features(tensor(images(1, 3, 32, 17)))]
    assert shapes == [(1, 16, 32, 17), (1, 32, 16, 9), (1, 64, 8, 5)]


def test_a_photographs_stem_and_any_number_of_layers_in_the_segmenter():
    model = models.ResNetSeg(3, 5, widths=(4, 4, 6, 8), blocks=(1, 1, 1, 1), stem=7, pyramid=4).eval()
    for size in [(1, 1), (37, 50)]:
        assert run(model, images(1, 3, *size)).shape == (1, 5, *size)
    y = model.train()(tensor(images(2, 3, 40, 33)))
    ops.cross_entropy(y, np.zeros((2, 40, 33), int)).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_names_and_number_of_torchvisions_parameters():
    model = models.ResNet(3, 1000, **RESNET18)
    names = list(model.state_dict())
    assert model.num_parameters() == 11_689_512
    assert len(names) == 122
    assert names[:7] == [
        "conv1.weight",
        *(f"bn1.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
        "layer1.0.conv1.weight",
    ]
    assert model.state_dict()["layer4.0.downsample.0.weight"].shape == (512, 256, 1, 1)
    assert "layer1.0.downsample.0.weight" not in names
    assert names[-2:] == ["fc.weight", "fc.bias"]


def test_bad_options_are_refused():
    with pytest.raises(ArgumentError, match=r"stem must be 3 .* or 7 .*, got 5"):
        models.ResNet(3, 10, stem=5)
    with pytest.raises(ArgumentError, match=r"blocks must be 3 integers, got \(2, 2\)"):
        models.ResNet(3, 10, blocks=(2, 2))
    with pytest.raises(ArgumentError, match="ResNetSeg: pyramid must be at least 1, got 0"):
        models.ResNetSeg(3, 10, pyramid=0)


# ----------------------------------------------------------------------------------------------------------------- peer


def torch_resnet(torch, in_channels, num_classes, widths, blocks, stem):
    """torchvision's ResNet of basic blocks, written down again: same modules, same names."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(o)
            self.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(o)
            self.downsample = None
            if stride != 1 or i != o:
                self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(in_channels, widths[0], stem, 1 + stem // 7, stem // 2, bias=False)
            self.bn1 = nn.BatchNorm2d(widths[0])
            self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == 7 else nn.Identity()
            before = widths[0]
            for number, (width, count) in enumerate(zip(widths, blocks), 1):
                strides = [1 if number == 1 else 2] + [1] * (count - 1)
                inputs = [before] + [width] * (count - 1)
                setattr(self, f"layer{number}", nn.Sequential(*(Block(i, width, s) for i, s in zip(inputs, strides))))
                before = width
            self.fc = nn.Linear(before, num_classes)

        def forward(self, x):
            x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
            for number in range(1, len(widths) + 1):
                x = getattr(self, f"layer{number}")(x)
            return self.fc(x.mean((2, 3)))

    return ResNet()


@pytest.mark.peer
@pytest.mark.parametrize("stem", [3, 7])
def test_weights_move_both_ways_and_outputs_and_gradients_are_pytorchs(stem, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    options = {"widths": (8, 12, 16), "blocks": (2, 1, 2), "stem": stem}
    ours, theirs = models.ResNet(3, 5, **options), torch_resnet(torch, 3, 5, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = images(2, 3, 33, 26)
    ours(tensor(x))  # running statistics other than 0 and 1
    save_weights(ours, tmp_path / "ours.safetensors")
    theirs.load_state_dict(load_file(tmp_path / "ours.safetensors"))
    with torch.no_grad():
        expected = theirs.eval()(torch.from_numpy(x)).numpy()
    assert np.abs(run(ours.eval(), x) - expected).max() < 1e-5 * np.abs(expected).max()

    torch.manual_seed(0)
    theirs = torch_resnet(torch, 3, 5, **options)
    theirs(torch.from_numpy(x))
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    ours.load_state_dict(load_weights(tmp_path / "theirs.safetensors"))
    y = theirs.train()(torch.from_numpy(x))
    y.pow(2).sum().backward()
    z = ours.train()(tensor(x))
    assert np.abs(z.numpy() - y.detach().numpy()).max() < 1e-5 * y.abs().max().item()
    (z * z).sum().backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        assert np.abs(p.grad - q.grad.numpy()).max() < 1e-3 * max(1e-3, q.grad.abs().max().item()), name
