"""What reading a file would take, found out before it is read: sizes on disk, and those that its header tells.

All of these raise `TooLargeError` or another `ValueError`, whose text says what is wrong with the file.
"""

from __future__ import annotations

import errno
import io
import math
import os
import stat
import zipfile
from pathlib import Path
from typing import BinaryIO

TEXT = 16 << 20  # bytes of a text file, unless the reader says otherwise; the product's own have at most 1 MB
TOML = 1 << 20  # bytes of a TOML file: its parser is plain Python, and slow
UNPACKED = 3 << 28  # bytes of the arrays in a file, likewise; with copies on the way they stay below 2 GB of memory
STEPS = 1 << 20  # of a sequence: the float64 reference, a plain loop, takes a minute or so per layer
_DIRECTORY = 16 << 20  # bytes of an archive's list of members: a hundred thousand of them
_HEADER = 16 << 20  # bytes of a safetensors header, likewise
_PAGE = 1 << 20
_UNITS = ("kB", "MB", "GB", "TB", "PB")


class TooLargeError(ValueError):
    """A file is larger, or would become so when it is read, than its reader takes."""


def open_file(path: Path) -> io.BufferedReader:
    """Open a file for reading, and never a pipe or a device, which may keep its reader for ever.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be read, or is no file.
    """
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115  Path.open takes no opener; closed by the caller
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "it is a device or pipe, not a file")


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe that nobody writes to is waited for otherwise


def read_bytes(path: Path, most: int) -> bytes:
    """Read a file whole.

    Args:
        path: The file.
        most: The most bytes that it may have.

    Raises:
        OSError: It cannot be read.
        TooLargeError: It has more.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > most else file.read(size + 1)
        while content and len(content) <= most and (more := file.read(_PAGE)):  # of those of /proc the system says 0
            content += more
    if (size := max(size, len(content))) > most:
        raise TooLargeError(f"it is {shown_bytes(size)} long, more than {shown_bytes(most)}")
    return content


def text_of(path: Path, most: int = TEXT) -> str:
    """Read a text file in UTF-8 whole, with any ends of lines.

    Args:
        path: The file.
        most: The most bytes that it may have.

    Raises:
        OSError: It cannot be read.
        ValueError: It has more, or is no UTF-8.
    """
    return io.TextIOWrapper(io.BytesIO(read_bytes(path, most)), encoding="utf-8").read()


def open_zip(file: BinaryIO, most: int) -> zipfile.ZipFile:
    """Open an archive whose members together unpack to a bounded size.

    A member never gives more than the size that the archive's directory says, and is refused where it holds another.

    Args:
        file: A file open for reading.
        most: The most bytes of all members.

    Returns:
        The archive, which must be closed.

    Raises:
        zipfile.BadZipFile: It is no archive.
        TooLargeError: The members, or only their directory, take more.
        ValueError: A member is packed in a way that no writer of arrays uses.
    """
    archive = zipfile.ZipFile(_ShortReads(file))
    if (unpacked := sum(member.file_size for member in archive.infolist())) > most:
        raise TooLargeError(f"it unpacks to {shown_bytes(unpacked)}, more than {shown_bytes(most)}")
    for member in archive.infolist():
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{member.filename!r:.80} is packed in a way that is not read")
    return archive


def check_safetensors(path: Path, most: int) -> None:
    """Check the sizes of a safetensors file. Its tensors are never larger than the file: the library sees to that.

    Args:
        path: The file.
        most: The most bytes that it may have.

    Raises:
        OSError: It cannot be read.
        TooLargeError: It, or only its header, has more.
    """
    size = path.stat().st_size
    if size > most:
        raise TooLargeError(f"it is {shown_bytes(size)} long, more than {shown_bytes(most)}")
    with open_file(path) as file:
        header = int.from_bytes(file.read(8), "little")
    if header > _HEADER:
        raise TooLargeError(f"its header is {shown_bytes(header)} long")


def shown_bytes(size: float) -> str:
    """A size in text, for example "4.3 GB"."""
    if size < 1000:
        return f"{size:.0f} bytes"
    thousands = min(int(math.log10(size)) // 3, len(_UNITS))
    return f"{size / 1000**thousands:,.3g} {_UNITS[thousands - 1]}"


class _ShortReads(io.RawIOBase):
    """A file that refuses one long read: zipfile reads an archive's directory at once, before it can be asked."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        if size > _DIRECTORY:
            raise TooLargeError(
                f"the list of its members is {shown_bytes(size)} long, more than {shown_bytes(_DIRECTORY)}"
            )
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True
