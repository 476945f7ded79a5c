"""The affine map, called fully connected layer: one matrix product for all samples."""

from minseg.autograd import Function, Tensor
from minseg.errors import ShapeError
from minseg.implements import implements
from minseg.ops.arguments import expect_tensor, optional_tensor


class Linear(Function):
    equation = "dense.affine"

    def forward(self, x, w, b):
        self.x_shape = x.shape
        rows = self.kernels.reshape(x, (-1, x.shape[-1]))  # every axis but the last counts samples
        self.save(rows=rows if self.needs[1] else None, w=w if self.needs[0] else None)
        return self.kernels.linear(rows, w, b).reshape(*x.shape[:-1], w.shape[0])

    def backward(self, gy):
        gx = gw = gb = None
        gy = self.kernels.reshape(gy, (-1, gy.shape[-1]))
        if self.needs[0]:
            gx = self.kernels.linear_grad_x(gy, self.saved.w).reshape(self.x_shape)  # eq: dense.grad_x
        if self.needs[1]:
            gw = self.kernels.linear_grad_w(gy, self.saved.rows)  # eq: dense.grad_w
        if self.needs[2]:
            gb = self.kernels.linear_grad_b(gy)  # eq: dense.grad_b
        return gx, gw, gb


@implements("dense.affine")
def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    r"""Multiply each sample's features with a matrix and add a bias.

    Equation ``dense.affine``
    -------------------------
    .. math::
        z_{n,o} = b_{o} + \sum_{i=0}^{I-1} W_{o,i}\, x_{n,i}

    Parameters
    ----------
    x : Tensor (..., I), float
        n counts all axes before the last.
    w : Tensor (O, I)
        W: a row for each output.
    b : Tensor (O,), optional

    Returns
    -------
    Tensor (..., O)
        The axes before the last are those of x.

    Gradients
    ---------
    ``dense.grad_x``, ``dense.grad_w``, ``dense.grad_b``; exact, no kinks.

    Raises
    ------
    ShapeError
        ``linear: x has 3 features, w expects 4; x (2, 3), w (5, 4) [dense.affine]``
    ShapeError
        ``linear: x must have at least one sample and one feature, got shape (0, 4) [dense.affine]``
    DtypeError
        ``linear: mixed dtypes, float32 and float64 (w); convert one of them [dense.affine]``
    BackendError
        If backends differ.

    Cost
    ----
    N O I multiply-adds.

    Source
    ------
    D1 section 3.3 (legend forgets b, ERR-09); it gives no map of labels, ERR-20.

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x, w = minseg.tensor(np.array([[1.0, 2.0]])), minseg.tensor(np.array([[1.0, 1.0], [0.0, -1.0]]))
    >>> linear(x, w, minseg.tensor(np.array([10.0, 0.0]))).data.tolist()
    [[13.0, -2.0]]
    """
    expect_tensor(x, "linear: x")
    expect_tensor(w, "linear: w")
    optional_tensor(b, "linear: b")
    if x.ndim < 1 or min(x.shape) < 1:
        raise ShapeError(f"linear: x must have at least one sample and one feature, got shape {x.shape} [dense.affine]")
    return Linear.apply(x, w, b)
