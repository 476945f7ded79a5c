r"""Evaluates a formula from its LaTeX, literally: sums are loops, nothing is rearranged or vectorised.

Grammar (what is in quotes is LaTeX; spaces, ``\,``, ``\left`` and ``\right`` mean nothing):

    formula   = [expr "="] expr
    expr      = ["-"] term {("+" | "-") term}
    term      = factor {["\cdot" | "\times" | "/" | "\cap" | "\cup"] factor}       standing side by side means a product
    factor    = primary ["^" argument]
    primary   = number | name | name "_" indices | name "(" exprs ")"              the last only for names declared callable
              | "(" expr ")" | "{" expr "}" | "[" expr "]" | "[" relation "]"      a relation in brackets is 1 or 0 (Iverson)
              | "|" expr "|" | "\lfloor" expr "\rfloor" | "\lceil" expr "\rceil"
              | "\frac" argument argument | "\sqrt" argument
              | ("\log" | "\ln" | "\exp" | "\tanh" | "\sin" | "\cos") factor
              | ("\max" | "\min") "(" exprs ")"
              | big "_" limits ["^" argument] term                                 its scope is the product that follows
              | "\begin{cases}" expr "&" condition {"\\" expr "&" condition} "\end{cases}"
    big       = "\sum" | "\prod" | "\max" | "\min" | "\arg\max"
    limits    = "{" name "=" expr "}"  |  "{" names "\in" name "}"  |  "{" expr "\le" name "\le" expr "}"
    condition = relation | "\text{otherwise}"
    relation  = expr ("=" | "<" | ">" | "\le" | "\ge" | "\ne" | "\in") expr

A reader keeps two name spaces apart and so does the evaluator: what carries indices or parentheses (x in ``x_{i}`` or ``x(i)``)
is looked up among the ``applied`` symbols, everything else among the ``plain`` ones. A name is one letter, a command such as
``\alpha``, an accented letter such as ``\bar{y}``, or a declared word such as ``softmax``.
"""

import itertools
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from minseg.errors import EquationError

_TOKEN = re.compile(
    r"\\begin\{cases\}|\\end\{cases\}|\\text\{[^}]*\}|\\[A-Za-z]+|\\\\|\\[,;!: ]|[A-Za-z]|\d+(?:\.\d+)?|\S"
)
_SPACING = {"\\left", "\\right", "\\,", "\\;", "\\!", "\\:", "\\ ", "\\displaystyle", "\\quad"}
_ACCENTS = {"\\hat", "\\bar", "\\tilde", "\\dot"}
_FONTS = {"\\mathrm", "\\mathbf", "\\mathcal", "\\operatorname"}
_FUNCTIONS = {
    "\\log": math.log,
    "\\ln": math.log,
    "\\exp": math.exp,
    "\\tanh": math.tanh,
    "\\sin": math.sin,
    "\\cos": math.cos,
}
_BIG = {"\\sum", "\\prod", "\\max", "\\min", "\\arg"}
_RELATIONS: dict[str, Callable] = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "\\le": operator.le,
    "\\ge": operator.ge,
    "\\ne": operator.ne,
    "\\in": lambda a, b: a in b,
}
_ENDS_TERM = {
    None,
    "+",
    "-",
    ")",
    "]",
    "}",
    ",",
    "|",
    "&",
    "\\\\",
    "\\rfloor",
    "\\rceil",
    "\\rvert",
    "\\end{cases}",
    *_RELATIONS,
}


@dataclass(frozen=True)
class Token:
    """A piece of the formula and where it starts."""

    text: str
    position: int


def tokenize(latex: str, words: Iterable[str] = ()) -> list[Token]:
    """The tokens of a formula. ``words`` are names of several letters that are typeset as bare letters, such as ``max``."""
    tokens, position = [], 0
    words = sorted(words, key=len, reverse=True)
    while position < len(latex):
        word = next((w for w in words if latex.startswith(w, position)), None)
        match = None if word else _TOKEN.match(latex, position)
        if word is None and match is None:  # white space
            position += 1
            continue
        text = word or match.group()
        if text not in _SPACING:
            tokens.append(Token(text, position))
        position += len(text)
    return tokens


# ------------------------------------------------------------------------------------------------ what a formula is made of


