"""Modules to build networks from: layers, losses and initial weights. Names, arguments and state are PyTorch's."""

from minseg.nn import init
from minseg.nn.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    MaxUnpool2d,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
    Upsample,
)
from minseg.nn.losses import BCEWithLogitsLoss, CrossEntropyLoss, DiceLoss, MSELoss, SumLoss
from minseg.nn.module import IncompatibleKeys, Module, ModuleList, Sequential

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "DiceLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "IncompatibleKeys",
    "Linear",
    "MSELoss",
    "MaxPool2d",
    "MaxUnpool2d",
    "Module",
    "ModuleList",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "SumLoss",
    "Tanh",
    "Upsample",
    "init",
]
