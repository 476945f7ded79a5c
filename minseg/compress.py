"""Smaller networks: weights left out by magnitude, and weights (and what flows between layers) in eight bits.

Only weights, the parameters of two and more axes, are touched: biases and the scales of norms are few, and errors in them dear.
"""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy

from minseg import backend
from minseg.autograd import Tensor
from minseg.errors import ArgumentError, FileError, ShapeError
from minseg.explain.record import record
from minseg.inference import predict_logits
from minseg.nn import Module, instead
from minseg.weights import load_metadata, load_weights, save_weights

LOW, HIGH = -128, 127
"""What eight bits hold."""


def weights_of(model: Module) -> dict[str, np.ndarray]:
    """The parameters that are worth compressing, by name: those of two and more axes."""
    return {name: Tensor(p.data).numpy() for name, p in model.named_parameters() if len(p.shape) >= 2}


def _replace(model: Module, arrays: dict[str, np.ndarray]) -> None:
    """Put new arrays into the named parameters."""
    parameters = dict(model.named_parameters())
    for name, array in arrays.items():
        parameters[name].data = backend.current().asarray(array)


@dataclass(frozen=True)
class Counts:
    """How many numbers a model learns, and how many of them are not zero."""

    parameters: int
    nonzero: int
    weights: int
    """Those that pruning may take: all but biases and norms."""
    nonzero_weights: int


def count(model: Module) -> Counts:
    """Count the parameters of a model."""
    everything = [Tensor(p.data).numpy() for p in model.parameters()]
    weights = weights_of(model).values()
    return Counts(
        sum(a.size for a in everything),
        sum(int(np.count_nonzero(a)) for a in everything),
        sum(a.size for a in weights),
        sum(int(np.count_nonzero(a)) for a in weights),
    )


# --------------------------------------------------------------------------------------------------------------- pruning


def keep_large(w: np.ndarray, t: float) -> np.ndarray:
    r"""The weights of at least the threshold's magnitude; the others become zero.

    Equation ``prune.magnitude``
    ----------------------------
    .. math::
        y_{i} = w_{i}[|w_{i}| \ge t]

    >>> keep_large(np.array([0.8, -0.3, -1.2]), 0.5).tolist()
    [0.8, 0.0, -1.2]
    """
    return np.where(np.abs(w) >= t, w, w.dtype.type(0))  # eq: prune.magnitude


def threshold(weights: Iterable[np.ndarray], share: float) -> float:
    """The magnitude below which this share of the weights lies: the k-th smallest, k = round(share * count), counted from 0."""
    magnitudes = np.concatenate([np.abs(w).ravel() for w in weights])
    k = round(share * magnitudes.size)
    return float("inf") if k >= magnitudes.size else float(np.partition(magnitudes, k)[k])


def prune(model: Module, share: float, per_layer: bool = False) -> dict[str, np.ndarray]:
    """Set the smallest weights to zero.

    Parameters
    ----------
    model : Module
        Changed: its weights get new arrays.
    share : float
        How much to leave out, 0 to 1. Of equal magnitudes at the threshold all stay.
    per_layer : bool
        This share of each layer, instead of one threshold for all (which takes more from large layers).

    Returns
    -------
    dict of bool arrays
        Which weights stay, by name: for ``Masked``, which keeps the others zero while training goes on.
    """
    if not 0 <= share <= 1:
        raise ArgumentError(f"prune: the share to leave out must be 0 to 1, got {share}")
    weights = weights_of(model)
    if not weights:
        raise ArgumentError(f"prune: {type(model).__name__} has no weights of two or more axes")
    everywhere = None if per_layer else threshold(weights.values(), share)
    limits = {name: threshold([w], share) if per_layer else everywhere for name, w in weights.items()}
    _replace(model, {name: keep_large(w, limits[name]) for name, w in weights.items()})
    return {name: np.abs(w) >= limits[name] for name, w in weights.items()}


