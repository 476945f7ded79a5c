"""Saliency, Grad-CAM and receptive field of one image, side by side."""

from dataclasses import dataclass

import numpy as np

from minseg import viz
from minseg.errors import ArgumentError
from minseg.explain.attribution import features, grad_cam, landmark_layer, saliency
from minseg.explain.field import reach_of
from minseg.inference import predict_labels
from minseg.nn import Module

LARGEST = 512
"""Of a larger image a window of this side is explained: gradients need the whole graph in memory."""
DECADES = 4
"""How small a gradient still shows in the picture of what one pixel sees: 10^-4 of the largest."""


@dataclass(frozen=True)
class Question:
    """What is to be explained; what is None is chosen by the image.

    target: index of the class; by default the most frequent prediction that is not the first class (usually background).
    pixel: (row, column); without it the score is that of all pixels predicted as the class.
    layer: name of the layer for Grad-CAM; by default ``landmark_layer``'s.
    """

    target: int | None = None
    pixel: tuple[int, int] | None = None
    layer: str | None = None


def explain_image(model: Module, image: np.ndarray, preprocess, class_names, question: Question | None = None) -> dict:
    """Draw where a model looks in one raw image (H, W, C).

    Returns
    -------
    dict of figures, for ``viz.save_figure``
        ``explained``: prediction, saliency, Grad-CAM, and what one pixel sees; ``features``: the layer's feature maps.

    Raises
    ------
    ArgumentError
        If the pixel lies outside, the layer does not exist, or no pixel is predicted as the class.
    """
    question = question or Question()
    height, width = image.shape[:2]
    if question.pixel is not None and not (0 <= question.pixel[0] < height and 0 <= question.pixel[1] < width):
        raise ArgumentError(f"the pixel {question.pixel} lies outside of the image, {height} high, {width} wide")
    image, corner = _window(image, question.pixel)
    x = preprocess(image)
    labels = predict_labels(model, x)
    target = _target(labels, len(class_names)) if question.target is None else question.target
    chosen = labels == target
    pixel = None if question.pixel is None else (question.pixel[0] - corner[0], question.pixel[1] - corner[1])
    if pixel is not None:
        chosen = np.zeros(labels.shape, bool)
        chosen[pixel] = True
    elif not chosen.any():
        raise ArgumentError(
            f"no pixel of the image is predicted as {class_names[target]}; name a pixel or another class"
        )
    pixel = pixel or _innermost(chosen)
    layer = question.layer or landmark_layer(model, x)
    cam = viz.enlarge(grad_cam(model, x, target, layer, chosen), labels.shape)
    prediction = viz.overlay(image, labels, class_names)
    panels = {
        "Prediction": _cross(prediction, pixel),
        "Saliency": viz.heat_overlay(image, saliency(model, x, target, chosen)),
        "Grad-CAM": viz.heat_overlay(image, cam),
        "What one pixel sees": _field(model, image, x, target, pixel),
    }
    at = (pixel[0] + corner[0], pixel[1] + corner[1])
    of = f"pixel {at}" if question.pixel is not None else f"all {int(chosen.sum())} pixels predicted as it"
    note = (
        f"Score of {of}; Grad-CAM at {layer}.\n"
        f"Right: gradient of the score of pixel {at} over {DECADES} decades, in its receptive field (white frame)."
    )
    maps = features(model, x, layer)
    heading = f"Feature maps of {layer}: {len(maps)} of {maps.shape[1]}x{maps.shape[2]}"
    return {
        "explained": viz.explanation_figure(panels, f"What speaks for {class_names[target]}", note),
        "features": viz.maps_figure(maps, heading),
    }


def _window(image: np.ndarray, pixel: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]]:
    """The image, or a window of it around the pixel (or the middle), and the window's corner."""
    middle = pixel or (image.shape[0] // 2, image.shape[1] // 2)
    corner = tuple(
        int(np.clip(at - LARGEST // 2, 0, max(0, n - LARGEST))) for at, n in zip(middle, image.shape[:2], strict=True)
    )
    return image[corner[0] : corner[0] + LARGEST, corner[1] : corner[1] + LARGEST], corner


def _target(labels: np.ndarray, num_classes: int) -> int:
    counts = np.bincount(labels.ravel(), minlength=num_classes)
    counts[0] = 0 if counts[1:].any() else counts[0]
    return int(counts.argmax())


def _innermost(chosen: np.ndarray) -> tuple[int, int]:
    """The chosen pixel nearest to the middle of the image."""
    places = np.argwhere(chosen)
    middle = (np.array(chosen.shape) - 1) / 2
    row, column = places[np.abs(places - middle).sum(axis=1).argmin()]
    return int(row), int(column)


def _cross(picture: np.ndarray, pixel: tuple[int, int]) -> np.ndarray:
    """White arms around the pixel, which stays visible itself."""
    marked = picture.copy()
    arm = max(2, max(picture.shape[:2]) // 40)
    for distance in range(2, arm + 2):
        for down, across in ((distance, 0), (-distance, 0), (0, distance), (0, -distance)):
            row, column = pixel[0] + down, pixel[1] + across
            if 0 <= row < picture.shape[0] and 0 <= column < picture.shape[1]:
                marked[row, column] = 255
    return marked


def _field(model: Module, image: np.ndarray, x: np.ndarray, target: int, pixel: tuple[int, int]) -> np.ndarray:
    """The surroundings of a pixel, enlarged: the gradient of its score on a logarithmic scale, and its receptive field's border."""
    only = np.zeros(image.shape[:2], bool)
    only[pixel] = True
    gradient = saliency(model, x, target, only)
    share = gradient / max(float(gradient.max()), np.finfo(np.float32).tiny)
    strength = np.clip(1 + np.log10(np.maximum(share, 10.0**-DECADES)) / DECADES, 0, 1)
    box = reach_of(model, pixel)
    rows, columns = _around(box, image.shape[:2])
    picture = viz.heat_overlay(image[rows, columns], strength[rows, columns])
    factor = max(1, -(-400 // picture.shape[1]))
    picture = np.kron(picture, np.ones((factor, factor, 1), np.uint8))
    (top, bottom), (left, right) = (
        ((span.start - cut.start) * factor, (span.stop - cut.start) * factor)
        for span, cut in zip(box, (rows, columns), strict=True)
    )
    return _frame(picture, top, bottom, left, right)


def _around(box: tuple[slice, slice], size: tuple[int, int]) -> tuple[slice, slice]:
    """A window of the image's proportions that holds the box and some more, as far as there is image."""
    zoom = max(1.3 * (span.stop - span.start) / n for span, n in zip(box, size, strict=True))
    window = []
    for span, n in zip(box, size, strict=True):
        side = min(n, round(zoom * n))
        start = int(np.clip((span.start + span.stop - side) // 2, 0, n - side))
        window.append(slice(start, start + side))
    return tuple(window)


def _frame(picture: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """A white line, two pixels wide, along those sides of the box that lie in the picture."""
    height, width = picture.shape[:2]
    rows, columns = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
    for row in (top, bottom - 2):
        if 0 <= row < height - 1:
            picture[row : row + 2, columns] = 255
    for column in (left, right - 2):
        if 0 <= column < width - 1:
            picture[rows, column : column + 2] = 255
    return picture
