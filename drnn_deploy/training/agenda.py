"""What `drnn-deploy experiment` is asked for: runs of one experiment or of several, in an order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from drnn_core.errors import InputError
from drnn_core.plain_data import read_toml
from drnn_core.text import choose_from
from drnn_deploy.training import experiments
from drnn_deploy.training.budget import shortfall
from drnn_deploy.training.experiments import Experiment
from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.results import Result, load_result, result_path
from drnn_zoo import agenda_file, agenda_names


@dataclasses.dataclass(frozen=True)
class Item:
    """A run of an experiment, or its classifier without memory.

    Attributes:
        experiment: The experiment.
        run: The name of the run.
        source: What the experiment was asked for by: its name or file.
    """

    experiment: Experiment
    run: str
    source: str

    @property
    def name(self) -> str:
        """EXPERIMENT/RUN, as the command takes it."""
        return f"{self.experiment.name}/{self.run}"

    @property
    def trivial(self) -> bool:
        """Whether it is no network."""
        return self.run == self.experiment.trivial

    @property
    def recipe(self) -> Recipe:
        """What is trained; of a classifier without memory, whose data it takes."""
        runs = self.experiment.recipes
        return next(iter(runs.values())) if self.trivial else runs[self.run]

    @property
    def waits_for(self) -> str:
        """The run whose time it gets, or ""."""
        return self.experiment.time_of.get(self.run, "")

    def result_path(self, folder: Path) -> Path:
        """Where its result lies.

        Args:
            folder: Where all results lie.
        """
        return result_path(folder, self.experiment.name, self.run)

    def result(self, folder: Path) -> Result | None:
        """Its result, if it has one that had its whole budget (`drnn_deploy.training.budget`).

        Args:
            folder: Where all results lie.

        Raises:
            InputError: The file is not a result, or is of other settings.
        """
        result = load_result(self.result_path(folder), self.recipe)
        if result is None or self.trivial:
            return result
        other = dataclasses.replace(self, run=self.waits_for).result(folder) if self.waits_for else None
        return None if shortfall(result, self.recipe, other) else result


def load_agenda(names: Sequence[str], runs: Sequence[str] = ()) -> list[Item]:
    """Find what is asked for. The order is that of the names, and of an experiment's file; but a run that gets the time
    of another comes after all that do not.

    Args:
        names: Experiments (by name, or path of a .toml), runs of them as EXPERIMENT/RUN, and agendas.
        runs: Only these runs, of one experiment. Empty: all.

    Raises:
        InputError: There is no such experiment, agenda or run, or two experiments have one name.
    """
    items = [item for name in names for item in _items(name)]
    if runs:
        if len({item.experiment.name for item in items}) > 1:
            raise InputError("--run is for one experiment", "Name runs of several as EXPERIMENT/RUN.")
        known = [item.run for item in items]
        if unknown := sorted(set(runs) - set(known)):
            raise InputError(f"experiment {names[0]} has no run {unknown[0]!r}", choose_from(unknown[0], known))
        items = [item for item in items if item.run in runs]
    by_name = {item.name: item for item in items}
    if other := next((item for item in items if item.experiment != by_name[item.name].experiment), None):
        what = f"{other.source} and {by_name[other.name].source} are both experiment {other.experiment.name}"
        raise InputError(what, "Give one of the files another name: trainings and results lie under it.")
    items = list(by_name.values())
    return sorted(items, key=lambda item: bool(item.waits_for))


def _items(name: str) -> list[Item]:
    if name in agenda_names():
        return [item for entry in read_toml(agenda_file(name))["runs"] for item in _items(entry)]
    experiment_name, _, run = name.rpartition("/")
    if name.endswith(".toml") or not experiment_name:
        experiment = experiments.load_experiment(name)
        trivial = [experiment.trivial] if experiment.trivial else []
        return [Item(experiment, known, name) for known in (*trivial, *experiment.recipes)]
    experiment = experiments.load_experiment(experiment_name)
    known = [*experiment.recipes, *([experiment.trivial] if experiment.trivial else [])]
    if run not in known:
        raise InputError(f"experiment {experiment_name} has no run {run!r}", choose_from(run, known))
    return [Item(experiment, run, experiment_name)]
