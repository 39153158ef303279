"""Loops of TensorRT's network against ONNX Runtime, or what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from drnn_core.errors import InputError
from drnn_runtimes.session import Arrays
from drnn_runtimes.trt_numpy import loops
from tests.runtimes.trt_numpy.hand_made import BOOL, FLOAT, INT64, built, evaluated, graph_of, rtx

ROWS = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def value(name: str, kind: int, shape: Sequence[int] = (2,)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def counting(*, ends: bool, collects: bool) -> onnx.GraphProto:
    """A loop's body: v + 1; `ends`: once the sum is at least 12; `collects`: every v + 1."""
    goes_on = helper.make_node("Identity", ["go"], ["on"])
    if ends:
        goes_on = helper.make_node("Less", ["total", "limit"], ["on"])
    nodes = [
        helper.make_node("Add", ["v", "one"], ["next"]),
        helper.make_node("ReduceSum", ["next"], ["total"], keepdims=0),
        goes_on,
        *([helper.make_node("Identity", ["next"], ["seen"])] if collects else []),
    ]
    return helper.make_graph(
        nodes,
        "body",
        [value("trip", INT64, ()), value("go", BOOL, ()), value("v", FLOAT)],
        [value("on", BOOL, ()), value("next", FLOAT), *([value("seen", FLOAT)] if collects else [])],
        [numpy_helper.from_array(np.float32([1, 1]), "one"), numpy_helper.from_array(np.float32(12), "limit")],
    )


@pytest.mark.parametrize(
    ("trips", "go", "ends", "collects", "ran"),
    [
        (4, True, False, True, 4),
        (0, True, False, False, 0),
        (4, False, False, False, 0),
        (40, True, True, False, 5),
        (2, True, True, True, 2),
        (None, True, True, False, 5),
    ],
)
def test_loops_that_count_and_loops_with_a_condition(
    trips: int | None, go: bool, ends: bool, collects: bool, ran: int, tmp_path: Path
) -> None:
    feed: Arrays = {"x": np.float32([1, 2])}
    constants = {"c": np.array(go), **({} if trips is None else {"n": np.array(trips)})}
    outputs = ["last", "all"] if collects else ["last"]
    body = counting(ends=ends, collects=collects)
    node = helper.make_node("Loop", ["" if trips is None else "n", "c", "x"], outputs, body=body)
    found = evaluated(graph_of([node], feed, constants, dict.fromkeys(outputs, FLOAT), 17), feed, tmp_path)
    np.testing.assert_array_equal(found["last"], feed["x"] + ran)
    if collects:
        np.testing.assert_array_equal(found["all"], feed["x"] + 1 + np.arange(ran)[:, None])


def test_loop_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loops, "_MOST_TRIPS", 100)
    feed: Arrays = {"x": np.float32([1, 2])}
    node = helper.make_node("Loop", ["", "c", "x"], ["last"], body=counting(ends=False, collects=False))
    with pytest.raises(InputError, match="its condition holds for more than 100 trips"):
        evaluated(graph_of([node], feed, {"c": np.array(True)}, {"last": FLOAT}, 17), feed, tmp_path)


def test_loop_in_a_loop_is_refused(tmp_path: Path) -> None:
    inner = helper.make_node("Loop", ["n", "c", "w"], ["next"], body=counting(ends=False, collects=False))
    outer = helper.make_graph(
        [inner, helper.make_node("Identity", ["go"], ["on"])],
        "outer",
        [value("step", INT64, ()), value("go", BOOL, ()), value("w", FLOAT)],
        [value("on", BOOL, ()), value("next", FLOAT)],
    )
    feed: Arrays = {"x": np.float32([1, 2])}
    node = helper.make_node("Loop", ["n", "c", "x"], ["last"], body=outer)
    model = graph_of([node], feed, {"n": np.array(2), "c": np.array(True)}, {"last": FLOAT}, 17)
    with pytest.raises(InputError, match="TensorRT's network"):
        evaluated(model, feed, tmp_path)


