"""Sequential and ModuleList; and ``feed``, which runs modules in turn and computes neighbours together where that is cheaper.

    BatchNorm2d, ReLU       ``ops.batch_norm_relu``: the map is read and written once, and none is kept for ReLU
    Conv2d, BatchNorm2d     in evaluation and without gradients: one convolution, with the normalisation in its kernels and bias
    Conv2d, ReLU            without gradients: ``ops.conv2d_relu``, also behind a normalisation that is in the convolution

Nothing else changes: the modules, their state and their names stay what they are. Only plain layers are joined, so whoever looks at
a layer's output (``minseg.explain.record`` puts another ``forward`` in its place) or writes a subclass finds it run by itself.
"""

from collections.abc import Iterable, Iterator

from minseg import ops
from minseg.autograd import Tensor, is_grad_enabled
from minseg.errors import ArgumentError
from minseg.implements import implements
from minseg.nn.layers import BatchNorm2d, Conv2d, ReLU
from minseg.nn.module import Module
from minseg.ops.norm import is_negative_somewhere


def feed(x, *modules: Module):
    """x through the modules, one after the other, each fed with the output of the one before.

    >>> import numpy as np
    >>> from minseg import tensor
    >>> feed(tensor(np.array([[[[-1.0, 3.0]]]], np.float32)), BatchNorm2d(1), ReLU()).data.round(2).ravel().tolist()
    [0.0, 1.0]
    """
    waiting = list(modules)
    while waiting:
        first, second = waiting.pop(0), waiting[0] if waiting else None
        if _is_plain(first, BatchNorm2d) and _is_plain(second, ReLU):
            waiting.pop(0)
            x = first.with_relu(x)
        elif _is_plain(first, Conv2d) and not _records(x, first.weight, first.bias):
            x = _convolve(x, first, waiting)
        else:
            x = first(x)
    return x


def _convolve(x, layer: Conv2d, waiting: list[Module]) -> Tensor:
    """x through the layer and those behind it that one convolution can do as well: they are taken off those that wait."""
    w, b, convolve = layer.weight, layer.bias, ops.conv2d
    if waiting and _is_plain(waiting[0], BatchNorm2d) and _can_fold(layer, waiting[0]):
        w, b = map(Tensor, fold_batch_norm(layer, waiting.pop(0)))
    if waiting and _is_plain(waiting[0], ReLU):
        waiting.pop(0)
        convolve = ops.conv2d_relu
    return convolve(x, w, b, layer.stride, layer.padding, layer.dilation, layer.groups)


@implements("norm.fold_weight")
def fold_batch_norm(convolution: Conv2d, norm: BatchNorm2d) -> tuple:
    r"""Kernels and bias of the one convolution that does what both do in evaluation.

    Equation ``norm.fold_weight``
    -----------------------------
    .. math::
        W_{o,c,p,q} = \frac{\gamma_{o}}{\sqrt{v_{o}+\epsilon}} w_{o,c,p,q}

    Equation ``norm.fold_bias``
    ---------------------------
    .. math::
        B_{o} = \frac{\gamma_{o}}{\sqrt{v_{o}+\epsilon}}(b_{o}-\mu_{o}) + \beta_{o}

    Parameters
    ----------
    convolution : Conv2d
        w and b, which may be missing; any groups, as each output channel is scaled by itself.
    norm : BatchNorm2d
        :math:`\gamma` and :math:`\beta`, which may be missing, and the running statistics :math:`\mu` and v.

    Returns
    -------
    (array (O, C/groups, R, S), array (O,))
        W and B: new arrays, made from those that the layers have now.
    """
    b, gamma, beta = (
        missing if p is None else p.data for p, missing in ((convolution.bias, 0), (norm.weight, 1), (norm.bias, 0))
    )
    factor = gamma / (norm.running_var + norm.eps) ** 0.5
    return (
        convolution.weight.data * factor[:, None, None, None],  # eq: norm.fold_weight
        (b - norm.running_mean) * factor + beta,  # eq: norm.fold_bias
    )


def _records(*tensors: Tensor | None) -> bool:
    """Whether an operation on them is recorded for gradients."""
    return is_grad_enabled() and any(getattr(t, "requires_grad", False) for t in tensors)


def _can_fold(convolution: Conv2d, norm: BatchNorm2d) -> bool:
    """Whether folding changes nothing but roundings. What is in error is left to the layers, which say so."""
    if norm.training or convolution.out_channels != norm.num_features or _records(norm.weight, norm.bias):
        return False
    arrays = convolution.weight, convolution.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var
    alike = len({a.dtype for a in arrays if a is not None}) == 1
    return alike and not is_negative_somewhere(norm.running_var)


def _is_plain(module: Module | None, layer: type[Module]) -> bool:
    """Whether it is this layer itself: no subclass, and with no other forward put in its place."""
    return type(module) is layer and "forward" not in vars(module)


class Sequential(Module):
    """Modules one after the other, each fed with the output of the one before.

    >>> from minseg import nn
    >>> nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=4, out_features=2, bias=True)
    )
    """

    def __init__(self, *modules: Module):
        _number(self, modules)

    def forward(self, x):
        return feed(x, *self.children())

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> Module:
        chosen = list(self.children())[index]
        return Sequential(*chosen) if isinstance(index, slice) else chosen


class ModuleList(Module):
    """A list of modules that belong to the module whose attribute it is (those in a plain list would not)."""

    def __init__(self, modules: Iterable[Module] = ()):
        _number(self, modules)

    def append(self, module: Module) -> "ModuleList":
        _number(self, [module], start=len(self))
        return self

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> "Module | ModuleList":
        chosen = list(self.children())[index]
        return ModuleList(chosen) if isinstance(index, slice) else chosen


def _number(parent: Module, modules: Iterable[Module], start: int = 0) -> None:
    """Make the modules attributes '0', '1', ... of their parent."""
    for position, module in enumerate(modules, start):
        if not isinstance(module, Module):
            raise ArgumentError(f"{type(parent).__name__}: expected modules, got {type(module).__name__} at {position}")
        setattr(parent, str(position), module)
