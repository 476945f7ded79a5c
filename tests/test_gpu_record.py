"""The record of the CUDA kernels on a GPU: complete on the emulator, honest about what failed, and judged as README says."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from minseg import use_backend
from minseg.cli import main
from minseg.kernels import emulator
from minseg.kernels.cuda import activation
from minseg.kernels.cuda.device import CUPY, EMULATOR, CupyDevice
from minseg.testing import gpu_record
from minseg.testing.gpu_record import PRIMITIVES, TINY

emulated = pytest.mark.skipif(emulator.why_not() is not None, reason=str(emulator.why_not()))


@pytest.fixture
def few(monkeypatch):
    """Some primitives of each kind, and no network."""
    names = ("im2col", "conv2d", "conv2d_grad_x", "conv2d_grad_w", "max_pool2d", "relu", "adam_update")
    monkeypatch.setattr(gpu_record, "PRIMITIVES", {name: PRIMITIVES[name] for name in names})
    monkeypatch.setattr(gpu_record, "network_cases", lambda sizes: ())
    monkeypatch.setattr(gpu_record, "run_tests", lambda: {"passed": 3, "failed": [], "skipped": 0})


@emulated
def test_a_record_of_the_emulator_is_complete_and_says_what_it_is(few, tmp_path, capsys):
    assert main(["gpu-record", "--backend", "emulator", "--rounds", "1", "--out", str(tmp_path)]) == 0
    assert "3 passed, 0 failed" in capsys.readouterr().out
    (written,) = tmp_path.glob("*.json")
    found = json.loads(written.read_text())
    names = [row["name"] for row in found["rows"]]
    assert {"conv2d", "conv2d [naive]", "conv2d [im2col]", "conv2d [tiled]", "max_pool2d [halving]", "relu"} <= set(
        names
    )
    assert names.count("conv2d") == 2  # at two shapes
    assert all(row["ms"] > 0 and math.isfinite(row["share"]) for row in found["rows"])
    assert found["failed"] == found["targets"] == []
    page = written.with_suffix(".md").read_text()
    assert "nothing here ran on a GPU" in page
    assert all(f"| {name} |" in page for name in names)
    assert list(gpu_record.RECORDS.glob("*emulator*")) == []


@emulated
def test_every_primitive_and_a_network_can_be_measured():
    with use_backend("emulator"):
        cases = [*gpu_record.kernel_cases(EMULATOR, TINY)]
        assert {case.name for case in cases} >= set(PRIMITIVES)
        for case in cases:
            known = gpu_record.with_traffic(case)
            assert known.flops or known.bytes, case.name
        assert [case.name for case in gpu_record.network_cases(TINY)] == [
            "training step, UNet(3, 4)",
            "inference, UNet(3, 4)",
        ]


@emulated
def test_bytes_are_what_goes_in_and_what_comes_out():
    with use_backend("emulator"):
        found = {case.name: gpu_record.with_traffic(case).bytes for case in gpu_record.kernel_cases(EMULATOR, TINY)}
    x = 4 * 4 * 16 * 16
    assert found["relu"] == 2 * x
    assert found["relu_grad_x"] == 3 * x
    assert found["max_pool2d"] == x + x / 4 + x / 4  # with indices of 32 bits
    assert found["sgd_update"] == 5 * 4 * TINY.parameters


@emulated
def test_what_fails_is_recorded_and_keeps_nothing_else_from_being_measured(few, monkeypatch, tmp_path):
    def broken(x):
        raise RuntimeError("an illegal memory access\nwas encountered")

    monkeypatch.setattr(activation, "relu", broken)
    with use_backend("emulator") as here:
        vars(here).pop("relu", None)  # a door that was made before
        assert main(["gpu-record", "--backend", "emulator", "--rounds", "1", "--out", str(tmp_path)]) == 1
        vars(here).pop("relu", None)
    found = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert found["failed"] == ["relu 1x4x16x16: RuntimeError: an illegal memory access was encountered"]
    assert "adam_update" in [row["name"] for row in found["rows"]]
    assert "failed: relu" in next(tmp_path.glob("*.md")).read_text()


def a_row(name: str, group: str, share=None, ratio=None) -> dict:
    return {"name": name, "group": group, "shape": "1x2", "share": share, "ratio": ratio}


def test_targets_are_judged_where_they_apply():
    rows = [
        a_row("relu", "memory", share=0.81),
        a_row("im2col", "memory", share=0.79),
        a_row("max_pool2d [any]", "memory", share=0.1),
        a_row("conv2d", "products", share=0.3, ratio=0.51),
        a_row("conv2d_grad_w", "products", share=0.3, ratio=0.49),
        a_row("conv2d_grad_x", "products", share=0.3),
        a_row("linear", "products", share=0.3, ratio=0.1),
        a_row("training step, UNet(3, 4)", "networks", ratio=0.67),
        a_row("inference, UNet(3, 4)", "networks", ratio=0.2),
    ]
    holds = {target["name"]: target["holds"] for target in gpu_record.targets(rows)}
    assert holds == {
        "relu": True,
        "im2col": False,
        "conv2d": True,
        "conv2d_grad_w": False,
        "training step, UNet(3, 4)": True,
    }


def test_tests_are_counted_and_failures_named(tmp_path):
    file = tmp_path / "test_some.py"
    file.write_text(
        "import os, pytest\n"
        "def test_good(): assert os.environ['MINSEG_REQUIRE_CUDA'] == '1'\n"
        "def test_bad(): assert 1 == 2\n"
        "def test_left_out(): pytest.skip('here')\n"
    )
    found = gpu_record.run_tests((str(file),))
    assert (found["passed"], found["skipped"]) == (1, 1)
    (failed,) = found["failed"]
    assert "test_bad" in failed
    assert "1 == 2" in failed
    found = {"tests": found, "failed": []}
    assert not gpu_record.healthy(found)
    assert not gpu_record.healthy({"tests": {"passed": 0, "failed": [], "skipped": 9}})  # none ran: nothing is shown


def test_tests_that_do_not_start_are_a_failure(tmp_path):
    found = gpu_record.run_tests(("--no-such-option",))
    assert found["passed"] == 0
    assert "no-such-option" in found["failed"][0]


def test_without_a_gpu_one_line_says_why(capsys, monkeypatch):
    from minseg import backend

    monkeypatch.setitem(backend._WHY_NOT, "cupy", lambda: "CuPy finds no GPU")
    assert main(["gpu-record"]) == 2
    assert capsys.readouterr().err == "minseg: error: backend 'cupy' cannot run here: CuPy finds no GPU\n"


@emulated
def test_a_record_of_the_emulator_must_be_told_where_to_go(capsys):
    assert main(["gpu-record", "--backend", "emulator"]) == 2
    assert "--out DIR" in capsys.readouterr().err


def test_the_peer_says_why_it_is_missing(monkeypatch):
    monkeypatch.setattr(gpu_record, "find_spec", lambda name: None)
    with gpu_record.peer_on_the_gpu(True) as version:
        assert version == "none: PyTorch is not installed"


@pytest.mark.peer
def test_the_peer_works_on_its_default_device():
    torch = pytest.importorskip("torch")
    from minseg.testing.bench import peer
    from minseg.testing.bench.networks import Network

    array = np.ones((2, 3, 4, 5), np.float32)
    with torch.device("meta"):
        assert {t.device.type for t in peer.tensors((array,), torch.channels_last)} == {"meta"}
    with use_backend("numpy"):
        network = Network(batch=(1, 3, 16, 16))
        with torch.device("cpu"):
            step = peer.training_step(network.model(), *network.data())["channels_last"]
    assert math.isfinite(step())


class Clock:
    """A stand-in for CuPy's events: each record is one millisecond later."""

    now = 0.0

    def record(self):
        Clock.now += 1
        self.at = Clock.now

    def synchronize(self):
        pass


def test_the_seam_times_by_events_and_names_the_card(monkeypatch):
    about = {"name": b"NVIDIA H200", "major": 9, "minor": 0, "totalGlobalMem": 140 << 30}
    runtime = SimpleNamespace(
        getDevice=lambda: 0,
        getDeviceProperties=lambda number: about,
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 12080,
    )
    cuda = SimpleNamespace(Event=Clock, get_elapsed_time=lambda start, end: end.at - start.at, runtime=runtime)
    monkeypatch.setattr(CupyDevice, "xp", SimpleNamespace(cuda=cuda, __version__="14.0"))
    done = []
    assert CUPY.seconds(lambda: done.append(1), 5) == 1e-3
    assert len(done) == 5
    facts = CUPY.facts()
    assert (facts["device"], facts["architecture"], facts["memory"]) == ("NVIDIA H200", "sm_90", "140 GiB")
    assert (facts["driver"], facts["runtime"]) == ("CUDA 13.0", "CUDA 12.8")
    found = {**facts, "date": "2026-11-27", "commit": "abc", "backend": "cupy", "tests": None}
    assert gpu_record.file_name(found) == "2026-11-27-nvidia-h200"
    assert "nothing here ran" not in gpu_record.markdown(found)