@dataclass(frozen=True)
class Scope:
    """What the symbols stand for: ``plain`` numbers, arrays and sets; ``applied`` functions of their indices or arguments."""

    plain: Mapping[str, object]
    applied: Mapping[str, Callable]

    def bind(self, **values) -> "Scope":
        return Scope({**self.plain, **values}, self.applied)


class Node:
    """A part of a formula; ``value`` computes it."""

    def value(self, scope: Scope):
        raise NotImplementedError


@dataclass(frozen=True)
class Number(Node):
    number: float

    def value(self, scope):
        return self.number


@dataclass(frozen=True)
class Name(Node):
    name: str

    def value(self, scope):
        if self.name not in scope.plain:
            raise EquationError(
                f"the symbol {self.name} has no value here; known: {', '.join(map(str, scope.plain)) or 'none'}"
            )
        return scope.plain[self.name]


@dataclass(frozen=True)
class Applied(Node):
    """``x_{i,j}`` or ``x(i,j)``."""

    name: str
    arguments: tuple[Node, ...]

    def value(self, scope):
        if self.name not in scope.applied:
            raise EquationError(f"the symbol {self.name} is used with indices or arguments, but none is given for it")
        return scope.applied[self.name](*(a.value(scope) for a in self.arguments))


def _product(a, b):
    return a @ b if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else a * b


@dataclass(frozen=True)
class Binary(Node):
    operation: Callable
    left: Node
    right: Node

    def value(self, scope):
        return self.operation(self.left.value(scope), self.right.value(scope))


@dataclass(frozen=True)
class Product(Node):
    """A product. After a bracket that does not hold, nothing more is read: Iverson's 0 is 0 whatever follows it."""

    left: Node
    right: Node

    def value(self, scope):
        left = self.left.value(scope)
        if isinstance(left, bool):
            return left and self.right.value(scope)
        return _product(left, self.right.value(scope))


@dataclass(frozen=True)
class Unary(Node):
    operation: Callable
    operand: Node

    def value(self, scope):
        return self.operation(self.operand.value(scope))


@dataclass(frozen=True)
class Extreme(Node):
    """``\\max(a, b)``: the largest (or smallest) of what is listed."""

    pick: Callable
    items: tuple[Node, ...]

    def value(self, scope):
        return self.pick(item.value(scope) for item in self.items)


@dataclass(frozen=True)
class Range:
    """The values of a bound name: from ``low`` to ``high``, both included."""

    name: str
    low: Node
    high: Node

    def bindings(self, scope: Scope):
        low, high = self.low.value(scope), self.high.value(scope)
        if low != int(low) or high != int(high):
            raise EquationError(f"{self.name} must run between whole numbers, not from {low} to {high}")
        for i in range(int(low), int(high) + 1):
            yield scope.bind(**{self.name: i})


@dataclass(frozen=True)
class Members:
    """Bound names that run through a set: ``i,j \\in W`` is every pair of members."""

    names: tuple[str, ...]
    collection: Node

    def bindings(self, scope: Scope):
        members = self.collection.value(scope)
        if not isinstance(members, (set, frozenset, tuple, list, range)):
            raise EquationError(f"{','.join(self.names)} must run through a set, but it stands for {members!r}")
        for values in itertools.product(sorted(members), repeat=len(self.names)):
            yield scope.bind(**dict(zip(self.names, values)))


@dataclass(frozen=True)
class Reduce(Node):
    """A sum, product, maximum, minimum or arg max over all values of the bound names."""

    kind: str
    over: Range | Members
    body: Node

    def value(self, scope):
        values = [self.body.value(inner) for inner in self.over.bindings(scope)]
        if self.kind == "\\sum":  # fsum rounds once, so that this oracle is the most accurate of all
            return math.fsum(values) if all(isinstance(v, (int, float)) for v in values) else sum(values)
        if self.kind == "\\prod":
            return math.prod(values)
        if not values:
            raise EquationError(f"{self.kind} over nothing")
        if self.kind == "\\arg\\max":
            return int(self.over.low.value(scope)) + max(range(len(values)), key=values.__getitem__)
        return max(values) if self.kind == "\\max" else min(values)


