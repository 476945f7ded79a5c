"""Optimisers: the equations by hand, what a step leaves alone, exact resumption, and PyTorch's trajectories."""

import itertools
import math

import numpy as np
import pytest

from minseg import models, optim, tensor, use_backend
from minseg.autograd import Parameter
from minseg.errors import ArgumentError, DtypeError
from minseg.weights import load_weights, save_weights


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


MAKERS = {
    "sgd": lambda params: optim.SGD(params, lr=0.1),
    "momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    "nesterov": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda params: optim.Adam(params, lr=0.1, weight_decay=0.01),
}


def parameters(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [Parameter(rng.standard_normal(shape).astype(dtype)) for shape in [(3, 2), (4,), (1, 1, 2, 2)]]


def give_gradients(params, step, skip=()):
    """Gradients of very different sizes, the same for the same step; none where skipped."""
    rng = np.random.default_rng((7, step))
    for position, p in enumerate(params):
        g = (rng.standard_normal(p.shape) * 10.0 ** (position - 2)).astype(p.dtype)
        p.grad = None if position in skip else g


# ------------------------------------------------------------------------------------------------------------- by hand


def one_weight(make, gradients):
    """The weight's path from 1."""
    p = Parameter(np.array([1.0]))
    optimizer = make([p])
    path = []
    for g in gradients:
        p.grad = np.array([g])
        optimizer.step()
        path.append(p.data[0])
    return path


def test_sgd_by_hand():
    assert one_weight(lambda p: optim.SGD(p, lr=0.5), [1.0, -0.5]) == [0.5, 0.75]
    # v = 1, then 0.5 * 1 + 1 = 1.5
    assert one_weight(lambda p: optim.SGD(p, lr=0.5, momentum=0.5), [1.0, 1.0]) == [0.5, -0.25]
    # the first v is g itself, then 0.5 * 1 + (1 - 0.75) * 1 = 0.75
    assert one_weight(lambda p: optim.SGD(p, 0.5, 0.5, 0.75), [1.0, 1.0]) == [0.5, 0.125]
    # moves by g + 0.5 v: 1.5, then 1 + 0.5 * 1.5 = 1.75
    assert one_weight(lambda p: optim.SGD(p, lr=0.5, momentum=0.5, nesterov=True), [1.0, 1.0]) == [0.25, -0.625]
    # g + 0.5 * 1 = 0.5
    assert one_weight(lambda p: optim.SGD(p, lr=0.5, weight_decay=0.5), [0.0]) == [0.75]
    # dampening without momentum does nothing, as in PyTorch
    assert one_weight(lambda p: optim.SGD(p, lr=0.5, dampening=0.75), [1.0]) == [0.5]


def test_momentum_keeps_the_rate_outside_the_velocity():
    """C-05 and C-06 part company when the rate changes: v = 1, then 1.5, each times the rate of its own step."""
    p = Parameter(np.array([0.0]))
    optimizer = optim.SGD([p], lr=1.0, momentum=0.5)
    for optimizer.lr in (1.0, 0.5):
        p.grad = np.array([1.0])
        optimizer.step()
    assert p.data.tolist() == [-1.75]  # with the rate inside: -1 - (0.5 + 0.5) = -2


def test_adam_by_hand():
    b1, b2, eps, lr = 0.9, 0.999, 1e-8, 0.1
    m = v = 0.0
    theta = 1.0
    expected = []
    for t, g in enumerate([0.5, -2.0, 0.01], 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        theta -= lr * (m / (1 - b1**t)) / (math.sqrt(v / (1 - b2**t)) + eps)
        expected.append(theta)
    assert np.allclose(one_weight(lambda p: optim.Adam(p, lr=lr), [0.5, -2.0, 0.01]), expected, rtol=1e-14)
    assert abs(expected[0] - 0.9) < 1e-8  # the first step is as long as the rate, whatever the gradient


# --------------------------------------------------------------------------------------------------------------- steps


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_makes_new_arrays_and_changes_none(name, dtype):
    params = parameters(dtype=dtype)
    optimizer = MAKERS[name](params)
    for step in range(3):
        give_gradients(params, step)
        arrays = [p.data for p in params] + [p.grad for p in params] + list(optimizer.state_dict().values())
        copies = [array.copy() for array in arrays]
        optimizer.step()
        assert all(np.array_equal(array, copy) for array, copy in zip(arrays, copies))
        assert all(p.data is not array for p, array in zip(params, arrays))
        assert all(p.data.dtype == dtype for p in params)


@pytest.mark.parametrize("name", MAKERS)
def test_parameters_without_a_gradient_stay_as_they_are(name):
    params = parameters()
    optimizer = MAKERS[name](params)
    before = params[1].data
    for step in range(3):
        give_gradients(params, step, skip=[1])
        optimizer.step()
    assert params[1].data is before
    assert not any(key.startswith("1.") for key in optimizer.state_dict())
    assert int(optimizer.state_dict()["0.step"]) == 3


def test_zero_grad_forgets_the_gradients():
    params = parameters()
    give_gradients(params, 0)
    MAKERS["adam"](params).zero_grad()
    assert all(p.grad is None for p in params)


def test_a_generator_of_parameters_is_fine_and_mixed_dtypes_are_not():
    model = models.UNet(1, 2, widths=(2, 3))
    optimizer = optim.Adam(model.parameters())
    assert len(optimizer.params) == len(list(model.parameters()))
    model(tensor(np.ones((1, 1, 4, 4), np.float32) * np.arange(4, dtype=np.float32))).sum().backward()
    optimizer.step()
    model.to(dtype=np.float64)
    with pytest.raises(DtypeError, match="mixed dtypes"):
        optimizer.step()


# --------------------------------------------------------------------------------------------------------------- state


@pytest.mark.parametrize("name", MAKERS)
def test_a_state_goes_through_a_file_and_training_goes_on_bit_for_bit(name, tmp_path):
    whole = parameters(dtype=np.float32)
    optimizer = MAKERS[name](whole)
    for step in range(6):
        if step == 3:
            save_weights(optimizer.state_dict(), tmp_path / "state.safetensors")
            parts = [Parameter(p.data) for p in whole]
        give_gradients(whole, step, skip=[2] if step < 4 else [])  # one parameter starts late: its own count of steps
        optimizer.step()
    resumed = MAKERS[name](parts)
    resumed.load_state_dict(load_weights(tmp_path / "state.safetensors"))
    for step in range(3, 6):
        give_gradients(parts, step, skip=[2] if step < 4 else [])
        resumed.step()
    assert all(p.data.tobytes() == q.data.tobytes() for p, q in zip(whole, parts))
    one, other = optimizer.state_dict(), resumed.state_dict()
    assert set(one) == set(other)
    assert all(one[key].tobytes() == other[key].tobytes() for key in one)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"9.m": np.zeros(1)}, "the state has '9.m', but expected are 0 to 2 with step, m, v"),
        ({"0.velocity": np.zeros((3, 2))}, "the state has '0.velocity'"),
        ({"m": np.zeros((3, 2))}, "the state has 'm'"),
        ({"0.m": np.zeros((2, 3))}, r"0.m must be \(3, 2\) float64, got \(2, 3\) float64"),
        ({"0.m": np.zeros((3, 2), np.float32)}, r"0.m must be \(3, 2\) float64, got \(3, 2\) float32"),
        ({"0.step": np.zeros(())}, r"0.step must be \(\) int64, got \(\) float64"),
        ({"0.m": None}, "parameter 0 needs step, m, v, but the state has step, v"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    params = parameters()
    optimizer = MAKERS["adam"](params)
    give_gradients(params, 0)
    optimizer.step()
    before = optimizer.state_dict()
    state = {key: value for key, value in (before | change).items() if value is not None}
    with pytest.raises(ArgumentError, match=message):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_a_state_of_another_optimiser_is_refused():
    params = parameters()
    sgd = MAKERS["momentum"](params)
    give_gradients(params, 0)
    sgd.step()
    with pytest.raises(ArgumentError, match="belongs to another optimiser or model"):
        MAKERS["adam"](params).load_state_dict(sgd.state_dict())


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.SGD(p, lr=-1), "SGD: lr must be at least 0 and finite, got -1"),
        (lambda p: optim.SGD(p, lr=float("nan")), "lr must be at least 0 and finite, got nan"),
        (lambda p: optim.SGD(p, lr="fast"), "lr must be at least 0 and finite, got 'fast'"),
        (lambda p: optim.SGD(p, lr=1, momentum=-0.1), "momentum must be at least 0"),
        (lambda p: optim.SGD(p, lr=1, weight_decay=-1), "weight_decay must be at least 0"),
        (lambda p: optim.SGD(p, lr=1, nesterov=True), "nesterov needs momentum above 0 and no dampening"),
        (lambda p: optim.SGD(p, 1, 0.9, 0.1, nesterov=True), "nesterov needs momentum above 0 and no dampening"),
        (lambda p: optim.Adam(p, lr=math.inf), "Adam: lr must be at least 0 and finite, got inf"),
        (lambda p: optim.Adam(p, betas=(0.9, 1.0)), "betas must be at least 0 and below 1, got 1.0"),
        (lambda p: optim.Adam(p, betas=0.9), "betas must be two numbers, got 0.9"),
        (lambda p: optim.Adam(p, eps=-1e-8), "eps must be at least 0"),
        (lambda p: optim.Adam([]), "no parameters to train"),
        (lambda p: optim.Adam([p[0].data]), "number 0 is ndarray"),
        (lambda p: optim.Adam([p[0], p[0].detach()]), r"number 1 is a Tensor \(3, 2\)"),
        (lambda p: optim.Adam([p[0] * 2]), "leaf tensors"),
        (lambda p: optim.Adam([*p, p[1]]), "appears twice"),
    ],
)
def test_bad_arguments_are_one_clear_error(make, message):
    with pytest.raises(ArgumentError, match=message):
        make(parameters())


