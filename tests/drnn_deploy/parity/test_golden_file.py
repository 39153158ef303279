"""Golden data beside the standard cases and what the weights give: whatever is changed in it is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drnn_deploy.matrix.options import MatrixOptions
from drnn_deploy.matrix.run import check_bundle
from drnn_deploy.parity.golden_file import check_golden_file
from drnn_deploy.parity.known_answers import ComputedAnswers, StoredAnswers
from drnn_deploy.parity.results import FileResult
from drnn_runtimes.bundle import GOLDEN, Bundle, GoldenCase
from drnn_runtimes.bundle.golden import write_golden
from tests.sealing import reseal

Cases = list[GoldenCase]


def tampered(folder: Path, change: Callable[[Cases], Cases]) -> Bundle:
    bundle = Bundle.open(folder)
    write_golden(folder / GOLDEN, bundle.spec, (), change(list(bundle.golden)))
    reseal(folder)
    return Bundle.open(folder)


def checked(bundle: Bundle) -> FileResult:
    return check_golden_file(bundle, ComputedAnswers.of(bundle))


def each(name: str, **changes: Callable[[GoldenCase], object]) -> Callable[[Cases], Cases]:
    """Change fields of one case."""

    def change(cases: Cases) -> Cases:
        return [
            dataclasses.replace(case, **{field: make(case) for field, make in changes.items()})  # type: ignore[arg-type]
            if case.name == name
            else case
            for case in cases
        ]

    return change


TAMPERED: dict[str, tuple[Callable[[Cases], Cases], str]] = {
    "an output": (
        each("ramp", outputs=lambda case: case.outputs + 1e-8),
        "its outputs of ramp inputs are up to 1.0e-08 from",
    ),
    "outputs of the task": (each("task", outputs=lambda case: -case.outputs), "its outputs of task inputs are up to"),
    "the noise": (each("large", noise=lambda case: 100 * case.noise), "it says that fp32 is off by"),
    "the noise of zeros": (each("zeros", noise=lambda case: 1e8 * case.noise), "it says that fp32 is off by"),
    "inputs of normal": (each("normal", inputs=lambda case: 0 * case.inputs), "its outputs of normal inputs are up to"),
    "a case left out": (
        lambda cases: [case for case in cases if case.name != "large"],
        "lacks the standard case large",
    ),
    "only zeros left": (lambda cases: cases[:1], "lacks the standard case large"),
    "a sequence less": (
        each("ramp", outputs=lambda case: case.outputs[:3], inputs=lambda case: case.inputs[:3]),
        "its inputs of ramp are not those of the standard case",
    ),
}


def test_what_was_exported_is_right(pristine: Path) -> None:
    assert checked(Bundle.open(pristine)) == FileResult(GOLDEN, True)


@pytest.mark.parametrize("name", TAMPERED)
def test_whatever_is_changed_is_found(name: str, bundle: Path) -> None:
    change, words = TAMPERED[name]
    found = checked(tampered(bundle, change))
    assert not found.passed
    assert words in " ".join(found.findings)


def test_inputs_that_prove_nothing_are_found_without_computing(bundle: Path) -> None:
    """Golden data whose case `normal` holds zeros: all it says is right, and little is compared with it."""
    zeros = next(case for case in Bundle.open(bundle).golden if case.name == "zeros")
    weak = {"inputs": lambda _: zeros.inputs, "outputs": lambda _: zeros.outputs, "noise": lambda _: zeros.noise}
    opened = tampered(bundle, each("normal", **weak))
    for answers in (StoredAnswers(opened), ComputedAnswers.of(opened)):
        found = check_golden_file(opened, answers)
        assert found.findings == ("its inputs of normal are not those of the standard case",)


def test_cases_that_are_missing_are_found_where_golden_data_is_believed(bundle: Path) -> None:
    opened = tampered(bundle, lambda cases: cases[:2])
    report = check_bundle(opened, MatrixOptions(runtimes=("onnxruntime-cpu",), golden=True))
    assert (report.exit_code, all(row.passed for row in report.rows)) == (1, True)


def test_bundles_of_another_revision_may_have_had_other_cases(bundle: Path) -> None:
    """Their own are judged; only where nothing else is, the standard ones must be there."""
    opened = dataclasses.replace(tampered(bundle, lambda cases: cases[:1]), emitter=0)
    assert checked(opened).passed
    assert not check_golden_file(opened, StoredAnswers(opened)).passed
    other = tampered(bundle, each("zeros", outputs=lambda case: case.outputs + 1e-8))
    assert not checked(dataclasses.replace(other, emitter=0)).passed


def test_noise_that_is_too_large_hides_nothing(bundle: Path) -> None:
    """The noise that counts is computed, not read."""
    opened = tampered(bundle, each("normal", noise=lambda _: 1e3))
    (row,) = check_bundle(opened, MatrixOptions(runtimes=("onnxruntime-cpu",))).rows
    assert max(case.limit for case in row.cases) < 1e-3
    (believed,) = check_bundle(opened, MatrixOptions(runtimes=("onnxruntime-cpu",), golden=True)).rows
    assert max(case.limit for case in believed.cases) > 1e3


def test_golden_data_is_believed_and_not_computed_on_demand(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from drnn_deploy.parity import golden

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("float64 was computed")

    monkeypatch.setattr(golden, "answers", forbidden)
    report = check_bundle(Bundle.open(pristine), MatrixOptions(golden=True, required=("onnxruntime-cpu",)))
    assert report.passed
    assert "reference" not in {row.runtime for row in report.rows}
    assert any("--golden" in note for note in report.notes)
    assert np.isfinite([case.noise for row in report.rows for case in row.cases]).all()
