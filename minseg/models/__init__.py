"""Networks, one file each. ``build`` makes one by name."""

import inspect

from minseg.errors import ArgumentError, nearest_names
from minseg.models.unet import UNet
from minseg.nn import Module

_MODELS: dict[str, type[Module]] = {"unet": UNet}

NAMES: tuple[str, ...] = tuple(_MODELS)
"""The names that ``build`` knows."""


def build(name: str, in_channels: int, num_classes: int, **options) -> Module:
    """Make the network of this name, with its initial weights.

    Parameters
    ----------
    name : str
        One of ``NAMES``.
    in_channels, num_classes : int
        It maps images (N, in_channels, H, W) to logits (N, num_classes, H, W).
    **options
        The network's own (``widths`` and ``seed`` of the U-Net, say).

    Raises
    ------
    ArgumentError
        If the name or an option is not known; the message lists those that are.

    >>> build("unet", 3, 4, widths=(8, 16)).head
    Conv2d(8, 4, kernel_size=(1, 1), stride=(1, 1))
    """
    if name not in _MODELS:
        raise ArgumentError(f"unknown model {name!r}; {nearest_names(name, NAMES)}")
    known = [
        option for option in inspect.signature(_MODELS[name]).parameters if option not in ("in_channels", "num_classes")
    ]
    for option in options:
        if option not in known:
            raise ArgumentError(f"{name} has no option {option!r}; {nearest_names(option, known)}")
    return _MODELS[name](in_channels, num_classes, **options)


__all__ = ["NAMES", "UNet", "build"]