class Masked:
    """An optimiser whose steps leave pruned weights zero; in place of the one that it wraps, in a ``Trainer`` too.

    Parameters
    ----------
    optimizer : SGD, Adam or another
        Of the model's parameters.
    model : Module
    masks : dict of bool arrays
        What ``prune`` returned.
    """

    def __init__(self, optimizer, model: Module, masks: dict[str, np.ndarray]):
        weights = weights_of(model)
        for name, mask in masks.items():
            if name not in weights or mask.shape != weights[name].shape:
                has = weights[name].shape if name in weights else "no such weight"
                raise ShapeError(f"Masked: the mask of {name} is {mask.shape}, but the model has {has}")
        self.optimizer, self.model, self.masks = optimizer, model, masks

    @property
    def lr(self) -> float:
        """The learning rate."""
        return self.optimizer.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self.optimizer.lr = value

    @property
    def params(self) -> list[Tensor]:
        """The parameters that it updates."""
        return self.optimizer.params

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self.optimizer.zero_grad()

    def step(self) -> None:
        """Update all weights, then set the pruned ones back to zero (momentum and Adam move them even without a gradient)."""
        self.optimizer.step()
        weights = weights_of(self.model)
        zero = {name: w.dtype.type(0) for name, w in weights.items()}
        _replace(self.model, {name: np.where(mask, weights[name], zero[name]) for name, mask in self.masks.items()})

    def state_dict(self) -> dict[str, np.ndarray]:
        """The wrapped optimiser's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on with the wrapped optimiser's state."""
        self.optimizer.load_state_dict(state)


# ------------------------------------------------------------------------------------------------------------ eight bits


def quantize(x: np.ndarray, scale, zero_point=0) -> np.ndarray:
    r"""Numbers as steps of a scale, in eight bits.

    Equation ``quant.affine_int8``
    ------------------------------
    .. math::
        q = \min(127, \max(-128, \lfloor \frac{x}{s} + \frac{1}{2} \rfloor + z))

    Parameters
    ----------
    x : array, float
    scale : float or array that broadcasts
        s, the width of a step, above 0.
    zero_point : int or array that broadcasts
        z, the step that stands for 0.

    Returns
    -------
    int8 array

    >>> quantize(np.array([-0.26, 0.0, 0.24, 99.0]), 0.5).tolist()
    [-1, 0, 0, 127]
    """
    return np.clip(np.floor(x / scale + 0.5) + zero_point, LOW, HIGH).astype(np.int8)  # eq: quant.affine_int8


def dequantize(q: np.ndarray, scale, zero_point=0) -> np.ndarray:
    r"""The numbers that steps stand for, in the dtype of the scale; within half a step of what was quantised, if in range.

    Equation ``quant.dequantize``
    -----------------------------
    .. math::
        y = s(q-z)

    >>> dequantize(np.array([-1, 0, 127], np.int8), np.float32(0.5)).tolist()
    [-0.5, 0.0, 63.5]
    """
    scale = np.asarray(scale)
    return scale * (q.astype(scale.dtype) - np.asarray(zero_point, scale.dtype))  # eq: quant.dequantize


def symmetric_scale(w: np.ndarray, per_channel: bool = True) -> np.ndarray:
    r"""The step for which the largest weight of each output channel (the first axis), or of all, becomes 127.

    Equation ``quant.scale``
    ------------------------
    .. math::
        s_{o} = \frac{1}{127}\max_{i=0}^{I-1}|w_{o,i}|

    Returns
    -------
    array (O, 1, ..., 1), or () for one scale
        Of w's dtype; 1 where all weights are zero.
    """
    axes = tuple(range(1, w.ndim)) if per_channel else None
    s = np.abs(w).max(axis=axes, keepdims=per_channel) / w.dtype.type(HIGH)  # eq: quant.scale
    return np.where(s > 0, s, w.dtype.type(1))


def affine_scale(low: float, high: float) -> float:
    r"""The step with which 256 of them cover low to high, and 0 in any case.

    Equation ``quant.affine_scale``
    -------------------------------
    .. math::
        s = \frac{\max(0,b)-\min(0,a)}{255}

    Returns
    -------
    float
        1 where low and high are 0.
    """
    return (max(0.0, high) - min(0.0, low)) / (HIGH - LOW) or 1.0  # eq: quant.affine_scale


def zero_point(low: float, scale: float) -> int:
    r"""The step that stands for 0 when the lowest one, -128, stands for low.

    Equation ``quant.zero_point``
    -----------------------------
    .. math::
        z = \lfloor \frac{1}{2} - 128 - \frac{\min(0,a)}{s} \rfloor

    >>> zero_point(-1.0, affine_scale(-1.0, 1.55))
    -28
    """
    return math.floor(0.5 + LOW - min(0.0, low) / scale)  # eq: quant.zero_point


def fake_quantize(model: Module, per_channel: bool = True) -> float:
    """Round the model's weights to what eight bits can hold, still as floats: what an int8 network would compute.

    Parameters
    ----------
    model : Module
        Changed: its weights get new arrays.
    per_channel : bool
        A scale for each output channel; otherwise one for each tensor.

    Returns
    -------
    float
        The largest change of a weight.
    """
    weights = weights_of(model)
    rounded = {name: _through_int8(w, per_channel) for name, w in weights.items()}
    _replace(model, rounded)
    return max((float(np.abs(rounded[name] - w).max()) for name, w in weights.items()), default=0.0)


