"""NumPy's matrix product, beside Numba's threads: on a single thread of BLAS.

BLAS brings threads of its own, which go on spinning for a while after each product. Numba's find the cores taken then, and all
wait for the last of them: with two of each on two cores a transformer trains three times slower than with one of BLAS's.
"""

from functools import cache

from threadpoolctl import ThreadpoolController


@cache
def _libraries() -> ThreadpoolController:
    """The BLAS that NumPy has loaded; looking for it takes longer than a small product."""
    return ThreadpoolController()


def matmul(a, b):
    """a @ b. What ran on BLAS before, and what runs on it afterwards, has as many threads as ever."""
    with _libraries().limit(limits=1, user_api="blas"):
        return a @ b
