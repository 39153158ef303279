"""Graphs for the rules of names and of tensors in nodes, by what TensorRT-RTX 1.7.1 does with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.export.lint import graphs
from tests.export.lint.graphs import BOOL, FLOAT, MATRIX, model, one

node = helper.make_node
W = graphs.weights(3, 3)
K = numpy_helper.from_array(W, "k")
LINE = {"x": (FLOAT, [3])}
TANH = node("Tanh", ["x"], ["b"])


def branch(nodes: Sequence[onnx.NodeProto], output: str, *constants: onnx.TensorProto) -> onnx.GraphProto:
    made = [helper.make_tensor_value_info(output, *MATRIX)]
    return helper.make_graph(nodes, "branch", [], made, list(constants))


def chosen(
    then: onnx.GraphProto, other: onnx.GraphProto | None = None, *, taken: bool = False, output: str = "y"
) -> onnx.ModelProto:
    """An If of an input; where one branch is `taken`, of a constant."""
    made = node("If", ["c"], [output], "if", then_branch=then, else_branch=other or branch([TANH], "b"))
    given = {"x": MATRIX} | ({} if taken else {"c": (BOOL, [])})
    last = [] if output == "y" else [node("Relu", [output], ["y"])]
    return model([made, *last], given, constants={"c": np.array(True)} if taken else {})


def held(tensor: onnx.TensorProto, *, function: bool = False, called: bool = True) -> onnx.ModelProto:
    """A Constant that is added, in the graph or in a function."""
    nodes = [node("Constant", [], ["c"], "const", value=tensor), node("Add", ["x", "c"], ["y"])]
    if not function:
        return model(nodes, LINE)
    made = helper.make_function("mine", "F", ["x"], ["y"], nodes, [helper.make_opsetid("", 17)])
    call = node("F", ["x"], ["y"], "call", domain="mine") if called else node("Tanh", ["x"], ["y"])
    return model([call], LINE, functions=[made])


def stored(location: str, name: str = "c") -> onnx.TensorProto:
    tensor = graphs.stored(location).graph.initializer[0]
    tensor.name = name
    return tensor


def short() -> onnx.TensorProto:
    return graphs.damaged(graphs.weights(3).tobytes()[:8]).graph.initializer[0]


def filled() -> onnx.ModelProto:
    """ConstantOfShape with a value in a file that is not there."""
    value = graphs.stored("missing.bin", length=4).graph.initializer[0]
    value.dims[:] = [1]
    nodes = [node("ConstantOfShape", ["s"], ["c"], value=value), node("Add", ["x", "c"], ["y"])]
    return model(nodes, LINE, constants={"s": np.array([3])})


def again(made: onnx.ModelProto, side: str) -> onnx.ModelProto:
    """With the last of its inputs, outputs or weights once more."""
    values = getattr(made.graph, side)
    values.append(values[-1])
    return made


def with_default(made: onnx.ModelProto) -> onnx.ModelProto:
    """With the weights "k" as an input, too, as before IR version 4."""
    made.graph.input.append(helper.make_tensor_value_info("k", *MATRIX))
    return made


def body_gives(name: str) -> onnx.ModelProto:
    made = graphs.loop(condition=True, reads=True)
    made.graph.node[0].attribute[0].g.output[1].name = name
    return made


def body_writes(*inputs: str, output: str) -> onnx.ModelProto:
    made = graphs.loop(condition=True, reads=True)
    made.graph.node[0].attribute[0].g.node.append(node("Tanh", inputs, [output]))
    return made


CIRCLE = [node("Add", ["x", "q"], ["p"]), node("Tanh", ["p"], ["q"])]
ADD = model([node("Add", ["x", "k"], ["y"])], constants={"k": W})

TAKEN: dict[str, onnx.ModelProto] = {
    "an output twice": again(one("Tanh"), "output"),
    "weights that are an input": with_default(model([node("Add", ["x", "k"], ["y"])], constants={"k": W})),
    "an output that is an input": model([TANH], outputs={"x": MATRIX}),
    "a branch that gives what is around it": chosen(branch([], "x")),
    "a branch that gives weights": chosen(branch([], "k", K)),
    "a branch in another order": chosen(branch([node("Tanh", ["q"], ["a"]), node("Sin", ["x"], ["q"])], "a")),
    "a branch with the name of the If's output": chosen(
        branch([node("Tanh", ["x"], ["y"]), node("Sin", ["y"], ["a"])], "a"), branch([node("Tanh", ["x"], ["y"])], "y")
    ),
    "a branch never taken that gives nothing": chosen(
        branch([node("Sin", ["x"], ["a"])], "a"), branch([TANH], "z"), taken=True
    ),
    "a branch never taken in a circle": chosen(branch([TANH], "b"), branch(CIRCLE, "q"), taken=True),
    "a branch never taken with weights in no file": chosen(
        branch([TANH], "b"), branch([node("Add", ["x", "c2"], ["a"])], "a", stored("missing.bin", "c2")), taken=True
    ),
    "a body that gives its input": body_gives("h"),
    "a body that gives what is around it": body_gives("x"),
    "a Constant in a file": held(stored("w.bin")),
    "a Constant in a file, of a function": held(stored("w.bin"), function=True),
    "a Constant in no file, of a function that nobody calls": held(stored("missing.bin"), function=True, called=False),
}

REFUSED: dict[str, onnx.ModelProto] = {
    "a node that makes an input": model([node("Sin", ["k"], ["x"]), node("Relu", ["x"], ["y"])], constants={"k": W}),
    "a node that makes weights": model([node("Sin", ["x"], ["k"]), node("Relu", ["k"], ["y"])], constants={"k": W}),
    "a node that makes weights that are an input": with_default(
        model([node("Sin", ["x"], ["k"]), node("Relu", ["k"], ["y"])], constants={"k": W})
    ),
    "an input twice": again(one("Tanh"), "input"),
    "weights twice": again(ADD, "initializer"),
    "weights of a branch twice": chosen(branch([node("Add", ["x", "k"], ["a"])], "a", K, K)),
    "a branch that makes its weights": chosen(branch([node("Sin", ["x"], ["k"]), node("Relu", ["k"], ["a"])], "a", K)),
    "a body that makes its input": body_writes("x", output="h"),
    "a circle": model([*CIRCLE, node("Relu", ["q"], ["y"])]),
    "a circle that nobody reads": model([*CIRCLE, node("Relu", ["x"], ["y"])]),
    "a node that reads itself": model([node("Add", ["x", "a"], ["a"]), node("Relu", ["a"], ["y"])]),
    "a circle in a branch": chosen(branch(CIRCLE, "q")),
    "a circle in a body": body_writes("next", output="h"),
    "a branch that reads its If": chosen(branch([node("Add", ["x", "made"], ["a"])], "a"), output="made"),
    "a branch that gives nothing": chosen(branch([TANH], "nothing")),
    "a body that gives nothing": body_gives("nothing"),
    "a function that makes its input": model(
        [node("F", ["x"], ["y"], domain="mine")],
        functions=[
            helper.make_function(
                "mine",
                "F",
                ["a"],
                ["b"],
                [node("Tanh", ["a"], ["q"]), node("Tanh", ["q"], ["a"]), node("Tanh", ["a"], ["b"])],
                [helper.make_opsetid("", 17)],
            )
        ],
    ),
    "a Constant in no file": held(stored("missing.bin")),
    "a Constant in no file, of a function": held(stored("missing.bin"), function=True),
    "a Constant cut short": held(short()),
    "a Constant cut short, of a function": held(short(), function=True),
    "a Constant in no file, of a branch": chosen(
        branch([node("Constant", [], ["c2"], value=stored("missing.bin")), node("Add", ["x", "c2"], ["a"])], "a")
    ),
    "a filling in no file": filled(),
}
