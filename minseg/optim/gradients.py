"""Clipping: gradients that are too large are made smaller, between ``backward`` and ``step``. Names and arguments are PyTorch's."""

import math
from collections.abc import Iterable

from minseg import backend
from minseg.autograd import Tensor
from minseg.errors import ArgumentError, NonFiniteError


def clip_grad_norm_(parameters: Iterable[Tensor] | Tensor, max_norm: float) -> float:
    r"""Scale all gradients together, so that as one long vector they are at most ``max_norm`` long. Returns the norm before.

    Equation ``opt.clip_norm``
    --------------------------
    .. math::
        h_{i} = g_{i}\min(1, \frac{c}{\sqrt{\sum_{j=0}^{n-1}g_{j}^{2}}})

    The direction stays, so a step still goes downhill. (PyTorch adds 1e-6 to the norm that it divides by, for 0; here a clipped
    gradient has just the norm c.)

    Parameters
    ----------
    parameters : iterable of Tensors, or one
        Those without a gradient are passed over. New arrays are put in ``p.grad``; none is changed.
    max_norm : float
        :math:`c > 0`.

    Raises
    ------
    ArgumentError
        If ``max_norm`` is not a positive number.
    NonFiniteError
        If a gradient holds NaN or infinity: scaling would spread it to all weights.

    >>> import numpy as np
    >>> from minseg.autograd import Parameter
    >>> p = Parameter(np.zeros(2))
    >>> p.grad = np.array([3.0, 4.0])
    >>> clip_grad_norm_([p], 1.0), p.grad.round(2).tolist()
    (5.0, [0.6, 0.8])
    """
    _expect_positive("clip_grad_norm_: max_norm", max_norm)
    params = _with_gradient(parameters)
    norm = math.sqrt(sum(float((p.grad.astype("float64") ** 2).sum()) for p in params))
    if not math.isfinite(norm):
        raise NonFiniteError(
            f"clip_grad_norm_: the norm of the gradients is {norm}; a smaller learning rate may keep it finite"
        )
    if norm > max_norm:
        for p in params:
            p.grad = p.grad * p.dtype.type(max_norm / norm)  # eq: opt.clip_norm
    return norm


def clip_grad_norm_unseen_(parameters: Iterable[Tensor] | Tensor, max_norm: float) -> None:
    """``clip_grad_norm_`` for a device: nobody looks at the norm, which would be to wait until it is computed.

    So a norm that is NaN or infinite is no error here. It spreads to all gradients, and from them to the weights and the next loss:
    whoever trains must look at those later.

    >>> import numpy as np
    >>> from minseg.autograd import Parameter
    >>> p = Parameter(np.zeros(2))
    >>> p.grad = np.array([3.0, 4.0])
    >>> clip_grad_norm_unseen_([p], 1.0)
    >>> p.grad.round(2).tolist()
    [0.6, 0.8]
    """
    _expect_positive("clip_grad_norm_: max_norm", max_norm)
    params = _with_gradient(parameters)
    if params:
        xp = backend.current().xp
        norm = xp.sqrt(xp.stack([(p.grad.astype("float64") ** 2).sum() for p in params]).sum())
        factor = max_norm / xp.maximum(norm, max_norm)
        for p in params:
            p.grad = p.grad * factor.astype(p.dtype)  # eq: opt.clip_norm


def clip_grad_value_(parameters: Iterable[Tensor] | Tensor, clip_value: float) -> None:
    r"""Limit each element of each gradient to [-clip_value, clip_value].

    Equation ``opt.clip_value``
    ---------------------------
    .. math::
        h = \max(-c, \min(c, g))

    This bends the direction: what is clipped counts as much as what is just below. NaN stays NaN.

    Parameters
    ----------
    parameters : iterable of Tensors, or one
        As in ``clip_grad_norm_``.
    clip_value : float
        :math:`c > 0`.

    Raises
    ------
    ArgumentError
        If ``clip_value`` is not a positive number.

    >>> import numpy as np
    >>> from minseg.autograd import Parameter
    >>> p = Parameter(np.zeros(3))
    >>> p.grad = np.array([3.0, -4.0, 0.5])
    >>> clip_grad_value_([p], 1.0)
    >>> p.grad.tolist()
    [1.0, -1.0, 0.5]
    """
    _expect_positive("clip_grad_value_: clip_value", clip_value)
    xp = backend.current().xp
    for p in _with_gradient(parameters):
        p.grad = xp.clip(p.grad, p.dtype.type(-clip_value), p.dtype.type(clip_value))  # eq: opt.clip_value


def _with_gradient(parameters: Iterable[Tensor] | Tensor) -> list[Tensor]:
    params = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p for p in params if p.grad is not None]


def _expect_positive(what: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise ArgumentError(f"{what} must be a positive number, got {value!r}")
