"""Images that carry their own labels: whatever a transform does, each pixel must keep its label."""

import numpy as np
import pytest

from minseg.data import Compose, RandomCrop, RandomFlip, RandomQuarterTurn
from minseg.errors import ArgumentError, DataError


def labelled(h=9, w=14):
    """An image of two channels, row and column, and a mask that both determine."""
    rows, columns = np.mgrid[:h, :w]
    return np.stack([rows, columns]).astype(np.float32), label(rows, columns)


def label(rows, columns):
    return (rows * 14 + columns).astype(np.uint8)


TRANSFORMS = {
    "crop": RandomCrop((4, 6)),
    "flip": RandomFlip(),
    "turn": RandomQuarterTurn(),
    "all": Compose([RandomCrop(5), RandomFlip(), RandomQuarterTurn()]),
    "none": Compose([]),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_every_pixel_keeps_its_label(name, dtype):
    image, mask = labelled()
    image = image.astype(dtype)
    for seed in range(20):
        x, m = TRANSFORMS[name](image, mask, np.random.default_rng(seed))
        assert x.shape[1:] == m.shape
        assert (x.dtype, m.dtype) == (dtype, np.uint8)
        np.testing.assert_array_equal(label(x[0], x[1]), m)
    np.testing.assert_array_equal(image, labelled()[0])


@pytest.mark.parametrize("name", ["crop", "flip", "turn", "all"])
def test_the_generator_decides_and_nothing_else(name):
    image, mask = labelled()

    def draw(seed):
        return TRANSFORMS[name](image, mask, np.random.default_rng(seed))[0].tobytes()

    assert [draw(s) for s in range(10)] == [draw(s) for s in range(10)]
    assert len({draw(s) for s in range(40)}) > 1


def test_crops_reach_every_place_and_no_other():
    image, mask = labelled(5, 6)
    rng = np.random.default_rng(0)
    corners = {tuple(RandomCrop((3, 4))(image, mask, rng)[0][:, 0, 0].astype(int).tolist()) for _ in range(400)}
    assert corners == {(i, j) for i in range(3) for j in range(3)}


def test_a_crop_of_the_whole_image_is_the_image():
    image, mask = labelled(5, 6)
    x, m = RandomCrop((5, 6))(image, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(x, image)
    np.testing.assert_array_equal(m, mask)


def test_flips_mirror_left_and_right_half_of_the_time():
    image, mask = labelled()
    rng = np.random.default_rng(0)
    flipped = [RandomFlip()(image, mask, rng)[1][0, 0] != 0 for _ in range(400)]
    assert abs(np.mean(flipped) - 0.5) < 4 * 0.5 / 20  # four standard deviations of the mean of 400 coins
    np.testing.assert_array_equal(RandomFlip(p=1)(image, mask, rng)[1], mask[:, ::-1])
    np.testing.assert_array_equal(RandomFlip(p=0)(image, mask, rng)[1], mask)


def test_turns_are_all_four():
    image, mask = labelled(4, 4)
    rng = np.random.default_rng(0)
    seen = {RandomQuarterTurn()(image, mask, rng)[1].tobytes() for _ in range(100)}
    assert seen == {np.rot90(mask, k).tobytes() for k in range(4)}


@pytest.mark.parametrize("size", [10, (4, 15)])
def test_an_image_smaller_than_the_crop(size):
    image, mask = labelled()
    with pytest.raises(
        DataError, match=r"the image is 9 high, 14 wide, smaller than the crop .*choose a crop of at most 9"
    ):
        RandomCrop(size)(image, mask, np.random.default_rng(0))


def test_bad_arguments():
    for size in (0, -3, (2, 3, 4), (0, 5)):
        with pytest.raises(ArgumentError, match="RandomCrop: size must be"):
            RandomCrop(size)
    with pytest.raises(ArgumentError, match="RandomFlip: p must be"):
        RandomFlip(1.5)
