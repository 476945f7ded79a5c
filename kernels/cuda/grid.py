"""How many threads a launch needs, for the host code beside: blocks of THREADS, and enough of them.

Where a number here, or one that chooses a rung in the files beside, rests on a measurement, it says so; the others follow from what
cards have in common.
"""

WARP = 32

THREADS = 256
"""A multiple of the warp, and small enough that several blocks share a multiprocessor: while one waits, another computes."""

MOST_BLOCKS = 4096
"""A grid-stride loop needs no more: it keeps every multiprocessor of a large GPU busy many times over."""

ROOM = 2048
"""Blocks that fill a large GPU. Where there is more work, a thread that takes several pixels works out only once what is the same
for all of them."""

MOST_COLUMNS = 2**31 - 1
"""Where the first side of a grid ends."""

MOST_ROWS = 65535
"""Where its second and third side end."""

PIXELS_A_THREAD = 16
"""Of a plane: enough that what a thread computes about its channel is worth it."""

NUMBERS_A_THREAD = 32
"""Of a sum: eight packs. Fewer are not worth another block."""

PLANES = 8
"""Of common.cuh: in so many planes a thread has the same pixel."""

SHARERS = 8
"""Of common.cuh: threads of a block that share a sum."""


def ceil_div(n: int, size: int) -> int:
    return -(-n // size)


def over(n: int) -> tuple[tuple[int], tuple[int]]:
    """Grid and block where each of n elements has a thread. A launch may not be empty, but an array may."""
    return (max(1, ceil_div(n, THREADS)),), (THREADS,)


def striding(n: int) -> tuple[tuple[int], tuple[int]]:
    """Grid and block of a grid-stride loop over n elements."""
    return (min(MOST_BLOCKS, max(1, ceil_div(n, THREADS))),), (THREADS,)


def over_planes(planes: int, pixels: int) -> tuple[tuple[int, int], tuple[int]]:
    """Grid and block where each plane has a few blocks, or a smaller one if it is small."""
    blocks = min(MOST_ROWS, ceil_div(pixels, THREADS * PIXELS_A_THREAD))
    return (planes, blocks), (min(THREADS, WARP * ceil_div(pixels, WARP)),)


def through_planes(planes: int, pixels: int) -> tuple[tuple[int, int], tuple[int]]:
    """Grid and block where each pixel has a thread for every PLANES planes."""
    threads, groups = min(THREADS, WARP * ceil_div(pixels, WARP)), ceil_div(planes, PLANES)
    return (groups, min(MOST_ROWS, ceil_div(pixels, threads), max(1, ROOM // groups))), (threads,)


def summing(planes: int, pixels: int) -> tuple[tuple[int, int], tuple[int]]:
    """Grid and block of a sum over each plane: how many blocks share one, and a power of two of threads, four numbers each."""
    threads = min(THREADS, max(WARP, 1 << (ceil_div(pixels, 4) - 1).bit_length()))
    return (planes, min(MOST_ROWS, ceil_div(pixels, threads * NUMBERS_A_THREAD))), (threads,)


def side_by_side(n: int) -> tuple[tuple[int], tuple[int, int]]:
    """Grid and block where each of n sums has SHARERS threads, and neighbouring sums neighbouring ones."""
    return (ceil_div(n, WARP),), (WARP, SHARERS)


def warps(n: int) -> tuple[tuple[int], tuple[int]]:
    """Grid and block where each of n sums has a warp."""
    return over(n * WARP)
