"""Files are written whole or not at all."""

import json
import os

import numpy as np
import pytest

from minseg.errors import FileError
from minseg.files import read_json, replacing, write_bytes, write_json
from minseg.testing.faults import full_disk


def test_json_comes_back_and_nan_is_null(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(
        path,
        {"n": np.float32(0.5), "nan": float("nan"), "array": np.arange(3), "pair": (1, 2), "path": path, "ü": None},
    )
    assert read_json(path) == {"n": 0.5, "nan": None, "array": [0, 1, 2], "pair": [1, 2], "path": str(path), "ü": None}
    json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_an_interruption_while_writing_leaves_the_former_file(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"before")

    def interrupted():
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_file_is_replaced_at_once_and_not_written_over(tmp_path):
    path, other_name = tmp_path / "a.bin", tmp_path / "b.bin"
    write_bytes(path, b"before")
    os.link(path, other_name)  # stands for a reader that has the file open
    write_bytes(path, b"after")
    assert other_name.read_bytes() == b"before"


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path):
    with full_disk(), pytest.raises(FileError, match=r"cannot write .*a\.json: No space left on device"):
        write_json(tmp_path / "a.json", [1])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_file_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="cannot write"):
        write_bytes(tmp_path / "file" / "a.bin", b"x")


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot read"), (b"{", "not a JSON file"), (b"\xff\xfe{", "not a JSON file")]
)
def test_unreadable_json_is_a_file_error(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(FileError, match=message):
        read_json(tmp_path / "a.json")
