"""Every registered equation says what the code does, and everything in the code that names an equation names a registered one."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import minseg
from minseg import equations
from minseg.autograd import Function
from minseg.equations import FAMILIES, REGISTRY, find, get
from minseg.errors import EquationError
from minseg.kernels import spec
from minseg.testing.equations import check, check_all, literal_function, matching, resolve, samples_of

FAMILY_NAMES = [family.__name__.rpartition(".")[2] for family in FAMILIES]
BACKENDS = ["numpy", "numba"]

# The catalogue's standard forms, letter for letter.
# fmt: off
STANDARD_FORMS = {
    "conv.corr2d": r"y_{n,o,i,j} = b_{o} + \sum_{c=0}^{C-1}\sum_{p=0}^{R-1}\sum_{q=0}^{S-1} w_{o,c,p,q}\, x_{n,c,si+dp-P,sj+dq-P}",
    "conv.true2d": r"y_{i,j} = \sum_{p=0}^{R-1}\sum_{q=0}^{S-1} w_{p,q}\, x_{i-p,j-q}",
    "conv.size": r"H_{o} = \lfloor \frac{H+2P-d(R-1)-1}{s} \rfloor + 1",
    "conv.grad_x": r"g_{n,c,u,v} = \sum_{o=0}^{O-1}\sum_{i=0}^{I-1}\sum_{j=0}^{J-1} \bar{y}_{n,o,i,j}\, w_{o,c,u+P-si,v+P-sj}",
    "conv.grad_w": r"g_{o,c,p,q} = \sum_{n=0}^{N-1}\sum_{i=0}^{I-1}\sum_{j=0}^{J-1} \bar{y}_{n,o,i,j}\, x_{n,c,si+dp-P,sj+dq-P}",
    "conv.grad_b": r"g_{o} = \sum_{n=0}^{N-1}\sum_{i=0}^{I-1}\sum_{j=0}^{J-1} \bar{y}_{n,o,i,j}",
    "conv.transpose2d": r"y_{n,o,u,v} = b_{o} + \sum_{c=0}^{C-1}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1} x_{n,c,i,j}\, w_{c,o,u+P-si,v+P-sj}",  # noqa: E501
    "conv.transpose_size": r"H_{o} = (H-1)s - 2P + d(R-1) + a + 1",
    "pool.max2d": r"y_{n,c,i,j} = \max_{p=0}^{k-1}\max_{q=0}^{k-1} x_{n,c,si+p,sj+q}",
    "pool.avg2d": r"y_{n,c,i,j} = \frac{1}{k^{2}}\sum_{p=0}^{k-1}\sum_{q=0}^{k-1} x_{n,c,si+p,sj+q}",
    "dense.affine": r"z_{n,o} = b_{o} + \sum_{i=0}^{I-1} W_{o,i}\, x_{n,i}",
    "act.sigmoid": r"a = \frac{1}{1+\exp(-z)}",
    "act.tanh": r"a = \frac{\exp(z)-\exp(-z)}{\exp(z)+\exp(-z)}",
    "act.relu": r"a = \max(0, z)",
    "act.softmax": r"p_{k} = \frac{\exp(z_{k}-m)}{\sum_{j=0}^{K-1}\exp(z_{j}-m)}",
    "loss.bce": r"L = -\frac{1}{N}\sum_{n=0}^{N-1}\left[ y_{n}\log(p_{n}) + (1-y_{n})\log(1-p_{n}) \right]",
    "loss.bce_logits": r"L = \frac{1}{N}\sum_{n=0}^{N-1}\left[ \max(0,z_{n}) - z_{n}y_{n} + \log(1+\exp(-|z_{n}|)) \right]",
    "loss.ce": r"L = -\frac{1}{NHW}\sum_{n=0}^{N-1}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1}\left[ z_{n,t_{n,i,j},i,j} - \log(\sum_{k=0}^{K-1}\exp(z_{n,k,i,j})) \right]",  # noqa: E501
    "loss.ce_weighted": r"L = -\frac{\sum_{i=0}^{N-1} \alpha_{t_{i}}\log(p_{i,t_{i}})}{\sum_{i=0}^{N-1} \alpha_{t_{i}}}",
    "loss.mse": r"L = \frac{1}{N}\sum_{i=0}^{N-1}(a_{i}-y_{i})^{2}",
    "loss.dice": r"L = 1 - \frac{2\sum_{i=0}^{N-1}p_{i}g_{i} + \epsilon}{\sum_{i=0}^{N-1}p_{i} + \sum_{i=0}^{N-1}g_{i} + \epsilon}",
    "loss.focal": r"L = -\frac{1}{N}\sum_{i=0}^{N-1}(1-p_{i,t_{i}})^{\gamma}\log(p_{i,t_{i}})",
    "metric.dice": r"D = \frac{2T}{2T+F+M}",
    "metric.iou": r"J = \frac{T}{T+F+M}",
    "metric.dice_from_iou": r"D = \frac{2J}{1+J}",
    "norm.batch": r"y_{n,c,i,j} = \gamma_{c}\frac{x_{n,c,i,j}-\mu_{c}}{\sqrt{v_{c}+\epsilon}} + \beta_{c}",
    "norm.batch_mean": r"\mu_{c} = \frac{1}{NHW}\sum_{n=0}^{N-1}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1} x_{n,c,i,j}",
    "norm.instance_mean": r"\mu_{n,c} = \frac{1}{HW}\sum_{i=0}^{H-1}\sum_{j=0}^{W-1} x_{n,c,i,j}",
    "res.identity": r"y = x + F(x)",
    "init.xavier": r"s = \sqrt{\frac{2}{n+m}}",
    "init.he": r"s = \sqrt{\frac{2}{n}}",
    "opt.momentum_v": r"V = \mu v + g",
    "opt.adam": r"T = \theta - \eta\frac{\hat{m}}{\sqrt{\hat{v}}+\epsilon}",
    "att.score": r"s_{i,j} = \frac{1}{\sqrt{d}}\sum_{c=0}^{d-1} Q_{i,c}K_{j,c}",
    "att.weights": r"A_{i,j} = \frac{\exp(s_{i,j})}{\sum_{l=0}^{N-1}\exp(s_{i,l})}",
    "att.mix": r"Y_{i,c} = \sum_{j=0}^{N-1} A_{i,j}V_{j,c}",
    "grad.central": r"g = \frac{f(x+h)-f(x-h)}{2h}",
}

FURTHER_IDS = {
    "seg.onehot", "seg.argmax", "data.scale255", "data.standardize", "data.resize_nearest", "data.resize_bilinear",
    "data.flip", "data.crop", "data.rotate", "conv.im2col", "conv.toeplitz", "conv.receptive_field",
    "pool.global_avg", "pool.global_max", "pool.adaptive_avg", "pool.unpool", "up.nearest", "up.bilinear",
    "act.log_softmax", "act.step", "loss.jaccard", "loss.dice_multiclass", "reg.l1", "reg.l2", "reg.dropout",
    "reg.early_stopping", "opt.gd", "opt.sgd", "opt.momentum_tf", "opt.rmsprop", "opt.schedule_poly",
    "opt.schedule_cosine", "norm.instance", "norm.layer", "res.projection", "res.dense_concat", "res.inception",
    "ctx.aspp", "ctx.pyramid_pool", "ctx.crf_meanfield", "att.multihead", "att.positional_sin", "att.patch_embed",
    "att.decoder_step", "metric.confusion", "metric.pixel_acc", "metric.mean_acc", "metric.precision",
    "metric.recall", "metric.miou", "metric.fwiou", "metric.boundary_f1", "explain.saliency", "explain.gradcam",
    "quant.affine_int8", "prune.magnitude", "semi.pseudo_label", "grad.relative_error",
}
# fmt: on

PRINTED_ITEMS = (
    {f"EQ-D1-{n}" for n in range(1, 6)} | {f"EQ-D3-{n}" for n in range(1, 6)} | {f"EQ-D4-{n}" for n in range(1, 5)}
)


@pytest.mark.parametrize("id", REGISTRY)
def test_printed_latex_literal_loops_and_every_backend_agree(id):
    equation = get(id)
    samples = samples_of(equation)
    outcome = check(equation, samples, BACKENDS)
    assert outcome.passed, outcome
    assert samples, "no sample"
    if equation.status == "implemented":
        assert list(outcome.backends) == BACKENDS


def test_only_an_approximation_may_differ_by_more_than_rounding():
    loose = [id for id, equation in REGISTRY.items() if any(s.tolerance > 1e-10 for s in samples_of(equation))]
    assert loose == ["grad.central"]


def test_samples_are_the_same_at_every_call():
    first, second = (samples_of(get("dense.affine"))[0].values["x"] for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_a_wrong_equation_does_not_pass():
    right = get("loss.mse")
    wrong = type(right)(**{**vars(right), "latex": right.latex.replace("a_{i}-y_{i}", "a_{i}+y_{i}")})
    outcome = check(wrong, samples_of(wrong), ["numpy"])
    assert not outcome.passed
    assert outcome.literal > 1e-3
    assert outcome.backends["numpy"] > 1e-3


# --------------------------------------------------------------------------------------------------------- completeness


@pytest.mark.parametrize("id", STANDARD_FORMS)
def test_the_standard_forms_are_registered_to_the_letter(id):
    assert get(id).latex == STANDARD_FORMS[id]
    assert get(id).status == "implemented"


def test_the_further_ids_are_registered():
    assert FURTHER_IDS - set(REGISTRY) == set()


def test_every_printed_formula_is_the_source_of_an_equation():
    printed = {s.item: s.printed for equation in REGISTRY.values() for s in equation.sources if s.printed is not None}
    assert set(printed) == PRINTED_ITEMS
    assert len(set(printed.values())) == 14


def test_every_primitive_computes_a_registered_equation():
    strangers = {
        name: primitive.equation
        for name, primitive in spec.PRIMITIVES.items()
        if primitive.equation not in REGISTRY or name not in get(primitive.equation).primitives
    }
    assert strangers == {}


def _modules():
    for module in pkgutil.walk_packages(minseg.__path__, "minseg."):
        if not module.name.endswith(("__main__", "torch_peer")):  # one runs the program, the other needs PyTorch
            yield importlib.import_module(module.name)


def _subclasses(cls):
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def test_every_function_of_the_tape_computes_a_registered_equation():
    list(_modules())
    leaves = [
        cls
        for cls in _subclasses(Function)
        if cls.__module__.startswith("minseg.")
        and not cls.__module__.startswith("minseg.testing.")
        and cls.__subclasses__() == []
    ]
    assert len(leaves) > 30
    assert {cls.__name__: cls.equation for cls in leaves if cls.equation not in REGISTRY} == {}


def _sources():
    root = Path(minseg.__file__).parent
    kernels = Path(importlib.import_module("minseg.kernels").__file__).parent
    return sorted({*root.rglob("*.py"), *kernels.rglob("*.py")})


def test_every_id_that_the_sources_name_is_registered():
    """``conv.corr2d`` in docstrings, [conv.corr2d] in messages, ``# eq: conv.corr2d`` beside the line."""
    id = rf"((?:{'|'.join(FAMILY_NAMES)})\.[a-z][a-z0-9_]*)"
    pattern = re.compile(rf"``{id}``|\[{id}\]|eq: {id}(?:, {id})?")
    named = {
        (path.name, found)
        for path in _sources()
        for match in pattern.finditer(path.read_text())
        for found in match.groups()
        if found
    }
    assert len(named) > 100
    assert sorted(place for place in named if place[1] not in REGISTRY) == []


