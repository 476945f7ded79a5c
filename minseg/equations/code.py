"""Where the code is: operations, kernels, literal loops and tests, found by name in the source as text. None of it is imported.

library = Library()
library.find("minseg.ops.conv2d").place          # 'minseg/ops/conv.py:49'
library.kernels(get("conv.corr2d"))["NumPy"]     # what computes it, and what that calls
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from minseg.equations.registry import Equation
from minseg.errors import EquationError

BACKENDS = {"NumPy": "minseg.kernels.reference", "Numba": "minseg.kernels.cpu"}
"""The packages of kernels in Python; CUDA's are searched for marks instead."""

_PACKAGE = Path(__file__).resolve().parent.parent
_MARK = re.compile(r"(?:(?:#|//|\"\"\")\s*eq: |\bequation = \")((?:[a-z]+\.[a-z][a-z0-9_]*(?:, )?)+)")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Code:
    """Some lines of a file, to the letter."""

    name: str
    """Dotted, as it is imported: ``minseg.kernels.cpu.conv.conv2d``."""
    file: str
    """As seen from the repository: ``kernels/cpu/conv.py``."""
    first: int
    last: int
    text: str
    docstring: tuple[int, int] | None = None
    """First and last line of its docstring."""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.first}"

    @property
    def short_name(self) -> str:
        """What it is called inside its module: ``conv2d``, ``Conv2d.backward``."""
        if ":" in self.name:  # in a file that is no module
            return self.name.partition(":")[2]
        module = self.file.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        return self.name.removeprefix("minseg.").removeprefix(module.removeprefix("minseg.")).strip(".")

    def __len__(self) -> int:
        return self.last - self.first + 1

    @property
    def is_value(self) -> bool:
        """Whether it is an assignment, not a function or class."""
        return not self.file.endswith((".cu", ".cuh")) and not re.search(r"^\s*(?:def|class) ", self.text, re.MULTILINE)

    def overlaps(self, other: "Code") -> bool:
        return self.file == other.file and self.first <= other.last and other.first <= self.last


class SourceFile:
    """A Python file, parsed: its definitions, what it imports, and what names it assigns."""

    def __init__(self, path: Path, shown: str, module: str):
        self.shown, self.module = shown, module
        self.lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        self.definitions: dict[str, ast.AST] = {}
        self.imports: dict[str, str] = {}
        self.assigned: dict[str, ast.Assign] = {}
        tree = ast.parse("".join(self.lines))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                self.imports |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                self.imports |= {alias.asname: alias.name for alias in node.names if alias.asname}
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.assigned[node.targets[0].id] = node
        self._define(tree, "")

    def _define(self, node, prefix: str) -> None:
        for child in node.body:
            if isinstance(child, _DEFINITIONS):
                self.definitions[prefix + child.name] = child
                if isinstance(child, ast.ClassDef):
                    self._define(child, f"{prefix}{child.name}.")

    def code(self, name: str) -> Code:
        """The lines of a definition or an assignment of this file."""
        node = self.definitions.get(name) or self.assigned[name]
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        text = "".join(self.lines[first - 1 : node.end_lineno])
        return Code(f"{self.module}.{name}", self.shown, first, node.end_lineno, text, _docstring(node))

    def around(self, line: int) -> str | None:
        """The name of the innermost definition that holds a line."""
        inside = [n for n, d in self.definitions.items() if d.lineno <= line <= d.end_lineno]
        return max(inside, key=lambda name: self.definitions[name].lineno, default=None)

    def used_by(self, name: str) -> list[str]:
        """The names that the body of a definition uses, in order: its own file's, and those imported, dotted.

        ``VARIANTS["conv2d"][variant]`` uses what the dictionary holds under that key.
        """
        node = self.definitions.get(name)
        if node is None:
            return []
        names = []
        for part in sorted(
            (p for s in node.body for p in ast.walk(s) if hasattr(p, "lineno")), key=lambda p: (p.lineno, p.col_offset)
        ):
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in self.imports:
                names.append(f"{self.imports[part.value.id]}.{part.attr}")
            elif isinstance(part, ast.Subscript) and isinstance(part.value, ast.Name):
                names += self._entries(part)
            elif isinstance(part, ast.Name) and part.id in self.imports:
                names.append(self.imports[part.id])
            elif isinstance(part, ast.Name) and part.id in self.definitions:
                names.append(f"{self.module}.{part.id}")
        return [n for n in dict.fromkeys(names) if n != f"{self.module}.{name}"]

    def _entries(self, subscript: ast.Subscript) -> list[str]:
        table = self.assigned.get(subscript.value.id)
        if table is None or not isinstance(table.value, ast.Dict) or not isinstance(subscript.slice, ast.Constant):
            return []
        chosen = [v for k, v in zip(table.value.keys, table.value.values) if k.value == subscript.slice.value]
        used = [part.id for value in chosen for part in ast.walk(value) if isinstance(part, ast.Name)]
        return [self.imports.get(n, f"{self.module}.{n}") for n in used if n in self.definitions or n in self.imports]


