"""Sound through a stream: what a window gets is what the whole window gets, however it comes in."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_deploy import ExportOptions, export
from drnn_deploy.audio_classifier import AudioClassifier, AudioFormat, Prediction, read_pcm, read_sound
from drnn_deploy.datasets.speech import FSDD_SPEAKERS
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.streaming.stream import Stream
from tests.networks import random_weights

soundfile = pytest.importorskip("soundfile", reason="needs the extra audio: pip install 'drnn-deploy[audio]'")

WINDOW, RATE = 60, 8000
SPEC = ModelSpec("gru", (5, 6), (2, 4), Continuous(1), Head("last", 6))
TASK = {"name": "speaker-id", "length": WINDOW, "options": {"rate": RATE, "window": WINDOW}}
CHECKPOINT = Checkpoint(SPEC, random_weights(SPEC, 0), TASK)
Command = Any  # see conftest


@pytest.fixture(scope="module")
def heard_by(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    options = ExportOptions(forms=("chunk",), chunk=10, emissions=("fused",), engines=(), runtimes=("onnxruntime-cpu",))
    return export(CHECKPOINT, tmp_path_factory.mktemp("ear") / "bundle", options).bundle


def sound(seconds: float, rate: int = RATE) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(0).standard_normal(int(seconds * rate))).astype(np.float32)


def push(bundle: Bundle, audio_format: AudioFormat, blocks: Iterator[NDArray[np.float32]]) -> list[Prediction]:
    with find_runtime("onnxruntime-cpu").stream(bundle) as stream:
        classifier = AudioClassifier(stream, audio_format, stream.chunk)
        return [prediction for block in blocks for prediction in classifier.push(block)]


def blocks(samples: NDArray[np.float32], sizes: list[int]) -> Iterator[NDArray[np.float32]]:
    start, turn = 0, 0
    while start < len(samples):
        yield samples[start : start + sizes[turn % len(sizes)]]
        start, turn = start + sizes[turn % len(sizes)], turn + 1


def probabilities(logits: NDArray[np.generic]) -> NDArray[np.float64]:
    powers: NDArray[np.float64] = np.exp(logits.astype(np.float64))
    return powers / powers.sum(axis=-1, keepdims=True)


@given(st.lists(st.integers(1, 90), min_size=1, max_size=5))
def test_windows_are_independent_and_vote(heard_by: Bundle, sizes: list[int]) -> None:
    import torch

    samples = sound(3 * WINDOW / RATE)
    audio_format = dataclasses.replace(AudioFormat.of(heard_by), level=False)
    answers = {prediction.steps: prediction for prediction in push(heard_by, audio_format, blocks(samples, sizes))}
    windows = torch.from_numpy(samples.reshape(3, WINDOW, 1))
    with torch.inference_mode():
        each = probabilities(CHECKPOINT.network()(windows).numpy())
    joint = np.cumsum(np.log(each), axis=0)
    for number in range(3):
        prediction = answers[(number + 1) * WINDOW]
        np.testing.assert_allclose(prediction.now, each[number], atol=1e-5)
        np.testing.assert_allclose(prediction.votes, probabilities(joint[number]), atol=1e-5)


def test_level_does_not_matter_to_a_network_of_levelled_windows(heard_by: Bundle) -> None:
    samples, audio_format = sound(4 * WINDOW / RATE), AudioFormat.of(heard_by)
    loud, quiet = (push(heard_by, audio_format, blocks(gain * samples, [20])) for gain in (1.0, 0.3))
    for one, other in zip(loud, quiet, strict=True):
        np.testing.assert_allclose(one.now, other.now, atol=1e-5)
    unlevelled = push(heard_by, dataclasses.replace(audio_format, level=False), blocks(0.3 * samples, [20]))
    assert np.abs(unlevelled[-1].now - quiet[-1].now).max() > 1e-3


def test_ear_is_read_off_the_bundle(heard_by: Bundle) -> None:
    assert AudioFormat.of(heard_by) == AudioFormat(RATE, WINDOW, True, FSDD_SPEAKERS)
    plain = dataclasses.replace(heard_by, task={})
    assert AudioFormat.of(plain) == AudioFormat(None, None, False, ("0", "1", "2", "3", "4", "5"))
    wide = dataclasses.replace(heard_by, spec=dataclasses.replace(SPEC, input=Continuous(2)))
    features = dataclasses.replace(heard_by, task={**TASK, "options": {"features": "mfcc"}})
    for other in (wide, features):
        with pytest.raises(InputError, match="does not read sound one sample a step"):
            AudioFormat.of(other)


class Pipe(io.BytesIO):
    """Gives fewer bytes than are asked for, cut inside of samples, like a microphone's pipe."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(7, size or 7))


