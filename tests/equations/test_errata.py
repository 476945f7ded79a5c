"""The errata: all of them are there, each is proved by a computation or says why none can, and a correction would be noticed."""

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from minseg import nn, ops, tensor, use_backend
from minseg.equations import REGISTRY
from minseg.equations.errata import ERRATA, KINDS, RIGHT
from minseg.errors import ArgumentError
from minseg.models import printed as networks
from minseg.testing import witnesses
from minseg.testing.witnesses import code, common, formulas, prose, right

MODULES = {"formula": formulas, "code": code, "prose": prose}
PROVED = [erratum for erratum in ERRATA.values() if erratum.witness is not None]
TOLD = [erratum for erratum in ERRATA.values() if erratum.witness is None]
DOCUMENTS = Path(__file__).resolve().parents[3] / "shared" / "documents"
with_documents = pytest.mark.skipif(not DOCUMENTS.is_dir(), reason=f"the documents are not there: {DOCUMENTS}")


once = cache(witnesses.run)
"""A witness that several tests look at."""


def ids(named) -> list[str]:
    return [one.id for one in named]


# ------------------------------------------------------------------------------------------------------------ the list


def test_all_76_are_there_in_order():
    assert list(ERRATA) == [f"ERR-{number:02d}" for number in range(1, 77)]
    assert all(id == erratum.id for id, erratum in ERRATA.items())
    assert ids(RIGHT) == [f"OK-{number:02d}" for number in range(1, 13)]


@pytest.mark.parametrize("erratum", ERRATA.values(), ids=ids(ERRATA.values()))
def test_each_says_what_is_printed_what_is_right_and_why(erratum):
    assert erratum.kind in KINDS
    texts = (erratum.title, erratum.printed, erratum.correct, erratum.why)
    assert all(text and text == text.strip() for text in texts)
    assert not re.search(r"[\u3400-\u9fff]", " ".join((*texts, erratum.note))), "a sentence of the documents"
    assert erratum.places
    for place in erratum.places:
        assert re.fullmatch(r"D[1-5] (\d+(\.\d+)*|appendix|references)", place)
    assert len(erratum.why) > 20


@pytest.mark.parametrize("erratum", ERRATA.values(), ids=ids(ERRATA.values()))
def test_each_has_a_witness_or_a_reason_why_not(erratum):
    assert (erratum.witness is None) == bool(erratum.documentation_only)
    if erratum.witness is None:
        assert len(erratum.documentation_only) > 20
    else:
        module = MODULES[erratum.kind]
        assert erratum.witness == f"{module.__name__}.{erratum.id.lower().replace('-', '_')}"
        assert callable(getattr(module, erratum.witness.rpartition(".")[2]))


def test_no_witness_is_without_its_erratum():
    named = {*witnesses.NAMES.values()}
    for module in (formulas, code, prose, right):
        functions = {f"{module.__name__}.{name}" for name in vars(module) if re.fullmatch(r"(err|ok)_\d\d", name)}
        assert functions <= named


def test_most_are_proved_and_those_that_are_not_are_known():
    assert ids(TOLD) == [f"ERR-{number}" for number in (49, 54, 55, 65, 67, 69, 73, 74, 75, 76)]


def test_documents_and_sections_are_read_from_the_places():
    assert ERRATA["ERR-03"].documents == ("D1", "D3")
    assert ERRATA["ERR-03"].sections("D1") == ("3.1", "3.2", "3.3")
    assert ERRATA["ERR-03"].sections("D5") == ()


# -------------------------------------------------------------------------------------------------------- both directions


@pytest.mark.parametrize("erratum", [*ERRATA.values(), *RIGHT], ids=ids([*ERRATA.values(), *RIGHT]))
def test_the_equations_named_are_registered(erratum):
    assert [id for id in erratum.equations if id not in REGISTRY] == []
    assert len(set(erratum.equations)) == len(erratum.equations)


