"""Pictures: the colours mean what they should, files are the same every time, and no text overlaps or leaves the figure."""

import itertools
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from minseg import viz
from minseg.errors import FileError, ShapeError
from minseg.robustness import Curve
from minseg.testing.faults import full_disk

NAMES = ("background", "nuclei")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def a_row(rng, height=20, width=30, channels=3, classes=2):
    image = rng.integers(0, 256, (height, width, channels), np.uint8)
    truth = rng.integers(0, classes, (height, width)).astype(np.uint8)
    truth[:2] = 255
    return viz.Row(image, truth, rng.integers(0, classes, (height, width)).astype(np.uint8))


def a_history(names, steps=40):
    entry = {"mean_iou": 0.5, "iou": dict.fromkeys(names, 0.5)}
    return {"loss": [1 / (i + 1) for i in range(steps)], "validation": [{"step": s, **entry} for s in (20, 40)]}


def test_class_colours_are_fixed_and_distinct():
    many = [f"class {i}" for i in range(20)]
    colours = {tuple(colour) for colour in viz.class_colours(many)}
    assert len(colours) == 20
    np.testing.assert_array_equal(viz.class_colours(many)[:5], viz.class_colours(many[:5]))
    earth = viz.class_colours(("water", "trees", "open vegetation", "arid"))
    assert len(np.unique(earth, axis=0)) == 4
    assert len(viz.class_colours([str(i) for i in range(200)])) == 200


@pytest.mark.parametrize(
    "names", [("a", "b", "c", "d", "e", "f", "g", "h"), ("water", "trees", "open vegetation", "arid")]
)
def test_colours_differ_for_those_who_see_no_red_or_no_green(names):
    # Viénot, Brettel and Mollon (1999): linear RGB as a protanope and as a deuteranope sees it.
    protan = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    deutan = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    linear = (viz.class_colours(names) / 255.0) ** 2.2
    for seen in (protan, deutan):
        shown = np.clip(linear @ seen.T, 0, 1) ** (1 / 2.2)
        nearest = min(np.abs(a - b).max() for a, b in itertools.combinations(shown, 2))
        assert nearest > 0.1


def test_colorize_gives_classes_their_colour_and_ignored_pixels_grey():
    coloured = viz.colorize(np.array([[0, 1, 255]], np.uint8), NAMES)
    np.testing.assert_array_equal(coloured[0, :2], viz.class_colours(NAMES))
    assert len(set(coloured[0, 2])) == 1


def test_overlay_leaves_background_and_ignored_pixels_clear(rng):
    image = rng.integers(0, 256, (9, 9, 3), np.uint8)
    mask = np.zeros((9, 9), np.uint8)
    mask[3:6, 3:6] = 1
    mask[0, 0] = 255
    shown = viz.overlay(image, mask, NAMES)
    np.testing.assert_array_equal(shown[mask != 1], image[mask != 1])
    np.testing.assert_array_equal(shown[3, 3], viz.class_colours(NAMES)[1])  # the border is solid
    assert (shown[4, 4] != image[4, 4]).any()
    assert (shown[4, 4] != viz.class_colours(NAMES)[1]).any()  # inside, the image shines through


def test_errors_are_red_and_only_errors():
    truth = np.array([[0, 0, 1, 255]], np.uint8)
    prediction = np.array([[0, 1, 1, 1]], np.uint8)
    marked = viz.mark_errors(np.full((1, 4, 1), 9, np.uint8), truth, prediction).astype(int)
    red = marked[..., 0] - marked[..., 1] > 100
    np.testing.assert_array_equal(red, [[False, True, False, False]])
    assert marked[0, 3, 0] < marked[0, 0, 0]  # ignored: darker grey than the pale image


def test_sizes_must_agree(rng):
    row = a_row(rng)
    with pytest.raises(ShapeError, match=r"image is \(20, 30\) and the mask \(19, 30\)"):
        viz.prediction_figure([viz.Row(row.image, row.truth[1:], row.prediction)], NAMES)


def a_curve(kind, classes):
    """What robustness.sweep gives for six strengths."""
    strengths = (0, 0.25, 0.5, 1, 2, 32)
    scores = tuple((0.9 - 0.1 * i,) * classes for i in range(6))
    return Curve(kind, "standard deviation, grey levels of 255", strengths, tuple(s[0] for s in scores), scores)


