"""The picture files that come with minseg, in ``minseg/data/embedded/`` beside their SOURCES.md."""

from importlib.resources import files

import numpy as np
from PIL import Image

from minseg.errors import DataError


def embedded(name: str) -> np.ndarray:
    """The pixels of an embedded picture."""
    source = files("minseg.data").joinpath("embedded", name)
    try:
        with source.open("rb") as file, Image.open(file) as picture:
            return np.asarray(picture)
    except OSError as error:
        raise DataError(
            f"the embedded picture {source} is missing or damaged ({error}); install minseg again"
        ) from error
