"""Files that are either whole or not there, and the folder of what can be made again."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from drnn_core.errors import InputError


def cache_folder(kind: str = "engines") -> Path:
    """The folder for what was made on this machine: in `$DRNN_CACHE`, or in the user's cache.

    Args:
        kind: What it holds: "engines", or "references", which are in a folder of their own.
    """
    import platformdirs

    if chosen := os.environ.get("DRNN_CACHE"):
        return Path(chosen) if kind == "engines" else Path(chosen) / kind
    return Path(platformdirs.user_cache_dir("drnn-deploy")) / kind


def sha256(path: Path) -> str:
    """The hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all.

    Args:
        path: The file. Its folders are made.

    Yields:
        A temporary file beside `path` to write to. It takes the place of `path` on success and is deleted on failure.

    Raises:
        InputError: The folder cannot be written to or the disk is full.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        temporary.touch(exist_ok=False)  # with the permissions of the user's umask, which those of tempfile have not
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[io.BytesIO]:
    """Write a file whole or not at all, from memory.

    It is for writers such as `torch.save` that do not raise `OSError` on a full disk.

    Args:
        path: The file. Its folders are made.

    Yields:
        A buffer to write to. Its content goes to `path` at the end.

    Raises:
        InputError: The folder cannot be written to or the disk is full.
    """
    with io.BytesIO() as buffer:
        yield buffer
        with replacing(path) as temporary:
            temporary.write_bytes(buffer.getvalue())  # no copy, and unlike getbuffer nothing that has to be given back


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Write a folder whole or not at all.

    Args:
        path: The folder. Its parents are made.

    Yields:
        An empty temporary folder beside `path`. It takes the place of `path` on success and is deleted on failure.

    Raises:
        InputError: The parent cannot be written to or the disk is full.
    """
    path = path.absolute()
    with _explained(path):
        made = [parent for parent in path.parents if not parent.exists()]  # innermost first
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        temporary.mkdir()
        try:
            yield temporary
            if path.exists():
                _swap(temporary, path)
            else:
                temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            for parent in made:
                with contextlib.suppress(OSError):  # it holds the folder
                    parent.rmdir()


def _beside(path: Path) -> Path:
    """A hidden name in the same folder that nothing else has."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}{path.suffix}")


def _swap(new: Path, path: Path) -> None:
    """Put the folder `new` in the place of `path`; where that fails, `path` is as it was."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.old.") as trash:
        old = Path(trash) / "replaced"
        path.rename(old)
        try:
            new.rename(path)
        except BaseException:
            old.rename(path)
            raise


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}",
            "Choose another place with --output, or free space and permissions there.",
        ) from error
