"""Where pixels go when an image turns, grows or bends: labels stay labels, the ring outside is ignored, seeds decide."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minseg
from minseg import data
from minseg.data import geometry
from minseg.data.geometry import warp
from minseg.errors import ArgumentError, DataError

WARPS = {
    "resize": data.Resize((11, 6)),
    "rotation": data.RandomRotation(180),
    "scale": data.RandomScale(0.5, 2),
    "elastic": data.ElasticDeformation(strength=1.5, sigma=3),
}
COLOURS = {
    "brightness": data.RandomBrightnessContrast(),
    "noise": data.RandomNoise(20),
    "blur": data.RandomBlur(2),
}
EVERYTHING = data.Compose([*WARPS.values(), data.RandomFlip(axis="both"), *COLOURS.values()])


def raw(seed=0, size=(9, 14), channels=3, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (channels, *size)).astype(dtype)
    return image, rng.choice([0, 1, 2, 3, 255], size).astype(np.uint8)


def ramps(h, w):
    """An image whose two channels are each pixel's own row and column, and a mask of which every label differs."""
    rows, columns = np.mgrid[:h, :w].astype(float)
    return np.stack([rows, columns]), np.arange(h * w).reshape(h, w)


@pytest.mark.parametrize("name", [*WARPS, *COLOURS])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (9, 14)])
def test_types_sizes_and_inputs_are_kept(name, dtype, size):
    transform = (WARPS | COLOURS | {"scale": data.RandomScale(0.8, 2)})[name]  # halved, a line of one pixel is gone
    image, mask = raw(size=size, channels=1, dtype=dtype)
    image = image.transpose(1, 2, 0).copy().transpose(2, 0, 1)  # as the loader gives it: a view
    before = image.tobytes(), mask.tobytes()
    for seed in range(5):
        try:
            x, m = transform(image, mask, np.random.default_rng(seed))
        except DataError:
            assert (name, min(size)) == ("elastic", 1)  # one pixel may be pushed out of the picture
            continue
        assert (x.dtype, m.dtype) == (image.dtype, mask.dtype)
        assert x.shape[1:] == m.shape == ((11, 6) if name == "resize" else size)
        assert x.min() >= 0
        assert x.max() <= 255
        assert set(np.unique(m)) <= set(np.unique(mask)) | {255}
    assert before == (image.tobytes(), mask.tobytes())


@pytest.mark.parametrize("name", ["rotation", "scale", "elastic"])
def test_every_pixel_lies_where_its_label_lies(name):
    """The image tells from which row and column it was read: the nearest pixel there must have the label of the mask."""
    image, mask = ramps(23, 17)
    for seed in range(10):
        x, m = WARPS[name](image, mask, np.random.default_rng(seed))
        inside = m != 255
        assert inside.mean() > 0.1
        rows, columns = x[:, inside]
        away = [np.abs(position % 1 - 0.5) > 1e-6 for position in (rows, columns)]  # not half-way between two pixels
        sure = away[0] & away[1]
        np.testing.assert_array_equal((np.rint(rows) * 17 + np.rint(columns))[sure], m[inside][sure])


def test_a_quarter_turn_is_the_exact_one():
    for size in ((6, 6), (7, 7)):
        image, mask = raw(size=size)
        for quarters in range(4):
            x, m = warp(image, mask, *geometry.rotated(size, 90.0 * quarters))
            np.testing.assert_array_equal(x, np.rot90(image, quarters, (1, 2)))
            np.testing.assert_array_equal(m, np.rot90(mask, quarters))


def test_what_comes_from_outside_is_ignored_and_nothing_else():
    """Against the rotated square drawn by hand: a pixel is outside where its centre, turned back, is."""
    h, w, degrees = 20, 31, 30.0
    x, m = warp(np.full((1, h, w), 7, np.uint8), np.ones((h, w), np.uint8), *geometry.rotated((h, w), degrees))
    expected = np.empty((h, w), np.uint8)
    for i in range(h):
        for j in range(w):
            source = ((i - (h - 1) / 2) + 1j * (j - (w - 1) / 2)) * np.exp(-1j * np.radians(degrees))
            inside = abs(source.real) < h / 2 and abs(source.imag) < w / 2
            expected[i, j] = 1 if inside else 255
    np.testing.assert_array_equal(m, expected)
    assert (m == 255).sum() > 100
    assert (x == 7).all(), "the image repeats its edge: there is no black frame to learn"


