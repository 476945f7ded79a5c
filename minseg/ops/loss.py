"""Losses. The kernels give them pixel by pixel (Dice: sum by sum); what is left to the reader's eye is the mean.

A label map of integers may hold ``ignore_index`` (255): such a pixel adds nothing to the loss and its gradient is exactly 0. A mean
over no pixel at all is an error, never a 0 that looks like success.

Labels are checked where they come from: on the host before they are copied to a device, for to look at a value there is to wait for
all kernels before it. So a training step on a device waits for nothing, if its labels come from the host. Of other values that lie
on a device, class weights and soft targets, only shapes and dtypes are checked.
"""

import math
import numbers
import warnings
from typing import NamedTuple

import numpy as np

from minseg import backend
from minseg.autograd import Function, Tensor, where
from minseg.errors import ArgumentError, DataError, DtypeError, ShapeError
from minseg.implements import implements
from minseg.ops.activation import sigmoid
from minseg.ops.arguments import choice, expect_tensor, integer
from minseg.ops.softmax import softmax


class CrossEntropy(Function):
    equation = "loss.ce"

    def forward(self, z, *, target, weight, ignore_index):
        self.ignore_index = ignore_index
        losses, lse = self.kernels.cross_entropy(z, target, weight, ignore_index)
        self.save(z=z, lse=lse, target=target, weight=weight)
        return losses

    def backward(self, g):
        s = self.saved
        return (
            self.kernels.cross_entropy_grad_z(g, s.z, s.lse, s.target, s.weight, self.ignore_index),
        )  # eq: loss.ce_grad


class BinaryCrossEntropyWithLogits(Function):
    equation = "loss.bce_logits"

    def forward(self, z, *, target):
        self.save(z=z, target=target)
        return self.kernels.binary_cross_entropy_with_logits(z, target)

    def backward(self, g):
        s = self.saved
        return (self.kernels.binary_cross_entropy_with_logits_grad_z(g, s.z, s.target),)  # eq: loss.bce_logits_grad


class MSELoss(Function):
    equation = "loss.mse"

    def forward(self, a, target):
        self.save(a=a, target=target)
        return self.kernels.mse_loss(a, target)

    def backward(self, g):
        ga = self.kernels.mse_loss_grad_a(g, self.saved.a, self.saved.target)  # eq: loss.mse_grad
        return ga if self.needs[0] else None, -ga if self.needs[1] else None


class DiceSums(Function):
    equation = "loss.dice_sums"

    def forward(self, p, *, target, first_label, ignore_index):
        self.labels = first_label, ignore_index
        self.save(p=p, target=target)
        return self.kernels.dice_sums(p, target, *self.labels)

    def backward(self, g):
        s = self.saved
        return (self.kernels.dice_sums_grad_p(g, s.p, s.target, *self.labels),)  # eq: loss.dice_sums_grad


class Focal(Function):
    """From the cross-entropy c = -log p of a pixel: (1 - p)^gamma c.

    With 1 - p by expm1, and c / (1 - p) kept in one piece, nothing is lost, and nothing is 0/0, where p is almost 1.
    """

    equation = "loss.focal"

    def forward(self, c, *, gamma):
        self.gamma = gamma
        wrong = -self.kernels.xp.expm1(-c)  # 1 - p
        self.save(c=c, wrong=wrong)
        return wrong**gamma * c

    def backward(self, g):
        xp, c, wrong = self.kernels.xp, self.saved.c, self.saved.wrong
        ratio = c / xp.where(wrong > 0, wrong, 1) + (wrong == 0)  # its limit is 1
        return (g * wrong**self.gamma * (1 + self.gamma * xp.exp(-c) * ratio),)  # eq: loss.focal_grad


REDUCTIONS = ("mean", "sum", "none")


