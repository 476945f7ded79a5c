"""Losses as modules, sums of them by name, and penalties on the weights.

The arguments are kept here, the arithmetic is in ``minseg.ops.loss``. All but MSELoss take logits (raw scores).
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from minseg import backend, ops
from minseg.autograd import Tensor, where
from minseg.errors import ArgumentError, nearest_names
from minseg.nn.containers import ModuleList
from minseg.nn.module import Module
from minseg.ops.arguments import choice
from minseg.ops.loss import masked_binary_cross_entropy, one_hot

REDUCTIONS = ("mean", "sum", "none")


class CrossEntropyLoss(Module):
    """``ops.cross_entropy``: logits (N, K, H, W) and labels (N, H, W).

    Parameters
    ----------
    weight : array (K,), optional
        A weight for each class; a buffer, so it is part of the state and follows ``to``.
    ignore_index : int
        Pixels with this label do not count: 255 as in PASCAL VOC (PyTorch's default is -100).
    reduction : {"mean", "sum", "none"}
    """

    def __init__(self, weight=None, ignore_index: int = 255, reduction: str = "mean"):
        self.register_buffer("weight", _array_or_none(weight))
        self.ignore_index = ignore_index
        self.reduction = choice(reduction, REDUCTIONS, "CrossEntropyLoss: reduction")

    def forward(self, z: Tensor, target) -> Tensor:
        return ops.cross_entropy(z, target, self.weight, self.ignore_index, self.reduction)


class FocalLoss(Module):
    """``ops.focal_loss``: logits (N, K, H, W) and labels (N, H, W); the weights alpha (K,) are a buffer."""

    def __init__(self, gamma: float = 2.0, alpha=None, ignore_index: int = 255, reduction: str = "mean"):
        self.gamma = gamma
        self.register_buffer("alpha", _array_or_none(alpha))
        self.ignore_index = ignore_index
        self.reduction = choice(reduction, REDUCTIONS, "FocalLoss: reduction")

    def forward(self, z: Tensor, target) -> Tensor:
        return ops.focal_loss(z, target, self.gamma, self.alpha, self.ignore_index, self.reduction)


def _array_or_none(weight):
    """Class weights as an array of the backend, float32 if they are plain numbers."""
    if weight is None:
        return None
    weight = weight.data if isinstance(weight, Tensor) else weight
    return backend.current().asarray(weight if hasattr(weight, "dtype") else np.asarray(weight, dtype=np.float32))


class BCEWithLogitsLoss(Module):
    """``ops.binary_cross_entropy_with_logits``: logits and targets of one shape."""

    def __init__(self, reduction: str = "mean", ignore_index: int = 255):
        self.reduction = choice(reduction, REDUCTIONS, "BCEWithLogitsLoss: reduction")
        self.ignore_index = ignore_index

    def forward(self, z: Tensor, target) -> Tensor:
        return ops.binary_cross_entropy_with_logits(z, target, self.reduction, self.ignore_index)


class MSELoss(Module):
    """``ops.mse_loss``: predictions and targets of one shape."""

    def __init__(self, reduction: str = "mean"):
        self.reduction = choice(reduction, REDUCTIONS, "MSELoss: reduction")

    def forward(self, a: Tensor, target) -> Tensor:
        return ops.mse_loss(a, target, self.reduction)


class DiceLoss(Module):
    """``ops.dice_loss_with_logits``: logits (N, K, H, W) and labels (N, H, W); 1 minus the mean soft Dice of the classes."""

    def __init__(
        self,
        smooth: float = 1.0,
        ignore_index: int = 255,
        include_background: bool = True,
        reduction: str = "mean",
    ):
        self.smooth = smooth
        self.ignore_index = ignore_index
        self.include_background = include_background
        self.reduction = choice(reduction, ("mean", "none"), "DiceLoss: reduction")

    def forward(self, z: Tensor, target) -> Tensor:
        return ops.dice_loss_with_logits(
            z, target, self.smooth, self.ignore_index, self.include_background, self.reduction
        )


class JaccardLoss(Module):
    """``ops.jaccard_loss_with_logits``: logits (N, K, H, W) and labels (N, H, W); 1 minus the mean soft Jaccard of the classes."""

    def __init__(
        self,
        smooth: float = 1.0,
        ignore_index: int = 255,
        include_background: bool = True,
        reduction: str = "mean",
    ):
        self.smooth = smooth
        self.ignore_index = ignore_index
        self.include_background = include_background
        self.reduction = choice(reduction, ("mean", "none"), "JaccardLoss: reduction")

    def forward(self, z: Tensor, target) -> Tensor:
        return ops.jaccard_loss_with_logits(
            z, target, self.smooth, self.ignore_index, self.include_background, self.reduction
        )


class OneVsRestLoss(Module):
    """Binary cross-entropy of each class against all others: logits (N, K, H, W) and labels (N, H, W)."""

    def __init__(self, ignore_index: int = 255):
        self.ignore_index = ignore_index

    def forward(self, z: Tensor, target) -> Tensor:
        onehot, known, count = one_hot("OneVsRestLoss", "loss.bce_logits", z, target, self.ignore_index)
        return masked_binary_cross_entropy(z, onehot, known).sum() / (count * z.shape[1])


class BrierLoss(Module):
    """The squared error of the probabilities, over classes and labelled pixels: logits (N, K, H, W) and labels (N, H, W)."""

    def __init__(self, ignore_index: int = 255):
        self.ignore_index = ignore_index

    def forward(self, z: Tensor, target) -> Tensor:
        onehot, known, count = one_hot("BrierLoss", "loss.mse", z, target, self.ignore_index)
        p = ops.softmax(where(known, z, 0.0), dim=1)  # whatever an ignored logit is, NaN even
        difference = where(known, p - Tensor(onehot), 0.0)
        return (difference * difference).sum() / (count * z.shape[1])  # eq: loss.mse


class SumLoss(Module):
    """Several losses of the same prediction, added up with a weight for each: cross-entropy and Dice, say.

    >>> SumLoss([CrossEntropyLoss(), DiceLoss()], weights=[1.0, 0.5]).weights
    (1.0, 0.5)
    """

    def __init__(self, losses: Sequence[Module], weights: Sequence[float] | None = None):
        self.losses = ModuleList(losses)
        self.weights = (1.0,) * len(self.losses) if weights is None else tuple(weights)
        if len(self.losses) == 0 or len(self.weights) != len(self.losses):
            raise ArgumentError(
                f"SumLoss: needs losses and a weight for each, got {len(self.losses)} losses and {len(self.weights)} weights"
            )

    def forward(self, z: Tensor, target) -> Tensor:
        first, *rest = (loss(z, target) * weight for loss, weight in zip(self.losses, self.weights))
        return sum(rest, start=first)


# -------------------------------------------------------------------------------------------------------- sums by name

LOSSES: dict[str, Callable[..., Module]] = {
    "ce": CrossEntropyLoss,
    "focal": lambda weight=None: FocalLoss(alpha=weight),
    "dice": DiceLoss,
    "jaccard": JaccardLoss,
    "bce": OneVsRestLoss,
    "mse": BrierLoss,
}
"""The losses that ``parse_loss`` knows, all for logits (N, K, H, W) and labels (N, H, W) with 255 = ignore."""
WEIGHTED = ("ce", "focal")
"""Those that take a weight for each class."""


def parse_loss(text: str, weight=None) -> Module:
    """The loss of that name, or the sum of several, each with a factor where one is given.

    Parameters
    ----------
    text : str
        ``ce`` (cross-entropy), ``focal``, ``dice``, ``jaccard``, ``bce`` (each class against all others), ``mse`` (of the
        probabilities); or a sum such as ``ce+dice`` or ``ce+0.5*jaccard``.
    weight : array (K,), or K numbers, optional
        A weight for each class, for those that take one: ``ce`` and ``focal``.

    Raises
    ------
    ArgumentError
        If a name is unknown, a factor is no positive number, or none of the losses takes the weights.

    >>> loss = parse_loss("ce+0.5*dice")
    >>> [type(part).__name__ for part in loss.losses], loss.weights
    (['CrossEntropyLoss', 'DiceLoss'], (1.0, 0.5))
    """
    parts = [_factor_and_name(part.strip(), text) for part in text.split("+")]
    if weight is not None and not any(name in WEIGHTED for _, name in parts):
        raise ArgumentError(f"loss {text!r} takes no class weights; only {' and '.join(WEIGHTED)} do: add one of them")
    losses = [LOSSES[name](weight=weight) if name in WEIGHTED else LOSSES[name]() for _, name in parts]
    factors = [factor for factor, _ in parts]
    return losses[0] if factors == [1.0] else SumLoss(losses, factors)


def _factor_and_name(part: str, text: str) -> tuple[float, str]:
    found = re.fullmatch(r"(?:([\d.]+(?:[eE]-?\d+)?)\s*\*\s*)?(\w+)", part)
    if found is None or found[2] not in LOSSES:
        name = part if found is None else found[2]
        raise ArgumentError(f"unknown loss {name!r}{f' in {text!r}' * (name != text)}; {nearest_names(name, LOSSES)}")
    try:
        factor = float(found[1] or 1)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise ArgumentError(f"loss {text!r}: {found[1]} must be a positive number")
    return factor, found[2]


# ----------------------------------------------------------------------------------------------------------- penalties


def l1_penalty(parameters: Iterable[Tensor], strength: float) -> Tensor:
    r"""What L1 regularisation adds to a loss: the sum of the magnitudes. Drives small weights to exactly 0.

    Equation ``reg.l1``
    -------------------
    .. math::
        R = L + \lambda\sum_{i=0}^{n-1}|\theta_{i}|

    Parameters
    ----------
    parameters : iterable of Tensors
        :math:`\theta`; ``module.parameters()``, or only the weights of convolutions: biases are usually left free.
    strength : float
        :math:`\lambda \ge 0`.

    >>> from minseg.autograd import Parameter
    >>> l1_penalty([Parameter(np.array([3.0, -1.0]))], 0.5).item()
    2.0
    """
    return _penalty("l1_penalty", parameters, strength, lambda p: p.abs().sum())  # eq: reg.l1


def l2_penalty(parameters: Iterable[Tensor], strength: float) -> Tensor:
    r"""What L2 regularisation adds to a loss: half the sum of the squares. Draws all weights towards 0, large ones most.

    Equation ``reg.l2``
    -------------------
    .. math::
        R = L + \frac{\lambda}{2}\sum_{i=0}^{n-1}\theta_{i}^{2}

    In ``SGD`` the same as ``weight_decay``, which costs less (``opt.weight_decay``).

    Parameters
    ----------
    parameters, strength
        As in ``l1_penalty``.

    >>> from minseg.autograd import Parameter
    >>> l2_penalty([Parameter(np.array([3.0, -1.0]))], 0.5).item()
    2.5
    """
    return _penalty("l2_penalty", parameters, strength, lambda p: (p * p).sum() / 2)  # eq: reg.l2


def _penalty(name: str, parameters: Iterable[Tensor], strength: float, size_of: Callable[[Tensor], Tensor]) -> Tensor:
    if not 0 <= strength < math.inf:
        raise ArgumentError(f"{name}: strength must be at least 0 and finite, got {strength}")
    sizes = [size_of(p) for p in parameters]
    if not sizes:
        raise ArgumentError(f"{name}: there are no parameters to penalise")
    return sum(sizes[1:], start=sizes[0]) * strength
