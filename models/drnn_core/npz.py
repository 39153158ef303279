"""Arrays in one .npz file, with a JSON document among them that says what they are."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_core.files import writing
from drnn_core.plain_data import parse_json

_KINDS = "biufcU"  # of dtypes: numbers and text
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
    """The arrays of an open archive, each read when it is asked for.

    Attributes:
        headers: Name -> type and shape, for checks before anything large is read. Each array has the size that its
            header says.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        """Read the headers.

        Raises:
            ValueError: A member is no array of numbers or text, or not whole.
        """
        self._archive = archive
        self.headers = {name.removesuffix(".npy"): self._header(name) for name in archive.namelist()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.headers:
            raise KeyError(f"{name} is not a file in the archive")
        with self._archive.open(f"{name}.npy") as member:
            array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
            if member.read(1):  # which also compares the checksum
                raise ValueError(f"{name!r:.80} goes on behind its end")
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self.headers)

    def __len__(self) -> int:
        return len(self.headers)

    def _header(self, name: str) -> StoredArray:
        with self._archive.open(name) as member:
            if (version := np.lib.format.read_magic(member)) not in _HEADERS:
                raise ValueError(f"{name!r:.80} is an array of format {version}")
            shape, _, dtype = _HEADERS[version](member)
            stored = StoredArray(dtype, shape)
            size = self._archive.getinfo(name).file_size - member.tell()
        if dtype.hasobject:
            raise ValueError(f"Object arrays cannot be loaded: {name!r:.80} is one")
        if dtype.kind not in _KINDS or dtype.itemsize == 0:
            raise ValueError(f"{name!r:.80} has type {dtype!s:.80}, which is neither numbers nor text")
        if min(shape, default=0) < 0 or stored.nbytes != size:
            raise ValueError(f"{name!r:.80} says that it has shape {shape!s:.80}, and holds {size} bytes")
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
        with path.open("rb") as file, bounds.open_zip(file, most) as archive:
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
