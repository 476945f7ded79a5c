"""Literal form of quantisation."""

import math


def quant_affine_int8(x, s, z):
    q = math.floor(x / s + 0.5) + z
    if q > 127:
        return 127
    return -128 if q < -128 else q