@implements("loss.ce")
def cross_entropy(z: Tensor, target, weight=None, ignore_index: int = 255, reduction: str = "mean") -> Tensor:
    r"""Measure how improbable the true classes are, from logits.

    Equation ``loss.ce``
    --------------------
    .. math::
        L = -\frac{1}{NHW}\sum_{n=0}^{N-1}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1}\left[ z_{n,t_{n,i,j},i,j}
            - \log(\sum_{k=0}^{K-1}\exp(z_{n,k,i,j})) \right]

    Equation ``loss.ce_weighted``
    -----------------------------
    .. math::
        L = -\frac{\sum_{i=0}^{N-1} \alpha_{t_{i}}\log(p_{i,t_{i}})}{\sum_{i=0}^{N-1} \alpha_{t_{i}}}

    Parameters
    ----------
    z : Tensor (N, K, H, W), or (N, K), (N, K, L), ...; float
        Logits of K >= 2 classes, in nats: no softmax before this loss, it is inside (ERR-28).
    target : Tensor or array (N, H, W), without the axis of classes; integer
        t: labels 0..K-1, or ``ignore_index`` for pixels that do not count.
    weight : Tensor or array (K,), or K numbers, optional
        :math:`\alpha \ge 0`, for classes that are rare or matter more. The mean divides by the weights of the pixels that count.
    ignore_index : int
        The label of pixels that do not count. N H W in the equation is the number of those that do.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor ()
        L >= 0 in nats; a guess among K classes has ln K. With reduction "none" the shape of target, 0 where ignored.

    Gradients
    ---------
    ``loss.ce_grad``, for z: (softmax(z) - onehot(t)) times the weight over the divisor; exactly 0 at ignored pixels.

    Raises
    ------
    ShapeError
        ``cross_entropy: target must have shape (2, 4, 4), one label for each pixel of z (2, 3, 4, 4), got (2, 3, 4,
        4) [loss.ce]``
    ShapeError
        ``cross_entropy: weight needs one value for each of the 3 classes, got (2,) [loss.ce_weighted]``
    ArgumentError
        ``cross_entropy: label 7 at (0, 1, 2) is neither in 0..2 nor ignore_index 255; z (2, 3, 4, 4) [loss.ce]``
    ArgumentError
        ``cross_entropy: z (2, 1, 4, 4) has a single class, which is always certain; use
        binary_cross_entropy_with_logits [loss.ce]``
    ArgumentError
        ``cross_entropy: weights must be finite and not negative, got -1.0 for class 2 [loss.ce_weighted]``
    ArgumentError
        ``cross_entropy: reduction must be one of 'mean', 'sum', 'none', got 'average'``
    DataError
        ``cross_entropy: every pixel of target (2, 4, 4) is ignored, so there is nothing to take the mean of; leave
        such batches out, or use reduction="sum" [loss.ce]``
    DataError
        ``cross_entropy: the weights of the pixels that count add up to 0; give a class that occurs a positive weight
        [loss.ce_weighted]``
    DtypeError
        ``cross_entropy: target must hold integer labels, got float64 [loss.ce]``

    Warns
    -----
    UserWarning
        If z looks like probabilities: softmax would be applied twice (ERR-28).

    Cost
    ----
    N K H W exponentials forward, and as many backward; keeps z and one number for each pixel.

    Source
    ------
    D1 to D5, code (C-08, C-09); D3 section 3.3.3 prints the binary form (ERR-11, 12, 13), none averages over pixels (ERR-14).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> z = minseg.tensor(np.log([[0.7, 0.2, 0.1]]))
    >>> round(cross_entropy(z, np.array([0])).item(), 4)
    0.3567
    """
    name, eq = "cross_entropy", "loss.ce"
    labels = _classes(name, eq, z, target, ignore_index, reduction)
    weight = _class_weights(name, "loss.ce_weighted", "weight", weight, z)
    _warn_of_probabilities(name, z)
    losses = _cross_entropies(z, labels, weight, ignore_index)
    return _reduced_over_pixels(name, eq, losses, labels, weight, reduction)  # eq: loss.ce, loss.ce_weighted


@implements("loss.focal")
def focal_loss(
    z: Tensor, target, gamma: float = 2.0, alpha=None, ignore_index: int = 255, reduction: str = "mean"
) -> Tensor:
    r"""Measure how improbable the true classes are, weighing hard pixels most.

    Equation ``loss.focal``
    -----------------------
    .. math::
        L = -\frac{1}{N}\sum_{i=0}^{N-1}(1-p_{i,t_{i}})^{\gamma}\log(p_{i,t_{i}})

    Equation ``loss.focal_weighted``
    --------------------------------
    .. math::
        L = -\frac{\sum_{i=0}^{N-1} \alpha_{t_{i}}(1-p_{i,t_{i}})^{\gamma}\log(p_{i,t_{i}})}{\sum_{i=0}^{N-1} \alpha_{t_{i}}}

    Parameters
    ----------
    z : Tensor (N, K, H, W), or (N, K), (N, K, L), ...; float
        Logits of K >= 2 classes, in nats: p is their softmax.
    target : Tensor or array (N, H, W), without the axis of classes; integer
        t: labels 0..K-1, or ``ignore_index`` for pixels that do not count.
    gamma : float
        :math:`\gamma \ge 0`: a pixel with p = 0.9 counts :math:`0.1^{\gamma}` of what it does in ``cross_entropy``. With 0 this is
        ``cross_entropy``, to the bit.
    alpha : Tensor or array (K,), or K numbers, optional
        :math:`\alpha \ge 0`, a weight for each class. As in ``cross_entropy``, the mean divides by the weights of the pixels that
        count: the same for alpha and 2 alpha. (Where the paper divides by a number of boxes, there are pixels here.)
    ignore_index : int
        The label of pixels that do not count; i runs over all others, of the whole batch.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor ()
        L >= 0 in nats, at most the cross-entropy. With reduction "none" the shape of target, 0 where ignored.

    Gradients
    ---------
    ``loss.focal_grad``, then ``loss.ce_grad``, for z; exactly 0 at ignored pixels.

    Raises
    ------
    ArgumentError
        ``focal_loss: gamma must be a finite number of at least 0, got -1 [loss.focal]``
    ArgumentError
        ``focal_loss: z (2, 1, 4, 4) has a single class, which is always certain; use two, of which the first may be
        all 0 [loss.focal]``
    ShapeError
        ``focal_loss: alpha needs one value for each of the 3 classes, got (2,) [loss.focal_weighted]``
    DataError
        ``focal_loss: every pixel of target (2, 4, 4) is ignored, so there is nothing to take the mean of; leave such
        batches out, or use reduction="sum" [loss.focal]``
    ArgumentError, DataError, DtypeError, ShapeError
        For z, target and alpha otherwise as ``cross_entropy`` for z, target and weight.

    Warns
    -----
    UserWarning
        If z looks like probabilities: softmax would be applied twice (ERR-28).

    Cost
    ----
    As ``cross_entropy``, and two exponentials and two powers for each pixel; keeps three numbers for each pixel beside z.

    Source
    ------
    D4 reference 7 (W-26, ERR-75); Lin, Goyal, Girshick, He and Dollar, ICCV 2017.

    Examples
    --------
    >>> import numpy as np, minseg
    >>> z = minseg.tensor(np.log([[0.9, 0.1], [0.5, 0.5]]))  # one pixel is right already, one is a guess
    >>> cross_entropy(z, np.array([0, 0]), reduction="none").data.round(4).tolist()
    [0.1054, 0.6931]
    >>> focal_loss(z, np.array([0, 0]), reduction="none").data.round(4).tolist()
    [0.0011, 0.1733]
    """
    name, eq = "focal_loss", "loss.focal"
    if not isinstance(gamma, numbers.Real) or not 0 <= gamma < math.inf:
        raise ArgumentError(f"{name}: gamma must be a finite number of at least 0, got {gamma!r} [{eq}]")
    remedy = "use two, of which the first may be all 0"
    labels = _classes(name, eq, z, target, ignore_index, reduction, remedy)
    alpha = _class_weights(name, "loss.focal_weighted", "alpha", alpha, z)
    _warn_of_probabilities(name, z)
    losses = Focal.apply(_cross_entropies(z, labels, None, ignore_index), gamma=float(gamma))  # eq: loss.focal
    if alpha is not None:  # eq: loss.focal_weighted
        losses = losses * Tensor(_pixel_weights(labels, alpha).reshape(losses.shape))
    return _reduced_over_pixels(name, eq, losses, labels, alpha, reduction)


