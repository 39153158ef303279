"""Exports with state: what goes into the bundle, and that its check can fail."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from drnn_core.errors import InputError
from drnn_deploy import ExportOptions, export
from drnn_deploy.reports.regressions import read_baseline
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.onnxrt.runtime import OnnxRuntimeSession
from drnn_runtimes.session import Arrays
from drnn_runtimes.streaming.buffers import Lines
from tests.networks import random_weights
from tests.nightly import some_by_day


@pytest.mark.parametrize(
    ("hidden", "ring", "expected"), [(20, None, False), (128, None, True), (20, True, True), (128, False, False)]
)
def test_long_delay_lines_stay_with_the_stream_unless_told_otherwise(
    hidden: int, ring: bool | None, expected: bool, tmp_path: Path
) -> None:
    spec = ModelSpec("gru", (hidden,), (1024,), Continuous(1), Head("last", 2), fusion=False)
    options = ExportOptions(forms=("step",), ring=ring, engines=(), runtimes=("onnxruntime-cpu",))
    result = export(Checkpoint(spec, random_weights(spec, 0)), tmp_path / "bundle", options)
    (graph,) = result.bundle.graphs
    assert result.exit_code == 0
    assert graph.ring is expected
    assert graph.inputs[1].shape == (1, 1 if expected else 1024, hidden)


@pytest.mark.parametrize("cell", some_by_day(["lstm", "gru", "rnn"], 3))
def test_all_forms_and_emissions_in_one_bundle_pass_on_every_runtime(cell: str, tmp_path: Path) -> None:
    spec = ModelSpec(cell, (4, 5, 3), (2, 3, 8), Continuous(2), Head("last_k", 3, 4))  # type: ignore[arg-type]
    options = ExportOptions(
        length=21,
        forms=("sequence", "chunk", "step"),
        chunk=5,
        emissions=("fused", "unrolled"),
        batch=3,
        engines=(),
        runtimes=("reference", "torch", "onnxruntime-cpu"),
    )
    result = export(Checkpoint(spec, random_weights(spec, 0)), tmp_path / "bundle", options)
    assert result.exit_code == 0
    assert read_baseline(tmp_path / "bundle" / "parity.json")["passed"]
    kinds = ["sequence", "chunk5", "step"]
    names = [f"{kind}/{emission}" for kind in kinds for emission in ("fused", "unrolled")]
    assert [graph.name for graph in result.bundle.graphs] == names
    ran = {runtime: [r.graph for r in result.parity.rows if r.runtime == runtime] for runtime in options.runtimes or ()}
    assert ran == {"reference": kinds, "torch": kinds, "onnxruntime-cpu": names}
    assert Bundle.open(tmp_path / "bundle").graph("chunk").states == tuple(
        (f"state_{name}", f"next_state_{name}") for name in spec.state_shapes(1)
    )


def test_skewed_step_is_checked_and_runtimes_of_the_weights_say_why_they_are_not(tmp_path: Path) -> None:
    spec = ModelSpec("lstm", (4, 5, 3), (1, 2, 4), Continuous(2), Head("last", 3))
    options = ExportOptions(length=9, forms=("sequence", "step"), emissions=("fused", "skewed"), engines=())
    result = export(Checkpoint(spec, random_weights(spec, 0)), tmp_path / "bundle", options)
    assert result.exit_code == 0
    assert [(g.name, g.delay) for g in result.bundle.graphs] == [
        ("sequence/fused", 0),
        ("step/fused", 0),
        ("step/skewed", 2),
    ]
    assert ("onnxruntime-cpu", "step/skewed") in {(row.runtime, row.graph) for row in result.parity.rows}
    reasons = {entry.runtime: entry.reason for entry in result.parity.missing if entry.graph == "step/skewed"}
    assert "layers at different steps" in reasons["torch"]
    assert "layers at different steps" in reasons["reference"]


def test_dynamic_batch_is_checked_at_the_three_points_of_its_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec("gru", (4, 5), (1, 2), Continuous(2), Head("last", 3))
    sizes: set[tuple[str, int]] = set()
    run = OnnxRuntimeSession.run

    def counting(self: OnnxRuntimeSession, inputs: Arrays) -> Arrays:
        sizes.add((self._graph.form, len(inputs["input"])))
        return run(self, inputs)

    monkeypatch.setattr(OnnxRuntimeSession, "run", counting)
    options = ExportOptions(
        length=9,
        forms=("sequence", "step"),
        batch=None,
        profile=(2, 3, 7),
        engines=(),
        runtimes=("onnxruntime-cpu",),
    )
    result = export(Checkpoint(spec, random_weights(spec, 0)), tmp_path / "bundle", options)
    assert result.exit_code == 0
    assert {size for form, size in sizes if form == "sequence"} >= {2, 3, 7}
    assert [graph.profile for graph in result.bundle.graphs] == [(2, 3, 7)] * 2
    with pytest.raises(InputError, match="smallest <= usual <= largest"):
        export(Checkpoint(spec, random_weights(spec, 0)), tmp_path / "b", ExportOptions(batch=None, profile=(3, 2, 7)))


def test_a_free_batch_of_an_engine_is_the_profile(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
    spec = ModelSpec("gru", (4, 5), (1, 2), Continuous(2), Head("last", 3))
    options = ExportOptions(
        length=9,
        forms=("sequence", "step"),
        batch=None,
        profile=(2, 3, 7),
        engines=("tensorrt-rtx",),
        compute_capabilities=("8.6",),
        runtimes=(),
    )
    result = export(Checkpoint(spec, random_weights(spec, 0)), tmp_path / "bundle", options)
    assert [engine.sidecar and engine.sidecar.batch for engine in result.engines] == [(2, 3, 7)] * 2


def test_graphs_for_the_plugin_come_last_and_run_without_it(tmp_path: Path) -> None:
    spec = ModelSpec("gru", (4, 5), (1, 3), Tokens(7, 2), Head("sequence", 3))
    options = ExportOptions(
        length=12,
        forms=("sequence", "step"),
        batch=None,
        profile=(1, 2, 3),
        precisions=("int8", "fp32", "fp16"),
        plugin=True,
        engines=(),
        runtimes=("onnxruntime-cpu",),
    )
    result = export(Checkpoint(spec, random_weights(spec, 0)), tmp_path / "bundle", options)
    assert result.exit_code == 0
    names = [graph.name for graph in result.bundle.graphs]
    assert names[-4:] == ["sequence/plugin", "sequence/plugin/fp16", "step/plugin", "step/plugin/fp16"]
    assert not any("plugin" in name for name in names[:-4])
    with pytest.raises(InputError, match="fp32 or fp16"):
        export(
            Checkpoint(spec, random_weights(spec, 0)),
            tmp_path / "other",
            dataclasses.replace(options, precisions=("int8",)),
        )
    assert not (tmp_path / "other").exists()


def test_skewed_without_form_step_is_refused(tmp_path: Path) -> None:
    spec = ModelSpec("gru", (4,), (2,), Continuous(1), Head("last", 3))
    with pytest.raises(InputError, match="style pipelined is for form step"):
        export(
            Checkpoint(spec, random_weights(spec, 0)), tmp_path / "b", ExportOptions(length=4, emissions=("skewed",))
        )


def test_state_that_is_not_carried_fails_parity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec("gru", (4,), (2,), Continuous(1), Head("sequence", 3))
    monkeypatch.setattr(Lines, "run", lambda self: (self._calls[0](), self._output)[1])  # always from the first state
    options = ExportOptions(forms=("chunk",), chunk=4, engines=(), runtimes=("onnxruntime-cpu",))
    result = export(Checkpoint(spec, random_weights(spec, 0)), tmp_path / "bundle", options)
    (row,) = result.parity.rows
    assert (result.exit_code, row.passed) == (1, False)
    assert row.cases[0].first_bad_step == 4
