"""What is said where the graph is right and something else is not: the runtime, its engine, the golden data."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto

from drnn_core.errors import InputError
from drnn_core.types import Availability
from drnn_deploy import ExportOptions, export
from drnn_deploy.debug.explain import explain_report
from drnn_deploy.debug.explanation import Explanation
from drnn_deploy.parity.check import check_parity
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE, Tolerance
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import WEIGHTS, Bundle, GraphInfo
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.reference.runtime import ReferenceRuntime
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.runtime import Runtime
from tests.drnn_deploy.debug.mutants.mutant import Change, attribute, before, both, flipped, through, weights
from tests.drnn_deploy.debug.odd_runtimes import Engine, Forgetful, Miscompiling, Off
from tests.networks import random_weights
from tests.sealing import reseal

SPEC = ModelSpec("gru", (4, 5, 6), (1, 2, 4), Continuous(2), Head("sequence", 3))


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Whole sequences, as operators and unrolled."""
    folder = tmp_path_factory.mktemp("explained") / "bundle"
    options = ExportOptions(
        length=16, batch=2, forms=("sequence",), emissions=("fused", "unrolled"), engines=(), runtimes=("torch",)
    )
    return export(Checkpoint(SPEC, random_weights(SPEC, 5)), folder, options).bundle


def explained(bundle: Bundle, runtime: Runtime, **settings: Any) -> Explanation:
    report = check_parity(bundle, [runtime], **settings)
    assert not report.passed
    return explain_report(bundle, report, [runtime])[0]


def only(bundle: Bundle, emission: str) -> Bundle:
    return dataclasses.replace(bundle, graphs=tuple(g for g in bundle.graphs if g.emission == emission))


def test_runtime_that_computes_an_operator_wrong(right: Bundle) -> None:
    found = explained(only(right, "fused"), Miscompiling(attribute("l1/gru", linear_before_reset=0)))
    assert found.culprit == "layer 1"
    assert found.verdict == (
        "layer 1: nothing in it differs from what the weights make, "
        "but onnxruntime-cpu computes it wrong, from node l1/gru (GRU) on"
    )
    assert found.findings == ()
    assert found.first_off is not None
    assert (found.first_off.stage, found.first_off.whole and found.first_off.whole.first_bad_step) == ("layer 1", 0)


def test_first_node_that_is_wrong_is_not_the_one_that_follows_it(right: Bundle) -> None:
    found = explained(only(right, "unrolled"), Miscompiling(attribute("l2/t001/recalled", alpha=1.01)))
    assert found.culprit == "layer 2"
    assert "from node l2/t001/recalled (Gemm) on" in found.verdict


@pytest.mark.parametrize("kind, words", [
    (TensorProto.FLOAT16, "products in float16 or TF32"), (TensorProto.BFLOAT16, "products in bfloat16"),
])  # fmt: skip
def test_runtime_that_rounds_its_products_in_silence(right: Bundle, kind: int, words: str) -> None:
    narrow = both(*(before("l1/gru", index, through(kind)) for index in (0, 1, 2)))
    found = explained(only(right, "fused"), Miscompiling(narrow))
    assert found.culprit == "layer 1"
    assert found.verdict.endswith(words)


def test_engine_whose_graph_is_right(right: Bundle) -> None:
    found = explained(only(right, "fused"), Engine())
    assert (found.culprit, found.seen_on) == ("runtime", "onnxruntime-cpu")
    assert "the fault is in engine, or in the engine that it runs" in found.verdict
    assert all(stage.alone is not None and stage.alone.passed for stage in found.stages)


def changed(bundle: Bundle, folder: Path, file: str, change: Change) -> Bundle:
    shutil.copytree(bundle.folder, folder)
    model = onnx.load(folder / file)
    change(model)
    onnx.save(model, folder / file)
    reseal(folder)
    return Bundle.open(folder)


def test_engine_whose_graph_is_wrong(right: Bundle, tmp_path: Path) -> None:
    bad = changed(right, tmp_path / "bad", "model.onnx", weights("l2/operator/R", flipped))
    found = explained(only(bad, "fused"), Engine(0.0))
    assert (found.culprit, found.seen_on) == ("layer 2", "onnxruntime-cpu")
    assert found.verdict.startswith("layer 2: initializer l2/operator/R differs from the weights in 1 of")


@pytest.mark.parametrize("change, verdict, finding", [
    (lambda m: setattr(m.opset_import[0], "version", 14), "layer 1: opset", "opset ai.onnx is 14, should be 13"),
    (lambda m: setattr(m.graph, "name", "other"), "computes it wrong", "field name of the graph differs from what the"),
])  # fmt: skip
def test_what_decides_numbers_is_blamed_before_the_runtime_and_names_are_told(
    change: Any, verdict: str, finding: str, right: Bundle, tmp_path: Path
) -> None:
    bad = changed(right, tmp_path / "bad", "model.onnx", change)
    found = explained(only(bad, "fused"), Miscompiling(attribute("l1/gru", linear_before_reset=0)))
    assert verdict in found.verdict
    assert [told.startswith(finding) for told in found.findings] == [True]


