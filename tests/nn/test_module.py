"""Module: what it finds, how it changes, and that loading a state is all or nothing."""

import numpy as np
import pytest

from minseg import nn, tensor, use_backend
from minseg.autograd import Parameter
from minseg.errors import ArgumentError


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def a_network():
    rng = np.random.default_rng(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False, rng=rng),
        nn.BatchNorm2d(3),
        nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 1, rng=rng)),
    )


NAMES = [
    "0.weight",
    "1.weight",
    "1.bias",
    "1.running_mean",
    "1.running_var",
    "1.num_batches_tracked",
    "2.1.weight",
    "2.1.bias",
]


def test_parameters_buffers_and_state_come_in_pytorchs_order():
    network = a_network()
    assert list(network.state_dict()) == NAMES
    assert [name for name, _ in network.named_parameters()] == [
        "0.weight",
        "1.weight",
        "1.bias",
        "2.1.weight",
        "2.1.bias",
    ]
    assert [name for name, _ in network.named_buffers()] == NAMES[3:6]
    assert [name for name, _ in network.named_modules()] == ["", "0", "1", "2", "2.0", "2.1"]
    assert len(list(network.children())) == 3
    assert len(list(network.buffers())) == 3
    assert network.num_parameters() == 54 + 6 + 16


def test_own_parameters_come_before_those_of_children_whatever_the_order_of_assignment():
    class Late(nn.Module):
        def __init__(self):
            self.child = nn.Linear(1, 1)
            self.register_buffer("count", np.zeros(1, np.int64))
            self.scale = Parameter(np.ones(1, np.float32))

    assert list(Late().state_dict()) == ["scale", "count", "child.weight", "child.bias"]


def test_a_shared_module_is_one_in_parameters_and_two_in_the_state():
    shared = nn.Linear(2, 2)
    network = nn.Sequential(shared, shared)
    assert len(list(network.parameters())) == 2
    assert len(list(network.modules())) == 2
    assert list(network.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    network.load_state_dict({name: array + 1 for name, array in network.state_dict().items()})
    assert network[0].weight is network[1].weight


def test_attributes_may_be_replaced_and_removed():
    layer = nn.Linear(2, 2)
    layer.bias = None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    layer.bias = Parameter(np.zeros(2, np.float32))
    del layer.weight
    assert [name for name, _ in layer.named_parameters()] == ["bias"]


def test_register_buffer_refuses_a_taken_name():
    layer = nn.Linear(2, 2)
    with pytest.raises(ArgumentError, match="Linear has an attribute 'weight' already"):
        layer.register_buffer("weight", np.zeros(1))


def test_lists_and_sequences():
    network = a_network()
    assert len(network) == 3
    assert network[-1] is list(network)[2]
    assert isinstance(network[:2], nn.Sequential)
    assert len(network[:2]) == 2
    blocks = nn.ModuleList([nn.ReLU()]).append(nn.Tanh())
    assert [type(block).__name__ for block in blocks] == ["ReLU", "Tanh"]
    assert len(blocks[1:]) == 1
    with pytest.raises(ArgumentError, match="expected modules, got function at 1"):
        nn.Sequential(nn.ReLU(), lambda x: x)


def test_train_and_eval_reach_every_module_and_no_other():
    network, other = a_network(), a_network()
    assert network.eval() is network
    assert not any(module.training for module in network.modules())
    assert all(module.training for module in other.modules())
    network[1].train()
    assert network[1].training
    assert not network.training


def test_zero_grad_forgets_all_gradients():
    network = a_network()
    network(tensor(np.ones((1, 2, 3, 3), np.float32) * np.arange(3, dtype=np.float32))).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    network.zero_grad()
    assert all(p.grad is None for p in network.parameters())


def test_apply_visits_children_before_their_parent():
    order = []
    a_network().apply(lambda module: order.append(type(module).__name__))
    assert order == ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "Sequential", "Sequential"]


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(1)


def test_to_converts_floats_and_leaves_integers():
    network = a_network()
    network[0].weight.grad = np.ones((3, 2, 3, 3), np.float32)
    before = network.state_dict()
    assert network.to(dtype=np.float64) is network
    kinds = {name: array.dtype.name for name, array in network.state_dict().items()}
    assert kinds.pop("1.num_batches_tracked") == "int64"
    assert set(kinds.values()) == {"float64"}
    assert network[0].weight.grad.dtype == np.float64
    assert all(np.array_equal(array, before[name]) for name, array in network.state_dict().items())
    assert network(tensor(np.random.default_rng(0).standard_normal((1, 2, 3, 3)))).dtype == np.float64
    with pytest.raises(ArgumentError, match="dtype must be float32 or float64, got int32"):
        network.to(dtype=np.int32)