def test_heat_is_lighter_where_there_is_more_and_the_image_shines_through(rng):
    values = np.zeros((6, 8))
    values[2, 3], values[4, 5] = 4.0, 1.0
    image = np.full((6, 8, 1), 60, np.uint8)
    image[0] = 200
    shown = viz.heat_overlay(image, values).astype(int).sum(axis=2)
    assert shown[2, 3] > shown[4, 5] > shown[1, 0]
    assert shown[0, 0] > shown[1, 0]
    assert viz.heat_overlay(image, np.zeros((6, 8))).shape == (6, 8, 3)
    with pytest.raises(ShapeError, match=r"image is \(6, 8\) and the mask \(8, 6\)"):
        viz.heat_overlay(image, values.T)


def test_enlarged_maps_lie_over_what_was_pooled():
    small = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(viz.enlarge(small, (4, 6)), small.repeat(2, axis=0).repeat(2, axis=1))
    padded = viz.enlarge(small, (7, 10))  # 2x3 blocks of 4: the network padded one row and two columns
    assert padded.shape == (7, 10)
    assert padded[6, 9] == 5
    left_over = viz.enlarge(small, (9, 13))  # a pooling by 4 has left one over
    assert left_over.shape == (9, 13)
    np.testing.assert_array_equal(left_over[:, 12], left_over[:, 11])


def figures(rng):
    names = ("water", "trees", "open vegetation", "arid")
    street = [f"a long class name {i}" for i in range(11)]
    yield viz.prediction_figure([a_row(rng, channels=1)] * 2, NAMES, [0.97, 0.89], "Nuclei", "A note under the picture")
    yield viz.prediction_figure([a_row(rng, 30, 20, classes=4)], names, [0.9, float("nan"), 0.5, 0.4])
    yield viz.prediction_figure([a_row(rng, 18, 24, classes=11)] * 3, street, np.linspace(0, 1, 11), "Streets")
    row = a_row(rng, 60, 60, classes=4)
    yield viz.map_figure(row.image, row.truth, row.prediction, names, [0.9, 0.8, 0.5, 0.4], "Earth", "A note")
    yield viz.curves_figure(a_history(NAMES), ("the best threshold", 0.4), "Nuclei")
    yield viz.curves_figure(a_history(street), title="Streets")
    yield viz.curves_figure({"loss": [1.0], "validation": []})
    picture = viz.heat_overlay(row.image, rng.random((60, 60)))
    panels = dict.fromkeys(("Prediction", "Saliency", "Grad-CAM", "What one pixel sees"), picture)
    yield viz.explanation_figure(panels, "What speaks for a long class name", "A note\non two lines")
    yield viz.maps_figure(rng.standard_normal((70, 5, 9)), "Feature maps of a layer: 70 of 5x9")
    yield viz.maps_figure(rng.standard_normal((1, 3, 3)))
    curves = [a_curve(kind, 11) for kind in ("noise", "blur", "contrast")]
    yield viz.robustness_figure(curves, street, [[row.image] * 6] * 3, "Streets on worse images")
    yield viz.robustness_figure([a_curve("noise", 2)], NAMES)
    crowd = [(f"network_number_{i}", 10**7 * (i + 1), 0.9 + 0.001 * i) for i in range(16)]
    yield viz.cost_figure([viz.CostPanel("nuclei: nucleus", crowd, ("best threshold", 0.9)), viz.CostPanel("b", crowd)])
    yield viz.cost_figure([viz.CostPanel("one", [("net", 10**6, 0.5), ("lost", 10**7, float("nan"))])])
    mask = rng.integers(0, 11, (20, 30)).astype(np.uint8)
    mask[0] = 255
    yield viz.gallery_figure(
        {"a heading that is far too long for its place": row.image, "b\nb": mask}, class_names=street
    )
    yield viz.gallery_figure({f"{i}": mask for i in range(9)}, class_names=names, title="Nine", note="A note\non two")
    yield viz.gallery_figure({"one": rng.random((4, 5)), "two": rng.random((8, 5))}, limits=(0, 1))
    matrices = {"narrow, with a long heading": np.ones((3, 2)), "wide": -np.arange(18.0).reshape(3, 6), "c": np.eye(2)}
    yield viz.matrices_figure(matrices, form=".1f", title="Numbers")
    yield viz.lines_figure(
        {"a name that is rather long": ([1, 2], [1, 10])}, "x", "y", "Lines", True, True, {"floor": 2.0}
    )
    weights = np.linspace(-2, 2, 21)
    bowl = weights**2 + 9 * weights[:, None] ** 2
    paths = {f"momentum 0.9: 0.0001 and more {i}": rng.uniform(-2, 2, (9, 2)) for i in range(5)}
    yield viz.descent_figure(weights, weights, bowl, paths, "one weight", "another weight", "Downhill")
    yield viz.bars_figure(names, {"IoU": [0.1, float("nan"), 1, 0.5], "Dice": [0.2, 0.3, 1, 0.6]}, "score", "Bars")
    as_high = {f"a network called {i}": 0.9 + 0.01 * rng.random(8) for i in range(3)}
    yield viz.bars_figure([f"class\n{i}" for i in range(8)], as_high, "score")
    yield viz.bars_figure(("a", "b"), {"time": [1e-3, 10.0]}, "s", form=".3g", log=True)
    yield viz.confusion_figure(rng.integers(0, 99, (4, 4)), names, "Confusion")


