"""The house: a room uses what stands below it, never what stands above. Reads every import, late ones inside functions too."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# From the top down; rooms on one floor may use each other one way, not both.
FLOORS = [
    {"cli", "__main__"},
    {"testing", "minseg"},  # "minseg" itself re-exports what users call: only what stands on top may import that
    {"studies", "comparison"},
    {"runs"},
    {"explain", "compress", "robustness"},
    {"training", "inference", "postprocess", "viz"},
    {"models", "data"},
    {"optim", "metrics"},
    {"weights", "nn"},
    {"ops"},
    {"autograd"},
    {"backend"},
    {"kernels"},
    {"equations", "files", "errors", "implements"},
]
HEIGHT = {room: -floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; kernels/ stands beside minseg/ and is imported as minseg.kernels."""
    files = [*(ROOT / "minseg").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]
    found = {}
    for file in files:
        parts = file.relative_to(ROOT).with_suffix("").parts
        parts = ("minseg", *parts) if parts[0] == "kernels" else parts
        found[".".join(parts).removesuffix(".__init__")] = file
    return found


def room(module: str) -> str:
    """``minseg.ops.conv`` belongs to ``ops``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "minseg"


def imported(source: str, module: str, is_package: bool, known) -> set[tuple[str, int]]:
    """(module of minseg, line) for each import in the source."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {(alias.name, node.lineno) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + is_package]
                base = ".".join([*parents, base]).rstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add((inner if inner in known else base, node.lineno))
    return {(name, line) for name, line in found if name.split(".")[0] in ("minseg", "kernels")}


def arrows(known) -> list[tuple[str, str, str]]:
    """(room, room that it imports, where) for each import from one room to another; minseg/__init__.py may import all."""
    found = []
    for module, file in known.items():
        if module == "minseg":
            continue
        for target, line in imported(file.read_text(encoding="utf-8"), module, file.name == "__init__.py", known):
            assert not target.startswith("kernels"), f"{file}:{line}: say minseg.kernels, not {target}"
            if room(target) != room(module):
                found.append((room(module), room(target), f"{file.relative_to(ROOT)}:{line} imports {target}"))
    return found


def test_every_room_has_its_floor():
    unknown = {room(module) for module in modules()} - set(HEIGHT)
    assert not unknown, f"say in FLOORS where these stand: {sorted(unknown)}"


def test_no_import_runs_up():
    upward = sorted(where for above, below, where in arrows(modules()) if HEIGHT[below] > HEIGHT[above])
    assert not upward, "these imports run up the house:\n" + "\n".join(upward)


def test_rooms_on_one_floor_import_one_way():
    pairs = {(one, other): where for one, other, where in arrows(modules()) if HEIGHT[one] == HEIGHT[other]}
    circles = [f"{where} and {pairs[other, one]}" for (one, other), where in pairs.items() if (other, one) in pairs]
    assert not circles, "\n".join(circles)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import minseg.training", {"minseg.training"}),
        ("from minseg import ops", {"minseg.ops"}),
        ("from minseg import tensor", {"minseg"}),
        ("from minseg.training import Trainer", {"minseg.training"}),
        ("def f():\n    from minseg.training import Trainer", {"minseg.training"}),
        ("if True:\n    import minseg.nn as nn, numpy", {"minseg.nn"}),
        ("from . import conv", {"minseg.ops.conv"}),
        ("from .conv import conv2d", {"minseg.ops.conv"}),
        ("from .. import training", {"minseg.training"}),
        ("from ..training import Trainer", {"minseg.training"}),
        ("import kernels.spec", {"kernels.spec"}),
        ("import numpy, os.path\nfrom minsegment import x", set()),
    ],
)
def test_the_reader_of_imports_sees_all_forms(source, expected):
    known = {"minseg", "minseg.training", "minseg.ops", "minseg.ops.conv", "minseg.ops.pool", "minseg.nn"}
    assert {name for name, _ in imported(source, "minseg.ops.pool", False, known)} == expected


def test_relative_imports_of_a_package_start_at_itself():
    known = {"minseg.ops", "minseg.ops.conv", "minseg.nn"}
    assert imported("from . import conv", "minseg.ops", True, known) == {("minseg.ops.conv", 1)}
    assert imported("from .. import nn", "minseg.ops", True, known) == {("minseg.nn", 1)}
