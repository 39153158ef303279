"""Two corpora of speech: the speaker, the split and the sound of each recording.

    FSDD   Free Spoken Digit Dataset (Z. Jackson et al., CC BY-SA 4.0): 6 speakers, 3,000 recordings at 8 kHz, one
           archive or a folder of DIGIT_SPEAKER_TAKE.wav. Test: takes 0 to 4 of every digit and speaker, as its authors
           say. Validation: takes 5 to 9. Training: the others.
    VCTK   CSTR VCTK Corpus (J. Yamagishi et al., CC BY 4.0): about 109 speakers at 48 kHz, in its own folders.
           Test: utterances whose number ends in 0. Validation: in 5. Training: the others.

A file is in one split only. FSDD is sorted by take, digit and speaker, VCTK by utterance and speaker, so that any first
part of a split has all speakers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_deploy.datasets.audio import read_audio, read_part
from drnn_deploy.datasets.files import Bounded

Split = Literal["training", "validation", "test"]
FSDD_SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
_FSDD_RATE = 8_000
_FSDD_NAME = re.compile(r"([0-9])_([a-z]{1,20})_([0-9]{1,2})\.wav")
_VCTK_FOLDERS = ("wav48", "wav48_silence_trimmed")  # of the releases up to 0.80, and from 0.92
_VCTK_SPEAKER = re.compile(r"[ps][0-9]{1,4}")
_VCTK_NAME = re.compile(r"([ps][0-9]{1,4})_([0-9]{3})(?:_mic1)?\.(?:wav|flac)")
# Bounds of an archive, several times what FSDD needs: what lies beyond is no FSDD, and is not read.
_LARGEST_MEMBER, _MOST_MEMBERS, _MOST_BYTES = 1 << 20, 10_000, 1 << 28
_MOST_SECONDS = 7200.0  # of all recordings, which a few megabytes of FLAC can exceed a hundredfold


class Recording(Protocol):
    """One file of a corpus."""

    @property
    def name(self) -> str:
        """The file's name in messages."""

    @property
    def speaker(self) -> int:
        """The speaker's index in the corpus's `speakers`."""

    def samples(self) -> NDArray[np.float32]:
        """Return all samples: (n,) float32 with n >= 1, full scale at 1, at the corpus's rate.

        Raises:
            InputError: The file cannot be used.
        """

    def part(self, length: int, at: float) -> NDArray[np.float32]:
        """Return samples in a row.

        Args:
            length: How many samples.
            at: Where, from 0 (the first place) to below 1 (the last place).

        Returns:
            (length,) float32, or all samples if the recording has fewer.

        Raises:
            InputError: The file cannot be used.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class InMemory:
    """A recording that is already decoded: `values` holds all samples, (n,)."""

    name: str
    speaker: int
    values: NDArray[np.float32]

    def samples(self) -> NDArray[np.float32]:
        """See `Recording`."""
        return self.values

    def part(self, length: int, at: float) -> NDArray[np.float32]:
        """See `Recording`."""
        start = int(at * (max(len(self.values) - length, 0) + 1))
        return self.values[start : start + length]


@dataclasses.dataclass(frozen=True)
class OnDisk:
    """A recording that is read anew each time, at `rate` Hz."""

    path: Path
    speaker: int
    rate: int

    @property
    def name(self) -> str:
        """See `Recording`."""
        return str(self.path)

    def samples(self) -> NDArray[np.float32]:
        """See `Recording`."""
        return read_audio(self.path, self.name, self.rate)

    def part(self, length: int, at: float) -> NDArray[np.float32]:
        """See `Recording`."""
        return read_part(self.path, self.name, self.rate, length, at)


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """Speakers and their recordings.

    Attributes:
        speakers: The names, sorted. There are at least two.
        splits: The recordings of each split: at least one, and in training at least one of each speaker.
    """

    speakers: tuple[str, ...]
    splits: dict[Split, tuple[Recording, ...]]


def read_fsdd(path: Path, rate: int) -> Corpus:
    """Read FSDD and decode it into memory (42 MB at 8 kHz). Nothing of an archive is ever written to disk.

    Args:
        path: The archive, or a folder of the WAV files.
        rate: The rate of the samples in Hz.

    Raises:
        InputError: The files are not FSDD, or cannot be read.
    """
    by_key: dict[tuple[int, int, int], InMemory] = {}
    seconds = 0.0
    for name, content in _folder_members(path) if path.is_dir() else _archive_members(path):
        what = f"{name} in {path}"
        match = _FSDD_NAME.fullmatch(name)
        if match is None or match[2] not in FSDD_SPEAKERS:
            known = ", ".join(FSDD_SPEAKERS)
            raise InputError(f"{what} is not of FSDD: its files are DIGIT_SPEAKER_TAKE.wav with the speakers {known}")
        key = (int(match[3]), int(match[1]), FSDD_SPEAKERS.index(match[2]))  # "05" and "5" are the same take
        if key in by_key:
            raise InputError(f"{what} is there twice: {by_key[key].name} is the same take")
        samples = read_audio(content, what, rate, recorded_at=_FSDD_RATE)
        seconds += len(samples) / rate
        if seconds > _MOST_SECONDS:
            raise InputError(f"{path} is not FSDD: it holds more than {_MOST_SECONDS / 3600:g} hours of speech")
        by_key[key] = InMemory(name, key[2], samples)
    splits: dict[Split, list[Recording]] = {"training": [], "validation": [], "test": []}
    for (take, _, _), recording in sorted(by_key.items()):
        splits["test" if take < 5 else "validation" if take < 10 else "training"].append(recording)
    return _checked(FSDD_SPEAKERS, splits, path, "Type: drnn-deploy data verify speaker-id")


def read_vctk(root: Path, rate: int) -> Corpus:
    """List the recordings of VCTK. They are read and resampled when they are used.

    Args:
        root: The folder that holds `wav48` or `wav48_silence_trimmed` (its second microphone is left out).
        rate: The rate of the samples in Hz.

    Raises:
        InputError: The folder is not VCTK, or cannot be read.
    """
    fix = f"Unpack VCTK so that {root} holds {' or '.join(_VCTK_FOLDERS)}, or name its folder: --set data.path=FOLDER"
    with _listing(root):
        folder = next((root / name for name in _VCTK_FOLDERS if (root / name).is_dir()), None)
    if folder is None:
        raise InputError(f"there is no VCTK corpus in {root}", fix)
    by_key: dict[tuple[int, str], Path] = {}
    with _listing(folder):
        paths = [path for speaker in _speaker_folders(folder) for path in sorted(speaker.iterdir())]
    for path in paths:
        match = _VCTK_NAME.fullmatch(path.name)
        if match is None or match[1] != path.parent.name:  # the second microphone, or not a recording
            continue
        key = (int(match[2]), match[1])
        if key in by_key:
            raise InputError(f"{by_key[key]} and {path} are the same utterance", "Keep one of the two.")
        by_key[key] = path
    speakers = tuple(sorted({speaker for _, speaker in by_key}))
    splits: dict[Split, list[Recording]] = {"training": [], "validation": [], "test": []}
    for (utterance, speaker), path in sorted(by_key.items()):
        split: Split = "test" if utterance % 10 == 0 else "validation" if utterance % 10 == 5 else "training"
        splits[split].append(OnDisk(path, speakers.index(speaker), rate))
    return _checked(speakers, splits, folder, fix)


def _checked(speakers: tuple[str, ...], splits: dict[Split, list[Recording]], where: Path, fix: str) -> Corpus:
    if len(speakers) < 2:
        raise InputError(f"{where} holds recordings of {len(speakers)} speakers; two at least are needed", fix)
    for split, recordings in splits.items():
        if not recordings:
            raise InputError(f"{where} holds no recording of the {split} split", fix)
    trained = {recording.speaker for recording in splits["training"]}
    if missing := [name for number, name in enumerate(speakers) if number not in trained]:
        raise InputError(f"{where} holds no training recording of {', '.join(missing)}", fix)
    return Corpus(speakers, {split: tuple(recordings) for split, recordings in splits.items()})


def _speaker_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _VCTK_SPEAKER.fullmatch(path.name) and path.is_dir())


def _folder_members(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every WAV file in a folder."""
    with _listing(folder):
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".wav")
    for path in paths:
        with _listing(path):
            size = path.stat().st_size if path.is_file() else -1
            if not 0 <= size <= _LARGEST_MEMBER:
                raise InputError(f"{path} is not a file of at most {_LARGEST_MEMBER} bytes")
            content = path.read_bytes()
        yield path.name, content


