"""Files of a data set: what is known of them, the checks, and the one way in.

A file appears in a data set's folder whole and right, or not at all: `install` checks the content before the file takes
its name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import Any, Protocol

from drnn_core.errors import InputError
from drnn_core.files import replacing

CHUNK = 1 << 18


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a data set, as it must lie in the folder."""

    name: str
    size: int
    md5: str


class Readable(Protocol):
    """What can be read: a file, an unpacker, a response of a server."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


class UnusableError(Exception):
    """A source that has not got the file, or not the right one; another route may."""


def size_problem(path: Path, file: File) -> str:
    """What is wrong with the file at `path` as far as can be told without reading it; empty where nothing is."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return "" if size == file.size and path.is_file() else f"has {size} bytes and should have {file.size}"


def content_problem(path: Path, file: File) -> str:
    """What is wrong with the size or the md5 of the file at `path`; empty where nothing is."""
    if problem := size_problem(path, file):
        return problem
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, _md5).hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return "" if found == file.md5 else f"has md5 {found} and should have {file.md5}"


def _md5() -> Any:  # hashlib's own type is private
    return hashlib.md5(usedforsecurity=False)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Explain a failure to write in terms of the data folder; no other route would mend it."""
    try:
        yield
    except (OSError, InputError) as error:
        cause = root_cause(error)
        raise InputError(
            f"cannot write {path}: {getattr(cause, 'strerror', None) or cause}",
            "Free space and permissions there, or set DRNN_DATA to another folder.",
        ) from error


def root_cause(error: BaseException) -> BaseException:
    """The error that led to `error`, which says it best: libraries wrap it several times."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def install(stream: Readable, file: File, target: Path, what: str) -> None:
    """Copy `stream` to `target`, which appears only if size and md5 are right; errors name the source `what`."""
    digest, size = _md5(), 0
    with writing(target), replacing(target) as temporary, temporary.open("wb") as out:
        for chunk in _chunks(stream, what):
            size += len(chunk)
            if size > file.size:  # also bounds what a small packed file can unpack to
                raise UnusableError(f"{what} has more than the {file.size} bytes of {file.name}")
            digest.update(chunk)
            out.write(chunk)
        if size < file.size:
            raise UnusableError(f"{what} has {size} bytes and {file.name} should have {file.size}")
        if digest.hexdigest() != file.md5:
            raise UnusableError(f"{what} has md5 {digest.hexdigest()} and {file.name} should have {file.md5}")


def _chunks(stream: Readable, what: str) -> Iterator[bytes]:
    with reading(what):
        while chunk := stream.read(CHUNK):
            yield chunk


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn a failure to read or unpack the source `what` into `UnusableError`: another route may have the file."""
    try:
        yield
    except KeyError:  # of an archive's members
        raise UnusableError(f"{what} is missing") from None
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UnusableError(f"{what} cannot be read: {error}") from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, SyntaxError, ValueError, TokenError) as error:
        # of damaged archives and sources, whose text may be part of the message
        raise UnusableError(f"{what} cannot be read: {type(error).__name__}") from error


def install_from(path: Path, file: File, target: Path, what: str) -> None:
    """`install` the file at `path`, unpacked where it has another name than the file: NAME.gz or NAME.gz.part."""
    with reading(what):
        raw = path.open("rb")
    with raw, raw if path.name == file.name else gzip.open(raw) as stream:
        install(stream, file, target, what)


def packed_path(path: Path) -> Path:
    """Where a packed file lies that belongs at `path`."""
    return path.with_name(f"{path.name}.gz")


def part_path(path: Path) -> Path:
    """Where the half-downloaded packed file lies that belongs at `path`."""
    return path.with_name(f"{path.name}.gz.part")