def test_zooming_out_leaves_a_ring_and_zooming_in_none():
    image, mask = raw(size=(12, 20))
    mask[mask == 255] = 0
    _, small = warp(image, mask, *geometry.zoomed((12, 20), 0.5))
    expected = np.full((12, 20), True)
    expected[3:9, 5:15] = False
    np.testing.assert_array_equal(small == 255, expected)
    _, large = warp(image, mask, *geometry.zoomed((12, 20), 2.0))
    assert (large != 255).all()
    np.testing.assert_array_equal(large, mask[3:9, 5:15].repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("new", [(5, 4), (9, 14), (13, 40), (1, 1)])
def test_resize_reads_where_interpolate_does(new):
    image, mask = raw(dtype=np.float64)
    x, m = data.Resize(new)(image, mask, np.random.default_rng(0))
    with minseg.use_backend("numpy"):
        np.testing.assert_allclose(
            x, minseg.ops.interpolate(minseg.tensor(image[None]), size=new, mode="bilinear").numpy()[0], atol=1e-10
        )
    assert set(np.unique(m)) <= set(np.unique(mask))
    if new == mask.shape:
        np.testing.assert_array_equal(x, image)
        np.testing.assert_array_equal(m, mask)


def test_a_resized_mask_is_not_shifted():
    """Enlarged and shrunk again it is itself, and its centre of gravity stays: no half-pixel drift."""
    _, mask = raw(size=(8, 6))
    image, rng = np.zeros((1, 8, 6)), np.random.default_rng(0)
    for factor in (2, 3, 4):
        _, large = data.Resize((8 * factor, 6 * factor))(image, mask, rng)
        np.testing.assert_array_equal(large, mask.repeat(factor, 0).repeat(factor, 1))
        _, back = data.Resize((8, 6))(np.zeros((1, *large.shape)), large, rng)
        np.testing.assert_array_equal(back, mask)


def test_displacements_have_the_strength_asked_for_everywhere():
    """The standard deviation over 3000 fields, at corners and centre; that of such an estimate is 1 / sqrt(6000) of it."""
    fields = np.stack([geometry.displacement((6, 9), 2.0, 1.5, np.random.default_rng(s)) for s in range(3000)])
    assert np.abs(fields.std(axis=0) / 1.5 - 1).max() < 5 / np.sqrt(6000)
    neighbours = np.corrcoef(fields[:, 2, 2], fields[:, 2, 3])[0, 1]
    assert neighbours > 0.9, "smooth"


def test_flips_along_each_axis():
    image, mask = raw()
    rng = np.random.default_rng(0)
    for axis, expected in (("horizontal", mask[:, ::-1]), ("vertical", mask[::-1]), ("both", mask[::-1, ::-1])):
        x, m = data.RandomFlip(1, axis)(image, mask, rng)
        np.testing.assert_array_equal(m, expected)
        assert x.shape == image.shape
    drawn = {data.RandomFlip(0.5, "both")(image, mask, rng)[1].tobytes() for _ in range(60)}
    assert len(drawn) == 4, "each axis is drawn for itself"


def test_a_clipped_crop_takes_what_there_is():
    image, mask = raw(size=(9, 14))
    x, m = data.RandomCrop((20, 5), clip=True)(image, mask, np.random.default_rng(0))
    assert (x.shape, m.shape) == ((3, 9, 5), (9, 5))


# ------------------------------------------------------------------------------------------------------ reproducibility


@pytest.mark.parametrize("name", [*WARPS, *COLOURS])
def test_the_generator_decides_and_nothing_else(name):
    image, mask = raw()
    transform = (WARPS | COLOURS)[name]

    def draw(seed):
        x, m = transform(image, mask, np.random.default_rng(seed))
        return x.tobytes() + m.tobytes()

    assert [draw(s) for s in range(5)] == [draw(s) for s in range(5)]
    assert len({draw(s) for s in range(5)}) == (1 if name == "resize" else 5)


def loader(seed=3):
    pairs = [(raw(i)[0].transpose(1, 2, 0), raw(i)[1]) for i in range(5)]
    return data.Loader(pairs, data.Preprocess((0.0,) * 3, (1.0,) * 3), EVERYTHING, batch_size=4, seed=seed)


def test_several_workers_draw_what_one_would():
    """Four threads share one loader and take its steps in no order; each batch is what a lone loader draws, to the bit."""
    alone, shared = loader(), loader()
    expected = [alone.batch(step) for step in range(24)]
    with ThreadPoolExecutor(4) as workers:
        steps = np.random.default_rng(0).permutation(24).tolist()
        drawn = dict(zip(steps, workers.map(shared.batch, steps)))
    for step, (images, masks) in enumerate(expected):
        assert drawn[step][0].tobytes() == images.tobytes()
        assert drawn[step][1].tobytes() == masks.tobytes()
    assert loader(seed=4).batch(0)[0].tobytes() != expected[0][0].tobytes()


# --------------------------------------------------------------------------------------------------------------- errors


def test_nothing_left_of_the_image_is_an_error_that_names_the_sample():
    image, mask = raw(size=(2, 2))
    with pytest.raises(DataError, match="nothing of the image, 2 high, 2 wide, is left"):
        data.RandomScale(0.01, 0.01)(image, mask, np.random.default_rng(0))
    lost = data.Loader(
        [(image.transpose(1, 2, 0), mask)], data.Preprocess((0.0,) * 3, (1.0,) * 3), data.RandomScale(0.01, 0.01)
    )
    with pytest.raises(DataError, match="sample 0: nothing of the image"):
        lost.batch(0)


def test_no_pixel_to_resize():
    with pytest.raises(DataError, match="0 high, 3 wide; there is no pixel to resize"):
        data.Resize(4)(np.zeros((1, 0, 3)), np.zeros((0, 3), np.uint8), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: data.Resize(0), "Resize: size must be a positive integer or a pair"),
        (lambda: data.Resize((4, -1)), "Resize: size must be"),
        (lambda: data.Resize(2.5), "Resize: size must be"),
        (lambda: data.RandomRotation(-1), "RandomRotation: degrees must be 0 to 180, got -1"),
        (lambda: data.RandomRotation(float("nan")), "RandomRotation: degrees must be"),
        (lambda: data.RandomScale(0, 1), "RandomScale: expected 0 < low <= high, got low 0, high 1"),
        (lambda: data.RandomScale(2, 1), "RandomScale: expected 0 < low <= high"),
        (lambda: data.RandomScale(1, float("inf")), "RandomScale: expected 0 < low <= high"),
        (lambda: data.ElasticDeformation(-1), "ElasticDeformation: strength must be at least 0, got -1"),
        (lambda: data.ElasticDeformation(1, 0), "sigma positive, or the image folds over itself"),
        (lambda: data.ElasticDeformation(9, 3), "strength must be at most sigma"),
        (lambda: data.RandomBrightnessContrast(2), "brightness must be 0 to 1, got 2"),
        (lambda: data.RandomBrightnessContrast(0, -1), "contrast must be 0 to 1, got -1"),
        (lambda: data.RandomNoise(-1), "RandomNoise: std must be 0 to 255, got -1"),
        (lambda: data.RandomBlur(-0.1), "RandomBlur: sigma must be at least 0, got -0.1"),
        (lambda: data.RandomFlip(0.5, "horizontl"), "RandomFlip: unknown axis 'horizontl'; did you mean 'horizontal'"),
    ],
)
def test_nonsensical_arguments(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
