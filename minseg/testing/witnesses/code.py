"""Proofs of the errata in the printed code, on the same networks built of minseg's layers (``minseg.models.printed``)."""

import math

import numpy as np

from minseg import ops, optim
from minseg.autograd import Tensor, flatten, no_grad, tensor
from minseg.errors import ArgumentError, DtypeError, ShapeError
from minseg.kernels import shapes
from minseg.metrics import ConfusionMatrix
from minseg.models import UNet
from minseg.models import printed as networks
from minseg.nn import BatchNorm2d, Conv2d, ConvTranspose2d, Dropout, Linear, Module, Softmax
from minseg.testing.equations import distance
from minseg.testing.witnesses import Witness
from minseg.testing.witnesses.common import array, listed, refusal, same


def _images(*shape: int, seed: int = 0) -> Tensor:
    return tensor(np.random.default_rng(seed).random(shape, np.float32))


def _scores(network: Module, x: Tensor) -> Tensor:
    with no_grad():
        return network(x)


# --------------------------------------------------------------------------------------------------------------- names

IMPORTS = {
    "D1": {"torch", "nn", "optim"},
    "D2": {"torch", "nn", "optim", "datasets", "transforms"},
    "D3": {"torch", "nn", "optim", "datasets", "transforms"},
    "D4": {"torch", "nn", "optim"},
    "D5": {"torch", "nn", "optim", "Variable", "transforms", "datasets", "models"},
}
"""The names that the imports of each PyTorch program bind. Its classes and assignments bind none of those in question."""


def _run(expression: str, document: str, **defined):
    """Evaluate with the names that the document's imports bind (to nothing in particular), and those defined besides."""
    return eval(expression, {**dict.fromkeys(IMPORTS[document]), **defined})


def err_31() -> Witness:
    x = tensor(np.array([-1.0, 2.0]))
    refused = {doc: refusal(lambda doc=doc: _run("F.relu(x)", doc, x=x), NameError) for doc in ("D1", "D2", "D3", "D4")}
    imported = _run("F.relu(x)", "D1", x=x, F=ops)
    return Witness(
        f"F.relu(x) with the imports of {', '.join(refused)}: {refused['D1']}; with F imported it gives "
        f"{listed(array(imported))}",
        mistake=all("'F' is not defined" in message for message in refused.values()),
        correct=same(array(imported), [0, 2]),
    )


def err_32() -> Witness:
    loops = {"D1": ("trainloader", "enumerate(trainloader, 0)"), "D2": ("train_loader", "enumerate(train_loader)")}
    loops["D5"] = ("epochs", "range(epochs)")
    values = {"trainloader": [("x", "y")], "train_loader": [("x", "y")], "epochs": 1}
    refused = {name: refusal(lambda d=d, e=e: _run(e, d), NameError) for d, (name, e) in loops.items()}
    turns = [len(list(_run(expression, document, **values))) for document, (_, expression) in loops.items()]
    return Witness(
        f"{'; '.join(f'{doc}: {refused[name]}' for doc, (name, _) in loops.items())}; once defined the loops run",
        mistake=all(f"'{name}' is not defined" in message for name, message in refused.items()),
        correct=turns == [1, 1, 1],
    )


# --------------------------------------------------------------------------------------------------- shapes of classifiers


def err_33() -> Witness:
    conv_net, net = networks.ConvNet(np.random.default_rng(0)), networks.Net(np.random.default_rng(0))
    small, large = _scores(conv_net, _images(16, 3, 52, 52)), _scores(net, _images(4, 3, 64, 64))
    late = refusal(lambda: ops.cross_entropy(small, np.zeros(16, int)), ShapeError)
    features = flatten(Tensor(np.zeros((16, 16, 10, 10), np.float32)), 1)
    at_once = refusal(lambda: conv_net.fc1(features), ShapeError)
    return Witness(
        f"16 images of 52 px become {small.shape} in D1, 4 of 64 px {large.shape} in D2, and only the loss notices; "
        f"flatten(x, 1) keeps {features.shape}, and the layer says: {at_once}",
        mistake=small.shape == (64, 10) and large.shape == (16, 10) and bool(late),
        correct=features.shape[0] == 16 and "1600 features" in at_once,
    )


def _accepted(network: Module, sizes) -> list[int]:
    """The sides of a square image that gives exactly one row of scores."""

    def rows(size: int) -> int:
        try:
            return len(_scores(network, _images(1, 3, size, size)))
        except ShapeError:
            return 0

    return [size for size in sizes if rows(size) == 1]


