"""Mutants of layout and blocks: what is wrong, in which part, and what the verdict must say of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper

from tests.drnn_deploy.debug.mutants.mutant import (
    BOTH,
    Mutant,
    before,
    body,
    both,
    constant,
    emitted_with,
    read,
    replaced,
    weights,
)

_made = helper.make_node


def _backwards(graph: onnx.GraphProto) -> None:
    graph.node[0].input[1] = "backwards"
    graph.node.insert(0, _made("Sub", ["last_trip", graph.input[0].name], ["backwards"], "backwards"))


def _gives(place: int, name: str) -> Callable[[onnx.GraphProto], None]:
    return lambda graph: setattr(graph.output[place], "name", name)


LAYOUT = [
    Mutant(
        "dilation 3 for 2",
        "gru-whole",
        "layer 1",
        "node l1/fold (Reshape) has the input 1 shape_8_6_4, should be shape_12_4_4",
        emitted=emitted_with(dilations=(1, 3, 4)),
        runtimes=BOTH,
    ),
    Mutant(
        "dilation 3 for 4",
        "lstm",
        "layer 2",
        "node l2/fold (Reshape) has the input 1 shape_8_6_5, should be shape_6_8_5",
        emitted=emitted_with(dilations=(1, 2, 3)),
    ),
    Mutant(
        "phases before steps",
        "gru-whole",
        "layer 2",
        "node l2/fold (Reshape) has the input 0",
        before(
            "l2/fold",
            0,
            lambda old, new: [
                _made("Reshape", [old, "phases"], [f"{new}/phases"], f"{new}/phases"),
                _made("Transpose", [f"{new}/phases"], [f"{new}/apart"], f"{new}/apart", perm=[1, 0, 2, 3]),
                _made("Reshape", [f"{new}/apart", "rows"], [new], new),
            ],
            phases=np.array([4, 6, 2, 5]),
            rows=np.array([12, 1, 4, 5]),
        ),
    ),
    Mutant(
        "batch and steps mixed up",
        "gru",
        "input",
        "node time_major (Reshape) should be Transpose",
        both(
            constant("mixed", np.array([24, 2, 2])),
            replaced("time_major", _made("Reshape", ["input", "mixed"], ["time_major"], "time_major")),
        ),
        runtimes=BOTH,
    ),
    Mutant(
        "fold of batch and phases",
        "rnn",
        "layer 1",
        "node l1/apart (Reshape) should not be there",
        both(
            constant("apart", np.array([24, 2, 4])),
            replaced(
                "l1/fold",
                _made("Reshape", ["l0/rnn", "apart"], ["l1/apart"], "l1/apart"),
                _made("Transpose", ["l1/apart"], ["l1/turned"], "l1/turned", perm=[1, 0, 2]),
                _made("Reshape", ["l1/turned", "shape_12_4_4"], ["l1/refolded"], "l1/refolded"),
                _made("Transpose", ["l1/refolded"], ["l1/fold"], "l1/fold", perm=[0, 1, 2]),
            ),
        ),
    ),
    Mutant(
        "selected one step early",
        "gru",
        "layer 1",
        "initializer l1/select/indices",
        weights("l1/select/indices", lambda steps: steps - 1),
        runtimes=BOTH,
    ),
    Mutant(
        "padding in front",
        "gru-padded",
        "layer 1",
        "initializer l1/pad/pads is [1, 0, 0, 0, 0, 0], should be [0, 0, 0, 1, 0, 0]",
        weights("l1/pad/pads", lambda pads: np.roll(pads, 3)),
        runtimes=BOTH,
    ),
    Mutant(
        "padding read",
        "gru-padded",
        "head",
        "node head/select (Slice) has the input 1 index_1, should be index_0",
        both(
            read("head/select", 1, "index_1"), read("head/select", 2, "index_24"), constant("index_24", np.array([24]))
        ),
        runtimes=BOTH,
    ),
    Mutant(
        "last k one early",
        "rnn",
        "head",
        "initializer index_20 is [19], should be [20]",
        both(weights("index_20", lambda x: x - 1), weights("index_24", lambda x: x - 1)),
    ),
    Mutant(
        "window one early",
        "fusion",
        "head",
        "initializer head/window/indices",
        weights("head/window/indices", lambda x: x - 1),
    ),
    Mutant(
        "window newest first",
        "fusion",
        "head",
        "initializer head/window/indices is [[5, 4]]",
        weights("head/window/indices", lambda x: x[:, ::-1]),
    ),
    Mutant(
        "one-hot one further",
        "one-hot",
        "input",
        "node time_major/mutated (Gather) should not be there",
        before(
            "one_hot",
            0,
            lambda old, new: [_made("Gather", ["further", old], [new], new)],
            further=np.roll(np.arange(7), -1),
        ),
    ),
]

BLOCKS = [
    Mutant(
        "blocks from zeros",
        "lstm-blocked",
        "layer 0",
        "node l0/block/t000/gates (Gemm) has the input 0 zeros_2_4, should be l0/block/h",
        read("l0/block/t000/gates", 0, "zeros_2_4"),
        runtimes=BOTH,
    ),
    Mutant(
        "blocks from last to first",
        "lstm-blocked",
        "layer 1",
        "node backwards (Sub) should not be there",
        both(constant("last_trip", np.array(2)), body("l1/block", _backwards)),
    ),
    Mutant(
        "first cell state of a block in place of the last",
        "lstm-blocked",
        "layer 1",
        "node l1/block (Loop) has a body that gives l1/block/t000/c, should be l1/block/t003/c",
        body("l1/block", _gives(2, "l1/block/t000/c")),
        runtimes=BOTH,
    ),
    Mutant(
        "first steps behind the blocks",
        "lstm-blocked",
        "layer 0",
        "node l0/outputs (Concat) has the input 0 l0/block/outputs, should be l0/first/outputs",
        both(read("l0/outputs", 0, "l0/block/outputs"), read("l0/outputs", 1, "l0/first/outputs")),
    ),
    Mutant(
        "blocks from the states before the first steps",
        "lstm-blocked",
        "layer 0",
        "node l0/block (Loop) has the input 2 zeros_2_4, should be l0/first/t001/h",
        read("l0/block", 2, "zeros_2_4"),
    ),
]
