"""The record of the CUDA kernels on a GPU: complete on the emulator, honest about what failed, and judged as README says."""

import json
import math
import sys
import types
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import numpy as np
import pytest

from minseg import use_backend
from minseg.cli import main
from minseg.errors import Unsupported
from minseg.kernels import emulator
from minseg.kernels.cuda import device as seam
from minseg.kernels.cuda.device import CUPY, EMULATOR, CupyDevice, Timing
from minseg.kernels.spec import PRIMITIVES
from minseg.testing import gpu_record
from minseg.testing.bench.measuring import Case, Ceilings
from minseg.testing.gpu_record import cases, measuring, page, suite, timing
from minseg.testing.gpu_record.cases import SIZES, Planned, planned

emulated = pytest.mark.skipif(emulator.why_not() is not None, reason=str(emulator.why_not()))
TINY = SIZES["tiny"]


# -------------------------------------------------------------------------------------------------------------- the record


@pytest.fixture
def few(monkeypatch):
    """Some primitives of each kind, no network, and tests that pass at once."""
    names = ("im2col", "conv2d", "conv2d_grad_x", "conv2d_grad_w", "max_pool2d", "relu", "adam_update")
    monkeypatch.setattr(cases, "PRIMITIVES", {name: PRIMITIVES[name] for name in names})
    monkeypatch.setattr(cases, "_networks", lambda sizes: [])
    passed = {"passed": 3, "failed": [], "skipped": 0, "passed_alone": []}
    monkeypatch.setattr(suite, "run_tests", lambda: passed)


def written_to(folder) -> tuple[dict, str]:
    """The record in this folder, and its page."""
    (path,) = folder.glob("*.json")
    return json.loads(path.read_text()), path.with_suffix(".md").read_text()


@emulated
def test_a_record_of_the_emulator_is_complete_and_says_what_it_is(few, tmp_path, capsys):
    asked = ["gpu-record", "--backend", "emulator", "--rounds", "1", "--commit", "0123abc", "--out", str(tmp_path)]
    assert main(asked) == 0
    assert "3 passed, 0 failed" in capsys.readouterr().out
    found, text = written_to(tmp_path)
    names = [row["name"] for row in found["rows"]]
    assert {"conv2d", "conv2d [naive]", "conv2d [im2col]", "conv2d [tiled]", "max_pool2d [halving]"} <= set(names)
    assert names.count("conv2d") == 2  # at two shapes
    assert all(row["ms"] > 0 and math.isfinite(row["share"]) for row in found["rows"])
    assert found["failed"] == found["targets"] == []
    assert found["commit"] == "0123abc"
    assert "nothing here ran on a GPU" in text
    assert "commit 0123abc" in text
    assert "Peer: none: the emulator." in text
    assert all(f"| {name} |" in text for name in names)


@emulated
def test_what_fails_is_recorded_and_keeps_nothing_else_from_being_measured(few, monkeypatch, tmp_path, capsys):
    def broken(x):
        raise RuntimeError("an illegal memory access\nwas encountered")

    with use_backend("emulator") as here:
        monkeypatch.setattr(here, "relu", broken, raising=False)
    assert main(["gpu-record", "--backend", "emulator", "--rounds", "1", "--out", str(tmp_path)]) == 1
    found, text = written_to(tmp_path)
    reason = "relu 1x4x16x16: RuntimeError: an illegal memory access was encountered"
    assert found["failed"] == [reason]
    assert "adam_update" in [row["name"] for row in found["rows"]]
    assert f"* failed: {reason}" in text
    assert reason in capsys.readouterr().out


def test_without_a_gpu_one_line_says_why(capsys, monkeypatch):
    from minseg import backend

    monkeypatch.setitem(backend._WHY_NOT, "cupy", lambda: "CuPy finds no GPU")
    assert main(["gpu-record"]) == 2
    assert capsys.readouterr().err == "minseg: error: backend 'cupy' cannot run here: CuPy finds no GPU\n"