def err_34() -> Witness:
    conv_net, net = networks.ConvNet(np.random.default_rng(0)), networks.Net(np.random.default_rng(0))
    scores = _scores(conv_net, _images(4, 3, 32, 32))
    mask = np.random.default_rng(1).integers(0, 10, (4, 32, 32))
    refused = refusal(lambda: ops.cross_entropy(scores, mask), ShapeError)
    sizes = _accepted(conv_net, range(24, 44)), _accepted(net, (31, 32, 35, 36))
    maps = _scores(UNet(3, 10, widths=(4, 6)), _images(4, 3, 32, 32))
    return Witness(
        f"4 images of 32 px give {scores.shape}, and a mask {mask.shape} is refused; one answer an image only for "
        f"{sizes[0]} px; a U-Net gives {maps.shape}",
        mistake=scores.shape == (4, 10) and bool(refused) and sizes == ([32, 33, 34, 35], [32, 35]),
        correct=maps.shape == (4, 10, 32, 32) and math.isfinite(ops.cross_entropy(maps, mask).item()),
    )


def err_35() -> Witness:
    network = networks.CNN(np.random.default_rng(0))
    x = _images(2, 3, 224, 224)
    with no_grad():
        maps = network.pool(ops.relu(network.conv2(network.pool(ops.relu(network.conv1(x))))))
        scores = network(x)
    rows = array(maps).reshape(-1, 64 * 7 * 7)
    each_a_channel = all(
        np.array_equal(rows[64 * n + c], array(maps)[n, c].ravel()) for n, c in ((0, 0), (0, 63), (1, 17))
    )
    refused = refusal(lambda: ops.cross_entropy(scores, np.array([1, 2])), ShapeError)
    right = _scores(network, _images(2, 3, 28, 28))
    return Witness(
        f"2 images of 224 px have maps {maps.shape[1:]} and give {scores.shape}, each row one whole channel, "
        f"which two labels do not fit; of 28 px they give {right.shape}",
        mistake=scores.shape == (128, 10) and each_a_channel and bool(refused),
        correct=right.shape == (2, 10) and not refusal(lambda: ops.cross_entropy(right, np.array([1, 2]))),
    )


def err_36() -> Witness:
    network = networks.CNN(np.random.default_rng(0))
    network.fc.bias.data = np.full(10, -100, np.float32)  # all scores are negative
    x, labels = _images(4, 3, 28, 28), np.array([0, 3, 5, 9])
    loss = ops.cross_entropy(network(x), labels)
    loss.backward()
    dead = max(float(np.abs(p.grad).max()) for p in network.parameters())
    network.zero_grad()
    maps = network.pool(ops.relu(network.conv2(network.pool(ops.relu(network.conv1(x))))))
    logits = network.fc(flatten(maps, 1))
    ops.cross_entropy(logits, labels).backward()
    alive = max(float(np.abs(p.grad).max()) for p in network.parameters())
    return Witness(
        f"all scores negative: the loss is {loss.item():.6f} = ln 10 and the largest gradient {dead:g}; without the "
        f"last ReLU {alive:.3g}",
        mistake=same(loss.item(), math.log(10), 1e-6) and dead == 0,
        correct=alive > 0.01,
    )


# --------------------------------------------------------------------------------------------------------- labels and data


def err_38() -> Witness:
    logits = _scores(networks.SegmentationNetwork(np.random.default_rng(0)), _images(4, 3, 8, 8))
    one_each, masks = np.array([0, 1, 2, 0]), np.random.default_rng(1).integers(0, 3, (4, *logits.shape[2:]))
    refused = refusal(lambda: ops.cross_entropy(logits, one_each), ShapeError)
    masks[:, 0] = 255
    loss = ops.cross_entropy(logits, masks).item()
    return Witness(
        f"{refused.split(' [')[0]}; with masks, void pixels and all, the loss is {loss:.4f}",
        mistake="got (4,)" in refused,
        correct=math.isfinite(loss) and loss > 0,
    )


def err_39() -> Witness:
    labels = np.array([[[20, 0], [15, 255]]])  # classes 20 and 15, background, void
    refused = refusal(lambda: ops.cross_entropy(_images(1, 10, 2, 2), labels), ArgumentError)
    loss = ops.cross_entropy(_images(1, 21, 2, 2), labels).item()
    return Witness(
        f"{refused.split(';')[0]}; with 21 scores the loss is {loss:.4f}, near ln 21 = {math.log(21):.4f}",
        mistake="label 20" in refused,
        correct=abs(loss - math.log(21)) < 1,
    )