def _docstring(node) -> tuple[int, int] | None:
    if not isinstance(node, _DEFINITIONS) or ast.get_docstring(node) is None:
        return None
    return node.body[0].lineno, node.body[0].end_lineno


@dataclass(frozen=True)
class Mention:
    """A test or a notebook that names an equation, and where."""

    file: str
    name: str
    line: int


class Library:
    """The source of minseg as files: each is read once.

    package: the folder of ``minseg``; kernels stand in it (installed) or beside it (in a checkout, which has tests and notebooks).
    """

    def __init__(self, package: Path = _PACKAGE):
        self.package = package
        self.root = package.parent
        self.installed = (package / "kernels").is_dir()
        self.kernel_folder = (package if self.installed else self.root) / "kernels"
        self._files: dict[Path, SourceFile] = {}
        self._marks: dict[str, list[Code]] | None = None
        self._mentions: dict[str, dict[str, list[Mention]]] = {}

    # ------------------------------------------------------------------------------------------------------- by name

    def find(self, dotted: str) -> Code:
        """The definition of a function, class or method; EquationError if there is none of this name."""
        code = self._find(dotted)
        if code is None:
            raise EquationError(f"there is no {dotted} in the source under {self.package}")
        return code

    def _find(self, dotted: str) -> Code | None:
        parts = dotted.split(".")
        for count in range(len(parts) - 1, 0, -1):  # the longest module first: gradcheck is a module and a function
            file, name = self._module(parts[:count]), ".".join(parts[count:])
            if file is None:
                continue
            if name in file.definitions:
                return file.code(name)
            elsewhere = ".".join([file.imports.get(parts[count], ""), *parts[count + 1 :]])
            if (
                parts[count] in file.imports and elsewhere != dotted
            ):  # a package that imports its own module says nothing
                return self._find(elsewhere)
            if name in file.assigned:
                value = file.assigned[name].value  # another name of the same, or a value of its own
                return self._find(f"{file.module}.{value.id}") if isinstance(value, ast.Name) else file.code(name)
        return None

    def _module(self, parts: list[str]) -> SourceFile | None:
        if parts[0] != "minseg":
            return None
        folder, rest = (self.kernel_folder, parts[2:]) if parts[1:2] == ["kernels"] else (self.package, parts[1:])
        path = folder.joinpath(*rest)
        if path.is_dir():
            path = path / "__init__.py"
        else:
            path = path.with_suffix(".py")
        return self._file(path) if path.exists() else None

    def _file(self, path: Path) -> SourceFile:
        if path not in self._files:
            parts = path.relative_to(self.root).with_suffix("").parts
            parts = ("minseg", *parts) if parts[0] == "kernels" else parts
            module = ".".join(parts).removesuffix(".__init__")
            self._files[path] = SourceFile(path, path.relative_to(self.root).as_posix(), module)
        return self._files[path]

    def called(self, code: Code, within: str) -> list[Code]:
        """What this code calls, and what that calls, as far as it stands in the package or module ``within``; nearest first."""
        found, waiting = {code.name: code}, [code]
        while waiting:
            caller = waiting.pop(0)
            file = self._file(self.root / caller.file)
            for dotted in file.used_by(caller.name.removeprefix(f"{file.module}.")):
                callee = self._find(dotted) if dotted.startswith(f"{within}.") else None
                if callee is None or callee.is_value or callee.name in found:
                    continue
                if callee.name.startswith(f"{within}."):
                    found[callee.name] = callee
                    waiting.append(callee)
        return list(found.values())[1:]

    # --------------------------------------------------------------------------------------------------- by equation

    def literal(self, equation: Equation) -> Code | None:
        """Its loops; None if it has none."""
        return self._find(f"minseg.equations.literal.{equation.family}.{equation.id.replace('.', '_')}")

    def kernels(self, equation: Equation) -> dict[str, list[Code]]:
        """For each backend the kernels of its primitives, each followed by what it calls there; without backends that have none."""
        found = {}
        for backend, package in BACKENDS.items():
            codes: dict[str, Code] = {}
            for primitive in equation.primitives:
                kernel = self._find(f"{package}.{self.family(primitive)}.{primitive}")
                if kernel is not None:
                    codes |= {code.name: code for code in [kernel, *self.called(kernel, package)]}
            found[backend] = list(codes.values())
        found["CUDA"] = [code for code in self.marked(equation.id) if code.file.endswith((".cu", ".cuh"))]
        return {backend: codes for backend, codes in found.items() if codes}

    def family(self, primitive: str) -> str:
        """The family that kernels/spec.py declares a primitive in, which names its file in each backend."""
        declared = self._file(self.kernel_folder / "spec.py").definitions.get(primitive)
        for decorator in getattr(declared, "decorator_list", ()):
            if isinstance(decorator, ast.Call) and isinstance(decorator.args[0], ast.Constant):
                return decorator.args[0].value
        raise EquationError(f"kernels/spec.py declares no primitive {primitive}")

    def operations(self, equation: Equation) -> list[Code]:
        """Its public operations, each followed by what it calls in its own file."""
        codes: dict[str, Code] = {}
        for dotted in equation.operations:
            operation = self.find(dotted)
            module = self._file(self.root / operation.file).module
            codes |= {
                code.name: code for code in [operation, *self.called(operation, module)] if code.name not in codes
            }
        return list(codes.values())

    def marked(self, id: str) -> list[Code]:
        """Every definition that holds ``eq: id`` in a comment, or is a Function of this equation.

        In Python it is the innermost one, in CUDA the function around the line.
        """
        if self._marks is None:
            self._marks = {}
            for path in sorted([*self.package.rglob("*.py"), *self.kernel_folder.rglob("*.py")]):
                if not {"equations", "testing"} & set(path.relative_to(self.root).parts[1:2]):
                    self._collect(path, lambda line, path=path: self._python_around(path, line))
            for path in sorted([*self.kernel_folder.rglob("*.cu"), *self.kernel_folder.rglob("*.cuh")]):
                self._collect(path, lambda line, path=path: self._braces_around(path, line))
        return self._marks.get(id, [])

    def _collect(self, path: Path, around) -> None:
        for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for mark in _MARK.finditer(text):
                code = around(line)
                for id in mark[1].rstrip(", ").split(", ") if code else ():
                    if code not in self._marks.setdefault(id, []):
                        self._marks[id].append(code)

    def _python_around(self, path: Path, line: int) -> Code | None:
        file = self._file(path)
        name = file.around(line)
        return file.code(name) if name else None

    def _braces_around(self, path: Path, line: int) -> Code:
        """The function that holds a line of CUDA, or that follows it: to the brace that closes it, and up to a blank line."""
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        depth, depths = 0, []  # after each line
        for text in lines:
            depth += text.count("{") - text.count("}")
            depths.append(depth)
        first = line
        while first > 1 and (depths[first - 2] > 0 or lines[first - 2].strip()):
            first -= 1
        last = line
        opened = depths[last - 1] > 0
        while last < len(lines) and not (opened and depths[last - 1] == 0):
            last += 1
            opened |= "{" in lines[last - 1]
        shown, text = path.relative_to(self.root).as_posix(), "".join(lines[first - 1 : last])
        named = re.search(r"(\w+)\s*\(", re.sub(r"//.*|__launch_bounds__\s*\(.*?\)", "", text))
        return Code(f"{shown}:{named[1] if named else first}", shown, first, last, text)

    def mentions(self, id: str) -> list[Mention]:
        """The tests that name an equation; none where minseg is installed without its tests."""
        return self._words("tests").get(id, [])

    def notebooks(self, id: str) -> list[Mention]:
        """The notebooks that name an equation, as their sources in tutorials/."""
        return self._words("tutorials").get(id, [])

    def tests_of_code(self, equation: Equation) -> dict[str, list[str]]:
        """The tests that use the code of an equation by its name: file -> names of tests.

        ``ops.conv2d`` counts, and ``conv2d`` alone too; a word like ``sum`` counts only after its module.
        """
        words = set(equation.primitives)
        for dotted in equation.operations:
            *_, module, name = dotted.split(".")
            words |= {dotted, f"{module}.{name}"} | ({name} if re.search(r"[A-Z_0-9]", name) else set())
        found: dict[str, set[str]] = {}
        for mention in (m for word in words for m in self._words("tests").get(word, [])):
            if mention.name.startswith("test"):
                found.setdefault(mention.file, set()).add(mention.name)
        return {file: sorted(found[file]) for file in sorted(found)}

    def _words(self, folder: str) -> dict[str, list[Mention]]:
        """Every name in the Python files of a folder, dotted as it stands there, and the definitions that hold it."""
        if folder not in self._mentions:
            words: dict[str, dict[tuple, Mention]] = {}
            for path in sorted((self.root / folder).rglob("*.py")) if not self.installed else ():
                file = self._file(path)
                for line, text in enumerate(file.lines, 1):
                    for word in _NAME.findall(text):
                        name = (file.around(line) or "").split(".")[0]
                        words.setdefault(word, {}).setdefault((file.shown, name), Mention(file.shown, name, line))
            self._mentions[folder] = {word: list(mentions.values()) for word, mentions in words.items()}
        return self._mentions[folder]
