"""Pooling shrinks maps by taking maxima or means of windows; unpooling puts maxima back where they came from."""

from minseg import backend
from minseg.autograd import Function, Tensor
from minseg.errors import ArgumentError, ShapeError
from minseg.implements import implements
from minseg.kernels import shapes
from minseg.ops.arguments import expect_tensor, pair


class MaxPool2d(Function):
    equation = "pool.max2d"

    def forward(self, x, *, kernel_size, stride, padding):
        self.x_shape = x.shape
        y, indices = self.kernels.max_pool2d(x, kernel_size, stride, padding)
        self.save(indices=indices)
        return y, indices

    def backward(self, gy):
        return (self.kernels.max_pool2d_grad_x(gy, self.saved.indices, self.x_shape),)  # eq: pool.max2d_grad


class MaxUnpool2d(Function):
    equation = "pool.unpool"

    def forward(self, x, *, indices, output_size):
        self.save(indices=indices)
        return self.kernels.max_unpool2d(x, indices, output_size)

    def backward(self, gy):
        return (self.kernels.max_unpool2d_grad_x(gy, self.saved.indices),)  # eq: pool.unpool_grad


class AvgPool2d(Function):
    equation = "pool.avg2d"

    def forward(self, x, *, kernel_size, stride, padding, count_include_pad):
        self.x_shape = x.shape
        self.window = kernel_size, stride, padding, count_include_pad
        return self.kernels.avg_pool2d(x, *self.window)

    def backward(self, gy):
        return (self.kernels.avg_pool2d_grad_x(gy, self.x_shape, *self.window),)  # eq: pool.avg2d_grad


class AdaptiveAvgPool2d(Function):
    equation = "pool.adaptive_avg"

    def forward(self, x, *, output_size):
        self.x_shape = x.shape
        return self.kernels.adaptive_avg_pool2d(x, output_size)

    def backward(self, gy):
        return (self.kernels.adaptive_avg_pool2d_grad_x(gy, self.x_shape),)  # eq: pool.adaptive_avg_grad


