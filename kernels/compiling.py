"""Who wants to know that a kernel is being compiled: it takes seconds, once, and whoever waits should be told why."""

import contextlib
from collections.abc import Callable, Iterator

_watchers: list[Callable[[str], None]] = []


@contextlib.contextmanager
def watching(tell: Callable[[str], None]) -> Iterator[None]:
    """Inside this block, ``tell(name)`` is called whenever a kernel is about to be compiled, and not where it was kept."""
    _watchers.append(tell)
    try:
        yield
    finally:
        _watchers.remove(tell)


def announce(name: str) -> None:
    """Say that the kernel of this name is about to be compiled."""
    for tell in _watchers:
        tell(name)
