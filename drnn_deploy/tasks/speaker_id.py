"""Speaker identification from the raw waveform (paper, section 4.5): who speaks in a short window of speech.

A sequence is one window of a recording: its samples, one a step, at unit RMS; or, to compare, its MFCCs. Training takes
random windows of random training recordings. Validation and test take all windows of every recording, and judge each
window ("accuracy") and each recording by its windows together ("recording_accuracy").

The six speakers of FSDD are easy to tell apart, by the averaged spectrum of a recording alone: see
`spectrum_classifier`. A result on it says that a network works, not that it is good at the paper's task.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.files import check_name, from_home
from drnn_core.types import Examples
from drnn_deploy import datasets
from drnn_deploy.datasets.audio import HIGHEST_RATE, LOWEST_RATE
from drnn_deploy.datasets.disturbance import disturbed_corpus, disturbed_recording
from drnn_deploy.datasets.features import MFCCS, cut, frame_count, frame_length, levelled, mfcc, padded
from drnn_deploy.datasets.speech import FSDD_SPEAKERS, Corpus, Recording, Split, read_fsdd, read_vctk
from drnn_deploy.tasks.task import Batch, Score
from drnn_models.spec import Continuous, Head, Tokens

_SPLITS: dict[str, Split] = {"validation": "validation", "test": "test"}
_LONGEST = 1_000_000
_LOUDEST = 100  # dB
_STATISTICS_RECORDINGS = 500  # of the training split, evenly spaced: enough for means, and VCTK has 35,000


@dataclasses.dataclass(frozen=True)
class SpeakerId:
    """Recordings of speech: who speaks.

    Attributes:
        corpus: "fsdd" or "vctk".
        rate: The samples a second to which recordings are resampled.
        window: The samples of a sequence.
        features: "raw" (T = window, C = 1), or "mfcc" (T = frames of 32 ms, 10 ms apart, C = 13; each coefficient with
            mean 0 and deviation 1 over up to 500 training recordings).
        snr_db: The level of a recording above white noise, dB, for the harder set of fsdd: each recording with noise, a
            random tilt of its spectrum and a random gain, in every split (`datasets.disturbance`). None: as recorded.
        augment: Whether training recordings are disturbed anew each time they are drawn, where they are disturbed
            once otherwise. Validation and test recordings stay as they are.
        path: For vctk the folder that holds wav48; for fsdd a folder of its WAV files. Without a path they lie where
            data sets do: `drnn-deploy data fetch speaker-id` for fsdd, the folder `vctk` beside it. A path goes into
            the checkpoint with the other options: leave it out where that is passed on.
    """

    corpus: Literal["fsdd", "vctk"] = "fsdd"
    rate: int = 8_000
    window: int = 2_000
    features: Literal["raw", "mfcc"] = "raw"
    path: str = ""
    snr_db: float | None = None
    augment: bool = False
    name: ClassVar[str] = "speaker-id"

    def __post_init__(self) -> None:
        for option, allowed in {"corpus": ("fsdd", "vctk"), "features": ("raw", "mfcc")}.items():
            if getattr(self, option) not in allowed:
                raise InputError(f"data.{option} must be {' or '.join(allowed)}, got {getattr(self, option)!r}")
        if type(self.rate) is not int or not LOWEST_RATE <= self.rate <= HIGHEST_RATE:
            raise InputError(
                f"data.rate must be a whole number from {LOWEST_RATE} to {HIGHEST_RATE} (Hz), got {self.rate!r}"
            )
        least = frame_length(self.rate) if self.features == "mfcc" else 1
        if type(self.window) is not int or not least <= self.window <= _LONGEST:
            raise InputError(f"data.window must be a whole number from {least} to {_LONGEST}, got {self.window!r}")
        if self.snr_db is not None and (type(self.snr_db) not in (int, float) or not abs(self.snr_db) <= _LOUDEST):
            raise InputError(f"data.snr_db must be a number from {-_LOUDEST} to {_LOUDEST}, got {self.snr_db!r}")
        if self.snr_db is not None and self.corpus != "fsdd":
            raise InputError(f"data.snr_db is for corpus fsdd, not {self.corpus}")
        if type(self.augment) is not bool:
            raise InputError(f"data.augment must be true or false, got {self.augment!r}")
        if self.augment and self.snr_db is None:
            raise InputError("data.augment draws noise anew, and there is none", "Add its level: data.snr_db=-5.0")
        if not isinstance(self.path, str) or "\0" in self.path:
            raise InputError(f"data.path must be the name of a folder, got {self.path!r}")

    @property
    def length(self) -> int:
        """The samples of a window, or its MFCC frames."""
        return self.window if self.features == "raw" else frame_count(self.window, self.rate)

    @property
    def input(self) -> Continuous | Tokens:
        """One sample a step, or thirteen coefficients."""
        return Continuous(1 if self.features == "raw" else MFCCS)

    @property
    def head(self) -> Head:
        """The speakers, after the last step.

        Raises:
            InputError: VCTK is not there to count them.
        """
        return Head("last", outputs=self.classes)

    @property
    def classes(self) -> int:
        """Six speakers (fsdd), or as many as the corpus has."""
        return len(FSDD_SPEAKERS) if self.corpus == "fsdd" else len(self.recordings().speakers)

    def recordings(self) -> Corpus:
        """The corpus, with its splits.

        Raises:
            InputError: It is missing, incomplete or not what it should be.
        """
        if self.corpus == "vctk":
            return _vctk(from_home(self.path) if self.path else datasets.root() / "vctk", self.rate)
        return _fsdd(self._place_of_fsdd(), self.rate, self.snr_db)

    def redisturbed(self, number: int, random: np.random.Generator) -> Recording:
        """A recording of the training split of the harder set, disturbed anew.

        Args:
            number: Its place in the split.
            random: Draws the disturbance.
        """
        assert self.snr_db is not None  # nothing else is augmented
        clean = _fsdd(self._place_of_fsdd(), self.rate, None).splits["training"][number]
        return disturbed_recording(clean, self.rate, self.snr_db, random)

    def _place_of_fsdd(self) -> Path:
        if not self.path:
            return datasets.folder(self.name) / "fsdd.tar.gz"
        place = from_home(self.path)
        check_name(place)
        if not place.is_dir():
            raise InputError(f"data.path: {place} is not a folder", "Name the folder that holds FSDD's WAV files.")
        return place

    def train_batch(self, seed: int, index: int, size: int) -> Batch:
        """Random windows of random training recordings, in proportion to the recordings of each speaker."""
        recordings = self.recordings().splits["training"]
        random = np.random.default_rng((seed, index))
        draw = self.redisturbed if self.augment else lambda number, _: recordings[number]
        chosen = [draw(number, random) for number in random.integers(0, len(recordings), size)]
        places = random.random(size).tolist()
        parts = [recording.part(self.window, at) for recording, at in zip(chosen, places, strict=True)]
        windows = np.stack([padded(part, self.window) for part in parts])
        return Batch(self._features(windows), np.array([recording.speaker for recording in chosen], np.int64))

    def batches(self, split: str, size: int) -> Iterator[Batch]:
        """All windows of all recordings; `groups` numbers the recordings of the split."""
        rows = self._windows(_SPLITS[split])
        while held := list(itertools.islice(rows, size)):
            inputs, targets, groups = zip(*held, strict=True)
            yield Batch(np.stack(inputs), np.array(targets, np.int64), np.array(groups, np.int64))

    def examples(self) -> Examples | None:
        """Twenty windows of FSDD's test split; none of VCTK, which a checkpoint does not pass on."""
        if self.corpus == "vctk":
            return None
        batch = next(self.batches("test", 20))
        noise = "" if self.snr_db is None else f", disturbed to a signal-to-noise ratio of {self.snr_db:g} dB"
        kind = "waveform" if self.features == "raw" else "MFCCs"
        source = (
            f"Free Spoken Digit Dataset (Z. Jackson et al.), licence CC BY-SA 4.0: the first {len(batch.inputs)} test "
            f"windows of {self.window} samples at {self.rate} Hz, {kind} at unit RMS{noise}"
        )
        return Examples(batch.inputs, batch.targets, source)

    def metrics(self, score: Score) -> dict[str, float]:
        """Accuracy and cross-entropy per window, and `recording_accuracy`, where the windows of a recording vote."""
        metrics = score.metrics()
        if "group_accuracy" in metrics:
            metrics["recording_accuracy"] = metrics.pop("group_accuracy")
        return metrics

    def _windows(self, split: Split) -> Iterator[tuple[NDArray[np.float32], int, int]]:
        for number, recording in enumerate(self.recordings().splits[split]):
            for row in self._features(cut(recording.samples(), self.window)):
                yield row, recording.speaker, number

    def _features(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, window) samples to (n, T, C)."""
        if self.features == "raw":
            return levelled(windows)[:, :, None]
        mean, deviation = _mfcc_statistics(self.recordings(), self.window, self.rate)
        return (mfcc(levelled(windows), self.rate) - mean) / deviation


@functools.lru_cache(maxsize=2)
def _fsdd(path: Path, rate: int, snr_db: float | None) -> Corpus:
    return read_fsdd(path, rate) if snr_db is None else disturbed_corpus(_fsdd(path, rate, None), rate, snr_db)


@functools.lru_cache(maxsize=2)
def _vctk(path: Path, rate: int) -> Corpus:
    return read_vctk(path, rate)


@functools.lru_cache(maxsize=4)
def _mfcc_statistics(corpus: Corpus, window: int, rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each coefficient, (13,) and (13,), over windows of the training split."""
    recordings = corpus.splits["training"]
    step = -(-len(recordings) // _STATISTICS_RECORDINGS)
    parts = [mfcc(levelled(cut(recording.samples(), window)), rate) for recording in recordings[::step]]
    frames = np.concatenate([part.reshape(-1, MFCCS) for part in parts]).astype(np.float64)
    deviation = np.maximum(frames.std(axis=0), 1e-3)  # decibels; of silence alone it would be 0
    return frames.mean(axis=0).astype(np.float32), deviation.astype(np.float32)
