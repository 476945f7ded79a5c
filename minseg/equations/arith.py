"""Equations of the arithmetic on tensors: short ones, each with its gradients. Letters without indices stand for one element."""

from minseg.equations.registry import Equation, Source, Symbol, paper

A = Symbol("a", "first operand")
B = Symbol("b", "second operand")
X = Symbol("x", "operand")
Y = Symbol("y", "result")
Y_BAR = Symbol(r"\bar{y}", "gradient of the loss for the result")
X_LIST = Symbol("x", "elements along the axis", "(N,)")
N = Symbol("N", "elements along the axis", domain=">= 1")
MEAN = Symbol(r"\mu", "mean of the elements")
CORRECTION = Symbol("c", "correction: 1 for the unbiased variance of a sample, 0 for that of the numbers themselves")
CONDITION = Symbol("c", "the condition", domain="0 or 1")
LOW = Symbol("l", "lower limit")
HIGH = Symbol("h", "upper limit", domain=">= l")
ROWS_A = Symbol("a", "matrix", "(I, K)")
COLUMNS_B = Symbol("b", "matrix", "(K, J)")
Y_BAR_MATRIX = Symbol(r"\bar{y}", "gradient of the loss for the result", "(I, J)")
WIDTH = Symbol("J", "columns")
INDICES = Symbol("k", "where each element is taken from", "(N,)")
BEFORE = Symbol("l", "elements added before", domain=">= 0")

TIES_FIRST = "Of equals, a takes all of the gradient (PyTorch: half each)."
FIRST_OF_EQUALS = "Of equals, the first takes all of the gradient."


def _list(letter: str, meaning: str) -> Symbol:
    return Symbol(letter, meaning, "(N,)")


def _arithmetic(
    name: str,
    title: str,
    latex: str,
    symbols: tuple[Symbol, ...],
    gradients: dict[str, str] | None = None,
    operations: tuple[str, ...] = (),
    sources: tuple[Source, ...] = (),
    note: str = "",
) -> Equation:
    """The equation ``arith.<name>``, computed by the operation of that name or by those given; gradients without ``arith.``."""
    return Equation(
        id=f"arith.{name}",
        title=title,
        latex=latex,
        symbols=symbols,
        sources=sources or (paper("arithmetic"),),
        errata=tuple(erratum for source in sources for erratum in source.errata),
        operations=tuple(f"minseg.autograd.{operation}" for operation in operations or (name,)),
        gradients={symbol: f"arith.{gradient}" for symbol, gradient in (gradients or {}).items()},
        note=note,
    )


def _gradient(
    name: str, title: str, latex: str, symbols: tuple[Symbol, ...], operations: tuple[str, ...], note: str = ""
) -> Equation:
    return _arithmetic(
        name, f"gradient of {title}", latex, symbols, None, operations, (paper("by differentiating"),), note
    )


