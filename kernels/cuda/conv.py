"""Convolution on a GPU: which rung of the ladder in conv.cu computes it. (O, C/groups, R, S) kernels.

The choices rest on times from an NVIDIA H200 (records/), and on how much a tile would leave unused.
"""

import numpy as np

from minseg.errors import Unsupported
from minseg.kernels import shapes
from minseg.kernels.cuda.activation import relu
from minseg.kernels.cuda.device import device_of
from minseg.kernels.cuda.grid import MOST_ROWS, ceil_div, over, side_by_side, striding, summing, through_planes, warps
from minseg.kernels.spec import Pair, Shape

TILE_COLUMNS, PRODUCT_THREADS = 128, 256
"""Of product.cuh."""
DIRECT = ((3, 3), (1, 1), (1, 1))
"""Kernel, stride and dilation of what direct.cuh computes, ..."""
DIRECT_THREADS, TILE_WIDTH, DIRECT_SUMS = 256, 32, 256 * 64
"""... its threads, pixels across and sums of a block."""
PAIR_SIDE, GRADIENT_ROWS = 16, 8
"""Output and input channels of a block, and rows of its tiles, in the gradient for w (doubles have half the rows)."""
COLUMN_BYTES = 256 << 20
"""im2col's columns may take so much memory; images beyond that go one lot after the other."""
BLOCKS = 1024
"""The gradient for w has few outputs and long sums: the sums are cut into parts until there are about so many blocks, several for
each multiprocessor of a large card ..."""
PART_PIXELS = 512
"""... but with so many pixels in each part at least."""


