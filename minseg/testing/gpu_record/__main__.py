"""``python -m minseg.testing.gpu_record BACKEND SIZE ROUNDS FIRST``: the process that measures, which tells what it finds."""

import sys

from minseg.testing.gpu_record.measuring import tell

tell(*sys.argv[1:])