@dataclass(frozen=True)
class Iverson(Node):
    """1 where the relation holds, else 0: True and False count as these numbers."""

    relation: Binary

    def value(self, scope):
        return bool(self.relation.value(scope))


@dataclass(frozen=True)
class Cases(Node):
    """The first branch whose condition holds (None: always)."""

    branches: tuple[tuple[Node, Node | None], ...]

    def value(self, scope):
        for body, condition in self.branches:
            if condition is None or condition.value(scope):
                return body.value(scope)
        raise EquationError("no case applies")


def _magnitude(value):
    return len(value) if isinstance(value, (set, frozenset)) else abs(value)


# ------------------------------------------------------------------------------------------------ the parser


class Parser:
    """Recursive descent: one method for each line of the grammar."""

    def __init__(self, latex: str, callables: Iterable[str], words: Iterable[str]):
        self.latex = latex
        self.tokens = tokenize(latex, words)
        self.at = 0
        self.callables = frozenset(callables) | frozenset(words)
        self.words = frozenset(words)

    # tokens

    def peek(self, ahead: int = 0) -> str | None:
        return self.tokens[self.at + ahead].text if self.at + ahead < len(self.tokens) else None

    def take(self) -> str:
        if self.at == len(self.tokens):
            self.fail("something more")
        self.at += 1
        return self.tokens[self.at - 1].text

    def expect(self, text: str) -> None:
        if self.peek() != text:
            self.fail(repr(text))
        self.at += 1

    def fail(self, expected: str):
        position = self.tokens[self.at].position if self.at < len(self.tokens) else len(self.latex)
        found = repr(self.peek()) if self.at < len(self.tokens) else "the end"
        raise EquationError(
            f"expected {expected}, found {found} at character {position + 1}:\n  {self.latex}\n  {' ' * position}^"
        )

    # grammar

    def formula(self) -> tuple[Node | None, Node]:
        left, right = None, self.expr()
        if self.peek() == "=":
            self.take()
            left, right = right, self.expr()
        if self.peek() is not None:
            self.fail("the end of the formula")
        return left, right

    def expr(self) -> Node:
        negative = self.peek() == "-"
        if self.peek() in ("+", "-"):
            self.take()
        node = self.term()
        if negative:
            node = Unary(operator.neg, node)
        while self.peek() in ("+", "-"):
            operation = operator.add if self.take() == "+" else operator.sub
            node = Binary(operation, node, self.term())
        return node

    def term(self) -> Node:
        node = self.factor()
        while self.peek() not in _ENDS_TERM:
            sign = self.peek()
            if sign in ("\\cdot", "\\times", "*"):
                self.take()
                node = Product(node, self.factor())
            elif sign == "/":
                self.take()
                node = Binary(operator.truediv, node, self.factor())
            elif sign in ("\\cap", "\\cup"):
                self.take()
                node = Binary(operator.and_ if sign == "\\cap" else operator.or_, node, self.factor())
            else:
                node = Product(node, self.factor())
        return node

    def factor(self) -> Node:
        node = self.primary()
        if self.peek() == "^":
            self.take()
            node = Binary(operator.pow, node, self.argument())
        return node

    def argument(self) -> Node:
        """What LaTeX takes after ^ or \\frac: a group in braces, or a single token."""
        if self.peek() == "{":
            return self.bracketed("{", "}")
        token = self.peek()
        if token is not None and token[0].isdigit() and len(token) > 1:
            self.fail("braces around a number of several digits")  # TeX would take its first digit only
        return self.primary()

    def bracketed(self, opening: str, closing: str) -> Node:
        self.expect(opening)
        node = self.expr()
        self.expect(closing)
        return node

    def exprs(self, closing: str) -> tuple[Node, ...]:
        items = [self.expr()]
        while self.peek() == ",":
            self.take()
            items.append(self.expr())
        self.expect(closing)
        return tuple(items)

    def primary(self) -> Node:
        token = self.peek()
        if token is None:
            self.fail("a value")
        if token in self.words:
            return self.name()
        if token in _BIG:
            return self.big()
        if token == "(":
            return self.bracketed("(", ")")
        if token == "{":
            return self.bracketed("{", "}")
        if token == "[":
            return self.square()
        if token in ("|", "\\lvert"):
            self.take()
            node = self.expr()
            self.expect("|" if token == "|" else "\\rvert")
            return Unary(_magnitude, node)
        if token in ("\\lfloor", "\\lceil"):
            return Unary(
                math.floor if token == "\\lfloor" else math.ceil, self.bracketed(token, token.replace("\\l", "\\r"))
            )
        if token == "\\frac":
            self.take()
            return Binary(operator.truediv, self.argument(), self.argument())
        if token == "\\sqrt":
            self.take()
            return Unary(math.sqrt, self.argument())
        if token in _FUNCTIONS:
            self.take()
            return Unary(_FUNCTIONS[token], self.factor())
        if token == "\\begin{cases}":
            return self.cases()
        if token[0].isdigit():
            self.take()
            return Number(float(token) if "." in token else int(token))
        return self.name()

    def symbol(self) -> str:
        """One name as it is written: a letter, a command, an accented letter, a declared word."""
        token = self.take()
        if token in _ACCENTS or token in _FONTS:
            self.expect("{")
            inner = ""
            while self.peek() not in ("}", None):
                inner += self.take()
            self.expect("}")
            return inner if token in _FONTS else f"{token}{{{inner}}}"
        if token in self.words or token.isalpha() or (token[0] == "\\" and token[1:].isalpha()):
            return token
        self.at -= 1
        self.fail("a value")

    def name(self) -> Node:
        name = self.symbol()
        if name in self.callables:
            name = self.labelled(name)
        if self.peek() == "_":
            self.take()
            if self.peek() == "{":
                self.take()
                return Applied(name, self.exprs("}"))
            return Applied(name, (self.primary(),))
        if self.peek() == "(" and name in self.callables:
            self.take()
            return Applied(name, self.exprs(")"))
        return Name(name)

    def labelled(self, name: str) -> str:
        """The p_{max} of ``p_{max}(x, y)``: a subscript before parentheses is a label, part of the name."""
        if self.peek() == "_" and self.peek(1) == "{":
            texts = [t.text for t in self.tokens[self.at + 2 :]]
            end = texts.index("}") if "}" in texts else len(texts)
            if texts[end + 1 : end + 2] == ["("]:
                self.at += end + 3
                name = f"{name}_{{{''.join(texts[:end])}}}"
                self.callables |= {name}
        return name

    def relation(self) -> Binary:
        left = self.expr()
        if self.peek() not in _RELATIONS:
            self.fail("a relation such as = or \\le")
        return Binary(_RELATIONS[self.take()], left, self.expr())

    def square(self) -> Node:
        """Brackets group an expression, or hold a relation (Iverson)."""
        self.expect("[")
        node = self.expr()
        if self.peek() in _RELATIONS:
            node = Iverson(Binary(_RELATIONS[self.take()], node, self.expr()))
        self.expect("]")
        return node

    def cases(self) -> Node:
        self.expect("\\begin{cases}")
        branches = []
        while True:
            body = self.expr()
            self.expect("&")
            text = self.peek() or ""
            if text.startswith("\\text"):
                self.take()
            otherwise = "otherwise" in text
            branches.append((body, None if otherwise else self.relation()))
            if self.peek() != "\\\\":
                break
            self.take()
        self.expect("\\end{cases}")
        return Cases(tuple(branches))

    def big(self) -> Node:
        kind = self.take()
        if kind == "\\arg":
            self.expect("\\max")
            kind = "\\arg\\max"
        if kind in ("\\max", "\\min") and self.peek() == "(":
            self.take()
            return Extreme(max if kind == "\\max" else min, self.exprs(")"))
        self.expect("_")
        self.expect("{")
        over = self.limits()
        return Reduce(kind, over, self.term())

    def limits(self) -> Range | Members:
        start = self.at
        names = [self.symbol()] if not (self.peek() or "")[0:1].isdigit() else []
        while names and self.peek() == ",":
            self.take()
            names.append(self.symbol())
        if names and self.peek() == "\\in":
            self.take()
            members = self.expr()
            self.expect("}")
            return Members(tuple(names), members)
        if len(names) == 1 and self.peek() == "=":
            self.take()
            low = self.expr()
            self.expect("}")
            self.expect("^")
            return Range(names[0], low, self.argument())
        self.at = start
        low = self.expr()
        self.expect("\\le")
        name = self.symbol()
        self.expect("\\le")
        high = self.expr()
        self.expect("}")
        return Range(name, low, high)


