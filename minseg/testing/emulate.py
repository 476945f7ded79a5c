"""``minseg emulate``: run a kernel of one's own on the CPU with arrays from the command line, watched, in several thread orders.

In Python the same is ``Module(source, name).function(kernel)(grid, block, args)`` inside ``launching("checked")``; see
``minseg.kernels.emulator``.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minseg.errors import ArgumentError, EmulatorError, FileError, nearest_names
from minseg.files import jsonable
from minseg.kernels.emulator import ORDERS, Kernel, Module, launching, xp
from minseg.kernels.emulator.signature import Parameter

MAKERS = ("arange", "zeros", "ones", "random", "empty")
FORMS = "a number (3), arange:10, zeros:4,4, ones:8, random:2,3, empty:10, any of them with :float32 at the end, or data.npy"


@dataclass(frozen=True)
class Result:
    """What a launch changed: arrays by the names of their parameters, before and after."""

    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]

    def changed(self) -> list[str]:
        """The names of the arrays that are not what they were."""
        return [name for name in self.after if not _same(self.before[name], self.after[name])]


def main(args) -> int:
    """The command; returns 1 if the kernel did something wrong, or its result depends on the order of the threads."""
    if args.seed < 0:
        raise ArgumentError(f"--seed must be at least 0, got {args.seed}")
    module = Module(_read(args.file), args.file.name, tuple(args.define), (args.file.parent, *args.include))
    if args.kernel is None:
        print("\n".join(_signature(module.function(name)) for name in module.names))
        return 0
    kernel = module.function(args.kernel)
    arguments = read_arguments(kernel, args.arguments, args.seed)
    orders = ORDERS if args.order == "all" else (args.order,)
    results, error = {}, None
    try:
        for order in orders:
            results[order] = run(kernel, args.grid, args.block, arguments, args.shared_mem, args.mode, order, args.seed)
    except EmulatorError as found:
        if found.kind is None:  # not what the kernel did, but how it was called
            raise
        error = found
    differing = [order for order in results if not _agree(results[orders[0]], results[order])]
    if args.json:
        print(json.dumps(_report(kernel, args, results, error, differing), indent=2))
    else:
        print("\n".join(_text(kernel, args, results, error, differing)))
    return int(error is not None or bool(differing))


def run(kernel: Kernel, grid, block, arguments: dict, shared_mem: int, mode: str, order: str, seed: int) -> Result:
    """Launch the kernel once, on arrays of its own."""
    given = {name: _on_device(value) for name, value in arguments.items()}
    with launching(mode, order, seed):
        kernel(grid, block, tuple(given.values()), shared_mem)
    after = {name: value.get() for name, value in given.items() if isinstance(value, xp.ndarray)}
    before = {name: _on_device(arguments[name]).get() for name in after}
    return Result(before, after)


def _on_device(value):
    if isinstance(value, _Empty):
        return xp.empty(value.shape, value.dtype)
    return xp.asarray(value) if isinstance(value, np.ndarray) else value


# ------------------------------------------------------------------------------------------------------------ what is given


@dataclass(frozen=True)
class _Empty:
    """An array to be that nothing was written to."""

    shape: tuple[int, ...]
    dtype: np.dtype


def read_arguments(kernel: Kernel, texts: list[str], seed: int) -> dict:
    """The kernel's arguments by name. Texts with a name before (``n=3``) go there, the others to what is left, in order."""
    parameters = {parameter.name: parameter for parameter in kernel.parameters}
    named = {text.partition("=")[0] for text in texts if "=" in text}
    unnamed = iter([name for name in parameters if name not in named])
    found = {}
    for text in texts:
        name, is_named, value = text.partition("=")
        name, value = (name, value) if is_named else (next(unnamed, None), text)
        if name is None:
            raise ArgumentError(f"{_signature(kernel)} takes {len(parameters)} arguments, got more: {text!r}")
        if name not in parameters:
            raise ArgumentError(f"{kernel.name} has no parameter {name!r}; {nearest_names(name, parameters)}")
        found[name] = read_argument(value, parameters[name], np.random.default_rng([seed, len(found)]))
    missing = [name for name in parameters if name not in found]
    if missing:
        raise ArgumentError(f"{_signature(kernel)}: no value for {', '.join(missing)}; after --args, give {FORMS}")
    return {name: found[name] for name in parameters}


