"""Proofs of the errata in what the documents say in words: what follows from the words, computed, and what holds instead."""

import itertools
import math

import numpy as np

from minseg import autograd, ops, optim
from minseg.autograd import Parameter, Tensor, no_grad, tensor
from minseg.data.transforms import RandomFlip
from minseg.errors import DtypeError, GraphError, ShapeError
from minseg.models import printed as networks
from minseg.nn import Conv2d, Linear, MaxPool2d, Module, ModuleList, Sequential, init
from minseg.testing.witnesses import Witness
from minseg.testing.witnesses.common import array, listed, refusal, same, standard, whole


def _normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def err_19() -> Witness:
    x, w = tensor(_normal(1, 4, 16, 16)), tensor(_normal(4, 4, 3, 3))

    def branch(x: Tensor) -> Tensor:
        return ops.max_pool2d(ops.relu(ops.conv2d(x, w, padding=1)), 2)

    refused = refusal(lambda: x + branch(x), ShapeError)
    tiny = tensor(_normal(1, 4, 2, 2))
    silent = (tiny + branch(tiny)).shape
    strided = ops.conv2d(x, tensor(_normal(4, 4, 1, 1)), stride=2) + branch(x)
    after = ops.max_pool2d(x + ops.relu(ops.conv2d(x, w, padding=1)), 2)
    return Witness(
        f"x 16x16 + F(x) 8x8 is refused; on 2x2 maps F(x) is 1x1 and is added to {silent[2] * silent[3]} pixels silently; "
        f"a shortcut of stride 2, or pooling after the sum, gives {'x'.join(map(str, after.shape[2:]))}",
        mistake=bool(refused) and silent == (1, 4, 2, 2) and branch(tiny).shape == (1, 4, 1, 1),
        correct=strided.shape == after.shape == (1, 4, 8, 8),
    )


def err_20() -> Witness:
    network = networks.ConvNet(np.random.default_rng(0))
    image = tensor(_normal(1, 3, 64, 64).astype(np.float32))
    corner = tensor(array(image)[:, :, :32, :32].copy())
    kernels = [
        (layer.weight.reshape(*shape), layer.bias)
        for layer, shape in (
            (network.fc1, (120, 16, 5, 5)),
            (network.fc2, (84, 120, 1, 1)),
            (network.fc3, (10, 84, 1, 1)),
        )
    ]
    with no_grad():
        scores = network(corner)
        x = image
        for conv in (network.conv1, network.conv2):
            x = network.pool(ops.relu(conv(x)))
        for position, (w, b) in enumerate(kernels):
            x = ops.conv2d(x, w, b)
            x = ops.relu(x) if position < 2 else x
    return Witness(
        f"ten classes at 32x32 pixels are {10 * 32 * 32} numbers, the printed layers give {scores.numel()}; as "
        f"kernels the same weights give a map {x.shape[1:]} of a 64x64 image, whose corner is the network's answer "
        "for that corner",
        mistake=scores.numel() == 10,
        correct=x.shape == (1, 10, 9, 9) and same(array(x)[0, :, 0, 0], array(scores)[0], 1e-5),
    )


def err_21() -> Witness:
    conv, pool = Conv2d(6, 16, 5), MaxPool2d(2, 2)
    counts = [Sequential(*layers).num_parameters() for layers in ((conv,), (pool, conv))]
    work = [
        array(Sequential(*layers)(tensor(np.ones((1, 6, 28, 28), np.float32)))).size * 6 * 25
        for layers in ((conv,), (pool, conv))
    ]
    dense = [Linear(16 * side * side, 120).num_parameters() for side in (10, 5)]
    return Witness(
        f"a convolution has {counts[0]:,} parameters without pooling before it and {counts[1]:,} with it (its "
        f"multiply-adds fall from {work[0]:,} to {work[1]:,}); a fully connected layer behind it has {dense[1]:,} "
        f"instead of {dense[0]:,}",
        mistake=counts[0] == counts[1] and pool.num_parameters() == 0,
        correct=work[1] < work[0] and dense[1] < dense[0],
    )


