"""The results page: every table and figure of it comes from the result files of the experiments.

One section per experiment; a run that has no result yet is listed as not trained. The mean recurrent lengths are
computed from the specs.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drnn_core.files import replacing
from drnn_deploy.training.budget import solved
from drnn_deploy.training.claims import Claim
from drnn_deploy.training.findings import Finding, judge, shown, written
from drnn_deploy.training.result_figures import (
    MOST_LAYERS,
    draw_curves,
    draw_mean_recurrent_length,
    draw_points,
    mean_recurrent_lengths,
    save_figure,
)
from drnn_deploy.training.result_sections import METRICS, Section, over_seeds
from drnn_deploy.training.results import CARRIED, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEAD = """# Results

Written by `drnn-deploy report`, from the result files of the trainings that `drnn-deploy experiment` runs. Each result
holds its whole recipe, seed and versions. Accuracies and cross-entropies are of the test split, with the last weights
of the run: no run was selected by them. "Time" is of the whole training on the device named, which it shared with
other work: it is what the run took, and no benchmark. "Target" is what the paper, or who ran the authors' code again,
reports of such a network.

Claims are the paper's, with margins and bars of this project. A rule decides them, from the result files alone: a run
with fewer iterations than planned decides none, unless it reached its goal, or the time of another run was its budget.
Of a run with several seeds the median counts.
"""
_MEMORY = """Computed here from the definition in `drnn_models.path_lengths`: edges of the shortest path from an input
to an output so many steps later, averaged over the lags. Dilated: dilations 1, 2, 4, ...; skip: edges of 1 and of
the longest lag in every layer; plain: dilations 1."""


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
            drawings[section.experiment.name] = functools.partial(draw, section)
    figures = folder / "figures"
    for name, drawing in drawings.items():
        save_figure(figures / f"{name}.svg", drawing)
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
    label = METRICS[experiment.metric][0]
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
    elif result.iterations != planned:
        done += f" of {planned:,}"
        if run not in section.shortfalls:
            done += f", in the time of {shown(experiment.time_of[run])}"
    return [shown(run), f"{result.parameters:,}", _value(section, result), done, _time(result), target]


def _value(section: Section, result: Result) -> str:
    metric = section.experiment.metric
    number, carried = METRICS[metric][1], result.metrics.get(CARRIED + metric)
    more = "" if carried is None else f" ({written(number, carried)} with carried state)"
    return f"**{written(number, result.metrics[metric])}**{more}"


def _medians(section: Section) -> str:
    """Of runs that differ in their seeds alone: `seed-2-NAME` beside NAME."""
    number, parts = METRICS[section.experiment.metric][1], []
    for name, values in over_seeds(section).items():
        if len(values) > 1:
            middle, least, most = (written(number, x) for x in (statistics.median(values), min(values), max(values)))
            parts.append(f"{shown(name)} {middle} ({least} to {most}, {len(values)} seeds)")
    return f"Medians and ranges over seeds: {'; '.join(parts)}." if parts else ""


def _judged(section: Section) -> list[tuple[Claim, Finding]]:
    experiment = section.experiment
    known = section.results | ({experiment.trivial: section.trivial} if section.trivial else {})
    values = {run: [result.metrics[experiment.metric]] for run, result in known.items()}
    values |= {run: seeds for run, seeds in over_seeds(section).items() if run in known}
    number = METRICS[experiment.metric][1]
    return [(claim, judge(claim, experiment.metric, values, section.shortfalls, number)) for claim in experiment.claims]


def _findings(section: Section) -> str:
    return "\n".join(f"- {claim.text} **{end.verdict.capitalize()}**: {end.reason}." for claim, end in _judged(section))


def _summary(sections: Sequence[Section]) -> str:
    verdicts = [finding.verdict for section in sections for _, finding in _judged(section)]
    counts = (f"{verdicts.count(verdict)} {verdict}" for verdict in ("confirmed", "not confirmed", "not tested"))
    return f"Of {len(verdicts)} claims: {', '.join(counts)}.\n" if verdicts else ""


def _time(result: Result) -> str:
    threads = f", {result.threads} thread{'s' if result.threads > 1 else ''}" if result.device == "cpu" else ""
    rounded = ", TF32" if result.device != "cpu" and result.recipe["training"].get("tf32") else ""
    kernel = {"native": ", compiled kernel", "graph": ", CUDA graph"}.get(result.kernel, "")
    return f"{result.seconds / 60:.0f} min ({result.device}{threads}{kernel}{rounded})"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def _memory_section() -> str:
    rows = [["layers", "lags 1 to", "dilated RNN", "skip RNN", "plain RNN"]]
    for layers in range(2, MOST_LAYERS + 1):
        lengths = (f"{length:.3f}" for length in mean_recurrent_lengths(layers))
        rows.append([str(layers), str(2 ** (layers - 1)), *lengths])
    link = "![mean recurrent length](figures/mean-recurrent-length.svg)"
    return "\n\n".join(["## Mean recurrent length", _MEMORY, _table(rows), link]) + "\n"
