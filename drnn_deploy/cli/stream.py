"""`drnn-deploy stream SOUND`: a running prediction of a sound file, or of raw PCM on standard input."""

from __future__ import annotations

import contextlib
import shlex
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from drnn_core.errors import InputError, refuse_ignored
from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import json_option, make_console, show_next, styled, write_json
from drnn_deploy.cli.options import device_options, threads_option
from drnn_deploy.cli.values import RUNTIME, BundleOrCheckpoint, Number

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_deploy.audio_classifier import AudioClassifier, AudioFormat, Prediction
    from drnn_runtimes.bundle import Bundle
    from drnn_runtimes.runtime import Runtime

_ANSWER_SECONDS = 0.02  # of sound, at most, between two answers of a graph that is exported for this
_USUAL_RATE = 8_000  # samples a second of sound
_SHOWN = 3  # classes


@command()
@click.argument("sound")
@click.option(
    "--model",
    type=BundleOrCheckpoint(),
    help="A bundle with a form that has state, or a checkpoint. [default: the zoo's speaker network]",
)
@click.option("--form", help="The bundle's graph. [default: the first that has state]")
@click.option("--runtime", "runtime_name", type=RUNTIME, default="onnxruntime-cpu", show_default=True)
@device_options
@threads_option
@click.option("--rate", type=click.IntRange(min=1), help="Samples a second of raw PCM. [default: the network's]")
@click.option("--sample-format", type=click.Choice(["s16", "f32"]), default="s16", show_default=True)
@click.option(
    "--every", type=Number(min=0), default=0.25, show_default=True, help="Seconds of sound between two lines."
)
@json_option
def stream(
    sound: str,
    model: Path | None,
    form: str | None,
    runtime_name: str,
    rate: int | None,
    sample_format: Any,
    every: float,
    threads: int | None,
    json_path: str | None,
) -> None:
    """Listen, and show who speaks (or whatever the network tells), with the time that a step takes.

    SOUND is a WAV or FLAC file with one channel, or - for raw PCM (one channel, little-endian) on standard input:

    arecord -q -t raw -f S16_LE -r 16000 | drnn-deploy stream - --rate 16000
    """
    context, raw = click.get_current_context(), sound == "-"
    typed = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    refuse_ignored(
        (not raw and "rate" in typed, "--rate", "raw PCM on standard input, -"),
        (not raw and "sample_format" in typed, "--sample-format", "raw PCM on standard input, -"),
    )
    console = make_console(json_path)
    with contextlib.ExitStack() as stack:
        from drnn_deploy.audio_classifier import AudioClassifier, AudioFormat, read_pcm, read_sound
        from drnn_runtimes.registry import require, with_threads

        (runtime,) = with_threads(require([runtime_name]), threads, [runtime_name])
        bundle = _bundle(stack, model, runtime, console)
        audio_format = AudioFormat.of(bundle)
        heard_at = rate or audio_format.rate
        if heard_at is None or (audio_format.rate is None and sound != "-"):
            raise InputError(f"{bundle.folder} does not say at what rate it hears", "Pipe raw PCM, with --rate HZ.")
        at = audio_format.rate or heard_at
        blocks = (
            read_pcm(sys.stdin.buffer, sample_format, heard_at, at) if sound == "-" else read_sound(Path(sound), at)
        )
        opened = stack.enter_context(runtime.stream(bundle, form, batch=1))
        classifier = AudioClassifier(opened, audio_format, opened.chunk)
        answers = _listen(console, classifier, audio_format, blocks, at, every)
        write_json(json_path, _summary(answers, audio_format, at))
    _conclude(console, answers, audio_format, at)
    show_next(console, _next(model, raw, audio_format.rate or heard_at))


def _next(model: Path | None, raw: bool, rate: int) -> str:
    """What to type now: the microphone, and after it the check."""
    named = "" if model is None else f" --model {shlex.quote(str(model))}"
    if not raw:
        return f"arecord -q -t raw -f S16_LE -r {rate} | drnn-deploy stream - --rate {rate}{named}"
    checked = "--task speaker-id" if model is None else shlex.quote(str(model))
    return f"whether it computes what was trained: drnn-parity {checked}"