def drawn_texts(figure):
    """Every text that is really drawn: ticks outside the axes' limits are not."""
    from matplotlib.text import Text

    drawn, draw = [], Text.draw

    def spy(text, renderer):
        drawn.append(text)
        draw(text, renderer)

    with mock.patch.object(Text, "draw", spy):
        figure.canvas.draw()
    return [text for text in drawn if text.get_text()]


def test_no_text_overlaps_another_or_leaves_the_figure(rng):
    for figure in figures(rng):
        boxes = [(text.get_text(), text.get_window_extent()) for text in drawn_texts(figure)]
        page = figure.bbox
        for text, box in boxes:
            inside = box.x0 >= page.x0 and box.x1 <= page.x1 and box.y0 >= page.y0 and box.y1 <= page.y1
            assert inside, f"{text!r} leaves the figure"
        for (text, box), (other, other_box) in itertools.combinations(boxes, 2):
            apart = (
                min(box.x1, other_box.x1) - max(box.x0, other_box.x0),
                min(box.y1, other_box.y1) - max(box.y0, other_box.y0),
            )
            assert min(apart) < 2, f"{text!r} overlaps {other!r}"


def test_figures_need_no_pyplot_and_leave_the_style_alone(rng, tmp_path):
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 33}):
        viz.save_figure(next(figures(rng)), tmp_path / "a.png")
        assert mpl.rcParams["font.size"] == 33


def test_the_same_figure_is_the_same_file_whatever_the_users_style(tmp_path):
    import matplotlib as mpl

    viz.save_figure(viz.curves_figure(a_history(NAMES)), tmp_path / "a.png")
    with mpl.rc_context({"font.size": 33, "axes.facecolor": "red"}):
        viz.save_figure(viz.curves_figure(a_history(NAMES)), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert "Software" not in Image.open(tmp_path / "a.png").info


def test_curves_take_the_nulls_that_json_has_for_nan(tmp_path):
    history = a_history(NAMES)
    history["validation"][0] = {"step": 20, "mean_iou": None, "iou": {"background": None, "nuclei": None}}
    viz.save_figure(viz.curves_figure(history), tmp_path / "c.png")


def test_mask_files_hold_labels_and_show_colours(tmp_path):
    mask = np.array([[0, 1], [255, 1]], np.uint8)
    viz.save_mask(mask, tmp_path / "mask.png", NAMES)
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), mask)
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), viz.colorize(mask, NAMES))


def test_a_full_disk_leaves_the_former_picture(tmp_path):
    path = tmp_path / "mask.png"
    path.write_bytes(b"before")
    with full_disk(), pytest.raises(FileError, match="No space left on device"):
        viz.save_mask(np.zeros((2, 2), np.uint8), path, NAMES)
    assert [p.name for p in tmp_path.iterdir()] == ["mask.png"]
    assert path.read_bytes() == b"before"


def test_strips_are_cut_into_squares():
    strip = np.arange(128 * 30).reshape(128, 30)
    rows = viz.squares(strip[..., None], strip, strip)
    assert [row.truth.shape for row in rows] == [(32, 30)] * 4
    np.testing.assert_array_equal(np.concatenate([row.truth for row in rows]), strip)
    assert len(viz.squares(strip[:30, :, None], strip[:30], strip[:30])) == 1


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_displayable_is_rgb_even_for_a_flat_image(shape):
    shown = viz.displayable(np.full(shape, 7, np.uint8))
    assert shown.shape == (4, 5, 3)
    assert shown.dtype == np.uint8
