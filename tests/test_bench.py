"""The benchmark compares the same work on both sides, leaves no kernel out, and says how it was measured."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from minseg import backend, cli, viz
from minseg.errors import ArgumentError, BackendError, Unsupported
from minseg.kernels.spec import PRIMITIVES
from minseg.testing import bench
from minseg.testing.bench import measuring, operations, peak, primitives, report, scaling
from minseg.testing.bench.measuring import Case, Ceilings, Row, interleave, measure
from minseg.testing.bench.networks import Network

CEILINGS = Ceilings(gflops=100, gbytes=10)


def small() -> primitives.Arrays:
    return primitives.Arrays(N=2, C=8, H=32)


def case(name="work", **options) -> Case:
    return Case("operations", name, "1x1", lambda: lambda: None, lambda: {"contiguous": lambda: None}, **options)


# ------------------------------------------------------------------------------------------------------------- measuring


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where work says so: ``clock[0]`` in seconds."""
    now = [0.0]
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(measuring.time, "sleep", lambda seconds: None)
    return now


def test_contenders_take_turns_and_each_is_warm_before_it_is_timed(clock):
    """What is slow runs once to warm up and once to be timed; what is quick runs until the time for either has passed."""
    log = []

    def work(name, seconds):
        log.append(name)
        clock[0] += seconds

    quick = 2**-10  # these seconds add up without a rounding
    times = interleave({"slow": lambda: work("s", 0.25), "quick": lambda: work("q", quick)}, 3)
    warm, timed = math.ceil(measuring.WARM / quick), math.ceil(measuring.LEAST / quick)
    turn = "ss" + "q" * (warm + timed)
    assert "".join(log) == "s" + "q" * warm + turn * 3
    assert times == {"slow": [250] * 3, "quick": [1e3 * quick] * 3}


def test_a_ratio_is_the_median_of_the_rounds_ratios_and_the_better_layout_is_the_peer(monkeypatch):
    """The machine is ten times slower in one round: a ratio of medians or of means would differ."""
    rounds = {"ours": [1, 10, 2], "contiguous": [2, 30, 2], "channels_last": [9, 90, 9]}
    monkeypatch.setattr(measuring, "interleave", lambda contenders, _: rounds)
    row = measure(case(flops=100e6), CEILINGS, True, 3)
    assert (row.ms, row.peer_ms, row.ratio, row.notes["layout"]) == (2, 2, 2, "contiguous")
    assert row.spread == (1.5, 2.5)
    assert (row.gflops, row.share) == (50, 0.5)


def test_without_a_peer_there_is_no_ratio(monkeypatch):
    monkeypatch.setattr(measuring, "interleave", lambda contenders, _: {name: [2.0] for name in contenders})
    row = measure(case(bytes=1e6), CEILINGS, False, 1)
    assert row.ratio is row.peer_ms is row.spread is None
    assert row.gbytes > 0


# -------------------------------------------------------------------------------------------------------- what is timed


def test_every_primitive_is_called_with_what_its_declaration_accepts():
    assert set(primitives.ARGUMENTS) == set(PRIMITIVES), "say in ARGUMENTS what the benchmark calls these with"
    a = small()
    with backend.use_backend("numpy"):
        for name, primitive in PRIMITIVES.items():
            args = primitives.ARGUMENTS[name](a)
            primitive.check(*args)
            results = getattr(backend.current(), name)(*args)
            results = results if isinstance(results, tuple) else (results,)
            assert all(np.isfinite(array).all() for array in results), name


