from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from drnn_deploy.datasets.disturbance import MOST_GAIN, MOST_TILT, disturbed, disturbed_corpus
from drnn_deploy.datasets.speech import Corpus, InMemory

RATE = 8_000


class Drawn:
    """In place of a generator: this tilt, this gain, and real noise."""

    def __init__(self, tilt: float, gain: float) -> None:
        self.values, self.noise = [tilt, gain], np.random.default_rng(0)

    def uniform(self, low: float, high: float) -> float:
        assert -low == high == (MOST_TILT if len(self.values) == 2 else MOST_GAIN)
        return self.values.pop(0)

    def normal(self, scale: float, size: int) -> NDArray[np.float64]:
        return self.noise.normal(scale=scale, size=size)


def tone(hertz: float, count: int = RATE) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * hertz * np.arange(count) / RATE).astype(np.float32)


def decibels(samples: NDArray[np.generic]) -> float:
    return float(10 * np.log10(np.mean(np.square(samples.astype(np.float64)))))


def level_at(samples: NDArray[np.generic], hertz: int) -> float:
    """Of one second, whose bins are 1 Hz apart."""
    return float(20 * np.log10(np.abs(np.fft.rfft(samples))[hertz]))


@pytest.mark.parametrize("tilt", [-6.0, 0.0, 3.0])
def test_tilt_is_in_decibels_an_octave(tilt: float) -> None:
    heard = disturbed(tone(500) + tone(1000) + tone(2000), RATE, 80, Drawn(tilt, 0))  # type: ignore[arg-type]
    levels = [level_at(heard, hertz) for hertz in (500, 1000, 2000)]
    assert np.diff(levels) == pytest.approx([tilt, tilt], abs=0.05)


@pytest.mark.parametrize("gain", [-6.0, 0.0, 4.0])
def test_gain_is_over_unit_rms_whatever_the_recording_had(gain: float) -> None:
    heard = disturbed(0.01 * tone(500), RATE, 80, Drawn(2, gain))  # type: ignore[arg-type]
    assert decibels(heard) == pytest.approx(gain, abs=0.01)


@pytest.mark.parametrize("snr", [20.0, -5.0])
def test_noise_lies_so_far_below_a_recording_of_gain_0(snr: float) -> None:
    clean, heard = (disturbed(tone(500), RATE, level, Drawn(0, 0)) for level in (100, snr))  # type: ignore[arg-type]
    assert decibels(heard - clean) == pytest.approx(-snr, abs=0.2)


def test_each_recording_of_each_split_is_disturbed_otherwise_and_always_the_same() -> None:
    same = InMemory("same.wav", 0, tone(300, 101))
    corpus = Corpus(("a", "b"), {"training": (same, same), "validation": (same,), "test": (same,)})
    one, again = disturbed_corpus(corpus, RATE, 10), disturbed_corpus(corpus, RATE, 10)
    heard = [recording.samples() for recordings in one.splits.values() for recording in recordings]
    for first, other in zip(heard, (r.samples() for rs in again.splits.values() for r in rs), strict=True):
        np.testing.assert_array_equal(first, other)
        assert (first.dtype, first.shape) == (np.float32, (101,))
    assert len({samples.tobytes() for samples in heard}) == 4
    assert {recording.name for recordings in one.splits.values() for recording in recordings} == {"same.wav"}


def test_silence_stays_noise_alone() -> None:
    heard = disturbed(np.zeros(5, np.float32), RATE, 0, Drawn(6, 6))  # type: ignore[arg-type]
    assert np.isfinite(heard).all()
