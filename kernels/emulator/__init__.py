"""Runs unmodified .cu files on the CPU, thread by thread, and reports data races and stray accesses.

``Module`` compiles a file with g++, ``Kernel`` launches it, ``launching`` chooses thread orders and the checked mode, and ``xp`` is
an array module as strict as CuPy.
"""

from minseg.errors import EmulatorError
from minseg.kernels.emulator import arrays as xp
from minseg.kernels.emulator.build import why_not
from minseg.kernels.emulator.launch import Kernel, Module, launching
from minseg.kernels.emulator.library import ORDERS

__all__ = ["ORDERS", "EmulatorError", "Kernel", "Module", "launching", "why_not", "xp"]
