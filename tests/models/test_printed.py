"""The documents' networks as printed: their parameters, the sizes that they take, and the errors that their mistakes raise."""

import numpy as np
import pytest

from minseg import no_grad, ops, tensor, use_backend
from minseg.errors import ArgumentError, ShapeError
from minseg.models import printed

NETWORKS = [printed.ConvNet, printed.Net, printed.CNN, printed.ResNet, printed.SegmentationNetwork]


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


@pytest.fixture(scope="module")
def built():
    """Each network once: Net has 8.7 million weights to draw."""
    with use_backend("numpy"):
        return {network: network(np.random.default_rng(0)) for network in NETWORKS}


def images(count, height, width=None):
    return tensor(np.random.default_rng(1).random((count, 3, height, width or height), np.float32))


def scores(network, x):
    with no_grad():
        return network(x)


@pytest.mark.parametrize(
    ("network", "parameters"),
    list(zip(NETWORKS, (62_006, 8_730_250, 50_762, 644_234, 209_859))),
    ids=lambda one: str(one),
)
def test_parameters(network, parameters, built):
    assert built[network].num_parameters() == parameters


def test_nearly_all_of_net_is_its_first_fully_connected_layer(built):
    net = built[printed.Net]
    assert round(100 * net.fc1.num_parameters() / net.num_parameters(), 1) == 96.1


@pytest.mark.parametrize(
    ("network", "smallest", "largest"),
    [(printed.ConvNet, 32, 35), (printed.Net, 32, 35), (printed.CNN, 28, 31), (printed.ResNet, 8, 15)],
    ids=lambda one: str(one),
)
def test_classifiers_take_few_sizes(network, smallest, largest, built):
    network = built[network]
    for size in (smallest, largest):
        assert scores(network, images(2, size)).shape == (2, 10)
    assert scores(network, images(1, smallest, largest)).shape == (1, 10)
    for size in (smallest - 1, largest + 1):
        with pytest.raises(ShapeError):
            scores(network, images(1, size))


@pytest.mark.parametrize(
    ("network", "count", "size", "rows"),
    [(printed.ConvNet, 16, 52, 64), (printed.Net, 4, 64, 16), (printed.CNN, 1, 224, 64)],
    ids=lambda one: str(one),
)
def test_view_folds_the_batch_and_only_the_loss_refuses(network, count, size, rows, built):
    y = scores(built[network], images(count, size))
    assert y.shape == (rows, 10)
    with pytest.raises(ShapeError, match=rf"target must have shape \({rows},\), one label .* got \({count},\)"):
        ops.cross_entropy(y, np.zeros(count, int))


def test_a_mask_fits_no_classifier(built):
    y = scores(built[printed.ConvNet], images(4, 32))
    with pytest.raises(ShapeError, match=r"target must have shape \(4,\).* got \(4, 32, 32\)"):
        ops.cross_entropy(y, np.zeros((4, 32, 32), int))


def test_cnn_cuts_its_scores(built):
    y = scores(built[printed.CNN], images(8, 28)).numpy()
    assert y.min() == 0
    assert y.max() > 0


def test_ten_scores_are_too_few_for_pascal_voc(built):
    with pytest.raises(ArgumentError, match=r"label 20 at \(1,\) is neither in 0..9"):
        ops.cross_entropy(scores(built[printed.CNN], images(2, 28)), np.array([0, 20]))


def test_resnet_refuses_the_images_of_its_own_document(built):
    with pytest.raises(ShapeError, match="linear: x has 4096 features, w expects 256"):
        scores(built[printed.ResNet], images(2, 32))


@pytest.mark.parametrize("size", [(4, 4), (5, 9), (8, 15), (16, 13)])
def test_segmentation_network_enlarges(size, built):
    y = scores(built[printed.SegmentationNetwork], images(1, *size))
    assert y.shape == (1, 3, *(4 * (side // 4) + 3 for side in size))
    if y.shape[2:] != size:
        with pytest.raises(ShapeError, match="one label for each pixel"):
            ops.cross_entropy(y, np.zeros((1, *size), int))


def test_segmentation_network_has_three_channels_for_all_classes(built):
    with pytest.raises(ArgumentError, match=r"label 5 at \(0, 0, 0\) is neither in 0..2"):
        ops.cross_entropy(scores(built[printed.SegmentationNetwork], images(1, 7)), np.full((1, 7, 7), 5))


def test_segmentation_network_needs_four_pixels(built):
    with pytest.raises(ShapeError):
        scores(built[printed.SegmentationNetwork], images(1, 3))


@pytest.mark.parametrize(
    ("network", "size"),
    [(printed.ConvNet, 32), (printed.CNN, 28), (printed.ResNet, 8), (printed.SegmentationNetwork, 7)],
    ids=lambda one: str(one),
)
def test_gradients_reach_every_parameter(network, size):
    network = network(np.random.default_rng(0))
    y = network(images(2, size))
    labels = np.random.default_rng(2).integers(0, 3, (2, *y.shape[2:]))
    ops.cross_entropy(y, labels).backward()
    assert all(p.grad is not None and np.isfinite(p.grad).all() for p in network.parameters())


def test_a_seed_fixes_the_weights():
    one, same, other = (printed.ConvNet(np.random.default_rng(seed)).conv1.weight.numpy() for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.peer
def test_segmentation_network_equals_pytorchs(built):
    torch = pytest.importorskip("torch")
    layers = torch.nn
    ours = built[printed.SegmentationNetwork]
    theirs = layers.Sequential(
        layers.Sequential(
            layers.Conv2d(3, 64, 3, 1, 1), layers.ReLU(), layers.MaxPool2d(2),
            layers.Conv2d(64, 128, 3, 1, 1), layers.ReLU(), layers.MaxPool2d(2),
        ),
        layers.Sequential(
            layers.ConvTranspose2d(128, 64, 4, 2, 1, 1), layers.ReLU(), layers.ConvTranspose2d(64, 3, 4, 2, 1, 1)
        ),
    )  # fmt: skip
    names = {"encoder": "0", "decoder": "1"}
    state = {key: torch.from_numpy(array.copy()) for key, array in ours.state_dict().items()}
    theirs.load_state_dict({names[key.split(".")[0]] + key[7:]: array for key, array in state.items()})
    x = images(2, 9, 14)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x.numpy())).numpy()
    assert np.abs(scores(ours, x).numpy() - expected).max() < 1e-5 * np.abs(expected).max()
