"""`drnn-deploy demo BUNDLE`: the bundle's example digits, as pictures, with every runtime's prediction."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from drnn_core.errors import InputError
from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import conclude, make_console, progress, show_missing
from drnn_deploy.cli.options import device_options, threads_option
from drnn_deploy.cli.values import BundleFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.text import Text

    from drnn_deploy.parity.results import Missing
    from drnn_runtimes.bundle import Bundle, GoldenCase

_PER_ROW, _SIDE = 5, 28
_RAMP = " .:-=+*#%@"  # dark to bright


@command()
@click.argument("bundle", type=BundleFolder())
@device_options
@threads_option
def demo(bundle: Path, threads: int | None) -> int:
    """Classify a pixel-MNIST bundle's example digits through each runtime here (exit code 1 if they differ)."""
    from rich.columns import Columns
    from rich.panel import Panel
    from rich.text import Text

    from drnn_runtimes.bundle import Bundle

    opened = Bundle.open(bundle)
    case = _digits(opened)
    console = make_console(None)
    with progress(console) as notify:
        notify("classifying the digits on every runtime")
        predictions = classify(opened, case, threads)
    assert case.targets is not None
    console.print(f"Source: {case.source}. Under each picture: the true digit, then each runtime's.")
    pictures = [
        _picture(image, colours=console.color_system is not None) for image in case.inputs.reshape(-1, _SIDE, _SIDE)
    ]
    for start in range(0, len(pictures), _PER_ROW):
        panels = []
        for index in range(start, min(start + _PER_ROW, len(pictures))):
            caption = Text(f"true {case.targets[index]}\n")
            for name, predicted in predictions.items():
                right = predicted[index] == case.targets[index]
                caption.append(f"{name} ").append(f"{predicted[index]}\n", style="bold green" if right else "bold red")
            caption.right_crop(1)
            panels.append(Panel(Text.assemble(pictures[index], caption), width=_SIDE + 4))
        console.print(Columns(panels, padding=(0, 1)))
    for name, predicted in predictions.items():
        console.print(f"{name}: {np.count_nonzero(predicted == case.targets)} of {len(predicted)} right")
    show_missing(console, _left_out(opened))
    first = next(iter(predictions.values()))
    same = all(np.array_equal(first, predicted) for predicted in predictions.values())
    name = shlex.quote(str(bundle))
    told = "every runtime predicts the same" if same else "(exit code 1) the runtimes' predictions differ"
    conclude(console, same, told, then=f"drnn-deploy evaluate {name}" if same else f"drnn-parity {name} --explain")
    return int(not same)


def classify(bundle: Bundle, case: GoldenCase, threads: int | None = None) -> dict[str, NDArray[np.int64]]:
    """The predictions of a golden case, by runtime and emission.

    Args:
        bundle: A bundle of a classifier.
        case: A golden case without state, of N sequences.
        threads: Of each runtime that has a setting for that. None: its own.

    Returns:
        Runtime, with the emission where a runtime has several graphs -> class numbers, (N,) or (N, k) int64.
    """
    from drnn_deploy.evaluation import whole_graphs
    from drnn_deploy.parity.inference import run_case
    from drnn_runtimes.registry import RUNTIMES, with_threads

    predictions = {}
    for runtime in with_threads(list(RUNTIMES.values()), threads):
        graphs = whole_graphs(runtime, bundle) if runtime.availability().usable else []
        for graph in graphs:
            if not runtime.unsupported(bundle, graph):
                with runtime.load(bundle, graph) as session:
                    outputs = run_case(session, graph, case.inputs)["output"]
                name = f"{runtime.name} {graph.emission}" if len(graphs) > 1 else runtime.name
                predictions[name] = outputs.argmax(axis=-1)
    return predictions


def _left_out(bundle: Bundle) -> list[Missing]:
    """The runtimes without a prediction."""
    from drnn_deploy.evaluation import why_left_out
    from drnn_runtimes.registry import RUNTIMES

    absent = (why_left_out(runtime, bundle) for runtime in RUNTIMES.values())
    return [entry for entry in absent if entry]


def _digits(bundle: Bundle) -> GoldenCase:
    for case in bundle.golden:
        if bundle.task.get("name") == "pixel-mnist" and case.targets is not None:
            return case
    raise InputError(
        f"{bundle.folder} holds no example digits",
        "Give a bundle of a pixel-MNIST checkpoint, such as models/zoo/pixel-mnist/model.pt.",
    )


def _picture(image: NDArray[np.generic], *, colours: bool) -> Text:
    """28 x 28 brightness as 14 lines, two pixels a character.

    With colours, half blocks: the upper pixel is the foreground, the lower the background. Without, a character ramp.
    """
    from rich.text import Text

    text = Text()
    levels = np.clip(image.astype(np.float64) * 255, 0, 255).astype(int)
    for upper, lower in zip(levels[::2], levels[1::2], strict=True):
        for top, bottom in zip(upper, lower, strict=True):
            if colours:
                text.append("▀", style=f"rgb({top},{top},{top}) on rgb({bottom},{bottom},{bottom})")
            else:
                text.append(_RAMP[(top + bottom) * (len(_RAMP) - 1) // 510])
        text.append("\n")
    return text