def test_the_latex_in_docstrings_is_that_of_the_registry():
    pattern = re.compile(r"Equation ``([a-z0-9_.]+)``\n\s*-+\n\s*\.\. math::\n((?:\s+\S[^\n]*\n)+?)\s*\n")
    found = [(path.name, *match.groups()) for path in _sources() for match in pattern.finditer(path.read_text())]
    assert len(found) > 20
    assert [(name, id) for name, id, latex in found if latex.split() != get(id).latex.split()] == []


# ------------------------------------------------------------------------------------------------------------- each alone


@pytest.mark.parametrize("id", REGISTRY)
def test_what_an_equation_names_exists(id):
    equation = get(id)
    for name in equation.operations:
        assert callable(resolve(name)), name
    assert set(equation.primitives) <= set(spec.PRIMITIVES)
    assert set(equation.gradients.values()) <= set(REGISTRY)
    if equation.status == "implemented":
        assert equation.operations or equation.primitives
    else:
        assert equation.status == "planned" or equation.status.startswith("out of scope: ")


@pytest.mark.parametrize("id", REGISTRY)
def test_the_declared_symbols_are_those_of_the_formula(id):
    equation = get(id)
    declared = [symbol.latex for symbol in equation.symbols]
    assert len(set(declared)) == len(declared)
    assert set(declared) == equation.formula().symbols()
    assert all(symbol.meaning for symbol in equation.symbols)
    assert {symbol.outside for symbol in equation.symbols} <= {"error", "zero", "-inf"}


