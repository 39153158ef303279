"""Sound through a stream as it comes: raw PCM or a file in, a running prediction out. Needs no torch.

A network that was trained on windows starts again after each; every window votes, as in the task's own metric. A
speaker network also expects windows at unit RMS, which a live sound only has afterwards: here the level is that of the
last window's worth of sound.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_deploy.datasets.audio import HIGHEST_RATE, LOWEST_RATE, read_audio
from drnn_deploy.datasets.features import levelled
from drnn_deploy.datasets.rate import steps_a_second
from drnn_deploy.datasets.speech import FSDD_SPEAKERS
from drnn_models.spec import Continuous
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.streaming.stream import Stream

SampleFormat = Literal["s16", "f32"]
FORMATS: dict[SampleFormat, tuple[str, float]] = {"s16": ("<i2", 1 / 32768), "f32": ("<f4", 1.0)}
BLOCK_SECONDS = 0.02
Samples = NDArray[np.float32]
_MOST_SAMPLES = 1 << 24  # a second, or of a window


@dataclasses.dataclass(frozen=True)
class AudioFormat:
    """What sound a bundle's network reads.

    Attributes:
        rate: Samples a second; None where the bundle does not say.
        window: The samples after which the network starts again; None where it never does.
        level: Whether the sound must be at unit RMS.
        labels: The names of the classes.
    """

    rate: int | None
    window: int | None
    level: bool
    labels: tuple[str, ...]

    @classmethod
    def of(cls, bundle: Bundle) -> AudioFormat:
        """Read it off a bundle.

        Raises:
            InputError: The network does not read one sample a step.
        """
        spec, task = bundle.spec, bundle.task
        options: dict[str, Any] = task["options"] if isinstance(task.get("options"), dict) else {}
        speaker = task.get("name") == "speaker-id"
        if spec.input != Continuous(1) or (speaker and options.get("features", "raw") != "raw"):
            raise InputError(
                f"{bundle.folder} does not read sound one sample a step", "Use a network of a raw waveform."
            )
        labels = tuple(str(number) for number in range(spec.head.outputs))
        if speaker and options.get("corpus", "fsdd") == "fsdd" and len(labels) == len(FSDD_SPEAKERS):
            labels = FSDD_SPEAKERS
        return cls(steps_a_second(task), _count(task.get("length")), speaker, labels)


def _count(value: object) -> int | None:
    """A number that a file says, where it is one of samples."""
    return value if isinstance(value, int) and 1 <= value <= _MOST_SAMPLES else None


@dataclasses.dataclass(frozen=True)
class Prediction:
    """An answer.

    Attributes:
        steps: The samples so far.
        now: The class probabilities (classes,) of this answer.
        votes: The class probabilities (classes,) of all windows that ended, and of this answer.
        microseconds: The time of a step since the answer before.
    """

    steps: int
    now: NDArray[np.float64]
    votes: NDArray[np.float64]
    microseconds: float


class AudioClassifier:
    """Feeds a stream of one sequence, window by window.

    Args:
        stream: An open stream of batch 1.
        audio_format: What sound the network reads.
        chunk: The steps of the stream's graph; a window is cut to a whole number of them.
    """

    def __init__(self, stream: Stream, audio_format: AudioFormat, chunk: int) -> None:
        self._stream, self._format = stream, audio_format
        self._window = audio_format.window and max(1, audio_format.window // chunk) * chunk
        self._recent: Samples = np.zeros(0, np.float32)
        self._in_window = self._steps = 0
        self._votes = np.zeros(len(audio_format.labels))

    def push(self, samples: Samples) -> Iterator[Prediction]:
        """Feed samples.

        Args:
            samples: The samples (n,) at the network's rate.

        Yields:
            An answer for each piece that brought one.
        """
        start = 0
        while start < len(samples):
            room = len(samples) - start if self._window is None else self._window - self._in_window
            piece = samples[start : start + room]
            start += len(piece)
            before = time.perf_counter()
            outputs = self._stream.push(self._at_level(piece)[None, :, None])
            seconds = time.perf_counter() - before
            self._in_window, self._steps = self._in_window + len(piece), self._steps + len(piece)
            ended = self._in_window == self._window
            if outputs.shape[1]:
                logs = _log_softmax(outputs[0, -1])
                votes = self._votes + logs
                if ended:
                    self._votes = votes
                yield Prediction(self._steps, np.exp(logs), np.exp(_log_softmax(votes)), 1e6 * seconds / len(piece))
            if ended:
                self._stream.reset()
                self._in_window = 0

    def _at_level(self, piece: Samples) -> Samples:
        """The piece with the gain that brings the last window's worth of sound to unit RMS."""
        if not self._format.level or self._format.window is None:
            return piece
        self._recent = np.concatenate([self._recent, piece])[-self._format.window :]
        return levelled(self._recent)[-len(piece) :] if len(piece) <= len(self._recent) else levelled(piece)


def read_sound(path: Path, rate: int) -> Iterator[Samples]:
    """Read a WAV or FLAC file block by block.

    Args:
        path: The WAV or FLAC file.
        rate: The samples a second to convert it to.

    Yields:
        Blocks of samples (n,).

    Raises:
        InputError: The file cannot be used.
    """
    samples = read_audio(path, str(path), rate)
    block = max(1, round(BLOCK_SECONDS * rate))
    yield from (samples[start : start + block] for start in range(0, len(samples), block))


def read_pcm(pipe: BinaryIO, sample_format: SampleFormat, recorded_at: int, rate: int) -> Iterator[Samples]:
    """Read raw mono PCM, little-endian, block by block as it comes through a pipe.

    Args:
        pipe: An open file, or standard input.
        sample_format: The format of a sample.
        recorded_at: The samples a second of the sound.
        rate: The samples a second to convert it to.

    Yields:
        Blocks of samples (n,).

    Raises:
        InputError: The rate is out of range, or a value is not a number.
    """
    if not LOWEST_RATE <= recorded_at <= HIGHEST_RATE:
        raise InputError(f"the rate must be from {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {recorded_at}")
    kind, scale = FORMATS[sample_format]
    size, held = np.dtype(kind).itemsize, b""
    resample = _resampler(recorded_at, rate)
    while data := pipe.read(max(1, round(BLOCK_SECONDS * recorded_at)) * size):
        held += data
        whole = len(held) // size * size
        samples = (np.frombuffer(held[:whole], kind) * scale).astype(np.float32)
        held = held[whole:]
        if not np.isfinite(samples).all():
            raise InputError("the raw sound holds values that are not numbers", "Check --sample-format.")
        yield resample(samples, last=False)
    yield resample(np.zeros(0, np.float32), last=True)


def _resampler(recorded_at: int, rate: int) -> Any:
    if recorded_at == rate:
        return lambda samples, last: samples
    import soxr

    return soxr.ResampleStream(recorded_at, rate, 1, dtype="float32").resample_chunk


def _log_softmax(values: NDArray[np.generic]) -> NDArray[np.float64]:
    wide = values.astype(np.float64)
    shifted: NDArray[np.float64] = wide - wide.max()
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result
