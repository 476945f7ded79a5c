"""The U-Net in PyTorch, with minseg's names for its weights: the witness of tests and benchmarks (extra ``peers``)."""

from collections.abc import Sequence

import torch
from torch import nn


def _double(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice: 3x3 convolution without bias, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """The same network as ``minseg.models.UNet``, for sides that are multiples of 2^(levels - 1)."""

    def __init__(self, in_channels: int, num_classes: int, widths: Sequence[int] = (16, 32, 64, 128)):
        super().__init__()
        fine, coarse = widths[-2::-1], widths[:0:-1]
        self.encoder = nn.ModuleList(_double(i, o) for i, o in zip((in_channels, *widths), widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(c, f, 2, stride=2) for c, f in zip(coarse, fine))
        self.decoder = nn.ModuleList(_double(2 * f, f) for f in fine)
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for block in self.encoder[:-1]:
            skips.append(block(x))
            x = nn.functional.max_pool2d(skips[-1], 2)
        x = self.encoder[-1](x)
        for up, block in zip(self.up, self.decoder):
            x = block(torch.cat([skips.pop(), up(x)], dim=1))
        return self.head(x)
