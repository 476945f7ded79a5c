"""Batch normalisation in NumPy: x (N, C, H, W), statistics and weights (C,). A channel holds N H W pixels."""

import numpy as np

PIXELS = (0, 2, 3)


def _channels(values: np.ndarray) -> np.ndarray:
    """(C,) as (C, 1, 1), which meets (N, C, H, W) channel by channel."""
    return values[:, None, None]


def batch_norm_stats(x):
    """eq: norm.batch_stats. Two passes: the mean of squares minus the squared mean would cancel."""
    mean = x.mean(axis=PIXELS)
    var = np.square(x - _channels(mean)).mean(axis=PIXELS)
    return mean, var


def _normalised(x, mean, var, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """(x - mean) / sqrt(var + eps), and 1 / sqrt(var + eps) as (C, 1, 1)."""
    inverse = _channels(1 / np.sqrt(var + eps))
    return (x - _channels(mean)) * inverse, inverse


def batch_norm(x, mean, var, weight, bias, eps: float):
    """eq: norm.batch"""
    y, _ = _normalised(x, mean, var, eps)
    if weight is not None:
        y = y * _channels(weight)
    return y if bias is None else y + _channels(bias)


def batch_norm_grad(gy, x, mean, var, weight, eps: float):
    """eq: norm.batch_grad. mean and var depend on x: what gy would move them by is taken off."""
    x_hat, inverse = _normalised(x, mean, var, eps)
    gw = (gy * x_hat).sum(axis=PIXELS)
    gb = gy.sum(axis=PIXELS)
    count = x.size // x.shape[1]
    gx = inverse * (gy - _channels(gb) / count - x_hat * _channels(gw) / count)
    return gx if weight is None else gx * _channels(weight), gw, gb


def batch_norm_eval_grad(gy, x, mean, var, weight, eps: float):
    """eq: norm.batch_eval_grad"""
    x_hat, inverse = _normalised(x, mean, var, eps)
    gx = gy * inverse
    return gx if weight is None else gx * _channels(weight), (gy * x_hat).sum(axis=PIXELS), gy.sum(axis=PIXELS)


def batch_norm_relu(x, mean, var, weight, bias, eps: float):
    """eq: norm.batch_relu. np.maximum hands NaN on."""
    return np.maximum(batch_norm(x, mean, var, weight, bias, eps), 0)


def _where_positive(gy, x, mean, var, weight, bias, eps: float):
    """gy where batch_norm of x is > 0, else 0: all of it that ReLU lets through."""
    return np.where(batch_norm(x, mean, var, weight, bias, eps) > 0, gy, 0)


def batch_norm_relu_grad(gy, x, mean, var, weight, bias, eps: float):
    """eq: norm.batch_relu_grad"""
    return batch_norm_grad(_where_positive(gy, x, mean, var, weight, bias, eps), x, mean, var, weight, eps)


def batch_norm_relu_eval_grad(gy, x, mean, var, weight, bias, eps: float):
    """eq: norm.batch_relu_eval_grad"""
    return batch_norm_eval_grad(_where_positive(gy, x, mean, var, weight, bias, eps), x, mean, var, weight, eps)
