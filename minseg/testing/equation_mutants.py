"""Would a wrong formula be noticed? Each registered formula is spoiled in every small way, and its samples must tell.

A mutant is the formula with one edit: another index letter, a limit off by one, a sign, a factor or a term less, two indices
exchanged, a maximum for a sum. It is caught where its value differs from the literal loops, or where it reads what is not there.
The few that say the same in other words are listed in EQUIVALENT, each with the reason.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from minseg.equations.latex import Applied, Formula, Members, Name, Number, Parser, parse
from minseg.equations.registry import Equation
from minseg.errors import EquationError
from minseg.testing.equations import matching, meanings, run_literal, samples_of

TOLERANCE = 1e-9
"""A mutant whose values are closer than this to the literal loops is not caught."""

_OTHER = {
    "+": ["-"],
    "-": ["+"],
    "\\max": ["\\min", "\\sum"],
    "\\min": ["\\max", "\\sum"],
    "\\sum": ["\\max"],
    "\\prod": ["\\sum"],
    "=": ["\\ne"],
    "\\ne": ["="],
    "<": ["\\le", ">"],
    "\\le": ["<", "\\ge"],
    ">": ["\\ge", "<"],
    "\\ge": [">", "\\le"],
    "\\sin": ["\\cos"],
    "\\cos": ["\\sin"],
    "\\exp": [""],
    "\\log": [""],
    "\\ln": [""],
    "\\tanh": [""],
    "\\sqrt": [""],
}
"""What a single token may become; what then cannot be read as a formula is no mutant."""


@dataclass(frozen=True)
class Mutant:
    """A formula with one edit."""

    id: str
    edit: str
    """What became what, and where: ``p -> q at character 41``."""
    latex: str


@dataclass(frozen=True)
class Span:
    """A stretch of tokens that the parser read as one thing."""

    start: int
    end: int
    depth: int = 0


class _Observer(Parser):
    """The parser of formulas, which writes down where it found what."""

    def __init__(self, *args):
        super().__init__(*args)
        self.depth = 0
        self.scope: list[str] = []
        self.expressions: list[Span] = []
        self.sums: list[list[Span]] = []
        """The terms of each expression."""
        self.products: list[list[tuple[Span, object]]] = []
        """The factors of each term, with what was read."""
        self.names: list[tuple[Span, str, tuple[str, ...]]] = []
        """Plain names, and which letters are bound there."""
        self.index_lists: list[list[Span]] = []
        self.fractions: list[tuple[Span, Span]] = []
        self.bounds: list[Span] = []
        """Limits of sums, lower and upper."""
        self._open_terms: list[list[Span]] = [[]]
        self._open_factors: list[list] = [[]]
        self._arguments: list[Span] = []

    def span(self, start: int) -> Span:
        return Span(start, self.at, self.depth)

    def expr(self):
        start = self.at
        self.depth += 1
        self._open_terms.append([])
        node = super().expr()
        self.sums.append(self._open_terms.pop())
        self.expressions.append(self.span(start))
        self.depth -= 1
        return node

    def term(self):
        start = self.at
        self._open_factors.append([])
        node = super().term()
        self.products.append(self._open_factors.pop())
        self._open_terms[-1].append(self.span(start))
        return node

    def factor(self):
        start = self.at
        node = super().factor()
        self._open_factors[-1].append((self.span(start), node))
        return node

    def big(self):
        bound = len(self.scope)
        self._open_terms.append([])  # the term that follows a sum sign belongs to no expression
        node = super().big()
        self._open_terms.pop()
        del self.scope[bound:]
        return node

    def limits(self):
        first = len(self.expressions)
        over = super().limits()
        if isinstance(over, Members):
            self.scope += over.names
        else:
            lower = next(e for e in self.expressions[first:] if e.depth == self.depth + 1)
            self.bounds.append(lower)
            written_above = self._arguments and self._arguments[-1].start > lower.end  # else: 0 \\le i \\le n
            self.bounds.append(self._arguments[-1] if written_above else self.expressions[-1])
            self.scope.append(over.name)
        return over

    def argument(self):
        start = self.at
        node = super().argument()
        self._arguments.append(self.span(start))
        return node

    def primary(self):
        start, fraction = self.at, self.peek() == "\\frac"
        node = super().primary()
        if fraction:
            above = next(a for a in self._arguments if a.start == start + 1)
            self.fractions.append((above, next(a for a in self._arguments if a.start == above.end)))
        return node

    def name(self):
        start, known = self.at, len(self.expressions)
        node = super().name()
        if isinstance(node, Name):
            self.names.append((self.span(start), node.name, tuple(self.scope)))
        elif isinstance(node, Applied) and len(node.arguments) > 1:
            self.index_lists.append([e for e in self.expressions[known:] if e.depth == self.depth + 1])
        return node


def shorten(text: str, width: int) -> str:
    """The text, its middle left out where it is wider than that."""
    return text if len(text) <= width else f"{text[: width // 2]} ... {text[-width // 3 :]}"


class _Mutator:
    """Makes the edits of one formula's right-hand side."""

    def __init__(self, equation: Equation):
        self.equation = equation
        self.seen = _Observer(equation.latex, equation.callables, equation.words)
        formula = Formula(equation.latex, *self.seen.formula())
        self.left = formula.left_indices()
        texts = [token.text for token in self.seen.tokens]
        self.right = texts.index("=") + 1 if formula.left is not None else 0
        self.plain = [
            name for name in dict.fromkeys(name for _, name, _ in self.seen.names) if name in formula.symbols()
        ]

    def text(self, span: Span) -> str:
        first, last = self.seen.tokens[span.start], self.seen.tokens[span.end - 1]
        return self.equation.latex[first.position : last.position + len(last.text)]

    def edits(self) -> Iterator[tuple[list[tuple[Span, str]], str]]:
        """Each edit as replacements of spans, with what it should be called if that is not plain from them."""
        yield from self.tokens()
        yield from self.letters()
        yield from self.limits()
        yield from self.terms_and_factors()
        yield from self.exchanges()

    def tokens(self):
        """Another sign, relation or function; a number one more or less."""
        for at, token in enumerate(self.seen.tokens):
            if token.text.isdigit():
                for number in (int(token.text) + 1, int(token.text) - 1):
                    yield [(Span(at, at + 1), str(number) if number >= 0 else "(-1)")], ""
            for other in _OTHER.get(token.text, ()):
                yield [(Span(at, at + 1), other)], ""
            if token.text == "\\lfloor":
                closing = next(k for k in range(at, len(self.seen.tokens)) if self.seen.tokens[k].text == "\\rfloor")
                for opening, ending in (("\\lceil", "\\rceil"), ("(", ")")):
                    yield [(Span(at, at + 1), opening), (Span(closing, closing + 1), ending)], f"floor -> {opening}"
            if token.text == "|":
                closing = next((k for k in range(at + 1, len(self.seen.tokens)) if self.seen.tokens[k].text == "|"), at)
                yield [(Span(at, at + 1), "("), (Span(closing, closing + 1), ")")], "| -> ("

    def letters(self):
        """An index that another one stands for, and a size or constant that the next one stands for."""
        for span, name, scope in self.seen.names:
            letters = [*self.left, *scope]
            if name in letters:
                others = [letter for letter in letters if letter != name]
            else:
                others = [self.plain[(self.plain.index(name) + 1) % len(self.plain)]] if name in self.plain else []
            for other in others:
                if other != name:
                    yield [(span, f"{{{other}}}" if other.startswith("\\") else other)], ""

    def limits(self):
        for span in self.seen.bounds:
            text = self.text(span)
            if any(character.isdigit() for character in text):
                continue  # its number is changed already
            for step in ("+1", "-1"):
                yield [(span, f"{{{text}{step}}}")], ""

    def terms_and_factors(self):
        for terms in self.seen.sums:
            if len(terms) > 1:
                for span in terms:
                    yield [(span, "0")], ""
            first = terms[0]
            if self.seen.tokens[first.start - 1].text not in "+-" and not self.text(first).isdigit():
                yield [(first, f"-{self.text(first)}")], f"negated {self.text(first)}"
            elif self.seen.tokens[first.start - 1].text == "-":
                yield [(Span(first.start - 1, first.start), "")], ""
        for factors in self.seen.products:
            for span, node in factors:
                if isinstance(node, Number):
                    continue
                yield [(span, f"(2 \\cdot {self.text(span)})")], f"doubled {self.text(span)}"
                if len(factors) > 1:
                    yield [(span, "1")], ""

    def exchanges(self):
        """Two indices of one symbol; the two parts of a fraction."""
        pairs = [(a, b) for items in self.seen.index_lists for k, a in enumerate(items) for b in items[k + 1 :]]
        for a, b in [*pairs, *self.seen.fractions]:
            if self.text(a) != self.text(b):
                yield [(a, self.text(b)), (b, self.text(a))], f"{self.text(a)} <-> {self.text(b)}"

    def mutants(self) -> Iterator[Mutant]:
        known = {self.equation.latex}
        for replacements, called in self.edits():
            if min(span.start for span, _ in replacements) < self.right:
                continue
            latex = self.replaced(replacements)
            if latex in known or not self.readable(latex):
                continue
            known.add(latex)
            span, new = replacements[0]
            edit = shorten(called or f"{self.text(span)} -> {new}", 60)
            yield Mutant(self.equation.id, f"{edit} at character {self.seen.tokens[span.start].position + 1}", latex)

    def replaced(self, replacements: list[tuple[Span, str]]) -> str:
        latex = self.equation.latex
        for span, new in sorted(replacements, key=lambda replacement: -replacement[0].start):
            start = self.seen.tokens[span.start].position
            end = self.seen.tokens[span.end - 1].position + len(self.seen.tokens[span.end - 1].text)
            latex = f"{latex[:start]} {new} {latex[end:]}"
        return latex

    def readable(self, latex: str) -> bool:
        try:
            parse(latex, self.equation.callables, self.equation.words)
        except EquationError:
            return False
        return True


