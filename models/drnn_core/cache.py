"""What was made on this machine and can be made again, kept in one place: a folder for each kind, none without a limit.

An entry is all files and folders whose names begin with the same digest, such as KEY.engine and KEY.engine.json. What
has another name is not ours: it is neither counted nor removed. Where a folder is over its limit, what was not used for
longest goes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from drnn_core.errors import InputError
from drnn_core.files import chosen_folder

ROOT, LIMIT = "DRNN_CACHE", "DRNN_CACHE_MIB"  # environment variables
_DIGITS = 12  # of the most MiB that anyone has
_DIGEST = re.compile(r"\.?([0-9a-f]{64})(?![0-9a-f])")  # with a dot before it while it is written


@dataclasses.dataclass(frozen=True)
class CacheKind:
    """A kind of entries.

    Attributes:
        name: That of its folder.
        what: What it holds, for people.
        most: Bytes of all entries at most, unless `$DRNN_CACHE_MIB` says another limit for each kind.
        whole: Whether all goes where it is over its limit, also what was used last.
    """

    name: str
    what: str
    most: int
    whole: bool = False


KINDS = {
    kind.name: kind
    for kind in (
        CacheKind("cuda-kernel", "images of the CUDA kernel", 256 << 20),
        CacheKind("engines", "TensorRT engines", 2 << 30),
        CacheKind("onnxruntime", "engines of ONNX Runtime's TensorRT provider", 2 << 30),
        CacheKind("native", "compiled kernels", 64 << 20),
        CacheKind("references", "float64 answers", 512 << 20),
        CacheKind("zig", "what zig keeps for other systems", 1 << 30, whole=True),
    )
}


@dataclasses.dataclass(frozen=True)
class CacheEntry:
    """What belongs together in a cache.

    Attributes:
        paths: Its files and folders.
        bytes: Of all of them.
        used: When it was used last, in seconds since 1970.
    """

    paths: tuple[Path, ...]
    bytes: int
    used: float


def cache_root() -> Path:
    """The folder of all kinds: `$DRNN_CACHE`, or in the user's cache.

    Raises:
        InputError: This user has no home folder.
    """
    return chosen_folder(ROOT)


def cache_folder(kind: str) -> Path:
    """The folder of one of `KINDS`."""
    return cache_root() / KINDS[kind].name


def limit(kind: str) -> int:
    """The most bytes of one of `KINDS`.

    Raises:
        InputError: `$DRNN_CACHE_MIB` is no number of MiB.
    """
    chosen = os.environ.get(LIMIT)
    if not chosen:
        return KINDS[kind].most
    if not chosen.isdecimal() or len(chosen) > _DIGITS:
        what = f"{LIMIT} must be a whole number of MiB, got {chosen!r:.80}"
        raise InputError(what, f"Type for example {LIMIT}=500, or unset it.")
    return int(chosen) << 20


def entries(folder: Path) -> list[CacheEntry]:
    """The entries in a folder, that used last at the end; none where there is no such folder.

    Args:
        folder: Usually a `cache_folder`.
    """
    named: dict[str, list[Path]] = {}
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if match := _DIGEST.match(path.name):
                named.setdefault(match[1], []).append(path)
    return sorted(map(_entry, named.values()), key=lambda entry: entry.used)


def touch(path: Path) -> None:
    """Note that a file or folder of a cache was used now, where that can be written."""
    with contextlib.suppress(OSError):
        os.utime(path)


def shrink(folder: Path, kind: str) -> None:
    """Remove what was not used for longest until the limit is kept, but never what was used last.

    Args:
        folder: Usually `cache_folder(kind)`.
        kind: One of `KINDS`.

    Raises:
        InputError: `$DRNN_CACHE_MIB` is no number of MiB.
    """
    kept, most = entries(folder), limit(kind)
    size = sum(entry.bytes for entry in kept)
    if size > most and KINDS[kind].whole:
        _remove(kept)
        return
    for entry in kept[:-1]:
        if size <= most:
            return
        _remove([entry])
        size -= entry.bytes


def clear(kind: str) -> int:
    """Remove all entries of a kind.

    Returns:
        How many bytes went.

    Raises:
        InputError: Some cannot be removed.
    """
    folder = cache_folder(kind)
    gone = entries(folder)
    _remove(gone)
    left = [path for entry in gone for path in entry.paths if os.path.lexists(path)]  # others may have come since
    if left:
        raise InputError(f"cannot remove {left[0]}", "Free permissions there, or end what is using it.")
    with contextlib.suppress(OSError):  # it holds what is not ours, or is not there
        folder.rmdir()
    return sum(entry.bytes for entry in gone)


def _entry(paths: list[Path]) -> CacheEntry:
    files = [file for path in paths for file in _files(path)]
    stats = []
    for file in dict.fromkeys((*files, *paths)):
        with contextlib.suppress(OSError):  # another process removed it
            stats.append((file, file.lstat()))
    inside = {*files}
    size = sum(stat.st_size for file, stat in stats if file in inside)
    return CacheEntry(tuple(paths), size, max((stat.st_mtime for _, stat in stats), default=0.0))


def _files(path: Path) -> Iterator[Path]:
    """A file, or those below a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder) / name for name in names)


def _remove(gone: list[CacheEntry]) -> None:
    for path in (path for entry in gone for path in entry.paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
