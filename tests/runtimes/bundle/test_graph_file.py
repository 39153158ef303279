"""Which graph files are loaded: every emission, and no graph that could take more than its network."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from onnx import TensorProto, helper

from drnn_core.errors import InputError
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.bundle.cost import cost_of, most_graph_bytes
from drnn_runtimes.bundle.fit import check_manifest
from drnn_runtimes.bundle.graph_file import read_graph, refusal
from tests.networks import random_weights, specs
from tests.runtimes.bundle.damage import SPEC
from tests.runtimes.bundle.graphs import BOMBS, behind, constant, info_of, requests

REQUEST = GraphRequest(8, 1)


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


CONSTANTS = {  # of int64, whose values are read: they may be sizes
    "in the place of floats": TensorProto(data_type=TensorProto.INT64, dims=[2], float_data=[1, 2]),
    "of a segment": TensorProto(
        data_type=TensorProto.INT64, dims=[1], raw_data=bytes(8), segment=TensorProto.Segment(begin=0, end=1)
    ),
    "of a hundred axes": TensorProto(data_type=TensorProto.INT64, dims=[1] * 100, int64_data=[1]),
    "of sizes without end": TensorProto(data_type=TensorProto.INT64, dims=[2**63 - 1, 2**63 - 1, 0]),
}


@pytest.mark.parametrize("name", CONSTANTS)
@pytest.mark.parametrize("place", ["initializer", "node", "node without outputs"])
def test_constants_that_cannot_be_read_are_refused(
    name: str, place: str, model: onnx.ModelProto, info: GraphInfo, tmp_path: Path
) -> None:
    changed = copy(model)
    if place == "initializer":
        changed.graph.initializer.add().CopyFrom(CONSTANTS[name])
        changed.graph.initializer[-1].name = "odd"
    else:
        outputs = ["odd"] if place == "node" else []
        changed.graph.node.insert(0, helper.make_node("Constant", [], outputs, value=CONSTANTS[name]))
    (tmp_path / "model.onnx").write_bytes(changed.SerializeToString())
    with pytest.raises(
        InputError, match=r"cannot be loaded: (its constant|its node .* its constant|its node .* does not)"
    ):
        read_graph(tmp_path / "model.onnx", SPEC, info)


@pytest.mark.parametrize("side", ["input", "output"])
def test_edges_are_those_of_the_manifest(side: str, model: onnx.ModelProto, info: GraphInfo) -> None:
    changed = copy(model)
    (value,) = getattr(changed.graph, side)
    for node in changed.graph.node:
        for names in (node.input, node.output):
            names[:] = ["other" if name == value.name else name for name in names]
    value.name = "other"
    assert refusal(changed, SPEC, info) == f"its {side}s are ['other'], and the manifest says ['{side}']"


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


LEAST = np.iinfo(np.int64).min
ZEROS = np.zeros((2, 9, 9), np.float32)
DEADLY = {  # at which a runtime ends its process: what it is -> operator, inputs, attributes, words
    "division": ("Div", [np.array(LEAST), np.array(-1)], {}, "divides whole numbers"),
    "division by what is no constant": ("Div", [np.array(LEAST), np.array(2, np.int32)], {}, "divides whole numbers"),
    "remainder": ("Mod", [np.array([1], np.int32), np.array([0], np.int32)], {}, "divides whole numbers"),
    "step of a slice": ("Slice", [np.zeros(3), *np.array([[2], [LEAST], [0], [LEAST]])], {}, "sizes that no tensor"),
    "no steps": ("GRU", [ZEROS[:0, :1, :2], ZEROS[:1, :, :2], ZEROS[:1, :, :3]], {"hidden_size": 3}, "do not fit"),
    "no sequences": ("GRU", [ZEROS[:, :0, :2], ZEROS[:1, :, :2], ZEROS[:1, :, :3]], {"hidden_size": 3}, "do not fit"),
}


@pytest.mark.parametrize("name", DEADLY)
def test_what_may_end_the_process_is_refused(name: str, model: onnx.ModelProto, info: GraphInfo) -> None:
    operator, inputs, attributes, words = DEADLY[name]
    changed = copy(model)
    names = [constant(changed, f"of_it_{index}", value) for index, value in enumerate(inputs)]
    changed.graph.node.append(helper.make_node(operator, names, ["more"], **attributes))
    assert words in refusal(changed, SPEC, info)


def test_floats_are_divided_and_slices_may_run_to_the_end(model: onnx.ModelProto, info: GraphInfo) -> None:
    changed = copy(model)
    ends = [
        constant(changed, name, np.array([value])) for name, value in (("start", 0), ("end", 2**63 - 1), ("axis", 1))
    ]
    behind(
        changed,
        helper.make_node("Slice", ["raw", *ends], ["all"]),
        helper.make_node("Div", ["all", constant(changed, "two", np.float32(2))], ["half"]),
        helper.make_node("Mod", ["half", "two"], ["output"], fmod=1),
        helper.make_node("Div", ["end", constant(changed, "whole", np.array(-2))], ["whole_half"]),
    )
    assert refusal(changed, SPEC, info) == ""
