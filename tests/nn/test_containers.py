"""Modules in turn: neighbours that are computed together give what each gives by itself, and nobody who looks can tell."""

import numpy as np
import pytest

from minseg import explain, nn, ops, tensor, use_backend
from minseg.errors import ShapeError

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "numba"])


def a_stack(seed: int = 0) -> nn.Sequential:
    """Convolution, batch norm with a scale and a shift of its own, ReLU, convolution."""
    rng = np.random.default_rng(seed)
    stack = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False, rng=rng), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1, rng=rng)
    )
    stack[1].weight.data, stack[1].bias.data = rng.standard_normal((2, 3)).astype(np.float32)
    return stack


def images():
    return tensor(np.random.default_rng(1).standard_normal((2, 2, 6, 5)).astype(np.float32), requires_grad=True)


def one_by_one(stack: nn.Sequential, x):
    for module in stack:
        x = module(x)
    return x


@BACKENDS
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_batch_norm_and_relu_together_give_the_bits_that_they_give_alone(backend, training):
    with use_backend(backend):
        together, alone = a_stack().train(training), a_stack().train(training)
        x, same = images(), images()
        y, z = together(x), one_by_one(alone, same)
        (y * y).sum().backward()
        (z * z).sum().backward()
    assert np.array_equal(y.data, z.data)
    assert np.array_equal(x.grad, same.grad)
    for p, q in zip(together.parameters(), alone.parameters(), strict=True):
        assert np.array_equal(p.grad, q.grad)
    for (name, array), (_, other) in zip(together.named_buffers(), alone.named_buffers(), strict=True):
        assert np.array_equal(array, other), name


def test_they_are_one_operation():
    stack = a_stack()
    assert type(nn.feed(images(), *list(stack)[:3]).node) is ops.norm.BatchNormReLUTraining
    assert type(nn.feed(images(), *list(stack.eval())[:3]).node) is ops.norm.BatchNormReLUEval


@pytest.mark.parametrize("watched", ["0", "1", "2", "3"])
def test_whoever_records_a_layer_sees_its_own_output(watched):
    stack = a_stack().eval()
    x = images()
    with explain.record(stack, watched) as seen:
        y = stack(x)
    assert np.array_equal(seen[watched][0].data, one_by_one(list(stack)[: int(watched) + 1], x).data)
    assert np.array_equal(y.data, one_by_one(stack, x).data)


def test_a_subclass_is_run_by_itself():
    class Leaky(nn.ReLU):
        def forward(self, x):
            return ops.relu(x) - 0.1 * ops.relu(-x)

    class Twice(nn.BatchNorm2d):
        def forward(self, x):
            return 2 * super().forward(x)

    x = images()
    for pair in ((nn.BatchNorm2d(2), Leaky()), (Twice(2), nn.ReLU())):
        expected = one_by_one(pair, x)
        assert np.array_equal(nn.Sequential(*pair)(x).data, expected.data)


def test_an_error_is_that_of_batch_norm():
    with pytest.raises(ShapeError, match=r"batch_norm: training needs more than one value per channel"):
        nn.Sequential(nn.BatchNorm2d(2), nn.ReLU())(tensor(np.zeros((1, 2, 1, 1), np.float32)))


def test_batch_norm_at_the_end_has_no_relu():
    x = images()
    assert float(nn.Sequential(nn.BatchNorm2d(2))(x).data.min()) < 0
    assert float(nn.Sequential(nn.BatchNorm2d(2), nn.Tanh())(x).data.min()) < 0
