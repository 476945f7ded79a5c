"""Prediction by tiles: equal to the whole image, for every size, without touching the model's state."""

import numpy as np
import pytest

from minseg import inference, models
from minseg.autograd import Tensor, tensor
from minseg.errors import ArgumentError, NonFiniteError, ShapeError
from minseg.inference import predict_labels, predict_logits


@pytest.fixture
def rng():
    return np.random.default_rng(7)


class PooledMeans:
    """A stand-in with the habits of a U-Net: pools by 4, averages 3x3 on the coarse grid, enlarges, pads and crops odd sizes.

    Each output pixel sees at most 7 pixels far, and what it sees depends on where the pooling windows begin.
    """

    def __init__(self):
        self.training = True
        self.modes, self.shapes = [], []

    def modules(self):
        return [self]

    def eval(self):
        self.training = False

    def __call__(self, x: Tensor) -> Tensor:
        self.modes.append(self.training)
        self.shapes.append(x.shape)
        n, c, height, width = x.shape
        padded = np.pad(x.data, ((0, 0), (0, 0), (0, -height % 4), (0, -width % 4)))
        rows, columns = padded.shape[2] // 4, padded.shape[3] // 4
        coarse = padded.reshape(n, c, rows, 4, columns, 4).max(axis=(3, 5))
        around = np.pad(coarse, ((0, 0), (0, 0), (1, 1), (1, 1)))
        smooth = sum(around[:, :, i : i + rows, j : j + columns] for i in range(3) for j in range(3))
        fine = smooth.repeat(4, axis=2).repeat(4, axis=3)[:, :, :height, :width]
        return tensor(np.concatenate([fine + x.data, fine - x.data], axis=1))


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (64, 64), (64, 65), (33, 200), (97, 161), (150, 131), (256, 96)])
def test_tiles_equal_the_whole_image(size, rng):
    image = rng.standard_normal((2, *size)).astype(np.float32)
    whole = PooledMeans()(tensor(image[None])).data[0]
    tiled = predict_logits(PooledMeans(), image, tile=64, overlap=32)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=4 * np.finfo(np.float32).eps * np.abs(whole).max())


def test_unet_by_tiles_equals_the_whole_image(rng):
    image = rng.standard_normal((1, 141, 190)).astype(np.float32)
    model = models.build("unet", 1, 2, widths=(2, 3, 4))
    tiled = predict_logits(model, image, tile=96, overlap=64)
    whole = predict_logits(model, image)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


def test_a_model_that_sees_far_leaves_no_jump_at_seams(rng):
    class Mean(PooledMeans):
        def __call__(self, x):
            return tensor(np.broadcast_to(x.data.mean(axis=(2, 3), keepdims=True), x.shape).copy())

    image = np.linspace(0, 1, 300, dtype=np.float32) * np.ones((1, 64, 1), np.float32)
    values = predict_logits(Mean(), image, tile=64, overlap=32)[0, 20]
    assert np.abs(np.diff(values)).max() < 0.02  # neighbouring tiles differ by 0.1


def test_small_images_go_through_whole():
    model = PooledMeans()
    predict_logits(
        model, np.zeros((1, 128, 31), np.float32), tile=64, overlap=32
    )  # narrow, but no more pixels than a tile
    assert model.shapes == [(1, 1, 128, 31)]


def test_tiles_share_batches():
    model = PooledMeans()
    predict_logits(model, np.zeros((1, 128, 256), np.float32), tile=64, overlap=32, batch_size=4)
    assert max(shape[0] for shape in model.shapes) == 4
    assert all(shape[2:] <= (64, 64) for shape in model.shapes)


def test_labels_are_the_largest_logits(rng):
    image = rng.standard_normal((1, 20, 30)).astype(np.float32)
    labels = predict_labels(PooledMeans(), image)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, (image[0] < 0).astype(np.uint8))


def test_mode_is_restored_for_every_module_and_nothing_is_recorded(rng):
    model = models.build("unet", 1, 2, widths=(2, 3))
    frozen = list(model.modules())[3]
    model.train()
    frozen.eval()
    before = [module.training for module in model.modules()]
    state = {name: array.copy() for name, array in model.state_dict().items()}
    predict_logits(model, rng.standard_normal((1, 9, 9)).astype(np.float32))
    assert [module.training for module in model.modules()] == before
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    assert all(p.grad is None for p in model.parameters())


def test_mode_is_restored_after_an_error():
    model = PooledMeans()
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        predict_logits(model, np.full((1, 8, 8), np.nan, np.float32))
    assert model.modes == [False]
    assert model.training


def test_bad_arguments_are_one_clear_error():
    with pytest.raises(ShapeError, match=r"one image \(C, H, W\), got \(8, 8\)"):
        predict_logits(PooledMeans(), np.zeros((8, 8), np.float32))
    with pytest.raises(ArgumentError, match=r"multiples of 32.*got 100 and 32"):
        predict_logits(PooledMeans(), np.zeros((1, 8, 8), np.float32), tile=100, overlap=32)
    with pytest.raises(ArgumentError, match="got 64 and 64"):
        predict_logits(PooledMeans(), np.zeros((1, 8, 8), np.float32), tile=64, overlap=64)


def test_a_model_that_changes_the_size_is_refused():
    class Halves(PooledMeans):
        def __call__(self, x):
            return tensor(x.data[:, :, ::2].copy())

    with pytest.raises(ShapeError, match=r"the model made \(1, 1, 4, 8\) of images \(1, 1, 8, 8\)"):
        predict_logits(Halves(), np.zeros((1, 8, 8), np.float32))


def test_evaluate_counts_every_pixel_once_whatever_the_sizes(rng):
    class Counted:
        def __init__(self):
            self.pixels, self.right = 0, 0

        def update(self, prediction, truth):
            assert prediction.shape == truth.shape
            self.pixels += truth.size
            self.right += int((prediction == truth).sum())

    sizes = [(16, 16)] * 5 + [(8, 20)] + [(280, 250)] + [(16, 16)]
    images = [rng.standard_normal((*size, 1)).astype(np.float32) for size in sizes]
    dataset = [(image, (image[..., 0] < 0).astype(np.uint8)) for image in images]
    model = PooledMeans()
    counted = inference.evaluate(
        model, dataset, lambda raw: np.ascontiguousarray(raw.transpose(2, 0, 1)), Counted(), batch_size=4
    )
    assert counted.pixels == counted.right == sum(h * w for h, w in sizes)
    assert model.shapes[0] == (4, 1, 16, 16)  # small ones of one size together
