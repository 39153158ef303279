"""Folders that are either whole or not there, and that one process writes at a time.

A folder is written as a hidden draft beside its place, `.NAME.draft`, on which the writer holds a lock. A lock ends
with its process, so a draft that can be locked was abandoned. Where a system has no such locks, drafts have names of
their own, and stay where a process is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from drnn_core.errors import InputError
from drnn_core.files import explained

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
_CANNOT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)  # old kernels, and file systems without it
_SHOWN = 5  # files in a message
_TRIES = 100


@contextlib.contextmanager
def replacing_folder(
    path: Path, ours: Callable[[Path], Collection[str]] | None = None, option: str = "--output"
) -> Iterator[Path]:
    """Write a folder whole or not at all. Where the system can exchange two folders, there always is one.

    Args:
        path: The folder. Its parents are made. What it is a link to is replaced, not the link.
        ours: Gets the folder where there is one, and gives the files in it that may be replaced, relative to it. With
            None all of them may.
        option: The option that chooses another folder, for messages.

    Yields:
        An empty temporary folder beside `path`. It takes the place of `path` on success and is deleted on failure.

    Raises:
        InputError: The folder holds other files; another process is writing it; the parent cannot be written to; or
            the disk is full. The folder is as it was.
    """
    path = path.resolve()
    with explained(path, path), contextlib.ExitStack() as cleanup:
        check_replaceable(path, ours, option)
        for parent in reversed([parent for parent in path.parents if not parent.exists()]):  # outermost first
            cleanup.callback(_remove_if_empty, parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _draft(path, option) as draft:
            yield draft
            check_replaceable(path, ours, option)  # much may have happened since
            _put(draft, path)


def check_replaceable(path: Path, ours: Callable[[Path], Collection[str]] | None, option: str = "--output") -> None:
    """Refuse to replace what no one would want to lose.

    Args:
        path: A folder, or where one shall be.
        ours: As of `replacing_folder`.
        option: As of `replacing_folder`.

    Raises:
        InputError: It is a file, or holds files that are not among `ours`, or the current folder is in it.
        OSError: A folder in it may not be read.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file", f"Choose a folder with {option}.")
    with contextlib.suppress(FileNotFoundError):  # the current folder may be gone
        if path.is_dir() and Path.cwd().is_relative_to(path.resolve()):
            what = f"{path} is the current folder, or one above it, and would be replaced by another"
            raise InputError(what, f"Go to another folder, or choose another with {option}.")
    if ours is None or not path.is_dir() or not any(path.iterdir()):
        return
    known = set(ours(path))
    if others := sorted({entry.relative_to(path).as_posix() for entry in _files_in(path)} - known):
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        raise InputError(
            f"{path} holds files that would be deleted: {', '.join(others[:_SHOWN])}{more}",
            f"Move them elsewhere, or choose another folder with {option}.",
        )


def _files_in(path: Path) -> Iterator[Path]:
    """Files and links below a folder. A folder that may not be read is an OSError: there may be files in it."""

    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, files in os.walk(path, onerror=refuse):
        yield from (Path(folder) / name for name in files)
        yield from (link for name in folders if (link := Path(folder) / name).is_symlink())


@contextlib.contextmanager
def _draft(path: Path, option: str) -> Iterator[Path]:
    """An empty folder beside `path` for this process alone; whatever is there in the end is deleted."""
    with contextlib.ExitStack() as locks:
        draft = _claim(path, locks, option)
        held = [draft.stat()]
        if path.is_dir():  # it will be at the draft's place
            held.append(path.stat())
            _lock(path, locks)
        try:
            yield draft
        finally:
            if draft.exists() and any(os.path.samestat(draft.stat(), one) for one in held):
                shutil.rmtree(draft, ignore_errors=True)


def _claim(path: Path, locks: contextlib.ExitStack, option: str) -> Path:
    draft = path.with_name(f".{path.name}.draft")
    for _ in range(_TRIES):
        made = False
        with contextlib.suppress(FileExistsError):
            draft.mkdir()
            made = True
        with contextlib.ExitStack() as lock:
            locked = _lock(draft, lock)
            if locked is None:
                return _own_draft(path, draft if made else None)
            if not locked and draft.exists():
                break
            if locked and made:
                locks.push(lock.pop_all())
                return draft
            if locked:  # by its writer no more
                shutil.rmtree(draft)
    raise InputError(
        f"another process is writing {path}", f"Wait for it to end, or choose another folder with {option}."
    )


def _own_draft(path: Path, made: Path | None) -> Path:
    """A draft where there are no locks."""
    if made is not None:
        made.rmdir()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.draft")
    draft.mkdir()
    return draft


def _lock(folder: Path, locks: contextlib.ExitStack) -> bool | None:
    """Hold a lock on a folder. False where another process has one or the folder is gone, None without locks."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    locks.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:  # a file system without locks
        return None


def _put(draft: Path, path: Path) -> None:
    """Put the draft in the place of `path`; where that fails, `path` is as it was."""
    if not path.exists():
        draft.rename(path)
    elif not _exchange(draft, path):
        _swap(draft, path)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders at once. False where the system cannot."""
    if sys.platform != "linux":
        return False
    exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # which some C libraries lack
    if exchange is None:
        return False
    if exchange(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number))


def _swap(new: Path, path: Path) -> None:
    """Put `new` in the place of `path` in two steps; where the second fails, the first is undone."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.old.") as trash:
        old = Path(trash) / "replaced"
        path.rename(old)
        try:
            new.rename(path)
        except BaseException:
            old.rename(path)
            raise


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it holds what was written
        folder.rmdir()
