"""Folders of one's own, in both layouts: what is read, how it is split, and every way a folder can be wrong."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minseg.data import FileDataset, Loader, RandomCrop, open_data
from minseg.data.folders import VOC_CLASSES
from minseg.errors import ArgumentError, DataError

NAMES = "sky,tree,road"
CAMVID = Path(__file__).resolve().parents[3] / "shared" / "data" / "camvid"


@pytest.fixture
def camvid() -> Path:
    """Real street scenes in VOC layout, which stand beside the repository where they may be used."""
    if not CAMVID.is_dir():
        pytest.skip(f"the CamVid data are not at {CAMVID}")
    return CAMVID


def save(path: Path, array, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(array, np.uint8))
    if mode == "P":
        picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
    picture.save(path)


def sample(i: int, size=(20, 24), classes: int = 3, channels: int = 3):
    rng = np.random.default_rng(i)
    mask = rng.choice(np.array([*range(classes), 255]), size).astype(np.uint8)
    image = rng.integers(0, 256, (*size, channels)).astype(np.uint8)
    return (image if channels > 1 else image[..., 0]), mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten RGB images with palette masks of three classes."""
    for i in range(10):
        image, mask = sample(i)
        save(tmp_path / "images" / f"{i:02d}.png", image)
        save(tmp_path / "masks" / f"{i:02d}.png", mask, "P")
    return tmp_path


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Five images for training and two held out, in VOC layout."""
    for i in range(7):
        image, mask = sample(i)
        save(tmp_path / "JPEGImages" / f"a {i}.jpg", image)
        save(tmp_path / "SegmentationClass" / f"a {i}.png", mask, "P")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("".join(f"a {i}\n" for i in range(5)))
    (lists / "val.txt").write_text("a 5\na 6\n")
    return tmp_path


def stems(dataset):
    return [image.stem for image, _ in dataset.pairs]


def test_voc(voc):
    data = open_data(f"voc:{voc}", NAMES)
    assert stems(data.train) == [f"a {i}" for i in range(5)]
    assert stems(data.val) == ["a 5", "a 6"]
    assert data.class_names == ("sky", "tree", "road")
    image, mask = data.train[2]
    assert (image.shape, image.dtype) == ((20, 24, 3), np.uint8)
    np.testing.assert_array_equal(mask, sample(2)[1])
    assert (data.in_channels, data.crop, data.baseline()) == (3, 16, None)
    np.testing.assert_array_equal(data.region()[1], sample(5)[1])


def test_voc_class_names(voc, tmp_path):
    assert list(open_data(f"voc:{voc}").class_names) == VOC_CLASSES
    assert len(VOC_CLASSES) == 21
    (voc / "classes.txt").write_text("one\ntwo\n\nthree\n")
    assert open_data(f"voc:{voc}").class_names == ("one", "two", "three")
    (tmp_path / "other.txt").write_text("x\ny\nz\n")
    assert open_data(f"voc:{voc}", str(tmp_path / "other.txt")).class_names == ("x", "y", "z")
    assert open_data(f"voc:{voc}", ["p", "q", "r"]).class_names == ("p", "q", "r")


@pytest.mark.parametrize("classes", ["only", "a,,b", "a,a", [], [str(i) for i in range(256)]])
def test_bad_class_names(voc, classes):
    with pytest.raises(ArgumentError, match="classes: expected 2 to 255 different names"):
        open_data(f"voc:{voc}", classes)


def test_class_name_files_that_cannot_be_read(voc, tmp_path):
    with pytest.raises(ArgumentError, match=r"the file no\.txt does not exist"):
        open_data(f"voc:{voc}", "no.txt")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"bytes\.txt is no UTF-8 text"):
        open_data(f"voc:{voc}", str(tmp_path / "bytes.txt"))


def test_voc_parts_that_are_missing(voc):
    lists = voc / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text("a 5\nb\n")
    with pytest.raises(DataError, match=r"val\.txt lists b, but .*JPEGImages has no such file"):
        open_data(f"voc:{voc}", NAMES)
    (voc / "SegmentationClass" / "a 5.png").unlink()
    with pytest.raises(DataError, match=r"val\.txt lists a 5, but .*SegmentationClass has no such file"):
        open_data(f"voc:{voc}", NAMES)
    (lists / "val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt is empty"):
        open_data(f"voc:{voc}", NAMES)
    (lists / "val.txt").unlink()
    with pytest.raises(DataError, match=r"val\.txt does not exist"):
        open_data(f"voc:{voc}", NAMES)
    shutil.rmtree(voc / "JPEGImages")
    with pytest.raises(DataError, match="has no folder JPEGImages, which the VOC layout needs"):
        open_data(f"voc:{voc}", NAMES)
    with pytest.raises(DataError, match="nowhere is not a folder"):
        open_data(f"voc:{voc}/nowhere", NAMES)


def test_a_folder_is_split_by_the_seed(folder):
    data = open_data(f"folder:{folder}", NAMES)
    assert (len(data.train), len(data.val)) == (8, 2)
    assert sorted(stems(data.train) + stems(data.val)) == [f"{i:02d}" for i in range(10)]
    assert stems(open_data(f"folder:{folder}", NAMES).val) == stems(data.val)
    assert len({tuple(stems(open_data(f"folder:{folder}", NAMES, seed=s).val)) for s in range(5)}) > 1
    moved = folder / "moved"
    for part in ("images", "masks"):
        shutil.copytree(folder / part, moved / part)
    assert stems(open_data(f"folder:{moved}", NAMES).val) == stems(data.val)  # the path does not matter


def test_a_folder_keeps_pairs_together(folder):
    data = open_data(f"folder:{folder}", NAMES)
    for dataset in (data.train, data.val):
        for stem, (image, mask) in zip(stems(dataset), dataset, strict=True):
            np.testing.assert_array_equal(image, sample(int(stem))[0])
            np.testing.assert_array_equal(mask, sample(int(stem))[1])


def test_train_and_val_folders(folder):
    for i in range(10):
        part = folder / ("train" if i < 7 else "val")
        for kind in ("images", "masks"):
            (part / kind).mkdir(parents=True, exist_ok=True)
            (folder / kind / f"{i:02d}.png").rename(part / kind / f"{i:02d}.png")
    data = open_data(f"folder:{folder}", NAMES)
    assert stems(data.train) == [f"{i:02d}" for i in range(7)]
    assert stems(data.val) == ["07", "08", "09"]
    shutil.rmtree(folder / "val")
    with pytest.raises(DataError, match="has no folder val/ beside its other one"):
        open_data(f"folder:{folder}", NAMES)


def test_a_folder_needs_class_names(folder):
    with pytest.raises(ArgumentError, match="does not say which classes its masks have"):
        open_data(f"folder:{folder}")
    (folder / "classes.txt").write_text("sky\ntree\nroad\n")
    assert open_data(f"folder:{folder}").num_classes == 3


def test_pairs_that_are_incomplete(folder):
    (folder / "images" / "note.txt").write_text("not a picture, and not in the way")
    (folder / "images" / ".hidden.png").write_text("neither")
    open_data(f"folder:{folder}", NAMES)
    (folder / "images" / "02.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"02\.jpg and 02\.png have one name but for the suffix"):
        open_data(f"folder:{folder}", NAMES)
    (folder / "images" / "02.jpg").unlink()
    (folder / "masks" / "03.png").unlink()
    (folder / "masks" / "04.png").unlink()
    with pytest.raises(DataError, match=r"images/03\.png has no mask 03\.\* in .*masks \(nor have 1 more\); add it"):
        open_data(f"folder:{folder}", NAMES)
    (folder / "images" / "03.png").unlink()
    (folder / "images" / "04.png").unlink()
    (folder / "images" / "05.png").unlink()
    with pytest.raises(DataError, match=r"masks/05\.png has no image 05\.\* in .*images; add it"):
        open_data(f"folder:{folder}", NAMES)


def test_folders_without_pictures(tmp_path, folder):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"empty/images does not exist; put the images into images/"):
        open_data(f"folder:{empty}", NAMES)
    (empty / "images").mkdir()
    (empty / "masks").mkdir()
    with pytest.raises(DataError, match=r"images holds no images"):
        open_data(f"folder:{empty}", NAMES)
    for kind in ("images", "masks"):
        shutil.copy(folder / kind / "00.png", empty / kind)
    with pytest.raises(DataError, match="has only one image"):
        open_data(f"folder:{empty}", NAMES)


def test_files_are_read_when_their_turn_comes(folder):
    (folder / "images" / "04.png").write_bytes(b"")
    data = open_data(f"folder:{folder}", NAMES)
    dataset = data.train if "04" in stems(data.train) else data.val
    good, bad = stems(dataset).index("04") - 1, stems(dataset).index("04")
    dataset[good]
    with pytest.raises(DataError, match=r"04\.png cannot be read"):
        dataset[bad]
    with pytest.raises(DataError, match=r"04\.png cannot be read"):
        list(Loader(dataset, data.preprocess, batch_size=10).stream(0, 1))


def test_a_label_outside_the_classes(folder):
    message = r"masks/\d\d\.png has label 2 at row \d+, column \d+, expected 0 to 1"
    with pytest.raises(DataError, match=message):  # the first mask is looked at when the data are opened
        open_data(f"folder:{folder}", "sky,tree")
    pairs = open_data(f"folder:{folder}", NAMES).train.pairs
    with pytest.raises(DataError, match=message):
        FileDataset(pairs, num_classes=2)[3]


def black_and_white(root):
    for i in range(5):
        image, mask = sample(i, classes=2, channels=1)
        save(root / "images" / f"{i}.png", image)
        save(root / "masks" / f"{i}.png", np.where(mask == 1, 255, 0))
    return root


def test_black_and_white_masks_must_be_called_binary(tmp_path):
    root = black_and_white(tmp_path)
    with pytest.raises(DataError, match=r"hold only 0 and 255, and 255 means ignore; .*use binary:DIR"):
        open_data(f"folder:{root}", "background,cell")
    data = open_data(f"binary:{root}")
    assert (data.class_names, data.in_channels) == (("background", "foreground"), 1)
    for stem, (_, mask) in zip(stems(data.train), data.train, strict=True):
        np.testing.assert_array_equal(mask, sample(int(stem), classes=2)[1] == 1)
    assert open_data(f"binary:{root}", "background,cell").class_names[1] == "cell"
    with pytest.raises(ArgumentError, match="has two classes, got 3 names"):
        open_data(f"binary:{root}", NAMES)


def test_masks_of_background_only_are_not_taken_for_black_and_white(tmp_path):
    root = black_and_white(tmp_path)
    for i in range(5):
        save(root / "masks" / f"{i}.png", np.zeros((20, 24)))
    assert open_data(f"folder:{root}", "background,cell").num_classes == 2


def test_images_of_mixed_sizes(tmp_path):
    for i, size in enumerate([(40, 50), (33, 70), (64, 36), (48, 48), (50, 50), (60, 60)]):
        image, mask = sample(i, size)
        save(tmp_path / "images" / f"{i}.png", image)
        save(tmp_path / "masks" / f"{i}.png", mask)
    data = open_data(f"folder:{tmp_path}", NAMES)
    assert data.crop == 32
    assert Loader(data.train, data.preprocess, RandomCrop(data.crop), 5).batch(0)[0].shape == (5, 3, 32, 32)
    with pytest.raises(DataError, match=r"image .*\d\.png is \d+ high, \d+ wide, but image .*\d\.png is .*RandomCrop"):
        Loader(data.train, data.preprocess, batch_size=5).batch(0)
    with pytest.raises(DataError, match=r"image .*\d\.png: the image is \d+ high, \d+ wide, smaller than the crop"):
        Loader(data.train, data.preprocess, RandomCrop(64), 5).batch(0)


def test_tiny_and_large_images_have_no_crop_and_the_largest_one(tmp_path):
    for size, crop in (((8, 30), None), ((300, 400), 128)):
        root = tmp_path / str(crop)
        for i in range(2):
            image, mask = sample(i, size)
            save(root / "images" / f"{i}.png", image)
            save(root / "masks" / f"{i}.png", mask)
        assert open_data(f"folder:{root}", NAMES).crop == crop


def test_decoded_images_are_kept_within_the_limit(folder, monkeypatch):
    decoded = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda path: decoded.append(path) or original(path))
    pairs = open_data(f"folder:{folder}", NAMES).train.pairs[:4]
    one = 20 * 24 * 4  # bytes of an image and its mask
    dataset = FileDataset(pairs, 3, cache_bytes=2 * one)
    decoded.clear()
    for i in (0, 1, 0, 1):
        dataset[i]
    assert len(decoded) == 4  # two images, two masks, once each
    dataset[0], dataset[2]  # 1 was used the longest ago, so it goes
    decoded.clear()
    dataset[0], dataset[2]
    assert not decoded
    dataset[1]
    assert len(decoded) == 2
    assert dataset._kept_bytes <= 2 * one
    nothing = FileDataset(pairs, 3, cache_bytes=0)
    np.testing.assert_array_equal(nothing[0][1], dataset[0][1])
    assert nothing._kept_bytes == 0


def test_kept_images_cannot_be_changed(folder):
    image, mask = open_data(f"folder:{folder}", NAMES).train[0]
    for array in (image, mask):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_threads_share_the_kept_images(folder):
    dataset = FileDataset(open_data(f"folder:{folder}", NAMES).train.pairs, 3, cache_bytes=3 * 20 * 24 * 4)
    wrong = []

    def read():
        for i in list(range(8)) * 10:
            if not np.array_equal(dataset[i][1], sample(int(dataset.pairs[i][0].stem))[1]):
                wrong.append(i)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert dataset._kept_bytes == sum(i.nbytes + m.nbytes for i, m in dataset._kept.values()) <= dataset.cache_bytes


def test_camvid(camvid):
    data = open_data(f"voc:{camvid}")
    assert (len(data.train), len(data.val), data.num_classes, data.in_channels) == (367, 101, 11, 3)
    assert data.class_names[0] == "sky"
    assert data.crop == 128
    image, mask = data.val[50]
    assert (image.shape, mask.shape) == ((180, 240, 3), (180, 240))
    assert set(np.unique(mask)) <= {*range(11), 255}
    images, masks = Loader(data.train, data.preprocess, RandomCrop(data.crop), 4).batch(0)
    assert (images.shape, masks.shape) == ((4, 3, 128, 128), (4, 128, 128))
    assert np.isfinite(images).all()
    assert abs(float(images.mean())) < 1