def err_22() -> Witness:
    z = np.linspace(-20, 20, 4001)
    sigmoid, tanh, relu = (array(f(tensor(z))) for f in (ops.sigmoid, ops.tanh, ops.relu))
    between = int(((sigmoid > 0.001) & (sigmoid < 0.999)).sum())
    step = np.array([standard("act.step", z=value) for value in z])
    slopes = np.count_nonzero(np.diff(step))
    learns = Tensor(z, requires_grad=True)
    ops.sigmoid(learns).sum().backward()
    return Witness(
        f"of 4001 points from -20 to 20 sigmoid is strictly between .001 and .999 at {between}; tanh goes from "
        f"{tanh.min():.0f} to {tanh.max():.0f}, ReLU to {relu.max():.0f}; a binary step is level at all but {slopes} "
        "of its 4000 steps",
        mistake=between > 0 and len(set(relu.tolist())) > 2 and slopes == 1,
        correct=0 < sigmoid.min() < sigmoid.max() < 1 and relu.max() == 20 and bool((learns.grad > 0).all()),
    )


def err_23() -> Witness:
    a, b = np.zeros(30, bool), np.zeros(30, bool)
    a[:11], b[7:19] = True, True  # 11 and 12 pixels, of which 4 are common
    I, U, sizes = (a & b).sum(), (a | b).sum(), a.sum() + b.sum()
    T, F, M = int(I), int((a & ~b).sum()), int((b & ~a).sum())
    dice, jaccard = standard("metric.dice", T=T, F=F, M=M).item(), standard("metric.iou", T=T, F=F, M=M).item()
    naive, of_equals = 2 * I / U, 2 * a.sum() / a.sum()
    return Witness(
        f"masks of 11 and 12 pixels with 4 in common: I/U = {jaccard:.4f}, Dice = {dice:.4f}, 2I/U = {naive:.4f}, "
        f"and 2I/U of a mask with itself is {of_equals:g}; but 2I/(U+I) = {2 * I / (U + I):.4f} is Dice",
        mistake=not same(naive, dice, 1e-3) and not same(jaccard, dice, 1e-3) and of_equals == 2,
        correct=same(dice, 2 * I / sizes)
        and same(dice, 2 * I / (U + I))
        and same(standard("metric.dice_from_iou", J=jaccard).item(), dice),
    )


def err_24() -> Witness:
    p, g = Tensor(np.array([0.8, 0.5, 0.4]), requires_grad=True), np.array([1.0, 1.0, 0.0])
    dice = 2 * (p * g).sum() / (p.sum() + g.sum())
    dice.backward()
    uphill = p.grad.copy()
    p.grad = None
    maps, target = p.reshape(1, 1, 1, 3), np.array([[[1, 1, 0]]])
    loss = ops.dice_loss(maps, target, smooth=1e-9)
    loss.backward()
    downhill = ops.dice_loss(tensor((p.data - 0.1 * p.grad).reshape(1, 1, 1, 3)), target, smooth=1e-9).item()
    hard = refusal(lambda: maps.argmax(3).sum().backward(), (GraphError, DtypeError))
    return Witness(
        f"the derivative of Dice is {uphill[0]:+.2f} where the label is 1 and {uphill[2]:+.2f} where it is 0, so "
        f"going downhill on it lowers the right pixels; a step down 1 - Dice goes from {loss.item():.4f} to "
        f"{downhill:.4f}",
        mistake=uphill[0] > 0 > uphill[2] and "needs no gradient" in hard,
        correct=same(loss.item(), 1 - dice.item(), 1e-6) and p.grad[0] < 0 < p.grad[2] and downhill < loss.item(),
    )


