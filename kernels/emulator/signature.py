"""What a kernel takes: its parameters, read off the types that g++ prints, and whether an argument fits one."""

import re
from dataclasses import dataclass

import numpy as np

from minseg.errors import EmulatorError
from minseg.kernels.emulator.arrays import ndarray

_TYPES = {
    "bool": np.bool_,
    "char": np.int8,
    "signed char": np.int8,
    "unsigned char": np.uint8,
    "short": np.int16,
    "short int": np.int16,
    "short unsigned int": np.uint16,
    "int": np.int32,
    "unsigned int": np.uint32,
    "long int": np.int64,
    "long unsigned int": np.uint64,
    "long long int": np.int64,
    "long long unsigned int": np.uint64,
    "float": np.float32,
    "double": np.float64,
}
"""The types of kernel parameters as g++ writes them."""

_ELEMENTS = {
    "float": "float",
    "double": "double",
    "int": "int",
    "uint": "unsigned int",
    "uchar": "unsigned char",
    "short": "short int",
    "longlong": "long long int",
}
"""Of vectors: a parameter float4* takes an array of floats."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: its name, its NumPy type, and whether it is a pointer (to memory it may only read)."""

    name: str
    dtype: np.dtype
    pointer: bool = False
    read_only: bool = False

    @classmethod
    def parse(cls, name: str, text: str) -> "Parameter":
        """``const float*`` as g++ prints it."""
        pointer = text.endswith("*")
        base = text.removesuffix("*").strip()
        read_only = pointer and base.startswith("const ")
        base = base.removeprefix("const ")
        vector = re.fullmatch(r"([a-z]+)[234]", base)
        base = _ELEMENTS.get(vector[1], base) if vector else base
        if base not in _TYPES:
            raise EmulatorError(f"parameter {name}: the emulator does not know the type {text}")
        return cls(name, np.dtype(_TYPES[base]), pointer, read_only)

    def __str__(self) -> str:
        return f"{'const ' * self.read_only}{self.dtype}{'*' * self.pointer} {self.name}"

    def value(self, argument, kernel: str) -> np.ndarray:
        """What the kernel receives for this argument, in memory: a number, or the address of an array; EmulatorError if unfit."""
        what = f"{kernel}: argument {self.name}"
        return self._address(argument, what) if self.pointer else self._number(argument, what)

    def _number(self, argument, what: str) -> np.ndarray:
        if not isinstance(argument, np.generic):
            raise EmulatorError(
                f"{what}: expected a NumPy scalar of type {self.dtype}, got {type(argument).__name__}; "
                f"pass np.{self.dtype}(...), for a Python number reaches a GPU as 8 bytes"
            )
        if argument.dtype != self.dtype:
            raise EmulatorError(f"{what}: the kernel takes {self.dtype}, got {argument.dtype}")
        return np.array(argument)

    def _address(self, argument, what: str) -> np.ndarray:
        array = memory_of(argument)
        if not isinstance(array, np.ndarray):
            raise EmulatorError(f"{what}: expected an array, got {type(argument).__name__}")
        if array.dtype != self.dtype:
            raise EmulatorError(f"{what}: the kernel takes {self.dtype}*, the array is {array.dtype}")
        if not array.flags.c_contiguous:
            raise EmulatorError(
                f"{what}: the array {array.shape} is not C-contiguous, and a kernel sees only where it begins; "
                "pass xp.ascontiguousarray(array)"
            )
        if not self.read_only and not array.flags.writeable:
            raise EmulatorError(f"{what}: the kernel may write to it, but the array is read-only")
        return np.array(array.ctypes.data, np.uint64)


def memory_of(argument):
    """The memory of an emulator's array; anything else as it is."""
    return argument.memory if isinstance(argument, ndarray) else argument
