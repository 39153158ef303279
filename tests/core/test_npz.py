"""Arrays and a document come back as they were written; any other file is refused and runs no code."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_core.npz import read_arrays, reading_npz, save_arrays, write_npz
from tests.bomb import Bomb

DOCUMENT = {"format": "shapes/1", "names": ["a", "ü"], "size": 3}
ARRAYS: dict[str, Any] = {
    "a": np.arange(6.0).reshape(2, 3),
    "ü": np.array([1, 2]),
    "none": np.zeros((0, 4), np.float32),
}


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("key", ["about", "index"])
def test_what_is_written_is_read(compress: bool, key: str, tmp_path: Path) -> None:
    write_npz(tmp_path / "new" / "shapes.npz", DOCUMENT, ARRAYS, key=key, compress=compress)
    with reading_npz(tmp_path / "new" / "shapes.npz", "shapes", "", key=key, format="shapes/1") as (document, arrays):
        assert document == DOCUMENT
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], array, strict=True)


def test_each_array_is_read_once(tmp_path: Path) -> None:
    """A document may name one of many megabytes a million times."""
    write_npz(tmp_path / "x.npz", DOCUMENT, ARRAYS)
    with pytest.raises(InputError, match="'a' is used twice"), reading_npz(tmp_path / "x.npz", "no", "") as (_, arrays):
        assert "a" in arrays and "b" not in arrays
        assert arrays.get("b") is None
        for _ in range(2):
            arrays["a"]


def test_arrays_have_any_name(tmp_path: Path) -> None:
    """Also those that `numpy.savez` takes for itself."""
    arrays = {**ARRAYS, "file": np.ones(2), "allow_pickle": np.zeros(1)}
    with (tmp_path / "x.npz").open("wb") as file:
        save_arrays(file, arrays)
    for read in (read_arrays(tmp_path / "x.npz", ""), np.load(tmp_path / "x.npz")):
        assert {*read} == {*arrays}
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array, strict=True)


def refused(path: Path, words: str, format: str | None = None) -> None:
    with (
        pytest.raises(InputError, match=rf"^these are no shapes: .*{words}") as caught,
        reading_npz(path, "these are no shapes", "Draw them again.", format=format) as (_, arrays),
    ):
        arrays["a"]
    assert caught.value.fix == "Draw them again."


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "shapes.npz"
    refused(path, "No such file")
    path.write_bytes(b"no archive")
    refused(path, "")
    write_npz(path, DOCUMENT, {})
    refused(path, "a is not a file in the archive")
    refused(path, "its format is 'shapes/1'", format="shapes/2")
    write_npz(path, DOCUMENT, ARRAYS, key="other")
    refused(path, "about is not a file in the archive")
    np.savez(path, about=np.array("{"), a=np.zeros(1))
    refused(path, "Expecting property name")


def test_a_pickle_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "shapes.npz"
    np.savez(path, about=np.array("{}"), a=np.array([Bomb(tmp_path / "marker")], dtype=object))
    refused(path, "Object arrays cannot be loaded")
    assert not (tmp_path / "marker").exists()


def test_arrays_that_would_not_be_read_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for array in (np.array([None]), np.zeros(3, [("x", "<f8")]), np.zeros(2, "M8[s]")):
        with pytest.raises(InputError, match=r"'a' of .* is neither numbers nor text"):
            write_npz(tmp_path / "a.npz", {}, {"a": array})
    monkeypatch.setattr(bounds, "UNPACKED", (64 << 20) + 1000)
    write_npz(tmp_path / "b.npz", {}, {"a": np.zeros(125)})
    with pytest.raises(InputError, match=r"take 1\.01 kB, more than would be read"):
        write_npz(tmp_path / "a.npz", {}, {"a": np.zeros(126)})
    assert [path.name for path in tmp_path.iterdir()] == ["b.npz"]


# arrays of users


@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.ones((2, 3), np.int8)), np.array(3)]
)
def test_one_array_is_read_whatever_the_file_is_called(array: Any, tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        np.save(file, array)
    (name, read), *more = read_arrays(tmp_path / "x", "Fix.").items()
    assert (name, more) == ("", [])
    np.testing.assert_array_equal(read, array, strict=True)


def test_several_arrays_have_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **ARRAYS)
    assert {name: array.tolist() for name, array in read_arrays(tmp_path / "x.npz", "").items()} == {
        name: array.tolist() for name, array in ARRAYS.items()
    }


def test_what_is_no_array_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    np.save(tmp_path / "pickle.npy", np.array([Bomb(marker)], object), allow_pickle=True)
    np.savez(tmp_path / "odd.npz", **{"a\x1b[31m": np.ones(2)})
    np.savez(tmp_path / "none.npz")
    (tmp_path / "text.npy").write_text("not an array", encoding="utf-8")
    np.save(tmp_path / "long.npy", np.ones(100))
    (tmp_path / "long.npy").write_bytes((tmp_path / "long.npy").read_bytes()[:-1])
    for name, says in {
        "pickle.npy": "Object arrays", "odd.npz": "cannot be shown", "none.npz": "holds no array", "text.npy": "zip",
        "long.npy": "says that it has shape", "not there": "does not exist", "": "is not a file",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=says) as refused:
            read_arrays(tmp_path / name, "Save it again.")
        assert refused.value.fix == "Save it again."
    assert not marker.exists()


def test_sizes_count_before_anything_is_read(tmp_path: Path) -> None:
    with (tmp_path / "claims.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    np.save(tmp_path / "large.npy", np.ones(100))
    with pytest.raises(InputError, match=r"\(1099511627776,\), and holds 0 bytes"):
        read_arrays(tmp_path / "claims.npy", "")
    with pytest.raises(InputError, match="928 bytes long, more than 900 bytes"):
        read_arrays(tmp_path / "large.npy", "", most=900)


@given(st.binary(max_size=60), st.integers(0, 300), st.booleans())
def test_any_bytes_are_arrays_or_an_input_error(noise: bytes, where: int, cut: bool) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.ones((3, 4)))
    right = buffer.getvalue()
    content = right[:where] if cut else right[:where] + noise + right[where + len(noise) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        path.write_bytes(content)
        try:
            assert read_arrays(path, "Fix.")
        except InputError as error:
            assert error.fix
