"""Audio files: what comes out of good ones, and what is said of bad ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_deploy.datasets.audio import read_audio, read_part
from tests.drnn_deploy.datasets.sounds import ramp, sine, wav


def test_samples_of_the_same_rate_are_those_of_the_file() -> None:
    samples = read_audio(wav(ramp(-300, 500)), "it", 8000)
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples * 32768, np.arange(-300, 200))


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "FLAC"])
def test_wav_and_flac_hold_the_same_sound(kind: str) -> None:
    content = wav(ramp(0, 100), kind=kind, subtype="PCM_16")
    np.testing.assert_array_equal(read_audio(content, "it", 8000) * 32768, np.arange(100))


@pytest.mark.parametrize(("recorded", "rate"), [(48_000, 8000), (44_100, 8000), (8000, 16_000), (22_050, 48_000)])
def test_a_sine_keeps_its_frequency_and_its_length_in_seconds(recorded: int, rate: int) -> None:
    samples = read_audio(wav(sine(440, recorded, 2 * recorded), recorded), "it", rate)
    assert len(samples) == 2 * rate
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert np.argmax(spectrum) / 2 == 440  # the bins are half a hertz apart
    np.testing.assert_allclose(samples[200:-200], sine(440, rate, 2 * rate)[200:-200], atol=2e-3)


def test_what_is_too_high_for_the_rate_is_filtered_out() -> None:
    samples = read_audio(wav(sine(5000, 48_000, 48_000), 48_000), "it", 8000)
    assert np.abs(samples[200:-200]).max() < 1e-3  # without a filter it would be heard at 3,000 Hz


@given(
    st.sampled_from([(48_000, 8000), (44_100, 8000), (8000, 8000), (11_025, 8000), (8000, 16_000), (8000, 192_000)]),
    st.integers(1, 1500),
    st.integers(1, 800),
    st.floats(0, 1, exclude_max=True),
)
def test_a_part_is_the_same_part_of_the_whole(rates: tuple[int, int], frames: int, length: int, at: float) -> None:
    recorded, rate = rates
    frames = frames * recorded // 8000 + 1
    content = wav(np.random.default_rng(frames).uniform(-0.5, 0.5, frames), recorded, subtype="FLOAT")
    whole = read_audio(content, "it", rate)
    part = read_part(content, "it", rate, length, at)
    assert len(part) == min(length, len(whole))
    start = int(at * (len(whole) - len(part) + 1))
    np.testing.assert_allclose(part, whole[start : start + len(part)], atol=2e-3)


def test_a_part_can_lie_at_either_end() -> None:
    content = wav(ramp(0, 100))
    assert read_part(content, "it", 8000, 90, 0.0)[0] == 0
    assert read_part(content, "it", 8000, 90, np.nextafter(1, 0))[-1] * 32768 == 99


def test_a_part_reads_no_more_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    import soundfile

    asked = []
    read = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, **k: asked.append(n) or read(self, n, **k))
    read_part(wav(sine(440, 48_000, 480_000), 48_000), "it", 8000, 100, 0.5)
    assert 600 <= sum(asked) < 6000  # 100 samples are 600 frames; the rest is for the filter


NAN = np.array([0.0, np.nan, 0.0])
BAD = {
    "no audio": (b"RIFF, or so it says", "it cannot be read as audio: "),
    "nothing": (b"", "it cannot be read as audio: "),
    "stereo": (wav(np.zeros((10, 2))), "it has 2 channels and should have one"),
    "another format": (wav(np.zeros(10), kind="AIFF"), "it is a AIFF file and not WAV or FLAC"),
    "a low rate": (wav(np.zeros(10), 1000), "it is at 1000 Hz, outside 2000 to 192000 Hz"),
    "a high rate": (wav(np.zeros(10), 200_000), "it is at 200000 Hz, outside 2000 to 192000 Hz"),
    "no frames": (wav(np.zeros(0)), "it holds no sound: 0 frames at 8000 Hz"),
    "NaN": (wav(NAN, subtype="FLOAT"), "it holds values that are not numbers"),
    "infinity": (wav(np.where(np.isnan(NAN), -np.inf, 0), subtype="DOUBLE"), "it holds values that are not numbers"),
    "beyond measure": (wav(np.array([0.0, 1e30]), subtype="FLOAT"), "or beyond 10000 times full scale"),
    "too long": (wav(np.zeros(601 * 2000, np.int16), 2000, subtype="PCM_U8"), "is longer than 600 seconds"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("part", [True, False])
def test_what_is_not_usable_sound_is_refused_by_name(case: str, part: bool) -> None:
    content, message = BAD[case]
    with pytest.raises(InputError) as refusal:
        read_part(content, "it", 8000, 1, 0.5) if part else read_audio(content, "it", 8000)
    assert message in refusal.value.message


def test_another_rate_than_the_corpus_has_is_refused() -> None:
    with pytest.raises(InputError, match="it is at 8001 Hz and should be at 8000 Hz"):
        read_audio(wav(np.zeros(10), 8001), "it", 8000, recorded_at=8000)


def test_a_file_shorter_than_one_sample_of_the_new_rate_holds_no_sound() -> None:
    with pytest.raises(InputError, match="it holds no sound: 5 frames at 48000 Hz"):
        read_audio(wav(np.zeros(5), 48_000), "it", 8000)


def test_a_flac_file_that_breaks_off_is_refused() -> None:
    content = wav(np.random.default_rng(0).uniform(-1, 1, 40_000), kind="FLAC")
    with pytest.raises(InputError, match=r"^it (ends after|cannot be read as audio)"):
        read_audio(content[: len(content) // 2], "it", 8000)


def test_a_file_that_gives_less_than_it_says_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does that is cut while it is open."""
    import soundfile

    read = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, **k: read(self, n - 1, **k))
    with pytest.raises(InputError, match="it ends after 99 of 100 frames"):
        read_audio(wav(ramp(0, 100)), "it", 8000)


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(place: int, byte: int) -> None:
    content = bytearray(wav(sine(440, 8000, 500), kind="WAV" if place % 2 else "FLAC"))
    content[place // 2 % min(len(content), 100)] = byte  # most of them in the headers
    try:
        samples = read_audio(bytes(content), "it", 8000)
    except InputError as refusal:
        assert refusal.message.startswith("it ")
    else:
        assert len(samples) and np.isfinite(samples).all()


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_what_is_no_file_is_not_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "it.wav"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(InputError, match=r"it\.wav is not a file"):
        read_part(path, str(path), 8000, 10, 0.5)


def test_sound_without_a_header_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "it.RAW").write_bytes(bytes(8000))
    with pytest.raises(InputError, match=r"it\.RAW has no header that says its rate"):
        read_part(path, str(path), 8000, 10, 0.5)
