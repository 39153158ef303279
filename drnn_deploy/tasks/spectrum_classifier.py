"""What a trivial classifier gets on speaker identification, so that nobody is fooled by an easy set.

It never looks at time: each recording becomes one averaged spectrum. Where it is right, telling the speakers apart
needs a microphone's colour or a voice's timbre, and no memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drnn_deploy.datasets.features import frame_length, levelled, padded
from drnn_deploy.datasets.speech import Recording, Split
from drnn_deploy.tasks.speaker_id import SpeakerId

_LEAST_POWER = 1e-6
_MOST_ITERATIONS = 5_000
_COPIES = 10  # of each training recording, disturbed anew, where the task augments


def averaged_spectrum(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """The mean log-power spectrum of a recording.

    The recording is at unit RMS. Hann frames of 32 ms overlap by half; a shorter recording is padded to one frame, and
    a rest at the end is left out. The result is the mean over the frames of log(power + 1e-6).

    Args:
        samples: The recording, (n,).
        rate: Its samples a second.

    Returns:
        (F,), F = frame_length(rate) // 2 + 1.
    """
    size = frame_length(rate)
    sound = levelled(samples)
    frames = np.lib.stride_tricks.sliding_window_view(padded(sound, max(size, len(sound))), size)[:: size // 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    mean: NDArray[np.float64] = np.log(power + _LEAST_POWER).mean(axis=0)
    return mean


def averaged_spectrum_accuracy(task: SpeakerId) -> dict[str, float]:
    """Train a linear classifier on averaged spectra.

    It is scikit-learn's logistic regression (L2, C = 1) on `averaged_spectrum`, with each bin standardised over the
    training recordings. It is trained on all training recordings, of an augmented task on ten disturbed copies of each;
    the task's window and features play no part.

    Args:
        task: The corpus and its splits.

    Returns:
        {"validation", "test"}: the share of recordings, 0 to 1, that it gets right.

    Raises:
        InputError: The corpus is missing.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_MOST_ITERATIONS))
    classifier.fit(*_spectra(task, "training"))
    return {split: float(classifier.score(*_spectra(task, split))) for split in ("validation", "test")}


def _spectra(task: SpeakerId, split: Split) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    recordings: Sequence[Recording] = task.recordings().splits[split]
    if task.augment and split == "training":
        random = np.random.default_rng(0)
        recordings = [task.redisturbed(number, random) for number in range(len(recordings)) for _ in range(_COPIES)]
    spectra = np.stack([averaged_spectrum(recording.samples(), task.rate) for recording in recordings])
    return spectra, np.array([recording.speaker for recording in recordings], np.int64)