def _bundle(stack: contextlib.ExitStack, model: Path | None, runtime: Runtime, console: Console) -> Bundle:
    """The bundle as it is, or one made of a checkpoint for as long as the command runs."""
    from drnn_runtimes.bundle import Bundle

    if model is not None and model.is_dir():
        return Bundle.open(model)
    from drnn_deploy.exporter.options import ExportOptions
    from drnn_deploy.exporter.pipeline import export
    from drnn_models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(model or _zoo())
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "bundle"
    options = ExportOptions(forms=("chunk",), chunk=_chunk(checkpoint.task), engines=(), runtimes=(runtime.name,))
    with console.status("exporting the network"):
        result = export(checkpoint, folder, options)
    if result.exit_code:
        raise InputError(f"{runtime.name} does not compute what the network does", "Type: drnn-export MODEL")
    return result.bundle


def _zoo() -> Path:
    from drnn_zoo import ZOO

    path = ZOO / "speaker-id" / "model.pt"
    if not path.is_file():
        raise InputError("the zoo has no speaker network", "Name one with --model.")
    return path


def _chunk(task: dict[str, Any]) -> int:
    """The most steps that divide a window of the task, within the time between two answers."""
    from drnn_deploy.datasets.rate import steps_a_second

    length, most = task.get("length"), max(1, int(_ANSWER_SECONDS * (steps_a_second(task) or _USUAL_RATE)))
    if not isinstance(length, int):
        return most
    return max(steps for steps in range(1, most + 1) if length % steps == 0)


def _listen(
    console: Console,
    classifier: AudioClassifier,
    audio_format: AudioFormat,
    blocks: Iterator[Any],
    rate: int,
    every: float,
) -> list[Prediction]:
    """Every answer until the sound ends or Ctrl-C; a line of each `every` seconds."""
    answers: list[Prediction] = []
    due = every
    with contextlib.suppress(KeyboardInterrupt):
        for block in blocks:
            for prediction in classifier.push(block):
                answers.append(prediction)
                if prediction.steps / rate >= due:
                    due += every
                    console.print(_line(prediction, audio_format, rate))
    return answers


def _line(prediction: Prediction, audio_format: AudioFormat, rate: int) -> str:
    best = prediction.votes.argsort()[::-1][:_SHOWN]
    ranked = ", ".join(f"{audio_format.labels[index]} {prediction.votes[index]:.0%}" for index in best)
    now = audio_format.labels[int(prediction.now.argmax())]
    return f"{prediction.steps / rate:7.2f} s  {ranked}  (now {now})  {prediction.microseconds:.1f} us/step"


def _summary(answers: list[Prediction], audio_format: AudioFormat, rate: int) -> dict[str, Any]:
    if not answers:
        return {"passed": True, "seconds": 0.0, "prediction": None}
    last = answers[-1]
    step = statistics.median(prediction.microseconds for prediction in answers)
    return {
        "passed": True,
        "seconds": last.steps / rate,
        "prediction": audio_format.labels[int(last.votes.argmax())],
        "probabilities": dict(zip(audio_format.labels, map(float, last.votes), strict=True)),
        "microseconds_per_step": step,
        "times_real_time": 1e6 / rate / step,
        "answers": len(answers),
    }


def _conclude(console: Console, answers: list[Prediction], audio_format: AudioFormat, rate: int) -> None:
    summary = _summary(answers, audio_format, rate)
    if summary["prediction"] is None:
        console.print("the sound was too short for an answer")
        return
    console.print(
        styled(str(summary["prediction"]), "bold green"),
        f"after {summary['seconds']:.2f} s; "
        f"{summary['microseconds_per_step']:.1f} us a step, "
        f"{summary['times_real_time']:.1f} times as fast as the sound",
    )
