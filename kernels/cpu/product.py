"""A matrix product in registers, out[m, j] = sum_k a[m, k] b[k, j], for whoever can say where a and the rows of b lie:
convolutions and linear maps. A tile of sums stays in registers over all k: 24 multiply-adds for 3 loads and 8 broadcasts.
"""

from minseg.kernels.cpu.jit import kernel
from minseg.kernels.cpu.simd import LANES, in_order, load_each, multiply_add, peek, pointer, splat_each, store_grid

ROWS = 8 if LANES == 16 else 4  # a tile's rows ...
VECTORS = 3  # ... and vectors along each: 24 of AVX-512's 32 registers hold sums, or 12 of AVX's 16
COLUMNS = VECTORS * LANES

ONE, TWO, THREE = (0,), (0,) * 2, (0,) * 3
ROWS_OF_ONE, ROWS_OF_TWO, ROWS_OF_THREE = (0,) * ROWS, (0,) * 2 * ROWS, (0,) * 3 * ROWS


@kernel
def tile(a, at, down, along, b, origin, offset, k0, k1, sums, width):
    """sums[m, v] + sum_k a[at + m down + (k - k0) along] b[origin + offset[k] + v LANES], for as many v as ``width`` has."""
    for k in range(k0, k1):
        sums = multiply_add(sums, a, at, down, load_each(b, origin + peek(offset, k), LANES, width))
        at += along
        in_order()
    return sums


@kernel
def multiply(a, at, down, along, b, origin, offset, k0, k1, length, out, first, step):
    """out[first + m step + j] = sum_k a[at + m down + (k - k0) along] b[origin + offset[k] + j] for ROWS m and ``length`` j.

    The length is rounded up to whole vectors.
    """
    out = pointer(out)
    for j in range(0, length - 2 * LANES, COLUMNS):
        sums = splat_each(b, 0, ROWS_OF_THREE)
        sums = tile(a, at, down, along, b, origin + j, offset, k0, k1, sums, THREE)
        store_grid(out, first + j, step, sums, THREE)
    j = (length + LANES - 1) // LANES // VECTORS * COLUMNS
    if length - j > LANES:
        sums = tile(a, at, down, along, b, origin + j, offset, k0, k1, splat_each(b, 0, ROWS_OF_TWO), TWO)
        store_grid(out, first + j, step, sums, TWO)
    elif length > j:
        sums = tile(a, at, down, along, b, origin + j, offset, k0, k1, splat_each(b, 0, ROWS_OF_ONE), ONE)
        store_grid(out, first + j, step, sums, ONE)