@pytest.mark.parametrize("equation", REGISTRY.values(), ids=list(REGISTRY))
def test_an_equation_and_its_errata_name_each_other(equation):
    cited = {*equation.errata, *(id for source in equation.sources for id in source.errata)}
    assert [id for id in sorted(cited) if id not in ERRATA] == []
    assert [id for id in sorted(cited) if equation.id not in ERRATA[id].equations] == []


def test_formulas_are_quoted_as_the_registry_has_them():
    """Whatever looks like a whole formula in ``printed`` of a formula's erratum stands so in a source."""
    printed = {source.printed for equation in REGISTRY.values() for source in equation.sources if source.printed}
    quoted = [erratum for erratum in PROVED if any(formula in erratum.printed for formula in printed)]
    assert {"ERR-01", "ERR-05", "ERR-06", "ERR-08", "ERR-10", "ERR-11", "ERR-12"} <= set(ids(quoted))
    assert {"ERR-15", "ERR-16", "ERR-17", "ERR-18"} <= set(ids(quoted))


# ------------------------------------------------------------------------------------------------------------ the proofs


@pytest.mark.parametrize("erratum", PROVED, ids=ids(PROVED))
def test_witness(erratum):
    witness = once(erratum.id)
    assert witness.mistake is True, f"the printed form is not wrong: {witness.shown}"
    assert witness.correct is True, f"the correct form does not pass: {witness.shown}"
    assert witness.proves
    assert "\n" not in witness.shown
    assert re.search(r"\d", witness.shown), "no numbers"


@pytest.mark.parametrize("named", [one for one in RIGHT if one.witness], ids=lambda one: one.id)
def test_what_the_documents_get_right(named):
    confirmation = once(named.id)
    assert confirmation.holds is True, confirmation.shown


def test_the_numbers_are_those_that_the_errata_speak_of():
    assert "[[1, 2, 3], [4, 5, 6], [7, 8, 9]] by D3 and [[9, 8, 7]" in once("ERR-01").shown
    for id, numbers in {
        "ERR-10": "5, 10, 15",
        "ERR-11": "0.3567 0.2284 0.6852 -2.09 -4.59 -27.6",
        "ERR-12": "0.4000 0.1333",
        "ERR-15": "50x75 1014 54",
        "ERR-22": "1381",
        "ERR-23": "0.2105 0.3478 0.4211",
        "ERR-24": "+0.35 -0.19",
        "ERR-26": "4.29e+09 17.2",
        "ERR-28": "0.2320 1.4612 0.1197 2.1232",
        "ERR-35": "(128, 10)",
        "ERR-36": "2.302585",
        "ERR-37": "1.4e-08 3e-08",
        "ERR-46": "644,234 4,576,394",
        "ERR-51": "259 35",
        "ERR-58": "1.4612",
        "ERR-60": "73,856",
        "ERR-68": "110,592 200,704",
    }.items():
        shown = once(id).shown
        assert all(number in shown for number in numbers.split(" ")), shown


@pytest.mark.parametrize("id", ["ERR-45", "ERR-57", "ERR-60"])
def test_what_is_shown_is_the_same_at_every_run(id):
    """Though these build layers without a seed."""
    assert witnesses.run(id) == witnesses.run(id)


def test_unknown_and_unprovable_errata_are_refused():
    with pytest.raises(ArgumentError, match="unknown erratum 'ERR-77'; did you mean"):
        witnesses.run("ERR-77")
    with pytest.raises(ArgumentError, match="ERR-65 has no witness: A fact about the brain"):
        witnesses.run("ERR-65")


# ---------------------------------------------------------------------------------- had the documents printed it right ...


