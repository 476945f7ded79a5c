"""Differentiable operations on tensors, one file a family; the names and arguments are PyTorch's where it has the operation."""

from minseg.ops.activation import relu, sigmoid, tanh
from minseg.ops.attention import scaled_dot_product_attention
from minseg.ops.conv import conv2d, conv2d_relu, conv_transpose2d
from minseg.ops.dropout import dropout, dropout2d
from minseg.ops.linear import linear
from minseg.ops.loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    dice_loss,
    dice_loss_with_logits,
    focal_loss,
    jaccard_loss,
    jaccard_loss_with_logits,
    mse_loss,
)
from minseg.ops.norm import (
    batch_norm,
    batch_norm_eval,
    batch_norm_relu,
    batch_norm_training,
    instance_norm,
    layer_norm,
    running_statistics,
)
from minseg.ops.pool import adaptive_avg_pool2d, avg_pool2d, global_avg_pool2d, max_pool2d, max_unpool2d
from minseg.ops.resample import interpolate
from minseg.ops.softmax import log_softmax, softmax

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "batch_norm_eval",
    "batch_norm_relu",
    "batch_norm_training",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "conv2d_relu",
    "conv_transpose2d",
    "cross_entropy",
    "dice_loss",
    "dice_loss_with_logits",
    "dropout",
    "dropout2d",
    "focal_loss",
    "global_avg_pool2d",
    "instance_norm",
    "interpolate",
    "jaccard_loss",
    "jaccard_loss_with_logits",
    "layer_norm",
    "linear",
    "log_softmax",
    "max_pool2d",
    "max_unpool2d",
    "mse_loss",
    "relu",
    "running_statistics",
    "scaled_dot_product_attention",
    "sigmoid",
    "softmax",
    "tanh",
]
