"""A torch file as `torch.load` may have it: its sizes and its pickles are checked before it is asked.

`torch.load(weights_only=True)` runs no code of a file, but allocates whatever a few bytes of pickle ask for.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from drnn_core import bounds
from drnn_models.pickle_rehearsal import rehearse

ARCHIVE = b"PK\x03\x04"  # how torch, too, tells an archive from the format before
_MOST_BYTES = 64 << 20  # of a pickle: the names and plain data beside the tensors


def checked_content(path: Path) -> io.BytesIO:
    """Read a file, and check that loading it makes nothing but tensors and plain data, of the size that they have.

    Args:
        path: The file, of torch's archive format or the one before.

    Returns:
        What torch may load. Archives are packed anew, because readers differ on what an unusual one holds.

    Raises:
        OSError: It cannot be read.
        zipfile.BadZipFile: A part's checksum is wrong; torch itself reads flipped bits as weights.
        ForeignObjectError: It names something else.
        UnusualPickleError: It makes them in a way that torch.save does not write.
        InputError: A tensor is sparse or quantised.
        ValueError: It is too large, cut short, or no pickle.
    """
    with bounds.open_file(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > bounds.UNPACKED:
            raise bounds.TooLargeError(f"it is {bounds.shown_bytes(size)} long")
        start = file.read(len(ARCHIVE))
        file.seek(0)
        if start == ARCHIVE:
            content = io.BytesIO()
            with bounds.open_zip(file, bounds.UNPACKED) as parts, zipfile.ZipFile(content, "w") as copy:
                check_archive(parts)
                for part in parts.infolist():
                    copy.writestr(part.filename, parts.read(part))
        else:
            content = io.BytesIO(file.read(size))
            _check_old(content)
    content.seek(0)
    return content


def check_archive(parts: zipfile.ZipFile) -> None:
    """Check the pickle of an archive.

    Args:
        parts: An archive of torch.

    Raises:
        ValueError: As `checked_content`.
    """
    names = [name.casefold() for name in parts.namelist()]  # torch, too, does not look at capitals
    pickles = [part for part, name in zip(parts.infolist(), names, strict=True) if name.endswith("data.pkl")]
    if len(set(names)) != len(names) or len(pickles) > 1:
        raise zipfile.BadZipFile("two parts have one name")
    for part in pickles:
        if part.file_size > _MOST_BYTES:
            raise bounds.TooLargeError(f"its pickle is {bounds.shown_bytes(part.file_size)} long")
        rehearse(io.BytesIO(parts.read(part)), bounds.UNPACKED)


def _check_old(content: BinaryIO) -> None:
    """Check the pickles of a file before torch 1.6: magic number, version, system, data, keys of the storages.

    torch reserves memory for each storage that the data name, and reads those whose keys are listed.
    """
    found: list[tuple[Any, set[Any]]] = []
    while len(found) < 5 and content.read(1):  # one pickle alone, which torch refuses with words of its own
        content.seek(-1, io.SEEK_CUR)
        found.append(rehearse(content, bounds.UNPACKED))
    if len(found) < 5:
        return
    listed = found[4][0]
    if not isinstance(listed, list) or not all(isinstance(key, (str, int)) for key in listed):
        raise ValueError("the keys of the storages are none")  # and tuples within tuples would be a text without end
    if sorted(map(str, listed)) != sorted(map(str, found[3][1])):
        raise ValueError("storages are missing")
