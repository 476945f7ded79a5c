"""Whether a committed notebook says what its source says: code to the letter, numbers nearly, pictures coarsely."""

import base64
import io
import re

import numpy as np
from PIL import Image

from minseg.testing.tutorials.mode import fast
from minseg.testing.tutorials.notebook import Cell, joined, output_texts

RELATIVE, ABSOLUTE = 0.05, 0.02
"""How far a number may be from the committed one: another processor rounds differently, and training amplifies that."""
THUMBNAIL, SHADE = 16, 12.0
"""Pictures are compared as thumbnails of so many pixels, which may differ by so many of 255 grey levels on average."""

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?")


def stale(committed: dict, source: list[Cell]) -> list[str]:
    """Where the cells of a committed notebook are not those of its source; nothing is executed."""
    old = [(cell["cell_type"] == "markdown", joined(cell["source"])) for cell in committed["cells"]]
    new = [(cell.markdown, cell.text) for cell in source]
    if len(old) != len(new):
        return [f"{len(old)} cells are committed, the source has {len(new)}"]
    return [f"cell c{i:03} is not the source's: {b[1][:60]!r}" for i, (a, b) in enumerate(zip(old, new)) if a != b]


def differences(committed: dict, fresh: dict) -> list[str]:
    """Where the outputs of a fresh notebook are not the committed ones; of a fast one, up to the first cell that trains."""
    old = {cell["id"]: cell for cell in committed["cells"]}
    found = []
    for cell in fresh["cells"]:
        if fast() and "steps(" in joined(cell["source"]):
            break
        if cell["cell_type"] == "code":
            found += [
                f"cell {cell['id']} {what}" for what in _output_differences(old[cell["id"]]["outputs"], cell["outputs"])
            ]
    return found


def _output_differences(old: list[dict], new: list[dict]) -> list[str]:
    if len(old) != len(new):
        return [f"has {len(new)} outputs, committed are {len(old)}"]
    found = []
    for a, b in zip(old, new):
        texts = zip(output_texts(a), output_texts(b))
        found += [difference for one, other in texts for difference in [text_difference(one, other)] if difference]
        pictures = a.get("data", {}).get("image/png"), b.get("data", {}).get("image/png")
        if any(pictures):
            found += [difference for difference in [picture_difference(*pictures)] if difference]
    return found


def text_difference(old: str, new: str) -> str:
    """Words must be the same, numbers nearly; empty if they are."""
    if _words(old) != _words(new):
        return f"says {new[:200]!r}, committed is {old[:200]!r}"
    for a, b in zip(_NUMBER.findall(old), _NUMBER.findall(new)):
        if abs(float(a) - float(b)) > ABSOLUTE + RELATIVE * abs(float(a)):
            return f"has {b} where {a} is committed"
    return ""


def _words(text: str) -> list[str]:
    """Without its numbers, nor the spaces that align them."""
    return _NUMBER.sub("#", text).split()


def picture_difference(old: str | None, new: str | None) -> str:
    """Of two PNGs in base64; empty if they have one size and look alike."""
    if old is None or new is None:
        return "has a picture too many or too few"
    a, b = (Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB") for data in (old, new))
    if a.size != b.size:
        return f"has a picture of {b.size} pixels, committed are {a.size}"
    small = [np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), float) for image in (a, b)]
    apart = np.abs(small[0] - small[1]).mean()
    return f"has a picture that differs by {apart:.1f} grey levels" if apart > SHADE else ""