@emulated
@pytest.mark.parametrize("where", [[], ["--out", str(gpu_record.RECORDS)]])
def test_a_record_of_the_emulator_never_becomes_one_of_the_project(capsys, where):
    assert main(["gpu-record", "--backend", "emulator", *where]) == 2
    assert "a record of the emulator is none of the project's: say with --out DIR" in capsys.readouterr().err


def test_a_record_of_the_project_has_the_tests_in_it(monkeypatch, capsys):
    monkeypatch.setattr(gpu_record.backend, "get", lambda name: None)  # as if there were a GPU
    assert main(["gpu-record", "--no-tests"]) == 2
    assert "has the tests in it" in capsys.readouterr().err


def test_the_newest_record_is_the_last_of_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_record, "RECORDS", tmp_path / "records")
    assert gpu_record.latest() is None
    (tmp_path / "records").mkdir()
    for name, kind in (("2026-01-02-a", "cupy"), ("2026-03-04-b", "cupy"), ("2026-05-06-c", "emulator")):
        (tmp_path / "records" / f"{name}.json").write_text(json.dumps({"backend": kind}))
    assert gpu_record.latest() == tmp_path / "records" / "2026-03-04-b.md"


def test_what_is_not_known_is_not_healthy():
    good = {"passed": 3, "failed": [], "skipped": 0}
    assert gpu_record.healthy({"tests": good, "failed": []})
    assert not gpu_record.healthy({"tests": good, "failed": ["relu"]})
    assert not gpu_record.healthy({"tests": good | {"failed": ["relu"]}, "failed": []})
    assert not gpu_record.healthy({"tests": {"passed": 0, "failed": [], "skipped": 9}})  # none ran: nothing is shown


# ------------------------------------------------------------------------------------------------------------------ cases


@emulated
def test_every_primitive_and_a_network_can_be_measured():
    with use_backend("emulator"):
        made = [case.make(EMULATOR) for case in planned(TINY)]
    assert {case.name for case in made} >= {*PRIMITIVES, "training step, UNet(3, 4)", "inference, UNet(3, 4)"}
    assert all(case.flops or case.bytes for case in made if case.group != "networks")
    assert {case.name.split(" [")[0] for case in made if case.group == "products"} == set(cases.PRODUCTS)


@emulated
def test_bytes_are_what_goes_in_and_what_comes_out():
    with use_backend("emulator"):
        found = {case.name: case.bytes for case in (case.make(EMULATOR) for case in planned(TINY))}
    x, channel, labels = 4 * 4 * 16 * 16, 4 * 4, 16 * 16
    assert found["relu"] == 2 * x
    assert found["relu_grad_x"] == 3 * x
    assert found["max_pool2d"] == x + x / 4 + x / 4  # with indices of 32 bits
    assert found["sgd_update"] == 5 * 4 * TINY.parameters
    assert found["batch_norm_grad"] == 5 * x + 5 * channel  # gy and x twice; mean, var, weight, and two gradients
    assert found["dice_sums_grad_p"] == x + 3 * channel + labels  # of p only the shape matters


@emulated
def test_attention_is_timed_for_pooled_keys_and_for_all_tokens_with_all():
    assert SIZES["large"].pairs == ((8, 16384, 256, 32), (8, 4096, 4096, 64))
    with use_backend("emulator"):
        plans = [plan for plan in planned(TINY) if plan.title.startswith("attention")]
        made = {plan.title: plan.make(EMULATOR) for plan in plans}
    scores = 2 * 6 * 5 * 4
    assert {title: case.flops for title, case in made.items()} == {
        "attention 2x6x5x4": 4 * scores,
        "attention_grad 2x6x5x4": 10 * scores,
    }


def test_what_memory_bounds_moves_as_much_as_no_cache_holds():
    """64 MB, as much as the copy beside it: maps, parameters and tokens."""
    large, copied = SIZES["large"], 64 << 20
    assert 4 * math.prod((*large.maps, large.maps[2])) == 4 * large.parameters == 4 * 64 * large.tokens == copied
    assert large.maps[:2] == (16, 16)  # and as many classes as channels: logits are as large as maps
    assert large.network == (16, 3, 256, 256)


