"""Images and masks: embedded data sets, folders of one's own, augmentation, and batches for training."""

from minseg.data.dataset import ArrayDataset, Baseline, Dataset, FileDataset, SegmentationData
from minseg.data.images import IGNORE, read_image, read_mask
from minseg.data.loader import Loader
from minseg.data.preprocess import Preprocess
from minseg.data.sources import KNOWN, open_data
from minseg.data.transforms import Compose, RandomCrop, RandomFlip, RandomQuarterTurn

__all__ = [
    "IGNORE",
    "KNOWN",
    "ArrayDataset",
    "Baseline",
    "Compose",
    "Dataset",
    "FileDataset",
    "Loader",
    "Preprocess",
    "RandomCrop",
    "RandomFlip",
    "RandomQuarterTurn",
    "SegmentationData",
    "open_data",
    "read_image",
    "read_mask",
]
