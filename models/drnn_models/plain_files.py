"""Files of torch that hold tensors and plain data: written whole or not at all, and read without executing anything."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_core.files import writing
from drnn_core.plain_data import PlainDataError, check_plain
from drnn_models.file_kinds import check_file
from drnn_models.pickle_rehearsal import ForeignObjectError, UnusualPickleError
from drnn_models.torch_files import check_archive, checked_content

_SAVE_WEIGHTS = (
    "If you trust its maker, load it there and save the state dict with drnn_models.checkpoint.save_checkpoint."
)


def save_plain(path: Path, data: object) -> None:
    """Write tensors and plain data for `load_plain`, whole or not at all.

    Args:
        path: The file to write.
        data: Tensors in dicts, lists, strings and numbers, nested at will.

    Raises:
        InputError: The file cannot be written, or `load_plain` would not read it.
    """
    with writing(path) as buffer:
        torch.save(data, buffer)
        if (size := buffer.tell()) > bounds.UNPACKED:
            raise InputError(
                f"{path} would be {bounds.shown_bytes(size)} long, and the largest that is read is "
                f"{bounds.shown_bytes(bounds.UNPACKED)}",
                "Save fewer or smaller tensors.",
            )
        try:
            with zipfile.ZipFile(buffer) as parts:
                check_archive(parts)
            check_plain(data)
        except (ValueError, pickle.UnpicklingError) as error:
            raise InputError(f"{path} would not be read again: {error}", "Save less beside the tensors.") from error


def load_plain(path: Path, *, if_objects: Callable[[], str] = lambda: _SAVE_WEIGHTS) -> Any:
    """Read a torch file that holds tensors and plain data only.

    Args:
        path: What `save_plain` or torch.save wrote.
        if_objects: Gives the advice where the file holds other Python objects, which are not loaded.

    Raises:
        InputError: The file is missing, damaged, or holds anything else.
    """
    check_file(path, "the path of a checkpoint, model.pt")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, on pickles that it then refuses
            data = torch.load(checked_content(path), map_location="cpu", weights_only=True)
    except InputError as error:
        raise InputError(f"{path}: {error.message}", error.fix or "Save the network's own state dict.") from error
    except (bounds.TooLargeError, UnusualPickleError) as error:
        raise InputError(f"{path} is not read: {error}", "Save a state dict of the network alone.") from error
    except Exception as error:  # torch.load raises many types on damaged files, none of them documented
        if _is_pickle(path, error):
            raise InputError(
                f"{path} holds Python objects other than tensors and plain data, and was not loaded: "
                "unpickling them can run any code",
                if_objects(),
            ) from error
        raise InputError(
            f"{path} cannot be read as a torch checkpoint ({type(error).__name__})",
            "The file is damaged, cut short or of another kind: copy or train it again.",
        ) from error
    try:
        check_plain(data)
    except PlainDataError as error:
        raise InputError(f"{path} is not read: {error}", "Save it again without the data that is nested so.") from error
    return data


def _is_pickle(path: Path, error: Exception) -> bool:
    """Whether an object was refused, or a pickle newer than torch's own format, and not just any bytes."""
    if isinstance(error, ForeignObjectError) or not isinstance(error, pickle.UnpicklingError):
        return isinstance(error, ForeignObjectError)
    with bounds.open_file(path) as file:
        return file.read(1) == pickle.PROTO or "Unsupported operand" not in str(error)