RELATIONS = {
    "equal", "reindexed", "shifted", "rotated", "scaled", "restricted", "Toeplitz", "needs a definition", "words", "code", "paper",
}  # fmt: skip


@pytest.mark.parametrize("id", REGISTRY)
def test_sources_are_well_formed(id):
    equation = get(id)
    assert equation.sources
    for source in equation.sources:
        assert source.relation
        assert set(source.relation) <= RELATIONS
        assert set(source.documents) <= {"D1", "D2", "D3", "D4", "D5"}
        assert bool(source.documents) == bool(source.section) == (source.relation != ("paper",))
        assert source.documents or source.note, "a paper or a derivation is said in the note"
        assert re.fullmatch(r"(EQ-D\d-\d|[WC]-\d\d)?", source.item)
        assert (source.printed is not None) == source.item.startswith("EQ-")
        assert set(source.errata) <= set(equation.errata), "the errata of a source are errata of the equation"
    assert all(re.fullmatch(r"ERR-\d\d", erratum) for erratum in equation.errata)
    assert equation.title
    assert equation.title[0].islower() or not equation.title.split()[0].islower()


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_literal_loops_and_samples_belong_to_equations(name):
    for room in ("minseg.equations.literal", "minseg.testing.samples"):
        module = importlib.import_module(f"{room}.{name}")
        functions = [
            function
            for function, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__ and function.startswith(f"{name}_")
        ]
        assert functions
        assert [f for f in functions if f.replace("_", ".", 1) not in REGISTRY] == []


