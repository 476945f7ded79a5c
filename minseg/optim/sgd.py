"""Gradient descent: one rate for all weights. Plain, with momentum in either of its two conventions, and with Nesterov's."""

from collections.abc import Iterable

from minseg import backend
from minseg.autograd import Tensor
from minseg.errors import ArgumentError
from minseg.optim.optimizer import Optimizer


class SGD(Optimizer):
    r"""Gradient descent on a random batch, with momentum: a ball that rolls downhill and keeps some of its speed.

    With a batch that is the whole data set, and no momentum, this is plain gradient descent (GD).

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
        V (C-05); ``KerasSGD`` keeps it inside (C-06), which differs once the rate changes.
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

    def _update(self, p, g, *slots, step: int) -> tuple:
        kernels = backend.current()
        v = slots[0] if self.momentum else kernels.xp.zeros_like(p)
        dampening = self.dampening if self.momentum and step > 1 else 0.0  # the first V is g itself
        return kernels.sgd_update(  # eq: opt.gd, opt.momentum_v
            p, g, v, self.lr, self.momentum, dampening, self.weight_decay, self.nesterov
        )


class KerasSGD(Optimizer):
    r"""Gradient descent with momentum as Keras and TensorFlow have it: the learning rate is part of the velocity.

    Equation ``opt.momentum_tf``
    ----------------------------
    .. math::
        V = \mu v - \eta g

    Equation ``opt.momentum_tf_step``
    ---------------------------------
    .. math::
        T = \theta + V

    While the rate is constant, these are the steps of ``SGD``. When it falls, what is in V already keeps its old rate and fades
    with :math:`\mu` only; in ``SGD`` the new rate holds at once for all of V (C-05, C-06).

    Parameters
    ----------
    params : iterable of Tensors
        :math:`\theta`; ``module.parameters()``.
    lr : float
        :math:`\eta >= 0`.
    momentum : float
        :math:`\mu`.
    weight_decay : float
        This much of :math:`\theta` is added to g, as in ``SGD`` (Keras's own option of that name acts as in ``AdamW``).
    nesterov : bool
        Move by :math:`\mu V - \eta g` (``opt.momentum_tf_nesterov``). Needs momentum.

    Raises
    ------
    ArgumentError
        If a number is out of range, params are no leaves, or one appears twice.

    Cost
    ----
    Memory for one array of each parameter's size with momentum, none without; one more pass over the gradient than ``SGD``.

    Source
    ------
    D4 section 4.2, code (C-06); ``SGD`` is C-05.

    Examples
    --------
    >>> import numpy as np
    >>> from minseg.autograd import Parameter
    >>> one, other = Parameter(np.array([0.0])), Parameter(np.array([0.0]))
    >>> torch_like, keras_like = SGD([one], 1.0, momentum=0.5), KerasSGD([other], 1.0, momentum=0.5)
    >>> for rate in (1.0, 0.0):  # after one step, the rate falls to 0
    ...     one.grad = other.grad = np.array([1.0])
    ...     torch_like.lr = keras_like.lr = rate
    ...     torch_like.step(), keras_like.step()
    (None, None)
    (None, None)
    >>> one.item(), other.item()
    (-1.0, -1.5)
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.01,
        momentum: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ):
        super().__init__(params, lr)
        self.momentum = self._number("momentum", momentum, 0)
        self.weight_decay = self._number("weight_decay", weight_decay, 0)
        self.nesterov = nesterov
        self.slots = ("v",) if self.momentum else ()
        if nesterov and self.momentum == 0:
            raise ArgumentError(f"KerasSGD: nesterov needs momentum above 0, got momentum={momentum}")

    def _update(self, p, g, *slots, step: int) -> tuple:
        """The kernel's V = mu v + g and p - lr V, with -lr g for its g and -1 for its lr."""
        kernels = backend.current()
        v = slots[0] if self.momentum else kernels.xp.zeros_like(p)
        scaled, decay = g * p.dtype.type(-self.lr), -self.lr * self.weight_decay
        return kernels.sgd_update(  # eq: opt.momentum_tf, opt.momentum_tf_step
            p, scaled, v, -1.0, self.momentum, 0.0, decay, self.nesterov
        )
