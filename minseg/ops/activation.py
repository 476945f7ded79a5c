"""Activations, element by element. Each derivative can be read off the output, so that the output is all that is kept."""

from minseg.autograd import Function, Tensor
from minseg.implements import implements
from minseg.ops.arguments import expect_tensor


class ReLU(Function):
    equation = "act.relu"

    def forward(self, x):
        y = self.kernels.relu(x)
        self.save(y=y)
        return y

    def backward(self, gy):
        return (self.kernels.relu_grad_x(gy, self.saved.y),)  # eq: act.relu_grad


class Sigmoid(Function):
    equation = "act.sigmoid"

    def forward(self, x):
        y = self.kernels.sigmoid(x)
        self.save(y=y)
        return y

    def backward(self, gy):
        return (self.kernels.sigmoid_grad_x(gy, self.saved.y),)  # eq: act.sigmoid_grad


class Tanh(Function):
    equation = "act.tanh"

    def forward(self, x):
        y = self.kernels.tanh(x)
        self.save(y=y)
        return y

    def backward(self, gy):
        return (self.kernels.tanh_grad_x(gy, self.saved.y),)  # eq: act.tanh_grad


@implements("act.relu")
def relu(x: Tensor) -> Tensor:
    r"""Cut negative values to zero.

    Equation ``act.relu``
    ---------------------
    .. math::
        a = \max(0, z)

    Parameters
    ----------
    x : Tensor, float, any shape
        z, a score without unit.

    Returns
    -------
    Tensor
        a in [0, inf), of the shape of x. NaN stays NaN.

    Gradients
    ---------
    ``act.relu_grad``: 1 where z > 0, else 0. The kink at z = 0 takes 0 by convention.

    Raises
    ------
    DtypeError
        ``relu: x must be float32 or float64, got int64 [act.relu]``
    BackendError
        If x lives on another backend.

    Cost
    ----
    One pass; keeps the output.

    Source
    ------
    D1 section 6.2, D3 question 3, D5 section 3.1.2 (W-15; not a binary output, ERR-22).

    Examples
    --------
    >>> import minseg
    >>> relu(minseg.tensor([-1.0, 0.0, 2.0])).data.tolist()
    [0.0, 0.0, 2.0]
    """
    return ReLU.apply(expect_tensor(x, "relu: x"))


@implements("act.sigmoid")
def sigmoid(x: Tensor) -> Tensor:
    r"""Squash scores into probabilities.

    Equation ``act.sigmoid``
    ------------------------
    .. math::
        a = \frac{1}{1+\exp(-z)}

    Parameters
    ----------
    x : Tensor, float, any shape
        z, a score (logit, in nats).

    Returns
    -------
    Tensor
        a, a probability in [0, 1], of the shape of x; 0 and 1 only by rounding.

    Gradients
    ---------
    ``act.sigmoid_grad``: a (1 - a), at most 1/4; it vanishes for large scores.

    Raises
    ------
    DtypeError
        ``sigmoid: x must be float32 or float64, got int64 [act.sigmoid]``
    BackendError
        If x lives on another backend.

    Cost
    ----
    One pass with an exponential; keeps the output.

    Source
    ------
    D1 section 6.2, D5 section 3.1.2 (W-15; not a binary output, ERR-22).

    Examples
    --------
    >>> import minseg
    >>> sigmoid(minseg.tensor([-1000.0, 0.0, 1000.0])).data.tolist()
    [0.0, 0.5, 1.0]
    """
    return Sigmoid.apply(expect_tensor(x, "sigmoid: x"))


@implements("act.tanh")
def tanh(x: Tensor) -> Tensor:
    r"""Squash scores into (-1, 1).

    Equation ``act.tanh``
    ---------------------
    .. math::
        a = \frac{\exp(z)-\exp(-z)}{\exp(z)+\exp(-z)}

    Parameters
    ----------
    x : Tensor, float, any shape
        z, a score without unit.

    Returns
    -------
    Tensor
        a in [-1, 1], of the shape of x; -1 and 1 only by rounding.

    Gradients
    ---------
    ``act.tanh_grad``: 1 - a^2; it vanishes for large scores.

    Raises
    ------
    DtypeError
        ``tanh: x must be float32 or float64, got int64 [act.tanh]``
    BackendError
        If x lives on another backend.

    Cost
    ----
    One pass with an exponential; keeps the output.

    Source
    ------
    D1 section 6.2, D5 section 3.1.2 (W-15; not a binary output, ERR-22).

    Examples
    --------
    >>> import minseg
    >>> [round(a, 4) for a in tanh(minseg.tensor([-1000.0, 1.0, 1000.0])).data.tolist()]
    [-1.0, 0.7616, 1.0]
    """
    return Tanh.apply(expect_tensor(x, "tanh: x"))