@pytest.mark.parametrize(("kind", "scale", "atol"), [("s16", 32768, 1e-4), ("f32", 1.0, 0)])
def test_raw_pcm_comes_through_whatever_the_pipe_cuts(kind: Any, scale: float, atol: float) -> None:
    samples = sound(0.05)
    raw = (samples * scale).astype("<i2" if kind == "s16" else "<f4").tobytes()
    found = np.concatenate(list(read_pcm(Pipe(raw), kind, RATE, RATE)))
    np.testing.assert_allclose(found, samples, atol=atol)


def test_raw_pcm_is_resampled() -> None:
    seconds = np.arange(16000) / 16000
    raw = (0.5 * np.sin(2 * np.pi * 440 * seconds)).astype("<f4").tobytes()
    found = np.concatenate(list(read_pcm(io.BytesIO(raw), "f32", 16000, RATE)))
    assert len(found) == pytest.approx(RATE, abs=2)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(found)) / RATE)
    np.testing.assert_allclose(found[200:-200], expected[200:-200], atol=5e-3)


def test_raw_pcm_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="the rate must be from"):
        list(read_pcm(io.BytesIO(b""), "s16", 1, RATE))
    with pytest.raises(InputError, match="not numbers"):
        list(read_pcm(io.BytesIO(np.array([np.nan], "<f4").tobytes()), "f32", RATE, RATE))


def test_file_comes_in_blocks(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sound(0.1), RATE, subtype="FLOAT")
    parts = list(read_sound(tmp_path / "a.wav", RATE))
    assert len(parts) == 5
    np.testing.assert_array_equal(np.concatenate(parts), sound(0.1))


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "model.pt", CHECKPOINT)
    return tmp_path / "model.pt"


def test_command_hears_a_file_and_a_pipe_alike(
    command: Command, heard_by: Bundle, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = sound(0.5)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    words = ("drnn-deploy", "stream", tmp_path / "a.wav", "--json", tmp_path / "heard.json", "--every", "0.1")
    found = []
    for model in (heard_by.folder, model_file):
        ran = command(*words, "--model", model)
        assert ran.code == 0
        assert len([line for line in ran.out.splitlines() if "us/step" in line]) in (4, 5)
        assert ran.out.splitlines()[-1].endswith(f"drnn-deploy stream - --rate {RATE} --model {model}")
        found.append(json.loads((tmp_path / "heard.json").read_text(encoding="utf-8")))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(samples.astype("<f4").tobytes()), encoding="utf-8"))
    piped = ("drnn-deploy", "stream", "-", "--sample-format", "f32", "--model", heard_by.folder)
    ran = command(*piped, "--json", tmp_path / "heard.json", "--threads", "1")
    assert ran.code == 0
    assert ran.out.splitlines()[-1].endswith(f"drnn-parity {heard_by.folder}")
    found.append(json.loads((tmp_path / "heard.json").read_text(encoding="utf-8")))
    assert {entry["prediction"] for entry in found} == {found[0]["prediction"]} <= set(FSDD_SPEAKERS)
    for entry in found:
        assert entry["seconds"] == pytest.approx(0.5, abs=WINDOW / RATE)
        assert entry["probabilities"] == pytest.approx(found[0]["probabilities"], abs=1e-3)
        assert entry["times_real_time"] > 0


def test_a_pipe_is_heard_at_the_rate_that_is_said(
    command: Command, heard_by: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = tmp_path / "heard.json"
    words = ("drnn-deploy", "stream", "-", "--sample-format", "f32", "--model", heard_by.folder, "--json", heard)
    for rate, seconds in ((RATE, 0.5), (2 * RATE, 0.25)):
        pipe = io.TextIOWrapper(io.BytesIO(sound(0.5).astype("<f4").tobytes()), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", pipe)
        assert command(*words, "--rate", rate).code == 0
        told = json.loads(heard.read_text(encoding="utf-8"))
        assert told["seconds"] == pytest.approx(seconds, abs=WINDOW / RATE)


def test_command_says_what_is_wrong(command: Command, heard_by: Bundle, tmp_path: Path) -> None:
    ran = command("drnn-deploy", "stream", tmp_path / "none.wav", "--model", heard_by.folder)
    assert (ran.code, "none.wav is not a file" in ran.err) == (2, True)
    (tmp_path / "text.wav").write_text("no sound", encoding="utf-8")
    ran = command("drnn-deploy", "stream", tmp_path / "text.wav", "--model", heard_by.folder)
    assert (ran.code, "cannot be read as audio" in ran.err) == (2, True)
    ran = command("drnn-deploy", "stream", "-", "--model", tmp_path)
    assert (ran.code, "is not a bundle" in ran.err) == (2, True)


def test_sound_too_short_for_an_answer_has_none(heard_by: Bundle) -> None:
    assert push(heard_by, AudioFormat.of(heard_by), blocks(sound(9 / RATE), [9])) == []


def test_stream_reads_all_of_it(heard_by: Bundle) -> None:
    with find_runtime("onnxruntime-cpu").stream(heard_by) as stream:
        assert isinstance(stream, Stream)
        assert stream.chunk == 10
