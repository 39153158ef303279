"""Graphs that other tools made of a bundle's own: right ones pass, wrong ones fail, hostile ones are not run."""

from __future__ import annotations

import logging
import shlex
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper, version_converter

from drnn_core.errors import InputError
from drnn_deploy import ExportOptions, export
from drnn_deploy.matrix.options import MatrixOptions
from drnn_deploy.matrix.other_graph import read_renames, with_other_graph
from drnn_deploy.matrix.run import check_bundle
from drnn_models.checkpoint import Checkpoint
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.bundle.bodies import every_node

Command = Any  # see conftest
Change = Callable[[onnx.ModelProto], Any]


@pytest.fixture(scope="module")
def several(network: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Whole sequences and chunks, as operators and unrolled."""
    options = ExportOptions(
        forms=("sequence", "chunk"), chunk=3, emissions=("fused", "unrolled"), engines=(), runtimes=()
    )
    return export(network, tmp_path_factory.mktemp("other") / "bundle", options).bundle


def check(bundle: Bundle, path: Path, **options: Any) -> Any:
    return check_bundle(bundle, MatrixOptions(graph=path, **options))


def changed(bundle: Bundle, name: str, folder: Path, change: Change = lambda _: None) -> Path:
    """A changed copy of one of the bundle's graphs; `change` may give another model."""
    model = onnx.load(bundle.path(bundle.graph(name).file))
    made = change(model)
    onnx.save(made if isinstance(made, onnx.ModelProto) else model, folder / "other.onnx")
    return folder / "other.onnx"


def optimized(path: Path) -> None:
    """By ONNX Runtime, to operators of ONNX itself."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath, options.log_severity_level = str(path), 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def quantized(path: Path) -> None:
    """By ONNX Runtime: the products of the head in int8."""
    from onnxruntime.quantization import quantize_dynamic

    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantize_dynamic(path, path, op_types_to_quantize=["MatMul", "Gemm"])
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("change", [lambda _: None, optimized], ids=["as it is", "optimized"])
def test_a_graph_whose_layers_are_one_node_is_run_as_what_its_function_says(
    change: Callable[[Path], None], network: Checkpoint, tmp_path: Path
) -> None:
    bundle = export(network, tmp_path / "bundle", ExportOptions(plugin=True, engines=(), check="none")).bundle
    path = changed(bundle, "sequence/plugin", tmp_path)
    change(path)
    report = check(bundle, path)
    assert report.passed
    assert [row.graph for row in report.rows] == ["sequence/fused other.onnx"]

    def other_function(model: onnx.ModelProto) -> None:
        model.functions[0].name = "Other"

    with pytest.raises(InputError, match="is not run: its function 'Other'"):
        check(bundle, changed(bundle, "sequence/plugin", tmp_path, other_function))


@pytest.mark.parametrize("name", ["sequence/fused", "sequence/unrolled", "chunk3/fused"])
def test_converted_and_optimized_graphs_pass(name: str, several: Bundle, tmp_path: Path) -> None:
    path = changed(several, name, tmp_path, lambda model: version_converter.convert_version(model, 18))
    optimized(path)
    report = check(several, path)
    assert report.passed
    (row,) = report.rows
    assert (row.runtime, row.graph) == ("onnxruntime-cpu", f"{name} other.onnx")
    assert len(row.cases) > 1


def test_quantized_graphs_fail_by_noise_and_pass_by_what_is_accepted(
    command: Command, several: Bundle, tmp_path: Path
) -> None:
    path = changed(several, "sequence/fused", tmp_path)
    quantized(path)
    assert {"MatMulInteger", "DynamicQuantizeLinear"} <= {node.op_type for node in onnx.load(path).graph.node}
    given = "drnn-deploy", "parity", several.folder, "--graph", path
    failed, passed = command(*given), command(*given, "--atol", 0.2)
    assert (failed.code, passed.code) == (1, 0)
    *_, last, then = passed.out.splitlines()
    assert last == f"PASSED drnn-parity {several.folder} --graph {path}"
    assert then.endswith(f"drnn-deploy lint {path}")


def renamed(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [f"my={name}" if name == value.name else name for name in names]
        value.name = f"my={value.name}"


@pytest.mark.parametrize("option", ["runtimes", "required"])
@pytest.mark.parametrize("name", ["torch", "reference"])
def test_no_runtime_passes_that_does_not_read_the_graph(
    name: str, option: str, several: Bundle, tmp_path: Path
) -> None:
    path = changed(several, "sequence/fused", tmp_path)
    with pytest.raises(InputError, match=f"{name} would not read the graph"):
        check(several, path, **{option: (name,)})


def test_other_names_are_said_and_renamed(several: Bundle, tmp_path: Path) -> None:
    path = changed(several, "sequence/fused", tmp_path, renamed)
    with pytest.raises(InputError, match="under other names than sequence/fused") as refused:
        check(several, path)
    assert refused.value.fix == "Type: --rename my=input=input --rename my=output=output"
    assert check(several, path, renames=("my=input=input", "my=output=output")).passed


def test_order_of_edges_and_constants_among_the_inputs_do_not_matter(several: Bundle, tmp_path: Path) -> None:
    def reordered(model: onnx.ModelProto) -> None:
        for side in (model.graph.input, model.graph.output):
            values = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in side]
            del side[:]
            side.extend(reversed(values))
        constant = model.graph.initializer[0]
        model.graph.input.append(helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims))

    assert check(several, changed(several, "chunk3/fused", tmp_path, reordered)).passed


def scaled(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.001), tensor.name))


@pytest.mark.parametrize("name", ["sequence/fused", "sequence/unrolled", "chunk3/unrolled"])
def test_a_tool_that_changes_weights_is_found_out(name: str, several: Bundle, tmp_path: Path) -> None:
    report = check(several, changed(several, name, tmp_path, scaled))
    assert (report.passed, report.exit_code) == (False, 1)


def looped(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], [], name="forever", body=body))


def from_a_file(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def of_another_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def as_doubles(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


def huge(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "sizes"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "one"))
    model.graph.node.insert(0, helper.make_node("Expand", ["one", "sizes"], ["terabytes"]))


@pytest.mark.parametrize("change, says", [
    (looped, "forever"),
    (from_a_file, "keeps constants in another file"),
    (of_another_domain, "is of an operator that no graph of a bundle has"),
    (as_doubles, "float64"),
    (huge, "its tensors take over"),
])  # fmt: skip
def test_what_a_bundle_would_not_hold_is_not_run(change: Change, says: str, several: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as refused:
        check(several, changed(several, "sequence/fused", tmp_path, change))
    assert refused.value.fix


@pytest.mark.parametrize("content", [b"", b"no graph", bytes(100)])
def test_other_files_are_refused(content: bytes, several: Bundle, tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(content)
    for path in (tmp_path / "other.onnx", tmp_path, tmp_path / "none.onnx"):
        with pytest.raises(InputError), with_other_graph(several, path, {}):
            pass


@pytest.mark.parametrize("renames, says", [
    (("x",), "'x' is not A=B"),
    (("=x",), "'=x' is not A=B"),
    (("a=b", "a=c"), "another --rename names"),
    (("a=b", "c=b"), "another --rename names"),
    (("nothing=input",), "has no input or output 'nothing'"),
    (("input=output",), "has a tensor 'output' already"),
])  # fmt: skip
def test_renames_that_cannot_be_are_refused(
    renames: tuple[str, ...], says: str, several: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says) as refused:
        check(several, changed(several, "sequence/fused", tmp_path), renames=renames)
    assert refused.value.fix


def test_bodies_read_renamed_inputs_too(network: Checkpoint, tmp_path: Path) -> None:
    options = ExportOptions(emissions=("blocked",), block=3, engines=(), runtimes=())
    bundle = export(network, tmp_path / "blocked", options).bundle

    def within(model: onnx.ModelProto) -> None:
        loop = next(node for node in model.graph.node if node.op_type == "Loop")
        loop.attribute[0].g.node.append(helper.make_node("Identity", ["input"], ["unused"]))

    def renamed(model: onnx.ModelProto) -> None:
        within(model)
        model.graph.input[0].name = "x"
        for node in every_node(model.graph.node):
            node.input[:] = ["x" if name == "input" else name for name in node.input]

    name = bundle.graphs[0].name
    assert check(bundle, changed(bundle, name, tmp_path, within)).passed
    assert check(bundle, changed(bundle, name, tmp_path, renamed), renames=("x=input",)).passed


def test_advice_to_rename_can_be_typed_whatever_the_names(several: Bundle, tmp_path: Path) -> None:
    def renamed(model: onnx.ModelProto) -> None:
        model.graph.input[0].name = "x; echo a"
        for node in model.graph.node:
            node.input[:] = ["x; echo a" if name == "input" else name for name in node.input]

    path = changed(several, "sequence/fused", tmp_path, renamed)
    with pytest.raises(InputError) as refused:
        check(several, path)
    words = shlex.split(refused.value.fix.partition("Type: ")[2])
    assert words[0] == "--rename" and len(words) == 2
    assert check(several, path, renames=tuple(words[1::2])).passed


def test_two_names_may_change_places() -> None:
    assert read_renames(("input=output", "output=input")) == {"input": "output", "output": "input"}


def test_explanations_are_for_the_bundles_own_graphs(command: Command, several: Bundle, tmp_path: Path) -> None:
    path = changed(several, "sequence/fused", tmp_path)
    ran = command("drnn-deploy", "parity", several.folder, "--graph", path, "--explain")
    assert ran.code == 2
    assert "--explain and --repro are for a bundle's own graphs" in ran.err
