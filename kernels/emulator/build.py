"""From a .cu file to a library for this CPU: g++, and a folder that keeps what it made.

A file is preprocessed first, with every header that it includes; what comes out is the key of the cache, so a library can never be
older than its source. Only then are the three words replaced that C++ has no place for: ``__global__``, ``__launch_bounds__`` and
``__shared__``.
"""

import atexit
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minseg.errors import EmulatorError
from minseg.files import read_json, write_json

HERE = Path(__file__).parent
MODES = ("fast", "checked")
GAP = "emulator_gap_"
_STATIC = "static __attribute__((used, aligned(16)))"

COMMON = (
    "-std=c++17",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",  # the same roundings on every CPU
    "-fno-strict-aliasing",
    "-U_FORTIFY_SOURCE",  # it takes the jump from one fiber's stack to another's for an attack
)
KERNEL = {
    "fast": ("-O2",),
    # g++ calls __tsan_read4 and the like before each access; they stand in checker.cpp, and no sanitizer library is linked
    "checked": (
        "-O1",
        "-g1",
        "-fno-optimize-sibling-calls",
        "-fsanitize=thread,bounds,alignment,signed-integer-overflow,integer-divide-by-zero,shift",
    ),
}
REFUSED = (
    "-fmax-errors=10",
    "-Wstack-usage=49152",  # a fiber has 64 KiB
    "-Werror=stack-usage=49152",
    "-Wuninitialized",
    "-Werror=uninitialized",
    "-Wno-maybe-uninitialized",  # right too seldom
)
"""What does not compile here although it is C++."""


@dataclass(frozen=True)
class Source:
    """A preprocessed .cu file, and what was read off it: the kernels with the names of their parameters."""

    text: str
    filename: str
    kernels: dict[str, tuple[str, ...]]
    bounds: dict[str, str]
    shared: tuple[str, ...]


@dataclass(frozen=True)
class Library:
    """A compiled module: where it is, and its shared arrays as (name, offset in the library, bytes)."""

    path: Path
    shared: tuple[tuple[str, int, int], ...]


def why_not() -> str | None:
    """Why kernels cannot be emulated here, or None where they can."""
    if not sys.platform.startswith("linux"):
        return "the emulator needs Linux"
    if shutil.which(compiler()) is None:
        return f"the emulator compiles kernels with {compiler()}, which is not installed: apt install g++"
    return None


def compiler() -> str:
    """The C++ compiler: g++, or another g++ that the environment's MINSEG_CXX names."""
    return os.environ.get("MINSEG_CXX") or "g++"


# ----------------------------------------------------------------------------------------------------------- preprocessing

_BOUNDS = r"(?:__launch_bounds__\s*\(([^;{]*?)\)\s*)?"
_KERNEL = re.compile(rf"__global__\s+{_BOUNDS}void\s+{_BOUNDS}(?P<name>\w+)\s*\((?P<parameters>[^)]*)\)\s*\{{")
_DYNAMIC_SHARED = re.compile(r"extern\s+__shared__\s+(?P<type>[^;\[\]]+?)\s*\b(?P<name>\w+)\s*\[\s*\]\s*;")
_STATIC_SHARED = re.compile(r"(?:\bstatic\s+)?__shared__\s+(?P<declaration>[^;]*);")


def preprocess(source: str, filename: str, defines: tuple[str, ...], include_dirs: tuple[Path, ...]) -> Source:
    """The source with its headers and macros resolved, and the names of its kernels; EmulatorError with g++'s message."""
    flags = [*(f"-D{define}" for define in defines), *(f"-I{folder}" for folder in include_dirs)]
    command = [compiler(), "-std=c++17", "-E", *flags, "-include", str(HERE / "cuda_on_cpu.h"), "-x", "c++", "-"]
    text = run(command, filename, source).replace('"<stdin>"', f'"{filename}"')
    kernels, bounds = {}, {}
    for match in _KERNEL.finditer(text):
        parameters = [p for p in match["parameters"].split(",") if p.strip() not in ("", "void")]
        kernels[match["name"]] = tuple(re.search(r"(\w+)\W*$", p)[1] for p in parameters)
        bounds[match["name"]] = match[1] or match[2] or "1024"
    text, shared = _with_shared_arrays(text)
    return Source(_with_exports(text, bounds), filename, kernels, bounds, shared)


def _with_shared_arrays(text: str) -> tuple[str, tuple[str, ...]]:
    """``__shared__`` as static variables, with gaps between them, and their names.

    An index that runs over the end of an array lands in a gap, not in the next array.
    """
    names: list[str] = []

    def apart(match) -> str:
        declaration = match["declaration"]
        kind = re.fullmatch(r"(.*?)\w+\s*(?:\[[^\]]*\]\s*)*(?:,.*)?", declaration, re.DOTALL)[1]
        variables = declaration[len(kind) :].split(",")
        lines = []
        for variable in variables:
            names.append(re.match(r"\s*(\w+)", variable)[1])
            lines.append(f"{_STATIC} char {GAP}{len(names)}[64]; {_STATIC} {kind} {variable};")
        return " ".join(lines).replace("\n", " ") + "\n" * match[0].count("\n")

    dynamic = r"\g<type>* const \g<name> = reinterpret_cast<\g<type>*>(emulator_dynamic_shared());"
    text = _STATIC_SHARED.sub(apart, _DYNAMIC_SHARED.sub(dynamic, text))
    return text, tuple(sorted(set(names)))