def test_layer_whose_tensor_has_another_name_is_still_named(right: Bundle, tmp_path: Path) -> None:
    """As other tools leave graphs: then the parts on both sides are looked at as one."""

    def renamed(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = ["x17" if name == "l1/gru" else name for name in node.output]
            node.input[:] = ["x17" if name == "l1/gru" else name for name in node.input]

    bad = changed(right, tmp_path / "bad", "model.onnx", both(weights("l1/operator/R", flipped), renamed))
    found = explained(only(bad, "fused"), OnnxRuntime("cpu"))
    assert next(stage for stage in found.stages if stage.stage == "layer 1").alone is None
    assert found.culprit == "layer 1"
    assert found.verdict.startswith("layer 1: initializer l1/operator/R differs")


def test_runtime_of_the_weights_gets_its_layers_one_by_one(right: Bundle) -> None:
    found = explained(right, Forgetful(5))
    assert found.culprit == "layer 1"
    assert found.verdict == "layer 1: the weights are right, but forgetful computes it wrong"
    assert [stage.alone is not None and stage.alone.passed for stage in found.stages] == [True, False, True]
    assert "shows no values inside" in found.note


def test_runtime_of_the_weights_whose_layers_are_right(right: Bundle) -> None:
    class Shifted(ReferenceRuntime):
        name = "shifted"
        is_reference = False

        @contextlib.contextmanager
        def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[Any]:
            with super().load(bundle, graph) as session:
                yield session if bundle.spec.layers == 1 else Off(session, graph, 0.5)

    assert explained(right, Shifted()).culprit == "head"


def test_golden_data_of_other_weights(right: Bundle, tmp_path: Path) -> None:
    from safetensors.numpy import save

    bundle = changed(right, tmp_path / "stale", "model.onnx", lambda _: None)
    (bundle.folder / WEIGHTS).write_bytes(save(random_weights(SPEC, 6)))
    reseal(bundle.folder)
    found = explained(Bundle.open(bundle.folder), ReferenceRuntime())
    assert found.culprit == "golden data"
    assert "drnn-export" in found.verdict


def test_rounding_that_a_strict_limit_refuses_is_called_rounding(right: Bundle) -> None:
    found = explained(only(right, "fused"), OnnxRuntime("cpu"), tolerance=Tolerance(1e-3))
    assert found.culprit == ""
    assert "every part is within its limit" in found.verdict
    assert found.command.endswith("--runtime onnxruntime-cpu --explain --max-noise 0.001")


def test_file_that_is_no_graph(right: Bundle, tmp_path: Path) -> None:
    bundle = changed(right, tmp_path / "bad", "model.onnx", lambda _: None)
    (bundle.folder / "model.onnx").write_bytes(b"\x08no graph")
    reseal(bundle.folder)
    found = explained(Bundle.open(bundle.folder), OnnxRuntime("cpu"))
    assert found.culprit == "runtime"
    assert "model.onnx cannot be loaded" in found.verdict
    assert "is not an ONNX model" in found.note


def test_graph_of_another_network_says_which_shapes(right: Bundle, tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, input=Continuous(3))
    other = emit(spec, random_weights(spec, 0), GraphRequest.of(right.graphs[0]))
    bad = changed(right, tmp_path / "bad", "model.onnx", lambda model: model.CopyFrom(other))
    found = explained(only(bad, "fused"), OnnxRuntime("cpu"))
    assert (found.culprit, found.verdict) == ("edges", "input 'input' has the shape [2, 16, 3], should be [2, 16, 2]")


def bad_step(folder: Path, change: Change) -> Bundle:
    options = ExportOptions(forms=("step",), engines=(), runtimes=("onnxruntime-cpu",), batch=2)
    bundle = export(Checkpoint(SPEC, random_weights(SPEC, 5)), folder / "right", options).bundle
    return changed(bundle, folder / "bad", "model.onnx", change)


def beyond_the_end(model: onnx.ModelProto) -> None:
    """The output is gathered by an index that is computed, so that only running shows that it is none."""
    index = onnx.helper.make_tensor("far", onnx.TensorProto.INT64, [1], [500])
    model.graph.initializer.append(index)
    model.graph.node[-1].output[0] = "raw"
    model.graph.node.append(onnx.helper.make_node("Add", ["far", "far"], ["farther"]))
    model.graph.node.append(onnx.helper.make_node("Gather", ["raw", "farther"], ["some"], axis=1))
    model.graph.node.append(onnx.helper.make_node("Sub", ["raw", "some"], ["output"]))


def test_graph_that_is_taken_and_cannot_be_run(tmp_path: Path) -> None:
    """A stream binds its arrays; what goes wrong in there is an error for people as well."""
    bad = bad_step(tmp_path, beyond_the_end)
    report = check_parity(bad, [OnnxRuntime("cpu")])
    assert report.exit_code == InputError.exit_code
    assert "ONNX Runtime cannot run step/fused" in report.rows[0].error


def test_graph_whose_sizes_do_not_fit_together_is_not_run_and_explained(tmp_path: Path) -> None:
    bad = bad_step(tmp_path, weights("shape_1_2_2", lambda sizes: sizes * 3))
    report = check_parity(bad, [OnnxRuntime("cpu")])
    assert report.exit_code == InputError.exit_code
    assert "model.onnx cannot be loaded: its node 'l0/gru' (GRU) has inputs of sizes" in report.rows[0].error
    (found,) = explain_report(bad, report, [OnnxRuntime("cpu")])
    assert found.verdict.startswith("input: initializer shape_1_2_2 is [3, 6, 6], should be [1, 2, 2]; model.onnx")


def test_only_the_culprit_is_off_on_right_inputs(right: Bundle, tmp_path: Path) -> None:
    """And all that comes after it as it ran."""
    bad = changed(right, tmp_path / "bad", "model.onnx", weights("l1/operator/R", flipped))
    stages = explained(only(bad, "fused"), OnnxRuntime("cpu")).stages
    assert [stage.stage for stage in stages] == ["input", "layer 0", "layer 1", "layer 2", "head"]
    assert [stage.alone and stage.alone.passed for stage in stages] == [True, True, False, True, True]
    assert [stage.whole and stage.whole.passed for stage in stages] == [True, True, False, False, False]


def test_row_of_a_runtime_that_is_missing_needs_no_explanation(right: Bundle) -> None:
    class Missing(Engine):
        def availability(self) -> Availability:
            return Availability(False, "it is not here", "Buy one.")

    report = check_parity(right, [Missing()], required=True)
    assert report.exit_code == 3
    assert explain_report(right, report, [Missing()]) == ()


@pytest.mark.parametrize("options", [
    {"forms": ("chunk",), "chunk": 5, "ring": True, "batch": None, "profile": (1, 2, 3)},
    {"length": 16, "batch": None, "profile": (1, 2, 8)},
    pytest.param({"forms": ("chunk",), "chunk": 3, "precisions": ("fp16",)}, marks=pytest.mark.nightly),
    {"forms": ("step",), "emissions": ("unrolled",), "precisions": ("bf16",)},
])  # fmt: skip
def test_every_form_of_graph_is_explained(options: dict[str, Any], tmp_path: Path) -> None:
    """On the runtime that takes every precision."""
    settings = {"engines": (), "runtimes": ("tensorrt-network",), **options}
    bundle = export(Checkpoint(SPEC, random_weights(SPEC, 5)), tmp_path / "right", ExportOptions(**settings)).bundle
    model = onnx.load(bundle.path("model.onnx"))
    name = next(t.name for t in model.graph.initializer if re.match("l1/(operator|input_n)/W", t.name))
    bad = changed(bundle, tmp_path / "bad", "model.onnx", weights(name, lambda w: -w))
    found = explained(bad, find_runtime("tensorrt-network"))
    assert found.culprit == "layer 1"
    assert f"initializer {name} differs from the weights" in found.verdict
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["parts"]


def test_limit_of_parts_is_parity_s_multiple_of_their_noise(right: Bundle) -> None:
    found = explained(only(right, "fused"), Engine())
    for stage in found.stages:
        assert stage.alone is not None
        if stage.alone.absolute and stage.alone.in_noise:
            # the error and the limit are the largest, each of its own step
            assert stage.alone.absolute <= stage.alone.limit
            assert stage.alone.limit >= NOISE_MULTIPLE * stage.alone.absolute / stage.alone.in_noise * (1 - 1e-9)
    assert sum(bool(stage.alone and stage.alone.absolute) for stage in found.stages) == SPEC.layers + 1


def test_reproductions_cannot_be_written_where_a_file_is(right: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    report = check_parity(only(right, "fused"), [Engine()])
    with pytest.raises(InputError, match="cannot write"):
        explain_report(right, report, [Engine()], folder=tmp_path / "file")


def test_cases_that_are_not_the_bundles_own_are_given(right: Bundle) -> None:
    """A row may have been checked on more than the golden data; what is not known of is left out."""
    bundle, runtime = only(right, "fused"), Miscompiling(attribute("l1/gru", linear_before_reset=0))
    report = check_parity(bundle, [runtime])
    others = [dataclasses.replace(case, name=f"{case.name} of the task") for case in bundle.golden]
    row = report.rows[0]
    renamed = dataclasses.replace(
        row, cases=tuple(dataclasses.replace(case, case=f"{case.case} of the task") for case in row.cases)
    )
    (found,) = explain_report(bundle, dataclasses.replace(report, rows=(renamed,)), [runtime], cases=others)
    assert (found.culprit, found.case.endswith(" of the task")) == ("layer 1", True)
    (blind,) = explain_report(bundle, dataclasses.replace(report, rows=(renamed,)), [runtime])
    assert (blind.culprit, blind.stages) == ("", ())
    assert "not known here" in blind.verdict
