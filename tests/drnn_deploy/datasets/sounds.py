"""Made-up recordings: as files, as an archive of FSDD and as a VCTK folder."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from drnn_deploy.datasets.speech import FSDD_SPEAKERS, Corpus
from tests.drnn_deploy.datasets.helpers import put, tarball


def wav(values: NDArray[np.generic], rate: int = 8000, *, kind: str = "WAV", subtype: str | None = None) -> bytes:
    packed = io.BytesIO()
    soundfile.write(packed, values, rate, format=kind, subtype=subtype)
    return packed.getvalue()


def sine(hertz: float, rate: int, samples: int) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)


def ramp(start: int, samples: int) -> NDArray[np.int16]:
    """Sound in which every sample says which one it is: start, start + 1, ..., of 32,768."""
    return np.arange(start, start + samples, dtype=np.int16)


def fsdd_files(takes: Iterable[int] = (0, 5, 10, 11), digits: Iterable[int] = (0, 1)) -> dict[str, bytes]:
    """Six speakers; the recording number i, from 0, holds 20 + i samples: 100 i + 1, 100 i + 2, ..."""
    names = [f"{d}_{speaker}_{take}.wav" for take in takes for d in digits for speaker in FSDD_SPEAKERS]
    return {name: wav(ramp(100 * number + 1, 20 + number)) for number, name in enumerate(names)}


def fsdd_archive(path: Path, files: dict[str, bytes]) -> Path:
    members = {"fsdd/SOURCE.txt": b"made up", **{f"fsdd/{name}": content for name, content in files.items()}}
    put(path.parent, {path.name: tarball(members)})
    return path


def vctk_tree(root: Path, *, flac: bool = False, utterances: Iterable[int] = (1, 2, 5, 10, 11)) -> Path:
    """Two speakers at 48 kHz, a sine of 440 Hz and one of 660 Hz, and the odd files that lie beside recordings."""
    for speaker, hertz in (("p225", 440.0), ("p226", 660.0)):
        folder = root / ("wav48_silence_trimmed" if flac else "wav48") / speaker
        for utterance in utterances:
            sound = sine(hertz, 48_000, 24_000 + 600 * utterance)
            stem = f"{speaker}_{utterance:03}"
            if flac:
                content = wav(sound, 48_000, kind="FLAC")
                put(folder, {f"{stem}_mic1.flac": content, f"{stem}_mic2.flac": b"not read"})
            else:
                put(folder, {f"{stem}.wav": wav(sound, 48_000)})
        put(folder, {"log.txt": b"of no interest"})
    put(root / "txt", {"p225_001.txt": b"Please call Stella."})
    return root


def file_names(corpus: Corpus) -> dict[str, list[str]]:
    return {split: [Path(r.name).name for r in recordings] for split, recordings in corpus.splits.items()}
