"""Code is found by name in the source, without importing it, and quoted to the letter."""

import inspect
from functools import reduce
from itertools import chain
from pathlib import Path

import pytest

import minseg
from minseg.equations import REGISTRY, get
from minseg.equations.code import BACKENDS, Library
from minseg.errors import EquationError
from minseg.implements import implements
from minseg.kernels.spec import PRIMITIVES

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = sorted({dotted for equation in REGISTRY.values() for dotted in equation.operations})


@pytest.fixture(scope="module")
def library():
    return Library()


def imported(dotted: str):
    """What Python itself has under a dotted name; where a function hides its module, what the module holds."""
    try:
        return reduce(getattr, dotted.split(".")[1:], minseg)
    except AttributeError:
        module, _, name = dotted.rpartition(".")
        return getattr(__import__(module, fromlist=[name]), name)


def quotes_its_file(code) -> bool:
    lines = (ROOT / code.file).read_text(encoding="utf-8").splitlines(keepends=True)
    return code.text == "".join(lines[code.first - 1 : code.last])


@pytest.mark.parametrize("dotted", OPERATIONS)
def test_each_operation_is_found_where_python_finds_it(library, dotted):
    code = library.find(dotted)
    lines, first = inspect.getsourcelines(imported(dotted))
    assert (code.file, code.first) == (
        Path(inspect.getsourcefile(imported(dotted))).relative_to(ROOT).as_posix(),
        first,
    )
    assert code.text == "".join(lines)


@pytest.mark.parametrize("equation", REGISTRY.values(), ids=REGISTRY)
def test_the_code_of_every_equation_is_quoted_to_the_letter(library, equation):
    kernels = library.kernels(equation)
    codes = [*library.operations(equation), *library.marked(equation.id), *chain(*kernels.values())]
    assert all(quotes_its_file(code) for code in codes)
    assert set(kernels) >= set(BACKENDS) or not equation.primitives
    if equation.status == "implemented":
        assert quotes_its_file(library.literal(equation))
        assert codes, "implemented, but no code is named"


@pytest.mark.parametrize("name", PRIMITIVES)
def test_families_are_those_of_the_declaration(library, name):
    assert library.family(name) == PRIMITIVES[name].family


def test_what_a_kernel_calls_comes_with_it(library):
    kernels = library.kernels(get("pool.max2d"))
    numba = [code.short_name for code in kernels["Numba"]]
    assert numba[0] == "max_pool2d"
    assert {"_max_pool_any", "_max_pool_halving", "_max_halving", "_better"} <= set(numba)  # the first two by VARIANTS
    assert [code.file for code in kernels["NumPy"]][:2] == ["kernels/reference/pool.py"] * 2
    assert {code.file for code in kernels["NumPy"]} == {"kernels/reference/pool.py", "kernels/reference/conv.py"}


def test_marks_name_the_innermost_definition(library):
    assert "Conv2d.backward" in [code.short_name for code in library.marked("conv.grad_w")]
    assert "Conv2d" in [code.short_name for code in library.marked("conv.corr2d")], 'equation = "conv.corr2d"'
    assert library.marked("conv.no_such_id") == []


def test_unknown_names_are_errors(library):
    with pytest.raises(EquationError, match=r"there is no minseg\.ops\.conv5d in the source"):
        library.find("minseg.ops.conv5d")
    with pytest.raises(EquationError, match="declares no primitive conv5d"):
        library.family("conv5d")


# --------------------------------------------------------------------------------------------- a small package on disk


