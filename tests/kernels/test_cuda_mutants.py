"""Wrong CUDA kernels are noticed: a sample of the mutants here, all of them with ``--slow`` or by
``python -m minseg.testing.cuda_mutants``.
"""

import json
from collections import Counter

import pytest

from minseg.kernels import emulator
from minseg.testing import cuda_mutants
from minseg.testing.cuda_edits import Mutant, definitions, files, kernels_that_meet, mutants, source
from minseg.testing.cuda_equivalents import EQUIVALENT

pytestmark = pytest.mark.skipif(emulator.why_not() is not None, reason=str(emulator.why_not()))

KINDS = {"atomic", "barrier", "comparison", "exchanged", "guard", "index", "number", "sign", "stride"}


def edited(file: str, old: str, new: str) -> Mutant:
    """The mutant that has ``new`` instead of ``old``, which stands once in the file, in a definition that has mutants."""
    assert source(file).count(old) == 1
    start = source(file).index(old)
    name = max((m for m in mutants(file) if m.start <= start + len(old)), key=lambda m: m.start).name
    return Mutant(file, name, "by hand", start, start + len(old), new)


def test_every_file_has_mutants_of_many_kinds():
    found = mutants()
    assert {m.file for m in found} == set(files())
    assert {m.kind for m in found} >= KINDS
    assert len(found) > 2500


def test_a_mutant_is_one_edit_of_its_file():
    for mutant in cuda_mutants.sample(20, seed=1):
        text = source(mutant.file)
        assert text[mutant.start : mutant.end] != mutant.new
        assert mutant.line not in {" ".join(line.split()) for line in text.splitlines()}


def test_those_that_no_case_can_catch_are_still_there_and_each_is_one_mutant():
    count = Counter(mutant.key for mutant in mutants())
    assert {key: count[key] for key in EQUIVALENT if count[key] != 1} == {}


def test_a_kernel_with_launch_bounds_has_its_own_name():
    """That of the function behind them: under any other, what spoils it is tried on no primitive."""
    bounded = {d.name for file in files() for d in definitions(file) if "void __launch_bounds__" in d.text}
    assert bounded >= {"attention", "attention_grad_kv", "conv2d_grad_w_direct"}
    assert "__launch_bounds__" not in bounded
    assert {("conv", "conv2d_grad_w_direct")} == set(kernels_that_meet("conv.cu", "conv2d_grad_w_direct"))
    for host, kernel in {
        pair for file in files() for d in definitions(file) for pair in kernels_that_meet(file, d.name)
    }:
        assert (host, kernel) in cuda_mutants.primitives_of()


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        ("here = min((int)position, size - 1);", "here = min((int)position, size - 1) ;", cuda_mutants.SURVIVED),
        ("here = min((int)position, size - 1);", "return 1;", cuda_mutants.NO_MUTANT),
        ("(i + 0.5)", "(i + 0.25)", cuda_mutants.WRONG),
        ("here = min((int)position, size - 1);", "here = 9 * size;", cuda_mutants.REPORTED),
        ("here = min((int)position, size - 1);", "__builtin_trap();", cuda_mutants.CRASHED),
        ("here = min((int)position, size - 1);", "while (true) here = 0;", cuda_mutants.LATE),
    ],
)
def test_what_becomes_of_a_mutant(old: str, new: str, outcome: str):
    cuda_mutants._warm()
    assert cuda_mutants.judge(edited("resample.cu", old, new)) == outcome


def test_a_run_that_was_cut_off_goes_on(tmp_path, monkeypatch):
    path, chosen = tmp_path / "results.jsonl", mutants("optim.cu")[:3]
    first = cuda_mutants.Results(path)
    first.put(chosen[0], cuda_mutants.WRONG)
    first.put(chosen[1], cuda_mutants.SURVIVED)
    with path.open("a") as file:
        file.write('{"mutant": "opt')  # cut off here
    again = cuda_mutants.Results(path)
    assert [again.get(mutant) for mutant in chosen] == [cuda_mutants.WRONG, cuda_mutants.SURVIVED, None]
    assert [json.loads(line)["outcome"] for line in path.read_text().splitlines()[:2]] == ["wrong", "survived"]
    board = cuda_mutants.run_mutants(chosen[:2], results=again)  # nothing is tried
    assert (board.total, board.survivors) == (2, [chosen[1]])
    again.put(chosen[2], cuda_mutants.LATE)
    assert cuda_mutants.Results(path).outcomes == again.outcomes
    monkeypatch.setattr(cuda_mutants, "_digest", lambda file: "another text")
    assert again.get(chosen[0]) is None


def test_a_sample_is_caught():
    board = cuda_mutants.run_mutants(cuda_mutants.sample(40, seed=0), jobs=2)
    assert not board.survivors, str(board)
    assert not board.noticed, str(board)


@pytest.mark.slow
def test_all_are_caught():
    board = cuda_mutants.run_mutants(mutants())
    assert not board.survivors, str(board)
    assert not board.noticed, str(board)
