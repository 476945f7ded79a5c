"""Fast mode: MINSEG_FAST=1 trains in a tenth of the steps, enough to see that everything runs."""

import contextlib
import os
from collections.abc import Iterator

SHARE = 10
"""In fast mode one step of so many is trained."""


def fast() -> bool:
    """Whether the environment asks for fast mode."""
    return os.environ.get("MINSEG_FAST", "0") not in ("", "0")


def steps(count: int) -> int:
    """So many training steps; a tenth of them, at least 2, in fast mode."""
    return max(2, count // SHARE) if fast() else count


@contextlib.contextmanager
def fast_mode() -> Iterator[None]:
    """Inside this block it is fast mode, here and in the kernels started here."""
    before = os.environ.get("MINSEG_FAST")
    os.environ["MINSEG_FAST"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINSEG_FAST"]
        else:
            os.environ["MINSEG_FAST"] = before
