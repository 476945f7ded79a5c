"""Every error of kernels/shapes.py and of the dtype check of kernels/spec.py, provoked; and the sizes against counting."""

import ast
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from minseg import backend
from minseg.errors import ArgumentError, BackendError, DtypeError, MinsegError, ShapeError
from minseg.kernels import shapes
from minseg.kernels.spec import PRIMITIVES

ONE, ZERO = (1, 1), (0, 0)


def f(*shape: int, dtype="float32") -> np.ndarray:
    return np.zeros(shape, dtype)


def labels(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.int32)


X, W = f(2, 3, 8, 8), f(6, 3, 3, 3)
WINDOW = (ONE, ZERO, ONE, 1)
STATS = (f(3), f(3))

# primitive, arguments, class of the error, the whole message (~ stands for anything)
ERRORS = [
    # conv
    ("im2col", (f(3, 8, 8), (3, 3), ONE, ZERO, ONE), ShapeError, "im2col: expected 4 dimensions (N, C, H, W), got shape (3, 8, 8)"),
    ("im2col", (f(0, 3, 8, 8), (3, 3), ONE, ZERO, ONE), ShapeError,
     "im2col: every side must be at least 1, got shape (0, 3, 8, 8)"),
    ("im2col", (X, (3, 0), ONE, ZERO, ONE), ShapeError, "im2col: the kernel must be at least 1x1, got 3x0"),
    ("im2col", (X, (9, 3), ONE, ZERO, ONE), ShapeError, "im2col: the output would be 0x6; x (2, 3, 8, 8), kernel (9, 3), "
     "stride (1, 1), padding (0, 0), dilation (1, 1) [conv.size]. Use a larger input or padding"),
    ("im2col", (X, (3, 3), (0, 1), ZERO, ONE), ArgumentError, "im2col: stride must be at least 1, got (0, 1)"),
    ("im2col", (X, (3, 3), ONE, (0, -1), ONE), ArgumentError, "im2col: padding must be at least 0, got (0, -1)"),
    ("im2col", (X, (3, 3), ONE, ZERO, (1, 0)), ArgumentError, "im2col: dilation must be at least 1, got (1, 0)"),
    ("col2im", (f(2, 27), (2, 3, 8, 8), (3, 3), ONE, ZERO, ONE), ShapeError,
     "col2im: expected 3 dimensions (N, C*R*S, H'*W'), got shape (2, 27)"),
    ("col2im", (f(2, 27, 35), (2, 3, 8, 8), (3, 3), ONE, ZERO, ONE), ShapeError,
     "col2im: cols must have shape (2, 27, 36) for x (2, 3, 8, 8), got (2, 27, 35) [conv.col2im]"),
    ("conv2d", (f(3, 8, 8), W, None, *WINDOW), ShapeError, "conv2d: expected 4 dimensions (N, C, H, W), got shape (3, 8, 8)"),
    ("conv2d", (X, f(6, 3, 3), None, *WINDOW), ShapeError,
     "conv2d: w must have 4 dimensions (O, C/groups, R, S), got shape (6, 3, 3) [conv.corr2d]"),
    ("conv2d", (X, f(0, 3, 3, 3), None, *WINDOW), ShapeError,
     "conv2d: every side of w must be at least 1, got shape (0, 3, 3, 3) [conv.corr2d]"),
    ("conv2d", (X, f(6, 4, 3, 3), None, *WINDOW), ShapeError,
     "conv2d: x has 3 channels, w expects 4; x (2, 3, 8, 8), w (6, 4, 3, 3) [conv.corr2d]"),
    ("conv2d", (X, f(6, 3, 3, 3), None, ONE, ZERO, ONE, 3), ShapeError,
     "conv2d: x has 3 channels, w expects 3 x 3 groups; x (2, 3, 8, 8), w (6, 3, 3, 3) [conv.corr2d]"),
    ("conv2d", (X, W, None, ONE, ZERO, ONE, 2), ArgumentError,
     "conv2d: groups=2 must divide the 3 input and the 6 output channels; x (2, 3, 8, 8), w (6, 3, 3, 3) [conv.corr2d]"),
    ("conv2d", (X, W, None, ONE, ZERO, ONE, 0), ArgumentError, "conv2d: groups=0 must divide ~"),
    ("conv2d_relu", (X, W, f(5), *WINDOW), ShapeError,
     "conv2d_relu: b must have shape (6,) for w (6, 3, 3, 3), got (5,) [conv.corr2d_relu]"),
    ("conv2d", (X, W, f(5), *WINDOW), ShapeError, "conv2d: b must have shape (6,) for w (6, 3, 3, 3), got (5,) [conv.corr2d]"),
    ("conv2d", (X, f(6, 3, 3, 10), None, *WINDOW), ShapeError, "conv2d: the output would be 6x-1; ~ [conv.size]. ~"),
    ("conv2d", (X, W, None, ONE, (-1, 0), ONE, 1), ArgumentError, "conv2d: padding must be at least 0, got (-1, 0)"),
    ("conv2d_grad_x", (f(2, 6, 5, 6), W, X.shape, *WINDOW), ShapeError,
     "conv2d_grad_x: gy must have shape (2, 6, 6, 6) for x (2, 3, 8, 8), w (6, 3, 3, 3); got (2, 6, 5, 6) [conv.grad_x]"),
    ("conv2d_grad_w", (f(2, 5, 6, 6), X, W.shape, *WINDOW), ShapeError, "conv2d_grad_w: gy must have shape ~ [conv.grad_w]"),
    ("conv2d_grad_b", (f(2, 6),), ShapeError, "conv2d_grad_b: expected 4 dimensions (N, C, H, W), got shape (2, 6)"),
    ("conv_transpose2d", (f(2, 3), f(3, 6, 2, 2), None, ONE, ZERO, ZERO, ONE, 1), ShapeError,
     "conv_transpose2d: expected 4 dimensions (N, C, H, W), got shape (2, 3)"),
    ("conv_transpose2d", (X, f(3, 6, 2), None, ONE, ZERO, ZERO, ONE, 1), ShapeError,
     "conv_transpose2d: w must have 4 dimensions (C, O/groups, R, S), got shape (3, 6, 2) [conv.transpose2d]"),
    ("conv_transpose2d", (X, f(3, 6, 2, 0), None, ONE, ZERO, ZERO, ONE, 1), ShapeError,
     "conv_transpose2d: every side of w must be at least 1, got shape (3, 6, 2, 0) [conv.transpose2d]"),
    ("conv_transpose2d", (X, f(3, 6, 2, 2), None, (0, 2), ZERO, ZERO, ONE, 1), ArgumentError,
     "conv_transpose2d: stride must be at least 1, got (0, 2)"),
    ("conv_transpose2d", (X, f(3, 6, 2, 2), None, (2, 2), ZERO, (1, 2), ONE, 1), ArgumentError,
     "conv_transpose2d: output_padding must be at least 0 and below the stride (2, 2), got (1, 2)"),
    ("conv_transpose2d", (X, f(3, 6, 2, 2), None, (2, 2), ZERO, (2, 1), ONE, 1), ArgumentError, "~ got (2, 1)"),
    ("conv_transpose2d", (X, f(3, 6, 2, 2), None, (2, 2), ZERO, (0, -1), ONE, 1), ArgumentError, "~ got (0, -1)"),
    ("conv_transpose2d", (X, f(3, 6, 2, 2), None, ONE, ZERO, ZERO, ONE, 2), ArgumentError,
     "conv_transpose2d: groups=2 must divide the 3 input channels; x (2, 3, 8, 8) [conv.transpose2d]"),
    ("conv_transpose2d", (X, f(4, 6, 2, 2), None, ONE, ZERO, ZERO, ONE, 1), ShapeError,
     "conv_transpose2d: x has 3 channels, w expects 4; x (2, 3, 8, 8), w (4, 6, 2, 2) [conv.transpose2d]"),
    ("conv_transpose2d", (X, f(3, 2, 2, 2), f(2), ONE, ZERO, ZERO, ONE, 3), ShapeError,
     "conv_transpose2d: b must have shape (6,) for w (3, 2, 2, 2), got (2,) [conv.transpose2d]"),
    ("conv_transpose2d", (f(1, 3, 1, 1), f(3, 6, 2, 2), None, ONE, ONE, ZERO, ONE, 1), ShapeError,
     "conv_transpose2d: the output would be 0x0; x (1, 3, 1, 1), w (3, 6, 2, 2), stride (1, 1), padding (1, 1) "
     "[conv.transpose_size]. Use a larger input or padding"),
    # pool
    ("max_pool2d", (f(8, 8), (2, 2), (2, 2), ZERO), ShapeError, "max_pool2d: expected 4 dimensions (N, C, H, W), got shape (8, 8)"),
    ("max_pool2d", (X, (2, 2), (2, 2), (2, 0)), ArgumentError,
     "max_pool2d: padding (2, 0) must be at most half of the window (2, 2), or a window would see no pixel"),
    ("max_pool2d", (X, (2, 2), (2, 2), (0, 2)), ArgumentError, "max_pool2d: padding (0, 2) must be at most half ~"),
    ("max_pool2d", (X, (9, 9), ONE, ZERO), ShapeError, "max_pool2d: the output would be 0x0; ~"),
    ("max_pool2d_grad_x", (f(2, 3, 4, 4), labels(2, 3, 4, 5), X.shape), ShapeError,
     "max_pool2d_grad_x: gy and indices must have the same shape, got (2, 3, 4, 4) and (2, 3, 4, 5)"),
    ("max_pool2d_grad_x", (f(2, 4, 4, 4), labels(2, 4, 4, 4), X.shape), ShapeError,
     "max_pool2d_grad_x: gy (2, 4, 4, 4) does not belong to x (2, 3, 8, 8)"),
    ("max_unpool2d", (f(3, 4, 4), labels(3, 4, 4), (8, 8)), ShapeError,
     "max_unpool2d: expected 4 dimensions (N, C, H, W), got shape (3, 4, 4)"),
    ("max_unpool2d", (f(2, 3, 4, 4), labels(2, 3, 4, 5), (8, 8)), ShapeError,
     "max_unpool2d: x and indices must have the same shape, got (2, 3, 4, 4) and (2, 3, 4, 5)"),
    ("max_unpool2d", (f(2, 3, 4, 4), labels(2, 3, 4, 4), (8, 0)), ShapeError,
     "max_unpool2d: the output would be 8x0; output_size (8, 0). Use a larger input or padding"),
    ("max_unpool2d_grad_x", (f(2, 8, 8), labels(2, 3, 4, 4)), ShapeError,
     "max_unpool2d_grad_x: expected 4 dimensions (N, C, H, W), got shape (2, 8, 8)"),
    ("max_unpool2d_grad_x", (f(2, 4, 8, 8), labels(2, 3, 4, 4)), ShapeError,
     "max_unpool2d_grad_x: gy and indices need the same N and C, got (2, 4, 8, 8) and (2, 3, 4, 4)"),
    ("avg_pool2d", (f(2, 0, 8, 8), (2, 2), (2, 2), ZERO, True), ShapeError,
     "avg_pool2d: every side must be at least 1, got shape (2, 0, 8, 8)"),
    ("avg_pool2d", (X, (3, 3), ONE, (1, 2), True), ArgumentError, "avg_pool2d: padding (1, 2) must be at most half ~"),
    ("avg_pool2d_grad_x", (f(2, 3, 4, 3), X.shape, (2, 2), (2, 2), ZERO, True), ShapeError,
     "avg_pool2d_grad_x: gy must have shape (2, 3, 4, 4) for x (2, 3, 8, 8), got (2, 3, 4, 3)"),
    ("adaptive_avg_pool2d", (f(8, 8), ONE), ShapeError,
     "adaptive_avg_pool2d: expected 4 dimensions (N, C, H, W), got shape (8, 8)"),
    ("adaptive_avg_pool2d", (X, (0, 1)), ShapeError,
     "adaptive_avg_pool2d: the output would be 0x1; output_size (0, 1). Use a larger input or padding"),
    ("adaptive_avg_pool2d_grad_x", (f(1, 1), X.shape), ShapeError,
     "adaptive_avg_pool2d_grad_x: expected 4 dimensions (N, C, H, W), got shape (1, 1)"),
    ("adaptive_avg_pool2d_grad_x", (f(2, 4, 1, 1), X.shape), ShapeError,
     "adaptive_avg_pool2d_grad_x: gy (2, 4, 1, 1) does not belong to x (2, 3, 8, 8)"),
    # resample
    *((name, (f(8, 8), (4, 4)), ShapeError, f"{name}: expected 4 dimensions (N, C, H, W), got shape (8, 8)")
      for name in ("resize_nearest", "resize_bilinear")),
    *((name, (X, (4, 0)), ShapeError, f"{name}: the output would be 4x0; size (4, 0). Use a larger input or padding")
      for name in ("resize_nearest", "resize_bilinear")),
    *((name, (f(4, 4), X.shape), ShapeError, f"{name}: expected 4 dimensions (N, C, H, W), got shape (4, 4)")
      for name in ("resize_nearest_grad_x", "resize_bilinear_grad_x")),
    *((name, (f(3, 3, 4, 4), X.shape), ShapeError, f"{name}: gy (3, 3, 4, 4) does not belong to x (2, 3, 8, 8)")
      for name in ("resize_nearest_grad_x", "resize_bilinear_grad_x")),
    # linear
    ("linear", (f(5), f(4, 5), None), ShapeError, "linear: expected 2 dimensions (N, I), got shape (5,)"),
    ("linear", (f(2, 5), f(5), None), ShapeError, "linear: expected 2 dimensions (O, I), got shape (5,)"),
    ("linear", (f(2, 5), f(4, 6), None), ShapeError,
     "linear: x has 5 features, w expects 6; x (2, 5), w (4, 6) [dense.affine]"),
    ("linear", (f(2, 5), f(4, 5), f(5)), ShapeError, "linear: b must have shape (4,), got (5,) [dense.affine]"),
    ("linear_grad_x", (f(4), f(4, 5)), ShapeError, "linear_grad_x: expected 2 dimensions (N, O), got shape (4,)"),
    ("linear_grad_x", (f(2, 3), f(4, 5)), ShapeError, "linear_grad_x: gy (2, 3) does not belong to w (4, 5) [dense.grad_x]"),
    ("linear_grad_w", (f(4), f(4, 5)), ShapeError, "linear_grad_w: expected 2 dimensions (N, O), got shape (4,)"),
    ("linear_grad_w", (f(3, 4), f(2, 5)), ShapeError, "linear_grad_w: gy (3, 4) does not belong to x (2, 5) [dense.grad_w]"),
    ("linear_grad_b", (f(4),), ShapeError, "linear_grad_b: expected 2 dimensions (N, O), got shape (4,)"),
    # activation and softmax
    *((name, (f(2, 3), f(3, 2)), ShapeError, "activation gradient: gy and y must have the same shape, got (2, 3) and (3, 2)")
      for name in ("relu_grad_x", "sigmoid_grad_x", "tanh_grad_x")),
    *((name, (f(2, 3), axis), ArgumentError, f"softmax: axis {axis} is not an axis of shape (2, 3) [act.softmax]")
      for name in ("softmax", "log_softmax") for axis in (2, -3)),
    ("softmax", (f(2, 0), 1), ShapeError, "softmax: axis 1 of shape (2, 0) is empty [act.softmax]"),
    ("softmax_grad_x", (f(2, 3), f(3, 2), 1), ShapeError,
     "softmax gradient: gy and y must have the same shape, got (2, 3) and (3, 2)"),
    ("log_softmax_grad_x", (f(2, 3), f(2, 3), 2), ArgumentError, "softmax: axis 2 is not an axis of shape (2, 3) [act.softmax]"),
    # attention
    *(("attention", (f(*q), f(*k), f(*v)), ShapeError,
       f"attention: expected q (B, M, d), k (B, N, d) and v (B, N, C), none ~ got q {q}, k {k} and v {v} [att.attention]")
      for q, k, v in (((5, 3), (6, 3), (6, 2)), ((1, 5, 3), (1, 0, 3), (1, 0, 2)), ((1, 5, 3), (1, 6, 4), (1, 6, 2)),
                      ((1, 5, 3), (1, 6, 3), (1, 7, 2)), ((1, 5, 3), (2, 6, 3), (2, 6, 2)))),
    ("attention_grad", (f(1, 5, 3), f(1, 5, 3), f(1, 6, 3), f(1, 6, 2), f(1, 5, 2), f(1, 5)), ShapeError,
     "attention_grad: expected gy and y (1, 5, 2) and lse (1, 5), got (1, 5, 3), (1, 5, 2) and (1, 5) [att.grad_q]"),
    # norm
    ("batch_norm_stats", (f(2, 3),), ShapeError, "batch_norm_stats: expected 4 dimensions (N, C, H, W), got shape (2, 3)"),
    ("batch_norm_stats", (f(0, 3, 1, 1),), ShapeError, "batch_norm_stats: every side must be at least 1, got shape (0, 3, 1, 1)"),
    ("batch_norm", (f(2, 3), *STATS, None, None, 1e-5), ShapeError,
     "batch_norm: expected 4 dimensions (N, C, H, W), got shape (2, 3)"),
    *(("batch_norm", (X, *(f(4) if k == position else f(3) for k in range(4)), 1e-5), ShapeError,
       f"batch_norm: {name} must have one value for each of the 3 channels of x (2, 3, 8, 8), got (4,)")
      for position, name in enumerate(("mean", "var", "weight", "bias"))),
    *((name, (f(2, 3, 8, 7), X, *STATS, None, 1e-5), ShapeError,
       "batch_norm_grad: gy and x must have the same shape, got (2, 3, 8, 7) and (2, 3, 8, 8)")
      for name in ("batch_norm_grad", "batch_norm_eval_grad")),
    ("batch_norm_relu", (X, *STATS, None, f(2), 1e-5), ShapeError, "batch_norm_relu: bias must have one value for each ~ got (2,)"),
    *((name, (f(2, 3, 8, 7), X, *STATS, None, None, 1e-5), ShapeError,
       "batch_norm_relu_grad: gy and x must have the same shape, got (2, 3, 8, 7) and (2, 3, 8, 8)")
      for name in ("batch_norm_relu_grad", "batch_norm_relu_eval_grad")),
    ("batch_norm_relu_grad", (X, X, *STATS, None, f(2), 1e-5), ShapeError,
     "batch_norm_relu_grad: bias must have one value for each ~ got (2,)"),
    ("batch_norm_grad", (X, X, *STATS, f(2), 1e-5), ShapeError, "batch_norm_grad: weight must have one value for each ~ got (2,)"),
    # loss
    ("cross_entropy", (f(2, 3), labels(2), None, 255), ShapeError,
     "cross_entropy: expected 4 dimensions (N, K, H, W), got shape (2, 3)"),
    ("cross_entropy", (f(2, 0, 4, 4), labels(2, 4, 4), None, 255), ShapeError,
     "cross_entropy: every side must be at least 1, got shape (2, 0, 4, 4)"),
    ("cross_entropy", (X, labels(2, 8, 7), None, 255), ShapeError,
     "cross_entropy: target must have shape (2, 8, 8), one label for each pixel of (2, 3, 8, 8), got (2, 8, 7)"),
    ("cross_entropy", (X, labels(2, 8, 8), f(4), 255), ShapeError,
     "cross_entropy: weight needs one value for each of the 3 classes, got (4,) [loss.ce_weighted]"),
    ("cross_entropy_grad_z", (f(2, 8, 7), X, f(2, 8, 8), labels(2, 8, 8), None, 255), ShapeError,
     "cross_entropy_grad_z: g and target must have the same shape, got (2, 8, 7) and (2, 8, 8)"),
    ("cross_entropy_grad_z", (f(2, 8, 8), X, f(2, 8, 7), labels(2, 8, 8), None, 255), ShapeError,
     "cross_entropy_grad_z: lse and target must have the same shape, got (2, 8, 7) and (2, 8, 8)"),
    *((name, (f(2, 3), f(3, 2)), ShapeError, "loss: prediction and target must have the same shape, got (2, 3) and (3, 2)")
      for name in ("binary_cross_entropy_with_logits", "mse_loss")),
    *((name, (f(2, 3), f(2, 3), f(3, 2)), ShapeError,
       "loss: prediction and target must have the same shape, got (2, 3) and (3, 2)")
      for name in ("binary_cross_entropy_with_logits_grad_z", "mse_loss_grad_a")),
    *((name, (f(3, 2), f(2, 3), f(2, 3)), ShapeError,
       "loss gradient: g and the prediction must have the same shape, got (3, 2) and (2, 3)")
      for name in ("binary_cross_entropy_with_logits_grad_z", "mse_loss_grad_a")),
    ("dice_sums", (X, labels(2, 3, 8, 8), 0, 255), ShapeError, "dice_sums: target must have shape (2, 8, 8), ~ got (2, 3, 8, 8)"),
    ("dice_sums_grad_p", (f(3, 2), X, labels(2, 8, 8), 0, 255), ShapeError,
     "dice_sums_grad_p: g must have shape (3, 3), got (3, 2)"),
    # optim
    *(("sgd_update", (f(3), *(f(4) if k == position else f(3) for k in range(2)), 0.1, 0.9, 0.0, 0.0, False), ShapeError,
       f"sgd_update: {name} (4,) must have the shape of the parameter (3,)") for position, name in enumerate("gv")),
    *(("rmsprop_update", (f(3), *(f(4) if k == position else f(3) for k in range(2)), 0.1, 0.9, 1e-8, 0.0), ShapeError,
       f"rmsprop_update: {name} (4,) must have the shape of the parameter (3,)") for position, name in enumerate("gv")),
    *(("adam_update", (f(3), *(f(4) if k == position else f(3) for k in range(3)), 1, 1e-3, 0.9, 0.999, 1e-8, 0.0), ShapeError,
       f"adam_update: {name} (4,) must have the shape of the parameter (3,)") for position, name in enumerate("gmv")),
    # dtypes: spec.check
    ("relu", (f(3, dtype="float16"),), DtypeError, "relu: x must be float32 or float64, got float16 [act.relu]"),
    ("relu", (labels(3),), DtypeError, "relu: x must be float32 or float64, got int32 [act.relu]"),
    ("conv2d", (X, W.astype("float64"), None, *WINDOW), DtypeError,
     "conv2d: mixed dtypes, float32 and float64 (w); convert one of them [conv.corr2d]"),
    ("conv2d", (X, W, f(6, dtype="float64"), *WINDOW), DtypeError,
     "conv2d: mixed dtypes, float32 and float64 (b); convert one of them [conv.corr2d]"),
    ("cross_entropy", (X, f(2, 8, 8), None, 255), DtypeError,
     "cross_entropy: target must be an integer array, got float32 [loss.ce]"),
    ("cross_entropy", (X, np.zeros((2, 8, 8), bool), None, 255), DtypeError,
     "cross_entropy: target must be an integer array, got bool [loss.ce]"),
    ("max_unpool2d", (f(2, 3, 4, 4), f(2, 3, 4, 4), (8, 8)), DtypeError,
     "max_unpool2d: indices must be an integer array, got float32 [pool.unpool]"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("primitive", "args", "kind", "message"), ERRORS, ids=[f"{k}-{row[0]}" for k, row in enumerate(ERRORS)]
)
def test_bad_arguments_end_in_one_clear_line(primitive, args, kind, message):
    """From the declaration, and just so through a backend."""
    pattern = f"^{'.*'.join(map(re.escape, message.split('~')))}$"
    for call in (PRIMITIVES[primitive].check, getattr(backend.get("numpy"), primitive)):
        with pytest.raises(kind, match=pattern) as caught:
            call(*args)
        assert "\n" not in str(caught.value)


def test_errors_are_also_the_built_in_ones():
    for kind, built_in in ((ShapeError, ValueError), (ArgumentError, ValueError), (DtypeError, TypeError)):
        assert issubclass(kind, MinsegError)
        assert issubclass(kind, built_in)


def _messages(file: Path) -> list[int]:
    """The lines of a file on which it makes an error message of its own: a raise, or an expect with a literal text."""
    lines = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Raise) and not isinstance(node.exc.args[0], ast.Name):
            lines.append(node.lineno)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "expect":
            lines.append(node.lineno)
    return lines


