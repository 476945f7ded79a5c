"""Optimisers: the equations by hand, what a step leaves alone, exact resumption, and PyTorch's trajectories."""

import itertools
import math

import numpy as np
import pytest

from minseg import models, optim, tensor, use_backend
from minseg.autograd import Parameter
from minseg.errors import ArgumentError, DtypeError, NonFiniteError, ShapeError
from minseg.weights import load_weights, save_weights


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


MAKERS = {
    "sgd": lambda params: optim.SGD(params, lr=0.1),
    "momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    "nesterov": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    "keras": lambda params: optim.KerasSGD(params, lr=0.1, momentum=0.9, weight_decay=0.01),
    "rmsprop": lambda params: optim.RMSprop(params, lr=0.1, weight_decay=0.01),
    "adam": lambda params: optim.Adam(params, lr=0.1, weight_decay=0.01),
    "adamw": lambda params: optim.AdamW(params, lr=0.1, weight_decay=0.01),
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


C05_C06_GRADIENTS = [1.0, 0.5, -0.2, 0.3]


@pytest.mark.parametrize(
    ("rates", "outside", "inside"),
    [((0.1, 0.1, 0.1, 0.1), -0.4714, -0.4714), ((0.1, 0.1, 0.01, 0.01), -0.2631, -0.4786)],
    ids=["constant", "changed"],
)
def test_the_two_conventions_of_momentum_part_when_the_rate_changes(rates, outside, inside):
    """C-05 (PyTorch) has the rate outside the velocity, C-06 (Keras) inside, where it keeps what it was."""
    for make, expected in ((optim.SGD, outside), (optim.KerasSGD, inside)):
        p = Parameter(np.array([0.0]))
        optimizer = make([p], lr=rates[0], momentum=0.9)
        for optimizer.lr, g in zip(rates, C05_C06_GRADIENTS):
            p.grad = np.array([g])
            optimizer.step()
        assert p.item() == pytest.approx(expected, abs=5e-5), make


def test_keras_by_hand():
    # V = -0.5 * 1, then 0.5 * -0.5 - 0.5 * 1 = -0.75
    assert one_weight(lambda p: optim.KerasSGD(p, 0.5, momentum=0.5), [1.0, 1.0]) == [0.5, -0.25]
    # moves by 0.5 V - 0.5 g: -0.75, then 0.5 * -0.75 - 0.5 = -0.875
    assert one_weight(lambda p: optim.KerasSGD(p, 0.5, momentum=0.5, nesterov=True), [1.0, 1.0]) == [0.25, -0.625]
    # g + 0.5 * 1 = 0.5
    assert one_weight(lambda p: optim.KerasSGD(p, 0.5, weight_decay=0.5), [0.0]) == [0.75]
    p = Parameter(np.array([1.0]))
    p.grad = np.array([3.0])
    optimizer = optim.KerasSGD([p], 0.25, momentum=0.5)
    optimizer.step()
    assert optimizer.state_dict()["0.v"].tolist() == [-0.75]  # V as Keras has it, downhill


def test_rmsprop_by_hand():
    # v = 0.75 * 0 + 0.25 * 4 = 1, then 0.75 * 1 + 0.25 * 1 = 1
    path = one_weight(lambda p: optim.RMSprop(p, lr=0.5, alpha=0.75, eps=0), [2.0, -1.0])
    assert path == [0.0, 0.5]
    # g + 0.5 * 1 = 0.5 in the square as well: v = 0.0625, the root 0.25
    assert one_weight(lambda p: optim.RMSprop(p, 0.25, alpha=0.75, eps=0, weight_decay=0.5), [0.0]) == [0.5]
    assert one_weight(lambda p: optim.RMSprop(p, lr=0.5, alpha=0.75), [0.0]) == [1.0]  # 0 / (0 + eps)


def test_adamw_decays_by_the_rate_alone():
    """Without a gradient nothing but the decay is left: 1 - lr * decay each step, whereas Adam moves by the rate."""
    path = one_weight(lambda p: optim.AdamW(p, lr=0.5, weight_decay=0.5), [0.0, 0.0])
    assert path == [0.75, 0.5625]
    assert one_weight(lambda p: optim.Adam(p, lr=0.5, weight_decay=0.5), [0.0]) == pytest.approx([0.5])
    without = one_weight(lambda p: optim.AdamW(p, lr=0.1, weight_decay=0), [0.5, -2.0, 0.01])
    assert without == one_weight(lambda p: optim.Adam(p, lr=0.1), [0.5, -2.0, 0.01])


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


@pytest.mark.parametrize("name", MAKERS)
def test_a_step_is_one_call_of_the_kernel(name, monkeypatch):
    """For all parameters together, on arrays that the step before has left end to end; and one more for those that started late."""
    params = parameters()
    optimizer = MAKERS[name](params)
    calls = []
    update = optimizer._update
    monkeypatch.setattr(
        optimizer, "_update", lambda p, g, *slots, step: calls.append((p, step)) or update(p, g, *slots, step=step)
    )
    for step in range(3):
        give_gradients(params, step, skip=[1] if step == 0 else [])
        optimizer.step()
    assert [(p.size, step) for p, step in calls] == [(10, 1), (10, 2), (4, 1), (10, 3), (4, 2)]
    assert calls[3][0] is not calls[1][0]
    give_gradients(params, 3)
    before = params[0].data.base
    optimizer.step()
    assert calls[5][0] is before, "nothing was copied together again"


@pytest.mark.parametrize("name", MAKERS)
def test_a_parameter_replaced_between_steps_goes_on_from_its_new_value(name):
    """load_state_dict and quantisation put other arrays in p.data: the long array of the last step is then out of date."""
    params, fresh = parameters(), parameters(seed=1)
    optimizer = MAKERS[name](params)
    give_gradients(params, 0)
    optimizer.step()
    state = optimizer.state_dict()
    params[1].data = fresh[1].data
    alone = [Parameter(p.data) for p in params]
    other = MAKERS[name](alone)
    other.load_state_dict(state)
    for mine, each in ((params, optimizer), (alone, other)):
        give_gradients(mine, 1)
        each.step()
    assert all(np.array_equal(p.data, q.data) for p, q in zip(params, alone))


def test_a_gradient_of_another_shape_is_an_error():
    params = parameters()
    give_gradients(params, 0)
    params[0].grad = params[0].grad.T
    with pytest.raises(ShapeError, match=r"Adam: the gradient of parameter 0 must be \(3, 2\), got \(2, 3\)"):
        MAKERS["adam"](params).step()


def test_gradients_of_another_dtype_are_an_error():
    params = parameters()
    give_gradients(params, 0)
    params[0].grad = params[0].grad.astype(np.float32)
    with pytest.raises(DtypeError, match="Adam: mixed dtypes float32, float64"):
        MAKERS["adam"](params).step()


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
        (lambda p: optim.AdamW(p, weight_decay=-1), "AdamW: weight_decay must be at least 0"),
        (lambda p: optim.AdamW(p, betas=(0.9,)), "AdamW: betas must be two numbers"),
        (lambda p: optim.RMSprop(p, alpha=1.0), "RMSprop: alpha must be at least 0 and below 1, got 1.0"),
        (lambda p: optim.RMSprop(p, eps=-1), "RMSprop: eps must be at least 0"),
        (lambda p: optim.KerasSGD(p, momentum=-1), "KerasSGD: momentum must be at least 0"),
        (lambda p: optim.KerasSGD(p, nesterov=True), "KerasSGD: nesterov needs momentum above 0"),
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


# ------------------------------------------------------------------------------------------------------------ clipping


def test_clipping_by_norm_scales_all_gradients_alike():
    params = parameters()
    give_gradients(params, 0, skip=[1])
    before = [None if p.grad is None else p.grad.copy() for p in params]
    arrays = [p.grad for p in params]
    norm = math.sqrt(sum((g**2).sum() for g in before if g is not None))
    assert optim.clip_grad_norm_(iter(params), 2 * norm) == pytest.approx(norm, rel=1e-15)
    assert all(p.grad is g for p, g in zip(params, arrays))  # short enough: left alone
    assert optim.clip_grad_norm_(params, norm / 4) == pytest.approx(norm, rel=1e-15)
    assert params[1].grad is None
    for p, g, array in zip(params, before, arrays):
        if g is not None:
            np.testing.assert_allclose(p.grad, g / 4, rtol=1e-15)
            assert np.array_equal(array, g), "the array itself was changed"
    assert optim.clip_grad_norm_(params, 1e9) == pytest.approx(norm / 4, rel=1e-14)


def test_clipping_by_value_limits_each_element():
    params = parameters(dtype=np.float32)
    give_gradients(params, 0, skip=[1])
    before = [p.grad for p in params]
    optim.clip_grad_value_(params, 0.25)
    assert params[1].grad is None
    for p, g in zip(params, before):
        if g is not None:
            assert p.grad.dtype == np.float32
            assert np.array_equal(p.grad, np.maximum(-0.25, np.minimum(0.25, g)))
    assert np.abs(params[2].grad).max() == 0.25
    assert 0 < np.abs(params[0].grad).max() < 0.25


def test_clipping_of_nothing_and_of_zeros():
    params = parameters()
    assert optim.clip_grad_norm_(params, 1.0) == 0
    optim.clip_grad_value_(params, 1.0)
    params[0].grad = np.zeros((3, 2))
    assert optim.clip_grad_norm_(params[0], 1.0) == 0
    assert (params[0].grad == 0).all()


@pytest.mark.parametrize("junk", [np.nan, np.inf])
def test_gradients_that_are_not_finite_are_not_scaled(junk):
    params = parameters()
    give_gradients(params, 0)
    params[1].grad[2] = junk
    before = [p.grad for p in params]
    with pytest.raises(NonFiniteError, match=r"the norm of the gradients is (nan|inf)"):
        optim.clip_grad_norm_(params, 1.0)
    assert all(p.grad is g for p, g in zip(params, before))


@pytest.mark.parametrize("limit", [0, -1, math.nan, math.inf])
def test_limits_must_be_positive(limit):
    for clip in (optim.clip_grad_norm_, optim.clip_grad_value_):
        with pytest.raises(ArgumentError, match="must be a positive number"):
            clip(parameters(), limit)


def test_float32_gradients_whose_squares_overflow_have_a_norm():
    p = Parameter(np.zeros(2, np.float32))
    p.grad = np.array([3e30, 4e30], np.float32)
    assert optim.clip_grad_norm_([p], 1.0) == pytest.approx(5e30)
    np.testing.assert_allclose(p.grad, [0.6, 0.8], rtol=1e-6)


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


RMSPROP_OPTIONS = [{}, {"alpha": 0.5, "eps": 1e-3}, {"weight_decay": 0.1}]
EVERY_OPTIMIZER = [
    *(("SGD", o) for o in SGD_OPTIONS),
    *(("RMSprop", o) for o in RMSPROP_OPTIONS),
    *(("Adam", o) for o in ADAM_OPTIONS),
    *(("AdamW", o) for o in [*ADAM_OPTIONS, {"weight_decay": 0}]),
]


@pytest.mark.peer
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize(("name", "options"), EVERY_OPTIMIZER)
def test_100_steps_in_float32_equal_pytorchs(name, options, backend):
    """Downhill on a bowl with PyTorch's own schedule, so that a step depends on all those before it."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(11)
    start, steepness = rng.standard_normal((6, 5)).astype(np.float32), rng.uniform(0.1, 2, (6, 5)).astype(np.float32)
    theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
    peer = getattr(torch.optim, name)([theirs], lr=0.05, **options)
    fall = torch.optim.lr_scheduler.PolynomialLR(peer, 100, 0.9)
    with use_backend(backend):
        ours = Parameter(start)
        optimizer, rate = getattr(optim, name)([ours], lr=0.05, **options), optim.Polynomial(0.05, 100)
        for step in range(100):
            optimizer.lr = rate(step)
            optimizer.zero_grad()
            (tensor(steepness) * ours * ours).sum().backward()
            optimizer.step()
            peer.zero_grad()
            (torch.from_numpy(steepness) * theirs * theirs).sum().backward()
            peer.step()
            fall.step()
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.peer
def test_clipping_equals_pytorchs():
    torch = pytest.importorskip("torch")
    for max_norm in (0.5, 3.0, 1e3):
        ours = parameters(dtype=np.float32)
        give_gradients(ours, 1)
        theirs = [torch.nn.Parameter(torch.from_numpy(p.data.copy())) for p in ours]
        for p, q in zip(ours, theirs):
            q.grad = torch.from_numpy(p.grad.copy())
        expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
        assert optim.clip_grad_norm_(ours, max_norm) == pytest.approx(expected.item(), rel=1e-6)
        torch.nn.utils.clip_grad_value_(theirs, 0.1)
        optim.clip_grad_value_(ours, 0.1)
        for p, q in zip(ours, theirs):
            np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-5, atol=1e-7)