def _window(x_shape: Shape, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> tuple[np.int32, ...]:
    """WINDOW_PARAMETERS of conv.cu."""
    windows = tuple(map(shapes.conv_size, x_shape[2:], kernel, stride, padding, dilation))
    return tuple(map(np.int32, (*x_shape[2:], *windows, *kernel, *stride, *padding, *dilation)))


def im2col(x, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair):
    """eq: conv.im2col"""
    device = device_of(x)
    cols = device.empty(shapes.im2col(x, kernel_size, stride, padding, dilation), x.dtype)
    window = _window(x.shape, kernel_size, stride, padding, dilation)
    planes = x.shape[0] * x.shape[1]
    device.launch(
        "conv", "im2col", x.dtype, *through_planes(planes, cols.size // planes), x, cols, np.int64(planes), *window
    )
    return cols


def col2im(cols, x_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair):
    """eq: conv.col2im. Each pixel gathers its columns: no two threads add to one place."""
    device = device_of(cols)
    x = device.empty(tuple(x_shape), cols.dtype)
    window = _window(x_shape, kernel_size, stride, padding, dilation)
    planes = x.shape[0] * x.shape[1]
    device.launch(
        "conv", "col2im", cols.dtype, *through_planes(planes, x.size // planes), cols, x, np.int64(planes), *window
    )
    return x


# ------------------------------------------------------------------------------------------------------------------- naive


def _bias(b, stand_in) -> tuple:
    """The kernels' two arguments for a bias: something must stand in for one that is missing."""
    return (stand_in, np.bool_(False)) if b is None else (b, np.bool_(True))


def _naive(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    device = device_of(x)
    y = device.empty(shapes.conv2d(x, w, b, stride, padding, dilation, groups), x.dtype)
    sizes = np.int64(y.size), np.int32(x.shape[1]), np.int32(w.shape[0]), np.int32(groups)
    window = _window(x.shape, w.shape[2:], stride, padding, dilation)
    device.launch("conv", "conv2d_naive", x.dtype, *over(y.size), x, w, *_bias(b, w), y, *sizes, *window)
    return y


def _transposed_naive(gy, w, b, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    device = device_of(gy)
    gx = device.empty(tuple(x_shape), gy.dtype)
    sizes = np.int64(gx.size), np.int32(x_shape[1]), np.int32(w.shape[0]), np.int32(groups)
    window = _window(x_shape, w.shape[2:], stride, padding, dilation)
    device.launch("conv", "conv2d_grad_x_naive", gy.dtype, *over(gx.size), gy, w, *_bias(b, w), gx, *sizes, *window)
    return gx


def _grad_w_naive(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    device = device_of(gy)
    gw = device.empty(tuple(w_shape), gy.dtype)
    sizes = np.int64(gw.size), *map(np.int32, (len(x), x.shape[1], w_shape[0], groups))
    window = _window(x.shape, w_shape[2:], stride, padding, dilation)
    device.launch("conv", "conv2d_grad_w_naive", gy.dtype, *over(gw.size), gy, x, gw, *sizes, *window)
    return gw


# ------------------------------------------------------------------------------------------------------------------ im2col


def _lots(N: int, bytes_each: int) -> list[slice]:
    """The images, in lots whose columns fit into COLUMN_BYTES."""
    size = max(1, COLUMN_BYTES // bytes_each)
    return [slice(n, min(N, n + size)) for n in range(0, N, size)]


def _add_bias(y, b):
    if b is not None:
        device = device_of(y)
        sizes = np.int64(y.size), np.int32(y.shape[1]), np.int32(y.shape[2] * y.shape[3])
        device.launch("conv", "add_bias", y.dtype, *striding(y.size), b, y, *sizes)
    return y


def _by_columns(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    device = device_of(x)
    y = device.empty(shapes.conv2d(x, w, b, stride, padding, dilation, groups), x.dtype)
    N, O, I, J = y.shape
    K = w[0].size
    w_matrix = w.reshape(groups, O // groups, K)
    for lot in _lots(N, groups * K * I * J * x.dtype.itemsize):
        cols = im2col(x[lot], w.shape[2:], stride, padding, dilation)
        y[lot] = device.matmul(w_matrix, cols.reshape(-1, groups, K, I * J)).reshape(-1, O, I, J)
    return _add_bias(y, b)


def _transposed_by_columns(gy, w, b, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    device = device_of(gy)
    gx = device.empty(tuple(x_shape), gy.dtype)
    N, O, I, J = gy.shape
    K = w[0].size
    turned = w.reshape(groups, O // groups, K).transpose(0, 2, 1)
    for lot in _lots(N, groups * K * I * J * gy.dtype.itemsize):
        cols = device.matmul(turned, gy[lot].reshape(-1, groups, O // groups, I * J))
        cols = cols.reshape(-1, groups * K, I * J)
        gx[lot] = col2im(cols, (len(cols), *x_shape[1:]), w.shape[2:], stride, padding, dilation)
    return _add_bias(gx, b)


def _grad_w_by_columns(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    device = device_of(gy)
    N, O, I, J = gy.shape
    gw = device.zeros(tuple(w_shape), gy.dtype)
    K = gw[0].size
    for lot in _lots(N, groups * K * I * J * gy.dtype.itemsize):
        cols = im2col(x[lot], w_shape[2:], stride, padding, dilation).reshape(-1, groups, K, I * J)
        products = device.matmul(gy[lot].reshape(-1, groups, O // groups, I * J), cols.transpose(0, 1, 3, 2))
        gw += products.sum(axis=0).reshape(w_shape)
    return gw


# ------------------------------------------------------------------------------------------------------------------- tiled


def _tiles(rows: int, columns: int, deep: int) -> tuple[int, tuple[int, int, int]]:
    """The height of the tiles for so many rows, and the grid of them."""
    height = 16 if rows <= 16 else 32 if rows <= 32 else 64
    return height, (ceil_div(columns, TILE_COLUMNS), ceil_div(rows, height), deep)


def _tiled(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    device = device_of(x)
    y = device.empty(shapes.conv2d(x, w, b, stride, padding, dilation, groups), x.dtype)
    N, O, I, J = y.shape
    height, grid = _tiles(O // groups, N * I * J, groups)
    sizes = np.int64(N * I * J), np.int32(x.shape[1]), np.int32(O), np.int32(groups)
    window = _window(x.shape, w.shape[2:], stride, padding, dilation)
    block = (PRODUCT_THREADS,)
    device.launch("conv", f"conv2d_tiled_{height}", x.dtype, grid, block, x, w, *_bias(b, w), y, *sizes, *window)
    return y


def _transposed_tiled(gy, w, b, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    device = device_of(gy)
    gx = device.empty(tuple(x_shape), gy.dtype)
    N, C, H, W = x_shape
    height, grid = _tiles(C // groups, N * H * W, groups)
    sizes = np.int64(N * H * W), np.int32(C), np.int32(w.shape[0]), np.int32(groups)
    window = _window(x_shape, w.shape[2:], stride, padding, dilation)
    block = (PRODUCT_THREADS,)
    device.launch(
        "conv", f"conv2d_grad_x_tiled_{height}", gy.dtype, grid, block, gy, w, *_bias(b, w), gx, *sizes, *window
    )
    return gx


def _grad_w_tiled(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """The parts follow from the shapes alone, so the bits do too."""
    device = device_of(gy)
    N, O, I, J = gy.shape
    gw = device.empty(tuple(w_shape), gy.dtype)
    height, (across, down, _) = _tiles(O // groups, gw[0].size, groups)
    parts = _parts(N * I * J, across * down, groups)
    grid = across, down, groups * parts
    sums = device.empty((parts, *w_shape), gy.dtype)
    sizes = tuple(map(np.int32, (N, parts, x.shape[1], O, groups)))
    window = _window(x.shape, w_shape[2:], stride, padding, dilation)
    block = (PRODUCT_THREADS,)
    device.launch("conv", f"conv2d_grad_w_tiled_{height}", gy.dtype, grid, block, gy, x, sums, *sizes, *window)
    return _sum_of_parts(sums, gw)


def _parts(pixels: int, tiles: int, groups: int) -> int:
    """How many parts share the sum over so many pixels, for so many tiles of outputs in each group."""
    return max(1, min(ceil_div(BLOCKS, tiles * groups), ceil_div(pixels, PART_PIXELS), MOST_ROWS // groups))


def _sum_of_parts(sums, gw):
    """The parts are added in a fixed order."""
    device = device_of(sums)
    sizes = np.int64(gw.size), np.int32(len(sums))
    device.launch("conv", "sum_parts", gw.dtype, *side_by_side(gw.size), sums, gw, *sizes)
    return gw


# ------------------------------------------------------------------------------------------------------------------ direct


def _direct_tile(rows: int) -> tuple[int, int]:
    """Output channels and rows of pixels of a tile, for so many output channels in a group."""
    channels = 16 if rows <= 16 else 32 if rows <= 32 else 64
    return channels, DIRECT_SUMS // (TILE_WIDTH * channels)


def _expect_direct(name: str, kernel_size: Pair, stride: Pair, dilation: Pair) -> None:
    if (kernel_size, stride, dilation) != DIRECT:
        raise Unsupported(
            f"{name}: the variant 'direct' is for 3x3 kernels with stride 1 and dilation 1, got kernel {kernel_size}, "
            f"stride {stride}, dilation {dilation} [conv.corr2d]"
        )


def _launch_direct(x, w, b, y, turned: bool, rectified: bool, padding: Pair, groups: int):
    device = device_of(x)
    (N, C, H, W), (_, O, I, J) = x.shape, y.shape
    channels, height = _direct_tile(O // groups)
    grid = N * ceil_div(I, height) * ceil_div(J, TILE_WIDTH), ceil_div(O // groups, channels), groups
    arrays = x, w, np.bool_(turned), *_bias(b, w), np.bool_(rectified), y
    sizes = map(np.int32, (C, O, groups, H, W, I, J, *padding))
    device.launch("conv", f"conv2d_direct_{channels}", x.dtype, grid, (DIRECT_THREADS,), *arrays, *sizes)
    return y


def _direct(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int, rectified: bool = False):
    _expect_direct("conv2d", w.shape[2:], stride, dilation)
    y = device_of(x).empty(shapes.conv2d(x, w, b, stride, padding, dilation, groups), x.dtype)
    return _launch_direct(x, w, b, y, False, rectified, padding, groups)


def _transposed_direct(gy, w, b, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """A convolution of gy with turned kernels, padded with what the windows of x reach beyond gy."""
    _expect_direct("conv2d_grad_x", w.shape[2:], stride, dilation)
    gx = device_of(gy).empty(tuple(x_shape), gy.dtype)
    return _launch_direct(gy, w, b, gx, True, False, (2 - padding[0], 2 - padding[1]), groups)


def _grad_w_direct(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    _expect_direct("conv2d_grad_w", w_shape[2:], stride, dilation)
    device = device_of(gy)
    (N, O, I, J), (_, C, H, W) = gy.shape, x.shape
    gw = device.empty(tuple(w_shape), gy.dtype)
    across, down = ceil_div(w_shape[1], PAIR_SIDE), ceil_div(O // groups, PAIR_SIDE)
    parts = _parts(N * I * J, across * down, groups)
    grid = across, down, groups * parts
    sums = device.empty((parts, *w_shape), gy.dtype)
    sizes = map(np.int32, (N, parts, C, O, groups, H, W, I, J, *padding))
    device.launch("conv", "conv2d_grad_w_direct", gy.dtype, grid, (DIRECT_THREADS,), gy, x, sums, *sizes)
    return _sum_of_parts(sums, gw)


# -------------------------------------------------------------------------------------------------------------- the choice


def _without_bias(transposed):
    """conv2d_grad_x is the transposed convolution without a bias."""

    def conv2d_grad_x(gy, w, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
        return transposed(gy, w, None, x_shape, stride, padding, dilation, groups)

    return conv2d_grad_x


def _with_output_padding(transposed):
    """The size of a transposed convolution's output says all that there is to say about output_padding."""

    def conv_transpose2d(x, w, b, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair, groups: int):
        y_shape = shapes.conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups)
        return transposed(x, w, b, y_shape, stride, padding, dilation, groups)

    return conv_transpose2d


_TRANSPOSED = {
    "naive": _transposed_naive,
    "im2col": _transposed_by_columns,
    "tiled": _transposed_tiled,
    "direct": _transposed_direct,
}

VARIANTS = {
    "conv2d": {"naive": _naive, "im2col": _by_columns, "tiled": _tiled, "direct": _direct},
    "conv2d_grad_x": {rung: _without_bias(transposed) for rung, transposed in _TRANSPOSED.items()},
    "conv2d_grad_w": {
        "naive": _grad_w_naive,
        "im2col": _grad_w_by_columns,
        "tiled": _grad_w_tiled,
        "direct": _grad_w_direct,
    },
    "conv_transpose2d": {rung: _with_output_padding(transposed) for rung, transposed in _TRANSPOSED.items()},
}

FEW_ROWS = 4
"""A tile has 16 rows at least: with so few channels in a group, one thread an output wastes less."""
MANY_ROWS, LONG_SUMS = 128, 512
"""From so many channels and terms on, columns cost little beside the product, and the vendor's library is the fastest product."""


def rung(rows: int, terms: int, pixels: Pair, window: tuple[Pair, Pair, Pair]) -> str:
    """Which rung computes ``rows`` channels of a group, each output a sum of ``terms``, on maps of so many pixels.

    The window is its size, stride and dilation.
    """
    if rows <= FEW_ROWS:
        return "naive"
    if window == DIRECT and _fills_tiles(*pixels, _direct_tile(rows)[1]):
        return "direct"
    return "im2col" if rows >= MANY_ROWS and terms >= LONG_SUMS else "tiled"


def _fills_tiles(I: int, J: int, height: int) -> bool:
    """Whether a map fills at least half of the direct rung's tiles."""
    in_tiles = ceil_div(I, height) * height * ceil_div(J, TILE_WIDTH) * TILE_WIDTH
    return in_tiles <= 2 * I * J


def transposed_rung(rows: int, outputs: int, pixels: Pair, window: tuple[Pair, Pair, Pair]) -> str:
    """The same for the gradient for x, which adds up ``outputs`` channels of gy at each position of the kernel.

    With a stride a pixel meets one position in stride_i x stride_j. The product with columns multiplies what is met and nothing
    else; the other rungs go through all positions and add up zeros, which is cheaper than columns for a few channels only.
    """
    kernel_size, stride, _ = window
    if stride != (1, 1) and max(rows, outputs) > FEW_ROWS:
        return "im2col"
    return rung(rows, outputs * kernel_size[0] * kernel_size[1], pixels, window)


def conv2d(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d"""
    chosen = _rung_of(x, w, b, stride, padding, dilation, groups)
    return VARIANTS["conv2d"][chosen](x, w, b, stride, padding, dilation, groups)


def _rung_of(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> str:
    pixels = shapes.conv2d(x, w, b, stride, padding, dilation, groups)[2:]
    return rung(w.shape[0] // groups, w[0].size, pixels, (w.shape[2:], stride, dilation))


def conv2d_relu(x, w, b, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.corr2d_relu. The direct rung applies ReLU before it writes; after the others comes a second launch."""
    if _rung_of(x, w, b, stride, padding, dilation, groups) == "direct":
        return _direct(x, w, b, stride, padding, dilation, groups, rectified=True)
    return relu(conv2d(x, w, b, stride, padding, dilation, groups))


def conv2d_grad_x(gy, w, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_x"""
    window = w.shape[2:], stride, dilation
    chosen = transposed_rung(x_shape[1] // groups, w.shape[0] // groups, tuple(x_shape[2:]), window)
    return VARIANTS["conv2d_grad_x"][chosen](gy, w, x_shape, stride, padding, dilation, groups)


def conv2d_grad_w(gy, x, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int):
    """eq: conv.grad_w"""
    chosen = grad_w_rung(w_shape[0] // groups, gy.shape[2:], w_shape, stride, dilation)
    return VARIANTS["conv2d_grad_w"][chosen](gy, x, w_shape, stride, padding, dilation, groups)


def grad_w_rung(rows: int, pixels: Pair, w_shape: Shape, stride: Pair, dilation: Pair) -> str:
    """Which rung computes the gradient for w. Sums over pixels are long: only two rungs share them out, and take few rows too."""
    _, channels, *kernel_size = w_shape
    if (tuple(kernel_size), stride, dilation) == DIRECT and _fills_tiles(*pixels, GRADIENT_ROWS):
        return "direct"
    terms = channels * kernel_size[0] * kernel_size[1]
    return "im2col" if rows >= MANY_ROWS and terms >= LONG_SUMS else "tiled"


def conv2d_grad_b(gy):
    """eq: conv.grad_b"""
    device = device_of(gy)
    N, O, H, W = gy.shape
    gb = device.empty((O,), gy.dtype)
    grid, block = summing(N * O, H * W)
    parts = device.empty((grid[1] * N, O), np.float64)
    device.launch("conv", "conv2d_grad_b", gy.dtype, grid, block, gy, parts, np.int64(H * W))
    device.launch("conv", "add_parts", gy.dtype, *warps(O), parts, gb, np.int64(len(parts)), np.int32(O))
    return gb


def conv_transpose2d(x, w, b, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair, groups: int):
    """eq: conv.transpose2d"""
    pixels = shapes.conv_transpose2d(x, w, b, stride, padding, output_padding, dilation, groups)[2:]
    chosen = transposed_rung(w.shape[1], w.shape[0] // groups, pixels, (w.shape[2:], stride, dilation))
    return VARIANTS["conv_transpose2d"][chosen](x, w, b, stride, padding, output_padding, dilation, groups)
