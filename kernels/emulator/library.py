"""A compiled module in this process: loading it, launching in it, and the structures that it shares with the C++ side."""

import ctypes
import re
import threading
from functools import cache
from pathlib import Path

from minseg.errors import EmulatorError
from minseg.kernels.emulator import build

ORDERS = ("ascending", "descending", "shuffled", "interleaved")
"""In which order the threads of a block, and the blocks of a grid, take their turns; numbered as in scheduler.cpp."""

_LOCK = threading.Lock()  # the scheduler keeps its state in the library: one launch at a time


class Index3(ctypes.Structure):
    """``Index3`` of runtime.h."""

    _fields_ = [(axis, ctypes.c_uint) for axis in "xyz"]

    def __iter__(self):
        return iter((self.x, self.y, self.z))


class Report(ctypes.Structure):
    """``Report`` of runtime.h."""

    _fields_ = [
        ("kind", ctypes.c_char * 32),
        ("place", ctypes.c_char * 256),
        ("block", Index3),
        ("thread", Index3),
        ("text", ctypes.c_char * 1024),
    ]


class Array(ctypes.Structure):
    """``Array`` of checker.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
        ("element_bytes", ctypes.c_size_t),
        ("read_only", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("argument", ctypes.c_void_p),
        ("written", ctypes.c_void_p),
    ]


class Loaded:
    """A library, loaded: its kernels can be launched."""

    def __init__(self, library: build.Library):
        self.path = library.path
        self.shared = library.shared
        self._code = ctypes.CDLL(str(library.path))
        for name, offset, size in library.shared:
            name = name.split("::")[-1].encode()
            self._code.emulator_add_shared(name, ctypes.c_size_t(offset), ctypes.c_size_t(size))

    def signature(self, kernel: str) -> list[str]:
        """The types of the kernel's parameters, as g++ writes them."""
        ask = getattr(self._code, f"emulator_signature_{kernel}")
        ask.restype = ctypes.c_char_p
        types = re.search(r"\{(.*)\}", ask().decode())[1]  # "... [with T = {const float*, float*, int}]"
        return types.split(", ") if types else []

    def most_threads(self, kernel: str) -> int:
        """What the kernel's ``__launch_bounds__`` says, or 1024."""
        return getattr(self._code, f"emulator_bounds_{kernel}")()

    def launch(
        self, kernel: str, grid, block, values, arrays, shared_mem: int, order: str, seed: int, checked: bool
    ) -> None:
        """Run the kernel. ``values`` are what it receives, in memory; ``arrays`` what it may touch, for the checker."""
        report = Report()
        with _LOCK:
            failed = self._code.emulator_launch(
                getattr(self._code, f"emulator_call_{kernel}"),
                (ctypes.c_void_p * max(1, len(values)))(*(value.ctypes.data for value in values)),
                (ctypes.c_uint * 3)(*grid),
                (ctypes.c_uint * 3)(*block),
                ctypes.c_size_t(shared_mem),
                ORDERS.index(order),
                ctypes.c_uint(seed),
                int(checked),
                len(arrays),
                (Array * max(1, len(arrays)))(*arrays),
                ctypes.byref(report),
            )
        if failed:
            raise self._error(kernel, report)

    def _error(self, kernel: str, report: Report) -> EmulatorError:
        kind = report.kind.decode()
        place, text = self._lines(report.place.decode()), self._lines(report.text.decode())
        block, thread = tuple(report.block), tuple(report.thread)
        error = EmulatorError(f"{place}: {kind} in kernel {kernel}, block {block}, thread {thread}: {text}")
        error.kind, error.kernel, error.place, error.block, error.thread = kind, kernel, place, block, thread
        return error

    def _lines(self, text: str) -> str:
        """Addresses ``@1a2f@`` of the machine code as file:line of the source."""

        def line(match):
            # the address is where the call returns to; one byte earlier is still the call
            address = hex(int(match[1], 16) - 1)
            found = build.run(["addr2line", "-e", str(self.path), address], self.path.name).split()[0]
            return Path(found).name

        return re.sub(r"@([0-9a-f]+)@", line, text)


@cache
def load(library: build.Library) -> Loaded:
    """The library, loaded once in this process however many Modules it serves."""
    return Loaded(library)
