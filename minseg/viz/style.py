"""The one style of all pictures: colours that colour-blind readers can tell apart, no windows, the same bytes every time."""

import contextlib
import io
import os
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from minseg.files import write_bytes

IGNORE = 255
INK, FAINT, GREY, ERROR = "#222222", "#8c8c8c", "#a0a0a0", "#d7191c"

# Okabe and Ito (2008), then muted colours of Tol (2021): safe together up to nine classes or so.
COLOURS = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#332288", "#ddcc77", "#882255",
    "#661100", "#999933", "#aa4499", "#44aa99", "#cc6677", "#117733", "#6699cc", "#88ccee", "#bbcc33", "#77aadd",
)  # fmt: skip

# What everybody expects in one colour gets it.
COLOUR_OF = {
    "background": "#1b2233",
    "water": "#0072b2",
    "sky": "#56b4e9",
    "tree": "#009e73",
    "trees": "#009e73",
    "open vegetation": "#f0e442",
    "arid": "#d55e00",
}

STYLE = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so it is the same everywhere
    "font.size": 10.5,
    "text.color": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlepad": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "figure.dpi": 100,
    "savefig.dpi": 100,
}


def class_colours(class_names: Sequence[str]) -> np.ndarray:
    """One colour a class, (K, 3) uint8: always the same for the same names."""
    taken = {COLOUR_OF[name] for name in class_names if name in COLOUR_OF}
    free = [colour for colour in COLOURS if colour not in taken]
    colours, used = [], 0
    for name in class_names:
        if name in COLOUR_OF:
            colours.append(COLOUR_OF[name])
        else:
            colours.append(free[used % len(free)])
            used += 1
    return np.array([rgb(colour) for colour in colours], np.uint8)


def palette(class_names) -> np.ndarray:
    """256 colours: the classes', then grey for every label that is none of them."""
    palette = np.full((256, 3), rgb(GREY), np.uint8)
    palette[: len(class_names)] = class_colours(class_names)
    return palette


def line_colour(names, number: int) -> str:
    return FAINT if names[number] == "background" else hex_colour(class_colours(names)[number])


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults and STYLE, whatever the user's own settings; they are back afterwards."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def new_figure(width: float, height: float):
    """A figure of this size in inches that belongs to no window and to no global list; a notebook shows it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from minseg.viz.notebook import NotebookFigure

    figure = NotebookFigure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure, path: str | os.PathLike) -> None:
    """Write the figure as a PNG, whole or not at all; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def png(picture: Image.Image, optimize: bool = False) -> bytes:
    """The bytes of its PNG; optimize makes them fewer, slowly."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=optimize)
    return buffer.getvalue()


def hex_colour(colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
