from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drnn_core.errors import InputError
from drnn_core.files import check_writable, replacing, writing
from drnn_core.folders import replacing_folder


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "file.txt"
    with replacing(target) as temporary:
        temporary.write_text("new", encoding="utf-8")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert target.read_text(encoding="utf-8") == "new"
    assert names(tmp_path) == ["new", "new/deep", "new/deep/file.txt"]


@pytest.fixture(params=[0o022, 0o077, 0o002, 0o000])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_permissions_are_those_of_the_users_umask(tmp_path: Path, umask: int) -> None:
    with replacing(tmp_path / "file.txt"):
        pass
    with replacing_folder(tmp_path / "bundle"):
        pass
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "bundle").stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_pipes_and_devices_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        for kind in ("file", "folder"):
            with pytest.raises(InputError, match="it is a device or pipe"):
                check_writable(path, kind)


def test_a_buffer_is_closed_whether_or_not_it_could_be_written(tmp_path: Path) -> None:
    """One that lives on with its content borrowed is an error whenever it happens to be destroyed."""
    kept: list[io.BytesIO] = []
    for target in (tmp_path / "file", tmp_path / "file" / "below.it"):
        with contextlib.suppress(InputError), writing(target) as buffer:
            buffer.write(b"whole")
            kept.append(buffer)
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert [buffer.closed for buffer in kept] == [True, True]


def test_a_disk_that_fills_up_leaves_no_borrowed_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path, data: bytes) -> None:
        view = memoryview(data)  # as `Path.write_bytes` has it, where the traceback keeps it alive
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), view)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left") as raised, writing(tmp_path / "file") as buffer:
        buffer.write(b"whole")
    assert raised.value.__cause__ is not None
    assert buffer.closed
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, InputError])
def test_file_stays_as_it_was_when_writing_fails(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old", encoding="utf-8")
    with pytest.raises(error), replacing(target) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise error("no")
    assert target.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("context", [replacing, replacing_folder])
def test_place_below_a_file_is_explained(tmp_path: Path, context: type) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"cannot write .*target") as refusal, context(tmp_path / "file" / "target"):
        pytest.fail("nothing can be written there")
    assert "--output" in refusal.value.fix
    assert names(tmp_path) == ["file"]


def test_file_does_not_replace_a_folder(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with pytest.raises(InputError, match="it is a folder"), replacing(tmp_path / "target") as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert names(tmp_path) == ["target"]


def test_full_disk_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No space left") as refusal, replacing(tmp_path / "file") as temporary:
        temporary.write_text("half", encoding="utf-8")
        no_space()
    assert "free space" in refusal.value.fix
    assert names(tmp_path) == []


def test_permissions_of_what_is_replaced_stay(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with replacing(path) as temporary:
        assert temporary.stat().st_mode & 0o777 == 0o600
        temporary.write_bytes(b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
    path.chmod(0o444)
    with replacing(path) as temporary:
        temporary.write_bytes(b"newer")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"newer", 0o444)


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path, there: bool) -> None:
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "model.pt", tmp_path / "latest.pt"
    link.symlink_to(target)
    if there:
        target.write_bytes(b"old")
    with replacing(link) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["far", "far/model.pt", "latest.pt"]


@pytest.mark.parametrize("context", [replacing, replacing_folder])
def test_what_the_system_says_of_another_file_is_not_said_of_the_output(tmp_path: Path, context: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"input\.txt"), context(tmp_path / "output"):
        (tmp_path / "input.txt").read_bytes()
    with pytest.raises(InputError, match=r"cannot write .*output"), context(tmp_path / "output") as draft:
        (draft / "below" / "file").touch()
    assert names(tmp_path) == []


def test_a_name_may_be_as_long_as_the_system_takes(tmp_path: Path) -> None:
    with replacing(tmp_path / ("n" * 252 + ".pt")) as temporary:
        temporary.write_bytes(b"new")
    assert names(tmp_path) == ["n" * 252 + ".pt"]
