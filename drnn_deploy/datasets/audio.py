"""Audio files as arrays: one channel, float32 with full scale at 1, at the sample rate that the caller chooses.

A file may be hostile. It must be WAV or FLAC with one channel, an ordinary rate, a sane length and finite values; any
other is refused with a message that names it. Needs soundfile and soxr (extra `audio`).
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError

if TYPE_CHECKING:
    from soundfile import SoundFile

LOWEST_RATE, HIGHEST_RATE = 2_000, 192_000  # Hz
_FORMATS = ("WAV", "WAVEX", "FLAC")  # libsndfile knows many more, each with a decoder of its own to trust
_LONGEST_S = 600
_LOUDEST = 1e4  # floating-point files may go beyond full scale, but not without end
_MARGIN = 256  # samples read on either side of a part, so that the resampling filter does not see its edges


def read_audio(source: Path | bytes, what: str, rate: int, *, recorded_at: int | None = None) -> NDArray[np.float32]:
    """Read all of a file.

    Args:
        source: The file's path, or its content.
        what: The file's name in messages.
        rate: The rate of the result in Hz.
        recorded_at: The only rate in Hz that the file may have; None for any ordinary one.

    Returns:
        (n,) float32, n = floor(frames * rate / file's rate).

    Raises:
        InputError: The file cannot be used.
    """
    with _opened(source, what, recorded_at) as sound:
        count = sound.frames * rate // sound.samplerate
        if count < 1:
            raise InputError(f"{what} holds no sound: {sound.frames} frames at {sound.samplerate} Hz")
        return _resampled(_frames(sound, 0, sound.frames, what), sound.samplerate, rate)[:count]


def read_part(source: Path | bytes, what: str, rate: int, length: int, at: float) -> NDArray[np.float32]:
    """Read samples in a row, and no more of the file than they need.

    Args:
        source: The file's path, or its content.
        what: The file's name in messages.
        rate: The rate of the result in Hz.
        length: How many samples, at `rate`.
        at: Where, from 0 (the first place) to below 1 (the last place).

    Returns:
        (length,) float32, or all samples of a shorter file. It equals the same part of `read_audio` up to the tail of
        the resampling filter.

    Raises:
        InputError: The file cannot be used.
    """
    with _opened(source, what, None) as sound:
        count = sound.frames * rate // sound.samplerate
        if count > length:
            start = int(at * (count - length + 1))
            return _part(sound, what, rate, start, length)
    return read_audio(source, what, rate)


def _part(sound: SoundFile, what: str, rate: int, start: int, length: int) -> NDArray[np.float32]:
    """Resample a section that begins on a whole number of periods, so that its samples lie where the file's do."""
    common = math.gcd(sound.samplerate, rate)
    period_in, period_out = sound.samplerate // common, rate // common
    margin = _MARGIN * max(1, -(-period_out // period_in))  # the filter is so long at the lower of both rates
    first = max(0, (start - margin) // period_out)  # in periods
    last = -(-(start + length + margin) // period_out)
    frames = _frames(sound, first * period_in, min(last * period_in, sound.frames), what)
    offset = start - first * period_out
    return _resampled(frames, sound.samplerate, rate)[offset : offset + length]


@contextlib.contextmanager
def _opened(source: Path | bytes, what: str, recorded_at: int | None) -> Iterator[SoundFile]:
    import soundfile

    if isinstance(source, Path) and not source.is_file():
        raise InputError(f"{what} is not a file")
    if isinstance(source, Path) and source.suffix.lower() == ".raw":  # libsndfile would have to be told what is in it
        raise InputError(f"{what} has no header that says its rate", "Make it a WAV or FLAC file.")
    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as sound:
            if problem := _problem(sound, recorded_at):
                raise InputError(f"{what} {problem}")
            yield sound
    except (soundfile.SoundFileError, OSError) as error:
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
        raise InputError(f"{what} cannot be read as audio: {reason}") from error


def _problem(sound: SoundFile, recorded_at: int | None) -> str:
    if sound.format not in _FORMATS:
        return f"is a {sound.format} file and not WAV or FLAC"
    if sound.channels != 1:
        return f"has {sound.channels} channels and should have one"
    if recorded_at is not None and sound.samplerate != recorded_at:
        return f"is at {sound.samplerate} Hz and should be at {recorded_at} Hz"
    if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
        return f"is at {sound.samplerate} Hz, outside {LOWEST_RATE} to {HIGHEST_RATE} Hz"
    if sound.frames > _LONGEST_S * sound.samplerate:
        return f"says that it is longer than {_LONGEST_S} seconds: {sound.frames} frames"
    return ""


def _frames(sound: SoundFile, start: int, stop: int, what: str) -> NDArray[np.float32]:
    sound.seek(start)
    values: NDArray[np.float32] = sound.read(stop - start, dtype="float32")
    if len(values) != stop - start:
        raise InputError(f"{what} ends after {start + len(values)} of {sound.frames} frames")
    if len(values) and not np.abs(values).max() <= _LOUDEST:  # also where the maximum is NaN
        raise InputError(f"{what} holds values that are not numbers, or beyond {_LOUDEST:g} times full scale")
    return values


def _resampled(values: NDArray[np.float32], recorded: int, rate: int) -> NDArray[np.float32]:
    if recorded == rate:
        return values
    import soxr

    resampled: NDArray[np.float32] = soxr.resample(values, recorded, rate)
    return resampled
