"""Confirmations of what the documents get right, where it can be computed."""

import numpy as np

from minseg import ops, optim
from minseg.autograd import Parameter, Tensor, no_grad, tensor
from minseg.equations.latex import Indexed, parse
from minseg.models import printed as networks
from minseg.testing.witnesses import Confirmation
from minseg.testing.witnesses.common import array, listed, pixels, printed, same, standard


def _image() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((6, 7))


def ok_01() -> Confirmation:
    x, formula = _image(), parse(printed("EQ-D1-3"), callables="px")
    y = pixels(formula, range(5), range(6), {"k": 2}, {"x": Indexed(x, first=1)})  # the start that makes up for ERR-06
    pooled = array(ops.avg_pool2d(tensor(x[None, None]), 2, 1))[0, 0]
    return Confirmation(f"the mean of a window is {y[0, 0]:.4f}, by avg_pool2d {pooled[0, 0]:.4f}", same(y, pooled))


def ok_02() -> Confirmation:
    rng = np.random.default_rng(2)
    W, x, b = rng.standard_normal((4, 3)), rng.standard_normal(3), rng.standard_normal(4)
    z = parse(printed("EQ-D1-4")).value({"W": W, "x": x, "b": b})
    computed = ops.linear(tensor(x[None]), tensor(W), tensor(b))
    sigma = {"\\sigma": lambda z: standard("act.sigmoid", z=z)}
    a = [parse(printed("EQ-D1-5"), callables=["\\sigma"]).value({"z": value}, sigma) for value in z]
    return Confirmation(
        f"z is {listed(z, '.4f')}, as linear computes it; a is {listed(a, '.4f')}, as sigmoid",
        same(z, array(computed)[0]) and same(a, array(ops.sigmoid(computed))[0]),
    )


def ok_03() -> Confirmation:
    x = Tensor(np.array([0.5, -1.0]), requires_grad=True)
    y = parse(printed("EQ-D4-2"), callables="F").value({"x": x}, {"F": lambda x: 0.0 * x})
    y.sum().backward()
    return Confirmation(
        f"with the branch at 0 the gradient of x is {listed(x.grad)}: it passes whole",
        same(array(y), x.data) and same(x.grad, [1, 1]),
    )


def ok_04() -> Confirmation:
    x, w = _image(), np.random.default_rng(2).standard_normal((3, 3))
    formula = parse(printed("EQ-D3-1"), callables="yxk")
    applied = {"x": Indexed(x, 0, first=1), "k": Indexed(w, first=1)}
    y = pixels(formula, range(1, 9), range(1, 10), {"k": 3}, applied)
    apart = float(np.abs(y - standard("conv.true2d", (8, 9), x=x, w=w, R=3, S=3)).max())
    return Confirmation(f"on 6x7 pixels it differs from conv.true2d by {apart:g}", apart < 1e-12)


def ok_05() -> Confirmation:
    shapes = []
    for network in (networks.ConvNet(np.random.default_rng(0)), networks.Net(np.random.default_rng(0))):
        with no_grad():
            shapes.append(network(tensor(np.zeros((2, 3, 32, 32), np.float32))).shape)
    return Confirmation(f"two images of 32 px give {shapes[0]} and {shapes[1]}", shapes == [(2, 10), (2, 10)])


def ok_06() -> Confirmation:
    encoder, x = (
        networks.SegmentationNetwork(np.random.default_rng(0)).encoder,
        tensor(np.zeros((1, 3, 256, 256), np.float32)),
    )
    sides = [256]
    with no_grad():
        for layer in encoder:
            x = layer(x)
            sides += [x.shape[2]] if x.shape[2] != sides[-1] else []
    return Confirmation(f"sides of the maps: {listed(sides)}", sides == [256, 128, 64])


def ok_08() -> Confirmation:
    """zero_grad before forward (D1, D3, D4, D5) and between loss and backward (D2) train the same; without it gradients add up."""
    ends = {}
    for order in ("before forward", "before backward", "never"):
        w = Parameter(np.array([[1.0, -2.0]]))
        optimizer = optim.SGD([w], lr=0.001, momentum=0.9)
        for _ in range(3):
            if order == "before forward":
                optimizer.zero_grad()
            loss = ops.mse_loss(ops.linear(tensor(np.array([[1.0, 3.0]])), w), np.array([[2.0]]))
            if order == "before backward":
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        ends[order] = w.data
    return Confirmation(
        "; ".join(f"zero_grad {order}: {listed(end, '.4f')}" for order, end in ends.items()),
        np.array_equal(ends["before forward"], ends["before backward"])
        and not same(ends["never"], ends["before forward"], 1e-3),
    )
