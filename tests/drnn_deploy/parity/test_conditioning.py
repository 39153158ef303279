"""Networks that amplify rounding: compared as far as that says something, and no pass where it says nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from drnn_deploy import ExportOptions, export
from drnn_deploy.debug.explain import explain_report
from drnn_deploy.exporter.pipeline import ExportResult
from drnn_deploy.parity.compare import judge
from drnn_deploy.parity.results import all_passed
from drnn_deploy.reports.junit import junit
from drnn_deploy.reports.markdown import markdown
from drnn_deploy.reports.regressions import read_baseline
from drnn_deploy.reports.text import failures, uncompared
from drnn_models.checkpoint import Checkpoint
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.registry import find_runtime
from tests.networks import golden_cases

HERE = find_runtime("onnxruntime-cpu")


def amplifying(head: Head, *, bias: float = 0.0, gain: float = 5 / 3) -> Checkpoint:
    """With a bias no input is left that saturates every unit: everything is drowned in the end."""
    spec = ModelSpec("rnn", (64,), (1,), Continuous(1), head)
    torch.manual_seed(0)
    module = DilatedRNN(spec)
    torch.nn.init.orthogonal_(module.layers[0].weight_hh_l0, gain=gain)
    weights = {name: value.numpy(force=True) for name, value in module.state_dict().items()}
    weights["layers.0.weight_ih_l0"] = weights["layers.0.weight_ih_l0"] * np.float32(0.02 if bias else 1.0)
    weights["layers.0.bias_ih_l0"] = weights["layers.0.bias_ih_l0"] + np.float32(bias)
    return Checkpoint(spec, weights)


@pytest.fixture(scope="module")
def drowned(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    folder: Path = tmp_path_factory.mktemp("drowned") / "b"
    options = ExportOptions(length=300, engines=(), runtimes=(HERE.name,))
    return export(amplifying(Head("last", 3), bias=0.05), folder, options)


def test_zeros_do_not_pass_where_rounding_is_larger_than_the_outputs() -> None:
    for head in (Head("last", 3), Head("sequence", 3)):
        for case in golden_cases(amplifying(head), 300):
            assert judge(case, np.zeros_like(case.outputs)).verdict != "passed"


def test_sequence_is_compared_up_to_the_step_where_rounding_drowns_it() -> None:
    (case,) = (case for case in golden_cases(amplifying(Head("sequence", 3)), 300) if case.name == "ramp")
    result = judge(case, case.outputs)
    assert result.passed
    step = result.first_uncompared_step
    assert step is not None and 20 < step < 200 and 0 < result.compared < 1
    early, late = case.outputs.copy(), case.outputs.copy()
    early[0, 10, 1] += 1e-3
    late[0, step + 20 :] = 0  # there every output is drowned
    assert judge(case, early).first_bad_step == 10
    assert judge(case, late).passed
    late[0, -1, 0] = np.nan
    assert judge(case, late).verdict == "failed"


def test_row_of_which_nothing_is_compared_is_no_pass_and_keeps_its_bundle(drowned: ExportResult) -> None:
    (row,) = drowned.parity.rows
    assert {case.verdict for case in row.cases} == {"not compared"}
    assert (row.verdict, row.passed, drowned.exit_code) == ("not compared", False, 1)
    assert (drowned.bundle.folder / "model.onnx").is_file()
    (reason,) = failures(row)
    assert "--length" in reason and "--form chunk" in reason


def unbiased() -> Checkpoint:
    """Of zeros alone something is known: they stay zeros, whatever the weights are."""
    spec = ModelSpec("rnn", (12, 12), (1, 2), Continuous(1), Head("last", 3))
    torch.manual_seed(0)
    weights = {name: value.numpy(force=True) for name, value in DilatedRNN(spec).state_dict().items()}
    for name in weights:
        weights[name] = weights[name] * np.float32(
            6 if "weight_hh" in name else 0 if "layers" in name and "bias" in name else 1
        )
    return Checkpoint(spec, weights)


def test_wrong_network_does_not_pass_where_zeros_alone_can_be_compared() -> None:
    network = unbiased()
    wrong = {name: value if "head" in name else -value for name, value in network.weights.items()}
    results = {}
    for case in golden_cases(network, 300):
        results[case.name] = judge(case, run_reference(network.dilated, wrong, case.inputs).outputs)
    assert {name for name, result in results.items() if result.verdict != "not compared"} == {"zeros"}
    assert results["zeros"].passed and not all_passed(list(results.values()))


def test_row_of_which_zeros_alone_are_compared_is_not_compared(tmp_path: Path) -> None:
    result = export(unbiased(), tmp_path / "b", ExportOptions(length=300, engines=(), runtimes=(HERE.name,)))
    (row,) = result.parity.rows
    assert (row.verdict, row.passed, result.exit_code) == ("not compared", False, 1)
    assert "nothing could be compared" in failures(row)[0]
    every = dataclasses.replace(row, cases=tuple(case for case in row.cases if case.passed))
    assert "no output depends on the inputs" in failures(every)[0]


def test_advice_leads_to_a_comparison(drowned: ExportResult, tmp_path: Path) -> None:
    shorter = int(failures(drowned.parity.rows[0])[0].split("--length ")[1].split(")")[0])
    options = ExportOptions(length=shorter, engines=(), runtimes=(HERE.name,))
    assert export(amplifying(Head("last", 3), bias=0.05), tmp_path / "b", options).exit_code == 0


def test_every_report_says_it(drowned: ExportResult) -> None:
    report = drowned.parity
    (data,) = read_baseline(drowned.bundle.folder / "parity.json")["reports"]
    assert {case["verdict"] for case in data["rows"][0]["cases"]} == {"not compared"}
    assert "**not compared**" in markdown({"b": report})
    assert len(uncompared(report)) == len(report.rows[0].cases)
    assert len(ElementTree.fromstring(junit({"b": report})).findall(".//failure")) == len(report.rows[0].cases)


def test_case_that_is_not_compared_is_skipped_beside_others(drowned: ExportResult) -> None:
    (row,) = drowned.parity.rows
    right = dataclasses.replace(row.cases[0], case="other", passed=True, compared=1.0, first_uncompared_step=None)
    mixed = dataclasses.replace(row, passed=True, cases=(*row.cases, right))
    tree = ElementTree.fromstring(junit({"b": dataclasses.replace(drowned.parity, rows=(mixed,))}))
    assert (len(tree.findall(".//failure")), len(tree.findall(".//skipped"))) == (0, len(row.cases))


def test_explanation_names_conditioning(drowned: ExportResult) -> None:
    (explanation,) = explain_report(drowned.bundle, drowned.parity, [HERE])
    assert explanation.culprit == "conditioning"
    assert "amplifies a rounding" in explanation.verdict
