"""Explanations: gradients equal differences, fields equal their formula, drawings are whole, and the model stays as it was."""

import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from minseg import explain, inference, models, nn, viz
from minseg.autograd import tensor
from minseg.data import Preprocess
from minseg.equations.literal.conv import conv_receptive_field
from minseg.errors import ArgumentError, GraphError, ShapeError
from minseg.explain import graph_svg, receptive_field, record


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def smooth_network(rng):
    """No kinks, so that differences are gradients: two convolutions with tanh between."""
    return nn.Sequential(
        nn.Conv2d(2, 3, (3, 1), padding=(1, 0), rng=rng), nn.Tanh(), nn.Conv2d(3, 4, 3, padding=1, rng=rng)
    ).to(np.float64)


def score(model, x, target, pixels):
    return float(model(tensor(x[None])).numpy()[0, target][pixels].sum())


def differences(f, x, h=1e-5):
    """The gradient of f by central differences, every element."""
    g = np.empty_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = h
        g[place] = (f(x + step) - f(x - step)) / (2 * h)
    return g


def a_pixel_set(shape):
    pixels = np.zeros(shape, bool)
    pixels[1:3, 2] = pixels[-1, 0] = True
    return pixels


# ---------------------------------------------------------------------------------------------------- saliency, Grad-CAM


def test_saliency_is_the_largest_difference_over_the_channels(rng):
    model, x, pixels = smooth_network(rng), rng.standard_normal((2, 5, 6)), a_pixel_set((5, 6))
    expected = np.abs(differences(lambda x: score(model, x, 3, pixels), x)).max(axis=0)
    np.testing.assert_allclose(explain.saliency(model, x, 3, pixels), expected, rtol=0, atol=1e-8)


def test_grad_cam_weighs_features_with_their_mean_gradient(rng):
    model, x, pixels = smooth_network(rng), rng.standard_normal((2, 5, 6)), a_pixel_set((5, 6))
    A = explain.features(model, x, "1")
    assert A.shape == (3, 5, 6)
    g = differences(lambda A: score(model[2:], A, 1, pixels), A)
    expected = np.maximum(0, (g.mean(axis=(1, 2))[:, None, None] * A).sum(axis=0))
    assert expected.max() > 0
    np.testing.assert_allclose(explain.grad_cam(model, x, 1, "1", pixels), expected, rtol=0, atol=1e-8)


def test_all_pixels_count_where_none_are_named(rng):
    model, x = smooth_network(rng), rng.standard_normal((2, 4, 3))
    everywhere = np.ones((4, 3), bool)
    np.testing.assert_array_equal(explain.saliency(model, x, 0), explain.saliency(model, x, 0, everywhere))


def test_skip_connections_reach_grad_cam(rng):
    """The first level of a U-Net is used twice; its gradient has both parts."""
    model = models.UNet(1, 2, widths=(2, 3)).to(np.float64).eval()
    x = rng.standard_normal((1, 8, 6))
    with explain.untouched(model), record(model, "encoder.0", cut=True) as seen:
        model(tensor(x[None]))[0, 1].sum().backward()
        (A,) = seen["encoder.0"]

    def rest(a):
        with explain.untouched(model), explain.instead(model.encoder[0], lambda x: tensor(a)):
            return float(model(tensor(x[None])).numpy()[0, 1].sum())

    place = (0, 1, 4, 3)
    step = np.zeros(A.shape)
    step[place] = 1e-6
    difference = (rest(A.numpy() + step) - rest(A.numpy() - step)) / 2e-6
    assert A.grad[place] == pytest.approx(difference, rel=1e-6, abs=1e-9)
    assert explain.grad_cam(model, x, 1, "encoder.0").shape == (8, 6)


def test_nothing_is_left_behind(rng):
    model = models.UNet(1, 2, widths=(2, 3))
    frozen = list(model.modules())[3]
    model.train()
    frozen.eval()
    for p in model.parameters():
        p.grad = np.full(p.shape, 7, np.float32)
    model.head.bias.requires_grad = False
    before = [(module.training, set(vars(module))) for module in model.modules()]
    state = {name: array.copy() for name, array in model.state_dict().items()}
    x = rng.standard_normal((1, 9, 7)).astype(np.float32)
    explain.saliency(model, x, 1)
    explain.grad_cam(model, x, 0, "encoder.1")
    explain.features(model, x, "encoder.0.2")
    explain.landmark_layer(model, x)
    receptive_field(model)
    assert [(module.training, set(vars(module))) for module in model.modules()] == before
    assert all((p.grad == 7).all() and p.requires_grad for p in model.parameters() if p is not model.head.bias)
    assert not model.head.bias.requires_grad
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name])


