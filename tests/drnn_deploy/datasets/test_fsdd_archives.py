"""Archives and folders that are not the Free Spoken Digit Dataset: what is said of them."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_deploy.datasets import speech
from drnn_deploy.datasets.speech import read_fsdd
from tests.drnn_deploy.datasets.helpers import link, put, tarball
from tests.drnn_deploy.datasets.sounds import fsdd_archive, fsdd_files, ramp, wav

MEMBERS = {f"fsdd/{name}": content for name, content in fsdd_files().items()}
SILENCE = wav(np.zeros(20))
HOSTILE_MEMBERS = {
    "not audio": ({"fsdd/0_theo_20.wav": b"RIFF"}, r"0_theo_20\.wav in .* cannot be read as audio"),
    "another rate": ({"fsdd/0_theo_20.wav": wav(np.zeros(20), 48_000)}, "48000 Hz and should be at 8000 Hz"),
    "stereo": ({"fsdd/0_theo_20.wav": wav(np.zeros((20, 2)))}, "has 2 channels"),
    "empty": ({"fsdd/0_theo_20.wav": wav(np.zeros(0))}, "holds no sound"),
    "unknown speaker": ({"fsdd/0_mallory_20.wav": SILENCE}, r"0_mallory_20\.wav in .* is not of FSDD"),
    "unknown name": ({"fsdd/0-theo-20.wav": SILENCE}, "is not of FSDD: its files are DIGIT_SPEAKER_TAKE"),
    "take twice": ({"fsdd/0_theo_05.wav": SILENCE}, r"0_theo_05\.wav in .* is there twice: 0_theo_5\.wav"),
    "huge": ({"fsdd/0_theo_20.wav": bytes(1 << 21)}, "has 2097152 bytes, more than 1048576"),
    "huge text": ({"fsdd/more.txt": bytes(1 << 21)}, "has 2097152 bytes, more than 1048576"),
    "absolute": ({"/fsdd/0_theo_20.wav": SILENCE}, "lies elsewhere than in fsdd"),
    "upwards": ({"fsdd/../0_theo_20.wav": SILENCE}, "lies elsewhere than in fsdd"),
    "deeper": ({"fsdd/more/0_theo_20.wav": SILENCE}, "lies elsewhere than in fsdd"),
}


@pytest.mark.parametrize("case", HOSTILE_MEMBERS)
def test_a_hostile_member_is_refused(case: str, tmp_path: Path) -> None:
    more, message = HOSTILE_MEMBERS[case]
    put(tmp_path, {"fsdd.tar.gz": tarball({**MEMBERS, **more})})
    with pytest.raises(InputError, match=message):
        read_fsdd(tmp_path / "fsdd.tar.gz", 8000)
    assert [path.name for path in tmp_path.iterdir()] == ["fsdd.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_link_or_device_in_the_archive_is_refused(kind: bytes, tmp_path: Path) -> None:
    put(tmp_path, {"fsdd.tar.gz": tarball(MEMBERS, link("fsdd/0_theo_20.wav", "0_theo_5.wav", kind))})
    with pytest.raises(InputError, match=r"'fsdd/0_theo_20\.wav' is neither a file nor a folder"):
        read_fsdd(tmp_path / "fsdd.tar.gz", 8000)


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for _ in range(2):
            member = tarfile.TarInfo("fsdd/0_theo_5.wav")
            member.size = len(SILENCE)
            tar.addfile(member, io.BytesIO(SILENCE))
    put(tmp_path, {"fsdd.tar.gz": packed.getvalue()})
    with pytest.raises(InputError, match="is there twice"):
        read_fsdd(tmp_path / "fsdd.tar.gz", 8000)


def test_an_archive_that_unpacks_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the length is in a header that tarfile reads before it shows the member."""
    monkeypatch.setattr(speech, "_MOST_BYTES", 100_000)
    header = tarfile.TarInfo("fsdd/SOURCE.txt")
    header.pax_headers = {"comment": "x" * 200_000}
    put(tmp_path, {"fsdd.tar.gz": gzip.compress(header.tobuf(tarfile.PAX_FORMAT) + bytes(1024))})
    with pytest.raises(InputError, match="more than 100000 bytes"):
        read_fsdd(tmp_path / "fsdd.tar.gz", 8000)


