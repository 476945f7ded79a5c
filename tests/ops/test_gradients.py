"""Every public differentiable operation and every Function has a gradient check, and all of them pass on every backend."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import minseg
from minseg import autograd, ops
from minseg.autograd import Tensor
from minseg.backend import quick_backends
from minseg.errors import ArgumentError
from minseg.kernels import emulator
from minseg.testing import gradients


def public_operations() -> set[str]:
    """The names of minseg.ops, and the functions of minseg.autograd that take Tensors to Tensors."""
    helpers = {"common", "gradcheck", "is_grad_enabled", "no_grad", "tensor", "topological"}
    arithmetic = {
        name for name in autograd.__all__ if name not in helpers and not isinstance(getattr(autograd, name), type)
    }
    return set(ops.__all__) | arithmetic


EMULATED = pytest.mark.skipif(emulator.why_not() is not None, reason=str(emulator.why_not()))
BACKENDS = ["numpy", "numba", pytest.param("emulator", marks=EMULATED), pytest.param("cupy", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", gradients.cases(), ids=lambda case: f"{case.operation}: {case.name}")
def test_gradient(case, backend):
    with minseg.use_backend(backend):
        report = case.check()
    assert report.checked == sum(x.size for x in case.inputs.values())


def test_every_public_operation_has_a_case():
    checked = {case.operation for case in gradients.cases()}
    aliases = {name for name in public_operations() if any(_same_function(name, known) for known in checked)}
    assert public_operations() - aliases == set(gradients.NO_GRADIENT)
    assert checked <= public_operations()


def _same_function(name: str, known: str) -> bool:
    """``cat`` is ``concatenate``."""
    return name == known or any(
        getattr(room, name, None) is not None and getattr(room, name) is getattr(room, known, None)
        for room in (ops, autograd)
    )


def test_every_function_runs_in_a_case():
    with minseg.use_backend("numpy"):
        run = {cls for case in gradients.cases() for cls, _ in case.functions()}
    assert gradients.function_classes() - run == set()
    assert len(run) >= 38


def test_what_has_no_gradient_gives_none():
    x = minseg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    for name in set(gradients.NO_GRADIENT) - {"running_statistics"}:
        arguments = (x,) if name.startswith("arg") else (x, 1.0)
        assert not getattr(autograd, name)(*arguments).requires_grad


def test_comparing_operations_stay_clear_of_kinks():
    """Values that are compared lie at least 0.05 apart, ten thousand times the step of the differences."""
    values = np.sort(gradients.spaced(np.random.default_rng(0), 4, 5, 6).ravel())
    assert np.diff(values).min() > 0.05
    assert np.abs(values).min() > 0.02


# -------------------------------------------------------------------------------------------------------- the command


def test_a_pattern_selects_operations():
    assert {case.operation for case in gradients.cases("conv*")} == {"conv2d", "conv2d_relu", "conv_transpose2d"}
    with pytest.raises(ArgumentError, match=r"no operation matches 'conv3d'; did you mean 'conv2d'\?"):
        gradients.cases("conv3d")


def test_the_table_names_operation_case_backend_and_error():
    results = gradients.check_gradients("sigmoid", "numpy")
    (line,) = [line for line in gradients.table(results).splitlines() if line.startswith("sigmoid")]
    assert "both signs" in line
    assert "numpy" in line
    assert float(line.split()[-1]) < 1e-6
    assert gradients.table(results).endswith("1 of 1 gradient checks passed")


def test_without_a_backend_all_that_work_at_speed_are_checked():
    assert {r.backend for r in gradients.check_gradients("relu")} == set(quick_backends()) >= {"numpy", "numba"}


def test_the_command_fails_where_a_gradient_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(ops.activation.Tanh, "backward", lambda self, gy: (gy,))
    arguments = SimpleNamespace(operation="tanh", backend="numpy", json=False)
    assert gradients.main(arguments) == 1
    out = capsys.readouterr().out
    assert "WRONG" in out
    assert "numpy: gradcheck of tanh: x, element" in out
    assert "[act.tanh]" in out
    assert out.strip().endswith("0 of 1 gradient checks passed")
    arguments.json = True
    assert gradients.main(arguments) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert found["passed"] is False
    assert found["error"] is None


def test_the_command_succeeds(capsys):
    assert gradients.main(SimpleNamespace(operation="relu", backend="numpy", json=True)) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["equations"] == ["act.relu"]
    assert found["checked"] == 15


def test_a_case_runs_through_the_functions_it_reports():
    (case,) = gradients.cases("dice_loss_with_logits")[1:]
    assert {cls.__name__ for cls, _ in case.functions()} >= {"Sigmoid", "DiceSums", "Div", "Mean"}
    assert isinstance(case.function(*map(Tensor, case.inputs.values())), Tensor)
