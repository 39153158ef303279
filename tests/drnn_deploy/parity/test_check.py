"""The parity engine on made-up runtimes: what passes, what fails, and which exit code says so."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drnn_core.errors import DeployError, EngineError, InputError, RuntimeUnavailableError
from drnn_core.types import Availability
from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.exporter.pipeline import export
from drnn_deploy.parity.check import check_parity
from drnn_deploy.parity.graphs import graphs_for
from drnn_deploy.parity.results import Missing
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.reference.runtime import ReferenceRuntime
from drnn_runtimes.session import CopyingSession
from tests.networks import random_weights

Array = NDArray[np.generic]
NOISE = 1e-6
STEPS = 6


# whole reports, from runtimes that are wrong on purpose


@dataclasses.dataclass
class Fake:
    """The float64 loop in float32, with `wrong` applied to its outputs. `fails`: raised on loading."""

    wrong: Callable[[Array], Array] = lambda outputs: outputs
    fails: DeployError | None = None
    name: str = "fake"
    reads_graph: bool = True
    is_reference: bool = False
    is_sampled: bool = False
    usable: bool = True
    reason: str = ""
    output: str = "output"
    closed: int = 0

    def availability(self) -> Availability:
        return Availability(self.usable, "made up", "make it up")

    def caveat(self, graph: GraphInfo) -> str:
        return ""

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        return self.reason

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[Any]:
        if self.fails:
            raise self.fails
        outer = self

        class Session(CopyingSession):
            _graph = graph

            def _compute(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
                outputs = run_reference(bundle.spec, bundle.weights, inputs["input"]).outputs
                return {outer.output: outer.wrong(outputs.astype(np.float32))}

        try:
            yield Session()
        finally:
            self.closed += 1


@pytest.fixture(scope="module")
def steps_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network with an output at each of seven steps, in batches of three."""
    spec = ModelSpec("lstm", (3, 3), (1, 2), Continuous(1), Head("sequence", 2))
    options = ExportOptions(length=7, batch=3, engines=(), runtimes=("torch",))
    folder = tmp_path_factory.mktemp("parity") / "bundle"
    return export(Checkpoint(spec, random_weights(spec, 0)), folder, options).bundle


def at_step(step: int, value: float) -> Callable[[Array], Array]:
    def change(outputs: Array) -> Array:
        outputs[:, step, 1] += value  # type: ignore[operator]
        return outputs

    return change


def test_right_runtime_passes_and_is_closed(steps_bundle: Bundle) -> None:
    fake = Fake()
    report = check_parity(steps_bundle, [fake])
    assert (report.passed, report.exit_code, fake.closed) == (True, 0, 1)
    (row,) = report.rows
    assert (row.runtime, row.graph, row.precision) == ("fake", "sequence/fused", "fp32")
    assert [case.case for case in row.cases] == ["zeros", "normal", "large", "ramp", "edge fp32"]
    assert row.milliseconds is not None and row.milliseconds > 0


@pytest.mark.parametrize("step", [0, 3, 6])
def test_runtime_that_is_off_in_one_step_fails_there(steps_bundle: Bundle, step: int) -> None:
    report = check_parity(steps_bundle, [Fake(), Fake(at_step(step, 1e-3), name="off")])
    assert (report.passed, report.exit_code) == (False, 1)
    right, off = report.rows
    assert right.passed
    for case in off.cases:
        assert (case.passed, case.first_bad_step) == (False, step)
        assert case.absolute == pytest.approx(1e-3, rel=1e-2)
    assert off.worst is max(off.cases, key=lambda case: case.in_noise or 0)


def test_error_just_under_and_over_the_limit(steps_bundle: Bundle) -> None:
    limits = {case.name: NOISE_MULTIPLE * np.asarray(case.noise)[2].min() for case in steps_bundle.golden}
    smallest = min(limits, key=lambda name: limits[name])
    for share, passed in ((0.7, True), (1.4, False)):
        report = check_parity(steps_bundle, [Fake(at_step(2, share * limits[smallest]))])
        assert {case.case: case.passed for case in report.rows[0].cases}[smallest] is passed


@pytest.mark.parametrize("wrong", [
    lambda outputs: outputs * np.nan,
    lambda outputs: outputs / np.zeros_like(outputs),
    lambda outputs: outputs[:, :-1],
    lambda outputs: outputs[:, ::-1],
    lambda outputs: outputs[::-1],
    lambda outputs: np.zeros_like(outputs),
    lambda outputs: outputs[:1],
], ids=["NaN", "infinity", "a step too few", "time reversed", "rows reversed", "zeros", "rows lost"])  # fmt: skip
def test_wrong_runtimes_fail(steps_bundle: Bundle, wrong: Callable[[Array], Array]) -> None:
    with np.errstate(all="ignore"):
        report = check_parity(steps_bundle, [Fake(wrong)])
    assert (report.passed, report.exit_code) == (False, 1)
    json.loads(json.dumps(report.to_json(), allow_nan=False))


