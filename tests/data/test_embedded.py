"""The data that come with minseg: present, split without overlap, and with baselines worth beating."""

from importlib.resources import files

import numpy as np
import pytest
from PIL import Image, ImageFilter

from minseg.data import Compose, Loader, RandomCrop, RandomFlip, RandomQuarterTurn, open_data
from minseg.data.earth import BLOCK, COLUMNS, LEFT, ROWS, TILE, TOP, colour_table, is_held_out, place
from minseg.data.images import IGNORE
from minseg.data.nuclei import BLURS
from minseg.errors import ArgumentError
from minseg.metrics import ConfusionMatrix


@pytest.fixture(scope="module")
def nuclei():
    return open_data("nuclei")


@pytest.fixture(scope="module")
def earth():
    return open_data("earth")


def test_the_files_are_package_data_with_their_sources():
    folder = files("minseg.data").joinpath("embedded")
    sources = folder.joinpath("SOURCES.md").read_text(encoding="utf-8")
    names = [item.name for item in folder.iterdir() if item.name != "SOURCES.md"]
    assert len(names) == 4
    assert all(f"`{name}`" in sources for name in names)


def test_nuclei(nuclei):
    image, mask = nuclei.train[0]
    held_out_image, held_out_mask = nuclei.val[0]
    assert (image.shape, mask.shape) == ((512, 384, 1), (512, 384))
    assert (held_out_image.shape, held_out_mask.shape) == ((512, 128, 1), (512, 128))
    assert image.dtype == mask.dtype == held_out_mask.dtype == np.uint8
    assert np.unique(mask).tolist() == [0, 1]
    assert (nuclei.class_names, nuclei.num_classes) == (("background", "nucleus"), 2)
    assert (nuclei.in_channels, nuclei.crop) == (1, 64)


def test_nuclei_are_standardised_with_the_training_columns_only(nuclei):
    u = np.log1p(20.0 * nuclei.train[0][0] / 255)
    assert nuclei.preprocess.log_gain == 20
    np.testing.assert_allclose(nuclei.preprocess.mean, [u.mean()], rtol=1e-6)
    np.testing.assert_allclose(nuclei.preprocess.std, [u.std()], rtol=1e-6)
    assert abs(float(nuclei.preprocess(nuclei.train[0][0]).mean())) < 1e-4


@pytest.mark.parametrize("blur", BLURS)
def test_no_threshold_beats_the_best_threshold(nuclei, blur):
    best = nuclei.baseline().confusion
    smoothed = Image.fromarray(nuclei.image).filter(ImageFilter.GaussianBlur(blur)) if blur else nuclei.image
    held_out, mask = np.asarray(smoothed)[:, 384:], nuclei.val[0][1]
    for threshold in range(256):
        confusion = ConfusionMatrix(2)
        confusion.update((held_out > threshold).astype(np.uint8), mask)
        assert confusion.iou()[1] <= best.iou()[1]


def test_nuclei_baseline(nuclei):
    baseline = nuclei.baseline()
    assert baseline.name == "best threshold"
    assert baseline.confusion.counts.sum() == nuclei.val[0][1].size
    assert 0.78 < baseline.confusion.iou()[1] < 0.80
    assert "chosen on the held-out columns themselves" in baseline.note


def test_nuclei_load(nuclei):
    transform = Compose([RandomCrop(nuclei.crop), RandomFlip(), RandomQuarterTurn()])
    loader = Loader(nuclei.train, nuclei.preprocess, transform, 8)
    images, masks = loader.batch(0)
    assert images.shape == (8, 1, 64, 64)
    assert len({mask.tobytes() for mask in masks}) == 8


def test_earth_blocks_are_apart_and_cover_the_globe():
    held_out = {(r, c) for r in range(ROWS) for c in range(COLUMNS) if is_held_out(r, c)}
    assert 0.19 < len(held_out) / (ROWS * COLUMNS) < 0.25
    assert {r for r, _ in held_out} == set(range(ROWS))
    assert {c for _, c in held_out} == set(range(COLUMNS))
    neighbours = {(r + i, c + j) for r, c in held_out for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)}
    assert not neighbours & held_out
    assert (TOP + ROWS * BLOCK, LEFT + COLUMNS * BLOCK) == ((90 + 52) * 15, 5400)
    assert BLOCK % TILE == 0
    assert (place(0, 0), place(4, 11)) == ("60 N 172 W", "4 S 4 E")