@pytest.mark.parametrize("backwards", [0, 1])
@pytest.mark.parametrize("collected", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_scans_in_both_directions(backwards: int, collected: int, axis: int, tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "e"], ["t"]), helper.make_node("Mul", ["t", "e"], ["o"])],
        "body",
        [value("s", FLOAT, (3,)), value("e", FLOAT, (3,))],
        [value("t", FLOAT, (3,)), value("o", FLOAT, (3,))],
    )
    data = np.random.default_rng(3).standard_normal((5, 3)).astype(np.float32)
    feed: Arrays = {"x": data if axis == 0 else data.T.copy()}
    node = helper.make_node(
        "Scan",
        ["zeros", "x"],
        ["last", "all"],
        body=body,
        num_scan_inputs=1,
        scan_input_directions=[backwards],
        scan_output_directions=[collected],
        scan_input_axes=[axis],
        scan_output_axes=[axis],
    )
    model = graph_of([node], feed, {"zeros": np.zeros(3, np.float32)}, {"last": FLOAT, "all": FLOAT}, 17)
    found = evaluated(model, feed, tmp_path)
    order = data[::-1] if backwards else data
    collected_rows = np.cumsum(order, axis=0) * order
    np.testing.assert_allclose(found["last"], data.sum(axis=0), rtol=1e-5)
    want = collected_rows[::-1] if collected else collected_rows
    np.testing.assert_allclose(found["all"], want if axis == 0 else want.T, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("operator", "clip"), [("RNN", None), ("GRU", None), ("LSTM", None), ("RNN", 0.3), ("GRU", 0.3)]
)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_operators_agree_with_onnx_runtime(
    operator: str, direction: str, clip: float | None, tmp_path: Path
) -> None:
    """Of directions and clips that we do not emit. ONNX Runtime does not clip what an LSTM's last tanh reads."""
    import onnxruntime

    random, size = np.random.default_rng(4), {"RNN": 3, "GRU": 9, "LSTM": 12}[operator]
    both = 2 if direction == "bidirectional" else 1
    shapes = {"w": (both, size, 4), "r": (both, size, 3), "b": (both, 2 * size)}
    constants = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    feed: Arrays = {"x": random.standard_normal((6, 2, 4)).astype(np.float32)}
    more = {} if clip is None else {"clip": clip}
    node = helper.make_node(operator, ["x", *shapes], ["all", "last"], hidden_size=3, direction=direction, **more)
    model = graph_of([node], feed, constants, {"all": FLOAT, "last": FLOAT}, 17)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = evaluated(model, feed, tmp_path)
    for want, got in zip(session.run(None, feed), found.values(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def loop_over(network: Any, x: Any, limit: int, length: int) -> Any:
    """Rows of x from the last trip's to the first, of `limit` trips; room for `length` of them."""

    def scalar(number: int) -> Any:
        return network.add_constant((), np.array(number, np.int32)).get_output(0)

    loop = network.add_loop()
    loop.add_trip_limit(scalar(limit), rtx.TripLimit.COUNT)
    row = loop.add_iterator(x, 0, True).get_output(0)
    row = network.add_unary(row, rtx.UnaryOperation.NEG).get_output(0)
    output = loop.add_loop_output(row, rtx.LoopOutput.CONCATENATE)
    output.set_input(1, scalar(length))
    return output.get_output(0)


@pytest.mark.parametrize("trips", [1, 2, 3])
def test_reversed_iterator_starts_at_the_row_of_the_last_trip(trips: int) -> None:
    found = built(lambda network, x: loop_over(network, x, trips, trips), ROWS)
    np.testing.assert_array_equal(found, -ROWS[:trips][::-1])


@pytest.mark.parametrize(
    ("trips", "length", "words"), [(2, 3, "gives 2 values .* room for 3"), (4, 4, "reads past the end of 'x'")]
)
def test_loop_whose_trips_do_not_fit_its_tensors_is_refused(trips: int, length: int, words: str) -> None:
    with pytest.raises(InputError, match=f"loop .* of TensorRT's network: .*{words}"):
        built(lambda network, x: loop_over(network, x, trips, length), ROWS)
