"""The embedded micrograph of cell nuclei: one 512 x 512 picture, its left three quarters for training, the rest held out."""

import numpy as np
from PIL import Image, ImageFilter

from minseg.data.dataset import ArrayDataset, Baseline, SegmentationData
from minseg.data.resources import embedded
from minseg.metrics import ConfusionMatrix

TRAIN_COLUMNS = 384
CLASSES = ("background", "nucleus")
BLURS = (0.0, 0.5, 1.0, 2.0)  # standard deviations in pixels that the baseline may choose from


class Nuclei(SegmentationData):
    """See ``open_data``. Every training sample is a random crop of the one training image."""

    def __init__(self):
        self.image = embedded("nuclei_image.png")
        self.mask = (embedded("nuclei_instances.png") > 0).astype(np.uint8)
        held_out = 512 - TRAIN_COLUMNS
        super().__init__(
            "nuclei",
            ArrayDataset(
                [self.image[:, :TRAIN_COLUMNS, None]], [self.mask[:, :TRAIN_COLUMNS]], ["nuclei, training columns"]
            ),
            ArrayDataset([self.image[:, -held_out:, None]], [self.mask[:, -held_out:]], ["nuclei, held-out columns"]),
            CLASSES,
            crop=64,
            log_gain=20.0,
        )

    def baseline(self) -> Baseline:
        """The best single threshold, on the image as it is or slightly blurred.

        It is an oracle: chosen with the held-out masks in hand, so that no threshold can do better. The note says what it
        reaches when it is chosen fairly, on the training columns.
        """
        smoothed = {blur: _blurred(self.image, blur) for blur in BLURS}
        train, held_out = np.s_[:, :TRAIN_COLUMNS], np.s_[:, TRAIN_COLUMNS:]
        blur, threshold = _best_threshold(smoothed, self.mask, held_out)
        fair_blur, fair_threshold = _best_threshold(smoothed, self.mask, train)
        fair = _score(smoothed[fair_blur][held_out] > fair_threshold, self.mask[held_out])
        return Baseline(
            "best threshold",
            _score(smoothed[blur][held_out] > threshold, self.mask[held_out]),
            f"grey value > {threshold} after a Gaussian blur of {blur:g} pixels, chosen on the held-out columns themselves; "
            f"chosen on the training columns (> {fair_threshold}, blur {fair_blur:g}) it reaches IoU {fair.iou()[1]:.3f}",
        )


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma))) if sigma else image


def _best_threshold(smoothed: dict[float, np.ndarray], mask: np.ndarray, part) -> tuple[float, int]:
    """The blur and the threshold whose foreground IoU is the highest on this part of the image."""
    best = {}
    for blur, image in smoothed.items():
        above = {}  # pixels of each class that are brighter than each threshold 0..255
        for label in (0, 1):
            histogram = np.bincount(image[part][mask[part] == label], minlength=256)
            above[label] = histogram.sum() - histogram.cumsum()
        nuclei = (mask[part] == 1).sum()
        iou = above[1] / (nuclei + above[0])  # eq: metric.iou, as T + M = nuclei
        best[blur, int(iou.argmax())] = iou.max()
    return max(best, key=best.get)


def _score(prediction: np.ndarray, mask: np.ndarray) -> ConfusionMatrix:
    confusion = ConfusionMatrix(2)
    confusion.update(prediction.astype(np.uint8), mask)
    return confusion
