"""The family of exceptions that minseg raises: one line that says what was expected, what came, and the remedy.

Each is also the built-in class that a caller would expect, so ``except ValueError`` works without knowing minseg.
"""


class MinsegError(Exception):
    """Any error that minseg raises on purpose."""


class ShapeError(MinsegError, ValueError):
    """Shapes that do not fit together, or an output that would be empty."""


class ArgumentError(MinsegError, ValueError):
    """An argument outside its range, or a name that is not known (the message lists the known ones)."""


class DtypeError(MinsegError, TypeError):
    """Mixed dtypes, or a dtype that an operation does not take. minseg never casts silently."""


class BackendError(MinsegError, RuntimeError):
    """A backend that cannot run here, or arrays of another backend."""


class Unsupported(MinsegError, RuntimeError):
    """A backend has no kernel for this primitive, or a variant does not cover this case."""


class EmulatorError(MinsegError, RuntimeError):
    """A CUDA kernel that does not compile on the CPU, is launched wrongly, or does what a kernel must not do.

    For what a launch found, ``kind``, ``kernel``, ``place``, ``block`` and ``thread`` say the same as the message.
    """

    kind = kernel = place = block = thread = None


class GraphError(MinsegError, RuntimeError):
    """backward() on something that has no graph, or whose graph was freed."""


class GradcheckError(MinsegError, AssertionError):
    """A gradient differs from central differences."""


class EquationError(MinsegError, ValueError):
    """A formula that cannot be read or evaluated; the message points at the place."""


class DataError(MinsegError, ValueError):
    """Images, masks or folders that cannot be used."""


class FileError(MinsegError, ValueError):
    """A weights, checkpoint or configuration file that is missing, truncated, foreign or of another configuration."""


class NonFiniteError(MinsegError, RuntimeError):
    """A loss or an output became NaN or infinite."""


def nearest_names(name: str, known) -> str:
    """The known names as text, the closest match first: for errors about unknown names."""
    from difflib import get_close_matches

    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(known)}"
