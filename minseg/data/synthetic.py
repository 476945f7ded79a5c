"""Drawn scenes with exact masks, for lessons and tests: no download, every class in every picture, the same at every call.

Each generator takes a size and a random generator and paints regions from the back to the front, into the image and into the
mask by one and the same outline. So the labels are exact, which no hand-drawn mask is.
"""

from collections.abc import Callable

import numpy as np

from minseg.data.colour import blur
from minseg.data.dataset import ArrayDataset, SegmentationData
from minseg.errors import ArgumentError, nearest_names

LEAST = 32
"""Smaller pictures have no room for every class."""


class Canvas:
    """An image (H, W, 3) of grey levels as floats, its mask, and the coordinates of its pixels: y down, x right."""

    def __init__(self, size: tuple[int, int]):
        self.image = np.zeros((*size, 3))
        self.mask = np.zeros(size, np.uint8)
        self.y, self.x = np.mgrid[: size[0], : size[1]].astype(float)
        self.unit = min(size) / 64
        """A pixel of a 64 x 64 picture: everything grows with the picture."""

    def paint(self, inside: np.ndarray, label: int, colour) -> None:
        self.image[inside] = colour
        self.mask[inside] = label

    def ellipse(self, y: float, x: float, ry: float, rx: float, degrees: float = 0.0) -> np.ndarray:
        phi = np.radians(degrees)
        down, across = self.y - y, self.x - x
        a = down * np.cos(phi) + across * np.sin(phi)
        b = -down * np.sin(phi) + across * np.cos(phi)
        return (a / ry) ** 2 + (b / rx) ** 2 <= 1

    def box(self, top: float, left: float, bottom: float, right: float) -> np.ndarray:
        return (self.y >= top) & (self.y < bottom) & (self.x >= left) & (self.x < right)

    def polygon(self, corners: list[tuple[float, float]]) -> np.ndarray:
        """The inside of a convex polygon: right of every edge, or left of every edge."""
        sides = []
        for (y0, x0), (y1, x1) in zip(corners, [*corners[1:], corners[0]], strict=True):
            sides.append((x1 - x0) * (self.y - y0) - (y1 - y0) * (self.x - x0))
        return np.all([s >= 0 for s in sides], axis=0) | np.all([s <= 0 for s in sides], axis=0)

    def finish(self, rng: np.random.Generator, noise: float, softness: float) -> tuple[np.ndarray, np.ndarray]:
        """What a camera makes of it: soft edges, uneven light and noise. The mask stays exact."""
        soft = blur(self.image.transpose(2, 0, 1), softness * self.unit).transpose(1, 2, 0)
        h, w = self.mask.shape
        light = 1 + 0.12 * (rng.uniform(-1, 1) * (self.y / h - 0.5) + rng.uniform(-1, 1) * (self.x / w - 0.5))
        seen = soft * light[..., None] + noise * rng.standard_normal(self.image.shape)
        return np.clip(np.rint(seen), 0, 255).astype(np.uint8), self.mask


