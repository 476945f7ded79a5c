"""Networks, one file each. ``build`` makes one by name."""

import inspect
from collections.abc import Callable
from functools import partial

from minseg.errors import ArgumentError, nearest_names
from minseg.models.attention_decoder import AttentionDecoder
from minseg.models.convnet import ConvNet, ConvNetFCN
from minseg.models.deeplab import DeepLab
from minseg.models.dense import DenseNetSeg
from minseg.models.encoder_decoder import EncoderDecoder
from minseg.models.fcn import FCN
from minseg.models.inception import InceptionSeg
from minseg.models.net import Net, NetFCN
from minseg.models.patch_transformer import PatchTransformer
from minseg.models.pspnet import PSPNet
from minseg.models.resnet import ResNet, ResNetSeg
from minseg.models.segnet import SegNet
from minseg.models.unet import UNet
from minseg.models.voccnn import VocCNN, VocCNNFCN
from minseg.nn import Module

_MODELS: dict[str, Callable[..., Module]] = {
    "convnet": ConvNetFCN,
    "net": NetFCN,
    "voccnn": VocCNNFCN,
    "resnet": ResNetSeg,
    "encoder_decoder": EncoderDecoder,
    "fcn32s": partial(FCN, stride=32),
    "fcn16s": partial(FCN, stride=16),
    "fcn8s": partial(FCN, stride=8),
    "unet": UNet,
    "segnet": SegNet,
    "densenet": DenseNetSeg,
    "inception": InceptionSeg,
    "deeplab": DeepLab,
    "pspnet": PSPNet,
    "attention_decoder": AttentionDecoder,
    "patch_transformer": PatchTransformer,
}

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


__all__ = [
    "FCN",
    "NAMES",
    "AttentionDecoder",
    "ConvNet",
    "ConvNetFCN",
    "DeepLab",
    "DenseNetSeg",
    "EncoderDecoder",
    "InceptionSeg",
    "Net",
    "NetFCN",
    "PSPNet",
    "PatchTransformer",
    "ResNet",
    "ResNetSeg",
    "SegNet",
    "UNet",
    "VocCNN",
    "VocCNNFCN",
    "build",
]
