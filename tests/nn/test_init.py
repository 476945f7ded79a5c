"""Initial weights: the formulas, the draws, and where the generator comes from."""

import math

import numpy as np
import pytest

from minseg import nn, tensor, use_backend
from minseg.errors import ArgumentError
from minseg.nn import init

SHAPES = [(64, 50), (64, 48, 3, 1), (96, 16, 5, 3)]
DRAWS = {
    "xavier_normal": (init.xavier_normal, lambda n, m: math.sqrt(2 / (n + m))),
    "xavier_uniform": (init.xavier_uniform, lambda n, m: math.sqrt(2 / (n + m))),
    "he_normal": (init.he_normal, lambda n, m: math.sqrt(2 / n)),
    "he_uniform": (init.he_uniform, lambda n, m: math.sqrt(2 / n)),
}


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("shape", SHAPES)
def test_mean_spread_and_range_of_the_draws(name, shape):
    draw, std = DRAWS[name]
    window = math.prod(shape[2:])
    s = std(shape[1] * window, shape[0] * window)
    w = draw(shape, np.random.default_rng(0), dtype=np.float64)
    assert w.shape == shape
    # five standard errors: s / sqrt(count) of the mean, at most s / sqrt(2 count) of the spread
    assert abs(w.mean()) < 5 * s / math.sqrt(w.size)
    assert abs(w.std() / s - 1) < 5 / math.sqrt(2 * w.size)
    if name.endswith("uniform"):
        assert 0.99 * math.sqrt(3) * s < abs(w).max() <= math.sqrt(3) * s
    else:
        assert abs(w).max() > 3 * s


def test_the_generator_alone_decides():
    one = init.he_normal((3, 4), np.random.default_rng(5))
    np.random.seed(0)  # noqa: NPY002 - NumPy's global generator must not matter
    assert np.array_equal(one, init.he_normal((3, 4), np.random.default_rng(5)))
    assert not np.array_equal(one, init.he_normal((3, 4), np.random.default_rng(6)))
    assert one.dtype == np.float32


def test_fan_in_may_be_given():
    wide = init.he_normal((50, 40), np.random.default_rng(0), fan_in=8)
    assert abs(wide.std() - 0.5) < 5 * 0.5 / math.sqrt(2 * wide.size)


@pytest.mark.parametrize("shape", [(), (3,), (3, 0)])
def test_fans_need_outputs_and_inputs(shape):
    with pytest.raises(ArgumentError, match="at least two sides"):
        init.fans(shape)


def test_layers_draw_from_the_generator_one_after_the_other():
    rng = np.random.default_rng(0)
    one, two = nn.Linear(3, 3, rng=rng), nn.Linear(3, 3, rng=rng)
    assert not np.array_equal(one.weight.data, two.weight.data)
    again = nn.Linear(3, 3, rng=np.random.default_rng(0))
    assert np.array_equal(one.weight.data, again.weight.data)
    assert not np.array_equal(nn.Linear(3, 3).weight.data, nn.Linear(3, 3).weight.data)  # fresh entropy


@pytest.mark.parametrize(
    "layer",
    [
        lambda rng: nn.Conv2d(16, 32, 3, padding=1, bias=False, rng=rng),
        lambda rng: nn.Conv2d(16, 32, (1, 5), padding=(0, 2), groups=4, bias=False, rng=rng),
        lambda rng: nn.ConvTranspose2d(32, 32, 2, stride=2, bias=False, rng=rng),
        lambda rng: nn.ConvTranspose2d(16, 32, 4, stride=2, padding=1, groups=2, bias=False, rng=rng),
    ],
)
def test_layers_keep_the_signals_size_behind_relu(layer):
    """x = relu(z), z of unit variance: the mean square of the output is 1 again, away from the padding."""
    rng = np.random.default_rng(0)
    made = layer(rng)
    x = np.maximum(rng.standard_normal((4, made.in_channels, 16, 16)), 0) * math.sqrt(2)
    y = made(tensor((x / math.sqrt(2)).astype(np.float32))).data[:, :, 3:-3, 3:-3]
    # 32 kernels, each with its own random size: the mean square over them scatters by about sqrt(2 / (32 fan-in)) < 0.1,
    # plus the means that ReLU leaves, which correlate the pixels: within a quarter
    assert 0.75 < float(np.mean(np.square(y))) < 1.25


@pytest.mark.peer
@pytest.mark.parametrize("shape", SHAPES)
def test_spread_and_bounds_equal_pytorchs(shape):
    torch = pytest.importorskip("torch")
    n, m = init.fans(shape)
    assert (n, m) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    torch.manual_seed(0)
    for name, theirs in {
        "xavier_normal": lambda w: torch.nn.init.xavier_normal_(w),
        "xavier_uniform": lambda w: torch.nn.init.xavier_uniform_(w),
        "he_normal": lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="relu"),
        "he_uniform": lambda w: torch.nn.init.kaiming_uniform_(w, nonlinearity="relu"),
    }.items():
        ours = DRAWS[name][0](shape, np.random.default_rng(0), dtype=np.float64)
        drawn = theirs(torch.empty(shape, dtype=torch.float64)).numpy()
        assert abs(ours.std() / drawn.std() - 1) < 5 / math.sqrt(ours.size)  # two draws: sqrt(2) times one's error
        if name.endswith("uniform"):
            assert abs(abs(ours).max() / abs(drawn).max() - 1) < 0.01
