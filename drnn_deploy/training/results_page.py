"""The results page: every table and figure of it comes from the result files of the experiments.

One section per experiment; a run that has no result yet is listed as not trained. The mean recurrent lengths are
computed from the specs.
"""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drnn_core.errors import InputError
from drnn_core.files import replacing
from drnn_deploy.training.budget import shortfall, solved
from drnn_deploy.training.claims import Claim
from drnn_deploy.training.experiments import Experiment, Metric
from drnn_deploy.training.findings import Finding, judge, shown, written
from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.results import CARRIED, Result, load_result, result_path
from drnn_models.baseline_specs import SkipSpec
from drnn_models.path_lengths import mean_recurrent_length
from drnn_models.spec import Continuous, Head, ModelSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_LAYERS = 10
_SEED = re.compile(r"^seed-[0-9]+-")
_METRICS: dict[Metric, tuple[str, str]] = {  # name in tables and axes, number format
    "accuracy": ("accuracy", "{:.2%}"),
    "recording_accuracy": ("accuracy per recording", "{:.2%}"),
    "cross_entropy": ("cross-entropy, nats", "{:.4f}"),
    "bits_per_character": ("bits per character", "{:.3f}"),
}
_HEAD = """# Results

Written by `drnn-deploy report`, from the result files of the trainings that `drnn-deploy experiment` runs. Each result
holds its whole recipe, seed and versions. Accuracies and cross-entropies are of the test split, with the last weights
of the run: no run was selected by them. "Time" is of the whole training on the device named, which it shared with
other work: it is what the run took, and no benchmark. "Target" is what the paper, or who ran the authors' code again,
reports of such a network.

Claims are the paper's, with margins and bars of this project. A rule decides them, from the result files alone: a run
with fewer iterations than planned decides none, unless it reached its goal, or the time of another run was its budget.
"""
_MEMORY = """Computed here from the definition in `drnn_models.path_lengths`: edges of the shortest path from an input
to an output so many steps later, averaged over the lags. Dilated: dilations 1, 2, 4, ...; skip: edges of 1 and of
the longest lag in every layer; plain: dilations 1."""


@dataclasses.dataclass(frozen=True)
class Section:
    """An experiment with the results that are there, by run name."""

    experiment: Experiment
    results: dict[str, Result]
    trivial: Result | None


def load_section(experiment: Experiment, folder: Path) -> Section:
    """Gather an experiment's results from a folder.

    Args:
        experiment: What was to be trained.
        folder: Where all results lie; not every run needs one.

    Raises:
        InputError: A result does not fit its recipe.
    """

    def load(run: str, recipe: Recipe) -> Result | None:
        path = result_path(folder, experiment.name, run)
        result = load_result(path, recipe)
        measured = [result.metrics, *(line["validation"] for line in result.log)] if result else []
        if any(experiment.metric not in metrics for metrics in measured):
            raise InputError(f"{path} does not have {experiment.metric} everywhere", "Delete it to train again.")
        return result

    results = {run: load(run, recipe) for run, recipe in experiment.recipes.items()}
    base = next(iter(experiment.recipes.values()))
    trivial = load(experiment.trivial, base) if experiment.trivial else None
    return Section(experiment, {run: result for run, result in results.items() if result}, trivial)


def write_report(sections: Sequence[Section], folder: Path) -> list[Path]:
    """Write `results.md` and `figures/*.svg`. The same results give the same bytes.

    Args:
        sections: The experiments with their results.
        folder: Where to write.

    Returns:
        The files that were written.
    """
    drawings: dict[str, Callable[[Axes], None]] = {"mean-recurrent-length": draw_mean_recurrent_length}
    for section in sections:
        if section.experiment.figure != "none" and section.results:
            draw = draw_curves if section.experiment.figure == "curves" else draw_points
            drawings[section.experiment.name] = _bound(draw, section)
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for name, drawing in drawings.items():
        _save(figures / f"{name}.svg", drawing)
    page = folder / "results.md"
    with replacing(page) as temporary:
        temporary.write_text(markdown(sections), encoding="utf-8")
    return [page, *(figures / f"{name}.svg" for name in drawings)]


def markdown(sections: Sequence[Section]) -> str:
    """The page, with links to the figures."""
    parts = [_HEAD, _summary(sections), *(_section(section) for section in sections), _memory_section()]
    return "\n".join(parts)


def _section(section: Section) -> str:
    experiment = section.experiment
    label = _METRICS[experiment.metric][0]
    rows = [["network", "parameters", f"test {label}", "iterations", "time", "target"]]
    rows += [_row(section, run) for run in experiment.recipes]
    if section.trivial:
        name = f"{shown(experiment.trivial)}, no network"
        rows.append([name, f"{section.trivial.parameters:,}", _value(section, section.trivial), "-", "-", ""])
    text = [f"## {experiment.title}", experiment.text, _table(rows), _medians(section), _findings(section)]
    if experiment.figure != "none" and section.results:
        text.append(f"![{experiment.title}](figures/{experiment.name}.svg)")
    return "\n\n".join(part for part in text if part) + "\n"


