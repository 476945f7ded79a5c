"""The evaluator reads formulas as a mathematician does, and points at what it cannot read."""

import math

import numpy as np
import pytest

from minseg.equations.latex import Indexed, parse
from minseg.errors import EquationError


def value(latex, plain=None, applied=None, **options):
    return parse(latex, **options).value(plain, applied)


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"1 + 2 \cdot 3", 7),
        (r"-2^{2}", -4),
        (r"(-2)^{2}", 4),
        (r"10 - 3 - 2", 5),
        (r"8 / 4 / 2", 1),
        (r"2(3+4)", 14),
        (r"\frac{1}{2} + \frac{1}{2}", 1),
        (r"\sqrt{2 \times 8}", 4),
        (r"\lfloor \frac{7}{2} \rfloor + \lceil \frac{7}{2} \rceil", 7),
        (r"|-3| + |2|", 5),
        (r"\max(1, 5, 3) - \min(4, 2)", 3),
        (r"\sum_{i=1}^{4} i", 10),
        (r"\sum_{i=1}^{3} 2i + 1", 13),  # the scope of a sum is the product that follows
        (r"\sum_{i=1}^{3} (2i + 1)", 15),
        (r"\prod_{i=1}^{4} i", 24),
        (r"\sum_{i=0}^{2}\sum_{j=0}^{i} j", 4),
        (r"\max_{1 \le i \le 4} (3 - i)^{2}", 4),
        (r"\arg\max_{i=0}^{5} (4 - (i-2)^{2})", 2),
        (r"\sum_{i=0}^{9} [i = 3] i", 3),
        (r"[2 \le 1] + [2 \ne 1]", 1),
        (r"\left[ 1 + 1 \right] 3", 6),
        (r"\begin{cases} 1 & \text{if } 2 > 3 \\ 5 & \text{otherwise} \end{cases}", 5),
        (r"\log(\exp(3)) + \ln 1", 3),
        (r"\sin(0) + \cos(0)", 1),
        (r"\sum_{i=3}^{2} i", 0),
    ],
)
def test_arithmetic_is_read_as_it_is_printed(latex, expected):
    assert value(latex) == pytest.approx(expected, abs=1e-15)


def test_the_same_letter_is_a_coordinate_and_an_image():
    """The first document's convolution uses x and y for both; the two name spaces keep them apart."""
    latex = r"y(x,y) = \sum_{i=1}^{k}\sum_{j=1}^{k}w(i,j) \cdot x(x-i,y-j)"
    image = Indexed(np.arange(9.0).reshape(3, 3), outside=0, first=0)
    kernel = Indexed(np.ones((2, 2)), first=1)
    assert value(latex, {"x": 2, "y": 2, "k": 2}, {"w": kernel, "x": image}, callables="xyw") == 0 + 1 + 3 + 4


def test_a_set_of_offsets_and_a_labelled_name():
    formula = parse(r"p_{max}(x,y) = \max_{i,j \in W} x(x+i,y+j)", callables="xp")
    assert formula.left_indices() == ["x", "y"]
    image = Indexed(np.arange(9.0).reshape(3, 3))
    assert formula.value({"x": 0, "y": 1, "W": {0, 1}}, {"x": image}) == 5
    with pytest.raises(EquationError, match="must run through a set, but it stands for 2"):
        formula.value({"x": 0, "y": 1, "W": 2}, {"x": image})


def test_what_follows_a_bracket_that_does_not_hold_is_not_read():
    """Iverson's 0 is 0 whatever it multiplies, so a bracket may say where something is defined."""
    latex = r"\sum_{i=-1}^{2} [0 \le i][i < 2]\, x_{i}"
    assert value(latex, {}, {"x": Indexed([3.0, 4.0])}) == 7
    with pytest.raises(EquationError, match="outside"):
        value(latex.replace("[i < 2]", ""), {}, {"x": Indexed([3.0, 4.0])})


