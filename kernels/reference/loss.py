"""Losses in NumPy, pixel by pixel; the mean is taken above. Logits z (N, K, H, W), labels (N, H, W).

An ignored pixel counts nothing, whatever its logits are: loss and gradient are 0 there even for NaN or infinity.
"""

import numpy as np

from minseg.kernels.reference.activation import sigmoid


def _labels(target: np.ndarray, ignore_index: int) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels count (N, 1, H, W), and their labels, with 0 standing in for those that do not."""
    kept = (target != ignore_index)[:, None]
    return kept, np.where(kept, target[:, None], 0)


def cross_entropy(z, target, weight, ignore_index: int):
    """eq: loss.ce. With z' = z - max z, lse - z_t is log sum exp(z') - z'_t: large logits cost no digits."""
    kept, t = _labels(target, ignore_index)
    m = z.max(axis=1, keepdims=True)
    shifted = z - m
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = log_sum - np.take_along_axis(shifted, t, axis=1)
    if weight is not None:
        loss = weight[t] * loss
    return np.where(kept, loss, 0)[:, 0], (m + log_sum)[:, 0]


def cross_entropy_grad_z(g, z, lse, target, weight, ignore_index: int):
    """eq: loss.ce_grad"""
    kept, t = _labels(target, ignore_index)
    g = g[:, None] if weight is None else g[:, None] * weight[t]
    onehot = t == np.arange(z.shape[1])[:, None, None]
    return np.where(kept, g * (np.exp(z - lse[:, None]) - onehot), 0)


def binary_cross_entropy_with_logits(z, target):
    """eq: loss.bce_logits"""
    return np.maximum(0, z) - z * target + np.log1p(np.exp(-np.abs(z)))


def binary_cross_entropy_with_logits_grad_z(g, z, target):
    """eq: loss.bce_logits_grad"""
    return g * (sigmoid(z) - target)


def mse_loss(a, target):
    """eq: loss.mse"""
    return np.square(a - target)


def mse_loss_grad_a(g, a, target):
    """eq: loss.mse_grad"""
    return 2 * g * (a - target)


def _memberships(
    target: np.ndarray, channels: int, first_label: int, ignore_index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels count (N, 1, H, W), and which of them belong to each channel's class (N, K, H, W)."""
    kept = (target != ignore_index)[:, None]
    classes = first_label + np.arange(channels)
    return kept, kept & (target[:, None] == classes[:, None, None])


def dice_sums(p, target, first_label: int, ignore_index: int):
    """eq: loss.dice_sums. Summed in float64: in float32 a sum over a batch of images would lose its last digits."""
    kept, members = _memberships(target, p.shape[1], first_label, ignore_index)
    p_kept = np.where(kept, p, 0)
    terms = p_kept * members, p_kept, members
    return np.stack([term.sum(axis=(0, 2, 3), dtype=np.float64) for term in terms]).astype(p.dtype)


def dice_sums_grad_p(g, p, target, first_label: int, ignore_index: int):
    """eq: loss.dice_sums_grad. The third sum does not depend on p, so g[2] plays no part."""
    kept, members = _memberships(target, p.shape[1], first_label, ignore_index)
    g_members, g_all = g[0, :, None, None], g[1, :, None, None]
    return np.where(kept, g_members * members + g_all, 0)