def _row(section: Section, run: str) -> list[str]:
    experiment, result = section.experiment, section.results.get(run)
    recipe, target = experiment.recipes[run], experiment.paper.get(run, "")
    planned = recipe.training.iterations
    if result is None:
        return [shown(run), "", "not trained yet", f"{planned:,} planned", "", target]
    done = f"{result.iterations:,}"
    if solved(result, recipe):
        done += " (solved)"
    elif result.iterations < planned:
        done += f" of {planned:,}"
        if not shortfall(result, recipe):
            done += f", in the time of {shown(experiment.time_of.get(run, 'another run'))}"
    return [shown(run), f"{result.parameters:,}", _value(section, result), done, _time(result), target]


def _value(section: Section, result: Result) -> str:
    metric = section.experiment.metric
    number, carried = _METRICS[metric][1], result.metrics.get(CARRIED + metric)
    more = "" if carried is None else f" ({written(number, carried)} with carried state)"
    return f"**{written(number, result.metrics[metric])}**{more}"


def _medians(section: Section) -> str:
    """Of runs that differ in their seeds alone: `seed-2-NAME` beside NAME."""
    number, parts = _METRICS[section.experiment.metric][1], []
    for name, values in _over_seeds(section).items():
        if len(values) > 1:
            middle, least, most = (written(number, x) for x in (statistics.median(values), min(values), max(values)))
            parts.append(f"{shown(name)} {middle} ({least} to {most}, {len(values)} seeds)")
    return f"Medians and ranges over seeds: {'; '.join(parts)}." if parts else ""


def _over_seeds(section: Section) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for run, result in section.results.items():
        values.setdefault(_SEED.sub("", run), []).append(result.metrics[section.experiment.metric])
    return values


def _judged(section: Section) -> list[tuple[Claim, Finding]]:
    experiment = section.experiment
    known = section.results | ({experiment.trivial: section.trivial} if section.trivial else {})
    number = _METRICS[experiment.metric][1]
    return [(claim, judge(claim, experiment.metric, experiment.recipes, known, number)) for claim in experiment.claims]


def _findings(section: Section) -> str:
    return "\n".join(f"- {claim.text} **{end.verdict.capitalize()}**: {end.reason}." for claim, end in _judged(section))


def _summary(sections: Sequence[Section]) -> str:
    verdicts = [finding.verdict for section in sections for _, finding in _judged(section)]
    counts = (f"{verdicts.count(verdict)} {verdict}" for verdict in ("confirmed", "not confirmed", "not tested"))
    return f"Of {len(verdicts)} claims: {', '.join(counts)}.\n" if verdicts else ""


def _time(result: Result) -> str:
    threads = f", {result.threads} thread{'s' if result.threads > 1 else ''}" if result.device == "cpu" else ""
    rounded = ", TF32" if result.device != "cpu" and result.recipe["training"].get("tf32") else ""
    compiled = ", compiled kernel" if result.kernel == "native" else ""
    return f"{result.seconds / 60:.0f} min ({result.device}{threads}{compiled}{rounded})"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


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
    axes.set(xlabel="iteration", ylabel=f"validation {_METRICS[experiment.metric][0]}")
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
    for name, values in _over_seeds(section).items():
        kind, number = _kind_and_number(name)
        kinds.setdefault(kind, {})[number] = values
    for kind, points in kinds.items():
        axes.plot(sorted(points), [statistics.median(points[x]) for x in sorted(points)], marker="o", label=shown(kind))
        for x, values in points.items():
            if len(values) > 1:
                axes.plot([x] * len(values), values, linestyle="", marker=".", color="grey")
    ticks = sorted({x for points in kinds.values() for x in points})
    axes.set(xlabel=experiment.x, ylabel=f"test {_METRICS[experiment.metric][0]}", xticks=ticks)
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
    layers = range(1, _MOST_LAYERS + 1)
    lengths = [mean_recurrent_lengths(count) for count in layers]
    for name, column in zip(("dilated", "skip", "plain"), zip(*lengths, strict=True), strict=True):
        axes.plot(layers, column, marker="o", label=f"{name} RNN")
    axes.set(xlabel="layers", ylabel="mean recurrent length", yscale="log")
    axes.legend()


def _memory_section() -> str:
    rows = [["layers", "lags 1 to", "dilated RNN", "skip RNN", "plain RNN"]]
    for layers in range(2, _MOST_LAYERS + 1):
        lengths = (f"{length:.3f}" for length in mean_recurrent_lengths(layers))
        rows.append([str(layers), str(2 ** (layers - 1)), *lengths])
    link = "![mean recurrent length](figures/mean-recurrent-length.svg)"
    return "\n\n".join(["## Mean recurrent length", _MEMORY, _table(rows), link]) + "\n"


def _bound(draw: Callable[[Section, Axes], None], section: Section) -> Callable[[Axes], None]:
    return lambda axes: draw(section, axes)


def _save(path: Path, draw: Callable[[Axes], None]) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "drnn-deploy", "svg.fonttype": "none"}):  # the same bytes each time
        figure: Figure = Figure(figsize=(7, 4), layout="constrained")
        draw(figure.subplots())
        with replacing(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
