"""Literal forms of the initial standard deviations."""

import math


def init_xavier(n, m):
    return math.sqrt(2 / (n + m))


def init_he(n):
    return math.sqrt(2 / n)