@implements("loss.bce_logits")
def binary_cross_entropy_with_logits(z: Tensor, target, reduction: str = "mean", ignore_index: int = 255) -> Tensor:
    r"""Measure how improbable the truth is, one yes or no at a time, from logits.

    Equation ``loss.bce_logits``
    ----------------------------
    .. math::
        L = \frac{1}{N}\sum_{n=0}^{N-1}\left[ \max(0,z_{n}) - z_{n}y_{n} + \log(1+\exp(-|z_{n}|)) \right]

    Parameters
    ----------
    z : Tensor, float, any shape
        Logits in nats; n counts all elements. No sigmoid before this loss, it is inside.
    target : Tensor or array of the shape of z, or a label map (N, H, W) for z (N, 1, H, W)
        y: probabilities in [0, 1] of z's dtype, or integer or boolean labels 0 and 1. A constant.
    reduction : {"mean", "sum", "none"}
    ignore_index : int
        Elements with this integer label do not count.

    Returns
    -------
    Tensor ()
        L >= 0 in nats, ln 2 for a guess; finite for logits of any size. With reduction "none" the shape of z.

    Gradients
    ---------
    ``loss.bce_logits_grad``, for z: (sigmoid(z) - y) / N; exactly 0 where ignored.

    Raises
    ------
    ShapeError
        ``binary_cross_entropy_with_logits: target must have the shape of z (2, 3), got (2,) [loss.bce_logits]``
    ArgumentError
        ``binary_cross_entropy_with_logits: label 2 at (0, 1) is neither in 0..1 nor ignore_index 255; z (1, 3)
        [loss.bce_logits]``
    ArgumentError
        ``binary_cross_entropy_with_logits: target must lie in [0, 1], got values from -1.0 to 1.0 [loss.bce_logits]``
    ArgumentError
        ``binary_cross_entropy_with_logits: target is a constant here and gets no gradient; pass target.detach()
        [loss.bce_logits]``
    ArgumentError
        ``binary_cross_entropy_with_logits: reduction must be one of 'mean', 'sum', 'none', got 'all'``
    DataError
        ``binary_cross_entropy_with_logits: every pixel of target (1, 3) is ignored, so there is nothing to take the
        mean of; leave such batches out, or use reduction="sum" [loss.bce_logits]``
    DtypeError
        ``binary_cross_entropy_with_logits: mixed dtypes, float64 and float32 (target); convert one of them
        [loss.bce_logits]``

    Cost
    ----
    One exponential and one logarithm for each element; keeps z and y.

    Source
    ------
    D3 section 3.3.3.1, which prints it for probabilities and calls it cross-entropy (``loss.bce``; ERR-11, 12, 13).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> z = minseg.tensor(np.array([0.0, 1000.0, -1000.0]))
    >>> binary_cross_entropy_with_logits(z, np.array([1, 1, 1]), reduction="none").data.round(4).tolist()
    [0.6931, 0.0, 1000.0]
    """
    name, eq = "binary_cross_entropy_with_logits", "loss.bce_logits"
    expect_tensor(z, f"{name}: z")
    choice(reduction, REDUCTIONS, f"{name}: reduction")
    target = _constant(name, target, eq)
    if z.ndim == 4 and z.shape[1] == 1 and target.shape == (z.shape[0], *z.shape[2:]):
        target = target[:, None]
    if target.shape != z.shape:
        raise ShapeError(f"{name}: target must have the shape of z {z.shape}, got {target.shape} [{eq}]")
    if target.dtype.kind not in "iub":
        _expect_fractions(name, target, eq)
        target = backend.current().asarray(target)
        return _reduced(BinaryCrossEntropyWithLogits.apply(z, target=target), reduction)
    labels = _checked(name, target, z, 2, ignore_index, eq)
    target = (labels.map == 1).astype(z.dtype)
    if labels.known is None:
        return _reduced(BinaryCrossEntropyWithLogits.apply(z, target=target), reduction)
    losses = masked_binary_cross_entropy(z, target, labels.known)
    if reduction == "mean":
        _expect_some(name, labels, eq)
        return losses.sum() / labels.count
    return _reduced(losses, reduction)