def mutants_of(equation: Equation) -> list[Mutant]:
    """Every mutant of an equation's right-hand side that can be read as a formula."""
    return list(_Mutator(equation).mutants())


# ------------------------------------------------------------------------------------------------------------ the trial


class _Trial:
    """The samples of one equation, with what the literal loops say."""

    def __init__(self, equation: Equation):
        self.equation = equation
        order = np.random.default_rng(0)
        self.cases = []
        for sample in samples_of(equation):
            expected = np.asarray(run_literal(equation, sample), float)
            places = list(np.ndindex(*sample.shape))
            order.shuffle(places)  # the corner at 0, 0 is the place where most mutants look right
            scale = max(1.0, np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
            self.cases.append((meanings(equation, sample), expected, places, scale * TOLERANCE))

    def catches(self, mutant: Mutant) -> bool:
        formula = parse(mutant.latex, self.equation.callables, self.equation.words)
        names = formula.left_indices()
        for (plain, applied), expected, places, tolerance in self.cases:
            for place in places:
                try:
                    value = formula.value({**plain, **dict(zip(names, place))}, applied)
                    if not (value == expected[place] or abs(value - expected[place]) <= tolerance):
                        return True
                except (EquationError, ArithmeticError, ValueError, TypeError):
                    return True
        return False


@dataclass
class Scoreboard:
    """How many mutants of each equation were caught."""

    caught: dict[str, int] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)
    """Without the equivalent ones."""
    survivors: list[Mutant] = field(default_factory=list)
    equivalent: list[Mutant] = field(default_factory=list)

    @property
    def score(self) -> float:
        """The share of the mutants that are not equivalent which were caught."""
        total = sum(self.total.values())
        return sum(self.caught.values()) / total if total else 1.0

    def __str__(self) -> str:
        width = max(map(len, self.total), default=0)
        lines = [f"{id:{width}}  {self.caught[id]:4} of {self.total[id]:4}" for id in self.total]
        lines += [f"survived: {m.id}: {m.edit}: {m.latex}" for m in self.survivors]
        summary = f"{sum(self.caught.values())} of {sum(self.total.values())} mutants caught ({self.score:.2%})"
        return "\n".join([*lines, f"{summary}, {len(self.equivalent)} more say the same in other words"])


