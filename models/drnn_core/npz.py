"""Arrays in one .npz file, with a JSON document among them that says what they are."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.files import writing
from drnn_core.plain_data import parse_json


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
        arrays: Name -> array of any type but object; no name is `key`.
        key: The name of the document in the file.
        compress: Whether to take the time for a smaller file.

    Raises:
        InputError: The folder cannot be written to or the disk is full.
    """
    save: Any = np.savez_compressed if compress else np.savez
    with writing(path) as buffer:
        save(buffer, **{key: np.array(json.dumps(document))}, **arrays)


@contextlib.contextmanager
def reading_npz(
    path: Path, refusal: str, fix: str, *, key: str = "about", format: str | None = None
) -> Iterator[tuple[Any, Mapping[str, NDArray[Any]]]]:
    """Open what `write_npz` wrote. Arrays are read when they are asked for; a file cannot make Python run code.

    Args:
        path: A .npz file.
        refusal: How the message starts where it cannot be read, for example "model.npz is no state of a stream".
        fix: What to do then.
        key: The name of the document in the file.
        format: What the document's `format` must be; None where it has none.

    Yields:
        The document and the arrays. Whatever goes wrong with them in the caller's block counts as a damaged file.

    Raises:
        InputError: The file is missing, damaged or of another format.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            document = parse_json(str(arrays[key]))
            if format is not None and document["format"] != format:
                raise ValueError(f"its format is {document['format']!r}")
            yield document, arrays
    except Exception as error:  # zipfile, zlib, json and NumPy each raise their own on damaged files
        raise InputError(f"{refusal}: {error}", fix) from error
