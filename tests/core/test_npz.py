"""Arrays and a document come back as they were written; any other file is refused and runs no code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_core.npz import reading_npz, write_npz

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
            assert arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(arrays[name], array, strict=True)


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


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