def run_mutants(pattern: str | None = None, share: float = 1.0, seed: int = 0) -> Scoreboard:
    """Try the mutants of every equation that matches and has samples.

    Parameters
    ----------
    pattern : str, optional
        Ids, as in ``check_all``.
    share : float
        The part of the mutants to try, chosen at random with this seed.
    """
    board, chance = Scoreboard(), random.Random(seed)
    for equation in matching(pattern):
        trial = _Trial(equation)
        if not trial.cases:
            continue
        board.caught[equation.id] = board.total[equation.id] = 0
        for mutant in mutants_of(equation):
            if share < 1 and chance.random() >= share:
                continue
            caught = trial.catches(mutant)
            if not caught and (mutant.id, mutant.edit) in EQUIVALENT:
                board.equivalent.append(mutant)
                continue
            board.total[equation.id] += 1
            board.caught[equation.id] += caught
            if not caught:
                board.survivors.append(mutant)
    return board


SAME_SIGN = "twice a number has the sign of that number"
SAME_PLACE = "twice all of them has its maximum at the same place"
ABSOLUTE = "inside an absolute value the sign makes no difference"
EVEN = "the cosine of -x is that of x"
ZERO = "0 only where r itself is 0"
WHOLE_SUM = "the sum runs over both indices alike"
EVEN_CHANNEL = "this branch has even c only, where c/2 is whole"
WHOLE_LABEL = "a label has no bits below its first"
EVEN_ONLY = "rounded up, too, twice the half of c is c for even c only"