# ------------------------------------------------------------------------------------------------------------------- time


class Slow:
    """A device with a queue: a launch takes ``launch`` seconds of the host, the work ``work`` of the device."""

    def __init__(self, launch: float, work: float):
        self.launch, self.work, self.head_starts = launch, work, []

    def time(self, work, count=1, head_start=0.0):
        self.head_starts.append(head_start)
        queueing = count * self.launch
        ahead = head_start >= queueing
        return Timing(count * self.work if ahead else max(queueing, count * self.work), queueing, ahead)


def test_a_kernel_is_timed_without_its_launches():
    slow = Slow(launch=1e-4, work=2e-5)
    stopwatch = timing.Stopwatch(slow, lambda: None, SIZES["large"], ahead=True)
    assert stopwatch.milliseconds() == pytest.approx(2e-2)
    known = len(slow.head_starts)
    assert stopwatch.milliseconds() == pytest.approx(2e-2)
    assert len(slow.head_starts) == known + 1  # the head start is known by now


def test_a_training_step_is_timed_with_them_and_what_never_fits_the_queue_too():
    stopwatch = timing.Stopwatch(Slow(launch=1e-2, work=1e-3), lambda: None, SIZES["large"], ahead=False)
    assert stopwatch.milliseconds() == pytest.approx(10)
    stopwatch = timing.Stopwatch(Slow(launch=9.0, work=1e-3), lambda: None, SIZES["large"], ahead=True)
    stopwatch.device.time = lambda *_: Timing(9.0, 9.0, False)
    assert stopwatch.milliseconds() == pytest.approx(9e3 / stopwatch.count)


def test_contenders_take_turns():
    log = []
    found = timing.take_turns(EMULATOR, TINY, {"a": lambda: log.append("a"), "b": lambda: log.append("b")}, 3)
    assert "".join(log) == "aabb" + 3 * "ab"  # compiled and timed once; then in turn
    assert {name: len(times) for name, times in found.items()} == {"a": 3, "b": 3}


class Clock:
    """A stand-in for CuPy's events: each record is one millisecond later, and is done once ``held`` is over."""

    now, held = 0.0, False

    def record(self):
        Clock.now += 1
        self.at = Clock.now

    @property
    def done(self):
        return not Clock.held

    def synchronize(self):
        Clock.held = False


@pytest.fixture
def card(monkeypatch):
    """A stand-in for CuPy with an H200."""
    about = {"name": b"NVIDIA H200", "major": 9, "minor": 0, "totalGlobalMem": 140 << 30}
    runtime = SimpleNamespace(
        getDevice=lambda: 0,
        getDeviceProperties=lambda number: about,
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 12080,
    )

    def hold(grid, block, args):
        assert isinstance(args[0], np.int64)
        Clock.held = True

    cuda = SimpleNamespace(Event=Clock, get_elapsed_time=lambda start, end: end.at - start.at, runtime=runtime)
    kernel = SimpleNamespace(cuda=cuda, __version__="14.0", RawKernel=lambda source, name: hold)
    monkeypatch.setattr(CupyDevice, "xp", kernel)
    yield CUPY
    vars(CUPY).pop("_hold", None)


def test_the_seam_times_by_events_and_knows_whether_the_device_waited_for_a_launch(card):
    done = []
    found = card.time(lambda: done.append(1), 5)
    assert (found.seconds, found.queued_ahead) == (1e-3, False)
    found = card.time(lambda: done.append(1), 5, head_start=0.01)
    assert (found.seconds, found.queued_ahead) == (1e-3, True)
    assert len(done) == 10


def test_the_seam_names_the_card_and_what_drives_it(card, monkeypatch):
    monkeypatch.setattr(seam, "_driver", lambda: "580.159.03")
    facts = card.facts()
    assert (facts["device"], facts["architecture"], facts["memory"]) == ("NVIDIA H200", "sm_90", "140 GiB")
    assert (facts["driver"], facts["runtime"]) == ("580.159.03 (CUDA 13.0)", "CUDA 12.8")
    found = {**facts, "date": "2026-11-27", "commit": "abc", "backend": "cupy", "tests": None}
    assert gpu_record.file_name(found) == "2026-11-27-nvidia-h200"
    assert "nothing here ran" not in page.markdown(found)
    assert "driver 580.159.03 (CUDA 13.0)" in page.markdown(found)


