"""Attention: every token asks all tokens, and takes a mixture of what they give. Two matrix products around a softmax.

As one kernel it never writes the weights of all pairs down (``att.attention``); whoever wants to see them pays for the memory.
"""

import math

from minseg.autograd import Function, Tensor, common, matmul
from minseg.errors import ShapeError
from minseg.implements import implements
from minseg.ops.arguments import expect_tensor
from minseg.ops.softmax import softmax


class Attention(Function):
    equation = "att.attention"

    def forward(self, q, k, v):
        self.shapes = q.shape, k.shape, v.shape
        q, k, v = (self.kernels.reshape(x, (-1, *x.shape[-2:])) for x in (q, k, v))  # samples and heads as one axis
        y, lse = self.kernels.attention(q, k, v)
        self.save(q=q, k=k, v=v, y=y, lse=lse)
        return y.reshape(*self.shapes[0][:-1], self.shapes[2][-1])

    def backward(self, gy):
        s = self.saved
        gradients = self.kernels.attention_grad(self.kernels.reshape(gy, s.y.shape), s.q, s.k, s.v, s.y, s.lse)
        return tuple(
            g.reshape(shape) for g, shape in zip(gradients, self.shapes)
        )  # eq: att.grad_q, att.grad_k, att.grad_v


@implements("att.score")
def scaled_dot_product_attention(q: Tensor, k: Tensor, v: Tensor, need_weights: bool = False):
    r"""Mix values, weighted by how well each query fits their keys.

    Equation ``att.score``
    ----------------------
    .. math::
        s_{i,j} = \frac{1}{\sqrt{d}}\sum_{c=0}^{d-1} Q_{i,c}K_{j,c}

    Equation ``att.weights``
    ------------------------
    .. math::
        A_{i,j} = \frac{\exp(s_{i,j})}{\sum_{l=0}^{N-1}\exp(s_{i,l})}

    Equation ``att.mix``
    --------------------
    .. math::
        Y_{i,c} = \sum_{j=0}^{N-1} A_{i,j}V_{j,c}

    Equation ``att.log_sum``
    ------------------------
    .. math::
        L_{i} = \log(\sum_{j=0}^{N-1}\exp(s_{i,j}))

    Equation ``att.attention``
    --------------------------
    .. math::
        Y_{i,c} = \sum_{j=0}^{N-1} \exp(s_{i,j}-L_{i})V_{j,c}

    Parameters
    ----------
    q : Tensor (..., M, d), float
        Q, the query of each of M tokens. Axes before the last two (samples, heads) are computed side by side.
    k : Tensor (..., N, d)
        K, the key of each of N tokens.
    v : Tensor (..., N, C)
        V, what each of these N tokens gives; Y has its unit.
    need_weights : bool
        Whether to return A too, which has to be written to memory then.

    Returns
    -------
    Tensor (..., M, C), or with ``need_weights`` (Tensor (..., M, C), Tensor (..., M, N))
        Y, each row a mean of the rows of V; and A, whose rows sum to 1.

    Gradients
    ---------
    ``att.grad_q``, ``att.grad_k`` and ``att.grad_v``, all through ``att.grad_s``. Exact, no kinks.

    Raises
    ------
    ShapeError
        ``scaled_dot_product_attention: q has 3 channels, k has 4; q (2, 5, 3), k (2, 6, 4), v (2, 6, 2) [att.score]``
    ShapeError
        ``scaled_dot_product_attention: k has 6 tokens, v has 5; q (2, 4, 3), k (2, 6, 3), v (2, 5, 2) [att.mix]``
    ShapeError
        ``scaled_dot_product_attention: q, k and v need tokens, channels and the same axes before these; q (2, 4, 3), k (6, 3),
        v (6, 2) [att.score]``
    DtypeError, BackendError
        If dtypes or backends differ.

    Cost
    ----
    M N (d + C) multiply-adds and M N exponentials for each sample and head; backward M N (3 d + 2 C), and the exponentials
    again. Keeps Y and ``att.log_sum``, M (C + 1) numbers. With ``need_weights`` also A, M N numbers: for all pixels of an image
    the square of their number.

    Source
    ------
    D5 section 3.2.1 (in words, W-07, ERR-26), D2 section 3.2.2; Vaswani et al., NIPS 2017.

    Examples
    --------
    >>> import numpy as np, minseg
    >>> q, v = minseg.tensor(np.array([[0.0], [1000.0]])), minseg.tensor(np.array([[2.0], [4.0]]))
    >>> y, weights = scaled_dot_product_attention(q, minseg.tensor(np.array([[-1.0], [1.0]])), v, need_weights=True)
    >>> y.data.tolist(), weights.data.tolist()
    ([[3.0], [4.0]], [[0.5, 0.5], [0.0, 1.0]])
    """
    where = "scaled_dot_product_attention"
    for name, value in (("q", q), ("k", k), ("v", v)):
        expect_tensor(value, f"{where}: {name}")
    _expect_fitting(where, q.shape, k.shape, v.shape)
    q, k, v = common((q, k, v), where)
    if not need_weights:
        return Attention.apply(q, k, v)  # eq: att.attention
    d = q.shape[-1]
    # Scores and weights stand transposed, a column for each query: softmax along columns is several times as fast in Numba, as
    # the inner loop runs over neighbouring queries. The root goes to q, which is smaller than s.
    s = matmul(k, (q * (1 / math.sqrt(d))).transpose(-2, -1))  # eq: att.score
    weights = softmax(s, -2)  # eq: att.weights
    y = matmul(v.transpose(-2, -1), weights).transpose(-2, -1)  # eq: att.mix
    return y, weights.transpose(-2, -1)


def _expect_fitting(where: str, q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
    shapes = f"q {q}, k {k}, v {v}"
    if min(len(q), len(k), len(v)) < 2 or min(*q, *k, *v) < 1 or not q[:-2] == k[:-2] == v[:-2]:
        raise ShapeError(
            f"{where}: q, k and v need tokens, channels and the same axes before these; {shapes} [att.score]"
        )
    if q[-1] != k[-1]:
        raise ShapeError(f"{where}: q has {q[-1]} channels, k has {k[-1]}; {shapes} [att.score]")
    if k[-2] != v[-2]:
        raise ShapeError(f"{where}: k has {k[-2]} tokens, v has {v[-2]}; {shapes} [att.mix]")