def test_an_archive_of_too_many_members_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "_MOST_MEMBERS", 10)
    with pytest.raises(InputError, match="it holds more than 10 files"):
        read_fsdd(fsdd_archive(tmp_path / "fsdd.tar.gz", fsdd_files()), 8000)


def broken_off_within(member: bytes) -> bytes:
    """An archive of one member whose deflate stream has no valid block after the first 30,000 bytes."""
    packer = zlib.compressobj(wbits=31)
    start = gzip.decompress(tarball({"fsdd/0_theo_5.wav": member}))[:30_000]
    return packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH) + b"\xff" * 100


def headers_of_headers() -> bytes:
    """Long names of long names: each is of the member that follows."""
    name = tarfile.TarInfo("fsdd/x")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 2
    return gzip.compress((name.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")) * 3000)


WHOLE = tarball(MEMBERS)
NO_ARCHIVES = {
    "nothing": b"",
    "text": b"no archive",
    "packed text": gzip.compress(b"no archive" * 100),
    "without its end": WHOLE[:-2000],
    "without its start": WHOLE[5:],
    "damaged within a file": broken_off_within(wav(ramp(0, 30_000))),
    "headers of headers": headers_of_headers(),
    "damaged": WHOLE[:500] + bytes(range(250)) + WHOLE[750:],
}


@pytest.mark.parametrize("content", NO_ARCHIVES.values(), ids=NO_ARCHIVES)
def test_what_is_no_archive_is_refused_with_what_to_do(content: bytes, tmp_path: Path) -> None:
    put(tmp_path, {"fsdd.tar.gz": content})
    with pytest.raises(InputError, match=r"is not the archive of FSDD: it cannot be unpacked") as refusal:
        read_fsdd(tmp_path / "fsdd.tar.gz", 8000)
    assert refusal.value.fix == "Type: drnn-deploy data verify speaker-id"


@given(st.integers(0, 512 * 8), st.integers(0, 255))
def test_a_damaged_archive_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    packed = bytearray(gzip.decompress(tarball(MEMBERS)))
    packed[place] = byte
    path = tmp_path_factory.mktemp("damaged") / "fsdd.tar.gz"
    path.write_bytes(gzip.compress(bytes(packed), 1))
    try:
        corpus = read_fsdd(path, 8000)
    except InputError as refusal:
        assert "fsdd.tar.gz" in refusal.message
    else:
        assert len(corpus.splits["test"]) <= 12


@pytest.mark.parametrize(
    ("takes", "message"),
    [((0, 5), "no recording of the training split"), ((5, 10), "no recording of the test split")],
)
def test_an_archive_without_a_split_is_refused(takes: tuple[int, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_fsdd(fsdd_archive(tmp_path / "fsdd.tar.gz", fsdd_files(takes)), 8000)


def test_an_archive_without_a_speaker_is_refused(tmp_path: Path) -> None:
    files = {name: content for name, content in fsdd_files().items() if "lucas" not in name}
    with pytest.raises(InputError, match="no training recording of lucas"):
        read_fsdd(fsdd_archive(tmp_path / "fsdd.tar.gz", files), 8000)


def test_a_folder_of_fsdd_is_as_suspect_as_its_archive(tmp_path: Path) -> None:
    put(tmp_path, {**fsdd_files(), "0_theo_20.wav": bytes(1 << 21)})
    with pytest.raises(InputError, match=r"0_theo_20\.wav is not a file of at most 1048576 bytes"):
        read_fsdd(tmp_path, 8000)
    (tmp_path / "0_theo_20.wav").unlink()
    os.mkfifo(tmp_path / "0_theo_20.wav")
    with pytest.raises(InputError, match=r"0_theo_20\.wav is not a file of at most"):
        read_fsdd(tmp_path, 8000)
