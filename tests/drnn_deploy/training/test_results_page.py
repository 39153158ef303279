from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from drnn_deploy.training.experiments import Experiment, load_experiment
from drnn_deploy.training.recipe import load_recipe
from drnn_deploy.training.results import Result
from drnn_deploy.training.results_page import Section, load_section, markdown, mean_recurrent_lengths, write_report
from drnn_zoo import RESULTS, experiment_names

ROOT = Path(__file__).parents[3]


def section(**metrics: float) -> Section:
    """Two layers-N runs, of which the first is done."""
    recipes = {f"layers-{n}": load_recipe("copy-memory", None, [f"seed={n}"]) for n in (2, 3)}
    paper = {"layers-3": "11 % by others"}
    experiment = Experiment("some", "Some runs", "What they are.", "points", "accuracy", "layers", recipes, paper, "")
    done = Result(
        recipe=recipes["layers-2"].to_json(),
        parameters=12345,
        iterations=10000,
        seconds=1230.0,
        device="cpu",
        threads=1,
        versions={"torch": "1"},
        metrics=metrics,
        log=[],
    )
    return Section(experiment, {"layers-2": done}, None)


def test_table_states_what_was_measured_and_what_was_not() -> None:
    page = markdown([section(accuracy=0.98765)])
    assert "| layers 2 | 12,345 | **98.77 %** | 10,000 | 20 min (cpu, 1 thread) |  |" in page
    assert "| layers 3 |  | not trained yet | 10,000 planned |  | 11 % by others |" in page
    assert "## Some runs\n\nWhat they are.\n" in page


def test_classifier_without_memory_stands_below_the_networks() -> None:
    plain = section(accuracy=0.5)
    experiment = dataclasses.replace(plain.experiment, trivial="averaged-spectrum")
    trivial = dataclasses.replace(plain.results["layers-2"], parameters=42, metrics={"accuracy": 0.75})
    lines = markdown([Section(experiment, plain.results, trivial)]).splitlines()
    (row,) = (index for index, line in enumerate(lines) if line.startswith("| averaged spectrum, no network"))
    assert lines[row] == "| averaged spectrum, no network | 42 | **75.00 %** | - | - |  |"
    assert lines[row - 1].startswith("| layers 3 |")


def test_figures_are_pictures_and_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first = write_report([section(accuracy=0.5)], tmp_path / "one")
    again = write_report([section(accuracy=0.5)], tmp_path / "two")
    other = write_report([section(accuracy=0.6)], tmp_path / "three")
    assert [path.name for path in first] == ["results.md", "mean-recurrent-length.svg", "some.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert first[2].read_bytes() != other[2].read_bytes()
    assert ElementTree.parse(first[2]).getroot().tag.endswith("svg")


def test_experiment_without_results_has_no_figure(tmp_path: Path) -> None:
    empty = Section(section(accuracy=0.5).experiment, {}, None)
    assert [path.name for path in write_report([empty], tmp_path)] == ["results.md", "mean-recurrent-length.svg"]
    assert "some.svg" not in (tmp_path / "results.md").read_text(encoding="utf-8")


def test_mean_recurrent_lengths_of_nine_layers_are_the_closed_forms() -> None:
    assert mean_recurrent_lengths(9) == pytest.approx((1.5 * 8 + 1 / 256 + 1, 127.5 + 8 + 1 / 256 + 1, 9 + 257 / 2))


def test_page_in_the_repository_is_what_the_command_writes() -> None:
    page = markdown([load_section(load_experiment(name), RESULTS) for name in experiment_names()])
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == page
    for link in re.findall(r"\]\((figures/[^)]+)\)", page):
        assert (ROOT / "docs" / link).is_file()
