"""One folder for all that can be made again, with limits; nothing else in it is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drnn_core.cache import KINDS, cache_folder, cache_root, clear, entries, limit, shrink, touch
from drnn_core.errors import InputError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DRNN_CACHE_MIB", raising=False)
    return tmp_path / "cache"


def fill(kind: str, name: str, size: int, age: int) -> Path:
    path = cache_folder(kind) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (age, age))
    os.utime(path.parent, (age, age))
    return path


def test_every_kind_is_below_the_environments_folder_or_the_users(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {cache_folder(kind) for kind in KINDS} == {root / kind for kind in KINDS}
    monkeypatch.delenv("DRNN_CACHE")
    assert cache_root().name == "drnn-deploy"


def test_a_home_folder_is_written_as_people_write_it_and_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("DRNN_CACHE", "~/here")
    assert cache_root() == tmp_path / "here"

    def nobody(*_: object) -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("DRNN_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_path", nobody)
    with pytest.raises(InputError, match="no home folder\nName a folder to use: export DRNN_CACHE=FOLDER"):
        cache_root()


def test_files_of_one_digest_are_an_entry_and_others_are_not_ours(root: Path) -> None:
    fill("engines", f"{'a' * 64}.engine", 100, 5)
    fill("engines", f"{'a' * 64}.engine.json", 10, 7)
    fill("engines", f".{'b' * 64}.engine.0123.engine", 1, 9)
    fill("engines", f"{'c' * 65}.engine", 1000, 9)
    mine = fill("engines", "thesis.docx", 1000, 1)
    assert [(entry.bytes, entry.used) for entry in entries(root / "engines")] == [(110, 7), (1, 9)]
    assert clear("engines") == 111
    assert sorted(path.name for path in mine.parent.iterdir()) == [f"{'c' * 65}.engine", "thesis.docx"]


def test_what_was_not_used_for_longest_goes_and_what_was_used_last_stays(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [fill("native", f"{digit * 64}.so", 400 << 10, age) for age, digit in enumerate("abc")]
    touch(paths[0])
    monkeypatch.setenv("DRNN_CACHE_MIB", "1")
    shrink(root / "native", "native")
    assert [path.exists() for path in paths] == [True, False, True]
    monkeypatch.setenv("DRNN_CACHE_MIB", "0")
    shrink(root / "native", "native")
    assert [path.exists() for path in paths] == [True, False, False]


def test_folders_are_entries_and_go_whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = fill("onnxruntime", f"{'a' * 64}/one", 700 << 10, 1)
    fill("onnxruntime", f"{'b' * 64}/two", 700 << 10, 2)
    monkeypatch.setenv("DRNN_CACHE_MIB", "1")
    shrink(root / "onnxruntime", "onnxruntime")
    assert [path.name for path in (root / "onnxruntime").iterdir()] == ["b" * 64]
    assert not old.parent.exists()


def test_zigs_own_cache_goes_whole_and_folders_that_a_user_could_have_stay(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("o/x/file", "h/y", "tmp/z"):
        fill("zig", f"{'a' * 64}/{name}", 400 << 10, 1)
    others = [fill("zig", name, 1, 1) for name in ("notes/file", "tmp/file", "a/file")]
    shrink(root / "zig", "zig")
    assert len(entries(root / "zig")) == 1
    monkeypatch.setenv("DRNN_CACHE_MIB", "1")
    shrink(root / "zig", "zig")
    assert entries(root / "zig") == []
    assert clear("zig") == 0
    assert all(path.exists() for path in others)


def test_what_comes_while_a_cache_is_cleared_is_no_failure(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill("native", f"{'a' * 64}.so", 100, 1)
    unlink = Path.unlink

    def slow(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        fill("native", f"{'b' * 64}.so", 10, 2)

    monkeypatch.setattr(Path, "unlink", slow)
    assert clear("native") == 100


def test_what_cannot_be_removed_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fill("native", f"{'a' * 64}.so", 100, 1)
    monkeypatch.setattr("drnn_core.cache._remove", lambda gone: None)
    with pytest.raises(InputError, match=f"cannot remove {path}"):
        clear("native")


def test_links_are_removed_and_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(bytes(50))
    (root / "onnxruntime").mkdir(parents=True)
    (root / "onnxruntime" / ("a" * 64)).symlink_to(tmp_path / "precious")
    clear("onnxruntime")
    assert (tmp_path / "precious" / "file").exists()
    assert not (root / "onnxruntime").exists()


def test_no_folder_is_an_empty_cache(root: Path) -> None:
    assert [clear(kind) for kind in KINDS] == [0] * len(KINDS)
    shrink(root / "native", "native")
    assert not root.exists()


def test_a_limit_is_a_number_of_mebibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limit("references") == 512 << 20
    monkeypatch.setenv("DRNN_CACHE_MIB", "3")
    assert {limit(kind) for kind in KINDS} == {3 << 20}
    for wrong in ("3 GB", "-1", "1.5", "9" * 5000):
        monkeypatch.setenv("DRNN_CACHE_MIB", wrong)
        with pytest.raises(InputError, match="must be a whole number of MiB") as refused:
            limit("engines")
        assert refused.value.fix
