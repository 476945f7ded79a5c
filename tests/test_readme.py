"""What the README shows works: its Python runs, its files exist, its commands are the program's."""

import re
from pathlib import Path

import pytest

from minseg.testing import gpu_record

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_blocks_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert "conv" in capsys.readouterr().out.lower()  # the last line prints a gradient report


def test_there_are_two_set_up_commands():
    """.ci/run runs exactly these lines."""
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("minseg train")
    assert commands[1].endswith("pytest")


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_to_files(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("path", re.findall(r"^((?:minseg|kernels)/\S*)", README, re.MULTILINE))
def test_the_house_is_as_drawn(path):
    assert (ROOT / path).exists()


def test_commands_exist(capsys):
    from minseg.cli import main

    for command in re.findall(r"^\| `minseg ([\w-]+)", README, re.MULTILINE):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0, command


def test_the_newest_record_of_a_gpu_is_named_or_that_there_is_none():
    newest = gpu_record.latest()
    said = "have never run on real hardware" in README
    assert said == (newest is None)
    assert newest is None or f"({newest.relative_to(ROOT).as_posix()})" in README
