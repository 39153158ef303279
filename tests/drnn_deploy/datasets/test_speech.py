"""Corpora: the splits, the sound, and what is said of archives and folders that are no corpus."""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_deploy import datasets
from drnn_deploy.datasets import speech
from drnn_deploy.datasets.speech import FSDD_SPEAKERS, Corpus, read_fsdd, read_vctk
from tests.drnn_deploy.datasets.helpers import link, put, tarball
from tests.drnn_deploy.datasets.sounds import fsdd_archive, fsdd_files, ramp, vctk_tree, wav

Reader = Callable[[Path], Corpus]
TAKES = (0, 4, 5, 9, 10, 49)


def fsdd(path: Path) -> Corpus:
    """As an archive."""
    return read_fsdd(fsdd_archive(path / "fsdd.tar.gz", fsdd_files(TAKES)), 8000)


def fsdd_folder(path: Path) -> Corpus:
    put(path / "recordings", {**fsdd_files(TAKES), "README.md": b"not sound"})
    return read_fsdd(path / "recordings", 8000)


def vctk(path: Path) -> Corpus:
    return read_vctk(vctk_tree(path), 8000)


def vctk_flac(path: Path) -> Corpus:
    return read_vctk(vctk_tree(path, flac=True), 8000)


def file_names(corpus: Corpus) -> dict[str, list[str]]:
    return {split: [Path(r.name).name for r in recordings] for split, recordings in corpus.splits.items()}


@pytest.mark.parametrize("read", [fsdd, fsdd_folder, vctk, vctk_flac])
def test_no_file_is_in_two_splits_and_none_is_lost(read: Reader, tmp_path: Path) -> None:
    corpus = read(tmp_path)
    everything = [name for names in file_names(corpus).values() for name in names]
    assert len(everything) == len(set(everything)) == (72 if "fsdd" in read.__name__ else 10)
    assert list(corpus.speakers) == sorted(corpus.speakers)
    for recordings in corpus.splits.values():
        for recording in recordings:
            assert corpus.speakers[recording.speaker] in Path(recording.name).name


@pytest.mark.parametrize("read", [fsdd, fsdd_folder, vctk])
def test_every_first_part_of_a_split_has_all_speakers(read: Reader, tmp_path: Path) -> None:
    corpus = read(tmp_path)
    for recordings in corpus.splits.values():
        first = [recording.speaker for recording in recordings[: len(corpus.speakers)]]
        assert first == list(range(len(corpus.speakers)))


@pytest.mark.parametrize("read", [fsdd, fsdd_folder, vctk, vctk_flac])
@pytest.mark.parametrize("length", [1, 15, 5000])
def test_a_part_of_a_recording_lies_in_it_at_its_place(read: Reader, length: int, tmp_path: Path) -> None:
    recording = read(tmp_path).splits["training"][1]
    whole = recording.samples()
    for at in (0.0, 0.37, 0.999):
        part = recording.part(length, at)
        assert len(part) == min(length, len(whole))
        start = int(at * (len(whole) - len(part) + 1))
        np.testing.assert_allclose(part, whole[start : start + len(part)], atol=2e-3)


# FSDD


def test_fsdd_has_its_authors_split(tmp_path: Path) -> None:
    names = file_names(fsdd(tmp_path))
    takes = {split: {int(name.split("_")[2].removesuffix(".wav")) for name in found} for split, found in names.items()}
    assert takes == {"test": {0, 4}, "validation": {5, 9}, "training": {10, 49}}


def test_fsdd_is_read_as_it_was_recorded(tmp_path: Path) -> None:
    corpus = read_fsdd(fsdd_archive(tmp_path / "fsdd.tar.gz", fsdd_files()), 8000)
    assert corpus.speakers == FSDD_SPEAKERS
    recording = corpus.splits["validation"][7]  # number 19 of the files
    assert recording.name == "1_jackson_5.wav"
    np.testing.assert_array_equal(recording.samples() * 32768, ramp(1901, 39))


def test_fsdd_at_twice_the_rate_has_twice_the_samples(tmp_path: Path) -> None:
    archive = fsdd_archive(tmp_path / "fsdd.tar.gz", fsdd_files())
    once, twice = ([len(r.samples()) for r in read_fsdd(archive, rate).splits["test"]] for rate in (8000, 16_000))
    assert [2 * count for count in once] == twice


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


