from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from drnn_core.errors import InputError
from drnn_deploy.training.experiments import load_experiment
from drnn_deploy.training.jobs import Job
from drnn_deploy.training.recipe import load_recipe
from drnn_deploy.training.results import Result, load_result, result_path, save_result
from drnn_deploy.training.training_run import TrainingRun
from drnn_zoo import experiment_names
from tests.drnn_deploy.conftest import Command

TINY = """
task = "copy-memory"
title = "Tiny"
metric = "cross_entropy"
figure = "curves"
set = ["data.delay=3", "training.batch=4", "training.iterations=3", "training.evaluate_every=1", "model.hidden=[3]",
       "model.dilations=[2]"]

[runs]
rnn = ["model.cell=rnn"]
skip = ["model.network=skip", "model.cell=gru"]
cnn = ["model={network='cnn', channels=[3, 3], dilations=[1, 2]}"]

[paper]
rnn = "as told"
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", experiment_names())
def test_what_ships_are_experiments_with_runs_that_differ(name: str) -> None:
    experiment = load_experiment(name)
    recipes = [json.dumps(recipe.to_json()) for recipe in experiment.recipes.values()]
    assert len(set(recipes)) == len(recipes) > 1


def test_run_is_the_tasks_recipe_with_the_common_changes_and_then_its_own(tiny: Path) -> None:
    experiment = load_experiment(str(tiny))
    changes = ["data.delay=3", "training.batch=4", "training.iterations=3", "training.evaluate_every=1"]
    changes += ["model.hidden=[3]", "model.dilations=[2]", "model.network=skip", "model.cell=gru"]
    assert experiment.recipes["skip"] == load_recipe("copy-memory", None, changes)
    assert (experiment.name, list(experiment.recipes)) == ("tiny", ["rnn", "skip", "cnn"])


def test_experiment_trains_what_has_no_result_and_the_report_shows_it(
    tiny: Path, tmp_path: Path, command: Command
) -> None:
    words = ("drnn-deploy", "experiment", tiny, "--output", tmp_path / "runs")
    ran = command(*words, "--run", "cnn")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == f"next    drnn-deploy experiment {tiny} --output {tmp_path / 'runs'}"
    assert "46 of 46 cell evaluations per sequence (cone pruning), 2 one after the other (fold)" in ran.out
    results = tmp_path / "runs" / "results"
    assert [path.name for path in results.rglob("*.json")] == ["cnn.json"]
    first = (results / "tiny" / "cnn.json").read_bytes()

    ran = command(*words)
    assert (ran.code, ran.out.count("training\n"), ran.out.count(" is there")) == (0, 2, 1)
    assert ran.out.splitlines()[-1] == f"next    drnn-deploy report --results {results} --experiment {tiny}"
    assert (results / "tiny" / "cnn.json").read_bytes() == first
    for run, recipe in load_experiment(str(tiny)).recipes.items():
        result = load_result(result_path(results, "tiny", run), recipe)
        assert result is not None
        assert [line["iteration"] for line in result.log] == [1, 2, 3]
        assert (result.iterations, result.device) == (3, "cpu")
        assert 0 < result.metrics["cross_entropy"] < 5

    ran = command("drnn-deploy", "report", "--results", results, "--output", tmp_path / "docs", "--experiment", tiny)
    page = (tmp_path / "docs" / "results.md").read_text(encoding="utf-8")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == f"next    read {tmp_path / 'docs' / 'results.md'}"
    assert page.count("| 3 | 0 min (cpu") == 3
    assert "figures/tiny.svg" in page
    assert (tmp_path / "docs" / "figures" / "tiny.svg").stat().st_size > 1000


def test_interrupted_run_goes_on_where_it_stopped(
    tiny: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drnn_deploy.training import loop

    words = ("drnn-deploy", "experiment", tiny, "--run", "rnn", "--output", tmp_path / "runs")
    step, steps = loop.take_step, []

    def stopping(run: TrainingRun, task: object) -> object:
        if len(steps) == 2:
            steps.append("stop")
            raise KeyboardInterrupt
        steps.append("step")
        return step(run, task)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "take_step", stopping)
    stopped = command(*words)
    assert (stopped.code, steps) == (130, ["step", "step", "stop"])
    assert "type the same command to go on" in stopped.out
    assert command(*words).code == 0
    assert steps[3:] == ["step"]


def test_result_of_other_settings_is_refused(tiny: Path, tmp_path: Path, command: Command) -> None:
    words = ("drnn-deploy", "experiment", tiny, "--run", "rnn", "--output", tmp_path / "runs")
    assert command(*words).code == 0
    tiny.write_text(TINY.replace("delay=3", "delay=4"), encoding="utf-8")
    ran = command(*words)
    assert ran.code == 2
    assert "rnn.json is the result of other settings" in ran.err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"recipe": 1}', "[" * 100_000])
def test_file_that_is_no_result_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="is not the result of a training"):
        load_result(path, load_recipe("copy-memory"))


GOOD = Result(
    recipe=load_recipe("copy-memory").to_json(), parameters=9, iterations=3, seconds=1.5, device="cpu", threads=2,
    versions={"torch": "2"}, metrics={"accuracy": 0.5},
    log=[{"iteration": 1, "loss": 2.0, "seconds": 0.5, "validation": {"accuracy": 0.25, "cross_entropy": 2.0}}],
)  # fmt: skip


@pytest.mark.parametrize("change", [
    {"parameters": "9"}, {"iterations": -1}, {"seconds": "long"}, {"device": 3}, {"threads": 1e400}, {"versions": []},
    {"metrics": {"accuracy": "high"}}, {"metrics": [0.5]}, {"log": [3]}, {"log": [{"iteration": 1}]}, {"log": {}},
    {"log": [{**GOOD.log[0], "validation": None}]}, {"log": [{**GOOD.log[0], "validation": {"accuracy": 0.25}}]},
    {"recipe": "mine"},
])  # fmt: skip
def test_result_that_no_page_could_show_is_neither_written_nor_read(tmp_path: Path, change: dict[str, Any]) -> None:
    path, recipe = tmp_path / "x.json", load_recipe("copy-memory")
    save_result(path, GOOD)
    assert load_result(path, recipe) == GOOD
    path.write_text(json.dumps({**dataclasses.asdict(GOOD), **change}), encoding="utf-8")
    with pytest.raises(InputError, match="is not the result of a training"):
        load_result(path, recipe)
    path.unlink()
    with pytest.raises(InputError, match="is not the result of a training"):
        save_result(path, dataclasses.replace(GOOD, **change))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Tiny"', "", "entry 'title' must be there and be a str"),
        ('"cross_entropy"', '"beauty"', "metric must be one of accuracy"),
        ('"cross_entropy"', '"bits_per_character"', "task copy-memory is not measured by bits_per_character"),
        ('"cross_entropy"', '"recording_accuracy"', "is not measured by recording_accuracy"),
        ('"curves"', '"pie"', "figure must be one of curves, points, none"),
        ('task = "copy-memory"', 'task = "nothing"', "there is no task 'nothing'"),
        ("[runs]", "colour = 1\n[runs]", "there is no entry 'colour'"),
        ("[runs]", 'trivial = "guessing"\n[runs]', "trivial must be 'averaged-spectrum'"),
        ("[runs]", 'trivial = "averaged-spectrum"\n[runs]', "for task speaker-id"),
        ("skip = [", "Skip = [", "run 'Skip'"),
        ('["model.cell=rnn"]', '"model.cell=rnn"', "run 'rnn'"),
        ('["model.cell=rnn"]', "[1]", "run 'rnn'"),
        ("model.cell=rnn", "model.cell=xyz", r"spec\.cell|model\.cell"),
        ('rnn = "as told"', 'elsewhere = "as told"', "names 'elsewhere', which is not a run"),
        ("[paper]", 'seed-2-gru = ["seed=2"]\n[paper]', "must be run 'gru' with another seed"),
        ("[paper]", 'seed-2-rnn = ["seed=2", "model.cell=gru"]\n[paper]', "'rnn' with another seed, and else the same"),
        ("[paper]", 'seed-2-rnn = ["model.cell=rnn"]\n[paper]', "has the seed 1, as another run of 'rnn'"),
        ("[paper]", '[time_of]\nrnn = "gru"\n[paper]', "must name runs"),
        ("[paper]", '[time_of]\nrnn = "rnn"\n[paper]', "must name runs"),
        ("[paper]", "[time_of]\nrnn = 3\n[paper]", "must name runs"),
        ("[paper]", '[[claims]]\ntext = "x"\nruns = ["gru"]\nat_least = 1\n[paper]', "names 'gru'"),
        (TINY[TINY.index("rnn =") :], "", "'runs' must have a run"),
        ("[runs]", "[runs", "cannot read the experiment"),
    ],
)
def test_file_that_is_no_experiment_is_refused(old: str, new: str, message: str, tiny: Path) -> None:
    assert old in TINY
    tiny.write_text(TINY.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_experiment(str(tiny))


def test_unknown_experiment_and_run_are_refused_with_those_that_are(tiny: Path, command: Command) -> None:
    ran = command("drnn-deploy", "experiment", "nothing")
    assert (ran.code, "copy-memory-500" in ran.err) == (2, True)
    ran = command("drnn-deploy", "experiment", tiny, "--run", "lstm")
    assert (ran.code, "Choose from: rnn, skip, cnn." in ran.err) == (2, True)


def test_without_a_name_the_experiments_are_listed(command: Command) -> None:
    ran = command("drnn-deploy", "experiment")
    assert ran.code == 0
    for name in experiment_names():
        assert f"{name}: " in ran.out


def test_a_run_gets_the_time_of_another_and_comes_after_it(tiny: Path, tmp_path: Path, command: Command) -> None:
    text = TINY.replace("[paper]", '[time_of]\nrnn = "cnn"\n[paper]').replace(
        'rnn = ["', 'rnn = ["training.iterations=10000000","'
    )
    tiny.write_text(text, encoding="utf-8")
    words = ("drnn-deploy", "experiment", tiny, "--output", tmp_path / "runs")
    ran = command(*words, "--run", "rnn")
    assert (ran.code, "the time is over" in ran.out, "type the same command" in ran.out) == (2, False, False)
    assert "1 failed: tiny/rnn: gets the time of cnn, which has no result yet. Train cnn as well" in ran.err
    ran = command(*words)
    assert (ran.code, "order: tiny/skip, tiny/cnn, tiny/rnn" in ran.out) == (0, True)
    recipes = load_experiment(str(tiny)).recipes
    cnn, rnn = (
        load_result(result_path(tmp_path / "runs" / "results", "tiny", run), recipes[run]) for run in ("cnn", "rnn")
    )
    assert cnn is not None and rnn is not None
    assert (cnn.seconds_allowed, rnn.seconds_allowed) == (None, cnn.seconds)
    assert 1 <= rnn.iterations < 100_000
    assert command(*words).out.count(" is there") == 3
    save_result(
        result_path(tmp_path / "runs" / "results", "tiny", "cnn"), dataclasses.replace(cnn, seconds=cnn.seconds + 0.5)
    )
    assert command(*words).out.count(" is there") == 2
    again = load_result(result_path(tmp_path / "runs" / "results", "tiny", "rnn"), recipes["rnn"])
    assert again is not None and again.seconds_allowed == cnn.seconds + 0.5


def test_an_experiment_is_reported_once_and_two_of_one_name_are_refused(
    tiny: Path, tmp_path: Path, command: Command
) -> None:
    words = ("drnn-deploy", "report", "--output", tmp_path / "docs", "--results", tmp_path, "--experiment")
    assert command(*words, tiny, "--experiment", tiny).code == 0
    assert (tmp_path / "docs" / "results.md").read_text(encoding="utf-8").count("## Tiny") == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / tiny.name).write_text(TINY.replace("Tiny", "Other"), encoding="utf-8")
    ran = command(*words, tiny, "--experiment", tmp_path / "other" / tiny.name)
    assert ran.code == 2
    assert "is the second experiment tiny" in ran.err


def test_result_of_a_smaller_budget_is_trained_anew_but_shown(tiny: Path, tmp_path: Path, command: Command) -> None:
    words = ("drnn-deploy", "experiment", tiny, "--run", "cnn", "--output")
    assert command(*words, tmp_path / "runs").code == 0
    tiny.write_text(TINY.replace("iterations=3", "iterations=5"), encoding="utf-8")
    experiment, results = load_experiment(str(tiny)), tmp_path / "runs" / "results"
    shown = load_result(result_path(results, "tiny", "cnn"), experiment.recipes["cnn"])
    assert shown is not None and shown.iterations == 3
    ran = command(*words, tmp_path / "more", "--results", results)
    assert (ran.code, ran.out.count(" is there")) == (0, 0)
    again = load_result(result_path(results, "tiny", "cnn"), experiment.recipes["cnn"])
    assert again is not None and again.iterations == 5


def test_tf32_is_of_the_result_not_of_what_is_asked_for(tmp_path: Path) -> None:
    recipe = load_recipe("copy-memory")
    rounded = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, tf32=True))
    save_result(tmp_path / "x.json", dataclasses.replace(GOOD, recipe=rounded.to_json()))
    assert load_result(tmp_path / "x.json", recipe) is not None
    other = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, batch=7))
    with pytest.raises(InputError, match="other settings"):
        load_result(tmp_path / "x.json", other)


@pytest.mark.usefixtures("threads")
def test_the_threads_that_were_asked_for_are_in_the_result(tiny: Path, tmp_path: Path, command: Command) -> None:
    more = torch.get_num_threads() + 1
    ran = command("drnn-deploy", "experiment", tiny, "--run", "rnn", "--output", tmp_path / "runs", "--threads", more)
    assert ran.code == 0
    path = result_path(tmp_path / "runs" / "results", "tiny", "rnn")
    result = load_result(path, load_experiment(str(tiny)).recipes["rnn"])
    assert result is not None and result.threads == more


def test_tf32_reaches_the_training(
    tiny: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def trained(jobs: Sequence[Job], *rest: object, **how: object) -> None:
        """In processes of their own: an error of a GPU stays in a process."""
        seen.append(jobs[0].recipe.training.tf32)
        raise KeyboardInterrupt

    monkeypatch.setattr("drnn_deploy.training.side_by_side.train_side_by_side", trained)
    monkeypatch.setattr("drnn_deploy.training.training_run.usable_device", lambda device: device)
    words = ("drnn-deploy", "experiment", tiny, "--output", tmp_path / "runs", "--device", "cuda")
    assert [command(*words).code, command(*words, "--tf32").code] == [130, 130]
    assert seen == [False, True]