def test_the_table_provokes_every_message():
    """Each line of shapes.py and spec.py that raises is reached by the table above."""
    reached = Counter()
    for primitive, args, _, _ in ERRORS:
        with pytest.raises(MinsegError) as caught:
            PRIMITIVES[primitive].check(*args)
        for entry in caught.traceback:
            reached[Path(entry.path).name, entry.lineno + 1] += 1
    for module in (Path(shapes.__file__), Path(shapes.__file__).with_name("spec.py")):
        for line in _messages(module):
            assert reached[module.name, line], f"{module.name}:{line} is never provoked"


def test_an_array_of_another_kind_is_refused():
    with pytest.raises(
        BackendError, match=r"conv2d: x is a builtins.list, but the active backend 'numpy' works on numpy.ndarray"
    ):
        backend.get("numpy").conv2d([[1.0]], W, None, *WINDOW)


# -------------------------------------------------------------------------------------------------- sizes, by counting


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_conv_size_counts_the_windows_that_fit(kernel, dilation, stride):
    for size in range(1, 9):
        for padding in range(3):
            reach = dilation * (kernel - 1)
            starts = [k for k in range(-padding, size + padding, stride) if k + reach < size + padding]
            assert shapes.conv_size(size, kernel, stride, padding, dilation) == len(starts) or not starts
            assert (shapes.conv_size(size, kernel, stride, padding, dilation) < 1) == (not starts)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_transposed_size_is_the_inverse(kernel, dilation, stride):
    """Of the sizes that a convolution folds into one, output_padding chooses; together they are all sizes."""
    for padding in range(3):
        for size in range(1, 12):
            folded = shapes.conv_size(size, kernel, stride, padding, dilation)
            if folded < 1:
                continue
            sizes = [shapes.conv_transpose_size(folded, kernel, stride, padding, a, dilation) for a in range(stride)]
            assert size in sizes
            assert {shapes.conv_size(s, kernel, stride, padding, dilation) for s in sizes} == {folded}
