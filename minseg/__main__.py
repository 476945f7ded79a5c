"""``python -m minseg`` is ``minseg``."""

import sys

from minseg.cli import main

sys.exit(main())
