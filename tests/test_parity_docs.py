"""docs/parity.md: its workflow is one, and what it tells people to type is understood."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from drnn_core import errors
from drnn_deploy.cli import drnn_deploy
from drnn_deploy.cli.export import export
from drnn_deploy.cli.parity import parity
from drnn_deploy.cli.run import run
from tests.drnn_deploy.debug.mutants.test_mutants import MUTANTS
from tests.drnn_deploy.parity.test_altered_runtimes import ALTERED
from tests.drnn_deploy.parity.test_subtle_mutants import MUTANTS as SUBTLE
from tests.drnn_deploy.test_pytest_plugin import PLUGIN

pytest_plugins = ["pytester"]
DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "parity.md").read_text(encoding="utf-8")
WORKFLOW = (DOCS.parent / "examples" / "workflow" / "parity.yml").read_text(encoding="utf-8")
STEPS: list[dict[str, Any]] = yaml.safe_load(WORKFLOW)["jobs"]["parity"]["steps"]
RUNS = [line for step in STEPS for line in step.get("run", "").splitlines()]
TYPED = [line.partition("#")[0].strip() for line in re.findall(r"^ {4}((?:drnn-|pytest |pip ).*)$", PAGE, re.MULTILINE)]
COMMANDS = {"drnn-parity": parity, "drnn-export": export, "drnn-deploy": drnn_deploy}


def words_of(name: str) -> Iterator[list[str]]:
    """The words after a command's name, of the workflow and of the rest of the page."""
    for line in [*RUNS, *TYPED]:
        first, *words = shlex.split(line)
        if first == name:
            yield words


def test_mistakes_are_as_many_as_it_says() -> None:
    told = [int(number) for number in re.findall(r"\b[Ii]n\s(\d+)\s(?:further )?ways", PAGE)]
    assert told == [len(MUTANTS), len(SUBTLE), len(ALTERED)]


def test_workflow_has_the_steps_that_it_needs() -> None:
    whole = yaml.safe_load(WORKFLOW)
    assert set(whole[True]) == {"push", "pull_request"}  # YAML 1.1 reads the key `on` as a truth value
    assert [step["uses"].partition("@")[0] for step in STEPS if "uses" in step] == [
        "actions/checkout", "actions/setup-python", "actions/upload-artifact",
    ]  # fmt: skip
    assert all(("uses" in step) != ("run" in step) for step in STEPS)
    joined = "\n".join(RUNS)
    for part in ("pip install 'drnn-deploy[train,rtx]' pytest", "GITHUB_STEP_SUMMARY", "--junit", "--markdown"):
        assert part in joined
    after_failure = [step for step in STEPS if step.get("if") == "always()"]
    assert [step["name"] for step in after_failure] == ["Show the table on the page of the run", "Keep the reports"]


def test_reports_that_are_kept_are_those_that_are_written() -> None:
    kept = next(step["with"]["path"] for step in STEPS if "upload-artifact" in step.get("uses", "")).split()
    written = [word for line in RUNS for word in shlex.split(line) if re.fullmatch(r"[a-z]+\.(json|xml|md)", word)]
    assert set(kept) == set(written)


@pytest.mark.parametrize("name", ["drnn-parity", "drnn-export"])
def test_commands_are_understood(name: str) -> None:
    found = list(words_of(name))
    assert found
    for words in found:
        context = COMMANDS[name].make_context(name, words)
        assert context.params


def test_option_that_is_not_there_would_be_found() -> None:
    with pytest.raises(click.NoSuchOption):
        parity.make_context("drnn-parity", ["model.pt", "--no-such-option"])


def test_pytest_options_are_there(pytester: pytest.Pytester) -> None:
    known = set(re.findall(r"--?[a-z][\w-]*", pytester.runpytest_inprocess(*PLUGIN, "--help").stdout.str()))
    asked = {word for words in words_of("pytest") for word in words if word.startswith("-")}
    assert asked == {"--drnn-bundle", "--drnn-require", "--junit-xml"}
    assert asked <= known


def test_options_in_the_text_exist() -> None:
    known = {name for command in (parity, export, run) for option in command.params for name in option.opts}
    text = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    named = set(re.findall(r"--[a-z][a-z-]*", text)) - {"--drnn-bundle", "--drnn-require"}
    assert len(named) >= 8
    assert named <= known


def test_table_of_exit_codes_is_complete() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)}
    raised = {error.exit_code for error in vars(errors).values() if hasattr(error, "exit_code")}
    assert codes == {0, *raised}
