"""Losses as modules: the arguments are kept, the arithmetic is in ``minseg.ops.loss``. All but MSELoss take logits (raw scores)."""

from collections.abc import Sequence

import numpy as np

from minseg import backend, ops
from minseg.autograd import Tensor
from minseg.errors import ArgumentError
from minseg.nn.module import Module, ModuleList
from minseg.ops.arguments import choice

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
        if weight is not None:
            weight = weight.data if isinstance(weight, Tensor) else weight
            weight = backend.current().asarray(
                weight if hasattr(weight, "dtype") else np.asarray(weight, dtype=np.float32)
            )
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = choice(reduction, REDUCTIONS, "CrossEntropyLoss: reduction")

    def forward(self, z: Tensor, target) -> Tensor:
        return ops.cross_entropy(z, target, self.weight, self.ignore_index, self.reduction)


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
