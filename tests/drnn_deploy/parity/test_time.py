"""A check that would take hours is refused at once, with what to type."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from drnn_core import memory
from drnn_core.errors import InputError
from drnn_core.types import Examples
from drnn_deploy import ExportOptions, export
from drnn_deploy.matrix.options import MatrixOptions
from drnn_deploy.matrix.run import check_bundle, check_checkpoint
from drnn_deploy.parity.cases import STANDARD, STREAM, sequence_cases
from drnn_deploy.parity.known_answers import check_cost, further_inputs
from drnn_export.emitter.request import GraphRequest
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from tests.networks import random_weights

SPEC = ModelSpec("lstm", (128,) * 9, tuple(2**layer for layer in range(9)), Continuous(1), Head("last", 2))
LONG = 400_000


def huge(length: int = LONG) -> Checkpoint:
    return Checkpoint(SPEC, random_weights(SPEC, 0), {"length": length})


def test_export_and_matrix_refuse_hours_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 64 << 30)
    started = time.process_time()
    with pytest.raises(InputError, match=r"would take about [\d,]+ min") as refused:
        export(huge(), tmp_path / "bundle", ExportOptions(engines=()))
    assert "--length" in refused.value.fix and "--reference-minutes" in refused.value.fix
    with pytest.raises(InputError, match=r"would take about [\d,]+ min"):
        check_checkpoint(huge(), MatrixOptions(forms=("sequence",)))
    assert time.process_time() - started < 10
    assert not (tmp_path / "bundle").exists()


def test_examples_of_the_task_count(tmp_path: Path) -> None:
    """A few megabytes of a checkpoint may hold examples enough for minutes."""
    spec = ModelSpec("rnn", (2,), (1,), Continuous(1), Head("last", 2))
    many = Examples(np.zeros((200_000, 16, 1), np.float32), np.zeros(200_000, np.int64), "zeros")
    checkpoint = Checkpoint(spec, random_weights(spec, 0), {"length": 16}, examples=many)
    with pytest.raises(InputError, match="the runs of task would take about 1 min"):
        export(checkpoint, tmp_path / "bundle", ExportOptions(engines=(), reference_minutes=0.001))
    with pytest.raises(InputError, match=r"the runs of task would take about \d min"):
        check_checkpoint(checkpoint, MatrixOptions(reference_minutes=0.001))
    shorter = ExportOptions(engines=(), length=8, reference_minutes=0.001, runtimes=("onnxruntime-cpu",))
    assert export(checkpoint, tmp_path / "bundle", shorter).parity.passed


def test_examples_that_do_not_fit_into_memory_are_refused(tmp_path: Path) -> None:
    """A megabyte of a checkpoint may hold examples enough for terabytes of delay lines and random roundings."""
    spec = ModelSpec("rnn", (2, 2), (1, 100_000), Continuous(1), Head("last", 2))
    many = Examples(np.zeros((200_000, 2, 1), np.float32), np.zeros(200_000, np.int64), "zeros")
    checkpoint = Checkpoint(spec, random_weights(spec, 0), {"length": 2}, examples=many)
    with pytest.raises(InputError, match=r"the reference of task would take about .* delay lines") as refused:
        export(checkpoint, tmp_path / "bundle", ExportOptions(engines=(), reference_minutes=9e9))
    assert "--length" in refused.value.fix


def test_what_is_advised_is_taken(tmp_path: Path) -> None:
    for length, minutes in ((LONG, 30.0), (3_000_000, 1.0), (100, 1e-9)):
        with pytest.raises(InputError) as refused:
            check_cost(SPEC, [GraphRequest(length)], minutes, "Use less")
        wait = float(refused.value.fix.rpartition("--reference-minutes ")[2])
        check_cost(SPEC, [GraphRequest(length)], wait, "Use less")
    check_cost(SPEC, [GraphRequest(32, form="chunk")], 30.0, "Use less")


@pytest.mark.parametrize("name", ["task", "normal"])
def test_golden_cases_of_any_size_count(name: str, pristine: Path) -> None:
    """A few megabytes of golden data may hold sequences enough for hours, under the name of a standard case, too."""
    bundle = Bundle.open(pristine)
    (usual,) = (case for case in bundle.golden if case.name == "normal")
    inputs, outputs = (np.repeat(array, 50_000, axis=0) for array in (usual.inputs, usual.outputs))
    large = dataclasses.replace(usual, name=name, inputs=inputs, outputs=outputs)
    bundle.__dict__["golden"] = (large,)
    with pytest.raises(InputError, match=f"the runs of {name} would take about 1 min") as refused:
        check_bundle(bundle, MatrixOptions(reference_minutes=0.02))
    assert "--golden" in refused.value.fix


def test_usual_golden_data_counts_once(pristine: Path) -> None:
    bundle = Bundle.open(pristine)
    assert [case.name for case in further_inputs(bundle.spec, bundle.golden)] == ["task"]


def test_standard_cases_are_known_by_name() -> None:
    spec = ModelSpec("rnn", (2,), (1,), Continuous(1), Head("last", 2))
    assert {case.name for case in sequence_cases(spec, 3)} | {STREAM} == {*STANDARD}


def test_bundle_says_to_believe_its_golden_data(pristine: Path) -> None:
    bundle = Bundle.open(pristine)
    with pytest.raises(InputError, match=r"float64 reference.* would take about 1 min") as refused:
        check_bundle(bundle, MatrixOptions(reference_minutes=1e-9))
    assert "--golden" in refused.value.fix
    assert check_bundle(
        bundle, MatrixOptions(reference_minutes=1e-9, golden=True, runtimes=("onnxruntime-cpu",))
    ).passed
