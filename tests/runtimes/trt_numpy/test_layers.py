"""Single layers of TensorRT's network against onnx's reference evaluator, or the equation itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from drnn_core.errors import InputError
from drnn_runtimes.session import Arrays
from drnn_runtimes.trt_numpy import layers
from tests.runtimes.trt_numpy.hand_made import BOOL, FLOAT, INT64, built, compare, evaluated, graph_of, ints

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
HALF = X.astype(np.float16)
NUMBERS = np.array([-7, 7, -8, 9, 2**62 + 1])
DIVISORS = np.array([2, -2, 3, 3, 1])


# name -> operator, inputs, constants, attributes
OPERATORS: dict[str, tuple[str, Arrays, dict[str, Any], dict[str, Any]]] = {
    "slice backwards": ("Slice", {"x": X}, {"a": ints(2), "b": ints(-9), "c": ints(1), "d": ints(-2)}, {}),
    "slice two axes": ("Slice", {"x": X}, {"a": ints(0, 1), "b": ints(2, 4), "c": ints(0, 2)}, {}),
    "slice with a step": ("Slice", {"x": X}, {"a": ints(0), "b": ints(4), "c": ints(-1), "d": ints(3)}, {}),
    "slice of nothing": ("Slice", {"x": X}, {"a": ints(2), "b": ints(1), "c": ints(2)}, {}),
    "slice, computed axes": ("Slice", {"x": X, "a": ints(1), "b": ints(3), "c": ints(1)}, {}, {}),
    "transpose": ("Transpose", {"x": X}, {}, {"perm": [2, 0, 1]}),
    "reshape": ("Reshape", {"x": X}, {"a": ints(0, -1, 2)}, {}),
    "reshape, computed": ("Reshape", {"x": X, "a": ints(4, 6)}, {}, {}),
    "pad": ("Pad", {"x": X}, {"a": ints(1, 0, 2, 0, 1, 0)}, {}),
    "pad with a value": ("Pad", {"x": X}, {"a": ints(1, 0, 2, 0, 1, 0), "b": np.float32(0.5)}, {}),
    "pad edge": ("Pad", {"x": X}, {"a": ints(0, 1, 2, 1, 0, 1)}, {"mode": "edge"}),
    "pad reflect": ("Pad", {"x": X}, {"a": ints(0, 1, 2, 1, 0, 1)}, {"mode": "reflect"}),
    "pad wrap": ("Pad", {"x": X}, {"a": ints(0, 1, 2, 1, 0, 1)}, {"mode": "wrap"}),
    "pad float16": ("Pad", {"x": HALF}, {"a": ints(0, 1, 2, 1, 0, 1)}, {}),
    "tile": ("Tile", {"x": X}, {"a": ints(1, 2, 3)}, {}),
    "expand": ("Expand", {"x": X}, {"a": ints(5, 2, 3, 4)}, {}),
    "gather": ("Gather", {"x": X}, {"a": np.array([[2, 0], [1, 1]])}, {"axis": 1}),
    "gather one": ("Gather", {"x": X}, {"a": np.array(1)}, {"axis": 2}),
    "one-hot": ("OneHot", {"x": ints(0, 2, 1)}, {"a": np.array(3), "b": np.float32([2, 7])}, {"axis": 0}),
    "concat": ("Concat", {"x": X}, {"a": X + 1}, {"axis": 1}),
    "unsqueeze": ("Unsqueeze", {"x": X}, {"a": ints(0, 3)}, {}),
    "squeeze": ("Squeeze", {"x": X[:, :1]}, {"a": ints(1)}, {}),
    "where": ("Where", {"c": X > 0, "x": X}, {"a": np.zeros(4, np.float32)}, {}),
    "range": ("Range", {"x": np.array(1), "a": np.array(9), "b": np.array(3)}, {}, {}),
    "triangle": ("Trilu", {"x": X[0]}, {}, {"upper": 1}),
    "shape": ("Shape", {"x": X}, {}, {}),
    "matmul, broadcast": ("MatMul", {"x": X}, {"a": np.stack([X[0].T] * 5)[:, None]}, {}),
    "matmul of a vector": ("MatMul", {"x": X}, {"a": X[0, 0]}, {}),
    "gemm": ("Gemm", {"x": X[0]}, {"a": X[1], "b": X[0, :, 0]}, {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    "gemm, both turned": ("Gemm", {"x": X[0]}, {"a": X[0, :, :3].copy()}, {"transA": 1, "transB": 1}),
    "add, broadcast": ("Add", {"x": X}, {"a": X[:, :1]}, {}),
    "sub": ("Sub", {"x": X}, {"a": X[0]}, {}),
    "div": ("Div", {"x": X}, {"a": X + 9}, {}),
    "max": ("Max", {"x": X}, {"a": -X}, {}),
    "min": ("Min", {"x": X}, {"a": -X}, {}),
    "less": ("Less", {"x": X}, {"a": -X}, {}),
    "equal": ("Equal", {"x": X}, {"a": np.where(X > 0, X, 0)}, {}),
    "not": ("Not", {"x": X > 0}, {}, {}),
    "and": ("And", {"x": X > 0, "a": X > 1}, {}, {}),
    "integers, div": ("Div", {"x": NUMBERS, "a": DIVISORS}, {}, {}),
    "integers, mod": ("Mod", {"x": NUMBERS, "a": DIVISORS}, {}, {}),
    "integers, product": ("Mul", {"x": NUMBERS, "a": DIVISORS}, {}, {}),
    **{name: (name, {"x": X}, {}, {}) for name in ("Tanh", "Sigmoid", "Relu", "LeakyRelu", "Elu", "HardSigmoid")},
    **{name: (name, {"x": X}, {}, {}) for name in ("Softsign", "Softplus", "Softmax", "Exp", "Neg", "Abs", "Sign")},
    **{name: (name, {"x": 3 * X}, {}, {}) for name in ("Floor", "Ceil", "Round", "Sin", "Cos", "Reciprocal")},
    **{name: (name, {"x": np.abs(X) + 1}, {}, {}) for name in ("Sqrt", "Log")},
    "clip": ("Clip", {"x": X}, {"a": np.float32(-0.3), "b": np.float32(0.4)}, {}),
    "sum": ("ReduceSum", {"x": X}, {"a": ints(1)}, {"keepdims": 0}),
    "mean": ("ReduceMean", {"x": X}, {"a": ints(0, 2)}, {"keepdims": 1}),
    "largest": ("ReduceMax", {"x": X}, {"a": ints(2)}, {}),
    "cast to integer": ("Cast", {"x": 3 * X}, {}, {"to": INT64}),
    "cast to truth": ("Cast", {"x": np.where(X > 0, X, 0)}, {}, {"to": BOOL}),
    "cast to float16": ("Cast", {"x": X}, {}, {"to": TensorProto.FLOAT16}),
    "cast from truth": ("Cast", {"x": X > 0}, {}, {"to": FLOAT}),
    "float16, sum": ("Add", {"x": HALF}, {"a": HALF[::-1]}, {}),
    "float16, too large": ("Mul", {"x": HALF * 300}, {"a": HALF * 300}, {}),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_single_operators_agree_with_the_onnx_evaluator(name: str, tmp_path: Path) -> None:
    operator, feed, constants, attributes = OPERATORS[name]
    node = helper.make_node(operator, [*feed, *constants], ["y"], **attributes)
    kinds = {"Less": BOOL, "Equal": BOOL, "Shape": INT64, "OneHot": FLOAT, "Cast": attributes.get("to")}
    first = feed["x"].dtype
    kind = kinds.get(operator) or helper.np_dtype_to_tensor_dtype(first)
    with np.errstate(over="ignore"):
        compare(graph_of([node], feed, constants, {"y": kind}, 19), feed, tmp_path)


def test_split_gives_its_parts_in_order(tmp_path: Path) -> None:
    node = helper.make_node("Split", ["x", "sizes"], ["y", "z"], axis=2)
    compare(graph_of([node], {"x": X}, {"sizes": ints(1, 3)}, {"y": FLOAT, "z": FLOAT}, 18), {"x": X}, tmp_path)


def test_sigmoid_is_right_to_its_last_digits_at_both_ends(tmp_path: Path) -> None:
    feed: Arrays = {"x": np.float32([-80, -30, -12, 0, 12, 200])}
    model = graph_of([helper.make_node("Sigmoid", ["x"], ["y"])], feed, {}, {"y": FLOAT}, 17)
    wide = np.exp(-np.logaddexp(0, -feed["x"].astype(np.float64)))
    np.testing.assert_allclose(evaluated(model, feed, tmp_path)["y"], wide, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_narrow_products_are_rounded_once(kind: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    feed: Arrays = {name: random.standard_normal((8, 8)).astype(kind) for name in "xz"}
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    model = graph_of([helper.make_node("MatMul", ["x", "z"], ["y"])], feed, {}, {"y": number}, 17)
    found = evaluated(model, feed, tmp_path)["y"]
    wide = feed["x"].astype(np.float64) @ feed["z"].astype(np.float64)
    assert found.dtype == kind
    half_a_step = float(ml_dtypes.finfo(kind).eps) / 2
    np.testing.assert_allclose(found.astype(np.float64), wide, rtol=1.01 * half_a_step, atol=1e-5)


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_narrow_sigmoid_is_rounded_once(kind: Any, tmp_path: Path) -> None:
    feed: Arrays = {"x": np.linspace(-6, 6, 97).astype(kind)}
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    model = graph_of([helper.make_node("Sigmoid", ["x"], ["y"])], feed, {}, {"y": number}, 17)
    want = (1 / (1 + np.exp(-feed["x"].astype(np.float64)))).astype(kind)
    np.testing.assert_array_equal(evaluated(model, feed, tmp_path)["y"], want)


SCALES = np.float32([0.04, 0.1, 0.2])


@pytest.mark.parametrize(("axis", "scale"), [(1, SCALES), (0, SCALES[:2]), (1, np.float32(0.04))])
def test_quantised_values_and_back(axis: int, scale: Any, tmp_path: Path) -> None:
    zeros = np.zeros(np.shape(scale), np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=axis),
    ]
    compare(graph_of(nodes, {"x": 9 * X}, {"s": scale, "z": zeros}, {"y": FLOAT}, 19), {"x": 9 * X}, tmp_path)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_int8_weights_of_each_channel(axis: int, kind: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    weights = random.integers(-128, 128, (5, 4)).astype(np.int8)
    scale = (random.random(weights.shape[axis]) / 100).astype(kind)
    feed: Arrays = {"x": random.standard_normal((3, 5)).astype(kind)}
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=axis),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    model = graph_of(nodes, feed, {"q": weights, "s": scale}, {"y": number}, 19)
    compare(model, feed, tmp_path, 1e-5 if kind == np.float32 else 5e-3)


# what it is -> operator, inputs, constants, attributes, type of the output, words of the error
REFUSED: dict[str, tuple[str, Arrays, dict[str, Any], dict[str, Any], int, str]] = {
    "kind": ("CumSum", {"x": X}, {"a": np.array(1)}, {}, FLOAT, "layers of kind CUMULATIVE are not evaluated"),
    "operation": ("Erf", {"x": X}, {}, {}, FLOAT, "operation ERF is not evaluated"),
    "activation": ("Selu", {"x": X}, {}, {}, FLOAT, "operation SELU is not evaluated"),
    "mode": ("GatherND", {"x": X}, {"a": np.array([[0, 1]])}, {}, FLOAT, "gathers of mode ND are not evaluated"),
    "index below 0": ("Gather", {"x": X}, {"a": ints(-1)}, {}, FLOAT, "an index lies outside of 0 to 1"),
    "index past the end": ("Gather", {"x": X, "a": ints(2)}, {}, {}, FLOAT, "an index lies outside of 0 to 1"),
    "token past the depth": (
        *("OneHot", {"x": ints(5)}, {"a": np.array(3), "b": np.float32([0, 1])}, {}, FLOAT),
        "an index lies outside of 0 to 2",
    ),
    "division by 0": ("Div", {"x": ints(4), "a": ints(0)}, {}, {}, INT64, "it divides an integer by zero"),
    "not a number": ("Cast", {"x": np.float32([np.nan])}, {}, {"to": INT64}, INT64, "int64 does not hold"),
    "too large a number": ("Cast", {"x": np.float32([1e20])}, {}, {"to": INT64}, INT64, "int64 does not hold"),
    "shape that does not fit": ("Reshape", {"x": X, "a": ints(5, 5)}, {}, {}, FLOAT, "cannot reshape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_evaluated_is_an_error_that_names_the_layer(name: str, tmp_path: Path) -> None:
    operator, feed, constants, attributes, kind, words = REFUSED[name]
    node = helper.make_node(operator, [*feed, *constants], ["y"], name="the_layer", **attributes)
    with pytest.raises(InputError, match=f"layer 'the_layer' of TensorRT's network: .*{words}"):
        evaluated(graph_of([node], feed, constants, {"y": kind}, 17), feed, tmp_path)


def test_scales_in_blocks_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], name="blocks", axis=0, block_size=2),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    constants = {"q": np.ones((4, 4), np.int8), "s": np.ones((2, 4), np.float32)}
    model = graph_of(nodes, {"x": X[0]}, constants, {"y": FLOAT}, 21)
    with pytest.raises(InputError, match=r"layer 'blocks' .*in blocks"):
        evaluated(model, {"x": X[0]}, tmp_path)


def test_bfloat16_constants_are_the_graphs_own(tmp_path: Path) -> None:
    feed: Arrays = {"x": X.astype(ml_dtypes.bfloat16)}
    more = X[:1, ::-1].astype(ml_dtypes.bfloat16)
    model = graph_of([helper.make_node("Add", ["x", "a"], ["y"])], feed, {"a": more}, {"y": TensorProto.BFLOAT16}, 17)
    want = (feed["x"].astype(np.float32) + more.astype(np.float32)).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(evaluated(model, feed, tmp_path)["y"], want)


def test_padding_layer_pads_and_cuts_the_last_two_axes() -> None:
    def build(network: Any, x: Any) -> Any:
        return network.add_padding_nd(x, (1, -1), (-1, 2)).get_output(0)

    image = X[None]
    want = np.pad(image[:, :, :-1, 1:], ((0, 0), (0, 0), (1, 0), (0, 2)))
    np.testing.assert_array_equal(built(build, image), want)


def test_values_unlike_the_declared_ones_are_an_error(tmp_path: Path) -> None:
    model = graph_of([helper.make_node("Neg", ["x"], ["y"])], {"x": X}, {}, {"y": FLOAT}, 17)
    for wrong in (X[:1], X.astype(np.float64)):
        with pytest.raises(InputError, match="takes float32 of shape"):
            evaluated(model, {"x": wrong}, tmp_path)
    with pytest.raises(InputError, match="got nothing"):
        evaluated(model, {}, tmp_path)


@pytest.mark.parametrize("wrong", [X[:1], X.astype(np.float64)])
def test_layer_that_gives_other_than_the_network_declares_is_named(
    wrong: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(layers._LAYERS, "UNARY", ("IUnaryLayer", lambda layer: lambda inputs: wrong))
    model = graph_of([helper.make_node("Neg", ["x"], ["y"], name="the_layer")], {"x": X}, {}, {"y": FLOAT}, 17)
    with pytest.raises(InputError, match=r"layer 'the_layer' gives .*TensorRT's network says"):
        evaluated(model, {"x": X}, tmp_path)
