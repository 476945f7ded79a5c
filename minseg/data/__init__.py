"""Images and masks: embedded data sets, folders of one's own, augmentation, and batches for training."""

from minseg.data.balance import CLASS_WEIGHTS, class_frequencies, class_weights
from minseg.data.colour import RandomBlur, RandomBrightnessContrast, RandomNoise
from minseg.data.dataset import ArrayDataset, Baseline, Dataset, FileDataset, SegmentationData
from minseg.data.geometry import ElasticDeformation, RandomRotation, RandomScale, Resize
from minseg.data.images import IGNORE, read_image, read_mask
from minseg.data.instances import boxes, convert_instances, read_instances, semantic_mask
from minseg.data.loader import Loader
from minseg.data.preprocess import Preprocess
from minseg.data.semi import Scribbled, pseudo_label, scribble
from minseg.data.sources import KNOWN, open_data
from minseg.data.splits import Subset, class_counts, k_fold
from minseg.data.synthetic import SCENES, draw_scene
from minseg.data.transforms import Compose, RandomCrop, RandomFlip, RandomQuarterTurn
from minseg.data.voc import VOC_CLASSES, labels_of_colours, read_colour_mask, voc_palette, write_palette_mask

__all__ = [
    "CLASS_WEIGHTS",
    "IGNORE",
    "KNOWN",
    "SCENES",
    "VOC_CLASSES",
    "ArrayDataset",
    "Baseline",
    "Compose",
    "Dataset",
    "ElasticDeformation",
    "FileDataset",
    "Loader",
    "Preprocess",
    "RandomBlur",
    "RandomBrightnessContrast",
    "RandomCrop",
    "RandomFlip",
    "RandomNoise",
    "RandomQuarterTurn",
    "RandomRotation",
    "RandomScale",
    "Resize",
    "Scribbled",
    "SegmentationData",
    "Subset",
    "boxes",
    "class_counts",
    "class_frequencies",
    "class_weights",
    "convert_instances",
    "draw_scene",
    "k_fold",
    "labels_of_colours",
    "open_data",
    "pseudo_label",
    "read_colour_mask",
    "read_image",
    "read_instances",
    "read_mask",
    "scribble",
    "semantic_mask",
    "voc_palette",
    "write_palette_mask",
]
