"""Checks that take long or need more than Python run on demand: ``--slow`` for their full forms, ``--browser`` for the pages.

Those marked ``gpu`` are skipped where no GPU answers, unless MINSEG_REQUIRE_CUDA=1 says that one must: then they fail.
"""

import os

import pytest

from minseg.kernels import emulator

ON_DEMAND = {
    "slow": "also run the full forms of checks that have a fast one",
    "browser": "also open the pages in headless Chromium",
}


def pytest_addoption(parser):
    for name, text in ON_DEMAND.items():
        parser.addoption(f"--{name}", action="store_true", help=text)


def pytest_collection_modifyitems(config, items):
    left_out = [name for name in ON_DEMAND if not config.getoption(f"--{name}")]
    deselected = [item for item in items if any(item.get_closest_marker(name) for name in left_out)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        from minseg import available_backends

        reason = available_backends()["cupy"]
        if reason is not None:
            (pytest.fail if os.environ.get("MINSEG_REQUIRE_CUDA") == "1" else pytest.skip)(reason)


@pytest.fixture(params=["emulator", pytest.param("cupy", marks=pytest.mark.gpu)])
def device(request) -> str:
    """The backend of each device: the emulator, and a GPU."""
    if request.param == "emulator" and (reason := emulator.why_not()):
        pytest.skip(reason)
    return request.param
