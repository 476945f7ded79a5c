"""Dropout: in training, zero at random and enlarge the rest, so that evaluation needs no change (inverted dropout)."""

import numpy as np

from minseg import backend
from minseg.autograd import Function, Tensor
from minseg.errors import ArgumentError
from minseg.implements import implements
from minseg.kernels import shapes
from minseg.ops.arguments import expect_tensor


class Dropout(Function):
    equation = "reg.dropout"

    def forward(self, x, *, keep, p):
        self.save(keep=keep)
        self.scale = 1 / (1 - p) if p < 1 else 0.0
        return self._thin(x, keep)

    def backward(self, gy):
        return (self._thin(gy, self.saved.keep),)  # the same elements, the same factor

    def _thin(self, array, keep):
        return self.kernels.xp.where(keep, array * self.scale, array.dtype.type(0))  # eq: reg.dropout


@implements("reg.dropout")
def dropout(x: Tensor, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None) -> Tensor:
    r"""Zero each element with probability p, and divide the others by 1 - p.

    Equation ``reg.dropout``
    ------------------------
    .. math::
        y_{i} = \frac{m_{i}x_{i}}{1-p}

    Parameters
    ----------
    x : Tensor, float, any shape
    p : float
        The probability that an element is zeroed, 0 <= p <= 1; with p = 1 everything is.
    training : bool
        Outside training x itself is returned: the division has kept the expected value.
    rng : numpy.random.Generator
        Draws m, which is 0 with probability p and else 1. Needed in training: nothing here draws from a hidden generator.

    Returns
    -------
    Tensor
        Of the shape of x.

    Gradients
    ---------
    The cotangent, thinned out with the same m and scaled alike.

    Raises
    ------
    ArgumentError
        ``dropout: p must be a probability in [0, 1], got 1.5 [reg.dropout]``
    ArgumentError
        ``dropout: training needs rng, a numpy.random.Generator such as numpy.random.default_rng(seed); got None``
    DtypeError, BackendError
        If x is not float, or lives on another backend.

    Cost
    ----
    One random number for each element; keeps m, a byte for each element.

    Source
    ------
    Srivastava et al. 2014 (regularisation is named in D1 section 6 and D3).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> y = dropout(minseg.tensor([1.0] * 1000), p=0.75, rng=np.random.default_rng(0))
    >>> sorted(set(y.data.tolist()))
    [0.0, 4.0]
    >>> dropout(minseg.tensor([1.0, 2.0]), training=False).data.tolist()
    [1.0, 2.0]
    """
    return _dropout("dropout", x, p, training, rng, expect_tensor(x, "dropout: x").shape)


@implements("reg.dropout2d")
def dropout2d(x: Tensor, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None) -> Tensor:
    r"""Zero whole channels with probability p, and divide the others by 1 - p.

    Equation ``reg.dropout2d``
    --------------------------
    .. math::
        y_{n,c,i,j} = \frac{m_{n,c}x_{n,c,i,j}}{1-p}

    Parameters
    ----------
    x : Tensor (N, C, H, W), float
        Neighbouring pixels are alike, so that zeroing single ones hides little; whole channels are dropped instead.
    p : float
        The probability that a channel of a sample is zeroed, 0 <= p <= 1.
    training : bool
        Outside training x itself is returned.
    rng : numpy.random.Generator
        Draws m, which is 0 with probability p and else 1. Needed in training.

    Returns
    -------
    Tensor (N, C, H, W)

    Gradients
    ---------
    The cotangent, thinned out with the same m and scaled alike.

    Raises
    ------
    ShapeError
        ``dropout2d: expected 4 dimensions (N, C, H, W), got shape (3,)``
    ArgumentError
        ``dropout2d: p must be a probability in [0, 1], got -0.5 [reg.dropout]``; or if rng is missing in training.
    DtypeError, BackendError
        If x is not float, or lives on another backend.

    Cost
    ----
    One random number for each channel of each sample; one pass over x.

    Source
    ------
    Tompson et al. 2015.

    Examples
    --------
    >>> import numpy as np, minseg
    >>> y = dropout2d(minseg.tensor(np.ones((1, 4, 2, 2))), rng=np.random.default_rng(0))
    >>> y.data.reshape(4, 4).tolist()  # each channel as a row
    [[2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]]
    """
    shapes.expect_images("dropout2d", expect_tensor(x, "dropout2d: x"))
    return _dropout("dropout2d", x, p, training, rng, (*x.shape[:2], 1, 1))


def _dropout(where: str, x: Tensor, p: float, training: bool, rng, mask_shape) -> Tensor:
    if not 0 <= p <= 1:
        raise ArgumentError(f"{where}: p must be a probability in [0, 1], got {p} [reg.dropout]")
    if not training or p == 0:
        return x
    if not isinstance(rng, np.random.Generator):
        raise ArgumentError(
            f"{where}: training needs rng, a numpy.random.Generator such as numpy.random.default_rng(seed); got {rng!r}"
        )
    keep = (
        rng.random(mask_shape, dtype=np.float32) >= p
    )  # float32 for both dtypes: the same seed drops the same elements
    return Dropout.apply(x, keep=backend.current().asarray(keep), p=p)
