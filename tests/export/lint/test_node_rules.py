"""The lint's rules one by one, and what it makes of hostile files. Needs no TensorRT."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from drnn_core.errors import InputError
from drnn_core.plain_data import MAX_DEPTH
from drnn_export.lint.functions import function_size
from drnn_export.lint.linter import TARGETS, LintTarget, lint_file, lint_model, load_table
from tests.export.lint import graphs
from tests.export.lint.cases import REFUSED, TAKEN
from tests.export.lint.graphs import FLOAT, INT64, model, one


def rules(model_: onnx.ModelProto, target: LintTarget = "tensorrt-11") -> set[tuple[str, str]]:
    """(severity, rule) of what is found."""
    return {(finding.severity, finding.rule) for finding in lint_model(model_, target, Path("nowhere"))}


@pytest.mark.parametrize(
    ("graph", "refused_by"),
    [
        (one("Swish", opset=24), {"tensorrt-10.3"}),
        (one("RMSNormalization", {"s": graphs.weights(3)}, opset=23), {"tensorrt-10.3"}),
        (one("Pow", {"e": np.array([2, 2, 2])}, (INT64, [3])), {"tensorrt-10.3"}),
        (
            model([helper.make_node("HannWindow", ["x"], ["y"])], {"x": (INT64, [])}, {"y": (FLOAT, ["n"])}),
            {"tensorrt-10.3"},
        ),
        (one("GRU_like_nothing"), set(TARGETS)),
        (one("Celu", kind=(TensorProto.FLOAT16, [3])), {"tensorrt-rtx"}),
        (one("NonZero", made=INT64), {"tensorrt-rtx"}),
        (one("TopK", {"k": np.array([3840])}, (FLOAT, [5000]), outputs=["y", "i"]), {"tensorrt-10.3", "tensorrt-11"}),
        (graphs.resize(mode="cubic"), {"tensorrt-10.3", "tensorrt-11"}),
        (
            one("Pad", {"p": np.array([0, 1]), "v": graphs.weights()}, inputs={"a": (INT64, [1])}, opset=18),
            {"tensorrt-10.3"},
        ),
    ],
)
def test_targets_differ_as_their_tables_do(graph: onnx.ModelProto, refused_by: set[LintTarget]) -> None:
    found = {target for target in TARGETS if ("error" in {severity for severity, _ in rules(graph, target)})}
    assert found == refused_by


@pytest.mark.parametrize("target", TARGETS)
def test_tables_name_operators_types_and_attributes_that_exist(target: LintTarget) -> None:
    table, newest = load_table(target), {schema.name: schema for schema in onnx.defs.get_all_schemas()}
    schemas = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    own = {"ImageScaler", "ParametricSoftplus", "ScaledTanh"}  # of ONNX before opset 9, and of TensorRT
    assert {name for name in table.operators if not name.startswith("TRT_")} <= schemas | own
    assert {kind for kinds in table.operators.values() for kind in kinds or ()} <= table.types | {"FLOAT4E2M1"}
    assert table.types < set(TensorProto.DataType.keys())
    for name, rules_ in table.attributes.items():
        assert name in own or {rule.attribute for rule in rules_} <= newest[name].attributes.keys()
    for name, inputs in table.inputs.items():
        assert max(rule.input for rule in inputs) < len(newest[name].inputs) or name == "Upsample"
    assert table.rules_from


def test_quantised_types_outside_the_table_are_a_warning_where_nothing_was_measured() -> None:
    assert rules(one("Reshape", {"s": np.array([3])}, (TensorProto.INT8, [3]))) == {("warning", "type")}


@pytest.mark.parametrize("target", TARGETS)
def test_versions_outside_the_documented_ones_are_a_warning(target: LintTarget) -> None:
    table = load_table(target)
    lowest, highest = table.opsets
    assert rules(one("Tanh", opset=highest, ir=table.ir_version), target) == set()
    assert rules(one("Tanh", opset=lowest, ir=table.ir_version), target) == set()
    for opset in (lowest - 1, highest + 1):
        assert rules(one("Tanh", opset=opset), target) == {("warning", "opset")}
    assert rules(one("Tanh", ir=table.ir_version + 1), target) == {("warning", "ir-version")}


def test_free_axes_and_inputs_that_decide_a_shape_are_warnings() -> None:
    (free,) = lint_model(one("Tanh", kind=(FLOAT, ["n", 3, "m"])), "tensorrt-11", Path())
    assert (free.severity, free.rule) == ("warning", "free-axis")
    assert "'x' axis 0, 'x' axis 2" in free.what
    assert rules(one("Reshape", inputs={"s": (INT64, [1])})) == {("warning", "shape-input")}
    assert rules(one("Reshape", {"s": np.array([9])})) == set()


@pytest.mark.parametrize(("count", "warned"), [(2000, False), (2001, True)])
def test_many_nodes_are_a_warning_with_an_estimate(count: int, warned: bool) -> None:
    names = ["x", *(f"t{index}" for index in range(1, count)), "y"]
    chain = model([helper.make_node("Tanh", [a], [b]) for a, b in itertools.pairwise(names)])
    found = lint_model(chain, "tensorrt-rtx", Path())
    assert [finding.rule for finding in found] == ["nodes"] * warned
    assert all("2,001 nodes: compiling may take 3 s" in finding.what for finding in found)


@pytest.mark.parametrize(
    ("graph", "warned"),
    [
        (graphs.scan("Tanh", rows=1), True),
        (graphs.scan("Tanh", rows=2), False),
        (graphs.scan("Tanh", rows=1, width=7), True),
        (graphs.scan("Tanh", rows=1, width=8), False),
    ],
)
def test_recurrence_of_one_row_is_a_warning_on_rtx(graph: onnx.ModelProto, warned: bool) -> None:
    assert rules(graph, "tensorrt-rtx") == ({("warning", "one-row")} if warned else set())
    assert rules(graph, "tensorrt-11") == set()


def test_findings_name_the_node_inside_its_subgraph_and_errors_come_first() -> None:
    graph = graphs.conditional("Tanh", "Det")
    graph.opset_import[0].version = 99
    first, second = lint_model(graph, "tensorrt-11", Path())
    assert (first.severity, first.rule, first.node, first.operator) == ("error", "operator", "if/in/Det", "Det")
    assert (second.severity, second.rule, second.node) == ("warning", "opset", "")
    assert all(finding.what and finding.fix for finding in (first, second))


def test_functions_that_stand_for_millions_of_nodes_are_not_written_out() -> None:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    bodies = [[helper.make_node("Tanh", ["a"], ["b"])]]
    bodies += [
        [helper.make_node(f"F{i}", ["a"], ["m"], domain="mine"), helper.make_node(f"F{i}", ["m"], ["b"], domain="mine")]
        for i in range(60)
    ]
    functions = [helper.make_function("mine", f"F{i}", ["a"], ["b"], body, imports) for i, body in enumerate(bodies)]
    small = model([helper.make_node("F9", ["x"], ["y"], domain="mine")], functions=functions)
    large = model([helper.make_node("F60", ["x"], ["y"], domain="mine")], functions=functions)
    assert rules(small) == set()
    assert rules(large) == {("error", "functions")}


def test_no_file_outside_the_folder_is_looked_at(tmp_path: Path) -> None:
    """The parser follows a link out of the folder, so that is a warning; whether the file fits is not looked at."""
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"short")
    (folder / "w.bin").symlink_to(tmp_path / "secret")
    (found,) = lint_model(graphs.stored("w.bin"), "tensorrt-rtx", folder)
    assert (found.severity, found.rule) == ("warning", "external-data")
    for location in ("../secret", str(tmp_path / "secret")):
        (found,) = lint_model(graphs.stored(location, length=5), "tensorrt-rtx", folder)
        assert (found.severity, found.rule) == ("error", "external-data")
        assert "bytes" not in found.what


def test_a_file_over_two_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(2**31)
    found = lint_file(tmp_path / "large.onnx")
    assert found.keys() == set(TARGETS)
    assert all([finding.rule for finding in findings] == ["file-size"] for findings in found.values())


@pytest.mark.parametrize("content", [None, b"", b"not ONNX", bytes(100)])
def test_what_is_no_model_is_an_input_error(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.onnx") as caught:
        lint_file(path)
    assert caught.value.fix


@pytest.mark.parametrize("text", [b"w.bin", b"location", b"test", b"mine"])
def test_names_that_are_not_text_are_an_input_error(text: bytes, tmp_path: Path) -> None:
    content = graphs.stored("w.bin").SerializeToString()
    assert text in content
    (tmp_path / "model.onnx").write_bytes(content.replace(text, b"\xff" * len(text)))
    with pytest.raises(InputError, match="not UTF-8"):
        lint_file(tmp_path / "model.onnx")


def test_a_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Is a directory"):
        lint_file(tmp_path)


SAMPLES = [graph.SerializeToString() for graph in (*TAKEN.values(), *REFUSED.values())]


def is_judged(content: bytes, path: Path) -> bool:
    """Whether the lint judges the file; it refuses it in words or not at all."""
    path.write_bytes(content)
    try:
        found = lint_file(path)
    except InputError as error:
        assert error.message and error.fix
        return False
    return found.keys() == set(TARGETS)


@given(st.binary(max_size=200))
def test_no_bytes_make_a_stack_trace(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        is_judged(content, Path(folder, "model.onnx"))


@given(st.sampled_from(SAMPLES), st.data())
def test_no_damage_makes_a_stack_trace(sample: bytes, data: st.DataObject) -> None:
    """Cut short, and with bytes changed."""
    content = bytearray(sample[: data.draw(st.integers(0, len(sample)))] if data.draw(st.booleans()) else sample)
    for _ in range(data.draw(st.integers(0, 8)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        is_judged(bytes(content), Path(folder, "model.onnx"))


def test_undamaged_samples_are_judged(tmp_path: Path) -> None:
    assert all(is_judged(sample, tmp_path / "model.onnx") for sample in SAMPLES)


@pytest.mark.parametrize("order", [1, -1])
def test_calls_are_followed_to_a_depth_of_the_lints_own(order: int) -> None:
    """Whichever function comes first in the file, and however deep Python recurses."""
    for functions, taken in ((MAX_DEPTH, True), (MAX_DEPTH + 1, False), (5000, False)):
        chain = graphs.calls(functions)
        reordered = list(chain.functions)[::order]
        del chain.functions[:]
        chain.functions.extend(reordered)
        assert function_size(chain, 10_000) == (1 if taken else None)
    found = lint_model(chain, "tensorrt-11", Path("nowhere"))
    assert any(f"calls are more than {MAX_DEPTH} deep" in finding.what for finding in found)