# ------------------------------------------------------------------------------------------------ what is used


@dataclass(frozen=True)
class Formula:
    """A parsed formula: ``left = right``, or only ``right``."""

    latex: str
    left: Node | None
    right: Node

    def value(self, plain: Mapping[str, object] | None = None, applied: Mapping[str, Callable] | None = None):
        """The right-hand side, with these meanings of its symbols."""
        try:
            return self.right.value(Scope(plain or {}, applied or {}))
        except EquationError as error:
            raise EquationError(f"{error}\n  in {self.latex}") from None

    def tabulate(
        self,
        shape: tuple[int, ...],
        plain: Mapping[str, object] | None = None,
        applied: Mapping[str, Callable] | None = None,
    ) -> np.ndarray:
        """The right-hand side for every index of the left-hand side, as a float64 array of this shape."""
        names = self.left_indices()
        if len(names) != len(shape):
            raise EquationError(
                f"the left-hand side has the indices {names}, the shape {shape} needs {len(shape)}\n  {self.latex}"
            )
        out = np.empty(shape)
        for index in np.ndindex(*shape):
            out[index] = self.value({**(plain or {}), **dict(zip(names, index))}, applied)
        return out

    def left_indices(self) -> list[str]:
        """The index names of the left-hand side: n, o, i, j of ``y_{n,o,i,j} = ...``."""
        if not isinstance(self.left, Applied):
            return []
        return [argument.name for argument in self.left.arguments if isinstance(argument, Name)]

    def symbols(self) -> set[str]:
        """The names on the right-hand side that need a meaning: all but those bound by a sum or counted on the left."""
        return set(_free_names(self.right, frozenset(self.left_indices())))


