"""``minseg emulate``: what a reader sees of a kernel of their own, right or wrong, and one clear line for a wrong command."""

import json

import numpy as np
import pytest

from minseg.cli import main
from minseg.kernels.emulator import ORDERS, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

SOURCE = """// three kernels
#include "scale.cuh"
extern "C" __global__ void saxpy(REAL a, const REAL* x, REAL* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = SCALE * a * x[i] + y[i];
}
extern "C" __global__ void too_far(REAL a, const REAL* x, REAL* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) y[i] = a * x[i] + y[i];
}
extern "C" __global__ void last_one(int* winner) { winner[0] = threadIdx.x; }
extern "C" __global__ void reads_only(const unsigned char* labels, int n) {}
extern "C" __global__ void total(const REAL* x, REAL* sum, int n) { atomicAdd(sum, x[threadIdx.x]); }
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.cu").write_text(SOURCE)
    (tmp_path / "scale.cuh").write_text("#define SCALE 1\n")
    return "own.cu"


@pytest.fixture
def emulate(file, capsys):
    def run(*words):
        code = main(["emulate", file, *words, "-D", "REAL=float"])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_without_a_kernel_the_file_is_listed(emulate):
    code, out, _ = emulate()
    assert code == 0
    assert out.splitlines()[0] == "saxpy(float32 a, const float32* x, float32* y, int32 n)"
    assert len(out.splitlines()) == 5


def test_a_correct_kernel_is_run_in_every_order_and_prints_what_changed(emulate):
    code, out, _ = emulate("saxpy", "--grid", "2", "--block", "8", "--args", "2", "x=arange:10", "y=ones:10", "10")
    assert code == 0
    assert out.splitlines() == [
        "ran saxpy(float32 a, const float32* x, float32* y, int32 n) in checked mode, "
        "threads ascending, descending, shuffled, interleaved; found nothing wrong",
        "y: float32 (10,), 9 of 10 elements changed",
        "[ 1.  3.  5.  7.  9. 11. 13. 15. 17. 19.]",
    ]


def test_arguments_in_order_or_by_name_from_files_and_with_dtypes(emulate, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(3, dtype=np.float32))
    expected = emulate("saxpy", "--json", "--args", "2", "arange:3", "ones:3", "3")
    assert json.loads(expected[1])["changed"] == {"y": [1, 3, 5]}
    for words in (["n=3", "y=ones:3:float32", "x=x.npy", "a=2"], ["x.npy", "3:int32", "a=2.0:float32", "y=ones:3"]):
        assert emulate("saxpy", "--json", "--args", *words) == expected


def test_random_arrays_follow_the_seed(emulate):
    words = ["saxpy", "--json", "--args", "1", "random:2,2", "zeros:2,2", "4", "--seed"]
    values = [json.loads(emulate(*words, seed)[1])["changed"]["y"] for seed in "001"]
    assert values[0] == values[1] != values[2]
    assert np.shape(values[0]) == (2, 2)


def test_a_bug_is_reported_with_its_line_and_exit_code_1(emulate):
    words = ("too_far", "--args", "2", "arange:10", "ones:10", "10")
    code, out, _ = emulate(*words)
    assert code == 1
    assert out.splitlines() == [
        "own.cu:9: out of bounds in kernel too_far, block (0, 0, 0), thread (10, 0, 0): it reads x[10], but x has 10 elements",
        "    9 |     if (i <= n) y[i] = a * x[i] + y[i];",
    ]
    code, out, _ = emulate(*words, "--json")
    report = json.loads(out)["report"]
    assert code == 1
    assert (report["kind"], report["place"]) == ("out of bounds", "own.cu:9")
    assert (report["block"], report["thread"]) == ([0, 0, 0], [10, 0, 0])


def test_fast_mode_finds_that_a_result_depends_on_the_order(emulate):
    code, out, _ = emulate("last_one", "--mode", "fast", "--args", "zeros:1")
    assert code == 1
    assert out.splitlines()[-1] == "WRONG: the result in the order descending, shuffled is another than in ascending"
    assert emulate("last_one", "--mode", "fast", "--order", "descending", "--args", "ones:1")[0] == 0


def test_the_rounding_of_atomic_sums_may_differ_between_orders(emulate):
    code, out, _ = emulate("total", "--json", "--args", "random:64", "zeros:1", "64")
    assert code == 0
    assert json.loads(out)["orders"] == list(ORDERS)


def test_nothing_changed_is_said(emulate):
    assert emulate("reads_only", "--args", "empty:3", "3")[1].endswith("no array changed\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sax"], "own.cu has no kernel 'sax'; did you mean 'saxpy'? known: last_one,"),
        (["saxpy", "--seed", "-1"], "--seed must be at least 0, got -1"),
        (["saxpy", "--shared-mem", "-4", "--args", "1", "ones:1", "ones:1", "1"], "-4 bytes of dynamic shared memory"),
        (["saxpy", "--args", "2"], "no value for x, y, n; after --args, give a number"),
        (["saxpy", "--args", "1", "ones:1", "ones:1", "1", "5"], "takes 4 arguments, got more: '5'"),
        (["saxpy", "--args", "b=1"], "saxpy has no parameter 'b'; "),
        (["saxpy", "--args", "x=arange:a", "a=1", "y=ones:1", "n=1"], "cannot read 'arange:a' as the argument const float32* x"),
        (["saxpy", "--args", "a=1", "x=3", "y=ones:1", "n=1"], "cannot read '3' as the argument const float32* x"),
        (["saxpy", "--args", "a=1", "x=ones:1", "y=ones:1", "n=1.5"], "cannot read '1.5' as the argument int32 n"),
        (["saxpy", "--args", "a=1", "x=ones:1", "y=ones:1", "n=3000000000"], "cannot read '3000000000'"),
        (["saxpy", "--args", "a=1", "x=none.npy", "y=ones:1", "n=1"], "cannot read none.npy: No such file"),
        (["saxpy", "--args", "a=1", "x=ones:1:float64", "y=ones:1", "n=1"], "the kernel takes float32*, the array is float64"),
        (["saxpy", "--block", "2000", "--args", "1", "ones:1", "ones:1", "1"], "is outside CUDA's limits"),
    ],
)  # fmt: skip
def test_a_wrong_command_ends_in_one_line(emulate, words, message):
    code, out, err = emulate(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_files_that_do_not_exist_or_compile(emulate, capsys, tmp_path):
    assert main(["emulate", "none.cu"]) == 2
    assert "cannot read none.cu: No such file" in capsys.readouterr().err
    (tmp_path / "scale.cuh").write_text("#define SCALE wrong\n")
    code, _, err = emulate("saxpy")
    assert code == 2
    assert "own.cu does not compile:" in err
    assert "own.cu:5:" in err
    assert "'wrong' was not declared" in err
