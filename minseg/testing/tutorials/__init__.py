"""What a tutorial's notebook imports; and, in the files beside this one, how notebooks are built and checked.

    from minseg.testing.tutorials import check, erratum, printed, show, steps

``tutorials/README.md`` tells in its last section how a notebook is made.
"""

from minseg.equations.show import show
from minseg.testing.exercises import check
from minseg.testing.tutorials.display import erratum, printed
from minseg.testing.tutorials.mode import fast, steps

__all__ = ["check", "erratum", "fast", "printed", "show", "steps"]
