"""Figures and drawings that a notebook shows by themselves: the same bytes each time, 640 pixels wide where they are 8 inches."""

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


class Drawing:
    """An SVG, such as ``minseg.explain.graph_svg`` makes, with a picture of itself for Jupyter."""

    def __init__(self, svg: str):
        self.svg = svg

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<drawing of {len(self.svg)} characters>"