def test_recording_ends_with_the_block_also_after_an_error(rng):
    model = smooth_network(rng)
    with pytest.raises(ZeroDivisionError), record(model, "0", "1"):
        raise ZeroDivisionError
    assert "forward" not in vars(model[0])
    with record(model, "0") as outer, record(model, "0") as inner:
        model(tensor(np.zeros((1, 2, 3, 3))))
    assert [len(seen["0"]) for seen in (outer, inner)] == [1, 1]
    with record(model, "") as whole:
        y = model(tensor(np.zeros((1, 2, 3, 3))))
    assert whole[""][0] is y
    assert "forward" not in vars(model)


def test_bad_questions_are_one_clear_error(rng):
    model, x = smooth_network(rng), rng.standard_normal((2, 4, 5))
    with pytest.raises(ArgumentError, match=r"UNet has no layer 'encoder.9'; did you mean 'encoder"):
        explain.features(models.UNet(1, 2, widths=(2, 3)), np.zeros((1, 4, 4), np.float32), "encoder.9")
    with pytest.raises(ArgumentError, match="class must be 0 to 3, got 4"):
        explain.saliency(model, x, 4)
    with pytest.raises(ArgumentError, match="no pixel is chosen"):
        explain.saliency(model, x, 0, np.zeros((4, 5), bool))
    with pytest.raises(ShapeError, match=r"booleans \(4, 5\).*got bool \(5, 4\)"):
        explain.saliency(model, x, 0, np.zeros((5, 4), bool))
    with pytest.raises(ShapeError, match=r"one image \(C, H, W\), got \(1, 2, 4, 5\)"):
        explain.saliency(model, x[None], 0)
    shared = nn.Tanh()
    with pytest.raises(ArgumentError, match=r"once, but it gave \[\(1, 2, 4, 5\), \(1, 2, 4, 5\)\]"):
        explain.grad_cam(nn.Sequential(nn.Sequential(shared), shared), x, 0, "0.0")


def test_filters_are_those_of_the_first_or_the_named_convolution():
    model = models.UNet(3, 2, widths=(4, 5))
    assert explain.filters(model).shape == (4, 3, 3, 3)
    np.testing.assert_array_equal(explain.filters(model, "head"), model.head.weight.numpy())
    with pytest.raises(ArgumentError, match=r"no convolution 'up\.0'; it has encoder\.0\.0"):
        explain.filters(model, "up.0")


def test_the_landmark_layer_is_the_last_of_the_coarsest():
    x = np.zeros((1, 32, 24), np.float32)
    assert explain.landmark_layer(models.UNet(1, 2, widths=(2, 3, 4)), x) == "encoder.2"
    assert explain.landmark_layer(models.UNet(1, 2, widths=(2, 3)), x) == "encoder.1"
    assert explain.landmark_layer(models.UNet(1, 2, widths=(2,)), x) == "head"


def test_attention_of_a_pixel_is_its_row(rng):
    weights = rng.random((2, 6, 6))
    weights /= weights.sum(axis=-1, keepdims=True)
    seen = explain.attention_of(weights, (1, 2), (2, 3))
    np.testing.assert_allclose(seen, weights[:, 5].mean(axis=0).reshape(2, 3))
    assert seen.sum() == pytest.approx(1)
    np.testing.assert_array_equal(explain.attention_of(weights[0], (0, 1), (2, 3)).ravel(), weights[0, 1])
    with pytest.raises(ShapeError, match=r"N = 3 \* 3 = 9 pixels, got \(2, 6, 6\)"):
        explain.attention_of(weights, (0, 0), (3, 3))
    with pytest.raises(ArgumentError, match=r"pixel \(2, 0\) lies outside"):
        explain.attention_of(weights, (2, 0), (2, 3))


# ------------------------------------------------------------------------------------------------------- receptive field