def _free_names(node, bound: frozenset[str]):
    if isinstance(node, Name):
        if node.name not in bound:
            yield node.name
        return
    if isinstance(node, Applied):
        yield node.name
    if isinstance(node, Reduce):
        over = node.over
        for part in (over.collection,) if isinstance(over, Members) else (over.low, over.high):
            yield from _free_names(part, bound)
        yield from _free_names(node.body, bound | set(over.names if isinstance(over, Members) else (over.name,)))
        return
    for part in vars(node).values() if isinstance(node, Node) else node if isinstance(node, tuple) else ():
        yield from _free_names(part, bound)


def parse(latex: str, callables: Iterable[str] = (), words: Iterable[str] = ()) -> Formula:
    """Read a formula.

    Parameters
    ----------
    latex : str
    callables : names that take arguments in parentheses: ``x`` in ``x(i-p, j-q)``; for other names ``a(b)`` is a product.
    words : names of several letters that the formula typesets as bare letters, such as ``softmax``; callable too.

    Raises
    ------
    EquationError
        Naming what was expected, what was found, and the character.

    >>> parse(r"y_{i} = \\sum_{p=0}^{k-1} w_{p} x_{i+p}").left_indices()
    ['i']
    """
    left, right = Parser(latex, callables, words).formula()
    return Formula(latex, left, right)


class Indexed:
    """An array as a formula reads it: ``x_{i,j}``, with a policy for indices outside.

    ``outside`` is a number (0 for zero padding, -inf for a maximum) or None, where reading outside is an error: a wrong limit of a
    sum must not pass because the array happens to be read as zero there.
    """

    def __init__(self, array, outside: float | None = None, first: int = 0, name: str = "an array"):
        self.array = np.asarray(array)
        self.outside = outside
        self.first = first
        self.name = name

    def __call__(self, *index):
        if len(index) != self.array.ndim:
            raise EquationError(f"{self.name} has {self.array.ndim} indices, got {len(index)}: {index}")
        if any(i != int(i) for i in index):
            raise EquationError(f"{self.name} was read at {index}, which are not whole numbers")
        index = tuple(int(i) - self.first for i in index)
        if all(0 <= i < size for i, size in zip(index, self.array.shape)):
            return self.array[index].item()
        if self.outside is None:
            raise EquationError(f"{self.name} was read at {index}, outside of its shape {self.array.shape}")
        return self.outside