EQUIVALENT: dict[tuple[str, str], str] = {
    ("act.relu_grad", r"doubled z at character 13"): SAME_SIGN,
    ("act.step", r"doubled z at character 23"): SAME_SIGN,
    ("loss.bce_logits", r"negated z_{n} at character 82"): ABSOLUTE,
    ("loss.weight_frequency", r"doubled n_{i,k} at character 57"): SAME_SIGN,
    ("loss.dice_sums", r"negated r at character 122"): ZERO,
    ("loss.dice_sums", r"doubled r at character 122"): ZERO,
    ("data.rotate_rows", r"negated \phi at character 49"): EVEN,
    ("data.rotate_columns", r"negated \phi at character 79"): EVEN,
    ("data.voc_palette", r"0 -> (-1) at character 19"): WHOLE_LABEL,
    ("metric.pixel_acc", r"k <-> l at character 71"): WHOLE_SUM,
    ("metric.fwiou", r"i <-> j at character 87"): WHOLE_SUM,
    ("norm.batch_stats", r"negated r at character 101"): ZERO,
    ("norm.batch_stats", r"doubled r at character 101"): ZERO,
    ("norm.batch_relu_grad", r"doubled y_{n,c,i,j} at character 80"): SAME_SIGN,
    ("norm.batch_relu_grad", r"doubled y_{m,c,a,b} at character 218"): SAME_SIGN,
    ("norm.batch_relu_grad_weight", r"doubled y_{n,c,i,j} at character 76"): SAME_SIGN,
    ("norm.batch_relu_grad_bias", r"doubled y_{n,c,i,j} at character 76"): SAME_SIGN,
    ("norm.batch_relu_eval_grad", r"doubled y_{n,c,i,j} at character 73"): SAME_SIGN,
    ("opt.schedule_cosine", r"negated \pi t at character 33"): EVEN,
    ("opt.schedule_cosine", r"negated S at character 40"): EVEN,
    ("opt.schedule_cosine", r"negated \frac{\pi t}{S} at character 27"): EVEN,
    ("reg.l1", r"negated \theta_{i} at character 33"): ABSOLUTE,
    ("reg.l1_grad", r"doubled \theta_{i} at character 25"): SAME_SIGN,
    ("reg.l1_grad", r"doubled \theta_{i} at character 44"): SAME_SIGN,
    ("reg.early_stopping", r"doubled L_{i} at character 30"): SAME_PLACE,
    ("reg.early_stopping", r"doubled (-L_{i}) at character 28"): SAME_PLACE,
    ("att.positional_sin", r"floor -> \lceil at character 37"): EVEN_CHANNEL,
    ("att.positional_sin", r"floor -> ( at character 37"): EVEN_CHANNEL,
    ("att.positional_sin", r"floor -> \lceil at character 74"): EVEN_ONLY,
    ("att.positional_sin", r"negated i b^{-2\lfloor \frac{c}{2} \rfloor / D} at character 114"): EVEN,
    ("grad.relative_error", r"negated a at character 24"): ABSOLUTE,
    ("grad.relative_error", r"negated n at character 28"): ABSOLUTE,
    ("arith.abs", r"negated x at character 6"): ABSOLUTE,
    ("arith.abs_grad", r"doubled x at character 14"): SAME_SIGN,
    ("arith.abs_grad", r"doubled x at character 24"): SAME_SIGN,
    ("arith.max_grad", r"doubled x_{j} at character 41"): SAME_PLACE,
    ("arith.min_grad", r"doubled x_{j} at character 43"): SAME_PLACE,
    ("arith.min_grad", r"doubled (-x_{j}) at character 41"): SAME_PLACE,
    ("explain.saliency", r"negated g_{c,i,j} at character 28"): ABSOLUTE,
    ("quant.scale", r"negated w_{o,i} at character 39"): ABSOLUTE,
    ("prune.magnitude", r"negated w_{i} at character 16"): ABSOLUTE,
    ("semi.pseudo_label", r"doubled p_{i,k} at character 43"): SAME_PLACE,
    ("seg.argmax", r"doubled z_{n,k,i,j} at character 34"): SAME_PLACE,
    ("pool.max2d_place", r"doubled x_{n,c,si+\lfloor \fra ... rac{l}{S} \rfloor-P} at character 37"): SAME_PLACE,
}
"""Mutants that no sample can catch, by id and edit, and why."""
