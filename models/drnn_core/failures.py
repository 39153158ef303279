"""Failures that a user can mend, whoever raised them, as a `DeployError`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from drnn_core.errors import InputError, RuntimeUnavailableError

_EXTRAS = {  # optional package -> the extra that brings it
    **dict.fromkeys(("torch", "matplotlib"), "train"),
    **dict.fromkeys(("librosa", "sklearn", "soundfile", "soxr"), "audio"),
    "distributed": "dask",
}


@contextlib.contextmanager
def explained_failures() -> Iterator[None]:
    """Turn an optional package that is not here, a file that may not be read, and memory that ran out, into a
    `DeployError`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        what = f"this command needs {error.name}, which is not installed"
        raise RuntimeUnavailableError(what, f"Type: pip install 'drnn-deploy[{_EXTRAS[error.name]}]'") from error
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.filename is None:
            raise
        what = f"cannot use {error.filename!s:.300}: {error.strerror or error}"
        raise InputError(what, "Check the path and its permissions.") from error
    except (MemoryError, RuntimeError) as error:  # the latter from torch
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        fix = "Ask for fewer or shorter sequences, or use a machine with more memory."
        raise InputError("memory ran out", fix) from error
