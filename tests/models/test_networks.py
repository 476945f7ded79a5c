"""What every network must pass, on tiny instances: gradients, images of any size, no preferred side, learning, errors, seeds."""

import numpy as np
import pytest

from minseg import models, tensor, use_backend
from minseg.errors import ArgumentError, DtypeError, ShapeError
from minseg.testing.networks import AWKWARD_SIZES, check_gradients, flip_error, losses, nuclei, output_shapes, squares

FCN = {"widths": (2, 3, 2, 3, 2), "hidden": 3}
# (name, options of a tiny one, learning rate, height and width that no layer must fill up). Some have none: where ReLU leaves
# nothing but zeros in a window of SegNet, the first of them counts as the maximum, whichever way the image is turned; and the last
# four look at the image by places, strides or weights that are not turned with it.
NETWORKS = {
    "convnet": ({"widths": (2, 3), "hidden": (4, 3)}, 5e-3, (8, 12)),
    "net": ({"widths": (2, 3), "hidden": (4, 3)}, 5e-3, (8, 12)),
    "voccnn": ({"widths": (3, 4)}, 1e-2, (8, 12)),
    "resnet": ({"widths": (3, 4), "blocks": (1, 1), "pyramid": 3}, 1e-2, (9, 13)),
    "encoder_decoder": ({"widths": (3, 4)}, 1e-2, (8, 12)),
    "fcn32s": (FCN, 1e-2, (32, 64)),
    "fcn16s": (FCN, 1e-2, (32, 64)),
    "fcn8s": (FCN, 1e-2, (32, 64)),
    "segnet": ({"widths": (3, 4), "depth": 1}, 1e-2, None),
    "densenet": ({"blocks": (2, 1), "growth": 2, "stem": 3}, 1e-2, (8, 12)),
    "inception": ({"widths": (4, 8)}, 1e-2, (8, 12)),
    "unet": ({"widths": (3, 4, 5)}, 1e-2, (8, 12)),
    "deeplab": ({"widths": (4, 6, 8), "rates": (1, 2), "channels": 6}, 1e-2, None),
    "pspnet": ({"widths": (4, 6, 8), "channels": 6}, 1e-2, None),
    "attention_decoder": ({"widths": (4, 6, 8), "channels": 4, "grid": 3}, 1e-2, None),
    "patch_transformer": ({"patch": 3, "channels": 8, "depth": 2, "num_heads": 2}, 1e-2, None),
}

every_network = pytest.mark.parametrize("name", NETWORKS)
every_backend = pytest.mark.parametrize("backend", ["numpy", "numba", pytest.param("cupy", marks=pytest.mark.gpu)])


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def tiny(name, in_channels=2, num_classes=3, **options):
    return models.build(name, in_channels, num_classes, **{**NETWORKS[name][0], **options})


def learner(name, backend="numpy"):
    """Wide enough to learn: without normalisation, a few channels that ReLU has switched off are lost for good."""
    wider = {"widths": (8, 8), "hidden": (16, 16)} if name in ("convnet", "net") else NETWORKS[name][0]
    with use_backend(backend):
        return models.build(name, 1, 2, **wider)


def test_no_network_is_left_out():
    assert set(NETWORKS) == set(models.NAMES)


@every_network
@every_backend
def test_gradients(name, backend):
    with use_backend(backend):
        report = check_gradients(tiny(name), (2, 2, 9, 7))
    assert len(report.inputs) == 1 + len(list(tiny(name).parameters()))


@every_network
def test_any_image_size_keeps_its_size(name):
    assert output_shapes(tiny(name), 2) == [(1, 3, *size) for size in AWKWARD_SIZES]


@pytest.mark.parametrize("name", [name for name, (*_, size) in NETWORKS.items() if size])
def test_nothing_moves_the_logits_against_the_image(name):
    assert flip_error(tiny(name), (1, 2, *NETWORKS[name][2])) < 1e-5


@every_network
@every_backend
def test_it_learns(name, backend):
    found = losses(learner(name, backend), backend, [squares(2, 24)] * 12, NETWORKS[name][1])
    assert found[-1] < 0.9 * found[0], found


@pytest.mark.slow
@every_network
@every_backend
def test_it_learns_nuclei(name, backend):
    """60 steps on ever new crops: the last ten losses have a mean of less than 0.85 of the first ten's."""
    found = losses(learner(name, backend), backend, nuclei(60), NETWORKS[name][1])
    assert np.mean(found[-10:]) < 0.85 * np.mean(found[:10]), found


@every_network
def test_the_seed_alone_decides_the_weights(name):
    one, same, other = (tiny(name, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(one[key].tobytes() == same[key].tobytes() for key in one)
    drawn = [key for key in one if one[key].ndim > 1]
    assert drawn
    assert not any(np.array_equal(one[key], other[key]) for key in drawn)


@every_network
def test_wrong_images_are_refused_by_name(name):
    model = tiny(name)
    where = type(model).__name__
    with pytest.raises(ShapeError, match=rf"{where}: expected images \(N, 2, H, W\), got \(1, 1, 8, 8\)"):
        model(tensor(np.zeros((1, 1, 8, 8), np.float32)))
    for shape in [(2, 8, 8), (1, 2, 0, 8), (0, 2, 8, 8)]:
        with pytest.raises(ShapeError, match=f"{where}: expected images"):
            model(tensor(np.zeros(shape, np.float32)))
    with pytest.raises(DtypeError, match=f"{where}: x must be a Tensor, got ndarray"):
        model(np.zeros((1, 2, 8, 8), np.float32))
    with pytest.raises(DtypeError, match="mixed dtypes"):
        model(tensor(np.zeros((1, 2, 8, 8))))


@every_network
def test_bad_options_are_refused(name):
    for bad in ({"in_channels": 0}, {"num_classes": 2.5}):
        with pytest.raises(ArgumentError, match=r"(in_channels|num_classes) must be (at least 1|an integer), got"):
            tiny(name, **bad)
    sizes = next((option for option in ("widths", "blocks") if option in NETWORKS[name][0]), None)
    for bad in ((), (4, 0), 4) if sizes else ():
        with pytest.raises(ArgumentError, match=sizes):
            tiny(name, **{sizes: bad})


def test_partial_networks_keep_their_options():
    assert [models.build(f"fcn{stride}s", 1, 2, **FCN).stride for stride in (8, 16, 32)] == [8, 16, 32]
    with pytest.raises(ArgumentError, match="fcn8s has no option 'width'; did you mean 'widths'"):
        models.build("fcn8s", 1, 2, width=3)
