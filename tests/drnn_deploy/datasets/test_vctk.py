"""VCTK: its two layouts, and what is said of folders that are none."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from drnn_core.errors import InputError
from drnn_deploy.datasets.speech import read_vctk
from tests.drnn_deploy.datasets.helpers import put
from tests.drnn_deploy.datasets.sounds import file_names, vctk_tree


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
