"""Which graph files are loaded: every emission, and no graph that could take more than its network."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from drnn_core.errors import InputError
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.bundle.cost import cost_of, most_graph_bytes
from drnn_runtimes.bundle.fit import check_manifest
from drnn_runtimes.bundle.graph_file import read_graph, refusal
from tests.networks import random_weights, specs
from tests.runtimes.bundle.graphs import BOMBS, behind, constant, info_of

SPEC = ModelSpec("gru", (4, 5), (1, 2), Continuous(2), Head("last", 3))
REQUEST = GraphRequest(8, 1)


@st.composite
def requests(draw: st.DrawFn) -> GraphRequest:
    form = draw(st.sampled_from(["sequence", "chunk", "step"]))
    try:
        return GraphRequest(
            1 if form == "step" else draw(st.integers(1, 60)),
            draw(st.none() | st.integers(1, 3)),
            draw(st.sampled_from(["fused", "unrolled", "mixed", "skewed", "blocked", "blocked", "plugin"])),  # type: ignore[arg-type]
            draw(st.booleans()),
            form,  # type: ignore[arg-type]
            form != "sequence" and draw(st.booleans()),
            draw(st.sampled_from(["fp32", "fp16", "bf16", "int8"])),  # type: ignore[arg-type]
            draw(st.none() | st.integers(2, 9)),
        )
    except InputError:
        assume(False)
        raise


@given(specs(), requests())
def test_every_emission_is_taken_and_what_its_manifest_says_fits(spec: ModelSpec, request: GraphRequest) -> None:
    model = emit(spec, random_weights(spec, 0), request)
    info = info_of(spec, request, model)
    assert refusal(model, spec, info) == ""
    check_manifest(spec, [info], [])
    assert info.nodes <= cost_of(spec, info, 1).nodes
    assert len(model.SerializeToString()) <= most_graph_bytes(spec, info)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return emit(SPEC, random_weights(SPEC, 0), REQUEST)


@pytest.fixture(scope="module")
def info(model: onnx.ModelProto) -> GraphInfo:
    return info_of(SPEC, REQUEST, model)


def copy(model: onnx.ModelProto) -> onnx.ModelProto:
    other = onnx.ModelProto()
    other.CopyFrom(model)
    return other


@pytest.mark.parametrize("name", BOMBS)
def test_what_no_graph_of_the_network_holds_is_refused_at_once(
    name: str, model: onnx.ModelProto, info: GraphInfo, tmp_path: Path
) -> None:
    changed = copy(model)
    BOMBS[name](changed)
    path = tmp_path / "model.onnx"
    path.write_bytes(changed.SerializeToString())
    started = time.monotonic()
    with pytest.raises(InputError, match=r"model\.onnx cannot be loaded: ") as refused:
        read_graph(path, SPEC, info)
    assert time.monotonic() - started < 2
    assert len(refused.value.message) < 800
    assert "drnn-export model.pt" in refused.value.fix


@pytest.mark.parametrize(("content", "words"), [
    (b"", "was cut short"), (b"\xff" * 100, "is not an ONNX model"), (b"\x3a\x00", "was cut short"),
])  # fmt: skip
def test_what_is_no_model_is_refused(content: bytes, words: str, info: GraphInfo, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_graph(tmp_path / "model.onnx", SPEC, info)


def test_names_are_utf_8(model: onnx.ModelProto, info: GraphInfo, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString().replace(b"head/linear", b"head/\xff\xfenear"))
    with pytest.raises(InputError, match="names that are not UTF-8"):
        read_graph(tmp_path / "model.onnx", SPEC, info)


def test_a_file_larger_than_any_graph_of_the_network_is_not_read(info: GraphInfo, tmp_path: Path) -> None:
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(1 << 31)
    with pytest.raises(InputError, match="more than"):
        read_graph(tmp_path / "model.onnx", SPEC, info)


def test_a_file_of_many_empty_parts_is_not_parsed(info: GraphInfo, tmp_path: Path) -> None:
    nodes = b"\x0a\x00" * (4 << 20)
    size = len(nodes)
    varint = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128, size >> 21])
    (tmp_path / "model.onnx").write_bytes(b"\x3a" + varint + nodes)
    with pytest.raises(InputError, match=r"it holds more than 3,000,000 parts"):
        read_graph(tmp_path / "model.onnx", SPEC, info)


@pytest.mark.parametrize("emission", ["fused", "unrolled"])
def test_a_graph_that_was_changed_with_plain_operators_is_taken(emission: str) -> None:
    """It computes something else, which comparing finds out; that takes no more than the network does."""
    request = GraphRequest(8, 3, emission)  # type: ignore[arg-type]
    changed = emit(SPEC, random_weights(SPEC, 0), request)
    constant(changed, "mask", np.array([[1], [1], [0]], np.float32))
    behind(
        changed,
        helper.make_node("Mul", ["raw", "mask"], ["masked"]),
        helper.make_node("Cast", ["masked"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["output"], to=TensorProto.FLOAT),
    )
    assert refusal(changed, SPEC, info_of(SPEC, request, changed)) == ""


PLUGIN = GraphRequest(8, 1, "plugin")


def _other_function(model: onnx.ModelProto) -> None:
    model.functions.append(model.functions[0])


def _called_twice(model: onnx.ModelProto) -> None:
    call = next(node for node in model.graph.node if node.domain)
    model.graph.node.insert(1, call)


def _recursive(model: onnx.ModelProto) -> None:
    model.functions[0].node.append(next(node for node in model.graph.node if node.domain))


def _missing(model: onnx.ModelProto) -> None:
    del model.functions[0].node[-1]


def _less_inputs(model: onnx.ModelProto) -> None:
    del model.functions[0].input[-1]


def _same_inputs(model: onnx.ModelProto) -> None:
    model.functions[0].input[1] = model.functions[0].input[0]


def _attribute_of_the_node(model: onnx.ModelProto) -> None:
    model.functions[0].node[-1].attribute.add(name="allowzero", ref_attr_name="answers", type=2)


def _other_operators(model: onnx.ModelProto) -> None:
    model.functions[0].opset_import[0].version = 17


def _other_domain(model: onnx.ModelProto) -> None:
    model.functions[0].domain = "elsewhere"


def _large(model: onnx.ModelProto) -> None:
    sizes = onnx.numpy_helper.from_array(np.array([1 << 27, 1, 1]), "many")
    shape = helper.make_node("Constant", [], ["many"], "many", value=sizes)
    model.functions[0].node.extend([shape, helper.make_node("Expand", ["rows", "many"], ["much"])])


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_other_function, "other functions than one stack"),
        (_called_twice, "other functions than one stack"),
        (_recursive, "calls what is no standard operator"),
        (_missing, "nothing makes"),
        (_less_inputs, "other inputs and outputs than the node"),
        (_same_inputs, "without a name of their own"),
        (_attribute_of_the_node, "attributes that change with the node"),
        (_other_operators, "operators of another version"),
        (_other_domain, "is not drnn::DilatedStack"),
        (_large, "its tensors take over"),
    ],
)
def test_a_function_is_the_stack_that_one_node_calls(edit: Callable[[onnx.ModelProto], None], words: str) -> None:
    model = emit(SPEC, random_weights(SPEC, 0), PLUGIN)
    info = info_of(SPEC, PLUGIN, model)
    assert refusal(model, SPEC, info) == ""
    edit(model)
    assert words in refusal(model, SPEC, info)


def test_graphs_of_other_styles_hold_no_function() -> None:
    model = emit(SPEC, random_weights(SPEC, 0), PLUGIN)
    assert "functions" in refusal(model, SPEC, info_of(SPEC, REQUEST, model))


def repeated(model: onnx.ModelProto, times: int, operator: str, inputs: list[str]) -> None:
    for index in range(times):
        model.graph.node.append(helper.make_node(operator, inputs, [f"again{index}"]))


@pytest.mark.parametrize(("operator", "inputs", "words"), [
    ("MatMul", ["tall", "wide"], "more than those of the network"),
    ("ReduceSum", ["large"], "computes more than the network does"),
])  # fmt: skip
def test_small_amounts_are_summed_up(
    operator: str, inputs: list[str], words: str, model: onnx.ModelProto, info: GraphInfo
) -> None:
    """Each of these nodes would pass by itself."""
    changed = copy(model)
    constant(changed, "tall", np.ones((1 << 10, 1), np.float32))
    constant(changed, "wide", np.ones((1, 1 << 10), np.float32))
    constant(changed, "large", np.ones(1 << 23, np.float32))
    repeated(changed, 1, operator, inputs)
    assert refusal(changed, SPEC, info) == ""
    del changed.graph.node[-1]
    repeated(changed, 300, operator, inputs)
    assert words in refusal(changed, SPEC, info)


@pytest.mark.parametrize("sizes", [
    {"W": (1, 12, 3)}, {"R": (1, 12, 5)}, {"B": (1, 12)}, {"W": (1, 9, 2)}, {"R": (2, 12, 4)},
])  # fmt: skip
def test_recurrent_operators_have_the_sizes_that_builders_read_by(
    sizes: dict[str, tuple[int, ...]], model: onnx.ModelProto, info: GraphInfo
) -> None:
    changed = copy(model)
    for tensor in changed.graph.initializer:
        label = tensor.name.rpartition("/")[2]
        if tensor.name.startswith("l0/") and label in sizes:
            value = np.zeros(sizes[label], np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    assert "which do not fit together" in refusal(changed, SPEC, info)


def looped() -> tuple[onnx.ModelProto, GraphInfo, onnx.NodeProto]:
    """A blocked graph, what its manifest says, and its first loop: four trips of two steps, with one state."""
    request = GraphRequest(8, 1, "blocked", block=3)
    model = emit(SPEC, random_weights(SPEC, 0), request)
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    assert (loop.name, loop.input[0]) == ("l0/block", "trips_4")
    return model, info_of(SPEC, request, model), loop


def grown(loop: onnx.NodeProto) -> None:
    body = loop.attribute[0].g
    body.node.append(helper.make_node("Concat", [body.input[2].name] * 2, ["wider"], axis=0))
    body.output[1].name = "wider"


def loop_inside(loop: onnx.NodeProto) -> None:
    inner = onnx.NodeProto()
    inner.CopyFrom(loop)
    inner.output[:] = ["inner/last", "inner/every"]
    loop.attribute[0].g.node.append(inner)


def constant_inside(loop: onnx.NodeProto) -> None:
    loop.attribute[0].g.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "mine"))


def sparse_constant_inside(loop: onnx.NodeProto) -> None:
    """Runtimes make 4 GB of it."""
    tensor = loop.attribute[0].g.sparse_initializer.add(dims=[1 << 30])
    tensor.values.CopyFrom(onnx.numpy_helper.from_array(np.ones(1, np.float32), "mine"))
    tensor.indices.CopyFrom(onnx.numpy_helper.from_array(np.zeros(1, np.int64), "places"))


LOOPS = {
    "has a body that does not fit its inputs and outputs": [
        constant_inside,
        sparse_constant_inside,
        lambda loop: loop.input.__setitem__(2, ""),
        lambda loop: loop.attribute[0].g.input.pop(),
        lambda loop: loop.attribute[0].g.output.pop(),
        lambda loop: loop.input.pop(),
    ],
    "that changes its size or type": [
        grown,
        lambda loop: setattr(loop.attribute[0].g.output[0], "name", loop.attribute[0].g.input[2].name),
    ],
    "of an operator that no graph of a bundle has": [loop_inside],
    "nothing makes 'elsewhere'": [lambda loop: setattr(loop.attribute[0].g.output[2], "name", "elsewhere")],
    "which nothing makes before it": [lambda loop: loop.attribute[0].g.node[0].input.__setitem__(0, "output")],
    "which is there already": [
        lambda loop: setattr(loop.attribute[0].g.input[0], "name", "input"),
        lambda loop: setattr(loop.attribute[0].g.input[0], "name", loop.attribute[0].g.input[1].name),
    ],
    "holds more than one body": [
        lambda loop: loop.attribute.append(helper.make_attribute("more", 1)),
        lambda loop: loop.attribute.pop(),
    ],
    "number of trips is no constant": [
        lambda loop: loop.input.__setitem__(0, "input"),
        lambda loop: loop.input.__setitem__(0, "true"),
        lambda loop: loop.input.__setitem__(0, ""),
    ],
}


@pytest.mark.parametrize(
    ("words", "change"), [(words, change) for words, changes in LOOPS.items() for change in changes]
)
def test_loops_that_no_graph_of_the_network_has_are_refused(
    words: str, change: Callable[[onnx.NodeProto], None]
) -> None:
    model, info, loop = looped()
    assert refusal(model, SPEC, info) == ""
    change(loop)
    assert words in refusal(model, SPEC, info)


@pytest.mark.parametrize(("trips", "words"), [
    (100, "it runs more nodes than"), (10**9, "its tensors take over"), (2**62, "its tensors take over"),
])  # fmt: skip
def test_trips_are_bounded_by_what_the_network_takes(trips: int, words: str) -> None:
    model, info, _ = looped()
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "trips_4")
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(trips), tensor.name))
    assert words in refusal(model, SPEC, info)


def test_outputs_of_loops_may_be_left_out() -> None:
    model, info, loop = looped()
    for _ in range(2):
        again = model.graph.node.add()
        again.CopyFrom(loop)
        again.output[:] = ["", ""]
        again.attribute[0].g.CopyFrom(loop.attribute[0].g)
    assert refusal(model, SPEC, info) == ""


def trips_of_two_kinds(model: onnx.ModelProto) -> None:
    """Runtimes take the first."""
    node = helper.make_node("Constant", [], ["trips_4"], value_int=10**15)
    node.attribute.append(helper.make_attribute("value", onnx.numpy_helper.from_array(np.int64(4))))
    kept = [tensor for tensor in model.graph.initializer if tensor.name != "trips_4"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.node.insert(0, node)


def input_as_a_constant(model: onnx.ModelProto) -> None:
    """Its sizes would be counted, those of what is fed run."""
    constant(model, "input", np.ones((1, 1, 2), np.float32))


def any_length(model: onnx.ModelProto) -> None:
    """Eight steps are fed, one would be counted."""
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "steps"


@pytest.mark.parametrize("words, change", [
    ("does not hold one tensor and nothing else", trips_of_two_kinds),
    ("its input 'input' is there already", input_as_a_constant),
    ("its input 'input' is of any size along axis 1", any_length),
])  # fmt: skip
def test_what_is_counted_is_what_runs(words: str, change: Callable[[onnx.ModelProto], None]) -> None:
    model, info, _ = looped()
    change(model)
    assert words in refusal(model, SPEC, info)


def test_loops_are_refused_in_graphs_that_say_they_have_none() -> None:
    model, info, _ = looped()
    other = dataclasses.replace(info, emission="unrolled", block=None)
    assert "of an operator that no graph of a bundle has" in refusal(model, SPEC, other)


@pytest.mark.parametrize("block", [None, 1, -3, 2**40])
def test_a_manifest_says_how_long_blocks_are(block: int | None) -> None:
    _, info, _ = looped()
    check_manifest(SPEC, [info], [])
    if block == 2**40:  # blocks that are never full
        check_manifest(SPEC, [dataclasses.replace(info, block=block)], [])
        return
    with pytest.raises(InputError, match="blocks have 2 steps or more"):
        check_manifest(SPEC, [dataclasses.replace(info, block=block)], [])
