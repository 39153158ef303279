"""Corpora of speech: the splits, the sound, and parts of recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drnn_core.errors import InputError
from drnn_deploy import datasets
from drnn_deploy.datasets import speech
from drnn_deploy.datasets.speech import FSDD_SPEAKERS, Corpus, read_fsdd, read_vctk
from tests.drnn_deploy.datasets.helpers import put
from tests.drnn_deploy.datasets.sounds import file_names, fsdd_archive, fsdd_files, ramp, vctk_tree

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


def test_more_speech_than_there_can_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of FLAC, under the name of a WAV file, may hold minutes of silence."""
    archive = fsdd_archive(tmp_path / "fsdd.tar.gz", fsdd_files())
    seconds = sum(len(r.samples()) for split in read_fsdd(archive, 8000).splits.values() for r in split) / 8000
    monkeypatch.setattr(speech, "_MOST_SECONDS", 0.9 * seconds)
    for rate in (8000, 16_000):
        with pytest.raises(InputError, match="hours of speech"):
            read_fsdd(archive, rate)
    monkeypatch.setattr(speech, "_MOST_SECONDS", 1.1 * seconds)
    read_fsdd(archive, 8000)


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
