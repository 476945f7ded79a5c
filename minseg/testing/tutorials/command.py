"""``minseg tutorials``: the list of notebooks; ``--build`` executes and writes them, ``--check`` executes and compares them."""

import contextlib
from pathlib import Path

from minseg.equations.show import columns
from minseg.errors import FileError
from minseg.testing.tutorials import index
from minseg.testing.tutorials.build import LIMIT_BYTES, build
from minseg.testing.tutorials.compare import differences, stale
from minseg.testing.tutorials.mode import fast, fast_mode
from minseg.testing.tutorials.notebook import FOLDER, executed, read_source, sources


def main(args) -> int:
    """Do what was asked for; 1 if a notebook is not what it should be."""
    if not FOLDER.is_dir():
        raise FileError(f"the notebooks stand in a checkout of the repository, in tutorials/; there is no {FOLDER}")
    with fast_mode() if args.fast else contextlib.nullcontext():
        return _run(args)


def _run(args) -> int:
    chosen = [index.find(number) for number in args.numbers] or index.entries()
    written = [entry for entry in chosen if entry.written]
    if args.numbers and len(written) < len(chosen):
        raise FileError(f"no source yet for {', '.join(entry.number for entry in chosen if not entry.written)}")
    if args.build and fast():
        raise FileError("--build writes what readers see, so it trains in full: leave out --fast and MINSEG_FAST")
    if args.build:
        return _all([_rebuild(entry) for entry in written])
    if args.check:
        return _all([_check(entry) for entry in written])
    print(table(chosen))
    return 0


def table(chosen: list[index.Entry]) -> str:
    """The notebooks in columns."""
    rows = [(e.number, e.title, f"{e.minutes:g}", "yes" if e.written else "no") for e in chosen]
    return columns([("no", "title", "minutes", "written"), *rows])


def source_of(entry: index.Entry) -> Path:
    """The source; FileError if another file has its number."""
    same = [path for path in sources() if path.name.startswith(f"{entry.number}_")]
    if same != [entry.source]:
        raise FileError(
            f"index.toml calls notebook {entry.number} {entry.source.name}, there is {[p.name for p in same]}"
        )
    return entry.source


def _rebuild(entry: index.Entry) -> bool:
    built = build(source_of(entry))
    size = len(built.text())
    if size > LIMIT_BYTES:
        raise FileError(f"{entry.source.name}: the notebook has {size} bytes, at most {LIMIT_BYTES} are allowed")
    print(f"{built.write().name}: {built.seconds:.0f} s, {size // 1000} kB", flush=True)
    return _in_time(entry, built.seconds)


def _check(entry: index.Entry) -> bool:
    source, committed = source_of(entry), executed(entry.source)
    found = stale(committed, read_source(source))
    seconds = 0.0
    if not found:
        built = build(source)
        found, seconds = differences(committed, built.notebook), built.seconds
    found += index.false_claims(entry)
    print(f"{source.name}: {'ok' if not found else 'NOT AS COMMITTED'}, {seconds:.0f} s", flush=True)
    for line in found:
        print(f"  {line}")
    return _in_time(entry, seconds) and not found


def _in_time(entry: index.Entry, seconds: float) -> bool:
    """Whether it kept to its minutes."""
    if seconds > 60 * entry.minutes:
        print(f"  {entry.number} took {seconds:.0f} s, index.toml says {entry.minutes:g} minutes")
        return False
    return True


def _all(passed: list[bool]) -> int:
    return 0 if all(passed) else 1
