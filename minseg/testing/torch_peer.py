"""Networks in PyTorch with minseg's names for their weights: the witnesses of tests and benchmarks (extra ``peers``).

Written as one would write them in PyTorch, for sides that need no padding. ``twin`` gives one the weights of a network of ours.
"""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F


def twin(model) -> nn.Module:
    """The PyTorch network like this one of ours, with the same weights and in the same mode."""
    options = {name: getattr(model, name) for name in OPTIONS[type(model).__name__]}
    peer = globals()[type(model).__name__](model.in_channels, model.num_classes, **options)
    # contiguous, because what comes out of a file or a strided array need not be
    state = {name: torch.from_numpy(array.copy()) for name, array in model.state_dict().items()}
    peer.load_state_dict(state)
    return peer.train(model.training)


OPTIONS = {
    "UNet": ("widths",),
    "SegNet": ("widths", "depth"),
    "DeepLab": ("widths", "rates", "channels"),
    "AttentionDecoder": ("widths", "channels"),
}
"""What a twin must know of the network that it is like."""


def resized_like(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, size=y.shape[2:], mode="bilinear", align_corners=False)


def stage(in_channels: int, out_channels: int, depth: int = 2) -> nn.Sequential:
    """``depth`` times: 3x3 convolution without bias, batch norm, ReLU."""
    layers = []
    for i, o in pairwise((in_channels, *[out_channels] * depth)):
        layers += [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """The same network as ``minseg.models.UNet``, for sides that are multiples of 2^(levels - 1)."""

    def __init__(self, in_channels: int, num_classes: int, widths: Sequence[int] = (16, 32, 64, 128)):
        super().__init__()
        fine, coarse = widths[-2::-1], widths[:0:-1]
        self.encoder = nn.ModuleList(stage(i, o) for i, o in zip((in_channels, *widths), widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(c, f, 2, stride=2) for c, f in zip(coarse, fine))
        self.decoder = nn.ModuleList(stage(2 * f, f) for f in fine)
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for block in self.encoder[:-1]:
            skips.append(block(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.encoder[-1](x)
        for up, block in zip(self.up, self.decoder):
            x = block(torch.cat([skips.pop(), up(x)], dim=1))
        return self.head(x)


class SegNet(nn.Module):
    """The same network as ``minseg.models.SegNet``, for sides that are multiples of 2^stages."""

    def __init__(self, in_channels: int, num_classes: int, widths: Sequence[int] = (16, 32, 64, 64), depth: int = 2):
        super().__init__()
        backwards = (*widths[::-1], widths[0])
        self.encoder = nn.ModuleList(stage(i, o, depth) for i, o in zip((in_channels, *widths), widths))
        self.decoder = nn.ModuleList(stage(i, o, depth) for i, o in pairwise(backwards))
        self.head = nn.Conv2d(widths[0], num_classes, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = []
        for block in self.encoder:
            x, indices = F.max_pool2d(block(x), 2, return_indices=True)
            places.append(indices)
        for block in self.decoder:
            x = block(F.max_unpool2d(x, places.pop(), 2))
        return self.head(x)


# ------------------------------------------------------------------------------------------------------------- DeepLab v3+


def conv_norm(
    i: int, o: int, size: int, stride: int = 1, dilation: int = 1, separable: bool = False
) -> list[nn.Module]:
    """A convolution without bias that keeps the size (but for its stride), and batch norm."""
    kind = Separable if separable else nn.Conv2d
    return [kind(i, o, size, stride, dilation * (size // 2), dilation, bias=False), nn.BatchNorm2d(o)]


class Separable(nn.Module):
    """A convolution of each channel by itself, then a 1x1 convolution."""

    def __init__(self, i: int, o: int, size: int, stride: int, padding: int, dilation: int, bias: bool):
        super().__init__()
        self.depthwise = nn.Conv2d(i, i, size, stride, padding, dilation, groups=i, bias=False)
        self.pointwise = nn.Conv2d(i, o, 1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pointwise(self.depthwise(x))


class AtrousBlock(nn.Module):
    def __init__(self, i: int, o: int, stride: int, dilation: int):
        super().__init__()
        self.residual = nn.Sequential(
            *conv_norm(i, o, 3, stride, dilation, separable=True),
            nn.ReLU(inplace=True),
            *conv_norm(o, o, 3, 1, dilation, separable=True),
        )
        same = stride == 1 and i == o
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_norm(i, o, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.shortcut(x) + self.residual(x))


class AtrousEncoder(nn.Module):
    def __init__(self, in_channels: int, widths: Sequence[int]):
        super().__init__()
        a, b, c = widths
        self.stem = nn.Sequential(*conv_norm(in_channels, a, 3, stride=2), nn.ReLU(inplace=True))
        self.fine = AtrousBlock(a, b, 2, 1)
        self.deep = nn.Sequential(AtrousBlock(b, c, 2, 1), AtrousBlock(c, c, 1, 2), AtrousBlock(c, c, 1, 4))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine = self.fine(self.stem(x))
        return fine, self.deep(fine)


class ASPP(nn.Module):
    def __init__(self, i: int, o: int, rates: Sequence[int]):
        super().__init__()
        kinds = [(1, 1), *((3, d) for d in rates)]
        self.branches = nn.ModuleList(
            nn.Sequential(*conv_norm(i, o, size, dilation=d), nn.ReLU(inplace=True)) for size, d in kinds
        )
        self.image = nn.Conv2d(i, o, 1)
        self.project = nn.Sequential(*conv_norm((2 + len(rates)) * o, o, 1), nn.ReLU(inplace=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = F.relu(self.image(x.mean((2, 3), keepdim=True)))
        branches = [branch(x) for branch in self.branches]
        return self.project(torch.cat([*branches, whole.expand(-1, -1, *x.shape[2:])], dim=1))


class DeepLab(nn.Module):
    """The same network as ``minseg.models.DeepLab``, for sides that are multiples of 8."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        rates: Sequence[int] = (2, 4, 6),
        channels: int = 48,
    ):
        super().__init__()
        _, fine, deep = widths
        outlines = max(1, channels // 3)
        self.encoder = AtrousEncoder(in_channels, widths)
        self.aspp = ASPP(deep, channels, rates)
        self.reduce = nn.Sequential(*conv_norm(fine, outlines, 1), nn.ReLU(inplace=True))
        self.decoder = nn.Sequential(
            *conv_norm(channels + outlines, channels, 3, separable=True),
            nn.ReLU(inplace=True),
            *conv_norm(channels, channels, 3, separable=True),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Conv2d(channels, num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine, deep = self.encoder(x)
        context = resized_like(self.aspp(deep), fine)
        y = self.decoder(torch.cat([context, self.reduce(fine)], dim=1))
        return resized_like(self.head(y), x)


# -------------------------------------------------------------------------------------------------------- attention decoder


@cache
def positions(height: int, width: int, channels: int) -> torch.Tensor:
    from minseg.nn.attention import sinusoidal_positions_2d

    return torch.from_numpy(sinusoidal_positions_2d(height, width, channels)).float()


class SelfAttention2d(nn.Module):
    GRID, HEADS = 16, 2

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, self.HEADS, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        N, C, H, W = x.shape
        y = self.norm(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(N, C, H, W) + positions(H, W, C)
        asked = F.adaptive_avg_pool2d(y, (min(H, self.GRID), min(W, self.GRID)))
        tokens, keys = y.flatten(2).transpose(1, 2), asked.flatten(2).transpose(1, 2)
        z, _ = self.attention(tokens, keys, keys, need_weights=False)
        return x + z.transpose(1, 2).reshape(N, C, H, W)


class DecoderStep(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.attention = SelfAttention2d(2 * channels)
        self.convolution = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(inplace=True),
        )

    def forward(self, h: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        return self.convolution(self.attention(torch.cat([resized_like(h, e), e], dim=1)))


class AttentionDecoder(nn.Module):
    """The same network as ``minseg.models.AttentionDecoder`` with its own grid, heads and weights for each step."""

    def __init__(self, in_channels: int, num_classes: int, widths: Sequence[int] = (16, 32, 64), channels: int = 32):
        super().__init__()
        self.encoder = nn.ModuleList(stage(i, o) for i, o in zip((in_channels, *widths), widths))
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.steps = nn.ModuleList(DecoderStep(channels) for _ in widths[1:])
        self.head = nn.Conv2d(channels, num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = []
        for level, (block, lateral) in enumerate(zip(self.encoder, self.lateral)):
            x = block(F.max_pool2d(x, 2) if level else x)
            found.append(lateral(x))
        h = found.pop()
        for step in self.steps:
            h = step(h, found.pop())
        return self.head(h)