def test_every_variant_has_a_case_of_its_own():
    with backend.use_backend("numba"):
        names = [case.name for case in primitives.cases(small())]
    assert set(PRIMITIVES) <= set(names)
    assert {"conv2d [tile]", "conv2d [im2col]", "max_pool2d [halving]"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.peer
@pytest.mark.parametrize("name", primitives.PEERS)
def test_the_peers_kernel_computes_what_ours_does(name):
    pytest.importorskip("torch")
    a = small()
    expected = getattr(backend.get("numpy"), name)(*primitives.ARGUMENTS[name](a))
    for work in primitives.PEERS[name](a).values():
        results = work()
        results = [result for result in (results if isinstance(results, tuple) else (results,)) if result is not None]
        for result, array in zip(results, expected if isinstance(expected, tuple) else (expected,)):
            np.testing.assert_allclose(result.numpy(), array, rtol=1e-3, atol=1e-3)


@pytest.mark.peer
def test_operations_and_networks_run_on_both_sides(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(operations, "BATCH", 1)
    network = Network(batch=(1, 3, 16, 16))
    cases = [*operations.sweep_cases((8,)), network.training_case(), network.inference_case()]
    with backend.use_backend("numpy"):
        for one in cases:
            one.ours()()
            assert len([work() for work in one.peer().values()]) == 2
    losses = [network.training_step()(), *(work() for work in network.training_case().peer().values())]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)  # the same network, weights and data


# ------------------------------------------------------------------------------------------------------------- memory


def test_memory_is_what_a_step_adds_to_what_the_process_had():
    network = Network(batch=(2, 3, 32, 32))
    with backend.use_backend("numpy"):
        found = peak.measure_here("ours", network)
    assert 0 < found["before"] <= found["after"]


def test_the_better_layout_stands_for_the_peers_memory(monkeypatch):
    needed = {"ours": 50, "contiguous": 80, "channels_last": 75}
    monkeypatch.setattr(peak, "measure", lambda side, network: {"before": 100, "after": 100 + needed[side]})
    row = peak.row(Network(), with_peer=True)
    assert (row.ms, row.peer_ms, row.ratio, row.notes["layout"]) == (50, 75, 1.5, "channels_last")
    assert peak.row(Network(), with_peer=False).ratio is None


def test_the_process_that_measures_memory_starts_without_a_warning():
    """Python warns of running a module that its package has imported already."""
    command = [sys.executable, "-m", peak.__name__, "ours", "nothing", "1", "3", "32", "32"]
    errors = subprocess.run(command, capture_output=True, text=True, timeout=300).stderr
    assert "unknown model 'nothing'" in errors
    assert "Warning" not in errors


def test_a_process_that_fails_is_one_line():
    with pytest.raises(BackendError, match=r"the process that measures memory failed: .*unknown model 'nothing'"):
        peak.measure("ours", Network("nothing", (1, 3, 32, 32)))


# -------------------------------------------------------------------------------------------------------------- reports


@pytest.fixture
def quick(monkeypatch):
    """Two cases of which one cannot run, on a machine whose ceilings are known."""

    def refuse():
        raise Unsupported("needs a stride of 1")

    cases = [case("first work"), Case("networks", "second work", "2x2", refuse)]
    monkeypatch.setattr(measuring.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(bench, "measure_ceilings", lambda threads: CEILINGS)
    monkeypatch.setattr(bench, "SETS", {"networks": lambda: cases, "operations": list})


def test_a_report_says_what_was_measured_where_and_how(quick):
    found = bench.run(rounds=2, threads=1, argv=["bench", "--only", "first work"])
    assert [row["name"] for row in found["rows"]] == ["first work"]
    assert found["left_out"] == ["second work: needs a stride of 1"]
    text = report.table(found)
    for part in ("first work", "left out: second work", "minseg bench --only 'first work'", "100 GFLOP/s", "1 of "):
        assert part in text
    assert found["machine"]["date"] in text


def test_only_what_is_asked_for_is_measured(quick):
    assert bench.run(rounds=1, threads=1, only="third")["rows"] == []
    assert len(bench.run(rounds=1, threads=1, only="first")["rows"]) == 1


def test_markdown_has_the_rows_of_the_report_and_the_command(quick):
    found = bench.run(rounds=1, threads=1, argv=["bench", "--rounds", "1"])
    found["rows"][0] |= {"peer_ms": 3.0, "ratio": 1.234, "spread": (1.1, 1.3)}
    text = report.markdown(found)
    assert "minseg bench --rounds 1" in text
    (line,) = [line for line in text.splitlines() if "first work" in line]
    assert "| 3.00 | 1.23 (1.10-1.30) |" in line


def test_the_command_writes_json_and_markdown(quick, tmp_path, capsys):
    assert cli.main(["bench", "--rounds", "1", "--threads", "1", "--json", "--markdown", str(tmp_path / "t.md")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][0]["name"] == "first work"
    assert "first work" in (tmp_path / "t.md").read_text()


def test_the_command_is_of_the_cpu_whatever_a_gpu_would_do(quick, capsys):
    with backend.use_backend("numpy"):
        assert cli.main(["bench", "--rounds", "1", "--threads", "1", "--json"]) == 0
        assert backend.current().name == "numpy"
    assert json.loads(capsys.readouterr().out)["backend"] == "numba"


def test_bad_arguments_are_one_line():
    with pytest.raises(ArgumentError, match="rounds must be at least 1, got 0"):
        bench.run(rounds=0)
    with pytest.raises(ArgumentError, match="unknown peer 'jax'; known: torch"):
        bench.run(peer="jax")


# ----------------------------------------------------------------------------------------------------------------- growth


def test_threads_double_up_to_all_cores():
    assert scaling.thread_counts(1) == [1]
    assert scaling.thread_counts(2) == [1, 2]
    assert scaling.thread_counts(6) == [1, 2, 4, 6]


def test_growth_is_measured_at_each_point_and_drawn_with_both_kinds_of_work(monkeypatch):
    monkeypatch.setattr(measuring.time, "sleep", lambda seconds: None)
    with backend.use_backend("numpy"):
        curve = scaling._curve([(n, Network(batch=(1, 3, n, n)), 1) for n in (16, 24)], False, 1)
    assert curve["at"] == [16, 24]
    assert len(curve["training"]["minseg"]) == len(curve["inference"]["minseg"]) == 2
    figure = viz.growth_figure({"image size": curve, "batch": curve}, "title", "note")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Image size", "Batch"]
    assert {line.get_label() for line in figure.axes[0].lines} == {"minseg, training", "minseg, inference"}


def test_a_row_without_measurements_leaves_its_cells_empty():
    assert report.ratio({"ratio": None, "spread": None}) == ""
    assert Row("memory", "peak", "1", 5.0).share is None
