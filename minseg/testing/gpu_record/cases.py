"""What is timed on a GPU: every kernel and every rung on maps of 64 MB, convolutions at a U-Net's depths, attention, and a U-Net's
training step.

A case is only made when its turn comes: its arrays are large, and a run that goes on after one that failed skips those before.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from minseg import backend
from minseg.kernels.cuda.device import Device
from minseg.kernels.spec import PRIMITIVES
from minseg.testing.bench import primitives
from minseg.testing.bench.measuring import Case, Work
from minseg.testing.bench.networks import Network, times

PRODUCTS = (
    *("conv2d", "conv2d_relu", "conv2d_grad_x", "conv2d_grad_w", "conv_transpose2d"),
    *("linear", "linear_grad_x", "linear_grad_w"),
    *("attention", "attention_grad"),
)
"""What arithmetic bounds. (The gradient for the bias of either is a sum, which memory bounds.)"""

TWICE = {"batch_norm_grad": (0, 1), "batch_norm_relu_grad": (0, 1)}
"""Positions of arguments that must be read twice: no pixel's gradient is known before sums over all pixels are."""

UNREAD = {"dice_sums_grad_p": (1,)}
"""Positions of arguments of which only the shape matters."""


@dataclass(frozen=True)
class Sizes:
    """How large everything is. ``maps`` is (N, C, H): images of H x H pixels."""

    maps: tuple[int, int, int]  # for every kernel ...
    deep: tuple[tuple[int, int, int], ...]  # ... and for convolutions deeper in a U-Net
    pairs: tuple[tuple[int, int, int, int], ...]  # (B, M, N, d) of attention
    parameters: int
    tokens: int
    network: tuple[int, int, int, int]
    copy: int  # bytes
    product: int  # rows of square matrices
    warm: float  # seconds
    least: float  # seconds that are timed together


SIZES = {
    # Maps, parameters and tokens of 64 MB: too much for the caches of most cards, and as much as the copy beside them moves.
    "large": Sizes(
        maps=(16, 16, 256),
        deep=((16, 32, 128), (16, 64, 64), (16, 128, 32)),
        # A SegFormer's first stage, whose keys are pooled; and all tokens with all.
        pairs=((8, 16384, 256, 32), (8, 4096, 4096, 64)),
        parameters=1 << 24,
        tokens=1 << 18,
        network=(16, 3, 256, 256),
        copy=64 << 20,
        product=4096,
        warm=0.02,
        least=0.005,
    ),
    "tiny": Sizes((1, 4, 16), ((1, 4, 8),), ((2, 6, 5, 4),), 64, 8, (1, 3, 16, 16), 1 << 10, 16, 0.0, 0.0),
}


@dataclass(frozen=True)
class Planned:
    """A case to be made on a device, named with the shape of its maps."""

    title: str
    make: Callable[[Device], Case]


def planned(sizes: Sizes) -> list[Planned]:
    """All cases in their order."""
    convolutions = ("conv2d", "conv2d_grad_x", "conv2d_grad_w")
    attention = tuple(name for name, primitive in PRIMITIVES.items() if primitive.family == "attention")
    return [
        *_on_maps(sizes.maps, sizes, tuple(name for name in PRIMITIVES if name not in attention)),
        *(case for maps in sizes.deep for case in _on_maps(maps, sizes, convolutions)),
        *(case for pairs in sizes.pairs for case in _on_pairs(pairs, attention)),
        *(Planned(f"{case.name} {case.shape}", lambda _, case=case: case) for case in _networks(sizes)),
    ]


def _on_maps(maps: tuple[int, int, int], sizes: Sizes, names: tuple[str, ...]) -> Iterator[Planned]:
    whole = maps == sizes.maps
    options = {"parameters": sizes.parameters, "tokens": sizes.tokens} if whole else {"parameters": 1, "tokens": 1}
    N, C, H = maps
    arrays = partial(primitives.Arrays, *maps, classes=C, pairs=(1, 1, 1, 1), **options)
    return _kernels(names, times((N, C, H, H)), cache(arrays))


def _on_pairs(pairs: tuple[int, int, int, int], names: tuple[str, ...]) -> Iterator[Planned]:
    arrays = partial(primitives.Arrays, 1, 1, 2, parameters=1, tokens=1, pairs=pairs)
    return _kernels(names, times(pairs), cache(arrays))


def _kernels(names: tuple[str, ...], shape: str, arrays: Callable) -> Iterator[Planned]:
    """Each primitive as the backend chooses to compute it, and by each of its rungs."""
    for name in names:
        for rung in (None, *primitives.variants(PRIMITIVES[name])):
            called = name if rung is None else f"{name} [{rung}]"
            yield Planned(f"{called} {shape}", partial(_kernel, called, name, rung, arrays))


def _kernel(called: str, name: str, rung: str | None, arrays: Callable, device: Device) -> Case:
    a = arrays()
    with backend.use_backend("numba"):  # some arguments are other kernels' results
        host = primitives.ARGUMENTS[name](a)
    call = getattr(backend.current(), name) if rung is None else primitives.variants(PRIMITIVES[name])[rung]
    work = cache(lambda: partial(call, *(device.xp.asarray(v) if isinstance(v, np.ndarray) else v for v in host)))
    flops = primitives.flops(name, a)
    return Case(
        "products" if name in PRODUCTS else "memory",
        called,
        times(host[0].shape),
        work,
        partial(primitives.PEERS[name], a) if rung is None and name in primitives.PEERS else None,
        flops,
        None if flops else least_bytes(name, work()),
    )


def least_bytes(name: str, work: partial) -> float:
    """How much a kernel must move at the least: each array that it is given once (but see above), and each that it makes."""
    results = work()
    made = results if isinstance(results, tuple) else (results,)
    given = [*work.args, *(work.args[k] for k in TWICE.get(name, ()))]
    spared = [work.args[k] for k in UNREAD.get(name, ())]
    given, made, spared = (sum(getattr(array, "nbytes", 0) for array in some) for some in (given, made, spared))
    return float(given + made - spared)


def _networks(sizes: Sizes) -> list[Case]:
    """A U-Net's training step and its use. The twin is made on the host."""
    network = Network(batch=sizes.network)
    cases = network.training_case(), network.inference_case()
    return [replace(case, peer=partial(_on_host, case.peer)) for case in cases]


def _on_host(make: Callable[[], dict[str, Work]]) -> dict[str, Work]:
    with backend.use_backend("numpy"):
        return make()
