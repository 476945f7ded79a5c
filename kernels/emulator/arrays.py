"""The array module of the emulator: NumPy's arithmetic behind CuPy's strictness.

A kernel on a GPU cannot read an array of the host, so CuPy refuses to mix the two or to convert silently. This module refuses the
same: code that runs on it keeps host and device apart, and that is found out without a GPU. Only names that CuPy has are here.
"""

import sys

import numpy as np

NO_CONVERSION = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
)


def _names(text: str) -> list[str]:
    return text.split()


_METHODS = _names(
    """
    all any argmax argmin argpartition argsort astype clip compress conj copy cumprod cumsum diagonal dot flatten max mean min
    nonzero prod ptp ravel repeat reshape round searchsorted squeeze std sum swapaxes take trace transpose var view
    """
)

_UFUNCS = _names(
    """
    abs absolute add arccos arcsin arctan arctan2 bitwise_and bitwise_or bitwise_xor cbrt ceil copysign cos cosh divide divmod equal
    exp exp2 expm1 fabs floor floor_divide fmax fmin fmod greater greater_equal hypot invert isfinite isinf isnan left_shift less
    less_equal log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor matmul maximum minimum mod multiply
    negative not_equal positive power reciprocal remainder right_shift rint sign signbit sin sinh sqrt square subtract tan tanh
    true_divide trunc
    """
)

_FUNCTIONS = _names(
    """
    all allclose amax amin any arange argmax argmin argsort argwhere around array_equal atleast_1d atleast_2d atleast_3d average
    bincount broadcast_arrays broadcast_to clip concatenate copy count_nonzero cross cumprod cumsum diag diff digitize dot
    einsum expand_dims eye flip fliplr flipud flatnonzero full full_like histogram hstack identity indices inner isclose isscalar
    kron linspace max mean median meshgrid min moveaxis nan_to_num nanmax nanmean nanmin nansum ndim nonzero ones ones_like outer
    pad percentile prod ptp quantile ravel repeat reshape roll rollaxis rot90 searchsorted shape size sort split squeeze stack std
    sum swapaxes take take_along_axis tensordot tile trace transpose tril triu unique unravel_index var vdot vstack where zeros
    zeros_like
    """
)

_CONSTANTS = _names(
    """
    bool_ complex64 complex128 dtype e float16 float32 float64 finfo iinfo inf int8 int16 int32 int64 intp nan newaxis pi
    result_type uint8 uint16 uint32 uint64
    """
)


class ndarray:
    """An array "on the device". What CuPy's arrays refuse (see above), these refuse too.

    >>> x = asarray(np.arange(3.0))
    >>> (2 * x + 1).sum().item()
    9.0
    >>> np.asarray(x)
    Traceback (most recent call last):
    TypeError: Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly.
    """

    __slots__ = ("__weakref__", "memory")
    __hash__ = None
    __array_priority__ = 100

    def __init__(self, memory: np.ndarray):
        self.memory = memory
        """Where the elements are: for the emulator's launches only."""

    shape = property(lambda self: self.memory.shape)
    dtype = property(lambda self: self.memory.dtype)
    ndim = property(lambda self: self.memory.ndim)
    size = property(lambda self: self.memory.size)
    itemsize = property(lambda self: self.memory.itemsize)
    nbytes = property(lambda self: self.memory.nbytes)
    strides = property(lambda self: self.memory.strides)
    flags = property(lambda self: self.memory.flags)
    T = property(lambda self: ndarray(self.memory.T))

    # ------------------------------------------------------------------------------------------------ to the host and back

    def get(self) -> np.ndarray:
        """A copy on the host."""
        return self.memory.copy(order="C")

    def set(self, array: np.ndarray) -> None:
        """Copy an array of the host, of the same shape and dtype, into this one."""
        if array.shape != self.shape or array.dtype != self.dtype:
            raise ValueError(f"set: expected {self.shape} {self.dtype}, got {array.shape} {array.dtype}")
        all_written(self.memory)
        self.memory[...] = array

    def item(self, *index):
        """The only element, or the one at the index, as a Python number."""
        return self.memory.item(*index)

    def tolist(self) -> list:
        """The elements as nested lists."""
        return self.memory.tolist()

    def tobytes(self) -> bytes:
        """The elements in C order."""
        return self.memory.tobytes()

    def fill(self, value) -> None:
        """Set every element to the number."""
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        all_written(self.memory)
        self.memory.fill(_unwrapped(value))

    def sort(self, axis: int = -1) -> None:
        """Sort in place."""
        all_written(self.memory)
        self.memory.sort(axis)

    def __array__(self, dtype=None, copy=None):
        raise TypeError(NO_CONVERSION)

    def __bool__(self) -> bool:
        return bool(self.memory)

    def __int__(self) -> int:
        return int(self.memory)

    def __float__(self) -> float:
        return float(self.memory)

    def __index__(self) -> int:
        return self.memory.__index__()

    def __repr__(self) -> str:
        return repr(self.memory)

    def __str__(self) -> str:
        return str(self.memory)

    def __format__(self, form: str) -> str:
        return format(self.memory.item() if self.ndim == 0 else self.memory, form)

    # ---------------------------------------------------------------------------------------------------------------- parts

    def __len__(self) -> int:
        return len(self.memory)

    def __iter__(self):
        return (self[i] for i in range(len(self.memory)))

    def __getitem__(self, index) -> "ndarray":
        return ndarray(self.memory[_index(index)])

    def __setitem__(self, index, value) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        all_written(self.memory)
        self.memory[_index(index)] = _unwrapped(value)

    # --------------------------------------------------------------------------------------------- NumPy's functions on them

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        """``np.exp(x)``; but not ``np.add.reduce(x)``."""
        if method != "__call__" or ufunc.__name__ not in _NAMES:
            return NotImplemented
        if "out" in options:
            (options["out"],) = options["out"]
        return _call(ufunc, inputs, options)

    def __array_function__(self, function, types, args, options):
        """``np.concatenate([x, y])``."""
        here = getattr(sys.modules[__name__], function.__name__, None)
        if function.__module__ != "numpy" or here is None:
            return NotImplemented
        return here(*args, **options)


