"""Small ONNX graphs, each for one thing that a TensorRT parser may or may not take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

T, B, C, H = 6, 2, 3, 4
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Kind = tuple[int, Sequence[int | str] | None]  # type and shape
Weight = NDArray[Any] | onnx.TensorProto
MATRIX: Kind = (FLOAT, [3, 3])
UNKNOWN: Kind = (FLOAT, None)


def weights(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Kind] | None = None,
    outputs: Mapping[str, Kind] | None = None,
    constants: Mapping[str, Weight] | None = None,
    *,
    opset: int = 17,
    ir: int = 8,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model from `x` to `y`, 3 by 3, unless said otherwise; other domains are `mine` and `com.microsoft`."""
    graph = helper.make_graph(
        nodes,
        "test",
        [
            helper.make_tensor_value_info(name, *kind)
            for name, kind in ({"x": MATRIX} if inputs is None else inputs).items()
        ],
        [helper.make_tensor_value_info(name, *kind) for name, kind in (outputs or {"y": UNKNOWN}).items()],
        [_named(value, name) for name, value in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("mine", 1), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir, functions=functions)


def _named(value: Weight, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(value, name) if isinstance(value, np.ndarray) else value


def one(
    operator: str, constants: Mapping[str, Weight] | None = None, kind: Kind = MATRIX, **more: Any
) -> onnx.ModelProto:
    """One node with the input `x` and then `constants`.

    more: attributes, `model`'s own options, and `made`, the type of `y` where that is not `x`'s.
    """
    made = more.pop("made", kind[0])
    options = {name: more.pop(name) for name in ("opset", "ir") if name in more}
    extra = more.pop("inputs", {})
    outputs = more.pop("outputs", ["y"])
    node = helper.make_node(operator, ["x", *(constants or {}), *extra], outputs, "n", **more)
    return model([node], {"x": kind, **extra}, {"y": (made, None)}, constants, **options)


def resize(*, opset: int = 17, **attributes: Any) -> onnx.ModelProto:
    """An image of 4 by 4, twice as large."""
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], "n", **attributes)
    scales = np.array([1, 1, 2, 2], np.float32)
    return model([node], {"x": (FLOAT, [1, 1, 4, 4])}, constants={"scales": scales}, opset=opset)


def recurrent(
    operator: str, batch: int | str = B, extra: Sequence[str] = (), hidden: int = H, **attributes: Any
) -> onnx.ModelProto:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[operator]
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    known = {
        "W": weights(directions, gates * hidden, C),
        "R": weights(directions, gates * hidden, hidden),
        "lengths": np.full(B, 4, np.int32),
        "P": weights(directions, 3 * hidden),
        "h0": weights(directions, B, hidden),
    }
    node = helper.make_node(operator, ["x", "W", "R", *extra], ["y"], "n", hidden_size=hidden, **attributes)
    used = {name: value for name, value in known.items() if name in node.input}
    return model([node], {"x": (FLOAT, [T, batch, C])}, {"y": UNKNOWN}, used)


def lasting(steps: int) -> onnx.ModelProto:
    """A GRU with an initial state, of which one sequence lasts so long."""
    made = recurrent("GRU", extra=["", "lengths", "h0"])
    for tensor in made.graph.initializer:
        if tensor.name == "lengths":
            tensor.CopyFrom(numpy_helper.from_array(np.array([steps, 4], np.int32), "lengths"))
    return made


def cast_from(value: NDArray[Any] | onnx.TensorProto) -> onnx.ModelProto:
    """An initialiser of some type that is cast to float and added."""
    nodes = [
        helper.make_node("Cast", ["c"], ["d"], "cast", to=FLOAT),
        helper.make_node("Add", ["x", "d"], ["y"], "add"),
    ]
    return model(nodes, constants={"c": _named(value, "c")})


def branch(operator: str, output: str) -> onnx.GraphProto:
    nodes = [helper.make_node(operator, ["x"], [output], f"in/{operator}")]
    return helper.make_graph(nodes, "branch", [], [helper.make_tensor_value_info(output, FLOAT, [3, 3])])


def conditional(first: str, second: str, condition: NDArray[np.bool_] | None = None) -> onnx.ModelProto:
    node = helper.make_node("If", ["c"], ["y"], "if", then_branch=branch(first, "a"), else_branch=branch(second, "b"))
    given: dict[str, Kind] = {"x": MATRIX} | ({} if condition is not None else {"c": (BOOL, [])})
    return model([node], given, constants={} if condition is None else {"c": condition})


def unequal_branches() -> onnx.ModelProto:
    flat = helper.make_graph(
        [helper.make_node("Reshape", ["x", "s"], ["b"])], "b", [], [helper.make_tensor_value_info("b", FLOAT, [9])]
    )
    node = helper.make_node("If", ["c"], ["y"], "if", then_branch=branch("Tanh", "a"), else_branch=flat)
    return model([node], {"x": MATRIX, "c": (BOOL, [])}, constants={"s": np.array([9])})


