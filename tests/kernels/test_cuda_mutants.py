"""Wrong CUDA kernels are noticed: a sample of the mutants here, all of them by ``python -m minseg.testing.cuda_mutants``."""

import pytest

from minseg.kernels import emulator
from minseg.testing import cuda_mutants

pytestmark = pytest.mark.skipif(emulator.why_not() is not None, reason=str(emulator.why_not()))

KINDS = {"barrier", "comparison", "exchanged", "index", "number", "sign"}


def test_every_file_has_mutants_of_many_kinds():
    found = cuda_mutants.mutants()
    assert {m.file for m in found} == set(cuda_mutants.files())
    assert {m.kind for m in found} >= KINDS
    assert len(found) > 500


def test_a_mutant_is_one_edit_of_its_file():
    for mutant in cuda_mutants.sample(20, seed=1):
        text = cuda_mutants.source(mutant.file)
        assert text[mutant.start : mutant.end] != mutant.new
        assert mutant.line not in {" ".join(line.split()) for line in text.splitlines()}


def test_those_that_no_case_can_catch_are_still_there():
    keys = {mutant.key for mutant in cuda_mutants.mutants()}
    assert [key for key in cuda_mutants.EQUIVALENT if key not in keys] == []


def test_a_sample_is_caught():
    board = cuda_mutants.run_mutants(cuda_mutants.sample(6, seed=0), jobs=2)
    assert not board.survivors, str(board)
