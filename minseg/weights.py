"""Weights and other named arrays in safetensors files, which PyTorch and most other frameworks read and write. Never pickle."""

import json
import os
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from minseg.errors import ArgumentError, FileError
from minseg.files import write_bytes

_METADATA = "__metadata__"  # the name that the format keeps for itself


def save_weights(module_or_dict, path: str | os.PathLike, metadata: dict[str, str] | None = None) -> None:
    """Write a module's ``state_dict``, or a dict of arrays, as a safetensors file.

    The file is written beside its name and moved into place: a reader finds the old one or the new one, never half of one.

    Parameters
    ----------
    module_or_dict : Module or dict[str, array]
        Bit for bit what ``load_weights`` returns.
    path : path
    metadata : dict[str, str], optional
        Text that goes with the arrays (``load_metadata`` reads it).

    Raises
    ------
    ArgumentError
        If something is not a named array, or the metadata are not text.
    FileError
        If the file cannot be written (disk full, no permission). No partial file stays, and a former one is unharmed.
    """
    state = module_or_dict.state_dict() if hasattr(module_or_dict, "state_dict") else module_or_dict
    if not all(isinstance(text, str) for item in (metadata or {}).items() for text in item):
        raise ArgumentError(f"save_weights: metadata must map text to text, got {metadata!r}")
    write_bytes(path, safetensors.numpy.save({name: _writable(name, array) for name, array in state.items()}, metadata))


def _writable(name: str, array) -> np.ndarray:
    """On the host, without gaps (safetensors reads the memory as it lies), of a dtype that the format has."""
    if not isinstance(name, str) or name == _METADATA or not hasattr(array, "dtype"):
        raise ArgumentError(f"save_weights: expected named arrays, got {type(array).__name__} under {name!r}")
    array = np.asarray(array.get() if hasattr(array, "get") else array, order="C")
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise ArgumentError(f"save_weights: {name} is {array.dtype}; only numbers of at most 64 bits can be saved")
    return array


def load_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the arrays of a safetensors file; ``module.load_state_dict`` takes them.

    Raises
    ------
    FileError
        If the file is missing, truncated, not a safetensors file, or has a dtype that NumPy lacks (bfloat16, say).
    """
    _, state = _read(path)
    return {name: array.copy() for name, array in state.items()}  # own memory: writable, and free of the file's bytes


def load_metadata(path: str | os.PathLike) -> dict[str, str]:
    """Read the text that was saved with the arrays; empty where there is none. Errors as in ``load_weights``."""
    data, _ = _read(path)
    header_size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + header_size]).get(_METADATA, {})


def _read(path: str | os.PathLike) -> tuple[bytes, dict[str, np.ndarray]]:
    """The file's bytes, and views of the arrays in them."""
    try:
        data = Path(path).read_bytes()
        return data, safetensors.numpy.load(data)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except KeyError as error:
        raise FileError(
            f"{path} has arrays of dtype {error}, which NumPy lacks; convert them to float32 first"
        ) from error
    except (SafetensorError, ValueError) as error:
        raise FileError(
            f"{path} ({len(data)} bytes) is not a complete safetensors file: {error}; save it again, or name another"
        ) from error