def test_words_and_matrices():
    W, x, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 1.0]), np.array([0.5, -0.5])
    assert value("Wx + b", {"W": W, "x": x, "b": b}).tolist() == [3.5, 6.5]
    largest = value("y = max(Wx + b)", {"W": W, "x": x, "b": b}, {"max": np.max}, words=["max"])
    assert largest == 6.5


def test_accents_and_commands_are_names():
    assert value(r"\hat{m} / \bar{y}_{0} + \alpha_{t_{i}}", {r"\hat{m}": 6, "i": 0}, {r"\bar{y}": lambda i: 3, "t": lambda i: 4,
                 r"\alpha": lambda k: k}) == 6  # fmt: skip


def test_tabulate_fills_every_index_of_the_left_hand_side():
    table = parse(r"y_{i,j} = ij + 1").tabulate((2, 3))
    assert table.tolist() == [[1, 1, 1], [1, 2, 3]]


def test_the_symbols_of_a_formula_are_the_names_that_nothing_binds():
    latex = (
        r"y_{i,k} = b + \sum_{p=l}^{n-1} w_{p} x_{i,p} + \max_{q,r \in W} f(q+r) "
        r"+ \begin{cases} a & t > k \\ p & \text{otherwise} \end{cases}"
    )
    assert parse(latex, callables="f").symbols() == {*"blnwxWfatp"}


def test_sums_are_rounded_once():
    assert value(r"\sum_{i=0}^{9} x", {"x": 0.1}) == math.fsum([0.1] * 10) == 1.0


@pytest.mark.parametrize(
    ("latex", "message", "position"),
    [
        (r"y = \frac{1}{2", "expected '}', found the end", 15),
        (r"y = \sum_{i=0} x", r"expected '\^', found 'x'", 16),
        (r"y = a +", "expected a value, found the end", 8),
        (r"y = x^12", "expected braces around a number", 7),
        (r"y = (a", r"expected '\)', found the end", 7),
        (r"y = \lfloor a", r"expected '\\\\rfloor'", 14),
        (r"y = a = b = c", "expected the end of the formula, found '='", 7),
        (r"y = \begin{cases} 1 \end{cases}", "expected '&'", 21),
        (r"y = a & b", "expected the end of the formula, found '&'", 7),
    ],
)
def test_errors_point_at_the_character(latex, message, position):
    with pytest.raises(EquationError, match=message) as caught:
        parse(latex)
    lines = str(caught.value).split("\n")
    assert lines[1] == "  " + latex
    assert lines[2].index("^") == position + 1
    assert f"at character {position}" in lines[0]


@pytest.mark.parametrize(
    ("latex", "plain", "applied", "message"),
    [
        ("a + b", {"a": 1}, {}, "the symbol b has no value here; known: a"),
        ("x_{i}", {"i": 0}, {}, "the symbol x is used with indices"),
        ("x_{i}", {"i": 5}, {"x": Indexed([1.0, 2.0], name="x")}, r"x was read at \(5,\), outside of its shape \(2,\)"),
        ("x_{i,j}", {"i": 0, "j": 0}, {"x": Indexed([1.0], name="x")}, "x has 1 indices, got 2"),
        ("x_{i/2}", {"i": 1}, {"x": Indexed([1.0], name="x")}, "not whole numbers"),
        (r"\max_{i=1}^{0} i", {}, {}, "over nothing"),
        (r"\sum_{i=0}^{3/2} i", {}, {}, "i must run between whole numbers, not from 0 to 1.5"),
    ],
)
def test_evaluation_errors_name_the_symbol_and_the_formula(latex, plain, applied, message):
    with pytest.raises(EquationError, match=message) as caught:
        value(latex, plain, applied)
    assert latex in str(caught.value)


def test_reading_outside_is_zero_only_where_the_equation_says_so():
    assert Indexed([1.0, 2.0], outside=0.0)(-1) == 0
    with pytest.raises(EquationError):
        Indexed([1.0, 2.0])(-1)  # never wraps around, as Python would
