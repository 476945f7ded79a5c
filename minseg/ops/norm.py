"""Batch normalisation: state in, state out; instance and layer normalisation, which have no state.

No array is changed in place. ``batch_norm_training`` normalises with the batch's own statistics and hands them back,
``batch_norm_eval`` normalises with given ones, and ``running_statistics`` moves the running ones towards the batch's: new arrays,
which the caller keeps. ``batch_norm`` is the three together and always returns ``(y, running_mean, running_var)``:

    y, self.running_mean, self.running_var = batch_norm(x, self.running_mean, self.running_var, weight, bias, self.training)

``batch_norm_relu`` is ``relu`` of it, computed together; ``nn.Sequential`` uses it where the two layers stand side by side.
``instance_norm`` and ``layer_norm`` are batch normalisation of a reshaped x: what is normalised together becomes one channel.
"""

import math

import numpy as np

from minseg import backend
from minseg.autograd import Function, Tensor, broadcast_to, common
from minseg.errors import ArgumentError, DtypeError, ShapeError
from minseg.implements import implements
from minseg.ops.arguments import expect_tensor, integer, optional_tensor


class BatchNormTraining(Function):
    equation = "norm.batch"

    def forward(self, x, weight, bias, *, eps):
        self.eps = eps
        mean, var = self.kernels.batch_norm_stats(x)  # eq: norm.batch_mean
        self.save(x=x, mean=mean, var=var, weight=weight)
        return self.kernels.batch_norm(x, mean, var, weight, bias, eps), mean, var

    def backward(self, gy):
        s = self.saved
        gradients = self.kernels.batch_norm_grad(gy, s.x, s.mean, s.var, s.weight, self.eps)  # eq: norm.batch_grad
        return tuple(g if needed else None for g, needed in zip(gradients, self.needs))


class BatchNormEval(Function):
    equation = "norm.batch"

    def forward(self, x, weight, bias, *, mean, var, eps):
        self.eps = eps
        self.save(x=x, mean=mean, var=var, weight=weight)
        return self.kernels.batch_norm(x, mean, var, weight, bias, eps)

    def backward(self, gy):
        s = self.saved
        gradients = self.kernels.batch_norm_eval_grad(
            gy, s.x, s.mean, s.var, s.weight, self.eps
        )  # eq: norm.batch_eval_grad
        return tuple(g if needed else None for g, needed in zip(gradients, self.needs))


class BatchNormReLUTraining(Function):
    equation = "norm.batch_relu"

    def forward(self, x, weight, bias, *, eps):
        self.eps = eps
        mean, var = self.kernels.batch_norm_stats(x)  # eq: norm.batch_mean
        self.save(x=x, mean=mean, var=var, weight=weight, bias=bias)
        return self.kernels.batch_norm_relu(x, mean, var, weight, bias, eps), mean, var

    def backward(self, gy):
        s = self.saved
        gradients = self.kernels.batch_norm_relu_grad(
            gy, s.x, s.mean, s.var, s.weight, s.bias, self.eps
        )  # eq: norm.batch_relu_grad
        return tuple(g if needed else None for g, needed in zip(gradients, self.needs))


class BatchNormReLUEval(Function):
    equation = "norm.batch_relu"

    def forward(self, x, weight, bias, *, mean, var, eps):
        self.eps = eps
        self.save(x=x, mean=mean, var=var, weight=weight, bias=bias)
        return self.kernels.batch_norm_relu(x, mean, var, weight, bias, eps)

    def backward(self, gy):
        s = self.saved
        gradients = self.kernels.batch_norm_relu_eval_grad(
            gy, s.x, s.mean, s.var, s.weight, s.bias, self.eps
        )  # eq: norm.batch_relu_eval_grad
        return tuple(g if needed else None for g, needed in zip(gradients, self.needs))