def read_argument(text: str, parameter: Parameter, random: np.random.Generator):
    """One argument: an array or a number, of the parameter's dtype unless the text names another.

    >>> read_argument("arange:3", Parameter("x", np.dtype("float32"), pointer=True), np.random.default_rng(0))
    array([0., 1., 2.], dtype=float32)
    """
    if text.endswith(".npy"):
        return _load(Path(text))
    what, *rest = text.split(":")
    try:
        if not parameter.pointer:
            (dtype,) = rest or [parameter.dtype]
            return np.dtype(dtype).type(float(what) if np.dtype(dtype).kind == "f" else int(what))
        if what not in MAKERS or len(rest) not in (1, 2):
            raise ValueError
        shape = tuple(int(size) for size in rest[0].split(","))
        return _make(what, shape, np.dtype(rest[1] if len(rest) == 2 else parameter.dtype), random)
    except (ValueError, TypeError, OverflowError):
        raise ArgumentError(f"cannot read {text!r} as the argument {parameter}: give {FORMS}") from None


def _make(what: str, shape: tuple[int, ...], dtype: np.dtype, random: np.random.Generator):
    if what == "empty":
        return _Empty(shape, dtype)
    if what == "arange":
        return np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    if what == "random":
        values = random.standard_normal(shape) if dtype.kind == "f" else random.integers(0, 10, shape)
        return values.astype(dtype)
    return np.full(shape, what == "ones", dtype)


def _load(path: Path) -> np.ndarray:
    try:
        return np.ascontiguousarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


# ------------------------------------------------------------------------------------------------------------ what is printed


def _signature(kernel: Kernel) -> str:
    return f"{kernel.name}({', '.join(map(str, kernel.parameters))})"


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _agree(one: Result, other: Result) -> bool:
    """Whether two orders gave the same, up to the rounding of sums that atomicAdd adds up in another order."""

    def close(a, b):
        return (
            np.allclose(a, b, rtol=1e3 * np.finfo(a.dtype).eps, equal_nan=True) if a.dtype.kind == "f" else _same(a, b)
        )

    return all(close(one.after[name], other.after[name]) for name in one.after)


def _text(
    kernel: Kernel, args, results: dict[str, Result], error: EmulatorError | None, differing: list[str]
) -> list[str]:
    if error is not None:
        return [str(error), *_source_line(args.file, error.place)]
    found = "; found nothing wrong" if args.mode == "checked" else ""
    lines = [f"ran {_signature(kernel)} in {args.mode} mode, threads {', '.join(results)}{found}"]
    first, *_ = results.values()
    for name in first.changed():
        before, after = first.before[name], first.after[name]
        count = np.count_nonzero((before != after) & ~((before != before) & (after != after)))
        lines.append(f"{name}: {after.dtype} {after.shape}, {count} of {after.size} elements changed")
        lines.append(np.array2string(after, threshold=64, precision=6))
    if not first.changed():
        lines.append("no array changed")
    if differing:
        lines.append(f"WRONG: the result in the order {', '.join(differing)} is another than in {next(iter(results))}")
    return lines


def _source_line(path: Path, place: str) -> list[str]:
    """The line that a report points to, if it is in this file and not in one that it includes."""
    name, _, number = place.rpartition(":")
    lines = path.read_text(encoding="utf-8").splitlines()
    if name != path.name or not number.isdecimal() or int(number) > len(lines):
        return []
    return [f"{int(number):5} | {lines[int(number) - 1]}"]


def _report(
    kernel: Kernel, args, results: dict[str, Result], error: EmulatorError | None, differing: list[str]
) -> dict:
    first = next(iter(results.values()), None)
    return {
        "kernel": kernel.name,
        "mode": args.mode,
        "orders": list(results),
        "report": error
        and {
            "message": str(error),
            "kind": error.kind,
            "place": error.place,
            "block": list(error.block),
            "thread": list(error.thread),
        },
        "differing_orders": differing,
        "changed": {name: jsonable(first.after[name]) for name in first.changed()} if first and not error else {},
    }
