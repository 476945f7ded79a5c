"""Optimisers with a rate for each weight, from the size of its own gradients: RMSprop, Adam, AdamW."""

from collections.abc import Iterable

from minseg import backend
from minseg.autograd import Tensor
from minseg.errors import ArgumentError
from minseg.optim.optimizer import Optimizer


class RMSprop(Optimizer):
    r"""Divide each gradient by the root of the mean square of those before it, so that no weight runs and none creeps.

    Equation ``opt.rmsprop_v``
    --------------------------
    .. math::
        V = \rho v + (1-\rho)g^{2}

    Equation ``opt.rmsprop``
    ------------------------
    .. math::
        T = \theta - \eta\frac{g}{\sqrt{V}+\epsilon}

    The mean square starts from 0 and nothing undoes that: the first step is :math:`1/\sqrt{1-\rho}` times as long as the rate, 10
    times with the default. Adam corrects it. PyTorch's options ``momentum`` and ``centered`` are left out.

    Parameters
    ----------
    params : iterable of Tensors
        :math:`\theta`; ``module.parameters()``.
    lr : float
        :math:`\eta >= 0`, in units of the weights.
    alpha : float
        :math:`\rho` in [0, 1), by PyTorch's name: how slowly the mean square forgets.
    eps : float
        :math:`\epsilon >= 0`, in units of the gradient.
    weight_decay : float
        This much of :math:`\theta` is added to g (W-16).

    Raises
    ------
    ArgumentError
        If a number is out of range, params are no leaves, or one appears twice.

    Cost
    ----
    Memory for one array of each parameter's size.

    Source
    ------
    D1 section 6, question 3 (in words); Hinton, lecture 6e, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from minseg.autograd import Parameter
    >>> p = Parameter(np.array([1.0, 1.0]))
    >>> p.grad = np.array([1e-3, -1e3])
    >>> RMSprop([p], lr=0.125, alpha=0.75).step()
    >>> p.data.round(4).tolist()
    [0.75, 1.25]
    """

    slots = ("v",)

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
    ):
        super().__init__(params, lr)
        self.alpha = self._number("alpha", alpha, 0, below=1)
        self.eps = self._number("eps", eps, 0)
        self.weight_decay = self._number("weight_decay", weight_decay, 0)

    def _update(self, p, g, v, *, step: int) -> tuple:
        kernels = backend.current()
        return kernels.rmsprop_update(
            p, g, v, self.lr, self.alpha, self.eps, self.weight_decay
        )  # eq: opt.rmsprop, opt.rmsprop_v


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
        the division by :math:`\sqrt{\hat{v}}` rescales it too (W-16). ``AdamW`` pulls as told.

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
            raise ArgumentError(f"{type(self).__name__}: betas must be two numbers, got {betas!r}")
        self.betas = tuple(self._number("betas", beta, 0, below=1) for beta in betas)
        self.eps = self._number("eps", eps, 0)
        self.weight_decay = self._number("weight_decay", weight_decay, 0)

    def _update(self, p, g, m, v, *, step: int) -> tuple:
        kernels = backend.current()
        return kernels.adam_update(p, g, m, v, step, self.lr, *self.betas, self.eps, self.weight_decay)  # eq: opt.adam


class AdamW(Adam):
    r"""Adam with a weight decay of its own: every weight shrinks by the same share, however large its gradients are.

    Equation ``opt.adamw``
    ----------------------
    .. math::
        T = (1-\eta\lambda)\theta - \eta\frac{\hat{m}}{\sqrt{\hat{v}}+\epsilon}

    Parameters
    ----------
    params : iterable of Tensors
        :math:`\theta`; ``module.parameters()``.
    lr, betas, eps
        As in ``Adam``.
    weight_decay : float
        :math:`\lambda \ge 0`: the share of each weight that a step takes away is the learning rate times this. The averages m and v
        never see it, unlike in ``Adam``, where the weights with large gradients are hardly decayed at all.

    Raises
    ------
    ArgumentError
        If a number is out of range, params are no leaves, or one appears twice.

    Cost
    ----
    As Adam, and one more pass over the parameters.

    Source
    ------
    Loshchilov and Hutter, ICLR 2019; ``Adam`` is C-07.

    Examples
    --------
    >>> import numpy as np
    >>> from minseg.autograd import Parameter
    >>> p = Parameter(np.array([1.0, 1.0]))
    >>> p.grad = np.array([1e-3, -1e3])
    >>> AdamW([p], lr=0.125, weight_decay=0.5).step()  # both shrink to 0.9375 first
    >>> p.data.round(4).tolist()
    [0.8125, 1.0625]
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(self, p, g, m, v, *, step: int) -> tuple:
        shrunk = p * p.dtype.type(1 - self.lr * self.weight_decay)
        return backend.current().adam_update(
            shrunk, g, m, v, step, self.lr, *self.betas, self.eps, 0.0
        )  # eq: opt.adamw