@implements("norm.batch")
def batch_norm_training(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Normalise each channel with the mean and variance of this batch.

    Equation ``norm.batch``
    -----------------------
    .. math::
        y_{n,c,i,j} = \gamma_{c}\frac{x_{n,c,i,j}-\mu_{c}}{\sqrt{v_{c}+\epsilon}} + \beta_{c}

    Parameters
    ----------
    x : Tensor (N, C, H, W), float
        At least two values for each channel: with one, x equals its mean and nothing is left.
    weight, bias : Tensor (C,), optional
        :math:`\gamma` and :math:`\beta`, in units of the output; 1 and 0 where left out.
    eps : float
        :math:`\epsilon > 0`, added to the variance, in unit(x) squared.

    Returns
    -------
    (Tensor (N, C, H, W), Tensor (C,), Tensor (C,))
        y; the mean :math:`\mu` (``norm.batch_mean``) and the biased variance v of each channel over samples and pixels. These two
        are constants: no gradient flows back through them.

    Gradients
    ---------
    ``norm.batch_grad``, for x, weight and bias; that for x includes the way through :math:`\mu` and v.

    Raises
    ------
    ShapeError
        ``batch_norm: training needs more than one value per channel, got x (1, 3, 1, 1); use a larger batch or
        evaluation mode [norm.batch]``;
        or if weight or bias do not have one value for each channel.
    ArgumentError
        ``batch_norm: eps must be a positive number, got 0 [norm.batch]``
    DtypeError, BackendError
        If dtypes or backends differ.

    Cost
    ----
    O(N C H W): two passes over x forward, two over x and the cotangent backward; keeps x.

    Source
    ------
    D3 question 3 (in words, W-18).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x = minseg.tensor(np.array([1.0, 3.0]).reshape(1, 1, 1, 2))
    >>> y, mean, var = batch_norm_training(x, eps=1e-12)
    >>> y.data.round(6).ravel().tolist(), mean.data.tolist(), var.data.tolist()
    ([-1.0, 1.0], [2.0], [1.0])
    """
    _check_training(x, weight, bias, eps)
    return BatchNormTraining.apply(x, weight, bias, eps=eps)


@implements("norm.batch")
def batch_norm_eval(
    x: Tensor, mean, var, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    r"""Normalise each channel with given, constant statistics.

    Equation ``norm.batch``
    -----------------------
    .. math::
        y_{n,c,i,j} = \gamma_{c}\frac{x_{n,c,i,j}-\mu_{c}}{\sqrt{v_{c}+\epsilon}} + \beta_{c}

    Parameters
    ----------
    x : Tensor (N, C, H, W), float
    mean, var : array or Tensor (C,)
        :math:`\mu` in unit(x) and v >= 0 in unit(x) squared: the running statistics of training. Constants.
    weight, bias : Tensor (C,), optional
        :math:`\gamma` and :math:`\beta`; 1 and 0 where left out.
    eps : float
        :math:`\epsilon > 0`, added to the variance.

    Returns
    -------
    Tensor (N, C, H, W)
        An affine map of each channel.

    Gradients
    ---------
    ``norm.batch_eval_grad``, for x, weight and bias.

    Raises
    ------
    ShapeError
        ``batch_norm: mean must have one value for each of the 3 channels of x (2, 3, 4, 4), got (2,)``; likewise var,
        weight, bias.
    ArgumentError
        ``batch_norm: a running variance is negative: -1.0 in channel 1 [norm.batch]``; or if eps is not positive.
    DtypeError, BackendError
        If dtypes or backends differ.

    Cost
    ----
    O(N C H W), one pass; keeps x where a gradient is needed.

    Source
    ------
    D3 question 3 (in words, W-18).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x = minseg.tensor(np.array([1.0, 3.0]).reshape(1, 1, 1, 2))
    >>> batch_norm_eval(x, np.array([1.0]), np.array([4.0]), eps=1e-12).data.round(6).ravel().tolist()
    [0.0, 1.0]
    """
    mean, var = _check_eval(x, mean, var, weight, bias, eps)
    return BatchNormEval.apply(x, weight, bias, mean=mean, var=var, eps=eps)


@implements("norm.running")
def running_statistics(running_mean, running_var, mean, var, count: int, momentum: float = 0.1):
    r"""Move the running statistics towards those of a batch.

    Equation ``norm.running``
    -------------------------
    .. math::
        R_{c} = (1-m)r_{c} + m b_{c}

    Parameters
    ----------
    running_mean, running_var : array (C,)
        r: what training has gathered so far.
    mean, var : array or Tensor (C,)
        The batch's mean and biased variance v. b is the mean itself, and for the variance the unbiased :math:`v\,n/(n-1)`, as in
        PyTorch.
    count : int
        n = N H W, the number of values that each statistic was taken of; at least 2.
    momentum : float
        The weight m of the new batch, 0 <= m <= 1 (PyTorch's meaning; elsewhere momentum is often 1 - m).

    Returns
    -------
    (array (C,), array (C,))
        R for the mean and for the variance: new arrays, those given stay as they are.

    Gradients
    ---------
    None: the statistics are constants.

    Raises
    ------
    ArgumentError
        ``batch_norm: momentum must lie in [0, 1], got 1.5 [norm.running]``
    ShapeError
        ``batch_norm: running statistics must have shape (3,), got (2,) and (3,) [norm.running]``
    DtypeError
        ``batch_norm: running statistics must be float32 like x, got float64 and float32; convert them [norm.running]``

    Cost
    ----
    O(C).

    Source
    ------
    D3 question 3 (in words, W-18); the unbiased variance is PyTorch's convention.

    Examples
    --------
    >>> import numpy as np
    >>> mean, var = running_statistics(np.zeros(1), np.ones(1), np.full(1, 2.0), np.full(1, 3.0), count=4, momentum=0.5)
    >>> mean.tolist(), var.tolist()
    ([1.0], [2.5])
    """
    if not 0 <= momentum <= 1:
        raise ArgumentError(f"batch_norm: momentum must lie in [0, 1], got {momentum} [norm.running]")
    running_mean, running_var, mean, var = map(_array, (running_mean, running_var, mean, var))
    if running_mean.shape != mean.shape or running_var.shape != mean.shape:
        raise ShapeError(
            f"batch_norm: running statistics must have shape {mean.shape}, got {running_mean.shape} and {running_var.shape} "
            "[norm.running]"
        )
    if running_mean.dtype != mean.dtype or running_var.dtype != mean.dtype:
        raise DtypeError(
            f"batch_norm: running statistics must be {mean.dtype} like x, got {running_mean.dtype} and {running_var.dtype}; "
            "convert them [norm.running]"
        )
    unbiased = var * (count / (count - 1))
    return (  # eq: norm.running
        (1 - momentum) * running_mean + momentum * mean,
        (1 - momentum) * running_var + momentum * unbiased,
    )


@implements("norm.batch")
def batch_norm(
    x: Tensor,
    running_mean,
    running_var,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
):
    r"""Normalise each channel, and return the running statistics beside it.

    Equation ``norm.batch``
    -----------------------
    .. math::
        y_{n,c,i,j} = \gamma_{c}\frac{x_{n,c,i,j}-\mu_{c}}{\sqrt{v_{c}+\epsilon}} + \beta_{c}

    Parameters
    ----------
    x : Tensor (N, C, H, W), float
    running_mean, running_var : array or Tensor (C,)
        What training has gathered so far; used for :math:`\mu` and v outside training. Never changed.
    weight, bias : Tensor (C,), optional
        :math:`\gamma` and :math:`\beta`; 1 and 0 where left out.
    training : bool
        True: :math:`\mu` and v are those of this batch, and the running ones move towards them.
    momentum : float
        How far they move, 0 <= momentum <= 1.
    eps : float
        :math:`\epsilon > 0`, added to the variance.

    Returns
    -------
    (Tensor (N, C, H, W), array (C,), array (C,))
        y and the running statistics: in training new arrays (``running_statistics``), else those given. PyTorch returns y
        alone and overwrites its arguments; here nothing is overwritten.

    Gradients
    ---------
    ``norm.batch_grad`` in training, ``norm.batch_eval_grad`` otherwise, for x, weight and bias.

    Raises
    ------
    ShapeError, ArgumentError, DtypeError, BackendError
        As ``batch_norm_training``, ``batch_norm_eval`` and ``running_statistics``.

    Cost
    ----
    O(N C H W).

    Source
    ------
    D3 question 3 (in words, W-18).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x = minseg.tensor(np.array([1.0, 3.0]).reshape(1, 1, 1, 2))
    >>> y, mean, var = batch_norm(x, np.zeros(1), np.ones(1), training=True, momentum=0.5, eps=1e-12)
    >>> y.data.round(6).ravel().tolist(), mean.tolist(), var.tolist()
    ([-1.0, 1.0], [1.0], [1.5])
    """
    if not training:
        y = batch_norm_eval(x, running_mean, running_var, weight, bias, eps)
        return y, _array(running_mean), _array(running_var)
    y, mean, var = batch_norm_training(x, weight, bias, eps)
    count = x.numel() // x.shape[1]
    return y, *running_statistics(running_mean, running_var, mean, var, count, momentum)


@implements("norm.batch_relu")
def batch_norm_relu(
    x: Tensor,
    running_mean,
    running_var,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
):
    r"""Normalise each channel and set negative values to 0, in one pass.

    Equation ``norm.batch_relu``
    ----------------------------
    .. math::
        y_{n,c,i,j} = \max\left(0, \gamma_{c}\frac{x_{n,c,i,j}-\mu_{c}}{\sqrt{v_{c}+\epsilon}} + \beta_{c}\right)

    Parameters
    ----------
    x : Tensor (N, C, H, W), float
    running_mean, running_var : array or Tensor (C,)
    weight, bias : Tensor (C,), optional
    training : bool
    momentum, eps : float
        All as in ``batch_norm``.

    Returns
    -------
    (Tensor (N, C, H, W), array (C,), array (C,))
        relu(y) of ``batch_norm``, and its running statistics.

    Gradients
    ---------
    ``norm.batch_relu_grad`` in training, ``norm.batch_relu_eval_grad`` otherwise, for x, weight and bias; 0 at the kink.

    Raises
    ------
    ShapeError, ArgumentError, DtypeError, BackendError
        As ``batch_norm``.

    Cost
    ----
    O(N C H W): what ``batch_norm`` alone costs; keeps x, and no second map for ReLU.

    Source
    ------
    Not in the documents: ``norm.batch`` followed by ``act.relu``, each of which is.

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x = minseg.tensor(np.array([1.0, 3.0]).reshape(1, 1, 1, 2))
    >>> y, mean, var = batch_norm_relu(x, np.zeros(1), np.ones(1), training=True, momentum=0.5, eps=1e-12)
    >>> y.data.round(6).ravel().tolist(), mean.tolist(), var.tolist()
    ([0.0, 1.0], [1.0], [1.5])
    """
    if not training:
        mean, var = _check_eval(x, running_mean, running_var, weight, bias, eps)
        return BatchNormReLUEval.apply(x, weight, bias, mean=mean, var=var, eps=eps), mean, var
    _check_training(x, weight, bias, eps)
    y, mean, var = BatchNormReLUTraining.apply(x, weight, bias, eps=eps)
    count = x.numel() // x.shape[1]
    return y, *running_statistics(running_mean, running_var, mean, var, count, momentum)


@implements("norm.instance")
def instance_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    r"""Normalise each channel of each image with its own mean and variance.

    Equation ``norm.instance``
    --------------------------
    .. math::
        y_{n,c,i,j} = \gamma_{c}\frac{x_{n,c,i,j}-\mu_{n,c}}{\sqrt{v_{n,c}+\epsilon}} + \beta_{c}

    Parameters
    ----------
    x : Tensor (N, C, H, W), float
        At least two pixels: one alone equals its mean, and nothing is left.
    weight, bias : Tensor (C,), optional
        :math:`\gamma` and :math:`\beta`, in units of the output; 1 and 0 where left out.
    eps : float
        :math:`\epsilon > 0`, added to the variance, in unit(x) squared.

    Returns
    -------
    Tensor (N, C, H, W)
        y; :math:`\mu` and v are the mean and the biased variance over the pixels of each channel of each image. The same in
        training and in evaluation.

    Gradients
    ---------
    ``norm.batch_grad``, for x, weight and bias: this is batch normalisation of one image with N C channels.

    Raises
    ------
    ShapeError
        ``instance_norm: x must be (N, C, H, W) with more than one pixel, got (2, 3, 1, 1) [norm.instance]``
    ShapeError
        ``instance_norm: weight must be (3,), got (2,); x (2, 3, 4, 4) [norm.instance]``; likewise bias.
    ArgumentError
        ``instance_norm: eps must be a positive number, got 0 [norm.instance]``
    DtypeError, BackendError
        If dtypes or backends differ.

    Cost
    ----
    O(N C H W), as ``batch_norm_training``; keeps x.

    Source
    ------
    D4 reference 8 (by name, W-27, ERR-75); Ulyanov, Vedaldi and Lempitsky, arXiv 2016.

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x = minseg.tensor(np.array([1.0, 3.0, 10.0, 50.0]).reshape(2, 1, 1, 2))
    >>> instance_norm(x, eps=1e-12).data.round(6).ravel().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    expect_tensor(x, "instance_norm: x")
    if x.ndim != 4 or min(x.shape) < 1 or x.shape[2] * x.shape[3] < 2:
        raise ShapeError(
            f"instance_norm: x must be (N, C, H, W) with more than one pixel, got {x.shape} [norm.instance]"
        )
    N, C, H, W = x.shape
    _check_affine(x, weight, bias, eps, (C,), "instance_norm", "norm.instance")

    def for_each_image(parameter: Tensor | None) -> Tensor | None:
        return None if parameter is None else broadcast_to(parameter, (N, C)).reshape(N * C)

    channels = x.reshape(1, N * C, H, W)
    y, _, _ = batch_norm_training(channels, for_each_image(weight), for_each_image(bias), eps)  # eq: norm.instance
    return y.reshape(x.shape)


@implements("norm.layer")
def layer_norm(
    x: Tensor, normalized_shape, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    r"""Normalise each token over its channels.

    Equation ``norm.layer``
    -----------------------
    .. math::
        y_{n,c} = \gamma_{c}\frac{x_{n,c}-\mu_{n}}{\sqrt{v_{n}+\epsilon}} + \beta_{c}

    Parameters
    ----------
    x : Tensor (..., \*normalized_shape), float
        n counts the axes before, c the normalised ones.
    normalized_shape : int or tuple of int
        The sizes of the last axes, which are normalised together: at least two values.
    weight, bias : Tensor (\*normalized_shape), optional
        :math:`\gamma` and :math:`\beta`, in units of the output; 1 and 0 where left out.
    eps : float
        :math:`\epsilon > 0`, added to the variance, in unit(x) squared.

    Returns
    -------
    Tensor
        y, of the shape of x; :math:`\mu` and v are the mean and the biased variance of each token. The same in training and in
        evaluation.

    Gradients
    ---------
    ``norm.batch_grad`` for x: this is batch normalisation in which each token is a channel; weight and bias follow as a product
    and a sum.

    Raises
    ------
    ShapeError
        ``layer_norm: the last axes of x must be (4,), got x (2, 5, 3) [norm.layer]``
    ShapeError
        ``layer_norm: needs tokens of more than one value, got x (2, 5, 1) [norm.layer]``
    ShapeError
        ``layer_norm: weight must be (3,), got (5,); x (2, 5, 3) [norm.layer]``; likewise bias.
    ArgumentError
        ``layer_norm: eps must be a positive number, got -1 [norm.layer]``; or if normalized_shape holds no integers.
    DtypeError, BackendError
        If dtypes or backends differ.

    Cost
    ----
    O(size of x); keeps x, and y without weight and bias.

    Source
    ------
    Not in the documents, whose Transformer (D2 section 3.2.2) needs it; Ba, Kiros and Hinton, arXiv 2016.

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x = minseg.tensor(np.array([[1.0, 3.0], [10.0, 50.0]]))
    >>> layer_norm(x, 2, bias=minseg.tensor(np.array([5.0, 0.0])), eps=1e-12).data.round(6).tolist()
    [[4.0, 1.0], [4.0, 1.0]]
    """
    expect_tensor(x, "layer_norm: x")
    sizes = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    sizes = tuple(integer(size, "layer_norm: normalized_shape") for size in sizes)
    if not sizes or x.shape[-len(sizes) :] != sizes:
        raise ShapeError(f"layer_norm: the last axes of x must be {sizes}, got x {x.shape} [norm.layer]")
    if math.prod(sizes) < 2 or min(x.shape) < 1:
        raise ShapeError(f"layer_norm: needs tokens of more than one value, got x {x.shape} [norm.layer]")
    _check_affine(x, weight, bias, eps, sizes, "layer_norm", "norm.layer")
    tokens = x.reshape(1, -1, 1, math.prod(sizes))
    y = batch_norm_training(tokens, eps=eps)[0].reshape(x.shape)  # eq: norm.layer
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _check_affine(x, weight, bias, eps, shape, name: str, equation: str) -> None:
    """Weight and bias are Tensors of this shape, everything has the dtype and the backend of x, and eps is positive."""
    for what, parameter in (("weight", weight), ("bias", bias)):
        optional_tensor(parameter, f"{name}: {what}")
        if parameter is not None and parameter.shape != shape:
            raise ShapeError(f"{name}: {what} must be {shape}, got {parameter.shape}; x {x.shape} [{equation}]")
    _expect_positive(eps, name, equation)
    common([t for t in (x, weight, bias) if t is not None], name)


def _array(value):
    """Statistics on the backend, whether they came as a Tensor or as an array."""
    return backend.current().asarray(value.data if isinstance(value, Tensor) else value)


def _check(x, weight, bias, eps) -> None:
    expect_tensor(x, "batch_norm: x")
    optional_tensor(weight, "batch_norm: weight")
    optional_tensor(bias, "batch_norm: bias")
    _expect_positive(eps, "batch_norm", "norm.batch")


def _check_training(x, weight, bias, eps) -> None:
    _check(x, weight, bias, eps)
    if x.ndim == 4 and x.numel() == x.shape[1]:
        raise ShapeError(
            f"batch_norm: training needs more than one value per channel, got x {x.shape}; "
            "use a larger batch or evaluation mode [norm.batch]"
        )


def _check_eval(x, mean, var, weight, bias, eps) -> tuple:
    """The given statistics as arrays, fit to normalise with."""
    _check(x, weight, bias, eps)
    mean, var = _array(mean), _array(var)
    if is_negative_somewhere(var):
        channel = int(var.argmin())
        raise ArgumentError(
            f"batch_norm: a running variance is negative: {float(var[channel])} in channel {channel} [norm.batch]"
        )
    return mean, var


def is_negative_somewhere(var) -> bool:
    """Whether a variance is negative, where nobody has to wait to see: on a device it becomes NaN, which is found in the output."""
    return isinstance(var, np.ndarray) and var.size > 0 and float(var.min()) < 0


def _expect_positive(eps, name: str, equation: str) -> None:
    if not (eps > 0 and math.isfinite(eps)):
        raise ArgumentError(f"{name}: eps must be a positive number, got {eps} [{equation}]")
