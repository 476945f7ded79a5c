"""Optimisers: SGD with momentum, and Adam. The arithmetic is in the kernels; here are the state and the order of steps.

A step makes new arrays and puts them in ``p.data``; nothing is changed in place.
"""

import math
import numbers
from collections.abc import Iterable

import numpy as np

from minseg import backend
from minseg.autograd import Tensor
from minseg.errors import ArgumentError


class Optimizer:
    """What all optimisers share: the parameters, the learning rate, and the state of each parameter.

    ``lr`` may be set between steps (a schedule does so).
    """

    slots: tuple[str, ...] = ()
    """Names of the arrays that are kept for each parameter, beside the number of its updates."""

    def __init__(self, params: Iterable[Tensor], lr: float):
        self.params = list(params)
        self.lr = lr
        self.state: list[dict] = [{} for _ in self.params]
        if not self.params:
            raise ArgumentError(f"{type(self).__name__}: there are no parameters to train")
        for position, p in enumerate(self.params):
            if not isinstance(p, Tensor) or not p.requires_grad or p.node is not None:
                raise ArgumentError(
                    f"{type(self).__name__}: params must be leaf tensors that need gradients, such as module.parameters(); "
                    f"number {position} is {f'a Tensor {p.shape}' if isinstance(p, Tensor) else type(p).__name__}"
                )
        if len({id(p) for p in self.params}) < len(self.params):
            raise ArgumentError(
                f"{type(self).__name__}: a parameter appears twice, so it would be updated twice a step"
            )

    @property
    def lr(self) -> float:
        """The learning rate (eta)."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = self._number("lr", value, 0)

    def _number(self, name: str, value, low: float, below: float = math.inf) -> float:
        """The value as a float, if low <= value < below."""
        if not isinstance(value, numbers.Real) or not low <= value < below:
            limits = f"at least {low}" + (f" and below {below}" if below < math.inf else " and finite")
            raise ArgumentError(f"{type(self).__name__}: {name} must be {limits}, got {value!r}")
        return float(value)

    def zero_grad(self) -> None:
        """Forget all gradients: ``backward`` adds to them."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient; the others, and their state, stay as they are."""
        for p, state in zip(self.params, self.state):
            if p.grad is not None:
                state["step"] = state.get("step", 0) + 1
                self._update(p, state)

    def _update(self, p: Tensor, state: dict) -> None:
        """One step of one parameter. ``state`` keeps its arrays, and in "step" the number of this update."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, np.ndarray]:
        """What the steps so far have left behind, flat, as a safetensors file takes it: "0.step", "0.v", ... for each parameter.

        Hyper-parameters such as ``lr`` are not part of it: they are the arguments of the constructor.
        """
        return {
            f"{position}.{name}": np.asarray(value, np.int64) if name == "step" else value
            for position, state in enumerate(self.state)
            for name, value in state.items()
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on exactly where the optimiser was whose ``state_dict`` this is; ArgumentError, and no change, if it does not fit."""
        here = backend.current()
        loaded: list[dict] = [{} for _ in self.params]
        for key, value in state.items():
            position, _, name = key.partition(".")
            if not position.isdecimal() or int(position) >= len(self.params) or name not in ("step", *self.slots):
                raise ArgumentError(
                    f"{type(self).__name__}: the state has {key!r}, but expected are 0 to {len(self.params) - 1} with "
                    f"{', '.join(('step', *self.slots))}; it belongs to another optimiser or model"
                )
            p = self.params[int(position)]
            expected = ((), np.dtype(np.int64)) if name == "step" else (p.shape, p.dtype)
            if (value.shape, value.dtype) != expected:
                raise ArgumentError(
                    f"{type(self).__name__}: the state's {key} must be {expected[0]} {expected[1]}, got {value.shape} {value.dtype}"
                )
            loaded[int(position)][name] = int(value) if name == "step" else here.asarray(value).copy()
        for position, arrays in enumerate(loaded):
            if arrays and set(arrays) != {"step", *self.slots}:
                raise ArgumentError(
                    f"{type(self).__name__}: parameter {position} needs {', '.join(('step', *self.slots))}, "
                    f"but the state has {', '.join(arrays)}; it belongs to another optimiser or model"
                )
        self.state = loaded