def err_25() -> Witness:
    z = Tensor(np.array([[2.0, 1.0, 0.0]]), requires_grad=True)
    predicted = ops.softmax(z, 1).argmax(1)
    refused = refusal(lambda: predicted.sum().backward(), GraphError)
    hard = np.eye(3)[array(predicted)]
    with np.errstate(divide="ignore"):
        of_labels = -np.log(hard[0, 1])
    loss = ops.cross_entropy(z, np.array([1]))
    loss.backward()
    return Witness(
        f"the predicted label {predicted.item():.0f} has no gradient, and as probabilities the true class 1 costs {of_labels}; "
        f"of the predicted probabilities the loss is {loss.item():.4f}, its gradient {listed(z.grad, '.2f')}",
        mistake="needs no gradient" in refused and math.isinf(of_labels),
        correct=same(loss.item(), -math.log(array(ops.softmax(z, 1))[0, 1])) and bool((z.grad != 0).all()),
    )


def _attention(x: np.ndarray, Wq: np.ndarray, Wk: np.ndarray, Wv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """att.score, att.weights and att.mix of N pixels with d channels: the weights and the result, from the registered LaTeX."""
    N, d = x.shape
    s = standard("att.score", (N, N), Q=x @ Wq, K=x @ Wk, d=d)
    A = standard("att.weights", (N, N), s=s, N=N)
    return A, standard("att.mix", (N, d), A=A, V=x @ Wv, N=N)


def err_26() -> Witness:
    x, weights = _normal(6, 4), [_normal(4, 4, seed=seed) for seed in (1, 2, 3)]
    order = np.array([3, 0, 5, 1, 4, 2])
    plain = x @ x.T  # what is left without projections, scale and positions
    A, y = _attention(x, *weights)
    scores = standard("att.score", (6, 6), Q=x @ weights[0], K=x @ weights[1], d=4)
    shuffled = _attention(x[order], *weights)[1]
    positions = standard("att.positional_sin", (6, 4), b=10000.0, D=4)
    placed, moved = _attention(x + positions, *weights)[1], _attention(x[order] + positions, *weights)[1]
    entries = [(side * side) ** 2 for side in (64, 256)]
    return Witness(
        "without projections pixel i sees j as j sees i; shuffled pixels give the shuffled answer unless positions are added; "
        f"256x256 pixels have {entries[1]:.3g} weights, {4 * entries[1] / 1e9:.1f} GB in float32 (64x64: "
        f"{4 * entries[0] / 1e6:.0f} MB)",
        mistake=same(plain, plain.T) and same(shuffled, y[order]),
        correct=not same(scores, scores.T, 0.1) and same(A.sum(1), np.ones(6)) and not same(moved, placed[order], 0.01),
    )


def err_27() -> Witness:
    state, feature = tensor(_normal(1, 8, 4, 4)), tensor(_normal(1, 6, 8, 8))
    refused = refusal(lambda: autograd.concatenate([state, feature], dim=1), ShapeError)
    joined = autograd.concatenate([ops.interpolate(state, scale_factor=2), feature], dim=1)
    return Witness(
        f"a state {state.shape[2:]} beside features {feature.shape[2:]} is refused; up-sampled first, they are {joined.shape}",
        mistake=bool(refused),
        correct=joined.shape == (1, 14, 8, 8),
    )


def _norm_of_gradient(loss_of, z: np.ndarray) -> tuple[float, float]:
    t = Tensor(z, requires_grad=True)
    loss = loss_of(t)
    loss.backward()
    return loss.item(), float(np.linalg.norm(t.grad))


def _double_softmax(z: Tensor) -> Tensor:
    """The cross-entropy of class 0 from what softmax has made of the logits."""
    return -ops.log_softmax(ops.softmax(z, 1), 1)[0, 0]


def err_28() -> Witness:
    floors = {}
    for K in (10, 21):
        sure = np.zeros((1, K))
        sure[0, 0] = 100  # as right as can be
        p = array(ops.softmax(ops.softmax(tensor(sure), 1), 1))[0, 0]
        floors[K] = p, _double_softmax(tensor(sure)).item()
    wrong = np.array([[-4.0, 8.0, *[0.0] * 8]])
    _, twice = _norm_of_gradient(_double_softmax, wrong)
    loss, once = _norm_of_gradient(lambda z: ops.cross_entropy(z, np.array([0])), wrong)
    certain = ops.cross_entropy(tensor(np.array([[100.0, *[0.0] * 9]])), np.array([0])).item()
    return Witness(
        f"the best that softmax of softmax can do: K=10 p {floors[10][0]:.4f}, loss {floors[10][1]:.4f}; K=21 p "
        f"{floors[21][0]:.4f}, loss {floors[21][1]:.4f}; on a wrong answer its gradient is {twice:.4f} where the "
        f"loss from logits has {once:.4f}",
        mistake=all(same(floor, math.log(math.e + K - 1) - 1, 1e-9) for K, (_, floor) in floors.items())
        and twice < once / 100,
        correct=certain < 1e-9 and loss > 8 and once > 1,
    )


def err_29() -> Witness:
    x, w = _normal(5, 6), _normal(3, 3, seed=1)
    products = x[:3, :3] * w
    y = array(ops.conv2d(tensor(x[None, None]), tensor(w[None, None])))[0, 0]
    return Witness(
        f"a 3x3 region times a 3x3 kernel is {products.size} numbers; their sum {products.sum():.4f} is the one "
        f"number of conv2d, {y[0, 0]:.4f}",
        mistake=products.size == 9,
        correct=same(products.sum(), y[0, 0]) and y.shape == (3, 4),
    )


def err_30() -> Witness:
    layer = Conv2d(3, 6, 5, rng=np.random.default_rng(0))
    image = tensor(_normal(1, 3, 8, 8).astype(np.float32))
    flat = tensor(array(layer.weight)[:, :1].copy())  # kernels of two dimensions, one each
    refused = refusal(lambda: ops.conv2d(image, flat), ShapeError)
    y = layer(image)
    return Witness(
        f"Conv2d(3, 6, 5): each of {layer.weight.shape[0]} kernels is {layer.weight.shape[1:]}, "
        f"{layer.weight.numel()} weights; kernels without the channels are refused by a colour image",
        mistake=bool(refused),
        correct=layer.weight.shape == (6, 3, 5, 5) and y.shape == (1, 6, 4, 4),
    )


def err_37() -> Witness:
    rms = {}
    for name, draw in (("Xavier", init.xavier_normal), ("He", init.he_normal)):
        rng = np.random.default_rng(0)
        x = tensor(rng.standard_normal((64, 256)))
        for _ in range(50):
            x = ops.relu(ops.linear(x, tensor(draw((256, 256), rng, np.float64))))
        rms[name] = float(np.sqrt((array(x) ** 2).mean()))
    return Witness(
        f"after 50 layers of 256 with ReLU the signal is {rms['Xavier']:.1e} with Xavier's weights (theory 2^-25 = "
        f"{2**-25:.0e}) and {rms['He']:.1f} with He's",
        mistake=2**-28 < rms["Xavier"] < 2**-22,
        correct=1 / 8 < rms["He"] < 8,
    )


def err_43() -> Witness:
    up, skip = tensor(_normal(1, 4, 6, 6)), tensor(_normal(1, 4, 6, 6, seed=1))
    added, joined = up + skip, autograd.concatenate([skip, up], dim=1)
    wider = tensor(_normal(1, 7, 6, 6))
    refused = refusal(lambda: up + wider, ShapeError)
    return Witness(
        f"4 and 4 channels: FCN's sum has {added.shape[1]}, U-Net's concatenation {joined.shape[1]}; with 4 and 7 "
        f"only the latter exists, {autograd.concatenate([wider, up], dim=1).shape[1]}",
        mistake=added.shape != joined.shape and bool(refused),
        correct=same(array(joined)[:, :4] + array(joined)[:, 4:], array(added)),
    )


def err_44() -> Witness:
    one, two = np.zeros((4, 6), int), np.zeros((4, 6), int)
    one[1:3, 1:5] = 1
    two[1:3, 1:3], two[1:3, 3:5] = 1, 2  # the same pixels, as two cells that touch
    classes = [(instances > 0).astype(int) for instances in (one, two)]
    return Witness(
        f"one object or two that touch: {len(np.unique(one)) - 1} and {len(np.unique(two)) - 1} instances, the same "
        "map of classes",
        mistake=not np.array_equal(one, two) and np.array_equal(*classes),
        correct=all(len(np.unique(labels)) == 2 for labels in classes),
    )


class _Deep(Module):
    """A deep network of width 16: plain, or with x added after each layer."""

    def __init__(self, depth: int, residual: bool, rng: np.random.Generator):
        self.residual = residual
        self.layers = ModuleList(Linear(16, 16, rng=rng) for _ in range(depth))
        for layer in self.layers if residual else ():
            layer.weight.data = layer.weight.data / np.float32(math.sqrt(depth))  # else the sum grows with the depth
        self.head = Linear(16, 2, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            y = ops.relu(layer(x))
            x = x + y if self.residual else y
        return self.head(x)


def _training_loss(residual: bool, x: np.ndarray, labels: np.ndarray) -> float:
    """Of 40 layers, after 25 steps."""
    network = _Deep(40, residual, np.random.default_rng(3))
    optimizer = optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    for _ in range(25):
        optimizer.zero_grad()
        loss = ops.cross_entropy(network(tensor(x)), labels)
        loss.backward()
        optimizer.step()
    return loss.item()


def err_59() -> Witness:
    x = _normal(32, 16).astype(np.float32)
    noise, learnable = np.random.default_rng(1).integers(0, 2, 32), (x[:, 0] > 0).astype(int)
    plain, residual = ([_training_loss(kind, x, labels) for labels in (noise, learnable)] for kind in (False, True))
    return Witness(
        f"40 layers, 25 steps: on labels that are noise the training loss is {plain[0]:.2f} plain and "
        f"{residual[0]:.2f} residual, which is over-fitting; on labels to be learned {plain[1]:.2f} and "
        f"{residual[1]:.2f} (guessing {math.log(2):.2f})",
        mistake=residual[0] < 0.7 * plain[0],
        correct=residual[1] < 0.7 * plain[1],
    )


class _Block(Module):
    """Two convolutions of 64 channels, with a shortcut or without."""

    def __init__(self, shortcut: bool):
        self.shortcut = shortcut
        self.conv1 = Conv2d(64, 64, 3, padding=1)
        self.conv2 = Conv2d(64, 64, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(ops.relu(self.conv1(x)))
        return ops.relu(x + y if self.shortcut else y)


def err_60() -> Witness:
    plain, residual = _Block(False), _Block(True)
    residual.load_state_dict(plain.state_dict())
    x = tensor(_normal(1, 64, 4, 4).astype(np.float32))
    return Witness(
        f"plain block {plain.num_parameters():,} parameters, residual block {residual.num_parameters():,}",
        mistake=residual.num_parameters() <= plain.num_parameters(),
        correct=plain.num_parameters() == residual.num_parameters() == 73_856
        and not same(array(plain(x)), array(residual(x)), 0.1),
    )


def err_61() -> Witness:
    x, w = _normal(1, 3, 5, 5), _normal(3, 3, 3, 3, seed=1)
    with_skip = array(tensor(x) + ops.conv2d(tensor(x), tensor(w), padding=1))
    absorbed = w.copy()
    absorbed[range(3), range(3), 1, 1] += 1
    without = array(ops.conv2d(tensor(x), tensor(absorbed), padding=1))

    def block(x: np.ndarray) -> np.ndarray:
        inner = ops.relu(ops.conv2d(tensor(x), tensor(w), padding=1))
        return array(tensor(x) + ops.conv2d(inner, tensor(w), padding=1))

    return Witness(
        "a skip over one linear layer: x + conv(x) is one convolution with 1 added in the middle, but for rounding; over "
        f"a block of two it is not even linear: f(-x) + f(x) is up to {np.abs(block(-x) + block(x)).max():.1f}",
        mistake=same(with_skip, without),
        correct=not same(block(-x), -block(x), 0.1),
    )


def err_62() -> Witness:
    widths = (64, 16, 16, 64)  # a bottleneck of three layers
    inputs = [tensor(_normal(1, 64, 4, 4))]
    for i, o in itertools.pairwise(widths):
        inputs.append(ops.conv2d(inputs[-1], tensor(_normal(o, i, 1, 1, seed=i))))
    output, before_previous, x = inputs[3], inputs[1], inputs[0]
    refused = refusal(lambda: output + before_previous, ShapeError)
    return Witness(
        f"bottleneck {'-'.join(map(str, widths))}: the output has {output.shape[1]} channels, the previous layer's input "
        f"{before_previous.shape[1]}, which are refused; the block's input has {x.shape[1]}",
        mistake=bool(refused),
        correct=(output + x).shape == x.shape,
    )


def err_63() -> Witness:
    def work(side: int, d: int = 64) -> tuple[int, int]:
        """Multiply-adds of a 3x3 convolution of d channels, and of the scores of attention between d channels."""
        return side * side * d * d * 9, (side * side) ** 2 * d

    ratios = [b / a for a, b in zip(work(128), work(256))]
    conv, scores = work(256)
    measured = []
    for N in (6, 24):  # the multiplications that att.score performs when its LaTeX is evaluated
        reads = []
        x = _normal(N, 2)
        standard("att.score", (N, N), Q=lambda i, c, x=x, reads=reads: reads.append(1) or x[i, c], K=x, d=2)
        measured.append(len(reads))
    return Witness(
        f"twice the side: a convolution costs {ratios[0]:g} times as much, attention {ratios[1]:g} times; at 256x256 "
        f"with 64 channels {scores:.2g} multiply-adds against {conv:.2g}",
        mistake=scores > 100 * conv and ratios[1] == 16,
        correct=ratios[0] == 4 and measured[1] == 16 * measured[0],
    )


def err_64() -> Witness:
    one, heads = Linear(64, 21), [Linear(64, 1) for _ in range(21)]
    of_heads = sum(head.num_parameters() for head in heads)
    network = networks.ResNet().num_parameters()
    return Witness(
        f"one head of 21 classes: {one.num_parameters():,} parameters; 21 heads of one: {of_heads:,}; 21 networks like D4's: "
        f"{21 * network:,} instead of {network:,}",
        mistake=of_heads >= one.num_parameters(),
        correct=of_heads == one.num_parameters() == 21 * 65,
    )


def _fit(measure: bool) -> tuple[np.ndarray, list[float]]:
    """20 features, 12 noisy points to learn from and 40 to validate on: the weights after 400 steps, and the validation losses."""
    rng = np.random.default_rng(3)
    truth = np.zeros(20)
    truth[:3] = 1
    x, held_out = rng.standard_normal((12, 20)), rng.standard_normal((40, 20))
    y, y_held_out = x @ truth + rng.standard_normal(12), held_out @ truth
    w = Parameter(np.zeros((1, 20)))
    optimizer, seen = optim.SGD([w], lr=0.02), []
    for _ in range(400):
        optimizer.zero_grad()
        ops.mse_loss(ops.linear(tensor(x), w), y[:, None]).backward()
        optimizer.step()
        if measure:
            seen.append(ops.mse_loss(ops.linear(tensor(held_out), w.detach()), y_held_out[:, None]).item())
    return w.data, seen


def err_66() -> Witness:
    (with_it, seen), (without, _) = _fit(True), _fit(False)
    best = int(np.argmin(seen))
    image, mask = _normal(1, 4, 4), np.arange(16).reshape(4, 4)
    copies = {RandomFlip()(image, mask, np.random.default_rng(seed))[1].tobytes() for seed in range(20)}
    return Witness(
        f"measured or not, the weights are the same; the validation loss has its best {seen[best]:.2f} at step "
        f"{best} and ends at {seen[-1]:.2f}: early stopping would act on it; 20 random flips of one image are "
        f"{len(copies)} copies of it",
        mistake=np.array_equal(with_it, without),
        correct=best < 399 and seen[best] < 0.9 * seen[-1] and len(copies) == 2,
    )


def err_68() -> Witness:
    def seen(kernels: list[int]) -> int:
        """How many pixels in a row one output depends on, by its gradient."""
        x = Tensor(np.zeros((1, 1, 1, 21)), requires_grad=True)
        y = x
        for k in kernels:
            y = ops.conv2d(y, tensor(np.ones((1, 1, 1, k))))
        y[0, 0, 0, 0].backward()
        return int(np.count_nonzero(x.grad))

    weights = [sum(Conv2d(64, 64, k, bias=False).num_parameters() for k in kernels) for kernels in ([7], [3, 3, 3])]
    registered = standard("conv.receptive_field", k=np.array([3, 3, 3]), d=np.ones(3), s=np.ones(3), L=3).item()
    return Witness(
        f"one 7x7 kernel sees {seen([7])} pixels in a row with {weights[0]:,} weights, three 3x3 see "
        f"{seen([3, 3, 3])} with {weights[1]:,}",
        mistake=weights[0] > weights[1],
        correct=seen([7]) == seen([3, 3, 3]) == registered == 7 and weights == [200_704, 110_592],
    )


def err_70() -> Witness:
    rows, columns = np.mgrid[:8, :8]
    truth = (columns > rows).astype(int)  # two objects with a slanted border
    patches = truth.reshape(2, 4, 2, 4).transpose(0, 2, 1, 3).reshape(4, 16)
    best = (patches.mean(1) > 0.5).astype(int).reshape(2, 2)
    by_patch = best.repeat(4, 0).repeat(4, 1)
    wrong = int((by_patch != truth).sum())
    tokens = ops.conv2d(tensor(truth[None, None].astype(float)), tensor(np.eye(16).reshape(16, 1, 4, 4)), stride=4)
    head = array(tokens).transpose(0, 2, 3, 1).reshape(2, 2, 4, 4).transpose(0, 2, 1, 3).reshape(8, 8)
    return Witness(
        f"8x8 pixels in patches of 4x4: the best single label for each is wrong at {wrong} pixels of {truth.size}; "
        f"a head that gives each token 16 labels at {int((head != truth).sum())}",
        mistake=wrong > 0,
        correct=np.array_equal(head, truth),
    )


def err_71() -> Witness:
    network = networks.CNN(np.random.default_rng(0))
    x = tensor(_normal(4, 3, 28, 28).astype(np.float32))
    ops.cross_entropy(network(x), np.array([0, 3, 5, 9])).backward()
    largest = {name: float(np.abs(p.grad).max()) for name, p in network.named_parameters()}
    before = array(network.conv1.weight).copy()
    optim.SGD(network.parameters(), lr=0.1).step()
    moved = float(np.abs(array(network.conv1.weight) - before).max())
    return Witness(
        f"largest gradients: conv1 {largest['conv1.weight']:.3g}, conv2 {largest['conv2.weight']:.3g}, fc "
        f"{largest['fc.weight']:.3g}; a step moves conv1 by {moved:.2g}",
        mistake=largest["conv1.weight"] > 0 and largest["conv2.weight"] > 0,
        correct=moved > 0,
    )


def err_72() -> Witness:
    network = networks.SegmentationNetwork(np.random.default_rng(0))
    x = tensor(_normal(1, 3, 7, 7).astype(np.float32))
    labels = np.random.default_rng(1).integers(0, 3, (1, 7, 7))

    def encoder_gradient() -> np.ndarray:
        network.zero_grad()
        ops.cross_entropy(network(x), labels).backward()
        return network.encoder[0].weight.grad.copy()

    before = encoder_gradient()
    network.decoder[0].weight.data = 2 * network.decoder[0].weight.data
    after = encoder_gradient()
    dots = np.zeros((2, 1, 1, 4, 4))
    dots[0, 0, 0, 0, 0] = dots[1, 0, 0, 1, 1] = 1  # a dot, and the same dot one pixel further
    pooled = [array(ops.max_pool2d(tensor(dot), 2)) for dot in dots]
    return Witness(
        f"the decoder's weights doubled, the encoder's gradient changes by {np.abs(after - before).max():.2g}: one problem; "
        f"dots at (0,0) and (1,1) are both pooled to {whole(pooled[0][0, 0])}, and only a skip could tell them apart",
        mistake=not same(before, after, 1e-3) and np.array_equal(*pooled),
        correct=np.abs(before).max() > 0 and not np.array_equal(*dots),
    )