def masked_binary_cross_entropy(z: Tensor, target, known) -> Tensor:
    """The loss of each element, 0 where it is not known.

    Masked before the loss and after it: what an ignored logit is, NaN even, touches neither the sum nor the gradient.
    """
    return where(known, BinaryCrossEntropyWithLogits.apply(where(known, z, 0.0), target=target), 0.0)


def _expect_fractions(name: str, target, eq: str) -> None:
    if isinstance(target, np.ndarray) and target.size and not (target.min() >= 0 and target.max() <= 1):
        raise ArgumentError(
            f"{name}: target must lie in [0, 1], got values from {float(target.min())} to {float(target.max())} [{eq}]"
        )


@implements("loss.mse")
def mse_loss(a: Tensor, target, reduction: str = "mean") -> Tensor:
    r"""Take the mean of the squared differences.

    Equation ``loss.mse``
    ---------------------
    .. math::
        L = \frac{1}{N}\sum_{i=0}^{N-1}(a_{i}-y_{i})^{2}

    Parameters
    ----------
    a : Tensor, float, any shape
        Predictions, in any unit; i counts all elements.
    target : Tensor or array, of the shape and dtype of a
        y, in the unit of a.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor ()
        L >= 0, in that unit squared. With reduction "none" the shape of a.

    Gradients
    ---------
    ``loss.mse_grad``, for a: 2 (a - y) / N; for target its negative, where it needs one.

    Raises
    ------
    ShapeError
        ``mse_loss: target must have the shape of a (2, 3), got (3,) [loss.mse]``
    ArgumentError
        ``mse_loss: reduction must be one of 'mean', 'sum', 'none', got None``
    DtypeError
        ``mse_loss: target must be float32 or float64, got int64 [loss.mse]``; or if the dtypes differ.
    BackendError
        If a lives on another backend.

    Cost
    ----
    One pass; keeps a and y.

    Source
    ------
    D2 question 3 (in words, W-11).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> mse_loss(minseg.tensor(np.array([1.0, 5.0])), np.array([2.0, 2.0])).item()
    5.0
    """
    expect_tensor(a, "mse_loss: a")
    choice(reduction, REDUCTIONS, "mse_loss: reduction")
    if not isinstance(target, Tensor):
        target = Tensor(backend.current().asarray(target))
    if target.shape != a.shape:
        raise ShapeError(f"mse_loss: target must have the shape of a {a.shape}, got {target.shape} [loss.mse]")
    return _reduced(MSELoss.apply(a, target), reduction)


