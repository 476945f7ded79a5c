"""Writing files whole or not at all: each is written beside its name and moved into place once it is on the disk."""

import contextlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

from minseg.errors import FileError


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to; move it into place at the end, or remove it on failure.

    Raises
    ------
    FileError
        If the system refuses (disk full, no permission); a file that stood at ``path`` before is left as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())  # a full disk may only show here
        os.replace(temporary, path)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}; nothing was changed there") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write the bytes to the file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | os.PathLike, value) -> None:
    """Write the value as JSON, whole or not at all; NaN and infinity become null, which every reader understands."""
    text = json.dumps(jsonable(value), indent=2, allow_nan=False, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: str | os.PathLike):
    """The value in a JSON file; FileError if it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise FileError(f"{path} is not a JSON file ({error})") from error


def jsonable(value):
    """The value in JSON's own types: tuples and arrays as lists, NumPy numbers as numbers, NaN and infinity as None."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # NumPy arrays and numbers
        return jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