@contextlib.contextmanager
def _listing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _archive_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every WAV file in the folder `fsdd` of a .tar.gz, as they come.

    The archive is read as a stream, so that no path and no link of it ever reaches the file system.
    """
    fix = "Type: drnn-deploy data verify speaker-id"
    try:
        with (
            path.open("rb") as raw,
            gzip.open(raw) as unpacked,
            tarfile.open(fileobj=cast(IO[bytes], Bounded(unpacked, _MOST_BYTES)), mode="r|") as tar,
        ):
            for count, member in enumerate(tar):
                if problem := _member_problem(member, count):
                    raise InputError(f"{path} is not the archive of FSDD: {problem}", fix)
                stream = tar.extractfile(member) if member.isreg() and member.name.endswith(".wav") else None
                if stream is not None:
                    yield member.name.removeprefix("fsdd/"), stream.read()
    # ValueError: of headers with numbers or text that are none; RecursionError: of headers of headers of headers
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not the archive of FSDD: it cannot be unpacked ({error})", fix) from error


def _member_problem(member: tarfile.TarInfo, count: int) -> str:
    """Say what is wrong with a member by its header; empty if nothing is. The content is read only after that."""
    shown = repr(member.name[:80])
    if count >= _MOST_MEMBERS:
        return f"it holds more than {_MOST_MEMBERS} files"
    if not (member.isreg() or member.isdir()):
        return f"{shown} is neither a file nor a folder"
    if not re.fullmatch(r"fsdd(/[^/\x00]+)?", member.name):
        return f"{shown} lies elsewhere than in fsdd"
    if member.size > _LARGEST_MEMBER:
        return f"{shown} has {member.size} bytes, more than {_LARGEST_MEMBER}"
    return ""
