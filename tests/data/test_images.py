"""Reading pictures of every kind, and what is said about those that cannot be used."""

import numpy as np
import pytest
from PIL import Image

from minseg.data.images import read_image, read_mask, read_pair
from minseg.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (3, 5)).astype(np.uint8)
RGB = RNG.integers(0, 256, (3, 5, 3)).astype(np.uint8)
LABELS = np.array([[0, 1, 2], [255, 1, 0]], np.uint8)


def saved(path, array):
    Image.fromarray(array).save(path)
    return path


def test_grey_and_rgb_keep_their_values(tmp_path):
    grey, rgb = read_image(saved(tmp_path / "g.png", GREY)), read_image(saved(tmp_path / "c.png", RGB))
    np.testing.assert_array_equal(grey, GREY[..., None])
    np.testing.assert_array_equal(rgb, RGB)
    assert grey.dtype == rgb.dtype == np.uint8


def test_alpha_is_dropped(tmp_path):
    alpha = np.full((3, 5, 1), 7, np.uint8)
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.png", np.concatenate([RGB, alpha], 2))), RGB)
    np.testing.assert_array_equal(
        read_image(saved(tmp_path / "b.png", np.dstack([GREY, alpha[..., 0]]))), GREY[..., None]
    )


def test_palette_images_become_rgb_and_bitmaps_grey(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png").tolist() == [[[10, 20, 30], [40, 50, 60]]]
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "1.png")
    assert read_image(tmp_path / "1.png").tolist() == [[[255], [0]]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_images_come_in_units_of_8_bit_ones(tmp_path, suffix):
    values = np.array([[0, 1, 257, 65535]], np.uint16)
    image = read_image(saved(tmp_path / f"deep.{suffix}", values))
    assert image.dtype == np.float32
    assert image.shape == (1, 4, 1)
    np.testing.assert_allclose(image[0, :, 0], [0, 1 / 257, 1, 255], rtol=1e-7)


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.array([[0.5]], np.float32), "floating-point values"), (np.array([[70000]], np.int32), "outside 16 bits")],
)
def test_images_of_unknown_range_are_errors(tmp_path, values, message):
    path = saved(tmp_path / "odd.tif", values)
    with pytest.raises(DataError, match=message):
        read_image(path)


@pytest.mark.parametrize("read", [read_image, lambda path: read_mask(path, 3)])
def test_unreadable_files(tmp_path, read):
    with pytest.raises(DataError, match=r"no\.png does not exist"):
        read(tmp_path / "no.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(DataError, match=r"text\.png cannot be read: .*export or copy it again"):
        read(tmp_path / "text.png")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.png cannot be read"):
        read(tmp_path / "empty.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_images_are_errors_of_one_line(tmp_path, suffix, share):
    path = saved(tmp_path / f"whole.{suffix}", RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=rf"whole\.{suffix} cannot be read") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_masks_are_read_as_indices(tmp_path):
    picture = Image.fromarray(LABELS)
    picture.putpalette(RNG.integers(0, 256, 768).astype(np.uint8).tobytes())
    picture.save(tmp_path / "palette.png")
    for path in (tmp_path / "palette.png", saved(tmp_path / "grey.png", LABELS)):
        mask = read_mask(path, 3)
        np.testing.assert_array_equal(mask, LABELS)
        assert mask.dtype == np.uint8
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "deep.png", LABELS.astype(np.uint16)), 3), LABELS)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "bits.png", LABELS == 1), 2), LABELS == 1)


def test_a_label_outside_the_classes_is_named_with_file_and_pixel(tmp_path):
    path = saved(tmp_path / "m.png", np.array([[0, 1], [2, 1]], np.uint8))
    with pytest.raises(DataError, match=r"m\.png has label 2 at row 1, column 0, expected 0 to 1 \(2 classes\)"):
        read_mask(path, 2)
    with pytest.raises(DataError, match=r"deep\.png has label 511"):  # 511 is 255 in its low byte
        read_mask(saved(tmp_path / "deep.png", np.array([[511]], np.uint16)), 2)


def test_a_colour_mask_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"c\.png is RGB, expected one class index a pixel"):
        read_mask(saved(tmp_path / "c.png", RGB), 3)


def test_binary_masks(tmp_path):
    white = np.array([[0, 255], [255, 0]], np.uint8)
    for array in (white, white > 0):
        mask = read_mask(saved(tmp_path / "w.png", array), 2, binary=True)
        assert mask.tolist() == [[0, 1], [1, 0]]
        assert mask.dtype == np.uint8
    with pytest.raises(DataError, match=r"label 1 at row 0, column 1, expected black \(0\) or white \(255\)"):
        read_mask(saved(tmp_path / "m.png", np.array([[0, 1]], np.uint8)), 2, binary=True)


def test_image_and_mask_of_different_sizes(tmp_path):
    image, mask = saved(tmp_path / "i.png", RGB), saved(tmp_path / "m.png", LABELS)
    with pytest.raises(
        DataError, match=r"i\.png is 3 high, 5 wide, but its mask .*m\.png is 2 high, 3 wide; resize the mask"
    ):
        read_pair(image, mask, 3)