def err_40() -> Witness:
    cut, rounded = "%d %%" % 99.9, f"{99.9:.1f} %"  # noqa: UP031 - it is the printed form
    matrix = ConfusionMatrix(4)
    truth = np.repeat([0, 1, 2, 3], [85, 5, 5, 5])
    matrix.update(np.zeros(100, int), truth)
    accuracy, mean_iou, recall = matrix.pixel_accuracy(), matrix.mean_iou(), matrix.recall()
    return Witness(
        f"99.9 is printed as {cut!r}; all background scores {accuracy:.2f} accuracy, and mean IoU {mean_iou:.2f} "
        f"with recalls {listed(recall)}",
        mistake=cut == "99 %" and accuracy == 0.85,
        correct=rounded == "99.9 %" and same(mean_iou, 0.85 / 4) and same(recall, [1, 0, 0, 0]),
    )


def err_41() -> Witness:
    mask = np.zeros((4, 4))
    mask[:, 2:] = 2
    logits = _images(1, 3, 12, 12)
    refused = refusal(lambda: ops.cross_entropy(logits, mask[None].astype(int)), ShapeError)
    grown = {
        mode: array(ops.interpolate(tensor(mask[None, None]), size=(12, 12), mode=mode))[0, 0]
        for mode in ("bilinear", "nearest")
    }
    classes = {mode: sorted(set(np.rint(values).astype(int).ravel().tolist())) for mode, values in grown.items()}
    loss = ops.cross_entropy(logits, grown["nearest"][None].astype(int)).item()
    return Witness(
        f"a mask of the classes 0 and 2, enlarged bilinearly and rounded, has the classes {classes['bilinear']}; "
        f"by the nearest pixel {classes['nearest']}",
        mistake=bool(refused) and classes["bilinear"] == [0, 1, 2],
        correct=classes["nearest"] == [0, 2] and math.isfinite(loss),
    )


def err_42() -> Witness:
    samples = np.array([1.0, 1, 1, 1, 1, 1, 1, 1, 3, 3])
    batches = [samples[:4], samples[4:8], samples[8:]]
    as_printed = sum(tensor(batch).mean().item() for batch in batches) / len(batches)
    weighted = sum(tensor(batch).mean().item() * len(batch) for batch in batches) / len(samples)
    return Witness(
        f"losses {listed(samples)} in batches of 4, 4 and 2: printed {as_printed:.4f}, mean {weighted:.4f}",
        mistake=not same(as_printed, samples.mean(), 1e-3),
        correct=same(weighted, samples.mean()),
    )


# -------------------------------------------------------------------------------------------------- D4's residual networks


def err_45() -> Witness:
    network = networks.ResNet(np.random.default_rng(0))
    branch = Conv2d(3, 3, 3, padding=1)
    for conv in (network.conv1, network.conv2, network.conv3, branch):
        conv.weight.data = np.zeros_like(conv.weight.data)
    one, other = _images(1, 3, 8, 8, seed=1), _images(1, 3, 8, 8, seed=2)
    apart = np.abs(array(_scores(network, one)) - array(_scores(network, other))).max()
    passed = np.abs(array(one + branch(one)) - array(one)).max()
    return Witness(
        f"kernels at 0: two images' scores differ by {apart:g}, so nothing of them passes; x + F(x) differs from x "
        f"by {passed:g}",
        mistake=apart == 0,
        correct=passed == 0,
    )


def err_46() -> Witness:
    network = networks.ResNet(np.random.default_rng(0))
    count = network.num_parameters()
    refused = refusal(lambda: _scores(network, _images(2, 3, 32, 32)), ShapeError)
    sizes = _accepted(network, range(6, 18))
    network.fc1 = Linear(256 * 4 * 4, 1024, rng=np.random.default_rng(0))
    scores, repaired = _scores(network, _images(2, 3, 32, 32)), network.num_parameters()
    return Witness(
        f"{refused.split(';')[0]}; one answer an image for {sizes[0]} to {sizes[-1]} px only; with {repaired:,} parameters "
        f"instead of {count:,} 32 px give {scores.shape}",
        mistake="4096 features" in refused and sizes == list(range(8, 16)) and count == 644_234,
        correct=scores.shape == (2, 10) and repaired == 4_576_394,
    )


