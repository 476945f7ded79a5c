"""Softmax and its logarithm on a GPU, along any axis of x, seen as (outer, K, inner). The ladder is in softmax.cu."""

import math
from functools import partial

import numpy as np

from minseg.errors import Unsupported
from minseg.kernels.cuda.device import device_of
from minseg.kernels.cuda.grid import MOST_COLUMNS, THREADS, WARP, ceil_div

KEPT = 16
"""Of common.cuh: so many values a thread keeps in registers."""
FEW_CLASSES = 8
"""Up to so many values, a row is less work than a warp's worth of threads is worth."""
LONG_ROW = 4096
"""From so many values on, a row keeps a whole block busy."""


def _around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """outer, K, inner: the product of what comes before the axis, the axis, and the product of what comes after it."""
    axis %= len(shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def _launch(kernel: str, team: str, *arrays_and_axis):
    """Run the kernel with one team a row, on arrays of one shape; the last argument is the axis."""
    *arrays, axis = arrays_and_axis
    x = arrays[0]
    device = device_of(x)
    out = device.empty(x.shape, x.dtype)
    outer, K, inner = _around(x.shape, axis)
    rows = outer * inner
    if team == "registers" and K > KEPT:
        raise Unsupported(f"{kernel}: the variant 'registers' is for up to {KEPT} values, got {K} [act.{kernel}]")
    teams = {"thread": THREADS, "registers": THREADS, "warp": THREADS // WARP, "block": 1}[team]  # in a block
    device.launch(
        *("softmax", f"{kernel}_{team}", x.dtype, (min(MOST_COLUMNS, max(1, ceil_div(rows, teams))),), (THREADS,)),
        *(*arrays, out, np.int64(rows), np.int32(K), np.int64(inner)),
        shared_mem=THREADS * x.dtype.itemsize if team == "block" else 0,
    )
    return out


def _ladder(kernel: str, *teams: str) -> dict:
    return {team: partial(_launch, kernel, team) for team in teams}


VARIANTS = {
    "softmax": _ladder("softmax", "thread", "registers", "block", "warp"),
    "softmax_grad_x": _ladder("softmax_grad_x", "thread", "block", "warp"),
    "log_softmax": _ladder("log_softmax", "thread", "registers", "block", "warp"),
    "log_softmax_grad_x": _ladder("log_softmax_grad_x", "thread", "block", "warp"),
}


def _team(shape: tuple[int, ...], axis: int) -> str:
    """Where neighbouring rows are neighbours in memory, or short, a thread has a row; else a warp, or for long rows a block."""
    _, K, inner = _around(shape, axis)
    if inner >= WARP or K <= FEW_CLASSES:
        return "thread"
    return "warp" if K < LONG_ROW else "block"


def _team_or_registers(shape: tuple[int, ...], axis: int) -> str:
    """The same, where a thread with few values keeps them in registers."""
    team = _team(shape, axis)
    return "registers" if team == "thread" and shape[axis] <= KEPT else team


def softmax(x, axis: int):
    """eq: act.softmax"""
    return VARIANTS["softmax"][_team_or_registers(x.shape, axis)](x, axis)


def softmax_grad_x(gy, y, axis: int):
    """eq: act.softmax_grad"""
    return VARIANTS["softmax_grad_x"][_team(y.shape, axis)](gy, y, axis)


def log_softmax(x, axis: int):
    """eq: act.log_softmax"""
    return VARIANTS["log_softmax"][_team_or_registers(x.shape, axis)](x, axis)


def log_softmax_grad_x(gy, y, axis: int):
    """eq: act.log_softmax_grad"""
    return VARIANTS["log_softmax_grad_x"][_team(y.shape, axis)](gy, y, axis)
