"""What a trivial classifier gets on speaker identification, so that nobody is fooled by an easy set.

It never looks at time: each recording becomes one averaged spectrum. Where it is right, telling the speakers apart
needs a microphone's colour or a voice's timbre, and no memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drnn_deploy.datasets.features import frame_length, levelled, padded
from drnn_deploy.datasets.speech import Split
from drnn_deploy.tasks.speaker_id import SpeakerId

_LEAST_POWER = 1e-6
_MOST_ITERATIONS = 5_000


def averaged_spectrum(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """The mean log-power spectrum of (n,) samples at `rate` Hz: (F,) float64, F = frame_length(rate) // 2 + 1.

    The recording at unit RMS; Hann frames of 32 ms, half of which overlaps with the next (a shorter recording is padded
    to one frame, a rest at the end is left out); log(power + 1e-6) of each; the mean over the frames.
    """
    size = frame_length(rate)
    sound = levelled(samples)
    frames = np.lib.stride_tricks.sliding_window_view(padded(sound, max(size, len(sound))), size)[:: size // 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    mean: NDArray[np.float64] = np.log(power + _LEAST_POWER).mean(axis=0)
    return mean


def averaged_spectrum_accuracy(task: SpeakerId) -> dict[str, float]:
    """{"validation", "test"}: how many recordings of 0 to 1 a linear classifier of averaged spectra gets right.

    scikit-learn's logistic regression (L2, C = 1) on `averaged_spectrum`, each bin standardised over the training
    recordings, trained on all training recordings of the task; the task's window and features play no part. Raises
    `InputError` where the corpus is missing.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_MOST_ITERATIONS))
    classifier.fit(*_spectra(task, "training"))
    return {split: float(classifier.score(*_spectra(task, split))) for split in ("validation", "test")}


def _spectra(task: SpeakerId, split: Split) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    recordings = task.recordings().splits[split]
    spectra = np.stack([averaged_spectrum(recording.samples(), task.rate) for recording in recordings])
    return spectra, np.array([recording.speaker for recording in recordings], np.int64)