def convolution(k, d=1, s=1):
    return nn.Conv2d(1, 1, k, stride=s, padding=d * (k - 1) // 2, dilation=d)


@pytest.mark.parametrize(
    "layers",
    [
        [("conv", 3, 1, 1)],
        [("conv", 3, 1, 1), ("conv", 5, 1, 1)],
        [("conv", 3, 1, 2), ("conv", 3, 1, 4)],
        [("conv", 3, 1, 1), ("max", 2, 2, 1), ("conv", 3, 1, 1), ("max", 2, 2, 1), ("conv", 3, 1, 2)],
        [("conv", 3, 2, 1), ("conv", 3, 2, 1), ("conv", 3, 1, 1)],
        [("avg", 3, 1, 1), ("max", 3, 1, 1)],
    ],
)
def test_measured_fields_equal_the_formula(layers):
    made = {
        "conv": lambda k, s, d: convolution(k, d, s),
        "max": lambda k, s, d: nn.MaxPool2d(k, s, padding=(k - 1) // 2),
        "avg": lambda k, s, d: nn.AvgPool2d(k, s, padding=(k - 1) // 2),
    }
    strides = int(np.prod([s for _, _, s, _ in layers]))
    model = nn.Sequential(*(made[kind](k, s, d) for kind, k, s, d in layers), nn.Upsample(scale_factor=strides))
    field = receptive_field(model, 1, size=(64, 68))
    _, k, s, d = zip(*layers)
    expected = conv_receptive_field(np.array(k), np.array(d), np.array(s))
    assert field.size == (expected, expected)
    assert not field.cut


def test_fields_are_as_wide_as_their_kernels_and_have_the_holes_of_dilation():
    wide = nn.Conv2d(1, 1, (3, 7), padding=(1, 3))
    assert receptive_field(wide, 1).size == (3, 7)
    field = receptive_field(convolution(3, d=4), 1)
    assert field.size == (9, 9)
    assert field.seen.sum() == 9
    assert field.reach == 4
    assert field.strength.sum() == pytest.approx(1)


def test_weights_that_are_zero_or_negative_do_not_hide_a_path():
    model = nn.Sequential(convolution(3), nn.ReLU(), convolution(3))
    model[0].weight.data[:] = 0
    model[2].weight.data[:] = -1
    assert receptive_field(model, 1).size == (5, 5)


def test_unet_fields_grow_with_every_level():
    fields = [receptive_field(models.UNet(1, 2, widths=(2, 3, 4, 5)[:levels])) for levels in (1, 2, 3, 4)]
    assert [field.size[0] for field in fields] == [5, 18, 44, 92]
    assert [field.strength.shape[0] for field in fields] == [64, 64, 64, 128]


def test_what_sees_everything_says_so(rng):
    class Global(nn.Module):
        def forward(self, x):
            return x + x.mean(dim=(2, 3), keepdim=True)

    field = receptive_field(Global(), 1, size=16)
    assert field.cut
    assert field.size == (16, 16)
    with pytest.raises(ArgumentError, match="does not say its in_channels"):
        receptive_field(Global())
    with pytest.raises(ShapeError, match=r"pixel \(16, 0\) lies outside of an image of \(16, 16\)"):
        receptive_field(Global(), 1, size=16, pixel=(16, 0))


@pytest.mark.parametrize("pixel", [(13, 30), (31, 2), (0, 47)])
def test_no_gradient_leaves_the_field(pixel, rng):
    model = models.UNet(1, 2, widths=(2, 3, 4))
    x = rng.standard_normal((1, 40, 48)).astype(np.float32)
    only = np.zeros((40, 48), bool)
    only[pixel] = True
    outside = explain.saliency(model, x, 1, only) > 0
    rows, columns = explain.reach_of(model, pixel)
    assert rows.start <= pixel[0] < rows.stop
    outside[max(rows.start, 0) : rows.stop, max(columns.start, 0) : columns.stop] = False
    assert not outside.any()


def worst_reach(model, period):
    """How far the pixel that sees farthest sees: over all places that the poolings tell apart (rows and columns are alike)."""
    return max(receptive_field(model, size=192, pixel=(96 + i, 96 + i), images=1).reach for i in range(period))


def exact(size, tile, overlap, reach):
    """Along one side: the pixels that every tile with a weight for them sees as the whole image does."""
    good = np.ones(size, bool)
    for span in inference._spans(size, tile, overlap):
        weight = inference._ramp(span, size, overlap)
        at = np.arange(span.start, span.stop)
        cut = ((at - reach < span.start) & (span.start > 0)) | ((at + reach >= span.stop) & (span.stop < size))
        good[at[(weight > 0) & cut]] = False
    return good


@pytest.mark.parametrize(("widths", "everywhere"), [((2, 3, 4), True), ((2, 3, 4, 5), False)])
def test_tiles_equal_the_whole_image_wherever_the_field_stays_clear_of_the_seams(widths, everywhere, rng):
    model = models.UNet(1, 2, widths=widths).to(np.float64)
    tile, overlap, size = 128, 64, (224, 163)
    image = rng.standard_normal((1, *size))
    with inference.evaluating(model):
        whole = model(tensor(image[None])).numpy()[0]
    tiled = inference.predict_logits(model, image, tile=tile, overlap=overlap)
    reach = worst_reach(model, 2 ** (len(widths) - 1))
    clear = np.outer(*(exact(n, tile, overlap, reach) for n in size))
    assert clear.all() == everywhere
    assert clear.mean() > 0.2
    error = np.abs(tiled - whole).max(axis=0) / np.abs(whole).max()
    assert error[clear].max() < 1e-12
    if not everywhere:
        assert error[~clear].max() > 1e-6, "seams show where the network sees farther than the overlap allows"


# ----------------------------------------------------------------------------------------------------------------- graph


def drawn(svg):
    """The boxes of a drawing as ((left, top, right, bottom), [lines]), and the number of its edges."""
    root = ElementTree.fromstring(svg)
    names = {"svg": "http://www.w3.org/2000/svg"}
    boxes = []
    for group in root.findall("svg:g", names):
        left, top, width, height = (float(group.find("svg:rect", names).get(k)) for k in ("x", "y", "width", "height"))
        boxes.append(
            ((left, top, left + width, top + height), [text.text for text in group.findall("svg:text", names)])
        )
    assert all(
        right < float(root.get("width")) and bottom < float(root.get("height")) for (_, _, right, bottom), _ in boxes
    )
    assert all(left > 0 and top > 0 for (left, top, _, _), _ in boxes)
    return boxes, len(root.findall("svg:path", names))


def test_a_value_that_is_used_twice_has_two_edges():
    a = tensor(np.ones(2), requires_grad=True)
    b = a + a
    boxes, edges = drawn(graph_svg((b * b).sum(), names={"a": a}))
    assert [lines for _, lines in boxes] == [
        ["a", "(2,)"],
        ["Add", "arith.add (2,)"],
        ["Mul", "arith.mul (2,)"],
        ["Sum", "arith.sum ()"],
    ]
    assert edges == 5


def test_the_graph_of_a_unet(rng):
    model = models.UNet(1, 2, widths=(2, 3, 4))
    x = tensor(rng.standard_normal((1, 1, 10, 12)).astype(np.float32), requires_grad=True)
    svg = graph_svg(model(x), model, {"the <image>": x})
    assert svg == graph_svg(model(x), model, {"the <image>": x})
    boxes, _ = drawn(svg)
    lines = [line for _, lines in boxes for line in lines]
    assert boxes[0][1][0] == "the <image>"
    assert boxes[-1][1][0] == "Index"
    for name, p in model.named_parameters():
        assert f"{name} {p.shape}" in lines
    assert sum(line.startswith("conv.corr2d") for line in lines) == 11
    for (one, _), (other, _) in itertools.combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, "boxes overlap"
    rows = {lines[0]: top for (_, top, _, _), lines in boxes}
    assert rows["the <image>"] < rows["Pad"] < rows["Index"]


def test_constants_are_drawn_and_long_graphs_need_no_deep_stack():
    x = tensor(np.ones(3), requires_grad=True)
    y = x
    for _ in range(1500):
        y = y * 1.5
    boxes, edges = drawn(graph_svg(y))
    assert sum(lines[0] == "constant" for _, lines in boxes) == 1500
    assert edges == 3000


def test_a_graph_that_is_not_there_is_an_error():
    x = tensor(np.ones(3), requires_grad=True)
    with pytest.raises(GraphError, match="no operation was recorded"):
        graph_svg(x)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(GraphError, match="was freed by backward"):
        graph_svg(y)


# -------------------------------------------------------------------------------------------------------------- pictures

NAMES = ("background", "nucleus")


def explained(size, question=None):
    model = models.UNet(1, 2, widths=(2, 3))
    image = np.random.default_rng(0).integers(0, 256, (*size, 1), np.uint8)
    return explain.explain_image(model, image, Preprocess((0.5,), (0.3,)), NAMES, question)


@pytest.mark.parametrize("size", [(9, 7), (1, 1), (70, 530)])
def test_an_image_of_any_size_is_explained(size, tmp_path):
    pixel = (size[0] - 1, size[1] - 1)
    for name, figure in explained(size, explain.Question(1, pixel)).items():
        viz.save_figure(figure, tmp_path / f"{name}.png")


def test_what_is_not_asked_is_chosen():
    figure = explained((32, 24))["explained"]
    texts = " ".join(text.get_text() for text in figure.texts)
    assert re.search(r"What speaks for (nucleus|background) .*predicted as it; Grad-CAM at encoder\.1\.", texts)


def test_questions_that_have_no_answer():
    with pytest.raises(ArgumentError, match=r"pixel \(40, 0\) lies outside of the image, 40 high, 56 wide"):
        explained((40, 56), explain.Question(pixel=(40, 0)))

    class Background(nn.Module):
        def forward(self, x):
            return tensor(np.concatenate([np.ones_like(x.data), np.zeros_like(x.data)], axis=1))

    image = np.zeros((8, 8, 1), np.uint8)
    with pytest.raises(ArgumentError, match="no pixel of the image is predicted as nucleus"):
        explain.explain_image(Background(), image, Preprocess((0.5,), (0.3,)), NAMES, explain.Question(1))
