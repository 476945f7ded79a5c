"""Pruning takes the smallest and they stay away; eight bits cost at most half a step; files come back as they were saved."""

import numpy as np
import pytest

from minseg import compress, models, nn, ops, optim
from minseg.autograd import tensor
from minseg.errors import ArgumentError, FileError, ShapeError
from minseg.inference import predict_logits
from minseg.training import Trainer
from minseg.weights import load_metadata, load_weights, save_weights


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def a_model():
    return models.UNet(1, 2, widths=(3, 4))


def distinct(model):
    """Weights whose magnitudes are all different, layers of unlike sizes."""
    rng = np.random.default_rng(0)
    for p in model.parameters():
        p.data = rng.standard_normal(p.shape).astype(np.float32)
    return model


# --------------------------------------------------------------------------------------------------------------- pruning


@pytest.mark.parametrize("share", [0, 0.3, 0.5, 0.97, 1])
def test_global_pruning_leaves_out_the_smallest_of_all(share):
    model = distinct(a_model())
    before = compress.weights_of(model)
    magnitudes = np.sort(np.concatenate([np.abs(w).ravel() for w in before.values()]))
    masks = compress.prune(model, share)
    after = compress.weights_of(model)
    removed = round(share * magnitudes.size)
    assert compress.count(model).nonzero_weights == magnitudes.size - removed
    for name, w in after.items():
        np.testing.assert_array_equal(w, np.where(masks[name], before[name], 0))
        assert masks[name].dtype == bool
        assert (np.abs(before[name][~masks[name]]) <= magnitudes[removed - 1]).all()
        assert w.dtype == np.float32
    assert all(not mask.any() for mask in masks.values()) == (share == 1)


def test_pruning_per_layer_takes_the_same_share_of_each():
    model = distinct(a_model())
    model.head.weight.data = model.head.weight.data * np.float32(1e-3)  # one threshold for all would empty this layer
    masks = compress.prune(model, 0.5, per_layer=True)
    for name, mask in masks.items():
        assert mask.sum() == mask.size - round(0.5 * mask.size), name
    assert not compress.prune(model, 0.75)["head.weight"].any()


def test_biases_and_norms_stay():
    model = distinct(a_model())
    small = {name: p.data for name, p in model.named_parameters() if len(p.shape) < 2}
    assert "encoder.0.1.weight" in small
    assert "head.bias" in small
    compress.prune(model, 0.9)
    compress.fake_quantize(model)
    assert all(dict(model.named_parameters())[name].data is data for name, data in small.items())


def test_equal_magnitudes_stay_together():
    model = nn.Sequential(nn.Linear(4, 1))
    model[0].weight.data = np.array([[0.5, -0.5, 0.5, 2.0]], np.float32)
    assert compress.prune(model, 0.5)["0.weight"].all()


@pytest.mark.parametrize("make", [lambda p: optim.Adam(p, lr=0.05), lambda p: optim.SGD(p, lr=0.05, momentum=0.9)])
def test_masks_hold_while_training_goes_on(make, rng):
    model = a_model()
    x = tensor(rng.standard_normal((2, 1, 8, 8)).astype(np.float32))
    labels = rng.integers(0, 2, (2, 8, 8)).astype(np.uint8)
    optimizer = make(list(model.parameters()))

    def step(optimizer):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    step(optimizer)  # momentum that would move pruned weights
    masks = compress.prune(model, 0.7)
    masked = compress.Masked(optimizer, model, masks)
    kept = {name: w.copy() for name, w in compress.weights_of(model).items()}
    losses = [step(masked) for _ in range(6)]
    assert losses[-1] < losses[0]
    for name, w in compress.weights_of(model).items():
        assert (w[~masks[name]] == 0).all()
        assert (w[masks[name]] != kept[name][masks[name]]).any() or not masks[name].any()


def test_a_masked_optimizer_serves_a_trainer(tmp_path, rng):
    model = a_model()
    masks = compress.prune(model, 0.6)

    class Batches:
        def stream(self, start, stop):
            for step in range(start, stop):
                r = np.random.default_rng(step)
                yield r.standard_normal((2, 1, 8, 8)).astype(np.float32), r.integers(0, 2, (2, 8, 8)).astype(np.uint8)

    def trainer(steps):
        masked = compress.Masked(optim.Adam(list(model.parameters())), model, masks)
        return Trainer(model, masked, nn.CrossEntropyLoss(), Batches(), steps=steps, out=tmp_path, progress=False)

    trainer(2).fit()
    again = trainer(4)
    again.resume()
    assert again.step == 2
    again.fit()
    assert compress.count(model).nonzero_weights == sum(int(mask.sum()) for mask in masks.values())


def test_impossible_pruning():
    for share in (-0.1, 1.01, float("nan")):
        with pytest.raises(ArgumentError, match=f"0 to 1, got {share}"):
            compress.prune(a_model(), share)
    with pytest.raises(ArgumentError, match="ReLU has no weights"):
        compress.prune(nn.ReLU(), 0.5)
    with pytest.raises(ShapeError, match=r"mask of head.weight is \(2,\), but the model has \(2, 3, 1, 1\)"):
        compress.Masked(None, a_model(), {"head.weight": np.ones(2, bool)})
    with pytest.raises(ShapeError, match="no such weight"):
        compress.Masked(None, a_model(), {"tail.weight": np.ones(2, bool)})