def test_the_rate_is_checked_when_it_is_set():
    optimizer = MAKERS["adam"](parameters())
    with pytest.raises(ArgumentError, match="lr must be at least 0 and finite, got nan"):
        optimizer.lr = float("nan")
    assert optimizer.lr == 0.1


# ---------------------------------------------------------------------------------------------------------------- peer

SGD_OPTIONS = [
    {"momentum": momentum, "dampening": dampening, "weight_decay": decay, "nesterov": nesterov}
    for momentum, dampening, decay, nesterov in itertools.product((0, 0.9), (0, 0.4), (0, 0.05), (False, True))
    if not nesterov or (momentum and not dampening)
]
ADAM_OPTIONS = [{}, {"betas": (0.5, 0.9), "eps": 1e-3}, {"weight_decay": 0.1}, {"betas": (0.0, 0.0), "eps": 1e-2}]


@pytest.mark.peer
@pytest.mark.parametrize(
    ("name", "options"), [*(("SGD", o) for o in SGD_OPTIONS), *(("Adam", o) for o in ADAM_OPTIONS)]
)
def test_50_steps_equal_pytorchs(name, options):
    """In float64, with a changing rate, and one parameter that has a gradient in every third step only."""
    torch = pytest.importorskip("torch")
    ours = parameters()
    theirs = [torch.nn.Parameter(torch.from_numpy(p.data.copy())) for p in ours]
    our_optimizer = getattr(optim, name)(ours, lr=0.05, **options)
    their_optimizer = getattr(torch.optim, name)(theirs, lr=0.05, **options)
    for step in range(50):
        give_gradients(ours, step, skip=[1] if step % 3 else [])
        for p, q in zip(ours, theirs):
            q.grad = None if p.grad is None else torch.from_numpy(p.grad)
        our_optimizer.lr = their_optimizer.param_groups[0]["lr"] = 0.05 / (1 + step)
        our_optimizer.step()
        their_optimizer.step()
        for p, q in zip(ours, theirs):
            assert np.allclose(p.data, q.detach().numpy(), rtol=1e-12, atol=1e-13)