@pytest.mark.parametrize(
    ("id", "item", "old", "new"),
    [
        ("ERR-01", "EQ-D3-1", "x(i-p+1, j-q+1)", "x(i+p-k, j+q-k)"),
        ("ERR-02", "EQ-D1-1", "x(x-i,y-j)", "x(x-i+1,y-j+1)"),
        ("ERR-06", "EQ-D1-3", "x(x+i,y+j)", "x(x+i-1,y+j-1)"),
        ("ERR-10", "EQ-D3-3", r"\frac{1}{k}", r"\frac{1}{k^2}"),
        ("ERR-11", "EQ-D3-4", r"+ (1-y_n) \log(1-\hat{y}_n)", ""),
        ("ERR-13", "EQ-D3-4", r"+ (1-y_n) \log(1-\hat{y}_n)", ""),
        ("ERR-16", "EQ-D4-3", "x_{i,j}", "x_{1,2}, x_{2,1}"),
    ],
)
def test_a_corrected_formula_is_no_mistake(id, item, old, new, monkeypatch):
    latex = common.printed(item)
    assert old in latex
    monkeypatch.setattr(
        formulas, "printed", lambda asked: latex.replace(old, new) if asked == item else common.printed(asked)
    )
    assert witnesses.run(id).mistake is False


class KeepsTheBatch(networks.ConvNet):
    def forward(self, x):
        x = self.pool(ops.relu(self.conv2(self.pool(ops.relu(self.conv1(x))))))
        return self.fc3(ops.relu(self.fc2(ops.relu(self.fc1(x.flatten(1)[:, :400])))))


class LogitsAreFree(networks.CNN):
    def forward(self, x):
        x = self.pool(ops.relu(self.conv2(self.pool(ops.relu(self.conv1(x))))))
        return self.fc(x.view(-1, 64 * 7 * 7))


class Residual(networks.ResNet):
    def forward(self, x):
        return super().forward(x) + x.mean((1, 2, 3))[:, None]


class DoublesExactly(networks.SegmentationNetwork):
    def __init__(self, rng=None):
        super().__init__(rng)
        self.decoder[0].output_padding = self.decoder[2].output_padding = (0, 0)


class SixClasses(networks.SegmentationNetwork):
    def __init__(self, rng=None):
        super().__init__(rng)
        self.decoder = nn.Sequential(*self.decoder[:2], nn.ConvTranspose2d(64, 6, 4, 2, 1, 1, rng=rng))


class LayersInInit(nn.Module):
    def __init__(self, rng):
        self.conv1 = nn.Conv2d(3, 4, 3, rng=rng)

    def forward(self, x):
        return self.conv1(x)


@pytest.mark.parametrize(
    ("id", "where", "name", "repaired"),
    [
        ("ERR-33", networks, "ConvNet", KeepsTheBatch),
        ("ERR-36", networks, "CNN", LogitsAreFree),
        ("ERR-45", networks, "ResNet", Residual),
        ("ERR-50", code, "_LayersInCall", LayersInInit),
        ("ERR-51", networks, "SegmentationNetwork", DoublesExactly),
        ("ERR-52", networks, "SegmentationNetwork", SixClasses),
    ],
)
def test_a_repaired_network_is_no_mistake(id, where, name, repaired, monkeypatch):
    monkeypatch.setattr(where, name, repaired)
    assert witnesses.run(id).mistake is False


def test_defined_names_are_no_mistake(monkeypatch):
    monkeypatch.setitem(code.IMPORTS, "D1", {*code.IMPORTS["D1"], "trainloader"})
    with pytest.raises(TypeError):  # the name is there, only nothing to loop over
        witnesses.run("ERR-32")


# --------------------------------------------------------------------------------- ... or minseg computed it wrong


