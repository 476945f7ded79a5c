"""Predictions for images of any size: whole where that fits, otherwise by overlapping tiles that leave no seams."""

import contextlib
from collections.abc import Iterator
from itertools import product

import numpy as np

from minseg import backend
from minseg.autograd import no_grad, tensor
from minseg.errors import ArgumentError, NonFiniteError, ShapeError
from minseg.nn import evaluation_mode

TILE = 256
ALIGN = 32
"""Tiles start at multiples of this many pixels, so that poolings cut a tile and the whole image at the same places."""


@contextlib.contextmanager
def evaluating(model) -> Iterator[None]:
    """Inside this block the model is in evaluation mode and nothing is recorded."""
    with evaluation_mode(model), no_grad():
        yield


def predict_logits(model, image: np.ndarray, tile: int = TILE, overlap: int = 64, batch_size: int = 4) -> np.ndarray:
    """Compute a model's class scores for one image of any size.

    An image of at most ``tile * tile`` pixels goes through the model whole. A larger one is cut into overlapping tiles.
    Of each overlap the outer 3/8 is dropped and the middle quarter blended, so the result equals the whole image's if
    the model sees no farther than ``3/8 overlap`` pixels: 24 by default, just enough for a U-Net of three levels (23).
    Deeper ones see farther, but what lies far off weighs little.

    Parameters
    ----------
    model : Module
        Maps (N, C, h, w) to logits (N, K, h, w); run in evaluation mode, and left in the mode that it had.
    image : array (C, H, W), float
        Preprocessed as in training.
    tile, overlap : int
        In pixels, multiples of 32, ``0 < overlap < tile``.
    batch_size : int
        Tiles that go through the model at once.

    Returns
    -------
    array (K, H, W)

    Raises
    ------
    ShapeError, ArgumentError
        If the image is not (C, H, W), or tile and overlap do not fit.
    NonFiniteError
        If a logit is NaN or infinite.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise ShapeError(f"predict_logits: expected one image (C, H, W), got {image.shape}")
    if tile % ALIGN or overlap % ALIGN or not 0 < overlap < tile:
        raise ArgumentError(
            f"predict_logits: tile and overlap must be multiples of {ALIGN}, tile the larger; got {tile} and {overlap}"
        )
    with evaluating(model):
        if image.shape[1] * image.shape[2] <= tile * tile:
            return backend.current().to_numpy(_forward(model, image[None])[0])
        return _by_tiles(model, image, tile, overlap, batch_size)


def predict_labels(model, image: np.ndarray, **options) -> np.ndarray:
    """The most probable class of each pixel, (H, W) uint8; options as for ``predict_logits``."""
    return predict_logits(model, image, **options).argmax(axis=0).astype(np.uint8)


def evaluate(model, dataset, preprocess, confusion, batch_size: int = 8):
    """Count a model's predictions on every image of a data set into ``confusion``, a ConfusionMatrix, and return it."""
    batch: list[tuple[np.ndarray, np.ndarray]] = []

    def count() -> None:
        images, masks = map(np.stack, zip(*batch, strict=True))
        labels = _forward(model, images).argmax(axis=1).astype(np.uint8)
        confusion.update(backend.current().to_numpy(labels), masks)  # a byte for each pixel, not all classes' logits
        batch.clear()

    with evaluating(model):
        for index in range(len(dataset)):
            raw, mask = dataset[index]
            image = preprocess(raw)
            small = mask.size * batch_size <= TILE * TILE  # small images of one size share a batch
            if batch and (not small or len(batch) == batch_size or batch[0][0].shape != image.shape):
                count()
            if small:
                batch.append((image, mask))
            else:
                confusion.update(predict_labels(model, image), mask)
        if batch:
            count()
    return confusion


def _forward(model, images: np.ndarray):
    """The logits, still on the backend."""
    logits = model(tensor(np.ascontiguousarray(images))).data
    if logits.shape[0] != images.shape[0] or logits.shape[2:] != images.shape[2:]:
        raise ShapeError(
            f"the model made {logits.shape} of images {images.shape}; expected (N, K, H, W) with their N, H and W"
        )
    if not backend.current().xp.isfinite(logits).all():
        raise NonFiniteError(
            "the model's output holds NaN or infinite values; look for them in its weights and in the image"
        )
    return logits


def _by_tiles(model, image: np.ndarray, tile: int, overlap: int, batch_size: int) -> np.ndarray:
    """The weighted mean of the tiles' logits; only tiles of one size share a batch (those at the end are smaller)."""
    height, width = image.shape[1:]
    by_size: dict[tuple[int, int], list[tuple[slice, slice]]] = {}
    for rows, columns in product(_spans(height, tile, overlap), _spans(width, tile, overlap)):
        by_size.setdefault((rows.stop - rows.start, columns.stop - columns.start), []).append((rows, columns))

    total, weights = None, np.zeros((height, width), image.dtype)
    for places in by_size.values():
        for start in range(0, len(places), batch_size):
            batch = places[start : start + batch_size]
            logits = _forward(model, np.stack([image[:, rows, columns] for rows, columns in batch]))
            logits = backend.current().to_numpy(logits)
            if total is None:
                total = np.zeros((logits.shape[1], height, width), logits.dtype)
            for (rows, columns), tile_logits in zip(batch, logits, strict=True):
                weight = np.outer(_ramp(rows, height, overlap), _ramp(columns, width, overlap)).astype(image.dtype)
                total[:, rows, columns] += weight * tile_logits
                weights[rows, columns] += weight
    return total / weights


def _spans(size: int, tile: int, overlap: int) -> list[slice]:
    """Tiles along one side: aligned starts, at least ``overlap`` shared, the last one cut at the image's end."""
    if size <= tile:
        return [slice(0, size)]
    last = -(-(size - tile) // ALIGN) * ALIGN  # rounded up to a multiple of ALIGN
    starts = [*range(0, last, tile - overlap), last]
    return [slice(start, min(start + tile, size)) for start in starts]


def _ramp(span: slice, size: int, overlap: int) -> np.ndarray:
    """A tile's weights along one side: 0 in the outer 3/8 of the overlap, then rising to 1 over its middle quarter."""
    margin, rise = 3 * overlap // 8, overlap // 4
    position = np.arange(span.start, span.stop) + 0.5
    up = (position - span.start - margin) / rise if span.start > 0 else np.ones(len(position))
    down = (span.stop - margin - position) / rise if span.stop < size else np.ones(len(position))
    return np.clip(np.minimum(up, down), 0, 1)
