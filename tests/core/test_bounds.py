"""What is too large is refused from sizes and headers, in little memory and time."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from drnn_core import bounds
from drnn_core.bounds import TooLargeError
from drnn_core.errors import InputError
from drnn_core.npz import reading_npz, write_npz
from drnn_core.plain_data import read_json, read_toml

HUGE = 4 << 30


@pytest.fixture(autouse=True)
def little_memory_and_time() -> Iterator[None]:
    started = time.monotonic()
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 << 20
    assert time.monotonic() - started < 10


def sparse(path: Path, size: int, start: bytes = b"") -> Path:
    """A file that takes no room on the disk and is as long as that."""
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)
    return path


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert bounds.read_bytes(tmp_path / "file", 5) == b"12345"
    with pytest.raises(TooLargeError, match="more than 4 bytes"):
        bounds.read_bytes(tmp_path / "file", 4)


@pytest.mark.parametrize("read", [read_json, read_toml])
def test_text_that_has_no_end(tmp_path: Path, read: object) -> None:
    with pytest.raises(TooLargeError):
        read(sparse(tmp_path / "long", HUGE))  # type: ignore[operator]
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="it is a device or pipe"):
            read(path)  # type: ignore[operator]


def test_text_is_read_with_any_ends_of_lines(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("ü\r\nb\n".encode())
    assert bounds.text_of(tmp_path / "text") == "ü\nb\n"
    (tmp_path / "text").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="utf-8"):
        bounds.text_of(tmp_path / "text")


def test_archive_that_unpacks_to_more_than_its_bound(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one", bytes(600))
        archive.writestr("two", bytes(600))
    with (tmp_path / "a.zip").open("rb") as file:
        with bounds.open_zip(file, 1200) as archive:
            assert archive.read("two") == bytes(600)
        with pytest.raises(TooLargeError, match=r"unpacks to 1\.2 kB, more than 1\.2 kB"):
            bounds.open_zip(file, 1199)


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_whose_steps_have_no_bound(tmp_path: Path, packing: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", packing) as archive:
        archive.writestr("one", bytes(600))
    with (tmp_path / "a.zip").open("rb") as file, pytest.raises(ValueError, match="packed in a way"):
        bounds.open_zip(file, HUGE)


def test_directory_of_an_archive_that_is_itself_too_long(tmp_path: Path) -> None:
    """A hundred megabytes of entries take Python gigabytes before the first can be looked at."""
    entry = b"PK\1\2" + bytes(42)
    count = (40 << 20) // len(entry)
    end = b"PK\5\6" + bytes(4) + b"\xff\xff\xff\xff" + (count * len(entry)).to_bytes(4, "little") + bytes(6)
    (tmp_path / "a.zip").write_bytes(entry * count + end)
    with (
        (tmp_path / "a.zip").open("rb") as file,
        pytest.raises(TooLargeError, match=r"list of its members is 41\.9 MB"),
    ):
        bounds.open_zip(file, HUGE)


def test_member_that_holds_more_than_it_says(tmp_path: Path) -> None:
    """The size in the directory is all that is ever unpacked, and the checksum then differs."""
    path = tmp_path / "a.npz"
    np.savez_compressed(path, about=np.array("{}"), a=np.zeros(100))
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("a.npy").file_size
    assert content.count(size.to_bytes(4, "little")) >= 1
    path.write_bytes(content.replace(size.to_bytes(4, "little"), (size - 8).to_bytes(4, "little")))
    with pytest.raises(InputError, match=r"CRC-32|says that it has shape"), reading_npz(path, "no", ""):
        pass


def test_array_whose_header_asks_for_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    header = json.dumps({"descr": "<f8", "fortran_order": False, "shape": [1 << 40]})
    header = header.replace("false", "False").replace("[", "(").replace("]", ",)")
    member = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(80)
    np.savez(path, about=np.array("{}"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a.npy", member)
    with pytest.raises(InputError, match=r"says that it has shape \(1099511627776,\), and holds 80 bytes"):  # noqa: SIM117
        with reading_npz(path, "no", ""):
            pass


@pytest.mark.parametrize("array", [np.zeros(1 << 40, "V0"), np.zeros(3, [("x", "<f8")]), np.zeros(2, "M8[s]")])
def test_arrays_that_are_neither_numbers_nor_text(tmp_path: Path, array: np.ndarray) -> None:
    if array.dtype.itemsize == 0:
        array = np.ndarray(10, "V0")
    np.savez(tmp_path / "a.npz", about=np.array("{}"), a=array)
    with pytest.raises(InputError, match="neither numbers nor text"), reading_npz(tmp_path / "a.npz", "no", ""):
        pass


def test_headers_say_what_the_arrays_are(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", {}, {"a": np.zeros((2, 3), np.float32), "text": np.array("four")})
    with reading_npz(tmp_path / "a.npz", "no", "", most=1000) as (_, arrays):
        assert set(arrays) == {"about", "a", "text"}
        assert (arrays.headers["a"].shape, arrays.headers["a"].dtype, arrays.headers["a"].nbytes) == ((2, 3), "f4", 24)
    with pytest.raises(InputError, match="more than 300 bytes"), reading_npz(tmp_path / "a.npz", "no", "", most=300):
        pass


def test_document_that_is_no_short_text(tmp_path: Path) -> None:
    for about in (np.zeros(3), np.array(["{}", "{}"]), np.array(" " * (bounds.TEXT + 1))):
        np.savez_compressed(tmp_path / "a.npz", about=about)
        with pytest.raises(InputError, match="about is no text"), reading_npz(tmp_path / "a.npz", "no", ""):
            pass


def test_safetensors_that_say_too_much(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(TooLargeError, match=r"it is 4\.29 GB long"):
        bounds.check_safetensors(sparse(path, HUGE), bounds.UNPACKED)
    with pytest.raises(TooLargeError, match="its header is 100 MB long"):
        bounds.check_safetensors(sparse(path, HUGE, (100 * 10**6).to_bytes(8, "little")), HUGE)
    bounds.check_safetensors(sparse(path, 1000, (100).to_bytes(8, "little")), 1000)


@pytest.mark.parametrize(
    "size, text",
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (4 << 30, "4.29 GB"),
        (1 << 47, "141 TB"),
        (10**21, "1e+06 PB"),
    ],
)
def test_sizes_in_text(size: int, text: str) -> None:
    assert bounds.shown_bytes(size) == text


def test_sizes_of_files_on_the_disk_are_not_what_is_read() -> None:
    assert os.stat("/dev/zero").st_size == 0  # noqa: PTH116  why `read_bytes` counts what it reads


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="of Linux")
def test_a_file_whose_size_the_system_does_not_say_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_PAGE", 7)
    content = bounds.read_bytes(Path("/proc/self/status"), 1 << 20)
    assert content.startswith(b"Name:")
    assert b"nonvoluntary_ctxt_switches" in content
    with pytest.raises(TooLargeError, match="more than 100 bytes"):
        bounds.read_bytes(Path("/proc/self/status"), 100)
