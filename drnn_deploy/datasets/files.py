"""Files of a data set: what is known of them, the checks, and the one way in.

A file appears in a data set's folder whole and right, or not at all: `install` checks the content before it gives the
file its name.
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
    """A file of a data set, as it must lie in the folder.

    Attributes:
        name: The file's name in the folder.
        size: In bytes.
        md5: The md5 sum of the content in hex.
    """

    name: str
    size: int
    md5: str


class Readable(Protocol):
    """Something to read bytes from: a file, or the content of a packed file."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes; none at the end."""


class Bounded:
    """A stream that fails if it is longer than it can be: a small archive can unpack to anything.

    Args:
        stream: The stream.
        most: The most bytes that it may have.
    """

    def __init__(self, stream: Readable, most: int) -> None:
        self._stream, self._most, self._left = stream, most, most

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes.

        Raises:
            ValueError: The stream is longer than its bound.
        """
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"more than {self._most} bytes")
        return data


class UnusableError(Exception):
    """A source lacks the file or has a wrong one. Another route may have it."""


def size_problem(path: Path, file: File) -> str:
    """Compare the size of a file without reading it.

    Args:
        path: Where the file should lie.
        file: What it should be.

    Returns:
        What is wrong, as a phrase that follows the file's name; empty if nothing is.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return "" if size == file.size and path.is_file() else f"has {size} bytes and should have {file.size}"


def content_problem(path: Path, file: File) -> str:
    """Read a file and compare its size and md5 sum.

    Args:
        path: Where the file should lie.
        file: What it should be.

    Returns:
        What is wrong, as a phrase that follows the file's name; empty if nothing is.
    """
    if problem := size_problem(path, file):
        return problem
    try:
        with path.open("rb") as stream:
            md5 = hashlib.file_digest(stream, _md5).hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return "" if md5 == file.md5 else f"has md5 {md5} and should have {file.md5}"


def _md5() -> Any:  # hashlib's own type is private
    return hashlib.md5(usedforsecurity=False)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Explain a failure to write within the block in terms of the data folder. Another route would not help.

    Args:
        path: The file or folder that the block writes.

    Raises:
        InputError: The block failed to write: the disk is full, or the folder cannot be written to.
    """
    try:
        yield
    except (OSError, InputError) as error:
        cause = root_cause(error)
        raise InputError(
            f"cannot write {path}: {getattr(cause, 'strerror', None) or cause}",
            "Free space and permissions there, or set DRNN_DATA to another folder.",
        ) from error


def root_cause(error: BaseException) -> BaseException:
    """Return the first error of the chain that led to `error`. Libraries wrap it; it says best what happened."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def install(stream: Readable, file: File, target: Path, what: str) -> None:
    """Copy a stream to a file. The file appears only if its size and md5 sum are right.

    Args:
        stream: The content. A longer one than `file.size` is not read further.
        file: What the content must be.
        target: Where the file goes.
        what: The name of the source in messages.

    Raises:
        UnusableError: The stream cannot be read or is not the file.
        InputError: `target` cannot be written.
    """
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
    """Explain a failure to read or unpack within the block. Another route may have the file.

    Args:
        what: The name of the source in messages.

    Raises:
        UnusableError: The block failed to read: the source is missing, damaged or hostile.
    """
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
    """Install a file from a path.

    Args:
        path: The file. It is unpacked if its name is not that of `file` but NAME.gz or NAME.gz.part.
        file: What the content must be.
        target: Where the file goes.
        what: The name of the source in messages.

    Raises:
        UnusableError: The source cannot be read or is not the file.
        InputError: `target` cannot be written.
    """
    with reading(what):
        raw = path.open("rb")
    with raw, raw if path.name == file.name else gzip.open(raw) as stream:
        install(stream, file, target, what)


def packed_path(path: Path) -> Path:
    """Return where the packed form of the file `path` lies."""
    return path.with_name(f"{path.name}.gz")


def part_path(path: Path) -> Path:
    """Return where the packed form of the file `path` lies while it is only partly downloaded."""
    return path.with_name(f"{path.name}.gz.part")
