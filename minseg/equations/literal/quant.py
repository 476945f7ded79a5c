"""Literal forms of quantisation."""

import math

import numpy as np


def quant_affine_int8(x, s, z):
    q = math.floor(x / s + 0.5) + z
    if q > 127:
        return 127
    return -128 if q < -128 else q


def quant_dequantize(q, s, z):
    return s * (q - z)


def quant_scale(w):
    O, I = w.shape
    s = np.zeros(O)
    for o in range(O):
        largest = 0.0
        for i in range(I):
            largest = max(largest, abs(w[o, i]))
        s[o] = largest / 127
    return s


def quant_affine_scale(a, b):
    return (max(0, b) - min(0, a)) / 255


def quant_zero_point(a, s):
    return math.floor(1 / 2 - 128 - min(0, a) / s)
