"""Arrays in one .npz file, with a JSON document among them that says what they are; and arrays that others saved."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_core.files import writing
from drnn_core.plain_data import parse_json

_KINDS = "biufcU"  # of dtypes: numbers and text
_NPY = b"\x93"  # with which a .npy file begins
_LONGEST_NAME = 80  # of an array in the file of a user
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def write_npz(
    path: Path,
    document: object,
    arrays: Mapping[str, NDArray[np.generic]],
    *,
    key: str = "about",
    compress: bool = True,
) -> None:
    """Write a file, whole or not at all.

    Args:
        path: The .npz file to write.
        document: Anything that JSON can hold.
        arrays: Name -> array of numbers or text; no name is `key`.
        key: The name of the document in the file.
        compress: Whether to take the time for a smaller file.

    Raises:
        InputError: The folder cannot be written to, the disk is full, or `reading_npz` would refuse the file.
    """
    if (size := sum(array.nbytes for array in arrays.values())) > bounds.UNPACKED - 4 * bounds.TEXT:
        raise InputError(f"the arrays of {path} take {bounds.shown_bytes(size)}, more than would be read")
    if odd := [name for name, array in arrays.items() if array.dtype.kind not in _KINDS or array.dtype.itemsize == 0]:
        raise InputError(f"{odd[0]!r:.80} of {path} is neither numbers nor text")
    save: Any = np.savez_compressed if compress else np.savez
    with writing(path) as buffer:
        save(buffer, **{key: np.array(json.dumps(document))}, **arrays)


def save_arrays(file: BinaryIO, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write what `read_arrays` reads, as `numpy.savez` does, which takes some names for its own arguments.

    Args:
        file: Open for writing.
        arrays: Name -> array of numbers or text.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


@dataclasses.dataclass(frozen=True)
class StoredArray:
    """What an archive says of an array before it is read.

    Attributes:
        dtype: Its type.
        shape: Its sizes.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Its size in memory."""
        return self.dtype.itemsize * math.prod(self.shape)


class StoredArrays(Mapping[str, NDArray[Any]]):
    """The arrays of an open archive, each read when it is asked for, and once: who keeps none cannot be kept busy by a
    document that names one again and again.

    Attributes:
        headers: Name -> type and shape, for checks before anything large is read. Each array has the size that its
            header says.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        """Read the headers.

        Raises:
            ValueError: A member is no array of numbers or text, or not whole.
        """
        self._archive, self._read = archive, set[str]()
        self.headers = {name.removesuffix(".npy"): self._header(name) for name in archive.namelist()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.headers:
            raise KeyError(f"{name} is not a file in the archive")
        if name in self._read:
            raise ValueError(f"{name!r:.80} is used twice")
        self._read.add(name)
        with self._archive.open(f"{name}.npy") as member:
            array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
            if member.read(1):  # which also compares the checksum
                raise ValueError(f"{name!r:.80} goes on behind its end")
        return array

    def __contains__(self, name: object) -> bool:
        return name in self.headers

    def __iter__(self) -> Iterator[str]:
        return iter(self.headers)

    def __len__(self) -> int:
        return len(self.headers)

    def _header(self, name: str) -> StoredArray:
        with self._archive.open(name) as member:
            return _header(member, name, self._archive.getinfo(name).file_size)


def read_arrays(path: Path, fix: str, *, most: int = bounds.UNPACKED) -> dict[str, NDArray[Any]]:
    """Read arrays that anyone saved: one with `numpy.save`, or several with `numpy.savez`. What counts is the content.

    Args:
        path: A .npy or .npz file.
        fix: What to do where it cannot be read.
        most: The most bytes of all arrays together, unpacked. More is refused before any is read.

    Returns:
        Name -> array of numbers or text, at least one. The one of a .npy file has the name "".

    Raises:
        InputError: The file is missing, damaged, too large or of another kind, or an array has a name that cannot be
            shown.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file", fix)
    try:
        with bounds.open_file(path) as file:
            if file.peek(1)[:1] == _NPY:
                return {"": _whole_array(file, path.stat().st_size, most)}
            with bounds.open_zip(file, most) as archive:
                arrays = dict(StoredArrays(archive))
    except Exception as error:  # zipfile, zlib and NumPy each raise their own on damaged files
        raise InputError(f"{path} cannot be read as arrays of NumPy: {error!s:.300}", fix) from error
    if not arrays:
        raise InputError(f"{path} holds no array", fix)
    if odd := [name for name in arrays if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME]:
        raise InputError(f"{path} holds an array called {odd[0]!a:.100}, a name that cannot be shown", fix)
    return arrays


def _whole_array(file: BinaryIO, size: int, most: int) -> NDArray[Any]:
    """The array of a .npy file of so many bytes."""
    if size > most:
        raise bounds.TooLargeError(f"it is {bounds.shown_bytes(size)} long, more than {bounds.shown_bytes(most)}")
    _header(file, "it", size)
    file.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _header(file: Any, name: str, size: int) -> StoredArray:
    """What an array of so many bytes, open at its beginning, says of itself.

    Raises:
        ValueError: It is no array of numbers or text, or not whole.
    """
    if (version := np.lib.format.read_magic(file)) not in _HEADERS:
        raise ValueError(f"{name!r:.80} is an array of format {version}")
    shape, _, dtype = _HEADERS[version](file)
    stored = StoredArray(dtype, shape)
    held = size - file.tell()
    if dtype.hasobject:
        raise ValueError(f"Object arrays cannot be loaded: {name!r:.80} is one")
    if dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise ValueError(f"{name!r:.80} has type {dtype!s:.80}, which is neither numbers nor text")
    if min(shape, default=0) < 0 or stored.nbytes != held:
        raise ValueError(f"{name!r:.80} says that it has shape {shape!s:.80}, and holds {held} bytes")
    return stored


@contextlib.contextmanager
def reading_npz(
    path: Path,
    refusal: str,
    fix: str,
    *,
    key: str = "about",
    format: str | None = None,
    most: int = bounds.UNPACKED,
) -> Iterator[tuple[Any, StoredArrays]]:
    """Open what `write_npz` wrote. Arrays are read when they are asked for; a file cannot make Python run code.

    Args:
        path: A .npz file.
        refusal: How the message starts where it cannot be read, for example "model.npz is no state of a stream".
        fix: What to do then.
        key: The name of the document in the file.
        format: What the document's `format` must be; None where it has none.
        most: The most bytes of all arrays together, unpacked. More is refused before any is read.

    Yields:
        The document and the arrays. Whatever goes wrong with them in the caller's block counts as a damaged file.

    Raises:
        InputError: The file is missing, damaged, too large or of another format.
    """
    try:
        with bounds.open_file(path) as file, bounds.open_zip(file, most) as archive:
            arrays = StoredArrays(archive)
            document = _document(arrays, key)
            if format is not None and document["format"] != format:
                raise ValueError(f"its format is {document['format']!r:.80}")
            yield document, arrays
    except InputError as error:
        raise InputError(f"{refusal}: {error.message}", fix) from error
    except Exception as error:  # zipfile, zlib, json and NumPy each raise their own on damaged files
        raise InputError(f"{refusal}: {error}", fix) from error


def _document(arrays: StoredArrays, key: str) -> Any:
    header = arrays.headers.get(key)
    if header is not None and (header.dtype.kind != "U" or header.shape or header.nbytes > 4 * bounds.TEXT):
        raise ValueError(f"{key} is no text of at most {bounds.shown_bytes(bounds.TEXT)}")
    return parse_json(str(arrays[key]))
