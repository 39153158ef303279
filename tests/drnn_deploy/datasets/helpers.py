"""The data set "tiny", packed in every way, and folders to look into."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import random
import tarfile
from pathlib import Path

from drnn_deploy.datasets import FileResult

CONTENTS = {"images": random.Random(0).randbytes(300_000), "labels": b"0123456789" * 30}
GZ = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in CONTENTS.items()}
WHOLE = len(GZ["images.gz"])
CERTIFICATE = Path(__file__).with_name("localhost.pem")  # for 127.0.0.1, signed by itself, with its key
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


def origins(results: list[FileResult]) -> list[str]:
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
