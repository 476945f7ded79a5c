"""Weights files: bit for bit there and back, and one clear line for whatever is wrong with a file."""

import json
import pickle

import numpy as np
import pytest

from minseg import nn, use_backend
from minseg.errors import ArgumentError, FileError
from minseg.testing.faults import full_disk
from minseg.weights import load_metadata, load_weights, save_weights


@pytest.fixture(autouse=True)
def on_numpy():
    with use_backend("numpy"):
        yield


def same_bits(one, other):
    return set(one) == set(other) and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


def test_a_module_goes_through_a_file_bit_for_bit(tmp_path):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 2).to(dtype=np.float64))
    save_weights(model, tmp_path / "model.safetensors", {"classes": "cell, ground", "größe": "3"})
    state = load_weights(tmp_path / "model.safetensors")
    assert same_bits(state, model.state_dict())
    assert load_metadata(tmp_path / "model.safetensors") == {"classes": "cell, ground", "größe": "3"}
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_arrays_of_every_kind(tmp_path):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((4, 6))
    arrays = {
        "nan with a payload": np.array([0x7FC00001, 0x80000000, 1], np.uint32).view(np.float32),
        "scalar": np.array(3, np.int64),
        "a number": np.float32(0.1),
        "empty": np.zeros((0, 3), np.float32),
        "transposed": matrix.T,
        "strided": matrix[::2, ::-3],
        "booleans": np.array([True, False]),
        "half": np.array([1.5], np.float16),
        "bytes": np.arange(5, dtype=np.uint8),
    }
    save_weights(arrays, tmp_path / "a.safetensors")
    loaded = load_weights(tmp_path / "a.safetensors")
    assert same_bits(arrays, loaded)
    assert load_metadata(tmp_path / "a.safetensors") == {}
    assert all(array.flags.writeable and array.flags.c_contiguous for array in loaded.values())
    save_weights({"big": np.arange(3, dtype=">f4")}, tmp_path / "a.safetensors")
    assert load_weights(tmp_path / "a.safetensors")["big"].tolist() == [0, 1, 2]
    save_weights({}, tmp_path / "a.safetensors")
    assert load_weights(tmp_path / "a.safetensors") == {}


@pytest.mark.parametrize(
    ("state", "metadata", "message"),
    [
        ({"a": [1.0]}, None, "expected named arrays, got list under 'a'"),
        ({1: np.ones(1)}, None, "expected named arrays, got ndarray under 1"),
        ({"__metadata__": np.ones(1)}, None, "under '__metadata__'"),
        ({"a": np.array(["x"])}, None, "a is <U1; only numbers"),
        ({"a": np.array([None])}, None, "a is object; only numbers"),
        ({"a": np.ones(1, complex)}, None, "a is complex128; only numbers"),
        ({"a": np.ones(1)}, {"step": 3}, "metadata must map text to text"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_leaves_no_file(tmp_path, state, metadata, message):
    with pytest.raises(ArgumentError, match=message):
        save_weights(state, tmp_path / "a.safetensors", metadata)
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------------------- damaged files


class Trap:
    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


def safetensors_bytes(header, data=b""):
    header = json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + data


FOREIGN = {
    "empty": b"",
    "zeros": bytes(64),
    "text": b"These are no weights, but a text that is long enough.",
    "pickle": pickle.dumps(Trap()),
    "numpy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }",
    "image": b"\x89PNG\r\n\x1a\n" + bytes(range(200)),
    "bfloat16": safetensors_bytes({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}, bytes(2)),
    "offsets beyond the end": safetensors_bytes({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}),
    "shape that does not fit": safetensors_bytes(
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "huge header": (2**60).to_bytes(8, "little") + b"{}",
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("load", [load_weights, load_metadata])
def test_foreign_files_are_one_clear_line(tmp_path, name, load):
    path = tmp_path / "a.safetensors"
    path.write_bytes(FOREIGN[name])
    with pytest.raises(
        FileError, match=r"a\.safetensors.*(not a complete safetensors file|which NumPy lacks)"
    ) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_file_cut_anywhere_is_found(tmp_path):
    path = tmp_path / "a.safetensors"
    save_weights({"a": np.arange(3.0), "b": np.arange(2)}, path, {"x": "y"})
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(FileError, match="not a complete safetensors file"):
            load_weights(path)
    path.write_bytes(data + b"x")
    with pytest.raises(FileError, match="not a complete safetensors file"):
        load_weights(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileError, match=r"cannot read .*none\.safetensors: No such file"):
        load_weights(tmp_path / "none.safetensors")
    with pytest.raises(FileError, match="cannot read"):
        load_weights(tmp_path)


def test_a_full_disk_leaves_the_former_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.safetensors"
    save_weights({"a": np.zeros(2)}, path)
    with full_disk(), pytest.raises(FileError, match=r"cannot write .*a\.safetensors: No space left"):
        save_weights({"a": np.ones(2)}, path)
    assert load_weights(path)["a"].tolist() == [0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.peer
def test_files_move_to_pytorch_and_back(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    state = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).state_dict()
    save_weights(state, tmp_path / "ours.safetensors")
    theirs = load_file(tmp_path / "ours.safetensors")
    torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).load_state_dict(theirs)
    save_file(theirs, tmp_path / "theirs.safetensors")
    assert same_bits(state, load_weights(tmp_path / "theirs.safetensors"))