def _soft_cross_entropy(z: Tensor, target: Tensor) -> Tensor:
    """What PyTorch's CrossEntropyLoss computes of float targets, which it takes for probabilities."""
    return -(target * ops.log_softmax(z, 1)).sum(1).mean()


def _train(steps: int, loss_of) -> list[float]:
    """The losses of D4's network and optimiser on one random batch, of 8 px so that its layers fit."""
    network = networks.ResNet(np.random.default_rng(0))
    optimizer = optim.SGD(network.parameters(), lr=0.001, momentum=0.9)
    x, losses = tensor(np.random.default_rng(1).standard_normal((4, 3, 8, 8)).astype(np.float32)), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(network(x))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def err_47() -> Witness:
    z = tensor(np.array([[3.0, -1.0, -2.0]]))  # they add up to 0
    by_hand = _soft_cross_entropy(z, z).item()
    with np.errstate(over="ignore", invalid="ignore"):
        as_printed = _train(5, lambda outputs: _soft_cross_entropy(outputs, outputs))
    labels = np.random.default_rng(2).integers(0, 10, 4)
    proper = _train(8, lambda outputs: ops.cross_entropy(outputs, labels))
    finite = [loss for loss in as_printed if math.isfinite(loss)]
    return Witness(
        f"criterion(outputs, outputs) step by step: {listed(as_printed[:3], '.0e')}, then {as_printed[-1]}; "
        f"with labels it falls from {proper[0]:.1f} to {proper[-1]:.1f}",
        mistake=same(by_hand, -(3**2 + 1 + 2**2)) and min(finite) < -1e3 and not math.isfinite(as_printed[-1]),
        correct=all(0 < loss < 100 for loss in proper) and proper[-1] < proper[0],
    )


def err_48() -> Witness:
    rng = np.random.default_rng(0)
    logits, drawn = tensor(rng.standard_normal((64, 10))), rng.standard_normal((64, 10))
    refused = refusal(lambda: ops.cross_entropy(logits, drawn), (ShapeError, DtypeError))
    distributions = int(((drawn >= 0).all(1) & np.isclose(drawn.sum(1), 1)).sum())
    loss = ops.cross_entropy(logits, rng.integers(0, 10, 64)).item()
    return Witness(
        f"{refused.split(' [')[0]}; of 64 normal rows {distributions} are probabilities; with 64 class indices the "
        f"loss is {loss:.4f}",
        mistake=bool(refused) and distributions == 0,
        correct=math.isfinite(loss) and loss > 0,
    )


