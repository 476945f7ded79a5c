"""Multi-head attention, and where a token stands as waves of several lengths. Names, weights and their layout are PyTorch's."""

import numpy as np

from minseg import backend, ops
from minseg.autograd import Parameter, Tensor
from minseg.errors import ArgumentError, ShapeError
from minseg.nn import init
from minseg.nn.layers import Linear
from minseg.nn.module import Module
from minseg.ops.arguments import expect_tensor, integer

BASE = 10000.0
"""The longest wave of a position is 2 pi BASE tokens long."""


class MultiheadAttention(Module):
    """Several attentions side by side: queries (N, L, E), keys and values (N, S, E) to (N, L, E).

    Each head has its own projections of queries, keys and values to E/num_heads channels. Tokens are the second axis, as in PyTorch
    with ``batch_first=True``. Initial weights: Xavier's, as nothing here is followed by a ReLU.

    Parameters
    ----------
    embed_dim : int
        E, channels of the tokens.
    num_heads : int
        A divisor of embed_dim.
    bias : bool
    rng : numpy.random.Generator, optional

    Attributes
    ----------
    in_proj_weight : Parameter (3E, E)
        The projections for queries, keys and values, one below the other; in each the heads, one below the other.
    in_proj_bias : Parameter (3E,) or None
    out_proj : Linear
        Mixes the heads.
    """

    def __init__(self, embed_dim: int, num_heads: int, bias: bool = True, *, rng: np.random.Generator | None = None):
        self.embed_dim = integer(embed_dim, "MultiheadAttention: embed_dim")
        self.num_heads = integer(num_heads, "MultiheadAttention: num_heads")
        if min(embed_dim, num_heads) < 1 or embed_dim % num_heads:
            raise ArgumentError(
                f"MultiheadAttention: num_heads={num_heads} must divide embed_dim={embed_dim}, both at least 1"
            )
        rng = np.random.default_rng() if rng is None else rng
        square = (embed_dim, embed_dim)
        projections = np.concatenate([init.xavier_normal(square, rng) for _ in range(3)])
        here = backend.current()
        self.in_proj_weight = Parameter(here.asarray(projections))
        self.in_proj_bias = Parameter(here.asarray(np.zeros(3 * embed_dim, np.float32))) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, rng=rng)
        self.out_proj.weight.data = here.asarray(init.xavier_normal(square, rng))

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        need_weights: bool = True,
        average_attn_weights: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """The mixtures (N, L, E), and the weights that made them.

        The weights are (N, L, S), the mean of all heads, or (N, num_heads, L, S) without ``average_attn_weights``, or None without
        ``need_weights``.
        """
        self._expect_tokens(query, key, value)
        weights = self.in_proj_weight.split(self.embed_dim)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.split(self.embed_dim)
        q, k, v = (self._heads(ops.linear(x, w, b)) for x, w, b in zip((query, key, value), weights, biases))
        if need_weights:
            z, attention = ops.scaled_dot_product_attention(q, k, v, need_weights=True)  # (N, H, L, D), (N, H, L, S)
        else:
            z, attention = ops.scaled_dot_product_attention(q, k, v), None
        y = project_heads(z, self.out_proj.weight, self.out_proj.bias)
        return y, attention.mean(1) if need_weights and average_attn_weights else attention

    def _heads(self, x: Tensor) -> Tensor:
        """(N, L, E) as (N, num_heads, L, E/num_heads)."""
        N, L, E = x.shape
        return x.reshape(N, L, self.num_heads, E // self.num_heads).transpose(1, 2)

    def _expect_tokens(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        for name, x in (("query", query), ("key", key), ("value", value)):
            expect_tensor(x, f"MultiheadAttention: {name}")
            if x.ndim != 3 or x.shape[2] != self.embed_dim or x.shape[0] != query.shape[0]:
                raise ShapeError(
                    f"MultiheadAttention: expected query (N, L, {self.embed_dim}), key and value (N, S, {self.embed_dim}), got "
                    f"{query.shape}, {key.shape} and {value.shape} [att.multihead]"
                )

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}"


def project_heads(z: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""Put heads (N, H, L, D) side by side and mix them: (N, L, O).

    Equation ``att.multihead``
    --------------------------
    .. math::
        Y_{i,o} = \sum_{h=0}^{H-1}\sum_{c=0}^{D-1} W_{o,hD+c}\, Z_{h,i,c}

    Source
    ------
    Vaswani et al., NIPS 2017.
    """
    N, H, L, D = z.shape
    side_by_side = z.transpose(1, 2).reshape(N, L, H * D)
    return ops.linear(side_by_side, weight, bias)  # eq: att.multihead


def sinusoidal_positions(length: int, channels: int, base: float = BASE) -> np.ndarray:
    r"""Describe positions 0, 1, ... on a line by sine and cosine waves of several lengths: (length, channels).

    Equation ``att.positional_sin``
    -------------------------------
    .. math::
        P_{i,c} = \begin{cases} \sin(i b^{-2\lfloor \frac{c}{2} \rfloor / D}) & 2\lfloor \frac{c}{2} \rfloor = c \\
        \cos(i b^{-2\lfloor \frac{c}{2} \rfloor / D}) & \text{otherwise} \end{cases}

    Source
    ------
    Vaswani et al., NIPS 2017; D5 section 3.2.1 leaves positions out (ERR-26).

    >>> sinusoidal_positions(2, 2).round(3).tolist()
    [[0.0, 1.0], [0.841, 0.54]]
    """
    if integer(length, "sinusoidal_positions: length") < 1 or integer(channels, "sinusoidal_positions: channels") < 1:
        raise ArgumentError(
            f"sinusoidal_positions: length and channels must be at least 1, got {length} and {channels}"
        )
    if not base > 1:
        raise ArgumentError(f"sinusoidal_positions: base must be larger than 1, got {base} [att.positional_sin]")
    i, c = np.arange(length)[:, None], np.arange(channels)
    angle = i * base ** (-2 * (c // 2) / channels)
    return np.where(c % 2 == 0, np.sin(angle), np.cos(angle))  # eq: att.positional_sin


def sinusoidal_positions_2d(height: int, width: int, channels: int, base: float = BASE) -> np.ndarray:
    """Describe the pixels of a grid: (channels, height, width), half of the channels for the row, half for the column.

    >>> sinusoidal_positions_2d(1, 2, 4).round(3)[:, 0].tolist()
    [[0.0, 0.0], [1.0, 1.0], [0.0, 0.841], [1.0, 0.54]]
    """
    if integer(channels, "sinusoidal_positions_2d: channels") % 4 or channels < 4:
        raise ArgumentError(
            f"sinusoidal_positions_2d: channels must be a multiple of 4 (sine and cosine for rows and columns), got {channels}"
        )
    rows = sinusoidal_positions(height, channels // 2, base).T[:, :, None]
    columns = sinusoidal_positions(width, channels // 2, base).T[:, None, :]
    size = (channels // 2, height, width)
    return np.concatenate([np.broadcast_to(rows, size), np.broadcast_to(columns, size)])


class SinusoidalPositions2d(Module):
    """Adds to maps (N, channels, H, W) of any size where each pixel stands. Nothing is learned, so no size is left out."""

    def __init__(self, channels: int, base: float = BASE):
        sinusoidal_positions_2d(1, 1, channels, base)  # refuses bad arguments here already
        self.channels = channels
        self.base = base

    def forward(self, x: Tensor) -> Tensor:
        expect_tensor(x, "SinusoidalPositions2d: x")
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ShapeError(
                f"SinusoidalPositions2d: expected (N, {self.channels}, H, W), got {x.shape} [att.positional_sin]"
            )
        return x + self.of(*x.shape[2:], x.dtype)

    def of(self, height: int, width: int, dtype) -> Tensor:
        """What is added to maps of this size: (channels, height, width)."""
        positions = sinusoidal_positions_2d(height, width, self.channels, self.base)
        return Tensor(backend.current().asarray(positions.astype(dtype)))

    def extra_repr(self) -> str:
        return f"{self.channels}, base={self.base}"