@implements("pool.max2d")
def max_pool2d(x: Tensor, kernel_size, stride=None, padding=0, return_indices: bool = False):
    r"""Take the maximum of each window.

    Equation ``pool.max2d``
    -----------------------
    .. math::
        y_{n,c,i,j} = \max_{p=0}^{k-1}\max_{q=0}^{k-1} x_{n,c,si+p,sj+q}

    Parameters
    ----------
    x : Tensor (N, C, H, W), float
        Outside, x is :math:`-\infty`: a padded pixel never wins (ERR-08).
    kernel_size : int or (int, int)
        k, in pixels; rows and columns may differ.
    stride : int or (int, int), optional
        s, in pixels; the kernel size where left out, so that windows tile the image.
    padding : int or (int, int)
        Pixels added on each side, at most half of the kernel size.
    return_indices : bool
        Return as well where each maximum was found, for ``max_unpool2d``.

    Returns
    -------
    Tensor (N, C, H', W'), or with ``return_indices`` (Tensor, Tensor)
        :math:`H' = \lfloor (H+2P-k)/s \rfloor + 1` (``conv.size``): rows that fill no window are dropped. The indices are
        int32, i W + j in x.

    Gradients
    ---------
    ``pool.max2d_grad``: each cotangent goes to the pixel that was the maximum; of equal ones the first (row by row) takes it all.
    A kink where two pixels of a window are equal.

    Raises
    ------
    ShapeError
        ``max_pool2d: expected 4 dimensions (N, C, H, W), got shape (8, 8)``; or if the output would be empty.
    ArgumentError
        ``max_pool2d: padding (2, 2) must be at most half of the window (2, 2), or a window would see no pixel``
    DtypeError, BackendError
        If x is not float, or lives on another backend.

    Cost
    ----
    N C H' W' k k comparisons; keeps one int32 for each output.

    Source
    ------
    D1 section 3.2 and D3 section 3.3.2.1 (without stride, ERR-07; borders, ERR-08), D4 section 3.3 (no window, ERR-16).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x = minseg.tensor(np.arange(16.0).reshape(1, 1, 4, 4))
    >>> max_pool2d(x, 2).data[0, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    expect_tensor(x, "max_pool2d: x")
    kernel_size = pair(kernel_size, "max_pool2d: kernel_size")
    y, indices = MaxPool2d.apply(
        x,
        kernel_size=kernel_size,
        stride=kernel_size if stride is None else pair(stride, "max_pool2d: stride"),
        padding=pair(padding, "max_pool2d: padding"),
    )
    return (y, indices) if return_indices else y


@implements("pool.unpool")
def max_unpool2d(x: Tensor, indices, kernel_size, stride=None, padding=0, output_size=None) -> Tensor:
    r"""Put maxima back where ``max_pool2d`` found them, and zero elsewhere.

    Equation ``pool.unpool``
    ------------------------
    .. math::
        y_{n,c,u,v} = \sum_{i=0}^{I-1}\sum_{j=0}^{J-1} x_{n,c,i,j}\, [a_{n,c,i,j} = uW+v]

    Parameters
    ----------
    x : Tensor (N, C, I, J), float
        Any values, one for each index; in SegNet features of the decoder, not the maxima themselves.
    indices : Tensor or array (N, C, I, J), integer
        a: flat positions in the output, W wide, as ``max_pool2d(..., return_indices=True)`` gives them. The bracket is 1
        where its relation holds, else 0: values that name the same pixel add up (PyTorch keeps one of them).
    kernel_size, stride, padding : int or (int, int)
        Those of the pooling that is undone, in pixels; stride is the kernel size where left out.
    output_size : (int, int), optional
        The size (H, W) before the pooling. Strides fold several sizes into one: without it the smallest without remainder is meant.

    Returns
    -------
    Tensor (N, C, H, W)
        :math:`H = (I-1)s - 2P + k`, or ``output_size``, which may differ from that by less than the stride.

    Gradients
    ---------
    ``pool.unpool_grad``: the cotangent, read at the indices.

    Raises
    ------
    ShapeError
        ``max_unpool2d: output_size (9, 4) must be within (2, 2) and (6, 6), both excluded, for x (1, 1, 2, 2), kernel
        (2, 2), stride (2, 2), padding (0, 0)``
    ShapeError
        ``max_unpool2d: x and indices must have the same shape, got (1, 1, 2, 2) and (1, 1, 2, 3)``
    ArgumentError
        ``max_unpool2d: indices must lie in 0..15 for an output of 4x4, got 0..16; pass the output_size that was
        pooled [pool.unpool]``
    DtypeError, BackendError
        If x is not float or the indices are not integers, or they live on another backend.

    Cost
    ----
    O(N C H W), mostly the zeros.

    Source
    ------
    SegNet (D5 reference 2, D4 reference 11; in words, W-28).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x = minseg.tensor(np.array([[[[1.0, 3.0, 2.0, 2.0]]]]))
    >>> y, indices = max_pool2d(x, (1, 2), return_indices=True)
    >>> max_unpool2d(y, indices, (1, 2)).data.ravel().tolist()
    [0.0, 3.0, 2.0, 0.0]
    """
    expect_tensor(x, "max_unpool2d: x")
    indices = backend.current().asarray(indices.data if isinstance(indices, Tensor) else indices)
    shapes.expect_images("max_unpool2d", x)
    shapes.expect_same("max_unpool2d", x, indices, "x and indices")
    kernel_size = pair(kernel_size, "max_unpool2d: kernel_size")
    stride = kernel_size if stride is None else pair(stride, "max_unpool2d: stride")
    padding = pair(padding, "max_unpool2d: padding")
    H, W = _unpooled_size(x.shape, kernel_size, stride, padding, output_size)
    first, last = int(indices.min()), int(indices.max())
    if first < 0 or last >= H * W:
        raise ArgumentError(
            f"max_unpool2d: indices must lie in 0..{H * W - 1} for an output of {H}x{W}, got {first}..{last}; "
            "pass the output_size that was pooled [pool.unpool]"
        )
    return MaxUnpool2d.apply(x, indices=indices, output_size=(H, W))


def _unpooled_size(x_shape, kernel_size, stride, padding, output_size) -> tuple[int, int]:
    """The size before pooling: PyTorch's rule."""
    shapes.expect_window("max_unpool2d", stride, padding)
    default = tuple(
        shapes.conv_transpose_size(n, k, s, P, 0, 1) for n, k, s, P in zip(x_shape[2:], kernel_size, stride, padding)
    )
    if output_size is None:
        return default
    size = pair(tuple(output_size)[-2:], "max_unpool2d: output_size")
    if any(abs(n - d) >= s for n, d, s in zip(size, default, stride)):
        below, above = ((default[0] + o * stride[0], default[1] + o * stride[1]) for o in (-1, 1))
        raise ShapeError(
            f"max_unpool2d: output_size {size} must be within {below} and {above}, both excluded, "
            f"for x {x_shape}, kernel {kernel_size}, stride {stride}, padding {padding}"
        )
    return size


