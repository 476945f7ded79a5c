"""Notebooks from their sources: executed in a kernel of their own; two builds on one machine give the same bytes."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from minseg.errors import FileError, Unsupported
from minseg.files import write_bytes
from minseg.testing.tutorials.mode import fast
from minseg.testing.tutorials.notebook import FOLDER, ROOT, Cell, joined, output_texts, read_source

LIMIT_SECONDS = 180
"""No notebook may run longer."""
LIMIT_BYTES = 500_000
FULL_ONLY = "full"
"""The tag of cells that fast mode leaves out: claims that hold only after a whole training."""

ENVIRONMENT = {
    "TQDM_DISABLE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONWARNINGS": "default",
    "MPLBACKEND": "agg",
    "COLUMNS": "100",
}


@dataclass(frozen=True)
class Built:
    """An executed notebook."""

    source: Path
    notebook: dict
    seconds: float

    def text(self) -> str:
        """As it is committed."""
        import nbformat

        return nbformat.writes(self.notebook, version=4) + "\n"

    def write(self) -> Path:
        target = self.source.with_suffix(".ipynb")
        write_bytes(target, self.text().encode())
        return target


def build(source: Path) -> Built:
    """Execute a source in a fresh kernel.

    Raises
    ------
    Unsupported
        If nbclient or a kernel is missing.
    FileError
        If a cell raises, warns, or takes too long; the message shows the cell and what it said.
    """
    try:
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, CellTimeoutError
    except ImportError as error:
        raise Unsupported(f"notebooks need the extra 'tutorials': pip install 'minseg[tutorials]' ({error})") from None
    notebook, started = assemble(read_source(source)), time.monotonic()
    if fast():
        notebook.cells = [cell for cell in notebook.cells if FULL_ONLY not in cell.metadata.get("tags", [])]

    def seconds_left(cell) -> int:
        return max(1, int(LIMIT_SECONDS - (time.monotonic() - started)))

    client = NotebookClient(
        notebook,
        timeout_func=seconds_left,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(FOLDER)}},
    )
    try:
        client.execute(env={**os.environ, **ENVIRONMENT})
    except CellExecutionError as error:
        raise FileError(f"{source.name}: a cell failed\n{_plain(error)}") from None
    except CellTimeoutError:
        raise FileError(f"{source.name}: took longer than {LIMIT_SECONDS} seconds") from None
    seconds = time.monotonic() - started
    _tidy(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            expect_clean(output, f"{source.name}, cell {cell.id}")
    return Built(source, notebook, seconds)


def assemble(cells: list[Cell]):
    """A notebook that has not run: the cells numbered, and nothing that differs from machine to machine."""
    from nbformat import v4

    made = []
    for number, cell in enumerate(cells):
        make = v4.new_markdown_cell if cell.markdown else v4.new_code_cell
        made.append(make(cell.text, id=f"c{number:03}", metadata={"tags": list(cell.tags)} if cell.tags else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return v4.new_notebook(cells=made, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def expect_clean(output: dict, where: str) -> None:
    """FileError for an output that a reader should not meet: a warning, a traceback, a path of this machine."""
    if output["output_type"] == "error":
        raise FileError(f"{where}: a traceback: {output['ename']}")
    if output.get("name") == "stderr":
        raise FileError(f"{where}: a warning or progress on stderr: {joined(output['text'])[:300]}")
    for text in output_texts(output):
        if str(ROOT) in text or re.search(r"(?<![\w.])/(?:home|work|tmp|Users)/", text):
            raise FileError(f"{where}: a path of this machine in {text[:200]!r}")
        if re.search(r"\bat 0x[0-9a-f]{6,}", text):
            raise FileError(f"{where}: an address in memory in {text[:200]!r}")


def _tidy(notebook) -> None:
    """Join what arrived in pieces, and drop what tells of this run only."""
    for key in set(notebook.metadata) - {"kernelspec", "language_info"}:
        del notebook.metadata[key]
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _joined_streams(cell.outputs)


def _joined_streams(outputs: list) -> list:
    joined: list = []
    for output in outputs:
        if output.output_type == "stream" and joined and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _plain(error: Exception) -> str:
    """Without the colours of a terminal."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error))