def test_the_drivers_version_is_unknown_where_nobody_tells(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert seam._driver() == "of unknown version"


# --------------------------------------------------------------------------------------------- going on after a failure


def test_a_device_that_breaks_is_left_and_the_next_process_goes_on(monkeypatch):
    """Case 1 breaks the device; without a new process, 2 and 3 would fail as well."""
    broken = set()

    def make(number):
        def case(device):
            if number == 1:
                broken.add("device")
            if broken:
                raise RuntimeError("cudaErrorIllegalAddress")
            if number == 2:
                raise Unsupported("needs a stride of 1")
            return Case("memory", f"case {number}", "1x1", lambda: lambda: None, bytes=1.0)

        return case

    plan = [Planned(f"case {number}", make(number)) for number in range(4)]
    monkeypatch.setattr(measuring, "planned", lambda sizes: plan)
    monkeypatch.setattr(measuring, "measure_ceilings", lambda *_: Ceilings(1, 1))
    monkeypatch.setattr(measuring, "_works", lambda device: not broken)

    def process(name, size, rounds, first):
        broken.clear()
        yield from measuring.findings("emulator", size, rounds, first)
        if broken:
            yield {"ended": "its process ended with code 0"}

    found = measuring.benchmark("emulator", "tiny", 1, process)
    assert [row["name"] for row in found["rows"]] == ["case 0", "case 3"]
    assert found["failed"] == ["case 1: RuntimeError: cudaErrorIllegalAddress"]
    assert found["left_out"] == ["case 2: needs a stride of 1"]


def speaking(*lines: str, then: str = "") -> list[str]:
    """A process that says these lines, and then does this."""
    said = "".join(f"print({line!r}, flush=True)\n" for line in lines)
    return [sys.executable, "-c", f"import os, sys, time\n{said}{then}"]


@pytest.mark.parametrize(
    ("then", "why"),
    [
        ("os.kill(os.getpid(), 11)", "its process ended with code -11"),
        ("sys.exit('no GPU left')", "its process ended with code 1: no GPU left"),
        ("time.sleep(60)", "its process said nothing for 1 seconds"),
    ],
)
def test_a_process_that_ends_or_hangs_is_told_of(then, why):
    told = list(measuring.told_by(speaking("a library's word", '{"begun": 0, "name": "relu"}', then=then), 1.0))
    assert told == [{"begun": 0, "name": "relu"}, {"ended": why}]


def test_a_process_that_is_done_is_believed():
    assert list(measuring.told_by(speaking('{"done": true}'))) == [{"done": True}]


def test_a_case_that_ends_its_process_is_named_and_one_that_cannot_begin_ends_the_benchmarks():
    def process(name, size, rounds, first):
        if first < 2:
            yield {"peer": "none", "ceilings": {"gflops": 1, "gbytes": 1}}
            yield {"begun": first, "name": f"case {first}"}
        yield {"ended": "killed"}

    found = measuring.benchmark("cupy", "tiny", 1, process)
    assert found["failed"] == ["case 0: killed", "case 1: killed", "the benchmarks did not start: killed"]


@emulated
def test_a_real_process_tells_what_is_found(monkeypatch):
    """From the second case from the end on: inference of a U-Net, on the emulator."""
    with use_backend("emulator"):
        last = len(planned(TINY)) - 1
    told = list(measuring.findings_of_a_process("emulator", "tiny", 1, last))
    assert [next(iter(event)) for event in told] == ["peer", "begun", "row", "done"]
    assert told[2]["row"]["name"] == "inference, UNet(3, 4)"


# --------------------------------------------------------------------------------------------------------------- targets


def a_row(name: str, group: str, share=None, ratio=None) -> dict:
    return {"name": name, "group": group, "shape": "1x2", "share": share, "ratio": ratio}


ROWS = [
    a_row("relu", "memory", share=0.81),
    a_row("im2col", "memory", share=0.79),
    a_row("max_pool2d [any]", "memory", share=0.1),
    a_row("conv2d", "products", share=0.3, ratio=0.51),
    a_row("conv2d_grad_w", "products", share=0.3, ratio=0.49),
    a_row("conv2d_grad_x", "products", share=0.3),
    a_row("conv_transpose2d", "products", share=0.3, ratio=0.5),
    a_row("linear", "products", share=0.3, ratio=0.1),
    a_row("attention", "products", share=0.3, ratio=0.5),
    a_row("attention_grad", "products", share=0.3, ratio=0.4),
    a_row("training step, UNet(3, 4)", "networks", ratio=0.67),
    a_row("inference, UNet(3, 4)", "networks", ratio=0.2),
]


def test_targets_are_judged_where_they_apply():
    holds = {target["name"]: target["holds"] for target in page.targets(ROWS)}
    assert holds == {
        "relu": True,
        "im2col": False,
        "conv2d": True,
        "conv2d_grad_w": False,
        "conv2d_grad_x": None,
        "conv_transpose2d": True,
        "attention": True,
        "attention_grad": False,
        "training step, UNet(3, 4)": True,
    }


def test_the_page_says_which_targets_are_missed_and_how_many_nobody_could_judge():
    row = {"ms": 1.0, "gflops": None, "gbytes": 2.0, "peer_ms": None, "spread": None}
    found = {
        **{"device": "NVIDIA H200", "date": "2026-11-27", "backend": "cupy", "tests": None, "rounds": 9},
        **{"ceilings": {"gflops": 50e3, "gbytes": 4e3}, "peer": "PyTorch 2.13.0", "failed": ["tanh: it broke"]},
        **{"rows": [row | one for one in ROWS], "targets": page.targets(ROWS), "left_out": ["conv2d [x]: no"]},
    }
    text = page.markdown(found)
    assert "That holds in 5 of 8 cases; 1 have no PyTorch beside them." in text
    assert "* missed: im2col 1x2, 0.79 of the copy" in text
    assert "* missed: conv2d_grad_w 1x2, 0.49 of PyTorch's speed" in text
    assert "* failed: tanh: it broke" in text
    assert "without TF32" in text
    assert "Left out: conv2d [x]: no" in text


# ------------------------------------------------------------------------------------------------------------------ tests


FILE = """
import os, pathlib, pytest
def test_good(): assert os.environ['MINSEG_REQUIRE_CUDA'] == '1'
def test_bad(): assert 1 == 2
def test_left_out(): pytest.skip('here')
def test_bad_at_first():
    been = pathlib.Path(__file__).with_name('been')
    there = been.exists()
    been.touch()
    assert there
"""


def test_tests_are_counted_failures_named_and_victims_of_others_told_apart(tmp_path, monkeypatch):
    file = tmp_path / "test_some.py"
    file.write_text(FILE)
    known = suite.read_outcomes
    monkeypatch.setattr(suite, "read_outcomes", lambda written: [at(file, outcome) for outcome in known(written)])
    found = suite.run_tests((str(file),))
    assert (found["passed"], found["skipped"]) == (2, 1)
    (failed,) = found["failed"]
    assert "test_bad: assert 1 == 2" in failed
    assert found["passed_alone"] == [f"{file}::test_bad_at_first"]
    lines = page.tests_text(found)
    assert lines[0] == "2 passed, 1 failed, 1 skipped."
    assert f"* passed, but only by itself: {file}::test_bad_at_first" in lines


def test_of_many_failures_the_page_names_the_first():
    many = {"passed": 1, "failed": [f"test {k}" for k in range(300)], "skipped": 0, "passed_alone": []}
    assert page.tests_text(many)[-2:] == ["* failed: test 19", "* and 280 more, named in the .json file"]
    few = many | {"failed": many["failed"][:20]}
    assert page.tests_text(few)[-1] == "* failed: test 19"


def at(file, outcome: suite.Outcome) -> suite.Outcome:
    """The outcome with the test's place outside of the project."""
    return suite.Outcome(f"{file}::{outcome.test.split('::')[-1]}", outcome.failure, outcome.skipped)


def test_tests_of_the_project_have_the_names_that_pytest_takes(tmp_path):
    (tmp_path / "tests.xml").write_text(
        '<testsuites><testsuite><testcase classname="tests.kernels.test_cuda" name="test_x[relu-]"/></testsuite></testsuites>'
    )
    assert suite.read_outcomes(tmp_path / "tests.xml") == [suite.Outcome("tests/kernels/test_cuda.py::test_x[relu-]")]


def test_tests_that_do_not_start_or_do_not_end_are_a_failure(tmp_path, monkeypatch):
    found = suite.run_tests(("--no-such-option",))
    assert found["passed"] == 0
    assert "it did not run" in found["failed"][0]
    file = tmp_path / "test_endless.py"
    file.write_text("import time\ndef test_endless(): time.sleep(60)\n")
    monkeypatch.setattr(suite, "LIMIT", 3)
    assert suite.run_tests((str(file),))["failed"] == ["pytest: it did not end within 3 seconds"]
    monkeypatch.setattr(suite, "find_spec", lambda name: None)
    assert "not installed" in suite.run_tests()["failed"][0]


def test_every_file_with_tests_for_a_gpu_is_run():
    assert {
        "tests/kernels/test_cuda.py",
        "tests/models/test_networks.py",
        "tests/ops/test_gradients.py",
        "tests/test_devices.py",
    } <= set(suite.gpu_files())


# ------------------------------------------------------------------------------------------------------------------- peer


def a_torch(monkeypatch, has_gpu: bool) -> list:
    """A stand-in for PyTorch; what it is asked to work on is noted."""
    module, asked = types.ModuleType("torch"), []
    module.__spec__, module.__version__ = ModuleSpec("torch", None), "2.13.0"

    class device:
        def __init__(self, name):
            asked.append(name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            asked.append("left")

    module.device = device
    module.cuda = SimpleNamespace(is_available=lambda: has_gpu)
    module.backends = SimpleNamespace(
        cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True)), cudnn=SimpleNamespace(allow_tf32=True)
    )
    monkeypatch.setitem(sys.modules, "torch", module)
    return asked