def blocks_of(dataset, image):
    """The block of every tile, from where the tile lies in the picture's memory."""
    row_bytes = image.strides[0]
    start = image.__array_interface__["data"][0]
    found = []
    for tile in dataset.images:
        y, x = divmod(tile.__array_interface__["data"][0] - start, row_bytes)
        y, x = y - TOP, x // 3 - LEFT
        assert (y // BLOCK, x // BLOCK) == ((y + TILE - 1) // BLOCK, (x + TILE - 1) // BLOCK), "a tile crosses blocks"
        found.append((y, x))
    return found


def test_earth_tiles_lie_in_blocks_of_their_side(earth):
    train, val = blocks_of(earth.train, earth.image), blocks_of(earth.val, earth.image)
    assert not any(is_held_out(y // BLOCK, x // BLOCK) for y, x in train)
    assert all(is_held_out(y // BLOCK, x // BLOCK) for y, x in val)
    assert len(set(train + val)) == len(train) + len(val)
    assert all(y % TILE == 0 and x % TILE == 0 for y, x in train + val)


def test_earth(earth):
    assert earth.class_names == ("water", "trees", "open vegetation", "arid")
    assert (earth.in_channels, earth.crop) == (3, 64)
    assert 0.15 < len(earth.val) / (len(earth.train) + len(earth.val)) < 0.25
    shares = []
    for dataset in (earth.train, earth.val):
        labels = np.stack(dataset.masks)
        assert set(np.unique(labels)) <= {0, 1, 2, 3, IGNORE}
        assert (((labels != 0) & (labels != IGNORE)).mean((1, 2)) > 0.25).all()
        shares.append(np.bincount(labels[labels != IGNORE]) / (labels != IGNORE).sum())
    np.testing.assert_allclose(*shares, atol=0.05)  # both sides hold the classes alike


def test_earth_region_is_a_whole_held_out_block(earth):
    image, mask = earth.region()
    assert (image.shape, mask.shape) == ((240, 240, 3), (240, 240))
    assert np.unique(mask[mask != IGNORE]).tolist() == [0, 1, 2, 3]
    seen = {earth.region(i)[0].tobytes() for i in range(len(earth.held_out_blocks))}
    assert len(seen) == len(earth.held_out_blocks)
    (y, x), *_ = blocks_of(type(earth.val)([image[:TILE, :TILE]], [], []), earth.image)
    assert is_held_out(y // BLOCK, x // BLOCK)
    with pytest.raises(ArgumentError, match="region: index must be 0 to 29, got 30"):
        earth.region(30)


def test_earth_baseline_knows_colours_only_and_is_strong(earth):
    baseline = earth.baseline()
    assert baseline.name == "colour only"
    assert baseline.confusion.counts.sum() == (np.stack(earth.val.masks) != IGNORE).sum()
    assert 0.76 < baseline.confusion.mean_iou() < 0.79


def test_the_colour_table_answers_by_majority_and_asks_the_neighbours():
    blue, green = [10, 20, 200], [20, 120, 30]
    colours = np.array([blue] * 3000 + [green] * 3000 + [blue] * 9000, np.uint8)
    labels = np.array([0] * 2000 + [1] * 1000 + [2] * 3000 + [IGNORE] * 9000, np.uint8)
    table = colour_table(colours, labels)
    assert table[10 >> 1, 20 >> 1, 200 >> 1] == 0
    assert table[20 >> 1, 120 >> 1, 30 >> 1] == 2
    assert table[28 >> 1, 124 >> 1, 24 >> 1] == 2  # never seen itself, in the same coarse bin as the green


def test_embedded_data_have_their_own_classes():
    with pytest.raises(ArgumentError, match="nuclei has its own classes"):
        open_data("nuclei", classes="a,b")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nuclie", "unknown data 'nuclie'; did you mean 'nuclei'\\? known: binary:DIR, cells, earth"),
        ("nuclei:here", "unknown data 'nuclei:here'"),
        ("coco:/tmp", "unknown data"),
        ("", "unknown data ''"),
        ("voc", "data 'voc' lacks its folder; write voc:DIR"),
        ("folder:", "data 'folder:' lacks its folder"),
    ],
)
def test_unknown_names(spec, message):
    with pytest.raises(ArgumentError, match=message):
        open_data(spec)
