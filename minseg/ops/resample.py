"""Resampling a map to another size: nearest for labels, bilinear for features and logits."""

import math
import numbers

from minseg.autograd import Function, Tensor
from minseg.errors import ArgumentError
from minseg.implements import implements
from minseg.kernels import shapes
from minseg.ops.arguments import choice, expect_tensor, pair


class ResizeNearest(Function):
    equation = "up.nearest"

    def forward(self, x, *, size):
        self.x_shape = x.shape
        return self.kernels.resize_nearest(x, size)

    def backward(self, gy):
        return (self.kernels.resize_nearest_grad_x(gy, self.x_shape),)  # eq: up.nearest_grad


class ResizeBilinear(Function):
    equation = "up.bilinear"

    def forward(self, x, *, size):
        self.x_shape = x.shape
        return self.kernels.resize_bilinear(x, size)

    def backward(self, gy):
        return (self.kernels.resize_bilinear_grad_x(gy, self.x_shape),)  # eq: up.bilinear_grad


_RESIZE = {"nearest": ResizeNearest, "bilinear": ResizeBilinear}


@implements("up.nearest")
def interpolate(x: Tensor, size=None, scale_factor=None, mode: str = "nearest") -> Tensor:
    r"""Resize a batch of maps.

    Equation ``up.nearest``
    -----------------------
    .. math::
        y_{n,c,i,j} = x_{n,c,\lfloor \frac{iH}{I} \rfloor,\lfloor \frac{jW}{J} \rfloor}

    Equation ``up.bilinear``
    ------------------------
    .. math::
        y_{n,c,i,j} = \sum_{u=0}^{H-1}\sum_{v=0}^{W-1} \max(0,1-|a_{i}-u|)\max(0,1-|d_{j}-v|)\, x_{n,c,u,v}

    Parameters
    ----------
    x : Tensor (N, C, H, W), float
    size : int or (int, int), optional
        (I, J), in pixels. Either this or ``scale_factor``.
    scale_factor : number or (number, number), optional
        :math:`I = \lfloor H \cdot scale \rfloor`. Coordinates follow from the sizes, so where H scale is not whole the result is
        PyTorch's with ``recompute_scale_factor=True``.
    mode : {"nearest", "bilinear"}
        Masks need "nearest": bilinear would invent classes between two labels (ERR-41).

    Returns
    -------
    Tensor (N, C, I, J)
        Bilinear reads row :math:`a_i = \min(\max(0, (i+0.5)H/I - 0.5), H-1)` and column d, likewise: pixels are squares whose
        centres lie at half coordinates, and the border repeats. That is PyTorch's ``align_corners=False``, the only choice here:
        with corners aligned, the scale would depend on the size. Shrinking does not average: no anti-aliasing.

    Gradients
    ---------
    ``up.nearest_grad``, ``up.bilinear_grad``: each cotangent goes back to the pixels it was made of, with the same weights; linear.

    Raises
    ------
    ArgumentError
        ``interpolate: give either size or scale_factor, got size=None and scale_factor=None``
    ArgumentError
        ``interpolate: scale_factor must be a positive number or a pair of them, got -1``
    ArgumentError
        ``interpolate: mode must be one of 'nearest', 'bilinear', got 'cubic'``
    ShapeError
        ``interpolate: the output would be 0x0; x (1, 1, 2, 2), scale_factor 0.25. Use a larger input or padding``; or
        if x is not 4-dimensional.
    DtypeError, BackendError
        If x is not float, or lives on another backend.

    Cost
    ----
    N C I J reads (nearest) or four times as many (bilinear); keeps nothing.

    Source
    ------
    D3 and D5 code (``Resize``, C-12); "up" in D5 section 3.2.2 (left out there, ERR-27).

    Examples
    --------
    >>> import numpy as np, minseg
    >>> x = minseg.tensor(np.array([[[[0.0, 4.0]]]]))
    >>> interpolate(x, scale_factor=2).data[0, 0].tolist()
    [[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0]]
    >>> interpolate(x, size=(1, 4), mode="bilinear").data[0, 0].tolist()
    [[0.0, 1.0, 3.0, 4.0]]
    """
    shapes.expect_images("interpolate", expect_tensor(x, "interpolate: x"))
    choice(mode, tuple(_RESIZE), "interpolate: mode")
    if (size is None) == (scale_factor is None):
        raise ArgumentError(
            f"interpolate: give either size or scale_factor, got size={size} and scale_factor={scale_factor}"
        )
    if size is None:
        size = _scaled(x.shape[2:], scale_factor)
        shapes.expect_output("interpolate", size, f"x {x.shape}, scale_factor {scale_factor}")
    return _RESIZE[mode].apply(x, size=pair(size, "interpolate: size"))


def _scaled(size: tuple[int, int], scale_factor) -> tuple[int, int]:
    factors = tuple(scale_factor) if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)
    if len(factors) != 2 or not all(isinstance(f, numbers.Real) and f > 0 and math.isfinite(f) for f in factors):
        raise ArgumentError(
            f"interpolate: scale_factor must be a positive number or a pair of them, got {scale_factor!r}"
        )
    return math.floor(size[0] * factors[0]), math.floor(size[1] * factors[1])