def _with_exports(text: str, bounds: dict[str, str]) -> str:
    """CUDA's other words taken out, and what launch.py calls appended for each kernel."""
    text = re.sub(r"__launch_bounds__\s*\([^;{]*?\)(?=\s*(?:void|\w+\s*\())", "", text)
    text = re.sub(r"\b__global__\b", "", text)
    exports = [
        f"EXPORT void emulator_call_{name}(void** values) {{ emulator::call({name}, values); }}\n"
        f"EXPORT const char* emulator_signature_{name}() {{ return emulator::signature({name}); }}\n"
        f"EXPORT int emulator_bounds_{name}() {{ return emulator::first({bound}); }}\n"
        for name, bound in bounds.items()
    ]
    return f"{text}\n}}  // namespace\n" + "".join(exports).replace(
        "EXPORT", 'extern "C" __attribute__((visibility("default"), no_sanitize("thread")))'
    )


def run(command: list[str], filename: str, text: str | None = None) -> str:
    """What the program prints; EmulatorError with its complaints if it fails or is missing."""
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, encoding="utf-8", env=os.environ | {"LC_ALL": "C"}
        )
    except FileNotFoundError:
        raise EmulatorError(why_not() or f"{command[0]} is not installed: apt install binutils") from None
    if done.returncode:
        raise EmulatorError(f"{filename} does not compile:\n{done.stderr.strip()}")
    return done.stdout


# ---------------------------------------------------------------------------------------------------------------- compiling


def compiled(source: Source, mode: str) -> Library:
    """The library of a module in this mode, from the cache or by g++."""
    flags = [*COMMON, *KERNEL[mode], *REFUSED]
    path = cache_folder() / f"{Path(source.filename).stem}-{mode}-{_key(source.text, *flags, *_runtime_texts())}.so"
    listing = path.with_suffix(".json")
    if not path.exists() or not listing.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            unit, kernel, library = (Path(folder) / name for name in ("kernel.ii", "kernel.o", "kernel.so"))
            unit.write_text(source.text)
            run([compiler(), *flags, "-c", str(unit), "-o", str(kernel)], source.filename)
            run(
                [compiler(), "-shared", "-Wl,-z,defs", str(kernel), *map(str, runtime()), "-o", str(library)],
                source.filename,
            )
            write_json(listing, _shared_arrays(library, source.shared))
            os.replace(library, path)  # moved into place: two processes may build the same thing at once
    return Library(path, tuple(map(tuple, read_json(listing))))


def _shared_arrays(library: Path, names: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """Name, offset and size of every __shared__ array and, named "", of the gaps: variables in functions, by the symbol table."""
    found = []
    for line in run(["nm", "-S", "-C", str(library)], library.name).splitlines() if names else []:
        match = re.fullmatch(r"(\w+) (\w+) [bdu] (.*?)(\w+)", line)
        if match and (match[4] in names or match[4].startswith(GAP)):
            owner = re.sub(r"\(anonymous namespace\)::|\([^()]*\)", "", match[3])
            name = "" if match[4].startswith(GAP) else owner + match[4]
            found.append((name, int(match[1], 16), int(match[2], 16)))
    return found


@cache
def runtime() -> tuple[Path, ...]:
    """The scheduler and the checker as object files, compiled once for all modules."""
    with ThreadPoolExecutor() as pool:
        return tuple(pool.map(_runtime_object, ("scheduler", "checker")))


def _runtime_object(name: str) -> Path:
    flags = [*COMMON, "-O2"]
    path = cache_folder() / f"{name}-{_key(*flags, *_runtime_texts())}.o"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            made = Path(folder) / path.name
            run([compiler(), *flags, "-c", str(HERE / f"{name}.cpp"), "-o", str(made)], f"{name}.cpp")
            os.replace(made, path)
    return path


# ---------------------------------------------------------------------------------------------------------------- the cache


@cache
def cache_folder() -> Path:
    """Where libraries are kept: the user's cache folder or, if nothing can be written there, a folder for this process alone."""
    wanted = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minseg" / "emulator"
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError:
        folder = tempfile.mkdtemp(prefix="minseg-emulator-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)


def _key(*texts: str) -> str:
    return hashlib.sha256("\0".join([_compiler_version(), *texts]).encode()).hexdigest()[:24]


@cache
def _compiler_version() -> str:
    return run([compiler(), "--version"], compiler()) + platform.machine()


@cache
def _runtime_texts() -> tuple[str, ...]:
    return tuple((HERE / name).read_text() for name in ("runtime.h", "checker.h", "scheduler.cpp", "checker.cpp"))
