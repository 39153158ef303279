"""The checks of content: a file is there whole and right, or not at all."""

from __future__ import annotations

import errno
import gzip
import re
from pathlib import Path

import pytest

from drnn_core.errors import InputError
from drnn_deploy import datasets
from drnn_deploy.datasets.files import File
from tests.drnn_deploy.datasets.helpers import CONTENTS, GZ, Server, flip, names, origins, put


def test_a_wrong_size_is_named(place: Path) -> None:
    put(place, {**CONTENTS, "labels": b"short"})
    with pytest.raises(InputError, match=r": labels has 5 bytes and should have 300\n"):
        datasets.folder("tiny")


def test_a_folder_in_a_files_place_is_no_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "labels").mkdir(parents=True)
    file = File("labels", (place / "labels").stat().st_size, "")  # so that the size cannot tell
    monkeypatch.setitem(datasets.DATASETS, "tiny", datasets.DataSet((file,), ()))
    with pytest.raises(InputError, match="labels has"):
        datasets.folder("tiny")


def test_verify_finds_a_flipped_byte_a_missing_and_a_short_file(place: Path) -> None:
    put(place, CONTENTS)
    assert [result.problem for result in datasets.verify("tiny")] == ["", ""]
    flip(place / "images")
    assert datasets.folder("tiny") == place  # the cheap check cannot see it
    (place / "labels").unlink()
    problems = [result.problem for result in datasets.verify("tiny")]
    assert re.fullmatch("has md5 [0-9a-f]{32} and should have [0-9a-f]{32}", problems[0])
    assert problems[1] == "is missing"
    put(place, {"labels": b"short"})
    assert datasets.verify("tiny")[1].problem == "has 5 bytes and should have 300"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            gzip.compress(b"x" * len(CONTENTS["images"]), mtime=0),
            "has md5 [0-9a-f]{32} and images should have [0-9a-f]{32}",
        ),
        (gzip.compress(b"short", mtime=0), "has 5 bytes and images should have 300000"),
        (gzip.compress(CONTENTS["images"] + b"x", mtime=0), "has more than the 300000 bytes of images"),
        (GZ["images.gz"][:-9], "cannot be read: Compressed file ended"),
        (GZ["images.gz"][:10] + b"\xff" * 20, "cannot be read: Error -3 while decompressing"),
        (b"<html>please log in</html>", "cannot be read: Not a gzipped file"),
    ],
    ids=["md5", "short", "long", "cut", "damaged", "no gzip"],
)
def test_wrong_content_leaves_no_file(content: bytes, reason: str, place: Path, server: Server) -> None:
    server.files["images.gz"] = content
    with pytest.raises(InputError, match=f"{re.escape(server.base)}images.gz {reason}"):
        datasets.fetch("tiny")
    assert names(place) == []
    assert server.ranges_of("images.gz") == [None]


def test_a_damaged_file_of_the_right_size_is_fetched_anew(place: Path) -> None:
    put(place, CONTENTS)
    flip(place / "images")
    assert origins(datasets.fetch("tiny")) == ["download", "kept"]


def test_the_users_own_file_is_kept(place: Path, server: Server) -> None:
    put(place, {"images": CONTENTS["images"]})
    before = (place / "images").stat()
    assert origins(datasets.fetch("tiny")) == ["kept", "download"]
    after = (place / "images").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert server.asked == [("labels.gz", None)]


def test_a_folder_that_cannot_be_made_is_explained(place: Path, server: Server) -> None:
    place.parent.write_bytes(b"a file in the way")
    with pytest.raises(InputError, match=r"cannot write .*\n.*set DRNN_DATA to another folder"):
        datasets.fetch("tiny")
    assert server.asked == []


@pytest.mark.parametrize(("fails", "left"), [("open", []), ("touch", ["images.gz.part"])])
def test_a_full_disk_is_no_fault_of_the_server(
    fails: str, left: list[str], place: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the part is written, or the file itself: then nothing has to be asked for again once there is space."""

    def full(*words: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, fails, full)
    with pytest.raises(InputError) as caught:
        datasets.fetch("tiny")
    assert caught.value.message == f"cannot write {place / 'images'}: No space left on device"
    assert "DRNN_DATA" in caught.value.fix
    assert "--output" not in caught.value.fix
    assert names(place) == left
    assert len(server.asked) == 1


def test_others_may_read_what_came_as_far_as_the_umask_lets_them(place: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    datasets.fetch("tiny")
    assert (place / "images").stat().st_mode == (tmp_path / "mine").stat().st_mode
