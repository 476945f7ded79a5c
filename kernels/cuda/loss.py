"""Losses on a GPU, pixel by pixel: loss.cu. The mean is taken above. Logits z (N, K, H, W), labels (N, H, W)."""

from functools import partial

import numpy as np

from minseg.kernels.cuda.activation import elementwise
from minseg.kernels.cuda.device import device_of
from minseg.kernels.cuda.grid import over, over_planes, summing, warps


def _labels(target) -> tuple:
    """The labels as bytes or as 64-bit integers, and the ending of the kernels for them."""
    return (target, "bytes") if target.dtype == np.uint8 else (target.astype(np.int64, copy=False), "integers")


def _sizes(z) -> tuple:
    """K and L."""
    return np.int32(z.shape[1]), np.int64(z.shape[2] * z.shape[3])


def _weights(z, weight) -> tuple:
    """An array for the kernel to point to, and whether it holds class weights."""
    return (z, np.bool_(False)) if weight is None else (weight, np.bool_(True))


# ------------------------------------------------------------------------------------------------------- cross-entropy


def cross_entropy(z, target, weight, ignore_index: int):
    """eq: loss.ce. With z' = z - max z, lse - z_t is log sum exp(z') - z'_t: large logits cost no digits."""
    device = device_of(z)
    loss, lse = device.empty(target.shape, z.dtype), device.empty(target.shape, z.dtype)
    (labels, kind), (weight, weighted) = _labels(target), _weights(z, weight)
    numbers = np.int64(loss.size), *_sizes(z), weighted, np.int64(ignore_index)
    arrays = z, labels, weight, loss, lse
    device.launch("loss", f"cross_entropy_{kind}", z.dtype, *over(loss.size), *arrays, *numbers)
    return loss, lse


def cross_entropy_grad_z(g, z, lse, target, weight, ignore_index: int):
    """eq: loss.ce_grad"""
    device = device_of(z)
    gz = device.empty(z.shape, z.dtype)
    (labels, kind), (weight, weighted) = _labels(target), _weights(z, weight)
    numbers = np.int64(lse.size), *_sizes(z), weighted, np.int64(ignore_index)
    arrays = g, z, lse, labels, weight, gz
    device.launch("loss", f"cross_entropy_grad_z_{kind}", z.dtype, *over(lse.size), *arrays, *numbers)
    return gz


# ------------------------------------------------------------------------------------------------- element by element


def binary_cross_entropy_with_logits(z, target):
    """eq: loss.bce_logits"""
    return elementwise("loss", "binary_cross_entropy_with_logits", z, target)


def binary_cross_entropy_with_logits_grad_z(g, z, target):
    """eq: loss.bce_logits_grad"""
    return elementwise("loss", "binary_cross_entropy_with_logits_grad_z", g, z, target)


def mse_loss(a, target):
    """eq: loss.mse"""
    return elementwise("loss", "mse_loss", a, target)


def mse_loss_grad_a(g, a, target):
    """eq: loss.mse_grad"""
    return elementwise("loss", "mse_loss_grad_a", g, a, target)


# ---------------------------------------------------------------------------------------------------------------- Dice


def _dice_sums(rung: str, p, target, first_label: int, ignore_index: int):
    device = device_of(p)
    labels, kind = _labels(target)
    N, K = p.shape[:2]
    grid, block = summing(N * K, p.shape[2] * p.shape[3])
    count = grid[1] * N
    parts, sums = device.empty((count, 3, K), np.float64), device.empty((3, K), p.dtype)
    device.launch(
        *("loss", f"dice_sums_{rung}_{kind}", p.dtype, grid, block),
        *(p, labels, parts, *_sizes(p), np.int64(first_label), np.int64(ignore_index)),
        shared_mem=block[0] * parts.dtype.itemsize,
    )
    device.launch("loss", "add_parts", p.dtype, *warps(3 * K), parts, sums, np.int64(count), np.int32(3 * K))
    return sums


VARIANTS = {"dice_sums": {rung: partial(_dice_sums, rung) for rung in ("shared", "shuffles")}}


def dice_sums(p, target, first_label: int, ignore_index: int):
    """eq: loss.dice_sums. In float64: in float32 a sum over a batch of images would lose its last digits."""
    return _dice_sums("shuffles", p, target, first_label, ignore_index)


def dice_sums_grad_p(g, p, target, first_label: int, ignore_index: int):
    """eq: loss.dice_sums_grad. The third sum does not depend on p, so g[2] plays no part."""
    device = device_of(p)
    gp = device.empty(p.shape, p.dtype)
    labels, kind = _labels(target)
    grid, block = over_planes(p.shape[0] * p.shape[1], p.shape[2] * p.shape[3])
    numbers = *_sizes(p), np.int64(first_label), np.int64(ignore_index)
    device.launch("loss", f"dice_sums_grad_p_{kind}", p.dtype, grid, block, g, labels, gp, *numbers)
    return gp
