"""Softmax and its logarithm: scores along one axis become probabilities that sum to 1."""

from minseg.autograd import Function, Tensor
from minseg.implements import implements
from minseg.ops.arguments import expect_tensor, integer


class Softmax(Function):
    equation = "act.softmax"

    def forward(self, x, *, axis):
        self.axis = axis
        y = self.kernels.softmax(x, axis)
        self.save(y=y)
        return y

    def backward(self, gy):
        return (self.kernels.softmax_grad_x(gy, self.saved.y, self.axis),)  # eq: act.softmax_grad


class LogSoftmax(Function):
    equation = "act.log_softmax"

    def forward(self, x, *, axis):
        self.axis = axis
        y = self.kernels.log_softmax(x, axis)
        self.save(y=y)
        return y

    def backward(self, gy):
        return (self.kernels.log_softmax_grad_x(gy, self.saved.y, self.axis),)  # eq: act.log_softmax_grad


@implements("act.softmax")
def softmax(x: Tensor, dim: int) -> Tensor:
    r"""Turn scores along one axis into probabilities.

    Equation ``act.softmax``
    ------------------------
    .. math::
        p_{k} = \frac{\exp(z_{k}-m)}{\sum_{j=0}^{K-1}\exp(z_{j}-m)}

    Parameters
    ----------
    x : Tensor, float, any shape
        z, scores (logits, in nats).
    dim : int
        The axis of the K classes: 1 for maps (N, K, H, W), which makes a distribution at every pixel. Negative ones count from
        the end.

    Returns
    -------
    Tensor
        p, probabilities in [0, 1] that sum to 1 along ``dim``, of the shape of x. m is the largest score: any m gives the same
        value, this one cannot overflow.

    Gradients
    ---------
    ``act.softmax_grad``: :math:`p(\bar p - \sum_j \bar p_j p_j)`.

    Raises
    ------
    ArgumentError
        ``softmax: axis 4 is not an axis of shape (2, 3) [act.softmax]``
    ArgumentError
        ``softmax: dim must be an integer, got None``
    DtypeError, BackendError
        If x is not float, or lives on another backend.

    Cost
    ----
    One exponential for each element; keeps the output.

    Source
    ------
    D4 section 3.3 (in the formula, absent in the code, ERR-18). Never before ``cross_entropy``, which takes logits: ERR-28.

    Examples
    --------
    >>> import minseg
    >>> softmax(minseg.tensor([[0.0, 0.0], [-1000.0, 1000.0]]), dim=1).data.tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    return Softmax.apply(expect_tensor(x, "softmax: x"), axis=integer(dim, "softmax: dim"))


@implements("act.log_softmax")
def log_softmax(x: Tensor, dim: int) -> Tensor:
    r"""Take the logarithm of softmax, without the underflow of doing so in two steps.

    Equation ``act.log_softmax``
    ----------------------------
    .. math::
        y_{k} = z_{k}-m-\log(\sum_{j=0}^{K-1}\exp(z_{j}-m))

    Parameters
    ----------
    x : Tensor, float, any shape
        z, scores (logits, in nats).
    dim : int
        The axis of the K classes: 1 for maps (N, K, H, W).

    Returns
    -------
    Tensor
        y <= 0, log-probabilities in nats, of the shape of x; m is the largest score.

    Gradients
    ---------
    ``act.log_softmax_grad``: :math:`\bar y - e^{y} \sum_j \bar y_j`.

    Raises
    ------
    ArgumentError
        ``log_softmax: dim must be an integer, got 1.0``; or if dim is not an axis of x.
    DtypeError, BackendError
        If x is not float, or lives on another backend.

    Cost
    ----
    One exponential for each element; keeps the output.

    Source
    ------
    D1 to D5, code (the first half of ``CrossEntropyLoss``, C-08).

    Examples
    --------
    >>> import minseg
    >>> log_softmax(minseg.tensor([0.0, 1000.0]), dim=0).data.tolist()
    [-1000.0, 0.0]
    """
    return LogSoftmax.apply(expect_tensor(x, "log_softmax: x"), axis=integer(dim, "log_softmax: dim"))