def test_to_another_backend_maps_every_array():
    network = a_network()
    before = network.state_dict()
    network.to(backend="numpy", dtype="float64")
    assert all(np.array_equal(array, before[name]) for name, array in network.state_dict().items())
    with pytest.raises(ArgumentError, match="unknown backend"):
        network.to(backend="abacus")


# --------------------------------------------------------------------------------------------------------------- state


def test_a_state_goes_round_bit_for_bit_and_is_copied():
    one, other = a_network(), nn.Sequential(*a_network())
    for p in other.parameters():
        p.data = p.data + 1
    x = tensor(np.random.default_rng(1).standard_normal((2, 2, 5, 4)).astype(np.float32))
    one(x)  # moves the running statistics
    state = one.state_dict()
    assert other.load_state_dict(state) == ([], [])
    for name, array in other.state_dict().items():
        assert array.dtype == state[name].dtype
        assert array.tobytes() == state[name].tobytes()
        assert array is not state[name]
    state["0.weight"][:] = 7  # the copy does not follow
    assert not np.any(other[0].weight.data == 7)
    assert isinstance(other[1].num_batches_tracked, np.ndarray)
    assert int(other[1].num_batches_tracked) == 1


def test_training_leaves_a_state_that_was_taken_before_alone():
    network = a_network()
    state = network.state_dict()
    copies = {name: array.copy() for name, array in state.items()}
    network(tensor(np.random.default_rng(1).standard_normal((2, 2, 5, 4)).astype(np.float32)))
    assert all(np.array_equal(state[name], copies[name]) for name in state)
    assert not np.array_equal(network[1].running_mean, state["1.running_mean"])


def test_one_error_lists_all_that_does_not_fit_and_nothing_is_loaded():
    network = a_network()
    before = network.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    del state["2.1.bias"]
    state["extra"] = np.zeros(1, np.float32)
    state["0.weight"] = np.zeros((3, 2, 1, 1), np.float32)
    state["1.weight"] = state["1.weight"].astype(np.float64)
    with pytest.raises(ArgumentError) as caught:
        network.load_state_dict(state)
    message = str(caught.value)
    assert "\n" not in message
    assert "0.weight is (3, 2, 3, 3) float32, got (3, 2, 1, 1) float32" in message
    assert "1.weight is (3,) float32, got (3,) float64" in message
    assert "Missing: 2.1.bias. Unexpected: extra" in message
    assert all(array is before[name] for name, array in network.state_dict().items())


def test_not_strict_passes_over_names_but_never_over_shapes():
    network = a_network()
    state = {"0.weight": np.ones((3, 2, 3, 3), np.float32), "extra": np.zeros(1, np.float32)}
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert missing == NAMES[1:]
    assert unexpected == ["extra"]
    assert np.all(network[0].weight.data == 1)
    with pytest.raises(ArgumentError, match=r"0.weight is \(3, 2, 3, 3\) float32, got \(1,\) float32"):
        network.load_state_dict({"0.weight": np.ones(1, np.float32)}, strict=False)


def test_tensors_and_lists_may_be_loaded_but_not_what_has_another_dtype():
    layer = nn.Linear(1, 1)
    layer.load_state_dict({"weight": tensor([[2.0]]), "bias": Parameter(np.ones(1, np.float32))})
    assert layer.weight.data.tolist() == [[2.0]]
    with pytest.raises(ArgumentError, match=r"weight is \(1, 1\) float32, got \(\) object"):
        layer.load_state_dict({"weight": None, "bias": np.ones(1, np.float32)})


@pytest.mark.peer
def test_printing_names_and_state_equal_pytorchs():
    torch = pytest.importorskip("torch")

    def build(nn):
        return nn.Sequential(
            nn.Conv2d(2, 4, (3, 1), stride=2, padding=1, dilation=2, groups=2, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.ModuleList([nn.Linear(2, 3), nn.Dropout(0.25), nn.Flatten(), nn.Softmax(dim=1), nn.Identity()]),
            nn.ConvTranspose2d(4, 2, 4, 2, 1, 1),
            nn.Sigmoid(),
            nn.AdaptiveAvgPool2d(2),
            nn.Upsample(scale_factor=2, mode="bilinear"),
        )

    ours, theirs = build(nn), build(torch.nn)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [array.shape for array in ours.state_dict().values()] == [
        tuple(t.shape) for t in theirs.state_dict().values()
    ]
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]
    expected = repr(theirs)
    for only_theirs in (", bias=True, track_running_stats=True", ", track_running_stats=True", ", inplace=False"):
        expected = expected.replace(only_theirs, "")
    expected = expected.replace("scale_factor=2.0", "scale_factor=2")
    assert repr(ours) == expected
