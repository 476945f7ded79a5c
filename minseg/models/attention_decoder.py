"""AttentionDecoder, the decoder that D5 (3.2.2) describes and does not build (ERR-27, ERR-53): one step, iterated.

    x -- stage 16 -- pool -- stage 32 -- pool -- stage 64 -- 1x1 -- h
               |                  |                                 |
              1x1 -- e_0         1x1 -- e_1 -------------------- step -- h
                       |                                            |
                       `----------------------------------------- step -- h -- 1x1 -- logits

    step:  h -- up -- concat with e -- self-attention -- conv 3x3 -- instance norm -- ReLU -- h         (att.decoder_step)
    stage: twice a 3x3 convolution, batch norm, ReLU; pool: 2x2 maxima; up: bilinear, to the size of e

    self-attention: x + the mixture of attention's heads, on layer-normalised tokens (A. Vaswani et al.: Attention Is All You Need.
    NIPS 2017), one for each pixel, to which its position is added

What D5 leaves open
* The enlargement ``up``, without which h and e do not fit together.
* Whether "recursive" means the same weights at every step: ``shared=True``, the recurrent reading, or weights for each step.
* The norm of a step is instance norm: running statistics of one shared batch norm would mix all resolutions.
* The softmax at the end belongs to the loss, or to whoever asks for probabilities: logits come out (ERR-28).

Memory. Attention of all N = H W pixels among each other needs N^2 weights: for 256x256 pixels 16 GiB in float32. Here every pixel
asks, but keys and values are means over a grid of at most ``grid`` x ``grid`` cells (pool.adaptive_avg), so memory grows with N.
Maps no larger than the grid are not averaged at all. ``grid=None`` is attention of all pixels, and an error where it would be too
large.
"""

from collections.abc import Sequence

import numpy as np

from minseg import ops
from minseg.autograd import Tensor, concatenate
from minseg.errors import ArgumentError, ShapeError
from minseg.models.blocks import Segmenter, positive, positives, resized_like, stage
from minseg.nn import (
    Conv2d,
    InstanceNorm2d,
    LayerNorm,
    MaxPool2d,
    Module,
    ModuleList,
    MultiheadAttention,
    ReLU,
    Sequential,
    SinusoidalPositions2d,
)

MOST_WEIGHTS = 2**28
"""Attention weights that one call may make: 1 GiB in float32."""


def expect_affordable(weights: int, where: str, remedy: str) -> None:
    """ShapeError if that many attention weights are too many to hold."""
    if weights > MOST_WEIGHTS:
        raise ShapeError(f"{where}: {weights:,} attention weights, more than {MOST_WEIGHTS:,}; {remedy} [att.weights]")


def tokens(x: Tensor) -> Tensor:
    """Maps (N, C, H, W) as tokens (N, H W, C), row by row."""
    return x.reshape(*x.shape[:2], -1).transpose(1, 2)


def maps(x: Tensor, height: int, width: int) -> Tensor:
    """Tokens (N, H W, C) as maps (N, C, H, W)."""
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], height, width)