def _through_int8(w: np.ndarray, per_channel: bool) -> np.ndarray:
    scale = symmetric_scale(w, per_channel)
    return dequantize(quantize(w, scale), scale)


def activation_ranges(model: Module, images: Iterable[np.ndarray]) -> dict[str, tuple[float, float]]:
    """The least and the largest value that each innermost layer gives out on these preprocessed images (C, H, W)."""
    names = [name for name, module in model.named_modules() if name and not list(module.children())]
    ranges: dict[str, tuple[float, float]] = {}
    with record(model, *names) as seen:
        for image in images:
            predict_logits(model, image)
            for name, outputs in seen.items():
                values = [output.numpy() for output in outputs if isinstance(output, Tensor)]
                for value in values:
                    low, high = ranges.get(name, (np.inf, -np.inf))
                    ranges[name] = min(low, float(value.min())), max(high, float(value.max()))
                outputs.clear()
    return ranges


@contextlib.contextmanager
def fake_quantized_activations(model: Module, ranges: dict[str, tuple[float, float]]) -> Iterator[None]:
    """Inside this block each of these layers rounds what it gives out to 256 steps over its range. For prediction: no gradients."""
    modules = dict(model.named_modules())
    with contextlib.ExitStack() as blocks:
        for name, (low, high) in ranges.items():
            scale = affine_scale(low, high)
            blocks.enter_context(
                instead(modules[name], _rounding(modules[name].forward, scale, zero_point(low, scale)))
            )
        yield


def _rounding(forward: Callable, scale: float, z: int) -> Callable:
    """The same forward, its output rounded."""

    def rounded(*inputs, **options):
        x = forward(*inputs, **options).numpy()
        s = x.dtype.type(scale)
        return Tensor(backend.current().asarray(dequantize(quantize(x, s, z), s, z)))

    return rounded


# --------------------------------------------------------------------------------------------------------- int8 on disk

_SCALE = ".int8_scale"


@dataclass(frozen=True)
class Int8File:
    """What saving weights in eight bits gained and cost."""

    bytes_float: int
    """Of the safetensors file with all weights as they are."""
    bytes_int8: int
    largest_error: float
    """Of a weight."""
    relative_error: float
    """Root of the mean squared error of all weights, relative to that of the weights themselves."""


def save_int8(model: Module, path: str | os.PathLike, per_channel: bool = True) -> Int8File:
    """Write a model's weights as int8 with their scales, and the rest of its state as it is, into a safetensors file.

    Raises
    ------
    FileError
        If the file cannot be written; a former one is unharmed.
    """
    state, weights = model.state_dict(), weights_of(model)
    stored: dict[str, np.ndarray] = {}
    largest = squared_error = squared = 0.0
    for name, array in state.items():
        if name not in weights:
            stored[name] = array
            continue
        w = weights[name]
        scale = symmetric_scale(w, per_channel)
        stored[name], stored[name + _SCALE] = quantize(w, scale), scale
        error = (dequantize(stored[name], scale) - w).astype(np.float64)
        largest = max(largest, float(np.abs(error).max()))
        squared_error, squared = squared_error + float((error**2).sum()), squared + float((w.astype(float) ** 2).sum())
    save_weights(stored, path, {"int8": json.dumps(sorted(weights))})
    return Int8File(
        _size_as_floats(state),
        Path(path).stat().st_size,
        largest,
        (squared_error / squared) ** 0.5 if squared else 0.0,
    )


def _size_as_floats(state: dict[str, np.ndarray]) -> int:
    """The size of the state's safetensors file."""
    return len(safetensors.numpy.save({name: np.asarray(Tensor(a).numpy(), order="C") for name, a in state.items()}))


def load_int8(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read a file of ``save_int8`` as a state for ``load_state_dict``: weights back in floats.

    Raises
    ------
    FileError
        If it is missing, damaged, or was not written by ``save_int8``.
    """
    stored, metadata = load_weights(path), load_metadata(path)
    try:
        for name in json.loads(metadata["int8"]):
            stored[name] = dequantize(stored[name], stored.pop(name + _SCALE))
    except (KeyError, ValueError) as error:
        raise FileError(f"{path} does not hold int8 weights: {error}; save_int8 writes such files") from error
    return stored
