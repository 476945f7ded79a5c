"""Exercises of notebook 09: a residual block, a skip that adds nothing, the gradient, and the projection."""

import numpy as np

from minseg import ops
from minseg.testing.exercises.exercise import exercise


@exercise(
    "9.1",
    cases=lambda rng: [(rng.standard_normal((3, 4)), rng.standard_normal((4, 4)), rng.standard_normal((4, 4)))],
    gradients=(0, 1, 2),
)
def residual(x, V, W):
    """The branch, and x added to it."""
    return x + ops.relu(x @ V.T) @ W.T


@residual.mistake("that is F(x) alone, a plain network. What went in is added to it: that is all there is to it.")
def plain(x, V, W):
    return ops.relu(x @ V.T) @ W.T


@residual.mistake("x is added twice: F is the branch without x, and the block is x + F(x) (ERR-17).")
def added_twice(x, V, W):
    return x + residual(x, V, W)


@residual.mistake("the skip ends before the branch does: x is added to the output of its last layer (ERR-62).")
def ends_early(x, V, W):
    return (x + ops.relu(x @ V.T)) @ W.T


@residual.mistake("the matrices are turned round: row o of V holds the weights of output o, so rows of x meet V.T.")
def not_transposed(x, V, W):
    return x + ops.relu(x @ V) @ W


@exercise("9.2", cases=lambda rng: [(rng.standard_normal((3, 3)),), (rng.standard_normal((5, 5)),)])
def without_skip(W):
    """x is the unit matrix times x."""
    return np.eye(len(W)) + W


@without_skip.mistake("W + 1 adds one to every element. Which matrix leaves x as it is?")
def ones_everywhere(W):
    return W + 1


@without_skip.mistake("that is W x without x.")
def no_skip(W):
    return W.copy()


@without_skip.mistake("2 W doubles what the layer does; it does not pass x on.")
def doubled(W):
    return 2 * W


@exercise("9.3", cases=lambda rng: [(rng.standard_normal(4), rng.standard_normal((4, 4)))])
def hand_on(arriving, J):
    """What arrived, and what comes through the branch."""
    return arriving + J.T @ arriving


@hand_on.mistake(
    "backwards it is the transpose: input i collects from all outputs j, J[j, i] times what arrived there."
)
def forwards(arriving, J):
    return arriving + J @ arriving


@hand_on.mistake("that is what comes through the branch. The gradient that goes around it is missing, unchanged.")
def branch_only(arriving, J):
    return J.T @ arriving


@hand_on.mistake("the derivative of x for itself is 1, but it multiplies what arrived: arriving + ..., not 1 + ...")
def one_added(arriving, J):
    return 1 + J.T @ arriving


@exercise(
    "9.4",
    cases=lambda rng: [
        (rng.standard_normal((2, 3, 3, 4)), rng.standard_normal((2, 3, 6, 8)), rng.standard_normal((3, 3)), 2),
        (rng.standard_normal((1, 2, 2, 2)), rng.standard_normal((1, 2, 6, 6)), rng.standard_normal((2, 2)), 3),
    ],
)
def project(F, x, w, s):
    """Every s-th pixel, its channels mixed by w, added to the branch."""
    return F + np.einsum("oc,ncij->noij", w, x[:, :, ::s, ::s])


@project.mistake("w is turned round: w[o, c] says how much of channel c goes into channel o.")
def channels_exchanged(F, x, w, s):
    return F + np.einsum("co,ncij->noij", w, x[:, :, ::s, ::s])


@project.mistake("you took the mean of each s x s window. The projection reads its first pixel only: x[..., ::s, ::s].")
def means(F, x, w, s):
    N, C, H, W = x.shape
    return F + np.einsum("oc,ncij->noij", w, x.reshape(N, C, H // s, s, W // s, s).mean(axis=(3, 5)))


@project.mistake("you took the first rows and columns. With a stride every s-th one is read: x[..., ::s, ::s].")
def corner(F, x, w, s):
    return F + np.einsum("oc,ncij->noij", w, x[:, :, : F.shape[2], : F.shape[3]])


@project.mistake("you added x itself. Its channels must be mixed by w first.")
def not_mixed(F, x, w, s):
    return F + x[:, :, ::s, ::s]
