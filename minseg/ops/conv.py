"""Convolution and transposed convolution: each is the other's gradient. And convolution with the ReLU after it."""

from minseg.autograd import Function, Tensor
from minseg.implements import implements
from minseg.ops.arguments import expect_tensor, integer, optional_tensor, pair


class Conv2d(Function):
    equation = "conv.corr2d"

    def forward(self, x, w, b, *, stride, padding, dilation, groups):
        self.window = stride, padding, dilation, groups
        self.x_shape, self.w_shape = x.shape, w.shape
        self.save(x=x if self.needs[1] else None, w=w if self.needs[0] else None)
        return self.kernels.conv2d(x, w, b, *self.window)

    def backward(self, gy):
        gy = self.kernels.contiguous(gy)  # a part of a concatenation, say: copied once and not for each gradient
        gx = gw = gb = None
        if self.needs[1]:
            gw = self.kernels.conv2d_grad_w(gy, self.saved.x, self.w_shape, *self.window)  # eq: conv.grad_w
            self.done_with("x")  # gx is as large
        if self.needs[0]:
            gx = self.kernels.conv2d_grad_x(gy, self.saved.w, self.x_shape, *self.window)  # eq: conv.grad_x
        if self.needs[2]:
            gb = self.kernels.conv2d_grad_b(gy)  # eq: conv.grad_b
        return gx, gw, gb


class Conv2dReLU(Conv2d):
    equation = "conv.corr2d_relu"

    def forward(self, x, w, b, *, stride, padding, dilation, groups):
        self.window = stride, padding, dilation, groups
        self.x_shape, self.w_shape = x.shape, w.shape
        y = self.kernels.conv2d_relu(x, w, b, *self.window)
        self.save(x=x if self.needs[1] else None, w=w if self.needs[0] else None, y=y)
        return y

    def backward(self, gy):
        gy = self.kernels.relu_grad_x(gy, self.saved.y)  # eq: act.relu_grad
        self.done_with("y")
        return super().backward(gy)


class ConvTranspose2d(Function):
    equation = "conv.transpose2d"

    def forward(self, x, w, b, *, stride, padding, output_padding, dilation, groups):
        self.window = stride, padding, dilation, groups
        self.w_shape = w.shape
        self.save(x=x if self.needs[1] else None, w=w if self.needs[0] else None)
        return self.kernels.conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups)

    def backward(self, gy):
        gy = self.kernels.contiguous(gy)  # a part of a concatenation, say: copied once and not for each gradient
        gx = gw = gb = None
        if self.needs[1]:  # x and gy change places
            gw = self.kernels.conv2d_grad_w(self.saved.x, gy, self.w_shape, *self.window)
            self.done_with("x")  # gx is as large
        if self.needs[0]:  # the transpose of the transpose is the convolution itself
            gx = self.kernels.conv2d(gy, self.saved.w, None, *self.window)
        if self.needs[2]:
            gb = self.kernels.conv2d_grad_b(gy)
        return gx, gw, gb


@implements("conv.corr2d")
def conv2d(x: Tensor, w: Tensor, b: Tensor | None = None, stride=1, padding=0, dilation=1, groups: int = 1) -> Tensor:
    r"""Cross-correlate a batch of images with a bank of kernels.

    Equation ``conv.corr2d``
    ------------------------
    .. math::
        y_{n,o,i,j} = b_{o} + \sum_{c=0}^{C-1}\sum_{p=0}^{R-1}\sum_{q=0}^{S-1} w_{o,c,p,q}\, x_{n,c,si+dp-P,sj+dq-P}

    Parameters
    ----------
    x : Tensor (N, C, H, W), float
        Images; x = 0 outside. Any unit; the output has unit(x) * unit(w).
    w : Tensor (O, C/groups, R, S)
        Kernels, not rotated: what deep learning calls convolution is cross-correlation (see ERR-01).
    b : Tensor (O,), optional
    stride, padding, dilation : int or (int, int)
        In pixels; stride s >= 1, padding P >= 0, dilation d >= 1.
    groups : int
        Channels are split into this many groups, each convolved with its own kernels; groups = C is a depthwise convolution.

    Returns
    -------
    Tensor (N, O, H', W')
        :math:`H' = \lfloor (H+2P-d(R-1)-1)/s \rfloor + 1` (``conv.size``), dtype and backend of ``x``.

    Gradients
    ---------
    ``conv.grad_x``, ``conv.grad_w``, ``conv.grad_b``; all exact, no kinks.

    Raises
    ------
    ShapeError
        ``conv2d: x has 3 channels, w expects 4; x (2, 3, 8, 8), w (6, 4, 3, 3) [conv.corr2d]``; or if the output
        would be empty.
    ArgumentError
        If stride, padding, dilation or groups are out of range.
    DtypeError, BackendError
        If dtypes or backends differ.

    Cost
    ----
    N O H' W' C/groups R S multiply-adds; by im2col, memory for N C R S H' W' elements.

    Source
    ------
    D1 section 3.1 and D3 section 3.3.1 (rotated, ERR-01), D4 section 3.3 (as a matrix, ERR-15).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> impulse = np.zeros((1, 1, 3, 3)); impulse[0, 0, 1, 1] = 1
    >>> kernel = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    >>> conv2d(minseg.tensor(impulse), minseg.tensor(kernel), padding=1).data[0, 0].tolist()
    [[9.0, 8.0, 7.0], [6.0, 5.0, 4.0], [3.0, 2.0, 1.0]]
    """
    expect_tensor(x, "conv2d: x")
    expect_tensor(w, "conv2d: w")
    optional_tensor(b, "conv2d: b")
    return Conv2d.apply(
        x,
        w,
        b,
        stride=pair(stride, "conv2d: stride"),
        padding=pair(padding, "conv2d: padding"),
        dilation=pair(dilation, "conv2d: dilation"),
        groups=integer(groups, "conv2d: groups"),
    )


