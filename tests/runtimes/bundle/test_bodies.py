"""What a model holds, wherever it is: in bodies, in functions, in lists, in sparse tensors."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
from onnx import TensorProto, helper

from drnn_runtimes.bundle.bodies import count_nodes, kept_elsewhere, tensors_of

Place = Callable[[onnx.TensorProto], onnx.ModelProto]


def graph(*nodes: onnx.NodeProto, constants: tuple[onnx.TensorProto, ...] = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "g", [], [], list(constants))


def model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    return helper.make_model(graph(*nodes))


def inside(*nodes: onnx.NodeProto, constants: tuple[onnx.TensorProto, ...] = ()) -> onnx.NodeProto:
    return helper.make_node("Loop", ["", ""], [], body=graph(*nodes, constants=constants))


def in_a_list(*nodes: onnx.NodeProto, constants: tuple[onnx.TensorProto, ...] = ()) -> onnx.NodeProto:
    node = helper.make_node("Switch", [], [])
    node.attribute.append(helper.make_attribute("bodies", [graph(*nodes, constants=constants)]))
    return node


def constant(tensor: onnx.TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], value=tensor)


def in_a_function(tensor: onnx.TensorProto) -> onnx.ModelProto:
    made = model()
    made.functions.append(helper.make_function("mine", "F", [], ["c"], [constant(tensor)], []))
    return made


def by_default(tensor: onnx.TensorProto) -> onnx.ModelProto:
    made = model()
    default = helper.make_attribute("value", tensor)
    made.functions.append(helper.make_function("mine", "F", [], [], [], [], attribute_protos=[default]))
    return made


def sparse(tensor: onnx.TensorProto) -> onnx.ModelProto:
    made = model()
    made.graph.sparse_initializer.add().values.CopyFrom(tensor)
    return made


def sparse_constant(tensor: onnx.TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["c"])
    node.attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR).sparse_tensor.indices.CopyFrom(
        tensor
    )
    return model(node)


def listed(tensor: onnx.TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Odd", [], [])
    node.attribute.append(helper.make_attribute("tensors", [tensor]))
    return model(node)


PLACES: dict[str, Place] = {
    "an initialiser": lambda tensor: helper.make_model(graph(constants=(tensor,))),
    "a Constant": lambda tensor: model(constant(tensor)),
    "a Constant of a body": lambda tensor: model(inside(inside(constant(tensor)))),
    "an initialiser of a body": lambda tensor: model(inside(constants=(tensor,))),
    "an initialiser of a body in a list": lambda tensor: model(in_a_list(constants=(tensor,))),
    "a Constant of a body in a list": lambda tensor: model(in_a_list(constant(tensor))),
    "a Constant of a function": in_a_function,
    "a default of a function": by_default,
    "a list of tensors": listed,
    "sparse": sparse,
    "a sparse Constant": sparse_constant,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_constant_that_is_kept_elsewhere_is_found(place: str) -> None:
    tensor = helper.make_tensor("kept", TensorProto.FLOAT, [1], [1.0])
    assert "kept" in [found.name for found in tensors_of(PLACES[place](tensor))]
    assert kept_elsewhere(PLACES[place](tensor)) is None
    tensor.data_location = TensorProto.EXTERNAL
    found = kept_elsewhere(PLACES[place](tensor))
    assert found is not None
    assert found.name == "kept"


def test_nodes_of_bodies_in_lists_count() -> None:
    assert count_nodes(model(in_a_list(inside(helper.make_node("Tanh", ["x"], ["y"]))))) == 3
