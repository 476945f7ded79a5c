"""Mishaps made on purpose, so that tests can see what is left behind."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Inside this block every file is written half, and then the disk is full."""

    def write_half(path: Path, data: bytes) -> None:
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with mock.patch.object(Path, "write_bytes", write_half):
        yield
