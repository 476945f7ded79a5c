"""What a start costs: which modules ``import minseg`` and the light commands load, and which they leave for later."""

import os
import subprocess
import sys

import pytest

from minseg.kernels.cpu import jit

HEAVY = ("numba", "llvmlite", "matplotlib", "PIL", "tqdm", "safetensors", "torch")


def loaded_by(code: str) -> set[str]:
    """The heavy packages that a fresh Python has loaded after this code."""
    question = f"import sys; {code}; print(*(name for name in {HEAVY} if name in sys.modules))"
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)
    return set(answer.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import minseg",
        "import minseg.cli; minseg.cli.parser()",
        "import minseg; minseg.tensor([1.0, 2.0])",
        "import minseg.models; minseg.models.build('unet', 1, 2, widths=(2, 4))",
    ],
)
def test_a_start_loads_nothing_heavy(code):
    assert loaded_by(code) == set()


def test_the_reference_kernels_run_without_numba():
    code = "import minseg; minseg.use_backend('numpy'); minseg.ops.relu(minseg.tensor([1.0]))"
    assert "numba" not in loaded_by(code)
    assert "numba" in loaded_by(code.replace("'numpy'", "'numba'"))  # the question can be answered otherwise


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [({}, jit.SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "30000000000")],
)
def test_threads_that_wait_spin_for_a_short_time_unless_the_user_chose(chosen, expected):
    """As OpenMP itself says; and nothing stays in the environment, for another library's OpenMP or another process to read."""
    ours = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    env |= chosen | {"OMP_DISPLAY_ENV": "verbose"}
    code = "import os; from minseg.kernels.cpu import jit; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run([sys.executable, "-c", code], env=env, text=True, capture_output=True, check=True)
    assert f"GOMP_SPINCOUNT = '{expected}'" in done.stderr
    assert done.stdout.strip() == str(chosen.get("GOMP_SPINCOUNT"))