WHOLE = tarball(MEMBERS)
NO_ARCHIVES = {
    "nothing": b"",
    "text": b"no archive",
    "packed text": gzip.compress(b"no archive" * 100),
    "without its end": WHOLE[:-2000],
    "without its start": WHOLE[5:],
    "damaged within a file": broken_off_within(wav(ramp(0, 30_000))),
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


# VCTK


@pytest.mark.parametrize("flac", [True, False])
def test_vctk_is_split_by_the_last_digit_of_the_utterance(flac: bool, tmp_path: Path) -> None:
    names = file_names(read_vctk(vctk_tree(tmp_path, flac=flac), 8000))
    ending = "_mic1.flac" if flac else ".wav"
    assert names == {
        "training": [f"{speaker}_{n}{ending}" for n in ("001", "002", "011") for speaker in ("p225", "p226")],
        "validation": [f"p225_005{ending}", f"p226_005{ending}"],
        "test": [f"p225_010{ending}", f"p226_010{ending}"],
    }


@pytest.mark.parametrize("flac", [True, False])
def test_vctk_is_resampled(flac: bool, tmp_path: Path) -> None:
    corpus = read_vctk(vctk_tree(tmp_path, flac=flac), 8000)
    samples = corpus.splits["test"][1].samples()  # p226's utterance 10, a sine of 660 Hz
    assert len(samples) == (24_000 + 6_000) // 6
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * 8000 / len(samples) == pytest.approx(660, abs=2)


def test_vctk_is_listed_without_being_read(tmp_path: Path) -> None:
    for path in vctk_tree(tmp_path).rglob("*.wav"):
        path.write_bytes(b"no sound")
    recording = read_vctk(tmp_path, 8000).splits["training"][0]
    with pytest.raises(InputError, match=r"p225_001\.wav cannot be read as audio"):
        recording.part(10, 0.5)


def test_the_older_layout_comes_first_where_both_are_there(tmp_path: Path) -> None:
    vctk_tree(vctk_tree(tmp_path), flac=True)
    assert file_names(read_vctk(tmp_path, 8000))["test"] == ["p225_010.wav", "p226_010.wav"]


def test_two_files_of_one_utterance_are_refused(tmp_path: Path) -> None:
    vctk_tree(tmp_path)
    put(tmp_path / "wav48" / "p225", {"p225_001.flac": b""})
    with pytest.raises(InputError, match=r"p225_001\.flac and .*p225_001\.wav are the same utterance"):
        read_vctk(tmp_path, 8000)


@pytest.mark.parametrize("missing", ["all", "speakers", "a speaker's training", "a speaker", "test"])
def test_what_is_no_vctk_is_refused_with_what_to_do(missing: str, tmp_path: Path) -> None:
    message = {
        "all": f"there is no VCTK corpus in {tmp_path}",
        "speakers": "holds recordings of 0 speakers",
        "a speaker's training": "no training recording of p226",
        "a speaker": "holds recordings of 1 speakers; two at least",
        "test": "no recording of the test split",
    }[missing]
    if missing == "speakers":
        put(tmp_path / "wav48", {"p225": b"not a folder"})
    elif missing != "all":
        vctk_tree(tmp_path)
        pattern = {"a speaker's training": "p226_0?[12].wav", "a speaker": "p226_*", "test": "*_010.wav"}[missing]
        for path in tmp_path.rglob(pattern):
            path.unlink()
    with pytest.raises(InputError, match=re.escape(message)) as refusal:
        read_vctk(tmp_path, 8000)
    assert "wav48 or wav48_silence_trimmed" in refusal.value.fix
    assert "--set data.path=FOLDER" in refusal.value.fix


# The real archive


def test_the_real_archive_is_what_is_said_of_it() -> None:
    try:
        folder = datasets.folder("speaker-id")
    except InputError as missing:
        pytest.skip(f"FSDD is not on this machine. {missing.fix}")
    corpus = read_fsdd(folder / "fsdd.tar.gz", 8000)
    assert {split: len(found) for split, found in corpus.splits.items()} == {
        "training": 2400,
        "validation": 300,
        "test": 300,
    }
    for recordings, each in zip(corpus.splits.values(), (400, 50, 50), strict=True):
        assert np.bincount([recording.speaker for recording in recordings]).tolist() == [each] * 6
