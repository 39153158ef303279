"""The input of a network from a recording: windows of equal length and level, as a waveform or as MFCCs."""

from __future__ import annotations

import atexit
import functools
import importlib
import os
import shutil
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

MFCCS = 13
_QUIETEST = 1e-3  # -60 dB of full scale: below it a window is silence, and stays quiet
_FRAME_S, _HOP_S, _MELS = 0.032, 0.010, 26  # 26 triangles: at 2 kHz each still holds a bin of the spectrum
_LEAST_POWER = 1e-6  # -60 dB of a window's level; without a floor padding would be minus infinity


def cut(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Cut samples into consecutive windows. Each sample is in a window.

    Args:
        samples: (n,). Fewer than `length` are padded, see `padded`.
        length: Samples of a window.

    Returns:
        (ceil(n / length), length) float32. The last window ends with the last sample and may overlap the one before.
    """
    if len(samples) <= length:
        return padded(samples, length)[None]
    last = len(samples) - length
    return np.stack([samples[start : start + length] for start in (*range(0, last, length), last)])


def padded(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Put zeros before the samples, so that the last step that a network reads is sound.

    Args:
        samples: (n,) with n <= length.
        length: Samples to give.

    Returns:
        (length,) float32.
    """
    return np.pad(samples, (length - len(samples), 0))


def levelled(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each window to unit RMS over all its samples, padding included. A window below -60 dB stays quiet.

    Args:
        windows: (..., T), full scale at 1.

    Returns:
        (..., T) float32.
    """
    rms = np.sqrt(np.mean(np.square(windows, dtype=np.float64), axis=-1, keepdims=True))
    scaled: NDArray[np.float32] = (windows / np.maximum(rms, _QUIETEST)).astype(np.float32)
    return scaled


def frame_length(rate: int) -> int:
    """Return the samples of one MFCC frame, 32 ms, at `rate` Hz."""
    return round(_FRAME_S * rate)


def frame_count(length: int, rate: int) -> int:
    """Count the MFCC frames, 10 ms apart, that lie within so many samples.

    Args:
        length: Samples, at least `frame_length(rate)`.
        rate: In Hz.
    """
    return 1 + (length - frame_length(rate)) // round(_HOP_S * rate)


def mfcc(windows: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Compute mel-frequency cepstral coefficients 0 to 12.

    They are librosa's: power spectra of Hann frames, 26 mel bands, decibels, orthonormal DCT. Each window stands by
    itself: the floor of the decibels is absolute, while librosa's default depends on the loudest of all windows.

    Args:
        windows: (n, T).
        rate: In Hz.

    Returns:
        (n, frame_count(T, rate), MFCCS) float32.
    """
    librosa = _librosa()
    hop = round(_HOP_S * rate)
    power = librosa.feature.melspectrogram(
        y=windows, sr=rate, n_fft=frame_length(rate), hop_length=hop, center=False, n_mels=_MELS
    )
    decibels = librosa.power_to_db(power, amin=_LEAST_POWER, top_db=None)
    coefficients: NDArray[np.float32] = librosa.feature.mfcc(S=decibels, n_mfcc=MFCCS)
    return np.ascontiguousarray(coefficients.transpose(0, 2, 1), dtype=np.float32)


@functools.cache
def _librosa() -> Any:
    """Import librosa, and give numba a folder to compile to if it can use neither librosa's nor one in a home."""
    import librosa

    try:
        librosa.feature.melspectrogram  # noqa: B018  its parts are imported when they are used
    except RuntimeError as error:
        if "NUMBA_CACHE_DIR" in os.environ or "cannot cache" not in str(error):
            raise
        place = tempfile.mkdtemp(prefix="numba-")  # of this process alone: what lies in it is run
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        os.environ["NUMBA_CACHE_DIR"] = place
        importlib.import_module("numba").config.reload_config()
    return librosa
