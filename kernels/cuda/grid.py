"""How many threads a launch needs, for the host code beside: blocks of THREADS, and enough of them.

None of the numbers here, nor of those that choose a rung in the files beside, has been timed on a card yet: they follow from what
cards have in common.
"""

WARP = 32

THREADS = 256
"""A multiple of the warp, and small enough that several blocks share a multiprocessor: while one waits, another computes."""

MOST_BLOCKS = 4096
"""A grid-stride loop needs no more: it keeps every multiprocessor of a large GPU busy many times over."""

MOST_COLUMNS = 2**31 - 1
"""Where the first side of a grid ends."""

MOST_ROWS = 65535
"""Where its second and third side end."""

MOST_PARTS = 256
"""Blocks that share one sum, at most: its second stage adds up so many numbers one after the other."""

NUMBERS_A_THREAD = 16
"""Fewer numbers to add up are not worth another block."""


def ceil_div(n: int, size: int) -> int:
    return -(-n // size)


def over(n: int) -> tuple[tuple[int], tuple[int]]:
    """Grid and block where each of n elements has a thread. A launch may not be empty, but an array may."""
    return (max(1, ceil_div(n, THREADS)),), (THREADS,)


def striding(n: int) -> tuple[tuple[int], tuple[int]]:
    """Grid and block of a grid-stride loop over n elements."""
    return (min(MOST_BLOCKS, max(1, ceil_div(n, THREADS))),), (THREADS,)


def parts_of(n: int) -> int:
    """How many blocks share a sum of n numbers."""
    return min(MOST_PARTS, ceil_div(n, THREADS * NUMBERS_A_THREAD))
