"""A figure that a notebook shows by itself: the same PNG at every run, 640 pixels wide where it is 8 inches wide."""

import io

from matplotlib.figure import Figure
from PIL import Image

from minseg.viz.style import png, style

NOTEBOOK_DPI = 80


class NotebookFigure(Figure):
    """A Matplotlib figure with a picture of itself for Jupyter."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with style():
            self.savefig(buffer, format="rgba", dpi=NOTEBOOK_DPI)
        size = tuple(int(side * NOTEBOOK_DPI) for side in self.get_size_inches())
        picture = Image.frombytes("RGBA", size, buffer.getvalue()).convert("RGB")
        few = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)  # a third of the bytes
        return png(few, optimize=True)

    def __repr__(self) -> str:
        return f"<figure of {len(self.axes)} panels>"
