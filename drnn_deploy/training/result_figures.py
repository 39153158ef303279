"""The figures of the results page."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drnn_core.files import replacing
from drnn_deploy.training.findings import shown
from drnn_deploy.training.result_sections import METRICS, Section, over_seeds
from drnn_models.baseline_specs import SkipSpec
from drnn_models.path_lengths import mean_recurrent_length
from drnn_models.spec import Continuous, Head, ModelSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LAYERS = 10


def draw_curves(section: Section, axes: Axes) -> None:
    """The validation metric over iterations, one line a run, and the level of guessing.

    Args:
        section: An experiment with its results.
        axes: Where to draw.
    """
    experiment = section.experiment
    for run, result in section.results.items():
        points = [(line["iteration"], line["validation"][experiment.metric]) for line in result.log]
        axes.plot([x for x, _ in points], [y for _, y in points], label=shown(run), linewidth=1.2)
    classes = next(iter(experiment.recipes.values())).make_task().classes
    guess = math.log(classes) if experiment.metric == "cross_entropy" else 1 / classes
    if experiment.metric != "bits_per_character":
        axes.axhline(guess, color="grey", linestyle=":", label="guessing")
    axes.set(xlabel="iteration", ylabel=f"validation {METRICS[experiment.metric][0]}")
    axes.legend()


def draw_points(section: Section, axes: Axes) -> None:
    """The test metric against the number that a run's name ends with; a line through the medians over seeds.

    Runs whose names differ in more than that number have a line of their own.

    Args:
        section: An experiment with its results.
        axes: Where to draw.
    """
    experiment = section.experiment
    kinds: dict[str, dict[int, list[float]]] = {}
    for name, values in over_seeds(section).items():
        kind, number = _kind_and_number(name)
        kinds.setdefault(kind, {})[number] = values
    for kind, points in kinds.items():
        axes.plot(sorted(points), [statistics.median(points[x]) for x in sorted(points)], marker="o", label=shown(kind))
        for x, values in points.items():
            if len(values) > 1:
                axes.plot([x] * len(values), values, linestyle="", marker=".", color="grey")
    ticks = sorted({x for points in kinds.values() for x in points})
    axes.set(xlabel=experiment.x, ylabel=f"test {METRICS[experiment.metric][0]}", xticks=ticks)
    if len(kinds) > 1:
        axes.legend()


def _kind_and_number(run: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.*?)-?(\d+)", run)
    return (match[1], int(match[2])) if match else (run, 0)


def mean_recurrent_lengths(layers: int) -> tuple[float, float, float]:
    """The mean recurrent lengths of three kinds of stacks, over lags 1 to m = 2^(layers-1).

    Args:
        layers: The number of layers.

    Returns:
        The lengths of a dilated RNN (1, 2, 4, ...), a skip RNN (edges 1 and m) and a plain RNN.
    """
    period = 2 ** (layers - 1)

    def stack(dilations: Sequence[int]) -> ModelSpec:
        return ModelSpec("rnn", (1,) * layers, tuple(dilations), Continuous(1), Head("last", 1), fusion=False)

    dilated, skip, plain = [2**layer for layer in range(layers)], [period] * layers, [1] * layers
    return (
        mean_recurrent_length(stack(dilated), period),
        mean_recurrent_length(SkipSpec(stack(skip)), period),
        mean_recurrent_length(stack(plain), period),
    )


def draw_mean_recurrent_length(axes: Axes) -> None:
    """The mean recurrent length over the number of layers."""
    layers = range(1, MOST_LAYERS + 1)
    lengths = [mean_recurrent_lengths(count) for count in layers]
    for name, column in zip(("dilated", "skip", "plain"), zip(*lengths, strict=True), strict=True):
        axes.plot(layers, column, marker="o", label=f"{name} RNN")
    axes.set(xlabel="layers", ylabel="mean recurrent length", yscale="log")
    axes.legend()


def save_figure(path: Path, draw: Callable[[Axes], None]) -> None:
    """Draw an SVG, with the same bytes each time.

    Args:
        path: The file.
        draw: Draws into the axes.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "drnn-deploy", "svg.fonttype": "none"}):  # the same bytes each time
        figure: Figure = Figure(figsize=(7, 4), layout="constrained")
        draw(figure.subplots())
        with replacing(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