# ------------------------------------------------------------------------------------------------------------ eight bits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_costs_at_most_half_a_step(dtype, rng):
    w = rng.standard_normal((3, 2, 5)).astype(dtype)
    w[1] *= 100
    for per_channel in (True, False):
        s = compress.symmetric_scale(w, per_channel)
        q = compress.quantize(w, s)
        assert q.dtype == np.int8
        assert np.abs(q.astype(int)).max() == 127
        back = compress.dequantize(q, s)
        assert back.dtype == dtype
        assert (np.abs(back - w) <= s * (0.5 + 200 * np.finfo(dtype).eps)).all()
        assert (np.abs(back - w) > 0.3 * s).any()
    assert compress.symmetric_scale(w).shape == (3, 1, 1)
    assert compress.symmetric_scale(w, per_channel=False).shape == ()


def test_a_scale_for_each_channel_errs_less(rng):
    w = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    w[0] *= 50
    errors = []
    for per_channel in (True, False):
        s = compress.symmetric_scale(w, per_channel)
        errors.append(np.abs(compress.dequantize(compress.quantize(w, s), s) - w)[1:].max())
    assert errors[0] < errors[1] / 10


@pytest.mark.parametrize(("low", "high"), [(-1.7, 3.9), (0, 6), (0.5, 6), (-3, -1), (0, 0), (-1e-3, 1e5)])
def test_zero_has_no_error_and_the_range_is_covered(low, high):
    s = compress.affine_scale(low, high)
    z = compress.zero_point(low, s)
    assert -128 <= z <= 127
    x = np.array([0.0, low, high])
    back = compress.dequantize(compress.quantize(x, s, z), s, z)
    assert back[0] == 0
    assert np.abs(back - x).max() <= s * 0.5000001 or s == 1


def test_zeros_stay_zero():
    model = a_model()
    compress.prune(model, 1.0)
    assert compress.fake_quantize(model) == 0.0
    assert compress.count(model).nonzero_weights == 0


def test_activations_are_rounded_to_256_values_inside_the_block_only(rng):
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, rng=rng), nn.ReLU(), nn.Conv2d(2, 2, 1, rng=rng))
    images = [rng.standard_normal((1, 20, 30)).astype(np.float32) for _ in range(2)]
    ranges = compress.activation_ranges(model, images)
    assert set(ranges) == {"0", "1", "2"}
    outputs = np.stack([predict_logits(model, image) for image in images])
    assert ranges["2"] == (outputs.min(), outputs.max())
    assert ranges["1"][0] == 0
    exact = predict_logits(model, images[0])
    with compress.fake_quantized_activations(model, ranges):
        rounded = predict_logits(model, images[0])
    assert len(np.unique(rounded)) <= 256 < len(np.unique(exact))
    step = compress.affine_scale(*ranges["2"])
    assert 0.2 * step < np.abs(rounded - exact).max() < 10 * step
    np.testing.assert_array_equal(predict_logits(model, images[0]), exact)


# --------------------------------------------------------------------------------------------------------- int8 on disk


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_loaded_is_what_fake_quantisation_computes(per_channel, dtype, tmp_path):
    model = models.UNet(1, 2, widths=(16, 24)).to(dtype)
    saved = compress.save_int8(model, tmp_path / "small.safetensors", per_channel)
    save_weights(model, tmp_path / "large.safetensors")
    assert saved.bytes_float == (tmp_path / "large.safetensors").stat().st_size
    assert saved.bytes_int8 == (tmp_path / "small.safetensors").stat().st_size
    assert saved.bytes_int8 < (0.4 if dtype == np.float32 else 0.25) * saved.bytes_float
    stored = load_weights(tmp_path / "small.safetensors")
    assert stored["head.weight"].dtype == np.int8
    assert "head.weight" in load_metadata(tmp_path / "small.safetensors")["int8"]

    loaded = models.UNet(1, 2, widths=(16, 24), seed=1).to(dtype)
    loaded.load_state_dict(compress.load_int8(tmp_path / "small.safetensors"))
    largest = compress.fake_quantize(model, per_channel)
    assert saved.largest_error == pytest.approx(largest, rel=1e-12)
    assert 1e-4 < saved.relative_error < 0.02
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, loaded.state_dict()[name])


def test_files_that_hold_no_int8_weights(tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(a_model(), path)
    with pytest.raises(FileError, match=r"model\.safetensors does not hold int8 weights"):
        compress.load_int8(path)
    save_weights({"w": np.zeros(3, np.int8)}, path, {"int8": '["w"]'})
    with pytest.raises(FileError, match=r"w\.int8_scale"):
        compress.load_int8(path)
    with pytest.raises(FileError, match="cannot read"):
        compress.load_int8(tmp_path / "nothing")


def test_counts():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    found = compress.count(model)
    assert (found.parameters, found.weights, found.nonzero_weights) == (54 + 3 + 6, 54, 54)
    assert found.nonzero == 54 + 3  # biases and shifts begin at zero