@implements("loss.dice")
def dice_loss(
    p: Tensor,
    target,
    smooth: float = 1.0,
    ignore_index: int = 255,
    include_background: bool = True,
    reduction: str = "mean",
) -> Tensor:
    r"""Measure how little probability maps and masks overlap (soft Dice).

    Equation ``loss.dice``
    ----------------------
    .. math::
        L = 1 - \frac{2\sum_{i=0}^{N-1}p_{i}g_{i} + \epsilon}{\sum_{i=0}^{N-1}p_{i} + \sum_{i=0}^{N-1}g_{i} + \epsilon}

    Equation ``loss.dice_multiclass``
    ---------------------------------
    .. math::
        L = \frac{1}{K}\sum_{k=0}^{K-1} L_{k}

    Parameters
    ----------
    p : Tensor (N, K, H, W), or (N, K), (N, K, L), ...; float
        Probabilities in [0, 1], after softmax or sigmoid; for logits there is ``dice_loss_with_logits``. K = 1 is the binary
        case: the one channel is the probability of the foreground, label 1.
    target : Tensor or array (N, H, W), without the axis of classes; integer
        Labels 0..K-1 (for K = 1: 0 and 1), or ``ignore_index``. For class k, g is 1 where the label is k and else 0.
    smooth : float
        :math:`\epsilon > 0`, in pixels.
    ignore_index : int
        Pixels with this label are left out of all three sums.
    include_background : bool
        False leaves class 0 out of the mean, if there is more than one class.
    reduction : {"mean", "none"}
        "none" gives the loss of each class.

    Returns
    -------
    Tensor ()
        L in [0, 1): the mean over the classes; with "none", shape (K,). i runs over the pixels of the whole batch together, not
        image by image. Every class counts, also one that does not occur: then L is 0 where p is 0 everywhere, and grows with what
        is claimed. That is why :math:`\epsilon` must not be 0.

    Gradients
    ---------
    ``loss.dice_sums_grad``, for p; exactly 0 at ignored pixels.

    Raises
    ------
    ShapeError
        ``dice_loss: target must have shape (1, 2, 2), one label for each pixel of p (1, 3, 2, 2), got (2, 2)
        [loss.dice]``
    ArgumentError
        ``dice_loss: p must be probabilities in [0, 1], got values from -3.0 to 2.0; for logits use
        dice_loss_with_logits [loss.dice]``
    ArgumentError
        ``dice_loss: label 3 at (0, 0, 0) is neither in 0..2 nor ignore_index 255; p (1, 3, 2, 2) [loss.dice]``
    ArgumentError
        ``dice_loss: smooth must be a positive number, got 0; without it a class that does not occur is 0/0
        [loss.dice]``
    ArgumentError
        ``dice_loss: reduction must be one of 'mean', 'none', got 'sum'``
    DataError
        ``dice_loss: every pixel of target (1, 2, 2) is ignored, so there is nothing to take the mean of; leave such
        batches out [loss.dice]``
    DtypeError
        ``dice_loss: target must hold integer labels, got float32 [loss.dice]``

    Cost
    ----
    One pass over p forward, one backward; keeps p.

    Source
    ------
    D5 section 3.3.2 and question 5 (in words, W-10; the loss is 1 - Dice, ERR-24, of intersection and sizes, ERR-23).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> p, target = minseg.tensor(np.array([[[[1.0, 0.5, 0.0]]]])), np.array([[[1, 1, 0]]])
    >>> round(dice_loss(p, target).item(), 4)  # 1 - (2 * 1.5 + 1) / (1.5 + 2 + 1)
    0.1111
    """
    expect_tensor(p, "dice_loss: p")
    _expect_probabilities("dice_loss", "loss.dice", p)
    return _overlap_loss(
        _dice, "dice_loss", "loss.dice", "p", p, p, target, smooth, ignore_index, include_background, reduction
    )


@implements("loss.dice")
def dice_loss_with_logits(
    z: Tensor,
    target,
    smooth: float = 1.0,
    ignore_index: int = 255,
    include_background: bool = True,
    reduction: str = "mean",
) -> Tensor:
    r"""Measure how little predictions and masks overlap, from logits.

    Equation ``loss.dice``
    ----------------------
    .. math::
        L = 1 - \frac{2\sum_{i=0}^{N-1}p_{i}g_{i} + \epsilon}{\sum_{i=0}^{N-1}p_{i} + \sum_{i=0}^{N-1}g_{i} + \epsilon}

    Equation ``loss.dice_multiclass``
    ---------------------------------
    .. math::
        L = \frac{1}{K}\sum_{k=0}^{K-1} L_{k}

    Parameters
    ----------
    z : Tensor (N, K, H, W), or (N, K), (N, K, L), ...; float
        Logits in nats: p is their softmax over the classes, for K = 1 their sigmoid.
    target, smooth, ignore_index, include_background, reduction
        As in ``dice_loss``.

    Returns
    -------
    Tensor ()
        As ``dice_loss``.

    Gradients
    ---------
    ``loss.dice_sums_grad``, then ``act.softmax_grad`` or ``act.sigmoid_grad``; exactly 0 at ignored pixels.

    Raises
    ------
    ShapeError
        ``dice_loss_with_logits: target must have shape (1, 2, 2), one label for each pixel of z (1, 3, 2, 2), got (2,
        2) [loss.dice]``
    ArgumentError, DataError, DtypeError
        As ``dice_loss``, but any finite z is allowed.

    Warns
    -----
    UserWarning
        If z looks like probabilities: softmax would be applied twice (ERR-28).

    Cost
    ----
    Softmax or sigmoid, and one pass over p forward, one backward; keeps p.

    Source
    ------
    D5 section 3.3.2 (W-10, ERR-23, ERR-24).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> z, target = minseg.tensor(np.array([[[[9.0, 0.0, -9.0]]]])), np.array([[[1, 1, 0]]])
    >>> round(dice_loss_with_logits(z, target).item(), 3)
    0.111
    """
    name, eq = "dice_loss_with_logits", "loss.dice"
    p = _probabilities(name, eq, z, target)
    return _overlap_loss(_dice, name, eq, "z", z, p, target, smooth, ignore_index, include_background, reduction)


