from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from drnn_core.errors import InputError
from drnn_deploy.training.claims import Claim
from drnn_deploy.training.experiments import Experiment, load_experiment
from drnn_deploy.training.recipe import load_recipe
from drnn_deploy.training.result_figures import draw_points, mean_recurrent_lengths
from drnn_deploy.training.result_sections import Section, load_section, over_seeds
from drnn_deploy.training.results import Result, result_path, save_result
from drnn_deploy.training.results_page import markdown, write_report
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


def line(cross_entropy: float) -> dict[str, Any]:
    return {"iteration": 1, "loss": 1.0, "seconds": 1.0, "validation": {"cross_entropy": cross_entropy}}


TIMED = {"iterations": 400, "seconds_allowed": 1000.0}


def test_table_states_what_was_measured_and_what_was_not() -> None:
    page = markdown([section(accuracy=0.98765)])
    assert "| layers 2 | 12,345 | **98.77 %** | 10,000 | 20 min (cpu, 1 thread) |  |" in page
    assert "| layers 3 |  | not trained yet | 10,000 planned |  | 11 % by others |" in page
    assert "## Some runs\n\nWhat they are.\n" in page


def test_the_time_says_what_computed_the_layers() -> None:
    plain = section(accuracy=0.5)
    compiled = {"layers-2": dataclasses.replace(plain.results["layers-2"], kernel="native")}
    assert "| 20 min (cpu, 1 thread, compiled kernel) |" in markdown([dataclasses.replace(plain, results=compiled)])


def test_classifier_without_memory_stands_below_the_networks() -> None:
    plain = section(accuracy=0.5)
    experiment = dataclasses.replace(plain.experiment, trivial="averaged-spectrum")
    trivial = dataclasses.replace(plain.results["layers-2"], parameters=42, metrics={"accuracy": 0.75})
    lines = markdown([Section(experiment, plain.results, trivial)]).splitlines()
    (row,) = (index for index, line in enumerate(lines) if line.startswith("| averaged spectrum, no network"))
    assert lines[row] == "| averaged spectrum, no network | 42 | **75.00 %** | - | - |  |"
    assert lines[row - 1].startswith("| layers 3 |")


@pytest.mark.parametrize("changes, shown, whole", [
    ({}, "10,000", True),
    ({"iterations": 400}, "400 of 10,000", False),
    ({"iterations": 20_000}, "20,000 of 10,000", False),
    ({**TIMED, "seconds": 1000.0}, "400 of 10,000, in the time of layers 3", True),
    ({**TIMED, "seconds": 1090.0}, "400 of 10,000, in the time of layers 3", True),
    ({**TIMED, "seconds": 2000.0}, "400 of 10,000", False),
    ({**TIMED, "seconds": 1000.0, "device": "cuda"}, "400 of 10,000", False),
    ({**TIMED, "seconds": 999.0}, "400 of 10,000", False),
    ({**TIMED, "seconds": 1000.0, "seconds_allowed": 900.0}, "400 of 10,000", False),
    ({"iterations": 400, "log": [line(0.0005)]}, "400 (solved)", True),
    ({"iterations": 400, "log": [line(0.0005), line(0.002)]}, "400 of 10,000", False),
])  # fmt: skip
def test_row_says_what_its_result_lacks(changes: dict[str, Any], shown: str, whole: bool) -> None:
    plain = section(accuracy=0.5)
    experiment = dataclasses.replace(plain.experiment, time_of={"layers-2": "layers-3"})
    other = dataclasses.replace(plain.results["layers-2"], seconds=1000.0)
    done = dataclasses.replace(plain.results["layers-2"], **changes)
    found = Section(experiment, {"layers-2": done, "layers-3": other}, None)
    assert re.search(rf" \*\*50.00 %\*\* \| {re.escape(shown)} \| \d+ min", markdown([found]))
    assert ("layers-2" in found.shortfalls, "layers-2" in over_seeds(found)) == (not whole, whole)


def test_a_run_in_the_time_of_one_that_is_short_decides_nothing() -> None:
    plain = section(accuracy=0.5)
    experiment = dataclasses.replace(plain.experiment, time_of={"layers-2": "layers-3"})
    whole = plain.results["layers-2"]
    timed = dataclasses.replace(whole, **TIMED, seconds=1000.0)
    for iterations, short in ((10_000, set()), (9_999, {"layers-2", "layers-3"})):
        other = dataclasses.replace(whole, seconds=1000.0, iterations=iterations)
        assert set(Section(experiment, {"layers-2": timed, "layers-3": other}, None).shortfalls) == short


def test_a_claim_needs_the_run_that_it_names_not_another_seed_of_it() -> None:
    plain = section(accuracy=0.5)
    recipes = {**plain.experiment.recipes, "seed-9-layers-3": load_recipe("copy-memory", None, ["seed=9"])}
    claims = (Claim("Three are good.", ("layers-3",), 0.1),)
    experiment = dataclasses.replace(plain.experiment, recipes=recipes, claims=claims)
    page = markdown([Section(experiment, {"seed-9-layers-3": plain.results["layers-2"]}, None)])
    assert "- Three are good. **Not tested**: layers 3 is not trained." in page