@implements("conv.corr2d_relu")
def conv2d_relu(
    x: Tensor, w: Tensor, b: Tensor | None = None, stride=1, padding=0, dilation=1, groups: int = 1
) -> Tensor:
    r"""Cross-correlate images with kernels and set negative values to 0, in one pass.

    Equation ``conv.corr2d_relu``
    -----------------------------
    .. math::
        y_{n,o,i,j} = \max\left(0, b_{o} +
            \sum_{c=0}^{C-1}\sum_{p=0}^{R-1}\sum_{q=0}^{S-1} w_{o,c,p,q}\, x_{n,c,si+dp-P,sj+dq-P}\right)

    Parameters
    ----------
    x, w, b : Tensor
    stride, padding, dilation, groups
        All as in ``conv2d``.

    Returns
    -------
    Tensor (N, O, H', W')
        The size of ``conv2d``; no value is negative, and NaN stays NaN.

    Gradients
    ---------
    Those of ``conv2d`` with ``act.relu_grad`` of the cotangent; 0 at the kink.

    Raises
    ------
    ShapeError, ArgumentError, DtypeError, BackendError
        As ``conv2d``.

    Cost
    ----
    That of ``conv2d``: the comparison with 0 happens where the sum is. Keeps y, as ``relu`` does, where a gradient is needed.

    Source
    ------
    Not in the documents: ``conv.corr2d`` followed by ``act.relu``, each of which is.

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x, w = minseg.tensor(np.array([[[[-1.0, 2.0]]]])), minseg.tensor(np.full((1, 1, 1, 1), 3.0))
    >>> conv2d_relu(x, w).data[0, 0].tolist()
    [[0.0, 6.0]]
    """
    expect_tensor(x, "conv2d_relu: x")
    expect_tensor(w, "conv2d_relu: w")
    optional_tensor(b, "conv2d_relu: b")
    return Conv2dReLU.apply(
        x,
        w,
        b,
        stride=pair(stride, "conv2d_relu: stride"),
        padding=pair(padding, "conv2d_relu: padding"),
        dilation=pair(dilation, "conv2d_relu: dilation"),
        groups=integer(groups, "conv2d_relu: groups"),
    )


@implements("conv.transpose2d")
def conv_transpose2d(
    x: Tensor, w: Tensor, b: Tensor | None = None, stride=1, padding=0, output_padding=0, groups: int = 1, dilation=1
) -> Tensor:
    r"""Spread each pixel over a window of the output: the transpose of ``conv2d``.

    Equation ``conv.transpose2d``
    -----------------------------
    .. math::
        y_{n,o,u,v} = b_{o} + \sum_{c=0}^{C-1}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1} x_{n,c,i,j}\, w_{c,o,u+P-si,v+P-sj}

    Parameters
    ----------
    x : Tensor (N, C, H, W), float
    w : Tensor (C, O/groups, R, S)
        w = 0 outside. The channels come in the order of ``conv2d`` seen from its output.
    b : Tensor (O,), optional
    stride, padding : int or (int, int)
        Those of the convolution that this one transposes, in pixels; a stride enlarges.
    output_padding : int or (int, int)
        Rows and columns added at the end, 0 <= a < s: which of the s sizes that the stride folds together is meant.
    groups : int
    dilation : int or (int, int)
        In pixels.

    Returns
    -------
    Tensor (N, O, H', W')
        :math:`H' = (H-1)s - 2P + d(R-1) + a + 1` (``conv.transpose_size``).

    Gradients
    ---------
    For x ``conv.corr2d`` of the cotangent with the same w; for w ``conv.grad_w`` with x and the cotangent exchanged; for b
    ``conv.grad_b``.

    Raises
    ------
    ArgumentError
        ``conv_transpose2d: output_padding must be at least 0 and below the stride (2, 2), got (2, 2)``; or as ``conv2d``.
    ShapeError, DtypeError, BackendError
        As ``conv2d``.

    Cost
    ----
    N C H W O/groups R S multiply-adds.

    Source
    ------
    D5 section 4 (code; its output_padding=1 makes 2H+1 pixels, ERR-51).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x, w = minseg.tensor(np.array([[[[1.0, 2.0]]]])), minseg.tensor(np.ones((1, 1, 2, 2)))
    >>> conv_transpose2d(x, w, stride=2).data[0, 0].tolist()
    [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]
    """
    expect_tensor(x, "conv_transpose2d: x")
    expect_tensor(w, "conv_transpose2d: w")
    optional_tensor(b, "conv_transpose2d: b")
    return ConvTranspose2d.apply(
        x,
        w,
        b,
        stride=pair(stride, "conv_transpose2d: stride"),
        padding=pair(padding, "conv_transpose2d: padding"),
        output_padding=pair(output_padding, "conv_transpose2d: output_padding"),
        dilation=pair(dilation, "conv_transpose2d: dilation"),
        groups=integer(groups, "conv_transpose2d: groups"),
    )