def shapes(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Discs, squares and triangles in any colour on any background: only the outline tells them apart."""
    canvas, u = Canvas(size), min(size) / 64
    background = rng.uniform(20, 235, 3)
    canvas.image[:] = background
    cells = _places(size, rng, 4)
    labels = rng.permutation([1, 2, 3, rng.integers(1, 4)])
    for (y, x), label in zip(cells, labels, strict=True):
        colour = _unlike(background, rng)
        r, turn = u * rng.uniform(8, 11.5), rng.uniform(0, 360)
        if label == 1:
            inside = canvas.ellipse(y, x, r, r)
        else:
            corners = 4 if label == 2 else 3
            angles = np.radians(turn + np.arange(corners) * 360 / corners)
            inside = canvas.polygon([(y + 1.2 * r * np.sin(a), x + 1.2 * r * np.cos(a)) for a in angles])
        canvas.paint(inside, int(label), colour)
    return canvas.finish(rng, noise=6, softness=0.5)


SKY, BUILDING, PAVEMENT, ROAD, MARK, VEHICLE, PERSON, LIGHT = range(8)


def streets(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A street as a driver sees it: sky, buildings, pavement, road with lane marks, vehicles, people and a traffic light."""
    canvas = Canvas(size)
    h, w = size
    horizon, vanishing = h * rng.uniform(0.4, 0.5), w * rng.uniform(0.4, 0.6)
    canvas.paint(canvas.y >= 0, SKY, np.array([150, 190, 230]) + rng.uniform(-25, 25))
    _buildings(canvas, rng)
    canvas.paint(canvas.y >= horizon, PAVEMENT, np.array([140, 135, 125]) + rng.uniform(-10, 10))
    _road(canvas, horizon, vanishing, rng)
    for side, depth in ((-1, rng.uniform(0.25, 0.4)), (1, rng.uniform(0.5, 0.75))):  # 0 at the horizon, 1 in front
        _vehicle(canvas, horizon + (h - horizon) * depth, vanishing + side * w * 0.3 * depth, w * 0.19 * depth, rng)
    for side in rng.permutation([-1, 1])[: rng.integers(1, 3)]:
        _person(canvas, h * rng.uniform(0.72, 0.9), w / 2 + side * w * rng.uniform(0.34, 0.45), rng)
    _traffic_light(canvas, h * rng.uniform(0.12, 0.22), w * rng.choice([0.08, 0.92]), rng)
    return canvas.finish(rng, noise=5, softness=0.4)


def _buildings(canvas: Canvas, rng: np.random.Generator) -> None:
    """A row of fronts of several heights, here and there a gap."""
    (h, w), left = canvas.mask.shape, 0.0
    while left < w:
        right = left + w * rng.uniform(0.15, 0.3)
        gap = 0 if rng.random() < 0.7 else w * 0.06
        front = rng.uniform(70, 170) * np.array([1.0, 0.85, 0.7]) + rng.uniform(-15, 15, 3)
        canvas.paint(canvas.box(h * rng.uniform(0.08, 0.3), left, h, right - gap), BUILDING, front)
        left = right


def _road(canvas: Canvas, horizon: float, vanishing: float, rng: np.random.Generator) -> None:
    """A lane that narrows towards the vanishing point, and in its middle dashes that are the shorter the farther they are."""
    (h, w), u = canvas.mask.shape, canvas.unit
    far, near = [(horizon, vanishing - 3 * u), (horizon, vanishing + 3 * u)], [(h, 1.1 * w), (h, -0.1 * w)]
    canvas.paint(canvas.polygon([*far, *near]), ROAD, rng.uniform(70, 100))
    for dash in ((1.0, 0.72), (0.55, 0.35), (0.25, 0.13)):
        ends = [(horizon + (h - horizon) * d, vanishing + (w / 2 - vanishing) * d, 2.2 * u * d) for d in dash]
        (y0, x0, half0), (y1, x1, half1) = ends
        canvas.paint(
            canvas.polygon([(y0, x0 - half0), (y0, x0 + half0), (y1, x1 + half1), (y1, x1 - half1)]), MARK, 225
        )


def _vehicle(canvas: Canvas, y: float, x: float, half: float, rng: np.random.Generator) -> None:
    body = canvas.box(y - 1.1 * half, x - half, y, x + half)
    cabin = canvas.box(y - 1.8 * half, x - 0.7 * half, y, x + 0.7 * half)
    canvas.paint(body | cabin, VEHICLE, _vivid(rng))


def _person(canvas: Canvas, foot: float, x: float, rng: np.random.Generator) -> None:
    tall = canvas.mask.shape[0] * rng.uniform(0.24, 0.32)
    canvas.paint(canvas.ellipse(foot - 0.4 * tall, x, 0.4 * tall, 0.14 * tall), PERSON, _vivid(rng) * 0.6)
    skin = np.array([205, 160, 130]) * rng.uniform(0.5, 1)
    canvas.paint(canvas.ellipse(foot - 0.88 * tall, x, 0.12 * tall, 0.1 * tall), PERSON, skin)


def _traffic_light(canvas: Canvas, top: float, x: float, rng: np.random.Generator) -> None:
    u, lamp = canvas.unit, int(rng.integers(3))
    canvas.paint(canvas.box(top, x - 0.8 * u, 0.6 * canvas.mask.shape[0], x + 0.8 * u), LIGHT, 45)
    canvas.paint(canvas.box(top, x - 2.6 * u, top + 11 * u, x + 2.6 * u), LIGHT, 30)
    shining = ([235, 50, 40], [240, 190, 50], [60, 210, 90])[lamp]
    canvas.paint(canvas.ellipse(top + (2.2 + 3.3 * lamp) * u, x, 1.6 * u, 1.6 * u), LIGHT, shining)


def cells(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Stained cells under a microscope: pale cell bodies, a dark nucleus in each, and specks that are neither."""
    canvas, u = Canvas(size), min(size) / 64
    canvas.image[:] = np.array([238, 228, 236]) + rng.uniform(-8, 8)
    for y, x in _places(size, rng, int(rng.integers(5, 9))):
        tint, r, turn = rng.uniform(-12, 12), u * rng.uniform(6, 9.5), rng.uniform(0, 180)
        squeezed = rng.uniform(0.75, 1)
        canvas.paint(canvas.ellipse(y, x, r, r * squeezed, turn), 1, np.array([212, 160, 200]) + tint)
        y, x = y + r * rng.uniform(-0.2, 0.2), x + r * rng.uniform(-0.2, 0.2)
        canvas.paint(canvas.ellipse(y, x, 0.45 * r, 0.45 * r * squeezed, turn), 2, np.array([105, 60, 150]) + tint)
    for _ in range(rng.integers(3, 7)):  # debris, as dark as a nucleus; but background
        y, x = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        speck = canvas.ellipse(y, x, 1.1 * u, 1.1 * u) & (canvas.mask == 0)
        canvas.paint(speck, 0, [110, 70, 150])
    return canvas.finish(rng, noise=7, softness=0.7)


def faces(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """One drawn face in front of a patterned background: skin, hair, eyes and a mouth."""
    canvas = Canvas(size)
    (h, w), u = size, canvas.unit
    waves = np.sin(canvas.x * rng.uniform(0.1, 0.4) / u + canvas.y * rng.uniform(-0.4, 0.4) / u)
    canvas.image[:] = rng.uniform(60, 190, 3) + 25 * waves[..., None]
    y, x = h * rng.uniform(0.48, 0.56), w * rng.uniform(0.42, 0.58)
    ry, rx, tilt = u * rng.uniform(20, 24), u * rng.uniform(15, 18), rng.uniform(-12, 12)
    skin = np.array([225, 175, 145]) * rng.uniform(0.45, 1)
    hair = np.array([150, 100, 60]) * rng.uniform(0.15, 1.2)

    def at(down: float, across: float) -> tuple[float, float]:
        """A place on the face, in its own tilted axes and in units of its half axes."""
        phi = np.radians(tilt)
        a, b = down * ry, across * rx
        return y + a * np.cos(phi) - b * np.sin(phi), x + a * np.sin(phi) + b * np.cos(phi)

    canvas.paint(canvas.ellipse(*at(-0.28, 0), 0.9 * ry, 1.2 * rx, tilt), 2, hair)
    canvas.paint(canvas.ellipse(*at(0.08, 0), 0.95 * ry, rx, tilt), 1, skin)
    canvas.paint(canvas.ellipse(*at(-0.82, 0), 0.28 * ry, 0.85 * rx, tilt), 2, hair)  # the fringe
    for side in (-1, 1):
        eye = at(-0.12, 0.4 * side)
        canvas.paint(canvas.ellipse(*eye, 0.11 * ry, 0.22 * rx, tilt), 3, 240)
        canvas.paint(canvas.ellipse(*eye, 0.09 * ry, 0.1 * rx, tilt), 3, 40)
    canvas.paint(canvas.ellipse(*at(0.25, 0), 0.14 * ry, 0.09 * rx, tilt), 1, skin * 0.88)  # the nose, skin too
    canvas.paint(canvas.ellipse(*at(0.58, 0), rng.uniform(0.07, 0.13) * ry, 0.4 * rx, tilt), 4, [175, 60, 70])
    return canvas.finish(rng, noise=5, softness=0.4)


Generator = Callable[[np.random.Generator, tuple[int, int]], tuple[np.ndarray, np.ndarray]]
SCENES: dict[str, tuple[Generator, tuple[str, ...]]] = {
    "shapes": (shapes, ("background", "disc", "square", "triangle")),
    "streets": (streets, ("sky", "building", "pavement", "road", "lane mark", "vehicle", "person", "traffic light")),
    "cells": (cells, ("background", "cell body", "nucleus")),
    "faces": (faces, ("background", "skin", "hair", "eyes", "mouth")),
}


def draw_scene(name: str, index: int, size: int | tuple[int, int] = 64) -> tuple[np.ndarray, np.ndarray]:
    """Scene number ``index`` of a kind: an image (H, W, 3) and its mask (H, W), uint8, the same at every call.

    >>> image, mask = draw_scene("shapes", 0)
    >>> image.shape, np.unique(mask).tolist()
    ((64, 64, 3), [0, 1, 2, 3])
    """
    if name not in SCENES:
        raise ArgumentError(f"unknown scenes {name!r}; {nearest_names(name, SCENES)}")
    if index < 0:
        raise ArgumentError(f"draw_scene: index must be at least 0, got {index}")
    size = (size, size) if np.ndim(size) == 0 else tuple(size)
    if len(size) != 2 or min(size) < LEAST:
        raise ArgumentError(f"draw_scene: size must be at least {LEAST} pixels a side, got {size}")
    generate, classes = SCENES[name]
    for attempt in range(100):  # rarely something hides all that there is of a class
        image, mask = generate(np.random.default_rng([index, attempt, len(classes)]), size)
        if len(np.unique(mask)) == len(classes):
            break
    return image, mask


class Scenes(SegmentationData):
    """Drawn scenes as a data set; see ``open_data``."""

    def __init__(self, name: str, size: int | tuple[int, int] = 64, train: int = 64, val: int = 16):
        drawn = [draw_scene(name, index, size) for index in range(train + val)]
        names = [f"{name}, scene {index}" for index in range(train + val)]
        images, masks = [image for image, _ in drawn], [mask for _, mask in drawn]
        super().__init__(
            name,
            ArrayDataset(images[:train], masks[:train], names[:train]),
            ArrayDataset(images[train:], masks[train:], names[train:]),
            SCENES[name][1],
        )


def _places(size: tuple[int, int], rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
    """Places that keep apart: each is the one of some random ones that is farthest from those chosen before."""
    h, w = size
    chosen: list[tuple[float, float]] = []
    for _ in range(count):
        tried = np.stack([rng.uniform(0.17 * h, 0.83 * h, 40), rng.uniform(0.17 * w, 0.83 * w, 40)], axis=1)
        gaps = [min([np.hypot(y - v, x - u) for v, u in chosen], default=0.0) for y, x in tried]
        chosen.append(tuple(tried[int(np.argmax(gaps))].tolist()))
    return chosen


def _unlike(colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A colour that stands out from this one."""
    tried = rng.uniform(10, 245, (8, 3))
    return tried[np.abs(tried - colour).sum(axis=1).argmax()]


def _vivid(rng: np.random.Generator) -> np.ndarray:
    """A colour with one strong and one weak channel."""
    return rng.permutation([rng.uniform(170, 235), rng.uniform(60, 150), rng.uniform(20, 60)])
