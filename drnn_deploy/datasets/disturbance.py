"""Recordings made harder: tilt of the spectrum, gain and noise, fixed for each recording by its place in its split.

The averaged spectrum of a clean recording tells few speakers apart by timbre alone. A random tilt of the spectrum blurs
that, noise hides the weak parts of it, and the random gain makes the noise weaker or stronger beside the voice.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from drnn_deploy.datasets.features import levelled
from drnn_deploy.datasets.speech import Corpus, InMemory, Recording, Split

MOST_TILT, MOST_GAIN = 6.0, 6.0  # dB per octave, dB; each drawn evenly from minus this to this
_PIVOT = 500.0  # Hz: what a tilt leaves as it is
_SEED = 20171205
_SPLITS: tuple[Split, ...] = ("training", "validation", "test")


def disturbed_corpus(corpus: Corpus, rate: int, snr_db: float) -> Corpus:
    """Disturb every recording of a corpus that is in memory: the same corpus each time.

    Args:
        corpus: Its recordings.
        rate: The rate of their samples in Hz.
        snr_db: The level of a recording of gain 0 above the noise, dB.
    """
    splits: dict[Split, tuple[Recording, ...]] = {
        split: tuple(
            disturbed_recording(recording, rate, snr_db, np.random.default_rng((_SEED, _SPLITS.index(split), number)))
            for number, recording in enumerate(recordings)
        )
        for split, recordings in corpus.splits.items()
    }
    return dataclasses.replace(corpus, splits=splits)


def disturbed_recording(recording: Recording, rate: int, snr_db: float, random: np.random.Generator) -> InMemory:
    """The recording with its samples `disturbed`.

    Args:
        recording: The clean one.
        rate: See `disturbed`.
        snr_db: See `disturbed`.
        random: See `disturbed`.
    """
    return InMemory(recording.name, recording.speaker, disturbed(recording.samples(), rate, snr_db, random))


def disturbed(
    samples: NDArray[np.float32], rate: int, snr_db: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """Tilt the spectrum, bring the recording to unit RMS, scale it by the gain, and add white Gaussian noise.

    Args:
        samples: (n,).
        rate: In Hz.
        snr_db: 0 dB is noise of unit RMS.
        random: Draws tilt, gain and noise, in this order.

    Returns:
        (n,) float32.
    """
    tilt, gain = random.uniform(-MOST_TILT, MOST_TILT), random.uniform(-MOST_GAIN, MOST_GAIN)
    noise = random.normal(scale=_ratio(-snr_db), size=len(samples))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(samples), 1 / rate), rate / 256) / _PIVOT)
    tilted = np.fft.irfft(np.fft.rfft(samples) * _ratio(tilt * octaves), len(samples))
    scaled = levelled(tilted.astype(np.float32)) * _ratio(gain)
    voice: NDArray[np.float32] = (scaled + noise).astype(np.float32)
    return voice


def _ratio(decibels: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
    """Of amplitudes."""
    return 10 ** (decibels / 20)