class SelfAttention2d(Module):
    """x + attention(x) for maps (N, channels, H, W); keys and values from a grid of at most ``grid`` x ``grid`` means."""

    def __init__(self, channels: int, num_heads: int, grid: int | None, rng: np.random.Generator):
        self.grid = grid
        self.norm = LayerNorm(channels)
        self.positions = SinusoidalPositions2d(channels)
        self.attention = MultiheadAttention(channels, num_heads, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.attend(x, need_weights=False)
        return x + y

    def attend(self, x: Tensor, need_weights: bool = True) -> tuple[Tensor, Tensor | None]:
        """What attention adds to x, and its weights (N, num_heads, H W, cells of the grid)."""
        N, _, H, W = x.shape
        rows, columns = (H, W) if self.grid is None else (min(H, self.grid), min(W, self.grid))
        expect_affordable(
            N * self.attention.num_heads * H * W * rows * columns,
            f"AttentionDecoder: {N} maps of {H}x{W} pixels that ask {rows}x{columns} cells",
            "set a smaller grid, or predict by smaller tiles",
        )
        x = self.norm(tokens(x)) + self.positions.of(H, W, x.dtype).flatten(1).T
        keys = x if (rows, columns) == (H, W) else tokens(ops.adaptive_avg_pool2d(maps(x, H, W), (rows, columns)))
        y, weights = self.attention(x, keys, keys, need_weights=need_weights, average_attn_weights=False)
        return maps(y, H, W), weights


class DecoderStep(Module):
    """``att.decoder_step``: the state (N, C, h, w) and features (N, C, H, W) to the next state (N, C, H, W)."""

    def __init__(self, channels: int, num_heads: int, grid: int | None, rng: np.random.Generator):
        self.attention = SelfAttention2d(2 * channels, num_heads, grid, rng)
        self.convolution = Sequential(
            Conv2d(2 * channels, channels, 3, padding=1, bias=False, rng=rng),
            InstanceNorm2d(channels, affine=True),
            ReLU(),
        )

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        return self.convolution(self.attention(self.join(h, e)))  # eq: att.decoder_step

    def join(self, h: Tensor, e: Tensor) -> Tensor:
        """The state, enlarged to the size of the features, and the features: (N, 2C, H, W)."""
        return concatenate([resized_like(h, e), e], dim=1)


class AttentionDecoder(Segmenter):
    """The network of the picture above: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    Parameters
    ----------
    in_channels, num_classes : int
    widths : sequence of int
        Channels of the encoder's stages, the finest first: at least two, with one decoder step fewer.
    channels : int
        Of the decoder's state; even.
    num_heads : int
        Of each attention; divides 2 channels.
    grid : int or None
        Keys and values come from at most grid x grid cells; None: from all pixels.
    shared : bool
        Whether all steps are one, with the same weights: the decoder as a recurrent network.
    seed : int
        Fixes the initial weights.

    >>> AttentionDecoder(in_channels=1, num_classes=2).num_parameters()
    146290
    >>> AttentionDecoder(in_channels=1, num_classes=2, shared=True).num_parameters()
    111026
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        channels: int = 32,
        num_heads: int = 2,
        grid: int | None = 16,
        shared: bool = False,
        seed: int = 0,
    ):
        super().__init__(in_channels, num_classes)
        self.widths = positives(widths, "AttentionDecoder: widths")
        self.channels = positive(channels, "AttentionDecoder: channels")
        self.grid = None if grid is None else positive(grid, "AttentionDecoder: grid")
        self.shared = bool(shared)
        if len(self.widths) < 2 or channels % 2:
            raise ArgumentError(
                "AttentionDecoder: needs two widths or more, and an even number of channels; "
                f"got widths={self.widths}, channels={channels}"
            )
        rng = np.random.default_rng(seed)
        steps = len(self.widths) - 1
        self.encoder = ModuleList(stage(i, o, 2, rng) for i, o in zip((in_channels, *self.widths), self.widths))
        self.pool = MaxPool2d(2)
        self.lateral = ModuleList(Conv2d(width, channels, 1, rng=rng) for width in self.widths)
        self.steps = ModuleList(DecoderStep(channels, num_heads, self.grid, rng) for _ in range(1 if shared else steps))
        self.head = Conv2d(channels, num_classes, 1, rng=rng)

    @property
    def multiple(self) -> int:
        return 2 ** (len(self.widths) - 1)

    def logits(self, x: Tensor) -> Tensor:
        *finer, h = self.features(x)
        for step, e in zip(self.steps_in_order(), reversed(finer)):
            h = step(h, e)  # (N, channels, 2h, 2w)
        return self.head(h)  # (N, K, H, W)

    def features(self, x: Tensor) -> list[Tensor]:
        """The encoder's maps (N, channels, H/2^l, W/2^l), the finest first."""
        found = []
        for level, (block, lateral) in enumerate(zip(self.encoder, self.lateral)):
            x = block(self.pool(x) if level else x)
            found.append(lateral(x))
        return found

    def steps_in_order(self) -> list[DecoderStep]:
        """The step of each level, the coarsest first; all the same one if ``shared``."""
        steps = list(self.steps)
        return steps * (len(self.widths) - 1) if self.shared else steps
