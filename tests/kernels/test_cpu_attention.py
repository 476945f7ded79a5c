"""The Numba attention beyond the conformance cases: blocks, chunks and tiles that are not full, memory around the arrays, NaN."""

import numba
import numpy as np
import pytest

from minseg.kernels.cpu import attention, simd
from minseg.kernels.cpu.attention import JOBS, KEYS, QUERIES
from minseg.kernels.cpu.product import ROWS
from minseg.testing.conformance import conform, reference

KERNELS = {"attention": attention.attention, "attention_grad": attention.attention_grad}
L = simd.LANES


def arguments(B, M, N, d, C, dtype="float32", scale=1.0):
    """Arguments of the two primitives, by name; the keys are so many times as large as the rest."""
    rng = np.random.default_rng(0)
    q, k, v, gy = (rng.standard_normal(shape).astype(dtype) for shape in ((B, M, d), (B, N, d), (B, N, C), (B, M, C)))
    k *= np.dtype(dtype).type(scale)
    return {"attention": (q, k, v), "attention_grad": (gy, q, k, v, *reference("attention")(q, k, v))}


SIZES = {
    **{f"{QUERIES + more} queries": (1, QUERIES + more, 5, 3, 3) for more in (-1, 0, 1)},
    **{f"{KEYS + more} keys": (1, 3, KEYS + more, 5, 3) for more in (-1, 0, 1)},
    "one key more than two chunks": (2, QUERIES + 1, 2 * KEYS + 1, 4, 4),
    **{f"{ROWS + more} keys": (2, 3, ROWS + more, 5, 3) for more in (-1, 1)},
    **{f"heads of {n} vectors": (1, QUERIES + 3, 2 * ROWS, n * L, (8 - n) * L) for n in range(1, 8)},
    "heads of a vector and one number": (1, QUERIES + 3, 2 * ROWS + 1, L + 1, 2 * L - 1),
    "queries in several parts, the last of one": (1, (JOBS + 1) * QUERIES + 1, 7, 4, 3),
    "more heads than jobs": (JOBS + 1, 2 * QUERIES + 1, 9, 4, 3),
}
"""(B, M, N, d, C)"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("primitive", KERNELS)
@pytest.mark.parametrize("name", SIZES)
def test_blocks_chunks_and_tiles_that_are_not_full(name, primitive, dtype):
    conform(primitive, KERNELS[primitive], arguments(*SIZES[name], dtype)[primitive])


@pytest.mark.parametrize("primitive", KERNELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_score_may_come_in_any_chunk_and_be_a_thousand(primitive, dtype):
    """Sums so far shrink by as much as e^-2000; without the maximum taken off, e^1000 would be infinite."""
    args = arguments(2, QUERIES + 1, 3 * KEYS, 4, 3, dtype, scale=400)
    s = np.einsum("bid,bjd->bij", *args["attention"][:2]) / 2
    assert set(s.argmax(axis=2).ravel() // KEYS) == {0, 1, 2}
    assert s.max() > 1000 > -1000 > s.min()
    conform(primitive, KERNELS[primitive], args[primitive])


@pytest.mark.parametrize("primitive", KERNELS)
@pytest.mark.parametrize("sizes", [(1, 7 * QUERIES + 5, KEYS + 9, 5, 4), (3, 2 * QUERIES + 5, 11, L, L)])
def test_same_bits_on_one_thread_and_on_all(primitive, sizes):
    args, threads = arguments(*sizes)[primitive], numba.get_num_threads()
    on_all = KERNELS[primitive](*args)
    try:
        numba.set_num_threads(1)
        on_one = KERNELS[primitive](*args)
    finally:
        numba.set_num_threads(threads)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(on_all, on_one, strict=True))


@pytest.mark.parametrize("sizes", [(2, 5, 7, 3, 5), (2, QUERIES, ROWS, L, L), (1, QUERIES + 1, ROWS + 1, L + 1, L - 1)])
def test_what_lies_around_the_arrays_is_not_read(sizes):
    """It is NaN, which would show."""

    def fenced(array):
        buffer = np.full(array.size + 200, np.nan, array.dtype)
        inside = buffer[100:-100].reshape(array.shape)
        inside[:] = array
        return inside

    for primitive, args in arguments(*sizes).items():
        plain, around = KERNELS[primitive](*args), KERNELS[primitive](*map(fenced, args))
        assert all(a.tobytes() == b.tobytes() for a, b in zip(plain, around, strict=True))


def spoilt(number, index, B=2, M=2 * QUERIES + 3, N=KEYS + 5, d=3, C=4):
    """Where the results of both primitives are NaN if this number of gy, q, k or v is."""
    gy, q, k, v, _, _ = arguments(B, M, N, d, C)["attention_grad"]
    (gy, q, k, v)[number][index] = np.nan
    y, lse = attention.attention(q, k, v)
    return [np.isnan(result) for result in (y, lse, *attention.attention_grad(gy, q, k, v, y, lse))]


def test_nan_in_a_query_spoils_what_that_query_gets_and_what_all_its_keys_learn():
    y, lse, gq, gk, gv = spoilt(1, (1, QUERIES + 1, 2))
    for rows in (y, gq):
        assert rows[1, QUERIES + 1].all()
        assert rows.sum() == rows[1, QUERIES + 1].size
    assert lse[1, QUERIES + 1]
    assert lse.sum() == 1
    for rows in (gk, gv):
        assert rows[1].all()
        assert not rows[0].any()


@pytest.mark.parametrize("key", [0, KEYS - 1, KEYS, KEYS + 4])
def test_nan_in_a_key_spoils_its_whole_sample_and_no_other(key):
    """Whichever is the last score that is compared for the maximum."""
    for result in spoilt(2, (0, key, 1)):
        assert result[0].all()
        assert not result[1].any()


def test_nan_in_a_value_spoils_its_channel_forward():
    y, lse, gq, gk, gv = spoilt(3, (0, KEYS + 1, 2))
    assert y[0, :, 2].all()
    assert y.sum() == len(y[0])
    assert not lse.any()
    assert gq[0].all()
    assert gk[0].all()
    assert not gq[1].any()
    assert not gk[1].any()
    assert not gv.any()


def test_nan_that_arrives_in_the_last_query_spoils_its_own_gradient_and_those_of_all_keys():
    y, lse, gq, gk, gv = spoilt(0, (1, -1, 3))
    assert not y.any()
    assert not lse.any()
    assert gq[1, -1].all()
    assert gq.sum() == gq[1, -1].size
    assert gk[1].all()
    assert not gk[0].any()
    assert gv[1, :, 3].all()
    assert gv.sum() == len(gv[1])


def test_float64_is_exact_to_rounding():
    """As gradient checks need it."""
    args = arguments(2, QUERIES + 5, KEYS + 7, 8, 6, "float64")
    for primitive, kernel in KERNELS.items():
        for result, expected in zip(kernel(*args[primitive]), reference(primitive)(*args[primitive]), strict=True):
            np.testing.assert_allclose(result, expected, rtol=0, atol=1e-14)