@implements("pool.avg2d")
def avg_pool2d(x: Tensor, kernel_size, stride=None, padding=0, count_include_pad: bool = True) -> Tensor:
    r"""Take the mean of each window.

    Equation ``pool.avg2d``
    -----------------------
    .. math::
        y_{n,c,i,j} = \frac{1}{k^{2}}\sum_{p=0}^{k-1}\sum_{q=0}^{k-1} x_{n,c,si+p,sj+q}

    Parameters
    ----------
    x : Tensor (N, C, H, W), float
        x = 0 outside.
    kernel_size : int or (int, int)
        k, in pixels; for a window of R rows and S columns the divisor is R S (not k, ERR-10).
    stride : int or (int, int), optional
        s, in pixels; the kernel size where left out.
    padding : int or (int, int)
        Pixels added on each side, at most half of the kernel size.
    count_include_pad : bool
        Whether padded zeros count in the divisor. With False, the mean of a constant image is that constant at the border too.

    Returns
    -------
    Tensor (N, C, H', W')
        :math:`H' = \lfloor (H+2P-k)/s \rfloor + 1` (``conv.size``).

    Gradients
    ---------
    ``pool.avg2d_grad``: each cotangent is spread evenly over its window; linear, no kinks.

    Raises
    ------
    ShapeError
        ``avg_pool2d: the output would be 0x0; x (1, 1, 2, 2), kernel (3, 3), stride (3, 3), padding (0, 0), dilation
        (1, 1) [conv.size]. Use a larger input or padding``
    ArgumentError
        ``avg_pool2d: stride must be at least 1, got (0, 0)``; or if the padding exceeds half of the kernel.
    DtypeError, BackendError
        If x is not float, or lives on another backend.

    Cost
    ----
    N C H' W' k k additions; keeps nothing.

    Source
    ------
    D1 section 3.2 (window displaced, ERR-06) and D3 section 3.3.2.2 (1/k for 1/k^2, ERR-10); no stride in either, ERR-07.

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x = minseg.tensor(np.arange(16.0).reshape(1, 1, 4, 4))
    >>> avg_pool2d(x, 2).data[0, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    expect_tensor(x, "avg_pool2d: x")
    kernel_size = pair(kernel_size, "avg_pool2d: kernel_size")
    return AvgPool2d.apply(
        x,
        kernel_size=kernel_size,
        stride=kernel_size if stride is None else pair(stride, "avg_pool2d: stride"),
        padding=pair(padding, "avg_pool2d: padding"),
        count_include_pad=bool(count_include_pad),
    )


@implements("pool.adaptive_avg")
def adaptive_avg_pool2d(x: Tensor, output_size) -> Tensor:
    r"""Take means over a grid of windows that gives the output size asked for.

    Equation ``pool.adaptive_avg``
    ------------------------------
    .. math::
        y_{n,c,i,j} = \frac{1}{(b_{i}-a_{i})(e_{j}-d_{j})}\sum_{u=a_{i}}^{b_{i}-1}\sum_{v=d_{j}}^{e_{j}-1} x_{n,c,u,v}

    Parameters
    ----------
    x : Tensor (N, C, H, W), float
    output_size : int or (int, int)
        (I, J), in pixels; may exceed that of x, then pixels repeat.

    Returns
    -------
    Tensor (N, C, I, J)
        Window i has the rows :math:`a_i = \lfloor iH/I \rfloor` up to, not with, :math:`b_i = \lceil (i+1)H/I \rceil`;
        d and e are the same for columns. Where I does not divide H, neighbouring windows share a row.

    Gradients
    ---------
    ``pool.adaptive_avg_grad``: each cotangent is spread evenly over its window; linear, no kinks.

    Raises
    ------
    ShapeError
        ``adaptive_avg_pool2d: the output would be 0x2; output_size (0, 2). Use a larger input or padding``
    ArgumentError
        ``adaptive_avg_pool2d: output_size must be an integer or a pair of integers, got 2.5``
    DtypeError, BackendError
        If x is not float, or lives on another backend.

    Cost
    ----
    About N C H W additions; keeps nothing.

    Source
    ------
    PSPNet's pyramid pooling (D4 references 12, 13; D5 reference 7; in words, W-22).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x = minseg.tensor(np.arange(3.0).reshape(1, 1, 1, 3))
    >>> adaptive_avg_pool2d(x, (1, 2)).data.ravel().tolist()
    [0.5, 1.5]
    """
    expect_tensor(x, "adaptive_avg_pool2d: x")
    return AdaptiveAvgPool2d.apply(x, output_size=pair(output_size, "adaptive_avg_pool2d: output_size"))


@implements("pool.global_avg")
def global_avg_pool2d(x: Tensor) -> Tensor:
    r"""Take the mean of each channel's whole map.

    Equation ``pool.global_avg``
    ----------------------------
    .. math::
        y_{n,c} = \frac{1}{HW}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1} x_{n,c,i,j}

    Parameters
    ----------
    x : Tensor (N, C, H, W), float

    Returns
    -------
    Tensor (N, C, 1, 1)
        Still a map, of one pixel, so that a 1x1 convolution can follow.

    Gradients
    ---------
    ``pool.adaptive_avg_grad``: every pixel receives the cotangent / (H W).

    Raises
    ------
    ShapeError
        ``global_avg_pool2d: expected 4 dimensions (N, C, H, W), got shape (3, 4)``
    DtypeError, BackendError
        If x is not float, or lives on another backend.

    Cost
    ----
    N C H W additions; keeps nothing.

    Source
    ------
    The 1x1 level of PSPNet's pyramid (W-22); it replaces the fully connected layer that fixes the input size (ERR-20).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> global_avg_pool2d(minseg.tensor(np.arange(6.0).reshape(1, 1, 2, 3))).data.tolist()
    [[[[2.5]]]]
    """
    shapes.expect_images("global_avg_pool2d", expect_tensor(x, "global_avg_pool2d: x"))
    return AdaptiveAvgPool2d.apply(x, output_size=(1, 1))