class _LayersInCall(Module):
    """What D4's TensorFlow network does: a layer in ``__init__``, and another one made in each call."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.conv1 = Conv2d(3, 4, 3, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        return Conv2d(3, 4, 3, rng=self.rng)(x)


def err_50() -> Witness:
    network, x = _LayersInCall(np.random.default_rng(0)), _images(1, 3, 5, 5)
    first, second = network(x), network(x)
    apart = distance(array(first), array(second))
    first.sum().backward()
    unused = network.conv1.weight.grad is None
    again = distance(array(network.conv1(x)), array(network.conv1(x)))
    network.conv1(x).sum().backward()
    return Witness(
        f"two calls with the same image differ by {apart:.2f}, and conv1 of __init__ gets {'no' if unused else 'a'} gradient; "
        f"two calls of conv1 itself differ by {again:g}",
        mistake=apart > 0.1 and unused,
        correct=again == 0 and network.conv1.weight.grad is not None,
    )


# --------------------------------------------------------------------------------------------- D5's encoder and decoder


def err_51() -> Witness:
    network, x = networks.SegmentationNetwork(np.random.default_rng(0)), _images(1, 3, 16, 13)
    as_printed = _scores(network, x).shape[2:]
    layers = [module for module in network.modules() if isinstance(module, ConvTranspose2d)]
    a = layers[0].output_padding[0]

    def decoded(H: int, a: int) -> int:
        H = H // 4
        for _ in layers:
            H = shapes.conv_transpose_size(H, 4, 2, 1, a, 1)
        return H

    sizes = {H: decoded(H, a) for H in range(4, 300)}
    unchanged = {H % 4 for H, out in sizes.items() if out == H}
    mask = np.zeros((1, 16, 13), int)
    refused = refusal(lambda: ops.cross_entropy(_scores(network, x), mask), ShapeError)
    for layer in layers:
        layer.output_padding = (0, 0)
    repaired = _scores(network, x).shape[2:]
    return Witness(
        f"256 px become {sizes[256]}, 32 become {sizes[32]}, 16x13 {'x'.join(map(str, as_printed))}; only 4n+3 px stay; "
        f"with output_padding=0 16x13 become {'x'.join(map(str, repaired))} and 256 {decoded(256, 0)}",
        mistake=all(out == 4 * (H // 4) + 3 for H, out in sizes.items())
        and unchanged == {3}
        and as_printed == (19, 15)
        and bool(refused),
        correct=repaired == (16, 12) and decoded(256, 0) == 256,
    )


def err_52() -> Witness:
    network = networks.SegmentationNetwork(np.random.default_rng(0))
    logits = _scores(network, _images(1, 3, 7, 7))
    labels = np.full((1, 7, 7), 5)
    refused = refusal(lambda: ops.cross_entropy(logits, labels), ArgumentError)
    setattr(network.decoder, "2", ConvTranspose2d(64, 6, 4, 2, 1, 1, rng=np.random.default_rng(0)))
    enough = _scores(network, _images(1, 3, 7, 7))
    return Witness(
        f"{refused.split(';')[0]}; with 6 channels the loss is {ops.cross_entropy(enough, labels).item():.4f}",
        mistake=logits.shape[1] == 3 and "label 5" in refused,
        correct=enough.shape[1] == 6,
    )


def err_53() -> Witness:
    network = networks.SegmentationNetwork(np.random.default_rng(0))
    kinds = [type(module) for module in network.decoder]
    outputs = _scores(network, _images(2, 3, 8, 8))
    sums = array(outputs).sum(1)
    probabilities = array(ops.softmax(outputs, 1)).sum(1)
    transposed, plain = kinds.count(ConvTranspose2d), kinds.count(Conv2d)
    described = any(isinstance(module, Softmax) for module in network.modules())
    return Witness(
        f"the decoder has {transposed} transposed convolutions and {plain} plain ones, no softmax: its outputs add up to "
        f"{sums.min():.2f} to {sums.max():.2f}; after softmax to {probabilities.min():.4f}",
        mistake=(transposed, plain, described) == (2, 0, False) and not same(sums, np.ones_like(sums), 0.01),
        correct=same(probabilities, np.ones_like(probabilities), 1e-6),
    )


# --------------------------------------------------------------------------------------------------------- and the rest


def err_56() -> Witness:
    rng = np.random.default_rng(0)
    logits = tensor(rng.standard_normal((64, 10)))
    refused = refusal(lambda: ops.cross_entropy(logits, rng.integers(0, 10, (64, 10))), ShapeError)
    loss = ops.cross_entropy(logits, rng.integers(0, 10, 64)).item()
    return Witness(
        f"{refused.split(' [')[0]}; with shape (64,) the loss is {loss:.4f}",
        mistake="got (64, 10)" in refused,
        correct=math.isfinite(loss) and loss > 0,
    )


def err_57() -> Witness:
    x = _images(1, 3, 32, 32)
    unseeded = [array(_scores(networks.ConvNet(), x)) for _ in range(2)]
    seeded = [array(_scores(networks.ConvNet(np.random.default_rng(0)), x)) for _ in range(2)]
    switched = [module for module in networks.ConvNet().modules() if isinstance(module, Dropout | BatchNorm2d)]
    return Witness(
        "two networks without a seed have different scores for one image, two of one seed differ by "
        f"{np.abs(seeded[0] - seeded[1]).max():g}; layers that eval() would switch: {len(switched)}",
        mistake=not np.array_equal(*unseeded),
        correct=np.array_equal(*seeded),
    )


def err_58() -> Witness:
    z = tensor(np.array([[9.0, *[0.0] * 9]]))
    label = np.array([0])
    twice = -ops.log_softmax(ops.softmax(z, 1), 1)[0, 0].item()
    once = ops.cross_entropy(z, label).item()
    floor = math.log(math.e + 9) - 1
    return Witness(
        f"ten classes, a right answer of probability {array(ops.softmax(z, 1)).max():.4f}: from its softmax the loss "
        f"is {twice:.4f} (floor {floor:.4f}), from its logits {once:.4f}",
        mistake=twice > floor > 1,
        correct=once < 0.01 and same(once, -math.log(array(ops.softmax(z, 1))[0, 0])),
    )
