"""A record as a page to read, and what is wanted of it."""

from minseg.testing.bench import report

COPY, PRODUCT, STEP = 0.8, 0.5, 1.5
"""Wanted of kernels that memory bounds, of the copy's GB/s; of convolutions and attention, of PyTorch's speed; of a training
step, its time."""

FACTS = ("architecture", "memory", "driver", "runtime", "CuPy", "commit", "digest of kernels/cuda")
NAMED = 20
"""So many failed tests are named on the page."""

EMULATED = "This is a record of the emulator: nothing here ran on a GPU, and the times mean nothing."


def targets(rows: list[dict]) -> list[dict]:
    """What is wanted of each row, and whether it holds; None where it cannot be judged, for there is no PyTorch beside it.

    Rungs that the backend does not choose are not judged.
    """
    found = []
    for row in (row for row in rows if "[" not in row["name"]):
        if row["group"] == "memory":
            found.append(_target(row, "of the copy", row["share"], COPY))
        elif row["name"].startswith(("conv", "attention")):
            found.append(_target(row, "of PyTorch's speed", row["ratio"], PRODUCT))
        elif row["name"].startswith("training step"):
            found.append(_target(row, "of PyTorch's speed", row["ratio"], 1 / STEP))
    return found


def _target(row: dict, unit: str, value: float | None, wanted: float) -> dict:
    what = {"name": row["name"], "shape": row["shape"], "unit": unit}
    return {**what, "value": value, "wanted": wanted, "holds": None if value is None else value >= wanted}


def markdown(found: dict) -> str:
    """The record as a page."""
    lines = [f"# CUDA kernels on {found['device']}, {found['date']}", ""]
    lines += [", ".join(f"{key} {found[key]}" for key in FACTS if key in found) + "."]
    if found["backend"] != "cupy":
        lines += ["", EMULATED]
    lines += ["", "## Tests", "", *tests_text(found["tests"])]
    if "rows" in found:
        lines += ["", "## Speed", "", *_measured(found), *_judged(found), *_table(found)]
    return "\n".join(lines) + "\n"


def tests_text(tests: dict | None) -> list[str]:
    """How many passed, and which did not; of many the first, for one broken GPU fails them all."""
    if tests is None:
        return ["Not run."]
    counts = f"{tests['passed']} passed, {len(tests['failed'])} failed, {tests['skipped']} skipped."
    failed = [f"* failed: {line}" for line in tests["failed"][:NAMED]]
    more = len(tests["failed"]) - NAMED
    alone = [f"* passed, but only by itself: {test}" for test in tests["passed_alone"]]
    return [counts, *failed, *([f"* and {more} more, named in the .json file"] if more > 0 else []), *alone]


def _measured(found: dict) -> list[str]:
    if found["ceilings"] is None:
        return ["Nothing was measured."]
    ceilings = found["ceilings"]
    return [
        f"Medians of {found['rounds']} rounds in turn, by the device's own clock. Ceilings of this card, measured in the same run: "
        f"matrix product {ceilings['gflops']:.0f} GFLOP/s, copy {ceilings['gbytes']:.0f} GB/s. Peer: {found['peer']}"
        + (", float32 without TF32, the faster of its two layouts." if found["peer"].startswith("PyTorch") else ".")
    ]


def _judged(found: dict) -> list[str]:
    """The targets in words, those that are missed one by one."""
    missed = [target for target in found["targets"] if target["holds"] is False]
    unknown = [target for target in found["targets"] if target["holds"] is None]
    lines = []
    if found["targets"]:
        known = len(found["targets"]) - len(unknown)
        lines += [
            "",
            f"Wanted: {COPY:.0%} of the copy's speed from kernels that memory bounds, {PRODUCT:.0%} of PyTorch's speed from "
            f"convolutions and attention, and a training step in {STEP} times its time. That holds in {known - len(missed)} of "
            f"{known} cases" + (f"; {len(unknown)} have no PyTorch beside them." if unknown else "."),
        ]
    problems = [f"* missed: {t['name']} {t['shape']}, {t['value']:.2f} {t['unit']}" for t in missed]
    problems += [f"* failed: {line}" for line in found["failed"]]
    return [*lines, *([""] if problems else []), *problems]


def _table(found: dict) -> list[str]:
    lines = ["", "| | shape | ms | GFLOP/s | GB/s | of ceiling | PyTorch ms | PyTorch / minseg |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for row in found["rows"]:
        numbers = [
            f"{row['ms']:.4g}",
            *("" if row[key] is None else f"{row[key]:.0f}" for key in ("gflops", "gbytes")),
            "" if row["share"] is None else f"{row['share']:.0%}",
            "" if row["peer_ms"] is None else f"{row['peer_ms']:.4g}",
            report.ratio(row),
        ]
        lines += [f"| {row['name']} | {row['shape']} | " + " | ".join(numbers) + " |"]
    return [*lines, *(f"\nLeft out: {line}" for line in found["left_out"])]
