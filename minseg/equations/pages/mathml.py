"""LaTeX to MathML, by latex2mathml."""

import re
from functools import lru_cache
from xml.etree import ElementTree

from minseg.errors import Unsupported


def missing() -> Unsupported:
    """The error for pages without the libraries that make them."""
    return Unsupported("the pages need latex2mathml and Pygments: pip install 'minseg[pages]'")


@lru_cache(maxsize=4096)
def mathml(latex: str, block: bool = False) -> str:
    """The formula as a <math> element, with its LaTeX as the text for those who cannot see it."""
    try:
        from latex2mathml.converter import convert
    except ImportError:
        raise missing() from None
    root = ElementTree.fromstring(convert(_as_tex_sets_it(latex), display="block" if block else "inline"))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]  # HTML has no namespaces
    for script in root.iter():
        if script.tag in _SCRIPTS:
            for sign in (sign for child in script[1:] for sign in child.iter("mo")):
                sign.set("lspace", "0")
                sign.set("rspace", "0.06em" if sign.text == "," else "0")
    for sign in root.iter("mo"):
        if sign.text in _TIGHT:
            sign.set("lspace", _TIGHT[sign.text][0])
            sign.set("rspace", _TIGHT[sign.text][1])
    root.set("alttext", latex)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


_SCRIPTS = {"msub", "msup", "msubsup", "munder", "mover", "munderover"}
"""In indices and limits TeX leaves no space around signs; browsers do."""

_TIGHT = {"|": ("0", "0"), "max": ("0.1em", "0.08em"), "min": ("0.1em", "0.08em")}
"""Space before and after signs that browsers set too far apart."""


def _as_tex_sets_it(latex: str) -> str:
    """What TeX does by itself and the converter only when told: limits under max, arg upright, floors as high as what they hold."""
    latex = re.sub(r"\\(max|min|sum|prod)_", r"\\\1\\limits_", latex)
    latex = latex.replace(r"\arg", r"\mathrm{arg}\,")
    return re.sub(r"(?<!\\left)(?<!\\right)\\([lr])(floor|ceil)", _stretched, latex)


def _stretched(match: re.Match) -> str:
    side = {"l": "left", "r": "right"}[match[1]]
    return rf"\{side}\{match[1]}{match[2]}"
