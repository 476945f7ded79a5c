"""exp, expm1, log and log1p for kernels. In float32 they are polynomials, which become vector code, as calls of libm cannot.

Each is a table-free classic: reduce the argument to a small interval, sum the Taylor series there, undo the reduction. In float64
they call libm, whose digits gradient checks need more than speed. Not compiled with SUMMING: their brackets matter.
"""

import math

import numpy as np
from numba.extending import overload, register_jitable

from minseg.kernels.cpu.simd import Vector, at_least, constant, exp_libm, power_of_two

_CONTRACT = {"fastmath": {"contract"}}

LOG2_E = np.float32(1 / math.log(2))
LN2_HIGH = np.float32(355 / 512)  # nine bits, so that n * LN2_HIGH is exact for every exponent n
LN2_LOW = np.float32(math.log(2) - 355 / 512)
ROUNDER = np.float32(3 * 2**22)  # adding it leaves no bits for a fraction: the sum's last bits are the rounded integer
LEAST = np.float32(-105)  # its exponential is 0 in float32
RAISED, LOWERED = np.float32(64), np.float32(2.0**-64)
ONE = np.float32(1)
ZERO = np.float32(0)
MANTISSA_BITS = np.int32(23)
BIAS = np.int32(127)
_1_2, _1_6, _1_24, _1_120, _1_720, _1_5040 = (np.float32(1 / math.factorial(k)) for k in range(2, 8))
_1_3, _1_5, _1_7, _1_9, _1_11, _1_13, _1_15, _1_17 = (np.float32(1 / k) for k in range(3, 18, 2))


def exp(x):
    """e^x for x <= 88. In float32 within 1.1 ulp (and 0 below -104, where no float32 is left); NaN stays NaN.

    Times 2^n, as 2^(n/2) twice so that subnormal results come out right. simd.py's vectors are meant as well, then for x <= 43.
    """
    return math.exp(x)


def expm1(x):
    """e^x - 1 for x <= 0. In float32 within 2 ulp, also near 0, where e^x - 1 as printed would cancel; NaN stays NaN."""
    return math.expm1(x)


@register_jitable(**_CONTRACT)
def _reduced(x):
    """n and e^r - 1, where x = n ln 2 + r with |r| <= ln(2)/2 = 0.347.

    The series of e^r to r^7/5040 leaves out less than 0.347^8/40320 = 5.2e-9, a tenth of the unit roundoff.
    """
    shifted = x * LOG2_E + ROUNDER
    n = shifted - ROUNDER
    r = x - n * LN2_HIGH - n * LN2_LOW
    series = (((((_1_5040 * r + _1_720) * r + _1_120) * r + _1_24) * r + _1_6) * r + _1_2) * r * r + r
    return np.float32(shifted).view(np.int32) - np.float32(ROUNDER).view(np.int32), series


@register_jitable
def _power_of_two(n):
    """2^n: a number with n + 127 in its exponent bits."""
    return np.int32((n + BIAS) << MANTISSA_BITS).view(np.float32)


@overload(exp, jit_options=_CONTRACT)
def _exp(x):
    if isinstance(x, Vector):
        return _exp_float32_lanes if x.scalar.bitwidth == 32 else lambda x: exp_libm(x)
    if x.bitwidth == 64:
        return lambda x: math.exp(x)

    def exp_float32(x):
        n, series = _reduced(x)
        half = n >> np.int32(1)
        power = (series + ONE) * _power_of_two(half) * _power_of_two(n - half)
        return ZERO if x < np.float32(-104) else power

    return exp_float32


def _exp_float32_lanes(x):
    """As above, with few steps one after the other: a processor has no room to look ahead as far as the next vectors' otherwise.

    So the series goes by r^2, and 2^n is made beside it: as 2^(n + 64), normal for all x, times 2^-64.
    """
    x = at_least(x, constant(x, LEAST))
    shifted = x * constant(x, LOG2_E) + constant(x, ROUNDER)
    n = shifted - constant(x, ROUNDER)
    r = x - n * constant(x, LN2_HIGH) - n * constant(x, LN2_LOW)
    low = constant(x, _1_6) * r + constant(x, _1_2)
    middle = constant(x, _1_120) * r + constant(x, _1_24)
    high = constant(x, _1_5040) * r + constant(x, _1_720)
    square = r * r
    series = ((high * square + middle) * square + low) * square + r
    power = power_of_two(shifted + constant(x, RAISED)) * constant(x, LOWERED)
    return series * power + power


@overload(expm1, jit_options=_CONTRACT)
def _expm1(x):
    if x.bitwidth == 64:
        return lambda x: math.expm1(x)

    def expm1_float32(x):
        n, series = _reduced(x)
        scale = _power_of_two(n)
        return -ONE if x < np.float32(-40) else series * scale + (scale - ONE)

    return expm1_float32


def log(x):
    """ln x for normal x > 0. In float32 within 2 ulp; NaN and infinity stay as they are.

    x = 2^n f with f between sqrt(1/2) and sqrt(2), and ln f = 2 artanh t with t = (f - 1) / (f + 1), |t| <= 0.172. The series
    t + t^3/3 + ... + t^9/9 leaves out less than |t| t^10/11 = 2e-9 |t|.
    """
    return math.log(x)


@overload(log, jit_options=_CONTRACT)
def _log(x):
    if x.bitwidth == 64:
        return lambda x: math.log(x)
    root_half = np.float32(math.sqrt(0.5)).view(np.int32)
    infinity = np.float32(np.inf)

    def log_float32(x):
        bits = np.float32(x).view(np.int32)
        exponent = np.int32(bits - root_half) >> MANTISSA_BITS
        f = np.int32(bits - (exponent << MANTISSA_BITS)).view(np.float32)
        n = np.float32(exponent)
        t = (f - ONE) / (f + ONE)
        s = t * t
        series = t * s * (((_1_9 * s + _1_7) * s + _1_5) * s + _1_3) + t
        logarithm = n * LN2_HIGH + (n * LN2_LOW + (series + series))
        return logarithm if x < infinity else x

    return log_float32


def log1p(x):
    """ln(1 + x) for 0 <= x <= 1. In float32 within 3 ulp; NaN stays NaN.

    2 artanh t with t = x / (2 + x) <= 1/3: the series to t^17/17 leaves out less than |t| t^18/19 = 1.4e-10 |t|.
    """
    return math.log1p(x)


@overload(log1p, jit_options=_CONTRACT)
def _log1p(x):
    if x.bitwidth == 64:
        return lambda x: math.log1p(x)

    def log1p_float32(x):
        t = x / (x + ONE + ONE)
        s = t * t
        tail = (((((((_1_17 * s + _1_15) * s + _1_13) * s + _1_11) * s + _1_9) * s + _1_7) * s + _1_5) * s + _1_3) * s
        series = t * tail + t
        return series + series

    return log1p_float32
