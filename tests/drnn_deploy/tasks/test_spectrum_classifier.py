from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drnn_core.errors import InputError
from drnn_deploy import datasets
from drnn_deploy.tasks.speaker_id import SpeakerId
from drnn_deploy.tasks.spectrum_classifier import averaged_spectrum, averaged_spectrum_accuracy
from tests.drnn_deploy.datasets.helpers import put
from tests.drnn_deploy.datasets.sounds import fsdd_files, sine, vctk_tree, wav


def test_two_speakers_of_different_pitch_are_told_apart(tmp_path: Path) -> None:
    task = SpeakerId(corpus="vctk", path=str(vctk_tree(tmp_path)))
    assert averaged_spectrum_accuracy(task) == {"validation": 1.0, "test": 1.0}


def test_speakers_that_differ_in_nothing_are_guessed_unless_they_were_trained_on(tmp_path: Path) -> None:
    """Noise from everybody; take 0 is test. Take 5, validation, repeats take 10, which is trained on."""
    random = np.random.default_rng(0)
    files = {name: wav(random.uniform(-0.1, 0.1, 600)) for name in fsdd_files((0, 5, 10, 11), range(10))}
    put(tmp_path, {name: files[name.replace("_5.", "_10.")] for name in files})
    accuracy = averaged_spectrum_accuracy(SpeakerId(path=str(tmp_path)))
    assert accuracy["test"] < 0.45  # of 60; guessing gets 1/6
    assert accuracy["validation"] > 0.9


def test_averaged_spectrum_shows_the_sound_and_neither_its_loudness_nor_its_length() -> None:
    short, long = (sine(1000, 8000, samples).astype(np.float32) for samples in (512, 5120))
    spectrum = averaged_spectrum(short, 8000)
    assert (spectrum.shape, spectrum.dtype) == ((129,), np.float64)
    assert np.argmax(spectrum) == 32  # bins of 31.25 Hz
    np.testing.assert_allclose(averaged_spectrum(0.1 * short, 8000), spectrum, atol=1e-3)
    np.testing.assert_allclose(averaged_spectrum(long, 8000)[25:40], spectrum[25:40], atol=0.1)


@pytest.mark.parametrize("samples", [1, 255, 256, 257])
def test_averaged_spectrum_of_a_short_recording_is_that_of_one_frame(samples: int) -> None:
    sound = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    level = sound / np.sqrt(np.mean(sound.astype(np.float64) ** 2))
    frame = np.concatenate([np.zeros(max(256 - samples, 0)), level])[:256]
    expected = np.log(np.abs(np.fft.fft(frame * np.hanning(256))[:129]) ** 2 + 1e-6)
    np.testing.assert_allclose(averaged_spectrum(sound, 8000), expected, atol=1e-3)


def test_the_real_speakers_are_easy_to_tell_apart(record_property: pytest.RecordProperty) -> None:
    """What the card says of FSDD: averaged spectra alone tell the six speakers apart."""
    try:
        datasets.folder("speaker-id")
    except InputError as missing:
        pytest.skip(f"FSDD is not on this machine. {missing.fix}")
    accuracy = averaged_spectrum_accuracy(SpeakerId())
    record_property("FSDD recordings right by averaged spectrum, test", f"{accuracy['test']:.4f}")
    assert accuracy["test"] == pytest.approx(0.99, abs=0.01)
