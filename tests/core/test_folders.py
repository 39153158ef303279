"""Folders appear whole, hold nothing that anyone misses, and are written by one process at a time."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drnn_core import folders
from drnn_core.errors import InputError
from drnn_core.folders import check_replaceable, replacing_folder
from tests.core.test_files import names, no_space


def test_folder_appears_whole_with_its_parents(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "bundle"
    with replacing_folder(target) as temporary:
        (temporary / "a").write_text("a", encoding="utf-8")
        assert not target.exists()
    assert names(tmp_path) == ["new", "new/deep", "new/deep/bundle", "new/deep/bundle/a"]


def test_folder_replaces_everything_of_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old").write_text("old", encoding="utf-8")
    with replacing_folder(tmp_path / "bundle") as temporary:
        (temporary / "new").write_text("new", encoding="utf-8")
        assert names(tmp_path / "bundle") == ["old"]
    assert names(tmp_path) == ["bundle", "bundle/new"]


def test_a_folder_that_may_not_be_read_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle" / "closed").mkdir(parents=True)
    look = os.scandir

    def scandir(path: str) -> object:
        if os.fspath(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match="Permission denied"), replacing_folder(tmp_path / "bundle", lambda _: ()):
        pass
    assert names(tmp_path) == ["bundle", "bundle/closed"]


@pytest.mark.parametrize("inside", ["", "deep"])
def test_the_current_folder_is_not_replaced(tmp_path: Path, inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "bundle" / inside)
    with pytest.raises(InputError, match="is the current folder"), replacing_folder(tmp_path / "bundle"):
        pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, InputError])
def test_folder_stays_as_it_was_when_writing_fails(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old").write_text("old", encoding="utf-8")
    with pytest.raises(error), replacing_folder(tmp_path / "bundle") as temporary:
        (temporary / "new").write_text("half", encoding="utf-8")
        raise error("no")
    assert names(tmp_path) == ["bundle", "bundle/old"]


def test_parents_made_for_a_folder_go_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), replacing_folder(tmp_path / "new" / "deep" / "bundle"):
        raise ValueError("no")
    assert names(tmp_path) == []


def test_folder_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old").write_text("old", encoding="utf-8")
    monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    rename = Path.rename

    def fails_for_the_new_one(self: Path, target: Path) -> Path:
        if (self / "new").exists():
            no_space()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new_one)
    with pytest.raises(InputError, match="No space left"), replacing_folder(tmp_path / "bundle") as temporary:
        (temporary / "new").write_text("new", encoding="utf-8")
    assert names(tmp_path) == ["bundle", "bundle/old"]


def ours(_: Path) -> list[str]:
    return ["a", "sub/b"]


def test_files_that_are_not_ours_are_named_and_stay(tmp_path: Path) -> None:
    place = tmp_path / "bundle"
    (place / "sub").mkdir(parents=True)
    for name in ("a", "sub/b"):
        (place / name).write_text("old", encoding="utf-8")
    with replacing_folder(place, ours) as draft:
        (draft / "a").write_text("new", encoding="utf-8")
    assert names(place) == ["a"]
    (place / "sub").mkdir()
    (place / "sub" / "thesis.doc").write_text("mine", encoding="utf-8")
    (place / "link").symlink_to(tmp_path)
    with (
        pytest.raises(InputError, match=r"holds files that would be deleted: link, sub/thesis\.doc\n"),
        replacing_folder(place, ours),
    ):
        pytest.fail("it is refused before the work")
    assert names(tmp_path) == ["bundle", "bundle/a", "bundle/link", "bundle/sub", "bundle/sub/thesis.doc"]


def test_files_that_came_during_the_work_stay_too(tmp_path: Path) -> None:
    place = tmp_path / "bundle"
    place.mkdir()
    with pytest.raises(InputError, match="note"), replacing_folder(place, ours) as draft:
        (draft / "a").write_text("new", encoding="utf-8")
        (place / "note").write_text("mine", encoding="utf-8")
    assert names(tmp_path) == ["bundle", "bundle/note"]


def test_only_a_few_of_many_files_are_named(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"f{number}").touch()
    with pytest.raises(InputError, match=r"deleted: f0, f1, f2, f3, f4 and 3 more\n"):
        check_replaceable(tmp_path, ours)
    check_replaceable(tmp_path, None)
    with pytest.raises(InputError, match="f0 is a file"):
        check_replaceable(tmp_path / "f0", None)


def test_what_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replacing_folder(tmp_path / "link") as draft:
        (draft / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path) == ["link", "real", "real/new"]


@pytest.fixture(params=["exchanged", "in two steps", "without locks"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a folder takes the place of another."""
    if request.param == "in two steps":
        monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    elif request.param == "without locks":
        monkeypatch.setattr(folders, "_lock", lambda folder, locks: None)
    return str(request.param)