def test_the_peer_works_on_the_gpu_in_float32(monkeypatch):
    asked = a_torch(monkeypatch, has_gpu=True)
    assert measuring.the_peer(True) == "PyTorch 2.13.0"
    backends = sys.modules["torch"].backends
    assert backends.cuda.matmul.allow_tf32 is backends.cudnn.allow_tf32 is False
    assert backends.cudnn.benchmark is True
    assert measuring.on_the_gpu(lambda: [*asked]) == ["cuda"]
    assert asked == ["cuda", "left"]


def test_the_peer_says_why_it_is_missing(monkeypatch):
    a_torch(monkeypatch, has_gpu=False)
    assert measuring.the_peer(True) == "none: PyTorch 2.13.0 finds no GPU"
    monkeypatch.setattr(measuring, "find_spec", lambda name: None)
    assert measuring.the_peer(True) == "none: PyTorch is not installed"
    assert measuring.the_peer(False) == "none: the emulator"


@emulated
def test_a_case_is_measured_beside_its_peer(monkeypatch):
    a_torch(monkeypatch, has_gpu=True)
    case = Case("memory", "relu", "1x1", lambda: lambda: None, lambda: {"channels_last": lambda: None}, bytes=1.0)
    plan = Planned("relu", lambda device: case)
    for peer, layout in ((True, {"layout": "channels_last"}), (False, {})):
        found = measuring._one(EMULATOR, TINY, plan, Ceilings(1, 1), peer, 2)
        assert found["row"]["notes"] == layout
        assert (found["row"]["ratio"] is not None) == peer


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
