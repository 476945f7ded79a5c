"""U-Net: shapes of any size, errors, determinism, learning, and the same training as PyTorch's and on every backend."""

import weakref

import numpy as np
import pytest

from minseg import autograd, available_backends, models, nn, no_grad, optim, tensor, use_backend
from minseg.errors import ArgumentError, DtypeError, ShapeError
from minseg.models import unet
from minseg.weights import load_weights, save_weights


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def images(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def squares(count, size, seed=0):
    """Noisy images of bright rectangles, and where they are."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, size, size), np.uint8)
    for mask in masks:
        top, left, height, width = (*rng.integers(0, size // 2, 2), *rng.integers(4, size // 2, 2))
        mask[top : top + height, left : left + width] = 1
    return (masks[:, None] + 0.3 * rng.standard_normal((count, 1, size, size))).astype(np.float32), masks


def train(model, optimizer, x, labels, steps):
    """The loss before each step."""
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(model(tensor(x)), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# -------------------------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (7, 5), (8, 8), (13, 16), (17, 31)])
def test_any_image_size_keeps_its_size(size):
    model = models.UNet(2, 3, widths=(4, 6, 8, 10)).eval()
    with no_grad():
        assert model(tensor(images(1, 2, *size))).shape == (1, 3, *size)


@pytest.mark.parametrize("widths", [(4,), (4, 6), (3, 5, 7, 9, 11)])
def test_any_number_of_levels(widths):
    model = models.UNet(1, 2, widths=widths)
    y = model(tensor(images(2, 1, 16, 18)))
    assert y.shape == (2, 2, 16, 18)
    y.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_padding_changes_nothing_far_from_the_border():
    """33 rows are padded to 36. Three levels see 23 pixels around, so rows above 33 - 23 cannot know what comes after row 33."""
    model = models.UNet(1, 2, widths=(4, 4, 4)).eval()
    x = images(1, 1, 44, 16)
    with no_grad():
        whole, part = model(tensor(x)).data, model(tensor(x[:, :, :33])).data
    assert np.allclose(whole[:, :, :8], part[:, :, :8], atol=1e-5)
    assert not np.allclose(whole[:, :, 30:33], part[:, :, 30:], atol=1e-3)


def test_sizes_of_the_layers():
    model = models.UNet(3, 5, widths=(4, 8, 16))
    shapes = {name: array.shape for name, array in model.state_dict().items() if name.endswith("weight")}
    assert shapes["encoder.0.0.weight"] == (4, 3, 3, 3)
    assert shapes["encoder.2.3.weight"] == (16, 16, 3, 3)
    assert shapes["up.0.weight"] == (16, 8, 2, 2)
    assert shapes["up.1.weight"] == (8, 4, 2, 2)
    assert shapes["decoder.0.0.weight"] == (8, 16, 3, 3)
    assert shapes["decoder.1.0.weight"] == (4, 8, 3, 3)
    assert shapes["head.weight"] == (5, 4, 1, 1)
    assert "encoder.0.0.bias" not in model.state_dict()


# -------------------------------------------------------------------------------------------------------------- errors


def test_wrong_images_are_refused_by_name():
    model = models.UNet(3, 2, widths=(4, 8))
    with pytest.raises(ShapeError, match=r"UNet: expected images \(N, 3, H, W\), got \(1, 1, 8, 8\)"):
        model(tensor(images(1, 1, 8, 8)))
    for shape in [(3, 8, 8), (1, 3, 0, 8), (0, 3, 8, 8)]:
        with pytest.raises(ShapeError, match="UNet: expected images"):
            model(tensor(np.zeros(shape, np.float32)))
    with pytest.raises(DtypeError, match="UNet: x must be a Tensor, got ndarray"):
        model(images(1, 3, 8, 8))
    with pytest.raises(DtypeError, match="mixed dtypes"):
        model(tensor(images(1, 3, 8, 8).astype(np.float64)))


@pytest.mark.parametrize(
    "options", [{"in_channels": 0}, {"num_classes": 0}, {"widths": ()}, {"widths": (4, 0)}, {"widths": (4, 2.5)}]
)
def test_bad_options_are_refused(options):
    with pytest.raises(ArgumentError, match=r"UNet: \w+ must be"):
        models.UNet(**({"in_channels": 1, "num_classes": 2} | options))


def test_build_knows_its_models_and_their_options():
    model = models.build("unet", 3, 4, widths=(4, 8), seed=1)
    assert isinstance(model, models.UNet)
    assert model.widths == (4, 8)
    assert "unet" in models.NAMES
    with pytest.raises(ArgumentError, match=r"unknown model 'unett'; did you mean 'unet'\? known: .*unet"):
        models.build("unett", 3, 4)
    with pytest.raises(ArgumentError, match=r"unet has no option 'width'; did you mean 'widths'\? known: seed, widths"):
        models.build("unet", 3, 4, width=(4, 8))


# --------------------------------------------------------------------------------------------------------- determinism


def test_the_seed_alone_decides_the_weights():
    one, same, other = (models.UNet(1, 2, widths=(4, 8), seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(one[name].tobytes() == same[name].tobytes() for name in one)
    convolutions = [name for name in one if one[name].ndim == 4]
    assert not any(np.array_equal(one[name], other[name]) for name in convolutions)
    equal_shapes = [one["encoder.1.3.weight"], one["encoder.1.0.weight"][:, :4]]
    assert not np.array_equal(equal_shapes[0][:, :4], equal_shapes[1])  # layers differ from each other


def test_two_trainings_are_bit_identical():
    x, labels = squares(2, 12)
    runs = []
    for _ in range(2):
        model = models.UNet(1, 2, widths=(4, 8))
        train(model, optim.Adam(model.parameters()), x, labels, 3)
        runs.append(model.state_dict())
    assert all(runs[0][name].tobytes() == runs[1][name].tobytes() for name in runs[0])


# ------------------------------------------------------------------------------------------------------------ learning


def test_a_small_unet_learns_two_images_by_heart():
    x, labels = squares(2, 16)
    model = models.UNet(1, 2, widths=(8, 16))
    losses = train(model, optim.Adam(model.parameters(), lr=0.02), x, labels, 25)
    assert losses[0] > 0.5
    assert losses[-1] < 0.1
    assert (model(tensor(x)).data.argmax(axis=1) == labels).mean() > 0.98


def relative(losses, others):
    return np.max(np.abs(np.array(losses) - others) / np.abs(others))


@pytest.mark.skipif(available_backends()["numba"] is not None, reason="Numba is not installed")
def test_numpy_and_numba_train_alike():
    """20 Adam steps. Adam divides by the root of the squared gradients, so rounding grows where gradients are tiny."""
    x, labels = squares(2, 20)
    losses = {}
    for name in ("numpy", "numba"):
        with use_backend(name):
            model = models.UNet(1, 2, widths=(8, 16, 24))
            losses[name] = train(model, optim.Adam(model.parameters(), lr=1e-3), x, labels, 20)
    assert losses["numpy"][-1] < 0.8 * losses["numpy"][0]
    assert relative(losses["numba"], losses["numpy"]) < 1e-4


# ---------------------------------------------------------------------------------------------------------------- peer


def train_torch(torch, model, x, labels, steps):
    x, labels = torch.from_numpy(x), torch.from_numpy(labels).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels, ignore_index=255)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.peer
def test_unet_trains_as_pytorchs_and_weights_move_both_ways(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    from minseg.testing.torch_peer import UNet

    widths = (8, 16, 24)
    x, labels = squares(2, 20)
    labels[:, :2, :3] = 255
    ours, theirs = models.UNet(1, 2, widths=widths), UNet(1, 2, widths)
    assert list(ours.state_dict()) == list(theirs.state_dict())

    save_weights(ours, tmp_path / "ours.safetensors")  # ours to theirs
    theirs.load_state_dict(load_file(tmp_path / "ours.safetensors"))
    losses = train(ours, optim.Adam(ours.parameters(), lr=1e-3), x, labels, 20)
    assert losses[-1] < 0.8 * losses[0]
    assert relative(losses, train_torch(torch, theirs, x, labels, 20)) < 1e-3

    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")  # theirs to ours
    ours.load_state_dict(load_weights(tmp_path / "theirs.safetensors"))
    with no_grad(), torch.no_grad():
        expected = theirs.eval()(torch.from_numpy(x)).numpy()
        assert np.abs(ours.eval()(tensor(x)).data - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_skip_is_let_go_once_it_is_concatenated(monkeypatch):
    """The largest maps of the encoder would else be kept until the last layer has run, where memory is shortest."""
    alive = []

    def watched(maps, dim):
        alive.append([skip() is not None for skip in seen])
        seen.append(weakref.ref(maps[0]))
        return autograd.concatenate(maps, dim)

    seen = []
    monkeypatch.setattr(unet, "concatenate", watched)
    models.UNet(1, 2, widths=(2, 3, 4))(tensor(np.ones((1, 1, 8, 8), np.float32)))
    assert alive == [[], [False]]