@implements("loss.jaccard")
def jaccard_loss(
    p: Tensor,
    target,
    smooth: float = 1.0,
    ignore_index: int = 255,
    include_background: bool = True,
    reduction: str = "mean",
) -> Tensor:
    r"""Measure how little of what maps and masks cover is in both (soft Jaccard).

    Equation ``loss.jaccard``
    -------------------------
    .. math::
        L = 1 - \frac{\sum_{i=0}^{N-1}p_{i}g_{i} + \epsilon}{\sum_{i=0}^{N-1}(p_{i} + g_{i} - p_{i}g_{i}) + \epsilon}

    Equation ``loss.dice_multiclass``
    ---------------------------------
    .. math::
        L = \frac{1}{K}\sum_{k=0}^{K-1} L_{k}

    Parameters
    ----------
    p : Tensor (N, K, H, W), or (N, K), (N, K, L), ...; float
        Probabilities in [0, 1], after softmax or sigmoid; for logits there is ``jaccard_loss_with_logits``. K = 1 is the binary
        case: the one channel is the probability of the foreground, label 1.
    target, smooth, ignore_index, include_background, reduction
        As in ``dice_loss``.

    Returns
    -------
    Tensor ()
        L in [0, 1): the mean over the classes; with "none", shape (K,). As with ``dice_loss``, i runs over the pixels of the whole
        batch together, and a class that does not occur counts: its L is 0 where p is 0 everywhere.

    Gradients
    ---------
    ``loss.dice_sums_grad``, for p; exactly 0 at ignored pixels.

    Raises
    ------
    ArgumentError
        ``jaccard_loss: p must be probabilities in [0, 1], got values from -3.0 to 2.0; for logits use
        jaccard_loss_with_logits [loss.jaccard]``
    ArgumentError
        ``jaccard_loss: smooth must be a positive number, got 0; without it a class that does not occur is 0/0
        [loss.jaccard]``
    DataError
        ``jaccard_loss: every pixel of target (1, 2, 2) is ignored, so there is nothing to take the mean of; leave such
        batches out [loss.jaccard]``
    ArgumentError, DtypeError, ShapeError
        Otherwise as ``dice_loss``.

    Cost
    ----
    As ``dice_loss``: one pass over p forward, one backward; keeps p.

    Source
    ------
    1 - IoU of D5 section 3.3.2 (ERR-23), with probabilities for the prediction.

    Examples
    --------
    >>> import numpy as np, minseg
    >>> p, target = minseg.tensor(np.array([[[[1.0, 0.5, 0.0]]]])), np.array([[[1, 1, 0]]])
    >>> round(jaccard_loss(p, target).item(), 4)  # 1 - (1.5 + 1) / (1.5 + 2 - 1.5 + 1)
    0.1667
    """
    expect_tensor(p, "jaccard_loss: p")
    _expect_probabilities("jaccard_loss", "loss.jaccard", p)
    return _overlap_loss(
        _jaccard, "jaccard_loss", "loss.jaccard", "p", p, p, target, smooth, ignore_index, include_background, reduction
    )


@implements("loss.jaccard")
def jaccard_loss_with_logits(
    z: Tensor,
    target,
    smooth: float = 1.0,
    ignore_index: int = 255,
    include_background: bool = True,
    reduction: str = "mean",
) -> Tensor:
    r"""Measure how little of what predictions and masks cover is in both, from logits.

    Equation ``loss.jaccard``
    -------------------------
    .. math::
        L = 1 - \frac{\sum_{i=0}^{N-1}p_{i}g_{i} + \epsilon}{\sum_{i=0}^{N-1}(p_{i} + g_{i} - p_{i}g_{i}) + \epsilon}

    Parameters
    ----------
    z : Tensor (N, K, H, W), or (N, K), (N, K, L), ...; float
        Logits in nats: p is their softmax over the classes, for K = 1 their sigmoid.
    target, smooth, ignore_index, include_background, reduction
        As in ``jaccard_loss``.

    Returns
    -------
    Tensor ()
        As ``jaccard_loss``.

    Gradients
    ---------
    ``loss.dice_sums_grad``, then ``act.softmax_grad`` or ``act.sigmoid_grad``; exactly 0 at ignored pixels.

    Raises
    ------
    ShapeError
        ``jaccard_loss_with_logits: target must have shape (1, 2, 2), one label for each pixel of z (1, 3, 2, 2), got
        (2, 2) [loss.jaccard]``
    ArgumentError, DataError, DtypeError
        As ``jaccard_loss``, but any finite z is allowed.

    Warns
    -----
    UserWarning
        If z looks like probabilities: softmax would be applied twice (ERR-28).

    Cost
    ----
    Softmax or sigmoid, and one pass over p forward, one backward; keeps p.

    Source
    ------
    1 - IoU of D5 section 3.3.2 (ERR-23), with probabilities for the prediction.

    Examples
    --------
    >>> import numpy as np, minseg
    >>> z, target = minseg.tensor(np.array([[[[9.0, 0.0, -9.0]]]])), np.array([[[1, 1, 0]]])
    >>> round(jaccard_loss_with_logits(z, target).item(), 3)
    0.167
    """
    name, eq = "jaccard_loss_with_logits", "loss.jaccard"
    p = _probabilities(name, eq, z, target)
    return _overlap_loss(_jaccard, name, eq, "z", z, p, target, smooth, ignore_index, include_background, reduction)


def _dice(overlap: Tensor, claimed: Tensor, true: Tensor, smooth: float) -> Tensor:
    return 1 - (2 * overlap + smooth) / (claimed + true + smooth)  # eq: loss.dice


def _jaccard(overlap: Tensor, claimed: Tensor, true: Tensor, smooth: float) -> Tensor:
    return 1 - (overlap + smooth) / (claimed + true - overlap + smooth)  # eq: loss.jaccard


