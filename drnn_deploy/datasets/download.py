"""The route over HTTP. pooch asks again, checks the md5 sum and puts files in place; resuming a download is here."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from drnn_deploy.datasets.files import CHUNK, File, UnusableError, install_from, part_path, root_cause, writing
from drnn_deploy.datasets.sources import Progress

_PACKED_MORE = 1 << 16  # bytes by which a packed file may be longer than its content
_RETRIES = 3  # after waits of 1, 2 and 3 seconds
_SOCKET_TIMEOUT_S = 30.0


@dataclasses.dataclass(frozen=True)
class Download:
    """Files of a web server, packed.

    Attributes:
        base: The address of a file without NAME.gz.
    """

    base: str
    origin: ClassVar[str] = "download"

    def get(self, files: Sequence[File], folder: Path, progress: Progress) -> Iterator[File]:
        """Download one file after the other; see `Route`."""
        for file in files:
            _fetch(f"{self.base}{file.name}.gz", file, folder / file.name, progress)
            yield file


def _fetch(url: str, file: File, target: Path, progress: Progress) -> None:
    import pooch
    import requests

    part = part_path(target)

    def download(_url: str, output: str, _pooch: object) -> None:
        """Make `output`, which pooch moves to `target`. After a `RequestException` pooch calls again."""
        fresh = not part.exists()
        _complete(url, part, file.size + _PACKED_MORE, progress)
        Path(output).unlink(missing_ok=True)  # a temporary file of pooch's, which others may not read
        try:
            install_from(part, file, Path(output), url)
        except UnusableError as error:
            part.unlink(missing_ok=True)
            if fresh:
                raise
            raise requests.RequestException(str(error)) from error  # an old part may be damaged: once more, from 0
        part.unlink(missing_ok=True)  # another process may have been as far

    pooch.get_logger().setLevel("WARNING")  # below that it writes each step to standard error
    files, urls = {file.name: f"md5:{file.md5}"}, {file.name: url}
    shelf = pooch.create(target.parent, base_url="", registry=files, urls=urls, retry_if_failed=_RETRIES)
    with writing(target):
        try:
            shelf.fetch(file.name, downloader=download)
        except (requests.RequestException, ValueError) as error:  # ValueError: pooch on a Python that refuses md5
            raise UnusableError(f"{url}: {error} (tried {1 + _RETRIES} times)") from error


def _complete(url: str, part: Path, most: int, progress: Progress) -> None:
    """Append to a partly downloaded file what it lacks, with one request. most: the bytes that it may have in the end.

    Raises:
        RequestException: The server or the connection failed. Asking again may help.
        UnusableError: The server refused, or sends more than the file can have.
    """
    import requests
    from urllib3.exceptions import HTTPError

    start = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    trusted = ssl.get_default_verify_paths()  # requests trusts certifi's list alone, not what the system adds to it
    verify = trusted.cafile or trusted.capath or True
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=_SOCKET_TIMEOUT_S, verify=verify)
    except requests.RequestException as error:
        raise requests.RequestException(f"{type(error).__name__}: {root_cause(error)}") from error
    with response:
        if response.status_code == 416 and start:  # nothing beyond what is there; whether that is right, the md5 tells
            return
        if response.status_code >= 400:
            again = response.status_code >= 500 or response.status_code in (408, 429)
            reason = f"HTTP {response.status_code} {response.reason}"
            raise requests.RequestException(reason) if again else UnusableError(f"{url}: {reason}")
        size = start if response.status_code == 206 else 0
        total = None if response.raw.length_remaining is None else size + response.raw.length_remaining
        try:
            with part.open("ab" if size else "wb") as out:
                # Not iter_content, which loses what came right before an interruption.
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    out.write(chunk)
                    size += len(chunk)
                    if size > most:
                        raise UnusableError(f"{url}: more than {most} bytes")
                    progress(part.name.removesuffix(".part"), size, total)
        except HTTPError as error:
            of = "" if total is None else f" of {total}"
            raise requests.RequestException(f"the connection closed after {size}{of} bytes") from error
