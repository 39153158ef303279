"""The route over HTTP: interrupted, resumed, refused."""

from __future__ import annotations

import functools
import hashlib
import socket
from pathlib import Path

import pooch
import pytest

from drnn_core.errors import InputError
from drnn_deploy import datasets
from drnn_deploy.datasets.download import Download
from tests.drnn_deploy.datasets.helpers import CERTIFICATE, GZ, WHOLE, Server, names, origins, put


def test_without_npm_the_server_is_asked(place: Path, server: Server) -> None:
    assert origins(datasets.fetch("tiny")) == ["download", "download"]
    assert server.asked == [("images.gz", None), ("labels.gz", None)]
    assert names(place) == ["images", "labels"]


def serve_from(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = datasets.DATASETS["tiny"].files
    monkeypatch.setitem(datasets.DATASETS, "tiny", datasets.DataSet(files, (Download(base),)))


@pytest.mark.parametrize("cuts", [[100_000], [0], [1, 299_000], [70_000, 70_000, 70_000]])
def test_a_broken_download_asks_for_the_rest(cuts: list[int], place: Path, server: Server) -> None:
    server.cuts = list(cuts)
    assert origins(datasets.fetch("tiny")) == ["download", "download"]
    starts = [sum(cuts[:count]) for count in range(len(cuts) + 1)]
    assert server.ranges_of("images.gz") == [f"bytes={start}-" if start else None for start in starts]
    assert server.sent == WHOLE + len(GZ["labels.gz"])


def test_a_server_without_ranges_is_read_from_the_start(place: Path, server: Server) -> None:
    server.ranges, server.cuts = False, [100_000]
    assert origins(datasets.fetch("tiny")) == ["download", "download"]
    assert server.ranges_of("images.gz") == [None, "bytes=100000-"]
    assert server.sent == 100_000 + WHOLE + len(GZ["labels.gz"])


def test_a_server_that_names_no_length(place: Path, server: Server) -> None:
    server.sized = False
    assert origins(datasets.fetch("tiny")) == ["download", "download"]


def test_the_next_fetch_goes_on_where_the_last_one_stopped(place: Path, server: Server) -> None:
    server.cuts = [50_000, 0, 0, 0]
    with pytest.raises(InputError, match=r"closed after 50000 of \d+ bytes \(tried 4 times\)"):
        datasets.fetch("tiny")
    assert names(place) == ["images.gz.part"]
    server.asked.clear()
    assert origins(datasets.fetch("tiny")) == ["download", "download"]
    assert server.ranges_of("images.gz") == ["bytes=50000-"]
    assert names(place) == ["images", "labels"]


def test_a_part_that_is_whole_needs_no_more_bytes(place: Path, server: Server) -> None:
    put(place, {"images.gz.part": GZ["images.gz"]})
    assert origins(datasets.fetch("tiny")) == ["download", "download"]
    assert server.ranges_of("images.gz") == [f"bytes={WHOLE}-"]
    assert server.sent == len(GZ["labels.gz"])


def test_a_damaged_part_is_thrown_away(place: Path, server: Server) -> None:
    put(place, {"images.gz.part": b"x" * 1000})
    assert origins(datasets.fetch("tiny")) == ["download", "download"]
    assert server.ranges_of("images.gz") == ["bytes=1000-", None]


def test_a_busy_server_is_asked_again(place: Path, server: Server) -> None:
    server.failures = [503, 429]
    assert origins(datasets.fetch("tiny")) == ["download", "download"]
    assert server.ranges_of("images.gz") == [None, None, None]


def test_a_refusal_is_not_asked_again(place: Path, server: Server) -> None:
    server.files.clear()
    with pytest.raises(InputError, match=r"images\.gz: HTTP 404"):
        datasets.fetch("tiny")
    assert len(server.asked) == 1


@pytest.mark.parametrize("proxy", [False, True])
def test_a_server_that_is_not_there_is_a_reason(proxy: bool, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        base = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    if proxy:
        monkeypatch.setenv("http_proxy", base)
        monkeypatch.delenv("no_proxy")
    serve_from(base, monkeypatch)
    reason = "ProxyError" if proxy else "ConnectionError"
    with pytest.raises(InputError, match=rf"{base}images\.gz: {reason}: .*refused \(tried 4 times\)"):
        datasets.fetch("tiny")
    assert names(place) == []


def test_a_proxy_of_the_environment_is_asked(place: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.base)
    monkeypatch.delenv("no_proxy")
    serve_from("http://data.invalid/", monkeypatch)
    assert origins(datasets.fetch("tiny")) == ["download", "download"]


@pytest.mark.parametrize("server", ["https"], indirect=True)
@pytest.mark.parametrize("known", [True, False])
def test_certificates_of_the_system_are_trusted_and_no_others(
    known: bool, place: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert origins(datasets.fetch("tiny")) == ["download", "download"]
    else:
        with pytest.raises(InputError, match=r"images\.gz: SSLError: .*self.signed certificate.* \(tried 4 times\)"):
            datasets.fetch("tiny")
        assert (server.asked, names(place)) == ([], [])


def test_pooch_writes_nothing_between_the_progress_bars(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[object] = []
    monkeypatch.setattr(pooch.get_logger(), "handle", notes.append)
    pooch.get_logger().setLevel("NOTSET")
    assert origins(datasets.fetch("tiny")) == ["download", "download"]
    assert notes == []


def test_a_python_that_refuses_md5_is_a_reason(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pooch.hashes.ALGORITHMS_AVAILABLE, "md5", functools.partial(hashlib.new, "none"))
    with pytest.raises(InputError, match=r"images\.gz: unsupported hash type none \(tried 4 times\)"):
        datasets.fetch("tiny")
    assert names(place) == []


def test_progress_counts_to_the_whole(place: Path, server: Server) -> None:
    server.cuts = [100_000]
    seen: list[tuple[str, int, int | None]] = []
    datasets.fetch("tiny", progress=lambda *step: seen.append(step))
    labels = len(GZ["labels.gz"])
    assert seen == [("images.gz", 100_000, WHOLE), ("images.gz", WHOLE, WHOLE), ("labels.gz", labels, labels)]