EQUATIONS = (
    # ----------------------------------------------------------------------------------------- element by element, of two
    _arithmetic("add", "sum of two tensors", r"y = a + b", (A, B), {"a": "add_grad", "b": "add_grad"}),
    _gradient("add_grad", "a sum, for either operand", r"g = \bar{y}", (Y_BAR,), ("add",)),
    _arithmetic("sub", "difference", r"y = a - b", (A, B), {"a": "add_grad", "b": "sub_grad_b"}),
    _gradient("sub_grad_b", "a difference, for what is subtracted", r"g = -\bar{y}", (Y_BAR,), ("sub",)),
    _arithmetic("mul", "product, element by element", r"y = ab", (A, B), {"a": "mul_grad_a", "b": "mul_grad_b"}),
    _gradient("mul_grad_a", "a product, for its first factor", r"g = \bar{y}b", (Y_BAR, B), ("mul",)),
    _gradient("mul_grad_b", "a product, for its second factor", r"g = \bar{y}a", (Y_BAR, A), ("mul",)),
    _arithmetic("div", "quotient", r"y = \frac{a}{b}", (A, B), {"a": "div_grad_a", "b": "div_grad_b"}),
    _gradient("div_grad_a", "a quotient, for the numerator", r"g = \frac{\bar{y}}{b}", (Y_BAR, B), ("div",)),
    _gradient("div_grad_b", "a quotient, for the denominator", r"g = -\frac{\bar{y}a}{b^{2}}", (Y_BAR, A, B), ("div",)),
    _arithmetic("pow", "power", r"y = a^{b}", (A, B), {"a": "pow_grad_a", "b": "pow_grad_b"}),
    _gradient(
        "pow_grad_a",
        "a power, for the base",
        r"g = \bar{y}ba^{b-1}",
        (Y_BAR, A, B),
        ("pow",),
        note="0 for b = 0, also at a = 0.",
    ),
    _gradient(
        "pow_grad_b",
        "a power, for the exponent",
        r"g = \bar{y}a^{b}\log(a)",
        (Y_BAR, A, B),
        ("pow",),
        note="For a > 0; 0 at a = 0.",
    ),
    _arithmetic(
        "maximum", "the larger of two", r"y = \max(a,b)", (A, B), {"a": "maximum_grad_a", "b": "maximum_grad_b"}
    ),
    _gradient(
        "maximum_grad_a",
        "the larger of two, for the first",
        r"g = \bar{y}[a \ge b]",
        (Y_BAR, A, B),
        ("maximum",),
        note=TIES_FIRST,
    ),
    _gradient(
        "maximum_grad_b",
        "the larger of two, for the second",
        r"g = \bar{y}[a < b]",
        (Y_BAR, A, B),
        ("maximum",),
        note=TIES_FIRST,
    ),
    _arithmetic(
        "minimum", "the smaller of two", r"y = \min(a,b)", (A, B), {"a": "minimum_grad_a", "b": "minimum_grad_b"}
    ),
    _gradient(
        "minimum_grad_a",
        "the smaller of two, for the first",
        r"g = \bar{y}[a \le b]",
        (Y_BAR, A, B),
        ("minimum",),
        note=TIES_FIRST,
    ),
    _gradient(
        "minimum_grad_b",
        "the smaller of two, for the second",
        r"g = \bar{y}[a > b]",
        (Y_BAR, A, B),
        ("minimum",),
        note=TIES_FIRST,
    ),
    _arithmetic(
        "where",
        "a where a condition holds, else b",
        r"y = \begin{cases} a & c = 1 \\ b & \text{otherwise} \end{cases}",
        (A, B, CONDITION),
        {"a": "where_grad_a", "b": "where_grad_b"},
    ),
    _gradient(
        "where_grad_a", "a choice, for what is taken where it holds", r"g = c\bar{y}", (Y_BAR, CONDITION), ("where",)
    ),
    _gradient(
        "where_grad_b", "a choice, for what is taken elsewhere", r"g = (1-c)\bar{y}", (Y_BAR, CONDITION), ("where",)
    ),
    # ----------------------------------------------------------------------------------------- element by element, of one
    _arithmetic("neg", "negative", r"y = -x", (X,), {"x": "sub_grad_b"}),
    _arithmetic("exp", "exponential", r"y = \exp(x)", (X,), {"x": "exp_grad"}),
    _gradient("exp_grad", "the exponential", r"g = \bar{y}y", (Y_BAR, Y), ("exp",)),
    _arithmetic("log", "natural logarithm", r"y = \log(x)", (X,), {"x": "log_grad"}),
    _gradient("log_grad", "the logarithm", r"g = \frac{\bar{y}}{x}", (Y_BAR, X), ("log",)),
    _arithmetic("sqrt", "square root", r"y = \sqrt{x}", (X,), {"x": "sqrt_grad"}),
    _gradient("sqrt_grad", "the square root", r"g = \frac{\bar{y}}{2y}", (Y_BAR, Y), ("sqrt",), note="Infinite at 0."),
    _arithmetic("abs", "absolute value", r"y = |x|", (X,), {"x": "abs_grad"}),
    _gradient(
        "abs_grad",
        "the absolute value",
        r"g = \bar{y}([x > 0] - [x < 0])",
        (Y_BAR, X),
        ("abs",),
        note="The kink at 0 takes 0.",
    ),
    _arithmetic(
        "clip",
        "value limited to a range",
        r"y = \min(\max(x,l),h)",
        (X, LOW, HIGH),
        {"x": "clip_grad"},
        ("clip", "clamp"),
    ),
    _gradient(
        "clip_grad",
        "a limited value",
        r"g = \bar{y}[l \le x][x \le h]",
        (Y_BAR, X, LOW, HIGH),
        ("clip", "clamp"),
        note="Both kinks take the whole gradient.",
    ),
    # --------------------------------------------------------------------------------------------------------- reductions
    _arithmetic("sum", "sum along an axis", r"y = \sum_{i=0}^{N-1}x_{i}", (X_LIST, N), {"x": "sum_grad"}),
    _gradient("sum_grad", "a sum along an axis", r"g_{i} = \bar{y}", (Y_BAR,), ("sum",)),
    _arithmetic(
        "mean",
        "mean along an axis",
        r"y = \frac{1}{N}\sum_{i=0}^{N-1}x_{i}",
        (X_LIST, N),
        {"x": "mean_grad"},
        sources=(
            Source("D1", "4", ("code",), errata=("ERR-42",), item="C-13", note="of the batches' losses"),
            paper("arithmetic"),
        ),
    ),
    _gradient("mean_grad", "a mean", r"g_{i} = \frac{\bar{y}}{N}", (Y_BAR, N), ("mean",)),
    _arithmetic(
        "var",
        "variance along an axis",
        r"y = \frac{1}{N-c}\sum_{i=0}^{N-1}(x_{i}-\mu)^{2}",
        (X_LIST, MEAN, N, CORRECTION),
        {"x": "var_grad"},
    ),
    _gradient(
        "var_grad",
        "a variance",
        r"g_{i} = \frac{2\bar{y}}{N-c}(x_{i}-\mu)",
        (Y_BAR, X_LIST, MEAN, N, CORRECTION),
        ("var",),
        note="That the mean moves too does not matter: the deviations sum to 0.",
    ),
    _arithmetic("max", "largest element along an axis", r"y = \max_{i=0}^{N-1}x_{i}", (X_LIST, N), {"x": "max_grad"}),
    _gradient(
        "max_grad",
        "the largest element",
        r"g_{i} = \bar{y}[i = \arg\max_{j=0}^{N-1}x_{j}]",
        (Y_BAR, X_LIST, N),
        ("max",),
        note=FIRST_OF_EQUALS,
    ),
    _arithmetic("min", "smallest element along an axis", r"y = \min_{i=0}^{N-1}x_{i}", (X_LIST, N), {"x": "min_grad"}),
    _gradient(
        "min_grad",
        "the smallest element",
        r"g_{i} = \bar{y}[i = \arg\max_{j=0}^{N-1}(-x_{j})]",
        (Y_BAR, X_LIST, N),
        ("min",),
        note=FIRST_OF_EQUALS,
    ),
    _arithmetic(
        "matmul",
        "product of matrices",
        r"y_{i,j} = \sum_{k=0}^{K-1}a_{i,k}b_{k,j}",
        (ROWS_A, COLUMNS_B, Symbol("K", "columns of a, rows of b")),
        {"a": "matmul_grad_a", "b": "matmul_grad_b"},
    ),
    _gradient(
        "matmul_grad_a",
        "a product of matrices, for the first",
        r"g_{i,k} = \sum_{j=0}^{J-1}\bar{y}_{i,j}b_{k,j}",
        (Y_BAR_MATRIX, COLUMNS_B, Symbol("J", "columns of b")),
        ("matmul",),
    ),
    _gradient(
        "matmul_grad_b",
        "a product of matrices, for the second",
        r"g_{k,j} = \sum_{i=0}^{I-1}a_{i,k}\bar{y}_{i,j}",
        (Y_BAR_MATRIX, ROWS_A, Symbol("I", "rows of a")),
        ("matmul",),
    ),
    # ------------------------------------------------------------------------------------------------------------- shapes
    _arithmetic(
        "reshape",
        "the same elements in another shape: a matrix as one row",
        r"y_{k} = x_{\lfloor \frac{k}{J} \rfloor,k-J\lfloor \frac{k}{J} \rfloor}",
        (Symbol("x", "matrix", "(I, J)"), WIDTH),
        {"x": "reshape_grad"},
        ("reshape", "view", "flatten", "squeeze", "unsqueeze"),
        (Source("D1-D4", "code", ("code",), errata=("ERR-33",), item="C-04"), paper("arithmetic")),
        "Elements keep their order, the last axis running fastest.",
    ),
    _gradient(
        "reshape_grad",
        "another shape",
        r"g_{i,j} = \bar{y}_{iJ+j}",
        (Symbol(r"\bar{y}", "gradient of the loss for the result", "(I J,)"), WIDTH),
        ("reshape", "view", "flatten", "squeeze", "unsqueeze"),
    ),
    _arithmetic(
        "permute",
        "axes in another order",
        r"y_{k,i,j} = x_{i,j,k}",
        (Symbol("x", "array", "(I, J, K)"),),
        {"x": "permute_grad"},
        ("permute", "transpose"),
    ),
    _gradient(
        "permute_grad",
        "axes in another order",
        r"g_{i,j,k} = \bar{y}_{k,i,j}",
        (Symbol(r"\bar{y}", "gradient of the loss for the result", "(K, I, J)"),),
        ("permute", "transpose"),
    ),
    _arithmetic(
        "broadcast_to",
        "repetition along a new axis",
        r"y_{n,i} = x_{i}",
        (Symbol("x", "array", "(I,)"),),
        {"x": "broadcast_to_grad"},
        ("broadcast_to", "expand"),
    ),
    _gradient(
        "broadcast_to_grad",
        "a repetition",
        r"g_{i} = \sum_{n=0}^{N-1}\bar{y}_{n,i}",
        (Symbol(r"\bar{y}", "gradient of the loss for the result", "(N, I)"), Symbol("N", "repetitions")),
        ("broadcast_to", "expand", "add", "mul"),
        note="Also what every operation on tensors of different shapes does for the smaller one.",
    ),
    # ---------------------------------------------------------------------------------------------------- parts and unions
    _arithmetic(
        "index",
        "elements taken from a tensor",
        r"y_{i} = x_{k_{i}}",
        (Symbol("x", "array", "(I,)"), INDICES),
        {"x": "index_grad"},
        ("index", "split", "chunk"),
    ),
    _gradient(
        "index_grad",
        "elements taken from a tensor",
        r"g_{j} = \sum_{i=0}^{N-1}[k_{i} = j]\bar{y}_{i}",
        (_list(r"\bar{y}", "gradient of the loss for the result"), INDICES, Symbol("N", "elements taken")),
        ("index", "split", "chunk"),
        note="Adds up where an element was taken more than once.",
    ),
    _arithmetic(
        "concatenate",
        "one tensor after the other",
        r"y_{i} = \begin{cases} a_{i} & i < N \\ b_{i-N} & \text{otherwise} \end{cases}",
        (_list("a", "first tensor"), Symbol("b", "second tensor", "(M,)"), Symbol("N", "elements of the first")),
        {"a": "concatenate_grad_a", "b": "concatenate_grad_b"},
        ("concatenate", "cat", "stack"),
        (
            Source("D5", "3.2.2", ("words",), errata=("ERR-27",), item="W-08"),
            Source("D2", "3.2.1", ("words",), errata=("ERR-43",), item="W-20", note="the skip connection of U-Net"),
        ),
    ),
    _gradient(
        "concatenate_grad_a",
        "one tensor after the other, for the first",
        r"g_{i} = \bar{y}_{i}",
        (Symbol(r"\bar{y}", "gradient of the loss for the result", "(N+M,)"),),
        ("concatenate", "cat", "stack"),
    ),
    _gradient(
        "concatenate_grad_b",
        "one tensor after the other, for the second",
        r"g_{i} = \bar{y}_{N+i}",
        (Symbol(r"\bar{y}", "gradient of the loss for the result", "(N+M,)"), Symbol("N", "elements of the first")),
        ("concatenate", "cat", "stack"),
    ),
    _arithmetic(
        "pad",
        "a constant border",
        r"y_{i} = \begin{cases} x_{i-l} & [l \le i][i < l+N] = 1 \\ v & \text{otherwise} \end{cases}",
        (X_LIST, BEFORE, N, Symbol("v", "value of the border")),
        {"x": "pad_grad"},
    ),
    _gradient(
        "pad_grad",
        "a border",
        r"g_{i} = \bar{y}_{i+l}",
        (Symbol(r"\bar{y}", "gradient of the loss for the result", "(N+l+r,)"), BEFORE),
        ("pad",),
    ),
)