def test_folders_are_replaced_in_every_way(tmp_path: Path, way: str) -> None:
    for number in range(3):
        with replacing_folder(tmp_path / "bundle") as draft:
            (draft / f"file{number}").touch()
        assert names(tmp_path) == ["bundle", f"bundle/file{number}"]
    with pytest.raises(ValueError, match="no"), replacing_folder(tmp_path / "bundle") as draft:
        raise ValueError("no")
    assert names(tmp_path) == ["bundle", "bundle/file2"]


@pytest.fixture
def exchanges(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    if not folders._exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this system cannot exchange folders at once")
    (tmp_path / "one").rmdir()
    (tmp_path / "other").rmdir()


@pytest.mark.usefixtures("exchanges")
def test_there_is_no_moment_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is moved away, and each look after any call of the system finds the old file or the new one."""
    place, seen = tmp_path / "bundle", list[bytes]()
    place.mkdir()
    (place / "file").write_text("old", encoding="utf-8")

    def look(frame: object, event: str, argument: object) -> None:
        if event == "c_return":
            seen.append((place / "file").read_bytes())

    try:
        with replacing_folder(place) as draft:
            (draft / "file").write_text("new", encoding="utf-8")
            monkeypatch.setattr(Path, "rename", no_space)
            sys.setprofile(look)
    finally:
        sys.setprofile(None)
    assert set(seen) == {b"old", b"new"}
    assert seen == sorted(seen, reverse=True)


def test_a_second_writer_is_told_of_the_first(tmp_path: Path, way: str) -> None:
    if way == "without locks":
        pytest.skip("there the last one wins")
    (tmp_path / "bundle").mkdir()
    with replacing_folder(tmp_path / "bundle") as draft:
        (draft / "first").touch()
        with (
            pytest.raises(InputError, match=r"another process is writing .*bundle") as refusal,
            replacing_folder(tmp_path / "bundle"),
        ):
            pytest.fail("it is refused at once")
        assert "--output" in refusal.value.fix
        with replacing_folder(tmp_path / "other"):
            pass
    assert names(tmp_path) == ["bundle", "bundle/first", "other"]


def test_of_many_writers_at_once_one_wins_each_time(tmp_path: Path) -> None:
    """Whoever is not refused finds what it wrote, whole."""
    together, wins, words = threading.Barrier(4), [], []

    def write(number: int) -> None:
        for turn in range(25):
            together.wait()
            try:
                with replacing_folder(tmp_path / "bundle") as draft:
                    for part in range(5):
                        (draft / f"{turn}-{number}-{part}").touch()
                wins.append(turn)
            except InputError as error:
                words.append(error.message)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert set(wins) == set(range(25))
    assert len(wins) + len(words) == 100
    assert all("another process is writing" in word for word in words)
    left = names(tmp_path)
    assert len(left) == 6
    assert len({name.rpartition("-")[0] for name in left[1:]}) == 1


KILLED = """
import sys, time
from pathlib import Path
from drnn_core.folders import replacing_folder
with replacing_folder(Path(sys.argv[1])) as draft:
    (draft / "half").write_text("written")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of its work."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "bundle")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_draft_of_a_killed_process_is_cleaned_up_and_that_of_a_living_one_is_not(
    tmp_path: Path, writer: subprocess.Popen[str]
) -> None:
    draft = [".bundle.draft", ".bundle.draft/half"]
    assert names(tmp_path) == draft
    with pytest.raises(InputError, match="another process"), replacing_folder(tmp_path / "bundle"):
        pytest.fail("it is refused")
    assert names(tmp_path) == draft
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert names(tmp_path) == draft
    with replacing_folder(tmp_path / "bundle") as new:
        (new / "whole").touch()
    assert names(tmp_path) == ["bundle", "bundle/whole"]


def test_a_link_at_the_place_of_the_draft_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").touch()
    (tmp_path / ".bundle.draft").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="cannot"), replacing_folder(tmp_path / "bundle"):
        pytest.fail("it is refused")
    assert (tmp_path / "mine" / "thesis.doc").exists()


def test_an_exchange_that_fails_for_another_reason_is_explained(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    if sys.platform != "linux":
        pytest.skip("of Linux")
    with pytest.raises(OSError, match="No such file") as raised:
        folders._exchange(tmp_path / "one", tmp_path / "missing")
    assert raised.value.errno == errno.ENOENT