def _index(index) -> tuple:
    """The index for NumPy; its end ``...`` keeps a single element an array, and a view, as it is in CuPy."""
    parts = tuple(_unwrapped_index(part) for part in (index if isinstance(index, tuple) else (index,)))
    return parts if any(part is Ellipsis for part in parts) else (*parts, Ellipsis)


def _unwrapped_index(part):
    return part.memory if isinstance(part, ndarray) else part  # CuPy takes indices from the host as well


# -------------------------------------------------------------------------------------------------------- wrapping and unwrapping


def _unwrapped(value):
    """The value for NumPy: arrays of the device as they are inside, also in lists; arrays of the host are refused."""
    if isinstance(value, ndarray):
        return value.memory
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {np.ndarray}")  # CuPy's words
    if isinstance(value, list | tuple):
        return type(value)(_unwrapped(item) for item in value)
    return value


def _wrapped(value):
    """NumPy's result for the device: arrays and also numbers, which CuPy leaves on the device as 0-d arrays."""
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(np.asarray(value))
    if isinstance(value, list | tuple):
        return type(value)(_wrapped(item) for item in value)
    return value


def _call(function, args, options):
    out = options.get("out")
    if out is not None:
        all_written(out.memory)
    inside = {name: _unwrapped(value) for name, value in options.items()}
    result = function(*(_unwrapped(value) for value in args), **inside)
    return out if out is not None else _wrapped(result)


class _Ufunc:
    """One of CuPy's universal functions: called on arrays, or ``at`` indices."""

    def __init__(self, name: str):
        self.__name__ = name
        self._function = getattr(np, name)

    def __call__(self, *args, **options):
        return _call(self._function, args, options)

    def at(self, array: ndarray, index, values) -> None:
        """``array[index] op= values``, once for every time that an index occurs."""
        all_written(array.memory)
        index = tuple(map(_unwrapped_index, index)) if isinstance(index, tuple) else _unwrapped_index(index)
        self._function.at(array.memory, index, _unwrapped(values))

    def __repr__(self) -> str:
        return f"<ufunc {self.__name__} of the emulator>"


def _function(name: str):
    function = getattr(np, name)

    def on_device(*args, **options):
        return _call(function, args, options)

    on_device.__name__, on_device.__doc__ = name, f"NumPy's ``{name}``, on the device."
    return on_device


def _method(name: str):
    def method(self, *args, **options):
        return _call(getattr(self.memory, name), args, options)

    method.__name__, method.__doc__ = name, f"NumPy's ``ndarray.{name}``, on the device."
    return method


def _operator(ufunc, swapped: bool = False):
    def operate(self, other):
        if getattr(other, "__array_ufunc__", ()) is None:  # a Tensor: it knows better
            return NotImplemented
        return _call(ufunc, (other, self) if swapped else (self, other), {})

    return operate


def _in_place(ufunc):
    def operate(self, other):
        return _call(ufunc, (self, other), {"out": self})

    return operate