FILES = {
    "minseg/__init__.py": "raise RuntimeError('imported')\n",
    "minseg/ops/__init__.py": "from minseg.ops.conv import conv as convolve\nfrom minseg.ops import conv\n",
    "minseg/ops/conv.py": '''
import functools

LIMIT = 3


def wrapped(f):
    return f


@wrapped
def conv(x):
    """Long.

    Docstring.
    """
    return helper(x) + LIMIT


def helper(x):
    return x  # eq: conv.one, conv.two


other = conv


class Layer:
    def forward(self):
        return helper(1)
''',
    "kernels/spec.py": '@primitive("conv", "conv.one", None)\ndef conv(x):\n    """."""\n',
    "kernels/reference/conv.py": "def conv(x):\n    return x\n",
    "kernels/cpu/conv.py": "from minseg.kernels.cpu import deep\n\n\ndef conv(x):\n    return deep.run(x)\n",
    "kernels/cpu/deep.py": "def run(x):\n    return conv(x)\n\n\ndef conv(x):\n    return x\n",
    "kernels/cuda/conv.cu": """#include "x.h"

// eq: conv.one
template <typename T>
__global__ void conv(T *y) {
    if (y) {
        y[0] = 1;
    }
}

__global__ void grad(float *y) {
    for (;;) {
        y[0] += 1;  // eq: conv.two
    }
}
""",
    "tests/test_it.py": """CASES = ["conv.one"]


def test_first():
    assert "conv.one."


class TestMore:
    def test_second(self):
        ops.conv(1), "conv.one_more"
""",
    "tutorials/02_windows.py": 'show("conv.one")\n',
}


@pytest.fixture
def small(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Library(tmp_path / "minseg")


def test_nothing_is_imported_and_names_are_followed(small):
    for dotted in ("minseg.ops.convolve", "minseg.ops.conv.conv", "minseg.ops.conv.other"):
        code = small.find(dotted)
        assert (code.name, code.file, code.first, code.last) == ("minseg.ops.conv.conv", "minseg/ops/conv.py", 11, 17)
        assert code.text.startswith("@wrapped\n")
        assert code.docstring == (13, 16)
        assert code.place == "minseg/ops/conv.py:11"
        assert len(code) == 7
    assert small.find("minseg.ops.conv.Layer.forward").short_name == "Layer.forward"
    assert small.find("minseg.ops.conv.LIMIT").is_value


def test_calls_stay_within_their_package_and_end(small):
    kernel = small.find("minseg.kernels.cpu.conv.conv")
    assert [code.name for code in small.called(kernel, "minseg.kernels.cpu")] == [
        "minseg.kernels.cpu.deep.run",
        "minseg.kernels.cpu.deep.conv",
    ]
    assert small.called(kernel, "minseg.kernels.cpu.conv") == []
    conv = small.find("minseg.ops.convolve")
    assert [code.short_name for code in small.called(conv, "minseg.ops.conv")] == ["helper"]


def test_marks_in_python_and_in_cuda(small):
    one, two = ([(c.short_name, c.file, c.first, c.last) for c in small.marked(id)] for id in ("conv.one", "conv.two"))
    assert one == [("helper", "minseg/ops/conv.py", 20, 21), ("conv", "kernels/cuda/conv.cu", 3, 9)]
    assert two == [("helper", "minseg/ops/conv.py", 20, 21), ("grad", "kernels/cuda/conv.cu", 11, 15)]
    assert small.marked("conv.two")[1].text.endswith("    }\n}\n")


def test_mentions_are_of_the_whole_id(small):
    assert [(m.file, m.name, m.line) for m in small.mentions("conv.one")] == [
        ("tests/test_it.py", "", 1),
        ("tests/test_it.py", "test_first", 5),
    ]
    assert [m.file for m in small.notebooks("conv.one")] == ["tutorials/02_windows.py"]


def test_an_installed_minseg_has_its_kernels_inside_and_no_tests(small, tmp_path):
    (tmp_path / "kernels").rename(tmp_path / "minseg" / "kernels")
    installed = Library(tmp_path / "minseg")
    code = installed.find("minseg.kernels.cpu.conv.conv")
    assert (code.name, code.file) == ("minseg.kernels.cpu.conv.conv", "minseg/kernels/cpu/conv.py")
    assert installed.mentions("conv.one") == []  # what stands in tests/ there is another package's


# ---------------------------------------------------------------------------------------------------------- implements


def test_implements_marks_and_changes_nothing_else():
    def double(x):
        return 2 * x

    marked = implements("arith.mul")(double)
    assert marked is double
    assert double.__equation__ == "arith.mul"
    assert double(4) == 8
