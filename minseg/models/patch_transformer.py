"""PatchTransformer: an image as a row of patches, all of which look at each other in every block.

A. Dosovitskiy et al.: An Image is Worth 16x16 Words. ICLR 2021; R. Strudel, R. Garcia, I. Laptev, C. Schmid: Segmenter: Transformer
for Semantic Segmentation. ICCV 2021 (its linear decoder).

    x -- patches 4x4, 64 channels -- + position -- 4 blocks -- layer norm -- linear -- logits of each patch -- up x4 -- logits

    block:  x --+-- layer norm -- attention ------------ + --+-- layer norm -- linear 128 -- ReLU -- linear 64 -- + -- x
                `----------------------------------------'    `--------------------------------------------------'

    patches: a convolution whose stride is its kernel (att.patch_embed); position: sine and cosine of row and column
    (att.positional_sin); up: bilinear (up.bilinear)

Where it departs from the papers
* Small patches and few blocks, started from random weights; there 16x16, 12 blocks and more, trained on millions of images first.
* Positions are computed, not learned, so any number of patches has them; no class token, as every patch has its own answer.
* ReLU instead of GELU; linear layers twice as wide inside instead of four times; no dropout.
* Any image size: the image is filled up with zeros below and at the right to whole patches, and the logits are cropped.

Memory: T patches need T^2 attention weights a head, more than 2^28 of which in one block are an error.
"""

import numpy as np

from minseg.autograd import Tensor
from minseg.models.attention_decoder import expect_affordable, maps, tokens
from minseg.models.blocks import Segmenter, positive, resized_like
from minseg.nn import (
    Conv2d,
    LayerNorm,
    Linear,
    Module,
    ModuleList,
    MultiheadAttention,
    ReLU,
    Sequential,
    SinusoidalPositions2d,
)


class TransformerBlock(Module):
    """Attention, then two linear layers, each with a way around it: tokens (N, T, channels) to the same shape."""

    def __init__(self, channels: int, num_heads: int, hidden: int, rng: np.random.Generator):
        self.norm1 = LayerNorm(channels)
        self.attention = MultiheadAttention(channels, num_heads, rng=rng)
        self.norm2 = LayerNorm(channels)
        self.mlp = Sequential(Linear(channels, hidden, rng=rng), ReLU(), Linear(hidden, channels, rng=rng))

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.attend(x, need_weights=False)
        x = x + y  # eq: res.identity
        return x + self.mlp(self.norm2(x))  # eq: res.identity

    def attend(self, x: Tensor, need_weights: bool = True) -> tuple[Tensor, Tensor | None]:
        """What attention adds to x, and its weights (N, num_heads, T, T)."""
        x = self.norm1(x)
        return self.attention(x, x, x, need_weights=need_weights, average_attn_weights=False)


class PatchTransformer(Segmenter):
    """The network of the picture above: images (N, in_channels, H, W) of any size to logits (N, num_classes, H, W).

    Parameters
    ----------
    in_channels, num_classes : int
    patch : int
        Side of a patch in pixels.
    channels : int
        Of a token; a multiple of 4.
    depth : int
        Blocks.
    num_heads : int
        Of each attention; divides channels.
    seed : int
        Fixes the initial weights.

    >>> PatchTransformer(in_channels=1, num_classes=2).num_parameters()
    135234
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        patch: int = 4,
        channels: int = 64,
        depth: int = 4,
        num_heads: int = 4,
        seed: int = 0,
    ):
        super().__init__(in_channels, num_classes)
        self.patch = positive(patch, "PatchTransformer: patch")
        self.channels = positive(channels, "PatchTransformer: channels")
        self.depth = positive(depth, "PatchTransformer: depth")
        self.num_heads = positive(num_heads, "PatchTransformer: num_heads")
        rng = np.random.default_rng(seed)
        self.embed = Conv2d(in_channels, channels, patch, stride=patch, rng=rng)
        self.positions = SinusoidalPositions2d(channels)
        self.blocks = ModuleList(TransformerBlock(channels, num_heads, 2 * channels, rng) for _ in range(depth))
        self.norm = LayerNorm(channels)
        self.head = Linear(channels, num_classes, rng=rng)

    @property
    def multiple(self) -> int:
        return self.patch

    def logits(self, x: Tensor) -> Tensor:
        patches = self.positions(self.embed(x))  # (N, C, H/patch, W/patch); eq: att.patch_embed
        N, _, rows, columns = patches.shape
        expect_affordable(
            N * self.num_heads * (rows * columns) ** 2,
            f"PatchTransformer: {N} images of {rows}x{columns} patches",
            "take larger patches, or predict by smaller tiles",
        )
        y = tokens(patches)  # (N, T, C)
        for block in self.blocks:
            y = block(y)
        y = self.head(self.norm(y))  # (N, T, K)
        return resized_like(maps(y, rows, columns), x)