def _overlap_loss(
    loss_of, name, eq, letter, given: Tensor, p: Tensor, target, smooth, ignore_index, include_background, reduction
) -> Tensor:
    """``loss_of`` the three sums of each class, then the mean; ``letter`` is what messages call the tensor that was given."""
    choice(reduction, ("mean", "none"), f"{name}: reduction")
    if not (smooth > 0 and math.isfinite(smooth)):
        raise ArgumentError(
            f"{name}: smooth must be a positive number, got {smooth}; without it a class that does not occur is 0/0 [{eq}]"
        )
    target = _labels(name, given, target, eq, letter)
    K = p.shape[1]
    labels = _checked(name, target, given, max(K, 2), ignore_index, eq, letter)
    _expect_some(name, labels, eq, remedy="leave such batches out")
    maps = _as_maps(p)
    overlap, claimed, true = DiceSums.apply(
        maps,
        target=labels.map.reshape(maps.shape[0], *maps.shape[2:]),
        first_label=1 if K == 1 else 0,
        ignore_index=int(ignore_index),
    )
    losses = loss_of(overlap, claimed, true, smooth)
    if K > 1 and not include_background:
        losses = losses[1:]
    return losses if reduction == "none" else losses.mean()  # eq: loss.dice_multiclass


# ---------------------------------------------------------------------------------------------------- what losses share


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    return {"mean": Tensor.mean, "sum": Tensor.sum, "none": lambda each: each}[reduction](losses)


class Labels(NamedTuple):
    """A label map in which every label is a class or ignored, on the backend."""

    map: object
    known: object | None
    """Where it is not ignored, as booleans; None where that is everywhere."""
    count: int
    """How many labels are not ignored."""


def _classes(
    name: str, eq: str, z: Tensor, target, ignore_index, reduction, remedy="use binary_cross_entropy_with_logits"
) -> Labels:
    """The labels for a loss of pixels with at least two classes."""
    expect_tensor(z, f"{name}: z")
    choice(reduction, REDUCTIONS, f"{name}: reduction")
    target = _labels(name, z, target, eq)
    if z.shape[1] < 2:
        raise ArgumentError(f"{name}: z {z.shape} has a single class, which is always certain; {remedy} [{eq}]")
    return _checked(name, target, z, z.shape[1], ignore_index, eq)


def one_hot(name: str, eq: str, z: Tensor, target, ignore_index: int):
    """The labels (N, H, W) as numbers 0 and 1 (N, K, H, W), one for each class of z; where they are not ignored, as booleans
    (N, 1, H, W), and how many that are. DataError if there are none.
    """
    labels = _labels(name, expect_tensor(z, f"{name}: z"), target, eq)
    labels = _checked(name, labels, z, z.shape[1], ignore_index, eq)
    _expect_some(name, labels, eq, remedy="leave such batches out")
    xp = backend.current().xp
    classes = xp.arange(z.shape[1]).reshape(-1, *(1,) * (labels.map.ndim - 1))
    known = xp.ones(labels.map.shape, bool) if labels.known is None else labels.known
    return (labels.map[:, None] == classes).astype(z.dtype), known[:, None], labels.count


def _cross_entropies(z: Tensor, labels: Labels, weight, ignore_index: int) -> Tensor:
    """The cross-entropy of each pixel, as maps (N, H, W); 0 where it is ignored."""
    maps = _as_maps(z)
    return CrossEntropy.apply(
        maps, target=labels.map.reshape(maps.shape[0], *maps.shape[2:]), weight=weight, ignore_index=int(ignore_index)
    )


def _pixel_weights(labels: Labels, weight):
    """The weight of each pixel's class; 0 where it is ignored."""
    if labels.known is None:
        return weight[labels.map]
    return weight[labels.map * labels.known] * labels.known  # any class will do before the second factor


def _reduced_over_pixels(name: str, eq: str, losses: Tensor, labels: Labels, weight, reduction: str) -> Tensor:
    """Their mean divides by the number of pixels that count; with weights for the classes, by the weights of those pixels."""
    if reduction == "none":
        return losses.reshape(labels.map.shape)
    if reduction == "sum":
        return losses.sum()
    _expect_some(name, labels, eq)
    if weight is None:
        return losses.sum() / labels.count
    divisor = _pixel_weights(labels, weight).sum(dtype="float64")
    if (
        backend.current().on_host and divisor == 0
    ):  # on a device the loss becomes NaN, which is found when it is fetched
        raise DataError(
            f"{name}: the weights of the pixels that count add up to 0; "
            f"give a class that occurs a positive weight [{eq}_weighted]"
        )
    return losses.sum() / Tensor(backend.current().xp.asarray(divisor, losses.dtype))


def _probabilities(name: str, eq: str, z: Tensor, target) -> Tensor:
    """Softmax of the logits over the classes; the sigmoid of a single channel."""
    expect_tensor(z, f"{name}: z")
    _labels(name, z, target, eq)
    if z.shape[1] == 1:
        return sigmoid(z)
    _warn_of_probabilities(name, z, stacklevel=4)
    return softmax(z, dim=1)