def loop(*, condition: bool, reads: bool) -> onnx.ModelProto:
    """Three times tanh; the body passes its condition on by reading it, or makes a new one."""
    new = helper.make_node("Identity", ["keep"], ["go"]) if reads else helper.make_node("Not", ["no"], ["go"])
    body = helper.make_graph(
        [helper.make_node("Tanh", ["h"], ["next"]), new],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("keep", BOOL, []),
            helper.make_tensor_value_info("h", *MATRIX),
        ],
        [helper.make_tensor_value_info("go", BOOL, []), helper.make_tensor_value_info("next", *MATRIX)],
    )
    node = helper.make_node("Loop", ["times", "yes" if condition else "", "x"], ["y"], "loop", body=body)
    constants = {"times": np.array(3), "no": np.array(False), "yes": np.array(True)}
    return model([node], constants=constants)


def scan(operator: str, rows: int = B, width: int = H) -> onnx.ModelProto:
    kind = [rows, width]
    state, step = (helper.make_tensor_value_info(name, FLOAT, kind) for name in ("h", "xt"))
    made = [helper.make_tensor_value_info(name, FLOAT, kind) for name in ("next", "yt")]
    nodes = [helper.make_node("Add", ["h", "xt"], ["sum"]), helper.make_node(operator, ["sum"], ["next"], "inner")]
    body = helper.make_graph([*nodes, helper.make_node("Identity", ["next"], ["yt"])], "body", [state, step], made)
    node = helper.make_node("Scan", ["h0", "x"], ["last", "y"], "scan", body=body, num_scan_inputs=1)
    return model([node], {"x": (FLOAT, [T, *kind])}, {"y": (FLOAT, [T, *kind])}, {"h0": weights(*kind)})


def called(operator: str, *, recursive: bool = False) -> onnx.ModelProto:
    """A model-local function around one operator, or around itself."""
    inner = (
        helper.make_node("F", ["a"], ["b"], domain="mine") if recursive else helper.make_node(operator, ["a"], ["b"])
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    function = helper.make_function("mine", "F", ["a"], ["b"], [inner], imports)
    return model([helper.make_node("F", ["x"], ["y"], "call", domain="mine")], functions=[function])


def calls(functions: int) -> onnx.ModelProto:
    """A chain of model-local functions, each of which calls the next; the last is a Tanh."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    inner = [helper.make_node(f"F{index}", ["a"], ["b"], domain="mine") for index in range(1, functions)]
    bodies = [*inner, helper.make_node("Tanh", ["a"], ["b"])]
    made = [helper.make_function("mine", f"F{i}", ["a"], ["b"], [body], imports) for i, body in enumerate(bodies)]
    return model([helper.make_node("F0", ["x"], ["y"], "call", domain="mine")], functions=made)


def quantised(zero: NDArray[Any] | None) -> onnx.ModelProto:
    inner = ["s"] if zero is None else ["s", "z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *inner], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", *inner], ["y"], "dq"),
    ]
    constants: dict[str, Weight] = {"s": np.array(0.1, np.float32)} | ({} if zero is None else {"z": zero})
    return model(nodes, constants=constants)


def sparse() -> onnx.ModelProto:
    made = model([helper.make_node("Add", ["x", "c"], ["y"], "add")], {"x": (FLOAT, [3])})
    values, places = numpy_helper.from_array(weights(1), "c"), numpy_helper.from_array(np.array([1]), "places")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [3]))
    return made


def stored(location: str, *, offset: int = 0, length: int = 12) -> onnx.ModelProto:
    """Three floats in a file; `external` writes the file."""
    tensor = numpy_helper.from_array(weights(3), "c")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return model([helper.make_node("Add", ["x", "c"], ["y"], "add")], {"x": (FLOAT, [3])}, constants={"c": tensor})


def write_external(folder: Path) -> None:
    """What `stored` refers to, in the folder and above it."""
    (folder / "sub").mkdir()
    (folder / "w.bin").write_bytes(weights(3).tobytes())
    (folder.parent / "w.bin").write_bytes(weights(3).tobytes())


def damaged(raw: bytes) -> onnx.ModelProto:
    tensor = numpy_helper.from_array(weights(3), "c")
    tensor.raw_data = raw
    return model([helper.make_node("Add", ["x", "c"], ["y"], "add")], {"x": (FLOAT, [3])}, constants={"c": tensor})


def wide_node(operator: str, **attributes: Any) -> onnx.ModelProto:
    """A float64 in the middle of a graph."""
    made = helper.make_node(operator, ["x"] if operator == "Cast" else [], ["d"], "wide", **attributes)
    return model([made, helper.make_node("Cast", ["d"], ["e"], to=FLOAT), helper.make_node("Add", ["x", "e"], ["y"])])


def chain(*kinds: int) -> onnx.ModelProto:
    """Casts one after the other, from float to the last of `kinds`."""
    names = ["x", *(f"t{index}" for index in range(1, len(kinds))), "y"]
    nodes = [helper.make_node("Cast", [names[i]], [names[i + 1]], f"n{i}", to=kind) for i, kind in enumerate(kinds)]
    return model(nodes, outputs={"y": (kinds[-1], [3, 3])})