class SGD(Optimizer):
    r"""Gradient descent on a random batch, with momentum: a ball that rolls downhill and keeps some of its speed.

    Equation ``opt.gd``
    -------------------
    .. math::
        T = \theta - \eta g

    Equation ``opt.momentum_v``
    ---------------------------
    .. math::
        V = \mu v + g

    Parameters
    ----------
    params : iterable of Tensors
        :math:`\theta`; ``module.parameters()``.
    lr : float
        :math:`\eta >= 0`. With momentum, :math:`\theta` moves by :math:`\eta V` in place of :math:`\eta g`. The rate stands outside
        V (C-05); Keras keeps it inside (C-06), which differs once the rate changes.
    momentum : float
        :math:`\mu`; 0 is plain gradient descent.
    dampening : float
        The gradient enters V times (1 - dampening), except at a parameter's first update, where V = g (as in PyTorch).
    weight_decay : float
        This much of :math:`\theta` is added to g: the gradient of L2 regularisation (W-16).
    nesterov : bool
        Move along :math:`g + \mu V`: look ahead by one step. Needs momentum and no dampening.

    Raises
    ------
    ArgumentError
        If a number is out of range, params are no leaves, or one appears twice.

    Cost
    ----
    Memory for one array of each parameter's size with momentum, none without.

    Source
    ------
    D1, D2 and D4 code (C-05); D2 question 3 (in words, W-14).

    Examples
    --------
    >>> import numpy as np
    >>> from minseg.autograd import Parameter
    >>> p = Parameter(np.array([1.0]))
    >>> p.grad = np.array([2.0])
    >>> SGD([p], lr=0.25).step()
    >>> p.data.tolist()
    [0.5]
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ):
        super().__init__(params, lr)
        self.momentum = self._number("momentum", momentum, 0)
        self.dampening = self._number("dampening", dampening, 0)
        self.weight_decay = self._number("weight_decay", weight_decay, 0)
        self.nesterov = nesterov
        self.slots = ("v",) if self.momentum else ()
        if nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ArgumentError(
                f"SGD: nesterov needs momentum above 0 and no dampening, got momentum={momentum}, dampening={dampening}"
            )

    def _update(self, p: Tensor, state: dict) -> None:
        kernels = backend.current()
        v = state["v"] if "v" in state else kernels.xp.zeros_like(p.data)
        dampening = self.dampening if "v" in state else 0.0  # the first V is g itself
        p.data, v = kernels.sgd_update(  # eq: opt.gd, opt.momentum_v
            p.data, p.grad, v, self.lr, self.momentum, dampening, self.weight_decay, self.nesterov
        )
        if self.momentum:
            state["v"] = v


class Adam(Optimizer):
    r"""Steps of about the size of the learning rate for each weight, whatever its gradient's size.

    Equation ``opt.adam``
    ---------------------
    .. math::
        T = \theta - \eta\frac{\hat{m}}{\sqrt{\hat{v}}+\epsilon}

    With :math:`m \leftarrow \beta_1 m + (1-\beta_1) g` and :math:`v \leftarrow \beta_2 v + (1-\beta_2) g^2`, both 0 at first;
    :math:`\hat{m} = m / (1-\beta_1^t)` and :math:`\hat{v} = v / (1-\beta_2^t)` at a parameter's update number t undo that start
    (C-07).

    Parameters
    ----------
    params : iterable of Tensors
        :math:`\theta`; ``module.parameters()``.
    lr : float
        :math:`\eta >= 0`, in units of the weights: about how far each moves in a step.
    betas : (float, float)
        :math:`\beta_1, \beta_2` in [0, 1): how slowly the averages of g and of its square forget.
    eps : float
        :math:`\epsilon >= 0`, in units of the gradient.
    weight_decay : float
        This much of :math:`\theta` is added to g, as in PyTorch's Adam. Unlike in SGD this is no pull towards 0 of that strength:
        the division by :math:`\sqrt{\hat{v}}` rescales it too (W-16).

    Raises
    ------
    ArgumentError
        If a number is out of range, params are no leaves, or one appears twice.

    Cost
    ----
    Memory for two arrays of each parameter's size.

    Source
    ------
    D3 and D5 code (C-07); Kingma and Ba, ICLR 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from minseg.autograd import Parameter
    >>> p = Parameter(np.array([1.0, 1.0]))
    >>> p.grad = np.array([1e-3, -1e3])
    >>> Adam([p], lr=0.125).step()
    >>> p.data.round(4).tolist()
    [0.875, 1.125]
    """

    slots = ("m", "v")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ):
        super().__init__(params, lr)
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ArgumentError(f"Adam: betas must be two numbers, got {betas!r}")
        self.betas = tuple(self._number("betas", beta, 0, below=1) for beta in betas)
        self.eps = self._number("eps", eps, 0)
        self.weight_decay = self._number("weight_decay", weight_decay, 0)

    def _update(self, p: Tensor, state: dict) -> None:
        kernels = backend.current()
        m = state["m"] if "m" in state else kernels.xp.zeros_like(p.data)
        v = state["v"] if "v" in state else kernels.xp.zeros_like(p.data)
        p.data, state["m"], state["v"] = kernels.adam_update(  # eq: opt.adam
            p.data, p.grad, m, v, state["step"], self.lr, *self.betas, self.eps, self.weight_decay
        )
