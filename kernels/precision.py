"""Whether kernels may compute by other formulas than the definition's, which round more: a ``with`` block or a plain call."""

_precise = False


class precise:
    """Only kernels that round like the definition: convolutions leave Winograd's transforms out, and take longer.

    ``with precise():`` for a block, ``precise()`` for good, ``precise(False)`` to allow them again. It holds for whatever runs
    while it is set, forward or backward. In float64 the transforms are never used.

    >>> with precise():
    ...     is_precise()
    True
    """

    def __init__(self, on: bool = True):
        global _precise
        self.before = _precise
        _precise = on

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception) -> None:
        global _precise
        _precise = self.before


def is_precise() -> bool:
    """What was set last."""
    return _precise