for _name in _METHODS:
    setattr(ndarray, _name, _method(_name) if hasattr(np.ndarray, _name) else _function(_name))
for _name, _ufunc in {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
    "matmul": np.matmul,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
}.items():
    setattr(ndarray, f"__{_name}__", _operator(_ufunc))
    setattr(ndarray, f"__r{_name}__", _operator(_ufunc, swapped=True))
    setattr(ndarray, f"__i{_name}__", _in_place(_ufunc))
for _name, _ufunc in {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}.items():
    setattr(ndarray, f"__{_name}__", _operator(_ufunc))
for _name, _ufunc in {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}.items():
    setattr(ndarray, f"__{_name}__", lambda self, ufunc=_ufunc: _wrapped(ufunc(self.memory)))


# ------------------------------------------------------------------------------------------------------- the module's functions


def array(a, dtype=None, copy: bool = True, order: str = "K") -> ndarray:
    """A new array on the device from an array, of the host or the device, a number or a list."""
    return ndarray(np.array(_from_anywhere(a), dtype, order=order))


def asarray(a, dtype=None, order: str | None = None) -> ndarray:
    """The array itself if it is on the device and of this dtype and order, else a new one."""
    if isinstance(a, ndarray):
        memory = np.asarray(a.memory, dtype, order=order)
        return a if memory is a.memory else ndarray(memory)
    return ndarray(np.array(_from_anywhere(a), dtype, order=order or "K"))


def ascontiguousarray(a, dtype=None) -> ndarray:
    """As ``asarray`` in C order."""
    return asarray(a, dtype, order="C")


def asnumpy(a) -> np.ndarray:
    """A copy on the host."""
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def _from_anywhere(a):
    if isinstance(a, ndarray):
        return a.memory
    if isinstance(a, list | tuple):
        return [_from_anywhere(item) for item in a]
    return a


def empty(shape, dtype=float, order: str = "C") -> ndarray:
    """An array that nothing was written to: NaN, and for integers the smallest value, as a GPU would give whatever was there."""
    buffer = _Buffer(shape, dtype, order=order)
    buffer.fill(_poison(buffer.dtype))
    buffer.written = np.zeros(buffer.size, np.uint8) if order == "C" else None
    return ndarray(buffer.view(np.ndarray))


def _poison(dtype: np.dtype):
    if dtype.kind == "f":
        return np.nan
    return (
        True if dtype.kind == "b" else np.iinfo(dtype).min or np.iinfo(dtype).max
    )  # of unsigned integers, the largest


class _Buffer(np.ndarray):
    """Memory from ``empty()``: the base of the arrays that show it, and of their views."""

    written: np.ndarray | None = None
    """A flag for each element that a kernel has written; None once that is known, or taken, to be all."""


def _buffer_of(memory: np.ndarray) -> _Buffer | None:
    """The buffer that the array is a view of, or a view of a view of; None if that is fully written or no buffer."""
    while memory is not None and not isinstance(memory, _Buffer):
        memory = memory.base if isinstance(memory, np.ndarray) else None
    return memory if memory is not None and memory.written is not None else None


def all_written(memory: np.ndarray) -> None:
    """Note that the array, or a part of it, was written by other means than a checked launch."""
    buffer = _buffer_of(memory)
    if buffer is not None:
        buffer.written = None


def written_flags(memory: np.ndarray) -> int | None:
    """The address of the flag for the array's first element, if it is not known that all of it was written."""
    buffer = _buffer_of(memory)
    if buffer is None or buffer.dtype != memory.dtype:
        return None
    return buffer.written.ctypes.data + (memory.ctypes.data - buffer.ctypes.data) // memory.itemsize


def empty_like(a: ndarray, dtype=None, order: str = "C", shape=None) -> ndarray:
    """``empty`` of the same shape and dtype."""
    return empty(a.shape if shape is None else shape, dtype or a.dtype, order)


def get_array_module(*args):
    """This module if an argument is on the device, else NumPy."""
    return sys.modules[__name__] if any(isinstance(a, ndarray) for a in args) else np


_NAMES = {*_UFUNCS, *_FUNCTIONS}


def __getattr__(name: str):
    if name in _UFUNCS:
        found = _Ufunc(name)
    elif name in _FUNCTIONS:
        found = _function(name)
    elif name in _CONSTANTS:
        found = getattr(np, name)
    else:
        raise AttributeError(
            f"the emulator's array module has no {name!r}; if CuPy has it, name it in kernels/emulator/arrays.py"
        )
    globals()[name] = found
    return found