def test_literal_loops_use_nothing_but_python_and_numpy():
    for name in FAMILY_NAMES:
        module = importlib.import_module(f"minseg.equations.literal.{name}")
        imported = {value.__name__ for value in vars(module).values() if inspect.ismodule(value)}
        assert imported <= {"numpy", "math"}, name


# ---------------------------------------------------------------------------------------------------------- looking up


def test_dotted_names_prefer_what_a_package_exports():
    assert resolve("minseg.ops.linear") is minseg.ops.linear  # there is a module of that name, too
    assert resolve("minseg.autograd.gradcheck.relative_error").__name__ == "relative_error"
    with pytest.raises(AttributeError, match=r"minseg.ops has no conv3d"):
        resolve("minseg.ops.conv3d")


def test_an_unknown_id_suggests_the_nearest():
    with pytest.raises(EquationError, match=r"unknown equation 'conv.cor2d'; did you mean 'conv.corr2d'"):
        get("conv.cor2d")


def test_find_by_document_and_section():
    ids = {equation.id for equation in find(document="D3", section="3.3.3")}
    assert ids == {"loss.bce", "loss.ce"}
    assert {equation.id for equation in find(document="D4", section="3.3")} >= {
        "res.identity",
        "act.softmax",
        "conv.toeplitz",
    }
    assert "loss.ce" in {equation.id for equation in find(document="D2", section="code")}, "D1-D5 contains D2"
    assert find(document="D3", section="3.3.30") == []


def test_find_by_code():
    assert {equation.id for equation in find(operation="mse_loss")} == {"loss.mse", "loss.mse_grad"}
    assert find(operation="loss") == [], "a whole name, not a part of one"
    assert {equation.id for equation in find(primitive="tanh_grad_x")} == {"act.tanh_grad"}
    assert len(find()) == len(REGISTRY)


def test_check_all_takes_a_pattern_and_backends():
    outcomes = check_all("init.*", ["numpy"])
    assert [outcome.id for outcome in outcomes] == ["init.xavier", "init.he"]
    assert all(outcome.passed and list(outcome.backends) == ["numpy"] for outcome in outcomes)
    with pytest.raises(EquationError, match=r"did you mean 'init.he'"):
        matching("init.hee")


def test_an_implemented_equation_without_loops_or_samples_is_an_error():
    stray = type(get("init.he"))(**{**vars(get("init.he")), "id": "init.stray"})
    with pytest.raises(EquationError, match=r"init.stray: no literal loops in minseg.equations.literal.init"):
        literal_function(stray)
    with pytest.raises(EquationError, match=r"init.stray: no samples in minseg.testing.samples.init"):
        samples_of(stray)


def test_the_registry_stands_below_the_code():
    """It names code and imports none of it."""
    for path in Path(equations.__file__).parent.rglob("*.py"):
        for line in path.read_text().splitlines():
            if re.match(r"\s*(from|import) minseg", line):
                assert re.match(r"\s*from minseg\.(equations|errors)\b", line), f"{path.name}: {line}"
