"""Experiments: named sets of trainings that belong together.

An experiment is a small TOML file: a task, changes to the task's recipe that all its runs share (`set`), and per run
the changes of its own (`[runs]`), all of the form `key=value` that `drnn-deploy train --set` takes.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, Literal, get_args

from drnn_core.errors import InputError
from drnn_core.plain_data import read_toml
from drnn_core.text import choose_from
from drnn_deploy.tasks import metric_names
from drnn_deploy.tasks.speaker_id import SpeakerId
from drnn_deploy.training.claims import Claim
from drnn_deploy.training.recipe import Recipe, load_recipe
from drnn_zoo import experiment_file, experiment_names

FigureKind = Literal["curves", "points", "none"]
Metric = Literal["accuracy", "cross_entropy", "bits_per_character", "recording_accuracy"]
TRIVIAL, TRIVIAL_METRIC = "averaged-spectrum", "recording_accuracy"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_SEED = re.compile(r"^seed-[0-9]+-")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Trainings that belong together.

    Attributes:
        name: The name of the experiment.
        title: Its title on the results page.
        text: Its text there.
        figure: What its figure shows: "curves", "points" or "none".
        metric: The metric that its table and figure compare.
        x: The label of the figure's horizontal axis.
        recipes: The name of each run -> its recipe, in the file's order.
        paper: The name of a run -> the figure that others report for it.
        trivial: The name of a classifier without memory, or "".
        claims: What a paper, or this project, claims of its runs.
        time_of: The name of a run -> that of another: it ends, short of its iterations, when it has trained as long.
    """

    name: str
    title: str
    text: str
    figure: FigureKind
    metric: Metric
    x: str
    recipes: dict[str, Recipe]
    paper: dict[str, str]
    trivial: str
    time_of: dict[str, str] = dataclasses.field(default_factory=dict)
    claims: tuple[Claim, ...] = ()


def load_experiment(name: str) -> Experiment:
    """Read an experiment.

    Args:
        name: The name of one that ships, or a path that ends in .toml.

    Returns:
        The experiment, with the recipes of its runs.

    Raises:
        InputError: There is no such experiment, or its file says something wrong.
    """
    path = Path(name) if name.endswith(".toml") else experiment_file(name)
    try:
        table = read_toml(path)
    except FileNotFoundError:
        raise InputError(f"there is no experiment {name!r}", choose_from(name, experiment_names())) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the experiment {name}: {error}") from error
    try:
        return _experiment(Path(name).stem, table)
    except InputError as error:
        raise InputError(f"experiment {name}: {error.message}", error.fix) from error


def without_seed(run: str) -> str:
    """The name that a run shares with those of other seeds: NAME of `seed-2-NAME`.

    Args:
        run: The name of a run.
    """
    return _SEED.sub("", run)


def _experiment(name: str, table: dict[str, Any]) -> Experiment:
    kinds: dict[str, type] = {"task": str, "title": str, "text": str, "figure": str, "metric": str, "x": str}
    kinds |= {"trivial": str, "set": list, "runs": dict, "paper": dict, "time_of": dict, "claims": list}
    table = {"text": "", "figure": "none", "x": "", "trivial": "", **table}
    table = {"set": [], "paper": {}, "time_of": {}, "claims": [], **table}
    for key, kind in kinds.items():
        if not isinstance(table.get(key), kind):
            raise InputError(f"entry {key!r} must be there and be a {kind.__name__}")
    if unknown := sorted(set(table) - set(kinds)):
        raise InputError(f"there is no entry {unknown[0]!r}", choose_from(unknown[0], kinds))
    for key, allowed in (("figure", get_args(FigureKind)), ("metric", get_args(Metric))):
        if table[key] not in allowed:
            raise InputError(f"{key} must be one of {', '.join(allowed)}, got {table[key]!r}")
    if table["trivial"] not in ("", TRIVIAL) or (table["trivial"] and table["task"] != SpeakerId.name):
        raise InputError(f"trivial must be {TRIVIAL!r}, for task {SpeakerId.name}, got {table['trivial']!r}")
    if unknown := sorted(set(table["paper"]) - set(table["runs"])):
        raise InputError(f"entry 'paper' names {unknown[0]!r}, which is not a run")
    _check_time_of(table["time_of"], table["runs"])
    recipes = {}
    for run, changes in table["runs"].items():
        overrides = [*table["set"], *changes] if isinstance(changes, list) else []
        if not (_NAME.fullmatch(run) and isinstance(changes, list) and all(isinstance(o, str) for o in overrides)):
            raise InputError(f"run {run!r}: a run is a name of a-z, 0-9 and - with a list of texts key=value")
        recipes[run] = load_recipe(table["task"], None, overrides)
    if not recipes:
        raise InputError("entry 'runs' must have a run")
    _check_seeds(recipes)
    measured = metric_names(next(iter(recipes.values())).make_task())
    if table["metric"] not in measured or (table["trivial"] and table["metric"] != TRIVIAL_METRIC):
        what = table["trivial"] or f"task {table['task']}"
        known = [TRIVIAL_METRIC] if table["trivial"] else [name for name in get_args(Metric) if name in measured]
        raise InputError(f"{what} is not measured by {table['metric']}", choose_from("", known))
    paper = {run: str(value) for run, value in table["paper"].items()}
    text = " ".join(table["text"].split())
    claims = tuple(Claim.from_table(claim, {*recipes, table["trivial"]}) for claim in table["claims"])
    shown = table["figure"], table["metric"], table["x"]
    return Experiment(name, table["title"], text, *shown, recipes, paper, table["trivial"], table["time_of"], claims)


def _check_seeds(recipes: dict[str, Recipe]) -> None:
    seeds: dict[str, set[int]] = {}
    for run, recipe in recipes.items():
        base = without_seed(run)
        if base != run and (
            base not in recipes or dataclasses.replace(recipe, seed=recipes[base].seed) != recipes[base]
        ):
            raise InputError(f"run {run!r} must be run {base!r} with another seed, and else the same")
        if recipe.seed in seeds.setdefault(base, set()):
            raise InputError(f"run {run!r} has the seed {recipe.seed}, as another run of {base!r} has")
        seeds[base].add(recipe.seed)


def _check_time_of(time_of: dict[str, Any], runs: dict[str, Any]) -> None:
    for run, other in time_of.items():
        if run not in runs or not isinstance(other, str) or other not in runs or other in time_of:
            raise InputError(
                f"entry 'time_of' must name runs, and such as have no time of another's: {run} = {other!r}"
            )
