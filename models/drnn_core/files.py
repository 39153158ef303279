"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from drnn_core.bounds import open_file
from drnn_core.errors import InputError

_ELSEWHERE = "Choose another place, for example with --output, or free space and permissions there."


def sha256(path: Path) -> str:
    """The hex digest of a file's content."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_name(path: Path | str) -> None:
    """Refuse a path at which the system does not even look. Whether something is there does not matter.

    Args:
        path: Of a file or folder, to read or to write.

    Raises:
        InputError: A name in it is too long or no text of the system's, a link leads back to itself, or a folder is
            closed to this user.
    """
    try:
        Path(path).stat()
    except ValueError as error:  # of NUL, and of surrogates
        raise InputError(f"{str(path)!r:.300} is no path: {error}", "Give the path of a file or folder.") from error
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            what = f"cannot look at {path!s:.300}: {error.strerror or error}"
            raise InputError(what, "Check the path and the permissions of its folders.") from error


def from_home(text: str) -> Path:
    """The path that a text names, where it may begin with `~` or `~user`.

    Args:
        text: What a variable or an option says.

    Raises:
        InputError: There is no such home folder.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"{text!r:.300} is in no home folder of this system", "Write the folder out.") from error


def chosen_folder(variable: str, *below: str) -> Path:
    """The folder that an environment variable names, or one in the user's cache.

    Args:
        variable: The variable.
        *below: Folders within each other, in that of this package in the user's cache.

    Raises:
        InputError: This user has no home folder.
    """
    import platformdirs

    if chosen := os.environ.get(variable):
        return from_home(chosen)
    try:
        return platformdirs.user_cache_path("drnn-deploy").joinpath(*below)
    except RuntimeError as error:
        raise InputError("this user has no home folder", f"Name a folder to use: export {variable}=FOLDER") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all.

    Args:
        path: The file. Its folders are made. What it is a link to is replaced, not the link; permissions stay.

    Yields:
        A temporary file beside `path` to write to. It takes the place of `path` on success and is deleted on failure.

    Raises:
        InputError: Something that is no file is there, the folder cannot be written to, or the disk is full.
    """
    check_kind(path)
    place = Path(os.path.realpath(path))
    temporary = place.with_name(f".{secrets.token_hex(8)}{place.suffix}")
    with explained(path, place, temporary):
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)  # with the permissions of the user's umask, which those of tempfile have not
        try:
            mode = stat.S_IMODE(place.stat().st_mode) if place.exists() else None
            if mode is not None:  # from the start: what is private is so while it is written, too
                temporary.chmod(mode | stat.S_IWUSR)
            yield temporary
            if mode is not None:
                temporary.chmod(mode)
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)


def check_writable(path: Path, kind: str = "file") -> None:
    """Refuse a place where nothing can be written, before the work whose result would go there.

    Args:
        path: What will be written. Its folders need not be there.
        kind: "file" or "folder".

    Raises:
        InputError: Something of another kind is there, a parent is no folder, or it is closed to this user.
    """
    check_kind(path, kind)
    parent = next((parent for parent in path.absolute().parents if os.path.lexists(parent)), Path("/"))
    if not parent.is_dir():
        raise InputError(f"cannot write {path}: {parent} is not a folder", _ELSEWHERE)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: {parent} is closed to this user", _ELSEWHERE)


def check_kind(path: Path, kind: str = "file") -> None:
    """Refuse to replace what is of another kind: a device would be replaced as well, also /dev/null.

    Args:
        path: What will be written.
        kind: "file" or "folder".

    Raises:
        InputError: Something of another kind is there.
    """
    fits = path.is_file() if kind == "file" else path.is_dir()
    if path.exists() and not fits:
        there = "a folder" if path.is_dir() else "a file" if path.is_file() else "a device or pipe"
        raise InputError(f"cannot write {path}: it is {there}", f"Name a {kind}, for example with --output.")


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
def explained(path: Path, *places: Path) -> Iterator[None]:
    """Turn what the system says of writing to `path` into an `InputError`, and nothing that it says of other files.

    Args:
        path: What the user named.
        *places: Where it lies, and what is written in its place: files or folders.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, str) and not any(_concerns(Path(error.filename), place) for place in places):
            raise
        raise InputError(
            f"cannot write {path}: {error.strerror or error}",
            _ELSEWHERE,
        ) from error


def _concerns(file: Path, place: Path) -> bool:
    """Whether a file is a place, in it, above it, or a draft of it or in one."""
    drafts = (one for one in (file, *file.parents) if one.parent == place.parent)
    drafted = any(one.name.startswith(f".{place.name}.") for one in drafts)
    return drafted or file.is_relative_to(place) or place.is_relative_to(file)
