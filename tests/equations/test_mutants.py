"""A formula that is wrong in one place does not pass: every registered formula is spoiled in every small way."""

import pytest

from minseg.equations import REGISTRY, get
from minseg.testing import equation_mutants
from minseg.testing.equation_mutants import EQUIVALENT, Scoreboard, mutants_of, run_mutants
from minseg.testing.equations import samples_of

GOAL = 0.98


def _expect_all_caught(board: Scoreboard) -> None:
    print(board)
    assert board.score >= GOAL
    assert [(mutant.id, mutant.edit, mutant.latex) for mutant in board.survivors] == []


def test_a_third_of_the_mutants_is_caught():
    board = run_mutants(share=1 / 3, seed=1)
    assert sum(board.total.values()) > 3000
    _expect_all_caught(board)


@pytest.mark.slow
def test_every_mutant_is_caught_unless_it_says_the_same():
    board = run_mutants()
    _expect_all_caught(board)
    assert {(mutant.id, mutant.edit) for mutant in board.equivalent} == set(EQUIVALENT), "an entry is out of date"
    assert len(board.total) == len(REGISTRY), "each equation has samples"


def test_every_equation_has_mutants_with_edits_of_their_own():
    for equation in REGISTRY.values():
        mutants = mutants_of(equation)
        assert mutants, equation.id
        assert len({mutant.edit for mutant in mutants}) == len(mutants), equation.id
        assert len({mutant.latex for mutant in mutants}) == len(mutants), equation.id


def test_what_is_listed_as_equivalent_is_a_mutant():
    listed = {(mutant.id, mutant.edit) for id in {id for id, _ in EQUIVALENT} for mutant in mutants_of(get(id))}
    assert set(EQUIVALENT) <= listed
    assert all(EQUIVALENT.values())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"b_{o} + \sum_{c", r"0 + \sum_{c"),  # no bias
        ("si+dp-P", "si-dp-P"),  # the kernel the other way round
        ("si+dp-P", "1i+dp-P"),  # no stride
        ("si+dp-P", "si+1p-P"),  # no dilation
        ("si+dp-P", "si+dp-0"),  # no padding
        ("p=0", "p=1"),
        ("w_{o,c,p,q}", "w_{o,c,q,p}"),
        ("C-1", "C-2"),
        ("R-1", "R-0"),  # reads weights outside
        ("sj+dq-P", "sj+dp-P"),  # rows only
        (r"b_{o} + \sum", r"b_{o} - \sum"),
        ("sj+dq-P", "si+dq-P"),
        (r"\sum_{q", r"\max_{q"),
    ],
)
def test_the_usual_mistakes_in_a_convolution_are_among_the_mutants(old, new):
    equation = get("conv.corr2d")
    wrong = equation.latex.replace(old, new)
    assert "".join(wrong.split()) in {"".join(mutant.latex.split()) for mutant in mutants_of(equation)}


@pytest.mark.parametrize(
    ("id", "new"),
    [
        ("loss.mse", r"L = \frac{1}{N}\sum_{i=0}^{N-1}(a_{i}-y_{i})^{3}"),
        ("loss.mse", r"L = \frac{1}{N}\sum_{i=0}^{N-1}(2 \cdot (a_{i}-y_{i})^{2})"),
        ("loss.mse", r"L = \frac{N}{1}\sum_{i=0}^{N-1}(a_{i}-y_{i})^{2}"),
        ("init.he", r"s = {\frac{2}{n}}"),
        ("up.nearest", r"y_{n,c,i,j} = x_{n,c,\lceil \frac{iH}{I} \rceil,\lfloor \frac{jW}{J} \rfloor}"),
        ("arith.abs_grad", r"g = \bar{y}([x \ge 0] - [x < 0])"),
        ("arith.var", r"y = \frac{1}{N-0}\sum_{i=0}^{N-1}(x_{i}-\mu)^{2}"),
        ("reg.early_stopping", r"S = [t - \arg\max_{i=0}^{{t}-1}(-L_{i}) \ge q]"),
        ("conv.receptive_field", r"r = 1 + \sum_{l=0}^{L-1}(k_{l}-1)d_{l}\prod_{m=0}^{l-1}s_{l}"),
        ("metric.dice", r"D = \frac{2T}{2T+F+0}"),
        (
            "loss.bce_logits",
            r"L = \frac{1}{N}\sum_{n=0}^{N-1}\left[ \max(0,z_{n}) - z_{n}y_{n} + \log(1+\exp(-(z_{n}))) \right]",
        ),
    ],
)
def test_each_kind_of_mutant_is_made(id, new):
    assert "".join(new.split()) in {"".join(mutant.latex.split()) for mutant in mutants_of(get(id))}


def test_weak_samples_let_mutants_survive(monkeypatch):
    """With stride and dilation 1 and no padding only, nobody misses them: the score says so."""
    equation = get("conv.corr2d")
    first = samples_of(equation)[:1]
    monkeypatch.setattr(equation_mutants, "samples_of", lambda equation: first)
    board = run_mutants(equation.id)
    rows = equation.latex.index("si+dp-P") + 1
    missed = {f"s -> 1 at character {rows}", f"d -> 1 at character {rows + 3}", f"P -> 0 at character {rows + 6}"}
    assert missed <= {mutant.edit for mutant in board.survivors}
    assert board.score < 1
    assert f"survived: conv.corr2d: s -> 1 at character {rows}" in str(board)


def test_the_scoreboard_counts():
    board = run_mutants("init.*")
    assert str(board).endswith(
        f"{sum(board.total.values())} of {sum(board.total.values())} mutants caught (100.00%), 0 more say the same in other words"
    )
    assert board.caught == board.total
    assert set(board.total) == {"init.xavier", "init.he"}
