"""Samples for the equations of initial weights: the fans of a small kernel."""

from collections.abc import Iterator

import numpy as np

from minseg.nn import init
from minseg.testing.equations import Sample


def init_xavier(rng: np.random.Generator) -> Iterator[Sample]:
    for n, m in ((75, 200), (7, 4)):
        yield Sample({"n": n, "m": m}, (), lambda n=n, m=m: init.xavier_std(n, m))


def init_he(rng: np.random.Generator) -> Iterator[Sample]:
    for n in (75, 7):
        yield Sample({"n": n}, (), lambda n=n: init.he_std(n))