def test_output_that_a_runtime_lacks_fails(steps_bundle: Bundle) -> None:
    report = check_parity(steps_bundle, [Fake(output="logits")])
    assert (report.passed, report.exit_code) == (False, 1)
    assert all(case.absolute is None and not case.passed for case in report.rows[0].cases)


@pytest.mark.parametrize("error, code", [
    (RuntimeUnavailableError("fell back to the CPU", "get a GPU"), 3),
    (InputError("the graph is damaged"), 2),
    (EngineError("the engine is for another GPU"), 4),
])  # fmt: skip
def test_runtime_that_does_not_load_fails_with_its_own_exit_code(
    steps_bundle: Bundle, error: DeployError, code: int
) -> None:
    report = check_parity(steps_bundle, [ReferenceRuntime(), Fake(name="right"), Fake(fails=error)])
    assert (report.passed, report.exit_code) == (False, code)
    row = report.rows[-1]
    assert (row.passed, row.error, row.exit_code, row.cases, row.milliseconds) == (False, error.message, code, (), None)
    assert row.worst is None


def test_numbers_that_differ_count_more_than_a_runtime_that_is_missing(steps_bundle: Bundle) -> None:
    fakes = [Fake(fails=RuntimeUnavailableError("gone")), Fake(at_step(0, 1.0))]
    for order in itertools.permutations(fakes):
        assert check_parity(steps_bundle, order).exit_code == 1


def test_runtimes_that_take_no_part_are_listed_with_the_reason(steps_bundle: Bundle) -> None:
    fakes = [Fake(), Fake(name="absent", usable=False), Fake(name="unfit", reason="fp16 only")]
    report = check_parity(steps_bundle, fakes)
    assert (report.passed, [row.runtime for row in report.rows]) == (True, ["fake"])
    assert report.missing == (
        Missing("absent", "", "made up", "make it up"), Missing("unfit", "sequence/fused", "fp16 only", ""),
    )  # fmt: skip


@pytest.mark.parametrize("fake", [Fake(name="absent", usable=False), Fake(name="unfit", reason="fp16 only")])
def test_runtimes_that_take_no_part_fail_where_they_are_required(steps_bundle: Bundle, fake: Fake) -> None:
    report = check_parity(steps_bundle, [Fake(), fake], required=True)
    assert (report.passed, report.exit_code) == (False, 3)
    assert check_parity(steps_bundle, [Fake()], required=True).passed


def test_nothing_checked_is_nothing_passed(steps_bundle: Bundle) -> None:
    for runtimes in ([], [ReferenceRuntime()], [Fake(usable=False)], [ReferenceRuntime(), Fake(reason="fp16 only")]):
        report = check_parity(steps_bundle, runtimes)
        assert (report.passed, report.exit_code, report.to_json()["passed"]) == (False, 3, False)


def test_chunks_longer_than_the_sequences_are_timed_on_the_stream(tmp_path: Path, network: Checkpoint) -> None:
    options = ExportOptions(forms=("sequence", "chunk"), chunk=32, engines=(), runtimes=("onnxruntime-cpu",))
    result = export(network, tmp_path / "bundle", options)
    assert result.bundle.graph("sequence").steps < 32
    assert result.exit_code == 0
    assert all(row.milliseconds and row.seconds for row in result.parity.rows)


def test_weights_are_checked_once_per_form_and_graphs_each(tmp_path: Path, network: Checkpoint) -> None:
    options = ExportOptions(emissions=("unrolled", "fused"), engines=(), runtimes=("torch",))
    bundle = export(network, tmp_path / "bundle", options).bundle
    assert [graph.emission for graph in graphs_for(Fake(reads_graph=False), bundle)] == ["unrolled"]
    assert [graph.emission for graph in graphs_for(Fake(), bundle)] == ["unrolled", "fused"]


def test_reference_runs_its_sequences_together_and_once_for_all_precisions(steps_bundle: Bundle) -> None:
    (graph,) = steps_bundle.graphs
    narrow = dataclasses.replace(graph, precision="fp16", pruned=True, batch=1)
    (found,) = graphs_for(ReferenceRuntime(), dataclasses.replace(steps_bundle, graphs=(graph, narrow)))
    assert (found.batch, found.precision, found.kind) == (None, "fp32", "sequence")
    with ReferenceRuntime().load(steps_bundle, found) as session:
        case = steps_bundle.golden[1]
        np.testing.assert_allclose(session.run({"input": case.inputs})["output"], case.outputs, rtol=1e-12, atol=1e-12)