def test_seeds_are_summarised_and_claims_are_judged_below_the_table() -> None:
    plain = section(accuracy=0.5)
    runs = {"layers-2": 0.7, "seed-2-layers-2": 0.5, "seed-3-layers-2": 0.4, "layers-3": 0.9}
    recipes = {run: load_recipe("copy-memory", None, [f"seed={number}"]) for number, run in enumerate(runs)}
    done = {
        run: dataclasses.replace(plain.results["layers-2"], metrics={"accuracy": value}) for run, value in runs.items()
    }
    claims = (
        Claim("Three are better.", ("layers-3",), than="layers-2", by=0.3),
        Claim("Two are good.", ("layers-2",), 0.6),
    )
    experiment = dataclasses.replace(plain.experiment, recipes=recipes, claims=claims)
    page = markdown([Section(experiment, done, None)])
    assert "Medians and ranges over seeds: layers 2 50.00 % (40.00 % to 70.00 %, 3 seeds)." in page
    median = "layers 2 50.00 % (median of 3 seeds)"
    assert f"- Three are better. **Confirmed**: layers 3 90.00 %, {median}; the bar is 80.00 %." in page
    assert f"- Two are good. **Not confirmed**: {median}; the bar is 60.00 %." in page
    assert "Of 2 claims: 1 confirmed, 1 not confirmed, 0 not tested." in page


def test_points_of_one_kind_are_one_line_over_the_medians_of_its_seeds() -> None:
    plain = section(accuracy=0.5)
    runs = {"layers-2": 0.5, "seed-2-layers-2": 0.7, "layers-3": 0.9, "usual-start-layers-3": 0.1}
    done = {
        run: dataclasses.replace(plain.results["layers-2"], metrics={"accuracy": value}) for run, value in runs.items()
    }
    axes = pytest.importorskip("matplotlib.figure").Figure().add_subplot()
    recipes = dict.fromkeys(runs, plain.experiment.recipes["layers-2"])
    draw_points(Section(dataclasses.replace(plain.experiment, recipes=recipes), done, None), axes)
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines if line.get_label()[0] != "_"}
    assert lines == {"layers": [[2, 0.6], [3, 0.9]], "usual start layers": [[3, 0.1]]}
    assert axes.get_legend() is not None


def test_result_on_a_gpu_says_whether_products_were_rounded() -> None:
    plain = section(accuracy=0.5)
    done = dataclasses.replace(plain.results["layers-2"], device="cuda")
    assert "(cuda) |" in markdown([Section(plain.experiment, {"layers-2": done}, None)])
    done.recipe["training"]["tf32"] = True
    assert "(cuda, TF32) |" in markdown([Section(plain.experiment, {"layers-2": done}, None)])


def test_a_score_of_the_whole_text_stands_in_brackets() -> None:
    page = markdown([section(accuracy=0.5, carried_accuracy=0.52, carried_cross_entropy=1.0)])
    assert "| **50.00 %** (52.00 % with carried state) |" in page


def test_where_no_folder_of_figures_can_be_there_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "figures").touch()
    with pytest.raises(InputError, match="figures"):
        write_report([section(accuracy=0.5)], tmp_path)


def test_figures_are_pictures_and_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first = write_report([section(accuracy=0.5)], tmp_path / "one")
    again = write_report([section(accuracy=0.5)], tmp_path / "two")
    other = write_report([section(accuracy=0.6)], tmp_path / "three")
    assert [path.name for path in first] == ["results.md", "mean-recurrent-length.svg", "some.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert first[2].read_bytes() != other[2].read_bytes()
    assert ElementTree.parse(first[2]).getroot().tag.endswith("svg")


@pytest.mark.parametrize("where", ["metrics", "log"])
def test_a_result_without_the_metric_that_is_compared_is_refused(tmp_path: Path, where: str) -> None:
    experiment = section().experiment
    result = section(accuracy=0.5).results["layers-2"]
    path = result_path(tmp_path, experiment.name, "layers-2")
    other = dataclasses.replace(experiment, metric="bits_per_character")
    whole = {"bits_per_character": 1.0, "accuracy": 0.5, "cross_entropy": 2.0}
    lacks = {name: value for name, value in whole.items() if name != "bits_per_character"}
    log = [{**line(2.0), "validation": lacks if where == "log" else whole}]
    save_result(path, dataclasses.replace(result, log=log, metrics=lacks if where == "metrics" else whole))
    assert load_section(experiment, tmp_path).results
    with pytest.raises(InputError, match=r"layers-2\.json does not have bits_per_character everywhere"):
        load_section(other, tmp_path)


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