def _expect_probabilities(name: str, eq: str, p: Tensor) -> None:
    slack = 1e-3  # interpolated probabilities may leave [0, 1] by rounding; logits leave it by more
    if p.numel() and not (p.data.min() >= -slack and p.data.max() <= 1 + slack):
        raise ArgumentError(
            f"{name}: p must be probabilities in [0, 1], got values from {float(p.data.min())} to {float(p.data.max())}; "
            f"for logits use {name}_with_logits [{eq}]"
        )


def _as_maps(z: Tensor) -> Tensor:
    """(N, K) and (N, K, ...) as (N, K, H, W); kernels know that form only."""
    return z if z.ndim == 4 else z.reshape(*z.shape[:2], 1, -1)


def _constant(name: str, target, eq: str):
    """The target's array, on the host or on the backend: where it is."""
    if isinstance(target, Tensor):
        if target.requires_grad:
            raise ArgumentError(f"{name}: target is a constant here and gets no gradient; pass target.detach() [{eq}]")
        target = target.data
    return np.asarray(target) if not hasattr(target, "dtype") else target


def _labels(name: str, z: Tensor, target, eq: str, letter: str = "z"):
    """The label map as an array of integers, one for each pixel of z; where it is, and with labels yet to be checked."""
    target = _constant(name, target, eq)
    if target.dtype.kind not in "iu":
        raise DtypeError(f"{name}: target must hold integer labels, got {target.dtype} [{eq}]")
    if z.ndim < 2 or min(z.shape) < 1:
        raise ShapeError(f"{name}: {letter} must have shape (N, K, ...), all sides at least 1, got {z.shape} [{eq}]")
    wanted = (z.shape[0], *z.shape[2:])
    if target.shape != wanted:
        raise ShapeError(
            f"{name}: target must have shape {wanted}, one label for each pixel of {letter} {z.shape}, "
            f"got {target.shape} [{eq}]"
        )
    return target


def _checked(name: str, target, z: Tensor, classes: int, ignore_index: int, eq: str, letter: str = "z") -> Labels:
    """The labels on the backend, after a look at them where they are: one that is no class is an error."""
    here = backend.current()
    integer(ignore_index, f"{name}: ignore_index")
    if target.size == 0 or (not 0 <= ignore_index < classes and target.min() >= 0 and target.max() < classes):
        return Labels(here.asarray(target), None, target.size)  # the usual case, found out in two fast passes
    known = target != ignore_index
    foreign = known & ((target < 0) | (target >= classes))
    if foreign.any():
        place = tuple(int(i[0]) for i in foreign.nonzero())
        raise ArgumentError(
            f"{name}: label {int(target[place])} at {place} is neither in 0..{classes - 1} nor ignore_index {ignore_index}; "
            f"{letter} {z.shape} [{eq}]"
        )
    there = here.asarray(target)
    return Labels(there, known if here.on_host else there != ignore_index, int(known.sum()))


def _expect_some(
    name: str, labels: Labels, eq: str, remedy: str = 'leave such batches out, or use reduction="sum"'
) -> None:
    if labels.count == 0:
        raise DataError(
            f"{name}: every pixel of target {labels.map.shape} is ignored, so there is nothing to take the mean of; {remedy} [{eq}]"
        )


def _class_weights(name: str, eq: str, letter: str, weight, z: Tensor):
    """The weights as an array with one finite number >= 0 for each class."""
    if weight is None:
        return None
    weight = weight.data if isinstance(weight, Tensor) else weight
    weight = weight if hasattr(weight, "dtype") else np.asarray(weight, dtype=z.dtype)
    if weight.shape != (z.shape[1],):
        raise ShapeError(
            f"{name}: {letter} needs one value for each of the {z.shape[1]} classes, got {weight.shape} [{eq}]"
        )
    if isinstance(weight, np.ndarray):
        _expect_weights(name, weight, eq)
    return backend.current().asarray(weight)


def _expect_weights(name: str, weight: np.ndarray, eq: str) -> None:
    bad = ~((weight >= 0) & (weight < math.inf))
    if bad.any():
        k = int(bad.argmax())
        raise ArgumentError(
            f"{name}: weights must be finite and not negative, got {float(weight[k])} for class {k} [{eq}]"
        )


def _warn_of_probabilities(name: str, z: Tensor, stacklevel: int = 3) -> None:
    """Warn if z sums to 1 over the classes, with all entries in [0, 1]: a look at a few pixels, cheap enough for every call.

    Python shows a warning once for each line that causes it. On a device it would wait for all that z was computed from; so it is
    left out there.
    """
    if not backend.current().on_host:
        return
    few = z.data[:4] if z.ndim == 2 else z.data.reshape(*z.shape[:2], -1)[:4, :, :4]
    if float(few.min()) >= 0 and float(few.max()) <= 1 and float(abs(few.sum(axis=1) - 1).max()) < 1e-5:
        warnings.warn(
            f"{name}: z looks like probabilities (in [0, 1], sums over the classes 1), but logits are expected: softmax applied "
            "twice keeps the loss from falling and shrinks its gradient (ERR-28); pass what came before the softmax",
            UserWarning,
            stacklevel=stacklevel,
        )