@pytest.mark.parametrize(
    ("id", "name", "wrong"),
    [
        (
            "ERR-01",
            "conv2d",
            lambda right: lambda x, w, *rest, **options: right(x, tensor(w.data[..., ::-1].copy()), *rest, **options),
        ),
        ("ERR-08", "max_pool2d", lambda right: lambda x, *rest, **options: right(x, *rest, **options) + 1),
        ("ERR-10", "avg_pool2d", lambda right: lambda x, k, *rest: right(x, k, *rest) * k),
        ("ERR-11", "cross_entropy", lambda right: lambda z, *rest, **options: right(z, *rest, **options) * 0.5),
        ("ERR-24", "dice_loss", lambda right: lambda p, *rest, **options: 1 - right(p, *rest, **options)),
        ("ERR-41", "interpolate", lambda right: lambda x, size, mode: right(x, size=size, mode="bilinear")),
        ("ERR-53", "softmax", lambda right: lambda z, dim: right(z, 2)),
    ],
)
def test_a_wrong_operation_does_not_pass(id, name, wrong, monkeypatch):
    monkeypatch.setattr(ops, name, wrong(getattr(ops, name)))
    assert witnesses.run(id).correct is False


# ---------------------------------------------------------------------------------------------------- beside the documents


@with_documents
@pytest.mark.parametrize("document", ["D1", "D2", "D3", "D4", "D5"])
def test_every_place_is_a_section_of_the_document(document):
    text = (DOCUMENTS / f"{document}.txt").read_text(encoding="utf-8")
    headings = set(re.findall(r"^#+ (\d+(?:\.\d+)*)", text, re.MULTILINE))
    headings |= {"references"} if "\n# 参考文献" in text else set()
    headings |= {"appendix"} if "\n# 附录" in text else set()
    for erratum in (*ERRATA.values(), *RIGHT):
        sections = [place.split(" ")[1] for place in erratum.places if place.startswith(document)]
        assert set(sections) <= headings, erratum.id


@with_documents
@pytest.mark.parametrize("document", sorted(code.IMPORTS))
def test_the_imports_are_those_of_the_documents(document):
    """And the names of ERR-31 and ERR-32 are all that their programs leave undefined or unused."""
    text = (DOCUMENTS / f"{document}.txt").read_text(encoding="utf-8")
    tree = ast.parse(re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1))
    nodes = list(ast.walk(tree))
    imported = {
        alias.asname or alias.name.partition(".")[0]
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    names = [node for node in nodes if isinstance(node, ast.Name)]
    loaded = {name.id for name in names if isinstance(name.ctx, ast.Load)}
    defined = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    defined |= {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    defined |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    undefined = (
        loaded - defined - imported - set(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__)
    )
    assert imported == code.IMPORTS[document]
    assert (
        undefined
        == {
            "D1": {"F", "trainloader"},
            "D2": {"F", "train_loader"},
            "D3": {"F"},
            "D4": {"F"},
            "D5": {"epochs"},
        }[document]
    )
    unused = {"D1": {"torch"}, "D2": {"torch", "datasets", "transforms"}, "D5": {"models"}}
    assert imported - loaded == unused.get(document, set())


@with_documents
def test_the_references_of_d4_repeat_themselves():
    text = (DOCUMENTS / "D4.txt").read_text(encoding="utf-8")
    titles = [title[:25] for title in re.findall(r"^\[\d+\].*?\)\. ([^.]*)", text, re.MULTILINE)]
    counts = [titles.count(title) for title in dict.fromkeys(titles)]
    assert len(titles) == 45
    assert sorted(counts) == [1] * 6 + [4] + [5] * 7


# ---------------------------------------------------------------------------------------------------------- beside PyTorch


@pytest.mark.peer
def test_pytorch_takes_predictions_as_targets_and_variable_for_nothing():
    torch = pytest.importorskip("torch")
    z = np.random.default_rng(0).standard_normal((4, 10))
    theirs = torch.nn.CrossEntropyLoss()(torch.tensor(z), torch.tensor(z)).item()
    with use_backend("numpy"):
        ours = code._soft_cross_entropy(tensor(z), tensor(z)).item()
    assert abs(theirs - ours) < 1e-12  # ERR-47
    x = torch.ones(3)
    variable = import_module("torch.autograd").Variable(x)
    assert type(variable) is torch.Tensor  # ERR-54
    assert variable.float() is variable
