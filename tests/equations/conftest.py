"""The pages, written once for all tests that read them."""

import pytest


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the pages, or a skip where the libraries that write them are missing."""
    pytest.importorskip("latex2mathml", reason="the pages need latex2mathml: pip install 'minseg[pages]'")
    pytest.importorskip("pygments", reason="the pages need Pygments: pip install 'minseg[pages]'")
    from minseg.equations.pages import render

    folder = tmp_path_factory.mktemp("site")
    for name, text in render().items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
