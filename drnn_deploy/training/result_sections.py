"""An experiment with the results that are there: what the results page has a section of."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from drnn_core.errors import InputError
from drnn_deploy.training.budget import shortfall
from drnn_deploy.training.experiments import Experiment, Metric, without_seed
from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.results import Result, load_result, result_path

METRICS: dict[Metric, tuple[str, str]] = {  # name in tables and axes, number format
    "accuracy": ("accuracy", "{:.2%}"),
    "recording_accuracy": ("accuracy per recording", "{:.2%}"),
    "cross_entropy": ("cross-entropy, nats", "{:.4f}"),
    "bits_per_character": ("bits per character", "{:.3f}"),
}


@dataclasses.dataclass(frozen=True)
class Section:
    """An experiment with the results that are there, by run name."""

    experiment: Experiment
    results: dict[str, Result]
    trivial: Result | None

    @functools.cached_property
    def shortfalls(self) -> dict[str, str]:
        """The runs whose results have not the budget that was planned, and what these lack."""
        recipes, time_of, found = self.experiment.recipes, self.experiment.time_of, dict[str, str]()
        for run in sorted(self.results, key=lambda run: run in time_of):
            other = time_of.get(run, "")
            timed = None if other in found else self.results.get(other)
            if lack := shortfall(self.results[run], recipes[run], timed):
                found[run] = lack
        return found


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


def over_seeds(section: Section) -> dict[str, list[float]]:
    """The metric of runs that differ in their seeds alone: those of NAME, `seed-2-NAME`, ... by NAME. Runs that
    have not the budget that was planned are left out.

    Args:
        section: An experiment with its results.
    """
    values: dict[str, list[float]] = {}
    for run, result in section.results.items():
        if run not in section.shortfalls:
            values.setdefault(without_seed(run), []).append(result.metrics[section.experiment.metric])
    return values
