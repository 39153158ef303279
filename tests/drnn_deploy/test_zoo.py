"""The networks that ship: what the cards say of them is measured here again."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import Emission
from drnn_deploy import datasets
from drnn_deploy.cli import demo
from drnn_deploy.cli.demo import classify
from drnn_deploy.evaluation import evaluate_bundle
from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.exporter.pipeline import ExportResult, export
from drnn_deploy.training.loop import evaluate
from drnn_deploy.training.recipe import load_recipe
from drnn_models.checkpoint import load_checkpoint
from drnn_runtimes import registry
from drnn_runtimes.bundle import Bundle, GoldenCase
from drnn_runtimes.registry import find_runtime, require
from drnn_zoo import ZOO, zoo_checkpoint, zoo_tasks
from tests.drnn_deploy.conftest import Command
from tests.nightly import NIGHTLY

TASKS = ("copy-memory", "pixel-mnist", "ptb-char", "speaker-id")
DIGITS = 500 if NIGHTLY else 100
EMISSIONS: tuple[Emission, ...] = ("fused", "unrolled") if NIGHTLY else ("fused", "blocked")  # which load at once
Predictions = dict[str, NDArray[np.int64]]
HERE = ("reference", "torch", "onnxruntime-cpu")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    options = ExportOptions(emissions=EMISSIONS, engines=(), runtimes=HERE)
    return export(ZOO / "pixel-mnist" / "model.pt", tmp_path_factory.mktemp("zoo") / "bundle", options)


def test_zoo_has_a_network_for_each_task() -> None:
    assert zoo_tasks() == list(TASKS)
    assert all(zoo_checkpoint(task)[1].is_file() for task in zoo_tasks())


@pytest.mark.parametrize("task", TASKS)
def test_checkpoint_comes_from_the_recipe_beside_it(task: str) -> None:
    recipe = load_recipe(task)
    checkpoint = load_checkpoint(ZOO / task / "model.pt")
    assert checkpoint.spec == recipe.spec
    assert recipe.is_in(checkpoint.provenance["recipe"])
    log = json.loads((ZOO / task / "log.json").read_text(encoding="utf-8"))
    assert recipe.is_in(log["recipe"])
    assert log["log"][-1]["iteration"] == checkpoint.provenance["iterations"]


@pytest.mark.parametrize("task", TASKS)
def test_card_states_the_metrics_of_the_checkpoint(task: str) -> None:
    card = (ZOO / task / "README.md").read_text(encoding="utf-8")
    metrics = load_checkpoint(ZOO / task / "model.pt").metrics
    assert f"{100 * metrics['accuracy']:.2f} %" in card
    assert f"{metrics['cross_entropy']:.4f}" in card


def test_copy_memory_is_solved() -> None:
    recipe = load_recipe("copy-memory")
    metrics = evaluate(load_checkpoint(ZOO / "copy-memory" / "model.pt").network(), recipe.make_task(), "test")
    assert metrics["cross_entropy"] < 0.01 < math.log(8)
    assert metrics["accuracy"] == 1.0


def test_every_runtime_passes_parity_on_the_mnist_network(digits: ExportResult) -> None:
    assert digits.exit_code == 0
    assert {row.runtime for row in digits.parity.rows} == set(HERE)


@pytest.fixture(scope="module")
def predictions(digits: ExportResult) -> Predictions:
    """By runtime and emission, of the digits that the checkpoint carries; by day of the fast runtimes."""
    (case,) = (case for case in digits.bundle.golden if case.name == "task")
    with pytest.MonkeyPatch.context() as patch:
        if not NIGHTLY:
            patch.setattr(registry, "RUNTIMES", {name: find_runtime(name) for name in HERE})
        return classify(digits.bundle, case)


def test_every_runtime_sees_the_same_digits(digits: ExportResult, predictions: Predictions) -> None:
    (case,) = (case for case in digits.bundle.golden if case.name == "task")
    assert case.targets is not None
    assert case.source.startswith("MNIST test images 0 to 19")
    assert len(predictions) >= 4
    for found in predictions.values():
        np.testing.assert_array_equal(found, predictions["reference"])
        assert np.count_nonzero(found == case.targets) >= 19


def test_demo_shows_the_digits_and_what_each_runtime_reads(
    digits: ExportResult, predictions: Predictions, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, str, int | None]] = []

    def computed_before(bundle: Bundle, case: GoldenCase, threads: int | None) -> Predictions:
        asked.append((bundle.folder, case.name, threads))
        return predictions

    monkeypatch.setattr(demo, "classify", computed_before)
    ran = command("drnn-deploy", "demo", digits.bundle.folder, "--threads", 2)
    assert (ran.code, asked) == (0, [(digits.bundle.folder, "task", 2)])
    assert ran.out.count("true ") >= 20
    assert "│       +*+*#%#########-       │" in ran.out  # the bar of the first digit, a seven, without colours
    assert f"onnxruntime-cpu {EMISSIONS[1]}: 19 of 20 right" in ran.out
    assert "every runtime predicts the same" in ran.out


def test_all_test_digits_get_the_same_answer_from_every_runtime(digits: ExportResult) -> None:
    """On some of the real test images; `drnn-deploy evaluate` does all 10,000."""
    try:
        datasets.folder("pixel-mnist")
    except InputError as missing:
        pytest.skip(f"MNIST is not on this machine. {missing.fix}")
    results = evaluate_bundle(digits.bundle, require(["torch", "onnxruntime-cpu"]), limit=DIGITS)
    assert [result.predictions for result in results] == [DIGITS] * 3
    assert [result.changed for result in results] == [0] * 3
    assert all(result.metrics["accuracy"] > 0.97 for result in results)
